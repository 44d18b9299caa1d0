/* SPDX-License-Identifier: MIT */
/*
 * Frames that a device with these capabilities could send, from a seed: the sender and the reader make the same ones, each for itself.
 *
 * Each is as the kernel passes it on, unchanged: a key changes, an axis moves by more than its fuzz would swallow, the slot is said where it is another one.
 * So what is written to uinput is what a reader of the node must see, event by event.
 *
 * The generator follows what is held. Ctrl, Alt and SysRq are never pressed: on the way are a chord that takes the device back, and kernels that reboot.
 */
#ifndef TESTS_EVDEV_FRAMES_H
#define TESTS_EVDEV_FRAMES_H

#include "tests/evdev/caps.h"

#define FRAMES_EVENTS_MAX 160 /* of one frame */
#define FRAMES_HELD_MAX 6 /* keys at a time */

/*
 * A reader's kernel keeps at least 64 events for it. Sender and reader count the same frames: as soon as the next one may not fit in with those the reader has
 * not confirmed, the sender waits and the reader confirms. A longer frame than that is sent alone: its device's readers are given more room. ABS_MT_SLOT
 * does not count: the reader's kernel may have been in another slot.
 */
#define FRAMES_WINDOW 48

enum frames_mode {
	FRAMES_MIXED, /* of everything the device has */
	/*
	 * Codes in pairs that change together and to the same value: a frame that holds one without the other is torn, whatever was left out or melted
	 * together on the way. The device starts with both alike, for instance untouched.
	 */
	FRAMES_PAIRED,
	/*
	 * Paired, and each has its number, the one after the seed first: as the value of an EV_MSC; of a device that has none as the tracking id of a touch that begins, and of nothing else, or as the place of a
	 * pointer. What a reader did not get it can count.
	 */
	FRAMES_NUMBERED,
	/* All touches of a multitouch device begin, or move along every axis, or end, in one frame: the largest frames there are. */
	FRAMES_CROWD,
	/* Mixed, of what a viewer can say of a mouse, tablet or touch screen: buttons, motion or a place, touches. No wheels: of those the monitor makes notches. */
	FRAMES_VIEWED,
};

struct frames_event {
	uint16_t type, code;
	int32_t value;
};

struct frames {
	const struct caps *caps;
	enum frames_mode mode;
	uint64_t random;
	struct caps_state state;
	unsigned slot; /* that the kernel has told readers of */
	int32_t next_id;
	uint16_t codes[EV_CNT][KEY_CNT]; /* that may be sent, by type */
	unsigned ncodes[EV_CNT];
	unsigned held;
	unsigned number; /* of the last frame, where it has one: */
	enum frames_number_by { FRAMES_BY_NOTHING, FRAMES_BY_MSC, FRAMES_BY_TOUCH, FRAMES_BY_PLACE } number_by;
	unsigned number_msc; /* its code */
	unsigned kinds[8], nkinds; /* what a frame may be about */
	struct frames_event ev[FRAMES_EVENTS_MAX];
	unsigned n;
	bool touched[KEY_CNT]; /* keys of this frame: one that changes twice within a frame is nothing a device does */
};

/* @fd: the node, whose state is where the frames begin; -1: a fresh device, everything up and every axis at 0. */
void frames_init(struct frames *f, const struct caps *caps, enum frames_mode mode, uint64_t seed, int fd);
/* Return: false for a word that names no mode. */
bool frames_parse_mode(enum frames_mode *mode, const char *word);

/* Return: number of events in f->ev, the last a SYN_REPORT; 0: this device can send nothing. */
unsigned frames_next(struct frames *f);

/* What the frame in f->ev counts in a window. */
unsigned frames_size(const struct frames *f);

/* Lets go of every key and ends every touch, in one frame. Return: 0 when nothing is held. */
unsigned frames_release(struct frames *f);

/* Of a frame as a reader got it. Return: 0 when it has none: a difference in place of what was lost. */
unsigned frames_number(const struct frames *f, const struct frames_event *ev, unsigned n);

/* Whether f->ev does what FRAMES_PAIRED promises. @ev: a frame as a reader got it. @slot is kept from one frame to the next, 0 at first. */
bool frames_is_torn(const struct frames *f, const struct frames_event *ev, unsigned n, unsigned *slot);

#endif
