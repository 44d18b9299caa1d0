/* SPDX-License-Identifier: MIT */
/* Files are made in memory and opened by their name in /proc, so that the whole way from a path is taken. */
#include "tests/support/bootimg.h"

#include <assert.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define CODE_LEN 64u

static void put16(uint8_t *buf, size_t off, uint16_t value)
{
	memcpy(buf + off, &value, sizeof(value));
}

static void put32(uint8_t *buf, size_t off, uint32_t value)
{
	memcpy(buf + off, &value, sizeof(value));
}

size_t bootimg_make_pvh(uint8_t *buf)
{
	const Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT}, .e_type = ET_EXEC,
		.e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2};
	const Elf64_Phdr segment[2] = {
		{.p_type = PT_LOAD, .p_offset = 512, .p_paddr = BOOTIMG_ELF_GPA, .p_filesz = CODE_LEN, .p_memsz = 2ull * PAGE},
		{.p_type = PT_NOTE, .p_offset = BOOTIMG_ELF64_NOTE_BYTES, .p_filesz = 20, .p_memsz = 20},
	};
	const uint32_t note[5] = {4, 4, 18, 0x006e6558 /* "Xen" */, BOOTIMG_ELF_GPA};

	memset(buf, 0, BOOTIMG_MAX);
	memcpy(buf, &header, sizeof(header));
	memcpy(buf + BOOTIMG_ELF64_LOAD, segment, sizeof(segment));
	memcpy(buf + BOOTIMG_ELF64_NOTE_BYTES, note, sizeof(note));
	memset(buf + 512, 0xf4, CODE_LEN);
	return 512 + CODE_LEN;
}

size_t bootimg_make_multiboot(uint8_t *buf)
{
	const Elf32_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT}, .e_type = ET_EXEC,
		.e_machine = EM_386, .e_version = EV_CURRENT, .e_entry = BOOTIMG_ELF_GPA, .e_phoff = sizeof(Elf32_Ehdr),
		.e_ehsize = sizeof(Elf32_Ehdr), .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 1};
	const Elf32_Phdr segment = {.p_type = PT_LOAD, .p_offset = 512, .p_vaddr = BOOTIMG_ELF_GPA, .p_paddr = BOOTIMG_ELF_GPA, .p_filesz = CODE_LEN, .p_memsz = PAGE};
	const uint32_t multiboot[3] = {0x1badb002, 3, 0u - 0x1badb002u - 3u};

	memset(buf, 0, BOOTIMG_MAX);
	memcpy(buf, &header, sizeof(header));
	memcpy(buf + BOOTIMG_ELF32_LOAD, &segment, sizeof(segment));
	memcpy(buf + BOOTIMG_MULTIBOOT_HEADER, multiboot, sizeof(multiboot));
	memset(buf + 512, 0xf4, CODE_LEN);
	return 512 + CODE_LEN;
}

size_t bootimg_make_bzimage(uint8_t *buf)
{
	const uint32_t payload = 1024, len = 512 + CODE_LEN;
	const uint64_t at = BOOTIMG_BZIMAGE_GPA;

	memset(buf, 0, BOOTIMG_MAX);
	buf[0x1f1] = 1; /* setup sectors after the first */
	put16(buf, 0x1fe, 0xaa55);
	buf[0x201] = 0x6a; /* end of the header, from 0x202 */
	memcpy(buf + 0x202, "HdrS", 4);
	put16(buf, 0x206, 0x20f);
	buf[0x211] = 1;
	put32(buf, 0x22c, 0x7fffffff);
	put16(buf, 0x236, 1); /* a 64-bit entry point */
	put32(buf, 0x238, 2047);
	memcpy(buf + 0x258, &at, sizeof(at));
	put32(buf, 0x260, 0x100000);
	memset(buf + payload, 0xf4, len);
	return payload + len;
}

/* One memory for all calls, emptied each time: 16 MiB between pages that fault. */
static uint8_t *fresh_ram(void)
{
	static uint8_t *ram;

	if (!ram) {
		uint8_t *p = mmap(NULL, BOOTIMG_RAM + 2ull * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		assert(p != MAP_FAILED);
		ram = p + PAGE;
		assert(mprotect(ram, BOOTIMG_RAM, PROT_READ | PROT_WRITE) == 0);
	}
	assert(madvise(ram, BOOTIMG_RAM, MADV_DONTNEED) == 0);
	return ram;
}

static int file_of(const void *bytes, size_t len, char path[32])
{
	int fd = memfd_create("bootimg", MFD_CLOEXEC);

	assert(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

int bootimg_boot(struct bootimg *b, const uint8_t *kernel, size_t len, const char *cmdline, bool initrds)
{
	static uint8_t initrd[2][5000];
	char path[3][32];
	const char *const initrd_paths[2] = {path[1], path[2]};
	int fd[3], r;

	memset(initrd[0], 0x11, sizeof(initrd[0]));
	memset(initrd[1], 0x22, sizeof(initrd[1]));
	memset(b, 0, sizeof(*b));
	fd[0] = file_of(kernel, len, path[0]);
	fd[1] = file_of(initrd[0], 3, path[1]);
	fd[2] = file_of(initrd[1], sizeof(initrd[1]), path[2]);
	gmem_add(&b->mem, 0, fresh_ram(), BOOTIMG_RAM);
	r = boot_open(&b->image, path[0], initrd_paths, initrds ? 2 : 0, b->err, sizeof(b->err));
	if (r == 0) {
		struct boot_image image = b->image;

		r = boot_load(&b->image, &b->mem, cmdline, 0xe0000, true, &b->entry, b->err, sizeof(b->err));
		boot_close(&b->image);
		b->image.kind = image.kind;
		b->image.memory_min = image.memory_min;
	}
	for (unsigned i = 0; i < 3; i++) {
		close(fd[i]);
	}
	return r;
}
