/* SPDX-License-Identifier: MIT */
/* virtio-blk over real rings and a real file: configuration, every kind of request, turns, resets.
 */
#include "devices/blk.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cmocka.h>

#include "devices/disk_priv.h"
#include "tests/support/blkdrv.h"
#include "vmm/log.h"

#define SIZE    (1u << 20)
#define SECTORS (SIZE / 512)

static struct blkdrv v;
static unsigned lines_logged;

static void on_log(enum log_level level, const char *line)
{
	(void)line;
	lines_logged += level <= LOG_WARN;
}

static int setup(void **state)
{
	(void)state;
	lines_logged = 0;
	log_set_hook(on_log);
	memset(&v, 0, sizeof(v));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	blkdrv_finish(&v);
	log_set_hook(NULL);
	return 0;
}

static void start(void)
{
	blkdrv_init(&v, &(struct disk_options){.discard = true}, SIZE);
}

static void restart(const struct disk_options *o)
{
	blkdrv_finish(&v);
	blkdrv_init(&v, o, SIZE);
}

static uint8_t file_byte(size_t i)
{
	return (uint8_t)(i / 512 + i);
}

static void expect_file(const uint8_t *p, size_t offset, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(p[i], file_byte(offset + i));
	}
}

static uint32_t config(unsigned off)
{
	return tdrv_read(&v.d, VIRTIO_MMIO_CONFIG + off);
}

static void test_blk_configuration_says_what_the_disk_is(void **state)
{
	uint64_t features;

	(void)state;
	start();
	features = virtio_device_features(&v.b.base);
	assert_true(features & BLK_F_FLUSH && features & BLK_F_SEG_MAX && features & BLK_F_DISCARD);
	assert_true(features & BLK_F_WRITE_ZEROES && features & BLK_F_TOPOLOGY);
	assert_false(features & (BLK_F_RO | 1ull << 11));
	assert_int_equal(config(0), SECTORS);
	assert_int_equal(config(4), 0);
	assert_int_equal(config(12), BLK_QUEUE_SIZE - 2);
	assert_int_equal(config(20), 512);
	assert_int_equal(config(24) & 0xff, 3); /* 4096-byte blocks below */
	assert_int_equal(config(24) >> 16, 8);
	assert_int_equal(config(36), BLK_RANGE_SECTORS_MAX);
	assert_int_equal(config(40), BLK_RANGES_MAX);
	assert_int_equal(config(44), 8);
	assert_int_equal(config(48), BLK_RANGE_SECTORS_MAX);
	assert_int_equal(config(52), BLK_RANGES_MAX);
	assert_int_equal(config(56), 1);
	restart(&(struct disk_options){.readonly = true, .discard = true});
	features = virtio_device_features(&v.b.base);
	assert_true(features & BLK_F_RO);
	assert_false(features & (BLK_F_DISCARD | BLK_F_WRITE_ZEROES));
	restart(&(struct disk_options){.discard = false});
	features = virtio_device_features(&v.b.base);
	assert_false(features & BLK_F_DISCARD);
	assert_true(features & BLK_F_WRITE_ZEROES);
	assert_int_equal(config(56), 0);
}

static int lowest_free_descriptor(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/* Each takes host memory, descriptors and a ring of the kernel's: a guest that has no driver costs none of it, nor does a start wait for it. */
static void test_blk_engine_begins_with_the_driver(void **state)
{
	uint64_t data;
	int fd;

	(void)state;
	start();
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	virtio_mmio_finish(&v.d.mmio);
	blk_finish(&v.b);
	blkdrv_attach(&v, &(struct disk_options){.discard = true});
	assert_string_equal(disk_info(v.b.disk)->engine, "none");
	assert_null(v.b.slots);
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	tdrv_start(&v.d);
	assert_string_not_equal(disk_info(v.b.disk)->engine, "none");
	data = blkdrv_data(&v, 512);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 1, data, 512), BLK_S_OK);
	/* Another driver finds the one that is there. */
	fd = lowest_free_descriptor();
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	tdrv_start(&v.d);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 1, data, 512), BLK_S_OK);
	assert_int_equal(lowest_free_descriptor(), fd);
}

