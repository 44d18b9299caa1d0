/* SPDX-License-Identifier: MIT */
#include "display/view_sdl.h"

#include <SDL.h>
#include <errno.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "display/buffer.h"
#include "vmm/clock.h"

#define CLIENT_NAME "tinyvmm-view"
#define RETRY_NS (200 * CLOCK_NS_PER_MS) /* between two tries to connect */
#define RESTART_NS (30 * CLOCK_NS_PER_S) /* how long a VM that has gone without a word may take to come back */
#define EVENTS_MAX 64 /* in one go, then pictures have their turn */
#define SMALLEST_WIDTH 320
#define SMALLEST_HEIGHT 200
#define DIMMED 96 /* of 255, while there is no connection */

struct window {
	SDL_Window *window; /* NULL: none */
	SDL_Renderer *renderer;
	SDL_Texture *texture; /* NULL: the guest shows nothing */
	uint32_t format, width, height; /* of it */
	bool y_inverted;
	SDL_Texture *cursor; /* the guest's, where it is drawn into the picture */
	uint64_t frame; /* in the texture */
	bool is_new; /* and it has not been presented */
	bool is_dirty;
	char title[256];
};

enum cursor_kind { CURSOR_ARROW, CURSOR_HIDDEN, CURSOR_GUEST };

/* Waits at the socket while the loop waits at SDL. It polls only between view_go and the event it pushes: nobody else touches the descriptor then. */
struct watch {
	SDL_Thread *thread;
	SDL_sem *go;
	uint32_t event;
	int wake_fd;
	int fd; /* -1: no connection */
	bool out; /* also for room to write */
	bool stop;
};

struct app {
	const struct view_options *o;
	struct view view;
	struct view_conn conn;
	struct window at[VIEW_SCANOUTS_MAX];
	struct watch watch;
	unsigned pointed; /* the window with the pointer */
	SDL_Cursor *cursor, *arrow;
	enum cursor_kind cursor_kind;
	unsigned cursor_of;
	bool is_captured, is_grabbed; /* as SDL was told */
	bool said_software;
	uint64_t retry_ns; /* 0: connected */
	uint64_t gives_up_ns; /* 0: never */
	bool done;
	enum view_exit exit;
};

static void __attribute__((format(printf, 3, 4))) end(struct app *a, enum view_exit how, const char *fmt, ...)
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
 * Windows.
 */

static int window_find(const struct app *a, uint32_t id)
{
	for (int i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		if (a->at[i].window && SDL_GetWindowID(a->at[i].window) == id) {
			return i;
		}
	}
	return -1;
}

/* Pixels of the window for one of SDL's units: more than one on a screen with fine pixels. */
static float pixels_per_unit(const struct window *w)
{
	int pixels = 0, units = 0, ignored;

	SDL_GetRendererOutputSize(w->renderer, &pixels, &ignored);
	SDL_GetWindowSize(w->window, &units, &ignored);
	return pixels > 0 && units > 0 ? (float)pixels / (float)units : 1;
}

static void window_measure(struct app *a, unsigned i)
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

static void window_set_size(const struct window *w, uint32_t width, uint32_t height)
{
	float ratio = pixels_per_unit(w);
	int display = SDL_GetWindowDisplayIndex(w->window);
	SDL_Rect room;
	int cx = (int)((float)width / ratio + 0.5f), cy = (int)((float)height / ratio + 0.5f);

	if (SDL_GetDisplayUsableBounds(display < 0 ? 0 : display, &room) == 0 && room.w > 0 && room.h > 0) {
		cx = cx < room.w ? cx : room.w;
		cy = cy < room.h ? cy : room.h;
	}
	SDL_SetWindowSize(w->window, cx, cy);
}

static void window_close(struct app *a, unsigned i)
{
	struct window *w = &a->at[i];

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
		fprintf(stderr, "tinyvmm-view: drawn with %s on %s\n", info.name, SDL_GetCurrentVideoDriver());
	}
	return r;
}

static void window_open(struct app *a, unsigned i)
{
	const struct view_scanout *s = &a->conn.at[i];
	struct window *w = &a->at[i];
	uint32_t width, height, flags = SDL_WINDOW_ALLOW_HIGHDPI | (a->o->scale == VIEW_FIXED ? 0u : SDL_WINDOW_RESIZABLE) | (a->o->fullscreen ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0u);

	view_wants_size(&a->view, i, &width, &height, clock_now_ns());
	w->window = SDL_CreateWindow("tinyvmm", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, (int)s->width, (int)s->height, flags);
	w->renderer = w->window ? make_renderer(a, w->window) : NULL;
	if (!w->renderer) {
		end(a, VIEW_EXIT_HOST, "no window: %s", SDL_GetError());
		return;
	}
	SDL_SetWindowMinimumSize(w->window, SMALLEST_WIDTH, SMALLEST_HEIGHT);
	if (!a->o->fullscreen) {
		window_set_size(w, s->width, s->height);
	}
	window_measure(a, i);
}

