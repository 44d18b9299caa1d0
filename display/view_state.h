/* SPDX-License-Identifier: MIT */
/*
 * What a viewer's window does, without the window: which keys and buttons are down, whether the pointer is absolute or captured, who holds the keyboard, how large the guest is to be,
 * when the next frame is taken, what the title says. The window (view_sdl.c) reports what a person does and asks how things are to be.
 *
 * The keys of the viewer itself are chords of Ctrl and the left Alt with one more (view_state.c has the table; tinyvmm-view(1) explains it). The guest sees Ctrl and Alt, not the third.
 *
 * Places and sizes are pixels of the window's picture, unless something else is said. Times are clock_now_ns().
 *
 * Thread: one, the connection's.
 */
#ifndef DISPLAY_VIEW_STATE_H
#define DISPLAY_VIEW_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "display/view_conn.h"
#include "display/view_keys.h"

#define VIEW_SETTLE_NS 150000000ull /* a window that has kept its size for that long has it */
#define VIEW_ANSWER_NS 5000000000ull /* a guest that takes another size within this time does so because it was asked to */
#define VIEW_REFRESH_MHZ 60000u /* of a display that does not say */
#define VIEW_ZOOM_MIN 0.25
#define VIEW_ZOOM_MAX 4.0
#define VIEW_REST_NS 100000000ull /* a pointer that nobody has moved for that long is where the guest has it */
#define VIEW_HOT_SPOTS 16 /* of images that have been seen */
#define VIEW_FINGERS 10 /* as many as the guest's touch screen tells apart */

enum view_scale {
	VIEW_FOLLOW, /* the guest follows the window; a guest that does not is scaled */
	VIEW_FIXED, /* the window has the guest's size; where it cannot, the picture is scaled */
	VIEW_SCALE, /* the picture is scaled to the window, the guest keeps its size */
};

/* How the pointer reaches the guest. */
enum view_pointer {
	VIEW_POINTER_NONE, /* no device for it, or another viewer controls */
	VIEW_POINTER_ABSOLUTE,
	VIEW_POINTER_RELATIVE, /* a click captures it */
};

enum view_touch { VIEW_TOUCH_DOWN, VIEW_TOUCH_MOVE, VIEW_TOUCH_UP };

/* What is left for the window to do after a key. */
enum view_do {
	VIEW_DO_NOTHING,
	VIEW_DO_FULLSCREEN, /* in or out */
};

struct view_place {
	int32_t x, y, w, h;
};

struct view_finger {
	bool is_down, has_moved; /* has_moved: the place was not sent yet */
	int64_t finger; /* the host's number */
	uint32_t scanout, x, y; /* x, y: as they are sent */
};

struct view_hot_spot {
	uint32_t image; /* its sum */
	uint32_t x, y;
};

struct view_window {
	uint32_t width, height; /* of the window; 0: there is none */
	uint32_t mode_width, mode_height; /* of the guest, as it was last looked at */
	uint64_t settles_ns; /* the size will be asked for then; 0: it is not new */
	uint64_t asked_ns; /* when it last was; 0: the guest has answered */
	uint32_t asked_width, asked_height, asked_refresh_mhz;
	uint32_t refresh_mhz; /* of the display it is on */
	uint32_t dpi; /* of that; 0: not known */
	uint64_t take_ns; /* the next frame is not taken before */
	uint32_t image; /* the sum of the guest's pointer */
};

struct view {
	struct view_conn *conn;
	enum view_scale scale;
	double zoom; /* pixels of the window for one of the guest, where the picture is not scaled to the window */
	bool observes; /* --observe */
	const char *title; /* "{name}" is the VM's; stays the caller's */
	char name[VIEWER_NAME_LEN]; /* of the VM, as it was called when it last said it */

	struct view_window at[VIEW_SCANOUTS_MAX];

	bool focused;
	bool controlled; /* as it was last looked at */
	bool grabbed; /* the keyboard */
	bool captured; /* the pointer */
	bool swapped; /* the other pointer than what the guest has */

	uint8_t down[VIEW_KEYS_MAX]; /* by scancode: VIEW_KEY_* */
	uint8_t held[0x300 / 8]; /* keys the guest has down, by KEY_* */
	uint8_t buttons; /* the guest has down, by 1 << (code - BTN_LEFT) */
	enum view_pointer buttons_of; /* where they went */
	bool ctrl_left, ctrl_right, alt_left;

