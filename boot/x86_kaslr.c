/* SPDX-License-Identifier: MIT */
#include "boot/x86_kaslr.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int x86_relocs_parse(struct x86_relocs *relocs, const uint32_t *words, size_t n)
{
	size_t zero[3], zeros = 0;

	for (size_t i = 0; i < n; i++) {
		if (words[i] != 0) {
			continue;
		}
		if (zeros == 3) {
			return -EINVAL;
		}
		zero[zeros++] = i;
	}
	/* Two lists are those of kernels without distances to per-CPU variables. */
	if (zeros < 2 || zero[0] != 0) {
		return -EINVAL;
	}
	relocs->wide = words + 1;
	relocs->nwide = zero[1] - 1;
	relocs->inverse = words + zero[1] + 1;
	relocs->ninverse = zeros == 3 ? zero[2] - zero[1] - 1 : 0;
	relocs->narrow = words + zero[zeros - 1] + 1;
	relocs->nnarrow = n - zero[zeros - 1] - 1;
	return 0;
}

/* The segment, and how far into it, of @len bytes at a linked address. */
static bool find(const struct boot_image *img, uint32_t place, uint64_t len, unsigned *segment, uint64_t *off)
{
	const uint64_t gpa = (uint64_t)(int64_t)(int32_t)place - X86_KERNEL_MAP;

	/* Nearly always in that of the one before. */
	for (unsigned i = 0; i < img->nsegments; i++) {
		const unsigned s = (*segment + i) % img->nsegments;

		*off = gpa - img->segment[s].gpa;
		if (*off < img->segment[s].memsz && len <= img->segment[s].memsz - *off) {
			*segment = s;
			return true;
		}
	}
	return false;
}

static int check(const struct boot_image *img, const uint32_t *list, size_t n, uint64_t len)
{
	unsigned segment = 0;
	uint64_t off;

	for (size_t i = 0; i < n; i++) {
		if (!find(img, list[i], len, &segment, &off)) {
			return -EINVAL;
		}
	}
	return 0;
}

int x86_relocs_check(const struct x86_relocs *relocs, const struct boot_image *img)
{
	int r = check(img, relocs->wide, relocs->nwide, 8);

	r = r == 0 ? check(img, relocs->inverse, relocs->ninverse, 4) : r;
	return r == 0 ? check(img, relocs->narrow, relocs->nnarrow, 4) : r;
}

/* One of the multiples of @align that can be added to something of @size bytes at the beginning of @room. */
static uint64_t choose(uint64_t room, uint64_t size, uint64_t align, uint64_t random)
{
	return room < size ? 0 : random % ((room - size) / align + 1) * align;
}

struct x86_kaslr x86_kaslr_choose(uint64_t pref, uint64_t size, uint64_t align, uint64_t end, const uint64_t random[2])
{
	return (struct x86_kaslr){.physical = end > pref ? choose(end - pref, size, align, random[0]) : 0,
		.virtual = pref < X86_KERNEL_IMAGE_SIZE ? choose(X86_KERNEL_IMAGE_SIZE - pref, size, align, random[1]) : 0};
}

static int add32(uint8_t *const *base, const struct boot_image *img, const uint32_t *list, size_t n, uint32_t value)
{
	unsigned segment = 0;
	uint64_t off;

	for (size_t i = 0; i < n; i++) {
		uint32_t word;

		if (!find(img, list[i], sizeof(word), &segment, &off)) {
			return -EINVAL;
		}
		memcpy(&word, base[segment] + off, sizeof(word));
		word += value;
		memcpy(base[segment] + off, &word, sizeof(word));
	}
	return 0;
}

static int add64(uint8_t *const *base, const struct boot_image *img, const uint32_t *list, size_t n, uint64_t value)
{
	unsigned segment = 0;
	uint64_t off;

	for (size_t i = 0; i < n; i++) {
		uint64_t word;

		if (!find(img, list[i], sizeof(word), &segment, &off)) {
			return -EINVAL;
		}
		memcpy(&word, base[segment] + off, sizeof(word));
		word += value;
		memcpy(base[segment] + off, &word, sizeof(word));
	}
	return 0;
}

int x86_kaslr_apply(const struct x86_relocs *relocs, const struct boot_image *img, const struct gmem *mem, const struct x86_kaslr *by)
{
	uint8_t *base[BOOT_SEGMENTS_MAX];
	const uint32_t by32 = (uint32_t)by->virtual;
	int r;

	for (unsigned i = 0; i < img->nsegments; i++) {
		base[i] = gmem_ptr(mem, img->segment[i].gpa + by->physical, img->segment[i].memsz);
		if (!base[i]) {
			return -EINVAL;
		}
	}
	/* Where it runs where it was linked there is nothing to change, wherever it lies. */
	if (by->virtual == 0) {
		return 0;
	}
	r = add64(base, img, relocs->wide, relocs->nwide, by->virtual);
	r = r == 0 ? add32(base, img, relocs->inverse, relocs->ninverse, 0u - by32) : r;
	return r == 0 ? add32(base, img, relocs->narrow, relocs->nnarrow, by32) : r;
}

bool x86_kaslr_has_word(const char *cmdline, const char *word)
{
	const size_t len = strlen(word);

	for (const char *p = strstr(cmdline, word); p; p = strstr(p + len, word)) {
		if ((p == cmdline || p[-1] == ' ') && (word[len - 1] == '=' || p[len] == ' ' || p[len] == '\0')) {
			return true;
		}
	}
	return false;
}
