/* SPDX-License-Identifier: MIT */
/*
 * virtio-rng: fills the driver's buffers with random bytes from the host kernel.
 *
 * A request gets at most RNG_REQUEST_MAX bytes however large its buffer is (the driver reads the
 * number from used.len), and one turn on the loop serves a bounded number of requests, so a guest
 * that floods the queue slows only its own randomness down.
 *
 * Thread: the device's loop. Spec: virtio v1.3, 5.4 "Entropy Device".
 */
#ifndef DEVICES_RNG_H
#define DEVICES_RNG_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "virtio/device.h"
#include "vmm/loop.h"

#define RNG_REQUEST_MAX   4096  /* bytes for one request */
#define RNG_TURN_REQUESTS 32    /* requests per turn on the loop */
#define RNG_TURN_BYTES    16384 /* bytes per turn on the loop */

struct rng {
	struct virtio_device base;
	struct loop_timer again; /* the rest of a turn that used up its budget */
	ssize_t (*source)(
		void *buf, size_t len, unsigned flags); /* getrandom; tests have their own */
	struct virtq_chain chain;
};

void rng_init(struct rng *r, struct loop *loop, const struct gmem *mem);
void rng_finish(struct rng *r); /* accepts zeroed memory; the device has been reset */

#endif
