/* SPDX-License-Identifier: MIT */
#include "display/still.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "display/screenshot.h"
#include "vmm/clock.h"
#include "vmm/log.h"

/* The rows of the scanout's picture at @x, @y; NULL when it cannot be mapped. */
static const uint8_t *pixels_at(const struct display_scanout *so, uint32_t x, uint32_t y)
{
	const struct display_picture *p = &so->buffer->picture;
	const uint8_t *map = display_buffer_map(so->buffer);

	return map ? map + p->offset + (uint64_t)(so->crop.y + y) * p->stride + (uint64_t)(so->crop.x + x) * 4 : NULL;
}

/* Brings @part of the copy up to date. Return: whether anything is different. */
static bool take(struct display_still *s, const struct display_scanout *so, const struct display_rect *part)
{
	const uint8_t *src = pixels_at(so, part->x, part->y);
	uint8_t *row = s->copy + (size_t)s->seen.w * s->seen.h * 4;
	bool differs = false;

	if (!src) {
		return true;
	}
	for (uint32_t y = 0; y < part->h; y++, src += so->buffer->picture.stride) {
		uint8_t *known = s->copy + ((size_t)(part->y - s->seen.y + y) * s->seen.w + (part->x - s->seen.x)) * 4;

		display_row_to_xrgb(so->buffer->picture.fourcc, src, row, part->w);
		if (memcmp(known, row, (size_t)part->w * 4) != 0) {
			memcpy(known, row, (size_t)part->w * 4);
			differs = true;
		}
	}
	return differs;
}

/* Makes room for what counts of the scanout. */
static void make_room(struct display_still *s, const struct display_scanout *so)
{
	struct display_rect all = {0, 0, so->crop.w, so->crop.h}, seen = s->region.w && s->region.h ? s->region : all;

	if (!display_rect_clip(&seen, &all)) {
		seen = (struct display_rect){0, 0, 0, 0};
	}
	free(s->copy);
	s->copy = calloc((size_t)seen.h + 1, (size_t)seen.w * 4 + 1);
	if (!s->copy) {
		log_msg(LOG_ERR, "display: no memory to tell whether the picture is still");
	}
	s->seen = seen;
	s->width = so->crop.w;
	s->height = so->crop.h;
}

/* Return: whether it looks different from before. */
static bool look(struct display_still *s, const struct display_rect *part)
{
	const struct display_scanout *so = &s->display->scanout[s->scanout];
	struct display_rect r = s->is_new ? s->seen : *part;
	bool was_lit = s->is_lit, has_size = s->copy && s->width == so->crop.w && s->height == so->crop.h;

	s->is_lit = true;
	if (!has_size) {
		make_room(s, so);
		r = s->seen;
	}
	s->is_new = false;
	if (!s->copy) {
		return true;
	}
	/* What was there before it went dark, or had another size, does not count. */
	return (display_rect_clip(&r, &s->seen) && take(s, so, &r)) || !was_lit || !has_size;
}

static void on_look(struct display_still *s, const struct display_rect *part)
{
	if (look(s, part)) {
		s->since_ns = clock_now_ns();
		if (s->changed) {
			s->changed(s);
		}
	}
}

void display_still_start(struct display *d, struct display_still *s, unsigned i, const struct display_rect *region)
{
	assert(i < d->nscanouts && !s->display);
	s->display = d;
	s->scanout = i;
	s->region = *region;
	s->is_lit = false;
	s->is_new = true;
	s->since_ns = clock_now_ns();
	s->next = d->stills;
	d->stills = s;
	if (d->scanout[i].buffer) {
		display_refresh(d, i);
		on_look(s, &s->region);
	}
}

void display_still_stop(struct display_still *s)
{
	if (!s->display) {
		return;
	}
	for (struct display_still **p = &s->display->stills; *p; p = &(*p)->next) {
		if (*p == s) {
			*p = s->next;
			break;
		}
	}
	free(s->copy);
	s->copy = NULL;
	s->display = NULL;
}

void display_still_shown(struct display *d, unsigned i)
{
	for (struct display_still *s = d->stills; s; s = s->next) {
		if (s->scanout == i) {
			s->is_new = true;
			s->is_lit &= d->scanout[i].buffer != NULL;
		}
	}
}

void display_still_flushed(struct display *d, unsigned i, const struct display_rect *part)
{
	for (struct display_still *s = d->stills; s; s = s->next) {
		if (s->scanout == i) {
			on_look(s, part);
		}
	}
}
