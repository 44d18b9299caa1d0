/* SPDX-License-Identifier: MIT */
/* The folder of unpacked kernels: who may have written it, and what goes when there is too much. */
#include "boot/kernel_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/clock.h"

static char dir[64];
static int dir_fd;

static int setup(void **state)
{
	char path[128];

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/kernel_cache_test.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a/b", dir);
	dir_fd = kernel_cache_open(path);
	assert_true(dir_fd >= 0);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	close(dir_fd);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void test_cache_path(void **state)
{
	char path[64], home[] = "/home/me";

	(void)state;
	setenv("XDG_CACHE_HOME", "/c", 1);
	assert_int_equal(kernel_cache_path(path, sizeof(path)), 0);
	assert_string_equal(path, "/c/tinyvmm/kernels");
	setenv("XDG_CACHE_HOME", "relative", 1);
	setenv("HOME", home, 1);
	assert_int_equal(kernel_cache_path(path, sizeof(path)), 0);
	assert_string_equal(path, "/home/me/.cache/tinyvmm/kernels");
	assert_int_equal(kernel_cache_path(path, 10), -ENAMETOOLONG);
	unsetenv("HOME");
	unsetenv("XDG_CACHE_HOME");
	assert_int_equal(kernel_cache_path(path, sizeof(path)), -ENOENT);
}

static void test_cache_folder_of_others_is_refused(void **state)
{
	char path[128], link[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/a/b", dir);
	snprintf(link, sizeof(link), "%s/link", dir);
	assert_int_equal(fchmod(dir_fd, 0770), 0);
	assert_int_equal(kernel_cache_open(path), -EPERM);
	assert_int_equal(fchmod(dir_fd, 0702), 0);
	assert_int_equal(kernel_cache_open(path), -EPERM);
	assert_int_equal(fchmod(dir_fd, 0700), 0);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(kernel_cache_open(link), -ENOTDIR);
	assert_int_equal(kernel_cache_open("/proc/nothing/kernels"), -ENOENT);
}

/* SHA-256 as FIPS 180 has it. */
static void test_cache_key(void **state)
{
	char key[KERNEL_CACHE_KEY_LEN];

	(void)state;
	kernel_cache_key("abc", 3, key);
	assert_string_equal(key, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void put(const char *key, size_t len)
{
	char name[KERNEL_CACHE_NAME_LEN];
	int fd = kernel_cache_new(dir_fd, name);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	close(fd);
	assert_int_equal(kernel_cache_put(dir_fd, name, key), 0);
}

static bool has(const char *key)
{
	return faccessat(dir_fd, key, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static const char *key_of(unsigned n)
{
	static char key[8][KERNEL_CACHE_KEY_LEN];

	snprintf(key[n % 8], KERNEL_CACHE_KEY_LEN, "%064u", n);
	return key[n % 8];
}

static void test_cache_get_only_what_is_ours(void **state)
{
	const char *key = key_of(1), *other = key_of(2);
	uint64_t len = 0;
	int fd;

	(void)state;
	assert_int_equal(kernel_cache_get(dir_fd, key, &len), -ENOENT);
	put(key, 10);
	fd = kernel_cache_get(dir_fd, key, &len);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	close(fd);
	assert_int_equal(len, 10);
	assert_int_equal(fchmodat(dir_fd, key, 0660, 0), 0);
	assert_int_equal(kernel_cache_get(dir_fd, key, &len), -EINVAL);
	assert_int_equal(fchmodat(dir_fd, key, 0606, 0), 0);
	assert_int_equal(kernel_cache_get(dir_fd, key, &len), -EINVAL);
	assert_int_equal(fchmodat(dir_fd, key, 0600, 0), 0);
	assert_int_equal(symlinkat(key, dir_fd, other), 0);
	assert_int_equal(kernel_cache_get(dir_fd, other, &len), -ELOOP);
	unlinkat(dir_fd, other, 0);
	assert_int_equal(mkfifoat(dir_fd, other, 0600), 0);
	assert_int_equal(kernel_cache_get(dir_fd, other, &len), -EINVAL);
	if (geteuid() == 0) {
		assert_int_equal(fchownat(dir_fd, key, 1, 1, 0), 0);
		assert_int_equal(kernel_cache_get(dir_fd, key, &len), -EINVAL);
	}
}

/* What was used longest ago goes, whatever was made when, and never what has just come. */
static void test_cache_is_bounded(void **state)
{
	uint64_t len;
	int fd;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct timespec t[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};

		put(key_of(i), 10);
		assert_int_equal(utimensat(dir_fd, key_of(i), t, 0), 0);
	}
	fd = kernel_cache_get(dir_fd, key_of(0), &len);
	assert_true(fd >= 0);
	close(fd);
	kernel_cache_trim(dir_fd, 1000, 4, key_of(4));
	assert_true(has(key_of(0)) && !has(key_of(1)) && has(key_of(2)) && has(key_of(3)) && has(key_of(4)));
	kernel_cache_trim(dir_fd, 20, 100, key_of(3));
	assert_true(has(key_of(0)) && !has(key_of(2)) && has(key_of(3)) && !has(key_of(4)));
	kernel_cache_trim(dir_fd, 5, 100, key_of(3));
	assert_true(!has(key_of(0)) && has(key_of(3)));
	put(key_of(5), 10);
	kernel_cache_remove(dir_fd, key_of(5));
	assert_false(has(key_of(5)));
}

/* As many as there may be, by kernel_cache_put alone. */
static void test_cache_put_keeps_the_bound(void **state)
{
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < KERNEL_CACHE_FILES + 3; i++) {
		put(key_of(i), 10);
	}
	for (unsigned i = 0; i < KERNEL_CACHE_FILES + 3; i++) {
		n += has(key_of(i));
	}
	assert_int_equal(n, KERNEL_CACHE_FILES);
	assert_true(has(key_of(KERNEL_CACHE_FILES + 2)));
}

/* It would not go itself, and all others would. */
static void test_cache_put_refuses_what_is_more_than_the_bound(void **state)
{
	char name[KERNEL_CACHE_NAME_LEN];
	int fd = kernel_cache_new(dir_fd, name);

	(void)state;
	put(key_of(1), 10);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)KERNEL_CACHE_BYTES + 1), 0);
	assert_int_equal(kernel_cache_put(dir_fd, name, key_of(2)), -EFBIG);
	assert_true(has(key_of(1)) && !has(key_of(2)));
	assert_int_equal(ftruncate(fd, (off_t)KERNEL_CACHE_BYTES), 0);
	close(fd);
	assert_int_equal(kernel_cache_put(dir_fd, name, key_of(2)), 0);
	assert_true(!has(key_of(1)) && has(key_of(2)));
}

/* Somebody else has its turn, and does not end. */
static void test_cache_waits_until_the_deadline(void **state)
{
	const uint64_t begun = clock_now_ns(), deadline = begun + 50 * CLOCK_NS_PER_MS;
	int other = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_int_equal(kernel_cache_wait(other, 0), 0);
	assert_int_equal(kernel_cache_wait(dir_fd, deadline), -ETIMEDOUT);
	assert_true(clock_now_ns() >= deadline);
	assert_int_equal(kernel_cache_wait(dir_fd, begun), -ETIMEDOUT);
	kernel_cache_done(other);
	/* What need not be waited for takes no time. */
	assert_int_equal(kernel_cache_wait(dir_fd, begun), 0);
	close(other);
}

/* Left by a process that was killed. What another one is just writing stays, and what is not ours. */
static void test_cache_removes_what_was_left(void **state)
{
	struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	char left[KERNEL_CACHE_NAME_LEN], writing[KERNEL_CACHE_NAME_LEN];

	(void)state;
	close(kernel_cache_new(dir_fd, left));
	close(kernel_cache_new(dir_fd, writing));
	assert_int_equal(utimensat(dir_fd, left, old, 0), 0);
	close(openat(dir_fd, "README", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(utimensat(dir_fd, "README", old, 0), 0);
	kernel_cache_trim(dir_fd, 0, 0, "");
	assert_true(!has(left) && has(writing) && has("README"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cache_path),
		cmocka_unit_test_setup_teardown(test_cache_folder_of_others_is_refused, setup, teardown),
		cmocka_unit_test(test_cache_key),
		cmocka_unit_test_setup_teardown(test_cache_get_only_what_is_ours, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cache_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cache_put_keeps_the_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cache_put_refuses_what_is_more_than_the_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cache_waits_until_the_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cache_removes_what_was_left, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
