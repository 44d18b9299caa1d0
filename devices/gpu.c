/* SPDX-License-Identifier: MIT */
/* Chains in, commands out, answers back: the one place that answers. */
#include "devices/gpu.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "devices/gpu_3d.h"
#include "devices/gpu_copy.h"
#include "devices/gpu_direct.h"
#include "devices/gpu_usage.h"
#include "vmm/clock.h"
#include "vmm/log.h"

static struct gpu *gpu_from(struct virtio_device *d)
{
	return (struct gpu *)((char *)d - offsetof(struct gpu, base));
}

enum gpu_wire_type gpu_refuse(struct gpu *g, enum gpu_wire_type answer, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_guest(&g->base.log_limit, "gpu", "%s", text);
	return answer;
}

/* virtio v1.3, 5.7.6.7 "Device Operation: Request header": a fence comes back with the answer, which comes when the command is done. */
static void answer(const struct gpu *g, struct gpu_command *c, enum gpu_wire_type type)
{
	struct gpu_wire_hdr *hdr = &c->out.hdr;
	size_t len = type < GPU_RESP_ERR_UNSPEC && c->out_len ? c->out_len : sizeof(*hdr), tail_len = type < GPU_RESP_ERR_UNSPEC ? c->tail_len : 0;

	/* Half an answer would look like a whole one. */
	if (virtq_put_left(c->chain) < len + tail_len) {
		type = GPU_RESP_ERR_UNSPEC;
		len = sizeof(*hdr);
		tail_len = 0;
	}
	hdr->type = le32_of((uint32_t)type);
	if (le32_get(c->in.hdr.flags) & GPU_FLAG_FENCE) {
		hdr->flags = le32_of(GPU_FLAG_FENCE);
		/* A fence of one of the context's rings. All fences come in one order, so those of a ring do too. */
		if (virtio_device_has(&g->base, GPU_F_CONTEXT_INIT) && (le32_get(c->in.hdr.flags) & GPU_FLAG_INFO_RING_IDX)) {
			hdr->flags = le32_of(GPU_FLAG_FENCE | GPU_FLAG_INFO_RING_IDX);
			hdr->ring_idx = c->in.hdr.ring_idx;
		}
		hdr->fence_id = c->in.hdr.fence_id;
		hdr->ctx_id = c->in.hdr.ctx_id;
	}
	/* A driver need not leave room for an answer, and on the cursor queue Linux does not. */
	if (virtq_put_left(c->chain) >= len) {
		virtq_put(c->chain, &c->out, len);
		virtq_put(c->chain, c->tail, tail_len);
	}
	free(c->tail);
}

static enum gpu_wire_type carry_out(struct gpu *g, struct gpu_command *c, unsigned q)
{
	const struct gpu_command_info *info = gpu_find_command(le32_get(c->in.hdr.type), q);
	size_t rest;

	if (!info || !virtio_device_has(&g->base, info->feature)) {
		return gpu_refuse(g, GPU_RESP_ERR_UNSPEC, "command 0x%x on queue %u", le32_get(c->in.hdr.type), q);
	}
	rest = info->len - sizeof(c->in.hdr);
	if (virtq_get(c->chain, (uint8_t *)&c->in + sizeof(c->in.hdr), rest) < rest) {
		return gpu_refuse(g, GPU_RESP_ERR_UNSPEC, "command 0x%x cut short", le32_get(c->in.hdr.type));
	}
	return info->fn(g, c);
}

/*
 * Flushes that wait.
 */

struct gpu_held {
	struct display_hold hold;
	struct gpu *gpu;
	uint64_t number; /* in the order they came; 0: the place is free */
	struct gpu_wire_hdr hdr;
	struct virtq_chain chain;
};

static bool has_fence(const struct gpu_wire_hdr *hdr)
{
	return le32_get(hdr->flags) & GPU_FLAG_FENCE;
}

/* Return: NULL when there is none. */
static struct gpu_held *oldest(struct gpu *g, bool with_fence)
{
	struct gpu_held *found = NULL;

