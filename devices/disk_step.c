/* SPDX-License-Identifier: MIT */
/* Requests become steps here: which file, how far, what a result means. See disk_priv.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "devices/disk_priv.h"

#define RETRIES_MAX 16 /* of EINTR and EAGAIN in a row */

/* Zeros to write where the host cannot make them. */
#define ZEROS_LEN 65536u
#define ZEROS_IOV 16u
static _Alignas(4096) uint8_t zeros[ZEROS_LEN];
#define Z                                                                                          \
	{                                                                                          \
		zeros, ZEROS_LEN                                                                   \
	}
static const struct iovec zeros_iov[ZEROS_IOV] = {Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z};
#undef Z

/*
 * The overlay's bits.
 */

static bool is_written(const struct disk *d, uint64_t sector)
{
	return d->written[sector / 8] & (1u << sector % 8);
}

static void set_written(struct disk *d, uint64_t from, uint64_t to)
{
	for (uint64_t s = from; s < to; s++) {
		if (s % 8 == 0 && to - s >= 8) {
			uint64_t bytes = (to - s) / 8;

			memset(d->written + s / 8, 0xff, bytes);
			s += bytes * 8 - 1;
			continue;
		}
		d->written[s / 8] = (uint8_t)(d->written[s / 8] | 1u << s % 8);
	}
}

/* Bytes from @offset on, at most @max, that the same file has. */
static uint64_t run_len(const struct disk *d, uint64_t offset, uint64_t max, bool *in_overlay)
{
	uint64_t sector = offset / DISK_SECTOR, last = (offset + max - 1) / DISK_SECTOR;
	uint64_t s = sector;
	uint64_t len;

	*in_overlay = is_written(d, sector);
	while (s <= last && is_written(d, s) == *in_overlay) {
		uint8_t same = *in_overlay ? 0xff : 0;

		s += s % 8 == 0 && d->written[s / 8] == same ? 8 : 1;
	}
	len = s * DISK_SECTOR - offset;
	return len < max ? len : max;
}

/*
 * Planning: the next step of a request.
 */

static bool is_aligned(const struct disk *d, const struct disk_step *s)
{
	uint64_t all = s->offset | s->len;

	for (unsigned i = 0; i < s->niov; i++) {
		all |= (uintptr_t)s->iov[i].iov_base | s->iov[i].iov_len;
	}
	return all % d->direct_align == 0;
}

static unsigned choose_file(const struct disk *d, const struct disk_request *r)
{
	if (d->fd[DISK_FILE_BUFFERED] >= 0 && (r->buffered || !is_aligned(d, &r->step))) {
		return DISK_FILE_BUFFERED;
	}
	return DISK_FILE_MAIN;
}

/* The first @len bytes of what is left of the caller's memory. */
static void window(struct disk_request *r, uint64_t len)
{
	unsigned n = 0;
	uint64_t left = len;

	while (left > r->iov[n].iov_len) {
		left -= r->iov[n++].iov_len;
	}
	r->cut = &r->iov[n];
	r->cut_len = r->cut->iov_len;
	r->cut->iov_len = left;
	r->step.iov = r->iov;
	r->step.niov = n + 1;
}

static void advance(struct disk_request *r, uint64_t len)
{
	while (len > 0 && len >= r->iov->iov_len) {
		len -= r->iov->iov_len;
		r->iov++;
		r->niov--;
	}
	if (len > 0) {
		r->iov->iov_base = (uint8_t *)r->iov->iov_base + len;
		r->iov->iov_len -= len;
	}
}

static void plan_transfer(struct disk *d, struct disk_request *r)
{
	struct disk_step *s = &r->step;
	bool in_overlay = d->written != NULL;

	s->call = r->op == DISK_READ ? DISK_CALL_READV : DISK_CALL_WRITEV;
	s->len = r->len - r->pos;
	if (d->written && r->op == DISK_READ) {
		s->len = run_len(d, s->offset, s->len, &in_overlay);
	}
	window(r, s->len);
	s->file = in_overlay ? DISK_FILE_OVERLAY : choose_file(d, r);
}

static void plan_zeros_by_hand(struct disk *d, struct disk_request *r)
{
	struct disk_step *s = &r->step;
	uint64_t left = r->len - r->pos;

	s->call = DISK_CALL_WRITEV;
	if (left >= ZEROS_LEN) {
		s->niov = left / ZEROS_LEN < ZEROS_IOV ? (unsigned)(left / ZEROS_LEN) : ZEROS_IOV;
		s->iov = zeros_iov;
		s->len = (uint64_t)s->niov * ZEROS_LEN;
	} else {
		r->tail = (struct iovec){.iov_base = zeros, .iov_len = left};
		s->iov = &r->tail;
		s->niov = 1;
		s->len = left;
	}
	s->file = d->written ? DISK_FILE_OVERLAY : choose_file(d, r);
}

/* Return: false when the host is known not to do it. */
static bool plan_fallocate(const struct disk *d, struct disk_request *r)
{
	bool punch = r->op == DISK_DISCARD || d->written || (r->unmap && d->info.discard);

	r->step.call = DISK_CALL_FALLOCATE;
	r->step.mode = FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	r->step.len = r->len;
	r->step.file = d->written ? DISK_FILE_OVERLAY : DISK_FILE_MAIN;
	return punch ? !d->no_punch_hole : !d->no_zero_range;
}

