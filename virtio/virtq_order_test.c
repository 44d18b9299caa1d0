/* SPDX-License-Identifier: MIT */
/*
 * The barriers of a queue, where two processors meet: a driver that adds a buffer while the device finds its queue empty, and a device that uses one while the driver asks for an interrupt.
 * Each side writes what the other one looks at, and then looks itself; without a barrier in between both may see what was there before, and nobody tells anybody. That is a matter of nanoseconds,
 * so it is tried often: both sides begin at a time of the processors' counter, the driver a little earlier or later each time. And the device's
 * writes are late, which they may be at any time: they become visible in order, behind one to a cache line that has to be fetched from memory.
 */
#include "virtio/virtq.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "tests/support/baredev.h"
#include "tests/support/testdrv.h"

/* Without one of them a thousand are lost. As many rounds as there is time for where other programs keep the two threads from running at once. */
#define ROUNDS 30000u
#define SECONDS 4
/* Cycles: until both have seen that a round begins; and by how much the driver may be late, of which the device has half. */
#define AHEAD 4000u
#define SPREAD 600u
#define RING_ENTRIES 4u

static struct tdrv d;
static struct baredev bare;
static struct virtq *vq;
static struct virtq_chain c;
static int cpu[2];
static struct {
	_Alignas(64) volatile unsigned word;
} far;

/* What the driver and the device do in one round, at the same time; what came of it is the other thread's to read when both are done. */
struct race {
	bool (*drive)(uint16_t n); /* Return: whether the driver knows that the device will see to it, or has seen that it did */
	bool (*serve)(void); /* Return: whether the device has done so */
	unsigned go, done; /* atomic: rounds begun, and those that the device has ended */
	bool is_last; /* the round that has begun */
	uint64_t start; /* of the round, by the time stamp counter */
	bool is_served;
};

static uint16_t *word(uint64_t gpa)
{
	return tdrv_ptr(&d, gpa, 2);
}

static void wait_until(uint64_t cycles)
{
	while (__builtin_ia32_rdtsc() < cycles) {
	}
}

static void wait_for(const unsigned *counter, unsigned value)
{
	while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) != value) {
		__builtin_ia32_pause();
	}
}

static void stay_on(unsigned which)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu[which], &set);
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(set), &set), 0);
}

static void look_at(const void *from, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 64) {
		(void)((const volatile unsigned char *)from)[i];
	}
}

/* What the device does takes less time than its first write then: it has in its cache what it looks at, and the first write goes to memory. */
static void get_ready(void)
{
	look_at(&bare, sizeof(bare));
	look_at(word(d.q[0].avail), RING_ENTRIES + 2u * BAREDEV_QUEUE_SIZE + 2);
	look_at(word(d.q[0].used), RING_ENTRIES + 8u * BAREDEV_QUEUE_SIZE + 2);
	look_at(word(d.q[0].desc), 16);
	__builtin_ia32_clflush((void *)&far);
	__builtin_ia32_mfence();
}

static void *device(void *arg)
{
	struct race *race = arg;

	stay_on(1);
	for (unsigned n = 1;; n++) {
		bool is_last;

		wait_for(&race->go, n);
		is_last = race->is_last;
		get_ready();
		wait_until(race->start + SPREAD / 2);
		far.word = n;
		race->is_served = race->serve();
		__atomic_store_n(&race->done, n, __ATOMIC_RELEASE);
		if (is_last) {
			return NULL;
		}
	}
}

/* Adds a buffer that nobody is told of. */
static void add(uint16_t n)
{
	*word(d.q[0].avail + RING_ENTRIES + 2u * (n % BAREDEV_QUEUE_SIZE)) = 0;
	__atomic_store_n(word(d.q[0].avail + 2), (uint16_t)(n + 1), __ATOMIC_RELEASE);
}

static void take(void)
{
	assert_int_equal(virtq_pop(vq, &c), 1);
}

/* virtio v1.3, 2.7.13.4.1 "Driver Requirements: Notifying The Device", by avail_event. */
static bool drive_a_buffer(uint16_t n)
{
	add(n);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(word(d.q[0].used + RING_ENTRIES + 8u * BAREDEV_QUEUE_SIZE), __ATOMIC_RELAXED) == n;
}

