/* SPDX-License-Identifier: MIT */
/* pvpanic: the event mask, and one call per event. */
#include "devices/pvpanic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void on_event(void *ctx, enum pvpanic_event event)
{
	unsigned *count = ctx;

	count[event]++;
}

static void test_pvpanic_read_lists_the_events(void **state)
{
	unsigned count[4] = {0};
	struct pvpanic p;

	(void)state;
	pvpanic_init(&p, on_event, count);
	assert_int_equal(pvpanic_in(&p, 0, 1), 3);
	assert_int_equal(pvpanic_in(&p, 1, 1), 0);
}

static void test_pvpanic_write_reports_each_event(void **state)
{
	unsigned count[4] = {0};
	struct pvpanic p;

	(void)state;
	pvpanic_init(&p, on_event, count);
	pvpanic_out(&p, 0, PVPANIC_PANICKED, 1);
	pvpanic_out(&p, 0, PVPANIC_CRASH_LOADED, 1);
	pvpanic_out(&p, 0, 3, 1);
	assert_int_equal(count[PVPANIC_PANICKED], 2);
	assert_int_equal(count[PVPANIC_CRASH_LOADED], 2);
}

static void test_pvpanic_unknown_events_and_offsets_do_nothing(void **state)
{
	unsigned count[4] = {0};
	struct pvpanic p;

	(void)state;
	pvpanic_init(&p, on_event, count);
	pvpanic_out(&p, 0, 0xfc, 1);
	pvpanic_out(&p, 1, 1, 1);
	assert_int_equal(count[1] + count[2], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pvpanic_read_lists_the_events),
		cmocka_unit_test(test_pvpanic_write_reports_each_event),
		cmocka_unit_test(test_pvpanic_unknown_events_and_offsets_do_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
