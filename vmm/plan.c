/* SPDX-License-Identifier: MIT */
#include "vmm/plan.h"

#include <inttypes.h>
#include <stdarg.h>

#include "vmm/cmdline.h"

#define MIB ((uint64_t)0x100000)

static void __attribute__((format(printf, 3, 4))) mistake(FILE *report, int *mistakes, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(report, "tinyvmm: error: ");
	vfprintf(report, fmt, ap);
	fputc('\n', report);
	va_end(ap);
	(*mistakes)++;
}

int plan_make(struct plan *plan, const struct config *cfg, FILE *report)
{
	const char *const *initrds = (const char *const *)cfg->boot.initrd;
	char err[512];
	int mistakes = 0;

	*plan = (struct plan){.cfg = cfg};
	if (boot_open(&plan->image, cfg->boot.kernel, initrds, cfg->boot.ninitrds, err, sizeof(err)) < 0) {
		mistake(report, &mistakes, "%s", err);
		return mistakes;
	}
	if (cfg->machine.memory < plan->image.memory_min) {
		mistake(report, &mistakes, "machine.memory is %" PRIu64 "M, but %s needs at least %" PRIu64 "M", cfg->machine.memory / MIB,
			cfg->boot.kernel, (plan->image.memory_min + MIB - 1) / MIB);
	}
	if (cmdline_make(cfg, plan->image.kind, plan->cmdline, sizeof(plan->cmdline)) < 0) {
		mistake(report, &mistakes, "boot.cmdline is longer than %d bytes together with what boot.auto_cmdline adds", X86_CMDLINE_MAX);
	}
	return mistakes;
}

void plan_finish(struct plan *plan)
{
	boot_close(&plan->image);
}
