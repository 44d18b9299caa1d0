/* SPDX-License-Identifier: MIT */
#include "display/view_sdl_priv.h"

#include <SDL.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "vmm/clock.h"

#define SMALLEST_WIDTH 320
#define SMALLEST_HEIGHT 200

int view_window_find(const struct app *a, uint32_t id)
{
	for (int i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		if (a->at[i].window && SDL_GetWindowID(a->at[i].window) == id) {
			return i;
		}
	}
	return -1;
}

float view_window_ratio(const struct window *w)
{
	int pixels = 0, units = 0, ignored;

	SDL_GetRendererOutputSize(w->renderer, &pixels, &ignored);
	SDL_GetWindowSize(w->window, &units, &ignored);
	return pixels > 0 && units > 0 ? (float)pixels / (float)units : 1;
}

void view_window_measure(struct app *a, unsigned i)
{
	struct window *w = &a->at[i];
	int width = 0, height = 0, display = SDL_GetWindowDisplayIndex(w->window);
	float dpi = 0;
	SDL_DisplayMode mode = {0};

	SDL_GetRendererOutputSize(w->renderer, &width, &height);
	SDL_GetCurrentDisplayMode(display < 0 ? 0 : display, &mode);
	/* A display that says nonsense about its size says nothing. */
	if (SDL_GetDisplayDPI(display < 0 ? 0 : display, NULL, &dpi, NULL) < 0 || dpi < 50 || dpi > 600) {
		dpi = 0;
	}
	view_on_display(&a->view, i, mode.refresh_rate > 0 ? (uint32_t)mode.refresh_rate * 1000 : 0, (uint32_t)(dpi + 0.5f));
	view_resized(&a->view, i, (uint32_t)width, (uint32_t)height, clock_now_ns());
	w->is_dirty = true;
}

static bool is_shaped_by_host(const struct window *w)
{
	return SDL_GetWindowFlags(w->window) & (SDL_WINDOW_FULLSCREEN | SDL_WINDOW_FULLSCREEN_DESKTOP | SDL_WINDOW_MAXIMIZED);
}

static void set_size(const struct window *w, uint32_t width, uint32_t height)
{
	float ratio = view_window_ratio(w);
	int display = SDL_GetWindowDisplayIndex(w->window);
	SDL_Rect room;
	int cx = (int)((float)width / ratio + 0.5f), cy = (int)((float)height / ratio + 0.5f);

	if (SDL_GetDisplayUsableBounds(display < 0 ? 0 : display, &room) == 0 && room.w > 0 && room.h > 0) {
		cx = cx < room.w ? cx : room.w;
		cy = cy < room.h ? cy : room.h;
	}
	SDL_SetWindowSize(w->window, cx, cy);
}

void view_window_close(struct app *a, unsigned i)
{
	struct window *w = &a->at[i];

	/* With the last one goes what OpenGL is in. */
	view_conn_unimport(&a->conn);
	/* Textures go with it. */
	if (w->renderer) {
		SDL_DestroyRenderer(w->renderer);
	}
	if (w->window) {
		SDL_DestroyWindow(w->window);
	}
	*w = (struct window){0};
	view_resized(&a->view, i, 0, 0, 0);
}

/* SDL does not say it, and its GLX has an address for any name. */
bool view_window_is_egl(void)
{
	void *lib = dlopen("libEGL.so.1", RTLD_LAZY | RTLD_NOLOAD), *(*current)(void) = NULL;
	bool is;

	if (lib) {
		*(void **)&current = dlsym(lib, "eglGetCurrentContext");
	}
	is = current && current();
	if (lib) {
		dlclose(lib);
	}
	return is;
}

