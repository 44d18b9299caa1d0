/* SPDX-License-Identifier: MIT */
/* Hostile drivers of virtio-input: rows that only this device has, and the common table against both queues. Over real rings and registers. */
#include "devices/input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <linux/virtio_input.h>
#include <cmocka.h>

#include "tests/support/hostile.h"
#include "vmm/log.h"

static struct input in;
static unsigned lights, lines_logged;
static void (*while_served)(bool on); /* what a row's driver does when a light changes */

static void on_light(void *ctx, unsigned code, bool on)
{
	(void)ctx;
	(void)code;
	lights++;
	if (while_served) {
		while_served(on);
	}
}

static const struct input_source_ops source = {.light = on_light};

static struct virtio_device *create(struct tdrv *d)
{
	struct input_desc desc;

	memset(&in, 0, sizeof(in));
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	input_init(&in, &desc, &d->loop, &d->mem);
	input_set_source(&in, &source, NULL);
	return &in.base;
}

static void destroy(void)
{
	input_finish(&in);
}

static void press(unsigned code, int value)
{
	struct input_ev frame[] = {{EV_KEY, (uint16_t)code, value}, {EV_SYN, SYN_REPORT, 0}};

	input_send(&in, frame, 2);
}

/* Whatever is left of the row's events comes first; the key must come too. */
static void types(struct tdrv *d)
{
	uint64_t buf = tdrv_alloc(d, 64 * 8, 8);
	uint32_t head, len;
	bool found = false;

	press(KEY_F24, 0);
	for (unsigned i = 0; i < 32; i++) {
		tdrv_add(d, INPUT_EVENTQ, 0, 0, buf + 8 * i, 8);
	}
	tdrv_kick(d, INPUT_EVENTQ);
	press(KEY_F24, 1);
	tdrv_serve(d);
	for (unsigned i = 0; tdrv_used(d, INPUT_EVENTQ, &head, &len); i++) {
		struct virtio_input_event wire;

		assert_int_equal(len, sizeof(wire));
		memcpy(&wire, tdrv_ptr(d, buf + 8 * i, sizeof(wire)), sizeof(wire));
		found |= wire.type == EV_KEY && wire.code == KEY_F24 && wire.value == 1;
	}
	assert_true(found);
}

static void lights_up(struct tdrv *d)
{
	struct virtio_input_event wire = {EV_LED, LED_CAPSL, 1};
	uint64_t buf = tdrv_alloc(d, sizeof(wire), 8);
	uint16_t want = tdrv_add(d, INPUT_STATUSQ, buf, sizeof(wire), 0, 0);
	uint32_t head, len;
	unsigned before = lights;

	memcpy(tdrv_ptr(d, buf, sizeof(wire)), &wire, sizeof(wire));
	tdrv_kick(d, INPUT_STATUSQ);
	assert_true(tdrv_used(d, INPUT_STATUSQ, &head, &len));
	assert_int_equal(head, want);
	assert_int_equal(len, 0);
	assert_int_equal(lights, before + 1);
}

static void works(struct tdrv *d)
{
	types(d);
	lights_up(d);
}

/* Buffers for events are looked at when there are some. */
static void type(struct tdrv *d)
{
	for (int i = 0; i < 300; i++) {
		press(KEY_A, i % 2 == 0);
		tdrv_serve(d);
	}
}

/*
 * Rows of its own. After each the device still runs, and after a reset it works.
 */

static struct tdrv drv;

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
	lines_logged++;
}

static int setup(void **state)
{
	(void)state;
	log_set_hook(on_log);
	lines_logged = 0;
	lights = 0;
	tdrv_init(&drv);
	tdrv_attach(&drv, create(&drv));
	tdrv_start(&drv);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	while_served = NULL;
	assert_true(virtio_device_is_running(&in.base));
	input_release(&in);
	tdrv_start(&drv);
	works(&drv);
	tdrv_finish(&drv);
	destroy();
	log_set_hook(NULL);
	return 0;
}

