/* SPDX-License-Identifier: MIT */
#include "vmm/boot_trace.h"
#include "vmm/virtio_bus.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/log.h"

#define REGISTER_PAGES ((X86_VIRTIO_MAX + VIRTIO_MMIO_PER_PAGE - 1) / VIRTIO_MMIO_PER_PAGE)

static_assert(REGISTER_PAGES * VIRTIO_MMIO_PAGE == X86_VIRTIO_MMIO_LEN, "what the memory map says");

/* Reading without exits, and an end for acknowledges. One slot has all devices: its pages hold nothing but registers. */
static int make_fast(struct virtio_bus *bus)
{
	int r;

	bus->ack_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (bus->ack_fd < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "virtio: eventfd");
		return r;
	}
	return kvm_add_readonly_memory(bus->kvm, X86_VIRTIO_MMIO_GPA, bus->register_pages, X86_VIRTIO_MMIO_LEN);
}

int virtio_bus_init(struct virtio_bus *bus, struct kvm *kvm, struct ged *ged, bool fast)
{
	void *pages = mmap(NULL, X86_VIRTIO_MMIO_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	*bus = (struct virtio_bus){.kvm = kvm, .ged = ged, .ack_fd = -1};
	if (pages == MAP_FAILED) {
		r = -errno;
		log_errno(LOG_ERR, r, "register pages");
		return r;
	}
	bus->register_pages = pages;
	return fast ? make_fast(bus) : 0;
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

static int connect_slot(struct virtio_bus *bus, struct virtio_slot *slot)
{
	int r;

	if (slot->irq_fd < 0 || slot->kick.fd < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "virtio: eventfd");
		return r;
	}
	r = kvm_add_irqfd(bus->kvm, slot->irq_fd, slot->gsi);
	if (r == 0) {
		r = kvm_add_ioeventfd(bus->kvm, slot->kick.fd, slot->gpa + VIRTIO_MMIO_QUEUE_NOTIFY);
	}
	if (r < 0 || bus->ack_fd < 0) {
		return r;
	}
	/* Nothing is to be done for it: no acknowledge clears this bit. One with the configuration bit is another value, and exits. */
	return kvm_add_ioeventfd_value(bus->kvm, bus->ack_fd, slot->gpa + VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
}

/* The next place, connected but empty. Return: its number, or -errno (logged). */
static int take_slot(struct virtio_bus *bus)
{
	static const uint8_t gsi[X86_VIRTIO_MAX] = X86_GSI_VIRTIO;
	unsigned index = bus->nslots;
	struct virtio_slot *slot = &bus->slot[index];
	int r;

	if (index == X86_VIRTIO_MAX) {
		log_msg(LOG_ERR, "more than %d virtio devices: no interrupt line left", X86_VIRTIO_MAX);
		return -ENOSPC;
	}
	*slot = (struct virtio_slot){
		.gpa = X86_VIRTIO_MMIO_GPA + (uint64_t)index * VIRTIO_MMIO_WINDOW,
		.gsi = gsi[index],
		.irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.kick = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = EPOLLIN | EPOLLET, .fn = on_kick},
	};
	bus->nslots++;
	virtio_mmio_init(&slot->transport, (struct virtio_regs *)(bus->register_pages + index * VIRTIO_MMIO_WINDOW));
	r = connect_slot(bus, slot);
	return r < 0 ? r : (int)index;
}

static int fill_slot(struct virtio_slot *slot, struct virtio_device *dev)
{
	struct virtio_irq irq = {.used = on_used, .config = on_config, .ctx = slot};
	int r;

	slot->dev = dev;
	r = loop_add(dev->loop, &slot->kick);
	if (r < 0) {
		slot->dev = NULL;
		return r;
	}
	virtio_mmio_plug(&slot->transport, dev, &irq);
	return 0;
}

int virtio_bus_add(struct virtio_bus *bus, struct virtio_device *dev)
{
	int r = take_slot(bus);

	return r < 0 ? r : fill_slot(&bus->slot[r], dev);
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

int virtio_bus_plug(struct virtio_bus *bus, unsigned place, struct virtio_device *dev)
{
	struct virtio_slot *slot = &bus->slot[place];
	int r;

	assert(place < bus->nslots && slot->is_reserved && !slot->dev && loop_is_current(dev->loop));
	r = fill_slot(slot, dev);
	if (r == 0) {
		ged_add_device(bus->ged, 1u << place);
	}
	return r;
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
		if (eventfd_read(slot->kick.fd, &n) == 0) {
			eventfd_write(slot->kick.fd, n);
		}
		json_array_append_new(array, json_pack("{s:i, s:s, s:I, s:I, s:I, s:I}", "place", (int)i, "name", slot->dev->ops->name, "kicks", (json_int_t)n, "turns",
			(json_int_t)__atomic_load_n(&slot->turns, __ATOMIC_RELAXED), "interrupts",
			(json_int_t)__atomic_load_n(&slot->interrupts, __ATOMIC_RELAXED), "config_interrupts",
			(json_int_t)__atomic_load_n(&slot->config_interrupts, __ATOMIC_RELAXED)));
	}
	return array;
}

void virtio_bus_stop(struct virtio_bus *bus)
{
	for (unsigned i = 0; i < bus->nslots; i++) {
		virtio_mmio_stop(&bus->slot[i].transport);
	}
}

static void reset_slot(void *arg)
{
	struct virtio_slot *slot = arg;

	virtio_device_write_status(slot->dev, 0);
}

void virtio_bus_reset(struct virtio_bus *bus)
{
	for (unsigned i = bus->nslots; i-- > 0;) {
		if (bus->slot[i].dev) {
			loop_call(bus->slot[i].dev->loop, reset_slot, &bus->slot[i]);
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
	if (bus->register_pages) {
		if (bus->ack_fd >= 0) {
			close(bus->ack_fd);
		}
		munmap(bus->register_pages, X86_VIRTIO_MMIO_LEN);
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

bool virtio_bus_write(struct virtio_bus *bus, uint64_t gpa, const void *src, uint32_t len)
{
	struct virtio_slot *slot;

	if (!is_register(gpa)) {
		return false;
	}
	slot = slot_at(bus, gpa);
	if (slot) {
		virtio_mmio_write(&slot->transport, (uint32_t)(gpa % VIRTIO_MMIO_WINDOW), src, len);
	}
	return true;
}
