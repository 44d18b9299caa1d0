/* SPDX-License-Identifier: MIT */
#include "display/viewer_out.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/log.h"

#define OUTPUT_MIN 64 /* pixels, as gpu.size */
#define REFRESH_MAX 360

static void pump(struct viewer_out *v);

/*
 * Counting.
 */

static void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static void sample(struct viewer_out_samples *s, uint64_t from_ns, uint64_t to_ns)
{
	uint64_t us = to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;

	__atomic_store_n(&s->us[s->n % VIEWER_OUT_SAMPLES], us < UINT32_MAX ? (uint32_t)us : UINT32_MAX, __ATOMIC_RELAXED);
	__atomic_store_n(&s->n, s->n + 1, __ATOMIC_RELEASE);
}

static int compare_us(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

bool viewer_out_percentiles(const struct viewer_out_samples *s, uint32_t us[3])
{
	static const unsigned percent[3] = {50, 90, 99};
	uint32_t sorted[VIEWER_OUT_SAMPLES];
	uint64_t all = __atomic_load_n(&s->n, __ATOMIC_ACQUIRE);
	size_t n = all < VIEWER_OUT_SAMPLES ? (size_t)all : VIEWER_OUT_SAMPLES;

	for (size_t i = 0; i < n; i++) {
		sorted[i] = __atomic_load_n(&s->us[i], __ATOMIC_RELAXED);
	}
	qsort(sorted, n, sizeof(sorted[0]), compare_us);
	for (size_t i = 0; n > 0 && i < 3; i++) {
		us[i] = sorted[(n - 1) * percent[i] / 100];
	}
	return n > 0;
}

static enum viewer_kind kind_of(const struct display_picture *p)
{
	return p->planes.n > 0 ? VIEWER_DMABUF : p->is_guest ? VIEWER_GUEST : VIEWER_MEMFD;
}

static void stamp(uint64_t *what, uint64_t ns)
{
	__atomic_store_n(what, ns, __ATOMIC_RELAXED);
}

static void begin_stamps(struct viewer_out *v, const struct viewer_frame *m, const struct display_frame *f)
{
	struct viewer_out_stamps *s = &v->stamps[v->nstamps % VIEWER_OUT_STAMPS];

	stamp(&s->number, m->number);
	stamp(&s->scanout, m->scanout);
	stamp(&s->kind, f->buffer->picture.planes.is_direct ? 0 : kind_of(&f->buffer->picture));
	stamp(&s->input_ns, m->input_ns);
	stamp(&s->flushed_ns, m->flushed_ns);
	stamp(&s->ready_ns, f->ready_ns);
	stamp(&s->sent_ns, m->sent_ns);
	stamp(&s->released_ns, 0);
	stamp(&s->presented_ns, 0);
	__atomic_store_n(&v->nstamps, v->nstamps + 1, __ATOMIC_RELEASE);
}

/* Of a frame that was sent. Return: NULL when that is too long ago. */
static struct viewer_out_stamps *stamps_of(struct viewer_out *v, unsigned scanout, uint64_t number)
{
	for (uint64_t n = v->nstamps; n > 0 && v->nstamps - n < VIEWER_OUT_STAMPS; n--) {
		struct viewer_out_stamps *s = &v->stamps[(n - 1) % VIEWER_OUT_STAMPS];

		if (s->number == number && s->scanout == scanout) {
			return s;
		}
	}
	return NULL;
}

bool viewer_out_stamps(const struct viewer_out *v, uint64_t n, struct viewer_out_stamps *stamps)
{
	const uint64_t *from = (const uint64_t *)&v->stamps[n % VIEWER_OUT_STAMPS];
	uint64_t *to = (uint64_t *)stamps;

	if (n >= __atomic_load_n(&v->nstamps, __ATOMIC_ACQUIRE)) {
		return false;
	}
	for (size_t i = 0; i < sizeof(*stamps) / sizeof(*to); i++) {
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	}
	/* The place may have become another frame's meanwhile, or be becoming it. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&v->nstamps, __ATOMIC_RELAXED) - n < VIEWER_OUT_STAMPS;
}

/*
 * The socket.
 */

static void lose(struct viewer_out *v, enum viewer_bye_reason reason, const char *text)
{
	if (v->is_lost) {
		return;
	}
	v->is_lost = true;
	loop_remove(&v->room);
	loop_timer_stop(&v->patience);
	v->ops->lost(v->ctx, reason, text);
}

static void on_room(struct loop_source *src, uint32_t events)
{
	struct viewer_out *v = (struct viewer_out *)((char *)src - offsetof(struct viewer_out, room));

	if (events & (EPOLLHUP | EPOLLERR)) {
		lose(v, 0, "");
		return;
	}
	pump(v);
}

static void on_patience(struct loop_timer *timer)
{
	struct viewer_out *v = (struct viewer_out *)((char *)timer - offsetof(struct viewer_out, patience));

	lose(v, VIEWER_BYE_SLOW, "it does not read what it is sent");
}

static void await_room(struct viewer_out *v)
{
	if (v->room.loop) {
		return;
	}
	v->room = (struct loop_source){.fd = v->fd, .events = EPOLLOUT, .fn = on_room};
	if (loop_add(v->display->loop, &v->room) < 0) {
		lose(v, 0, "");
		return;
	}
	loop_timer_set(&v->patience, clock_now_ns() + VIEWER_OUT_PATIENCE_NS);
}

/* A message, in one part or two, and @nfds descriptors, at most VIEWER_FDS_MAX. Return: 0, -EAGAIN, or another -errno: then the viewer is lost. */
static int send_parts(struct viewer_out *v, const struct iovec part[2], const int *fds, unsigned nfds)
{
	struct iovec iov[2] = {part[0], part[1]};
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(VIEWER_FDS_MAX * sizeof(int))];
	} cmsg = {.room = {0}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = iov[1].iov_len ? 2 : 1};

	if (nfds > 0) {
		cmsg.hdr = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(nfds * sizeof(int))};
		memcpy(CMSG_DATA(&cmsg.hdr), fds, nfds * sizeof(int));
		msg.msg_control = &cmsg;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
	}
	if (sendmsg(v->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
		return 0;
	}
	if (errno == EAGAIN || errno == EINTR) {
		return -EAGAIN;
	}
	/* ETOOMANYREFS: descriptors of ours that it has not taken yet. */
	lose(v, errno == ETOOMANYREFS ? VIEWER_BYE_SLOW : 0, errno == ETOOMANYREFS ? "it does not take what it is sent" : "");
	return -EPIPE;
}

