/* SPDX-License-Identifier: MIT */
/* virtio-gpu over real rings: what a well-behaved driver sees and what ends up on the screen, to the pixel. */
#include "devices/gpu.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/gpudrv.h"
#include "vmm/clock.h"
#include "vmm/log.h"

/* gcc has the one before its version 14, clang and later ones the other. */
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/allocator_interface.h>
#endif

static struct gpudrv v;
static unsigned lines_logged;

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
	lines_logged++;
}

static void begin(unsigned scanouts, bool blob)
{
	gpudrv_init(&v, scanouts, &(struct gpu_options){.blob = blob}, GPUDRV_BUDGET);
	lines_logged = 0;
	log_set_hook(on_log);
}

static int setup(void **state)
{
	(void)state;
	begin(1, false);
	return 0;
}

static int setup_two(void **state)
{
	(void)state;
	begin(2, false);
	return 0;
}

static int setup_blob(void **state)
{
	(void)state;
	begin(2, true);
	return 0;
}

/* What a good driver does is never reported. */
static int teardown(void **state)
{
	(void)state;
	assert_int_equal(lines_logged, 0);
	log_set_hook(NULL);
	gpudrv_finish(&v);
	return 0;
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++) {
		n += fcntl(fd, F_GETFD) >= 0;
	}
	return n;
}

#define OK(x) assert_int_equal(x, GPU_RESP_OK_NODATA)

static struct display_rect rect(uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	return (struct display_rect){x, y, w, h};
}

/*
 * Patterns: no two neighbours alike, no symmetry, an alpha ramp. Order of the bytes as the names of formats have it.
 */

static const struct {
	enum gpu_format format;
	const char *order;
} formats[] = {
	{GPU_FORMAT_B8G8R8A8, "BGRA"}, {GPU_FORMAT_B8G8R8X8, "BGRX"}, {GPU_FORMAT_A8R8G8B8, "ARGB"}, {GPU_FORMAT_X8R8G8B8, "XRGB"},
	{GPU_FORMAT_R8G8B8A8, "RGBA"}, {GPU_FORMAT_X8B8G8R8, "XBGR"}, {GPU_FORMAT_A8B8G8R8, "ABGR"}, {GPU_FORMAT_R8G8B8X8, "RGBX"},
};

static uint8_t color(char c, uint32_t x, uint32_t y, unsigned seed)
{
	switch (c) {
	case 'R':
		return (uint8_t)(x * 5 + seed * 31 + 1);
	case 'G':
		return (uint8_t)(y * 7 + seed * 17 + 2);
	case 'B':
		return (uint8_t)(x * 3 + y * 11 + seed * 13 + 3);
	default:
		return (uint8_t)(x + y);
	}
}

/* 0xAARRGGBB */
static uint32_t pixel(uint32_t x, uint32_t y, unsigned seed)
{
	return (uint32_t)color('A', x, y, seed) << 24 | (uint32_t)color('R', x, y, seed) << 16 | (uint32_t)color('G', x, y, seed) << 8 | color('B', x, y, seed);
}

static void paint(uint64_t gpa, const char *order, uint32_t stride, const struct display_rect *r, unsigned seed)
{
	for (uint32_t y = r->y; y < r->y + r->h; y++) {
		uint8_t *p = tdrv_ptr(&v.d, gpa + (uint64_t)y * stride + 4ull * r->x, 4 * r->w);

		for (uint32_t x = r->x; x < r->x + r->w; x++, p += 4) {
			for (unsigned c = 0; c < 4; c++) {
				p[c] = color(order[c], x, y, seed);
			}
		}
	}
}

/* How a reference is spoiled, to see that the comparison notices. */
enum spoil { RIGHT, FLIPPED, MIRRORED, SWAPPED };

/* Pixels of the screen that are not the pattern's. @at: where the scanout's corner is in the picture. */
static unsigned differences(const uint8_t *shot, uint32_t width, uint32_t height, uint32_t at_x, uint32_t at_y, unsigned seed, enum spoil spoil)
{
	unsigned n = 0;

	for (uint32_t y = 0; y < height; y++) {
		for (uint32_t x = 0; x < width; x++, shot += 4) {
			uint32_t px = at_x + (spoil == MIRRORED ? width - 1 - x : x), py = at_y + (spoil == FLIPPED ? height - 1 - y : y);
			uint8_t b = color(spoil == SWAPPED ? 'R' : 'B', px, py, seed), r = color(spoil == SWAPPED ? 'B' : 'R', px, py, seed);

			n += shot[0] != b || shot[1] != color('G', px, py, seed) || shot[2] != r;
		}
	}
	return n;
}

static unsigned screen_differs(unsigned scanout, uint32_t want_w, uint32_t want_h, uint32_t at_x, uint32_t at_y, unsigned seed, enum spoil spoil)
{
	uint32_t w, h;
	uint8_t *shot = gpudrv_shot(&v, scanout, true, &w, &h);
	unsigned n;

	assert_non_null(shot);
	assert_int_equal(w, want_w);
	assert_int_equal(h, want_h);
	n = differences(shot, w, h, at_x, at_y, seed, spoil);
	free(shot);
	return n;
}

#define ASSERT_SCREEN(scanout, w, h, x, y, seed) assert_int_equal(screen_differs(scanout, w, h, x, y, seed, RIGHT), 0)

/* A resource with backing in one piece. Return: where that is. */
static uint64_t make(uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
	struct gpudrv_entry e = {.len = width * height * 4};

	e.addr = tdrv_alloc(&v.d, e.len, 16);
	OK(gpudrv_create(&v, id, format, width, height));
	OK(gpudrv_attach(&v, id, &e, 1));
	return e.addr;
}

static void test_gpu_configuration(void **state)
{
	(void)state;
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_DEVICE_ID), 16);
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG + 8), 2); /* num_scanouts */
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG + 12), 0); /* num_capsets */
	assert_int_equal(v.gpu.base.ops->queue_size[GPU_CONTROLQ], 256);
	assert_int_equal(v.gpu.base.ops->queue_size[GPU_CURSORQ], 16);
	assert_int_equal(virtio_device_features(&v.gpu.base) & 0x3f, GPU_F_EDID);
}

static void test_gpu_display_info_and_edid_agree(void **state)
{
	(void)state;
	assert_int_equal(gpudrv_get_info(&v), GPU_RESP_OK_DISPLAY_INFO);
	assert_int_equal(v.out_len, 408);
	for (unsigned i = 0; i < 16; i++) {
		const struct gpu_wire_display_one *one = &v.out.info.pmodes[i];

		assert_int_equal(le32_get(one->enabled), i < 2);
		assert_int_equal(le32_get(one->r.width), i < 2 ? 640 : 0);
		assert_int_equal(le32_get(one->r.height), i < 2 ? 480 : 0);
		/* Side by side. */
		assert_int_equal(le32_get(one->r.x), i == 1 ? 640 : 0);
		assert_int_equal(le32_get(one->flags), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(gpudrv_get_edid(&v, i), GPU_RESP_OK_EDID);
		assert_int_equal(v.out_len, 1056);
		assert_int_equal(le32_get(v.out.edid.size), 128);
		assert_int_equal(v.out.edid.edid[56] | (v.out.edid.edid[58] & 0xf0) << 4, 640);
		assert_int_equal(v.out.edid.edid[12], i + 1);
		/* What is not EDID is nothing of ours either. */
		for (unsigned at = 128; at < 1024; at++) {
			assert_int_equal(v.out.edid.edid[at], 0);
		}
	}
}

/* CVE-2026-68255, of Linux: it read as many blocks as the first one says, of a device that had said fewer. All that is said is there, whatever the output. */
static void test_gpu_cve_2026_68255_edid_is_as_long_as_it_says(void **state)
{
	static const uint32_t sizes[] = {1, 64, 480, 1080, 2160, 4096, 8192, DISPLAY_SIZE_MAX}, rates[] = {1, 60, 144, 360};
	unsigned lengths = 0;

	(void)state;
	for (unsigned i = 0; i < 8 * 8 * 4; i++) {
		struct display_output o = {.enabled = true, .width = sizes[i % 8], .height = sizes[i / 8 % 8], .refresh_hz = rates[i / 64]};
		uint32_t len;

		display_set_output(&v.display, 1, &o);
		assert_int_equal(gpudrv_get_edid(&v, 1), GPU_RESP_OK_EDID);
		assert_int_equal(v.out_len, 1056);
		len = le32_get(v.out.edid.size);
		assert_in_range(len, 128, sizeof(v.out.edid.edid));
		assert_int_equal(len, 128u * (1 + v.out.edid.edid[126]));
		for (unsigned block = 0; block < len / 128; block++) {
			uint8_t sum = 0;

			for (unsigned at = 0; at < 128; at++) {
				sum = (uint8_t)(sum + v.out.edid.edid[block * 128 + at]);
			}
			assert_int_equal(sum, 0);
		}
		lengths |= len;
	}
	assert_int_equal(lengths, 128 | 256);
}

static void test_gpu_output_changes_reach_the_driver(void **state)
{
	struct display_output o = {.enabled = true, .width = 6000, .height = 1000, .refresh_hz = 60};
	unsigned irqs = v.d.config_irqs;

	(void)state;
	display_set_output(&v.display, 1, &o);
	assert_int_equal(v.d.config_irqs, irqs + 1);
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG), GPU_EVENT_DISPLAY);
	tdrv_write(&v.d, VIRTIO_MMIO_CONFIG + 4, 2);
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG), GPU_EVENT_DISPLAY);
	tdrv_write(&v.d, VIRTIO_MMIO_CONFIG + 4, GPU_EVENT_DISPLAY);
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG), 0);
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG + 4), 0);
	gpudrv_get_info(&v);
	assert_int_equal(le32_get(v.out.info.pmodes[1].r.width), 6000);
	assert_int_equal(le32_get(v.out.info.pmodes[1].r.height), 1000);
	gpudrv_get_edid(&v, 1);
	assert_int_equal(le32_get(v.out.edid.size), 256);
	/* Unplugged. */
	o.enabled = false;
	display_set_output(&v.display, 0, &o);
	gpudrv_get_info(&v);
	assert_int_equal(le32_get(v.out.info.pmodes[0].enabled), 0);
	assert_int_equal(le32_get(v.out.info.pmodes[1].r.x), 0);
	/* A driver that comes later asks anyway. */
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	irqs = v.d.config_irqs;
	o.height = 7;
	display_set_output(&v.display, 0, &o);
	assert_int_equal(v.d.config_irqs, irqs);
	gpudrv_start(&v);
}

