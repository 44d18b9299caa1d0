/* SPDX-License-Identifier: MIT */
#include "vmm/boot_trace.h"
#include "vmm/virtio_bus.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/log.h"

#define REGISTER_PAGES ((X86_VIRTIO_MAX + VIRTIO_MMIO_PER_PAGE - 1) / VIRTIO_MMIO_PER_PAGE)

static_assert(REGISTER_PAGES * VIRTIO_MMIO_PAGE == X86_VIRTIO_MMIO_LEN, "what the memory map says");

int virtio_bus_init(struct virtio_bus *bus, struct kvm *kvm, struct ged *ged, bool fast)
{
	/* Whole pages: the guest sees nothing of what lies beside them. */
	static _Alignas(VIRTIO_MMIO_PAGE) uint8_t pages[X86_VIRTIO_MMIO_LEN];

	*bus = (struct virtio_bus){.kvm = kvm, .ged = ged, .is_fast = fast, .ack_fd = -1, .register_pages = pages};
	/* One slot has all devices: its pages hold nothing but registers. */
	return fast ? kvm_add_readonly_memory(kvm, X86_VIRTIO_MMIO_GPA, pages, X86_VIRTIO_MMIO_LEN) : 0;
}

static void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static void on_used(void *ctx, unsigned q)
{
	struct virtio_slot *slot = ctx;

	(void)q;
	count(&slot->interrupts);
	eventfd_write(slot->irq_fd, 1);
}

static void on_config(void *ctx)
{
	struct virtio_slot *slot = ctx;

	count(&slot->config_interrupts);
	eventfd_write(slot->irq_fd, 1);
}

static void on_kick(struct loop_source *src, uint32_t events)
{
	struct virtio_slot *slot = (struct virtio_slot *)((char *)src - offsetof(struct virtio_slot, kick));

	(void)events;
	if (slot->turns == 0) {
		boot_trace_mark("guest: first work for %s", slot->dev->ops->name);
	}
	count(&slot->turns);
	virtio_device_kick(slot->dev);
}

/* An end for the acknowledges of all devices, whose loops may come here at the same time. Return: a descriptor or -1 with errno. */
static int get_ack_fd(struct virtio_bus *bus)
{
	int there = __atomic_load_n(&bus->ack_fd, __ATOMIC_ACQUIRE), fd;

	if (there >= 0) {
		return there;
	}
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd >= 0 && !__atomic_compare_exchange_n(&bus->ack_fd, &there, fd, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		close(fd);
		return there;
	}
	return fd;
}

static int connect_slot(struct virtio_slot *slot)
{
	struct kvm *kvm = slot->bus->kvm;
	int ack_fd = slot->bus->is_fast ? get_ack_fd(slot->bus) : -1, r;

	slot->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	slot->kick.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (slot->irq_fd < 0 || slot->kick.fd < 0 || (slot->bus->is_fast && ack_fd < 0)) {
		r = -errno;
		log_errno(LOG_ERR, r, "virtio: eventfd");
		return r;
	}
	r = kvm_add_irqfd(kvm, slot->irq_fd, slot->gsi);
	if (r == 0) {
		r = kvm_add_ioeventfd(kvm, slot->kick.fd, slot->gpa + VIRTIO_MMIO_QUEUE_NOTIFY);
	}
	if (r == 0 && ack_fd >= 0) {
		/* Nothing is to be done for it: no acknowledge clears this bit. One with the configuration bit is another value, and exits. */
		r = kvm_add_ioeventfd_value(kvm, ack_fd, slot->gpa + VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	}
	return r == 0 ? loop_add(slot->dev->loop, &slot->kick) : r;
}

/* The first driver brings it about: it is no part of the start, and a device without one costs nothing. Tried once, so that a guest cannot fill the log with what fails. */
static int on_connect(void *ctx)
{
	struct virtio_slot *slot = ctx;

	if (!slot->is_tried) {
		slot->is_tried = true;
		__atomic_store_n(&slot->is_connected, connect_slot(slot) == 0, __ATOMIC_RELEASE);
	}
	return slot->is_connected ? 0 : -EIO;
}

/* The next place, empty. Return: its number, or -errno (logged). */
static int take_slot(struct virtio_bus *bus)
{
	static const uint8_t gsi[X86_VIRTIO_MAX] = X86_GSI_VIRTIO;
	unsigned index = bus->nslots;
	struct virtio_slot *slot = &bus->slot[index];

	if (index == X86_VIRTIO_MAX) {
		log_msg(LOG_ERR, "more than %d virtio devices: no interrupt line left", X86_VIRTIO_MAX);
		return -ENOSPC;
	}
	*slot = (struct virtio_slot){
		.gpa = X86_VIRTIO_MMIO_GPA + (uint64_t)index * VIRTIO_MMIO_WINDOW,
		.gsi = gsi[index],
		.bus = bus,
		.irq_fd = -1,
		.kick = {.fd = -1, .events = EPOLLIN | EPOLLET, .fn = on_kick},
	};
	bus->nslots++;
	virtio_mmio_init(&slot->transport, (struct virtio_regs *)(bus->register_pages + index * VIRTIO_MMIO_WINDOW));
	return (int)index;
}

static void fill_slot(struct virtio_slot *slot, struct virtio_device *dev)
{
	struct virtio_irq irq = {.connect = on_connect, .used = on_used, .config = on_config, .ctx = slot};

	slot->dev = dev;
	virtio_mmio_plug(&slot->transport, dev, &irq);
}

int virtio_bus_add(struct virtio_bus *bus, struct virtio_device *dev)
{
	int r = take_slot(bus);

	if (r < 0) {
		return r;
	}
	fill_slot(&bus->slot[r], dev);
	return 0;
}

int virtio_bus_reserve(struct virtio_bus *bus)
{
	int r = take_slot(bus);

	if (r >= 0) {
		bus->slot[r].is_reserved = true;
		bus->ged->has_registers = true;
	}
	return r;
}

void virtio_bus_plug(struct virtio_bus *bus, unsigned place, struct virtio_device *dev)
{
	struct virtio_slot *slot = &bus->slot[place];

	assert(place < bus->nslots && slot->is_reserved && !slot->dev && loop_is_current(dev->loop));
	fill_slot(slot, dev);
	ged_add_device(bus->ged, 1u << place);
}

void virtio_bus_describe(const struct virtio_bus *bus, struct x86_acpi_config *acpi)
{
	acpi->nvirtio = bus->nslots;
	for (unsigned i = 0; i < bus->nslots; i++) {
		acpi->virtio[i] = (struct x86_acpi_virtio){
			.gpa = bus->slot[i].gpa, .len = VIRTIO_MMIO_WINDOW, .gsi = bus->slot[i].gsi, .may_come = bus->slot[i].is_reserved};
	}
}

json_t *virtio_bus_stats(struct virtio_bus *bus)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < bus->nslots; i++) {
		struct virtio_slot *slot = &bus->slot[i];
		eventfd_t n = 0;

		if (!slot->dev) {
			continue;
		}
		/* Nobody else reads it, so it has counted them all. It is put back: an edge that its loop has not seen yet would be lost with it. */
		if (__atomic_load_n(&slot->is_connected, __ATOMIC_ACQUIRE) && eventfd_read(slot->kick.fd, &n) == 0) {
			eventfd_write(slot->kick.fd, n);
		}
		json_array_append_new(array, json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I}", "place", (int)i, "name", slot->dev->ops->name, "kicks", (json_int_t)n, "turns",
			(json_int_t)__atomic_load_n(&slot->turns, __ATOMIC_RELAXED), "interrupts",
			(json_int_t)__atomic_load_n(&slot->interrupts, __ATOMIC_RELAXED), "config_interrupts",
			(json_int_t)__atomic_load_n(&slot->config_interrupts, __ATOMIC_RELAXED), "acks", (json_int_t)__atomic_load_n(&slot->acks, __ATOMIC_RELAXED)));
	}
	return array;
}

