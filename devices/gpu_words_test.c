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

/*
 * Noise: commands of the right length, for the decoder to take them, with numbers that are mostly those of what there is. In each context there is something to draw with.
 */

#define IDS 6u /* resources, from 1 on */
#define ROOM 65536u /* for the backing of one, with as much behind it that nobody may write */
#define FILL 0x5a

/* @len words, and @per more for each of some. */
static const struct {
	uint8_t command, kind, len, per;
} commands[] = {
	{0, 0, 0, 0},	{1, 1, 11, 0},	{1, 2, 9, 0},	{1, 3, 5, 0},	{1, 5, 1, 4},	{1, 6, 6, 0},	{1, 7, 9, 0},	{1, 8, 5, 0},	{1, 9, 4, 0},	{1, 10, 4, 0},	{1, 11, 6, 0},	{2, 1, 1, 0},
	{2, 2, 1, 0},	{2, 3, 1, 0},	{2, 5, 1, 0},	{3, 1, 1, 0},	{3, 2, 1, 0},	{3, 3, 1, 0},	{3, 4, 1, 0},	{3, 5, 1, 0},	{3, 6, 1, 0},	{3, 7, 1, 0},	{3, 8, 1, 0},	{3, 9, 1, 0},
	{3, 10, 1, 0},	{4, 0, 1, 6},	{5, 0, 2, 1},	{6, 0, 0, 3},	{7, 0, 8, 0},	{8, 0, 12, 0},	{8, 0, 14, 0},	{8, 0, 20, 0},	{9, 0, 11, 1},	{10, 0, 2, 1},	{11, 0, 1, 0},	{11, 0, 3, 0},
	{12, 0, 2, 4},	{13, 0, 1, 0},	{14, 0, 4, 0},	{15, 0, 1, 2},	{16, 0, 21, 0}, {17, 0, 13, 0}, {18, 0, 2, 1},	{19, 0, 1, 0},	{20, 0, 1, 0},	{21, 0, 2, 0},	{22, 0, 32, 0}, {23, 0, 32, 0},
	{24, 0, 1, 0},	{25, 0, 1, 1},	{26, 0, 3, 0},	{27, 0, 5, 0},	{28, 0, 1, 0},	{29, 0, 1, 0},	{30, 0, 1, 0},	{31, 0, 2, 0},	{32, 0, 6, 0},	{33, 0, 1, 0},	{34, 0, 2, 3},	{35, 0, 2, 5},
	{36, 0, 1, 0},	{37, 0, 8, 0},	{38, 0, 2, 0},	{39, 0, 1, 0},	{40, 0, 1, 3},	{42, 0, 6, 0},	{43, 0, 13, 0}, {44, 0, 0, 0},	{45, 0, 14, 0}, {46, 0, 2, 0},	{47, 0, 12, 0}, {50, 0, 1, 0},
	{52, 0, 6, 0},
};
static uint64_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static uint32_t number(void)
{
	static const uint32_t odd[] = {INT32_MAX, 1u << 31, UINT32_MAX, UINT32_MAX - 1, 1u << 28, 1u << 30, 65535, 65536, 256, 313, 4096, 1000, 0x3f800000, 16384, 2048};
	uint32_t kind = any(8);

	return kind < 6 ? any(12) : kind == 6 ? any(400) : odd[any(sizeof(odd) / sizeof(odd[0]))];
}

static void make_any(uint32_t id, uint64_t gpa, const struct gpu_texture *t)
{
	struct gpudrv_entry pieces[2] = {{gpa, 1000, 0}, {gpa + 1000, ROOM - 1000, 0}};
	uint32_t n = 1 + any(2);

	pieces[0].len = n == 1 ? ROOM : 1000;
	if (gpudrv_create_3d(&v, id, t) == GPU_RESP_OK_NODATA) {
		OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, id));
		OK(gpudrv_attach(&v, id, pieces, n));
	}
}

static void add_shader(uint32_t *words, uint32_t *n, uint32_t id, uint32_t kind, const char *text)
{
	uint32_t len = (uint32_t)strlen(text) + 1, m = (len + 3) / 4;
	const uint32_t head[] = {CMD(GPU_CREATE_OBJECT | GPU_SHADER << 8, 5 + m), id, kind, len, 300, 0}, bind[] = {CMD(31, 2), id, kind};

	memcpy(words + *n, head, sizeof(head));
	memcpy(words + *n + 6, text, len);
	memcpy(words + *n + 6 + m, bind, sizeof(bind));
	*n += 6 + m + 3;
}

