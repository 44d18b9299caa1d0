/* SPDX-License-Identifier: MIT */
#include "devices/gpu_direct.h"

#include <assert.h>
#include <stddef.h>

#include "devices/gpu_copy.h"
#include "vmm/clock.h"
#include "vmm/log.h"

static struct gpu_direct *direct_at(struct gpu *g, unsigned i)
{
	return &g->scanout[i].direct;
}

/*
 * Waiting.
 */

/* The queue is served again. */
static void go_on(struct gpu *g)
{
	if (g->wait.is_waiting) {
		g->wait.is_waiting = false;
		loop_timer_set(&g->again, clock_now_ns() + 1);
	}
}

/* Somebody has let go of a picture. */
static void on_alone(void *ctx)
{
	go_on(ctx);
}

static bool is_held(const struct gpu_direct_picture *p)
{
	return p->buffer && p->buffer->refs > 1 && !p->is_lost;
}

/* Whether @p is in a frame that is still to be sent. */
static bool is_unsent(const struct gpu *g, unsigned i, const struct gpu_direct_picture *p)
{
	const struct gpu_direct *d = &g->scanout[i].direct;

	return p->buffer == d->pending.buffer || p->buffer == d->due.buffer || p->buffer == g->display->scanout[i].offer;
}

/* Whether the viewer looks at @p. */
static bool is_with_viewer(const struct gpu *g, unsigned i, const struct gpu_direct_picture *p)
{
	const struct gpu_direct *d = &g->scanout[i].direct;

	return p->buffer && p->buffer->refs > 1u + (p->buffer == d->pending.buffer) + (p->buffer == d->due.buffer) + (p->buffer == g->display->scanout[i].offer);
}

/* What a command draws in. */
struct target {
	uint32_t id; /* 0: those below */
	struct gpu_table *attached;
	uint64_t mark;
};

static bool is_drawn(struct gpu *g, const struct target *t, uint32_t id)
{
	if (t->id) {
		return id == t->id;
	}
	return gpu_table_find(t->attached, id) && (!t->mark || gpu_resource_find(g, id)->charge->drawn == t->mark);
}

static bool must_wait(struct gpu *g, const struct target *t)
{
	uint32_t scanouts = 0, unsent = 0;

	for (unsigned i = 0; i < g->display->nscanouts; i++) {
		for (unsigned n = 0; g->display->scanout[i].is_direct && n < GPU_DIRECT_MAX; n++) {
			const struct gpu_direct_picture *p = &direct_at(g, i)->at[n];

			if (is_held(p) && is_drawn(g, t, p->id)) {
				scanouts |= 1u << i;
				unsent |= is_unsent(g, i, p) ? 1u << i : 0;
			}
		}
	}
	if (!scanouts || g->wait.is_over) {
		return false;
	}
	if (g->wait.patience.deadline_ns == 0) {
		gpu_count(&g->counters.waits);
		loop_timer_set(&g->wait.patience, clock_now_ns() + GPU_DIRECT_WAIT_NS);
	}
	g->wait.is_waiting = true;
	g->wait.scanouts = scanouts;
	g->wait.unsent = unsent;
	return true;
}

bool gpu_direct_must_wait(struct gpu *g, uint32_t id)
{
	return must_wait(g, &(const struct target){.id = id});
}

bool gpu_direct_must_wait_for(struct gpu *g, struct gpu_table *attached, uint64_t mark)
{
	return must_wait(g, &(const struct target){.attached = attached, .mark = mark});
}

bool gpu_direct_holds(const struct gpu *g, struct gpu_table *attached)
{
	for (unsigned i = 0; i < g->display->nscanouts; i++) {
		for (unsigned n = 0; g->display->scanout[i].is_direct && n < GPU_DIRECT_MAX; n++) {
			const struct gpu_direct_picture *p = &g->scanout[i].direct.at[n];

			if (is_held(p) && gpu_table_find(attached, p->id)) {
				return true;
			}
		}
	}
	return false;
}

void gpu_direct_went(struct gpu *g)
{
	g->wait.is_over = false;
	if (g->wait.patience.deadline_ns != 0) {
		loop_timer_stop(&g->wait.patience);
	}
}

void gpu_direct_end_wait(struct gpu *g)
{
	g->wait.is_waiting = false;
	gpu_direct_went(g);
}

/*
 * Pictures.
 */

static void drop_picture(struct gpu_direct_picture *p)
{
	struct display_buffer *buffer = p->buffer;

	*p = (struct gpu_direct_picture){.id = 0};
	if (buffer) {
		buffer->alone = NULL;
		display_buffer_unref(buffer);
	}
}

static void drop_frame(struct gpu_direct_frame *f)
{
	struct display_buffer *buffer = f->buffer;

	f->buffer = NULL;
	display_buffer_unref(buffer);
}

/* Of what the scanout shows, or a place for it: the one that was flushed longest ago of those nobody holds. There are more places than can be held: two frames here, one on offer, one with
 * the viewer. */
