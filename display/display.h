/* SPDX-License-Identifier: MIT */
/*
 * Where pictures go: what stands between the graphics device and everything that looks at its pictures.
 *
 *   device -> display_show, display_flush, display_set_cursor -> [scanouts] -> sinks: viewers, screenshots
 *   device <- display_output, display_edid, changed() <- display_set_output <- whoever wants another size
 *
 * An output is a monitor the guest is told about: plugged in or not, its size, what its EDID says. A scanout is what the guest shows on it: a rectangle
 * (crop) of a buffer, and a cursor. Several scanouts may show one buffer.
 *
 * A flush publishes: it says which part of the picture has changed, and from then on there is a frame to take. A sink takes it when it is ready; of all frames that came in between it
 * gets the newest, with everything that changed since it last took one. So a slow sink misses frames, and neither the guest nor another sink waits for it.
 *
 * What a sink maps is the memory the guest's resource is in, so there is no copy between. What may it see there?
 *   - A picture whose guest flips between resources does not change while it is shown. Whoever looks at it for longer may see it being painted again.
 *   - A picture that is painted in place changes while one looks: a reader in another thread or process may see a transfer half done.
 *   - A picture that is guest memory (is_guest) changes when the guest paints, flushed or not, and while one looks. A driver that flips between two does not paint what is shown.
 *   - On the display's loop no transfer is half done: what is read there (a screenshot) has the whole of each command the device has answered and nothing of the next one. That
 *     may be more than what was flushed.
 *
 * A picture that a GPU has drawn would have to be read back for those who map it. A sink that can take pictures where they are drawn (takes_copies) gets copies of it instead that the device has the GPU make,
 * one of each flush, or of several when it makes fewer: each is published when it is all there, and nothing is painted in it while somebody has a reference to it. What such a sink takes is never half
 * drawn, and nothing is read back unless others look.
 *
 * The one of them that paces, below, may instead get what the guest has drawn in, without a copy (is_direct): the device offers it each picture when it is all there, and sees to it that the guest does not draw
 * there again while it is on offer or somebody has a reference to it. Others never hold up a guest, so they get none.
 *
 * One of the sinks may pace: a device that wants to be told when a flush has been seen holds its answer (display_hold) until that sink has seen a frame with it, and no longer than
 * DISPLAY_HOLD_NS. A sink that misses that is late there: nothing of that scanout is held until it has seen a frame of it again. Without such a sink nothing is ever held.
 *
 * Thread: the display's loop, which is its device's, except where noted.
 */
#ifndef DISPLAY_DISPLAY_H
#define DISPLAY_DISPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "display/buffer.h"
#include "display/damage.h"
#include "display/edid.h"
#include "vmm/loop.h"

#define DISPLAY_SCANOUTS_MAX 16
#define DISPLAY_SIZE_MAX 16384 /* pixels, of an output and of a picture */
#define DISPLAY_CURSOR_SIZE 64 /* pixels, both ways */
#define DISPLAY_HOLD_NS 40000000u /* Linux waits 50 ms for the answer to a flush */
#define DISPLAY_PROMPT_NS 20000000u /* a frame that is let go of so soon after it was taken holds up nobody */

struct display_output {
	bool enabled; /* plugged in */
	uint32_t width, height; /* the preferred mode: pixels, 1 to DISPLAY_SIZE_MAX */
	uint32_t refresh_hz; /* 1 to 1000 */
	uint32_t width_mm, height_mm; /* 0: as many as make 96 dots an inch */
};

struct display_cursor {
	bool visible;
	int32_t x, y; /* where the image's first pixel is on the scanout */
	uint32_t hot_x, hot_y; /* the pixel of the image that points */
	uint64_t image_id; /* another one for each image */
	uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE]; /* rows from the top; 0xAARRGGBB, colours multiplied by alpha */
};

struct display_scanout {
	struct display_output output;
	struct display_buffer *buffer; /* NULL: shows nothing */
	struct display_rect crop; /* of the buffer */
	bool is_copied; /* sinks that take copies get those */
	struct display_buffer *copy; /* the newest; NULL: none */
	uint64_t copy_number, copy_flushed_ns, copy_ready_ns; /* of the frame in it: when it was flushed, and published */
	bool is_direct; /* the sink that paces gets what it is offered */
	struct display_buffer *offer; /* and not taken yet; NULL: none */
	struct display_rect offer_crop; /* of it */
	uint64_t offer_number, offer_flushed_ns, offer_ready_ns; /* of the frame in it */
	struct display_cursor cursor;
	uint64_t frames; /* flushes that changed something on it */
	uint64_t flushed_ns; /* the last of them */
};

/* What a sink takes. The reference to the buffer is the sink's: display_buffer_unref. */
struct display_frame {
	struct display_buffer *buffer;
	struct display_rect crop; /* of the buffer: what is shown */
	struct display_damage damage; /* since the frame before, from the crop's corner; of a copy, which is another buffer each time, all of it */
	uint64_t number; /* of all that there were on the scanout */
	uint64_t flushed_ns, ready_ns; /* when the guest said so; when it was there to be taken */
};