static int send_message(struct viewer_out *v, const void *message, size_t len)
{
	return send_parts(v, (const struct iovec[2]){{(void *)(uintptr_t)message, len}}, NULL, 0);
}

/*
 * What is new.
 */

static int send_mode(struct viewer_out *v, unsigned i)
{
	const struct display_scanout *so = &v->display->scanout[i];
	const struct display_output *o = &so->output;
	struct viewer_out_scanout *at = &v->at[i];
	struct viewer_mode m = {.hdr.type = VIEWER_MODE, .scanout = i, .width = so->buffer ? so->crop.w : o->width, .height = so->buffer ? so->crop.h : o->height,
		.refresh_mhz = o->refresh_hz * 1000, .width_mm = o->width_mm ? o->width_mm : o->width * 254 / 960,
		.height_mm = o->height_mm ? o->height_mm : o->height * 254 / 960};
	int r;

	m.flags = (o->enabled ? VIEWER_MODE_PLUGGED : 0) | (so->buffer ? VIEWER_MODE_SHOWS : 0);
	r = send_message(v, &m, sizeof(m));
	if (r == 0) {
		at->is_mode_new = false;
		at->mode_width = m.width;
		at->mode_height = m.height;
		__atomic_store_n(&at->shown, m.flags ? (uint64_t)m.width << 32 | m.height : 0, __ATOMIC_RELAXED);
	}
	return r;
}

