/* SPDX-License-Identifier: MIT */
/*
 * The hostile-guest table: what malicious and broken drivers do to queues and registers, run
 * against any device. After each row the loop has come to rest, nothing outside guest memory was
 * touched (sanitizers), the device is in the state the row says, the log has a few lines, and after a reset it works again.
 *
 * A test program for a device describes the device once and lets hostile_run do the rest: each row
 * is a test named test_hostile_<row>.
 */
#ifndef TESTS_SUPPORT_HOSTILE_H
#define TESTS_SUPPORT_HOSTILE_H

#include <stdbool.h>

#include "tests/support/testdrv.h"

struct hostile_target {
	/* Makes the device with &d->loop and &d->mem. Return: what tdrv_attach takes. */
	struct virtio_device *(*create)(struct tdrv *d);
	void (*destroy)(void); /* after the reset */
	unsigned queue;        /* the one that is attacked */
	bool writable;         /* its chains are for the device to write into */
	/* Makes the device look at what is in its queue, besides the kick. NULL: the kick is
	 * enough. */
	void (*poke)(struct tdrv *d);
	/* Asserts that the freshly started device does its work. */
	void (*works)(struct tdrv *d);
};

/* Runs every row as a cmocka test. Return: what main returns. */
int hostile_run(const char *name, const struct hostile_target *target);

#endif
