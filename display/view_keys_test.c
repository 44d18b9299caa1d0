/* SPDX-License-Identifier: MIT */
/* The table beside the one that Linux has for USB keyboards, which is made from the same HID usages. */
#include "display/view_keys.h"

#include <linux/input-event-codes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

/* HID usage and what Linux makes of it, as numbers: letters in the order of the alphabet, then each row of the keyboard. */
static void test_view_keys_are_what_linux_makes_of_a_usb_keyboard(void **state)
{
	static const uint8_t letters[] = {30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50, 49, 24, 25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44};
	static const struct {
		uint16_t usage, code;
	} rows[] = {
		{0x1e, 2}, {0x1f, 3}, {0x20, 4}, {0x26, 10}, {0x27, 11}, {0x28, 28}, {0x29, 1}, {0x2a, 14}, {0x2b, 15}, {0x2c, 57}, {0x2d, 12}, {0x2e, 13}, {0x2f, 26}, {0x30, 27},
		{0x31, 43}, {0x32, 43}, {0x33, 39}, {0x34, 40}, {0x35, 41}, {0x36, 51}, {0x37, 52}, {0x38, 53}, {0x39, 58}, {0x3a, 59}, {0x43, 68}, {0x44, 87}, {0x45, 88},
		{0x46, 99}, {0x47, 70}, {0x48, 119}, {0x49, 110}, {0x4a, 102}, {0x4b, 104}, {0x4c, 111}, {0x4d, 107}, {0x4e, 109}, {0x4f, 106}, {0x50, 105}, {0x51, 108}, {0x52, 103},
		{0x53, 69}, {0x54, 98}, {0x55, 55}, {0x56, 74}, {0x57, 78}, {0x58, 96}, {0x59, 79}, {0x5a, 80}, {0x5b, 81}, {0x5c, 75}, {0x5d, 76}, {0x5e, 77}, {0x5f, 71}, {0x60, 72},
		{0x61, 73}, {0x62, 82}, {0x63, 83}, {0x64, 86}, {0x65, 127}, {0x66, 116}, {0x67, 117}, {0x68, 183}, {0x69, 184}, {0x72, 193}, {0x73, 194}, {0x74, 134}, {0x75, 138},
		{0x76, 130}, {0x77, 132}, {0x78, 128}, {0x79, 129}, {0x7a, 131}, {0x7b, 137}, {0x7c, 133}, {0x7d, 135}, {0x7e, 136}, {0x7f, 113}, {0x80, 115}, {0x81, 114}, {0x85, 121},
		{0x87, 89}, {0x88, 93}, {0x89, 124}, {0x8a, 92}, {0x8b, 94}, {0x8c, 95}, {0x90, 122}, {0x91, 123}, {0x92, 90}, {0x93, 91}, {0x94, 85}, {0xb6, 179}, {0xb7, 180},
		{0xe0, 29}, {0xe1, 42}, {0xe2, 56}, {0xe3, 125}, {0xe4, 97}, {0xe5, 54}, {0xe6, 100}, {0xe7, 126},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(letters); i++) {
		assert_int_equal(view_key(4 + i), letters[i]);
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(view_key(rows[i].usage), rows[i].code);
	}
}

/* A PC keyboard's keys, all of them. */
static void test_view_keys_every_key_of_a_keyboard_is_there(void **state)
{
	uint8_t seen[KEY_MAX + 1] = {0};
	static const uint16_t not_of_keyboards[] = {84, 101, 112, 120};

	(void)state;
	for (unsigned i = 0; i < VIEW_KEYS_MAX; i++) {
		seen[view_key(i)] = 1;
	}
	for (unsigned key = KEY_ESC; key <= KEY_COMPOSE; key++) {
		unsigned is_excepted = 0;

		for (size_t i = 0; i < sizeof(not_of_keyboards) / sizeof(not_of_keyboards[0]); i++) {
			is_excepted |= key == not_of_keyboards[i];
		}
		assert_int_equal(seen[key], !is_excepted);
	}
	for (unsigned key = KEY_F13; key <= KEY_F24; key++) {
		assert_true(seen[key]);
	}
}

static void test_view_keys_media(void **state)
{
	/* SDL_scancode.h: SDL_SCANCODE_AUDIONEXT and so on. */
	static const struct {
		uint16_t scancode, key;
	} rows[] = {
		{257, KEY_MODE}, {258, KEY_NEXTSONG}, {259, KEY_PREVIOUSSONG}, {260, KEY_STOPCD}, {261, KEY_PLAYPAUSE}, {262, KEY_MUTE}, {264, KEY_WWW}, {265, KEY_MAIL},
		{266, KEY_CALC}, {270, KEY_BACK}, {273, KEY_REFRESH}, {275, KEY_BRIGHTNESSDOWN}, {276, KEY_BRIGHTNESSUP}, {277, KEY_SWITCHVIDEOMODE}, {280, KEY_KBDILLUMUP},
		{281, KEY_EJECTCD}, {282, KEY_SLEEP}, {285, KEY_REWIND}, {286, KEY_FASTFORWARD},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(view_key(rows[i].scancode), rows[i].key);
	}
}

static void test_view_keys_what_is_no_key(void **state)
{
	static const unsigned none[] = {0, 1, 2, 3, 0x82, 0xe8, 0xff, 0x100, 300, 511, 512, 100000, ~0u};

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		assert_int_equal(view_key(none[i]), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_view_keys_are_what_linux_makes_of_a_usb_keyboard),
		cmocka_unit_test(test_view_keys_every_key_of_a_keyboard_is_there),
		cmocka_unit_test(test_view_keys_media),
		cmocka_unit_test(test_view_keys_what_is_no_key),
	};

	return cmocka_run_group_tests_name("view_keys", tests, NULL, NULL);
}
