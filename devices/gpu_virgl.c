/* SPDX-License-Identifier: MIT */
/*
 * Resources of 3D live in virglrenderer under the guest's numbers. Each has a stand-in in the 2D backend, which keeps what scanouts show of it: memory that others map, brought up
 * to date by reading the texture back. Everything that is 2D goes there as it is.
 */
#include "devices/gpu_virgl.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "devices/gpu_2d.h"
#include "devices/gpu_export.h"
#include "devices/gpu_table.h"
#include "devices/gpu_usage.h"
#include "devices/virgl.h"
#include "devices/virgl_node.h"
#include "vmm/clock.h"
#include "vmm/log.h"

/* Of a resource's flags, Gallium's: its first row is the last of the texture. */
#define FLAG_Y_0_TOP 1u

#define OPEN_AGAIN_NS CLOCK_NS_PER_S /* between tries to have a renderer again */

/* The library's headers only name it. */
struct virgl_box {
	uint32_t x, y, z, w, h, d;
};

struct resource {
	struct gpu_entry entry;
	uint32_t format, width, height;
	bool is_upside_down; /* as a texture */
	struct iovec *iov; /* backing; NULL: none */
	unsigned niov;
};

struct scanout {
	uint32_t id; /* of what it shows; 0: nothing */
	struct display_rect crop;
	struct gpu_export_image copy[GPU_COPIES_MAX];
};

struct gpu_virgl {
	struct gpu_backend base;
	struct gpu_backend *plain; /* 2D */
	const struct gmem *mem;
	struct virgl_node node;
	char path[sizeof(((struct gpu_egl *)0)->node)]; /* what that was opened on, to be opened again */
	uint64_t open_again_ns; /* not before: it has failed */
	struct gpu_export export;
	struct scanout scanout[DISPLAY_SCANOUTS_MAX];
	struct gpu_table resources; /* of 3D */
	char no_export[160]; /* why pictures cannot leave as dma-bufs, for people */
};

static struct gpu_virgl *from(struct gpu_backend *b)
{
	return (struct gpu_virgl *)b;
}

static struct resource *find(struct gpu_virgl *g, uint32_t id)
{
	return (struct resource *)gpu_table_find(&g->resources, id);
}

/* Return: whether there is something to draw with. */
static bool can_draw(const struct gpu_virgl *g)
{
	return !g->node.is_lost;
}

/* OpenGL is ours, and not the library's, until that is asked for its own by force_ctx_0. Return: whether it is. */
static bool make_ours_current(struct gpu_virgl *g)
{
	return gpu_egl_make_current(&g->node.egl, g->node.egl.base);
}

/*
 * Resources.
 */

static int gpu_virgl_create_3d(struct gpu_backend *b, uint32_t id, const struct gpu_texture *t)
{
	struct gpu_virgl *g = from(b);
	struct resource *res = calloc(1, sizeof(*res));
	struct virgl_renderer_resource_create_args args = {.handle = id, .target = t->target, .format = t->format, .bind = t->bind, .width = t->width, .height = t->height,
		.depth = t->depth, .array_size = t->array_size, .last_level = t->last_level, .nr_samples = t->nr_samples, .flags = t->flags};
	int r;

	if (!res || !can_draw(g)) {
		free(res);
		return can_draw(g) ? -ENOMEM : -EIO;
	}
	virgl.force_ctx_0();
	r = virgl_error(virgl.resource_create(&args, NULL, 0));
	if (r == 0) {
		r = g->plain->ops->create_blob(g->plain, id);
		if (r < 0) {
			virgl.resource_unref(id);
		}
	}
	if (r < 0) {
		free(res);
		return r;
	}
	*res = (struct resource){.entry.id = id, .format = gpu_format_shown(t->format), .width = t->width, .height = t->height, .is_upside_down = t->flags & FLAG_Y_0_TOP};
	gpu_table_add(&g->resources, &res->entry);
	return 0;
}

static void take_backing(struct resource *res)
{
	struct iovec *iov;
	int n;

	if (res->iov) {
		virgl.resource_detach_iov((int)res->entry.id, &iov, &n);
		free(res->iov);
		res->iov = NULL;
		res->niov = 0;
	}
}

static void gpu_virgl_unref(struct gpu_backend *b, uint32_t id)
{
	struct gpu_virgl *g = from(b);
	struct resource *res = find(g, id);

	if (res) {
		virgl.force_ctx_0();
		take_backing(res);
		virgl.resource_unref(id);
		gpu_table_remove(&g->resources, &res->entry);
		free(res);
	}
	g->plain->ops->unref(g->plain, id);
}

