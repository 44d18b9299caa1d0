/* SPDX-License-Identifier: MIT */
/* Log files: contents, restart, FIFOs that are read late or never, and disks that are full. */
#include "vmm/stream_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/log.h"

static struct loop loop;
static struct stream s;
static struct stream_file f;
static unsigned output_ready;
static char dir[] = "/tmp/stream_file_test.XXXXXX", path[64];
static char logged[1200];

static void dev_output_ready(struct stream *stream)
{
	(void)stream;
	output_ready++;
}

static size_t dev_input(struct stream *stream, const uint8_t *buf, size_t len)
{
	(void)stream;
	(void)buf;
	return len;
}

static const struct stream_ops dev_ops = {.output_ready = dev_output_ready, .input = dev_input};

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	snprintf(logged, sizeof(logged), "%s", line);
}

static int setup(void **state)
{
	(void)state;
	strcpy(strrchr(dir, '.') + 1, "XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	output_ready = 0;
	logged[0] = '\0';
	memset(&f, 0, sizeof(f));
	stream_init(&s, "test", &dev_ops);
	log_set_hook(on_log);
	return loop_init(&loop);
}

static int teardown(void **state)
{
	(void)state;
	stream_file_close(&f, 0);
	stream_file_close(&f, 0);
	loop_finish(&loop);
	log_set_hook(NULL);
	unlink(path);
	return rmdir(dir);
}

static size_t put(const char *text)
{
	return stream_write(&s, (const uint8_t *)text, strlen(text));
}

static void assert_file(const char *want)
{
	char buf[256] = "";
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, buf, sizeof(buf) - 1), strlen(want));
	assert_string_equal(buf, want);
	close(fd);
}

static void test_stream_file_is_emptied_or_kept(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stream_file_open(&f, &loop, &s, path, false, UINT64_MAX), 0);
	assert_int_equal(put("first\n"), 6);
	assert_file("first\n");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 077, 0);
	stream_file_close(&f, 0);
	assert_int_equal(stream_file_open(&f, &loop, &s, path, true, UINT64_MAX), 0);
	put("second\n");
	assert_file("first\nsecond\n");
	stream_file_close(&f, 0);
	assert_int_equal(stream_file_open(&f, &loop, &s, path, false, UINT64_MAX), 0);
	assert_file("");
}

static void test_stream_file_failures_name_the_path(void **state)
{
	(void)state;
	assert_int_equal(stream_file_open(&f, &loop, &s, dir, false, UINT64_MAX), -EISDIR);
	assert_non_null(strstr(logged, dir));
	assert_int_equal(stream_file_open(&f, &loop, &s, "/nowhere/at/all", false, UINT64_MAX), -ENOENT);
	assert_non_null(strstr(logged, "/nowhere/at/all"));
	mkfifo(path, 0600);
	assert_int_equal(stream_file_open(&f, &loop, &s, path, false, UINT64_MAX), -ENXIO);
	assert_non_null(strstr(logged, "nobody reads this FIFO"));
}

/* What can be known beforehand is what opening says then. */
static void test_stream_file_check_foretells_the_opening(void **state)
{
	char folder[] = "/tmp/stream-file-XXXXXX", other[64], err[400];
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(other, sizeof(other), "%s/log", folder);
	assert_int_equal(stream_file_check(other, err, sizeof(err)), 0);
	assert_int_equal(stat(other, &st), -1);
	assert_int_equal(stream_file_check(folder, err, sizeof(err)), -EISDIR);
	assert_int_equal(stream_file_open(&f, &loop, &s, folder, false, UINT64_MAX), -EISDIR);
	assert_int_equal(stream_file_check("/proc/nothing/log", err, sizeof(err)), -ENOENT);
	assert_int_equal(stream_file_check("/proc/version/log", err, sizeof(err)), -ENOTDIR);
	assert_int_equal(mkfifo(other, 0600), 0);
	assert_int_equal(stream_file_check(other, err, sizeof(err)), 0);
	unlink(other);
	if (geteuid() != 0) {
		assert_int_equal(chmod(folder, 0500), 0);
		assert_int_equal(stream_file_check(other, err, sizeof(err)), -EACCES);
	}
	rmdir(folder);
	assert_int_equal(stream_file_check("a-new-file-here", err, sizeof(err)), 0);
	logged[0] = '\0';
}

static void test_stream_file_fifo_reader_that_stops_holds_the_guest_up(void **state)
{
	static uint8_t big[200000], buf[65536];
	int fd;

	(void)state;
	mkfifo(path, 0600);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	assert_int_equal(stream_file_open(&f, &loop, &s, path, false, UINT64_MAX), 0);
	while (stream_write(&s, big, sizeof(big)) > 0) {
	}
	loop_run_once(&loop, 1);
	assert_int_equal(output_ready, 0);
	assert_true(read(fd, buf, sizeof(buf)) > 0);
	loop_run_once(&loop, 1);
	loop_run_once(&loop, 1);
	assert_int_equal(output_ready, 1);
	close(fd);
}

static void test_stream_file_full_disk_ends_the_file_not_the_guest(void **state)
{
	(void)state;
	assert_int_equal(stream_file_open(&f, &loop, &s, "/dev/full", false, UINT64_MAX), 0);
	assert_int_equal(put("lost"), 4);
	assert_non_null(strstr(logged, "/dev/full"));
	logged[0] = '\0';
	assert_int_equal(put("lost"), 4);
	assert_string_equal(logged, "");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_stream_file_is_emptied_or_kept),
		T(test_stream_file_failures_name_the_path),
		T(test_stream_file_check_foretells_the_opening),
		T(test_stream_file_fifo_reader_that_stops_holds_the_guest_up),
		T(test_stream_file_full_disk_ends_the_file_not_the_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
