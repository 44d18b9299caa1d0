/* SPDX-License-Identifier: MIT */
#include "devices/input.h"

#include <assert.h>
#include <endian.h>
#include <linux/virtio_input.h>
#include <string.h>

#include "vmm/clock.h"

static struct input *input_from(struct virtio_device *d)
{
	return (struct input *)((char *)d - offsetof(struct input, base));
}

/* Between DRIVER_OK and reset, and nothing is broken: the guest can be sent something. */
static bool is_running(const struct input *in)
{
	return in->is_active && virtio_device_is_running(&in->base);
}

/*
 * To the guest.
 */

/* Events in the guest's buffers until either runs out. Return: false when a turn's budget is used up first. */
static bool fill_buffers(struct input *in)
{
	struct virtq *vq = &in->base.vq[INPUT_EVENTQ];

	for (unsigned buffers = 0; input_ring_waiting(&in->ring) > 0; buffers++) {
		struct input_ev ev = input_ring_first(&in->ring);
		struct virtio_input_event wire = {.type = htole16(ev.type), .code = htole16(ev.code), .value = htole32((uint32_t)ev.value)};

		if (buffers == INPUT_TURN_BUFFERS) {
			return false;
		}
		if (virtq_pop(vq, &in->chain) <= 0) {
			return true;
		}
		if (virtq_put_left(&in->chain) < sizeof(wire)) {
			log_guest(&in->base.log_limit, "input", "event buffer of %zu bytes", virtq_put_left(&in->chain));
			virtq_push(vq, &in->chain);
			continue;
		}
		virtq_put(&in->chain, &wire, sizeof(wire));
		virtq_push(vq, &in->chain);
		input_ring_take(&in->ring);
		if (ev.type == EV_MSC && in->echoes < INPUT_QUEUE_SIZE) {
			in->echoes++;
		}
	}
	return true;
}

/* Whether the driver has looked at what it was given. If not, it is asked to kick when it has. */
static bool is_taken(struct input *in)
{
	struct virtq *vq = &in->base.vq[INPUT_EVENTQ];

	if (!is_running(in)) {
		return true;
	}
	if (!input_is_drained(in)) {
		return false;
	}
	return !vq->event_idx || in->most_buffers == 0 || virtq_expect(vq, (uint16_t)(in->most_buffers - 1));
}

static void end_wait(struct input *in)
{
	loop_timer_stop(&in->late);
	in->is_awaited = false;
	if (in->source && in->source->taken) {
		in->source->taken(in->source_ctx);
	}
}

static void tell_taken(struct input *in)
{
	if (!in->is_awaited) {
		return;
	}
	if (is_taken(in)) {
		end_wait(in);
	} else if (input_is_drained(in) && in->late.deadline_ns == 0) {
		loop_timer_set(&in->late, clock_now_ns() + INPUT_TAKE_NS);
	}
}

static bool is_half_empty(const struct input *in)
{
	return input_ring_waiting(&in->ring) <= INPUT_RING_EVENTS / 2 || !is_running(in);
}

static void tell_room(struct input *in)
{
	if (in->is_full && is_half_empty(in)) {
		in->is_full = false;
		if (in->source && in->source->room) {
			in->source->room(in->source_ctx);
		}
	}
}

/* Of room on a turn of its own: the answer is more frames. */
static void tell(struct input *in)
{
	tell_taken(in);
	if (in->is_full && is_half_empty(in)) {
		loop_timer_set(&in->again, clock_now_ns() + 1);
	}
}

/*
 * From the guest.
 */

static void set_light(struct input *in, unsigned code, bool on)
{
	uint8_t bit = (uint8_t)(1u << code % 8);

	if (!!(in->lights[code / 8] & bit) != on) {
		in->lights[code / 8] ^= bit;
		in->counters.lights++;
		if (in->source && in->source->light) {
			in->source->light(in->source_ctx, code, on);
		}
	}
}

/* Return: whether it is an echo, for whose return nobody waits. */
static bool take_status(struct input *in, const struct virtio_input_event *wire)
{
	unsigned type = le16toh(wire->type), code = le16toh(wire->code);
	bool on = wire->value != 0;

	if (type == EV_MSC && in->echoes > 0) {
		in->is_echoing = true;
		in->echoes--;
		return true;
	}
	/* Nothing but lights: a guest that could have its EV_KEY written to a host's device would be typing on the host, and EV_MSC goes round for ever. */
	if (type == EV_LED && input_desc_has(&in->desc, EV_LED, code)) {
		set_light(in, code, on);
	}
	return false;
}

static void notify(struct input *in, unsigned q)
{
	if (virtq_notify(&in->base.vq[q])) {
		in->unsaid = 0;
	}
}

