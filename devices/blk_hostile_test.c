/* SPDX-License-Identifier: MIT */
/* The hostile-guest table against virtio-blk over a real file, in both directions of its queue;
 * then what only a block device can be asked, and what others' block devices got wrong. */
#include "devices/blk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "devices/disk_priv.h"
#include "tests/support/blkdrv.h"
#include "tests/support/hostile.h"
#include "vmm/log.h"

static struct blk b;

static struct virtio_device *create_with(struct tdrv *d, enum disk_engine engine)
{
	char path[] = "/tmp/blk_hostile_test.XXXXXX", err[256];
	struct disk_options o = {.path = path, .discard = true, .engine = engine};
	struct disk *disk;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(disk_open(&disk, &o, err, sizeof(err)), 0);
	blk_init(&b, "disk0", disk, &d->loop, &d->mem);
	close(fd);
	unlink(path);
	return &b.base;
}

static struct virtio_device *create(struct tdrv *d)
{
	return create_with(d, DISK_ENGINE_URING);
}

static struct virtio_device *create_with_threads(struct tdrv *d)
{
	return create_with(d, DISK_ENGINE_POOL);
}

static void destroy(void)
{
	blk_finish(&b);
}

static void works(struct tdrv *d)
{
	uint64_t out = tdrv_alloc(d, 16, 1), in = tdrv_alloc(d, 513, 1);
	uint16_t want = tdrv_add(d, 0, out, 16, in, 513);
	uint8_t *got = tdrv_ptr(d, in, 513);
	unsigned irqs = d->used_irqs;
	uint32_t head, len;

	memset(tdrv_ptr(d, out, 16), 0, 16);
	memset(got, 0xee, 513);
	tdrv_kick(d, 0);
	for (unsigned i = 0; d->used_irqs == irqs && i < 500; i++) {
		loop_run_once(&d->loop, 20);
	}
	assert_true(tdrv_used(d, 0, &head, &len));
	assert_int_equal(head, want);
	assert_int_equal(len, 513);
	assert_true(got[0] == 0 && got[511] == 0);
	assert_int_equal(got[512], BLK_S_OK);
}

/* Its own rows. */

#define SIZE    (1u << 20)
#define SECTORS (SIZE / 512)

static struct blkdrv v;
static uint64_t data;
static unsigned lines_logged;

static void on_log(enum log_level level, const char *line)
{
	(void)line;
	lines_logged += level <= LOG_WARN;
}

static void start_with(const struct disk_options *o)
{
	blkdrv_init(&v, o, SIZE);
	data = blkdrv_data(&v, 65536);
}

static int setup(void **state)
{
	(void)state;
	lines_logged = 0;
	log_set_hook(on_log);
	start_with(&(struct disk_options){.discard = true});
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	blkdrv_finish(&v);
	log_set_hook(NULL);
	return 0;
}

static void expect_untouched(void)
{
	uint8_t *bytes = malloc(SIZE);
	FILE *f = fopen(v.path, "re");

	assert_true(f && bytes);
	assert_int_equal(fread(bytes, 1, SIZE, f), SIZE);
	assert_int_equal(fgetc(f), EOF);
	for (size_t i = 0; i < SIZE; i++) {
		assert_int_equal(bytes[i], (uint8_t)(i / 512 + i));
	}
	fclose(f);
	free(bytes);
}

static void expect_works(void)
{
	assert_true(virtio_device_is_running(&v.b.base));
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 0, data, 512), BLK_S_OK);
}

static void test_blk_hostile_range_outside_the_disk(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
	} rows[] = {{SECTORS, 512}, {SECTORS - 1, 1024}, {UINT64_MAX, 512}, {UINT64_MAX, 1024},
		{1ull << 55, 512}, {(1ull << 55) - 1, 1024}, {UINT64_MAX / 512 + 1, 512},
		{1ull << 63, 65536}};

	(void)state;
	memset(blkdrv_ptr(&v, data, 65536), 0x77, 65536);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(
			blkdrv_do(&v, BLK_T_OUT, rows[i].sector, data, rows[i].len), BLK_S_IOERR);
		assert_int_equal(
			blkdrv_do(&v, BLK_T_IN, rows[i].sector, data, rows[i].len), BLK_S_IOERR);
		assert_int_equal(v.used_len, 0);
	}
	expect_untouched();
	expect_works();
}

