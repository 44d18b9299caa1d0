/* SPDX-License-Identifier: MIT */
/*
 * The host memory behind guest RAM: one private anonymous mapping, aligned for huge pages, never touched here, so that a page costs
 * nothing before the guest uses it. Where others are to map parts of it, it is a memfd instead; huge pages are then up to the host's shmem_enabled.
 *
 * Thread: the main thread.
 */
#ifndef VMM_RAM_H
#define VMM_RAM_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/config.h"

struct ram {
	uint8_t *hva;
	uint64_t len; /* bytes */
	uint8_t *map; /* what munmap gets: a little more than len */
	uint64_t map_len;
	bool is_shared; /* it is the file fd, from its beginning */
	int fd;
};

/**
 * ram_map - reserve @len bytes
 * @len: rounded up to the page size asked for
 *
 * HUGEPAGES_2M and _1G come from the kernel's pool and are taken at once: a pool that is too small is an error here, not a signal later.
 * Return: 0 or -errno (logged, with the sysctl that helps).
 */
int ram_map(struct ram *ram, uint64_t len, enum config_hugepages pages);
/* The same as a memfd whose size is sealed. @pages: not from the pool. Return: 0 or -errno (logged). */
int ram_map_shared(struct ram *ram, uint64_t len, enum config_hugepages pages);
void ram_unmap(struct ram *ram); /* accepts zeroed memory */

#endif