/* The kick alone, without the turns on the loop that follow. */
static void notify(unsigned q)
{
	tdrv_write(&drv, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

static uint16_t used(unsigned q)
{
	return *(uint16_t *)tdrv_ptr(&drv, drv.q[q].used + 2, 2);
}

static void expect_log_is_limited(void)
{
	assert_in_range(lines_logged, 1, 4 * LOG_GUEST_LINES_PER_SECOND);
}

/* Turn after turn on the loop, none longer than its budget, until @total buffers have come back from queue @q. */
static void expect_turns(unsigned q, unsigned total)
{
	notify(q);
	for (unsigned done = INPUT_TURN_BUFFERS; done < total; done += INPUT_TURN_BUFFERS) {
		assert_int_equal(used(q), done);
		loop_run_once(&drv.loop, 100);
	}
	assert_int_equal(used(q), total);
	tdrv_serve(&drv);
	assert_int_equal(used(q), total);
}

static struct virtio_input_event *flood_event;
static uint16_t flood_head;
static unsigned flood_left;

/* The buffer is in the ring again before the device looks for the next one. */
static void offer_again(bool on)
{
	if (flood_left > 0) {
		flood_left--;
		flood_event->value = !on;
		tdrv_offer(&drv, INPUT_STATUSQ, flood_head);
	}
}

/* @n changes of a light, in one buffer; the driver has yet to kick. */
static void prepare_flood(unsigned n)
{
	uint64_t buf = tdrv_alloc(&drv, sizeof(*flood_event), 8);

	flood_event = tdrv_ptr(&drv, buf, sizeof(*flood_event));
	*flood_event = (struct virtio_input_event){EV_LED, LED_CAPSL, 1};
	flood_head = tdrv_add(&drv, INPUT_STATUSQ, buf, sizeof(*flood_event), 0, 0);
	flood_left = n - 1;
	while_served = offer_again;
}

static void test_input_hostile_status_flood_takes_turns(void **state)
{
	enum { FLOOD = 10 * INPUT_TURN_BUFFERS + 7 };

	(void)state;
	prepare_flood(FLOOD);
	expect_turns(INPUT_STATUSQ, FLOOD);
	assert_int_equal(lights, FLOOD);
	assert_int_equal(lines_logged, 0);
}

/* The flood's next turn is on its way: kicks of either queue must not buy it more of them. */
static void test_input_hostile_kicks_buy_no_turns(void **state)
{
	(void)state;
	prepare_flood(100 * INPUT_TURN_BUFFERS);
	for (unsigned turn = 1; turn < 10; turn++) {
		for (unsigned i = 0; i < 10; i++) {
			notify(INPUT_STATUSQ);
			notify(INPUT_EVENTQ);
		}
		assert_int_equal(used(INPUT_STATUSQ), turn * INPUT_TURN_BUFFERS);
		loop_run_once(&drv.loop, 100);
	}
	flood_left = 0;
	tdrv_serve(&drv);
}

/* A key comes at once, and not after the flood. */
static void test_input_hostile_status_flood_holds_no_key_back(void **state)
{
	uint64_t events = tdrv_alloc(&drv, INPUT_QUEUE_SIZE * sizeof(struct virtio_input_event), 8);

	(void)state;
	for (unsigned i = 0; i < INPUT_QUEUE_SIZE; i++) {
		tdrv_add(&drv, INPUT_EVENTQ, 0, 0, events + i * sizeof(struct virtio_input_event), sizeof(struct virtio_input_event));
	}
	tdrv_kick(&drv, INPUT_EVENTQ);
	prepare_flood(100 * INPUT_TURN_BUFFERS);
	notify(INPUT_STATUSQ);
	for (unsigned i = 1; i <= 10; i++) {
		assert_true(flood_left > 0);
		press(KEY_A, i % 2 == 1);
		assert_int_equal(used(INPUT_EVENTQ), 2 * i);
		loop_run_once(&drv.loop, 100);
	}
	flood_left = 0;
	tdrv_serve(&drv);
}

static void test_input_hostile_flood_of_short_buffers(void **state)
{
	uint64_t gpa = tdrv_alloc(&drv, 8, 8);
	uint32_t head, len;

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		tdrv_add(&drv, INPUT_STATUSQ, gpa, i % 8, 0, 0);
		tdrv_kick(&drv, INPUT_STATUSQ);
		assert_true(tdrv_used(&drv, INPUT_STATUSQ, &head, &len));
		assert_int_equal(len, 0);
		tdrv_add(&drv, INPUT_EVENTQ, 0, 0, gpa, i % 8);
		tdrv_kick(&drv, INPUT_EVENTQ);
		press(KEY_A, i % 2 == 0);
		assert_true(tdrv_used(&drv, INPUT_EVENTQ, &head, &len));
		assert_int_equal(len, 0);
	}
	assert_int_equal(lights, 0);
	assert_int_equal(in.counters.events_out, 0);
	expect_log_is_limited();
}

/*
 * A frame, and a driver that gives more buffers while it gets the frame: the only one that can take an event lies on the available ring itself, where the event's code
 * becomes the ring's index. So each event makes @step more available: the same one again, and others that are too short.
 * Return: how many buffers there will have been when the last event has come, with one event in each @step of them; SYN_REPORT stays behind.
 */
static unsigned prepare_refills(unsigned step)
{
	const struct tdrv_queue *q = &drv.q[INPUT_EVENTQ];
	uint64_t small = tdrv_alloc(&drv, 8, 8);
	struct input_ev frame[INPUT_FRAME_MAX];
	unsigned n = 0;

	memset(in.desc.bits[EV_KEY], 0xff, sizeof(in.desc.bits[EV_KEY]));
	for (unsigned code = step + 1; code < KEY_CNT && n < INPUT_FRAME_MAX - 1; code += step) {
		/* The value falls on the ring's first two entries. */
		frame[n++] = (struct input_ev){EV_KEY, (uint16_t)code, step == 1 ? 0x10001 : 1};
	}
	frame[n - 1].code--;
	frame[n] = (struct input_ev){EV_SYN, SYN_REPORT, 0};
	input_send(&in, frame, n + 1);

	tdrv_desc(&drv, q->desc, 0, small, sizeof(struct virtio_input_event) - 1, TDRV_WRITE, 0);
	tdrv_desc(&drv, q->desc, 1, q->avail, sizeof(struct virtio_input_event), TDRV_WRITE, 0);
	for (unsigned i = 0; i < q->size; i++) {
		*(uint16_t *)tdrv_ptr(&drv, q->avail + 4 + 2 * i, 2) = i % step == 0;
	}
	tdrv_set_avail_idx(&drv, INPUT_EVENTQ, 1);
	return frame[n - 1].code;
}

static void test_input_hostile_event_buffers_refilled_while_they_are_filled(void **state)
{
	unsigned total = prepare_refills(1);

	(void)state;
	assert_true(total > 3 * INPUT_TURN_BUFFERS);
	expect_turns(INPUT_EVENTQ, total);
	assert_int_equal(in.counters.events_out, total);
	assert_int_equal(lines_logged, 0);
}

/* Of these there is no end in sight: what waits becomes no less by them. */
static void test_input_hostile_short_event_buffers_refilled_while_they_are_served(void **state)
{
	unsigned total = prepare_refills(INPUT_QUEUE_SIZE);

	(void)state;
	assert_true(total > 5 * INPUT_TURN_BUFFERS);
	expect_turns(INPUT_EVENTQ, total);
	assert_int_equal(in.counters.events_out, total / INPUT_QUEUE_SIZE);
	expect_log_is_limited();
}

static void test_input_hostile_crooked_buffers(void **state)
{
	uint64_t gpa = tdrv_alloc(&drv, 64, 8);
	struct virtio_input_event wire;
	uint32_t head, len;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		uint64_t at = gpa + i % 13;
		unsigned part = i % 9; /* of the event, in a descriptor before */
		enum { FIRST = 62, SECOND };

		wire = (struct virtio_input_event){EV_LED, LED_CAPSL, i % 2 == 0};
		memcpy(tdrv_ptr(&drv, at, sizeof(wire)), &wire, sizeof(wire));
		tdrv_desc(&drv, drv.q[INPUT_STATUSQ].desc, FIRST, at, part, TDRV_NEXT, SECOND);
		tdrv_desc(&drv, drv.q[INPUT_STATUSQ].desc, SECOND, at + part, 20 - part, 0, 0);
		tdrv_offer(&drv, INPUT_STATUSQ, FIRST);
		tdrv_kick(&drv, INPUT_STATUSQ);
		assert_int_equal(lights, i + 1);

		tdrv_desc(&drv, drv.q[INPUT_EVENTQ].desc, FIRST, at, part, TDRV_NEXT | TDRV_WRITE, SECOND);
		tdrv_desc(&drv, drv.q[INPUT_EVENTQ].desc, SECOND, at + part, 20 - part, TDRV_WRITE, 0);
		tdrv_offer(&drv, INPUT_EVENTQ, FIRST);
		drv.q[INPUT_EVENTQ].next_desc = 0;
		tdrv_add(&drv, INPUT_EVENTQ, 0, 0, gpa + 40, sizeof(wire));
		tdrv_kick(&drv, INPUT_EVENTQ);
		press(KEY_A, i % 2 == 0);
		assert_true(tdrv_used(&drv, INPUT_EVENTQ, &head, &len));
		assert_int_equal(len, sizeof(wire));
		memcpy(&wire, tdrv_ptr(&drv, at, sizeof(wire)), sizeof(wire));
		assert_int_equal(wire.type, EV_KEY);
		assert_int_equal(wire.code, KEY_A);
		assert_int_equal(wire.value, i % 2 == 0);
		assert_true(tdrv_used(&drv, INPUT_EVENTQ, &head, &len));
	}
	assert_int_equal(lines_logged, 0);
}

