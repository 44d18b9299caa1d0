/* SPDX-License-Identifier: MIT */
/* Little-endian host assumed, as in all unit tests: they run on x86-64. */
#include "tests/support/testdrv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/clock.h"

#define SERVE_MAX 10000 /* turns of the loop after which a device is said never to rest */

static int on_connect(void *ctx)
{
	struct tdrv *d = ctx;

	d->connects++;
	return d->connect_result;
}

static void on_used(void *ctx, unsigned q)
{
	struct tdrv *d = ctx;

	/* In the monitor there is no way for it before. */
	assert(d->connects && q < d->dev->ops->nqueues);
	d->used_irqs++;
}

static void on_config(void *ctx)
{
	struct tdrv *d = ctx;

	assert(d->connects);
	d->config_irqs++;
}

/* Whole pages are given back, so that only those that are used again cost something: fuzz targets come here thousands of times. */
static void zero_ram(uint8_t *ram)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), head = -(uintptr_t)ram % page, len = (TDRV_RAM_LEN - head) / page * page;
	int r;

	memset(ram, 0, head);
	r = madvise(ram + head, len, MADV_DONTNEED);
	assert(r == 0);
	(void)r;
	memset(ram + head + len, 0, TDRV_RAM_LEN - head - len);
}

void tdrv_init(struct tdrv *d)
{
	int r;

	memset(d, 0, sizeof(*d));
	r = loop_init(&d->loop);
	assert(r == 0);
	(void)r;
	d->ram = calloc(1, TDRV_RAM_LEN);
	assert(d->ram);
	gmem_add(&d->mem, TDRV_RAM_GPA, d->ram, TDRV_RAM_LEN);
	d->brk = TDRV_RAM_GPA;
}

void tdrv_plug(struct tdrv *d, struct virtio_device *dev)
{
	const struct virtio_irq irq = {.connect = on_connect, .used = on_used, .config = on_config, .ctx = d};

	d->dev = dev;
	virtio_mmio_plug(&d->mmio, dev, &irq);
}

void tdrv_attach(struct tdrv *d, struct virtio_device *dev)
{
	virtio_mmio_init(&d->mmio, &d->regs);
	tdrv_plug(d, dev);
}

void tdrv_finish(struct tdrv *d)
{
	if (d->dev) {
		tdrv_write(d, VIRTIO_MMIO_STATUS, 0);
		virtio_mmio_finish(&d->mmio);
	}
	loop_finish(&d->loop);
	free(d->ram);
	memset(d, 0, sizeof(*d));
}

uint32_t tdrv_read(struct tdrv *d, uint32_t reg)
{
	uint32_t v;

	virtio_mmio_read(&d->mmio, reg, &v, sizeof(v));
	return v;
}

void tdrv_write(struct tdrv *d, uint32_t reg, uint32_t value)
{
	virtio_mmio_write(&d->mmio, reg, &value, sizeof(value));
	if (reg == VIRTIO_MMIO_STATUS && value == 0) {
		/* The test is the loop too, so the transport does not wait for it. */
		for (unsigned turns = 0; d->dev->resetting; turns++) {
			assert(turns < SERVE_MAX);
			loop_run_once(&d->loop, 20);
		}
	}
}

bool tdrv_negotiate(struct tdrv *d, uint64_t features)
{
	uint32_t status = VIRTIO_STATUS_ACKNOWLEDGE;

	tdrv_write(d, VIRTIO_MMIO_STATUS, 0);
	tdrv_write(d, VIRTIO_MMIO_STATUS, status);
	status |= VIRTIO_STATUS_DRIVER;
	tdrv_write(d, VIRTIO_MMIO_STATUS, status);
	for (uint32_t sel = 0; sel < 2; sel++) {
		tdrv_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
		tdrv_write(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * sel)));
	}
	status |= VIRTIO_STATUS_FEATURES_OK;
	tdrv_write(d, VIRTIO_MMIO_STATUS, status);
	return tdrv_read(d, VIRTIO_MMIO_STATUS) == status;
}

static void write_address(struct tdrv *d, uint32_t reg, uint64_t gpa)
{
	tdrv_write(d, reg, (uint32_t)gpa);
	tdrv_write(d, reg + 4, (uint32_t)(gpa >> 32));
}

void tdrv_place_queue(struct tdrv *d, unsigned q, uint16_t size)
{
	struct tdrv_queue *tq = &d->q[q];

	*tq = (struct tdrv_queue){.size = size};
	tq->desc = tdrv_alloc(d, 16u * size, 16);
	tq->avail = tdrv_alloc(d, 6u + 2u * size, 2);
	tq->used = tdrv_alloc(d, 6u + 8u * size, 4);
	tdrv_write(d, VIRTIO_MMIO_QUEUE_SEL, q);
	tdrv_write(d, VIRTIO_MMIO_QUEUE_SIZE, size);
	write_address(d, VIRTIO_MMIO_QUEUE_DESC_LOW, tq->desc);
	write_address(d, VIRTIO_MMIO_QUEUE_DRIVER_LOW, tq->avail);
	write_address(d, VIRTIO_MMIO_QUEUE_DEVICE_LOW, tq->used);
}

