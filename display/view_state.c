/* SPDX-License-Identifier: MIT */
#include "display/view_state.h"

#include <assert.h>
#include <linux/input-event-codes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/clock.h"

#define V120 120.0f
#define NS_PER_MS_MHZ 1000000000000ull /* a period in ns is this by its frequency in mHz */
#define MICROMETRES_PER_INCH 25400ull
#define LOCKS (1u << LED_CAPSL | 1u << LED_NUML) /* not Scroll Lock: on a Linux console it stops the output */

/* Scancodes: see view_keys.h. */
enum {
	SC_C = 6,
	SC_F = 9,
	SC_G = 10,
	SC_M = 16,
	SC_P = 19,
	SC_END = 77,
	SC_LEFTCTRL = 224,
	SC_LEFTALT = 226,
	SC_RIGHTCTRL = 228,
};

/* What became of a key that is down. */
enum { KEY_IS_UP, KEY_IS_SENT, KEY_IS_CHORD };

#define EVENTS_MAX (3 * VIEW_FINGERS + 4) /* all fingers have moved, and one comes down */

/* A struct viewer_input and its events. */
struct frame {
	uint32_t n;
	_Alignas(struct viewer_input) uint8_t bytes[sizeof(struct viewer_input) + EVENTS_MAX * sizeof(struct viewer_event)];
};

static void frame_add(struct frame *f, uint16_t type, uint16_t code, int32_t value)
{
	struct viewer_input *in = (struct viewer_input *)f->bytes;

	assert(f->n < EVENTS_MAX);
	in->event[f->n++] = (struct viewer_event){type, code, value};
}

static void frame_send(struct view *v, struct frame *f, uint32_t device, uint32_t scanout)
{
	struct viewer_input *in = (struct viewer_input *)f->bytes;

	if (f->n > 0 && v->conn->controls) {
		in->hdr.type = VIEWER_INPUT;
		in->time_ns = clock_now_ns();
		in->device = device;
		in->scanout = scanout;
		in->nevents = f->n;
		view_conn_send(v->conn, in, sizeof(*in) + f->n * sizeof(in->event[0]));
	}
}

/*
 * Keys.
 */

static bool is_held(const struct view *v, unsigned key)
{
	return v->held[key / 8] & 1u << key % 8;
}

static void send_key(struct view *v, uint16_t key, bool down)
{
	struct frame f = {0};

	/* What the guest does not have down, does not come up. */
	if (!v->conn->controls || key >= sizeof(v->held) * 8 || is_held(v, key) == down) {
		return;
	}
	v->held[key / 8] ^= (uint8_t)(1u << key % 8);
	frame_add(&f, EV_KEY, key, down);
	frame_send(v, &f, VIEWER_KEYBOARD, 0);
}

static void tap_key(struct view *v, uint16_t key)
{
	send_key(v, key, true);
	send_key(v, key, false);
}

static void forget_what_is_down(struct view *v)
{
	memset(v->held, 0, sizeof(v->held));
	v->buttons = 0;
	v->has_place = false;
	v->move_x = v->move_y = 0;
	v->wheel_x = v->wheel_y = 0;
	memset(v->finger, 0, sizeof(v->finger));
}

static void send_focus(struct view *v)
{
	struct viewer_focus m = {.hdr.type = VIEWER_FOCUS, .has = v->focused};

	if (v->conn->controls) {
		view_conn_send(v->conn, &m, sizeof(m));
	}
}

static enum view_do do_grab(struct view *v)
{
	v->grabbed = !v->grabbed;
	v->captured = v->grabbed && view_pointer(v) == VIEW_POINTER_RELATIVE;
	return VIEW_DO_NOTHING;
}

static enum view_do do_fullscreen(struct view *v)
{
	(void)v;
	return VIEW_DO_FULLSCREEN;
}

static enum view_do do_pointer(struct view *v)
{
	v->swapped = !v->swapped;
	v->captured = v->captured && view_pointer(v) == VIEW_POINTER_RELATIVE;
	return VIEW_DO_NOTHING;
}

