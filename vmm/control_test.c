/* SPDX-License-Identifier: MIT */
/* The protocol over a real socket: who asks what, when answers come, and what a peer that misbehaves can do to others. */
#include "vmm/control.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/dial.h"

static char dir[] = "/tmp/control_test.XXXXXX", path[64];
static struct loop loop;
static struct control control;
static struct control_conn *pending; /* asked to "wait", not answered */
static unsigned gone;

static int memory_with(const char *text)
{
	int fd = memfd_create("control_test", MFD_CLOEXEC);

	assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
	return fd;
}

/* Each byte depends on its place. */
static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 7 + i / 251);
}

static int memory_of(size_t len)
{
	int fd = memfd_create("control_test", MFD_CLOEXEC);
	uint8_t *bytes = malloc(len + 1);

	for (size_t i = 0; i < len; i++) {
		bytes[i] = byte_at(i);
	}
	assert_int_equal(pwrite(fd, bytes, len, 0), len);
	free(bytes);
	return fd;
}

/* "echo": answered with its field; "base64": with bytes; "file": the same, and a descriptor of memory with it; "wait": answered by the test; "subscribe"; "big": an answer that does not fit. */
static void on_request(void *ctx, struct control_conn *conn, const char *verb, json_t *request)
{
	(void)ctx;
	if (strcmp(verb, "echo") == 0) {
		control_ok(conn, json_pack("{s:O?}", "text", json_object_get(request, "text")));
	} else if (strcmp(verb, "wait") == 0) {
		pending = conn;
	} else if (strcmp(verb, "file") == 0) {
		control_ok_fd(conn, json_pack("{s:O?}", "text", json_object_get(request, "text")), memory_with(json_string_value(json_object_get(request, "text"))));
	} else if (strcmp(verb, "base64") == 0) {
		control_ok_base64(conn, json_pack("{s:i}", "n", 7), memory_of((size_t)json_integer_value(json_object_get(request, "len"))));
	} else if (strcmp(verb, "subscribe") == 0) {
		conn->subscribed = true;
		control_ok(conn, NULL);
	} else if (strcmp(verb, "big") == 0) {
		static char text[CONTROL_ANSWER_MAX + 1];

		memset(text, 'x', sizeof(text) - 1);
		control_ok(conn, json_pack("{s:s}", "text", text));
	} else {
		control_error(conn, "verb", "unknown verb \"%.20s\"", verb);
	}
}

static void on_gone(void *ctx, struct control_conn *conn)
{
	(void)ctx;
	gone++;
	if (pending == conn) {
		pending = NULL;
	}
}

static const struct control_ops ops = {.request = on_request, .gone = on_gone};

