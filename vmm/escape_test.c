/* SPDX-License-Identifier: MIT */
/* The escape key: every command, every way to send the key itself, nothing swallowed in text. */
#include "vmm/escape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* The action of the last byte of @typed; earlier ones must give nothing. */
static enum escape_action act(uint8_t key, const char *typed, uint8_t *byte)
{
	enum escape_action a = ESCAPE_NONE;
	struct escape e;

	escape_init(&e, key);
	for (; *typed != '\0'; typed++) {
		assert_int_equal(a, ESCAPE_NONE);
		*byte = (uint8_t)*typed;
		a = escape_feed(&e, byte);
	}
	assert_false(e.command && a != ESCAPE_NONE);
	return a;
}

static void test_escape_text_passes(void **state)
{
	struct escape e;

	(void)state;
	escape_init(&e, 1);
	for (unsigned i = 0; i < 256; i++) {
		uint8_t b = (uint8_t)i;

		if (i != 1) {
			assert_int_equal(escape_feed(&e, &b), ESCAPE_BYTE);
			assert_int_equal(b, i);
		}
	}
}

static void test_escape_commands(void **state)
{
	uint8_t b;

	(void)state;
	assert_int_equal(act(1, "\001x", &b), ESCAPE_KILL);
	assert_int_equal(act(1, "\001X", &b), ESCAPE_KILL);
	assert_int_equal(act(1, "\001s", &b), ESCAPE_POWER_BUTTON);
	assert_int_equal(act(1, "\001b", &b), ESCAPE_BREAK);
	assert_int_equal(act(1, "\001h", &b), ESCAPE_HELP);
	assert_int_equal(act(1, "\001?", &b), ESCAPE_HELP);
	assert_int_equal(act(0x1d, "\035x", &b), ESCAPE_KILL);
}

static void test_escape_key_itself_can_be_sent(void **state)
{
	uint8_t b;

	(void)state;
	assert_int_equal(act(1, "\001\001", &b), ESCAPE_BYTE);
	assert_int_equal(b, 1);
	assert_int_equal(act(1, "\001a", &b), ESCAPE_BYTE);
	assert_int_equal(b, 1);
	assert_int_equal(act(0x1d, "\035]", &b), ESCAPE_BYTE);
	assert_int_equal(b, 0x1d);
}

static void test_escape_command_wins_over_the_keys_letter(void **state)
{
	uint8_t b;

	(void)state;
	assert_int_equal(act(0x18, "\030x", &b), ESCAPE_KILL);
	assert_int_equal(act(0x18, "\030\030", &b), ESCAPE_BYTE);
	assert_int_equal(b, 0x18);
}

static void test_escape_unknown_command_does_nothing(void **state)
{
	struct escape e = {.key = 1, .command = true};
	uint8_t b = 'q';

	(void)state;
	assert_int_equal(escape_feed(&e, &b), ESCAPE_NONE);
	b = 'x';
	assert_int_equal(escape_feed(&e, &b), ESCAPE_BYTE);
}

static void test_escape_name_is_what_people_write(void **state)
{
	struct escape e;
	char name[8];

	(void)state;
	escape_init(&e, 1);
	escape_name(&e, name, sizeof(name));
	assert_string_equal(name, "Ctrl-A");
	escape_init(&e, 0x1d);
	escape_name(&e, name, sizeof(name));
	assert_string_equal(name, "Ctrl-]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape_text_passes),
		cmocka_unit_test(test_escape_commands),
		cmocka_unit_test(test_escape_key_itself_can_be_sent),
		cmocka_unit_test(test_escape_command_wins_over_the_keys_letter),
		cmocka_unit_test(test_escape_unknown_command_does_nothing),
		cmocka_unit_test(test_escape_name_is_what_people_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
