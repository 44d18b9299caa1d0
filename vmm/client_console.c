/* SPDX-License-Identifier: MIT */
/* `tinyvmm console`: a terminal here, a console socket there, and a stream between them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/client.h"
#include "vmm/log.h"
#include "vmm/result.h"
#include "vmm/rundir.h"
#include "vmm/terminal.h"

#define FLUSH_MS 2000

struct remote {
	struct loop loop;
	struct loop_source socket, signals;
	struct stream stream; /* the guest's console, as the terminal sees it */
	struct terminal terminal;
	struct rundir rd;
	uint8_t held[4096]; /* what came and the terminal has no room for */
	size_t held_len;
	const char *name;
};

static void show_held(struct remote *r)
{
	size_t n = stream_write(&r->stream, r->held, r->held_len);

	r->held_len -= n;
	memmove(r->held, r->held + n, r->held_len);
	if (r->socket.loop) {
		loop_set_events(&r->socket, r->held_len ? 0 : EPOLLIN);
	}
}

static void on_output_ready(struct stream *s)
{
	show_held((struct remote *)((char *)s - offsetof(struct remote, stream)));
}

static size_t on_typed(struct stream *s, const uint8_t *buf, size_t len)
{
	struct remote *r = (struct remote *)((char *)s - offsetof(struct remote, stream));
	ssize_t n = send(r->socket.fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	/* A socket that takes nothing now is looked at with the next key; the keys wait in the terminal. */
	return n > 0 ? (size_t)n : 0;
}

static const struct stream_ops remote_ops = {.output_ready = on_output_ready, .input = on_typed};

static void on_socket(struct loop_source *src, uint32_t events)
{
	struct remote *r = (struct remote *)((char *)src - offsetof(struct remote, socket));
	ssize_t n = recv(src->fd, r->held + r->held_len, sizeof(r->held) - r->held_len, MSG_DONTWAIT);

	(void)events;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		loop_remove(src);
		loop_stop(&r->loop);
		return;
	}
	if (n > 0) {
		r->held_len += (size_t)n;
		show_held(r);
	}
}

static void on_leave(void *ctx)
{
	loop_stop(&((struct remote *)ctx)->loop);
}

static void on_power_button(void *ctx)
{
	struct remote *r = ctx;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static const char stop[] = "{\"do\":\"stop\"}\n";

	if (fd < 0 || !rundir_file(&r->rd, "control.sock", addr.sun_path, sizeof(addr.sun_path)) ||
		connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || send(fd, stop, sizeof(stop) - 1, MSG_NOSIGNAL) < 0) {
		log_msg(LOG_WARN, "%s does not hear its power button", r->name);
	}
	if (fd >= 0) {
		close(fd);
	}
}

static void on_signal(struct loop_source *src, uint32_t events)
{
	struct remote *r = (struct remote *)((char *)src - offsetof(struct remote, signals));
	struct signalfd_siginfo info;

	(void)events;
	while (read(src->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGINT || info.ssi_signo == SIGTERM || info.ssi_signo == SIGHUP) {
			loop_stop(&r->loop);
		} else {
			terminal_signal(&r->terminal, (int)info.ssi_signo);
		}
	}
}

static int setup_signals(struct remote *r)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	terminal_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	r->signals = (struct loop_source){.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .events = EPOLLIN, .fn = on_signal};
	return r->signals.fd < 0 ? -errno : loop_add(&r->loop, &r->signals);
}

static int attach(struct remote *r)
{
	struct terminal_config config = {.in_fd = 0, .out_fd = 1, .message_fd = 2, .escape = client_escape(&r->rd), .hint = true, .is_client = true, .on_kill = on_leave,
		.on_power_button = on_power_button, .ctx = r};
	int code;

	stream_init(&r->stream, "console", &remote_ops);
	code = loop_init(&r->loop) < 0 || setup_signals(r) < 0 || loop_add(&r->loop, &r->socket) < 0 ||
		terminal_open(&r->terminal, &r->loop, &config) < 0 ? EXIT_FAILED : EXIT_OK;
	if (code == EXIT_OK) {
		terminal_attach(&r->terminal, &r->stream);
		stream_set_open(&r->stream, true);
		loop_run(&r->loop);
		show_held(r);
		terminal_flush(&r->terminal, FLUSH_MS);
		terminal_close(&r->terminal);
	}
	loop_remove(&r->socket);
	loop_remove(&r->signals);
	loop_finish(&r->loop);
	return code;
}

/* The log of the VM's last run, whether it still runs or not. */
static int print_log(const char *name)
{
	struct rundir rd = {.dir_fd = -1};
	char path[4096], err[256], buf[16384];
	int fd = -1;
	ssize_t n;

	/* A VM that has ended has a state folder only; that its run folder is missing is no error. */
	rundir_find(&rd, name, err, sizeof(err));
	if (rundir_state_file(&rd, "console.log", path, sizeof(path))) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	if (fd < 0) {
		log_msg(LOG_ERR, "no VM is called \"%s\", and none was", name);
		return EXIT_NO_VM;
	}
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		fwrite(buf, 1, (size_t)n, stdout);
	}
	close(fd);
	return n < 0 ? EXIT_FAILED : EXIT_OK;
}

int client_console(const struct options *o)
{
	static struct remote r;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char err[256];
	int code;

	r.name = o->files[0];
	if (o->log) {
		return print_log(r.name);
	}
	if (rundir_find(&r.rd, r.name, err, sizeof(err)) < 0) {
		log_msg(LOG_ERR, "%s", err);
		return EXIT_NO_VM;
	}
	r.socket = (struct loop_source){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .events = EPOLLIN, .fn = on_socket};
	if (r.socket.fd < 0 || !rundir_file(&r.rd, "console.sock", addr.sun_path, sizeof(addr.sun_path)) ||
		connect(r.socket.fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		log_errno(LOG_ERR, errno, "%s: no console", r.name);
		return EXIT_NO_VM;
	}
	code = attach(&r);
	close(r.socket.fd);
	close(r.rd.dir_fd);
	return code;
}
