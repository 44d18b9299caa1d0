/* SPDX-License-Identifier: MIT */
/* What contexts have made keeps what it costs: by the device in front of a renderer that takes all submissions, or none; and by the real one. */
#include "devices/gpu_objects.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devices/gpu_3d.h"
#include "tests/support/gpudrv.h"
#include "tests/support/mesa.h"

#define BUDGET (64u << 20)
#define SIZE (64u * 48u * 4u) /* bytes of a picture */
#define CMD(op, object, len) ((op) | (object) << 8 | (uint32_t)(len) << 16)
#define CREATE(kind, len) CMD(1u, kind, len)
#define DESTROY(kind) CMD(3u, kind, 1)
#define SUBMIT(...) gpudrv_submit(&v, (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / 4)
#define OK(call) assert_int_equal(call, GPU_RESP_OK_NODATA)
#define IS(call, answer) assert_int_equal(call, GPU_RESP_ERR_##answer)

static struct gpudrv v;
static const struct gpu_texture picture = {.target = 2, .format = GPU_FORMAT_B8G8R8X8, .bind = 1u << 1 | 1u << 3, .width = 64, .height = 48, .depth = 1, .array_size = 1};
static const struct gpu_backend_ops *real_ops;
static struct gpu_backend_ops ops;
static int submitted;

static int submit(struct gpu_backend *b, uint32_t ctx, void *words, uint32_t nwords)
{
	(void)b;
	(void)ctx;
	(void)words;
	(void)nwords;
	return submitted;
}

static void make(uint32_t id)
{
	OK(gpudrv_create_3d(&v, id, &picture));
	OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, id));
}

static int set_up(void **state)
{
	(void)state;
	if (!gpudrv_init_3d(&v, 1, "surfaceless", BUDGET)) {
		return -1;
	}
	real_ops = v.gpu.backend->ops;
	ops = *real_ops;
	ops.submit = submit;
	submitted = 0;
	v.gpu.backend->ops = &ops;
	v.ctx = 1;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "test"));
	make(5);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	gpudrv_finish(&v);
	return 0;
}

/* Whether what resource 5 cost is kept when the guest gives it up. */
static bool is_kept(void)
{
	uint64_t used = v.display.budget.used;

	OK(gpudrv_unref(&v, 5));
	return used - v.display.budget.used < SIZE;
}

