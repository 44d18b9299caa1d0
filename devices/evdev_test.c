/* SPDX-License-Identifier: MIT */
/* A host's device in the guest: events from a socket pair, the kernel's answers made up here. */
#include "devices/evdev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <linux/virtio_input.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/testdrv.h"
#include "vmm/clock.h"
#include "vmm/log.h"

#define SYN {EV_SYN, SYN_REPORT, 0}
#define GOT_MAX 4096

static struct tdrv drv;
static struct input *in;
static struct evdev *e;
static struct input_ev got[GOT_MAX];
static unsigned ngot, given, returned;
static uint64_t buffers;
static int device; /* the other end: what the host's device sends */
static unsigned chords, releases, changes;

/* The kernel's side. */
static struct {
	struct input_desc desc;
	struct input_state state;
	bool is_grabbed, is_gone;
	int grab_error, state_error;
	unsigned grabs, states;
	uint8_t lights[(LED_CNT + 7) / 8];
	/* A key that goes down between the look and the grab. */
	unsigned late_key;
} host;

static int fake_describe(int fd, struct input_desc *desc)
{
	(void)fd;
	*desc = host.desc;
	return 0;
}

/* The kernel knows nothing but an error of axes and slots that a device has not. */
static int fake_state(int fd, const struct input_desc *desc, struct input_state *state)
{
	(void)fd;
	host.states++;
	*state = host.state;
	return input_desc_is_part(desc, &host.desc) ? host.state_error : -EINVAL;
}

static int fake_grab(int fd, bool on)
{
	(void)fd;
	if (on && host.grab_error) {
		return host.grab_error;
	}
	host.grabs += on;
	host.is_grabbed = on;
	if (on && host.late_key) {
		host.state.key[host.late_key / 8] |= (uint8_t)(1u << host.late_key % 8);
		host.late_key = 0;
	}
	return 0;
}

static void fake_lights(int fd, uint8_t lights[(LED_CNT + 7) / 8])
{
	(void)fd;
	memcpy(lights, host.lights, sizeof(host.lights));
}

static void fake_light(int fd, unsigned code, bool on)
{
	(void)fd;
	host.lights[code / 8] = (uint8_t)(on ? host.lights[code / 8] | 1u << code % 8 : host.lights[code / 8] & ~(1u << code % 8));
}

static const struct evdev_host_ops fake = {
	.describe = fake_describe, .state = fake_state, .grab = fake_grab, .lights = fake_lights, .light = fake_light};

static void on_chord(void *ctx, bool release)
{
	(void)ctx;
	chords += !release;
	releases += release;
	evdev_want(e, !release && !e->is_wanted);
}

static void on_changed(void *ctx)
{
	(void)ctx;
	changes++;
}

static const struct evdev_ops ops = {.chord = on_chord, .changed = on_changed};

static void on_light(void *ctx, unsigned code, bool on)
{
	(void)ctx;
	evdev_light(e, code, on);
}

static void on_running(void *ctx, bool is_running)
{
	(void)ctx;
	(void)is_running;
	evdev_running(e);
}

static const struct input_source_ops source_ops = {.light = on_light, .running = on_running};

static void start_driver(void)
{
	tdrv_start(&drv);
	buffers = tdrv_alloc(&drv, INPUT_QUEUE_SIZE * 8, 8);
	given = 0;
	returned = 0;
	ngot = 0;
	tdrv_serve(&drv);
}

static int open_pair(void)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	device = fd[1];
	return fd[0];
}

static void make(const struct input_desc *desc, const struct evdev_options *options)
{
	struct evdev_options o = *options;

	tdrv_init(&drv);
	in = calloc(1, sizeof(*in));
	e = calloc(1, sizeof(*e));
	assert_non_null(in);
	assert_non_null(e);
	input_init(in, desc, &drv.loop, &drv.mem);
	input_set_source(in, &source_ops, NULL);
	tdrv_attach(&drv, &in->base);
	o.name = "evdev0";
	o.ops = &ops;
	evdev_init(e, in, &o);
	e->host = &fake;
	host.desc = *desc;
	input_state_init(&host.state, desc);
}

/* A keyboard, grabbed, the driver running. */
static void start(const char *toggle)
{
	struct evdev_options o = {.grab = true};
	struct input_desc desc;
	char err[100];

	assert_int_equal(evdev_chord_parse(&o.toggle, toggle, err, sizeof(err)), 0);
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	make(&desc, &o);
	assert_int_equal(evdev_attach(e, open_pair()), 0);
	start_driver();
}

