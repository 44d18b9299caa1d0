/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the serial port's registers at every width, mixed with a stream that is stuck,
 * ready, typed on and sends breaks. What must hold: what is transmitted arrives once and in order,
 * and neither buffer ever holds more than it has room for.
 *
 * The input is a list of three-byte steps: what to do, where, and a value.
 */
#include <stdint.h>
#include <stdlib.h>

#include "devices/serial.h"
#include "vmm/log.h"

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t room;
static uint8_t sent[1 << 20];
static size_t nsent, nseen;

static size_t sink_room(struct stream_sink *k)
{
	(void)k;
	return room;
}

static void sink_write(struct stream_sink *k, const uint8_t *buf, size_t n)
{
	(void)k;
	CHECK(n <= room && nseen + n <= nsent);
	room -= n;
	for (size_t i = 0; i < n; i++) {
		CHECK(buf[i] == sent[nseen++]);
	}
}

static const struct stream_sink_ops sink_ops = {.room = sink_room, .write = sink_write};

static void on_irq(void *ctx)
{
	(*(unsigned *)ctx)++;
}

static void on_room(void *ctx)
{
	(void)ctx;
}

/* One byte by the data register is transmitted unless the divisor latch or loopback is on. */
static void write_register(struct serial *s, uint8_t off, uint8_t val, uint32_t width)
{
	if (off == 0 && !(s->lcr & 0x80) && !(s->mcr & 0x10) && nsent < sizeof(sent)) {
		sent[nsent++] = val;
	}
	if (!serial_out(s, off, val, width)) {
		CHECK(s->tx_head - s->tx_tail == SERIAL_TX_MAX);
		room += SERIAL_TX_MAX;
		serial_flush(s);
		CHECK(serial_out(s, off, val, width));
	}
}

static void step(struct serial *s, struct stream_sink *sink, const uint8_t *op, struct loop *loop)
{
	static const uint8_t text[256];
	uint8_t off = op[1] % SERIAL_PORTS;
	uint32_t width = 1u << op[1] / SERIAL_PORTS % 3;

	switch (op[0] % 8) {
	case 0:
	case 1:
		serial_in(s, off, width);
		break;
	case 2:
	case 3:
		write_register(s, off, op[2], width);
		break;
	case 4:
		room += op[2];
		stream_sink_ready(sink);
		break;
	case 5:
		CHECK(stream_input(sink, text, op[2]) <= op[2]);
		break;
	case 6:
		stream_send_break(sink);
		break;
	default:
		loop_run_once(loop, 0);
		break;
	}
	CHECK(s->tx_head - s->tx_tail <= SERIAL_TX_MAX);
	CHECK(s->rx_head - s->rx_tail <= SERIAL_RX_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct serial s;
	static struct stream_sink sink;
	struct loop loop;
	unsigned irqs = 0;

	log_set_level(LOG_ERR);
	room = nsent = nseen = 0;
	CHECK(loop_init(&loop) == 0);
	CHECK(serial_init(&s, &loop, on_irq, on_room, &irqs) == 0);
	sink.stream = NULL;
	stream_attach(&s.stream, &sink, &sink_ops);
	for (size_t i = 0; i + 2 < len; i += 3) {
		step(&s, &sink, data + i, &loop);
	}
	room = SIZE_MAX;
	serial_flush(&s);
	CHECK(nseen == nsent);
	stream_detach(&sink);
	serial_finish(&s);
	loop_finish(&loop);
	return 0;
}
