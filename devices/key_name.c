/* SPDX-License-Identifier: MIT */
#include "devices/key_name.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "devices/evdev_lib.h"

/* Longer than any name there is. */
#define NAME_MAX_LEN 40

/* Where people say something else than the kernel; its KEY_MENU and KEY_PRINT are keys of remote controls. */
static const struct {
	const char *name;
	int code;
} common[] = {{"CTRL", KEY_LEFTCTRL}, {"CONTROL", KEY_LEFTCTRL}, {"SHIFT", KEY_LEFTSHIFT}, {"ALT", KEY_LEFTALT}, {"ALTGR", KEY_RIGHTALT}, {"META", KEY_LEFTMETA},
	{"SUPER", KEY_LEFTMETA}, {"WIN", KEY_LEFTMETA}, {"ESCAPE", KEY_ESC}, {"RETURN", KEY_ENTER}, {"DEL", KEY_DELETE}, {"INS", KEY_INSERT}, {"PGUP", KEY_PAGEUP},
	{"PGDN", KEY_PAGEDOWN}, {"CAPS", KEY_CAPSLOCK}, {"MENU", KEY_COMPOSE}, {"PRINT", KEY_SYSRQ}};

int key_name_code(const char *name, size_t len)
{
	char full[NAME_MAX_LEN + 5] = "KEY_";
	const struct evdev_lib *lib;
	int code;

	if (len > 4 && strncmp(name, "KEY_", 4) == 0) {
		name += 4;
		len -= 4;
	} else {
		for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++) {
			if (strlen(common[i].name) == len && strncasecmp(common[i].name, name, len) == 0) {
				return common[i].code;
			}
		}
	}
	if (len == 0 || len > NAME_MAX_LEN) {
		return -EINVAL;
	}
	for (size_t i = 0; i < len; i++) {
		full[4 + i] = (char)toupper((unsigned char)name[i]);
	}
	full[4 + len] = '\0';
	lib = evdev_lib();
	code = lib ? lib->event_code_from_name(EV_KEY, full) : -1;
	return code > KEY_RESERVED && code < KEY_MAX ? code : -EINVAL;
}