/* Linux: reads events, asks, sets a mode, clears the event. What changes in between is a new interrupt, and must be an event when that is served. */
static void test_gpu_output_change_while_the_driver_is_busy_with_another(void **state)
{
	struct display_output o = {.enabled = true, .width = 1000, .height = 1000, .refresh_hz = 60};
	unsigned irqs;

	(void)state;
	gpudrv_get_edid(&v, 0);
	gpudrv_get_info(&v);
	display_set_output(&v.display, 0, &o);
	gpudrv_get_edid(&v, 0);
	gpudrv_get_info(&v);
	irqs = v.d.config_irqs;
	o.width = 2000;
	display_set_output(&v.display, 0, &o);
	tdrv_write(&v.d, VIRTIO_MMIO_CONFIG + 4, GPU_EVENT_DISPLAY);
	assert_int_equal(v.d.config_irqs, irqs + 1);
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG), GPU_EVENT_DISPLAY);
	/* Between the two answers: the EDID is an old one. */
	gpudrv_get_edid(&v, 0);
	o.width = 3000;
	display_set_output(&v.display, 0, &o);
	gpudrv_get_info(&v);
	assert_int_equal(le32_get(v.out.info.pmodes[0].r.width), 3000);
	tdrv_write(&v.d, VIRTIO_MMIO_CONFIG + 4, GPU_EVENT_DISPLAY);
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG), GPU_EVENT_DISPLAY);
	gpudrv_get_edid(&v, 0);
	/* Nothing is new: no interrupt for a clear, which goes through. */
	irqs = v.d.config_irqs;
	tdrv_write(&v.d, VIRTIO_MMIO_CONFIG + 4, GPU_EVENT_DISPLAY);
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG), 0);
	assert_int_equal(v.d.config_irqs, irqs);
}

static void test_gpu_every_format_to_the_pixel(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct display_rect all = rect(0, 0, 61, 43);
		uint64_t brk = v.d.brk, mem = make(i + 1, formats[i].format, 61, 43);

		paint(mem, formats[i].order, 61 * 4, &all, i);
		OK(gpudrv_set_scanout(&v, 0, i + 1, all));
		OK(gpudrv_transfer(&v, i + 1, all, 0));
		OK(gpudrv_flush(&v, i + 1, all));
		ASSERT_SCREEN(0, 61, 43, 0, 0, i);
		/* The comparison would notice. */
		assert_true(screen_differs(0, 61, 43, 0, 0, i, FLIPPED) > 61 * 43 / 2);
		assert_true(screen_differs(0, 61, 43, 0, 0, i, MIRRORED) > 61 * 43 / 2);
		assert_true(screen_differs(0, 61, 43, 0, 0, i, SWAPPED) > 61 * 43 / 2);
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
		uint64_t brk = v.d.brk, mem = make(1, GPU_FORMAT_B8G8R8X8, all.w, all.h);

		paint(mem, "BGRX", all.w * 4, &all, i);
		OK(gpudrv_transfer(&v, 1, all, 0));
		OK(gpudrv_set_scanout(&v, 0, 1, all));
		ASSERT_SCREEN(0, all.w, all.h, 0, 0, i);
		OK(gpudrv_unref(&v, 1));
		v.d.brk = brk;
	}
}

