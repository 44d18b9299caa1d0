/* SPDX-License-Identifier: MIT */
#include "vmm/control.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/json_text.h"
#include "vmm/log.h"

static void drop_data(struct control_conn *conn)
{
	if (conn->data) {
		munmap((void *)(uintptr_t)conn->data, conn->data_len);
		conn->data = NULL;
	}
}

static void close_conn(struct control_conn *conn)
{
	struct control *c = conn->control;

	c->ops->gone(c->ctx, conn);
	loop_remove(&conn->src);
	close(conn->src.fd);
	free(conn->in);
	free(conn->out);
	json_decref(conn->id);
	drop_data(conn);
	if (conn->out_fd >= 0) {
		close(conn->out_fd);
	}
	*conn = (struct control_conn){.control = c, .src.fd = -1, .out_fd = -1};
}

static bool has_room(const struct control_conn *conn)
{
	return conn->out_len <= CONTROL_OUT_MAX - CONTROL_ANSWER_MAX;
}

/* One descriptor, or one picture, at a time is on its way. */
static bool may_ask(const struct control_conn *conn)
{
	return has_room(conn) && conn->out_fd < 0 && !conn->data;
}

static bool wants_input(const struct control_conn *conn)
{
	return !conn->ended && !conn->busy && conn->in_len < CONTROL_LINE_MAX && may_ask(conn);
}

/* What is in front of a descriptor's answer leaves first; then the descriptor with the first byte behind it. Return: as send. */
static ssize_t send_some(struct control_conn *conn)
{
	bool has_fd = conn->out_fd >= 0 && conn->out_fd_at == 0;
	struct iovec iov = {.iov_base = conn->out, .iov_len = conn->out_fd >= 0 && !has_fd ? conn->out_fd_at : conn->out_len};
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(sizeof(int))];
	} cmsg = {.hdr = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (has_fd) {
		memcpy(CMSG_DATA(&cmsg.hdr), &conn->out_fd, sizeof(int));
		msg.msg_control = &cmsg;
		msg.msg_controllen = sizeof(cmsg);
	}
	n = sendmsg(conn->src.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0 && has_fd) {
		close(conn->out_fd);
		conn->out_fd = -1;
	}
	return n;
}

/* Up to three bytes as four characters. */
static void encode(const uint8_t *src, size_t n, char *dst)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = (uint32_t)src[0] << 16 | (n > 1 ? (uint32_t)src[1] << 8 : 0) | (n > 2 ? src[2] : 0u);

	dst[0] = digits[bits >> 18];
	dst[1] = digits[bits >> 12 & 63];
	dst[2] = n > 1 ? digits[bits >> 6 & 63] : '=';
	dst[3] = n > 2 ? digits[bits & 63] : '=';
}

/* More of the picture into what waits to leave, and at its end the end of the answer. */
static void refill(struct control_conn *conn)
{
	static const char end[] = "\"}\n";

	while (conn->data_at < conn->data_len && CONTROL_OUT_MAX - conn->out_len >= 4 + sizeof(end)) {
		size_t n = conn->data_len - conn->data_at < 3 ? conn->data_len - conn->data_at : 3;

		encode(conn->data + conn->data_at, n, conn->out + conn->out_len);
		conn->data_at += n;
		conn->out_len += 4;
	}
	if (conn->data_at == conn->data_len) {
		memcpy(conn->out + conn->out_len, end, sizeof(end) - 1);
		conn->out_len += sizeof(end) - 1;
		drop_data(conn);
	}
}

static void write_out(struct control_conn *conn)
{
	size_t done = 0;

	if (conn->data) {
		refill(conn);
	}
	while (conn->out_len > 0 && !conn->dead && done < CONTROL_TURN_MAX) {
		ssize_t n = send_some(conn);

		if (n < 0) {
			conn->dead = errno != EAGAIN && errno != EINTR;
			return;
		}
		done += (size_t)n;
		conn->out_len -= (size_t)n;
		conn->out_fd_at -= conn->out_fd >= 0 ? (size_t)n : 0;
		memmove(conn->out, conn->out + n, conn->out_len);
		if (conn->data) {
			refill(conn);
		}
	}
}

/* Return: false when it is too long for one answer; then nothing was sent. */
static bool send_line(struct control_conn *conn, const json_t *object)
{
	size_t n = json_dumpb(object, conn->out + conn->out_len, CONTROL_ANSWER_MAX - 1, JSON_COMPACT);

	assert(has_room(conn));
	if (n == 0 || n > CONTROL_ANSWER_MAX - 1) {
		return false;
	}
	if (conn->data) {
		/* The picture comes before the last brace. */
		n += (size_t)sprintf(conn->out + conn->out_len + n - 1, ",\"base64\":\"") - 1;
		assert(n < CONTROL_ANSWER_MAX);
	} else {
		conn->out[conn->out_len + n++] = '\n';
	}
	conn->out_len += n;
	write_out(conn);
	return true;
}

