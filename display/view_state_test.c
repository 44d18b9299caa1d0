/* SPDX-License-Identifier: MIT */
/* What a person does at a window, and what the monitor hears of it. */
#include "display/view_state.h"

#include <linux/input-event-codes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/viewmon.h"
#include "vmm/clock.h"

#define W 640u
#define H 480u
#define MS CLOCK_NS_PER_MS
#define START (1000 * CLOCK_NS_PER_S)
#define ALL_DEVICES (VIEWER_HAS_KEYBOARD | VIEWER_HAS_MOUSE | VIEWER_HAS_TABLET)
#define RED 0xffff0000u
#define GREEN 0xff00ff00u
#define FRAME_60HZ_NS 16666666ull

enum { SC_A = 4, SC_C = 6, SC_F = 9, SC_G = 10, SC_M = 16, SC_P = 19, SC_END = 77, SC_CTRL = 224, SC_SHIFT = 225, SC_ALT = 226, SC_RCTRL = 228, SC_ALTGR = 230 };

static struct viewmon m;
static struct view_conn c;
static struct view v;
static uint64_t now;

/* What the viewer has said since, as text: "k30+" a key, "t:" and "m:" what tablet and mouse do. */
static const char *said(void)
{
	static char text[1000];
	size_t len = 0;
	const struct viewer_input *in;

	text[0] = 0;
	while ((in = viewmon_read(&m, 0))) {
		if (in->hdr.type == VIEWER_FOCUS) {
			len += (size_t)snprintf(text + len, sizeof(text) - len, "focus%u ", ((const struct viewer_focus *)(const void *)in)->has);
		}
		if (in->hdr.type != VIEWER_INPUT) {
			continue;
		}
		assert_in_range(in->nevents, 1, VIEWER_EVENTS_MAX);
		assert_true(in->time_ns > 0);
		for (uint32_t i = 0; i < in->nevents; i++) {
			const struct viewer_event *e = &in->event[i];

			if (e->type == EV_KEY) {
				len += (size_t)snprintf(text + len, sizeof(text) - len, "%c%u%c ", " kxt"[in->device], e -> code, e -> value ? '+' : '-');
			} else {
				len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u=%d ", e->type == EV_ABS ? "abs" : "rel", e->code, e->value);
			}
		}
	}
	if (len > 0) {
		text[len - 1] = 0;
	}
	return text;
}

static void heard(void)
{
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_GOES_ON);
	view_news(&v, now);
}

static void open_window(unsigned i, uint32_t w, uint32_t h)
{
	uint32_t ignored;

	view_wants_size(&v, i, &ignored, &ignored, now);
	view_on_display(&v, i, 60000, 0);
	view_resized(&v, i, w, h, now);
}

static void begin(enum view_scale scale, bool observes)
{
	viewmon_init(&m);
	view_conn_init(&c, m.viewer_fd, "tests", observes);
	m.viewer_fd = -1;
	now = START;
	clock_set_test_ns(now);
	view_init(&v, &c, scale, observes, "called");
	viewmon_hello(&m, 2);
	viewmon_mode(&m, 0, W, H);
	viewmon_input_state(&m, ALL_DEVICES, VIEWER_HAS_KEYBOARD | VIEWER_HAS_TABLET, 0);
	viewmon_role(&m, !observes);
	heard();
	open_window(0, W, H);
	view_focus(&v, true, 0);
	view_tick(&v, now);
	said();
}

static int set_up(void **state)
{
	(void)state;
	begin(VIEW_FOLLOW, false);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	view_conn_finish(&c);
	viewmon_finish(&m);
	clock_set_test_ns(0);
	return 0;
}

static void anew(enum view_scale scale, bool observes)
{
	tear_down(NULL);
	begin(scale, observes);
}

static enum view_do chord(unsigned scancode)
{
	enum view_do todo;

	view_press(&v, SC_CTRL, true);
	view_press(&v, SC_ALT, true);
	todo = view_press(&v, scancode, true);
	assert_int_equal(view_press(&v, scancode, false), VIEW_DO_NOTHING);
	view_press(&v, SC_ALT, false);
	view_press(&v, SC_CTRL, false);
	return todo;
}

static void pass(uint64_t ns)
{
	now += ns;
	clock_set_test_ns(now);
	view_tick(&v, now);
}

/*
 * Keys.
 */

static void test_view_state_keys(void **state)
{
	(void)state;
	view_press(&v, SC_A, true);
	view_press(&v, SC_SHIFT, true);
	view_press(&v, SC_A, false);
	view_press(&v, SC_SHIFT, false);
	/* No key, and not even a scancode. */
	view_press(&v, 3, true);
	view_press(&v, VIEW_KEYS_MAX, true);
	assert_string_equal(said(), "k30+ k42+ k30- k42-");
	/* What the host says twice is said once. */
	view_press(&v, SC_A, true);
	view_press(&v, SC_A, true);
	view_press(&v, SC_A, false);
	view_press(&v, SC_A, false);
	assert_string_equal(said(), "k30+ k30-");
}

static void test_view_state_lost_focus_releases(void **state)
{
	(void)state;
	view_press(&v, SC_A, true);
	view_button(&v, 0, BTN_LEFT, true);
	said();
	view_focus(&v, false, 0);
	assert_string_equal(said(), "focus0");
	/* The monitor has released it: that it comes up now is no news, and nothing is left over for later. */
	view_press(&v, SC_A, false);
	view_button(&v, 0, BTN_LEFT, false);
	assert_string_equal(said(), "");
	view_focus(&v, true, 0);
	view_press(&v, SC_A, true);
	assert_string_equal(said(), "focus1 k30+");
}

