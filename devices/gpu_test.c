/* SPDX-License-Identifier: MIT */
/* virtio-gpu over real rings: what a well-behaved driver is told, when it is answered, and what is left when it goes. Pictures are in gpu_2d_test.c and gpu_blob_test.c. */
#include "devices/gpu.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/gpupic.h"
#include "vmm/clock.h"

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

#define OK(x) assert_int_equal(x, GPU_RESP_OK_NODATA)

static struct display_rect rect(uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	return (struct display_rect){x, y, w, h};
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
	gpupic_make(&v, 1, GPU_FORMAT_B8G8R8X8, 400, 400);
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
	gpupic_make(&v, 1, GPU_FORMAT_B8G8R8X8, 400, 400);
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
	unsigned before = gpupic_open_descriptors();
	uint32_t w, h;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		gpupic_make(&v, 1, GPU_FORMAT_B8G8R8X8, 40, 30);
		gpupic_make(&v, 2, GPU_FORMAT_B8G8R8A8, 64, 64);
		gpupic_make_blob(&v, 3, 1);
		OK(gpudrv_set_scanout(&v, 0, 1, all));
		OK(gpudrv_set_scanout_blob(&v, 1, 3, all, &gpupic_blob_layout));
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
		assert_int_equal(gpupic_open_descriptors(), before);
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
			before = gpupic_open_descriptors();
			allocated_before = allocated();
			measure(&pages_before, &maps_before);
		}
	}
	measure(&pages, &maps);
	assert_int_equal(v.display.budget.used, 0);
	assert_int_equal(gpupic_open_descriptors(), before);
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
	gpupic_was_said();
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

/*
 * Flushes that wait to be seen.
 */

static const struct display_sink_ops blind = {.mode = NULL};
static struct display_sink pacer;

/* Somebody paces, and resource 1 is shown. */
static void begin_pacing(void)
{
	gpupic_make(&v, 1, GPU_FORMAT_B8G8R8X8, 64, 32);
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
	gpupic_make(&v, 2, GPU_FORMAT_B8G8R8X8, 64, 32);
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
	/* Linux waits for 50 ms, and says then that the device is broken; the answer takes its time, too. */
	assert_in_range(DISPLAY_HOLD_NS, 20000000, 45000000);
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
	gpupic_make(&v, 2, GPU_FORMAT_B8G8R8X8, 64, 32);
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
	gpupic_make(&v, 1, GPU_FORMAT_B8G8R8X8, 64, 32);
	OK(gpudrv_set_scanout(&v, 0, 1, rect(0, 0, 64, 32)));
	leave(GPU_CMD_RESOURCE_FLUSH, 0, &at);
	want_no_answer();
	/* Nothing is shown, and so nothing can be seen. */
	end_pacing();
}

#define T(name) cmocka_unit_test_prestate_setup_teardown(name, gpupic_setup, gpupic_teardown, &v)
#define T2(name) cmocka_unit_test_prestate_setup_teardown(name, gpupic_setup_two, gpupic_teardown, &v)
#define TB(name) cmocka_unit_test_prestate_setup_teardown(name, gpupic_setup_blob, gpupic_teardown, &v)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T2(test_gpu_configuration),
		T2(test_gpu_display_info_and_edid_agree),
		T2(test_gpu_cve_2026_68255_edid_is_as_long_as_it_says),
		T2(test_gpu_output_changes_reach_the_driver),
		T2(test_gpu_output_change_while_the_driver_is_busy_with_another),
		T(test_gpu_fence_comes_back_with_the_answer),
		T(test_gpu_flush_waits_to_be_seen),
		T(test_gpu_flush_waits_no_longer_than_that),
		T(test_gpu_fence_overtakes_no_fence),
		T2(test_gpu_fences_seen_at_once_are_answered_once),
		T(test_gpu_holds_so_many),
		T(test_gpu_reset_forgets_what_waits),
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