static int send_cursor(struct viewer_out *v, unsigned i)
{
	const struct display_cursor *c = &v->display->scanout[i].cursor;
	const struct viewer_cursor_image image = {.hdr.type = VIEWER_CURSOR_IMAGE, .scanout = i, .width = DISPLAY_CURSOR_SIZE, .height = DISPLAY_CURSOR_SIZE,
		.hot_x = c->hot_x, .hot_y = c->hot_y};
	const struct viewer_cursor cursor = {.hdr.type = VIEWER_CURSOR, .scanout = i, .visible = c->visible, .x = c->x, .y = c->y};
	struct viewer_out_scanout *at = &v->at[i];
	int r = 0;

	if (at->is_image_new && c->visible) {
		r = send_parts(v, (const struct iovec[2]){{(void *)(uintptr_t)&image, sizeof(image)}, {(void *)(uintptr_t)c->image, sizeof(c->image)}}, NULL, 0);
		at->is_image_new = r < 0;
	}
	if (r == 0) {
		r = send_message(v, &cursor, sizeof(cursor));
		at->is_cursor_new = r < 0;
	}
	return r;
}

static int send_gone(struct viewer_out *v)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < VIEWER_OUT_BUFFERS; i++) {
		struct viewer_out_buffer *b = &v->buffer[i];
		const struct viewer_buffer_gone m = {.hdr.type = VIEWER_BUFFER_GONE, .id = b->id};

		if (b->is_gone) {
			r = send_message(v, &m, sizeof(m));
			if (r == 0) {
				*b = (struct viewer_out_buffer){.id = 0};
			}
		}
	}
	return r;
}

/*
 * Buffers.
 */

static bool is_opaque(uint32_t fourcc)
{
	return fourcc == DISPLAY_XRGB8888 || fourcc == DISPLAY_XBGR8888 || fourcc == DISPLAY_RGBX8888 || fourcc == DISPLAY_BGRX8888;
}

static bool is_with_viewer(const struct viewer_out *v, uint64_t buffer)
{
	for (unsigned i = 0; i < v->display->nscanouts; i++) {
		if (v->at[i].state != VIEWER_OUT_NONE && v->at[i].frame.buffer->id == buffer) {
			return true;
		}
	}
	return false;
}

/* The place of @buffer, or one it can have: of those that no frame is in the one that was used longest ago. There are more of them than scanouts. */
static struct viewer_out_buffer *place_of(struct viewer_out *v, uint64_t buffer)
{
	struct viewer_out_buffer *found = NULL;

	for (unsigned i = 0; i < VIEWER_OUT_BUFFERS; i++) {
		struct viewer_out_buffer *b = &v->buffer[i];

		if (b->id && b->buffer == buffer && !b->is_gone) {
			return b;
		}
		if ((!b->id || !is_with_viewer(v, b->buffer)) && (!found || (found->id && (!b->id || b->used < found->used)))) {
			found = b;
		}
	}
	return found;
}

/* Return: 0 with the number the viewer knows @buffer by, or -errno as send_parts. */
static int announce(struct viewer_out *v, const struct display_buffer *buffer, uint64_t *id)
{
	struct viewer_out_buffer *b = place_of(v, buffer->id);
	const struct display_picture *p = &buffer->picture;
	const struct display_planes *planes = &p->planes;
	struct viewer_buffer m = {.hdr.type = VIEWER_BUFFER, .len = p->len, .kind = kind_of(p), .flags = is_opaque(p->fourcc) ? VIEWER_BUFFER_OPAQUE : 0, .fourcc = p->fourcc,
		.width = p->width, .height = p->height, .nplanes = 1, .offset = {(uint32_t)p->offset}, .stride = {p->stride}};
	int r = 0;

	if (planes->n > 0) {
		m.modifier = planes->modifier;
		m.nplanes = planes->n;
		m.flags |= planes->y_inverted ? VIEWER_BUFFER_Y_INVERTED : 0;
		memcpy(m.offset, planes->offset, sizeof(m.offset));
		memcpy(m.stride, planes->stride, sizeof(m.stride));
	}
	assert(b);
	if (b->id && b->buffer != buffer->id) {
		b->is_gone = true;
		r = send_gone(v);
	}
	if (r == 0 && !b->id) {
		m.id = v->last_id + 1;
		r = send_parts(v, (const struct iovec[2]){{&m, sizeof(m)}}, planes->n ? planes->fd : &p->fd, m.nplanes);
		if (r == 0) {
			*b = (struct viewer_out_buffer){.id = ++v->last_id, .buffer = buffer->id};
			count(&v->counters.buffers, 1);
		}
	}
	if (r == 0) {
		b->used = ++v->uses;
		*id = b->id;
	}
	return r;
}

