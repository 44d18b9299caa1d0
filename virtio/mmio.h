/* SPDX-License-Identifier: MIT */
/*
 * The virtio-mmio transport, version 2 (virtio v1.3, 4.2 "Virtio Over MMIO").
 *
 * Each device has a window of 0x200 bytes; eight windows make a register page. The window's bytes are what the driver reads, so a register page can also be given to the guest as
 * read-only memory (performance) without anything moving: reads are plain copies of these bytes at any width, and every write that changes what will be read
 * next refreshes them before the vCPU goes on.
 *
 * Rules that make it right whether a load exits or not. Sections are of virtio v1.3.
 *
 *  1. The vring bit of InterruptStatus is sticky: set from DRIVER_OK to reset, no acknowledge clears it. 4.2.2.1 "Device Requirements: MMIO Device Register Layout" wants
 *     the bit from the moment something is used until it is acknowledged; what is more here is a notification that nothing was used for, and those a driver must
 *     handle (2.7.7.1 "Driver Requirements: Used Buffer Notification Suppression"). It reads 1, looks at every queue (4.2.3.4.1 "Driver Requirements: Notifications From The
 *     Device"), finds nothing and returns. Clearing the bit loses interrupts: something used between the driver's look at the queue and its acknowledge would be
 *     acknowledged too, and clearing it later than the acknowledge, which is all that can be done where that does not exit, clears it under the next interrupt.
 *  2. So acknowledging used buffers alone, a store of 1, changes nothing, and whoever carries stores may swallow it. One with the configuration bit clears that bit
 *     under the transport's lock, and acknowledging what was never there does nothing.
 *  3. A new configuration: its bytes, then the configuration bit, then the interrupt. A driver acknowledges before it reads, or reads again for the next interrupt. ConfigGeneration (2.5 "Device Configuration
 *     Space") moves before and after the bytes, but a reader that does not exit may be in the middle: what changes while a driver runs is one aligned store of at
 *     most 4 bytes (virtio_device_set_config asserts it).
 *  4. Status, QueueReady and all that depends on a selector change only inside a store, which exits, and the store returns when the bytes are new. The exceptions are
 *     NEEDS_RESET, and a status that stays what it was while the host holds a reset up; a driver polls for both (2.4 "Device Reset").
 *  5. Interrupts are edges, and every one is sent whatever InterruptStatus says: an edge that nobody has handled yet is kept by the interrupt controller.
 *  6. Whether used buffers are worth an interrupt is decided by used_event, or the driver's flag, alone: virtq_notify.
 *
 * Thread: virtio_mmio_read and _write run on any vCPU thread and take the transport's lock; status changes, resets and configuration writes are handed to
 * the device's loop with no lock held, and the vCPU waits.
 */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/device.h"

#define VIRTIO_MMIO_WINDOW 0x200
#define VIRTIO_MMIO_PAGE 0x1000
#define VIRTIO_MMIO_PER_PAGE (VIRTIO_MMIO_PAGE / VIRTIO_MMIO_WINDOW)

