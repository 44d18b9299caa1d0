/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: virtio-gpu and the display behind it, by a driver that says anything in any order on both queues, with a sink that holds on to frames and paces, somebody who waits until it
 * is still, outputs that change, resets and screenshots in between, and time that passes. What must hold: every command is answered, by a known answer or not at all where there was no header or no
 * room, at once or, a flush, when it has been seen or after 40 ms; no fence overtakes another; nothing is written past the answer; damage is inside what is shown; nothing outside guest memory is
 * read (sanitizers).
 *
 * And memory is judged, not only what is counted of it: what the process has allocated and the files pictures are in are never more than the budget and what does not depend on the guest (FIXED);
 * a reset gives back everything.
 *
 * The input is a list of steps: what to do, and as many bytes of numbers as that takes. Numbers are mostly small, so that resources are met again, and now and then at a limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <sanitizer/allocator_interface.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "display/still.h"
#include "tests/support/gpudrv.h"
#include "vmm/clock.h"
#include "vmm/log.h"

#define CHECK(x) \
	do { \
		if (!(x)) { \
			abort(); \
		} \
	} while (0)

#define HELD_MAX 4
#define BUDGET (1u << 20)
/* Answers that wait (GPU_HELD_MAX chains), and the sums of display/still.c for a picture as large as the budget has room for. */
#define FIXED (GPU_HELD_MAX * (sizeof(struct virtq_chain) + 256) + BUDGET / 64 + 8192)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct gpudrv v;
static struct display_sink sink;
static const struct display_sink_ops sink_ops = {.mode = NULL};
static struct display_buffer *held[HELD_MAX];
static struct display_still still;
static bool is_added; /* the sink */
static uint64_t now_ns;
static size_t allocated; /* before the guest has said anything */
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
	return byte() % 6;
}

static struct display_rect any_rect(void)
{
	struct display_rect r = {.x = number(), .y = number()};

	r.w = number();
	r.h = number();
	return r;
}

static uint32_t format(void)
{
	static const uint8_t known[] = {1, 2, 3, 4, 67, 68, 121, 134, 0, 5};

	return known[byte() % sizeof(known)];
}

static uint32_t entries(struct gpudrv_entry *e, uint32_t max)
{
	uint32_t n = byte() % (max + 1);

	for (uint32_t i = 0; i < n; i++) {
		uint8_t b = byte();

		e[i] = (struct gpudrv_entry){.addr = TDRV_RAM_GPA + 64ull * number() + b % 8, .len = number() * (b & 8 ? 64 : 1)};
		if (b == 0xff) {
			e[i].addr = UINT64_MAX - number();
		}
	}
	return n;
}

