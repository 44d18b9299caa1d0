/* SPDX-License-Identifier: MIT */
/* What guests said must not break a report. */
#include "vmm/test_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char *text;
static size_t len;

static FILE *begin(void)
{
	free(text);
	text = NULL;
	return open_memstream(&text, &len);
}

static void report(const struct test_case *c, bool tap)
{
	FILE *f = begin();

	test_report_case(c, 3, tap, f);
	fclose(f);
}

static void test_report_lines_for_people(void **state)
{
	(void)state;
	report(&(struct test_case){.name = "good", .state = TEST_PASSED, .took_ns = 1500000000}, false);
	assert_string_equal(text, "ok   good (1.5 s)\n");
	report(&(struct test_case){.name = "bad", .state = TEST_FAILED, .reason = "panic", .text = "why", .tail = (char *)"one\ntwo\n"}, false);
	assert_string_equal(text, "FAIL bad (0.0 s): panic: why\n     | one\n     | two\n");
}

static void test_report_tap(void **state)
{
	(void)state;
	report(&(struct test_case){.name = "good", .state = TEST_PASSED}, true);
	assert_string_equal(text, "ok 3 - good\n");
	report(&(struct test_case){.name = "bad", .state = TEST_FAILED, .reason = "hang", .tail = (char *)"ok 4 - a lie\n1..1"}, true);
	assert_string_equal(text, "not ok 3 - bad\n# hang\n# | ok 4 - a lie\n# | 1..1\n");
	report(&(struct test_case){.name = "none", .state = TEST_SKIPPED, .text = "no KVM"}, true);
	assert_string_equal(text, "ok 3 - none # SKIP no KVM\n");
}

/* A line of the guest, and the name of a file, are not for the terminal or the TAP reader to act on. */
static void test_report_what_others_wrote_is_harmless(void **state)
{
	const struct test_case hostile = {.name = "a # SKIP b\nok 2", .state = TEST_FAILED, .reason = "expect",
		.text = "\x1b[2J\nok 9 - \xc2\x9b" "31m \xc3\xbc \x7f", .tail = (char *)"\xc2\x9d" "0;title\a\tend"};

	(void)state;
	report(&hostile, true);
	assert_string_equal(text, "not ok 3 - a \\# SKIP b?ok 2\n# expect: ?[2J?ok 9 - ?31m \xc3\xbc ?\n# | ?0;title?\tend\n");
	report(&hostile, false);
	assert_string_equal(text, "FAIL a # SKIP b?ok 2 (0.0 s): expect: ?[2J?ok 9 - ?31m \xc3\xbc ?\n     | ?0;title?\tend\n");
}

static void test_report_junit_counts_and_escapes(void **state)
{
	const struct test_case cases[] = {
		{.name = "good", .state = TEST_PASSED},
		{.name = "a<b&\"c\"", .state = TEST_FAILED, .reason = "expect", .text = "]]> \x1b[31m \xc3\xbc", .tail = (char *)"</failure>\x01\x7f"},
		{.name = "skipped", .state = TEST_SKIPPED},
	};
	FILE *f = begin();

	(void)state;
	assert_true(test_report_junit(cases, 3, 2000000000, f));
	fclose(f);
	assert_non_null(strstr(text, "tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"2.000\""));
	assert_non_null(strstr(text, "name=\"a&lt;b&amp;&quot;c&quot;\""));
	assert_non_null(strstr(text, "message=\"]]&gt; ?[31m ??\""));
	assert_non_null(strstr(text, "&lt;/failure&gt;?" "?</failure>"));
	for (const char *c = text; *c; c++) {
		assert_true(*c == '\n' || *c == '\t' || (*c >= ' ' && *c < 0x7f));
	}
	free(text);
	text = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_report_lines_for_people),
		cmocka_unit_test(test_report_tap),
		cmocka_unit_test(test_report_what_others_wrote_is_harmless),
		cmocka_unit_test(test_report_junit_counts_and_escapes),
	};

	return cmocka_run_group_tests_name("test_report", tests, NULL, NULL);
}