/* All optional. They must not call display_sink_remove. */
struct display_sink_ops {
	/* Whether a picture like @p, in planes, is one the sink can do something with. Calls nothing. NULL: all are. */
	bool (*imports)(void *ctx, const struct display_picture *p);
	/* The scanout shows nothing any more, or something after nothing, or the output has changed. */
	void (*mode)(void *ctx, unsigned scanout);
	/* There is a frame to take, and there was none before. */
	void (*frame)(void *ctx, unsigned scanout);
	/* The cursor has another place, or (@image) another image, or is shown or hidden. */
	void (*cursor)(void *ctx, unsigned scanout, bool image);
	/* Nothing will be in the buffer of this number any more. */
	void (*gone)(void *ctx, uint64_t buffer);
};

/* Embedded in its owner; zeroed memory and ops. */
struct display_sink {
	const struct display_sink_ops *ops;
	void *ctx;
	struct display_sink *next;
	bool takes_copies; /* of pictures that a GPU has drawn: buffers in planes. Set before it is added; then by display_sink_set_copies */
	bool waits; /* it is not known yet what it takes: no picture is one for it until display_sink_start. Set before it is added */
	struct {
		bool has_frame;
		struct display_damage damage;
	} at[DISPLAY_SCANOUTS_MAX];
	uint64_t demoted; /* times it missed a deadline while it paced; may be read by any thread (atomic) */
};

/* Written by the display's loop; may be read by any thread (atomic). */
struct display_counters {
	uint64_t flushes; /* that changed something on a scanout */
	uint64_t damaged_bytes; /* of them */
	uint64_t taken; /* frames that sinks took */
	uint64_t replaced; /* frames that a newer one took the place of before a sink had taken them */
	uint64_t copies; /* that were published */
	uint64_t offers; /* of what the guest drew in */
	uint64_t compared_bytes; /* of pictures, to see whether they stand still (still.h) */
	uint64_t held, late; /* flushes that waited to be seen; times that took too long */
};

/* A flush that waits to be seen. Embedded in its owner. */
struct display_hold {
	void (*done)(struct display_hold *h); /* it waits no more; may be freed, or held again */
	uint32_t scanouts; /* a bit for each it still waits for */
	uint64_t number[DISPLAY_SCANOUTS_MAX]; /* of the frame there */
	uint64_t deadline_ns;
	struct display_hold *next;
};

struct display {
	struct loop *loop;
	unsigned nscanouts;
	struct display_scanout scanout[DISPLAY_SCANOUTS_MAX];
	struct display_sink *sinks;
	void (*changed)(void *ctx);
	void *changed_ctx;
	void (*watch)(void *ctx, unsigned scanout);
	void *watch_ctx;
	void (*refresh)(void *ctx, unsigned scanout);
	void *refresh_ctx;
	void (*wanted)(void *ctx, unsigned scanout);
	void *wanted_ctx;
	struct display_budget budget;
	struct display_counters counters;
	struct display_sink *pacer; /* NULL: nobody paces */
	uint32_t late_scanouts; /* a bit for each on which it missed a deadline: nothing is held there until it has seen a frame of that scanout */
	uint64_t seen[DISPLAY_SCANOUTS_MAX]; /* by it: numbers of frames */
	struct {
		uint64_t number[2], ns[2]; /* of the last frames it took, and when: the next one may be taken before this one is seen */
		unsigned last;
		unsigned prompt; /* frames in a row that it has seen within DISPLAY_PROMPT_NS */
		bool was_late; /* display_was_late */
	} pace[DISPLAY_SCANOUTS_MAX];
	struct display_hold *holds; /* oldest first */
	struct loop_timer late;
};

/* @outputs: @n of them, 1 to DISPLAY_SCANOUTS_MAX. @budget: bytes of host memory for the guest's pictures. Thread: any, before the loop runs. */
void display_init(struct display *d, struct loop *loop, const struct display_output *outputs, unsigned n, uint64_t budget);
/* No sink is left, and the device shows nothing. Accepts zeroed memory. */
void display_finish(struct display *d);

/*
 * For the device.
 */

/* @changed: an output has changed. NULL: nobody wants to know. */
void display_set_guest(struct display *d, void (*changed)(void *ctx), void *ctx);

/* Whether somebody maps each frame of scanout @i. If not, a device may leave a picture as it is until refresh. */
bool display_is_watched(const struct display *d, unsigned i);

/* How many sinks take copies, of scanouts that are direct the one that paces too. */
unsigned display_copy_sinks(const struct display *d);

/* Whether all of them that get copies of scanout @i can do something with one like @p. */
bool display_copies_are_imported(const struct display *d, unsigned i, const struct display_picture *p);

/* @wanted: a sink that takes copies has come, or one has gone, or imports other things, or another one paces. NULL: nobody makes copies. */
void display_set_wanted(struct display *d, void (*wanted)(void *ctx, unsigned scanout), void *ctx);

/* From now on sinks that take copies get those of scanout @i, each when it is published, and nothing until then; or (false, and at first) they map its buffer as all do. */
void display_set_copied(struct display *d, unsigned i, bool on);