static int gpu_virgl_attach(struct gpu_backend *b, uint32_t id, const struct gpu_range *ranges, unsigned n)
{
	struct gpu_virgl *g = from(b);
	struct resource *res = find(g, id);
	struct iovec *iov;
	int r;

	if (!res) {
		return g->plain->ops->attach(g->plain, id, ranges, n);
	}
	iov = calloc(n, sizeof(*iov));
	for (unsigned i = 0; iov && i < n; i++) {
		iov[i] = (struct iovec){.iov_base = gmem_ptr(g->mem, ranges[i].gpa, ranges[i].len), .iov_len = ranges[i].len};
	}
	r = iov ? virgl_error(virgl.resource_attach_iov((int)id, iov, (int)n)) : -ENOMEM;
	if (r < 0) {
		free(iov);
		return r;
	}
	res->iov = iov;
	res->niov = n;
	return 0;
}

static void gpu_virgl_detach(struct gpu_backend *b, uint32_t id)
{
	struct gpu_virgl *g = from(b);
	struct resource *res = find(g, id);

	if (res) {
		take_backing(res);
	} else {
		g->plain->ops->detach(g->plain, id);
	}
}

static int gpu_virgl_transfer_to_3d(struct gpu_backend *b, uint32_t ctx, uint32_t id, const struct gpu_transfer *t)
{
	struct virgl_box box = {t->x, t->y, t->z, t->w, t->h, t->d};

	if (!can_draw(from(b))) {
		return -EIO;
	}
	virgl.force_ctx_0();
	return virgl_error(virgl.transfer_write_iov(id, ctx, (int)t->level, t->stride, t->layer_stride, &box, t->offset, NULL, 0));
}

static int gpu_virgl_transfer_from_3d(struct gpu_backend *b, uint32_t ctx, uint32_t id, const struct gpu_transfer *t)
{
	struct virgl_box box = {t->x, t->y, t->z, t->w, t->h, t->d};

	if (!can_draw(from(b))) {
		return -EIO;
	}
	virgl.force_ctx_0();
	return virgl_error(virgl.transfer_read_iov(id, ctx, t->level, t->stride, t->layer_stride, &box, t->offset, NULL, 0));
}

/*
 * Contexts.
 */

static int gpu_virgl_create_context(struct gpu_backend *b, uint32_t ctx, uint32_t capset, const char *name)
{
	if (!can_draw(from(b))) {
		return -EIO;
	}
	/* One without a set is of the oldest kind, as the library has it too. */
	return virgl_node_ended(&from(b)->node, ctx, virgl_error(virgl.context_create_with_flags(ctx, capset ? capset : b->capset[0].id, (uint32_t)strlen(name), name)));
}

static void gpu_virgl_destroy_context(struct gpu_backend *b, uint32_t ctx)
{
	(void)b;
	virgl.context_destroy(ctx);
}

static void gpu_virgl_attach_context(struct gpu_backend *b, uint32_t ctx, uint32_t id)
{
	/* The library knows nothing of 2D resources; Linux attaches those too. */
	if (find(from(b), id)) {
		virgl.ctx_attach_resource((int)ctx, (int)id);
	}
}

static void gpu_virgl_detach_context(struct gpu_backend *b, uint32_t ctx, uint32_t id)
{
	if (find(from(b), id)) {
		virgl.ctx_detach_resource((int)ctx, (int)id);
	}
}

static int gpu_virgl_submit(struct gpu_backend *b, uint32_t ctx, void *words, uint32_t nwords)
{
	if (!can_draw(from(b))) {
		return -EIO;
	}
	return virgl_node_ended(&from(b)->node, ctx, virgl_error(virgl.submit_cmd(words, (int)ctx, (int)nwords)));
}

static void gpu_virgl_read_capset(struct gpu_backend *b, uint32_t id, uint32_t version, void *set)
{
	/* What is not known is no capability. */
	if (!can_draw(from(b))) {
		return;
	}
	virgl.has_guest = false;
	virgl.fill_caps(id, version, set);
	virgl.has_guest = true;
}

static int gpu_virgl_fence(struct gpu_backend *b, uint64_t *fence)
{
	return virgl_node_fence(&from(b)->node, fence);
}

static void gpu_virgl_poll(struct gpu_backend *b)
{
	virgl_node_poll(&from(b)->node);
}

