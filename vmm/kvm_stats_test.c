/* SPDX-License-Identifier: MIT */
/* The parser on plain memory. What a real KVM says is in tests/system/stats. */
#include "vmm/kvm_stats.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* The documented layout, written out: header, id, descriptors, data. */
#define NAME_LEN 24
#define DESC_LEN (16 + NAME_LEN)
#define NDESC 4
#define DESC_AT 40
#define DATA_AT (DESC_AT + NDESC * DESC_LEN)
#define FILE_LEN (DATA_AT + 8 * 6)

static uint8_t *file;
static unsigned calls;
static char names[8][NAME_LEN];
static enum kvm_stats_kind kinds[8];
static uint64_t values[8];

static void put32(size_t at, uint32_t v)
{
	memcpy(file + at, &v, sizeof(v));
}

static void put_desc(unsigned i, uint32_t flags, uint16_t size, uint32_t offset, const char *name)
{
	size_t at = DESC_AT + i * DESC_LEN;

	put32(at, flags);
	memcpy(file + at + 6, &size, sizeof(size));
	put32(at + 8, offset);
	strncpy((char *)file + at + 16, name, NAME_LEN);
}

static int setup(void **state)
{
	/* Exactly as long as it is: the sanitizer sees every byte beyond. */
	(void)state;
	file = calloc(1, FILE_LEN);
	put32(4, NAME_LEN);
	put32(8, NDESC);
	put32(12, 24);
	put32(16, DESC_AT);
	put32(20, DATA_AT);
	put_desc(0, 0x00, 1, 0, "exits");
	put_desc(1, 0x04 | 0x20, 3, 8, "halt_wait_hist");
	put_desc(2, 0x01 | 0x10, 1, 32, "pages_2m");
	put_desc(3, 0x02, 1, 40, "deepest");
	for (uint64_t i = 0; i < 6; i++) {
		uint64_t v = (i << 40) + i + 1;

		memcpy(file + DATA_AT + 8 * i, &v, sizeof(v));
	}
	calls = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(file);
	return 0;
}

static void on_value(void *ctx, const char *name, enum kvm_stats_kind kind, uint64_t value)
{
	assert_ptr_equal(ctx, &calls);
	assert_true(calls < 8);
	strncpy(names[calls], name, NAME_LEN - 1);
	kinds[calls] = kind;
	values[calls++] = value;
}

static int parse(size_t len)
{
	return kvm_stats_parse(file, len, on_value, &calls);
}

static void test_kvm_stats_single_values_come_in_their_order(void **state)
{
	(void)state;
	assert_int_equal(parse(FILE_LEN), 0);
	assert_int_equal(calls, 3);
	assert_string_equal(names[0], "exits");
	assert_int_equal(kinds[0], KVM_STATS_COUNTER);
	assert_int_equal(values[0], 1);
	assert_string_equal(names[1], "pages_2m");
	assert_int_equal(kinds[1], KVM_STATS_LEVEL);
	assert_int_equal(values[1], (4ull << 40) + 5);
	assert_string_equal(names[2], "deepest");
	assert_int_equal(kinds[2], KVM_STATS_PEAK);
	assert_int_equal(values[2], (5ull << 40) + 6);
}

static void test_kvm_stats_a_kind_of_a_later_kernel_is_left_out(void **state)
{
	(void)state;
	put_desc(0, 0x0f, 1, 0, "exits");
	assert_int_equal(parse(FILE_LEN), 0);
	assert_int_equal(calls, 2);
}

static void test_kvm_stats_every_shorter_file_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < FILE_LEN; len++) {
		uint8_t *all = file;

		file = malloc(len ? len : 1);
		memcpy(file, all, len);
		calls = 0;
		assert_int_equal(parse(len), -EPROTO);
		free(file);
		file = all;
	}
}

static void test_kvm_stats_offsets_beyond_the_file_are_refused(void **state)
{
	static const size_t at[] = {4, 8, 16, 20, DESC_AT + 8, DESC_AT + 2 * DESC_LEN + 8};
	static const uint32_t wrong[] = {0xffffffff, 0x80000000, FILE_LEN};

	(void)state;
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		for (size_t j = 0; j < sizeof(wrong) / sizeof(wrong[0]); j++) {
			uint32_t right;

			memcpy(&right, file + at[i], sizeof(right));
			put32(at[i], wrong[j]);
			calls = 0;
			assert_int_equal(parse(FILE_LEN), -EPROTO);
			put32(at[i], right);
		}
	}
}

static void test_kvm_stats_a_name_without_an_end_is_refused(void **state)
{
	(void)state;
	put_desc(2, 0, 1, 0, "abcdefghijklmnopqrstuvwxyz");
	assert_int_equal(parse(FILE_LEN), -EPROTO);
	assert_int_equal(calls, 1);
}

static void test_kvm_stats_what_is_no_kvm_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(kvm_stats_open(-1), -EBADF);
	assert_int_equal(kvm_stats_read(-1, on_value, &calls), -EBADF);
	assert_int_equal(calls, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kvm_stats_single_values_come_in_their_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kvm_stats_a_kind_of_a_later_kernel_is_left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kvm_stats_every_shorter_file_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kvm_stats_offsets_beyond_the_file_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kvm_stats_a_name_without_an_end_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kvm_stats_what_is_no_kvm_is_an_error, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
