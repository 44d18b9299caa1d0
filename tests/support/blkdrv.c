/* SPDX-License-Identifier: MIT */
#include "tests/support/blkdrv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_TURNS 400

static void make_file(struct blkdrv *v, size_t size)
{
	uint8_t *bytes = malloc(size + 1);
	ssize_t n;
	int fd;

	assert(bytes);
	for (size_t i = 0; i < size; i++) {
		bytes[i] = (uint8_t)(i / 512 + i);
	}
	snprintf(v->path, sizeof(v->path), "/tmp/blkdrv.XXXXXX");
	fd = mkstemp(v->path);
	n = write(fd, bytes, size);
	assert(n == (ssize_t)size);
	(void)n;
	close(fd);
	free(bytes);
}

void blkdrv_attach(struct blkdrv *v, const struct disk_options *options)
{
	struct disk_options o = *options;
	char err[256];
	struct disk *disk;
	int r;

	o.path = v->path;
	r = disk_open(&disk, &o, err, sizeof(err));
	assert(r == 0);
	(void)r;
	blk_init(&v->b, "disk0", disk, &v->d.loop, &v->d.mem);
	tdrv_attach(&v->d, &v->b.base);
}

void blkdrv_init(struct blkdrv *v, const struct disk_options *o, size_t size)
{
	memset(v, 0, sizeof(*v));
	tdrv_init(&v->d);
	make_file(v, size);
	blkdrv_attach(v, o);
	tdrv_start(&v->d);
}

void blkdrv_finish(struct blkdrv *v)
{
	if (v->d.dev) {
		tdrv_write(&v->d, VIRTIO_MMIO_STATUS, 0);
	}
	blk_finish(&v->b);
	tdrv_finish(&v->d);
	unlink(v->path);
}

uint64_t blkdrv_data(struct blkdrv *v, size_t len)
{
	return tdrv_alloc(&v->d, len, 16);
}

void *blkdrv_ptr(struct blkdrv *v, uint64_t gpa, size_t len)
{
	return tdrv_ptr(&v->d, gpa, len);
}

uint16_t blkdrv_offer(struct blkdrv *v, uint64_t table, unsigned n)
{
	struct tdrv_queue *q = &v->d.q[0];
	uint16_t head = q->next_desc;

	q->next_desc = (uint16_t)((head + 1) % q->size);
	tdrv_desc(&v->d, q->desc, head, table, 16 * n, TDRV_INDIRECT, 0);
	tdrv_offer(&v->d, 0, head);
	return head;
}

struct blkdrv_request blkdrv_add(
	struct blkdrv *v, uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	bool out = type == BLK_T_OUT || type == BLK_T_DISCARD || type == BLK_T_WRITE_ZEROES;
	uint64_t header = tdrv_alloc(&v->d, 16, 16), status = tdrv_alloc(&v->d, 1, 1);
	uint64_t table = tdrv_alloc(&v->d, 48, 16);
	uint8_t *h = tdrv_ptr(&v->d, header, 16);
	struct blkdrv_request r = {.status = tdrv_ptr(&v->d, status, 1)};
	unsigned n = 0;

	memset(h, 0, 16);
	memcpy(h, &type, 4);
	memcpy(h + 8, &sector, 8);
	*r.status = BLKDRV_PENDING;
	tdrv_desc(&v->d, table, n++, header, 16, TDRV_NEXT, 1);
	if (len > 0) {
		tdrv_desc(&v->d, table, n++, data, len, TDRV_NEXT | (out ? 0 : TDRV_WRITE), 2);
	}
	tdrv_desc(&v->d, table, n++, status, 1, TDRV_WRITE, 0);
	r.head = blkdrv_offer(v, table, n);
	return r;
}

uint16_t blkdrv_wait(struct blkdrv *v, unsigned n)
{
	uint32_t head = 0;

	tdrv_kick(&v->d, 0);
	for (unsigned turns = 0; n > 0; turns++) {
		assert(turns < WAIT_TURNS);
		while (n > 0 && tdrv_used(&v->d, 0, &head, &v->used_len)) {
			n--;
		}
		if (n > 0) {
			loop_run_once(&v->d.loop, 20);
		}
	}
	return (uint16_t)head;
}

uint8_t blkdrv_do(struct blkdrv *v, uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	uint64_t brk = v->d.brk;
	struct blkdrv_request r = blkdrv_add(v, type, sector, data, len);
	uint16_t head = blkdrv_wait(v, 1);

	assert(head == r.head);
	(void)head;
	v->d.brk = brk;
	return *r.status;
}

uint8_t blkdrv_do_ranges(
	struct blkdrv *v, uint32_t type, const struct blkdrv_range *ranges, unsigned n)
{
	uint64_t list = blkdrv_data(v, 16 * n);

	memcpy(blkdrv_ptr(v, list, 16 * n), ranges, 16 * n);
	return blkdrv_do(v, type, 0, list, 16 * n);
}
