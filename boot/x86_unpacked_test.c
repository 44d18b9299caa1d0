/* SPDX-License-Identifier: MIT */
/* A small bzImage with a small kernel in it, from a file to guest memory through the cache; what the cache may have become meanwhile; and kernels that are left to unpack themselves. */
#include "boot/x86_unpacked.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/unpack.h"
#include "boot/x86_kaslr.h"
#include "boot/x86_layout.h"
#include "tests/support/bootimg.h"
#include "vmm/clock.h"
#include "vmm/log.h"

#define PREF 0x400000ull
#define NEED 0x200000u
#define RAM (32u << 20)
#define ENTRY_OFF 16u
#define ELF_LEN (512u + 4096 + 64)
#define RELOCS 6u
/* In the cache: a page that says what it is, the relocations, and the segment without its zeros. */
#define CACHED_RELOCS 4096u
#define CACHED_SEGMENT (CACHED_RELOCS + RELOCS * 4)
#define CACHED_LEN (CACHED_SEGMENT + 64)

static uint8_t kernel[ELF_LEN + RELOCS * 4], image[16384], *ram;
static off_t file_len; /* of the image's file, where it is to be longer than what is in it */
static uint64_t deadline_ns;
static char dir[64], why[256], err[512], logged[512];
static struct boot_image img;
static struct boot_entry entry;
static struct gmem mem;

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	snprintf(logged, sizeof(logged), "%s", line);
}

static int setup(void **state)
{
	(void)state;
	log_set_hook(on_log);
	snprintf(dir, sizeof(dir), "/tmp/x86_unpacked_test.XXXXXX");
	assert_non_null(mkdtemp(dir));
	setenv("XDG_CACHE_HOME", dir, 1);
	ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(ram != MAP_FAILED);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	munmap(ram, RAM);
	log_set_hook(NULL);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* One segment, linked at PREF. At 32 its own address, at 40 that of its beginning in 32 bits, at 44 a distance. Behind its header that of another one with the same bytes, which does not count. */
static void make_kernel(void)
{
	const Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT}, .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
		.e_entry = PREF + ENTRY_OFF, .e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
		.e_shoff = 512 + 4096, .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = 1};
	const Elf64_Phdr segment = {.p_type = PT_LOAD, .p_offset = 512, .p_vaddr = X86_KERNEL_MAP + PREF, .p_paddr = PREF, .p_filesz = 4096, .p_memsz = 3ull * 4096};
	const Elf64_Phdr second = {.p_type = PT_LOAD, .p_offset = 512, .p_vaddr = X86_KERNEL_MAP + PREF + NEED / 2, .p_paddr = PREF + NEED / 2, .p_filesz = 4096, .p_memsz = 4096};
	const uint64_t own = X86_KERNEL_MAP + PREF + 32;
	const uint32_t narrow = (uint32_t)(X86_KERNEL_MAP + PREF), distance = 0x1000;
	const uint32_t relocs[RELOCS] = {0, narrow + 32, 0, narrow + 44, 0, narrow + 40};

	memset(kernel, 0, sizeof(kernel));
	memcpy(kernel, &header, sizeof(header));
	memcpy(kernel + sizeof(header), &segment, sizeof(segment));
	memcpy(kernel + sizeof(header) + sizeof(segment), &second, sizeof(second));
	memset(kernel + 512, 0x90, 64);
	memcpy(kernel + 512 + 32, &own, sizeof(own));
	memcpy(kernel + 512 + 40, &narrow, sizeof(narrow));
	memcpy(kernel + 512 + 44, &distance, sizeof(distance));
	memcpy(kernel + ELF_LEN, relocs, sizeof(relocs));
}

static void put32(size_t off, uint32_t value)
{
	memcpy(image + off, &value, sizeof(value));
}

