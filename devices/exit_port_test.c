/* SPDX-License-Identifier: MIT */
/* The exit port: which code arrives, and that it arrives once. */
#include "devices/exit_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct seen {
	unsigned calls;
	uint8_t code;
};

static void on_exit_code(void *ctx, uint8_t code)
{
	struct seen *seen = ctx;

	seen->calls++;
	seen->code = code;
}

static void test_exit_port_code_is_the_low_byte(void **state)
{
	struct seen seen = {0};
	struct exit_port p;

	(void)state;
	exit_port_init(&p, false, on_exit_code, &seen);
	exit_port_out(&p, 0, 0x12345607, 4);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.code, 7);
}

static void test_exit_port_isa_debug_doubles_and_adds_one(void **state)
{
	static const uint8_t want[][2] = {{0, 1}, {1, 3}, {0x10, 0x21}, {0xff, 0xff}};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct seen seen = {0};
		struct exit_port p;

		exit_port_init(&p, true, on_exit_code, &seen);
		exit_port_out(&p, 0, want[i][0], 1);
		assert_int_equal(seen.code, want[i][1]);
	}
}

static void test_exit_port_first_write_wins(void **state)
{
	struct seen seen = {0};
	struct exit_port p;

	(void)state;
	exit_port_init(&p, false, on_exit_code, &seen);
	exit_port_out(&p, 0, 3, 1);
	exit_port_out(&p, 0, 0, 1);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.code, 3);
}

static void test_exit_port_other_offsets_and_reads_do_nothing(void **state)
{
	struct seen seen = {0};
	struct exit_port p;

	(void)state;
	exit_port_init(&p, false, on_exit_code, &seen);
	exit_port_out(&p, 1, 3, 1);
	assert_int_equal(exit_port_in(&p, 0, 4), 0);
	assert_int_equal(seen.calls, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_port_code_is_the_low_byte),
		cmocka_unit_test(test_exit_port_isa_debug_doubles_and_adds_one),
		cmocka_unit_test(test_exit_port_first_write_wins),
		cmocka_unit_test(test_exit_port_other_offsets_and_reads_do_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