static void windows_for_outputs(struct app *a)
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
			window_close(a, i);
		}
	}
}

/*
 * Pictures.
 */

static uint32_t sdl_format(uint32_t fourcc)
{
	switch (fourcc) {
	case DISPLAY_XBGR8888:
	case DISPLAY_ABGR8888:
		return SDL_PIXELFORMAT_BGR888;
	case DISPLAY_RGBX8888:
	case DISPLAY_RGBA8888:
		return SDL_PIXELFORMAT_RGBX8888;
	case DISPLAY_BGRX8888:
	case DISPLAY_BGRA8888:
		return SDL_PIXELFORMAT_BGRX8888;
	default:
		return SDL_PIXELFORMAT_RGB888;
	}
}

static void drop_texture(struct window *w)
{
	if (w->texture) {
		SDL_DestroyTexture(w->texture);
	}
	w->texture = NULL;
	w->is_dirty = true;
}

/* Return: whether the texture is new, and nothing is in it. */
static bool want_texture(struct app *a, struct window *w, const struct view_scanout *s)
{
	uint32_t format = sdl_format(s->picture->fourcc);

	if (w->texture && w->format == format && w->width == s->crop.w && w->height == s->crop.h && w->y_inverted == s->picture->y_inverted) {
		return false;
	}
	drop_texture(w);
	w->texture = SDL_CreateTexture(w->renderer, format, SDL_TEXTUREACCESS_STREAMING, (int)s->crop.w, (int)s->crop.h);
	if (!w->texture) {
		end(a, VIEW_EXIT_HOST, "a picture of %ux%u pixels: %s", s->crop.w, s->crop.h, SDL_GetError());
		return false;
	}
	SDL_SetTextureBlendMode(w->texture, SDL_BLENDMODE_NONE);
	w->format = format;
	w->width = s->crop.w;
	w->height = s->crop.h;
	w->y_inverted = s->picture->y_inverted;
	return true;
}

/* From where the guest's picture is, to the texture: there is no other copy. A picture with row 0 at the bottom lies in the texture as it lies in memory. */
static void upload(const struct window *w, const struct view_scanout *s, const struct display_rect *r)
{
	const struct view_picture *p = s->picture;
	uint32_t y = p->y_inverted ? s->crop.h - r->y - r->h : r->y, top = p->y_inverted ? p->height - s->crop.y - s->crop.h : s->crop.y;
	SDL_Rect to = {(int)r->x, (int)y, (int)r->w, (int)r->h};

	SDL_UpdateTexture(w->texture, &to, p->map + p->offset + (uint64_t)(top + y) * p->stride + (uint64_t)(s->crop.x + r->x) * 4, (int)p->stride);
}

static void upload_all(const struct window *w, const struct view_scanout *s)
{
	const struct display_rect all = {0, 0, s->crop.w, s->crop.h};

	upload(w, s, &all);
}

static void take_frame(struct app *a, unsigned i)
{
	struct window *w = &a->at[i];
	const struct view_scanout *s = &a->conn.at[i];

	if (w->window) {
		if (want_texture(a, w, s)) {
			upload_all(w, s);
		} else if (w->texture) {
			for (unsigned k = 0; k < s->damage.n; k++) {
				upload(w, s, &s->damage.rect[k]);
			}
		}
		w->frame = s->frame;
		w->is_new = w->is_dirty = true;
	}
	view_taken(&a->view, i, clock_now_ns());
}

/* The driver has lost what was in them. */
static void textures_lost(struct app *a)
{
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		struct window *w = &a->at[i];

		if (w->texture && a->conn.at[i].picture) {
			drop_texture(w);
			if (want_texture(a, w, &a->conn.at[i])) {
				upload_all(w, &a->conn.at[i]);
			}
		}
	}
}

