/* SPDX-License-Identifier: MIT */
/*
 * One viewer that is shown a display's pictures: the sending half of the viewer protocol (viewer_proto.h, docs/display-protocol.md).
 *
 *   display -> [what is new] -> socket, as fast as it is read
 *
 * What waits for a slow reader is not messages but that something is new: a mode, a cursor, a frame of each scanout, a buffer that is gone. So nothing here grows, and what is
 * sent is always how things are now. At most one frame of a scanout is with the viewer; the next one is taken when it releases that one, and what came in between was
 * replaced. A viewer whose socket stays full for VIEWER_OUT_PATIENCE_NS is lost.
 *
 * A picture that a GPU has drawn goes to a viewer that can import it as dma-bufs. Whether one can is its list of formats against each picture's: it is sent copies in memory from the first on that it could
 * not import, until it says another list. One that is to say its list yet is sent no picture before it has, or VIEWER_OUT_IMPORTS_NS have passed: nothing is read back for a window that then takes dma-bufs. The viewer that controls may be sent what the guest draws in, without a copy, where its list has that.
 *
 * The socket is somebody else's, who reads it and may send messages of its own.
 *
 * Thread: the display's loop, except where noted.
 */
#ifndef DISPLAY_VIEWER_OUT_H
#define DISPLAY_VIEWER_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "display/display.h"
#include "display/viewer_proto.h"
#include "vmm/loop.h"

#define VIEWER_OUT_BUFFERS 64 /* announced at a time; then the one that was used longest ago is taken back */
#define VIEWER_OUT_PATIENCE_NS 5000000000u
#define VIEWER_OUT_SETTLE_NS 150000000u /* a window that is dragged larger asks for many sizes; the guest hears of the last */
#define VIEWER_OUT_IMPORTS_NS 3000000000u /* a window has been opened by then, and what draws it has been asked */
#define VIEWER_OUT_SAMPLES 256
#define VIEWER_OUT_STAMPS 256

struct viewer_out_ops {
	/* Nothing more is sent. @reason: why, or 0 when the other side is gone. Once. */
	void (*lost)(void *ctx, enum viewer_bye_reason reason, const char *text);
};

/* The last VIEWER_OUT_SAMPLES of something, in microseconds. Written by one thread; may be read by any (atomic). */
struct viewer_out_samples {
	uint32_t us[VIEWER_OUT_SAMPLES];
	uint64_t n; /* all there were */
};

/* Written by the display's loop; may be read by any thread (atomic). */
struct viewer_out_counters {
	uint64_t sent, released, presented, replaced; /* frames */
	uint64_t buffers; /* announced */
	uint64_t copied_bytes; /* of guest memory, for a viewer that takes none */
	uint64_t dmabufs; /* of the frames sent, those in dma-bufs on a GPU */
	uint64_t directs; /* of those, what the guest drew in, and no copy */
	struct viewer_out_samples release; /* from the flush to the viewer's release */
	struct viewer_out_samples input; /* from an input event, by the viewer's time in it, to the sending of the next frame */
	struct viewer_out_samples ready; /* from the flush to where the picture is there to be taken */
	struct viewer_out_samples present; /* from the flush to where the viewer says that it was presented */
	struct viewer_out_samples answer; /* the whole way: from an input event, by the viewer's time in it, to where the viewer says that the next frame was presented */
};

/* When what happened to a frame. CLOCK_MONOTONIC; 0: not, or not yet. Members may be read by any thread (atomic). */
struct viewer_out_stamps {
	uint64_t number, scanout, kind; /* enum viewer_kind; 0: what the guest drew in */
	uint64_t input_ns; /* the last input event that the guest had got before, by the viewer's time in it */
	uint64_t flushed_ns, ready_ns, sent_ns, released_ns;
	uint64_t presented_ns; /* by the viewer's word, but not before it was sent, nor later than it said so */
};

/* What a viewer can import. One allocation. */
struct viewer_formats {
	unsigned n; /* 1 to VIEWER_FORMATS_MAX */
	struct viewer_format at[];
};

