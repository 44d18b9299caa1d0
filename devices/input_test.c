/* SPDX-License-Identifier: MIT */
/* virtio-input over real rings: order, overflow, what stays held, and what the guest may write. */
#include "devices/input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_input.h>
#include <cmocka.h>

#include "tests/support/testdrv.h"
#include "vmm/log.h"

#define SYN {EV_SYN, SYN_REPORT, 0}
#define BUFFER_BYTES 8
#define GOT_MAX 20000

static struct tdrv drv;
static struct input *in;
static struct input_state guest; /* as the guest's kernel would have it */
static struct input_ev got[GOT_MAX];
static unsigned ngot, given, returned, lines_logged;
static uint64_t buffers; /* gpa of the 64 event buffers */

static struct {
	unsigned lights, last_code, taken, room;
	bool last_on;
	int running; /* +1 came, -1 went */
} source;

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
	lines_logged++;
}

static void on_light(void *ctx, unsigned code, bool on)
{
	(void)ctx;
	source.lights++;
	source.last_code = code;
	source.last_on = on;
}

static void on_running(void *ctx, bool is_running)
{
	(void)ctx;
	/* It may ask at once, while the device is still as it was. */
	assert_int_equal(input_has_driver(in), is_running);
	source.running += is_running ? 1 : -1;
}

static void on_taken(void *ctx)
{
	(void)ctx;
	source.taken++;
}

static bool is_sending;

static void on_room(void *ctx)
{
	(void)ctx;
	assert_false(is_sending);
	source.room++;
}

static const struct input_source_ops source_ops = {.light = on_light, .running = on_running, .taken = on_taken, .room = on_room};

/* The driver came up; it has no event buffers yet. */
static void start_driver(void)
{
	tdrv_start(&drv);
	input_state_init(&guest, &in->desc);
	buffers = tdrv_alloc(&drv, INPUT_QUEUE_SIZE * BUFFER_BYTES, 8);
	given = 0;
	returned = 0;
	ngot = 0;
	tdrv_serve(&drv);
}

static void start(const struct input_desc *desc)
{
	tdrv_init(&drv);
	in = calloc(1, sizeof(*in));
	assert_non_null(in);
	input_init(in, desc, &drv.loop, &drv.mem);
	memset(&source, 0, sizeof(source));
	input_set_source(in, &source_ops, NULL);
	tdrv_attach(&drv, &in->base);
	start_driver();
}

static void start_kind(enum input_kind kind)
{
	struct input_desc desc;

	input_desc_make(&desc, kind, 0);
	start(&desc);
}

static int setup(void **state)
{
	(void)state;
	lines_logged = 0;
	log_set_hook(on_log);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tdrv_finish(&drv);
	input_finish(in);
	free(in);
	in = NULL;
	clock_set_test_ns(0);
	log_set_hook(NULL);
	return 0;
}

/* @n more event buffers, at most as many as the driver has. */
static void give(unsigned n)
{
	assert_true(given - returned + n <= INPUT_QUEUE_SIZE);
	for (; n > 0; n--, given++) {
		tdrv_add(&drv, INPUT_EVENTQ, 0, 0, buffers + given % INPUT_QUEUE_SIZE * BUFFER_BYTES, BUFFER_BYTES);
	}
	tdrv_kick(&drv, INPUT_EVENTQ);
}

/* What came, in the order of the used ring, which is that of the buffers. */
static void take(void)
{
	uint32_t head, len;

	while (tdrv_used(&drv, INPUT_EVENTQ, &head, &len)) {
		struct virtio_input_event wire;

		assert_int_equal(len, sizeof(wire));
		assert_true(ngot < GOT_MAX);
		memcpy(&wire, tdrv_ptr(&drv, buffers + returned % INPUT_QUEUE_SIZE * BUFFER_BYTES, sizeof(wire)), sizeof(wire));
		got[ngot] = (struct input_ev){wire.type, wire.code, (int32_t)wire.value};
		input_state_apply(&guest, &got[ngot++]);
		returned++;
	}
}

/* A driver that always refills, until nothing comes any more. */
static void take_all(void)
{
	unsigned before;

	do {
		before = ngot;
		give(INPUT_QUEUE_SIZE - (given - returned));
		take();
	} while (ngot > before);
}

static void expect_events(const struct input_ev *want, unsigned n)
{
	assert_int_equal(ngot, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(got[i].type, want[i].type);
		assert_int_equal(got[i].code, want[i].code);
		assert_int_equal(got[i].value, want[i].value);
	}
	ngot = 0;
}

#define EXPECT(...) \
	do { \
		static const struct input_ev want[] = {__VA_ARGS__}; \
		expect_events(want, sizeof(want) / sizeof(want[0])); \
	} while (0)

#define SEND(...) \
	do { \
		static const struct input_ev frame[] = {__VA_ARGS__, SYN}; \
		input_send(in, frame, sizeof(frame) / sizeof(frame[0])); \
		tdrv_serve(&drv); \
	} while (0)

static void key(unsigned code, int value)
{
	struct input_ev frame[] = {{EV_KEY, (uint16_t)code, value}, SYN};

	is_sending = true;
	input_send(in, frame, 2);
	is_sending = false;
}

static void move(unsigned type, unsigned code, int value)
{
	struct input_ev frame[] = {{(uint16_t)type, (uint16_t)code, value}, SYN};

	input_send(in, frame, 2);
}

static void assert_guest_agrees(void)
{
	struct input_ev diff[INPUT_DIFF_MAX];

	guest.slot = in->now.slot;
	assert_int_equal(input_state_diff(&in->desc, &guest, &in->now, diff), 0);
}

/* No frame without its end, none begun anew inside another. */
static void assert_ends_whole(void)
{
	assert_true(ngot == 0 || (got[ngot - 1].type == EV_SYN && got[ngot - 1].code == SYN_REPORT));
}

static void test_input_events_arrive_in_order_with_one_interrupt(void **state)
{
	unsigned irqs;

	(void)state;
	start_kind(INPUT_KEYBOARD);
	give(64);
	irqs = drv.used_irqs;
	SEND({EV_KEY, KEY_LEFTSHIFT, 1}, {EV_KEY, KEY_A, 1});
	assert_int_equal(drv.used_irqs, irqs + 1);
	take();
	EXPECT({EV_KEY, KEY_LEFTSHIFT, 1}, {EV_KEY, KEY_A, 1}, SYN);
	assert_int_equal(in->counters.frames_out, 1);
	assert_int_equal(in->counters.events_out, 2);
}

static void test_input_frame_waits_for_buffers(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	SEND({EV_KEY, KEY_A, 1});
	assert_false(input_is_drained(in));
	give(1);
	take();
	EXPECT({EV_KEY, KEY_A, 1});
	give(5);
	take();
	EXPECT(SYN);
	assert_true(input_is_drained(in));
}

/*
 * Who waits for the driver.
 */

/* Makes @n event buffers available without a kick. Return: whether the driver kicks for them: virtio v1.3, 2.7.10. */
static bool give_back(unsigned n)
{
	const struct tdrv_queue *q = &drv.q[INPUT_EVENTQ];
	uint16_t before = q->avail_idx, event;

	for (unsigned i = 0; i < n; i++, given++) {
		tdrv_add(&drv, INPUT_EVENTQ, 0, 0, buffers + given % INPUT_QUEUE_SIZE * BUFFER_BYTES, BUFFER_BYTES);
	}
	memcpy(&event, tdrv_ptr(&drv, q->used + 4 + 8u * q->size, sizeof(event)), sizeof(event));
	return (uint16_t)(q->avail_idx - event - 1) < (uint16_t)(q->avail_idx - before);
}

static void test_input_await_lasts_until_the_driver_has_its_buffers_back_here(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	give(40);
	assert_true(input_await(in));
	for (unsigned i = 0; i < 3; i++) {
		SEND({EV_KEY, KEY_A, 1}, {EV_KEY, KEY_B, 1});
		SEND({EV_KEY, KEY_A, 0}, {EV_KEY, KEY_B, 0});
		assert_false(input_await(in));
		take();
		ngot = 0;
		/* It says that it has looked at all of it, and nothing before. */
		assert_false(give_back(5));
		tdrv_kick(&drv, INPUT_EVENTQ);
		assert_int_equal(source.taken, i);
		assert_true(give_back(1));
		tdrv_kick(&drv, INPUT_EVENTQ);
		assert_int_equal(source.taken, i + 1);
		assert_true(input_await(in));
	}
	/* Nobody waits. */
	SEND({EV_KEY, KEY_A, 1});
	give(1);
	give(1);
	assert_int_equal(source.taken, 3);
	assert_int_equal(in->late.deadline_ns, 0);
}

