/* SPDX-License-Identifier: MIT */
#include "display/view_sdl_priv.h"

#include <SDL.h>
#include <linux/input-event-codes.h>

static uint32_t host_locks(void)
{
	SDL_Keymod mod = SDL_GetModState();

	return (mod & KMOD_NUM ? 1u << LED_NUML : 0) | (mod & KMOD_CAPS ? 1u << LED_CAPSL : 0);
}

static void on_window(struct app *a, const SDL_WindowEvent *e)
{
	int i = view_window_find(a, e->windowID);

	if (i < 0) {
		return;
	}
	switch (e->event) {
	case SDL_WINDOWEVENT_CLOSE:
		view_stop(a, VIEW_EXIT_CLOSED, NULL);
		break;
	case SDL_WINDOWEVENT_SIZE_CHANGED:
	case SDL_WINDOWEVENT_DISPLAY_CHANGED:
		view_window_measure(a, (unsigned)i);
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
	int i = view_window_find(a, e->windowID);

	/* Where the keyboard is nobody's, X gives keys to the window under the pointer: a key that is held would be pressed again right after it was released. */
	if (e->repeat || (i < 0 && e->state == SDL_PRESSED) || view_press(&a->view, e->keysym.scancode, e->state == SDL_PRESSED) != VIEW_DO_FULLSCREEN || i < 0) {
		return;
	}
	SDL_SetWindowFullscreen(a->at[i].window, SDL_GetWindowFlags(a->at[i].window) & SDL_WINDOW_FULLSCREEN_DESKTOP ? 0 : SDL_WINDOW_FULLSCREEN_DESKTOP);
}

/* SDL makes a mouse of a touch screen. */
static bool is_finger(const struct app *a, uint32_t which)
{
	return which == SDL_TOUCH_MOUSEID && view_has_touch(&a->view);
}

static void on_finger(struct app *a, const SDL_TouchFingerEvent *e)
{
	int i = view_window_find(a, e->windowID);
	enum view_touch what = e->type == SDL_FINGERDOWN ? VIEW_TOUCH_DOWN : e->type == SDL_FINGERUP ? VIEW_TOUCH_UP : VIEW_TOUCH_MOVE;

	/* Touch pads are a pointer already. */
	if (i >= 0 && SDL_GetTouchDeviceType(e->touchId) == SDL_TOUCH_DEVICE_DIRECT) {
		view_touch(&a->view, (unsigned)i, e->fingerId, what, (int32_t)(e->x * (float)a->view.at[i].width), (int32_t)(e->y * (float)a->view.at[i].height));
	}
}

static void on_motion(struct app *a, const SDL_MouseMotionEvent *e)
{
	int i = view_window_find(a, e->windowID);

	if (i >= 0 && !is_finger(a, e->which)) {
		float ratio = view_window_ratio(&a->at[i]);

		a->pointed = (unsigned)i;
		view_motion(&a->view, (unsigned)i, (int32_t)((float)e->x * ratio), (int32_t)((float)e->y * ratio), e->xrel, e->yrel);
	}
}

static void on_button(struct app *a, const SDL_MouseButtonEvent *e)
{
	static const unsigned buttons[] = {[SDL_BUTTON_LEFT] = BTN_LEFT, [SDL_BUTTON_MIDDLE] = BTN_MIDDLE, [SDL_BUTTON_RIGHT] = BTN_RIGHT, [SDL_BUTTON_X1] = BTN_SIDE,
		[SDL_BUTTON_X2] = BTN_EXTRA};
	int i = view_window_find(a, e->windowID);

	if (i >= 0 && !is_finger(a, e->which) && e->button < sizeof(buttons) / sizeof(buttons[0]) && buttons[e->button]) {
		float ratio = view_window_ratio(&a->at[i]);

		/* A click where the pointer has not been seen moving. */
		view_motion(&a->view, (unsigned)i, (int32_t)((float)e->x * ratio), (int32_t)((float)e->y * ratio), 0, 0);
		view_button(&a->view, (unsigned)i, buttons[e->button], e->state == SDL_PRESSED);
	}
}

void view_input_event(struct app *a, const SDL_Event *e)
{
	switch (e->type) {
	case SDL_QUIT:
		view_stop(a, VIEW_EXIT_CLOSED, NULL);
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
	case SDL_FINGERDOWN:
	case SDL_FINGERMOTION:
	case SDL_FINGERUP:
		on_finger(a, &e->tfinger);
		break;
	case SDL_MOUSEWHEEL:
		view_wheel(&a->view, a->pointed, e->wheel.preciseX, e->wheel.preciseY);
		break;
	case SDL_RENDER_TARGETS_RESET:
	case SDL_RENDER_DEVICE_RESET:
		view_draw_again(a);
		break;
	}
}
