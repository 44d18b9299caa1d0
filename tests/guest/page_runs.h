/* SPDX-License-Identifier: MIT */
/* What physical memory a mapping is made of, and how to make that bad. For root only. */
#ifndef TESTS_GUEST_PAGE_RUNS_H
#define TESTS_GUEST_PAGE_RUNS_H

#include <stddef.h>

/* Return: how many runs of neighbouring page frames there are in @size bytes from @map on, which are touched; -1 with errno. */
long page_runs(const void *map, size_t size);

/*
 * Takes single pages until no more than @left_mib MiB are available, then gives every second one back: what is allocated afterwards finds hardly two free
 * pages side by side. Kept until the process ends.
 * Return: pages taken and kept; -1 with errno.
 */
long fragment_memory(unsigned left_mib);

#endif