/* A copy of what scanout @i, which is copied, showed at frame @number, which was flushed at @flushed_ns; all of it is there. Not from within wanted. The display takes a reference of its own; the one before is let go. */
void display_publish(struct display *d, unsigned i, struct display_buffer *copy, uint64_t number, uint64_t flushed_ns);

/* Whether there is a sink that paces, and it takes copies, or what lies as they do. */
bool display_can_offer(const struct display *d);

/* Whether that can do something with @p. */
bool display_imports(const struct display *d, const struct display_picture *p);

/* How many frames in a row it has let go of within DISPLAY_PROMPT_NS since it paces. */
unsigned display_prompt_frames(const struct display *d, unsigned i);

/* A frame that was offered to it was not let go of in time. Known until another one paces. */
void display_was_late(struct display *d, unsigned i);
bool display_has_been_late(const struct display *d, unsigned i);

/* From now on the sink that paces, which there is, gets of scanout @i what it is offered, and nothing until then; or (false, and at first, and whenever another one paces) what it gets otherwise. What is on offer is withdrawn. */
void display_set_direct(struct display *d, unsigned i, bool on);

/* @crop of @buffer, which the guest has drawn in, is what scanout @i, which is direct, showed at frame @number; all of it is there. The display takes a reference of its own until it is taken, or another one is on offer. */
void display_offer(struct display *d, unsigned i, struct display_buffer *buffer, const struct display_rect *crop, uint64_t number, uint64_t flushed_ns);

/* What is on offer of scanout @i, which is direct, is not. */
void display_withdraw(struct display *d, unsigned i);

/* @watch: a flush has changed something on a scanout. For one who only counts; whoever wants pictures is a sink. NULL: nobody. Before the loop runs. */
void display_set_watch(struct display *d, void (*watch)(void *ctx, unsigned scanout), void *ctx);

/* @refresh: somebody is about to look at the memory of what a scanout shows, which may not have all of it yet: what has not been copied there, or not been read back from a renderer. It shows
 * nothing else afterwards. NULL: all of it is there after every flush. */
void display_set_refresh(struct display *d, void (*refresh)(void *ctx, unsigned scanout), void *ctx);

/* Return: bytes of EDID for output @i, at most EDID_MAX. */
size_t display_edid(const struct display *d, unsigned i, uint8_t out[EDID_MAX]);

/**
 * display_show - what scanout @i shows from now on
 * @buffer: NULL for nothing; the display takes a reference of its own
 * @crop: inside the buffer (asserted)
 *
 * Sinks hear of it with the next flush, which then has the whole picture as damage; when there is nothing to show any more, at once.
 */
void display_show(struct display *d, unsigned i, struct display_buffer *buffer, const struct display_rect *crop);

/* @r of scanout @i's buffer has changed; any numbers, clipped to what is shown. Return: pixels of the scanout that have changed. */
uint64_t display_flush(struct display *d, unsigned i, const struct display_rect *r);

/**
 * display_hold - wait until what was flushed last has been seen
 * @h: done is set
 * @scanouts: a bit for each that was flushed
 *
 * Return: false when nobody paces, or all of it has been seen: then done is not called. Else it will be, not from within this call.
 */
bool display_hold(struct display *d, struct display_hold *h, uint32_t scanouts);
/* Whether a flush could be held now. */
bool display_is_paced(const struct display *d);
/* Nobody waits with @h any more; done is not called. What is not held is not there. */
void display_unhold(struct display *d, struct display_hold *h);

/* @image: as struct display_cursor has it, copied; NULL: no cursor. */
void display_set_cursor(struct display *d, unsigned i, const uint32_t *image, uint32_t hot_x, uint32_t hot_y);
void display_move_cursor(struct display *d, unsigned i, int32_t x, int32_t y);

/*
 * For everybody else.
 */

/* The guest is told when anything is different, and again when it shows another size than it was told to prefer. */
void display_set_output(struct display *d, unsigned i, const struct display_output *output);

/* Every scanout that shows something is a frame to take at once. */
void display_sink_add(struct display *d, struct display_sink *sink);
void display_sink_remove(struct display *d, struct display_sink *sink); /* what was not added is not there */

/* @sink, which was added, takes copies from now on, or (false) no more: then it has a frame to map where it got those. */
void display_sink_set_copies(struct display *d, struct display_sink *sink, bool on);

/* @sink, which was added, waits no more. What does not wait is as it was. */
void display_sink_start(struct display *d, struct display_sink *sink);

/* What @sink, which was added, can import is other than it was. */
void display_sink_imports(struct display *d, struct display_sink *sink);

/* @sink paces from now on, or nobody (NULL). What is held for the one who did before waits no more. */
void display_pace(struct display *d, struct display_sink *sink);
/* @sink has seen frame @number of scanout @i. */
void display_seen(struct display *d, struct display_sink *sink, unsigned i, uint64_t number);

/* Before the memory of scanout @i's buffer is read by one who has not taken a frame: display_take does it. */
void display_refresh(struct display *d, unsigned i);

/* Return: false when there is none, or the scanout shows nothing any more. */
bool display_take(struct display *d, struct display_sink *sink, unsigned i, struct display_frame *frame);

#endif
