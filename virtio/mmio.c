/* SPDX-License-Identifier: MIT */
#include "virtio/mmio.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#define MAGIC 0x74726976u /* "virt" */
#define VERSION 2u
#define VENDOR 0x4d4d5654u /* "TVMM" */

static void set_word(struct virtio_mmio *t, enum virtio_mmio_reg reg, uint32_t value)
{
	__atomic_store_n(&t->regs->word[reg / 4], htole32(value), __ATOMIC_RELEASE);
}

static uint32_t status_of(const struct virtio_mmio *t)
{
	return le32toh(__atomic_load_n(&t->regs->word[VIRTIO_MMIO_STATUS / 4], __ATOMIC_ACQUIRE));
}

/* The words whose content depends on a selector. With the lock. */
static void refresh_device_features(struct virtio_mmio *t)
{
	uint64_t features = virtio_device_features(t->dev);
	uint32_t sel = t->device_features_sel;

	set_word(t, VIRTIO_MMIO_DEVICE_FEATURES, sel > 1 ? 0 : (uint32_t)(features >> (32 * sel)));
}

static void refresh_queue(struct virtio_mmio *t)
{
	bool exists = t->queue_sel < t->dev->ops->nqueues;

	set_word(t, VIRTIO_MMIO_QUEUE_SIZE_MAX, exists ? t->dev->ops->queue_size[t->queue_sel] : 0);
	set_word(t, VIRTIO_MMIO_QUEUE_READY, exists && t->ready[t->queue_sel]);
}

static void refresh_shm(struct virtio_mmio *t)
{
	/* virtio v1.3, 4.2.2 "MMIO Device Register Layout": a region that does not exist has length and base of all ones. */
	uint64_t len = UINT64_MAX, base = UINT64_MAX;

	for (unsigned i = 0; i < VIRTIO_SHM_MAX; i++) {
		const struct virtio_shm *shm = &t->dev->shm[i];

		if (shm->len > 0 && shm->id == t->shm_sel) {
			len = shm->len;
			base = shm->gpa;
		}
	}
	set_word(t, VIRTIO_MMIO_SHM_LEN_LOW, (uint32_t)len);
	set_word(t, VIRTIO_MMIO_SHM_LEN_HIGH, (uint32_t)(len >> 32));
	set_word(t, VIRTIO_MMIO_SHM_BASE_LOW, (uint32_t)base);
	set_word(t, VIRTIO_MMIO_SHM_BASE_HIGH, (uint32_t)(base >> 32));
}

void virtio_mmio_init(struct virtio_mmio *t, struct virtio_regs *regs)
{
	*t = (struct virtio_mmio){.regs = regs};
	pthread_mutex_init(&t->lock, NULL);
	memset(regs, 0, sizeof(*regs));
	set_word(t, VIRTIO_MMIO_MAGIC, MAGIC);
	set_word(t, VIRTIO_MMIO_VERSION, VERSION);
	set_word(t, VIRTIO_MMIO_VENDOR_ID, VENDOR);
}

void virtio_mmio_plug(struct virtio_mmio *t, struct virtio_device *dev, const struct virtio_irq *irq)
{
	assert(!t->dev);
	memcpy(t->regs->bytes + VIRTIO_MMIO_CONFIG, dev->initial_config, dev->ops->config_len);
	dev->irq = *irq;
	dev->regs = t->regs;
	/* From here on a vCPU that ignores the device id gets at the selectors. Pairs with the load in virtio_mmio_write. */
	pthread_mutex_lock(&t->lock);
	__atomic_store_n(&t->dev, dev, __ATOMIC_RELEASE);
	refresh_device_features(t);
	refresh_queue(t);
	refresh_shm(t);
	pthread_mutex_unlock(&t->lock);
	/* Last: what says that the rest is there. */
	set_word(t, VIRTIO_MMIO_DEVICE_ID, dev->ops->device_id);
}

void virtio_mmio_stop(struct virtio_mmio *t)
{
	__atomic_store_n(&t->stopping, true, __ATOMIC_RELEASE);
}

void virtio_mmio_finish(struct virtio_mmio *t)
{
	if (t->dev) {
		t->dev->regs = NULL;
	}
	if (t->regs) {
		pthread_mutex_destroy(&t->lock);
	}
	*t = (struct virtio_mmio){.dev = NULL};
}

