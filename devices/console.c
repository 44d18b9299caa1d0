/* SPDX-License-Identifier: MIT */
/*
 * Two queues and one stream. The chain in work on the transmit side is kept between turns, so that
 * a full stream costs neither loss nor a buffer here.
 */
#include "devices/console.h"

#include <stddef.h>
#include <string.h>

#include "virtio/le.h"
#include "vmm/clock.h"
#include "vmm/log.h"

#define CONSOLE_F_SIZE        (1ull << 0)
#define CONSOLE_F_EMERG_WRITE (1ull << 2)

enum { CONSOLE_RX, CONSOLE_TX };

/* virtio v1.3, 5.3.4 "Device configuration layout" */
struct console_config {
	struct le16 cols;
	struct le16 rows;
	struct le32 max_nr_ports;
	struct le32 emerg_wr;
};
_Static_assert(sizeof(struct console_config) == 12, "console configuration");

#define CONSOLE_PIECE 4096 /* bytes copied to the stream at once */

/* Linux's console on hvc0 takes this key for a break: the next one is a system request. */
#define CONSOLE_BREAK 0x0f

static struct console *console_from(struct virtio_device *d)
{
	return (struct console *)((char *)d - offsetof(struct console, base));
}

static struct console *console_of(struct stream *s)
{
	return (struct console *)((char *)s - offsetof(struct console, stream));
}

static void send_emergency(struct console *c)
{
	size_t n;

	if (c->emerg_len == 0) {
		return;
	}
	n = stream_write(&c->stream, c->emerg, c->emerg_len);
	c->emerg_len -= (uint32_t)n;
	memmove(c->emerg, c->emerg + n, c->emerg_len);
}

/*
 * Passes on at most @max bytes of the chain in work; it is done with when nothing is left of it.
 * Return: bytes passed on; 0 with the chain still in work: the stream is full.
 */
static size_t send_chain(struct console *c, size_t max)
{
	uint8_t buf[CONSOLE_PIECE];
	size_t sent = 0;

	while (sent < max && virtq_get_left(&c->tx) > 0) {
		size_t room = stream_room(&c->stream);
		size_t n = max - sent < sizeof(buf) ? max - sent : sizeof(buf);

		if (room == 0) {
			return sent;
		}
		n = virtq_get(&c->tx, buf, n < room ? n : room);
		n = stream_write(&c->stream, buf, n);
		sent += n;
	}
	if (virtq_get_left(&c->tx) == 0) {
		virtq_push(&c->base.vq[CONSOLE_TX], &c->tx);
		c->tx_busy = false;
	}
	return sent;
}

/* The driver has spoken: it is not listening before it has finished. */
static void await_silence(struct console *c)
{
	uint64_t at = clock_now_ns() + CONSOLE_QUIET_NS;

	if (!c->listening) {
		loop_timer_set(&c->listen, at < c->listen_by_ns ? at : c->listen_by_ns);
	}
}

static void on_listen(struct loop_timer *timer)
{
	struct console *c = (struct console *)((char *)timer - offsetof(struct console, listen));

	c->listening = true;
	if (c->sized) {
		/* Linux asks for the size only when told that it changed. */
		virtio_device_config_changed(&c->base);
	}
	stream_input_ready(&c->stream);
}

static bool next_chain(struct console *c)
{
	if (virtq_pop(&c->base.vq[CONSOLE_TX], &c->tx) <= 0) {
		return false;
	}
	c->tx_busy = true;
	if (c->tx.readable_len == 0) {
		log_guest(&c->base.log_limit, "console", "transmit buffer without bytes");
	} else {
		stream_set_open(&c->stream, true);
		await_silence(c);
	}
	return true;
}

/* Transmits until the queue is empty, the stream full or the turn over. */
static void transmit(struct console *c)
{
	unsigned chains = 0;
	size_t bytes = 0;

	while (bytes < CONSOLE_TURN_BYTES && chains < CONSOLE_TURN_CHAINS) {
		if (!c->tx_busy) {
			if (!next_chain(c)) {
				virtq_notify(&c->base.vq[CONSOLE_TX]);
				return;
			}
			chains++;
		}
		bytes += send_chain(c, CONSOLE_TURN_BYTES - bytes);
		if (c->tx_busy && stream_room(&c->stream) == 0) {
			virtq_notify(&c->base.vq[CONSOLE_TX]);
			return;
		}
	}
	virtq_notify(&c->base.vq[CONSOLE_TX]);
	loop_timer_set(&c->again, clock_now_ns() + 1);
}

/* Return: bytes that went into the driver's buffers. */
static size_t receive(struct console *c, const uint8_t *buf, size_t len)
{
	struct virtq *vq = &c->base.vq[CONSOLE_RX];
	size_t done = 0;

	for (unsigned chains = 0; done < len; chains++) {
		if (chains == CONSOLE_TURN_CHAINS) {
			loop_timer_set(&c->again, clock_now_ns() + 1);
			break;
		}
		if (virtq_pop(vq, &c->rx) <= 0) {
			break;
		}
		if (c->rx.writable_len == 0) {
			log_guest(&c->base.log_limit, "console", "receive buffer without room");
		}
		done += virtq_put(&c->rx, buf + done, len - done);
		virtq_push(vq, &c->rx);
	}
	virtq_notify(vq);
	return done;
}

