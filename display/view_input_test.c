/* SPDX-License-Identifier: MIT */
/* SDL's events, and what the monitor hears of them. Without SDL itself: what the file under test asks of it is answered here. */
#include "display/view_sdl_priv.h"

#include <SDL.h>
#include <linux/input-event-codes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/viewmon.h"
#include "vmm/clock.h"

#define W 640u
#define H 480u
#define WINDOW 7u /* SDL's number for the first output's window */
#define SCREEN 3 /* a touch screen */
#define PAD 4 /* a touch pad */

static struct viewmon m;
static struct app app;
static SDL_Keymod mods;
static uint32_t window_flags, full_screens;
static float ratio;

SDL_Keymod SDL_GetModState(void)
{
	return mods;
}

uint32_t SDL_GetWindowFlags(SDL_Window *window)
{
	(void)window;
	return window_flags;
}

int SDL_SetWindowFullscreen(SDL_Window *window, uint32_t flags)
{
	(void)window;
	window_flags = flags;
	full_screens++;
	return 0;
}

SDL_TouchDeviceType SDL_GetTouchDeviceType(SDL_TouchID id)
{
	return id == SCREEN ? SDL_TOUCH_DEVICE_DIRECT : SDL_TOUCH_DEVICE_INDIRECT_ABSOLUTE;
}

int view_window_find(const struct app *a, uint32_t id)
{
	(void)a;
	return id == WINDOW ? 0 : -1;
}

float view_window_ratio(const struct window *w)
{
	(void)w;
	return ratio;
}

void view_window_measure(struct app *a, unsigned i)
{
	a->at[i].is_dirty = true;
}

void view_stop(struct app *a, enum view_exit how, const char *fmt, ...)
{
	(void)fmt;
	a->done = true;
	a->exit = how;
}

void view_draw_again(struct app *a)
{
	a->at[0].is_dirty = true;
}

/* Since it was last asked: "device:" and TYPE/CODE=VALUE of each message. */
static const char *said(void)
{
	static char text[1000];
	size_t len = 0;
	const struct viewer_input *in;

	view_tick(&app.view, clock_now_ns());
	text[0] = 0;
	while ((in = viewmon_read(&m, 0))) {
		if (in->hdr.type != VIEWER_INPUT) {
			continue;
		}
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u:", len > 0 ? " " : "", in->device);
		for (uint32_t i = 0; i < in->nevents; i++) {
			len += (size_t)snprintf(text + len, sizeof(text) - len, " %u/%u=%d", in->event[i].type, in->event[i].code, in->event[i].value);
		}
	}
	return text;
}

static void driven(uint32_t devices)
{
	viewmon_input_state(&m, devices, devices, 0);
	view_conn_read(&app.conn);
	assert_int_equal(app.conn.end, VIEW_GOES_ON);
	view_news(&app.view, clock_now_ns());
	said();
}

static int set_up(void **state)
{
	(void)state;
	app = (struct app){0};
	mods = KMOD_NONE;
	window_flags = full_screens = 0;
	ratio = 1;
	clock_set_test_ns(1000 * CLOCK_NS_PER_S);
	viewmon_init(&m);
	view_conn_init(&app.conn, m.viewer_fd, "tests", false);
	m.viewer_fd = -1;
	view_init(&app.view, &app.conn, VIEW_SCALE, false, "web");
	viewmon_hello(&m, 1);
	viewmon_mode(&m, 0, W, H);
	viewmon_role(&m, true);
	view_resized(&app.view, 0, W, H, clock_now_ns());
	driven(VIEWER_HAS_KEYBOARD | VIEWER_HAS_TABLET | VIEWER_HAS_TOUCH);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	view_conn_finish(&app.conn);
	viewmon_finish(&m);
	clock_set_test_ns(0);
	return 0;
}

static void finger(uint32_t type, SDL_TouchID device, SDL_FingerID number, float x, float y)
{
	SDL_Event e = {.tfinger = {.type = type, .touchId = device, .fingerId = number, .x = x, .y = y, .windowID = WINDOW}};

	view_input_event(&app, &e);
}