static void test_view_state_chords_are_not_for_the_guest(void **state)
{
	(void)state;
	assert_int_equal(chord(SC_F), VIEW_DO_FULLSCREEN);
	assert_string_equal(said(), "k29+ k56+ k56- k29-");
	assert_int_equal(chord(SC_A), VIEW_DO_NOTHING);
	assert_string_equal(said(), "k29+ k56+ k30+ k30- k56- k29-");
	/* AltGr is another key; so is one of the two alone. */
	view_press(&v, SC_CTRL, true);
	assert_int_equal(view_press(&v, SC_F, true), VIEW_DO_NOTHING);
	view_press(&v, SC_F, false);
	view_press(&v, SC_ALTGR, true);
	assert_int_equal(view_press(&v, SC_F, true), VIEW_DO_NOTHING);
	view_press(&v, SC_F, false);
	view_press(&v, SC_ALTGR, false);
	view_press(&v, SC_CTRL, false);
	assert_string_equal(said(), "k29+ k33+ k33- k100+ k33+ k33- k100- k29-");
	/* Either Ctrl, once however often the host repeats it, and nothing comes up that never was down. */
	view_press(&v, SC_RCTRL, true);
	view_press(&v, SC_ALT, true);
	assert_int_equal(view_press(&v, SC_F, true), VIEW_DO_FULLSCREEN);
	assert_int_equal(view_press(&v, SC_F, true), VIEW_DO_NOTHING);
	view_press(&v, SC_ALT, false);
	view_press(&v, SC_RCTRL, false);
	said();
	view_press(&v, SC_F, false);
	assert_string_equal(said(), "");
}

static void test_view_state_modifiers_do_not_outlive_the_focus(void **state)
{
	(void)state;
	view_press(&v, SC_CTRL, true);
	view_press(&v, SC_ALT, true);
	view_focus(&v, false, 0);
	view_focus(&v, true, 0);
	assert_int_equal(view_press(&v, SC_F, true), VIEW_DO_NOTHING);
}

static void test_view_state_ctrl_alt_delete(void **state)
{
	(void)state;
	chord(SC_END);
	assert_string_equal(said(), "k29+ k56+ k111+ k111- k56- k29-");
}

static void test_view_state_power_button(void **state)
{
	const struct viewer_action *action;

	(void)state;
	chord(SC_P);
	action = viewmon_read(&m, VIEWER_ACTION);
	assert_non_null(action);
	assert_int_equal(action->action, VIEWER_POWER_BUTTON);
	viewmon_role(&m, 0);
	heard();
	chord(SC_P);
	assert_null(viewmon_read(&m, VIEWER_ACTION));
}

static void test_view_state_grab(void **state)
{
	char title[200];

	(void)state;
	view_title(&v, 0, title, sizeof(title));
	assert_string_equal(title, "web - Ctrl+Alt+G grabs the keyboard");
	chord(SC_G);
	assert_true(v.grabbed);
	assert_false(v.captured);
	view_title(&v, 0, title, sizeof(title));
	assert_string_equal(title, "web - Ctrl+Alt+G releases the keyboard");
	/* It is the person's until they release it. */
	view_focus(&v, false, 0);
	view_focus(&v, true, 0);
	assert_true(v.grabbed);
	chord(SC_G);
	assert_false(v.grabbed);
}

/*
 * Lock keys.
 */

#define NUM (1u << LED_NUML)
#define CAPS (1u << LED_CAPSL)
#define SCROLL (1u << LED_SCROLLL)

static void leds(uint32_t on)
{
	viewmon_input_state(&m, ALL_DEVICES, VIEWER_HAS_KEYBOARD | VIEWER_HAS_TABLET, on);
	heard();
}

static void again_focused(uint32_t locks)
{
	view_focus(&v, false, 0);
	said();
	view_focus(&v, true, locks);
}

static void test_view_state_locks_follow_the_host(void **state)
{
	(void)state;
	again_focused(NUM | CAPS | SCROLL);
	assert_string_equal(said(), "focus1 k58+ k58- k69+ k69-");
	leds(NUM | CAPS);
	assert_string_equal(said(), "");
	again_focused(CAPS);
	assert_string_equal(said(), "focus1 k69+ k69-");
	leds(CAPS);
	again_focused(CAPS);
	assert_string_equal(said(), "focus1");
	/* What a person does afterwards stays as it is. */
	leds(0);
	assert_string_equal(said(), "");
}

static void test_view_state_locks_of_a_guest_without_lights(void **state)
{
	(void)state;
	again_focused(NUM);
	assert_string_equal(said(), "focus1 k69+ k69-");
	/* It took the key, and turning it over each time would be worse than nothing. */
	again_focused(NUM);
	assert_string_equal(said(), "focus1");
	/* It has a light after all. */
	leds(NUM);
	leds(0);
	again_focused(NUM);
	assert_string_equal(said(), "focus1 k69+ k69-");
}

static void test_view_state_locks_wait_for_control_and_driver(void **state)
{
	(void)state;
	viewmon_role(&m, 0);
	heard();
	again_focused(CAPS);
	assert_string_equal(said(), "");
	viewmon_input_state(&m, ALL_DEVICES, 0, 0);
	viewmon_role(&m, 1);
	heard();
	assert_string_equal(said(), "focus1");
	leds(0);
	assert_string_equal(said(), "k58+ k58-");
}

