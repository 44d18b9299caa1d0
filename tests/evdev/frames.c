/* SPDX-License-Identifier: MIT */
#include "tests/evdev/frames.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TRACKING_ID (ABS_MT_TRACKING_ID - ABS_MT_SLOT - 1)
#define NO_TOUCH (-1)
#define ACTIONS_MAX 4 /* of a mixed frame */
#define NUMBERED_MAX 32767 /* but by EV_MSC, whose values are larger */
#define SHORT_FRAME 4 /* no further action then: the kernel splits a frame of a device without slots that has more than seven events */

/* splitmix64 */
static uint64_t next_random(struct frames *f)
{
	uint64_t z = f->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned below(struct frames *f, unsigned n)
{
	return (unsigned)(next_random(f) % n);
}

static bool is_mt(const struct frames *f, unsigned code)
{
	return caps_slots(f->caps) && code >= ABS_MT_SLOT && code <= ABS_MT_TOOL_Y;
}

static bool is_viewed(const struct frames *f, unsigned type, unsigned code)
{
	bool is_button = type == EV_KEY && code >= BTN_MOUSE && code < BTN_JOYSTICK, is_place = type == EV_ABS && (code == ABS_X || code == ABS_Y);

	return is_mt(f, code) || (!caps_slots(f->caps) && (is_button || is_place || (type == EV_REL && (code == REL_X || code == REL_Y))));
}

static bool is_left_out(const struct frames *f, unsigned type, unsigned code)
{
	if (f->mode == FRAMES_VIEWED && !is_viewed(f, type, code)) {
		return true;
	}
	/* The guest answers those with lights, which are frames of the host's device, too, without a number. */
	if (f->number_by != FRAMES_BY_NOTHING && type == EV_KEY && (code == KEY_CAPSLOCK || code == KEY_NUMLOCK || code == KEY_SCROLLLOCK)) {
		return true;
	}
	switch (type) {
	case EV_KEY:
		return code == KEY_LEFTCTRL || code == KEY_RIGHTCTRL || code == KEY_LEFTALT || code == KEY_RIGHTALT || code == KEY_SYSRQ;
	case EV_ABS:
		/* An axis without room to move by more than its fuzz. */
		return is_mt(f, code) || (int64_t)f->caps->abs[code].maximum - f->caps->abs[code].minimum <= 4 * (int64_t)f->caps->abs[code].fuzz;
	default:
		return false;
	}
}

static bool is_pair(const struct frames *f, unsigned type, unsigned a, unsigned b)
{
	const struct input_absinfo *x = &f->caps->abs[a], *y = &f->caps->abs[b];
	int64_t min = x->minimum > y->minimum ? x->minimum : y->minimum, max = x->maximum < y->maximum ? x->maximum : y->maximum;

	return type != EV_ABS || (x->fuzz == y->fuzz && max - min >= 8 + 8 * (int64_t)x->fuzz);
}

/* Neighbours in the list make pairs; what finds no partner is left out. */
static void keep_pairs(struct frames *f, unsigned type)
{
	uint16_t *codes = f->codes[type];
	unsigned n = f->ncodes[type], kept = 0;

	for (unsigned i = 0; i + 1 < n;) {
		if (is_pair(f, type, codes[i], codes[i + 1])) {
			uint16_t a = codes[i], b = codes[i + 1];

			codes[kept++] = a;
			codes[kept++] = b;
			i += 2;
		} else {
			i++;
		}
	}
	f->ncodes[type] = kept;
}

static bool has_touches(const struct frames *f)
{
	bool is_placed = caps_has(f->caps, EV_ABS, ABS_MT_POSITION_X) && caps_has(f->caps, EV_ABS, ABS_MT_POSITION_Y);

	return caps_slots(f->caps) && is_placed && caps_has(f->caps, EV_ABS, ABS_MT_TRACKING_ID);
}

/* How frames of this device can have a number. */
static enum frames_number_by find_number(struct frames *f)
{
	const struct input_absinfo *x = &f->caps->abs[ABS_X], *y = &f->caps->abs[ABS_Y];

	for (unsigned i = 0; i < MSC_CNT; i++) {
		/* Where there are several, a scan code: keyboards and mice have one. */
		f->number_msc = (i + MSC_SCAN) % MSC_CNT;
		if (caps_has(f->caps, EV_MSC, f->number_msc)) {
			return FRAMES_BY_MSC;
		}
	}
	if (has_touches(f)) {
		return FRAMES_BY_TOUCH;
	}
	if (caps_has(f->caps, EV_ABS, ABS_X) && caps_has(f->caps, EV_ABS, ABS_Y) && !x->fuzz && !y->fuzz && x->maximum >= NUMBERED_MAX && y->maximum >= NUMBERED_MAX) {
		return FRAMES_BY_PLACE;
	}
	return FRAMES_BY_NOTHING;
}

/* Whether frames may be about such events: what is a number must be nothing else. */
static bool is_free(const struct frames *f, unsigned type)
{
	switch (f->number_by) {
	case FRAMES_BY_TOUCH:
		return false;
	case FRAMES_BY_PLACE:
		return type != EV_ABS;
	default:
		return type != EV_MSC || f->mode != FRAMES_PAIRED;
	}
}

void frames_init(struct frames *f, const struct caps *caps, enum frames_mode mode, uint64_t seed, int fd)
{
	static const uint8_t kinds[] = {EV_KEY, EV_REL, EV_ABS, EV_SW, EV_MSC};

	memset(f, 0, sizeof(*f));
	f->caps = caps;
	f->random = seed;
	if (mode == FRAMES_NUMBERED) {
		f->number = (unsigned)seed;
		f->number_by = find_number(f);
		mode = FRAMES_PAIRED;
	}
	f->mode = mode;
	if (fd < 0) {
		for (unsigned slot = 0; slot < CAPS_SLOTS_MAX; slot++) {
			f->state.mt[slot][TRACKING_ID] = NO_TOUCH;
		}
	} else {
		caps_read_state(caps, &f->state, fd);
	}
	f->slot = (unsigned)f->state.abs[ABS_MT_SLOT];
	for (unsigned i = 0; i < sizeof(kinds); i++) {
		unsigned type = kinds[i];

		for (unsigned code = 0; code < caps_codes(type); code++) {
			if (caps_has(caps, type, code) && !is_left_out(f, type, code)) {
				f->codes[type][f->ncodes[type]++] = (uint16_t)code;
			}
		}
		if (mode == FRAMES_PAIRED) {
			keep_pairs(f, type);
		}
		if (f->number_by == FRAMES_BY_MSC && type == EV_MSC) {
			f->ncodes[type] = 0;
		}
		if (f->ncodes[type] && is_free(f, type)) {
			f->kinds[f->nkinds++] = type;
		}
	}
	/* Touches more often than the rest: they are most of what such a device sends. EV_SYN stands for them. */
	for (unsigned i = 0; has_touches(f) && i < 3; i++) {
		f->kinds[f->nkinds++] = EV_SYN;
	}
	for (unsigned code = 0; code < KEY_CNT; code++) {
		f->held += caps_bit(f->state.key, code);
	}
	if (mode == FRAMES_VIEWED) {
		f->mode = FRAMES_MIXED;
	}
}

bool frames_parse_mode(enum frames_mode *mode, const char *word)
{
	static const char *const names[] = {
		[FRAMES_MIXED] = "mixed", [FRAMES_PAIRED] = "paired", [FRAMES_NUMBERED] = "numbered", [FRAMES_CROWD] = "crowd", [FRAMES_VIEWED] = "viewed"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(word, names[i]) == 0) {
			*mode = (enum frames_mode)i;
			return true;
		}
	}
	return false;
}

