/* SPDX-License-Identifier: MIT */
/* The device in front of a renderer that takes its time (tests/support/gpudouble.h): fences, turns, and how many contexts there may be. */
#include <errno.h>
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

#define SENT_MAX 110 /* chains of two descriptors each */

static struct sent {
	uint32_t head, ctx, flags;
	uint64_t fence, out;
	uint8_t ring;
} sent[SENT_MAX];
static unsigned nsent, nback;

static int set_up(void **state)
{
	(void)state;
	renderer = gpudouble_init(&v, 1, BUDGET);
	for (v.ctx = 1; v.ctx <= 2; v.ctx++) {
		OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "test"));
	}
	v.ctx = 1;
	nsent = nback = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
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
 * Fences.
 */

/* A submission that does nothing, not kicked for yet. @ring: -1: none. */
static void send(uint32_t ctx, int ring, uint64_t fence, uint32_t word)
{
	struct {
		struct gpu_wire_submit_3d c;
		uint32_t word;
	} cmd = {.c.size = le32_of(4), .word = word};
	struct sent *s = &sent[nsent++];
	uint64_t in = tdrv_alloc(&v.d, sizeof(cmd), 8);

	*s = (struct sent){.ctx = ctx, .flags = GPU_FLAG_FENCE | (ring >= 0 ? GPU_FLAG_INFO_RING_IDX : 0), .fence = fence, .ring = (uint8_t)(ring >= 0 ? ring : 0)};
	cmd.c.hdr = (struct gpu_wire_hdr){.type = le32_of(ctx ? GPU_CMD_SUBMIT_3D : GPU_CMD_GET_DISPLAY_INFO), .flags = le32_of(s->flags), .fence_id = le64_of(fence),
		.ctx_id = le32_of(ctx), .ring_idx = s->ring};
	s->out = tdrv_alloc(&v.d, sizeof(struct gpu_wire_display_info), 8);
	memcpy(tdrv_ptr(&v.d, in, sizeof(cmd)), &cmd, sizeof(cmd));
	s->head = tdrv_add(&v.d, GPU_CONTROLQ, in, sizeof(cmd), s->out, sizeof(struct gpu_wire_display_info));
}

/* Those that are back are the next @n that were sent, in that order, each with its fence, and no more. */
static void assert_back(unsigned n, uint32_t type)
{
	uint32_t head, len;

	for (unsigned end = nback + n; nback < end; nback++) {
		const struct sent *s = &sent[nback];
		const struct gpu_wire_hdr *hdr = tdrv_ptr(&v.d, s->out, sizeof(*hdr));

		assert_true(tdrv_used(&v.d, GPU_CONTROLQ, &head, &len));
		assert_int_equal(head, s->head);
		assert_int_equal(le32_get(hdr->type), s->ctx ? type : GPU_RESP_OK_DISPLAY_INFO);
		assert_int_equal(len, s->ctx ? sizeof(*hdr) : sizeof(struct gpu_wire_display_info));
		assert_int_equal(le32_get(hdr->flags), s->flags);
		assert_int_equal(le64_get(hdr->fence_id), s->fence);
		assert_int_equal(le32_get(hdr->ctx_id), s->ctx);
		assert_int_equal(hdr->ring_idx, s->ring);
	}
	assert_false(tdrv_used(&v.d, GPU_CONTROLQ, &head, &len));
}

static void assert_back_when_done(uint64_t fence, unsigned n)
{
	gpudouble_done(renderer, fence);
	tdrv_serve(&v.d);
	assert_back(n, GPU_RESP_OK_NODATA);
}

/* Numbers of fences are the guest's: those of a ring or context rise, those of different ones need not. All come back in the order they were sent, which is that of each ring, context and of all. */
static void test_renderer_fences_in_the_order_of_every_ring(void **state)
{
	static const struct {
		uint32_t ctx;
		int ring;
		uint64_t fence;
	} rows[] = {{1, -1, 100}, {2, 0, 7}, {1, 63, 1}, {0, -1, 101}, {2, 1, 1}, {1, 63, 2}, {2, 0, 8}, {1, -1, 102}, {2, -1, 103}, {1, 0, 1ull << 40}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		send(rows[i].ctx, rows[i].ring, rows[i].fence, NOP);
	}
	tdrv_kick(&v.d, GPU_CONTROLQ);
	assert_int_equal(renderer->submissions, 9);
	assert_int_equal(renderer->fences, 10);
	assert_back(0, 0);
	/* Woken up for nothing. */
	assert_back_when_done(0, 0);
	assert_back_when_done(1, 1);
	assert_back_when_done(4, 3);
	/* What has no fence does not wait for those that have. */
	OK(gpudrv_submit(&v, (const uint32_t[]){NOP}, 1));
	assert_int_equal(v.gpu.nfenced, 6);
	/* A renderer does not take back what it has done. */
	assert_back_when_done(2, 0);
	assert_back_when_done(9, 5);
	assert_back_when_done(1000, 1);
	assert_int_equal(v.gpu.nfenced, 0);
}

