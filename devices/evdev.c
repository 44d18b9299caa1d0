/* SPDX-License-Identifier: MIT */
#include "devices/evdev.h"

#include <assert.h>
#include <errno.h>
#include <linux/input.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "devices/key_name.h"
#include "vmm/clock.h"
#include "vmm/log.h"

#define READ_EVENTS 64
/* Reads per turn: a device that is faster than we are does not keep the loop from others. */
#define READS_PER_TURN 8
/* More than the kernel keeps for anyone. */
#define DRAIN_READS 256
/* A stamp that is older is none of ours. */
#define LATE_US_MAX 60000000

static bool get_bit(const uint8_t *bits, unsigned i)
{
	return bits[i / 8] & 1u << i % 8;
}

static void put_bit(uint8_t *bits, unsigned i, bool on)
{
	bits[i / 8] = (uint8_t)(on ? bits[i / 8] | 1u << i % 8 : bits[i / 8] & ~(1u << i % 8));
}

/*
 * Chords.
 */

static const struct {
	const char *name;
	uint16_t left, right;
} sides[] = {
	{"ctrl", KEY_LEFTCTRL, KEY_RIGHTCTRL},
	{"shift", KEY_LEFTSHIFT, KEY_RIGHTSHIFT},
	{"alt", KEY_LEFTALT, KEY_RIGHTALT},
	{"meta", KEY_LEFTMETA, KEY_RIGHTMETA},
};

/* Always gives everything back. */
static const struct evdev_chord release_chord = {
	.key = {{KEY_LEFTCTRL, KEY_RIGHTCTRL}, {KEY_LEFTALT, KEY_RIGHTALT}, {KEY_LEFTSHIFT, KEY_RIGHTSHIFT}, {KEY_ESC, 0}},
	.n = 4,
};

static int parse_key(struct evdev_chord *chord, const char *name, size_t len)
{
	int code;

	for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++) {
		if (strlen(sides[i].name) == len && strncasecmp(sides[i].name, name, len) == 0) {
			chord->key[chord->n].code = sides[i].left;
			chord->key[chord->n++].sister = sides[i].right;
			return 0;
		}
	}
	code = key_name_code(name, len);
	if (code < 0) {
		return code;
	}
	chord->key[chord->n].code = (uint16_t)code;
	chord->key[chord->n++].sister = 0;
	return 0;
}

/* The same key twice means both sides of it, and makes no sense for one that has none. */
static bool has_doubles(const struct evdev_chord *chord)
{
	for (unsigned i = 0; i < chord->n; i++) {
		unsigned same = 0;

		for (unsigned j = 0; j < chord->n; j++) {
			same += chord->key[j].code == chord->key[i].code;
		}
		if (same > (chord->key[i].sister ? 2u : 1u)) {
			return true;
		}
	}
	return false;
}

int evdev_chord_parse(struct evdev_chord *chord, const char *text, char *err, size_t err_len)
{
	memset(chord, 0, sizeof(*chord));
	while (*text) {
		size_t len = strcspn(text, "+");

		if (chord->n == EVDEV_CHORD_MAX) {
			snprintf(err, err_len, "a chord has at most %d keys", EVDEV_CHORD_MAX);
			return -EINVAL;
		}
		if (parse_key(chord, text, len) < 0) {
			snprintf(err, err_len, "\"%.*s\" is no key: want names such as ctrl, rightalt, f12, scrolllock with + between them", (int)len, text);
			return -EINVAL;
		}
		text += len;
		if (*text == '+' && !*++text) {
			snprintf(err, err_len, "a key is missing after the last +");
			return -EINVAL;
		}
	}
	if (has_doubles(chord)) {
		snprintf(err, err_len, "a key is there too often");
		return -EINVAL;
	}
	return 0;
}

bool evdev_chord_is_held(const struct evdev_chord *chord, const struct input_state *state)
{
	for (unsigned i = 0; i < chord->n; i++) {
		unsigned held = input_state_has_key(state, chord->key[i].code), wanted = 0;

		held += chord->key[i].sister && input_state_has_key(state, chord->key[i].sister);
		for (unsigned j = 0; j <= i; j++) {
			wanted += chord->key[j].code == chord->key[i].code;
		}
		if (held < wanted) {
			return false;
		}
	}
	return chord->n > 0;
}

/*
 * Between host and guest.
 */

static void tell_changed(struct evdev *e)
{
	if (e->options.ops && e->options.ops->changed) {
		e->options.ops->changed(e->options.ctx);
	}
}

static bool has_reserved(const struct evdev *e)
{
	for (size_t i = 0; i < sizeof(e->options.reserve); i++) {
		if (e->options.reserve[i]) {
			return true;
		}
	}
	return false;
}

