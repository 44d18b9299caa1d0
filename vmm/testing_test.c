/* SPDX-License-Identifier: MIT */
/* How many tests run at once. What they do is for tests/system/ci. */
#include "vmm/testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void test_testing_memory_of_those_that_run(void **state)
{
	struct test_case cases[3] = {
		{.state = TEST_RUNNING, .memory = 100},
		{.state = TEST_PASSED, .memory = 1000},
		{.state = TEST_WAITING, .memory = 1000},
	};

	(void)state;
	assert_true(testing_fits(cases, 3, 50, 150));
	assert_false(testing_fits(cases, 3, 51, 150));
	assert_true(testing_fits(cases, 3, 51, UINT64_MAX));
	cases[2].state = TEST_RUNNING;
	assert_false(testing_fits(cases, 3, 50, 1000));
	assert_true(testing_fits(cases, 3, 50, 1150));
}

/* A test that never starts would keep the run from ending. */
static void test_testing_one_alone_is_always_tried(void **state)
{
	struct test_case cases[2] = {{.state = TEST_FAILED, .memory = 100}, {.state = TEST_WAITING}};

	(void)state;
	assert_true(testing_fits(cases, 2, 1000, 0));
	cases[1].state = TEST_RUNNING;
	assert_false(testing_fits(cases, 2, 1000, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_testing_memory_of_those_that_run),
		cmocka_unit_test(test_testing_one_alone_is_always_tried),
	};

	return cmocka_run_group_tests_name("testing", tests, NULL, NULL);
}
