/* SPDX-License-Identifier: MIT */
/* One function per row. Rows say what they expect by how they look at the device afterwards. */
#include "tests/support/hostile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vmm/clock.h"
#include "vmm/log.h"

#define RAM_END (TDRV_RAM_GPA + TDRV_RAM_LEN)

static const struct hostile_target *target;
static struct tdrv d;

/* What became of it. */

static void look(void)
{
	tdrv_kick(&d, target->queue);
	if (target->poke) {
		target->poke(&d);
		tdrv_serve(&d);
	}
}

static bool needs_reset(void)
{
	return tdrv_read(&d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET;
}

static void expect_broken(void)
{
	uint32_t head, len;

	look();
	assert_true(needs_reset());
	assert_true(d.config_irqs > 0);
	assert_false(tdrv_used(&d, target->queue, &head, &len));
	look(); /* a dead device stays quiet */
	assert_true(needs_reset());
}

static void expect_answered(uint16_t want)
{
	uint32_t head, len;

	look();
	assert_false(needs_reset());
	assert_true(tdrv_used(&d, target->queue, &head, &len));
	assert_int_equal(head, want);
	assert_int_equal(len, 0);
}

static void expect_running(void)
{
	tdrv_serve(&d);
	assert_true(virtio_device_is_running(d.dev));
	assert_false(needs_reset());
	target->works(&d);
}

/* Raw parts, in the direction the queue takes. */

static uint16_t dir(void)
{
	return target->writable ? TDRV_WRITE : 0;
}

static struct tdrv_queue *queue(void)
{
	return &d.q[target->queue];
}

static void desc(unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	tdrv_desc(&d, queue()->desc, i, addr, len, flags, next);
}

static void offer(uint16_t head)
{
	tdrv_offer(&d, target->queue, head);
}

static uint64_t buffer(void)
{
	return tdrv_alloc(&d, 64, 1);
}

/* An indirect table of @n entries offered as descriptor 0, @len bytes long as the driver says. */
static uint64_t indirect(unsigned n, uint32_t len, uint16_t flags)
{
	uint64_t table = tdrv_alloc(&d, 16 * n, 16);

	desc(0, table, len, TDRV_INDIRECT | flags, 1);
	desc(1, buffer(), 64, dir(), 0);
	for (unsigned i = 0; i < n; i++) {
		tdrv_desc(&d, table, i, buffer(), 64, dir(), 0);
	}
	offer(0);
	return table;
}

/* Chains. */

static void head_outside_the_table(void)
{
	offer(queue()->size);
	expect_broken();
}

static void head_far_outside_the_table(void)
{
	offer(0xffff);
	expect_broken();
}

static void next_outside_the_table(void)
{
	/* Behind the table lies the available ring. Read as a descriptor, there is nothing else wrong with it. */
	assert_int_equal(queue()->avail, queue()->desc + 16 * queue()->size);
	*(uint16_t *)tdrv_ptr(&d, queue()->avail + 12, 2) = dir();
	desc(0, buffer(), 64, dir() | TDRV_NEXT, queue()->size);
	offer(0);
	expect_broken();
}

static void descriptor_that_follows_itself(void)
{
	desc(0, buffer(), 64, dir() | TDRV_NEXT, 0);
	offer(0);
	expect_broken();
}

static void descriptor_loop(void)
{
	desc(0, buffer(), 64, dir() | TDRV_NEXT, 1);
	desc(1, buffer(), 64, dir() | TDRV_NEXT, 2);
	desc(2, buffer(), 64, dir() | TDRV_NEXT, 0);
	offer(0);
	expect_broken();
}

static void loop_of_empty_descriptors(void)
{
	desc(0, buffer(), 0, dir() | TDRV_NEXT, 1);
	desc(1, buffer(), 0, dir() | TDRV_NEXT, 0);
	offer(0);
	expect_broken();
}

static void zero_length_is_answered(void)
{
	desc(0, buffer(), 0, dir(), 0);
	offer(0);
	expect_answered(0);
}

static void zero_length_at_a_wild_address_is_answered(void)
{
	desc(0, UINT64_MAX, 0, dir(), 0);
	offer(0);
	expect_answered(0);
}

static void wrong_direction_is_answered(void)
{
	desc(0, buffer(), 64, dir() ^ TDRV_WRITE, 0);
	offer(0);
	expect_answered(0);
}

static void address_plus_length_wraps(void)
{
	desc(0, UINT64_MAX - 15, 64, dir(), 0);
	offer(0);
	expect_broken();
}

static void segment_across_the_end_of_memory(void)
{
	desc(0, RAM_END - 63, 64, dir(), 0);
	offer(0);
	expect_broken();
}

static void segment_across_the_start_of_memory(void)
{
	desc(0, TDRV_RAM_GPA - 1, 64, dir(), 0);
	offer(0);
	expect_broken();
}

static void segment_in_a_hole(void)
{
	desc(0, 0, 64, dir(), 0);
	offer(0);
	expect_broken();
}

static void segment_of_the_largest_length(void)
{
	desc(0, TDRV_RAM_GPA, UINT32_MAX, dir(), 0);
	offer(0);
	expect_broken();
}

static void second_segment_outside(void)
{
	desc(0, buffer(), 64, dir() | TDRV_NEXT, 1);
	desc(1, RAM_END, 1, dir(), 0);
	offer(0);
	expect_broken();
}

static void readable_after_writable(void)
{
	desc(0, buffer(), 64, TDRV_WRITE | TDRV_NEXT, 1);
	desc(1, buffer(), 64, 0, 0);
	offer(0);
	expect_broken();
}

static void unknown_descriptor_flag(void)
{
	desc(0, buffer(), 64, dir() | 0x8000, 0);
	offer(0);
	expect_broken();
}

/* Indirect descriptors. */

static void indirect_in_indirect(void)
{
	uint64_t table = indirect(2, 32, 0);

	tdrv_desc(&d, table, 0, table, 32, TDRV_INDIRECT, 0);
	expect_broken();
}

static void indirect_length_not_of_descriptors(void)
{
	indirect(2, 24, 0);
	expect_broken();
}

static void indirect_of_no_length(void)
{
	indirect(1, 0, 0);
	expect_broken();
}

static void indirect_of_the_largest_length(void)
{
	indirect(1, 0xfffffff0u, 0);
	expect_broken();
}

static void indirect_with_a_next_descriptor(void)
{
	indirect(1, 16, TDRV_NEXT);
	expect_broken();
}

static void indirect_table_across_the_end_of_memory(void)
{
	desc(0, RAM_END - 16, 32, TDRV_INDIRECT, 0);
	offer(0);
	expect_broken();
}

static void indirect_next_outside_the_table(void)
{
	uint64_t table = indirect(2, 32, 0);

	tdrv_desc(&d, table, 0, buffer(), 64, dir() | TDRV_NEXT, 2);
	tdrv_desc(&d, table, 2, buffer(), 64, dir(), 0); /* as good as the others, but not in it */
	expect_broken();
}

static void indirect_loop(void)
{
	uint64_t table = indirect(2, 32, 0);

	tdrv_desc(&d, table, 0, buffer(), 64, dir() | TDRV_NEXT, 1);
	tdrv_desc(&d, table, 1, buffer(), 64, dir() | TDRV_NEXT, 0);
	expect_broken();
}

static void indirect_longer_than_any_chain(void)
{
	unsigned n = VIRTQ_SIZE_MAX + 1;
	uint64_t table = indirect(n, 16 * n, 0);

	for (unsigned i = 0; i + 1 < n; i++) {
		tdrv_desc(&d, table, i, TDRV_RAM_GPA, 1, dir() | TDRV_NEXT, (uint16_t)(i + 1));
	}
	expect_broken();
}

static void indirect_that_was_not_negotiated(void)
{
	tdrv_start_without(&d, VIRTIO_F_INDIRECT_DESC);
	indirect(1, 16, 0);
	expect_broken();
}

/* Rings. */

static void available_index_jumps(void)
{
	tdrv_set_avail_idx(&d, target->queue, (uint16_t)(queue()->size + 1));
	expect_broken();
}

static void available_index_goes_back(void)
{
	tdrv_set_avail_idx(&d, target->queue, 0xffff);
	expect_broken();
}

static void same_head_in_every_entry_is_answered(void)
{
	uint32_t head, len, n = 0;

	desc(0, buffer(), 0, dir(), 0);
	for (unsigned i = 0; i < queue()->size; i++) {
		offer(0);
	}
	look();
	while (tdrv_used(&d, target->queue, &head, &len)) {
		assert_int_equal(head, 0);
		n++;
	}
	assert_int_equal(n, queue()->size);
	assert_false(needs_reset());
}

/* One in @n, otherwise false. */
static bool chance(unsigned n)
{
	return (unsigned)rand() % n == 0;
}

/* A descriptor that may pass: a place near memory or anywhere, few flags, a next one near the table. @empty: of no length. */
static void noisy_descriptor(uint64_t table, unsigned i, bool empty)
{
	uint64_t anywhere = (uint64_t)rand() << 33 ^ (uint64_t)rand();
	uint64_t addr = chance(8) ? anywhere : TDRV_RAM_GPA + (uint64_t)rand() % (TDRV_RAM_LEN + 64);
	uint32_t len = empty || chance(3) ? 0 : chance(8) ? (uint32_t)rand() << 1 : (uint32_t)rand() % 4096;
	uint16_t flags = chance(4) ? 0 : TDRV_NEXT;

	flags |= chance(8) ? dir() ^ TDRV_WRITE : dir();
	if (chance(8)) {
		addr = tdrv_alloc(&d, 16 * 8, 16);
		len = 16 * 8;
		flags = TDRV_INDIRECT;
	}
	tdrv_desc(&d, table, i, addr, len, flags, (uint16_t)((unsigned)rand() % (queue()->size + 2u)));
}

/* Bytes of no meaning, and then ones that mean something, so that chains are walked. */
static void rings_full_of_noise(void)
{
	srand(1);
	for (unsigned round = 0; round < 2000; round++) {
		uint8_t *bytes;
		uint64_t tables;
		bool empty;

		tdrv_start(&d);
		bytes = tdrv_ptr(&d, TDRV_RAM_GPA, TDRV_RAM_LEN);
		for (unsigned i = 0; i < 4096; i++) {
			bytes[i] = (uint8_t)(rand() >> 7);
		}
		if (round % 10 == 0) {
			look();
			continue;
		}
		tables = d.brk = TDRV_RAM_GPA + 0x8000;
		empty = chance(4);
		for (unsigned i = 0; i < queue()->size; i++) {
			noisy_descriptor(queue()->desc, i, empty);
		}
		for (uint64_t end = d.brk; tables < end; tables += 16) {
			noisy_descriptor(tables, 0, empty);
		}
		tdrv_set_avail_idx(&d, target->queue, 0);
		for (unsigned n = 1 + (unsigned)rand() % queue()->size; n > 0; n--) {
			offer((uint16_t)((unsigned)rand() % (queue()->size + (chance(8) ? 1u : 0u))));
		}
		look();
	}
}

/* Registers. */

static void begin_queue(uint16_t size)
{
	assert_true(tdrv_negotiate(&d, virtio_device_features(d.dev)));
	d.brk = TDRV_RAM_GPA;
	tdrv_place_queue(&d, target->queue, size);
}

static void queue_sizes_that_do_not_work(void)
{
	uint32_t max = d.dev->ops->queue_size[target->queue];
	const uint32_t sizes[] = {
		0, 3, max - 1, max + 1, max * 2, 0x8000, 0x10000, 0x10000 | max, UINT32_MAX};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		begin_queue((uint16_t)max);
		tdrv_write(&d, VIRTIO_MMIO_QUEUE_SIZE, sizes[i]);
		assert_false(tdrv_enable_queue(&d, target->queue));
		tdrv_write(&d, VIRTIO_MMIO_STATUS, 15);
		look();
	}
}

