/* SPDX-License-Identifier: MIT */
/*
 * The viewer protocol as its bytes are; what they mean and in which order they come is in docs/display-protocol.md.
 *
 * A UNIX socket of type SOCK_SEQPACKET: one message is one packet and begins with struct viewer_header. Numbers are little-endian, as on every machine this runs on, and lie where C puts
 * them: there is no padding in any message. A packet that is longer than its message is from a newer peer: the rest is ignored. One that is shorter, or of more than
 * VIEWER_PACKET_MAX bytes, ends the connection; one of unknown type is ignored.
 *
 * Both sides include this header and nothing else of each other.
 */
#ifndef DISPLAY_VIEWER_PROTO_H
#define DISPLAY_VIEWER_PROTO_H

#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "viewer messages are little-endian");

#define VIEWER_VERSION 1 /* of the protocol; another one is refused with VIEWER_BYE_VERSION */
#define VIEWER_PACKET_MAX 32768 /* bytes */
#define VIEWER_FDS_MAX 4 /* descriptors that come with a packet */
#define VIEWER_RECTS_MAX 16
#define VIEWER_EVENTS_MAX 64 /* of one input frame */
#define VIEWER_FORMATS_MAX 256
#define VIEWER_NAME_LEN 64 /* bytes, the last of them 0 */
#define VIEWER_TEXT_LEN 256 /* bytes, the last of them 0 */
#define VIEWER_WHY_LEN 128 /* bytes, the last of them 0 */
#define VIEWER_CURSOR_SIZE 64 /* pixels, both ways */

enum viewer_type {
	/* monitor to viewer */
	VIEWER_HELLO = 1,
	VIEWER_MODE = 2,
	VIEWER_BUFFER = 3,
	VIEWER_BUFFER_GONE = 4,
	VIEWER_FRAME = 5,
	VIEWER_CURSOR_IMAGE = 6,
	VIEWER_CURSOR = 7,
	VIEWER_INPUT_STATE = 8,
	VIEWER_ROLE = 9,
	VIEWER_BYE = 10,

	/* viewer to monitor */
	VIEWER_CLIENT_HELLO = 65,
	VIEWER_RELEASE = 66,
	VIEWER_PRESENTED = 67,
	VIEWER_OUTPUT = 68,
	VIEWER_INPUT = 69,
	VIEWER_FOCUS = 70,
	VIEWER_CONTROL = 71,
	VIEWER_ACTION = 72,
	VIEWER_IMPORTS = 73,
};

struct viewer_header {
	uint32_t type; /* enum viewer_type */
	uint32_t zero;
};

struct viewer_rect {
	uint32_t x, y, w, h; /* pixels */
};

/*
 * Monitor to viewer.
 */

#define VIEWER_CAN_DMABUF 1u /* features: pictures may be dma-bufs on a GPU */
#define VIEWER_CAN_GUEST 2u /* pictures may be the guest's own memory */

/* The answer to a VIEWER_CLIENT_HELLO. */
struct viewer_hello {
	struct viewer_header hdr;
	uint32_t version; /* VIEWER_VERSION */
	uint32_t features; /* VIEWER_CAN_*: both sides can */
	uint32_t nscanouts; /* 0: the VM has no display */
	uint32_t viewer; /* this viewer's number, from 1 */
	uint32_t render_major, render_minor; /* the device of the render node pictures come from; 0, 0: none */
	uint8_t vm[VIEWER_NAME_LEN]; /* its name */
};

#define VIEWER_MODE_PLUGGED 1u /* the output is plugged in */
#define VIEWER_MODE_SHOWS 2u /* and the guest shows something on it */

/* What a scanout is; after the hello for each of them, then when it changes. */
struct viewer_mode {
	struct viewer_header hdr;
	uint32_t scanout;
	uint32_t flags; /* VIEWER_MODE_* */
	uint32_t width, height; /* pixels the guest shows; the preferred mode while it shows nothing */
	uint32_t refresh_mhz; /* millihertz */
	uint32_t width_mm, height_mm; /* of the monitor the guest is told about */
	uint32_t zero;
};

enum viewer_kind {
	VIEWER_MEMFD = 1, /* sealed: can be mapped, to read; never shrinks */
	VIEWER_DMABUF = 2, /* a descriptor for each plane; can be imported, not mapped. Nobody paints in it while a frame in it is not released */
	VIEWER_GUEST = 3, /* a dma-buf that can be mapped, to read: the guest's memory, whatever is in it. As large as lseek says, for ever */
};

#define VIEWER_BUFFER_Y_INVERTED 1u /* row 0 is at the bottom */
#define VIEWER_BUFFER_OPAQUE 2u /* alpha says nothing */