static void test_input_await_of_more_than_there_are_buffers_for(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	give(3);
	SEND({EV_KEY, KEY_A, 1}, {EV_KEY, KEY_B, 1}, {EV_KEY, KEY_C, 1}, {EV_KEY, KEY_D, 1});
	assert_false(input_await(in));
	/* Where all of it is not even in its buffers, waiting has no end. */
	assert_int_equal(in->late.deadline_ns, 0);
	take();
	give(3);
	assert_int_equal(source.taken, 0);
	take();
	give(1);
	assert_int_equal(source.taken, 0);
	give(1);
	assert_int_equal(source.taken, 1);
}

/* It may have come back before anybody asked. */
static void test_input_await_of_a_driver_that_was_fast(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	give(64);
	SEND({EV_KEY, KEY_A, 1});
	take();
	give_back(2);
	assert_true(input_await(in));
	assert_int_equal(source.taken, 0);
}

static void test_input_await_tells_who_waited_before(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	give(64);
	SEND({EV_KEY, KEY_A, 1});
	assert_false(input_await(in));
	take();
	/* Its kick is on its way. */
	give_back(2);
	assert_false(input_await(in));
	assert_int_equal(source.taken, 1);
	tdrv_kick(&drv, INPUT_EVENTQ);
	assert_int_equal(source.taken, 1);
}

static void test_input_await_does_not_last_for_a_driver_that_keeps_its_buffers(void **state)
{
	uint64_t now = clock_now_ns();

	(void)state;
	start_kind(INPUT_KEYBOARD);
	give(64);
	SEND({EV_KEY, KEY_A, 1});
	clock_set_test_ns(now);
	assert_false(input_await(in));
	clock_set_test_ns(now + INPUT_TAKE_NS - 1);
	assert_false(input_await(in));
	tdrv_serve(&drv);
	assert_int_equal(source.taken, 0);
	clock_set_test_ns(now + INPUT_TAKE_NS);
	tdrv_serve(&drv);
	assert_int_equal(source.taken, 1);
	/* The next one as long. */
	SEND({EV_KEY, KEY_A, 0});
	assert_false(input_await(in));
	clock_set_test_ns(now + 2 * INPUT_TAKE_NS);
	tdrv_serve(&drv);
	assert_int_equal(source.taken, 2);
}

static void test_input_await_without_event_indexes_is_for_buffers_alone(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	tdrv_start_without(&drv, VIRTIO_F_EVENT_IDX);
	buffers = tdrv_alloc(&drv, INPUT_QUEUE_SIZE * BUFFER_BYTES, 8);
	given = returned = 0;
	tdrv_serve(&drv);
	SEND({EV_KEY, KEY_A, 1});
	assert_false(input_await(in));
	give(2);
	assert_int_equal(source.taken, 1);
	assert_true(input_await(in));
}

static void test_input_await_ends_with_the_driver(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	give(64);
	SEND({EV_KEY, KEY_A, 1});
	assert_false(input_await(in));
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(source.taken, 1);
	assert_int_equal(in->late.deadline_ns, 0);
	assert_true(input_await(in));
	/* The next one may have fewer buffers. */
	start_driver();
	give(8);
	SEND({EV_KEY, KEY_B, 1});
	assert_false(input_await(in));
	take();
	give(4);
	assert_int_equal(source.taken, 2);
}

/*
 * Losses, to the frame: each has its number, in EV_MSC. What is missing melted or was dropped, and what nobody sent is a difference; a difference that gives way to another one was no frame of the source's.
 */
static unsigned numbered, last_number, numbers_got, bare_got;

static void send_numbered(unsigned dice)
{
	struct input_ev frame[5];
	unsigned n = 0;

	if (dice % 7 == 0) {
		frame[n++] = (struct input_ev){EV_KEY, (uint16_t)(KEY_A + dice / 7 % 2), dice / 14 % 2};
	} else if (dice % 7 == 1) {
		frame[n++] = (struct input_ev){EV_ABS, ABS_X, (int)(dice % 3)};
	} else {
		frame[n++] = (struct input_ev){EV_REL, (uint16_t)(REL_X + dice % 2), 1};
	}
	frame[n++] = (struct input_ev){EV_MSC, MSC_SCAN, (int)++numbered};
	frame[n++] = (struct input_ev)SYN;
	input_send(in, frame, n);
}

static void count_numbers(void)
{
	int number = 0;

	for (unsigned i = 0; i < ngot; i++) {
		number = got[i].type == EV_MSC ? got[i].value : number;
		if (got[i].type == EV_SYN) {
			assert_int_equal(got[i].value, 0);
			numbers_got += number > 0;
			bare_got += number == 0;
			assert_true(number == 0 || (unsigned)number > last_number);
			last_number = number ? (unsigned)number : last_number;
			number = 0;
		}
	}
	ngot = 0;
}

static void test_input_every_loss_is_counted_once(void **state)
{
	static const struct input_axis axis = {.max = 9};
	struct input_desc desc;
	unsigned dice = 1;

	(void)state;
	numbered = last_number = numbers_got = bare_got = 0;
	input_desc_make(&desc, INPUT_MOUSE, 0);
	input_desc_add(&desc, EV_KEY, KEY_A);
	input_desc_add(&desc, EV_KEY, KEY_B);
	input_desc_add(&desc, EV_MSC, MSC_SCAN);
	input_desc_add_abs(&desc, ABS_X, &axis);
	start(&desc);
	for (unsigned round = 0; round < 12; round++) {
		/* More keys in each than the ring holds, or none: motion melts, gives way, or everything collapses, several times over. */
		for (unsigned i = 0; i < 20000; i++) {
			dice = dice * 1103515245 + 12345;
			send_numbered(round % 3 == 0 ? 7 * (dice >> 8) : round % 3 == 1 ? dice >> 8 : 2 + 7 * (dice >> 16));
			if (i % 4999 == 0) {
				struct input_state now = in->now;

				now.key[KEY_A / 8] ^= 1u << KEY_A % 8;
				input_sync(in, &now);
			}
		}
		/* Every other time not to the end: a frame that has begun, and differences that wait. */
		if (round % 2) {
			take();
			give(5);
			take();
		} else {
			take_all();
			count_numbers();
			assert_guest_agrees();
			assert_int_equal(numbered - numbers_got, in->counters.coalesced + in->counters.dropped);
			assert_int_equal(bare_got, in->counters.resyncs);
			assert_int_equal(in->counters.frames_out, numbers_got + bare_got);
		}
	}
	assert_true(in->counters.coalesced > 0 && in->counters.dropped > 0 && in->counters.resyncs > 5);
	/* Those that wait when the driver goes are lost, and differences are not. */
	start_driver();
	count_numbers();
	assert_int_equal(in->counters.frames_in, in->counters.frames_out + in->counters.coalesced + in->counters.dropped - in->counters.resyncs);
}

/* Lesson: a monitor that wants room for the whole frame never delivers one of 80 events to Linux, which has 64 buffers. */
static void test_input_frame_larger_than_the_queue_comes_in_pieces(void **state)
{
	struct input_ev frame[81];
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_MULTITOUCH, 0);
	desc.abs[ABS_MT_SLOT].max = 15;
	input_desc_add_abs(&desc, ABS_MT_PRESSURE, &(struct input_axis){.max = 255});
	start(&desc);
	for (unsigned i = 0; i < 16; i++) {
		frame[5 * i] = (struct input_ev){EV_ABS, ABS_MT_SLOT, (int)i};
		frame[5 * i + 1] = (struct input_ev){EV_ABS, ABS_MT_TRACKING_ID, (int)i + 100};
		frame[5 * i + 2] = (struct input_ev){EV_ABS, ABS_MT_POSITION_X, 10 + (int)i};
		frame[5 * i + 3] = (struct input_ev){EV_ABS, ABS_MT_POSITION_Y, 20 + (int)i};
		frame[5 * i + 4] = (struct input_ev){EV_ABS, ABS_MT_PRESSURE, 30 + (int)i};
	}
	frame[80] = (struct input_ev)SYN;
	give(64);
	input_send(in, frame, 81);
	take();
	assert_int_equal(ngot, 64);
	give(64);
	take();
	expect_events(frame, 81);
	assert_int_equal(in->counters.dropped, 0);
}

