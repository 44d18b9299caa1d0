/* SPDX-License-Identifier: MIT */
/* A ring buffer, and the four ways to write to a descriptor without waiting for it. */
#include "vmm/outfd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/log.h"

#define CAREFUL_MAX 1024 /* bytes per turn that are written one at a time */

static uint32_t held(const struct outfd *o)
{
	return o->head - o->tail;
}

size_t outfd_room(const struct outfd *o)
{
	return o->dead ? SIZE_MAX : OUTFD_MAX - held(o);
}

static void die(struct outfd *o, int err)
{
	o->dead = true;
	o->full = true;
	o->error = -err;
	o->tail = o->head;
	loop_remove(&o->src);
	loop_timer_set(&o->later, clock_now_ns() + 1);
	if (err == EPIPE) {
		log_msg(LOG_WARN, "%s: nobody reads it any more; the VM goes on", o->name);
	} else if (err != 0) {
		log_errno(LOG_WARN, err, "%s: nothing is written to it any more", o->name);
	}
}

/* poll says that at least one byte fits into a terminal, not how many: more could wait. */
static ssize_t write_careful(int fd, const uint8_t *buf, size_t len)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	size_t n = 0;

	len = len < CAREFUL_MAX ? len : CAREFUL_MAX;
	while (n < len && poll(&p, 1, 0) > 0) {
		ssize_t r = write(fd, buf + n, 1);

		if (r != 1) {
			return n > 0 ? (ssize_t)n : r;
		}
		n++;
	}
	if (n == 0) {
		errno = EAGAIN;
		return -1;
	}
	return (ssize_t)n;
}

