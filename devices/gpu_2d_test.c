/* SPDX-License-Identifier: MIT */
/* Pictures of virtio-gpu that are transferred, over real rings: what ends up on the screen, to the pixel, and the cursor on it. */
#include "devices/gpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/gpupic.h"

static struct gpudrv v;

#define OK(x) assert_int_equal(x, GPU_RESP_OK_NODATA)
#define ASSERT_SCREEN(scanout, w, h, x, y, seed) assert_int_equal(gpupic_screen_differs(&v, scanout, w, h, x, y, seed, GPUPIC_RIGHT), 0)

static struct display_rect rect(uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	return (struct display_rect){x, y, w, h};
}

static void test_gpu_every_format_to_the_pixel(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < GPUPIC_FORMATS; i++) {
		struct display_rect all = rect(0, 0, 61, 43);
		uint64_t brk = v.d.brk, mem = gpupic_make(&v, i + 1, gpupic_formats[i].format, 61, 43);

		gpupic_paint(&v, mem, gpupic_formats[i].order, 61 * 4, &all, i);
		OK(gpudrv_set_scanout(&v, 0, i + 1, all));
		OK(gpudrv_transfer(&v, i + 1, all, 0));
		OK(gpudrv_flush(&v, i + 1, all));
		ASSERT_SCREEN(0, 61, 43, 0, 0, i);
		/* The comparison would notice. */
		assert_true(gpupic_screen_differs(&v, 0, 61, 43, 0, 0, i, GPUPIC_FLIPPED) > 61 * 43 / 2);
		assert_true(gpupic_screen_differs(&v, 0, 61, 43, 0, 0, i, GPUPIC_MIRRORED) > 61 * 43 / 2);
		assert_true(gpupic_screen_differs(&v, 0, 61, 43, 0, 0, i, GPUPIC_SWAPPED) > 61 * 43 / 2);
		OK(gpudrv_unref(&v, i + 1));
		v.d.brk = brk;
	}
}

static void test_gpu_sizes_from_one_pixel_on(void **state)
{
	static const uint32_t sizes[][2] = {{1, 1}, {1, 300}, {300, 1}, {2, 3}, {255, 257}, {16384, 1}, {1, 16384}, {17, 13}};

	(void)state;
	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct display_rect all = rect(0, 0, sizes[i][0], sizes[i][1]);
		uint64_t brk = v.d.brk, mem = gpupic_make(&v, 1, GPU_FORMAT_B8G8R8X8, all.w, all.h);

		gpupic_paint(&v, mem, "BGRX", all.w * 4, &all, i);
		OK(gpudrv_transfer(&v, 1, all, 0));
		OK(gpudrv_set_scanout(&v, 0, 1, all));
		ASSERT_SCREEN(0, all.w, all.h, 0, 0, i);
		OK(gpudrv_unref(&v, 1));
		v.d.brk = brk;
	}
}

/* Pixels that are not as they were painted: @part with seed 2, the rest with seed 1. Rows of the pattern come again after @period. */
static unsigned wrong_pixels(unsigned scanout, const struct display_rect *crop, const struct display_rect *part, uint32_t period, enum gpupic_spoil spoil)
{
	uint32_t w, h;
	uint8_t *shot = gpudrv_shot(&v, scanout, true, &w, &h), *p = shot;
	unsigned n = 0;

	assert_non_null(shot);
	assert_int_equal(w, crop->w);
	assert_int_equal(h, crop->h);
	for (uint32_t i = 0; i < h; i++) {
		for (uint32_t k = 0; k < w; k++, p += 4) {
			uint32_t x = crop->x + (spoil == GPUPIC_MIRRORED ? w - 1 - k : k), y = crop->y + (spoil == GPUPIC_FLIPPED ? h - 1 - i : i);
			bool is_new = x >= part->x && x - part->x < part->w && y >= part->y && y - part->y < part->h;

			n += gpupic_differences(p, 1, 1, x, y % period, is_new ? 2 : 1, spoil == GPUPIC_SWAPPED ? GPUPIC_SWAPPED : GPUPIC_RIGHT);
		}
	}
	free(shot);
	return n;
}