static void test_input_refill_between_turns_keeps_the_order(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	for (int i = 0; i < 500; i++) {
		key(KEY_A + i % 2, i / 2 % 2 == 0);
	}
	take_all();
	assert_int_equal(ngot, 1000);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(got[2 * i].code, KEY_A + i % 2);
		assert_int_equal(got[2 * i].value, i / 2 % 2 == 0);
	}
	assert_guest_agrees();
}

static void test_input_overflow_melts_motion_and_keeps_every_button(void **state)
{
	int x = 0, presses = 0;

	(void)state;
	start_kind(INPUT_MOUSE);
	for (int i = 0; i < 20000; i++) {
		move(EV_REL, REL_X, 3);
		if (i % 200 == 0) {
			key(BTN_LEFT, i / 200 % 2 == 0);
		}
	}
	take_all();
	for (unsigned i = 0; i < ngot; i++) {
		x += got[i].type == EV_REL && got[i].code == REL_X ? got[i].value : 0;
		presses += got[i].type == EV_KEY;
	}
	assert_int_equal(x, 60000);
	assert_int_equal(presses, 100);
	assert_true(in->counters.coalesced > 10000);
	assert_int_equal(in->counters.dropped, 0);
	assert_ends_whole();
	assert_guest_agrees();
}

static void test_input_melted_absolute_motion_has_the_last_place(void **state)
{
	(void)state;
	start_kind(INPUT_TABLET);
	for (int i = 0; i <= 10000; i++) {
		struct input_ev frame[] = {{EV_ABS, ABS_X, i}, {EV_ABS, ABS_Y, 2 * i}, SYN};

		input_send(in, frame, 3);
	}
	take_all();
	assert_int_equal(guest.abs[ABS_X], 10000);
	assert_int_equal(guest.abs[ABS_Y], 20000);
	assert_int_equal(in->counters.dropped, 0);
	assert_ends_whole();
}

/* The guest's kernel takes a short way for noise. Many of them, each long, that end near to where they began must not become one. */
static void test_input_an_axis_with_fuzz_is_where_it_is_after_an_overflow(void **state)
{
	const int32_t fuzz = 4, last = 3;
	struct input_desc desc;
	int32_t seen = 0;

	(void)state;
	input_desc_make(&desc, INPUT_TABLET, 0);
	desc.abs[ABS_X].fuzz = fuzz;
	start(&desc);
	for (int i = 1; i < INPUT_RING_EVENTS / 2; i++) {
		move(EV_ABS, ABS_X, i % 2 ? 1000 : 20);
	}
	move(EV_ABS, ABS_X, last);
	/* For which there is no room. */
	key(BTN_LEFT, 1);
	take_all();
	for (unsigned i = 0; i < ngot; i++) {
		bool is_noise = got[i].value > seen - 2 * fuzz && got[i].value < seen + 2 * fuzz;

		seen = got[i].type == EV_ABS && !is_noise ? got[i].value : seen;
	}
	assert_int_equal(seen, last);
	assert_ends_whole();
}

/* As Linux' input core has it since 2.6. */
static int32_t defuzz(int32_t value, int32_t old, int32_t fuzz)
{
	if (value > old - fuzz / 2 && value < old + fuzz / 2) {
		return old;
	}
	if (value > old - fuzz && value < old + fuzz) {
		return (old * 3 + value) / 4;
	}
	return value > old - fuzz * 2 && value < old + fuzz * 2 ? (old + value) / 2 : value;
}

/* A guest that hears all that came, with an ear for noise. */
static struct input_state hear(void)
{
	struct input_state s;

	input_state_init(&s, &in->desc);
	for (unsigned i = 0; i < ngot; i++) {
		struct input_ev ev = got[i];
		int32_t fuzz = ev.type == EV_ABS ? in->desc.abs[ev.code].fuzz : 0;

		if (fuzz > 0) {
			ev.value = defuzz(ev.value, input_is_mt(ev.code) ? s.mt[s.slot][ev.code - ABS_MT_SLOT] : s.abs[ev.code], fuzz);
		}
		input_state_apply(&s, &ev);
	}
	return s;
}

/*
 * A touch screen of the host, two fingers of which one stays and one drags and taps. As its kernel does it: slot and place are said only where they are others than before. Its driver's fuzz is 4.
 */
static struct {
	struct input_ev tap[GOT_MAX]; /* what is no motion, in its order */
	int32_t x[GOT_MAX], y[GOT_MAX]; /* where that happened */
	unsigned slot[GOT_MAX], n;
	int32_t id, other;
} finger;

static void start_touch_screen(void)
{
	struct input_desc desc;

	input_desc_make(&desc, INPUT_MULTITOUCH, 0);
	desc.abs[ABS_MT_POSITION_X].fuzz = 4;
	desc.abs[ABS_MT_POSITION_Y].fuzz = 4;
	start(&desc);
	memset(&finger, 0, sizeof(finger));
	SEND({EV_ABS, ABS_MT_SLOT, 1}, {EV_ABS, ABS_MT_TRACKING_ID, 60000}, {EV_ABS, ABS_MT_POSITION_X, 32000}, {EV_ABS, ABS_MT_POSITION_Y, 32000}, {EV_ABS, ABS_MT_SLOT, 0});
	take_all();
	ngot = 0;
}

static const int32_t *where(void)
{
	return in->now.mt[0];
}

static void note(const struct input_ev *ev, unsigned n)
{
	for (unsigned i = 0; i + 1 < n; i++) {
		if (ev[i].type == EV_KEY || ev[i].code == ABS_MT_TRACKING_ID) {
			finger.x[finger.n] = where()[ABS_MT_POSITION_X - ABS_MT_SLOT];
			finger.y[finger.n] = where()[ABS_MT_POSITION_Y - ABS_MT_SLOT];
			finger.slot[finger.n] = in->now.slot;
			finger.tap[finger.n++] = ev[i];
		}
	}
}

/* Comes down where it was in x, and somewhere else in y, or is lifted; now and then it alone is no touch of the whole screen. */
static void tap(bool down)
{
	struct input_ev frame[4] = {{EV_ABS, ABS_MT_TRACKING_ID, down ? ++finger.id : -1}};
	unsigned n = 1;

	if (finger.id % 2) {
		frame[n++] = (struct input_ev){EV_KEY, BTN_TOUCH, down};
	}
	if (down) {
		frame[n++] = (struct input_ev){EV_ABS, ABS_MT_POSITION_Y, 1000 + finger.id};
	}
	frame[n++] = (struct input_ev)SYN;
	input_send(in, frame, n);
	note(frame, n);
}

/* The other finger: the slot is 1 behind it. */
static void tap_other(void)
{
	struct input_ev frame[] = {{EV_ABS, ABS_MT_SLOT, 1}, {EV_ABS, ABS_MT_TRACKING_ID, 60000 + ++finger.other}, SYN};

	input_send(in, frame, 3);
	note(frame, 3);
}

/* The other finger moves between, so that the slot is said in frames that are nothing but motion; behind them it is 0. */
static void drag(int32_t x, int32_t y)
{
	struct input_ev frame[] = {{EV_ABS, ABS_MT_SLOT, 0}, {EV_ABS, ABS_MT_POSITION_X, x}, {EV_ABS, ABS_MT_POSITION_Y, y + 20}, SYN};
	struct input_ev other[] = {{EV_ABS, ABS_MT_SLOT, 1}, {EV_ABS, ABS_MT_POSITION_Y, 32000 - x % 8}, SYN};
	struct input_ev back[] = {{EV_ABS, ABS_MT_SLOT, 0}, {EV_ABS, ABS_MT_POSITION_Y, y}, SYN};

	input_send(in, frame, 4);
	input_send(in, other, 3);
	input_send(in, back, 3);
}

