/* SPDX-License-Identifier: MIT */
#include "paint.h"

#include <stdlib.h>
#include <string.h>

static uint32_t up_to_255(uint32_t at, uint32_t size)
{
	return at * 255 / (size > 1 ? size - 1 : 1);
}

static bool inside(uint32_t x, uint32_t y, const uint32_t rect[4])
{
	return x >= rect[0] && x - rect[0] < rect[2] && y >= rect[1] && y - rect[1] < rect[3];
}

static uint32_t scene(const struct paint *p, uint32_t x, uint32_t y)
{
	const uint32_t w = p->w, h = p->h, bits[4] = {w / 2 - 32, h / 2, 64, 8};
	const struct {
		uint32_t rect[4], colour;
	} corner[] = {
		{{0, 0, w / 4, h / 8}, 0xff2010},
		{{w - w / 8, 0, w / 8, h / 4}, 0x10ff20},
		{{0, h - h / 16, w / 16, h / 16}, 0x2010ff},
		{{w - w / 3, h - h / 32, w / 3, h / 32}, 0xf0f0f0},
	};

	if (w >= 96 && h >= 32 && inside(x, y, bits)) {
		return p->frame >> (15 - (x - bits[0]) / 4) & 1 ? 0xffffff : 0;
	}
	for (unsigned i = 0; i < 4; i++) {
		if (inside(x, y, corner[i].rect)) {
			return corner[i].colour;
		}
	}
	return ((255 - x) & 255) << 24 | up_to_255(x, w) << 16 | up_to_255(y, h) << 8 | ((x + 3 * y + 29 * p->frame) & 255);
}

static uint32_t cursor(const struct paint *p, uint32_t x, uint32_t y)
{
	uint32_t alpha = up_to_255(x, p->w), red = alpha * y / (p->h > 1 ? p->h - 1 : 1);

	if (x < 16 && y < 8) {
		return 0xffff0000;
	}
	if (p->w - x <= 8 && p->h - y <= 16) {
		return 0;
	}
	return alpha << 24 | red << 16 | (alpha - red) << 8;
}

void paint_rect(const struct paint *p, void *pixels, uint32_t pitch, const uint32_t rect[4])
{
	for (uint32_t y = rect[1]; y - rect[1] < rect[3]; y++) {
		uint32_t *row = (uint32_t *)((char *)pixels + (uint64_t)y * pitch);

		for (uint32_t x = rect[0]; x - rect[0] < rect[2]; x++) {
			row[x] = p->kind == PAINT_SOLID ? p->colour : p->kind == PAINT_CURSOR ? cursor(p, x, y)
												  : scene(p, x, y);
		}
	}
}

bool paint_order(uint32_t native, void *pixels, uint32_t pitch, const uint32_t rect[4])
{
	/* virtio v1.3, 5.7.6.8: which byte of a pixel is blue, green, red, alpha; names are in the order of memory. */
	static const struct {
		uint32_t native;
		uint8_t at[4];
	} orders[] = {{1, {0, 1, 2, 3}}, {2, {0, 1, 2, 3}}, {3, {3, 2, 1, 0}}, {4, {3, 2, 1, 0}}, {67, {2, 1, 0, 3}}, {68, {1, 2, 3, 0}}, {121, {1, 2, 3, 0}}, {134, {2, 1, 0, 3}}};
	const uint8_t *at = NULL;

	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		if (orders[i].native == native) {
			at = orders[i].at;
		}
	}
	for (uint32_t y = rect[1]; at && y - rect[1] < rect[3]; y++) {
		uint8_t *p = (uint8_t *)pixels + (uint64_t)y * pitch + (uint64_t)rect[0] * 4;

		for (uint32_t x = 0; x < rect[2]; x++, p += 4) {
			const uint8_t was[4] = {p[0], p[1], p[2], p[3]};

			for (unsigned i = 0; i < 4; i++) {
				p[at[i]] = was[i];
			}
		}
	}
	return at != NULL;
}

bool paint_parse(struct paint *p, const char *name)
{
	if (strcmp(name, "scene") == 0) {
		p->kind = PAINT_SCENE;
	} else if (strcmp(name, "cursor") == 0) {
		p->kind = PAINT_CURSOR;
	} else if (strncmp(name, "solid:", 6) == 0) {
		p->kind = PAINT_SOLID;
		p->colour = (uint32_t)strtoul(name + 6, NULL, 16);
	} else {
		return false;
	}
	return true;
}