static ssize_t write_piece(struct outfd *o, const uint8_t *buf, size_t len)
{
	switch (o->kind) {
	case OUTFD_SOCKET:
		return send(o->src.fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	case OUTFD_CAREFUL:
		return write_careful(o->src.fd, buf, len);
	default:
		return write(o->src.fd, buf, len);
	}
}

/* Writes until nothing is held or nothing more is taken; then the loop source waits. */
static void write_held(struct outfd *o)
{
	while (held(o) > 0) {
		uint32_t at = o->tail % OUTFD_MAX;
		uint32_t len = held(o) < OUTFD_MAX - at ? held(o) : OUTFD_MAX - at;
		ssize_t n = write_piece(o, o->buf + at, len);

		if (n > 0) {
			o->tail += (uint32_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			if (!o->src.loop && loop_add(o->loop, &o->src) < 0) {
				die(o, 0);
			}
			return;
		} else if (n == 0 || errno != EINTR) {
			die(o, n == 0 ? EIO : errno);
			return;
		}
	}
	o->head = o->tail = 0;
	loop_remove(&o->src);
}

static void tell_room(struct outfd *o)
{
	if (o->full && (o->dead || held(o) <= OUTFD_MAX / 2)) {
		o->full = false;
		o->on_room(o);
	}
}

static void on_writable(struct loop_source *src, uint32_t events)
{
	struct outfd *o = (struct outfd *)((char *)src - offsetof(struct outfd, src));

	(void)events;
	write_held(o);
	tell_room(o);
}

static void on_later(struct loop_timer *timer)
{
	tell_room((struct outfd *)((char *)timer - offsetof(struct outfd, later)));
}

/* Return: how many of them have been taken. */
static size_t write_now(struct outfd *o, const uint8_t *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write_piece(o, buf + done, len - done);

		if (n > 0) {
			done += (size_t)n;
		} else if (n == 0 || errno != EINTR) {
			/* If it is not for now, write_held meets it again. */
			break;
		}
	}
	return done;
}

static void hold(struct outfd *o, const uint8_t *buf, size_t len)
{
	uint32_t at = o->head % OUTFD_MAX;
	uint32_t first = len < OUTFD_MAX - at ? (uint32_t)len : OUTFD_MAX - at;

	if (!o->buf) {
		o->buf = malloc(OUTFD_MAX);
	}
	if (!o->buf) {
		die(o, ENOMEM);
		return;
	}
	memcpy(o->buf + at, buf, first);
	memcpy(o->buf, buf + first, len - first);
	o->head += (uint32_t)len;
}

void outfd_write(struct outfd *o, const uint8_t *buf, size_t len)
{
	size_t done = 0;

	if (o->dead || len == 0) {
		return;
	}
	assert(len <= outfd_room(o));
	o->full = o->full || len == outfd_room(o);
	if (held(o) == 0) {
		done = write_now(o, buf, len);
	}
	if (done < len) {
		hold(o, buf + done, len - done);
	}
	if (o->src.loop) {
		return;
	}
	write_held(o);
	if (o->full && !o->src.loop) {
		loop_timer_set(&o->later, clock_now_ns() + 1);
	}
}

void outfd_flush(struct outfd *o, uint64_t deadline_ns)
{
	while (!o->dead && held(o) > 0) {
		struct pollfd p = {.fd = o->src.fd, .events = POLLOUT};
		uint64_t now = clock_now_ns();

		if (now >= deadline_ns) {
			return;
		}
		poll(&p, 1, (int)((deadline_ns - now) / CLOCK_NS_PER_MS) + 1);
		write_held(o);
		tell_room(o);
	}
}

static bool are_blocked;

void outfd_ignore_signals(void)
{
	static bool done;

	if (!done && !are_blocked) {
		signal(SIGPIPE, SIG_IGN);
		signal(SIGXFSZ, SIG_IGN);
		done = true;
	}
}

void outfd_block_signals(sigset_t *set)
{
	sigaddset(set, SIGPIPE);
	sigaddset(set, SIGXFSZ);
	are_blocked = true;
}

void outfd_drop_signals(void)
{
	if (are_blocked) {
		are_blocked = false;
		outfd_ignore_signals();
	}
}

static void init(
	struct outfd *o, struct loop *loop, const char *name, void (*on_room)(struct outfd *))
{
	outfd_ignore_signals();
	o->name = name;
	o->kind = OUTFD_DIRECT;
	o->owned = false;
	o->full = false;
	o->dead = false;
	o->error = 0;
	o->loop = loop;
	o->src = (struct loop_source){.fd = -1, .events = EPOLLOUT, .fn = on_writable};
	loop_timer_init(&o->later, loop, on_later);
	o->on_room = on_room;
	o->head = 0;
	o->tail = 0;
	o->buf = NULL;
}

static void reopen(struct outfd *o, int fd, bool is_pipe)
{
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (own >= 0) {
		o->src.fd = own;
		o->owned = true;
		o->kind = OUTFD_NONBLOCK;
	} else if (is_pipe && errno == ENXIO) {
		die(o, EPIPE);
	} else {
		o->kind = OUTFD_CAREFUL;
	}
}

void outfd_init_shared(struct outfd *o, struct loop *loop, int fd, const char *name,
	void (*on_room)(struct outfd *o))
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	init(o, loop, name, on_room);
	o->src.fd = fd;
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || fstat(fd, &st) < 0) {
		die(o, 0);
		return;
	}
	if (S_ISSOCK(st.st_mode)) {
		o->kind = OUTFD_SOCKET;
	} else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		reopen(o, fd, S_ISFIFO(st.st_mode));
	}
}

void outfd_init_own(struct outfd *o, struct loop *loop, int fd, const char *name,
	void (*on_room)(struct outfd *o))
{
	init(o, loop, name, on_room);
	o->src.fd = fd;
	o->owned = true;
	o->kind = OUTFD_NONBLOCK;
}

void outfd_finish(struct outfd *o)
{
	if (!o->loop) {
		return;
	}
	loop_timer_stop(&o->later);
	loop_remove(&o->src);
	if (o->owned) {
		close(o->src.fd);
	}
	o->src.fd = -1;
	o->owned = false;
	o->loop = NULL;
	o->dead = true;
	o->tail = o->head;
	free(o->buf);
	o->buf = NULL;
}
