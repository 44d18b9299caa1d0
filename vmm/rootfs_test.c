/* SPDX-License-Identifier: MIT */
/* Real file systems, made by the programs that make them. */
#include "vmm/rootfs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/rootfs_test.XXXXXX", path[64];

static int set_up(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "%s/disk", mkdtemp(dir));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void write_at(long offset, const char *bytes, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fseek(f, offset, SEEK_SET), 0);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void test_rootfs_type_of_a_real_ext4(void **state)
{
	char command[160];

	(void)state;
	snprintf(command, sizeof(command), "PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 %s 8M 2>/dev/null", path);
	assert_int_equal(system(command), 0);
	assert_string_equal(rootfs_type(path), "ext4");
}

static void test_rootfs_type_by_magic(void **state)
{
	(void)state;
	write_at(1024, "\xe2\xe1\xf5\xe0", 4);
	assert_string_equal(rootfs_type(path), "erofs");
	write_at(0, "hsqs", 4);
	assert_string_equal(rootfs_type(path), "squashfs");
	write_at(0, "XFSB", 4);
	assert_string_equal(rootfs_type(path), "xfs");
	write_at(0x10040, "_BHRfS_M", 8);
	assert_string_equal(rootfs_type(path), "btrfs");
}

static void test_rootfs_type_of_anything_else(void **state)
{
	(void)state;
	assert_null(rootfs_type("/nonexistent"));
	assert_null(rootfs_type("/dev/null"));
	assert_null(rootfs_type("/"));
	write_at(0, "hsq", 3);
	assert_null(rootfs_type(path));
	write_at(0x10040, "_BHRfS_", 7);
	assert_null(rootfs_type(path));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(rootfs_type(path)); /* and does not wait for a writer */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rootfs_type_of_a_real_ext4),
		cmocka_unit_test(test_rootfs_type_by_magic),
		cmocka_unit_test(test_rootfs_type_of_anything_else),
	};

	return cmocka_run_group_tests_name("rootfs", tests, set_up, tear_down);
}