static void ready_before_anything(void)
{
	assert_true(tdrv_negotiate(&d, virtio_device_features(d.dev)));
	assert_false(tdrv_enable_queue(&d, target->queue));
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 15);
	look();
	assert_false(needs_reset());
}

static void ready_before_features_ok(void)
{
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 1);
	d.brk = TDRV_RAM_GPA;
	tdrv_place_queue(&d, target->queue, 8);
	assert_false(tdrv_enable_queue(&d, target->queue));
}

static void rings_outside_memory_or_crooked(void)
{
	static const uint64_t places[] = {0, 8, TDRV_RAM_GPA + 1, TDRV_RAM_GPA + 8, RAM_END - 16,
		RAM_END, UINT64_MAX - 15, UINT64_MAX};
	static const uint32_t regs[] = {VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DRIVER_LOW,
		VIRTIO_MMIO_QUEUE_DEVICE_LOW};
	/* Aligned well enough for that ring, and inside: ready is right. */
	static const uint8_t fine[8][3] = {[3] = {0, 1, 1}};

	for (unsigned i = 0; i < 8; i++) {
		for (unsigned r = 0; r < 3; r++) {
			begin_queue(8);
			tdrv_write(&d, regs[r], (uint32_t)places[i]);
			tdrv_write(&d, regs[r] + 4, (uint32_t)(places[i] >> 32));
			assert_int_equal(tdrv_enable_queue(&d, target->queue), fine[i][r]);
		}
	}
}

