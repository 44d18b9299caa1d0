/* SPDX-License-Identifier: MIT */
/*
 * The mode of the terminal that tinyvmm was started on, and that it comes back: on close, before a
 * stop, and when a fatal signal kills the process. Also messages on it while it is raw, where a
 * newline alone does not return to the first column.
 *
 * There is one in a process, because signal handlers need to find it.
 * Thread: the main loop's; tty_restore, tty_is_raw and what log.h calls: any.
 */
#ifndef VMM_TTY_H
#define VMM_TTY_H

#include <stdbool.h>
#include <stdint.h>

/* Remembers the descriptors and catches SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT and SIGSYS: the
 * mode is put back, then what was installed before handles the signal. @fd may be no terminal, then
 * it is never raw. */
void tty_open(int fd, int message_fd);
/* Puts everything back. Ends a half line on the screen first. */
void tty_close(void);

/* cfmakeraw, in and out. Only in the foreground: elsewhere it would stop the process. */
void tty_make_raw(void);
bool tty_is_raw(void);

/* Puts the mode back, whatever state anything is in. Async-signal-safe, idempotent, does nothing
 * when there is nothing to put back. */
void tty_restore(void);

/* True when @fd's foreground process group is ours, or there is no job control. */
bool tty_in_foreground(void);

/* For half lines: @last is the last byte that was shown. */
void tty_set_shown(uint8_t last);

/* True when messages go to a terminal. */
bool tty_has_messages(void);
/* Shows @text, lines ending in \r\n, on a line of its own; gives up when the terminal takes none.
 */
void tty_message(const char *text);

#endif
