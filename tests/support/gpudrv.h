/* SPDX-License-Identifier: MIT */
/*
 * A driver for virtio-gpu in tests: one function for each command, over real rings, and the display behind the device to look at.
 *
 * Each function carries a command out and returns the type of the answer, which is in v->out with its length in v->out_len. Failures of the driver itself are asserts.
 * Thread: the test's.
 */
#ifndef TESTS_SUPPORT_GPUDRV_H
#define TESTS_SUPPORT_GPUDRV_H

#include "devices/gpu.h"
#include "devices/gpu_share.h"
#include "display/screenshot.h"
#include "tests/support/testdrv.h"

#define GPUDRV_BUDGET (16u << 20)
#define GPUDRV_IMAGES 700

struct gpudrv {
	struct tdrv d;
	struct display display;
	struct gpu gpu;
	struct gpu_share share; /* a test's, or none */
	uint64_t in_gpa, out_gpa, first_out_gpa; /* of the command and the answer; of the first place for answers */
	union {
		struct gpu_wire_hdr hdr;
		struct gpu_wire_display_info info;
		struct gpu_wire_edid edid;
		struct gpu_wire_capset_info capset_info;
		uint8_t bytes[4096];
	} out;
	uint32_t out_len; /* as the used ring says */
	uint32_t out_room; /* bytes left for answers, at most sizeof(out) */
	uint32_t flags; /* of every command */
	uint64_t fence;
	uint32_t ctx; /* of every command; 0: none, or with flags 7 */
	/* Answers may wait, and come in another order: of a flush that somebody who paces has not seen. Without it that is an assert. */
	bool may_wait;
	struct gpudrv_waiting {
		uint32_t head, room;
		uint64_t out_gpa; /* 0: not in use */
	} waiting[GPU_HELD_MAX + 1];
	unsigned nwaiting;
	uint64_t last_fence; /* answered; each has to be a later one, as Linux wants it */
	uint8_t ring; /* of every fence, with its flag */
	uint32_t context_init; /* of every context that is made */
};

/* The type of an answer that waits, which none has. */
#define GPUDRV_WAITS UINT32_MAX

struct gpudrv_entry {
	uint64_t addr;
	uint32_t len, padding;
};

/* @n outputs of 640x480. The device runs. With @render_node (gpu_virgl.h) it has 3D. Return: whether there is that here. */
bool gpudrv_init_3d(struct gpudrv *v, unsigned n, const char *render_node, uint64_t budget);
/* With what @make returns for that memory. */
void gpudrv_init_with(struct gpudrv *v, unsigned n, struct gpu_backend *(*make)(const struct gmem *mem), uint64_t budget);
/* Without 3D. */
void gpudrv_init(struct gpudrv *v, unsigned n, const struct gpu_options *options, uint64_t budget);
void gpudrv_finish(struct gpudrv *v); /* after a reset, which has to give back all that the guest was counted for */
/* DRIVER_OK again, after a reset; memory allocated before is free. */
void gpudrv_start(struct gpudrv *v);

/* Any bytes on queue @q, and nothing is checked. Return: the answer's type, 0 when there is none, GPUDRV_WAITS. */
uint32_t gpudrv_raw(struct gpudrv *v, unsigned q, const void *cmd, size_t len, const void *more, size_t more_len);

/* Takes answers that have waited; each has to be OK and nothing behind it. */
void gpudrv_collect(struct gpudrv *v);

uint32_t gpudrv_get_info(struct gpudrv *v);
uint32_t gpudrv_get_edid(struct gpudrv *v, uint32_t scanout);
uint32_t gpudrv_create(struct gpudrv *v, uint32_t id, uint32_t format, uint32_t width, uint32_t height);
uint32_t gpudrv_unref(struct gpudrv *v, uint32_t id);
uint32_t gpudrv_attach(struct gpudrv *v, uint32_t id, const struct gpudrv_entry *e, uint32_t n);
uint32_t gpudrv_detach(struct gpudrv *v, uint32_t id);
uint32_t gpudrv_transfer(struct gpudrv *v, uint32_t id, struct display_rect r, uint64_t offset);
uint32_t gpudrv_set_scanout(struct gpudrv *v, uint32_t scanout, uint32_t id, struct display_rect r);
uint32_t gpudrv_flush(struct gpudrv *v, uint32_t id, struct display_rect r);
uint32_t gpudrv_create_blob(struct gpudrv *v, uint32_t id, uint64_t size, const struct gpudrv_entry *e, uint32_t n);
uint32_t gpudrv_set_scanout_blob(struct gpudrv *v, uint32_t scanout, uint32_t id, struct display_rect r, const struct gpu_layout *l);
uint32_t gpudrv_cursor(struct gpudrv *v, uint32_t type, uint32_t scanout, uint32_t id, int32_t x, int32_t y, uint32_t hot_x, uint32_t hot_y);

uint32_t gpudrv_capset_info(struct gpudrv *v, uint32_t index);
uint32_t gpudrv_capset(struct gpudrv *v, uint32_t id, uint32_t version);
/* CTX_CREATE, CTX_DESTROY of v->ctx. */
uint32_t gpudrv_ctx(struct gpudrv *v, uint32_t type, const char *name);
/* CTX_ATTACH_RESOURCE, CTX_DETACH_RESOURCE. */
uint32_t gpudrv_ctx_resource(struct gpudrv *v, uint32_t type, uint32_t id);
uint32_t gpudrv_create_3d(struct gpudrv *v, uint32_t id, const struct gpu_texture *t);
/* TRANSFER_TO_HOST_3D, TRANSFER_FROM_HOST_3D. */
uint32_t gpudrv_transfer_3d(struct gpudrv *v, uint32_t type, uint32_t id, const struct gpu_transfer *t);
uint32_t gpudrv_submit(struct gpudrv *v, const uint32_t *words, uint32_t nwords);

/* What scanout @i shows, malloc'ed, rows without gaps: blue, green, red, 255. NULL: nothing. */
uint8_t *gpudrv_shot(struct gpudrv *v, unsigned i, bool cursor, uint32_t *width, uint32_t *height);

#endif
