/* SPDX-License-Identifier: MIT */
/*
 * What a viewer sends, judged: a packet is a message that can be, one of a type nobody knows, or a mistake. Plain memory in, nothing kept.
 *
 * Thread: any; no shared state.
 */
#ifndef DISPLAY_VIEWER_IN_H
#define DISPLAY_VIEWER_IN_H

#include <stddef.h>

#include "display/viewer_proto.h"

/* A message, copied out of its packet. */
union viewer_in {
	struct viewer_header hdr;
	struct viewer_in_hello {
		struct viewer_header hdr;
		uint32_t version, features, flags, nformats;
		uint8_t name[VIEWER_NAME_LEN]; /* ends */
		struct viewer_format format[VIEWER_FORMATS_MAX]; /* nformats of them */
	} hello; /* struct viewer_client_hello with room for its formats */
	struct viewer_release release;
	struct viewer_presented presented;
	struct viewer_output output; /* 1 to 16384 pixels both ways */
	struct viewer_focus focus;
	struct viewer_control control;
	struct viewer_action action;
	struct viewer_in_input {
		struct viewer_header hdr;
		uint64_t time_ns;
		uint32_t device, scanout, nevents, zero;
		struct viewer_event event[VIEWER_EVENTS_MAX]; /* nevents of them; each of a type and value its device can have */
	} input; /* struct viewer_input with room for its events */
	struct viewer_in_imports {
		struct viewer_header hdr;
		uint32_t nformats, zero;
		uint8_t text[VIEWER_WHY_LEN]; /* ends */
		struct viewer_format format[VIEWER_FORMATS_MAX]; /* nformats of them */
	} imports; /* struct viewer_imports with room for its formats */
};

/**
 * viewer_in_parse - judge a packet
 * @nscanouts: there are; a message about another one is a mistake. 0: about any
 * @why: says what is wrong
 *
 * A client hello of another version is none: hdr and version of @m are set then, and the rest is 0.
 * Return: the message's enum viewer_type, 0 for a type nobody knows, -EPROTO for a mistake.
 */
int viewer_in_parse(union viewer_in *m, const void *packet, size_t len, unsigned nscanouts, char *why, size_t why_len);

#endif
