/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: what lies behind an unpacked kernel's ELF file, as relocations of a kernel of two segments. The first byte says where it is moved. What must hold: a list that is
 * taken can be applied, and one with a place outside changes nothing outside.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "boot/x86_kaslr.h"

#define LINKED 0x1000000ull
#define PAGE 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t ram[4 * PAGE];
	struct boot_image img = {.nsegments = 2};
	struct x86_kaslr by;
	struct x86_relocs relocs;
	struct gmem mem = {.nregions = 0};
	uint32_t *words;
	int checked;

	if (len < 1 || len > 4096) {
		return 0;
	}
	by = (struct x86_kaslr){(data[0] & 15) * X86_KERNEL_ALIGN_MIN, (data[0] >> 4) * X86_KERNEL_ALIGN_MIN};
	img.segment[0].gpa = LINKED;
	img.segment[0].memsz = PAGE;
	img.segment[1].gpa = LINKED + 2ull * PAGE;
	img.segment[1].memsz = PAGE;
	memset(ram, 0, sizeof(ram));
	gmem_add(&mem, LINKED + by.physical, ram, sizeof(ram));
	/* As long as the words are, for the sanitizer. */
	words = malloc(len);
	if (!words) {
		return 0;
	}
	memcpy(words, data + 1, len - 1);
	if (x86_relocs_parse(&relocs, words, (len - 1) / 4) == 0) {
		checked = x86_relocs_check(&relocs, &img);
		if (x86_kaslr_apply(&relocs, &img, &mem, &by) != checked && (by.virtual || checked == 0)) {
			abort();
		}
		for (unsigned i = 0; i < PAGE; i++) {
			if (ram[PAGE + i] || ram[3 * PAGE + i]) {
				abort();
			}
		}
	}
	free(words);
	return 0;
}
