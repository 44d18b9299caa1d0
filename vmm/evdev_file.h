/* SPDX-License-Identifier: MIT */
/*
 * What an input device is, in a file: written by `tinyvmm devices --describe`, read for a device that is plugged in after the guest has started. JSON, with
 * the names of <linux/input-event-codes.h>, and numbers for codes that have none.
 *
 * Thread: the main thread.
 */
#ifndef VMM_EVDEV_FILE_H
#define VMM_EVDEV_FILE_H

#include <stdio.h>

#include "devices/input_desc.h"

/* Return: 0, or -errno of the file. */
int evdev_file_write(const struct input_desc *desc, FILE *out);
/* Return: 0, or -errno with @err, which says where in the file. */
int evdev_file_read(struct input_desc *desc, const char *path, char *err, size_t err_len);

#endif
