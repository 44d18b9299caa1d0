/* SPDX-License-Identifier: MIT */
/* The PVH way in: start information for a kernel that begins in 32-bit protected mode. Spec: Xen public/arch-x86/hvm/start_info.h. */
#include <errno.h>
#include <string.h>

#include "boot/x86_elf.h"
#include "boot/x86_layout.h"
#include "boot/x86_memmap.h"

#define START_INFO_MAGIC 0x336ec578u

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	uint32_t memmap_entries, reserved;
};

struct modlist_entry {
	uint64_t paddr, size, cmdline_paddr, reserved;
};

struct memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

/* Start information, module list and memory map, one after another. */
struct boot_data {
	struct start_info info;
	struct modlist_entry module;
	struct memmap_entry memmap[X86_MEMMAP_MAX];
};

int x86_pvh_prepare(const struct boot_image *img, const struct gmem *mem, uint64_t rsdp_gpa, uint64_t initrd_gpa, struct boot_entry *entry)
{
	struct boot_data data = {.info = {.magic = START_INFO_MAGIC, .version = 1}};
	struct x86_memmap map;

	x86_memmap_make(&map, mem);
	for (unsigned i = 0; i < map.n; i++) {
		data.memmap[i] = (struct memmap_entry){
			.addr = map.entry[i].gpa, .size = map.entry[i].len, .type = (uint32_t)map.entry[i].type};
	}
	data.info.memmap_paddr = X86_START_INFO_GPA + offsetof(struct boot_data, memmap);
	data.info.memmap_entries = map.n;
	data.info.cmdline_paddr = X86_CMDLINE_GPA;
	data.info.rsdp_paddr = rsdp_gpa;
	if (img->initrd_len) {
		data.info.nr_modules = 1;
		data.info.modlist_paddr = X86_START_INFO_GPA + offsetof(struct boot_data, module);
		data.module = (struct modlist_entry){.paddr = initrd_gpa, .size = img->initrd_len};
	}
	if (gmem_write(mem, X86_START_INFO_GPA, &data, sizeof(data)) < 0) {
		return -EFAULT;
	}
	*entry = (struct boot_entry){.mode = BOOT_PROTECTED_MODE, .rip = img->entry, .rbx = X86_START_INFO_GPA};
	return 0;
}
