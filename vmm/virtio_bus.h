/* SPDX-License-Identifier: MIT */
/*
 * The virtio devices of a VM on their places: register window, interrupt line, doorbell.
 *
 * Device number n has the n-th window of the register pages and the n-th interrupt of X86_GSI_VIRTIO. A kick reaches the device's loop
 * through an ioeventfd and an interrupt leaves through an irqfd, so neither enters the monitor on a vCPU thread. Both are made when the first driver says that it is there.
 *
 * A fast bus gives the guest the register pages as read-only memory: a driver's loads, of InterruptStatus in each interrupt above all, do not leave the guest. Its stores
 * still exit, as virtio_bus_write, but for two that KVM swallows: QueueNotify, and the acknowledge of an interrupt that says "used buffers" only. A strict bus answers
 * loads and acknowledges by exits, from the same bytes. virtio/mmio.h says what makes both right.
 *
 * A place can be reserved for a device that comes while the guest runs. Until the device is there the window
 * says that there is none, and ACPI says that it is absent. A place is filled once: a device that is lost later falls silent.
 *
 * Thread: the main thread sets up, plugs and tears down; read and write run on vCPU threads.
 */
#ifndef VMM_VIRTIO_BUS_H
#define VMM_VIRTIO_BUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "boot/x86_acpi.h"
#include "boot/x86_layout.h"
#include "devices/ged.h"
#include "virtio/mmio.h"
#include "vmm/kvm.h"
#include "vmm/loop.h"

struct virtio_bus;

struct virtio_slot {
	struct virtio_mmio transport;
	struct virtio_device *dev; /* NULL: reserved */
	struct loop_source kick; /* its eventfd is written by the guest's stores to QueueNotify, and not read: an edge is enough */
	/* Written by the device's loop (atomic). */
	uint64_t turns; /* that kicks have begun; several kicks may be one */
	uint64_t interrupts, config_interrupts;
	uint64_t acks; /* exits to acknowledge nothing but used buffers: fast, nobody has any. Written by vCPUs (atomic) */
	struct virtio_bus *bus;
	int irq_fd; /* -1: no driver has come yet, or it could not be had */
	bool is_tried; /* to connect it */
	bool is_connected; /* atomic */
	uint64_t gpa;
	uint32_t gsi;
	bool is_reserved; /* for a device that comes later, or has come later */
};

struct virtio_bus {
	struct kvm *kvm;
	struct ged *ged;
	uint8_t *register_pages;
	bool is_fast;
	int ack_fd; /* fast: swallows acknowledges, nobody reads it; -1: no driver has come yet (atomic) */
	struct virtio_slot slot[X86_VIRTIO_MAX];
	unsigned nslots;
};

/* One for each process. @ged: tells the guest that a device has come. Return: 0 or -errno (logged). */
int virtio_bus_init(struct virtio_bus *bus, struct kvm *kvm, struct ged *ged, bool fast);

/* Puts an initialised device on the next place; it stays the caller's. Return: 0, -ENOSPC when all are taken, or another -errno (logged). */
int virtio_bus_add(struct virtio_bus *bus, struct virtio_device *dev);

/* Reserves the next place, before the guest runs. Return: its number for virtio_bus_plug, -ENOSPC when all are taken, or another -errno (logged). */
int virtio_bus_reserve(struct virtio_bus *bus);

/**
 * virtio_bus_plug - put an initialised device on a reserved place, and tell the guest; it stays the caller's
 *
 * The guest may be running. One that is paused, or has not loaded its drivers, is told when it goes on.
 * Thread: the main thread, and the device's loop is its.
 */
void virtio_bus_plug(struct virtio_bus *bus, unsigned place, struct virtio_device *dev);

/* What the guest is told about the devices. */
void virtio_bus_describe(const struct virtio_bus *bus, struct x86_acpi_config *acpi);

/* An array: place, name, kicks, turns and interrupts of every device. Return: a new reference. Thread: the main thread. */
json_t *virtio_bus_stats(struct virtio_bus *bus);

/* The guest is not going to run any more: no vCPU waits for a device's reset. Thread: any. */
void virtio_bus_stop(struct virtio_bus *bus);
/* Resets the devices of @loop. No vCPU runs any more. Thread: @loop's. */
void virtio_bus_reset(struct virtio_bus *bus, const struct loop *loop);
void virtio_bus_finish(struct virtio_bus *bus); /* accepts zeroed memory */

/* Return: false when @gpa is not in the register pages. Windows that nothing has are zero. Thread: vCPU. */
bool virtio_bus_read(struct virtio_bus *bus, uint64_t gpa, void *dst, uint32_t len);
bool virtio_bus_write(struct virtio_bus *bus, uint64_t gpa, const void *src, uint32_t len);

#endif
