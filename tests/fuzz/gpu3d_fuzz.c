/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: 3D commands by a driver that says anything in any order, carried out by the real virglrenderer on the processor, with screenshots, a sink, which maps pictures, takes copies
 * that the GPU makes (gpu_copy.h), or paces and gets what the guest draws in (gpu_direct.h), which it lets go of a moment later, fences and resets in between. What must hold: every command is answered by a known answer, memory is never above the budget and all given back by a reset, no context or resource is left, fences come back.
 *
 * One renderer for all inputs: what one of them breaks shows in the next. OpenGL in software is slow, fuzz runs: 600.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "devices/gpu_3d.h"
#include "devices/gpu_export.h"
#include "tests/support/gpudrv.h"
#include "tests/support/mesa.h"
#include "vmm/clock.h"
#include "vmm/log.h"

#define CHECK(x) \
	do { \
		if (!(x)) { \
			abort(); \
		} \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct gpudrv v;
static struct display_sink sink;
static bool has_sink;
static unsigned kind; /* of it */
static struct display_frame frame[2]; /* of each scanout, while it paces */
static struct loop_timer moment;
static const uint8_t *in;
static size_t left;

static uint8_t byte(void)
{
	left -= left > 0;
	return left > 0 ? *in++ : 0;
}

/* Mostly small. */
static uint32_t number(void)
{
	static const uint32_t limits[] = {0, 1, 64, 16383, 16384, 16385, 0x7fffffff, 0x80000000, 0xfffffffe, UINT32_MAX, 4096, 0x40000000, 256, 160, 4800, 65536};
	uint8_t b = byte();

	return b < 0xf0 ? b % 70 : limits[b & 15];
}

static uint32_t id(void)
{
	return byte() % 5;
}

static void judge(uint32_t type)
{
	CHECK(type == GPU_RESP_OK_NODATA || type == GPU_RESP_OK_CAPSET || type == GPU_RESP_OK_CAPSET_INFO || (type >= GPU_RESP_ERR_UNSPEC && type <= GPU_RESP_ERR_INVALID_PARAMETER));
	CHECK(v.display.budget.used <= v.display.budget.max);
	CHECK(v.gpu.nfenced == 0);
	CHECK(!(tdrv_read(&v.d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET));
}

static void create(void)
{
	struct gpu_texture t = {.target = 2, .format = GPU_FORMAT_B8G8R8X8, .bind = 1u << 1 | 1u << 3 | 1u << 18, .width = number(), .height = number(), .depth = 1, .array_size = 1};
	uint8_t odd = byte();

	if (odd & 1) {
		t.target = number() % 12;
	}
	if (odd & 2) {
		t.format = number();
	}
	if (odd & 4) {
		t.bind = 1u << number() % 32;
	}
	if (odd & 8) {
		t.depth = number();
		t.array_size = number();
	}
	if (odd & 16) {
		t.last_level = number();
		t.nr_samples = number();
	}
	t.flags = odd >> 7;
	judge(gpudrv_create_3d(&v, id(), &t));
}

static void attach(void)
{
	struct gpudrv_entry e[3];
	uint32_t n = byte() % 4;

	for (uint32_t i = 0; i < n; i++) {
		e[i] = (struct gpudrv_entry){.addr = TDRV_RAM_GPA + 64ull * number(), .len = number() * 64 + 1};
	}
	judge(gpudrv_attach(&v, id(), e, n));
}

static void transfer(void)
{
	struct gpu_transfer t = {.x = number() % 64, .y = number() % 64, .w = number(), .h = number(), .d = 1};
	uint8_t odd = byte();

	if (odd & 1) {
		t.x = number();
		t.z = number();
		t.d = number();
	}
	if (odd & 2) {
		t.level = number();
	}
	if (odd & 4) {
		t.stride = number() * 4;
		t.layer_stride = number();
	}
	if (odd & 8) {
		t.offset = (uint64_t)number() << (byte() & 63);
	}
	judge(gpudrv_transfer_3d(&v, odd & 0x80 ? GPU_CMD_TRANSFER_FROM_HOST_3D : GPU_CMD_TRANSFER_TO_HOST_3D, id(), &t));
}

/* A surface of a resource, to draw to, cleared; with what the input says instead of some words. */
static void submit(void)
{
	uint32_t words[] = {1 | 8 << 8 | 5 << 16, 1, id(), GPU_FORMAT_B8G8R8X8, 0, 0, 5 | 3 << 16, 1, 0, 1, 7 | 8 << 16, 4, 0x3f800000, 0, 0, 0x3f800000, 0, 0, 0};
	uint8_t odd = byte();

	/* Or what takes memory by itself: contexts in the context, text. */
	if (odd & 0x80) {
		uint32_t others[] = {29 | 1 << 16, number(), 29 | 1 << 16, number(), 30 | 1 << 16, number(), 51 | 2 << 16, number(), 0, 48 | 11 << 16};

		judge(gpudrv_submit(&v, others, odd & 0x40 ? 6 : byte() % (sizeof(others) / 4 + 1)));
		return;
	}
	odd %= 4;
	while (odd-- > 0) {
		words[byte() % (sizeof(words) / 4)] = number();
	}
	judge(gpudrv_submit(&v, words, byte() & 1 ? sizeof(words) / 4 : byte() % (sizeof(words) / 4)));
}

static void look(void)
{
	uint32_t w, h;

	free(gpudrv_shot(&v, byte() & 1, true, &w, &h));
}

static bool paces(void)
{
	return kind % 3 == 2;
}

static void on_frame(void *ctx, unsigned i)
{
	(void)ctx;
	if (has_sink && paces() && !frame[i].buffer && display_take(&v.display, &sink, i, &frame[i])) {
		CHECK(display_rect_is_inside(&frame[i].crop, frame[i].buffer->picture.width, frame[i].buffer->picture.height));
		loop_timer_set(&moment, clock_now_ns() + 300000);
	}
}

static const struct display_sink_ops sink_ops = {.frame = on_frame};

static void let_go(bool is_seen)
{
	for (unsigned i = 0; i < 2; i++) {
		struct display_buffer *buffer = frame[i].buffer;

		if (buffer) {
			frame[i].buffer = NULL;
			display_buffer_unref(buffer);
			if (is_seen) {
				on_frame(NULL, i);
				display_seen(&v.display, &sink, i, frame[i].number);
			}
		}
	}
}

static void on_moment(struct loop_timer *timer)
{
	(void)timer;
	let_go(true);
}

static void remove_sink(void)
{
	loop_timer_stop(&moment);
	display_sink_remove(&v.display, &sink);
	has_sink = false;
	let_go(false);
}

static void toggle_sink(void)
{
	struct display_frame f;

	if (!has_sink) {
		kind++;
		sink.takes_copies = kind % 3 > 0;
		display_sink_add(&v.display, &sink);
		has_sink = true;
		if (paces()) {
			display_pace(&v.display, &sink);
		}
	} else if (paces()) {
		remove_sink();
	} else if (display_take(&v.display, &sink, 0, &f)) {
		CHECK(display_rect_is_inside(&f.crop, f.buffer->picture.width, f.buffer->picture.height));
		display_buffer_unref(f.buffer);
	} else {
		remove_sink();
	}
}

static void step(void)
{
	const struct display_rect r = {number() % 8, number() % 8, number(), number()};

	v.ctx = byte() % 4;
	v.flags = byte() & 1 ? GPU_FLAG_FENCE : 0;
	switch (byte() % 16) {
	case 0:
		return judge(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "fuzz"));
	case 1:
		return judge(gpudrv_ctx(&v, GPU_CMD_CTX_DESTROY, ""));
	case 2:
		return judge(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, id()));
	case 3:
		return judge(gpudrv_ctx_resource(&v, GPU_CMD_CTX_DETACH_RESOURCE, id()));
	case 4:
	case 5:
		return create();
	case 6:
		return attach();
	case 7:
		return judge(gpudrv_detach(&v, id()));
	case 8:
	case 9:
		return transfer();
	case 10:
		return submit();
	case 11:
		return judge(gpudrv_set_scanout(&v, byte() & 1, id(), r));
	case 12:
		return judge(gpudrv_flush(&v, id(), r));
	case 13:
		return byte() & 1 ? look() : toggle_sink();
	case 14:
		return judge(byte() & 1 ? gpudrv_unref(&v, id()) : gpudrv_create(&v, id(), GPU_FORMAT_B8G8R8X8, number(), number()));
	default:
		return judge(byte() & 1 ? gpudrv_capset(&v, number(), number()) : gpudrv_capset_info(&v, number()));
	}
}

