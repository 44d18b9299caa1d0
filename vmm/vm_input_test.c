/* SPDX-License-Identifier: MIT */
/* Requests that feed input devices: what is refused, and what is released when a connection ends. */
#include "vmm/vm_input.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vmm/vm_priv.h"

static struct vm *vm;
static char err[160];

static void make(struct vm_input *in, enum input_kind kind, const char *name)
{
	struct input_desc desc;

	input_desc_make(&desc, kind, 0);
	in->vm = vm;
	in->name = name;
	input_init(&in->dev, &desc, &vm->loop, &vm->mem);
}

static int setup(void **state)
{
	(void)state;
	vm = calloc(1, sizeof(*vm));
	assert_non_null(vm);
	assert_int_equal(loop_init(&vm->loop), 0);
	vm->input = calloc(4, sizeof(*vm->input));
	assert_non_null(vm->input);
	vm->ninputs = 4;
	make(&vm->input[0], INPUT_KEYBOARD, "keyboard0");
	make(&vm->input[1], INPUT_MULTITOUCH, "screen");
	make(&vm->input[2], INPUT_MOUSE, "mouse0");
	/* As one of the host's may be. */
	make(&vm->input[3], INPUT_MOUSE, "lid");
	input_desc_add(&vm->input[3].dev.desc, EV_SW, SW_LID);
	input_desc_add_abs(&vm->input[3].dev.desc, ABS_MISC, &(struct input_axis){0});
	input_desc_add_abs(&vm->input[3].dev.desc, ABS_MT_TRACKING_ID, &(struct input_axis){0});
	memset(err, 0, sizeof(err));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vm_input_finish(vm);
	vm_input_finish(vm);
	loop_finish(&vm->loop);
	free(vm);
	return 0;
}

static int ask(const char *name, unsigned conn, const char *events)
{
	json_t *json = json_loads(events, JSON_DECODE_ANY, NULL);
	struct vm_input *in = vm_input_find(vm, name);
	int r;

	assert_non_null(json);
	assert_non_null(in);
	r = vm_input_check(in, json, err, sizeof(err));
	if (r == 0) {
		size_t at = 0;

		/* No driver is there that could be late. */
		assert_true(vm_input_feed(in, conn, json, &at));
		assert_int_equal(at, json_array_size(json));
	}
	json_decref(json);
	return r;
}

static bool is_down(const char *name, unsigned code)
{
	return input_state_has_key(&vm_input_find(vm, name)->dev.now, code);
}

static int32_t touch(unsigned slot)
{
	return vm->input[1].dev.now.mt[slot][ABS_MT_TRACKING_ID - ABS_MT_SLOT];
}

static void test_vm_input_finds_devices_by_name(void **state)
{
	(void)state;
	assert_ptr_equal(vm_input_find(vm, "screen"), &vm->input[1]);
	assert_null(vm_input_find(vm, "keyboard"));
	assert_null(vm_input_find(vm, ""));
}

static void test_vm_input_sends_whole_frames(void **state)
{
	(void)state;
	assert_int_equal(ask("keyboard0", 0, "[[1,42,1],[1,30,1],[0,0,0],[1,30,0],[0,0,0]]"), 0);
	assert_int_equal(vm->input[0].dev.counters.frames_in, 2);
	assert_int_equal(vm->input[0].dev.counters.events_in, 3);
	assert_true(is_down("keyboard0", KEY_LEFTSHIFT));
	assert_false(is_down("keyboard0", KEY_A));
}

