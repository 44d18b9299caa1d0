/* SPDX-License-Identifier: MIT */
/*
 * The console socket: whoever connects gets what the guest's console said last, and then what it says, as plain bytes. One of
 * the connected may type: the one who came first of those who are still there. The others only read.
 *
 * A client that does not read loses bytes and is told so in the text; nothing here holds up the guest.
 *
 * Thread: the stream's loop.
 */
#ifndef VMM_CONSOLE_SOCK_H
#define VMM_CONSOLE_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/stream.h"
#include "vmm/listener.h"
#include "vmm/loop.h"

#define CONSOLE_SOCK_CLIENTS 8
#define CONSOLE_SOCK_HELD 65536 /* bytes that wait for one client */

struct console_sock;

struct console_client {
	struct console_sock *owner;
	struct loop_source src; /* fd -1: the place is free */
	uint8_t *out; /* CONSOLE_SOCK_HELD bytes */
	size_t out_len, in_len;
	bool lossy; /* bytes were dropped since the last ones that were not */
	bool reading; /* sends no more, but still listens */
	uint64_t order; /* of coming */
	uint8_t in[512]; /* typed, and not yet taken by the guest */
};

struct console_sock {
	struct loop *loop; /* NULL: not there */
	struct listener listener;
	struct stream_sink sink;
	uint64_t came;
	struct console_client client[CONSOLE_SOCK_CLIENTS];
};

/* @fd: a listening socket, taken over. Return: 0 or -errno (logged). */
int console_sock_init(struct console_sock *c, struct loop *loop, int fd, struct stream *s);
/* Gives clients @patience_ms to read the rest. The listener stays open with @keep. Accepts zeroed memory. */
void console_sock_finish(struct console_sock *c, unsigned patience_ms, bool keep);

#endif