/*
 * Guest memory for those who take none.
 */

static void drop_copy(struct viewer_out_scanout *at)
{
	struct display_buffer *copy = at->copy;

	if (copy) {
		at->copy = NULL;
		munmap(at->copy_map, copy->picture.len);
		display_buffer_unref(copy);
	}
}

/* A picture like @p in memory of its own. Return: false when there is none. */
static bool make_copy(struct viewer_out *v, struct viewer_out_scanout *at, const struct display_picture *p)
{
	struct display_picture own = {.fourcc = p->fourcc, .width = p->width, .height = p->height, .stride = p->width * 4, .len = (uint64_t)p->width * p->height * 4};

	if (at->copy && at->copy->picture.fourcc == own.fourcc && at->copy->picture.width == own.width && at->copy->picture.height == own.height) {
		return true;
	}
	drop_copy(at);
	if (!display_budget_take(&v->display->budget, own.len)) {
		return false;
	}
	own.fd = display_memfd("viewer", own.len, &at->copy_map);
	at->copy = own.fd >= 0 ? display_buffer_create(&own, &v->display->budget, own.len) : NULL;
	if (!at->copy) {
		if (own.fd >= 0) {
			munmap(at->copy_map, own.len);
		}
		display_budget_give(&v->display->budget, own.len);
	}
	return at->copy != NULL;
}

static void copy_rect(struct viewer_out *v, const struct viewer_out_scanout *at, const struct display_picture *from, const uint8_t *map, const struct display_rect *r)
{
	const struct display_picture *to = &at->copy->picture;

	for (uint64_t y = r->y; y < (uint64_t)r->y + r->h; y++) {
		memcpy(at->copy_map + y * to->stride + r->x * 4ul, map + from->offset + y * from->stride + r->x * 4ul, r->w * 4ul);
	}
	count(&v->counters.copied_bytes, display_rect_area(r) * 4);
}

/* A frame in guest memory becomes one in a copy, which nobody looks at now. Return: false when there is no memory for it. */
static bool copy_frame(struct viewer_out *v, struct viewer_out_scanout *at)
{
	struct display_frame *f = &at->frame;
	struct display_buffer *guest = f->buffer;
	const uint8_t *map;

	if (v->takes_guest || !guest->picture.is_guest) {
		drop_copy(at);
		return true;
	}
	map = display_buffer_map(guest);
	if (!map || !make_copy(v, at, &guest->picture)) {
		return false;
	}
	if (f->damage.n == 0) {
		copy_rect(v, at, &guest->picture, map, &f->crop);
	}
	for (unsigned i = 0; i < f->damage.n; i++) {
		const struct display_rect *d = &f->damage.rect[i];

		copy_rect(v, at, &guest->picture, map, &(struct display_rect){f->crop.x + d->x, f->crop.y + d->y, d->w, d->h});
	}
	f->buffer = display_buffer_ref(at->copy);
	display_buffer_unref(guest);
	return true;
}

/*
 * Pictures on a GPU.
 */

static void set_way(uint32_t *what, uint32_t to)
{
	__atomic_store_n(what, to, __ATOMIC_RELAXED);
}

static bool on_imports(void *ctx, const struct display_picture *p)
{
	const struct viewer_formats *imports = ((const struct viewer_out *)ctx)->imports;

	for (unsigned i = 0; imports && i < imports->n; i++) {
		if (imports->at[i].fourcc == p->fourcc && imports->at[i].modifier == p->planes.modifier) {
			return true;
		}
	}
	return false;
}

/* Whether the viewer can do something with what it is about to be sent. */
static bool can_take(struct viewer_out *v, const struct display_picture *p)
{
	bool found;

	if (p->planes.n == 0) {
		return true;
	}
	found = on_imports(v, p);
	set_way(&v->way.is_unlike, !found);
	set_way(&v->way.fourcc, p->fourcc);
	set_way(&v->way.nplanes, p->planes.n);
	__atomic_store_n(&v->way.modifier, p->planes.modifier, __ATOMIC_RELAXED);
	return found;
}

