/* SPDX-License-Identifier: MIT */
/*
 * Pictures in memory that other processes can map, or import where they draw, and who still looks at them.
 *
 * A picture is a descriptor and how the pixels lie in it: a memfd, or, where it is the guest's own memory, a dma-buf that ordinary mmap takes and whose size only its len says; or a dma-buf for each of a
 * picture's planes in memory of a GPU's, which is not mapped at all. A memfd
 * is sealed: its size never changes, so nobody who maps it can be made to fault, and nobody but the one who made it can write it: the descriptor may be given to a viewer.
 *
 * A buffer is a picture with a reference count and a number that is never used again. Its memory is counted in a budget until the last reference is
 * gone, whatever the guest has done with its resource in the meantime: so sinks that hold on to buffers cost the guest its own allowance.
 *
 * Thread: the display's loop, except where noted.
 */
#ifndef DISPLAY_BUFFER_H
#define DISPLAY_BUFFER_H

#include <stdbool.h>
#include <stdint.h>

/* Host memory that a guest may cause, in bytes. */
struct display_budget {
	uint64_t used, max; /* used may be read by any thread (atomic) */
	uint64_t peak;
	void (*gone)(void *ctx, uint64_t buffer); /* the last reference to a buffer of it went; NULL: nobody wants to know */
	void *gone_ctx;
};

/* Return: false when it would be too much; then nothing was taken. */
bool display_budget_take(struct display_budget *b, uint64_t n);
void display_budget_give(struct display_budget *b, uint64_t n);

/* Formats by the codes Linux has for them (drm_fourcc.h, DRM_FORMAT_*): a little-endian word's bits from the top. All have 4 bytes a pixel. */
#define DISPLAY_FOURCC(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define DISPLAY_XRGB8888 DISPLAY_FOURCC('X', 'R', '2', '4')
#define DISPLAY_ARGB8888 DISPLAY_FOURCC('A', 'R', '2', '4')
#define DISPLAY_XBGR8888 DISPLAY_FOURCC('X', 'B', '2', '4')
#define DISPLAY_ABGR8888 DISPLAY_FOURCC('A', 'B', '2', '4')
#define DISPLAY_RGBX8888 DISPLAY_FOURCC('R', 'X', '2', '4')
#define DISPLAY_RGBA8888 DISPLAY_FOURCC('R', 'A', '2', '4')
#define DISPLAY_BGRX8888 DISPLAY_FOURCC('B', 'X', '2', '4')
#define DISPLAY_BGRA8888 DISPLAY_FOURCC('B', 'A', '2', '4')

#define DISPLAY_PLANES_MAX 4

/* Where a picture lies in memory of a GPU's, which whoever imports the descriptors there knows and nobody maps. */
struct display_planes {
	unsigned n; /* 0: it does not; the descriptors are these, and the buffer's */
	int fd[DISPLAY_PLANES_MAX];
	uint32_t offset[DISPLAY_PLANES_MAX], stride[DISPLAY_PLANES_MAX]; /* bytes */
	uint64_t modifier; /* DRM_FORMAT_MOD_* */
	bool is_direct; /* what the guest draws in, and no copy of it */
	bool y_inverted; /* row 0 is at the bottom */
};

struct display_picture {
	int fd; /* -1: it lies in planes, and the numbers below but fourcc, width and height say nothing */
	struct display_planes planes;
	bool is_guest; /* guest memory, which changes whenever the guest likes */
	uint32_t fourcc; /* one of DISPLAY_* */
	uint32_t width, height; /* pixels */
	uint32_t stride; /* bytes from a row to the next, 4 * width or more */
	uint64_t offset, len; /* bytes: of the first pixel, of all that is to be mapped */
};

/* Closes its descriptors, of one that has not become a buffer's. */
void display_picture_close(const struct display_picture *p);

struct display_buffer {
	unsigned refs;
	uint64_t id;
	struct display_picture picture;
	const uint8_t *map; /* display_buffer_map made it; NULL: not yet */
	struct display_budget *budget;
	uint64_t charge; /* bytes taken from it */
	void (*alone)(void *ctx); /* of all references only one is left; NULL: nobody wants to know */
	void *alone_ctx;
};

/**
 * display_memfd - memory of @len bytes that others can map and not write
 * @map: gets the one place it can be written through; unmap it with munmap
 *
 * Return: a descriptor, or -errno. Thread: any.
 */
int display_memfd(const char *name, uint64_t len, uint8_t **map);

/* @picture: its descriptors become the buffer's, also on failure. @charge: bytes that were taken from @budget for it, given back with the last reference.
 * Return: a reference, or NULL (logged; the charge stays the caller's). */
struct display_buffer *display_buffer_create(const struct display_picture *picture, struct display_budget *budget, uint64_t charge);
struct display_buffer *display_buffer_ref(struct display_buffer *b); /* NULL stays NULL */
void display_buffer_unref(struct display_buffer *b); /* accepts NULL */

/* The picture's bytes, read only, mapped at the first call; not of one in planes. Return: where its len bytes are, or NULL (logged). */
const uint8_t *display_buffer_map(struct display_buffer *b);

#endif