/* Pixels that are not as they were painted: @part with seed 2, the rest with seed 1. Rows of the pattern come again after @period. */
static unsigned wrong_pixels(unsigned scanout, const struct display_rect *crop, const struct display_rect *part, uint32_t period, enum spoil spoil)
{
	uint32_t w, h;
	uint8_t *shot = gpudrv_shot(&v, scanout, true, &w, &h), *p = shot;
	unsigned n = 0;

	assert_non_null(shot);
	assert_int_equal(w, crop->w);
	assert_int_equal(h, crop->h);
	for (uint32_t i = 0; i < h; i++) {
		for (uint32_t k = 0; k < w; k++, p += 4) {
			uint32_t x = crop->x + (spoil == MIRRORED ? w - 1 - k : k), y = crop->y + (spoil == FLIPPED ? h - 1 - i : i);
			bool is_new = x >= part->x && x - part->x < part->w && y >= part->y && y - part->y < part->h;

			n += differences(p, 1, 1, x, y % period, is_new ? 2 : 1, spoil == SWAPPED ? SWAPPED : RIGHT);
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
	paint(mem, order, stride, &rows, 1);
	OK(gpudrv_set_scanout(&v, 0, id, crop));
	OK(gpudrv_set_scanout(&v, 1, id, mirror));
	OK(gpudrv_transfer(&v, id, crop, (uint64_t)crop.y * stride + 4ull * crop.x));
	OK(gpudrv_flush(&v, id, crop));
	assert_int_equal(wrong_pixels(0, &crop, &none, period, RIGHT), 0);
	assert_int_equal(wrong_pixels(1, &mirror, &none, period, RIGHT), 0);
	/* The comparison would notice. */
	assert_true(wrong_pixels(0, &crop, &none, period, SWAPPED) > 0);
	assert_true(ch == 1 || wrong_pixels(0, &crop, &none, period, FLIPPED) > 0);
	assert_true(cw == 1 || wrong_pixels(0, &crop, &none, period, MIRRORED) > 0);
	paint(mem, order, stride, &rows, 2);
	OK(gpudrv_transfer(&v, id, part, (uint64_t)part.y * stride + 4ull * part.x));
	OK(gpudrv_flush(&v, id, part));
	assert_int_equal(wrong_pixels(0, &crop, &part, period, RIGHT), 0);
	assert_int_equal(wrong_pixels(1, &mirror, &part, period, RIGHT), 0);
	OK(gpudrv_unref(&v, id));
	v.d.brk = brk;
}

static int setup_large(void **state)
{
	(void)state;
	gpudrv_init(&v, 2, NULL, 320u << 20);
	lines_logged = 0;
	log_set_hook(on_log);
	return 0;
}

static void test_gpu_every_format_in_every_size(void **state)
{
	static const uint32_t sizes[][2] = {{1, 1}, {2, 3}, {1, 64}, {64, 1}, {15, 15}, {17, 16}, {333, 257}, {1024, 768}, {8192, 2}, {2, 8192}, {8192, 8192}};
	uint32_t id = 0;

	(void)state;
	for (uint32_t f = 0; f < sizeof(formats) / sizeof(formats[0]); f++) {
		for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			check_size(++id, formats[f].format, formats[f].order, sizes[i][0], sizes[i][1]);
		}
	}
}

/* Only what was transferred changes, wherever it is. */
static void test_gpu_partial_transfers(void **state)
{
	const struct display_rect all = rect(0, 0, 50, 40);
	struct display_rect part;
	uint64_t mem = make(1, GPU_FORMAT_R8G8B8A8, 50, 40);
	uint32_t w, h;
	uint8_t *shot;

	(void)state;
	OK(gpudrv_set_scanout(&v, 0, 1, all));
	paint(mem, "RGBA", 200, &all, 1);
	OK(gpudrv_transfer(&v, 1, all, 0));
	paint(mem, "RGBA", 200, &all, 2);
	srand(5);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t before;

		part.x = (uint32_t)rand() % 50;
		part.y = (uint32_t)rand() % 40;
		part.w = 1 + (uint32_t)rand() % (50 - part.x);
		part.h = 1 + (uint32_t)rand() % (40 - part.y);
		/* Back to the first picture, so that each round tells. */
		paint(mem, "RGBA", 200, &all, 1);
		OK(gpudrv_transfer(&v, 1, all, 0));
		paint(mem, "RGBA", 200, &all, 2);
		before = v.gpu.backend->copied_bytes;
		OK(gpudrv_transfer(&v, 1, part, 4ull * part.x + 200ull * part.y));
		assert_int_equal(v.gpu.backend->copied_bytes - before, 4ull * part.w * part.h);
		shot = gpudrv_shot(&v, 0, true, &w, &h);
		for (uint32_t y = 0; y < 40; y++) {
			for (uint32_t x = 0; x < 50; x++) {
				bool is_new = x >= part.x && x < part.x + part.w && y >= part.y && y < part.y + part.h;

				assert_int_equal(differences(shot + 4 * (y * 50 + x), 1, 1, x, y, is_new ? 2 : 1, RIGHT), 0);
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
	paint(mem + 60, "BGRA", 80, &far, 4);
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

				assert_int_equal(differences(shot + 4 * (y * 20 + x), 1, 1, moved ? x + 2 : x, moved ? y + 4 : y, 4, RIGHT), 0);
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
	paint(mem, "ARGB", W * 4, &all, 9);
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
	paint(mem, "BGRX", 512, &all, 3);
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
	paint(flat, "BGRX", 4 * SIDE, &all, 3);
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
	uint64_t mem = make(1, GPU_FORMAT_X8B8G8R8, 120, 60);
	struct display_frame f;

	(void)state;
	paint(mem, "XBGR", 480, &all, 6);
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
	uint64_t mem[2] = {make(1, GPU_FORMAT_B8G8R8X8, 64, 32), make(2, GPU_FORMAT_B8G8R8X8, 64, 32)};
	uint64_t used = 0;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		paint(mem[i % 2], "BGRX", 256, &all, i);
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
	make(1, GPU_FORMAT_B8G8R8X8, 16, 16);
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

static void test_gpu_fence_comes_back_with_the_answer(void **state)
{
	(void)state;
	v.flags = GPU_FLAG_FENCE;
	v.fence = 0x1122334455667788;
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 4, 4));
	assert_int_equal(v.out_len, 24);
	assert_int_equal(le32_get(v.out.hdr.flags), GPU_FLAG_FENCE);
	assert_int_equal(le64_get(v.out.hdr.fence_id), v.fence);
	assert_int_equal(le32_get(v.out.hdr.ctx_id), 7);
	assert_int_equal(gpudrv_get_info(&v), GPU_RESP_OK_DISPLAY_INFO);
	assert_int_equal(le64_get(v.out.hdr.fence_id), v.fence);
	/* Without the flag there is none. */
	v.flags = 0;
	OK(gpudrv_unref(&v, 1));
	assert_int_equal(le32_get(v.out.hdr.flags), 0);
	assert_int_equal(le64_get(v.out.hdr.fence_id), 0);
}

static void test_gpu_cursor_image_hot_spot_and_place(void **state)
{
	const struct display_rect all = rect(0, 0, 64, 64);
	const struct display_cursor *c = &v.display.scanout[1].cursor;

	(void)state;
	for (uint32_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		uint64_t brk = v.d.brk, mem = make(1, formats[i].format, 64, 64);

		paint(mem, formats[i].order, 256, &all, i);
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
				assert_int_equal(c->image[y * 64 + x], pixel(x, y, i));
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

/*
 * Blobs.
 */

static const struct gpu_layout blob_layout = {.format = GPU_FORMAT_B8G8R8X8, .width = 40, .height = 30, .stride = 200, .offset = 96};

static uint64_t make_blob(uint32_t id, unsigned seed)
{
	struct gpudrv_entry e[3];
	uint64_t mem = tdrv_alloc(&v.d, 6400, 16);
	struct display_rect all = rect(0, 0, blob_layout.width, blob_layout.height);

	paint(mem + blob_layout.offset, "BGRX", blob_layout.stride, &all, seed);
	e[0] = (struct gpudrv_entry){.addr = mem, .len = 1001};
	e[1] = (struct gpudrv_entry){.addr = mem + 1001, .len = 3};
	e[2] = (struct gpudrv_entry){.addr = mem + 1004, .len = 6400 - 1004};
	OK(gpudrv_create_blob(&v, id, 6100, e, 3));
	return mem + blob_layout.offset;
}

static void test_gpu_blob_is_shown_by_a_flush(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30), part = rect(4, 5, 6, 7);
	uint64_t mem, copied;
	uint32_t w, h;
	uint8_t *shot;

	(void)state;
	assert_int_equal(virtio_device_features(&v.gpu.base) & 0x3f, GPU_F_EDID | GPU_F_RESOURCE_BLOB);
	mem = make_blob(1, 1);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &blob_layout));
	/* The first one is of all, whatever the guest says. */
	OK(gpudrv_flush(&v, 1, part));
	ASSERT_SCREEN(0, 40, 30, 0, 0, 1);
	paint(mem, "BGRX", blob_layout.stride, &all, 2);
	copied = v.gpu.backend->copied_bytes;
	OK(gpudrv_flush(&v, 1, part));
	assert_int_equal(v.gpu.backend->copied_bytes - copied, 4 * 6 * 7);
	shot = gpudrv_shot(&v, 0, true, &w, &h);
	for (uint32_t y = 0; y < 30; y++) {
		for (uint32_t x = 0; x < 40; x++) {
			bool is_new = x >= 4 && x < 10 && y >= 5 && y < 12;

			assert_int_equal(differences(shot + 4 * (y * 40 + x), 1, 1, x, y, is_new ? 2 : 1, RIGHT), 0);
		}
	}
	free(shot);
}

/* What was there before, or nothing, is never seen instead. */
static void test_gpu_blob_is_seen_before_its_first_flush(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30), part = rect(4, 5, 6, 7);
	struct display_sink sink = {.ops = &(const struct display_sink_ops){.mode = NULL}};
	struct display_frame f;
	uint64_t copied = v.gpu.backend->copied_bytes;

	(void)state;
	for (uint32_t i = 1; i <= 3; i++) {
		make_blob(i, i);
		OK(gpudrv_set_scanout_blob(&v, 0, i, all, &blob_layout));
		assert_int_equal(v.gpu.backend->copied_bytes, copied);
		ASSERT_SCREEN(0, 40, 30, 0, 0, i);
		copied = v.gpu.backend->copied_bytes;
		/* Once. */
		ASSERT_SCREEN(0, 40, 30, 0, 0, i);
		assert_int_equal(v.gpu.backend->copied_bytes, copied);
	}
	/* By one who takes frames, too. */
	make_blob(4, 4);
	OK(gpudrv_set_scanout_blob(&v, 0, 4, part, &blob_layout));
	display_sink_add(&v.display, &sink);
	assert_true(display_take(&v.display, &sink, 0, &f));
	assert_int_equal(v.gpu.backend->copied_bytes - copied, 4 * 6 * 7);
	assert_int_equal(differences(display_buffer_map(f.buffer) + (5 * 40 + 4) * 4, 1, 1, 4, 5, 4, RIGHT), 0);
	display_buffer_unref(f.buffer);
	display_sink_remove(&v.display, &sink);
	/* Nothing is left to be brought for what is no copied blob. */
	make_blob(5, 5);
	OK(gpudrv_set_scanout_blob(&v, 0, 5, all, &blob_layout));
	OK(gpudrv_create(&v, 6, GPU_FORMAT_B8G8R8X8, 8, 8));
	OK(gpudrv_set_scanout(&v, 0, 6, rect(0, 0, 8, 8)));
	copied = v.gpu.backend->copied_bytes;
	display_refresh(&v.display, 0);
	assert_int_equal(v.gpu.backend->copied_bytes, copied);
}

/* Linux' dumb buffers are blobs where it can have them, cursors too. */
static void test_gpu_blob_is_a_cursor(void **state)
{
	const struct display_rect all = rect(0, 0, 64, 64);
	const struct display_cursor *c = &v.display.scanout[0].cursor;
	uint64_t mem = tdrv_alloc(&v.d, 16384, 16), copied = v.gpu.backend->copied_bytes;
	struct gpudrv_entry e[3] = {{.addr = mem, .len = 999}, {.addr = mem + 999, .len = 15001}, {.addr = mem + 16000, .len = 384}};

	(void)state;
	OK(gpudrv_create_blob(&v, 1, 16384, e, 3));
	paint(mem, "BGRA", 256, &all, 3);
	/* It sends this too. */
	OK(gpudrv_transfer(&v, 1, all, 0));
	assert_int_equal(v.gpu.backend->copied_bytes, copied);
	OK(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, 0, 1, 7, 8, 1, 2));
	assert_true(c->visible);
	for (uint32_t i = 0; i < 64 * 64; i++) {
		assert_int_equal(c->image[i], pixel(i % 64, i / 64, 3));
	}
	/* What is painted afterwards is not seen before it is said. */
	paint(mem, "BGRA", 256, &all, 4);
	assert_int_equal(c->image[100], pixel(100 % 64, 1, 3));
}