void viewer_out_imports(struct viewer_out *v, struct viewer_formats *imports)
{
	free(v->imports);
	v->imports = imports;
	set_way(&v->way.is_unlike, false);
	if (!v->is_lost) {
		if (imports) {
			display_sink_imports(v->display, &v->sink);
		}
		display_sink_set_copies(v->display, &v->sink, imports != NULL);
		loop_timer_stop(&v->imports_due);
		display_sink_start(v->display, &v->sink);
	}
}

static void on_imports_due(struct loop_timer *timer)
{
	struct viewer_out *v = (struct viewer_out *)((char *)timer - offsetof(struct viewer_out, imports_due));

	display_sink_start(v->display, &v->sink);
}

/*
 * Frames.
 */

/* The last event the guest had got before. */
static uint64_t take_input(struct viewer_out *v, uint64_t flushed_ns)
{
	uint64_t given = __atomic_load_n(&v->given_ns, __ATOMIC_ACQUIRE), ns;

	if (given == 0 || given > flushed_ns) {
		return 0;
	}
	ns = __atomic_load_n(&v->input_ns, __ATOMIC_RELAXED);
	/* One that came meanwhile is the next frame's. */
	return __atomic_compare_exchange_n(&v->given_ns, &given, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED) ? ns : 0;
}

static void put_frame(struct viewer_frame *m, const struct display_frame *f, unsigned scanout, uint64_t id)
{
	*m = (struct viewer_frame){.hdr.type = VIEWER_FRAME, .buffer = id, .number = f->number, .flushed_ns = f->flushed_ns, .scanout = scanout,
		.crop = {f->crop.x, f->crop.y, f->crop.w, f->crop.h}, .nrects = f->damage.n};
	for (unsigned i = 0; i < f->damage.n; i++) {
		m->rect[i] = (struct viewer_rect){f->damage.rect[i].x, f->damage.rect[i].y, f->damage.rect[i].w, f->damage.rect[i].h};
	}
	if (f->damage.n == 0) {
		m->nrects = 1;
		m->rect[0] = (struct viewer_rect){0, 0, f->crop.w, f->crop.h};
	}
}

static int send_frame(struct viewer_out *v, unsigned i)
{
	struct viewer_out_scanout *at = &v->at[i];
	struct viewer_frame m;
	uint64_t id = 0;
	int r;

	if (at->frame.crop.w != at->mode_width || at->frame.crop.h != at->mode_height) {
		r = send_mode(v, i);
		if (r < 0) {
			return r;
		}
	}
	r = announce(v, at->frame.buffer, &id);
	if (r < 0) {
		return r;
	}
	put_frame(&m, &at->frame, i, id);
	m.input_ns = take_input(v, m.flushed_ns);
	m.sent_ns = clock_now_ns();
	r = send_message(v, &m, offsetof(struct viewer_frame, rect) + m.nrects * sizeof(m.rect[0]));
	if (r < 0) {
		return r;
	}
	if (m.input_ns) {
		sample(&v->counters.input, m.input_ns, m.sent_ns);
	}
	begin_stamps(v, &m, &at->frame);
	sample(&v->counters.ready, m.flushed_ns, at->frame.ready_ns);
	count(&v->counters.sent, 1);
	count(&v->counters.dmabufs, at->frame.buffer->picture.planes.n > 0);
	count(&v->counters.directs, at->frame.buffer->picture.planes.is_direct);
	set_way(&v->way.scanout, i);
	set_way(&v->way.kind, kind_of(&at->frame.buffer->picture));
	set_way(&v->way.is_direct, at->frame.buffer->picture.planes.is_direct);
	if (at->last && m.number > at->last + 1) {
		count(&v->counters.replaced, m.number - at->last - 1);
	}
	at->last = m.number;
	at->state = VIEWER_OUT_SENT;
	return 0;
}

static void drop_frame(struct viewer_out *v, unsigned i)
{
	struct display_buffer *buffer = v->at[i].frame.buffer;

	v->at[i].state = VIEWER_OUT_NONE;
	v->at[i].frame.buffer = NULL;
	display_buffer_unref(buffer);
}

