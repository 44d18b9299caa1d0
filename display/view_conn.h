/* SPDX-License-Identifier: MIT */
/*
 * The viewer's end of the viewer protocol: takes what the monitor says, checks all of it (a monitor may be broken, or not be one), and keeps it for whoever draws.
 *
 *   socket -> view_conn_read -> [state, news] -> the window draws, then view_conn_release
 *   socket <- view_conn_send <- keys, pointers, sizes
 *
 * A message that cannot be ends the connection; nothing that a monitor says makes the viewer crash, write where it should not, or map without bound.
 *
 * Thread: one.
 */
#ifndef DISPLAY_VIEW_CONN_H
#define DISPLAY_VIEW_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "display/damage.h"
#include "display/viewer_proto.h"

#define VIEW_SCANOUTS_MAX 16
#define VIEW_PICTURES_MAX 1024 /* that a monitor may have announced at once */
#define VIEW_SIZE_MAX 16384 /* pixels */
#define VIEW_OUT_MAX (256u << 10) /* bytes that wait for a monitor that does not read */

/* A buffer of the monitor's, mapped; or, in planes, with the descriptors to import it by. */
struct view_picture {
	struct view_picture *next;
	unsigned refs; /* scanouts that show it or have a frame in it */
	bool is_gone; /* no frame will be in it any more */
	uint64_t id;
	const uint8_t *map; /* NULL: it is in planes */
	uint64_t len;
	unsigned nplanes; /* 0: it is mapped */
	int plane_fd[VIEWER_FDS_MAX];
	uint32_t plane_offset[VIEWER_FDS_MAX], plane_stride[VIEWER_FDS_MAX];
	uint64_t modifier;
	uint32_t fourcc, width, height, offset, stride;
	bool y_inverted;
	void *import; /* what whoever imports it keeps of it, for the next frame in it; NULL: nothing */
	void (*unimport)(struct view_picture *p); /* drops that; called before the picture goes */
};

/* What there is to look at in a scanout since the one who draws last did. */
#define VIEW_NEWS_MODE 1u
#define VIEW_NEWS_FRAME 2u /* has_frame has become true */
#define VIEW_NEWS_CURSOR 4u
#define VIEW_NEWS_IMAGE 8u

struct view_scanout {
	unsigned news; /* VIEW_NEWS_*; the one who draws clears them */
	bool plugged, shows;
	uint32_t width, height, refresh_mhz;

	bool has_frame; /* that was not released yet */
	uint64_t frame, flushed_ns;
	struct view_picture *picture; /* where the newest frame is; NULL: none */
	struct display_rect crop; /* of it */
	struct display_damage damage; /* of the frame that was not released yet */

	bool cursor_visible;
	bool has_cursor; /* there ever was one */
	int32_t cursor_x, cursor_y;
	uint32_t cursor_width, cursor_height, hot_x, hot_y;
	uint32_t cursor[VIEWER_CURSOR_SIZE * VIEWER_CURSOR_SIZE];
};

enum view_end {
	VIEW_GOES_ON,
	VIEW_END_VM, /* VIEWER_BYE_END */
	VIEW_END_RESTART, /* VIEWER_BYE_RESTART */
	VIEW_END_REFUSED, /* any other VIEWER_BYE */
	VIEW_END_LOST, /* the socket was closed */
	VIEW_END_LIE, /* a message that cannot be */
};

struct view_conn {
	int fd; /* -1: none */
	enum view_end end;
	char why[VIEWER_TEXT_LEN + 64]; /* of an end, for people; printable */

	bool said_hello;
	bool sends_guest; /* pictures that are guest memory */
	bool sends_dmabufs; /* pictures on a GPU, of what view_conn_imports says */
	uint32_t render_major, render_minor; /* the device of the render node those come from */
	uint32_t number; /* of this viewer */
	char vm[VIEWER_NAME_LEN];
	unsigned nscanouts;
	struct view_scanout at[VIEW_SCANOUTS_MAX];

	bool has_input_state;
	uint32_t has, driven, leds;
	bool controls;
	uint32_t controller, controller_pid, nviewers;
	char controller_name[VIEWER_NAME_LEN];

	struct view_picture *pictures;
	unsigned npictures;
	uint8_t *out; /* packets that wait, each behind its length */
	size_t out_len, out_size;
};

/* Never waits. Return: a socket that is connected to @path, or -errno; -EAGAIN: somebody listens there, but takes no more connections for now. */
int view_conn_connect(const char *path);

/* Takes @fd, a connected SOCK_SEQPACKET socket, and says hello in the name of @name. */
void view_conn_init(struct view_conn *c, int fd, const char *name, bool observes);
void view_conn_finish(struct view_conn *c); /* unmaps and closes all; accepts zeroed memory with fd -1 */

/* The same socket, after VIEW_END_RESTART: begins anew. */
void view_conn_again(struct view_conn *c, const char *name, bool observes);

/* Reads what has come, at most a good hundred packets of it; c->end says whether that was the last. Return: true when something has come. */
bool view_conn_read(struct view_conn *c);

/**
 * view_conn_take - one packet
 * @fds: @nfds of them came with it; they are closed here, whatever it was
 */
void view_conn_take(struct view_conn *c, const uint8_t *packet, size_t len, int *fds, unsigned nfds);

/* Sends a message, or keeps it until the monitor reads. One that does not is taken for lost. */
void view_conn_send(struct view_conn *c, const void *message, size_t len);
/* Whether messages wait: then poll for POLLOUT too, and view_conn_flush. */
bool view_conn_waits(const struct view_conn *c);
void view_conn_flush(struct view_conn *c);

/* What can be imported from now on, where the monitor sends that: @n formats, at most VIEWER_FORMATS_MAX; none: @why, for people. */
void view_conn_imports(struct view_conn *c, const struct viewer_format *format, unsigned n, const char *why);

/* What imported pictures may be about to go: what is kept of any is dropped. Accepts what view_conn_finish has left. */
void view_conn_unimport(struct view_conn *c);

/* Everything wanted of the frame of scanout @i has been read. It has one. */
void view_conn_release(struct view_conn *c, unsigned i);

#endif
