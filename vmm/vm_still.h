/* SPDX-License-Identifier: MIT */
/*
 * Waiting until a running VM's screen stands still: on the display's thread each flush is looked at when it comes (display/still.h), and who waits hears of the end of it.
 *
 * Thread: the main thread.
 */
#ifndef VMM_VM_STILL_H
#define VMM_VM_STILL_H

#include <jansson.h>
#include <stdbool.h>

#include "display/damage.h"
#include "vmm/control.h"

struct vm;
struct vm_still;

struct vm_still_want {
	json_int_t scanout;
	json_int_t stable_ms;
	struct display_rect region; /* w 0: all of the screen */
	bool picture, base64; /* as by "screenshot", without the cursor */
};

/**
 * vm_still_begin - looks at the screen until it has been still
 * @conn: who waits; the caller remembers for it what is returned, as vm_wait.still
 * @want: for how long, and what of it counts
 *
 * It begins now: how long it has been still already is not known. The answer is the number of frames or, where it is wanted, the picture that has been still.
 * Return: what vm_still_forget takes, or NULL: @conn has been answered with an error.
 */
struct vm_still *vm_still_begin(struct vm *vm, struct control_conn *conn, const struct vm_still_want *want);

/* Why it has not been still so far, for people. */
void vm_still_explain(const struct vm_still *s, char *buf, size_t len);

/* Nobody waits for it any more. */
void vm_still_forget(struct vm_still *s);

/* The display's thread is about to end: nothing is looked at there any more. Who waits is told of the end later, as everybody else is. */
void vm_still_stop(struct vm *vm);

#endif