/* Every one that there was, none besides, in its order; @at: each where it happened, and not only where a finger comes down. */
static void expect_taps(bool at)
{
	unsigned found = 0, begin = 0;
	struct input_state s;

	input_state_init(&s, &in->desc);
	for (unsigned i = 0; i < ngot; i++) {
		if (got[i].type == EV_SYN) {
			for (unsigned k = begin; k <= i; k++) {
				input_state_apply(&s, &got[k]);
			}
			for (unsigned k = begin; k < i; k++) {
				if (got[k].type != EV_KEY && got[k].code != ABS_MT_TRACKING_ID) {
					continue;
				}
				assert_true(found < finger.n);
				assert_int_equal(s.slot, finger.slot[found]);
				assert_memory_equal(&got[k], &finger.tap[found], sizeof(got[k]));
				if (at || (finger.slot[found] == 0 && finger.tap[found].value > 0)) {
					assert_int_equal(s.mt[0][ABS_MT_POSITION_X - ABS_MT_SLOT], finger.x[found]);
					assert_int_equal(s.mt[0][ABS_MT_POSITION_Y - ABS_MT_SLOT], finger.y[found]);
				}
				found++;
			}
			begin = i + 1;
		}
	}
	assert_int_equal(found, finger.n);
	assert_ends_whole();
	assert_guest_agrees();
	s = hear();
	assert_int_equal(s.mt[0][ABS_MT_POSITION_X - ABS_MT_SLOT], where()[ABS_MT_POSITION_X - ABS_MT_SLOT]);
	assert_int_equal(s.mt[0][ABS_MT_POSITION_Y - ABS_MT_SLOT], where()[ABS_MT_POSITION_Y - ABS_MT_SLOT]);
}

static void test_input_fingers_melt_between_taps(void **state)
{
	(void)state;
	start_touch_screen();
	for (int i = 0; i < 300; i++) {
		tap(true);
		for (int k = 0; k < 100; k++) {
			drag(k == 99 ? 500 : 200 + i + k % 7, 300 + i + k);
		}
		tap(false);
	}
	tap(true);
	/* Many ways, each long, and at last it is near to where it was. */
	while (in->ring.end + 20 <= INPUT_RING_EVENTS) {
		drag(9000 + (int)in->ring.end, 9000);
	}
	drag(503, 1003 + finger.id);
	assert_true(input_has_room(in));
	take_all();
	assert_true(in->counters.coalesced > 50000);
	assert_int_equal(in->counters.dropped + in->counters.resyncs, 0);
	expect_taps(true);
}

/* There is no room for both. A finger that comes down where the one before was dragged to comes down there. */
static void test_input_taps_outlast_motion(void **state)
{
	(void)state;
	start_touch_screen();
	for (int i = 0; i < 1100; i++) {
		tap(true);
		tap_other();
		drag(200 + i, 300 + i);
		drag(100 + i * 8, 200 + i * 8);
		tap(false);
		drag(i % 1000 * 16, 9000);
	}
	take_all();
	assert_true(in->counters.dropped > 1000);
	assert_int_equal(in->counters.frames_in + in->counters.resyncs, in->counters.frames_out + in->counters.coalesced + in->counters.dropped);
	expect_taps(false);
}

/* A controller: sticks that tremble, and buttons. */
static void test_input_axes_with_fuzz_melt_between_buttons(void **state)
{
	const unsigned rounds = 400;
	struct input_desc desc;
	struct input_state heard;
	unsigned presses = 0;

	(void)state;
	input_desc_make(&desc, INPUT_TABLET, 0);
	desc.abs[ABS_X].fuzz = 16;
	desc.abs[ABS_Y].fuzz = 250;
	start(&desc);
	for (unsigned i = 0; i < rounds; i++) {
		for (int k = 0; k < 50; k++) {
			struct input_ev frame[] = {{EV_ABS, ABS_X, 5000 + k * k % 90}, {EV_ABS, ABS_Y, 300 + (int)i * 2 + k % 3 * 250}, SYN};

			input_send(in, frame, 3);
		}
		key(BTN_LEFT, i % 2 == 0);
	}
	move(EV_ABS, ABS_X, 5003);
	take_all();
	for (unsigned i = 0; i < ngot; i++) {
		if (got[i].type == EV_KEY) {
			assert_int_equal(got[i].value, presses++ % 2 == 0);
		}
	}
	assert_int_equal(presses, rounds);
	assert_true(in->counters.coalesced > 10000);
	assert_int_equal(in->counters.dropped, 0);
	heard = hear();
	/* As far off as noise may be, where nothing melted. */
	assert_in_range(heard.abs[ABS_X] - in->now.abs[ABS_X] + 16, 1, 31);
	assert_in_range(heard.abs[ABS_Y] - in->now.abs[ABS_Y] + 250, 1, 499);
	assert_guest_agrees();
}

/* On an axis of 30 with a fuzz of 10 nothing is far enough away to go by. What it says cannot melt, and gives way all the same. */
static void test_input_axis_without_detours_gives_way_to_buttons(void **state)
{
	struct input_desc desc;
	unsigned presses = 0;

	(void)state;
	input_desc_make(&desc, INPUT_TABLET, 0);
	desc.abs[ABS_X].max = 30;
	desc.abs[ABS_X].fuzz = 10;
	start(&desc);
	for (unsigned i = 0; i < INPUT_RING_EVENTS; i++) {
		move(EV_ABS, ABS_X, (int)i % 31);
		if (i % 4 == 0) {
			key(BTN_LEFT, i / 4 % 2 == 0);
		}
	}
	take_all();
	for (unsigned i = 0; i < ngot; i++) {
		presses += got[i].type == EV_KEY;
	}
	assert_int_equal(presses, INPUT_RING_EVENTS / 4);
	assert_int_equal(in->counters.coalesced, 0);
	assert_true(in->counters.dropped > 0);
	assert_guest_agrees();
}

/* What gave way is added to what comes. */
static void test_input_buttons_outlast_relative_motion(void **state)
{
	int64_t x = 0;
	unsigned presses = 0;

	(void)state;
	start_kind(INPUT_MOUSE);
	for (int i = 0; i < 6500; i++) {
		move(EV_REL, REL_X, 3);
		key(BTN_LEFT, i % 2 == 0);
	}
	take_all();
	for (unsigned i = 0; i < ngot; i++) {
		x += got[i].type == EV_REL ? got[i].value : 0;
		presses += got[i].type == EV_KEY;
	}
	assert_int_equal(x, 3 * 6500);
	assert_int_equal(presses, 6500);
	assert_true(in->counters.dropped > 0);
	assert_guest_agrees();
}

static void test_input_overflow_across_a_key_up_leaves_no_key_held(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	give(1);
	key(KEY_Q, 1);
	take();
	assert_true(input_state_has_key(&guest, KEY_Q));
	for (unsigned i = 0; i < 2 * INPUT_RING_EVENTS; i++) {
		key(KEY_A + i % 8, i / 8 % 2 == 0);
	}
	for (unsigned i = 0; i < 8; i++) {
		key(KEY_A + i, 0);
	}
	key(KEY_Q, 0);
	key(KEY_LEFTALT, 1);
	take_all();
	assert_true(in->counters.dropped > 0);
	assert_true(input_state_has_key(&guest, KEY_LEFTALT));
	assert_false(input_state_has_key(&guest, KEY_Q));
	assert_guest_agrees();
	assert_ends_whole();
}

static void test_input_overflow_keeps_the_way_of_dropped_motion(void **state)
{
	int64_t x = 0;

	(void)state;
	start_kind(INPUT_MOUSE);
	for (int i = 0; i < INPUT_RING_EVENTS; i++) {
		struct input_ev frame[] = {{EV_REL, REL_X, 1}, {EV_KEY, BTN_LEFT, i % 2 == 0}, SYN};

		input_send(in, frame, 3);
	}
	take_all();
	for (unsigned i = 0; i < ngot; i++) {
		x += got[i].type == EV_REL ? got[i].value : 0;
	}
	assert_true(in->counters.dropped > 0);
	assert_int_equal(x, INPUT_RING_EVENTS);
	assert_guest_agrees();
}

