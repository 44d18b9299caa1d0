/* SPDX-License-Identifier: MIT */
/*
 * 2D on plain memory. A resource's image is a memfd that sinks map: one copy from guest memory, none after. A blob is guest memory that sinks cannot map, so each scanout that shows
 * blobs has two images of its own, which take turns when the guest flips, and a flush copies what it says has changed. Where the host has udmabuf (gpu_share.h), sinks can map them, and nothing is copied.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "devices/gpu_2d.h"
#include "devices/gpu_share.h"
#include "devices/gpu_table.h"
#include "vmm/log.h"

/* Memory of ours that sinks map; zeroed memory is none. */
struct image {
	uint64_t picture;
	int fd; /* until it is exported; then -1: whoever has it maps it */
	uint8_t *map;
	uint64_t len;
	enum gpu_format format;
	uint32_t width, height;
};

/* A blob's own memory as a picture. */
struct shared {
	uint64_t picture; /* 0: there is none */
	int fd; /* until it is exported; then -1 */
	uint64_t len;
	struct gpu_layout layout;
};

struct resource {
	struct gpu_entry entry;
	struct image image; /* 2D; a blob has none */
	struct shared shared; /* of a blob */
	struct iovec *iov; /* backing, neighbours joined; NULL: none */
	unsigned niov;
};

struct scanout {
	struct resource *res;
	bool is_blob;
	bool is_shared; /* a blob whose picture is the resource's, not one of the two */
	uint64_t picture;
	struct gpu_layout layout; /* of a blob */
	struct display_rect crop;
	struct image image[2]; /* for blobs */
	unsigned current; /* of the two */
	bool is_stale; /* the current one has nothing of this blob yet */
};

struct gpu_2d {
	struct gpu_backend base;
	const struct gmem *mem;
	const struct gpu_share *share;
	struct gpu_2d_reader reader;
	struct gpu_table resources;
	struct scanout scanout[DISPLAY_SCANOUTS_MAX];
	uint64_t last_picture;
	unsigned images, images_max;
	struct log_limit host_log_limit;
};

static struct gpu_2d *from(struct gpu_backend *b)
{
	return (struct gpu_2d *)b;
}

static void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static struct resource *find(struct gpu_2d *g, uint32_t id)
{
	return (struct resource *)gpu_table_find(&g->resources, id);
}

uint32_t gpu_format_shown(uint32_t format)
{
	/* Gallium's, from A8B8G8R8_SRGB to R8G8B8A8_SRGB. */
	static const enum gpu_format shown[] = {
		GPU_FORMAT_A8B8G8R8, GPU_FORMAT_X8B8G8R8, GPU_FORMAT_B8G8R8A8, GPU_FORMAT_B8G8R8X8, GPU_FORMAT_A8R8G8B8, GPU_FORMAT_X8R8G8B8, GPU_FORMAT_R8G8B8A8};

	return format >= 98 && format < 98 + sizeof(shown) / sizeof(shown[0]) ? shown[format - 98] : format;
}

uint32_t gpu_format_fourcc(uint32_t format)
{
	/* Names of the first are in the order of memory, of the second from the top of a little-endian word: the other way round. */
	switch (format) {
	case GPU_FORMAT_B8G8R8A8:
		return DISPLAY_ARGB8888;
	case GPU_FORMAT_B8G8R8X8:
		return DISPLAY_XRGB8888;
	case GPU_FORMAT_A8R8G8B8:
		return DISPLAY_BGRA8888;
	case GPU_FORMAT_X8R8G8B8:
		return DISPLAY_BGRX8888;
	case GPU_FORMAT_R8G8B8A8:
		return DISPLAY_ABGR8888;
	case GPU_FORMAT_X8B8G8R8:
		return DISPLAY_RGBX8888;
	case GPU_FORMAT_A8B8G8R8:
		return DISPLAY_RGBA8888;
	case GPU_FORMAT_R8G8B8X8:
		return DISPLAY_XBGR8888;
	default:
		return 0;
	}
}

bool gpu_format_is_opaque(uint32_t format)
{
	return format == GPU_FORMAT_B8G8R8X8 || format == GPU_FORMAT_X8R8G8B8 || format == GPU_FORMAT_X8B8G8R8 || format == GPU_FORMAT_R8G8B8X8;
}

