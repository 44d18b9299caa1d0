/* SPDX-License-Identifier: MIT */
/* The hostile-guest table against both queues of virtio-console, over real rings and registers. */
#include "devices/console.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/hostile.h"

enum { RX, TX };

static struct console c;
static struct stream_sink sink;
static uint8_t last[64];

static size_t sink_room(struct stream_sink *k)
{
	(void)k;
	return SIZE_MAX;
}

static void sink_write(struct stream_sink *k, const uint8_t *buf, size_t len)
{
	(void)k;
	memcpy(last, buf, len < sizeof(last) ? len : sizeof(last));
}

static const struct stream_sink_ops sink_ops = {.room = sink_room, .write = sink_write};

static struct virtio_device *create(struct tdrv *d)
{
	console_init(&c, &d->loop, &d->mem);
	stream_attach(&c.stream, &sink, &sink_ops);
	return &c.base;
}

static void destroy(void)
{
	stream_detach(&sink);
	console_finish(&c);
}

static void transmits(struct tdrv *d)
{
	uint64_t buf = tdrv_alloc(d, 5, 1);
	uint16_t want = tdrv_add(d, TX, buf, 5, 0, 0);
	uint32_t head, len;

	memcpy(tdrv_ptr(d, buf, 5), "hello", 5);
	memset(last, 0, sizeof(last));
	tdrv_kick(d, TX);
	assert_true(tdrv_used(d, TX, &head, &len));
	assert_int_equal(head, want);
	assert_int_equal(len, 0);
	assert_memory_equal(last, "hello", 5);
}

static void receives(struct tdrv *d)
{
	uint64_t buf = tdrv_alloc(d, 8, 1);
	uint16_t want = tdrv_add(d, RX, 0, 0, buf, 8);
	uint32_t head, len;

	tdrv_kick(d, RX);
	c.listening = true;
	assert_int_equal(stream_input(&sink, (const uint8_t *)"keys", 4), 4);
	assert_true(tdrv_used(d, RX, &head, &len));
	assert_int_equal(head, want);
	assert_int_equal(len, 4);
	assert_memory_equal(tdrv_ptr(d, buf, 4), "keys", 4);
}

static void works(struct tdrv *d)
{
	transmits(d);
	receives(d);
}

/* Buffers for input are looked at when there is some; twice, because a turn is bounded. */
static void type(struct tdrv *d)
{
	static const uint8_t text[256];

	c.listening = true;
	for (unsigned i = 0; i < 4; i++) {
		stream_input(&sink, text, sizeof(text));
		tdrv_serve(d);
	}
}

int main(void)
{
	static const struct hostile_target tx = {.create = create,
		.destroy = destroy,
		.queue = TX,
		.writable = false,
		.works = works};
	static const struct hostile_target rx = {.create = create,
		.destroy = destroy,
		.queue = RX,
		.writable = true,
		.poke = type,
		.works = works};

	return hostile_run("console_hostile_transmit", &tx) +
	       hostile_run("console_hostile_receive", &rx);
}
