/* SPDX-License-Identifier: MIT */
/*
 * A virtio driver for tests: it sets a device up through its real registers, keeps rings in a small
 * guest memory on the heap (so a sanitizer sees every step outside), and can do everything a good
 * driver does not, because it also hands out the raw parts: descriptors, ring entries, registers.
 *
 *   struct tdrv d;
 *   tdrv_init(&d);
 *   rng_init(&rng, &d.loop, &d.mem);
 *   tdrv_attach(&d, &rng.base);
 *   tdrv_start(&d);                                  reset to DRIVER_OK, all queues
 *   buf = tdrv_alloc(&d, 64, 1);
 *   tdrv_add(&d, 0, 0, 0, buf, 64);                  one chain: readable part, writable part
 *   tdrv_kick(&d, 0);                                and serve the loop
 *   assert_true(tdrv_used(&d, 0, &head, &len));
 *   tdrv_finish(&d);                                 resets the device first
 *
 * Failures of the driver itself are asserts. Thread: the test's, which owns the loop.
 */
#ifndef TESTS_SUPPORT_TESTDRV_H
#define TESTS_SUPPORT_TESTDRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/device.h"
#include "virtio/mmio.h"
#include "vmm/gmem.h"
#include "vmm/loop.h"

#define TDRV_RAM_GPA 0x100000ull
#define TDRV_RAM_LEN 0x100000ull

#define TDRV_NEXT     1u /* descriptor flags */
#define TDRV_WRITE    2u
#define TDRV_INDIRECT 4u

struct tdrv_queue {
	uint16_t size;
	uint64_t desc, avail, used; /* gpa */
	uint16_t avail_idx;         /* as last written */
	uint16_t used_seen;         /* used entries taken by tdrv_used */
	uint16_t next_desc;         /* next descriptor tdrv_add takes, wraps around */
};

struct tdrv {
	struct loop loop;
	struct gmem mem;
	uint8_t *ram;
	uint64_t brk; /* gpa: tdrv_alloc takes from here */
	struct virtio_device *dev;
	struct virtio_mmio mmio;
	_Alignas(4096) struct virtio_regs regs;
	struct tdrv_queue q[VIRTIO_QUEUES_MAX];
	unsigned used_irqs, config_irqs;
	int connect_result; /* what the device is told when it wants to be connected, 0 or -errno */
	unsigned connects;
};

void tdrv_init(struct tdrv *d);
/* @dev was made with &d->loop and &d->mem. */
void tdrv_attach(struct tdrv *d, struct virtio_device *dev);
/* The same, where the test has made d->mmio a window without a device. */
void tdrv_plug(struct tdrv *d, struct virtio_device *dev);
void tdrv_finish(struct tdrv *d);

/* 4-byte register accesses. */
uint32_t tdrv_read(struct tdrv *d, uint32_t reg);
void tdrv_write(struct tdrv *d, uint32_t reg, uint32_t value);

/* Reset to FEATURES_OK with exactly @features. Return: whether the device accepted them. */
bool tdrv_negotiate(struct tdrv *d, uint64_t features);
/* Allocates rings for queue @q and writes its registers, except QueueReady. */
void tdrv_place_queue(struct tdrv *d, unsigned q, uint16_t size);
/* Writes QueueReady. Return: what it reads then. */
bool tdrv_enable_queue(struct tdrv *d, unsigned q);
/* All of it: reset, everything on offer without @without, all queues at full size, DRIVER_OK.
 * Memory allocated before is free again. */
void tdrv_start_without(struct tdrv *d, uint64_t without);
void tdrv_start(struct tdrv *d);

uint64_t tdrv_alloc(struct tdrv *d, size_t len, size_t align);
/* The host's view of guest memory; asserts that it is inside. */
void *tdrv_ptr(struct tdrv *d, uint64_t gpa, size_t len);

/* Writes descriptor @i of a table (a queue's is d->q[q].desc). */
void tdrv_desc(struct tdrv *d, uint64_t table, unsigned i, uint64_t addr, uint32_t len,
	uint16_t flags, uint16_t next);
/* Makes @head available; tdrv_set_avail_idx writes the index alone. */
void tdrv_offer(struct tdrv *d, unsigned q, uint16_t head);
void tdrv_set_avail_idx(struct tdrv *d, unsigned q, uint16_t idx);

/* A chain of @out_len readable and then @in_len writable bytes (0: no such descriptor). Return: its
 * head. */
uint16_t tdrv_add(
	struct tdrv *d, unsigned q, uint64_t out, uint32_t out_len, uint64_t in, uint32_t in_len);

/* Notifies queue @q and serves the loop until it has nothing to do, within a bound: a device that
 * never comes to rest fails the test. */
void tdrv_kick(struct tdrv *d, unsigned q);
void tdrv_serve(struct tdrv *d);

/* The next used entry. Return: false when there is none. */
bool tdrv_used(struct tdrv *d, unsigned q, uint32_t *head, uint32_t *len);

#endif
