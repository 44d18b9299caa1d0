/* SPDX-License-Identifier: MIT */
/* The commands: what a guest says is checked here, all of it, and then the backend does it. */
#include <unistd.h>

#include "devices/gpu_3d.h"
#include "devices/gpu_copy.h"
#include "devices/gpu_direct.h"
#include "devices/gpu_share.h"

static struct display_rect rect_of(const struct gpu_wire_rect *r)
{
	return (struct display_rect){.x = le32_get(r->x), .y = le32_get(r->y), .w = le32_get(r->width), .h = le32_get(r->height)};
}

static enum gpu_wire_type no_resource(struct gpu *g, uint32_t id)
{
	return gpu_refuse(g, GPU_RESP_ERR_INVALID_RESOURCE_ID, "resource %u does not exist", id);
}

/*
 * What the guest is told.
 */

/* Outputs lie side by side. */
static void tell(struct gpu *g, uint32_t what)
{
	g->told |= what;
	g->stale &= ~what;
}

static enum gpu_wire_type get_display_info(struct gpu *g, struct gpu_command *c)
{
	uint32_t x = 0;

	for (unsigned i = 0; i < g->display->nscanouts; i++) {
		const struct display_output *o = &g->display->scanout[i].output;

		if (o->enabled) {
			c->out.display_info.pmodes[i] = (struct gpu_wire_display_one){
				.r = {.x = le32_of(x), .width = le32_of(o->width), .height = le32_of(o->height)}, .enabled = le32_of(1)};
			x += o->width;
		}
	}
	tell(g, GPU_TOLD_INFO);
	c->out_len = sizeof(c->out.display_info);
	return GPU_RESP_OK_DISPLAY_INFO;
}

static enum gpu_wire_type get_edid(struct gpu *g, struct gpu_command *c)
{
	uint32_t i = le32_get(c->in.get_edid.scanout);

	if (i >= g->display->nscanouts) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_SCANOUT_ID, "scanout %u does not exist", i);
	}
	c->out.edid.size = le32_of((uint32_t)display_edid(g->display, i, c->out.edid.edid));
	tell(g, 1u << i);
	c->out_len = sizeof(c->out.edid);
	return GPU_RESP_OK_EDID;
}

/*
 * Resources.
 */

enum gpu_wire_type gpu_check_new_id(struct gpu *g, uint32_t id)
{
	if (id == 0 || gpu_resource_find(g, id)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_RESOURCE_ID, id ? "resource %u exists" : "resource %u cannot be", id);
	}
	return GPU_RESP_OK_NODATA;
}

static bool is_size(uint32_t width, uint32_t height)
{
	return width > 0 && width <= DISPLAY_SIZE_MAX && height > 0 && height <= DISPLAY_SIZE_MAX;
}

static enum gpu_wire_type create_2d(struct gpu *g, struct gpu_command *c)
{
	uint32_t format = le32_get(c->in.create_2d.format);
	struct gpu_resource res = {
		.entry.id = le32_get(c->in.create_2d.resource_id),
		.format = (enum gpu_format)format,
		.width = le32_get(c->in.create_2d.width),
		.height = le32_get(c->in.create_2d.height),
	};
	enum gpu_wire_type answer = gpu_check_new_id(g, res.entry.id);

	if (answer != GPU_RESP_OK_NODATA) {
		return answer;
	}
	if (!gpu_format_fourcc(format)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "format %u", format);
	}
	if (!is_size(res.width, res.height)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "a picture of %u x %u", res.width, res.height);
	}
	res.size = (uint64_t)res.width * res.height * GPU_BYTES_PER_PIXEL;
	return gpu_resource_create(g, &res);
}

static enum gpu_wire_type unref(struct gpu *g, struct gpu_command *c)
{
	uint32_t id = le32_get(c->in.resource.resource_id);
	struct gpu_resource *res = gpu_resource_find(g, id);

	if (!res) {
		return no_resource(g, id);
	}
	for (unsigned i = 0; i < g->display->nscanouts; i++) {
		if (g->scanout[i].res == res) {
			gpu_show_nothing(g, i);
		}
	}
	gpu_resource_destroy(g, res);
	return GPU_RESP_OK_NODATA;
}

static enum gpu_wire_type attach_backing(struct gpu *g, struct gpu_command *c)
{
	uint32_t id = le32_get(c->in.attach_backing.resource_id);
	struct gpu_resource *res = gpu_resource_find(g, id);

