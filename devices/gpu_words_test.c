/* SPDX-License-Identifier: MIT */
/* Submissions that the renderer, virglrenderer on OpenGL in software, must not see: it would read or write beyond what is the guest's, or fall over; and that those which are right still come to it. */
#include "devices/gpu_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devices/gpu_3d.h"
#include "devices/gpu_texture.h"
#include "tests/support/gpudrv.h"
#include "tests/support/mesa.h"

#define BUDGET (64u << 20)
#define W 64u
#define H 48u
#define SIZE (W * H * 4u)
#define CMD(op, len) ((op) | (uint32_t)(len) << 16)
#define SUBMIT(...) gpudrv_submit(&v, (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / 4)
#define OK(call) assert_int_equal(call, GPU_RESP_OK_NODATA)
#define BAD(call) assert_int_equal(call, GPU_RESP_ERR_INVALID_PARAMETER)

#define TO_HOST 1u
#define FROM_HOST 2u

static struct gpudrv v;
static const struct gpu_texture picture = {.target = GPU_TEXTURE_2D, .format = GPU_FORMAT_B8G8R8X8, .bind = 1u << 1 | 1u << 3, .width = W, .height = H, .depth = 1, .array_size = 1};
static uint8_t *ram; /* resource 5's */

/* In one piece, as the renderer takes it for a reason to do without a copy of its own. */
static uint8_t *back(uint32_t id, uint32_t len)
{
	struct gpudrv_entry e = {tdrv_alloc(&v.d, len, 4096), len, 0};

	OK(gpudrv_attach(&v, id, &e, 1));
	return tdrv_ptr(&v.d, e.addr, len);
}

static void make(uint32_t id, const struct gpu_texture *t)
{
	OK(gpudrv_create_3d(&v, id, t));
	OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, id));
}

static int set_up(void **state)
{
	(void)state;
	if (!gpudrv_init_3d(&v, 1, "surfaceless", BUDGET)) {
		return -1;
	}
	v.ctx = 1;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "test"));
	make(5, &picture);
	ram = back(5, SIZE);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	gpudrv_finish(&v);
	return 0;
}

/* Whether the context still does what it is told. */
static void is_well(void)
{
	ram[0] = 1;
	OK(SUBMIT(CMD(GPU_TRANSFER3D, 13), 5, 0, 0, 0, 0, 0, 0, 0, W, H, 1, 0, TO_HOST));
	ram[0] = 0;
	OK(SUBMIT(CMD(GPU_TRANSFER3D, 13), 5, 0, 0, 0, 0, 0, 0, 0, W, H, 1, 0, FROM_HOST));
	assert_int_equal(ram[0], 1);
}

