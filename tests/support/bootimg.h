/* SPDX-License-Identifier: MIT */
/*
 * Test support: the smallest kernels of each kind, and booting any bytes as one into a small guest memory with guard pages around it.
 * Thread: the test's.
 */
#ifndef TESTS_SUPPORT_BOOTIMG_H
#define TESTS_SUPPORT_BOOTIMG_H

#include "boot/boot.h"

#define BOOTIMG_MAX 4096 /* bytes of a kernel made here */
#define BOOTIMG_RAM (16ull << 20)
#define BOOTIMG_ELF_GPA 0x200000ull /* where the ELF kernels go; they start at its beginning */
#define BOOTIMG_BZIMAGE_GPA 0x400000ull

/* Offsets in the files, for tests that break them. */
#define BOOTIMG_ELF64_LOAD 64u /* program header of the segment, then that of the notes */
#define BOOTIMG_ELF64_NOTE 120u
#define BOOTIMG_ELF64_NOTE_BYTES 256u
#define BOOTIMG_MULTIBOOT_HEADER 256u
#define BOOTIMG_ELF32_LOAD 52u

/* Each fills @buf, BOOTIMG_MAX bytes, and returns the length of the kernel. */
size_t bootimg_make_pvh(uint8_t *buf);
size_t bootimg_make_multiboot(uint8_t *buf);
size_t bootimg_make_bzimage(uint8_t *buf);

struct bootimg {
	struct boot_image image; /* closed again: kind and memory_min are of use */
	struct boot_entry entry;
	struct gmem mem; /* what boot_load has left; valid until the next call */
	char err[512];
};

/* boot_open and boot_load of @kernel with two initrds (3 and 5000 bytes of 0x11 and 0x22) if @initrds. Return: theirs. */
int bootimg_boot(struct bootimg *b, const uint8_t *kernel, size_t len, const char *cmdline, bool initrds);

#endif