static void test_blk_hostile_length_not_of_sectors(void **state)
{
	static const uint32_t lens[] = {0, 1, 511, 513, 1023, 65535};

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(blkdrv_do(&v, BLK_T_OUT, 0, data, lens[i]), BLK_S_IOERR);
		assert_int_equal(blkdrv_do(&v, BLK_T_IN, 0, data, lens[i]), BLK_S_IOERR);
	}
	expect_untouched();
	expect_works();
}

/* CVE-2026-48914 and older: what passed SCSI commands through to the host. */
static void test_blk_hostile_scsi_and_unknown_types(void **state)
{
	static const uint32_t types[] = {
		2, 3, 5, 6, 7, 9, 10, 12, 14, 0x80000000u, 0x80000001u, UINT32_MAX};

	(void)state;
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		assert_int_equal(blkdrv_do(&v, types[i], 0, data, 512), BLK_S_UNSUPP);
		assert_int_equal(v.used_len, 0);
	}
	expect_works();
}

static void test_blk_hostile_header_cut_short(void **state)
{
	uint64_t status = blkdrv_data(&v, 1), table = blkdrv_data(&v, 32);
	uint8_t *s = blkdrv_ptr(&v, status, 1);

	(void)state;
	/* With the rest of it, a request that would be done. */
	memset(blkdrv_ptr(&v, data, 16), 0, 16);
	*(uint8_t *)blkdrv_ptr(&v, data, 1) = BLK_T_FLUSH;
	for (uint32_t len = 0; len < 16; len++) {
		*s = BLKDRV_PENDING;
		tdrv_desc(&v.d, table, 0, data, len, TDRV_NEXT, 1);
		tdrv_desc(&v.d, table, 1, status, 1, TDRV_WRITE, 0);
		blkdrv_offer(&v, table, 2);
		blkdrv_wait(&v, 1);
		assert_int_equal(*s, BLK_S_IOERR);
	}
	expect_works();
}

static void test_blk_hostile_no_room_for_the_status(void **state)
{
	uint64_t table = blkdrv_data(&v, 32);

	(void)state;
	memset(blkdrv_ptr(&v, data, 1024), 0, 1024);
	((uint8_t *)blkdrv_ptr(&v, data, 1))[0] = BLK_T_OUT;
	tdrv_desc(&v.d, table, 0, data, 16, TDRV_NEXT, 1);
	tdrv_desc(&v.d, table, 1, data + 16, 512, 0, 0);
	blkdrv_offer(&v, table, 2);
	blkdrv_wait(&v, 1);
	assert_int_equal(v.used_len, 0);
	expect_untouched();
	expect_works();
}

static void test_blk_hostile_status_is_the_last_byte_alone(void **state)
{
	uint64_t table = blkdrv_data(&v, 48);
	uint8_t *p = blkdrv_ptr(&v, data, 2048);

	(void)state;
	/* The data's piece ends one byte early: the status follows in the same piece as data. */
	memset(p, 0, 16);
	memset(p + 16, 0xee, 1024);
	tdrv_desc(&v.d, table, 0, data, 16, TDRV_NEXT, 1);
	tdrv_desc(&v.d, table, 1, data + 16, 512, TDRV_WRITE, 0);
	blkdrv_offer(&v, table, 2);
	blkdrv_wait(&v, 1);
	assert_int_equal(
		v.used_len, 0); /* 511 bytes of data: refused, nothing but the status written */
	assert_int_equal(p[16], 0xee);
	assert_int_equal(p[16 + 511], BLK_S_IOERR);
	assert_int_equal(p[16 + 512], 0xee);
	expect_works();
}

static void test_blk_hostile_readonly_disk_is_never_written(void **state)
{
	const struct blkdrv_range range = {0, 8, 0};

	(void)state;
	blkdrv_finish(&v);
	start_with(&(struct disk_options){.readonly = true, .discard = true});
	assert_int_equal(blkdrv_do(&v, BLK_T_OUT, 0, data, 512), BLK_S_IOERR);
	assert_int_equal(blkdrv_do_ranges(&v, BLK_T_DISCARD, &range, 1), BLK_S_IOERR);
	assert_int_equal(blkdrv_do_ranges(&v, BLK_T_WRITE_ZEROES, &range, 1), BLK_S_IOERR);
	assert_int_equal(blkdrv_do(&v, BLK_T_FLUSH, 0, 0, 0), BLK_S_OK);
	expect_untouched();
	expect_works();
}