/* How the last picture it was sent came to it. Written by the display's loop; may be read by any thread (atomic). */
struct viewer_out_way {
	uint32_t kind; /* enum viewer_kind; 0: none was sent */
	uint32_t scanout; /* which it was of */
	uint32_t is_direct; /* what the guest drew in, and no copy */
	uint32_t is_unlike; /* it takes dma-bufs, but not like the one that fourcc and so on say */
	uint32_t fourcc, nplanes; /* of the last dma-buf that there was for it */
	uint64_t modifier;
};

struct viewer_out_scanout {
	bool is_mode_new, is_image_new, is_cursor_new;
	enum { VIEWER_OUT_NONE, VIEWER_OUT_TAKEN, VIEWER_OUT_SENT } state; /* of frame: nothing, still to be sent, with the viewer */
	struct display_frame frame;
	uint64_t last; /* number of the last frame that was sent */
	uint32_t mode_width, mode_height; /* as the viewer was told */
	uint64_t shown; /* width << 32 | height, as it was told, 0 while unplugged; may be read by any thread (atomic) */
	/* Guest memory for a viewer that takes none: what it is sent is copied in here. NULL: not needed. */
	struct display_buffer *copy;
	uint8_t *copy_map;
	bool has_output;
	struct viewer_output output; /* what it asked for last */
};

struct viewer_out_buffer {
	uint64_t id; /* as the viewer was told; 0: the place is free */
	uint64_t buffer; /* the display's number */
	uint64_t used;
	bool is_gone; /* and it is to be told */
};

/* Embedded in its owner. */
struct viewer_out {
	struct display *display; /* NULL: not there */
	int fd; /* a copy of the one that was lent */
	const struct viewer_out_ops *ops;
	void *ctx;
	struct display_sink sink;
	struct loop_source room; /* added while the socket is full */
	struct loop_timer patience, settle, imports_due;
	bool takes_guest; /* pictures that are guest memory: VIEWER_CAN_GUEST */
	struct viewer_formats *imports; /* freed here; NULL: it takes no dma-bufs on a GPU */
	bool awaits_imports; /* what those are it says later */
	bool is_lost, is_pumping;
	uint64_t last_id, uses;
	struct viewer_out_scanout at[DISPLAY_SCANOUTS_MAX];
	struct viewer_out_buffer buffer[VIEWER_OUT_BUFFERS];
	uint64_t input_ns, given_ns; /* of the last event, atomic */
	struct viewer_out_counters counters;
	struct viewer_out_way way;
	struct viewer_out_stamps stamps[VIEWER_OUT_STAMPS]; /* of the last frames; a ring */
	uint64_t nstamps; /* all there were; the one that is written now is behind them. May be read by any thread (atomic) */
};

/* Begins: modes, cursors and frames leave at once. The hello has been sent. @v: zeroed memory, but for takes_guest, imports and awaits_imports. @fd: borrowed. */
void viewer_out_init(struct viewer_out *v, struct display *display, int fd, const struct viewer_out_ops *ops, void *ctx);
void viewer_out_finish(struct viewer_out *v); /* accepts zeroed memory */

/* Messages from the viewer, which viewer_in_parse has found possible. One that is not here makes it lost. */
void viewer_out_release(struct viewer_out *v, unsigned scanout, uint64_t number);
void viewer_out_presented(struct viewer_out *v, unsigned scanout, uint64_t number, uint64_t presented_ns);
void viewer_out_output(struct viewer_out *v, const struct viewer_output *output);
/* @imports: what it can import from now on, NULL: nothing; becomes @v's, or is freed. */
void viewer_out_imports(struct viewer_out *v, struct viewer_formats *imports);

/* The guest's devices have been given an event that the viewer sent at @input_ns. Thread: any. */
void viewer_out_input(struct viewer_out *v, uint64_t input_ns);

/* Of the @n-th frame that was sent, from 0. Return: false when there is none yet, or it is too long ago. Thread: any. */
bool viewer_out_stamps(const struct viewer_out *v, uint64_t n, struct viewer_out_stamps *stamps);

/* 50th, 90th, 99th of a hundred. Return: false when there are none. Thread: any. */
bool viewer_out_percentiles(const struct viewer_out_samples *s, uint32_t us[3]);

#endif