/* A bzImage with @kernel_len bytes of the kernel in it, packed by @command. Return: its length. */
static size_t make_image(const char *command, size_t kernel_len)
{
	char line[192], in[] = "/tmp/x86_unpacked_test_in.XXXXXX";
	const uint64_t pref = PREF;
	const uint32_t plain_len = (uint32_t)kernel_len;
	size_t at = 1024 + 0x400, len;
	int fd = mkstemp(in);
	FILE *f;

	memset(image, 0, sizeof(image));
	assert_int_equal(write(fd, kernel, kernel_len), kernel_len);
	close(fd);
	bootimg_make_bzimage(image);
	memset(image + 1024, 0xf4, 0x400);
	snprintf(line, sizeof(line), "%s < %s", command, in);
	f = popen(line, "r");
	assert_non_null(f);
	len = fread(image + at, 1, sizeof(image) - at - 4, f);
	assert_int_equal(pclose(f), 0);
	unlink(in);
	if (image[at] != 0x1f) {
		memcpy(image + at + len, &plain_len, 4);
		len += 4;
	}
	put32(0x230, 0x200000);
	image[0x234] = 1;
	put32(0x248, 0x400);
	put32(0x24c, (uint32_t)len);
	memcpy(image + 0x258, &pref, sizeof(pref));
	put32(0x260, NEED);
	return at + len;
}

/* boot_open and boot_unpack of the image, and of @initrd_len bytes of 0xa5. Return: what the latter says. */
static int opened_with(size_t len, size_t initrd_len)
{
	int fd = memfd_create("x86_unpacked_test", MFD_CLOEXEC), initrd_fd = memfd_create("initrd", MFD_CLOEXEC), r;
	char path[32], initrd_path[32];
	const char *const initrds[] = {initrd_path};

	assert_int_equal(write(fd, image, len), len);
	if (file_len) {
		assert_int_equal(ftruncate(fd, file_len), 0);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	memset(ram, 0xa5, initrd_len);
	assert_int_equal(write(initrd_fd, ram, initrd_len), initrd_len);
	snprintf(initrd_path, sizeof(initrd_path), "/proc/self/fd/%d", initrd_fd);
	err[0] = why[0] = '\0';
	assert_int_equal(boot_open(&img, path, initrds, initrd_len > 0, err, sizeof(err)), 0);
	img.kernel_path = "bzImage";
	r = boot_unpack(&img, deadline_ns, why, sizeof(why));
	close(initrd_fd);
	close(fd);
	return r;
}

static int opened(size_t len)
{
	return opened_with(len, 0);
}

static void loaded(const char *cmdline, bool kaslr)
{
	logged[0] = '\0';
	memset(ram, 0, RAM);
	mem = (struct gmem){.nregions = 0};
	gmem_add(&mem, 0, ram, RAM);
	if (boot_load(&img, &mem, cmdline, 0xe0000, kaslr, &entry, err, sizeof(err)) != 0) {
		fail_msg("%s", err);
	}
	boot_close(&img);
}

static bool is_told(void)
{
	return ram[X86_ZERO_PAGE_GPA + 0x211] & 2;
}

/* Where it lies, from the entry; and that its three places say the same of where it runs. Return: by how much that was moved. */
static uint64_t moved(uint64_t *physical)
{
	const uint8_t *at = ram + entry.rip - ENTRY_OFF;
	uint64_t own;
	uint32_t narrow, distance;

	memcpy(&own, at + 32, sizeof(own));
	memcpy(&narrow, at + 40, sizeof(narrow));
	memcpy(&distance, at + 44, sizeof(distance));
	*physical = entry.rip - ENTRY_OFF - PREF;
	own -= X86_KERNEL_MAP + PREF + 32;
	assert_int_equal(entry.mode, BOOT_LONG_MODE);
	assert_int_equal(entry.rsi, X86_ZERO_PAGE_GPA);
	assert_int_equal(at[0], 0x90);
	assert_int_equal(narrow - (uint32_t)(X86_KERNEL_MAP + PREF), (uint32_t)own);
	assert_int_equal(0x1000 - distance, (uint32_t)own);
	assert_int_equal(*physical % 0x200000, 0);
	assert_int_equal(own % 0x200000, 0);
	assert_true(PREF + own + NEED <= X86_KERNEL_IMAGE_SIZE);
	return own;
}

/* The one file of the cache. Return: how many there are. */
static unsigned cached(char path[512])
{
	char folder[128];
	const struct dirent *d;
	unsigned n = 0;
	DIR *open_dir;

	snprintf(folder, sizeof(folder), "%s/tinyvmm/kernels", dir);
	open_dir = opendir(folder);
	while (open_dir && (d = readdir(open_dir))) {
		if (d->d_name[0] != '.') {
			snprintf(path, 512, "%s/%s", folder, d->d_name);
			n++;
		}
	}
	if (open_dir) {
		closedir(open_dir);
	}
	return n;
}

static void test_unpacked_is_moved(void **state)
{
	unsigned physical_seen = 0, virtual_seen = 0;
	uint64_t first = 0, physical;
	struct stat st;
	char path[512];
	size_t len;

	(void)state;
	make_kernel();
	len = make_image("gzip -nc", sizeof(kernel));
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(opened(len), 0);
		assert_int_equal(img.unpacked.was_there, i > 0);
		loaded("quiet", true);
		if (i == 0) {
			first = moved(&physical);
		}
		virtual_seen += moved(&physical) != first;
		physical_seen += physical > 0;
		assert_true(is_told());
		assert_int_equal(cached(path), 1);
	}
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, CACHED_LEN);
	/* One of 510, and one of 14: all of them the same is no chance that anybody will see. */
	assert_true(virtual_seen > 0 && physical_seen > 0);
}

