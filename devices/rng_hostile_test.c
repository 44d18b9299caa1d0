/* SPDX-License-Identifier: MIT */
/* The hostile-guest table against virtio-rng, over real rings and registers. */
#include "devices/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/support/hostile.h"

static struct rng r;

static struct virtio_device *create(struct tdrv *d)
{
	rng_init(&r, &d->loop, &d->mem);
	return &r.base;
}

static void destroy(void)
{
	rng_finish(&r);
}

static void works(struct tdrv *d)
{
	uint64_t buf = tdrv_alloc(d, 64, 1);
	uint16_t want = tdrv_add(d, 0, 0, 0, buf, 64);
	unsigned irqs = d->used_irqs;
	uint32_t head, len;

	tdrv_kick(d, 0);
	assert_true(tdrv_used(d, 0, &head, &len));
	assert_int_equal(head, want);
	assert_int_equal(len, 64);
	assert_true(d->used_irqs > irqs);
}

int main(void)
{
	static const struct hostile_target target = {
		.create = create, .destroy = destroy, .queue = 0, .writable = true, .works = works};

	return hostile_run("rng_hostile", &target);
}
