/* SPDX-License-Identifier: MIT */
/*
 * Hostile drivers of virtio-gpu: the common table against both queues, what a host must check of each command, and the mistakes that were made elsewhere, by the
 * name they have there. After each, nothing is left, nothing of the host was seen, and the device works.
 */
#include "devices/gpu.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "tests/support/gpudrv.h"
#include "tests/support/hostile.h"
#include "vmm/log.h"

#define OK(x) assert_int_equal(x, GPU_RESP_OK_NODATA)
#define BAD_PARAMETER(x) assert_int_equal(x, GPU_RESP_ERR_INVALID_PARAMETER)
#define BAD_RESOURCE(x) assert_int_equal(x, GPU_RESP_ERR_INVALID_RESOURCE_ID)
#define BAD_SCANOUT(x) assert_int_equal(x, GPU_RESP_ERR_INVALID_SCANOUT_ID)
#define UNSPEC(x) assert_int_equal(x, GPU_RESP_ERR_UNSPEC)
#define NO_MEMORY(x) assert_int_equal(x, GPU_RESP_ERR_OUT_OF_MEMORY)

#define MAX UINT32_MAX
#define WORKS_ID 0xfeed0000u

static struct gpudrv v;
static unsigned lines_logged;
static char last_line[200];
static unsigned descriptors;

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	lines_logged++;
	snprintf(last_line, sizeof(last_line), "%s", line);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++) {
		n += fcntl(fd, F_GETFD) >= 0;
	}
	return n;
}

static int setup(void **state)
{
	(void)state;
	log_set_hook(on_log);
	lines_logged = 0;
	last_line[0] = '\0';
	gpudrv_init(&v, 2, &(struct gpu_options){.blob = true}, GPUDRV_BUDGET);
	descriptors = open_descriptors();
	return 0;
}

static struct display_rect rect(uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	return (struct display_rect){x, y, w, h};
}

/* A picture gets to the screen. */
static void expect_works(void)
{
	struct gpudrv_entry e = {.addr = tdrv_alloc(&v.d, 16 * 16 * 4, 16), .len = 16 * 16 * 4};
	uint32_t w, h;
	uint8_t *shot;

	memset(tdrv_ptr(&v.d, e.addr, e.len), 0x5a, e.len);
	OK(gpudrv_create(&v, WORKS_ID, GPU_FORMAT_B8G8R8X8, 16, 16));
	OK(gpudrv_attach(&v, WORKS_ID, &e, 1));
	OK(gpudrv_transfer(&v, WORKS_ID, rect(0, 0, 16, 16), 0));
	OK(gpudrv_set_scanout(&v, 0, WORKS_ID, rect(0, 0, 16, 16)));
	OK(gpudrv_flush(&v, WORKS_ID, rect(0, 0, 16, 16)));
	shot = gpudrv_shot(&v, 0, true, &w, &h);
	assert_non_null(shot);
	assert_int_equal(shot[4 * 255 + 1], 0x5a);
	free(shot);
	OK(gpudrv_unref(&v, WORKS_ID));
}

static int teardown(void **state)
{
	(void)state;
	assert_false(tdrv_read(&v.d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	expect_works();
	gpudrv_start(&v);
	assert_int_equal(v.display.budget.used, 0);
	assert_int_equal(open_descriptors(), descriptors);
	log_set_hook(NULL);
	gpudrv_finish(&v);
	return 0;
}

/* 40x30 with backing in one piece, on both scanouts; and a blob of 4800 bytes. */
static uint64_t mem;

static void make_two(void)
{
	struct gpudrv_entry e = {.len = 4800};

	mem = tdrv_alloc(&v.d, 4800, 16);
	e.addr = mem;
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 40, 30));
	OK(gpudrv_attach(&v, 1, &e, 1));
	OK(gpudrv_create_blob(&v, 2, 4800, &e, 1));
}

/*
 * Resources.
 */

static void test_gpu_hostile_resource_id_0_and_duplicates(void **state)
{
	struct gpudrv_entry e = {.addr = TDRV_RAM_GPA, .len = 4096};
	uint64_t used;

	(void)state;
	BAD_RESOURCE(gpudrv_create(&v, 0, GPU_FORMAT_B8G8R8A8, 4, 4));
	BAD_RESOURCE(gpudrv_create_blob(&v, 0, 4096, &e, 1));
	OK(gpudrv_create(&v, 7, GPU_FORMAT_B8G8R8A8, 4, 4));
	used = v.display.budget.used;
	BAD_RESOURCE(gpudrv_create(&v, 7, GPU_FORMAT_B8G8R8A8, 8, 8));
	BAD_RESOURCE(gpudrv_create_blob(&v, 7, 4096, &e, 1));
	assert_int_equal(v.display.budget.used, used);
	/* It is still the first one. */
	OK(gpudrv_set_scanout(&v, 0, 7, rect(0, 0, 4, 4)));
	BAD_PARAMETER(gpudrv_set_scanout(&v, 0, 7, rect(0, 0, 5, 4)));
}

static void test_gpu_hostile_numbers_of_resources_that_do_not_exist(void **state)
{
	struct gpudrv_entry e = {.addr = TDRV_RAM_GPA, .len = 4096};
	const struct gpu_layout l = {.format = GPU_FORMAT_B8G8R8A8, .width = 4, .height = 4, .stride = 16};
	static const uint32_t ids[] = {0, 1, 3, 0x7fffffff, 0x80000000, MAX};

	(void)state;
	OK(gpudrv_create(&v, 2, GPU_FORMAT_B8G8R8A8, 4, 4));
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		BAD_RESOURCE(gpudrv_unref(&v, ids[i]));
		BAD_RESOURCE(gpudrv_attach(&v, ids[i], &e, 1));
		BAD_RESOURCE(gpudrv_detach(&v, ids[i]));
		BAD_RESOURCE(gpudrv_transfer(&v, ids[i], rect(0, 0, 4, 4), 0));
		BAD_RESOURCE(gpudrv_flush(&v, ids[i], rect(0, 0, 4, 4)));
		if (ids[i]) {
			BAD_RESOURCE(gpudrv_set_scanout(&v, 0, ids[i], rect(0, 0, 4, 4)));
			BAD_RESOURCE(gpudrv_set_scanout_blob(&v, 0, ids[i], rect(0, 0, 4, 4), &l));
			BAD_RESOURCE(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, 0, ids[i], 0, 0, 0, 0));
		}
	}
}

