/* SPDX-License-Identifier: MIT */
/*
 * What the files of the viewer's window share: view_sdl.c (the loop), view_link.c (a connection that ends and comes back), view_window.c (windows and their titles), view_draw.c (pictures and pointers),
 * view_input.c (what a person does). Only these include it and, but for view_link.c, SDL.
 *
 * Thread: the first one has all of it, but for what struct watch says.
 */
#ifndef DISPLAY_VIEW_SDL_PRIV_H
#define DISPLAY_VIEW_SDL_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "display/view_conn.h"
#include "display/view_import.h"
#include "display/view_sdl.h"
#include "display/view_state.h"

#define VIEW_CLIENT_NAME "tinyvmm-view"
#define VIEW_RETRY_NS 200000000ull /* between two tries to connect */
#define VIEW_RESTART_NS 30000000000ull /* how long a VM that starts again, or has gone without a word, may take to be there */

/* SDL's, which names them so. */
struct SDL_Cursor;
struct SDL_Renderer;
struct SDL_Texture;
struct SDL_Thread;
struct SDL_Window;
struct SDL_semaphore;
union SDL_Event;

/* Of one output. */
struct window {
	struct SDL_Window *window; /* NULL: none */
	struct SDL_Renderer *renderer;
	struct SDL_Texture *texture; /* NULL: the guest shows nothing */
	uint32_t format, width, height; /* of it */
	bool y_inverted;
	bool is_target; /* drawn into; else uploaded to */
	struct SDL_Texture *cursor; /* the guest's, where it is drawn into the picture */
	uint64_t frame; /* in the texture */
	bool is_new; /* and it has not been presented */
	bool is_dirty;
	char title[256];
};

enum cursor_kind { CURSOR_ARROW, CURSOR_HIDDEN, CURSOR_GUEST };

/* Waits at the socket while the loop waits at SDL. It polls only between the semaphore and the event it pushes: nobody else touches the descriptor then. */
struct watch {
	struct SDL_Thread *thread;
	struct SDL_semaphore *go;
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
	struct SDL_Cursor *cursor, *arrow;
	enum cursor_kind cursor_kind;
	unsigned cursor_of;
	uint32_t cursor_hot_x, cursor_hot_y;
	bool is_captured; /* as SDL was told */
	bool said_software;
	struct view_import import;
	bool said_imports; /* to this monitor */
	bool said_import; /* for people: how pictures come */
	uint64_t retry_ns; /* when it is tried again; 0: connected */
	uint64_t gives_up_ns; /* 0: never */
	bool done;
	enum view_exit exit;
};

/* The loop ends after this turn. The first one counts; @fmt: said on stderr, NULL: nothing. */
void view_stop(struct app *a, enum view_exit how, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * view_link.c
 */

/* There is no connection yet: it is tried at once, and then as after the end of one. */
void view_link_begin(struct app *a, uint64_t now);
/* The connection may have ended: then the program does, or it is tried again. */
void view_link_ended(struct app *a);
/* Where that is due. After VIEW_RESTART_NS the program ends, unless it waits for ever. Return: whether there is a connection now that was not there. */
bool view_link_try(struct app *a, uint64_t now);

/*
 * view_window.c
 */

/* Return: which output's window it is; -1: none. */
int view_window_find(const struct app *a, uint32_t id);
/* Pixels of the window for one of SDL's units: more than one on a screen with fine pixels. */
float view_window_ratio(const struct window *w);
/* Whether the context that is current is EGL's. */
bool view_window_is_egl(void);
/* It may have another size, or be on another display. */
void view_window_measure(struct app *a, unsigned i);
/* The guest may have another size. */
void view_window_take_mode(struct app *a, unsigned i, uint64_t now);
/* One for each output that is plugged in. */
void view_window_for_outputs(struct app *a);
/* Grabs and titles as they are to be. */
void view_window_follow_state(struct app *a);
/* There may be none. */
void view_window_close(struct app *a, unsigned i);

/*
 * view_draw.c
 */

/* Takes the frame that waits, into the texture where there is a window, and releases it. */
void view_draw_take(struct app *a, unsigned i);
/* The guest shows nothing. */
void view_draw_drop(struct window *w);
/* The driver has lost what was in the textures. */
void view_draw_again(struct app *a);
/* Tells a monitor that sends pictures on a GPU what can be imported, once there is a window to know it by. */
void view_draw_say_imports(struct app *a);
void view_draw(struct app *a, unsigned i);
/* The host's pointer as it is to be; windows in which the guest's is drawn become dirty when it has changed. */
void view_draw_follow_cursors(struct app *a);

/*
 * view_input.c
 */

/* What a person does, and what happens to windows. */
void view_input_event(struct app *a, const union SDL_Event *e);

#endif
