/* SPDX-License-Identifier: MIT */
#include "boot/x86_unpacked.h"

#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "boot/kernel_cache.h"
#include "boot/unpack.h"
#include "boot/x86_bzimage.h"
#include "boot/x86_elf.h"
#include "boot/x86_kaslr.h"

/* Linux 6.1 with everything has 900 KiB. */
#define RELOCS_MAX (16u << 20)
#define UNREADABLE "what was unpacked cannot be read"
#define BROKEN "what it unpacks to is broken"
#define NO_PLACE "no place for it in the cache"
#define RECORD_MAGIC "tinyvmm unpacked kernel, 3"

/* At the beginning of a cache's file, in a page of its own; then come the relocations, and then the segments, one behind the other: what is loaded is one read. */
struct record {
	char magic[32];
	char key[KERNEL_CACHE_KEY_LEN + 7]; /* what it was unpacked from */
	uint64_t entry, relocs_len, nsegments;
	struct {
		uint64_t filesz, memsz, gpa; /* filesz without the zeros at its end */
	} segment[BOOT_SEGMENTS_MAX];
	uint64_t sum, relocs_sum; /* of the segments so far, and of the relocations */
	uint64_t own_sum; /* of this record up to here */
};

#define PAGE 4096u
static_assert(sizeof(struct record) <= PAGE, "room for it");

static int say(int r, char *why, size_t why_len, const char *text)
{
	snprintf(why, why_len, "%s", text);
	return r;
}

/* Against accidents, not enemies: only its owner can write into the cache. Four lanes of multiplications, because it goes over all of a kernel at every start. */
static uint64_t checksum(uint64_t seed, const uint8_t *bytes, size_t len)
{
	const uint64_t factor = 0x9e3779b97f4a7c15ull; /* 2^64 divided by the golden ratio: odd, and no bit of it is special */
	uint64_t lane[4] = {seed, ~seed, seed + factor, len};

	while (len > 0) {
		uint64_t words[4] = {0};

		memcpy(words, bytes, len < sizeof(words) ? len : sizeof(words));
		for (unsigned i = 0; i < 4; i++) {
			lane[i] = (lane[i] ^ words[i]) * factor;
			lane[i] ^= lane[i] >> 32;
		}
		bytes += len < sizeof(words) ? len : sizeof(words);
		len -= len < sizeof(words) ? len : sizeof(words);
	}
	for (unsigned i = 1; i < 4; i++) {
		lane[0] = (lane[0] ^ lane[i]) * factor;
		lane[0] ^= lane[0] >> 32;
	}
	return lane[0];
}

static bool read_all(int fd, uint64_t off, void *dst, uint64_t len)
{
	for (uint64_t done = 0; done < len;) {
		ssize_t n = pread(fd, (uint8_t *)dst + done, len - done, (off_t)(off + done));

		if (n <= 0) {
			return false;
		}
		done += (uint64_t)n;
	}
	return true;
}

static bool write_all(int fd, uint64_t off, const void *src, uint64_t len)
{
	for (uint64_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, (const uint8_t *)src + done, len - done, (off_t)(off + done));

		if (n <= 0) {
			return false;
		}
		done += (uint64_t)n;
	}
	return true;
}

/* What lies behind each other, to different places. */
static bool read_parts(int fd, uint64_t off, struct iovec *part, unsigned nparts)
{
	while (nparts > 0) {
		ssize_t n = preadv(fd, part, (int)nparts, (off_t)off);

		if (n < 0 || (n == 0 && part->iov_len > 0)) {
			return false;
		}
		off += (uint64_t)n;
		for (; nparts > 0 && (size_t)n >= part->iov_len; part++, nparts--) {
			n -= (ssize_t)part->iov_len;
		}
		if (nparts > 0) {
			part->iov_base = (uint8_t *)part->iov_base + n;
			part->iov_len -= (size_t)n;
		}
	}
	return true;
}