/*
 * The pointer.
 */

static void test_view_state_absolute(void **state)
{
	(void)state;
	assert_int_equal(view_pointer(&v), VIEW_POINTER_ABSOLUTE);
	assert_true(view_pointer_is_host(&v));
	view_motion(&v, 0, 10, 10, 1, 1);
	view_motion(&v, 0, 0, 0, 1, 1);
	assert_string_equal(said(), "");
	view_tick(&v, now);
	/* The newest place, and the middle of the pixel. */
	assert_string_equal(said(), "abs0=51 abs1=68");
	view_motion(&v, 0, W - 1, H - 1, 1, 1);
	view_button(&v, 0, BTN_RIGHT, true);
	assert_string_equal(said(), "abs0=65484 abs1=65467 t273+");
	/* Outside, with a button held. */
	view_motion(&v, 0, -50, 5000, 0, 0);
	view_button(&v, 0, BTN_RIGHT, false);
	assert_string_equal(said(), "abs0=51 abs1=65467 t273-");
	view_tick(&v, now);
	assert_string_equal(said(), "");
}

/* Every pixel of a row, back to pixels as libinput does it. */
static void test_view_state_absolute_hits_every_pixel(void **state)
{
	(void)state;
	for (uint32_t width = 321; width < 2000; width += 337) {
		view_resized(&v, 0, width, H, now);
		viewmon_mode(&m, 0, width, H);
		heard();
		for (uint32_t x = 0; x < width; x++) {
			view_motion(&v, 0, (int32_t)x, 0, 0, 0);
			assert_int_equal((uint64_t)v.place_x * width / (VIEWER_ABS_MAX + 1), x);
		}
	}
}

static void test_view_state_relative_is_captured_by_a_click(void **state)
{
	char title[200];

	(void)state;
	viewmon_input_state(&m, ALL_DEVICES, VIEWER_HAS_MOUSE, 0);
	heard();
	assert_int_equal(view_pointer(&v), VIEW_POINTER_RELATIVE);
	assert_false(view_pointer_is_host(&v));
	view_title(&v, 0, title, sizeof(title));
	assert_string_equal(title, "web - a click captures the pointer, Ctrl+Alt+G releases it");
	view_motion(&v, 0, 10, 10, 5, 5);
	view_wheel(&v, 0, 0, 1);
	pass(MS);
	assert_string_equal(said(), "");
	/* The click itself is not the guest's. */
	view_button(&v, 0, BTN_LEFT, true);
	view_button(&v, 0, BTN_LEFT, false);
	assert_true(v.captured && v.grabbed);
	assert_string_equal(said(), "");
	view_motion(&v, 0, 10, 10, 5, -3);
	view_motion(&v, 0, 10, 10, 1, 0);
	pass(MS);
	view_button(&v, 0, BTN_LEFT, true);
	view_button(&v, 0, BTN_LEFT, false);
	assert_string_equal(said(), "rel0=6 rel1=-3 x272+ x272-");
	view_title(&v, 0, title, sizeof(title));
	assert_string_equal(title, "web - Ctrl+Alt+G releases the keyboard and the pointer");
	chord(SC_G);
	assert_false(v.captured || v.grabbed);
	/* The chord captures too. */
	chord(SC_G);
	assert_true(v.captured && v.grabbed);
	view_focus(&v, false, 0);
	assert_false(v.captured || v.grabbed);
}

