/* SPDX-License-Identifier: MIT */
#include "boot/x86_memmap.h"

#include <assert.h>

#include "boot/x86_layout.h"

static void add(struct x86_memmap *map, uint64_t gpa, uint64_t end, enum x86_mem_type type)
{
	if (end > gpa) {
		assert(map->n < X86_MEMMAP_MAX);
		map->entry[map->n].gpa = gpa;
		map->entry[map->n].len = end - gpa;
		map->entry[map->n].type = type;
		map->n++;
	}
}

uint64_t x86_memmap_low_ram(const struct gmem *mem)
{
	return mem->region[0].len;
}

void x86_memmap_make(struct x86_memmap *map, const struct gmem *mem)
{
	uint64_t low = x86_memmap_low_ram(mem), registers = X86_VIRTIO_MMIO_GPA;

	map->n = 0;
	add(map, 0, X86_EBDA_GPA, X86_MEM_USABLE);
	/* The ACPI tables lie here; as RAM the guest could overwrite them before it has read them. */
	add(map, X86_EBDA_GPA, X86_HIGH_MEMORY_GPA, X86_MEM_RESERVED);
	add(map, X86_HIGH_MEMORY_GPA, low, X86_MEM_USABLE);
	add(map, registers, registers + X86_VIRTIO_MMIO_LEN, X86_MEM_RESERVED);
	add(map, X86_KVM_IDENTITY_GPA, X86_HIGH_RAM_GPA, X86_MEM_RESERVED);
	if (mem->nregions > 1) {
		add(map, X86_HIGH_RAM_GPA, X86_HIGH_RAM_GPA + mem->region[1].len, X86_MEM_USABLE);
	}
}
