/* SPDX-License-Identifier: MIT */
/* Passing bytes on, as many as the fullest sink has room for, and remembering the last of them. */
#include "devices/stream.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

void stream_init(struct stream *s, const char *name, const struct stream_ops *ops)
{
	assert(name && ops->output_ready && ops->input);
	/* Not the tail: that is memory nobody may ever need. */
	memset(s, 0, offsetof(struct stream, tail));
	s->name = name;
	s->ops = ops;
}

void stream_attach(struct stream *s, struct stream_sink *k, const struct stream_sink_ops *ops)
{
	assert(!k->stream && ops->room && ops->write);
	*k = (struct stream_sink){.ops = ops, .stream = s, .next = s->sinks};
	s->sinks = k;
}

static void wake_device(struct stream *s)
{
	if (s->starved && stream_room(s) > 0) {
		s->starved = false;
		s->ops->output_ready(s);
	}
}

void stream_detach(struct stream_sink *k)
{
	struct stream *s = k->stream;
	struct stream_sink **p;

	if (!s) {
		return;
	}
	for (p = &s->sinks; *p != k; p = &(*p)->next) {
	}
	*p = k->next;
	k->stream = NULL;
	/* It may have been the one that had no room. */
	wake_device(s);
}

size_t stream_room(struct stream *s)
{
	size_t room = SIZE_MAX;

	for (struct stream_sink *k = s->sinks; k; k = k->next) {
		size_t r = k->ops->room(k);

		room = r < room ? r : room;
	}
	if (room == 0) {
		s->starved = true;
	}
	return room;
}

static void remember(struct stream *s, const uint8_t *buf, size_t len)
{
	if (len > STREAM_TAIL_MAX) {
		s->tail_total += len - STREAM_TAIL_MAX;
		buf += len - STREAM_TAIL_MAX;
		len = STREAM_TAIL_MAX;
	}
	while (len > 0) {
		size_t at = s->tail_total % STREAM_TAIL_MAX;
		size_t n = STREAM_TAIL_MAX - at < len ? STREAM_TAIL_MAX - at : len;

		memcpy(s->tail + at, buf, n);
		s->tail_total += n;
		buf += n;
		len -= n;
	}
}

size_t stream_write(struct stream *s, const uint8_t *buf, size_t len)
{
	size_t room = stream_room(s);
	size_t n = len < room ? len : room;

	s->starved = n < len;
	if (n == 0) {
		return 0;
	}
	for (struct stream_sink *k = s->sinks; k; k = k->next) {
		k->ops->write(k, buf, n);
	}
	remember(s, buf, n);
	return n;
}

void stream_set_open(struct stream *s, bool open)
{
	if (s->open == open) {
		return;
	}
	s->open = open;
	for (struct stream_sink *k = s->sinks; k; k = k->next) {
		if (k->ops->open_changed) {
			k->ops->open_changed(k);
		}
	}
}

void stream_input_ready(struct stream *s)
{
	for (struct stream_sink *k = s->sinks; k; k = k->next) {
		if (k->ops->input_ready) {
			k->ops->input_ready(k);
		}
	}
}

void stream_sink_ready(struct stream_sink *k)
{
	if (k->stream) {
		wake_device(k->stream);
	}
}

void stream_pull(struct stream_sink *k)
{
	k->stream->ops->output_ready(k->stream);
}

size_t stream_input(struct stream_sink *k, const uint8_t *buf, size_t len)
{
	size_t n = k->stream->ops->input(k->stream, buf, len);

	assert(n <= len);
	return n;
}

bool stream_send_break(struct stream_sink *k)
{
	if (!k->stream->ops->send_break) {
		return false;
	}
	k->stream->ops->send_break(k->stream);
	return true;
}

void stream_resize(struct stream_sink *k, uint16_t cols, uint16_t rows)
{
	if (k->stream->ops->resize) {
		k->stream->ops->resize(k->stream, cols, rows);
	}
}

/* Where the last STREAM_TAIL_LINES lines start; a newline at the very end starts no line. */
static uint64_t tail_start(const struct stream *s, unsigned lines)
{
	uint64_t oldest = s->tail_total > STREAM_TAIL_MAX ? s->tail_total - STREAM_TAIL_MAX : 0;
	unsigned seen = 0;

	for (uint64_t i = s->tail_total; i > oldest; i--) {
		if (s->tail[(i - 1) % STREAM_TAIL_MAX] == '\n' && i < s->tail_total &&
			++seen == lines) {
			return i;
		}
	}
	return oldest;
}

/*
 * What is left of a byte once control sequences are taken out: the byte, or 0 for nothing.
 * @escape: 0 in text, 1 after ESC, 2 in a sequence of parameters, 3 in a string (title, clipboard)
 */
static uint8_t plain_byte(int *escape, uint8_t b)
{
	if (b == 0x1b) {
		*escape = 1;
		return 0;
	}
	if (*escape == 0 || b == '\n') {
		*escape = 0;
		if (b >= 0x80) {
			/* U+0080 to U+009F are control characters to some terminals. */
			return '?';
		}
		return b == '\n' || b == '\t' || (b >= ' ' && b != 0x7f) ? b : 0;
	}
	if (*escape == 1) {
		*escape = b == '[' ? 2 : b == ']' || b == 'P' ? 3 : b >= 0x20 && b < 0x30 ? 1 : 0;
	} else if (*escape == 2) {
		*escape = b >= 0x40 && b <= 0x7e ? 0 : 2;
	} else {
		*escape = b == 0x07 ? 0 : 3;
	}
	return 0;
}

void stream_print_tail(const struct stream *s, FILE *out, unsigned lines)
{
	int escape = 0;
	uint8_t last = '\n';

	for (uint64_t i = tail_start(s, lines); i < s->tail_total; i++) {
		uint8_t b = plain_byte(&escape, s->tail[i % STREAM_TAIL_MAX]);

		if (b != 0) {
			fputc(b, out);
			last = b;
		}
	}
	if (last != '\n') {
		fputc('\n', out);
	}
}