static void test_view_state_pointer_by_what_there_is(void **state)
{
	static const struct {
		uint32_t has, driven;
		enum view_pointer want, swapped;
	} rows[] = {
		{ALL_DEVICES, ALL_DEVICES, VIEW_POINTER_ABSOLUTE, VIEW_POINTER_RELATIVE},
		{ALL_DEVICES, VIEWER_HAS_MOUSE, VIEW_POINTER_RELATIVE, VIEW_POINTER_ABSOLUTE},
		{ALL_DEVICES, VIEWER_HAS_KEYBOARD, VIEW_POINTER_ABSOLUTE, VIEW_POINTER_RELATIVE},
		{VIEWER_HAS_MOUSE, 0, VIEW_POINTER_RELATIVE, VIEW_POINTER_RELATIVE},
		{VIEWER_HAS_TABLET, VIEWER_HAS_TABLET, VIEW_POINTER_ABSOLUTE, VIEW_POINTER_ABSOLUTE},
		{VIEWER_HAS_KEYBOARD, VIEWER_HAS_KEYBOARD, VIEW_POINTER_NONE, VIEW_POINTER_NONE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		viewmon_input_state(&m, rows[i].has, rows[i].driven, 0);
		heard();
		assert_int_equal(view_pointer(&v), rows[i].want);
		chord(SC_M);
		assert_int_equal(view_pointer(&v), rows[i].swapped);
		chord(SC_M);
	}
}

/* The guest's pointer: all pixels of a colour, 0: the same as before, and where its corner is. */
static void pointer(uint32_t color, uint32_t hot_x, uint32_t hot_y, int32_t x, int32_t y)
{
	static struct {
		struct viewer_cursor_image m;
		uint32_t pixels[32 * 32];
	} image;
	struct viewer_cursor at = {.hdr.type = VIEWER_CURSOR, .visible = 1, .x = x, .y = y};

	image.m = (struct viewer_cursor_image){.hdr.type = VIEWER_CURSOR_IMAGE, .width = 32, .height = 32, .hot_x = hot_x, .hot_y = hot_y};
	for (unsigned i = 0; i < 32 * 32; i++) {
		image.pixels[i] = color;
	}
	if (color) {
		viewmon_send(&m, &image, sizeof(image));
	}
	viewmon_send(&m, &at, sizeof(at));
	heard();
	c.at[0].news = 0;
}

static void point(int32_t x, int32_t y)
{
	view_motion(&v, 0, x, y, 0, 0);
	view_tick(&v, now);
}

static void rest(uint64_t ns)
{
	now += ns;
	clock_set_test_ns(now);
	view_tick(&v, now);
}

static void expect_hot_spot(uint32_t want_x, uint32_t want_y)
{
	uint32_t x, y;

	view_find_hot_spot(&v, 0, &x, &y);
	assert_int_equal(x, want_x);
	assert_int_equal(y, want_y);
}

static void test_view_state_hot_spot_is_found_where_the_guest_says_none(void **state)
{
	(void)state;
	pointer(RED, 0, 0, 0, 0);
	point(100, 80);
	pointer(0, 0, 0, 100 - 9, 80 - 12);
	rest(VIEW_REST_NS - 1);
	expect_hot_spot(0, 0);
	assert_int_equal(view_deadline(&v), now + 1);
	rest(1);
	expect_hot_spot(9, 12);
	assert_int_equal(view_deadline(&v), UINT64_MAX);
	/* Another image has its own; the first one's is known. */
	pointer(GREEN, 0, 0, 100 - 20, 80 - 2);
	expect_hot_spot(0, 0);
	rest(VIEW_REST_NS);
	expect_hot_spot(20, 2);
	pointer(RED, 0, 0, 100 - 9, 80 - 12);
	expect_hot_spot(9, 12);
	/* As the guest has rounded. */
	point(300, 200);
	pointer(0, 0, 0, 300 - 8, 200 - 13);
	rest(VIEW_REST_NS);
	expect_hot_spot(9, 12);
}

static void test_view_state_hot_spot_that_is_said_is_right(void **state)
{
	(void)state;
	pointer(RED, 3, 5, 0, 0);
	point(100, 80);
	pointer(0, 0, 0, 100 - 9, 80 - 12);
	rest(VIEW_REST_NS);
	expect_hot_spot(3, 5);
}

/* The guest has moved it by itself, or points with the corner; does not show it; is late. */
static void test_view_state_hot_spot_is_no_guess(void **state)
{
	static const int32_t off[][2] = {{-1, 5}, {5, -1}, {32, 5}, {5, 32}, {0, 0}, {1, 1}, {-300, 400}};
	struct viewer_cursor hidden = {.hdr.type = VIEWER_CURSOR, .x = 90, .y = 70};

	(void)state;
	pointer(RED, 0, 0, 0, 0);
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
		point(200, 180);
		pointer(0, 0, 0, 200 - off[i][0], 180 - off[i][1]);
		rest(VIEW_REST_NS);
		expect_hot_spot(0, 0);
	}
	point(100, 80);
	viewmon_send(&m, &hidden, sizeof(hidden));
	heard();
	rest(VIEW_REST_NS);
	expect_hot_spot(0, 0);
	point(400, 80);
	rest(VIEW_REST_NS);
	pointer(0, 0, 0, 400 - 7, 80 - 7);
	expect_hot_spot(0, 0);
	rest(VIEW_REST_NS);
	expect_hot_spot(7, 7);
}

static void test_view_state_hot_spots_are_many(void **state)
{
	(void)state;
	for (uint32_t i = 1; i <= VIEW_HOT_SPOTS + 3; i++) {
		pointer(i, 0, 0, 100 - 9, 80 - (int32_t)i);
		point(100, 80);
		rest(VIEW_REST_NS);
		expect_hot_spot(9, i);
	}
	pointer(3, 0, 0, 0, 0);
	expect_hot_spot(0, 0);
	pointer(4, 0, 0, 0, 0);
	expect_hot_spot(9, 4);
}

static void test_view_state_another_pointer_lets_go(void **state)
{
	(void)state;
	chord(SC_M);
	view_button(&v, 0, BTN_LEFT, true);
	assert_true(v.captured);
	said();
	view_button(&v, 0, BTN_RIGHT, true);
	assert_string_equal(said(), "x273+");
	chord(SC_M);
	assert_false(v.captured);
	said();
	/* It comes up where it went down. */
	view_motion(&v, 0, 0, 0, 0, 0);
	view_button(&v, 0, BTN_RIGHT, false);
	assert_string_equal(said(), "x273-");
}

static void test_view_state_wheel(void **state)
{
	(void)state;
	view_wheel(&v, 0, 0, 1);
	view_wheel(&v, 0, -2, 0);
	assert_string_equal(said(), "rel11=120 rel12=-240");
	/* Smooth: what is less than a 120th is kept. */
	for (unsigned i = 0; i < 16; i++) {
		view_wheel(&v, 0, 0, 1 / 64.0f);
	}
	assert_string_equal(said(), "rel11=1 rel11=2 rel11=2 rel11=2 rel11=2 rel11=2 rel11=2 rel11=2 rel11=1 rel11=2 rel11=2 rel11=2 rel11=2 rel11=2 rel11=2 rel11=2");
	view_wheel(&v, 0, 0, NAN);
	view_wheel(&v, 0, INFINITY, -1e30f);
	assert_string_equal(said(), "");
	view_wheel(&v, 0, 1, 1);
	/* Both at once are one frame. */
	assert_string_equal(said(), "rel11=120 rel12=120");
}

