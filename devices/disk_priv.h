/* SPDX-License-Identifier: MIT */
/*
 * What the files of the disk module share: disk.c takes requests and answers them, disk_step.c
 * makes steps of them (one host call each), disk_open.c opens, locks and measures, disk_uring.c and
 * disk_pool.c let the host do the steps.
 *
 * A request is on one list at a time: ready (its next step waits for the engine), the engine's, or
 * finished (to be answered).
 */
#ifndef DEVICES_DISK_PRIV_H
#define DEVICES_DISK_PRIV_H

#include "devices/disk.h"

enum disk_file {
	DISK_FILE_MAIN,     /* the disk, O_DIRECT if so configured */
	DISK_FILE_BUFFERED, /* direct only: the same file through the page cache */
	DISK_FILE_OVERLAY,  /* ephemeral only: where writes go */
	DISK_FILES,
};

#define DISK_ENGINE_DEPTH 128 /* steps an engine takes at once; the rest waits on ready */

struct disk_list {
	struct disk_request *head, *tail;
};

struct disk_engine_ops {
	const char *name;
	/* d->fd and d->source.fd (an eventfd that brings a turn about) are open. May set d->ring.fd.
	 * 0 or -errno, not logged. */
	int (*create)(struct disk *d);
	/* Takes steps from d->ready, as many as there is room for. */
	void (*start)(struct disk *d);
	/* Calls disk_step_done for each step that is done. Every one was announced by
	 * d->source or d->ring. */
	void (*reap)(struct disk *d);
	/* Gives steps that have not begun back through disk_step_done, with -ECANCELED. */
	void (*cancel)(struct disk *d);
	void (*destroy)(struct disk *d); /* nothing is in flight */
};

extern const struct disk_engine_ops disk_uring, disk_pool;

struct disk {
	char *path;
	struct disk_info info;
	enum disk_cache cache;
	int lock_fd;
	int fd[DISK_FILES];                /* -1: not there */
	uint32_t direct_align;             /* of memory, offset and length, for O_DIRECT */
	bool no_zero_range, no_punch_hole; /* the file system has refused it */
	/* Ephemeral: a bit for each sector, set when the overlay has it. Mapped, so that only what
	 * is used takes memory. NULL: no overlay. */
	uint8_t *written;
	size_t written_len;

	enum disk_engine wanted;
	const struct disk_engine_ops *ops; /* NULL: not started */
	void *engine;
	struct loop_source source; /* edge-triggered: never read in normal work */
	struct loop_source ring;   /* the engine's, ready while there is something to reap; fd -1: none */
	struct loop_timer again;   /* the host had no room for a moment */
	struct disk_list ready, finished;
	unsigned in_flight;
	struct disk_counts counts;
	unsigned epoch; /* counts disk_cancel */
	bool in_turn;
	void (*batch)(void *ctx);
	void *batch_ctx;
	int (*fault)(struct disk_request *r, int result);
};

void disk_list_add(struct disk_list *l, struct disk_request *r);
struct disk_request *disk_list_take(struct disk_list *l); /* NULL when empty */

/* Puts the next step of a request on ready, or the request on finished. */
void disk_plan(struct disk *d, struct disk_request *r);
/* A step is done with r->step.result: bytes or -errno. Plans the next one or finishes. Thread:
 * loop. */
void disk_step_done(struct disk *d, struct disk_request *r);
/* Closes what disk_open.c has opened, frees @d. */
void disk_free(struct disk *d);

#endif
