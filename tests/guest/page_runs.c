/* SPDX-License-Identifier: MIT */
#include "page_runs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define PFN_MASK ((UINT64_C(1) << 55) - 1)

long page_runs(const void *map, size_t size)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t before = 0;
	long runs = 0;

	if (fd < 0) {
		return -1;
	}
	for (size_t at = 0; at < size; at += PAGE) {
		const volatile char *page = (const volatile char *)map + at;
		uint64_t entry;

		(void)*page;
		if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)page / PAGE * sizeof(entry))) != sizeof(entry)) {
			runs = -1;
			break;
		}
		entry &= PFN_MASK;
		if (entry == 0) {
			/* Page frames are hidden from those who are not root. */
			errno = EPERM;
			runs = -1;
			break;
		}
		runs += entry != before + 1;
		before = entry;
	}
	close(fd);
	return runs;
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
	/* No huge pages; a kernel without them says so, and that is as well. */
	madvise(map, size, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < size; at += PAGE) {
		map[at] = 1;
	}
	for (size_t at = 0; at < size; at += 2 * PAGE) {
		if (madvise(map + at, PAGE, MADV_DONTNEED) != 0) {
			return -1;
		}
	}
	return (long)(size / PAGE / 2);
}