/* The answer to a command on queue @q. */
static void judge(uint32_t type)
{
	static const uint32_t known[] = {GPU_RESP_OK_NODATA, GPU_RESP_OK_DISPLAY_INFO, GPU_RESP_OK_EDID, GPU_RESP_ERR_UNSPEC, GPU_RESP_ERR_OUT_OF_MEMORY,
		GPU_RESP_ERR_INVALID_SCANOUT_ID, GPU_RESP_ERR_INVALID_RESOURCE_ID, GPU_RESP_ERR_INVALID_PARAMETER};
	const uint8_t *bytes = (const uint8_t *)&v.out;
	bool is_known = v.out_len == 0;

	CHECK(v.nwaiting <= GPU_HELD_MAX);
	CHECK(v.display.budget.used <= v.display.budget.max);
	CHECK(__sanitizer_get_current_allocated_bytes() <= allocated + v.display.budget.used + FIXED);
	v.fence++;
	if (type == GPUDRV_WAITS) {
		CHECK(v.display.pacer && v.nwaiting > 0);
		return;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		is_known |= type == known[i];
	}
	CHECK(is_known);
	CHECK(v.out_len == 0 || v.out_len == 24 || v.out_len == 408 || v.out_len == 1056);
	CHECK(v.out_len <= v.out_room);
	for (size_t i = v.out_len; i < sizeof(v.out); i++) {
		CHECK(bytes[i] == 0xee);
	}
	CHECK(!(tdrv_read(&v.d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET));
}

/* Bytes of pictures: of files that cannot change their size, which nothing else here makes. */
static uint64_t pictures(void)
{
	uint64_t sum = 0;
	struct stat st;

	for (int fd = 3; fd < GPUDRV_IMAGES + 64; fd++) {
		int seals = fcntl(fd, F_GET_SEALS);

		if (seals > 0 && seals & F_SEAL_GROW && fstat(fd, &st) == 0) {
			sum += (uint64_t)st.st_size;
		}
	}
	return sum;
}

static void judge_memory(void)
{
	CHECK(pictures() <= v.display.budget.used);
	CHECK(pictures() + __sanitizer_get_current_allocated_bytes() - allocated <= BUDGET + FIXED);
}

static void pass(uint64_t ms)
{
	now_ns += ms * 1000000;
	clock_set_test_ns(now_ns);
	tdrv_serve(&v.d);
	gpudrv_collect(&v);
}

static void start(void)
{
	gpudrv_start(&v);
	pass(1);
}

static void take(void)
{
	unsigned i = byte() % 2, at = byte() % HELD_MAX;
	struct display_frame f;

	if (is_added && display_take(&v.display, &sink, i, &f)) {
		CHECK(display_rect_is_inside(&f.crop, f.buffer->picture.width, f.buffer->picture.height));
		CHECK(f.damage.n > 0 && f.damage.n <= DISPLAY_DAMAGE_MAX);
		for (unsigned n = 0; n < f.damage.n; n++) {
			CHECK(display_rect_is_inside(&f.damage.rect[n], f.crop.w, f.crop.h));
		}
		display_buffer_unref(held[at]);
		held[at] = f.buffer;
	}
}

static void add_sink(void)
{
	if (!is_added) {
		display_sink_add(&v.display, &sink);
		is_added = true;
	}
}

/* Who paces: has seen something, begins, goes on, leaves. */
static void pace(void)
{
	switch (byte() % 6) {
	case 0:
	case 1:
		/* Also what it cannot have seen. */
		display_seen(&v.display, &sink, byte() % 2, number());
		break;
	case 2:
		for (unsigned i = 0; i < 2; i++) {
			display_seen(&v.display, &sink, i, v.display.scanout[i].frames);
		}
		gpudrv_collect(&v);
		CHECK(!v.display.pacer || v.nwaiting == 0);
		break;
	case 3:
		display_pace(&v.display, NULL);
		gpudrv_collect(&v);
		CHECK(v.nwaiting == 0);
		break;
	case 4:
		display_sink_remove(&v.display, &sink);
		is_added = false;
		gpudrv_collect(&v);
		CHECK(v.nwaiting == 0);
		break;
	default:
		add_sink();
		display_pace(&v.display, &sink);
		break;
	}
	gpudrv_collect(&v);
}

/* What it says of the region is so. */
static void on_news(struct display_still *s)
{
	const struct display_scanout *so = &v.display.scanout[s->scanout];
	bool is_inside = so->buffer && (s->region.w == 0 || display_rect_is_inside(&s->region, so->crop.w, so->crop.h));

	CHECK(s->is_outside == (so->buffer && !is_inside));
	CHECK(!s->is_seen || is_inside);
}

static void watch(void)
{
	struct display_rect r = any_rect();
	uint64_t again;

	if (!still.display) {
		display_still_init(&still, &v.display, byte() % 2, byte() & 1 ? &r : NULL, on_news);
	} else if (display_still_for(&still, number() * 1000000ull, now_ns, &again)) {
		CHECK(still.since_ns <= now_ns && v.display.scanout[still.scanout].buffer);
		display_still_finish(&still);
	}
}

static void drop_all(void)
{
	for (unsigned i = 0; i < HELD_MAX; i++) {
		display_buffer_unref(held[i]);
		held[i] = NULL;
	}
}

static void raw(void)
{
	uint8_t cmd[160] = {0};
	size_t n = byte() % sizeof(cmd);

	for (size_t i = 0; i < n; i++) {
		cmd[i] = byte();
	}
	if (n > 1 && byte() & 1) {
		cmd[1] = cmd[1] & 1 ? 1 : 3; /* a type that may be one */
	}
	/* Fences have numbers that grow, as a driver's have. */
	cmd[4] &= (uint8_t)~GPU_FLAG_FENCE;
	judge(gpudrv_raw(&v, byte() & 1, cmd, n, NULL, 0));
}

static void show_blob(void)
{
	struct gpu_layout l = {.format = format(), .width = number(), .height = number()};
	uint32_t scanout = byte() % 3, resource = id();
	struct display_rect r = any_rect();

	l.stride = byte() & 1 ? l.width * 4 : number() * 4;
	l.offset = number();
	judge(gpudrv_set_scanout_blob(&v, scanout, resource, r, &l));
}

static void screenshot(void)
{
	uint32_t w, h;
	unsigned i = byte() % 2;

	if (v.display.scanout[i].crop.w <= 256 && v.display.scanout[i].crop.h <= 256) {
		free(gpudrv_shot(&v, i, byte() & 1, &w, &h));
	}
}

static void step(uint8_t what)
{
	struct gpudrv_entry e[8];
	uint32_t a, n;
	struct display_rect r;

	switch (what % 24) {
	case 0:
		a = id();
		n = format();
		judge(gpudrv_create(&v, a, n, number(), number()));
		break;
	case 1:
		judge(gpudrv_unref(&v, id()));
		break;
	case 2:
		a = id();
		n = entries(e, 8);
		judge(gpudrv_attach(&v, a, e, n));
		break;
	case 3:
		judge(gpudrv_detach(&v, id()));
		break;
	case 4:
	case 5:
		a = id();
		r = any_rect();
		judge(gpudrv_transfer(&v, a, r, byte() & 1 ? 0 : number()));
		break;
	case 6:
		a = byte() % 3;
		n = id();
		judge(gpudrv_set_scanout(&v, a, n, any_rect()));
		break;
	case 7:
	case 8:
		a = id();
		judge(gpudrv_flush(&v, a, any_rect()));
		break;
	case 9:
		a = id();
		n = entries(e, 8);
		judge(gpudrv_create_blob(&v, a, number() * 64ull, e, n));
		break;
	case 10:
		show_blob();
		break;
	case 11:
		a = byte() % 3;
		n = id();
		judge(gpudrv_cursor(&v, byte() & 1 ? GPU_CMD_UPDATE_CURSOR : GPU_CMD_MOVE_CURSOR, a, n, (int32_t)number(), (int32_t)number(), number(), number()));
		break;
	case 12:
		judge(byte() & 1 ? gpudrv_get_info(&v) : gpudrv_get_edid(&v, number()));
		break;
	case 13:
		raw();
		break;
	case 14:
		take();
		break;
	case 15:
		screenshot();
		break;
	case 16:
		display_set_output(&v.display, byte() % 2, &(struct display_output){.enabled = byte() & 1, .width = 1u + byte() * 64u, .height = 1u + byte() * 64u, .refresh_hz = 1u + byte()});
		tdrv_write(&v.d, VIRTIO_MMIO_CONFIG + (byte() & 15), number());
		break;
	case 17:
		v.out_room = byte() & 1 ? sizeof(v.out) : number() % (sizeof(v.out) + 1);
		if (byte() % 8 == 0) {
			start();
			drop_all();
			CHECK(v.display.budget.used == 0 && pictures() == 0 && !v.display.holds);
		}
		break;
	case 18:
	case 19:
	case 20:
		pace();
		break;
	case 21:
		pass(byte() % 64);
		CHECK(v.nwaiting == 0 || v.display.holds->deadline_ns > now_ns);
		break;
	case 22:
		v.flags = byte() & 1 ? GPU_FLAG_FENCE : 0;
		break;
	default:
		watch();
		break;
	}
}

/* For the kernel's: the pieces as they are now; and now and then it does not want. */
static int make_udmabuf(int dev, const struct udmabuf_create_list *list)
{
	int fd = dev % 5 == 4 ? -1 : memfd_create("udmabuf", MFD_CLOEXEC);

	for (uint32_t i = 0; i < list->count && fd >= 0; i++) {
		CHECK(list->list[i].offset <= TDRV_RAM_LEN && list->list[i].size <= TDRV_RAM_LEN - list->list[i].offset);
		CHECK(write(fd, v.d.ram + list->list[i].offset, list->list[i].size) == (ssize_t)list->list[i].size);
	}
	v.share.dev++;
	return fd < 0 ? -EINVAL : fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t flags;

	log_set_level(LOG_ERR);
	in = data;
	left = len + 1;
	flags = byte();
	gpudrv_init(&v, 2, &(struct gpu_options){.blob = flags & 1}, BUDGET);
	if (flags & 2) {
		gmem_share(&v.d.mem, 0, 0);
		v.share = (struct gpu_share){.create = make_udmabuf};
	}
	sink = (struct display_sink){.ops = &sink_ops};
	is_added = false;
	add_sink();
	v.may_wait = true;
	v.fence = 1;
	now_ns = 1000000000;
	clock_set_test_ns(now_ns);
	allocated = __sanitizer_get_current_allocated_bytes();
	start();
	for (unsigned i = 0; left > 1 && i < 300; i++) {
		pass(1);
		step(byte());
	}
	judge_memory();
	pass(50);
	CHECK(v.nwaiting == 0);
	start();
	drop_all();
	CHECK(v.display.budget.used == 0 && v.gpu.resources.n == 0 && pictures() == 0);
	display_still_finish(&still);
	display_sink_remove(&v.display, &sink);
	gpudrv_finish(&v);
	clock_set_test_ns(0);
	return 0;
}
