/* SPDX-License-Identifier: MIT */
/*
 * Two pictures beside each other: how many pixels differ, and a picture that shows which.
 *
 * Thread: any; pure functions.
 */
#ifndef DISPLAY_COMPARE_H
#define DISPLAY_COMPARE_H

#include <stdint.h>

#include "display/damage.h"

/* Rows from the top, four bytes a pixel: blue, green, red and one that says nothing. */
struct display_pixels {
	const uint8_t *data;
	uint32_t width, height; /* pixels */
	uint32_t stride; /* bytes */
};

/**
 * display_compare - pixels of @region that are not alike
 * @tolerance: how far a channel may be off, 0 to 255
 * @region: clipped to both; what of it is outside of one of them differs
 *
 * Return: their number, at most the region's area.
 */
uint64_t display_compare(const struct display_pixels *a, const struct display_pixels *b, const struct display_rect *region, unsigned tolerance);

/**
 * display_paint_difference - @a in dim grey, with what differs in @region in red
 * @rgb: room for three bytes for each pixel of @a, rows without gaps
 */
void display_paint_difference(const struct display_pixels *a, const struct display_pixels *b, const struct display_rect *region, unsigned tolerance,
	uint8_t *rgb);

#endif
