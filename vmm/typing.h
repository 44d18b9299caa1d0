/* SPDX-License-Identifier: MIT */
/*
 * A keyboard layout turned around: which keys give a character. Each is found by trying every key with every set of modifiers on a keyboard of
 * libxkbcommon's, so a way that is found is a way that works, in a guest that has this layout.
 *
 * A key that gives the character itself wins over a sequence with a dead key, a key of the main block over those that not every keyboard has, then the fewest keys
 * pressed. The keypad is never used: what it gives hangs on Num Lock. Caps Lock is taken to be off.
 *
 * Thread: the main thread.
 */
#ifndef VMM_TYPING_H
#define VMM_TYPING_H

#include <stddef.h>
#include <stdint.h>

#include "devices/input_state.h"

#define TYPING_MODS 3 /* Shift, AltGr (level 3), level 5 */
#define TYPING_STROKES_MAX 3

/* A key that is pressed and released while modifiers are held. */
struct typing_stroke {
	uint16_t code; /* KEY_... */
	uint8_t mods; /* a bit for each that is held */
};

/* One character. */
struct typing_way {
	uint32_t c;
	unsigned n, cost;
	struct typing_stroke stroke[TYPING_STROKES_MAX];
};

struct typing;

/* @layout: as keymap_open has it. Return: as keymap_open. */
int typing_open(struct typing **t, const char *layout, char *err, size_t err_len);
void typing_close(struct typing *t); /* accepts NULL */

/**
 * typing_find - the keys for one character
 * @c: Unicode; newline is Enter, tab is Tab, other control characters are none
 *
 * Return: borrowed until the next call, or NULL with @err, which names character and layout.
 */
const struct typing_way *typing_find(struct typing *t, uint32_t c, char *err, size_t err_len);

/* Room for what one character takes. */
#define TYPING_EVENTS_MAX (TYPING_STROKES_MAX * (2 * TYPING_MODS + 2) * 2)

/**
 * typing_press - the events that type one character
 * @held: modifiers that earlier calls left held; 0 at first. They stay held for the next character that needs the same
 * @ev: room for TYPING_EVENTS_MAX; each change of a key is a frame of its own
 *
 * Return: number of events.
 */
unsigned typing_press(const struct typing *t, const struct typing_way *way, uint8_t *held, struct input_ev *ev);
/* The events that release what is held. Return: their number. */
unsigned typing_release(const struct typing *t, uint8_t *held, struct input_ev *ev);

/* The next character of UTF-8 text, which is advanced. Return: UINT32_MAX for what is no UTF-8. */
uint32_t typing_next_char(const char **text, const char *end);

#endif
