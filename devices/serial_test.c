/* SPDX-License-Identifier: MIT */
/*
 * The serial port as drivers use it: detection, interrupts, polling; and the two buffers: nothing
 * is lost, nothing blocks for ever.
 */
#include "devices/serial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

static struct loop loop;
static struct serial s;
static unsigned irqs, rooms;

struct sink {
	struct stream_sink base;
	size_t room, len;
	unsigned input_ready;
	uint8_t buf[65536];
};

static struct sink sink;

static void count_irq(void *ctx)
{
	(void)ctx;
	__atomic_add_fetch(&irqs, 1, __ATOMIC_RELAXED);
}

static void count_room(void *ctx)
{
	(void)ctx;
	__atomic_add_fetch(&rooms, 1, __ATOMIC_RELEASE);
}

static size_t sink_room(struct stream_sink *k)
{
	(void)k;
	return sink.room;
}

static void sink_write(struct stream_sink *k, const uint8_t *buf, size_t len)
{
	(void)k;
	assert_true(len <= sink.room);
	sink.room -= len;
	memcpy(sink.buf + sink.len, buf, len);
	sink.len += len;
}

static void sink_input_ready(struct stream_sink *k)
{
	(void)k;
	sink.input_ready++;
}

static const struct stream_sink_ops sink_ops = {
	.room = sink_room, .write = sink_write, .input_ready = sink_input_ready};

static int setup(void **state)
{
	(void)state;
	irqs = rooms = 0;
	sink = (struct sink){.room = sizeof(sink.buf)};
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(serial_init(&s, &loop, count_irq, count_room, NULL), 0);
	stream_attach(&s.stream, &sink.base, &sink_ops);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stream_detach(&sink.base);
	serial_finish(&s);
	serial_finish(&s);
	loop_finish(&loop);
	return 0;
}

static uint8_t in(uint32_t off)
{
	return (uint8_t)serial_in(&s, off, 1);
}

static void out(uint32_t off, uint8_t v)
{
	serial_out(&s, off, v, 1);
}

static void serve(unsigned turns)
{
	for (unsigned i = 0; i < turns; i++) {
		loop_run_once(&loop, 5);
	}
}

static size_t type(const char *text)
{
	return stream_input(&sink.base, (const uint8_t *)text, strlen(text));
}

static void test_serial_is_ready_to_send_from_the_first_read(void **state)
{
	(void)state;
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(IIR), 0x01);
	assert_int_equal(in(MSR), 0xb0);
}

/* The steps Linux's 8250 driver takes to find out what the port is. */
static void test_serial_is_detected_as_16550a(void **state)
{
	(void)state;
	out(IER, 0);
	assert_int_equal(in(IER)&0x0f, 0);
	out(IER, 0x0f);
	assert_int_equal(in(IER)&0x0f, 0x0f);
	out(IER, 0);
	out(MCR, 0x10 | 0x0a);
	assert_int_equal(in(MSR)&0xf0, 0x90);
	out(MCR, 0);
	out(LCR, 0xbf);
	out(FCR, 0);
	out(LCR, 0);
	out(FCR, 0x01);
	assert_int_equal(in(IIR) >> 6, 3);
	out(LCR, 0x80);
	assert_int_not_equal(in(IIR), 0); /* no enhanced feature register */
	out(FCR, 0x21);
	assert_int_equal(in(IIR) >> 5, 6); /* not a 16750 */
	out(LCR, 0);
	out(IER, 0x40);
	assert_int_equal(in(IER)&0x40, 0); /* not an XScale */
	out(SCR, 0xa5);
	assert_int_equal(in(SCR), 0xa5);
}

static void test_serial_divisor_latch_hides_data_and_ier(void **state)
{
	(void)state;
	out(IER, 0x05);
	out(LCR, 0x83);
	out(DATA, 0x0c);
	out(IER, 0x01);
	assert_int_equal(in(DATA), 0x0c);
	assert_int_equal(in(IER), 0x01);
	out(LCR, 0x03);
	assert_int_equal(in(IER), 0x05);
	serial_flush(&s);
	assert_int_equal(sink.len, 0);
}

static void test_serial_first_byte_goes_out_at_once(void **state)
{
	(void)state;
	out(DATA, 'A');
	loop_run_once(&loop, 0);
	assert_int_equal(sink.len, 1);
	for (int i = 0; i < 100; i++) {
		out(DATA, 'b');
	}
	serve(3);
	assert_int_equal(sink.len, 101);
	assert_memory_equal(sink.buf, "Abbb", 4);
}

