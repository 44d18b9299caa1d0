/* SPDX-License-Identifier: MIT */
/* Chains in, disk requests out: parsing is one function per kind of request, and one place answers.
 */
#include "devices/blk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/le.h"
#include "vmm/clock.h"
#include "vmm/log.h"

/* virtio v1.3, 5.2.4 "Device configuration layout" */
struct blk_config {
	struct le64 capacity; /* 512-byte sectors, as everywhere below */
	struct le32 size_max;
	struct le32 seg_max;
	struct le32 geometry;
	struct le32 blk_size;
	uint8_t physical_block_exp;
	uint8_t alignment_offset;
	struct le16 min_io_size;
	struct le32 opt_io_size;
	uint8_t writeback;
	uint8_t unused0;
	struct le16 num_queues;
	struct le32 max_discard_sectors;
	struct le32 max_discard_seg;
	struct le32 discard_sector_alignment;
	struct le32 max_write_zeroes_sectors;
	struct le32 max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
} __attribute__((packed, aligned(4))); /* no padding at the end */

/* virtio v1.3, 5.2.6 "Device Operation" */
struct blk_header {
	struct le32 type;
	struct le32 reserved;
	struct le64 sector;
};

struct blk_range {
	struct le64 sector;
	struct le32 num_sectors;
	struct le32 flags;
};

#define RANGE_UNMAP 1u

static_assert(sizeof(struct blk_config) == 60, "configuration layout");
static_assert(sizeof(struct blk_header) == 16, "header layout");
static_assert(sizeof(struct blk_range) == 16, "range layout");

/* A request in flight. */
struct blk_slot {
	struct disk_request r;
	struct blk *b;
	struct blk_slot *next; /* free ones */
	uint8_t *status;       /* the last writable byte; NULL: there is none */
	uint32_t type;
	unsigned range, nranges;
	struct blk_range ranges[BLK_RANGES_MAX];
	struct virtq_chain chain;
	struct iovec iov[VIRTQ_SIZE_MAX];
};

static struct blk *blk_from(struct virtio_device *d)
{
	return (struct blk *)((char *)d - offsetof(struct blk, base));
}

static void put_slot(struct blk *b, struct blk_slot *s)
{
	s->next = b->free;
	b->free = s;
}

/* Answers a request and frees its slot. @written: bytes of the writable part that the host filled.
 */
static void answer(struct blk_slot *s, enum blk_status status, uint32_t written)
{
	struct blk *b = s->b;

	if (s->status && virtio_device_is_running(&b->base)) {
		virtq_put_done(&s->chain, written);
		*s->status = (uint8_t)status;
		/* used.len counts from the start: the status only when there is no gap before it.
		 */
		if (s->chain.written + 1 == s->chain.writable_len) {
			virtq_put_done(&s->chain, 1);
		}
	}
	virtq_push(&b->base.vq[0], &s->chain);
	put_slot(b, s);
}

static void refuse(struct blk_slot *s, enum blk_status status, const char *why)
{
	log_guest(&s->b->base.log_limit, s->b->ops.name, "request of type %u refused: %s", s->type,
		why);
	answer(s, status, 0);
}

/* Return: true when @len > 0 bytes, whole sectors, lie on the disk from @sector on. */
static bool is_on_disk(const struct blk *b, uint64_t sector, uint64_t len)
{
	uint64_t sectors = disk_info(b->disk)->size / DISK_SECTOR;

	return len > 0 && len % DISK_SECTOR == 0 && sector < sectors &&
	       len / DISK_SECTOR <= sectors - sector;
}

static void submit(struct blk_slot *s)
{
	struct blk *b = s->b;

	b->in_flight++;
	disk_submit(b->disk, &s->r);
}

/*
 * One function for each kind of request.
 */

