/* SPDX-License-Identifier: MIT */
/* Of how many pieces of memory a buffer is made, and how to make that many. For root only. */
#ifndef TESTS_GUEST_FRAGMENT_H
#define TESTS_GUEST_FRAGMENT_H

/*
 * Lets the kernel's tracer write down how many entries the driver sends with VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, which are runs of neighbouring pages: a
 * buffer's own mapping does not tell its page frames.
 * Return: 0, -1 with errno.
 */
int entries_watch(void);

/* Return: the entries of the last buffer that was made; -1 with errno. */
long entries_last(void);

/*
 * Takes single pages until no more than @left_mib MiB are available, then gives every second one back: what is allocated afterwards finds hardly two free
 * pages side by side. Kept until the process ends.
 * Return: pages kept; -1 with errno.
 */
long fragment_memory(unsigned left_mib);

#endif
