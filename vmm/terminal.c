/* SPDX-License-Identifier: MIT */
/* What is shown where, and what is typed for whom. */
#include "vmm/terminal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/tty.h"

static void resume(struct terminal *t);

/*
 * Input.
 */

static void in_close(struct terminal *t)
{
	loop_remove(&t->in);
	loop_timer_stop(&t->in_again);
	if (t->in_owned) {
		close(t->in.fd);
		t->in_owned = false;
	}
	t->in.fd = -1;
}

/* Polls for input, or not: never while there is no room for what would come. */
static void in_update(struct terminal *t)
{
	bool full = t->in_tty ? t->input_len == TERMINAL_INPUT_MAX : t->input_len > 0;
	bool want = t->in.fd >= 0 && t->nstreams > 0 && (!full || t->dropping);
	uint32_t events = EPOLLIN;

	if (t->in.fd >= 0 && t->in_kind == TERMINAL_IN_ALWAYS) {
		if (want) {
			loop_timer_set(&t->in_again, clock_now_ns() + 1);
		} else {
			loop_timer_stop(&t->in_again);
		}
		return;
	}
	if (t->in_tty && !tty_in_foreground()) {
		/* Typed for others. One wake-up per key shows when the shell brings us back. */
		events |= EPOLLET;
	}
	if (!want) {
		loop_remove(&t->in);
	} else if (t->in.loop) {
		loop_set_events(&t->in, events);
	} else {
		t->in.events = events;
		if (loop_add(t->loop, &t->in) < 0) {
			in_close(t);
		}
	}
	if (t->in.fd >= 0 && t->in_tty && full && !t->dropping) {
		loop_timer_set(&t->in_again, t->progress_ns + TERMINAL_STUCK_NS);
	} else {
		loop_timer_stop(&t->in_again);
	}
}

static void push_input(struct terminal *t)
{
	size_t n;

	if (t->shown && t->input_len > 0) {
		n = stream_input(&t->shown->sink, t->input, t->input_len);
		if (n > 0) {
			t->input_len -= n;
			memmove(t->input, t->input + n, t->input_len);
			t->progress_ns = clock_now_ns();
			t->dropping = false;
		}
	}
	in_update(t);
}

static void show_help(const struct terminal *t)
{
	char text[400], key[8];

	escape_name(&t->escape, key, sizeof(key));
	snprintf(text, sizeof(text),
		"%s x  %s\r\n"
		"%s s  press the power button\r\n"
		"%s b  send a break (Linux: the next key is a system request)\r\n"
		"%s h  this list\r\n"
		"%s %s  send %s\r\n",
		key, t->config.is_client ? "leave; the VM goes on" : "end the VM at once", key, key, key, key, key, key);
	tty_message(text);
}

static void show_hint(const struct terminal *t)
{
	char text[160], key[8];

	escape_name(&t->escape, key, sizeof(key));
	snprintf(text, sizeof(text),
		"tinyvmm: %s x %s, %s s presses its power button, %s h lists more "
		"keys\r\n",
		key, t->config.is_client ? "leaves" : "ends the VM", key, key);
	tty_message(text);
}

/* May close the terminal's owner's VM, never the terminal itself. */
static void type_byte(struct terminal *t, uint8_t byte)
{
	switch (escape_feed(&t->escape, &byte)) {
	case ESCAPE_NONE:
		break;
	case ESCAPE_BYTE:
		if (t->input_len < TERMINAL_INPUT_MAX) {
			t->input[t->input_len++] = byte;
		}
		break;
	case ESCAPE_KILL:
		t->config.on_kill(t->config.ctx);
		break;
	case ESCAPE_POWER_BUTTON:
		t->config.on_power_button(t->config.ctx);
		break;
	case ESCAPE_BREAK:
		/* After what was typed before it, as far as the guest takes it. */
		push_input(t);
		if (t->shown) {
			stream_send_break(&t->shown->sink);
		}
		break;
	case ESCAPE_HELP:
		show_help(t);
		break;
	}
}

static ssize_t in_read(struct terminal *t, uint8_t *buf, size_t len)
{
	struct pollfd p = {.fd = t->in.fd, .events = POLLIN};

	if (t->in_socket) {
		return recv(t->in.fd, buf, len, MSG_DONTWAIT);
	}
	/* Not our own non-blocking description: somebody else may have read what epoll saw. */
	if (!t->in_owned && t->in_kind == TERMINAL_IN_POLLED && poll(&p, 1, 0) == 0) {
		errno = EAGAIN;
		return -1;
	}
	return read(t->in.fd, buf, len);
}

