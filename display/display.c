/* SPDX-License-Identifier: MIT */
#include "display/display.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "vmm/clock.h"

static void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static struct display_scanout *scanout_at(struct display *d, unsigned i)
{
	assert(loop_is_current(d->loop) && i < d->nscanouts);
	return &d->scanout[i];
}

/*
 * Holding.
 */

static struct display_hold **first_done(struct display *d, bool all)
{
	struct display_hold **p = &d->holds;

	while (*p && !all && (*p)->scanouts) {
		p = &(*p)->next;
	}
	return p;
}

/* Lets go of what waits for nothing, or of everything. What is called meanwhile may change the list. */
static void let_go(struct display *d, bool all)
{
	struct display_hold **p, *h;

	while ((h = *(p = first_done(d, all)))) {
		*p = h->next;
		h->next = NULL;
		h->scanouts = 0;
		h->done(h);
	}
	if (d->holds) {
		loop_timer_set(&d->late, d->holds->deadline_ns);
	} else {
		loop_timer_stop(&d->late);
	}
}

static void on_late(struct loop_timer *timer)
{
	struct display *d = (struct display *)((char *)timer - offsetof(struct display, late));
	uint32_t late = 0;

	for (const struct display_hold *h = d->holds; h && h->deadline_ns <= clock_now_ns(); h = h->next) {
		late |= h->scanouts;
	}
	d->late_scanouts |= late;
	for (struct display_hold *h = d->holds; h; h = h->next) {
		h->scanouts &= ~late;
	}
	count(&d->counters.late, 1);
	count(&d->pacer->demoted, 1);
	let_go(d, false);
}

/* What was flushed on scanout @i up to @number waits no more. */
static void seen(struct display *d, unsigned i, uint64_t number)
{
	for (struct display_hold *h = d->holds; h; h = h->next) {
		if (h->number[i] <= number) {
			h->scanouts &= ~(1u << i);
		}
	}
	let_go(d, false);
}

bool display_is_paced(const struct display *d)
{
	return d->pacer && d->late_scanouts != (1u << d->nscanouts) - 1;
}

bool display_hold(struct display *d, struct display_hold *h, uint32_t scanouts)
{
	struct display_hold **end = &d->holds;

	h->scanouts = 0;
	for (unsigned i = 0; display_is_paced(d) && i < d->nscanouts; i++) {
		if (scanouts & ~d->late_scanouts & 1u << i && d->scanout[i].buffer && d->scanout[i].frames > d->seen[i]) {
			h->scanouts |= 1u << i;
			h->number[i] = d->scanout[i].frames;
		}
	}
	if (!h->scanouts) {
		return false;
	}
	while (*end) {
		end = &(*end)->next;
	}
	*end = h;
	h->next = NULL;
	h->deadline_ns = clock_now_ns() + DISPLAY_HOLD_NS;
	if (d->holds == h) {
		loop_timer_set(&d->late, h->deadline_ns);
	}
	count(&d->counters.held, 1);
	return true;
}

void display_unhold(struct display *d, struct display_hold *h)
{
	for (struct display_hold **p = &d->holds; *p; p = &(*p)->next) {
		if (*p == h) {
			*p = h->next;
			h->next = NULL;
			break;
		}
	}
	let_go(d, false);
}

void display_pace(struct display *d, struct display_sink *sink)
{
	if (d->pacer != sink) {
		d->pacer = sink;
		d->late_scanouts = 0;
		memset(d->seen, 0, sizeof(d->seen));
		let_go(d, true);
	}
}

void display_seen(struct display *d, struct display_sink *sink, unsigned i, uint64_t number)
{
	assert(i < d->nscanouts);
	if (d->pacer == sink) {
		d->late_scanouts &= ~(1u << i);
		d->seen[i] = number > d->seen[i] ? number : d->seen[i];
		seen(d, i, d->seen[i]);
	}
}

/*
 * Scanouts.
 */