/* All that comes goes back, as Linux' driver does it with EV_MSC. There it ends. */
static void test_input_hostile_echo_ends(void **state)
{
	uint64_t buf = tdrv_alloc(&drv, 3 * sizeof(struct virtio_input_event), 8);
	uint32_t head, len;

	(void)state;
	input_desc_add(&in.desc, EV_MSC, MSC_SCAN);
	for (int round = 0; round < 1000; round++) {
		struct input_ev frame[] = {{EV_MSC, MSC_SCAN, 0x70004}, {EV_KEY, KEY_A, round % 2}, {EV_SYN, SYN_REPORT, 0}};

		for (unsigned i = 0; i < 3; i++) {
			tdrv_add(&drv, INPUT_EVENTQ, 0, 0, buf + 8 * i, 8);
		}
		tdrv_kick(&drv, INPUT_EVENTQ);
		input_send(&in, frame, 3);
		for (unsigned i = 0; i < 3; i++) {
			assert_true(tdrv_used(&drv, INPUT_EVENTQ, &head, &len));
			tdrv_add(&drv, INPUT_STATUSQ, buf + 8 * i, 8, 0, 0);
		}
		tdrv_kick(&drv, INPUT_STATUSQ);
		for (unsigned i = 0; i < 3; i++) {
			assert_true(tdrv_used(&drv, INPUT_STATUSQ, &head, &len));
		}
		assert_true(input_is_drained(&in));
	}
	assert_int_equal(in.counters.frames_out, 1000);
	assert_int_equal(lights, 0);
	assert_int_equal(lines_logged, 0);
}

