/* SPDX-License-Identifier: MIT */
/* What a texture takes, by its format, size, levels, layers and samples. */
#include "devices/gpu_texture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t bytes(uint32_t target, uint32_t format, uint32_t width, uint32_t height)
{
	const struct gpu_texture t = {.target = target, .format = format, .width = width, .height = height, .depth = 1, .array_size = 1};

	return gpu_texture_bytes(&t);
}

/* Of each kind of format, 100 x 10 pixels. Compressed ones have 25 x 3 blocks. */
static void test_texture_formats(void **state)
{
	static const struct {
		uint32_t format, bytes;
	} rows[] = {
		{GPU_FORMAT_B8G8R8A8, 4000}, {GPU_FORMAT_R8G8B8X8, 4000}, {8, 4000} /* R10G10B10A2 */, {104, 4000} /* R8G8B8A8, sRGB */, {124, 4000} /* R11G11B10 */,
		{7, 2000} /* B5G6R5 */, {12, 2000} /* L8A8 */, {65, 2000} /* R8G8 */, {91, 2000} /* R16, floating point */, {185, 2000}, {321, 2000} /* R5G6B5 */,
		{10, 1000} /* A8 */, {64, 1000} /* R8 */, {69, 1000}, {177, 1000} /* R8, integers */, {312, 1000} /* R8, sRGB */,
		/* Three channels are four. */
		{66, 4000} /* R8G8B8 */, {71, 4000}, {93, 8000} /* R16G16B16 */, {30, 16000} /* R32G32B32 */,
		{94, 8000} /* R16G16B16A16 */, {29, 8000} /* R32G32 */, {31, 16000} /* R32G32B32A32 */, {196, 16000}, {200, 16000},
		/* Depth and stencil. */
		{16, 2000}, {17, 4000}, {18, 4000}, {19, 4000}, {21, 4000}, {23, 1000}, {126, 8000},
		/* Blocks of 4 x 4 pixels. */
		{105, 600} /* DXT1 */, {108, 1200} /* DXT5 */, {110, 600}, {112, 1200}, {113, 600} /* RGTC1 */, {116, 1200} /* RGTC2 */, {255, 1200} /* BPTC */, {258, 1200},
		/* Unpacked. */
		{226, 4000} /* ETC1 */, {269, 4000} /* ETC2 */, {275, 2000}, {278, 4000}, {279, 4000} /* ASTC */, {306, 4000},
		/* Not known. */
		{0, 16000}, {73, 16000}, {348, 16000}, {12345, 16000}, {UINT32_MAX, 16000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (bytes(GPU_TEXTURE_2D, rows[i].format, 100, 10) != rows[i].bytes) {
			fail_msg("format %u: %llu bytes", rows[i].format, (unsigned long long)bytes(GPU_TEXTURE_2D, rows[i].format, 100, 10));
		}
	}
	/* Less than a block is one. */
	assert_int_equal(bytes(GPU_TEXTURE_2D, 105, 1, 1), 8);
	assert_int_equal(bytes(GPU_TEXTURE_2D, 105, 5, 4), 16);
	/* A buffer is bytes, whatever they are. */
	assert_int_equal(bytes(GPU_TEXTURE_BUFFER, 64, 1000, 1), 1000);
	assert_int_equal(bytes(GPU_TEXTURE_BUFFER, 31, 1000, 1), 1000);
}

static void test_texture_levels_layers_and_samples(void **state)
{
	struct gpu_texture t = {.target = GPU_TEXTURE_2D, .format = GPU_FORMAT_B8G8R8A8, .width = 8, .height = 2, .depth = 1, .array_size = 1, .last_level = 3};

	(void)state;
	/* 8 x 2, 4 x 1, 2 x 1, 1 x 1 */
	assert_int_equal(gpu_texture_bytes(&t), (16 + 4 + 2 + 1) * 4);
	/* More levels than there can be are a pixel each. */
	t.last_level = 5;
	assert_int_equal(gpu_texture_bytes(&t), (16 + 4 + 2 + 1 + 1 + 1) * 4);
	t.last_level = UINT32_MAX;
	assert_int_equal(gpu_texture_bytes(&t), (16 + 4 + 2 + 29) * 4);
	t.last_level = 1;
	t.array_size = 6;
	assert_int_equal(gpu_texture_bytes(&t), (16 + 4) * 4 * 6);
	t.nr_samples = 1;
	assert_int_equal(gpu_texture_bytes(&t), (16 + 4) * 4 * 6);
	t.nr_samples = 4;
	assert_int_equal(gpu_texture_bytes(&t), (16 + 4) * 4 * 6 * 4);
	t.nr_samples = 5;
	assert_int_equal(gpu_texture_bytes(&t), (16 + 4) * 4 * 6 * 8);
	/* Of a volume smaller levels are less deep too. */
	t = (struct gpu_texture){.target = GPU_TEXTURE_3D, .format = 64, .width = 8, .height = 8, .depth = 8, .array_size = 1, .last_level = 3};
	assert_int_equal(gpu_texture_bytes(&t), 512 + 64 + 8 + 1);
	/* Blocks of what is smaller than one. */
	t = (struct gpu_texture){.target = GPU_TEXTURE_2D, .format = 105, .width = 8, .height = 8, .depth = 1, .array_size = 1, .last_level = 3};
	assert_int_equal(gpu_texture_bytes(&t), (4 + 1 + 1 + 1) * 8);
}

static void test_texture_of_more_than_there_can_be(void **state)
{
	struct gpu_texture t = {.target = GPU_TEXTURE_2D, .width = UINT32_MAX, .height = UINT32_MAX, .depth = UINT32_MAX, .array_size = UINT32_MAX, .nr_samples = UINT32_MAX};

	(void)state;
	assert_true(gpu_texture_bytes(&t) == UINT64_MAX);
	t.format = 105;
	assert_true(gpu_texture_bytes(&t) == UINT64_MAX);
	t.last_level = UINT32_MAX;
	assert_true(gpu_texture_bytes(&t) == UINT64_MAX);
	/* Each level of it can be, but not both. */
	t = (struct gpu_texture){.target = GPU_TEXTURE_2D, .format = 64, .width = UINT32_MAX, .height = UINT32_MAX, .depth = 1, .array_size = 1, .last_level = 1};
	assert_true(gpu_texture_bytes(&t) == UINT64_MAX);
	t.last_level = 0;
	assert_true(gpu_texture_bytes(&t) == (uint64_t)UINT32_MAX * UINT32_MAX);
	assert_int_equal(gpu_texture_at_level(UINT32_MAX, 31), 1);
	assert_int_equal(gpu_texture_at_level(UINT32_MAX, 32), 1);
	assert_int_equal(gpu_texture_at_level(5, 1), 2);
}

static void test_texture_parts_that_can_be_moved(void **state)
{
	const struct gpu_texture array = {.target = GPU_TEXTURE_2D_ARRAY, .format = 1, .width = 1024, .height = 1024, .depth = 1, .array_size = 8, .last_level = 10};
	static const struct {
		struct gpu_transfer r;
		bool can;
	} rows[] = {
		{{.w = 1024, .h = 1024, .d = 8}, true},
		{{.x = 1, .w = 1024, .h = 1024, .d = 8}, false},
		{{.y = UINT32_MAX, .w = 1024, .h = 2, .d = 1}, false},
		{{.z = 8, .w = 1, .h = 1, .d = 1}, false},
		{{.level = 10, .w = 1, .h = 1, .d = 8}, true},
		{{.level = 10, .w = 2, .h = 1, .d = 8}, false},
		{{.level = 11, .w = 1, .h = 1, .d = 1}, false},
		{{.w = 0, .h = 1, .d = 1}, false},
		{{.w = 1, .h = 0, .d = 1}, false},
		{{.w = 1, .h = 1, .d = 0}, false},
		/* The last byte is number 2^31 - 1, or the next one. */
		{{.w = 1, .h = 2, .d = 1, .stride = INT32_MAX - 4}, true},
		{{.w = 1, .h = 2, .d = 1, .stride = INT32_MAX - 3}, false},
		{{.w = 1, .h = 1, .d = 2, .layer_stride = INT32_MAX - 4}, true},
		{{.w = 1, .h = 1, .d = 2, .layer_stride = INT32_MAX - 3}, false},
		{{.w = 1, .h = 1, .d = 1, .offset = INT32_MAX - 4}, true},
		{{.w = 1, .h = 1, .d = 1, .offset = INT32_MAX - 3}, false},
		{{.w = 1, .h = 1, .d = 1, .offset = UINT64_MAX}, false},
		{{.w = 1, .h = 1, .d = 1, .stride = 1u << 31}, false},
		{{.w = 1, .h = 1, .d = 1, .layer_stride = 1u << 31}, false},
		/* The strides of the level. */
		{{.w = 1, .h = 1, .d = 8, .offset = INT32_MAX - 7 * 4096 * 1024 - 4}, true},
		{{.w = 1, .h = 1, .d = 8, .offset = INT32_MAX - 7 * 4096 * 1024 - 3}, false},
		{{.w = 1, .h = 8, .d = 1, .offset = INT32_MAX - 7 * 4096 - 4}, true},
		{{.w = 1, .h = 8, .d = 1, .offset = INT32_MAX - 7 * 4096 - 3}, false},
	};
	struct gpu_texture t = array;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (gpu_texture_can_move(&array, &rows[i].r) != rows[i].can) {
			fail_msg("row %zu", i);
		}
	}
	/* A level that is too large as a whole; samples; the layers of a volume. */
	t.width = t.height = 16384;
	assert_false(gpu_texture_can_move(&t, &(struct gpu_transfer){.w = 1, .h = 1, .d = 1}));
	assert_true(gpu_texture_can_move(&t, &(struct gpu_transfer){.w = 1, .h = 1, .d = 1, .level = 2}));
	t = array;
	t.nr_samples = 2;
	assert_false(gpu_texture_can_move(&t, &rows[0].r));
	t = array;
	t.target = GPU_TEXTURE_3D;
	t.depth = 8;
	t.array_size = 1;
	assert_true(gpu_texture_can_move(&t, &rows[0].r));
	assert_false(gpu_texture_can_move(&t, &rows[4].r));
	t = (struct gpu_texture){.target = GPU_TEXTURE_BUFFER, .format = GPU_TEXTURE_FORMAT_BYTES, .width = 64, .height = 1, .depth = 1, .array_size = 1};
	assert_true(gpu_texture_can_move(&t, &(struct gpu_transfer){.w = 64, .h = 1, .d = 1}));
	assert_false(gpu_texture_can_move(&t, &(struct gpu_transfer){.x = 1, .w = 64, .h = 1, .d = 1}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texture_formats),
		cmocka_unit_test(test_texture_levels_layers_and_samples),
		cmocka_unit_test(test_texture_of_more_than_there_can_be),
		cmocka_unit_test(test_texture_parts_that_can_be_moved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
