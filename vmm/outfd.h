/* SPDX-License-Identifier: MIT */
/*
 * Output to a descriptor that may stop taking any: a bounded buffer and a loop source in front of
 * it.
 *
 * Writing must not block the loop, but O_NONBLOCK belongs to the open file description, which a
 * standard output shares with the parent's shell and with every other program on the same pipe or
 * terminal: setting it breaks them. So a shared descriptor is handled by what it is:
 *
 *   pipe, terminal   opened again through /proc/self/fd: a description of our own with O_NONBLOCK
 *   socket           send with MSG_DONTWAIT
 *   regular file     written as it is: never waits for a reader, and a second description would
 *                    have a second offset
 *   refused reopen   (a terminal of another user) a few bytes at a time, after poll said that there
 *                    is room
 *
 * Thread: the loop's.
 */
#ifndef VMM_OUTFD_H
#define VMM_OUTFD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/loop.h"

#define OUTFD_MAX 16384 /* bytes held; power of two */

enum outfd_kind { OUTFD_DIRECT, OUTFD_NONBLOCK, OUTFD_SOCKET, OUTFD_CAREFUL };

struct outfd {
	const char *name; /* for messages */
	enum outfd_kind kind;
	bool owned; /* close it at the end */
	bool full;  /* filled up since the last on_room */
	bool dead;  /* an error came: everything is dropped from here on */
	int error;  /* -errno of that error, 0 before */
	struct loop *loop;
	struct loop_source src;  /* added while the buffer is not empty */
	struct loop_timer later; /* calls on_room when nothing else will */
	void (*on_room)(struct outfd *o);
	uint32_t head, tail; /* free-running; head - tail = bytes held */
	uint8_t *buf; /* of OUTFD_MAX bytes, made when some have to be held */
};

/* A reader that goes away, or a file that reaches the size limit, is an error then, not death. Every outfd does so itself. */
void outfd_ignore_signals(void);
/* The same by blocking, for who does so anyhow: adds to @set what outfds need blocked in every thread from then on. */
void outfd_block_signals(sigset_t *set);
/* Before nothing is blocked any more: what came meanwhile goes. They are ignored then. */
void outfd_drop_signals(void);

/**
 * outfd_init_shared - write to a descriptor that others use too
 * @fd: stays the caller's; closed or not writable: everything is dropped
 * @on_room: called when there is much room again after a write that filled the buffer, and when the
 *           descriptor died; never from inside outfd_write
 */
void outfd_init_shared(struct outfd *o, struct loop *loop, int fd, const char *name,
	void (*on_room)(struct outfd *o));

/* As above, for a description of the caller's own that is already O_NONBLOCK; @fd becomes @o's. */
void outfd_init_own(struct outfd *o, struct loop *loop, int fd, const char *name,
	void (*on_room)(struct outfd *o));

void outfd_finish(struct outfd *o); /* accepts zeroed memory; what is held is dropped */

size_t outfd_room(const struct outfd *o); /* SIZE_MAX when dead */
/* @len at most outfd_room(). Writes what can be written at once and holds the rest. */
void outfd_write(struct outfd *o, const uint8_t *buf, size_t len);
/* Writes until nothing is held, the deadline has passed or it died; on_room runs in between. */
void outfd_flush(struct outfd *o, uint64_t deadline_ns);

#endif
