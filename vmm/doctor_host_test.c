/* SPDX-License-Identifier: MIT */
/* The lines of `tinyvmm doctor` on hosts that are folders: what is there, what is not, and what does not open. And all of them here. */
#include "vmm/doctor_host.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "devices/gpu_node.h"
#include "vmm/doctor.h"

static char root[] = "/tmp/doctor-test-XXXXXX";

static int set_up(void **state)
{
	(void)state;
	strcpy(root + strlen(root) - 6, "XXXXXX");
	assert_non_null(mkdtemp(root));
	return 0;
}

static int tear_down(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static void full_path(const char *path, char full[PATH_MAX])
{
	char *slash;

	snprintf(full, PATH_MAX, "%s%s", root, path);
	for (slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
}

static void add_file(const char *path, const char *text)
{
	char full[PATH_MAX];
	FILE *f;

	full_path(path, full);
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* Something of that name that cannot be opened, not even by root. */
static void add_closed(const char *path)
{
	char full[PATH_MAX];

	full_path(path, full);
	assert_int_equal(symlink(full, full), 0);
}

static void drop(const char *path)
{
	char full[PATH_MAX];

	full_path(path, full);
	assert_int_equal(unlink(full), 0);
}

static void expect(void (*check)(const char *root, struct doctor_finding *f), enum doctor_level level, const char *text)
{
	struct doctor_finding f = {.level = DOCTOR_OK};

	check(root, &f);
	if (f.level != level || !strstr(f.text, text)) {
		fail_msg("level %d, want %d: %s, want: %s", (int)f.level, (int)level, f.text, text);
	}
}

static void test_doctor_evdev_counts_what_opens(void **state)
{
	(void)state;
	expect(doctor_evdev, DOCTOR_OK, "no input devices");
	add_file("/dev/input/event0", "");
	add_file("/dev/input/event10", "");
	add_file("/dev/input/mice", "");
	expect(doctor_evdev, DOCTOR_OK, "all 2 input devices");
	add_closed("/dev/input/event3");
	expect(doctor_evdev, DOCTOR_WARN, "2 of 3 input devices may be passed to a guest, the others: Too many levels of symbolic links: docs/");
}

static void test_doctor_uinput(void **state)
{
	(void)state;
	expect(doctor_uinput, DOCTOR_WARN, "modprobe uinput");
	add_closed("/dev/uinput");
	expect(doctor_uinput, DOCTOR_WARN, "docs/passing-a-device.md");
}

static void test_doctor_uinput_that_opens(void **state)
{
	(void)state;
	add_file("/dev/uinput", "");
	expect(doctor_uinput, DOCTOR_OK, "/dev/uinput, for");
}

static bool read_driver(int fd, char *driver, size_t len)
{
	ssize_t n = read(fd, driver, len - 1);

	driver[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* Nodes are files, each with its driver's name in it. */
static void nodes_of_root(const char *path, struct doctor_finding *f)
{
	char folder[64];
	const struct gpu_node_host host = {.folder = folder, .driver = read_driver};

	snprintf(folder, sizeof(folder), "%s/dev/dri", path);
	doctor_nodes(&host, f);
}

/* What is asked is what "auto" asks: not the first number that there is. */
static void test_doctor_render_node_that_auto_tries_first(void **state)
{
	(void)state;
	expect(nodes_of_root, DOCTOR_OK, "no render node of a GPU in /tmp/");
	add_file("/dev/dri/renderD128", "vgem");
	expect(nodes_of_root, DOCTOR_OK, "no render node of a GPU in /tmp/");
	add_closed("/dev/dri/renderD132");
	expect(nodes_of_root, DOCTOR_WARN, "renderD132: Too many levels of symbolic links");
	drop("/dev/dri/renderD132");
	add_file("/dev/dri/renderD129", "virtio_gpu");
	expect(nodes_of_root, DOCTOR_OK, "/dev/dri/renderD129, driver virtio_gpu");
	add_file("/dev/dri/renderD130", "amdgpu");
	expect(nodes_of_root, DOCTOR_OK, "/dev/dri/renderD130, driver amdgpu; if it does not draw, /tmp/");
	expect(nodes_of_root, DOCTOR_OK, "/dev/dri/renderD129, driver virtio_gpu");
	add_closed("/dev/dri/renderD131");
	expect(nodes_of_root, DOCTOR_WARN, "/dev/dri/renderD130, driver amdgpu; if");
	expect(nodes_of_root, DOCTOR_WARN, "driver virtio_gpu; not /tmp/");
	expect(nodes_of_root, DOCTOR_WARN, "/dev/dri/renderD131: Too many levels of symbolic links");
}

static void test_doctor_udmabuf(void **state)
{
	(void)state;
	expect(doctor_udmabuf, DOCTOR_OK, "modprobe udmabuf");
	add_closed("/dev/udmabuf");
	expect(doctor_udmabuf, DOCTOR_WARN, "usermod");
}

static void test_doctor_hugepages(void **state)
{
	(void)state;
	expect(doctor_hugepages, DOCTOR_WARN, "echo madvise");
	add_file("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
	expect(doctor_hugepages, DOCTOR_WARN, "echo madvise");
	add_file("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
	expect(doctor_hugepages, DOCTOR_OK, "always [madvise] never; reserved and free pages of 2 MiB: 0");
	add_file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "512\n");
	expect(doctor_hugepages, DOCTOR_OK, "2 MiB: 512");
}

static void test_doctor_run_folder(void **state)
{
	(void)state;
	setenv("XDG_RUNTIME_DIR", "/run/me", 1);
	expect(doctor_run_folder, DOCTOR_FAIL, "No such file or directory: set XDG_RUNTIME_DIR");
	add_file("/run/me", "a file");
	expect(doctor_run_folder, DOCTOR_FAIL, "is not for you to write");
	add_file("/run/you/file", "");
	setenv("XDG_RUNTIME_DIR", "/run/you", 1);
	expect(doctor_run_folder, DOCTOR_OK, "/run/you/tinyvmm");
	/* As rundir_take has it: not an absolute path, not set. */
	add_file("/tmp/file", "");
	setenv("XDG_RUNTIME_DIR", "run", 1);
	expect(doctor_run_folder, DOCTOR_OK, "/tmp/tinyvmm-");
	unsetenv("XDG_RUNTIME_DIR");
	expect(doctor_run_folder, DOCTOR_OK, "/tmp/tinyvmm-");
}

static void test_doctor_kvm_that_is_none(void **state)
{
	(void)state;
	expect(doctor_kvm_options, DOCTOR_WARN, "not known");
	add_file("/dev/kvm", "");
	expect(doctor_kvm_options, DOCTOR_WARN, "not known");
}

static void test_doctor_library_that_is_not_there(void **state)
{
	struct doctor_finding f = {.level = DOCTOR_OK};

	(void)state;
	doctor_library("libnothing.so.7", "wonders", "libnothing7", &f);
	assert_int_equal(f.level, DOCTOR_WARN);
	assert_string_equal(f.text, "libnothing.so.7 cannot be loaded, so there are no wonders: apt-get install libnothing7");
	doctor_library("libc.so.6", "everything", "libc6", &f);
	assert_int_equal(f.level, DOCTOR_OK);
}

/* What this host has: every check says one line, with a name of its own, and FAILs are counted. */
static void test_doctor_one_line_each(void **state)
{
	char *text = NULL, *names[32], *line, *rest;
	size_t len, n = 0;
	FILE *f = open_memstream(&text, &len);
	int fails = doctor_run(DOCTOR_NEED_ALL, true, f), seen = 0;

	(void)state;
	fclose(f);
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
		const char *check, *result, *said;

		assert_int_equal(json_unpack(object, "{s:s, s:s, s:s!}", "check", &check, "result", &result, "text", &said), 0);
		assert_true(strlen(said) > 0);
		seen += strcmp(result, "FAIL") == 0;
		assert_true(strcmp(result, "FAIL") == 0 || strcmp(result, "warn") == 0 || strcmp(result, "ok") == 0);
		for (size_t i = 0; i < n; i++) {
			assert_string_not_equal(names[i], check);
		}
		assert_true(n < 32);
		names[n++] = strdup(check);
		json_decref(object);
	}
	assert_int_equal(seen, fails);
	assert_int_equal(n, 15);
	while (n > 0) {
		free(names[--n]);
	}
	free(text);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_doctor_evdev_counts_what_opens),
		T(test_doctor_uinput),
		T(test_doctor_uinput_that_opens),
		T(test_doctor_render_node_that_auto_tries_first),
		T(test_doctor_udmabuf),
		T(test_doctor_hugepages),
		T(test_doctor_run_folder),
		T(test_doctor_kvm_that_is_none),
		T(test_doctor_library_that_is_not_there),
		T(test_doctor_one_line_each),
	};

	return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}
