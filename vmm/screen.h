/* SPDX-License-Identifier: MIT */
/*
 * What a screen has to look like. It is shown one screenshot after another and says whether that is it, and what is missing. Whether it stands still is not seen in screenshots: display/still.h.
 *
 * Used by `tinyvmm wait` beside the VM and by [expect] inside it. Thread: one at a time.
 */
#ifndef VMM_SCREEN_H
#define VMM_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "display/compare.h"
#include "vmm/config.h"

struct screen {
	struct config_screen want; /* its strings stay the caller's */
	uint8_t *reference; /* NULL: no picture is wanted */
	struct display_pixels image;
	uint8_t *last; /* the last screenshot, without gaps; NULL: there was none */
	struct display_pixels shown;
	uint8_t *before; /* where no picture is wanted: the last screenshot that was another one in the region; NULL: there was none */
	struct display_pixels earlier;
	double diff; /* of the region's pixels, in the last screenshot */
};

/* Reads the picture. Return: 0, or -errno with @err. */
int screen_init(struct screen *s, const struct config_screen *want, char *err, size_t err_len);
void screen_finish(struct screen *s); /* accepts zeroed memory */

/* Whether all of the region that is wanted is in @p. What is not there neither stands still nor looks like anything. */
bool screen_has_region(const struct screen *s, const struct display_pixels *p);

/* Is all that counts there, and does it look like the picture that is wanted, if one is? Costs a comparison and a copy of the screenshot. */
bool screen_look(struct screen *s, const struct display_pixels *shot);

/* What is missing, for people: "no picture", "the region is not inside the screen", "17.3 % of the pixels differ", "never still for 500 ms". */
void screen_explain(const struct screen *s, char *buf, size_t len);

/* Whether there is something that the last screenshot can be compared with: the picture that is wanted or, where none is, an earlier screenshot that was another one. */
bool screen_has_difference(const struct screen *s);
/* What differs, into a file that is made or replaced. There is a difference. Return: whether it was written (else logged). */
bool screen_save_difference(const struct screen *s, const char *path);
/* Both: the last screenshot, and the difference if there is one. Return: whether there was a screenshot and all was written (what was not is logged). */
bool screen_save(const struct screen *s, const char *shot_path, const char *diff_path);

/* One picture into one file; "-": standard output. Return: whether it was (else logged). */
bool screen_write_png(const struct display_pixels *p, const char *path);

#endif
