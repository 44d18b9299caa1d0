/* SPDX-License-Identifier: MIT */
/*
 * Keys of a window: from SDL's scancodes to the codes of linux/input-event-codes.h.
 *
 * An SDL scancode is the USB usage of the key (HID Usage Tables 1.12, 10 "Keyboard/Keypad Page (0x07)"), and from VIEW_KEYS_MEDIA on one of SDL's own numbers for keys that another
 * page has. It says where a key is, not what is printed on it: which character that is, is the guest's layout's business.
 *
 * Thread: any.
 */
#ifndef DISPLAY_VIEW_KEYS_H
#define DISPLAY_VIEW_KEYS_H

#include <stdint.h>

#define VIEW_KEYS_MAX 512 /* scancodes, as SDL_NUM_SCANCODES */
#define VIEW_KEYS_MEDIA 257

/* Return: KEY_*, or 0 when Linux has no key like that. Any number. */
uint16_t view_key(unsigned scancode);

#endif
