/* SPDX-License-Identifier: MIT */
#include "display/compare.h"

#include <stdbool.h>
#include <string.h>

static const uint8_t *pixel(const struct display_pixels *p, uint32_t x, uint32_t y)
{
	return p->data + (uint64_t)y * p->stride + (uint64_t)x * 4;
}

static bool channel_differs(uint8_t a, uint8_t b, unsigned tolerance)
{
	return (a > b ? a - b : b - a) > (int)tolerance;
}

static bool differs(const uint8_t *a, const uint8_t *b, unsigned tolerance)
{
	return channel_differs(a[0], b[0], tolerance) || channel_differs(a[1], b[1], tolerance) || channel_differs(a[2], b[2], tolerance);
}

uint64_t display_compare(const struct display_pixels *a, const struct display_pixels *b, const struct display_rect *region, unsigned tolerance)
{
	const struct display_rect both = {
		.w = a->width < b->width ? a->width : b->width, .h = a->height < b->height ? a->height : b->height};
	struct display_rect r = *region;
	uint64_t n = display_rect_area(region);

	if (!display_rect_clip(&r, &both)) {
		return n;
	}
	n -= display_rect_area(&r);
	for (uint32_t y = r.y; y < r.y + r.h; y++) {
		const uint8_t *pa = pixel(a, r.x, y), *pb = pixel(b, r.x, y);

		/* Most rows of most pictures. The fourth byte may differ all the same. */
		if (memcmp(pa, pb, (size_t)r.w * 4) == 0) {
			continue;
		}
		for (uint32_t x = 0; x < r.w; x++, pa += 4, pb += 4) {
			n += differs(pa, pb, tolerance);
		}
	}
	return n;
}

static bool is_in(const struct display_rect *r, uint32_t x, uint32_t y)
{
	return x >= r->x && x - r->x < r->w && y >= r->y && y - r->y < r->h;
}

void display_paint_difference(const struct display_pixels *a, const struct display_pixels *b, const struct display_rect *region, unsigned tolerance,
	uint8_t *rgb)
{
	for (uint32_t y = 0; y < a->height; y++) {
		for (uint32_t x = 0; x < a->width; x++, rgb += 3) {
			const uint8_t *pa = pixel(a, x, y);
			bool is_there = x < b->width && y < b->height;
			uint8_t grey = (uint8_t)((pa[0] + pa[1] * 2 + pa[2]) / 12);

			if (is_in(region, x, y) && (!is_there || differs(pa, pixel(b, x, y), tolerance))) {
				memcpy(rgb, (const uint8_t[]){255, 0, 0}, 3);
			} else {
				memset(rgb, grey, 3);
			}
		}
	}
}
