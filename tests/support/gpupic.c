/* SPDX-License-Identifier: MIT */
#include "tests/support/gpupic.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vmm/log.h"

#define OK(x) assert_int_equal(x, GPU_RESP_OK_NODATA)

static unsigned lines_logged;

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
	lines_logged++;
}

void gpupic_begin(struct gpudrv *v, unsigned scanouts, bool blob, uint64_t budget)
{
	gpudrv_init(v, scanouts, &(struct gpu_options){.blob = blob}, budget);
	lines_logged = 0;
	log_set_hook(on_log);
}

void gpupic_was_said(void)
{
	assert_true(lines_logged > 0);
	lines_logged = 0;
}

void gpupic_end(struct gpudrv *v)
{
	assert_int_equal(lines_logged, 0);
	log_set_hook(NULL);
	gpudrv_finish(v);
}

int gpupic_setup(void **state)
{
	gpupic_begin(*state, 1, false, GPUDRV_BUDGET);
	return 0;
}

int gpupic_setup_two(void **state)
{
	gpupic_begin(*state, 2, false, GPUDRV_BUDGET);
	return 0;
}

int gpupic_setup_blob(void **state)
{
	gpupic_begin(*state, 2, true, GPUDRV_BUDGET);
	return 0;
}

int gpupic_teardown(void **state)
{
	gpupic_end(*state);
	return 0;
}

unsigned gpupic_open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++) {
		n += fcntl(fd, F_GETFD) >= 0;
	}
	return n;
}

const struct gpupic_format gpupic_formats[GPUPIC_FORMATS] = {
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

uint32_t gpupic_pixel(uint32_t x, uint32_t y, unsigned seed)
{
	return (uint32_t)color('A', x, y, seed) << 24 | (uint32_t)color('R', x, y, seed) << 16 | (uint32_t)color('G', x, y, seed) << 8 | color('B', x, y, seed);
}

void gpupic_paint(struct gpudrv *v, uint64_t gpa, const char *order, uint32_t stride, const struct display_rect *r, unsigned seed)
{
	for (uint32_t y = r->y; y < r->y + r->h; y++) {
		uint8_t *p = tdrv_ptr(&v->d, gpa + (uint64_t)y * stride + 4ull * r->x, 4 * r->w);

		for (uint32_t x = r->x; x < r->x + r->w; x++, p += 4) {
			for (unsigned c = 0; c < 4; c++) {
				p[c] = color(order[c], x, y, seed);
			}
		}
	}
}

unsigned gpupic_differences(const uint8_t *shot, uint32_t width, uint32_t height, uint32_t at_x, uint32_t at_y, unsigned seed, enum gpupic_spoil spoil)
{
	unsigned n = 0;

	for (uint32_t y = 0; y < height; y++) {
		for (uint32_t x = 0; x < width; x++, shot += 4) {
			uint32_t px = at_x + (spoil == GPUPIC_MIRRORED ? width - 1 - x : x), py = at_y + (spoil == GPUPIC_FLIPPED ? height - 1 - y : y);
			uint8_t b = color(spoil == GPUPIC_SWAPPED ? 'R' : 'B', px, py, seed), r = color(spoil == GPUPIC_SWAPPED ? 'B' : 'R', px, py, seed);

			n += shot[0] != b || shot[1] != color('G', px, py, seed) || shot[2] != r;
		}
	}
	return n;
}

unsigned gpupic_screen_differs(struct gpudrv *v, unsigned scanout, uint32_t want_w, uint32_t want_h, uint32_t at_x, uint32_t at_y, unsigned seed, enum gpupic_spoil spoil)
{
	uint32_t w, h;
	uint8_t *shot = gpudrv_shot(v, scanout, true, &w, &h);
	unsigned n;

	assert_non_null(shot);
	assert_int_equal(w, want_w);
	assert_int_equal(h, want_h);
	n = gpupic_differences(shot, w, h, at_x, at_y, seed, spoil);
	free(shot);
	return n;
}

uint64_t gpupic_make(struct gpudrv *v, uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
	struct gpudrv_entry e = {.len = width * height * 4};

	e.addr = tdrv_alloc(&v->d, e.len, 16);
	OK(gpudrv_create(v, id, format, width, height));
	OK(gpudrv_attach(v, id, &e, 1));
	return e.addr;
}

const struct gpu_layout gpupic_blob_layout = {.format = GPU_FORMAT_B8G8R8X8, .width = 40, .height = 30, .stride = 200, .offset = 96};

uint64_t gpupic_make_blob(struct gpudrv *v, uint32_t id, unsigned seed)
{
	struct gpudrv_entry e[3];
	uint64_t mem = tdrv_alloc(&v->d, 6400, 16);
	struct display_rect all = {0, 0, gpupic_blob_layout.width, gpupic_blob_layout.height};

	gpupic_paint(v, mem + gpupic_blob_layout.offset, "BGRX", gpupic_blob_layout.stride, &all, seed);
	e[0] = (struct gpudrv_entry){.addr = mem, .len = 1001};
	e[1] = (struct gpudrv_entry){.addr = mem + 1001, .len = 3};
	e[2] = (struct gpudrv_entry){.addr = mem + 1004, .len = 6400 - 1004};
	OK(gpudrv_create_blob(v, id, 6100, e, 3));
	return mem + gpupic_blob_layout.offset;
}
