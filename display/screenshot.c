/* SPDX-License-Identifier: MIT */
#include "display/screenshot.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/log.h"

/* Which of a pixel's four bytes in memory is blue, green, red. */
static const struct format {
	uint32_t fourcc;
	uint8_t b, g, r;
} formats[] = {
	{DISPLAY_ARGB8888, 0, 1, 2}, {DISPLAY_XRGB8888, 0, 1, 2}, {DISPLAY_BGRA8888, 3, 2, 1}, {DISPLAY_BGRX8888, 3, 2, 1},
	{DISPLAY_ABGR8888, 2, 1, 0}, {DISPLAY_XBGR8888, 2, 1, 0}, {DISPLAY_RGBA8888, 1, 2, 3}, {DISPLAY_RGBX8888, 1, 2, 3},
};

static const struct format *find_format(uint32_t fourcc)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (formats[i].fourcc == fourcc) {
			return &formats[i];
		}
	}
	return NULL;
}

bool display_format_is_known(uint32_t fourcc)
{
	return find_format(fourcc) != NULL;
}

void display_row_to_xrgb(uint32_t fourcc, const uint8_t *src, uint8_t *dst, uint32_t n)
{
	const struct format *f = find_format(fourcc);

	assert(f);
	for (; n > 0; n--, src += 4, dst += 4) {
		uint8_t b = src[f->b], g = src[f->g], r = src[f->r];

		dst[0] = b;
		dst[1] = g;
		dst[2] = r;
		dst[3] = 0xff;
	}
}

/* What is left of @below where a part of it is covered. */
static uint8_t blend(uint32_t above, uint8_t below, uint32_t alpha)
{
	uint32_t sum = above + (below * (255 - alpha) + 127) / 255;

	/* Colours brighter than their alpha are a mistake of the guest. */
	return (uint8_t)(sum < 255 ? sum : 255);
}

static void draw_cursor(const struct display_cursor *c, const struct display_shot *shot, uint8_t *pixels)
{
	for (int64_t y = 0; y < DISPLAY_CURSOR_SIZE; y++) {
		for (int64_t x = 0; x < DISPLAY_CURSOR_SIZE; x++) {
			uint32_t p = c->image[y * DISPLAY_CURSOR_SIZE + x], alpha = p >> 24;
			uint8_t *to;

			if (c->x + x < 0 || c->x + x >= shot->width || c->y + y < 0 || c->y + y >= shot->height) {
				continue;
			}
			to = pixels + (c->y + y) * shot->stride + (c->x + x) * 4;
			to[0] = blend(p & 0xff, to[0], alpha);
			to[1] = blend(p >> 8 & 0xff, to[1], alpha);
			to[2] = blend(p >> 16 & 0xff, to[2], alpha);
		}
	}
}

int display_screenshot(struct display *d, unsigned i, bool with_cursor, struct display_shot *shot)
{
	const struct display_scanout *so = &d->scanout[i];
	const struct display_picture *p;
	const uint8_t *src;
	uint8_t *pixels;

	assert(loop_is_current(d->loop) && i < d->nscanouts);
	if (!so->buffer) {
		return -ENOENT;
	}
	display_refresh(d, i);
	p = &so->buffer->picture;
	src = display_buffer_map(so->buffer);
	if (!src) {
		return -ENOMEM;
	}
	*shot = (struct display_shot){.width = so->crop.w, .height = so->crop.h, .stride = so->crop.w * 4, .frame = so->frames};
	shot->fd = display_memfd("screenshot", (uint64_t)shot->stride * shot->height, &pixels);
	if (shot->fd < 0) {
		log_errno(LOG_ERR, shot->fd, "screenshot");
		return shot->fd;
	}
	src += p->offset + (uint64_t)so->crop.y * p->stride + (uint64_t)so->crop.x * 4;
	for (uint32_t y = 0; y < shot->height; y++) {
		display_row_to_xrgb(p->fourcc, src + (uint64_t)y * p->stride, pixels + (uint64_t)y * shot->stride, shot->width);
	}
	if (with_cursor && so->cursor.visible) {
		draw_cursor(&so->cursor, shot, pixels);
	}
	munmap(pixels, (size_t)shot->stride * shot->height);
	return 0;
}