static enum view_do do_control(struct view *v)
{
	struct viewer_control m = {.hdr.type = VIEWER_CONTROL, .wants = !v->conn->controls};

	if (!v->observes) {
		view_conn_send(v->conn, &m, sizeof(m));
	}
	return VIEW_DO_NOTHING;
}

/* Ctrl and Alt are down as the guest sees it. */
static enum view_do do_delete(struct view *v)
{
	tap_key(v, KEY_DELETE);
	return VIEW_DO_NOTHING;
}

static enum view_do do_power(struct view *v)
{
	struct viewer_action m = {.hdr.type = VIEWER_ACTION, .action = VIEWER_POWER_BUTTON};

	if (v->conn->controls) {
		view_conn_send(v->conn, &m, sizeof(m));
	}
	return VIEW_DO_NOTHING;
}

static const struct chord {
	unsigned scancode;
	enum view_do (*fn)(struct view *v);
} chords[] = {
	{SC_G, do_grab}, {SC_F, do_fullscreen}, {SC_M, do_pointer}, {SC_C, do_control}, {SC_END, do_delete}, {SC_P, do_power},
};

static const struct chord *find_chord(const struct view *v, unsigned scancode)
{
	if ((v->ctrl_left || v->ctrl_right) && v->alt_left) {
		for (size_t i = 0; i < sizeof(chords) / sizeof(chords[0]); i++) {
			if (chords[i].scancode == scancode) {
				return &chords[i];
			}
		}
	}
	return NULL;
}

static void note_modifier(struct view *v, unsigned scancode, bool down)
{
	switch (scancode) {
	case SC_LEFTCTRL:
		v->ctrl_left = down;
		break;
	case SC_RIGHTCTRL:
		v->ctrl_right = down;
		break;
	case SC_LEFTALT:
		v->alt_left = down;
		break;
	}
}

enum view_do view_press(struct view *v, unsigned scancode, bool down)
{
	const struct chord *chord;
	uint8_t was;

	if (scancode >= VIEW_KEYS_MAX) {
		return VIEW_DO_NOTHING;
	}
	note_modifier(v, scancode, down);
	was = v->down[scancode];
	chord = down ? find_chord(v, scancode) : NULL;
	if (chord) {
		/* One that the host repeats is one. */
		v->down[scancode] = KEY_IS_CHORD;
		return was == KEY_IS_CHORD ? VIEW_DO_NOTHING : chord->fn(v);
	}
	v->down[scancode] = down ? KEY_IS_SENT : KEY_IS_UP;
	if (was != KEY_IS_CHORD && view_key(scancode)) {
		send_key(v, view_key(scancode), down);
	}
	return VIEW_DO_NOTHING;
}

/*
 * Lock keys: the guest's lights are made like the host's when the window gets the keyboard.
 */

static void lock_sync(struct view *v)
{
	uint32_t differ;

	if (!v->must_lock || !v->focused || !v->conn->controls || !v->conn->has_input_state || !(v->conn->driven & VIEWER_HAS_KEYBOARD)) {
		return;
	}
	v->must_lock = false;
	/* A guest that takes the key and says no light would have its lock turned over each time. */
	v->lock_deaf |= v->lock_tried;
	differ = (v->locks ^ v->conn->leds) & LOCKS & ~v->lock_deaf;
	v->lock_tried = differ;
	v->lock_tried_leds = v->conn->leds;
	if (differ & 1u << LED_CAPSL) {
		tap_key(v, KEY_CAPSLOCK);
	}
	if (differ & 1u << LED_NUML) {
		tap_key(v, KEY_NUMLOCK);
	}
}

