/* SPDX-License-Identifier: MIT */
#include "vmm/console_sock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/clock.h"

static void close_client(struct console_client *k)
{
	struct console_sock *c = k->owner;

	loop_remove(&k->src);
	close(k->src.fd);
	free(k->out);
	*k = (struct console_client){.owner = c, .src.fd = -1};
}

/* The one who may type. */
static struct console_client *writer(struct console_sock *c)
{
	struct console_client *first = NULL;

	for (unsigned i = 0; i < CONSOLE_SOCK_CLIENTS; i++) {
		struct console_client *k = &c->client[i];

		if (k->src.fd >= 0 && !k->reading && (!first || k->order < first->order)) {
			first = k;
		}
	}
	return first;
}

static void update_events(struct console_client *k)
{
	bool input = !k->reading && k->in_len < sizeof(k->in);

	loop_set_events(&k->src, (input ? EPOLLIN : 0u) | (k->out_len ? EPOLLOUT : 0u));
}

/* Return: false when the client is gone. */
static bool write_out(struct console_client *k)
{
	while (k->out_len > 0) {
		ssize_t n = send(k->src.fd, k->out, k->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			return true;
		}
		if (n < 0) {
			return false;
		}
		k->out_len -= (size_t)n;
		memmove(k->out, k->out + n, k->out_len);
	}
	return true;
}

static void add_out(struct console_client *k, const uint8_t *buf, size_t len)
{
	static const char lost[] = "\r\n[tinyvmm: output was lost here]\r\n";
	size_t note = k->lossy ? sizeof(lost) - 1 : 0;

	if (len + note > CONSOLE_SOCK_HELD - k->out_len) {
		k->lossy = true;
		return;
	}
	memcpy(k->out + k->out_len, lost, note);
	memcpy(k->out + k->out_len + note, buf, len);
	k->out_len += note + len;
	k->lossy = false;
}

/* Input of anybody but the writer is read and thrown away: so a reader's hanging up is noticed. */
static void pass_input(struct console_client *k)
{
	size_t n;

	if (k != writer(k->owner)) {
		k->in_len = 0;
		return;
	}
	n = stream_input(&k->owner->sink, k->in, k->in_len);
	k->in_len -= n;
	memmove(k->in, k->in + n, k->in_len);
}

static void on_client(struct loop_source *src, uint32_t events)
{
	struct console_client *k = (struct console_client *)((char *)src - offsetof(struct console_client, src));
	bool alive = write_out(k);

	if (alive && !k->reading && k->in_len < sizeof(k->in)) {
		ssize_t n = recv(src->fd, k->in + k->in_len, sizeof(k->in) - k->in_len, MSG_DONTWAIT);

		k->in_len += n > 0 ? (size_t)n : 0;
		k->reading = n == 0;
		alive = n >= 0 || errno == EAGAIN || errno == EINTR;
	}
	if (!alive || (events & (EPOLLHUP | EPOLLERR))) {
		close_client(k);
		return;
	}
	if (k->in_len > 0) {
		pass_input(k);
	}
	update_events(k);
}

static size_t sock_room(struct stream_sink *s)
{
	(void)s;
	return SIZE_MAX;
}

static void sock_write(struct stream_sink *s, const uint8_t *buf, size_t len)
{
	struct console_sock *c = (struct console_sock *)((char *)s - offsetof(struct console_sock, sink));

	for (unsigned i = 0; i < CONSOLE_SOCK_CLIENTS; i++) {
		struct console_client *k = &c->client[i];

		if (k->src.fd >= 0) {
			add_out(k, buf, len);
			/* A client that is gone is noticed on its own turn, by the event that says so. */
			write_out(k);
			update_events(k);
		}
	}
}

static void sock_input_ready(struct stream_sink *s)
{
	struct console_sock *c = (struct console_sock *)((char *)s - offsetof(struct console_sock, sink));
	struct console_client *k = writer(c);

	if (k && k->in_len > 0) {
		pass_input(k);
		update_events(k);
	}
}

static const struct stream_sink_ops sock_ops = {.room = sock_room, .write = sock_write, .input_ready = sock_input_ready};

/* What the stream remembers, as it was. */
static void add_tail(struct console_client *k, const struct stream *s)
{
	uint64_t from = s->tail_total > STREAM_TAIL_MAX ? s->tail_total - STREAM_TAIL_MAX : 0;

	for (; from < s->tail_total; from++) {
		add_out(k, &s->tail[from % STREAM_TAIL_MAX], 1);
	}
}

static void on_connection(struct listener *l, int fd, pid_t pid)
{
	struct console_sock *c = (struct console_sock *)((char *)l - offsetof(struct console_sock, listener));
	struct console_client *k = NULL;

	(void)pid;
	for (unsigned i = 0; !k && i < CONSOLE_SOCK_CLIENTS; i++) {
		k = c->client[i].src.fd < 0 ? &c->client[i] : NULL;
	}
	if (!k) {
		close(fd);
		return;
	}
	*k = (struct console_client){.owner = c, .out = malloc(CONSOLE_SOCK_HELD), .order = ++c->came,
		.src = {.fd = fd, .events = EPOLLIN, .fn = on_client}};
	if (!k->out || loop_add(c->loop, &k->src) < 0) {
		free(k->out);
		close(fd);
		*k = (struct console_client){.owner = c, .src.fd = -1};
		return;
	}
	add_tail(k, c->sink.stream);
	write_out(k);
	update_events(k);
}

int console_sock_init(struct console_sock *c, struct loop *loop, int fd, struct stream *s)
{
	int r;

	*c = (struct console_sock){.loop = loop};
	for (unsigned i = 0; i < CONSOLE_SOCK_CLIENTS; i++) {
		c->client[i] = (struct console_client){.owner = c, .src.fd = -1};
	}
	r = listener_init(&c->listener, loop, fd, "console", on_connection);
	if (r < 0) {
		close(fd);
		c->loop = NULL;
		return r;
	}
	stream_attach(s, &c->sink, &sock_ops);
	return 0;
}

void console_sock_finish(struct console_sock *c, unsigned patience_ms, bool keep)
{
	uint64_t deadline = clock_now_ns() + patience_ms * (uint64_t)CLOCK_NS_PER_MS;

	if (!c->loop) {
		return;
	}
	listener_finish(&c->listener);
	stream_detach(&c->sink);
	for (unsigned i = 0; i < CONSOLE_SOCK_CLIENTS; i++) {
		struct console_client *k = &c->client[i];

		while (k->src.fd >= 0 && write_out(k) && k->out_len > 0 && clock_now_ns() < deadline) {
			struct pollfd p = {.fd = k->src.fd, .events = POLLOUT};

			poll(&p, 1, 10);
		}
		if (k->src.fd >= 0) {
			close_client(k);
		}
	}
	if (!keep) {
		close(c->listener.src.fd);
	}
	*c = (struct console_sock){.loop = NULL};
}
