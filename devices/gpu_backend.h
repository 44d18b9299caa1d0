/* SPDX-License-Identifier: MIT */
/*
 * What carries out a graphics device's commands: 2D on plain memory (gpu_2d.c), and 3D by virglrenderer (gpu_virgl.c).
 *
 * In front of it (gpu_cmd.c) every number a guest says is checked: resources exist, once; rectangles are inside; backing is long enough; memory and counts are within their limits.
 * Operations are messages: numbers, ranges of guest memory, descriptors. No pointer and no handle of a graphics library is part of them beyond the call, so that
 * a backend can move into a process of its own without the front noticing.
 *
 * A resource is known by the guest's number for it. A picture is what a scanout shows: memory that others can map, with a number of the backend's that it does not use again.
 *
 * Errors are -errno: -ENOMEM becomes OUT_OF_MEMORY, everything else UNSPEC. After one the backend is as before.
 *
 * Thread: the device's loop.
 */
#ifndef DEVICES_GPU_BACKEND_H
#define DEVICES_GPU_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/gpu_proto.h"
#include "display/display.h"
#include "vmm/gmem.h"

/* Of guest memory, wholly in it. */
struct gpu_range {
	uint64_t gpa, len;
};

/* How a picture lies in memory. */
struct gpu_layout {
	enum gpu_format format;
	uint32_t width, height;
	uint32_t stride; /* bytes */
	uint64_t offset; /* bytes, of the first pixel */
};

/* A 3D resource, as the guest says it; sizes are within limits (gpu_3d.h). */
struct gpu_texture {
	uint32_t target, format, bind;
	uint32_t width, height, depth;
	uint32_t array_size, last_level, nr_samples;
	uint32_t flags;
};

/* A part of a 3D resource and where it lies in the backing. It is inside the resource. */
struct gpu_transfer {
	uint32_t x, y, z, w, h, d;
	uint32_t level;
	uint64_t offset; /* bytes, not behind the backing's end */
	uint32_t stride, layer_stride; /* bytes */
};

struct gpu_capset {
	uint32_t id, version, size;
};

#define GPU_CAPSETS_MAX 2
#define GPU_COPIES_MAX 10 /* of a scanout: one for each viewer, one on its way, and one that is the newest */

struct gpu_backend;

struct gpu_backend_ops {
	int (*create_2d)(struct gpu_backend *b, uint32_t id, enum gpu_format format, uint32_t width, uint32_t height);
	/* Bytes in guest memory; attach follows. */
	int (*create_blob)(struct gpu_backend *b, uint32_t id);
	/* No scanout shows it. */
	void (*unref)(struct gpu_backend *b, uint32_t id);

	/* The @n ranges, one after another, are the resource's memory in the guest. It had none. */
	int (*attach)(struct gpu_backend *b, uint32_t id, const struct gpu_range *ranges, unsigned n);
	void (*detach)(struct gpu_backend *b, uint32_t id);

	/* Brings a rectangle from the backing, where its first pixel is at @offset and rows are as far apart as the resource is wide. All of it is there. */
	int (*transfer_2d)(struct gpu_backend *b, uint32_t id, const struct display_rect *r, uint64_t offset);

	/* The scanout shows @crop of the resource; its picture is *@picture. @layout: where it lies in a blob; NULL for a 2D resource. @id 0: it shows nothing. */
	int (*show)(struct gpu_backend *b, unsigned scanout, uint32_t id, const struct gpu_layout *layout, const struct display_rect *crop, uint64_t *picture);
	/* A picture that show said, at most once for each. The descriptor becomes the caller's. One that is_guest is the resource's, also on other scanouts, until it is shown with
	 * another layout or a scanout that shows it shows nothing; then it is counted no longer, and whoever has it lets go. Others are their scanout's. */
	int (*export)(struct gpu_backend *b, uint64_t picture, struct display_picture *p);
	/* The rectangle of what the scanout shows has changed: brings its picture up to date. */
	int (*flush)(struct gpu_backend *b, unsigned scanout, const struct display_rect *r);
	/* Somebody is about to read the memory of what the scanout shows (display.h, display_set_refresh): brings all of it there that is not. NULL: a flush has done that. */
	void (*refresh)(struct gpu_backend *b, unsigned scanout);

	/* Has the GPU copy what the scanout shows, a 3D resource, into its picture @copy (below GPU_COPIES_MAX), which others can import and nobody looks at now. Where there is none it is made (@linear: in rows, as any GPU can read it), as large as what is
	 * shown, and *@p is it, with descriptors that become the caller's. It is there when backend->retired is called with *@fence, or a later one. NULL: none can be made. */
	int (*copy)(struct gpu_backend *b, unsigned scanout, unsigned copy, bool linear, struct display_picture *p, uint64_t *fence);
	void (*drop_copy)(struct gpu_backend *b, unsigned scanout, unsigned copy); /* there may be none */