/* Memory that goes back to the host when it is not needed any more: of the heap much would stay. Return: NULL: none. */
static uint8_t *take_pages(uint64_t len)
{
	uint8_t *bytes = mmap(NULL, len ? len : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return bytes == MAP_FAILED ? NULL : bytes;
}

static void give_pages(uint8_t *bytes, uint64_t len)
{
	if (bytes) {
		munmap(bytes, len ? len : 1);
	}
}

/*
 * The ELF file and what is behind it.
 */

/* The first byte behind the ELF file: its section headers come last. */
static uint64_t elf_end(const struct boot_image *elf)
{
	Elf64_Ehdr h;
	uint64_t end, n;

	memcpy(&h, elf->head, sizeof(h));
	n = (uint64_t)h.e_shnum * h.e_shentsize;
	if (h.e_shoff > elf->kernel_len || n > elf->kernel_len - h.e_shoff) {
		return UINT64_MAX;
	}
	end = h.e_shoff + n;
	for (unsigned i = 0; i < elf->nsegments; i++) {
		end = elf->segment[i].offset + elf->segment[i].filesz > end ? elf->segment[i].offset + elf->segment[i].filesz : end;
	}
	return end;
}

/* Return: all segments of @elf lie where a kernel's may, and @entry in what one of them has. */
static const char *check_place(const struct boot_image *elf, const struct x86_bzimage_place *place, uint64_t entry)
{
	bool has_entry = false;

	for (unsigned i = 0; i < elf->nsegments; i++) {
		if (elf->segment[i].gpa < place->gpa || elf->segment[i].memsz > place->len ||
			elf->segment[i].gpa - place->gpa > place->len - elf->segment[i].memsz) {
			return "what it unpacks to is not where its header says";
		}
		has_entry |= entry >= elf->segment[i].gpa && entry - elf->segment[i].gpa < elf->segment[i].filesz;
	}
	return has_entry ? NULL : BROKEN;
}

/* Into @elf. Return: what is wrong with it, or NULL. */
static const char *parse(struct boot_image *elf, const struct x86_bzimage_place *place)
{
	char text[128];
	const char *wrong;
	struct x86_elf e;
	uint64_t end, loaded = 0;

	if (!read_all(elf->kernel_fd, 0, elf->head, elf->kernel_len < BOOT_HEAD_LEN ? elf->kernel_len : BOOT_HEAD_LEN)) {
		return UNREADABLE;
	}
	if (!x86_elf_is(elf->head, elf->kernel_len) || x86_elf_parse(&e, elf, false, text, sizeof(text)) < 0 || !e.is_64bit) {
		return "what it unpacks to is no 64-bit ELF kernel";
	}
	/* Segments may share bytes of the file: what is unpacked is bounded, and what is stored of it must be. */
	for (unsigned i = 0; i < elf->nsegments; i++) {
		loaded += elf->segment[i].filesz;
	}
	if (loaded > elf->kernel_len) {
		return "it would load more than it has";
	}
	wrong = check_place(elf, place, e.entry);
	end = elf_end(elf);
	if (wrong || end > elf->kernel_len) {
		return wrong ? wrong : BROKEN;
	}
	elf->entry = e.entry;
	elf->unpacked.relocs_offset = end;
	elf->unpacked.relocs_len = elf->kernel_len - end;
	return elf->unpacked.relocs_len > RELOCS_MAX || elf->unpacked.relocs_len % 4 != 0 ? "its relocations are of a kind that is not known" : NULL;
}

static uint32_t *relocs_of(const struct boot_image *elf)
{
	return (uint32_t *)(void *)(elf->unpacked.scratch + elf->unpacked.scratch_len - RELOCS_MAX);
}

static uint64_t relocs_checksum(const struct boot_image *elf)
{
	return checksum(0, (const uint8_t *)relocs_of(elf), elf->unpacked.relocs_len);
}

/*
 * Into the cache.
 */

static uint64_t own_checksum(const struct record *rec)
{
	return checksum(0, (const uint8_t *)rec, offsetof(struct record, own_sum));
}

/* Takes over what the record of a file of @len bytes says. Return: false when it cannot be that of what has @key. */
static bool use_record(struct boot_image *elf, const struct record *rec, uint64_t len, const struct x86_bzimage_place *place, const char *key)
{
	uint64_t off = PAGE + rec->relocs_len;

	if (memcmp(rec->magic, RECORD_MAGIC, sizeof(RECORD_MAGIC)) != 0 || memcmp(rec->key, key, KERNEL_CACHE_KEY_LEN) != 0 || rec->own_sum != own_checksum(rec) ||
		rec->nsegments > BOOT_SEGMENTS_MAX || rec->relocs_len > RELOCS_MAX || rec->relocs_len % 4 != 0) {
		return false;
	}
	elf->nsegments = (unsigned)rec->nsegments;
	for (unsigned i = 0; i < elf->nsegments; i++) {
		if (rec->segment[i].filesz > len || rec->segment[i].filesz > rec->segment[i].memsz) {
			return false;
		}
		elf->segment[i].offset = off;
		elf->segment[i].filesz = rec->segment[i].filesz;
		elf->segment[i].memsz = rec->segment[i].memsz;
		elf->segment[i].gpa = rec->segment[i].gpa;
		off += rec->segment[i].filesz;
	}
	elf->kernel_len = len;
	elf->entry = rec->entry;
	elf->unpacked.relocs_offset = PAGE;
	elf->unpacked.relocs_len = rec->relocs_len;
	elf->unpacked.sum = rec->sum;
	elf->unpacked.relocs_sum = rec->relocs_sum;
	return off == len && !check_place(elf, place, elf->entry);
}

/* Checks all of what was unpacked, once, and writes what is loaded of it to the file @out. Return: what is wrong, or NULL. */
static const char *write_packed(const struct boot_image *elf, const struct x86_bzimage_place *place, int out, const char *key)
{
	struct boot_image seen = *elf;
	const uint64_t relocs_len = elf->unpacked.relocs_len;
	struct record rec = {.magic = RECORD_MAGIC, .entry = elf->entry, .relocs_len = relocs_len, .nsegments = elf->nsegments};
	uint64_t off = PAGE + relocs_len;

	memcpy(rec.key, key, KERNEL_CACHE_KEY_LEN);
	if (relocs_len) {
		struct x86_relocs relocs;

		if (!read_all(elf->kernel_fd, elf->unpacked.relocs_offset, relocs_of(elf), relocs_len)) {
			return UNREADABLE;
		}
		if (x86_relocs_parse(&relocs, relocs_of(elf), relocs_len / 4) < 0 || x86_relocs_check(&relocs, elf) < 0) {
			return "its relocations are of a kind that is not known";
		}
		rec.relocs_sum = relocs_checksum(elf);
		if (!write_all(out, PAGE, relocs_of(elf), relocs_len)) {
			return NO_PLACE;
		}
	}
	for (unsigned i = 0; i < elf->nsegments; i++) {
		const uint64_t filesz = elf->segment[i].filesz;
		uint8_t *bytes = take_pages(filesz);
		uint64_t n = filesz;
		bool is_read, is_written;

		is_read = bytes && read_all(elf->kernel_fd, elf->segment[i].offset, bytes, filesz);
		while (is_read && n > 0 && bytes[n - 1] == 0) {
			n--;
		}
		rec.segment[i].filesz = n;
		rec.segment[i].memsz = elf->segment[i].memsz;
		rec.segment[i].gpa = elf->segment[i].gpa;
		rec.sum = is_read ? checksum(rec.sum, bytes, n) : 0;
		is_written = is_read && write_all(out, off, bytes, n);
		off += n;
		give_pages(bytes, filesz);
		if (!is_written) {
			return is_read ? NO_PLACE : UNREADABLE;
		}
	}
	rec.own_sum = own_checksum(&rec);
	/* As every start will see it: without the zeros it may have no entry any more. */
	if (!use_record(&seen, &rec, off, place, key)) {
		return BROKEN;
	}
	return write_all(out, 0, &rec, sizeof(rec)) ? NULL : NO_PLACE;
}

/* From the cache, in the folder @path or, if it has been opened, @dir_fd. Return: a descriptor with @elf filled, or -errno. */
static int find(struct boot_image *elf, const struct x86_bzimage_place *place, const char *path, int dir_fd, const char *key)
{
	struct record rec;
	uint64_t len;
	int fd = dir_fd < 0 ? kernel_cache_look(path, key, &len) : kernel_cache_get(dir_fd, key, &len);

	if (fd < 0) {
		return fd;
	}
	if (read_all(fd, 0, &rec, sizeof(rec)) && use_record(elf, &rec, len, place, key)) {
		return fd;
	}
	close(fd);
	return -EINVAL;
}

/* Unpacks it, into a file that has no name. Return: its descriptor with @elf filled, or -errno with @why. */
static int unpack_to_file(struct boot_image *elf, const struct x86_bzimage_place *place, const uint8_t *packed, int dir_fd, char *why, size_t why_len)
{
	char name[KERNEL_CACHE_NAME_LEN];
	const char *wrong;
	int fd = kernel_cache_new(dir_fd, name), r;

	if (fd < 0) {
		return say(fd, why, why_len, NO_PLACE);
	}
	kernel_cache_remove(dir_fd, name);
	elf->kernel_fd = fd;
	r = unpack(unpack_format(packed, place->packed_len), packed, place->packed_len, elf->kernel_len, fd, elf->unpacked.deadline_ns, why, why_len);
	wrong = r < 0 ? NULL : parse(elf, place);
	if (r < 0 || wrong) {
		close(fd);
		return wrong ? say(-EINVAL, why, why_len, wrong) : r;
	}
	return fd;
}

/* Unpacks it, and puts what is loaded of it there. Return: as find, with @why. */
static int make(struct boot_image *elf, const struct x86_bzimage_place *place, const uint8_t *packed, const char *path, int dir_fd, const char *key,
	char *why, size_t why_len)
{
	char name[KERNEL_CACHE_NAME_LEN];
	const char *wrong;
	int whole = unpack_to_file(elf, place, packed, dir_fd, why, why_len), fd;

	if (whole < 0) {
		return whole;
	}
	fd = kernel_cache_new(dir_fd, name);
	wrong = fd < 0 ? NO_PLACE : write_packed(elf, place, fd, key);
	close(whole);
	if (!wrong && kernel_cache_put(dir_fd, name, key) < 0) {
		wrong = NO_PLACE;
	}
	if (fd >= 0) {
		close(fd);
	}
	if (wrong) {
		kernel_cache_remove(dir_fd, name);
		return say(-EINVAL, why, why_len, wrong);
	}
	fd = find(elf, place, path, dir_fd, key);
	return fd < 0 ? say(fd, why, why_len, UNREADABLE) : fd;
}

/* Where it was not found without further ado: many VMs of one kernel may start at once, and one of them unpacks. Return: as make. */
static int find_or_make(struct boot_image *elf, const struct x86_bzimage_place *place, const char *path, const uint8_t *packed, const char *key, char *why, size_t why_len)
{
	const struct boot_image begun = *elf;
	int dir_fd = kernel_cache_open(path), fd;

	if (dir_fd < 0) {
		snprintf(why, why_len, "no cache: %s", strerror(-dir_fd));
		return dir_fd;
	}
	fd = kernel_cache_wait(dir_fd, begun.unpacked.deadline_ns);
	if (fd < 0) {
		close(dir_fd);
		return say(fd, why, why_len, "another process is at it, and no time is left to wait");
	}
	fd = find(elf, place, path, dir_fd, key);
	elf->unpacked.was_there = fd >= 0;
	if (fd < 0) {
		*elf = begun;
		fd = make(elf, place, packed, path, dir_fd, key, why, why_len);
	}
	kernel_cache_done(dir_fd);
	close(dir_fd);
	return fd;
}

int x86_unpacked_open(struct boot_image *img, const char *path, uint64_t deadline_ns, char *why, size_t why_len)
{
	struct boot_image elf, begun = {.kernel_fd = -1};
	struct x86_bzimage_place place;
	char key[KERNEL_CACHE_KEY_LEN];
	uint32_t out_len;
	uint8_t *packed;
	int fd;

	if (!x86_bzimage_find(img, &place)) {
		return say(-EINVAL, why, why_len, "its header does not say where the compressed kernel is");
	}
	/* It is read, and hashed, even where the cache has it. */
	if (place.packed_len > UNPACK_MAX) {
		return say(-EFBIG, why, why_len, "its compressed part is too long");
	}
	begun.unpacked.deadline_ns = deadline_ns;
	begun.unpacked.scratch_len = (place.packed_len + PAGE - 1) / PAGE * PAGE + RELOCS_MAX;
	packed = begun.unpacked.scratch = take_pages(begun.unpacked.scratch_len);
	if (!packed || !read_all(img->kernel_fd, place.packed_offset, packed, place.packed_len)) {
		give_pages(packed, begun.unpacked.scratch_len);
		return say(-EIO, why, why_len, "cannot be read");
	}
	/* Where gzip has the length, the kernel's build appends it for the others. */
	memcpy(&out_len, packed + place.packed_len - sizeof(out_len), sizeof(out_len));
	if (unpack_format(packed, place.packed_len) == UNPACK_UNKNOWN || out_len < sizeof(Elf64_Ehdr) || out_len > UNPACK_MAX) {
		give_pages(packed, begun.unpacked.scratch_len);
		return say(-ENOTSUP, why, why_len, "compressed in a way that is not known");
	}
	begun.kernel_len = out_len;
	kernel_cache_key(packed, place.packed_len, key);
	elf = begun;
	fd = find(&elf, &place, path, -1, key);
	elf.unpacked.was_there = fd >= 0;
	if (fd < 0) {
		elf = begun;
		fd = find_or_make(&elf, &place, path, packed, key, why, why_len);
	}
	if (fd < 0) {
		give_pages(packed, begun.unpacked.scratch_len);
		return fd;
	}
	elf.unpacked.packed_fd = img->kernel_fd;
	elf.unpacked.packed_len = img->kernel_len;
	elf.unpacked.pref = place.gpa;
	elf.unpacked.need = place.len;
	elf.unpacked.align = place.align;
	memcpy(elf.unpacked.key, key, sizeof(key));
	img->unpacked = elf.unpacked;
	img->is_unpacked = true;
	img->kernel_fd = fd;
	img->kernel_len = elf.kernel_len;
	img->nsegments = elf.nsegments;
	memcpy(img->segment, elf.segment, sizeof(img->segment));
	img->entry = elf.entry;
	return 0;
}

/* It is seldom: the folder has not been kept open for that. */
static void remove_from_cache(const char *key)
{
	char path[4096];
	int dir_fd = kernel_cache_path(path, sizeof(path)) < 0 ? -1 : kernel_cache_open(path);

	if (dir_fd >= 0) {
		kernel_cache_remove(dir_fd, key);
		close(dir_fd);
	}
}

void x86_unpacked_undo(struct boot_image *img, bool is_damaged)
{
	char text[128];

	if (is_damaged) {
		remove_from_cache(img->unpacked.key);
	}
	give_pages(img->unpacked.scratch, img->unpacked.scratch_len);
	close(img->kernel_fd);
	img->is_unpacked = false;
	img->kernel_fd = img->unpacked.packed_fd;
	img->kernel_len = img->unpacked.packed_len;
	/* It was good before. */
	x86_bzimage_check(img, text, sizeof(text));
}

/*
 * Into the guest.
 */

/* All at once; the relocations too, unless it stays where it was linked. Return: 0, -EIO or -EINVAL: damaged. */
static int load_file(const struct boot_image *img, const struct gmem *mem, uint64_t by, bool with_relocs)
{
	struct iovec part[1 + BOOT_SEGMENTS_MAX];
	unsigned n = 0;
	uint64_t sum = 0;

	if (with_relocs) {
		part[n++] = (struct iovec){relocs_of(img), img->unpacked.relocs_len};
	}
	for (unsigned i = 0; i < img->nsegments; i++) {
		uint8_t *dst = gmem_ptr(mem, img->segment[i].gpa + by, img->segment[i].memsz);

		if (!dst) {
			return -ENOMEM;
		}
		part[n++] = (struct iovec){dst, img->segment[i].filesz};
	}
	if (!read_parts(img->kernel_fd, img->unpacked.relocs_offset + (with_relocs ? 0 : img->unpacked.relocs_len), part, n)) {
		return -EIO;
	}
	for (unsigned i = 0; i < img->nsegments; i++) {
		sum = checksum(sum, gmem_ptr(mem, img->segment[i].gpa + by, img->segment[i].memsz), img->segment[i].filesz);
	}
	return sum == img->unpacked.sum && (!with_relocs || relocs_checksum(img) == img->unpacked.relocs_sum) ? 0 : -EINVAL;
}

/* Memory that somebody else will want as it was. */
static void clear(const struct boot_image *img, const struct gmem *mem, uint64_t by)
{
	for (unsigned i = 0; i < img->nsegments; i++) {
		uint8_t *dst = gmem_ptr(mem, img->segment[i].gpa + by, img->segment[i].memsz);

		if (dst) {
			memset(dst, 0, img->segment[i].memsz);
		}
	}
}

static bool choose(const struct boot_image *img, uint64_t end, const char *cmdline, const uint64_t random[2], struct x86_kaslr *by)
{
	if (!img->unpacked.relocs_len || !random || x86_kaslr_has_word(cmdline, "nokaslr")) {
		return false;
	}
	*by = x86_kaslr_choose(img->unpacked.pref, img->unpacked.need, img->unpacked.align, end, random);
	/* They say which memory there is, and the kernel looks at them before it moves itself: so it stays where it surely may be. */
	if (x86_kaslr_has_word(cmdline, "mem=") || x86_kaslr_has_word(cmdline, "memmap=")) {
		by->physical = 0;
	}
	return true;
}

int x86_unpacked_load(struct boot_image *img, const struct gmem *mem, uint64_t end, const char *cmdline, const uint64_t random[2], bool *is_moved)
{
	struct x86_kaslr by = {0, 0};
	struct x86_relocs relocs;
	int r;

	*is_moved = choose(img, end, cmdline, random, &by);
	r = load_file(img, mem, by.physical, by.virtual != 0);
	if (r == 0 && by.virtual) {
		r = x86_relocs_parse(&relocs, relocs_of(img), img->unpacked.relocs_len / 4) == 0 ? x86_kaslr_apply(&relocs, img, mem, &by) : -EINVAL;
	}
	img->entry += by.physical;
	if (r < 0) {
		clear(img, mem, by.physical);
	}
	return r;
}