static struct gpu_direct_picture *find_place(struct gpu_direct *d, uint32_t id)
{
	struct gpu_direct_picture *found = NULL;

	for (unsigned n = 0; n < GPU_DIRECT_MAX; n++) {
		struct gpu_direct_picture *p = &d->at[n];

		if (p->buffer && p->id == id) {
			return p;
		}
		if ((!p->buffer || p->buffer->refs == 1) && (!found || p->used < found->used)) {
			found = p;
		}
	}
	return found;
}

/* What nobody holds makes room. Return: false when that is not enough. */
static bool take_budget(struct gpu *g, struct gpu_direct *d, uint64_t cost)
{
	if (display_budget_take(&g->display->budget, cost)) {
		return true;
	}
	for (unsigned n = 0; n < GPU_DIRECT_MAX; n++) {
		if (d->at[n].buffer && d->at[n].buffer->refs == 1) {
			drop_picture(&d->at[n]);
		}
	}
	return display_budget_take(&g->display->budget, cost);
}

/* What scanout @i shows, exported. Return: borrowed, or NULL with *@why. */
static struct display_buffer *picture_of(struct gpu *g, unsigned i, const char **why)
{
	const struct gpu_resource *res = g->scanout[i].res;
	struct gpu_direct *d = direct_at(g, i);
	struct gpu_direct_picture *p = find_place(d, res->entry.id);
	uint64_t cost = (uint64_t)res->width * res->height * GPU_BYTES_PER_PIXEL;
	struct display_picture picture;

	assert(p);
	if (p->buffer && p->id == res->entry.id) {
		p->used = ++d->uses;
		p->is_lost = false;
		return p->buffer;
	}
	drop_picture(p);
	/* The texture stays as long as somebody looks at it, whatever the guest does with its resource. */
	if (!take_budget(g, d, cost)) {
		*why = "no memory for pictures that are sent as they are";
		return NULL;
	}
	*why = "the driver does not export what the guest draws in";
	if (g->backend->ops->export_texture(g->backend, res->entry.id, &picture) == 0) {
		*why = "no memory";
		p->buffer = display_buffer_create(&picture, &g->display->budget, cost);
	}
	if (!p->buffer) {
		display_budget_give(&g->display->budget, cost);
		return NULL;
	}
	p->buffer->alone = on_alone;
	p->buffer->alone_ctx = g;
	p->id = res->entry.id;
	p->used = ++d->uses;
	return p->buffer;
}

/*
 * Which scanouts.
 */

static void drop_all(struct gpu *g, unsigned i)
{
	struct gpu_direct *d = direct_at(g, i);

	drop_frame(&d->pending);
	drop_frame(&d->due);
	for (unsigned n = 0; n < GPU_DIRECT_MAX; n++) {
		drop_picture(&d->at[n]);
	}
	/* What waited for one of these. */
	go_on(g);
}

static void stop(struct gpu *g, unsigned i)
{
	if (g->display->scanout[i].is_direct) {
		/* First: where there are copies it gets nothing else. */
		gpu_copy_take_over(g, i);
		display_set_direct(g->display, i, false);
	}
	drop_all(g, i);
}

static void say_why(struct gpu_direct *d, const char *why)
{
	__atomic_store_n(&d->why, why, __ATOMIC_RELAXED);
}

/* Return: why scanout @i is not direct; NULL: what it shows may be, if it can be exported. */
static const char *why_not(const struct gpu *g, unsigned i)
{
	const struct gpu_scanout *so = &g->scanout[i];
	bool was_late = display_has_been_late(g->display, i);

	if (!so->res->is_3d) {
		return "the guest shows what no GPU has drawn";
	}
	if (g->direct_way == GPU_DIRECT_NEVER) {
		return "display.zero_copy is \"never\"";
	}
	if (!g->backend->ops->export_texture) {
		return "the renderer exports no textures";
	}
	if (!display_can_offer(g->display)) {
		return "whoever controls takes no dma-bufs";
	}
	if (g->direct_way == GPU_DIRECT_ALWAYS) {
		return NULL;
	}
	if (so->direct.flips < GPU_DIRECT_FLIPS) {
		return "the guest does not flip between pictures";
	}
	if (!g->display->scanout[i].is_direct && display_prompt_frames(g->display, i) < (was_late ? GPU_DIRECT_PROMPT_AGAIN : GPU_DIRECT_PROMPT)) {
		return was_late ? "the viewer has held a picture for too long" : "the viewer is not known to let go of pictures soon";
	}
	return NULL;
}

/* Return: what scanout @i shows, borrowed, when it is direct from now on; else NULL. */
static struct display_buffer *decide(struct gpu *g, unsigned i)
{
	struct gpu_direct *d = direct_at(g, i);
	const char *why = why_not(g, i);
	struct display_buffer *buffer = why ? NULL : picture_of(g, i, &why);

	if (buffer && !display_imports(g->display, &buffer->picture)) {
		why = "the viewer cannot import what the guest draws in";
		buffer = NULL;
	}
	say_why(d, buffer ? NULL : why);
	if (!buffer) {
		stop(g, i);
	} else if (!g->display->scanout[i].is_direct) {
		display_set_direct(g->display, i, true);
		gpu_copy_shown(g, i);
	}
	return buffer;
}

