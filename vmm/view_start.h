/* SPDX-License-Identifier: MIT */
/*
 * Starting tinyvmm-view, the program that is the window: beside this one, or in PATH.
 *
 * Thread: the main thread.
 */
#ifndef VMM_VIEW_START_H
#define VMM_VIEW_START_H

#include <stdbool.h>
#include <sys/types.h>

/* Exit codes of the program. */
#define VIEW_START_NO_DISPLAY 3
#define VIEW_START_CLOSED 5 /* a person has closed the window */

/* A window this process has started, and our end of the socketpair to it. */
struct view_window {
	pid_t pid; /* 0: none, or it is gone */
	int fd; /* 0: none, or it was closed */
};

/* Whether there is a place for windows: a display of X11 or Wayland. */
bool view_start_has_display(void);

/* Whether one that is asked for may be tried: there is, or a person has chosen a driver that may need none (SDL_VIDEODRIVER=kmsdrm). */
bool view_start_can_open(void);

/* Its options. */
struct view_start_how {
	const char *scale; /* NULL: its default */
	double zoom; /* pixels of the window for one of the guest; 0: its default */
	const char *title; /* NULL: its default */
	bool observe, fullscreen, verbose;
	bool is_optional; /* no option of it: that there is no such program is no error, and is said with -v only */
};

/* Return: 0 with the window of the VM @name, or -errno (logged); -ENOENT: there is no such program. */
int view_start_window(struct view_window *w, const char *name, const struct view_start_how *how);

/* A viewer for the VM @name, connected to @path, until it ends. Return: its exit code, EXIT_OK when the window was closed, or EXIT_HOST (said). */
int view_start_attach(const char *path, const char *name, const struct view_start_how *how);

#endif