static void start_kind(enum input_kind kind)
{
	struct evdev_options o = {.grab = true};
	struct input_desc desc;

	input_desc_make(&desc, kind, 0);
	make(&desc, &o);
	assert_int_equal(evdev_attach(e, open_pair()), 0);
	start_driver();
}

static int setup(void **state)
{
	(void)state;
	memset(&host, 0, sizeof(host));
	chords = releases = changes = 0;
	log_set_hook(NULL);
	log_set_level(LOG_ERR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	evdev_finish(e);
	tdrv_finish(&drv);
	input_finish(in);
	free(e);
	free(in);
	if (device >= 0) {
		close(device);
	}
	device = -1;
	return 0;
}

/* Everything the guest is sent, by a driver that always refills. */
static void take_all(void)
{
	unsigned before;

	do {
		uint32_t head, len;

		before = ngot;
		for (; given - returned < INPUT_QUEUE_SIZE; given++) {
			tdrv_add(&drv, INPUT_EVENTQ, 0, 0, buffers + given % INPUT_QUEUE_SIZE * 8, 8);
		}
		tdrv_kick(&drv, INPUT_EVENTQ);
		while (tdrv_used(&drv, INPUT_EVENTQ, &head, &len)) {
			struct virtio_input_event wire;

			memcpy(&wire, tdrv_ptr(&drv, buffers + returned++ % INPUT_QUEUE_SIZE * 8, sizeof(wire)), sizeof(wire));
			assert_true(ngot < GOT_MAX);
			got[ngot++] = (struct input_ev){wire.type, wire.code, (int32_t)wire.value};
		}
	} while (ngot > before);
}

static void expect_events(const struct input_ev *want, unsigned n)
{
	take_all();
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
#define EXPECT_NOTHING() expect_events(NULL, 0)

static int64_t stamp_us; /* the kernel's, of what is sent */

/* The device sends, and its kernel follows. */
static void send_events(const struct input_ev *ev, unsigned n)
{
	struct input_event wire[GOT_MAX] = {0};

	for (unsigned i = 0; i < n; i++) {
		wire[i].type = ev[i].type;
		wire[i].code = ev[i].code;
		wire[i].value = ev[i].value;
		wire[i].time.tv_sec = (time_t)(stamp_us / 1000000);
		wire[i].time.tv_usec = (suseconds_t)(stamp_us % 1000000);
		input_state_apply(&host.state, &ev[i]);
	}
	assert_int_equal(write(device, wire, n * sizeof(wire[0])), n * sizeof(wire[0]));
	tdrv_serve(&drv);
}

#define SEND(...) \
	do { \
		static const struct input_ev ev[] = {__VA_ARGS__}; \
		send_events(ev, sizeof(ev) / sizeof(ev[0])); \
	} while (0)

/* What was found again after a loss is as the device's frame has ended. */
static void wait_settled(void)
{
	for (uint64_t end = clock_now_ns() + EVDEV_SETTLE_NS + 1000000; clock_now_ns() < end;) {
		loop_run_once(&drv.loop, 5);
	}
}

static void key(unsigned code, int value)
{
	const struct input_ev ev[] = {{EV_KEY, (uint16_t)code, value}, SYN};

	send_events(ev, 2);
}

static void test_evdev_frames_reach_the_guest_as_they_are(void **state)
{
	(void)state;
	start("");
	assert_true(host.is_grabbed);
	assert_string_equal(evdev_state_name(e), "forwarding");
	SEND({EV_KEY, KEY_A, 1}, {EV_KEY, KEY_B, 1}, SYN, {EV_KEY, KEY_A, 0}, SYN, {EV_KEY, KEY_B, 0}, SYN);
	EXPECT({EV_KEY, KEY_A, 1}, {EV_KEY, KEY_B, 1}, SYN, {EV_KEY, KEY_A, 0}, SYN, {EV_KEY, KEY_B, 0}, SYN);
}

static void test_evdev_delay_is_counted_from_the_kernels_stamp(void **state)
{
	const struct input_counters *c;
	int64_t now_us;

	(void)state;
	start("");
	c = &in->counters;
	now_us = (int64_t)(clock_now_ns() / 1000);
	stamp_us = now_us - 20000000;
	SEND({EV_KEY, KEY_A, 1}, SYN);
	stamp_us = now_us - 10000000;
	SEND({EV_KEY, KEY_A, 0}, SYN);
	assert_in_range(c->late_max_us, 20000000, 25000000);
	assert_in_range(c->late_us, c->late_max_us + 10000000, c->late_max_us + 15000000);
	now_us = (int64_t)c->late_us;
	/* The wall clock, as a descriptor has it that nobody asked for another; and none at all. */
	stamp_us = 1700000000000000;
	SEND({EV_KEY, KEY_A, 1}, SYN);
	stamp_us = (int64_t)(clock_now_ns() / 1000) - 3600000000;
	SEND({EV_KEY, KEY_A, 0}, SYN);
	assert_int_equal(c->late_us, now_us);
	assert_int_equal(c->frames_in, 4);
	stamp_us = 0;
}

static void test_evdev_a_frame_may_come_in_pieces(void **state)
{
	(void)state;
	start("");
	SEND({EV_KEY, KEY_A, 1});
	EXPECT_NOTHING();
	SEND(SYN);
	EXPECT({EV_KEY, KEY_A, 1}, SYN);
}

static void test_evdev_a_guest_without_a_driver_leaves_the_device_to_the_host(void **state)
{
	(void)state;
	start("");
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 0);
	assert_false(host.is_grabbed);
	assert_string_equal(evdev_state_name(e), "watching");
	key(KEY_A, 1);
	start_driver();
	/* A is the host's until it is up. */
	assert_false(host.is_grabbed);
	key(KEY_A, 0);
	assert_true(host.is_grabbed);
	EXPECT_NOTHING();
}

static void test_evdev_a_broken_driver_gets_no_second_key(void **state)
{
	(void)state;
	start("");
	virtio_device_fail(&in->base, "test");
	tdrv_serve(&drv);
	assert_false(host.is_grabbed);
	key(KEY_A, 1);
	assert_false(host.is_grabbed);
}

static void test_evdev_the_grab_waits_until_no_key_is_held(void **state)
{
	struct evdev_options o = {.grab = true};
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	make(&desc, &o);
	host.state.key[KEY_ENTER / 8] |= 1u << KEY_ENTER % 8;
	assert_int_equal(evdev_attach(e, open_pair()), 0);
	start_driver();
	assert_int_equal(host.grabs, 0);
	assert_string_equal(evdev_state_name(e), "waiting");
	key(KEY_X, 1);
	key(KEY_ENTER, 0);
	assert_int_equal(host.grabs, 0);
	key(KEY_X, 0);
	assert_true(host.is_grabbed);
	EXPECT_NOTHING();
}

static void test_evdev_a_key_that_went_down_before_the_grab_is_the_hosts(void **state)
{
	struct evdev_options o = {.grab = true};
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	make(&desc, &o);
	host.late_key = KEY_Q;
	assert_int_equal(evdev_attach(e, open_pair()), 0);
	start_driver();
	assert_int_equal(host.grabs, 1);
	assert_false(host.is_grabbed);
	key(KEY_Q, 0);
	assert_true(host.is_grabbed);
	EXPECT_NOTHING();
}

static void test_evdev_a_device_grabbed_by_others_is_tried_again(void **state)
{
	struct evdev_options o = {.grab = true};
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_MOUSE, 0);
	make(&desc, &o);
	host.grab_error = -EBUSY;
	assert_int_equal(evdev_attach(e, open_pair()), 0);
	start_driver();
	assert_string_equal(evdev_state_name(e), "waiting");
	SEND({EV_REL, REL_X, 1}, SYN);
	EXPECT_NOTHING();
	host.grab_error = 0;
	SEND({EV_REL, REL_X, 2}, SYN);
	assert_true(host.is_grabbed);
	SEND({EV_REL, REL_X, 3}, SYN);
	EXPECT({EV_REL, REL_X, 3}, SYN);
}

