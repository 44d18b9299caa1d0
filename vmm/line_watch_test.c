/* SPDX-License-Identifier: MIT */
/* Output as lines: what a terminal would act on is gone, prompts show up, nothing grows. */
#include "vmm/line_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "vmm/clock.h"

static struct loop loop;
static struct stream stream;
static struct line_watch watch;
static char lines[8192];

static void on_line(void *ctx, const char *line, bool done)
{
	(void)ctx;
	if (strlen(lines) + strlen(line) + 3 < sizeof(lines)) {
		strcat(strcat(lines, line), done ? "$" : "~");
	}
}

static void output_ready(struct stream *s)
{
	(void)s;
}

static size_t input(struct stream *s, const uint8_t *buf, size_t len)
{
	(void)s;
	(void)buf;
	return len;
}

static const struct stream_ops ops = {.output_ready = output_ready, .input = input};

static int set_up(void **state)
{
	(void)state;
	lines[0] = '\0';
	stream_init(&stream, "test", &ops);
	assert_int_equal(loop_init(&loop), 0);
	line_watch_attach(&watch, &loop, &stream, on_line, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	line_watch_detach(&watch);
	loop_finish(&loop);
	return 0;
}

static void put(const char *text)
{
	assert_int_equal(stream_write(&stream, (const uint8_t *)text, strlen(text)), strlen(text));
}

static void rest(void)
{
	uint64_t end = clock_now_ns() + 3 * LINE_WATCH_DELAY_NS;

	while (clock_now_ns() < end) {
		loop_run_once(&loop, 1);
	}
}

static void test_line_watch_lines_without_terminal_talk(void **state)
{
	(void)state;
	put("plain\r\n\x1b[1;31mred\x1b[0m text\n\x1b]0;title\x07" "after\n\x1b]8;;x\x1b\\link\n\x1b(Bset\n\ttab \x01\x02 control\x7f\n\n");
	assert_string_equal(lines, "plain$red text$after$link$set$\ttab  control$$");
}

static void test_line_watch_pieces_make_a_line(void **state)
{
	static const char text[] = "ab\x1b[3" "1mcd\r\nef\n";

	(void)state;
	for (size_t i = 0; text[i]; i++) {
		put((char[]){text[i], '\0'});
	}
	assert_string_equal(lines, "abcd$ef$");
}

static void test_line_watch_shows_a_prompt_after_a_moment(void **state)
{
	(void)state;
	put("login: ");
	assert_string_equal(lines, "");
	rest();
	assert_string_equal(lines, "login: ~");
	rest();
	assert_string_equal(lines, "login: ~"); /* once for each change */
	put("root\n");
	assert_string_equal(lines, "login: ~login: root$");
}

static void test_line_watch_a_line_without_end_does_not_grow(void **state)
{
	(void)state;
	for (int i = 0; i < 100000; i++) {
		put("0123456789");
		assert_true(watch.len <= LINE_WATCH_MAX);
	}
	put("\n");
	/* What lies across the cut is seen whole, wherever that is. */
	for (size_t before = LINE_WATCH_MAX - 8; before <= LINE_WATCH_MAX + 2; before++) {
		lines[0] = '\0';
		for (size_t i = 0; i < before; i++) {
			put(".");
		}
		put("needle\n");
		assert_non_null(strstr(lines, "needle"));
	}
}

static void test_line_watch_a_cut_title_ends_with_its_line(void **state)
{
	(void)state;
	put("\x1b]0;never ended\nnext\n");
	assert_string_equal(lines, "next$");
}

static void test_line_watch_detach_shows_the_rest(void **state)
{
	(void)state;
	put("last words");
	line_watch_detach(&watch);
	assert_string_equal(lines, "last words~");
	put("nobody looks\n");
	assert_string_equal(lines, "last words~");
}

int main(void)
{
#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH(test_line_watch_lines_without_terminal_talk),
		WITH(test_line_watch_pieces_make_a_line),
		WITH(test_line_watch_shows_a_prompt_after_a_moment),
		WITH(test_line_watch_a_line_without_end_does_not_grow),
		WITH(test_line_watch_a_cut_title_ends_with_its_line),
		WITH(test_line_watch_detach_shows_the_rest),
	};

	return cmocka_run_group_tests_name("line_watch", tests, NULL, NULL);
}