/* A picture, once, before the first frame in it. Comes with a descriptor for each plane. */
struct viewer_buffer {
	struct viewer_header hdr;
	uint64_t id; /* never used again on this connection */
	uint64_t modifier; /* of a dma-buf: DRM_FORMAT_MOD_* */
	uint64_t len; /* of what can be mapped: bytes; 0 for a dma-buf */
	uint32_t kind; /* enum viewer_kind */
	uint32_t flags; /* VIEWER_BUFFER_* */
	uint32_t fourcc; /* DRM_FORMAT_* */
	uint32_t width, height; /* pixels */
	uint32_t nplanes; /* 1 to 4; 1 for what can be mapped */
	uint32_t offset[4], stride[4]; /* bytes */
};

/* No frame will be in it any more. */
struct viewer_buffer_gone {
	struct viewer_header hdr;
	uint64_t id;
};

/* The newest picture of a scanout. There is no next one before a VIEWER_RELEASE of this one. */
struct viewer_frame {
	struct viewer_header hdr;
	uint64_t buffer;
	uint64_t number; /* of the scanout's frames; those between two that are sent were replaced */
	uint64_t flushed_ns, sent_ns; /* CLOCK_MONOTONIC: when the guest said so, when this was sent */
	uint64_t input_ns; /* the last input event that the guest had got before, by the viewer's own time in it; 0: none since the last frame */
	uint32_t scanout;
	uint32_t flags; /* 0 */
	struct viewer_rect crop; /* of the buffer: what the scanout shows */
	uint32_t nrects; /* 1 to VIEWER_RECTS_MAX */
	uint32_t zero;
	struct viewer_rect rect[VIEWER_RECTS_MAX]; /* what has changed since the last frame that was sent, from the crop's corner; only nrects of them are sent */
};

/* The image of the guest's pointer on a scanout; pixels follow, rows from the top: 0xAARRGGBB, colours multiplied by alpha. */
struct viewer_cursor_image {
	struct viewer_header hdr;
	uint32_t scanout;
	uint32_t width, height; /* pixels, VIEWER_CURSOR_SIZE at most */
	uint32_t hot_x, hot_y; /* the pixel that points */
	uint32_t zero;
};

/* Where the image's first pixel is. */
struct viewer_cursor {
	struct viewer_header hdr;
	uint32_t scanout;
	uint32_t visible; /* 0 or 1 */
	int32_t x, y;
};

#define VIEWER_HAS_KEYBOARD 1u /* a device of this kind is configured */
#define VIEWER_HAS_MOUSE 2u
#define VIEWER_HAS_TABLET 4u
#define VIEWER_HAS_TOUCH 8u

/* What input the guest takes; after the hello, then when it changes. */
struct viewer_input_state {
	struct viewer_header hdr;
	uint32_t has; /* VIEWER_HAS_* */
	uint32_t driven; /* VIEWER_HAS_*: the guest has a driver for it */
	uint32_t leds; /* of the first keyboard: 1 << LED_CAPSL and so on */
	uint32_t zero;
};

/* Who controls; after the hello, then when it changes. */
struct viewer_role {
	struct viewer_header hdr;
	uint32_t controls; /* 1: this viewer, 0: another one, or none */
	uint32_t controller; /* its number; 0: none */
	uint32_t pid; /* its process, where it is known */
	uint32_t nviewers;
	uint8_t name[VIEWER_NAME_LEN]; /* what it calls itself */
};

enum viewer_bye_reason {
	VIEWER_BYE_END = 1, /* the VM has ended */
	VIEWER_BYE_RESTART = 2, /* it starts again: connect again */
	VIEWER_BYE_VERSION = 3, /* another version of the protocol */
	VIEWER_BYE_PROTOCOL = 4, /* a message that cannot be; text says which */
	VIEWER_BYE_FULL = 5, /* too many viewers, or no memory for one more */
	VIEWER_BYE_SLOW = 6, /* does not read what it is sent */
};

/* The last message. */
struct viewer_bye {
	struct viewer_header hdr;
	uint32_t reason; /* enum viewer_bye_reason */
	uint32_t version; /* VIEWER_VERSION of the monitor */
	uint8_t text[VIEWER_TEXT_LEN];
};

/*
 * Viewer to monitor.
 */

#define VIEWER_OBSERVES 1u /* flags: never wants to control */

struct viewer_format {
	uint64_t modifier;
	uint32_t fourcc;
	uint32_t zero;
};

/* The first message. */
struct viewer_client_hello {
	struct viewer_header hdr;
	uint32_t version; /* VIEWER_VERSION */
	uint32_t features; /* VIEWER_CAN_* */
	uint32_t flags; /* VIEWER_OBSERVES */
	uint32_t nformats; /* at most VIEWER_FORMATS_MAX; with VIEWER_CAN_DMABUF: what it can import. One that does not know yet says so later, and is sent no picture before, for three seconds: VIEWER_IMPORTS */
	uint8_t name[VIEWER_NAME_LEN];
	struct viewer_format format[]; /* nformats of them */
};

/* The viewer has read what it wanted of the frame: the next one may come. */
struct viewer_release {
	struct viewer_header hdr;
	uint64_t number; /* of the frame */
	uint32_t scanout;
	uint32_t zero;
};