/* Colours that are not multiplied by alpha, as SDL wants them. */
static void unmultiply(uint32_t *out, const uint32_t *in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t alpha = in[i] >> 24, pixel = alpha << 24;

		for (unsigned shift = 0; shift < 24 && alpha > 0; shift += 8) {
			uint32_t c = ((in[i] >> shift & 0xff) * 255 + alpha / 2) / alpha;

			pixel |= (c < 255 ? c : 255) << shift;
		}
		out[i] = pixel;
	}
}

static void draw_cursor(struct app *a, unsigned i, const struct view_place *place)
{
	const struct view_scanout *s = &a->conn.at[i];
	struct window *w = &a->at[i];
	uint32_t pixels[VIEWER_CURSOR_SIZE * VIEWER_CURSOR_SIZE];
	float across = (float)place->w / (float)w->width, down = (float)place->h / (float)w->height;
	SDL_FRect to = {(float)place->x + (float)s->cursor_x * across, (float)place->y + (float)s->cursor_y * down, (float)s->cursor_width * across,
		(float)s->cursor_height * down};

	if (!w->cursor) {
		w->cursor = SDL_CreateTexture(w->renderer, SDL_PIXELFORMAT_ARGB8888, SDL_TEXTUREACCESS_STATIC, (int)s->cursor_width, (int)s->cursor_height);
		if (!w->cursor) {
			return;
		}
		unmultiply(pixels, s->cursor, (size_t)s->cursor_width * s->cursor_height);
		SDL_UpdateTexture(w->cursor, NULL, pixels, (int)s->cursor_width * 4);
		SDL_SetTextureBlendMode(w->cursor, SDL_BLENDMODE_BLEND);
	}
	SDL_RenderCopyF(w->renderer, w->cursor, NULL, &to);
}

static void draw(struct app *a, unsigned i)
{
	struct window *w = &a->at[i];
	const struct view_scanout *s = &a->conn.at[i];
	bool is_connected = a->conn.said_hello;
	struct view_place place = view_place(&a->view, i);

	SDL_SetRenderDrawColor(w->renderer, 0, 0, 0, 255);
	SDL_RenderClear(w->renderer);
	if (w->texture) {
		SDL_Rect to = {place.x, place.y, place.w, place.h};
		uint8_t light = is_connected ? 255 : DIMMED;

		SDL_SetTextureColorMod(w->texture, light, light, light);
		SDL_SetTextureScaleMode(w->texture, (uint32_t)place.w == w->width && (uint32_t)place.h == w->height ? SDL_ScaleModeNearest : SDL_ScaleModeLinear);
		SDL_RenderCopyEx(w->renderer, w->texture, NULL, is_connected ? &to : NULL, 0, NULL, w->y_inverted ? SDL_FLIP_VERTICAL : SDL_FLIP_NONE);
		if (is_connected && s->cursor_visible && !view_pointer_is_host(&a->view)) {
			draw_cursor(a, i, &place);
		}
	}
	SDL_RenderPresent(w->renderer);
	w->is_dirty = false;
	if (w->is_new && is_connected) {
		view_presented(&a->view, i, w->frame, clock_now_ns());
	}
	w->is_new = false;
}

/*
 * The host's pointer.
 */

static void cursor_set(struct app *a, enum cursor_kind kind)
{
	const struct view_scanout *s = &a->conn.at[a->pointed];
	uint32_t pixels[VIEWER_CURSOR_SIZE * VIEWER_CURSOR_SIZE];
	SDL_Cursor *old = a->cursor, *new = NULL;

	if (kind == CURSOR_GUEST) {
		size_t n = (size_t)s->cursor_width * s->cursor_height;
		SDL_Surface *surface;

		/* SDL 2.26 gives X the pixels as they are, and X wants them multiplied. */
		if (strcmp(SDL_GetCurrentVideoDriver(), "x11") == 0) {
			memcpy(pixels, s->cursor, n * sizeof(pixels[0]));
		} else {
			unmultiply(pixels, s->cursor, n);
		}
		surface = SDL_CreateRGBSurfaceWithFormatFrom(pixels, (int)s->cursor_width, (int)s->cursor_height, 32, (int)s->cursor_width * 4, SDL_PIXELFORMAT_ARGB8888);
		new = surface ? SDL_CreateColorCursor(surface, (int)s->hot_x, (int)s->hot_y) : NULL;
		SDL_FreeSurface(surface);
	}
	SDL_SetCursor(new ? new : a->arrow);
	SDL_ShowCursor(kind == CURSOR_HIDDEN ? SDL_DISABLE : SDL_ENABLE);
	a->cursor = new;
	if (old) {
		SDL_FreeCursor(old);
	}
	a->cursor_kind = kind;
	a->cursor_of = a->pointed;
}

