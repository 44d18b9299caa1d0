/* SPDX-License-Identifier: MIT */
/* Disks on real files, with both engines: content, faults, locks, overlays, restrictions. */
#include "devices/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <liburing.h>
#include <cmocka.h>

#include "devices/disk_priv.h"
#include "vmm/log.h"

#define SIZE (1u << 20)

static struct loop loop;
static struct disk *disk;
static struct disk_options opt;
static char dir[64], path[80], err[256];
static char last_line[512];
static unsigned lines_logged;
static _Alignas(4096) uint8_t buf[SIZE], back[SIZE], model[SIZE];

static void on_log(enum log_level level, const char *line)
{
	if (level <= LOG_WARN) {
		lines_logged++;
		snprintf(last_line, sizeof(last_line), "%s", line);
	}
}

static void make_file(size_t len)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	for (size_t i = 0; i < len; i++) {
		model[i] = (uint8_t)(i / 512 * 7 + i + 1);
	}
	assert_int_equal(fwrite(model, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void open_disk(void)
{
	int r = disk_open(&disk, &opt, err, sizeof(err));

	if (r < 0) {
		fail_msg("%s", err);
	}
	assert_string_equal(
		disk_info(disk)->engine, opt.engine == DISK_ENGINE_POOL ? "threads" : "io_uring");
}

static int setup_engine(enum disk_engine engine)
{
	snprintf(dir, sizeof(dir), "/tmp/disk_test.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a.img", dir);
	make_file(SIZE);
	lines_logged = 0;
	err[0] = last_line[0] = 0;
	log_set_hook(on_log);
	assert_int_equal(loop_init(&loop), 0);
	opt = (struct disk_options){.path = path, .discard = true, .engine = engine, .loop = &loop};
	disk = NULL;
	return 0;
}

static int setup_uring(void **state)
{
	(void)state;
	return setup_engine(DISK_ENGINE_URING);
}

static int setup_pool(void **state)
{
	(void)state;
	return setup_engine(DISK_ENGINE_POOL);
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(disk_close(disk), 0);
	loop_finish(&loop);
	log_set_hook(NULL);
	unlink(path);
	assert_int_equal(rmdir(dir), 0); /* nothing else was left there */
	return 0;
}

struct req {
	struct disk_request r;
	struct iovec iov[8];
	bool done;
	int err;
};

static unsigned ndone;

static void on_done(struct disk_request *r, int e)
{
	struct req *q = (struct req *)r;

	assert_false(q->done);
	q->done = true;
	q->err = e;
	ndone++;
}

static struct req request(enum disk_op op, uint64_t offset, void *mem, size_t len)
{
	struct req q = {.r = {.op = op, .offset = offset, .len = len, .done = on_done}};

	q.iov[0] = (struct iovec){.iov_base = mem, .iov_len = len};
	q.r.niov = 1;
	return q;
}

static void submit(struct req *q)
{
	q->r.iov = q->iov;
	disk_submit(disk, &q->r);
	assert_false(q->done);
}

static void wait_for(struct req *q)
{
	disk_start(disk);
	for (unsigned i = 0; !q->done && i < 300; i++) {
		loop_run_once(&loop, 20);
	}
	assert_true(q->done);
}

static int perform(struct req q)
{
	submit(&q);
	wait_for(&q);
	return q.err;
}

static int do_read(uint64_t offset, size_t len)
{
	memset(back, 0xee, len);
	return perform(request(DISK_READ, offset, back, len));
}

static int do_write(uint64_t offset, size_t len)
{
	int r;

	for (size_t i = 0; i < len; i++) {
		buf[i] = (uint8_t)rand();
	}
	r = perform(request(DISK_WRITE, offset, buf, len));
	if (r == 0) {
		memcpy(model + offset, buf, len);
	}
	return r;
}

static int do_op(enum disk_op op, uint64_t offset, size_t len)
{
	return perform(request(op, offset, NULL, len));
}

static void expect_model(void)
{
	assert_int_equal(do_read(0, disk_info(disk)->size), 0);
	assert_memory_equal(back, model, disk_info(disk)->size);
}

/* Content. */

static void test_disk_reads_and_writes_with_every_cache(void **state)
{
	(void)state;
	for (enum disk_cache c = DISK_CACHE_WRITEBACK; c <= DISK_CACHE_UNSAFE; c++) {
		opt.cache = c;
		open_disk();
		assert_int_equal(disk_info(disk)->size, SIZE);
		expect_model();
		assert_int_equal(do_write(512, 512), 0);
		assert_int_equal(do_write(8192, 65536), 0);
		assert_int_equal(do_write(SIZE - 512, 512), 0);
		assert_int_equal(do_op(DISK_FLUSH, 0, 0), 0);
		expect_model();
		assert_int_equal(disk_close(disk), 0);
		disk = NULL;
	}
	assert_int_equal(lines_logged, 1); /* about the unsafe cache */
}

static void test_disk_memory_in_crooked_pieces(void **state)
{
	(void)state;
	for (enum disk_cache c = DISK_CACHE_WRITEBACK; c <= DISK_CACHE_DIRECT; c++) {
		struct req q;

		opt.cache = c;
		open_disk();
		q = request(DISK_READ, 1024, NULL, 4096);
		memset(back, 0, 8192);
		q.iov[0] = (struct iovec){back + 1, 1};
		q.iov[1] = (struct iovec){back + 100, 511};
		q.iov[2] = (struct iovec){back + 1000, 3584};
		q.r.niov = 3;
		submit(&q);
		wait_for(&q);
		assert_int_equal(q.err, 0);
		assert_int_equal(back[0], 0);
		assert_int_equal(back[1], model[1024]);
		assert_int_equal(back[2], 0);
		assert_memory_equal(back + 100, model + 1025, 511);
		assert_memory_equal(back + 1000, model + 1536, 3584);
		assert_int_equal(back[4584], 0);
		assert_int_equal(disk_close(disk), 0);
		disk = NULL;
	}
}

static void test_disk_many_requests_at_once(void **state)
{
	enum { N = 300 };
	static struct req q[N];

	(void)state;
	open_disk();
	for (unsigned i = 0; i < N; i++) {
		q[i] = request(i % 2 ? DISK_WRITE : DISK_READ, i * 1024,
			(i % 2 ? buf : back) + i * 1024, 1024);
		memset(buf + i * 1024, (int)i, 1024);
		if (i % 2) {
			memset(model + i * 1024, (int)i, 1024);
		}
		submit(&q[i]);
	}
	assert_int_equal(disk_in_flight(disk), N);
	for (unsigned i = 0; i < N; i++) {
		wait_for(&q[i]);
		assert_int_equal(q[i].err, 0);
		if (i % 2 == 0) {
			assert_memory_equal(back + i * 1024, model + i * 1024, 1024);
		}
	}
	assert_int_equal(disk_in_flight(disk), 0);
	expect_model();
}

static void test_disk_zeroes_and_discards(void **state)
{
	struct req q;

	(void)state;
	open_disk();
	assert_int_equal(do_op(DISK_WRITE_ZEROES, 512, 1024), 0);
	memset(model + 512, 0, 1024);
	q = request(DISK_WRITE_ZEROES, 65536, NULL, 131072);
	q.r.unmap = true;
	assert_int_equal(perform(q), 0);
	memset(model + 65536, 0, 131072);
	expect_model();
	assert_int_equal(do_op(DISK_DISCARD, 524288, 262144), 0);
	assert_int_equal(do_read(524288, 4096), 0);
	assert_int_equal(do_read(0, 4096), 0);
	assert_memory_equal(back, model, 4096);
}

static unsigned nsyncs, nfallocates, ncalls, nfault;
static int fault_result;

static int no_fallocate(struct disk_request *r, int result)
{
	nfallocates += r->step.call == DISK_CALL_FALLOCATE;
	return r->step.call == DISK_CALL_FALLOCATE ? -EOPNOTSUPP : result;
}

static void test_disk_zeroes_by_hand_where_the_host_cannot(void **state)
{
	(void)state;
	nfallocates = 0;
	for (enum disk_cache c = DISK_CACHE_WRITEBACK; c <= DISK_CACHE_DIRECT; c++) {
		opt.cache = c;
		open_disk();
		disk_set_fault(disk, no_fallocate);
		assert_int_equal(do_op(DISK_DISCARD, 0, 4096), 0);
		assert_int_equal(do_op(DISK_DISCARD, 0, 4096), 0);
		assert_int_equal(do_write(0, SIZE), 0);
		assert_int_equal(do_op(DISK_WRITE_ZEROES, 512, 3 * 65536 + 1536), 0);
		memset(model + 512, 0, 3 * 65536 + 1536);
		assert_int_equal(do_op(DISK_WRITE_ZEROES, SIZE - 512, 512), 0);
		memset(model + SIZE - 512, 0, 512);
		expect_model();
		assert_int_equal(disk_close(disk), 0);
		disk = NULL;
	}
	/* Each kind is asked for once a disk. */
	assert_int_equal(nfallocates, 4);
}

static int count_syncs(struct disk_request *r, int result)
{
	nsyncs += r->step.call == DISK_CALL_FSYNC;
	return result;
}

static void test_disk_syncs_when_it_must(void **state)
{
	struct req q;

	(void)state;
	nsyncs = 0;
	open_disk();
	disk_set_fault(disk, count_syncs);
	assert_int_equal(do_write(0, 512), 0);
	assert_int_equal(nsyncs, 0);
	assert_int_equal(do_op(DISK_FLUSH, 0, 0), 0);
	assert_int_equal(nsyncs, 1);
	q = request(DISK_WRITE, 0, buf, 512);
	q.r.stable = true;
	assert_int_equal(perform(q), 0);
	assert_int_equal(nsyncs, 2);
	q = request(DISK_WRITE_ZEROES, 0, NULL, 512);
	q.r.stable = true;
	assert_int_equal(perform(q), 0);
	assert_int_equal(nsyncs, 3);
	disk_close(disk);
	opt.cache = DISK_CACHE_UNSAFE;
	open_disk();
	disk_set_fault(disk, count_syncs);
	assert_int_equal(do_op(DISK_FLUSH, 0, 0), 0);
	assert_int_equal(nsyncs, 3);
}

/* Faults. */

static int halve(struct disk_request *r, int result)
{
	(void)r;
	ncalls++;
	return result > 700 ? result / 2 + 1 : result;
}

static void test_disk_short_reads_and_writes_are_continued(void **state)
{
	(void)state;
	for (enum disk_cache c = DISK_CACHE_WRITEBACK; c <= DISK_CACHE_DIRECT; c++) {
		opt.cache = c;
		open_disk();
		disk_set_fault(disk, halve);
		ncalls = 0;
		assert_int_equal(do_write(512, 65536), 0);
		expect_model();
		assert_true(ncalls > 10);
		disk_close(disk);
		disk = NULL;
	}
}

/* The first @nfault calls end like that. */
static int some_fault(struct disk_request *r, int result)
{
	(void)r;
	ncalls++;
	if (nfault > 0) {
		nfault--;
		return fault_result;
	}
	return result;
}

static void test_disk_host_errors_arrive(void **state)
{
	static const int errors[] = {-EIO, -ENOSPC, -EDQUOT, -EROFS, -ENOMEM};

	(void)state;
	open_disk();
	disk_set_fault(disk, some_fault);
	for (unsigned i = 0; i < 5; i++) {
		fault_result = errors[i];
		nfault = 1;
		assert_int_equal(do_write(0, 512), errors[i]);
		nfault = 1;
		assert_int_equal(do_read(0, 512), errors[i]);
		nfault = 1;
		assert_int_equal(do_op(DISK_FLUSH, 0, 0), errors[i]);
		nfault = 1;
		assert_int_equal(do_op(DISK_WRITE_ZEROES, 0, 512), errors[i]);
		nfault = 1;
		assert_int_equal(do_op(DISK_DISCARD, 0, 512), errors[i] == -EIO ? -EIO : 0);
		make_file(SIZE);
		assert_int_equal(do_read(0, 512), 0);
	}
}

static void test_disk_interrupted_calls_are_repeated_but_not_for_ever(void **state)
{
	(void)state;
	open_disk();
	disk_set_fault(disk, some_fault);
	fault_result = -EINTR;
	nfault = 5;
	assert_int_equal(do_write(0, 4096), 0);
	expect_model();
	fault_result = -EAGAIN;
	nfault = 1000;
	assert_int_equal(do_read(0, 4096), -EAGAIN);
	assert_true(nfault > 900);
}

static void test_disk_direct_refused_for_one_request_goes_through_the_cache(void **state)
{
	(void)state;
	opt.cache = DISK_CACHE_DIRECT;
	open_disk();
	disk_set_fault(disk, some_fault);
	fault_result = -EINVAL;
	nfault = 1;
	assert_int_equal(do_read(0, 4096), 0);
	assert_memory_equal(back, model, 4096);
	nfault = 2;
	assert_int_equal(do_read(0, 4096), -EINVAL);
}

static void test_disk_truncated_file_is_an_error_not_data(void **state)
{
	(void)state;
	open_disk();
	expect_model();
	assert_int_equal(truncate(path, 4096 + 100), 0);
	assert_int_equal(do_read(8192, 4096), -EIO);
	assert_int_equal(do_read(4096, 512), -EIO);
	assert_int_equal(do_read(0, 8192), -EIO);
	assert_int_equal(do_read(0, 4096), 0);
	assert_memory_equal(back, model, 4096);
}

static void test_disk_file_size_limit_is_an_error_not_a_signal(void **state)
{
	struct rlimit old, small;

	(void)state;
	open_disk();
	signal(SIGXFSZ, SIG_IGN); /* as the monitor does */
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(do_write(8192, 512), -EFBIG);
	assert_int_equal(do_write(0, 512), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, SIG_DFL);
	expect_model();
}

/* Cancelling and closing. */

static void test_disk_close_with_requests_in_flight(void **state)
{
	enum { N = 200 };
	static struct req q[N];

	(void)state;
	open_disk();
	for (unsigned i = 0; i < N; i++) {
		q[i] = request(i % 3 == 2 ? DISK_FLUSH
			       : i % 3    ? DISK_WRITE
					  : DISK_READ,
			0, buf, i % 3 == 2 ? 0 : 65536);
		submit(&q[i]);
	}
	disk_start(disk);
	assert_int_equal(disk_close(disk), 0);
	disk = NULL;
	for (unsigned i = 0; i < N; i++) {
		assert_true(q[i].done);
		assert_true(q[i].err == 0 || q[i].err == -ECANCELED);
	}
}

static void test_disk_cancel_ends_what_waits_and_later_requests_work(void **state)
{
	enum { N = 300 };
	static struct req q[N];
	unsigned canceled = 0;

	(void)state;
	open_disk();
	for (unsigned i = 0; i < N; i++) {
		q[i] = request(DISK_READ, 0, back, 512);
		submit(&q[i]);
	}
	/* Not started: the host has seen none of them. */
	disk_cancel(disk);
	assert_false(q[0].done);
	assert_int_equal(disk_in_flight(disk), N);
	assert_int_equal(disk_drain(disk, 5000), 0);
	for (unsigned i = 0; i < N; i++) {
		assert_true(q[i].done);
		canceled += q[i].err == -ECANCELED;
	}
	assert_int_equal(canceled, N);
	expect_model();
}

static int stop_halfway(struct disk_request *r, int result)
{
	(void)r;
	disk_cancel(disk);
	return result;
}

static void test_disk_cancel_ends_a_long_request_between_two_steps(void **state)
{
	struct req q = request(DISK_READ, 0, back, 8192);

	(void)state;
	open_disk();
	disk_set_fault(disk, stop_halfway);
	submit(&q);
	wait_for(&q);
	assert_int_equal(q.err, -ECANCELED);
	disk_set_fault(disk, NULL);
	expect_model();
}

static unsigned nbatches;

static void on_batch(void *ctx)
{
	assert_ptr_equal(ctx, &nbatches);
	nbatches++;
}

static void test_disk_batch_follows_the_answers(void **state)
{
	struct req a = request(DISK_READ, 0, back, 512), b = request(DISK_FLUSH, 0, NULL, 0);

	(void)state;
	opt.cache = DISK_CACHE_UNSAFE;
	open_disk();
	nbatches = 0;
	disk_set_batch(disk, on_batch, &nbatches);
	submit(&a);
	submit(&b);
	wait_for(&a);
	wait_for(&b);
	assert_true(nbatches == 1 || nbatches == 2);
}

/* Locks. */

static int try_open(bool readonly, bool ephemeral)
{
	struct disk_options o = opt;
	struct disk *second;
	int r;

	o.readonly = readonly;
	o.ephemeral = ephemeral;
	r = disk_open(&second, &o, err, sizeof(err));
	if (r == 0) {
		assert_int_equal(disk_close(second), 0);
	}
	return r;
}

static void test_disk_one_writer_or_many_readers(void **state)
{
	(void)state;
	open_disk();
	assert_int_equal(try_open(false, false), -EBUSY);
	assert_non_null(strstr(err, path));
	assert_non_null(strstr(err, "another program"));
	assert_int_equal(try_open(true, false), -EBUSY);
	assert_int_equal(try_open(false, true), -EBUSY);
	assert_int_equal(disk_close(disk), 0);
	opt.readonly = true;
	open_disk();
	assert_int_equal(try_open(true, false), 0);
	assert_int_equal(try_open(false, true), 0);
	assert_int_equal(try_open(false, false), -EBUSY);
	assert_non_null(strstr(err, "for reading"));
	assert_int_equal(disk_close(disk), 0);
	opt.readonly = false;
	open_disk();
}

/* The bytes QEMU looks at: 101 "somebody writes", 201 "nobody else may write". */
static bool byte_is_locked(int byte)
{
	struct flock l = {.l_type = F_WRLCK, .l_start = byte, .l_len = 1};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_GETLK, &l), 0);
	close(fd);
	return l.l_type != F_UNLCK;
}