static void serve_input(struct terminal *t)
{
	uint8_t buf[TERMINAL_INPUT_MAX];
	size_t room = t->dropping ? sizeof(buf) : sizeof(buf) - t->input_len;
	ssize_t n;

	if (t->in_tty && !tty_in_foreground()) {
		in_update(t);
		return;
	}
	if (t->in_tty && !tty_is_raw()) {
		resume(t);
	}
	n = in_read(t, buf, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		in_update(t);
		return;
	}
	if (n < 0 && errno == EIO && t->in_tty && !tty_in_foreground()) {
		in_update(t);
		return;
	}
	if (n <= 0) {
		/* Its end means nothing to the VM; what is still held is delivered. */
		in_close(t);
		return;
	}
	if (t->input_len == 0) {
		t->progress_ns = clock_now_ns();
	}
	if (t->in_tty) {
		for (ssize_t i = 0; i < n; i++) {
			type_byte(t, buf[i]);
		}
	} else {
		memcpy(t->input + t->input_len, buf, (size_t)n);
		t->input_len += (size_t)n;
	}
	push_input(t);
}

static void on_input(struct loop_source *src, uint32_t events)
{
	(void)events;
	serve_input((struct terminal *)((char *)src - offsetof(struct terminal, in)));
}

static void on_again(struct loop_timer *timer)
{
	struct terminal *t =
		(struct terminal *)((char *)timer - offsetof(struct terminal, in_again));

	if (t->in_kind == TERMINAL_IN_ALWAYS) {
		serve_input(t);
		return;
	}
	log_msg(LOG_WARN, "the guest takes no input: keys are dropped until it does");
	t->dropping = true;
	in_update(t);
}

/* /dev/null and its like are always readable, and epoll does not take them. */
static bool epoll_takes(int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	bool takes;

	if (ep < 0) {
		return true;
	}
	takes = epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0 || errno != EPERM;
	close(ep);
	return takes;
}

static void in_open(struct terminal *t)
{
	int fd = t->config.in_fd;
	int flags = fcntl(fd, F_GETFL);
	struct stat st;
	char path[32];

	t->in = (struct loop_source){.fd = -1, .events = EPOLLIN, .fn = on_input};
	loop_timer_init(&t->in_again, t->loop, on_again);
	if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY || fstat(fd, &st) < 0) {
		return;
	}
	t->in.fd = fd;
	t->in_tty = isatty(fd);
	t->in_socket = S_ISSOCK(st.st_mode);
	t->in_kind = epoll_takes(fd) ? TERMINAL_IN_POLLED : TERMINAL_IN_ALWAYS;
	if (S_ISFIFO(st.st_mode) || (S_ISCHR(st.st_mode) && t->in_kind == TERMINAL_IN_POLLED)) {
		int own;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		t->in_owned = own >= 0;
		t->in.fd = own >= 0 ? own : fd;
	}
}

/*
 * Streams.
 */

static struct terminal_stream *stream_from(struct stream_sink *k)
{
	return (struct terminal_stream *)((char *)k - offsetof(struct terminal_stream, sink));
}

static bool is_shown(struct stream_sink *k)
{
	return stream_from(k)->terminal->shown == stream_from(k);
}

static size_t sink_room(struct stream_sink *k)
{
	return is_shown(k) ? outfd_room(&stream_from(k)->terminal->out) : SIZE_MAX;
}

static void sink_write(struct stream_sink *k, const uint8_t *buf, size_t len)
{
	struct terminal *t = stream_from(k)->terminal;

	if (is_shown(k) && len > 0) {
		outfd_write(&t->out, buf, len);
		tty_set_shown(t->out.dead ? '\n' : buf[len - 1]);
		if (t->in_tty && !tty_is_raw() && tty_in_foreground()) {
			resume(t);
		}
	}
}

static void sink_input_ready(struct stream_sink *k)
{
	if (is_shown(k)) {
		push_input(stream_from(k)->terminal);
	}
}

