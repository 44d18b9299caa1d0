/* SPDX-License-Identifier: MIT */
/*
 * The viewer's windows, and the loop that serves them: the one place that knows SDL.
 *
 * One thread does everything; a second one only waits at the socket and wakes the first.
 */
#ifndef DISPLAY_VIEW_SDL_H
#define DISPLAY_VIEW_SDL_H

#include <stdbool.h>

#include "display/view_state.h"

/* How the program ends, told by its exit code. */
enum view_exit {
	VIEW_EXIT_ENDED = 0, /* the VM has */
	VIEW_EXIT_FAILED = 1, /* the connection is lost or refused */
	VIEW_EXIT_USAGE = 2,
	VIEW_EXIT_HOST = 3, /* no display, or another thing this host lacks */
	VIEW_EXIT_NO_VM = 4, /* nobody at the socket */
	VIEW_EXIT_CLOSED = 5, /* the window was closed */
};

struct view_options {
	const char *socket; /* NULL: fd */
	int fd;
	bool observes, fullscreen, waits, verbose;
	enum view_scale scale;
	double zoom; /* pixels of the window for one of the guest */
	const char *title; /* "{name}" is the VM's */
	const char *name; /* "": what the VM says */
};

/**
 * view_sdl_run - show windows until one is closed or the VM ends
 * @fd: connected; taken. Negative: the socket is tried, for a while or (waits) for ever
 * Return: how the program ends, which was said on stderr where it is no good end.
 */
enum view_exit view_sdl_run(const struct view_options *o, int fd);

#endif