	if (!res) {
		return no_resource(g, id);
	}
	if (res->has_backing) {
		return gpu_refuse(g, GPU_RESP_ERR_UNSPEC, "resource %u has backing already", id);
	}
	return gpu_resource_attach(g, res, c->chain, le32_get(c->in.attach_backing.nr_entries));
}

static enum gpu_wire_type detach_backing(struct gpu *g, struct gpu_command *c)
{
	uint32_t id = le32_get(c->in.resource.resource_id);
	struct gpu_resource *res = gpu_resource_find(g, id);

	if (!res) {
		return no_resource(g, id);
	}
	/* A blob is its backing. */
	if (res->is_blob || !res->has_backing) {
		return gpu_refuse(g, GPU_RESP_ERR_UNSPEC, "resource %u has no backing to take away", id);
	}
	gpu_resource_detach(g, res);
	return GPU_RESP_OK_NODATA;
}

static enum gpu_wire_type create_blob(struct gpu *g, struct gpu_command *c)
{
	struct gpu_resource res = {
		.entry.id = le32_get(c->in.create_blob.resource_id), .is_blob = true, .size = le64_get(c->in.create_blob.size)};
	enum gpu_wire_type answer = gpu_check_new_id(g, res.entry.id);

	if (answer != GPU_RESP_OK_NODATA) {
		return answer;
	}
	if (le32_get(c->in.create_blob.blob_mem) != GPU_BLOB_MEM_GUEST || (le32_get(c->in.create_blob.blob_flags) & ~GPU_BLOB_FLAGS) ||
		le64_get(c->in.create_blob.blob_id) != 0 || res.size == 0) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "a blob that is not guest memory, or of no size");
	}
	answer = gpu_resource_create(g, &res);
	if (answer == GPU_RESP_OK_NODATA) {
		struct gpu_resource *made = gpu_resource_find(g, res.entry.id);

		answer = gpu_resource_attach(g, made, c->chain, le32_get(c->in.create_blob.nr_entries));
		if (answer != GPU_RESP_OK_NODATA) {
			gpu_resource_destroy(g, made);
		}
	}
	return answer;
}

static enum gpu_wire_type transfer_to_host_2d(struct gpu *g, struct gpu_command *c)
{
	struct display_rect r = rect_of(&c->in.transfer_2d.r);
	uint32_t id = le32_get(c->in.transfer_2d.resource_id);
	uint64_t offset = le64_get(c->in.transfer_2d.offset), len;
	struct gpu_resource *res = gpu_resource_find(g, id);

	if (!res) {
		return no_resource(g, id);
	}
	if (res->is_3d) {
		return gpu_refuse(g, GPU_RESP_ERR_UNSPEC, "a 2D transfer to resource %u, which is a texture", id);
	}
	if (res->is_blob) {
		/* Linux does that to its dumb buffers, blobs or not, before it flushes them; there is no image to bring up to date. */
		return GPU_RESP_OK_NODATA;
	}
	if (!res->has_backing) {
		return gpu_refuse(g, GPU_RESP_ERR_UNSPEC, "transfer to resource %u, which has nothing to take from", id);
	}
	if (!display_rect_is_inside(&r, res->width, res->height)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "transfer of a rectangle outside resource %u", id);
	}
	/* From the first pixel to behind the last one: at most 1 GiB. */
	len = (uint64_t)(r.h - 1) * res->width * GPU_BYTES_PER_PIXEL + (uint64_t)r.w * GPU_BYTES_PER_PIXEL;
	if (offset > res->backing_len || len > res->backing_len - offset) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "transfer from beyond resource %u's backing", id);
	}
	gpu_count(&g->counters.transfers);
	return gpu_error(g->backend->ops->transfer_2d(g->backend, id, &r, offset));
}

/*
 * Scanouts.
 */

static void drop_cache(struct gpu_scanout *so)
{
	for (unsigned n = 0; n < 2; n++) {
		display_buffer_unref(so->cache[n].buffer);
		so->cache[n].buffer = NULL;
		so->cache[n].picture = 0;
	}
}

void gpu_show_nothing(struct gpu *g, unsigned i)
{
	struct gpu_scanout *so = &g->scanout[i];
	uint64_t none;

	if (so->res) {
		display_show(g->display, i, NULL, NULL);
		gpu_direct_forget(g, i);
		gpu_copy_forget(g, i);
		drop_cache(so);
		/* A descriptor, which the backend counts no longer. */
		if (so->res->is_blob && so->picture == so->res->picture) {
			display_buffer_unref(so->res->buffer);
			so->res->buffer = NULL;
			so->res->picture = 0;
		}
		g->backend->ops->show(g->backend, i, 0, NULL, NULL, &none);
		so->res = NULL;
	}
}

