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

static uint32_t end_direct(struct display *d);
static void follow_direct(struct display *d, const struct display_sink *pacer, uint32_t scanouts);
static void tell_wanted(struct display *d);

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
	return d->pacer && !d->pacer->waits && d->late_scanouts != (1u << d->nscanouts) - 1;
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
	struct display_sink *before = d->pacer;
	uint32_t direct;

	if (before == sink) {
		return;
	}
	direct = end_direct(d);
	d->pacer = sink;
	d->late_scanouts = 0;
	memset(d->seen, 0, sizeof(d->seen));
	memset(d->pace, 0, sizeof(d->pace));
	let_go(d, true);
	follow_direct(d, before, direct);
	/* Where nothing was direct nobody has heard yet that something may be now. */
	if (!direct && sink && sink->takes_copies) {
		tell_wanted(d);
	}
}

/* Whether frame @number was seen soon after it was taken. */
static void judge(struct display *d, unsigned i, uint64_t number)
{
	for (unsigned n = 0; n < 2; n++) {
		if (number != 0 && d->pace[i].number[n] == number) {
			d->pace[i].prompt = clock_now_ns() - d->pace[i].ns[n] <= DISPLAY_PROMPT_NS ? d->pace[i].prompt + 1 : 0;
			d->pace[i].number[n] = 0;
		}
	}
}

static void note_taken(struct display *d, unsigned i, uint64_t number)
{
	unsigned n = d->pace[i].last ^= 1;

	d->pace[i].number[n] = number;
	d->pace[i].ns[n] = clock_now_ns();
}

