/* SPDX-License-Identifier: MIT */
/* What the host gives a guest beyond what it is counted for: by a backend that says any number, and by textures that OpenGL keeps when the guest has given them up. */
#include "devices/gpu_usage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devices/gpu_3d.h"
#include "tests/support/gpudrv.h"
#include "tests/support/mesa.h"

#define BUDGET (64ull << 20)
#define CMD(op, object, len) ((op) | (object) << 8 | (uint32_t)(len) << 16)
#define SUBMIT(...) gpudrv_submit(&v, (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / 4)
#define OK(call) assert_int_equal(call, GPU_RESP_OK_NODATA)
#define IS(call, answer) assert_int_equal(call, GPU_RESP_ERR_##answer)
#define NOP 0u
#define CREATE_SUB_CTX 29u
#define SET_SUB_CTX 28u
#define DESTROY_SUB_CTX 30u

static struct gpudrv v;
static struct gpu_backend_ops ops;
static uint64_t said; /* by the backend */
static unsigned asked; /* it was */

static uint64_t memory(struct gpu_backend *b)
{
	(void)b;
	asked++;
	return said;
}

static int set_up(void **state)
{
	(void)state;
	if (!gpudrv_init_3d(&v, 1, "surfaceless", BUDGET)) {
		return -1;
	}
	v.ctx = 1;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "test"));
	return 0;
}

static int set_up_saying(void **state)
{
	if (set_up(state) < 0) {
		return -1;
	}
	ops = *v.gpu.backend->ops;
	ops.memory = memory;
	v.gpu.backend->ops = &ops;
	said = asked = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	gpudrv_finish(&v);
	return 0;
}

static void test_usage_as_kernels_say_it(void **state)
{
	(void)state;
	assert_int_equal(gpu_usage_of_fdinfo(""), 0);
	assert_int_equal(gpu_usage_of_fdinfo("pos:\t0\nflags:\t02100002\nmnt_id:\t22\nino:\t5\n"), 0);
	assert_int_equal(gpu_usage_of_fdinfo("drm-driver:\tamdgpu\ndrm-memory-vram:\t2048 KiB\ndrm-memory-gtt: \t10 MiB\ndrm-memory-cpu: \t100\ndrm-engine-gfx:\t77 ns\n"), (12 << 20) + 100);
	/* Both: one is the other. */
	assert_int_equal(gpu_usage_of_fdinfo("drm-total-local0:\t9 MiB\ndrm-resident-local0:\t4 MiB\ndrm-memory-vram:\t4 MiB\ndrm-resident-system:\t3 KiB"), (4 << 20) + (3 << 10));
	assert_int_equal(gpu_usage_of_fdinfo("drm-resident-without a number"), 0);
}

static void test_usage_of_this_process(void **state)
{
	const size_t len = 64 << 20;
	uint64_t before = gpu_usage_bytes(-1), after;
	char *memory_of_ours = malloc(len);

	(void)state;
	assert_non_null(memory_of_ours);
	memset(memory_of_ours, 1, len);
	after = gpu_usage_bytes(-1);
	assert_true(memory_of_ours[len / 2] == 1);
	free(memory_of_ours);
	assert_true(after > before + len * 9 / 10 && after < before + len * 2);
	/* One that is no render node's adds nothing. */
	assert_true(gpu_usage_bytes(0) < after + len / 2);
}

/* Contexts end when it is more than may be, and what the guest asks for then is not done. */
static void test_usage_that_is_too_much(void **state)
{
	uint64_t limit = 2 * BUDGET + GPU_USAGE_OTHERS + TDRV_RAM_LEN + GPU_USAGE_CONTEXT;

	(void)state;
	said = limit;
	for (unsigned i = 0; i < 100; i++) {
		OK(SUBMIT(NOP));
	}
	assert_true(asked > 0);
	said = limit + 1;
	asked = 0;
	for (unsigned i = 0; i < 100 && asked == 0; i++) {
		uint32_t answer = SUBMIT(NOP);

		assert_int_equal(answer, asked ? GPU_RESP_ERR_OUT_OF_MEMORY : GPU_RESP_OK_NODATA);
	}
	assert_int_equal(v.gpu.contexts.n, 0);
	IS(SUBMIT(NOP), INVALID_CONTEXT_ID);
	/* It may begin again. */
	said = limit;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "again"));
	OK(SUBMIT(NOP));
}

/* Some of it is the contexts' themselves, those within them included. */
static void test_usage_of_contexts(void **state)
{
	(void)state;
	assert_int_equal(gpu_3d_contexts(&v.gpu), 1);
	OK(SUBMIT(CMD(CREATE_SUB_CTX, 0, 1), 1, CMD(CREATE_SUB_CTX, 0, 1), 2, CMD(DESTROY_SUB_CTX, 0, 1), 1));
	assert_int_equal(gpu_3d_contexts(&v.gpu), 2);
	v.ctx = 2;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "another"));
	assert_int_equal(gpu_3d_contexts(&v.gpu), 3);
	v.ctx = 1;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_DESTROY, ""));
	assert_int_equal(gpu_3d_contexts(&v.gpu), 1);
}

static int create_none(struct gpu_backend *b, uint32_t ctx, uint32_t capset, const char *name)
{
	(void)b;
	(void)ctx;
	(void)capset;
	(void)name;
	return 0;
}

static void destroy_none(struct gpu_backend *b, uint32_t ctx)
{
	(void)b;
	(void)ctx;
}

static int submit_nothing(struct gpu_backend *b, uint32_t ctx, void *words, uint32_t nwords)
{
	(void)b;
	(void)ctx;
	(void)words;
	(void)nwords;
	return 0;
}

