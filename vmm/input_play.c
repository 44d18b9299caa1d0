/* SPDX-License-Identifier: MIT */
#include "vmm/input_play.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "devices/key_name.h"
#include "vmm/clock.h"
#include "vmm/typing.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CHORD_MAX 8
/* After every INPUT_PLAY_EVENTS: time for the guest's reader. */
#define PORTION_NS (10 * CLOCK_NS_PER_MS)
/* How long a button or a finger stays: guests take what is shorter than 25 ms for a switch that bounces. */
#define PRESS_NS (40 * CLOCK_NS_PER_MS)
/* For the guest's light to say what Caps Lock did: half a second. A guest that has something else on that key never says it. */
#define CAPS_LOOKS 50
#define CAPS_LOOK_NS (10 * CLOCK_NS_PER_MS)
/* A drag is motion, not a jump. */
#define DRAG_STEPS 8
#define NOTCH 120

_Static_assert(TYPING_EVENTS_MAX <= INPUT_PLAY_EVENTS_MAX && CHORD_MAX * 4 <= INPUT_PLAY_EVENTS_MAX, "what belongs together fits a portion");

static int __attribute__((format(printf, 3, 4))) refuse(struct input_play *p, const struct input_command *c, const char *fmt, ...)
{
	int n = snprintf(p->err, sizeof(p->err), "%s: ", input_script_verb(c->verb));
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->err + n, sizeof(p->err) - (size_t)n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/*
 * Devices.
 */

static const struct input_play_device *first_of(const struct input_play *p, const char *type)
{
	for (unsigned i = 0; i < p->ndevices; i++) {
		if (strcmp(p->device[i].type, type) == 0) {
			return &p->device[i];
		}
	}
	return NULL;
}

/* The device for @c: the wanted one when it is of a kind that can do it, else the first of the kinds, in their order. Return: NULL with p->err. */
static const struct input_play_device *pick(struct input_play *p, const struct input_command *c, const char *kind, const char *or_kind)
{
	const struct input_play_device *found = NULL;

	for (unsigned i = 0; p->wanted && i < p->ndevices; i++) {
		const struct input_play_device *d = &p->device[i];

		if (strcmp(d->name, p->wanted) == 0 && (strcmp(d->type, kind) == 0 || (or_kind && strcmp(d->type, or_kind) == 0))) {
			p->wanted_used = true;
			found = d;
		}
	}
	if (!found) {
		found = first_of(p, kind);
	}
	if (!found && or_kind) {
		found = first_of(p, or_kind);
	}
	if (!found) {
		refuse(p, c, "the VM has no %s%s%s: its vm.toml needs [[input]] with type = \"%s\"", kind, or_kind ? " and no " : "", or_kind ? or_kind : "", kind);
	}
	return found;
}

/*
 * Portions.
 */

static int pass(struct input_play *p, uint64_t ns)
{
	p->nsent = 0;
	return p->is_dry ? 0 : p->ops->sleep(p->ctx, ns);
}

static int flush(struct input_play *p)
{
	unsigned n = p->nev;
	int r = p->nsent > 0 && p->nsent + n > INPUT_PLAY_EVENTS ? pass(p, PORTION_NS) : 0;

	p->nev = 0;
	p->nsent += n;
	return r < 0 || n == 0 || p->is_dry ? r : p->ops->send(p->ctx, p->to, p->ev, n);
}

static int rest(struct input_play *p, uint64_t ns)
{
	int r = flush(p);

	return r < 0 ? r : pass(p, ns);
}

/* Whole frames that go together. */
static int put(struct input_play *p, const struct input_ev *ev, unsigned n)
{
	int r = p->nev > 0 && p->nev + n > INPUT_PLAY_EVENTS ? flush(p) : 0;

	assert(n <= INPUT_PLAY_EVENTS_MAX);
	memcpy(p->ev + p->nev, ev, n * sizeof(*ev));
	p->nev += n;
	return r;
}

static unsigned add(struct input_ev *ev, unsigned n, unsigned type, unsigned code, int32_t value)
{
	ev[n] = (struct input_ev){.type = (uint16_t)type, .code = (uint16_t)code, .value = value};
	return n + 1;
}

static unsigned add_end(struct input_ev *ev, unsigned n)
{
	return add(ev, n, EV_SYN, SYN_REPORT, 0);
}

static int put_key(struct input_play *p, unsigned code, bool down)
{
	struct input_ev ev[2];

	return put(p, ev, add_end(ev, add(ev, 0, EV_KEY, code, down)));
}

/*
 * Keys.
 */

/* The layout, once. */
static int open_typing(struct input_play *p, const struct input_command *c, const struct input_play_device *keyboard)
{
	char why[256];
	int r = p->typing ? 0 : typing_open(&p->typing, p->layout ? p->layout : keyboard->layout, why, sizeof(why));

	if (r < 0) {
		refuse(p, c, "%s", why);
	}
	return r;
}

static int tap(struct input_play *p, unsigned code)
{
	struct input_ev ev[4];

	return put(p, ev, add_end(ev, add(ev, add_end(ev, add(ev, 0, EV_KEY, code, 1)), EV_KEY, code, 0)));
}

/* Sends what there is, which switches Caps Lock to @want, and waits for its light: what is asked next is to be true. */
static int settle_caps(struct input_play *p, bool want)
{
	int r = flush(p);

	for (unsigned i = 0; r == 0 && i < CAPS_LOOKS && !p->is_dry; i++) {
		bool on;

		r = p->ops->has_caps(p->ctx, p->to, &on);
		if (r < 0 || on == want) {
			return r;
		}
		r = pass(p, CAPS_LOOK_NS);
	}
	return r;
}

static int type_text(struct input_play *p, const struct input_command *c)
{
	const char *at = c->text, *end = at + strlen(at);
	struct input_ev ev[TYPING_EVENTS_MAX];
	uint8_t held = 0;
	int r = 0;

	while (r == 0 && at < end) {
		char why[256];
		const struct typing_way *way = typing_find(p->typing, typing_next_char(&at, end), why, sizeof(why));

		r = way ? put(p, ev, typing_press(p->typing, way, &held, ev)) : refuse(p, c, "%s", why);
	}
	return r < 0 ? r : put(p, ev, typing_release(p->typing, &held, ev));
}

/* With Caps Lock switched off meanwhile: what it does to which keys, every system decides for itself. */
static int do_type(struct input_play *p, const struct input_command *c)
{
	const struct input_play_device *keyboard = pick(p, c, "keyboard", NULL);
	bool caps = false;
	int r = keyboard ? open_typing(p, c, keyboard) : -EINVAL;

	if (r < 0) {
		return r;
	}
	p->to = keyboard->name;
	r = p->is_dry ? 0 : p->ops->has_caps(p->ctx, p->to, &caps);
	if (r == 0 && caps) {
		r = tap(p, KEY_CAPSLOCK);
		r = r < 0 ? r : settle_caps(p, false);
	}
	r = r < 0 ? r : type_text(p, c);
	if (r == 0 && caps) {
		r = tap(p, KEY_CAPSLOCK);
		r = r < 0 ? r : settle_caps(p, true);
	}
	return r;
}

/* The key that has @ch on it, without a modifier. Return: its code, or an error with p->err. */
static int key_of_char(struct input_play *p, const struct input_command *c, const struct input_play_device *keyboard, const char *name, size_t len, uint32_t ch)
{
	char why[256];
	int r = open_typing(p, c, keyboard);
	const struct typing_way *way = r < 0 ? NULL : typing_find(p->typing, ch, why, sizeof(why));

	if (r < 0) {
		return r;
	}
	if (!way) {
		return refuse(p, c, "%s; a name such as KEY_C is a key, whatever is on it", why);
	}
	if (way->n > 1) {
		return refuse(p, c, "\"%.*s\" takes more than one key; type can do that", (int)len, name);
	}
	if (way->stroke[0].mods) {
		return refuse(p, c, "\"%.*s\" is not on a key by itself: name %s and the key, as in shift+a", (int)len, name,
			way->stroke[0].mods == 1 ? "shift" : "altgr or shift");
	}
	return way->stroke[0].code;
}

/* One key of a chord. Return: its code, or an error with p->err. */
static int parse_key(struct input_play *p, const struct input_command *c, const struct input_play_device *keyboard, const char *name, size_t len)
{
	const char *at = name;
	uint32_t ch = len > 0 ? typing_next_char(&at, name + len) : UINT32_MAX;
	int code;

	if (ch != UINT32_MAX && at == name + len) {
		return key_of_char(p, c, keyboard, name, len, ch);
	}
	code = key_name_code(name, len);
	if (code < 0) {
		return refuse(p, c, "\"%.*s\" is no key: want what is on it, or a name such as enter, f5, ctrl, volumeup, KEY_Q", (int)len, name);
	}
	return code;
}

/* Keys with + between them; a + where a key should be is one. Return: their number, or an error with p->err. */
static int parse_chord(struct input_play *p, const struct input_command *c, const struct input_play_device *keyboard, const char *word, size_t len, uint16_t codes[])
{
	const char *at = word, *end = word + len;
	int n = 0;

	for (;;) {
		size_t n_bytes = *at == '+' && at < end ? 1 : strcspn(at, "+ \t");
		int code = parse_key(p, c, keyboard, at, n_bytes);

		if (code < 0) {
			return code;
		}
		if (n == CHORD_MAX) {
			return refuse(p, c, "\"%.*s\" is more than %d keys", (int)len, word, CHORD_MAX);
		}
		for (int i = 0; i < n; i++) {
			if (codes[i] == code) {
				return refuse(p, c, "\"%.*s\" has a key twice", (int)len, word);
			}
		}
		codes[n++] = (uint16_t)code;
		at += n_bytes;
		if (at == end) {
			return n;
		}
		if (*at++ != '+') {
			return refuse(p, c, "\"%.*s\": keys have a + between them", (int)len, word);
		}
	}
}

static int do_chord(struct input_play *p, const struct input_command *c, const struct input_play_device *keyboard, const char *word, size_t len)
{
	uint16_t codes[CHORD_MAX] = {0};
	struct input_ev ev[CHORD_MAX * 4];
	int keys = parse_chord(p, c, keyboard, word, len, codes), r = keys < 0 ? keys : 0;
	bool is_caps = false, caps = false;
	unsigned n = 0;

	for (int i = 0; i < keys; i++) {
		n = add_end(ev, add(ev, n, EV_KEY, codes[i], 1));
		is_caps |= codes[i] == KEY_CAPSLOCK;
	}
	for (int i = keys - 1; i >= 0; i--) {
		n = add_end(ev, add(ev, n, EV_KEY, codes[i], 0));
	}
	if (r == 0 && is_caps && !p->is_dry) {
		r = p->ops->has_caps(p->ctx, p->to, &caps);
	}
	r = r < 0 ? r : put(p, ev, n);
	return r < 0 || !is_caps ? r : settle_caps(p, !caps);
}

static int do_key(struct input_play *p, const struct input_command *c)
{
	const struct input_play_device *keyboard = pick(p, c, "keyboard", NULL);
	const char *at = c->text;
	int r = keyboard ? 0 : -EINVAL;

	p->to = keyboard ? keyboard->name : NULL;
	while (r == 0 && *at) {
		size_t len = strcspn(at, " \t");

		r = do_chord(p, c, keyboard, at, len);
		at += len;
		at += strspn(at, " \t");
	}
	return r;
}

/*
 * Pointers.
 */

/* What a number is on an axis of a tablet or touch screen. @pixels: how many there are in that direction. */
static int to_axis(struct input_play *p, const struct input_command *c, const struct input_number *number, uint32_t pixels, int32_t *axis)
{
	if (number->has_dot) {
		if (number->value < 0 || number->value > 1) {
			return refuse(p, c, "a place is from 0.0 to 1.0");
		}
		*axis = (int32_t)(number->value * INPUT_TABLET_MAX + 0.5);
		return 0;
	}
	if (number->value < 0 || number->value >= pixels) {
		return refuse(p, c, "pixel %.0f is not on the display, whose pixels are 0 to %u; for a part of the whole, 0.0 to 1.0, write a dot", number->value, pixels - 1);
	}
	/* Its middle: guests round in one way or the other. */
	*axis = (int32_t)((number->value + 0.5) * (INPUT_TABLET_MAX + 1) / pixels);
	return 0;
}

static int to_place(struct input_play *p, const struct input_command *c, const struct input_number *number, int32_t place[2])
{
	uint32_t box[2] = {0};
	int r = number[0].has_dot && number[1].has_dot ? 0 : p->ops->box(p->ctx, box);

	for (unsigned i = 0; r == 0 && i < 2; i++) {
		r = !number[i].has_dot && !box[i] ? refuse(p, c, "there is no display whose pixels could be counted: give 0.0 to 1.0, with a dot")
						  : to_axis(p, c, &number[i], box[i], &place[i]);
	}
	return r;
}

static int put_place(struct input_play *p, const int32_t place[2])
{
	struct input_ev ev[3];

	return put(p, ev, add_end(ev, add(ev, add(ev, 0, EV_ABS, ABS_X, place[0]), EV_ABS, ABS_Y, place[1])));
}

static int put_motion(struct input_play *p, const struct input_command *c)
{
	struct input_ev ev[3];
	unsigned n = 0;

	for (unsigned i = 0; i < 2; i++) {
		int32_t value = (int32_t)c->number[i].value;

		if (c->number[i].has_dot) {
			return refuse(p, c, "a mouse moves by whole numbers; for places the VM needs [[input]] with type = \"tablet\"");
		}
		n = value ? add(ev, n, EV_REL, i ? REL_Y : REL_X, value) : n;
	}
	return n ? put(p, ev, add_end(ev, n)) : 0;
}

static int do_move(struct input_play *p, const struct input_command *c)
{
	const struct input_play_device *d = pick(p, c, "tablet", "mouse");
	int32_t place[2] = {0};
	int r = d ? 0 : -EINVAL;

	if (r < 0) {
		return r;
	}
	p->to = d->name;
	if (strcmp(d->type, "mouse") == 0) {
		return put_motion(p, c);
	}
	r = to_place(p, c, c->number, place);
	return r < 0 ? r : put_place(p, place);
}

static int do_click(struct input_play *p, const struct input_command *c)
{
	/* A mouse has no places. */
	const struct input_play_device *d = pick(p, c, "tablet", c->nnumbers ? NULL : "mouse");
	int32_t place[2] = {0};
	int r = d ? 0 : -EINVAL;

	p->to = d ? d->name : NULL;
	if (r == 0 && c->nnumbers) {
		r = to_place(p, c, c->number, place);
		r = r < 0 ? r : put_place(p, place);
	}
	r = r < 0 ? r : put_key(p, c->button, true);
	r = r < 0 ? r : rest(p, PRESS_NS);
	r = r < 0 ? r : put_key(p, c->button, false);
	return r < 0 ? r : rest(p, PRESS_NS);
}

static int do_drag(struct input_play *p, const struct input_command *c)
{
	const struct input_play_device *d = pick(p, c, "tablet", NULL);
	int32_t from[2] = {0}, to[2] = {0};
	int r = d ? 0 : -EINVAL;

	p->to = d ? d->name : NULL;
	r = r < 0 ? r : to_place(p, c, &c->number[0], from);
	r = r < 0 ? r : to_place(p, c, &c->number[2], to);
	r = r < 0 ? r : put_place(p, from);
	r = r < 0 ? r : put_key(p, c->button, true);
	r = r < 0 ? r : rest(p, PRESS_NS);
	for (int i = 1; r == 0 && i <= DRAG_STEPS; i++) {
		const int32_t on_the_way[2] = {from[0] + (to[0] - from[0]) * i / DRAG_STEPS, from[1] + (to[1] - from[1]) * i / DRAG_STEPS};

		r = put_place(p, on_the_way);
		r = r < 0 ? r : rest(p, PORTION_NS);
	}
	r = r < 0 ? r : put_key(p, c->button, false);
	return r < 0 ? r : rest(p, PRESS_NS);
}

/* One frame's part of a wheel's way, at most a notch. Kernels count the wheel up and the other to the right. */
static unsigned add_notch(struct input_ev *ev, unsigned n, bool across, int32_t *left)
{
	int32_t step = *left > NOTCH ? NOTCH : *left < -NOTCH ? -NOTCH : *left;

	*left -= step;
	if (step == NOTCH || step == -NOTCH) {
		n = add(ev, n, EV_REL, across ? REL_HWHEEL : REL_WHEEL, step / NOTCH);
	}
	return step ? add(ev, n, EV_REL, across ? REL_HWHEEL_HI_RES : REL_WHEEL_HI_RES, step) : n;
}

static int32_t to_steps(double notches)
{
	return (int32_t)(notches * NOTCH + (notches < 0 ? -0.5 : 0.5));
}

static int do_scroll(struct input_play *p, const struct input_command *c)
{
	const struct input_play_device *d = pick(p, c, "tablet", "mouse");
	int32_t across = to_steps(c->number[0].value), down = -to_steps(c->number[1].value);
	int r = d ? 0 : -EINVAL;

	p->to = d ? d->name : NULL;
	while (r == 0 && (across || down)) {
		struct input_ev ev[5];
		unsigned n = add_notch(ev, 0, true, &across);

		r = put(p, ev, add_end(ev, add_notch(ev, n, false, &down)));
	}
	return r;
}

/* With ABS_X, ABS_Y and BTN_TOUCH, as a screen has it for those that know one finger only. */
static int do_touch(struct input_play *p, const struct input_command *c)
{
	const struct input_play_device *d = pick(p, c, "multitouch", NULL);
	struct input_ev ev[8];
	int32_t place[2] = {0};
	unsigned n;
	int r = d ? to_place(p, c, c->number, place) : -EINVAL;

	if (r < 0) {
		return r;
	}
	p->to = d->name;
	n = add(ev, 0, EV_ABS, ABS_MT_SLOT, 0);
	n = add(ev, n, EV_ABS, ABS_MT_TRACKING_ID, 1);
	n = add(ev, n, EV_ABS, ABS_MT_POSITION_X, place[0]);
	n = add(ev, n, EV_ABS, ABS_MT_POSITION_Y, place[1]);
	n = add(ev, n, EV_KEY, BTN_TOUCH, 1);
	n = add(ev, n, EV_ABS, ABS_X, place[0]);
	n = add(ev, n, EV_ABS, ABS_Y, place[1]);
	r = put(p, ev, add_end(ev, n));
	r = r < 0 ? r : rest(p, PRESS_NS);
	n = add(ev, 0, EV_ABS, ABS_MT_SLOT, 0);
	n = add(ev, n, EV_ABS, ABS_MT_TRACKING_ID, -1);
	n = add(ev, n, EV_KEY, BTN_TOUCH, 0);
	r = r < 0 ? r : put(p, ev, add_end(ev, n));
	return r < 0 ? r : rest(p, PRESS_NS);
}

static int do_shot(struct input_play *p, const struct input_command *c)
{
	uint32_t box[2] = {0};

	if (!p->is_dry) {
		return p->ops->shot(p->ctx, c->text);
	}
	if (p->ops->box(p->ctx, box) == 0 && box[0] == 0) {
		return refuse(p, c, "the VM has no display: its vm.toml needs [gpu] with mode = \"2d\"");
	}
	return 0;
}

/*
 * Both ways.
 */

static int perform(struct input_play *p, const struct input_command *c)
{
	switch (c->verb) {
	case INPUT_TYPE:
		return do_type(p, c);
	case INPUT_KEY:
		return do_key(p, c);
	case INPUT_MOVE:
		return do_move(p, c);
	case INPUT_CLICK:
		return do_click(p, c);
	case INPUT_DRAG:
		return do_drag(p, c);
	case INPUT_SCROLL:
		return do_scroll(p, c);
	case INPUT_TOUCH:
		return do_touch(p, c);
	case INPUT_SLEEP:
		return pass(p, c->time_ns);
	case INPUT_WAIT:
		return p->is_dry ? 0 : p->ops->wait(p->ctx, c->text, c->time_ns);
	case INPUT_SHOT:
		return do_shot(p, c);
	}
	return -EINVAL;
}

int input_play_check(struct input_play *p, const struct input_command *c)
{
	unsigned nsent = p->nsent;
	int r;

	p->is_dry = true;
	r = perform(p, c);
	p->nev = 0;
	p->nsent = nsent;
	return r;
}

int input_play_run(struct input_play *p, const struct input_command *c)
{
	int r;

	p->is_dry = false;
	r = perform(p, c);
	return r < 0 ? r : flush(p);
}

void input_play_finish(struct input_play *p)
{
	typing_close(p->typing);
	p->typing = NULL;
}