static void test_evdev_without_a_grab_both_get_the_events(void **state)
{
	struct evdev_options o = {.grab = false};
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	make(&desc, &o);
	host.state.key[KEY_C / 8] |= 1u << KEY_C % 8;
	assert_int_equal(evdev_attach(e, open_pair()), 0);
	start_driver();
	assert_int_equal(host.grabs, 0);
	key(KEY_A, 1);
	EXPECT({EV_KEY, KEY_C, 1}, SYN, {EV_KEY, KEY_A, 1}, SYN);
}

static void test_evdev_state_at_activation_reaches_the_guest(void **state)
{
	struct evdev_options o = {.grab = true};
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_MULTITOUCH, 0);
	make(&desc, &o);
	/* Lesson 9: a guest that thinks of slot 0 would put the next position there. */
	host.state.slot = 3;
	host.state.mt[1][ABS_MT_TRACKING_ID - ABS_MT_SLOT] = 77;
	host.state.mt[1][ABS_MT_POSITION_X - ABS_MT_SLOT] = 5;
	host.state.abs[ABS_X] = 9;
	assert_int_equal(evdev_attach(e, open_pair()), 0);
	start_driver();
	EXPECT({EV_ABS, ABS_X, 9}, {EV_ABS, ABS_MT_SLOT, 1}, {EV_ABS, ABS_MT_TRACKING_ID, 77}, {EV_ABS, ABS_MT_POSITION_X, 5}, {EV_ABS, ABS_MT_SLOT, 3}, SYN);
}

