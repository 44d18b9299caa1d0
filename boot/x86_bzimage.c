/* SPDX-License-Identifier: MIT */
#include "boot/x86_bzimage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot/x86_layout.h"
#include "boot/x86_memmap.h"

#define SECTOR 512u
#define MAGIC_HDRS 0x53726448u /* "HdrS" */
#define ENTRY_64_OFFSET 0x200u
#define LOADER_UNDEFINED 0xffu
#define XLF_KERNEL_64 1u
#define KASLR_FLAG 2u
#define ALIGN_MIN 0x200000u /* of a 64-bit kernel, whatever it says */
#define SETUP_RNG_SEED 9u

/* Offsets in the file and, the same, in the zero page. */
enum {
	SETUP_SECTS = 0x1f1,
	BOOT_FLAG = 0x1fe,
	HEADER_END = 0x201,
	HEADER = 0x202,
	VERSION = 0x206,
	TYPE_OF_LOADER = 0x210,
	LOADFLAGS = 0x211,
	RAMDISK_IMAGE = 0x218,
	RAMDISK_SIZE = 0x21c,
	CMD_LINE_PTR = 0x228,
	KERNEL_ALIGNMENT = 0x230,
	RELOCATABLE_KERNEL = 0x234,
	XLOADFLAGS = 0x236,
	PAYLOAD_OFFSET = 0x248,
	PAYLOAD_LENGTH = 0x24c,
	SETUP_DATA = 0x250,
	PREF_ADDRESS = 0x258,
	INIT_SIZE = 0x260,
	HEADER_MIN = 0x264, /* bytes of a file that has all of the above */
};

/* Only in the zero page. */
enum { ZP_ACPI_RSDP = 0x070, ZP_E820_COUNT = 0x1e8, ZP_E820 = 0x2d0, ZP_SIZE = 0x1000 };

static uint16_t get16(const uint8_t *bytes, size_t off)
{
	return (uint16_t)(bytes[off] | bytes[off + 1] << 8);
}

static uint32_t get32(const uint8_t *bytes, size_t off)
{
	return get16(bytes, off) | (uint32_t)get16(bytes, off + 2) << 16;
}

static uint64_t get64(const uint8_t *bytes, size_t off)
{
	return get32(bytes, off) | (uint64_t)get32(bytes, off + 4) << 32;
}

static void put32(uint8_t *bytes, size_t off, uint32_t value)
{
	memcpy(bytes + off, &value, sizeof(value));
}

static void put64(uint8_t *bytes, size_t off, uint64_t value)
{
	memcpy(bytes + off, &value, sizeof(value));
}

/* Where the protected-mode part starts in the file. */
static uint64_t payload_offset(const uint8_t *bytes)
{
	return ((bytes[SETUP_SECTS] ? bytes[SETUP_SECTS] : 4) + 1u) * SECTOR;
}

bool x86_bzimage_is(const uint8_t *bytes, uint64_t len)
{
	return len >= HEADER + 4 && get16(bytes, BOOT_FLAG) == 0xaa55 && get32(bytes, HEADER) == MAGIC_HDRS;
}

int x86_bzimage_check(struct boot_image *img, char *err, size_t err_len)
{
	const uint8_t *bytes = img->head;
	uint64_t len = img->kernel_len, payload, pref, init_size;

	if (len < HEADER_MIN) {
		snprintf(err, err_len, "truncated in the bzImage's setup header");
		return -EINVAL;
	}
	if (get16(bytes, VERSION) < 0x20c || !(get16(bytes, XLOADFLAGS) & XLF_KERNEL_64)) {
		snprintf(err, err_len,
			"bzImage without a 64-bit entry point (boot protocol %u.%02u): want an x86-64 kernel from Linux 3.8 or later",
			get16(bytes, VERSION) >> 8, get16(bytes, VERSION) & 0xff);
		return -EINVAL;
	}
	payload = payload_offset(bytes);
	pref = get64(bytes, PREF_ADDRESS);
	init_size = get32(bytes, INIT_SIZE);
	if (payload + ENTRY_64_OFFSET >= len) {
		snprintf(err, err_len, "truncated: the kernel should start at byte %llu of %llu", (unsigned long long)payload,
			(unsigned long long)len);
		return -EINVAL;
	}
	if (len - payload > init_size) {
		snprintf(err, err_len, "broken setup header: needs %llu bytes to start, but has %llu bytes of kernel",
			(unsigned long long)init_size, (unsigned long long)(len - payload));
		return -EINVAL;
	}
	if (pref < X86_HIGH_MEMORY_GPA || pref >= X86_LOW_RAM_MAX || init_size > X86_LOW_RAM_MAX - pref) {
		snprintf(err, err_len, "broken setup header: wants to be at 0x%llx, %llu bytes long", (unsigned long long)pref,
			(unsigned long long)init_size);
		return -EINVAL;
	}
	img->nsegments = 1;
	img->segment[0].offset = payload;
	img->segment[0].filesz = len - payload;
	img->segment[0].gpa = pref;
	img->segment[0].memsz = init_size;
	img->entry = pref + ENTRY_64_OFFSET;
	img->end = pref + init_size;
	return 0;
}

