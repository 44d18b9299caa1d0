/* SPDX-License-Identifier: MIT */
#include "boot/boot.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/x86_bzimage.h"
#include "boot/x86_elf.h"
#include "boot/x86_layout.h"
#include "boot/x86_memmap.h"
#include "boot/x86_multiboot.h"
#include "boot/x86_unpacked.h"
#include "vmm/log.h"

#define PAGE 0x1000ull
#define INITRD_MAX 0x80000000ull /* bytes of all initrds; more cannot lie below the hole with a kernel */
#define MIB 0x100000ull

static uint64_t align_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static int __attribute__((format(printf, 4, 5))) refuse(int r, char *err, size_t err_len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_len, fmt, ap);
	va_end(ap);
	return r;
}

/* Return: 0 or -errno; -EIO: the file ends before. One call does it unless it is more than 2 GiB. */
static int read_file(int fd, uint64_t off, void *dst, uint64_t len)
{
	uint64_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (uint8_t *)dst + done, len - done, (off_t)(off + done));

		if (n <= 0) {
			return n < 0 ? -errno : -EIO;
		}
		done += (uint64_t)n;
	}
	return 0;
}

int boot_read_kernel(const struct boot_image *img, uint64_t off, void *dst, uint64_t n)
{
	if (off < BOOT_HEAD_LEN && n <= BOOT_HEAD_LEN - off && n <= img->kernel_len - off) {
		memcpy(dst, img->head + off, n);
		return 0;
	}
	return read_file(img->kernel_fd, off, dst, n);
}

static const char *read_error(int r)
{
	return r == -EIO ? "cannot be read, or became shorter meanwhile" : strerror(-r);
}

/* Opens a regular, non-empty file without ever waiting for it. Return: the descriptor or -errno with @err filled. */
static int open_file(const char *path, const char *what, uint64_t *len, char *err, size_t err_len)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r = -errno;

	if (fd < 0) {
		return refuse(r, err, err_len, "%s %s: %s", what, path, strerror(-r));
	}
	if (fstat(fd, &st) < 0) {
		r = -errno;
		close(fd);
		return refuse(r, err, err_len, "%s %s: %s", what, path, strerror(-r));
	}
	if (!S_ISREG(st.st_mode) || st.st_size == 0) {
		close(fd);
		return refuse(-EINVAL, err, err_len, "%s %s: %s", what, path,
			S_ISDIR(st.st_mode) ? "is a directory, want a file" : S_ISREG(st.st_mode) ? "is empty" : "is not a regular file");
	}
	*len = (uint64_t)st.st_size;
	return fd;
}

static uint64_t head_len(const struct boot_image *img)
{
	return img->kernel_len < BOOT_HEAD_LEN ? img->kernel_len : BOOT_HEAD_LEN;
}

static int open_kernel(struct boot_image *img, const char *path, char *err, size_t err_len)
{
	int fd = open_file(path, "kernel", &img->kernel_len, err, err_len), r;

	if (fd < 0) {
		return fd;
	}
	img->kernel_fd = fd;
	img->kernel_path = path;
	r = read_file(fd, 0, img->head, head_len(img));
	return r < 0 ? refuse(r, err, err_len, "kernel %s: %s", path, read_error(r)) : 0;
}

static int open_initrds(struct boot_image *img, const char *const *paths, unsigned n, char *err, size_t err_len)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t len = 0;
		int fd = open_file(paths[i], "initrd", &len, err, err_len);

		if (fd < 0) {
			return fd;
		}
		img->initrd[i].path = paths[i];
		img->initrd[i].fd = fd;
		img->initrd[i].len = len;
		img->ninitrds++;
		img->initrd_len += align_up(len, 4);
		if (len > INITRD_MAX || img->initrd_len > INITRD_MAX) {
			return refuse(-EINVAL, err, err_len, "initrd %s: %llu MiB are more than a guest can be given (%llu MiB)", paths[i],
				(unsigned long long)(img->initrd_len / MIB), INITRD_MAX / MIB);
		}
	}
	return 0;
}

