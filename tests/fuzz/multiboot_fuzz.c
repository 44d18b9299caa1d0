/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: 32-bit ELF files with a Multiboot header whose checksum is right. The input is the file; the header lies where its
 * first byte says, so that it may overlap anything. What must hold: a refusal has a reason, and module list, memory map and modules of an
 * accepted kernel lie in guest memory.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/bootimg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool get(const struct bootimg *b, uint64_t gpa, void *dst, size_t len)
{
	const void *at = gmem_ptr(&b->mem, gpa, len);

	if (at) {
		memcpy(dst, at, len);
	}
	return at != NULL;
}

static bool is_told_the_truth(const struct bootimg *b)
{
	uint32_t info[13], module[4];

	if (!get(b, b->entry.rbx, info, sizeof(info)) || !gmem_ptr(&b->mem, info[12], info[11])) {
		return false;
	}
	for (uint32_t i = 0; i < info[5]; i++) {
		if (!get(b, info[6] + 16ull * i, module, sizeof(module)) || module[1] < module[0] ||
			!gmem_ptr(&b->mem, module[0], module[1] - module[0]) || !gmem_ptr(&b->mem, module[2], 1)) {
			return false;
		}
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t image[1 << 16];
	static struct bootimg b;
	uint32_t header[3] = {0x1badb002};
	size_t at;

	if (len < 64 || len > sizeof(image)) {
		return 0;
	}
	at = 4u * data[0];
	memcpy(image, data, len);
	memcpy(image, "\x7f" "ELF\x01\x01\x01", 7);
	if (at + sizeof(header) <= len) {
		memcpy(&header[1], image + at + 4, 4);
		header[2] = 0u - header[0] - header[1];
		memcpy(image + at, header, sizeof(header));
	}
	if (bootimg_boot(&b, image, len, "", data[1] & 1) < 0 ? b.err[0] == '\0' :
		b.image.kind == BOOT_MULTIBOOT && !is_told_the_truth(&b)) {
		abort();
	}
	return 0;
}
