/* SPDX-License-Identifier: MIT */
/* Kernels of every kind from a path to guest memory, and what is said about each way they can be broken. */
#include "boot/boot.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/x86_layout.h"
#include "tests/support/bootimg.h"

static struct bootimg b;
static uint8_t image[BOOTIMG_MAX];

static uint32_t word(uint64_t gpa)
{
	const void *at = gmem_ptr(&b.mem, gpa, sizeof(uint32_t));
	uint32_t value;

	assert_non_null(at);
	memcpy(&value, at, sizeof(value));
	return value;
}

static void boots(size_t len, bool initrds)
{
	if (bootimg_boot(&b, image, len, "console=hvc0", initrds) != 0) {
		fail_msg("%s", b.err);
	}
	assert_string_equal(gmem_ptr(&b.mem, X86_CMDLINE_GPA, 13), "console=hvc0");
}

/* The two initrds one after another, the second one at the next multiple of 4. */
static void assert_joined_initrds(uint64_t gpa)
{
	assert_int_equal(word(gpa), 0x00111111);
	assert_int_equal(word(gpa + 4), 0x22222222);
	assert_int_equal(word(gpa + 4996 + 4), 0x22222222);
	assert_true(gpa + 5004 <= BOOTIMG_RAM);
	assert_int_equal(gpa % 4096, 0);
}

static void test_boot_pvh(void **state)
{
	uint64_t module;

	(void)state;
	boots(bootimg_make_pvh(image), true);
	assert_int_equal(b.image.kind, BOOT_PVH);
	assert_int_equal(b.entry.mode, BOOT_PROTECTED_MODE);
	assert_int_equal(b.entry.rip, BOOTIMG_ELF_GPA);
	assert_int_equal(b.entry.rbx, X86_START_INFO_GPA);
	assert_int_equal(word(BOOTIMG_ELF_GPA), 0xf4f4f4f4);
	assert_int_equal(word(X86_START_INFO_GPA), 0x336ec578);
	assert_int_equal(word(X86_START_INFO_GPA + 12), 1); /* nr_modules */
	module = word(X86_START_INFO_GPA + 16);
	assert_int_equal(word(X86_START_INFO_GPA + 24), X86_CMDLINE_GPA);
	assert_int_equal(word(X86_START_INFO_GPA + 32), 0xe0000);
	assert_int_equal(word(module + 8), 4 + 5000);
	assert_joined_initrds(word(module));
}

static void test_boot_bzimage(void **state)
{
	uint64_t zp = X86_ZERO_PAGE_GPA, total = 0;
	unsigned n;

	(void)state;
	boots(bootimg_make_bzimage(image), true);
	assert_int_equal(b.image.kind, BOOT_BZIMAGE);
	assert_int_equal(b.image.memory_min, BOOTIMG_BZIMAGE_GPA + 0x100000 + 8192);
	assert_int_equal(b.entry.mode, BOOT_LONG_MODE);
	assert_int_equal(b.entry.rip, BOOTIMG_BZIMAGE_GPA + 0x200);
	assert_int_equal(b.entry.rsi, zp);
	assert_int_equal(word(BOOTIMG_BZIMAGE_GPA + 0x200), 0xf4f4f4f4);
	assert_int_equal(word(zp + 0x202), 0x53726448);
	assert_int_equal(word(zp + 0x228), X86_CMDLINE_GPA);
	assert_int_equal(word(zp + 0x21c), 4 + 5000);
	assert_int_equal(word(zp + 0x070), 0xe0000);
	assert_int_equal(word(zp + 0x250), X86_BOOT_DATA_GPA);
	assert_int_equal(word(X86_BOOT_DATA_GPA + 8), 9); /* SETUP_RNG_SEED */
	assert_joined_initrds(word(zp + 0x218));
	n = word(zp + 0x1e8) & 0xff;
	for (unsigned i = 0; i < n; i++) {
		total += word(zp + 0x2d0 + 20 * i + 16) == 1 ? word(zp + 0x2d0 + 20 * i + 8) : 0;
	}
	assert_true(total > BOOTIMG_RAM - (1 << 20) && total < BOOTIMG_RAM);
	/* The first 2 MiB page, mapped onto itself. */
	assert_int_equal(word(X86_PAGE_TABLES_GPA + 2 * 4096), 0x83);
}

