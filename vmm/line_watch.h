/* SPDX-License-Identifier: MIT */
/*
 * A stream's output as lines of text, for whoever looks for patterns in it: terminal escape sequences, carriage returns and other
 * control characters are left out.
 *
 * A line that is not finished is shown too, a moment after its last change, because a prompt has no newline. A guest that never ends a line
 * cannot make it grow: beyond LINE_WATCH_MAX the older half is let go. Patterns therefore see at least LINE_WATCH_MAX / 2 characters around them.
 *
 * Thread: the stream's loop.
 */
#ifndef VMM_LINE_WATCH_H
#define VMM_LINE_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "devices/stream.h"
#include "vmm/loop.h"

#define LINE_WATCH_MAX 2048 /* characters */
#define LINE_WATCH_DELAY_NS 10000000ull /* after which an unfinished line is shown */

struct line_watch {
	struct stream_sink sink;
	struct loop_timer show;
	enum { LINE_TEXT, LINE_ESC, LINE_CSI, LINE_OSC, LINE_OSC_ESC } state;
	size_t len;
	char line[LINE_WATCH_MAX + 1];
	/* @done: the newline has come. The same line may be shown several times before that, longer each time. */
	void (*fn)(void *ctx, const char *line, bool done);
	void *ctx;
};

void line_watch_attach(struct line_watch *w, struct loop *loop, struct stream *s, void (*fn)(void *ctx, const char *line, bool done), void *ctx);
/* Shows what is there of the last line. Accepts zeroed memory. */
void line_watch_detach(struct line_watch *w);

#endif
