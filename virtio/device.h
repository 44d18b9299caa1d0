/* SPDX-License-Identifier: MIT */
/*
 * A virtio device as its transport and its implementation see it: a table of constants and functions, the life cycle, and
 * the register page.
 *
 * A device implements struct virtio_device_ops and embeds struct virtio_device. It sees chains of its queues, never a ring, never KVM, never the
 * transport. It belongs to one loop: activate, reset, stopped, kick and config_write run there (asserted), so a device has no lock.
 *
 * What the driver reads (status, interrupt status, configuration) lies in the device's window of a register page. Devices push their
 * configuration there with virtio_device_set_config; nobody asks them for it. The page can be mapped read-only into the guest: then the driver reads it
 * without an exit, from the same bytes.
 *
 * Life cycle (virtio v1.3, 2.1 "Device Status Field", 3.1 "Device Initialization"):
 *
 *   0 -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK -> DRIVER_OK      one bit more at a time; no bit is taken back
 *   any -> FAILED (driver gave up)      any -> 0 (reset)
 *   DRIVER_OK -> NEEDS_RESET (device)   only a reset leaves it
 *
 * A reset is done when the device holds no guest memory any more. Where the host still works on it (is_busy), status keeps its value until then: the
 * vCPU that wrote 0 waits for it, at most VIRTIO_MMIO_RESET_WAIT_MS, the loop does not.
 *
 * Features are writable between DRIVER and FEATURES_OK, queue registers between FEATURES_OK and DRIVER_OK.
 */
#ifndef VIRTIO_DEVICE_H
#define VIRTIO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/virtq.h"
#include "vmm/gmem.h"
#include "vmm/log.h"
#include "vmm/loop.h"

#define VIRTIO_QUEUES_MAX 4
#define VIRTIO_CONFIG_MAX 256 /* bytes of configuration space a window has room for */
#define VIRTIO_SHM_MAX 2

enum virtio_status {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER = 2,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_NEEDS_RESET = 64,
	VIRTIO_STATUS_FAILED = 128,
};

#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)

/* virtio v1.3, 5 "Device Types" */
enum virtio_id {
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLOCK = 2,
	VIRTIO_ID_CONSOLE = 3,
	VIRTIO_ID_RNG = 4,
	VIRTIO_ID_GPU = 16,
	VIRTIO_ID_INPUT = 18,
	VIRTIO_ID_VSOCK = 19,
	VIRTIO_ID_FS = 26,
};

struct virtio_device;

struct virtio_device_ops {
	const char *name; /* log prefix, e.g. "gpu" */
	uint32_t device_id; /* enum virtio_id */
	uint32_t config_len; /* bytes readable at configuration offset 0, at most VIRTIO_CONFIG_MAX */
	uint64_t features; /* device bits; the core adds VERSION_1, EVENT_IDX, INDIRECT_DESC */
	uint16_t nqueues;
	uint16_t queue_size[VIRTIO_QUEUES_MAX]; /* powers of two, at most VIRTQ_SIZE_MAX */

	/* DRIVER_OK was set; the queues the driver made ready are running. 0, or -errno: the device goes to NEEDS_RESET. */
	int (*activate)(struct virtio_device *d);
	/* Forget every chain and all guest state. Idempotent, cannot fail, may come before activate. The queues are stopped afterwards by the core. */
	void (*reset)(struct virtio_device *d);
	/* Optional, asked after reset: the host still reads or writes guest memory on the device's behalf. The reset is then held up, the queues stopped, what the
	 * driver writes to status ignored, until the device calls virtio_device_reset_done. */
	bool (*is_busy)(struct virtio_device *d);
	/* Optional: the device has failed or the driver has given it up, so nothing moves until a reset. It may come from inside virtq_pop. */
	void (*stopped)(struct virtio_device *d);
	/* The driver made chains available on queue @q; it is running. Spurious calls happen. */
	void (*kick)(struct virtio_device *d, unsigned q);
	/* The driver wrote @len (1, 2, 4 or 8) bytes inside the configuration space. NULL: read-only, the write is reported and ignored. */
	void (*config_write)(struct virtio_device *d, uint32_t off, const void *src, uint32_t len);
};