static void test_boot_multiboot(void **state)
{
	uint64_t info = X86_BOOT_DATA_GPA, modules;

	(void)state;
	boots(bootimg_make_multiboot(image), true);
	assert_int_equal(b.image.kind, BOOT_MULTIBOOT);
	assert_int_equal(b.entry.rip, BOOTIMG_ELF_GPA);
	assert_int_equal(b.entry.rax, 0x2badb002);
	assert_int_equal(b.entry.rbx, info);
	assert_int_equal(word(info), 0x24d); /* memory, command line, modules, map, loader name */
	assert_int_equal(word(info + 8), (BOOTIMG_RAM - (1 << 20)) / 1024);
	assert_int_equal(word(info + 16), X86_CMDLINE_GPA);
	assert_int_equal(word(info + 20), 2);
	modules = word(info + 24);
	assert_int_equal(word(modules), BOOTIMG_ELF_GPA + 4096);
	assert_int_equal(word(modules + 4), BOOTIMG_ELF_GPA + 4096 + 3);
	assert_int_equal(word(word(modules)), 0x00111111);
	assert_int_equal(word(word(modules + 16)), 0x22222222);
	assert_memory_equal(gmem_ptr(&b.mem, word(modules + 8), 10), "/proc/self", 10);
}

/* Linked for one address, loaded at another: the entry point may be named either way. */
static void test_boot_multiboot_with_virtual_addresses(void **state)
{
	uint32_t base, entry;
	size_t len;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		base = i / 2 ? 0x1000 : 0xc0000000;
		len = bootimg_make_multiboot(image);
		memcpy(image + BOOTIMG_ELF32_LOAD + 8, &base, sizeof(base)); /* p_vaddr */
		entry = (i % 2 ? base : BOOTIMG_ELF_GPA) + 16;
		memcpy(image + 24, &entry, sizeof(entry)); /* e_entry */
		boots(len, false);
		assert_int_equal(b.entry.rip, BOOTIMG_ELF_GPA + 16);
		assert_int_equal(*(uint8_t *)gmem_ptr(&b.mem, BOOTIMG_ELF_GPA + 16, 1), 0xf4);
	}
	/* In the segment's memory, but not in what the file has of it; and behind it. */
	for (entry = base + 64; entry <= base + 4096; entry += 4096 - 64) {
		len = bootimg_make_multiboot(image);
		memcpy(image + BOOTIMG_ELF32_LOAD + 8, &base, sizeof(base));
		memcpy(image + 24, &entry, sizeof(entry));
		assert_true(bootimg_boot(&b, image, len, "", false) < 0);
		assert_non_null(strstr(b.err, "lies in no segment"));
	}
}

static void test_boot_without_initrds(void **state)
{
	(void)state;
	boots(bootimg_make_pvh(image), false);
	assert_int_equal(word(X86_START_INFO_GPA + 12), 0);
	boots(bootimg_make_bzimage(image), false);
	assert_int_equal(word(X86_ZERO_PAGE_GPA + 0x21c), 0);
	boots(bootimg_make_multiboot(image), false);
	assert_int_equal(word(X86_BOOT_DATA_GPA + 20), 0);
}

/* @n bytes of @value at @off of a good image: refused, and the message has @want in it. */
struct broken {
	size_t (*make)(uint8_t *buf);
	size_t off, n;
	uint64_t value;
	const char *want;
};