/* Products of 32 bits: rutabaga's multiplication wraps at 32768x32768x4. */
static void test_gpu_hostile_sizes_that_overflow(void **state)
{
	static const uint32_t sizes[][2] = {{0, 1}, {1, 0}, {0, 0}, {16385, 1}, {1, 16385}, {32768, 32768}, {65536, 65536}, {65537, 65536}, {0x40000000, 4},
		{4, 0x40000000}, {0x40000001, 1}, {MAX, 1}, {1, MAX}, {MAX, MAX}, {0x80000000, 0x80000000}};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		BAD_PARAMETER(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, sizes[i][0], sizes[i][1]));
	}
	NO_MEMORY(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 16384, 16384)); /* 1 GiB */
	NO_MEMORY(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 2048, 2048)); /* the whole budget, and what keeping track of it costs */
	assert_int_equal(v.display.budget.used, 0);
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 2048, 2047));
	NO_MEMORY(gpudrv_create(&v, 2, GPU_FORMAT_B8G8R8A8, 64, 64));
	OK(gpudrv_unref(&v, 1));
}

/* Why a screen is dark is said, with what there was, whatever else the guest does wrong, and not as often as it likes. */
static void test_gpu_hostile_memory_that_is_used_up_is_said(void **state)
{
	static const struct gpu_layout l = {.format = GPU_FORMAT_B8G8R8A8, .width = 30, .height = 20, .stride = 120};
	static struct gpudrv_entry e[500];
	uint64_t rest;

	(void)state;
	for (size_t i = 0; i < sizeof(e) / sizeof(e[0]); i++) {
		e[i] = (struct gpudrv_entry){.addr = TDRV_RAM_GPA, .len = 2400};
	}
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 2048, 2047)); /* and 7680 bytes are left */
	for (unsigned i = 0; i < 100; i++) {
		BAD_RESOURCE(gpudrv_unref(&v, 9));
	}
	assert_true(lines_logged <= 2 * LOG_GUEST_LINES_PER_SECOND);
	NO_MEMORY(gpudrv_create(&v, 2, GPU_FORMAT_B8G8R8A8, 64, 64));
	assert_string_equal(last_line, "gpu: a picture of 64 x 64 needs 17 KiB, gpu.max_host_memory has 7 KiB left");
	NO_MEMORY(gpudrv_attach(&v, 1, e, 500));
	assert_string_equal(last_line, "gpu: backing of 500 pieces needs 8 KiB, gpu.max_host_memory has 7 KiB left");
	OK(gpudrv_create_blob(&v, 2, 2400, e, 1));
	rest = v.display.budget.max - v.display.budget.used;
	assert_true(display_budget_take(&v.display.budget, rest));
	NO_MEMORY(gpudrv_set_scanout_blob(&v, 0, 2, rect(0, 0, 30, 20), &l));
	assert_string_equal(last_line, "gpu: showing a picture of 30 x 20 needs 3 KiB, gpu.max_host_memory has 0 KiB left");
	NO_MEMORY(gpudrv_create_blob(&v, 3, 2400, e, 1));
	assert_string_equal(last_line, "gpu: keeping track of a blob needs 1 KiB, gpu.max_host_memory has 0 KiB left");
	lines_logged = 0;
	for (unsigned i = 0; i < 1000; i++) {
		NO_MEMORY(gpudrv_create(&v, 3, GPU_FORMAT_B8G8R8A8, 64, 64));
	}
	assert_true(lines_logged <= 20);
	display_budget_give(&v.display.budget, rest);
	OK(gpudrv_unref(&v, 2));
	OK(gpudrv_unref(&v, 1));
}

static void test_gpu_hostile_formats_that_are_none(void **state)
{
	(void)state;
	for (uint32_t format = 0; format < 200; format++) {
		bool known = format == 1 || format == 2 || format == 3 || format == 4 || format == 67 || format == 68 || format == 121 || format == 134;

		assert_int_equal(gpudrv_create(&v, format + 1, format, 2, 2), known ? GPU_RESP_OK_NODATA : GPU_RESP_ERR_INVALID_PARAMETER);
	}
	BAD_PARAMETER(gpudrv_create(&v, 900, MAX, 2, 2));
	BAD_PARAMETER(gpudrv_create(&v, 900, 0x101, 2, 2));
}

/* Each is a descriptor of the host, of which there are enough for the rest when the guest has all of its. */
static void test_gpu_hostile_as_many_images_as_possible(void **state)
{
	uint32_t n = 0;

	(void)state;
	while (gpudrv_create(&v, n + 1, GPU_FORMAT_B8G8R8A8, 1, 1) == GPU_RESP_OK_NODATA) {
		/* Shown ones are not two. */
		OK(gpudrv_set_scanout(&v, n % 2, n + 1, rect(0, 0, 1, 1)));
		n++;
	}
	assert_int_equal(n, GPUDRV_IMAGES);
	assert_string_equal(last_line, "gpu: a picture of 1 x 1: there are descriptors for 700 at once");
	assert_true(v.display.budget.used >= n * GPU_RESOURCE_COST);
	assert_true(open_descriptors() <= descriptors + n);
	OK(gpudrv_unref(&v, 5));
}

static void test_gpu_hostile_blobs_are_counted_and_limited(void **state)
{
	struct gpudrv_entry e = {.addr = TDRV_RAM_GPA, .len = 1};
	uint32_t n = 0;

	(void)state;
	while (gpudrv_create_blob(&v, n + 1, 1, &e, 1) == GPU_RESP_OK_NODATA) {
		n++;
	}
	assert_int_equal(n, GPU_RESOURCES_MAX);
	assert_string_equal(last_line, "gpu: more than 16384 resources");
	NO_MEMORY(gpudrv_create(&v, n + 1, GPU_FORMAT_B8G8R8A8, 1, 1));
	OK(gpudrv_unref(&v, n / 2));
	OK(gpudrv_create(&v, n + 1, GPU_FORMAT_B8G8R8A8, 1, 1));
	OK(gpudrv_unref(&v, 1));
}

/*
 * Backing.
 */

