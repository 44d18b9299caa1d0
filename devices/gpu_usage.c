/* SPDX-License-Identifier: MIT */
#include "devices/gpu_usage.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/gpu_3d.h"
#include "devices/gpu_resource.h"
#include "vmm/log.h"

/* Small, and not worth a FILE. Return: whether @text is what the file has. */
static bool read_file(const char *path, char *text, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, len - 1) : -1;

	if (fd >= 0) {
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* Of all lines "@key-REGION: NUMBER UNIT". */
static uint64_t sum_of(const char *text, const char *key)
{
	uint64_t sum = 0;
	size_t len = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		const char *value;
		char *unit;
		uint64_t n;

		line += *line == '\n';
		value = strncmp(line, key, len) == 0 ? strchr(line, ':') : NULL;
		if (!value) {
			continue;
		}
		n = strtoull(value + 1, &unit, 10);
		unit += strspn(unit, " \t");
		sum += strncmp(unit, "KiB", 3) == 0 ? n << 10 : strncmp(unit, "MiB", 3) == 0 ? n << 20 : n;
	}
	return sum;
}

uint64_t gpu_usage_of_fdinfo(const char *text)
{
	uint64_t resident = sum_of(text, "drm-resident-");

	/* The older name of the same. */
	return resident ? resident : sum_of(text, "drm-memory-");
}

uint64_t gpu_usage_bytes(int fd)
{
	char path[64], text[4096];
	uint64_t bytes = 0;

	if (read_file("/proc/self/statm", text, sizeof(text)) && strchr(text, ' ')) {
		bytes = strtoull(strchr(text, ' '), NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
	}
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return bytes + (fd >= 0 && read_file(path, text, sizeof(text)) ? gpu_usage_of_fdinfo(text) : 0);
}

/* All of the guest's own memory may be resident. */
static uint64_t limit_of(const struct gpu *g)
{
	const struct gmem *mem = g->base.mem;
	unsigned contexts = gpu_3d_contexts(g);
	uint64_t limit = 2 * g->display->budget.max + g->usage.others + (contexts < GPU_USAGE_CONTEXTS ? contexts : GPU_USAGE_CONTEXTS) * g->usage.of_context;

	for (unsigned i = 0; i < mem->nregions; i++) {
		limit += mem->region[i].len;
	}
	return limit;
}

bool gpu_usage_is_fair(struct gpu *g, uint64_t more)
{
	uint64_t limit, bytes;

	/* What is more than there is is not given. */
	g->usage.asked += more < g->display->budget.max ? more : 0;
	if (!g->backend->ops->memory || g->usage.asked < g->display->budget.max / 8) {
		return true;
	}
	g->usage.asked = 0;
	limit = limit_of(g);
	if (g->backend->ops->memory(g->backend) <= limit) {
		return true;
	}
	/* What was given back to the C library need not have gone further. */
	malloc_trim(0);
	bytes = g->backend->ops->memory(g->backend);
	if (bytes <= limit) {
		return true;
	}
	log_guest(&g->memory_log_limit, "gpu", "OpenGL keeps more than twice gpu.max_host_memory for this guest (%llu MiB are used in all): its contexts end", (unsigned long long)(bytes >> 20));
	gpu_3d_reset(g);
	return false;
}