void virtio_mmio_read(struct virtio_mmio *t, uint32_t off, void *dst, uint32_t len)
{
	uint32_t word;

	assert(off < VIRTIO_MMIO_WINDOW && len >= 1 && len <= 8);
	if (len == 4 && off % 4 == 0) {
		word = __atomic_load_n(&t->regs->word[off / 4], __ATOMIC_ACQUIRE);
		memcpy(dst, &word, sizeof(word));
		return;
	}
	memset(dst, 0, len);
	memcpy(dst, t->regs->bytes + off, len < VIRTIO_MMIO_WINDOW - off ? len : VIRTIO_MMIO_WINDOW - off);
}

/*
 * Handed to the device's loop. The vCPU waits without the lock, so the loop may take it.
 */

struct status_write {
	struct virtio_mmio *t;
	uint32_t status;
	unsigned resets; /* done before this one */
};

static void write_status_on_loop(void *arg)
{
	struct status_write *w = arg;
	struct virtio_mmio *t = w->t;
	struct virtio_device *dev = t->dev;
	uint32_t before = status_of(t);

	/* The device gets a copy of what the driver has set up, so no other vCPU can change it under the device's hands. */
	pthread_mutex_lock(&t->lock);
	if (!(before & VIRTIO_STATUS_FEATURES_OK)) {
		dev->driver_features = t->driver_features;
	}
	if (!(before & VIRTIO_STATUS_DRIVER_OK)) {
		memcpy(dev->queue_config, t->queue, sizeof(t->queue));
		memcpy(dev->queue_ready, t->ready, sizeof(t->ready));
	}
	pthread_mutex_unlock(&t->lock);

	w->resets = dev->resets;
	virtio_device_write_status(dev, w->status);

	if (w->status == 0) {
		pthread_mutex_lock(&t->lock);
		t->driver_features = 0;
		memset(t->queue, 0, sizeof(t->queue));
		memset(t->ready, 0, sizeof(t->ready));
		refresh_queue(t);
		pthread_mutex_unlock(&t->lock);
	}
}

/* On the vCPU's thread, without the lock; the loop goes on meanwhile. A test that drives the device from the loop's thread looks at status instead. */
static void wait_for_reset(const struct status_write *w)
{
	const struct virtio_device *dev = w->t->dev;
	const struct timespec pause = {.tv_nsec = 500000};

	for (unsigned i = 0; i < 2 * VIRTIO_MMIO_RESET_WAIT_MS; i++) {
		if (__atomic_load_n(&dev->resets, __ATOMIC_ACQUIRE) != w->resets || loop_is_current(dev->loop) ||
			__atomic_load_n(&w->t->stopping, __ATOMIC_ACQUIRE)) {
			return;
		}
		nanosleep(&pause, NULL);
	}
	log_msg(LOG_WARN, "%s: its reset waits for the host, the driver is told so", dev->ops->name);
}

static void kick_on_loop(void *arg)
{
	virtio_device_kick(arg);
}

struct config_write {
	struct virtio_device *dev;
	uint32_t off, len;
	const void *src;
};

static void write_config_on_loop(void *arg)
{
	const struct config_write *w = arg;

	w->dev->ops->config_write(w->dev, w->off, w->src, w->len);
}

static void write_config(struct virtio_mmio *t, uint32_t off, const void *src, uint32_t len)
{
	const struct virtio_device_ops *ops = t->dev->ops;
	struct config_write w = {.dev = t->dev, .off = off, .len = len, .src = src};

	if (!ops->config_write || off >= ops->config_len || len > ops->config_len - off ||
		(len != 1 && len != 2 && len != 4 && len != 8)) {
		log_guest(&t->log_limit, ops->name, "write of %u bytes to configuration offset 0x%x ignored", len, off);
		return;
	}
	loop_call(t->dev->loop, write_config_on_loop, &w);
}

/*
 * Register writes. With the lock. Return: false when the write is not allowed (now).
 */