static void queue_registers_after_driver_ok(void)
{
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_SEL, target->queue);
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_SIZE, 1);
	for (uint32_t reg = VIRTIO_MMIO_QUEUE_DESC_LOW; reg <= VIRTIO_MMIO_QUEUE_DEVICE_HIGH;
		reg += 4) {
		tdrv_write(&d, reg, 0xfffffff0u);
	}
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_READY, 1);
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_QUEUE_READY), 1);
	expect_running();
}

static void queue_addresses_after_ready(void)
{
	begin_queue(8);
	assert_true(tdrv_enable_queue(&d, target->queue));
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_DESC_HIGH, UINT32_MAX);
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_SIZE, 0x8000);
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 15);
	assert_int_equal(d.dev->vq[target->queue].size, 8);
	assert_true(virtio_device_is_running(d.dev));
}

static void queue_select_out_of_range(void)
{
	static const uint32_t sels[] = {VIRTIO_QUEUES_MAX, 5, 0x80000000u, UINT32_MAX};

	for (unsigned i = 0; i < 4; i++) {
		tdrv_write(&d, VIRTIO_MMIO_QUEUE_SEL, sels[i]);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_QUEUE_SIZE_MAX), 0);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);
		for (uint32_t reg = VIRTIO_MMIO_QUEUE_SIZE; reg <= VIRTIO_MMIO_QUEUE_DEVICE_HIGH;
			reg += 4) {
			if (reg != VIRTIO_MMIO_STATUS) {
				tdrv_write(&d, reg, 1);
			}
		}
	}
	expect_running();
}

