/* SPDX-License-Identifier: MIT */
/* virtio-rng: real randomness, bounded requests, bounded turns, and a host without any. */
#include "devices/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <cmocka.h>

#include "devices/fake_virtio.h"
#include "vmm/clock.h"

static struct loop loop;
static struct rng r;
static unsigned lines_logged;
static uint8_t buf[65536];
static size_t source_calls;

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
	lines_logged++;
}

static void start(void)
{
	fake_start(&r.base);
	loop_run_once(&loop, 2);
	loop_run_once(&loop, 2);
	fake_queue[0].notified = 0;
}

static int setup(void **state)
{
	(void)state;
	lines_logged = 0;
	source_calls = 0;
	memset(buf, 0, sizeof(buf));
	fake_forget();
	log_set_hook(on_log);
	assert_int_equal(loop_init(&loop), 0);
	rng_init(&r, &loop, NULL);
	start();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_reset(&r.base);
	rng_finish(&r);
	rng_finish(&r);
	loop_finish(&loop);
	log_set_hook(NULL);
	clock_set_test_ns(0);
	return 0;
}

static void kick(void)
{
	r.base.ops->kick(&r.base, 0);
}

static ssize_t no_source(void *dst, size_t len, unsigned flags)
{
	(void)dst;
	(void)len;
	(void)flags;
	source_calls++;
	errno = EAGAIN;
	return -1;
}

/* Gives half of what is asked, then nothing. */
static ssize_t short_source(void *dst, size_t len, unsigned flags)
{
	if (source_calls++ > 0) {
		return no_source(dst, len, flags);
	}
	memset(dst, 0x5a, len / 2);
	return (ssize_t)(len / 2);
}

static void test_rng_fills_the_whole_small_request(void **state)
{
	struct fake_chain *c = fake_add(0, NULL, 0, buf, 64);
	unsigned zeros = 0;

	(void)state;
	kick();
	assert_true(c->pushed);
	assert_int_equal(c->written, 64);
	for (unsigned i = 0; i < 64; i++) {
		zeros += buf[i] == 0;
	}
	assert_true(zeros < 16);
	assert_int_equal(buf[64], 0);
	assert_int_equal(fake_queue[0].notified, 1);
}

static void test_rng_two_requests_differ(void **state)
{
	(void)state;
	fake_add(0, NULL, 0, buf, 32);
	fake_add(0, NULL, 0, buf + 32, 32);
	kick();
	assert_memory_not_equal(buf, buf + 32, 32);
}

static void test_rng_request_is_capped(void **state)
{
	struct fake_chain *c = fake_add(0, NULL, 0, buf, sizeof(buf));

	(void)state;
	kick();
	assert_int_equal(c->written, RNG_REQUEST_MAX);
	assert_int_equal(buf[RNG_REQUEST_MAX], 0);
}

static void test_rng_flood_is_served_in_turns(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3 * RNG_TURN_REQUESTS; i++) {
		fake_add(0, NULL, 0, buf, 16);
	}
	kick();
	assert_int_equal(fake_queue[0].npushed, RNG_TURN_REQUESTS);
	kick();
	kick();
	assert_int_equal(fake_queue[0].npushed, RNG_TURN_REQUESTS);
	loop_run_once(&loop, 5);
	assert_int_equal(fake_queue[0].npushed, 2 * RNG_TURN_REQUESTS);
	loop_run_once(&loop, 5);
	loop_run_once(&loop, 5);
	assert_int_equal(fake_queue[0].npushed, 3 * RNG_TURN_REQUESTS);
	assert_int_equal(r.again.deadline_ns, 0);
}

static void test_rng_flood_of_large_requests_is_served_in_turns(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		fake_add(0, NULL, 0, buf, sizeof(buf));
	}
	kick();
	assert_int_equal(fake_queue[0].npushed, RNG_TURN_BYTES / RNG_REQUEST_MAX);
}

static void test_rng_request_without_room_is_answered(void **state)
{
	struct fake_chain *none = fake_add(0, NULL, 0, NULL, 0);
	struct fake_chain *readable = fake_add(0, "text", 4, NULL, 0);

	(void)state;
	kick();
	assert_true(none->pushed && readable->pushed);
	assert_int_equal(none->written, 0);
	assert_int_equal(lines_logged, 2);
}

static void test_rng_broken_ring_ends_the_turn(void **state)
{
	struct fake_chain *c = fake_add(0, NULL, 0, buf, 16);

	(void)state;
	fake_add(0, NULL, 0, buf, 16)->broken = true;
	kick();
	assert_true(c->pushed);
	assert_int_equal(fake_queue[0].npushed, 1);
	assert_int_equal(r.again.deadline_ns, 0);
}

static void test_rng_without_host_randomness_waits_and_answers_later(void **state)
{
	struct fake_chain *c = fake_add(0, NULL, 0, buf, 16);

	(void)state;
	r.source = no_source;
	kick();
	kick();
	assert_false(c->pushed);
	assert_int_equal(source_calls, 1);
	assert_int_equal(lines_logged, 1);
	r.source = getrandom;
	clock_set_test_ns(clock_now_ns() + 2 * CLOCK_NS_PER_S);
	loop_run_once(&loop, 0);
	assert_true(c->pushed);
	assert_int_equal(c->written, 16);
}

static void test_rng_short_randomness_is_a_short_answer(void **state)
{
	struct fake_chain *c = fake_add(0, NULL, 0, buf, 1000);

	(void)state;
	r.source = short_source;
	kick();
	assert_int_equal(c->written, 128);
}

static void test_rng_reset_with_a_turn_outstanding(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * RNG_TURN_REQUESTS; i++) {
		fake_add(0, NULL, 0, buf, 16);
	}
	kick();
	fake_reset(&r.base);
	fake_reset(&r.base);
	loop_run_once(&loop, 5);
	assert_int_equal(fake_queue[0].npushed, 0);
	start();
	fake_add(0, NULL, 0, buf, 16);
	kick();
	assert_int_equal(fake_queue[0].npushed, 1);
}

static void test_rng_buffers_made_before_driver_ok_are_found(void **state)
{
	struct fake_chain *c;

	(void)state;
	fake_reset(&r.base);
	c = fake_add(0, NULL, 0, buf, 16);
	fake_start(&r.base);
	loop_run_once(&loop, 2);
	loop_run_once(&loop, 2);
	assert_true(c->pushed);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rng_fills_the_whole_small_request),
		T(test_rng_two_requests_differ),
		T(test_rng_request_is_capped),
		T(test_rng_flood_is_served_in_turns),
		T(test_rng_flood_of_large_requests_is_served_in_turns),
		T(test_rng_request_without_room_is_answered),
		T(test_rng_broken_ring_ends_the_turn),
		T(test_rng_without_host_randomness_waits_and_answers_later),
		T(test_rng_short_randomness_is_a_short_answer),
		T(test_rng_reset_with_a_turn_outstanding),
		T(test_rng_buffers_made_before_driver_ok_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
