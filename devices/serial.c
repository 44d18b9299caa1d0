/* SPDX-License-Identifier: MIT */
/*
 * Registers as a 16550A driver expects them, and two buffers between them and the stream.
 *
 * The lock is never held across a call of the stream: the loop copies out, passes on, and only then
 * takes away what was accepted. It is the only one who takes from the transmit buffer.
 */
#include "devices/serial.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/log.h"

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RDI  0x01
#define IER_THRI 0x02
#define IER_RLSI 0x04
#define IER_MSI  0x08

#define IIR_NONE 0x01
#define IIR_MSI  0x00
#define IIR_THRI 0x02
#define IIR_RDI  0x04
#define IIR_RLSI 0x06
#define IIR_FIFO 0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10

#define LSR_DR   0x01
#define LSR_BI   0x10
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI  0x40
#define MSR_DCD 0x80

#define SERIAL_FIFO     16    /* what a 16550A driver writes after one "transmitter empty" */
#define SERIAL_RX_BREAK 0x100 /* a received character that is a break */
#define SERIAL_POLLS    16    /* line status reads in a row that mean: polling for input */
#define SERIAL_DRAIN_NS (2 * CLOCK_NS_PER_MS)

static uint32_t tx_held(const struct serial *s)
{
	return s->tx_head - s->tx_tail;
}

static uint32_t rx_held(const struct serial *s)
{
	return s->rx_head - s->rx_tail;
}

static bool tx_is_empty(const struct serial *s)
{
	return SERIAL_TX_MAX - tx_held(s) >= SERIAL_FIFO;
}

static uint8_t lsr(const struct serial *s)
{
	uint8_t v = tx_is_empty(s) ? LSR_THRE | LSR_TEMT : 0;

	if (rx_held(s) > 0) {
		v |= LSR_DR;
		if (s->rx[s->rx_tail % SERIAL_RX_MAX] & SERIAL_RX_BREAK) {
			v |= LSR_BI;
		}
	}
	return v;
}

/* The modem's lines: all there, or in loopback the port's own outputs. */
static uint8_t msr(const struct serial *s)
{
	uint8_t v = 0;

	if (!(s->mcr & MCR_LOOP)) {
		return MSR_CTS | MSR_DSR | MSR_DCD;
	}
	v |= s->mcr & MCR_RTS ? MSR_CTS : 0;
	v |= s->mcr & MCR_DTR ? MSR_DSR : 0;
	v |= s->mcr & MCR_OUT1 ? MSR_RI : 0;
	v |= s->mcr & MCR_OUT2 ? MSR_DCD : 0;
	return v;
}

/* The interrupt of highest priority, as IIR names it. */
static uint8_t iir(const struct serial *s)
{
	if ((s->ier & IER_RLSI) && (lsr(s) & LSR_BI)) {
		return IIR_RLSI;
	}
	if ((s->ier & IER_RDI) && rx_held(s) > 0) {
		return IIR_RDI;
	}
	if ((s->ier & IER_THRI) && s->thr_pending) {
		return IIR_THRI;
	}
	if ((s->ier & IER_MSI) && s->msr_delta) {
		return IIR_MSI;
	}
	return IIR_NONE;
}

/* An edge for every change from "nothing to say" to "something": drivers read IIR until it is
 * quiet. */
static void update_irq(struct serial *s)
{
	bool pending = iir(s) != IIR_NONE;

	if (pending && !s->pending) {
		s->irq(s->ctx);
	}
	s->pending = pending;
}

static bool listens(const struct serial *s)
{
	return (s->ier & IER_RDI) || s->lsr_polls >= SERIAL_POLLS;
}

static void wake_loop(struct serial *s)
{
	s->awake = true;
	eventfd_write(s->wake.fd, 1);
}

/* The loop waits for a reason to offer input again, and there is one. */
static void want_input(struct serial *s)
{
	if (s->input_wanted && listens(s) && rx_held(s) < SERIAL_RX_MAX / 2) {
		s->input_wanted = false;
		eventfd_write(s->wake.fd, 1);
	}
}

static void rx_push(struct serial *s, uint16_t c)
{
	s->rx[s->rx_head++ % SERIAL_RX_MAX] = c;
}

