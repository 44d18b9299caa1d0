/* SPDX-License-Identifier: MIT */
/*
 * The viewers of a running VM: its viewer socket and the window it was started with, tied to its input devices, its display and its end.
 *
 * Thread: the main thread.
 */
#ifndef VMM_VM_VIEW_H
#define VMM_VM_VIEW_H

#include <jansson.h>
#include <stdbool.h>

#include "vmm/view_start.h"
#include "vmm/viewers.h"

struct vm;

struct vm_view {
	struct viewers viewers;
	struct loop_source window; /* a pidfd of the one that was started; fn NULL: none */
};

/* The display's thread runs. Return: 0 or -errno (logged). */
int vm_view_init(struct vm *vm);
/* Everybody hears that the VM has ended, or that it starts again. The display's thread still runs. Accepts what has not been made. */
void vm_view_stop(struct vm *vm);

/* A driver came or went, or a light is different. */
void vm_view_input_changed(struct vm *vm);

/* An input device that had no room has some again. */
void vm_view_input_room(struct vm *vm);

/* [{"viewer": 1, "controls": true, ...}, ...]; the caller owns it. */
json_t *vm_view_stats(const struct vm *vm);

#define VM_VIEW_FRAMES_MAX 48 /* of one answer */

/* When what happened to the frames of a viewer, from its @after-th on as far as they are known: {"frames": [{"frame": 7, "flushed_ns": 123, ...}, ...], "next": 48}; the caller owns it. NULL: there is no such viewer. */
json_t *vm_view_frames(const struct vm *vm, json_int_t viewer, json_int_t after);

#endif
