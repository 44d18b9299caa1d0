/* SPDX-License-Identifier: MIT */
#include "vmm/input_script.h"

#include <linux/input-event-codes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vmm/clock.h"

static struct input_script script;

static int teardown(void **state)
{
	(void)state;
	input_script_finish(&script);
	input_script_finish(&script);
	return 0;
}

static const struct input_command *only(const char *text)
{
	input_script_finish(&script);
	assert_int_equal(input_script_read(&script, text, strlen(text)), 0);
	assert_int_equal(script.n, 1);
	return &script.command[0];
}

static const struct input_command *good(const char *text, enum input_verb verb)
{
	const struct input_command *c = only(text);

	if (c->mistake) {
		fail_msg("%s: %s", text, c->mistake);
	}
	assert_int_equal(c->verb, verb);
	return c;
}

static void test_input_script_text_is_typed_as_it_is(void **state)
{
	(void)state;
	assert_string_equal(good("type hello", INPUT_TYPE)->text, "hello");
	assert_string_equal(good("  type  two  blanks ", INPUT_TYPE)->text, " two  blanks ");
	assert_string_equal(good("type\t\"quoted\" 'x' \\n # no comment", INPUT_TYPE)->text, "\"quoted\" 'x' \\n # no comment");
	assert_string_equal(good("type gr\xc3\xbc\xc3\x9f\x65\r\n", INPUT_TYPE)->text, "gr\xc3\xbc\xc3\x9f\x65");
}

static void test_input_script_numbers_and_buttons(void **state)
{
	const struct input_command *c = good("click 0.5 1.0 right", INPUT_CLICK);

	(void)state;
	assert_int_equal(c->nnumbers, 2);
	assert_true(c->number[0].value == 0.5 && c->number[0].has_dot);
	assert_true(c->number[1].value == 1 && c->number[1].has_dot);
	assert_int_equal(c->button, BTN_RIGHT);
	c = good("click", INPUT_CLICK);
	assert_int_equal(c->nnumbers, 0);
	assert_int_equal(c->button, BTN_LEFT);
	assert_int_equal(good("click middle", INPUT_CLICK)->button, BTN_MIDDLE);
	assert_int_equal(good("click 5 5 task", INPUT_CLICK)->button, BTN_TASK);
	c = good("move -5 \t 12 ", INPUT_MOVE);
	assert_true(c->number[0].value == -5 && !c->number[0].has_dot && c->number[1].value == 12);
	c = good("drag 0.1 0.2 0.3 0.4 extra", INPUT_DRAG);
	assert_int_equal(c->nnumbers, 4);
	assert_int_equal(c->button, BTN_EXTRA);
	c = good("scroll 0 -1.5", INPUT_SCROLL);
	assert_true(c->number[1].value == -1.5);
	assert_int_equal(good("touch 0.0 0.25", INPUT_TOUCH)->nnumbers, 2);
	assert_string_equal(good("shot  my screen.png ", INPUT_SHOT)->text, "my screen.png");
	assert_string_equal(good("key  ctrl+alt+t   enter ", INPUT_KEY)->text, "ctrl+alt+t   enter");
}

static void test_input_script_times(void **state)
{
	const struct input_command *c;

	(void)state;
	assert_int_equal(good("sleep 200ms", INPUT_SLEEP)->time_ns, 200 * CLOCK_NS_PER_MS);
	assert_int_equal(good("sleep 0s ", INPUT_SLEEP)->time_ns, 0);
	c = good("wait text=login:", INPUT_WAIT);
	assert_string_equal(c->text, "login:");
	assert_int_equal(c->time_ns, 0);
	c = good("wait text=Last login  30s ", INPUT_WAIT);
	assert_string_equal(c->text, "Last login");
	assert_int_equal(c->time_ns, 30 * CLOCK_NS_PER_S);
	c = good("wait text=in 30 s", INPUT_WAIT);
	assert_string_equal(c->text, "in 30 s");
	assert_int_equal(c->time_ns, 0);
	assert_string_equal(good("wait text=30s", INPUT_WAIT)->text, "30s");
}