static void test_evdev_dropped_events_are_found_again(void **state)
{
	(void)state;
	start("");
	key(KEY_A, 1);
	EXPECT({EV_KEY, KEY_A, 1}, SYN);
	/* What was lost: A up, B down. What comes after SYN_DROPPED, up to the report, is half of something. */
	input_state_apply(&host.state, &(struct input_ev){EV_KEY, KEY_A, 0});
	input_state_apply(&host.state, &(struct input_ev){EV_KEY, KEY_B, 1});
	SEND({EV_SYN, SYN_DROPPED, 0}, {EV_KEY, KEY_C, 1});
	EXPECT_NOTHING();
	SEND({EV_KEY, KEY_C, 0}, SYN);
	wait_settled();
	EXPECT({EV_KEY, KEY_A, 0}, {EV_KEY, KEY_B, 1}, SYN);
	assert_int_equal(in->counters.resyncs, 2);
	key(KEY_B, 0);
	EXPECT({EV_KEY, KEY_B, 0}, SYN);
}

static void test_evdev_what_came_before_a_look_does_not_count(void **state)
{
	static const struct input_ev lost[] = {{EV_SYN, SYN_DROPPED, 0}, SYN, {EV_KEY, KEY_A, 1}, SYN, {EV_KEY, KEY_A, 0}, SYN, {EV_KEY, KEY_B, 1}, SYN};

	(void)state;
	start("");
	/* All in one read: A came and went before the kernel was asked, and B is known from the answer. */
	send_events(lost, sizeof(lost) / sizeof(lost[0]));
	wait_settled();
	EXPECT({EV_KEY, KEY_B, 1}, SYN);
}

/* More than one read takes: what waits in the descriptor when the kernel is asked is older than its answer. */
static void test_evdev_what_waits_before_a_look_does_not_count(void **state)
{
	struct input_ev lost[2 + 4 * 100 + 2] = {{EV_SYN, SYN_DROPPED, 0}, SYN};
	unsigned n = 2;

	(void)state;
	start("");
	for (; n < 2 + 4 * 100; n += 4) {
		lost[n] = (struct input_ev){EV_KEY, KEY_A, 1};
		lost[n + 1] = lost[n + 3] = (struct input_ev)SYN;
		lost[n + 2] = (struct input_ev){EV_KEY, KEY_A, 0};
	}
	lost[n] = (struct input_ev){EV_KEY, KEY_B, 1};
	lost[n + 1] = (struct input_ev)SYN;
	send_events(lost, n + 2);
	wait_settled();
	EXPECT({EV_KEY, KEY_B, 1}, SYN);
	assert_int_equal(in->counters.frames_in, 0);
	key(KEY_B, 0);
	EXPECT({EV_KEY, KEY_B, 0}, SYN);
}

static void test_evdev_a_state_from_the_middle_of_a_frame_waits_for_its_end(void **state)
{
	(void)state;
	start_kind(INPUT_MOUSE);
	/* The kernel is asked when of two buttons that go down together the first one has. */
	input_state_apply(&host.state, &(struct input_ev){EV_KEY, BTN_LEFT, 1});
	SEND({EV_SYN, SYN_DROPPED, 0}, SYN);
	EXPECT_NOTHING();
	SEND({EV_KEY, BTN_RIGHT, 1}, {EV_REL, REL_X, 5}, SYN);
	EXPECT({EV_KEY, BTN_LEFT, 1}, {EV_KEY, BTN_RIGHT, 1}, SYN, {EV_REL, REL_X, 5}, SYN);
	/* Only once. */
	wait_settled();
	EXPECT_NOTHING();
	SEND({EV_KEY, BTN_RIGHT, 0}, SYN);
	EXPECT({EV_KEY, BTN_RIGHT, 0}, SYN);
}

