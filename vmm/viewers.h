/* SPDX-License-Identifier: MIT */
/*
 * Who is connected to the viewer socket, and what they say: the reading half of the viewer protocol (display/viewer_proto.h, docs/display-protocol.md). The sending half is
 * display/viewer_out.h, on the display's loop; here it is told what to do in posts, so that input never waits for graphics, nor graphics for it.
 *
 *   viewer -> socket -> [main loop: is it right? who controls?] -> input, action: ops        (at once)
 *                                                               -> release, output: a post    -> display's loop
 *
 * One viewer controls: the first that wants to, until another one asks; the others observe, and what they send of input is ignored. What a viewer has pressed and not released is
 * released when it loses the keyboard, control, or its connection. While a device has no room, frames wait here, in their order; everything else it sends
 * is heard at once. When too many wait it is not read any more. What waits goes with its control or connection. A viewer that sends what cannot be loses its connection, and nothing else happens.
 *
 * Thread: the main loop.
 */
#ifndef VMM_VIEWERS_H
#define VMM_VIEWERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "devices/input_state.h"
#include "display/display.h"
#include "display/viewer_in.h"
#include "display/viewer_out.h"
#include "vmm/listener.h"
#include "vmm/loop.h"

#define VIEWERS_MAX 8
#define VIEWERS_ALLOW_MAX 16
#define VIEWERS_LATE_MAX 64 /* frames of a viewer that wait for room */
#define VIEWERS_HELLO_NS 10000000000u /* how long one may be connected without saying who it is */

struct viewers;

/* What is on its way to the display's loop. */
struct viewer_mail {
	bool start, stop;
	enum { VIEWER_PACE_AS_IT_WAS, VIEWER_PACE_ON, VIEWER_PACE_OFF } pace;
	uint32_t released, presented, outputs; /* bits of scanouts */
	uint64_t release[DISPLAY_SCANOUTS_MAX], present[DISPLAY_SCANOUTS_MAX], presented_ns[DISPLAY_SCANOUTS_MAX];
	struct viewer_output output[DISPLAY_SCANOUTS_MAX];
	bool has_imports;
	struct viewer_formats *imports; /* NULL: none; whoever takes the mail has it */
};

struct viewer_conn {
	struct viewers *owner;
	unsigned index; /* below VIEWERS_MAX */
	struct loop_source src;
	struct loop_timer patience;
	enum { VIEWER_GREETING, VIEWER_ACTIVE, VIEWER_CLOSING } state;
	bool is_kept; /* inherited: its descriptor outlives a restart */
	bool wants; /* to control */
	bool role_new, input_new; /* to be told */
	uint32_t number;
	pid_t pid;
	char name[VIEWER_NAME_LEN];
	bool takes_dmabufs; /* both can */
	bool said_imports; /* that it imports nothing, in the log */
	bool imports_any; /* as it has said last */
	char imports_why[VIEWER_WHY_LEN]; /* it imports nothing, as it says; printable */
	struct viewer_in_input late[VIEWERS_LATE_MAX]; /* frames for a guest that is late, a ring; without events: what is held comes up */
	unsigned late_first, nlate; /* all of them: it is not read */
	int wheel[2]; /* the rest of a notch, vertical and horizontal */
	struct viewer_out out; /* the display's loop's */
	struct loop_post there, back, lost;
	enum viewer_bye_reason lost_reason;
	char lost_text[VIEWER_TEXT_LEN];
	pthread_mutex_t lock; /* guards: */
	bool is_posted;
	struct viewer_mail mail;
};

struct viewers_ops {
	/* A frame for the first device of its kind, ready for input_send. */
	void (*input)(void *ctx, const struct viewer_conn *c, enum viewer_device device, const struct input_ev *ev, unsigned n);
	/* Whether that loses no other frame; if not, viewers_room says when it may be different. */
	bool (*has_room)(void *ctx, enum viewer_device device);
	/* What @c holds comes up. */
	void (*release)(void *ctx, const struct viewer_conn *c);
	void (*action)(void *ctx, enum viewer_action_kind action);
	/* Fills in what there is. */
	void (*input_state)(void *ctx, struct viewer_input_state *s);
	/* "connected", "left", "controls". */
	void (*event)(void *ctx, const struct viewer_conn *c, const char *what);
	/* The inherited one is gone. */
	void (*kept_gone)(void *ctx);
};

/* Embedded in its owner. */
struct viewers {
	struct loop *loop; /* NULL: not there */
	struct display *display; /* NULL: there is none */
	const char *vm;
	bool has_dmabufs; /* pictures may be sent as dma-bufs on a GPU; set before anyone connects, with: */
	uint32_t render_major, render_minor; /* the device of the render node they come from */
	const struct viewers_ops *ops;
	void *ctx;
	struct listener listener;
	uid_t allow[VIEWERS_ALLOW_MAX];
	unsigned nallow; /* 0: only this user, and root */
	uint32_t came;
	unsigned n; /* connections, those that close included */
	bool is_stopping;
	struct viewer_conn *conn[VIEWERS_MAX];
	struct viewer_conn *controller;
	uint64_t refused; /* connections that were closed for what they sent */
};

/* @display: its loop may be another one, and runs until loop is NULL after viewers_stop. NULL: none. @vm: its name, borrowed. */
void viewers_init(struct viewers *vs, struct loop *loop, struct display *display, const char *vm, const struct viewers_ops *ops, void *ctx);
/* Serves a listening socket, which stays the caller's. Return: 0 or -errno (logged). */
int viewers_listen(struct viewers *vs, int fd);
/* A connection that is there already, from a socketpair with process @pid. @fd stays open, and the caller's, when it ends. Return: 0 or -ENOMEM. */
int viewers_add(struct viewers *vs, int fd, pid_t pid);

/* Input's state is different from what viewers were told. */
void viewers_input_changed(struct viewers *vs);

/* A device that had no room has some again. */
void viewers_room(struct viewers *vs);

/* Says goodbye to everybody. The display's loop has let go of all of them when loop is NULL: until then the main loop must be served. Accepts zeroed memory. */
void viewers_stop(struct viewers *vs, enum viewer_bye_reason reason);

unsigned viewers_count(const struct viewers *vs); /* that have said hello */

#endif
