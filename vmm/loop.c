/* SPDX-License-Identifier: MIT */
#include "vmm/loop.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/log.h"

static void serve_posts(struct loop *loop)
{
	struct loop_post *list, *next;

	pthread_mutex_lock(&loop->lock);
	list = loop->posts;
	loop->posts = NULL;
	pthread_mutex_unlock(&loop->lock);
	for (; list; list = next) {
		next = list->next;
		list->fn(list);
	}
}

static void loop_serve_calls(struct loop_source *src, uint32_t events)
{
	struct loop *loop = src->loop;
	struct loop_call *list, *next;
	eventfd_t n;

	(void)events;
	eventfd_read(src->fd, &n);
	pthread_mutex_lock(&loop->lock);
	list = loop->calls;
	loop->calls = NULL;
	pthread_mutex_unlock(&loop->lock);
	for (; list; list = next) {
		/* After done is set the caller's stack frame, and with it *list, may be gone. */
		next = list->next;
		list->fn(list->arg);
		pthread_mutex_lock(&loop->lock);
		list->done = true;
		pthread_cond_broadcast(&loop->answered);
		pthread_mutex_unlock(&loop->lock);
	}
	serve_posts(loop);
}

int loop_init(struct loop *loop)
{
	int r;

	*loop = (struct loop){.epoll_fd = -1, .wake.fd = -1, .owner = pthread_self()};
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->answered, NULL);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake = (struct loop_source){
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = EPOLLIN, .fn = loop_serve_calls};
	if (loop->epoll_fd < 0 || loop->wake.fd < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "event loop");
		goto fail;
	}
	r = loop_add(loop, &loop->wake);
	if (r < 0) {
		goto fail;
	}
	return 0;
fail:
	loop_finish(loop);
	return r;
}

void loop_finish(struct loop *loop)
{
	if (loop->epoll_fd <= 0) {
		return;
	}
	assert(!loop->calls && !loop->posts);
	close(loop->wake.fd);
	close(loop->epoll_fd);
	pthread_cond_destroy(&loop->answered);
	pthread_mutex_destroy(&loop->lock);
	*loop = (struct loop){.epoll_fd = -1, .wake.fd = -1};
}

/* Milliseconds until the first timer, rounded up so that it has passed when epoll returns. */
static int timer_wait_ms(struct loop *loop, int timeout_ms)
{
	uint64_t now, ms;

	if (!loop->timers) {
		return timeout_ms;
	}
	now = clock_now_ns();
	loop->waited_ns = now;
	if (loop->timers->deadline_ns <= now) {
		return 0;
	}
	ms = (loop->timers->deadline_ns - now + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS;
	if (ms > 86400000) {
		ms = 86400000;
	}
	return timeout_ms >= 0 && (uint64_t)timeout_ms < ms ? timeout_ms : (int)ms;
}

/* Of the timers that are due, those that were so before descriptors were looked at, or when that found nothing. What has come since may be what a timer that became due meanwhile, while handlers ran, was to wait for: that one is for the next
 * round. Not one that a handler of this round has set. */
static void fire_timers(struct loop *loop, bool is_served)
{
	uint64_t now = clock_now_ns();

	while (loop->timers && loop->timers->deadline_ns <= now && (!is_served || loop->timers->deadline_ns <= loop->waited_ns || loop->timers->round == loop->round)) {
		struct loop_timer *t = loop->timers;

		loop_timer_stop(t);
		t->fn(t);
	}
}

void loop_run_once(struct loop *loop, int timeout_ms)
{
	struct epoll_event ev[LOOP_BATCH];
	int n;

	n = epoll_wait(loop->epoll_fd, ev, LOOP_BATCH, timer_wait_ms(loop, timeout_ms));
	loop->round++;
	for (int i = 0; i < n; i++) {
		loop->batch[i] = ev[i].data.ptr;
	}
	for (int i = 0; i < n; i++) {
		struct loop_source *src = loop->batch[i];

		loop->batch[i] = NULL;
		if (src) {
			src->fn(src, ev[i].events);
		}
	}
	fire_timers(loop, n > 0);
}

void loop_run(struct loop *loop)
{
	/* Not written again: threads that run already ask loop_is_current. */
	if (!loop_is_current(loop)) {
		loop->owner = pthread_self();
	}
	while (!__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE)) {
		loop_run_once(loop, -1);
	}
	/* The store must be seen before the caller's next look at anything: whoever changes that and then stops the loop would otherwise have the stop
	 * overwritten by this store, after the caller has looked, and the next run would never end. */
	__atomic_store_n(&loop->stop, false, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void loop_stop(struct loop *loop)
{
	__atomic_store_n(&loop->stop, true, __ATOMIC_RELEASE);
	eventfd_write(loop->wake.fd, 1);
}

int loop_add(struct loop *loop, struct loop_source *src)
{
	struct epoll_event ev = {.events = src->events, .data.ptr = src};

	assert(!src->loop);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, src->fd, &ev) < 0) {
		int r = -errno;

		log_errno(LOG_ERR, r, "event loop: descriptor %d", src->fd);
		return r;
	}
	src->loop = loop;
	return 0;
}