/* The initrds lie at the top of memory, and the kernel is moved to where it ends before them. */
static void test_unpacked_is_moved_beside_the_initrd(void **state)
{
	const size_t initrd_len = RAM - (8u << 20);
	unsigned seen = 0;
	uint64_t physical;
	size_t len;

	(void)state;
	make_kernel();
	len = make_image("gzip -nc", sizeof(kernel));
	for (unsigned i = 0; i < 20; i++) {
		uint32_t initrd_gpa, told_len;

		assert_int_equal(opened_with(len, initrd_len), 0);
		loaded("", true);
		moved(&physical);
		memcpy(&initrd_gpa, ram + X86_ZERO_PAGE_GPA + 0x218, sizeof(initrd_gpa));
		memcpy(&told_len, ram + X86_ZERO_PAGE_GPA + 0x21c, sizeof(told_len));
		assert_int_equal(initrd_gpa, 8u << 20);
		assert_int_equal(told_len, initrd_len);
		assert_true(PREF + physical + NEED <= initrd_gpa);
		for (size_t at = 0; at < initrd_len; at += 512) {
			assert_int_equal(ram[initrd_gpa + at], 0xa5);
		}
		seen |= 1u << physical / 0x200000;
	}
	/* It has two places there, and goes to both. */
	assert_int_equal(seen, 3);
}

/* One of them unpacks, the others wait for it. */
static void test_unpacked_by_many_at_once(void **state)
{
	int ready[2], status, unpacked = 0;
	pid_t pid[6];
	char path[512], byte;
	size_t len;

	(void)state;
	make_kernel();
	len = make_image("gzip -nc", sizeof(kernel));
	assert_int_equal(pipe(ready), 0);
	for (unsigned i = 0; i < 6; i++) {
		pid[i] = fork();
		assert_true(pid[i] >= 0);
		if (pid[i] == 0) {
			close(ready[1]);
			/* Until all are there. */
			status = read(ready[0], &byte, 1) == 0 && opened(len) == 0 ? img.unpacked.was_there : 2;
			_exit(status);
		}
	}
	close(ready[0]);
	close(ready[1]);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
		unpacked += WEXITSTATUS(status) == 0;
	}
	assert_int_equal(unpacked, 1);
	assert_int_equal(cached(path), 1);
}

