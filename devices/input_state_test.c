/* SPDX-License-Identifier: MIT */
/* The state of an input device: followed from events, and led from one to another. */
#include "devices/input_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SYN {EV_SYN, SYN_REPORT, 0}

static struct input_desc desc;
static struct input_state from, to;
static struct input_ev ev[INPUT_DIFF_MAX];

static void start(enum input_kind kind)
{
	input_desc_make(&desc, kind, 0);
	input_state_init(&from, &desc);
	input_state_init(&to, &desc);
}

static void apply(struct input_state *s, uint16_t type, uint16_t code, int32_t value)
{
	struct input_ev e = {type, code, value};

	input_state_apply(s, &e);
}

static void expect(const struct input_ev *want, unsigned n)
{
	assert_int_equal(input_state_diff(&desc, &from, &to, ev), n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(ev[i].type, want[i].type);
		assert_int_equal(ev[i].code, want[i].code);
		assert_int_equal(ev[i].value, want[i].value);
	}
}

#define EXPECT(...) \
	do { \
		static const struct input_ev want[] = {__VA_ARGS__}; \
		expect(want, sizeof(want) / sizeof(want[0])); \
	} while (0)

static void test_input_state_equal_ones_differ_in_nothing(void **state)
{
	(void)state;
	start(INPUT_MULTITOUCH);
	assert_int_equal(input_state_diff(&desc, &from, &to, ev), 0);
}

static void test_input_state_releases_come_before_presses(void **state)
{
	(void)state;
	start(INPUT_KEYBOARD);
	apply(&from, EV_KEY, KEY_Z, 1);
	apply(&to, EV_KEY, KEY_A, 1);
	EXPECT({EV_KEY, KEY_Z, 0}, {EV_KEY, KEY_A, 1}, SYN);
}

static void test_input_state_repeat_is_held(void **state)
{
	(void)state;
	start(INPUT_KEYBOARD);
	apply(&to, EV_KEY, KEY_A, 1);
	apply(&to, EV_KEY, KEY_A, 2);
	assert_true(input_state_has_key(&to, KEY_A));
	assert_true(input_state_any_key(&to));
	input_state_release(&to);
	assert_false(input_state_any_key(&to));
}

static void test_input_state_axes_are_set_before_buttons_go_down(void **state)
{
	(void)state;
	start(INPUT_TABLET);
	apply(&to, EV_ABS, ABS_X, 10);
	apply(&to, EV_KEY, BTN_LEFT, 1);
	EXPECT({EV_ABS, ABS_X, 10}, {EV_KEY, BTN_LEFT, 1}, SYN);
}

static void test_input_state_touch_begins_in_its_slot(void **state)
{
	(void)state;
	start(INPUT_MULTITOUCH);
	apply(&to, EV_ABS, ABS_MT_SLOT, 3);
	apply(&to, EV_ABS, ABS_MT_TRACKING_ID, 7);
	apply(&to, EV_ABS, ABS_MT_POSITION_X, 50);
	EXPECT({EV_ABS, ABS_MT_SLOT, 3}, {EV_ABS, ABS_MT_TRACKING_ID, 7}, {EV_ABS, ABS_MT_POSITION_X, 50}, {EV_ABS, ABS_MT_SLOT, 3}, SYN);
}

static void test_input_state_another_touch_in_the_slot_is_ended_and_begun(void **state)
{
	(void)state;
	start(INPUT_MULTITOUCH);
	apply(&from, EV_ABS, ABS_MT_TRACKING_ID, 7);
	apply(&to, EV_ABS, ABS_MT_TRACKING_ID, 8);
	EXPECT({EV_ABS, ABS_MT_SLOT, 0}, {EV_ABS, ABS_MT_TRACKING_ID, -1}, {EV_ABS, ABS_MT_SLOT, 0}, {EV_ABS, ABS_MT_TRACKING_ID, 8},
		{EV_ABS, ABS_MT_SLOT, 0}, SYN);
}

static void test_input_state_source_in_another_slot_is_told(void **state)
{
	(void)state;
	start(INPUT_MULTITOUCH);
	apply(&to, EV_ABS, ABS_MT_SLOT, 4);
	EXPECT({EV_ABS, ABS_MT_SLOT, 4}, SYN);
}

/* As Linux' input core has it since 2.6. */
static int32_t defuzz(int32_t value, int32_t old, int32_t fuzz)
{
	if (value > old - fuzz / 2 && value < old + fuzz / 2) {
		return old;
	}
	if (value > old - fuzz && value < old + fuzz) {
		return (old * 3 + value) / 4;
	}
	return value > old - fuzz * 2 && value < old + fuzz * 2 ? (old + value) / 2 : value;
}

/* Leads @axis from @old to @value, in a guest that has it at @seen. Return: where the guest has it then. */
static int32_t lead(const struct input_axis *axis, int32_t old, int32_t value, int32_t seen)
{
	unsigned n;

	from.abs[ABS_PRESSURE] = old;
	to.abs[ABS_PRESSURE] = value;
	n = input_state_diff(&desc, &from, &to, ev);
	assert_true(old == value ? n == 0 : n >= 2 && n <= 3);
	for (unsigned i = 0; i + 1 < n; i++) {
		assert_true(ev[i].value >= axis->min && ev[i].value <= axis->max);
		seen = defuzz(ev[i].value, seen, axis->fuzz);
	}
	return seen;
}

