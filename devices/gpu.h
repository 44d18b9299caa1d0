/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu: a display without acceleration, or, with another backend, with it.
 *
 *   control queue -> gpu.c: one command at a time, one answer -> gpu_cmd.c: is it right? -> backend (gpu_backend.h) -> display (display.h)
 *   cursor queue  -> the same, first
 *
 * Whatever a guest says is checked before the backend hears of it, in 64 bits. What is wrong with a command is answered with the protocol's own
 * error and hurts nothing else; only a broken ring stops the device. An answer is an error until a command has been carried out.
 *
 * The answer to a flush waits until whoever paces has seen it (display.h, display_hold); commands behind it do not. So answers may come in another order than commands, as the
 * specification lets them, except that no fence overtakes another: Linux before 5.5 complains of that, and later ones take the younger fence for the older one too. What is
 * held with a fence is answered before any later fence is.
 *
 * With 3D, an answer with a fence waits until the renderer has done all that came before; answers with fences come in order.
 * When the host's GPU is reset, commands that draw are errors until the driver resets the device.
 *
 * A 3D command that might draw in a picture somebody is looking at waits for them, and what is behind it on the control queue with it, for 40 ms at most (gpu_direct.h).
 *
 * Everything that costs host memory has a limit, and all of it together is limited by the display's budget: images, backing lists, resources. A turn on the loop carries out
 * GPU_TURN_COMMANDS, or copies and compares GPU_TURN_BYTES, or takes GPU_TURN_SUBMITTED of submissions, and what the last command of it does, and goes on when others have had theirs.
 *
 * Thread: the device's loop, which is the display's. Spec: virtio v1.3, 5.7 "GPU Device".
 */
#ifndef DEVICES_GPU_H
#define DEVICES_GPU_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/gpu_backend.h"
#include "devices/gpu_proto.h"
#include "devices/gpu_resource.h"
#include "display/display.h"
#include "virtio/device.h"
#include "vmm/loop.h"

#define GPU_CONTROLQ_SIZE 256
#define GPU_CURSORQ_SIZE 16

#define GPU_HELD_MAX 16 /* flushes that wait; of one more the oldest waits no longer */
#define GPU_TURN_COMMANDS 64
#define GPU_TURN_BYTES (16u << 20)
#define GPU_TURN_SUBMITTED (256u << 10) /* bytes of submissions: as much as Mesa's longest */
#define GPU_TURN_STEPS (4u << 20) /* of following them (gpu_objects.h) */
#define GPU_TOLD_INFO (1u << 31) /* struct gpu, told: the answer to GET_DISPLAY_INFO */

/* Since the device was made. Written by its loop; may be read by any thread (atomic). */
struct gpu_counters {
	uint64_t commands, refused; /* the second ones answered with an error */
	uint64_t transfers, flushes, cursors;
	uint64_t submissions; /* of 3D commands */
	uint64_t submitted_bytes, submitted_steps; /* of these and of those that were refused; it took to follow them */
	uint64_t turns; /* on the loop, with at least one command */
	uint64_t waits, late_waits; /* of commands, for a viewer to let go of what they might draw in; of these, those that took too long */
};

/* Of a scanout that shows a texture, on the GPU (gpu_copy.h). */
struct gpu_copies {
	struct display_buffer *copy[GPU_COPIES_MAX]; /* NULL: the place is free */
	bool is_pending, is_due; /* one is on its way; another one is to follow it */
	bool is_linear; /* somebody imports no others. May be read by any thread (atomic) */
	unsigned pending; /* of them */
	uint64_t fence, number, flushed_ns; /* of it: the renderer's; the frame in it */
	uint32_t failed_width, failed_height; /* one of this size could not be made */
};

#define GPU_DIRECT_MAX 6 /* pictures of a scanout's guest that are exported at a time */

/* Whether pictures are sent as the guest draws them (gpu_direct.h). */
enum gpu_direct_way {
	GPU_DIRECT_NEVER,
	GPU_DIRECT_AUTO, /* where it holds up nobody */
	GPU_DIRECT_ALWAYS, /* whatever the guest and the viewer do */
};

struct gpu_direct_picture {
	uint32_t id; /* the resource */
	struct display_buffer *buffer; /* NULL: the place is free. Held: there are more references than this one */
	uint64_t used;
	bool is_lost; /* held for too long: the guest draws in it all the same */
};

