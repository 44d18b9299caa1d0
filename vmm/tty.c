/* SPDX-License-Identifier: MIT */
/* One set of static state, because a signal handler has nothing else to find it by. */
#include "vmm/tty.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/log.h"

static struct {
	int fd, message_fd;
	struct termios saved;
	volatile sig_atomic_t is_saved;
	volatile sig_atomic_t is_raw;
	bool message_tty;
	bool mid_line; /* atomic: the last thing shown was not a whole line */
} tty;

bool tty_is_raw(void)
{
	return tty.is_raw;
}

bool tty_in_foreground(void)
{
	pid_t group = tcgetpgrp(tty.fd);

	/* -1: not our controlling terminal; 0: a group of another pid namespace. No job control
	 * then. */
	return group <= 0 || group == getpgrp();
}

void tty_set_shown(uint8_t last)
{
	__atomic_store_n(&tty.mid_line, last != '\n', __ATOMIC_RELAXED);
}

void tty_restore(void)
{
	sigset_t set, old;
	int err = errno;

	if (!tty.is_raw) {
		return;
	}
	tty.is_raw = 0;
	/* Also when some job control has put us into the background: do not stop here. */
	sigemptyset(&set);
	sigaddset(&set, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	/* Not after draining: a terminal that takes no output would hold us up for ever. */
	tcsetattr(tty.fd, TCSANOW, &tty.saved);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = err;
}

void tty_make_raw(void)
{
	struct termios raw;

	if (!tty.is_saved) {
		if (tcgetattr(tty.fd, &tty.saved) < 0) {
			return;
		}
		tty.is_saved = 1;
	}
	raw = tty.saved;
	cfmakeraw(&raw);
	tty.is_raw = 1;
	tcsetattr(tty.fd, TCSANOW, &raw);
}

/* Also from other threads. A stuck terminal is no reason to hold a thread up. */
static void message_write(const char *text, size_t len)
{
	struct pollfd p = {.fd = tty.message_fd, .events = POLLOUT};

	if (poll(&p, 1, 0) == 1 && write(tty.message_fd, text, len) < 0) {
		errno = 0;
	}
}

static void before_message(void)
{
	if (tty.is_raw && tty.message_tty) {
		bool mid_line = __atomic_exchange_n(&tty.mid_line, false, __ATOMIC_RELAXED);

		message_write("\r\n", mid_line ? 2 : 1);
	}
}

static void after_message(void)
{
	if (tty.is_raw && tty.message_tty) {
		message_write("\r", 1);
	}
}

void tty_message(const char *text)
{
	before_message();
	message_write(text, strlen(text));
}

/*
 * Fatal signals: put the mode back, then let what was there before the terminal handle it.
 */

/* What the program's own faults cause, then what others send and nobody here takes. */
static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP, SIGQUIT, SIGALRM, SIGXCPU, SIGUSR2};
#define NFATAL (sizeof(fatal_signals) / sizeof(fatal_signals[0]))
static struct sigaction fatal_before[NFATAL];

static void on_fatal(int signo, siginfo_t *info, void *context)
{
	(void)context;
	tty_restore();
	for (unsigned i = 0; i < NFATAL; i++) {
		if (fatal_signals[i] == signo) {
			sigaction(signo, &fatal_before[i], NULL);
		}
	}
	/* A fault happens again on return, with its address for a core file; anything else does
	 * not. */
	if (info->si_code <= 0 || (signo != SIGSEGV && signo != SIGBUS && signo != SIGILL && signo != SIGFPE)) {
		raise(signo);
	}
}

static void catch_fatal_signals(void)
{
	struct sigaction sa = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigemptyset(&sa.sa_mask);
	for (unsigned i = 0; i < NFATAL; i++) {
		sigaction(fatal_signals[i], &sa, &fatal_before[i]);
	}
}

static void release_fatal_signals(void)
{
	for (unsigned i = 0; i < NFATAL; i++) {
		sigaction(fatal_signals[i], &fatal_before[i], NULL);
	}
}

void tty_open(int fd, int message_fd)
{
	tty.fd = fd;
	tty.message_fd = message_fd;
	tty.message_tty = isatty(message_fd);
	tty.is_saved = 0;
	tty.is_raw = 0;
	tty.mid_line = false;
	catch_fatal_signals();
	log_set_brackets(before_message, after_message);
}

bool tty_has_messages(void)
{
	return tty.message_tty;
}

void tty_close(void)
{
	/* The shell's prompt, or our last message, starts on a line of its own. */
	before_message();
	tty_restore();
	log_set_brackets(NULL, NULL);
	release_fatal_signals();
}
