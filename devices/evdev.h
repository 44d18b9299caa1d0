/* SPDX-License-Identifier: MIT */
/*
 * A device of the host, passed through to the guest: the source of a struct input that follows one /dev/input/eventN.
 *
 *            user wants it, driver runs, nothing is held
 *   watching ------------------------------------------> forwarding         events go to the guest and, grabbed, to nobody else
 *            <------------------------------------------                    the guest is told that everything was let go
 *            chord, request, driver gone                    |
 *      ^                                                     |
 *      | evdev_attach (plugged in again)                     | unplugged
 *      +------------------- absent <-------------------------+
 *
 * Watching reads events too, for the chord that takes the device to the guest; the host has them as well. The grab is taken only once no key is held, since the
 * host would never see the release of one it has seen pressed; it is given back at once, because then somebody wants his keyboard.
 *
 * Lost events (SYN_DROPPED) are found again: the kernel is asked how things are, and the guest is given the difference (input_sync).
 * Of what the guest writes, lights reach the host and nothing else; when the device goes back, lights are as the host had them.
 *
 * Thread: the device's loop. A frame costs three system calls: epoll_wait, read, and the interrupt. One with a scan code costs two more: Linux's driver sends EV_MSC back
 * through the status queue, which is another wake and another interrupt.
 */
#ifndef DEVICES_EVDEV_H
#define DEVICES_EVDEV_H

#include "devices/evdev_host.h"
#include "devices/input.h"

#define EVDEV_CHORD_MAX 6 /* keys held together */

/* Keys to be held together; each is one key or its left or right sister. The same one twice, "ctrl+ctrl", wants both. */
struct evdev_chord {
	struct {
		uint16_t code, sister; /* sister 0: none */
	} key[EVDEV_CHORD_MAX];
	unsigned n; /* 0: no chord */
};

/**
 * evdev_chord_parse - "ctrl+ctrl", "ctrl+alt+g", "scrolllock"
 * Names as key_name_code has them, and ctrl, shift, alt, meta for either side. "": no chord.
 * Return: 0, or -EINVAL with @err.
 */
int evdev_chord_parse(struct evdev_chord *chord, const char *text, char *err, size_t err_len);
/* Nothing else of the modifiers needs to be up: whoever holds more means it too. */
bool evdev_chord_is_held(const struct evdev_chord *chord, const struct input_state *state);

struct evdev;

/* All on the device's loop. */
struct evdev_ops {
	void (*chord)(void *ctx, bool release); /* the toggle chord, or (release) the one that always gives everything back */
	void (*changed)(void *ctx); /* forwarding, watching or absent */
};

struct evdev_options {
	const char *name; /* in messages; stays the caller's */
	bool grab; /* exclusive; else host and guest both get the events */
	struct evdev_chord toggle;
	uint8_t reserve[KEY_CNT / 8]; /* keys that never reach the guest */
	const struct evdev_ops *ops;
	void *ctx;
};

#define EVDEV_SETTLE_NS 20000000u /* whoever writes a frame to the host's kernel has written all of it by then */

struct evdev {
	struct input *in;
	struct evdev_options options;
	const struct evdev_host_ops *host; /* evdev_host.ops; may be replaced before evdev_attach */
	struct loop_source src; /* fd -1: absent */
	bool is_wanted, is_forwarding;
	bool is_busy; /* somebody else has the grab, and it was said */
	bool is_lost; /* events were lost: nothing counts until the next SYN_REPORT */
	struct loop_timer settle; /* the state was found again, and may be of the middle of a frame: the guest gets it with the end of that, or when this fires */
	bool was_chord, was_release;
	struct input_desc has; /* what the attached device can send: all that the guest's can, or less */
	struct input_state state; /* of an attached device: as the host's device has it; of what it has not, as the guest was last told */
	struct input_ev frame[INPUT_FRAME_MAX];
	unsigned n; /* events of the frame that is being read */
	unsigned reads; /* of the whole state */
	uint8_t host_lights[(LED_CNT + 7) / 8], guest_lights[(LED_CNT + 7) / 8];
	struct evdev_twin *twin; /* types reserved keys on the host while the device is grabbed */
};

/* @e is zeroed memory. Absent, and wanted by the guest. */
void evdev_init(struct evdev *e, struct input *in, const struct evdev_options *options);
void evdev_finish(struct evdev *e); /* accepts zeroed memory; the host has its device back */

/**
 * evdev_attach - the host's device is there
 * @fd: from evdev_host_open, or inherited; becomes the evdev's, also on failure
 *
 * One that can send less than the guest was told is as good: axes and switches that it has not stay where they were, touches that it has no slot for are ended.
 * Return: 0 or -errno (logged). -ENODEV: it can send what the guest's device cannot (its description is fixed when the guest's driver starts).
 */
int evdev_attach(struct evdev *e, int fd);
bool evdev_is_absent(const struct evdev *e);

/* The guest is to have the device, or the host. */
void evdev_want(struct evdev *e, bool wanted);

/* For the input's source ops. */
void evdev_light(struct evdev *e, unsigned code, bool on);
void evdev_running(struct evdev *e);

/* "forwarding", "watching", "waiting" (for keys to come up, or for the grab), "absent". */
const char *evdev_state_name(const struct evdev *e);

#endif
