/* SPDX-License-Identifier: MIT */
/*
 * Messages for the person who runs tinyvmm: one line each on stderr, `tinyvmm: error: ...`.
 * Host failures are logged once, where they happen, with log_errno(); everyone above just returns
 * the error. What a guest does wrong goes through log_guest(), which a guest cannot flood.
 *
 * Thread: any, for every function here.
 */
#ifndef VMM_LOG_H
#define VMM_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Messages above @level are dropped. Initially LOG_WARN. */
void log_set_level(enum log_level level);

/* Two functions a terminal owner installs so that a message on a raw terminal does not smear: they run
 * before and after each line is written. NULL removes them. */
void log_set_brackets(void (*before)(void), void (*after)(void));

/* Every line of LOG_INFO and above, whatever the level is, goes to this descriptor too, up to LOG_FILE_MAX bytes of them; -1: nowhere else. It stays the caller's. */
#define LOG_FILE_MAX (1u << 20)
void log_set_file(int fd);

/* Tests see every line here instead of stderr. NULL restores stderr. */
void log_set_hook(void (*hook)(enum log_level level, const char *line));

/* Replaces everything in a text that came from elsewhere that a terminal would act on, line breaks too. */
void log_make_printable(char *s);

void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Appends ": " and the text of @err (positive or negative errno). */
void log_errno(enum log_level level, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* One allowance of lines per guest-facing object; zeroed memory is a full allowance. */
struct log_limit {
	uint64_t window_ns;  /* start of the current window, loop_now_ns() */
	uint32_t written;    /* lines written in this window */
	uint32_t suppressed; /* lines swallowed since the last written one */
	uint64_t total;      /* all calls, for counters */
};

/* At most this many lines a second from one log_limit; the next line after a pause says how many were dropped. */
#define LOG_GUEST_LINES_PER_SECOND 5

/**
 * log_guest - report guest misbehaviour (a warning), rate-limited
 * @limit: the object's allowance; concurrent callers may lose a count, never write out of bounds
 * @who: log prefix, e.g. the device's name
 */
void log_guest(struct log_limit *limit, const char *who, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
