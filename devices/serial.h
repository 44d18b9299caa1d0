/* SPDX-License-Identifier: MIT */
/*
 * A 16550A serial port at eight I/O ports: the early console. It has no speed: what the guest
 * writes is sent at once, and the line is always connected.
 *
 * Two sides. Registers are used on vCPU threads under the port's own lock. The stream side runs on
 * the loop: it empties the transmit buffer into the stream and fills the receive buffer from it. An
 * eventfd goes from the first to the second.
 *
 * Flow control is lossless both ways. When whatever shows the output is stuck, the transmit buffer
 * fills up and the transmitter reports "not empty", so a driver that works with interrupts or polls
 * waits by itself; what a guest writes all the same is refused, and its vCPU held out of the guest
 * until @room says that there is some. Nobody waits in here, so a stuck terminal cannot keep the
 * monitor from pausing or stopping a vCPU. Input is taken only while the guest listens (receive interrupt enabled, or polling the line status), so
 * bytes that come before a driver is ready are not lost in its initialisation.
 */
#ifndef DEVICES_SERIAL_H
#define DEVICES_SERIAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/stream.h"
#include "vmm/loop.h"

#define SERIAL_PORTS  8
#define SERIAL_TX_MAX 4096 /* transmit buffer, bytes; power of two */
#define SERIAL_RX_MAX 256  /* receive buffer, characters; power of two */

struct serial {
	struct stream stream;    /* attach sinks here */
	struct loop_source wake; /* vCPU -> loop */
	struct loop_timer drain; /* runs while output goes on, so not every byte wakes the loop */
	void (*irq)(void *ctx);
	void (*room)(void *ctx);
	void *ctx;

	pthread_mutex_t lock; /* guards everything below */
	bool refused;      /* serial_out found no room since @room was called */
	bool awake;        /* the loop comes back to the transmit buffer by itself */
	bool input_wanted; /* the loop was refused input: wake it when there is room */
	bool pending;      /* the interrupt line, as last reported */
	bool thr_pending;  /* "transmitter empty" interrupt not yet acknowledged */
	uint8_t ier, lcr, mcr, scr, dll, dlm, fcr;
	uint8_t msr_delta;
	unsigned lsr_polls;        /* line status reads in a row */
	uint32_t tx_head, tx_tail; /* free-running; head - tail = bytes held */
	uint32_t rx_head, rx_tail;
	uint8_t tx[SERIAL_TX_MAX];
	uint16_t rx[SERIAL_RX_MAX]; /* character, or SERIAL_RX_BREAK */
};

/**
 * serial_init - a port in reset state
 * @irq: raises one edge on the port's interrupt; called on any thread with the port's lock held, so
 *       it must not block and must not call back (writing an irqfd is right)
 * @room: there is room again, after serial_out found none; called on the loop
 *
 * Return: 0 or -errno (logged). Thread: loop, or before vCPUs run.
 */
int serial_init(struct serial *s, struct loop *loop, void (*irq)(void *ctx), void (*room)(void *ctx), void *ctx);
void serial_finish(struct serial *s); /* accepts zeroed memory; no vCPU runs any more */

/* Port accesses; @off < SERIAL_PORTS, @len 1, 2 or 4 bytes, wider ones act as neighbouring byte
 * accesses. serial_out returns false when there is no room and nothing was done. Thread: vCPU. */
uint32_t serial_in(struct serial *s, uint32_t off, uint32_t len);
bool serial_out(struct serial *s, uint32_t off, uint32_t val, uint32_t len);

/* Passes on what the guest has written, as far as the sinks have room. Thread: loop. */
void serial_flush(struct serial *s);

#endif