/* Returns what is there. Of echoes the driver is told before they use up half of its buffers. */
static void serve_status(struct input *in)
{
	struct virtq *vq = &in->base.vq[INPUT_STATUSQ];
	bool is_to_be_told = false;
	unsigned buffers = 0;

	while (virtq_pop(vq, &in->chain) > 0) {
		struct virtio_input_event wire;
		bool is_whole = virtq_get(&in->chain, &wire, sizeof(wire)) == sizeof(wire);

		/* A source may answer a light with a frame. */
		virtq_push(vq, &in->chain);
		if (!is_whole) {
			log_guest(&in->base.log_limit, "input", "short status buffer");
		}
		if (is_whole && take_status(in, &wire)) {
			in->unsaid++;
		} else {
			is_to_be_told = true;
		}
		if (++buffers == INPUT_TURN_BUFFERS) {
			loop_timer_set(&in->again, clock_now_ns() + 1);
			break;
		}
	}
	if (is_to_be_told || in->unsaid >= vq->size / 2u) {
		notify(in, INPUT_STATUSQ);
	}
	if (in->echoes == 0) {
		loop_timer_stop(&in->look);
	}
}

static void forget_echoes(struct input *in)
{
	in->is_echoing = false;
	in->echoes = 0;
	loop_timer_stop(&in->look);
}

/* Of the frames before, and of the one that the guest is about to be told of. */
static void expect_echoes(struct input *in)
{
	struct virtq *vq = &in->base.vq[INPUT_STATUSQ];
	uint16_t most = (uint16_t)(vq->size / 2);

	/* A turn is already on its way. */
	if (in->echoes == 0 || !in->is_echoing || in->again.deadline_ns != 0) {
		return;
	}
	serve_status(in);
	if (in->echoes == 0) {
		return;
	}
	if (virtq_expect(vq, in->echoes < most ? in->echoes : most)) {
		loop_timer_set(&in->again, clock_now_ns() + 1);
	}
	loop_timer_set(&in->look, clock_now_ns() + INPUT_ECHO_NS);
}

/*
 * Both.
 */

static void serve_events(struct input *in)
{
	unsigned here = virtq_pending(&in->base.vq[INPUT_EVENTQ]);

	if (!is_running(in)) {
		return;
	}
	in->most_buffers = here > in->most_buffers ? (uint16_t)here : in->most_buffers;
	if (!fill_buffers(in)) {
		loop_timer_set(&in->again, clock_now_ns() + 1);
	}
	expect_echoes(in);
	notify(in, INPUT_EVENTQ);
	tell(in);
}

static void apply_all(struct input_state *s, const struct input_ev *ev, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		input_state_apply(s, &ev[i]);
	}
}

/* What the description has, without repeats that the guest makes by itself. Return: events left, the SYN_REPORT among them. */
static unsigned filter(struct input *in, const struct input_ev *ev, unsigned n, struct input_ev *out)
{
	bool repeats = input_desc_has_type(&in->desc, EV_REP);
	unsigned len = 0;

	for (unsigned i = 0; i < n; i++) {
		bool is_repeat = ev[i].type == EV_KEY && ev[i].value == 2 && repeats;
		bool is_known = (ev[i].type == EV_SYN && (i + 1 == n || ev[i].code == SYN_MT_REPORT)) ||
			(ev[i].type != EV_LED && ev[i].type != EV_SND && ev[i].type != EV_REP && input_desc_has(&in->desc, ev[i].type, ev[i].code));

		if (is_known && !is_repeat) {
			out[len++] = ev[i];
		} else {
			in->counters.refused++;
		}
	}
	return len;
}

void input_send(struct input *in, const struct input_ev *ev, unsigned n)
{
	struct input_ev frame[INPUT_FRAME_MAX];
	unsigned len;

	assert(n > 0 && n <= INPUT_FRAME_MAX && input_is_syn(&ev[n - 1]));
	in->counters.frames_in++;
	in->counters.events_in += n - 1;
	len = filter(in, ev, n, frame);
	apply_all(&in->now, frame, len);
	if (len <= 1) {
		return;
	}
	if (!is_running(in)) {
		in->counters.dropped++;
		return;
	}
	input_ring_put(&in->ring, frame, len, &in->now);
	serve_events(in);
}

bool input_has_room(struct input *in)
{
	if (!is_running(in) || input_ring_has_room(&in->ring, INPUT_FRAME_MAX)) {
		return true;
	}
	input_ring_compact(&in->ring);
	in->is_full = !input_ring_has_room(&in->ring, INPUT_FRAME_MAX);
	return !in->is_full;
}

/* Brings the guest, when it has fetched what waits, to what is now. */
static void send_difference(struct input *in)
{
	if (input_ring_put_difference(&in->ring, &in->now)) {
		serve_events(in);
	}
}

void input_sync(struct input *in, const struct input_state *state)
{
	unsigned nslots = in->now.nslots;

	in->now = *state;
	in->now.nslots = nslots;
	if (is_running(in)) {
		send_difference(in);
	}
}

void input_release(struct input *in)
{
	input_state_release(&in->now);
	if (is_running(in)) {
		send_difference(in);
	}
}

bool input_is_drained(const struct input *in)
{
	return input_ring_waiting(&in->ring) == 0 || !is_running(in);
}

bool input_await(struct input *in)
{
	if (!in->is_awaited && is_taken(in)) {
		return true;
	}
	in->is_awaited = true;
	tell_taken(in);
	return false;
}

bool input_has_driver(const struct input *in)
{
	return is_running(in);
}