static int set_up(void **state)
{
	(void)state;
	pending = NULL;
	gone = 0;
	snprintf(path, sizeof(path), "%s/s", dir);
	unlink(path);
	assert_int_equal(loop_init(&loop), 0);
	return control_init(&control, &loop, listener_open(path, SOCK_STREAM, CONTROL_CONNS_MAX), &ops, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	control_finish(&control, 100, false);
	loop_finish(&loop);
	return 0;
}

static void serve(void)
{
	for (int i = 0; i < 50; i++) {
		loop_run_once(&loop, 0);
	}
}

static int connect_peer(void)
{
	int fd = dial(path, SOCK_STREAM);

	serve();
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	serve();
}

/* Everything that has come, at most a buffer full. */
static const char *hear(int fd)
{
	static char buf[1 << 20];
	ssize_t n;
	size_t len = 0;

	do {
		serve();
		n = recv(fd, buf + len, sizeof(buf) - 1 - len, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	buf[len] = '\0';
	return buf;
}

static bool hears_end(int fd)
{
	char byte;

	serve();
	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void test_control_answers_in_order_with_ids(void **state)
{
	int fd = connect_peer();

	(void)state;
	say(fd, "{\"do\":\"echo\",\"id\":1,\"text\":\"a\"}\n\n{\"do\":\"echo\",\"id\":\"two\"}\n{\"do\":\"nonsense\"}\n");
	assert_string_equal(hear(fd), "{\"ok\":true,\"text\":\"a\",\"id\":1}\n{\"ok\":true,\"text\":null,\"id\":\"two\"}\n"
				      "{\"ok\":false,\"error\":{\"code\":\"verb\",\"text\":\"unknown verb \\\"nonsense\\\"\"}}\n");
	close(fd);
}

static void test_control_pieces_make_a_line(void **state)
{
	static const char line[] = "{\"do\":\"echo\",\"text\":\"x\"}\n";
	int fd = connect_peer();

	(void)state;
	for (size_t i = 0; line[i]; i++) {
		assert_string_equal(hear(fd), "");
		say(fd, (char[]){line[i], '\0'});
	}
	assert_string_equal(hear(fd), "{\"ok\":true,\"text\":\"x\"}\n");
	close(fd);
}

static void test_control_what_is_no_request(void **state)
{
	static const struct {
		const char *line, *code;
	} bad[] = {{"garbage\n", "json"}, {"[]\n", "json"}, {"{}\n", "field"}, {"{\"do\":1}\n", "field"}, {"{\"do\":\"echo\",\"do\":\"echo\"}\n", "json"},
		{"{\"do\":\"echo\",\"id\":{}}\n", "field"}, {"{\"do\":\"echo\"\n", "json"}, {"\x01\xff\n", "json"}, {"null\n", "json"},
		/* A message that ends in the middle of a character is one all the same. */
		{"{\"do\":\"xxxxxxxxxxxxxxxxxxx\xc3\xbc\"}\n", "verb"}};
	int fd = connect_peer();
	char nul[] = "{\"do\":\"echo\0\"}\n", deep[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char code[40];
		const char *got;

		say(fd, bad[i].line);
		got = hear(fd);
		snprintf(code, sizeof(code), "\"ok\":false,\"error\":{\"code\":\"%s\"", bad[i].code);
		if (!strstr(got, code) || strcspn(got, "\n") + 1 != strlen(got)) {
			fail_msg("%s gave %s", bad[i].line, got);
		}
	}
	assert_int_equal(send(fd, nul, sizeof(nul) - 1, 0), sizeof(nul) - 1);
	assert_non_null(strstr(hear(fd), "\"ok\":false"));
	memset(deep, '[', sizeof(deep) - 2);
	strcpy(deep + sizeof(deep) - 2, "\n");
	say(fd, deep);
	assert_non_null(strstr(hear(fd), "\"ok\":false"));
	/* And it still listens. */
	say(fd, "{\"do\":\"echo\"}\n");
	assert_non_null(strstr(hear(fd), "\"ok\":true"));
	close(fd);
}

static void test_control_a_line_of_a_mebibyte_ends_the_connection(void **state)
{
	static char line[1 << 20];
	int fd = connect_peer(), other = connect_peer();
	size_t sent = 0;

	(void)state;
	memset(line, 'x', sizeof(line));
	while (sent < sizeof(line)) {
		ssize_t n = send(fd, line + sent, sizeof(line) - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		serve();
		if (n < 0) {
			break;
		}
		sent += (size_t)n;
	}
	assert_non_null(strstr(hear(fd), "too-large"));
	say(other, "{\"do\":\"echo\"}\n");
	assert_non_null(strstr(hear(other), "\"ok\":true"));
	close(fd);
	close(other);
}

/* The longest line that is allowed, to the byte. */
static void test_control_the_longest_line(void **state)
{
	static char line[CONTROL_LINE_MAX];
	int fd = connect_peer(), n = snprintf(line, sizeof(line), "{\"do\":\"none\",\"text\":\"");

	(void)state;
	memset(line + n, 'x', sizeof(line) - (size_t)n);
	memcpy(line + sizeof(line) - 3, "\"}\n", 3);
	for (size_t sent = 0; sent < sizeof(line); serve()) {
		ssize_t part = send(fd, line + sent, sizeof(line) - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		sent += part > 0 ? (size_t)part : 0;
	}
	assert_non_null(strstr(hear(fd), "unknown verb"));
	close(fd);
}

static void test_control_a_late_answer_holds_back_the_next_request(void **state)
{
	int fd = connect_peer(), other = connect_peer();

	(void)state;
	say(fd, "{\"do\":\"wait\",\"id\":1}\n{\"do\":\"echo\",\"id\":2}\n");
	assert_string_equal(hear(fd), "");
	assert_non_null(pending);
	say(other, "{\"do\":\"echo\"}\n");
	assert_non_null(strstr(hear(other), "\"ok\":true"));
	control_error(pending, "timeout", "no");
	assert_string_equal(hear(fd), "{\"ok\":false,\"error\":{\"code\":\"timeout\",\"text\":\"no\"},\"id\":1}\n{\"ok\":true,\"text\":null,\"id\":2}\n");
	close(fd);
	close(other);
}

static void test_control_half_closed_peers_get_their_answers(void **state)
{
	int fd = connect_peer();

	(void)state;
	say(fd, "{\"do\":\"echo\",\"id\":1}\n{\"do\":\"wait\",\"id\":2}\n{\"do\":\"echo\",\"id\":3}\n{\"do\":\"echo\"");
	shutdown(fd, SHUT_WR);
	serve();
	assert_string_equal(hear(fd), "{\"ok\":true,\"text\":null,\"id\":1}\n");
	control_ok(pending, NULL);
	/* The half line is no request. */
	assert_string_equal(hear(fd), "{\"ok\":true,\"id\":2}\n{\"ok\":true,\"text\":null,\"id\":3}\n");
	assert_true(hears_end(fd));
	assert_int_equal(gone, 1);
	close(fd);
}

static void test_control_a_peer_that_vanishes_is_forgotten(void **state)
{
	int fd = connect_peer();

	(void)state;
	say(fd, "{\"do\":\"wait\"}\n");
	assert_non_null(pending);
	close(fd);
	serve();
	assert_null(pending);
	assert_int_equal(gone, 1);
}

/* What was sent before the hang-up is done all the same. */
static void test_control_a_request_without_a_listener_is_done(void **state)
{
	int fd = dial(path, SOCK_STREAM);

	(void)state;
	assert_int_equal(send(fd, "{\"do\":\"subscribe\"}\n", 19, 0), 19);
	close(fd);
	serve();
	assert_int_equal(gone, 1);
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		assert_int_equal(control.conn[i].src.fd, -1);
	}
}

static void test_control_a_hundred_connections(void **state)
{
	int fd[100];
	unsigned served = 0, told = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		fd[i] = connect_peer();
	}
	for (int i = 0; i < 100; i++) {
		const char *got;

		send(fd[i], "{\"do\":\"echo\"}\n", 14, MSG_NOSIGNAL);
		got = hear(fd[i]);
		served += strstr(got, "\"ok\":true") != NULL;
		told += strstr(got, "too many connections") != NULL;
	}
	assert_int_equal(served, CONTROL_CONNS_MAX);
	assert_int_equal(told, 100 - CONTROL_CONNS_MAX);
	for (int i = 0; i < 100; i++) {
		close(fd[i]);
	}
	fd[0] = connect_peer();
	say(fd[0], "{\"do\":\"echo\"}\n");
	assert_non_null(strstr(hear(fd[0]), "\"ok\":true"));
	close(fd[0]);
}

/* It asks and asks and never reads: it is not read any more, and the others are served. */
static void test_control_a_reader_that_never_reads(void **state)
{
	static const char request[] = "{\"do\":\"echo\",\"text\":\"........................................................................\"}\n";
	int fd = connect_peer(), other = connect_peer();
	size_t sent = 0;

	(void)state;
	for (int quiet = 0; quiet < 20;) {
		ssize_t n = send(fd, request + sent % (sizeof(request) - 1), sizeof(request) - 1 - sent % (sizeof(request) - 1), MSG_DONTWAIT | MSG_NOSIGNAL);

		serve();
		quiet = n > 0 ? 0 : quiet + 1;
		sent += n > 0 ? (size_t)n : 0;
		assert_true(sent < 8u << 20);
	}
	assert_true(control.conn[0].out_len <= CONTROL_OUT_MAX && control.conn[0].in_len <= CONTROL_LINE_MAX);
	say(other, "{\"do\":\"echo\"}\n");
	assert_non_null(strstr(hear(other), "\"ok\":true"));
	/* Once it reads, every request has its answer. */
	size_t answers = 0;
	for (const char *got = hear(fd); *got; got = hear(fd)) {
		for (; *got; got++) {
			answers += *got == '\n';
		}
	}
	assert_int_equal(answers, sent / (sizeof(request) - 1));
	close(fd);
	close(other);
}

static void test_control_events_are_dropped_and_counted(void **state)
{
	int fd = connect_peer(), deaf = connect_peer();
	const char *got;

	(void)state;
	say(fd, "{\"do\":\"subscribe\"}\n");
	hear(fd);
	control_event(&control, "paused", json_pack("{s:i}", "n", 1));
	got = hear(fd);
	assert_non_null(strstr(got, "\"event\":\"paused\""));
	assert_non_null(strstr(got, "\"n\":1"));
	assert_string_equal(hear(deaf), "");
	/* Far more than any buffer holds. */
	for (unsigned i = 0; i < 50000; i++) {
		control_event(&control, "text", json_pack("{s:s}", "line", "................................................................"));
	}
	assert_true(control.conn[0].out_len <= CONTROL_OUT_MAX);
	assert_true(control.conn[0].dropped > 0);
	hear(fd);
	control_event(&control, "last", NULL);
	got = hear(fd);
	assert_non_null(strstr(got, "\"dropped\":"));
	assert_non_null(strstr(got, "\"event\":\"last\""));
	control_event(&control, "more", NULL);
	assert_null(strstr(hear(fd), "dropped"));
	close(fd);
	close(deaf);
}

static void test_control_an_answer_that_is_too_large(void **state)
{
	int fd = connect_peer();

	(void)state;
	say(fd, "{\"do\":\"big\"}\n{\"do\":\"echo\"}\n");
	assert_string_equal(hear(fd),
		"{\"ok\":false,\"error\":{\"code\":\"too-large\",\"text\":\"the answer is too large\"}}\n{\"ok\":true,\"text\":null}\n");
	close(fd);
}

static void test_control_finish_delivers_the_last_answer(void **state)
{
	int fd = connect_peer();
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	say(fd, "{\"do\":\"wait\"}\n");
	control_ok(pending, NULL);
	control_finish(&control, 100, false);
	assert_string_equal(hear(fd), "{\"ok\":true}\n");
	assert_true(hears_end(fd));
	close(fd);
}

/* The next bytes that came, and a descriptor that came with the last answer in them, or -1: the kernel joins what comes before one, and nothing after it. */
static const char *hear_some(int fd, int *received)
{
	static char buf[CONTROL_OUT_MAX + 1];
	struct iovec iov = {buf, sizeof(buf) - 1};
	char cmsg[CMSG_SPACE(4 * sizeof(int))];
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = cmsg, .msg_controllen = sizeof(cmsg)};
	const struct cmsghdr *c;
	ssize_t n;

	serve();
	n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	buf[n > 0 ? n : 0] = '\0';
	c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	*received = -1;
	if (c) {
		assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(int)));
		memcpy(received, CMSG_DATA(c), sizeof(int));
	}
	return buf;
}

static void expect_in_memory(int fd, const char *text)
{
	char buf[32] = "";

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, sizeof(buf) - 1, 0), strlen(text));
	assert_string_equal(buf, text);
	close(fd);
}