static void test_unpacked_waits_no_longer_than_it_may(void **state)
{
	char path[512];
	size_t len;
	int other;

	(void)state;
	make_kernel();
	len = make_image("gzip -nc", sizeof(kernel));
	snprintf(path, sizeof(path), "%s/tinyvmm/kernels", dir);
	other = kernel_cache_open(path);
	assert_int_equal(kernel_cache_wait(other, 0), 0);
	deadline_ns = clock_now_ns() + 30 * CLOCK_NS_PER_MS;
	assert_int_equal(opened(len), -ETIMEDOUT);
	deadline_ns = 0;
	assert_string_equal(why, "another process is at it, and no time is left to wait");
	loaded("", true);
	assert_int_equal(entry.rip, PREF + 0x200);
	assert_int_equal(cached(path), 0);
	close(other);
	assert_int_equal(opened(len), 0);
	/* What is there already needs no time. */
	boot_close(&img);
	deadline_ns = 1;
	assert_int_equal(opened(len), 0);
	deadline_ns = 0;
	boot_close(&img);
}

static void test_unpacked_takes_no_longer_than_it_may(void **state)
{
	char path[512];
	size_t len;

	(void)state;
	make_kernel();
	len = make_image("gzip -nc", sizeof(kernel));
	deadline_ns = 1;
	assert_int_equal(opened(len), -ETIMEDOUT);
	deadline_ns = 0;
	assert_string_equal(why, "no time was left for it");
	boot_close(&img);
	assert_int_equal(cached(path), 0);
}

static void test_unpacked_all_formats(void **state)
{
	static const char *const commands[] = {"gzip -nc", "xz -zc --check=crc32", "zstd -19 -qc"};
	uint64_t physical;
	char path[512];

	(void)state;
	make_kernel();
	for (unsigned i = 0; i < 3; i++) {
		if (opened(make_image(commands[i], sizeof(kernel))) != 0) {
			fail_msg("%s: %s", commands[i], why);
		}
		loaded("", true);
		moved(&physical);
		assert_int_equal(cached(path), i + 1);
	}
}

static void test_unpacked_stays_when_told(void **state)
{
	static const struct {
		const char *cmdline;
		bool kaslr, is_told;
	} table[] = {{"", false, false}, {"nokaslr", true, false}, {"a nokaslr b", true, false}, {"mem=30M", true, true}, {"memmap=4M$8M", true, true}};
	uint64_t physical, virtual;
	size_t len;

	(void)state;
	make_kernel();
	len = make_image("gzip -nc", sizeof(kernel));
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (unsigned k = 0; k < 6; k++) {
			assert_int_equal(opened(len), 0);
			loaded(table[i].cmdline, table[i].kaslr);
			virtual = moved(&physical);
			if (physical != 0 || is_told() != table[i].is_told || (virtual && !table[i].is_told)) {
				fail_msg("row %zu", i);
			}
		}
	}
}

/* A kernel without relocations was built without CONFIG_RANDOMIZE_BASE. */
static void test_unpacked_without_relocations_stays(void **state)
{
	uint64_t physical;

	(void)state;
	make_kernel();
	assert_int_equal(opened(make_image("gzip -nc", ELF_LEN)), 0);
	loaded("", true);
	assert_int_equal(moved(&physical), 0);
	assert_int_equal(physical, 0);
	assert_false(is_told());
}

/* The bytes of the cache's file at @off become others, or the file another length. */
static void damage(off_t off, int cut)
{
	char path[512];
	uint8_t byte;
	int fd;

	assert_int_equal(cached(path), 1);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	if (cut) {
		assert_int_equal(ftruncate(fd, off), 0);
	} else {
		assert_int_equal(pread(fd, &byte, 1, off), 1);
		byte ^= 0x40;
		assert_int_equal(pwrite(fd, &byte, 1, off), 1);
	}
	close(fd);
}

/* Before it is opened: what it says of itself is looked at then, and how long it is, and it is made anew. */
static void test_unpacked_damaged_headers_are_made_anew(void **state)
{
	const off_t offs[] = {0, 17, 65, 104, 130, 300, 911, 919};
	uint64_t physical;
	size_t len;

	(void)state;
	make_kernel();
	len = make_image("gzip -nc", sizeof(kernel));
	assert_int_equal(opened(len), 0);
	boot_close(&img);
	for (size_t i = 0; i < 2 * sizeof(offs) / sizeof(offs[0]) + 1; i++) {
		if (i == 0) {
			damage(CACHED_LEN - 1, 1);
		} else {
			damage(offs[(i - 1) / 2], i % 2);
		}
		assert_int_equal(opened(len), 0);
		assert_false(img.unpacked.was_there);
		loaded("", true);
		moved(&physical);
		assert_string_equal(logged, "");
	}
}

