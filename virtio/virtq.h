/* SPDX-License-Identifier: MIT */
/*
 * The device's side of a split virtqueue.
 *
 * A queue is three areas in guest memory. The driver fills entries of the descriptor table (each names a piece of its memory, readable
 * or writable for the device; `next` links pieces to a chain) and puts the number of each chain's first descriptor, its head, into the available ring. The
 * device takes heads from there (virtq_pop), reads and writes the chain's memory (virtq_get, virtq_put), and returns the head with the number of bytes written
 * in the used ring (virtq_push); virtq_notify then interrupts the driver unless it asked not to be. Event indexes (VIRTIO_F_EVENT_IDX) let each side say at which
 * index it next wants to hear from the other.
 *
 * The guest may change all three areas at any time. Each descriptor is copied once and only the copy is looked at; every segment is checked against guest
 * memory over its whole length; the walk is bounded by the queue size. An empty ring (0), a short buffer (short counts of get and put) and a broken ring
 * (-EPROTO, and the device is in NEEDS_RESET) are three different results.
 *
 * Thread: the device's loop, except where noted. Spec: virtio v1.3, 2.7 "Split Virtqueues".
 */
#ifndef VIRTIO_VIRTQ_H
#define VIRTIO_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/gmem.h"

/* Largest queue a device may offer; it bounds every chain too, so one request is at most this many segments. */
#define VIRTQ_SIZE_MAX 256

struct virtio_device;

/* What the driver set up: latched and checked once when it writes QueueReady (virtio_device_queue_ready). */
struct virtq_config {
	uint16_t size; /* power of two, 1..the device's maximum */
	uint64_t desc; /* gpa of the descriptor table */
	uint64_t driver; /* gpa of the driver area: the available ring */
	uint64_t device; /* gpa of the device area: the used ring */
};

struct virtq {
	struct virtio_device *dev;
	const struct gmem *mem;
	unsigned index; /* this queue's number on its device */
	bool running; /* between virtq_start and virtq_stop, and not broken */
	bool event_idx; /* VIRTIO_F_EVENT_IDX negotiated */
	bool indirect; /* VIRTIO_F_INDIRECT_DESC negotiated */
	bool is_quiet; /* without event indexes: the driver has been told not to kick */
	uint16_t size;
	uint8_t *desc, *avail, *used; /* ranges checked by virtq_start */
	uint16_t avail_next; /* next available entry to take, free-running */
	uint16_t used_next; /* next used entry to write, free-running */
	uint16_t used_notified; /* used_next when the driver was last considered for an interrupt */
	uint16_t in_flight; /* popped and neither pushed nor unpopped, at most size */
};

/*
 * One request: a list of segments of guest memory, the readable ones first. A plain value that a device may keep while the
 * request is in flight. The segments are borrowed: valid until push, unpop or reset.
 */
struct virtq_chain {
	struct virtq *vq;
	uint16_t head;
	uint16_t nreadable, nwritable; /* segments */
	uint32_t readable_len, writable_len; /* bytes in all */
	uint32_t written; /* bytes put so far: what the driver finds in used.len */
	uint16_t get_seg, put_seg; /* cursors */
	size_t get_off, put_off;
	struct iovec seg[VIRTQ_SIZE_MAX]; /* only the first nreadable + nwritable are set */
};

/**
 * virtq_start - begin to serve a queue with a checked configuration
 *
 * Return: 0, or -EINVAL when size, alignment or one of the three ranges is bad.
 */
int virtq_start(struct virtq *vq, struct virtio_device *dev, unsigned index, const struct virtq_config *cfg);
void virtq_stop(struct virtq *vq); /* accepts zeroed memory */

/* True when @cfg has a legal size (not above @max), alignment, and three ranges inside guest memory. Thread: any. */
bool virtq_config_is_valid(const struct virtq_config *cfg, uint16_t max, const struct gmem *mem);

/**
 * virtq_pop - take the next chain the driver has made available
 * @c: filled on 1
 *
 * Return: 1, 0 when the ring is empty (or the queue not running), -EPROTO when it is malformed: then the device is already in
 * NEEDS_RESET and the caller stops its loop. 0 also means that the driver has been asked to kick for the next chain, and 1 that it need not: who pops goes on by
 * itself until it has seen 0, or an answer of its own.
 * Complexity: O(segments), at most queue size.
 * Spec: virtio v1.3, 2.7.5 "The Virtqueue Descriptor Table", 2.7.13 "Receiving Used Buffers From The Device".
 */
int virtq_pop(struct virtq *vq, struct virtq_chain *c);

/**
 * virtq_expect - what the driver makes available next needs no kick, up to @n chains
 *
 * For a queue that was empty at the last pop, or whose chains are not wanted yet, and whoever looks into it by itself some time. @n counts what is there. The chain after those kicks, as each does without event indexes; so does every one after the next pop that
 * finds nothing.
 * Return: whether more than that came meanwhile: the driver may have been silent about it, so it is to be served now.
 * Spec: virtio v1.3, 2.7.10 "Available Buffer Notification Suppression".
 */
bool virtq_expect(struct virtq *vq, uint16_t n);

/* Copies the next device-readable bytes out. Return: bytes copied, less than @n at the end. */
size_t virtq_get(struct virtq_chain *c, void *dst, size_t n);
/* Copies into the next device-writable bytes and counts them. Return: bytes copied, less than @n at the end. */
size_t virtq_put(struct virtq_chain *c, const void *src, size_t n);
/* Counts @n bytes as written by other means (readv into virtq_writable_iov); the put cursor moves over them. */
void virtq_put_done(struct virtq_chain *c, size_t n);
/* Bytes left before the cursors. */
size_t virtq_get_left(const struct virtq_chain *c);
size_t virtq_put_left(const struct virtq_chain *c);
/* The rest of the segments from the cursor on, for readv, writev and io_uring. Return: entries filled, at most @max. */
unsigned virtq_readable_iov(const struct virtq_chain *c, struct iovec *iov, unsigned max);
unsigned virtq_writable_iov(const struct virtq_chain *c, struct iovec *iov, unsigned max);

/* Chains available now, 0 when the queue is not running or its index is broken (which the next pop reports). */
unsigned virtq_pending(const struct virtq *vq);

/* Returns a chain to the driver with c->written bytes. Every popped chain is pushed or unpopped exactly once (asserted), except that a reset
 * forgets all chains. Completions may come in any order. */
void virtq_push(struct virtq *vq, struct virtq_chain *c);
/* Puts the last popped chain back: the next pop finds it again. */
void virtq_unpop(struct virtq *vq, struct virtq_chain *c);
/* Interrupts the driver if chains were pushed since the last call and it wants to know; once per batch. Return: whether it was interrupted. */
bool virtq_notify(struct virtq *vq);

#endif
