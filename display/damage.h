/* SPDX-License-Identifier: MIT */
/*
 * Rectangles, and a short list of them that says what of a picture has changed.
 *
 * Thread: any; a list belongs to whoever has it.
 */
#ifndef DISPLAY_DAMAGE_H
#define DISPLAY_DAMAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Pixels, from the upper left corner. */
struct display_rect {
	uint32_t x, y, w, h;
};

/* True when it is not empty and wholly inside @w x @h. Any numbers. */
bool display_rect_is_inside(const struct display_rect *r, uint32_t w, uint32_t h);
/* Cuts off what is not in @to, whose sides do not overflow. Return: whether anything is left. Any numbers in @r. */
bool display_rect_clip(struct display_rect *r, const struct display_rect *to);
uint64_t display_rect_area(const struct display_rect *r);

/* As many as a message of the viewer protocol has room for. */
#define DISPLAY_DAMAGE_MAX 16

/* Zeroed memory is nothing. Rectangles may overlap. */
struct display_damage {
	unsigned n;
	struct display_rect rect[DISPLAY_DAMAGE_MAX];
};

/**
 * display_damage_add - one more rectangle
 * @r: its sides do not overflow; an empty one adds nothing
 *
 * What the list covers covers @r afterwards, and everything it covered. Neighbours melt into one where that adds no pixel; a list that is full melts the two that add
 * the fewest.
 * Complexity: O(DISPLAY_DAMAGE_MAX^2).
 */
void display_damage_add(struct display_damage *d, const struct display_rect *r);

#endif