static enum cursor_kind cursor_wanted(const struct app *a)
{
	bool has_any = false;

	/* A guest without a pointer of its own, a text console, has none to show where one points. */
	for (unsigned i = 0; i < a->conn.nscanouts; i++) {
		has_any = has_any || a->conn.at[i].has_cursor;
	}
	if (!has_any || !view_pointer_is_host(&a->view)) {
		return CURSOR_ARROW;
	}
	return a->conn.at[a->pointed].cursor_visible ? CURSOR_GUEST : CURSOR_HIDDEN;
}

static void follow_cursors(struct app *a)
{
	enum cursor_kind kind = cursor_wanted(a);
	bool is_other = false;

	for (unsigned i = 0; i < a->conn.nscanouts; i++) {
		struct view_scanout *s = &a->conn.at[i];
		struct window *w = &a->at[i];

		if ((s->news & VIEW_NEWS_IMAGE) && w->cursor) {
			SDL_DestroyTexture(w->cursor);
			w->cursor = NULL;
		}
		is_other = is_other || (i == a->pointed && (s->news & VIEW_NEWS_IMAGE));
		w->is_dirty = w->is_dirty || ((s->news & (VIEW_NEWS_IMAGE | VIEW_NEWS_CURSOR)) && w->window && !view_pointer_is_host(&a->view));
		s->news &= ~(VIEW_NEWS_IMAGE | VIEW_NEWS_CURSOR);
	}
	if (kind != a->cursor_kind || (kind == CURSOR_GUEST && (is_other || a->cursor_of != a->pointed))) {
		cursor_set(a, kind);
	}
}

/* Grabs and titles as they are to be. */
static void follow_state(struct app *a)
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

/*
 * The connection.
 */

static void connected(struct app *a)
{
	a->retry_ns = a->gives_up_ns = 0;
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		a->at[i].is_dirty = a->at[i].window;
		a->at[i].is_new = false;
	}
	view_reconnected(&a->view);
}

static void try_again(struct app *a, uint64_t now)
{
	int fd = view_conn_connect(a->o->socket);

	if (fd >= 0) {
		view_conn_init(&a->conn, fd, CLIENT_NAME, a->o->observes);
		connected(a);
		watch_wake(&a->watch);
	} else if (a->gives_up_ns && now >= a->gives_up_ns) {
		end(a, VIEW_EXIT_FAILED, "the VM has gone and did not come back");
	} else {
		a->retry_ns = now + RETRY_NS;
	}
}

static void disconnected(struct app *a, bool for_ever)
{
	uint64_t now = clock_now_ns();

	view_conn_finish(&a->conn);
	connected(a);
	a->gives_up_ns = for_ever ? 0 : now + RESTART_NS;
	a->retry_ns = now + RETRY_NS;
}

static void connection_ended(struct app *a)
{
	switch (a->conn.end) {
	case VIEW_GOES_ON:
		return;
	case VIEW_END_VM:
		if (a->o->waits) {
			disconnected(a, true);
		} else {
			end(a, VIEW_EXIT_ENDED, NULL);
		}
		return;
	case VIEW_END_RESTART:
		if (a->o->socket) {
			disconnected(a, a->o->waits);
		} else {
			view_conn_again(&a->conn, CLIENT_NAME, a->o->observes);
			connected(a);
		}
		return;
	case VIEW_END_LOST:
		if (a->o->socket) {
			disconnected(a, a->o->waits);
			return;
		}
		break;
	default:
		break;
	}
	end(a, VIEW_EXIT_FAILED, "%s", a->conn.why);
}

static void take_news(struct app *a)
{
	uint64_t now = clock_now_ns();
	uint32_t width, height;

	if (a->conn.said_hello && a->conn.nscanouts == 0) {
		end(a, VIEW_EXIT_FAILED, "the VM has no display (gpu.mode in its vm.toml)");
		return;
	}
	view_news(&a->view, now);
	for (unsigned i = 0; i < a->conn.nscanouts; i++) {
		struct view_scanout *s = &a->conn.at[i];
		struct window *w = &a->at[i];

		if (!(s->news & VIEW_NEWS_MODE) || s->width == 0) {
			continue;
		}
		s->news &= ~VIEW_NEWS_MODE;
		if (!s->shows) {
			drop_texture(w);
		}
		if (w->window && view_wants_size(&a->view, i, &width, &height, now) && !is_shaped_by_host(w)) {
			window_set_size(w, width, height);
		}
	}
	windows_for_outputs(a);
}