static void test_disk_lock_is_on_the_bytes_of_qemu(void **state)
{
	static const int writer[] = {100, 101, 102, 103, 201, 202, 203};

	(void)state;
	open_disk();
	for (int byte = 96; byte < 210; byte++) {
		bool want = false;

		for (unsigned i = 0; i < 7; i++) {
			want |= writer[i] == byte;
		}
		assert_int_equal(byte_is_locked(byte), want);
	}
	disk_close(disk);
	opt.readonly = true;
	open_disk();
	assert_true(byte_is_locked(100) && byte_is_locked(201) && byte_is_locked(203));
	assert_false(byte_is_locked(101) || byte_is_locked(202));
	disk_close(disk);
	disk = NULL;
	assert_false(byte_is_locked(100) || byte_is_locked(201));
}

static void test_disk_foreign_lock_on_one_byte_is_enough(void **state)
{
	static const int bytes[] = {101, 201};
	struct flock l = {.l_type = F_RDLCK, .l_len = 1};
	int fd;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		l.l_start = bytes[i];
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
		assert_int_equal(try_open(false, false), -EBUSY);
		assert_int_equal(try_open(true, false), i == 0 ? -EBUSY : 0);
		close(fd);
	}
	assert_int_equal(try_open(false, false), 0);
}

