/* SPDX-License-Identifier: MIT */
#include "display/still.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "display/screenshot.h"
#include "vmm/clock.h"
#include "vmm/log.h"

#define TILE 256u /* pixels of a row that have one sum */

static uint32_t tiles(const struct display_still *s)
{
	return (s->width + TILE - 1) / TILE;
}

/* @pixels: blue, green, red and one that says nothing. */
static uint64_t sum_of(const uint8_t *pixels, uint32_t n)
{
	const uint64_t colours = 0x00ffffff00ffffff;
	uint64_t sum = n, word;

	/* Every step can be undone, so two rows with one difference never have the same sum. */
	for (; n >= 2; n -= 2, pixels += 8) {
		memcpy(&word, pixels, sizeof(word));
		sum = (sum ^ (word & colours)) * 0x9e3779b97f4a7c15u;
		sum ^= sum >> 29;
	}
	if (n > 0) {
		uint32_t last;

		memcpy(&last, pixels, sizeof(last));
		sum = (sum ^ (last & colours)) * 0x9e3779b97f4a7c15u;
	}
	return sum;
}

/* Brings the sums of @r, which is inside what is shown, up to date. Return: whether any is another one now. */
static bool look_at(struct display_still *s, const uint8_t *pixels, const struct display_picture *p, const struct display_rect *r)
{
	uint8_t row[TILE * 4];
	uint64_t looked = 0;
	bool has_changed = false, is_xrgb = p->fourcc == DISPLAY_XRGB8888 || p->fourcc == DISPLAY_ARGB8888;

	for (uint32_t y = r->y; y < r->y + r->h; y++) {
		for (uint32_t tile = r->x / TILE; tile <= (r->x + r->w - 1) / TILE; tile++) {
			struct display_rect t = {tile * TILE, y, TILE, 1};
			uint64_t *sum = &s->sums[(uint64_t)y * tiles(s) + tile], now;
			const uint8_t *src;

			/* Of a tile all that counts, whatever was flushed of it. */
			display_rect_clip(&t, &s->part);
			src = pixels + (uint64_t)y * p->stride + (uint64_t)t.x * 4;
			if (!is_xrgb) {
				display_row_to_xrgb(p->fourcc, src, row, t.w);
				src = row;
			}
			now = sum_of(src, t.w);
			has_changed |= now != *sum;
			*sum = now;
			looked += t.w * 4u;
		}
	}
	__atomic_store_n(&s->display->counters.compared_bytes, s->display->counters.compared_bytes + looked, __ATOMIC_RELAXED);
	return has_changed;
}

/* Another size than before, or something after nothing. Return: whether there is something to compare with now. */
static bool begin(struct display_still *s, const struct display_rect *shown)
{
	uint64_t *sums;

	s->is_seen = false;
	s->width = shown->w;
	s->height = shown->h;
	s->part = s->region.w ? s->region : (struct display_rect){0, 0, shown->w, shown->h};
	s->is_outside = !display_rect_is_inside(&s->part, shown->w, shown->h);
	if (s->is_outside) {
		return false;
	}
	sums = realloc(s->sums, (uint64_t)tiles(s) * s->height * sizeof(*sums));
	if (!sums) {
		log_errno(LOG_ERR, ENOMEM, "comparing pictures");
		return false;
	}
	s->sums = sums;
	memset(sums, 0, (uint64_t)tiles(s) * s->height * sizeof(*sums));
	s->is_seen = true;
	return true;
}

static void tell(struct display_still *s)
{
	if (s->news) {
		s->news(s);
	}
}

/* The scanout's picture, @damage of it, or (NULL) all. Return: whether it looks as before. */
static bool look(struct display_still *s, const struct display_damage *damage)
{
	const struct display_scanout *so = &s->display->scanout[s->scanout];
	bool is_new = !s->is_seen || so->crop.w != s->width || so->crop.h != s->height, has_changed = is_new;
	const struct display_picture *p = &so->buffer->picture;
	const uint8_t *pixels;

	if (is_new && !begin(s, &so->crop)) {
		tell(s);
		return false;
	}
	display_refresh(s->display, s->scanout);
	pixels = display_buffer_map(so->buffer);
	if (!pixels) {
		s->is_seen = false;
		return false;
	}
	pixels += p->offset + (uint64_t)so->crop.y * p->stride + (uint64_t)so->crop.x * 4;
	for (unsigned i = 0; i < (is_new || !damage ? 1 : damage->n); i++) {
		struct display_rect r = is_new || !damage ? s->part : damage->rect[i];

		if (display_rect_clip(&r, &s->part)) {
			has_changed |= look_at(s, pixels, p, &r);
		}
	}
	if (has_changed) {
		s->since_ns = clock_now_ns();
	}
	if (is_new) {
		tell(s);
	}
	return !has_changed;
}

static void on_frame(void *ctx, unsigned scanout)
{
	struct display_still *s = ctx;

	if (scanout == s->scanout) {
		look(s, &s->sink.at[scanout].damage);
	}
	/* It has been looked at here and now: the next flush is the next call. */
	s->sink.at[scanout].has_frame = false;
	s->sink.at[scanout].damage.n = 0;
}

static void on_mode(void *ctx, unsigned scanout)
{
	struct display_still *s = ctx;

	if (scanout == s->scanout && !s->display->scanout[scanout].buffer) {
		s->is_seen = s->is_outside = false;
		tell(s);
	}
}

static const struct display_sink_ops sink_ops = {.mode = on_mode, .frame = on_frame};

void display_still_init(struct display_still *s, struct display *d, unsigned scanout, const struct display_rect *region, void (*news)(struct display_still *s))
{
	*s = (struct display_still){.display = d, .sink = {.ops = &sink_ops, .ctx = s}, .news = news, .scanout = scanout};
	if (region) {
		s->region = *region;
	}
	display_sink_add(d, &s->sink);
}

void display_still_finish(struct display_still *s)
{
	if (s->display) {
		display_sink_remove(s->display, &s->sink);
		free(s->sums);
		*s = (struct display_still){.display = NULL};
	}
}

bool display_still_for(const struct display_still *s, uint64_t ns, uint64_t now_ns, uint64_t *again_ns)
{
	*again_ns = s->is_seen ? s->since_ns + ns : 0;
	return s->is_seen && now_ns - s->since_ns >= ns;
}

bool display_still_holds(struct display_still *s)
{
	return s->is_seen && look(s, NULL);
}
