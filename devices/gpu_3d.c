/* SPDX-License-Identifier: MIT */
#include "devices/gpu_3d.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/gpu_direct.h"
#include "devices/gpu_objects.h"
#include "devices/gpu_texture.h"
#include "devices/gpu_usage.h"
#include "devices/gpu_words.h"

struct context {
	struct gpu_entry entry;
	struct gpu_table attached; /* resources, by their numbers; all of them exist */
	struct gpu_objects objects; /* what it has made */
};

static struct context *find_context(struct gpu *g, uint32_t id)
{
	return (struct context *)gpu_table_find(&g->contexts, id);
}

static enum gpu_wire_type no_context(struct gpu *g, uint32_t id)
{
	return gpu_refuse(g, GPU_RESP_ERR_INVALID_CONTEXT_ID, "context %u does not exist", id);
}

static enum gpu_wire_type no_resource(struct gpu *g, uint32_t id)
{
	return gpu_refuse(g, GPU_RESP_ERR_INVALID_RESOURCE_ID, "resource %u does not exist", id);
}

/*
 * Capabilities.
 */

static enum gpu_wire_type get_capset_info(struct gpu *g, struct gpu_command *c)
{
	uint32_t i = le32_get(c->in.get_capset_info.capset_index);

	if (i >= g->backend->ncapsets) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "capability set number %u", i);
	}
	c->out.capset_info.capset_id = le32_of(g->backend->capset[i].id);
	c->out.capset_info.capset_max_version = le32_of(g->backend->capset[i].version);
	c->out.capset_info.capset_max_size = le32_of(g->backend->capset[i].size);
	c->out_len = sizeof(c->out.capset_info);
	return GPU_RESP_OK_CAPSET_INFO;
}

static enum gpu_wire_type get_capset(struct gpu *g, struct gpu_command *c)
{
	uint32_t id = le32_get(c->in.get_capset.capset_id), version = le32_get(c->in.get_capset.capset_version);

	for (unsigned i = 0; i < g->backend->ncapsets; i++) {
		const struct gpu_capset *set = &g->backend->capset[i];

		if (set->id != id) {
			continue;
		}
		if (version > set->version) {
			return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "capability set %u, version %u", id, version);
		}
		/* Zeroed: what the renderer does not fill in goes to the guest too. */
		c->tail = calloc(1, set->size);
		if (!c->tail) {
			return GPU_RESP_ERR_OUT_OF_MEMORY;
		}
		c->tail_len = set->size;
		g->backend->ops->read_capset(g->backend, id, version, c->tail);
		return GPU_RESP_OK_CAPSET;
	}
	return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "capability set %u", id);
}

/*
 * Contexts.
 */

static bool has_capset(const struct gpu *g, uint32_t id)
{
	for (unsigned i = 0; i < g->backend->ncapsets; i++) {
		if (g->backend->capset[i].id == id) {
			return true;
		}
	}
	return false;
}

static enum gpu_wire_type ctx_create(struct gpu *g, struct gpu_command *c)
{
	uint32_t id = le32_get(c->in.hdr.ctx_id), nlen = le32_get(c->in.ctx_create.nlen);
	uint32_t capset = virtio_device_has(&g->base, GPU_F_CONTEXT_INIT) ? le32_get(c->in.ctx_create.context_init) : 0;
	char name[sizeof(c->in.ctx_create.debug_name) + 1] = {0};
	struct context *ctx;
	int r;

	/* 0 is the renderer's own. */
	if (id == 0 || find_context(g, id)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_CONTEXT_ID, id ? "context %u exists" : "context %u cannot be", id);
	}
	if (capset != 0 && !has_capset(g, capset)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "a context for capability set %u", capset);
	}
	if (g->contexts.n >= GPU_CONTEXTS_MAX) {
		return gpu_refuse(g, GPU_RESP_ERR_OUT_OF_MEMORY, "more than %u contexts", GPU_CONTEXTS_MAX);
	}
	if (!gpu_take_memory(g, GPU_CONTEXT_COST, "a context")) {
		return GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	memcpy(name, c->in.ctx_create.debug_name, nlen < sizeof(name) ? nlen : sizeof(name) - 1);
	ctx = calloc(1, sizeof(*ctx));
	r = ctx ? g->backend->ops->create_context(g->backend, id, capset, name) : -ENOMEM;
	if (r < 0) {
		free(ctx);
		display_budget_give(&g->display->budget, GPU_CONTEXT_COST);
		return gpu_error(r);
	}
	ctx->entry.id = id;
	gpu_table_add(&g->contexts, &ctx->entry);
	return GPU_RESP_OK_NODATA;
}