void view_focus(struct view *v, bool has, uint32_t locks)
{
	bool had = v->focused;

	v->focused = has;
	if (!has) {
		forget_what_is_down(v);
		memset(v->down, 0, sizeof(v->down));
		v->ctrl_left = v->ctrl_right = v->alt_left = false;
		v->grabbed = v->grabbed && !v->captured;
		v->captured = false;
	}
	if (had != has) {
		send_focus(v);
	}
	if (has) {
		v->locks = locks;
		v->must_lock = true;
		lock_sync(v);
	}
}

/*
 * The pointer.
 */

enum view_pointer view_pointer(const struct view *v)
{
	const uint32_t both = VIEWER_HAS_TABLET | VIEWER_HAS_MOUSE;
	uint32_t usable = v->conn->driven & both ? v->conn->driven & both : v->conn->has & both;
	enum view_pointer pointer = usable & VIEWER_HAS_TABLET ? VIEW_POINTER_ABSOLUTE : usable & VIEWER_HAS_MOUSE ? VIEW_POINTER_RELATIVE : VIEW_POINTER_NONE;

	if (!v->conn->controls) {
		return VIEW_POINTER_NONE;
	}
	if (v->swapped && (v->conn->has & both) == both) {
		return pointer == VIEW_POINTER_ABSOLUTE ? VIEW_POINTER_RELATIVE : VIEW_POINTER_ABSOLUTE;
	}
	return pointer;
}

bool view_pointer_is_host(const struct view *v)
{
	return view_pointer(v) == VIEW_POINTER_ABSOLUTE;
}

static uint32_t device_of(enum view_pointer pointer)
{
	return pointer == VIEW_POINTER_ABSOLUTE ? VIEWER_TABLET : VIEWER_MOUSE;
}

/* The middle of pixel @at of @n, over 0 to VIEWER_ABS_MAX; where it is outside, the nearest one. */
static uint32_t over(int64_t at, int64_t n)
{
	at = at < 0 ? 0 : at >= n ? n - 1 : at;
	return (uint32_t)((2 * at + 1) * (VIEWER_ABS_MAX + 1) / (2 * n));
}

void view_motion(struct view *v, unsigned scanout, int32_t x, int32_t y, int32_t dx, int32_t dy)
{
	struct view_place place;

	switch (view_pointer(v)) {
	case VIEW_POINTER_ABSOLUTE:
		place = view_place(v, scanout);
		if (place.w > 0 && place.h > 0) {
			v->place_x = over((int64_t)x - place.x, place.w);
			v->place_y = over((int64_t)y - place.y, place.h);
			v->place_scanout = scanout;
			v->has_place = true;
		}
		break;
	case VIEW_POINTER_RELATIVE:
		if (v->captured) {
			v->move_x += dx;
			v->move_y += dy;
		}
		break;
	case VIEW_POINTER_NONE:
		break;
	}
}

/* Adds what has not been sent yet. */
static void add_motion(struct view *v, struct frame *f)
{
	if (v->has_place) {
		frame_add(f, EV_ABS, ABS_X, (int32_t)v->place_x);
		frame_add(f, EV_ABS, ABS_Y, (int32_t)v->place_y);
		v->has_sent = true;
		v->sent_x = v->place_x;
		v->sent_y = v->place_y;
		v->sent_scanout = v->place_scanout;
		v->rests_ns = clock_now_ns() + VIEW_REST_NS;
	}
	if (v->move_x) {
		frame_add(f, EV_REL, REL_X, v->move_x);
	}
	if (v->move_y) {
		frame_add(f, EV_REL, REL_Y, v->move_y);
	}
	v->has_place = false;
	v->move_x = v->move_y = 0;
}

static void send_motion(struct view *v)
{
	struct frame f = {0};
	uint32_t device = v->has_place ? VIEWER_TABLET : VIEWER_MOUSE;

	add_motion(v, &f);
	frame_send(v, &f, device, v->place_scanout);
}

