/* SPDX-License-Identifier: MIT */
/*
 * What the keys of a keyboard mean: libxkbcommon's keymaps and compose tables, for evdev key codes. Nothing else knows that library.
 *
 * It is opened when the first keymap is asked for, so that verbs that type nothing load nothing. A keymap is one keyboard too: keys that
 * are pressed and released, and what the next press gives.
 *
 * Thread: the main thread.
 */
#ifndef VMM_KEYMAP_H
#define VMM_KEYMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Loaded when it is wanted. */
#define KEYMAP_LIBRARY "libxkbcommon.so.0"
#define KEYMAP_PACKAGE "libxkbcommon0"

struct keymap;

/**
 * keymap_open - the first group of a layout
 * @layout: LAYOUT or LAYOUT(VARIANT), of the model pc105
 * @err: says what is wrong, and what to install
 *
 * Return: 0, -EINVAL when there is no such layout, -ELIBACC when the library or its data is missing, -ENOMEM.
 */
int keymap_open(struct keymap **k, const char *layout, char *err, size_t err_len);
void keymap_close(struct keymap *k); /* accepts NULL */

/* Presses or releases a key, by its code in <linux/input-event-codes.h>. */
void keymap_key(struct keymap *k, unsigned code, bool down);
/* Every key up, no lock on. */
void keymap_reset(struct keymap *k);
/* The keysym that pressing @code would give now; 0: none. */
uint32_t keymap_sym(const struct keymap *k, unsigned code);
/* By its name in xkb, such as "ISO_Level3_Shift"; 0: there is none. */
uint32_t keymap_sym_named(const struct keymap *k, const char *name);
/* The character a keysym is by itself; 0: none, as for dead keys. */
uint32_t keymap_char(const struct keymap *k, uint32_t sym);

/**
 * keymap_open_compose - the table of key sequences: dead keys and the like
 *
 * That of the locale in the environment, en_US.UTF-8 where that is not in UTF-8. The user's own ~/.XCompose is not looked at: the guest does not have it.
 * Return: 0, also when it is open already; -ELIBACC with @err.
 */
int keymap_open_compose(struct keymap *k, char *err, size_t err_len);

enum keymap_compose {
	KEYMAP_ALONE, /* the keysym is in no sequence */
	KEYMAP_MORE, /* the sequence goes on */
	KEYMAP_DONE, /* the sequence is complete: *@c */
	KEYMAP_BROKEN, /* no sequence has this keysym here, or what it gives is not one character */
};

/* Feeds one keysym. @c: set with KEYMAP_DONE. Both: the table must be open. */
enum keymap_compose keymap_compose(struct keymap *k, uint32_t sym, uint32_t *c);
/* Forgets a sequence that has begun. */
void keymap_compose_reset(struct keymap *k);

#endif