static void test_vm_input_refuses_before_anything_is_sent(void **state)
{
	static const struct {
		const char *device, *events, *want;
	} cases[] = {
		{"keyboard0", "[]", "a frame ends in"},
		{"keyboard0", "{}", "a frame ends in"},
		{"keyboard0", "1", "a frame ends in"},
		{"keyboard0", "[[1,30,1]]", "a frame ends in"},
		{"keyboard0", "[[1,30,1],[0,0,0],[1,30,0]]", "a frame ends in"},
		{"keyboard0", "[[1,30,1],[0,0,0],[1,30]]", "events[2]: expected [type, code, value]"},
		{"keyboard0", "[[1,30,1],[0,0,0],7]", "events[2]: expected"},
		{"keyboard0", "[[1,30,\"1\"],[0,0,0]]", "events[0]: expected"},
		{"keyboard0", "[[1,30,1.5],[0,0,0]]", "events[0]: expected"},
		{"keyboard0", "[[1,30,1,0],[0,0,0]]", "events[0]: expected"},
		{"keyboard0", "[[1,30,2147483648],[0,0,0]]", "the value is out of range"},
		{"keyboard0", "[[1,30,-2147483649],[0,0,0]]", "the value is out of range"},
		{"keyboard0", "[[2,0,1],[0,0,0]]", "keyboard0 has no event of type 2 and code 0"},
		{"keyboard0", "[[1,272,1],[0,0,0]]", "has no event"},
		{"keyboard0", "[[1,65566,1],[0,0,0]]", "has no event"},
		{"keyboard0", "[[65537,30,1],[0,0,0]]", "has no event"},
		{"keyboard0", "[[-1,30,1],[0,0,0]]", "has no event"},
		{"keyboard0", "[[1,-30,1],[0,0,0]]", "has no event"},
		{"keyboard0", "[[4294967297,30,1],[0,0,0]]", "has no event"},
		{"keyboard0", "[[17,0,1],[0,0,0]]", "has no event"},
		{"keyboard0", "[[20,0,1],[0,0,0]]", "has no event"},
		{"keyboard0", "[[0,2,0],[0,0,0]]", "has no event"},
		{"keyboard0", "[[0,3,0],[0,0,0]]", "has no event"},
		{"keyboard0", "[[1,30,5],[0,0,0]]", "events[0]: keyboard0 takes values from 0 to 1 for type 1 and code 30"},
		{"keyboard0", "[[1,30,-1],[0,0,0]]", "from 0 to 1"},
		{"keyboard0", "[[1,30,2],[0,0,0]]", "from 0 to 1"},
		{"mouse0", "[[1,272,3],[0,0,0]]", "from 0 to 2"},
		{"screen", "[[3,53,99999999],[0,0,0]]", "screen takes values from 0 to 32767 for type 3 and code 53"},
		{"screen", "[[3,0,32768],[0,0,0]]", "from 0 to 32767"},
		{"screen", "[[3,1,-1],[0,0,0]]", "from 0 to 32767"},
		{"screen", "[[3,47,10],[0,0,0]]", "from 0 to 9"},
		{"screen", "[[3,47,-1],[0,0,0]]", "from 0 to 9"},
		{"screen", "[[3,47,0],[3,57,-2],[0,0,0]]", "events[1]: screen takes values from -1 to 65535"},
		{"screen", "[[3,57,65536],[0,0,0]]", "from -1 to 65535"},
		{"lid", "[[5,0,2],[0,0,0]]", "from 0 to 1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(ask(cases[i].device, 0, cases[i].events), -EINVAL);
		assert_non_null(strstr(err, cases[i].want));
		assert_int_equal(vm_input_find(vm, cases[i].device)->dev.counters.frames_in, 0);
	}
}

static void test_vm_input_takes_whatever_a_device_can_say(void **state)
{
	(void)state;
	assert_int_equal(ask("screen", 0, "[[3,47,9],[3,57,65535],[3,53,32767],[3,54,0],[0,0,0],[3,57,-1],[0,0,0]]"), 0);
	assert_int_equal(ask("mouse0", 0, "[[2,0,-2147483648],[2,1,2147483647],[1,272,2],[1,272,0],[0,0,0]]"), 0);
	/* Its range is not known. */
	assert_int_equal(ask("lid", 0, "[[5,0,1],[3,40,-5],[3,57,2000000000],[0,0,0]]"), 0);
}

static void test_vm_input_frame_has_a_largest_size(void **state)
{
	json_t *events = json_array();

	(void)state;
	for (int i = 0; i < INPUT_FRAME_MAX - 1; i++) {
		json_array_append_new(events, json_pack("[i, i, i]", EV_REL, REL_X, 1));
	}
	json_array_append_new(events, json_pack("[i, i, i]", EV_SYN, SYN_REPORT, 0));
	assert_int_equal(vm_input_check(&vm->input[2], events, err, sizeof(err)), 0);
	json_array_insert_new(events, 0, json_pack("[i, i, i]", EV_REL, REL_X, 1));
	assert_int_equal(vm_input_check(&vm->input[2], events, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "a frame of more than 512 events"));
	json_decref(events);
}

static void test_vm_input_keys_of_a_connection_come_up_when_it_ends(void **state)
{
	(void)state;
	ask("keyboard0", 3, "[[1,30,1],[0,0,0]]");
	ask("keyboard0", 4, "[[1,48,1],[1,46,1],[0,0,0],[1,46,0],[0,0,0]]");
	ask("mouse0", 3, "[[1,272,1],[0,0,0]]");
	vm_input_gone(vm, 3);
	assert_false(is_down("keyboard0", KEY_A));
	assert_false(is_down("mouse0", BTN_LEFT));
	assert_true(is_down("keyboard0", KEY_B));
	vm_input_gone(vm, 4);
	assert_false(input_state_any_key(&vm->input[0].dev.now));
}

static void test_vm_input_fingers_of_a_connection_are_lifted_when_it_ends(void **state)
{
	(void)state;
	ask("screen", 1, "[[3,47,2],[3,57,9],[3,53,10],[0,0,0]]");
	assert_int_equal(touch(2), 9);
	ask("keyboard0", 2, "[[1,30,1],[0,0,0]]");
	vm_input_gone(vm, 2);
	assert_int_equal(touch(2), 9);
	vm_input_gone(vm, 1);
	assert_int_equal(touch(2), -1);
}

static void test_vm_input_what_another_connection_holds_stays(void **state)
{
	(void)state;
	ask("keyboard0", 0, "[[1,42,1],[0,0,0]]");
	ask("keyboard0", 1, "[[1,42,1],[0,0,0]]");
	ask("screen", 0, "[[3,47,0],[3,57,5],[0,0,0]]");
	ask("screen", 1, "[[3,47,1],[3,57,6],[0,0,0]]");
	vm_input_gone(vm, 0);
	assert_true(is_down("keyboard0", KEY_LEFTSHIFT));
	assert_int_equal(touch(0), -1);
	assert_int_equal(touch(1), 6);
	vm_input_gone(vm, 1);
	assert_false(is_down("keyboard0", KEY_LEFTSHIFT));
	assert_int_equal(touch(1), -1);
}

static void test_vm_input_connection_that_sent_nothing_changes_nothing(void **state)
{
	(void)state;
	ask("keyboard0", 0, "[[1,30,1],[0,0,0]]");
	vm_input_gone(vm, 1);
	assert_true(is_down("keyboard0", KEY_A));
	assert_int_equal(vm->input[0].dev.counters.resyncs, 0);
}

static void test_vm_input_stats_name_every_device(void **state)
{
	json_t *stats;

	(void)state;
	ask("keyboard0", 0, "[[1,30,1],[0,0,0]]");
	stats = vm_input_stats(vm);
	assert_int_equal(json_object_size(stats), 4);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(stats, "keyboard0"), "frames_in")), 1);
	/* No driver was there. */
	assert_int_equal(json_integer_value(json_object_get(json_object_get(stats, "keyboard0"), "dropped")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(stats, "screen"), "frames_in")), 0);
	json_decref(stats);
}