static int image_init(struct gpu_2d *g, struct image *im, enum gpu_format format, uint32_t width, uint32_t height)
{
	uint64_t len = (uint64_t)width * height * GPU_BYTES_PER_PIXEL;
	uint8_t *map;
	int fd;

	if (g->images == g->images_max) {
		log_guest(&g->host_log_limit, "gpu", "a picture of %u x %u: there are descriptors for %u at once", width, height, g->images_max);
		return -ENOMEM;
	}
	fd = display_memfd("gpu", len, &map);
	if (fd < 0) {
		log_guest(&g->host_log_limit, "gpu", "memory for a picture of %llu bytes: %s", (unsigned long long)len, strerror(-fd));
		return -ENOMEM;
	}
	g->images++;
	*im = (struct image){.picture = ++g->last_picture, .fd = fd, .map = map, .len = len, .format = format, .width = width, .height = height};
	return 0;
}

static void image_finish(struct gpu_2d *g, struct image *im)
{
	if (im->map) {
		munmap(im->map, im->len);
		g->images--;
		if (im->fd >= 0) {
			close(im->fd);
		}
	}
	*im = (struct image){.map = NULL};
}

static void shared_finish(struct gpu_2d *g, struct shared *s)
{
	if (s->picture) {
		g->images--;
		if (s->fd >= 0) {
			close(s->fd);
		}
	}
	*s = (struct shared){.picture = 0};
}

/*
 * Guest memory in pieces.
 */

/* A place in a list of pieces that only moves on. */
struct walk {
	const struct iovec *iov;
	unsigned left;
	uint64_t start; /* of iov[0], from the beginning of all */
	uint64_t steps; /* pieces left behind, and copied from */
};

/* Copies @len bytes from @offset on, which is not before where the walk was. They are there. */
static void walk_copy(struct walk *w, uint64_t offset, uint8_t *dst, uint64_t len)
{
	while (len > 0) {
		uint64_t at, n;

		while (w->left > 0 && offset - w->start >= w->iov->iov_len) {
			w->start += w->iov->iov_len;
			w->iov++;
			w->left--;
			w->steps++;
		}
		if (w->left == 0) {
			return;
		}
		at = offset - w->start;
		n = w->iov->iov_len - at < len ? w->iov->iov_len - at : len;
		memcpy(dst, (const uint8_t *)w->iov->iov_base + at, n);
		w->steps++;
		dst += n;
		offset += n;
		len -= n;
	}
}

/* A rectangle whose first pixel is at @offset and whose rows are @stride apart into an image. Whole rows that follow each other are one copy. */
static void copy_rect(struct gpu_2d *g, const struct resource *res, uint64_t offset, uint32_t stride, struct image *im, const struct display_rect *r)
{
	struct walk w = {.iov = res->iov, .left = res->niov};
	uint64_t row = (uint64_t)im->width * GPU_BYTES_PER_PIXEL, n = (uint64_t)r->w * GPU_BYTES_PER_PIXEL;
	uint8_t *dst = im->map + r->y * row + (uint64_t)r->x * GPU_BYTES_PER_PIXEL;

	if (n == row && stride == row) {
		walk_copy(&w, offset, dst, row * r->h);
	} else {
		for (uint64_t y = 0; y < r->h; y++) {
			walk_copy(&w, offset + y * stride, dst + y * row, n);
		}
	}
	__atomic_store_n(&g->base.copied_bytes, g->base.copied_bytes + n * r->h, __ATOMIC_RELAXED);
	__atomic_store_n(&g->base.copy_steps, g->base.copy_steps + w.steps, __ATOMIC_RELAXED);
}

/*
 * Resources.
 */

static struct resource *add(struct gpu_2d *g, uint32_t id)
{
	struct resource *res = calloc(1, sizeof(*res));

	if (res) {
		res->entry.id = id;
		gpu_table_add(&g->resources, &res->entry);
	}
	return res;
}

static void drop(struct gpu_2d *g, struct resource *res)
{
	gpu_table_remove(&g->resources, &res->entry);
	image_finish(g, &res->image);
	shared_finish(g, &res->shared);
	free(res->iov);
	free(res);
}