static void start_transfer(struct blk_slot *s, uint64_t sector)
{
	struct blk *b = s->b;
	bool in = s->type == BLK_T_IN;
	uint64_t len = in ? s->chain.writable_len - 1 : virtq_get_left(&s->chain);

	if (!in && disk_info(b->disk)->readonly) {
		refuse(s, BLK_S_IOERR, "the disk is read-only");
		return;
	}
	if (!is_on_disk(b, sector, len)) {
		refuse(s, BLK_S_IOERR, "not whole sectors of the disk");
		return;
	}
	s->r.niov = in ? virtq_writable_iov(&s->chain, s->iov, VIRTQ_SIZE_MAX)
		       : virtq_readable_iov(&s->chain, s->iov, VIRTQ_SIZE_MAX);
	if (in && --s->iov[s->r.niov - 1].iov_len == 0) {
		s->r.niov--; /* it was the status byte alone */
	}
	s->r.op = in ? DISK_READ : DISK_WRITE;
	s->r.iov = s->iov;
	s->r.offset = sector * DISK_SECTOR;
	s->r.len = len;
	submit(s);
}

static void start_flush(struct blk_slot *s)
{
	s->r.op = DISK_FLUSH;
	s->r.offset = s->r.len = 0;
	submit(s);
}

static void give_id(struct blk_slot *s)
{
	uint32_t room = s->chain.writable_len - 1;
	uint32_t n = room < BLK_ID_LEN ? room : BLK_ID_LEN;

	virtq_put(&s->chain, s->b->id, n);
	answer(s, BLK_S_OK, 0);
}

/* Starts the next range that was checked before. */
static void start_range(struct blk_slot *s)
{
	const struct blk_range *range = &s->ranges[s->range++];

	s->r.op = s->type == BLK_T_DISCARD ? DISK_DISCARD : DISK_WRITE_ZEROES;
	s->r.unmap = le32_get(range->flags) & RANGE_UNMAP;
	s->r.offset = le64_get(range->sector) * DISK_SECTOR;
	s->r.len = (uint64_t)le32_get(range->num_sectors) * DISK_SECTOR;
	submit(s);
}

/* Return: BLK_S_OK when every range may be done. */
static enum blk_status check_ranges(const struct blk_slot *s)
{
	for (unsigned i = 0; i < s->nranges; i++) {
		uint32_t flags = le32_get(s->ranges[i].flags),
			 n = le32_get(s->ranges[i].num_sectors);

		/* 5.2.6.2 "Device Requirements: Device Operation": unmap is for write zeroes only.
		 */
		if (flags & ~(s->type == BLK_T_WRITE_ZEROES ? RANGE_UNMAP : 0)) {
			return BLK_S_UNSUPP;
		}
		if (n > BLK_RANGE_SECTORS_MAX || !is_on_disk(s->b, le64_get(s->ranges[i].sector),
							 (uint64_t)n * DISK_SECTOR)) {
			return BLK_S_IOERR;
		}
	}
	return BLK_S_OK;
}

static void start_ranges(struct blk_slot *s)
{
	uint64_t feature = s->type == BLK_T_DISCARD ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES;
	size_t len = virtq_get_left(&s->chain);
	enum blk_status status;

	if (disk_info(s->b->disk)->readonly) {
		refuse(s, BLK_S_IOERR, "the disk is read-only");
		return;
	}
	if (!virtio_device_has(&s->b->base, feature)) {
		refuse(s, BLK_S_UNSUPP, "not negotiated");
		return;
	}
	if (len == 0 || len % sizeof(s->ranges[0]) != 0 || len > sizeof(s->ranges)) {
		refuse(s, BLK_S_IOERR, "a list of ranges of a wrong length");
		return;
	}
	virtq_get(&s->chain, s->ranges, len);
	s->range = 0;
	s->nranges = (unsigned)(len / sizeof(s->ranges[0]));
	status = check_ranges(s);
	if (status != BLK_S_OK) {
		refuse(s, status, "a range it may not have");
		return;
	}
	start_range(s);
}