static void test_view_state_buttons(void **state)
{
	(void)state;
	view_button(&v, 0, BTN_SIDE, true);
	view_button(&v, 0, BTN_SIDE, true);
	view_button(&v, 0, BTN_SIDE, false);
	view_button(&v, 0, BTN_SIDE, false);
	view_button(&v, 0, BTN_LEFT - 1, true);
	view_button(&v, 0, BTN_TASK + 1, true);
	assert_string_equal(said(), "t275+ t275-");
}

static void begin_touch(void)
{
	viewmon_input_state(&m, ALL_DEVICES | VIEWER_HAS_TOUCH, ALL_DEVICES | VIEWER_HAS_TOUCH, 0);
	heard();
	assert_true(view_has_touch(&v));
}

/* 47 is the slot, 57 the number of the touch, 53 and 54 the place. */
static void test_view_state_touch(void **state)
{
	(void)state;
	assert_false(view_has_touch(&v));
	view_touch(&v, 0, 7, VIEW_TOUCH_DOWN, 10, 10);
	assert_string_equal(said(), "");
	begin_touch();
	view_touch(&v, 0, 7, VIEW_TOUCH_DOWN, 0, H - 1);
	assert_string_equal(said(), "abs47=0 abs57=0 abs53=51 abs54=65467");
	view_touch(&v, 0, -3, VIEW_TOUCH_DOWN, W / 2, H / 2);
	assert_string_equal(said(), "abs47=1 abs57=1 abs53=32819 abs54=32836");
	/* Movements of both are one frame; only the last place counts. */
	view_touch(&v, 0, 7, VIEW_TOUCH_MOVE, 5, 5);
	view_touch(&v, 0, 7, VIEW_TOUCH_DOWN, 0, 0);
	view_touch(&v, 0, -3, VIEW_TOUCH_MOVE, -100, 5000);
	assert_string_equal(said(), "");
	view_tick(&v, now);
	assert_string_equal(said(), "abs47=0 abs53=51 abs54=68 abs47=1 abs53=51 abs54=65467");
	/* One that has moved comes up where it was last. */
	view_touch(&v, 0, 7, VIEW_TOUCH_MOVE, W - 1, H - 1);
	view_touch(&v, 0, 7, VIEW_TOUCH_UP, W - 1, H - 1);
	assert_string_equal(said(), "abs47=0 abs53=65484 abs54=65467 abs47=0 abs57=-1");
	view_touch(&v, 0, 7, VIEW_TOUCH_MOVE, 1, 1);
	view_touch(&v, 0, 7, VIEW_TOUCH_UP, 1, 1);
	view_tick(&v, now);
	assert_string_equal(said(), "");
	/* Its slot is free. */
	view_touch(&v, 0, 8, VIEW_TOUCH_DOWN, 0, 0);
	assert_string_equal(said(), "abs47=0 abs57=2 abs53=51 abs54=68");
}

static void test_view_state_more_fingers_than_a_guest_can_tell_apart(void **state)
{
	(void)state;
	begin_touch();
	for (int i = 0; i <= VIEW_FINGERS; i++) {
		view_touch(&v, 0, i, VIEW_TOUCH_DOWN, i, 0);
		assert_int_equal(said()[0] != 0, i < VIEW_FINGERS);
	}
	for (int i = 0; i <= VIEW_FINGERS; i++) {
		view_touch(&v, 0, i, VIEW_TOUCH_MOVE, i, 1);
	}
	view_touch(&v, 0, 3, VIEW_TOUCH_UP, 0, 0);
	assert_non_null(strstr(said(), "abs47=9 abs53=972 abs54=204 abs47=3 abs57=-1"));
}

/* Each frame is over one output. */
static void test_view_state_fingers_on_two_outputs(void **state)
{
	(void)state;
	viewmon_mode(&m, 1, W, H);
	heard();
	open_window(1, W, H);
	begin_touch();
	view_touch(&v, 0, 1, VIEW_TOUCH_DOWN, 0, 0);
	view_touch(&v, 1, 2, VIEW_TOUCH_DOWN, 0, 0);
	said();
	view_touch(&v, 0, 1, VIEW_TOUCH_MOVE, 1, 0);
	view_touch(&v, 1, 2, VIEW_TOUCH_MOVE, 2, 0);
	view_tick(&v, now);
	for (uint32_t i = 0; i < 2; i++) {
		const struct viewer_input *in = viewmon_read(&m, VIEWER_INPUT);

		assert_non_null(in);
		assert_int_equal(in->device, VIEWER_TOUCH);
		assert_int_equal(in->scanout, i);
		assert_int_equal(in->nevents, 3);
		assert_int_equal(in->event[0].value, i);
	}
}

/* The monitor lifts them when the focus is lost. */
static void test_view_state_fingers_do_not_outlive_the_focus(void **state)
{
	(void)state;
	begin_touch();
	view_touch(&v, 0, 1, VIEW_TOUCH_DOWN, 0, 0);
	view_touch(&v, 0, 1, VIEW_TOUCH_MOVE, 1, 1);
	view_focus(&v, false, 0);
	said();
	view_touch(&v, 0, 1, VIEW_TOUCH_MOVE, 2, 2);
	view_touch(&v, 0, 1, VIEW_TOUCH_UP, 2, 2);
	view_tick(&v, now);
	assert_string_equal(said(), "");
}