static void add(struct frames *f, unsigned type, unsigned code, int32_t value)
{
	assert(f->n < FRAMES_EVENTS_MAX);
	f->ev[f->n++] = (struct frames_event){.type = (uint16_t)type, .code = (uint16_t)code, .value = value};
}

/* One code, or both of a pair. */
static unsigned pick(struct frames *f, unsigned type, unsigned *n)
{
	unsigned i = below(f, f->ncodes[type]);

	*n = f->mode == FRAMES_PAIRED ? 2 : 1;
	return f->mode == FRAMES_PAIRED ? i & ~1u : i;
}

static unsigned index_of(const struct frames *f, unsigned code)
{
	unsigned i = 0;

	while (i < f->ncodes[EV_KEY] && f->codes[EV_KEY][i] != code) {
		i++;
	}
	return i;
}

/* A key that is down. Return: where it is in the list, or the list's end: none that we may let go. */
static unsigned pick_held(struct frames *f)
{
	unsigned skip = below(f, KEY_CNT);

	for (unsigned i = 0; i < KEY_CNT; i++) {
		unsigned code = (skip + i) % KEY_CNT;

		if (caps_bit(f->state.key, code) && !f->touched[code]) {
			unsigned at = index_of(f, code);

			return f->mode == FRAMES_PAIRED && at < f->ncodes[EV_KEY] ? at & ~1u : at;
		}
	}
	return f->ncodes[EV_KEY];
}