static void scan(int value)
{
	struct input_ev frame[] = {{EV_MSC, MSC_SCAN, 0x70004}, {EV_KEY, KEY_A, value}, {EV_SYN, SYN_REPORT, 0}};

	input_send(&in, frame, 3);
}

/* As Linux' driver does it, so that echoes are expected from here on. Return: where such a buffer is. */
static uint64_t expect_echoes(void)
{
	uint64_t buf = tdrv_alloc(&drv, 8, 8), events = tdrv_alloc(&drv, 8 * INPUT_QUEUE_SIZE, 8);
	struct virtio_input_event wire = {EV_MSC, MSC_SCAN, 0x70004};

	input_desc_add(&in.desc, EV_MSC, MSC_SCAN);
	memcpy(tdrv_ptr(&drv, buf, sizeof(wire)), &wire, sizeof(wire));
	for (unsigned i = 0; i < INPUT_QUEUE_SIZE; i++) {
		tdrv_add(&drv, INPUT_EVENTQ, 0, 0, events + 8 * i, 8);
	}
	tdrv_kick(&drv, INPUT_EVENTQ);
	scan(1);
	tdrv_add(&drv, INPUT_STATUSQ, buf, sizeof(wire), 0, 0);
	tdrv_kick(&drv, INPUT_STATUSQ);
	assert_true(in.is_echoing);
	return buf;
}