/* Presses and releases, one key after the other, until there is no room. Return: how many. */
static unsigned type_until_full(unsigned from)
{
	unsigned n = from;

	while (input_has_room(in)) {
		key(KEY_1 + n / 2 % 32, n % 2 == 0);
		n++;
	}
	return n - from;
}

static void test_input_a_source_that_waits_for_room_loses_no_key(void **state)
{
	unsigned n = 0;

	(void)state;
	start_kind(INPUT_KEYBOARD);
	for (int round = 0; round < 3; round++) {
		unsigned told = source.room;

		n += type_until_full(n);
		assert_int_equal(in->counters.frames_in, n);
		/* Not before the guest has taken a good part. */
		give(64);
		take();
		tdrv_serve(&drv);
		assert_int_equal(source.room, told);
		while (source.room == told) {
			give(INPUT_QUEUE_SIZE - (given - returned));
			take();
			tdrv_serve(&drv);
		}
		assert_true(input_has_room(in));
		ngot = 0;
	}
	take_all();
	assert_int_equal(source.room, 3);
	assert_int_equal(in->counters.frames_out, n);
	assert_int_equal(in->counters.events_out, n);
	assert_int_equal(in->counters.dropped + in->counters.resyncs, 0);
	assert_guest_agrees();
}

static void test_input_motion_never_waits_for_room(void **state)
{
	(void)state;
	start_kind(INPUT_MOUSE);
	for (int i = 0; i < 3 * INPUT_RING_EVENTS; i++) {
		assert_true(input_has_room(in));
		move(EV_REL, REL_Y, 1);
	}
	take_all();
	assert_int_equal(source.room, 0);
	assert_int_equal(in->counters.dropped, 0);
	assert_true(in->counters.coalesced > 0);
}

static void test_input_room_is_said_when_nobody_takes_anything_any_more(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	type_until_full(0);
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 0);
	tdrv_serve(&drv);
	assert_int_equal(source.room, 1);
	assert_true(input_has_room(in));

	start_driver();
	type_until_full(0);
	assert_false(input_await(in));
	tdrv_set_avail_idx(&drv, INPUT_STATUSQ, INPUT_QUEUE_SIZE + 1);
	tdrv_kick(&drv, INPUT_STATUSQ);
	assert_true(in->base.failed);
	assert_int_equal(source.room, 2);
	assert_int_equal(source.taken, 1);
	assert_true(input_has_room(in));

	start_driver();
	type_until_full(0);
	assert_false(input_await(in));
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 15 | VIRTIO_STATUS_FAILED);
	tdrv_serve(&drv);
	assert_int_equal(source.room, 3);
	assert_int_equal(source.taken, 2);
}

/* Another source may take the room that one was told of, and what it sends may be what the guest had buffers for. */
static void test_input_room_is_said_on_a_turn_of_its_own(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	type_until_full(0);
	/* Buffers, and no kick. */
	while (source.room == 0) {
		for (unsigned i = given - returned; i < INPUT_QUEUE_SIZE; i++, given++) {
			tdrv_add(&drv, INPUT_EVENTQ, 0, 0, buffers + given % INPUT_QUEUE_SIZE * BUFFER_BYTES, BUFFER_BYTES);
		}
		key(KEY_A, 1);
		tdrv_serve(&drv);
		take();
		ngot = 0;
	}
	assert_true(input_has_room(in));
}

static void test_input_torn_frame_is_ended_before_the_difference(void **state)
{
	unsigned syns = 0;

	(void)state;
	start_kind(INPUT_MULTITOUCH);
	give(2);
	SEND({EV_ABS, ABS_MT_SLOT, 2}, {EV_ABS, ABS_MT_TRACKING_ID, 5}, {EV_ABS, ABS_MT_POSITION_X, 1}, {EV_ABS, ABS_MT_POSITION_Y, 2});
	take();
	assert_int_equal(ngot, 2);
	for (int i = 0; i < INPUT_RING_EVENTS; i++) {
		struct input_ev frame[] = {{EV_ABS, ABS_MT_POSITION_X, i}, {EV_ABS, ABS_MT_POSITION_Y, i}, SYN};

		input_send(in, frame, 3);
	}
	take_all();
	assert_int_equal(got[2].code, ABS_MT_POSITION_X);
	assert_int_equal(got[2].value, 1);
	assert_int_equal(got[3].value, 2);
	assert_int_equal(got[4].type, EV_SYN);
	for (unsigned i = 0; i < ngot; i++) {
		syns += got[i].type == EV_SYN;
	}
	assert_int_equal(syns, in->counters.frames_out);
	assert_int_equal(guest.mt[2][ABS_MT_POSITION_X - ABS_MT_SLOT], INPUT_RING_EVENTS - 1);
	assert_guest_agrees();
}

static void test_input_reset_inside_a_frame_starts_with_what_is_held(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	give(1);
	SEND({EV_KEY, KEY_A, 1}, {EV_KEY, KEY_B, 1});
	take();
	key(KEY_C, 1);
	key(KEY_A, 0);
	start_driver();
	take_all();
	EXPECT({EV_KEY, KEY_C, 1}, {EV_KEY, KEY_B, 1}, SYN);
	assert_guest_agrees();
}

static void test_input_before_the_driver_only_the_state_counts(void **state)
{
	(void)state;
	start_kind(INPUT_TABLET);
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 0);
	SEND({EV_ABS, ABS_X, 7}, {EV_KEY, BTN_LEFT, 1});
	SEND({EV_KEY, BTN_LEFT, 0});
	assert_int_equal(in->counters.dropped, 2);
	assert_true(input_is_drained(in));
	start_driver();
	take_all();
	EXPECT({EV_ABS, ABS_X, 7}, SYN);
}

/* Lesson: fingers that were there before the driver are told in their slots, and what they do next goes there. */
static void test_input_fingers_are_there_when_the_driver_comes(void **state)
{
	(void)state;
	start_kind(INPUT_MULTITOUCH);
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 0);
	SEND({EV_ABS, ABS_MT_SLOT, 3}, {EV_ABS, ABS_MT_TRACKING_ID, 7}, {EV_ABS, ABS_MT_POSITION_X, 50}, {EV_ABS, ABS_MT_SLOT, 1}, {EV_ABS, ABS_MT_TRACKING_ID, 8});
	start_driver();
	take_all();
	SEND({EV_ABS, ABS_MT_POSITION_X, 60});
	take_all();
	EXPECT({EV_ABS, ABS_MT_SLOT, 1}, {EV_ABS, ABS_MT_TRACKING_ID, 8}, {EV_ABS, ABS_MT_SLOT, 3}, {EV_ABS, ABS_MT_TRACKING_ID, 7}, {EV_ABS, ABS_MT_POSITION_X, 50}, {EV_ABS, ABS_MT_SLOT, 1}, SYN,
		{EV_ABS, ABS_MT_POSITION_X, 60}, SYN);
}

static void test_input_release_ends_keys_after_what_waits(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	key(KEY_A, 1);
	key(KEY_B, 1);
	key(KEY_B, 0);
	input_release(in);
	take_all();
	EXPECT({EV_KEY, KEY_A, 1}, SYN, {EV_KEY, KEY_B, 1}, SYN, {EV_KEY, KEY_B, 0}, SYN, {EV_KEY, KEY_A, 0}, SYN);
	input_release(in);
	take_all();
	assert_int_equal(ngot, 0);
}

static void test_input_sync_sends_the_difference(void **state)
{
	struct input_state host;

	(void)state;
	start_kind(INPUT_KEYBOARD);
	key(KEY_A, 1);
	host = in->now;
	input_state_apply(&host, &(struct input_ev){EV_KEY, KEY_A, 0});
	input_state_apply(&host, &(struct input_ev){EV_KEY, KEY_F24, 1});
	input_sync(in, &host);
	take_all();
	EXPECT({EV_KEY, KEY_A, 1}, SYN, {EV_KEY, KEY_A, 0}, {EV_KEY, KEY_F24, 1}, SYN);
	assert_int_equal(in->counters.resyncs, 1);
}