static void make_keys(struct frames *f)
{
	unsigned n, at = pick(f, EV_KEY, &n);

	if (f->held >= FRAMES_HELD_MAX) {
		at = pick_held(f);
	}
	for (unsigned i = 0; i < n && at + i < f->ncodes[EV_KEY]; i++) {
		unsigned code = f->codes[EV_KEY][at + i];
		bool on = !caps_bit(f->state.key, code);

		if (f->touched[code]) {
			return;
		}
		if (f->mode == FRAMES_MIXED && caps_has(f->caps, EV_MSC, MSC_SCAN) && below(f, 2)) {
			add(f, EV_MSC, MSC_SCAN, (int32_t)below(f, 0x7fffffff));
		}
		f->touched[code] = true;
		caps_set_bit(f->state.key, code, on);
		f->held += on ? 1 : -1u;
		add(f, EV_KEY, code, on);
	}
}

static bool is_in_frame(const struct frames *f, unsigned type, unsigned code)
{
	for (unsigned i = 0; i < f->n; i++) {
		if (f->ev[i].type == type && f->ev[i].code == code) {
			return true;
		}
	}
	return false;
}

static void make_rel(struct frames *f)
{
	unsigned n, at = pick(f, EV_REL, &n);
	int32_t value = (int32_t)below(f, 50) + 1;

	value = below(f, 2) ? value : -value;
	for (unsigned i = 0; i < n; i++) {
		if (!is_in_frame(f, EV_REL, f->codes[EV_REL][at + i])) {
			add(f, EV_REL, f->codes[EV_REL][at + i], value);
		}
	}
}

static bool is_far(int32_t a, int32_t b, int32_t fuzz)
{
	int64_t distance = (int64_t)a - b;

	return distance != 0 && llabs(distance) > 2 * (int64_t)fuzz;
}

/* Within the ranges of @na and the axis after it, far from where both are. Return: false when there is no such place. */
static bool new_value(struct frames *f, const uint16_t *codes, unsigned n, const int32_t *now, int32_t *value)
{
	int64_t min = INT32_MIN, max = INT32_MAX;

	for (unsigned i = 0; i < n; i++) {
		const struct input_absinfo *info = &f->caps->abs[codes[i]];

		min = info->minimum > min ? info->minimum : min;
		max = info->maximum < max ? info->maximum : max;
	}
	if (max <= min) {
		return false;
	}
	for (unsigned tries = 0; tries < 64; tries++) {
		bool is_good = true;

		*value = (int32_t)(min + (int64_t)(next_random(f) % (uint64_t)(max - min + 1)));
		for (unsigned i = 0; i < n; i++) {
			is_good = is_good && is_far(*value, now[i], f->caps->abs[codes[i]].fuzz);
		}
		if (is_good) {
			return true;
		}
	}
	return false;
}

static void make_abs(struct frames *f)
{
	unsigned n, at = pick(f, EV_ABS, &n);
	const uint16_t *codes = &f->codes[EV_ABS][at];
	int32_t now[2], value;

	for (unsigned i = 0; i < n; i++) {
		if (is_in_frame(f, EV_ABS, codes[i])) {
			return;
		}
		now[i] = f->state.abs[codes[i]];
	}
	if (!new_value(f, codes, n, now, &value)) {
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		f->state.abs[codes[i]] = value;
		add(f, EV_ABS, codes[i], value);
	}
}

static void make_sw(struct frames *f)
{
	unsigned n, at = pick(f, EV_SW, &n);

	for (unsigned i = 0; i < n; i++) {
		unsigned code = f->codes[EV_SW][at + i];
		bool on = !caps_bit(f->state.sw, code);

		if (!is_in_frame(f, EV_SW, code)) {
			caps_set_bit(f->state.sw, code, on);
			add(f, EV_SW, code, on);
		}
	}
}

static void make_msc(struct frames *f)
{
	unsigned n, at = pick(f, EV_MSC, &n);

	add(f, EV_MSC, f->codes[EV_MSC][at], (int32_t)below(f, 0x7fffffff));
}

static void select_slot(struct frames *f, unsigned slot)
{
	if (f->slot != slot) {
		f->slot = slot;
		add(f, EV_ABS, ABS_MT_SLOT, (int32_t)slot);
	}
}

static void set_touch(struct frames *f, unsigned slot, unsigned axis, int32_t value)
{
	select_slot(f, slot);
	f->state.mt[slot][axis] = value;
	add(f, EV_ABS, ABS_MT_SLOT + 1 + axis, value);
}

