/* SPDX-License-Identifier: MIT */
/* Each end has one word and one code, and a file that programs can read whatever a guest has said. */
#include "vmm/result.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static const struct config cfg = {.machine = {.name = (char *)"x", .on_reboot = END_EXIT, .on_panic = END_EXIT}};

static void test_result_words_and_codes(void **state)
{
	static const struct {
		enum vm_end end;
		int code, exit;
		const char *reason;
	} ends[] = {
		{VM_END_POWEROFF, 0, 0, "poweroff"}, {VM_END_STOPPED, 0, 0, "stopped"}, {VM_END_PASSED, 0, 0, "passed"},
		{VM_END_FAILED, 0, 1, "failed"}, {VM_END_HOST, 0, 3, "host"}, {VM_END_REBOOT, 0, 10, "reboot"}, {VM_END_PANIC, 0, 11, "panic"},
		{VM_END_EXPECT, 0, 12, "expect"}, {VM_END_TIMEOUT, 0, 124, "timeout"}, {VM_END_HANG, 0, 124, "hang"},
		{VM_END_SIGNAL, 15, 143, "signal"}, {VM_END_EXIT_PORT, 42, 42, "guest"}, {VM_END_EXIT_PORT, 0, 0, "guest"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		const struct vm_result r = {.end = ends[i].end, .code = ends[i].code};

		assert_int_equal(result_exit_code(&r), ends[i].exit);
		assert_string_equal(result_reason(&r), ends[i].reason);
	}
}

static void test_result_restarts(void **state)
{
	struct config restart = cfg;

	(void)state;
	restart.machine.on_reboot = END_RESTART;
	assert_true(result_wants_restart(&(struct vm_result){.end = VM_END_REBOOT}, &restart));
	assert_false(result_wants_restart(&(struct vm_result){.end = VM_END_PANIC}, &restart));
	assert_false(result_wants_restart(&(struct vm_result){.end = VM_END_REBOOT}, &cfg));
	/* What the user asks for does not depend on what the file says about the guest. */
	assert_true(result_wants_restart(&(struct vm_result){.end = VM_END_RESET}, &cfg));
	assert_false(result_wants_restart(&(struct vm_result){.end = VM_END_POWEROFF}, &restart));
}

static void test_result_file_is_whole_and_readable(void **state)
{
	struct vm_result r = {.end = VM_END_PANIC, .text = "Kernel panic - \xff\xfe \"quoted\" \x01", .run_ns = 2500000000, .boot_ns = 1000000,
		.blobs = {.offered = true, .shared = 3, .copied = 4, .pieces_max = 1025}};
	char dir[] = "/tmp/result_test.XXXXXX", path[64], other[72];
	struct stat st;
	json_t *json;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/result.json", dir);
	snprintf(other, sizeof(other), "%s.new", path);
	assert_int_equal(result_write(&r, &cfg, path), 0);
	json = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "reason")), "panic");
	assert_int_equal(json_integer_value(json_object_get(json, "exit")), 11);
	assert_int_equal(json_integer_value(json_object_get(json, "run_ms")), 2500);
	assert_int_equal(json_integer_value(json_object_get(json, "boot_ms")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "blobs"), "shared")), 3);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "blobs"), "copied")), 4);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "blobs"), "pieces_max")), 1025);
	assert_non_null(strstr(json_string_value(json_object_get(json, "panic_line")), "Kernel panic - \xef\xbf\xbd\xef\xbf\xbd \"quoted\""));
	json_decref(json);
	assert_int_equal(stat(other, &st), -1);

	r = (struct vm_result){.end = VM_END_POWEROFF};
	assert_int_equal(result_write(&r, &cfg, path), 0);
	json = json_load_file(path, 0, NULL);
	assert_true(json_is_null(json_object_get(json, "panic_line")));
	assert_true(json_is_null(json_object_get(json, "boot_ms")));
	assert_true(json_is_null(json_object_get(json, "blobs")));
	json_decref(json);
	unlink(path);
	rmdir(dir);
	assert_true(result_write(&r, &cfg, path) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_result_words_and_codes),
		cmocka_unit_test(test_result_restarts),
		cmocka_unit_test(test_result_file_is_whole_and_readable),
	};

	return cmocka_run_group_tests_name("result", tests, NULL, NULL);
}