static void notify_out_of_range(void)
{
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, VIRTIO_QUEUES_MAX);
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	expect_running();
}

static void notify_before_driver_ok(void)
{
	begin_queue(8);
	tdrv_enable_queue(&d, target->queue);
	desc(0, buffer(), 64, dir(), 0);
	offer(0);
	look();
	assert_false(virtio_device_is_running(d.dev));
	assert_int_equal(*(uint16_t *)tdrv_ptr(&d, queue()->used + 2, 2), 0);
}

static void features_that_were_not_offered(void)
{
	uint64_t offered = virtio_device_features(d.dev);

	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t features = offered | 1ull << bit;

		assert_int_equal(tdrv_negotiate(&d, features), features == offered);
	}
	assert_false(tdrv_negotiate(&d, offered & ~VIRTIO_F_VERSION_1));
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 15);
	assert_false(virtio_device_is_running(d.dev));
}

static void features_after_features_ok(void)
{
	assert_true(tdrv_negotiate(&d, VIRTIO_F_VERSION_1));
	tdrv_write(&d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	tdrv_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 15);
	assert_int_equal(d.dev->driver_features, VIRTIO_F_VERSION_1);
}

/* Where the queue is, after a request: one that was started again would be at its first entry. */
static uint16_t used_so_far(void)
{
	return d.dev->vq[target->queue].used_next;
}

static void driver_ok_twice(void)
{
	uint16_t used;

	target->works(&d);
	used = used_so_far();
	assert_true(used > 0);
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 15);
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 15);
	assert_int_equal(used_so_far(), used);
	assert_true(virtio_device_is_running(d.dev));
}

static void status_bits_out_of_order(void)
{
	for (uint32_t status = 1; status < 256; status++) {
		tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
		tdrv_write(&d, VIRTIO_MMIO_STATUS, status);
		assert_false(virtio_device_is_running(d.dev));
	}
}