/* It sends back what it never got, and says nothing of it: the next frame, or the time, takes all of it, and no more of it is expected. */
static void test_input_hostile_more_echoes_than_there_were(void **state)
{
	uint64_t buf = expect_echoes();

	(void)state;
	for (unsigned round = 1; round <= 10; round++) {
		for (unsigned i = 0; i < INPUT_QUEUE_SIZE; i++) {
			tdrv_add(&drv, INPUT_STATUSQ, buf, 8, 0, 0);
		}
		scan(round % 2);
		tdrv_serve(&drv);
		assert_int_equal(used(INPUT_STATUSQ), 1 + round * INPUT_QUEUE_SIZE);
		assert_int_equal(in.echoes, 0);
		assert_int_equal(in.look.deadline_ns, 0);
	}
	assert_int_equal(lines_logged, 0);
}

/* None at all: it is not waited for them again and again, and neither memory nor turns are spent on them. */
static void test_input_hostile_echoes_that_never_come(void **state)
{
	uint32_t head, len;
	uint64_t now = 5000 * CLOCK_NS_PER_S;

	(void)state;
	expect_echoes();
	for (unsigned i = 0; i < 1000; i++) {
		while (tdrv_used(&drv, INPUT_EVENTQ, &head, &len)) {
			tdrv_offer(&drv, INPUT_EVENTQ, (uint16_t)head);
		}
		scan(i % 2);
	}
	assert_int_equal(in.echoes, INPUT_QUEUE_SIZE);
	clock_set_test_ns(now);
	scan(0);
	for (unsigned i = 0; i < 5; i++) {
		clock_set_test_ns(now += INPUT_ECHO_NS);
		tdrv_serve(&drv);
		assert_int_equal(in.look.deadline_ns, 0);
		assert_false(in.is_echoing);
	}
	clock_set_test_ns(0);
	assert_true(tdrv_used(&drv, INPUT_STATUSQ, &head, &len));
	lights_up(&drv);
}

/* The index runs away while nobody is to be kicked: found out with the next frame, and the device has failed, once. */
static void test_input_hostile_index_runs_away_among_echoes(void **state)
{
	(void)state;
	expect_echoes();
	tdrv_set_avail_idx(&drv, INPUT_STATUSQ, 0x7000);
	scan(0);
	assert_false(virtio_device_is_running(&in.base));
	assert_int_equal(lines_logged, 1);
	scan(1);
	tdrv_serve(&drv);
	assert_int_equal(lines_logged, 1);
	tdrv_start(&drv);
	tdrv_serve(&drv);
}

/* Selectors and everything else, at every width: answers, and nothing but answers. */
static void test_input_hostile_select_storm(void **state)
{
	uint8_t bytes[8], want[INPUT_CONFIG_LEN], got[INPUT_CONFIG_LEN];
	unsigned irqs = drv.config_irqs;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		memset(bytes, (int)(i * 7 >> 3), sizeof(bytes));
		virtio_mmio_write(&drv.mmio, VIRTIO_MMIO_CONFIG + (i % 3 ? i % 2 : i % INPUT_CONFIG_LEN), bytes, 1u << i % 4);
	}
	expect_log_is_limited();
	assert_int_equal(drv.config_irqs, irqs);
	assert_int_equal(in.again.deadline_ns, 0);
	for (unsigned pair = 0; pair < 0x10000; pair++) {
		memcpy(bytes, (uint16_t[]){(uint16_t)pair}, 2);
		virtio_mmio_write(&drv.mmio, VIRTIO_MMIO_CONFIG, bytes, 2);
		if (pair % 0xff == 0) {
			input_desc_answer(&in.desc, bytes[0], bytes[1], want);
			for (unsigned off = 0; off < INPUT_CONFIG_LEN; off++) {
				virtio_mmio_read(&drv.mmio, VIRTIO_MMIO_CONFIG + off, &got[off], 1);
			}
			assert_memory_equal(got, want, INPUT_CONFIG_LEN);
		}
	}
	assert_int_equal(drv.config_irqs, irqs);
}

