/* SPDX-License-Identifier: MIT */
/* The hostile-guest table against both queues of virtio-input, over real rings and registers. */
#include "devices/input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <linux/virtio_input.h>
#include <cmocka.h>

#include "tests/support/hostile.h"

static struct input in;
static unsigned lights;

static void on_light(void *ctx, unsigned code, bool on)
{
	(void)ctx;
	(void)code;
	(void)on;
	lights++;
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

int main(void)
{
	static const struct hostile_target events = {
		.create = create, .destroy = destroy, .queue = INPUT_EVENTQ, .writable = true, .poke = type, .works = works};
	static const struct hostile_target status = {
		.create = create, .destroy = destroy, .queue = INPUT_STATUSQ, .writable = false, .works = works};

	return hostile_run("input_hostile_events", &events) + hostile_run("input_hostile_status", &status);
}
