/* SPDX-License-Identifier: MIT */
/* Rectangles against a bitmap that is painted the plain way. */
#include "display/damage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_damage_inside_at_every_edge(void **state)
{
	static const struct {
		struct display_rect r;
		bool inside;
	} rows[] = {
		{{0, 0, 10, 20}, true}, {{9, 19, 1, 1}, true}, {{0, 0, 11, 20}, false}, {{0, 0, 10, 21}, false}, {{10, 0, 1, 1}, false}, {{0, 20, 1, 1}, false},
		{{1, 0, 10, 1}, false}, {{0, 1, 1, 20}, false}, {{0, 0, 0, 1}, false}, {{0, 0, 1, 0}, false}, {{UINT32_MAX, 0, 2, 1}, false},
		{{1, 0, UINT32_MAX, 1}, false}, {{0, UINT32_MAX, 1, 2}, false}, {{0, 1, 1, UINT32_MAX}, false}, {{UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(display_rect_is_inside(&rows[i].r, 10, 20), rows[i].inside);
	}
	assert_false(display_rect_is_inside(&rows[0].r, 0, 0));
}

static void test_damage_clip_takes_any_numbers(void **state)
{
	const struct display_rect to = {10, 20, 30, 40};
	static const struct {
		struct display_rect r, want;
	} rows[] = {
		{{0, 0, 100, 100}, {10, 20, 30, 40}}, {{0, 0, UINT32_MAX, UINT32_MAX}, {10, 20, 30, 40}}, {{15, 25, 5, 5}, {15, 25, 5, 5}},
		{{39, 59, UINT32_MAX, UINT32_MAX}, {39, 59, 1, 1}}, {{5, 5, 6, 16}, {10, 20, 1, 1}}, {{12, 0, 3, 21}, {12, 20, 3, 1}},
	};
	static const struct display_rect outside[] = {{40, 20, 5, 5}, {10, 60, 5, 5}, {0, 0, 10, 100}, {0, 0, 100, 20}, {15, 25, 0, 5}, {15, 25, 5, 0},
		{UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}, {UINT32_MAX - 3, 25, 20, 20}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct display_rect r = rows[i].r;

		assert_true(display_rect_clip(&r, &to));
		assert_memory_equal(&r, &rows[i].want, sizeof(r));
	}
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		struct display_rect r = outside[i];

		assert_false(display_rect_clip(&r, &to));
	}
}

static void test_damage_of_lines_melts_into_one(void **state)
{
	struct display_damage d = {.n = 0};

	(void)state;
	for (uint32_t y = 0; y < 100; y++) {
		display_damage_add(&d, &(struct display_rect){5, 99 - y, 50, 1});
	}
	assert_int_equal(d.n, 1);
	assert_memory_equal(&d.rect[0], (&(struct display_rect){5, 0, 50, 100}), sizeof(d.rect[0]));
	display_damage_add(&d, &(struct display_rect){10, 10, 5, 5});
	display_damage_add(&d, &(struct display_rect){0, 0, 0, 5});
	assert_int_equal(d.n, 1);
	/* One that covers the rest takes its place. */
	display_damage_add(&d, &(struct display_rect){200, 200, 1, 1});
	assert_int_equal(d.n, 2);
	display_damage_add(&d, &(struct display_rect){0, 0, 300, 300});
	assert_int_equal(d.n, 1);
	assert_int_equal(d.rect[0].w, 300);
}

static void test_damage_far_apart_stays_apart(void **state)
{
	struct display_damage d = {.n = 0};

	(void)state;
	display_damage_add(&d, &(struct display_rect){0, 0, 10, 10});
	display_damage_add(&d, &(struct display_rect){1000, 700, 10, 10});
	assert_int_equal(d.n, 2);
	/* Side by side, but of other heights: melting would add pixels. */
	display_damage_add(&d, &(struct display_rect){10, 0, 10, 11});
	assert_int_equal(d.n, 3);
}

static void test_damage_full_list_melts_the_cheapest(void **state)
{
	struct display_damage d = {.n = 0};
	uint64_t area = 0;

	(void)state;
	/* A grid of far places, and one next to the first with a gap of one pixel. */
	for (uint32_t i = 0; i < DISPLAY_DAMAGE_MAX; i++) {
		display_damage_add(&d, &(struct display_rect){100 * (i % 4), 100 * (i / 4), 10, 10});
	}
	assert_int_equal(d.n, DISPLAY_DAMAGE_MAX);
	display_damage_add(&d, &(struct display_rect){11, 0, 10, 10});
	assert_int_equal(d.n, DISPLAY_DAMAGE_MAX);
	for (unsigned i = 0; i < d.n; i++) {
		area += display_rect_area(&d.rect[i]);
	}
	assert_int_equal(area, DISPLAY_DAMAGE_MAX * 100 + 110);
	/* The near one is in the list already, and the far one comes last. */
	d.n = 0;
	area = 0;
	display_damage_add(&d, &(struct display_rect){11, 0, 10, 10});
	for (uint32_t i = 0; i < DISPLAY_DAMAGE_MAX; i++) {
		display_damage_add(&d, &(struct display_rect){100 * (i % 4), 100 * (i / 4), 10, 10});
	}
	for (unsigned i = 0; i < d.n; i++) {
		area += display_rect_area(&d.rect[i]);
	}
	assert_int_equal(area, (DISPLAY_DAMAGE_MAX - 1) * 100 + 210);
}

/* Whatever is added stays covered, the list stays short, and says no more than the box around everything. */
static void test_damage_covers_all_that_was_added(void **state)
{
	enum { W = 64, H = 48 };
	static uint8_t want[W * H], have[W * H];

	(void)state;
	srand(3);
	for (unsigned round = 0; round < 500; round++) {
		struct display_damage d = {.n = 0};
		unsigned n = (unsigned)rand() % 60;
		bool is_dense = round % 2;

		memset(want, 0, sizeof(want));
		memset(have, 0, sizeof(have));
		for (unsigned i = 0; i < n; i++) {
			struct display_rect r = {.x = (uint32_t)rand() % W, .y = (uint32_t)rand() % H};

			r.w = (uint32_t)rand() % (is_dense ? W - r.x + 1 : 3);
			r.h = (uint32_t)rand() % (is_dense ? H - r.y + 1 : 3);
			r.w = r.w < W - r.x ? r.w : W - r.x;
			r.h = r.h < H - r.y ? r.h : H - r.y;
			display_damage_add(&d, &r);
			for (uint32_t p = 0; p < r.w * r.h; p++) {
				want[(r.y + p / r.w) * W + r.x + p % r.w] = 1;
			}
			assert_true(d.n <= DISPLAY_DAMAGE_MAX);
		}
		for (unsigned i = 0; i < d.n; i++) {
			assert_true(display_rect_is_inside(&d.rect[i], W, H));
			for (uint32_t p = 0; p < d.rect[i].w * d.rect[i].h; p++) {
				have[(d.rect[i].y + p / d.rect[i].w) * W + d.rect[i].x + p % d.rect[i].w] = 1;
			}
		}
		for (unsigned i = 0; i < W * H; i++) {
			assert_true(have[i] >= want[i]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_damage_inside_at_every_edge),
		cmocka_unit_test(test_damage_clip_takes_any_numbers),
		cmocka_unit_test(test_damage_of_lines_melts_into_one),
		cmocka_unit_test(test_damage_far_apart_stays_apart),
		cmocka_unit_test(test_damage_full_list_melts_the_cheapest),
		cmocka_unit_test(test_damage_covers_all_that_was_added),
	};

	return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
