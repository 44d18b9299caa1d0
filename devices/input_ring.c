/* SPDX-License-Identifier: MIT */
#include "devices/input_ring.h"

#include <assert.h>
#include <string.h>

#include "devices/input_melt.h"

/* A frame does not reach the guest. */
static void count_lost(struct input_ring *r, bool is_difference)
{
	if (is_difference) {
		r->counters->resyncs--;
	} else {
		r->counters->dropped++;
	}
}

/* Length of the frame at ring[@at]. */
static unsigned frame_len(const struct input_ring *r, unsigned at)
{
	unsigned end = at;

	while (!input_is_syn(&r->ev[end])) {
		end++;
	}
	return end + 1 - at;
}

/* Past the end of a frame whose beginning the guest has. */
static unsigned first_whole(const struct input_ring *r)
{
	return r->is_torn ? r->first + frame_len(r, r->first) : r->first;
}

/* What the guest will have been given when it has fetched the ring up to @end. */
static void expected_state(const struct input_ring *r, unsigned end, struct input_state *s)
{
	*s = r->sent;
	for (unsigned i = r->first; i < end; i++) {
		input_state_apply(s, &r->ev[i]);
	}
}

/* Return: events at ring[@to]. */
static unsigned write_melted(struct input_ring *r, struct input_melt *melt, unsigned to)
{
	unsigned frames = melt->frames, n = input_melt_write(melt, &r->ev[to]);

	r->counters->coalesced += frames - (n > 0);
	return n;
}

/* A difference does not: what came before and after it would be one frame, and nobody could say which is missing. */
static bool melts(struct input_melt *melt, const struct input_ev *ev, unsigned n)
{
	return ev[n - 1].value != INPUT_RING_DIFFERENCE && input_melt_add(melt, ev, n);
}

void input_ring_compact(struct input_ring *r)
{
	struct input_melt melt;
	struct input_state expected;
	unsigned whole = first_whole(r), to = whole - r->first;

	expected_state(r, whole, &expected);
	input_melt_start(&melt, r->desc, &expected);
	memmove(r->ev, r->ev + r->first, to * sizeof(r->ev[0]));
	for (unsigned from = whole; from < r->end;) {
		unsigned n = frame_len(r, from);

		if (!melts(&melt, &r->ev[from], n)) {
			to += write_melted(r, &melt, to);
			if (!melts(&melt, &r->ev[from], n)) {
				to += input_melt_keep(&melt, &r->ev[to], &r->ev[from], n);
			}
		}
		from += n;
	}
	to += write_melted(r, &melt, to);
	r->first = 0;
	r->end = to;
}

static void sum_motion(int32_t rel[REL_CNT], const struct input_ev *ev, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (ev[i].type == EV_REL && ev[i].code < REL_CNT) {
			rel[ev[i].code] = input_add_motion(rel[ev[i].code], ev[i].value);
		}
	}
}

static void append(struct input_ring *r, const struct input_ev *ev, unsigned n)
{
	assert(n <= INPUT_RING_EVENTS - r->end);
	memcpy(&r->ev[r->end], ev, n * sizeof(*ev));
	r->end += n;
}

bool input_ring_has_room(const struct input_ring *r, unsigned n)
{
	return n + INPUT_RING_EVENTS / 8 <= INPUT_RING_EVENTS - input_ring_waiting(r);
}

/* Of two states of a touch device's slot. */
static bool is_elsewhere(const struct input_state *a, const struct input_state *b, unsigned slot, unsigned axis)
{
	return axis != ABS_MT_TRACKING_ID - ABS_MT_SLOT && a->mt[slot][axis] != b->mt[slot][axis];
}

/*
 * Moves a frame, of @n events at ring[@from], to ring[@to], which is further ahead by what has given way. @slot: the one it goes to; @given: what the guest will have been given before it, which follows;
 * @real: the state behind it. A source says of a finger only what is not as it was at the last one's: where it touches is said here, if that has given way. Return: its length.
 */
static unsigned keep_frame(struct input_ring *r, unsigned to, unsigned from, unsigned n, unsigned slot, struct input_state *given, const struct input_state *real)
{
	struct input_state after = *given;
	unsigned at = to;

	if (given->slot != slot && slot < given->nslots) {
		r->ev[at++] = (struct input_ev){.type = EV_ABS, .code = ABS_MT_SLOT, .value = (int32_t)slot};
		after.slot = slot;
		given->slot = slot;
	}
	for (unsigned i = from; i < from + n; i++) {
		input_state_apply(&after, &r->ev[i]);
	}
	for (unsigned i = from; i < from + n; i++) {
		struct input_ev ev = r->ev[i];

		r->ev[at++] = ev;
		input_state_apply(given, &ev);
		if (ev.type == EV_ABS && ev.code == ABS_MT_TRACKING_ID && ev.value >= 0 && given->slot < given->nslots) {
			for (unsigned axis = 1; axis < INPUT_MT_AXES && at <= i; axis++) {
				if (is_elsewhere(&after, real, given->slot, axis)) {
					r->ev[at] = (struct input_ev){.type = EV_ABS, .code = (uint16_t)(ABS_MT_SLOT + axis), .value = real->mt[given->slot][axis]};
					input_state_apply(given, &r->ev[at++]);
				}
			}
		}
	}
	return at - to;
}

