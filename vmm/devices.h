/* SPDX-License-Identifier: MIT */
/*
 * `tinyvmm devices`: the host's input devices, whether we may use them, and what to write into vm.toml for each.
 * Thread: the main thread.
 */
#ifndef VMM_DEVICES_H
#define VMM_DEVICES_H

#include "vmm/options.h"

/* Return: an exit code. */
int devices_run(const struct options *o);

#endif
