/* SPDX-License-Identifier: MIT */
/* Pictures of virtio-gpu in guest memory, blobs, over real rings: copied by a flush, or, where the host has udmabuf, shown where they are. */
#include "devices/gpu.h"

#include <errno.h>
#include <linux/udmabuf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/gpupic.h"

static struct gpudrv v;

#define OK(x) assert_int_equal(x, GPU_RESP_OK_NODATA)
#define ASSERT_SCREEN(scanout, w, h, x, y, seed) assert_int_equal(gpupic_screen_differs(&v, scanout, w, h, x, y, seed, GPUPIC_RIGHT), 0)

static struct display_rect rect(uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	return (struct display_rect){x, y, w, h};
}

static void test_gpu_blob_is_shown_by_a_flush(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30), part = rect(4, 5, 6, 7);
	uint64_t mem, copied;
	uint32_t w, h;
	uint8_t *shot;

	(void)state;
	assert_int_equal(virtio_device_features(&v.gpu.base) & 0x3f, GPU_F_EDID | GPU_F_RESOURCE_BLOB);
	mem = gpupic_make_blob(&v, 1, 1);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &gpupic_blob_layout));
	/* The first one is of all, whatever the guest says. */
	OK(gpudrv_flush(&v, 1, part));
	ASSERT_SCREEN(0, 40, 30, 0, 0, 1);
	gpupic_paint(&v, mem, "BGRX", gpupic_blob_layout.stride, &all, 2);
	copied = v.gpu.backend->copied_bytes;
	OK(gpudrv_flush(&v, 1, part));
	assert_int_equal(v.gpu.backend->copied_bytes - copied, 4 * 6 * 7);
	shot = gpudrv_shot(&v, 0, true, &w, &h);
	for (uint32_t y = 0; y < 30; y++) {
		for (uint32_t x = 0; x < 40; x++) {
			bool is_new = x >= 4 && x < 10 && y >= 5 && y < 12;

			assert_int_equal(gpupic_differences(shot + 4 * (y * 40 + x), 1, 1, x, y, is_new ? 2 : 1, GPUPIC_RIGHT), 0);
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
		gpupic_make_blob(&v, i, i);
		OK(gpudrv_set_scanout_blob(&v, 0, i, all, &gpupic_blob_layout));
		assert_int_equal(v.gpu.backend->copied_bytes, copied);
		ASSERT_SCREEN(0, 40, 30, 0, 0, i);
		copied = v.gpu.backend->copied_bytes;
		/* Once. */
		ASSERT_SCREEN(0, 40, 30, 0, 0, i);
		assert_int_equal(v.gpu.backend->copied_bytes, copied);
	}
	/* By one who takes frames, too. */
	gpupic_make_blob(&v, 4, 4);
	OK(gpudrv_set_scanout_blob(&v, 0, 4, part, &gpupic_blob_layout));
	display_sink_add(&v.display, &sink);
	assert_true(display_take(&v.display, &sink, 0, &f));
	assert_int_equal(v.gpu.backend->copied_bytes - copied, 4 * 6 * 7);
	assert_int_equal(gpupic_differences(display_buffer_map(f.buffer) + (5 * 40 + 4) * 4, 1, 1, 4, 5, 4, GPUPIC_RIGHT), 0);
	display_buffer_unref(f.buffer);
	display_sink_remove(&v.display, &sink);
	/* Nothing is left to be brought for what is no copied blob. */
	gpupic_make_blob(&v, 5, 5);
	OK(gpudrv_set_scanout_blob(&v, 0, 5, all, &gpupic_blob_layout));
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
	gpupic_paint(&v, mem, "BGRA", 256, &all, 3);
	/* It sends this too. */
	OK(gpudrv_transfer(&v, 1, all, 0));
	assert_int_equal(v.gpu.backend->copied_bytes, copied);
	OK(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, 0, 1, 7, 8, 1, 2));
	assert_true(c->visible);
	for (uint32_t i = 0; i < 64 * 64; i++) {
		assert_int_equal(c->image[i], gpupic_pixel(i % 64, i / 64, 3));
	}
	/* What is painted afterwards is not seen before it is said. */
	gpupic_paint(&v, mem, "BGRA", 256, &all, 4);
	assert_int_equal(c->image[100], gpupic_pixel(100 % 64, 1, 3));
}