static uint8_t read_rbr(struct serial *s)
{
	uint8_t c = 0;

	if (rx_held(s) > 0) {
		c = (uint8_t)s->rx[s->rx_tail++ % SERIAL_RX_MAX];
	}
	want_input(s);
	return c;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t v = iir(s);

	if (v == IIR_THRI) {
		s->thr_pending = false;
	}
	return (uint8_t)(v | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0));
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t v = lsr(s);

	if (v & LSR_BI) {
		/* Reading the status takes the error away; the character stays. */
		s->rx[s->rx_tail % SERIAL_RX_MAX] &= 0xff;
	}
	if ((v & LSR_THRE) && s->lsr_polls < SERIAL_POLLS) {
		/* Without THRE it may be polling for room to send, and not listen at all. */
		s->lsr_polls++;
		want_input(s);
	}
	return v;
}

static uint8_t read_msr(struct serial *s)
{
	uint8_t v = (uint8_t)(msr(s) | s->msr_delta);

	s->msr_delta = 0;
	return v;
}

static uint8_t read_reg(struct serial *s, uint32_t off)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (off) {
	case RBR_THR:
		return dlab ? s->dll : read_rbr(s);
	case IER:
		return dlab ? s->dlm : s->ier;
	case IIR_FCR:
		return read_iir(s);
	case LCR:
		return s->lcr;
	case MCR:
		return s->mcr;
	case LSR:
		return read_lsr(s);
	case MSR:
		return read_msr(s);
	case SCR:
		return s->scr;
	default:
		return 0xff;
	}
}

/* Return: false when there is no room. */
static bool write_thr(struct serial *s, uint8_t c)
{
	s->lsr_polls = 0;
	if (s->mcr & MCR_LOOP) {
		if (rx_held(s) < SERIAL_RX_MAX) {
			rx_push(s, c);
		}
		s->thr_pending = true;
		return true;
	}
	if (tx_held(s) == SERIAL_TX_MAX) {
		s->refused = true;
		return false;
	}
	s->tx[s->tx_head++ % SERIAL_TX_MAX] = c;
	s->thr_pending = tx_is_empty(s);
	if (!s->awake || tx_held(s) == SERIAL_TX_MAX / 2) {
		wake_loop(s);
	}
	return true;
}

static void write_ier(struct serial *s, uint8_t v)
{
	v &= IER_RDI | IER_THRI | IER_RLSI | IER_MSI;
	/* Linux tests for this: enabling the interrupt while the transmitter is empty raises it. */
	if ((v & IER_THRI) && !(s->ier & IER_THRI)) {
		s->thr_pending = tx_is_empty(s);
	}
	s->ier = v;
	s->lsr_polls = 0;
	want_input(s);
}

static void write_mcr(struct serial *s, uint8_t v)
{
	uint8_t before = msr(s), changed;

	s->mcr = v & 0x1f;
	changed = before ^ msr(s);
	s->msr_delta |= (uint8_t)((changed & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4);
	if ((before & MSR_RI) && (changed & MSR_RI)) {
		s->msr_delta |= MSR_RI >> 4; /* only its trailing edge counts */
	}
}

static void write_fcr(struct serial *s, uint8_t v)
{
	s->fcr = v & 0xc9;
	if (v & FCR_CLEAR_RX) {
		s->rx_tail = s->rx_head;
		want_input(s);
	}
	/* What was transmitted is on the line already: FCR_CLEAR_TX has nothing to clear. */
}

/* Return: false when there is no room; that is only so at offset 0. */
static bool write_reg(struct serial *s, uint32_t off, uint8_t v)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (off) {
	case RBR_THR:
		if (!dlab) {
			return write_thr(s, v);
		}
		s->dll = v;
		break;
	case IER:
		if (dlab) {
			s->dlm = v;
		} else {
			write_ier(s, v);
		}
		break;
	case IIR_FCR:
		write_fcr(s, v);
		break;
	case LCR:
		s->lcr = v;
		break;
	case MCR:
		write_mcr(s, v);
		break;
	case SCR:
		s->scr = v;
		break;
	default:
		break; /* LSR and MSR are read-only */
	}
	return true;
}

uint32_t serial_in(struct serial *s, uint32_t off, uint32_t len)
{
	uint32_t v = 0;

	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < len && i < 4; i++) {
		v |= (uint32_t)read_reg(s, off + i) << 8 * i;
	}
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
	return v;
}

bool serial_out(struct serial *s, uint32_t off, uint32_t val, uint32_t len)
{
	bool done = true;

	pthread_mutex_lock(&s->lock);
	/* Only the first of several bytes can be refused. */
	for (uint32_t i = 0; i < len && i < 4 && done; i++) {
		done = write_reg(s, off + i, (uint8_t)(val >> 8 * i));
	}
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
	return done;
}

