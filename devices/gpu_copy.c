/* SPDX-License-Identifier: MIT */
#include "devices/gpu_copy.h"

#include <errno.h>

#include "vmm/log.h"

static void set_linear(struct gpu_copies *c, bool on)
{
	__atomic_store_n(&c->is_linear, on, __ATOMIC_RELAXED);
}

static void drop_one(struct gpu *g, unsigned i, unsigned n)
{
	struct gpu_copies *c = &g->scanout[i].copies;
	struct display_buffer *copy = c->copy[n];

	if (copy) {
		c->copy[n] = NULL;
		g->backend->ops->drop_copy(g->backend, i, n);
		display_buffer_unref(copy);
	}
}

static void drop_all(struct gpu *g, unsigned i)
{
	for (unsigned n = 0; n < GPU_COPIES_MAX; n++) {
		drop_one(g, i, n);
	}
}

static void drop(struct gpu *g, unsigned i)
{
	drop_all(g, i);
	g->scanout[i].copies.is_pending = g->scanout[i].copies.is_due = false;
}

void gpu_copy_forget(struct gpu *g, unsigned i)
{
	drop(g, i);
	g->scanout[i].copies = (struct gpu_copies){.is_due = false};
}

static bool has_failed(const struct gpu_scanout *so)
{
	return so->copies.failed_width == so->crop.w && so->copies.failed_height == so->crop.h;
}

/* Tells the display whether the scanout is copied, for @sinks. Return: whether it is. */
static bool decide_for(struct gpu *g, unsigned i, unsigned sinks)
{
	const struct gpu_scanout *so = &g->scanout[i];
	bool on = so->res && so->res->is_3d && g->backend->ops->copy && !has_failed(so) && sinks > 0;

	display_set_copied(g->display, i, on);
	if (!on) {
		drop(g, i);
	}
	return on;
}

static bool decide(struct gpu *g, unsigned i)
{
	/* One of them may get what the guest draws in instead. */
	return decide_for(g, i, display_copy_sinks(g->display) - g->display->scanout[i].is_direct);
}

static void fail(struct gpu *g, unsigned i, int r)
{
	struct gpu_scanout *so = &g->scanout[i];
	const char *why = r == -ENOMEM ? "no memory for copies" : "the driver makes no copies that can be exported";

	if (!g->no_copies) {
		log_msg(LOG_INFO, "gpu: a picture of %ux%u pixels is read back: %s", so->crop.w, so->crop.h, why);
	}
	__atomic_store_n(&g->no_copies, why, __ATOMIC_RELAXED);
	so->copies.failed_width = so->crop.w;
	so->copies.failed_height = so->crop.h;
	decide(g, i);
}

static bool fits(const struct display_buffer *copy, const struct gpu_scanout *so)
{
	const struct display_picture *p = &copy->picture;

	return p->width == so->crop.w && p->height == so->crop.h &&
		gpu_format_is_opaque(so->layout.format) == (p->fourcc == DISPLAY_XRGB8888 || p->fourcc == DISPLAY_XBGR8888);
}

/* One that nobody looks at, or a place for one; those of another size, and those there are too many of, go. Return: GPU_COPIES_MAX when there is none. */
static unsigned find_place(struct gpu *g, unsigned i)
{
	struct gpu_scanout *so = &g->scanout[i];
	unsigned max = display_copy_sinks(g->display) + 2, place = GPU_COPIES_MAX;

	for (unsigned n = 0; n < GPU_COPIES_MAX; n++) {
		const struct display_buffer *copy = so->copies.copy[n];

		if (copy && (!fits(copy, so) || (n >= max && copy->refs == 1))) {
			drop_one(g, i, n);
			copy = NULL;
		}
		if (place == GPU_COPIES_MAX && (copy ? copy->refs == 1 : n < max)) {
			place = n;
		}
	}
	return place;
}

/* Return: 0, or -errno; then no place was taken. */
static int copy_into(struct gpu *g, unsigned i, unsigned n)
{
	struct gpu_scanout *so = &g->scanout[i];
	uint64_t cost = so->copies.copy[n] ? 0 : (uint64_t)so->crop.w * so->crop.h * GPU_BYTES_PER_PIXEL;
	struct display_picture p;
	int r;

	if (!display_budget_take(&g->display->budget, cost)) {
		return -ENOMEM;
	}
	r = g->backend->ops->copy(g->backend, i, n, so->copies.is_linear, &p, &so->copies.fence);
	if (r == 0 && !so->copies.copy[n]) {
		so->copies.copy[n] = display_buffer_create(&p, &g->display->budget, cost);
		if (!so->copies.copy[n]) {
			g->backend->ops->drop_copy(g->backend, i, n);
			r = -ENOMEM;
		}
	}
	if (r < 0) {
		display_budget_give(&g->display->budget, cost);
	}
	return r;
}

/* The same in rows, which a GPU that is not this one can read too, where somebody cannot import what this one likes. Return: 0, or -errno; then no place was taken. */
static int copy_for_all(struct gpu *g, unsigned i, unsigned n)
{
	struct gpu_copies *c = &g->scanout[i].copies;
	int r = copy_into(g, i, n);

	if (r < 0 || c->is_linear || display_copies_are_imported(g->display, i, &c->copy[n]->picture)) {
		return r;
	}
	drop_all(g, i);
	set_linear(c, true);
	if (copy_into(g, i, n) == 0) {
		return 0;
	}
	set_linear(c, false);
	return copy_into(g, i, n);
}

static void start(struct gpu *g, unsigned i)
{
	struct gpu_copies *c = &g->scanout[i].copies;
	const struct display_scanout *so = &g->display->scanout[i];
	unsigned n;
	int r;

	c->is_due = true;
	n = c->is_pending ? GPU_COPIES_MAX : find_place(g, i);
	if (n == GPU_COPIES_MAX) {
		return;
	}
	c->is_due = false;
	r = copy_for_all(g, i, n);
	if (r < 0) {
		fail(g, i, r);
		return;
	}
	c->is_pending = true;
	c->pending = n;
	c->number = so->frames;
	c->flushed_ns = so->flushed_ns;
	__atomic_store_n(&g->no_copies, NULL, __ATOMIC_RELAXED);
}

void gpu_copy_shown(struct gpu *g, unsigned i)
{
	decide(g, i);
}

void gpu_copy_flushed(struct gpu *g, unsigned i)
{
	if (g->display->scanout[i].is_copied) {
		start(g, i);
	}
}

void gpu_copy_take_over(struct gpu *g, unsigned i)
{
	if (decide_for(g, i, display_copy_sinks(g->display))) {
		start(g, i);
	}
}

void gpu_copy_wanted(struct gpu *g, unsigned i)
{
	/* There may be memory now. */
	g->scanout[i].copies.failed_width = g->scanout[i].copies.failed_height = 0;
	/* And who had to have rows may be the one that has gone. */
	if (g->scanout[i].copies.is_linear) {
		set_linear(&g->scanout[i].copies, false);
		drop(g, i);
	}
	if (decide(g, i)) {
		start(g, i);
	}
}

void gpu_copy_retired(struct gpu *g, uint64_t fence)
{
	for (unsigned i = 0; i < g->display->nscanouts; i++) {
		struct gpu_copies *c = &g->scanout[i].copies;

		if (!c->is_pending || c->fence > fence) {
			continue;
		}
		c->is_pending = false;
		display_publish(g->display, i, c->copy[c->pending], c->number, c->flushed_ns);
		if (c->is_due) {
			start(g, i);
		}
	}
}