static void test_gpu_hostile_number_of_entries(void **state)
{
	struct gpu_wire_attach_backing c = {.hdr.type = le32_of(GPU_CMD_RESOURCE_ATTACH_BACKING), .resource_id = le32_of(1)};
	static struct gpudrv_entry e[GPU_BACKING_ENTRIES_MAX + 1];
	static const uint32_t lies[] = {2, 3, 1000, GPU_BACKING_ENTRIES_MAX, GPU_BACKING_ENTRIES_MAX + 1, 0x10000001, 0x80000000, MAX};

	(void)state;
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 40, 30));
	for (size_t i = 0; i <= GPU_BACKING_ENTRIES_MAX; i++) {
		e[i] = (struct gpudrv_entry){.addr = TDRV_RAM_GPA, .len = 1};
	}
	BAD_PARAMETER(gpudrv_attach(&v, 1, e, 0));
	BAD_PARAMETER(gpudrv_attach(&v, 1, e, GPU_BACKING_ENTRIES_MAX + 1));
	/* One is there, more are said: nothing is taken before they are. */
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		c.nr_entries = le32_of(lies[i]);
		BAD_PARAMETER(gpudrv_raw(&v, GPU_CONTROLQ, &c, sizeof(c), e, sizeof(e[0])));
	}
	c.nr_entries = le32_of(1);
	BAD_PARAMETER(gpudrv_raw(&v, GPU_CONTROLQ, &c, sizeof(c), e, sizeof(e[0]) - 1));
	UNSPEC(gpudrv_transfer(&v, 1, rect(0, 0, 1, 1), 0));
	OK(gpudrv_attach(&v, 1, e, GPU_BACKING_ENTRIES_MAX));
}

static const struct gpudrv_entry bad_entries[] = {
	{.addr = TDRV_RAM_GPA, .len = 0},
	{.addr = 0, .len = 64}, /* a hole */
	{.addr = TDRV_RAM_GPA - 1, .len = 64},
	{.addr = TDRV_RAM_GPA + TDRV_RAM_LEN - 63, .len = 64},
	{.addr = TDRV_RAM_GPA + TDRV_RAM_LEN, .len = 1},
	{.addr = UINT64_MAX, .len = 1},
	{.addr = UINT64_MAX - 62, .len = 64}, /* wraps */
	{.addr = UINT64_MAX - 63, .len = 64},
	{.addr = TDRV_RAM_GPA, .len = MAX},
	{.addr = 0xd0000000ull, .len = 0x200}, /* CVE-2024-3446: the device's own registers */
};

static void test_gpu_hostile_backing_outside_memory(void **state)
{
	struct gpudrv_entry e[3] = {{.addr = TDRV_RAM_GPA, .len = 4096}, {.addr = TDRV_RAM_GPA, .len = 4096}};

	(void)state;
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 40, 30));
	for (size_t i = 0; i < sizeof(bad_entries) / sizeof(bad_entries[0]); i++) {
		uint64_t used = v.display.budget.used;

		BAD_PARAMETER(gpudrv_attach(&v, 1, &bad_entries[i], 1));
		e[2] = bad_entries[i];
		BAD_PARAMETER(gpudrv_attach(&v, 1, e, 3));
		BAD_PARAMETER(gpudrv_create_blob(&v, 5, 1, e, 3));
		/* None of it stayed: neither memory, nor a resource, nor backing. */
		assert_int_equal(v.display.budget.used, used);
		BAD_RESOURCE(gpudrv_unref(&v, 5));
		UNSPEC(gpudrv_detach(&v, 1));
		UNSPEC(gpudrv_transfer(&v, 1, rect(0, 0, 1, 1), 0));
	}
	OK(gpudrv_attach(&v, 1, e, 2));
}

/* CVE-2017-5578: the first list leaked. */
static void test_gpu_cve_2017_5578_backing_twice(void **state)
{
	struct gpudrv_entry e = {.addr = TDRV_RAM_GPA, .len = 64};
	uint64_t used;

	(void)state;
	make_two();
	used = v.display.budget.used;
	for (unsigned i = 0; i < 100; i++) {
		UNSPEC(gpudrv_attach(&v, 1, &e, 1));
		UNSPEC(gpudrv_attach(&v, 2, &e, 1));
		UNSPEC(gpudrv_detach(&v, 2)); /* a blob keeps its own */
	}
	assert_int_equal(v.display.budget.used, used);
	OK(gpudrv_transfer(&v, 1, rect(0, 0, 40, 30), 0));
	OK(gpudrv_detach(&v, 1));
	UNSPEC(gpudrv_detach(&v, 1));
	UNSPEC(gpudrv_transfer(&v, 1, rect(0, 0, 1, 1), 0));
	OK(gpudrv_attach(&v, 1, &e, 1));
}

/* CVE-2017-5857, CVE-2016-9912: backing of a resource that goes. */
static void test_gpu_cve_2017_5857_unref_with_backing(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		make_two();
		OK(gpudrv_unref(&v, 1));
		OK(gpudrv_unref(&v, 2));
		assert_int_equal(v.display.budget.used, 0);
		v.d.brk = mem;
	}
}

/* Lists of pieces are host memory too. */
static void test_gpu_hostile_backing_lists_are_counted(void **state)
{
	static struct gpudrv_entry e[GPU_BACKING_ENTRIES_MAX];
	unsigned n = 0;

	(void)state;
	for (size_t i = 0; i < GPU_BACKING_ENTRIES_MAX; i++) {
		e[i] = (struct gpudrv_entry){.addr = TDRV_RAM_GPA + (i % 2) * 8, .len = 1};
	}
	for (;; n++) {
		uint32_t answer;

		OK(gpudrv_create(&v, n + 1, GPU_FORMAT_B8G8R8A8, 1, 1));
		answer = gpudrv_attach(&v, n + 1, e, GPU_BACKING_ENTRIES_MAX);
		if (answer != GPU_RESP_OK_NODATA) {
			NO_MEMORY(answer);
			break;
		}
	}
	assert_int_equal(n, GPUDRV_BUDGET / (GPU_BACKING_ENTRIES_MAX * GPU_ENTRY_COST) - 1);
}

/* QEMU work item 4112: a scanout of 16 KiB over backing of one byte showed the host's heap. */
static void test_gpu_qemu_4112_blob_larger_than_its_backing(void **state)
{
	struct gpudrv_entry e[2] = {{.addr = TDRV_RAM_GPA, .len = 1}, {.addr = TDRV_RAM_GPA, .len = 4095}};

	(void)state;
	BAD_PARAMETER(gpudrv_create_blob(&v, 1, 16384, e, 1));
	BAD_PARAMETER(gpudrv_create_blob(&v, 1, 2, e, 1));
	BAD_PARAMETER(gpudrv_create_blob(&v, 1, UINT64_MAX, e, 2));
	BAD_PARAMETER(gpudrv_create_blob(&v, 1, 0x100000001, e, 2)); /* 1 in 32 bits */
	BAD_PARAMETER(gpudrv_create_blob(&v, 1, 4097, e, 2));
	BAD_PARAMETER(gpudrv_create_blob(&v, 1, 0, e, 2));
	OK(gpudrv_create_blob(&v, 1, 4096, e, 2));
	BAD_PARAMETER(gpudrv_set_scanout_blob(&v, 0, 1, rect(0, 0, 64, 64),
		&(struct gpu_layout){.format = GPU_FORMAT_B8G8R8A8, .width = 64, .height = 64, .stride = 256}));
}

