/* SPDX-License-Identifier: MIT */
/*
 * Linux bzImage: the setup header, and the way in through the 64-bit entry point.
 * Spec: Linux Documentation/arch/x86/boot.rst "The Linux/x86 Boot Protocol", 2.12 and later.
 *
 * Any bytes are safe. Messages have no file name; the caller puts it in front.
 * Thread: the main thread.
 */
#ifndef BOOT_X86_BZIMAGE_H
#define BOOT_X86_BZIMAGE_H

#include "boot/boot.h"

/* True when the bytes claim to be a bzImage. */
bool x86_bzimage_is(const uint8_t *bytes, uint64_t len);

/* Looks at @img's head. Return: 0 with its segment, entry and end filled; or -EINVAL with @err filled. */
int x86_bzimage_check(struct boot_image *img, char *err, size_t err_len);

/* Everything besides the segment and the initrds. @initrd_gpa: where boot.c has put these (img->initrd_len bytes). Return: 0 or -EFAULT. */
int x86_bzimage_prepare(const struct boot_image *img, const struct gmem *mem, uint64_t rsdp_gpa,
	uint64_t initrd_gpa, struct boot_entry *entry);

#endif
