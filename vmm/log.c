/* SPDX-License-Identifier: MIT */
/* One line at a time to stderr, formatted into a fixed buffer so that no caller can allocate. */
#include "vmm/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/clock.h"

static enum log_level log_level = LOG_WARN;
static void (*log_before)(void);
static void (*log_after)(void);
static int log_file = -1;
static size_t log_file_used;
static void (*log_hook)(enum log_level level, const char *line);

static const char *const log_prefix[] = {
	[LOG_ERR] = "error: ",
	[LOG_WARN] = "warning: ",
	[LOG_INFO] = "",
	[LOG_DEBUG] = "debug: ",
};

void log_set_level(enum log_level level)
{
	log_level = level;
}

void log_set_brackets(void (*before)(void), void (*after)(void))
{
	log_before = before;
	log_after = after;
}

void log_set_file(int fd)
{
	log_file = fd;
	log_file_used = 0;
}

void log_set_hook(void (*hook)(enum log_level level, const char *line))
{
	log_hook = hook;
}

void log_make_printable(char *s)
{
	for (; *s != '\0'; s++) {
		/* 0xc2 0x80 to 0xc2 0x9f: control characters too, in UTF-8. */
		if ((unsigned char)*s == 0xc2 && ((unsigned char)s[1] & 0xe0) == 0x80) {
			*s++ = '?';
			*s = '?';
		} else if ((unsigned char)*s < ' ' || *s == 0x7f) {
			*s = '?';
		}
	}
}

static void write_line(enum log_level level, const char *text)
{
	char line[1200];
	int n;

	if (log_hook) {
		if (level <= log_level) {
			log_hook(level, text);
		}
		return;
	}
	n = snprintf(line, sizeof(line), "tinyvmm: %s%s\n", log_prefix[level], text);
	if (n >= (int)sizeof(line)) {
		n = (int)sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	/* Threads may each see room for their own line: the limit is about, not exact. */
	if (log_file >= 0 && level <= LOG_INFO && __atomic_fetch_add(&log_file_used, (size_t)n, __ATOMIC_RELAXED) < LOG_FILE_MAX &&
		write(log_file, line, (size_t)n) < 0) {
		errno = 0;
	}
	if (level > log_level) {
		return;
	}
	if (log_before) {
		log_before();
	}
	/* A closed stderr is no reason to stop a VM. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0) {
		errno = 0;
	}
	if (log_after) {
		log_after();
	}
}

static void __attribute__((format(printf, 4, 0)))
vlog(enum log_level level, int err, const char *who, const char *fmt, va_list ap)
{
	char text[1024];
	size_t used = 0;

	if (level > log_level && (log_file < 0 || level > LOG_INFO)) {
		return;
	}
	if (who) {
		used = (size_t)snprintf(text, 64, "%.60s: ", who);
	}
	vsnprintf(text + used, sizeof(text) - used, fmt, ap);
	if (err != 0) {
		used = strlen(text);
		snprintf(text + used, sizeof(text) - used, ": %s", strerror(err < 0 ? -err : err));
	}
	/* Guest text may reach a message. */
	log_make_printable(text);
	write_line(level, text);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(level, 0, NULL, fmt, ap);
	va_end(ap);
}

void log_errno(enum log_level level, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(level, err, NULL, fmt, ap);
	va_end(ap);
}

void log_guest(struct log_limit *limit, const char *who, const char *fmt, ...)
{
	uint64_t now = clock_now_ns();
	va_list ap;

	limit->total++;
	if (limit->window_ns == 0 || now - limit->window_ns >= 1000000000u) {
		limit->window_ns = now;
		limit->written = 0;
	}
	if (limit->written >= LOG_GUEST_LINES_PER_SECOND) {
		limit->suppressed++;
		return;
	}
	limit->written++;
	if (limit->suppressed > 0) {
		log_msg(LOG_WARN, "%s: %u messages about the guest dropped", who, limit->suppressed);
		limit->suppressed = 0;
	}
	va_start(ap, fmt);
	vlog(LOG_WARN, 0, who, fmt, ap);
	va_end(ap);
}
