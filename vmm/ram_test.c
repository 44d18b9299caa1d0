/* SPDX-License-Identifier: MIT */
/* The mapping behind the guest. */
#include "vmm/ram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/mman.h>

#include "vmm/log.h"

static char said[512];

static void keep(enum log_level level, const char *line)
{
	(void)level;
	snprintf(said, sizeof(said), "%s", line);
}

static void test_ram_is_zero_aligned_and_untouched(void **state)
{
	const uint64_t len = 64 << 20;
	unsigned char in_core[64];
	struct ram ram = {.hva = NULL};

	(void)state;
	assert_int_equal(ram_map(&ram, len, HUGEPAGES_OFF), 0);
	assert_int_equal(ram.len, len);
	assert_int_equal((uintptr_t)ram.hva % (2 << 20), 0);
	/* Not a page of it is there before somebody writes. */
	assert_int_equal(mincore(ram.hva, sizeof(in_core) * 4096, in_core), 0);
	for (size_t i = 0; i < sizeof(in_core); i++) {
		assert_int_equal(in_core[i] & 1, 0);
	}
	assert_int_equal(ram.hva[0], 0);
	ram.hva[len - 1] = 1;
	ram_unmap(&ram);
	assert_null(ram.hva);
	ram_unmap(&ram);
}

static void test_ram_that_does_not_exist_is_an_error(void **state)
{
	struct ram ram = {.hva = NULL};

	(void)state;
	said[0] = '\0';
	log_set_hook(keep);
	assert_true(ram_map(&ram, 1ull << 48, HUGEPAGES_THP) < 0);
	log_set_hook(NULL);
	assert_true(said[0] != '\0');
	ram_unmap(&ram);
}

/* A pool that is too small is found here, not by a signal in the middle of the guest's work. */
static void test_ram_huge_page_pool_too_small(void **state)
{
	struct ram ram = {.hva = NULL};

	(void)state;
	said[0] = '\0';
	log_set_hook(keep);
	assert_true(ram_map(&ram, 1ull << 40, HUGEPAGES_2M) < 0);
	log_set_hook(NULL);
	assert_non_null(strstr(said, "hugepages"));
	ram_unmap(&ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ram_is_zero_aligned_and_untouched),
		cmocka_unit_test(test_ram_that_does_not_exist_is_an_error),
		cmocka_unit_test(test_ram_huge_page_pool_too_small),
	};

	return cmocka_run_group_tests_name("ram", tests, NULL, NULL);
}
