/* SPDX-License-Identifier: MIT */
#include "boot/x86_multiboot.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot/x86_layout.h"
#include "boot/x86_memmap.h"

#define SEARCH_LEN 8192u
#define HEADER_MAGIC 0x1badb002u
#define BOOT_MAGIC 0x2badb002u
#define HEADER_PAGE_ALIGN 0x1u
#define HEADER_MEMORY_INFO 0x2u
#define HEADER_VIDEO 0x4u
#define HEADER_MUST_KNOW 0xffffu
#define HEADER_ADDRESSES 0x10000u /* the image is not ELF and says itself where it goes */
#define INFO_MEMORY 0x1u
#define INFO_CMDLINE 0x4u
#define INFO_MODULES 0x8u
#define INFO_MEMMAP 0x40u
#define INFO_LOADER_NAME 0x200u

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	uint32_t syms[4], mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name, apm_table;
};

struct module {
	uint32_t start, end, string, reserved;
};

struct memmap_entry {
	uint32_t size; /* of the rest */
	uint64_t addr, len;
	uint32_t type;
} __attribute__((packed));

#define STRINGS_LEN 4096u

/* Everything the kernel is told, at X86_BOOT_DATA_GPA. */
struct boot_data {
	struct info info;
	struct module module[BOOT_INITRDS_MAX];
	struct memmap_entry memmap[X86_MEMMAP_MAX];
	char loader[16];
	char strings[STRINGS_LEN]; /* paths of modules, as many as fit */
};

/* Return: the flags, or 0 with *@found false. */
static uint32_t find_header(const uint8_t *bytes, uint64_t len, bool *found)
{
	uint64_t end = len < SEARCH_LEN ? len : SEARCH_LEN;
	uint32_t word[3];

	for (uint64_t off = 0; off + sizeof(word) <= end; off += 4) {
		memcpy(word, bytes + off, sizeof(word));
		if (word[0] == HEADER_MAGIC && word[0] + word[1] + word[2] == 0) {
			*found = true;
			return word[1];
		}
	}
	*found = false;
	return 0;
}

bool x86_multiboot_is(const uint8_t *bytes, uint64_t len)
{
	bool found;

	find_header(bytes, len, &found);
	return found;
}

/* A kernel that is entered in nothing is a triple fault that nobody understands. */
static bool entry_is_loaded(const struct boot_image *img)
{
	for (unsigned i = 0; i < img->nsegments; i++) {
		if (img->entry >= img->segment[i].gpa && img->entry - img->segment[i].gpa < img->segment[i].filesz) {
			return true;
		}
	}
	return false;
}

int x86_multiboot_check(const struct boot_image *img, const struct x86_elf *elf, char *err, size_t err_len)
{
	bool found;
	uint32_t flags = find_header(img->head, img->kernel_len, &found), known = HEADER_PAGE_ALIGN | HEADER_MEMORY_INFO;

	if (flags & HEADER_ADDRESSES) {
		snprintf(err, err_len, "Multiboot image with an address header: want one that is loaded as ELF");
	} else if (flags & HEADER_VIDEO) {
		snprintf(err, err_len, "the Multiboot header asks for a video mode, and there is none");
	} else if (flags & HEADER_MUST_KNOW & ~known) {
		snprintf(err, err_len, "the Multiboot header asks for something unknown, flags 0x%x", flags);
	} else if (elf->is_64bit) {
		snprintf(err, err_len, "64-bit Multiboot kernel: the protocol starts in 32-bit mode, want a 32-bit ELF (objcopy -O elf32-i386)");
	} else if (!entry_is_loaded(img)) {
		snprintf(err, err_len, "the entry point 0x%llx lies in no segment", (unsigned long long)img->entry);
	} else {
		return 0;
	}
	return -EINVAL;
}

static_assert(SEARCH_LEN <= BOOT_HEAD_LEN, "the header is looked for in the copy of the kernel's head");

static uint32_t gpa_of(size_t offset)
{
	return (uint32_t)(X86_BOOT_DATA_GPA + offset);
}

static void put_modules(struct boot_data *data, const struct boot_image *img, const uint64_t *module_gpa)
{
	size_t used = 1; /* an empty string at 0 */

	data->info.flags |= INFO_MODULES;
	data->info.mods_count = img->ninitrds;
	data->info.mods_addr = gpa_of(offsetof(struct boot_data, module));
	for (unsigned i = 0; i < img->ninitrds; i++) {
		size_t n = strlen(img->initrd[i].path) + 1, at = n <= STRINGS_LEN - used ? used : 0;

		if (at) {
			memcpy(data->strings + at, img->initrd[i].path, n);
			used += n;
		}
		data->module[i] = (struct module){.start = (uint32_t)module_gpa[i],
			.end = (uint32_t)(module_gpa[i] + img->initrd[i].len),
			.string = gpa_of(offsetof(struct boot_data, strings) + at)};
	}
}

int x86_multiboot_prepare(const struct boot_image *img, const struct gmem *mem, const uint64_t *module_gpa, struct boot_entry *entry)
{
	struct boot_data data = {.info = {.flags = INFO_MEMORY | INFO_CMDLINE | INFO_MEMMAP | INFO_LOADER_NAME}, .loader = "tinyvmm"};
	struct x86_memmap map;

	x86_memmap_make(&map, mem);
	for (unsigned i = 0; i < map.n; i++) {
		data.memmap[i] = (struct memmap_entry){.size = sizeof(data.memmap[0]) - sizeof(uint32_t),
			.addr = map.entry[i].gpa, .len = map.entry[i].len, .type = (uint32_t)map.entry[i].type};
	}
	data.info.mem_lower = X86_EBDA_GPA / 1024;
	data.info.mem_upper = (uint32_t)((x86_memmap_low_ram(mem) - X86_HIGH_MEMORY_GPA) / 1024);
	data.info.cmdline = X86_CMDLINE_GPA;
	data.info.mmap_addr = gpa_of(offsetof(struct boot_data, memmap));
	data.info.mmap_length = map.n * (uint32_t)sizeof(data.memmap[0]);
	data.info.boot_loader_name = gpa_of(offsetof(struct boot_data, loader));
	put_modules(&data, img, module_gpa);
	if (gmem_write(mem, X86_BOOT_DATA_GPA, &data, sizeof(data)) < 0) {
		return -EFAULT;
	}
	*entry = (struct boot_entry){.mode = BOOT_PROTECTED_MODE, .rip = img->entry, .rax = BOOT_MAGIC, .rbx = X86_BOOT_DATA_GPA};
	return 0;
}