static void test_evdev_a_state_is_not_sent_after_the_device(void **state)
{
	(void)state;
	start("");
	input_state_apply(&host.state, &(struct input_ev){EV_KEY, KEY_A, 1});
	SEND({EV_SYN, SYN_DROPPED, 0}, SYN);
	evdev_want(e, false);
	wait_settled();
	EXPECT_NOTHING();
}

static void test_evdev_a_frame_without_end_is_lost(void **state)
{
	struct input_ev frame[INPUT_FRAME_MAX + 2];

	(void)state;
	start_kind(INPUT_MOUSE);
	for (unsigned i = 0; i < INPUT_FRAME_MAX + 1; i++) {
		frame[i] = (struct input_ev){EV_REL, REL_X, 1};
	}
	frame[INPUT_FRAME_MAX + 1] = (struct input_ev)SYN;
	send_events(frame, INPUT_FRAME_MAX + 2);
	EXPECT_NOTHING();
	SEND({EV_REL, REL_X, 4}, SYN);
	EXPECT({EV_REL, REL_X, 4}, SYN);
}

static void test_evdev_unplug_releases_and_replug_attaches(void **state)
{
	(void)state;
	start("");
	key(KEY_A, 1);
	EXPECT({EV_KEY, KEY_A, 1}, SYN);
	close(device);
	tdrv_serve(&drv);
	assert_true(evdev_is_absent(e));
	assert_string_equal(evdev_state_name(e), "absent");
	EXPECT({EV_KEY, KEY_A, 0}, SYN);
	input_state_init(&host.state, &host.desc);
	assert_int_equal(evdev_attach(e, open_pair()), 0);
	assert_true(host.is_grabbed);
	key(KEY_B, 1);
	EXPECT({EV_KEY, KEY_B, 1}, SYN);
}

/* A kernel's device that is gone hangs up, and has nothing to be read: as a pipe does. */
static void test_evdev_a_hangup_alone_is_the_end(void **state)
{
	const struct input_event press[] = {{.type = EV_KEY, .code = KEY_A, .value = 1}, {.type = EV_SYN, .code = SYN_REPORT}};
	int fd[2];

	(void)state;
	start("");
	close(device);
	tdrv_serve(&drv);
	assert_int_equal(pipe2(fd, O_NONBLOCK | O_CLOEXEC), 0);
	device = fd[1];
	assert_int_equal(evdev_attach(e, fd[0]), 0);
	assert_int_equal(write(device, press, sizeof(press)), sizeof(press));
	tdrv_serve(&drv);
	EXPECT({EV_KEY, KEY_A, 1}, SYN);
	close(device);
	device = -1;
	loop_run_once(&drv.loop, 0);
	assert_true(evdev_is_absent(e));
	EXPECT({EV_KEY, KEY_A, 0}, SYN);
}

/* Others of the loop have their turn between. */
static void test_evdev_a_device_that_is_faster_takes_no_more_than_its_turn(void **state)
{
	struct input_event wire[2 * 1000] = {0};

	(void)state;
	start("");
	for (unsigned i = 0; i < 2000; i += 2) {
		wire[i].type = EV_KEY;
		wire[i].code = KEY_A;
		wire[i].value = i / 2 % 2 == 0;
	}
	assert_int_equal(write(device, wire, sizeof(wire)), sizeof(wire));
	for (unsigned turn = 1; turn < 4; turn++) {
		loop_run_once(&drv.loop, 0);
		assert_in_range(in->counters.frames_in, (turn - 1) * 300 + 1, turn * 300);
	}
	tdrv_serve(&drv);
	assert_int_equal(in->counters.frames_in, 1000);
}

static void test_evdev_another_device_must_not_do_more(void **state)
{
	int fd;

	(void)state;
	start("");
	close(device);
	tdrv_serve(&drv);
	input_desc_make(&host.desc, INPUT_MOUSE, 0);
	log_set_hook(NULL);
	fd = open_pair();
	assert_int_equal(evdev_attach(e, fd), -ENODEV);
	assert_true(evdev_is_absent(e));
	close(device);
	/* Fewer keys are no harm. */
	memset(&host.desc, 0, sizeof(host.desc));
	input_desc_add(&host.desc, EV_KEY, KEY_A);
	assert_int_equal(evdev_attach(e, open_pair()), 0);
}

static void unplug(void)
{
	close(device);
	tdrv_serve(&drv);
	assert_true(evdev_is_absent(e));
}