static void test_gpu_blob_flips_take_no_memory(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	uint64_t used = 0, mem[3];

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		mem[i] = gpupic_make_blob(&v, i + 1, i);
	}
	for (uint32_t i = 0; i < 30; i++) {
		gpupic_paint(&v, mem[i % 3], "BGRX", gpupic_blob_layout.stride, &all, i);
		OK(gpudrv_set_scanout_blob(&v, 0, 1 + i % 3, all, &gpupic_blob_layout));
		OK(gpudrv_flush(&v, 1 + i % 3, all));
		ASSERT_SCREEN(0, 40, 30, 0, 0, i);
		if (i == 2) {
			used = v.display.budget.used;
		}
	}
	assert_int_equal(v.display.budget.used, used);
	OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &gpupic_blob_layout));
	for (uint32_t i = 0; i < 3; i++) {
		OK(gpudrv_unref(&v, i + 1));
	}
	assert_int_equal(v.display.budget.used, 0);
}

/* After any number of flips another size comes, and the first one again. */
static void test_gpu_blob_layouts_back_and_forth(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30), part = rect(0, 0, 40, 12);
	struct gpu_layout other = gpupic_blob_layout;
	uint64_t mem[2] = {gpupic_make_blob(&v, 1, 1), gpupic_make_blob(&v, 2, 2)}, used;

	(void)state;
	other.height = part.h;
	for (uint32_t flips = 1; flips < 7; flips++) {
		for (uint32_t i = 0; i < flips; i++) {
			gpupic_paint(&v, mem[i % 2], "BGRX", gpupic_blob_layout.stride, &all, i);
			OK(gpudrv_set_scanout_blob(&v, 0, 1 + i % 2, all, &gpupic_blob_layout));
			OK(gpudrv_flush(&v, 1 + i % 2, all));
			ASSERT_SCREEN(0, 40, 30, 0, 0, i);
		}
		used = v.display.budget.used;
		OK(gpudrv_set_scanout_blob(&v, 0, 1, part, &other));
		OK(gpudrv_flush(&v, 1, part));
		/* Two pictures are there, and counted. */
		assert_int_equal(v.display.budget.used, used + 40 * 12 * 4 - (flips > 1 ? 40 * 30 * 4 : 0));
		gpupic_paint(&v, mem[1], "BGRX", gpupic_blob_layout.stride, &all, 50);
		OK(gpudrv_set_scanout_blob(&v, 0, 2, all, &gpupic_blob_layout));
		OK(gpudrv_flush(&v, 2, all));
		ASSERT_SCREEN(0, 40, 30, 0, 0, 50);
		OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &gpupic_blob_layout));
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
	gpupic_make_blob(&v, 1, 1);
	gpupic_make_blob(&v, 2, 2);
	display_sink_add(&v.display, &sink);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &gpupic_blob_layout));
	OK(gpudrv_flush(&v, 1, all));
	assert_true(display_take(&v.display, &sink, 0, &one));
	map = display_buffer_map(one.buffer);
	memcpy(before, map + 400, 4);
	OK(gpudrv_set_scanout_blob(&v, 0, 2, all, &gpupic_blob_layout));
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
	struct gpu_layout lower = gpupic_blob_layout;

	(void)state;
	gpupic_make_blob(&v, 1, 5);
	lower.offset += 10ull * lower.stride;
	lower.height = 12;
	OK(gpudrv_set_scanout_blob(&v, 0, 1, rect(7, 3, 20, 10), &gpupic_blob_layout));
	OK(gpudrv_set_scanout_blob(&v, 1, 1, rect(0, 0, 40, 12), &lower));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(0, 20, 10, 7, 3, 5);
	ASSERT_SCREEN(1, 40, 12, 0, 10, 5);
	/* Another size, and a 2D resource, and back. */
	OK(gpudrv_set_scanout_blob(&v, 1, 1, all, &gpupic_blob_layout));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(1, 40, 30, 0, 0, 5);
	OK(gpudrv_create(&v, 2, GPU_FORMAT_B8G8R8X8, 8, 8));
	OK(gpudrv_set_scanout(&v, 1, 2, rect(0, 0, 8, 8)));
	OK(gpudrv_set_scanout_blob(&v, 1, 1, all, &gpupic_blob_layout));
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
	gpupic_begin(&v, 2, true, GPUDRV_BUDGET);
	(void)state;
	memset(&udmabuf, 0, sizeof(udmabuf));
	v.share = (struct gpu_share){.dev = SHARE_DEV, .create = make_udmabuf};
	gmem_share(&v.d.mem, SHARE_FILE, SHARE_OFFSET);
	return 0;
}