/* As the guest is to see it. */
static void sync_guest(struct evdev *e)
{
	struct input_state state = e->state;

	for (size_t i = 0; i < sizeof(state.key); i++) {
		state.key[i] &= (uint8_t)~e->options.reserve[i];
	}
	input_sync(e->in, &state);
}

static void write_lights(struct evdev *e, const uint8_t *lights)
{
	for (unsigned code = 0; code < LED_CNT; code++) {
		if (input_desc_has(&e->in->desc, EV_LED, code)) {
			e->host->light(e->src.fd, code, get_bit(lights, code));
		}
	}
}

/* Events that came before what host->state is about to say. */
static void drain(struct evdev *e)
{
	struct input_event buf[READ_EVENTS];

	for (unsigned i = 0; i < DRAIN_READS && read(e->src.fd, buf, sizeof(buf)) == sizeof(buf); i++) {
	}
	e->n = 0;
}

/* @found: of what the attached device has. The rest is as the guest was told last, by a device that had more; but nothing is held there. */
static void follow(struct evdev *e, const struct input_state *found)
{
	struct input_state *s = &e->state;

	*s = e->in->now;
	input_state_release(s);
	memcpy(s->key, found->key, sizeof(s->key));
	s->slot = found->nslots ? found->slot : s->slot;
	for (unsigned code = 0; code < SW_CNT; code++) {
		if (input_desc_has(&e->has, EV_SW, code)) {
			put_bit(s->sw, code, get_bit(found->sw, code));
		}
	}
	for (unsigned code = 0; code < ABS_CNT; code++) {
		if (!input_desc_has(&e->has, EV_ABS, code)) {
			continue;
		}
		s->abs[code] = found->abs[code];
		for (unsigned slot = 0; code >= ABS_MT_SLOT && code <= ABS_MT_TOOL_Y && slot < found->nslots; slot++) {
			s->mt[slot][code - ABS_MT_SLOT] = found->mt[slot][code - ABS_MT_SLOT];
		}
	}
}

/* The state, exactly as the kernel has it. Return: false when the device does not answer any more. */
static bool read_state(struct evdev *e)
{
	struct input_state state;

	drain(e);
	e->reads++;
	/* Asked for what the device has not, the kernel answers with an error. */
	if (e->host->state(e->src.fd, &e->has, &state) < 0) {
		return false;
	}
	follow(e, &state);
	return true;
}

/* Return: whether the host lets us have it now. */
static bool take(struct evdev *e)
{
	int r;

	if (!e->options.grab) {
		return read_state(e);
	}
	if (input_state_any_key(&e->state)) {
		return false;
	}
	r = e->host->grab(e->src.fd, true);
	if (r < 0) {
		if (!e->is_busy) {
			log_errno(LOG_WARN, r, "%s: the host's device cannot be grabbed", e->options.name);
		}
		e->is_busy = true;
		return false;
	}
	e->is_busy = false;
	/* A key that went down in between has been seen by the host, which would wait for its release for ever. */
	if (!read_state(e) || input_state_any_key(&e->state)) {
		e->host->grab(e->src.fd, false);
		return false;
	}
	return true;
}

static void start_twin(struct evdev *e)
{
	int r;

	if (!e->options.grab || e->twin || !has_reserved(e)) {
		return;
	}
	r = evdev_twin_create(&e->twin, e->in->desc.name, e->options.reserve);
	if (r < 0) {
		log_errno(LOG_WARN, r, "%s: reserved keys do not reach the host: /dev/uinput", e->options.name);
	}
}

static void forward(struct evdev *e)
{
	e->is_forwarding = true;
	e->host->lights(e->src.fd, e->host_lights);
	write_lights(e, e->guest_lights);
	start_twin(e);
	sync_guest(e);
	tell_changed(e);
}

/* Of the keys that are the host's. What is pressed or released already stays so. */
static void sync_twin(struct evdev *e)
{
	if (!e->twin) {
		return;
	}
	for (unsigned code = 0; code < KEY_CNT; code++) {
		if (get_bit(e->options.reserve, code)) {
			evdev_twin_send(e->twin, &(struct input_ev){.type = EV_KEY, .code = (uint16_t)code, .value = get_bit(e->state.key, code)});
		}
	}
	evdev_twin_send(e->twin, &(struct input_ev){.type = EV_SYN, .code = SYN_REPORT});
}

/* The state is whole. */
static void settle(struct evdev *e)
{
	loop_timer_stop(&e->settle);
	sync_guest(e);
	sync_twin(e);
}

static void on_settle(struct loop_timer *timer)
{
	settle((struct evdev *)((char *)timer - offsetof(struct evdev, settle)));
}

/* @is_there: the device can still be spoken to. */
static void give_back(struct evdev *e, bool is_there)
{
	e->is_forwarding = false;
	loop_timer_stop(&e->settle);
	evdev_twin_destroy(e->twin);
	e->twin = NULL;
	if (is_there) {
		write_lights(e, e->host_lights);
		if (e->options.grab) {
			e->host->grab(e->src.fd, false);
		}
	}
	input_release(e->in);
	tell_changed(e);
}