static void replug(const struct input_desc *desc)
{
	host.desc = *desc;
	input_state_init(&host.state, desc);
	assert_int_equal(evdev_attach(e, open_pair()), 0);
	assert_string_equal(evdev_state_name(e), "forwarding");
}

static void test_evdev_a_device_with_fewer_axes_or_slots_takes_its_place(void **state)
{
	struct input_desc all, fewer = {0};

	(void)state;
	start_kind(INPUT_MULTITOUCH);
	all = host.desc;
	SEND({EV_ABS, ABS_X, 9}, {EV_ABS, ABS_MT_SLOT, 6}, {EV_ABS, ABS_MT_TRACKING_ID, 1}, {EV_ABS, ABS_MT_POSITION_X, 9}, SYN);
	take_all();
	ngot = 0;
	unplug();
	EXPECT({EV_ABS, ABS_MT_SLOT, 6}, {EV_ABS, ABS_MT_TRACKING_ID, -1}, {EV_ABS, ABS_MT_SLOT, 6}, SYN);
	/* No axis at all: they stay where they were. */
	input_desc_add(&fewer, EV_KEY, BTN_TOUCH);
	replug(&fewer);
	EXPECT_NOTHING();
	key(BTN_TOUCH, 1);
	EXPECT({EV_KEY, BTN_TOUCH, 1}, SYN);
	unplug();
	EXPECT({EV_KEY, BTN_TOUCH, 0}, {EV_ABS, ABS_MT_SLOT, 6}, SYN);
	/* Four slots of ten, and no ABS_X. */
	fewer = all;
	fewer.bits[EV_ABS][0] = 0;
	fewer.abs[ABS_MT_SLOT].max = 3;
	replug(&fewer);
	EXPECT({EV_ABS, ABS_MT_SLOT, 0}, SYN);
	SEND({EV_ABS, ABS_MT_SLOT, 3}, {EV_ABS, ABS_MT_TRACKING_ID, 2}, SYN);
	EXPECT({EV_ABS, ABS_MT_SLOT, 3}, {EV_ABS, ABS_MT_TRACKING_ID, 2}, SYN);
	/* Nor is a finger in the guest that the device has no slot for when it is found again. */
	SEND({EV_SYN, SYN_DROPPED, 0}, SYN);
	wait_settled();
	EXPECT_NOTHING();
	unplug();
	EXPECT({EV_ABS, ABS_MT_SLOT, 3}, {EV_ABS, ABS_MT_TRACKING_ID, -1}, {EV_ABS, ABS_MT_SLOT, 3}, SYN);
	/* The first one again: its axes count. */
	replug(&all);
	EXPECT({EV_ABS, ABS_X, 0}, {EV_ABS, ABS_MT_SLOT, 6}, {EV_ABS, ABS_MT_POSITION_X, 0}, {EV_ABS, ABS_MT_SLOT, 0}, SYN);
}

static void test_evdev_chord_gives_back_and_takes(void **state)
{
	(void)state;
	start("ctrl+ctrl");
	key(KEY_LEFTCTRL, 1);
	EXPECT({EV_KEY, KEY_LEFTCTRL, 1}, SYN);
	key(KEY_RIGHTCTRL, 1);
	assert_int_equal(chords, 1);
	assert_false(host.is_grabbed);
	/* Nothing stays down in the guest, and the chord's last key never was. */
	EXPECT({EV_KEY, KEY_LEFTCTRL, 0}, SYN);
	key(KEY_RIGHTCTRL, 2);
	assert_int_equal(chords, 1);
	key(KEY_RIGHTCTRL, 0);
	key(KEY_LEFTCTRL, 0);
	key(KEY_A, 1);
	key(KEY_A, 0);
	EXPECT_NOTHING();
	key(KEY_RIGHTCTRL, 1);
	key(KEY_LEFTCTRL, 1);
	assert_int_equal(chords, 2);
	assert_false(host.is_grabbed);
	key(KEY_LEFTCTRL, 0);
	assert_false(host.is_grabbed);
	key(KEY_RIGHTCTRL, 0);
	assert_true(host.is_grabbed);
	EXPECT_NOTHING();
	key(KEY_A, 1);
	EXPECT({EV_KEY, KEY_A, 1}, SYN);
}

