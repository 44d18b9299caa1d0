/* SPDX-License-Identifier: MIT */
/*
 * Getting a kernel to its first instruction: what kind of image it is, whether it can work at all (before anything else is started), and
 * then the image, initrds, command line, memory map and boot information in guest memory and the registers of the first vCPU.
 *
 * Kinds: Linux bzImage through its 64-bit entry, ELF with a PVH note (Xen's 32-bit entry), Multiboot 1 ELF. Image files are hostile input: every
 * number in them is checked.
 *
 * Thread: the main thread, before vCPUs exist.
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/kernel_cache.h"
#include "vmm/gmem.h"

#define BOOT_INITRDS_MAX 16
#define BOOT_SEGMENTS_MAX 32
#define BOOT_HEAD_LEN 8192 /* bytes from a kernel's start that tell what it is (a Multiboot header may be that far in) */

enum boot_kind { BOOT_BZIMAGE, BOOT_PVH, BOOT_MULTIBOOT };

/* An opened, identified set of files. They may change or shrink at any time: what was checked are copies, and what is loaded is read, not mapped. */
struct boot_image {
	enum boot_kind kind;
	const char *kernel_path; /* borrowed */
	int kernel_fd;
	uint64_t kernel_len;
	uint8_t head[BOOT_HEAD_LEN]; /* the kernel's first bytes, zero after its end */
	unsigned nsegments;
	struct {
		uint64_t offset, filesz; /* in the kernel file */
		uint64_t gpa, memsz; /* between 1 MiB and the hole, apart from the others */
	} segment[BOOT_SEGMENTS_MAX]; /* what boot_load reads; none is empty */
	uint64_t entry; /* guest-physical */
	uint64_t end; /* first guest-physical address after the last segment */
	unsigned ninitrds;
	struct {
		const char *path; /* borrowed */
		int fd;
		uint64_t len;
	} initrd[BOOT_INITRDS_MAX];
	uint64_t initrd_len; /* all of them, concatenated, each padded to 4 bytes */
	uint64_t memory_min; /* bytes of guest memory below the hole that kernel, initrds and boot data need */
	bool is_unpacked; /* a bzImage whose kernel the host has unpacked (x86_unpacked.h): kernel_fd, kernel_len and the segments are of what was in it, head is its own */
	struct {
		int packed_fd; /* the bzImage */
		uint64_t packed_len;
		char key[KERNEL_CACHE_KEY_LEN];
		bool was_there; /* in the cache already */
		uint64_t relocs_offset, relocs_len; /* none: it cannot be moved */
		uint64_t sum, relocs_sum;
		uint64_t deadline_ns; /* for unpacking; 0: none */
		uint8_t *scratch; /* of the process' own: the bzImage's compressed part, and at its end the relocations */
		size_t scratch_len;
		uint64_t pref, need, align; /* where it is meant to be, the memory it needs there, and the alignment it must have */
	} unpacked;
};

/* The registers the first vCPU starts with; the other vCPUs wait for INIT and SIPI. */
struct boot_entry {
	enum { BOOT_LONG_MODE, BOOT_PROTECTED_MODE } mode; /* paging on with X86_PAGE_TABLES_GPA, or flat 32-bit without paging */
	uint64_t rip, rsp, rax, rbx, rsi;
};

/**
 * boot_open - open and identify a kernel and its initrds
 * @err, @err_len: on failure one line that names the file and says what is wrong with it and what would be right
 *
 * Files are opened non-blocking and must be regular, readable and not empty.
 * Return: 0; -EINVAL for a file that cannot be booted; another -errno for one that cannot be read.
 */
int boot_open(struct boot_image *img, const char *kernel_path, const char *const *initrd_paths, unsigned ninitrds,
	char *err, size_t err_len);
void boot_close(struct boot_image *img); /* accepts zeroed memory */

/**
 * boot_unpack - have a bzImage's kernel unpacked by the host, or find it unpacked in its cache
 * @deadline_ns: until when it may wait for others that do so, or for the process that does (clock_now_ns() time); 0: as long as that may take
 * @why: on failure, why not; the image then boots as it is
 *
 * Forks: the process must have no other thread. Return: 0; -ENOTSUP: no bzImage, or compressed in a way that is not known; -ETIMEDOUT: it was @deadline_ns before; or another -errno.
 */
int boot_unpack(struct boot_image *img, uint64_t deadline_ns, char *why, size_t why_len);

/**
 * boot_load - put everything into guest memory
 * @mem: at least img->memory_min below X86_LOW_RAM_MAX; RAM at 0 and, with more than 3 GiB, at X86_HIGH_RAM_GPA
 * @cmdline: at most X86_CMDLINE_MAX bytes
 * @rsdp_gpa: ACPI root pointer, from x86_acpi_build
 * @kaslr: an unpacked kernel is moved to somewhere at random; others do so themselves
 *
 * Return: 0 or -errno with @err filled as above (a file that changed since boot_open).
 */
int boot_load(struct boot_image *img, const struct gmem *mem, const char *cmdline, uint64_t rsdp_gpa, bool kaslr,
	struct boot_entry *entry, char *err, size_t err_len);

/* Bytes of the kernel file, from the copy of its head where they are in it. For boot_open's part. Return: 0 or -errno; -EIO: it ends before. */
int boot_read_kernel(const struct boot_image *img, uint64_t off, void *dst, uint64_t n);

#endif