static void move_touch(struct frames *f, unsigned slot, unsigned chance)
{
	for (unsigned axis = 0; axis < CAPS_MT_AXES; axis++) {
		const uint16_t code = (uint16_t)(ABS_MT_SLOT + 1 + axis);
		int32_t value;

		if (axis != TRACKING_ID && caps_has(f->caps, EV_ABS, code) && below(f, 100) < chance &&
			new_value(f, &code, 1, &f->state.mt[slot][axis], &value)) {
			set_touch(f, slot, axis, value);
		}
	}
}

static void move_paired(struct frames *f, unsigned slot)
{
	static const uint16_t codes[2] = {ABS_MT_POSITION_X, ABS_MT_POSITION_Y};
	const int32_t now[2] = {f->state.mt[slot][ABS_MT_POSITION_X - ABS_MT_SLOT - 1], f->state.mt[slot][ABS_MT_POSITION_Y - ABS_MT_SLOT - 1]};
	int32_t value;

	if (new_value(f, codes, 2, now, &value)) {
		set_touch(f, slot, ABS_MT_POSITION_X - ABS_MT_SLOT - 1, value);
		set_touch(f, slot, ABS_MT_POSITION_Y - ABS_MT_SLOT - 1, value);
	}
}

static void begin_touch(struct frames *f, unsigned slot)
{
	set_touch(f, slot, TRACKING_ID, f->next_id);
	f->next_id = (f->next_id + 1) % 65536;
}

static void make_touch(struct frames *f)
{
	unsigned slot = below(f, caps_slots(f->caps));

	for (unsigned i = 0; i < f->n; i++) {
		if (f->ev[i].type == EV_ABS && f->ev[i].code > ABS_MT_SLOT && is_mt(f, f->ev[i].code)) {
			return;
		}
	}
	if (f->number_by == FRAMES_BY_TOUCH) {
		slot = (f->number + 1) % caps_slots(f->caps);
		set_touch(f, slot, TRACKING_ID, (int32_t)f->number + 1);
	} else if (f->state.mt[slot][TRACKING_ID] == NO_TOUCH) {
		begin_touch(f, slot);
	} else if (below(f, 6) == 0) {
		set_touch(f, slot, TRACKING_ID, NO_TOUCH);
		return;
	}
	if (f->mode == FRAMES_PAIRED) {
		move_paired(f, slot);
	} else {
		move_touch(f, slot, 60);
	}
}

static void make_crowd(struct frames *f)
{
	bool ends = f->state.mt[0][TRACKING_ID] != NO_TOUCH && below(f, 4) == 0;

	for (unsigned slot = 0; slot < caps_slots(f->caps) && f->n + CAPS_MT_AXES + 2 < FRAMES_EVENTS_MAX; slot++) {
		if (ends) {
			if (f->state.mt[slot][TRACKING_ID] != NO_TOUCH) {
				set_touch(f, slot, TRACKING_ID, NO_TOUCH);
			}
			continue;
		}
		if (f->state.mt[slot][TRACKING_ID] == NO_TOUCH) {
			begin_touch(f, slot);
		}
		move_touch(f, slot, 100);
	}
}

static void make_action(struct frames *f)
{
	switch (f->kinds[below(f, f->nkinds)]) {
	case EV_KEY:
		make_keys(f);
		break;
	case EV_REL:
		make_rel(f);
		break;
	case EV_ABS:
		make_abs(f);
		break;
	case EV_SW:
		make_sw(f);
		break;
	case EV_MSC:
		make_msc(f);
		break;
	default:
		make_touch(f);
		break;
	}
}

static unsigned end_frame(struct frames *f)
{
	if (f->n) {
		add(f, EV_SYN, SYN_REPORT, 0);
	}
	return f->n;
}

static void add_number(struct frames *f)
{
	int32_t number = (int32_t)(f->number + 1);

	if (f->number_by == FRAMES_BY_NOTHING) {
		return;
	}
	assert(f->number_by == FRAMES_BY_MSC || number <= NUMBERED_MAX);
	f->number++;
	if (f->number_by == FRAMES_BY_MSC) {
		add(f, EV_MSC, f->number_msc, number);
	} else if (f->number_by == FRAMES_BY_PLACE) {
		f->state.abs[ABS_X] = f->state.abs[ABS_Y] = number;
		add(f, EV_ABS, ABS_X, number);
		add(f, EV_ABS, ABS_Y, number);
	}
}