static void test_gpu_blob_flips_take_no_memory(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	uint64_t used = 0, mem[3];

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		mem[i] = make_blob(i + 1, i);
	}
	for (uint32_t i = 0; i < 30; i++) {
		paint(mem[i % 3], "BGRX", blob_layout.stride, &all, i);
		OK(gpudrv_set_scanout_blob(&v, 0, 1 + i % 3, all, &blob_layout));
		OK(gpudrv_flush(&v, 1 + i % 3, all));
		ASSERT_SCREEN(0, 40, 30, 0, 0, i);
		if (i == 2) {
			used = v.display.budget.used;
		}
	}
	assert_int_equal(v.display.budget.used, used);
	OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &blob_layout));
	for (uint32_t i = 0; i < 3; i++) {
		OK(gpudrv_unref(&v, i + 1));
	}
	assert_int_equal(v.display.budget.used, 0);
}

/* After any number of flips another size comes, and the first one again. */
static void test_gpu_blob_layouts_back_and_forth(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30), part = rect(0, 0, 40, 12);
	struct gpu_layout other = blob_layout;
	uint64_t mem[2] = {make_blob(1, 1), make_blob(2, 2)}, used;

	(void)state;
	other.height = part.h;
	for (uint32_t flips = 1; flips < 7; flips++) {
		for (uint32_t i = 0; i < flips; i++) {
			paint(mem[i % 2], "BGRX", blob_layout.stride, &all, i);
			OK(gpudrv_set_scanout_blob(&v, 0, 1 + i % 2, all, &blob_layout));
			OK(gpudrv_flush(&v, 1 + i % 2, all));
			ASSERT_SCREEN(0, 40, 30, 0, 0, i);
		}
		used = v.display.budget.used;
		OK(gpudrv_set_scanout_blob(&v, 0, 1, part, &other));
		OK(gpudrv_flush(&v, 1, part));
		/* Two pictures are there, and counted. */
		assert_int_equal(v.display.budget.used, used + 40 * 12 * 4 - (flips > 1 ? 40 * 30 * 4 : 0));
		paint(mem[1], "BGRX", blob_layout.stride, &all, 50);
		OK(gpudrv_set_scanout_blob(&v, 0, 2, all, &blob_layout));
		OK(gpudrv_flush(&v, 2, all));
		ASSERT_SCREEN(0, 40, 30, 0, 0, 50);
		OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &blob_layout));
	}
}

/* A flip is painted where nobody looks. */
static void test_gpu_blob_flip_leaves_the_shown_picture_alone(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	struct display_sink sink = {.ops = &(const struct display_sink_ops){.mode = NULL}};
	struct display_frame one, two;
	const uint8_t *map;
	uint8_t before[4];

	(void)state;
	make_blob(1, 1);
	make_blob(2, 2);
	display_sink_add(&v.display, &sink);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &blob_layout));
	OK(gpudrv_flush(&v, 1, all));
	assert_true(display_take(&v.display, &sink, 0, &one));
	map = display_buffer_map(one.buffer);
	memcpy(before, map + 400, 4);
	OK(gpudrv_set_scanout_blob(&v, 0, 2, all, &blob_layout));
	OK(gpudrv_flush(&v, 2, all));
	assert_memory_equal(map + 400, before, 4);
	assert_true(display_take(&v.display, &sink, 0, &two));
	assert_ptr_not_equal(one.buffer, two.buffer);
	assert_memory_not_equal(display_buffer_map(two.buffer) + 400, before, 4);
	display_buffer_unref(one.buffer);
	display_buffer_unref(two.buffer);
	display_sink_remove(&v.display, &sink);
}

static void test_gpu_blob_crops_layouts_and_two_scanouts(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	struct gpu_layout lower = blob_layout;

	(void)state;
	make_blob(1, 5);
	lower.offset += 10ull * lower.stride;
	lower.height = 12;
	OK(gpudrv_set_scanout_blob(&v, 0, 1, rect(7, 3, 20, 10), &blob_layout));
	OK(gpudrv_set_scanout_blob(&v, 1, 1, rect(0, 0, 40, 12), &lower));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(0, 20, 10, 7, 3, 5);
	ASSERT_SCREEN(1, 40, 12, 0, 10, 5);
	/* Another size, and a 2D resource, and back. */
	OK(gpudrv_set_scanout_blob(&v, 1, 1, all, &blob_layout));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(1, 40, 30, 0, 0, 5);
	OK(gpudrv_create(&v, 2, GPU_FORMAT_B8G8R8X8, 8, 8));
	OK(gpudrv_set_scanout(&v, 1, 2, rect(0, 0, 8, 8)));
	OK(gpudrv_set_scanout_blob(&v, 1, 1, all, &blob_layout));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(1, 40, 30, 0, 0, 5);
	OK(gpudrv_unref(&v, 1));
	OK(gpudrv_unref(&v, 2));
	assert_int_equal(v.display.budget.used, 0);
}

/*
 * Blobs that sinks map where they are. The kernel's part is a double: a copy of the pieces as they are when it is asked, which is enough to see that they are the right ones, and that nothing else
 * was copied. The real thing is in tests/system/gpu, where the host has it.
 */

#define SHARE_DEV 1234
#define SHARE_FILE 4321
#define SHARE_OFFSET 0x40000ull

static struct {
	unsigned made, pieces;
	int error;
} udmabuf;

static int make_udmabuf(int dev, const struct udmabuf_create_list *list)
{
	int fd;

	assert_int_equal(dev, SHARE_DEV);
	assert_int_equal(list->flags, UDMABUF_FLAGS_CLOEXEC);
	if (udmabuf.error) {
		return udmabuf.error;
	}
	fd = memfd_create("udmabuf", MFD_CLOEXEC);
	for (uint32_t i = 0; i < list->count; i++) {
		assert_int_equal(list->list[i].memfd, SHARE_FILE);
		assert_int_equal(list->list[i].offset % 4096, 0);
		assert_true(list->list[i].size > 0 && list->list[i].size % 4096 == 0);
		assert_int_equal(write(fd, v.d.ram + (list->list[i].offset - SHARE_OFFSET), list->list[i].size), list->list[i].size);
	}
	udmabuf.made++;
	udmabuf.pieces = list->count;
	return fd;
}

static int setup_shared(void **state)
{
	begin(2, true);
	(void)state;
	memset(&udmabuf, 0, sizeof(udmabuf));
	v.share = (struct gpu_share){.dev = SHARE_DEV, .create = make_udmabuf};
	gmem_share(&v.d.mem, SHARE_FILE, SHARE_OFFSET);
	return 0;
}

/* In three pages that lie the wrong way round, the first two of a picture behind the third. */
static void make_pages(uint32_t id, unsigned seed)
{
	struct display_rect all = rect(0, 0, blob_layout.width, blob_layout.height);
	uint64_t mem = tdrv_alloc(&v.d, 3 * 4096ull, 4096), flat = tdrv_alloc(&v.d, 3 * 4096ull, 16);
	struct gpudrv_entry e[2] = {{.addr = mem + 4096, .len = 8192}, {.addr = mem, .len = 4096}};

	paint(flat + blob_layout.offset, "BGRX", blob_layout.stride, &all, seed);
	memcpy(tdrv_ptr(&v.d, mem + 4096, 8192), tdrv_ptr(&v.d, flat, 8192), 8192);
	memcpy(tdrv_ptr(&v.d, mem, 4096), tdrv_ptr(&v.d, flat + 8192, 4096), 4096);
	OK(gpudrv_create_blob(&v, id, 9000, e, 2));
}

