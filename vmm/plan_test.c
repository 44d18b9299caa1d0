/* SPDX-License-Identifier: MIT */
/* What a plan finds that the text of a configuration does not show: disks that are one file, inputs that are one device. */
#include "vmm/plan.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/bootimg.h"
#include "tests/support/evhost.h"

static char dir[] = "/tmp/plan-test-XXXXXX";
static char first[64], second[64], link_to_first[64], kernel[64];

static void make_file(const char *path, const void *bytes, size_t len)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static int setup(void **state)
{
	static uint8_t image[BOOTIMG_MAX], zeros[4096];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(first, sizeof(first), "%s/first", dir);
	snprintf(second, sizeof(second), "%s/second", dir);
	snprintf(link_to_first, sizeof(link_to_first), "%s/link", dir);
	snprintf(kernel, sizeof(kernel), "%s/kernel", dir);
	make_file(first, zeros, sizeof(zeros));
	make_file(second, zeros, sizeof(zeros));
	make_file(kernel, image, bootimg_make_pvh(image));
	assert_int_equal(symlink(first, link_to_first), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(first);
	unlink(second);
	unlink(link_to_first);
	unlink(kernel);
	rmdir(dir);
	return 0;
}

/* Return: mistakes, and what was said about them in @said. */
static int plan(const char *a, const char *a_more, const char *b, const char *b_more, char said[1024])
{
	struct config cfg;
	struct plan made = {.cfg = NULL};
	char text[1024];
	struct config_input in = {.path = "-", .text = text};
	FILE *report = fmemopen(said, 1024, "w");
	int r;

	assert_non_null(report);
	in.text_len = (size_t)snprintf(text, sizeof(text), "[boot]\nkernel = '%s'\n[[disk]]\npath = '%s'\n%s\n[[disk]]\npath = '%s'\n%s\n", kernel, a, a_more,
		b, b_more);
	assert_int_equal(config_load(&cfg, &in, report), 0);
	r = plan_make(&made, &cfg, report);
	plan_finish(&made);
	config_finish(&cfg);
	fclose(report);
	return r;
}

static void test_plan_two_files_are_two_disks(void **state)
{
	char said[1024] = "";

	(void)state;
	assert_int_equal(plan(first, "", second, "", said), 0);
	assert_string_equal(said, "");
}

static void test_plan_one_file_is_not_two_disks_by_any_name(void **state)
{
	char said[1024] = "";

	(void)state;
	assert_int_equal(plan(first, "", first, "", said), 1);
	assert_non_null(strstr(said, "<stdin>:7:8: error: disk.path: "));
	assert_non_null(strstr(said, "is the disk \"disk0\" already"));
	assert_int_equal(plan(first, "", link_to_first, "", said), 1);
	assert_non_null(strstr(said, "is the disk \"disk0\" already"));
	assert_int_equal(plan(first, "readonly = true", link_to_first, "", said), 1);
	assert_int_equal(plan(first, "", link_to_first, "ephemeral = true", said), 1);
}

static void test_plan_readers_may_share_a_file(void **state)
{
	char said[1024] = "";

	(void)state;
	assert_int_equal(plan(first, "readonly = true", link_to_first, "ephemeral = true", said), 0);
	assert_string_equal(said, "");
}

/* Return: mistakes with @log as both logs, and what was said about them. */
static int plan_log(const char *log, bool is_there, char said[1024])
{
	struct config cfg;
	struct plan made = {.cfg = NULL};
	char text[1024];
	struct config_input in = {.path = "-", .text = text};
	FILE *report = fmemopen(said, 1024, "w");
	int r;

	assert_non_null(report);
	in.text_len = (size_t)snprintf(text, sizeof(text), "[boot]\nkernel = '%s'\n[console]\nlog = '%s'\ntype = '%s'\n[serial]\nlog = '%s'\ntype = '%s'\n", kernel,
		log, is_there ? "file" : "none", log, is_there ? "file" : "off");
	if (config_load(&cfg, &in, report) > 0) {
		fclose(report);
		fail_msg("%s", said);
	}
	r = plan_make(&made, &cfg, report);
	plan_finish(&made);
	config_finish(&cfg);
	fclose(report);
	return r;
}

static void test_plan_logs_can_be_written(void **state)
{
	char said[1024] = "", path[80];

	(void)state;
	snprintf(path, sizeof(path), "%s/no/console.log", dir);
	assert_int_equal(plan_log(path, true, said), 2);
	assert_non_null(strstr(said, "<stdin>:4:7: error: console.log: "));
	assert_non_null(strstr(said, "/no: No such file or directory\n<stdin>:7:7: error: serial.log: "));
	snprintf(path, sizeof(path), "%s/first/log", dir);
	assert_int_equal(plan_log(path, true, said), 2);
	assert_non_null(strstr(said, "Not a directory"));
	assert_int_equal(plan_log(dir, true, said), 2);
	assert_non_null(strstr(said, ": Is a directory\n"));
	/* What is not opened is not looked at. */
	assert_int_equal(plan_log(dir, false, said), 0);

	assert_int_equal(plan_log(first, true, said), 0);
	assert_int_equal(plan_log("/dev/null", true, said), 0);
	snprintf(path, sizeof(path), "%s/new.log", dir);
	assert_int_equal(plan_log(path, true, said), 0);
	assert_int_equal(access(path, F_OK), -1); /* nothing was made */
}

/* Beside a kernel that is not there, and beside mistakes that were reported. */
static void test_plan_says_what_is_wrong_with_all_devices(void **state)
{
	static const char *const heads[] = {"[boot]\nkernel = '/no/kernel'\n", "[boot]\nkernel = 0\n", "[boot]\nkernel = '/no/kernel'\n"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char said[1024] = "", text[1024];
		struct plan made = {.cfg = NULL};
		struct config cfg;
		struct config_input in = {.path = "-", .text = text};
		FILE *report = fmemopen(said, sizeof(said), "w");
		int mistakes;

		in.text_len = (size_t)snprintf(text, sizeof(text), "%s[[disk]]\npath = '/no/disk'\n[[disk]]\nname = 'x'\n[[disk]]\npath = '/no/qcow2'\nformat = 'qcow2'\n"
			"[[input]]\ntype = 'evdev'\npath = '/dev/null'\nreserve = 'nokey'\n[[input]]\ntype = 'evdev'\n"
			"[console]\nlog = '/no/console.log'\n[gpu]\nmode = '2d'\n[expect]\nscreen = { image = '/no/picture.png' }\n", heads[i]);
		mistakes = config_load(&cfg, &in, report);
		assert_int_equal(mistakes, 4 + (i == 1));
		/* As check and run do it. */
		mistakes = i == 0 ? plan_make(&made, &cfg, report) : plan_check(&cfg, report);
		fclose(report);
		assert_int_equal(mistakes, 5 - (i == 1));
		assert_true(i == 1 || strstr(said, "<stdin>:2:10: error: kernel /no/kernel: "));
		assert_non_null(strstr(said, "<stdin>:4:8: error: /no/disk: "));
		assert_non_null(strstr(said, "<stdin>:12:8: error: input.path: /dev/null is no input device"));
		assert_non_null(strstr(said, "<stdin>:13:11: error: input.reserve: \"nokey\""));
		assert_non_null(strstr(said, "<stdin>:17:7: error: console.log: "));
		assert_non_null(strstr(said, "<stdin>:21:20: error: expect.screen.image: /no/picture.png: No such file or directory"));
		plan_finish(&made);
		config_finish(&cfg);
	}
}

/* Return: mistakes in these inputs, of type evdev, and what was said about them. */
static int plan_evdevs(const char *a, const char *b, char said[1024])
{
	struct config cfg;
	struct plan made = {.cfg = NULL};
	char text[1024];
	struct config_input in = {.path = "-", .text = text};
	FILE *report;
	int r;

	memset(said, 0, 1024);
	report = fmemopen(said, 1024, "w");
	assert_non_null(report);
	in.text_len = (size_t)snprintf(text, sizeof(text), "[boot]\nkernel = '%s'\n[[input]]\ntype = 'keyboard'\n[[input]]\ntype = 'evdev'\n%s\n[[input]]\ntype = 'evdev'\n%s\n", kernel, a, b);
	assert_int_equal(config_load(&cfg, &in, report), 0);
	r = plan_make(&made, &cfg, report);
	plan_finish(&made);
	config_finish(&cfg);
	fclose(report);
	return r;
}

static int make_host(void **state)
{
	(void)state;
	evhost_init();
	return 0;
}

static int remove_host(void **state)
{
	(void)state;
	evhost_finish();
	return 0;
}

static void test_plan_one_device_is_not_two_inputs_by_any_name(void **state)
{
	char said[1024], node[100], other[100], named[100], by_fd[40], by_node_fd[40], shared[120], both[40];
	struct input_desc desc;
	int fd[2];

	(void)state;
	if (!evhost_is_possible()) {
		skip();
	}
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	evhost_plug("event3", &desc);
	snprintf(desc.name, sizeof(desc.name), "another one");
	evhost_plug("event4", &desc);
	snprintf(node, sizeof(node), "path = '%s/event3'", evhost.dir);
	snprintf(other, sizeof(other), "path = '%s/event4'", evhost.dir);
	snprintf(shared, sizeof(shared), "%s\ngrab = false", node);
	snprintf(named, sizeof(named), "%s/event3", evhost.dir);
	for (unsigned i = 0; i < 2; i++) {
		fd[i] = evdev_host_open(named);
		assert_true(fd[i] > 0);
	}
	snprintf(by_fd, sizeof(by_fd), "fd = %d", fd[0]);
	snprintf(by_node_fd, sizeof(by_node_fd), "fd = %d\ngrab = false", fd[0]);
	snprintf(both, sizeof(both), "fd = %d\ngrab = false", fd[1]);
	snprintf(named, sizeof(named), "%s/link", evhost.root);
	assert_int_equal(symlink("input/event3", named), 0);
	snprintf(named, sizeof(named), "path = '%s/link'", evhost.root);

	assert_int_equal(plan_evdevs(node, other, said), 0);
	assert_string_equal(said, "");
	assert_int_equal(plan_evdevs(node, node, said), 1);
	assert_string_equal(said, "<stdin>:10:8: error: input.path: this device is the input \"evdev0\" already; to share it, both must have grab = false, and a descriptor each\n");
	assert_int_equal(plan_evdevs(node, named, said), 1);
	assert_int_equal(plan_evdevs(node, "match = { name = 'tinyvmm*' }", said), 1);
	assert_non_null(strstr(said, "error: input.match: this device is the input \"evdev0\" already"));
	assert_int_equal(plan_evdevs(node, "match = { name = 'another*' }", said), 0);
	assert_int_equal(plan_evdevs("match = { name = 'another*' }", other, said), 1);
	assert_int_equal(plan_evdevs(node, by_fd, said), 1);
	assert_non_null(strstr(said, "error: input.fd: this device is"));
	/* One that has no grab gets nothing of what another one grabs. */
	assert_int_equal(plan_evdevs(shared, node, said), 1);
	assert_int_equal(plan_evdevs(node, shared, said), 1);
	assert_int_equal(plan_evdevs(shared, shared, said), 0);
	/* Each descriptor has its events, and the same one has them once. */
	assert_int_equal(plan_evdevs(shared, both, said), 0);
	assert_int_equal(plan_evdevs(by_node_fd, both, said), 0);
	assert_int_equal(plan_evdevs(both, both, said), 1);
	/* Not there yet, both. */
	assert_int_equal(plan_evdevs("path = '/no/event5'\nwait = true", "path = '/no/event5'\nwait = true", said), 1);
	assert_int_equal(plan_evdevs("path = '/no/event5'\nwait = true", "path = '/no/event6'\nwait = true", said), 0);
	assert_int_equal(plan_evdevs("path = '/no/event5'\nwait = true", node, said), 0);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plan_two_files_are_two_disks),
		cmocka_unit_test(test_plan_one_file_is_not_two_disks_by_any_name),
		cmocka_unit_test(test_plan_readers_may_share_a_file),
		cmocka_unit_test(test_plan_logs_can_be_written),
		cmocka_unit_test(test_plan_says_what_is_wrong_with_all_devices),
		cmocka_unit_test_setup_teardown(test_plan_one_device_is_not_two_inputs_by_any_name, make_host, remove_host),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