static void test_boot_refuses_broken_headers(void **state)
{
	enum { LOAD64 = BOOTIMG_ELF64_LOAD, NOTES = BOOTIMG_ELF64_NOTE, LOAD32 = BOOTIMG_ELF32_LOAD, MB = BOOTIMG_MULTIBOOT_HEADER };
	static const struct broken table[] = {
		{bootimg_make_pvh, 0, 1, 0, "is no kernel"},
		{bootimg_make_pvh, 0, 4, 0x88b1f, "compressed by gzip"},
		{bootimg_make_pvh, 5, 1, 2, "no executable for this machine"},
		{bootimg_make_pvh, 16, 2, 3, "no executable for this machine"},
		{bootimg_make_pvh, 18, 2, 183, "for another machine"},
		{bootimg_make_pvh, 54, 2, 8, "size of program headers"},
		{bootimg_make_pvh, 54, 2, 57, "size of program headers"},
		{bootimg_make_pvh, 56, 2, 0, "program headers"},
		{bootimg_make_pvh, 56, 2, 0xffff, "program headers"},
		{bootimg_make_pvh, 32, 8, ~0ull, "program headers"},
		{bootimg_make_pvh, 32, 8, ~0ull - 111, "program headers"},
		{bootimg_make_pvh, LOAD64, 4, 0, "without anything to load"},
		{bootimg_make_pvh, LOAD64 + 8, 8, ~0ull, "a segment is not in the file"},
		{bootimg_make_pvh, LOAD64 + 24, 8, 0xfffff, "outside the memory"},
		{bootimg_make_pvh, LOAD64 + 24, 8, X86_LOW_RAM_MAX, "outside the memory"},
		{bootimg_make_pvh, LOAD64 + 24, 8, ~0ull - 100, "outside the memory"},
		{bootimg_make_pvh, LOAD64 + 32, 8, ~0ull, "a segment is not in the file"},
		{bootimg_make_pvh, LOAD64 + 40, 8, 63, "more bytes in the file than in memory"},
		{bootimg_make_pvh, LOAD64 + 40, 8, ~0ull, "outside the memory"},
		{bootimg_make_pvh, LOAD64 + 40, 8, BOOTIMG_RAM, "does not fit into guest memory"},
		{bootimg_make_pvh, NOTES + 8, 8, ~0ull, "a segment is not in the file"},
		{bootimg_make_pvh, NOTES + 32, 8, 19, "without a PVH note"},
		{bootimg_make_pvh, NOTES, 4, 7, "without a PVH note"},
		{bootimg_make_pvh, BOOTIMG_ELF64_NOTE_BYTES, 4, ~0u, "without a PVH note"},
		{bootimg_make_pvh, BOOTIMG_ELF64_NOTE_BYTES + 4, 4, ~0u, "without a PVH note"},
		{bootimg_make_pvh, BOOTIMG_ELF64_NOTE_BYTES + 8, 4, 17, "without a PVH note"},
		{bootimg_make_pvh, BOOTIMG_ELF64_NOTE_BYTES + 16, 4, BOOTIMG_ELF_GPA + 64, "PVH entry point outside"},
		{bootimg_make_multiboot, MB, 4, 0, "without a PVH note (CONFIG_PVH) or a Multiboot header"},
		{bootimg_make_multiboot, MB + 8, 4, 0, "or a Multiboot header"},
		{bootimg_make_multiboot, 0, 4, 0, "Multiboot image that is not ELF"},
		{bootimg_make_multiboot, LOAD32 + 12, 4, 0, "outside the memory"},
		{bootimg_make_multiboot, 24, 4, 0, "lies in no segment"},
		{bootimg_make_multiboot, LOAD32 + 16, 4, ~0u, "a segment is not in the file"},
		{bootimg_make_bzimage, 0x202, 4, 0, "is no kernel"},
		{bootimg_make_bzimage, 0x1fe, 2, 0, "is no kernel"},
		{bootimg_make_bzimage, 0x206, 2, 0x20b, "without a 64-bit entry point (boot protocol 2.11)"},
		{bootimg_make_bzimage, 0x236, 2, 0, "without a 64-bit entry point"},
		{bootimg_make_bzimage, 0x1f1, 1, 64, "truncated: the kernel should start at byte 33280"},
		{bootimg_make_bzimage, 0x260, 4, 100, "broken setup header: needs 100 bytes"},
		{bootimg_make_bzimage, 0x258, 8, 0, "broken setup header: wants to be at 0x0"},
		{bootimg_make_bzimage, 0x258, 8, ~0ull, "broken setup header: wants to be at"},
		{bootimg_make_bzimage, 0x260, 4, ~0u, "broken setup header: wants to be at"},
		{bootimg_make_bzimage, 0x260, 4, BOOTIMG_RAM, "does not fit into guest memory"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		size_t len = table[i].make(image);

		memcpy(image + table[i].off, &table[i].value, table[i].n);
		if (bootimg_boot(&b, image, len, "", true) >= 0 || !strstr(b.err, table[i].want)) {
			fail_msg("row %zu: want \"%s\", got \"%s\"", i, table[i].want, b.err);
		}
		if (!strstr(b.err, "kernel /proc/self/fd/")) {
			fail_msg("row %zu does not name the file: \"%s\"", i, b.err);
		}
	}
}

static void put_multiboot_flags(uint32_t flags)
{
	const uint32_t header[3] = {0x1badb002, flags, 0u - 0x1badb002u - flags};

	memcpy(image + BOOTIMG_MULTIBOOT_HEADER, header, sizeof(header));
}

static void test_boot_refuses_multiboot_requests_it_cannot_fulfil(void **state)
{
	static const struct {
		uint32_t flags;
		const char *want;
	} table[] = {{0x10003, "address header"}, {0x7, "video mode"}, {0x8003, "something unknown, flags 0x8003"}};
	size_t len = bootimg_make_multiboot(image);

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		put_multiboot_flags(table[i].flags);
		assert_int_equal(bootimg_boot(&b, image, len, "", false), -EINVAL);
		assert_non_null(strstr(b.err, table[i].want));
	}
	put_multiboot_flags(0x20003); /* bits above 16 may be ignored */
	assert_int_equal(bootimg_boot(&b, image, len, "", false), 0);
	len = bootimg_make_pvh(image);
	image[BOOTIMG_ELF64_NOTE_BYTES + 8] = 0;
	put_multiboot_flags(3);
	assert_int_equal(bootimg_boot(&b, image, len, "", false), -EINVAL);
	assert_non_null(strstr(b.err, "64-bit Multiboot kernel"));
}