/* A crop at the far end on one scanout, a part of it on the other; then a part of it is transferred anew. The largest have memory that comes again and again. */
static void check_size(uint32_t id, uint32_t format, const char *order, uint32_t width, uint32_t height)
{
	const uint32_t stride = width * 4, period = stride * height <= 1u << 19 ? height : (1u << 18) / stride;
	const struct display_rect rows = rect(0, 0, width, period), none = rect(0, 0, 0, 0);
	const uint32_t cw = width < 320 ? width : 320, ch = height < 320 ? height : 320;
	const struct display_rect crop = rect(width - cw, height - ch, cw, ch);
	const struct display_rect mirror = rect(crop.x + cw / 3, crop.y + ch / 4, (cw + 2) / 3, (ch + 1) / 2);
	const struct display_rect part = rect(crop.x + cw / 3, crop.y + ch / 5, (cw + 1) / 2, (ch + 1) / 2);
	static struct gpudrv_entry e[GPU_BACKING_ENTRIES_MAX];
	const uint64_t brk = v.d.brk, mem = tdrv_alloc(&v.d, stride * period, 16);

	assert_int_equal(height % period, 0);
	for (uint32_t i = 0; i < height / period; i++) {
		e[i] = (struct gpudrv_entry){.addr = mem, .len = stride * period};
	}
	OK(gpudrv_create(&v, id, format, width, height));
	OK(gpudrv_attach(&v, id, e, height / period));
	gpupic_paint(&v, mem, order, stride, &rows, 1);
	OK(gpudrv_set_scanout(&v, 0, id, crop));
	OK(gpudrv_set_scanout(&v, 1, id, mirror));
	OK(gpudrv_transfer(&v, id, crop, (uint64_t)crop.y * stride + 4ull * crop.x));
	OK(gpudrv_flush(&v, id, crop));
	assert_int_equal(wrong_pixels(0, &crop, &none, period, GPUPIC_RIGHT), 0);
	assert_int_equal(wrong_pixels(1, &mirror, &none, period, GPUPIC_RIGHT), 0);
	/* The comparison would notice. */
	assert_true(wrong_pixels(0, &crop, &none, period, GPUPIC_SWAPPED) > 0);
	assert_true(ch == 1 || wrong_pixels(0, &crop, &none, period, GPUPIC_FLIPPED) > 0);
	assert_true(cw == 1 || wrong_pixels(0, &crop, &none, period, GPUPIC_MIRRORED) > 0);
	gpupic_paint(&v, mem, order, stride, &rows, 2);
	OK(gpudrv_transfer(&v, id, part, (uint64_t)part.y * stride + 4ull * part.x));
	OK(gpudrv_flush(&v, id, part));
	assert_int_equal(wrong_pixels(0, &crop, &part, period, GPUPIC_RIGHT), 0);
	assert_int_equal(wrong_pixels(1, &mirror, &part, period, GPUPIC_RIGHT), 0);
	OK(gpudrv_unref(&v, id));
	v.d.brk = brk;
}

static int setup_large(void **state)
{
	(void)state;
	gpupic_begin(&v, 2, false, 320u << 20);
	return 0;
}

static void test_gpu_every_format_in_every_size(void **state)
{
	static const uint32_t sizes[][2] = {{1, 1}, {2, 3}, {1, 64}, {64, 1}, {15, 15}, {17, 16}, {333, 257}, {1024, 768}, {8192, 2}, {2, 8192}, {8192, 8192}};
	uint32_t id = 0;

	(void)state;
	for (uint32_t f = 0; f < GPUPIC_FORMATS; f++) {
		for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			check_size(++id, gpupic_formats[f].format, gpupic_formats[f].order, sizes[i][0], sizes[i][1]);
		}
	}
}

/* Only what was transferred changes, wherever it is. */
static void test_gpu_partial_transfers(void **state)
{
	const struct display_rect all = rect(0, 0, 50, 40);
	struct display_rect part;
	uint64_t mem = gpupic_make(&v, 1, GPU_FORMAT_R8G8B8A8, 50, 40);
	uint32_t w, h;
	uint8_t *shot;

	(void)state;
	OK(gpudrv_set_scanout(&v, 0, 1, all));
	gpupic_paint(&v, mem, "RGBA", 200, &all, 1);
	OK(gpudrv_transfer(&v, 1, all, 0));
	gpupic_paint(&v, mem, "RGBA", 200, &all, 2);
	srand(5);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t before;

		part.x = (uint32_t)rand() % 50;
		part.y = (uint32_t)rand() % 40;
		part.w = 1 + (uint32_t)rand() % (50 - part.x);
		part.h = 1 + (uint32_t)rand() % (40 - part.y);
		/* Back to the first picture, so that each round tells. */
		gpupic_paint(&v, mem, "RGBA", 200, &all, 1);
		OK(gpudrv_transfer(&v, 1, all, 0));
		gpupic_paint(&v, mem, "RGBA", 200, &all, 2);
		before = v.gpu.backend->copied_bytes;
		OK(gpudrv_transfer(&v, 1, part, 4ull * part.x + 200ull * part.y));
		assert_int_equal(v.gpu.backend->copied_bytes - before, 4ull * part.w * part.h);
		shot = gpudrv_shot(&v, 0, true, &w, &h);
		for (uint32_t y = 0; y < 40; y++) {
			for (uint32_t x = 0; x < 50; x++) {
				bool is_new = x >= part.x && x < part.x + part.w && y >= part.y && y < part.y + part.h;

				assert_int_equal(gpupic_differences(shot + 4 * (y * 50 + x), 1, 1, x, y, is_new ? 2 : 1, GPUPIC_RIGHT), 0);
			}
		}
		free(shot);
	}
}

