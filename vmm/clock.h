/* SPDX-License-Identifier: MIT */
/*
 * The monitor's one clock: CLOCK_MONOTONIC in nanoseconds, settable in tests.
 * Thread: any; clock_set_test_ns only before threads exist.
 */
#ifndef VMM_CLOCK_H
#define VMM_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_NS_PER_MS 1000000ull
#define CLOCK_NS_PER_S  1000000000ull

uint64_t clock_now_ns(void);

/* "500ms", "60s", "2m", "1h". In milliseconds it fits an int wherever it goes: 24 days. Return: false for anything else. */
bool clock_parse(const char *text, uint64_t *ns);

/* From here on clock_now_ns() returns @ns; 0 returns to the real clock. */
void clock_set_test_ns(uint64_t ns);

#endif