/* Somebody who may rename in the cache, but not write, gives a kernel the file of another one, as long and as good. */
static void test_unpacked_from_something_else_is_made_anew(void **state)
{
	char first[512], second[512];
	size_t len;

	(void)state;
	make_kernel();
	assert_int_equal(opened(make_image("gzip -nc", sizeof(kernel))), 0);
	boot_close(&img);
	assert_int_equal(cached(first), 1);
	snprintf(second, sizeof(second), "%s/first", dir);
	assert_int_equal(rename(first, second), 0);
	kernel[512 + 63] = 0x91;
	len = make_image("gzip -nc", sizeof(kernel));
	assert_int_equal(opened(len), 0);
	boot_close(&img);
	assert_int_equal(cached(first), 1);
	assert_int_equal(rename(second, first), 0);
	assert_int_equal(opened(len), 0);
	assert_false(img.unpacked.was_there);
	loaded("", true);
	assert_int_equal(ram[entry.rip - ENTRY_OFF + 63], 0x91);
}

/* What is only seen when it is in the guest's memory: then the guest unpacks it itself, in memory that is as it was. */
static void test_unpacked_damaged_bytes_are_not_run(void **state)
{
	const off_t offs[] = {CACHED_SEGMENT, CACHED_SEGMENT + 47, CACHED_RELOCS + 4, CACHED_SEGMENT - 1};
	char path[512];
	size_t len;

	(void)state;
	make_kernel();
	len = make_image("gzip -nc", sizeof(kernel));
	for (size_t i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
		unsigned tries = 0;

		do {
			/* One start in 510 moves it by nothing, and does not look at the relocations. */
			assert_true(tries++ < 5);
			assert_int_equal(opened(len), 0);
			boot_close(&img);
			damage(offs[i], 0);
			assert_int_equal(opened(len), 0);
			assert_true(img.unpacked.was_there);
			loaded("", true);
			if (!logged[0]) {
				damage(offs[i], 0);
			}
		} while (!logged[0]);
		assert_non_null(strstr(logged, "kernel bzImage: what the cache has of it is damaged"));
		assert_int_equal(cached(path), 0);
		assert_int_equal(entry.rip, PREF + 0x200);
		assert_false(is_told());
		assert_memory_equal(ram + PREF, image + 1024, len - 1024);
		for (uint64_t gpa = PREF + len - 1024; gpa < RAM; gpa++) {
			assert_int_equal(ram[gpa], 0);
		}
	}
}

/* And while it is open. */
static void test_unpacked_file_that_shrinks_after_open(void **state)
{
	size_t len;

	(void)state;
	make_kernel();
	len = make_image("gzip -nc", sizeof(kernel));
	assert_int_equal(opened(len), 0);
	/* Relocations it has: it is the segment that ends before it should. */
	damage(CACHED_SEGMENT + 8, 1);
	loaded("", true);
	assert_non_null(strstr(logged, "is damaged"));
	assert_int_equal(entry.rip, PREF + 0x200);
}