static void choose_shown(struct terminal *t)
{
	struct terminal_stream *before = t->shown, *now = &t->stream[0];

	for (unsigned i = 1; i < t->nstreams; i++) {
		now = t->stream[i].sink.stream->open ? &t->stream[i] : now;
	}
	if (now == before) {
		return;
	}
	if (before) {
		/* What it wrote before the other one was opened is shown before the other's output.
		 */
		stream_pull(&before->sink);
	}
	t->shown = now;
	if (before) {
		stream_sink_ready(&before->sink);
	}
	push_input(t);
}

static void sink_open_changed(struct stream_sink *k)
{
	choose_shown(stream_from(k)->terminal);
}

static const struct stream_sink_ops terminal_sink_ops = {
	.room = sink_room,
	.write = sink_write,
	.input_ready = sink_input_ready,
	.open_changed = sink_open_changed,
};

static void on_room(struct outfd *o)
{
	struct terminal *t = (struct terminal *)((char *)o - offsetof(struct terminal, out));

	if (t->shown) {
		stream_sink_ready(&t->shown->sink);
	}
}

static void tell_size(struct terminal *t)
{
	struct winsize w;

	if (ioctl(t->config.out_fd, TIOCGWINSZ, &w) < 0 &&
		ioctl(t->config.in_fd, TIOCGWINSZ, &w) < 0) {
		return;
	}
	if (w.ws_col == 0 || w.ws_row == 0) {
		return;
	}
	for (unsigned i = 0; i < t->nstreams; i++) {
		stream_resize(&t->stream[i].sink, w.ws_col, w.ws_row);
	}
}

void terminal_attach(struct terminal *t, struct stream *s)
{
	struct terminal_stream *ts = &t->stream[t->nstreams];

	assert(t->nstreams < TERMINAL_STREAMS_MAX);
	ts->terminal = t;
	stream_attach(s, &ts->sink, &terminal_sink_ops);
	t->nstreams++;
	if (t->nstreams == 1 && t->in_tty && tty_in_foreground()) {
		if (t->config.hint && tty_has_messages()) {
			show_hint(t);
		}
		tty_make_raw();
	}
	choose_shown(t);
	in_update(t);
	tell_size(t);
}

/*
 * Job control.
 */

static void resume(struct terminal *t)
{
	if (!t->loop) {
		return;
	}
	if (t->nstreams > 0 && t->in_tty && tty_in_foreground()) {
		tty_make_raw();
	}
	in_update(t);
	tell_size(t);
}

static void suspend(struct terminal *t)
{
	struct sigaction stop = {.sa_handler = SIG_DFL}, before;
	sigset_t set, old;

	if (t->loop) {
		loop_remove(&t->in);
	}
	tty_restore();
	sigemptyset(&stop.sa_mask);
	sigaction(SIGTSTP, &stop, &before);
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	pthread_sigmask(SIG_UNBLOCK, &set, &old);
	raise(SIGTSTP);
	/* Here the process has been continued. */
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	sigaction(SIGTSTP, &before, NULL);
	resume(t);
}

void terminal_signals(sigset_t *set)
{
	sigaddset(set, SIGWINCH);
	sigaddset(set, SIGTSTP);
	sigaddset(set, SIGCONT);
	sigaddset(set, SIGTTIN);
	sigaddset(set, SIGTTOU);
}

void terminal_signal(struct terminal *t, int signo)
{
	if (signo == SIGWINCH) {
		if (t->loop) {
			tell_size(t);
		}
	} else if (signo == SIGTSTP) {
		suspend(t);
	} else if (signo == SIGCONT) {
		resume(t);
	}
}

int terminal_open(struct terminal *t, struct loop *loop, const struct terminal_config *config)
{
	memset(t, 0, sizeof(*t));
	t->config = *config;
	t->loop = loop;
	escape_init(&t->escape, config->escape);
	tty_open(config->in_fd, config->message_fd);
	outfd_init_shared(&t->out, loop, config->out_fd, "standard output", on_room);
	in_open(t);
	return 0;
}

void terminal_flush(struct terminal *t, unsigned timeout_ms)
{
	if (t->loop) {
		outfd_flush(&t->out, clock_now_ns() + timeout_ms * CLOCK_NS_PER_MS);
	}
}

void terminal_close(struct terminal *t)
{
	if (!t->loop) {
		return;
	}
	for (unsigned i = 0; i < t->nstreams; i++) {
		stream_detach(&t->stream[i].sink);
	}
	in_close(t);
	outfd_finish(&t->out);
	tty_close();
	t->nstreams = 0;
	t->shown = NULL;
	t->loop = NULL;
}
