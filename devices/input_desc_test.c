/* SPDX-License-Identifier: MIT */
/* Descriptions of input devices, and the configuration space they are read from. */
#include "devices/input_desc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_input.h>
#include <cmocka.h>

#include "devices/input_state.h"

static uint8_t config[INPUT_CONFIG_LEN];

/* Return: size as the driver reads it; asserts that nothing lies behind the payload. */
static unsigned ask(const struct input_desc *desc, uint8_t select, uint8_t subsel)
{
	memset(config, 0xa5, sizeof(config));
	input_desc_answer(desc, select, subsel, config);
	assert_int_equal(config[0], select);
	assert_int_equal(config[1], subsel);
	for (unsigned i = 3; i < INPUT_CONFIG_PAYLOAD; i++) {
		assert_int_equal(config[i], 0);
	}
	for (unsigned i = INPUT_CONFIG_PAYLOAD + config[2]; i < sizeof(config); i++) {
		assert_int_equal(config[i], 0);
	}
	return config[2];
}

static uint32_t le32(unsigned i)
{
	const uint8_t *p = config + INPUT_CONFIG_PAYLOAD + 4 * i;

	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void test_input_desc_strings_have_no_nul(void **state)
{
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_ID_NAME, 0), strlen("tinyvmm keyboard"));
	assert_memory_equal(config + INPUT_CONFIG_PAYLOAD, "tinyvmm keyboard", strlen("tinyvmm keyboard"));
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_ID_SERIAL, 0), strlen("keyboard0"));
	input_desc_make(&desc, INPUT_TABLET, 1);
	assert_string_equal(desc.name, "tinyvmm tablet 2");
	assert_string_equal(desc.serial, "tablet1");
}

static void test_input_desc_longest_name_fits_the_driver(void **state)
{
	struct input_desc desc = {0};

	(void)state;
	memset(desc.name, 'x', INPUT_STRING_MAX);
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_ID_NAME, 0), 63);
}

static void test_input_desc_ids_are_8_bytes(void **state)
{
	struct input_desc desc = {.bustype = 3, .vendor = 0x046d, .product = 0xc52b, .version = 0x0111};

	(void)state;
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_ID_DEVIDS, 0), 8);
	assert_int_equal(le32(0), 0x046d0003);
	assert_int_equal(le32(1), 0x0111c52b);
}

static void test_input_desc_absinfo_is_20_bytes_with_resolution(void **state)
{
	static const struct input_axis axis = {.min = -100, .max = 4000, .fuzz = 4, .flat = 8, .res = 31};
	struct input_desc desc = {0};

	(void)state;
	input_desc_add_abs(&desc, ABS_MT_POSITION_X, &axis);
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_ABS_INFO, ABS_MT_POSITION_X), 20);
	assert_int_equal((int32_t)le32(0), -100);
	assert_int_equal(le32(1), 4000);
	assert_int_equal(le32(2), 4);
	assert_int_equal(le32(3), 8);
	assert_int_equal(le32(4), 31);
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_ABS_INFO, ABS_X), 0);
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_ABS_INFO, 0xff), 0);
}

static void test_input_desc_bitmaps_are_as_short_as_they_can_be(void **state)
{
	struct input_desc desc = {0};

	(void)state;
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_EV_BITS, EV_KEY), 0);
	input_desc_add(&desc, EV_KEY, KEY_ESC);
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_EV_BITS, EV_KEY), 1);
	assert_int_equal(config[INPUT_CONFIG_PAYLOAD], 1 << KEY_ESC);
	input_desc_add(&desc, EV_KEY, KEY_MAX);
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_EV_BITS, EV_KEY), KEY_CNT / 8);
	assert_int_equal(config[INPUT_CONFIG_PAYLOAD + KEY_MAX / 8], 1 << KEY_MAX % 8);
	input_desc_add_prop(&desc, INPUT_PROP_DIRECT);
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_PROP_BITS, 0), 1);
}

static void test_input_desc_every_other_pair_is_empty(void **state)
{
	struct input_desc desc;
	unsigned answered = 0;

	(void)state;
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	for (unsigned select = 0; select < 256; select++) {
		for (unsigned subsel = 0; subsel < 256; subsel++) {
			answered += ask(&desc, (uint8_t)select, (uint8_t)subsel) > 0;
		}
	}
	/* Name, serial, ids; keys, lights, repeat. */
	assert_int_equal(answered, 6);
}