	/* A 3D resource that can be shown, as a picture others can import where the guest draws: *@p, with descriptors that become the caller's. NULL: there are none. */
	int (*export_texture)(struct gpu_backend *b, uint32_t id, struct display_picture *p);
	/* All that was drawn in it up to now is there when backend->retired is called with *@fence, or a later one. */
	int (*await_texture)(struct gpu_backend *b, uint32_t id, uint64_t *fence);

	/* A 2D resource of DISPLAY_CURSOR_SIZE both ways, or a blob that begins with so many pixels, as struct display_cursor wants it. */
	int (*read_cursor)(struct gpu_backend *b, uint32_t id, uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE]);

	/*
	 * 3D; all NULL in a backend that has none. Resources are shared with 2D: attach, detach, unref, show, flush and read_cursor take both.
	 *
	 * When the host's GPU is reset what textures and contexts had is lost. Then nothing draws, each command that would is an error, and fences are done, until reset.
	 */

	int (*create_3d)(struct gpu_backend *b, uint32_t id, const struct gpu_texture *t);
	/* Between the backing, which there is, and the resource. */
	int (*transfer_to_3d)(struct gpu_backend *b, uint32_t ctx, uint32_t id, const struct gpu_transfer *t);
	int (*transfer_from_3d)(struct gpu_backend *b, uint32_t ctx, uint32_t id, const struct gpu_transfer *t);
	/* @capset: the one of capsets it is for; 0: the first. */
	int (*create_context)(struct gpu_backend *b, uint32_t ctx, uint32_t capset, const char *name);
	void (*destroy_context)(struct gpu_backend *b, uint32_t ctx);
	void (*attach_context)(struct gpu_backend *b, uint32_t ctx, uint32_t id);
	void (*detach_context)(struct gpu_backend *b, uint32_t ctx, uint32_t id);
	/* @words: a copy that nobody changes meanwhile, 8-byte aligned. */
	int (*submit)(struct gpu_backend *b, uint32_t ctx, void *words, uint32_t nwords);
	/* One of capsets into its size of bytes. */
	void (*read_capset)(struct gpu_backend *b, uint32_t id, uint32_t version, void *set);
	/* backend->retired is called with *@fence, or a later one, when all that came before is done. Not from within. */
	int (*fence)(struct gpu_backend *b, uint64_t *fence);
	/* Bytes that the host has given, to this process and of its GPU (gpu_usage.h). NULL: they need not be known. */
	uint64_t (*memory)(struct gpu_backend *b);
	/* poll_fd is readable. */
	void (*poll)(struct gpu_backend *b);

	/* The last call on the device's thread but destroy; all has been reset. NULL: nothing to do. */
	void (*close)(struct gpu_backend *b);

	/* Everything is gone. After a loss there is a new renderer, with another poll_fd, or -1: none could be had. */
	void (*reset)(struct gpu_backend *b);
	void (*destroy)(struct gpu_backend *b);
};

struct gpu_backend {
	const struct gpu_backend_ops *ops;
	/* Since it was made; may be read by any thread (atomic). */
	uint64_t copied_bytes; /* from guest memory */
	uint64_t copy_steps; /* for those: pieces of guest memory left behind and copied from, which for one copy are no more than two for each piece and one for each row */
	uint64_t blobs_shared, blobs_copied; /* times that a scanout was given a blob that sinks map where it is, or one that is copied */
	uint64_t blob_pieces, blob_pieces_max; /* of guest memory, neighbours joined: of the blob that was shown last, and of the one that had the most */
	uint64_t read_bytes; /* of 3D pictures, for those who look at them */
	uint64_t losses; /* of 3D: times that the host's GPU was reset, and all that was there is lost */

	/* 3D: what the guest may be told, in order; 0: no 3D. */
	unsigned ncapsets;
	struct gpu_capset capset[GPU_CAPSETS_MAX];
	int poll_fd;
	void (*retired)(void *ctx, uint64_t fence); /* of gpu_init */
	void *retired_ctx;
};

/* The code Linux has for a format; 0 for one that is not in the specification. */
uint32_t gpu_format_fourcc(uint32_t format);
/* A renderer's format as what scanouts show: one that samplers take for sRGB has the same bytes as the one without. All others are themselves. */
uint32_t gpu_format_shown(uint32_t format);
/* Alpha says nothing in it. */
bool gpu_format_is_opaque(uint32_t format);

struct gpu_share;

/* On memfds and plain memory. @images_max: how many there may be at once; each is a descriptor of this process. @share: blobs are not copied where it takes them; stays the caller's;
 * NULL: all are copied. Return: NULL when there is no memory (logged). */
struct gpu_backend *gpu_2d_create(const struct gmem *mem, unsigned images_max, const struct gpu_share *share);

#endif
