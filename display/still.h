/* SPDX-License-Identifier: MIT */
/*
 * Whether a part of what a scanout shows has stood still: each flush is looked at when it comes, and what it says has changed is compared with what was shown before. So a picture that
 * comes and goes between two looks of somebody else is not missed, and a guest that flips between two pictures is never still, however fast it does.
 *
 * What was shown is not kept, but a sum of 64 bits for each TILE pixels of a row: a hundredth of the memory, and no second picture that a guest could make large. Two pictures with the
 * same sums are taken for one; that does not happen by chance.
 *
 * It is a sink like others and costs nothing while it is not there: a flush costs the reading of what it says has changed, and that counts as the device's work in its turn
 * (display_counters.compared_bytes). The cursor is not looked at.
 *
 * Thread: the display's loop.
 */
#ifndef DISPLAY_STILL_H
#define DISPLAY_STILL_H

#include "display/display.h"

struct display_still {
	struct display *display; /* NULL: not in use */
	struct display_sink sink;
	void (*news)(struct display_still *s);
	unsigned scanout;
	struct display_rect region; /* w 0: all of it */
	bool is_seen; /* something is shown, the region is in it, and the sums are its */
	bool is_outside; /* something is shown, and not all of the region is in it */
	uint32_t width, height; /* of what is shown */
	struct display_rect part; /* what of it counts */
	uint64_t *sums; /* a row of tiles after the other */
	uint64_t since_ns; /* it has looked like this since */
};

/**
 * display_still_init - from now on it is looked at
 * @region: NULL, or w 0, for all of it
 * @news: something is shown after nothing, or in another size, or nothing any more, also from within this call: is_seen and is_outside say what there is to look at; may come when neither has changed.
 *        NULL: nobody wants to know
 */
void display_still_init(struct display_still *s, struct display *d, unsigned scanout, const struct display_rect *region, void (*news)(struct display_still *s));
void display_still_finish(struct display_still *s); /* accepts zeroed memory */

/**
 * display_still_for - has it been still for @ns?
 * @again_ns: when it will have been if nothing changes until then; 0: nothing that counts is shown
 *
 * What is dark, smaller than the region, or another size than before, is not still. It is not known to have been still before display_still_init.
 */
bool display_still_for(const struct display_still *s, uint64_t ns, uint64_t now_ns, uint64_t *again_ns);

/* Looks at all of it again: what a scanout shows may be there before the flush that says so. Return: whether it still looks like that; if not, it has been still since now. For whoever is about to take the picture. */
bool display_still_holds(struct display_still *s);

#endif
