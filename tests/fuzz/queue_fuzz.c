/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the queue alone. The first bytes are laid over its three areas, descriptors first; the rest are steps:
 * pop, get, put, push, unpop, notify, a change of ring memory. What must hold at every step: a popped chain's segments lie in guest memory,
 * readable first, its lengths are their sum; never more chains are out than the queue is long.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/baredev.h"
#include "tests/support/testdrv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct tdrv d;
static struct virtq_chain out[BAREDEV_QUEUE_SIZE + 1];
static unsigned nout;

static void must(int is_so)
{
	if (!is_so) {
		abort();
	}
}

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static void check_chain(const struct virtq_chain *c)
{
	uint64_t sum[2] = {0};

	must(c->nreadable + c->nwritable <= VIRTQ_SIZE_MAX);
	for (unsigned i = 0; i < (unsigned)c->nreadable + c->nwritable; i++) {
		const uint8_t *p = c->seg[i].iov_base;

		must(p >= d.ram && c->seg[i].iov_len > 0 && c->seg[i].iov_len <= TDRV_RAM_LEN - (size_t)(p - d.ram));
		sum[i >= c->nreadable] += c->seg[i].iov_len;
	}
	must(sum[0] == c->readable_len && sum[1] == c->writable_len);
}

static void pop(struct virtq *vq)
{
	int r;

	r = virtq_pop(vq, &out[nout]);
	must(r == 1 || r == 0 || !vq->running);
	if (r == 1) {
		check_chain(&out[nout]);
		nout++;
		must(nout <= vq->size && nout == vq->in_flight);
	}
}

/* Returns a chain, any of them, or the last one to the ring. */
static void give_back(struct virtq *vq, unsigned which, int unpop)
{
	struct virtq_chain *c;

	if (nout == 0) {
		return;
	}
	c = unpop ? &out[nout - 1] : &out[which % nout];
	if (unpop) {
		virtq_unpop(vq, c);
	} else {
		virtq_push(vq, c);
	}
	*c = out[--nout];
}

static void step(struct virtq *vq, uint8_t what, uint8_t arg)
{
	struct virtq_chain *c = nout ? &out[arg % nout] : NULL;
	uint8_t buf[256] = {0};
	size_t left;

	switch (what % 8) {
	case 0:
	case 1:
		pop(vq);
		break;
	case 2:
		if (c) {
			left = virtq_get_left(c);
			must(virtq_get(c, buf, arg) == (left < arg ? left : arg));
		}
		break;
	case 3:
		if (c) {
			left = virtq_put_left(c);
			must(virtq_put(c, buf, arg) == (left < arg ? left : arg));
			must(c->written <= c->writable_len);
		}
		break;
	case 4:
		give_back(vq, arg, 0);
		break;
	case 5:
		give_back(vq, arg, 1);
		break;
	case 6:
		virtq_notify(vq);
		must(!(arg & 1) || !virtq_expect(vq, arg) || vq->running);
		must(virtq_pending(vq) <= vq->size);
		break;
	default:
		/* An index or an entry of the available ring. */
		memcpy(tdrv_ptr(&d, d.q[0].avail + 2 + what / 8 % 9 * 2u, 2), (uint8_t[]){arg, 0}, 2);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const size_t areas = 16 * BAREDEV_QUEUE_SIZE + 6 + 2 * BAREDEV_QUEUE_SIZE;
	size_t laid = len < areas ? len : areas;
	struct baredev bare;
	struct virtq *vq = &bare.base.vq[0];

	log_set_hook(on_log);
	tdrv_init(&d);
	baredev_init(&bare, &d.loop, &d.mem);
	tdrv_attach(&d, &bare.base);
	tdrv_start_without(&d, len & 1 ? VIRTIO_F_EVENT_IDX : 0);
	must(d.q[0].avail == d.q[0].desc + 16 * BAREDEV_QUEUE_SIZE);
	memcpy(tdrv_ptr(&d, d.q[0].desc, laid), data, laid);
	nout = 0;
	for (size_t i = laid; i + 2 <= len && i < laid + 512; i += 2) {
		step(vq, data[i], data[i + 1]);
	}
	tdrv_finish(&d);
	return 0;
}