/* `offset` says where in the backing the rectangle begins: libkrun ignores it. */
static void test_gpu_transfer_offset(void **state)
{
	const struct display_rect all = rect(0, 0, 20, 10), far = rect(0, 0, 20, 30);
	struct gpudrv_entry e = {.len = 20 * 4 * 30 + 60};
	uint64_t mem = tdrv_alloc(&v.d, e.len, 16);

	(void)state;
	e.addr = mem;
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 20, 10));
	OK(gpudrv_attach(&v, 1, &e, 1));
	OK(gpudrv_set_scanout(&v, 0, 1, all));
	/* The picture's row 0 is row 13 of what is in memory, which is 60 bytes off. */
	gpupic_paint(&v, mem + 60, "BGRA", 80, &far, 4);
	OK(gpudrv_transfer(&v, 1, all, 60 + 13 * 80));
	ASSERT_SCREEN(0, 20, 10, 0, 13, 4);
	/* A rectangle at (3, 2) from the pixel (5, 6) in memory. */
	OK(gpudrv_transfer(&v, 1, all, 60));
	OK(gpudrv_transfer(&v, 1, rect(3, 2, 4, 5), 60 + 6 * 80 + 5 * 4));
	{
		uint32_t w, h;
		uint8_t *shot = gpudrv_shot(&v, 0, true, &w, &h);

		for (uint32_t y = 0; y < 10; y++) {
			for (uint32_t x = 0; x < 20; x++) {
				bool moved = x >= 3 && x < 7 && y >= 2 && y < 7;

				assert_int_equal(gpupic_differences(shot + 4 * (y * 20 + x), 1, 1, moved ? x + 2 : x, moved ? y + 4 : y, 4, GPUPIC_RIGHT), 0);
			}
		}
		free(shot);
	}
}

/* Backing in pieces of any length in any order; pixels lie across their ends. */
static void test_gpu_scattered_backing(void **state)
{
	enum { W = 97, H = 53, LEN = W * H * 4 };
	static struct gpudrv_entry e[GPU_BACKING_ENTRIES_MAX];
	const struct display_rect all = rect(0, 0, W, H);
	uint64_t mem = tdrv_alloc(&v.d, LEN, 16), place = tdrv_alloc(&v.d, 3 * LEN, 16);
	uint32_t n = 0;

	(void)state;
	gpupic_paint(&v, mem, "ARGB", W * 4, &all, 9);
	srand(8);
	for (uint32_t at = 0, up = 0, down = 3 * LEN; at < LEN; n++) {
		uint32_t len = 1 + (uint32_t)rand() % 7, to;

		len = len < LEN - at ? len : LEN - at;
		/* Upwards from one end or downwards from the other, some next to each other, some with gaps. */
		if (rand() % 2) {
			to = up + (uint32_t)rand() % 2;
			up = to + len;
		} else {
			down -= len + (uint32_t)rand() % 2;
			to = down;
		}
		memcpy(tdrv_ptr(&v.d, place + to, len), tdrv_ptr(&v.d, mem + at, len), len);
		e[n] = (struct gpudrv_entry){.addr = place + to, .len = len};
		at += len;
	}
	assert_true(n > 4000);
	OK(gpudrv_create(&v, 1, GPU_FORMAT_A8R8G8B8, W, H));
	OK(gpudrv_attach(&v, 1, e, n));
	OK(gpudrv_set_scanout(&v, 0, 1, all));
	OK(gpudrv_transfer(&v, 1, all, 0));
	ASSERT_SCREEN(0, W, H, 0, 0, 9);
	/* And by rectangles. */
	memset(tdrv_ptr(&v.d, mem, LEN), 0, LEN);
	OK(gpudrv_transfer(&v, 1, rect(10, 20, 30, 33), 20 * W * 4 + 10 * 4));
	ASSERT_SCREEN(0, W, H, 0, 0, 9);
}