/* Return: false when there is no memory. */
static bool attach(struct gpu *g, struct context *ctx, struct gpu_resource *res)
{
	struct gpu_entry *e;

	if (!gpu_take_memory(g, GPU_ATTACHED_COST, "keeping track of what a context may use")) {
		return false;
	}
	e = calloc(1, sizeof(*e));
	if (!e) {
		display_budget_give(&g->display->budget, GPU_ATTACHED_COST);
		return false;
	}
	e->id = res->entry.id;
	gpu_table_add(&ctx->attached, e);
	res->ncontexts++;
	return true;
}

static void detach(struct gpu *g, struct context *ctx, struct gpu_entry *e)
{
	gpu_resource_find(g, e->id)->ncontexts--;
	gpu_table_remove(&ctx->attached, e);
	display_budget_give(&g->display->budget, GPU_ATTACHED_COST);
	free(e);
}

/* It is bound in some of the contexts, and they do not keep it: each lets go of it. */
static void unbind(struct gpu *g, struct gpu_charge *charge)
{
	for (unsigned i = 0; charge->places > 0 && i < GPU_TABLE_BUCKETS; i++) {
		for (struct gpu_entry *c = g->contexts.bucket[i]; c; c = c->next) {
			gpu_objects_unbind(g, &((struct context *)c)->objects, c->id, charge);
		}
	}
}

void gpu_3d_forget_resource(struct gpu *g, const struct gpu_resource *res)
{
	if (res->charge) {
		unbind(g, res->charge);
	}
	for (unsigned i = 0; res->ncontexts > 0 && i < GPU_TABLE_BUCKETS; i++) {
		for (struct gpu_entry *c = g->contexts.bucket[i]; c; c = c->next) {
			struct context *ctx = (struct context *)c;
			struct gpu_entry *e = gpu_table_find(&ctx->attached, res->entry.id);

			if (e) {
				detach(g, ctx, e);
			}
		}
	}
}

static void destroy(struct gpu *g, struct context *ctx)
{
	struct gpu_entry *e;

	g->backend->ops->destroy_context(g->backend, ctx->entry.id);
	while ((e = gpu_table_any(&ctx->attached))) {
		detach(g, ctx, e);
	}
	gpu_objects_finish(g, &ctx->objects);
	gpu_table_remove(&g->contexts, &ctx->entry);
	display_budget_give(&g->display->budget, GPU_CONTEXT_COST);
	free(ctx);
}

static enum gpu_wire_type ctx_destroy(struct gpu *g, struct gpu_command *c)
{
	uint32_t id = le32_get(c->in.hdr.ctx_id);
	struct context *ctx = find_context(g, id);

	if (!ctx) {
		return no_context(g, id);
	}
	destroy(g, ctx);
	return GPU_RESP_OK_NODATA;
}

unsigned gpu_3d_contexts(const struct gpu *g)
{
	unsigned n = g->contexts.n;

	for (unsigned i = 0; i < GPU_TABLE_BUCKETS; i++) {
		for (const struct gpu_entry *c = g->contexts.bucket[i]; c; c = c->next) {
			n += ((const struct context *)c)->objects.nsubs;
		}
	}
	return n;
}

void gpu_3d_reset(struct gpu *g)
{
	struct gpu_entry *e;

	while ((e = gpu_table_any(&g->contexts))) {
		destroy(g, (struct context *)e);
	}
}

static enum gpu_wire_type ctx_attach_resource(struct gpu *g, struct gpu_command *c)
{
	uint32_t id = le32_get(c->in.resource.resource_id);
	struct context *ctx = find_context(g, le32_get(c->in.hdr.ctx_id));
	struct gpu_resource *res = gpu_resource_find(g, id);