static void motion(uint32_t which, int32_t x, int32_t y)
{
	SDL_Event e = {.motion = {.type = SDL_MOUSEMOTION, .windowID = WINDOW, .which = which, .x = x, .y = y}};

	view_input_event(&app, &e);
}

/* At 320, 240 of the picture. */
static void button(uint32_t which, uint8_t number, bool down)
{
	SDL_Event e = {.button = {.type = down ? SDL_MOUSEBUTTONDOWN : SDL_MOUSEBUTTONUP, .windowID = WINDOW, .which = which, .button = number, .state = down ? SDL_PRESSED : SDL_RELEASED,
		.x = (int32_t)(320 / ratio), .y = (int32_t)(240 / ratio)}};

	view_input_event(&app, &e);
}

static void key(uint32_t window, unsigned scancode, bool down)
{
	SDL_Event e = {.key = {.type = down ? SDL_KEYDOWN : SDL_KEYUP, .windowID = window, .state = down ? SDL_PRESSED : SDL_RELEASED, .keysym.scancode = scancode}};

	view_input_event(&app, &e);
}

static void window_event(uint8_t what)
{
	SDL_Event e = {.window = {.type = SDL_WINDOWEVENT, .windowID = WINDOW, .event = what}};

	view_input_event(&app, &e);
}

/* 47 is the slot, 57 the number of the touch, 53 and 54 the place. SDL makes a mouse of the first finger besides, which is not for this guest. */
static void test_view_input_fingers(void **state)
{
	(void)state;
	finger(SDL_FINGERDOWN, SCREEN, 11, 0, 0.5f);
	motion(SDL_TOUCH_MOUSEID, 0, 240);
	button(SDL_TOUCH_MOUSEID, SDL_BUTTON_LEFT, true);
	assert_string_equal(said(), "4: 3/47=0 3/57=0 3/53=51 3/54=32836");
	finger(SDL_FINGERDOWN, SCREEN, 12, 0.5f, 0.25f);
	assert_string_equal(said(), "4: 3/47=1 3/57=1 3/53=32819 3/54=16452");
	finger(SDL_FINGERMOTION, SCREEN, 11, 0.25f, 0.5f);
	finger(SDL_FINGERMOTION, SCREEN, 12, 1, 1);
	assert_string_equal(said(), "4: 3/47=0 3/53=16435 3/54=32836 3/47=1 3/53=65484 3/54=65467");
	finger(SDL_FINGERUP, SCREEN, 11, 0.25f, 0.5f);
	button(SDL_TOUCH_MOUSEID, SDL_BUTTON_LEFT, false);
	finger(SDL_FINGERUP, SCREEN, 12, 1, 1);
	assert_string_equal(said(), "4: 3/47=0 3/57=-1 4: 3/47=1 3/57=-1");
}

/* Their pointer is a mouse's. */
static void test_view_input_fingers_on_a_touch_pad(void **state)
{
	(void)state;
	finger(SDL_FINGERDOWN, PAD, 11, 0.5f, 0.5f);
	finger(SDL_FINGERMOTION, PAD, 11, 0.25f, 0.5f);
	finger(SDL_FINGERUP, PAD, 11, 0.25f, 0.5f);
	assert_string_equal(said(), "");
}

static void test_view_input_fingers_are_a_pointer_for_other_guests(void **state)
{
	(void)state;
	driven(VIEWER_HAS_KEYBOARD | VIEWER_HAS_TABLET);
	finger(SDL_FINGERDOWN, SCREEN, 11, 0.5f, 0.5f);
	motion(SDL_TOUCH_MOUSEID, 320, 240);
	button(SDL_TOUCH_MOUSEID, SDL_BUTTON_LEFT, true);
	assert_string_equal(said(), "3: 3/0=32819 3/1=32836 1/272=1");
	finger(SDL_FINGERUP, SCREEN, 11, 0.5f, 0.5f);
	button(SDL_TOUCH_MOUSEID, SDL_BUTTON_LEFT, false);
	assert_string_equal(said(), "3: 3/0=32819 3/1=32836 1/272=0");
}