static void test_disk_lock_goes_with_a_killed_process(void **state)
{
	int ready[2];
	char c;
	pid_t pid;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(pipe(ready), 0);
		pid = fork();
		if (pid == 0) {
			static struct req q;

			open_disk();
			q = request(DISK_WRITE, 0, buf, 65536);
			submit(&q);
			disk_start(disk);
			assert_int_equal(write(ready[1], "x", 1), 1);
			pause();
		}
		assert_int_equal(read(ready[0], &c, 1), 1);
		assert_int_equal(try_open(false, false), -EBUSY);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(ready[0]);
		close(ready[1]);
		assert_int_equal(try_open(false, false), 0);
	}
}

/* Ephemeral. */

static uint8_t base[SIZE];

static void expect_base_untouched(void)
{
	FILE *f = fopen(path, "re");

	assert_non_null(f);
	assert_int_equal(fread(back, 1, SIZE, f), SIZE);
	fclose(f);
	assert_memory_equal(back, base, SIZE);
}

static void hammer(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t offset = (uint64_t)(rand() % 2000) * 512;
		size_t len = (size_t)(rand() % 40 + 1) * 512;

		if (rand() % 8 == 0) {
			assert_int_equal(
				do_op(rand() % 2 ? DISK_WRITE_ZEROES : DISK_DISCARD, offset, len),
				0);
			memset(model + offset, 0, len);
		} else if (rand() % 2) {
			assert_int_equal(do_write(offset, len), 0);
		} else {
			assert_int_equal(do_read(offset, len), 0);
			assert_memory_equal(back, model + offset, len);
		}
	}
}

