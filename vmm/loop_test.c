/* SPDX-License-Identifier: MIT */
/* Descriptors, timers and calls, above all what handlers do to each other. */
#include "vmm/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/log.h"

static struct loop loop;

static int set_up(void **state)
{
	(void)state;
	return loop_init(&loop);
}

static int tear_down(void **state)
{
	(void)state;
	loop_finish(&loop);
	return 0;
}

/* Timers that note the order they fire in. */
static char order[16];
static struct loop_timer timer[3];

static void on_timer(struct loop_timer *t)
{
	order[strlen(order)] = (char)('a' + (t - timer));
}

static void init_timers(void)
{
	memset(order, 0, sizeof(order));
	for (int i = 0; i < 3; i++) {
		loop_timer_init(&timer[i], &loop, on_timer);
	}
}

static void test_loop_timers_fire_in_the_order_of_their_deadlines(void **state)
{
	uint64_t now = clock_now_ns();

	(void)state;
	init_timers();
	loop_timer_set(&timer[0], now - 1);
	loop_timer_set(&timer[1], now - 3);
	loop_timer_set(&timer[2], now - 2);
	loop_run_once(&loop, 0);
	assert_string_equal(order, "bca");
	loop_run_once(&loop, 0);
	assert_string_equal(order, "bca"); /* one shot */
}

static void test_loop_timer_set_again_and_stopped(void **state)
{
	uint64_t now = clock_now_ns();

	(void)state;
	init_timers();
	loop_timer_set(&timer[0], now - 1);
	loop_timer_set(&timer[0], now + 3600 * CLOCK_NS_PER_S);
	loop_timer_set(&timer[1], now - 1);
	loop_timer_stop(&timer[1]);
	loop_timer_stop(&timer[1]);
	loop_run_once(&loop, 0);
	assert_string_equal(order, "");
	assert_true(timer[0].deadline_ns != 0);
	loop_timer_stop(&timer[0]);
}

/* Several, because on a busy machine any one of them may be late, and is not early then whatever the loop does. */
static void test_loop_timer_is_never_early(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		uint64_t deadline = clock_now_ns() + 3 * CLOCK_NS_PER_MS / 2;

		init_timers();
		loop_timer_set(&timer[0], deadline);
		while (!order[0]) {
			loop_run_once(&loop, -1);
			assert_true(!order[0] || clock_now_ns() >= deadline);
		}
	}
}

/* A timer that stops its neighbour and sets itself again: the neighbour does not fire, it does. */
static void on_selfish(struct loop_timer *t)
{
	on_timer(t);
	loop_timer_stop(&timer[1]);
	if (strlen(order) < 3) {
		loop_timer_set(t, 1);
	}
}

static void test_loop_timer_changes_timers_from_inside(void **state)
{
	(void)state;
	init_timers();
	loop_timer_init(&timer[0], &loop, on_selfish);
	loop_timer_set(&timer[0], 1);
	loop_timer_set(&timer[1], 2);
	loop_timer_set(&timer[2], 3);
	loop_run_once(&loop, 0);
	assert_string_equal(order, "aaac");
}

/* Two readable sources; whichever comes first removes both. */
static struct loop_source pair[2];
static unsigned served;

static void on_pair(struct loop_source *src, uint32_t events)
{
	(void)src;
	(void)events;
	served++;
	loop_remove(&pair[0]);
	loop_remove(&pair[1]);
	loop_remove(&pair[1]);
}

static void test_loop_removed_source_is_not_served_any_more(void **state)
{
	(void)state;
	served = 0;
	for (int i = 0; i < 2; i++) {
		pair[i] = (struct loop_source){.fd = eventfd(1, EFD_CLOEXEC), .events = EPOLLIN, .fn = on_pair};
		assert_int_equal(loop_add(&loop, &pair[i]), 0);
	}
	loop_run_once(&loop, 0);
	loop_run_once(&loop, 0);
	assert_int_equal(served, 1);
	close(pair[0].fd);
	close(pair[1].fd);
}

static void on_count(struct loop_source *src, uint32_t events)
{
	(void)src;
	(void)events;
	served++;
}

static void test_loop_events_can_be_changed(void **state)
{
	struct loop_source src = {.fd = eventfd(1, EFD_CLOEXEC), .events = 0, .fn = on_count};

	(void)state;
	served = 0;
	assert_int_equal(loop_add(&loop, &src), 0);
	loop_run_once(&loop, 0);
	assert_int_equal(served, 0);
	loop_set_events(&src, EPOLLIN);
	loop_run_once(&loop, 0);
	assert_int_equal(served, 1);
	loop_set_events(&src, 0);
	loop_run_once(&loop, 0);
	assert_int_equal(served, 1);
	loop_remove(&src);
	close(src.fd);
}