static void test_boot_refuses_overlapping_segments(void **state)
{
	size_t len = bootimg_make_pvh(image);
	const uint32_t load = 1;
	const uint64_t gpa = BOOTIMG_ELF_GPA + 8191, size = 20;

	(void)state;
	memcpy(image + BOOTIMG_ELF64_NOTE, &load, sizeof(load));
	memcpy(image + BOOTIMG_ELF64_NOTE + 24, &gpa, sizeof(gpa));
	memcpy(image + BOOTIMG_ELF64_NOTE + 40, &size, sizeof(size));
	assert_int_equal(bootimg_boot(&b, image, len, "", false), -EINVAL);
	assert_non_null(strstr(b.err, "overlapping segments"));
}

static void test_boot_refuses_every_truncation(void **state)
{
	static size_t (*const make[])(uint8_t *buf) = {bootimg_make_pvh, bootimg_make_multiboot, bootimg_make_bzimage};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		/* What a bzImage holds after its entry point is its own affair. */
		size_t full = make[i](image), end = make[i] == bootimg_make_bzimage ? 1024 + 512 : full - 1;

		for (size_t len = 0; len <= end; len++) {
			if (bootimg_boot(&b, image, len, "", false) != -EINVAL || b.err[0] == '\0') {
				fail_msg("kind %zu cut to %zu of %zu bytes: \"%s\"", i, len, full, b.err);
			}
		}
	}
}

static void refused(const char *kernel, const char *initrd, const char *want)
{
	struct boot_image img;
	char err[512];

	assert_true(boot_open(&img, kernel, &initrd, initrd ? 1 : 0, err, sizeof(err)) < 0);
	if (!strstr(err, want)) {
		fail_msg("want \"%s\", got \"%s\"", want, err);
	}
}