static void test_disk_ephemeral_changes_are_seen_and_forgotten(void **state)
{
	(void)state;
	memcpy(base, model, SIZE);
	for (unsigned i = 0; i < 3; i++) {
		memcpy(model, base, SIZE);
		opt.ephemeral = true;
		opt.overlay_dir = i == 1 ? dir : NULL;
		opt.cache = i == 2 ? DISK_CACHE_DIRECT : DISK_CACHE_WRITEBACK;
		open_disk();
		assert_false(disk_info(disk)->readonly);
		hammer(400);
		disk_set_fault(disk, halve);
		hammer(200);
		assert_int_equal(do_op(DISK_FLUSH, 0, 0), 0);
		expect_model();
		assert_memory_not_equal(model, base, SIZE);
		expect_base_untouched();
		assert_int_equal(disk_close(disk), 0);
		disk = NULL;
		expect_base_untouched();
	}
}

static void test_disk_ephemeral_ones_share_a_base(void **state)
{
	struct disk *first;

	(void)state;
	opt.ephemeral = true;
	assert_int_equal(chmod(path, 0400), 0);
	open_disk();
	assert_int_equal(do_write(0, 4096), 0);
	first = disk;
	open_disk();
	assert_int_equal(do_read(0, 4096), 0);
	assert_memory_not_equal(back, model, 4096);
	assert_int_equal(disk_close(first), 0);
}

