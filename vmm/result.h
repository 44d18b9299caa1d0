/* SPDX-License-Identifier: MIT */
/*
 * How a VM ended, as people and programs read it: exit code, the word for it, and result.json.
 * Thread: the main thread.
 */
#ifndef VMM_RESULT_H
#define VMM_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/config.h"
#include "vmm/vm.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_HOST = 3,
	EXIT_NO_VM = 4,
	EXIT_REBOOT = 10,
	EXIT_PANIC = 11,
	EXIT_EXPECT = 12,
	EXIT_TIMEOUT = 124,
	EXIT_SIGNAL = 128,
};

int result_exit_code(const struct vm_result *result);
/* "poweroff", "stopped", "reboot", "panic", ... */
const char *result_reason(const struct vm_result *result);
/* Whether the guest is to be started again. */
bool result_wants_restart(const struct vm_result *result, const struct config *cfg);

/**
 * result_write - write result.json, whole or not at all
 * @path: of the file; "PATH.new" is used on the way
 * Return: 0 or -errno.
 */
int result_write(const struct vm_result *result, const struct config *cfg, const char *path);

#endif
