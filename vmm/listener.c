/* SPDX-License-Identifier: MIT */
#include "vmm/listener.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/log.h"

static bool is_allowed(const struct listener *l, uid_t uid)
{
	for (unsigned i = 0; i < l->nallow; i++) {
		if (l->allow[i] == uid) {
			return true;
		}
	}
	return uid == 0 || (l->nallow == 0 && uid == geteuid());
}

/* What a connection fails with that is still there afterwards. */
static bool is_shortage(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

static void on_rested(struct loop_timer *timer)
{
	struct listener *l = (struct listener *)((char *)timer - offsetof(struct listener, rest));

	loop_set_events(&l->src, EPOLLIN);
}

static void on_connection(struct loop_source *src, uint32_t events)
{
	struct listener *l = (struct listener *)((char *)src - offsetof(struct listener, src));
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t len = sizeof(peer);

	(void)events;
	if (fd < 0) {
		if (is_shortage(errno)) {
			if (!l->is_short) {
				log_errno(LOG_WARN, errno, "%s: connections wait", l->name);
			}
			l->is_short = true;
			loop_set_events(src, 0);
			loop_timer_set(&l->rest, clock_now_ns() + LISTENER_REST_NS);
		}
		return;
	}
	l->is_short = false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || !is_allowed(l, peer.uid)) {
		log_msg(LOG_WARN, "%s: user %d may not connect", l->name, (int)peer.uid);
		close(fd);
		return;
	}
	l->fn(l, fd, peer.pid);
}

int listener_open(const char *path, int type, int backlog)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = -1, r = -ENAMETOOLONG;

	if (strlen(path) < sizeof(addr.sun_path)) {
		strcpy(addr.sun_path, path);
		fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		/* The file gets the mode that the socket has, less the umask. */
		r = fd < 0 || fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, backlog) < 0 ? -errno : 0;
	}
	if (r < 0) {
		log_errno(LOG_ERR, r, "%s", path);
		if (fd >= 0) {
			close(fd);
		}
		return r;
	}
	return fd;
}

int listener_init(struct listener *l, struct loop *loop, int fd, const char *name, void (*fn)(struct listener *l, int fd, pid_t pid))
{
	*l = (struct listener){.src = {.fd = fd, .events = EPOLLIN, .fn = on_connection}, .name = name, .fn = fn};
	loop_timer_init(&l->rest, loop, on_rested);
	return loop_add(loop, &l->src);
}

void listener_finish(struct listener *l)
{
	loop_remove(&l->src);
	if (l->rest.loop) {
		loop_timer_stop(&l->rest);
	}
}