static void test_gpu_largest_number_of_pieces(void **state)
{
	static struct gpudrv_entry e[GPU_BACKING_ENTRIES_MAX];
	const struct display_rect all = rect(0, 0, 128, 128);
	/* A pixel each, none next to another, which would be one piece. */
	uint64_t mem = tdrv_alloc(&v.d, sizeof(uint32_t) * GPU_BACKING_ENTRIES_MAX, 16), apart = tdrv_alloc(&v.d, 2 * sizeof(uint32_t) * GPU_BACKING_ENTRIES_MAX, 16);

	(void)state;
	gpupic_paint(&v, mem, "BGRX", 512, &all, 3);
	for (uint32_t i = 0; i < GPU_BACKING_ENTRIES_MAX; i++) {
		e[i] = (struct gpudrv_entry){.addr = apart + 8 * i, .len = 4};
		memcpy(tdrv_ptr(&v.d, e[i].addr, 4), tdrv_ptr(&v.d, mem + 4 * i, 4), 4);
	}
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8X8, 128, 128));
	OK(gpudrv_attach(&v, 1, e, GPU_BACKING_ENTRIES_MAX));
	OK(gpudrv_set_scanout(&v, 0, 1, all));
	OK(gpudrv_transfer(&v, 1, all, 0));
	ASSERT_SCREEN(0, 128, 128, 0, 0, 3);
}

/* QEMU looks for each row's first byte from the first piece on. As many pieces as there can be, none of which is another's neighbour, and rows that do not follow each other. */
static void test_gpu_pieces_are_walked_once_for_all_rows(void **state)
{
	enum { SIDE = 128, STEPS_MAX = 2 * GPU_BACKING_ENTRIES_MAX + SIDE };
	static struct gpudrv_entry e[GPU_BACKING_ENTRIES_MAX];
	const struct display_rect all = rect(0, 0, SIDE, SIDE), most = rect(1, 0, SIDE - 2, SIDE), corner = rect(SIDE - 1, SIDE - 1, 1, 1);
	const struct gpu_layout layout = {GPU_FORMAT_B8G8R8X8, SIDE, SIDE, 4 * SIDE, 0};
	uint64_t mem = tdrv_alloc(&v.d, 4 * GPU_BACKING_ENTRIES_MAX, 16), flat = tdrv_alloc(&v.d, 4 * GPU_BACKING_ENTRIES_MAX, 16), before;

	(void)state;
	gpupic_paint(&v, flat, "BGRX", 4 * SIDE, &all, 3);
	for (uint32_t i = 0; i < GPU_BACKING_ENTRIES_MAX; i++) {
		e[i] = (struct gpudrv_entry){.addr = mem + 4ull * (GPU_BACKING_ENTRIES_MAX - 1 - i), .len = 4};
		memcpy(tdrv_ptr(&v.d, e[i].addr, 4), tdrv_ptr(&v.d, flat + 4ull * i, 4), 4);
	}
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8X8, SIDE, SIDE));
	OK(gpudrv_attach(&v, 1, e, GPU_BACKING_ENTRIES_MAX));
	OK(gpudrv_set_scanout(&v, 0, 1, most));
	OK(gpudrv_transfer(&v, 1, most, 4));
	ASSERT_SCREEN(0, SIDE - 2, SIDE, 1, 0, 3);
	/* A measure of nothing is none. */
	assert_in_range(v.gpu.backend->copy_steps, GPU_BACKING_ENTRIES_MAX, STEPS_MAX);
	before = v.gpu.backend->copy_steps;
	OK(gpudrv_transfer(&v, 1, all, 0));
	assert_in_range(v.gpu.backend->copy_steps - before, GPU_BACKING_ENTRIES_MAX, STEPS_MAX);
	before = v.gpu.backend->copy_steps;
	OK(gpudrv_transfer(&v, 1, corner, 4 * (SIDE * SIDE - 1)));
	assert_in_range(v.gpu.backend->copy_steps - before, 1, GPU_BACKING_ENTRIES_MAX);

	/* A blob, whose flush copies. */
	OK(gpudrv_create_blob(&v, 2, 4 * GPU_BACKING_ENTRIES_MAX, e, GPU_BACKING_ENTRIES_MAX));
	OK(gpudrv_set_scanout_blob(&v, 1, 2, most, &layout));
	before = v.gpu.backend->copy_steps;
	OK(gpudrv_flush(&v, 2, most));
	ASSERT_SCREEN(1, SIDE - 2, SIDE, 1, 0, 3);
	assert_in_range(v.gpu.backend->copy_steps - before, GPU_BACKING_ENTRIES_MAX, STEPS_MAX);
}