static void test_vm_input_list_says_what_a_typist_needs(void **state)
{
	static struct config cfg;
	static char de[] = "de";
	json_t *list, *want;

	(void)state;
	cfg.input[0] = (struct config_input_device){.type = INPUT_KEYBOARD, .layout = de};
	/* As the default has it, whatever the type. */
	cfg.input[1] = (struct config_input_device){.type = INPUT_MULTITOUCH, .layout = de};
	cfg.input[2] = (struct config_input_device){.type = INPUT_MOUSE, .layout = de};
	vm->cfg = &cfg;
	vm->ninputs = 3;
	vm->input[0].dev.lights[0] = 1u << LED_CAPSL | 1u << LED_KANA;
	list = vm_input_list(vm);
	want = json_pack("[{s:s, s:s, s:b, s:s, s:[i, i]}, {s:s, s:s, s:b, s:[]}, {s:s, s:s, s:b, s:[]}]", "name", "keyboard0", "type", "keyboard", "driver", 0,
		"layout", "de", "leds", LED_CAPSL, LED_KANA, "name", "screen", "type", "multitouch", "driver", 0, "leds", "name", "mouse0", "type", "mouse",
		"driver", 0, "leds");
	assert_true(json_equal(list, want));
	json_decref(list);
	json_decref(want);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_vm_input_finds_devices_by_name),
		T(test_vm_input_sends_whole_frames),
		T(test_vm_input_refuses_before_anything_is_sent),
		T(test_vm_input_takes_whatever_a_device_can_say),
		T(test_vm_input_frame_has_a_largest_size),
		T(test_vm_input_keys_of_a_connection_come_up_when_it_ends),
		T(test_vm_input_fingers_of_a_connection_are_lifted_when_it_ends),
		T(test_vm_input_what_another_connection_holds_stays),
		T(test_vm_input_connection_that_sent_nothing_changes_nothing),
		T(test_vm_input_stats_name_every_device),
		T(test_vm_input_list_says_what_a_typist_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