static void test_disk_ephemeral_failed_write_shows_no_half(void **state)
{
	(void)state;
	opt.ephemeral = true;
	open_disk();
	disk_set_fault(disk, some_fault);
	fault_result = -ENOSPC;
	nfault = 1;
	assert_int_equal(do_write(4096, 4096), -ENOSPC);
	expect_model();
}

/* Opening. */

static int refuses(const char *text)
{
	int r = disk_open(&disk, &opt, err, sizeof(err));

	assert_true(r < 0);
	assert_null(disk);
	if (!strstr(err, text) || !strstr(err, opt.path)) {
		fail_msg("\"%s\" does not name %s and \"%s\"", err, opt.path, text);
	}
	assert_int_equal(lines_logged, 0);
	return r;
}

static void test_disk_open_says_what_is_wrong(void **state)
{
	(void)state;
	opt.path = "/nonexistent.img";
	assert_int_equal(refuses("No such file"), -ENOENT);
	opt.path = dir;
	assert_int_equal(refuses("is a directory"), -EINVAL);
	opt.path = "/dev/null";
	assert_int_equal(refuses("special file"), -EINVAL);
	opt.path = path;
	assert_int_equal(truncate(path, 511), 0);
	assert_int_equal(refuses("is empty"), -EINVAL);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(refuses("special file"), -EINVAL);
}

