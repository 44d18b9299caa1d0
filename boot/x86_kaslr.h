/* SPDX-License-Identifier: MIT */
/*
 * Where an unpacked Linux kernel goes, at random, and moving it there: what the program in front of a bzImage's kernel does when it has unpacked it
 * (arch/x86/boot/compressed/kaslr.c and misc.c), done from outside.
 *
 * The list of places to change lies behind the kernel's ELF file, made by arch/x86/tools/relocs: 32-bit numbers, each the address of a place, sign-extended. From the front:
 *
 *   0, places of 64 bits, 0, places of 32 bits that hold a distance to a per-CPU variable (until Linux 6.14), 0, places of 32 bits
 *
 * Any bytes are safe: places outside the kernel are refused.
 * Thread: any.
 */
#ifndef BOOT_X86_KASLR_H
#define BOOT_X86_KASLR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/boot.h"

#define X86_KERNEL_IMAGE_SIZE (1ull << 30) /* of virtual addresses that kernels with CONFIG_RANDOMIZE_BASE have */
#define X86_KERNEL_MAP 0xffffffff80000000ull /* __START_KERNEL_map: where physical address 0 would be */
#define X86_KERNEL_ALIGN_MIN 0x200000ull

/* The three lists. */
struct x86_relocs {
	const uint32_t *wide, *inverse, *narrow;
	size_t nwide, ninverse, nnarrow;
};

/* @words: all that lies behind the ELF file, borrowed. Return: 0, or -EINVAL: that is no list. */
int x86_relocs_parse(struct x86_relocs *relocs, const uint32_t *words, size_t n);

/* Return: 0 when all places lie in one of @img's segments; otherwise -EINVAL. */
int x86_relocs_check(const struct x86_relocs *relocs, const struct boot_image *img);

/* What a kernel is moved by. */
struct x86_kaslr {
	uint64_t physical, virtual;
};

/**
 * x86_kaslr_choose - anywhere the kernel could have gone by itself
 * @pref, @size: where it would be, and the memory it needs there
 * @align: a power of two, at least X86_KERNEL_ALIGN_MIN
 * @end: of the memory from @pref on that it may use; too little of it moves the kernel by 0
 * @random: two of them
 */
struct x86_kaslr x86_kaslr_choose(uint64_t pref, uint64_t size, uint64_t align, uint64_t end, const uint64_t random[2]);

/* Changes the kernel that lies in @mem, @by->physical from where @img's segments say, so that it runs @by->virtual from where it was linked. Return: 0 or -EINVAL, as x86_relocs_check. */
int x86_kaslr_apply(const struct x86_relocs *relocs, const struct boot_image *img, const struct gmem *mem, const struct x86_kaslr *by);

/* Whether a command line has @word, as the kernel looks for it. A @word that ends with '=' may go on. */
bool x86_kaslr_has_word(const char *cmdline, const char *word);

#endif