/* In three pages that lie the wrong way round, the first two of a picture behind the third. */
static void make_pages(uint32_t id, unsigned seed)
{
	struct display_rect all = rect(0, 0, gpupic_blob_layout.width, gpupic_blob_layout.height);
	uint64_t mem = tdrv_alloc(&v.d, 3 * 4096ull, 4096), flat = tdrv_alloc(&v.d, 3 * 4096ull, 16);
	struct gpudrv_entry e[2] = {{.addr = mem + 4096, .len = 8192}, {.addr = mem, .len = 4096}};

	gpupic_paint(&v, flat + gpupic_blob_layout.offset, "BGRX", gpupic_blob_layout.stride, &all, seed);
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
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &gpupic_blob_layout));
	OK(gpudrv_flush(&v, 1, part));
	assert_int_equal(udmabuf.made, 1);
	assert_int_equal(udmabuf.pieces, 2);
	assert_true(display_take(&v.display, &sink, 0, &f));
	assert_true(f.buffer->picture.is_guest);
	assert_int_equal(f.buffer->picture.len, 3 * 4096);
	assert_int_equal(f.buffer->picture.offset, gpupic_blob_layout.offset);
	ASSERT_SCREEN(0, 40, 30, 0, 0, 1);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, part, &gpupic_blob_layout));
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
		OK(gpudrv_set_scanout_blob(&v, 0, 1 + i % 3, all, &gpupic_blob_layout));
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
	struct gpu_layout lower = gpupic_blob_layout;

	(void)state;
	lower.offset += 10ull * lower.stride;
	lower.height = 12;
	make_pages(1, 5);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, rect(7, 3, 20, 10), &gpupic_blob_layout));
	OK(gpudrv_set_scanout_blob(&v, 1, 1, all, &gpupic_blob_layout));
	assert_int_equal(udmabuf.made, 1);
	assert_ptr_equal(v.display.scanout[0].buffer, v.display.scanout[1].buffer);
	OK(gpudrv_set_scanout_blob(&v, 1, 1, rect(0, 0, 40, 12), &lower));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(0, 20, 10, 7, 3, 5);
	ASSERT_SCREEN(1, 40, 12, 0, 10, 5);
	/* Off on one of them, and back, and something else. */
	OK(gpudrv_set_scanout_blob(&v, 1, 0, all, &lower));
	ASSERT_SCREEN(0, 20, 10, 7, 3, 5);
	OK(gpudrv_set_scanout_blob(&v, 1, 1, all, &gpupic_blob_layout));
	ASSERT_SCREEN(1, 40, 30, 0, 0, 5);
	OK(gpudrv_create(&v, 2, GPU_FORMAT_B8G8R8X8, 8, 8));
	OK(gpudrv_set_scanout(&v, 0, 2, rect(0, 0, 8, 8)));
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &gpupic_blob_layout));
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
	uint64_t mem;

	(void)state;
	make_pages(1, 3);
	for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		udmabuf.error = errors[i];
		OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &gpupic_blob_layout));
		OK(gpudrv_flush(&v, 1, all));
		ASSERT_SCREEN(0, 40, 30, 0, 0, 3);
		assert_false(v.display.scanout[0].buffer->picture.is_guest);
		assert_int_equal(v.gpu.backend->blobs_copied, i + 1);
		udmabuf.error = 0;
		OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &gpupic_blob_layout));
		OK(gpudrv_flush(&v, 1, all));
		ASSERT_SCREEN(0, 40, 30, 0, 0, 3);
		assert_true(v.display.scanout[0].buffer->picture.is_guest);
		OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &gpupic_blob_layout));
	}
	assert_int_equal(v.gpu.backend->copied_bytes, 4u * 40 * 30 * 4);
	assert_int_equal(v.gpu.backend->blobs_shared, 4);
	assert_int_equal(v.gpu.backend->blob_pieces, 2);
	gpupic_make_blob(&v, 2, 4); /* pieces of 1001 bytes */
	udmabuf.made = 0;
	OK(gpudrv_set_scanout_blob(&v, 0, 2, all, &gpupic_blob_layout));
	OK(gpudrv_flush(&v, 2, all));
	ASSERT_SCREEN(0, 40, 30, 0, 0, 4);
	/* Which follow each other. */
	assert_int_equal(v.gpu.backend->blob_pieces, 1);
	assert_int_equal(v.gpu.backend->blob_pieces_max, 2);
	assert_int_equal(udmabuf.made, 0);
	/* As many bytes as three pages have, from the middle of one on. */
	mem = tdrv_alloc(&v.d, 4 * 4096ull, 4096) + 512;
	gpupic_paint(&v, mem + gpupic_blob_layout.offset, "BGRX", gpupic_blob_layout.stride, &all, 5);
	OK(gpudrv_create_blob(&v, 4, 9000, &(struct gpudrv_entry){.addr = mem, .len = 3 * 4096}, 1));
	OK(gpudrv_set_scanout_blob(&v, 0, 4, all, &gpupic_blob_layout));
	OK(gpudrv_flush(&v, 4, all));
	ASSERT_SCREEN(0, 40, 30, 0, 0, 5);
	assert_int_equal(udmabuf.made, 0);
	v.d.mem.region[0].has_file = false;
	make_pages(3, 6);
	OK(gpudrv_set_scanout_blob(&v, 1, 3, all, &gpupic_blob_layout));
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
		assert_int_equal(gpudrv_set_scanout_blob(&v, 0, 1, all, &gpupic_blob_layout), GPU_RESP_ERR_OUT_OF_MEMORY);
		assert_null(v.display.scanout[0].buffer);
	}
	gpupic_was_said();
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
	display_budget_give(&v.display.budget, rest);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &gpupic_blob_layout));
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
		OK(gpudrv_set_scanout_blob(&v, i % 2, 1, all, &gpupic_blob_layout));
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
	struct gpu_layout lower = gpupic_blob_layout;
	struct gpudrv_entry e = {.len = 3 * 4096};
	const unsigned before = gpupic_open_descriptors();

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
			answer[0] = gpudrv_set_scanout_blob(&v, 0, id, all, &gpupic_blob_layout);
			if (turn == OTHER_LAYOUT) {
				/* The first one's is the picture that the resource has no longer. */
				answer[1] = gpudrv_set_scanout_blob(&v, 1, id, rect(0, 0, 40, 12), &lower);
			}
			if (turn != KEEP) {
				OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &gpupic_blob_layout));
			}
			n = gpupic_open_descriptors() - before;
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
		assert_int_equal(gpupic_open_descriptors(), before);
		assert_int_equal(v.display.budget.used, 0);
		OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8X8, 1, 1));
		OK(gpudrv_unref(&v, 1));
	}
	gpupic_was_said();
}

