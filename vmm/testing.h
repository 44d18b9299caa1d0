/* SPDX-License-Identifier: MIT */
/*
 * The verb `test`: boots each VM in a process of its own (`run --expect`), several at once, and reports.
 * Thread: the main thread; nothing here runs a VM.
 */
#ifndef VMM_TESTING_H
#define VMM_TESTING_H

#include "vmm/options.h"

/* The whole verb. Return: an exit code. */
int testing_run(const struct options *o);

#endif
