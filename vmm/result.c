/* SPDX-License-Identifier: MIT */
#include "vmm/result.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/json_text.h"

int result_exit_code(const struct vm_result *result)
{
	switch (result->end) {
	case VM_END_POWEROFF:
	case VM_END_STOPPED:
	case VM_END_PASSED:
		return EXIT_OK;
	case VM_END_HOST:
		return EXIT_HOST;
	case VM_END_REBOOT:
	case VM_END_RESET:
		return EXIT_REBOOT;
	case VM_END_PANIC:
		return EXIT_PANIC;
	case VM_END_EXPECT:
		return EXIT_EXPECT;
	case VM_END_TIMEOUT:
	case VM_END_HANG:
		return EXIT_TIMEOUT;
	case VM_END_EXIT_PORT:
		return result->code;
	case VM_END_SIGNAL:
		return EXIT_SIGNAL + result->code;
	default:
		return EXIT_FAILED;
	}
}

const char *result_reason(const struct vm_result *result)
{
	static const char *const words[] = {
		[VM_END_NONE] = "failed",
		[VM_END_POWEROFF] = "poweroff",
		[VM_END_STOPPED] = "stopped",
		[VM_END_REBOOT] = "reboot",
		[VM_END_RESET] = "reset",
		[VM_END_PANIC] = "panic",
		[VM_END_TIMEOUT] = "timeout",
		[VM_END_HANG] = "hang",
		[VM_END_EXIT_PORT] = "guest",
		[VM_END_SIGNAL] = "signal",
		[VM_END_PASSED] = "passed",
		[VM_END_EXPECT] = "expect",
		[VM_END_HOST] = "host",
		[VM_END_FAILED] = "failed",
	};

	return words[result->end];
}

bool result_wants_restart(const struct vm_result *result, const struct config *cfg)
{
	return result->end == VM_END_RESET || (result->end == VM_END_REBOOT && cfg->machine.on_reboot == END_RESTART) ||
		(result->end == VM_END_PANIC && cfg->machine.on_panic == END_RESTART);
}

int result_write(const struct vm_result *result, const struct config *cfg, const char *path)
{
	json_t *object = json_pack("{s:s, s:s, s:i, s:o}", "name", cfg->machine.name, "reason", result_reason(result), "exit",
		result_exit_code(result), "text", json_text(result->text, sizeof(result->text)));
	char new_path[PATH_MAX + 8];
	int fd, r = 0;

	json_object_set_new(object, "run_ms", json_integer((json_int_t)(result->run_ns / (uint64_t)CLOCK_NS_PER_MS)));
	json_object_set_new(object, "boot_ms", result->boot_ns ? json_integer((json_int_t)(result->boot_ns / (uint64_t)CLOCK_NS_PER_MS)) : json_null());
	json_object_set_new(object, "first_frame_ms", result->first_frame_ns ? json_integer((json_int_t)(result->first_frame_ns / (uint64_t)CLOCK_NS_PER_MS)) : json_null());
	json_object_set_new(object, "blobs", !result->blobs.offered ? json_null() :
		json_pack("{s:I, s:I, s:I}", "shared", (json_int_t)result->blobs.shared, "copied", (json_int_t)result->blobs.copied, "pieces_max", (json_int_t)result->blobs.pieces_max));
	json_object_set_new(object, "screen", result->screen[0] ? json_text(result->screen, sizeof(result->screen)) : json_null());
	json_object_set_new(object, "panic_line", result->end == VM_END_PANIC && result->text[0] ? json_text(result->text, sizeof(result->text)) : json_null());
	snprintf(new_path, sizeof(new_path), "%s.new", path);
	fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || json_dumpfd(object, fd, JSON_INDENT(1)) < 0 || write(fd, "\n", 1) != 1 || rename(new_path, path) < 0) {
		r = -errno;
		unlink(new_path);
	}
	if (fd >= 0) {
		close(fd);
	}
	json_decref(object);
	return r;
}
