/* SPDX-License-Identifier: MIT */
/* What a screenshot has in it, pixel by pixel: formats, crops, strides, and the cursor on top. */
#include "display/screenshot.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/log.h"

static struct loop loop;
static struct display d;

static int setup(void **state)
{
	static const struct display_output output = {.enabled = true, .width = 640, .height = 480, .refresh_hz = 60};

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	display_init(&d, &loop, &output, 1, 1u << 24);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	display_finish(&d);
	loop_finish(&loop);
	return 0;
}

/* A different colour for each pixel, and for each component. */
static void color_at(uint32_t x, uint32_t y, uint8_t rgb[3])
{
	rgb[0] = (uint8_t)(3 * x + 1);
	rgb[1] = (uint8_t)(5 * y + 2);
	rgb[2] = (uint8_t)(7 * x + 11 * y + 3);
}

/* Shows a picture whose bytes are in the order @order ("RGBA"), with @extra bytes behind each row and @offset before all. */
static void show(uint32_t fourcc, const char *order, uint32_t width, uint32_t height, uint32_t extra, uint64_t offset, const struct display_rect *crop)
{
	struct display_picture p = {.fourcc = fourcc, .width = width, .height = height, .stride = width * 4 + extra, .offset = offset};
	struct display_buffer *buffer;
	uint8_t *map, rgb[3];

	p.len = offset + (uint64_t)p.stride * height;
	p.fd = display_memfd("test", p.len, &map);
	assert_true(p.fd >= 0);
	memset(map, 0xdd, p.len);
	for (uint32_t y = 0; y < height; y++) {
		for (uint32_t x = 0; x < width; x++) {
			color_at(x, y, rgb);
			for (unsigned c = 0; c < 4; c++) {
				/* Alpha, and what stands for none, says nothing on a scanout. */
				map[offset + (uint64_t)y * p.stride + 4ull * x + c] = order[c] == 'R' ? rgb[0] : order[c] == 'G' ? rgb[1] : order[c] == 'B' ? rgb[2] : (uint8_t)x;
			}
		}
	}
	munmap(map, p.len);
	assert_true(display_budget_take(&d.budget, p.len));
	buffer = display_buffer_create(&p, &d.budget, p.len);
	display_show(&d, 0, buffer, crop);
	display_buffer_unref(buffer);
}

static const uint8_t *map_shot(const struct display_shot *s)
{
	const uint8_t *p = mmap(NULL, (size_t)s->stride * s->height, PROT_READ, MAP_SHARED, s->fd, 0);

	assert_true(p != MAP_FAILED);
	close(s->fd);
	return p;
}

static void expect_pixel(const struct display_shot *s, const uint8_t *pixels, uint32_t x, uint32_t y, const uint8_t rgb[3])
{
	const uint8_t *p = pixels + (size_t)y * s->stride + 4 * (size_t)x;

	assert_int_equal(p[0], rgb[2]);
	assert_int_equal(p[1], rgb[1]);
	assert_int_equal(p[2], rgb[0]);
	assert_int_equal(p[3], 255);
}

static void test_screenshot_of_every_format(void **state)
{
	static const struct {
		uint32_t fourcc;
		const char *order;
	} rows[] = {
		{DISPLAY_ARGB8888, "BGRA"}, {DISPLAY_XRGB8888, "BGRX"}, {DISPLAY_BGRA8888, "ARGB"}, {DISPLAY_BGRX8888, "XRGB"},
		{DISPLAY_ABGR8888, "RGBA"}, {DISPLAY_XBGR8888, "RGBX"}, {DISPLAY_RGBA8888, "ABGR"}, {DISPLAY_RGBX8888, "XBGR"},
	};
	const struct display_rect crop = {2, 1, 19, 11};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct display_shot s;
		const uint8_t *pixels;
		uint8_t rgb[3];

		show(rows[i].fourcc, rows[i].order, 23, 13, 4 * (uint32_t)i, 16 * i, &crop);
		assert_true(display_format_is_known(rows[i].fourcc));
		assert_int_equal(display_screenshot(&d, 0, true, &s), 0);
		assert_int_equal(s.width, 19);
		assert_int_equal(s.height, 11);
		assert_int_equal(s.stride, 76);
		pixels = map_shot(&s);
		for (uint32_t y = 0; y < s.height; y++) {
			for (uint32_t x = 0; x < s.width; x++) {
				color_at(x + 2, y + 1, rgb);
				expect_pixel(&s, pixels, x, y, rgb);
			}
		}
		munmap((void *)(uintptr_t)pixels, (size_t)s.stride * s.height);
	}
	assert_false(display_format_is_known(DISPLAY_FOURCC('N', 'V', '1', '2')));
}

static void test_screenshot_of_nothing(void **state)
{
	struct display_shot s;

	(void)state;
	assert_int_equal(display_screenshot(&d, 0, true, &s), -ENOENT);
}