/* A picture that another scanout has had since stays where that one shows it. */
static void test_gpu_blob_shared_hidden_on_the_scanout_that_has_an_older_picture(void **state)
{
	struct display_rect all = rect(0, 0, 40, 30);
	struct gpu_layout lower = gpupic_blob_layout;

	(void)state;
	lower.offset += 10ull * lower.stride;
	lower.height = 12;
	make_pages(1, 7);
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &gpupic_blob_layout));
	OK(gpudrv_set_scanout_blob(&v, 1, 1, rect(0, 0, 40, 12), &lower));
	OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &gpupic_blob_layout));
	assert_int_equal(udmabuf.made, 2);
	OK(gpudrv_set_scanout_blob(&v, 1, 1, rect(3, 1, 30, 10), &lower));
	ASSERT_SCREEN(1, 30, 10, 3, 11, 7);
	/* And one that is copied on the one says nothing of the other's. */
	udmabuf.error = -EMFILE;
	OK(gpudrv_set_scanout_blob(&v, 0, 1, all, &gpupic_blob_layout));
	OK(gpudrv_flush(&v, 1, all));
	ASSERT_SCREEN(0, 40, 30, 0, 0, 7);
	OK(gpudrv_set_scanout_blob(&v, 0, 0, all, &gpupic_blob_layout));
	OK(gpudrv_set_scanout_blob(&v, 1, 1, rect(0, 0, 40, 12), &lower));
	ASSERT_SCREEN(1, 40, 12, 0, 10, 7);
	assert_int_equal(udmabuf.made, 2);
}

#define TB(name) cmocka_unit_test_prestate_setup_teardown(name, gpupic_setup_blob, gpupic_teardown, &v)
#define TS(name) cmocka_unit_test_prestate_setup_teardown(name, setup_shared, gpupic_teardown, &v)

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests_name("gpu_blob", tests, NULL, NULL);
}
