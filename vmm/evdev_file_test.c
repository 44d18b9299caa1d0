/* SPDX-License-Identifier: MIT */
/* Descriptions of input devices in files: what is written is read again, and what is wrong is said. */
#include "vmm/evdev_file.h"

#include <errno.h>
#include <linux/input.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/tinyvmm-evdev-XXXXXX";

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void assert_same_after_a_round(const struct input_desc *desc)
{
	struct input_desc again;
	char err[200];
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(evdev_file_write(desc, f), 0);
	fclose(f);
	assert_int_equal(evdev_file_read(&again, path, err, sizeof(err)), 0);
	assert_memory_equal(&again, desc, sizeof(again));
}

static void test_evdev_file_keeps_every_kind(void **state)
{
	(void)state;
	for (enum input_kind kind = INPUT_KEYBOARD; kind < INPUT_EVDEV; kind++) {
		struct input_desc desc;

		memset(&desc, 0, sizeof(desc));
		input_desc_make(&desc, kind, 1);
		assert_same_after_a_round(&desc);
	}
}

static void test_evdev_file_keeps_every_code_named_or_not(void **state)
{
	static const uint8_t types[] = {EV_KEY, EV_REL, EV_ABS, EV_MSC, EV_SW, EV_LED, EV_SND, EV_REP};
	static const struct input_axis axis = {.min = INT32_MIN, .max = INT32_MAX, .fuzz = 1, .flat = 2, .res = 3};
	struct input_desc desc;

	(void)state;
	memset(&desc, 0, sizeof(desc));
	desc.bustype = 0xffff;
	desc.version = 0xffff;
	memset(desc.props, 0xff, sizeof(desc.props));
	for (size_t i = 0; i < sizeof(types); i++) {
		for (unsigned code = 0; code < input_type_codes(types[i]); code++) {
			if (types[i] == EV_ABS) {
				input_desc_add_abs(&desc, code, &axis);
			} else {
				input_desc_add(&desc, types[i], code);
			}
		}
	}
	assert_same_after_a_round(&desc);
}

static void test_evdev_file_a_name_in_another_encoding_is_written_all_the_same(void **state)
{
	struct input_desc desc = {.name = "caf\xe9"}, again;
	char err[200];
	FILE *f = fopen(path, "w");

	(void)state;
	assert_non_null(f);
	assert_int_equal(evdev_file_write(&desc, f), 0);
	fclose(f);
	assert_int_equal(evdev_file_read(&again, path, err, sizeof(err)), 0);
	assert_string_equal(again.name, "caf\xef\xbf\xbd");
}

#define HEAD "{\"format\":\"tinyvmm input device 1\",\"name\":\"n\",\"uniq\":\"\",\"bustype\":1,\"vendor\":1,\"product\":1,\"version\":1,"

static void test_evdev_file_says_what_is_wrong(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"", ":1:0: "},
		{"{", ":1:1: "},
		{"[]", "Expected object"},
		{HEAD "\"properties\":[]}", "Object item not found: events"},
		{HEAD "\"properties\":[],\"events\":{},\"more\":1}", "more"},
		{HEAD "\"properties\":{},\"events\":{}}", "no description"},
		{HEAD "\"properties\":[99],\"events\":{}}", "properties[0]: unknown"},
		{HEAD "\"properties\":[\"INPUT_PROP_NONE\"],\"events\":{}}", "properties[0]: unknown"},
		{HEAD "\"properties\":[],\"events\":{\"EV_FF\":[]}}", "unknown type \"EV_FF\""},
		{HEAD "\"properties\":[],\"events\":{\"EV_KEY\":1}}", "EV_KEY: expected an array"},
		{HEAD "\"properties\":[],\"events\":{\"EV_KEY\":[30,\"KEY_NOPE\"]}}", "EV_KEY[1]: unknown code"},
		{HEAD "\"properties\":[],\"events\":{\"EV_KEY\":[768]}}", "EV_KEY[0]: unknown code"},
		{HEAD "\"properties\":[],\"events\":{\"EV_KEY\":[-1]}}", "EV_KEY[0]: unknown code"},
		{HEAD "\"properties\":[],\"events\":{\"EV_LED\":[1.5]}}", "EV_LED[0]: unknown code"},
		{HEAD "\"properties\":[],\"events\":{\"EV_ABS\":[\"ABS_X\"]}}", "EV_ABS: "},
		{HEAD "\"properties\":[],\"events\":{\"EV_ABS\":[{\"code\":99,\"min\":0,\"max\":1,\"fuzz\":0,\"flat\":0,\"resolution\":0}]}}", "unknown axis"},
		{HEAD "\"name\":\"twice\",\"properties\":[],\"events\":{}}", "duplicate"},
	};
	struct input_desc desc;
	char err[300];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_file(cases[i].text);
		assert_int_equal(evdev_file_read(&desc, path, err, sizeof(err)), -EINVAL);
		if (!strstr(err, cases[i].want)) {
			fail_msg("%s: %s", cases[i].text, err);
		}
	}
	assert_int_equal(evdev_file_read(&desc, "/nonexistent", err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "/nonexistent"));
}

static int make_path(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_evdev_file_keeps_every_kind),
		cmocka_unit_test(test_evdev_file_keeps_every_code_named_or_not),
		cmocka_unit_test(test_evdev_file_a_name_in_another_encoding_is_written_all_the_same),
		cmocka_unit_test(test_evdev_file_says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, make_path, remove_path);
}