static void test_words_transfers_stay_inside(void **state)
{
	/* Resource, level, usage, strides, box, offset, direction. */
	static const uint32_t bad[][13] = {
		{9, 0, 0, 0, 0, 0, 0, 0, W, H, 1, 0, TO_HOST},
		{6, 0, 0, 0, 0, 0, 0, 0, W, H, 1, 0, TO_HOST}, /* 2D */
		{7, 0, 0, 0, 0, 0, 0, 0, W, H, 1, 0, TO_HOST}, /* it has no backing */
		{5, 1, 0, 0, 0, 0, 0, 0, W, H, 1, 0, TO_HOST},
		{5, 0, 0, 0, 0, 1, 0, 0, W, H, 1, 0, TO_HOST},
		{5, 0, 0, 0, 0, 0, UINT32_MAX, 0, W, 2, 1, 0, TO_HOST},
		{5, 0, 0, 0, 0, 0, 0, 1, W, H, 1, 0, TO_HOST},
		{5, 0, 0, 0, 0, 0, 0, 1u << 31, W, H, 1, 0, FROM_HOST},
		{5, 0, 0, 0, 0, 0, 0, UINT32_MAX - 1, W, H, 1, 0, FROM_HOST},
		{5, 0, 0, 0, 0, 0, 0, 0, W, H, 2, 0, TO_HOST},
		{5, 0, 0, 0, 0, 0, 0, 0, 0, H, 1, 0, TO_HOST},
		{5, 0, 0, 0, 0, 0, 0, 0, W, H, 1, SIZE, TO_HOST},
		{5, 0, 0, 0x10000000, 0, 0, 0, 0, W, 17, 1, 0, TO_HOST}, /* 16 of them are 2^32 */
		{5, 0, 0, 0x80000000, 0, 0, 0, 0, W, 3, 1, 0, TO_HOST},
		{8, 0, 0, 0, 0x10000000, 0, 0, 0, 4, 4, 17, 0, TO_HOST},
	};
	const struct gpu_texture layers = {.target = GPU_TEXTURE_2D_ARRAY, .format = 1, .bind = 10, .width = 4, .height = 4, .depth = 1, .array_size = 17};

	(void)state;
	OK(gpudrv_create(&v, 6, GPU_FORMAT_B8G8R8X8, W, H));
	back(6, SIZE);
	OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, 6));
	make(7, &picture);
	make(8, &layers);
	back(8, 17 * 64);
	OK(gpudrv_create_3d(&v, 9, &picture)); /* of no context */
	back(9, SIZE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint32_t transfer[14] = {CMD(GPU_TRANSFER3D, 13)}, copy[15] = {CMD(GPU_COPY_TRANSFER3D, 14)};

		memcpy(transfer + 1, bad[i], sizeof(bad[i]));
		memcpy(copy + 1, bad[i], 11 * 4);
		/* From its own backing, or another one's. */
		copy[12] = bad[i][0] == 9 || bad[i][0] == 6 || bad[i][0] == 7 ? 5 : bad[i][0];
		copy[13] = bad[i][11];
		if (gpudrv_submit(&v, transfer, 14) != GPU_RESP_ERR_INVALID_PARAMETER || (bad[i][0] != 7 && gpudrv_submit(&v, copy, 15) != GPU_RESP_ERR_INVALID_PARAMETER)) {
			fail_msg("row %zu", i);
		}
	}
	/* From what is not there, and what has nothing. */
	BAD(SUBMIT(CMD(GPU_COPY_TRANSFER3D, 14), 5, 0, 0, 0, 0, 0, 0, 0, W, H, 1, 9, 0, 0));
	BAD(SUBMIT(CMD(GPU_COPY_TRANSFER3D, 14), 5, 0, 0, 0, 0, 0, 0, 0, W, H, 1, 7, 0, 0));
	/* Cut short. */
	BAD(SUBMIT(CMD(GPU_TRANSFER3D, 12), 5, 0, 0, 0, 0, 0, 0, 0, W, H, 1, 0));
	BAD(SUBMIT(CMD(GPU_COPY_TRANSFER3D, 13), 5, 0, 0, 0, 0, 0, 0, 0, W, H, 1, 5, 0));
	is_well();
	/* As drivers have them: a part, with the strides of the whole; what has no backing from what has. */
	OK(SUBMIT(CMD(GPU_TRANSFER3D, 13), 5, 0, 0, W * 4, SIZE, 8, 8, 0, 16, 16, 1, (8 * W + 8) * 4, TO_HOST));
	OK(SUBMIT(CMD(GPU_COPY_TRANSFER3D, 14), 7, 0, 0, W * 4, SIZE, 0, 0, 0, W, H, 1, 5, 0, 1));
	OK(SUBMIT(CMD(GPU_TRANSFER3D, 13), 8, 0, 0, 16, 64, 0, 0, 0, 4, 4, 17, 0, TO_HOST));
	is_well();
}

static void test_words_inline_writes_end_with_the_command(void **state)
{
	uint32_t words[12 + 16] = {CMD(GPU_RESOURCE_INLINE_WRITE, 11 + 16), 5, 0, 0, 16, 0, 0, 0, 0, 4, 4, 1};

	(void)state;
	OK(gpudrv_submit(&v, words, 28));
	words[10] = 17;
	words[4] = 0x10000000;
	BAD(gpudrv_submit(&v, words, 28));
	words[10] = 4;
	words[4] = 16;
	words[8] = UINT32_MAX;
	BAD(gpudrv_submit(&v, words, 28));
	BAD(SUBMIT(CMD(GPU_RESOURCE_INLINE_WRITE, 10), 5, 0, 0, 0, 0, 0, 0, 0, 4, 4));
	is_well();
}

/* Of several layers the renderer reads the first: no more is asked for, or the others would be what lay in its memory. */
static void test_words_one_layer_is_read(void **state)
{
	const struct gpu_texture layers = {.target = GPU_TEXTURE_2D_ARRAY, .format = 1, .bind = 10, .width = 64, .height = 64, .depth = 1, .array_size = 4};
	const uint32_t layer = 64 * 64 * 4;
	const struct gpudrv_entry half[2] = {{tdrv_alloc(&v.d, 4 * layer, 4096), 4096, 0}, {half[0].addr + 4096, 4 * layer - 4096, 0}};
	uint8_t *p = tdrv_ptr(&v.d, half[0].addr, 4 * layer);
	struct gpu_transfer all = {.w = 64, .h = 64, .d = 4};

	(void)state;
	make(8, &layers);
	OK(gpudrv_attach(&v, 8, half, 2));
	for (uint32_t i = 0; i < 4 * layer; i++) {
		p[i] = (uint8_t)(i / layer + 1);
	}
	OK(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_TO_HOST_3D, 8, &all));
	memset(p, 0x5a, 4 * layer);
	OK(SUBMIT(CMD(GPU_TRANSFER3D, 13), 8, 0, 0, 0, 0, 0, 0, 1, 64, 64, 3, 0, FROM_HOST));
	assert_int_equal(p[0], 2);
	for (uint32_t i = layer; i < 4 * layer; i++) {
		assert_int_equal(p[i], 0x5a);
	}
	/* Nor by a command of its own, but where it is said how far apart they are, one after another. */
	OK(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_FROM_HOST_3D, 8, &all));
	assert_int_equal(p[0], 1);
	assert_int_equal(p[layer], 0x5a);
	all.layer_stride = layer;
	OK(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_FROM_HOST_3D, 8, &all));
	for (uint32_t i = 0; i < 4 * layer; i++) {
		assert_int_equal(p[i], i / layer + 1);
	}
}

