/* SPDX-License-Identifier: MIT */
/* The host's GPU is reset: what guests draw with is lost, the monitor is not, and after a reset of the device all works again. By the real virglrenderer on OpenGL in software, which is said to be lost. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "devices/gpu_3d.h"
#include "devices/gpu_egl.h"
#include "tests/support/gpudrv.h"
#include "tests/support/mesa.h"
#include "vmm/clock.h"

#define W 64u
#define H 48u
#define BUDGET (64u << 20)
#define CMD(op, object, len) ((op) | (object) << 8 | (uint32_t)(len) << 16)
#define OK(call) assert_int_equal(call, GPU_RESP_OK_NODATA)
#define IS(call, answer) assert_int_equal(call, GPU_RESP_ERR_##answer)

static struct gpudrv v;
static const struct display_rect all = {0, 0, W, H};
static const struct gpu_texture picture = {.target = 2, .format = GPU_FORMAT_B8G8R8X8, .bind = 1u << 1 | 1u << 3 | 1u << 18, .width = W, .height = H, .depth = 1, .array_size = 1};

/* Descriptors that were there before the renderer's. When they go, another renderer has others than the first. */
static int low[8];

static void close_low(void)
{
	for (size_t i = 0; i < sizeof(low) / sizeof(low[0]); i++) {
		if (low[i] >= 0) {
			close(low[i]);
		}
		low[i] = -1;
	}
}

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(low) / sizeof(low[0]); i++) {
		low[i] = dup(STDIN_FILENO);
	}
	return gpudrv_init_3d(&v, 1, "surfaceless", BUDGET) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	gpu_egl_set_test_lost(false);
	gpu_egl_set_test_no_contexts(false);
	v.flags = 0;
	v.ctx = 0;
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(v.display.budget.used, 0);
	gpudrv_finish(&v);
	close_low();
	return 0;
}

static int keep_drivers(void **state)
{
	return mesa_keep_drivers_of(set_up, tear_down, state);
}

/* Resource 5 in that colour by a context of its own, on the screen, with fences. Return: what the last command of it is answered. */
static uint32_t draw(uint32_t red, uint32_t green)
{
	const uint32_t words[] = {CMD(1u, 8u, 5), 1, 5, GPU_FORMAT_B8G8R8X8, 0, 0, CMD(5u, 0, 3), 1, 0, 1, CMD(7u, 0, 8), 4, red ? 0x3f800000 : 0, green ? 0x3f800000 : 0, 0, 0x3f800000, 0, 0, 0};
	uint32_t r;

	v.ctx = 1;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "draws"));
	OK(gpudrv_create_3d(&v, 5, &picture));
	OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, 5));
	OK(gpudrv_set_scanout(&v, 0, 5, all));
	v.flags = GPU_FLAG_FENCE;
	v.fence++;
	r = gpudrv_submit(&v, words, sizeof(words) / 4);
	assert_int_equal(le64_get(v.out.hdr.fence_id), v.fence);
	OK(gpudrv_flush(&v, 5, all));
	v.flags = 0;
	return r;
}

/* 0xRRGGBB of the screen, in the middle. */
static uint32_t shown(void)
{
	uint32_t w, h, rgb;
	uint8_t *shot = gpudrv_shot(&v, 0, false, &w, &h);

	assert_non_null(shot);
	rgb = (uint32_t)shot[(h / 2 * w + w / 2) * 4 + 2] << 16 | (uint32_t)shot[(h / 2 * w + w / 2) * 4 + 1] << 8 | shot[(h / 2 * w + w / 2) * 4];
	free(shot);
	return rgb;
}

/* The screen by 2D, which needs no GPU. */
static void assert_2d_works(void)
{
	const struct gpudrv_entry e = {tdrv_alloc(&v.d, W * H * 4, 4096), W * H * 4, 0};

	memset(tdrv_ptr(&v.d, e.addr, e.len), 0x66, e.len);
	OK(gpudrv_create(&v, 77, GPU_FORMAT_B8G8R8X8, W, H));
	OK(gpudrv_attach(&v, 77, &e, 1));
	OK(gpudrv_transfer(&v, 77, all, 0));
	OK(gpudrv_set_scanout(&v, 0, 77, all));
	OK(gpudrv_flush(&v, 77, all));
	assert_int_equal(shown(), 0x666666);
	OK(gpudrv_unref(&v, 77));
}

