/* SPDX-License-Identifier: MIT */
#include "display/view_sdl.h"

#include <SDL.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "display/view_sdl_priv.h"
#include "vmm/clock.h"

#define EVENTS_MAX 64 /* in one go, then pictures have their turn */

void view_stop(struct app *a, enum view_exit how, const char *fmt, ...)
{
	va_list ap;

	if (a->done) {
		return;
	}
	a->done = true;
	a->exit = how;
	if (fmt) {
		va_start(ap, fmt);
		fputs("tinyvmm-view: error: ", stderr);
		vfprintf(stderr, fmt, ap);
		fputc('\n', stderr);
		va_end(ap);
	}
}

/*
 * The second thread.
 */

static int watch_run(void *arg)
{
	struct watch *w = arg;

	for (;;) {
		SDL_Event e = {.type = w->event};
		struct pollfd fds[2];
		eventfd_t n;

		SDL_SemWait(w->go);
		if (w->stop) {
			return 0;
		}
		fds[0] = (struct pollfd){.fd = w->fd, .events = w->out ? POLLIN | POLLOUT : POLLIN};
		fds[1] = (struct pollfd){.fd = w->wake_fd, .events = POLLIN};
		while (poll(fds, 2, -1) < 0 && errno == EINTR) {
		}
		if (fds[1].revents) {
			eventfd_read(w->wake_fd, &n);
		}
		/* A full queue means that the loop is busy: it will come to it. */
		while (SDL_PushEvent(&e) < 0) {
			SDL_Delay(1);
		}
	}
}

static bool watch_start(struct watch *w)
{
	w->event = SDL_RegisterEvents(1);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->go = SDL_CreateSemaphore(0);
	w->thread = w->go && w->wake_fd >= 0 ? SDL_CreateThread(watch_run, "socket", w) : NULL;
	return w->thread;
}

static void watch_wake(struct watch *w)
{
	eventfd_write(w->wake_fd, 1);
}

static void watch_stop(struct watch *w)
{
	if (w->thread) {
		w->stop = true;
		watch_wake(w);
		SDL_SemPost(w->go);
		SDL_WaitThread(w->thread, NULL);
	}
	if (w->go) {
		SDL_DestroySemaphore(w->go);
	}
	if (w->wake_fd >= 0) {
		close(w->wake_fd);
	}
}

/*
 * The connection.
 */

static void take_news(struct app *a)
{
	uint64_t now = clock_now_ns();

	if (a->conn.said_hello && a->conn.nscanouts == 0) {
		view_stop(a, VIEW_EXIT_FAILED, "the VM has no display (gpu.mode in its vm.toml)");
		return;
	}
	view_news(&a->view, now);
	for (unsigned i = 0; i < a->conn.nscanouts; i++) {
		struct view_scanout *s = &a->conn.at[i];

		if (!(s->news & VIEW_NEWS_MODE) || s->width == 0) {
			continue;
		}
		s->news &= ~VIEW_NEWS_MODE;
		if (!s->shows) {
			view_draw_drop(&a->at[i]);
		}
		view_window_take_mode(a, i, now);
	}
	view_window_for_outputs(a);
	view_draw_say_imports(a);
}

/* The watch has pushed its event: it rests until the end of this. */
static void serve_connection(struct app *a)
{
	if (a->conn.fd >= 0) {
		view_conn_flush(&a->conn);
		view_conn_read(&a->conn);
		take_news(a);
		view_link_ended(a);
	}
	a->watch.fd = a->conn.fd;
	a->watch.out = view_conn_waits(&a->conn);
	SDL_SemPost(a->watch.go);
}

/*
 * The loop.
 */

static int wait_ms(const struct app *a, uint64_t now)
{
	uint64_t deadline = view_deadline(&a->view);

	if (a->retry_ns && a->retry_ns < deadline) {
		deadline = a->retry_ns;
	}
	if (deadline <= now) {
		return 0;
	}
	deadline = (deadline - now + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS;
	return deadline < 60000 ? (int)deadline : 60000;
}

static void serve(struct app *a)
{
	SDL_Event e;
	uint64_t now;

	for (int n = 0; !a->done && n < EVENTS_MAX && (n == 0 ? SDL_WaitEventTimeout(&e, wait_ms(a, clock_now_ns())) : SDL_PollEvent(&e)); n++) {
		if (e.type == a->watch.event) {
			serve_connection(a);
		} else {
			view_input_event(a, &e);
		}
	}
	now = clock_now_ns();
	if (!a->done && view_link_try(a, now)) {
		watch_wake(&a->watch);
	}
	view_tick(&a->view, now);
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX && !a->done; i++) {
		if (view_may_take(&a->view, i, now)) {
			view_draw_take(a, i);
		}
	}
	view_draw_follow_cursors(a);
	view_window_follow_state(a);
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX && !a->done; i++) {
		if (a->at[i].window && a->at[i].is_dirty) {
			view_draw(a, i);
		}
	}
	if (a->conn.fd >= 0 && (a->conn.end != VIEW_GOES_ON || (view_conn_waits(&a->conn) && !a->watch.out))) {
		watch_wake(&a->watch);
	}
}

