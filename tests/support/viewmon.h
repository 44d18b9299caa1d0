/* SPDX-License-Identifier: MIT */
/* Plays the monitor for tests of a viewer: sends its messages over a socket, also such as no monitor would send, and reads what the viewer says. All asserted. */
#ifndef TESTS_SUPPORT_VIEWMON_H
#define TESTS_SUPPORT_VIEWMON_H

#include <stddef.h>
#include <stdint.h>

#include "display/viewer_proto.h"

struct viewmon {
	int fd; /* the monitor's end; non-blocking */
	int viewer_fd; /* the viewer's; whoever takes it sets it to -1 */
	uint64_t packet[VIEWER_PACKET_MAX / 8]; /* what viewmon_read read */
};

void viewmon_init(struct viewmon *m);
void viewmon_finish(struct viewmon *m); /* closes what is not closed */

void viewmon_send(struct viewmon *m, const void *message, size_t len);
/* With @n descriptors of one new memfd of @size bytes and these @seals, closed here afterwards. @fill: its bytes. */
void viewmon_send_memfd(struct viewmon *m, const void *message, size_t len, unsigned n, uint64_t size, int seals, uint8_t fill);
/* @fd stays the caller's. */
void viewmon_send_fd(struct viewmon *m, const void *message, size_t len, int fd);

/* Messages as a good monitor sends them. */
void viewmon_hello(struct viewmon *m, unsigned nscanouts);
void viewmon_mode(struct viewmon *m, unsigned scanout, uint32_t width, uint32_t height);
struct viewer_buffer viewmon_make_buffer(uint64_t id, uint32_t width, uint32_t height);
void viewmon_buffer(struct viewmon *m, uint64_t id, uint32_t width, uint32_t height);
void viewmon_gone(struct viewmon *m, uint64_t id);
/* All of the buffer is shown, and @r of it is new. */
struct viewer_frame viewmon_make_frame(unsigned scanout, uint64_t buffer, uint64_t number, uint32_t width, uint32_t height, struct viewer_rect r);
void viewmon_frame(struct viewmon *m, unsigned scanout, uint64_t buffer, uint64_t number, uint32_t width, uint32_t height, struct viewer_rect r);
void viewmon_input_state(struct viewmon *m, uint32_t has, uint32_t driven, uint32_t leds);
void viewmon_role(struct viewmon *m, uint32_t controls);
void viewmon_bye(struct viewmon *m, uint32_t reason, const char *text);

/* The next message of the viewer's, or NULL; valid until the next call. @type: those of other types are skipped; 0: any. */
const void *viewmon_read(struct viewmon *m, uint32_t type);

#endif
