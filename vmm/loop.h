/* SPDX-License-Identifier: MIT */
/*
 * An event loop on epoll: file descriptors, timers, and calls handed over from other threads.
 *
 * One thread runs a loop; everything a loop calls runs on that thread, one thing at a time. A device belongs to exactly one
 * loop and needs no lock. Handlers never block: what takes over a millisecond is a descriptor, a timer or another
 * thread's work.
 *
 * Thread: the loop's own, except where a function says "any".
 */
#ifndef VMM_LOOP_H
#define VMM_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Embedded in its owner (container_of). @fn gets the EPOLL* bits that came up; it may remove its own or any other source. */
struct loop_source {
	int fd;
	uint32_t events;
	void (*fn)(struct loop_source *src, uint32_t events);
	struct loop *loop; /* NULL while not added */
};

/* One-shot. Embedded in its owner. Zeroed memory plus loop_timer_init is a stopped timer. */
struct loop_timer {
	void (*fn)(struct loop_timer *timer);
	struct loop *loop;
	uint64_t deadline_ns; /* 0: stopped */
	uint64_t round; /* of the loop, in which it was set */
	struct loop_timer *next;
};

/* A call on its way to a loop; lives on the caller's stack. */
struct loop_call {
	void (*fn)(void *arg);
	void *arg;
	bool done;
	struct loop_call *next;
};

/* Work on its way to a loop that nobody waits for. Embedded in its owner, which keeps it until @fn runs; then it may be freed, or posted again. */
struct loop_post {
	void (*fn)(struct loop_post *post);
	struct loop_post *next;
};

#define LOOP_BATCH 32 /* events taken from epoll at once */

struct loop {
	int epoll_fd;
	pthread_t owner; /* the thread that last called loop_init or loop_run */
	bool stop;
	struct loop_source wake;
	struct loop_timer *timers; /* ascending deadline */
	uint64_t round; /* of looking at descriptors, serving them, and timers */
	uint64_t waited_ns; /* since when the last round that had timers has looked at descriptors */
	pthread_mutex_t lock; /* guards calls, posts and every loop_call.done */
	pthread_cond_t answered;
	struct loop_call *calls;
	struct loop_post *posts;
	/* Sources whose events are already fetched but not yet delivered: loop_remove clears them here. */
	struct loop_source *batch[LOOP_BATCH];
};

/* The calling thread becomes the owner until another one calls loop_run. Return: 0 or -errno (logged). */
int loop_init(struct loop *loop);
void loop_finish(struct loop *loop); /* accepts zeroed memory */

/* Serves until loop_stop. May be called again afterwards; by another thread only while no third one uses the loop. */
void loop_run(struct loop *loop);

/* Serves what is ready now, waiting at most @timeout_ms (-1: until something happens). For tests and tear-down. */
void loop_run_once(struct loop *loop, int timeout_ms);

/* Makes loop_run return after the current handler, or the next one at once. Between two runs the owner may look at what another thread changes before it
 * stops the loop: it sees the change, or its next run sees the stop. Thread: any. */
void loop_stop(struct loop *loop);

/* Adds src->fd for src->events (level-triggered unless EPOLLET is set). Return: 0 or -errno (logged). */
int loop_add(struct loop *loop, struct loop_source *src);
/* Changes the events waited for. 0 is allowed: only EPOLLERR and EPOLLHUP then. */
void loop_set_events(struct loop_source *src, uint32_t events);
/* No handler of @src runs afterwards. Removing what is not added does nothing. Does not close the descriptor. */
void loop_remove(struct loop_source *src);

void loop_timer_init(struct loop_timer *timer, struct loop *loop, void (*fn)(struct loop_timer *timer));
/* Fires once at @deadline_ns (clock_now_ns() time); replaces an earlier deadline. When a handler takes long, what descriptors have by then is served before the timers that became due meanwhile: who was in time is not taken for late. */
void loop_timer_set(struct loop_timer *timer, uint64_t deadline_ns);
void loop_timer_stop(struct loop_timer *timer);

/* True on the thread that runs @loop. Every device entry point asserts it. Thread: any. */
bool loop_is_current(const struct loop *loop);

/**
 * loop_call - run @fn(@arg) on the loop and wait until it returned
 *
 * On the loop's own thread @fn is called at once. From another thread the caller waits; it must hold no lock that @fn
 * could want. The loop serves calls until it is finished: it is stopped only after every thread that may call has been joined.
 * Thread: any.
 */
void loop_call(struct loop *loop, void (*fn)(void *arg), void *arg);

/**
 * loop_post - run post->fn on the loop, some time, and do not wait
 *
 * Posts run in the order they came, one that is posted on the loop's own thread too. The loop serves them until it is finished; whoever posts sees to it that
 * none is left then (asserted).
 * Thread: any.
 */
void loop_post(struct loop *loop, struct loop_post *post);

#endif