/* Where interrupts go: irqfds in the monitor, counters in a test. Thread: the device's loop. */
struct virtio_irq {
	/* Optional: a driver is there, so that interrupts and kicks may come from now on. Called each time, before activate. 0 or -errno: the device fails. */
	int (*connect)(void *ctx);
	void (*used)(void *ctx, unsigned q); /* buffers were used on queue @q */
	void (*config)(void *ctx); /* configuration changed, or NEEDS_RESET */
	void *ctx;
};

struct virtio_shm {
	uint8_t id;
	uint64_t gpa, len; /* bytes */
};

struct virtio_regs; /* one 0x200-byte window of a register page: mmio.h */

struct virtio_device {
	const struct virtio_device_ops *ops;
	struct loop *loop;
	const struct gmem *mem;
	struct virtio_regs *regs; /* status, interrupt status and configuration live here; NULL until a transport takes the device */
	uint8_t initial_config[VIRTIO_CONFIG_MAX]; /* configuration until then */
	struct virtio_irq irq;
	/* Handed over by the transport with each status write, and only then: */
	uint64_t driver_features; /* what the driver accepted; checked from FEATURES_OK on */
	struct virtq_config queue_config[VIRTIO_QUEUES_MAX];
	bool queue_ready[VIRTIO_QUEUES_MAX];
	struct virtq vq[VIRTIO_QUEUES_MAX]; /* running between activate and reset */
	struct virtio_shm shm[VIRTIO_SHM_MAX]; /* set before the guest runs; len 0: none */
	struct log_limit log_limit;
	bool failed; /* virtio_device_fail was called since the last reset */
	bool resetting; /* a reset is held up by is_busy */
	unsigned resets; /* resets that are done; the transport looks at it from a vCPU thread (atomic) */
};

/* @irq and the register window come from the transport later (virtio_mmio_init). Asserts the contract of @ops. */
void virtio_device_init(struct virtio_device *d, const struct virtio_device_ops *ops, struct loop *loop, const struct gmem *mem);

/* All feature bits the device offers, the core's included. Thread: any. */
uint64_t virtio_device_features(const struct virtio_device *d);
bool virtio_device_has(const struct virtio_device *d, uint64_t feature); /* negotiated */
bool virtio_device_is_running(const struct virtio_device *d); /* DRIVER_OK and not failed */

/**
 * virtio_device_set_config - publish configuration bytes
 *
 * Before DRIVER_OK any length; afterwards one aligned store of at most 4 bytes (asserted), because a driver may be reading the page
 * without an exit. Raises no interrupt by itself. Range asserted against config_len.
 * Thread: the loop (or before the guest runs).
 */
void virtio_device_set_config(struct virtio_device *d, uint32_t off, const void *src, uint32_t len);
/* Tells the driver that configuration changed, if it is running. Thread: loop. */
void virtio_device_config_changed(struct virtio_device *d);

/* is_busy is false from now on: a reset that it held up is done, or nothing happens. Thread: loop. */
void virtio_device_reset_done(struct virtio_device *d);

/* The driver broke the protocol: logged once per reset, NEEDS_RESET, configuration interrupt, queues stop. Thread: loop. */
void virtio_device_fail(struct virtio_device *d, const char *why);

/*
 * For transports.
 */

/* The driver wrote the status register. Illegal transitions, bits that do not exist among them, are reported and ignored. Calls activate and reset. Thread: loop. */
void virtio_device_write_status(struct virtio_device *d, uint32_t status);
/* A kick arrived: serves every running queue (one notification descriptor serves the whole device). Thread: loop. */
void virtio_device_kick(struct virtio_device *d);

#endif
