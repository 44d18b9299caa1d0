/* SPDX-License-Identifier: MIT */
/* The hostile-guest table against the core alone: a device that only answers, in both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/support/baredev.h"
#include "tests/support/hostile.h"

static struct baredev bare;

static struct virtio_device *create(struct tdrv *d)
{
	baredev_init(&bare, &d->loop, &d->mem);
	bare.echo = true;
	return &bare.base;
}

static void destroy(void)
{
}

static void works(struct tdrv *d, unsigned q, bool writable)
{
	uint64_t buf = tdrv_alloc(d, 64, 1);
	uint16_t want = tdrv_add(d, q, buf, writable ? 0 : 64, buf, writable ? 64 : 0);
	unsigned irqs = d->used_irqs;
	uint32_t head, len;

	tdrv_kick(d, q);
	assert_true(tdrv_used(d, q, &head, &len));
	assert_int_equal(head, want);
	assert_int_equal(len, writable ? 64 : 0);
	assert_true(d->used_irqs > irqs);
	assert_int_equal(bare.config_writes_outside, 0);
}

static void works_in(struct tdrv *d)
{
	works(d, 0, true);
}

static void works_out(struct tdrv *d)
{
	works(d, 1, false);
}

int main(void)
{
	static const struct hostile_target in = {.create = create, .destroy = destroy, .queue = 0, .writable = true, .works = works_in};
	static const struct hostile_target out = {.create = create, .destroy = destroy, .queue = 1, .works = works_out};

	return hostile_run("virtio_hostile_in", &in) + hostile_run("virtio_hostile_out", &out);
}