void view_button(struct view *v, unsigned scanout, unsigned button, bool down)
{
	uint8_t bit = button >= BTN_LEFT && button <= BTN_TASK ? (uint8_t)(1u << (button - BTN_LEFT)) : 0;
	enum view_pointer pointer = view_pointer(v);
	struct frame f = {0};

	if (!bit || (v->buttons & bit ? 1 : 0) == down || (down && pointer == VIEW_POINTER_NONE)) {
		return;
	}
	if (down && pointer == VIEW_POINTER_RELATIVE && !v->captured) {
		v->captured = v->grabbed = true;
		return;
	}
	/* It comes up on the device it went down on, whatever the pointer is by now. */
	if (down && v->buttons == 0) {
		v->buttons_of = pointer;
	}
	if (v->buttons_of == pointer) {
		add_motion(v, &f);
	}
	v->buttons ^= bit;
	frame_add(&f, EV_KEY, (uint16_t)button, down);
	frame_send(v, &f, device_of(v->buttons_of), scanout);
}

static int32_t whole(float *rest, float notches)
{
	float n;

	if (!isfinite(notches) || fabsf(notches) > 1000) {
		return 0;
	}
	*rest += notches * V120;
	n = truncf(*rest);
	*rest -= n;
	return (int32_t)n;
}

void view_wheel(struct view *v, unsigned scanout, float x, float y)
{
	enum view_pointer pointer = view_pointer(v);
	struct frame f = {0};
	int32_t across, up;

	if (pointer == VIEW_POINTER_NONE || (pointer == VIEW_POINTER_RELATIVE && !v->captured)) {
		return;
	}
	across = whole(&v->wheel_x, x);
	up = whole(&v->wheel_y, y);
	add_motion(v, &f);
	if (up) {
		frame_add(&f, EV_REL, REL_WHEEL_HI_RES, up);
	}
	if (across) {
		frame_add(&f, EV_REL, REL_HWHEEL_HI_RES, across);
	}
	frame_send(v, &f, device_of(pointer), scanout);
}

/*
 * What the pointer points with.
 */

static bool says_hot_spot(const struct view_scanout *s)
{
	return s->hot_x || s->hot_y;
}

/* Return: which of those that were found is this image's; -1: none. */
static int find_hot_spot(const struct view *v, uint32_t image)
{
	for (int i = 0; i < VIEW_HOT_SPOTS && (unsigned)i < v->hot_spots; i++) {
		if (v->hot_spot[i].image == image) {
			return i;
		}
	}
	return -1;
}

void view_find_hot_spot(const struct view *v, unsigned i, uint32_t *x, uint32_t *y)
{
	const struct view_scanout *s = &v->conn->at[i];
	int found = says_hot_spot(s) ? -1 : find_hot_spot(v, v->at[i].image);

	*x = found >= 0 && v->hot_spot[found].x < s->cursor_width ? v->hot_spot[found].x : s->hot_x;
	*y = found >= 0 && v->hot_spot[found].y < s->cursor_height ? v->hot_spot[found].y : s->hot_y;
}

/* FNV-1a, by pixels */
static uint32_t sum_of(const struct view_scanout *s)
{
	uint32_t sum = 2166136261u;

	for (uint32_t i = 0; i < s->cursor_width * s->cursor_height; i++) {
		sum = (sum ^ s->cursor[i]) * 16777619u;
	}
	return sum;
}

static void note_pointers(struct view *v, uint64_t now)
{
	for (unsigned i = 0; i < v->conn->nscanouts; i++) {
		const struct view_scanout *s = &v->conn->at[i];

		if (s->news & VIEW_NEWS_IMAGE) {
			v->at[i].image = sum_of(s);
		}
		if (s->news & (VIEW_NEWS_IMAGE | VIEW_NEWS_CURSOR) && v->has_sent) {
			v->rests_ns = now + VIEW_REST_NS;
		}
	}
}

