/* SPDX-License-Identifier: MIT */
/*
 * What an evdev device can send, and what it holds at the moment: read from its node, or from a description in evemu's format (tests/devices).
 *
 * For tests: used by a program on the host and by one in the guest, so it needs nothing but the C library.
 */
#ifndef TESTS_EVDEV_CAPS_H
#define TESTS_EVDEV_CAPS_H

#include <linux/input.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CAPS_SLOTS_MAX 256
#define CAPS_MT_AXES (ABS_MT_TOOL_Y - ABS_MT_SLOT) /* without ABS_MT_SLOT itself */

struct caps {
	char name[256], phys[128], uniq[128];
	struct input_id id;
	uint8_t props[INPUT_PROP_CNT / 8];
	uint8_t bits[EV_CNT][KEY_CNT / 8]; /* by type; the types themselves in EV_SYN's */
	struct input_absinfo abs[ABS_CNT]; /* the value is what the device starts with */
	uint8_t sw_on[(SW_CNT + 7) / 8]; /* switches that are on at the start */
};

bool caps_bit(const uint8_t *bits, unsigned i);
void caps_set_bit(uint8_t *bits, unsigned i, bool on);
static inline bool caps_has(const struct caps *c, unsigned type, unsigned code)
{
	return caps_bit(c->bits[EV_SYN], type) && caps_bit(c->bits[type], code);
}
unsigned caps_codes(unsigned type); /* how many there are */
unsigned caps_slots(const struct caps *c); /* 0: no multitouch device of protocol B */

/* Both end the program with a message when something is wrong. @fd: an evdev node. */
void caps_read(struct caps *c, int fd);
/* Knows two comments of its own, "# phys: TEXT" and "# uniq: TEXT", and evemu's "S: CODE 1". */
void caps_parse(struct caps *c, const char *path);

struct caps_state {
	uint8_t key[KEY_CNT / 8], sw[(SW_CNT + 7) / 8], led[(LED_CNT + 7) / 8];
	int32_t abs[ABS_CNT];
	int32_t mt[CAPS_SLOTS_MAX][CAPS_MT_AXES]; /* by code - ABS_MT_SLOT - 1 */
};

void caps_read_state(const struct caps *c, struct caps_state *s, int fd);
/* A line for each kind of thing: what is held, where axes are, where touches are. Not the lights, and not the current slot, which the kernel tells only once an event was about it. */
void caps_print_state(const struct caps *c, const struct caps_state *s, FILE *out);

#endif