/* The frame that takes the place of what gave way: what is, less what the guest will have been given, and how far things were moved. Return: its length. */
static unsigned make_difference(const struct input_ring *r, const struct input_state *given, const struct input_state *real, const int32_t rel[REL_CNT], struct input_ev diff[INPUT_DIFF_MAX + REL_CNT])
{
	unsigned len = input_state_diff(r->desc, given, real, diff);

	len -= len > 0;
	for (unsigned code = 0; code < REL_CNT; code++) {
		if (rel[code]) {
			diff[len++] = (struct input_ev){.type = EV_REL, .code = (uint16_t)code, .value = rel[code]};
		}
	}
	if (len > 0) {
		diff[len++] = (struct input_ev){.type = EV_SYN, .code = SYN_REPORT, .value = INPUT_RING_DIFFERENCE};
	}
	return len;
}

/*
 * Of a compact ring, motion gives way, the oldest first, as much as it takes for a frame of @n events; everything else stays, in its order. Where things are then is said at the ring's end.
 * Return: false when that does not do: @rel is what was moved by what is gone.
 */
static bool drop_motion(struct input_ring *r, unsigned n, int32_t rel[REL_CNT])
{
	const unsigned want = INPUT_RING_EVENTS - INPUT_RING_EVENTS / 8 - INPUT_FRAME_MAX - INPUT_DIFF_MAX - REL_CNT;
	struct input_ev diff[INPUT_DIFF_MAX + REL_CNT];
	unsigned to = first_whole(r), len, from = to, gone = 0;
	struct input_state given, real;

	expected_state(r, to, &given);
	real = given;
	while (from < r->end) {
		unsigned frame = frame_len(r, from), slot = real.slot;
		enum input_frame_kind kind = input_frame_kind(r->desc, &real, slot, &r->ev[from], frame);

		for (unsigned i = from; i < from + frame; i++) {
			input_state_apply(&real, &r->ev[i]);
		}
		if (kind != INPUT_FRAME_STATE && r->end - (from - to) > want) {
			sum_motion(rel, &r->ev[from], frame);
			count_lost(r, r->ev[from + frame - 1].value == INPUT_RING_DIFFERENCE);
			gone++;
		} else {
			to += keep_frame(r, to, from, frame, slot, &given, &real);
		}
		from += frame;
	}
	r->end = to;
	len = make_difference(r, &given, &real, rel, diff);
	if (gone == 0 || !input_ring_has_room(r, len + n)) {
		return false;
	}
	append(r, diff, len);
	r->counters->resyncs += len > 0;
	return true;
}

/* Everything not yet begun gives way to the difference between what the guest has and what is now, and to how far things were moved. */
static void collapse(struct input_ring *r, const struct input_ev *ev, unsigned n, bool is_difference, const struct input_state *now, int32_t rel[REL_CNT])
{
	struct input_ev diff[INPUT_DIFF_MAX + REL_CNT];
	struct input_state expected;
	unsigned whole = first_whole(r), len;

	for (unsigned at = whole; at < r->end; at += frame_len(r, at)) {
		sum_motion(rel, &r->ev[at], frame_len(r, at));
		count_lost(r, r->ev[at + frame_len(r, at) - 1].value == INPUT_RING_DIFFERENCE);
	}
	sum_motion(rel, ev, n);
	count_lost(r, is_difference);
	expected_state(r, whole, &expected);
	r->end = whole;

	len = make_difference(r, &expected, now, rel, diff);
	append(r, diff, len);
	r->counters->resyncs += len > 0;
}

static void put(struct input_ring *r, const struct input_ev *ev, unsigned n, bool is_difference, const struct input_state *now)
{
	if (n > INPUT_RING_EVENTS - r->end) {
		int32_t rel[REL_CNT] = {0};

		input_ring_compact(r);
		if (!input_ring_has_room(r, n) && !drop_motion(r, n, rel)) {
			collapse(r, ev, n, is_difference, now, rel);
			return;
		}
	}
	append(r, ev, n);
	/* What a source says there is not ours to judge by. */
	if (is_difference || r->ev[r->end - 1].value == INPUT_RING_DIFFERENCE) {
		r->ev[r->end - 1].value = is_difference ? INPUT_RING_DIFFERENCE : 0;
	}
}

void input_ring_put(struct input_ring *r, const struct input_ev *ev, unsigned n, const struct input_state *now)
{
	assert(n > 0 && n <= INPUT_FRAME_MAX && input_is_syn(&ev[n - 1]));
	put(r, ev, n, false, now);
}

bool input_ring_put_difference(struct input_ring *r, const struct input_state *now)
{
	struct input_ev diff[INPUT_DIFF_MAX];
	struct input_state expected;
	unsigned n;

	expected_state(r, r->end, &expected);
	n = input_state_diff(r->desc, &expected, now, diff);
	if (n > 0) {
		r->counters->resyncs++;
		put(r, diff, n, true, now);
	}
	return n > 0;
}

void input_ring_forget(struct input_ring *r)
{
	for (unsigned at = r->first; at < r->end; at++) {
		if (input_is_syn(&r->ev[at])) {
			count_lost(r, r->ev[at].value == INPUT_RING_DIFFERENCE);
		}
	}
	r->first = 0;
	r->end = 0;
	r->is_torn = false;
}

void input_ring_start(struct input_ring *r)
{
	input_state_init(&r->sent, r->desc);
}

void input_ring_init(struct input_ring *r, const struct input_desc *desc, struct input_counters *counters)
{
	r->desc = desc;
	r->counters = counters;
	input_ring_start(r);
}