/* A buffer's pixels are bytes, whatever its format is said to be: the renderer would copy as many pixels as it has bytes. */
static void test_words_buffers_are_bytes(void **state)
{
	const struct gpu_texture buffer = {.target = GPU_TEXTURE_BUFFER, .format = 31, .bind = 1u << 4, .width = 4096, .height = 1, .depth = 1, .array_size = 1};
	const struct gpu_transfer all = {.w = 4096, .h = 1, .d = 1};
	uint8_t *p;

	(void)state;
	make(8, &buffer);
	p = back(8, 4096 * 16);
	memset(p, 0x11, 4096);
	OK(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_TO_HOST_3D, 8, &all));
	memset(p, 0x5a, 4096 * 16);
	OK(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_FROM_HOST_3D, 8, &all));
	OK(SUBMIT(CMD(GPU_TRANSFER3D, 13), 8, 0, 0, 0, 0, 0, 0, 0, 4096, 1, 1, 0, FROM_HOST));
	for (uint32_t i = 0; i < 4096 * 16; i++) {
		assert_int_equal(p[i], i < 4096 ? 0x11 : 0x5a);
	}
}

static void test_words_memory_is_told_where_there_is_room(void **state)
{
	struct gpudrv_entry pieces[2] = {{tdrv_alloc(&v.d, 4096, 4096), 23, 0}, {pieces[0].addr + 23, 2048, 0}};

	(void)state;
	BAD(SUBMIT(CMD(GPU_GET_MEMORY_INFO, 1), 9));
	make(7, &picture);
	BAD(SUBMIT(CMD(GPU_GET_MEMORY_INFO, 1), 7));
	OK(gpudrv_attach(&v, 7, pieces, 2));
	BAD(SUBMIT(CMD(GPU_GET_MEMORY_INFO, 1), 7));
	OK(gpudrv_detach(&v, 7));
	pieces[0].len = 24;
	OK(gpudrv_attach(&v, 7, pieces, 2));
	OK(SUBMIT(CMD(GPU_GET_MEMORY_INFO, 1), 7));
	OK(gpudrv_detach(&v, 7));
	BAD(SUBMIT(CMD(GPU_GET_MEMORY_INFO, 1), 7));
	BAD(SUBMIT(CMD(GPU_GET_MEMORY_INFO, 2), 5, 5));
	is_well();
}

static void test_words_images_have_a_format(void **state)
{
	(void)state;
	BAD(SUBMIT(CMD(GPU_SET_SHADER_IMAGES, 7), 1, 0, 0x7fffffff, 0, 0, 0, 5));
	BAD(SUBMIT(CMD(GPU_SET_SHADER_IMAGES, 7), 1, 0, 313, 0, 0, 0, 5));
	BAD(SUBMIT(CMD(GPU_SET_SHADER_IMAGES, 12), 1, 0, 67, 0, 0, 0, 5, 313, 0, 0, 0, 5));
	OK(SUBMIT(CMD(GPU_SET_SHADER_IMAGES, 7), 1, 0, 67, 0, 0, 0, 5));
	is_well();
}

static void test_words_views_have_a_format(void **state)
{
	static const uint32_t none[] = {73, 78, 81, 86, 307, 309, 310, 313, 319, 0xffffff};

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		BAD(SUBMIT(CMD(GPU_CREATE_OBJECT | GPU_SAMPLER_VIEW << 8, 6), 9, 5, none[i], 0, 0, 0));
		BAD(SUBMIT(CMD(GPU_CREATE_OBJECT | GPU_SAMPLER_VIEW << 8, 6), 9, 5, none[i] | 2u << 24, 0, 0, 0));
	}
	OK(SUBMIT(CMD(GPU_CREATE_OBJECT | GPU_SAMPLER_VIEW << 8, 6), 9, 5, GPU_FORMAT_B8G8R8X8 | 2u << 24, 0, 0, 0));
	is_well();
}

static int keep_drivers(void **state)
{
	if (set_up(state) < 0) {
		return -1;
	}
	mesa_keep_drivers();
	return tear_down(state);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		T(test_words_transfers_stay_inside),
		T(test_words_inline_writes_end_with_the_command),
		T(test_words_one_layer_is_read),
		T(test_words_buffers_are_bytes),
		T(test_words_memory_is_told_where_there_is_room),
		T(test_words_images_have_a_format),
		T(test_words_views_have_a_format),
	};

	return cmocka_run_group_tests_name("words", tests, keep_drivers, NULL);
}