static void test_blk_hostile_ranges_outside_limits(void **state)
{
	static const struct {
		uint32_t type;
		struct blkdrv_range range;
		uint8_t want;
	} rows[] = {
		{BLK_T_DISCARD, {SECTORS, 1, 0}, BLK_S_IOERR},
		{BLK_T_DISCARD, {0, SECTORS + 1, 0}, BLK_S_IOERR},
		{BLK_T_DISCARD, {UINT64_MAX, 2, 0}, BLK_S_IOERR},
		{BLK_T_DISCARD, {1ull << 55, 1, 0}, BLK_S_IOERR},
		{BLK_T_DISCARD, {0, UINT32_MAX, 0}, BLK_S_IOERR},
		{BLK_T_DISCARD, {0, 0, 0}, BLK_S_IOERR},
		{BLK_T_DISCARD, {0, 1, 1}, BLK_S_UNSUPP},
		{BLK_T_DISCARD, {0, 1, 2}, BLK_S_UNSUPP},
		{BLK_T_WRITE_ZEROES, {0, 1, 2}, BLK_S_UNSUPP},
		{BLK_T_WRITE_ZEROES, {0, 1, 0x80000001u}, BLK_S_UNSUPP},
		{BLK_T_WRITE_ZEROES, {SECTORS - 1, 2, 1}, BLK_S_IOERR},
		{BLK_T_WRITE_ZEROES, {0, BLK_RANGE_SECTORS_MAX + 1, 0}, BLK_S_IOERR},
	};
	const struct blkdrv_range good_then_bad[] = {{0, 8, 0}, {SECTORS, 1, 0}};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(
			blkdrv_do_ranges(&v, rows[i].type, &rows[i].range, 1), rows[i].want);
	}
	/* All of them are checked before the first is done. */
	assert_int_equal(blkdrv_do_ranges(&v, BLK_T_WRITE_ZEROES, good_then_bad, 2), BLK_S_IOERR);
	expect_untouched();
	expect_works();
}

static void reopen(void)
{
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	virtio_mmio_finish(&v.d.mmio);
	blk_finish(&v.b);
	blkdrv_attach(&v, &(struct disk_options){.discard = true});
	tdrv_start(&v.d);
	data = blkdrv_data(&v, 65536);
}

static void test_blk_hostile_range_larger_than_announced(void **state)
{
	struct blkdrv_range range = {8, BLK_RANGE_SECTORS_MAX, 0};

	(void)state;
	assert_int_equal(truncate(v.path, 3ll << 30), 0); /* sparse */
	reopen();
	assert_int_equal(blkdrv_do_ranges(&v, BLK_T_DISCARD, &range, 1), BLK_S_OK);
	range.num_sectors++;
	assert_int_equal(blkdrv_do_ranges(&v, BLK_T_DISCARD, &range, 1), BLK_S_IOERR);
	assert_int_equal(blkdrv_do_ranges(&v, BLK_T_WRITE_ZEROES, &range, 1), BLK_S_IOERR);
	expect_works();
}

/* OpenBSD vmd: lengths from descriptors sized buffers of the host. */
static void test_blk_hostile_list_of_ranges_of_any_length(void **state)
{
	static const uint32_t lens[] = {0, 1, 15, 17, 16 * BLK_RANGES_MAX + 16, 65536};

	(void)state;
	memset(blkdrv_ptr(&v, data, 65536), 0, 65536);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(blkdrv_do(&v, BLK_T_WRITE_ZEROES, 0, data, lens[i]), BLK_S_IOERR);
	}
	expect_untouched();
	expect_works();
}

static void test_blk_hostile_ranges_that_were_not_negotiated(void **state)
{
	const struct blkdrv_range range = {0, 8, 0};

	(void)state;
	tdrv_start_without(&v.d, BLK_F_DISCARD | BLK_F_WRITE_ZEROES);
	data = blkdrv_data(&v, 512);
	assert_int_equal(blkdrv_do_ranges(&v, BLK_T_DISCARD, &range, 1), BLK_S_UNSUPP);
	assert_int_equal(blkdrv_do_ranges(&v, BLK_T_WRITE_ZEROES, &range, 1), BLK_S_UNSUPP);
	expect_untouched();
	expect_works();
}

/* Mistakes made elsewhere. */

