/* SPDX-License-Identifier: MIT */
/* What `tinyvmm devices` says of the host's devices. */
#include "vmm/devices.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/evhost.h"
#include "vmm/evdev_file.h"
#include "vmm/log.h"
#include "vmm/result.h"

static struct options options;
static char said[8192], logged[600];

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	snprintf(logged, sizeof(logged), "%s", line);
}

static int setup(void **state)
{
	(void)state;
	evhost_init();
	log_set_hook(on_log);
	memset(&options, 0, sizeof(options));
	logged[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	evhost_finish();
	log_set_hook(NULL);
	return 0;
}

/* Return: its exit code; what it prints is in said. */
static int run(void)
{
	FILE *f = tmpfile();
	int out = dup(STDOUT_FILENO), code;
	size_t n;

	assert_non_null(f);
	assert_true(out >= 0);
	fflush(stdout);
	dup2(fileno(f), STDOUT_FILENO);
	code = devices_run(&options);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	close(out);
	rewind(f);
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = '\0';
	fclose(f);
	return code;
}

/* Whether a line of what was said ends in @rest, which follows the path of @node. */
static void expect_line(const char *begin, const char *node, const char *rest)
{
	char line[300];

	snprintf(line, sizeof(line), "\n%s%s/%s%s\n", begin, evhost.dir, node, rest);
	assert_non_null(strstr(said, line));
}

static void test_devices_lists_them(void **state)
{
	struct input_desc desc;

	(void)state;
	for (enum input_kind kind = INPUT_KEYBOARD; kind < INPUT_EVDEV; kind++) {
		static const char *const nodes[] = {"event0", "event1", "event2", "event10"};

		input_desc_make(&desc, kind, 0);
		desc.vendor = 0x046d;
		desc.product = (uint16_t)(0xc300 + kind);
		evhost_plug(nodes[kind], &desc);
	}
	assert_int_equal(run(), EXIT_OK);
	assert_memory_equal(said, "ACCESS ", 7);
	expect_line("yes      keyboard     046d:c300 ", "event0", " \"tinyvmm keyboard\"");
	expect_line("yes      mouse        046d:c301 ", "event1", " \"tinyvmm mouse\"");
	expect_line("yes      tablet       046d:c302 ", "event2", " \"tinyvmm tablet\"");
	expect_line("yes      touch screen 046d:c303 ", "event10", " \"tinyvmm multitouch\"");
	assert_true(strstr(said, "/event2 ") < strstr(said, "/event10 "));
	assert_string_equal(logged, "");
}

/* As QEMU's USB tablet is: three buttons, a place, a wheel. A place without buttons is a sensor's, one without a left button a joystick's. */
static void test_devices_a_pointer_with_a_place_is_a_tablet(void **state)
{
	struct input_desc desc = {.name = "QEMU QEMU USB Tablet"};

	(void)state;
	input_desc_add(&desc, EV_ABS, ABS_X);
	input_desc_add(&desc, EV_ABS, ABS_Y);
	evhost_plug("event0", &desc);
	input_desc_add(&desc, EV_KEY, BTN_TRIGGER);
	evhost_plug("event1", &desc);
	memset(desc.bits[EV_KEY], 0, sizeof(desc.bits[EV_KEY]));
	input_desc_add(&desc, EV_KEY, BTN_LEFT);
	input_desc_add(&desc, EV_KEY, BTN_RIGHT);
	input_desc_add(&desc, EV_KEY, BTN_MIDDLE);
	input_desc_add(&desc, EV_REL, REL_WHEEL);
	evhost_plug("event2", &desc);
	assert_int_equal(run(), EXIT_OK);
	expect_line("yes      other        0000:0000 ", "event0", " \"QEMU QEMU USB Tablet\"");
	expect_line("yes      joystick     0000:0000 ", "event1", " \"QEMU QEMU USB Tablet\"");
	expect_line("yes      tablet       0000:0000 ", "event2", " \"QEMU QEMU USB Tablet\"");
}

/* They are there, and what to do about it is said. */
static void test_devices_lists_what_cannot_be_opened(void **state)
{
	struct input_desc desc;
	unsigned n;

	(void)state;
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	desc.vendor = 0x1234;
	desc.product = 0xabcd;
	n = evhost_plug("event3", &desc);
	evhost.device[n].describe_error = -EACCES;
	assert_int_equal(run(), EXIT_OK);
	expect_line("no       ?            1234:abcd ", "event3", " \"tinyvmm keyboard\"");
	assert_non_null(strstr(logged, "no access to 1 of them: give yourself one by a udev rule"));
}

/* A device names itself, and a terminal would do what the name says. */
static void test_devices_names_are_no_commands(void **state)
{
	struct input_desc desc;
	json_t *object;

	(void)state;
	input_desc_make(&desc, INPUT_MOUSE, 0);
	snprintf(desc.name, sizeof(desc.name), "a\033]0;b\007\177c");
	evhost_plug("event3", &desc);
	assert_int_equal(run(), EXIT_OK);
	assert_non_null(strstr(said, " \"a?]0;b??c\"\n"));
	options.json = true;
	assert_int_equal(run(), EXIT_OK);
	assert_null(strchr(said, '\033'));
	object = json_loads(said, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(object, "name")), desc.name);
	json_decref(object);
}

