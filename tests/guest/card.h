/* SPDX-License-Identifier: MIT */
/* /dev/dri/card0 by the kernel's own calls, without libdrm: what kms.c does its commands with. Every failure leaves errno. */
#ifndef TESTS_GUEST_CARD_H
#define TESTS_GUEST_CARD_H

#include <stdbool.h>
#include <stdint.h>

#include <drm.h>
#include <drm_mode.h>

#define CARD_SCREENS_MAX 16
#define CARD_MODES_MAX 256

/* A screen is a CRTC and a connector of the same place in the kernel's lists: so virtio-gpu has it. */
struct card {
	int fd; /* -1: not open */
	uint32_t crtc[CARD_SCREENS_MAX], connector[CARD_SCREENS_MAX];
	unsigned nscreens;
};

/* A dumb buffer of 32 bits a pixel, or a resource in a format of the device's; all zero when there is none. */
struct buffer {
	uint32_t native; /* VIRTIO_GPU_FORMAT_*; 0: a dumb buffer, whose pixels the driver sends by itself */
	uint32_t handle, fb, pitch, w, h; /* fb: 0 when it has no framebuffer */
	uint32_t resource; /* of a native one: the device's number for it */
	uint64_t size;
	void *map;
};

/* Does nothing when it is open. */
bool card_open(struct card *c);
void card_close(struct card *c);

/* @format: of the framebuffer, DRM_FORMAT_*, or 0 for none. On failure nothing is left, and *what says what failed. */
bool buffer_create(const struct card *c, struct buffer *b, uint32_t w, uint32_t h, uint32_t format, const char **what);
/* The driver has one format for dumb buffers; but it makes resources in any other, if the device has it, for whoever asks. What is in one is sent by buffer_send. */
bool buffer_create_native(const struct card *c, struct buffer *b, uint32_t w, uint32_t h, uint32_t native, uint32_t flags, const char **what);
void buffer_destroy(const struct card *c, struct buffer *b);

/* Sends a rectangle of a native one to the device. Of others the driver does. */
bool buffer_send(const struct card *c, const struct buffer *b, const uint32_t rect[4]);

/* Has the GPU draw a rectangle of one native buffer into the other, where it is there: what a submission does, and no transfer. */
bool buffer_draw(const struct card *c, const struct buffer *to, const struct buffer *from, const uint32_t rect[4]);

/**
 * card_modes - ask the device what a screen is and can
 * @modes: room for CARD_MODES_MAX
 * Return: how many modes there are, -1 on failure.
 */
int card_modes(const struct card *c, unsigned screen, struct drm_mode_get_connector *info, struct drm_mode_modeinfo *modes);

/* The screen's own mode of this size, or else one that is made up, for a virtual screen has no timings. Return: whether it is its own. */
bool card_find_mode(const struct card *c, unsigned screen, uint32_t w, uint32_t h, struct drm_mode_modeinfo *mode);

/* Return: bytes of its EDID in @data; 0 when there is none, -1 on failure or when @len is not enough. */
int card_edid(const struct card *c, unsigned screen, uint8_t *data, uint32_t len);

/* Shows @b on a screen and waits until the kernel says so. */
bool card_flip(const struct card *c, unsigned screen, const struct buffer *b);

/*
 * Waits until the device has done everything it was told before: the driver itself does not wait for what it sends of a picture, and who paints on changes what is
 * not yet on its way. (The cursor has a queue of its own, which this says nothing about.)
 */
bool card_sync(const struct card *c);

#endif
