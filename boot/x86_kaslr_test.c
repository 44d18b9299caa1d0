/* SPDX-License-Identifier: MIT */
/* Lists of relocations as arch/x86/tools/relocs writes them, broken ones, and where a kernel may go. */
#include "boot/x86_kaslr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define LINKED 0x1000000ull
#define AT(off) ((uint32_t)(X86_KERNEL_MAP + LINKED + (off)))
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint8_t ram[3 << 12];
static struct boot_image img;
static struct gmem mem;

/* Two segments with a hole between them, a page each, which lie @by further on in memory. */
static int setup(void **state)
{
	(void)state;
	memset(ram, 0, sizeof(ram));
	img = (struct boot_image){.nsegments = 2};
	for (unsigned i = 0; i < 2; i++) {
		img.segment[i].gpa = LINKED + i * 0x2000ull;
		img.segment[i].memsz = 0x1000;
	}
	return 0;
}

static void place(uint64_t by)
{
	mem = (struct gmem){.nregions = 0};
	gmem_add(&mem, LINKED + by, ram, sizeof(ram));
}

static void test_relocs_three_lists(void **state)
{
	const uint32_t words[] = {0, AT(8), AT(16), 0, AT(24), 0, AT(28), AT(32), AT(36)};
	struct x86_relocs r;

	(void)state;
	assert_int_equal(x86_relocs_parse(&r, words, COUNT(words)), 0);
	assert_int_equal(r.nwide, 2);
	assert_int_equal(r.ninverse, 1);
	assert_int_equal(r.nnarrow, 3);
	assert_int_equal(r.wide[1], AT(16));
	assert_int_equal(r.inverse[0], AT(24));
	assert_int_equal(r.narrow[2], AT(36));
}

static void test_relocs_two_lists(void **state)
{
	const uint32_t words[] = {0, AT(8), 0, AT(28), AT(32)};
	struct x86_relocs r;

	(void)state;
	assert_int_equal(x86_relocs_parse(&r, words, COUNT(words)), 0);
	assert_int_equal(r.nwide, 1);
	assert_int_equal(r.ninverse, 0);
	assert_int_equal(r.nnarrow, 2);
	assert_int_equal(r.narrow[0], AT(28));
}

static void test_relocs_that_are_none(void **state)
{
	static const uint32_t bad[][5] = {{1, 0, 0, 0, 1}, {0, 1, 2, 3, 4}, {0, 0, 0, 0, 1}, {1, 2, 3, 4, 5}, {1, 0, 2, 0, 3}};
	struct x86_relocs r;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (x86_relocs_parse(&r, bad[i], 5) != -EINVAL) {
			fail_msg("row %zu", i);
		}
	}
	assert_int_equal(x86_relocs_parse(&r, bad[0], 0), -EINVAL);
}

/* One place in each kind of list, at the edges of the segments. */
static void test_relocs_places_outside_are_refused(void **state)
{
	static const struct {
		uint32_t wide, inverse, narrow;
		int r;
	} table[] = {
		{AT(0), AT(0), AT(0), 0},
		{AT(0xff8), AT(0xffc), AT(0xffc), 0},
		{AT(0x2000), AT(0x2000), AT(0x2000), 0},
		{AT(0x2ff8), AT(0x2ffc), AT(0x2ffc), 0},
		{AT(0xff9), AT(0), AT(0), -EINVAL},
		{AT(0), AT(0xffd), AT(0), -EINVAL},
		{AT(0), AT(0), AT(0xffd), -EINVAL},
		{AT(0x1000), AT(0), AT(0), -EINVAL},
		{AT(0x1ff8), AT(0), AT(0), -EINVAL},
		{AT(0), AT(0x3000), AT(0), -EINVAL},
		{AT(0), AT(0), AT(-1), -EINVAL},
		{AT(0), AT(0), 1, -EINVAL},
		{AT(0), AT(0), 0x7fffffff, -EINVAL},
		{AT(0), AT(0), 0xffffffff, -EINVAL},
		{0x80000000, AT(0), AT(0), -EINVAL},
	};
	const struct x86_kaslr by = {0x200000, 0x200000};

	place(by.physical);
	(void)state;
	for (size_t i = 0; i < COUNT(table); i++) {
		const uint32_t words[] = {0, table[i].wide, 0, table[i].inverse, 0, table[i].narrow};
		struct x86_relocs r;

		assert_int_equal(x86_relocs_parse(&r, words, COUNT(words)), 0);
		if (x86_relocs_check(&r, &img) != table[i].r || x86_kaslr_apply(&r, &img, &mem, &by) != table[i].r) {
			fail_msg("row %zu", i);
		}
	}
}

