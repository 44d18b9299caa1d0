/* SPDX-License-Identifier: MIT */
/* Streams: no byte lost, both sides called back, and the tail printed as plain text. */
#include "devices/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static unsigned output_ready, input_ready, opened;
static size_t device_room;

static void dev_output_ready(struct stream *s)
{
	(void)s;
	output_ready++;
}

static size_t dev_input(struct stream *s, const uint8_t *buf, size_t len)
{
	(void)s;
	(void)buf;
	return len < device_room ? len : device_room;
}

static const struct stream_ops dev_ops = {.output_ready = dev_output_ready, .input = dev_input};

struct sink {
	struct stream_sink base;
	size_t room, len;
	char buf[64];
};

static size_t sink_room(struct stream_sink *k)
{
	return ((struct sink *)k)->room;
}

static void sink_write(struct stream_sink *k, const uint8_t *buf, size_t len)
{
	struct sink *sink = (struct sink *)k;

	assert_true(len <= sink->room);
	sink->room -= len;
	for (size_t i = 0; i < len && sink->len < sizeof(sink->buf) - 1; i++) {
		sink->buf[sink->len++] = (char)buf[i];
	}
}

static void sink_input_ready(struct stream_sink *k)
{
	(void)k;
	input_ready++;
}

static void sink_open_changed(struct stream_sink *k)
{
	opened += k->stream->open;
}

static const struct stream_sink_ops sink_ops = {
	.room = sink_room,
	.write = sink_write,
	.input_ready = sink_input_ready,
	.open_changed = sink_open_changed,
};

static struct stream s;

static int setup(void **state)
{
	(void)state;
	output_ready = input_ready = opened = 0;
	stream_init(&s, "test", &dev_ops);
	return 0;
}

static size_t put(const char *text)
{
	return stream_write(&s, (const uint8_t *)text, strlen(text));
}

static char *tail(void)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	stream_print_tail(&s, f, STREAM_TAIL_LINES);
	fclose(f);
	return text;
}

static void assert_tail(const char *want)
{
	char *text = tail();

	assert_string_equal(text, want);
	free(text);
}

static void test_stream_takes_what_the_fullest_sink_takes(void **state)
{
	struct sink a = {.room = 10}, b = {.room = 3};

	(void)state;
	stream_attach(&s, &a.base, &sink_ops);
	stream_attach(&s, &b.base, &sink_ops);
	assert_int_equal(put("hello"), 3);
	assert_string_equal(a.buf, "hel");
	assert_string_equal(b.buf, "hel");
	assert_int_equal(put("lo"), 0);
}

static void test_stream_without_sinks_takes_everything(void **state)
{
	(void)state;
	assert_int_equal(put("hello"), 5);
	assert_tail("hello\n");
}

static void test_stream_device_is_called_back_once_all_sinks_have_room(void **state)
{
	struct sink a = {.room = 0}, b = {.room = 0};

	(void)state;
	stream_attach(&s, &a.base, &sink_ops);
	stream_attach(&s, &b.base, &sink_ops);
	assert_int_equal(put("x"), 0);
	a.room = 5;
	stream_sink_ready(&a.base);
	assert_int_equal(output_ready, 0);
	b.room = 5;
	stream_sink_ready(&b.base);
	assert_int_equal(output_ready, 1);
	stream_sink_ready(&b.base);
	assert_int_equal(output_ready, 1);
}

static void test_stream_detaching_the_stuck_sink_frees_the_device(void **state)
{
	struct sink a = {.room = 9}, b = {.room = 0};

	(void)state;
	stream_attach(&s, &a.base, &sink_ops);
	stream_attach(&s, &b.base, &sink_ops);
	assert_int_equal(stream_room(&s), 0);
	stream_detach(&b.base);
	assert_int_equal(output_ready, 1);
	stream_detach(&b.base);
	assert_int_equal(put("abc"), 3);
	assert_string_equal(a.buf, "abc");
}

static void test_stream_input_is_taken_as_far_as_the_device_goes(void **state)
{
	struct sink a = {.room = 9};

	(void)state;
	stream_attach(&s, &a.base, &sink_ops);
	device_room = 2;
	assert_int_equal(stream_input(&a.base, (const uint8_t *)"abc", 3), 2);
	stream_input_ready(&s);
	assert_int_equal(input_ready, 1);
	assert_false(stream_send_break(&a.base));
	stream_resize(&a.base, 80, 24);
}

static void test_stream_opening_is_told_once(void **state)
{
	struct sink a = {.room = 9};

	(void)state;
	stream_attach(&s, &a.base, &sink_ops);
	stream_set_open(&s, true);
	stream_set_open(&s, true);
	assert_int_equal(opened, 1);
}

static void test_stream_tail_is_the_last_lines(void **state)
{
	char *text;

	(void)state;
	for (int i = 1; i <= 1000; i++) {
		char line[32];

		snprintf(line, sizeof(line), "line %d\r\n", i);
		put(line);
	}
	text = tail();
	assert_int_equal(strncmp(text, "line 981\n", 9), 0);
	assert_non_null(strstr(text, "line 1000\n"));
	assert_null(strstr(text, "line 980"));
	free(text);
	put("login: ");
	text = tail();
	assert_int_equal(strncmp(text, "line 982\n", 9), 0);
	assert_non_null(strstr(text, "line 1000\nlogin: \n"));
	free(text);
}

static void test_stream_tail_of_one_endless_line_is_bounded(void **state)
{
	char *text;
	static uint8_t big[3 * STREAM_TAIL_MAX];

	(void)state;
	memset(big, 'x', sizeof(big));
	stream_write(&s, big, sizeof(big));
	text = tail();
	assert_int_equal(strlen(text), STREAM_TAIL_MAX + 1);
	free(text);
}

static void test_stream_tail_has_no_control_sequences(void **state)
{
	(void)state;
	put("\033[31mred\033[0m \033]0;title\007bell\a \033(Bend\b\x7f\r\n\033[?25");
	assert_tail("red bell end\n");
	put("\r\n\302\2332J");
	assert_tail("red bell end\n\n??2J\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_stream_takes_what_the_fullest_sink_takes, setup),
		cmocka_unit_test_setup(test_stream_without_sinks_takes_everything, setup),
		cmocka_unit_test_setup(
			test_stream_device_is_called_back_once_all_sinks_have_room, setup),
		cmocka_unit_test_setup(
			test_stream_detaching_the_stuck_sink_frees_the_device, setup),
		cmocka_unit_test_setup(test_stream_input_is_taken_as_far_as_the_device_goes, setup),
		cmocka_unit_test_setup(test_stream_opening_is_told_once, setup),
		cmocka_unit_test_setup(test_stream_tail_is_the_last_lines, setup),
		cmocka_unit_test_setup(test_stream_tail_of_one_endless_line_is_bounded, setup),
		cmocka_unit_test_setup(test_stream_tail_has_no_control_sequences, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