/* Lesson: a guest told EV_REP repeats by itself; forwarded repeats would double every key. */
static void test_input_repeats_are_the_guests_where_it_makes_them(void **state)
{
	struct input_desc desc;

	(void)state;
	start_kind(INPUT_KEYBOARD);
	key(KEY_A, 1);
	key(KEY_A, 2);
	key(KEY_A, 0);
	take_all();
	EXPECT({EV_KEY, KEY_A, 1}, SYN, {EV_KEY, KEY_A, 0}, SYN);
	assert_int_equal(in->counters.refused, 1);

	tdrv_finish(&drv);
	free(in);
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	memset(desc.bits[EV_REP], 0, sizeof(desc.bits[EV_REP]));
	start(&desc);
	key(KEY_A, 1);
	key(KEY_A, 2);
	take_all();
	EXPECT({EV_KEY, KEY_A, 1}, SYN, {EV_KEY, KEY_A, 2}, SYN);
}

static void test_input_what_the_description_lacks_is_left_out(void **state)
{
	(void)state;
	start_kind(INPUT_MOUSE);
	SEND({EV_KEY, KEY_A, 1}, {EV_REL, REL_X, 1}, {EV_LED, LED_CAPSL, 1}, {EV_FF, 0, 1}, {0xffff, 0xffff, 1});
	SEND({EV_KEY, KEY_A, 0});
	take_all();
	EXPECT({EV_REL, REL_X, 1}, SYN);
	assert_int_equal(in->counters.refused, 5);
	assert_int_equal(in->counters.dropped, 0);
}

static void send_status(uint16_t type, uint16_t code, uint32_t value)
{
	struct virtio_input_event wire = {type, code, value};
	uint64_t gpa = tdrv_alloc(&drv, sizeof(wire), 1);
	uint32_t head, len;

	memcpy(tdrv_ptr(&drv, gpa, sizeof(wire)), &wire, sizeof(wire));
	tdrv_add(&drv, INPUT_STATUSQ, gpa, sizeof(wire), 0, 0);
	tdrv_kick(&drv, INPUT_STATUSQ);
	assert_true(tdrv_used(&drv, INPUT_STATUSQ, &head, &len));
	assert_int_equal(len, 0);
}

/* Protocol A: a finger's axes end in a SYN_MT_REPORT, nobody keeps track of them, and each frame says all. Other reports inside a frame are none of a device's. */
static void test_input_fingers_without_slots_pass_whole(void **state)
{
	static const struct input_axis axis = {.max = 4095};
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_MOUSE, 0);
	input_desc_add_abs(&desc, ABS_MT_POSITION_X, &axis);
	input_desc_add_abs(&desc, ABS_MT_POSITION_Y, &axis);
	start(&desc);
	give(64);
	for (int i = 0; i < 2; i++) {
		/* The second time as well, though nothing is another than before. */
		SEND({EV_ABS, ABS_MT_POSITION_X, 10}, {EV_ABS, ABS_MT_POSITION_Y, 20}, {EV_SYN, SYN_MT_REPORT, 0}, {EV_ABS, ABS_MT_POSITION_X, 30}, {EV_SYN, SYN_DROPPED, 0},
			{EV_ABS, ABS_MT_POSITION_Y, 40}, {EV_SYN, SYN_MT_REPORT, 0});
		take();
		EXPECT({EV_ABS, ABS_MT_POSITION_X, 10}, {EV_ABS, ABS_MT_POSITION_Y, 20}, {EV_SYN, SYN_MT_REPORT, 0}, {EV_ABS, ABS_MT_POSITION_X, 30}, {EV_ABS, ABS_MT_POSITION_Y, 40},
			{EV_SYN, SYN_MT_REPORT, 0}, SYN);
		assert_int_equal(in->counters.frames_out, i + 1);
	}
	/* The last finger is gone. */
	SEND({EV_SYN, SYN_MT_REPORT, 0});
	take();
	EXPECT({EV_SYN, SYN_MT_REPORT, 0}, SYN);
	/* Nor do they melt: who waits gets each. */
	give(INPUT_QUEUE_SIZE - (given - returned));
	for (unsigned i = 0; i < INPUT_RING_EVENTS / 4; i++) {
		SEND({EV_ABS, ABS_MT_POSITION_X, 10}, {EV_ABS, ABS_MT_POSITION_Y, 20}, {EV_SYN, SYN_MT_REPORT, 0});
	}
	assert_int_equal(in->counters.coalesced, 0);
	take_all();
	assert_ends_whole();
}

static void test_input_lights_reach_the_source_once(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	send_status(EV_LED, LED_CAPSL, 1);
	send_status(EV_LED, LED_CAPSL, 0xffffffff);
	assert_int_equal(source.lights, 1);
	assert_int_equal(source.last_code, LED_CAPSL);
	assert_true(source.last_on);
	send_status(EV_LED, LED_CAPSL, 0);
	assert_int_equal(source.lights, 2);
	assert_false(source.last_on);
}

/* Lesson: whatever else a guest writes would be typed on the host, or (EV_MSC) come back for ever. */
static void test_input_nothing_but_lights_reaches_the_source(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	send_status(EV_KEY, KEY_A, 1);
	send_status(EV_MSC, MSC_TIMESTAMP, 1);
	send_status(EV_REP, REP_DELAY, 1);
	send_status(EV_LED, LED_MAX, 1);
	send_status(EV_LED, 0xffff, 1);
	send_status(0xffff, 0xffff, 1);
	send_status(EV_SYN, SYN_REPORT, 0);
	assert_int_equal(source.lights, 0);
	take_all();
	assert_int_equal(ngot, 0);
}

/*
 * Echoes: what Linux' driver does with every EV_MSC.
 */

static uint16_t statuses; /* made available, as a driver counts them */

/* A buffer without a kick. Return: whether the driver kicks for it: virtio v1.3, 2.7.10. */
static bool offer_status(uint16_t type, uint16_t code, uint32_t value)
{
	const struct tdrv_queue *q = &drv.q[INPUT_STATUSQ];
	struct virtio_input_event wire = {type, code, value};
	uint64_t gpa = tdrv_alloc(&drv, sizeof(wire), 8);
	uint16_t event;

	memcpy(tdrv_ptr(&drv, gpa, sizeof(wire)), &wire, sizeof(wire));
	tdrv_add(&drv, INPUT_STATUSQ, gpa, sizeof(wire), 0, 0);
	memcpy(&event, tdrv_ptr(&drv, q->used + 4 + 8u * q->size, sizeof(event)), sizeof(event));
	return event == statuses++;
}

static bool echo(void)
{
	return offer_status(EV_MSC, MSC_SCAN, 0x70004);
}

/* Interrupts for what is returned from here on, as Linux' driver asks for them. */
static void listen(unsigned q)
{
	memcpy(tdrv_ptr(&drv, drv.q[q].avail + 4 + 2u * drv.q[q].size, 2), &drv.q[q].used_seen, 2);
}

static void start_with_scan_codes(void)
{
	struct input_desc desc;

	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	input_desc_add(&desc, EV_MSC, MSC_SCAN);
	start(&desc);
	statuses = 0;
}

static void scanned_key(unsigned code, int value)
{
	struct input_ev frame[] = {{EV_MSC, MSC_SCAN, 0x70004}, {EV_KEY, (uint16_t)code, value}, SYN};

	give(INPUT_QUEUE_SIZE - (given - returned));
	input_send(in, frame, 3);
	take();
	listen(INPUT_EVENTQ);
	ngot = 0;
}

/* The first echo, by which the device learns of the others. */
static void learn(void)
{
	scanned_key(KEY_A, 1);
	assert_true(echo());
	tdrv_kick(&drv, INPUT_STATUSQ);
}

static unsigned returned_statuses(void)
{
	uint32_t head, len;
	unsigned n = 0;

	while (tdrv_used(&drv, INPUT_STATUSQ, &head, &len)) {
		assert_int_equal(len, 0);
		n++;
	}
	listen(INPUT_STATUSQ);
	return n;
}

