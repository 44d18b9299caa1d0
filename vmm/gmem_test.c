/* SPDX-License-Identifier: MIT */
/* Ranges at every edge: the monitor trusts nothing else between a guest's numbers and its own memory. */
#include "vmm/gmem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint8_t low[4096], high[8192];

/* Two regions with a hole between them. */
static struct gmem make(void)
{
	struct gmem mem = {.nregions = 0};

	gmem_add(&mem, 0x1000, low, sizeof(low));
	gmem_add(&mem, 0x100000000, high, sizeof(high));
	return mem;
}

static void test_gmem_ptr_wants_the_whole_range_in_one_region(void **state)
{
	struct gmem mem = make();

	(void)state;
	assert_ptr_equal(gmem_ptr(&mem, 0x1000, 4096), low);
	assert_ptr_equal(gmem_ptr(&mem, 0x1fff, 1), low + 4095);
	assert_ptr_equal(gmem_ptr(&mem, 0x100000000, 8192), high);
	assert_null(gmem_ptr(&mem, 0xfff, 1));
	assert_null(gmem_ptr(&mem, 0xfff, 2));
	assert_null(gmem_ptr(&mem, 0x1fff, 2));
	assert_null(gmem_ptr(&mem, 0x2000, 1));
	assert_null(gmem_ptr(&mem, 0x1000, 4097));
	assert_null(gmem_ptr(&mem, 0x100002000, 1));
}

static void test_gmem_lengths_that_wrap(void **state)
{
	struct gmem mem = make();

	(void)state;
	assert_null(gmem_ptr(&mem, 0x1001, UINT64_MAX));
	assert_null(gmem_ptr(&mem, 0x1800, UINT64_MAX - 0x17ff));
	assert_null(gmem_ptr(&mem, UINT64_MAX, 1));
	assert_null(gmem_ptr(&mem, UINT64_MAX, UINT64_MAX));
	assert_null(gmem_ptr(&mem, 0, UINT64_MAX));
}

static void test_gmem_region_at_the_end_of_the_address_space(void **state)
{
	struct gmem mem = {.nregions = 0};

	(void)state;
	gmem_add(&mem, UINT64_MAX - 4096, low, 4096);
	assert_ptr_equal(gmem_ptr(&mem, UINT64_MAX - 1, 1), low + 4095);
	assert_null(gmem_ptr(&mem, UINT64_MAX - 1, 2));
	assert_null(gmem_ptr(&mem, UINT64_MAX - 1, 3));
}

static void test_gmem_nothing_long_is_somewhere_too(void **state)
{
	struct gmem mem = make();

	(void)state;
	assert_non_null(gmem_ptr(&mem, 0x1000, 0));
	assert_null(gmem_ptr(&mem, 0x5000, 0));
	assert_null(gmem_ptr(&(struct gmem){.nregions = 0}, 0, 0));
}

static void test_gmem_file_wants_the_whole_range_in_one_region(void **state)
{
	struct gmem mem = make();
	uint64_t offset = 77;

	(void)state;
	assert_int_equal(gmem_file(&mem, high, 1, &offset), -1);
	gmem_share(&mem, 5, 0x10000);
	assert_int_equal(gmem_file(&mem, high, 8192, &offset), 5);
	assert_int_equal(offset, 0x10000);
	assert_int_equal(gmem_file(&mem, high + 8191, 1, &offset), 5);
	assert_int_equal(offset, 0x11fff);
	assert_int_equal(gmem_file(&mem, high + 1, 8192, &offset), -1);
	assert_int_equal(gmem_file(&mem, high + 8192, 1, &offset), -1);
	assert_int_equal(gmem_file(&mem, (void *)((uintptr_t)high - 1), 2, &offset), -1);
	assert_int_equal(gmem_file(&mem, high + 1, UINT64_MAX, &offset), -1);
	/* The other region is in no file. */
	assert_int_equal(gmem_file(&mem, low, 1, &offset), -1);
}

static void test_gmem_copies_all_or_nothing(void **state)
{
	struct gmem mem = make();

	(void)state;
	memset(low, 'l', sizeof(low));
	assert_int_equal(gmem_write(&mem, 0x1ffc, "12345", 5), -EFAULT);
	assert_int_equal(low[4092], 'l');
	assert_int_equal(gmem_write(&mem, 0x1ffc, "1234", 4), 0);
	assert_int_equal(low[4091], 'l');
	assert_memory_equal(low + 4092, "1234", 4);
}

static void test_gmem_end(void **state)
{
	struct gmem mem = make();

	(void)state;
	assert_int_equal(gmem_end(&mem), 0x100002000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gmem_ptr_wants_the_whole_range_in_one_region),
		cmocka_unit_test(test_gmem_lengths_that_wrap),
		cmocka_unit_test(test_gmem_region_at_the_end_of_the_address_space),
		cmocka_unit_test(test_gmem_nothing_long_is_somewhere_too),
		cmocka_unit_test(test_gmem_file_wants_the_whole_range_in_one_region),
		cmocka_unit_test(test_gmem_copies_all_or_nothing),
		cmocka_unit_test(test_gmem_end),
	};

	return cmocka_run_group_tests_name("gmem", tests, NULL, NULL);
}