/* The watch has pushed its event: it rests until the end of this. */
static void serve_connection(struct app *a)
{
	if (a->conn.fd >= 0) {
		view_conn_flush(&a->conn);
		view_conn_read(&a->conn);
		take_news(a);
		connection_ended(a);
	}
	a->watch.fd = a->conn.fd;
	a->watch.out = view_conn_waits(&a->conn);
	SDL_SemPost(a->watch.go);
}

/*
 * What a person does.
 */

static uint32_t host_locks(void)
{
	SDL_Keymod mod = SDL_GetModState();

	return (mod & KMOD_NUM ? 1u << LED_NUML : 0) | (mod & KMOD_CAPS ? 1u << LED_CAPSL : 0);
}

static void on_window(struct app *a, const SDL_WindowEvent *e)
{
	int i = window_find(a, e->windowID);

	if (i < 0) {
		return;
	}
	switch (e->event) {
	case SDL_WINDOWEVENT_CLOSE:
		end(a, VIEW_EXIT_CLOSED, NULL);
		break;
	case SDL_WINDOWEVENT_SIZE_CHANGED:
	case SDL_WINDOWEVENT_DISPLAY_CHANGED:
		window_measure(a, (unsigned)i);
		break;
	case SDL_WINDOWEVENT_EXPOSED:
	case SDL_WINDOWEVENT_SHOWN:
	case SDL_WINDOWEVENT_RESTORED:
		a->at[i].is_dirty = true;
		break;
	case SDL_WINDOWEVENT_ENTER:
		a->pointed = (unsigned)i;
		break;
	case SDL_WINDOWEVENT_FOCUS_GAINED:
		view_focus(&a->view, true, host_locks());
		break;
	case SDL_WINDOWEVENT_FOCUS_LOST:
		view_focus(&a->view, false, 0);
		break;
	}
}

static void on_key(struct app *a, const SDL_KeyboardEvent *e)
{
	int i = window_find(a, e->windowID);

	if (e->repeat || view_press(&a->view, e->keysym.scancode, e->state == SDL_PRESSED) != VIEW_DO_FULLSCREEN || i < 0) {
		return;
	}
	SDL_SetWindowFullscreen(a->at[i].window, SDL_GetWindowFlags(a->at[i].window) & SDL_WINDOW_FULLSCREEN_DESKTOP ? 0 : SDL_WINDOW_FULLSCREEN_DESKTOP);
}

static void on_motion(struct app *a, const SDL_MouseMotionEvent *e)
{
	int i = window_find(a, e->windowID);

	if (i >= 0) {
		float ratio = pixels_per_unit(&a->at[i]);

		a->pointed = (unsigned)i;
		view_motion(&a->view, (unsigned)i, (int32_t)((float)e->x * ratio), (int32_t)((float)e->y * ratio), e->xrel, e->yrel);
	}
}

static void on_button(struct app *a, const SDL_MouseButtonEvent *e)
{
	static const unsigned buttons[] = {[SDL_BUTTON_LEFT] = BTN_LEFT, [SDL_BUTTON_MIDDLE] = BTN_MIDDLE, [SDL_BUTTON_RIGHT] = BTN_RIGHT, [SDL_BUTTON_X1] = BTN_SIDE,
		[SDL_BUTTON_X2] = BTN_EXTRA};
	int i = window_find(a, e->windowID);

	if (i >= 0 && e->button < sizeof(buttons) / sizeof(buttons[0]) && buttons[e->button]) {
		float ratio = pixels_per_unit(&a->at[i]);

		/* A click where the pointer has not been seen moving. */
		view_motion(&a->view, (unsigned)i, (int32_t)((float)e->x * ratio), (int32_t)((float)e->y * ratio), 0, 0);
		view_button(&a->view, (unsigned)i, buttons[e->button], e->state == SDL_PRESSED);
	}
}

