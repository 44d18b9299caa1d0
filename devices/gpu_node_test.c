/* SPDX-License-Identifier: MIT */
/* Which render node is taken: by driver, never by number. Nodes are files here, each with its driver's name in it. */
#include "devices/gpu_node.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static struct gpu_nodes nodes;
static char why[300];

static bool read_driver(int fd, char *driver, size_t len)
{
	ssize_t n = read(fd, driver, len - 1);

	driver[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static const struct gpu_node_host host = {.folder = folder, .driver = read_driver};

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/gpu_node_test.XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) == 0 ? 0 : -1;
}

static const char *path_of(unsigned number)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/renderD%u", folder, number);
	return path;
}

/* @driver: "": it has none. */
static void make(unsigned number, const char *driver)
{
	FILE *f = fopen(path_of(number), "w");

	assert_non_null(f);
	fputs(driver, f);
	fclose(f);
}

static void assert_node(unsigned i, unsigned number, const char *driver)
{
	assert_true(i < nodes.n);
	assert_string_equal(nodes.at[i].path, path_of(number));
	assert_string_equal(nodes.at[i].driver, driver);
}

static int find(const char *want)
{
	snprintf(why, sizeof(why), "of before");
	return gpu_node_find(&host, want, &nodes, why, sizeof(why));
}

static void test_node_of_a_gpu_before_one_of_a_monitor(void **state)
{
	(void)state;
	make(128, "vgem");
	make(129, "virtio_gpu");
	make(130, "i915");
	make(131, "");
	make(132, "vmwgfx");
	make(133, "amdgpu");
	assert_int_equal(find("auto"), 0);
	assert_int_equal(nodes.n, 4);
	assert_node(0, 130, "i915");
	assert_node(1, 133, "amdgpu");
	assert_node(2, 129, "virtio_gpu");
	assert_node(3, 132, "vmwgfx");
	assert_string_equal(why, "");
}

static void test_node_that_is_the_only_one(void **state)
{
	(void)state;
	make(128, "vkms");
	make(129, "virtio_gpu");
	assert_int_equal(find("auto"), 0);
	assert_int_equal(nodes.n, 1);
	assert_node(0, 129, "virtio_gpu");
}

static void test_node_by_driver(void **state)
{
	(void)state;
	make(128, "amdgpu");
	make(129, "i915");
	make(130, "amdgpu");
	assert_int_equal(find("i915"), 0);
	assert_int_equal(nodes.n, 1);
	assert_node(0, 129, "i915");
	assert_int_equal(find("amdgpu"), 0);
	assert_int_equal(nodes.n, 2);
	assert_node(1, 130, "amdgpu");
	assert_int_equal(find("amd"), -ENOENT);
	assert_non_null(strstr(why, "has the driver amd"));
	/* What cannot draw cannot, by whatever name. */
	make(131, "vgem");
	assert_int_equal(find("vgem"), -ENOENT);
}

static void test_node_by_path(void **state)
{
	char want[128];

	(void)state;
	make(128, "i915");
	make(129, "virtio_gpu");
	make(130, "vgem");
	snprintf(want, sizeof(want), "%s", path_of(129));
	assert_int_equal(find(want), 0);
	assert_int_equal(nodes.n, 1);
	assert_node(0, 129, "virtio_gpu");
	assert_string_equal(why, "");
	snprintf(want, sizeof(want), "%s", path_of(130));
	assert_int_equal(find(want), -ENODEV);
	assert_non_null(strstr(why, "renderD130: no GPU"));
	assert_int_equal(nodes.n, 0);
	snprintf(want, sizeof(want), "%s", path_of(131));
	assert_int_equal(find(want), -ENOENT);
	assert_non_null(strstr(why, "renderD131: No such file or directory"));
}

/* Why there is none, and what would cure it. */
static void test_node_there_is_none(void **state)
{
	(void)state;
	assert_int_equal(find("auto"), -ENOENT);
	assert_non_null(strstr(why, "has no render node of a GPU"));
	assert_non_null(strstr(why, "gpu.render_node = \"surfaceless\""));
	make(128, "vgem");
	assert_int_equal(find("auto"), -ENOENT);
	assert_non_null(strstr(why, "has no render node of a GPU"));
	assert_int_equal(nodes.n, 0);
}