	for (unsigned i = 0; g->held && i < GPU_HELD_MAX; i++) {
		struct gpu_held *h = &g->held[i];

		if (h->number && (!found || h->number < found->number) && (!with_fence || has_fence(&h->hdr))) {
			found = h;
		}
	}
	return found;
}

/* It waits for nothing any more. */
static void answer_held(struct gpu_held *h)
{
	struct gpu_command c;

	memset(&c, 0, sizeof(c));
	c.chain = &h->chain;
	c.in.hdr = h->hdr;
	answer(h->gpu, &c, GPU_RESP_OK_NODATA);
	virtq_push(&h->gpu->base.vq[GPU_CONTROLQ], &h->chain);
	h->number = 0;
}

/* A fence is about to be answered that is younger than those held before @number. */
static void answer_fences(struct gpu *g, uint64_t number)
{
	struct gpu_held *h;

	while ((h = oldest(g, true)) && h->number < number) {
		uint64_t answered = h->number;

		display_unhold(g->display, &h->hold);
		if (h->number == answered) {
			answer_held(h);
		}
	}
}

static void on_seen(struct display_hold *hold)
{
	struct gpu_held *h = (struct gpu_held *)((char *)hold - offsetof(struct gpu_held, hold));
	struct gpu *g = h->gpu;
	uint64_t number = h->number;

	if (has_fence(&h->hdr)) {
		answer_fences(g, number);
	}
	/* One that was seen with it, and is younger, may have come to its turn in there and answered this one too. */
	if (h->number == number) {
		answer_held(h);
	}
	virtq_notify(&g->base.vq[GPU_CONTROLQ]);
}

/* A place for one more. Return: NULL when there is no memory. */
static struct gpu_held *held_place(struct gpu *g)
{
	if (!g->held) {
		g->held = calloc(GPU_HELD_MAX, sizeof(*g->held));
	}
	for (unsigned i = 0; g->held && i < GPU_HELD_MAX; i++) {
		if (g->held[i].number == 0) {
			return &g->held[i];
		}
	}
	return NULL;
}

/* Return: whether the answer to @c waits; then its chain is not to be returned yet. */
static bool hold(struct gpu *g, const struct gpu_command *c)
{
	struct gpu_held *h;

	if (!c->flushed || !display_is_paced(g->display)) {
		return false;
	}
	h = held_place(g);
	if (!h && g->held) {
		h = oldest(g, false);
		display_unhold(g->display, &h->hold);
		if (h->number) {
			on_seen(&h->hold);
		}
	}
	if (!h) {
		return false;
	}
	h->hold.done = on_seen;
	if (!display_hold(g->display, &h->hold, c->flushed)) {
		return false;
	}
	h->gpu = g;
	h->number = ++g->last_held;
	h->hdr = c->in.hdr;
	h->chain = *c->chain;
	return true;
}

/*
 * Commands that wait for the renderer.
 */

static bool has_3d(const struct gpu *g)
{
	return virtio_device_has(&g->base, GPU_F_VIRGL);
}

/* Return: whether the chain, which has its answer, goes back when all that came before is done. */
static bool wait_for_renderer(struct gpu *g, const struct gpu_command *c, unsigned q)
{
	struct gpu_fenced *f = &g->fenced[(g->first_fenced + g->nfenced) % GPU_CONTROLQ_SIZE];

	if (q != GPU_CONTROLQ || !has_3d(g) || !has_fence(&c->in.hdr) || g->nfenced == GPU_CONTROLQ_SIZE || g->backend->ops->fence(g->backend, &f->fence) < 0) {
		return false;
	}
	f->number = ++g->last_held;
	f->head = c->chain->head;
	f->written = c->chain->written;
	g->nfenced++;
	return true;
}