/* Return: NULL when there is no memory; then the descriptor is closed. */
static struct display_buffer *charged(struct gpu *g, const struct display_picture *p)
{
	uint64_t cost = p->is_guest ? p->len / GPU_SHARE_PAGE * GPU_SHARE_PAGE_COST : p->len;
	struct display_buffer *buffer;

	if (!gpu_take_memory(g, cost, "showing a picture of %u x %u", p->width, p->height)) {
		close(p->fd);
		return NULL;
	}
	buffer = display_buffer_create(p, &g->display->budget, cost);
	if (!buffer) {
		display_budget_give(&g->display->budget, cost);
	}
	return buffer;
}

/* The backend's picture of a blob on a scanout: the blob's own memory, or one of two copies that take turns. What it costs is taken when it is first seen. Return: borrowed, or NULL. */
static struct display_buffer *blob_buffer(struct gpu *g, struct gpu_scanout *so, struct gpu_resource *res, uint64_t picture)
{
	struct display_picture p;

	if (res->buffer && res->picture == picture) {
		drop_cache(so);
		return res->buffer;
	}
	for (unsigned n = 0; n < 2; n++) {
		if (so->cache[n].picture == picture) {
			so->oldest = n ^ 1;
			return so->cache[n].buffer;
		}
	}
	if (g->backend->ops->export(g->backend, picture, &p) < 0) {
		return NULL;
	}
	if (p.is_guest) {
		drop_cache(so);
		display_buffer_unref(res->buffer);
		res->buffer = charged(g, &p);
		res->picture = picture;
		return res->buffer;
	}
	/* The one that was not shown last is gone, in the backend too. */
	display_buffer_unref(so->cache[so->oldest].buffer);
	so->cache[so->oldest].buffer = NULL;
	so->cache[so->oldest].picture = 0;
	so->cache[so->oldest].buffer = charged(g, &p);
	if (!so->cache[so->oldest].buffer) {
		return NULL;
	}
	so->cache[so->oldest].picture = picture;
	so->oldest ^= 1;
	return so->cache[so->oldest ^ 1].buffer;
}

/* Everything is checked. */
static enum gpu_wire_type show(struct gpu *g, unsigned i, struct gpu_resource *res, const struct gpu_layout *layout, const struct display_rect *crop)
{
	struct gpu_scanout *so = &g->scanout[i];
	struct display_buffer *buffer;
	uint64_t picture;
	int r;

	if (!layout) {
		drop_cache(so);
	}
	r = g->backend->ops->show(g->backend, i, res->entry.id, layout, crop, &picture);
	if (r < 0) {
		return gpu_error(r);
	}
	so->res = res;
	so->picture = picture;
	so->crop = *crop;
	so->is_behind = res->is_3d;
	if (layout) {
		so->layout = *layout;
	}
	gpu_copy_shown(g, i);
	buffer = layout ? blob_buffer(g, so, res, picture) : gpu_resource_buffer(g, res, picture);
	if (!buffer) {
		gpu_show_nothing(g, i);
		return GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	display_show(g->display, i, buffer, crop);
	return GPU_RESP_OK_NODATA;
}

static enum gpu_wire_type set_scanout(struct gpu *g, struct gpu_command *c)
{
	struct display_rect r = rect_of(&c->in.set_scanout.r);
	uint32_t i = le32_get(c->in.set_scanout.scanout_id), id = le32_get(c->in.set_scanout.resource_id);
	struct gpu_resource *res = gpu_resource_find(g, id);

	if (i >= g->display->nscanouts) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_SCANOUT_ID, "scanout %u does not exist", i);
	}
	if (id == 0 || r.w == 0 || r.h == 0) {
		gpu_show_nothing(g, i);
		return GPU_RESP_OK_NODATA;
	}
	if (!res) {
		return no_resource(g, id);
	}
	if (res->is_blob || !display_rect_is_inside(&r, res->width, res->height)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "scanout %u: not a rectangle of resource %u", i, id);
	}
	if (res->is_3d) {
		/* A picture of its own, as of a blob, that the texture is read back into. */
		const struct gpu_layout l = {.format = res->format, .width = res->width, .height = res->height, .stride = res->width * GPU_BYTES_PER_PIXEL};

		return show(g, i, res, &l, &r);
	}
	return show(g, i, res, NULL, &r);
}

