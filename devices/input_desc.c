/* SPDX-License-Identifier: MIT */
#include "devices/input_desc.h"

#include <assert.h>
#include <endian.h>
#include <linux/input.h>
#include <linux/virtio_input.h>
#include <stdio.h>
#include <string.h>

#include "devices/input_state.h"

/* Millimetres are not known for a window; a number that makes both axes of a tablet look alike to the guest's acceleration and gesture code. */
#define TABLET_RES 100

_Static_assert(sizeof(struct virtio_input_config) == INPUT_CONFIG_LEN, "configuration space as the specification has it");
_Static_assert(offsetof(struct virtio_input_config, u) == INPUT_CONFIG_PAYLOAD, "payload follows the reserved bytes");

unsigned input_type_codes(unsigned type)
{
	static const unsigned codes[EV_CNT] = {
		[EV_KEY] = KEY_CNT,
		[EV_REL] = REL_CNT,
		[EV_ABS] = ABS_CNT,
		[EV_MSC] = MSC_CNT,
		[EV_SW] = SW_CNT,
		[EV_LED] = LED_CNT,
		[EV_SND] = SND_CNT,
		[EV_REP] = REP_CNT,
	};

	return type < EV_CNT ? codes[type] : 0;
}

void input_desc_add(struct input_desc *desc, unsigned type, unsigned code)
{
	assert(code < input_type_codes(type));
	desc->bits[type][code / 8] |= (uint8_t)(1u << code % 8);
}

void input_desc_add_abs(struct input_desc *desc, unsigned code, const struct input_axis *info)
{
	input_desc_add(desc, EV_ABS, code);
	desc->abs[code] = *info;
}

void input_desc_add_prop(struct input_desc *desc, unsigned prop)
{
	assert(prop < INPUT_PROP_CNT);
	desc->props[prop / 8] |= (uint8_t)(1u << prop % 8);
}

bool input_desc_has(const struct input_desc *desc, unsigned type, unsigned code)
{
	return code < input_type_codes(type) && (desc->bits[type][code / 8] & 1u << code % 8);
}

/* Bytes up to the last one that is not 0. */
static uint8_t used_bytes(const uint8_t *bitmap, size_t len)
{
	while (len > 0 && bitmap[len - 1] == 0) {
		len--;
	}
	return (uint8_t)len;
}

bool input_desc_has_type(const struct input_desc *desc, unsigned type)
{
	return type < EV_CNT && used_bytes(desc->bits[type], sizeof(desc->bits[type])) > 0;
}

unsigned input_desc_slots(const struct input_desc *desc)
{
	int32_t max = desc->abs[ABS_MT_SLOT].max;

	if (!input_desc_has(desc, EV_ABS, ABS_MT_SLOT) || max < 0) {
		return 0;
	}
	return max < INPUT_SLOTS_MAX ? (unsigned)max + 1 : INPUT_SLOTS_MAX;
}

/* Fewer slots are a part of more; of every other axis a part would mean something else. */
static bool is_same_range(unsigned code, const struct input_axis *part, const struct input_axis *whole)
{
	return part->min == whole->min && (part->max == whole->max || (code == ABS_MT_SLOT && part->max < whole->max));
}

bool input_desc_is_part(const struct input_desc *part, const struct input_desc *whole)
{
	for (unsigned type = 0; type < EV_CNT; type++) {
		for (unsigned i = 0; i < sizeof(part->bits[type]); i++) {
			if (part->bits[type][i] & ~whole->bits[type][i]) {
				return false;
			}
		}
	}
	for (unsigned code = 0; code < ABS_CNT; code++) {
		if (input_desc_has(part, EV_ABS, code) && !is_same_range(code, &part->abs[code], &whole->abs[code])) {
			return false;
		}
	}
	return true;
}

/*
 * The emulated devices.
 */

/* All keys of keyboards and remote controls, none of mice, joysticks and pens: those would make the guest take it for one. */
static void make_keyboard(struct input_desc *desc)
{
	static const uint8_t leds[] = {LED_NUML, LED_CAPSL, LED_SCROLLL, LED_COMPOSE, LED_KANA};

	for (unsigned code = KEY_ESC; code < BTN_MISC; code++) {
		input_desc_add(desc, EV_KEY, code);
	}
	for (unsigned code = KEY_OK; code < BTN_DPAD_UP; code++) {
		input_desc_add(desc, EV_KEY, code);
	}
	for (unsigned code = KEY_ALS_TOGGLE; code < BTN_TRIGGER_HAPPY; code++) {
		input_desc_add(desc, EV_KEY, code);
	}
	for (unsigned i = 0; i < sizeof(leds); i++) {
		input_desc_add(desc, EV_LED, leds[i]);
	}
	/* Linux only asks whether there is any: then the guest repeats held keys itself. */
	input_desc_add(desc, EV_REP, REP_DELAY);
	input_desc_add(desc, EV_REP, REP_PERIOD);
}

static void add_wheels(struct input_desc *desc)
{
	input_desc_add(desc, EV_REL, REL_WHEEL);
	input_desc_add(desc, EV_REL, REL_HWHEEL);
	input_desc_add(desc, EV_REL, REL_WHEEL_HI_RES);
	input_desc_add(desc, EV_REL, REL_HWHEEL_HI_RES);
}

