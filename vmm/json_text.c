/* SPDX-License-Identifier: MIT */
#include "vmm/json_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The character at @s, whose @left bytes are no NUL. Return: its length, 0 when it is none (Unicode 15.0, table 3-7). */
static size_t utf8_len(const uint8_t *s, size_t left)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
	uint8_t low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80, high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;

	if (n > left || (n > 1 && (s[1] < low || s[1] > high))) {
		return 0;
	}
	for (size_t i = 2; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) {
			return 0;
		}
	}
	return n;
}

json_t *json_text(const char *text, size_t max)
{
	static const char replacement[] = "\xef\xbf\xbd";
	size_t all = strlen(text), len = 0, n;
	char *clean = malloc(3 * (all < max ? all : max) + 1);
	json_t *json;

	if (!clean) {
		return NULL;
	}
	for (size_t i = 0; i < all && i < max; i += n) {
		n = utf8_len((const uint8_t *)text + i, all - i);
		if (n > max - i) {
			break;
		}
		memcpy(clean + len, n ? text + i : replacement, n ? n : 3);
		len += n ? n : 3;
		n = n ? n : 1;
	}
	json = json_stringn(clean, len);
	free(clean);
	return json;
}
