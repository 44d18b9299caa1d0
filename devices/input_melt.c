/* SPDX-License-Identifier: MIT */
#include "devices/input_melt.h"

#include <string.h>

#define MT_TRACKING_ID (ABS_MT_TRACKING_ID - ABS_MT_SLOT)

/* The guest's kernel moves an axis to a value from anywhere that is 2 fuzz away; where it has the axis after a detour of 6 may be off by 2. A shorter axis has no room for one of 4. */
static bool has_detours(const struct input_axis *axis)
{
	return axis->fuzz <= 0 || (int64_t)axis->max - axis->min >= 8 * (int64_t)axis->fuzz;
}

enum input_frame_kind input_frame_kind(const struct input_desc *desc, const struct input_state *state, unsigned slot, const struct input_ev *ev, unsigned n)
{
	enum input_frame_kind kind = INPUT_FRAME_MOTION;

	for (unsigned i = 0; i + 1 < n; i++) {
		bool is_slot = ev[i].type == EV_ABS && ev[i].code == ABS_MT_SLOT;

		if (ev[i].type != EV_REL && ev[i].type != EV_ABS && ev[i].type != EV_MSC) {
			return INPUT_FRAME_STATE;
		}
		slot = is_slot ? (unsigned)ev[i].value : slot;
		if (is_slot || (ev[i].type == EV_ABS && input_is_mt(ev[i].code))) {
			/* Slots that are not followed: nobody could say again what was left out. */
			if (slot >= state->nslots || (ev[i].code == ABS_MT_TRACKING_ID && ev[i].value != state->mt[slot][MT_TRACKING_ID])) {
				return INPUT_FRAME_STATE;
			}
		}
		if (ev[i].type == EV_ABS && !is_slot && !has_detours(&desc->abs[ev[i].code])) {
			kind = INPUT_FRAME_PLACE;
		}
	}
	return kind;
}

int32_t input_add_motion(int32_t a, int32_t b)
{
	int64_t sum = (int64_t)a + b;

	return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

static void begin(struct input_melt *m)
{
	m->frames = 0;
	m->n = 0;
	m->slot = m->before.slot;
}

void input_melt_start(struct input_melt *m, const struct input_desc *desc, const struct input_state *state)
{
	m->desc = desc;
	m->before = *state;
	begin(m);
}

static struct input_melted *find(struct input_melt *m, const struct input_ev *like, unsigned slot)
{
	for (unsigned i = 0; i < m->n; i++) {
		if (m->melted[i].ev.type == like->type && m->melted[i].ev.code == like->code && m->melted[i].slot == slot) {
			return &m->melted[i];
		}
	}
	return NULL;
}

static void melt(struct input_melt *m, const struct input_ev *ev)
{
	bool is_abs = ev->type == EV_ABS;
	unsigned slot = is_abs && input_is_mt(ev->code) ? m->slot : INPUT_SLOTS_MAX;
	struct input_melted *same;

	if (is_abs && ev->code == ABS_MT_SLOT) {
		m->slot = (unsigned)ev->value;
		return;
	}
	same = find(m, ev, slot);
	if (same) {
		same->ev.value = ev->type == EV_REL ? input_add_motion(same->ev.value, ev->value) : ev->value;
		same->is_again = true;
	} else {
		m->melted[m->n++] = (struct input_melted){.ev = *ev, .slot = slot};
	}
}

bool input_melt_add(struct input_melt *m, const struct input_ev *ev, unsigned n)
{
	/* A frame that is larger than any source's is as it is. */
	if (m->n + n > INPUT_MELT_EVENTS || input_frame_kind(m->desc, &m->before, m->slot, ev, n) != INPUT_FRAME_MOTION) {
		return false;
	}
	for (unsigned i = 0; i + 1 < n; i++) {
		melt(m, &ev[i]);
	}
	if (m->frames++ == 0) {
		m->first = ev;
		m->first_len = n;
	}
	return true;
}

static unsigned select_slot(struct input_ev *to, unsigned n, unsigned slot)
{
	to[n] = (struct input_ev){.type = EV_ABS, .code = ABS_MT_SLOT, .value = (int32_t)slot};
	return n + 1;
}

static unsigned put_one(const struct input_melt *m, const struct input_melted *one, struct input_ev *to, unsigned n)
{
	int32_t detour;

	if (one->is_again && one->ev.type == EV_ABS) {
		int32_t from = one->slot < INPUT_SLOTS_MAX ? m->before.mt[one->slot][one->ev.code - ABS_MT_SLOT] : m->before.abs[one->ev.code];

		if (input_find_detour(&m->desc->abs[one->ev.code], from, one->ev.value, &detour)) {
			to[n++] = (struct input_ev){.type = EV_ABS, .code = one->ev.code, .value = detour};
		}
	}
	to[n++] = one->ev;
	return n;
}

/* All of the slot that the place @first is of. */
static unsigned put_slot(const struct input_melt *m, unsigned first, struct input_ev *to, unsigned n)
{
	for (unsigned i = first; i < m->n; i++) {
		if (m->melted[i].slot == m->melted[first].slot) {
			n = put_one(m, &m->melted[i], to, n);
		}
	}
	return n;
}

static bool is_slots_first(const struct input_melt *m, unsigned at)
{
	for (unsigned i = 0; i < at; i++) {
		if (m->melted[i].slot == m->melted[at].slot) {
			return false;
		}
	}
	return true;
}

/* Fingers in the order in which they first moved. */
static unsigned put_all(const struct input_melt *m, struct input_ev *to)
{
	unsigned n = 0, slot = m->before.slot;

	for (unsigned i = 0; i < m->n; i++) {
		if (is_slots_first(m, i)) {
			if (m->melted[i].slot != INPUT_SLOTS_MAX && m->melted[i].slot != slot) {
				slot = m->melted[i].slot;
				n = select_slot(to, n, slot);
			}
			n = put_slot(m, i, to, n);
		}
	}
	if (slot != m->slot) {
		n = select_slot(to, n, m->slot);
	}
	if (n > 0) {
		to[n++] = (struct input_ev){.type = EV_SYN, .code = SYN_REPORT};
	}
	return n;
}

/* The guest will have been given the @n events at @to. */
static void follow(struct input_melt *m, const struct input_ev *to, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		input_state_apply(&m->before, &to[i]);
	}
	begin(m);
}

unsigned input_melt_write(struct input_melt *m, struct input_ev *to)
{
	unsigned n = 0;

	if (m->frames == 1) {
		n = m->first_len;
		memmove(to, m->first, n * sizeof(*to));
	} else if (m->frames > 1) {
		n = put_all(m, to);
	}
	follow(m, to, n);
	return n;
}

unsigned input_melt_keep(struct input_melt *m, struct input_ev *to, const struct input_ev *ev, unsigned n)
{
	memmove(to, ev, n * sizeof(*to));
	follow(m, to, n);
	return n;
}
