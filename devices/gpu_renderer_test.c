/* SPDX-License-Identifier: MIT */
/* The device in front of a renderer that takes its time (tests/support/gpudouble.h): fences, turns, and how many contexts there may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devices/gpu_3d.h"
#include "devices/gpu_objects.h"
#include "tests/support/gpudouble.h"
#include "vmm/clock.h"

#define BUDGET (512u << 20)
#define NOP 0u
#define ROUNDS_MAX 1000
#define OK(call) assert_int_equal(call, GPU_RESP_OK_NODATA)
#define IS(call, answer) assert_int_equal(call, GPU_RESP_ERR_##answer)

static struct gpudrv v;
static struct gpudouble *renderer;

static int set_up(void **state)
{
	(void)state;
	renderer = gpudouble_init(&v, 1, BUDGET);
	for (v.ctx = 1; v.ctx <= 2; v.ctx++) {
		OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "test"));
	}
	v.ctx = 1;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	v.ctx = 0;
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(v.display.budget.used, 0);
	assert_int_equal(renderer->contexts, 0);
	gpudrv_finish(&v);
	return 0;
}

/*
 * Turns.
 */

/* So many times what lies at @in, each @len bytes. Return: turns it took. */
static uint64_t turns_of(unsigned n, uint64_t in, uint32_t len)
{
	uint64_t before = v.gpu.counters.turns;
	uint32_t head, used_len;

	for (unsigned i = 0; i < n; i++) {
		tdrv_add(&v.d, GPU_CONTROLQ, in, len, v.out_gpa, sizeof(struct gpu_wire_hdr));
	}
	tdrv_kick(&v.d, GPU_CONTROLQ);
	for (unsigned i = 0; i < n; i++) {
		assert_true(tdrv_used(&v.d, GPU_CONTROLQ, &head, &used_len));
	}
	return v.gpu.counters.turns - before;
}

/* Of @len bytes, in guest memory; *@words: what is in it. */
static uint64_t submission(uint32_t len, uint32_t **words)
{
	const struct gpu_wire_submit_3d c = {.hdr = {.type = le32_of(GPU_CMD_SUBMIT_3D), .ctx_id = le32_of(1)}, .size = le32_of(len)};
	uint64_t in = tdrv_alloc(&v.d, sizeof(c) + len, 8);

	memcpy(tdrv_ptr(&v.d, in, sizeof(c)), &c, sizeof(c));
	*words = tdrv_ptr(&v.d, in + sizeof(c), len);
	memset(*words, 0, len);
	return in;
}

/* A number of its own of an object whose bucket all of these share: what gpu_objects multiplies by, divided. */
static uint32_t number_of(uint32_t i)
{
	uint32_t inverse = 2654435761u;

	for (unsigned bits = 3; bits < 32; bits *= 2) {
		inverse *= 2 - 2654435761u * inverse;
	}
	return inverse * i;
}

static struct other {
	struct loop_timer timer;
	unsigned turns, most; /* of it; submissions there were in between at the most */
	unsigned seen;
} other;

static void on_other(struct loop_timer *timer)
{
	unsigned between = renderer->submissions - other.seen;

	other.most = between > other.most ? between : other.most;
	other.seen = renderer->submissions;
	other.turns++;
	loop_timer_set(timer, clock_now_ns() + 1);
}

/* Whoever else is on the loop gets in between: a guest that only draws does not hold up who shows it. */
static void test_renderer_flood_of_submissions_takes_turns(void **state)
{
	enum { LEN = GPU_TURN_SUBMITTED / 4, N = 60 };
	uint32_t *words;
	uint64_t in;

	(void)state;
	in = submission(LEN, &words);
	assert_int_equal(turns_of(4, in, sizeof(struct gpu_wire_submit_3d) + LEN), 1);
	assert_int_equal(turns_of(N, in, sizeof(struct gpu_wire_submit_3d) + LEN), N / 4);
	assert_int_equal(renderer->submissions, N + 4);
	assert_int_equal(renderer->submitted_len, (uint64_t)LEN * (N + 4));
	/* Those of a few words are counted as commands. */
	in = submission(4, &words);
	assert_int_equal(turns_of(GPU_TURN_COMMANDS, in, sizeof(struct gpu_wire_submit_3d) + 4), 1);
	/* What is refused was read all the same. */
	in = submission(LEN, &words);
	words[LEN / 4 - 1] = 1u << 16;
	assert_int_equal(turns_of(N, in, sizeof(struct gpu_wire_submit_3d) + LEN), N / 4);
	assert_int_equal(renderer->submissions, N + 4 + GPU_TURN_COMMANDS);
}

