/* SPDX-License-Identifier: MIT */
/*
 * A virtio device that does nothing by itself: it counts what the core asks of it and leaves its queues to the test. For tests of
 * the core, where a real device would be in the way.
 *
 * Thread: the test's, which owns the loop.
 */
#ifndef TESTS_SUPPORT_BAREDEV_H
#define TESTS_SUPPORT_BAREDEV_H

#include "virtio/device.h"

#define BAREDEV_QUEUES 2
#define BAREDEV_QUEUE_SIZE 8
#define BAREDEV_CONFIG_LEN 16
#define BAREDEV_FEATURES 0x5ull /* bits 0 and 2 */

struct baredev {
	struct virtio_device base;
	bool echo; /* answers every chain at once: fills it on queue 0, reads it on queue 1 */
	bool busy; /* what is_busy returns */
	int activate_result; /* what activate returns */
	unsigned activations, resets, stops, kicks[BAREDEV_QUEUES];
	unsigned config_writes;
	unsigned config_writes_outside; /* of them; the core lets none through */
	uint32_t config_off, config_len; /* the last one */
	uint8_t config[8];
};

void baredev_init(struct baredev *b, struct loop *loop, const struct gmem *mem);

#endif