static int gpu_2d_create_2d(struct gpu_backend *b, uint32_t id, enum gpu_format format, uint32_t width, uint32_t height)
{
	struct gpu_2d *g = from(b);
	struct resource *res = add(g, id);
	int r = res ? image_init(g, &res->image, format, width, height) : -ENOMEM;

	if (res && r < 0) {
		drop(g, res);
	}
	return r;
}

static int gpu_2d_create_blob(struct gpu_backend *b, uint32_t id)
{
	return add(from(b), id) ? 0 : -ENOMEM;
}

static void gpu_2d_unref(struct gpu_backend *b, uint32_t id)
{
	drop(from(b), find(from(b), id));
}

static int gpu_2d_attach(struct gpu_backend *b, uint32_t id, const struct gpu_range *ranges, unsigned n)
{
	struct gpu_2d *g = from(b);
	struct resource *res = find(g, id);
	struct iovec *iov = calloc(n, sizeof(*iov)), *fewer;
	unsigned used = 0;

	if (!iov) {
		return -ENOMEM;
	}
	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = gmem_ptr(g->mem, ranges[i].gpa, ranges[i].len);

		if (!p) {
			free(iov);
			return -EFAULT;
		}
		if (used > 0 && (uint8_t *)iov[used - 1].iov_base + iov[used - 1].iov_len == p) {
			iov[used - 1].iov_len += ranges[i].len;
		} else {
			iov[used++] = (struct iovec){.iov_base = p, .iov_len = ranges[i].len};
		}
	}
	fewer = realloc(iov, used * sizeof(*iov));
	res->iov = fewer ? fewer : iov;
	res->niov = used;
	return 0;
}

static void gpu_2d_detach(struct gpu_backend *b, uint32_t id)
{
	struct resource *res = find(from(b), id);

	free(res->iov);
	res->iov = NULL;
	res->niov = 0;
}

static int gpu_2d_transfer_2d(struct gpu_backend *b, uint32_t id, const struct display_rect *r, uint64_t offset)
{
	struct resource *res = find(from(b), id);

	copy_rect(from(b), res, offset, res->image.width * GPU_BYTES_PER_PIXEL, &res->image, r);
	return 0;
}

/*
 * Pictures.
 */

static bool fits(const struct image *im, const struct gpu_layout *l)
{
	return im->map && im->format == l->format && im->width == l->width && im->height == l->height;
}

static bool same_layout(const struct gpu_layout *a, const struct gpu_layout *b)
{
	return a->format == b->format && a->width == b->width && a->height == b->height && a->stride == b->stride && a->offset == b->offset;
}

/* Return: false when it must be copied. */
static bool share_blob(struct gpu_2d *g, struct scanout *so, struct resource *res, const struct gpu_layout *layout)
{
	struct shared *s = &res->shared;

	if (!s->picture || !same_layout(&s->layout, layout)) {
		uint64_t len;
		int fd = g->share && g->images < g->images_max ? gpu_share_create(g->share, g->mem, res->iov, res->niov, &len) : -1;

		if (fd < 0) {
			return false;
		}
		shared_finish(g, s);
		g->images++;
		*s = (struct shared){.picture = ++g->last_picture, .fd = fd, .len = len, .layout = *layout};
	}
	image_finish(g, &so->image[0]);
	image_finish(g, &so->image[1]);
	return true;
}

static int show_blob(struct gpu_2d *g, struct scanout *so, const struct gpu_layout *layout, const struct display_rect *crop)
{
	/* Not the one that is looked at. */
	unsigned next = so->is_blob ? so->current ^ 1 : so->current;
	struct image *im = &so->image[next], fresh;

	if (!fits(im, layout)) {
		int r = image_init(g, &fresh, layout->format, layout->width, layout->height);

		if (r < 0) {
			return r;
		}
		image_finish(g, im);
		*im = fresh;
	}
	so->layout = *layout;
	so->crop = *crop;
	so->current = next;
	so->is_stale = true;
	return 0;
}

static int gpu_2d_show(
	struct gpu_backend *b, unsigned scanout, uint32_t id, const struct gpu_layout *layout, const struct display_rect *crop, uint64_t *picture)
{
	struct gpu_2d *g = from(b);
	struct scanout *so = &g->scanout[scanout];
	struct resource *res = id ? find(g, id) : NULL;
	int r = 0;

