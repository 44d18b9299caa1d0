/* SPDX-License-Identifier: MIT */
/*
 * The devices of the host that a VM's guest has: opened at the start, watched for while they are unplugged, given back and taken by a chord or a request.
 *
 * Thread: the main thread.
 */
#ifndef VMM_VM_EVDEV_H
#define VMM_VM_EVDEV_H

#include "vmm/vm_input.h"

/**
 * vm_evdev_start - find the device that @in->config means, and make the guest's
 *
 * One that is absent and may come later is made from its saved description, or, without one, gets a place on the bus and is made when it comes.
 * Return: 0 or -errno (logged).
 */
int vm_evdev_start(struct vm_input *in);
void vm_evdev_finish(struct vm *vm); /* accepts what has not been made; the host has its devices back */

/* All of them go to the guest, or to the host. */
void vm_evdev_want(struct vm *vm, bool wanted);

/* [{"device": "evdev0", "state": "forwarding", "name": "..."}, ...]; the caller owns it. */
json_t *vm_evdev_list(const struct vm *vm);

#endif
