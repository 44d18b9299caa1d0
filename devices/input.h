/* SPDX-License-Identifier: MIT */
/*
 * virtio-input: a keyboard, a mouse, a tablet, a touch screen, or any device of the host.
 *
 * What a device is, its struct input_desc says; where its events come from, a source says: the window, a viewer, the control socket, a device of the host.
 * Every source calls input_send with whole frames: events that end in a SYN_REPORT. Nothing else distinguishes them here.
 *
 *   source -> input_send -> [ring of whole frames, while the guest has no buffers] -> event queue -> guest
 *   guest -> status queue -> lights only, only those the device has -> source
 *
 * No key stays held in the guest that is not held at the source, whatever is lost on the way: the device follows what the source says (now), the ring what the guest was given; what gives way when it
 * is full, and that no frame is torn, is said there (input_ring.h). A frame that is larger than the guest's 64 buffers comes in pieces.
 * A source that can wait loses nothing: it asks input_has_room before each frame, and goes on when it is told (room). The host's own devices cannot wait. One that does not want to be faster than the guest's
 * readers asks input_await after some frames: events that the driver finds at once are at once with its readers, for which Linux keeps 64.
 *
 * After a reset, and after DRIVER_OK, the guest is given what is held now.
 *
 * Linux' driver sends every EV_MSC back through the status queue, and a real keyboard's key has one. Once it has been seen to, that costs nothing: so many buffers need no kick, the next frame (or, after a
 * while, a timer) takes them, and their return is no reason to interrupt. Lights come after their key's echo, so they kick as ever.
 *
 * Thread: the device's loop. Spec: virtio v1.3, 5.8 "Input Device".
 */
#ifndef DEVICES_INPUT_H
#define DEVICES_INPUT_H

#include "devices/input_ring.h"
#include "virtio/device.h"
#include "vmm/clock.h"
#include "vmm/loop.h"

#define INPUT_EVENTQ 0
#define INPUT_STATUSQ 1
#define INPUT_QUEUE_SIZE 64

#define INPUT_ECHO_NS CLOCK_NS_PER_S /* how late a light can come, once, in a guest that stops sending EV_MSC back */
#define INPUT_TAKE_NS (CLOCK_NS_PER_S / 4) /* how long whoever waits for the driver waits for one that has all of it and gives no buffers back */
#define INPUT_TURN_BUFFERS 128 /* per turn on the loop and queue: a guest that refills while it is served does not get all of it */

struct input;

/* Where events come from. All optional. They run on the device's loop and may call input_send. */
struct input_source_ops {
	void (*light)(void *ctx, unsigned code, bool on); /* the guest changed EV_LED @code */
	void (*running)(void *ctx, bool is_running); /* the driver came (DRIVER_OK), or went: a reset, FAILED, or what it did stopped the device */
	void (*taken)(void *ctx); /* after input_await was false: it would be true now */
	void (*room)(void *ctx); /* after input_has_room was false: half of the ring is free, or nobody is there to take anything; never from inside input_send */
};

struct input {
	struct virtio_device base;
	struct input_desc desc;
	const struct input_source_ops *source;
	void *source_ctx;
	struct input_state now; /* as the source has it */
	struct input_counters counters;
	uint8_t lights[(LED_CNT + 7) / 8]; /* as the guest wants them */
	uint8_t select, subsel; /* as the driver wrote them */
	bool is_active; /* between DRIVER_OK and reset or failure, as the source was told */
	bool is_full; /* a source was told that there is no room, and not yet that there is */
	bool is_awaited; /* a source was told that the driver has not taken all, and not yet that it has */
	bool is_echoing; /* the driver sends EV_MSC back */
	uint16_t echoes; /* EV_MSC events in the guest's buffers that have not come back */
	uint16_t most_buffers; /* for events, that the driver has had here at a time */
	uint16_t unsaid; /* of those that have: returned since the last interrupt, by which a driver looks into both queues */
	struct loop_timer again; /* the rest of a turn that used up its budget; the first turn after DRIVER_OK; telling of room */
	struct loop_timer look; /* for echoes, when no other frame has come */
	struct loop_timer late; /* for whoever waits for a driver that does not give its buffers back */
	struct virtq_chain chain;
	struct input_ring ring;
};

/* @in is zeroed memory: its ring is not touched before it is needed. */
void input_init(struct input *in, const struct input_desc *desc, struct loop *loop, const struct gmem *mem);
void input_finish(struct input *in); /* accepts zeroed memory; the device has been reset */
void input_set_source(struct input *in, const struct input_source_ops *ops, void *ctx);

/**
 * input_send - one frame from the source
 * @ev: @n events, 1 to INPUT_FRAME_MAX, the last a SYN_REPORT and no other before it (asserted)
 *
 * Never blocks, never fails: what the description does not have is left out and counted, as are repeats (EV_KEY value 2) where the guest repeats itself
 * (EV_REP).
 */
void input_send(struct input *in, const struct input_ev *ev, unsigned n);

/* Whether any frame can be sent without another one being dropped for it; motion may melt. false: the source will be told when there is room again. */
bool input_has_room(struct input *in);

/* The source lost track and has found out how things are: what differs is sent as one frame. */
void input_sync(struct input *in, const struct input_state *state);

/* Every key up, every touch ended, in the guest too: the source is gone, or given back to the host. */
void input_release(struct input *in);

/* Everything that was sent is in the guest's buffers (or no driver is there to take it). */
bool input_is_drained(const struct input *in);

/**
 * input_await - whether the driver has taken everything that was sent
 *
 * It has once all its buffers are here again. So has one that keeps them for longer than INPUT_TAKE_NS, since it may be one that gives them back later; one without event indexes, which cannot be
 * asked to say so, as soon as they are full; and one that is gone.
 *
 * Return: false: the source will be told (taken), or has just been, where another one had waited.
 */
bool input_await(struct input *in);

/* Whether there is a driver that takes frames; without one they change the state only. */
bool input_has_driver(const struct input *in);

#endif
