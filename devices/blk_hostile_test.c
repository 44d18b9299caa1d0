/* SPDX-License-Identifier: MIT */
/* The hostile-guest table against virtio-blk over a real file, in both directions of its queue. */
#include "devices/blk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/hostile.h"

static struct blk b;

static struct virtio_device *create_with(struct tdrv *d, enum disk_engine engine)
{
	char path[] = "/tmp/blk_hostile_test.XXXXXX", err[256];
	struct disk_options o = {.path = path, .discard = true, .engine = engine, .loop = &d->loop};
	struct disk *disk;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(disk_open(&disk, &o, err, sizeof(err)), 0);
	assert_int_equal(blk_init(&b, "disk0", disk, &d->loop, &d->mem), 0);
	close(fd);
	unlink(path);
	return &b.base;
}

static struct virtio_device *create(struct tdrv *d)
{
	return create_with(d, DISK_ENGINE_URING);
}

static struct virtio_device *create_with_threads(struct tdrv *d)
{
	return create_with(d, DISK_ENGINE_POOL);
}

static void destroy(void)
{
	blk_finish(&b);
}

static void works(struct tdrv *d)
{
	uint64_t out = tdrv_alloc(d, 16, 1), in = tdrv_alloc(d, 513, 1);
	uint16_t want = tdrv_add(d, 0, out, 16, in, 513);
	uint8_t *got = tdrv_ptr(d, in, 513);
	unsigned irqs = d->used_irqs;
	uint32_t head, len;

	memset(tdrv_ptr(d, out, 16), 0, 16);
	memset(got, 0xee, 513);
	tdrv_kick(d, 0);
	for (unsigned i = 0; d->used_irqs == irqs && i < 500; i++) {
		loop_run_once(&d->loop, 20);
	}
	assert_true(tdrv_used(d, 0, &head, &len));
	assert_int_equal(head, want);
	assert_int_equal(len, 513);
	assert_true(got[0] == 0 && got[511] == 0);
	assert_int_equal(got[512], BLK_S_OK);
}

int main(void)
{
	static const struct hostile_target in = {
		.create = create, .destroy = destroy, .queue = 0, .writable = true, .works = works};
	static const struct hostile_target out = {.create = create_with_threads,
		.destroy = destroy,
		.queue = 0,
		.writable = false,
		.works = works};

	return hostile_run("blk_hostile_writable", &in) +
	       hostile_run("blk_hostile_readable_with_threads", &out);
}