static uint64_t gpu_virgl_memory(struct gpu_backend *b)
{
	return gpu_usage_bytes(from(b)->node.egl.fd);
}

/*
 * Pictures.
 */

/* What a scanout shows of a texture, for the 2D backend. */
static int read_texture(void *ctx, uint32_t id, const struct display_rect *r, uint8_t *map, uint64_t len, uint32_t stride)
{
	struct gpu_virgl *g = ctx;
	struct virgl_box box = {r->x, r->y, 0, r->w, r->h, 1};
	struct iovec iov = {map, len};

	if (!can_draw(g)) {
		return -EIO;
	}
	virgl.force_ctx_0();
	__atomic_store_n(&g->base.read_bytes, g->base.read_bytes + (uint64_t)r->w * r->h * GPU_BYTES_PER_PIXEL, __ATOMIC_RELAXED);
	return virgl_error(virgl.transfer_read_iov(id, 0, 0, stride, 0, &box, (uint64_t)r->y * stride + (uint64_t)r->x * GPU_BYTES_PER_PIXEL, &iov, 1));
}

/* Return: OpenGL's name for it; 0: none. */
static unsigned texture_of(uint32_t id)
{
	/* Later versions of the library write more than this header's struct has. */
	union {
		struct virgl_renderer_resource_info info;
		uint8_t room[128];
	} u;

	memset(&u, 0, sizeof(u));
	return virgl.resource_get_info((int)id, &u.info) == 0 ? u.info.tex_id : 0;
}

/* The base context is current: the library finds its own again when it is asked for by force_ctx_0. */
static int copy(struct gpu_virgl *g, const struct scanout *so, struct gpu_export_image *im, bool linear, struct display_picture *p, uint64_t *fence)
{
	const struct resource *res = find(g, so->id);
	const struct gpu_export_part part = {.texture = texture_of(so->id), .x = so->crop.x, .y = so->crop.y, .texture_height = res->height, .is_upside_down = res->is_upside_down};
	bool is_new = im->texture == 0;
	int r = 0;

	if (part.texture == 0) {
		return -EINVAL;
	}
	if (is_new) {
		r = gpu_export_image_init(&g->export, im, so->crop.w, so->crop.h, gpu_format_is_opaque(res->format), linear, p);
	}
	if (r < 0) {
		return r;
	}
	r = gpu_export_copy(&g->export, &part, im);
	if (r == 0) {
		r = virgl_node_fence(&g->node, fence);
	}
	if (r < 0 && is_new) {
		display_picture_close(p);
		gpu_export_image_finish(&g->export, im);
	}
	return r;
}

static int gpu_virgl_copy(struct gpu_backend *b, unsigned scanout, unsigned number, bool linear, struct display_picture *p, uint64_t *fence)
{
	struct gpu_virgl *g = from(b);
	struct scanout *so = &g->scanout[scanout];
	int r;

	if (!g->export.egl || !can_draw(g)) {
		return g->export.egl ? -EIO : -ENOTSUP;
	}
	r = make_ours_current(g) ? copy(g, so, &so->copy[number], linear, p, fence) : -EIO;
	virgl.force_ctx_0();
	return r;
}

static void gpu_virgl_drop_copy(struct gpu_backend *b, unsigned scanout, unsigned number)
{
	struct gpu_virgl *g = from(b);

	if (g->node.is_open && g->scanout[scanout].copy[number].texture) {
		make_ours_current(g);
		gpu_export_image_finish(&g->export, &g->scanout[scanout].copy[number]);
		virgl.force_ctx_0();
	}
}

static int gpu_virgl_export_texture(struct gpu_backend *b, uint32_t id, struct display_picture *p)
{
	struct gpu_virgl *g = from(b);
	const struct resource *res = find(g, id);
	unsigned texture = res && can_draw(g) ? texture_of(id) : 0;
	int r;

	if (!g->export.egl || texture == 0) {
		return -ENOTSUP;
	}
	r = make_ours_current(g) ? gpu_export_texture(&g->export, texture, res->width, res->height, gpu_format_is_opaque(res->format), p) : -EIO;
	virgl.force_ctx_0();
	if (r == 0) {
		p->planes.y_inverted = res->is_upside_down;
	}
	return r;
}