	if (!ctx) {
		return no_context(g, le32_get(c->in.hdr.ctx_id));
	}
	if (!res) {
		return no_resource(g, id);
	}
	/* Twice is once: Linux does that when a buffer is opened twice. */
	if (gpu_table_find(&ctx->attached, id)) {
		return GPU_RESP_OK_NODATA;
	}
	if (!attach(g, ctx, res)) {
		return GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	g->backend->ops->attach_context(g->backend, ctx->entry.id, id);
	return GPU_RESP_OK_NODATA;
}

static enum gpu_wire_type ctx_detach_resource(struct gpu *g, struct gpu_command *c)
{
	uint32_t id = le32_get(c->in.resource.resource_id);
	struct context *ctx = find_context(g, le32_get(c->in.hdr.ctx_id));
	struct gpu_entry *e = ctx ? gpu_table_find(&ctx->attached, id) : NULL;

	if (!ctx) {
		return no_context(g, le32_get(c->in.hdr.ctx_id));
	}
	if (!gpu_resource_find(g, id)) {
		return no_resource(g, id);
	}
	if (e) {
		g->backend->ops->detach_context(g->backend, ctx->entry.id, id);
		detach(g, ctx, e);
	}
	return GPU_RESP_OK_NODATA;
}

/*
 * Textures.
 */

static bool is_texture(const struct gpu_texture *t)
{
	if (t->target >= GPU_TEXTURE_TARGETS || t->width == 0 || t->height == 0 || t->depth == 0 || t->array_size == 0 || t->array_size > GPU_TEXTURE_LAYERS_MAX ||
		t->last_level > GPU_TEXTURE_LEVELS_MAX || t->nr_samples > GPU_TEXTURE_SAMPLES_MAX) {
		return false;
	}
	if (t->target == GPU_TEXTURE_BUFFER) {
		return t->width <= INT32_MAX && t->height == 1 && t->depth == 1 && t->array_size == 1 && t->last_level == 0;
	}
	return t->width <= GPU_TEXTURE_SIZE_MAX && t->height <= GPU_TEXTURE_SIZE_MAX && t->depth <= GPU_TEXTURE_LAYERS_MAX && (t->depth == 1 || t->target == GPU_TEXTURE_3D);
}

static enum gpu_wire_type create_3d(struct gpu *g, struct gpu_command *c)
{
	const struct gpu_wire_create_3d *in = &c->in.create_3d;
	struct gpu_resource res = {
		.entry.id = le32_get(in->resource_id),
		.is_3d = true,
		.texture = {.target = le32_get(in->target), .format = le32_get(in->format), .bind = le32_get(in->bind), .width = le32_get(in->width),
			.height = le32_get(in->height), .depth = le32_get(in->depth), .array_size = le32_get(in->array_size), .last_level = le32_get(in->last_level),
			.nr_samples = le32_get(in->nr_samples), .flags = le32_get(in->flags)},
	};
	enum gpu_wire_type answer = gpu_check_new_id(g, res.entry.id);