bool x86_bzimage_find(const struct boot_image *img, struct x86_bzimage_place *place)
{
	const uint8_t *bytes = img->head;
	const uint64_t start = payload_offset(bytes), off = get32(bytes, PAYLOAD_OFFSET), align = get32(bytes, KERNEL_ALIGNMENT);

	*place = (struct x86_bzimage_place){.gpa = get64(bytes, PREF_ADDRESS), .len = get32(bytes, INIT_SIZE), .align = align,
		.packed_offset = start + off, .packed_len = get32(bytes, PAYLOAD_LENGTH)};
	return bytes[RELOCATABLE_KERNEL] && align >= ALIGN_MIN && (align & (align - 1)) == 0 && place->gpa % align == 0 && place->packed_len >= 8 &&
		place->packed_offset <= img->kernel_len && place->packed_len <= img->kernel_len - place->packed_offset;
}

/* A chain of one: random bytes for the kernel's own generator, which is then ready at once. */
static uint64_t put_rng_seed(const struct gmem *mem, const uint8_t *random)
{
	struct {
		uint64_t next;
		uint32_t type, len;
		uint8_t data[X86_RNG_SEED_LEN];
	} seed = {.type = SETUP_RNG_SEED, .len = X86_RNG_SEED_LEN};

	if (!random) {
		return 0;
	}
	memcpy(seed.data, random, sizeof(seed.data));
	return gmem_write(mem, X86_BOOT_DATA_GPA, &seed, sizeof(seed)) < 0 ? 0 : X86_BOOT_DATA_GPA;
}

static void put_e820(uint8_t *zero_page, const struct gmem *mem)
{
	struct x86_memmap map;
	uint8_t *p = zero_page + ZP_E820;

	x86_memmap_make(&map, mem);
	zero_page[ZP_E820_COUNT] = (uint8_t)map.n;
	for (unsigned i = 0; i < map.n; i++, p += 20) {
		put64(p, 0, map.entry[i].gpa);
		put64(p, 8, map.entry[i].len);
		put32(p, 16, map.entry[i].type);
	}
}

int x86_bzimage_prepare(const struct boot_image *img, const struct gmem *mem, uint64_t rsdp_gpa,
	uint64_t initrd_gpa, const uint8_t *seed, bool is_moved, struct boot_entry *entry)
{
	const uint8_t *bytes = img->head;
	uint8_t *zp = gmem_ptr(mem, X86_ZERO_PAGE_GPA, ZP_SIZE);
	size_t header_end = HEADER + bytes[HEADER_END];

	if (!zp) {
		return -EFAULT;
	}
	memset(zp, 0, ZP_SIZE);
	memcpy(zp + SETUP_SECTS, bytes + SETUP_SECTS, header_end - SETUP_SECTS);
	zp[TYPE_OF_LOADER] = LOADER_UNDEFINED;
	if (is_moved) {
		zp[LOADFLAGS] |= KASLR_FLAG;
	}
	put32(zp, CMD_LINE_PTR, X86_CMDLINE_GPA);
	if (img->initrd_len) {
		put32(zp, RAMDISK_IMAGE, (uint32_t)initrd_gpa);
		put32(zp, RAMDISK_SIZE, (uint32_t)img->initrd_len);
	}
	put64(zp, SETUP_DATA, put_rng_seed(mem, seed));
	put64(zp, ZP_ACPI_RSDP, rsdp_gpa);
	put_e820(zp, mem);
	*entry = (struct boot_entry){
		.mode = BOOT_LONG_MODE, .rip = img->entry, .rsp = X86_STACK_GPA, .rsi = X86_ZERO_PAGE_GPA};
	return 0;
}