static void test_gpu_blob_that_is_shared_is_not_copied(void **state)
{
	struct display_sink sink = {.ops = &(const struct display_sink_ops){.mode = NULL}};
	struct display_rect all = rect(0, 0, 40, 30), part = rect(10, 3, 20, 12);
	struct display_frame f;

	(void)state;
	display_sink_add(&v.display, &sink);
	make_pages(1, 1);
	assert_int_equal(udmabuf.made, 0);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &blob_layout));
	OK(gpudrv_flush(&v, 1, part));
	assert_int_equal(udmabuf.made, 1);
	assert_int_equal(udmabuf.pieces, 2);
	assert_true(display_take(&v.display, &sink, 0, &f));
	assert_true(f.buffer->picture.is_guest);
	assert_int_equal(f.buffer->picture.len, 3 * 4096);
	assert_int_equal(f.buffer->picture.offset, blob_layout.offset);
	ASSERT_SCREEN(0, 40, 30, 0, 0, 1);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, part, &blob_layout));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(0, 20, 12, 10, 3, 1);
	assert_int_equal(v.gpu.backend->copied_bytes, 0);
	assert_int_equal(v.gpu.backend->blobs_shared, 2);
	assert_int_equal(v.gpu.backend->blobs_copied, 0);
	assert_int_equal(udmabuf.made, 1);
	assert_int_equal(v.display.budget.used, GPU_RESOURCE_COST + 2 * GPU_ENTRY_COST + 3 * GPU_SHARE_PAGE_COST);
	/* Who still looks at it keeps it. */
	OK(gpudrv_unref(&v, 1));
	assert_int_equal(v.display.budget.used, 3 * GPU_SHARE_PAGE_COST);
	assert_non_null(display_buffer_map(f.buffer));
	display_buffer_unref(f.buffer);
	assert_int_equal(v.display.budget.used, 0);
	display_sink_remove(&v.display, &sink);
}

/* A viewer that has mapped each of three buffers has mapped all there will be. */
static void test_gpu_blob_flips_share_each_once(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	uint64_t id[3];

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		make_pages(i + 1, i);
	}
	for (uint32_t i = 0; i < 30; i++) {
		OK(gpudrv_set_scanout_blob(&v, 0, 1 + i % 3, all, &blob_layout));
		OK(gpudrv_flush(&v, 1 + i % 3, all));
		ASSERT_SCREEN(0, 40, 30, 0, 0, i % 3);
		id[i % 3] = i < 3 ? v.display.scanout[0].buffer->id : id[i % 3];
		assert_int_equal(v.display.scanout[0].buffer->id, id[i % 3]);
	}
	assert_int_equal(udmabuf.made, 3);
	assert_int_equal(v.gpu.backend->copied_bytes, 0);
	for (uint32_t i = 0; i < 3; i++) {
		OK(gpudrv_unref(&v, i + 1));
	}
	assert_int_equal(v.display.budget.used, 0);
}

static void test_gpu_blob_shared_layouts_and_two_scanouts(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	struct gpu_layout lower = blob_layout;

	(void)state;
	lower.offset += 10ull * lower.stride;
	lower.height = 12;
	make_pages(1, 5);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, rect(7, 3, 20, 10), &blob_layout));
	OK(gpudrv_set_scanout_blob(&v, 1, 1, all, &blob_layout));
	assert_int_equal(udmabuf.made, 1);
	assert_ptr_equal(v.display.scanout[0].buffer, v.display.scanout[1].buffer);
	OK(gpudrv_set_scanout_blob(&v, 1, 1, rect(0, 0, 40, 12), &lower));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(0, 20, 10, 7, 3, 5);
	ASSERT_SCREEN(1, 40, 12, 0, 10, 5);
	/* Off on one of them, and back, and something else. */
	OK(gpudrv_set_scanout_blob(&v, 1, 0, all, &lower));
	ASSERT_SCREEN(0, 20, 10, 7, 3, 5);
	OK(gpudrv_set_scanout_blob(&v, 1, 1, all, &blob_layout));
	ASSERT_SCREEN(1, 40, 30, 0, 0, 5);
	OK(gpudrv_create(&v, 2, GPU_FORMAT_B8G8R8X8, 8, 8));
	OK(gpudrv_set_scanout(&v, 0, 2, rect(0, 0, 8, 8)));
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &blob_layout));
	ASSERT_SCREEN(0, 40, 30, 0, 0, 5);
	assert_int_equal(v.gpu.backend->copied_bytes, 0);
	gpudrv_start(&v);
	assert_int_equal(v.display.budget.used, 0);
}

/* Too many pieces, not whole pages, memory that is no file: the same picture, and back when it can be shared. */
static void test_gpu_blob_that_cannot_be_shared_is_copied(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	static const int errors[] = {-EINVAL, -EMFILE, -ENOMEM, -ENOTTY};

	(void)state;
	make_pages(1, 3);
	for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		udmabuf.error = errors[i];
		OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &blob_layout));
		OK(gpudrv_flush(&v, 1, all));
		ASSERT_SCREEN(0, 40, 30, 0, 0, 3);
		assert_false(v.display.scanout[0].buffer->picture.is_guest);
		assert_int_equal(v.gpu.backend->blobs_copied, i + 1);
		udmabuf.error = 0;
		OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &blob_layout));
		OK(gpudrv_flush(&v, 1, all));
		ASSERT_SCREEN(0, 40, 30, 0, 0, 3);
		assert_true(v.display.scanout[0].buffer->picture.is_guest);
		OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &blob_layout));
	}
	assert_int_equal(v.gpu.backend->copied_bytes, 4u * 40 * 30 * 4);
	assert_int_equal(v.gpu.backend->blobs_shared, 4);
	assert_int_equal(v.gpu.backend->blob_pieces, 2);
	make_blob(2, 4); /* pieces of 1001 bytes */
	udmabuf.made = 0;
	OK(gpudrv_set_scanout_blob(&v, 0, 2, all, &blob_layout));
	OK(gpudrv_flush(&v, 2, all));
	ASSERT_SCREEN(0, 40, 30, 0, 0, 4);
	/* Which follow each other. */
	assert_int_equal(v.gpu.backend->blob_pieces, 1);
	assert_int_equal(v.gpu.backend->blob_pieces_max, 2);
	v.d.mem.region[0].has_file = false;
	make_pages(3, 6);
	OK(gpudrv_set_scanout_blob(&v, 1, 3, all, &blob_layout));
	OK(gpudrv_flush(&v, 3, all));
	ASSERT_SCREEN(1, 40, 30, 0, 0, 6);
	assert_int_equal(udmabuf.made, 0);
}

/* The host's kernel keeps track of pages too: counted. Who could not pay once may try again. */
static void test_gpu_blob_sharing_is_paid_for(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	int before = dup(0), after;
	uint64_t rest;

	(void)state;
	close(before);
	make_pages(1, 1);
	rest = v.display.budget.max - v.display.budget.used;
	assert_true(display_budget_take(&v.display.budget, rest));
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(gpudrv_set_scanout_blob(&v, 0, 1, all, &blob_layout), GPU_RESP_ERR_OUT_OF_MEMORY);
		assert_null(v.display.scanout[0].buffer);
	}
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
	display_budget_give(&v.display.budget, rest);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &blob_layout));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(0, 40, 30, 0, 0, 1);
	OK(gpudrv_unref(&v, 1));
	assert_int_equal(v.display.budget.used, 0);
}

static void test_gpu_blob_sharing_leaves_no_descriptor(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	int before = dup(0), after;

	(void)state;
	close(before);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t brk = v.d.brk;

		make_pages(1, i);
		OK(gpudrv_set_scanout_blob(&v, i % 2, 1, all, &blob_layout));
		if (i % 3 == 0) {
			OK(gpudrv_flush(&v, 1, all));
		}
		OK(gpudrv_unref(&v, 1));
		v.d.brk = brk;
	}
	assert_int_equal(udmabuf.made, 2000);
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
	assert_int_equal(v.display.budget.used, 0);
}

/* Each that is shared is a descriptor of the host, whether it is still shown or not: the guest has no more of them than of images. */
static void test_gpu_blob_sharing_descriptors_are_limited(void **state)
{
	enum { HIDE, KEEP, OTHER_LAYOUT, TURNS };
	struct display_rect all = rect(0, 0, 40, 30);
	struct gpu_layout lower = blob_layout;
	struct gpudrv_entry e = {.len = 3 * 4096};
	const unsigned before = open_descriptors();

	(void)state;
	lower.offset += 10ull * lower.stride;
	lower.height = 12;
	e.addr = tdrv_alloc(&v.d, e.len, 4096);
	for (unsigned turn = HIDE; turn < TURNS; turn++) {
		const unsigned most = turn == HIDE ? 0 : GPUDRV_IMAGES;
		unsigned n = 0;

		for (uint32_t id = 1; id <= GPUDRV_IMAGES + 100; id++) {
			uint32_t answer[2] = {GPU_RESP_OK_NODATA, GPU_RESP_OK_NODATA};

			OK(gpudrv_create_blob(&v, id, 9000, &e, 1));
			answer[0] = gpudrv_set_scanout_blob(&v, 0, id, all, &blob_layout);
			if (turn == OTHER_LAYOUT) {
				/* The first one's is the picture that the resource has no longer. */
				answer[1] = gpudrv_set_scanout_blob(&v, 1, id, rect(0, 0, 40, 12), &lower);
			}
			if (turn != KEEP) {
				OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &blob_layout));
			}
			n = open_descriptors() - before;
			/* And what scanouts show whose resource has another picture. */
			assert_true(n <= most + 2);
			for (unsigned i = 0; i < 2; i++) {
				assert_true(answer[i] == GPU_RESP_OK_NODATA || (answer[i] == GPU_RESP_ERR_OUT_OF_MEMORY && turn != HIDE && id >= GPUDRV_IMAGES));
			}
		}
		assert_true(n + 2 >= most);
		for (uint32_t id = 1; id <= GPUDRV_IMAGES + 100; id++) {
			OK(gpudrv_unref(&v, id));
		}
		assert_int_equal(open_descriptors(), before);
		assert_int_equal(v.display.budget.used, 0);
		OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8X8, 1, 1));
		OK(gpudrv_unref(&v, 1));
	}
}