/* Return: whether the picture lies in the blob, its last row included. */
static bool is_in_blob(const struct gpu_layout *l, const struct gpu_resource *res)
{
	uint64_t row = (uint64_t)l->width * GPU_BYTES_PER_PIXEL;

	return l->stride >= row && l->stride % GPU_BYTES_PER_PIXEL == 0 && l->offset + (uint64_t)(l->height - 1) * l->stride + row <= res->size;
}

static enum gpu_wire_type set_scanout_blob(struct gpu *g, struct gpu_command *c)
{
	struct display_rect r = rect_of(&c->in.set_scanout_blob.r);
	uint32_t i = le32_get(c->in.set_scanout_blob.scanout_id), id = le32_get(c->in.set_scanout_blob.resource_id);
	uint32_t format = le32_get(c->in.set_scanout_blob.format);
	struct gpu_resource *res = gpu_resource_find(g, id);
	struct gpu_layout l = {
		.format = (enum gpu_format)format,
		.width = le32_get(c->in.set_scanout_blob.width),
		.height = le32_get(c->in.set_scanout_blob.height),
		.stride = le32_get(c->in.set_scanout_blob.strides[0]),
		.offset = le32_get(c->in.set_scanout_blob.offsets[0]),
	};

	if (i >= g->display->nscanouts) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_SCANOUT_ID, "scanout %u does not exist", i);
	}
	if (id == 0 || r.w == 0 || r.h == 0) {
		gpu_show_nothing(g, i);
		return GPU_RESP_OK_NODATA;
	}
	if (!res) {
		return no_resource(g, id);
	}
	if (!res->is_blob || !gpu_format_fourcc(format) || !is_size(l.width, l.height)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "scanout %u: resource %u, format %u, %u x %u", i, id, format, l.width, l.height);
	}
	if (!is_in_blob(&l, res) || !display_rect_is_inside(&r, l.width, l.height)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "scanout %u: outside the blob %u", i, id);
	}
	return show(g, i, res, &l, &r);
}

static enum gpu_wire_type flush(struct gpu *g, struct gpu_command *c)
{
	struct display_rect r = rect_of(&c->in.flush.r);
	uint32_t id = le32_get(c->in.flush.resource_id);
	const struct gpu_resource *res = gpu_resource_find(g, id);

	if (!res) {
		return no_resource(g, id);
	}
	if (!res->is_blob && !display_rect_is_inside(&r, res->is_3d ? res->texture.width : res->width, res->is_3d ? res->texture.height : res->height)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "flush of a rectangle outside resource %u", id);
	}
	gpu_count(&g->counters.flushes);
	for (unsigned i = 0; i < g->display->nscanouts; i++) {
		struct gpu_scanout *so = &g->scanout[i];
		struct display_rect part = r;
		int err;

		if (so->res != res || !display_rect_clip(&part, &so->crop)) {
			continue;
		}
		/* Reading back is dear: not before somebody looks, who then gets all that was not read. */
		so->is_behind |= res->is_3d && !display_is_watched(g->display, i);
		err = so->is_behind ? 0 : g->backend->ops->flush(g->backend, i, &part);
		if (err < 0) {
			return gpu_error(err);
		}
		if (display_flush(g->display, i, &part) > 0) {
			c->flushed |= 1u << i;
			gpu_direct_flushed(g, i);
			gpu_copy_flushed(g, i);
		}
	}
	return GPU_RESP_OK_NODATA;
}

void gpu_refresh(void *ctx, unsigned i)
{
	struct gpu *g = ctx;
	struct gpu_scanout *so = &g->scanout[i];

	if (so->res && so->is_behind) {
		so->is_behind = g->backend->ops->flush(g->backend, i, &so->crop) < 0;
	} else if (so->res && g->backend->ops->refresh) {
		g->backend->ops->refresh(g->backend, i);
	}
}

/*
 * The cursor.
 */

static enum gpu_wire_type move_cursor(struct gpu *g, struct gpu_command *c)
{
	uint32_t i = le32_get(c->in.cursor.pos.scanout_id);