static bool can_forward(const struct evdev *e)
{
	return e->is_wanted && !evdev_is_absent(e) && e->in->is_active;
}

static void update(struct evdev *e)
{
	if (e->is_forwarding && !can_forward(e)) {
		give_back(e, true);
	} else if (!e->is_forwarding && can_forward(e) && take(e)) {
		forward(e);
	}
}

static void lose_device(struct evdev *e)
{
	int fd = e->src.fd;

	loop_remove(&e->src);
	e->src.fd = -1;
	close(fd);
	log_msg(LOG_INFO, "%s: the host's device \"%s\" is gone", e->options.name, e->in->desc.name);
	if (e->is_forwarding) {
		give_back(e, false);
	} else {
		tell_changed(e);
	}
}

/*
 * Events.
 */

/* Sends the frame without what is reserved, which goes to the twin. @has_state: the guest knows how things are at the frame's end, but not what moved. */
static void send_frame(struct evdev *e, bool has_state)
{
	unsigned n = 0, kept = 0;

	for (unsigned i = 0; i < e->n; i++) {
		const struct input_ev *ev = &e->frame[i], *next = &e->frame[i + 1 < e->n ? i + 1 : i];
		bool is_reserved = ev->type == EV_KEY && get_bit(e->options.reserve, ev->code % KEY_CNT);
		/* A keyboard says which scan code it was before it says which key. */
		bool is_scan = ev->type == EV_MSC && ev->code == MSC_SCAN && next->type == EV_KEY && get_bit(e->options.reserve, next->code % KEY_CNT);

		if (is_reserved && e->twin) {
			evdev_twin_send(e->twin, ev);
		}
		if (is_reserved || is_scan) {
			kept += is_reserved;
		} else if (!has_state || ev->type == EV_REL || ev->type == EV_SYN) {
			e->frame[n++] = *ev;
		}
	}
	if (kept && e->twin) {
		evdev_twin_send(e->twin, &(struct input_ev){.type = EV_SYN, .code = SYN_REPORT});
	}
	if (n > 1 || (!kept && !has_state)) {
		input_send(e->in, e->frame, n);
	}
}

/* @time: the kernel's, of the frame's end. Stamps of another clock are passed over: a kernel without EVIOCSCLOCKID, somebody else's descriptor. */
static void count_delay(struct evdev *e, const struct timeval *time)
{
	struct input_counters *c = &e->in->counters;
	int64_t us = (int64_t)(clock_now_ns() / 1000) - ((int64_t)time->tv_sec * 1000000 + time->tv_usec);

	if (us >= 0 && us < LATE_US_MAX) {
		c->late_us += (uint64_t)us;
		c->late_max_us = (uint64_t)us > c->late_max_us ? (uint64_t)us : c->late_max_us;
	}
}

/* Return: whether the frame was a chord's last key: it is nobody's then. */
static bool is_chord(struct evdev *e)
{
	bool release = evdev_chord_is_held(&release_chord, &e->state), chord = evdev_chord_is_held(&e->options.toggle, &e->state);
	bool new_release = release && !e->was_release, new_chord = chord && !e->was_chord;

	e->was_release = release;
	e->was_chord = chord;
	if ((new_release || new_chord) && e->options.ops && e->options.ops->chord) {
		e->options.ops->chord(e->options.ctx, new_release);
	}
	return new_release || new_chord;
}

/* The frame is whole. Return: false when the device does not answer any more. */
static bool end_frame(struct evdev *e, const struct timeval *time)
{
	bool is_there = true;

	if (e->is_lost) {
		e->is_lost = false;
		is_there = read_state(e);
		/* Keys of a chord that went down in a loss count too: no other frame may come while they are held. */
		if (is_there) {
			is_chord(e);
		}
		if (is_there && e->is_forwarding) {
			e->in->counters.resyncs++;
			/* More may be lost before that: no later than the first time. */
			if (e->settle.deadline_ns == 0) {
				loop_timer_set(&e->settle, clock_now_ns() + EVDEV_SETTLE_NS);
			}
		}
	} else {
		for (unsigned i = 0; i < e->n; i++) {
			input_state_apply(&e->state, &e->frame[i]);
		}
		if (!is_chord(e) && e->is_forwarding) {
			bool has_state = e->settle.deadline_ns != 0;

			if (has_state) {
				settle(e);
			}
			send_frame(e, has_state);
			count_delay(e, time);
		}
	}
	e->n = 0;
	if (is_there) {
		update(e);
	}
	return is_there;
}

