/* SPDX-License-Identifier: MIT */
#include "vmm/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
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

bool clock_parse(const char *text, uint64_t *ns)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = {{"ms", CLOCK_NS_PER_MS}, {"s", CLOCK_NS_PER_S}, {"m", 60 * CLOCK_NS_PER_S}, {"h", 3600 * CLOCK_NS_PER_S}};
	unsigned long long n;
	char *end;

	if (*text < '0' || *text > '9') {
		return false;
	}
	errno = 0;
	n = strtoull(text, &end, 10);
	for (size_t i = 0; errno == 0 && i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) == 0 && n <= INT32_MAX * CLOCK_NS_PER_MS / units[i].ns) {
			*ns = n * units[i].ns;
			return true;
		}
	}
	return false;
}
