/* SPDX-License-Identifier: MIT */
/*
 * The terminal tinyvmm was started on: standard input and output, whatever they are.
 *
 * Streams that use stdio are attached here. Shown, and given the input, is the last attached stream
 * that is open, or the first attached one while none is: so serial first and virtio-console
 * second shows the serial port until the guest uses virtio-console. What the other streams write
 * is dropped here (their tails and log files still get it).
 *
 * Input from a terminal: raw mode, and the escape key starts a command: x kill, s power button,
 * b break, h help, the escape key again (or its letter) sends it to the guest. Anything else as
 * standard input (pipe, file, socket): bytes go to the guest as they are, and its end means
 * nothing. Bytes the guest does not take yet stay where they are; but on a terminal commands work
 * whatever the guest does: once it has taken nothing for TERMINAL_STUCK_NS, further keys are
 * dropped.
 *
 * Output never blocks the loop: it is held back up to a bound, then the stream has no room. A
 * reader that went away (EPIPE) ends the showing, not the VM.
 *
 * Standard input and output are shared with other processes, the user's shell above all, so their
 * O_NONBLOCK flag is never touched: see outfd.h for what is done instead.
 *
 * Job control: in a background process group the terminal is neither made raw nor read. SIGCONT, a
 * key and the next output each look again, because a shell's `fg` of a running job sends no signal.
 * The mode is put back by terminal_close, by fatal signals, and before a stop by SIGTSTP: see
 * tty.h.
 *
 * There is one terminal in a process. Thread: the loop's.
 */
#ifndef VMM_TERMINAL_H
#define VMM_TERMINAL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/stream.h"
#include "vmm/escape.h"
#include "vmm/loop.h"
#include "vmm/outfd.h"

#define TERMINAL_STREAMS_MAX 4
#define TERMINAL_INPUT_MAX   4096 /* bytes kept that the guest has not taken */
#define TERMINAL_STUCK_NS    1000000000ull

struct terminal_config {
	int in_fd, out_fd, message_fd; /* 0, 1, 2; tests have others */
	uint8_t escape;                /* console.escape: a control character */
	bool hint;                  /* say once at start, on a raw terminal, which keys there are */
	bool is_client; /* x leaves the console, the VM goes on */
	void (*on_kill)(void *ctx); /* called on the loop, by a key; may come more than once */
	void (*on_power_button)(void *ctx);
	void *ctx;
};

struct terminal;

struct terminal_stream {
	struct stream_sink sink;
	struct terminal *terminal;
};

struct terminal {
	struct terminal_config config;
	struct loop *loop;
	struct outfd out;
	struct terminal_stream stream[TERMINAL_STREAMS_MAX];
	unsigned nstreams;
	struct terminal_stream *shown;
	struct escape escape;

	struct loop_source in; /* fd -1: there is no input (any more) */
	enum { TERMINAL_IN_POLLED, TERMINAL_IN_ALWAYS } in_kind; /* ALWAYS: epoll refuses it */
	bool in_owned; /* in.fd is our own reopened description */
	bool in_socket;
	bool in_tty;
	struct loop_timer in_again; /* reads on from a file, and notices that the guest is stuck */
	uint64_t progress_ns;       /* when the guest last took input, or input last became full */
	bool dropping;              /* keys are dropped, and that was said */
	size_t input_len;
	uint8_t input[TERMINAL_INPUT_MAX];
};

/**
 * terminal_open - take standard input and output
 *
 * Does not fail because of what they are: closed ones are silence. The first attached
 * stream makes a terminal raw, so do this late in the start, and close it on every way out from
 * here. Return: 0 or -errno (logged).
 */
int terminal_open(struct terminal *t, struct loop *loop, const struct terminal_config *config);

/* Shows what is still held for at most @timeout_ms, asking the streams for the rest of theirs.
 * For the end, after serial_flush and console_flush; it ends even when nobody reads. */
void terminal_flush(struct terminal *t, unsigned timeout_ms);

/* Detaches the streams and puts the terminal's mode back. Accepts zeroed memory. */
void terminal_close(struct terminal *t);

/* See above for which stream is shown. Also tells the stream the window's size. */
void terminal_attach(struct terminal *t, struct stream *s);

/* Adds the signals the terminal lives on: SIGWINCH, SIGTSTP, SIGCONT, and SIGTTIN and SIGTTOU,
 * which only need to be blocked. The caller blocks them in every thread, reads them (signalfd) on
 * the loop and passes them to terminal_signal, also while no terminal is open (@t zeroed or
 * closed): SIGTSTP stops the process in there. */
void terminal_signals(sigset_t *set);
void terminal_signal(struct terminal *t, int signo);

#endif