	if (answer != GPU_RESP_OK_NODATA) {
		return answer;
	}
	if (!is_texture(&res.texture)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "a texture of kind %u, %u x %u x %u", res.texture.target, res.texture.width, res.texture.height, res.texture.depth);
	}
	if (res.texture.target == GPU_TEXTURE_BUFFER) {
		/* Bytes, whatever is said: the renderer would count in what the format has. */
		res.texture.format = GPU_TEXTURE_FORMAT_BYTES;
	}
	res.size = gpu_texture_bytes(&res.texture);
	if (!gpu_usage_is_fair(g, res.size)) {
		return GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	/* What a scanout shows of one. */
	if (res.texture.target == GPU_TEXTURE_2D && gpu_format_fourcc(gpu_format_shown(res.texture.format)) && res.texture.nr_samples <= 1) {
		res.format = (enum gpu_format)gpu_format_shown(res.texture.format);
		res.width = res.texture.width;
		res.height = res.texture.height;
	}
	return gpu_resource_create(g, &res);
}

/* Whether what the renderer moves ends in the backing, where the format says how long a row is; it looks at that too, and the numbers are such that it can. */
static bool ends_inside(const struct gpu_transfer *r, const struct gpu_texture *t, uint64_t backing_len)
{
	uint64_t pixel = t->target == GPU_TEXTURE_BUFFER ? 1 : gpu_format_fourcc(gpu_format_shown(t->format)) ? GPU_BYTES_PER_PIXEL : 0, row = pixel * r->w, len;

	if (pixel == 0) {
		return true;
	}
	len = row + (uint64_t)(r->h - 1) * (r->stride ? r->stride : row);
	if (r->d > 1) {
		len += (uint64_t)(r->d - 1) * (r->layer_stride ? r->layer_stride : row * r->h);
	}
	return len <= backing_len - r->offset;
}

/* Return: GPU_RESP_OK_NODATA when *@t is a transfer that can be. */
static enum gpu_wire_type check_transfer(struct gpu *g, const struct gpu_command *c, struct gpu_transfer *t)
{
	const struct gpu_wire_transfer_3d *in = &c->in.transfer_3d;
	uint32_t id = le32_get(in->resource_id), ctx = le32_get(in->hdr.ctx_id);
	const struct gpu_resource *res = gpu_resource_find(g, id);

	*t = (struct gpu_transfer){le32_get(in->box.x), le32_get(in->box.y), le32_get(in->box.z), le32_get(in->box.w), le32_get(in->box.h), le32_get(in->box.d),
		le32_get(in->level), le64_get(in->offset), le32_get(in->stride), le32_get(in->layer_stride)};
	if (ctx != 0 && !find_context(g, ctx)) {
		return no_context(g, ctx);
	}
	if (!res) {
		return no_resource(g, id);
	}
	if (!res->is_3d || !res->has_backing) {
		return gpu_refuse(g, GPU_RESP_ERR_UNSPEC, "a 3D transfer with resource %u, which has %s", id, res->is_3d ? "no backing" : "no texture");
	}
	if (!gpu_texture_can_move(&res->texture, t) || t->offset >= res->backing_len || !ends_inside(t, &res->texture, res->backing_len)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "a 3D transfer outside resource %u or its backing", id);
	}
	return GPU_RESP_OK_NODATA;
}

static enum gpu_wire_type transfer_to_host_3d(struct gpu *g, struct gpu_command *c)
{
	struct gpu_transfer t;
	enum gpu_wire_type answer = check_transfer(g, c, &t);

	if (answer != GPU_RESP_OK_NODATA) {
		return answer;
	}
	c->is_early = gpu_direct_must_wait(g, le32_get(c->in.transfer_3d.resource_id));
	if (c->is_early) {
		return GPU_RESP_OK_NODATA;
	}
	gpu_count(&g->counters.transfers);
	return gpu_error(g->backend->ops->transfer_to_3d(g->backend, le32_get(c->in.hdr.ctx_id), le32_get(c->in.transfer_3d.resource_id), &t));
}

static enum gpu_wire_type transfer_from_host_3d(struct gpu *g, struct gpu_command *c)
{
	struct gpu_transfer t;
	uint32_t layers;
	int r = 0;
	enum gpu_wire_type answer = check_transfer(g, c, &t);

	if (answer != GPU_RESP_OK_NODATA) {
		return answer;
	}
	gpu_count(&g->counters.transfers);
	/* The renderer reads one layer, and would fill the others with what lay in its memory. How far apart they are is known where it is said. */
	for (layers = t.layer_stride ? t.d : 1, t.d = 1; r == 0 && layers > 0; layers--) {
		r = g->backend->ops->transfer_from_3d(g->backend, le32_get(c->in.hdr.ctx_id), le32_get(c->in.transfer_3d.resource_id), &t);
		t.z++;
		t.offset += t.layer_stride;
	}
	return gpu_error(r);
}

/*
 * Submissions.
 */

static enum gpu_wire_type submit_3d(struct gpu *g, struct gpu_command *c)
{
	uint32_t size = le32_get(c->in.submit_3d.size);
	struct context *ctx;
	uint64_t mark = 0;
	uint32_t *words;
	bool is_good;
	int r;