static void status_bits_taken_back(void)
{
	uint16_t used;

	target->works(&d);
	used = used_so_far();
	for (uint32_t status = 1; status < 15; status++) {
		tdrv_write(&d, VIRTIO_MMIO_STATUS, status);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_STATUS), 15);
	}
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 0xffffff00u | 15);
	assert_int_equal(used_so_far(), used);
	assert_true(virtio_device_is_running(d.dev));
}

static void driver_that_gave_up(void)
{
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 15 | VIRTIO_STATUS_FAILED);
	desc(0, buffer(), 64, dir(), 0);
	offer(0);
	look();
	assert_false(virtio_device_is_running(d.dev));
}

/* What the driver has taken back is not touched any more. */
static void expect_no_answer_after_reset(void)
{
	uint64_t gpa = tdrv_alloc(&d, 64, 1);
	uint16_t before;

	tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
	before = *(uint16_t *)tdrv_ptr(&d, queue()->used + 2, 2);
	tdrv_add(&d, target->queue, gpa, target->writable ? 0 : 64, gpa, target->writable ? 64 : 0);
	look();
	assert_int_equal(*(uint16_t *)tdrv_ptr(&d, queue()->used + 2, 2), before);
	tdrv_start(&d);
}

static void reset_with_chains_offered(void)
{
	expect_no_answer_after_reset();
	for (unsigned i = 0; i < 100; i++) {
		for (unsigned k = 0; k < queue()->size; k++) {
			uint64_t gpa = TDRV_RAM_GPA + 0x80000;

			tdrv_add(&d, target->queue, gpa, target->writable ? 0 : 64, gpa,
				target->writable ? 64 : 0);
		}
		tdrv_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, target->queue);
		tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
		tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
		tdrv_start(&d);
	}
	expect_running();
}

/* Acknowledges of what was never there, in every status; and then of nothing at all. */
static void acknowledging_bits_never_set(void)
{
	static const uint32_t values[] = {0, 1, 2, 3, 4, 0x80000000u, 0xfffffffcu, UINT32_MAX};
	static const uint32_t statuses[] = {15, 15 | VIRTIO_STATUS_FAILED, 0, 1, 3, 11};

	for (unsigned s = 0; s < sizeof(statuses) / sizeof(statuses[0]); s++) {
		tdrv_write(&d, VIRTIO_MMIO_STATUS, statuses[s]);
		for (unsigned v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
			uint32_t was = tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_VRING;

			tdrv_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, values[v]);
			/* The device is off until DRIVER_OK, and nothing but a reset clears the bit afterwards. */
			assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_VRING, was);
		}
	}
	tdrv_start(&d);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	expect_running();
}

static void never_acknowledging(void)
{
	for (unsigned i = 0; i < 20; i++) {
		/* Without event indexes for a change: every answer interrupts. */
		tdrv_start_without(&d, i % 2 ? VIRTIO_F_EVENT_IDX : 0);
		for (unsigned k = 0; k < 3; k++) {
			virtio_device_config_changed(d.dev);
		}
		assert_int_equal(d.config_irqs, 3 * (i + 1));
		target->works(&d);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	}
}

static void reset_with_interrupts_pending(void)
{
	for (unsigned i = 0; i < 20; i++) {
		target->works(&d);
		virtio_device_config_changed(d.dev);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
		tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
		tdrv_start(&d);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	}
	expect_running();
}

static void every_register_at_every_width(void)
{
	static const uint32_t widths[] = {1, 2, 4, 8, 3, 7};
	uint8_t bytes[8];

	for (unsigned w = 0; w < sizeof(widths) / sizeof(widths[0]); w++) {
		for (uint32_t off = 0; off < VIRTIO_MMIO_WINDOW; off++) {
			virtio_mmio_read(&d.mmio, off, bytes, widths[w]);
			memset(bytes, (int)(off * 31 + w), sizeof(bytes));
			virtio_mmio_write(&d.mmio, off, bytes, widths[w]);
		}
	}
	tdrv_serve(&d);
}

static void configuration_past_its_end(void)
{
	uint8_t bytes[8];

	for (uint32_t off = d.dev->ops->config_len; off < VIRTIO_CONFIG_MAX; off++) {
		for (uint32_t len = 1; len <= 8; len *= 2) {
			memset(bytes, 0xaa, sizeof(bytes));
			virtio_mmio_read(&d.mmio, VIRTIO_MMIO_CONFIG + off, bytes, len);
			for (uint32_t i = 0; i < len; i++) {
				assert_int_equal(bytes[i], 0);
			}
			memset(bytes, 0xff, sizeof(bytes));
			virtio_mmio_write(&d.mmio, VIRTIO_MMIO_CONFIG + off, bytes, len);
		}
	}
	expect_running();
}