static void test_blk_reads_what_was_written(void **state)
{
	uint64_t data;
	uint8_t *p;

	(void)state;
	start();
	data = blkdrv_data(&v, 8192);
	p = blkdrv_ptr(&v, data, 8192);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 3, data, 4096), BLK_S_OK);
	assert_int_equal(v.used_len, 4097);
	expect_file(p, 3 * 512, 4096);
	memset(p, 0xa5, 8192);
	assert_int_equal(blkdrv_do(&v, BLK_T_OUT, SECTORS - 16, data, 8192), BLK_S_OK);
	assert_int_equal(v.used_len, 1);
	assert_int_equal(blkdrv_do(&v, BLK_T_FLUSH, 0, 0, 0), BLK_S_OK);
	assert_int_equal(v.used_len, 1);
	memset(p, 0, 8192);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, SECTORS - 16, data, 8192), BLK_S_OK);
	assert_true(p[0] == 0xa5 && p[8191] == 0xa5);
	assert_int_equal(lines_logged, 0);
}

static void test_blk_pieces_may_lie_anywhere(void **state)
{
	uint64_t out, in, table;
	uint8_t *p;
	unsigned n = 0;

	(void)state;
	start();
	/* Header in two pieces, data and status in one piece after one byte alone. */
	out = blkdrv_data(&v, 32);
	in = blkdrv_data(&v, 1024);
	table = blkdrv_data(&v, 64);
	p = blkdrv_ptr(&v, in, 1024);
	memset(p, 0xee, 1024);
	memset(blkdrv_ptr(&v, out, 32), 0, 32);
	*(uint8_t *)blkdrv_ptr(&v, out + 8, 1) = 7;
	tdrv_desc(&v.d, table, n, out, 5, TDRV_NEXT, 1), n++;
	tdrv_desc(&v.d, table, n, out + 5, 11, TDRV_NEXT, 2), n++;
	tdrv_desc(&v.d, table, n, in + 1, 1, TDRV_NEXT | TDRV_WRITE, 3), n++;
	tdrv_desc(&v.d, table, n, in + 2, 512, TDRV_WRITE, 0), n++;
	blkdrv_offer(&v, table, n);
	blkdrv_wait(&v, 1);
	assert_int_equal(v.used_len, 513);
	assert_int_equal(p[0], 0xee);
	expect_file(p + 1, 7 * 512, 512);
	assert_int_equal(p[513], BLK_S_OK);
	assert_int_equal(p[514], 0xee);
}

static void test_blk_id_is_the_name(void **state)
{
	static const uint8_t want[BLK_ID_LEN] = "disk0";
	uint64_t data;

	(void)state;
	start();
	data = blkdrv_data(&v, 64);
	memset(blkdrv_ptr(&v, data, 64), 0xee, 64);
	assert_int_equal(blkdrv_do(&v, BLK_T_GET_ID, 0, data, BLK_ID_LEN), BLK_S_OK);
	assert_int_equal(v.used_len, BLK_ID_LEN + 1);
	assert_memory_equal(blkdrv_ptr(&v, data, BLK_ID_LEN), want, BLK_ID_LEN);
	memset(blkdrv_ptr(&v, data, 64), 0xee, 64);
	assert_int_equal(blkdrv_do(&v, BLK_T_GET_ID, 0, data, 64), BLK_S_OK);
	assert_int_equal(v.used_len, BLK_ID_LEN);
	assert_int_equal(*(uint8_t *)blkdrv_ptr(&v, data + BLK_ID_LEN, 1), 0xee);
	assert_int_equal(blkdrv_do(&v, BLK_T_GET_ID, 0, data, 4), BLK_S_OK);
	assert_int_equal(v.used_len, 5);
}