static void test_view_state_movements_wait_for_a_slow_monitor(void **state)
{
	struct viewer_presented message = {.hdr.type = VIEWER_PRESENTED};

	(void)state;
	while (!view_conn_waits(&c)) {
		view_conn_send(&c, &message, sizeof(message));
	}
	for (int i = 0; i < 1000; i++) {
		view_motion(&v, 0, i % 600, 10, 0, 0);
		view_tick(&v, now);
	}
	assert_true(c.out_len < 1000);
	while (view_conn_waits(&c)) {
		assert_string_equal(said(), "");
		view_conn_flush(&c);
	}
	view_tick(&v, now);
	view_conn_flush(&c);
	assert_string_equal(said(), "abs0=40908 abs1=1433");
}

/*
 * Sizes.
 */

static const struct viewer_output *asked(void)
{
	return viewmon_read(&m, VIEWER_OUTPUT);
}

static bool wants(uint32_t w, uint32_t h)
{
	uint32_t width = 0, height = 0;
	bool is_so = view_wants_size(&v, 0, &width, &height, now);

	if (is_so) {
		assert_int_equal(width, w);
		assert_int_equal(height, h);
	}
	return is_so;
}

static void mode(uint32_t w, uint32_t h)
{
	viewmon_mode(&m, 0, w, h);
	heard();
}

static void test_view_state_the_guest_follows_a_window_that_has_settled(void **state)
{
	const struct viewer_output *output;

	(void)state;
	assert_int_equal(view_deadline(&v), UINT64_MAX);
	view_on_display(&v, 0, 75000, 127);
	for (uint32_t i = 1; i <= 20; i++) {
		view_resized(&v, 0, W + i, H + i, now);
		pass(20 * MS);
	}
	assert_null(asked());
	assert_int_equal(view_deadline(&v), now + 130 * MS);
	pass(129 * MS);
	assert_null(asked());
	pass(MS);
	output = asked();
	assert_non_null(output);
	assert_int_equal(output->scanout, 0);
	assert_int_equal(output->plugged, 1);
	assert_int_equal(output->width, W + 20);
	assert_int_equal(output->height, H + 20);
	assert_int_equal(output->refresh_mhz, 75000);
	assert_int_equal(output->width_mm, 132);
	assert_int_equal(output->height_mm, 100);
	/* Once; and what the guest makes of it does not change the window, be it a little less. */
	pass(1000 * MS);
	assert_null(asked());
	mode(W + 16, H + 20);
	assert_false(wants(0, 0));
	mode(W + 20, H + 20);
	assert_false(wants(0, 0));
	assert_int_equal(view_deadline(&v), UINT64_MAX);
}

static void test_view_state_the_window_follows_a_guest_of_its_own_mind(void **state)
{
	(void)state;
	mode(800, 600);
	assert_true(wants(800, 600));
	assert_false(wants(0, 0));
	view_resized(&v, 0, 800, 600, now);
	pass(VIEW_SETTLE_NS);
	/* It has what it wanted: there is nothing to ask for. */
	assert_null(asked());
	/* A window manager that gives less: then the guest follows. */
	mode(4000, 3000);
	assert_true(wants(4000, 3000));
	view_resized(&v, 0, 1000, 700, now);
	pass(VIEW_SETTLE_NS);
	assert_int_equal(asked()->width, 1000);
}

static void test_view_state_a_window_that_is_pulled_at_keeps_its_size(void **state)
{
	(void)state;
	view_resized(&v, 0, 700, 500, now);
	mode(800, 600);
	assert_false(wants(0, 0));
	pass(VIEW_SETTLE_NS);
	assert_int_equal(asked()->width, 700);
	/* A guest that never answers is left alone after a while. */
	pass(VIEW_ANSWER_NS);
	mode(1024, 768);
	assert_true(wants(1024, 768));
}

static void test_view_state_an_old_answer_is_not_the_newest(void **state)
{
	(void)state;
	view_resized(&v, 0, 700, 500, now);
	pass(VIEW_SETTLE_NS);
	assert_int_equal(asked()->width, 700);
	view_resized(&v, 0, 750, 550, now);
	pass(VIEW_SETTLE_NS);
	assert_int_equal(asked()->width, 750);
	mode(700, 500);
	assert_false(wants(0, 0));
	mode(750, 550);
	assert_false(wants(0, 0));
	/* Back to what the guest had before: also asked for. */
	view_resized(&v, 0, 700, 500, now);
	pass(VIEW_SETTLE_NS);
	assert_int_equal(asked()->width, 700);
	view_resized(&v, 0, 750, 550, now);
	pass(VIEW_SETTLE_NS);
	assert_int_equal(asked()->width, 750);
}

static void test_view_state_who_does_not_control_asks_for_nothing(void **state)
{
	const struct viewer_output *output;

	(void)state;
	viewmon_role(&m, 0);
	heard();
	view_resized(&v, 0, 700, 500, now);
	pass(VIEW_SETTLE_NS);
	assert_null(asked());
	/* But then. */
	viewmon_role(&m, 1);
	heard();
	pass(VIEW_SETTLE_NS);
	output = asked();
	assert_non_null(output);
	assert_int_equal(output->width, 700);
}