static void on_output_ready(struct stream *s)
{
	struct console *c = console_of(s);

	send_emergency(c);
	if (virtio_device_is_running(&c->base)) {
		transmit(c);
	}
}

static size_t on_input(struct stream *s, const uint8_t *buf, size_t len)
{
	struct console *c = console_of(s);

	return virtio_device_is_running(&c->base) && c->listening ? receive(c, buf, len) : 0;
}

static void on_break(struct stream *s)
{
	const uint8_t key = CONSOLE_BREAK;

	on_input(s, &key, 1);
}

static void on_resize(struct stream *s, uint16_t cols, uint16_t rows)
{
	console_of(s)->sized = true;
	console_set_size(console_of(s), cols, rows);
}

static const struct stream_ops console_stream_ops = {
	.output_ready = on_output_ready,
	.input = on_input,
	.send_break = on_break,
	.resize = on_resize,
};

static void console_again(struct loop_timer *timer)
{
	struct console *c = (struct console *)((char *)timer - offsetof(struct console, again));

	if (virtio_device_is_running(&c->base)) {
		transmit(c);
		stream_input_ready(&c->stream);
	}
}

static int console_activate(struct virtio_device *d)
{
	struct console *c = console_from(d);
	uint64_t now = clock_now_ns();

	/* Buffers may lie there already; a driver is free not to kick for them again. */
	loop_timer_set(&c->again, now + 1);
	c->listen_by_ns = now + CONSOLE_LISTEN_NS;
	loop_timer_set(&c->listen, c->listen_by_ns);
	return 0;
}

static void console_reset(struct virtio_device *d)
{
	struct console *c = console_from(d);

	loop_timer_stop(&c->again);
	loop_timer_stop(&c->listen);
	c->listening = false;
	c->tx_busy = false;
	stream_set_open(&c->stream, false);
}

static void console_kick(struct virtio_device *d, unsigned q)
{
	struct console *c = console_from(d);

	if (q == CONSOLE_RX) {
		stream_input_ready(&c->stream);
	} else if (q == CONSOLE_TX && c->again.deadline_ns == 0) {
		/* With a turn already on its way kicks do not buy more of them. */
		transmit(c);
	}
}

/* Works in every state of the device, so that a kernel that cannot set up queues can still speak.
 */
static void console_config_write(
	struct virtio_device *d, uint32_t off, const void *src, uint32_t len)
{
	struct console *c = console_from(d);

	if (off != offsetof(struct console_config, emerg_wr) || len == 0) {
		log_guest(&d->log_limit, "console", "write to configuration offset %u", off);
		return;
	}
	if (c->emerg_len == CONSOLE_EMERG_MAX) {
		log_guest(
			&d->log_limit, "console", "emergency output is stuck, characters are lost");
		return;
	}
	memcpy(c->emerg + c->emerg_len++, src, 1); /* the lowest byte: it is little-endian */
	send_emergency(c);
}

static const struct virtio_device_ops console_ops = {
	.name = "console",
	.device_id = VIRTIO_ID_CONSOLE,
	.config_len = sizeof(struct console_config),
	.features = CONSOLE_F_SIZE | CONSOLE_F_EMERG_WRITE,
	.nqueues = 2,
	.queue_size = {64, 64},
	.activate = console_activate,
	.reset = console_reset,
	.kick = console_kick,
	.config_write = console_config_write,
};

void console_set_size(struct console *c, uint16_t cols, uint16_t rows)
{
	/* One store of 4 bytes, so a driver that reads without an exit sees a size that existed. */
	const struct {
		struct le16 cols, rows;
	} size = {le16_of(cols), le16_of(rows)};

	if (c->cols == cols && c->rows == rows) {
		return;
	}
	c->cols = cols;
	c->rows = rows;
	virtio_device_set_config(
		&c->base, offsetof(struct console_config, cols), &size, sizeof(size));
	virtio_device_config_changed(&c->base);
}

void console_init(struct console *c, struct loop *loop, const struct gmem *mem)
{
	const struct console_config config = {
		.cols = le16_of(80), .rows = le16_of(24), .max_nr_ports = le32_of(1)};

	memset(c, 0, offsetof(struct console, stream));
	c->cols = 80;
	c->rows = 24;
	stream_init(&c->stream, "console", &console_stream_ops);
	loop_timer_init(&c->again, loop, console_again);
	loop_timer_init(&c->listen, loop, on_listen);
	virtio_device_init(&c->base, &console_ops, loop, mem);
	virtio_device_set_config(&c->base, 0, &config, sizeof(config));
}

void console_finish(struct console *c)
{
	if (c->stream.ops) {
		loop_timer_stop(&c->again);
		loop_timer_stop(&c->listen);
	}
	c->stream.ops = NULL;
}

void console_flush(struct console *c)
{
	/* A bounded number of turns: the guest has stopped, its queue holds a bounded number of
	 * buffers. */
	for (unsigned i = 0; i < VIRTQ_SIZE_MAX / CONSOLE_TURN_CHAINS + 1; i++) {
		on_output_ready(&c->stream);
	}
}
