/* SPDX-License-Identifier: MIT */
/*
 * Test pictures in which no two places look alike, no reflection or rotation is the picture itself, and no two colours can be exchanged.
 * tests/system/kmsmodel.py says the same in Python: what a screenshot must show. tests/picture_test compares the two.
 *
 * A pixel is a little-endian 32-bit word, 0xAARRGGBB. All divisions drop the rest.
 */
#ifndef TESTS_GUEST_PAINT_H
#define TESTS_GUEST_PAINT_H

#include <stdbool.h>
#include <stdint.h>

enum paint_kind {
	/*
	 * blue x + 3y + 29 * frame, modulo 256; green from 0 in the first row to 255 in the last; red the same from left to right; the byte of alpha 255 - x, modulo 256,
	 * for a screen must not show it. On top four blocks without alpha, each in its corner with its own colour and shape: ff2010 w/4 x h/8, 10ff20 w/8 x h/4,
	 * 2010ff w/16 x h/16, f0f0f0 w/3 x h/32 (in the order of reading). On pictures of 96 x 32 and more, the frame's number in 16 blocks of 4 x 8 from
	 * (w/2 - 32, h/2), the highest bit first, 1 is white, 0 is black.
	 */
	PAINT_SCENE,
	/*
	 * For cursors, colours multiplied by alpha: alpha from 0 in the first column to 255 in the last, red alpha * y / (h - 1), green alpha - red, blue 0. On top
	 * an opaque red block of 16 x 8 in the upper left corner, and a transparent one of 8 x 16 in the lower right.
	 */
	PAINT_CURSOR,
	/* Every pixel is @colour. */
	PAINT_SOLID,
};

struct paint {
	enum paint_kind kind;
	uint32_t w, h;   /* the whole picture, pixels; at least 1 x 1 */
	uint32_t frame;  /* PAINT_SCENE: 0 to 65535 */
	uint32_t colour; /* PAINT_SOLID */
};

/**
 * paint_rect - paint a part of the picture
 * @pixels: the whole picture's first pixel; @pitch: bytes from row to row
 * @x, @y, @w, @h: the part, inside the picture
 */
void paint_rect(const struct paint *p, void *pixels, uint32_t pitch, const uint32_t rect[4]);

/* Turns a part that was painted into the order of bytes that one of the device's formats has (VIRTIO_GPU_FORMAT_*). Return: false when there is none of this number. */
bool paint_order(uint32_t native, void *pixels, uint32_t pitch, const uint32_t rect[4]);

/* Return: false when @name is no kind: scene, cursor, or solid:AARRGGBB. */
bool paint_parse(struct paint *p, const char *name);

#endif
