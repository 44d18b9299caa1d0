/* SPDX-License-Identifier: MIT */
#include "display/view_sdl_priv.h"

#include <SDL.h>
#include <stdio.h>
#include <string.h>

#include "display/buffer.h"
#include "vmm/clock.h"

#define DIMMED 96 /* of 255, while there is no connection */

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

void view_draw_drop(struct window *w)
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
	bool is_target = s->picture->nplanes > 0;
	/* Without alpha, of which guests leave what they like. */
	uint32_t format = is_target ? SDL_PIXELFORMAT_RGB888 : sdl_format(s->picture->fourcc);

	if (w->texture && w->is_target == is_target && w->format == format && w->width == s->crop.w && w->height == s->crop.h && w->y_inverted == s->picture->y_inverted) {
		return false;
	}
	view_draw_drop(w);
	w->texture = SDL_CreateTexture(w->renderer, format, is_target ? SDL_TEXTUREACCESS_TARGET : SDL_TEXTUREACCESS_STREAMING, (int)s->crop.w, (int)s->crop.h);
	if (!w->texture) {
		view_stop(a, VIEW_EXIT_HOST, "a picture of %ux%u pixels: %s", s->crop.w, s->crop.h, SDL_GetError());
		return false;
	}
	SDL_SetTextureBlendMode(w->texture, SDL_BLENDMODE_NONE);
	w->is_target = is_target;
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

/*
 * Pictures on a GPU.
 */

static void say_import(struct app *a, const char *how, const char *why)
{
	if (a->o->verbose && !a->said_import) {
		fprintf(stderr, "tinyvmm-view: pictures %s%s%s\n", how, why[0] ? ": " : "", why);
	}
	a->said_import = true;
}

void view_draw_say_imports(struct app *a)
{
	char why[VIEWER_WHY_LEN] = "its processor draws";

	for (unsigned i = 0; a->conn.sends_dmabufs && !a->said_imports && i < VIEW_SCANOUTS_MAX; i++) {
		if (!a->at[i].window) {
			continue;
		}
		a->said_imports = true;
		/* So that its context is current. */
		SDL_RenderFlush(a->at[i].renderer);
		SDL_SetRenderTarget(a->at[i].renderer, NULL);
		if (SDL_GL_GetCurrentContext() && !view_window_is_egl()) {
			snprintf(why, sizeof(why), "its window is not drawn with EGL");
		}
		if (SDL_GL_GetCurrentContext() && view_window_is_egl() && view_import_open(&a->import, SDL_GL_GetProcAddress, a->conn.render_major, a->conn.render_minor, why, sizeof(why))) {
			why[0] = 0;
		} else {
			a->import.works = false;
			say_import(a, "in memory", why);
		}
		view_conn_imports(&a->conn, a->import.format, a->import.works ? a->import.nformats : 0, why);
	}
}

/* From where the guest's picture lies on the GPU into the texture, by the GPU. One that cannot be imported is the last: what comes then is in memory. */
static void import(struct app *a, struct window *w, const struct view_scanout *s)
{
	char why[VIEWER_WHY_LEN] = "none was asked for";
	bool is_drawn = false;

	SDL_RenderFlush(w->renderer);
	if (a->import.works && SDL_SetRenderTarget(w->renderer, w->texture) == 0) {
		is_drawn = view_import_draw(s->picture, &s->crop, why, sizeof(why));
		SDL_SetRenderTarget(w->renderer, NULL);
	}
	if (is_drawn) {
		say_import(a, "are imported as dma-bufs", "");
	} else {
		fprintf(stderr, "tinyvmm-view: %s: pictures in memory instead\n", why);
		a->import.works = false;
		view_draw_drop(w);
		view_conn_imports(&a->conn, NULL, 0, why);
	}
}

/* All of a picture, wherever it lies. */
static void show_all(struct app *a, struct window *w, const struct view_scanout *s)
{
	if (s->picture->nplanes > 0) {
		import(a, w, s);
	} else {
		upload_all(w, s);
	}
}

void view_draw_take(struct app *a, unsigned i)
{
	struct window *w = &a->at[i];
	const struct view_scanout *s = &a->conn.at[i];

	if (w->window) {
		if (want_texture(a, w, s) || (w->texture && w->is_target)) {
			show_all(a, w, s);
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

void view_draw_again(struct app *a)
{
	view_conn_unimport(&a->conn);
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		struct window *w = &a->at[i];

		if (w->texture && a->conn.at[i].picture) {
			view_draw_drop(w);
			if (want_texture(a, w, &a->conn.at[i])) {
				show_all(a, w, &a->conn.at[i]);
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

void view_draw(struct app *a, unsigned i)
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
		view_find_hot_spot(&a->view, a->pointed, &a->cursor_hot_x, &a->cursor_hot_y);
		new = surface ? SDL_CreateColorCursor(surface, (int)a->cursor_hot_x, (int)a->cursor_hot_y) : NULL;
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

void view_draw_follow_cursors(struct app *a)
{
	enum cursor_kind kind = cursor_wanted(a);
	bool is_other = false;
	uint32_t hot_x, hot_y;

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
	view_find_hot_spot(&a->view, a->pointed, &hot_x, &hot_y);
	is_other = is_other || hot_x != a->cursor_hot_x || hot_y != a->cursor_hot_y;
	if (kind != a->cursor_kind || (kind == CURSOR_GUEST && (is_other || a->cursor_of != a->pointed))) {
		cursor_set(a, kind);
	}
}