/* A picture that another scanout has had since stays where that one shows it. */
static void test_gpu_blob_shared_hidden_on_the_scanout_that_has_an_older_picture(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	struct gpu_layout lower = blob_layout;

	(void)state;
	lower.offset += 10ull * lower.stride;
	lower.height = 12;
	make_pages(1, 7);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &blob_layout));
	OK(gpudrv_set_scanout_blob(&v, 1, 1, rect(0, 0, 40, 12), &lower));
	OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &blob_layout));
	assert_int_equal(udmabuf.made, 2);
	OK(gpudrv_set_scanout_blob(&v, 1, 1, rect(3, 1, 30, 10), &lower));
	ASSERT_SCREEN(1, 30, 10, 3, 11, 7);
	/* And one that is copied on the one says nothing of the other's. */
	udmabuf.error = -EMFILE;
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &blob_layout));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(0, 40, 30, 0, 0, 7);
	OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &blob_layout));
	OK(gpudrv_set_scanout_blob(&v, 1, 1, rect(0, 0, 40, 12), &lower));
	ASSERT_SCREEN(1, 40, 12, 0, 10, 7);
	assert_int_equal(udmabuf.made, 2);
}

/*
 * Turns, resets, memory.
 */

static void test_gpu_batch_has_one_interrupt(void **state)
{
	struct gpu_wire_cursor c = {.hdr.type = le32_of(GPU_CMD_MOVE_CURSOR)};
	struct gpu_wire_hdr info = {.type = le32_of(GPU_CMD_GET_DISPLAY_INFO)};
	uint32_t head, len, n = 0;
	uint64_t at, answers;
	unsigned irqs;

	(void)state;
	/* With event indexes the driver would hear of the first one only, however many there are. */
	tdrv_start_without(&v.d, VIRTIO_F_EVENT_IDX);
	v.in_gpa = tdrv_alloc(&v.d, 4096, 8);
	v.out_gpa = tdrv_alloc(&v.d, sizeof(v.out), 8);
	at = tdrv_alloc(&v.d, sizeof(c), 8);
	answers = tdrv_alloc(&v.d, 32 * 408, 8);
	memcpy(tdrv_ptr(&v.d, v.in_gpa, sizeof(info)), &info, sizeof(info));
	for (unsigned i = 0; i < 32; i++) {
		tdrv_add(&v.d, GPU_CONTROLQ, v.in_gpa, sizeof(info), answers + 408 * i, 408);
	}
	memcpy(tdrv_ptr(&v.d, at, sizeof(c)), &c, sizeof(c));
	tdrv_add(&v.d, GPU_CURSORQ, at, sizeof(c), 0, 0);
	irqs = v.d.used_irqs;
	tdrv_kick(&v.d, GPU_CONTROLQ);
	assert_int_equal(v.d.used_irqs, irqs + 2); /* one for each queue */
	while (tdrv_used(&v.d, GPU_CONTROLQ, &head, &len)) {
		n += len == 408;
	}
	assert_int_equal(n, 32);
	assert_true(tdrv_used(&v.d, GPU_CURSORQ, &head, &len));
}

static unsigned turns_of(unsigned commands)
{
	uint64_t before = v.gpu.counters.turns;
	uint32_t head, len, n = 0;

	for (unsigned i = 0; i < commands; i++) {
		tdrv_add(&v.d, GPU_CONTROLQ, v.in_gpa, sizeof(struct gpu_wire_transfer_2d), 0, 0);
	}
	tdrv_kick(&v.d, GPU_CONTROLQ);
	while (tdrv_used(&v.d, GPU_CONTROLQ, &head, &len)) {
		n++;
	}
	assert_int_equal(n, commands);
	return (unsigned)(v.gpu.counters.turns - before);
}

/* Whoever else is on the loop gets in between. */
static void test_gpu_turns_are_bounded_in_commands_and_in_bytes(void **state)
{
	struct gpu_wire_transfer_2d c = {.hdr.type = le32_of(GPU_CMD_TRANSFER_TO_HOST_2D), .r = {le32_of(0), le32_of(0), le32_of(400), le32_of(400)},
		.resource_id = le32_of(1)};

	(void)state;
	make(1, GPU_FORMAT_B8G8R8X8, 400, 400);
	c.r.width = le32_of(1);
	memcpy(tdrv_ptr(&v.d, v.in_gpa, sizeof(c)), &c, sizeof(c));
	assert_int_equal(turns_of(GPU_TURN_COMMANDS), 1);
	assert_int_equal(turns_of(3 * GPU_TURN_COMMANDS), 3);
	/* 640000 bytes each: 27 of them are 16 MiB. */
	c.r.width = le32_of(400);
	memcpy(tdrv_ptr(&v.d, v.in_gpa, sizeof(c)), &c, sizeof(c));
	assert_int_equal(turns_of(27), 1);
	assert_int_equal(turns_of(54), 2);
}

/* As display/still.c does. */
static void on_compared_frame(void *ctx, unsigned scanout)
{
	struct display_sink *sink = ctx;

	sink->at[scanout].has_frame = false;
	v.display.counters.compared_bytes += 400ull * 400 * 4;
}

/* Somebody waits until the screen is still: a guest that flushes what costs itself nothing does not hold the loop either. */
static void test_gpu_turns_are_bounded_by_what_is_compared(void **state)
{
	struct gpu_wire_flush c = {.hdr.type = le32_of(GPU_CMD_RESOURCE_FLUSH), .r = {.width = le32_of(400), .height = le32_of(400)}, .resource_id = le32_of(1)};
	struct display_sink sink = {.ops = &(const struct display_sink_ops){.frame = on_compared_frame}, .ctx = &sink};

	(void)state;
	make(1, GPU_FORMAT_B8G8R8X8, 400, 400);
	OK(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 400, 400)));
	memcpy(tdrv_ptr(&v.d, v.in_gpa, sizeof(c)), &c, sizeof(c));
	assert_int_equal(turns_of(54), 1);
	display_sink_add(&v.display, &sink);
	assert_int_equal(turns_of(27), 1);
	assert_int_equal(turns_of(54), 2);
	display_sink_remove(&v.display, &sink);
}

static void test_gpu_cursor_queue_alone(void **state)
{
	struct gpu_wire_cursor c = {.hdr.type = le32_of(GPU_CMD_MOVE_CURSOR), .pos.x = le32_of(77)};

	(void)state;
	/* A driver that uses only that queue. */
	assert_true(tdrv_negotiate(&v.d, virtio_device_features(&v.gpu.base)));
	v.d.brk = TDRV_RAM_GPA;
	tdrv_place_queue(&v.d, GPU_CURSORQ, GPU_CURSORQ_SIZE);
	assert_true(tdrv_enable_queue(&v.d, GPU_CURSORQ));
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 15);
	tdrv_serve(&v.d);
	v.in_gpa = tdrv_alloc(&v.d, 4096, 8);
	v.out_gpa = tdrv_alloc(&v.d, sizeof(v.out), 8);
	assert_int_equal(gpudrv_raw(&v, GPU_CURSORQ, &c, sizeof(c), NULL, 0), GPU_RESP_OK_NODATA);
	assert_int_equal(v.display.scanout[0].cursor.x, 77);
}

static void test_gpu_reset_forgets_everything(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	unsigned before = open_descriptors();
	uint32_t w, h;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		make(1, GPU_FORMAT_B8G8R8X8, 40, 30);
		make(2, GPU_FORMAT_B8G8R8A8, 64, 64);
		make_blob(3, 1);
		OK(gpudrv_set_scanout(&v, 0, 1, all));
		OK(gpudrv_set_scanout_blob(&v, 1, 3, all, &blob_layout));
		OK(gpudrv_flush(&v, 3, all));
		OK(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, 0, 2, 0, 0, 0, 0));
		display_set_output(&v.display, 0, &(struct display_output){.enabled = true, .width = 100 + round, .height = 100, .refresh_hz = 60});
		tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
		v.gpu.base.ops->reset(&v.gpu.base); /* twice is once */
		assert_null(gpudrv_shot(&v, 0, true, &w, &h));
		assert_null(gpudrv_shot(&v, 1, true, &w, &h));
		assert_false(v.display.scanout[0].cursor.visible);
		assert_int_equal(v.display.budget.used, 0);
		assert_int_equal(v.gpu.resources.n, 0);
		assert_int_equal(open_descriptors(), before);
		assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG), 0);
		gpudrv_start(&v);
	}
}