static void set_hints(void)
{
	SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
	SDL_SetHint(SDL_HINT_APP_NAME, VIEW_CLIENT_NAME);
	SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
	SDL_SetHint(SDL_HINT_VIDEO_MINIMIZE_ON_FOCUS_LOSS, "0");
	SDL_SetHint(SDL_HINT_MOUSE_FOCUS_CLICKTHROUGH, "1");
	SDL_SetHint(SDL_HINT_MOUSE_RELATIVE_SYSTEM_SCALE, "0");
	SDL_SetHint(SDL_HINT_VIDEO_X11_FORCE_EGL, "1");
	/* Where the processor draws, OpenGL is what does not work. */
	SDL_SetHint(SDL_HINT_FRAMEBUFFER_ACCELERATION, "0");
	SDL_SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
	SDL_setenv("SDL_VIDEO_X11_WMCLASS", VIEW_CLIENT_NAME, 0);
	SDL_setenv("SDL_VIDEO_WAYLAND_WMCLASS", VIEW_CLIENT_NAME, 0);
	/* With both there, the one that scrolls smoothly. Each by its name: SDL would also take drivers that draw where nobody looks, and libwayland complains for itself where it has no
	 * folder to look in. What a person has said in the environment goes first. */
	if (SDL_getenv("WAYLAND_DISPLAY")) {
		SDL_SetHint(SDL_HINT_VIDEODRIVER, "wayland,x11");
	} else {
		SDL_SetHint(SDL_HINT_VIDEODRIVER, SDL_getenv("XDG_RUNTIME_DIR") ? "x11,wayland,kmsdrm" : "x11,kmsdrm");
	}
}

static struct app app;

/*
 * Not on X, where it may end the program: SDL wakes its own loop by a message to a window, over a second connection, also for the click that closes that window. The server may come to the message when the window is
 * gone; that error is read where the second connection is closed, and Xlib ends the program for it, with an exit code that does not say that the window was closed. X itself gives back what a program had.
 */
static void quit(void)
{
	const char *driver = SDL_GetCurrentVideoDriver();

	if (!driver || strcmp(driver, "x11") != 0) {
		SDL_Quit();
	}
}

enum view_exit view_sdl_run(const struct view_options *o, int fd)
{
	struct app *a = &app;

	a->o = o;
	a->watch.wake_fd = a->watch.fd = a->conn.fd = -1;
	set_hints();
	if (SDL_Init(SDL_INIT_VIDEO) < 0) {
		fprintf(stderr, "tinyvmm-view: error: no display: %s\n",
			SDL_getenv("SDL_VIDEODRIVER") ? SDL_GetError() : "neither DISPLAY nor WAYLAND_DISPLAY leads to one");
		if (fd >= 0) {
			close(fd);
		}
		return VIEW_EXIT_HOST;
	}
	SDL_StopTextInput();
	a->arrow = SDL_GetDefaultCursor();
	view_init(&a->view, &a->conn, o->scale, o->observes, o->name);
	a->view.zoom = o->zoom;
	a->view.title = o->title;
	if (fd >= 0) {
		view_conn_init(&a->conn, fd, VIEW_CLIENT_NAME, o->observes);
		a->watch.fd = fd;
	} else {
		view_link_begin(a, clock_now_ns());
	}
	if (watch_start(&a->watch)) {
		SDL_SemPost(a->watch.go);
	} else {
		view_stop(a, VIEW_EXIT_HOST, "no thread: %s", SDL_GetError());
	}
	while (!a->done) {
		serve(a);
	}
	watch_stop(&a->watch);
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		view_window_close(a, i);
	}
	view_conn_finish(&a->conn);
	if (a->cursor) {
		SDL_FreeCursor(a->cursor);
	}
	quit();
	return a->exit;
}
