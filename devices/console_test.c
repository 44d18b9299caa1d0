/* SPDX-License-Identifier: MIT */
/* virtio-console: nothing lost in either direction, nothing spins, a reset forgets. */
#include "devices/console.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "devices/fake_virtio.h"
#include "vmm/clock.h"

enum { RX, TX };

struct sink {
	struct stream_sink base;
	size_t room, len;
	unsigned input_ready;
	bool open;
	uint8_t buf[1 << 20];
};

static struct loop loop;
static struct console c;
static struct sink sink;
static unsigned lines_logged;
static uint8_t in[65536];

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
	lines_logged++;
}

static size_t sink_room(struct stream_sink *k)
{
	(void)k;
	return sink.room;
}

static void sink_write(struct stream_sink *k, const uint8_t *buf, size_t len)
{
	(void)k;
	assert_true(len <= sink.room && sink.len + len <= sizeof(sink.buf));
	sink.room -= len;
	memcpy(sink.buf + sink.len, buf, len);
	sink.len += len;
}

static void sink_input_ready(struct stream_sink *k)
{
	(void)k;
	sink.input_ready++;
}

static void sink_open_changed(struct stream_sink *k)
{
	sink.open = k->stream->open;
}

static const struct stream_sink_ops sink_ops = {
	.room = sink_room,
	.write = sink_write,
	.input_ready = sink_input_ready,
	.open_changed = sink_open_changed,
};

static int setup(void **state)
{
	(void)state;
	lines_logged = 0;
	memset(&sink, 0, sizeof(sink));
	memset(in, 0, sizeof(in));
	sink.room = sizeof(sink.buf);
	fake_forget();
	log_set_hook(on_log);
	assert_int_equal(loop_init(&loop), 0);
	console_init(&c, &loop, NULL);
	stream_attach(&c.stream, &sink.base, &sink_ops);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_reset(&c.base);
	stream_detach(&sink.base);
	console_finish(&c);
	console_finish(&c);
	loop_finish(&loop);
	log_set_hook(NULL);
	return 0;
}

static void kick(unsigned q)
{
	c.base.ops->kick(&c.base, q);
}

static void serve(void)
{
	for (int i = 0; i < 4; i++) {
		loop_run_once(&loop, 2);
	}
}

static struct fake_chain *say(const char *text)
{
	return fake_add(TX, text, strlen(text), NULL, 0);
}

static void start(void)
{
	fake_start(&c.base);
	c.listening = true;
	serve();
}

static size_t type(const char *text)
{
	return stream_input(&sink.base, (const uint8_t *)text, strlen(text));
}

static void emergency(uint32_t off, uint8_t byte, uint32_t len)
{
	uint8_t v[8] = {byte};

	c.base.ops->config_write(&c.base, off, v, len);
}

/* Time stands still but for this. */
static void at(uint64_t ms)
{
	clock_set_test_ns(ms * CLOCK_NS_PER_MS);
	serve();
}

static void test_console_input_waits_for_silence_after_the_first_output(void **state)
{
	(void)state;
	at(1000);
	fake_start(&c.base);
	fake_add(RX, NULL, 0, in, sizeof(in));
	kick(RX);
	serve();
	assert_int_equal(type("early"), 0);
	at(1100);
	say("Linux");
	kick(TX);
	assert_int_equal(type("early"), 0);
	at(1115);
	say(" version");
	kick(TX);
	at(1130);
	assert_int_equal(type("early"), 0);
	sink.input_ready = 0;
	stream_resize(&sink.base, 80, 24);
	assert_int_equal(fake_config_changes, 0);
	at(1136);
	assert_int_equal(sink.input_ready, 1);
	assert_int_equal(fake_config_changes, 1);
	assert_int_equal(type("early"), 5);
	assert_memory_equal(in, "early", 5);
	clock_set_test_ns(0);
}

static void test_console_input_waits_at_most_a_second(void **state)
{
	(void)state;
	at(1000);
	fake_start(&c.base);
	fake_add(RX, NULL, 0, in, sizeof(in));
	for (uint64_t ms = 1000; ms < 2000; ms += 10) {
		say("x");
		kick(TX);
		at(ms);
		assert_int_equal(type("k"), 0);
	}
	at(2000);
	assert_int_equal(type("k"), 1);
	fake_reset(&c.base);
	fake_start(&c.base);
	fake_add(RX, NULL, 0, in, sizeof(in));
	assert_int_equal(type("k"), 0);
	clock_set_test_ns(0);
}