static void test_disk_overlay_directory_that_is_not_there(void **state)
{
	(void)state;
	opt.ephemeral = true;
	opt.overlay_dir = "/nonexistent";
	assert_int_equal(refuses("/nonexistent"), -ENOENT);
}

static void test_disk_warns_about_content(void **state)
{
	(void)state;
	make_file(8192 + 100);
	open_disk();
	assert_int_equal(disk_info(disk)->size, 8192);
	assert_int_equal(lines_logged, 1);
	assert_non_null(strstr(last_line, "100 bytes"));
	memcpy(buf, "QFI\xfb", 4);
	assert_int_equal(perform(request(DISK_WRITE, 0, buf, 512)), 0);
	assert_int_equal(truncate(path, 8192), 0);
	disk_close(disk);
	open_disk();
	assert_int_equal(lines_logged, 2);
	assert_non_null(strstr(last_line, "qcow2"));
}

static void test_disk_can_be_only_checked(void **state)
{
	(void)state;
	opt.loop = NULL;
	assert_int_equal(disk_open(&disk, &opt, err, sizeof(err)), 0);
	assert_string_equal(disk_info(disk)->engine, "none");
}

/* Engines. */

static int after(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int result;

	assert_int_equal(io_uring_submit(ring), 1);
	assert_int_equal(io_uring_wait_cqe(ring, &cqe), 0);
	result = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return result;
}