/* Rounds that end all over the ring they are kept in. */
static void test_renderer_fences_of_many_rounds(void **state)
{
	uint64_t brk = v.d.brk;
	uint64_t fence = 0;

	(void)state;
	for (unsigned round = 0; round < 8; round++) {
		v.d.brk = brk;
		nsent = nback = 0;
		for (unsigned i = 0; i < 100 + round; i++) {
			send(1 + i % 2, -1, ++fence, NOP);
		}
		tdrv_kick(&v.d, GPU_CONTROLQ);
		assert_back_when_done(fence - 50, 50 + round);
		assert_back_when_done(fence, 50);
	}
}

/* Nobody waits for them any more, and what the renderer does late is no news to the next driver. */
static void test_renderer_fences_are_forgotten_by_a_reset(void **state)
{
	uint64_t brk = v.d.brk;
	uint32_t head, len;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		send(1, -1, 1 + i, NOP);
	}
	tdrv_kick(&v.d, GPU_CONTROLQ);
	assert_back_when_done(5, 5);
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(renderer->contexts, 0);
	gpudouble_done(renderer, 10);
	tdrv_serve(&v.d);
	v.d.brk = brk;
	gpudrv_start(&v);
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "next"));
	nsent = nback = 0;
	send(1, -1, 1, NOP);
	send(1, -1, 2, NOP);
	tdrv_kick(&v.d, GPU_CONTROLQ);
	assert_back_when_done(20, 0);
	assert_false(tdrv_used(&v.d, GPU_CONTROLQ, &head, &len));
	assert_back_when_done(21, 1);
	assert_back_when_done(22, 1);
}

/* What a context was to do was sent before it went: its fences come, in their places, also when its number is another's by then. */
static void test_renderer_fences_outlive_their_context(void **state)
{
	(void)state;
	send(1, 3, 1, NOP);
	send(2, -1, 2, NOP);
	send(1, -1, 3, NOP);
	tdrv_kick(&v.d, GPU_CONTROLQ);
	assert_back_when_done(1, 1);
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_DESTROY, ""));
	assert_int_equal(renderer->contexts, 1);
	assert_int_equal(v.gpu.nfenced, 2);
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "another"));
	send(1, -1, 4, NOP);
	tdrv_kick(&v.d, GPU_CONTROLQ);
	assert_back_when_done(2, 1);
	assert_back_when_done(4, 2);
}

/* Linux takes a fence that is answered for all before it. So where the renderer gives none, those before it are answered first, and once. */
static void test_renderer_fences_that_it_does_not_give(void **state)
{
	(void)state;
	send(1, -1, 1, NOP);
	send(2, 5, 2, NOP);
	tdrv_kick(&v.d, GPU_CONTROLQ);
	assert_back(0, 0);
	renderer->fence_error = -ENOMEM;
	send(1, -1, 3, NOP);
	tdrv_kick(&v.d, GPU_CONTROLQ);
	assert_back(3, GPU_RESP_OK_NODATA);
	renderer->fence_error = 0;
	send(1, -1, 4, NOP);
	tdrv_kick(&v.d, GPU_CONTROLQ);
	assert_back_when_done(2, 0);
	assert_back_when_done(3, 1);
}

/* Errors wait for their turn too. */
static void test_renderer_fences_of_what_failed(void **state)
{
	(void)state;
	renderer->submit_error = -EINVAL;
	send(1, -1, 1, NOP);
	send(1, -1, 2, 1u << 16);
	tdrv_kick(&v.d, GPU_CONTROLQ);
	assert_back(0, 0);
	assert_int_equal(v.gpu.nfenced, 2);
	gpudouble_done(renderer, 1);
	tdrv_serve(&v.d);
	assert_back(1, GPU_RESP_ERR_UNSPEC);
	gpudouble_done(renderer, 2);
	tdrv_serve(&v.d);
	assert_back(1, GPU_RESP_ERR_INVALID_PARAMETER);
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

/* The renderer hears which language a context is to speak: the one that the driver says, or none. */
static void test_renderer_contexts_of_the_set_that_is_said(void **state)
{
	static const uint32_t sets[] = {GPU_CAPSET_VIRGL2, GPU_CAPSET_VIRGL, 0};

	(void)state;
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		v.ctx = 10 + (uint32_t)i;
		v.context_init = sets[i];
		OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "of a set"));
		assert_int_equal(renderer->capset, sets[i]);
	}
	v.context_init = 0;
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
		T(test_renderer_fences_in_the_order_of_every_ring),
		T(test_renderer_fences_of_many_rounds),
		T(test_renderer_fences_are_forgotten_by_a_reset),
		T(test_renderer_fences_outlive_their_context),
		T(test_renderer_fences_that_it_does_not_give),
		T(test_renderer_fences_of_what_failed),
		T(test_renderer_contexts_up_to_the_limit),
		T(test_renderer_contexts_of_the_set_that_is_said),
		T(test_renderer_contexts_within_one_are_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