static void start_request(struct blk_slot *s)
{
	struct virtq_chain *c = &s->chain;
	struct blk_header h;
	const struct iovec *last;

	s->type = UINT32_MAX;
	s->status = NULL;
	if (c->nwritable == 0) {
		refuse(s, BLK_S_IOERR, "no room for the status");
		return;
	}
	last = &c->seg[c->nreadable + c->nwritable - 1];
	s->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	if (virtq_get(c, &h, sizeof(h)) < sizeof(h)) {
		refuse(s, BLK_S_IOERR, "header cut short");
		return;
	}
	s->type = le32_get(h.type);
	s->r.unmap = false;
	/* Without flushes a driver takes every answered write for stable. */
	s->r.stable = !virtio_device_has(&s->b->base, BLK_F_FLUSH);
	switch (s->type) {
	case BLK_T_IN:
	case BLK_T_OUT:
		start_transfer(s, le64_get(h.sector));
		break;
	case BLK_T_FLUSH:
		start_flush(s);
		break;
	case BLK_T_GET_ID:
		give_id(s);
		break;
	case BLK_T_DISCARD:
	case BLK_T_WRITE_ZEROES:
		start_ranges(s);
		break;
	default:
		refuse(s, BLK_S_UNSUPP, "unknown");
		break;
	}
}

/*
 * Turns.
 */

static void on_done(struct disk_request *r, int err);

static bool has_slot(const struct blk *b)
{
	return b->free || b->nused < BLK_SLOTS;
}

/* The one that serve has looked at. None is touched before it is needed: each takes more than two
 * pages, and few guests ever need all of them at once. */
static void take_slot(struct blk *b, struct blk_slot *s)
{
	if (s == b->free) {
		b->free = s->next;
	} else {
		s->b = b;
		s->r.done = on_done;
		b->nused++;
	}
}

static void serve(struct blk *b)
{
	struct virtq *vq = &b->base.vq[0];
	unsigned requests = 0;

	while (requests < BLK_TURN_REQUESTS && has_slot(b)) {
		struct blk_slot *s = b->free ? b->free : &b->slots[b->nused];

		if (virtq_pop(vq, &s->chain) <= 0) {
			break;
		}
		take_slot(b, s);
		start_request(s);
		requests++;
	}
	/* Without a slot it goes on when one is free. */
	if (requests == BLK_TURN_REQUESTS && has_slot(b)) {
		loop_timer_set(&b->again, clock_now_ns() + 1);
	}
	disk_start(b->disk);
	virtq_notify(vq);
}

static void on_batch(void *ctx)
{
	struct blk *b = ctx;

	if (b->in_flight == 0) {
		virtio_device_reset_done(&b->base);
	}
	if (virtio_device_is_running(&b->base)) {
		virtq_notify(&b->base.vq[0]);
		if (b->again.deadline_ns == 0) {
			serve(b);
		}
	}
}

static void on_done(struct disk_request *r, int err)
{
	struct blk_slot *s = (struct blk_slot *)((char *)r - offsetof(struct blk_slot, r));
	struct blk *b = s->b;

	b->in_flight--;
	if (err < 0 && err != -ECANCELED) {
		log_guest(&b->host_log_limit, b->ops.name,
			"request of type %u at byte %llu failed: %s", s->type,
			(unsigned long long)r->offset, strerror(-err));
	}
	if (err == 0 && (r->op == DISK_DISCARD || r->op == DISK_WRITE_ZEROES) &&
		s->range < s->nranges && virtio_device_is_running(&b->base)) {
		start_range(s);
		return;
	}
	answer(s, err < 0 ? BLK_S_IOERR : BLK_S_OK,
		err == 0 && r->op == DISK_READ ? (uint32_t)r->len : 0);
}

static void on_again(struct loop_timer *timer)
{
	struct blk *b = (struct blk *)((char *)timer - offsetof(struct blk, again));

	if (virtio_device_is_running(&b->base)) {
		serve(b);
	}
}