/* What is allocated, to the byte with a sanitizer; malloc counts what it keeps for the thread too. */
static size_t allocated(void)
{
#ifdef WITH_ASAN
	return __sanitizer_get_current_allocated_bytes();
#else
	const struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
#endif
}

/* Resident pages and mappings of this process. */
static void measure(unsigned long *pages, unsigned *maps)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long size;
	int c;

	assert_int_equal(fscanf(f, "%lu %lu", &size, pages), 2);
	fclose(f);
	f = fopen("/proc/self/maps", "re");
	for (*maps = 0; (c = getc(f)) != EOF;) {
		*maps += c == '\n';
	}
	fclose(f);
}

/* Made, painted, shown and gone, while it is shown. */
static void picture_comes_and_goes(uint32_t i, const struct gpudrv_entry *e)
{
	const struct display_rect all = rect(0, 0, 32, 32);

	OK(gpudrv_create(&v, i + 1, GPU_FORMAT_B8G8R8X8, 32, 32));
	OK(gpudrv_attach(&v, i + 1, e, 1));
	OK(gpudrv_transfer(&v, i + 1, all, 0));
	OK(gpudrv_set_scanout(&v, i % 2, i + 1, all));
	OK(gpudrv_flush(&v, i + 1, all));
	if (i % 3 == 0) {
		OK(gpudrv_detach(&v, i + 1));
	}
	OK(gpudrv_unref(&v, i + 1));
}

static void blob_comes_and_goes(uint32_t i, const struct gpudrv_entry *e)
{
	const struct display_rect all = rect(0, 0, 32, 32);

	OK(gpudrv_create_blob(&v, i + 1, e->len, e, 1));
	OK(gpudrv_set_scanout_blob(&v, i / 4 % 2, i + 1, all, &(struct gpu_layout){GPU_FORMAT_B8G8R8X8, 32, 32, 128, 0}));
	OK(gpudrv_flush(&v, i + 1, all));
	OK(gpudrv_unref(&v, i + 1));
}

static void cursor_comes_and_goes(uint32_t i, const struct gpudrv_entry *e)
{
	OK(gpudrv_create(&v, i + 1, GPU_FORMAT_B8G8R8A8, 64, 64));
	OK(gpudrv_attach(&v, i + 1, e, 1));
	OK(gpudrv_transfer(&v, i + 1, rect(0, 0, 64, 16), 0));
	OK(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, i / 4 % 2, i + 1, 1, 2, 3, 4));
	OK(gpudrv_unref(&v, i + 1));
}

static void test_gpu_ten_thousand_resources_come_and_go(void **state)
{
	static void (*const come_and_go[])(uint32_t i, const struct gpudrv_entry *e) = {picture_comes_and_goes, blob_comes_and_goes, cursor_comes_and_goes};
	unsigned before = 0, maps = 0, maps_before = 0;
	unsigned long pages = 0, pages_before = 0;
	size_t allocated_before = 0;
	struct gpudrv_entry e = {.len = 32 * 32 * 4};

	(void)state;
	e.addr = tdrv_alloc(&v.d, e.len, 16);
	for (uint32_t i = 0; i < 10000; i++) {
		come_and_go[i % 4 < 2 ? 0 : i % 4 - 1](i, &e);
		if (i == 200) {
			before = open_descriptors();
			allocated_before = allocated();
			measure(&pages_before, &maps_before);
		}
	}
	measure(&pages, &maps);
	assert_int_equal(v.display.budget.used, 0);
	assert_int_equal(open_descriptors(), before);
	assert_true(maps <= maps_before + 4);
	/* Less than a byte for each. */
	assert_true(allocated() <= allocated_before + 8192);
#ifndef WITH_ASAN
	/* Which keeps freed memory for a while. */
	assert_true(pages <= pages_before + 64);
#endif
}

/* What a sink holds costs the guest its allowance until the sink lets go. */
static void test_gpu_memory_of_a_slow_sink_counts(void **state)
{
	struct display_sink sink = {.ops = &(const struct display_sink_ops){.mode = NULL}};
	struct display_frame held[4];
	struct display_rect all = rect(0, 0, 1000, 1000); /* 4 MB each, of 16 */

	(void)state;
	display_sink_add(&v.display, &sink);
	for (uint32_t i = 0; i < 4; i++) {
		OK(gpudrv_create(&v, i + 1, GPU_FORMAT_B8G8R8X8, 1000, 1000));
		OK(gpudrv_set_scanout(&v, 0, i + 1, all));
		OK(gpudrv_flush(&v, i + 1, all));
		assert_true(display_take(&v.display, &sink, 0, &held[i]));
		OK(gpudrv_unref(&v, i + 1));
	}
	assert_int_equal(gpudrv_create(&v, 9, GPU_FORMAT_B8G8R8X8, 1000, 1000), GPU_RESP_ERR_OUT_OF_MEMORY);
	display_buffer_unref(held[0].buffer);
	OK(gpudrv_create(&v, 9, GPU_FORMAT_B8G8R8X8, 1000, 1000));
	/* The device forgets all; the sink keeps what it has. */
	gpudrv_start(&v);
	assert_int_equal(v.display.budget.used, 3 * 4000000);
	for (unsigned i = 1; i < 4; i++) {
		assert_int_equal(display_buffer_map(held[i].buffer)[3999999], 0);
		display_buffer_unref(held[i].buffer);
	}
	assert_int_equal(v.display.budget.used, 0);
	display_sink_remove(&v.display, &sink);
}

static void test_gpu_finish_accepts_zeroed_memory(void **state)
{
	static struct gpu never;

	(void)state;
	gpu_finish(&never);
	gpu_finish(&never);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T2(name) cmocka_unit_test_setup_teardown(name, setup_two, teardown)
#define TB(name) cmocka_unit_test_setup_teardown(name, setup_blob, teardown)
#define TS(name) cmocka_unit_test_setup_teardown(name, setup_shared, teardown)

/*
 * Flushes that wait to be seen.
 */

static const struct display_sink_ops blind = {.mode = NULL};
static struct display_sink pacer;

/* Somebody paces, and resource 1 is shown. */
static void begin_pacing(void)
{
	make(1, GPU_FORMAT_B8G8R8X8, 64, 32);
	OK(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 64, 32)));
	pacer = (struct display_sink){.ops = &blind};
	display_sink_add(&v.display, &pacer);
	display_pace(&v.display, &pacer);
}

static void end_pacing(void)
{
	display_sink_remove(&v.display, &pacer);
}

static void seen(uint64_t number)
{
	display_seen(&v.display, &pacer, 0, number);
	tdrv_serve(&v.d);
}

/* Leaves @type for @resource on the control queue. @fence 0: none. Return: the chain's head; its answer will be at *@at. */
static uint32_t leave_of(uint32_t resource, uint32_t type, uint64_t fence, uint64_t *at)
{
	struct gpu_wire_flush m = {.hdr = {.type = le32_of(type), .flags = le32_of(fence ? GPU_FLAG_FENCE : 0), .fence_id = le64_of(fence)},
		.r = {.x = le32_of(1), .width = le32_of(8), .height = le32_of(8)}, .resource_id = le32_of(resource)}; /* others have the resource where x is */
	uint64_t in = tdrv_alloc(&v.d, sizeof(m), 8);
	uint32_t head;

	*at = tdrv_alloc(&v.d, sizeof(struct gpu_wire_hdr), 8);
	memcpy(tdrv_ptr(&v.d, in, sizeof(m)), &m, sizeof(m));
	head = tdrv_add(&v.d, GPU_CONTROLQ, in, sizeof(m), *at, sizeof(struct gpu_wire_hdr));
	tdrv_kick(&v.d, GPU_CONTROLQ);
	return head;
}

static uint32_t leave(uint32_t type, uint64_t fence, uint64_t *at)
{
	return leave_of(1, type, fence, at);
}

/* The next answer is of chain @head, and OK. */
static void want_answer(uint32_t head, uint64_t at, uint64_t fence)
{
	const struct gpu_wire_hdr *hdr = tdrv_ptr(&v.d, at, sizeof(*hdr));
	uint32_t got, len;

	assert_true(tdrv_used(&v.d, GPU_CONTROLQ, &got, &len));
	assert_int_equal(got, head);
	assert_int_equal(len, sizeof(*hdr));
	assert_int_equal(le32_get(hdr->type), GPU_RESP_OK_NODATA);
	assert_int_equal(le64_get(hdr->fence_id), fence);
}

static void want_no_answer(void)
{
	uint32_t got, len;

	assert_false(tdrv_used(&v.d, GPU_CONTROLQ, &got, &len));
}