/* CVE-2016-5403: more requests in flight than the ring holds took host memory without end. */
static void test_blk_cve_2016_5403_in_flight_is_bounded(void **state)
{
	unsigned answered = 0;
	uint32_t head, len;

	(void)state;
	v.b.disk->in_turn = true; /* the host is slow: nothing is answered */
	for (unsigned i = 0; i < BLK_QUEUE_SIZE; i++) {
		blkdrv_add(&v, BLK_T_IN, 0, data, 512);
	}
	for (unsigned i = 0; i < 20; i++) {
		v.b.base.ops->kick(&v.b.base, 0);
		loop_run_once(&v.d.loop, 2);
	}
	assert_int_equal(v.b.in_flight, BLK_SLOTS);
	/* The same heads again, as if they had been answered. */
	for (unsigned i = 0; i < BLK_SLOTS; i++) {
		tdrv_offer(&v.d, 0, 0);
	}
	v.b.base.ops->kick(&v.b.base, 0);
	assert_int_equal(v.b.in_flight, BLK_SLOTS);
	v.b.disk->in_turn = false;
	tdrv_kick(&v.d, 0);
	while (tdrv_used(&v.d, 0, &head, &len)) {
		answered++;
	}
	assert_true(answered <= BLK_QUEUE_SIZE + BLK_SLOTS);
	tdrv_start(&v.d);
	data = blkdrv_data(&v, 512);
	expect_works();
}

/* CVE-2026-45782: completions after a reset. Sanitizers look at the memory. */
static void test_blk_cve_2026_45782_reset_storm_under_load(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		if (i == 100) {
			blkdrv_finish(&v);
			start_with(&(struct disk_options){
				.discard = true, .engine = DISK_ENGINE_POOL});
		}
		for (unsigned n = 0; n < i % 130; n++) {
			blkdrv_add(&v, n % 3 ? BLK_T_IN : BLK_T_FLUSH, n, data, n % 3 ? 4096 : 0);
		}
		v.b.base.ops->kick(&v.b.base, 0);
		if (i % 4 == 0) {
			loop_run_once(&v.d.loop, 0);
		}
		if (i % 5 == 0) {
			tdrv_set_avail_idx(
				&v.d, 0, 0x7000); /* the ring breaks with requests in flight */
			v.b.base.ops->kick(&v.b.base, 0);
		}
		tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
		assert_int_equal(v.b.in_flight, 0);
		tdrv_start(&v.d);
		data = blkdrv_data(&v, 65536);
	}
	expect_works();
	expect_untouched();
}

/* The image's type was guessed from its content, so a guest could write itself a qcow2 header. */
static void test_blk_ghsa_jmr4_qcow2_header_stays_data(void **state)
{
	static const uint8_t header[] = "QFI\xfb\0\0\0\3\0\0\0\0\0\0\1\0\0\0\0\13/etc/passwd";
	uint8_t *p = blkdrv_ptr(&v, data, 512);

	(void)state;
	memset(p, 0, 512);
	memcpy(p, header, sizeof(header));
	assert_int_equal(blkdrv_do(&v, BLK_T_OUT, 0, data, 512), BLK_S_OK);
	reopen();
	assert_int_equal(disk_info(v.b.disk)->size, SIZE);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 0, data, 512), BLK_S_OK);
	assert_memory_equal(blkdrv_ptr(&v, data, 32), header, sizeof(header));
}

static int shorter(struct disk_request *r, int result)
{
	(void)r;
	return result > 600 ? result / 2 + 3 : result;
}

/* Firecracker 5485 (vsock): what a short read had already brought was brought again. */
static void test_blk_fc_5485_short_reads_are_accounted_exactly(void **state)
{
	uint8_t *p = blkdrv_ptr(&v, data, 32768);

	(void)state;
	disk_set_fault(v.b.disk, shorter);
	memset(p, 0xee, 32768);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 5, data, 30720), BLK_S_OK);
	assert_int_equal(v.used_len, 30721);
	for (unsigned i = 0; i < 30720; i++) {
		assert_int_equal(p[i], (uint8_t)((i + 2560) / 512 + i + 2560));
	}
	assert_int_equal(p[30720], 0xee);
}

/* Firecracker 5762, 5794: the guest's length sized host memory, or held the loop. */
static void test_blk_fc_5762_largest_request_is_one_slot(void **state)
{
	enum { N = BLK_SEG_MAX };
	uint64_t table = blkdrv_data(&v, 16 * (N + 2)), status = blkdrv_data(&v, 1);
	uint8_t *s = blkdrv_ptr(&v, status, 1);

	(void)state;
	/* Every segment the same memory; in all more than the disk has, then nearly all of it. */
	for (uint32_t len = 8192; len >= 4096; len -= 4096) {
		memset(blkdrv_ptr(&v, data, 16), 0, 16);
		tdrv_desc(&v.d, table, 0, data, 16, TDRV_NEXT, 1);
		for (unsigned i = 1; i <= N; i++) {
			tdrv_desc(&v.d, table, i, data + 4096, len, TDRV_NEXT | TDRV_WRITE,
				(uint16_t)(i + 1));
		}
		tdrv_desc(&v.d, table, N + 1, status, 1, TDRV_WRITE, 0);
		*s = BLKDRV_PENDING;
		blkdrv_offer(&v, table, N + 2);
		blkdrv_wait(&v, 1);
		assert_int_equal(*s, len == 4096 ? BLK_S_OK : BLK_S_IOERR);
	}
	expect_works();
}