/* On a screen with fine pixels SDL counts two of them as one. */
static void test_view_input_pointer(void **state)
{
	static const struct {
		uint8_t button;
		unsigned code;
	} rows[] = {{SDL_BUTTON_LEFT, BTN_LEFT}, {SDL_BUTTON_MIDDLE, BTN_MIDDLE}, {SDL_BUTTON_RIGHT, BTN_RIGHT}, {SDL_BUTTON_X1, BTN_SIDE}, {SDL_BUTTON_X2, BTN_EXTRA}};
	char want[100];

	(void)state;
	ratio = 2;
	motion(0, 160, 120);
	assert_string_equal(said(), "3: 3/0=32819 3/1=32836");
	assert_int_equal(app.pointed, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		button(0, rows[i].button, true);
		snprintf(want, sizeof(want), "3: 3/0=32819 3/1=32836 1/%u=1", rows[i].code);
		assert_string_equal(said(), want);
	}
	button(0, 0, true);
	button(0, SDL_BUTTON_X2 + 1, true);
	assert_string_equal(said(), "");
}

/* Parts of a notch, as Wayland has them. 11 and 12 are the fine wheels. */
static void test_view_input_wheel(void **state)
{
	SDL_Event e = {.wheel = {.type = SDL_MOUSEWHEEL, .windowID = WINDOW, .preciseX = -0.25f, .preciseY = 0.125f}};

	(void)state;
	view_input_event(&app, &e);
	assert_string_equal(said(), "3: 2/11=15 2/12=-30");
}

static void test_view_input_keys(void **state)
{
	(void)state;
	key(WINDOW, SDL_SCANCODE_A, true);
	key(WINDOW, SDL_SCANCODE_A, false);
	assert_string_equal(said(), "1: 1/30=1 1: 1/30=0");
	/* A press that no window has is nobody's; a release is. */
	key(0, SDL_SCANCODE_A, true);
	assert_string_equal(said(), "");
	key(WINDOW, SDL_SCANCODE_A, true);
	key(0, SDL_SCANCODE_A, false);
	assert_string_equal(said(), "1: 1/30=1 1: 1/30=0");
}

static void test_view_input_full_screen(void **state)
{
	(void)state;
	key(WINDOW, SDL_SCANCODE_LCTRL, true);
	key(WINDOW, SDL_SCANCODE_LALT, true);
	key(WINDOW, SDL_SCANCODE_F, true);
	assert_int_equal(window_flags, SDL_WINDOW_FULLSCREEN_DESKTOP);
	key(WINDOW, SDL_SCANCODE_F, false);
	key(WINDOW, SDL_SCANCODE_F, true);
	assert_int_equal(window_flags, 0);
	assert_int_equal(full_screens, 2);
	assert_string_equal(said(), "1: 1/29=1 1: 1/56=1");
}

static void test_view_input_windows(void **state)
{
	SDL_Event quit = {.type = SDL_QUIT};

	(void)state;
	mods = KMOD_CAPS;
	window_event(SDL_WINDOWEVENT_FOCUS_GAINED);
	assert_true(app.view.focused);
	assert_int_equal(app.view.locks, 1u << LED_CAPSL);
	/* The guest's lights are made like the host's. */
	assert_string_equal(said(), "1: 1/58=1 1: 1/58=0");
	window_event(SDL_WINDOWEVENT_FOCUS_LOST);
	assert_false(app.view.focused);
	window_event(SDL_WINDOWEVENT_EXPOSED);
	assert_true(app.at[0].is_dirty);
	app.at[0].is_dirty = false;
	window_event(SDL_WINDOWEVENT_SIZE_CHANGED);
	assert_true(app.at[0].is_dirty);
	assert_false(app.done);
	window_event(SDL_WINDOWEVENT_CLOSE);
	assert_true(app.done);
	assert_int_equal(app.exit, VIEW_EXIT_CLOSED);
	app.done = false;
	view_input_event(&app, &quit);
	assert_true(app.done);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_view_input_fingers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_input_fingers_on_a_touch_pad, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_input_fingers_are_a_pointer_for_other_guests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_input_pointer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_input_wheel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_input_keys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_input_full_screen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_input_windows, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
