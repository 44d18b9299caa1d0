/* SPDX-License-Identifier: MIT */
/*
 * Pictures that leave as dma-bufs: buffers of ours on the render node, which another process may import where it draws, and copies into them that the GPU makes; and textures as they are, without a copy.
 *
 * A copy is queued, and there when a fence that is made behind it has been passed. Buffers are as their driver likes them (tiled, in several planes): what it says of that goes along.
 *
 * Thread: the one that opened the display; its base context is current in all of these.
 */
#ifndef DEVICES_GPU_EXPORT_H
#define DEVICES_GPU_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/gpu_egl.h"
#include "display/display.h"

struct gpu_export {
	struct gpu_egl *egl; /* NULL: nothing can be exported */
	unsigned framebuffer[2]; /* to read from and to draw into; 0: not yet */
	unsigned sink, pixel; /* a framebuffer of one pixel, and that */
	char no_direct[80]; /* why textures cannot leave as they are, for people; empty: they can */
};

/* Zeroed memory is none. */
struct gpu_export_image {
	unsigned texture; /* 0: none */
	void *bo; /* GBM's */
	uint32_t width, height;
};

/* Whether @egl's display can, which is tried with a small buffer. Return: 0, or -errno with @why for people; then x->egl is NULL. */
int gpu_export_open(struct gpu_export *x, struct gpu_egl *egl, char *why, size_t why_len);
void gpu_export_close(struct gpu_export *x); /* no image is left; accepts zeroed memory */

/* @opaque: alpha says nothing. @linear: in rows, as any GPU can read it, and not as the driver likes it. @p: gets the picture with descriptors that become the caller's. Return: 0 or -errno. */
int gpu_export_image_init(struct gpu_export *x, struct gpu_export_image *im, uint32_t width, uint32_t height, bool opaque, bool linear, struct display_picture *p);
void gpu_export_image_finish(struct gpu_export *x, struct gpu_export_image *im); /* accepts zeroed memory; whoever has imported it keeps what is in it */

/* The part of a texture that begins at @x, @y and is as large as the image, into that. @is_upside_down: the texture, which is @texture_height high, has its first row at the end. Return: 0 or -errno. */
struct gpu_export_part {
	unsigned texture;
	uint32_t x, y, texture_height;
	bool is_upside_down;
};
int gpu_export_copy(struct gpu_export *x, const struct gpu_export_part *from, const struct gpu_export_image *to);

/* The @width by @height pixels of @texture, where they are, as a picture with descriptors that become the caller's. @opaque: alpha says nothing. Return: 0 or -errno. */
int gpu_export_texture(struct gpu_export *x, unsigned texture, uint32_t width, uint32_t height, bool opaque, struct display_picture *p);

/* A fence that is made next in the base context is passed when all that was drawn in @texture is there, whichever context drew it. Return: 0 or -errno. */
int gpu_export_await(struct gpu_export *x, unsigned texture);

/* For tests, where there is no GPU: makes the storage of the texture that is bound, and a picture of something. NULL: GBM does. */
void gpu_export_set_test_storage(int (*storage)(uint32_t width, uint32_t height, bool opaque, bool linear, unsigned texture, struct display_picture *p));
/* The same for textures that are exported. */
void gpu_export_set_test_texture(int (*texture)(unsigned texture, struct display_picture *p));

#endif