/*
 * Frames.
 */

/* @f, which is taken over, is on its way. */
static void start(struct gpu *g, unsigned i, struct gpu_direct_frame *f)
{
	struct gpu_direct *d = direct_at(g, i);

	d->pending = *f;
	f->buffer = NULL;
	if (g->backend->ops->await_texture(g->backend, d->pending.id, &d->fence) < 0) {
		say_why(d, "the renderer gives no fence");
		stop(g, i);
	}
}

/* Whether the guest flips. The first flush says nothing. */
static void note_flush(struct gpu_direct *d, uint32_t id)
{
	if (d->last != id) {
		d->flips += d->last != 0 && d->flips < GPU_DIRECT_FLIPS;
		d->same = 0;
	} else if (++d->same >= GPU_DIRECT_SAME) {
		d->same = GPU_DIRECT_SAME;
		d->flips = 0;
	}
	d->last = id;
}

void gpu_direct_flushed(struct gpu *g, unsigned i)
{
	const struct display_scanout *shown = &g->display->scanout[i];
	const struct gpu_scanout *so = &g->scanout[i];
	struct gpu_direct *d = direct_at(g, i);
	struct gpu_direct_frame f = {.id = so->res->entry.id, .crop = so->crop, .number = shown->frames, .flushed_ns = shown->flushed_ns};

	note_flush(d, f.id);
	f.buffer = display_buffer_ref(decide(g, i));
	if (!f.buffer) {
		return;
	}
	if (d->pending.buffer) {
		drop_frame(&d->due);
		d->due = f;
	} else {
		start(g, i, &f);
	}
}

void gpu_direct_retired(struct gpu *g, uint64_t fence)
{
	for (unsigned i = 0; i < g->display->nscanouts; i++) {
		struct gpu_direct *d = direct_at(g, i);
		struct gpu_direct_frame f = d->pending;

		if (!f.buffer || d->fence > fence) {
			continue;
		}
		d->pending.buffer = NULL;
		display_offer(g->display, i, f.buffer, &f.crop, f.number, f.flushed_ns);
		drop_frame(&f);
		if (d->due.buffer) {
			start(g, i, &d->due);
		}
	}
}

void gpu_direct_forget(struct gpu *g, unsigned i)
{
	struct gpu_direct *d = direct_at(g, i);

	drop_all(g, i);
	d->last = 0;
	d->flips = d->same = 0;
	say_why(d, NULL);
}

void gpu_direct_unref(struct gpu *g, uint32_t id)
{
	for (unsigned i = 0; i < g->display->nscanouts; i++) {
		struct gpu_direct *d = direct_at(g, i);

		for (unsigned n = 0; n < GPU_DIRECT_MAX; n++) {
			if (d->at[n].buffer && d->at[n].id == id) {
				drop_picture(&d->at[n]);
				go_on(g);
			}
		}
		/* One that waits for the one before to be done has no texture to ask about any more. */
		if (d->due.buffer && d->due.id == id) {
			drop_frame(&d->due);
		}
		d->last = d->last == id ? 0 : d->last;
	}
}

void gpu_direct_wanted(struct gpu *g, unsigned i)
{
	const char *why;

	/* Another one paces, or it takes no more: that has ended it. */
	if (g->scanout[i].res && !g->display->scanout[i].is_direct) {
		drop_all(g, i);
		why = why_not(g, i);
		say_why(direct_at(g, i), why ? why : "the guest has flushed nothing since viewers, or what they import, have changed");
	}
}

/*
 * Late viewers.
 */

static void on_patience(struct loop_timer *timer)
{
	struct gpu *g = (struct gpu *)((char *)timer - offsetof(struct gpu, wait.patience));

	for (unsigned i = 0; i < g->display->nscanouts; i++) {
		struct gpu_direct *d = direct_at(g, i);

		if (!(g->wait.scanouts & 1u << i) || !g->display->scanout[i].is_direct) {
			continue;
		}
		display_was_late(g->display, i);
		if (g->direct_way != GPU_DIRECT_ALWAYS) {
			say_why(d, "the viewer has held a picture for too long");
			stop(g, i);
			continue;
		}
		for (unsigned n = 0; n < GPU_DIRECT_MAX; n++) {
			d->at[n].is_lost = is_with_viewer(g, i, &d->at[n]);
		}
		/* Nor is it sent what is drawn in from now on: what comes next is. */
		if (g->wait.unsent & 1u << i) {
			drop_frame(&d->pending);
			drop_frame(&d->due);
			display_withdraw(g->display, i);
		}
	}
	gpu_count(&g->counters.late_waits);
	g->wait.is_over = true;
	go_on(g);
}

/*
 * Beginning and end.
 */

void gpu_direct_init(struct gpu *g, enum gpu_direct_way way)
{
	g->direct_way = way;
	loop_timer_init(&g->wait.patience, g->base.loop, on_patience);
}