static void test_control_a_descriptor_comes_with_its_answer(void **state)
{
	int fd = connect_peer(), received;

	(void)state;
	say(fd, "{\"do\":\"echo\",\"text\":1}\n{\"do\":\"file\",\"text\":\"first\"}\n{\"do\":\"file\",\"text\":\"second\"}\n{\"do\":\"echo\",\"text\":2}\n");
	assert_string_equal(hear_some(fd, &received), "{\"ok\":true,\"text\":1}\n{\"ok\":true,\"text\":\"first\"}\n");
	expect_in_memory(received, "first");
	assert_string_equal(hear_some(fd, &received), "{\"ok\":true,\"text\":\"second\"}\n");
	expect_in_memory(received, "second");
	assert_string_equal(hear_some(fd, &received), "{\"ok\":true,\"text\":2}\n");
	assert_int_equal(received, -1);
	close(fd);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 3; fd < 256; fd++) {
		n += fcntl(fd, F_GETFD) >= 0;
	}
	return n;
}

/* Its output is full when the answer with the descriptor comes: it leaves with that answer all the same, and no other request is looked at before. */
static void test_control_a_descriptor_waits_for_a_slow_reader(void **state)
{
	unsigned before = open_descriptors(), files = 0, lines = 0;
	int fd = connect_peer(), received;
	const char *text;

	(void)state;
	/* As many answers as the socket and the buffer here hold, each with a descriptor or without. */
	for (int i = 0; i < 2000; i++) {
		static const char asks[] = "{\"do\":\"echo\",\"text\":\"________________________________________\"}\n{\"do\":\"file\",\"text\":\"x\"}\n";

		if (send(fd, asks, strlen(asks), MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)strlen(asks)) {
			break;
		}
		lines += 2;
		serve();
		assert_true(open_descriptors() < before + 300);
	}
	assert_true(lines > 200);
	while (lines > 0) {
		text = hear_some(fd, &received);
		if (received >= 0) {
			assert_string_equal(text + strlen(text) - 23, "{\"ok\":true,\"text\":\"x\"}\n");
			expect_in_memory(received, "x");
			files++;
		}
		for (assert_true(*text); *text; text++) {
			lines -= *text == '\n';
		}
	}
	assert_true(files > 100);
	close(fd);
	serve();
	assert_int_equal(open_descriptors(), before);
}

