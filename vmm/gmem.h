/* SPDX-License-Identifier: MIT */
/*
 * Guest memory as the monitor sees it: a few regions of guest-physical addresses, each backed by host memory.
 *
 * Every access to guest memory goes through here, with the whole length checked: nothing outside a region is ever
 * reachable, whatever the guest writes into a ring or a request. Register pages and holes are not regions, so a device
 * cannot be made to read or write its own registers. A gmem can be built over plain malloc in a unit test.
 *
 * A gmem is filled before any other thread exists and never changes while vCPUs run. Thread: any.
 */
#ifndef VMM_GMEM_H
#define VMM_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GMEM_REGIONS_MAX 8

struct gmem_region {
	uint64_t gpa; /* guest-physical start */
	uint64_t len; /* bytes, > 0 */
	uint8_t *hva;
	bool has_file; /* others can map it: it is a file of its owner's */
	int fd;
	uint64_t offset; /* of the region in that file */
};

struct gmem {
	struct gmem_region region[GMEM_REGIONS_MAX]; /* ascending, not overlapping */
	unsigned nregions;
};

/**
 * gmem_add - add a region; the memory stays the caller's
 * Regions are added in ascending order and do not overlap or wrap (asserted: the monitor's own layout).
 */
void gmem_add(struct gmem *mem, uint64_t gpa, void *hva, uint64_t len);

/* The region added last is what @fd, which stays the caller's, has from @offset on. */
void gmem_share(struct gmem *mem, int fd, uint64_t offset);

/* Where the @len bytes at @p, a pointer from gmem_ptr, are in a file. Return: its descriptor and *@offset, or -1: they are in none, or not in one piece. */
int gmem_file(const struct gmem *mem, const void *p, uint64_t len, uint64_t *offset);

/**
 * gmem_ptr - host pointer to @len bytes at @gpa
 *
 * Return: the pointer, or NULL when the range is not wholly inside one region. A zero @len gives NULL only when @gpa
 * itself is outside.
 */
void *gmem_ptr(const struct gmem *mem, uint64_t gpa, uint64_t len);

/* Copies; -EFAULT when the range is not wholly inside one region (then nothing was copied). */
int gmem_write(const struct gmem *mem, uint64_t gpa, const void *src, size_t len);

/* The first address after the last region. */
uint64_t gmem_end(const struct gmem *mem);

#endif
