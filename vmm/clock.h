/* SPDX-License-Identifier: MIT */
/*
 * The monitor's one clock: CLOCK_MONOTONIC in nanoseconds, settable in tests.
 * Thread: any; clock_set_test_ns only before threads exist.
 */
#ifndef VMM_CLOCK_H
#define VMM_CLOCK_H

#include <stdint.h>

#define CLOCK_NS_PER_MS 1000000ull
#define CLOCK_NS_PER_S  1000000000ull

uint64_t clock_now_ns(void);

/* From here on clock_now_ns() returns @ns; 0 returns to the real clock. */
void clock_set_test_ns(uint64_t ns);

#endif