static void return_fenced(struct gpu *g, const struct gpu_fenced *f)
{
	struct virtq *vq = &g->base.vq[GPU_CONTROLQ];

	answer_fences(g, f->number);
	g->returned = (struct virtq_chain){.vq = vq, .head = f->head, .written = f->written};
	virtq_push(vq, &g->returned);
}

/* All that came before @fence is done. */
static void answer_retired(struct gpu *g, uint64_t fence)
{
	bool any = false;

	while (g->nfenced > 0 && g->fenced[g->first_fenced].fence <= fence) {
		return_fenced(g, &g->fenced[g->first_fenced]);
		g->first_fenced = (g->first_fenced + 1) % GPU_CONTROLQ_SIZE;
		g->nfenced--;
		any = true;
	}
	if (any) {
		virtq_notify(&g->base.vq[GPU_CONTROLQ]);
	}
}

static void on_retired(void *ctx, uint64_t fence)
{
	gpu_direct_retired(ctx, fence);
	gpu_copy_retired(ctx, fence);
	answer_retired(ctx, fence);
}

static void forget_held(struct gpu *g)
{
	struct gpu_held *h;

	while ((h = oldest(g, false))) {
		h->number = 0;
		display_unhold(g->display, &h->hold);
	}
}

static void on_wanted(void *ctx, unsigned i)
{
	gpu_direct_wanted(ctx, i);
	gpu_copy_wanted(ctx, i);
}

/* What becomes of a command's chain. */
enum served {
	SERVED, /* it is returned now */
	SERVED_KEPT, /* its answer waits */
	SERVED_EARLY, /* nothing was done: it is taken again later */
};

static enum served serve_one(struct gpu *g, unsigned q)
{
	enum gpu_wire_type type;
	struct gpu_command c;

	/* All of it: what is not filled in goes to the guest too. */
	memset(&c, 0, sizeof(c));
	c.chain = &g->chain;
	if (virtq_get(c.chain, &c.in.hdr, sizeof(c.in.hdr)) < sizeof(c.in.hdr)) {
		/* Whoever asks nothing is answered nothing. */
		gpu_count(&g->counters.commands);
		gpu_refuse(g, GPU_RESP_ERR_UNSPEC, "header cut short on queue %u", q);
		gpu_count(&g->counters.refused);
		return SERVED;
	}
	type = carry_out(g, &c, q);
	if (c.is_early) {
		return SERVED_EARLY;
	}
	if (q == GPU_CONTROLQ) {
		gpu_direct_went(g);
	}
	gpu_count(&g->counters.commands);
	if (type >= GPU_RESP_ERR_UNSPEC) {
		gpu_count(&g->counters.refused);
	} else if ((g->nfenced == 0 || !has_fence(&c.in.hdr)) && hold(g, &c)) {
		return SERVED_KEPT;
	}
	answer(g, &c, type);
	if (wait_for_renderer(g, &c, q)) {
		return SERVED_KEPT;
	}
	if (has_fence(&c.in.hdr)) {
		/* No fence overtakes another: where the renderer gives none, those before it wait no longer either. One of a pointer says nothing of what is drawn. */
		if (q == GPU_CONTROLQ) {
			answer_retired(g, UINT64_MAX);
		}
		answer_fences(g, UINT64_MAX);
	}
	return SERVED;
}

/* What a turn is measured by, besides commands: bytes of pictures, and as much time in other work. A byte that is submitted makes the renderer work for many of them. */
static uint64_t worked(const struct gpu *g)
{
	const struct gpu_counters *c = &g->counters;

	return g->backend->copied_bytes + g->backend->read_bytes + g->display->counters.compared_bytes + c->submitted_bytes * (GPU_TURN_BYTES / GPU_TURN_SUBMITTED) +
		c->submitted_steps * (GPU_TURN_BYTES / GPU_TURN_STEPS);
}