static const struct {
	const char *name;
	void (*run)(void);
} rows[] = {
#define ROW(name)                                                                                  \
	{                                                                                          \
		"test_hostile_" #name, name                                                        \
	}
	ROW(head_outside_the_table),
	ROW(head_far_outside_the_table),
	ROW(next_outside_the_table),
	ROW(descriptor_that_follows_itself),
	ROW(descriptor_loop),
	ROW(loop_of_empty_descriptors),
	ROW(zero_length_is_answered),
	ROW(zero_length_at_a_wild_address_is_answered),
	ROW(wrong_direction_is_answered),
	ROW(address_plus_length_wraps),
	ROW(segment_across_the_end_of_memory),
	ROW(segment_across_the_start_of_memory),
	ROW(segment_in_a_hole),
	ROW(segment_of_the_largest_length),
	ROW(second_segment_outside),
	ROW(readable_after_writable),
	ROW(unknown_descriptor_flag),
	ROW(indirect_in_indirect),
	ROW(indirect_length_not_of_descriptors),
	ROW(indirect_of_no_length),
	ROW(indirect_of_the_largest_length),
	ROW(indirect_with_a_next_descriptor),
	ROW(indirect_table_across_the_end_of_memory),
	ROW(indirect_next_outside_the_table),
	ROW(indirect_loop),
	ROW(indirect_longer_than_any_chain),
	ROW(indirect_that_was_not_negotiated),
	ROW(available_index_jumps),
	ROW(available_index_goes_back),
	ROW(same_head_in_every_entry_is_answered),
	ROW(queue_sizes_that_do_not_work),
	ROW(ready_before_anything),
	ROW(ready_before_features_ok),
	ROW(rings_outside_memory_or_crooked),
	ROW(queue_registers_after_driver_ok),
	ROW(queue_addresses_after_ready),
	ROW(queue_select_out_of_range),
	ROW(notify_out_of_range),
	ROW(notify_before_driver_ok),
	ROW(features_that_were_not_offered),
	ROW(features_after_features_ok),
	ROW(driver_ok_twice),
	ROW(status_bits_out_of_order),
	ROW(status_bits_taken_back),
	ROW(driver_that_gave_up),
	ROW(reset_with_chains_offered),
	ROW(acknowledging_bits_never_set),
	ROW(never_acknowledging),
	ROW(reset_with_interrupts_pending),
	ROW(every_register_at_every_width),
	ROW(configuration_past_its_end),
	ROW(rings_full_of_noise), /* last: what has a name is found by name */
#undef ROW
};
#define NROWS (sizeof(rows) / sizeof(rows[0]))

static unsigned lines_logged;
static uint64_t began_ns;

static void count_line(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
	lines_logged++;
}

/* However long the row took: what the guest does wrong, and one more line for what was left out. */
static void expect_log_is_limited(void)
{
	assert_in_range(lines_logged, 0, (LOG_GUEST_LINES_PER_SECOND + 1) * ((clock_now_ns() - began_ns) / CLOCK_NS_PER_S + 2));
}

static int set_up(void **state)
{
	(void)state;
	log_set_hook(count_line);
	lines_logged = 0;
	began_ns = clock_now_ns();
	tdrv_init(&d);
	tdrv_attach(&d, target->create(&d));
	tdrv_start(&d);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tdrv_finish(&d);
	target->destroy();
	log_set_hook(NULL);
	return 0;
}

/* The row, and then that a reset brings the device back. */
static void run_row(void **state)
{
	(*(void (**)(void)) * state)();
	tdrv_start(&d);
	target->works(&d);
	expect_log_is_limited();
}

int hostile_run(const char *name, const struct hostile_target *hostile_target)
{
	struct CMUnitTest tests[NROWS];

	target = hostile_target;
	for (size_t i = 0; i < NROWS; i++) {
		tests[i] = (struct CMUnitTest){
			rows[i].name, run_row, set_up, tear_down, (void *)(uintptr_t)&rows[i].run};
	}
	return _cmocka_run_group_tests(name, tests, NROWS, NULL, NULL);
}
