/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: a bzImage whose setup header and length are the input's (the input starts at 0x1f1 of the file, where the header
 * does; the rest is `hlt`). What must hold: a refusal has a reason, and an accepted kernel starts inside the memory it said it needs.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/bootimg.h"

#define HEADER_START 0x1f1u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* First two bytes: the file's length in units of 4 bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t image[4 << 16];
	static struct bootimg b;
	size_t file_len;

	if (len < 3 || len > 0x400) {
		return 0;
	}
	file_len = 4u * (data[0] | (size_t)data[1] << 8);
	file_len = file_len < 0x206 ? 0x206 : file_len;
	memset(image, 0xf4, sizeof(image));
	memcpy(image + HEADER_START, data + 2, len - 2);
	memcpy(image + 0x1fe, "\x55\xaa", 2);
	memcpy(image + 0x202, "HdrS", 4);
	if (bootimg_boot(&b, image, file_len, "console=hvc0", data[0] & 1) < 0 ? b.err[0] == '\0' :
		b.image.kind != BOOT_BZIMAGE || b.image.memory_min > BOOTIMG_RAM || b.entry.rip >= b.image.memory_min) {
		abort();
	}
	return 0;
}