/* Values of the digits from @text on. Return: bytes decoded. */
static size_t decode(const char *text, size_t len, uint8_t *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = 0;

	assert_int_equal(len % 4, 0);
	for (size_t i = 0; i < len; i += 4) {
		uint32_t bits = 0;
		unsigned pad = (text[i + 2] == '=') + (text[i + 3] == '=');

		assert_true(pad == 0 || i + 4 == len);
		for (unsigned c = 0; c < 4; c++) {
			const char *digit = strchr(digits, text[i + c]);

			assert_true(digit || (text[i + c] == '=' && c >= 2));
			bits = bits << 6 | (digit ? (uint32_t)(digit - digits) : 0);
		}
		for (unsigned b = 0; b < 3 - pad; b++) {
			out[n++] = (uint8_t)(bits >> (16 - 8 * b));
		}
	}
	return n;
}

static void test_control_bytes_as_base64(void **state)
{
	static const size_t lens[] = {1, 2, 3, 4, 47, 16384, 49000, 500000};
	static uint8_t bytes[500000 + 3];
	int fd = connect_peer();

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		char request[64];
		const char *text;
		char *start;
		json_t *answer;

		snprintf(request, sizeof(request), "{\"do\":\"base64\",\"len\":%zu,\"id\":3}\n{\"do\":\"echo\"}\n", lens[i]);
		say(fd, request);
		text = hear(fd);
		start = strchr(text, '\n');
		assert_non_null(start);
		/* One line, and the next answer behind it. */
		assert_string_equal(start, "\n{\"ok\":true,\"text\":null}\n");
		answer = json_loadb(text, (size_t)(start - text), 0, NULL);
		assert_non_null(answer);
		assert_int_equal(json_integer_value(json_object_get(answer, "n")), 7);
		assert_int_equal(json_integer_value(json_object_get(answer, "id")), 3);
		text = json_string_value(json_object_get(answer, "base64"));
		assert_int_equal(decode(text, strlen(text), bytes), lens[i]);
		for (size_t b = 0; b < lens[i]; b++) {
			assert_int_equal(bytes[b], byte_at(b));
		}
		json_decref(answer);
	}
	close(fd);
}