static void make_mouse(struct input_desc *desc)
{
	for (unsigned code = BTN_LEFT; code <= BTN_TASK; code++) {
		input_desc_add(desc, EV_KEY, code);
	}
	input_desc_add(desc, EV_REL, REL_X);
	input_desc_add(desc, EV_REL, REL_Y);
	add_wheels(desc);
}

static void make_tablet(struct input_desc *desc)
{
	static const struct input_axis axis = {.max = INPUT_TABLET_MAX, .res = TABLET_RES};

	for (unsigned code = BTN_LEFT; code <= BTN_TASK; code++) {
		input_desc_add(desc, EV_KEY, code);
	}
	input_desc_add_abs(desc, ABS_X, &axis);
	input_desc_add_abs(desc, ABS_Y, &axis);
	add_wheels(desc);
	input_desc_add_prop(desc, INPUT_PROP_POINTER);
}

static void make_multitouch(struct input_desc *desc)
{
	static const struct input_axis axis = {.max = INPUT_TABLET_MAX, .res = TABLET_RES};
	static const struct input_axis slots = {.max = INPUT_TOUCH_SLOTS - 1};
	static const struct input_axis ids = {.max = 65535};

	/* Guests without gestures see the first finger as BTN_TOUCH at ABS_X, ABS_Y. */
	input_desc_add(desc, EV_KEY, BTN_TOUCH);
	input_desc_add_abs(desc, ABS_X, &axis);
	input_desc_add_abs(desc, ABS_Y, &axis);
	input_desc_add_abs(desc, ABS_MT_SLOT, &slots);
	input_desc_add_abs(desc, ABS_MT_TRACKING_ID, &ids);
	input_desc_add_abs(desc, ABS_MT_POSITION_X, &axis);
	input_desc_add_abs(desc, ABS_MT_POSITION_Y, &axis);
	input_desc_add_prop(desc, INPUT_PROP_DIRECT);
}

void input_desc_make(struct input_desc *desc, enum input_kind kind, unsigned n)
{
	static const struct {
		const char *name;
		void (*make)(struct input_desc *desc);
	} kinds[] = {
		[INPUT_KEYBOARD] = {"keyboard", make_keyboard},
		[INPUT_MOUSE] = {"mouse", make_mouse},
		[INPUT_TABLET] = {"tablet", make_tablet},
		[INPUT_MULTITOUCH] = {"multitouch", make_multitouch},
	};

	*desc = (struct input_desc){.bustype = BUS_VIRTUAL, .product = (uint16_t)(kind + 1), .version = 1};
	if (n > 0) {
		snprintf(desc->name, sizeof(desc->name), "tinyvmm %s %u", kinds[kind].name, n + 1);
	} else {
		snprintf(desc->name, sizeof(desc->name), "tinyvmm %s", kinds[kind].name);
	}
	snprintf(desc->serial, sizeof(desc->serial), "%s%u", kinds[kind].name, n);
	kinds[kind].make(desc);
}

/*
 * What the driver reads.
 */

static void put_string(struct virtio_input_config *c, const char *text)
{
	size_t len = strlen(text);

	c->size = (uint8_t)len;
	memcpy(c->u.string, text, len);
}

static void put_bitmap(struct virtio_input_config *c, const uint8_t *bitmap, size_t len)
{
	c->size = used_bytes(bitmap, len);
	memcpy(c->u.bitmap, bitmap, c->size);
}

static void put_ids(struct virtio_input_config *c, const struct input_desc *desc)
{
	c->size = sizeof(c->u.ids);
	c->u.ids.bustype = htole16(desc->bustype);
	c->u.ids.vendor = htole16(desc->vendor);
	c->u.ids.product = htole16(desc->product);
	c->u.ids.version = htole16(desc->version);
}

static void put_abs(struct virtio_input_config *c, const struct input_axis *info)
{
	c->size = sizeof(c->u.abs);
	c->u.abs.min = htole32((uint32_t)info->min);
	c->u.abs.max = htole32((uint32_t)info->max);
	c->u.abs.fuzz = htole32((uint32_t)info->fuzz);
	c->u.abs.flat = htole32((uint32_t)info->flat);
	c->u.abs.res = htole32((uint32_t)info->res);
}

void input_desc_answer(const struct input_desc *desc, uint8_t select, uint8_t subsel, uint8_t config[INPUT_CONFIG_LEN])
{
	struct virtio_input_config c = {.select = select, .subsel = subsel};

	if (select == VIRTIO_INPUT_CFG_EV_BITS && subsel < EV_CNT) {
		put_bitmap(&c, desc->bits[subsel], sizeof(desc->bits[subsel]));
	} else if (select == VIRTIO_INPUT_CFG_ABS_INFO && input_desc_has(desc, EV_ABS, subsel)) {
		put_abs(&c, &desc->abs[subsel]);
	} else if (subsel == 0) {
		switch (select) {
		case VIRTIO_INPUT_CFG_ID_NAME:
			put_string(&c, desc->name);
			break;
		case VIRTIO_INPUT_CFG_ID_SERIAL:
			put_string(&c, desc->serial);
			break;
		case VIRTIO_INPUT_CFG_ID_DEVIDS:
			put_ids(&c, desc);
			break;
		case VIRTIO_INPUT_CFG_PROP_BITS:
			put_bitmap(&c, desc->props, sizeof(desc->props));
			break;
		default:
			break;
		}
	}
	memcpy(config, &c, INPUT_CONFIG_LEN);
}