static int pump_scanout(struct viewer_out *v, unsigned i)
{
	struct viewer_out_scanout *at = &v->at[i];
	int r = 0;

	if (at->is_cursor_new) {
		r = send_cursor(v, i);
	}
	while (r == 0 && at->state == VIEWER_OUT_NONE && display_take(v->display, &v->sink, i, &at->frame)) {
		at->state = VIEWER_OUT_TAKEN;
		if (!can_take(v, &at->frame.buffer->picture)) {
			drop_frame(v, i);
			display_sink_set_copies(v->display, &v->sink, false);
			continue;
		}
		if (!copy_frame(v, at)) {
			lose(v, VIEWER_BYE_FULL, "no memory for a copy of the picture");
			return -ENOMEM;
		}
	}
	return r == 0 && at->state == VIEWER_OUT_TAKEN ? send_frame(v, i) : r;
}

/* Sends what there is room for. */
static void pump(struct viewer_out *v)
{
	int r;

	if (v->is_lost || v->is_pumping) {
		return;
	}
	v->is_pumping = true;
	r = send_gone(v);
	for (unsigned i = 0; r == 0 && i < v->display->nscanouts; i++) {
		r = v->at[i].is_mode_new ? send_mode(v, i) : 0;
	}
	for (unsigned i = 0; r == 0 && i < v->display->nscanouts; i++) {
		r = pump_scanout(v, i);
	}
	/* A copy may have gone meanwhile. */
	r = r == 0 ? send_gone(v) : r;
	v->is_pumping = false;
	if (r == -EAGAIN) {
		await_room(v);
	} else if (r == 0) {
		loop_remove(&v->room);
		loop_timer_stop(&v->patience);
	}
}

static void on_mode(void *ctx, unsigned i)
{
	struct viewer_out *v = ctx;

	v->at[i].is_mode_new = true;
	pump(v);
}

static void on_frame(void *ctx, unsigned i)
{
	struct viewer_out *v = ctx;

	if (v->at[i].state == VIEWER_OUT_NONE) {
		pump(v);
	}
}

static void on_cursor(void *ctx, unsigned i, bool image)
{
	struct viewer_out *v = ctx;

	v->at[i].is_image_new |= image;
	v->at[i].is_cursor_new = true;
	pump(v);
}

static void on_gone(void *ctx, uint64_t buffer)
{
	struct viewer_out *v = ctx;

	for (unsigned i = 0; i < VIEWER_OUT_BUFFERS; i++) {
		if (v->buffer[i].id && v->buffer[i].buffer == buffer) {
			v->buffer[i].is_gone = true;
			pump(v);
			return;
		}
	}
}

static const struct display_sink_ops sink_ops = {.imports = on_imports, .mode = on_mode, .frame = on_frame, .cursor = on_cursor, .gone = on_gone};

/*
 * What the viewer says.
 */

void viewer_out_release(struct viewer_out *v, unsigned i, uint64_t number)
{
	struct viewer_out_scanout *at = &v->at[i];
	struct viewer_out_stamps *stamps = stamps_of(v, i, number);
	uint64_t now = clock_now_ns();

	assert(i < v->display->nscanouts);
	if (v->is_lost) {
		return;
	}
	if (at->state != VIEWER_OUT_SENT || at->frame.number != number) {
		lose(v, VIEWER_BYE_PROTOCOL, "release of a frame that is not with the viewer");
		return;
	}
	sample(&v->counters.release, at->frame.flushed_ns, now);
	if (stamps) {
		stamp(&stamps->released_ns, now);
	}
	count(&v->counters.released, 1);
	drop_frame(v, i);
	/* The next one first: whoever waits for this one may flush again at once. */
	pump(v);
	display_seen(v->display, &v->sink, i, number);
}