static void test_blk_discards_and_zeroes_several_ranges(void **state)
{
	const struct blkdrv_range zeroes[] = {{8, 8, 0}, {32, 1, 1}, {SECTORS - 1, 1, 0}};
	const struct blkdrv_range discards[] = {{128, 64, 0}, {512, 256, 0}};
	uint64_t data;
	uint8_t *p;

	(void)state;
	start();
	data = blkdrv_data(&v, 40 * 512);
	p = blkdrv_ptr(&v, data, 40 * 512);
	assert_int_equal(blkdrv_do_ranges(&v, BLK_T_WRITE_ZEROES, zeroes, 3), BLK_S_OK);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 0, data, 40 * 512), BLK_S_OK);
	for (unsigned s = 0; s < 40; s++) {
		if ((s >= 8 && s < 16) || s == 32) {
			assert_true(p[s * 512] == 0 && p[s * 512 + 511] == 0);
		} else {
			expect_file(p + s * 512, s * 512, 512);
		}
	}
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, SECTORS - 1, data, 512), BLK_S_OK);
	assert_true(p[0] == 0 && p[511] == 0);
	assert_int_equal(blkdrv_do_ranges(&v, BLK_T_DISCARD, discards, 2), BLK_S_OK);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 127, data, 512), BLK_S_OK);
	expect_file(p, 127 * 512, 512);
	assert_int_equal(lines_logged, 0);
}

static unsigned nsyncs;

static int count_syncs(struct disk_request *r, int result)
{
	nsyncs += r->op != DISK_FLUSH && r->syncing;
	return result;
}

static void test_blk_driver_without_flush_gets_stable_writes(void **state)
{
	uint64_t data;

	(void)state;
	start();
	nsyncs = 0;
	disk_set_fault(v.b.disk, count_syncs);
	data = blkdrv_data(&v, 512);
	assert_int_equal(blkdrv_do(&v, BLK_T_OUT, 0, data, 512), BLK_S_OK);
	assert_int_equal(nsyncs, 0);
	tdrv_start_without(&v.d, BLK_F_FLUSH);
	data = blkdrv_data(&v, 512);
	assert_int_equal(blkdrv_do(&v, BLK_T_OUT, 0, data, 512), BLK_S_OK);
	assert_int_equal(nsyncs, 1);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 0, data, 512), BLK_S_OK);
	assert_int_equal(nsyncs, 1);
}

/* Turns and resets. */

static void test_blk_full_ring_is_served_and_bounded(void **state)
{
	struct blkdrv_request r[BLK_QUEUE_SIZE];
	uint64_t data;

	(void)state;
	start();
	data = blkdrv_data(&v, 512 * BLK_QUEUE_SIZE);
	for (unsigned i = 0; i < BLK_QUEUE_SIZE; i++) {
		r[i] = blkdrv_add(&v, BLK_T_IN, i, data + i * 512, 512);
	}
	v.b.base.ops->kick(&v.b.base, 0);
	assert_true(v.b.in_flight <= BLK_SLOTS);
	blkdrv_wait(&v, BLK_QUEUE_SIZE);
	for (unsigned i = 0; i < BLK_QUEUE_SIZE; i++) {
		assert_int_equal(*r[i].status, BLK_S_OK);
		expect_file(blkdrv_ptr(&v, data + i * 512, 512), i * 512, 512);
	}
	assert_int_equal(v.b.in_flight, 0);
}

static void test_blk_requests_beyond_the_slots_are_served_when_one_is_free(void **state)
{
	uint64_t data;

	(void)state;
	start();
	data = blkdrv_data(&v, 512);
	v.b.disk->in_turn = true; /* so that none is answered yet */
	for (unsigned i = 0; i < BLK_QUEUE_SIZE; i++) {
		blkdrv_add(&v, BLK_T_IN, 0, data, 512);
	}
	tdrv_kick(&v.d, 0);
	assert_int_equal(v.b.in_flight, BLK_SLOTS);
	v.b.disk->in_turn = false;
	/* One kick, and then only the disk's answers. */
	blkdrv_wait(&v, BLK_QUEUE_SIZE);
}

