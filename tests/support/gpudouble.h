/* SPDX-License-Identifier: MIT */
/*
 * A renderer for tests of the graphics device in front of it: it draws nothing, and takes its time. What it is asked for is counted, fences are done when the test says so, and it fails when told to.
 * 2D is the real backend's.
 *
 * One at a time. Thread: the test's.
 */
#ifndef TESTS_SUPPORT_GPUDOUBLE_H
#define TESTS_SUPPORT_GPUDOUBLE_H

#include "tests/support/gpudrv.h"

struct gpudouble {
	uint64_t fences; /* it was asked for: their numbers are 1, 2, ... */
	int fence_error, submit_error; /* -errno in place of the next ones; 0: none */
	unsigned contexts, submissions;
	uint32_t capset; /* of the context that was made last, as it was asked for */
	uint64_t submitted_len; /* bytes */
	void (*on_submit)(void); /* NULL: none */
	int fd;
};

/* As gpudrv_init_3d, with this renderer. gpudrv_finish ends it. */
struct gpudouble *gpudouble_init(struct gpudrv *v, unsigned n, uint64_t budget);

/* All fences up to number @fence are done: what polls hears of it when the loop runs. */
void gpudouble_done(struct gpudouble *r, uint64_t fence);

#endif
