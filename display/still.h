/* SPDX-License-Identifier: MIT */
/*
 * Since when a part of a scanout has looked as it does. Each flush is compared with what was there before it, so a picture that changes and changes back is seen, however short it was
 * shown. The cursor does not count.
 *
 * Costs nothing while nobody asks. For each who does: a copy of the part, and for each flush reading what it damaged there.
 *
 * Thread: the display's loop.
 */
#ifndef DISPLAY_STILL_H
#define DISPLAY_STILL_H

#include "display/display.h"

/* Embedded in its owner; zeroed memory is one that has not been started. */
struct display_still {
	/* It looks different from before. May be NULL; must not stop it. */
	void (*changed)(struct display_still *s);
	bool is_lit; /* the scanout shows something */
	uint64_t since_ns; /* clock_now_ns: the last flush that changed it, or the start */

	/* Its own. */
	struct display *display; /* NULL: not started */
	unsigned scanout;
	struct display_rect region; /* of what is shown; of no size: all of it */
	struct display_rect seen; /* the part of the scanout that the copy has */
	uint32_t width, height; /* of the scanout */
	bool is_new; /* another picture, of which nothing has been looked at */
	uint8_t *copy; /* rows as display_row_to_xrgb makes them, and room for one more; NULL: no memory */
	struct display_still *next;
};

/* From now on. @region: any numbers; what is not on the scanout does not count. */
void display_still_start(struct display *d, struct display_still *s, unsigned i, const struct display_rect *region);
/* Not later than display_finish. What was not started is not there. */
void display_still_stop(struct display_still *s);

/* For the display: scanout @i shows something else, or nothing. */
void display_still_shown(struct display *d, unsigned i);
/* @part of scanout @i has changed, or so the guest says. */
void display_still_flushed(struct display *d, unsigned i, const struct display_rect *part);

#endif