/* Takes @n passed-on bytes away; whoever was refused tries again. */
static void tx_done(struct serial *s, uint32_t n)
{
	bool was_empty, refused;

	pthread_mutex_lock(&s->lock);
	was_empty = tx_is_empty(s);
	s->tx_tail += n;
	if (!was_empty && tx_is_empty(s)) {
		s->thr_pending = true;
		update_irq(s);
	}
	refused = s->refused;
	s->refused = false;
	pthread_mutex_unlock(&s->lock);
	if (refused) {
		s->room(s->ctx);
	}
}

/* Return: false when the stream did not take everything. */
static bool pass_on(struct serial *s)
{
	uint8_t buf[SERIAL_TX_MAX];
	uint32_t n, at, first;
	size_t taken;

	pthread_mutex_lock(&s->lock);
	n = tx_held(s);
	at = s->tx_tail % SERIAL_TX_MAX;
	first = n < SERIAL_TX_MAX - at ? n : SERIAL_TX_MAX - at;
	memcpy(buf, s->tx + at, first);
	memcpy(buf + first, s->tx, n - first);
	pthread_mutex_unlock(&s->lock);
	if (n == 0) {
		return true;
	}
	taken = stream_write(&s->stream, buf, n);
	if (taken > 0) {
		tx_done(s, (uint32_t)taken);
	}
	return taken == n;
}

/*
 * While output goes on, a timer empties the buffer every 2 ms and vCPUs need not wake the loop for
 * every byte; the first byte after a pause goes out at once. A stuck stream calls back by itself.
 */
static void drain(struct serial *s)
{
	bool idle;

	pthread_mutex_lock(&s->lock);
	idle = tx_held(s) == 0;
	s->awake = !idle;
	pthread_mutex_unlock(&s->lock);
	if (!idle && pass_on(s)) {
		loop_timer_set(&s->drain, clock_now_ns() + SERIAL_DRAIN_NS);
	}
}

static void on_drain(struct loop_timer *timer)
{
	drain((struct serial *)((char *)timer - offsetof(struct serial, drain)));
}

static void on_wake(struct loop_source *src, uint32_t events)
{
	struct serial *s = (struct serial *)((char *)src - offsetof(struct serial, wake));
	bool offer;
	eventfd_t n;

	(void)events;
	eventfd_read(src->fd, &n);
	drain(s);
	pthread_mutex_lock(&s->lock);
	offer = listens(s) && rx_held(s) < SERIAL_RX_MAX;
	pthread_mutex_unlock(&s->lock);
	if (offer) {
		stream_input_ready(&s->stream);
	}
}

static struct serial *serial_from(struct stream *stream)
{
	return (struct serial *)((char *)stream - offsetof(struct serial, stream));
}

static void on_output_ready(struct stream *stream)
{
	drain(serial_from(stream));
}

static size_t on_input(struct stream *stream, const uint8_t *buf, size_t len)
{
	struct serial *s = serial_from(stream);
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	if (listens(s)) {
		while (n < len && rx_held(s) < SERIAL_RX_MAX) {
			rx_push(s, buf[n++]);
		}
		update_irq(s);
	}
	s->input_wanted = n < len;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void on_break(struct stream *stream)
{
	struct serial *s = serial_from(stream);

	pthread_mutex_lock(&s->lock);
	if (rx_held(s) < SERIAL_RX_MAX) {
		rx_push(s, SERIAL_RX_BREAK);
		update_irq(s);
	}
	pthread_mutex_unlock(&s->lock);
}

static const struct stream_ops serial_stream_ops = {
	.output_ready = on_output_ready,
	.input = on_input,
	.send_break = on_break,
};

int serial_init(struct serial *s, struct loop *loop, void (*irq)(void *ctx), void (*room)(void *ctx), void *ctx)
{
	int r;

	*s = (struct serial){.irq = irq, .room = room, .ctx = ctx, .dll = 1};
	stream_init(&s->stream, "serial", &serial_stream_ops);
	s->stream.open = true;
	loop_timer_init(&s->drain, loop, on_drain);
	s->wake = (struct loop_source){
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = EPOLLIN, .fn = on_wake};
	if (s->wake.fd < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "serial port: eventfd");
		return r;
	}
	r = loop_add(loop, &s->wake);
	if (r < 0) {
		close(s->wake.fd);
		s->wake.fd = -1;
		return r;
	}
	pthread_mutex_init(&s->lock, NULL);
	return 0;
}

void serial_finish(struct serial *s)
{
	if (!s->wake.loop) {
		return;
	}
	loop_timer_stop(&s->drain);
	loop_remove(&s->wake);
	close(s->wake.fd);
	pthread_mutex_destroy(&s->lock);
	*s = (struct serial){.wake.fd = -1};
}

void serial_flush(struct serial *s)
{
	pass_on(s);
}