	if (i >= g->display->nscanouts) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_SCANOUT_ID, "cursor on scanout %u, which does not exist", i);
	}
	gpu_count(&g->counters.cursors);
	display_move_cursor(g->display, i, (int32_t)le32_get(c->in.cursor.pos.x), (int32_t)le32_get(c->in.cursor.pos.y));
	return GPU_RESP_OK_NODATA;
}

static bool is_cursor(const struct gpu_resource *res)
{
	if (res->is_blob) {
		return res->size >= DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE * GPU_BYTES_PER_PIXEL;
	}
	return res->width == DISPLAY_CURSOR_SIZE && res->height == DISPLAY_CURSOR_SIZE;
}

static enum gpu_wire_type update_cursor(struct gpu *g, struct gpu_command *c)
{
	uint32_t i = le32_get(c->in.cursor.pos.scanout_id), id = le32_get(c->in.cursor.resource_id);
	const struct gpu_resource *res = gpu_resource_find(g, id);
	uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE];
	int r;

	if (i >= g->display->nscanouts) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_SCANOUT_ID, "cursor on scanout %u, which does not exist", i);
	}
	if (id == 0) {
		display_set_cursor(g->display, i, NULL, 0, 0);
		return move_cursor(g, c);
	}
	if (!res) {
		return no_resource(g, id);
	}
	if (!is_cursor(res)) {
		return gpu_refuse(g, GPU_RESP_ERR_INVALID_PARAMETER, "resource %u is no cursor: %u x %u", id, res->width, res->height);
	}
	r = g->backend->ops->read_cursor(g->backend, id, image);
	if (r < 0) {
		return gpu_error(r);
	}
	move_cursor(g, c);
	display_set_cursor(g->display, i, image, le32_get(c->in.cursor.hot_x), le32_get(c->in.cursor.hot_y));
	return GPU_RESP_OK_NODATA;
}

static const struct gpu_command_info commands[] = {
	{GPU_CMD_GET_DISPLAY_INFO, GPU_CONTROLQ, sizeof(struct gpu_wire_hdr), 0, get_display_info},
	{GPU_CMD_RESOURCE_CREATE_2D, GPU_CONTROLQ, sizeof(struct gpu_wire_create_2d), 0, create_2d},
	{GPU_CMD_RESOURCE_UNREF, GPU_CONTROLQ, sizeof(struct gpu_wire_resource), 0, unref},
	{GPU_CMD_SET_SCANOUT, GPU_CONTROLQ, sizeof(struct gpu_wire_set_scanout), 0, set_scanout},
	{GPU_CMD_RESOURCE_FLUSH, GPU_CONTROLQ, sizeof(struct gpu_wire_flush), 0, flush},
	{GPU_CMD_TRANSFER_TO_HOST_2D, GPU_CONTROLQ, sizeof(struct gpu_wire_transfer_2d), 0, transfer_to_host_2d},
	{GPU_CMD_RESOURCE_ATTACH_BACKING, GPU_CONTROLQ, sizeof(struct gpu_wire_attach_backing), 0, attach_backing},
	{GPU_CMD_RESOURCE_DETACH_BACKING, GPU_CONTROLQ, sizeof(struct gpu_wire_resource), 0, detach_backing},
	{GPU_CMD_GET_EDID, GPU_CONTROLQ, sizeof(struct gpu_wire_get_edid), GPU_F_EDID, get_edid},
	{GPU_CMD_RESOURCE_CREATE_BLOB, GPU_CONTROLQ, sizeof(struct gpu_wire_create_blob), GPU_F_RESOURCE_BLOB, create_blob},
	{GPU_CMD_SET_SCANOUT_BLOB, GPU_CONTROLQ, sizeof(struct gpu_wire_set_scanout_blob), GPU_F_RESOURCE_BLOB, set_scanout_blob},
	{GPU_CMD_UPDATE_CURSOR, GPU_CURSORQ, sizeof(struct gpu_wire_cursor), 0, update_cursor},
	{GPU_CMD_MOVE_CURSOR, GPU_CURSORQ, sizeof(struct gpu_wire_cursor), 0, move_cursor},
};

const struct gpu_command_info *gpu_find_command(uint32_t type, unsigned queue)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if ((uint32_t)commands[i].type == type && commands[i].queue == queue) {
			return &commands[i];
		}
	}
	for (size_t i = 0; i < gpu_3d_ncommands; i++) {
		if ((uint32_t)gpu_3d_commands[i].type == type && gpu_3d_commands[i].queue == queue) {
			return &gpu_3d_commands[i];
		}
	}
	return NULL;
}