/* crosvm and libkrun ignore where the rectangle of a scanout is. */
static void test_gpu_crops_and_mirrors(void **state)
{
	const struct display_rect all = rect(0, 0, 120, 60);
	struct display_sink sink = {.ops = &(const struct display_sink_ops){.mode = NULL}};
	uint64_t mem = gpupic_make(&v, 1, GPU_FORMAT_X8B8G8R8, 120, 60);
	struct display_frame f;

	(void)state;
	gpupic_paint(&v, mem, "XBGR", 480, &all, 6);
	OK(gpudrv_transfer(&v, 1, all, 0));
	/* Two halves of one large picture. */
	OK(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 60, 60)));
	OK(gpudrv_set_scanout(&v, 1, 1, rect(60, 7, 60, 50)));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(0, 60, 60, 0, 0, 6);
	ASSERT_SCREEN(1, 60, 50, 60, 7, 6);
	/* The same on both. */
	OK(gpudrv_set_scanout(&v, 0, 1, all));
	OK(gpudrv_set_scanout(&v, 1, 1, all));
	ASSERT_SCREEN(0, 120, 60, 0, 0, 6);
	ASSERT_SCREEN(1, 120, 60, 0, 0, 6);
	/* Damage goes to each as it sees it. */
	OK(gpudrv_set_scanout(&v, 1, 1, rect(100, 50, 20, 10)));
	display_sink_add(&v.display, &sink);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(display_take(&v.display, &sink, i, &f));
		display_buffer_unref(f.buffer);
	}
	OK(gpudrv_flush(&v, 1, rect(95, 48, 10, 5)));
	assert_true(display_take(&v.display, &sink, 0, &f));
	assert_memory_equal(&f.damage.rect[0], (&(struct display_rect){95, 48, 10, 5}), sizeof(struct display_rect));
	display_buffer_unref(f.buffer);
	assert_true(display_take(&v.display, &sink, 1, &f));
	assert_memory_equal(&f.damage.rect[0], (&(struct display_rect){0, 0, 5, 3}), sizeof(struct display_rect));
	display_buffer_unref(f.buffer);
	OK(gpudrv_flush(&v, 1, rect(0, 0, 10, 10)));
	assert_false(display_take(&v.display, &sink, 1, &f));
	display_sink_remove(&v.display, &sink);
}

static void test_gpu_page_flips(void **state)
{
	const struct display_rect all = rect(0, 0, 64, 32);
	uint64_t mem[2] = {gpupic_make(&v, 1, GPU_FORMAT_B8G8R8X8, 64, 32), gpupic_make(&v, 2, GPU_FORMAT_B8G8R8X8, 64, 32)};
	uint64_t used = 0;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		gpupic_paint(&v, mem[i % 2], "BGRX", 256, &all, i);
		OK(gpudrv_transfer(&v, 1 + i % 2, all, 0));
		OK(gpudrv_set_scanout(&v, 0, 1 + i % 2, all));
		OK(gpudrv_flush(&v, 1 + i % 2, all));
		ASSERT_SCREEN(0, 64, 32, 0, 0, i);
		if (i == 1) {
			used = v.display.budget.used;
		}
	}
	/* Nothing is taken for a frame. */
	assert_int_equal(v.display.budget.used, used);
}

static void test_gpu_scanout_off_and_resource_gone(void **state)
{
	const struct display_rect all = rect(0, 0, 16, 16);
	uint32_t w, h;

	(void)state;
	gpupic_make(&v, 1, GPU_FORMAT_B8G8R8X8, 16, 16);
	OK(gpudrv_set_scanout(&v, 0, 1, all));
	OK(gpudrv_set_scanout(&v, 1, 1, all));
	OK(gpudrv_set_scanout(&v, 0, 0, rect(0, 0, 0, 0)));
	assert_null(gpudrv_shot(&v, 0, true, &w, &h));
	OK(gpudrv_set_scanout(&v, 0, 1, all));
	OK(gpudrv_set_scanout(&v, 0, 1, rect(3, 3, 0, 5))); /* of no size: the same */
	assert_null(gpudrv_shot(&v, 0, true, &w, &h));
	OK(gpudrv_set_scanout(&v, 0, 0, all)); /* twice is no mistake */
	OK(gpudrv_unref(&v, 1));
	assert_null(gpudrv_shot(&v, 1, true, &w, &h));
	OK(gpudrv_set_scanout(&v, 0, 0, rect(0, 0, 0, 0)));
	assert_int_equal(v.display.budget.used, 0);
}

