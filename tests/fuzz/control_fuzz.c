/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the control socket. The input is what one client sends, in pieces: a byte that says how long the piece is and what happens
 * after it, then its bytes. Some requests are answered at once, some later, some never, some with a descriptor or with bytes in base64. What must hold: the buffers stay within
 * their bounds, a second client is served at any time, nothing is left when both are gone.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/dial.h"
#include "vmm/control.h"
#include "vmm/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct control control;
static struct loop loop;
static struct control_conn *waiting;

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static void must(int is_so)
{
	if (!is_so) {
		abort();
	}
}

static int memory(json_int_t len)
{
	int fd = memfd_create("control_fuzz", MFD_CLOEXEC);

	must(fd >= 0 && ftruncate(fd, (off_t)(len & 0x1ffff)) == 0);
	return fd;
}

static void on_request(void *ctx, struct control_conn *conn, const char *verb, json_t *request)
{
	json_error_t err;
	json_int_t n = 0;
	const char *s;

	(void)ctx;
	must(conn->busy);
	if (verb[0] == 'w') {
		waiting = conn;
	} else if (verb[0] == 's') {
		conn->subscribed = true;
		control_ok(conn, NULL);
	} else if (verb[0] == 'f') {
		control_ok_fd(conn, NULL, memory(0));
	} else if (verb[0] == 'b') {
		control_ok_base64(conn, json_pack("{s:i}", "n", 1), memory(json_integer_value(json_object_get(request, "n"))));
	} else if (json_unpack_ex(request, &err, JSON_STRICT, "{s:s, s?I}", "do", &s, "n", &n) == 0) {
		control_ok(conn, json_pack("{s:I}", "n", n));
	} else {
		control_error(conn, "field", "%s", err.text);
	}
}

static void on_gone(void *ctx, struct control_conn *conn)
{
	(void)ctx;
	waiting = waiting == conn ? NULL : waiting;
}

static void serve(void)
{
	for (int i = 0; i < 6; i++) {
		loop_run_once(&loop, 0);
	}
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		must(control.conn[i].in_len <= CONTROL_LINE_MAX && control.conn[i].out_len <= CONTROL_OUT_MAX);
	}
}

static int connect_peer(const char *path)
{
	int fd = dial(path, SOCK_STREAM);

	serve();
	return fd;
}

/* A client without faults is served, whatever the other one did. */
static void must_serve(int fd)
{
	char buf[256] = "";

	must(send(fd, "{\"do\":\"x\",\"n\":7}\n", 17, MSG_NOSIGNAL) == 17);
	serve();
	must(recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT) > 0 && strcmp(buf, "{\"ok\":true,\"n\":7}\n") == 0);
}

static void after(int fd, uint8_t what)
{
	char buf[4096];

	switch (what) {
	case 0:
		serve();
		break;
	case 1:
		while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0) {
		}
		break;
	case 2:
		if (waiting) {
			control_ok(waiting, NULL);
			waiting = NULL;
		}
		break;
	default:
		control_event(&control, "event", json_pack("{s:s}", "line", "text"));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct control_ops ops = {.request = on_request, .gone = on_gone};
	char path[64];
	int fd, other;

	log_set_hook(on_log);
	snprintf(path, sizeof(path), "/tmp/control_fuzz.%d", getpid());
	unlink(path);
	waiting = NULL;
	must(loop_init(&loop) == 0 && control_init(&control, &loop, listener_open(path, SOCK_STREAM, CONTROL_CONNS_MAX), &ops, NULL) == 0);
	fd = connect_peer(path);
	other = connect_peer(path);
	unlink(path);
	while (len > 0) {
		size_t n = *data & 63u;
		uint8_t what = *data >> 6;

		data++;
		len--;
		n = n < len ? n : len;
		if (n > 0 && send(fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			break;
		}
		data += n;
		len -= n;
		after(fd, what);
	}
	serve();
	must_serve(other);
	close(fd);
	close(other);
	serve();
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		must(control.conn[i].src.fd == -1);
	}
	control_finish(&control, 0, false);
	loop_finish(&loop);
	return 0;
}