enum virtio_mmio_reg {
	VIRTIO_MMIO_MAGIC = 0x000,
	VIRTIO_MMIO_VERSION = 0x004,
	VIRTIO_MMIO_DEVICE_ID = 0x008,
	VIRTIO_MMIO_VENDOR_ID = 0x00c,
	VIRTIO_MMIO_DEVICE_FEATURES = 0x010,
	VIRTIO_MMIO_DEVICE_FEATURES_SEL = 0x014,
	VIRTIO_MMIO_DRIVER_FEATURES = 0x020,
	VIRTIO_MMIO_DRIVER_FEATURES_SEL = 0x024,
	VIRTIO_MMIO_QUEUE_SEL = 0x030,
	VIRTIO_MMIO_QUEUE_SIZE_MAX = 0x034,
	VIRTIO_MMIO_QUEUE_SIZE = 0x038,
	VIRTIO_MMIO_QUEUE_READY = 0x044,
	VIRTIO_MMIO_QUEUE_NOTIFY = 0x050,
	VIRTIO_MMIO_INTERRUPT_STATUS = 0x060,
	VIRTIO_MMIO_INTERRUPT_ACK = 0x064,
	VIRTIO_MMIO_STATUS = 0x070,
	VIRTIO_MMIO_QUEUE_DESC_LOW = 0x080,
	VIRTIO_MMIO_QUEUE_DESC_HIGH = 0x084,
	VIRTIO_MMIO_QUEUE_DRIVER_LOW = 0x090,
	VIRTIO_MMIO_QUEUE_DRIVER_HIGH = 0x094,
	VIRTIO_MMIO_QUEUE_DEVICE_LOW = 0x0a0,
	VIRTIO_MMIO_QUEUE_DEVICE_HIGH = 0x0a4,
	VIRTIO_MMIO_SHM_SEL = 0x0ac,
	VIRTIO_MMIO_SHM_LEN_LOW = 0x0b0,
	VIRTIO_MMIO_SHM_LEN_HIGH = 0x0b4,
	VIRTIO_MMIO_SHM_BASE_LOW = 0x0b8,
	VIRTIO_MMIO_SHM_BASE_HIGH = 0x0bc,
	VIRTIO_MMIO_QUEUE_RESET = 0x0c0,
	VIRTIO_MMIO_CONFIG_GENERATION = 0x0fc,
	VIRTIO_MMIO_CONFIG = 0x100,
};

#define VIRTIO_MMIO_INT_VRING 1u
#define VIRTIO_MMIO_INT_CONFIG 2u

/* How long the vCPU that resets a device waits for the host to finish what it does for it (slow disks). Afterwards it goes on, and status tells: virtio v1.3, 2.4
 * "Device Reset" has the driver read it until it is 0. virtio_mmio_stop ends the wait. */
#define VIRTIO_MMIO_RESET_WAIT_MS 5000

/* The window as bytes; registers are little-endian 32-bit words in it. Fields that two threads write are stored atomically. */
struct virtio_regs {
	union {
		uint8_t bytes[VIRTIO_MMIO_WINDOW];
		uint32_t word[VIRTIO_MMIO_WINDOW / 4];
	};
};

struct virtio_mmio {
	struct virtio_device *dev; /* NULL until it is there (atomic) */
	struct virtio_regs *regs;
	pthread_mutex_t lock; /* guards the selectors and queue registers below, and the window's select-dependent words */
	uint32_t device_features_sel, driver_features_sel, queue_sel, shm_sel;
	uint64_t driver_features; /* as written, before FEATURES_OK */
	struct virtq_config queue[VIRTIO_QUEUES_MAX]; /* as written */
	bool ready[VIRTIO_QUEUES_MAX];
	bool stopping; /* virtio_mmio_stop was called (atomic) */
	struct log_limit log_limit;
};

/**
 * virtio_mmio_init - a window without a device
 * @regs: the window in a register page; the caller keeps the page until virtio_mmio_finish
 *
 * A driver finds device id 0, and ignores it (virtio v1.3, 4.2.3.1 "Device Initialization"). Writes do nothing.
 */
void virtio_mmio_init(struct virtio_mmio *t, struct virtio_regs *regs);
/**
 * virtio_mmio_plug - put a device behind the window, once
 * @irq: where the device's interrupts go; called on the device's loop
 *
 * The guest may be running, and reading and writing the window: it finds no device, or all of it.
 * Thread: the device's loop, or before the guest runs.
 */
void virtio_mmio_plug(struct virtio_mmio *t, struct virtio_device *dev, const struct virtio_irq *irq);
/* The guest is not going to run any more: a vCPU that waits for a reset goes on at once, and none waits again. Thread: any. */
void virtio_mmio_stop(struct virtio_mmio *t);
void virtio_mmio_finish(struct virtio_mmio *t); /* accepts zeroed memory; the device must have been reset */

/* An access that exited. @off < VIRTIO_MMIO_WINDOW, @len 1..8; anything past the window's end reads as zero and writes nothing. */
void virtio_mmio_read(struct virtio_mmio *t, uint32_t off, void *dst, uint32_t len);
void virtio_mmio_write(struct virtio_mmio *t, uint32_t off, const void *src, uint32_t len);

#endif
