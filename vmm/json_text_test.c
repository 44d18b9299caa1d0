/* SPDX-License-Identifier: MIT */
#include "vmm/json_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define FFFD "\xef\xbf\xbd"

static void expect(const char *text, size_t max, const char *want)
{
	json_t *json = json_text(text, max);

	assert_non_null(json);
	assert_string_equal(json_string_value(json), want);
	json_decref(json);
}

static void test_json_text_of_all_kinds(void **state)
{
	(void)state;
	expect("", 10, "");
	expect("plain \x01\x7f", 100, "plain \x01\x7f");
	expect("\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80", 100, "\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80");
	expect("caf\xe9.toml", 100, "caf" FFFD ".toml");
	/* Too long, surrogates, beyond Unicode, cut off, only the rest of one. */
	expect("\xc0\xaf", 100, FFFD FFFD);
	expect("\xe0\x80\x80", 100, FFFD FFFD FFFD);
	expect("\xed\xa0\x80", 100, FFFD FFFD FFFD);
	expect("\xf4\x90\x80\x80", 100, FFFD FFFD FFFD FFFD);
	expect("x\xe2\x82", 100, "x" FFFD FFFD);
	expect("\x80y", 100, FFFD "y");
}

static void test_json_text_is_cut_between_characters(void **state)
{
	(void)state;
	expect("abc", 2, "ab");
	expect("a\xe2\x82\xac", 4, "a\xe2\x82\xac");
	expect("a\xe2\x82\xac", 3, "a");
	expect("a\xff\xff", 2, "a" FFFD);
}

/* Whatever the bytes are, the C library of JSON takes the result, and prints it. */
static void test_json_text_of_any_bytes(void **state)
{
	unsigned seed = 7;

	(void)state;
	for (int n = 0; n < 20000; n++) {
		char text[9] = "";
		json_t *json;
		char *line;

		for (int i = 0; i < n % 9; i++) {
			seed = seed * 1103515245 + 12345;
			text[i] = (char)((seed >> 16) % 3 ? 0x80 + (seed >> 20) % 128 : 1 + (seed >> 20) % 255);
		}
		json = json_pack("{s:o}", "line", json_text(text, 8));
		assert_non_null(json);
		line = json_dumps(json, JSON_COMPACT);
		assert_non_null(line);
		free(line);
		json_decref(json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_text_of_all_kinds),
		cmocka_unit_test(test_json_text_is_cut_between_characters),
		cmocka_unit_test(test_json_text_of_any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