static void test_view_state_fixed_and_scaled(void **state)
{
	struct view_place place;

	(void)state;
	anew(VIEW_FIXED, false);
	view_resized(&v, 0, 1000, 500, now);
	pass(VIEW_SETTLE_NS);
	assert_null(asked());
	place = view_place(&v, 0);
	assert_int_equal(place.x, 180);
	assert_int_equal(place.y, 10);
	assert_int_equal(place.w, W);
	mode(800, 600);
	assert_true(wants(800, 600));
	anew(VIEW_SCALE, false);
	view_resized(&v, 0, 1000, 500, now);
	pass(VIEW_SETTLE_NS);
	assert_null(asked());
	mode(800, 600);
	assert_false(wants(0, 0));
}

/* Two pixels of the window for one of the guest, and half a one. */
static void test_view_state_zoom(void **state)
{
	struct view_place place;

	(void)state;
	anew(VIEW_FIXED, false);
	v.zoom = 2;
	view_resized(&v, 0, 2 * W + 10, 2 * H, now);
	place = view_place(&v, 0);
	assert_int_equal(place.x, 5);
	assert_int_equal(place.w, 2 * W);
	assert_int_equal(place.h, 2 * H);
	pass(VIEW_SETTLE_NS);
	mode(800, 600);
	assert_true(wants(1600, 1200));
	/* No room for that: as large as it can be. */
	view_resized(&v, 0, 1000, 2000, now);
	assert_int_equal(view_place(&v, 0).w, 1000);
	anew(VIEW_FOLLOW, false);
	v.zoom = 2;
	view_resized(&v, 0, 1401, 1000, now);
	pass(VIEW_SETTLE_NS);
	assert_int_equal(asked()->width, 701);
	mode(701, 500);
	/* The odd pixel is no reason to change the window. */
	assert_false(wants(0, 0));
	pass(VIEW_ANSWER_NS);
	mode(800, 600);
	assert_true(wants(1600, 1200));
	view_resized(&v, 0, 1600, 1200, now);
	pass(VIEW_SETTLE_NS);
	assert_null(asked());
	anew(VIEW_FOLLOW, false);
	v.zoom = 0.25;
	view_resized(&v, 0, 1, 1, now);
	pass(VIEW_SETTLE_NS);
	assert_int_equal(asked()->width, 4);
}

static void test_view_state_title_as_it_is_asked_for(void **state)
{
	char title[300], *longer = malloc(1000);

	(void)state;
	v.title = "{name} of {name}, mine";
	view_title(&v, 0, title, sizeof(title));
	assert_string_equal(title, "web of web, mine - Ctrl+Alt+G grabs the keyboard");
	v.title = "no {nam} %s";
	view_title(&v, 0, title, sizeof(title));
	assert_string_equal(title, "no {nam} %s - Ctrl+Alt+G grabs the keyboard");
	for (unsigned i = 0; i < 166; i++) {
		memcpy(longer + i * 6, "{name}", 7);
	}
	v.title = longer;
	view_title(&v, 0, title, sizeof(title));
	assert_int_equal(strncmp(title, "webwebweb", 9), 0);
	free(longer);
	v.title = "";
}

