/* SPDX-License-Identifier: MIT */
/* Requests come in, are answered in turns on the loop, and are cancelled. See disk_priv.h. */
#include "devices/disk.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/disk_priv.h"
#include "vmm/clock.h"
#include "vmm/log.h"

void disk_list_add(struct disk_list *l, struct disk_request *r)
{
	r->next = NULL;
	if (l->head) {
		l->tail->next = r;
	} else {
		l->head = r;
	}
	l->tail = r;
}

struct disk_request *disk_list_take(struct disk_list *l)
{
	struct disk_request *r = l->head;

	if (r) {
		l->head = r->next;
		r->next = NULL;
	}
	return r;
}

/*
 * Turns.
 */

static void answer(struct disk *d)
{
	struct disk_list list = d->finished;
	struct disk_request *r;
	bool any = list.head;

	d->finished = (struct disk_list){0};
	while ((r = disk_list_take(&list))) {
		d->in_flight--;
		r->done(r, r->step.result);
	}
	if (any && d->batch) {
		d->batch(d->batch_ctx);
	}
}

static void turn(struct disk *d)
{
	if (d->in_turn) {
		return; /* a callback submits more: the turn it is called from goes on with that */
	}
	d->in_turn = true;
	d->ops->start(d);
	d->ops->reap(d);
	answer(d);
	d->ops->start(d);
	if (d->finished.head) {
		eventfd_write(d->source.fd, 1);
	}
	d->in_turn = false;
}

static void on_event(struct loop_source *src, uint32_t events)
{
	(void)events;
	turn((struct disk *)((char *)src - offsetof(struct disk, source)));
}

static void on_ring(struct loop_source *src, uint32_t events)
{
	(void)events;
	turn((struct disk *)((char *)src - offsetof(struct disk, ring)));
}

static void on_again(struct loop_timer *timer)
{
	turn((struct disk *)((char *)timer - offsetof(struct disk, again)));
}

void disk_submit(struct disk *d, struct disk_request *r)
{
	assert(d->ops && r->done);
	assert(r->op == DISK_FLUSH || r->len > 0);
	assert(r->offset % DISK_SECTOR == 0 && r->len % DISK_SECTOR == 0);
	assert(r->offset <= d->info.size && r->len <= d->info.size - r->offset);
	assert(r->op == DISK_READ || r->op == DISK_FLUSH || !d->info.readonly);
	r->pos = 0;
	r->retries = 0;
	r->buffered = r->by_hand = r->syncing = false;
	r->cut = NULL;
	r->epoch = d->epoch;
	d->in_flight++;
	d->counts.requests++;
	disk_plan(d, r);
}

void disk_start(struct disk *d)
{
	assert(loop_is_current(d->source.loop));
	turn(d);
}

void disk_cancel(struct disk *d)
{
	struct disk_request *r;

	d->epoch++;
	d->ops->cancel(d);
	while ((r = disk_list_take(&d->ready))) {
		r->step.result = -ECANCELED;
		disk_step_done(d, r);
	}
	eventfd_write(d->source.fd, 1);
}

unsigned disk_in_flight(const struct disk *d)
{
	return d->in_flight;
}

int disk_drain(struct disk *d, unsigned timeout_ms)
{
	uint64_t deadline = clock_now_ns() + timeout_ms * CLOCK_NS_PER_MS;
	struct pollfd p[] = {{.fd = d->source.fd, .events = POLLIN}, {.fd = d->ring.fd, .events = POLLIN}};
	eventfd_t n;

	while (d->in_flight > 0) {
		uint64_t now = clock_now_ns();

		eventfd_read(d->source.fd, &n);
		turn(d);
		if (d->in_flight > 0 && now >= deadline) {
			return -ETIMEDOUT;
		}
		/* Not for all of the time: the engine may wait for room, and that is a timer's. */
		if (d->in_flight > 0) {
			poll(p, 2, 20);
		}
	}
	return 0;
}

void disk_set_batch(struct disk *d, void (*fn)(void *ctx), void *ctx)
{
	d->batch = fn;
	d->batch_ctx = ctx;
}

void disk_set_fault(struct disk *d, int (*fn)(struct disk_request *r, int result))
{
	d->fault = fn;
}

const struct disk_info *disk_info(const struct disk *d)
{
	return &d->info;
}

struct disk_counts disk_get_counts(const struct disk *d)
{
	return d->counts;
}

/*
 * The way in and out.
 */

static int start_engine(struct disk *d)
{
	int r = -ENOSYS;

	if (d->wanted != DISK_ENGINE_POOL) {
		d->ops = &disk_uring;
		r = d->ops->create(d);
		if (r < 0) {
			log_errno(
				LOG_DEBUG, r, "%s: no io_uring here, threads do its work", d->path);
		}
	}
	if (r < 0 && d->wanted != DISK_ENGINE_URING) {
		d->ops = &disk_pool;
		r = d->ops->create(d);
	}
	if (r < 0) {
		d->ops = NULL;
		return r;
	}
	d->info.engine = d->ops->name;
	return 0;
}

static int begin(struct disk *d, struct loop *loop)
{
	int r;

	d->source = (struct loop_source){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.events = EPOLLIN | EPOLLET,
		.fn = on_event};
	if (d->source.fd < 0) {
		return -errno;
	}
	loop_timer_init(&d->again, loop, on_again);
	r = start_engine(d);
	if (r < 0) {
		return r;
	}
	r = loop_add(loop, &d->source);
	if (r == 0 && d->ring.fd >= 0) {
		/* Not by edges: whatever a turn should leave there brings the next one about. */
		d->ring.events = EPOLLIN;
		d->ring.fn = on_ring;
		r = loop_add(loop, &d->ring);
	}
	if (r < 0) {
		loop_remove(&d->source);
		d->ops->destroy(d);
		d->ops = NULL;
	}
	return r;
}

int disk_run(struct disk *d, struct loop *loop)
{
	int r = d->ops ? 0 : begin(d, loop);

	if (r < 0 && d->source.fd >= 0) {
		close(d->source.fd);
		d->source.fd = -1;
	}
	return r;
}

int disk_close(struct disk *d)
{
	if (!d) {
		return 0;
	}
	if (d->ops) {
		disk_cancel(d);
		if (disk_drain(d, DISK_CLOSE_MS) < 0) {
			log_msg(LOG_ERR, "%s: the host has not finished %u requests after %d s",
				d->path, d->in_flight, DISK_CLOSE_MS / 1000);
			loop_timer_stop(&d->again);
			loop_remove(&d->source);
			loop_remove(&d->ring);
			return -ETIMEDOUT;
		}
		loop_timer_stop(&d->again);
		loop_remove(&d->source);
		loop_remove(&d->ring);
		d->ops->destroy(d);
	}
	disk_free(d);
	return 0;
}