struct gpu_direct_frame {
	uint32_t id; /* the resource */
	struct display_buffer *buffer; /* NULL: there is none */
	struct display_rect crop;
	uint64_t number, flushed_ns; /* of the frame */
};

/* Of a scanout that shows a texture, as the guest draws it (gpu_direct.h). */
struct gpu_direct {
	struct gpu_direct_picture at[GPU_DIRECT_MAX];
	uint64_t uses;
	struct gpu_direct_frame pending, due; /* what is being drawn; what was flushed after that */
	uint64_t fence; /* of pending: the renderer's */
	uint32_t last; /* the resource that was flushed last; 0: it is gone, or there was none */
	unsigned flips; /* flushes of another one than the one before, at most as many as matter; 0 when there were too many of one */
	unsigned same; /* times that it was flushed again since */
	const char *why; /* it is copied, or read back, for people; NULL: it is not. May be read by any thread (atomic) */
};

/* What is on a scanout, as the guest said it. */
struct gpu_scanout {
	struct gpu_resource *res; /* NULL: nothing */
	uint64_t picture; /* the backend's number of what is shown */
	struct gpu_layout layout; /* of a blob or a texture */
	struct display_rect crop;
	bool is_behind; /* a texture: its picture lacks what was flushed while nobody looked */
	/* A blob's pictures: the backend has two, which take turns. */
	struct {
		uint64_t picture;
		struct display_buffer *buffer;
	} cache[2];
	unsigned oldest; /* of them: the one that was not shown last */
	struct gpu_copies copies;
	struct gpu_direct direct;
};

struct gpu_held;

/* A command that is done when the renderer is. What it is answered is in its chain already. */
struct gpu_fenced {
	uint64_t fence; /* the renderer's */
	uint64_t number; /* among those held, in the order they came */
	uint16_t head; /* of the chain */
	uint32_t written; /* bytes */
};

struct gpu {
	struct virtio_device base;
	struct virtio_device_ops ops; /* the table with this device's features */
	struct display *display;
	struct log_limit memory_log_limit; /* of its own: what follows from it is a flood of other lines */
	struct gpu_backend *backend;
	struct gpu_table resources;
	struct gpu_table contexts; /* of 3D */
	struct gpu_scanout scanout[DISPLAY_SCANOUTS_MAX];
	uint32_t events; /* GPU_EVENT_* the driver has not taken notice of */
	uint32_t told, stale; /* what it has asked for, and of that what has changed since: bits, of each scanout's EDID and GPU_TOLD_INFO */
	struct loop_source poll; /* with 3D: the renderer has done something */
	struct loop_timer again; /* the rest of a turn that used up its budget */
	struct gpu_counters counters;
	struct virtq_chain chain;
	struct gpu_held *held; /* GPU_HELD_MAX of them; NULL: none has waited yet */
	uint64_t last_held;
	/* A ring, oldest first: no more than the queue has. */
	struct gpu_fenced fenced[GPU_CONTROLQ_SIZE];
	unsigned first_fenced, nfenced;
	const char *no_copies; /* why pictures are not copied on the GPU, for people; NULL: they are, or nobody wants them. May be read by any thread (atomic) */
	struct virtq_chain returned; /* of one of them, on its way */
	enum gpu_direct_way direct_way;
	uint64_t nmarks; /* that submissions were followed with (gpu_objects.h) */
	/* What the host really gives (gpu_usage.h): bytes that may be others', and each context's; that the guest has asked for since that was looked at. */
	struct {
		uint64_t others, of_context, asked;
	} usage;
	/* Of the control queue's next command. */
	struct {
		bool is_waiting; /* for somebody to let go of what it might draw in */
		bool is_over; /* it has waited long enough */
		uint32_t scanouts; /* a bit for each whose pictures those are */
		uint32_t unsent; /* and for each where one of them is still to be sent */
		struct loop_timer patience;
	} wait;
};

struct gpu_options {
	bool blob; /* offer RESOURCE_BLOB; not with 3D */
	enum gpu_direct_way direct;
};

/* @backend: gpu_finish destroys it. @display: with the same loop; the device tells it what is shown, and is told by it when an output changes.
 * Return: 0 or -errno (logged); then only gpu_finish may follow. */
int gpu_init(struct gpu *g, const struct gpu_options *options, struct display *display, struct gpu_backend *backend, struct loop *loop, const struct gmem *mem);
/* The device has been reset; its thread is about to end. */
void gpu_close(struct gpu *g);
void gpu_finish(struct gpu *g); /* accepts zeroed memory; the device has been reset */

#endif