static void test_view_state_place_keeps_the_aspect_ratio(void **state)
{
	static const struct {
		uint32_t w, h;
		struct view_place want;
	} rows[] = {
		{W, H, {0, 0, 640, 480}}, {1280, 960, {0, 0, 1280, 960}}, {1280, 480, {320, 0, 640, 480}}, {640, 960, {0, 240, 640, 480}}, {320, 480, {0, 120, 320, 240}},
		{1, 1000, {0, 499, 1, 1}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct view_place got;

		view_resized(&v, 0, rows[i].w, rows[i].h, now);
		got = view_place(&v, 0);
		assert_memory_equal(&got, &rows[i].want, sizeof(got));
	}
	view_resized(&v, 0, 1280, 480, now);
	view_motion(&v, 0, 320 + 639, 0, 0, 0);
	view_tick(&v, now);
	assert_string_equal(said(), "abs0=65484 abs1=68");
	view_resized(&v, 0, 0, 0, now);
	assert_int_equal(view_place(&v, 0).w, 0);
	view_motion(&v, 0, 5, 5, 0, 0);
	view_tick(&v, now);
	assert_string_equal(said(), "");
}

/*
 * Frames.
 */

static void test_view_state_frames_come_at_the_rate_of_the_display(void **state)
{
	unsigned taken = 0;

	(void)state;
	viewmon_buffer(&m, 7, W, H);
	for (uint64_t end = now + 1000 * MS; now < end; pass(MS)) {
		if (!c.at[0].has_frame) {
			viewmon_frame(&m, 0, 7, taken + 1, W, H, (struct viewer_rect){0, 0, 1, 1});
			heard();
		}
		if (view_may_take(&v, 0, now)) {
			const struct viewer_release *release;

			view_taken(&v, 0, now);
			taken++;
			release = viewmon_read(&m, VIEWER_RELEASE);
			assert_non_null(release);
			assert_int_equal(release->number, taken);
		}
	}
	/* A timer that is late by up to a millisecond costs no frames. */
	assert_in_range(taken, 60, 61);
	assert_int_equal(view_deadline(&v), v.at[0].take_ns);
	/* One after a pause is taken at once, and does not make up for the pause. */
	pass(500 * MS);
	assert_true(view_may_take(&v, 0, now));
	view_taken(&v, 0, now);
	assert_int_equal(v.at[0].take_ns, now + FRAME_60HZ_NS);
	assert_false(view_may_take(&v, 0, now));
}

static void test_view_state_presented(void **state)
{
	const struct viewer_presented *presented;

	(void)state;
	view_presented(&v, 0, 42, now);
	presented = viewmon_read(&m, VIEWER_PRESENTED);
	assert_non_null(presented);
	assert_int_equal(presented->number, 42);
	assert_int_equal(presented->presented_ns, now);
	assert_int_equal(presented->refresh_mhz, 60000);
}

/*
 * Who controls.
 */

static void test_view_state_who_observes_says_nothing(void **state)
{
	char title[200];

	(void)state;
	anew(VIEW_FOLLOW, true);
	view_focus(&v, false, 0);
	view_focus(&v, true, CAPS);
	view_press(&v, SC_A, true);
	view_press(&v, SC_A, false);
	view_motion(&v, 0, 10, 10, 1, 1);
	view_button(&v, 0, BTN_LEFT, true);
	view_button(&v, 0, BTN_LEFT, false);
	view_wheel(&v, 0, 1, 1);
	chord(SC_C);
	pass(MS);
	assert_null(viewmon_read(&m, 0));
	view_title(&v, 0, title, sizeof(title));
	assert_string_equal(title, "web - observing, viewer 2, process 4321 controls");
}

static void test_view_state_take_over(void **state)
{
	const struct viewer_control *control;
	char title[200];

	(void)state;
	viewmon_role(&m, 0);
	heard();
	view_title(&v, 0, title, sizeof(title));
	assert_string_equal(title, "web - observing, viewer 2, process 4321 controls - Ctrl+Alt+C takes over");
	chord(SC_C);
	control = viewmon_read(&m, VIEWER_CONTROL);
	assert_non_null(control);
	assert_int_equal(control->wants, 1);
	assert_null(viewmon_read(&m, 0));
	viewmon_role(&m, 1);
	heard();
	assert_string_equal(said(), "focus1");
	chord(SC_C);
	control = viewmon_read(&m, VIEWER_CONTROL);
	assert_non_null(control);
	assert_int_equal(control->wants, 0);
}

static void test_view_state_lost_control_forgets_what_is_down(void **state)
{
	(void)state;
	view_press(&v, SC_A, true);
	said();
	viewmon_role(&m, 0);
	heard();
	viewmon_role(&m, 1);
	heard();
	said();
	view_press(&v, SC_A, false);
	assert_string_equal(said(), "");
}

static void test_view_state_titles(void **state)
{
	char title[200];
	struct viewer_role nobody = {.hdr.type = VIEWER_ROLE};

	(void)state;
	viewmon_mode(&m, 1, W, H);
	viewmon_send(&m, &nobody, sizeof(nobody));
	heard();
	view_title(&v, 1, title, sizeof(title));
	assert_string_equal(title, "web (output 1) - observing, nobody controls - Ctrl+Alt+C controls");
	view_conn_again(&c, "tests", false);
	view_reconnected(&v);
	view_title(&v, 1, title, sizeof(title));
	assert_string_equal(title, "web - waiting for the VM");
	view_title(&v, 1, title, 8);
	assert_string_equal(title, "web - w");
}

static void test_view_state_a_new_connection_begins_anew(void **state)
{
	char title[200];

	(void)state;
	view_press(&v, SC_A, true);
	view_resized(&v, 0, 700, 500, now);
	pass(VIEW_SETTLE_NS);
	said();
	view_conn_again(&c, "tests", false);
	view_reconnected(&v);
	/* Which VM it was is known still, whatever it was called on the command line. */
	view_title(&v, 0, title, sizeof(title));
	assert_string_equal(title, "web - waiting for the VM");
	viewmon_hello(&m, 1);
	viewmon_mode(&m, 0, W, H);
	viewmon_input_state(&m, ALL_DEVICES, VIEWER_HAS_KEYBOARD, 0);
	viewmon_role(&m, 1);
	heard();
	assert_string_equal(said(), "focus1");
	view_press(&v, SC_A, false);
	assert_string_equal(said(), "");
	/* The new guest is told the window's size too. */
	pass(VIEW_SETTLE_NS);
	assert_int_equal(asked()->width, 700);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_view_state_keys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_lost_focus_releases, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_chords_are_not_for_the_guest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_modifiers_do_not_outlive_the_focus, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_ctrl_alt_delete, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_power_button, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_grab, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_locks_follow_the_host, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_locks_of_a_guest_without_lights, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_locks_wait_for_control_and_driver, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_absolute, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_absolute_hits_every_pixel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_relative_is_captured_by_a_click, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_pointer_by_what_there_is, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_hot_spot_is_found_where_the_guest_says_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_hot_spot_that_is_said_is_right, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_hot_spot_is_no_guess, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_hot_spots_are_many, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_another_pointer_lets_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_wheel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_buttons, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_touch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_more_fingers_than_a_guest_can_tell_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_fingers_on_two_outputs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_fingers_do_not_outlive_the_focus, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_movements_wait_for_a_slow_monitor, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_the_guest_follows_a_window_that_has_settled, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_the_window_follows_a_guest_of_its_own_mind, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_a_window_that_is_pulled_at_keeps_its_size, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_an_old_answer_is_not_the_newest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_who_does_not_control_asks_for_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_fixed_and_scaled, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_zoom, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_title_as_it_is_asked_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_place_keeps_the_aspect_ratio, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_frames_come_at_the_rate_of_the_display, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_presented, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_who_observes_says_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_take_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_lost_control_forgets_what_is_down, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_titles, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_state_a_new_connection_begins_anew, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("view_state", tests, NULL, NULL);
}