static void (*tex_image)(unsigned target, int level, int internal, int width, int height, int border, unsigned format, unsigned type, const void *pixels);

/* What stands in for a dma-buf; now and then there is none. */
static int storage(uint32_t width, uint32_t height, bool opaque, bool linear, unsigned texture, struct display_picture *p)
{
	static unsigned n;

	(void)texture;
	(void)linear;
	if (n++ % 16 == 15) {
		return -ENOMEM;
	}
	tex_image(0x0de1, 0, 0x8058, (int)width, (int)height, 0, 0x1908, 0x1401, NULL); /* GL_TEXTURE_2D, GL_RGBA8, GL_RGBA, GL_UNSIGNED_BYTE */
	p->fourcc = opaque ? DISPLAY_XRGB8888 : DISPLAY_ARGB8888;
	p->planes = (struct display_planes){.n = 1, .fd = {open("/dev/null", O_RDONLY | O_CLOEXEC)}};
	CHECK(p->planes.fd[0] >= 0);
	return 0;
}

static int texture(unsigned number, struct display_picture *p)
{
	static unsigned n;

	(void)number;
	if (n++ % 16 == 15) {
		return -ENOTSUP;
	}
	p->fourcc = DISPLAY_ABGR8888;
	p->planes = (struct display_planes){.n = 1, .fd = {open("/dev/null", O_RDONLY | O_CLOEXEC)}};
	CHECK(p->planes.fd[0] >= 0);
	return 0;
}

static void stand_in(void)
{
	*(void **)&tex_image = mesa_function("glTexImage2D");
	CHECK(tex_image);
	gpu_export_set_test_storage(storage);
	gpu_export_set_test_texture(texture);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	log_set_level(LOG_ERR);
	stand_in();
	/* Drivers in memory for good: what they lose is known to be theirs. */
	CHECK(gpudrv_init_3d(&v, 2, "surfaceless", 8u << 20));
	mesa_keep_drivers();
	v.gpu.direct_way = GPU_DIRECT_ALWAYS;
	sink = (struct display_sink){.ops = &sink_ops};
	loop_timer_init(&moment, &v.d.loop, on_moment);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	in = data;
	left = len;
	for (unsigned n = 0; left > 0 && n < 40; n++) {
		step();
	}
	if (has_sink) {
		remove_sink();
	}
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	CHECK(v.gpu.contexts.n == 0 && v.gpu.resources.n == 0 && v.display.budget.used == 0);
	gpudrv_start(&v);
	return 0;
}
