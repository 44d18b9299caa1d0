/* SPDX-License-Identifier: MIT */
/* The event registers: the line is high while something waits to be read, and nothing is lost in between. */
#include "devices/ged.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define BUTTON (1u << 31)

static bool is_high;
static unsigned rises;

static void on_line(void *ctx, bool high)
{
	(void)ctx;
	rises += high && !is_high;
	is_high = high;
}

static struct ged make(bool has_registers)
{
	struct ged g;

	is_high = false;
	rises = 0;
	ged_init(&g, on_line, NULL);
	g.has_registers = has_registers;
	return g;
}

static void test_ged_line_is_high_until_the_event_is_read(void **state)
{
	struct ged g = make(true);

	(void)state;
	assert_int_equal(ged_in(&g, GED_EVENTS, 4), 0);
	ged_raise(&g, BUTTON);
	assert_true(is_high);
	assert_int_equal(ged_in(&g, GED_PRESENT, 4), 0);
	assert_true(is_high);
	assert_int_equal(ged_in(&g, GED_EVENTS, 4), BUTTON);
	assert_false(is_high);
	assert_int_equal(ged_in(&g, GED_EVENTS, 4), 0);
	ged_finish(&g);
}

static void test_ged_events_add_up(void **state)
{
	struct ged g = make(true);

	(void)state;
	ged_add_device(&g, 1u << 3);
	ged_raise(&g, BUTTON);
	ged_raise(&g, BUTTON);
	ged_add_device(&g, 1u << 0);
	assert_int_equal(ged_in(&g, GED_EVENTS, 4), BUTTON | 9);
	assert_false(is_high);
	ged_raise(&g, BUTTON);
	assert_true(is_high);
	assert_int_equal(ged_in(&g, GED_EVENTS, 4), BUTTON);
	ged_finish(&g);
}

static void test_ged_device_stays(void **state)
{
	struct ged g = make(true);

	(void)state;
	assert_int_equal(ged_in(&g, GED_PRESENT, 4), 0);
	ged_add_device(&g, 1u << 3);
	ged_in(&g, GED_EVENTS, 4);
	ged_add_device(&g, 1u << 5);
	assert_int_equal(ged_in(&g, GED_PRESENT, 4), 0x28);
	ged_finish(&g);
}

/* Two vCPUs read while the loop and another thread make events: every device's event is read once, with the device there, and the line ends low. */

struct reader {
	struct ged *g;
	bool *done;
	uint32_t seen, twice, absent;
};

static void read_events(struct reader *r)
{
	uint32_t events = ged_in(r->g, GED_EVENTS, 4) & ~BUTTON;

	r->twice |= r->seen & events;
	r->seen |= events;
	r->absent |= events & ~ged_in(r->g, GED_PRESENT, 4);
}

static void *reader(void *arg)
{
	struct reader *r = arg;

	while (!__atomic_load_n(r->done, __ATOMIC_ACQUIRE)) {
		read_events(r);
	}
	return NULL;
}

static void *presser(void *arg)
{
	for (unsigned i = 0; i < 1000; i++) {
		ged_raise(arg, BUTTON);
	}
	return NULL;
}

static void test_ged_threads_lose_nothing(void **state)
{
	struct ged g = make(true);
	bool done = false;
	struct reader r[2] = {{.g = &g, .done = &done}, {.g = &g, .done = &done}};
	pthread_t thread[3];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&thread[i], NULL, reader, &r[i]), 0);
	}
	assert_int_equal(pthread_create(&thread[2], NULL, presser, &g), 0);
	for (unsigned i = 0; i < 31; i++) {
		ged_add_device(&g, 1u << i);
		sched_yield();
	}
	pthread_join(thread[2], NULL);
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	read_events(&r[0]);
	assert_false(is_high);
	assert_int_equal(r[0].seen | r[1].seen, ~BUTTON);
	assert_int_equal(r[0].seen & r[1].seen, 0);
	assert_int_equal(r[0].twice | r[1].twice | r[0].absent | r[1].absent, 0);
	ged_finish(&g);
}

static void test_ged_without_registers_the_line_is_an_edge(void **state)
{
	struct ged g = make(false);

	(void)state;
	ged_raise(&g, BUTTON);
	ged_raise(&g, BUTTON);
	assert_int_equal(rises, 2);
	assert_false(is_high);
	assert_int_equal(g.events, 0);
	ged_finish(&g);
}

static void test_ged_part_of_a_register_takes_nothing(void **state)
{
	struct ged g = make(true);

	(void)state;
	ged_add_device(&g, 1u << 3);
	for (uint32_t off = 0; off < GED_PORTS; off++) {
		assert_int_equal(ged_in(&g, off, 1), UINT32_MAX);
		assert_int_equal(ged_in(&g, off, 2), UINT32_MAX);
		if (off % 4) {
			assert_int_equal(ged_in(&g, off, 4), UINT32_MAX);
		}
	}
	assert_true(is_high);
	assert_int_equal(ged_in(&g, GED_EVENTS, 4), 8);
	ged_finish(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ged_line_is_high_until_the_event_is_read),
		cmocka_unit_test(test_ged_events_add_up),
		cmocka_unit_test(test_ged_device_stays),
		cmocka_unit_test(test_ged_threads_lose_nothing),
		cmocka_unit_test(test_ged_without_registers_the_line_is_an_edge),
		cmocka_unit_test(test_ged_part_of_a_register_takes_nothing),
	};

	return cmocka_run_group_tests_name("ged", tests, NULL, NULL);
}
