/* SPDX-License-Identifier: MIT */
#include "vmm/cmdline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot/x86_layout.h"
#include "vmm/rootfs.h"

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

/* Where the words for init begin, which the kernel does not look at: at a word "--", or at the end. */
static size_t kernel_len(const char *cmdline)
{
	const char *p;

	for (p = strstr(cmdline, "--"); p; p = strstr(p + 2, "--")) {
		if ((p == cmdline || p[-1] == ' ') && (p[2] == ' ' || p[2] == '\0')) {
			return (size_t)(p - cmdline);
		}
	}
	return strlen(cmdline);
}

static int append_word(char *buf, size_t len, const char *word)
{
	size_t used = strlen(buf);
	int n = snprintf(buf + used, len - used, "%s%s", used ? " " : "", word);

	return (size_t)n < len - used ? 0 : -E2BIG;
}

/* root=, and what the kernel needs to mount it. The disks are vda, vdb, ... in their order. */
static int append_root(const struct config *cfg, const char *given, char *buf, size_t len)
{
	for (unsigned i = 0; i < cfg->ndisks; i++) {
		const struct config_disk *d = &cfg->disk[i];
		const char *type = d->root ? rootfs_type(d->path) : NULL;
		char word[64];
		int r;

		if (!d->root || has_word(given, "root=")) {
			continue;
		}
		snprintf(word, sizeof(word), "root=/dev/vd%c %s", 'a' + (char)i, d->readonly ? "ro" : "rw");
		r = append_word(buf, len, word);
		if (r == 0 && type && !has_word(given, "rootfstype=")) {
			snprintf(word, sizeof(word), "rootfstype=%s", type);
			r = append_word(buf, len, word);
		}
		return r;
	}
	return 0;
}

/* What is missing in @given, appended to @buf. */
static int append_missing(const struct config *cfg, const char *given, char *buf, size_t len)
{
	bool has_console = has_word(given, "console=");
	int r = 0;

	/* What the kernel says is on the screen too: a panic above all. */
	if (!has_console && cfg->gpu.mode != GPU_OFF) {
		r = append_word(buf, len, "console=tty0");
	}
	if (r == 0 && !has_console && cfg->serial.type != CONSOLE_NONE) {
		r = append_word(buf, len, "console=ttyS0");
	}
	/* The last console is the one /dev/console stands for. */
	if (r == 0 && !has_console && cfg->console.type != CONSOLE_NONE) {
		r = append_word(buf, len, "console=hvc0");
	}
	if (r == 0) {
		r = append_root(cfg, given, buf, len);
	}
	/* There is none, and looking for it costs Linux half of all the exits of its boot. */
	if (r == 0 && !has_word(given, "pci=")) {
		r = append_word(buf, len, "pci=off");
	}
	/* A kernel that has panicked resets at once instead of spinning: so a panic ends the VM even where the guest has no pvpanic driver. */
	if (r == 0 && !has_word(given, "panic=")) {
		r = append_word(buf, len, "panic=-1");
	}
	return r;
}

int cmdline_make(const struct config *cfg, enum boot_kind kind, char *buf, size_t len)
{
	const char *given = cfg->boot.cmdline ? cfg->boot.cmdline : "";
	char kernel[X86_CMDLINE_MAX + 1];
	size_t n = cfg->boot.auto_cmdline && kind != BOOT_MULTIBOOT ? kernel_len(given) : strlen(given);
	int r;

	buf[0] = '\0';
	if (n >= sizeof(kernel)) {
		return -E2BIG;
	}
	memcpy(kernel, given, n);
	/* Without the space in front of "--". */
	kernel[n > 0 && given[n] && kernel[n - 1] == ' ' ? n - 1 : n] = '\0';
	r = kernel[0] ? append_word(buf, len, kernel) : 0;
	if (r == 0 && cfg->boot.auto_cmdline && kind != BOOT_MULTIBOOT) {
		r = append_missing(cfg, kernel, buf, len);
	}
	return r == 0 && given[n] ? append_word(buf, len, given + n) : r;
}