/* For OpenGL also whose context it is, and how many refreshes of the display a swap waits for. */
static void say_renderer(const char *name)
{
	char how[48] = "";

	if (strncmp(name, "opengl", strlen("opengl")) == 0) {
		snprintf(how, sizeof(how), " (%s, swap interval %d)", view_window_is_egl() ? "EGL" : "GLX", SDL_GL_GetSwapInterval());
	}
	fprintf(stderr, "tinyvmm-view: drawn with %s%s on %s\n", name, how, SDL_GetCurrentVideoDriver());
}

static SDL_Renderer *make_renderer(struct app *a, SDL_Window *window)
{
	SDL_Renderer *r = SDL_CreateRenderer(window, -1, SDL_RENDERER_ACCELERATED);
	SDL_RendererInfo info;

	if (!r) {
		if (!a->said_software) {
			fprintf(stderr, "tinyvmm-view: no OpenGL (%s): the processor draws\n", SDL_GetError());
			a->said_software = true;
		}
		r = SDL_CreateRenderer(window, -1, SDL_RENDERER_SOFTWARE);
	}
	if (r && a->o->verbose && SDL_GetRendererInfo(r, &info) == 0) {
		say_renderer(info.name);
	}
	return r;
}

static void window_open(struct app *a, unsigned i)
{
	const struct view_scanout *s = &a->conn.at[i];
	struct window *w = &a->at[i];
	uint32_t width, height, flags = SDL_WINDOW_ALLOW_HIGHDPI | (a->o->scale == VIEW_FIXED ? 0u : SDL_WINDOW_RESIZABLE) | (a->o->fullscreen ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0u);

	view_wants_size(&a->view, i, &width, &height, clock_now_ns());
	w->window = SDL_CreateWindow("tinyvmm", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, (int)view_to_window(&a->view, s->width), (int)view_to_window(&a->view, s->height), flags);
	w->renderer = w->window ? make_renderer(a, w->window) : NULL;
	if (!w->renderer) {
		view_stop(a, VIEW_EXIT_HOST, "no window: %s", SDL_GetError());
		return;
	}
	SDL_SetWindowMinimumSize(w->window, SMALLEST_WIDTH, SMALLEST_HEIGHT);
	if (!a->o->fullscreen) {
		set_size(w, view_to_window(&a->view, s->width), view_to_window(&a->view, s->height));
	}
	view_window_measure(a, i);
}

void view_window_take_mode(struct app *a, unsigned i, uint64_t now)
{
	struct window *w = &a->at[i];
	uint32_t width, height;

	if (w->window && view_wants_size(&a->view, i, &width, &height, now) && !is_shaped_by_host(w)) {
		set_size(w, width, height);
	}
}

void view_window_for_outputs(struct app *a)
{
	unsigned open = 0;

	for (unsigned i = 0; i < a->conn.nscanouts && !a->done; i++) {
		if (a->conn.at[i].plugged && !a->at[i].window) {
			window_open(a, i);
		}
		open += a->conn.at[i].plugged;
	}
	/* One stays in any case: it is what a person can close. */
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX && open > 0; i++) {
		if (a->at[i].window && (i >= a->conn.nscanouts || (a->conn.at[i].width && !a->conn.at[i].plugged))) {
			view_window_close(a, i);
		}
	}
}

void view_window_follow_state(struct app *a)
{
	char title[sizeof(a->at[0].title)];

	if (a->view.captured != a->is_captured) {
		a->is_captured = a->view.captured;
		SDL_SetRelativeMouseMode(a->is_captured ? SDL_TRUE : SDL_FALSE);
	}
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		struct window *w = &a->at[i];

		if (!w->window) {
			continue;
		}
		if ((SDL_GetWindowKeyboardGrab(w->window) == SDL_TRUE) != a->view.grabbed) {
			SDL_SetWindowKeyboardGrab(w->window, a->view.grabbed ? SDL_TRUE : SDL_FALSE);
		}
		view_title(&a->view, i, title, sizeof(title));
		if (strcmp(title, w->title) != 0) {
			memcpy(w->title, title, sizeof(title));
			SDL_SetWindowTitle(w->window, title);
		}
	}
}
