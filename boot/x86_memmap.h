/* SPDX-License-Identifier: MIT */
/*
 * The memory map an x86 guest is told, the same by every way of booting.
 * Thread: the main thread.
 */
#ifndef BOOT_X86_MEMMAP_H
#define BOOT_X86_MEMMAP_H

#include <stdint.h>

#include "vmm/gmem.h"

#define X86_MEMMAP_MAX 8

/* Types as in ACPI 6.5, 15 "System Address Map Interfaces", and in Multiboot and PVH. */
enum x86_mem_type { X86_MEM_USABLE = 1, X86_MEM_RESERVED = 2 };

struct x86_memmap {
	unsigned n;
	struct {
		uint64_t gpa, len;
		enum x86_mem_type type;
	} entry[X86_MEMMAP_MAX];
};

/* Ascending, not overlapping. */
void x86_memmap_make(struct x86_memmap *map, const struct gmem *mem);

/* Bytes of RAM from 0 on, below the hole. */
uint64_t x86_memmap_low_ram(const struct gmem *mem);

#endif