/* Return: whether there is nothing to do on the queue now; false when the turn is over first. */
static bool serve_queue(struct gpu *g, unsigned q, unsigned *commands, uint64_t worked_end)
{
	struct virtq *vq = &g->base.vq[q];
	enum served served = SERVED;
	bool is_done = true;

	if (q == GPU_CONTROLQ && g->wait.is_waiting) {
		return true;
	}
	while (virtq_pending(vq) == 0 || *commands < GPU_TURN_COMMANDS) {
		/* An empty ring is popped too: that asks the driver to kick for the next chain. */
		if (virtq_pop(vq, &g->chain) <= 0) {
			break;
		}
		served = serve_one(g, q);
		if (served == SERVED_EARLY) {
			virtq_unpop(vq, &g->chain);
			break;
		}
		if (served == SERVED) {
			virtq_push(vq, &g->chain);
		}
		++*commands;
		if (worked(g) >= worked_end) {
			*commands = GPU_TURN_COMMANDS;
		}
	}
	is_done = served == SERVED_EARLY || virtq_pending(vq) == 0;
	virtq_notify(vq);
	return is_done;
}

static void serve(struct gpu *g)
{
	uint64_t worked_end = worked(g) + GPU_TURN_BYTES;
	unsigned commands = 0;
	bool is_done;

	/* Pointers do not wait for pictures; but a guest that only moves its pointer does not stop them either. */
	is_done = serve_queue(g, GPU_CURSORQ, &commands, worked_end);
	if (commands >= GPU_TURN_COMMANDS / 2) {
		commands = GPU_TURN_COMMANDS / 2;
	}
	is_done &= serve_queue(g, GPU_CONTROLQ, &commands, worked_end);
	if (commands > 0) {
		gpu_count(&g->counters.turns);
	}
	if (!is_done && virtio_device_is_running(&g->base)) {
		loop_timer_set(&g->again, clock_now_ns() + 1);
	}
}

static void on_again(struct loop_timer *timer)
{
	struct gpu *g = (struct gpu *)((char *)timer - offsetof(struct gpu, again));

	if (virtio_device_is_running(&g->base)) {
		serve(g);
	}
}

static void gpu_kick(struct virtio_device *d, unsigned q)
{
	struct gpu *g = gpu_from(d);

	/* One turn serves both queues, and one that is due does too. */
	if (g->again.deadline_ns == 0 && (q == GPU_CONTROLQ || !d->vq[GPU_CONTROLQ].running)) {
		serve(g);
	}
}

static int gpu_activate(struct virtio_device *d)
{
	/* Commands may lie there already; a driver is free not to kick for them again. */
	loop_timer_set(&gpu_from(d)->again, clock_now_ns() + 1);
	return 0;
}

static void set_events(struct gpu *g, uint32_t events)
{
	struct le32 wire = le32_of(events);

	g->events = events;
	virtio_device_set_config(&g->base, offsetof(struct gpu_wire_config, events_read), &wire, sizeof(wire));
}

static void on_output_changed(void *ctx)
{
	struct gpu *g = ctx;

	g->stale = g->told;
	set_events(g, g->events | GPU_EVENT_DISPLAY);
	virtio_device_config_changed(&g->base);
}

static void gpu_config_write(struct virtio_device *d, uint32_t off, const void *src, uint32_t len)
{
	struct gpu *g = gpu_from(d);
	/* Linux' driver asks, sets modes, which takes its time, and clears only then: not what has changed since it asked. For that it has had another interrupt. */
	uint32_t kept = g->stale ? GPU_EVENT_DISPLAY : 0;
	struct le32 clear;

	if (off != offsetof(struct gpu_wire_config, events_clear) || len != sizeof(clear)) {
		log_guest(&d->log_limit, "gpu", "%u bytes written to configuration offset %u", len, off);
		return;
	}
	memcpy(&clear, src, sizeof(clear));
	set_events(g, g->events & (~le32_get(clear) | kept));
}

