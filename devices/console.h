/* SPDX-License-Identifier: MIT */
/*
 * virtio-console with one port, hvc0 in Linux: no multiport, a size that follows the terminal, and
 * the emergency write register.
 *
 * Transmit: bytes go from the driver's buffers to the stream; when the stream is full the buffer in
 * work is kept and the queue rests until there is room. Receive: bytes are taken from the stream
 * only as far as the driver has supplied buffers. Nothing is buffered here, nothing is lost. The
 * stream is open from the driver's first output to the device's reset.
 *
 * Input is held until the driver listens. Linux fills the receive queue before it has a console to
 * give the bytes to, and throws away what comes in between; no message tells the moment. So input
 * starts when the driver has been silent for a moment after its first output, or a second after
 * DRIVER_OK.
 *
 * A buffer that does not follow the rules (no readable bytes in transmit, no writable in receive)
 * is returned at once, so that a driver cannot make the device spin.
 *
 * Thread: the device's loop. Spec: virtio v1.3, 5.3 "Console Device".
 */
#ifndef DEVICES_CONSOLE_H
#define DEVICES_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/stream.h"
#include "virtio/device.h"
#include "vmm/clock.h"
#include "vmm/loop.h"

#define CONSOLE_TURN_BYTES  65536 /* bytes transmitted per turn on the loop */
#define CONSOLE_TURN_CHAINS 64    /* buffers per turn on the loop, either queue */
#define CONSOLE_QUIET_NS    (20 * CLOCK_NS_PER_MS)  /* silence after which the driver listens */
#define CONSOLE_LISTEN_NS   (1 * CLOCK_NS_PER_S)    /* after DRIVER_OK it does in any case */
#define CONSOLE_EMERG_MAX   256   /* emergency characters kept while the stream is full */

struct console {
	struct virtio_device base;
	struct loop_timer again; /* the rest of a turn that used up its budget */
	struct loop_timer listen; /* runs while input is held */
	uint64_t listen_by_ns;
	bool listening;          /* input is passed on */
	bool tx_busy;            /* tx holds a buffer whose bytes are not all written */
	struct virtq_chain tx;
	struct virtq_chain rx;
	bool sized; /* a sink has said how large it is */
	uint16_t cols, rows;
	uint32_t emerg_len;
	uint8_t emerg[CONSOLE_EMERG_MAX];
	struct stream stream; /* attach sinks here */
};

void console_init(struct console *c, struct loop *loop, const struct gmem *mem);
void console_finish(struct console *c); /* accepts zeroed memory; the device has been reset */

/* Publishes the size and tells the driver, if it changed. Initially 80 x 24. */
void console_set_size(struct console *c, uint16_t cols, uint16_t rows);

/* Serves the transmit queue without waiting for a kick, as far as the sinks have room: for the last
 * words of a guest that has powered off. */
void console_flush(struct console *c);

#endif
