/* SPDX-License-Identifier: MIT */
/*
 * When what happened on the way from exec to the guest's init, for `tinyvmm run --trace=boot`: a line for each mark, in the order of time. A mark costs a look at one flag when nobody asks.
 *
 * What the guest does is seen by what it does to its devices. Its init is seen where the kernel says so on a console ("Run /init as init process"); otherwise the drivers that init loads and
 * the first words it says are the nearest thing.
 *
 * Thread: any, except where it says.
 */
#ifndef VMM_BOOT_TRACE_H
#define VMM_BOOT_TRACE_H

#include <stdio.h>

#include "devices/stream.h"

#define BOOT_TRACE_MAX 96 /* marks; what comes later is only counted */

/* The first thing a program does: the time that all others count from. Main thread. */
void boot_trace_begin(void);
/* Marks are kept from here on. Main thread. */
void boot_trace_enable(void);

void boot_trace_mark(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What is said on a stream is looked at: its first byte, and the kernel's line about init. Does nothing when marks are not kept. On the stream's loop. */
struct boot_trace_sink {
	struct stream_sink sink;
	bool has_spoken, has_init;
	char line[160]; /* what has come of it */
	size_t len;
};
void boot_trace_watch(struct boot_trace_sink *k, struct stream *s);

/* Prints them, when there are any, and forgets them. Main thread, without others. */
void boot_trace_print(FILE *out);

#endif
