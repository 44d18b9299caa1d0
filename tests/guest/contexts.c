/* SPDX-License-Identifier: MIT */
/*
 * A guest's program that makes contexts of virtio-gpu's as Mesa does, by the kernel's own calls: each has a descriptor of the render node, capability set virgl2, a context within it, two textures, and
 * has drawn one into the other. Statically linked, without any library. Says `contexts: ok` or what failed.
 *
 *   contexts churn N SIZE    N of them with textures of SIZE x SIZE, one after another
 *   contexts hold N SIZE     N of them at a time; then it sleeps until it is killed
 *   contexts fill N SIZE     one with N textures, which the device may refuse: the kernel does not tell who asked, but its log does; then it sleeps, too
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <virtgpu_drm.h>

#define NODE "/dev/dri/renderD128"

/* Linux 5.17's; Debian 12's libdrm is older. */
struct context_set_param {
	uint64_t param, value;
};

struct context_init {
	uint32_t num_params, pad;
	uint64_t ctx_set_params;
};

#define IOCTL_CONTEXT_INIT DRM_IOWR(DRM_COMMAND_BASE + 0x0b, struct context_init)
#define CONTEXT_PARAM_CAPSET_ID 1
#define CAPSET_VIRGL2 2

/* Of the renderer's language: how many words follow, and what they are. */
#define COMMAND(number, len) ((number) | (len) << 16)
#define SET_SUB_CTX COMMAND(28, 1)
#define CREATE_SUB_CTX COMMAND(29, 1)
#define RESOURCE_COPY_REGION COMMAND(17, 13)

struct texture {
	uint32_t handle, resource;
};

static int fail(const char *what)
{
	printf("contexts: error: %s: %s\n", what, strerror(errno));
	return 1;
}

static bool make_texture(int fd, uint32_t size, struct texture *t)
{
	struct drm_virtgpu_resource_create create = {.target = 2, .format = 1, .bind = 2 | 8, .width = size, .height = size, .depth = 1, .array_size = 1, .size = size * size * 4};

	if (ioctl(fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE, &create) != 0) {
		return false;
	}
	*t = (struct texture){create.bo_handle, create.res_handle};
	return true;
}

static bool wait_for(int fd, const struct texture *t)
{
	struct drm_virtgpu_3d_wait wait = {.handle = t->handle};
	int r;

	/* It gives up after a while. */
	while ((r = ioctl(fd, DRM_IOCTL_VIRTGPU_WAIT, &wait)) != 0 && errno == EBUSY) {
	}
	return r == 0;
}

static bool draw(int fd, uint32_t size, const struct texture t[2])
{
	const uint32_t words[] = {CREATE_SUB_CTX, 1, SET_SUB_CTX, 1, RESOURCE_COPY_REGION, t[0].resource, 0, 0, 0, 0, t[1].resource, 0, 0, 0, 0, size, size, 1}, handles[] = {t[0].handle, t[1].handle};
	struct drm_virtgpu_execbuffer e = {.size = sizeof(words), .command = (uint64_t)(uintptr_t)words, .bo_handles = (uint64_t)(uintptr_t)handles, .num_bo_handles = 2, .fence_fd = -1};

	return ioctl(fd, DRM_IOCTL_VIRTGPU_EXECBUFFER, &e) == 0 && wait_for(fd, &t[0]);
}

/* Return: the descriptor that is a context; -1, and said, when it failed. */
static int make_context(void)
{
	struct context_set_param set = {CONTEXT_PARAM_CAPSET_ID, CAPSET_VIRGL2};
	struct context_init init = {.num_params = 1, .ctx_set_params = (uint64_t)(uintptr_t)&set};
	int fd = open(NODE, O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, IOCTL_CONTEXT_INIT, &init) != 0) {
		fail(fd < 0 ? NODE : "context");
		return -1;
	}
	return fd;
}

static bool make(uint32_t size, int *fd)
{
	struct texture t[2];

	*fd = make_context();
	if (*fd < 0) {
		return false;
	}
	if (!make_texture(*fd, size, &t[0]) || !make_texture(*fd, size, &t[1]) || !draw(*fd, size, t)) {
		fail("drawing");
		return false;
	}
	return true;
}

static bool fill(uint32_t n, uint32_t size)
{
	int fd = make_context();
	struct texture t = {0};

	for (uint32_t i = 0; fd >= 0 && i < n; i++) {
		if (!make_texture(fd, size, &t) || !wait_for(fd, &t)) {
			fail("texture");
			return false;
		}
	}
	return fd >= 0;
}

int main(int argc, char **argv)
{
	uint32_t n = argc == 4 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0, size = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
	bool is_churn = n > 0 && strcmp(argv[1], "churn") == 0;
	int fd;

	if (n > 0 && strcmp(argv[1], "fill") == 0) {
		if (!fill(n, size)) {
			return 1;
		}
	} else if (!is_churn && (n == 0 || strcmp(argv[1], "hold") != 0)) {
		fputs("usage: contexts churn|hold|fill N SIZE\n", stderr);
		return 2;
	}
	for (uint32_t i = 0; strcmp(argv[1], "fill") != 0 && i < n; i++) {
		if (!make(size, &fd)) {
			return 1;
		}
		if (is_churn) {
			close(fd);
		}
	}
	printf("contexts: ok\n");
	fflush(stdout);
	while (!is_churn) {
		pause();
	}
	return 0;
}
