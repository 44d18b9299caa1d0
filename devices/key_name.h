/* SPDX-License-Identifier: MIT */
/* Keys by name. Thread: any. */
#ifndef DEVICES_KEY_NAME_H
#define DEVICES_KEY_NAME_H

#include <stddef.h>

/**
 * key_name_code - the key that people call so
 * @name: @len bytes: a name of <linux/input-event-codes.h>, "KEY_VOLUMEUP", which may do without KEY_ and be in small letters; or "ctrl", "shift", "alt", "altgr",
 *	"super" and other common names, for the left key where there are two
 *
 * What joysticks and mice have (BTN_...) is no key. Return: KEY_..., or -EINVAL; also where libevdev is missing, which is logged once.
 */
int key_name_code(const char *name, size_t len);

#endif