static void test_gpu_flush_waits_to_be_seen(void **state)
{
	uint32_t first, second;
	uint64_t at, at2;

	(void)state;
	begin_pacing();
	first = leave(GPU_CMD_RESOURCE_FLUSH, 0, &at);
	want_no_answer();
	/* Others go on. */
	OK(gpudrv_transfer(&v, 1, rect(0, 0, 8, 8), 0));
	second = leave(GPU_CMD_RESOURCE_FLUSH, 0, &at2);
	seen(1);
	want_answer(first, at, 0);
	want_no_answer();
	seen(2);
	want_answer(second, at2, 0);
	/* What is not shown is answered at once. */
	make(2, GPU_FORMAT_B8G8R8X8, 64, 32);
	OK(gpudrv_flush(&v, 2, rect(0, 0, 8, 8)));
	display_pace(&v.display, NULL);
	OK(gpudrv_flush(&v, 1, rect(0, 0, 4, 4)));
	assert_int_equal(v.display.counters.held, 2);
	end_pacing();
}

static void test_gpu_flush_waits_no_longer_than_that(void **state)
{
	uint32_t first;
	uint64_t at;

	(void)state;
	clock_set_test_ns(1000000000);
	begin_pacing();
	first = leave(GPU_CMD_RESOURCE_FLUSH, 9, &at);
	clock_set_test_ns(1000000000 + DISPLAY_HOLD_NS - 1);
	tdrv_serve(&v.d);
	want_no_answer();
	clock_set_test_ns(1000000000 + DISPLAY_HOLD_NS);
	tdrv_serve(&v.d);
	want_answer(first, at, 9);
	OK(gpudrv_flush(&v, 1, rect(0, 0, 8, 8)));
	end_pacing();
	clock_set_test_ns(0);
}

/* The first waits for one scanout; the other two are seen at once on another, and each would let the ones before it go. */
static void test_gpu_fences_seen_at_once_are_answered_once(void **state)
{
	uint32_t head[4];
	uint64_t at[4];

	(void)state;
	begin_pacing();
	make(2, GPU_FORMAT_B8G8R8X8, 64, 32);
	OK(gpudrv_set_scanout(&v, 1, 2, rect(0, 0, 64, 32)));
	for (unsigned i = 0; i < 4; i++) {
		head[i] = leave_of(i ? 2 : 1, GPU_CMD_RESOURCE_FLUSH, 10 + i, &at[i]);
	}
	want_no_answer();
	display_seen(&v.display, &pacer, 1, v.display.scanout[1].frames);
	tdrv_serve(&v.d);
	for (unsigned i = 0; i < 4; i++) {
		want_answer(head[i], at[i], 10 + i);
	}
	want_no_answer();
	end_pacing();
}

static void test_gpu_fence_overtakes_no_fence(void **state)
{
	uint32_t head[4];
	uint64_t at[4];

	(void)state;
	begin_pacing();
	head[0] = leave(GPU_CMD_RESOURCE_FLUSH, 10, &at[0]);
	head[1] = leave(GPU_CMD_RESOURCE_FLUSH, 0, &at[1]);
	head[2] = leave(GPU_CMD_RESOURCE_FLUSH, 11, &at[2]);
	want_no_answer();
	/* A younger fence: those held before it go first, the one without a fence waits on. */
	head[3] = leave(GPU_CMD_RESOURCE_DETACH_BACKING, 12, &at[3]);
	want_answer(head[0], at[0], 10);
	want_answer(head[2], at[2], 11);
	want_answer(head[3], at[3], 12);
	want_no_answer();
	seen(2);
	want_answer(head[1], at[1], 0);
	/* Nor one of the other queue's. */
	head[0] = leave(GPU_CMD_RESOURCE_FLUSH, 13, &at[0]);
	want_no_answer();
	v.flags = GPU_FLAG_FENCE;
	v.fence = 14;
	OK(gpudrv_cursor(&v, GPU_CMD_MOVE_CURSOR, 0, 0, 5, 5, 0, 0));
	v.flags = 0;
	want_answer(head[0], at[0], 13);
	end_pacing();
}

static void test_gpu_holds_so_many(void **state)
{
	uint32_t head[GPU_HELD_MAX + 1];
	uint64_t at[GPU_HELD_MAX + 1];

	(void)state;
	begin_pacing();
	for (unsigned i = 0; i < GPU_HELD_MAX; i++) {
		head[i] = leave(GPU_CMD_RESOURCE_FLUSH, 0, &at[i]);
	}
	want_no_answer();
	head[GPU_HELD_MAX] = leave(GPU_CMD_RESOURCE_FLUSH, 0, &at[GPU_HELD_MAX]);
	want_answer(head[0], at[0], 0);
	want_no_answer();
	/* The one who paces goes. */
	end_pacing();
	tdrv_serve(&v.d);
	for (unsigned i = 1; i <= GPU_HELD_MAX; i++) {
		want_answer(head[i], at[i], 0);
	}
}

static void test_gpu_reset_forgets_what_waits(void **state)
{
	uint64_t fenced, at;

	(void)state;
	begin_pacing();
	leave(GPU_CMD_RESOURCE_FLUSH, 3, &fenced);
	leave(GPU_CMD_RESOURCE_FLUSH, 0, &at);
	memcpy(tdrv_ptr(&v.d, fenced, 4), "mine", 4);
	memcpy(tdrv_ptr(&v.d, at, 4), "mine", 4);
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	assert_null(v.display.holds);
	/* Memory where an answer would have been is the guest's again. */
	assert_memory_equal(tdrv_ptr(&v.d, fenced, 4), "mine", 4);
	assert_memory_equal(tdrv_ptr(&v.d, at, 4), "mine", 4);
	gpudrv_start(&v);
	make(1, GPU_FORMAT_B8G8R8X8, 64, 32);
	OK(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 64, 32)));
	leave(GPU_CMD_RESOURCE_FLUSH, 0, &at);
	want_no_answer();
	/* Nothing is shown, and so nothing can be seen. */
	end_pacing();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T2(test_gpu_configuration),
		T2(test_gpu_display_info_and_edid_agree),
		T2(test_gpu_cve_2026_68255_edid_is_as_long_as_it_says),
		T2(test_gpu_output_changes_reach_the_driver),
		T2(test_gpu_output_change_while_the_driver_is_busy_with_another),
		T(test_gpu_every_format_to_the_pixel),
		T(test_gpu_sizes_from_one_pixel_on),
		cmocka_unit_test_setup_teardown(test_gpu_every_format_in_every_size, setup_large, teardown),
		T(test_gpu_partial_transfers),
		T(test_gpu_transfer_offset),
		T(test_gpu_scattered_backing),
		T(test_gpu_largest_number_of_pieces),
		TB(test_gpu_pieces_are_walked_once_for_all_rows),
		T2(test_gpu_crops_and_mirrors),
		T(test_gpu_page_flips),
		T2(test_gpu_scanout_off_and_resource_gone),
		T(test_gpu_new_resource_is_black),
		T(test_gpu_fence_comes_back_with_the_answer),
		T(test_gpu_flush_waits_to_be_seen),
		T(test_gpu_flush_waits_no_longer_than_that),
		T(test_gpu_fence_overtakes_no_fence),
		T2(test_gpu_fences_seen_at_once_are_answered_once),
		T(test_gpu_holds_so_many),
		T(test_gpu_reset_forgets_what_waits),
		T2(test_gpu_cursor_image_hot_spot_and_place),
		T(test_gpu_cursor_commands_need_no_answer),
		TB(test_gpu_blob_is_shown_by_a_flush),
		TB(test_gpu_blob_is_seen_before_its_first_flush),
		TB(test_gpu_blob_is_a_cursor),
		TB(test_gpu_blob_flips_take_no_memory),
		TB(test_gpu_blob_layouts_back_and_forth),
		TB(test_gpu_blob_flip_leaves_the_shown_picture_alone),
		TB(test_gpu_blob_crops_layouts_and_two_scanouts),
		TS(test_gpu_blob_that_is_shared_is_not_copied),
		TS(test_gpu_blob_flips_share_each_once),
		TS(test_gpu_blob_shared_layouts_and_two_scanouts),
		TS(test_gpu_blob_that_cannot_be_shared_is_copied),
		TS(test_gpu_blob_sharing_descriptors_are_limited),
		TS(test_gpu_blob_shared_hidden_on_the_scanout_that_has_an_older_picture),
		TS(test_gpu_blob_sharing_is_paid_for),
		TS(test_gpu_blob_sharing_leaves_no_descriptor),
		T(test_gpu_batch_has_one_interrupt),
		T(test_gpu_turns_are_bounded_in_commands_and_in_bytes),
		T(test_gpu_turns_are_bounded_by_what_is_compared),
		T(test_gpu_cursor_queue_alone),
		TB(test_gpu_reset_forgets_everything),
		TB(test_gpu_ten_thousand_resources_come_and_go),
		T(test_gpu_memory_of_a_slow_sink_counts),
		T(test_gpu_finish_accepts_zeroed_memory),
	};

	return cmocka_run_group_tests_name("gpu", tests, NULL, NULL);
}