/* With 3D there may be another descriptor to poll afterwards, or none. */
static void reset_backend(struct gpu *g)
{
	loop_remove(&g->poll);
	g->backend->ops->reset(g->backend);
	g->poll.fd = g->backend->poll_fd;
	/* Before gpu_init has come to it there is nothing to be polled; that it fails is said. */
	if (g->poll.fn && g->poll.fd >= 0) {
		(void)!loop_add(g->display->loop, &g->poll);
	}
}

static void gpu_reset(struct virtio_device *d)
{
	struct gpu *g = gpu_from(d);
	struct gpu_entry *e;

	loop_timer_stop(&g->again);
	gpu_direct_end_wait(g);
	forget_held(g);
	for (unsigned i = 0; i < g->display->nscanouts; i++) {
		gpu_show_nothing(g, i);
		display_set_cursor(g->display, i, NULL, 0, 0);
	}
	g->nfenced = 0;
	gpu_3d_reset(g);
	while ((e = gpu_table_any(&g->resources))) {
		gpu_resource_destroy(g, (struct gpu_resource *)e);
	}
	reset_backend(g);
	g->told = g->stale = 0;
	set_events(g, 0);
}

static void on_poll(struct loop_source *src, uint32_t events)
{
	struct gpu *g = (struct gpu *)((char *)src - offsetof(struct gpu, poll));

	(void)events;
	g->backend->ops->poll(g->backend);
}

static const struct virtio_device_ops gpu_ops = {
	.name = "gpu",
	.device_id = VIRTIO_ID_GPU,
	.config_len = sizeof(struct gpu_wire_config),
	.features = GPU_F_EDID,
	.nqueues = 2,
	.queue_size = {[GPU_CONTROLQ] = GPU_CONTROLQ_SIZE, [GPU_CURSORQ] = GPU_CURSORQ_SIZE},
	.activate = gpu_activate,
	.reset = gpu_reset,
	.kick = gpu_kick,
	.config_write = gpu_config_write,
};

int gpu_init(struct gpu *g, const struct gpu_options *options, struct display *display, struct gpu_backend *backend, struct loop *loop, const struct gmem *mem)
{
	struct gpu_wire_config config = {.num_scanouts = le32_of(display->nscanouts), .num_capsets = le32_of(backend->ncapsets)};

	assert(display->loop == loop);
	memset(g, 0, sizeof(*g));
	g->display = display;
	g->backend = backend;
	g->ops = gpu_ops;
	g->ops.features |= backend->ncapsets ? GPU_F_VIRGL | GPU_F_CONTEXT_INIT : options->blob ? GPU_F_RESOURCE_BLOB : 0;
	backend->retired = on_retired;
	backend->retired_ctx = g;
	loop_timer_init(&g->again, loop, on_again);
	virtio_device_init(&g->base, &g->ops, loop, mem);
	virtio_device_set_config(&g->base, 0, &config, sizeof(config));
	display_set_guest(display, on_output_changed, g);
	display_set_refresh(display, gpu_refresh, g);
	display_set_wanted(display, on_wanted, g);
	gpu_direct_init(g, options->direct);
	g->usage.others = GPU_USAGE_OTHERS;
	g->usage.of_context = GPU_USAGE_CONTEXT;
	if (!backend->ncapsets) {
		return 0;
	}
	g->poll = (struct loop_source){.fd = backend->poll_fd, .events = EPOLLIN, .fn = on_poll};
	return loop_add(loop, &g->poll);
}

void gpu_close(struct gpu *g)
{
	loop_remove(&g->poll);
	if (g->backend->ops->close) {
		g->backend->ops->close(g->backend);
	}
}

void gpu_finish(struct gpu *g)
{
	if (!g->backend) {
		return;
	}
	loop_timer_stop(&g->again);
	gpu_direct_end_wait(g);
	loop_remove(&g->poll);
	forget_held(g);
	free(g->held);
	g->held = NULL;
	display_set_guest(g->display, NULL, NULL);
	display_set_refresh(g->display, NULL, NULL);
	display_set_wanted(g->display, NULL, NULL);
	g->backend->ops->destroy(g->backend);
	g->backend = NULL;
}
