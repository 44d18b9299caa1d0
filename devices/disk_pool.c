/* SPDX-License-Identifier: MIT */
/* Steps by four threads that wait for work, for hosts where io_uring is forbidden. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "devices/disk_priv.h"

#define POOL_THREADS 4
#define STACK_LEN (256u << 10)

struct pool {
	struct disk *d;
	pthread_mutex_t lock; /* guards all of it */
	pthread_cond_t work;
	struct disk_list waiting, done;
	bool stop;
	unsigned nthreads;
	pthread_t thread[POOL_THREADS];
};

static int do_step(const struct disk *d, const struct disk_step *s)
{
	int fd = d->fd[s->file];
	ssize_t n = -1;

	switch (s->call) {
	case DISK_CALL_READV:
		n = preadv(fd, s->iov, (int)s->niov, (off_t)s->offset);
		break;
	case DISK_CALL_WRITEV:
		n = pwritev(fd, s->iov, (int)s->niov, (off_t)s->offset);
		break;
	case DISK_CALL_FSYNC:
		n = fdatasync(fd);
		break;
	case DISK_CALL_FALLOCATE:
		n = fallocate(fd, s->mode, (off_t)s->offset, (off_t)s->len);
		break;
	}
	return n < 0 ? -errno : (int)n;
}

static void *run(void *arg)
{
	struct pool *p = arg;
	struct disk_request *r;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		bool first;

		while (!p->stop && !p->waiting.head) {
			pthread_cond_wait(&p->work, &p->lock);
		}
		r = disk_list_take(&p->waiting);
		if (!r) {
			break;
		}
		pthread_mutex_unlock(&p->lock);
		r->step.result = do_step(p->d, &r->step);
		pthread_mutex_lock(&p->lock);
		first = !p->done.head;
		disk_list_add(&p->done, r);
		if (first) {
			/* The loop wakes up for the lock: it had better be free. */
			pthread_mutex_unlock(&p->lock);
			eventfd_write(p->d->source.fd, 1);
			pthread_mutex_lock(&p->lock);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void pool_destroy(struct disk *d)
{
	struct pool *p = d->engine;

	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nthreads; i++) {
		pthread_join(p->thread[i], NULL);
	}
	assert(!p->waiting.head && !p->done.head);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
	d->engine = NULL;
}

static int pool_create(struct disk *d)
{
	struct pool *p = calloc(1, sizeof(*p));
	sigset_t all, before;
	pthread_attr_t attr;
	int r = 0;

	if (!p) {
		return -ENOMEM;
	}
	p->d = d;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	d->engine = p;
	/* Signals are for the threads that know what to do with them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	/* A stack of the usual size is address space that a kernel with huge pages may fill with one. */
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_LEN);
	while (r == 0 && p->nthreads < POOL_THREADS) {
		r = pthread_create(&p->thread[p->nthreads], &attr, run, p);
		p->nthreads += r == 0;
	}
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r > 0) {
		pool_destroy(d);
	}
	return -r;
}

static void pool_start(struct disk *d)
{
	struct pool *p = d->engine;
	struct disk_request *r;

	if (!d->ready.head) {
		return;
	}
	pthread_mutex_lock(&p->lock);
	while ((r = disk_list_take(&d->ready))) {
		disk_list_add(&p->waiting, r);
		pthread_cond_signal(&p->work);
	}
	pthread_mutex_unlock(&p->lock);
}

static void step_done_all(struct disk *d, struct disk_list list, bool canceled)
{
	struct disk_request *r;

	while ((r = disk_list_take(&list))) {
		if (canceled) {
			r->step.result = -ECANCELED;
		}
		disk_step_done(d, r);
	}
}

static struct disk_list take_all(struct pool *p, struct disk_list *from)
{
	struct disk_list list;

	pthread_mutex_lock(&p->lock);
	list = *from;
	*from = (struct disk_list){0};
	pthread_mutex_unlock(&p->lock);
	return list;
}

static void pool_reap(struct disk *d)
{
	struct pool *p = d->engine;

	step_done_all(d, take_all(p, &p->done), false);
}

static void pool_cancel(struct disk *d)
{
	struct pool *p = d->engine;

	step_done_all(d, take_all(p, &p->waiting), true);
}

const struct disk_engine_ops disk_pool = {
	.name = "threads",
	.create = pool_create,
	.start = pool_start,
	.reap = pool_reap,
	.cancel = pool_cancel,
	.destroy = pool_destroy,
};