/* Says what a file is that is no kernel we know. */
static const char *what_else(const uint8_t *bytes, uint64_t len)
{
	static const struct {
		size_t off, n;
		const char *magic, *text;
	} known[] = {
		{0, 2, "\x1f\x8b", "is compressed by gzip: unpack it first"},
		{0, 6, "\xfd" "7zXZ", "is compressed by xz: unpack it first"},
		{0, 4, "\x28\xb5\x2f\xfd", "is compressed by zstd: unpack it first"},
		{56, 4, "ARM\x64", "is a kernel for arm64"},
		{0, 2, "MZ", "is an EFI program without a Linux setup header"},
		{0, 6, "070701", "is a cpio archive: is it the initrd?"},
		{0, 4, "QFI\xfb", "is a qcow2 disk image"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (len >= known[i].off + known[i].n && memcmp(bytes + known[i].off, known[i].magic, known[i].n) == 0) {
			return known[i].text;
		}
	}
	return "is no kernel";
}

/* Kind and needs of the kernel. Messages without its name. */
static int identify(struct boot_image *img, char *err, size_t err_len)
{
	const uint8_t *bytes = img->head;
	uint64_t len = head_len(img);
	struct x86_elf elf;
	int r;

	if (x86_bzimage_is(bytes, len)) {
		img->kind = BOOT_BZIMAGE;
		r = x86_bzimage_check(img, err, err_len);
	} else if (x86_elf_is(bytes, len)) {
		r = x86_elf_parse(&elf, img, true, err, err_len);
		img->kind = elf.pvh_entry ? BOOT_PVH : BOOT_MULTIBOOT;
		if (r == 0 && !elf.pvh_entry) {
			r = x86_multiboot_is(bytes, len) ? x86_multiboot_check(img, &elf, err, err_len) :
				refuse(-EINVAL, err, err_len, "ELF without a PVH note (CONFIG_PVH) or a Multiboot header");
		}
	} else if (x86_multiboot_is(bytes, len)) {
		r = refuse(-EINVAL, err, err_len, "Multiboot image that is not ELF");
	} else {
		r = refuse(-EINVAL, err, err_len, "%s: want a bzImage, or an ELF file with a PVH note or a Multiboot header",
			what_else(bytes, len));
	}
	if (r == 0) {
		img->memory_min = align_up(img->end, PAGE) + align_up(img->initrd_len, PAGE) +
			(img->kind == BOOT_MULTIBOOT ? img->ninitrds * PAGE : 0);
	}
	return r;
}

int boot_open(struct boot_image *img, const char *kernel_path, const char *const *initrd_paths, unsigned ninitrds, char *err,
	size_t err_len)
{
	char text[256];
	int r;

	*img = (struct boot_image){.kernel_fd = -1};
	r = open_kernel(img, kernel_path, err, err_len);
	if (r == 0) {
		r = open_initrds(img, initrd_paths, ninitrds, err, err_len);
	}
	if (r == 0) {
		r = identify(img, text, sizeof(text));
		if (r < 0) {
			refuse(r, err, err_len, "kernel %s: %s", kernel_path, text);
		}
	}
	if (r < 0) {
		boot_close(img);
	}
	return r;
}

int boot_unpack(struct boot_image *img, uint64_t deadline_ns, char *why, size_t why_len)
{
	char path[4096];
	int r = kernel_cache_path(path, sizeof(path));

	if (img->kind != BOOT_BZIMAGE) {
		return refuse(-ENOTSUP, why, why_len, "no bzImage");
	}
	if (r < 0) {
		return refuse(r, why, why_len, "no cache: %s", strerror(-r));
	}
	return x86_unpacked_open(img, path, deadline_ns, why, why_len);
}

void boot_close(struct boot_image *img)
{
	if (img->is_unpacked) {
		x86_unpacked_undo(img, false);
	}
	if (img->kernel_path && img->kernel_fd >= 0) {
		close(img->kernel_fd);
	}
	for (unsigned i = 0; i < img->ninitrds; i++) {
		close(img->initrd[i].fd);
	}
	*img = (struct boot_image){.kernel_fd = -1};
}

/*
 * Loading.
 */

static int read_initrd(const struct boot_image *img, unsigned i, const struct gmem *mem, uint64_t gpa, char *err, size_t err_len)
{
	uint64_t len = img->initrd[i].len;
	uint8_t *dst = gmem_ptr(mem, gpa, len);
	int r;

	if (!dst) {
		return refuse(-EFAULT, err, err_len, "initrd %s: does not fit into guest memory", img->initrd[i].path);
	}
	r = read_file(img->initrd[i].fd, 0, dst, len);
	return r < 0 ? refuse(r, err, err_len, "initrd %s: %s", img->initrd[i].path, read_error(r)) : 0;
}

/* Straight into guest memory, which is still zero where the file has nothing. */
static int load_segments(const struct boot_image *img, const struct gmem *mem, char *err, size_t err_len)
{
	for (unsigned i = 0; i < img->nsegments; i++) {
		uint8_t *dst = gmem_ptr(mem, img->segment[i].gpa, img->segment[i].memsz);
		int r = dst ? read_file(img->kernel_fd, img->segment[i].offset, dst, img->segment[i].filesz) : -EFAULT;

		if (r < 0) {
			return refuse(r, err, err_len, "kernel %s: %s", img->kernel_path, dst ? read_error(r) : "does not fit into guest memory");
		}
	}
	return 0;
}

/* All of them as one, at the top of low RAM. */
static int load_joined(const struct boot_image *img, const struct gmem *mem, uint64_t *gpa, char *err, size_t err_len)
{
	uint64_t at;
	int r = 0;

	*gpa = (x86_memmap_low_ram(mem) - img->initrd_len) & ~(PAGE - 1);
	at = *gpa;
	for (unsigned i = 0; r == 0 && i < img->ninitrds; i++) {
		r = read_initrd(img, i, mem, at, err, err_len);
		at += align_up(img->initrd[i].len, 4);
	}
	return r;
}

/* Each on a page of its own, after the kernel. */
static int load_modules(const struct boot_image *img, const struct gmem *mem, uint64_t *gpas, char *err, size_t err_len)
{
	uint64_t at = align_up(img->end, PAGE);
	int r = 0;

	for (unsigned i = 0; r == 0 && i < img->ninitrds; i++) {
		gpas[i] = at;
		r = read_initrd(img, i, mem, at, err, err_len);
		at = align_up(at + img->initrd[i].len, PAGE);
	}
	return r;
}

static void put_page_tables(const struct gmem *mem)
{
	const uint64_t present_writable = 0x3, large = 0x80, first = X86_PAGE_TABLES_GPA;
	uint64_t *table = gmem_ptr(mem, first, 6 * PAGE);

	memset(table, 0, 6 * PAGE);
	table[0] = (first + PAGE) | present_writable;
	for (uint64_t i = 0; i < 4; i++) {
		table[512 + i] = (first + (2 + i) * PAGE) | present_writable;
	}
	for (uint64_t i = 0; i < 4ull * 512; i++) {
		table[1024 + i] = i * 2 * MIB | large | present_writable;
	}
}

static void put_gdt(const struct gmem *mem, bool long_mode)
{
	const uint64_t gdt[4] = {0, 0, long_mode ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull, 0x00cf93000000ffffull};

	static_assert(sizeof(gdt) == X86_GDT_LIMIT + 1, "GDT size");
	gmem_write(mem, X86_GDT_GPA, gdt, sizeof(gdt));
}

/* With hardware-reduced ACPI, Linux 6.1 prefers an EFI reset over the reset register, finds no EFI, and jumps to the BIOS's entry
 * in real mode. So there is one, of five instructions. */
static void put_reset_vector(const struct gmem *mem)
{
	static const uint8_t code[] = {
		0xb0, X86_RESET_VALUE, /* mov al, X86_RESET_VALUE */
		0xba, X86_PORT_RESET & 0xff, X86_PORT_RESET >> 8, /* mov dx, X86_PORT_RESET */
		0xee, /* out dx, al */
		0xf4, 0xeb, 0xfd, /* hlt; jmp to it */
	};

	gmem_write(mem, X86_RESET_VECTOR_GPA, code, sizeof(code));
}

/* The kernel, where the initrds leave room. @random: for moving it; NULL: it is not to be moved. *@is_moved: whether it was. */
static int load_kernel(struct boot_image *img, const struct gmem *mem, const char *cmdline, uint64_t initrd_gpa, const uint64_t *random, bool *is_moved, char *err, size_t err_len)
{
	if (img->is_unpacked) {
		int r = x86_unpacked_load(img, mem, initrd_gpa, cmdline, random, is_moved);

		if (r == 0) {
			return 0;
		}
		log_msg(LOG_WARN, "kernel %s: what the cache has of it is damaged and is removed; the guest unpacks it itself", img->kernel_path);
		x86_unpacked_undo(img, true);
	}
	*is_moved = false;
	return load_segments(img, mem, err, err_len);
}

int boot_load(struct boot_image *img, const struct gmem *mem, const char *cmdline, uint64_t rsdp_gpa, bool kaslr, struct boot_entry *entry,
	char *err, size_t err_len)
{
	uint64_t initrd_gpa = 0, module_gpa[BOOT_INITRDS_MAX];
	struct {
		uint64_t kaslr[2];
		uint8_t seed[X86_RNG_SEED_LEN];
	} random; /* in one call */
	bool has_random = false, is_moved = false;
	int r;

	if (x86_memmap_low_ram(mem) < img->memory_min || gmem_write(mem, X86_CMDLINE_GPA, cmdline, strlen(cmdline) + 1) < 0) {
		return refuse(-ENOMEM, err, err_len, "kernel %s: does not fit into guest memory", img->kernel_path);
	}
	r = img->kind == BOOT_MULTIBOOT ? load_modules(img, mem, module_gpa, err, err_len) : load_joined(img, mem, &initrd_gpa, err, err_len);
	if (r == 0) {
		has_random = img->kind == BOOT_BZIMAGE && getrandom(&random, sizeof(random), GRND_NONBLOCK) == sizeof(random);
		r = load_kernel(img, mem, cmdline, initrd_gpa, has_random && kaslr ? random.kaslr : NULL, &is_moved, err, err_len);
	}
	if (r < 0) {
		return r;
	}
	put_gdt(mem, img->kind == BOOT_BZIMAGE);
	put_reset_vector(mem);
	switch (img->kind) {
	case BOOT_BZIMAGE:
		put_page_tables(mem);
		r = x86_bzimage_prepare(img, mem, rsdp_gpa, initrd_gpa, has_random ? random.seed : NULL, is_moved, entry);
		break;
	case BOOT_PVH:
		r = x86_pvh_prepare(img, mem, rsdp_gpa, initrd_gpa, entry);
		break;
	case BOOT_MULTIBOOT:
		r = x86_multiboot_prepare(img, mem, module_gpa, entry);
		break;
	}
	return r < 0 ? refuse(r, err, err_len, "kernel %s: does not fit into guest memory", img->kernel_path) : 0;
}