static void test_evdev_the_last_chord_always_gives_back(void **state)
{
	(void)state;
	start("");
	SEND({EV_KEY, KEY_RIGHTALT, 1}, SYN, {EV_KEY, KEY_LEFTCTRL, 1}, SYN, {EV_KEY, KEY_LEFTSHIFT, 1}, SYN, {EV_KEY, KEY_ESC, 1}, SYN);
	assert_int_equal(releases, 1);
	assert_false(host.is_grabbed);
	take_all();
	for (unsigned i = 0; i < KEY_CNT; i++) {
		assert_false(input_state_has_key(&in->ring.sent, i));
	}
	/* Once more does not take it. */
	key(KEY_ESC, 0);
	key(KEY_ESC, 1);
	SEND({EV_KEY, KEY_RIGHTALT, 0}, {EV_KEY, KEY_LEFTCTRL, 0}, {EV_KEY, KEY_LEFTSHIFT, 0}, {EV_KEY, KEY_ESC, 0}, SYN);
	assert_int_equal(releases, 2);
	assert_false(host.is_grabbed);
}

static void test_evdev_a_chord_in_a_loss_gives_back(void **state)
{
	static const uint16_t keys[] = {KEY_RIGHTALT, KEY_LEFTCTRL, KEY_LEFTSHIFT, KEY_ESC};

	(void)state;
	start("");
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		input_state_apply(&host.state, &(struct input_ev){EV_KEY, keys[i], 1});
	}
	SEND({EV_SYN, SYN_DROPPED, 0}, SYN);
	assert_int_equal(releases, 1);
	assert_false(host.is_grabbed);
	wait_settled();
	take_all();
	for (unsigned i = 0; i < KEY_CNT; i++) {
		assert_false(input_state_has_key(&in->ring.sent, i));
	}
}

static void test_evdev_reserved_keys_do_not_reach_the_guest(void **state)
{
	struct evdev_options o = {.grab = false};
	struct input_desc desc;

	(void)state;
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	input_desc_add(&desc, EV_MSC, MSC_SCAN);
	o.reserve[KEY_VOLUMEUP / 8] |= 1u << KEY_VOLUMEUP % 8;
	make(&desc, &o);
	assert_int_equal(evdev_attach(e, open_pair()), 0);
	start_driver();
	SEND({EV_MSC, MSC_SCAN, 7}, {EV_KEY, KEY_VOLUMEUP, 1}, SYN);
	EXPECT_NOTHING();
	SEND({EV_MSC, MSC_SCAN, 7}, {EV_KEY, KEY_VOLUMEUP, 0}, {EV_MSC, MSC_SCAN, 8}, {EV_KEY, KEY_A, 1}, SYN);
	EXPECT({EV_MSC, MSC_SCAN, 8}, {EV_KEY, KEY_A, 1}, SYN);
	/* Nor after a look at the state. */
	host.state.key[KEY_VOLUMEUP / 8] |= 1u << KEY_VOLUMEUP % 8;
	SEND({EV_SYN, SYN_DROPPED, 0}, SYN);
	EXPECT_NOTHING();
}

static void test_evdev_lights_go_with_the_device(void **state)
{
	(void)state;
	start("");
	host.lights[0] = 1u << LED_NUML;
	evdev_want(e, false);
	host.lights[0] = 1u << LED_NUML;
	evdev_light(e, LED_CAPSL, true);
	/* The host has it now, lights and all. */
	assert_int_equal(host.lights[0], 1u << LED_NUML);
	evdev_want(e, true);
	assert_int_equal(host.lights[0], 1u << LED_CAPSL);
	evdev_light(e, LED_SCROLLL, true);
	assert_int_equal(host.lights[0], 1u << LED_CAPSL | 1u << LED_SCROLLL);
	evdev_want(e, false);
	assert_int_equal(host.lights[0], 1u << LED_NUML);
}

static void test_evdev_repeats_are_the_guests(void **state)
{
	(void)state;
	start("");
	key(KEY_A, 1);
	key(KEY_A, 2);
	key(KEY_A, 2);
	key(KEY_A, 0);
	EXPECT({EV_KEY, KEY_A, 1}, SYN, {EV_KEY, KEY_A, 0}, SYN);
}

