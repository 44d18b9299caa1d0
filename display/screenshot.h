/* SPDX-License-Identifier: MIT */
/*
 * A copy of what a scanout shows, as one would see it: the rectangle of the buffer, and the cursor on top where it is wanted.
 *
 * Thread: the display's loop, so that no transfer is half done (display.h).
 */
#ifndef DISPLAY_SCREENSHOT_H
#define DISPLAY_SCREENSHOT_H

#include "display/display.h"

/* Rows from the top; each pixel is four bytes: blue, green, red, 255 (DISPLAY_XRGB8888). */
struct display_shot {
	int fd; /* a memfd that nobody can write any more; the caller's */
	uint32_t width, height, stride; /* stride in bytes */
	uint64_t frame; /* number of the scanout's last frame */
};

/* Return: 0, -ENOENT when the scanout shows nothing, or another -errno (logged). */
int display_screenshot(struct display *d, unsigned i, bool with_cursor, struct display_shot *shot);

/* One row of @n pixels in any of the formats into blue, green, red, 255; alpha says nothing on a scanout. @fourcc: one that display_format_is_known. */
void display_row_to_xrgb(uint32_t fourcc, const uint8_t *src, uint8_t *dst, uint32_t n);
bool display_format_is_known(uint32_t fourcc);

#endif
