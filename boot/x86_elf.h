/* SPDX-License-Identifier: MIT */
/*
 * ELF executables as kernels, 32-bit and 64-bit: their segments, checked, and the PVH note.
 * Spec: System V ABI "Object Files"; Xen docs/misc/pvh.pandoc "x86/HVM direct boot ABI".
 *
 * Functions over bytes are pure: any bytes are safe. Messages have no file name; the caller puts it in front.
 * Thread: the main thread.
 */
#ifndef BOOT_X86_ELF_H
#define BOOT_X86_ELF_H

#include "boot/boot.h"

#define X86_ELF_SEGMENTS_MAX 32

struct x86_elf {
	bool is_64bit;
	uint64_t entry; /* of the ELF header */
	uint64_t pvh_entry; /* of the PVH note; 0: there is none */
	uint64_t end; /* first guest-physical address after the last segment */
	unsigned nsegments;
	struct {
		uint64_t offset, filesz; /* in the file */
		uint64_t gpa, memsz;
	} segment[X86_ELF_SEGMENTS_MAX]; /* loadable ones that are not empty */
};

bool x86_elf_is(const uint8_t *bytes, uint64_t len);

/* Return: 0 with @elf filled: every segment lies in the file, between 1 MiB and the hole, apart from the others; or -EINVAL with @err. */
int x86_elf_parse(struct x86_elf *elf, const uint8_t *bytes, uint64_t len, char *err, size_t err_len);

/* Copies the segments. @mem is still zero where nothing was written. Return: 0 or -EFAULT. */
int x86_elf_load(const struct x86_elf *elf, const uint8_t *bytes, const struct gmem *mem);

/* Loads a kernel with a PVH note. @initrd_gpa: where boot.c has put the initrds. Return: 0 or -EFAULT. */
int x86_pvh_load(const struct boot_image *img, const struct x86_elf *elf, const struct gmem *mem, uint64_t rsdp_gpa,
	uint64_t initrd_gpa, struct boot_entry *entry);

#endif