/* The same of a 2D resource: the picture may be larger than what backs it, but not what is transferred. */
static void test_gpu_hostile_transfer_from_beyond_the_backing(void **state)
{
	struct gpudrv_entry e = {.addr = TDRV_RAM_GPA, .len = 4799};
	static const uint64_t offsets[] = {1, 4, 4799, 4800, 0xffffffff, 0x100000000, 0x100000004, UINT64_MAX, UINT64_MAX - 4799, UINT64_MAX - 4798, 1ull << 63};

	(void)state;
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 40, 30));
	OK(gpudrv_attach(&v, 1, &e, 1));
	BAD_PARAMETER(gpudrv_transfer(&v, 1, rect(0, 0, 40, 30), 0));
	OK(gpudrv_transfer(&v, 1, rect(0, 0, 40, 29), 0));
	OK(gpudrv_transfer(&v, 1, rect(0, 29, 39, 1), 29 * 160));
	BAD_PARAMETER(gpudrv_transfer(&v, 1, rect(0, 29, 40, 1), 29 * 160));
	BAD_PARAMETER(gpudrv_transfer(&v, 1, rect(39, 29, 1, 1), 29 * 160 + 39 * 4));
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		BAD_PARAMETER(gpudrv_transfer(&v, 1, rect(0, 0, 39, 30), offsets[i] + 159));
	}
}

/*
 * Rectangles.
 */

/* Outside 40x30. */
static const struct display_rect bad_rects[] = {
	{0, 0, 41, 30}, {0, 0, 40, 31}, {1, 0, 40, 1}, {0, 1, 1, 30}, {40, 0, 1, 1}, {0, 30, 1, 1}, {39, 29, 2, 1}, {39, 29, 1, 2},
	{MAX, 0, 1, 1}, {0, MAX, 1, 1}, {MAX, 0, 2, 1}, {1, 0, MAX, 1}, {0, 1, 1, MAX}, {0, 0, MAX, MAX}, {MAX, MAX, MAX, MAX}, {0x80000000, 0, 0x80000000, 1},
	{0, 0x80000000, 1, 0x80000000}, {0x7fffffff, 0, 0x7fffffff, 30},
};

static void test_gpu_hostile_transfer_of_a_rectangle_outside(void **state)
{
	uint64_t copied;

	(void)state;
	make_two();
	copied = v.gpu.backend->copied_bytes;
	for (size_t i = 0; i < sizeof(bad_rects) / sizeof(bad_rects[0]); i++) {
		BAD_PARAMETER(gpudrv_transfer(&v, 1, bad_rects[i], 0));
	}
	BAD_PARAMETER(gpudrv_transfer(&v, 1, rect(0, 0, 0, 1), 0));
	BAD_PARAMETER(gpudrv_transfer(&v, 1, rect(0, 0, 1, 0), 0));
	OK(gpudrv_transfer(&v, 2, rect(0, 0, MAX, 1), 0)); /* a blob has no image */
	assert_int_equal(v.gpu.backend->copied_bytes, copied);
}

static void test_gpu_hostile_scanout_of_a_rectangle_outside(void **state)
{
	const struct gpu_layout l = {.format = GPU_FORMAT_B8G8R8A8, .width = 40, .height = 30, .stride = 160};

	(void)state;
	make_two();
	for (size_t i = 0; i < sizeof(bad_rects) / sizeof(bad_rects[0]); i++) {
		BAD_PARAMETER(gpudrv_set_scanout(&v, 0, 1, bad_rects[i]));
		BAD_PARAMETER(gpudrv_set_scanout_blob(&v, 0, 2, bad_rects[i], &l));
	}
	BAD_PARAMETER(gpudrv_set_scanout(&v, 0, 2, rect(0, 0, 1, 1)));
	BAD_PARAMETER(gpudrv_set_scanout_blob(&v, 0, 1, rect(0, 0, 1, 1), &l));
	/* What was shown before still is. */
	OK(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 40, 30)));
	BAD_PARAMETER(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 41, 30)));
	assert_non_null(v.display.scanout[0].buffer);
}

/* CVE-2016-10029: the number was compared with how many there can be, not with how many there are. */
static void test_gpu_cve_2016_10029_scanout_numbers(void **state)
{
	const struct gpu_layout l = {.format = GPU_FORMAT_B8G8R8A8, .width = 40, .height = 30, .stride = 160};
	static const uint32_t numbers[] = {2, 3, 15, 16, 17, 0x7fffffff, 0x80000000, 0x80000001, MAX};

	(void)state;
	make_two();
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		BAD_SCANOUT(gpudrv_set_scanout(&v, numbers[i], 1, rect(0, 0, 40, 30)));
		BAD_SCANOUT(gpudrv_set_scanout(&v, numbers[i], 0, rect(0, 0, 0, 0)));
		BAD_SCANOUT(gpudrv_set_scanout_blob(&v, numbers[i], 2, rect(0, 0, 40, 30), &l));
		BAD_SCANOUT(gpudrv_get_edid(&v, numbers[i]));
		BAD_SCANOUT(gpudrv_cursor(&v, GPU_CMD_MOVE_CURSOR, numbers[i], 0, 0, 0, 0, 0));
		BAD_SCANOUT(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, numbers[i], 0, 0, 0, 0, 0));
	}
}

/* QEMU work item 3871: the end of a blob's picture, in 32 bits. */
static void test_gpu_qemu_3871_blob_pictures_outside(void **state)
{
	static const struct gpu_layout bad[] = {
		{1, 40, 30, 160, 4}, {1, 40, 30, 164, 0}, {1, 40, 31, 160, 0}, {1, 41, 30, 164, 0}, {1, 40, 30, 156, 0}, {1, 40, 30, 0, 0}, {1, 40, 29, 161, 0},
		{1, 40, 30, MAX, 0}, {1, 40, 30, 0x08888889 * 4u, 0}, {1, 40, 1, 160, 4641}, {1, 40, 1, 160, MAX}, {1, 40, 30, 160, MAX - 4799}, {1, 40, 30, 160, MAX - 4639},
		{1, 16384, 1, 65536, 0}, {1, 1, 16384, 4, 0}, {1, 0, 30, 160, 0}, {1, 40, 0, 160, 0}, {1, 16385, 1, MAX, 0}, {1, MAX, MAX, MAX, MAX}, {1, 0x40000000, 1, 0, 0},
		{1, 0x40000001, 1, 4, 0}, {0, 40, 30, 160, 0}, {5, 40, 30, 160, 0},
	};

	(void)state;
	make_two();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		BAD_PARAMETER(gpudrv_set_scanout_blob(&v, 0, 2, rect(0, 0, 1, 1), &bad[i]));
	}
	assert_null(v.display.scanout[0].buffer);
	/* To the last byte. */
	OK(gpudrv_set_scanout_blob(&v, 0, 2, rect(0, 0, 40, 30), &(struct gpu_layout){1, 40, 30, 160, 0}));
	OK(gpudrv_flush(&v, 2, rect(0, 0, MAX, MAX)));
	OK(gpudrv_set_scanout_blob(&v, 0, 2, rect(0, 0, 40, 1), &(struct gpu_layout){1, 40, 1, 1u << 31, 4640}));
	OK(gpudrv_flush(&v, 2, rect(0, 0, 40, 1)));
	OK(gpudrv_set_scanout_blob(&v, 0, 2, rect(39, 14, 1, 1), &(struct gpu_layout){1, 40, 15, 320, 160}));
	OK(gpudrv_flush(&v, 2, rect(0, 0, 40, 15)));
}

