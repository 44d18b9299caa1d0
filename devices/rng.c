/* SPDX-License-Identifier: MIT */
/* Random bytes in small pieces through a buffer on the stack: the guest sizes nothing here. */
#include "devices/rng.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "vmm/clock.h"
#include "vmm/log.h"

#define RNG_PIECE    256 /* getrandom never returns fewer than asked up to here */
#define RNG_RETRY_NS CLOCK_NS_PER_S

static struct rng *rng_from(struct virtio_device *d)
{
	return (struct rng *)((char *)d - offsetof(struct rng, base));
}

/* Return: bytes written into the chain, or -errno when the host has no randomness at all. */
static ssize_t fill(struct rng *r, struct virtq_chain *c)
{
	uint8_t piece[RNG_PIECE];
	size_t left = virtq_put_left(c);
	size_t done = 0;

	left = left < RNG_REQUEST_MAX ? left : RNG_REQUEST_MAX;
	while (done < left) {
		size_t want = left - done < sizeof(piece) ? left - done : sizeof(piece);
		ssize_t n = r->source(piece, want, GRND_NONBLOCK);

		if (n <= 0) {
			int err = n < 0 ? errno : EIO;

			if (done > 0) {
				break;
			}
			return -err;
		}
		done += virtq_put(c, piece, (size_t)n);
	}
	return (ssize_t)done;
}

static void serve(struct rng *r)
{
	struct virtq *vq = &r->base.vq[0];
	unsigned requests = 0;
	size_t bytes = 0;

	while (requests < RNG_TURN_REQUESTS && bytes < RNG_TURN_BYTES) {
		ssize_t n;

		if (virtq_pop(vq, &r->chain) <= 0) {
			virtq_notify(vq);
			return;
		}
		n = fill(r, &r->chain);
		if (n < 0) {
			/* An answer of zero bytes would be wrong, so it waits until there are some.
			 */
			virtq_unpop(vq, &r->chain);
			virtq_notify(vq);
			log_errno(LOG_ERR, (int)n, "rng: getrandom");
			loop_timer_set(&r->again, clock_now_ns() + RNG_RETRY_NS);
			return;
		}
		if (n == 0) {
			log_guest(&r->base.log_limit, "rng", "request without writable bytes");
		}
		virtq_push(vq, &r->chain);
		bytes += (size_t)n;
		requests++;
	}
	virtq_notify(vq);
	loop_timer_set(&r->again, clock_now_ns() + 1);
}

static void rng_again(struct loop_timer *timer)
{
	struct rng *r = (struct rng *)((char *)timer - offsetof(struct rng, again));

	if (virtio_device_is_running(&r->base)) {
		serve(r);
	}
}

static void rng_kick(struct virtio_device *d, unsigned q)
{
	struct rng *r = rng_from(d);

	(void)q;
	/* A turn is already on its way: kicks must not buy more of them. */
	if (r->again.deadline_ns == 0) {
		serve(r);
	}
}

static int rng_activate(struct virtio_device *d)
{
	/* Requests may lie there already; a driver is free not to kick for them again. */
	loop_timer_set(&rng_from(d)->again, clock_now_ns() + 1);
	return 0;
}

static void rng_reset(struct virtio_device *d)
{
	loop_timer_stop(&rng_from(d)->again);
}

static const struct virtio_device_ops rng_ops = {
	.name = "rng",
	.device_id = VIRTIO_ID_RNG,
	.nqueues = 1,
	.queue_size = {64},
	.activate = rng_activate,
	.reset = rng_reset,
	.kick = rng_kick,
};

void rng_init(struct rng *r, struct loop *loop, const struct gmem *mem)
{
	/* Not the chain: virtq_pop fills it. */
	memset(r, 0, offsetof(struct rng, chain));
	r->source = getrandom;
	loop_timer_init(&r->again, loop, rng_again);
	virtio_device_init(&r->base, &rng_ops, loop, mem);
}

void rng_finish(struct rng *r)
{
	if (r->source) {
		loop_timer_stop(&r->again);
	}
	r->source = NULL;
}
