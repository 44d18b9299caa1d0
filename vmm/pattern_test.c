/* SPDX-License-Identifier: MIT */
/* What a pattern may be, and how little one that is too much costs. */
#include "vmm/pattern.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

static char why[128];

static int compiles(const char *text)
{
	regex_t regex;
	int r;

	why[0] = '\0';
	r = pattern_compile(&regex, text, why, sizeof(why));
	if (r == 0) {
		regfree(&regex);
	}
	return r;
}

static void test_pattern_what_people_write(void **state)
{
	static const char *const texts[] = {"", "login: $", "^[a-z]+( [0-9]{1,3}){4}$", "[]{(]", "[^]{(]x{2}", "[[:digit:]]{1,16}", "\\(\\{\\[\\\\", "a|b|(c|d)?",
		"(a*)+b{3}{4}", "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", "{", "a{,5}", "a{1000}", "(((a{10}){10}){10})", "x\\.y", "rcu: INFO: .*stall"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		regex_t regex;
		int r = regcomp(&regex, texts[i], REG_EXTENDED | REG_NOSUB);

		/* The same verdict as the C library's, which is asked in the end. */
		assert_int_equal(compiles(texts[i]), r == 0 ? 0 : -EINVAL);
		if (r == 0) {
			regfree(&regex);
		}
	}
}

static void test_pattern_that_is_none(void **state)
{
	static const char *const texts[] = {"(", "a)b(", "[", "[a", "[[:none:]]", "a{3,1}", "*\\", "[[.", "a{40000}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(compiles(texts[i]), -EINVAL);
		assert_true(why[0]);
	}
}

static void expect_refused(const char *text, const char *because)
{
	assert_int_equal(compiles(text), -EINVAL);
	assert_string_equal(why, because);
}

/* The C library would follow these on the stack until it ends. */
static void test_pattern_of_brackets_inside_each_other(void **state)
{
	static char text[60001];

	(void)state;
	memset(text, '(', 60000);
	expect_refused(text, "too many brackets inside each other");
	memset(text + 30000, ')', 30000);
	expect_refused(text, "too many brackets inside each other");
	/* Beside each other they are harmless. */
	text[0] = '\0';
	for (int i = 0; i < 200; i++) {
		strcat(text, i % 2 ? "(ab)" : "[](]");
	}
	assert_int_equal(compiles(text), 0);
}

/* These, it would write out: gigabytes. */
static void test_pattern_of_repeated_repetitions(void **state)
{
	static const char *const texts[] = {"((a{1,255}){1,255})", "a{1,255}{1,255}{1,255}", "a{1,32767}", "((((a{9}){9}){9}){9})", "(ab|[cd]){999}", "a{1025}",
		"[)]{600}[(]{600}", "(\\(){1025}", "a{99999999999999999999}"};
	struct rusage before, after;

	(void)state;
	getrusage(RUSAGE_SELF, &before);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		expect_refused(texts[i], "it is too large, repetitions counted");
	}
	getrusage(RUSAGE_SELF, &after);
	assert_true(after.ru_maxrss - before.ru_maxrss < 4096);
}

static void test_pattern_back_references(void **state)
{
	(void)state;
	expect_refused("(a*)\\1", "back-references are not supported");
	assert_int_equal(compiles("a\\0"), 0);
}

/* Whatever is thrown together, measuring and compiling stay cheap. */
static void test_pattern_of_anything(void **state)
{
	static const char letters[] = "ab((()))[[]]{{}}12399,,**+?|\\^$.:=-";
	struct rusage usage;
	unsigned seed = 1;

	(void)state;
	for (int n = 0; n < 20000; n++) {
		char text[40];
		size_t len = (size_t)n % sizeof(text);

		for (size_t i = 0; i < len; i++) {
			seed = seed * 1103515245 + 12345;
			text[i] = letters[(seed >> 16) % (sizeof(letters) - 1)];
		}
		text[len < sizeof(text) ? len : len - 1] = '\0';
		compiles(text);
	}
	getrusage(RUSAGE_SELF, &usage);
	assert_true(usage.ru_maxrss < 512 * 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pattern_what_people_write),
		cmocka_unit_test(test_pattern_that_is_none),
		cmocka_unit_test(test_pattern_of_brackets_inside_each_other),
		cmocka_unit_test(test_pattern_of_repeated_repetitions),
		cmocka_unit_test(test_pattern_back_references),
		cmocka_unit_test(test_pattern_of_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
