/* SPDX-License-Identifier: MIT */
/*
 * A guest's resources as the front of the graphics device keeps them: what exists, how large it is, what backs it, what it costs.
 *
 * Thread: the device's loop.
 */
#ifndef DEVICES_GPU_RESOURCE_H
#define DEVICES_GPU_RESOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/gpu_backend.h"
#include "devices/gpu_proto.h"
#include "devices/gpu_table.h"
#include "display/display.h"

#define GPU_RESOURCES_MAX 16384
#define GPU_BACKING_ENTRIES_MAX 16384 /* of one resource */
#define GPU_RESOURCE_COST 512 /* bytes of the budget for keeping track of one, here and in the backend */
#define GPU_ENTRY_COST 16 /* for a piece of backing */

struct virtq_chain;

/* What a texture costs, as long as somebody has it: the guest, and what contexts have made of it (gpu_objects.h). */
struct gpu_charge {
	uint64_t cost; /* taken from the budget */
	unsigned refs;
	unsigned places; /* of contexts that it is bound at, and the renderer knows by its address alone */
	uint64_t drawn; /* gpu_objects_follow's last mark */
};

struct gpu_resource {
	struct gpu_entry entry; /* its number */
	bool is_blob, is_3d;
	struct gpu_texture texture; /* 3D */
	enum gpu_format format; /* 2D, and 3D that can be shown */
	uint32_t width, height; /* of these: pixels; 0: it cannot be shown */
	uint64_t size; /* bytes: of a blob, a 2D image, or about a texture */
	unsigned ncontexts; /* it is attached to */
	bool has_backing;
	uint64_t backing_len; /* bytes in all */
	uint64_t first_piece; /* bytes of that */
	uint64_t backing_cost, cost; /* taken from the budget; the second one not of 3D */
	struct gpu_charge *charge; /* 3D: in its place */
	struct display_buffer *buffer; /* of a 2D one that was shown, which has taken over what the image costs; or of a blob that sinks map */
	uint64_t picture; /* the backend's number of the second kind */
};

struct gpu;

struct gpu_resource *gpu_resource_find(struct gpu *g, uint32_t id);

/**
 * gpu_resource_create - a new one, here and in the backend
 * @res: what it is; its number, checked not to exist and not to be 0 by the caller
 *
 * Return: GPU_RESP_OK_NODATA or an error.
 */
enum gpu_wire_type gpu_resource_create(struct gpu *g, const struct gpu_resource *res);
void gpu_resource_destroy(struct gpu *g, struct gpu_resource *res); /* no scanout shows it */

/* Takes @n pieces of backing from @c, each checked. Return: GPU_RESP_OK_NODATA or an error; then there is no backing, as before. */
enum gpu_wire_type gpu_resource_attach(struct gpu *g, struct gpu_resource *res, struct virtq_chain *c, uint32_t n);
void gpu_resource_detach(struct gpu *g, struct gpu_resource *res); /* it has backing */

void gpu_charge_unref(struct gpu *g, struct gpu_charge *charge); /* the last one gives back */

/* What sinks map of a 2D one. Return: borrowed, or NULL when there is no memory. */
struct display_buffer *gpu_resource_buffer(struct gpu *g, struct gpu_resource *res, uint64_t picture);

/* Host memory for what @fmt names, @n bytes of what gpu.max_host_memory allows. Return: whether there was as much; else that is reported. Given back with display_budget_give. */
bool gpu_take_memory(struct gpu *g, uint64_t n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* What a backend's -errno is to a driver. */
enum gpu_wire_type gpu_error(int r);

#endif
