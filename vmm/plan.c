/* SPDX-License-Identifier: MIT */
#include "vmm/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define MIB ((uint64_t)0x100000)

/* True when one of the command line's words starts with @name, as in "console=". */
static bool has_word(const char *cmdline, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = strstr(cmdline, name); p; p = strstr(p + len, name)) {
		if (p == cmdline || p[-1] == ' ') {
			return true;
		}
	}
	return false;
}

static int append_word(char *buf, size_t len, const char *word)
{
	size_t used = strlen(buf);
	int n = snprintf(buf + used, len - used, "%s%s", used ? " " : "", word);

	return (size_t)n < len - used ? 0 : -E2BIG;
}

int plan_cmdline(const struct config *cfg, enum boot_kind kind, char *buf, size_t len)
{
	const char *given = cfg->boot.cmdline ? cfg->boot.cmdline : "";
	bool has_console = has_word(given, "console=");
	int r;

	buf[0] = '\0';
	r = given[0] ? append_word(buf, len, given) : 0;
	if (r < 0 || !cfg->boot.auto_cmdline || kind == BOOT_MULTIBOOT) {
		return r;
	}
	if (!has_console && cfg->serial.type != CONSOLE_NONE) {
		r = append_word(buf, len, "console=ttyS0");
	}
	/* The last console is the one /dev/console stands for. */
	if (r == 0 && !has_console && cfg->console.type != CONSOLE_NONE) {
		r = append_word(buf, len, "console=hvc0");
	}
	/* A kernel that has panicked resets at once instead of spinning: so a panic ends the VM even where the guest has no pvpanic driver. */
	if (r == 0 && !has_word(given, "panic=")) {
		r = append_word(buf, len, "panic=-1");
	}
	return r;
}

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
	if (plan_cmdline(cfg, plan->image.kind, plan->cmdline, sizeof(plan->cmdline)) < 0) {
		mistake(report, &mistakes, "boot.cmdline is longer than %d bytes together with what boot.auto_cmdline adds", X86_CMDLINE_MAX);
	}
	return mistakes;
}

void plan_finish(struct plan *plan)
{
	boot_close(&plan->image);
}
