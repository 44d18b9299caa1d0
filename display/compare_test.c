/* SPDX-License-Identifier: MIT */
/* Pictures beside each other. */
#include "display/compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define W 7
#define H 5

static uint8_t one[H][W][4], other[H][W + 3][4];
static const struct display_pixels a = {&one[0][0][0], W, H, W * 4};
static struct display_pixels b;
static const struct display_rect whole = {0, 0, W, H};

static int set_up(void **state)
{
	(void)state;
	b = (struct display_pixels){&other[0][0][0], W, H, (W + 3) * 4};
	for (unsigned y = 0; y < H; y++) {
		for (unsigned x = 0; x < W; x++) {
			for (unsigned c = 0; c < 4; c++) {
				one[y][x][c] = (uint8_t)(y * 40 + x * 5 + c);
				other[y][x][c] = one[y][x][c];
			}
		}
	}
	return 0;
}

static void test_display_compare_counts_pixels_once(void **state)
{
	(void)state;
	assert_int_equal(display_compare(&a, &b, &whole, 0), 0);
	other[2][3][0]++;
	other[2][3][2]++;
	other[4][6][1]--;
	assert_int_equal(display_compare(&a, &b, &whole, 0), 2);
	assert_int_equal(display_compare(&b, &a, &whole, 0), 2);
}

static void test_display_compare_the_fourth_byte_says_nothing(void **state)
{
	(void)state;
	other[0][0][3] ^= 0xff;
	assert_int_equal(display_compare(&a, &b, &whole, 0), 0);
}

static void test_display_compare_tolerates_what_it_is_told_to(void **state)
{
	(void)state;
	other[1][1][1] = (uint8_t)(one[1][1][1] + 8);
	assert_int_equal(display_compare(&a, &b, &whole, 7), 1);
	assert_int_equal(display_compare(&a, &b, &whole, 8), 0);
	other[1][1][1] = (uint8_t)(one[1][1][1] - 8);
	assert_int_equal(display_compare(&a, &b, &whole, 7), 1);
	assert_int_equal(display_compare(&a, &b, &whole, 8), 0);
}

static void test_display_compare_looks_at_the_region_only(void **state)
{
	static const struct display_rect r = {1, 1, 3, 2};

	(void)state;
	memset(other, 0xee, sizeof(other));
	assert_int_equal(display_compare(&a, &b, &r, 0), 6);
	for (unsigned y = 1; y < 3; y++) {
		memcpy(other[y][1], one[y][1], (size_t)3 * 4);
	}
	assert_int_equal(display_compare(&a, &b, &r, 0), 0);
}

static void test_display_compare_what_is_outside_differs(void **state)
{
	static const struct display_rect beyond = {W - 1, H - 1, 10, 10}, far = {100, 100, 2, 2}, end = {UINT32_MAX, UINT32_MAX, 1, 1};

	(void)state;
	assert_int_equal(display_compare(&a, &b, &beyond, 0), 99);
	assert_int_equal(display_compare(&a, &b, &far, 255), 4);
	assert_int_equal(display_compare(&a, &b, &end, 255), 1);
	b.height = H - 1;
	assert_int_equal(display_compare(&a, &b, &whole, 255), W);
}

static void test_display_paint_difference_shows_which(void **state)
{
	static const struct display_rect r = {0, 0, W, 2};
	uint8_t rgb[H][W][3];

	(void)state;
	other[1][2][0] ^= 0x80;
	other[3][3][0] ^= 0x80; /* not in the region */
	display_paint_difference(&a, &b, &r, 0, &rgb[0][0][0]);
	for (unsigned y = 0; y < H; y++) {
		for (unsigned x = 0; x < W; x++) {
			bool is_red = rgb[y][x][0] == 255 && rgb[y][x][1] == 0 && rgb[y][x][2] == 0;

			assert_int_equal(is_red, y == 1 && x == 2);
			assert_true(is_red || (rgb[y][x][0] == rgb[y][x][1] && rgb[y][x][1] == rgb[y][x][2] && rgb[y][x][0] < 128));
		}
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, set_up)
	static const struct CMUnitTest tests[] = {
		T(test_display_compare_counts_pixels_once),
		T(test_display_compare_the_fourth_byte_says_nothing),
		T(test_display_compare_tolerates_what_it_is_told_to),
		T(test_display_compare_looks_at_the_region_only),
		T(test_display_compare_what_is_outside_differs),
		T(test_display_paint_difference_shows_which),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