static void test_devices_as_json(void **state)
{
	struct input_desc desc;
	const char *path, *kind, *name;
	int access, vendor;
	json_t *object;
	unsigned n;
	char *next;

	(void)state;
	input_desc_make(&desc, INPUT_MOUSE, 0);
	desc.vendor = 0xffff;
	evhost_plug("event3", &desc);
	n = evhost_plug("event4", &desc);
	evhost.device[n].describe_error = -EPERM;
	options.json = true;
	assert_int_equal(run(), EXIT_OK);
	/* An object a line, and no hints between them. */
	assert_string_equal(logged, "");
	next = strchr(said, '\n');
	assert_non_null(next);
	*next++ = '\0';
	for (unsigned i = 0; i < 2; i++) {
		object = json_loads(i ? next : said, 0, NULL);
		assert_int_equal(json_unpack(object, "{s:s, s:b, s:s, s:s, s:i}", "path", &path, "access", &access, "kind", &kind, "name", &name, "vendor", &vendor), 0);
		assert_string_equal(strrchr(path, '/'), i ? "/event4" : "/event3");
		assert_int_equal(access, i == 0);
		assert_string_equal(kind, i ? "unknown" : "mouse");
		assert_string_equal(name, "tinyvmm mouse");
		assert_int_equal(vendor, 0xffff);
		assert_null(json_object_get(object, "by_id"));
		json_decref(object);
	}
}

static void test_devices_where_there_are_none(void **state)
{
	(void)state;
	assert_int_equal(run(), EXIT_OK);
	assert_string_equal(said, "");
	assert_non_null(strstr(logged, "this host has no input devices in "));
	options.json = true;
	logged[0] = '\0';
	assert_int_equal(run(), EXIT_OK);
	assert_string_equal(said, "");
	assert_string_equal(logged, "");
}

/* What is printed is what vm.toml's description reads. */
static void test_devices_describes_one(void **state)
{
	struct input_desc desc, again;
	char path[128], file[128], err[200];
	FILE *f;

	(void)state;
	input_desc_make(&desc, INPUT_MULTITOUCH, 0);
	evhost_plug("event3", &desc);
	snprintf(path, sizeof(path), "%s/event3", evhost.dir);
	options.describe = path;
	assert_int_equal(run(), EXIT_OK);
	snprintf(file, sizeof(file), "%s/saved", evhost.root);
	f = fopen(file, "we");
	assert_non_null(f);
	fputs(said, f);
	fclose(f);
	memset(&again, 0, sizeof(again));
	assert_int_equal(evdev_file_read(&again, file, err, sizeof(err)), 0);
	assert_memory_equal(&again, &desc, sizeof(again));
	options.describe = file;
	assert_int_equal(run(), EXIT_USAGE);
	assert_string_equal(said, "");
	assert_non_null(strstr(logged, "saved is no input device: see tinyvmm devices"));
	snprintf(path, sizeof(path), "%s/event4", evhost.dir);
	options.describe = path;
	assert_int_equal(run(), EXIT_USAGE);
	assert_non_null(strstr(logged, "event4: No such file"));
}

static void test_devices_needs_pseudo_terminals(void **state)
{
	(void)state;
	skip();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_devices_lists_them),
		T(test_devices_a_pointer_with_a_place_is_a_tablet),
		T(test_devices_lists_what_cannot_be_opened),
		T(test_devices_names_are_no_commands),
		T(test_devices_as_json),
		T(test_devices_where_there_are_none),
		T(test_devices_describes_one),
	};
	static const struct CMUnitTest none[] = {cmocka_unit_test(test_devices_needs_pseudo_terminals)};

	return evhost_is_possible() ? cmocka_run_group_tests(tests, NULL, NULL) : cmocka_run_group_tests(none, NULL, NULL);
}
