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

#define X86_RNG_SEED_LEN 32u

/* True when the bytes claim to be a bzImage. */
bool x86_bzimage_is(const uint8_t *bytes, uint64_t len);

/* Looks at @img's head. Return: 0 with its segment, entry and end filled; or -EINVAL with @err filled. */
int x86_bzimage_check(struct boot_image *img, char *err, size_t err_len);

/* Where the kernel in it is meant to be, and where it is in the file. */
struct x86_bzimage_place {
	uint64_t gpa, len, align; /* the memory it needs there; a power of two */
	uint64_t packed_offset, packed_len; /* in the file, at least 8 bytes */
};

/* Of an image that has been checked. Return: false when its header does not say, or not in a way that can be. */
bool x86_bzimage_find(const struct boot_image *img, struct x86_bzimage_place *place);

/* Everything besides the segment and the initrds. @initrd_gpa: where boot.c has put these (img->initrd_len bytes). @seed: X86_RNG_SEED_LEN random bytes for the kernel, or NULL. @is_moved: the kernel was, at
 * random, and is told so: it then does the same with what it has in memory. Return: 0 or -EFAULT. */
int x86_bzimage_prepare(const struct boot_image *img, const struct gmem *mem, uint64_t rsdp_gpa,
	uint64_t initrd_gpa, const uint8_t *seed, bool is_moved, struct boot_entry *entry);

#endif