void display_seen(struct display *d, struct display_sink *sink, unsigned i, uint64_t number)
{
	assert(i < d->nscanouts);
	if (d->pacer == sink) {
		judge(d, i, number);
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

static void drop_offer(struct display_scanout *so)
{
	struct display_buffer *offer = so->offer;

	so->offer = NULL;
	display_buffer_unref(offer);
}

void display_finish(struct display *d)
{
	assert(!d->sinks && !d->holds);
	for (unsigned i = 0; i < d->nscanouts; i++) {
		display_buffer_unref(d->scanout[i].buffer);
		d->scanout[i].buffer = NULL;
		drop_copy(&d->scanout[i]);
		drop_offer(&d->scanout[i]);
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

static bool gets_offers(const struct display *d, unsigned i, const struct display_sink *s)
{
	return d->scanout[i].is_direct && s == d->pacer;
}

static bool gets_copies(const struct display *d, unsigned i, const struct display_sink *s)
{
	return d->scanout[i].is_copied && s->takes_copies && !gets_offers(d, i, s);
}

/* Neither of these: it maps the buffer, if it does not wait. */
static bool maps(const struct display *d, unsigned i, const struct display_sink *s)
{
	return !s->waits && !gets_offers(d, i, s) && !gets_copies(d, i, s);
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
		drop_offer(so);
		so->is_copied = so->is_direct = false;
	}
	display_buffer_ref(buffer);
	display_buffer_unref(so->buffer);
	so->buffer = buffer;
	so->crop = buffer ? *crop : (struct display_rect){.w = 0};
	for (struct display_sink *s = d->sinks; s; s = s->next) {
		if (!buffer || maps(d, i, s)) {
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
		if (maps(d, i, s)) {
			display_damage_add(&s->at[i].damage, &part);
			has_frame(d, s, i);
		}
	}
	return display_rect_area(&part);
}

bool display_is_watched(const struct display *d, unsigned i)
{
	for (const struct display_sink *s = d->sinks; s; s = s->next) {
		if (maps(d, i, s)) {
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

bool display_copies_are_imported(const struct display *d, unsigned i, const struct display_picture *p)
{
	for (const struct display_sink *s = d->sinks; s; s = s->next) {
		if (s->takes_copies && !gets_offers(d, i, s) && s->ops->imports && !s->ops->imports(s->ctx, p)) {
			return false;
		}
	}
	return true;
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
	if (so->buffer && maps(d, i, s)) {
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
		if (s->takes_copies && !gets_offers(d, i, s)) {
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
	so->copy_ready_ns = clock_now_ns();
	count(&d->counters.copies, 1);
	for (struct display_sink *s = d->sinks; s; s = s->next) {
		if (gets_copies(d, i, s)) {
			has_frame(d, s, i);
		}
	}
}

void display_sink_set_copies(struct display *d, struct display_sink *sink, bool on)
{
	uint32_t direct = 0;

	if (sink->takes_copies == on) {
		return;
	}
	if (sink == d->pacer) {
		direct = end_direct(d);
	}
	sink->takes_copies = on;
	for (unsigned i = 0; i < d->nscanouts; i++) {
		if (d->scanout[i].is_copied || direct & 1u << i) {
			begin_anew(d, sink, i);
		}
	}
	tell_wanted(d);
}

void display_sink_start(struct display *d, struct display_sink *sink)
{
	bool waited = sink->waits;

	sink->waits = false;
	for (unsigned i = 0; waited && i < d->nscanouts; i++) {
		begin_anew(d, sink, i);
	}
}

/*
 * What guests draw in.
 */

/* No scanout is direct any more. Return: a bit for each that was; what the sink that paces gets there instead is for follow_direct. */
static uint32_t end_direct(struct display *d)
{
	uint32_t scanouts = 0;

	for (unsigned i = 0; i < d->nscanouts; i++) {
		scanouts |= d->scanout[i].is_direct ? 1u << i : 0;
		d->scanout[i].is_direct = false;
		drop_offer(&d->scanout[i]);
	}
	return scanouts;
}

/* @pacer, which had them and may be gone, gets of @scanouts something else; copies, where they can be made. */
static void follow_direct(struct display *d, const struct display_sink *pacer, uint32_t scanouts)
{
	if (!scanouts) {
		return;
	}
	/* First: where there are copies it gets nothing else. */
	tell_wanted(d);
	for (struct display_sink *s = d->sinks; s; s = s->next) {
		for (unsigned i = 0; s == pacer && i < d->nscanouts; i++) {
			if (scanouts & 1u << i) {
				begin_anew(d, s, i);
			}
		}
	}
}

bool display_can_offer(const struct display *d)
{
	return d->pacer && d->pacer->takes_copies;
}

bool display_imports(const struct display *d, const struct display_picture *p)
{
	return display_can_offer(d) && (!d->pacer->ops->imports || d->pacer->ops->imports(d->pacer->ctx, p));
}

unsigned display_prompt_frames(const struct display *d, unsigned i)
{
	return d->pace[i].prompt;
}

void display_was_late(struct display *d, unsigned i)
{
	d->pace[i].prompt = 0;
	d->pace[i].was_late = true;
	count(&d->counters.late, 1);
	if (d->pacer) {
		count(&d->pacer->demoted, 1);
	}
}

bool display_has_been_late(const struct display *d, unsigned i)
{
	return d->pace[i].was_late;
}

void display_set_direct(struct display *d, unsigned i, bool on)
{
	struct display_scanout *so = scanout_at(d, i);

	assert(!on || display_can_offer(d));
	if (so->is_direct != on) {
		so->is_direct = on;
		drop_offer(so);
		begin_anew(d, d->pacer, i);
	}
}

void display_offer(struct display *d, unsigned i, struct display_buffer *buffer, const struct display_rect *crop, uint64_t number, uint64_t flushed_ns)
{
	struct display_scanout *so = scanout_at(d, i);

	assert(so->is_direct && buffer->picture.planes.n > 0 && display_rect_is_inside(crop, buffer->picture.width, buffer->picture.height));
	display_buffer_ref(buffer);
	drop_offer(so);
	so->offer = buffer;
	so->offer_crop = *crop;
	so->offer_number = number;
	so->offer_flushed_ns = flushed_ns;
	so->offer_ready_ns = clock_now_ns();
	count(&d->counters.offers, 1);
	has_frame(d, d->pacer, i);
}

void display_withdraw(struct display *d, unsigned i)
{
	struct display_scanout *so = scanout_at(d, i);

	assert(so->is_direct);
	drop_offer(so);
	d->pacer->at[i].has_frame = false;
}

void display_sink_imports(struct display *d, struct display_sink *sink)
{
	uint32_t direct = sink == d->pacer ? end_direct(d) : 0;

	if (direct) {
		follow_direct(d, sink, direct);
	} else if (sink->takes_copies) {
		tell_wanted(d);
	}
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

static bool is_followed(const struct display_scanout *so)
{
	return !so->buffer || (so->crop.w == so->output.width && so->crop.h == so->output.height);
}

void display_set_output(struct display *d, unsigned i, const struct display_output *output)
{
	struct display_output *o = &scanout_at(d, i)->output;
	bool is_same = o->enabled == output->enabled && o->width == output->width && o->height == output->height && o->refresh_hz == output->refresh_hz &&
		o->width_mm == output->width_mm && o->height_mm == output->height_mm;

	assert(output->width > 0 && output->width <= DISPLAY_SIZE_MAX && output->height > 0 && output->height <= DISPLAY_SIZE_MAX && output->refresh_hz > 0);
	if (is_same && is_followed(scanout_at(d, i))) {
		return;
	}
	if (!is_same) {
		*o = *output;
		tell_mode(d, i);
	}
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
	if (sink == d->pacer) {
		note_taken(d, i, gets_offers(d, i, sink) ? so->offer_number : gets_copies(d, i, sink) ? so->copy_number : so->frames);
	}
	if (gets_offers(d, i, sink)) {
		/* The display's reference is the sink's from here on: nobody else is to have it. */
		*frame = (struct display_frame){.buffer = so->offer, .crop = so->offer_crop, .number = so->offer_number, .flushed_ns = so->offer_flushed_ns,
			.ready_ns = so->offer_ready_ns};
		d->scanout[i].offer = NULL;
		sink->at[i].has_frame = false;
		count(&d->counters.taken, 1);
		return true;
	}
	if (gets_copies(d, i, sink)) {
		const struct display_picture *p = &so->copy->picture; /* one was published */

		*frame = (struct display_frame){.buffer = display_buffer_ref(so->copy), .crop = {0, 0, p->width, p->height}, .number = so->copy_number,
			.flushed_ns = so->copy_flushed_ns, .ready_ns = so->copy_ready_ns};
		sink->at[i].has_frame = false;
		count(&d->counters.taken, 1);
		return true;
	}
	display_refresh(d, i);
	*frame = (struct display_frame){.buffer = display_buffer_ref(so->buffer), .crop = so->crop, .damage = sink->at[i].damage, .number = so->frames,
		.flushed_ns = so->flushed_ns, .ready_ns = so->flushed_ns};
	sink->at[i].has_frame = false;
	sink->at[i].damage.n = 0;
	count(&d->counters.taken, 1);
	return true;
}
