/* SPDX-License-Identifier: MIT */
#include "vmm/client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/client_priv.h"
#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/result.h"
#include "vmm/rundir.h"

#define CONNECT_PATIENCE_S 2
/* For each VM of a list, one after the other: a monitor on a machine that is overloaded takes a second. */
#define LIST_PATIENCE_MS 3000
/* Beyond the grace a VM was given: for its last words. */
#define END_PATIENCE_MS 30000
/* Ctrl-A */
#define DEFAULT_ESCAPE 1
/* Between two looks whether a process is gone. */
#define LOOK_MS 20

static int connect_to(const struct rundir *rd, const char *file)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	/* A monitor that is stopped takes no connections: when its queue is full, connect waits as well. */
	struct timeval patience = {.tv_sec = CONNECT_PATIENCE_S};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 || !rundir_file(rd, file, addr.sun_path, sizeof(addr.sun_path)) ||
		connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (fd >= 0) {
			close(fd);
		}
		return -1;
	}
	return fd;
}

/* The VM's folder. Return: EXIT_OK, or EXIT_NO_VM (said). */
static int find(struct rundir *rd, const char *name, pid_t *pid)
{
	char err[256];

	if (rundir_find(rd, name, err, sizeof(err)) == 0) {
		if (rundir_is_alive(rd, pid)) {
			return EXIT_OK;
		}
		close(rd->dir_fd);
		snprintf(err, sizeof(err), "no VM is called \"%s\"; see tinyvmm list", name);
	}
	log_msg(LOG_ERR, "%s", err);
	return EXIT_NO_VM;
}

int client_link_open(struct client_link *l, const char *name, struct rundir *rd)
{
	pid_t pid;
	int code = find(rd, name, &pid);

	l->len = 0;
	l->received_fd = -1;
	if (code != EXIT_OK) {
		return code;
	}
	l->fd = connect_to(rd, "control.sock");
	if (l->fd < 0) {
		log_msg(LOG_ERR, "%s: process %d does not answer: %s", name, pid, strerror(errno));
		close(rd->dir_fd);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

void client_link_close(struct client_link *l, struct rundir *rd)
{
	if (l->received_fd >= 0) {
		close(l->received_fd);
	}
	close(l->fd);
	close(rd->dir_fd);
}

/* One request is one line: a newline inside JSON is white space, and nothing at all would never be answered. */
static bool send_text(const struct client_link *l, const char *text)
{
	size_t len = *text ? strlen(text) : 1;
	char *line = malloc(len + 1);
	bool sent;

	if (!line) {
		return false;
	}
	memcpy(line, *text ? text : " ", len);
	for (size_t i = 0; i < len; i++) {
		line[i] = line[i] == '\n' ? ' ' : line[i];
	}
	line[len] = '\n';
	sent = send(l->fd, line, len + 1, MSG_NOSIGNAL) == (ssize_t)len + 1;
	free(line);
	return sent;
}

/* More bytes behind those in l->buf, and a descriptor where one comes with them. Return: as recv. */
static ssize_t receive(struct client_link *l)
{
	struct iovec iov = {.iov_base = l->buf + l->len, .iov_len = sizeof(l->buf) - l->len};
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(sizeof(int))];
	} cmsg;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cmsg, .msg_controllen = sizeof(cmsg)};
	ssize_t n = recvmsg(l->fd, &msg, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int))) {
		if (l->received_fd >= 0) {
			close(l->received_fd);
		}
		memcpy(&l->received_fd, CMSG_DATA(c), sizeof(int));
	}
	return n;
}

/* The next line without its newline, in l->buf until the next call. @timeout_ms -1: for ever. Return: NULL when there is none. */
static const char *read_line(struct client_link *l, size_t *used, int timeout_ms)
{
	uint64_t deadline = clock_now_ns() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * (uint64_t)CLOCK_NS_PER_MS;

	memmove(l->buf, l->buf + *used, l->len - *used);
	l->len -= *used;
	*used = 0;
	for (;;) {
		char *end = memchr(l->buf, '\n', l->len);
		struct pollfd p = {.fd = l->fd, .events = POLLIN};
		uint64_t now = clock_now_ns();
		ssize_t n;

		if (end) {
			*end = '\0';
			*used = (size_t)(end - l->buf) + 1;
			return l->buf;
		}
		if (l->len == sizeof(l->buf) || (timeout_ms >= 0 && now >= deadline)) {
			return NULL;
		}
		if (poll(&p, 1, timeout_ms < 0 ? -1 : (int)((deadline - now) / CLOCK_NS_PER_MS) + 1) > 0) {
			n = receive(l);
			if (n <= 0) {
				return NULL;
			}
			l->len += (size_t)n;
		}
	}
}

