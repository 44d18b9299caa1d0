/* SPDX-License-Identifier: MIT */
#include "vmm/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/mman.h>
#include <sys/mman.h>

#include "vmm/log.h"

#define MIB ((uint64_t)0x100000)
#define HUGE_LEN (2 * MIB)

static int map_from_pool(struct ram *ram, uint64_t len, bool gigantic)
{
	uint64_t page = gigantic ? 1024 * MIB : HUGE_LEN;
	int size = gigantic ? MAP_HUGE_1GB : MAP_HUGE_2MB;
	void *p;
	int r;

	len = (len + page - 1) / page * page;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | size, -1, 0);
	if (p == MAP_FAILED) {
		r = -errno;
		log_errno(LOG_ERR, r,
			"machine.hugepages: %" PRIu64 " pages of %s are not free in the pool "
			"(/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages)",
			len / page, gigantic ? "1 GiB" : "2 MiB", page / 1024);
		return r;
	}
	*ram = (struct ram){.hva = p, .len = len, .map = p, .map_len = len};
	return 0;
}

int ram_map(struct ram *ram, uint64_t len, enum config_hugepages pages)
{
	uint64_t map_len;
	uint8_t *p;
	int r;

	if (pages == HUGEPAGES_2M || pages == HUGEPAGES_1G) {
		return map_from_pool(ram, len, pages == HUGEPAGES_1G);
	}
	len = (len + 0xfff) & ~0xfffull;
	/* MAP_NORESERVE: how much the guest will touch is not known, and the kernel's estimate would refuse large guests. */
	map_len = len + HUGE_LEN;
	p = mmap(NULL, map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		r = -errno;
		log_errno(LOG_ERR, r, "guest memory: %" PRIu64 " MiB", len / MIB);
		return r;
	}
	*ram = (struct ram){.len = len, .map = p, .map_len = map_len};
	ram->hva = (uint8_t *)(((uintptr_t)p + HUGE_LEN - 1) & ~(uintptr_t)(HUGE_LEN - 1));
	/* Advice: a kernel without transparent huge pages only makes the guest slower. */
	madvise(ram->hva, len, pages == HUGEPAGES_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	madvise(ram->hva, len, MADV_DONTDUMP);
	return 0;
}

void ram_unmap(struct ram *ram)
{
	if (ram->map) {
		munmap(ram->map, ram->map_len);
	}
	*ram = (struct ram){.len = 0};
}
