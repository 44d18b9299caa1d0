/* SPDX-License-Identifier: MIT */
#include "virtio/device.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "virtio/mmio.h"

#define CORE_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)

/* Register words that the driver reads while the loop writes. */
static uint32_t reg_load(const struct virtio_device *d, enum virtio_mmio_reg reg)
{
	return le32toh(__atomic_load_n(&d->regs->word[reg / 4], __ATOMIC_ACQUIRE));
}

static void reg_store(struct virtio_device *d, enum virtio_mmio_reg reg, uint32_t value)
{
	__atomic_store_n(&d->regs->word[reg / 4], htole32(value), __ATOMIC_RELEASE);
}

static void reg_set_bits(struct virtio_device *d, enum virtio_mmio_reg reg, uint32_t bits)
{
	__atomic_fetch_or(&d->regs->word[reg / 4], htole32(bits), __ATOMIC_ACQ_REL);
}

static void check_ops(const struct virtio_device_ops *ops)
{
	assert(ops->name && ops->device_id != 0);
	assert(ops->config_len <= VIRTIO_CONFIG_MAX);
	assert((ops->features & CORE_FEATURES) == 0);
	assert(ops->nqueues > 0 && ops->nqueues <= VIRTIO_QUEUES_MAX);
	for (unsigned q = 0; q < ops->nqueues; q++) {
		uint16_t size = ops->queue_size[q];

		assert(size > 0 && size <= VIRTQ_SIZE_MAX && (size & (size - 1)) == 0);
		(void)size;
	}
	assert(ops->activate && ops->reset && ops->kick);
}

void virtio_device_init(
	struct virtio_device *d, const struct virtio_device_ops *ops, struct loop *loop, const struct gmem *mem)
{
	check_ops(ops);
	*d = (struct virtio_device){.ops = ops, .loop = loop, .mem = mem};
}

uint64_t virtio_device_features(const struct virtio_device *d)
{
	return d->ops->features | CORE_FEATURES;
}

bool virtio_device_has(const struct virtio_device *d, uint64_t feature)
{
	return (d->driver_features & feature) == feature;
}

