/* SPDX-License-Identifier: MIT */
/* Which device a path, a match or a descriptor means, and what is said when it means none. */
#include "vmm/evdev_find.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
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

static struct config_input_device config;
static char err[512];
static char path[128];
static unsigned keyboard;

static struct input_desc describe(const char *name, uint16_t vendor, uint16_t product)
{
	struct input_desc desc;

	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	snprintf(desc.name, sizeof(desc.name), "%s", name);
	desc.bustype = BUS_USB;
	desc.vendor = vendor;
	desc.product = product;
	return desc;
}

static unsigned plug(const char *node, const char *name, uint16_t vendor, uint16_t product)
{
	struct input_desc desc = describe(name, vendor, product);

	return evhost_plug(node, &desc);
}

static int setup(void **state)
{
	(void)state;
	evhost_init();
	memset(&config, 0, sizeof(config));
	memset(err, 0, sizeof(err));
	keyboard = plug("event3", "ACME Keyboard", 0x046d, 0xc31c);
	snprintf(path, sizeof(path), "%s/event3", evhost.dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	evhost_finish();
	return 0;
}

static int find(void)
{
	int fd = evdev_find(&config, err, sizeof(err));

	assert_true(memchr(err, '\0', sizeof(err)) != NULL);
	return fd;
}

/* What @fd is, and that it does not block, nor goes to programs that are started. */
static void expect_found(int fd, const char *name)
{
	struct input_desc desc;

	assert_true(fd >= 3);
	assert_int_equal(evdev_find_desc(&config, fd, &desc, err, sizeof(err)), 0);
	assert_string_equal(desc.name, name);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

static void expect_refused(int want, const char *said)
{
	assert_int_equal(find(), want);
	assert_non_null(strstr(err, said));
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++) {
		n += fcntl(fd, F_GETFD) >= 0;
	}
	return n;
}

static void test_evdev_find_by_path(void **state)
{
	char link[160];

	(void)state;
	config.path = path;
	expect_found(find(), "ACME Keyboard");
	snprintf(link, sizeof(link), "%s/desk", evhost.root);
	assert_int_equal(symlink(path, link), 0);
	config.path = link;
	expect_found(find(), "ACME Keyboard");
	evhost_unplug(keyboard);
	expect_refused(-ENODEV, "desk: No such file");
}

static void test_evdev_find_by_path_what_is_no_device(void **state)
{
	int before = open_descriptors();
	char file[160];

	(void)state;
	snprintf(file, sizeof(file), "%s/file", evhost.root);
	assert_int_equal(mknod(file, S_IFREG | 0600, 0), 0);
	config.path = file;
	expect_refused(-EINVAL, "file is no input device: see tinyvmm devices");
	snprintf(file, sizeof(file), "%s/file/event0", evhost.root);
	expect_refused(-ENOTDIR, "Not a directory");
	config.path = evhost.dir;
	expect_refused(-EISDIR, "Is a directory");
	assert_int_equal(open_descriptors(), before);
}

/* Not for want of the device: waiting for it would not help, but a rule of udev's does. */
static void test_evdev_find_by_path_without_access(void **state)
{
	char folder[160], file[200];
	uid_t uid = geteuid();
	int r;

	(void)state;
	snprintf(folder, sizeof(folder), "%s/other", evhost.root);
	snprintf(file, sizeof(file), "%s/event0", folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(mknod(file, S_IFREG, 0), 0);
	assert_int_equal(chmod(evhost.root, 0711), 0);
	assert_int_equal(chmod(folder, 0711), 0);
	config.path = file;
	if (uid == 0 && seteuid(65534) < 0) {
		skip();
	}
	r = find();
	assert_int_equal(seteuid(uid), 0);
	assert_int_equal(r, -EACCES);
	assert_non_null(strstr(err, "event0: Permission denied: give yourself access to this one device by a udev rule (TAG+=\"uaccess\")"));
}

static void test_evdev_find_by_match(void **state)
{
	struct config_match match = {.name = (char *)"*Key*"};

	(void)state;
	config.match = &match;
	plug("event12", "ACME Mouse", 0x046d, 0xc077);
	expect_found(find(), "ACME Keyboard");
	match.name = NULL;
	match.vendor = 0x046d;
	match.product = 0xc077;
	expect_found(find(), "ACME Mouse");
}

/* Whoever wants to know what to write instead is told. */
static void test_evdev_find_by_match_says_what_there_is(void **state)
{
	struct config_match match = {.name = (char *)"*Tablet*"};

	(void)state;
	config.match = &match;
	plug("event12", "ACME Mouse", 0x046d, 0xc077);
	expect_refused(-ENODEV, "no input device matches; there are: ");
	assert_non_null(strstr(err, "/event3 \"ACME Keyboard\", "));
	assert_non_null(strstr(err, "/event12 \"ACME Mouse\""));
	match.name = (char *)"ACME*";
	plug("event20", "Other", 1, 1);
	expect_refused(-EEXIST, "2 input devices match: ");
	assert_non_null(strstr(err, "/event3 \"ACME Keyboard\", "));
	assert_null(strstr(err, "Other"));
}

static void test_evdev_find_by_match_where_there_is_none(void **state)
{
	struct config_match match = {.name = (char *)"*"};

	(void)state;
	config.match = &match;
	evhost_unplug(keyboard);
	expect_refused(-ENODEV, "no input device matches; there is none");
	evhost_remove_dir();
	expect_refused(-ENODEV, "no input device matches; there is none");
	evhost_make_dir();
}

/* Our own keyboard of reserved keys, which a pattern would mean too. */
static void test_evdev_find_by_match_no_twin(void **state)
{
	struct config_match match = {.name = (char *)"*ACME*"};
	struct input_desc twin = describe(EVDEV_TWIN_NAME "ACME Keyboard", 1, 1);

	(void)state;
	config.match = &match;
	twin.bustype = BUS_VIRTUAL;
	evhost_plug("event4", &twin);
	expect_found(find(), "ACME Keyboard");
}

/* More of them than a line has room for. */
static void test_evdev_find_by_match_cuts_what_it_says(void **state)
{
	struct config_match match = {.name = (char *)"nothing"};
	char node[16];

	(void)state;
	config.match = &match;
	for (unsigned i = 10; i < 40; i++) {
		snprintf(node, sizeof(node), "event%u", i);
		plug(node, "a name that is as long as a name of a device of the host can be", 1, 1);
	}
	expect_refused(-ENODEV, "no input device matches; there are: ");
	match.name = (char *)"a name*";
	expect_refused(-EEXIST, "30 input devices match: ");
}

static void test_evdev_find_by_descriptor(void **state)
{
	int given = open(path, O_RDWR | O_NOCTTY), before = open_descriptors(), file, fd;

	(void)state;
	assert_true(given >= 0);
	config.fd = (unsigned)given;
	fd = find();
	/* A copy: the one that was given stays what a restart needs, and programs that are started do not get it. */
	assert_int_not_equal(fd, given);
	expect_found(fd, "ACME Keyboard");
	assert_true(fcntl(given, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(open_descriptors(), before);
	evhost_unplug(keyboard);
	before = open_descriptors();
	expect_refused(-ENODEV, "the device of descriptor");
	file = open("/dev/null", O_RDWR);
	config.fd = (unsigned)file;
	expect_refused(-EINVAL, "is no input device");
	close(file);
	expect_refused(-EINVAL, "is not open");
	assert_int_equal(open_descriptors(), before);
	close(given);
}

static void test_evdev_find_desc_is_the_devices_or_the_saved_one(void **state)
{
	struct input_desc desc;
	char file[160];
	FILE *f;

	(void)state;
	snprintf(file, sizeof(file), "%s/saved.json", evhost.root);
	config.description = file;
	assert_int_equal(evdev_find_desc(&config, -1, &desc, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "saved.json"));
	f = fopen(file, "we");
	assert_non_null(f);
	desc = describe("saved", 1, 2);
	assert_int_equal(evdev_file_write(&desc, f), 0);
	fclose(f);
	memset(&desc, 0, sizeof(desc));
	assert_int_equal(evdev_find_desc(&config, -1, &desc, err, sizeof(err)), 0);
	assert_string_equal(desc.name, "saved");
	assert_int_equal(desc.product, 2);
	/* The device itself knows better. */
	config.path = path;
	expect_found(find(), "ACME Keyboard");
}

static void test_evdev_find_needs_pseudo_terminals(void **state)
{
	(void)state;
	skip();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_evdev_find_by_path),
		T(test_evdev_find_by_path_what_is_no_device),
		T(test_evdev_find_by_path_without_access),
		T(test_evdev_find_by_match),
		T(test_evdev_find_by_match_says_what_there_is),
		T(test_evdev_find_by_match_where_there_is_none),
		T(test_evdev_find_by_match_no_twin),
		T(test_evdev_find_by_match_cuts_what_it_says),
		T(test_evdev_find_by_descriptor),
		T(test_evdev_find_desc_is_the_devices_or_the_saved_one),
	};
	static const struct CMUnitTest none[] = {cmocka_unit_test(test_evdev_find_needs_pseudo_terminals)};

	return evhost_is_possible() ? cmocka_run_group_tests(tests, NULL, NULL) : cmocka_run_group_tests(none, NULL, NULL);
}