/* Takes @object. */
static void answer(struct control_conn *conn, json_t *object)
{
	assert(conn->busy);
	if (conn->id) {
		json_object_set(object, "id", conn->id);
	}
	if (!send_line(conn, object)) {
		json_decref(object);
		object = json_pack("{s:b, s:{s:s, s:s}}", "ok", 0, "error", "code", "too-large", "text", "the answer is too large");
		send_line(conn, object);
	}
	json_decref(object);
	json_decref(conn->id);
	conn->id = NULL;
	conn->busy = false;
	/* An answer that comes later: the connection's next lines are looked at on a turn of their own. */
	if (!conn->serving) {
		loop_set_events(&conn->src, EPOLLIN | EPOLLOUT);
	}
}

void control_ok(struct control_conn *conn, json_t *fields)
{
	json_t *object = json_pack("{s:b}", "ok", 1);

	if (fields) {
		json_object_update(object, fields);
		json_decref(fields);
	}
	answer(conn, object);
}

void control_ok_fd(struct control_conn *conn, json_t *fields, int fd)
{
	assert(conn->out_fd < 0);
	conn->out_fd = fd;
	conn->out_fd_at = conn->out_len;
	control_ok(conn, fields);
}

void control_ok_base64(struct control_conn *conn, json_t *fields, int fd)
{
	off_t len = lseek(fd, 0, SEEK_END);
	void *map = len > 0 ? mmap(NULL, (size_t)len, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	close(fd);
	if (map == MAP_FAILED) {
		json_decref(fields);
		control_error(conn, "no-memory", "no memory");
		return;
	}
	conn->data = map;
	conn->data_len = (size_t)len;
	conn->data_at = 0;
	control_ok(conn, fields);
}

static json_t *__attribute__((format(printf, 2, 0))) error_object(const char *code, const char *fmt, va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, ap);
	return json_pack("{s:b, s:{s:s, s:o}}", "ok", 0, "error", "code", code, "text", json_text(text, sizeof(text)));
}

void control_error(struct control_conn *conn, const char *code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	answer(conn, error_object(code, fmt, ap));
	va_end(ap);
}

static void __attribute__((format(printf, 3, 4))) refuse(struct control_conn *conn, const char *code, const char *fmt, ...)
{
	va_list ap;

	conn->busy = true;
	va_start(ap, fmt);
	answer(conn, error_object(code, fmt, ap));
	va_end(ap);
}

static void handle_line(struct control_conn *conn, const char *line, size_t len)
{
	json_error_t err;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &err);
	const char *verb = json_string_value(json_object_get(request, "do"));
	json_t *id = json_object_get(request, "id");

	if (!request) {
		refuse(conn, "json", "column %d: %s", err.column, err.text);
	} else if (!json_is_object(request)) {
		refuse(conn, "json", "expected an object, {\"do\": ...}");
	} else if (id && !json_is_integer(id) && !json_is_string(id)) {
		refuse(conn, "field", "id: expected an integer or a string");
	} else if (!verb) {
		conn->id = json_incref(id);
		refuse(conn, "field", "do: expected a verb as a string");
	} else {
		conn->id = json_incref(id);
		conn->busy = true;
		conn->control->ops->request(conn->control->ctx, conn, verb, request);
	}
	json_decref(request);
}

/* Works off whole lines, as far as their answers have room. */
static void serve(struct control_conn *conn)
{
	size_t used = 0;
	char *end;

	conn->serving = true;
	while (!conn->busy && may_ask(conn) && (end = memchr(conn->in + used, '\n', conn->in_len - used))) {
		size_t len = (size_t)(end - conn->in) - used;

		if (len > 0) {
			handle_line(conn, conn->in + used, len);
		}
		used += len + 1;
	}
	memmove(conn->in, conn->in + used, conn->in_len - used);
	conn->in_len -= used;
	if (!conn->busy && may_ask(conn) && conn->in_len == CONTROL_LINE_MAX) {
		refuse(conn, "too-large", "a line has more than %d bytes", CONTROL_LINE_MAX - 1);
		conn->in_len = 0;
		conn->ended = true;
	}
	conn->serving = false;
}