/* Root may open all: a folder is what nobody can open to write. */
static void test_node_that_cannot_be_opened(void **state)
{
	(void)state;
	assert_int_equal(mkdir(path_of(128), 0700), 0);
	assert_int_equal(find("auto"), -EISDIR);
	assert_non_null(strstr(why, "renderD128: Is a directory"));
	assert_int_equal(find("i915"), -EISDIR);
	/* And another one can. */
	make(129, "i915");
	assert_int_equal(find("auto"), 0);
	assert_node(0, 129, "i915");
	assert_non_null(strstr(why, "renderD128: Is a directory"));
	if (geteuid() != 0) {
		make(130, "amdgpu");
		assert_int_equal(chmod(path_of(130), 0), 0);
		assert_int_equal(find("amdgpu"), -EACCES);
		assert_non_null(strstr(why, "Permission denied: usermod -aG render"));
	}
}

static void test_node_more_than_anybody_has(void **state)
{
	(void)state;
	for (unsigned i = 0; i < GPU_NODES_MAX; i++) {
		make(128 + i, "virtio_gpu");
	}
	make(128 + GPU_NODES_MAX, "i915");
	assert_int_equal(find("auto"), 0);
	assert_int_equal(nodes.n, GPU_NODES_MAX);
	assert_node(0, 128 + GPU_NODES_MAX, "i915");
}

/*
 * The one that draws.
 */

static const char *software, *failing; /* drivers */
static char tried[100]; /* drivers, in order */

static int try(void *ctx, const struct gpu_node *node, bool *is_software, char *reason, size_t reason_len)
{
	assert_ptr_equal(ctx, &nodes);
	strncat(tried, node->driver, sizeof(tried) - strlen(tried) - 1);
	strncat(tried, " ", sizeof(tried) - strlen(tried) - 1);
	*is_software = strstr(software, node->driver);
	snprintf(reason, reason_len, "%s fails", node->driver);
	return strstr(failing, node->driver) ? -EIO : 0;
}

static int choose(const char *which_software, const char *which_failing)
{
	static const struct gpu_node_trial trial = {.try = try, .ctx = &nodes};

	software = which_software;
	failing = which_failing;
	memset(tried, 0, sizeof(tried));
	return gpu_node_choose(&nodes, &trial, why, sizeof(why));
}

static void test_node_that_draws(void **state)
{
	(void)state;
	nodes = (struct gpu_nodes){.at = {{"a", "nvidia"}, {"b", "i915"}, {"c", "virtio_gpu"}}, .n = 3};
	assert_int_equal(choose("", ""), 0);
	assert_string_equal(tried, "nvidia ");
	assert_int_equal(choose("", "nvidia"), 1);
	assert_string_equal(tried, "nvidia i915 ");
	/* The processor draws for nobody who has a GPU. */
	assert_int_equal(choose("nvidia i915", ""), 2);
	assert_int_equal(choose("i915", "nvidia"), 2);
	/* Where there is none that does, the first is opened again. */
	assert_int_equal(choose("nvidia i915 virtio_gpu", ""), 0);
	assert_string_equal(tried, "nvidia i915 virtio_gpu nvidia ");
	assert_int_equal(choose("i915", "nvidia virtio_gpu"), 1);
	assert_string_equal(tried, "nvidia i915 virtio_gpu i915 ");
	/* It is open. */
	assert_int_equal(choose("virtio_gpu", "nvidia i915"), 2);
	assert_string_equal(tried, "nvidia i915 virtio_gpu ");
	assert_int_equal(choose("", "nvidia i915 virtio_gpu"), -EIO);
	assert_string_equal(why, "nvidia fails");
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_node_of_a_gpu_before_one_of_a_monitor),
		T(test_node_that_is_the_only_one),
		T(test_node_by_driver),
		T(test_node_by_path),
		T(test_node_there_is_none),
		T(test_node_that_cannot_be_opened),
		T(test_node_more_than_anybody_has),
		T(test_node_that_draws),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