static void swallow(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static void test_loop_refuses_what_cannot_be_polled(void **state)
{
	struct loop_source src = {.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), .events = EPOLLIN, .fn = on_count};

	(void)state;
	log_set_hook(swallow);
	assert_int_equal(loop_add(&loop, &src), -EPERM);
	log_set_hook(NULL);
	assert_null(src.loop);
	loop_remove(&src);
	close(src.fd);
}

/* Calls from threads: each runs on the loop, and is over when loop_call returns. */
struct call {
	bool was_on_loop;
	unsigned sum;
};

static void add(void *arg)
{
	struct call *call = arg;

	call->was_on_loop = loop_is_current(&loop);
	call->sum++;
}

static unsigned callers;

static void *caller(void *arg)
{
	struct call *call = arg;

	for (unsigned i = 1; i <= 500; i++) {
		call->was_on_loop = false;
		loop_call(&loop, add, call);
		if (!call->was_on_loop || call->sum != i || loop_is_current(&loop)) {
			call->sum = 1000000;
		}
	}
	__atomic_sub_fetch(&callers, 1, __ATOMIC_RELEASE);
	loop_stop(&loop);
	return NULL;
}

static void test_loop_call_runs_on_the_loop_and_waits(void **state)
{
	struct call call[4] = {{false, 0}}, own = {false, 0};
	pthread_t thread[4];

	(void)state;
	loop_call(&loop, add, &own); /* from the loop's own thread: at once */
	assert_int_equal(own.sum, 1);
	callers = 4;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_create(&thread[i], NULL, caller, &call[i]), 0);
	}
	while (__atomic_load_n(&callers, __ATOMIC_ACQUIRE) > 0) {
		loop_run(&loop);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(call[i].sum, 500);
	}
}

/* A handler that takes long: meanwhile a timer becomes due, and what it was to wait for comes, sooner than that. */
static struct loop_source takes_long, in_time;

static void on_takes_long(struct loop_source *src, uint32_t events)
{
	eventfd_t n;

	(void)events;
	eventfd_read(src->fd, &n);
	eventfd_write(in_time.fd, 1);
	strcat(order, "L");
	/* As if it had been set to that. */
	timer[0].deadline_ns = clock_now_ns();
	while (clock_now_ns() <= timer[0].deadline_ns) {
	}
}

static void on_in_time(struct loop_source *src, uint32_t events)
{
	eventfd_t n;

	(void)events;
	eventfd_read(src->fd, &n);
	strcat(order, "I");
}

static void test_loop_what_came_in_time_is_served_before_the_timer(void **state)
{
	(void)state;
	init_timers();
	takes_long = (struct loop_source){.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK), .events = EPOLLIN, .fn = on_takes_long};
	in_time = (struct loop_source){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = EPOLLIN, .fn = on_in_time};
	assert_int_equal(loop_add(&loop, &takes_long), 0);
	assert_int_equal(loop_add(&loop, &in_time), 0);
	loop_timer_set(&timer[0], clock_now_ns() + 3600 * CLOCK_NS_PER_S);
	loop_run_once(&loop, 0);
	loop_run_once(&loop, 0);
	assert_string_equal(order, "LIa");
	loop_remove(&takes_long);
	loop_remove(&in_time);
	close(takes_long.fd);
	close(in_time.fd);
}

/* "On the next turn", as handlers say it, costs no look at the descriptors. */
static void on_goes_on(struct loop_source *src, uint32_t events)
{
	eventfd_t n;

	(void)events;
	eventfd_read(src->fd, &n);
	loop_timer_set(&timer[0], clock_now_ns() + 1);
}

static void test_loop_timer_that_a_handler_sets_is_of_the_same_round(void **state)
{
	(void)state;
	init_timers();
	in_time = (struct loop_source){.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK), .events = EPOLLIN, .fn = on_goes_on};
	assert_int_equal(loop_add(&loop, &in_time), 0);
	loop_timer_set(&timer[1], clock_now_ns() + 3600 * CLOCK_NS_PER_S);
	loop_run_once(&loop, 0);
	assert_string_equal(order, "a");
	loop_timer_stop(&timer[1]);
	loop_remove(&in_time);
	close(in_time.fd);
}

