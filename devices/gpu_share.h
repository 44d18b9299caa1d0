/* SPDX-License-Identifier: MIT */
/*
 * Pieces of guest memory as one thing that others can map: a dma-buf, by Linux' udmabuf. What the guest writes is seen there without a copy.
 *
 * It is as writable as guest memory is, and stays what it is when the guest uses the memory for something else: who is given one sees that too. So only what shows the guest's
 * pictures to the guest's owner is.
 *
 * The kernel pins the pieces. It takes 1024 of them and 64 MiB (udmabuf's list_limit and size_limit_mb), in whole pages, of a memfd that cannot shrink; what it does not take is copied.
 *
 * Thread: any.
 */
#ifndef DEVICES_GPU_SHARE_H
#define DEVICES_GPU_SHARE_H

#include <stdint.h>
#include <sys/uio.h>

#include "vmm/gmem.h"

#define GPU_SHARE_PAGE 4096
#define GPU_SHARE_PAGE_COST 16 /* bytes of the host kernel's for each page, more or less */

struct udmabuf_create_list;

struct gpu_share {
	int dev; /* /dev/udmabuf */
	/* The kernel's; a test has its own. Return: a descriptor or -errno. */
	int (*create)(int dev, const struct udmabuf_create_list *list);
};

/* Return: 0, or -errno when this host has none, or not for this user. */
int gpu_share_open(struct gpu_share *share);
/* Accepts zeroed memory. */
void gpu_share_close(struct gpu_share *share);

/* @iov: @n pieces of @mem, one after another. *@len: bytes of them. Return: a descriptor to be mapped from its beginning, or -errno: they are to be copied. */
int gpu_share_create(const struct gpu_share *share, const struct gmem *mem, const struct iovec *iov, unsigned n, uint64_t *len);

#endif
