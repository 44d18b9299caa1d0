/* SPDX-License-Identifier: MIT */
/* Two states; commands win over the escape key's own letter. */
#include "vmm/escape.h"

#include <assert.h>
#include <stdio.h>

void escape_init(struct escape *e, uint8_t key)
{
	assert(key >= 1 && key < 32);
	*e = (struct escape){.key = key};
}

/* The character on the key: ctrl-a is 1, its letter is 'A'. */
static uint8_t key_letter(const struct escape *e)
{
	return e->key | 0x40;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

enum escape_action escape_feed(struct escape *e, uint8_t *byte)
{
	uint8_t c = *byte;

	if (!e->command) {
		e->command = c == e->key;
		return e->command ? ESCAPE_NONE : ESCAPE_BYTE;
	}
	e->command = false;
	if (c == e->key) {
		return ESCAPE_BYTE;
	}
	switch (lower(c)) {
	case 'x':
		return ESCAPE_KILL;
	case 's':
		return ESCAPE_POWER_BUTTON;
	case 'b':
		return ESCAPE_BREAK;
	case 'h':
	case '?':
		return ESCAPE_HELP;
	default:
		if (lower(c) == lower(key_letter(e))) {
			*byte = e->key;
			return ESCAPE_BYTE;
		}
		return ESCAPE_NONE;
	}
}

void escape_name(const struct escape *e, char *buf, size_t len)
{
	snprintf(buf, len, "Ctrl-%c", key_letter(e));
}