/* Where the guest's kernel has the axis, anywhere within the fuzz of what it was given, it ends up where it should. */
static void test_input_state_an_axis_with_fuzz_ends_up_exactly(void **state)
{
	static const struct input_axis axes[] = {{.min = -100, .max = 100, .fuzz = 4}, {.min = 0, .max = 2000, .fuzz = 80}};

	(void)state;
	for (size_t a = 0; a < sizeof(axes) / sizeof(axes[0]); a++) {
		const struct input_axis *axis = &axes[a];
		int32_t fuzz = axis->fuzz;

		start(INPUT_TABLET);
		input_desc_add_abs(&desc, ABS_PRESSURE, axis);
		for (int32_t old = axis->min; old <= axis->max; old += (axis->max - axis->min) / 50) {
			for (int32_t value = old - 4 * fuzz; value <= old + 4 * fuzz; value += fuzz / 4) {
				for (int32_t off = 1 - fuzz; value >= axis->min && value <= axis->max && off < fuzz; off += fuzz / 10 + 1) {
					assert_true(lead(axis, old, value, old + off) == (old == value ? old + off : value));
				}
			}
		}
	}
	/* One that is too short for that: no value that the axis has not. */
	input_desc_add_abs(&desc, ABS_PRESSURE, &(struct input_axis){.min = 0, .max = 30, .fuzz = 10});
	for (int32_t value = 1; value <= 30; value++) {
		lead(&desc.abs[ABS_PRESSURE], 0, value, 0);
	}
}

static void test_input_state_switches_go_both_ways(void **state)
{
	(void)state;
	memset(&desc, 0, sizeof(desc));
	input_desc_add(&desc, EV_SW, SW_LID);
	input_desc_add(&desc, EV_SW, SW_DOCK);
	input_state_init(&from, &desc);
	input_state_init(&to, &desc);
	apply(&from, EV_SW, SW_DOCK, 1);
	apply(&to, EV_SW, SW_LID, 1);
	EXPECT({EV_SW, SW_DOCK, 0}, {EV_SW, SW_LID, 1}, SYN);
}

static void test_input_state_only_what_the_description_has(void **state)
{
	(void)state;
	start(INPUT_MOUSE);
	apply(&to, EV_KEY, KEY_A, 1);
	apply(&to, EV_ABS, ABS_X, 5);
	assert_int_equal(input_state_diff(&desc, &from, &to, ev), 0);
}

static void test_input_state_any_event_is_harmless(void **state)
{
	static struct {
		struct input_state s;
		uint8_t after[256];
	} watched;

	(void)state;
	start(INPUT_MULTITOUCH);
	watched.s = to;
	for (unsigned type = 0; type < 64; type++) {
		for (unsigned code = 0; code < 1024; code++) {
			apply(&watched.s, (uint16_t)type, (uint16_t)code, INT32_MIN);
			apply(&watched.s, (uint16_t)type, (uint16_t)code, INT32_MAX);
			apply(&watched.s, (uint16_t)type, (uint16_t)code, 11);
		}
	}
	assert_true(input_state_diff(&desc, &from, &watched.s, ev) <= INPUT_DIFF_MAX);
	for (size_t i = 0; i < sizeof(watched.after); i++) {
		assert_int_equal(watched.after[i], 0);
	}
}

static void test_input_state_largest_difference_fits(void **state)
{
	static const struct input_axis axis = {.max = 1000};
	unsigned n;

	(void)state;
	memset(&desc, 0, sizeof(desc));
	for (unsigned i = 0; i < KEY_CNT; i++) {
		input_desc_add(&desc, EV_KEY, i);
	}
	for (unsigned i = 0; i < SW_CNT; i++) {
		input_desc_add(&desc, EV_SW, i);
	}
	for (unsigned i = 0; i < ABS_CNT; i++) {
		input_desc_add_abs(&desc, i, &axis);
	}
	input_state_init(&from, &desc);
	input_state_init(&to, &desc);
	memset(to.key, 0xff, sizeof(to.key));
	memset(to.sw, 0xff, sizeof(to.sw));
	for (unsigned slot = 0; slot < INPUT_SLOTS_MAX; slot++) {
		from.mt[slot][ABS_MT_TRACKING_ID - ABS_MT_SLOT] = 1;
		for (unsigned axis_no = 1; axis_no < INPUT_MT_AXES; axis_no++) {
			to.mt[slot][axis_no] = 2;
		}
	}
	for (unsigned i = 0; i < ABS_CNT; i++) {
		to.abs[i] = 1;
	}
	n = input_state_diff(&desc, &from, &to, ev);
	assert_in_range(n, KEY_CNT + SW_CNT + INPUT_SLOTS_MAX * 16, INPUT_DIFF_MAX);
	/* And it leads there. */
	for (unsigned i = 0; i < n; i++) {
		input_state_apply(&from, &ev[i]);
	}
	assert_int_equal(input_state_diff(&desc, &from, &to, ev), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_input_state_equal_ones_differ_in_nothing),
		cmocka_unit_test(test_input_state_releases_come_before_presses),
		cmocka_unit_test(test_input_state_repeat_is_held),
		cmocka_unit_test(test_input_state_axes_are_set_before_buttons_go_down),
		cmocka_unit_test(test_input_state_touch_begins_in_its_slot),
		cmocka_unit_test(test_input_state_another_touch_in_the_slot_is_ended_and_begun),
		cmocka_unit_test(test_input_state_source_in_another_slot_is_told),
		cmocka_unit_test(test_input_state_an_axis_with_fuzz_ends_up_exactly),
		cmocka_unit_test(test_input_state_switches_go_both_ways),
		cmocka_unit_test(test_input_state_only_what_the_description_has),
		cmocka_unit_test(test_input_state_any_event_is_harmless),
		cmocka_unit_test(test_input_state_largest_difference_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
