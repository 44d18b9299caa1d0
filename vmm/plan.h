/* SPDX-License-Identifier: MIT */
/*
 * What `run` is about to start: the checked configuration, the opened kernel and initrds, and the final command line.
 * `check` makes a plan and throws it away, so it finds everything that can be known before /dev/kvm is opened.
 *
 * Thread: the main thread.
 */
#ifndef VMM_PLAN_H
#define VMM_PLAN_H

#include <stdio.h>

#include "boot/boot.h"
#include "boot/x86_layout.h"
#include "vmm/config.h"

struct plan {
	const struct config *cfg; /* borrowed */
	struct boot_image image;
	char cmdline[X86_CMDLINE_MAX + 1];
	struct disk *disk[CONFIG_DISKS_MAX]; /* opened and locked, without an engine; NULL: the VM has taken it */
};

/**
 * plan_make - open and check everything the configuration names, disks with their locks
 * @report: gets one line for each mistake
 * Return: 0, or the number of mistakes.
 */
int plan_make(struct plan *plan, const struct config *cfg, FILE *report);
/* The same for a configuration that has mistakes, which were reported; nothing stays open. It need not have a kernel. */
int plan_check(const struct config *cfg, FILE *report);
void plan_finish(struct plan *plan); /* accepts zeroed memory */

#endif
