/* SPDX-License-Identifier: MIT */
/* What waits for a guest, without one. How melting and giving way look to a guest: input_test. */
#include "devices/input_ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct input_desc desc;
static struct input_counters counters;
static struct input_state now, guest;
static struct input_ring *ring;

static int setup(void **state)
{
	(void)state;
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	memset(&counters, 0, sizeof(counters));
	input_state_init(&now, &desc);
	input_state_init(&guest, &desc);
	ring = calloc(1, sizeof(*ring));
	assert_non_null(ring);
	input_ring_init(ring, &desc, &counters);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(ring);
	return 0;
}

/* A frame of keys @first and those after it, @n of them, all down or all up, which ends in a SYN_REPORT with @syn. */
static void put_keys(unsigned first, unsigned n, bool down, int32_t syn)
{
	struct input_ev frame[INPUT_FRAME_MAX];

	for (unsigned i = 0; i < n; i++) {
		frame[i] = (struct input_ev){EV_KEY, (uint16_t)(first + i), down};
		input_state_apply(&now, &frame[i]);
	}
	frame[n] = (struct input_ev){EV_SYN, SYN_REPORT, syn};
	input_ring_put(ring, frame, n + 1, &now);
}

static struct input_ev take(void)
{
	struct input_ev ev = input_ring_first(ring);

	input_ring_take(ring);
	input_state_apply(&guest, &ev);
	return ev;
}

static void expect(uint16_t type, uint16_t code, int32_t value)
{
	struct input_ev ev = take();

	assert_int_equal(ev.type, type);
	assert_int_equal(ev.code, code);
	assert_int_equal(ev.value, value);
}

static void take_all(void)
{
	while (input_ring_waiting(ring) > 0) {
		take();
	}
	assert_memory_equal(&guest, &now, sizeof(guest));
	assert_memory_equal(&ring->sent, &now, sizeof(now));
}

static void test_input_ring_what_is_put_is_taken_in_order(void **state)
{
	(void)state;
	put_keys(KEY_A, 1, true, 0);
	put_keys(KEY_A, 1, false, 0);
	assert_int_equal(input_ring_waiting(ring), 4);
	expect(EV_KEY, KEY_A, 1);
	assert_true(ring->is_torn);
	expect(EV_SYN, SYN_REPORT, 0);
	assert_false(ring->is_torn);
	expect(EV_KEY, KEY_A, 0);
	expect(EV_SYN, SYN_REPORT, 0);
	take_all();
	assert_int_equal(counters.frames_out, 2);
	assert_int_equal(counters.events_out, 2);
}

/* As far as it is filled, it is filled from the start again, for as long as one likes. */
static void test_input_ring_begins_anew_when_it_runs_empty(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3 * INPUT_RING_EVENTS; i++) {
		put_keys(KEY_A, 1, i % 2 == 0, 0);
		take();
		take();
		assert_int_equal(ring->end, 0);
	}
	assert_int_equal(counters.coalesced + counters.dropped + counters.resyncs, 0);
}

static void test_input_ring_difference_is_what_the_guest_lacks(void **state)
{
	(void)state;
	put_keys(KEY_A, 1, true, 0);
	assert_false(input_ring_put_difference(ring, &now));
	input_state_release(&now);
	assert_true(input_ring_put_difference(ring, &now));
	expect(EV_KEY, KEY_A, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	expect(EV_KEY, KEY_A, 0);
	expect(EV_SYN, SYN_REPORT, 0);
	take_all();
	assert_int_equal(counters.resyncs, 1);
}

/* Differences are no frames that a source has sent: they are not there any more. */
static void test_input_ring_forgets_and_counts_frames_of_the_source(void **state)
{
	(void)state;
	put_keys(KEY_A, 1, true, 0);
	put_keys(KEY_B, 2, true, 0);
	take();
	input_state_release(&now);
	assert_true(input_ring_put_difference(ring, &now));
	input_ring_forget(ring);
	assert_int_equal(input_ring_waiting(ring), 0);
	assert_false(ring->is_torn);
	assert_int_equal(counters.dropped, 2);
	assert_int_equal(counters.resyncs, 0);
	/* The next driver has not been told of the key that this one was told of. */
	input_ring_start(ring);
	assert_false(input_ring_put_difference(ring, &now));
}

/* However its SYN_REPORT looks. */
static void test_input_ring_no_frame_of_a_source_is_a_difference(void **state)
{
	(void)state;
	put_keys(KEY_A, 1, true, INT32_MIN);
	put_keys(KEY_A, 1, false, 5);
	expect(EV_KEY, KEY_A, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	expect(EV_KEY, KEY_A, 0);
	expect(EV_SYN, SYN_REPORT, 5);
	put_keys(KEY_A, 1, true, INT32_MIN);
	input_ring_forget(ring);
	assert_int_equal(counters.dropped, 1);
	assert_int_equal(counters.resyncs, 0);
}

/* No motion gives way here: it is the difference that does it, after the frame whose beginning the guest has. */
static void test_input_ring_full_of_keys_collapses_behind_a_torn_frame(void **state)
{
	unsigned sent = 1;

	(void)state;
	put_keys(KEY_A, 3, true, 0);
	expect(EV_KEY, KEY_A, 1);
	for (; counters.resyncs == 0; sent++) {
		assert_true(sent < INPUT_RING_EVENTS);
		put_keys(KEY_Q, 5, sent % 2 == 1, 0);
	}
	assert_false(input_ring_waiting(ring) > INPUT_DIFF_MAX);
	assert_true(input_ring_has_room(ring, INPUT_FRAME_MAX));
	expect(EV_KEY, KEY_A + 1, 1);
	expect(EV_KEY, KEY_A + 2, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	take_all();
	assert_int_equal(counters.resyncs, 1);
	assert_int_equal(counters.frames_out + counters.dropped, sent + counters.resyncs);
}

static void test_input_ring_has_room_for_more_than_one(void **state)
{
	unsigned n = 0;

	(void)state;
	for (; input_ring_has_room(ring, INPUT_FRAME_MAX); n += 2) {
		put_keys(KEY_A, 1, n % 4 == 0, 0);
	}
	assert_int_equal(n, input_ring_waiting(ring));
	assert_in_range(n + INPUT_FRAME_MAX, INPUT_RING_EVENTS / 2, INPUT_RING_EVENTS - INPUT_FRAME_MAX);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_input_ring_what_is_put_is_taken_in_order),
		T(test_input_ring_begins_anew_when_it_runs_empty),
		T(test_input_ring_difference_is_what_the_guest_lacks),
		T(test_input_ring_forgets_and_counts_frames_of_the_source),
		T(test_input_ring_no_frame_of_a_source_is_a_difference),
		T(test_input_ring_full_of_keys_collapses_behind_a_torn_frame),
		T(test_input_ring_has_room_for_more_than_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