json_t *client_ask(struct client_link *l, json_t *request, int timeout_ms)
{
	char *text = json_dumps(request, JSON_COMPACT);
	size_t used = 0;
	const char *line = text && send_text(l, text) ? read_line(l, &used, timeout_ms) : NULL;
	json_t *answer = line ? json_loads(line, 0, NULL) : NULL;

	/* The next answer follows. */
	memmove(l->buf, l->buf + used, l->len - used);
	l->len -= used;
	free(text);
	json_decref(request);
	return answer;
}

int client_judge(const json_t *answer, const char *name)
{
	const char *code = "", *text = "it ended before it answered";

	if (answer && json_is_true(json_object_get(answer, "ok"))) {
		return EXIT_OK;
	}
	if (answer) {
		json_unpack((json_t *)answer, "{s:{s:s, s:s}}", "error", "code", &code, "text", &text);
	}
	log_msg(LOG_ERR, "%s: %s", name, text);
	return strcmp(code, "timeout") == 0 ? EXIT_TIMEOUT : EXIT_FAILED;
}

uint8_t client_escape(const struct rundir *rd)
{
	struct client_link l = {.fd = connect_to(rd, "control.sock"), .received_fd = -1};
	json_t *answer = l.fd < 0 ? NULL : client_ask(&l, json_pack("{s:s}", "do", "status"), CLIENT_PATIENCE_MS);
	json_int_t key = json_integer_value(json_object_get(answer, "escape"));

	json_decref(answer);
	if (l.fd >= 0) {
		close(l.fd);
	}
	return key > 0 && key < 0x20 ? (uint8_t)key : DEFAULT_ESCAPE;
}

/*
 * list
 */

struct list {
	bool json, any;
};

static void print_size(uint64_t bytes, char *buf, size_t len)
{
	if (bytes % (1u << 30) == 0) {
		snprintf(buf, len, "%" PRIu64 "G", bytes >> 30);
	} else {
		snprintf(buf, len, "%" PRIu64 "M", bytes >> 20);
	}
}