/* A guest's rectangle went straight to the window. */
static void test_gpu_hostile_flush_is_clipped(void **state)
{
	struct display_sink sink = {.ops = &(const struct display_sink_ops){.mode = NULL}};
	struct display_frame f;

	(void)state;
	make_two();
	OK(gpudrv_set_scanout(&v, 0, 1, rect(10, 10, 20, 10)));
	display_sink_add(&v.display, &sink);
	assert_true(display_take(&v.display, &sink, 0, &f));
	display_buffer_unref(f.buffer);
	for (size_t i = 0; i < sizeof(bad_rects) / sizeof(bad_rects[0]); i++) {
		BAD_PARAMETER(gpudrv_flush(&v, 1, bad_rects[i]));
	}
	BAD_PARAMETER(gpudrv_flush(&v, 1, rect(0, 0, 0, 0)));
	assert_false(display_take(&v.display, &sink, 0, &f));
	OK(gpudrv_flush(&v, 1, rect(0, 0, 40, 30)));
	assert_true(display_take(&v.display, &sink, 0, &f));
	assert_int_equal(f.damage.n, 1);
	assert_memory_equal(&f.damage.rect[0], (&(struct display_rect){0, 0, 20, 10}), sizeof(struct display_rect));
	display_buffer_unref(f.buffer);
	/* Blobs have no size of their own: any numbers. */
	OK(gpudrv_set_scanout_blob(&v, 0, 2, rect(1, 1, 3, 3), &(struct gpu_layout){1, 40, 30, 160, 0}));
	for (size_t i = 0; i < sizeof(bad_rects) / sizeof(bad_rects[0]); i++) {
		OK(gpudrv_flush(&v, 2, bad_rects[i]));
		if (display_take(&v.display, &sink, 0, &f)) {
			assert_true(display_rect_is_inside(&f.damage.rect[0], 3, 3));
			display_buffer_unref(f.buffer);
		}
	}
	display_sink_remove(&v.display, &sink);
}

/* Freed while it is on both screens and a sink looks at it. */
static void test_gpu_hostile_unref_of_what_is_shown(void **state)
{
	struct display_sink sink = {.ops = &(const struct display_sink_ops){.mode = NULL}};
	struct display_frame f;

	(void)state;
	display_sink_add(&v.display, &sink);
	for (unsigned i = 0; i < 50; i++) {
		make_two();
		OK(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 40, 30)));
		OK(gpudrv_set_scanout(&v, 1, 1, rect(1, 1, 30, 20)));
		if (i % 2) {
			OK(gpudrv_set_scanout_blob(&v, 1, 2, rect(0, 0, 40, 30), &(struct gpu_layout){1, 40, 30, 160, 0}));
		}
		OK(gpudrv_flush(&v, 1 + i % 2, rect(0, 0, 40, 30)));
		assert_true(display_take(&v.display, &sink, i % 2, &f));
		OK(gpudrv_unref(&v, 1));
		OK(gpudrv_unref(&v, 2));
		BAD_RESOURCE(gpudrv_flush(&v, 1, rect(0, 0, 40, 30)));
		assert_null(v.display.scanout[0].buffer);
		assert_null(v.display.scanout[1].buffer);
		assert_int_equal(display_buffer_map(f.buffer)[4799], 0);
		display_buffer_unref(f.buffer);
		v.d.brk = mem;
	}
	display_sink_remove(&v.display, &sink);
}

/*
 * Commands and answers.
 */

static void test_gpu_hostile_commands_cut_short(void **state)
{
	static const struct {
		uint32_t type;
		size_t len;
	} rows[] = {{GPU_CMD_RESOURCE_CREATE_2D, 40}, {GPU_CMD_RESOURCE_UNREF, 32}, {GPU_CMD_SET_SCANOUT, 48}, {GPU_CMD_RESOURCE_FLUSH, 48},
		{GPU_CMD_TRANSFER_TO_HOST_2D, 56}, {GPU_CMD_RESOURCE_ATTACH_BACKING, 32}, {GPU_CMD_RESOURCE_DETACH_BACKING, 32}, {GPU_CMD_GET_EDID, 32},
		{GPU_CMD_RESOURCE_CREATE_BLOB, 56}, {GPU_CMD_SET_SCANOUT_BLOB, 96}};
	uint8_t cmd[96];

	(void)state;
	/* QEMU answers a command that was cut short with OK. */
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(cmd, 0, sizeof(cmd));
		memcpy(cmd, &rows[i].type, 4);
		for (size_t len = 24; len < rows[i].len; len++) {
			UNSPEC(gpudrv_raw(&v, GPU_CONTROLQ, cmd, len, NULL, 0));
			assert_int_equal(v.out_len, 24);
		}
	}
	for (size_t len = 1; len < 24; len++) {
		assert_int_equal(gpudrv_raw(&v, GPU_CONTROLQ, cmd, len, NULL, 0), 0);
		assert_int_equal(v.out_len, 0);
		assert_int_equal(gpudrv_raw(&v, GPU_CURSORQ, cmd, len, NULL, 0), 0);
	}
	memcpy(cmd, &(uint32_t){GPU_CMD_UPDATE_CURSOR}, 4);
	for (size_t len = 24; len < 56; len++) {
		UNSPEC(gpudrv_raw(&v, GPU_CURSORQ, cmd, len, NULL, 0));
	}
}