static void on_event(struct app *a, const SDL_Event *e)
{
	if (e->type == a->watch.event) {
		serve_connection(a);
		return;
	}
	switch (e->type) {
	case SDL_QUIT:
		end(a, VIEW_EXIT_CLOSED, NULL);
		break;
	case SDL_WINDOWEVENT:
		on_window(a, &e->window);
		break;
	case SDL_KEYDOWN:
	case SDL_KEYUP:
		on_key(a, &e->key);
		break;
	case SDL_MOUSEMOTION:
		on_motion(a, &e->motion);
		break;
	case SDL_MOUSEBUTTONDOWN:
	case SDL_MOUSEBUTTONUP:
		on_button(a, &e->button);
		break;
	case SDL_MOUSEWHEEL:
		view_wheel(&a->view, a->pointed, e->wheel.preciseX, e->wheel.preciseY);
		break;
	case SDL_RENDER_TARGETS_RESET:
	case SDL_RENDER_DEVICE_RESET:
		textures_lost(a);
		break;
	}
}

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
		on_event(a, &e);
	}
	now = clock_now_ns();
	if (!a->done && a->retry_ns && now >= a->retry_ns) {
		try_again(a, now);
	}
	view_tick(&a->view, now);
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX && !a->done; i++) {
		if (view_may_take(&a->view, i, now)) {
			take_frame(a, i);
		}
	}
	follow_cursors(a);
	follow_state(a);
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX && !a->done; i++) {
		if (a->at[i].window && a->at[i].is_dirty) {
			draw(a, i);
		}
	}
	if (a->conn.fd >= 0 && (a->conn.end != VIEW_GOES_ON || (view_conn_waits(&a->conn) && !a->watch.out))) {
		watch_wake(&a->watch);
	}
}

static void set_hints(void)
{
	SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
	SDL_SetHint(SDL_HINT_APP_NAME, CLIENT_NAME);
	SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
	SDL_SetHint(SDL_HINT_VIDEO_MINIMIZE_ON_FOCUS_LOSS, "0");
	SDL_SetHint(SDL_HINT_MOUSE_FOCUS_CLICKTHROUGH, "1");
	SDL_SetHint(SDL_HINT_MOUSE_RELATIVE_SYSTEM_SCALE, "0");
	SDL_SetHint(SDL_HINT_VIDEO_X11_FORCE_EGL, "1");
	/* Where the processor draws, OpenGL is what does not work. */
	SDL_SetHint(SDL_HINT_FRAMEBUFFER_ACCELERATION, "0");
	SDL_SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
	SDL_setenv("SDL_VIDEO_X11_WMCLASS", CLIENT_NAME, 0);
	SDL_setenv("SDL_VIDEO_WAYLAND_WMCLASS", CLIENT_NAME, 0);
	/* With both there, the one that scrolls smoothly. What a person has said in the environment goes first. */
	if (SDL_getenv("WAYLAND_DISPLAY")) {
		SDL_SetHint(SDL_HINT_VIDEODRIVER, "wayland,x11");
	}
}

/* SDL has drivers that draw where nobody looks, and takes one when there is no other. */
static bool is_seen(void)
{
	const char *driver = SDL_GetCurrentVideoDriver();

	return SDL_getenv("SDL_VIDEODRIVER") || (strcmp(driver, "offscreen") != 0 && strcmp(driver, "dummy") != 0);
}

static struct app app;

enum view_exit view_sdl_run(const struct view_options *o, int fd)
{
	struct app *a = &app;

	a->o = o;
	a->watch.wake_fd = a->watch.fd = a->conn.fd = -1;
	set_hints();
	if (SDL_Init(SDL_INIT_VIDEO) < 0) {
		fprintf(stderr, "tinyvmm-view: error: no display: %s\n", SDL_GetError());
		if (fd >= 0) {
			close(fd);
		}
		return VIEW_EXIT_HOST;
	}
	if (!is_seen()) {
		fprintf(stderr, "tinyvmm-view: error: no display: neither DISPLAY nor WAYLAND_DISPLAY leads to one\n");
		SDL_Quit();
		if (fd >= 0) {
			close(fd);
		}
		return VIEW_EXIT_HOST;
	}
	SDL_StopTextInput();
	a->arrow = SDL_GetDefaultCursor();
	view_init(&a->view, &a->conn, o->scale, o->observes, o->name);
	if (fd >= 0) {
		view_conn_init(&a->conn, fd, CLIENT_NAME, o->observes);
		a->watch.fd = fd;
	} else {
		a->retry_ns = clock_now_ns();
	}
	if (watch_start(&a->watch)) {
		SDL_SemPost(a->watch.go);
	} else {
		end(a, VIEW_EXIT_HOST, "no thread: %s", SDL_GetError());
	}
	while (!a->done) {
		serve(a);
	}
	watch_stop(&a->watch);
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		window_close(a, i);
	}
	view_conn_finish(&a->conn);
	if (a->cursor) {
		SDL_FreeCursor(a->cursor);
	}
	SDL_Quit();
	return a->exit;
}