/* There is room for those of @n contexts, and not more. */
static void has_room_for(unsigned n)
{
	said = 2 * v.display.budget.max + GPU_USAGE_OTHERS + TDRV_RAM_LEN + n * GPU_USAGE_CONTEXT;
	for (unsigned i = 0; i < 100; i++) {
		OK(SUBMIT(NOP));
	}
	said++;
	asked = 0;
	for (unsigned i = 0; i < 100 && asked == 0; i++) {
		SUBMIT(NOP);
	}
	assert_int_equal(v.gpu.contexts.n, 0);
}

/* Of as many as a guest needs; none of them draws. */
static void test_usage_of_many_contexts(void **state)
{
	(void)state;
	/* Contexts cost themselves too. */
	v.display.budget.max = 4 * BUDGET;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_DESTROY, ""));
	ops.create_context = create_none;
	ops.destroy_context = destroy_none;
	ops.submit = submit_nothing;
	for (v.ctx = 1; v.ctx < GPU_USAGE_CONTEXTS; v.ctx++) {
		OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "one of many"));
	}
	v.ctx = 1;
	has_room_for(GPU_USAGE_CONTEXTS - 1);
	for (v.ctx = 1; v.ctx < 2 * GPU_USAGE_CONTEXTS; v.ctx++) {
		OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "one of too many"));
	}
	v.ctx = 1;
	has_room_for(GPU_USAGE_CONTEXTS);
}

/* The kernel is asked for an eighth of the limit, or so many submissions, and not each time. */
static void test_usage_is_looked_at_now_and_then(void **state)
{
	static const struct gpu_texture quarter = {.target = 2, .format = GPU_FORMAT_B8G8R8X8, .bind = 1u << 1, .width = 1024, .height = 512, .depth = 1, .array_size = 1},
					huge = {.target = 2, .format = GPU_FORMAT_B8G8R8X8, .bind = 1u << 1, .width = 16384, .height = 16384, .depth = 1, .array_size = 2048};

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		OK(SUBMIT(NOP));
	}
	assert_int_equal(asked, 1000 * GPU_USAGE_SUBMISSION / (BUDGET / 8));
	asked = 0;
	for (unsigned i = 0; i < 40; i++) {
		OK(gpudrv_create_3d(&v, 7, &quarter));
		OK(gpudrv_unref(&v, 7));
	}
	assert_int_equal(asked, 10);
	/* What there is not is no reason to. */
	for (unsigned i = 0; i < 40; i++) {
		IS(gpudrv_create_3d(&v, 7, &huge), OUT_OF_MEMORY);
	}
	assert_int_equal(asked, 10);
}

#define SIDE 1024u
#define ROWS 64u

/* A context of its own draws in a texture, which the guest then gives up, and is left alone. Return: an answer. */
static uint32_t keep_one(uint32_t number, uint64_t gpa)
{
	static const struct gpu_texture t = {.target = 2, .format = GPU_FORMAT_B8G8R8X8, .bind = 1u << 1 | 1u << 3, .width = SIDE, .height = SIDE, .depth = 1, .array_size = 1};
	const struct gpudrv_entry e = {gpa, SIDE * ROWS * 4, 0};
	uint32_t answer = gpudrv_create_3d(&v, 9, &t);

	if (answer != GPU_RESP_OK_NODATA) {
		return answer;
	}
	OK(gpudrv_attach(&v, 9, &e, 1));
	gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, 9);
	for (uint32_t y = 0; y < SIDE; y += ROWS) {
		const struct gpu_transfer rows = {.y = y, .w = SIDE, .h = ROWS, .d = 1, .stride = SIDE * 4};

		gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_TO_HOST_3D, 9, &rows);
	}
	answer = SUBMIT(CMD(CREATE_SUB_CTX, 0, 1), number, CMD(SET_SUB_CTX, 0, 1), number);
	OK(gpudrv_unref(&v, 9));
	return answer;
}

/* In software, so that this process has what OpenGL keeps. Without the limit it would be 200 textures, 800 MiB. */
static void test_usage_of_textures_that_are_given_up(void **state)
{
	uint64_t gpa = tdrv_alloc(&v.d, SIDE * ROWS * 4, 4096), before = gpu_usage_bytes(-1), most = 0;
	unsigned ends = 0;

	(void)state;
	v.gpu.usage.others = before;
	v.gpu.usage.of_context = 0;
	for (uint32_t i = 0; i < 200; i++) {
		uint32_t answer = keep_one(i % 40 + 1, gpa);
		uint64_t now = gpu_usage_bytes(-1);

		most = now > most ? now : most;
		if (answer != GPU_RESP_OK_NODATA) {
			ends += answer == GPU_RESP_ERR_OUT_OF_MEMORY && v.gpu.contexts.n == 0;
			v.ctx = v.ctx % 200 + 1;
			OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "again"));
		} else if (i % 40 == 39) {
			v.ctx = v.ctx % 200 + 1;
			OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "another"));
		}
	}
	print_message("%u times, at most %llu MiB more\n", ends, (unsigned long long)((most - before) >> 20));
	assert_true(ends > 0);
	/* An eighth, and what is being made. */
	assert_true(most <= before + 3 * BUDGET);
}

static int keep_drivers(void **state)
{
	return mesa_keep_drivers_of(set_up, tear_down, state);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up_saying, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage_as_kernels_say_it),
		cmocka_unit_test(test_usage_of_this_process),
		T(test_usage_that_is_too_much),
		T(test_usage_of_contexts),
		T(test_usage_of_many_contexts),
		T(test_usage_is_looked_at_now_and_then),
		cmocka_unit_test_setup_teardown(test_usage_of_textures_that_are_given_up, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("usage", tests, keep_drivers, NULL);
}
