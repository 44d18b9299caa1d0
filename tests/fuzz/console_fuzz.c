/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: virtio-console against a driver and a sink that do anything in any order. What
 * must hold: every buffer is answered at most once, a used length never exceeds the buffer, what
 * arrives at the sink is what was put into the buffers, and the work per event is bounded.
 *
 * The input is a list of two-byte steps: what to do, and how much.
 */
#include <stdint.h>
#include <stdlib.h>

#include "devices/console.h"
#include "devices/fake_virtio.h"

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t room;
static uint8_t next_sent, next_seen; /* what is transmitted counts up, so a gap or a copy shows */

static size_t sink_room(struct stream_sink *k)
{
	(void)k;
	return room;
}

static void sink_write(struct stream_sink *k, const uint8_t *buf, size_t n)
{
	(void)k;
	CHECK(n <= room);
	room -= n;
	for (size_t i = 0; i < n; i++) {
		if (buf[i] < 0x80) {
			CHECK(buf[i] == next_seen);
			next_seen = (next_seen + 1) & 0x7f;
		}
	}
}

static const struct stream_sink_ops sink_ops = {.room = sink_room, .write = sink_write};

static void add_tx(size_t n)
{
	static uint8_t bytes[FAKE_CHAINS_MAX][256];
	uint8_t *buf = bytes[fake_queue[1].nchains % FAKE_CHAINS_MAX];

	if (fake_queue[1].nchains == FAKE_CHAINS_MAX) {
		return;
	}
	for (size_t i = 0; i < n; i++) {
		buf[i] = next_sent;
		next_sent = (next_sent + 1) & 0x7f;
	}
	fake_add(1, buf, n, NULL, 0);
}

static void add_rx(size_t n)
{
	static uint8_t bytes[256];

	if (fake_queue[0].nchains < FAKE_CHAINS_MAX) {
		fake_add(0, NULL, 0, bytes, n);
	}
}

static void reset(struct console *c)
{
	fake_reset(&c->base);
	c->base.failed = false;
	/* What was in flight is forgotten, so the count starts anew. */
	next_sent = next_seen;
}

static void break_ring(unsigned q)
{
	if (fake_queue[q].nchains < FAKE_CHAINS_MAX) {
		fake_add(q, NULL, 0, NULL, 0)->broken = true;
	}
}

static void step(struct console *c, struct stream_sink *sink, uint8_t what, uint8_t arg)
{
	static const uint8_t text[256];
	uint8_t emerg[8] = {0x80 | arg};

	switch (what % 12) {
	case 0:
		add_tx(arg);
		break;
	case 1:
		add_rx(arg);
		break;
	case 2:
		if (virtio_device_is_running(&c->base)) {
			c->base.ops->kick(&c->base, arg & 1);
		}
		break;
	case 3:
		room += arg;
		stream_sink_ready(sink);
		break;
	case 4:
		CHECK(stream_input(sink, text, arg) <= arg);
		break;
	case 5:
		stream_send_break(sink);
		break;
	case 6:
		stream_resize(sink, arg, (uint16_t)(arg * 257));
		break;
	case 7:
		c->base.ops->config_write(&c->base, arg % 12, emerg, 1u << arg % 4);
		break;
	case 8:
		loop_run_once(c->base.loop, 0);
		break;
	case 9:
		reset(c);
		break;
	case 10:
		if (!fake_running) {
			fake_start(&c->base);
			c->listening = arg & 1;
		}
		break;
	default:
		break_ring(arg & 1);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct console c;
	static struct stream_sink sink;
	struct loop loop;

	log_set_level(LOG_ERR);
	next_sent = next_seen = 0;
	room = 0;
	CHECK(loop_init(&loop) == 0);
	fake_forget();
	console_init(&c, &loop, NULL);
	sink.stream = NULL;
	stream_attach(&c.stream, &sink, &sink_ops);
	for (size_t i = 0; i + 1 < len; i += 2) {
		step(&c, &sink, data[i], data[i + 1]);
	}
	for (unsigned i = 0; i < fake_queue[0].nchains; i++) {
		CHECK(fake_queue[0].chain[i].written <= fake_queue[0].chain[i].in.iov_len);
	}
	fake_reset(&c.base);
	stream_detach(&sink);
	console_finish(&c);
	loop_finish(&loop);
	return 0;
}
