/* SPDX-License-Identifier: MIT */
/* "did you mean": helpful for a slip of the hand, silent otherwise. */
#include "vmm/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *near(const char *typed)
{
	static const char *const known[] = {"memory", "cpus", "name", "kernel"};
	struct suggest s;

	suggest_init(&s, typed, strlen(typed));
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		suggest_offer(&s, known[i]);
	}
	return s.best ? s.best : "";
}

static void test_suggest_the_nearest(void **state)
{
	(void)state;
	assert_string_equal(near("memroy"), "memory");
	assert_string_equal(near("cpu"), "cpus");
	assert_string_equal(near("cpuss"), "cpus");
	assert_string_equal(near("kernal"), "kernel");
	assert_string_equal(near("Memory"), "memory");
}

static void test_suggest_nothing_that_is_far(void **state)
{
	static char huge[4096];

	(void)state;
	assert_string_equal(near("display"), "");
	assert_string_equal(near(""), "");
	assert_string_equal(near("x"), "");
	memset(huge, 'm', sizeof(huge) - 1);
	assert_string_equal(near(huge), "");
}

/* What was typed need not end where the suggestion is made. */
static void test_suggest_respects_the_length(void **state)
{
	struct suggest s;

	(void)state;
	suggest_init(&s, "cpux=4", 4);
	suggest_offer(&s, "cpus");
	assert_string_equal(s.best, "cpus");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suggest_the_nearest),
		cmocka_unit_test(test_suggest_nothing_that_is_far),
		cmocka_unit_test(test_suggest_respects_the_length),
	};

	return cmocka_run_group_tests_name("suggest", tests, NULL, NULL);
}
