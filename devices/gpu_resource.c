/* SPDX-License-Identifier: MIT */
#include "devices/gpu_resource.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/gpu_3d.h"
#include "devices/gpu_direct.h"
#include "devices/gpu_priv.h"
#include "vmm/log.h"

enum gpu_wire_type gpu_error(int r)
{
	return r == 0 ? GPU_RESP_OK_NODATA : r == -ENOMEM ? GPU_RESP_ERR_OUT_OF_MEMORY : GPU_RESP_ERR_UNSPEC;
}

struct gpu_resource *gpu_resource_find(struct gpu *g, uint32_t id)
{
	return (struct gpu_resource *)gpu_table_find(&g->resources, id);
}

bool gpu_take_memory(struct gpu *g, uint64_t n, const char *fmt, ...)
{
	const struct display_budget *b = &g->display->budget;
	char what[80];
	va_list ap;

	if (display_budget_take(&g->display->budget, n)) {
		return true;
	}
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	/* Rounded away from each other: never equal. */
	log_guest(&g->memory_log_limit, "gpu", "%s needs %llu KiB, gpu.max_host_memory has %llu KiB left", what, (unsigned long long)(n / 1024 + 1), (unsigned long long)((b->max - b->used) / 1024));
	return false;
}

/* What the budget has to have for it, where that can be told from what it is. Return: whether it has been taken, else it is said. */
static bool take_for(struct gpu *g, const struct gpu_resource *res, uint64_t cost)
{
	if (res->is_blob) {
		return gpu_take_memory(g, cost, "keeping track of a blob");
	}
	if (res->is_3d) {
		return gpu_take_memory(g, cost, "a texture of %u x %u x %u", res->texture.width, res->texture.height, res->texture.depth);
	}
	return gpu_take_memory(g, cost, "a picture of %u x %u", res->width, res->height);
}

static struct gpu_charge *create_charge(uint64_t cost)
{
	struct gpu_charge *charge = malloc(sizeof(*charge));

	if (charge) {
		*charge = (struct gpu_charge){.cost = cost, .refs = 1};
	}
	return charge;
}

void gpu_charge_unref(struct gpu *g, struct gpu_charge *charge)
{
	if (--charge->refs == 0) {
		display_budget_give(&g->display->budget, charge->cost);
		free(charge);
	}
}

enum gpu_wire_type gpu_resource_create(struct gpu *g, const struct gpu_resource *res)
{
	uint64_t cost = GPU_RESOURCE_COST + (res->is_blob ? 0 : res->size);
	struct gpu_charge *charge = NULL;
	struct gpu_resource *copy;
	int r;

	if (g->resources.n >= GPU_RESOURCES_MAX) {
		return gpu_refuse(g, GPU_RESP_ERR_OUT_OF_MEMORY, "more than %u resources", GPU_RESOURCES_MAX);
	}
	if (cost < GPU_RESOURCE_COST || !take_for(g, res, cost)) {
		return GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	copy = malloc(sizeof(*copy));
	if (res->is_3d) {
		charge = create_charge(cost);
	}
	if (!copy || (res->is_3d && !charge)) {
		r = -ENOMEM;
	} else if (res->is_blob) {
		r = g->backend->ops->create_blob(g->backend, res->entry.id);
	} else if (res->is_3d) {
		r = g->backend->ops->create_3d(g->backend, res->entry.id, &res->texture);
	} else {
		r = g->backend->ops->create_2d(g->backend, res->entry.id, res->format, res->width, res->height);
	}
	if (r < 0) {
		free(copy);
		free(charge);
		display_budget_give(&g->display->budget, cost);
		return gpu_error(r);
	}
	*copy = *res;
	copy->cost = charge ? 0 : cost;
	copy->charge = charge;
	gpu_table_add(&g->resources, &copy->entry);
	return GPU_RESP_OK_NODATA;
}

void gpu_resource_destroy(struct gpu *g, struct gpu_resource *res)
{
	if (res->has_backing) {
		gpu_resource_detach(g, res);
	}
	if (res->is_3d) {
		gpu_direct_unref(g, res->entry.id);
	}
	gpu_3d_forget_resource(g, res);
	gpu_table_remove(&g->resources, &res->entry);
	g->backend->ops->unref(g->backend, res->entry.id);
	display_buffer_unref(res->buffer);
	display_budget_give(&g->display->budget, res->cost);
	if (res->charge) {
		gpu_charge_unref(g, res->charge);
	}
	free(res);
}

/* Reads and checks what a driver says its memory is. Return: whether it is all there. */
static bool read_ranges(struct gpu *g, struct virtq_chain *c, struct gpu_range *ranges, uint32_t n, uint64_t *total)
{
	*total = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct gpu_wire_entry e;

		virtq_get(c, &e, sizeof(e));
		ranges[i] = (struct gpu_range){.gpa = le64_get(e.addr), .len = le32_get(e.length)};
		if (ranges[i].len == 0 || !gmem_ptr(g->base.mem, ranges[i].gpa, ranges[i].len)) {
			return false;
		}
		*total += ranges[i].len;
	}
	return true;
}

enum gpu_wire_type gpu_resource_attach(struct gpu *g, struct gpu_resource *res, struct virtq_chain *c, uint32_t n)
{
	uint64_t cost = (uint64_t)n * GPU_ENTRY_COST, total;
	struct gpu_range *ranges;
	enum gpu_wire_type answer;

	if (n == 0 || n > GPU_BACKING_ENTRIES_MAX || virtq_get_left(c) < (uint64_t)n * sizeof(struct gpu_wire_entry)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "%u pieces of backing in %zu bytes", n, virtq_get_left(c));
	}
	if (!gpu_take_memory(g, cost, "backing of %u pieces", n)) {
		return GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	ranges = calloc(n, sizeof(*ranges));
	if (!ranges) {
		answer = GPU_RESP_ERR_OUT_OF_MEMORY;
	} else if (!read_ranges(g, c, ranges, n, &total)) {
		answer = gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "backing outside guest memory");
	} else if (res->is_blob && total < res->size) {
		answer = gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "a blob of %llu bytes in %llu", (unsigned long long)res->size, (unsigned long long)total);
	} else {
		answer = gpu_error(g->backend->ops->attach(g->backend, res->entry.id, ranges, n));
	}
	res->first_piece = answer == GPU_RESP_OK_NODATA ? ranges[0].len : 0;
	free(ranges);
	if (answer != GPU_RESP_OK_NODATA) {
		display_budget_give(&g->display->budget, cost);
		return answer;
	}
	res->has_backing = true;
	res->backing_len = total;
	res->backing_cost = cost;
	return answer;
}

void gpu_resource_detach(struct gpu *g, struct gpu_resource *res)
{
	g->backend->ops->detach(g->backend, res->entry.id);
	display_budget_give(&g->display->budget, res->backing_cost);
	res->has_backing = false;
	res->backing_len = 0;
	res->first_piece = 0;
	res->backing_cost = 0;
}

struct display_buffer *gpu_resource_buffer(struct gpu *g, struct gpu_resource *res, uint64_t picture)
{
	struct display_picture p;

	if (!res->buffer && g->backend->ops->export(g->backend, picture, &p) == 0) {
		res->buffer = display_buffer_create(&p, &g->display->budget, res->size);
		if (res->buffer) {
			res->cost -= res->size;
		}
	}
	return res->buffer;
}