static void test_disk_ring_does_nothing_but_disks(void **state)
{
	struct io_uring *ring;
	struct io_uring_sqe *sqe;
	int fd = 0;

	(void)state;
	open_disk();
	ring = disk->engine;
	io_uring_prep_nop(io_uring_get_sqe(ring));
	assert_int_equal(after(ring), -EACCES);
	io_uring_prep_openat(io_uring_get_sqe(ring), AT_FDCWD, path, O_RDONLY, 0);
	assert_int_equal(after(ring), -EACCES);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_readv(sqe, 0, NULL, 0, 0); /* a descriptor that was not registered */
	assert_int_equal(after(ring), -EACCES);
	assert_int_equal(io_uring_register_files_update(ring, 0, &fd, 1), -EACCES);
}

static void forbid_io_uring(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = 4, .filter = f};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0) {
		_exit(77);
	}
}

static void test_disk_threads_where_io_uring_is_forbidden(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	opt.engine = DISK_ENGINE_AUTO;
	pid = fork();
	if (pid == 0) {
		forbid_io_uring();
		if (disk_open(&disk, &opt, err, sizeof(err)) < 0) {
			_exit(1);
		}
		_exit(strcmp(disk_info(disk)->engine, "threads") == 0 && do_read(0, 4096) == 0 ? 0
											       : 2);
	}
	waitpid(pid, &status, 0);
	if (WEXITSTATUS(status) == 77) {
		skip();
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define T(name)                                                                                    \
	{#name, name, setup_uring, teardown, NULL},                                                \
	{                                                                                          \
#name "_with_threads", name, setup_pool, teardown, NULL                            \
	}
#define ONCE(name) cmocka_unit_test_setup_teardown(name, setup_uring, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_disk_reads_and_writes_with_every_cache),
		T(test_disk_memory_in_crooked_pieces),
		T(test_disk_many_requests_at_once),
		T(test_disk_zeroes_and_discards),
		T(test_disk_zeroes_by_hand_where_the_host_cannot),
		T(test_disk_syncs_when_it_must),
		T(test_disk_short_reads_and_writes_are_continued),
		T(test_disk_host_errors_arrive),
		T(test_disk_interrupted_calls_are_repeated_but_not_for_ever),
		T(test_disk_direct_refused_for_one_request_goes_through_the_cache),
		T(test_disk_truncated_file_is_an_error_not_data),
		T(test_disk_file_size_limit_is_an_error_not_a_signal),
		T(test_disk_close_with_requests_in_flight),
		T(test_disk_cancel_ends_what_waits_and_later_requests_work),
		T(test_disk_cancel_ends_a_long_request_between_two_steps),
		T(test_disk_batch_follows_the_answers),
		ONCE(test_disk_one_writer_or_many_readers),
		ONCE(test_disk_lock_is_on_the_bytes_of_qemu),
		ONCE(test_disk_foreign_lock_on_one_byte_is_enough),
		T(test_disk_lock_goes_with_a_killed_process),
		T(test_disk_ephemeral_changes_are_seen_and_forgotten),
		T(test_disk_ephemeral_ones_share_a_base),
		T(test_disk_ephemeral_failed_write_shows_no_half),
		ONCE(test_disk_open_says_what_is_wrong),
		ONCE(test_disk_overlay_directory_that_is_not_there),
		ONCE(test_disk_warns_about_content),
		ONCE(test_disk_can_be_only_checked),
		ONCE(test_disk_ring_does_nothing_but_disks),
		ONCE(test_disk_threads_where_io_uring_is_forbidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