static void test_serial_falls_idle_after_output(void **state)
{
	(void)state;
	out(DATA, 'A');
	serve(4);
	assert_int_equal(s.drain.deadline_ns, 0);
	out(DATA, 'B');
	loop_run_once(&loop, 0);
	assert_int_equal(sink.len, 2);
}

static void test_serial_thri_is_raised_cleared_and_raised_again(void **state)
{
	(void)state;
	out(IER, 0x02);
	assert_int_equal(irqs, 1);
	assert_int_equal(in(IIR)&0x0f, 0x02);
	assert_int_equal(in(IIR)&0x0f, 0x01);
	out(IER, 0);
	out(IER, 0x02);
	assert_int_equal(irqs, 2);
	assert_int_equal(in(IIR)&0x0f, 0x02);
	out(DATA, 'x');
	assert_int_equal(irqs, 3);
	assert_int_equal(in(IIR)&0x0f, 0x02);
}

static void test_serial_loopback_comes_back(void **state)
{
	(void)state;
	out(MCR, 0x10);
	out(IER, 0x01);
	out(DATA, 'L');
	assert_int_equal(in(LSR)&1, 1);
	assert_int_equal(in(IIR)&0x0f, 0x04);
	assert_int_equal(in(DATA), 'L');
	assert_int_equal(in(LSR)&1, 0);
	serial_flush(&s);
	assert_int_equal(sink.len, 0);
}

static void test_serial_loopback_overrun_is_bounded(void **state)
{
	unsigned n = 0;

	(void)state;
	out(MCR, 0x10);
	for (int i = 0; i < 10000; i++) {
		out(DATA, 'L');
	}
	while (in(LSR)&1) {
		in(DATA);
		n++;
	}
	assert_int_equal(n, SERIAL_RX_MAX);
}

static void test_serial_modem_status_change_interrupts(void **state)
{
	(void)state;
	out(IER, 0x08);
	out(MCR, 0x10);
	assert_int_equal(irqs, 1);
	assert_int_equal(in(IIR)&0x0f, 0x00);
	assert_int_equal(in(MSR), 0x0b);
	assert_int_equal(in(MSR), 0x00);
	assert_int_equal(in(IIR)&0x0f, 0x01);
}

static void test_serial_input_waits_until_the_guest_listens(void **state)
{
	(void)state;
	assert_int_equal(type("early"), 0);
	out(FCR, 0x07);
	in(LSR);
	in(DATA);
	serve(1);
	assert_int_equal(sink.input_ready, 0);
	out(IER, 0x01);
	serve(1);
	assert_int_equal(sink.input_ready, 1);
	assert_int_equal(type("early"), 5);
	assert_int_equal(irqs, 1);
	assert_int_equal(in(IIR)&0x0f, 0x04);
	assert_int_equal(in(DATA), 'e');
	assert_int_equal(in(LSR), 0x61);
}

static void test_serial_polling_guest_listens(void **state)
{
	(void)state;
	assert_int_equal(type("q"), 0);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(in(LSR)&1, 0);
	}
	serve(1);
	assert_int_equal(sink.input_ready, 1);
	assert_int_equal(type("q"), 1);
	assert_int_equal(in(LSR)&1, 1);
	assert_int_equal(in(DATA), 'q');
}

static void test_serial_full_receive_buffer_refuses_and_calls_back(void **state)
{
	uint8_t text[SERIAL_RX_MAX + 10];

	(void)state;
	for (unsigned i = 0; i < sizeof(text); i++) {
		text[i] = (uint8_t)i;
	}
	out(IER, 0x01);
	assert_int_equal(stream_input(&sink.base, text, sizeof(text)), SERIAL_RX_MAX);
	assert_int_equal(stream_input(&sink.base, text, 1), 0);
	for (unsigned i = 0; i < SERIAL_RX_MAX; i++) {
		assert_int_equal(in(DATA), text[i]);
	}
	serve(1);
	assert_int_equal(sink.input_ready, 1);
}

static void test_serial_break_is_a_flagged_zero(void **state)
{
	(void)state;
	out(IER, 0x05);
	assert_true(stream_send_break(&sink.base));
	assert_int_equal(in(IIR)&0x0f, 0x06);
	assert_int_equal(in(LSR), 0x71);
	assert_int_equal(in(LSR), 0x61);
	assert_int_equal(in(DATA), 0);
	assert_int_equal(in(LSR), 0x60);
}

