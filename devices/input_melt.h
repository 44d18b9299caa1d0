/* SPDX-License-Identifier: MIT */
/*
 * Frames of motion that become one: what waits for a guest that does not fetch its events.
 *
 *   input_melt_start(&m, &desc, &state);                 what the guest will have been given before the first frame
 *   for each frame:
 *      if (!input_melt_add(&m, frame, n))                it is no motion, or too much
 *         to += input_melt_write(&m, to)                 all that was added, as one frame; then begins anew, or
 *         to += input_melt_keep(&m, to, frame, n)        does so after a frame that stays as it is
 *
 * Relative motion is added up, of axes the last value stays, of multitouch the last one in each slot; the slot is selected before each finger, and in the end as it was after the last
 * frame, because what comes next goes there. An axis with fuzz goes by another place where its way has become so short that the guest's kernel would take it for noise.
 *
 * Thread: any; no shared state.
 */
#ifndef DEVICES_INPUT_MELT_H
#define DEVICES_INPUT_MELT_H

#include "devices/input_state.h"

#define INPUT_MELT_EVENTS 512

enum input_frame_kind {
	INPUT_FRAME_STATE, /* keys, switches, touches that begin or end, and whatever is not followed here: its order and number mean something */
	INPUT_FRAME_MOTION, /* sums and last values are all that it means */
	INPUT_FRAME_PLACE, /* motion along an axis so short that no detour leads to its last value: it means nothing more than that, but cannot melt */
};

/* Of @n events, the last its SYN_REPORT. @state: has the tracking ids before the frame; @slot: is selected before it. */
enum input_frame_kind input_frame_kind(const struct input_desc *desc, const struct input_state *state, unsigned slot, const struct input_ev *ev, unsigned n);

struct input_melt {
	const struct input_desc *desc;
	struct input_state before; /* all that was added */
	const struct input_ev *first; /* the frame, while it is the only one */
	unsigned first_len;
	unsigned frames, slot; /* that were added; that they selected last */
	unsigned n;
	struct input_melted {
		struct input_ev ev;
		unsigned slot; /* of multitouch, else INPUT_SLOTS_MAX */
		bool is_again; /* had another value before */
	} melted[INPUT_MELT_EVENTS];
};

void input_melt_start(struct input_melt *m, const struct input_desc *desc, const struct input_state *state);
/* @ev stays where it is until it is written. Return: false, and nothing was added, where it cannot melt with what there is. */
bool input_melt_add(struct input_melt *m, const struct input_ev *ev, unsigned n);
/* @to: not behind the first frame that was added; needs no more room than all of them had. Return: events written, 0 when there was nothing to say. */
unsigned input_melt_write(struct input_melt *m, struct input_ev *to);

/* A frame that stays as it is, after what was written. @to: not behind it. Return: @n. */
unsigned input_melt_keep(struct input_melt *m, struct input_ev *to, const struct input_ev *ev, unsigned n);

int32_t input_add_motion(int32_t a, int32_t b); /* as far as an event can say */

#endif