static int gpu_virgl_await_texture(struct gpu_backend *b, uint32_t id, uint64_t *fence)
{
	struct gpu_virgl *g = from(b);
	unsigned texture = find(g, id) && can_draw(g) ? texture_of(id) : 0;
	int r;

	if (texture == 0) {
		return -EINVAL;
	}
	r = make_ours_current(g) ? gpu_export_await(&g->export, texture) : -EIO;
	if (r == 0) {
		r = virgl_node_fence(&g->node, fence);
	}
	virgl.force_ctx_0();
	return r;
}

static int gpu_virgl_read_cursor(struct gpu_backend *b, uint32_t id, uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE])
{
	uint8_t pixels[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE * GPU_BYTES_PER_PIXEL];
	struct gpu_virgl *g = from(b);
	const struct resource *res = find(g, id);
	const struct display_rect all = {0, 0, DISPLAY_CURSOR_SIZE, DISPLAY_CURSOR_SIZE};
	int r;

	if (!res) {
		return g->plain->ops->read_cursor(g->plain, id, image);
	}
	memset(pixels, 0, sizeof(pixels));
	r = read_texture(g, id, &all, pixels, sizeof(pixels), DISPLAY_CURSOR_SIZE * GPU_BYTES_PER_PIXEL);
	if (r == 0) {
		gpu_2d_read_pixels((enum gpu_format)res->format, pixels, image);
	}
	return r;
}

/*
 * 2D.
 */

/* What the 2D backend has copied is counted in one place. */
static int counted(struct gpu_virgl *g, int r)
{
	__atomic_store_n(&g->base.copied_bytes, g->plain->copied_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&g->base.copy_steps, g->plain->copy_steps, __ATOMIC_RELAXED);
	return r;
}

static int gpu_virgl_create_2d(struct gpu_backend *b, uint32_t id, enum gpu_format format, uint32_t width, uint32_t height)
{
	return from(b)->plain->ops->create_2d(from(b)->plain, id, format, width, height);
}

static int gpu_virgl_create_blob(struct gpu_backend *b, uint32_t id)
{
	return from(b)->plain->ops->create_blob(from(b)->plain, id);
}

static int gpu_virgl_transfer_2d(struct gpu_backend *b, uint32_t id, const struct display_rect *r, uint64_t offset)
{
	return counted(from(b), from(b)->plain->ops->transfer_2d(from(b)->plain, id, r, offset));
}

static int gpu_virgl_show(
	struct gpu_backend *b, unsigned scanout, uint32_t id, const struct gpu_layout *layout, const struct display_rect *crop, uint64_t *picture)
{
	struct scanout *so = &from(b)->scanout[scanout];
	int r = from(b)->plain->ops->show(from(b)->plain, scanout, id, layout, crop, picture);

	if (r == 0) {
		so->id = id;
		so->crop = id ? *crop : (struct display_rect){.w = 0};
	}
	return r;
}

static int gpu_virgl_export(struct gpu_backend *b, uint64_t picture, struct display_picture *p)
{
	return from(b)->plain->ops->export(from(b)->plain, picture, p);
}

static int gpu_virgl_flush(struct gpu_backend *b, unsigned scanout, const struct display_rect *r)
{
	return counted(from(b), from(b)->plain->ops->flush(from(b)->plain, scanout, r));
}

/*
 * Beginning and end.
 */

static void forget_all(struct gpu_virgl *g)
{
	struct gpu_entry *e;

	while (g->node.is_open && (e = gpu_table_any(&g->resources))) {
		gpu_virgl_unref(&g->base, e->id);
	}
	for (unsigned i = 0; i < DISPLAY_SCANOUTS_MAX; i++) {
		for (unsigned n = 0; n < GPU_COPIES_MAX; n++) {
			gpu_virgl_drop_copy(&g->base, i, n);
		}
		g->scanout[i].id = 0;
	}
	g->plain->ops->reset(g->plain);
}

static void gpu_virgl_close(struct gpu_backend *b)
{
	struct gpu_virgl *g = from(b);

	if (!g->node.is_open) {
		return;
	}
	forget_all(g);
	make_ours_current(g);
	gpu_export_close(&g->export);
	virgl_node_close(&g->node);
}

/* Return: whether there is a renderer; else @why. */
static bool open_renderer(struct gpu_virgl *g, const char *render_node, char *why, size_t why_len)
{
	if (!virgl_node_open(&g->node, &g->base, render_node, why, why_len)) {
		return false;
	}
	if (make_ours_current(g)) {
		gpu_export_open(&g->export, &g->node.egl, g->no_export, sizeof(g->no_export));
	}
	virgl.force_ctx_0();
	memcpy(g->path, g->node.egl.node, sizeof(g->path));
	return true;
}