/* It rests: where the guest has it says which of its pixels is where it was sent. */
static void learn_hot_spot(struct view *v)
{
	const struct view_scanout *s = &v->conn->at[v->sent_scanout];
	uint32_t width = s->picture ? s->crop.w : s->width, height = s->picture ? s->crop.h : s->height, image = v->at[v->sent_scanout].image;
	int64_t x = (int64_t)v->sent_x * width / (VIEWER_ABS_MAX + 1) - s->cursor_x, y = (int64_t)v->sent_y * height / (VIEWER_ABS_MAX + 1) - s->cursor_y;
	int found = find_hot_spot(v, image);
	struct view_hot_spot *known = found >= 0 ? &v->hot_spot[found] : NULL;

	if (!s->cursor_visible || says_hot_spot(s) || !view_pointer_is_host(v) || x < 0 || y < 0 || x >= s->cursor_width || y >= s->cursor_height) {
		return;
	}
	/* A pixel more or less is how the guest has rounded. */
	if (known ? llabs(x - (int64_t)known->x) <= 1 && llabs(y - (int64_t)known->y) <= 1 : x <= 1 && y <= 1) {
		return;
	}
	known = known ? known : &v->hot_spot[v->hot_spots++ % VIEW_HOT_SPOTS];
	*known = (struct view_hot_spot){image, (uint32_t)x, (uint32_t)y};
}

/*
 * Touch.
 */

bool view_has_touch(const struct view *v)
{
	return v->conn->controls && v->conn->driven & VIEWER_HAS_TOUCH;
}

/* Return: the slot of one that is down, or, not @is_down, a free one; -1: none. */
static int find_finger(const struct view *v, bool is_down, int64_t finger)
{
	for (int i = 0; i < VIEW_FINGERS; i++) {
		if (v->finger[i].is_down == is_down && (!is_down || v->finger[i].finger == finger)) {
			return i;
		}
	}
	return -1;
}

/* Those that have moved on an output. */
static void add_touches(struct view *v, struct frame *f, uint32_t scanout)
{
	for (int i = 0; i < VIEW_FINGERS; i++) {
		struct view_finger *finger = &v->finger[i];

		if (finger->has_moved && finger->scanout == scanout) {
			frame_add(f, EV_ABS, ABS_MT_SLOT, i);
			frame_add(f, EV_ABS, ABS_MT_POSITION_X, (int32_t)finger->x);
			frame_add(f, EV_ABS, ABS_MT_POSITION_Y, (int32_t)finger->y);
			finger->has_moved = false;
		}
	}
}

static void send_touches(struct view *v)
{
	for (int i = 0; i < VIEW_FINGERS; i++) {
		if (v->finger[i].has_moved) {
			struct frame f = {0};

			add_touches(v, &f, v->finger[i].scanout);
			frame_send(v, &f, VIEWER_TOUCH, v->finger[i].scanout);
		}
	}
}

static void finger_is_at(struct view *v, struct view_finger *finger, int32_t x, int32_t y)
{
	struct view_place place = view_place(v, finger->scanout);

	if (place.w > 0 && place.h > 0) {
		finger->x = over((int64_t)x - place.x, place.w);
		finger->y = over((int64_t)y - place.y, place.h);
	}
}

void view_touch(struct view *v, unsigned scanout, int64_t number, enum view_touch what, int32_t x, int32_t y)
{
	int slot = find_finger(v, true, number);
	struct view_finger *finger;
	struct frame f = {0};

	if (what == VIEW_TOUCH_DOWN && slot >= 0) {
		what = VIEW_TOUCH_MOVE;
	} else if (what == VIEW_TOUCH_DOWN && view_has_touch(v)) {
		slot = find_finger(v, false, number);
	}
	if (slot < 0) {
		return;
	}
	finger = &v->finger[slot];
	if (what == VIEW_TOUCH_MOVE) {
		finger_is_at(v, finger, x, y);
		finger->has_moved = true;
		return;
	}
	add_touches(v, &f, what == VIEW_TOUCH_DOWN ? scanout : finger->scanout);
	frame_add(&f, EV_ABS, ABS_MT_SLOT, slot);
	if (what == VIEW_TOUCH_DOWN) {
		*finger = (struct view_finger){.is_down = true, .finger = number, .scanout = scanout};
		finger_is_at(v, finger, x, y);
		frame_add(&f, EV_ABS, ABS_MT_TRACKING_ID, v->touches++);
		frame_add(&f, EV_ABS, ABS_MT_POSITION_X, (int32_t)finger->x);
		frame_add(&f, EV_ABS, ABS_MT_POSITION_Y, (int32_t)finger->y);
	} else {
		finger->is_down = false;
		frame_add(&f, EV_ABS, ABS_MT_TRACKING_ID, -1);
	}
	frame_send(v, &f, VIEWER_TOUCH, finger->scanout);
}