static void test_input_echoes_cost_neither_a_kick_nor_an_interrupt(void **state)
{
	(void)state;
	start_with_scan_codes();
	learn();
	assert_int_equal(returned_statuses(), 1);
	for (int i = 0; i < 100; i++) {
		unsigned irqs = drv.used_irqs;

		scanned_key(KEY_A, i % 2);
		/* With the frame's interrupt the driver gets the last frame's back. */
		assert_int_equal(drv.used_irqs, irqs + 1);
		assert_int_equal(returned_statuses(), i > 0);
		assert_false(echo());
		tdrv_serve(&drv);
		assert_int_equal(returned_statuses(), 0);
	}
}

/* Caps Lock: the echo of the scan code, then the light. */
static void test_input_lights_after_an_echo_are_not_late(void **state)
{
	unsigned irqs;

	(void)state;
	start_with_scan_codes();
	learn();
	for (unsigned i = 1; i <= 10; i++) {
		scanned_key(KEY_CAPSLOCK, 1);
		assert_false(echo());
		assert_true(offer_status(EV_LED, LED_CAPSL, i % 2));
		irqs = drv.used_irqs;
		tdrv_kick(&drv, INPUT_STATUSQ);
		assert_int_equal(source.lights, i);
		assert_int_equal(drv.used_irqs, irqs + 1);
		returned_statuses();
		assert_int_equal(in->look.deadline_ns, 0);
		/* And one that no key has to do with. */
		assert_true(offer_status(EV_LED, LED_NUML, i % 2));
		tdrv_kick(&drv, INPUT_STATUSQ);
		source.lights--;
		returned_statuses();
		scanned_key(KEY_CAPSLOCK, 0);
		assert_false(echo());
	}
}

/* A driver that does not send them back, or not any more: one light is late, by no more than that. */
static void test_input_lights_where_echoes_stay_out(void **state)
{
	uint64_t now = 1000 * CLOCK_NS_PER_S;

	(void)state;
	clock_set_test_ns(now);
	start_with_scan_codes();
	clock_set_test_ns(now += CLOCK_NS_PER_S);
	tdrv_serve(&drv);
	learn();
	scanned_key(KEY_CAPSLOCK, 1);
	assert_false(offer_status(EV_LED, LED_CAPSL, 1));
	clock_set_test_ns(now += INPUT_ECHO_NS - 1);
	tdrv_serve(&drv);
	assert_int_equal(source.lights, 0);
	clock_set_test_ns(now += 1);
	tdrv_serve(&drv);
	assert_int_equal(source.lights, 1);
	scanned_key(KEY_CAPSLOCK, 0);
	assert_int_equal(in->look.deadline_ns, 0);
	assert_true(offer_status(EV_LED, LED_CAPSL, 0));
	tdrv_kick(&drv, INPUT_STATUSQ);
	assert_int_equal(source.lights, 2);
	/* Should they come again, so be it. */
	learn();
	scanned_key(KEY_A, 0);
	assert_false(echo());
}

/* No frame comes by which the driver would hear of them. */
static void test_input_echoes_leave_the_driver_half_its_buffers(void **state)
{
	struct input_ev frame[INPUT_QUEUE_SIZE / 2 + 1];
	unsigned irqs, n = INPUT_QUEUE_SIZE / 2;

	(void)state;
	start_with_scan_codes();
	learn();
	returned_statuses();
	for (unsigned i = 0; i < n; i++) {
		frame[i] = (struct input_ev){EV_MSC, MSC_SCAN, (int)i};
	}
	frame[n] = (struct input_ev)SYN;
	for (unsigned round = 0; round < 3; round++) {
		give(INPUT_QUEUE_SIZE - (given - returned));
		input_send(in, frame, n + 1);
		take();
		listen(INPUT_EVENTQ);
		ngot = 0;
		irqs = drv.used_irqs;
		for (unsigned i = 0; i < n; i++) {
			assert_false(echo());
		}
		tdrv_serve(&drv);
		assert_int_equal(returned_statuses(), 0);
		assert_int_equal(drv.used_irqs, irqs);
		assert_true(offer_status(EV_KEY, KEY_A, 1));
		tdrv_kick(&drv, INPUT_STATUSQ);
		assert_int_equal(returned_statuses(), n + 1);
		assert_int_equal(drv.used_irqs, irqs + 1);
	}
	/* With echoes alone, too: a key's at a time, by kicks, as they are not expected yet. */
	in->is_echoing = false;
	give(INPUT_QUEUE_SIZE - (given - returned));
	input_send(in, frame, n + 1);
	for (unsigned i = 0; i < n; i++) {
		irqs = drv.used_irqs;
		assert_true(echo());
		assert_int_equal(drv.used_irqs, irqs);
		tdrv_kick(&drv, INPUT_STATUSQ);
	}
	assert_int_equal(drv.used_irqs, irqs + 1);
}

static void test_input_echoes_are_forgotten_by_a_reset(void **state)
{
	(void)state;
	start_with_scan_codes();
	learn();
	scanned_key(KEY_A, 0);
	assert_int_not_equal(in->look.deadline_ns, 0);
	start_driver();
	statuses = 0;
	assert_int_equal(in->look.deadline_ns, 0);
	assert_true(echo());
	tdrv_kick(&drv, INPUT_STATUSQ);
	assert_int_equal(returned_statuses(), 1);
	assert_false(in->is_echoing);
}

/* What a driver was not told of before it was reset is not counted against the next one's half. */
static void test_input_untold_echoes_are_forgotten_by_a_reset(void **state)
{
	struct input_ev frame[INPUT_QUEUE_SIZE / 2];
	uint16_t never = INPUT_QUEUE_SIZE;
	unsigned irqs, n = INPUT_QUEUE_SIZE / 2 - 1;

	(void)state;
	start_with_scan_codes();
	for (unsigned i = 0; i < n; i++) {
		frame[i] = (struct input_ev){EV_MSC, MSC_SCAN, (int)i};
	}
	frame[n] = (struct input_ev)SYN;
	for (unsigned round = 0; round < 2; round++) {
		give(INPUT_QUEUE_SIZE - (given - returned));
		/* It polls for events: an interrupt for these would be one for the echoes, too. */
		memcpy(tdrv_ptr(&drv, drv.q[INPUT_EVENTQ].avail + 4 + 2u * drv.q[INPUT_EVENTQ].size, 2), &never, 2);
		irqs = drv.used_irqs;
		input_send(in, frame, n + 1);
		take();
		for (unsigned i = 0; i < n; i++) {
			echo();
		}
		tdrv_kick(&drv, INPUT_STATUSQ);
		assert_int_equal(drv.used_irqs, irqs);
		assert_int_equal(returned_statuses(), n);
		start_driver();
		statuses = 0;
	}
}

/* Without event indexes every buffer kicks. */
static void test_input_echoes_without_event_indexes(void **state)
{
	(void)state;
	start_with_scan_codes();
	tdrv_start_without(&drv, VIRTIO_F_EVENT_IDX);
	buffers = tdrv_alloc(&drv, INPUT_QUEUE_SIZE * BUFFER_BYTES, 8);
	given = returned = 0;
	tdrv_serve(&drv);
	for (unsigned i = 0; i < 10; i++) {
		scanned_key(KEY_A, i % 2);
		echo();
		tdrv_kick(&drv, INPUT_STATUSQ);
		assert_int_equal(returned_statuses(), 1);
		assert_int_equal(in->look.deadline_ns, 0);
	}
}

static void test_input_short_buffers_come_back(void **state)
{
	uint64_t gpa;
	uint32_t head, len;

	(void)state;
	start_kind(INPUT_KEYBOARD);
	gpa = tdrv_alloc(&drv, 16, 1) + 1;
	tdrv_add(&drv, INPUT_STATUSQ, gpa, 7, 0, 0);
	tdrv_add(&drv, INPUT_EVENTQ, 0, 0, gpa, 7);
	tdrv_add(&drv, INPUT_EVENTQ, 0, 0, gpa, 8);
	tdrv_kick(&drv, INPUT_STATUSQ);
	assert_true(tdrv_used(&drv, INPUT_STATUSQ, &head, &len));
	key(KEY_A, 1);
	assert_true(tdrv_used(&drv, INPUT_EVENTQ, &head, &len));
	assert_int_equal(len, 0);
	assert_true(tdrv_used(&drv, INPUT_EVENTQ, &head, &len));
	assert_int_equal(len, 8);
	assert_int_equal(source.lights, 0);
}