static void test_console_config_before_the_driver(void **state)
{
	static const uint8_t want[12] = {80, 0, 24, 0, 1};

	(void)state;
	assert_memory_equal(fake_config, want, sizeof(want));
	console_set_size(&c, 0x1234, 0x56);
	assert_memory_equal(fake_config, "\x34\x12\x56\x00", 4);
	assert_int_equal(fake_config_changes, 0);
}

static void test_console_size_change_is_told_to_a_running_driver(void **state)
{
	(void)state;
	start();
	stream_resize(&sink.base, 132, 43);
	assert_memory_equal(fake_config, "\x84\x00\x2b\x00", 4);
	assert_int_equal(fake_config_changes, 1);
	stream_resize(&sink.base, 132, 43);
	assert_int_equal(fake_config_changes, 1);
}

static void test_console_output_arrives_and_opens_the_stream(void **state)
{
	(void)state;
	start();
	kick(TX);
	assert_false(sink.open);
	say("hello ");
	say("world");
	kick(TX);
	assert_true(sink.open);
	assert_int_equal(sink.len, 11);
	assert_memory_equal(sink.buf, "hello world", 11);
	assert_int_equal(fake_queue[TX].npushed, 2);
	assert_int_equal(fake_queue[TX].chain[0].written, 0);
}

static void test_console_full_stream_keeps_the_buffer_until_there_is_room(void **state)
{
	struct fake_chain *first, *second;

	(void)state;
	start();
	sink.room = 3;
	first = say("hello");
	second = say("!");
	kick(TX);
	kick(TX);
	assert_int_equal(sink.len, 3);
	assert_false(first->pushed);
	sink.room = 100;
	stream_sink_ready(&sink.base);
	assert_true(first->pushed && second->pushed);
	assert_memory_equal(sink.buf, "hello!", 6);
}

static void test_console_large_output_comes_in_turns_and_in_order(void **state)
{
	static uint8_t big[5 * CONSOLE_TURN_BYTES / 2];

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++) {
		big[i] = (uint8_t)(i * 7 >> 3);
	}
	start();
	fake_add(TX, big, sizeof(big), NULL, 0);
	kick(TX);
	assert_int_equal(sink.len, CONSOLE_TURN_BYTES);
	kick(TX);
	assert_int_equal(sink.len, CONSOLE_TURN_BYTES);
	serve();
	assert_int_equal(sink.len, sizeof(big));
	assert_memory_equal(sink.buf, big, sizeof(big));
	assert_int_equal(c.again.deadline_ns, 0);
}

static void test_console_flood_of_empty_buffers_is_answered_in_turns(void **state)
{
	(void)state;
	start();
	for (unsigned i = 0; i < 3 * CONSOLE_TURN_CHAINS; i++) {
		fake_add(TX, NULL, 0, NULL, 0);
	}
	kick(TX);
	assert_int_equal(fake_queue[TX].npushed, CONSOLE_TURN_CHAINS);
	serve();
	assert_int_equal(fake_queue[TX].npushed, 3 * CONSOLE_TURN_CHAINS);
	assert_false(sink.open);
	assert_true(lines_logged > 0 && lines_logged < 20);
}

static void test_console_input_waits_for_buffers(void **state)
{
	struct fake_chain *a, *b;

	(void)state;
	assert_int_equal(type("early"), 0);
	start();
	assert_int_equal(type("early"), 0);
	sink.input_ready = 0;
	a = fake_add(RX, NULL, 0, in, 3);
	kick(RX);
	assert_int_equal(sink.input_ready, 1);
	assert_int_equal(type("hello"), 3);
	assert_int_equal(a->written, 3);
	b = fake_add(RX, NULL, 0, in + 3, 100);
	kick(RX);
	assert_int_equal(type("lo"), 2);
	assert_int_equal(b->written, 2);
	assert_memory_equal(in, "hello", 5);
	fake_add(RX, NULL, 0, in, 2);
	fake_add(RX, NULL, 0, in + 2, 100);
	assert_int_equal(type("split"), 5);
	assert_memory_equal(in, "split", 5);
}

static void test_console_buffers_made_before_driver_ok_are_found(void **state)
{
	(void)state;
	fake_add(RX, NULL, 0, in, 8);
	say("early");
	start();
	assert_int_equal(sink.len, 5);
	assert_int_equal(sink.input_ready, 1);
	assert_int_equal(type("x"), 1);
}

