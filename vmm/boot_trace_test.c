/* SPDX-License-Identifier: MIT */
/* The lines of --trace=boot, by a clock of the test's. */
#include "vmm/boot_trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/clock.h"

static char *text;

static void printed(void)
{
	size_t len;
	FILE *f;

	free(text);
	f = open_memstream(&text, &len);
	assert_non_null(f);
	boot_trace_print(f);
	fclose(f);
}

static void ready(struct stream *s)
{
	(void)s;
}

static size_t input(struct stream *s, const uint8_t *buf, size_t len)
{
	(void)s;
	(void)buf;
	return len;
}

static void test_trace_says_nothing_unless_asked(void **state)
{
	(void)state;
	boot_trace_begin();
	boot_trace_mark("x");
	printed();
	assert_string_equal(text, "");
}

/* From exec on: the processor time before main, which a test has used by now, is in front. */
static void test_trace_lines(void **state)
{
	const char *second;
	double at, step;

	(void)state;
	clock_set_test_ns(1000 * CLOCK_NS_PER_MS);
	boot_trace_begin();
	boot_trace_enable();
	clock_set_test_ns(1002 * CLOCK_NS_PER_MS);
	boot_trace_mark("read %s", "it");
	clock_set_test_ns(1005 * CLOCK_NS_PER_MS + 500000);
	boot_trace_mark("done");
	printed();
	assert_true(strncmp(text, "tinyvmm: trace boot        0.0 ms  +0.0      exec\n", 50) == 0);
	second = strstr(text, "\n") + 1;
	assert_int_equal(sscanf(second, "tinyvmm: trace boot %lf ms +%lf read it\n", &at, &step), 2);
	assert_true(at == step && at >= 2);
	assert_non_null(strstr(text, " ms  +3.5      done\n"));
	/* They are gone. */
	printed();
	assert_string_equal(text, "");
}

static void test_trace_is_in_the_order_of_time(void **state)
{
	(void)state;
	clock_set_test_ns(10 * CLOCK_NS_PER_S);
	boot_trace_begin();
	boot_trace_enable();
	clock_set_test_ns(10 * CLOCK_NS_PER_S + 9000000);
	boot_trace_mark("later");
	clock_set_test_ns(10 * CLOCK_NS_PER_S + 4000000);
	boot_trace_mark("sooner");
	printed();
	assert_true(strstr(text, "sooner") < strstr(text, "later"));
	assert_non_null(strstr(text, "+5.0      later"));
}

static void test_trace_is_bounded(void **state)
{
	(void)state;
	boot_trace_begin();
	boot_trace_enable();
	for (unsigned i = 0; i < BOOT_TRACE_MAX + 7; i++) {
		boot_trace_mark("%0100u", i);
	}
	printed();
	assert_non_null(strstr(text, "tinyvmm: trace boot: 7 more\n"));
}

/* The kernel's line is found however it comes, once; bytes without an end of line do no harm. */
static void test_trace_sees_init_on_a_stream(void **state)
{
	static const struct stream_ops ops = {.output_ready = ready, .input = input};
	static const char said[] = "[    0.5] Linux\r\n[    0.9] Run /init as init process\r\n[   1.0] Run /init as init process\r\n";
	struct boot_trace_sink k;
	struct stream s;
	uint8_t noise[1000];

	(void)state;
	memset(noise, 'x', sizeof(noise));
	boot_trace_begin();
	boot_trace_enable();
	stream_init(&s, "console", &ops);
	boot_trace_watch(&k, &s);
	for (size_t i = 0; i < sizeof(said) - 1; i++) {
		stream_write(&s, (const uint8_t *)said + i, 1);
	}
	stream_write(&s, noise, sizeof(noise));
	stream_detach(&k.sink);
	printed();
	assert_non_null(strstr(text, "guest: first words on the console\n"));
	assert_non_null(strstr(text, "guest: init, says the kernel on the console\n"));
	assert_null(strstr(strstr(text, "guest: init") + 1, "guest: init"));
}

static int teardown(void **state)
{
	(void)state;
	free(text);
	text = NULL;
	clock_set_test_ns(0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_trace_says_nothing_unless_asked, teardown),
		cmocka_unit_test_teardown(test_trace_lines, teardown),
		cmocka_unit_test_teardown(test_trace_is_in_the_order_of_time, teardown),
		cmocka_unit_test_teardown(test_trace_is_bounded, teardown),
		cmocka_unit_test_teardown(test_trace_sees_init_on_a_stream, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