	bool shares = layout && share_blob(g, so, res, layout);

	if (layout && !shares) {
		r = show_blob(g, so, layout, crop);
		if (r < 0) {
			return r;
		}
	} else if (!layout) {
		image_finish(g, &so->image[0]);
		image_finish(g, &so->image[1]);
	}
	/* Whoever could not do with the picture gets another one the next time. Not one that the resource has had since on another scanout: that is counted, and somebody has it. */
	if (!id && so->is_shared && so->picture == so->res->shared.picture) {
		shared_finish(g, &so->res->shared);
	}
	if (layout) {
		count(shares ? &b->blobs_shared : &b->blobs_copied);
		__atomic_store_n(&b->blob_pieces, res->niov, __ATOMIC_RELAXED);
		__atomic_store_n(&b->blob_pieces_max, res->niov > b->blob_pieces_max ? res->niov : b->blob_pieces_max, __ATOMIC_RELAXED);
	}
	so->res = res;
	so->is_blob = layout != NULL;
	so->is_shared = shares;
	so->picture = shares ? res->shared.picture : layout ? so->image[so->current].picture : res ? res->image.picture : 0;
	*picture = so->picture;
	return 0;
}

static struct image *find_picture(struct gpu_2d *g, uint64_t picture)
{
	for (unsigned i = 0; i < DISPLAY_SCANOUTS_MAX; i++) {
		struct scanout *so = &g->scanout[i];

		if (so->res && !so->is_blob && so->res->image.picture == picture) {
			return &so->res->image;
		}
		if (so->is_blob && !so->is_shared && so->image[so->current].picture == picture) {
			return &so->image[so->current];
		}
	}
	return NULL;
}

static struct shared *find_shared(struct gpu_2d *g, uint64_t picture)
{
	for (unsigned i = 0; i < DISPLAY_SCANOUTS_MAX; i++) {
		struct scanout *so = &g->scanout[i];

		if (so->is_shared && so->res->shared.picture == picture) {
			return &so->res->shared;
		}
	}
	return NULL;
}

static int gpu_2d_export(struct gpu_backend *b, uint64_t picture, struct display_picture *p)
{
	struct image *im = find_picture(from(b), picture);
	struct shared *s = find_shared(from(b), picture);

	if (s && s->fd >= 0) {
		*p = (struct display_picture){.fd = s->fd, .is_guest = true, .fourcc = gpu_format_fourcc(s->layout.format), .width = s->layout.width, .height = s->layout.height,
			.stride = s->layout.stride, .offset = s->layout.offset, .len = s->len};
		s->fd = -1;
		return 0;
	}
	if (!im || im->fd < 0) {
		return -ENOENT;
	}
	*p = (struct display_picture){.fd = im->fd, .fourcc = gpu_format_fourcc(im->format), .width = im->width, .height = im->height,
		.stride = im->width * GPU_BYTES_PER_PIXEL, .len = im->len};
	im->fd = -1;
	return 0;
}

static int gpu_2d_flush(struct gpu_backend *b, unsigned scanout, const struct display_rect *r)
{
	struct gpu_2d *g = from(b);
	struct scanout *so = &g->scanout[scanout];
	const struct gpu_layout *l = &so->layout;

	if (!so->is_blob || so->is_shared) {
		return 0;
	}
	if (so->is_stale) {
		r = &so->crop;
	}
	if (!so->res->iov && g->reader.read) {
		const struct image *im = &so->image[so->current];
		int err = g->reader.read(g->reader.ctx, so->res->entry.id, r, im->map, im->len, im->width * GPU_BYTES_PER_PIXEL);

		so->is_stale &= err < 0;
		return err;
	}
	copy_rect(g, so->res, l->offset + (uint64_t)r->y * l->stride + (uint64_t)r->x * GPU_BYTES_PER_PIXEL, l->stride, &so->image[so->current], r);
	so->is_stale = false;
	return 0;
}

static void gpu_2d_refresh(struct gpu_backend *b, unsigned scanout)
{
	struct scanout *so = &from(b)->scanout[scanout];

	/* Shown and not yet flushed. */
	if (so->is_stale) {
		gpu_2d_flush(b, scanout, &so->crop);
	}
}

