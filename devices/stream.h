/* SPDX-License-Identifier: MIT */
/*
 * A stream of characters between one guest device (serial port, virtio-console) and whatever shows
 * it: the terminal, a log file, later a client of the control socket.
 *
 *   device --stream_write--> stream --write--> every sink        (many readers)
 *   device <-----input------ stream <--stream_input-- one sink   (the one who types)
 *
 * Nothing is lost and nothing is buffered here: a stream takes as many bytes as its fullest sink
 * has room for, the device keeps the rest and is told (output_ready) when there is room again; a
 * device takes as many bytes of input as it has room for, the sink keeps the rest and is told
 * (input_ready). A sink that must not hold up the guest reports endless room and drops by itself.
 *
 * The stream remembers the end of what went through it, for the report about a VM that ended badly.
 *
 * Thread: the loop that owns the device, for everything here.
 */
#ifndef DEVICES_STREAM_H
#define DEVICES_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define STREAM_TAIL_MAX   8192 /* bytes remembered */
#define STREAM_TAIL_LINES 20   /* lines of them that a person wants to see */

struct stream;
struct stream_sink;

/* The device's side. output_ready and input are required. */
struct stream_ops {
	/* A sink has room again after stream_write took less than it was given; or stream_pull. */
	void (*output_ready)(struct stream *s);
	/* Bytes for the guest. Return: how many it took; when less, call stream_input_ready later.
	 */
	size_t (*input)(struct stream *s, const uint8_t *buf, size_t len);
	/* A break condition for the guest (system request). NULL: the device knows none. */
	void (*send_break)(struct stream *s);
	/* What shows the stream has this many columns and rows now. NULL: the device has no size.
	 */
	void (*resize)(struct stream *s, uint16_t cols, uint16_t rows);
};

struct stream_sink_ops {
	/* Bytes that write will take at once; SIZE_MAX: any number. */
	size_t (*room)(struct stream_sink *k);
	/* @len is never more than room() said. */
	void (*write)(struct stream_sink *k, const uint8_t *buf, size_t len);
	/* The device takes input again. NULL: this sink gives none. */
	void (*input_ready)(struct stream_sink *k);
	/* The stream was opened or closed. NULL: does not matter to this sink. */
	void (*open_changed)(struct stream_sink *k);
};

/* Embedded in its owner. */
struct stream_sink {
	const struct stream_sink_ops *ops;
	struct stream *stream; /* NULL while not attached */
	struct stream_sink *next;
};

struct stream {
	const char *name; /* "serial", "console" */
	const struct stream_ops *ops;
	bool open;    /* the guest uses it; a closed stream still passes bytes on */
	bool starved; /* the device waits for output_ready */
	struct stream_sink *sinks;
	uint64_t tail_total;           /* bytes ever written */
	uint8_t tail[STREAM_TAIL_MAX]; /* byte number n lies at n % STREAM_TAIL_MAX */
};

/* Asserts the contract of @ops. A stream owns nothing, so there is no finish; sinks detach first.
 */
void stream_init(struct stream *s, const char *name, const struct stream_ops *ops);

void stream_attach(struct stream *s, struct stream_sink *k, const struct stream_sink_ops *ops);
void stream_detach(struct stream_sink *k); /* does nothing when it is not attached */

/*
 * For devices.
 */

/* Bytes that stream_write would take now. A device that gets 0 here is called back too. */
size_t stream_room(struct stream *s);
/* Passes bytes to every sink. Return: how many were taken; less than @len: output_ready follows. */
size_t stream_write(struct stream *s, const uint8_t *buf, size_t len);
/* The guest started or stopped using the device. */
void stream_set_open(struct stream *s, bool open);
/* The device takes input again. */
void stream_input_ready(struct stream *s);

/*
 * For sinks.
 */

/* The sink has room again. May call write of the same sink before it returns. */
void stream_sink_ready(struct stream_sink *k);
/* Asks the device to pass on now what it may be collecting. */
void stream_pull(struct stream_sink *k);
/* Bytes for the guest. Return: how many the device took; less than @len: input_ready follows. */
size_t stream_input(struct stream_sink *k, const uint8_t *buf, size_t len);
/* Return: false when the device knows no break. */
bool stream_send_break(struct stream_sink *k);
void stream_resize(struct stream_sink *k, uint16_t cols, uint16_t rows);

/**
 * stream_print_tail - print the last @lines lines that went through, as far as they are remembered
 *
 * Terminal control sequences and other control characters are left out, what is not ASCII is '?',
 * so guest text cannot act on the terminal it is printed on. Every line ends in a newline; an empty
 * stream prints nothing.
 */
void stream_print_tail(const struct stream *s, FILE *out, unsigned lines);

#endif