	bool has_place; /* a place of the pointer that was not sent yet */
	uint32_t place_x, place_y, place_scanout;
	bool has_sent; /* a place was sent: the last one */
	uint32_t sent_x, sent_y, sent_scanout;
	uint64_t rests_ns; /* the guest's pointer is compared with that then; 0: nothing has moved */
	struct view_hot_spot hot_spot[VIEW_HOT_SPOTS]; /* x, y 0: none */
	unsigned hot_spots; /* found so far */
	int32_t move_x, move_y; /* a movement that was not */
	float wheel_x, wheel_y; /* 1/120 of a notch, less than one */
	struct view_finger finger[VIEW_FINGERS]; /* by the guest's slot */
	uint16_t touches; /* so many fingers have come down */

	uint32_t locks; /* of the host: 1 << LED_* */
	bool must_lock; /* and the guest's are to be made like them */
	uint32_t lock_tried, lock_tried_leds; /* what was pressed for it, and the guest's lights before */
	uint32_t lock_deaf; /* what the guest does not say the light of */
	uint32_t lights; /* the guest's, as they were last looked at */
};

/* zoom is 1 and title "{name}" until somebody sets them, before anything happens. */
void view_init(struct view *v, struct view_conn *conn, enum view_scale scale, bool observes, const char *name);

/* After view_conn_read, and after a new connection. */
void view_news(struct view *v, uint64_t now);
/* There is another connection: nothing is down any more, nothing was asked for. */
void view_reconnected(struct view *v);

/*
 * What a person does.
 */

/* @scancode: SDL's; without repetitions. Return: what is left to do. */
enum view_do view_press(struct view *v, unsigned scancode, bool down);
/* @x, @y: where the pointer is, @dx, @dy: how far it has moved. It is sent by view_tick. */
void view_motion(struct view *v, unsigned scanout, int32_t x, int32_t y, int32_t dx, int32_t dy);
/* @button: BTN_LEFT to BTN_TASK. */
void view_button(struct view *v, unsigned scanout, unsigned button, bool down);
/* In notches: to the right and away from the person. */
void view_wheel(struct view *v, unsigned scanout, float x, float y);
/* @finger: the host's number for it. Movements are sent by view_tick. Only where view_has_touch. */
void view_touch(struct view *v, unsigned scanout, int64_t finger, enum view_touch what, int32_t x, int32_t y);
/* @locks: the host's lights, 1 << LED_NUML and so on. */
void view_focus(struct view *v, bool has, uint32_t locks);
/* Window @scanout has this size now; 0, 0: there is none any more. */
void view_resized(struct view *v, unsigned scanout, uint32_t width, uint32_t height, uint64_t now);
/* Return: how many pixels of the window so many of the guest are, where the picture is not scaled to the window. */
uint32_t view_to_window(const struct view *v, uint32_t guest);
/* What display it is on. 0: not known. */
void view_on_display(struct view *v, unsigned scanout, uint32_t refresh_mhz, uint32_t dpi);

/* Sends what is due: movements, sizes that have settled. */
void view_tick(struct view *v, uint64_t now);
/* Return: when view_tick or view_may_take has something to do again; UINT64_MAX: when something happens. */
uint64_t view_deadline(const struct view *v);

/*
 * Frames.
 */

/* Whether there is one, and it is time for it: no sooner than the display shows the next picture. */
bool view_may_take(const struct view *v, unsigned scanout, uint64_t now);
/* All of it that is wanted was read: releases it. */
void view_taken(struct view *v, unsigned scanout, uint64_t now);
/* The swap of that frame has returned. */
void view_presented(struct view *v, unsigned scanout, uint64_t frame, uint64_t now);

/*
 * How things are to be.
 */

/* Where in the window the guest's picture is: as large as fits, with its aspect ratio, in the middle. */
struct view_place view_place(const struct view *v, unsigned scanout);
/* Whether the window is to get another size, because the guest has one: then which. Once for each. */
bool view_wants_size(struct view *v, unsigned scanout, uint32_t *width, uint32_t *height, uint64_t now);
enum view_pointer view_pointer(const struct view *v);
/* Whether the guest drives a touch screen; otherwise fingers are a pointer. */
bool view_has_touch(const struct view *v);
/* Whether the guest's pointer is the host's, with its shape; otherwise it is drawn into the picture. */
bool view_pointer_is_host(const struct view *v);
/*
 * The pixel of the guest's pointer that points. A guest that says none (a compositor on Linux' atomic mode setting, which had no word for it before 6.8) has the image's corner as far from where the
 * pointer was sent to, once that rests; it is remembered for each image.
 */
void view_find_hot_spot(const struct view *v, unsigned scanout, uint32_t *x, uint32_t *y);
/* ASCII, apart from the VM's name: old window managers take no more. */
void view_title(const struct view *v, unsigned scanout, char *out, size_t len);

#endif