/* 3D, capability sets, UUIDs, blobs in a window that there is not (0x208, 0x209), what does not exist, and what belongs to the other queue. */
static void test_gpu_hostile_commands_that_are_not_served(void **state)
{
	uint8_t cmd[256] = {0};

	(void)state;
	for (uint32_t type = 0; type < 0x1300; type++) {
		bool is_2d = (type >= 0x100 && type <= 0x107) || type == 0x10a || type == 0x10c || type == 0x10d;

		memcpy(cmd, &type, 4);
		if (!is_2d) {
			UNSPEC(gpudrv_raw(&v, GPU_CONTROLQ, cmd, sizeof(cmd), NULL, 0));
			assert_int_equal(v.out_len, 24);
		}
		if (type != GPU_CMD_UPDATE_CURSOR && type != GPU_CMD_MOVE_CURSOR) {
			UNSPEC(gpudrv_raw(&v, GPU_CURSORQ, cmd, sizeof(cmd), NULL, 0));
		}
	}
	memcpy(cmd, &(uint32_t){MAX}, 4);
	UNSPEC(gpudrv_raw(&v, GPU_CONTROLQ, cmd, sizeof(cmd), NULL, 0));
}

static void test_gpu_hostile_features_that_were_not_negotiated(void **state)
{
	struct gpudrv_entry e = {.addr = TDRV_RAM_GPA, .len = 4096};

	(void)state;
	tdrv_start_without(&v.d, GPU_F_EDID | GPU_F_RESOURCE_BLOB);
	v.in_gpa = tdrv_alloc(&v.d, 4096, 8);
	v.out_gpa = tdrv_alloc(&v.d, sizeof(v.out), 8);
	UNSPEC(gpudrv_get_edid(&v, 0));
	UNSPEC(gpudrv_create_blob(&v, 1, 4096, &e, 1));
	UNSPEC(gpudrv_set_scanout_blob(&v, 0, 0, rect(0, 0, 1, 1), &(struct gpu_layout){.format = 1}));
	assert_int_equal(gpudrv_get_info(&v), GPU_RESP_OK_DISPLAY_INFO);
}

/* Of a resource that is there, by a driver that was offered nothing of the kind, and by one that wants it all the same. */
static void test_gpu_hostile_uuid_that_is_not_offered(void **state)
{
	const struct gpu_wire_resource cmd = {.hdr.type = le32_of(GPU_CMD_RESOURCE_ASSIGN_UUID), .resource_id = le32_of(1)};
	const uint64_t offered = virtio_device_features(&v.gpu.base);
	const uint8_t *bytes = (const uint8_t *)&v.out;

	(void)state;
	assert_false(offered & GPU_F_RESOURCE_UUID);
	assert_false(tdrv_negotiate(&v.d, offered | GPU_F_RESOURCE_UUID));
	tdrv_start_without(&v.d, 0);
	v.in_gpa = tdrv_alloc(&v.d, 4096, 8);
	v.out_gpa = tdrv_alloc(&v.d, sizeof(v.out), 8);
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8X8, 8, 8));
	UNSPEC(gpudrv_raw(&v, GPU_CONTROLQ, &cmd, sizeof(cmd), NULL, 0));
	assert_int_equal(v.out_len, 24);
	/* A name that is none: crosvm's is the number of the resource. */
	assert_int_equal(bytes[24], 0xee);
	OK(gpudrv_unref(&v, 1));
}

/* CVE-2016-9845, CVE-2016-9908, CVE-2021-3545: what an answer had no value for came from the host's stack. */
static void test_gpu_cve_2016_9845_answers_have_nothing_of_the_host(void **state)
{
	const uint8_t *bytes = (const uint8_t *)&v.out;

	(void)state;
	assert_int_equal(gpudrv_get_edid(&v, 0), GPU_RESP_OK_EDID);
	for (unsigned i = 24 + 8 + 128; i < 1056; i++) {
		assert_int_equal(bytes[i], 0);
	}
	assert_int_equal(gpudrv_get_info(&v), GPU_RESP_OK_DISPLAY_INFO);
	for (unsigned i = 24 + 2 * 24; i < 408; i++) {
		assert_int_equal(bytes[i], 0);
	}
	assert_int_equal(bytes[408], 0xee);
	BAD_RESOURCE(gpudrv_unref(&v, 1));
	for (unsigned i = 4; i < 24; i++) {
		assert_int_equal(bytes[i], 0);
	}
	assert_int_equal(bytes[24], 0xee);
}

/* CVE-2021-3546 and the like: more was written than there was room for. */
static void test_gpu_hostile_room_for_answers(void **state)
{
	const uint8_t *bytes = (const uint8_t *)&v.out;

	(void)state;
	for (v.out_room = 0; v.out_room < sizeof(v.out); v.out_room += v.out_room < 30 ? 1 : 63) {
		uint32_t info = gpudrv_get_info(&v), edid;

		assert_int_equal(info, v.out_room >= 408 ? GPU_RESP_OK_DISPLAY_INFO : v.out_room >= 24 ? GPU_RESP_ERR_UNSPEC : 0);
		assert_int_equal(v.out_len, v.out_room >= 408 ? 408 : v.out_room >= 24 ? 24 : 0);
		assert_int_equal(bytes[v.out_len], 0xee);
		edid = gpudrv_get_edid(&v, 0);
		assert_int_equal(edid, v.out_room >= 1056 ? GPU_RESP_OK_EDID : v.out_room >= 24 ? GPU_RESP_ERR_UNSPEC : 0);
	}
	v.out_room = sizeof(v.out);
}

/*
 * The cursor.
 */

/* CVE-2016-9846: its image leaked. It has one size. */
static void test_gpu_cve_2016_9846_cursor_images(void **state)
{
	static const uint32_t sizes[][2] = {{63, 64}, {64, 63}, {64, 65}, {65, 64}, {128, 32}, {32, 128}, {1, 1}, {256, 256}};
	struct gpudrv_entry blob = {.addr = tdrv_alloc(&v.d, 16384, 16), .len = 16383};
	uint64_t used;

	(void)state;
	make_two();
	OK(gpudrv_create(&v, 3, GPU_FORMAT_B8G8R8A8, 64, 64));
	used = v.display.budget.used;
	for (unsigned i = 0; i < 1000; i++) {
		OK(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, i % 2, 3, (int32_t)i, -1, MAX, i));
	}
	assert_int_equal(v.display.budget.used, used);
	assert_true(v.display.scanout[0].cursor.hot_x < 64 && v.display.scanout[0].cursor.hot_y < 64);
	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		OK(gpudrv_create(&v, 10 + i, GPU_FORMAT_B8G8R8A8, sizes[i][0], sizes[i][1]));
		BAD_PARAMETER(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, 0, 10 + i, 0, 0, 0, 0));
	}
	OK(gpudrv_create_blob(&v, 30, 16383, &blob, 1));
	BAD_PARAMETER(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, 0, 30, 0, 0, 0, 0)); /* a byte too small */
	BAD_PARAMETER(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, 0, 2, 0, 0, 0, 0));
	OK(gpudrv_unref(&v, 3));
	BAD_RESOURCE(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, 0, 3, 0, 0, 0, 0));
	assert_true(v.display.scanout[0].cursor.visible);
}

