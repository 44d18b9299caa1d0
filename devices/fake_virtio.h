/* SPDX-License-Identifier: MIT */
/*
 * Test support: virtio as a device sees it, without rings. A test that includes this file defines
 * the functions of virtio/virtq.h and virtio/device.h itself, over arrays of buffers that the test
 * adds, so it can look at one device without the queue code. Included by at most one file of a
 * program.
 *
 * Thread: the test's.
 */
#ifndef DEVICES_FAKE_VIRTIO_H
#define DEVICES_FAKE_VIRTIO_H

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "virtio/device.h"

#define FAKE_CHAINS_MAX 512

/* One buffer, and what became of it. */
struct fake_chain {
	struct iovec out, in; /* readable, writable; length 0: none */
	bool broken;          /* the pop that finds it reports a broken ring */
	bool pushed;
	uint32_t written;
};

static struct fake_queue {
	struct fake_chain chain[FAKE_CHAINS_MAX];
	unsigned nchains, popped, npushed, notified;
} fake_queue[VIRTIO_QUEUES_MAX];
static bool fake_running;
static uint8_t fake_config[VIRTIO_CONFIG_MAX];
static unsigned fake_config_changes;

/* The driver side: everything back to the start; a buffer; DRIVER_OK; reset. */
static inline __attribute__((unused)) void fake_forget(void)
{
	memset(fake_queue, 0, sizeof(fake_queue));
	fake_running = false;
	fake_config_changes = 0;
}

static inline __attribute__((unused)) struct fake_chain *fake_add(
	unsigned q, const void *out, size_t out_len, void *in, size_t in_len)
{
	struct fake_chain *c = &fake_queue[q].chain[fake_queue[q].nchains++];

	assert(fake_queue[q].nchains <= FAKE_CHAINS_MAX);
	*c = (struct fake_chain){.out = {(void *)(uintptr_t)out, out_len}, .in = {in, in_len}};
	return c;
}

static inline __attribute__((unused)) void fake_start(struct virtio_device *d)
{
	for (unsigned q = 0; q < d->ops->nqueues; q++) {
		d->vq[q] = (struct virtq){.dev = d, .index = q, .running = true};
	}
	fake_running = true;
	assert(d->ops->activate(d) == 0);
}

static inline __attribute__((unused)) void fake_reset(struct virtio_device *d)
{
	d->ops->reset(d);
	memset(fake_queue, 0, sizeof(fake_queue));
	fake_running = false;
}

/* What the device calls. */
void virtio_device_init(struct virtio_device *d, const struct virtio_device_ops *ops,
	struct loop *loop, const struct gmem *mem)
{
	d->ops = ops;
	d->loop = loop;
	d->mem = mem;
}

bool virtio_device_is_running(const struct virtio_device *d)
{
	return fake_running && !d->failed;
}

void virtio_device_set_config(struct virtio_device *d, uint32_t off, const void *src, uint32_t len)
{
	assert(off + len <= d->ops->config_len);
	assert(!fake_running || (len <= 4 && off % len == 0));
	memcpy(fake_config + off, src, len);
}

void virtio_device_config_changed(struct virtio_device *d)
{
	fake_config_changes += virtio_device_is_running(d);
}

int virtq_pop(struct virtq *vq, struct virtq_chain *c)
{
	struct fake_queue *q = &fake_queue[vq->index];
	struct fake_chain *f = &q->chain[q->popped];

	if (!vq->running || !virtio_device_is_running(vq->dev) || q->popped == q->nchains) {
		return 0;
	}
	if (f->broken) {
		vq->dev->failed = true;
		return -EPROTO;
	}
	/* Not the unused segments: they are as uninitialised as in the real one. */
	memset(c, 0, offsetof(struct virtq_chain, seg));
	c->vq = vq;
	c->head = (uint16_t)q->popped++;
	c->readable_len = (uint32_t)f->out.iov_len;
	c->writable_len = (uint32_t)f->in.iov_len;
	c->seg[0] = f->out;
	c->seg[1] = f->in;
	return 1;
}

size_t virtq_get_left(const struct virtq_chain *c)
{
	return c->readable_len - c->get_off;
}

size_t virtq_put_left(const struct virtq_chain *c)
{
	return c->writable_len - c->put_off;
}

size_t virtq_get(struct virtq_chain *c, void *dst, size_t n)
{
	n = n < virtq_get_left(c) ? n : virtq_get_left(c);
	memcpy(dst, (char *)c->seg[0].iov_base + c->get_off, n);
	c->get_off += n;
	return n;
}

size_t virtq_put(struct virtq_chain *c, const void *src, size_t n)
{
	n = n < virtq_put_left(c) ? n : virtq_put_left(c);
	if (n > 0) {
		memcpy((char *)c->seg[1].iov_base + c->put_off, src, n);
	}
	c->put_off += n;
	c->written += (uint32_t)n;
	return n;
}

void virtq_push(struct virtq *vq, struct virtq_chain *c)
{
	struct fake_queue *q = &fake_queue[vq->index];

	assert(vq->running && c->head < q->popped && !q->chain[c->head].pushed);
	q->chain[c->head].pushed = true;
	q->chain[c->head].written = c->written;
	q->npushed++;
}

void virtq_unpop(struct virtq *vq, struct virtq_chain *c)
{
	struct fake_queue *q = &fake_queue[vq->index];

	assert(c->head + 1u == q->popped);
	q->popped--;
}

bool virtq_expect(struct virtq *vq, uint16_t n)
{
	const struct fake_queue *q = &fake_queue[vq->index];

	return vq->running && q->nchains - q->popped > n;
}

unsigned virtq_pending(const struct virtq *vq)
{
	return vq->running ? fake_queue[vq->index].nchains - fake_queue[vq->index].popped : 0;
}

bool virtq_notify(struct virtq *vq)
{
	assert(vq->dev);
	fake_queue[vq->index].notified++;
	return true;
}

#endif
