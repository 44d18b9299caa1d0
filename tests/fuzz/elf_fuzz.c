/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any bytes after the ELF magic, booted from a file into 16 MiB between guard pages. What must hold: a refusal has a
 * reason, and an accepted kernel fits into the memory it said it needs.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "boot/x86_layout.h"
#include "tests/support/bootimg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t image[1 << 16];
	static struct bootimg b;

	if (len < 4 || len > sizeof(image)) {
		return 0;
	}
	memcpy(image, data, len);
	memcpy(image, "\x7f" "ELF", 4);
	if (bootimg_boot(&b, image, len, "console=hvc0", data[0] & 1) < 0 ? b.err[0] == '\0' :
		b.image.memory_min > BOOTIMG_RAM || b.image.memory_min <= X86_HIGH_MEMORY_GPA ||
			(b.image.kind == BOOT_PVH && b.entry.rip >= b.image.memory_min)) {
		abort();
	}
	return 0;
}
