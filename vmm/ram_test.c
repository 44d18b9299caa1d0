/* SPDX-License-Identifier: MIT */
/* The mapping behind the guest. */
#include "vmm/ram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <stdio.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* What the guest writes is in the file; others can map it, but not make it shorter under us, and it is as untouched as the other kind. */
static void test_ram_that_is_shared(void **state)
{
	const uint64_t len = 64 << 20;
	struct ram ram = {.hva = NULL};
	struct stat st;
	uint8_t *other;
	int fd;

	(void)state;
	assert_int_equal(ram_map_shared(&ram, len - 1, HUGEPAGES_THP), 0);
	assert_true(ram.is_shared);
	fd = ram.fd;
	assert_int_equal(ram.len, len);
	assert_int_equal((uintptr_t)ram.hva % (2 << 20), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, len);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	/* What udmabuf asks for. */
	assert_true(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK);
	assert_false(fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE);
	assert_int_equal(ftruncate(fd, 4096), -1);
	other = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(other, MAP_FAILED);
	ram.hva[len - 1] = 0x5a;
	assert_int_equal(other[len - 1], 0x5a);
	munmap(other, len);
	ram_unmap(&ram);
	assert_null(ram.hva);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	ram_unmap(&ram);
}

static void test_ram_that_does_not_exist_is_an_error(void **state)
{
	struct ram ram = {.hva = NULL};

	(void)state;
	said[0] = '\0';
	log_set_hook(keep);
	assert_true(ram_map(&ram, 1ull << 48, HUGEPAGES_THP) < 0);
	assert_true(ram_map_shared(&ram, 1ull << 48, HUGEPAGES_THP) < 0);
	assert_null(ram.hva);
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
		cmocka_unit_test(test_ram_that_is_shared),
		cmocka_unit_test(test_ram_that_does_not_exist_is_an_error),
		cmocka_unit_test(test_ram_huge_page_pool_too_small),
	};

	return cmocka_run_group_tests_name("ram", tests, NULL, NULL);
}
