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
 * vm_evdev_open - find and describe what @config means, before the guest's device is made
 * @fd: the host's device, the caller's; -1 when it is absent and may come later
 * Return: 0 or -errno (logged).
 */
int vm_evdev_open(const struct config_input_device *config, int *fd, struct input_desc *desc);

/* @in->dev is made. @fd becomes its, also on failure. Return: 0 or -errno (logged). */
int vm_evdev_init(struct vm_input *in, int fd);
void vm_evdev_finish(struct vm *vm); /* accepts what has not been made; the host has its devices back */

/* All of them go to the guest, or to the host. */
void vm_evdev_want(struct vm *vm, bool wanted);

/* [{"device": "evdev0", "state": "forwarding", "name": "..."}, ...]; the caller owns it. */
json_t *vm_evdev_list(const struct vm *vm);

#endif
