/* SPDX-License-Identifier: MIT */
#include "devices/input_state.h"

#include <string.h>

#define NO_TOUCH (-1)
#define MT_TRACKING_ID (ABS_MT_TRACKING_ID - ABS_MT_SLOT)

static bool get_bit(const uint8_t *bits, unsigned i)
{
	return bits[i / 8] & 1u << i % 8;
}

static void put_bit(uint8_t *bits, unsigned i, bool on)
{
	if (on) {
		bits[i / 8] |= (uint8_t)(1u << i % 8);
	} else {
		bits[i / 8] &= (uint8_t) ~(1u << i % 8);
	}
}

bool input_is_mt(unsigned code)
{
	return code > ABS_MT_SLOT && code <= ABS_MT_TOOL_Y;
}

void input_state_init(struct input_state *s, const struct input_desc *desc)
{
	memset(s, 0, sizeof(*s));
	s->nslots = input_desc_slots(desc);
	for (unsigned i = 0; i < INPUT_SLOTS_MAX; i++) {
		s->mt[i][MT_TRACKING_ID] = NO_TOUCH;
	}
}

static void apply_abs(struct input_state *s, unsigned code, int32_t value)
{
	if (code == ABS_MT_SLOT) {
		s->slot = value >= 0 && (unsigned)value < s->nslots ? (unsigned)value : INPUT_SLOTS_MAX;
	} else if (input_is_mt(code)) {
		if (s->slot < s->nslots) {
			s->mt[s->slot][code - ABS_MT_SLOT] = value;
		}
	} else if (code < ABS_CNT) {
		s->abs[code] = value;
	}
}

void input_state_apply(struct input_state *s, const struct input_ev *ev)
{
	switch (ev->type) {
	case EV_KEY:
		if (ev->code < KEY_CNT) {
			put_bit(s->key, ev->code, ev->value != 0);
		}
		break;
	case EV_SW:
		if (ev->code < SW_CNT) {
			put_bit(s->sw, ev->code, ev->value != 0);
		}
		break;
	case EV_ABS:
		apply_abs(s, ev->code, ev->value);
		break;
	default:
		break;
	}
}

bool input_state_has_key(const struct input_state *s, unsigned code)
{
	return code < KEY_CNT && get_bit(s->key, code);
}

bool input_state_any_key(const struct input_state *s)
{
	for (size_t i = 0; i < sizeof(s->key); i++) {
		if (s->key[i]) {
			return true;
		}
	}
	return false;
}

void input_state_release(struct input_state *s)
{
	memset(s->key, 0, sizeof(s->key));
	for (unsigned i = 0; i < INPUT_SLOTS_MAX; i++) {
		s->mt[i][MT_TRACKING_ID] = NO_TOUCH;
	}
}

struct writer {
	const struct input_desc *desc;
	struct input_ev *ev;
	unsigned n;
};

static void add(struct writer *w, unsigned type, unsigned code, int32_t value)
{
	if (input_desc_has(w->desc, type, code)) {
		w->ev[w->n++] = (struct input_ev){.type = (uint16_t)type, .code = (uint16_t)code, .value = value};
	}
}

bool input_find_detour(const struct input_axis *axis, int32_t from, int32_t to, int32_t *detour)
{
	int64_t fuzz = axis->fuzz, way = (int64_t)to - from, far = 6 * fuzz;

	if (fuzz <= 0 || way >= 3 * fuzz || way <= -3 * fuzz) {
		return false;
	}
	*detour = to + far <= axis->max ? (int32_t)(to + far) : to - far >= axis->min ? (int32_t)(to - far) : to - (int64_t)axis->min > (int64_t)axis->max - to ? axis->min : axis->max;
	return (int64_t)*detour - to >= 2 * fuzz || (int64_t)*detour - to <= -2 * fuzz;
}

static void add_axis(struct writer *w, unsigned code, int32_t from, int32_t to)
{
	int32_t detour;

	if (input_find_detour(&w->desc->abs[code], from, to, &detour)) {
		add(w, EV_ABS, code, detour);
	}
	add(w, EV_ABS, code, to);
}

static void diff_bits(struct writer *w, unsigned type, const uint8_t *from, const uint8_t *to, bool on)
{
	unsigned codes = input_type_codes(type);

	for (unsigned i = 0; i < codes; i++) {
		if (get_bit(from, i) != on && get_bit(to, i) == on) {
			add(w, type, i, on);
		}
	}
}

/* The guest may think of another slot than we do, so the slot is said first, once. */
static void select_slot(struct writer *w, unsigned slot, bool *is_selected)
{
	if (!*is_selected) {
		add(w, EV_ABS, ABS_MT_SLOT, (int32_t)slot);
		*is_selected = true;
	}
}

static void end_touches(struct writer *w, const struct input_state *from, const struct input_state *to)
{
	for (unsigned slot = 0; slot < to->nslots; slot++) {
		bool is_selected = false;

		if (from->mt[slot][MT_TRACKING_ID] != NO_TOUCH && from->mt[slot][MT_TRACKING_ID] != to->mt[slot][MT_TRACKING_ID]) {
			select_slot(w, slot, &is_selected);
			add(w, EV_ABS, ABS_MT_TRACKING_ID, NO_TOUCH);
		}
	}
}

static void move_touches(struct writer *w, const struct input_state *from, const struct input_state *to)
{
	for (unsigned slot = 0; slot < to->nslots; slot++) {
		const int32_t *f = from->mt[slot], *t = to->mt[slot];
		bool is_selected = false;

		if (t[MT_TRACKING_ID] != NO_TOUCH && t[MT_TRACKING_ID] != f[MT_TRACKING_ID]) {
			select_slot(w, slot, &is_selected);
			add(w, EV_ABS, ABS_MT_TRACKING_ID, t[MT_TRACKING_ID]);
		}
		for (unsigned axis = 1; axis < INPUT_MT_AXES; axis++) {
			if (axis != MT_TRACKING_ID && f[axis] != t[axis]) {
				select_slot(w, slot, &is_selected);
				add_axis(w, ABS_MT_SLOT + axis, f[axis], t[axis]);
			}
		}
	}
}

unsigned input_state_diff(const struct input_desc *desc, const struct input_state *from, const struct input_state *to, struct input_ev *ev)
{
	struct writer w = {.desc = desc, .ev = ev};

	diff_bits(&w, EV_KEY, from->key, to->key, false);
	end_touches(&w, from, to);
	for (unsigned code = 0; code < ABS_CNT; code++) {
		if (code != ABS_MT_SLOT && !input_is_mt(code) && from->abs[code] != to->abs[code]) {
			add_axis(&w, code, from->abs[code], to->abs[code]);
		}
	}
	move_touches(&w, from, to);
	/* What comes next goes to the slot the source thinks of. */
	if (to->nslots && to->slot < to->nslots && (w.n > 0 || from->slot != to->slot)) {
		add(&w, EV_ABS, ABS_MT_SLOT, (int32_t)to->slot);
	}
	diff_bits(&w, EV_KEY, from->key, to->key, true);
	diff_bits(&w, EV_SW, from->sw, to->sw, false);
	diff_bits(&w, EV_SW, from->sw, to->sw, true);
	if (w.n > 0) {
		ev[w.n++] = (struct input_ev){.type = EV_SYN, .code = SYN_REPORT};
	}
	return w.n;
}
