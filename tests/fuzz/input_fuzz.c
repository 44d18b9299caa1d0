/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: virtio-input between a source that sends any frames and a driver that does anything in any order. What must hold: a used length is 8 or 0,
 * no frame is torn (the guest never sees the source's frames cut or mixed), and once the guest has fetched everything it is in the state the source is in:
 * no key is held that is not held. A source that waits for room loses no frame, and is told when there is some. Of one that does not wait, no key is lost or overtaken by another
 * while there is motion that can give way.
 *
 * The input is a list of three-byte steps: what to do, and two numbers.
 */
#include <stdint.h>
#include <stdlib.h>
#include <linux/virtio_input.h>

#include "devices/input.h"
#include "devices/input_melt.h"
#include "devices/fake_virtio.h"

#define CHECK(x) \
	do { \
		if (!(x)) { \
			abort(); \
		} \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct input in;
static struct input_state guest;
static uint8_t event[FAKE_CHAINS_MAX][8];
static unsigned fetched; /* chains of the event queue that were looked at */
static bool waits; /* the source was told that there is no room, and not yet that there is */
static bool inside; /* the guest has the beginning of a frame */

/* Keys on their way: those the guest got while it was looked at, and those that wait. */
struct keys {
	struct input_ev ev[2 * INPUT_RING_EVENTS];
	unsigned n;
};
static struct keys *listens;

static void hear(const struct input_ev *ev)
{
	if (listens && ev->type == EV_KEY) {
		CHECK(listens->n < 2 * INPUT_RING_EVENTS);
		listens->ev[listens->n++] = *ev;
	}
}

static void look(void)
{
	for (; fetched < fake_queue[INPUT_EVENTQ].nchains && fake_queue[INPUT_EVENTQ].chain[fetched].pushed; fetched++) {
		const struct fake_chain *c = &fake_queue[INPUT_EVENTQ].chain[fetched];
		struct virtio_input_event wire;
		struct input_ev ev;

		CHECK(c->written == (c->in.iov_len < sizeof(wire) ? 0 : sizeof(wire)));
		if (c->written) {
			memcpy(&wire, c->in.iov_base, sizeof(wire));
			ev = (struct input_ev){wire.type, wire.code, (int32_t)wire.value};
			CHECK(ev.type == EV_SYN || input_desc_has(&in.desc, ev.type, ev.code));
			input_state_apply(&guest, &ev);
			hear(&ev);
			inside = ev.type != EV_SYN;
		}
	}
}

/* The driver's ring starts anew when the double's array is used up. */
static void recycle(void)
{
	look();
	for (unsigned q = 0; q < 2; q++) {
		if (fake_queue[q].nchains == FAKE_CHAINS_MAX && fake_queue[q].popped == FAKE_CHAINS_MAX) {
			memset(&fake_queue[q], 0, sizeof(fake_queue[q]));
			fetched = q == INPUT_EVENTQ ? 0 : fetched;
		}
	}
}

static void give(unsigned n, size_t bytes)
{
	recycle();
	for (; n > 0 && fake_queue[INPUT_EVENTQ].nchains < FAKE_CHAINS_MAX; n--) {
		fake_add(INPUT_EVENTQ, NULL, 0, event[fake_queue[INPUT_EVENTQ].nchains], bytes);
	}
}

static void hear_waiting(void)
{
	for (unsigned i = in.ring.first; i < in.ring.end; i++) {
		hear(&in.ring.ev[i]);
	}
}

/* Events that must stay, whatever gives way, and what may have to be added to them: the slot, and where a finger is. */
static unsigned firm_events(unsigned n)
{
	struct input_state s = in.ring.sent;
	unsigned total = n, end;

	for (unsigned at = in.ring.first; at < in.ring.end; at = end) {
		enum input_frame_kind kind;

		for (end = at; in.ring.ev[end].type != EV_SYN; end++) {
		}
		end++;
		kind = input_frame_kind(&in.desc, &s, s.slot, &in.ring.ev[at], end - at);
		for (; at < end; at++) {
			bool begins = in.ring.ev[at].type == EV_ABS && in.ring.ev[at].code == ABS_MT_TRACKING_ID;

			total += kind == INPUT_FRAME_STATE || in.ring.is_torn ? 1 + begins * INPUT_MT_AXES + (in.ring.ev[at].type == EV_SYN) : 0;
			input_state_apply(&s, &in.ring.ev[at]);
		}
	}
	return total;
}

static void send_watched(const struct input_ev *ev, unsigned n)
{
	static struct keys before, after;
	unsigned room = INPUT_RING_EVENTS - INPUT_RING_EVENTS / 8 - INPUT_DIFF_MAX - REL_CNT;
	bool runs = fake_running && virtio_device_is_running(&in.base);

	if (!runs || n <= INPUT_RING_EVENTS - in.ring.end || firm_events(n) > room) {
		input_send(&in, ev, n);
		return;
	}
	look();
	before.n = 0;
	listens = &before;
	hear_waiting();
	for (unsigned i = 0; i < n; i++) {
		if (input_desc_has(&in.desc, ev[i].type, ev[i].code)) {
			hear(&ev[i]);
		}
	}
	after.n = 0;
	listens = &after;
	input_send(&in, ev, n);
	look();
	hear_waiting();
	listens = NULL;
	CHECK(after.n == before.n && memcmp(after.ev, before.ev, after.n * sizeof(after.ev[0])) == 0);
}

static void send(uint8_t a, uint8_t b)
{
	static const uint16_t kinds[][2] = {{EV_KEY, KEY_A}, {EV_KEY, BTN_LEFT}, {EV_REL, REL_X}, {EV_ABS, ABS_X}, {EV_ABS, ABS_MT_SLOT},
		{EV_ABS, ABS_MT_TRACKING_ID}, {EV_ABS, ABS_MT_POSITION_X}, {EV_SW, SW_LID}, {EV_MSC, MSC_SCAN}, {EV_LED, LED_CAPSL}};
	struct input_ev frame[INPUT_FRAME_MAX];
	unsigned n = a % 8 == 7 ? INPUT_FRAME_MAX : a % 8 + 1;

	for (unsigned i = 0; i + 1 < n; i++) {
		const uint16_t *kind = kinds[(b + i) % (sizeof(kinds) / sizeof(kinds[0]))];

		frame[i] = (struct input_ev){kind[0], (uint16_t)(kind[1] + (a >> 3) % 4), (int32_t)((b + i) % 5) - 1};
		if (kind[0] == EV_KEY || kind[0] == EV_SW) {
			frame[i].value = (b >> 4 ^ (int)i) & 1;
		}
	}
	frame[n - 1] = (struct input_ev){EV_SYN, SYN_REPORT, 0};
	send_watched(frame, n);
}

/* As the source of keys that must not be lost: not without room, and then nothing is dropped for it. */
static void send_patiently(uint8_t a, uint8_t b)
{
	uint64_t dropped = in.counters.dropped;
	bool runs = fake_running && virtio_device_is_running(&in.base);

	waits = waits || !input_has_room(&in);
	if (!waits) {
		send(a, b);
		CHECK(!runs || in.counters.dropped == dropped);
	}
}

static void on_room(void *ctx)
{
	(void)ctx;
	waits = false;
}

static void start(void)
{
	if (!fake_running) {
		recycle();
		inside = false;
		input_state_init(&guest, &in.desc);
		fake_start(&in.base);
		loop_run_once(in.base.loop, 0);
	}
}

static void reset(void)
{
	look();
	fake_reset(&in.base);
	CHECK(in.echoes == 0 && in.look.deadline_ns == 0);
	in.base.failed = false;
	memset(fake_queue, 0, sizeof(fake_queue));
	fetched = 0;
}

static void status(uint8_t a, uint8_t b)
{
	static uint8_t wire[8];

	wire[0] = a % 32;
	wire[2] = b;
	if (fake_queue[INPUT_STATUSQ].nchains < FAKE_CHAINS_MAX) {
		fake_add(INPUT_STATUSQ, wire, b % 10, NULL, 0);
	}
}

static void step(uint8_t what, uint8_t a, uint8_t b)
{
	uint8_t select[8] = {a, b};
	struct input_state state;

	switch (what % 10) {
	case 0:
	case 1:
		send(a, b);
		break;
	case 2:
		for (unsigned i = 0; i < a; i++) {
			if (a & 1) {
				send_patiently(b, (uint8_t)(b + i));
			} else {
				send(b, (uint8_t)(b + i));
			}
		}
		break;
	case 3:
		give(a % 65, b % 16 ? 8 : b / 16);
		break;
	case 4:
		if (fake_running && virtio_device_is_running(&in.base)) {
			in.base.ops->kick(&in.base, a & 1);
		}
		break;
	case 5:
		status(a, b);
		break;
	case 6:
		in.base.ops->config_write(&in.base, a % 137, select, 1u << b % 4);
		break;
	case 7:
		reset();
		break;
	case 8:
		start();
		break;
	default:
		state = in.now;
		state.key[a % sizeof(state.key)] ^= b;
		if (a & 1) {
			input_sync(&in, &state);
		} else {
			input_release(&in);
		}
		break;
	}
	loop_run_once(in.base.loop, 0);
	/* Nobody looks for what does not come. */
	CHECK(in.echoes <= INPUT_QUEUE_SIZE && (in.echoes > 0 || in.look.deadline_ns == 0));
	look();
}

static void fetch_all(void)
{
	struct input_ev diff[INPUT_DIFF_MAX];

	if (!fake_running || !virtio_device_is_running(&in.base)) {
		return;
	}
	for (unsigned i = 0; i < 400 && !input_is_drained(&in); i++) {
		give(64, 8);
		in.base.ops->kick(&in.base, INPUT_EVENTQ);
		loop_run_once(in.base.loop, 0);
		look();
	}
	CHECK(input_is_drained(&in) && !inside);
	loop_run_once(in.base.loop, 0);
	CHECK(!waits);
	guest.slot = in.now.slot;
	CHECK(input_state_diff(&in.desc, &guest, &in.now, diff) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct input_axis axis = {.max = 9, .fuzz = len && data[0] & 2};
	static const struct input_source_ops source = {.room = on_room};
	struct input_desc desc;
	struct loop loop;

	log_set_level(LOG_ERR);
	CHECK(loop_init(&loop) == 0);
	fake_forget();
	memset(&in, 0, sizeof(in));
	fetched = 0;
	input_desc_make(&desc, len && data[0] & 1 ? INPUT_MULTITOUCH : INPUT_KEYBOARD, 0);
	input_desc_add(&desc, EV_KEY, BTN_LEFT);
	input_desc_add(&desc, EV_KEY, KEY_A);
	input_desc_add(&desc, EV_REL, REL_X);
	input_desc_add(&desc, EV_SW, SW_LID);
	input_desc_add(&desc, EV_MSC, MSC_SCAN);
	input_desc_add_abs(&desc, ABS_X, &axis);
	input_init(&in, &desc, &loop, NULL);
	input_set_source(&in, &source, NULL);
	waits = false;
	start();
	for (size_t i = 1; i + 2 < len && i < 3000; i += 3) {
		step(data[i], data[i + 1], data[i + 2]);
	}
	fetch_all();
	reset();
	CHECK(!waits);
	input_finish(&in);
	loop_finish(&loop);
	return 0;
}
