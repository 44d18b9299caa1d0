/* SPDX-License-Identifier: MIT */
/*
 * The verb `test`: boots each VM in a process of its own (`run --expect`), several at once, and reports.
 * Thread: the main thread; nothing here runs a VM.
 */
#ifndef VMM_TESTING_H
#define VMM_TESTING_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/options.h"
#include "vmm/test_report.h"

/* The whole verb. Return: an exit code. */
int testing_run(const struct options *o);

/*
 * Whether a VM that may take @needed bytes fits into @memory beside those of the @n @cases that run. One alone always does: it is tried, and the
 * host says no.
 */
bool testing_fits(const struct test_case *cases, unsigned n, uint64_t needed, uint64_t memory);

#endif