/* Nothing draws, and each command that would is answered with an error, with its fence. */
static void assert_3d_fails(uint32_t ctx)
{
	const struct gpudrv_entry e = {tdrv_alloc(&v.d, W * H * 4, 4096), W * H * 4, 0};
	const struct gpu_transfer t = {.w = W, .h = H, .d = 1, .stride = W * 4};

	if (ctx) {
		v.ctx = ctx;
		v.flags = GPU_FLAG_FENCE;
		IS(gpudrv_submit(&v, (const uint32_t[]){0}, 1), UNSPEC);
		v.flags = 0;
		OK(gpudrv_attach(&v, 5, &e, 1));
		IS(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_TO_HOST_3D, 5, &t), UNSPEC);
		IS(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_FROM_HOST_3D, 5, &t), UNSPEC);
	}
	v.ctx = 9;
	IS(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "too late"), UNSPEC);
	v.ctx = 0;
	IS(gpudrv_create_3d(&v, 9, &picture), UNSPEC);
	assert_int_equal(gpudrv_capset(&v, GPU_CAPSET_VIRGL, 1), GPU_RESP_OK_CAPSET);
	assert_int_equal(v.gpu.nfenced, 0);
}

/* As a driver that is told to start again does it. */
static void start_again(void)
{
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(v.display.budget.used, 0);
	gpudrv_start(&v);
	v.fence = 0;
}

static unsigned open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir)) {
		n++;
	}
	closedir(dir);
	return n;
}

/* The GPU is reset while it works: the fence of that comes, as those of everything it will not do any more. */
static void lose(void)
{
	gpu_egl_set_test_lost(true);
	v.ctx = 1;
	v.flags = GPU_FLAG_FENCE;
	v.fence++;
	OK(gpudrv_submit(&v, (const uint32_t[]){0}, 1));
	v.flags = 0;
	assert_int_equal(v.gpu.nfenced, 0);
}

static void test_lost_contexts_end_and_a_reset_mends(void **state)
{
	unsigned files = 0;

	(void)state;
	for (unsigned round = 1; round <= 3; round++) {
		OK(draw(1, 0));
		assert_int_equal(shown(), 0xff0000);
		lose();
		/* It is found out once. */
		v.gpu.backend->ops->poll(v.gpu.backend);
		assert_int_equal(v.gpu.backend->losses, round);
		assert_3d_fails(1);
		/* What was shown last still is, and what was there can be given up. */
		assert_int_equal(shown(), 0xff0000);
		assert_2d_works();
		v.ctx = 1;
		OK(gpudrv_ctx(&v, GPU_CMD_CTX_DESTROY, ""));
		v.ctx = 0;
		OK(gpudrv_unref(&v, 5));
		assert_int_equal(v.gpu.backend->losses, round);
		gpu_egl_set_test_lost(false);
		close_low();
		start_again();
		OK(draw(0, 1));
		assert_int_equal(shown(), 0x00ff00);
		start_again();
		files = files ? files : open_files();
		assert_int_equal(open_files(), files);
	}
}

/* As start_again, at @ns of a time that is yet to come: what the driver resets besides is before it. */
static void start_again_at(uint64_t ns)
{
	static uint64_t future;

	future = future ? future : clock_now_ns() + 100000 * CLOCK_NS_PER_S;
	clock_set_test_ns(future + ns);
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	clock_set_test_ns(0);
	start_again();
}

/* It is gone for good, or for long: the device is there all the same, with 2D, and looks again when a driver starts, once a second at most. */
static void test_lost_renderer_that_does_not_come_back(void **state)
{
	(void)state;
	OK(draw(1, 0));
	lose();
	gpu_egl_set_test_lost(false);
	gpu_egl_set_test_no_contexts(true);
	for (unsigned round = 0; round < 3; round++) {
		start_again_at(round * CLOCK_NS_PER_S);
		assert_3d_fails(0);
		assert_2d_works();
	}
	gpu_egl_set_test_no_contexts(false);
	start_again_at(3 * CLOCK_NS_PER_S - 1);
	assert_3d_fails(0);
	start_again_at(3 * CLOCK_NS_PER_S);
	OK(draw(0, 1));
	assert_int_equal(shown(), 0x00ff00);
	assert_int_equal(v.gpu.backend->losses, 1);
	assert_int_equal(v.gpu.backend->ncapsets, 2);
}

/* And the device may end at any time. */
static void test_lost_and_finished(void **state)
{
	(void)state;
	OK(draw(1, 0));
	lose();
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_lost_contexts_end_and_a_reset_mends),
		T(test_lost_renderer_that_does_not_come_back),
		T(test_lost_and_finished),
	};

	return cmocka_run_group_tests(tests, keep_drivers, NULL);
}