/* A stop that comes before the run counts for that run, and only for it. */
static void test_loop_stop_is_not_lost(void **state)
{
	(void)state;
	init_timers();
	loop_stop(&loop);
	loop_run(&loop);
	loop_timer_init(&timer[0], &loop, on_timer);
	loop_timer_set(&timer[0], 1);
	loop_run_once(&loop, 0);
	assert_string_equal(order, "a");
}

/* How vm_stop waits for its vCPUs: a thread counts itself out and stops the loop, and the loop's owner looks at the count between two runs. Whoever still
 * sees the old count must meet the stop in the next run, or waits for ever. Both are nanoseconds apart here, as often as a second allows. */
#define LINE __attribute__((aligned(128)))
#define NO_MORE UINT_MAX
static unsigned leavers LINE, round_begun LINE, round_done LINE;

static void *leaver(void *arg)
{
	(void)arg;
	for (unsigned i = 1;; i++) {
		unsigned begun;

		do {
			begun = __atomic_load_n(&round_begun, __ATOMIC_ACQUIRE);
		} while (begun != i && begun != NO_MORE);
		if (begun == NO_MORE) {
			return NULL;
		}
		for (volatile unsigned k = i * 7 % 40; k > 0; k--) {
		}
		__atomic_sub_fetch(&leavers, 1, __ATOMIC_RELEASE);
		loop_stop(&loop);
		__atomic_store_n(&round_done, i, __ATOMIC_RELEASE);
	}
}

static void test_loop_stop_between_two_runs_is_not_lost(void **state)
{
	uint64_t until = clock_now_ns() + CLOCK_NS_PER_S;
	unsigned lost = 0;
	pthread_t thread;

	(void)state;
	round_begun = round_done = 0;
	assert_int_equal(pthread_create(&thread, NULL, leaver, NULL), 0);
	for (unsigned i = 1; clock_now_ns() < until; i++) {
		unsigned seen;

		leavers = 1;
		loop_stop(&loop);
		__atomic_store_n(&round_begun, i, __ATOMIC_RELEASE);
		for (volatile unsigned k = i * 13 % 40; k > 0; k--) {
		}
		loop_run(&loop);
		seen = __atomic_load_n(&leavers, __ATOMIC_ACQUIRE);
		while (__atomic_load_n(&round_done, __ATOMIC_ACQUIRE) != i) {
		}
		/* A run now would not return. */
		lost += seen > 0 && !__atomic_load_n(&loop.stop, __ATOMIC_ACQUIRE);
	}
	__atomic_store_n(&round_begun, NO_MORE, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_int_equal(lost, 0);
}

/* Posts. */

struct post {
	struct loop_post post;
	unsigned number, left;
};

static unsigned posts_run, posts_in_order;

static void on_post(struct loop_post *post)
{
	struct post *p = (struct post *)((char *)post - offsetof(struct post, post));

	posts_in_order += p->number == posts_run % 3;
	posts_run++;
	/* On the loop's own thread too: after the others. */
	if (p->left > 0) {
		p->left--;
		loop_post(&loop, post);
	}
}

static void *poster(void *arg)
{
	struct post *p = arg;

	for (unsigned i = 0; i < 3; i++) {
		loop_post(&loop, &p[i].post);
	}
	return NULL;
}

static void test_loop_posts_run_in_order_and_nobody_waits(void **state)
{
	struct post p[3] = {{{on_post, NULL}, 0, 4}, {{on_post, NULL}, 1, 4}, {{on_post, NULL}, 2, 4}};
	pthread_t thread;

	(void)state;
	posts_run = posts_in_order = 0;
	assert_int_equal(pthread_create(&thread, NULL, poster, p), 0);
	pthread_join(thread, NULL); /* the loop does not run: whoever posts does not wait for it */
	assert_int_equal(posts_run, 0);
	while (posts_run < 15) {
		loop_run_once(&loop, -1);
	}
	loop_run_once(&loop, 0);
	assert_int_equal(posts_run, 15);
	assert_int_equal(posts_in_order, 15);
}

static void test_loop_finish_accepts_zeroed_memory(void **state)
{
	struct loop never = {.epoll_fd = 0};

	(void)state;
	loop_finish(&never);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_loop_timers_fire_in_the_order_of_their_deadlines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_timer_set_again_and_stopped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_what_came_in_time_is_served_before_the_timer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_timer_that_a_handler_sets_is_of_the_same_round, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_timer_is_never_early, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_timer_changes_timers_from_inside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_removed_source_is_not_served_any_more, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_events_can_be_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_refuses_what_cannot_be_polled, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_call_runs_on_the_loop_and_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_stop_is_not_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_stop_between_two_runs_is_not_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_posts_run_in_order_and_nobody_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loop_finish_accepts_zeroed_memory, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
