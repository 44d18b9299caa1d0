/* SPDX-License-Identifier: MIT */
/*
 * A listening socket of ours on a loop: takes connections, looks who is at the other end, and hands on those that may. For control, consoles and viewers.
 *
 * Where the process has no descriptor or memory left, the connection waits in the socket's queue and the listener rests for LISTENER_REST_NS before it tries again: whoever connects is
 * served late, and the loop does not turn meanwhile.
 *
 * Thread: the loop's.
 */
#ifndef VMM_LISTENER_H
#define VMM_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/loop.h"

#define LISTENER_REST_NS 100000000u

/* Embedded in its owner. */
struct listener {
	struct loop_source src; /* fd 0 or -1: none */
	struct loop_timer rest;
	const char *name; /* for messages */
	/* Takes @fd: not blocking, closed at exec. @pid: the other end's. */
	void (*fn)(struct listener *l, int fd, pid_t pid);
	const uid_t *allow; /* whose processes may connect, beside root's */
	unsigned nallow; /* 0: this user's */
	bool is_short; /* it was said that connections wait */
};

/* A private listening socket at @path, of @type SOCK_STREAM or SOCK_SEQPACKET, where @backlog peers may wait. Return: a descriptor or -errno (logged). */
int listener_open(const char *path, int type, int backlog);

/* Serves @fd, which stays the caller's. @name, and l->allow, which the caller may set afterwards: borrowed. Return: 0 or -errno (logged). */
int listener_init(struct listener *l, struct loop *loop, int fd, const char *name, void (*fn)(struct listener *l, int fd, pid_t pid));
/* Takes no more connections. Accepts zeroed memory. */
void listener_finish(struct listener *l);

#endif
