/* SPDX-License-Identifier: MIT */
#include "vmm/clock.h"

#include <time.h>

static uint64_t clock_test_ns;

uint64_t clock_now_ns(void)
{
	struct timespec ts;

	if (clock_test_ns != 0) {
		return clock_test_ns;
	}
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

void clock_set_test_ns(uint64_t ns)
{
	clock_test_ns = ns;
}
