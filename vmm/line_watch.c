/* SPDX-License-Identifier: MIT */
#include "vmm/line_watch.h"

#include <stdint.h>
#include <string.h>

#include "vmm/clock.h"

static void show(struct line_watch *w, bool done)
{
	loop_timer_stop(&w->show);
	w->line[w->len] = '\0';
	w->fn(w->ctx, w->line, done);
	if (done) {
		w->len = 0;
	}
}

static void on_show(struct loop_timer *timer)
{
	show((struct line_watch *)((char *)timer - offsetof(struct line_watch, show)), false);
}

static void add(struct line_watch *w, char c)
{
	if (w->len == LINE_WATCH_MAX) {
		show(w, false);
		memmove(w->line, w->line + LINE_WATCH_MAX / 2, LINE_WATCH_MAX / 2);
		w->len = LINE_WATCH_MAX / 2;
	}
	w->line[w->len++] = c;
	if (w->show.deadline_ns == 0) {
		loop_timer_set(&w->show, clock_now_ns() + LINE_WATCH_DELAY_NS);
	}
}

/* ECMA-48: ESC, CSI with parameters up to a final byte, and OSC up to BEL or ESC \. */
static void step(struct line_watch *w, uint8_t c)
{
	switch (w->state) {
	case LINE_TEXT:
		if (c == '\n') {
			show(w, true);
		} else if (c == 0x1b) {
			w->state = LINE_ESC;
		} else if (c == '\t' || (c >= ' ' && c != 0x7f)) {
			add(w, (char)c);
		}
		break;
	case LINE_ESC:
		w->state = c == '[' ? LINE_CSI : c == ']' ? LINE_OSC : c >= 0x20 && c < 0x30 ? LINE_ESC : LINE_TEXT;
		break;
	case LINE_CSI:
		if (c >= 0x40 || c < 0x20) {
			w->state = LINE_TEXT;
		}
		break;
	case LINE_OSC:
		/* A newline is in no title: the sequence was cut off. */
		w->state = c == 0x07 || c == '\n' ? LINE_TEXT : c == 0x1b ? LINE_OSC_ESC : LINE_OSC;
		break;
	case LINE_OSC_ESC:
		w->state = LINE_TEXT;
		break;
	}
}

static size_t watch_room(struct stream_sink *k)
{
	(void)k;
	return SIZE_MAX;
}

static void watch_write(struct stream_sink *k, const uint8_t *buf, size_t len)
{
	struct line_watch *w = (struct line_watch *)((char *)k - offsetof(struct line_watch, sink));

	for (size_t i = 0; i < len; i++) {
		step(w, buf[i]);
	}
}

static const struct stream_sink_ops watch_ops = {.room = watch_room, .write = watch_write};

void line_watch_attach(struct line_watch *w, struct loop *loop, struct stream *s, void (*fn)(void *ctx, const char *line, bool done), void *ctx)
{
	*w = (struct line_watch){.fn = fn, .ctx = ctx};
	loop_timer_init(&w->show, loop, on_show);
	stream_attach(s, &w->sink, &watch_ops);
}

void line_watch_detach(struct line_watch *w)
{
	if (!w->fn) {
		return;
	}
	if (w->show.deadline_ns) {
		show(w, false);
	}
	stream_detach(&w->sink);
	w->fn = NULL;
}
