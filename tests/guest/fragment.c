/* SPDX-License-Identifier: MIT */
#include "fragment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#define PAGE 4096u
#define TRACING "/sys/kernel/tracing/"

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0) {
		close(fd);
	}
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

int entries_watch(void)
{
	if (mount("tracefs", TRACING, "tracefs", 0, NULL) != 0 && errno != EBUSY) {
		return -1;
	}
	/* virtio_gpu_object_attach(vgdev, object, entries, n): the fourth one; virtio_gpu_cmd_resource_create_blob(vgdev, object, params, entries, n): the fifth one. */
	if (put(TRACING "kprobe_events", "p:attach virtio_gpu_object_attach n=%cx:u32\np:blob virtio_gpu_cmd_resource_create_blob n=%r8:u32") != 0) {
		return -1;
	}
	return put(TRACING "events/kprobes/enable", "1");
}

long entries_last(void)
{
	char line[512];
	long n = -1;
	FILE *f = fopen(TRACING "trace", "re");

	if (!f) {
		return -1;
	}
	while (fgets(line, sizeof(line), f)) {
		const char *at = line[0] == '#' ? NULL : strstr(line, " n=");

		if (at) {
			n = strtol(at + 3, NULL, 10);
		}
	}
	fclose(f);
	if (n < 0) {
		errno = ENODATA;
	}
	return n;
}

static long available_kib(void)
{
	char line[128];
	long kib = -1;
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && kib < 0 && fgets(line, sizeof(line), f)) {
		sscanf(line, "MemAvailable: %ld kB", &kib);
	}
	if (f) {
		fclose(f);
	}
	return kib;
}

long fragment_memory(unsigned left_mib)
{
	long before = available_kib();
	size_t size = before > (long)left_mib * 1024 ? ((size_t)before - (size_t)left_mib * 1024) * 1024 / PAGE * PAGE : 0;
	char *map;

	if (size == 0) {
		errno = before < 0 ? ENOENT : EINVAL;
		return -1;
	}
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		return -1;
	}
	/* They stay where they are: compaction would make large pieces again. */
	if (put("/proc/sys/vm/compact_unevictable_allowed", "0") != 0 || mlock2(map, size, MLOCK_ONFAULT) != 0) {
		return -1;
	}
	/* No huge pages; a kernel without them says so, and that is as well. */
	madvise(map, size, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < size; at += PAGE) {
		map[at] = 1;
	}
	for (size_t at = 0; at < size; at += 2 * PAGE) {
		if (madvise(map + at, PAGE, MADV_DONTNEED_LOCKED) != 0) {
			return -1;
		}
	}
	return (long)(size / PAGE / 2);
}