void virtio_bus_stop(struct virtio_bus *bus)
{
	for (unsigned i = 0; i < bus->nslots; i++) {
		virtio_mmio_stop(&bus->slot[i].transport);
	}
}

void virtio_bus_reset(struct virtio_bus *bus, const struct loop *loop)
{
	for (unsigned i = bus->nslots; i-- > 0;) {
		if (bus->slot[i].dev && bus->slot[i].dev->loop == loop) {
			virtio_device_write_status(bus->slot[i].dev, 0);
		}
	}
}

void virtio_bus_finish(struct virtio_bus *bus)
{
	for (unsigned i = 0; i < bus->nslots; i++) {
		struct virtio_slot *slot = &bus->slot[i];

		loop_remove(&slot->kick);
		virtio_mmio_finish(&slot->transport);
		if (slot->kick.fd >= 0) {
			close(slot->kick.fd);
		}
		if (slot->irq_fd >= 0) {
			close(slot->irq_fd);
		}
	}
	if (bus->register_pages && bus->ack_fd >= 0) {
		close(bus->ack_fd);
	}
	*bus = (struct virtio_bus){.nslots = 0};
}

static bool is_register(uint64_t gpa)
{
	return gpa >= X86_VIRTIO_MMIO_GPA && gpa - X86_VIRTIO_MMIO_GPA < X86_VIRTIO_MMIO_LEN;
}

/* The place whose window @gpa, a register, lies in; NULL: nobody's. */
static struct virtio_slot *slot_at(struct virtio_bus *bus, uint64_t gpa)
{
	uint64_t index = (gpa - X86_VIRTIO_MMIO_GPA) / VIRTIO_MMIO_WINDOW;

	return index < bus->nslots ? &bus->slot[index] : NULL;
}

bool virtio_bus_read(struct virtio_bus *bus, uint64_t gpa, void *dst, uint32_t len)
{
	struct virtio_slot *slot;

	if (!is_register(gpa)) {
		return false;
	}
	slot = slot_at(bus, gpa);
	if (slot) {
		virtio_mmio_read(&slot->transport, (uint32_t)(gpa % VIRTIO_MMIO_WINDOW), dst, len);
	} else {
		memset(dst, 0, len);
	}
	return true;
}

static void count_ack(struct virtio_slot *slot, uint32_t reg, const void *src, uint32_t len)
{
	uint32_t value;

	if (reg != VIRTIO_MMIO_INTERRUPT_ACK || len != sizeof(value)) {
		return;
	}
	memcpy(&value, src, sizeof(value));
	if (le32toh(value) == VIRTIO_MMIO_INT_VRING) {
		__atomic_fetch_add(&slot->acks, 1, __ATOMIC_RELAXED);
	}
}

bool virtio_bus_write(struct virtio_bus *bus, uint64_t gpa, const void *src, uint32_t len)
{
	struct virtio_slot *slot;

	if (!is_register(gpa)) {
		return false;
	}
	slot = slot_at(bus, gpa);
	if (slot) {
		count_ack(slot, (uint32_t)(gpa % VIRTIO_MMIO_WINDOW), src, len);
		virtio_mmio_write(&slot->transport, (uint32_t)(gpa % VIRTIO_MMIO_WINDOW), src, len);
	}
	return true;
}