/* @n bytes of @value at @off of the kernel, or of the image if @off has IMAGE: not unpacked, and booted as it is. */
static void test_unpacked_not_and_why(void **state)
{
	enum { IMAGE = 1 << 20 };
	static const struct {
		size_t off, n;
		uint64_t value;
		const char *want;
	} table[] = {
		{0, 1, 0, "is no 64-bit ELF kernel"},
		{4, 1, 1, "is no 64-bit ELF kernel"},
		{24, 8, PREF - 1, "is broken"},
		{24, 8, PREF + 4096, "is broken"},
		{24, 8, PREF + 64, "is broken"}, /* in zeros, which the cache would not have */
		{56, 2, 2, "would load more than it has"},
		{40, 8, sizeof(kernel), "is broken"},
		{40, 8, ~0ull - 10, "is broken"},
		{58, 2, 0xffff, "is broken"},
		{40, 8, 512 + 4096 + 1, "relocations are of a kind"},
		{40, 8, 512 + 4096 - 4, "relocations are of a kind"},
		{64 + 24, 8, PREF - 0x1000, "is not where its header says"},
		{64 + 24, 8, PREF + NEED, "is not where its header says"},
		{64 + 40, 8, NEED + 1, "is not where its header says"},
		{ELF_LEN, 4, 5, "relocations are of a kind"},
		{ELF_LEN + 4, 4, 5, "relocations are of a kind"},
		{ELF_LEN + 4, 4, (uint32_t)(X86_KERNEL_MAP + PREF) + 3 * 4096 - 7, "relocations are of a kind"},
		{IMAGE + 0x230, 4, 0x100000, "does not say where"},
		{IMAGE + 0x230, 4, 0x300000, "does not say where"},
		{IMAGE + 0x230, 4, 0x800000, "does not say where"},
		{IMAGE + 0x234, 1, 0, "does not say where"},
		{IMAGE + 0x248, 4, ~0u, "does not say where"},
		{IMAGE + 0x24c, 4, ~0u, "does not say where"},
		{IMAGE + 0x24c, 4, 7, "does not say where"},
		{IMAGE + 0x24c, 4, 40, "compressed in a way that is not known"},
		{IMAGE + 0x248, 4, 0x100, "compressed in a way that is not known"},
		{IMAGE + 1024 + 0x400 + 40, 4, 0x12345678, "compressed part is broken"},
	};
	char path[512];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		size_t len;

		make_kernel();
		if (table[i].off < IMAGE) {
			memcpy(kernel + table[i].off, &table[i].value, table[i].n);
		}
		len = make_image("gzip -nc", sizeof(kernel));
		if (table[i].off >= IMAGE) {
			memcpy(image + (table[i].off - IMAGE), &table[i].value, table[i].n);
		}
		if (opened(len) >= 0 || !strstr(why, table[i].want)) {
			fail_msg("row %zu: want \"%s\", got \"%s\"", i, table[i].want, why);
		}
		loaded("", true);
		assert_int_equal(entry.rip, PREF + 0x200);
		assert_false(is_told());
		assert_memory_equal(ram + PREF, image + 1024, len - 1024);
		assert_int_equal(cached(path), 0);
	}
}

/* Nor read: it would be, and hashed, before anything else is known of it. */
static void test_unpacked_not_what_is_too_long(void **state)
{
	const uint32_t part_len = UNPACK_MAX + 4096u, need = part_len + NEED;

	(void)state;
	make_kernel();
	make_image("gzip -nc", sizeof(kernel));
	put32(0x24c, part_len);
	put32(0x260, need);
	file_len = need;
	assert_int_equal(opened(sizeof(image)), -EFBIG);
	file_len = 0;
	assert_string_equal(why, "its compressed part is too long");
	boot_close(&img);
}

static void test_unpacked_without_a_cache(void **state)
{
	size_t len;

	(void)state;
	make_kernel();
	len = make_image("gzip -nc", sizeof(kernel));
	setenv("XDG_CACHE_HOME", "/proc/nothing", 1);
	assert_int_equal(opened(len), -ENOENT);
	assert_non_null(strstr(why, "no cache: No such file"));
	loaded("", true);
	assert_int_equal(entry.rip, PREF + 0x200);
	assert_int_equal(opened(bootimg_make_bzimage(image)), -EINVAL);
	boot_close(&img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_unpacked_is_moved, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_is_moved_beside_the_initrd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_by_many_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_waits_no_longer_than_it_may, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_takes_no_longer_than_it_may, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_all_formats, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_stays_when_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_without_relocations_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_damaged_headers_are_made_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_from_something_else_is_made_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_damaged_bytes_are_not_run, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_file_that_shrinks_after_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_not_and_why, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_not_what_is_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpacked_without_a_cache, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
