/* SPDX-License-Identifier: MIT */
/* A host made of files, with control groups in it. */
#include "vmm/host_limits.h"

#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#define MIB (1024ull * 1024)
#define POD "/sys/fs/cgroup/pods/one"

static char root[32];

/* With all folders that lead there. */
static void put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", root, name);
	for (char *c = strchr(path + strlen(root) + 1, '/'); c; c = strchr(c + 1, '/')) {
		*c = '\0';
		mkdir(path, 0700);
		*c = '/';
	}
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(root, "/tmp/host_limits.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static unsigned in_mask(void)
{
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	return (unsigned)CPU_COUNT(&set);
}

static void test_host_limits_without_groups_all_is_ours(void **state)
{
	(void)state;
	assert_int_equal(host_limits_processors(root), in_mask());
	assert_true(host_limits_memory(root) == UINT64_MAX);
	put("/proc/meminfo", "MemTotal:       8000000 kB\nMemFree:          100000 kB\nMemAvailable:    4096 kB\n");
	assert_true(host_limits_memory(root) == 4 * MIB);
}

static void test_host_limits_mask_counts(void **state)
{
	cpu_set_t all, one;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (int i = 0; CPU_COUNT(&one) == 0; i++) {
		if (CPU_ISSET(i, &all)) {
			CPU_SET(i, &one);
		}
	}
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(host_limits_processors(root), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void test_host_limits_processors_of_every_group_above(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "1:name=systemd:/x\n0::/pods/one\n");
	put(POD "/cpu.max", "max 100000\n");
	assert_int_equal(host_limits_processors(root), in_mask());
	/* A tenth of one is one, so that something runs. */
	put(POD "/cpu.max", "10000 100000\n");
	assert_int_equal(host_limits_processors(root), 1);
	put(POD "/cpu.max", "6400000 100000\n");
	put("/sys/fs/cgroup/pods/cpu.max", "50000 50000\n");
	assert_int_equal(host_limits_processors(root), 1);
	put("/sys/fs/cgroup/pods/cpu.max", "150000 0\n");
	assert_int_equal(host_limits_processors(root), in_mask() < 64 ? in_mask() : 64);
}

static void test_host_limits_memory_of_every_group_above(void **state)
{
	(void)state;
	put("/proc/meminfo", "MemAvailable: 4194304 kB\n");
	put("/proc/self/cgroup", "0::/pods/one\n");
	put(POD "/memory.max", "max\n");
	put(POD "/memory.current", "1048576\n");
	assert_true(host_limits_memory(root) == 4096 * MIB);
	put("/sys/fs/cgroup/pods/memory.max", "1073741824\n");
	put("/sys/fs/cgroup/pods/memory.current", "268435456\n");
	assert_true(host_limits_memory(root) == 768 * MIB);
	/* What can be dropped is free. */
	put("/sys/fs/cgroup/pods/memory.stat", "anon 134217728\ninactive_file 134217728\nactive_file 4096\n");
	assert_true(host_limits_memory(root) == 896 * MIB);
	put("/sys/fs/cgroup/pods/memory.current", "2147483648\n");
	assert_true(host_limits_memory(root) == 0);
}

/* In a container its own group is the root of what it sees; one it cannot see limits nothing here. */
static void test_host_limits_group_of_a_container(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/\n");
	put("/sys/fs/cgroup/memory.max", "16777216\n");
	put("/sys/fs/cgroup/memory.current", "0\n");
	assert_true(host_limits_memory(root) == 16 * MIB);
	put("/proc/self/cgroup", "0::/../elsewhere\n");
	put("/sys/fs/elsewhere/memory.max", "4096\n");
	put("/sys/fs/elsewhere/memory.current", "0\n");
	assert_true(host_limits_memory(root) == 16 * MIB);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_host_limits_without_groups_all_is_ours),
		TEST(test_host_limits_mask_counts),
		TEST(test_host_limits_processors_of_every_group_above),
		TEST(test_host_limits_memory_of_every_group_above),
		TEST(test_host_limits_group_of_a_container),
	};

	return cmocka_run_group_tests_name("host_limits", tests, NULL, NULL);
}