static void test_serial_stuck_output_stops_the_transmitter_not_the_guest(void **state)
{
	(void)state;
	sink.room = 0;
	out(IER, 0x02);
	in(IIR);
	while (in(LSR)&0x20) {
		out(DATA, 'x');
		in(IIR);
	}
	assert_int_equal(in(LSR)&0x60, 0);
	serve(1);
	irqs = 0;
	sink.room = sizeof(sink.buf);
	stream_sink_ready(&sink.base);
	assert_int_equal(irqs, 1);
	assert_int_equal(in(IIR)&0x0f, 0x02);
	assert_int_equal(in(LSR)&0x60, 0x60);
	serve(2);
	assert_true(sink.len > SERIAL_TX_MAX - 32);
}

static bool writer_done;

static void *write_much(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 3 * SERIAL_TX_MAX; i++) {
		unsigned before;

		/* As a vCPU does: offered again when there is room. */
		do {
			before = __atomic_load_n(&rooms, __ATOMIC_ACQUIRE);
			if (serial_out(&s, DATA, i % 251, 1)) {
				break;
			}
			while (before == __atomic_load_n(&rooms, __ATOMIC_ACQUIRE)) {
				usleep(100);
			}
		} while (true);
	}
	__atomic_store_n(&writer_done, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_writer_done(void)
{
	return __atomic_load_n(&writer_done, __ATOMIC_ACQUIRE);
}

static void test_serial_writer_waits_for_room_and_loses_nothing(void **state)
{
	pthread_t writer;

	(void)state;
	sink.room = 0;
	writer_done = false;
	pthread_create(&writer, NULL, write_much, NULL);
	serve(10);
	assert_false(is_writer_done());
	while (!is_writer_done()) {
		sink.room = 100;
		stream_sink_ready(&sink.base);
		loop_run_once(&loop, 1);
	}
	pthread_join(writer, NULL);
	sink.room = sizeof(sink.buf);
	serial_flush(&s);
	assert_int_equal(sink.len, 3 * SERIAL_TX_MAX);
	for (unsigned i = 0; i < sink.len; i++) {
		assert_int_equal(sink.buf[i], i % 251);
	}
}

static void test_serial_refuses_what_finds_no_room(void **state)
{
	unsigned n = 0;

	(void)state;
	sink.room = 0;
	while (serial_out(&s, DATA, 'x', 1)) {
		n++;
	}
	assert_int_equal(n, SERIAL_TX_MAX);
	/* Of several bytes the others wait too: nothing is done. */
	assert_false(serial_out(&s, DATA, 0x00000f78, 4));
	assert_int_equal(in(IER), 0);
	/* Everything else goes on. */
	assert_true(serial_out(&s, SCR, 0xa5, 1));
	assert_int_equal(in(SCR), 0xa5);
	serve(3);
	assert_int_equal(rooms, 0);

	sink.room = 1;
	stream_sink_ready(&sink.base);
	assert_int_equal(rooms, 1);
	assert_true(serial_out(&s, DATA, 'y', 1));
	sink.room = sizeof(sink.buf);
	stream_sink_ready(&sink.base);
	serve(3);
	/* Nobody was refused since. */
	assert_int_equal(rooms, 1);
	assert_int_equal(sink.len, SERIAL_TX_MAX + 1);
	assert_int_equal(sink.buf[SERIAL_TX_MAX], 'y');
}

static void test_serial_wide_accesses_are_neighbouring_bytes(void **state)
{
	(void)state;
	assert_int_equal(serial_in(&s, LSR, 2), 0xb060);
	assert_int_equal(serial_in(&s, SCR, 4), 0xffffff00);
	serial_out(&s, SCR, 0x12345678, 4);
	assert_int_equal(in(SCR), 0x78);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_serial_is_ready_to_send_from_the_first_read),
		T(test_serial_is_detected_as_16550a),
		T(test_serial_divisor_latch_hides_data_and_ier),
		T(test_serial_first_byte_goes_out_at_once),
		T(test_serial_falls_idle_after_output),
		T(test_serial_thri_is_raised_cleared_and_raised_again),
		T(test_serial_loopback_comes_back),
		T(test_serial_loopback_overrun_is_bounded),
		T(test_serial_modem_status_change_interrupts),
		T(test_serial_input_waits_until_the_guest_listens),
		T(test_serial_polling_guest_listens),
		T(test_serial_full_receive_buffer_refuses_and_calls_back),
		T(test_serial_break_is_a_flagged_zero),
		T(test_serial_stuck_output_stops_the_transmitter_not_the_guest),
		T(test_serial_writer_waits_for_room_and_loses_nothing),
		T(test_serial_refuses_what_finds_no_room),
		T(test_serial_wide_accesses_are_neighbouring_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