static void test_console_receive_buffers_without_room_are_answered_in_turns(void **state)
{
	(void)state;
	start();
	for (unsigned i = 0; i < 2 * CONSOLE_TURN_CHAINS; i++) {
		fake_add(RX, NULL, 0, NULL, 0);
	}
	fake_add(RX, NULL, 0, in, 8);
	sink.input_ready = 0;
	assert_int_equal(type("k"), 0);
	assert_int_equal(fake_queue[RX].npushed, CONSOLE_TURN_CHAINS);
	serve();
	assert_int_equal(sink.input_ready, 1);
	assert_int_equal(type("k"), 0);
	serve();
	assert_int_equal(sink.input_ready, 2);
	assert_int_equal(type("k"), 1);
	assert_int_equal(in[0], 'k');
}

static void test_console_break_is_the_system_request_key(void **state)
{
	(void)state;
	start();
	fake_add(RX, NULL, 0, in, 8);
	assert_true(stream_send_break(&sink.base));
	assert_int_equal(in[0], 0x0f);
}

static void test_console_broken_ring_stops_only_the_device(void **state)
{
	struct fake_chain *late;

	(void)state;
	start();
	sink.room = 2;
	late = say("hello");
	kick(TX);
	fake_add(RX, NULL, 0, in, 8)->broken = true;
	assert_int_equal(type("x"), 0);
	assert_true(c.base.failed);
	sink.room = 100;
	stream_sink_ready(&sink.base);
	serve();
	assert_false(late->pushed);
	c.base.failed = false;
	fake_reset(&c.base);
	assert_false(sink.open);
	start();
	say("again");
	kick(TX);
	assert_memory_equal(sink.buf, "heagain", 7);
}

static void test_console_reset_with_a_buffer_in_work(void **state)
{
	(void)state;
	start();
	sink.room = 0;
	say("stuck");
	kick(TX);
	fake_reset(&c.base);
	fake_reset(&c.base);
	sink.room = 100;
	stream_sink_ready(&sink.base);
	serve();
	assert_int_equal(sink.len, 0);
	start();
	say("new");
	kick(TX);
	assert_memory_equal(sink.buf, "new", 3);
}

static void test_console_emergency_write_works_before_the_driver(void **state)
{
	(void)state;
	emergency(8, 'E', 4);
	emergency(8, 'F', 1);
	assert_memory_equal(sink.buf, "EF", 2);
	assert_int_equal(sink.len, 2);
}

static void test_console_emergency_output_is_kept_up_to_a_bound(void **state)
{
	(void)state;
	sink.room = 0;
	for (unsigned i = 0; i < CONSOLE_EMERG_MAX + 100; i++) {
		emergency(8, (uint8_t)('a' + i % 26), 4);
	}
	assert_true(lines_logged > 0);
	sink.room = 10;
	stream_sink_ready(&sink.base);
	sink.room = 1000;
	stream_sink_ready(&sink.base);
	assert_int_equal(sink.len, CONSOLE_EMERG_MAX);
	assert_memory_equal(sink.buf, "abcdefghijklmnopqrstuvwxyzab", 28);
}

static void test_console_other_configuration_writes_do_nothing(void **state)
{
	(void)state;
	emergency(0, 'x', 2);
	emergency(4, 'x', 4);
	emergency(9, 'x', 1);
	emergency(11, 'x', 1);
	assert_int_equal(sink.len, 0);
	assert_int_equal(lines_logged, 4);
}

static void test_console_flush_brings_the_last_words(void **state)
{
	(void)state;
	start();
	for (unsigned i = 0; i < 200; i++) {
		say("x");
	}
	console_flush(&c);
	assert_int_equal(sink.len, 200);
}

static void test_console_flush_of_a_stuck_stream_ends(void **state)
{
	(void)state;
	start();
	sink.room = 0;
	say("x");
	console_flush(&c);
	assert_int_equal(sink.len, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_console_input_waits_for_silence_after_the_first_output),
		T(test_console_input_waits_at_most_a_second),
		T(test_console_config_before_the_driver),
		T(test_console_size_change_is_told_to_a_running_driver),
		T(test_console_output_arrives_and_opens_the_stream),
		T(test_console_full_stream_keeps_the_buffer_until_there_is_room),
		T(test_console_large_output_comes_in_turns_and_in_order),
		T(test_console_flood_of_empty_buffers_is_answered_in_turns),
		T(test_console_input_waits_for_buffers),
		T(test_console_buffers_made_before_driver_ok_are_found),
		T(test_console_receive_buffers_without_room_are_answered_in_turns),
		T(test_console_break_is_the_system_request_key),
		T(test_console_broken_ring_stops_only_the_device),
		T(test_console_reset_with_a_buffer_in_work),
		T(test_console_emergency_write_works_before_the_driver),
		T(test_console_emergency_output_is_kept_up_to_a_bound),
		T(test_console_other_configuration_writes_do_nothing),
		T(test_console_flush_brings_the_last_words),
		T(test_console_flush_of_a_stuck_stream_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
