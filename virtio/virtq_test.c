/* SPDX-License-Identifier: MIT */
/* The queue through its own functions: cursors, order, wrap-around, who is told when. Broken rings are the hostile table's. */
#include "virtio/virtq.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/baredev.h"
#include "tests/support/testdrv.h"

static struct tdrv d;
static struct baredev bare;
static struct virtq *vq;
static struct virtq_chain c, c2;

static void start(uint64_t without)
{
	tdrv_init(&d);
	baredev_init(&bare, &d.loop, &d.mem);
	tdrv_attach(&d, &bare.base);
	tdrv_start_without(&d, without);
	vq = &bare.base.vq[0];
}

static int set_up(void **state)
{
	(void)state;
	start(0);
	return 0;
}

static int set_up_plain(void **state)
{
	(void)state;
	start(VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tdrv_finish(&d);
	return 0;
}

/* A buffer in guest memory that starts with @text. */
static uint64_t text_at(const char *text)
{
	uint64_t gpa = tdrv_alloc(&d, strlen(text) + 1, 1);

	memcpy(tdrv_ptr(&d, gpa, strlen(text)), text, strlen(text));
	return gpa;
}

/* Readable "abc", "defgh", then writable 2, 0, 5 bytes. Return: where the 2 and the 5 are. */
static void offer_three_and_three(uint64_t *two, uint64_t *five)
{
	*two = tdrv_alloc(&d, 2, 1);
	*five = tdrv_alloc(&d, 5, 1);
	tdrv_desc(&d, d.q[0].desc, 0, text_at("abc"), 3, TDRV_NEXT, 3);
	tdrv_desc(&d, d.q[0].desc, 3, text_at("defgh"), 5, TDRV_NEXT, 1);
	tdrv_desc(&d, d.q[0].desc, 1, *two, 2, TDRV_NEXT | TDRV_WRITE, 2);
	tdrv_desc(&d, d.q[0].desc, 2, 0, 0, TDRV_NEXT | TDRV_WRITE, 4);
	tdrv_desc(&d, d.q[0].desc, 4, *five, 5, TDRV_WRITE, 0);
	tdrv_offer(&d, 0, 0);
}

static void test_virtq_pop_describes_the_chain(void **state)
{
	uint64_t two, five;

	(void)state;
	assert_int_equal(virtq_pop(vq, &c), 0);
	offer_three_and_three(&two, &five);
	assert_int_equal(virtq_pending(vq), 1);
	assert_int_equal(virtq_pop(vq, &c), 1);
	assert_int_equal(c.head, 0);
	assert_int_equal(c.nreadable, 2);
	assert_int_equal(c.nwritable, 2);
	assert_int_equal(c.readable_len, 8);
	assert_int_equal(c.writable_len, 7);
	assert_int_equal(virtq_pending(vq), 0);
	assert_int_equal(virtq_pop(vq, &c2), 0);
}

static void test_virtq_cursors_cross_segments_and_stop_at_the_end(void **state)
{
	uint64_t two, five;
	char buf[16] = "";

	(void)state;
	offer_three_and_three(&two, &five);
	assert_int_equal(virtq_pop(vq, &c), 1);
	assert_int_equal(virtq_get(&c, buf, 2), 2);
	assert_int_equal(virtq_get_left(&c), 6);
	assert_int_equal(virtq_get(&c, buf + 2, 3), 3);
	assert_int_equal(virtq_get_left(&c), 3);
	assert_int_equal(virtq_get(&c, buf + 5, 10), 3);
	assert_string_equal(buf, "abcdefgh");
	assert_int_equal(virtq_get(&c, buf, 1), 0);
	assert_int_equal(virtq_get_left(&c), 0);

	assert_int_equal(virtq_put(&c, "1", 1), 1);
	assert_int_equal(virtq_put_left(&c), 6);
	assert_int_equal(virtq_put(&c, "234", 3), 3);
	assert_int_equal(c.written, 4);
	assert_int_equal(virtq_put(&c, "567890", 6), 3);
	assert_int_equal(virtq_put(&c, "x", 1), 0);
	assert_int_equal(c.written, 7);
	assert_memory_equal(tdrv_ptr(&d, two, 2), "12", 2);
	assert_memory_equal(tdrv_ptr(&d, five, 5), "34567", 5);
}

static void test_virtq_iov_gives_the_rest(void **state)
{
	struct iovec iov[4];
	uint64_t two, five;
	char buf[8];

	(void)state;
	offer_three_and_three(&two, &five);
	assert_int_equal(virtq_pop(vq, &c), 1);
	assert_int_equal(virtq_get(&c, buf, 1), 1);
	assert_int_equal(virtq_readable_iov(&c, iov, 4), 2);
	assert_int_equal(iov[0].iov_len, 2);
	assert_memory_equal(iov[0].iov_base, "bc", 2);
	assert_int_equal(iov[1].iov_len, 5);
	assert_int_equal(virtq_readable_iov(&c, iov, 1), 1);
	assert_int_equal(virtq_get(&c, buf, 7), 7);
	assert_int_equal(virtq_readable_iov(&c, iov, 4), 0);

	virtq_put_done(&c, 3);
	assert_int_equal(c.written, 3);
	assert_int_equal(virtq_writable_iov(&c, iov, 4), 1);
	assert_int_equal(iov[0].iov_len, 4);
	assert_ptr_equal(iov[0].iov_base, (uint8_t *)tdrv_ptr(&d, five, 5) + 1);
}

static void test_virtq_indirect_table_longer_than_the_queue(void **state)
{
	uint64_t table = tdrv_alloc(&d, 16 * VIRTQ_SIZE_MAX, 16), buf = tdrv_alloc(&d, VIRTQ_SIZE_MAX, 1);

	(void)state;
	for (unsigned i = 0; i < VIRTQ_SIZE_MAX; i++) {
		tdrv_desc(&d, table, i, buf + i, 1, TDRV_WRITE | (i + 1 < VIRTQ_SIZE_MAX ? TDRV_NEXT : 0), (uint16_t)(i + 1));
	}
	tdrv_desc(&d, d.q[0].desc, 5, table, 16 * VIRTQ_SIZE_MAX, TDRV_INDIRECT, 0);
	tdrv_offer(&d, 0, 5);
	assert_int_equal(virtq_pop(vq, &c), 1);
	assert_int_equal(c.head, 5);
	assert_int_equal(c.nwritable, VIRTQ_SIZE_MAX);
	assert_int_equal(c.writable_len, VIRTQ_SIZE_MAX);
}

/* The copy counts: what the driver changes after the pop is not seen. */
static void test_virtq_chain_is_a_copy(void **state)
{
	uint64_t buf = text_at("same");
	char got[4];

	(void)state;
	tdrv_add(&d, 0, buf, 4, 0, 0);
	assert_int_equal(virtq_pop(vq, &c), 1);
	tdrv_desc(&d, d.q[0].desc, 0, ~0ull, ~0u, 0xffff, 0xffff);
	assert_int_equal(virtq_get(&c, got, 4), 4);
	assert_memory_equal(got, "same", 4);
}

static void test_virtq_completions_in_any_order(void **state)
{
	uint64_t buf = tdrv_alloc(&d, 8, 1);
	uint16_t first = tdrv_add(&d, 0, 0, 0, buf, 4), second = tdrv_add(&d, 0, 0, 0, buf + 4, 4);
	uint32_t head, len;

	(void)state;
	assert_int_equal(virtq_pop(vq, &c), 1);
	assert_int_equal(virtq_pop(vq, &c2), 1);
	virtq_put(&c2, "22", 2);
	virtq_push(vq, &c2);
	virtq_push(vq, &c);
	assert_true(tdrv_used(&d, 0, &head, &len));
	assert_int_equal(head, second);
	assert_int_equal(len, 2);
	assert_true(tdrv_used(&d, 0, &head, &len));
	assert_int_equal(head, first);
	assert_int_equal(len, 0);
	assert_false(tdrv_used(&d, 0, &head, &len));
}

static void test_virtq_unpop_gives_it_again(void **state)
{
	uint64_t buf = tdrv_alloc(&d, 8, 1);
	uint16_t first = tdrv_add(&d, 0, 0, 0, buf, 4);

	(void)state;
	tdrv_add(&d, 0, 0, 0, buf + 4, 4);
	assert_int_equal(virtq_pop(vq, &c), 1);
	virtq_unpop(vq, &c);
	assert_int_equal(virtq_pending(vq), 2);
	assert_int_equal(virtq_pop(vq, &c), 1);
	assert_int_equal(c.head, first);
	assert_int_equal(virtq_pending(vq), 1);
}

/* All indexes run over 65535, with each chain's data right. */
static void test_virtq_indexes_wrap_around(void **state)
{
	uint64_t buf = tdrv_alloc(&d, 4, 1);
	uint32_t head, len;

	(void)state;
	for (uint32_t i = 0; i < 70000; i++) {
		uint32_t v = 0;
		uint16_t want;

		memcpy(tdrv_ptr(&d, buf, 4), &i, 4);
		want = tdrv_add(&d, 0, buf, 4, 0, 0);
		if (virtq_pop(vq, &c) != 1 || virtq_get(&c, &v, 4) != 4 || v != i) {
			fail_msg("round %u", i);
		}
		virtq_push(vq, &c);
		if (!tdrv_used(&d, 0, &head, &len) || head != want) {
			fail_msg("round %u: used", i);
		}
	}
	assert_int_equal(vq->avail_next, (uint16_t)70000);
}

/* Serves one chain. */
static void serve_one(uint64_t buf)
{
	tdrv_add(&d, 0, 0, 0, buf, 4);
	assert_int_equal(virtq_pop(vq, &c), 1);
	virtq_push(vq, &c);
}

static void set_used_event(uint16_t event)
{
	memcpy(tdrv_ptr(&d, d.q[0].avail + 4 + 2 * BAREDEV_QUEUE_SIZE, 2), &event, 2);
}

/* used_event = n: an interrupt when entry n is used, also when it is passed in the middle of a batch, and no other one. At every
 * place of the 16-bit ring. */
static void test_virtq_event_index_decides_about_interrupts(void **state)
{
	uint64_t buf = tdrv_alloc(&d, 4, 1);
	uint16_t used = 0;

	(void)state;
	for (unsigned round = 0; round < 10000; round++) {
		unsigned before = d.used_irqs;

		/* Not yet: the third one from here. */
		set_used_event((uint16_t)(used + 2));
		serve_one(buf);
		virtq_notify(vq);
		serve_one(buf);
		virtq_notify(vq);
		assert_int_equal(d.used_irqs, before);
		serve_one(buf);
		virtq_notify(vq);
		assert_int_equal(d.used_irqs, before + 1);
		virtq_notify(vq); /* nothing new */
		assert_int_equal(d.used_irqs, before + 1);

		/* Passed inside a batch: once. */
		set_used_event((uint16_t)(used + 4));
		for (int i = 0; i < 4; i++) {
			serve_one(buf);
		}
		virtq_notify(vq);
		assert_int_equal(d.used_irqs, before + 2);
		used = (uint16_t)(used + 7);
	}
}

static void test_virtq_empty_pop_asks_for_a_kick(void **state)
{
	uint64_t buf = tdrv_alloc(&d, 4, 1);
	uint16_t event;

	(void)state;
	serve_one(buf);
	serve_one(buf);
	assert_int_equal(virtq_pop(vq, &c), 0);
	memcpy(&event, tdrv_ptr(&d, d.q[0].used + 4 + 8 * BAREDEV_QUEUE_SIZE, 2), 2);
	assert_int_equal(event, 2);
}

/* The event index stays where it was until the queue has been found empty: a driver that adds meanwhile does not kick. */
static void test_virtq_no_kick_while_there_is_work(void **state)
{
	uint64_t buf = tdrv_alloc(&d, 4, 1);
	uint16_t event;

	(void)state;
	for (unsigned n = 1; n <= 3; n++) {
		tdrv_add(&d, 0, 0, 0, buf, 4);
		tdrv_add(&d, 0, 0, 0, buf, 4);
		assert_int_equal(virtq_pop(vq, &c), 1);
		virtq_push(vq, &c);
		memcpy(&event, tdrv_ptr(&d, d.q[0].used + 4 + 8 * BAREDEV_QUEUE_SIZE, 2), 2);
		assert_int_equal(event, 0);
	}
	for (unsigned n = 4; n <= 6; n++) {
		assert_int_equal(virtq_pop(vq, &c), 1);
		virtq_push(vq, &c);
		memcpy(&event, tdrv_ptr(&d, d.q[0].used + 4 + 8 * BAREDEV_QUEUE_SIZE, 2), 2);
		assert_int_equal(event, 0);
	}
	assert_int_equal(virtq_pop(vq, &c), 0);
	memcpy(&event, tdrv_ptr(&d, d.q[0].used + 4 + 8 * BAREDEV_QUEUE_SIZE, 2), 2);
	assert_int_equal(event, 6);
}

/* For so many no kick, for the next one. An empty pop asks for every one again; nothing of it without event indexes. */
static void test_virtq_expected_chains_need_no_kick(void **state)
{
	uint64_t buf = tdrv_alloc(&d, 4, 1);
	uint16_t event;

	(void)state;
	serve_one(buf);
	assert_int_equal(virtq_pop(vq, &c), 0);
	assert_false(virtq_expect(vq, 2));
	memcpy(&event, tdrv_ptr(&d, d.q[0].used + 4 + 8 * BAREDEV_QUEUE_SIZE, 2), 2);
	assert_int_equal(event, 3);
	/* What the driver added before it saw this, it has not kicked for. */
	for (unsigned n = 1; n <= 3; n++) {
		tdrv_add(&d, 0, 0, 0, buf, 4);
		assert_int_equal(virtq_expect(vq, 2), n > 2);
	}
	for (unsigned n = 0; n < 3; n++) {
		assert_int_equal(virtq_pop(vq, &c), 1);
		virtq_push(vq, &c);
	}
	assert_int_equal(virtq_pop(vq, &c), 0);
	memcpy(&event, tdrv_ptr(&d, d.q[0].used + 4 + 8 * BAREDEV_QUEUE_SIZE, 2), 2);
	assert_int_equal(event, 4);
	virtq_stop(vq);
	assert_false(virtq_expect(vq, 0));
}

static void test_virtq_flag_suppresses_interrupts(void **state)
{
	uint64_t buf = tdrv_alloc(&d, 4, 1);
	uint16_t no_interrupt = 1, none = 0;

	(void)state;
	memcpy(tdrv_ptr(&d, d.q[0].avail, 2), &no_interrupt, 2);
	serve_one(buf);
	virtq_notify(vq);
	assert_int_equal(d.used_irqs, 0);
	memcpy(tdrv_ptr(&d, d.q[0].avail, 2), &none, 2);
	virtq_notify(vq); /* what was suppressed stays suppressed */
	assert_int_equal(d.used_irqs, 0);
	serve_one(buf);
	virtq_notify(vq);
	assert_int_equal(d.used_irqs, 1);
	/* Without the feature the event index in the used ring is not touched. */
	assert_int_equal(virtq_pop(vq, &c), 0);
	assert_false(virtq_expect(vq, 2));
	assert_memory_equal(tdrv_ptr(&d, d.q[0].used + 4 + 8 * BAREDEV_QUEUE_SIZE, 2), &none, 2);
}

static uint16_t used_flags(void)
{
	uint16_t flags;

	memcpy(&flags, tdrv_ptr(&d, d.q[0].used, 2), 2);
	return flags;
}

/* Without event indexes: no kicks from the first chain on until the queue has been found empty. */
static void test_virtq_flag_suppresses_kicks(void **state)
{
	uint64_t buf = tdrv_alloc(&d, 4, 1);

	(void)state;
	assert_int_equal(virtq_pop(vq, &c), 0);
	assert_int_equal(used_flags(), 0);
	for (unsigned i = 0; i < 3; i++) {
		tdrv_add(&d, 0, 0, 0, buf, 4);
		tdrv_add(&d, 0, 0, 0, buf, 4);
		assert_int_equal(virtq_pop(vq, &c), 1);
		assert_int_equal(used_flags(), 1);
		virtq_push(vq, &c);
		assert_int_equal(virtq_pop(vq, &c), 1);
		virtq_push(vq, &c);
		assert_int_equal(used_flags(), 1);
		assert_int_equal(virtq_pop(vq, &c), 0);
		assert_int_equal(used_flags(), 0);
	}
	/* Where there are event indexes the flag means nothing, and stays. */
	tdrv_start(&d);
	tdrv_add(&d, 0, 0, 0, tdrv_alloc(&d, 4, 1), 4);
	assert_int_equal(virtq_pop(vq, &c), 1);
	assert_int_equal(used_flags(), 0);
	virtq_push(vq, &c);
}

static void test_virtq_stopped_queue_is_silent(void **state)
{
	uint64_t buf = tdrv_alloc(&d, 4, 1);
	uint32_t head, len;

	(void)state;
	tdrv_add(&d, 0, 0, 0, buf, 4);
	tdrv_add(&d, 0, 0, 0, buf, 4);
	assert_int_equal(virtq_pop(vq, &c), 1);
	virtq_stop(vq);
	assert_int_equal(virtq_pending(vq), 0);
	assert_int_equal(virtq_pop(vq, &c2), 0);
	virtq_push(vq, &c);
	virtq_notify(vq);
	assert_int_equal(d.used_irqs, 0);
	assert_false(tdrv_used(&d, 0, &head, &len));
}

static void test_virtq_config_limits(void **state)
{
	const struct virtq_config good = {.size = 8, .desc = d.q[0].desc, .driver = d.q[0].avail, .device = d.q[0].used};
	const uint64_t end = TDRV_RAM_GPA + TDRV_RAM_LEN;
	struct virtq_config bad;

	(void)state;
	assert_true(virtq_config_is_valid(&good, 8, &d.mem));
	assert_false(virtq_config_is_valid(&good, 4, &d.mem));
#define REFUSED(member, value)          \
	do {                            \
		bad = good;             \
		bad.member = value;     \
		assert_false(virtq_config_is_valid(&bad, 8, &d.mem)); \
	} while (0)
	REFUSED(size, 0);
	REFUSED(size, 3);
	REFUSED(size, 16);
	REFUSED(desc, good.desc + 8);
	REFUSED(driver, good.driver + 1);
	REFUSED(device, good.device + 2);
	REFUSED(desc, TDRV_RAM_GPA - 16);
	REFUSED(desc, end - 16 * 8 + 16);
	REFUSED(driver, end - 2 * 8 - 4); /* the event index would lie outside */
	REFUSED(device, end - 8 * 8 - 4);
	REFUSED(desc, ~0ull - 15);
	REFUSED(device, ~0ull - 3);
#undef REFUSED
	/* Right up to the end of memory. */
	bad = good;
	bad.desc = end - 16 * 8;
	assert_true(virtq_config_is_valid(&bad, 8, &d.mem));
	bad = good;
	bad.driver = end - 2 * 8 - 6;
	assert_true(virtq_config_is_valid(&bad, 8, &d.mem));
}

int main(void)
{
#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH(test_virtq_pop_describes_the_chain),
		WITH(test_virtq_cursors_cross_segments_and_stop_at_the_end),
		WITH(test_virtq_iov_gives_the_rest),
		WITH(test_virtq_indirect_table_longer_than_the_queue),
		WITH(test_virtq_chain_is_a_copy),
		WITH(test_virtq_completions_in_any_order),
		WITH(test_virtq_unpop_gives_it_again),
		WITH(test_virtq_indexes_wrap_around),
		WITH(test_virtq_event_index_decides_about_interrupts),
		WITH(test_virtq_empty_pop_asks_for_a_kick),
		WITH(test_virtq_no_kick_while_there_is_work),
		WITH(test_virtq_expected_chains_need_no_kick),
		cmocka_unit_test_setup_teardown(test_virtq_flag_suppresses_interrupts, set_up_plain, tear_down),
		cmocka_unit_test_setup_teardown(test_virtq_flag_suppresses_kicks, set_up_plain, tear_down),
		WITH(test_virtq_stopped_queue_is_silent),
		WITH(test_virtq_config_limits),
	};

	return cmocka_run_group_tests_name("virtq", tests, NULL, NULL);
}