/* The key's way up is where the ring is full. Whoever takes its time gets the end of it, and no key stays. */
static void test_input_hostile_ring_full_across_a_key_up(void **state)
{
	uint64_t buf = tdrv_alloc(&drv, INPUT_QUEUE_SIZE * 8, 8);
	struct input_state guest;
	uint32_t head, len;
	unsigned n;

	(void)state;
	press(KEY_LEFTSHIFT, 1);
	press(KEY_A, 1);
	for (unsigned i = 0; i < INPUT_RING_EVENTS; i++) {
		press(KEY_B, i % 2 == 0);
		if (i == INPUT_RING_EVENTS / 4) {
			press(KEY_C, 1);
		}
		if (i == INPUT_RING_EVENTS / 2) {
			press(KEY_A, 0);
		}
	}
	press(KEY_LEFTSHIFT, 0);
	assert_true(in.counters.dropped > 0);
	input_state_init(&guest, &in.desc);
	do {
		for (unsigned i = 0; i < INPUT_QUEUE_SIZE; i++) {
			tdrv_add(&drv, INPUT_EVENTQ, 0, 0, buf + 8 * i, 8);
		}
		tdrv_kick(&drv, INPUT_EVENTQ);
		for (n = 0; tdrv_used(&drv, INPUT_EVENTQ, &head, &len); n++) {
			struct virtio_input_event wire;

			memcpy(&wire, tdrv_ptr(&drv, buf + 8 * n, sizeof(wire)), sizeof(wire));
			input_state_apply(&guest, &(struct input_ev){wire.type, wire.code, (int32_t)wire.value});
		}
	} while (n == INPUT_QUEUE_SIZE);
	assert_true(input_is_drained(&in));
	/* What is held, and nothing else. */
	assert_true(input_state_any_key(&guest));
	input_state_apply(&guest, &(struct input_ev){EV_KEY, KEY_C, 0});
	assert_false(input_state_any_key(&guest));
	assert_int_equal(in.counters.frames_in, in.counters.frames_out - in.counters.resyncs + in.counters.dropped);
}

static int run_own_rows(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_input_hostile_status_flood_takes_turns),
		T(test_input_hostile_kicks_buy_no_turns),
		T(test_input_hostile_status_flood_holds_no_key_back),
		T(test_input_hostile_flood_of_short_buffers),
		T(test_input_hostile_event_buffers_refilled_while_they_are_filled),
		T(test_input_hostile_short_event_buffers_refilled_while_they_are_served),
		T(test_input_hostile_crooked_buffers),
		T(test_input_hostile_echo_ends),
		T(test_input_hostile_more_echoes_than_there_were),
		T(test_input_hostile_echoes_that_never_come),
		T(test_input_hostile_index_runs_away_among_echoes),
		T(test_input_hostile_select_storm),
		T(test_input_hostile_ring_full_across_a_key_up),
	};

	return cmocka_run_group_tests_name("input_hostile", tests, NULL, NULL);
}

int main(void)
{
	static const struct hostile_target events = {
		.create = create, .destroy = destroy, .queue = INPUT_EVENTQ, .writable = true, .poke = type, .works = works};
	static const struct hostile_target status = {
		.create = create, .destroy = destroy, .queue = INPUT_STATUSQ, .writable = false, .works = works};

	/* First what has a name: a crash ends the program, and noise finds much. */
	int failed = run_own_rows();

	return failed + hostile_run("input_hostile_events", &events) + hostile_run("input_hostile_status", &status);
}