static uint8_t over(uint32_t above, uint32_t below, uint32_t alpha)
{
	uint32_t v = above + (below * (255 - alpha) + 127) / 255;

	return (uint8_t)(v > 255 ? 255 : v);
}

/* The cursor covers what it covers, by alpha, and is cut off at every edge. */
static void test_screenshot_cursor_at_the_edges(void **state)
{
	static const struct {
		int32_t x, y;
	} places[] = {{10, 20}, {-30, 5}, {60, 70}, {5, -63}, {-63, -63}, {99, 79}, {-64, 0}, {0, -64}, {100, 0}, {0, 80}, {INT32_MIN, INT32_MIN}, {INT32_MAX, INT32_MAX}};
	static uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE];
	const struct display_rect all = {0, 0, 100, 80};

	(void)state;
	show(DISPLAY_XRGB8888, "BGRX", 100, 80, 0, 0, &all);
	for (uint32_t i = 0; i < DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE; i++) {
		uint32_t alpha = i % 256;

		image[i] = alpha << 24 | (alpha / 2) << 16 | (alpha / 3) << 8 | (i % 64 == 63 ? 255 : alpha);
	}
	display_set_cursor(&d, 0, image, 0, 0);
	for (size_t n = 0; n < sizeof(places) / sizeof(places[0]); n++) {
		struct display_shot s;
		const uint8_t *pixels;

		display_move_cursor(&d, 0, places[n].x, places[n].y);
		assert_int_equal(display_screenshot(&d, 0, true, &s), 0);
		pixels = map_shot(&s);
		for (uint32_t y = 0; y < 80; y++) {
			for (uint32_t x = 0; x < 100; x++) {
				int64_t cx = (int64_t)x - places[n].x, cy = (int64_t)y - places[n].y;
				uint8_t rgb[3];

				color_at(x, y, rgb);
				if (cx >= 0 && cx < 64 && cy >= 0 && cy < 64) {
					uint32_t p = image[cy * 64 + cx];

					rgb[0] = over(p >> 16 & 255, rgb[0], p >> 24);
					rgb[1] = over(p >> 8 & 255, rgb[1], p >> 24);
					rgb[2] = over(p & 255, rgb[2], p >> 24);
				}
				expect_pixel(&s, pixels, x, y, rgb);
			}
		}
		munmap((void *)(uintptr_t)pixels, (size_t)s.stride * s.height);
	}
}

static void test_screenshot_without_cursor_or_with_none(void **state)
{
	static uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE];
	const struct display_rect all = {0, 0, 70, 70};

	(void)state;
	show(DISPLAY_XRGB8888, "BGRX", 70, 70, 0, 0, &all);
	memset(image, 0xff, sizeof(image));
	display_set_cursor(&d, 0, image, 0, 0);
	for (unsigned round = 0; round < 2; round++) {
		struct display_shot s;
		const uint8_t *pixels;
		uint8_t rgb[3];

		assert_int_equal(display_screenshot(&d, 0, round == 1, &s), 0);
		pixels = map_shot(&s);
		color_at(1, 1, rgb);
		expect_pixel(&s, pixels, 1, 1, rgb);
		munmap((void *)(uintptr_t)pixels, (size_t)s.stride * s.height);
		display_set_cursor(&d, 0, NULL, 0, 0);
	}
}

/* It stays as it was when the guest paints on. */
static void test_screenshot_is_a_copy(void **state)
{
	const struct display_rect all = {0, 0, 8, 8};
	struct display_shot first, second;
	const uint8_t *pixels;
	uint8_t rgb[3];

	(void)state;
	show(DISPLAY_XRGB8888, "BGRX", 8, 8, 0, 0, &all);
	display_flush(&d, 0, &all);
	assert_int_equal(display_screenshot(&d, 0, true, &first), 0);
	assert_int_equal(first.frame, 1);
	show(DISPLAY_XRGB8888, "RGBX", 8, 8, 0, 0, &all);
	display_flush(&d, 0, &all);
	assert_int_equal(display_screenshot(&d, 0, true, &second), 0);
	assert_int_equal(second.frame, 2);
	assert_int_equal(pwrite(first.fd, "x", 1, 0), -1);
	pixels = map_shot(&first);
	color_at(5, 6, rgb);
	expect_pixel(&first, pixels, 5, 6, rgb);
	munmap((void *)(uintptr_t)pixels, 256);
	pixels = map_shot(&second);
	expect_pixel(&second, pixels, 5, 6, (const uint8_t[]){rgb[2], rgb[1], rgb[0]});
	munmap((void *)(uintptr_t)pixels, 256);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_screenshot_of_every_format),
		T(test_screenshot_of_nothing),
		T(test_screenshot_cursor_at_the_edges),
		T(test_screenshot_without_cursor_or_with_none),
		T(test_screenshot_is_a_copy),
	};

	return cmocka_run_group_tests_name("screenshot", tests, NULL, NULL);
}