static void on_gone(void *ctx, uint64_t buffer)
{
	const struct display *d = ctx;

	for (struct display_sink *s = d->sinks; s; s = s->next) {
		if (s->ops->gone) {
			s->ops->gone(s->ctx, buffer);
		}
	}
}

void display_init(struct display *d, struct loop *loop, const struct display_output *outputs, unsigned n, uint64_t budget)
{
	assert(n > 0 && n <= DISPLAY_SCANOUTS_MAX);
	memset(d, 0, sizeof(*d));
	d->loop = loop;
	d->nscanouts = n;
	d->budget = (struct display_budget){.max = budget, .gone = on_gone, .gone_ctx = d};
	loop_timer_init(&d->late, loop, on_late);
	for (unsigned i = 0; i < n; i++) {
		d->scanout[i].output = outputs[i];
	}
}

static void drop_copy(struct display_scanout *so)
{
	struct display_buffer *copy = so->copy;

	so->copy = NULL;
	display_buffer_unref(copy);
}

void display_finish(struct display *d)
{
	assert(!d->sinks && !d->holds);
	for (unsigned i = 0; i < d->nscanouts; i++) {
		display_buffer_unref(d->scanout[i].buffer);
		d->scanout[i].buffer = NULL;
		drop_copy(&d->scanout[i]);
	}
	assert(d->budget.used == 0);
}

void display_set_guest(struct display *d, void (*changed)(void *ctx), void *ctx)
{
	d->changed = changed;
	d->changed_ctx = ctx;
}

size_t display_edid(const struct display *d, unsigned i, uint8_t out[EDID_MAX])
{
	const struct display_output *o = &d->scanout[i].output;
	struct edid_monitor m = {.width = o->width, .height = o->height, .refresh_hz = o->refresh_hz, .width_mm = o->width_mm, .height_mm = o->height_mm, .number = i};

	return edid_make(&m, out);
}

static void tell_mode(struct display *d, unsigned i)
{
	for (struct display_sink *s = d->sinks; s; s = s->next) {
		if (s->ops->mode) {
			s->ops->mode(s->ctx, i);
		}
	}
}

static void tell_cursor(struct display *d, unsigned i, bool image)
{
	for (struct display_sink *s = d->sinks; s; s = s->next) {
		if (s->ops->cursor) {
			s->ops->cursor(s->ctx, i, image);
		}
	}
}

static bool gets_copies(const struct display_scanout *so, const struct display_sink *s)
{
	return so->is_copied && s->takes_copies;
}

/* The whole of what scanout @i shows is new to @s. */
static void damage_all(const struct display *d, struct display_sink *s, unsigned i)
{
	const struct display_rect *crop = &d->scanout[i].crop;

	s->at[i].damage.n = 0;
	display_damage_add(&s->at[i].damage, &(struct display_rect){0, 0, crop->w, crop->h});
}

void display_show(struct display *d, unsigned i, struct display_buffer *buffer, const struct display_rect *crop)
{
	struct display_scanout *so = scanout_at(d, i);
	bool was_shown = so->buffer != NULL;

	assert(!buffer || display_rect_is_inside(crop, buffer->picture.width, buffer->picture.height));
	if (buffer && so->buffer == buffer && memcmp(&so->crop, crop, sizeof(*crop)) == 0) {
		return;
	}
	if (!buffer) {
		drop_copy(so);
		so->is_copied = false;
	}
	display_buffer_ref(buffer);
	display_buffer_unref(so->buffer);
	so->buffer = buffer;
	so->crop = buffer ? *crop : (struct display_rect){.w = 0};
	for (struct display_sink *s = d->sinks; s; s = s->next) {
		if (!buffer || !gets_copies(so, s)) {
			damage_all(d, s, i);
			s->at[i].has_frame &= buffer != NULL;
		}
	}
	if (was_shown != (buffer != NULL)) {
		tell_mode(d, i);
	}
	if (!buffer) {
		seen(d, i, UINT64_MAX);
	}
}