static void test_objects_keep_resources(void **state)
{
	static const struct {
		const char *name;
		uint32_t hold[16], nhold, drop[8], ndrop;
	} rows[] = {
		{"surface", {CREATE(8, 5), 1, 5, 2, 0, 0}, 6, {DESTROY(8), 1}, 2},
		{"surface of samples", {CREATE(11, 6), 1, 5, 2, 0, 0, 4}, 7, {DESTROY(11), 1}, 2},
		{"sampler view", {CREATE(6, 6), 1, 5, 2, 0, 0, 0}, 7, {DESTROY(6), 1}, 2},
		{"stream output", {CREATE(10, 4), 1, 5, 0, 16}, 5, {DESTROY(10), 1}, 2},
		{"query", {CREATE(9, 4), 1, 0, 0, 5}, 5, {DESTROY(9), 1}, 2},
		{"number taken again", {CREATE(8, 5), 1, 5, 2, 0, 0}, 6, {CREATE(3, 1), 1}, 2},
		{"colour target", {CREATE(8, 5), 1, 5, 2, 0, 0, CMD(5, 0, 4), 2, 0, 0, 1, DESTROY(8), 1}, 13, {CMD(5, 0, 3), 1, 0, 0}, 4},
		{"depth target", {CREATE(8, 5), 1, 5, 2, 0, 0, CMD(5, 0, 2), 0, 1, DESTROY(8), 1}, 11, {CMD(5, 0, 2), 0, 0}, 3},
		{"bound view", {CREATE(6, 6), 1, 5, 2, 0, 0, 0, CMD(10, 0, 4), 1, 3, 0, 1, DESTROY(6), 1}, 14, {CMD(10, 0, 3), 1, 0, 0}, 4},
		{"vertices", {CMD(6, 0, 6), 4, 0, 0, 4, 0, 5}, 7, {CMD(6, 0, 3), 4, 0, 0}, 4},
		{"no vertices", {CMD(6, 0, 3), 4, 0, 5}, 4, {CMD(6, 0, 0)}, 1},
		{"indices", {CMD(11, 0, 3), 5, 2, 0}, 4, {CMD(11, 0, 1), 0}, 2},
		{"context within", {CMD(29, 0, 1), 3, CREATE(8, 5), 1, 5, 2, 0, 0, CMD(28, 0, 1), 0, DESTROY(8), 1}, 12, {CMD(30, 0, 1), 3}, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t used = v.display.budget.used, kept;

		OK(gpudrv_submit(&v, rows[i].hold, rows[i].nhold));
		if (!is_kept()) {
			fail_msg("%s: not kept", rows[i].name);
		}
		kept = v.display.budget.used;
		OK(gpudrv_submit(&v, rows[i].drop, rows[i].ndrop));
		if (kept - v.display.budget.used < SIZE) {
			fail_msg("%s: kept for ever", rows[i].name);
		}
		make(5);
		assert_int_equal(v.display.budget.used, used);
	}
	/* Nothing has it. */
	assert_false(is_kept());
}

static uint32_t heard[8][12], nheard[8], heard_in[8];
static unsigned nheards;

static int hear(struct gpu_backend *b, uint32_t ctx, void *words, uint32_t nwords)
{
	(void)b;
	assert_true(nheards < 8 && nwords <= 12 && (uintptr_t)words % 8 == 0);
	memcpy(heard[nheards], words, nwords * 4);
	heard_in[nheards] = ctx;
	nheard[nheards++] = nwords;
	return submitted;
}

#define SUB(n) CMD(28, 0, 1), n

/* At these places the renderer has an address and no reference: there the resource is unbound before it goes. */
static void test_objects_unbind_what_is_not_kept(void **state)
{
	static const struct {
		const char *name;
		uint32_t hold[16], nhold, want[12], nwant;
	} rows[] = {
		{"uniforms", {CMD(27, 0, 5), 1, 2, 0, 16, 5}, 6, {SUB(0), CMD(27, 0, 5), 1, 2, 0, 0, 0, SUB(0)}, 10},
		{"buffer", {CMD(34, 0, 8), 1, 2, 0, 16, 0, 0, 16, 5}, 9, {SUB(0), CMD(34, 0, 5), 1, 3, 0, 0, 0, SUB(0)}, 10},
		{"image", {CMD(35, 0, 7), 4, 2, 2, 0, 0, 0, 5}, 8, {SUB(0), CMD(35, 0, 7), 4, 2, 0, 0, 0, 0, 0, SUB(0)}, 12},
		{"counter", {CMD(40, 0, 7), 2, 0, 16, 0, 0, 16, 5}, 8, {SUB(0), CMD(40, 0, 4), 3, 0, 0, 0, SUB(0)}, 9},
		{"context within", {CMD(29, 0, 1), 3, CMD(27, 0, 5), 1, 2, 0, 16, 5, SUB(0)}, 10, {SUB(3), CMD(27, 0, 5), 1, 2, 0, 0, 0, SUB(0)}, 10},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ops.submit = submit;
		OK(gpudrv_submit(&v, rows[i].hold, rows[i].nhold));
		ops.submit = hear;
		nheards = 0;
		if (is_kept() || nheards != 1 || nheard[0] != rows[i].nwant || memcmp(heard[0], rows[i].want, rows[i].nwant * 4) != 0 || heard_in[0] != 1) {
			fail_msg("%s", rows[i].name);
		}
		make(5);
		/* It is bound nowhere now. */
		assert_false(is_kept());
		assert_int_equal(nheards, 1);
		make(5);
	}
}

static void test_objects_unbind_wherever_it_may_be(void **state)
{
	(void)state;
	v.ctx = 2;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "other"));
	OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, 5));
	OK(SUBMIT(CMD(27, 0, 5), 0, 1, 0, 16, 5, CMD(27, 0, 5), 0, 2, 0, 16, 5));
	/* What the context may no longer use is bound all the same. */
	OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_DETACH_RESOURCE, 5));
	v.ctx = 1;
	OK(SUBMIT(CMD(27, 0, 5), 0, 3, 0, 16, 5));
	/* Another one in its place, by a submission that may not have come so far. */
	OK(gpudrv_create_3d(&v, 6, &picture));
	OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, 6));
	submitted = -EIO;
	IS(SUBMIT(CMD(27, 0, 5), 0, 3, 0, 16, 6), UNSPEC);
	ops.submit = hear;
	nheards = 0;
	OK(gpudrv_unref(&v, 5));
	assert_int_equal(nheards, 3);
	assert_int_equal(heard_in[0] + heard_in[1] + heard_in[2], 1 + 2 + 2);
	OK(gpudrv_unref(&v, 6));
	assert_int_equal(nheards, 4);
}

