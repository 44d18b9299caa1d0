/* SPDX-License-Identifier: MIT */
/*
 * The escape key of the terminal: finds commands in what is typed.
 *
 *   TEXT --escape key--> COMMAND --any key--> TEXT
 *
 * Thread: none in particular; a plain value.
 */
#ifndef VMM_ESCAPE_H
#define VMM_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct escape {
	uint8_t key;  /* a control character, 1..31 */
	bool command; /* the key was typed, the next one says what to do */
};

enum escape_action {
	ESCAPE_NONE, /* nothing: in the middle of a command, or an unknown one */
	ESCAPE_BYTE, /* send *@byte to the guest */
	ESCAPE_KILL,
	ESCAPE_POWER_BUTTON,
	ESCAPE_BREAK,
	ESCAPE_HELP,
};

void escape_init(struct escape *e, uint8_t key);

/* One typed byte. For ESCAPE_BYTE, *@byte is what goes to the guest; the escape key typed twice, or
 * followed by its letter where that letter is no command, sends itself. */
enum escape_action escape_feed(struct escape *e, uint8_t *byte);

/* The key as people write it: "Ctrl-A", "Ctrl-]". @len at least 8. */
void escape_name(const struct escape *e, char *buf, size_t len);

#endif