bool virtio_device_is_running(const struct virtio_device *d)
{
	return d->regs && !d->failed && !d->resetting && (reg_load(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_DRIVER_OK);
}

/* One store, so that a driver reading the page without an exit sees the old value or the new one. */
static void store_config_once(uint8_t *dst, const void *src, uint32_t len)
{
	uint16_t v16;
	uint32_t v32;

	switch (len) {
	case 1:
		__atomic_store_n(dst, *(const uint8_t *)src, __ATOMIC_RELAXED);
		break;
	case 2:
		memcpy(&v16, src, sizeof(v16));
		__atomic_store_n((uint16_t *)(void *)dst, v16, __ATOMIC_RELAXED);
		break;
	default:
		memcpy(&v32, src, sizeof(v32));
		__atomic_store_n((uint32_t *)(void *)dst, v32, __ATOMIC_RELAXED);
		break;
	}
}

void virtio_device_set_config(struct virtio_device *d, uint32_t off, const void *src, uint32_t len)
{
	assert(off <= d->ops->config_len && len <= d->ops->config_len - off);
	if (!d->regs) {
		memcpy(d->initial_config + off, src, len);
		return;
	}
	assert(loop_is_current(d->loop));
	/* Counted before and after: whoever read any of the old bytes finds another generation. */
	reg_store(d, VIRTIO_MMIO_CONFIG_GENERATION, reg_load(d, VIRTIO_MMIO_CONFIG_GENERATION) + 1);
	if (virtio_device_is_running(d)) {
		assert((len == 1 || len == 2 || len == 4) && off % len == 0);
		store_config_once(d->regs->bytes + VIRTIO_MMIO_CONFIG + off, src, len);
	} else {
		memcpy(d->regs->bytes + VIRTIO_MMIO_CONFIG + off, src, len);
	}
	reg_store(d, VIRTIO_MMIO_CONFIG_GENERATION, reg_load(d, VIRTIO_MMIO_CONFIG_GENERATION) + 1);
}

static void raise_config(struct virtio_device *d)
{
	reg_set_bits(d, VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_INT_CONFIG);
	d->irq.config(d->irq.ctx);
}

void virtio_device_config_changed(struct virtio_device *d)
{
	if (virtio_device_is_running(d)) {
		assert(loop_is_current(d->loop));
		raise_config(d);
	}
}

static void stop_queues(struct virtio_device *d)
{
	for (unsigned q = 0; q < d->ops->nqueues; q++) {
		virtq_stop(&d->vq[q]);
	}
}

static void tell_stopped(struct virtio_device *d)
{
	if (d->ops->stopped) {
		d->ops->stopped(d);
	}
}

void virtio_device_fail(struct virtio_device *d, const char *why)
{
	assert(loop_is_current(d->loop));
	if (d->failed || d->resetting) {
		return;
	}
	d->failed = true;
	stop_queues(d);
	log_guest(&d->log_limit, d->ops->name, "%s: the device stops until the driver resets it", why);
	reg_set_bits(d, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_NEEDS_RESET);
	if (reg_load(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_DRIVER_OK) {
		raise_config(d);
	}
	tell_stopped(d);
}

static void finish_reset(struct virtio_device *d)
{
	d->driver_features = 0;
	d->failed = false;
	d->resetting = false;
	memset(d->queue_ready, 0, sizeof(d->queue_ready));
	if (d->regs) {
		reg_store(d, VIRTIO_MMIO_INTERRUPT_STATUS, 0);
		reg_store(d, VIRTIO_MMIO_STATUS, 0);
	}
	/* Last: the vCPU that waits for it goes on at once. */
	__atomic_store_n(&d->resets, d->resets + 1, __ATOMIC_RELEASE);
}

static void reset(struct virtio_device *d)
{
	d->ops->reset(d);
	stop_queues(d);
	d->resetting = d->ops->is_busy && d->ops->is_busy(d);
	if (!d->resetting) {
		finish_reset(d);
	}
}

void virtio_device_reset_done(struct virtio_device *d)
{
	if (d->resetting) {
		assert(loop_is_current(d->loop));
		finish_reset(d);
	}
}

/* virtio v1.3, 3.1.1 "Driver Requirements: Device Initialization", steps 5 and 6: not setting the bit is the refusal. */
static void accept_features(struct virtio_device *d)
{
	uint64_t bits = d->driver_features;

	if (!(bits & VIRTIO_F_VERSION_1) || (bits & ~virtio_device_features(d))) {
		log_guest(&d->log_limit, d->ops->name, "driver features 0x%llx refused, offered 0x%llx", (unsigned long long)bits,
			(unsigned long long)virtio_device_features(d));
		d->driver_features = 0;
		return;
	}
	reg_set_bits(d, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_FEATURES_OK);
}

static void start(struct virtio_device *d)
{
	if (d->irq.connect && d->irq.connect(d->irq.ctx) < 0) {
		virtio_device_fail(d, "no way for its interrupts and kicks");
		return;
	}
	for (unsigned q = 0; q < d->ops->nqueues; q++) {
		if (d->queue_ready[q] && virtq_start(&d->vq[q], d, q, &d->queue_config[q]) < 0) {
			virtio_device_fail(d, "broken queue configuration");
			return;
		}
	}
	/* The vring bit stays set from here to reset; why is in mmio.h. */
	reg_set_bits(d, VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_INT_VRING);
	reg_set_bits(d, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_DRIVER_OK);
	if (d->ops->activate(d) < 0) {
		virtio_device_fail(d, "the device could not be activated");
	}
}

#define S_ACK VIRTIO_STATUS_ACKNOWLEDGE
#define S_DRIVER (S_ACK | VIRTIO_STATUS_DRIVER)
#define S_FEATURES_OK (S_DRIVER | VIRTIO_STATUS_FEATURES_OK)
#define S_DRIVER_OK (S_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK)

static void set_status(struct virtio_device *d, uint8_t to)
{
	reg_store(d, VIRTIO_MMIO_STATUS, to);
}

/* The legal way up. A write of the current value, of 0 (reset) and of FAILED is legal everywhere. */
static const struct transition {
	uint8_t from, to;
	void (*enter)(struct virtio_device *d); /* NULL: only the bits change */
} transitions[] = {
	{0, S_ACK, NULL},
	{S_ACK, S_DRIVER, NULL},
	{S_DRIVER, S_FEATURES_OK, accept_features},
	{S_FEATURES_OK, S_DRIVER_OK, start},
};

void virtio_device_write_status(struct virtio_device *d, uint32_t status)
{
	uint8_t now = (uint8_t)reg_load(d, VIRTIO_MMIO_STATUS);

	assert(loop_is_current(d->loop));
	if (d->resetting) {
		return;
	}
	if (status == 0) {
		reset(d);
		return;
	}
	/* The register is wider than the field (virtio v1.3, 4.2.2 "MMIO Device Register Layout"), and only 0 is a reset. */
	if (status > UINT8_MAX) {
		log_guest(&d->log_limit, d->ops->name, "status 0x%x ignored: there are no such bits", status);
		return;
	}
	if (status & VIRTIO_STATUS_FAILED) {
		stop_queues(d);
		d->failed = true;
		reg_set_bits(d, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_FAILED);
		tell_stopped(d);
		return;
	}
	/* NEEDS_RESET is the device's bit; a driver that writes back what it read means no harm. */
	if ((status | VIRTIO_STATUS_NEEDS_RESET) == (now | VIRTIO_STATUS_NEEDS_RESET)) {
		return;
	}
	for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++) {
		const struct transition *t = &transitions[i];

		if (t->from == now && t->to == status) {
			if (t->enter) {
				t->enter(d);
			} else {
				set_status(d, t->to);
			}
			return;
		}
	}
	log_guest(&d->log_limit, d->ops->name, "status 0x%02x after 0x%02x ignored", status, now);
}

void virtio_device_kick(struct virtio_device *d)
{
	assert(loop_is_current(d->loop));
	for (unsigned q = 0; q < d->ops->nqueues; q++) {
		if (d->vq[q].running) {
			d->ops->kick(d, q);
		}
	}
}