static void test_kaslr_applies_each_kind(void **state)
{
	const uint32_t words[] = {0, AT(8), AT(0x2ff8), 0, AT(16), 0, AT(20)};
	const struct x86_kaslr by = {0x400000, 0x12000000};
	const uint64_t before[2] = {0xffffffff81000010, 0xfffffffffffffff0};
	const uint32_t distance = 0x7e000000, address = 0x81000020;
	struct x86_relocs r;
	uint64_t wide[2];
	uint32_t narrow[3];

	(void)state;
	place(by.physical);
	memcpy(ram + 8, &before[0], 8);
	memcpy(ram + 0x2ff8, &before[1], 8);
	memcpy(ram + 16, &distance, 4);
	memcpy(ram + 20, &address, 4);
	assert_int_equal(x86_relocs_parse(&r, words, COUNT(words)), 0);
	assert_int_equal(x86_kaslr_apply(&r, &img, &mem, &by), 0);
	memcpy(&wide[0], ram + 8, 8);
	memcpy(&wide[1], ram + 0x2ff8, 8);
	memcpy(narrow, ram + 16, sizeof(narrow));
	assert_true(wide[0] == 0xffffffff93000010);
	assert_true(wide[1] == 0x11fffff0);
	assert_int_equal(narrow[0], 0x6c000000);
	assert_int_equal(narrow[1], 0x93000020);
	assert_int_equal(narrow[2], 0);
}

/* Moved only where it lies: nothing in it changes. Not in memory at all: refused. */
static void test_kaslr_physical_alone(void **state)
{
	const uint32_t words[] = {0, AT(8), 0, AT(16)};
	const struct x86_kaslr by = {0x200000, 0}, outside = {0x400000, 0};
	struct x86_relocs r;

	(void)state;
	place(by.physical);
	assert_int_equal(x86_relocs_parse(&r, words, COUNT(words)), 0);
	assert_int_equal(x86_kaslr_apply(&r, &img, &mem, &by), 0);
	for (size_t i = 0; i < sizeof(ram); i++) {
		assert_int_equal(ram[i], 0);
	}
	assert_int_equal(x86_kaslr_apply(&r, &img, &mem, &outside), -EINVAL);
}

static void test_kaslr_chooses_all_there_are_and_no_others(void **state)
{
	const uint64_t align = 0x200000, size = 0x3f98000, end = 0x8000000;
	bool physical[64] = {false}, virtual[512] = {false};
	unsigned n[2] = {0, 0};

	(void)state;
	for (uint64_t i = 0; i < 4096; i++) {
		const uint64_t random[2] = {i, ~i};
		const struct x86_kaslr by = x86_kaslr_choose(LINKED, size, align, end, random);

		assert_int_equal(by.physical % align, 0);
		assert_int_equal(by.virtual % align, 0);
		assert_true(LINKED + by.physical + size <= end);
		assert_true(LINKED + by.virtual + size <= X86_KERNEL_IMAGE_SIZE);
		n[0] += !physical[by.physical / align];
		n[1] += !virtual[by.virtual / align];
		physical[by.physical / align] = virtual[by.virtual / align] = true;
	}
	/* 112 MiB and 1008 MiB for a kernel of 64 MiB less a bit, every 2 MiB. */
	assert_int_equal(n[0], 25);
	assert_int_equal(n[1], 473);
}

static void test_kaslr_stays_where_there_is_no_room(void **state)
{
	const uint64_t random[2] = {~0ull, ~0ull}, ends[] = {0, LINKED - 1, LINKED, LINKED + 0x1fffff, LINKED + 0x3fffff};

	(void)state;
	for (size_t i = 0; i < COUNT(ends); i++) {
		assert_int_equal(x86_kaslr_choose(LINKED, 0x200000, 0x200000, ends[i], random).physical, 0);
	}
	assert_int_equal(x86_kaslr_choose(LINKED, X86_KERNEL_IMAGE_SIZE, 0x200000, ~0ull, random).virtual, 0);
	assert_int_equal(x86_kaslr_choose(X86_KERNEL_IMAGE_SIZE, 0x200000, 0x200000, ~0ull, random).virtual, 0);
}

static void test_kaslr_words(void **state)
{
	(void)state;
	assert_true(x86_kaslr_has_word("nokaslr", "nokaslr"));
	assert_true(x86_kaslr_has_word("a nokaslr b", "nokaslr"));
	assert_true(x86_kaslr_has_word("xnokaslr nokaslr", "nokaslr"));
	assert_false(x86_kaslr_has_word("xnokaslr nokaslr=1 nokaslrs", "nokaslr"));
	assert_false(x86_kaslr_has_word("", "nokaslr"));
	assert_true(x86_kaslr_has_word("quiet mem=1G", "mem="));
	assert_false(x86_kaslr_has_word("nomem=1G mem", "mem="));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relocs_three_lists),
		cmocka_unit_test(test_relocs_two_lists),
		cmocka_unit_test(test_relocs_that_are_none),
		cmocka_unit_test_setup(test_relocs_places_outside_are_refused, setup),
		cmocka_unit_test_setup(test_kaslr_applies_each_kind, setup),
		cmocka_unit_test_setup(test_kaslr_physical_alone, setup),
		cmocka_unit_test(test_kaslr_chooses_all_there_are_and_no_others),
		cmocka_unit_test(test_kaslr_stays_where_there_is_no_room),
		cmocka_unit_test(test_kaslr_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