/* What is in one context within is not in another one. */
static void test_objects_are_of_their_sub_context(void **state)
{
	(void)state;
	OK(SUBMIT(CREATE(8, 5), 1, 5, 2, 0, 0, CMD(29, 0, 1), 3, DESTROY(8), 1, CMD(28, 0, 1), 9, DESTROY(8), 1));
	assert_true(is_kept());
	/* The one that is destroyed is the one that is in use, and then the first one is. */
	OK(SUBMIT(CMD(30, 0, 1), 3, CMD(30, 0, 1), 0, DESTROY(8), 1));
	make(5);
	assert_false(is_kept());
	assert_int_equal(v.display.budget.used, GPU_CONTEXT_COST);
}

static void test_objects_go_with_their_context(void **state)
{
	(void)state;
	OK(SUBMIT(CREATE(8, 5), 1, 5, 2, 0, 0, CMD(29, 0, 1), 3));
	assert_true(is_kept());
	/* Another one's are its own. */
	v.ctx = 2;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "other"));
	make(5);
	OK(SUBMIT(CREATE(8, 5), 1, 5, 2, 0, 0));
	assert_true(is_kept());
	v.ctx = 1;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_DESTROY, ""));
	assert_int_equal(v.display.budget.used, GPU_CONTEXT_COST + SIZE + GPU_RESOURCE_COST);
}

/* A place that a resource's number is bound to again may keep the one that had it before. */
static void test_objects_numbers_come_again(void **state)
{
	uint64_t used;

	(void)state;
	OK(SUBMIT(CMD(6, 0, 3), 4, 0, 5));
	assert_true(is_kept());
	make(5);
	OK(SUBMIT(CMD(6, 0, 3), 8, 0, 5));
	assert_true(is_kept());
	used = v.display.budget.used;
	OK(SUBMIT(CMD(6, 0, 0)));
	assert_int_equal(used - v.display.budget.used, 2 * (SIZE + GPU_RESOURCE_COST));
}

/* Nobody knows what of it was done. */
static void test_objects_of_a_submission_that_failed(void **state)
{
	(void)state;
	OK(SUBMIT(CREATE(8, 5), 1, 5, 2, 0, 0));
	submitted = -EINVAL;
	IS(SUBMIT(DESTROY(8), 1), UNSPEC);
	submitted = 0;
	OK(SUBMIT(DESTROY(8), 1));
	assert_true(is_kept());
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_DESTROY, ""));
	assert_int_equal(v.display.budget.used, 0);
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "again"));
}

static void test_objects_there_is_no_memory_for(void **state)
{
	uint32_t text[GPU_OBJECT_WORDS_FREE + 2] = {CREATE(4, GPU_OBJECT_WORDS_FREE + 1), 7};
	uint64_t used;

	(void)state;
	OK(SUBMIT(CREATE(8, 5), 1, 5, 2, 0, 0));
	used = v.display.budget.used;
	/* What is long costs what it is long. */
	OK(gpudrv_submit(&v, text, GPU_OBJECT_WORDS_FREE + 2));
	assert_int_equal(v.display.budget.used, used + (GPU_OBJECT_WORDS_FREE + 1) * 4);
	OK(SUBMIT(DESTROY(4), 7));
	v.display.budget.max = used + GPU_CONTEXT_COST;
	/* All of it, or nothing. */
	IS(SUBMIT(DESTROY(8), 1, CREATE(8, 5), 2, 5, 2, 0, 0, CMD(29, 0, 1), 3, CREATE(3, 1), 4, CMD(29, 0, 1), 4), INVALID_PARAMETER);
	assert_int_equal(v.display.budget.used, used);
	v.display.budget.max = BUDGET;
	assert_true(is_kept());
	OK(SUBMIT(DESTROY(8), 1));
	assert_int_equal(v.display.budget.used, GPU_CONTEXT_COST);
}

