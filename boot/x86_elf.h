/* SPDX-License-Identifier: MIT */
/*
 * ELF executables as kernels, 32-bit and 64-bit: their segments, checked, and the PVH note.
 * Spec: System V ABI "Object Files"; Xen docs/misc/pvh.pandoc "x86/HVM direct boot ABI".
 *
 * Any bytes are safe. Messages have no file name; the caller puts it in front.
 * Thread: the main thread.
 */
#ifndef BOOT_X86_ELF_H
#define BOOT_X86_ELF_H

#include "boot/boot.h"

struct x86_elf {
	bool is_64bit;
	uint64_t entry; /* of the ELF header, as a physical address */
	uint64_t pvh_entry; /* of the PVH note; 0: there is none */
};

bool x86_elf_is(const uint8_t *bytes, uint64_t len);

/* Looks at @img's head, and into its file for what is not there. Return: 0 with @elf and @img's segments, entry and end filled, every segment inside
 * the file; or -EINVAL with @err. @with_notes: otherwise there is no pvh_entry. */
int x86_elf_parse(struct x86_elf *elf, struct boot_image *img, bool with_notes, char *err, size_t err_len);

/* Everything besides the segments and the initrds of a kernel with a PVH note. @initrd_gpa: where boot.c has put these. Return: 0 or -EFAULT. */
int x86_pvh_prepare(const struct boot_image *img, const struct gmem *mem, uint64_t rsdp_gpa, uint64_t initrd_gpa, struct boot_entry *entry);

#endif
