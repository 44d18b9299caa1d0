/* SPDX-License-Identifier: MIT */
/*
 * The host memory behind guest RAM: one private anonymous mapping, aligned for huge pages, never touched here, so that a page costs
 * nothing before the guest uses it.
 *
 * Thread: the main thread.
 */
#ifndef VMM_RAM_H
#define VMM_RAM_H

#include <stdint.h>

#include "vmm/config.h"

struct ram {
	uint8_t *hva;
	uint64_t len; /* bytes */
	uint8_t *map; /* what munmap gets: a little more than len */
	uint64_t map_len;
};

/**
 * ram_map - reserve @len bytes
 * @len: rounded up to the page size asked for
 *
 * HUGEPAGES_2M and _1G come from the kernel's pool and are taken at once: a pool that is too small is an error here, not a signal later.
 * Return: 0 or -errno (logged, with the sysctl that helps).
 */
int ram_map(struct ram *ram, uint64_t len, enum config_hugepages pages);
void ram_unmap(struct ram *ram); /* accepts zeroed memory */

#endif