/* A surface, states, shaders, vertices, constants, a query, a texture with its sampler. */
static void prepare(void)
{
	static const uint32_t states[] = {
		CMD(1 | 8 << 8, 5), 1, 1, 2, 0, 0, CMD(5, 3), 1, 0, 1, CMD(1 | 1 << 8, 11), 2, 0, 0, 0xfu << 27, 0, 0, 0, 0, 0, 0, 0, CMD(2 | 1 << 8, 1), 2, CMD(1 | 3 << 8, 5), 3, 0, 0, 0, 0,
		CMD(2 | 3 << 8, 1), 3, CMD(1 | 2 << 8, 9), 4, 1u << 1 | 1u << 29, 0x3f800000, 0, 0, 0x3f800000, 0, 0, 0, CMD(2 | 2 << 8, 1), 4, CMD(4, 7), 0, 0x42000000, 0x42000000, 0x3f000000,
		0x42000000, 0x42000000, 0x3f000000, CMD(1 | 5 << 8, 5), 7, 0, 0, 0, 31, CMD(2 | 5 << 8, 1), 7, CMD(6, 3), 16, 0, 3, CMD(27, 5), 1, 1, 0, 256, 3, CMD(1 | 9 << 8, 4), 8, 0, 0, 6,
		CMD(1 | 6 << 8, 6), 9, 2, 2, 0, 0, 1 << 3 | 2 << 6 | 3 << 9, CMD(10, 3), 1, 0, 9, CMD(1 | 7 << 8, 9), 10, 0, 0, 0, 0x41200000, 0, 0, 0, 0, CMD(18, 3), 1, 0, 10,
	};
	uint32_t words[512], n = sizeof(states) / 4;

	memcpy(words, states, sizeof(states));
	add_shader(words, &n, 5, 0, "VERT\nDCL IN[0]\nDCL OUT[0], POSITION\n  0: MOV OUT[0], IN[0]\n  1: END\n");
	add_shader(words, &n, 6, 1,
		any(2) ? "FRAG\nDCL OUT[0], COLOR\nDCL CONST[0..3]\n  0: MOV OUT[0], CONST[0]\n  1: END\n"
		       : "FRAG\nDCL IN[0], GENERIC[0], PERSPECTIVE\nDCL OUT[0], COLOR\nDCL SAMP[0]\nDCL SVIEW[0], 2D, FLOAT\n  0: TEX OUT[0], IN[0], SAMP[0], 2D\n  1: END\n");
	OK(gpudrv_submit(&v, words, n));
}

static void say_anything(void)
{
	uint32_t words[256], n = 0;

	for (uint32_t left = 1 + any(3); left > 0; left--) {
		uint32_t i = any(sizeof(commands) / sizeof(commands[0])), len = commands[i].len + commands[i].per * any(4);

		words[n++] = CMD(commands[i].command | commands[i].kind << 8, len);
		while (len-- > 0) {
			words[n++] = number();
		}
	}
	gpudrv_submit(&v, words, n);
	if (any(8) == 0) {
		gpudrv_unref(&v, 1 + any(IDS));
	}
	if (any(8) == 0) {
		const struct gpu_transfer t = {number(), number(), number(), number(), number(), number(), number(), number(), number(), number()};

		gpudrv_transfer_3d(&v, any(2) ? GPU_CMD_TRANSFER_FROM_HOST_3D : GPU_CMD_TRANSFER_TO_HOST_3D, 1 + any(IDS), &t);
	}
}

/* No memory changes that is no resource's, another context is well, and nothing is left. */
static void test_words_of_the_right_length(void **state)
{
	const struct gpu_texture buffer = {.target = GPU_TEXTURE_BUFFER, .format = GPU_TEXTURE_FORMAT_BYTES, .bind = 1u << 4 | 1u << 6, .width = 4096, .height = 1, .depth = 1, .array_size = 1};
	uint64_t gpa[IDS];
	struct gpu_texture t;

	(void)state;
	for (uint32_t i = 0; i < IDS; i++) {
		gpa[i] = tdrv_alloc(&v.d, 2 * ROOM, 4096);
		memset(tdrv_ptr(&v.d, gpa[i], 2 * ROOM), FILL, 2 * ROOM);
	}
	OK(gpudrv_unref(&v, 5));
	seed = 1;
	for (unsigned round = 0; round < 60; round++) {
		v.ctx = 2;
		OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "noise"));
		t = picture;
		make_any(1, gpa[0], &t);
		t.last_level = 2;
		make_any(2, gpa[1], &t);
		make_any(3, gpa[2], &buffer);
		t = (struct gpu_texture){any(9), any(2) ? 1 : number(), 1u << any(20) | 1u << 3, 1 + number() % 64, 1 + number() % 64, 1 + any(4), 1 + any(8), any(4), any(5), 0};
		make_any(4, gpa[3], &t);
		t = picture;
		t.format = 20;
		t.bind = 1;
		make_any(5, gpa[4], &t);
		t = buffer;
		t.bind = 1u << 17;
		make_any(6, gpa[5], &t);
		prepare();
		for (unsigned i = 0; i < 12; i++) {
			say_anything();
		}
		OK(gpudrv_ctx(&v, GPU_CMD_CTX_DESTROY, ""));
		for (uint32_t i = 1; i <= IDS; i++) {
			gpudrv_unref(&v, i);
		}
	}
	for (uint32_t i = 0; i < IDS; i++) {
		const uint8_t *p = tdrv_ptr(&v.d, gpa[i] + ROOM, ROOM);

		for (uint32_t at = 0; at < ROOM; at++) {
			assert_int_equal(p[at], FILL);
		}
	}
	assert_int_equal(v.display.budget.used, GPU_CONTEXT_COST);
	v.ctx = 1;
	make(5, &picture);
	ram = back(5, SIZE);
	is_well();
}

static int keep_drivers(void **state)
{
	return mesa_keep_drivers_of(set_up, tear_down, state);
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
		T(test_words_of_the_right_length),
	};

	return cmocka_run_group_tests_name("words", tests, keep_drivers, NULL);
}