static void test_input_desc_keyboard_has_every_key_and_no_button(void **state)
{
	static const unsigned keys[] = {KEY_A, KEY_LEFTMETA, KEY_RIGHTMETA, KEY_102ND, KEY_RO, KEY_YEN, KEY_F13, KEY_F24, KEY_VOLUMEUP,
		KEY_PLAYPAUSE, KEY_OK, KEY_MICMUTE, KEY_KBD_LAYOUT_NEXT, KEY_MACRO1};
	static const unsigned buttons[] = {BTN_MISC, BTN_LEFT, BTN_TASK, BTN_JOYSTICK, BTN_GAMEPAD, BTN_TOUCH, BTN_STYLUS, BTN_DPAD_UP,
		BTN_TRIGGER_HAPPY};
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		assert_true(input_desc_has(&desc, EV_KEY, keys[i]));
	}
	for (size_t i = 0; i < sizeof(buttons) / sizeof(buttons[0]); i++) {
		assert_false(input_desc_has(&desc, EV_KEY, buttons[i]));
	}
	assert_true(input_desc_has(&desc, EV_LED, LED_CAPSL));
	assert_true(input_desc_has_type(&desc, EV_REP));
	assert_false(input_desc_has_type(&desc, EV_REL));
}

static void test_input_desc_mouse_has_eight_buttons_and_fine_wheels(void **state)
{
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_MOUSE, 0);
	for (unsigned code = BTN_LEFT; code <= BTN_TASK; code++) {
		assert_true(input_desc_has(&desc, EV_KEY, code));
	}
	assert_true(input_desc_has(&desc, EV_REL, REL_HWHEEL));
	assert_true(input_desc_has(&desc, EV_REL, REL_WHEEL_HI_RES));
	assert_true(input_desc_has(&desc, EV_REL, REL_HWHEEL_HI_RES));
	assert_false(input_desc_has_type(&desc, EV_REP));
}

static void test_input_desc_tablet_and_touch_say_what_they_are(void **state)
{
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_TABLET, 0);
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_PROP_BITS, 0), 1);
	assert_int_equal(config[INPUT_CONFIG_PAYLOAD], 1 << INPUT_PROP_POINTER);
	assert_int_equal(ask(&desc, VIRTIO_INPUT_CFG_ABS_INFO, ABS_X), 20);
	assert_int_equal(le32(1), INPUT_TABLET_MAX);
	assert_true(le32(4) > 0);
	assert_int_equal(input_desc_slots(&desc), 0);
	input_desc_make(&desc, INPUT_MULTITOUCH, 0);
	ask(&desc, VIRTIO_INPUT_CFG_PROP_BITS, 0);
	assert_int_equal(config[INPUT_CONFIG_PAYLOAD], 1 << INPUT_PROP_DIRECT);
	assert_int_equal(input_desc_slots(&desc), 10);
}

static void test_input_desc_codes_outside_their_type_are_not_there(void **state)
{
	struct input_desc desc;

	(void)state;
	memset(&desc, 0xff, sizeof(desc));
	assert_false(input_desc_has(&desc, EV_REL, REL_CNT));
	assert_false(input_desc_has(&desc, EV_CNT, 0));
	assert_false(input_desc_has(&desc, EV_FF, 0));
	assert_false(input_desc_has_type(&desc, EV_CNT));
	desc.abs[ABS_MT_SLOT].max = 1000000;
	assert_int_equal(input_desc_slots(&desc), INPUT_SLOTS_MAX);
}

static void test_input_desc_part_may_take_the_wholes_place(void **state)
{
	static const struct input_axis axis = {.max = 100}, other = {.max = 200};
	struct input_desc part = {0}, whole = {0};

	(void)state;
	input_desc_add(&whole, EV_KEY, KEY_A);
	assert_true(input_desc_is_part(&part, &whole));
	assert_false(input_desc_is_part(&whole, &part));
	input_desc_add_abs(&whole, ABS_X, &axis);
	input_desc_add_abs(&part, ABS_X, &other);
	assert_false(input_desc_is_part(&part, &whole));
	assert_false(input_desc_is_part(&(struct input_desc){.bits[EV_ABS][0] = 1, .abs[ABS_X].max = 50}, &whole));
	input_desc_add_abs(&part, ABS_X, &axis);
	assert_true(input_desc_is_part(&part, &whole));
	/* Fewer slots are less, and more are more. */
	input_desc_add_abs(&whole, ABS_MT_SLOT, &other);
	input_desc_add_abs(&part, ABS_MT_SLOT, &axis);
	assert_true(input_desc_is_part(&part, &whole));
	whole.abs[ABS_MT_SLOT].max = 99;
	assert_false(input_desc_is_part(&part, &whole));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_input_desc_strings_have_no_nul),
		cmocka_unit_test(test_input_desc_longest_name_fits_the_driver),
		cmocka_unit_test(test_input_desc_ids_are_8_bytes),
		cmocka_unit_test(test_input_desc_absinfo_is_20_bytes_with_resolution),
		cmocka_unit_test(test_input_desc_bitmaps_are_as_short_as_they_can_be),
		cmocka_unit_test(test_input_desc_every_other_pair_is_empty),
		cmocka_unit_test(test_input_desc_keyboard_has_every_key_and_no_button),
		cmocka_unit_test(test_input_desc_mouse_has_eight_buttons_and_fine_wheels),
		cmocka_unit_test(test_input_desc_tablet_and_touch_say_what_they_are),
		cmocka_unit_test(test_input_desc_codes_outside_their_type_are_not_there),
		cmocka_unit_test(test_input_desc_part_may_take_the_wholes_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