static int host_error;

static int fail_with(struct disk_request *r, int result)
{
	(void)r;
	(void)result;
	return host_error;
}

/* cloud-hypervisor 6995: a full host disk ended the whole program. */
static void test_blk_chv_6995_host_errors_are_one_requests(void **state)
{
	static const int errors[] = {-EIO, -ENOSPC, -EDQUOT, -EFBIG};
	const struct blkdrv_range range = {0, 8, 0};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		host_error = errors[i];
		disk_set_fault(v.b.disk, fail_with);
		lines_logged = 0;
		assert_int_equal(blkdrv_do(&v, BLK_T_OUT, 0, data, 512), BLK_S_IOERR);
		assert_int_equal(blkdrv_do(&v, BLK_T_IN, 0, data, 512), BLK_S_IOERR);
		assert_int_equal(v.used_len, 0);
		assert_int_equal(blkdrv_do(&v, BLK_T_FLUSH, 0, 0, 0), BLK_S_IOERR);
		assert_int_equal(blkdrv_do_ranges(&v, BLK_T_WRITE_ZEROES, &range, 1), BLK_S_IOERR);
		assert_true(i > 0 || lines_logged > 0);
		disk_set_fault(v.b.disk, NULL);
		expect_works();
	}
}

static void test_blk_truncated_file_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(truncate(v.path, 4096), 0);
	memset(blkdrv_ptr(&v, data, 4096), 0xee, 4096);
	assert_int_equal(blkdrv_do(&v, BLK_T_IN, 8, data, 4096), BLK_S_IOERR);
	assert_int_equal(*(uint8_t *)blkdrv_ptr(&v, data, 1), 0xee);
	expect_works();
}

/* A guest that floods with nonsense is reported, not echoed. */
static void test_blk_flood_of_nonsense_does_not_flood_the_log(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(blkdrv_do(&v, 77, 0, data, 512), BLK_S_UNSUPP);
	}
	assert_true(lines_logged <= 20);
	expect_works();
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int run_own_rows(void)
{
	const struct CMUnitTest tests[] = {
		T(test_blk_hostile_range_outside_the_disk),
		T(test_blk_hostile_length_not_of_sectors),
		T(test_blk_hostile_scsi_and_unknown_types),
		T(test_blk_hostile_header_cut_short),
		T(test_blk_hostile_no_room_for_the_status),
		T(test_blk_hostile_status_is_the_last_byte_alone),
		T(test_blk_hostile_readonly_disk_is_never_written),
		T(test_blk_hostile_ranges_outside_limits),
		T(test_blk_hostile_range_larger_than_announced),
		T(test_blk_hostile_list_of_ranges_of_any_length),
		T(test_blk_hostile_ranges_that_were_not_negotiated),
		T(test_blk_cve_2016_5403_in_flight_is_bounded),
		T(test_blk_cve_2026_45782_reset_storm_under_load),
		T(test_blk_ghsa_jmr4_qcow2_header_stays_data),
		T(test_blk_fc_5485_short_reads_are_accounted_exactly),
		T(test_blk_fc_5762_largest_request_is_one_slot),
		T(test_blk_chv_6995_host_errors_are_one_requests),
		T(test_blk_truncated_file_is_an_error),
		T(test_blk_flood_of_nonsense_does_not_flood_the_log),
	};

	return cmocka_run_group_tests_name("blk_hostile", tests, NULL, NULL);
}

int main(void)
{
	static const struct hostile_target in = {
		.create = create, .destroy = destroy, .queue = 0, .writable = true, .works = works};
	static const struct hostile_target out = {.create = create_with_threads,
		.destroy = destroy,
		.queue = 0,
		.writable = false,
		.works = works};
	/* First what has a name: a crash ends the program, and noise finds much. */
	int failed = run_own_rows();

	failed += hostile_run("blk_hostile_writable", &in);
	failed += hostile_run("blk_hostile_readable_with_threads", &out);
	return failed;
}