/* 32 requests of which the host has the data: one kick, one call of io_uring, one interrupt. */
static void test_blk_a_batch_is_one_call_and_one_interrupt(void **state)
{
	uint64_t data;

	(void)state;
	start();
	if (strcmp(disk_info(v.b.disk)->engine, "io_uring") != 0) {
		skip(); /* threads do one request each */
	}
	data = blkdrv_data(&v, 4096);
	for (unsigned round = 0; round < 10; round++) {
		struct disk_counts before = disk_get_counts(v.b.disk);
		unsigned irqs = v.d.used_irqs;
		uint16_t event = v.d.q[0].used_seen, seen;

		/* The driver wants to hear of the first one. */
		memcpy(tdrv_ptr(&v.d, v.d.q[0].avail + 4 + 2 * BLK_QUEUE_SIZE, 2), &event, 2);
		for (unsigned i = 0; i < 32; i++) {
			blkdrv_add(&v, BLK_T_IN, i * 8, data, 4096);
		}
		tdrv_kick(&v.d, 0);
		blkdrv_wait(&v, 32);
		assert_int_equal(disk_get_counts(v.b.disk).requests - before.requests, 32);
		assert_int_equal(disk_get_counts(v.b.disk).enters - before.enters, 1);
		assert_int_equal(v.d.used_irqs - irqs, 1);
		/* It is to kick for the next one, and was not to for the others. */
		memcpy(&seen, tdrv_ptr(&v.d, v.d.q[0].used + 4 + 8 * BLK_QUEUE_SIZE, 2), 2);
		assert_int_equal(seen, 32 * (round + 1));
	}
}

/* Whether the host answers a read of what it has in memory at once. */
static bool host_has_it(void)
{
	struct iovec iov = {.iov_base = (uint8_t[512]){0}, .iov_len = 512};
	int fd = open(v.path, O_RDONLY | O_CLOEXEC);
	bool yes = preadv2(fd, &iov, 1, 0, RWF_NOWAIT) == 512;

	close(fd);
	return yes;
}

/* One answered in the turn that took it is one wait of the loop, not two. */
static void test_blk_what_the_host_does_at_once_wakes_nobody(void **state)
{
	struct pollfd p;
	uint64_t data;

	(void)state;
	start();
	if (strcmp(disk_info(v.b.disk)->engine, "io_uring") != 0 || !host_has_it()) {
		skip();
	}
	data = blkdrv_data(&v, 512);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 0, data, 512), BLK_S_OK);
	tdrv_serve(&v.d);
	blkdrv_add(&v, BLK_T_IN, 8, data, 512);
	virtio_device_kick(&v.b.base);
	assert_true(tdrv_used(&v.d, 0, &(uint32_t){0}, &(uint32_t){0}));
	p = (struct pollfd){.fd = v.d.loop.epoll_fd, .events = POLLIN};
	assert_int_equal(poll(&p, 1, 0), 0);
}

static void test_blk_turn_is_bounded(void **state)
{
	unsigned kicks = 5;
	uint64_t data;

	(void)state;
	start();
	data = blkdrv_data(&v, 64);
	for (unsigned i = 0; i < BLK_QUEUE_SIZE; i++) {
		blkdrv_add(&v, BLK_T_GET_ID, 0, data, BLK_ID_LEN);
	}
	while (kicks-- > 0) {
		v.b.base.ops->kick(&v.b.base, 0);
	}
	/* More kicks buy no more of the turn. */
	assert_int_equal(virtq_pending(&v.b.base.vq[0]), BLK_QUEUE_SIZE - BLK_TURN_REQUESTS);
	blkdrv_wait(&v, BLK_QUEUE_SIZE);
}

static void test_blk_requests_made_before_driver_ok_are_found(void **state)
{
	struct blkdrv_request r;
	uint64_t data;

	(void)state;
	start();
	assert_true(tdrv_negotiate(&v.d, virtio_device_features(&v.b.base)));
	tdrv_place_queue(&v.d, 0, BLK_QUEUE_SIZE);
	assert_true(tdrv_enable_queue(&v.d, 0));
	data = blkdrv_data(&v, 512);
	r = blkdrv_add(&v, BLK_T_IN, 0, data, 512);
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 15);
	for (unsigned i = 0; i < 100 && *r.status == BLKDRV_PENDING; i++) {
		loop_run_once(&v.d.loop, 10);
	}
	assert_int_equal(*r.status, BLK_S_OK);
}

