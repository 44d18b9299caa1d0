/* SPDX-License-Identifier: MIT */
#include "vmm/cmdline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

int cmdline_make(const struct config *cfg, enum boot_kind kind, char *buf, size_t len)
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