/* The frame has been handed to the display: the swap returned. May come after the release or before it, or not at all. */
struct viewer_presented {
	struct viewer_header hdr;
	uint64_t number;
	uint64_t presented_ns; /* CLOCK_MONOTONIC */
	uint32_t scanout;
	uint32_t refresh_mhz; /* millihertz, of the display it is on; 0: not known */
};

/* How the viewer would like an output to be. From the one who controls. */
struct viewer_output {
	struct viewer_header hdr;
	uint32_t scanout;
	uint32_t plugged; /* 0 or 1 */
	uint32_t width, height; /* pixels */
	uint32_t refresh_mhz; /* millihertz; 0: as it is */
	uint32_t width_mm, height_mm; /* 0: 96 dots an inch */
	uint32_t zero;
};

enum viewer_device {
	VIEWER_KEYBOARD = 1, /* EV_KEY */
	VIEWER_MOUSE = 2, /* EV_KEY buttons, REL_X, REL_Y in pixels, REL_WHEEL_HI_RES, REL_HWHEEL_HI_RES in 1/120 of a notch */
	VIEWER_TABLET = 3, /* the same without REL_X, REL_Y, and ABS_X, ABS_Y from 0 to VIEWER_ABS_MAX over what the scanout shows */
	VIEWER_TOUCH = 4, /* ABS_MT_SLOT below VIEWER_SLOTS, ABS_MT_TRACKING_ID, ABS_MT_POSITION_X and _Y as the tablet's */
};

#define VIEWER_ABS_MAX 65535
#define VIEWER_SLOTS 10

/* Events by the names of linux/input-event-codes.h. */
struct viewer_event {
	uint16_t type, code;
	int32_t value;
};

/* One frame of input: what happened at once, without SYN_REPORT. From the one who controls. */
struct viewer_input {
	struct viewer_header hdr;
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	uint32_t device; /* enum viewer_device */
	uint32_t scanout; /* ABS values are over it */
	uint32_t nevents; /* 1 to VIEWER_EVENTS_MAX */
	uint32_t zero;
	struct viewer_event event[]; /* nevents of them */
};

/* The window has the keyboard, or has it no more: then every key and button that is down comes up. */
struct viewer_focus {
	struct viewer_header hdr;
	uint32_t has; /* 0 or 1 */
	uint32_t zero;
};

/* The viewer wants to control from now on, whoever did before; or (0) no more. */
struct viewer_control {
	struct viewer_header hdr;
	uint32_t wants; /* 0 or 1 */
	uint32_t zero;
};

enum viewer_action_kind {
	VIEWER_POWER_BUTTON = 1,
	VIEWER_RESET = 2,
	VIEWER_STOP = 3, /* at once */
};

/* What a person may do to the VM from its window. From the one who controls. */
struct viewer_action {
	struct viewer_header hdr;
	uint32_t action; /* enum viewer_action_kind */
	uint32_t zero;
};

/*
 * What the viewer can import from now on, instead of what its hello said; nothing: it wants pictures in memory, and text says why, for people. A frame that is with it is to be released as ever.
 * Has a meaning where both hellos have VIEWER_CAN_DMABUF.
 */
struct viewer_imports {
	struct viewer_header hdr;
	uint32_t nformats; /* at most VIEWER_FORMATS_MAX */
	uint32_t zero;
	uint8_t text[VIEWER_WHY_LEN];
	struct viewer_format format[]; /* nformats of them */
};

_Static_assert(sizeof(struct viewer_hello) == 32 + VIEWER_NAME_LEN, "no padding");
_Static_assert(sizeof(struct viewer_mode) == 40, "no padding");
_Static_assert(sizeof(struct viewer_buffer) == 88, "no padding");
_Static_assert(sizeof(struct viewer_buffer_gone) == 16, "no padding");
_Static_assert(sizeof(struct viewer_frame) == 80 + 16 * VIEWER_RECTS_MAX, "no padding");
_Static_assert(sizeof(struct viewer_cursor_image) == 32, "no padding");
_Static_assert(sizeof(struct viewer_cursor) == 24, "no padding");
_Static_assert(sizeof(struct viewer_input_state) == 24, "no padding");
_Static_assert(sizeof(struct viewer_role) == 24 + VIEWER_NAME_LEN, "no padding");
_Static_assert(sizeof(struct viewer_bye) == 16 + VIEWER_TEXT_LEN, "no padding");
_Static_assert(sizeof(struct viewer_client_hello) == 24 + VIEWER_NAME_LEN, "no padding");
_Static_assert(sizeof(struct viewer_release) == 24, "no padding");
_Static_assert(sizeof(struct viewer_presented) == 32, "no padding");
_Static_assert(sizeof(struct viewer_output) == 40, "no padding");
_Static_assert(sizeof(struct viewer_input) == 32, "no padding");
_Static_assert(sizeof(struct viewer_focus) == 16, "no padding");
_Static_assert(sizeof(struct viewer_control) == 16, "no padding");
_Static_assert(sizeof(struct viewer_action) == 16, "no padding");
_Static_assert(sizeof(struct viewer_imports) == 16 + VIEWER_WHY_LEN, "no padding");

#endif
