/* SPDX-License-Identifier: MIT */
/*
 * Frames that wait for a guest that does not fetch its events.
 *
 *   input_ring_put -> [whole frames] -> input_ring_first, input_ring_take -> the guest's buffers
 *
 * The ring follows what the guest has been given (sent); what the source has said (now) it is told whenever something is put into it. When it is full, adjacent frames of pure motion melt into one
 * (input_melt.h): sums for relative, last values for absolute axes, those of each finger for multitouch. When that is not enough, motion gives way, the oldest first, and where things are is said at the end:
 * keys, switches and touches stay, in their order, but a click may be where the pointer was before. When those alone are too many, everything not yet begun is dropped and replaced by the difference between
 * sent and now, with the sum of relative motion. All of that is counted. A difference is marked as long as it waits: no source has sent it, and its loss is none.
 *
 * A frame is never torn: one whose beginning was taken stays until its end is taken, whatever else goes.
 *
 * Thread: the device's loop; no shared state.
 */
#ifndef DEVICES_INPUT_RING_H
#define DEVICES_INPUT_RING_H

#include "devices/input_state.h"

#define INPUT_FRAME_MAX 512 /* events of one frame, its SYN_REPORT included */
#define INPUT_RING_EVENTS 16384

/* Of a device, since it was made; some are counted here. Events do not count SYN_REPORTs. */
struct input_counters {
	uint64_t frames_in, events_in; /* from the source */
	uint64_t frames_out, events_out; /* in the guest's buffers */
	uint64_t coalesced; /* frames that melted into the one before */
	uint64_t dropped; /* the source's frames: of motion that gave way, those whose place a difference took, those that came while no driver was there, or that it had not fetched when it went */
	uint64_t resyncs; /* differences that the guest gets; and, of a host's device, times it was found out how things are (SYN_DROPPED) */
	uint64_t refused; /* events the description does not have, repeats the guest makes itself */
	uint64_t lights; /* that changed */
	/* Frames of a host's device: microseconds from the kernel's time stamp to when it had been sent, all together and the longest. */
	uint64_t late_us, late_max_us;
};

struct input_ring {
	const struct input_desc *desc;
	struct input_counters *counters;
	struct input_state sent; /* as the guest has been given it */
	bool is_torn; /* the guest has the beginning of the first frame */
	unsigned first, end; /* of what waits */
	struct input_ev ev[INPUT_RING_EVENTS]; /* whole frames, except that the first may have begun; filled from the start whenever it runs empty */
};

/* @r is zeroed memory: its events are not touched before they are needed. Borrows @desc and @counters. */
void input_ring_init(struct input_ring *r, const struct input_desc *desc, struct input_counters *counters);
/* The guest's driver is a new one, which has been given nothing. */
void input_ring_start(struct input_ring *r);
/* What waits is lost, and counted. */
void input_ring_forget(struct input_ring *r);

/* One frame, 1 to INPUT_FRAME_MAX events, the last a SYN_REPORT and no other before it (asserted). @now: the state behind it. Always succeeds: see above. */
void input_ring_put(struct input_ring *r, const struct input_ev *ev, unsigned n, const struct input_state *now);
/* Brings the guest, when it has taken what waits, to @now. Return: false where it comes there anyway. */
bool input_ring_put_difference(struct input_ring *r, const struct input_state *now);

/* Whether a frame of @n events can be put without anything giving way, and some more: just enough room would mean to compact again for each of the next frames. */
bool input_ring_has_room(const struct input_ring *r, unsigned n);
/* Moves what waits to the start, frames of motion melted into the one before. */
void input_ring_compact(struct input_ring *r);

/* What follows is done for each event, and costs more where it cannot be inlined than what it does. */

/* Of a SYN_REPORT in the ring: it ends a difference, which no source has sent, and whose loss is none. The guest gets 0. */
#define INPUT_RING_DIFFERENCE INT32_MIN

/* A SYN_REPORT. */
static inline bool input_is_syn(const struct input_ev *ev)
{
	return ev->type == EV_SYN && ev->code == SYN_REPORT;
}

/* Events. */
static inline unsigned input_ring_waiting(const struct input_ring *r)
{
	return r->end - r->first;
}

/* Of a ring in which something waits. */
static inline struct input_ev input_ring_first(const struct input_ring *r)
{
	struct input_ev ev = r->ev[r->first];

	if (input_is_syn(&ev) && ev.value == INPUT_RING_DIFFERENCE) {
		ev.value = 0;
	}
	return ev;
}

/* The guest has been given the first. */
static inline void input_ring_take(struct input_ring *r)
{
	const struct input_ev *ev = &r->ev[r->first++];

	input_state_apply(&r->sent, ev);
	r->is_torn = !input_is_syn(ev);
	if (r->is_torn) {
		r->counters->events_out++;
	} else {
		r->counters->frames_out++;
	}
	if (r->first == r->end) {
		r->first = 0;
		r->end = 0;
	}
}

#endif