static void blk_kick(struct virtio_device *d, unsigned q)
{
	struct blk *b = blk_from(d);

	(void)q;
	if (b->again.deadline_ns == 0) {
		serve(b);
	}
}

static int blk_activate(struct virtio_device *d)
{
	struct blk *b = blk_from(d);
	int r = disk_run(b->disk, d->loop);

	if (r == 0 && !b->slots) {
		b->slots = calloc(BLK_SLOTS, sizeof(*b->slots));
		r = b->slots ? 0 : -ENOMEM;
	}
	if (r < 0) {
		log_guest(&b->host_log_limit, b->ops.name, "no asynchronous I/O: %s", strerror(-r));
		return r;
	}
	/* Requests may lie there already; a driver is free not to kick for them again. */
	loop_timer_set(&blk_from(d)->again, clock_now_ns() + 1);
	return 0;
}

static void blk_reset(struct virtio_device *d)
{
	struct blk *b = blk_from(d);

	loop_timer_stop(&b->again);
	if (b->in_flight > 0) {
		disk_cancel(b->disk);
	}
}

static bool blk_is_busy(struct virtio_device *d)
{
	return blk_from(d)->in_flight > 0;
}

static const struct virtio_device_ops blk_ops = {
	.device_id = VIRTIO_ID_BLOCK,
	.config_len = sizeof(struct blk_config),
	.features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_TOPOLOGY,
	.nqueues = 1,
	.queue_size = {BLK_QUEUE_SIZE},
	.activate = blk_activate,
	.reset = blk_reset,
	.is_busy = blk_is_busy,
	.kick = blk_kick,
};

static uint64_t more_features(const struct disk_info *info)
{
	if (info->readonly) {
		return BLK_F_RO;
	}
	return BLK_F_WRITE_ZEROES | (info->discard ? BLK_F_DISCARD : 0);
}

static struct blk_config config_of(const struct disk_info *info)
{
	uint32_t blocks = info->physical_block_size / info->block_size;
	struct blk_config c = {
		.capacity = le64_of(info->size / DISK_SECTOR),
		.seg_max = le32_of(BLK_SEG_MAX),
		.blk_size = le32_of(info->block_size),
		.physical_block_exp = (uint8_t)__builtin_ctz(blocks),
		.min_io_size = le16_of((uint16_t)blocks),
	};

	if (!info->readonly) {
		c.max_write_zeroes_sectors = le32_of(BLK_RANGE_SECTORS_MAX);
		c.max_write_zeroes_seg = le32_of(BLK_RANGES_MAX);
		c.write_zeroes_may_unmap = info->discard;
	}
	if (info->discard) {
		c.max_discard_sectors = le32_of(BLK_RANGE_SECTORS_MAX);
		c.max_discard_seg = le32_of(BLK_RANGES_MAX);
		c.discard_sector_alignment = le32_of(info->physical_block_size / DISK_SECTOR);
	}
	return c;
}

void blk_init(struct blk *b, const char *name, struct disk *disk, struct loop *loop,
	const struct gmem *mem)
{
	const struct disk_info *info = disk_info(disk);
	struct blk_config config = config_of(info);

	memset(b, 0, sizeof(*b));
	snprintf(b->id, sizeof(b->id), "%s", name);
	b->disk = disk;
	b->ops = blk_ops;
	b->ops.name = b->id;
	b->ops.features |= more_features(info);
	loop_timer_init(&b->again, loop, on_again);
	virtio_device_init(&b->base, &b->ops, loop, mem);
	virtio_device_set_config(&b->base, 0, &config, sizeof(config));
	disk_set_batch(disk, on_batch, b);
}

void blk_finish(struct blk *b)
{
	if (!b->disk) {
		return;
	}
	loop_timer_stop(&b->again);
	if (disk_close(b->disk) == 0) {
		free(b->slots);
	}
	b->slots = NULL;
	b->disk = NULL;
}