static bool serve_a_buffer(void)
{
	return virtq_pop(vq, &c) == 1;
}

/* For what it expects it wants no kick, here for nothing. */
static bool serve_an_expected_buffer(void)
{
	return virtq_expect(vq, 0) && virtq_pop(vq, &c) == 1;
}

/* virtio v1.3, 2.7.14 "Receiving Used Buffers From The Device": asks for an interrupt, and looks once more. */
static bool drive_an_interrupt(uint16_t n)
{
	__atomic_store_n(word(d.q[0].avail + RING_ENTRIES + 2u * BAREDEV_QUEUE_SIZE), n, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(word(d.q[0].used + 2), __ATOMIC_ACQUIRE) == (uint16_t)(n + 1);
}

static bool serve_an_interrupt(void)
{
	virtq_push(vq, &c);
	return virtq_notify(vq);
}

static void run(struct race *race, bool is_of_buffers)
{
	time_t end = time(NULL) + SECONDS;
	pthread_t thread;
	unsigned lost = 0;

	stay_on(0);
	/* Nobody has asked for anything yet. */
	*word(d.q[0].avail + RING_ENTRIES + 2u * BAREDEV_QUEUE_SIZE) = UINT16_MAX;
	assert_int_equal(pthread_create(&thread, NULL, device, race), 0);
	for (unsigned n = 1; !race->is_last; n++) {
		bool knows;

		if (!is_of_buffers) {
			add((uint16_t)(n - 1));
			take();
		}
		race->is_last = n == ROUNDS || time(NULL) >= end;
		race->start = __builtin_ia32_rdtsc() + AHEAD;
		__atomic_store_n(&race->go, n, __ATOMIC_RELEASE);
		wait_until(race->start + n * 7 % SPREAD);
		knows = race->drive((uint16_t)(n - 1));
		wait_for(&race->done, n);
		lost += !knows && !race->is_served;
		if (is_of_buffers) {
			/* By the kick, then; and the event index stays behind, for the next round. */
			if (!race->is_served) {
				take();
			}
			virtq_push(vq, &c);
		}
	}
	pthread_join(thread, NULL);
	if (lost) {
		printf("# %u of %u were lost\n", lost, race->go);
	}
	assert_int_equal(lost, 0);
}

static void test_virtq_order_no_kick_is_lost(void **state)
{
	struct race race = {.drive = drive_a_buffer, .serve = serve_a_buffer};

	(void)state;
	run(&race, true);
}

static void test_virtq_order_no_kick_of_more_than_expected_is_lost(void **state)
{
	struct race race = {.drive = drive_a_buffer, .serve = serve_an_expected_buffer};

	(void)state;
	run(&race, true);
}

static void test_virtq_order_no_interrupt_is_lost(void **state)
{
	struct race race = {.drive = drive_an_interrupt, .serve = serve_an_interrupt};

	(void)state;
	run(&race, false);
}

static int set_up(void **state)
{
	(void)state;
	tdrv_init(&d);
	baredev_init(&bare, &d.loop, &d.mem);
	tdrv_attach(&d, &bare.base);
	tdrv_start(&d);
	vq = &bare.base.vq[0];
	tdrv_desc(&d, d.q[0].desc, 0, tdrv_alloc(&d, 8, 8), 8, 0, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tdrv_finish(&d);
	return 0;
}

/* Two processors that this process may use. Return: false: there is one. */
static bool find_processors(void)
{
	cpu_set_t set;
	unsigned n = 0;

	if (sched_getaffinity(0, sizeof(set), &set) < 0) {
		return false;
	}
	for (int i = 0; i < CPU_SETSIZE && n < 2; i++) {
		if (CPU_ISSET(i, &set)) {
			cpu[n++] = i;
		}
	}
	return n == 2;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_virtq_order_no_kick_is_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_virtq_order_no_kick_of_more_than_expected_is_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_virtq_order_no_interrupt_is_lost, set_up, tear_down),
	};

	if (!find_processors()) {
		puts("1..0 # SKIP one processor: nothing happens at the same time");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