static void test_gpu_new_resource_is_black(void **state)
{
	uint32_t w, h;
	uint8_t *shot;

	(void)state;
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 100, 100));
	OK(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 100, 100)));
	shot = gpudrv_shot(&v, 0, true, &w, &h);
	for (unsigned i = 0; i < 100 * 100; i++) {
		assert_memory_equal(shot + 4ul * i, "\0\0\0\xff", 4);
	}
	free(shot);
}

static void test_gpu_cursor_image_hot_spot_and_place(void **state)
{
	const struct display_rect all = rect(0, 0, 64, 64);
	const struct display_cursor *c = &v.display.scanout[1].cursor;

	(void)state;
	for (uint32_t i = 0; i < GPUPIC_FORMATS; i++) {
		uint64_t brk = v.d.brk, mem = gpupic_make(&v, 1, gpupic_formats[i].format, 64, 64);

		gpupic_paint(&v, mem, gpupic_formats[i].order, 256, &all, i);
		OK(gpudrv_transfer(&v, 1, all, 0));
		OK(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, 1, 1, -5, 400, 11, 12));
		assert_true(c->visible);
		assert_int_equal(c->x, -5);
		assert_int_equal(c->y, 400);
		assert_int_equal(c->hot_x, 11);
		assert_int_equal(c->hot_y, 12);
		for (uint32_t y = 0; y < 64; y++) {
			for (uint32_t x = 0; x < 64; x++) {
				/* Where a format has X, Linux has painted alpha all the same. */
				assert_int_equal(c->image[y * 64 + x], gpupic_pixel(x, y, i));
			}
		}
		OK(gpudrv_unref(&v, 1));
		v.d.brk = brk;
	}
	/* The image was copied: it stays when the resource is gone. */
	assert_true(c->visible);
	OK(gpudrv_cursor(&v, GPU_CMD_MOVE_CURSOR, 1, 99, 70, 80, 0, 0));
	assert_int_equal(c->x, 70);
	assert_int_equal(c->hot_x, 11);
	OK(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, 1, 0, 1, 2, 0, 0));
	assert_false(c->visible);
	assert_false(v.display.scanout[0].cursor.visible);
}

/* Linux leaves no room for an answer there. */
static void test_gpu_cursor_commands_need_no_answer(void **state)
{
	(void)state;
	v.out_room = 0;
	assert_int_equal(gpudrv_cursor(&v, GPU_CMD_MOVE_CURSOR, 0, 0, 3, 4, 0, 0), 0);
	assert_int_equal(v.out_len, 0);
	assert_int_equal(v.display.scanout[0].cursor.x, 3);
}

#define T(name) cmocka_unit_test_prestate_setup_teardown(name, gpupic_setup, gpupic_teardown, &v)
#define T2(name) cmocka_unit_test_prestate_setup_teardown(name, gpupic_setup_two, gpupic_teardown, &v)
#define TB(name) cmocka_unit_test_prestate_setup_teardown(name, gpupic_setup_blob, gpupic_teardown, &v)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_gpu_every_format_to_the_pixel),
		T(test_gpu_sizes_from_one_pixel_on),
		cmocka_unit_test_prestate_setup_teardown(test_gpu_every_format_in_every_size, setup_large, gpupic_teardown, &v),
		T(test_gpu_partial_transfers),
		T(test_gpu_transfer_offset),
		T(test_gpu_scattered_backing),
		T(test_gpu_largest_number_of_pieces),
		TB(test_gpu_pieces_are_walked_once_for_all_rows),
		T2(test_gpu_crops_and_mirrors),
		T(test_gpu_page_flips),
		T2(test_gpu_scanout_off_and_resource_gone),
		T(test_gpu_new_resource_is_black),
		T2(test_gpu_cursor_image_hot_spot_and_place),
		T(test_gpu_cursor_commands_need_no_answer),
	};

	return cmocka_run_group_tests_name("gpu_2d", tests, NULL, NULL);
}