static void test_gpu_hostile_cursor_places(void **state)
{
	static const int32_t places[] = {INT32_MIN, INT32_MAX, -1, -64, 16384};
	uint32_t w, h;

	(void)state;
	make_two();
	OK(gpudrv_create(&v, 3, GPU_FORMAT_B8G8R8X8, 64, 64));
	OK(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 40, 30)));
	for (unsigned i = 0; i < 25; i++) {
		OK(gpudrv_cursor(&v, GPU_CMD_UPDATE_CURSOR, 0, 3, places[i / 5], places[i % 5], 0, 0));
		free(gpudrv_shot(&v, 0, true, &w, &h));
	}
}

/*
 * The host's own troubles, and the rest.
 */

/* CVE-2016-7994, CVE-2017-5552: what had been taken before something failed. */
static void test_gpu_cve_2016_7994_host_failures_leave_nothing(void **state)
{
	struct rlimit old, none;

	(void)state;
	make_two();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 3;
	for (unsigned i = 0; i < 20; i++) {
		uint64_t used = v.display.budget.used;

		/* No descriptor is left. */
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
		NO_MEMORY(gpudrv_create(&v, 5, GPU_FORMAT_B8G8R8A8, 8, 8));
		NO_MEMORY(gpudrv_set_scanout_blob(&v, 1, 2, rect(0, 0, 40, 30), &(struct gpu_layout){1, 40, 30, 160, 0}));
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_int_equal(v.display.budget.used, used);
		BAD_RESOURCE(gpudrv_unref(&v, 5));
	}
	assert_true(lines_logged > 0 && lines_logged <= 20);
	OK(gpudrv_create(&v, 5, GPU_FORMAT_B8G8R8A8, 8, 8));
	OK(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 40, 30)));
	OK(gpudrv_set_scanout_blob(&v, 1, 2, rect(0, 0, 40, 30), &(struct gpu_layout){1, 40, 30, 160, 0}));
}

static int refuse_attach(struct gpu_backend *b, uint32_t id, const struct gpu_range *ranges, unsigned n)
{
	(void)b;
	(void)id;
	(void)ranges;
	(void)n;
	return -ENOMEM;
}

/* QEMU's virgl answers OK to backing that could not be attached, and goes on as if there were some. */
static void test_gpu_hostile_backing_that_the_host_refuses(void **state)
{
	const struct gpu_backend_ops *real = v.gpu.backend->ops;
	struct gpu_backend_ops ops = *real;
	struct gpudrv_entry e = {.addr = tdrv_alloc(&v.d, 4096, 16), .len = 4096};
	uint64_t used;

	(void)state;
	ops.attach = refuse_attach;
	OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8A8, 32, 32));
	used = v.display.budget.used;
	v.gpu.backend->ops = &ops;
	for (unsigned i = 0; i < 20; i++) {
		NO_MEMORY(gpudrv_attach(&v, 1, &e, 1));
		UNSPEC(gpudrv_transfer(&v, 1, rect(0, 0, 1, 1), 0));
		UNSPEC(gpudrv_detach(&v, 1));
		NO_MEMORY(gpudrv_create_blob(&v, 2, 4096, &e, 1));
		BAD_RESOURCE(gpudrv_unref(&v, 2));
		assert_int_equal(v.display.budget.used, used);
	}
	v.gpu.backend->ops = real;
	OK(gpudrv_attach(&v, 1, &e, 1));
	OK(gpudrv_transfer(&v, 1, rect(0, 0, 32, 32), 0));
	OK(gpudrv_create_blob(&v, 2, 4096, &e, 1));
}

/* A blob's picture is memory of the host's although the blob is not. */
static void test_gpu_hostile_blob_pictures_are_counted(void **state)
{
	struct gpudrv_entry e = {.addr = TDRV_RAM_GPA, .len = TDRV_RAM_LEN};
	const struct gpu_layout large = {1, 512, 512, 2048, 0}; /* 1 MiB; two pictures a scanout */
	unsigned fills = 0;

	(void)state;
	OK(gpudrv_create_blob(&v, 1, TDRV_RAM_LEN, &e, 1));
	while (gpudrv_create(&v, 100 + fills, GPU_FORMAT_B8G8R8A8, 512, 256) == GPU_RESP_OK_NODATA) {
		fills++;
	}
	NO_MEMORY(gpudrv_set_scanout_blob(&v, 0, 1, rect(0, 0, 512, 512), &large));
	assert_null(v.display.scanout[0].buffer);
	for (unsigned i = 0; i < 4; i++) {
		OK(gpudrv_unref(&v, 100 + i));
	}
	for (unsigned i = 0; i < 10; i++) {
		OK(gpudrv_set_scanout_blob(&v, 0, 1, rect(0, 0, 512, 512), &large));
		OK(gpudrv_flush(&v, 1, rect(0, 0, 512, 512)));
	}
	NO_MEMORY(gpudrv_set_scanout_blob(&v, 1, 1, rect(0, 0, 512, 512), &large));
	assert_non_null(v.display.scanout[0].buffer);
}

static void test_gpu_hostile_configuration_writes(void **state)
{
	(void)state;
	display_set_output(&v.display, 0, &(struct display_output){.enabled = true, .width = 1, .height = 1, .refresh_hz = 1});
	for (uint32_t off = 0; off < 16; off++) {
		for (uint32_t len = 1; len <= 8; len *= 2) {
			uint64_t ones = UINT64_MAX;

			if (off != 4 || len != 4) {
				virtio_mmio_write(&v.d.mmio, VIRTIO_MMIO_CONFIG + off, &ones, len);
			}
		}
	}
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG), GPU_EVENT_DISPLAY);
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG + 8), 2);
	tdrv_write(&v.d, VIRTIO_MMIO_CONFIG + 4, MAX);
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_CONFIG), 0);
}

static void test_gpu_flood_of_nonsense_does_not_flood_the_log(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		BAD_RESOURCE(gpudrv_unref(&v, 77));
	}
	assert_true(lines_logged <= 20);
	assert_true(v.gpu.counters.refused >= 2000);
}