static void test_renderer_others_have_their_turn_in_a_flood(void **state)
{
	enum { LEN = GPU_TURN_SUBMITTED / 4, N = 60 };
	uint32_t *words, head, len;
	uint64_t in;

	(void)state;
	in = submission(LEN, &words);
	other = (struct other){.turns = 0};
	loop_timer_init(&other.timer, &v.d.loop, on_other);
	for (unsigned i = 0; i < N; i++) {
		tdrv_add(&v.d, GPU_CONTROLQ, in, sizeof(struct gpu_wire_submit_3d) + LEN, v.out_gpa, sizeof(struct gpu_wire_hdr));
	}
	loop_timer_set(&other.timer, 1);
	tdrv_write(&v.d, VIRTIO_MMIO_QUEUE_NOTIFY, GPU_CONTROLQ);
	for (unsigned i = 0; renderer->submissions < N; i++) {
		assert_true(i < ROUNDS_MAX);
		loop_run_once(&v.d.loop, 0);
	}
	loop_timer_stop(&other.timer);
	assert_true(other.turns >= N / 4 - 1);
	assert_int_equal(other.most, 4);
	while (tdrv_used(&v.d, GPU_CONTROLQ, &head, &len)) {
	}
}

/* Numbers of objects that are all in one bucket: not many words, but much to do. */
static void test_renderer_submissions_that_are_long_to_follow_take_turns(void **state)
{
	enum { MADE = 4096, LOOKS = GPU_TURN_STEPS / MADE / 4, N = 40 };
	uint32_t *words;
	uint64_t in;

	(void)state;
	in = submission(MADE * 8, &words);
	for (uint32_t i = 0; i < MADE; i++) {
		words[2 * i] = 1 | 8u << 8 | 1u << 16;
		words[2 * i + 1] = number_of(i);
	}
	turns_of(1, in, sizeof(struct gpu_wire_submit_3d) + MADE * 8);
	in = submission(LOOKS * 8, &words);
	for (uint32_t i = 0; i < LOOKS; i++) {
		words[2 * i] = 3 | 8u << 8 | 1u << 16;
		words[2 * i + 1] = number_of(MADE);
	}
	assert_int_equal(turns_of(N, in, sizeof(struct gpu_wire_submit_3d) + LOOKS * 8), N / 4);
}

/*
 * Contexts.
 */

/* As many as the device has a word for, whatever memory there is; each that goes makes room for one, and a reset for all. */
static void test_renderer_contexts_up_to_the_limit(void **state)
{
	uint64_t used;

	(void)state;
	for (v.ctx = 3; v.ctx <= GPU_CONTEXTS_MAX; v.ctx++) {
		OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "many"));
	}
	assert_int_equal(renderer->contexts, GPU_CONTEXTS_MAX);
	used = v.display.budget.used;
	assert_int_equal(used, (uint64_t)GPU_CONTEXTS_MAX * GPU_CONTEXT_COST);
	for (v.ctx = GPU_CONTEXTS_MAX + 1; v.ctx < GPU_CONTEXTS_MAX + 10; v.ctx++) {
		IS(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "one more"), OUT_OF_MEMORY);
	}
	assert_int_equal(renderer->contexts, GPU_CONTEXTS_MAX);
	assert_int_equal(v.display.budget.used, used);
	/* Those that there are work, and one that goes makes room for one. */
	v.ctx = 100;
	OK(gpudrv_submit(&v, (const uint32_t[]){NOP}, 1));
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_DESTROY, ""));
	v.ctx = 0xfffffffe;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "instead"));
	v.ctx = 100;
	IS(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "too late"), OUT_OF_MEMORY);
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(renderer->contexts, 0);
	assert_int_equal(v.display.budget.used, 0);
	gpudrv_start(&v);
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "again"));
}

/* What a context makes within itself costs as much as one each, and there are only so many. */
static void test_renderer_contexts_within_one_are_limited(void **state)
{
	uint64_t used = v.display.budget.used;

	(void)state;
	for (uint32_t sub = 1; sub <= GPU_SUB_CONTEXTS_MAX; sub++) {
		OK(gpudrv_submit(&v, (const uint32_t[]){29 | 1u << 16, sub}, 2));
	}
	assert_int_equal(v.display.budget.used - used, (uint64_t)GPU_SUB_CONTEXTS_MAX * GPU_CONTEXT_COST);
	IS(gpudrv_submit(&v, (const uint32_t[]){29 | 1u << 16, GPU_SUB_CONTEXTS_MAX + 1}, 2), INVALID_PARAMETER);
	OK(gpudrv_submit(&v, (const uint32_t[]){30 | 1u << 16, 7}, 2));
	OK(gpudrv_submit(&v, (const uint32_t[]){29 | 1u << 16, GPU_SUB_CONTEXTS_MAX + 1}, 2));
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_DESTROY, ""));
	assert_int_equal(v.display.budget.used, used - GPU_CONTEXT_COST);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_renderer_flood_of_submissions_takes_turns),
		T(test_renderer_others_have_their_turn_in_a_flood),
		T(test_renderer_submissions_that_are_long_to_follow_take_turns),
		T(test_renderer_contexts_up_to_the_limit),
		T(test_renderer_contexts_within_one_are_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