static void finish(struct disk *d, struct disk_request *r, int err)
{
	r->step.result = err;
	disk_list_add(&d->finished, r);
}

static bool flushes(const struct disk *d)
{
	return d->cache != DISK_CACHE_UNSAFE && !d->written && !d->info.readonly;
}

static void plan_sync(struct disk *d, struct disk_request *r)
{
	r->step.call = DISK_CALL_FSYNC;
	r->step.file = DISK_FILE_MAIN;
	disk_list_add(&d->ready, r);
}

/* All of the range is done. */
static void complete(struct disk *d, struct disk_request *r)
{
	if (r->stable && r->op != DISK_READ && flushes(d)) {
		r->syncing = true;
		plan_sync(d, r);
		return;
	}
	finish(d, r, 0);
}

void disk_plan(struct disk *d, struct disk_request *r)
{
	memset(&r->step, 0, sizeof(r->step));
	r->step.offset = r->offset + r->pos;
	switch (r->op) {
	case DISK_READ:
	case DISK_WRITE:
		plan_transfer(d, r);
		break;
	case DISK_FLUSH:
		if (!flushes(d)) {
			finish(d, r, 0);
			return;
		}
		r->syncing = true;
		plan_sync(d, r);
		return;
	case DISK_DISCARD:
		if (!plan_fallocate(d, r)) {
			finish(d, r, 0);
			return;
		}
		break;
	case DISK_WRITE_ZEROES:
		if (r->by_hand || !plan_fallocate(d, r)) {
			r->by_hand = true;
			plan_zeros_by_hand(d, r);
		}
		break;
	}
	disk_list_add(&d->ready, r);
}

/*
 * Results.
 */

/* Return: true when the step is to be done again, in another way or just again. */
static bool is_worth_another_try(struct disk *d, struct disk_request *r, int result)
{
	const struct disk_step *s = &r->step;

	if ((result == -EINTR || result == -EAGAIN) && r->retries < RETRIES_MAX) {
		r->retries++;
		return true;
	}
	if (result == -EINVAL && s->file == DISK_FILE_MAIN && d->fd[DISK_FILE_BUFFERED] >= 0 &&
		s->call != DISK_CALL_FALLOCATE && !r->buffered) {
		/* Alignment rules differ by file system and cannot always be asked for. */
		r->buffered = true;
		return true;
	}
	if (s->call == DISK_CALL_FALLOCATE && r->op == DISK_WRITE_ZEROES &&
		(result == -EOPNOTSUPP || result == -EINVAL || result == -ENOSYS)) {
		r->by_hand = true;
		return true;
	}
	return false;
}

/* What the file system cannot do at all is asked for once. EINVAL is about one range only. */
static void learn(struct disk *d, const struct disk_step *s)
{
	if (s->call == DISK_CALL_FALLOCATE && (s->result == -EOPNOTSUPP || s->result == -ENOSYS)) {
		if (s->mode & FALLOC_FL_PUNCH_HOLE) {
			d->no_punch_hole = true;
		} else {
			d->no_zero_range = true;
		}
	}
}

static void fallocate_done(struct disk *d, struct disk_request *r)
{
	if (d->written) {
		/* A hole in the overlay reads as zeros, and the disk below no longer shows. */
		set_written(d, r->offset / DISK_SECTOR, (r->offset + r->len) / DISK_SECTOR);
	}
	complete(d, r);
}

static void transfer_done(struct disk *d, struct disk_request *r, uint64_t len)
{
	const struct disk_step *s = &r->step;

	if (s->call == DISK_CALL_WRITEV && d->written) {
		/* Whole sectors only; the rest of one is marked by the step that completes it. */
		set_written(d, s->offset / DISK_SECTOR, (s->offset + len) / DISK_SECTOR);
	}
	if (!r->by_hand) {
		advance(r, len);
	}
	r->pos += len;
	r->retries = 0;
	if (r->pos < r->len) {
		disk_plan(d, r);
	} else {
		complete(d, r);
	}
}

void disk_step_done(struct disk *d, struct disk_request *r)
{
	struct disk_step *s = &r->step;
	int result = d->fault && s->result != -ECANCELED ? d->fault(r, s->result) : s->result;

	s->result = result;
	if (r->cut) {
		r->cut->iov_len = r->cut_len;
		r->cut = NULL;
	}
	learn(d, s);
	if (r->epoch != d->epoch) {
		finish(d, r, -ECANCELED);
	} else if (result < 0 && is_worth_another_try(d, r, result)) {
		disk_plan(d, r);
	} else if (result < 0 && r->op == DISK_DISCARD && !r->syncing && result != -EIO) {
		finish(d, r, 0); /* a hint that the host did not take */
	} else if (result < 0) {
		finish(d, r, result);
	} else if (r->syncing) {
		finish(d, r, 0);
	} else if (s->call == DISK_CALL_FALLOCATE) {
		fallocate_done(d, r);
	} else if (result == 0 || (uint64_t)result > s->len) {
		finish(d, r, -EIO); /* the end of a file that was truncated */
	} else {
		transfer_done(d, r, (uint64_t)result);
	}
}