/* There is one for @s to take. */
static void has_frame(struct display *d, struct display_sink *s, unsigned i)
{
	if (s->at[i].has_frame) {
		count(&d->counters.replaced, 1);
		return;
	}
	s->at[i].has_frame = true;
	if (s->ops->frame) {
		s->ops->frame(s->ctx, i);
	}
}

uint64_t display_flush(struct display *d, unsigned i, const struct display_rect *r)
{
	struct display_scanout *so = scanout_at(d, i);
	struct display_rect part = *r;

	if (!so->buffer || !display_rect_clip(&part, &so->crop)) {
		return 0;
	}
	part.x -= so->crop.x;
	part.y -= so->crop.y;
	so->frames++;
	so->flushed_ns = clock_now_ns();
	count(&d->counters.flushes, 1);
	count(&d->counters.damaged_bytes, display_rect_area(&part) * 4);
	if (d->watch) {
		d->watch(d->watch_ctx, i);
	}
	for (struct display_sink *s = d->sinks; s; s = s->next) {
		if (!gets_copies(so, s)) {
			display_damage_add(&s->at[i].damage, &part);
			has_frame(d, s, i);
		}
	}
	return display_rect_area(&part);
}

bool display_is_watched(const struct display *d, unsigned i)
{
	for (const struct display_sink *s = d->sinks; s; s = s->next) {
		if (!gets_copies(&d->scanout[i], s)) {
			return true;
		}
	}
	return false;
}

/*
 * Copies.
 */

unsigned display_copy_sinks(const struct display *d)
{
	unsigned n = 0;

	for (const struct display_sink *s = d->sinks; s; s = s->next) {
		n += s->takes_copies;
	}
	return n;
}

void display_set_wanted(struct display *d, void (*wanted)(void *ctx, unsigned scanout), void *ctx)
{
	d->wanted = wanted;
	d->wanted_ctx = ctx;
}

static void tell_wanted(struct display *d)
{
	for (unsigned i = 0; d->wanted && i < d->nscanouts; i++) {
		if (d->scanout[i].buffer) {
			d->wanted(d->wanted_ctx, i);
		}
	}
}

/* @s maps what scanout @i shows, or gets nothing before a copy is there. */
static void begin_anew(struct display *d, struct display_sink *s, unsigned i)
{
	const struct display_scanout *so = &d->scanout[i];

	s->at[i].has_frame = false;
	damage_all(d, s, i);
	if (so->buffer && !gets_copies(so, s)) {
		has_frame(d, s, i);
	}
}

void display_set_copied(struct display *d, unsigned i, bool on)
{
	struct display_scanout *so = scanout_at(d, i);

	if (so->is_copied == on) {
		return;
	}
	so->is_copied = on;
	drop_copy(so);
	for (struct display_sink *s = d->sinks; s; s = s->next) {
		if (s->takes_copies) {
			begin_anew(d, s, i);
		}
	}
}

void display_publish(struct display *d, unsigned i, struct display_buffer *copy, uint64_t number, uint64_t flushed_ns)
{
	struct display_scanout *so = scanout_at(d, i);

	assert(so->is_copied && copy->picture.planes.n > 0);
	display_buffer_ref(copy);
	drop_copy(so);
	so->copy = copy;
	so->copy_number = number;
	so->copy_flushed_ns = flushed_ns;
	count(&d->counters.copies, 1);
	for (struct display_sink *s = d->sinks; s; s = s->next) {
		if (s->takes_copies) {
			has_frame(d, s, i);
		}
	}
}

void display_sink_set_copies(struct display *d, struct display_sink *sink, bool on)
{
	if (sink->takes_copies == on) {
		return;
	}
	sink->takes_copies = on;
	for (unsigned i = 0; i < d->nscanouts; i++) {
		if (d->scanout[i].is_copied) {
			begin_anew(d, sink, i);
		}
	}
	tell_wanted(d);
}

void display_set_watch(struct display *d, void (*watch)(void *ctx, unsigned scanout), void *ctx)
{
	d->watch = watch;
	d->watch_ctx = ctx;
}