void viewer_out_presented(struct viewer_out *v, unsigned i, uint64_t number, uint64_t presented_ns)
{
	struct viewer_out_stamps *stamps = stamps_of(v, i, number);
	uint64_t now = clock_now_ns();

	assert(i < v->display->nscanouts);
	if (number == 0 || number > v->at[i].last) {
		lose(v, VIEWER_BYE_PROTOCOL, "presented a frame that was not sent");
		return;
	}
	count(&v->counters.presented, 1);
	if (stamps && stamps->presented_ns == 0) {
		stamp(&stamps->presented_ns, presented_ns < stamps->sent_ns ? stamps->sent_ns : presented_ns > now ? now : presented_ns);
		sample(&v->counters.present, stamps->flushed_ns, stamps->presented_ns);
		if (stamps->input_ns) {
			sample(&v->counters.answer, stamps->input_ns, stamps->presented_ns);
		}
	}
}

static uint32_t clamp(uint32_t n, uint32_t min, uint32_t max)
{
	return n < min ? min : n > max ? max : n;
}

static void on_settled(struct loop_timer *timer)
{
	struct viewer_out *v = (struct viewer_out *)((char *)timer - offsetof(struct viewer_out, settle));

	for (unsigned i = 0; i < v->display->nscanouts; i++) {
		const struct viewer_output *want = &v->at[i].output;
		struct display_output o = v->display->scanout[i].output;

		if (!v->at[i].has_output) {
			continue;
		}
		v->at[i].has_output = false;
		o.enabled = want->plugged;
		o.width = clamp(want->width, OUTPUT_MIN, DISPLAY_SIZE_MAX);
		o.height = clamp(want->height, OUTPUT_MIN, DISPLAY_SIZE_MAX);
		o.refresh_hz = want->refresh_mhz ? clamp((want->refresh_mhz + 500) / 1000, 1, REFRESH_MAX) : o.refresh_hz;
		o.width_mm = want->width_mm;
		o.height_mm = want->height_mm;
		display_set_output(v->display, i, &o);
	}
}

void viewer_out_output(struct viewer_out *v, const struct viewer_output *output)
{
	assert(output->scanout < v->display->nscanouts);
	v->at[output->scanout].output = *output;
	v->at[output->scanout].has_output = true;
	loop_timer_set(&v->settle, clock_now_ns() + VIEWER_OUT_SETTLE_NS);
}

void viewer_out_input(struct viewer_out *v, uint64_t input_ns)
{
	__atomic_store_n(&v->input_ns, input_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&v->given_ns, clock_now_ns(), __ATOMIC_RELEASE);
}

/*
 * Beginning and end.
 */

void viewer_out_init(struct viewer_out *v, struct display *display, int fd, const struct viewer_out_ops *ops, void *ctx)
{
	v->display = display;
	/* Its own: a loop watches a descriptor once, and this loop may be the one that reads it. */
	v->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	v->ops = ops;
	v->ctx = ctx;
	v->sink = (struct display_sink){.ops = &sink_ops, .ctx = v, .takes_copies = v->imports != NULL, .waits = v->awaits_imports};
	loop_timer_init(&v->patience, display->loop, on_patience);
	loop_timer_init(&v->settle, display->loop, on_settled);
	loop_timer_init(&v->imports_due, display->loop, on_imports_due);
	for (unsigned i = 0; i < display->nscanouts; i++) {
		v->at[i].is_mode_new = v->at[i].is_image_new = v->at[i].is_cursor_new = true;
	}
	if (v->fd < 0) {
		log_errno(LOG_WARN, errno, "viewer");
		lose(v, VIEWER_BYE_FULL, "the monitor has no descriptor left");
	}
	display_sink_add(display, &v->sink);
	if (v->sink.waits) {
		loop_timer_set(&v->imports_due, clock_now_ns() + VIEWER_OUT_IMPORTS_NS);
	}
	pump(v);
}

void viewer_out_finish(struct viewer_out *v)
{
	if (!v->display) {
		return;
	}
	v->is_lost = true;
	loop_remove(&v->room);
	loop_timer_stop(&v->patience);
	loop_timer_stop(&v->settle);
	loop_timer_stop(&v->imports_due);
	display_sink_remove(v->display, &v->sink);
	for (unsigned i = 0; i < v->display->nscanouts; i++) {
		if (v->at[i].state != VIEWER_OUT_NONE) {
			drop_frame(v, i);
		}
		drop_copy(&v->at[i]);
	}
	if (v->fd >= 0) {
		close(v->fd);
	}
	free(v->imports);
	v->imports = NULL;
	v->display = NULL;
}