/*
 * Sizes.
 */

uint32_t view_to_window(const struct view *v, uint32_t guest)
{
	return guest ? (uint32_t)(guest * v->zoom + 0.5) : 0;
}

static uint32_t to_guest(const struct view *v, uint32_t window)
{
	uint32_t n = (uint32_t)(window / v->zoom + 0.5);

	return n || !window ? n : 1;
}

void view_resized(struct view *v, unsigned scanout, uint32_t width, uint32_t height, uint64_t now)
{
	struct view_window *w = &v->at[scanout];
	bool is_right = !w->asked_ns && width == view_to_window(v, w->mode_width) && height == view_to_window(v, w->mode_height);

	if (w->width == width && w->height == height) {
		return;
	}
	w->width = width;
	w->height = height;
	w->settles_ns = is_right || !width || !height ? 0 : now + VIEW_SETTLE_NS;
}

void view_on_display(struct view *v, unsigned scanout, uint32_t refresh_mhz, uint32_t dpi)
{
	v->at[scanout].refresh_mhz = refresh_mhz;
	v->at[scanout].dpi = dpi;
}

static uint32_t millimetres(uint32_t pixels, uint32_t dpi)
{
	return dpi ? (uint32_t)((pixels * MICROMETRES_PER_INCH / dpi + 500) / 1000) : 0;
}

static void ask_for_size(struct view *v, unsigned i, uint64_t now)
{
	const struct view_scanout *s = &v->conn->at[i];
	struct view_window *w = &v->at[i];
	uint32_t width = to_guest(v, w->width), height = to_guest(v, w->height);
	struct viewer_output m = {.hdr.type = VIEWER_OUTPUT, .scanout = i, .plugged = 1, .width = width, .height = height, .refresh_mhz = w->refresh_mhz,
		.width_mm = millimetres(w->width, w->dpi), .height_mm = millimetres(w->height, w->dpi)};
	bool is_asked = w->asked_ns && w->asked_width == width && w->asked_height == height;

	if (v->scale != VIEW_FOLLOW || !v->conn->controls || i >= v->conn->nscanouts || !s->plugged || is_asked) {
		return;
	}
	if (!w->asked_ns && s->width == width && s->height == height) {
		return;
	}
	w->asked_ns = now;
	w->asked_width = width;
	w->asked_height = height;
	view_conn_send(v->conn, &m, sizeof(m));
}

bool view_wants_size(struct view *v, unsigned i, uint32_t *width, uint32_t *height, uint64_t now)
{
	const struct view_scanout *s = &v->conn->at[i];
	struct view_window *w = &v->at[i];
	bool is_new = s->width != w->mode_width || s->height != w->mode_height;
	bool is_answer = w->asked_ns && now - w->asked_ns < VIEW_ANSWER_NS;

	if (!is_new) {
		return false;
	}
	w->mode_width = s->width;
	w->mode_height = s->height;
	*width = view_to_window(v, s->width);
	*height = view_to_window(v, s->height);
	if (w->asked_ns && s->width == w->asked_width && s->height == w->asked_height) {
		w->asked_ns = 0;
	}
	/* Somebody is just pulling at it, or the guest follows what was asked for before. */
	if (w->width == 0 || w->settles_ns || is_answer || v->scale == VIEW_SCALE) {
		return false;
	}
	return *width != w->width || *height != w->height;
}

