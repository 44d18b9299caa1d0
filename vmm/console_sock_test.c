/* SPDX-License-Identifier: MIT */
/* Who connects reads; who came first types; who does not read loses, and alone. */
#include "vmm/console_sock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/dial.h"
#include "vmm/control.h"

static struct loop loop;
static struct stream stream;
static struct console_sock console;
static char path[64], typed[65536];
static size_t ntyped, room; /* what the guest took, and still takes */

static void output_ready(struct stream *s)
{
	(void)s;
}

static size_t input(struct stream *s, const uint8_t *buf, size_t len)
{
	size_t n = len < room ? len : room;

	(void)s;
	memcpy(typed + ntyped, buf, n);
	ntyped += n;
	room -= n;
	return n;
}

static const struct stream_ops ops = {.output_ready = output_ready, .input = input};

static int set_up(void **state)
{
	(void)state;
	ntyped = 0;
	room = sizeof(typed) - 1;
	memset(typed, 0, sizeof(typed));
	stream_init(&stream, "test", &ops);
	assert_int_equal(loop_init(&loop), 0);
	snprintf(path, sizeof(path), "/tmp/console_sock_test.%d", getpid());
	unlink(path);
	return console_sock_init(&console, &loop, listener_open(path, SOCK_STREAM, CONTROL_CONNS_MAX), &stream);
}

static int tear_down(void **state)
{
	(void)state;
	console_sock_finish(&console, 10, false);
	loop_finish(&loop);
	unlink(path);
	return 0;
}

static void serve(void)
{
	for (int i = 0; i < 30; i++) {
		loop_run_once(&loop, 0);
	}
}

static int attach(void)
{
	int fd = dial(path, SOCK_STREAM);

	serve();
	return fd;
}

static void say(const char *text)
{
	assert_int_equal(stream_write(&stream, (const uint8_t *)text, strlen(text)), strlen(text));
}

static const char *hear(int fd)
{
	static char buf[1 << 20];
	size_t len = 0;
	ssize_t n;

	do {
		serve();
		n = recv(fd, buf + len, sizeof(buf) - 1 - len, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	buf[len] = '\0';
	return buf;
}

static void type(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	serve();
}

static void test_console_sock_tail_then_everything(void **state)
{
	int fd, other;

	(void)state;
	say("before\n");
	fd = attach();
	assert_string_equal(hear(fd), "before\n");
	say("now\n");
	other = attach();
	assert_string_equal(hear(fd), "now\n");
	assert_string_equal(hear(other), "before\nnow\n");
	close(fd);
	close(other);
}

static void test_console_sock_the_first_types(void **state)
{
	int first = attach(), second = attach();

	(void)state;
	type(second, "no");
	type(first, "yes");
	assert_string_equal(typed, "yes");
	close(first);
	serve();
	type(second, " me");
	assert_string_equal(typed, "yes me");
	close(second);
}

/* One who has closed his side is still shown the output, and leaves the keys to the next. */
static void test_console_sock_half_closed_reads_on(void **state)
{
	int first = attach(), second = attach();

	(void)state;
	type(first, "a");
	shutdown(first, SHUT_WR);
	serve();
	type(second, "b");
	assert_string_equal(typed, "ab");
	say("out\n");
	assert_string_equal(hear(first), "out\n");
	close(first);
	close(second);
}

static void test_console_sock_a_guest_that_takes_no_keys(void **state)
{
	int fd = attach();
	char keys[2001];

	(void)state;
	room = 3;
	memset(keys, 'k', sizeof(keys) - 1);
	keys[sizeof(keys) - 1] = '\0';
	type(fd, keys);
	assert_int_equal(ntyped, 3);
	assert_true(console.client[0].in_len <= sizeof(console.client[0].in));
	/* Nothing is lost: what it takes later comes in order. */
	room = sizeof(typed) - 10;
	stream_input_ready(&stream);
	serve();
	assert_int_equal(ntyped, sizeof(keys) - 1);
	close(fd);
}

static void test_console_sock_one_who_does_not_read(void **state)
{
	int deaf = attach(), good = attach();
	static char line[1001];
	size_t heard = 0;

	(void)state;
	memset(line, 'x', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	for (int i = 0; i < 2000; i++) {
		say(line);
		heard += strlen(hear(good));
	}
	assert_int_equal(heard, 2000 * (sizeof(line) - 1));
	assert_true(console.client[0].out_len <= CONSOLE_SOCK_HELD);
	assert_true(strlen(hear(deaf)) < heard);
	say("after\n");
	assert_non_null(strstr(hear(deaf), "output was lost here"));
	close(deaf);
	close(good);
}

static void test_console_sock_nine_clients(void **state)
{
	int fd[CONSOLE_SOCK_CLIENTS + 1];
	char byte;

	(void)state;
	for (int i = 0; i <= CONSOLE_SOCK_CLIENTS; i++) {
		fd[i] = attach();
	}
	assert_int_equal(recv(fd[CONSOLE_SOCK_CLIENTS], &byte, 1, MSG_DONTWAIT), 0);
	say("x");
	for (int i = 0; i < CONSOLE_SOCK_CLIENTS; i++) {
		assert_string_equal(hear(fd[i]), "x");
	}
	for (int i = 0; i <= CONSOLE_SOCK_CLIENTS; i++) {
		close(fd[i]);
	}
	serve();
	for (int i = 0; i < CONSOLE_SOCK_CLIENTS; i++) {
		assert_int_equal(console.client[i].src.fd, -1);
	}
}

int main(void)
{
#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH(test_console_sock_tail_then_everything),
		WITH(test_console_sock_the_first_types),
		WITH(test_console_sock_half_closed_reads_on),
		WITH(test_console_sock_a_guest_that_takes_no_keys),
		WITH(test_console_sock_one_who_does_not_read),
		WITH(test_console_sock_nine_clients),
	};

	return cmocka_run_group_tests_name("console_sock", tests, NULL, NULL);
}
