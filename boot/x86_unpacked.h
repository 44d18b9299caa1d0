/* SPDX-License-Identifier: MIT */
/*
 * A bzImage whose kernel the host has unpacked, once, into its cache: boot.c loads that instead, moves it as boot/x86_kaslr.h says, and begins at the
 * kernel's own 64-bit entry point with the same zero page, which is where the program in front of it would have gone. So the guest unpacks nothing.
 *
 * A file of the cache is what is loaded of the kernel, and before it where that goes, with checksums. They are compared with what has come into the guest's memory, so nothing
 * damaged is ever run. Any bytes are safe, in the bzImage and in the cache.
 *
 * Thread: the main thread, before there are others.
 */
#ifndef BOOT_X86_UNPACKED_H
#define BOOT_X86_UNPACKED_H

#include "boot/boot.h"

/**
 * x86_unpacked_open - what @img, a bzImage, unpacks to, from the cache or now
 * @path: of the cache, which is made when there is something to put into it
 * @deadline_ns: as boot_unpack has it
 *
 * Return: 0 with @img->unpacked and segments filled; otherwise -errno with @why, and @img as it was.
 */
int x86_unpacked_open(struct boot_image *img, const char *path, uint64_t deadline_ns, char *why, size_t why_len);

/* The bzImage as it was before: its segment, and its file. What the cache has of it is removed if @is_damaged. */
void x86_unpacked_undo(struct boot_image *img, bool is_damaged);

/**
 * x86_unpacked_load - load and move it
 * @end: of the memory that it may be moved to
 * @random: two random numbers, for where; NULL: it is not to be moved
 * @is_moved: whether it was
 *
 * Return: 0 with @img's entry; or -errno: it is damaged, and the memory it would have had is zero again.
 */
int x86_unpacked_load(struct boot_image *img, const struct gmem *mem, uint64_t end, const char *cmdline, const uint64_t random[2], bool *is_moved);

#endif
