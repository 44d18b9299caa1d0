/* SPDX-License-Identifier: MIT */
/*
 * The virtio devices of a VM on their places: register window, interrupt line, doorbell.
 *
 * Device number n has the n-th window of the register pages and the n-th interrupt of X86_GSI_VIRTIO. A kick reaches the device's loop
 * through an ioeventfd and an interrupt leaves through an irqfd, so neither enters the monitor on a vCPU thread.
 *
 * Thread: the main thread sets up and tears down; read and write run on vCPU threads.
 */
#ifndef VMM_VIRTIO_BUS_H
#define VMM_VIRTIO_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/x86_acpi.h"
#include "boot/x86_layout.h"
#include "virtio/mmio.h"
#include "vmm/kvm.h"
#include "vmm/loop.h"

struct virtio_slot {
	struct virtio_mmio transport;
	struct virtio_device *dev;
	struct loop_source kick; /* its eventfd is written by the guest's stores to QueueNotify */
	int irq_fd;
	uint64_t gpa;
	uint32_t gsi;
};

struct virtio_bus {
	struct kvm *kvm;
	uint8_t *register_pages;
	struct virtio_slot slot[X86_VIRTIO_MAX];
	unsigned nslots;
};

/* Return: 0 or -errno (logged). */
int virtio_bus_init(struct virtio_bus *bus, struct kvm *kvm);

/* Puts an initialised device on the next place; it stays the caller's. Return: 0, -ENOSPC when all are taken, or another -errno (logged). */
int virtio_bus_add(struct virtio_bus *bus, struct virtio_device *dev);

/* What the guest is told about the devices. */
void virtio_bus_describe(const struct virtio_bus *bus, struct x86_acpi_config *acpi);

/* Resets every device. No vCPU runs any more; the devices' loops still do. */
void virtio_bus_reset(struct virtio_bus *bus);
void virtio_bus_finish(struct virtio_bus *bus); /* accepts zeroed memory */

/* Return: false when no device has this address. Thread: vCPU. */
bool virtio_bus_read(struct virtio_bus *bus, uint64_t gpa, void *dst, uint32_t len);
bool virtio_bus_write(struct virtio_bus *bus, uint64_t gpa, const void *src, uint32_t len);

#endif
