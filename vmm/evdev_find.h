/* SPDX-License-Identifier: MIT */
/*
 * Which device of the host an [[input]] of type "evdev" means.
 * Thread: the main thread.
 */
#ifndef VMM_EVDEV_FIND_H
#define VMM_EVDEV_FIND_H

#include "devices/evdev_host.h"
#include "vmm/config.h"

/**
 * evdev_find - open the device that @in names by path, match or descriptor
 *
 * Return: a descriptor, the caller's; -ENODEV: it is not there; other -errno. @err says why, for people: with the candidates, or what access needs.
 */
int evdev_find(const struct config_input_device *in, char *err, size_t err_len);

/**
 * evdev_find_desc - what the guest's device is: @fd's description, or the saved one where @fd is negative
 * Return: 0, or -errno with @err.
 */
int evdev_find_desc(const struct config_input_device *in, int fd, struct input_desc *desc, char *err, size_t err_len);

#endif