static void list_one(const struct rundir *rd, const char *name, pid_t pid, void *ctx)
{
	struct list *list = ctx;
	struct client_link l = {.fd = connect_to(rd, "control.sock"), .received_fd = -1};
	const char *state = l.fd >= 0 || errno == EAGAIN ? "silent" : "starting", *config = "", *display = "off";
	json_t *answer = l.fd >= 0 ? client_ask(&l, json_pack("{s:s}", "do", "status"), LIST_PATIENCE_MS) : NULL;
	json_int_t uptime = 0, memory = 0;
	char size[32] = "-";
	int cpus = 0, viewers = 0;
	char shown[32];

	if (answer) {
		json_unpack(answer, "{s:s, s:I, s:i, s:I, s:s}", "state", &state, "uptime_ms", &uptime, "cpus", &cpus, "memory", &memory, "config",
			&config);
		json_unpack(answer, "{s:s, s:i}", "display", &display, "viewers", &viewers);
		print_size((uint64_t)memory, size, sizeof(size));
	}
	if (list->json) {
		json_t *line = json_pack("{s:s, s:i, s:s, s:I, s:i, s:I, s:s, s:i, s:s}", "name", name, "pid", (int)pid, "state", state, "uptime_ms", uptime,
			"cpus", cpus, "memory", memory, "display", display, "viewers", viewers, "config", config);

		json_dumpf(line, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(line);
	} else {
		if (!list->any) {
			printf("%-20s %7s %-9s %9s %4s %7s %-7s %s\n", "NAME", "PID", "STATE", "UPTIME", "CPUS", "MEMORY", "DISPLAY", "CONFIG");
		}
		if (viewers) {
			snprintf(shown, sizeof(shown), "%s+%d", display, viewers);
		} else {
			snprintf(shown, sizeof(shown), "%s", display);
		}
		printf("%-20s %7d %-9s %8" PRId64 "s %4d %7s %-7s %s\n", name, pid, state, (int64_t)uptime / 1000, cpus, size, shown, config);
	}
	list->any = true;
	json_decref(answer);
	if (l.fd >= 0) {
		close(l.fd);
	}
}

int client_list(const struct options *o)
{
	struct list list = {.json = o->json};
	char err[256];

	if (rundir_each(list_one, &list, err, sizeof(err)) < 0) {
		log_msg(LOG_ERR, "%s", err);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

/*
 * stop
 */

/* Return: whether the process that had the lock is gone. */
static bool wait_until_gone(const struct rundir *rd, uint64_t deadline)
{
	pid_t pid;

	while (rundir_is_alive(rd, &pid)) {
		if (clock_now_ns() >= deadline) {
			return false;
		}
		poll(NULL, 0, LOOK_MS);
	}
	return true;
}

static int stop_one(const struct options *o, const char *name)
{
	json_t *request = json_pack("{s:s}", "do", "stop"), *answer;
	uint64_t patience = (o->has_grace ? o->grace_ns : 3600 * (uint64_t)CLOCK_NS_PER_S) + END_PATIENCE_MS * (uint64_t)CLOCK_NS_PER_MS;
	struct rundir rd;
	struct client_link l;
	int code = client_link_open(&l, name, &rd);

	if (code != EXIT_OK) {
		json_decref(request);
		return code;
	}
	if (o->kill) {
		json_object_set_new(request, "kill", json_true());
		patience = END_PATIENCE_MS * (uint64_t)CLOCK_NS_PER_MS;
	} else if (o->has_grace) {
		json_object_set_new(request, "grace_ms", json_integer((json_int_t)(o->grace_ns / (uint64_t)CLOCK_NS_PER_MS)));
	}
	answer = client_ask(&l, request, CLIENT_PATIENCE_MS);
	code = client_judge(answer, name);
	if (code == EXIT_OK && !wait_until_gone(&rd, clock_now_ns() + patience)) {
		log_msg(LOG_ERR, "%s: still there", name);
		code = EXIT_FAILED;
	}
	json_decref(answer);
	client_link_close(&l, &rd);
	return code;
}

struct names {
	char *name[256];
	unsigned n;
};

static void add_name(const struct rundir *rd, const char *name, pid_t pid, void *ctx)
{
	struct names *names = ctx;

	(void)rd;
	(void)pid;
	if (names->n < sizeof(names->name) / sizeof(names->name[0])) {
		names->name[names->n++] = strdup(name);
	}
}

int client_stop(const struct options *o)
{
	struct names names = {.n = 0};
	int worst = EXIT_OK;
	char err[256];

	if (o->all && rundir_each(add_name, &names, err, sizeof(err)) < 0) {
		log_msg(LOG_ERR, "%s", err);
		return EXIT_FAILED;
	}
	for (unsigned i = 0; i < names.n + o->nfiles; i++) {
		const char *name = i < names.n ? names.name[i] : o->files[i - names.n];
		int code = name ? stop_one(o, name) : EXIT_FAILED;

		worst = code != EXIT_OK ? code : worst;
	}
	for (unsigned i = 0; i < names.n; i++) {
		free(names.name[i]);
	}
	return worst;
}

int client_simple(const struct options *o, const char *verb)
{
	int worst = EXIT_OK;

	for (unsigned i = 0; i < o->nfiles; i++) {
		struct rundir rd;
		struct client_link l;
		int code = client_link_open(&l, o->files[i], &rd);

		if (code == EXIT_OK) {
			json_t *answer = client_ask(&l, json_pack("{s:s}", "do", verb), CLIENT_PATIENCE_MS);

			code = client_judge(answer, o->files[i]);
			json_decref(answer);
			client_link_close(&l, &rd);
		}
		worst = code != EXIT_OK ? code : worst;
	}
	return worst;
}

/*
 * wait
 */

/* `running`, `exit` or `text=RE` as a request. */
static json_t *wait_request(const char *what, uint64_t timeout_ns)
{
	json_t *request = json_pack("{s:s}", "do", "wait");

	if (strncmp(what, "text=", 5) == 0) {
		json_object_set_new(request, "for", json_string("text"));
		json_object_set_new(request, "text", json_string(what + 5));
	} else {
		json_object_set_new(request, "for", json_string(what));
	}
	if (timeout_ns) {
		json_object_set_new(request, "timeout_ms", json_integer((json_int_t)(timeout_ns / (uint64_t)CLOCK_NS_PER_MS)));
	}
	return request;
}

/* What result.json says, for a VM whose end nobody told us. Return: its exit code, or EXIT_FAILED. */
static int code_from_result(const struct rundir *rd)
{
	char path[4096];
	json_t *result = rundir_state_file(rd, "result.json", path, sizeof(path)) ? json_load_file(path, 0, NULL) : NULL;
	int code = EXIT_FAILED;

	if (result) {
		json_unpack(result, "{s:i}", "exit", &code);
		json_decref(result);
	}
	return code;
}

int client_wait(const struct options *o)
{
	const char *name = o->files[0], *what = o->wait_for ? o->wait_for : "exit";
	uint64_t deadline = o->timeout_ns ? clock_now_ns() + o->timeout_ns : 0;
	bool for_exit = strcmp(what, "exit") == 0;

	if (o->wait_screen) {
		return client_wait_screen(o);
	}

	for (;;) {
		uint64_t now = clock_now_ns();
		struct rundir rd;
		json_t *answer;
		struct client_link l;
		pid_t pid;
		int code = client_link_open(&l, name, &rd);

		if (code != EXIT_OK) {
			return code;
		}
		if (deadline && now >= deadline) {
			client_link_close(&l, &rd);
			return EXIT_TIMEOUT;
		}
		answer = client_ask(&l, wait_request(what, deadline ? deadline - now : 0), -1);
		if (!answer && rundir_is_alive(&rd, &pid)) {
			/* The guest was reset: the same VM, and a new socket connection. */
			client_link_close(&l, &rd);
			poll(NULL, 0, LOOK_MS);
			continue;
		}
		code = answer ? client_judge(answer, name) : for_exit ? code_from_result(&rd) : client_judge(NULL, name);
		if (answer && code == EXIT_OK && for_exit) {
			json_unpack(answer, "{s:i}", "exit", &code);
			wait_until_gone(&rd, clock_now_ns() + END_PATIENCE_MS * (uint64_t)CLOCK_NS_PER_MS);
		}
		json_decref(answer);
		client_link_close(&l, &rd);
		return code;
	}
}

/*
 * ctl
 */

/* A line that is longer than what a link holds, a picture in base64, which only an answer is that is no error. Return: whether its end came. */
static bool pass_on(struct client_link *l, size_t *used)
{
	const char *rest = NULL;

	while (!rest && l->len == sizeof(l->buf)) {
		fwrite(l->buf, 1, l->len, stdout);
		l->len = 0;
		rest = read_line(l, used, -1);
	}
	return rest && puts(rest) >= 0;
}

int client_ctl(const struct options *o)
{
	const char *name = o->files[0], *text = o->events ? "{\"do\":\"subscribe\"}" : o->files[1], *line;
	size_t used = 0;
	struct rundir rd;
	struct client_link l;
	int code = client_link_open(&l, name, &rd);

	if (code != EXIT_OK) {
		return code;
	}
	if (!send_text(&l, text)) {
		line = NULL;
	} else {
		line = read_line(&l, &used, -1);
	}
	if (!line && l.len == sizeof(l.buf) && pass_on(&l, &used)) {
		client_link_close(&l, &rd);
		return EXIT_OK;
	}
	while (line) {
		json_t *answer = json_loads(line, 0, NULL);

		puts(line);
		code = json_is_false(json_object_get(answer, "ok")) ? EXIT_FAILED : EXIT_OK;
		json_decref(answer);
		if (!o->events) {
			break;
		}
		fflush(stdout);
		line = read_line(&l, &used, -1);
	}
	if (!line && !o->events) {
		code = client_judge(NULL, name);
	}
	client_link_close(&l, &rd);
	return code;
}