struct view_place view_place(const struct view *v, unsigned i)
{
	const struct view_scanout *s = &v->conn->at[i];
	const struct view_window *w = &v->at[i];
	uint64_t pw = s->picture ? s->crop.w : s->width, ph = s->picture ? s->crop.h : s->height, width = w->width, height = w->height;

	if (pw == 0 || ph == 0 || width == 0 || height == 0) {
		return (struct view_place){0};
	}
	if (v->scale == VIEW_FIXED && view_to_window(v, (uint32_t)pw) <= width && view_to_window(v, (uint32_t)ph) <= height) {
		width = view_to_window(v, (uint32_t)pw);
		height = view_to_window(v, (uint32_t)ph);
	} else if (pw * height > ph * width) {
		height = ph * width / pw;
	} else {
		width = pw * height / ph;
	}
	width += width == 0;
	height += height == 0;
	return (struct view_place){(int32_t)((w->width - width) / 2), (int32_t)((w->height - height) / 2), (int32_t)width, (int32_t)height};
}

/*
 * Time.
 */

static uint64_t period_ns(const struct view_window *w)
{
	return NS_PER_MS_MHZ / (w->refresh_mhz ? w->refresh_mhz : VIEW_REFRESH_MHZ);
}

bool view_may_take(const struct view *v, unsigned i, uint64_t now)
{
	return v->conn->at[i].has_frame && now >= v->at[i].take_ns;
}

void view_taken(struct view *v, unsigned i, uint64_t now)
{
	struct view_window *w = &v->at[i];
	uint64_t period = period_ns(w);

	/* Frames that come one after another are taken at the display's rate, also where the timer is late; one after a pause at once. */
	w->take_ns = (now - w->take_ns < period ? w->take_ns : now) + period;
	view_conn_release(v->conn, i);
}

void view_presented(struct view *v, unsigned i, uint64_t frame, uint64_t now)
{
	struct viewer_presented m = {.hdr.type = VIEWER_PRESENTED, .number = frame, .presented_ns = now, .scanout = i, .refresh_mhz = v->at[i].refresh_mhz};

	view_conn_send(v->conn, &m, sizeof(m));
}

void view_tick(struct view *v, uint64_t now)
{
	/* While the monitor does not read, movements add up instead of queueing. */
	if ((v->has_place || v->move_x || v->move_y) && !view_conn_waits(v->conn)) {
		send_motion(v);
	}
	if (!view_conn_waits(v->conn)) {
		send_touches(v);
	}
	if (v->rests_ns && now >= v->rests_ns) {
		v->rests_ns = 0;
		learn_hot_spot(v);
	}
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		if (v->at[i].settles_ns && now >= v->at[i].settles_ns) {
			v->at[i].settles_ns = 0;
			ask_for_size(v, i, now);
		}
	}
}

uint64_t view_deadline(const struct view *v)
{
	uint64_t deadline = v->rests_ns ? v->rests_ns : UINT64_MAX;

	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		const struct view_window *w = &v->at[i];

		if (w->settles_ns && w->settles_ns < deadline) {
			deadline = w->settles_ns;
		}
		if (v->conn->at[i].has_frame && w->take_ns < deadline) {
			deadline = w->take_ns;
		}
	}
	return deadline;
}

/*
 * What the monitor says.
 */

static void now_controls(struct view *v, uint64_t now)
{
	forget_what_is_down(v);
	if (v->conn->controls) {
		if (v->focused) {
			send_focus(v);
			v->must_lock = true;
		}
		for (unsigned i = 0; i < v->conn->nscanouts; i++) {
			if (v->at[i].width && (v->at[i].width != view_to_window(v, v->conn->at[i].width) || v->at[i].height != view_to_window(v, v->conn->at[i].height))) {
				v->at[i].settles_ns = now + VIEW_SETTLE_NS;
			}
		}
	}
	v->controlled = v->conn->controls;
}