/* Resets at any time, also in the middle of a batch that a turn has left over. */
static void test_gpu_hostile_resets_at_any_time(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct gpu_wire_hdr info = {.type = le32_of(GPU_CMD_GET_DISPLAY_INFO)};

		make_two();
		OK(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 40, 30)));
		OK(gpudrv_set_scanout_blob(&v, 1, 2, rect(0, 0, 40, 30), &(struct gpu_layout){1, 40, 30, 160, 0}));
		memcpy(tdrv_ptr(&v.d, v.in_gpa, sizeof(info)), &info, sizeof(info));
		for (unsigned n = 0; n < 100; n++) {
			tdrv_add(&v.d, GPU_CONTROLQ, v.in_gpa, sizeof(info), v.out_gpa, sizeof(v.out));
		}
		v.gpu.base.ops->kick(&v.gpu.base, GPU_CONTROLQ);
		if (i % 3 == 0) {
			tdrv_set_avail_idx(&v.d, GPU_CONTROLQ, 0x7000); /* and the ring breaks */
			v.gpu.base.ops->kick(&v.gpu.base, GPU_CONTROLQ);
			loop_run_once(&v.d.loop, 0);
		}
		gpudrv_start(&v);
		assert_int_equal(v.display.budget.used, 0);
	}
}

/*
 * The common table.
 */

static struct display display;
static struct gpu gpu;

static struct virtio_device *create(struct tdrv *d)
{
	static const struct display_output output = {.enabled = true, .width = 640, .height = 480, .refresh_hz = 60};

	display_init(&display, &d->loop, &output, 1, GPUDRV_BUDGET);
	gpu_init(&gpu, &(struct gpu_options){.blob = true}, &display, gpu_2d_create(&d->mem, GPUDRV_IMAGES, NULL), &d->loop, &d->mem);
	return &gpu.base;
}

static void destroy(void)
{
	gpu_finish(&gpu);
	display_finish(&display);
}

static void works(struct tdrv *d)
{
	struct gpu_wire_hdr info = {.type = le32_of(GPU_CMD_GET_DISPLAY_INFO)};
	struct gpu_wire_cursor move = {.hdr.type = le32_of(GPU_CMD_MOVE_CURSOR), .pos.x = le32_of(display.scanout[0].cursor.x == 5 ? 6 : 5)};
	uint64_t in = tdrv_alloc(d, sizeof(info), 8), out = tdrv_alloc(d, 408, 8), cursor = tdrv_alloc(d, sizeof(move), 8);
	uint16_t head = tdrv_add(d, GPU_CONTROLQ, in, sizeof(info), out, 408);
	uint32_t used, len;

	memcpy(tdrv_ptr(d, in, sizeof(info)), &info, sizeof(info));
	memcpy(tdrv_ptr(d, cursor, sizeof(move)), &move, sizeof(move));
	tdrv_add(d, GPU_CURSORQ, cursor, sizeof(move), 0, 0);
	tdrv_kick(d, GPU_CONTROLQ);
	assert_true(tdrv_used(d, GPU_CONTROLQ, &used, &len));
	assert_int_equal(used, head);
	assert_int_equal(len, 408);
	assert_int_equal(le32_get(((struct gpu_wire_hdr *)tdrv_ptr(d, out, 24))->type), GPU_RESP_OK_DISPLAY_INFO);
	assert_true(tdrv_used(d, GPU_CURSORQ, &used, &len));
	assert_int_equal(display.scanout[0].cursor.x, (int32_t)le32_get(move.pos.x));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int run_own_rows(void)
{
	const struct CMUnitTest tests[] = {
		T(test_gpu_hostile_resource_id_0_and_duplicates),
		T(test_gpu_hostile_numbers_of_resources_that_do_not_exist),
		T(test_gpu_hostile_sizes_that_overflow),
		T(test_gpu_hostile_formats_that_are_none),
		T(test_gpu_hostile_memory_that_is_used_up_is_said),
		T(test_gpu_hostile_as_many_images_as_possible),
		T(test_gpu_hostile_blobs_are_counted_and_limited),
		T(test_gpu_hostile_number_of_entries),
		T(test_gpu_hostile_backing_outside_memory),
		T(test_gpu_cve_2017_5578_backing_twice),
		T(test_gpu_cve_2017_5857_unref_with_backing),
		T(test_gpu_hostile_backing_lists_are_counted),
		T(test_gpu_qemu_4112_blob_larger_than_its_backing),
		T(test_gpu_hostile_transfer_from_beyond_the_backing),
		T(test_gpu_hostile_transfer_of_a_rectangle_outside),
		T(test_gpu_hostile_scanout_of_a_rectangle_outside),
		T(test_gpu_cve_2016_10029_scanout_numbers),
		T(test_gpu_qemu_3871_blob_pictures_outside),
		T(test_gpu_hostile_flush_is_clipped),
		T(test_gpu_hostile_unref_of_what_is_shown),
		T(test_gpu_hostile_commands_cut_short),
		T(test_gpu_hostile_commands_that_are_not_served),
		T(test_gpu_hostile_features_that_were_not_negotiated),
		T(test_gpu_hostile_uuid_that_is_not_offered),
		T(test_gpu_cve_2016_9845_answers_have_nothing_of_the_host),
		T(test_gpu_hostile_room_for_answers),
		T(test_gpu_cve_2016_9846_cursor_images),
		T(test_gpu_hostile_cursor_places),
		T(test_gpu_cve_2016_7994_host_failures_leave_nothing),
		T(test_gpu_hostile_backing_that_the_host_refuses),
		T(test_gpu_hostile_blob_pictures_are_counted),
		T(test_gpu_hostile_configuration_writes),
		T(test_gpu_flood_of_nonsense_does_not_flood_the_log),
		T(test_gpu_hostile_resets_at_any_time),
	};

	return cmocka_run_group_tests_name("gpu_hostile", tests, NULL, NULL);
}

int main(void)
{
	static const struct hostile_target control = {.create = create, .destroy = destroy, .queue = GPU_CONTROLQ, .writable = false, .works = works};
	static const struct hostile_target answers = {.create = create, .destroy = destroy, .queue = GPU_CONTROLQ, .writable = true, .works = works};
	static const struct hostile_target cursor = {.create = create, .destroy = destroy, .queue = GPU_CURSORQ, .writable = false, .works = works};
	/* First what has a name: a crash ends the program, and noise finds much. */
	int failed = run_own_rows();

	failed += hostile_run("gpu_hostile_control", &control);
	failed += hostile_run("gpu_hostile_answers", &answers);
	failed += hostile_run("gpu_hostile_cursor", &cursor);
	return failed;
}