static void serve(struct input *in)
{
	serve_events(in);
	if (is_running(in)) {
		serve_status(in);
	}
}

static void tell_running(struct input *in, bool is_running)
{
	if (in->is_active != is_running) {
		in->is_active = is_running;
		if (in->source && in->source->running) {
			in->source->running(in->source_ctx, is_running);
		}
	}
}

static void input_again(struct loop_timer *timer)
{
	struct input *in = (struct input *)((char *)timer - offsetof(struct input, again));

	if (is_running(in)) {
		serve(in);
	} else {
		tell_running(in, false);
	}
	tell_taken(in);
	tell_room(in);
}

/* For longer than whoever waits is to wait. What is not even in its buffers goes on waiting for them. */
static void input_late(struct loop_timer *timer)
{
	struct input *in = (struct input *)((char *)timer - offsetof(struct input, late));

	if (in->is_awaited && input_is_drained(in)) {
		end_wait(in);
	}
}

/* No other frame has come. Echoes that have not come either will not: the driver is to kick again, for whatever it sends. */
static void input_look(struct loop_timer *timer)
{
	struct input *in = (struct input *)((char *)timer - offsetof(struct input, look));

	if (is_running(in)) {
		serve_status(in);
	}
	if (in->echoes > 0) {
		forget_echoes(in);
	}
}

static void input_kick(struct virtio_device *d, unsigned q)
{
	struct input *in = input_from(d);

	/* A turn is already on its way: kicks must not buy more of them. */
	if (in->again.deadline_ns != 0) {
		return;
	}
	if (q == INPUT_EVENTQ) {
		serve_events(in);
	} else {
		serve_status(in);
	}
}

static void publish(struct input *in, uint8_t select, uint8_t subsel)
{
	uint8_t config[INPUT_CONFIG_LEN];

	input_desc_answer(&in->desc, select, subsel, config);
	/* Word by word, because a driver may be reading the page; the size is in the word that is written last. */
	for (uint32_t off = INPUT_CONFIG_LEN; off > 0; off -= 4) {
		virtio_device_set_config(&in->base, off - 4, config + off - 4, 4);
	}
}

static void input_config_write(struct virtio_device *d, uint32_t off, const void *src, uint32_t len)
{
	struct input *in = input_from(d);
	const uint8_t *bytes = src;

	if (off + len > 2) {
		log_guest(&d->log_limit, "input", "write to configuration field at %u ignored", off);
		return;
	}
	if (off == 0) {
		in->select = bytes[0];
	}
	if (off + len == 2) {
		in->subsel = bytes[len - 1];
	}
	publish(in, in->select, in->subsel);
}

static int input_activate(struct virtio_device *d)
{
	struct input *in = input_from(d);

	input_ring_start(&in->ring);
	tell_running(in, true);
	send_difference(in);
	/* The driver may have made status buffers available before. */
	loop_timer_set(&in->again, clock_now_ns() + 1);
	return 0;
}

static void input_reset(struct virtio_device *d)
{
	struct input *in = input_from(d);

	loop_timer_stop(&in->again);
	forget_echoes(in);
	in->unsaid = 0;
	/* A source that lets go of everything now tells nobody. */
	tell_running(in, false);
	input_ring_forget(&in->ring);
	in->most_buffers = 0;
	/* Whoever waits for the guest to take its events waits no longer. */
	tell_taken(in);
	tell_room(in);
	for (unsigned code = 0; code < LED_CNT; code++) {
		set_light(in, code, false);
	}
}

/* Whoever thinks that the guest takes something hears that it will not, on a turn of its own: this may come from inside virtq_pop. */
static void input_stopped(struct virtio_device *d)
{
	loop_timer_set(&input_from(d)->again, clock_now_ns() + 1);
}

static const struct virtio_device_ops input_ops = {
	.name = "input",
	.device_id = VIRTIO_ID_INPUT,
	.config_len = INPUT_CONFIG_LEN,
	.nqueues = 2,
	.queue_size = {INPUT_QUEUE_SIZE, INPUT_QUEUE_SIZE},
	.activate = input_activate,
	.reset = input_reset,
	.stopped = input_stopped,
	.kick = input_kick,
	.config_write = input_config_write,
};

void input_init(struct input *in, const struct input_desc *desc, struct loop *loop, const struct gmem *mem)
{
	in->desc = *desc;
	in->desc.name[INPUT_STRING_MAX] = '\0';
	in->desc.serial[INPUT_STRING_MAX] = '\0';
	input_state_init(&in->now, &in->desc);
	input_ring_init(&in->ring, &in->desc, &in->counters);
	loop_timer_init(&in->again, loop, input_again);
	loop_timer_init(&in->look, loop, input_look);
	loop_timer_init(&in->late, loop, input_late);
	virtio_device_init(&in->base, &input_ops, loop, mem);
}

void input_finish(struct input *in)
{
	if (in->base.ops) {
		loop_timer_stop(&in->again);
		loop_timer_stop(&in->look);
		loop_timer_stop(&in->late);
	}
}

void input_set_source(struct input *in, const struct input_source_ops *ops, void *ctx)
{
	in->source = ops;
	in->source_ctx = ctx;
}
