/* SPDX-License-Identifier: MIT */
#include "devices/key_name.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static int code(const char *name)
{
	return key_name_code(name, strlen(name));
}

static void test_key_name_is_the_kernel_s_in_any_letters(void **state)
{
	(void)state;
	assert_int_equal(code("enter"), KEY_ENTER);
	assert_int_equal(code("F12"), KEY_F12);
	assert_int_equal(code("KEY_Q"), KEY_Q);
	assert_int_equal(code("KEY_1"), KEY_1);
	assert_int_equal(code("102nd"), KEY_102ND);
	assert_int_equal(code("rightalt"), KEY_RIGHTALT);
	assert_int_equal(code("VolumeUp"), KEY_VOLUMEUP);
	assert_int_equal(key_name_code("f5+x", 2), KEY_F5);
}

static void test_key_name_knows_what_people_say(void **state)
{
	(void)state;
	assert_int_equal(code("ctrl"), KEY_LEFTCTRL);
	assert_int_equal(code("AltGr"), KEY_RIGHTALT);
	assert_int_equal(code("super"), KEY_LEFTMETA);
	assert_int_equal(code("pgdn"), KEY_PAGEDOWN);
	/* The key with a menu on it, unless the kernel's is asked for. */
	assert_int_equal(code("menu"), KEY_COMPOSE);
	assert_int_equal(code("KEY_MENU"), KEY_MENU);
	assert_int_equal(code("print"), KEY_SYSRQ);
}

static void test_key_name_that_is_none(void **state)
{
	static const char *const names[] = {"", "entr", "KEY_", "KEY_KEY_A", "btn_left", "BTN_LEFT", "left ", "reserved", "KEY_MAX", "cnt", "\xc3\xa4",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(code(names[i]), -EINVAL);
	}
	assert_int_equal(key_name_code("enter", 0), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_name_is_the_kernel_s_in_any_letters),
		cmocka_unit_test(test_key_name_knows_what_people_say),
		cmocka_unit_test(test_key_name_that_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