void loop_set_events(struct loop_source *src, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = src};

	assert(src->loop);
	if (src->events != events) {
		src->events = events;
		epoll_ctl(src->loop->epoll_fd, EPOLL_CTL_MOD, src->fd, &ev);
	}
}

void loop_remove(struct loop_source *src)
{
	struct loop *loop = src->loop;

	if (!loop) {
		return;
	}
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, src->fd, NULL);
	for (unsigned i = 0; i < LOOP_BATCH; i++) {
		if (loop->batch[i] == src) {
			loop->batch[i] = NULL;
		}
	}
	src->loop = NULL;
}

void loop_timer_init(struct loop_timer *timer, struct loop *loop, void (*fn)(struct loop_timer *timer))
{
	*timer = (struct loop_timer){.loop = loop, .fn = fn};
}

void loop_timer_set(struct loop_timer *timer, uint64_t deadline_ns)
{
	struct loop_timer **p;

	loop_timer_stop(timer);
	timer->deadline_ns = deadline_ns > 0 ? deadline_ns : 1;
	timer->round = timer->loop->round;
	for (p = &timer->loop->timers; *p && (*p)->deadline_ns <= timer->deadline_ns; p = &(*p)->next) {
	}
	timer->next = *p;
	*p = timer;
}

void loop_timer_stop(struct loop_timer *timer)
{
	struct loop_timer **p;

	if (timer->deadline_ns == 0) {
		return;
	}
	for (p = &timer->loop->timers; *p != timer; p = &(*p)->next) {
		assert(*p);
	}
	*p = timer->next;
	timer->next = NULL;
	timer->deadline_ns = 0;
}

bool loop_is_current(const struct loop *loop)
{
	return pthread_equal(loop->owner, pthread_self());
}

void loop_call(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct loop_call call = {.fn = fn, .arg = arg};
	struct loop_call **p;

	if (loop_is_current(loop)) {
		fn(arg);
		return;
	}
	pthread_mutex_lock(&loop->lock);
	for (p = &loop->calls; *p; p = &(*p)->next) {
	}
	*p = &call;
	eventfd_write(loop->wake.fd, 1);
	while (!call.done) {
		pthread_cond_wait(&loop->answered, &loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
}

void loop_post(struct loop *loop, struct loop_post *post)
{
	struct loop_post **p;

	pthread_mutex_lock(&loop->lock);
	post->next = NULL;
	for (p = &loop->posts; *p; p = &(*p)->next) {
	}
	*p = post;
	/* Under the lock: the loop may be finished as soon as it has run the post. */
	eventfd_write(loop->wake.fd, 1);
	pthread_mutex_unlock(&loop->lock);
}