static void test_evdev_a_repeat_inside_a_frame_does_not_end_it(void **state)
{
	(void)state;
	start("");
	key(KEY_A, 1);
	EXPECT({EV_KEY, KEY_A, 1}, SYN);
	SEND({EV_KEY, KEY_B, 1}, {EV_KEY, KEY_A, 2}, {EV_SYN, SYN_REPORT, 1}, {EV_KEY, KEY_C, 1}, SYN);
	EXPECT({EV_KEY, KEY_B, 1}, {EV_KEY, KEY_C, 1}, SYN);
	/* More of them than a frame has room for. */
	for (unsigned i = 0; i < INPUT_FRAME_MAX; i++) {
		SEND({EV_KEY, KEY_A, 2}, {EV_SYN, SYN_REPORT, 1});
	}
	EXPECT_NOTHING();
	/* The kernel's end of a frame that was too long for it is one. */
	SEND({EV_KEY, KEY_A, 0}, {EV_SYN, SYN_REPORT, 1});
	EXPECT({EV_KEY, KEY_A, 0}, {EV_SYN, SYN_REPORT, 1});
}

static void test_evdev_the_end_gives_the_device_back(void **state)
{
	(void)state;
	start("");
	assert_true(host.is_grabbed);
	evdev_finish(e);
	assert_false(host.is_grabbed);
	evdev_finish(e);
}

static void test_evdev_chord_parse(void **state)
{
	static const char *const bad[] = {"ctrl+", "+", "ctrl++a", "nokey", "ctrl+ctrl+ctrl", "f12+f12", "a+b+c+d+e+f+g", "ctrl a"};
	struct evdev_chord chord;
	struct input_state keys;
	struct input_desc desc;
	char err[160];

	(void)state;
	start("");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(evdev_chord_parse(&chord, bad[i], err, sizeof(err)), -EINVAL);
		assert_true(err[0]);
	}
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	input_state_init(&keys, &desc);
	assert_int_equal(evdev_chord_parse(&chord, "", err, sizeof(err)), 0);
	assert_false(evdev_chord_is_held(&chord, &keys));
	assert_int_equal(evdev_chord_parse(&chord, "Shift+KEY_F12", err, sizeof(err)), 0);
	input_state_apply(&keys, &(struct input_ev){EV_KEY, KEY_RIGHTSHIFT, 1});
	assert_false(evdev_chord_is_held(&chord, &keys));
	input_state_apply(&keys, &(struct input_ev){EV_KEY, KEY_F12, 1});
	assert_true(evdev_chord_is_held(&chord, &keys));
	assert_int_equal(evdev_chord_parse(&chord, "shift+shift", err, sizeof(err)), 0);
	assert_false(evdev_chord_is_held(&chord, &keys));
	input_state_apply(&keys, &(struct input_ev){EV_KEY, KEY_LEFTSHIFT, 1});
	assert_true(evdev_chord_is_held(&chord, &keys));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_evdev_frames_reach_the_guest_as_they_are),
		T(test_evdev_delay_is_counted_from_the_kernels_stamp),
		T(test_evdev_a_frame_may_come_in_pieces),
		T(test_evdev_a_guest_without_a_driver_leaves_the_device_to_the_host),
		T(test_evdev_a_broken_driver_gets_no_second_key),
		T(test_evdev_the_grab_waits_until_no_key_is_held),
		T(test_evdev_a_key_that_went_down_before_the_grab_is_the_hosts),
		T(test_evdev_a_device_grabbed_by_others_is_tried_again),
		T(test_evdev_without_a_grab_both_get_the_events),
		T(test_evdev_state_at_activation_reaches_the_guest),
		T(test_evdev_dropped_events_are_found_again),
		T(test_evdev_what_came_before_a_look_does_not_count),
		T(test_evdev_what_waits_before_a_look_does_not_count),
		T(test_evdev_a_state_from_the_middle_of_a_frame_waits_for_its_end),
		T(test_evdev_a_state_is_not_sent_after_the_device),
		T(test_evdev_a_frame_without_end_is_lost),
		T(test_evdev_unplug_releases_and_replug_attaches),
		T(test_evdev_a_hangup_alone_is_the_end),
		T(test_evdev_a_device_that_is_faster_takes_no_more_than_its_turn),
		T(test_evdev_another_device_must_not_do_more),
		T(test_evdev_a_device_with_fewer_axes_or_slots_takes_its_place),
		T(test_evdev_chord_gives_back_and_takes),
		T(test_evdev_the_last_chord_always_gives_back),
		T(test_evdev_a_chord_in_a_loss_gives_back),
		T(test_evdev_reserved_keys_do_not_reach_the_guest),
		T(test_evdev_lights_go_with_the_device),
		T(test_evdev_repeats_are_the_guests),
		T(test_evdev_a_repeat_inside_a_frame_does_not_end_it),
		T(test_evdev_the_end_gives_the_device_back),
		T(test_evdev_chord_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
