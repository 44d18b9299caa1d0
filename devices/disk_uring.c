/* SPDX-License-Identifier: MIT */
/*
 * Steps by io_uring. The ring is created disabled, restricted to the four operations a disk needs,
 * on the files registered before, and enabled: whoever gets hold of it can do nothing else with it.
 *
 * The loop waits for the ring itself: it is ready only while there is something to reap. What the
 * kernel has done before the call that submits it returns, as it does with what its cache has, is
 * reaped at once, and nothing is left to wake up for. An eventfd would have it wake up for that all the same.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <liburing.h>

#include "devices/disk_priv.h"
#include "vmm/clock.h"

/* The kernel copies at once what is in its cache: beyond these it uses a thread of its own instead,
 * so that one turn of the loop stays short. */
#define INLINE_STEP_MAX 65536u
#define INLINE_TURN_MAX 262144u

#define AGAIN_NS (5 * CLOCK_NS_PER_MS)

struct uring {
	struct io_uring ring;
	unsigned taken; /* steps between start and reap */
};

static int restrict_ring(struct io_uring *ring)
{
	struct io_uring_restriction res[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
			.sqe_flags = IOSQE_FIXED_FILE | IOSQE_ASYNC},
	};

	return io_uring_register_restrictions(ring, res, sizeof(res) / sizeof(res[0]));
}

static int uring_create(struct disk *d)
{
	struct io_uring_params params = {.flags = IORING_SETUP_R_DISABLED};
	struct uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u) {
		return -ENOMEM;
	}
	r = io_uring_queue_init_params(DISK_ENGINE_DEPTH, &u->ring, &params);
	if (r < 0) {
		free(u);
		return r;
	}
	r = io_uring_register_files(&u->ring, d->fd, DISK_FILES);
	if (r == 0) {
		r = restrict_ring(&u->ring);
	}
	if (r == 0) {
		r = io_uring_enable_rings(&u->ring);
	}
	if (r < 0) {
		io_uring_queue_exit(&u->ring);
		free(u);
		return r;
	}
	d->engine = u;
	d->ring.fd = u->ring.ring_fd;
	return 0;
}

static void prepare(struct io_uring_sqe *sqe, struct disk_request *r, uint64_t *inline_len)
{
	const struct disk_step *s = &r->step;
	int file = (int)s->file;

	switch (s->call) {
	case DISK_CALL_READV:
		io_uring_prep_readv(sqe, file, s->iov, s->niov, s->offset);
		break;
	case DISK_CALL_WRITEV:
		io_uring_prep_writev(sqe, file, s->iov, s->niov, s->offset);
		break;
	case DISK_CALL_FSYNC:
		io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
		break;
	case DISK_CALL_FALLOCATE:
		io_uring_prep_fallocate(sqe, file, s->mode, (off_t)s->offset, (off_t)s->len);
		break;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
	*inline_len += s->len;
	if (s->len > INLINE_STEP_MAX || *inline_len > INLINE_TURN_MAX) {
		sqe->flags |= IOSQE_ASYNC;
	}
	io_uring_sqe_set_data(sqe, r);
}

static void uring_start(struct disk *d)
{
	struct uring *u = d->engine;
	uint64_t inline_len = 0;

	while (d->ready.head && u->taken < DISK_ENGINE_DEPTH) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

		if (!sqe) {
			break;
		}
		prepare(sqe, disk_list_take(&d->ready), &inline_len);
		u->taken++;
	}
	/* What the kernel did not take for lack of memory stays in the ring. */
	if (io_uring_sq_ready(&u->ring) == 0) {
		return;
	}
	d->counts.enters++;
	if (io_uring_submit(&u->ring) < 0 || io_uring_sq_ready(&u->ring) > 0) {
		loop_timer_set(&d->again, clock_now_ns() + AGAIN_NS);
	}
}

static void uring_reap(struct disk *d)
{
	struct uring *u = d->engine;
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
		struct disk_request *r = io_uring_cqe_get_data(cqe);

		r->step.result = cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		u->taken--;
		disk_step_done(d, r);
	}
}

/* The kernel has everything at once, and nothing begun can be called back. */
static void uring_cancel(struct disk *d)
{
	(void)d;
}

static void uring_destroy(struct disk *d)
{
	struct uring *u = d->engine;

	assert(u->taken == 0);
	d->ring.fd = -1;
	io_uring_queue_exit(&u->ring);
	free(u);
	d->engine = NULL;
}

const struct disk_engine_ops disk_uring = {
	.name = "io_uring",
	.create = uring_create,
	.start = uring_start,
	.reap = uring_reap,
	.cancel = uring_cancel,
	.destroy = uring_destroy,
};