static bool write_driver_features(struct virtio_mmio *t, uint32_t value)
{
	uint32_t sel = t->driver_features_sel, status = status_of(t);
	unsigned shift = 32 * (sel & 1);

	if (sel > 1) {
		return value == 0;
	}
	if (!(status & VIRTIO_STATUS_DRIVER) || (status & VIRTIO_STATUS_FEATURES_OK)) {
		return false;
	}
	t->driver_features = (t->driver_features & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
	return true;
}

/* Queue registers: after the features are settled, before the device runs. Return: the selected queue or NULL. */
static struct virtq_config *selected_queue(struct virtio_mmio *t)
{
	const uint32_t phase = VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FAILED;

	if (t->queue_sel >= t->dev->ops->nqueues || (status_of(t) & phase) != VIRTIO_STATUS_FEATURES_OK) {
		return NULL;
	}
	return &t->queue[t->queue_sel];
}

static bool write_queue_ready(struct virtio_mmio *t, uint32_t value)
{
	struct virtq_config *q = selected_queue(t);

	if (!q) {
		/* Linux writes 0 when it takes a queue down, whatever state the device is in. */
		return value == 0 && (t->queue_sel >= t->dev->ops->nqueues || !t->ready[t->queue_sel]);
	}
	t->ready[t->queue_sel] = value == 1 && virtq_config_is_valid(q, t->dev->ops->queue_size[t->queue_sel], t->dev->mem);
	refresh_queue(t);
	return value == 0 || t->ready[t->queue_sel];
}

static bool write_queue_size(struct virtio_mmio *t, uint32_t value)
{
	struct virtq_config *q = selected_queue(t);

	if (!q || t->ready[t->queue_sel]) {
		return false;
	}
	/* 0 is no size: the queue cannot become ready. */
	q->size = value <= UINT16_MAX ? (uint16_t)value : 0;
	return true;
}

static bool write_queue_address(struct virtio_mmio *t, uint32_t off, uint32_t value)
{
	struct virtq_config *q = selected_queue(t);
	uint64_t *address;

	if (!q || t->ready[t->queue_sel]) {
		return false;
	}
	address = off < VIRTIO_MMIO_QUEUE_DRIVER_LOW ? &q->desc : off < VIRTIO_MMIO_QUEUE_DEVICE_LOW ? &q->driver : &q->device;
	if (off % 8 == 0) {
		*address = (*address & ~0xffffffffull) | value;
	} else {
		*address = (*address & 0xffffffffull) | (uint64_t)value << 32;
	}
	return true;
}

static bool write_register(struct virtio_mmio *t, uint32_t off, uint32_t value)
{
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		t->device_features_sel = value;
		refresh_device_features(t);
		return true;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		return write_driver_features(t, value);
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		t->driver_features_sel = value;
		return true;
	case VIRTIO_MMIO_QUEUE_SEL:
		t->queue_sel = value;
		refresh_queue(t);
		return true;
	case VIRTIO_MMIO_QUEUE_SIZE:
		return write_queue_size(t, value);
	case VIRTIO_MMIO_QUEUE_READY:
		return write_queue_ready(t, value);
	case VIRTIO_MMIO_INTERRUPT_ACK:
		/* Only the configuration bit: the vring bit is sticky. */
		__atomic_fetch_and(&t->regs->word[VIRTIO_MMIO_INTERRUPT_STATUS / 4],
			htole32(~(value & VIRTIO_MMIO_INT_CONFIG)), __ATOMIC_ACQ_REL);
		return true;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
	case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
	case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
	case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
		return write_queue_address(t, off, value);
	case VIRTIO_MMIO_SHM_SEL:
		t->shm_sel = value;
		refresh_shm(t);
		return true;
	default:
		return false;
	}
}

void virtio_mmio_write(struct virtio_mmio *t, uint32_t off, const void *src, uint32_t len)
{
	uint32_t value;
	bool done;

	assert(off < VIRTIO_MMIO_WINDOW && len >= 1 && len <= 8);
	if (!__atomic_load_n(&t->dev, __ATOMIC_ACQUIRE)) {
		return;
	}
	if (off >= VIRTIO_MMIO_CONFIG) {
		write_config(t, off - VIRTIO_MMIO_CONFIG, src, len);
		return;
	}
	if (len != 4 || off % 4 != 0) {
		log_guest(&t->log_limit, t->dev->ops->name, "write of %u bytes to register 0x%x ignored", len, off);
		return;
	}
	memcpy(&value, src, sizeof(value));
	value = le32toh(value);
	if (off == VIRTIO_MMIO_STATUS) {
		struct status_write w = {.t = t, .status = value};

		loop_call(t->dev->loop, write_status_on_loop, &w);
		if (w.status == 0) {
			wait_for_reset(&w);
		}
		return;
	}
	if (off == VIRTIO_MMIO_QUEUE_NOTIFY) {
		/* Any queue's kick serves the whole device, as the wildcard doorbell does. */
		loop_call(t->dev->loop, kick_on_loop, t->dev);
		return;
	}
	pthread_mutex_lock(&t->lock);
	done = write_register(t, off, value);
	pthread_mutex_unlock(&t->lock);
	if (!done) {
		log_guest(&t->log_limit, t->dev->ops->name, "write of 0x%x to register 0x%x refused in status 0x%02x", value, off,
			status_of(t));
	}
}