static void test_input_script_says_what_is_wrong(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"tpye x", "unknown command \"tpye\"; did you mean \"type\"?"},
		{"quux", "unknown command \"quux\"; see tinyvmm help input"},
		{"Type x", "did you mean \"type\"?"},
		{"wait 30s", "got \"30s\""},
		{"type", "type: expected TEXT"},
		{"type ", "type: expected TEXT"},
		{"type a\xff", "type: byte 2 of the text is no UTF-8"},
		{"type \xc3", "type: byte 1 of the text is no UTF-8"},
		{"key", "key: expected CHORD..."},
		{"shot", "shot: expected FILE"},
		{"shot  ", "shot: expected FILE"},
		{"key  ", "key: expected CHORD..."},
		{"move", "move: expected X Y"},
		{"move 1", "move: expected X Y"},
		{"move 1 2 3", "move: expected X Y, got \"3\""},
		{"move 1 x", "move: expected X Y, got \"x\""},
		{"move 1 left", "move: expected X Y, got \"left\""},
		{"move .5 1", "got \".5\""},
		{"move 1. 1", "got \"1.\""},
		{"move 1e3 1", "got \"1e3\""},
		{"move 0x1 1", "got \"0x1\""},
		{"move +1 1", "got \"+1\""},
		{"move --1 1", "got \"--1\""},
		{"move 1,5 1", "got \"1,5\""},
		{"move inf 1", "got \"inf\""},
		{"move - 1", "got \"-\""},
		{"move 1000000 1", "got \"1000000\""},
		{"move 0.0000001 1", "got \"0.0000001\""},
		{"click 1", "click: expected [X Y] [BUTTON]"},
		{"click 1 left", "click: expected [X Y] [BUTTON], got \"left\""},
		{"click links", "got \"links\""},
		{"click left left", "got \"left\""},
		{"click left 1 2", "got \"1\""},
		{"drag 1 2 3", "drag: expected X Y X2 Y2 [BUTTON]"},
		{"drag 1 2 3 4 5", "got \"5\""},
		{"drag left", "got \"left\""},
		{"scroll 0", "scroll: expected DX DY"},
		{"scroll 0 1001", "scroll: at most 1000 notches"},
		{"scroll -1001 0", "scroll: at most 1000 notches"},
		{"touch 1", "touch: expected X Y"},
		{"sleep", "sleep: expected a time such as 500ms, 60s or 2m, got \"\""},
		{"sleep 5", "got \"5\""},
		{"sleep -5s", "got \"-5s\""},
		{"sleep 5s 5s", "got \"5s 5s\""},
		{"sleep 100000000s", "got \"100000000s\""},
		{"wait", "wait: expected text=REGEX [TIME], got \"\""},
		{"wait login:", "got \"login:\""},
		{"wait 30s", "got \"30s\""},
		{"wait text=", "got \"text=\""},
		{"wait text= 5s", "got \"text=\""},
		{"wait text=(", "wait: \"(\" is no extended regular expression: Unmatched ( or \\("},
		{"wait text=x 0s", "wait: 0s is no time to wait"},
		{"text=x", "unknown command"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct input_command *c = only(cases[i].text);

		if (!c->mistake || !strstr(c->mistake, cases[i].want)) {
			fail_msg("%s: want \"%s\", got \"%s\"", cases[i].text, cases[i].want, c->mistake ? c->mistake : "nothing");
		}
	}
}

static void test_input_script_counts_lines(void **state)
{
	static const char text[] = "# a comment\n\n \t \ntype a\n  # another\r\nnonsense\nkey enter\r\n\nsleep 1s";
	static const unsigned lines[] = {4, 6, 7, 9};

	(void)state;
	assert_int_equal(input_script_read(&script, text, sizeof(text) - 1), 0);
	assert_int_equal(script.n, 4);
	for (size_t i = 0; i < script.n; i++) {
		assert_int_equal(script.command[i].line, lines[i]);
		assert_int_equal(script.command[i].mistake != NULL, i == 1);
	}
	assert_string_equal(script.command[2].text, "enter");
}

static void test_input_script_any_bytes(void **state)
{
	static const char nul[] = "type a\0b\ntype c";

	(void)state;
	assert_int_equal(input_script_read(&script, nul, sizeof(nul) - 1), 0);
	assert_int_equal(script.n, 2);
	assert_string_equal(script.command[0].mistake, "there is a NUL character in the line");
	assert_string_equal(script.command[1].text, "c");
	input_script_finish(&script);
	assert_int_equal(input_script_read(&script, "", 0), 0);
	assert_int_equal(script.n, 0);
	assert_int_equal(input_script_read(&script, "\n\n", 2), 0);
	assert_int_equal(script.n, 0);
}

static void test_input_script_words_are_a_line(void **state)
{
	const char *words[] = {"type", "two", "words"}, *spaced[] = {"type", " a  b "}, *lines[] = {"type", "a\nb"}, *wrong[] = {"move", "1"};

	(void)state;
	assert_int_equal(input_script_words(&script, words, 3), 0);
	assert_string_equal(script.command[0].text, "two words");
	input_script_finish(&script);
	assert_int_equal(input_script_words(&script, spaced, 2), 0);
	assert_string_equal(script.command[0].text, " a  b ");
	input_script_finish(&script);
	assert_int_equal(input_script_words(&script, lines, 2), 0);
	assert_int_equal(script.n, 1);
	assert_string_equal(script.command[0].text, "a\nb");
	input_script_finish(&script);
	assert_int_equal(input_script_words(&script, wrong, 2), 0);
	assert_string_equal(script.command[0].mistake, "move: expected X Y");
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_input_script_text_is_typed_as_it_is),
		T(test_input_script_numbers_and_buttons),
		T(test_input_script_times),
		T(test_input_script_says_what_is_wrong),
		T(test_input_script_counts_lines),
		T(test_input_script_any_bytes),
		T(test_input_script_words_are_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