unsigned frames_next(struct frames *f)
{
	f->n = 0;
	memset(f->touched, 0, sizeof(f->touched));
	if (f->nkinds == 0 || (f->mode == FRAMES_CROWD && !has_touches(f))) {
		return 0;
	}
	/* Most places come alone: they may melt. */
	while (f->n == 0 && !(f->number_by == FRAMES_BY_PLACE && below(f, 4) > 0)) {
		unsigned actions = f->mode == FRAMES_MIXED ? below(f, ACTIONS_MAX) + 1 : 1;

		if (f->mode == FRAMES_CROWD) {
			make_crowd(f);
			continue;
		}
		for (unsigned i = 0; i < actions && f->n < SHORT_FRAME; i++) {
			make_action(f);
		}
	}
	add_number(f);
	return end_frame(f);
}

unsigned frames_number(const struct frames *f, const struct frames_event *ev, unsigned n)
{
	unsigned number = 0, touches = 0;

	for (unsigned i = 0; i < n; i++) {
		bool is_msc = f->number_by == FRAMES_BY_MSC && ev[i].type == EV_MSC && ev[i].code == f->number_msc;
		bool is_place = f->number_by == FRAMES_BY_PLACE && ev[i].type == EV_ABS && ev[i].code == ABS_X;
		bool is_touch = f->number_by == FRAMES_BY_TOUCH && ev[i].type == EV_ABS && ev[i].code == ABS_MT_TRACKING_ID;

		number = is_msc || is_place || is_touch ? (unsigned)ev[i].value : number;
		touches += is_touch;
	}
	/* More of them, or an end: nothing that the source sent. */
	return touches > 1 || number == (unsigned)NO_TOUCH ? 0 : number;
}

unsigned frames_size(const struct frames *f)
{
	unsigned size = 0;

	for (unsigned i = 0; i < f->n; i++) {
		size += !(f->ev[i].type == EV_ABS && f->ev[i].code == ABS_MT_SLOT);
	}
	return size;
}

unsigned frames_release(struct frames *f)
{
	f->n = 0;
	for (unsigned code = 0; code < KEY_CNT; code++) {
		if (caps_bit(f->state.key, code)) {
			caps_set_bit(f->state.key, code, false);
			add(f, EV_KEY, code, 0);
		}
	}
	f->held = 0;
	for (unsigned slot = 0; has_touches(f) && slot < caps_slots(f->caps); slot++) {
		if (f->state.mt[slot][TRACKING_ID] != NO_TOUCH) {
			set_touch(f, slot, TRACKING_ID, NO_TOUCH);
		}
	}
	return end_frame(f);
}

/* What must come along with @ev. Return: false when it may come alone. */
static bool find_partner(const struct frames *f, const struct frames_event *ev, unsigned *partner)
{
	if (ev->type == EV_ABS && is_mt(f, ev->code)) {
		*partner = ev->code == ABS_MT_POSITION_X ? ABS_MT_POSITION_Y : ABS_MT_POSITION_X;
		return ev->code == ABS_MT_POSITION_X || ev->code == ABS_MT_POSITION_Y;
	}
	for (unsigned i = 0; i < f->ncodes[ev->type]; i++) {
		if (f->codes[ev->type][i] == ev->code) {
			*partner = f->codes[ev->type][i ^ 1];
			return true;
		}
	}
	return false;
}

/* @slot: where it must be; NULL: its place in the frame means nothing. */
static bool has_event(const struct frames_event *ev, unsigned n, unsigned first_slot, const unsigned *slot, const struct frames_event *like, unsigned code)
{
	unsigned now = first_slot;

	for (unsigned i = 0; i < n; i++) {
		if (ev[i].type == EV_ABS && ev[i].code == ABS_MT_SLOT) {
			now = (unsigned)ev[i].value;
		}
		if (ev[i].type == like->type && ev[i].code == code && ev[i].value == like->value && (!slot || now == *slot)) {
			return true;
		}
	}
	return false;
}

bool frames_is_torn(const struct frames *f, const struct frames_event *ev, unsigned n, unsigned *slot)
{
	unsigned first_slot = *slot, partner;
	bool is_torn = false;

	for (unsigned i = 0; i < n; i++) {
		if (ev[i].type == EV_ABS && ev[i].code == ABS_MT_SLOT && caps_slots(f->caps)) {
			*slot = (unsigned)ev[i].value;
		} else if (ev[i].type < EV_CNT && find_partner(f, &ev[i], &partner)) {
			bool in_slot = ev[i].type == EV_ABS && is_mt(f, ev[i].code);

			is_torn = is_torn || !has_event(ev, n, first_slot, in_slot ? slot : NULL, &ev[i], partner);
		}
	}
	return is_torn;
}