static void test_input_floods_are_logged_a_few_times(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	for (unsigned i = 0; i < 10000; i++) {
		uint32_t head, len;

		tdrv_add(&drv, INPUT_STATUSQ, TDRV_RAM_GPA, 3, 0, 0);
		tdrv_kick(&drv, INPUT_STATUSQ);
		assert_true(tdrv_used(&drv, INPUT_STATUSQ, &head, &len));
	}
	assert_in_range(lines_logged, 1, 20);
}

static uint8_t config_byte(unsigned off)
{
	uint8_t value;

	virtio_mmio_read(&drv.mmio, VIRTIO_MMIO_CONFIG + off, &value, 1);
	return value;
}

static void write_config(unsigned off, const void *src, unsigned len)
{
	virtio_mmio_write(&drv.mmio, VIRTIO_MMIO_CONFIG + off, src, len);
}

/* As Linux does it: two writes of a byte, then the size is read. No interrupt comes of it. */
static void test_input_select_answers_at_once_without_an_interrupt(void **state)
{
	static const uint8_t name = VIRTIO_INPUT_CFG_ID_NAME, none = VIRTIO_INPUT_CFG_UNSET, zero = 0;
	unsigned irqs;
	uint32_t generation;

	(void)state;
	start_kind(INPUT_KEYBOARD);
	irqs = drv.config_irqs;
	generation = tdrv_read(&drv, VIRTIO_MMIO_CONFIG_GENERATION);
	write_config(0, &name, 1);
	write_config(1, &zero, 1);
	assert_int_equal(config_byte(2), strlen("tinyvmm keyboard"));
	assert_int_equal(config_byte(8), 't');
	assert_int_not_equal(tdrv_read(&drv, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	write_config(0, &none, 1);
	assert_int_equal(config_byte(2), 0);
	assert_int_equal(config_byte(8), 0);
	assert_int_equal(drv.config_irqs, irqs);
}

static void test_input_select_in_one_write_of_two_bytes(void **state)
{
	static const uint8_t pair[] = {VIRTIO_INPUT_CFG_EV_BITS, EV_KEY};

	(void)state;
	start_kind(INPUT_MOUSE);
	write_config(0, pair, 2);
	assert_int_equal(config_byte(2), BTN_TASK / 8 + 1);
}

static void test_input_only_the_two_selectors_can_be_written(void **state)
{
	static const uint8_t junk[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	(void)state;
	start_kind(INPUT_MOUSE);
	write_config(1, junk, 2);
	write_config(0, junk, 4);
	write_config(2, junk, 1);
	write_config(128, junk, 8);
	for (unsigned i = 0; i < INPUT_CONFIG_LEN; i++) {
		assert_int_equal(config_byte(i), 0);
	}
}

static void test_input_source_hears_that_the_driver_came_and_went(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	assert_int_equal(source.running, 1);
	key(KEY_A, 1);
	assert_false(input_await(in));
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(source.running, 0);
	assert_int_equal(source.taken, 1);
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(source.running, 0);
}

/* Viewers say which devices are driven, and a device of the host's goes back to it: neither must wait for a reset that may never come. */
static void test_input_source_hears_that_the_device_stopped(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	tdrv_set_avail_idx(&drv, INPUT_STATUSQ, INPUT_QUEUE_SIZE + 1);
	tdrv_kick(&drv, INPUT_STATUSQ);
	tdrv_serve(&drv);
	assert_true(in->base.failed);
	assert_int_equal(source.running, 0);
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(source.running, 0);

	start_driver();
	assert_int_equal(source.running, 1);
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 15 | VIRTIO_STATUS_FAILED);
	tdrv_serve(&drv);
	assert_int_equal(source.running, 0);
}

/* It breaks inside of DRIVER_OK, before the source has heard that it came. */
static void test_input_source_hears_of_a_driver_that_comes_broken(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 0);
	key(KEY_A, 1);
	assert_true(tdrv_negotiate(&drv, virtio_device_features(&in->base)));
	tdrv_place_queue(&drv, INPUT_EVENTQ, INPUT_QUEUE_SIZE);
	assert_true(tdrv_enable_queue(&drv, INPUT_EVENTQ));
	tdrv_set_avail_idx(&drv, INPUT_EVENTQ, INPUT_QUEUE_SIZE + 1);
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 15);
	tdrv_serve(&drv);
	assert_true(in->base.failed);
	assert_int_equal(source.running, 0);
}

static void test_input_lights_are_off_after_a_reset(void **state)
{
	(void)state;
	start_kind(INPUT_KEYBOARD);
	send_status(EV_LED, LED_NUML, 1);
	start_driver();
	send_status(EV_LED, LED_NUML, 1);
	assert_int_equal(source.lights, 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_input_events_arrive_in_order_with_one_interrupt),
		T(test_input_frame_waits_for_buffers),
		T(test_input_await_lasts_until_the_driver_has_its_buffers_back_here),
		T(test_input_await_of_more_than_there_are_buffers_for),
		T(test_input_await_of_a_driver_that_was_fast),
		T(test_input_await_tells_who_waited_before),
		T(test_input_await_does_not_last_for_a_driver_that_keeps_its_buffers),
		T(test_input_await_without_event_indexes_is_for_buffers_alone),
		T(test_input_await_ends_with_the_driver),
		T(test_input_every_loss_is_counted_once),
		T(test_input_frame_larger_than_the_queue_comes_in_pieces),
		T(test_input_refill_between_turns_keeps_the_order),
		T(test_input_overflow_melts_motion_and_keeps_every_button),
		T(test_input_melted_absolute_motion_has_the_last_place),
		T(test_input_an_axis_with_fuzz_is_where_it_is_after_an_overflow),
		T(test_input_fingers_melt_between_taps),
		T(test_input_taps_outlast_motion),
		T(test_input_axes_with_fuzz_melt_between_buttons),
		T(test_input_axis_without_detours_gives_way_to_buttons),
		T(test_input_buttons_outlast_relative_motion),
		T(test_input_overflow_across_a_key_up_leaves_no_key_held),
		T(test_input_overflow_keeps_the_way_of_dropped_motion),
		T(test_input_a_source_that_waits_for_room_loses_no_key),
		T(test_input_motion_never_waits_for_room),
		T(test_input_room_is_said_when_nobody_takes_anything_any_more),
		T(test_input_room_is_said_on_a_turn_of_its_own),
		T(test_input_torn_frame_is_ended_before_the_difference),
		T(test_input_reset_inside_a_frame_starts_with_what_is_held),
		T(test_input_before_the_driver_only_the_state_counts),
		T(test_input_fingers_are_there_when_the_driver_comes),
		T(test_input_release_ends_keys_after_what_waits),
		T(test_input_sync_sends_the_difference),
		T(test_input_repeats_are_the_guests_where_it_makes_them),
		T(test_input_what_the_description_lacks_is_left_out),
		T(test_input_fingers_without_slots_pass_whole),
		T(test_input_lights_reach_the_source_once),
		T(test_input_nothing_but_lights_reaches_the_source),
		T(test_input_echoes_cost_neither_a_kick_nor_an_interrupt),
		T(test_input_lights_after_an_echo_are_not_late),
		T(test_input_lights_where_echoes_stay_out),
		T(test_input_echoes_leave_the_driver_half_its_buffers),
		T(test_input_echoes_are_forgotten_by_a_reset),
		T(test_input_untold_echoes_are_forgotten_by_a_reset),
		T(test_input_echoes_without_event_indexes),
		T(test_input_short_buffers_come_back),
		T(test_input_floods_are_logged_a_few_times),
		T(test_input_select_answers_at_once_without_an_interrupt),
		T(test_input_select_in_one_write_of_two_bytes),
		T(test_input_only_the_two_selectors_can_be_written),
		T(test_input_source_hears_that_the_driver_came_and_went),
		T(test_input_source_hears_that_the_device_stopped),
		T(test_input_source_hears_of_a_driver_that_comes_broken),
		T(test_input_lights_are_off_after_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