bool tdrv_enable_queue(struct tdrv *d, unsigned q)
{
	tdrv_write(d, VIRTIO_MMIO_QUEUE_SEL, q);
	tdrv_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
	return tdrv_read(d, VIRTIO_MMIO_QUEUE_READY) == 1;
}

void tdrv_start_without(struct tdrv *d, uint64_t without)
{
	bool ok = tdrv_negotiate(d, virtio_device_features(d->dev) & ~without);

	assert(ok);
	d->brk = TDRV_RAM_GPA;
	zero_ram(d->ram);
	for (unsigned q = 0; q < d->dev->ops->nqueues; q++) {
		tdrv_place_queue(d, q, d->dev->ops->queue_size[q]);
		ok = tdrv_enable_queue(d, q);
		assert(ok);
	}
	(void)ok;
	tdrv_write(d, VIRTIO_MMIO_STATUS, 15);
	tdrv_serve(d);
	assert(virtio_device_is_running(d->dev));
}

void tdrv_start(struct tdrv *d)
{
	tdrv_start_without(d, 0);
}

uint64_t tdrv_alloc(struct tdrv *d, size_t len, size_t align)
{
	uint64_t gpa = (d->brk + align - 1) / align * align;

	assert(len <= TDRV_RAM_GPA + TDRV_RAM_LEN - gpa);
	d->brk = gpa + len;
	return gpa;
}

void *tdrv_ptr(struct tdrv *d, uint64_t gpa, size_t len)
{
	void *p = gmem_ptr(&d->mem, gpa, len);

	assert(p);
	return p;
}

static void put(struct tdrv *d, uint64_t gpa, uint64_t value, size_t len)
{
	memcpy(tdrv_ptr(d, gpa, len), &value, len);
}

static uint64_t take(struct tdrv *d, uint64_t gpa, size_t len)
{
	uint64_t value = 0;

	memcpy(&value, tdrv_ptr(d, gpa, len), len);
	return value;
}

void tdrv_desc(struct tdrv *d, uint64_t table, unsigned i, uint64_t addr, uint32_t len,
	uint16_t flags, uint16_t next)
{
	put(d, table + 16 * i, addr, 8);
	put(d, table + 16 * i + 8, len, 4);
	put(d, table + 16 * i + 12, flags, 2);
	put(d, table + 16 * i + 14, next, 2);
}

void tdrv_set_avail_idx(struct tdrv *d, unsigned q, uint16_t idx)
{
	d->q[q].avail_idx = idx;
	put(d, d->q[q].avail + 2, idx, 2);
}

void tdrv_offer(struct tdrv *d, unsigned q, uint16_t head)
{
	struct tdrv_queue *tq = &d->q[q];

	put(d, tq->avail + 4 + 2u * (tq->avail_idx % tq->size), head, 2);
	tdrv_set_avail_idx(d, q, (uint16_t)(tq->avail_idx + 1));
}

uint16_t tdrv_add(
	struct tdrv *d, unsigned q, uint64_t out, uint32_t out_len, uint64_t in, uint32_t in_len)
{
	struct tdrv_queue *tq = &d->q[q];
	uint16_t head = tq->next_desc, second = (uint16_t)((head + 1) % tq->size);

	if (out_len > 0 && in_len > 0) {
		tdrv_desc(d, tq->desc, head, out, out_len, TDRV_NEXT, second);
		tdrv_desc(d, tq->desc, second, in, in_len, TDRV_WRITE, 0);
		tq->next_desc = (uint16_t)((second + 1) % tq->size);
	} else {
		tdrv_desc(d, tq->desc, head, out_len > 0 ? out : in, out_len + in_len,
			out_len > 0 ? 0 : TDRV_WRITE, 0);
		tq->next_desc = second;
	}
	tdrv_offer(d, q, head);
	return head;
}

void tdrv_serve(struct tdrv *d)
{
	unsigned quiet = 0;

	for (unsigned turns = 0; quiet < 3; turns++) {
		unsigned irqs = d->used_irqs;

		bool due;

		assert(turns < SERVE_MAX);
		loop_run_once(&d->loop, 0);
		due = d->loop.timers && d->loop.timers->deadline_ns <= clock_now_ns();
		quiet = irqs == d->used_irqs && !due ? quiet + 1 : 0;
	}
}

void tdrv_kick(struct tdrv *d, unsigned q)
{
	tdrv_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, q);
	tdrv_serve(d);
}

bool tdrv_used(struct tdrv *d, unsigned q, uint32_t *head, uint32_t *len)
{
	struct tdrv_queue *tq = &d->q[q];
	uint64_t entry = tq->used + 4 + 8u * (tq->used_seen % tq->size);

	if ((uint16_t)take(d, tq->used + 2, 2) == tq->used_seen) {
		return false;
	}
	*head = (uint32_t)take(d, entry, 4);
	*len = (uint32_t)take(d, entry + 4, 4);
	tq->used_seen++;
	return true;
}