void gpu_2d_read_pixels(enum gpu_format order, const uint8_t *p, uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE])
{
	/*
	 * Which byte is alpha, red, green, blue. A byte the format has no use for is alpha all the same: Linux has one format for all dumb buffers, B8G8R8X8, and says
	 * nowhere that the one it makes a cursor of was painted with alpha.
	 */
	static const struct {
		enum gpu_format format;
		uint8_t a, r, g, b;
	} orders[] = {
		{GPU_FORMAT_B8G8R8A8, 3, 2, 1, 0}, {GPU_FORMAT_B8G8R8X8, 3, 2, 1, 0}, {GPU_FORMAT_A8R8G8B8, 0, 1, 2, 3}, {GPU_FORMAT_X8R8G8B8, 0, 1, 2, 3},
		{GPU_FORMAT_R8G8B8A8, 3, 0, 1, 2}, {GPU_FORMAT_X8B8G8R8, 0, 3, 2, 1}, {GPU_FORMAT_A8B8G8R8, 0, 3, 2, 1}, {GPU_FORMAT_R8G8B8X8, 3, 0, 1, 2},
	};

	for (size_t f = 0; f < sizeof(orders) / sizeof(orders[0]); f++) {
		if (orders[f].format != order) {
			continue;
		}
		for (unsigned i = 0; i < DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE; i++, p += 4) {
			image[i] = (uint32_t)p[orders[f].a] << 24 | (uint32_t)p[orders[f].r] << 16 | (uint32_t)p[orders[f].g] << 8 | p[orders[f].b];
		}
	}
}

static int gpu_2d_read_cursor(struct gpu_backend *b, uint32_t id, uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE])
{
	const struct resource *res = find(from(b), id);
	struct walk w = {.iov = res->iov, .left = res->niov};
	uint8_t pixels[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE * GPU_BYTES_PER_PIXEL] = {0};

	if (res->image.map) {
		gpu_2d_read_pixels(res->image.format, res->image.map, image);
		return 0;
	}
	walk_copy(&w, 0, pixels, sizeof(pixels));
	gpu_2d_read_pixels(GPU_FORMAT_B8G8R8A8, pixels, image);
	return 0;
}

/*
 * Beginning and end.
 */

static void gpu_2d_reset(struct gpu_backend *b)
{
	struct gpu_2d *g = from(b);
	struct gpu_entry *e;

	for (unsigned i = 0; i < DISPLAY_SCANOUTS_MAX; i++) {
		image_finish(g, &g->scanout[i].image[0]);
		image_finish(g, &g->scanout[i].image[1]);
		g->scanout[i] = (struct scanout){.res = NULL};
	}
	while ((e = gpu_table_any(&g->resources))) {
		drop(g, (struct resource *)e);
	}
}

static void gpu_2d_destroy(struct gpu_backend *b)
{
	gpu_2d_reset(b);
	free(b);
}

static const struct gpu_backend_ops gpu_2d_ops = {
	.create_2d = gpu_2d_create_2d,
	.create_blob = gpu_2d_create_blob,
	.unref = gpu_2d_unref,
	.attach = gpu_2d_attach,
	.detach = gpu_2d_detach,
	.transfer_2d = gpu_2d_transfer_2d,
	.show = gpu_2d_show,
	.export = gpu_2d_export,
	.flush = gpu_2d_flush,
	.refresh = gpu_2d_refresh,
	.read_cursor = gpu_2d_read_cursor,
	.reset = gpu_2d_reset,
	.destroy = gpu_2d_destroy,
};

struct gpu_backend *gpu_2d_create(const struct gmem *mem, unsigned images_max, const struct gpu_share *share)
{
	struct gpu_2d *g = calloc(1, sizeof(*g));

	if (!g) {
		log_errno(LOG_ERR, -ENOMEM, "gpu");
		return NULL;
	}
	g->base.ops = &gpu_2d_ops;
	g->mem = mem;
	g->share = share;
	g->images_max = images_max;
	return &g->base;
}

struct gpu_backend *gpu_2d_create_reading(const struct gmem *mem, unsigned images_max, const struct gpu_2d_reader *reader)
{
	struct gpu_backend *b = gpu_2d_create(mem, images_max, NULL);

	if (b) {
		from(b)->reader = *reader;
	}
	return b;
}