static void fill_ring(enum blk_type type)
{
	uint64_t data = blkdrv_data(&v, 65536);

	for (unsigned i = 0; i < 200; i++) {
		blkdrv_add(&v, type, 0, data, 65536);
	}
}

/* Straight to the transport: tdrv_write would serve the loop until the reset is done. */
static void write_status(uint32_t status)
{
	virtio_mmio_write(&v.d.mmio, VIRTIO_MMIO_STATUS, &status, sizeof(status));
}

static void test_blk_reset_waits_for_the_host(void **state)
{
	(void)state;
	blkdrv_init(&v, &(struct disk_options){.engine = DISK_ENGINE_POOL}, SIZE);
	fill_ring(BLK_T_IN);
	v.b.disk->in_turn = true; /* so that none is answered yet */
	v.b.base.ops->kick(&v.b.base, 0);
	assert_int_equal(v.b.in_flight, BLK_TURN_REQUESTS);
	write_status(0);
	v.b.disk->in_turn = false;
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_STATUS), 15);
	assert_false(virtio_device_is_running(&v.b.base));
	write_status(1);
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_STATUS), 15);
	for (unsigned i = 0; i < 500 && v.b.in_flight > 0; i++) {
		loop_run_once(&v.d.loop, 20);
	}
	assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_STATUS), 0);
	assert_int_equal(disk_in_flight(v.b.disk), 0);
	tdrv_start(&v.d);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 0, blkdrv_data(&v, 512), 512), BLK_S_OK);
}

static bool reset_returned;

static void *reset_from_vcpu(void *arg)
{
	(void)arg;
	write_status(0);
	__atomic_store_n(&reset_returned, true, __ATOMIC_RELEASE);
	loop_stop(&v.d.loop);
	return NULL;
}

static void test_blk_vcpu_that_resets_waits_and_the_loop_does_not(void **state)
{
	pthread_t vcpu;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		blkdrv_init(&v,
			&(struct disk_options){
				.engine = i % 2 ? DISK_ENGINE_POOL : DISK_ENGINE_AUTO},
			SIZE);
		fill_ring(i % 3 ? BLK_T_IN : BLK_T_OUT);
		v.b.base.ops->kick(&v.b.base, 0);
		reset_returned = false;
		assert_int_equal(pthread_create(&vcpu, NULL, reset_from_vcpu, NULL), 0);
		loop_run(&v.d.loop);
		pthread_join(vcpu, NULL);
		assert_true(reset_returned);
		assert_int_equal(v.b.in_flight, 0);
		assert_int_equal(tdrv_read(&v.d, VIRTIO_MMIO_STATUS), 0);
		blkdrv_finish(&v);
	}
	blkdrv_init(&v, &(struct disk_options){0}, SIZE);
}

static void test_blk_finish_with_requests_in_flight(void **state)
{
	(void)state;
	start();
	fill_ring(BLK_T_OUT);
	v.b.base.ops->kick(&v.b.base, 0);
	write_status(0);
	virtio_mmio_finish(&v.d.mmio);
	v.d.dev = NULL;
	blk_finish(&v.b);
	assert_null(v.b.slots);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_blk_configuration_says_what_the_disk_is),
		T(test_blk_engine_begins_with_the_driver),
		T(test_blk_reads_what_was_written),
		T(test_blk_pieces_may_lie_anywhere),
		T(test_blk_id_is_the_name),
		T(test_blk_discards_and_zeroes_several_ranges),
		T(test_blk_driver_without_flush_gets_stable_writes),
		T(test_blk_full_ring_is_served_and_bounded),
		T(test_blk_requests_beyond_the_slots_are_served_when_one_is_free),
		T(test_blk_a_batch_is_one_call_and_one_interrupt),
		T(test_blk_what_the_host_does_at_once_wakes_nobody),
		T(test_blk_turn_is_bounded),
		T(test_blk_requests_made_before_driver_ok_are_found),
		T(test_blk_reset_waits_for_the_host),
		T(test_blk_vcpu_that_resets_waits_and_the_loop_does_not),
		T(test_blk_finish_with_requests_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
