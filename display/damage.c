/* SPDX-License-Identifier: MIT */
#include "display/damage.h"

#include <stddef.h>

bool display_rect_is_inside(const struct display_rect *r, uint32_t w, uint32_t h)
{
	return r->w > 0 && r->h > 0 && r->x < w && r->y < h && r->w <= w - r->x && r->h <= h - r->y;
}

/* The part of @at .. @at + @len inside @from .. @from + @n. */
static uint32_t clip_side(uint32_t *at, uint32_t len, uint32_t from, uint32_t n)
{
	uint64_t end = (uint64_t)*at + len, limit = (uint64_t)from + n, start = *at > from ? *at : from;

	end = end < limit ? end : limit;
	*at = (uint32_t)start;
	return end > start ? (uint32_t)(end - start) : 0;
}

bool display_rect_clip(struct display_rect *r, const struct display_rect *to)
{
	r->w = clip_side(&r->x, r->w, to->x, to->w);
	r->h = clip_side(&r->y, r->h, to->y, to->h);
	return r->w > 0 && r->h > 0;
}

uint64_t display_rect_area(const struct display_rect *r)
{
	return (uint64_t)r->w * r->h;
}

static bool covers(const struct display_rect *a, const struct display_rect *b)
{
	return a->x <= b->x && a->y <= b->y && b->x + b->w <= a->x + a->w && b->y + b->h <= a->y + a->h;
}

static struct display_rect both(const struct display_rect *a, const struct display_rect *b)
{
	uint32_t right = a->x + a->w > b->x + b->w ? a->x + a->w : b->x + b->w;
	uint32_t bottom = a->y + a->h > b->y + b->h ? a->y + a->h : b->y + b->h;
	struct display_rect r = {.x = a->x < b->x ? a->x : b->x, .y = a->y < b->y ? a->y : b->y};

	r.w = right - r.x;
	r.h = bottom - r.y;
	return r;
}

/* Pixels that melting the two would add; negative where they overlap. */
static int64_t cost(const struct display_rect *a, const struct display_rect *b)
{
	struct display_rect r = both(a, b);

	return (int64_t)display_rect_area(&r) - (int64_t)display_rect_area(a) - (int64_t)display_rect_area(b);
}

static void drop(struct display_damage *d, unsigned i)
{
	d->rect[i] = d->rect[--d->n];
}

/* Melts @r and everything it may be melted with for nothing. */
static struct display_rect melt(struct display_damage *d, struct display_rect r)
{
	for (unsigned i = 0; i < d->n;) {
		if (covers(&r, &d->rect[i]) || cost(&r, &d->rect[i]) <= 0) {
			r = both(&r, &d->rect[i]);
			drop(d, i);
			/* It has grown: the ones before may do now. */
			i = 0;
		} else {
			i++;
		}
	}
	return r;
}

/* Melts the cheapest two of the list and @r. Return: what is not in the list then. */
static struct display_rect make_room(struct display_damage *d, const struct display_rect *r)
{
	struct display_rect merged;
	unsigned a = 0, b = d->n; /* b == d->n: @r itself */
	int64_t best = INT64_MAX;

	for (unsigned i = 0; i < d->n; i++) {
		for (unsigned j = i + 1; j <= d->n; j++) {
			int64_t c = cost(&d->rect[i], j == d->n ? r : &d->rect[j]);

			if (c < best) {
				best = c;
				a = i;
				b = j;
			}
		}
	}
	merged = both(&d->rect[a], b == d->n ? r : &d->rect[b]);
	if (b == d->n) {
		drop(d, a);
		return merged;
	}
	drop(d, b);
	d->rect[a] = *r;
	return merged;
}

void display_damage_add(struct display_damage *d, const struct display_rect *r)
{
	struct display_rect rest = *r;

	if (display_rect_area(r) == 0) {
		return;
	}
	for (unsigned i = 0; i < d->n; i++) {
		if (covers(&d->rect[i], r)) {
			return;
		}
	}
	rest = melt(d, rest);
	while (d->n == DISPLAY_DAMAGE_MAX) {
		rest = make_room(d, &rest);
		rest = melt(d, rest);
	}
	d->rect[d->n++] = rest;
}
