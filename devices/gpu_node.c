/* SPDX-License-Identifier: MIT */
#include "devices/gpu_node.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libdrm/drm.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Kernel drivers of render nodes that are no GPUs. */
static const char *const drawless[] = {"vgem", "vkms"};
/* Of GPUs that are a monitor's: what they draw is drawn again by something else. */
static const char *const of_monitors[] = {"virtio_gpu", "vmwgfx", "vboxvideo"};

static bool is_in(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(name, names[i]) == 0) {
			return true;
		}
	}
	return false;
}

static bool ask_driver(int fd, char *driver, size_t len)
{
	struct drm_version v = {.name = driver, .name_len = len - 1};

	memset(driver, 0, len);
	return ioctl(fd, DRM_IOCTL_VERSION, &v) == 0;
}

const struct gpu_node_host gpu_node_host = {.folder = GPU_NODE_FOLDER, .driver = ask_driver};

int gpu_node_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Return: 0 with @node, or -errno with @why. */
static int look_at(const struct gpu_node_host *host, const char *path, struct gpu_node *node, char *why, size_t why_len)
{
	int fd = gpu_node_open(path);
	bool is_gpu;

	if (fd < 0) {
		/* Debian's and everybody's udev give nodes to that group. */
		snprintf(why, why_len, "%s: %s%s", path, strerror(-fd), fd == -EACCES ? ": usermod -aG render USER, and log in again" : "");
		return fd;
	}
	is_gpu = host->driver(fd, node->driver, sizeof(node->driver)) && !is_in(node->driver, drawless, ARRAY_LEN(drawless));
	close(fd);
	if (!is_gpu) {
		snprintf(why, why_len, "%s: no GPU", path);
		return -ENODEV;
	}
	snprintf(node->path, sizeof(node->path), "%s", path);
	return 0;
}

static bool is_of_monitor(const struct gpu_node *node)
{
	return is_in(node->driver, of_monitors, ARRAY_LEN(of_monitors));
}

/* Behind those that are as good. */
static void add(struct gpu_nodes *nodes, const struct gpu_node *node)
{
	bool is_worse = is_of_monitor(node);
	unsigned at;

	if (nodes->n == GPU_NODES_MAX && (is_worse || !is_of_monitor(&nodes->at[GPU_NODES_MAX - 1]))) {
		return;
	}
	/* What is the last of too many goes. */
	at = nodes->n == GPU_NODES_MAX ? GPU_NODES_MAX - 1 : nodes->n++;
	while (at > 0 && !is_worse && is_of_monitor(&nodes->at[at - 1])) {
		nodes->at[at] = nodes->at[at - 1];
		at--;
	}
	nodes->at[at] = *node;
}

int gpu_node_find(const struct gpu_node_host *host, const char *want, struct gpu_nodes *nodes, char *why, size_t why_len)
{
	bool any = strcmp(want, "auto") == 0, is_missed = false;
	char pattern[PATH_MAX];
	struct gpu_node node;
	int r = -ENOENT;
	glob_t found;

	nodes->n = 0;
	if (want[0] == '/') {
		r = look_at(host, want, &node, why, why_len);
		if (r == 0) {
			add(nodes, &node);
			why[0] = '\0';
		}
		return r;
	}
	if (any) {
		snprintf(why, why_len, "%s has no render node of a GPU: gpu.render_node = \"surfaceless\" draws on the processor", host->folder);
	} else {
		snprintf(why, why_len, "no render node in %s has the driver %s", host->folder, want);
	}
	snprintf(pattern, sizeof(pattern), "%s/renderD*", host->folder);
	if (glob(pattern, 0, NULL, &found) != 0) {
		return r;
	}
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char reason[200];
		int error = look_at(host, found.gl_pathv[i], &node, reason, sizeof(reason));

		if (error == 0 && (any || strcmp(node.driver, want) == 0)) {
			add(nodes, &node);
		} else if (error < 0 && error != -ENODEV) {
			/* It might have been the one. */
			snprintf(why, why_len, "%s", reason);
			is_missed = true;
			r = error;
		}
	}
	globfree(&found);
	if (nodes->n > 0 && !is_missed) {
		why[0] = '\0';
	}
	return nodes->n > 0 ? 0 : r;
}

int gpu_node_choose(const struct gpu_nodes *nodes, const struct gpu_node_trial *trial, char *why, size_t why_len)
{
	int software = -1, error = 0;
	char reason[200];
	bool is_software;

	for (unsigned i = 0; i < nodes->n; i++) {
		int r = trial->try(trial->ctx, &nodes->at[i], &is_software, reason, sizeof(reason));

		if (r == 0 && !is_software) {
			return (int)i;
		}
		if (r == 0 && software < 0) {
			software = (int)i;
		}
		/* Of several the best one's reason counts. */
		if (r < 0 && error == 0) {
			snprintf(why, why_len, "%s", reason);
			error = r;
		}
	}
	/* Another one may have been tried since. */
	if (software >= 0 && (unsigned)software + 1 < nodes->n) {
		error = trial->try(trial->ctx, &nodes->at[software], &is_software, why, why_len);
		return error < 0 ? error : software;
	}
	return software >= 0 ? software : error;
}