static void test_boot_open_refuses_what_is_no_file(void **state)
{
	char dir[] = "/tmp/boot_test.XXXXXX", fifo[64], huge[64], good[64];
	FILE *f;
	size_t len = bootimg_make_pvh(image);

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	snprintf(huge, sizeof(huge), "%s/huge", dir);
	snprintf(good, sizeof(good), "%s/good", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	f = fopen(huge, "w");
	assert_int_equal(ftruncate(fileno(f), 1ll << 41), 0);
	fclose(f);
	f = fopen(good, "w");
	assert_int_equal(fwrite(image, 1, len, f), len);
	fclose(f);
	refused("/nowhere/vmlinux", NULL, "kernel /nowhere/vmlinux: No such file or directory");
	refused(dir, NULL, "is a directory, want a file");
	refused(fifo, NULL, "is not a regular file");
	refused("/dev/zero", NULL, "is not a regular file");
	refused("/dev/null", NULL, "is not a regular file");
	refused(huge, NULL, "is no kernel");
	refused(good, fifo, "initrd");
	refused(good, dir, "is a directory, want a file");
	refused(good, huge, "MiB are more than a guest can be given");
	unlink(fifo);
	unlink(huge);
	unlink(good);
	rmdir(dir);
}

static int file_with(const void *bytes, size_t len, char path[32])
{
	int fd = memfd_create("boot_test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

/* Kernel and initrd, of which one becomes @to bytes long after boot_open: what boot_load says. */
static int load_shrunk(size_t len, bool kernel, off_t to, char *err, size_t err_len)
{
	static const uint8_t initrd[5000];
	char path[2][32];
	const char *const initrds[1] = {path[1]};
	const int fd[2] = {file_with(image, len, path[0]), file_with(initrd, sizeof(initrd), path[1])};
	struct boot_image img;
	struct boot_entry entry;
	int r;

	assert_int_equal(boot_open(&img, path[0], initrds, 1, err, err_len), 0);
	assert_int_equal(ftruncate(kernel ? fd[0] : fd[1], to), 0);
	r = boot_load(&img, &b.mem, "", 0xe0000, true, &entry, err, err_len);
	boot_close(&img);
	close(fd[0]);
	close(fd[1]);
	return r;
}

static void test_boot_file_that_shrinks_after_open(void **state)
{
	static size_t (*const make[])(uint8_t *buf) = {bootimg_make_pvh, bootimg_make_multiboot, bootimg_make_bzimage};
	char err[256];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		size_t len = make[i](image);

		for (unsigned kernel = 0; kernel < 2; kernel++) {
			const off_t to[] = {0, 1, kernel ? (off_t)len - 1 : 4999};

			for (size_t k = 0; k < 3; k++) {
				boots(len, false); /* makes b.mem */
				assert_int_equal(load_shrunk(len, kernel, to[k], err, sizeof(err)), -EIO);
				if (strncmp(err, kernel ? "kernel /proc/" : "initrd /proc/", 13) != 0 || !strstr(err, "became shorter")) {
					fail_msg("kind %zu: \"%s\"", i, err);
				}
			}
		}
	}
}

/* What was checked is what is used: the file's content may have become anything. */
static void test_boot_file_that_is_overwritten_after_open(void **state)
{
	static size_t (*const make[])(uint8_t *buf) = {bootimg_make_pvh, bootimg_make_multiboot, bootimg_make_bzimage};
	static const uint64_t rip[] = {BOOTIMG_ELF_GPA, BOOTIMG_ELF_GPA, BOOTIMG_BZIMAGE_GPA + 0x200};
	uint8_t other[BOOTIMG_MAX];
	struct boot_image img;
	char path[32], err[256];

	(void)state;
	memset(other, 0xff, sizeof(other));
	for (size_t i = 0; i < 3; i++) {
		size_t len = make[i](image);
		int fd;

		boots(len, false);
		fd = file_with(image, len, path);
		assert_int_equal(boot_open(&img, path, NULL, 0, err, sizeof(err)), 0);
		assert_int_equal(pwrite(fd, other, sizeof(other), 0), sizeof(other));
		assert_int_equal(boot_load(&img, &b.mem, "", 0xe0000, true, &b.entry, err, sizeof(err)), 0);
		assert_int_equal(b.entry.rip, rip[i]);
		assert_int_equal(word(rip[i]), 0xffffffff);
		assert_int_equal(word(X86_ZERO_PAGE_GPA + 0x202), i == 2 ? 0x53726448 : 0);
		boot_close(&img);
		close(fd);
	}
}

/* Program headers and notes behind the first 8 KiB, which are kept. */
static void test_boot_headers_far_into_the_file(void **state)
{
	static uint8_t far[3 * BOOT_HEAD_LEN];
	const uint64_t table = BOOT_HEAD_LEN - 100, notes = 2ull * BOOT_HEAD_LEN + 1;

	(void)state;
	bootimg_make_pvh(image);
	memcpy(far, image, BOOTIMG_MAX);
	memcpy(far + 32, &table, sizeof(table));
	memcpy(far + table, image + BOOTIMG_ELF64_LOAD, 112);
	memset(far + BOOTIMG_ELF64_LOAD, 0, 112);
	memcpy(far + table + 56 + 8, &notes, sizeof(notes));
	memcpy(far + notes, image + BOOTIMG_ELF64_NOTE_BYTES, 20);
	memset(far + BOOTIMG_ELF64_NOTE_BYTES, 0, 20);
	if (bootimg_boot(&b, far, sizeof(far), "", false) != 0) {
		fail_msg("%s", b.err);
	}
	assert_int_equal(b.image.kind, BOOT_PVH);
	assert_int_equal(b.entry.rip, BOOTIMG_ELF_GPA);
	assert_int_equal(word(BOOTIMG_ELF_GPA), 0xf4f4f4f4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_boot_pvh),
		cmocka_unit_test(test_boot_bzimage),
		cmocka_unit_test(test_boot_multiboot),
		cmocka_unit_test(test_boot_multiboot_with_virtual_addresses),
		cmocka_unit_test(test_boot_without_initrds),
		cmocka_unit_test(test_boot_refuses_broken_headers),
		cmocka_unit_test(test_boot_refuses_multiboot_requests_it_cannot_fulfil),
		cmocka_unit_test(test_boot_refuses_overlapping_segments),
		cmocka_unit_test(test_boot_refuses_every_truncation),
		cmocka_unit_test(test_boot_open_refuses_what_is_no_file),
		cmocka_unit_test(test_boot_file_that_shrinks_after_open),
		cmocka_unit_test(test_boot_file_that_is_overwritten_after_open),
		cmocka_unit_test(test_boot_headers_far_into_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
