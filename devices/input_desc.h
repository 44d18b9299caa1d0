/* SPDX-License-Identifier: MIT */
/*
 * What an input device is: its name, numbers, and every event it can send, as evdev describes devices.
 *
 * The same description is read from a host device (evdev.h), made here for the emulated ones, and shown to the guest's driver through the configuration
 * space (input_desc_answer). It is a plain value.
 *
 * Types and codes are those of <linux/input-event-codes.h>. Spec: virtio v1.3, 5.8.4 "Device configuration layout".
 */
#ifndef DEVICES_INPUT_DESC_H
#define DEVICES_INPUT_DESC_H

#include <linux/input-event-codes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Linux's driver keeps 64 bytes, the terminating NUL among them. */
#define INPUT_STRING_MAX 63
/* KEY_CNT is the most codes a type has. */
#define INPUT_CODES_MAX KEY_CNT

struct input_axis {
	int32_t min, max, fuzz, flat;
	int32_t res; /* units per millimetre, per radian for rotations; 0: not known */
};

struct input_desc {
	char name[INPUT_STRING_MAX + 1];
	char serial[INPUT_STRING_MAX + 1]; /* evdev's "uniq"; "" where there is none */
	uint16_t bustype, vendor, product, version;
	uint8_t props[(INPUT_PROP_CNT + 7) / 8];
	uint8_t bits[EV_CNT][INPUT_CODES_MAX / 8]; /* by type; EV_SYN's stay empty */
	struct input_axis abs[ABS_CNT]; /* valid for the codes in bits[EV_ABS] */
};

/* Codes that exist for @type, 0 for a type without events. */
unsigned input_type_codes(unsigned type);

void input_desc_add(struct input_desc *desc, unsigned type, unsigned code); /* asserts that they exist */
void input_desc_add_abs(struct input_desc *desc, unsigned code, const struct input_axis *info);
void input_desc_add_prop(struct input_desc *desc, unsigned prop);
/* False for types and codes that do not exist. */
bool input_desc_has(const struct input_desc *desc, unsigned type, unsigned code);
bool input_desc_has_type(const struct input_desc *desc, unsigned type);

/* Slots of a multitouch device of protocol B, 0 for others; at most INPUT_SLOTS_MAX of input_state.h are tracked. */
unsigned input_desc_slots(const struct input_desc *desc);

/* Every event @part can send, @whole can, over the same ranges, in as many slots or more: a device that may take @whole's place. */
bool input_desc_is_part(const struct input_desc *part, const struct input_desc *whole);

/* The emulated devices, and those of the host. @n tells several of a kind apart in name and serial number: "tinyvmm keyboard", "tinyvmm keyboard 2". */
enum input_kind { INPUT_KEYBOARD, INPUT_MOUSE, INPUT_TABLET, INPUT_MULTITOUCH, INPUT_EVDEV };
/* Not for INPUT_EVDEV, which is what the host's device is. */
void input_desc_make(struct input_desc *desc, enum input_kind kind, unsigned n);

#define INPUT_TABLET_MAX 32767 /* both axes of tablet and multitouch run from 0 to here, over the bounding box of all outputs */
#define INPUT_TOUCH_SLOTS 10

/* The configuration space as the driver reads it: select, subsel, size, five reserved bytes, payload. */
#define INPUT_CONFIG_LEN 136
#define INPUT_CONFIG_PAYLOAD 8

/**
 * input_desc_answer - the configuration space for one pair the driver selected
 *
 * A pair that is not supported has size 0 and an empty payload. Strings come without a NUL, bitmaps as short as they can be, integers
 * little-endian. Spec: virtio v1.3, 5.8.5.1 "Driver Requirements: Device Initialization", 5.8.5.2 "Device Requirements: Device Initialization".
 */
void input_desc_answer(const struct input_desc *desc, uint8_t select, uint8_t subsel, uint8_t config[INPUT_CONFIG_LEN]);

#endif
