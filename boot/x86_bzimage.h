/* SPDX-License-Identifier: MIT */
/*
 * Linux bzImage: the setup header, and the way in through the 64-bit entry point.
 * Spec: Linux Documentation/arch/x86/boot.rst "The Linux/x86 Boot Protocol", 2.12 and later.
 *
 * Functions over bytes are pure: any bytes are safe. Messages have no file name; the caller puts it in front.
 * Thread: the main thread.
 */
#ifndef BOOT_X86_BZIMAGE_H
#define BOOT_X86_BZIMAGE_H

#include "boot/boot.h"

/* True when the bytes claim to be a bzImage. */
bool x86_bzimage_is(const uint8_t *bytes, uint64_t len);

/* Return: 0 with @memory_min: bytes of RAM the kernel itself needs; or -EINVAL with @err filled. */
int x86_bzimage_check(const uint8_t *bytes, uint64_t len, uint64_t *memory_min, char *err, size_t err_len);

/* The version the image names itself, such as "6.1.0-56-amd64"; empty when it names none. */
void x86_bzimage_version(const uint8_t *bytes, uint64_t len, char *buf, size_t buf_len);

/* Loads a checked image. @initrd_gpa: where boot.c has put the initrds (img->initrd_len bytes). */
int x86_bzimage_load(const struct boot_image *img, const struct gmem *mem, uint64_t rsdp_gpa,
	uint64_t initrd_gpa, struct boot_entry *entry);

#endif