	if (!gpu_usage_is_fair(g, GPU_USAGE_SUBMISSION)) {
		return GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	ctx = find_context(g, le32_get(c->in.hdr.ctx_id));
	if (!ctx) {
		return no_context(g, le32_get(c->in.hdr.ctx_id));
	}
	if (size > GPU_SUBMIT_MAX || size % 4 != 0 || virtq_get_left(c->chain) < size) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "a submission of %u bytes in %zu", size, virtq_get_left(c->chain));
	}
	if (size == 0) {
		return GPU_RESP_OK_NODATA;
	}
	/* The renderer reads it more than once, and the guest could change it in between. */
	words = malloc(size);
	if (!words) {
		return GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	virtq_get(c->chain, words, size);
	is_good = gpu_words_check(g, &ctx->attached, words, size / 4);
	if (is_good) {
		mark = gpu_direct_holds(g, &ctx->attached) ? ++g->nmarks : 0;
		is_good = gpu_objects_follow(g, &ctx->objects, &ctx->attached, words, size / 4, mark);
		gpu_count_by(&g->counters.submitted_steps, ctx->objects.nsteps);
	}
	c->is_early = is_good && mark && gpu_direct_must_wait_for(g, &ctx->attached, ctx->objects.draws_anywhere ? 0 : mark);
	if (c->is_early) {
		gpu_objects_undo(g, &ctx->objects);
		free(words);
		return GPU_RESP_OK_NODATA;
	}
	gpu_count_by(&g->counters.submitted_bytes, size);
	if (!is_good) {
		free(words);
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "context %u: a submission that is cut short, or wants what there is not", ctx->entry.id);
	}
	gpu_count(&g->counters.submissions);
	r = g->backend->ops->submit(g->backend, ctx->entry.id, words, size / 4);
	gpu_objects_done(g, &ctx->objects, r == 0);
	free(words);
	return gpu_error(r);
}

const struct gpu_command_info gpu_3d_commands[] = {
	{GPU_CMD_GET_CAPSET_INFO, GPU_CONTROLQ, sizeof(struct gpu_wire_get_capset_info), GPU_F_VIRGL, get_capset_info},
	{GPU_CMD_GET_CAPSET, GPU_CONTROLQ, sizeof(struct gpu_wire_get_capset), GPU_F_VIRGL, get_capset},
	{GPU_CMD_CTX_CREATE, GPU_CONTROLQ, sizeof(struct gpu_wire_ctx_create), GPU_F_VIRGL, ctx_create},
	{GPU_CMD_CTX_DESTROY, GPU_CONTROLQ, sizeof(struct gpu_wire_hdr), GPU_F_VIRGL, ctx_destroy},
	{GPU_CMD_CTX_ATTACH_RESOURCE, GPU_CONTROLQ, sizeof(struct gpu_wire_resource), GPU_F_VIRGL, ctx_attach_resource},
	{GPU_CMD_CTX_DETACH_RESOURCE, GPU_CONTROLQ, sizeof(struct gpu_wire_resource), GPU_F_VIRGL, ctx_detach_resource},
	{GPU_CMD_RESOURCE_CREATE_3D, GPU_CONTROLQ, sizeof(struct gpu_wire_create_3d), GPU_F_VIRGL, create_3d},
	{GPU_CMD_TRANSFER_TO_HOST_3D, GPU_CONTROLQ, sizeof(struct gpu_wire_transfer_3d), GPU_F_VIRGL, transfer_to_host_3d},
	{GPU_CMD_TRANSFER_FROM_HOST_3D, GPU_CONTROLQ, sizeof(struct gpu_wire_transfer_3d), GPU_F_VIRGL, transfer_from_host_3d},
	{GPU_CMD_SUBMIT_3D, GPU_CONTROLQ, sizeof(struct gpu_wire_submit_3d), GPU_F_VIRGL, submit_3d},
};

const size_t gpu_3d_ncommands = sizeof(gpu_3d_commands) / sizeof(gpu_3d_commands[0]);
