/* SPDX-License-Identifier: MIT */
/*
 * The input devices of a running VM: made from [[input]], fed by requests on the control socket or by a device of the host (vm_evdev.h). What a connection pressed and did not release is released when
 * the connection ends, so that a script that dies leaves no key held.
 *
 * Thread: the main thread.
 */
#ifndef VMM_VM_INPUT_H
#define VMM_VM_INPUT_H

#include <jansson.h>

#include "devices/evdev.h"
#include "devices/input.h"
#include "vmm/config.h"
#include "vmm/control.h"
#include "vmm/viewers.h"

struct vm;

/* Who may hold keys: connections of the control socket, then viewers. */
#define VM_INPUT_HOLDERS (CONTROL_CONNS_MAX + VIEWERS_MAX)

struct vm_input {
	struct vm *vm;
	const struct config_input_device *config;
	const char *name;
	unsigned place; /* on the virtio bus, of a device of the host that is not there yet: dev and evdev are zeroed memory until it comes */
	bool is_expected; /* place counts */
	unsigned slot; /* of whatever comes next */
	struct input dev;
	struct evdev evdev; /* where the events come from, of a device of the host; else zeroed */
	uint8_t held[VM_INPUT_HOLDERS][KEY_CNT / 8]; /* pressed by a connection, and not released since */
	uint32_t touched[VM_INPUT_HOLDERS]; /* a bit for each slot whose finger it put down, and did not lift since */
};

/* Return: 0 or -errno (logged). */
int vm_input_init(struct vm *vm);
void vm_input_finish(struct vm *vm); /* accepts what has not been made */

/* The device itself, which is none of the bus's yet. For vm_evdev.c. */
void vm_input_make(struct vm_input *in, const struct input_desc *desc);

/* Return: NULL when there is none of that name. */
struct vm_input *vm_input_find(struct vm *vm, const char *name);

/**
 * vm_input_check - whether a request can be sent
 * @events: an array of [type, code, value], whole frames, as evdev has them
 * @err: says what is wrong with them
 *
 * Return: 0 or -EINVAL.
 */
int vm_input_check(const struct vm_input *in, const json_t *events, char *err, size_t err_len);

/**
 * vm_input_feed - send of a request what there is room for, frame by frame
 * @events: were checked
 * @at: where to go on; 0 at first
 *
 * Return: whether that was all. If not, vm_control_input_room says when to go on.
 */
bool vm_input_feed(struct vm_input *in, unsigned conn, const json_t *events, size_t *at);

/* A frame of @n events, ready for input_send. @holder: below VM_INPUT_HOLDERS. */
void vm_input_frame(struct vm_input *in, unsigned holder, const struct input_ev *ev, unsigned n);

/* The connection has ended: what it holds comes up. */
void vm_input_gone(struct vm *vm, unsigned holder);

/* What there is: [{"name": "keyboard0", "type": "keyboard", "driver": true, "layout": "us", "leds": [1]}, ...]; the caller owns it. */
json_t *vm_input_list(const struct vm *vm);

/* {"keyboard0": {"frames_in": 1, ...}, ...}; the caller owns it. */
json_t *vm_input_stats(const struct vm *vm);

#endif