void view_news(struct view *v, uint64_t now)
{
	uint32_t changed = v->lights ^ v->conn->leds;

	if (v->conn->said_hello && v->conn->vm[0]) {
		snprintf(v->name, sizeof(v->name), "%s", v->conn->vm);
	}
	if (v->conn->controls != v->controlled) {
		now_controls(v, now);
	}
	v->captured = v->captured && view_pointer(v) == VIEW_POINTER_RELATIVE;
	v->lights = v->conn->leds;
	v->lock_deaf &= ~changed;
	v->lock_tried &= ~changed;
	lock_sync(v);
	note_pointers(v, now);
}

void view_reconnected(struct view *v)
{
	forget_what_is_down(v);
	v->has_sent = false;
	v->rests_ns = 0;
	v->controlled = v->captured = false;
	v->lock_tried = v->lock_deaf = v->lights = 0;
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		v->at[i].asked_ns = 0;
		v->at[i].take_ns = 0;
	}
}

void view_init(struct view *v, struct view_conn *conn, enum view_scale scale, bool observes, const char *name)
{
	memset(v, 0, sizeof(*v));
	v->conn = conn;
	v->scale = scale;
	v->observes = observes;
	v->zoom = 1;
	v->title = "{name}";
	snprintf(v->name, sizeof(v->name), "%s", name);
}

/*
 * The title.
 */

static void say_controller(const struct view *v, char *out, size_t len)
{
	const struct view_conn *c = v->conn;
	char pid[32] = "";

	if (c->controller == 0) {
		snprintf(out, len, "observing, nobody controls%s", v->observes ? "" : " - Ctrl+Alt+C controls");
		return;
	}
	if (c->controller_pid) {
		snprintf(pid, sizeof(pid), ", process %u", c->controller_pid);
	}
	snprintf(out, len, "observing, viewer %u%s controls%s", c->controller, pid, v->observes ? "" : " - Ctrl+Alt+C takes over");
}

/* The title as it was asked for, with the VM's name in it. */
static void say_title(const struct view *v, char *out, size_t len)
{
	static const char mark[] = "{name}";
	const char *name = v->name[0] ? v->name : "tinyvmm", *rest = v->title, *at;
	size_t used = 0;

	out[0] = '\0';
	while ((at = strstr(rest, mark)) && used < len) {
		used += (size_t)snprintf(out + used, len - used, "%.*s%s", (int)(at - rest), rest, name);
		rest = at + sizeof(mark) - 1;
	}
	if (used < len) {
		snprintf(out + used, len - used, "%s", rest);
	}
}

void view_title(const struct view *v, unsigned scanout, char *out, size_t len)
{
	const struct view_conn *c = v->conn;
	char output[32] = "", what[192], title[256];
	unsigned plugged = 0;

	for (unsigned i = 0; i < c->nscanouts; i++) {
		plugged += c->at[i].plugged;
	}
	if (plugged > 1) {
		snprintf(output, sizeof(output), " (output %u)", scanout);
	}
	if (!c->said_hello) {
		snprintf(what, sizeof(what), "waiting for the VM");
	} else if (c->end == VIEW_END_VM) {
		snprintf(what, sizeof(what), "has ended");
	} else if (!c->controls) {
		say_controller(v, what, sizeof(what));
	} else if (v->grabbed) {
		snprintf(what, sizeof(what), "Ctrl+Alt+G releases the keyboard%s", v->captured ? " and the pointer" : "");
	} else if (view_pointer(v) == VIEW_POINTER_RELATIVE) {
		snprintf(what, sizeof(what), "a click captures the pointer, Ctrl+Alt+G releases it");
	} else {
		snprintf(what, sizeof(what), "Ctrl+Alt+G grabs the keyboard");
	}
	say_title(v, title, sizeof(title));
	snprintf(out, len, "%s%s - %s", title, output, what);
}