/* The kernel repeats a key whenever it is time, in the middle of what the device sends too, and ends that with a report of its own kind. */
static bool is_repeat_end(const struct evdev *e, const struct input_event *ev)
{
	const struct input_ev *last = e->n > 0 ? &e->frame[e->n - 1] : NULL;

	return ev->type == EV_SYN && ev->code == SYN_REPORT && ev->value == 1 && !e->is_lost && last && last->type == EV_KEY && last->value == 2 &&
		input_desc_has_type(&e->in->desc, EV_REP);
}

static bool take_event(struct evdev *e, const struct input_event *ev)
{
	if (is_repeat_end(e, ev)) {
		e->n--;
		return true;
	}
	if (ev->type == EV_SYN && ev->code == SYN_DROPPED) {
		e->is_lost = true;
		return true;
	}
	/* A frame larger than any device's is lost too. */
	e->is_lost = e->is_lost || e->n == INPUT_FRAME_MAX;
	if (e->n < INPUT_FRAME_MAX) {
		e->frame[e->n++] = (struct input_ev){.type = ev->type, .code = ev->code, .value = ev->value};
	}
	return ev->type != EV_SYN || ev->code != SYN_REPORT || end_frame(e, &ev->time);
}

/* Return: false when it is time to stop; *@is_there says whether the device still is. */
static bool read_events(struct evdev *e, bool *is_there)
{
	struct input_event buf[READ_EVENTS];
	ssize_t len = read(e->src.fd, buf, sizeof(buf));
	size_t n = len > 0 ? (size_t)len / sizeof(buf[0]) : 0;
	unsigned reads = e->reads;

	if (len <= 0) {
		*is_there = len < 0 && (errno == EAGAIN || errno == EINTR);
		return false;
	}
	/* When the kernel was asked how things are, what came before does not count any more. */
	for (size_t i = 0; i < n && *is_there && e->reads == reads; i++) {
		*is_there = take_event(e, &buf[i]);
	}
	/* Less than there was room for: nothing is left. */
	return *is_there && n == READ_EVENTS;
}

static void on_events(struct loop_source *src, uint32_t events)
{
	struct evdev *e = (struct evdev *)((char *)src - offsetof(struct evdev, src));
	bool is_there = true;

	for (unsigned i = 0; (events & EPOLLIN) && i < READS_PER_TURN && read_events(e, &is_there); i++) {
	}
	if (!is_there || (events & (EPOLLHUP | EPOLLERR))) {
		lose_device(e);
	}
}

/*
 * For others.
 */

void evdev_init(struct evdev *e, struct input *in, const struct evdev_options *options)
{
	e->in = in;
	e->options = *options;
	e->host = evdev_host.ops;
	e->is_wanted = true;
	e->src = (struct loop_source){.fd = -1, .events = EPOLLIN, .fn = on_events};
	loop_timer_init(&e->settle, in->base.loop, on_settle);
}

void evdev_finish(struct evdev *e)
{
	if (!e->in || evdev_is_absent(e)) {
		return;
	}
	if (e->is_forwarding) {
		give_back(e, true);
	}
	loop_remove(&e->src);
	close(e->src.fd);
	e->src.fd = -1;
}

int evdev_attach(struct evdev *e, int fd)
{
	int r;

	assert(evdev_is_absent(e));
	e->src.fd = fd;
	e->is_lost = false;
	e->is_busy = false;
	e->was_chord = false;
	e->was_release = false;
	e->n = 0;
	evdev_host_set_clock(fd);
	r = e->host->describe(fd, &e->has);
	if (r < 0) {
		log_errno(LOG_ERR, r, "%s: the host's device", e->options.name);
	} else if (!input_desc_is_part(&e->has, &e->in->desc)) {
		log_msg(LOG_ERR, "%s: \"%s\" can send what the guest's device \"%s\" cannot", e->options.name, e->has.name, e->in->desc.name);
		r = -ENODEV;
	} else {
		r = read_state(e) ? loop_add(e->in->base.loop, &e->src) : -ENODEV;
	}
	if (r < 0) {
		close(fd);
		e->src.fd = -1;
		return r;
	}
	update(e);
	if (!e->is_forwarding) {
		tell_changed(e);
	}
	return 0;
}

bool evdev_is_absent(const struct evdev *e)
{
	return e->src.fd < 0;
}

void evdev_want(struct evdev *e, bool wanted)
{
	e->is_wanted = wanted;
	update(e);
}

void evdev_light(struct evdev *e, unsigned code, bool on)
{
	put_bit(e->guest_lights, code, on);
	if (e->is_forwarding) {
		e->host->light(e->src.fd, code, on);
	}
}

void evdev_running(struct evdev *e)
{
	update(e);
}

const char *evdev_state_name(const struct evdev *e)
{
	return evdev_is_absent(e) ? "absent" : e->is_forwarding ? "forwarding" : can_forward(e) ? "waiting" : "watching";
}