/* All that was lost, and who draws, anew. Where that fails a later reset tries again; a guest can reset as often as it likes, and drivers keep some memory each time. */
static void open_again(struct gpu_virgl *g)
{
	char why[300];

	if (clock_now_ns() < g->open_again_ns) {
		return;
	}
	gpu_virgl_close(&g->base);
	if (open_renderer(g, g->path, why, sizeof(why))) {
		log_guest(&virgl.log_limit, "gpu", "OpenGL by %s on %s again", g->node.egl.renderer, g->node.egl.node);
	} else {
		g->open_again_ns = clock_now_ns() + OPEN_AGAIN_NS;
		log_guest(&virgl.log_limit, "gpu", "no OpenGL after the reset of %s: %s", g->path, why);
	}
}

static void gpu_virgl_reset(struct gpu_backend *b)
{
	struct gpu_virgl *g = from(b);

	forget_all(g);
	if (g->node.is_lost) {
		open_again(g);
	}
}

static void gpu_virgl_destroy(struct gpu_backend *b)
{
	struct gpu_virgl *g = from(b);

	gpu_virgl_close(b);
	g->plain->ops->destroy(g->plain);
	free(g);
}

static const struct gpu_backend_ops gpu_virgl_ops = {
	.create_2d = gpu_virgl_create_2d,
	.create_blob = gpu_virgl_create_blob,
	.unref = gpu_virgl_unref,
	.attach = gpu_virgl_attach,
	.detach = gpu_virgl_detach,
	.transfer_2d = gpu_virgl_transfer_2d,
	.show = gpu_virgl_show,
	.export = gpu_virgl_export,
	.copy = gpu_virgl_copy,
	.drop_copy = gpu_virgl_drop_copy,
	.export_texture = gpu_virgl_export_texture,
	.await_texture = gpu_virgl_await_texture,
	.flush = gpu_virgl_flush,
	.read_cursor = gpu_virgl_read_cursor,
	.create_3d = gpu_virgl_create_3d,
	.transfer_to_3d = gpu_virgl_transfer_to_3d,
	.transfer_from_3d = gpu_virgl_transfer_from_3d,
	.create_context = gpu_virgl_create_context,
	.destroy_context = gpu_virgl_destroy_context,
	.attach_context = gpu_virgl_attach_context,
	.detach_context = gpu_virgl_detach_context,
	.submit = gpu_virgl_submit,
	.read_capset = gpu_virgl_read_capset,
	.fence = gpu_virgl_fence,
	.memory = gpu_virgl_memory,
	.poll = gpu_virgl_poll,
	.close = gpu_virgl_close,
	.reset = gpu_virgl_reset,
	.destroy = gpu_virgl_destroy,
};

/* Of the render node; 0: none. */
static dev_t device_of(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? st.st_rdev : 0;
}

struct gpu_backend *gpu_virgl_create(
	const struct gmem *mem, const char *render_node, unsigned images_max, struct gpu_virgl_info *info, char *why, size_t why_len)
{
	struct gpu_virgl *g = calloc(1, sizeof(*g));
	const struct gpu_2d_reader reader = {.read = read_texture, .ctx = g};

	snprintf(why, why_len, "no memory");
	if (!g) {
		return NULL;
	}
	g->base.ops = &gpu_virgl_ops;
	g->mem = mem;
	g->plain = gpu_2d_create_reading(mem, images_max, &reader);
	if (!g->plain || !open_renderer(g, render_node, why, why_len)) {
		if (g->plain) {
			g->plain->ops->destroy(g->plain);
		}
		free(g);
		return NULL;
	}
	if (info) {
		memcpy(info->node, g->node.egl.node, sizeof(info->node));
		memcpy(info->driver, g->node.egl.driver, sizeof(info->driver));
		memcpy(info->renderer, g->node.egl.renderer, sizeof(info->renderer));
		memcpy(info->version, g->node.egl.version, sizeof(info->version));
		info->can_export = g->export.egl != NULL;
		memcpy(info->no_export, g->no_export, sizeof(info->no_export));
		memcpy(info->no_direct, g->export.no_direct, sizeof(info->no_direct));
		info->device = device_of(g->node.egl.fd);
		virgl_name_file(info->library, sizeof(info->library));
		snprintf(info->release, sizeof(info->release), "%s", virgl_release());
	}
	return &g->base;
}