static void on_event(struct loop_source *src, uint32_t events)
{
	struct control_conn *conn = (struct control_conn *)((char *)src - offsetof(struct control_conn, src));

	write_out(conn);
	if (wants_input(conn)) {
		ssize_t n = recv(src->fd, conn->in + conn->in_len, CONTROL_LINE_MAX - conn->in_len, MSG_DONTWAIT);

		if (n > 0) {
			conn->in_len += (size_t)n;
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			conn->ended = true;
		}
	}
	serve(conn);
	/* Whoever has closed both ways waits for nothing. The half line of one who has closed his is no request. */
	if ((conn->dead && !wants_input(conn)) || (conn->busy && (events & EPOLLHUP)) ||
		(conn->ended && !conn->busy && !conn->subscribed && conn->out_len == 0) || (conn->ended && (events & EPOLLHUP))) {
		close_conn(conn);
		return;
	}
	loop_set_events(src, (wants_input(conn) ? EPOLLIN : 0u) | (conn->out_len ? EPOLLOUT : 0u));
}

static void on_connection(struct listener *l, int fd, pid_t pid)
{
	static const char busy[] = "{\"ok\":false,\"error\":{\"code\":\"busy\",\"text\":\"too many connections\"}}\n";
	struct control *c = (struct control *)((char *)l - offsetof(struct control, listener));
	struct control_conn *conn = NULL;

	(void)pid;
	for (unsigned i = 0; !conn && i < CONTROL_CONNS_MAX; i++) {
		conn = c->conn[i].src.fd < 0 ? &c->conn[i] : NULL;
	}
	if (!conn) {
		send(fd, busy, sizeof(busy) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		close(fd);
		return;
	}
	*conn = (struct control_conn){.control = c, .in = malloc(CONTROL_LINE_MAX), .out = malloc(CONTROL_OUT_MAX),
		.src = {.fd = fd, .events = EPOLLIN, .fn = on_event}, .out_fd = -1};
	if (!conn->in || !conn->out || loop_add(c->loop, &conn->src) < 0) {
		free(conn->in);
		free(conn->out);
		close(fd);
		*conn = (struct control_conn){.control = c, .src.fd = -1, .out_fd = -1};
	}
}

int control_init(struct control *c, struct loop *loop, int fd, const struct control_ops *ops, void *ctx)
{
	int r;

	*c = (struct control){.loop = loop, .ops = ops, .ctx = ctx};
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		c->conn[i] = (struct control_conn){.control = c, .src.fd = -1, .out_fd = -1};
	}
	r = listener_init(&c->listener, loop, fd, "control", on_connection);
	if (r < 0) {
		close(fd);
		c->loop = NULL;
	}
	return r;
}

static void flush(struct control_conn *conn, uint64_t deadline)
{
	while (conn->out_len > 0 && !conn->dead && clock_now_ns() < deadline) {
		struct pollfd p = {.fd = conn->src.fd, .events = POLLOUT};

		poll(&p, 1, (int)((deadline - clock_now_ns()) / CLOCK_NS_PER_MS) + 1);
		write_out(conn);
	}
}

void control_finish(struct control *c, unsigned patience_ms, bool keep)
{
	uint64_t deadline = clock_now_ns() + patience_ms * (uint64_t)CLOCK_NS_PER_MS;

	if (!c->loop) {
		return;
	}
	listener_finish(&c->listener);
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		if (c->conn[i].src.fd >= 0) {
			flush(&c->conn[i], deadline);
			close_conn(&c->conn[i]);
		}
	}
	if (!keep) {
		close(c->listener.src.fd);
	}
	*c = (struct control){.loop = NULL};
}

void control_event(struct control *c, const char *event, json_t *fields)
{
	for (unsigned i = 0; c->loop && i < CONTROL_CONNS_MAX; i++) {
		struct control_conn *conn = &c->conn[i];
		json_t *object;

		if (conn->src.fd < 0 || !conn->subscribed) {
			continue;
		}
		/* Half of the buffer stays free for answers, and nothing comes in the middle of one. */
		if (conn->out_len > CONTROL_OUT_MAX / 2 || conn->data) {
			conn->dropped++;
			continue;
		}
		object = json_pack("{s:s, s:I}", "event", event, "t_ns", (json_int_t)clock_now_ns());
		if (conn->dropped) {
			json_object_set_new(object, "dropped", json_integer(conn->dropped));
			conn->dropped = 0;
		}
		if (fields) {
			json_object_update(object, fields);
		}
		send_line(conn, object);
		if (conn->out_len > 0 && !conn->serving) {
			loop_set_events(&conn->src, conn->src.events | EPOLLOUT);
		}
		json_decref(object);
	}
	json_decref(fields);
}

unsigned control_conn_index(const struct control_conn *conn)
{
	return (unsigned)(conn - conn->control->conn);
}