static void test_objects_are_limited(void **state)
{
	enum { BATCH = 512 };
	uint32_t words[BATCH * 2], n = 0;

	(void)state;
	for (uint32_t made = 0; made < GPU_OBJECTS_MAX; made += BATCH) {
		for (uint32_t i = 0; i < BATCH; i++) {
			words[i * 2] = CREATE(3, 1);
			words[i * 2 + 1] = ++n;
		}
		OK(gpudrv_submit(&v, words, BATCH * 2));
	}
	assert_int_equal(v.display.budget.used, GPU_CONTEXT_COST + SIZE + GPU_RESOURCE_COST + GPU_ATTACHED_COST + (GPU_OBJECTS_MAX - GPU_OBJECTS_FREE) * GPU_OBJECT_COST);
	IS(SUBMIT(CREATE(3, 1), n + 1), INVALID_PARAMETER);
	OK(SUBMIT(DESTROY(3), 9));
	OK(SUBMIT(CREATE(3, 1), n + 1));
	IS(SUBMIT(CMD(6, 0, 3), 4, 0, 5), INVALID_PARAMETER);
}

/* A number for an object that shares a bucket with those of all other @i: what gpu_objects multiplies it by, divided. */
static uint32_t number_of(uint32_t i)
{
	uint32_t inverse = 2654435761u;

	for (unsigned bits = 3; bits < 32; bits *= 2) {
		inverse *= 2 - 2654435761u * inverse;
	}
	return inverse * i;
}

/* Looking for what there is not, past all that is in its bucket. */
static void test_objects_are_followed_for_a_limited_time(void **state)
{
	enum { MADE = 8192, ENOUGH = GPU_OBJECT_STEPS_MAX / MADE };
	uint32_t *words = calloc(ENOUGH + 1, 8);

	(void)state;
	assert_non_null(words);
	for (uint32_t i = 0; i < MADE; i++) {
		words[i * 2] = CREATE(8, 1);
		words[i * 2 + 1] = number_of(i);
	}
	OK(gpudrv_submit(&v, words, MADE * 2));
	for (uint32_t i = 0; i < ENOUGH + 1; i++) {
		words[i * 2] = DESTROY(8);
		words[i * 2 + 1] = number_of(MADE);
	}
	IS(gpudrv_submit(&v, words, ENOUGH * 2 + 2), INVALID_PARAMETER);
	OK(gpudrv_submit(&v, words, ENOUGH * 2 - ENOUGH / 8));
	free(words);
}

static uint32_t draw(uint32_t id, uint32_t surface)
{
	return SUBMIT(CREATE(8, 5), surface, id, GPU_FORMAT_B8G8R8X8, 0, 0, CMD(5, 0, 3), 1, 0, surface, CMD(7, 0, 8), 4, 0, 0, 0, 0, 0, 0, 0, DESTROY(8), surface);
}

/* A guest that draws in one texture after another, and gives each up while it is its target, has one of them. */
static void test_objects_by_the_renderer(void **state)
{
	(void)state;
	v.gpu.backend->ops = real_ops;
	for (uint32_t id = 10; id < 40; id++) {
		make(id);
		OK(draw(id, id));
		OK(gpudrv_unref(&v, id));
		assert_int_equal(v.display.budget.used, GPU_CONTEXT_COST + GPU_ATTACHED_COST + 2 * (SIZE + GPU_RESOURCE_COST));
	}
	/* And with objects that it keeps, all. */
	for (uint32_t id = 40; id < 50; id++) {
		make(id);
		OK(SUBMIT(CREATE(8, 5), id, id, GPU_FORMAT_B8G8R8X8, 0, 0));
		OK(gpudrv_unref(&v, id));
	}
	assert_int_equal(v.display.budget.used, GPU_CONTEXT_COST + GPU_ATTACHED_COST + 12 * (SIZE + GPU_RESOURCE_COST));
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(v.display.budget.used, 0);
}

static int keep_drivers(void **state)
{
	return mesa_keep_drivers_of(set_up, tear_down, state);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		T(test_objects_keep_resources),
		T(test_objects_unbind_what_is_not_kept),
		T(test_objects_unbind_wherever_it_may_be),
		T(test_objects_are_of_their_sub_context),
		T(test_objects_go_with_their_context),
		T(test_objects_numbers_come_again),
		T(test_objects_of_a_submission_that_failed),
		T(test_objects_there_is_no_memory_for),
		T(test_objects_are_limited),
		T(test_objects_are_followed_for_a_limited_time),
		T(test_objects_by_the_renderer),
	};

	return cmocka_run_group_tests_name("objects", tests, keep_drivers, NULL);
}