/* Whoever does not read it holds up nobody, gets no event in the middle of it, and may leave. */
static void test_control_base64_and_a_slow_reader(void **state)
{
	int fd = connect_peer(), other = connect_peer();
	const char *text;

	(void)state;
	say(fd, "{\"do\":\"subscribe\"}\n{\"do\":\"base64\",\"len\":400000}\n");
	control_event(&control, "one", NULL);
	control_event(&control, "two", NULL);
	say(other, "{\"do\":\"echo\"}\n");
	assert_string_equal(hear(other), "{\"ok\":true,\"text\":null}\n");
	text = hear(fd);
	assert_null(strstr(text, "event"));
	assert_string_equal(text + strlen(text) - 3, "\"}\n");
	control_event(&control, "three", NULL);
	assert_non_null(strstr(hear(fd), "\"dropped\":2"));
	say(fd, "{\"do\":\"base64\",\"len\":500000}\n");
	close(fd);
	serve();
	assert_int_equal(gone, 1);
	fd = connect_peer();
	say(fd, "{\"do\":\"base64\",\"len\":0}\n");
	assert_non_null(strstr(hear(fd), "no-memory"));
	close(fd);
	close(other);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH(test_control_answers_in_order_with_ids),
		WITH(test_control_pieces_make_a_line),
		WITH(test_control_what_is_no_request),
		WITH(test_control_a_line_of_a_mebibyte_ends_the_connection),
		WITH(test_control_the_longest_line),
		WITH(test_control_a_late_answer_holds_back_the_next_request),
		WITH(test_control_half_closed_peers_get_their_answers),
		WITH(test_control_a_peer_that_vanishes_is_forgotten),
		WITH(test_control_a_request_without_a_listener_is_done),
		WITH(test_control_a_hundred_connections),
		WITH(test_control_a_reader_that_never_reads),
		WITH(test_control_events_are_dropped_and_counted),
		WITH(test_control_an_answer_that_is_too_large),
		WITH(test_control_finish_delivers_the_last_answer),
		WITH(test_control_a_descriptor_comes_with_its_answer),
		WITH(test_control_a_descriptor_waits_for_a_slow_reader),
		WITH(test_control_bytes_as_base64),
		WITH(test_control_base64_and_a_slow_reader),
	};

	return cmocka_run_group_tests_name("control", tests, make_dir, remove_dir);
}
