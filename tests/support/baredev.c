/* SPDX-License-Identifier: MIT */
#include "tests/support/baredev.h"

#include <string.h>

static int baredev_activate(struct virtio_device *d)
{
	struct baredev *b = (struct baredev *)d;

	b->activations++;
	return b->activate_result;
}

static void baredev_reset(struct virtio_device *d)
{
	((struct baredev *)d)->resets++;
}

static void baredev_stopped(struct virtio_device *d)
{
	((struct baredev *)d)->stops++;
}

static bool baredev_is_busy(struct virtio_device *d)
{
	return ((struct baredev *)d)->busy;
}

static void baredev_kick(struct virtio_device *d, unsigned q)
{
	struct baredev *b = (struct baredev *)d;
	struct virtq_chain c;
	uint8_t buf[64];

	b->kicks[q]++;
	while (b->echo && virtq_pop(&d->vq[q], &c) == 1) {
		memset(buf, 0xab, sizeof(buf));
		while ((q == 0 ? virtq_put(&c, buf, sizeof(buf)) : virtq_get(&c, buf, sizeof(buf))) > 0) {
		}
		virtq_push(&d->vq[q], &c);
	}
	virtq_notify(&d->vq[q]);
}

static void baredev_config_write(struct virtio_device *d, uint32_t off, const void *src, uint32_t len)
{
	struct baredev *b = (struct baredev *)d;

	b->config_writes++;
	b->config_writes_outside += off >= BAREDEV_CONFIG_LEN || len > BAREDEV_CONFIG_LEN - off;
	b->config_off = off;
	b->config_len = len;
	memcpy(b->config, src, len);
}

static const struct virtio_device_ops baredev_ops = {
	.name = "bare",
	.device_id = 42,
	.config_len = BAREDEV_CONFIG_LEN,
	.features = BAREDEV_FEATURES,
	.nqueues = BAREDEV_QUEUES,
	.queue_size = {BAREDEV_QUEUE_SIZE, BAREDEV_QUEUE_SIZE},
	.activate = baredev_activate,
	.reset = baredev_reset,
	.is_busy = baredev_is_busy,
	.stopped = baredev_stopped,
	.kick = baredev_kick,
	.config_write = baredev_config_write,
};

void baredev_init(struct baredev *b, struct loop *loop, const struct gmem *mem)
{
	memset(b, 0, sizeof(*b));
	virtio_device_init(&b->base, &baredev_ops, loop, mem);
}
