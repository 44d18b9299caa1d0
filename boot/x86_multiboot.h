/* SPDX-License-Identifier: MIT */
/*
 * Multiboot 1 kernels that are 32-bit ELF: the header, and the information structure they are given.
 * Spec: Multiboot Specification 0.6.96.
 *
 * Any bytes are safe. Messages have no file name; the caller puts it in front.
 * Thread: the main thread.
 */
#ifndef BOOT_X86_MULTIBOOT_H
#define BOOT_X86_MULTIBOOT_H

#include "boot/boot.h"
#include "boot/x86_elf.h"

/* True when there is a Multiboot header in the first 8 KiB. */
bool x86_multiboot_is(const uint8_t *bytes, uint64_t len);

/* Return: 0, or -EINVAL with @err when the header asks for what is not there. */
int x86_multiboot_check(const struct boot_image *img, const struct x86_elf *elf, char *err, size_t err_len);

/**
 * x86_multiboot_prepare - everything besides the segments and the modules themselves
 * @module_gpa: where boot.c has put each initrd: they are the modules, their paths the modules' strings
 * Return: 0 or -EFAULT.
 */
int x86_multiboot_prepare(const struct boot_image *img, const struct gmem *mem, const uint64_t *module_gpa, struct boot_entry *entry);

#endif