void display_set_refresh(struct display *d, void (*refresh)(void *ctx, unsigned scanout), void *ctx)
{
	d->refresh = refresh;
	d->refresh_ctx = ctx;
}

void display_refresh(struct display *d, unsigned i)
{
	if (d->refresh && scanout_at(d, i)->buffer) {
		d->refresh(d->refresh_ctx, i);
	}
}

void display_set_cursor(struct display *d, unsigned i, const uint32_t *image, uint32_t hot_x, uint32_t hot_y)
{
	struct display_cursor *c = &scanout_at(d, i)->cursor;

	if (image) {
		memcpy(c->image, image, sizeof(c->image));
		c->hot_x = hot_x < DISPLAY_CURSOR_SIZE ? hot_x : DISPLAY_CURSOR_SIZE - 1;
		c->hot_y = hot_y < DISPLAY_CURSOR_SIZE ? hot_y : DISPLAY_CURSOR_SIZE - 1;
		c->image_id++;
	} else if (!c->visible) {
		return;
	}
	c->visible = image != NULL;
	tell_cursor(d, i, true);
}

void display_move_cursor(struct display *d, unsigned i, int32_t x, int32_t y)
{
	struct display_cursor *c = &scanout_at(d, i)->cursor;

	if (c->x != x || c->y != y) {
		c->x = x;
		c->y = y;
		tell_cursor(d, i, false);
	}
}

void display_set_output(struct display *d, unsigned i, const struct display_output *output)
{
	struct display_output *o = &scanout_at(d, i)->output;

	assert(output->width > 0 && output->width <= DISPLAY_SIZE_MAX && output->height > 0 && output->height <= DISPLAY_SIZE_MAX && output->refresh_hz > 0);
	if (o->enabled == output->enabled && o->width == output->width && o->height == output->height && o->refresh_hz == output->refresh_hz &&
		o->width_mm == output->width_mm && o->height_mm == output->height_mm) {
		return;
	}
	*o = *output;
	tell_mode(d, i);
	if (d->changed) {
		d->changed(d->changed_ctx);
	}
}

void display_sink_add(struct display *d, struct display_sink *sink)
{
	assert(loop_is_current(d->loop));
	sink->next = d->sinks;
	d->sinks = sink;
	/* First: where copies can be made it gets nothing else. */
	if (sink->takes_copies) {
		tell_wanted(d);
	}
	for (unsigned i = 0; i < d->nscanouts; i++) {
		begin_anew(d, sink, i);
	}
}

void display_sink_remove(struct display *d, struct display_sink *sink)
{
	for (struct display_sink **p = &d->sinks; *p; p = &(*p)->next) {
		if (*p == sink) {
			*p = sink->next;
			sink->next = NULL;
			break;
		}
	}
	if (d->pacer == sink) {
		display_pace(d, NULL);
	}
	if (sink->takes_copies) {
		tell_wanted(d);
	}
}

bool display_take(struct display *d, struct display_sink *sink, unsigned i, struct display_frame *frame)
{
	const struct display_scanout *so = scanout_at(d, i);

	if (!sink->at[i].has_frame || !so->buffer) {
		return false;
	}
	if (gets_copies(so, sink)) {
		const struct display_picture *p = &so->copy->picture; /* one was published */

		*frame = (struct display_frame){.buffer = display_buffer_ref(so->copy), .crop = {0, 0, p->width, p->height}, .number = so->copy_number,
			.flushed_ns = so->copy_flushed_ns};
		sink->at[i].has_frame = false;
		count(&d->counters.taken, 1);
		return true;
	}
	display_refresh(d, i);
	*frame = (struct display_frame){.buffer = display_buffer_ref(so->buffer), .crop = so->crop, .damage = sink->at[i].damage, .number = so->frames,
		.flushed_ns = so->flushed_ns};
	sink->at[i].has_frame = false;
	sink->at[i].damage.n = 0;
	count(&d->counters.taken, 1);
	return true;
}
