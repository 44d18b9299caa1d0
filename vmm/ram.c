/* SPDX-License-Identifier: MIT */
#include "vmm/ram.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* Address space for @len bytes, aligned for huge pages. MAP_NORESERVE: how much the guest will touch is not known, and the kernel's estimate would refuse large guests. */
static int reserve(struct ram *ram, uint64_t len)
{
	uint64_t map_len = len + HUGE_LEN;
	uint8_t *p = mmap(NULL, map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int r;

	if (p == MAP_FAILED) {
		r = -errno;
		log_errno(LOG_ERR, r, "guest memory: %" PRIu64 " MiB", len / MIB);
		return r;
	}
	*ram = (struct ram){.len = len, .map = p, .map_len = map_len};
	ram->hva = (uint8_t *)(((uintptr_t)p + HUGE_LEN - 1) & ~(uintptr_t)(HUGE_LEN - 1));
	return 0;
}

/* Advice: a kernel without transparent huge pages only makes the guest slower. */
static void advise(const struct ram *ram, enum config_hugepages pages)
{
	madvise(ram->hva, ram->len, pages == HUGEPAGES_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	madvise(ram->hva, ram->len, MADV_DONTDUMP);
}

int ram_map(struct ram *ram, uint64_t len, enum config_hugepages pages)
{
	int r;

	if (pages == HUGEPAGES_2M || pages == HUGEPAGES_1G) {
		return map_from_pool(ram, len, pages == HUGEPAGES_1G);
	}
	r = reserve(ram, (len + 0xfff) & ~0xfffull);
	if (r == 0) {
		advise(ram, pages);
	}
	return r;
}

int ram_map_shared(struct ram *ram, uint64_t len, enum config_hugepages pages)
{
	int fd, r = reserve(ram, (len + 0xfff) & ~0xfffull);

	assert(pages == HUGEPAGES_THP || pages == HUGEPAGES_OFF);
	if (r < 0) {
		return r;
	}
	fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* udmabuf takes no file that could shrink, and none that may not be written. */
	if (fd < 0 || ftruncate(fd, (off_t)ram->len) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
		mmap(ram->hva, ram->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) == MAP_FAILED) {
		r = -errno;
		log_errno(LOG_ERR, r, "guest memory that can be shared: %" PRIu64 " MiB", ram->len / MIB);
		if (fd >= 0) {
			close(fd);
		}
		ram_unmap(ram);
		return r;
	}
	ram->is_shared = true;
	ram->fd = fd;
	advise(ram, pages);
	return 0;
}

void ram_unmap(struct ram *ram)
{
	if (ram->map) {
		munmap(ram->map, ram->map_len);
	}
	if (ram->is_shared) {
		close(ram->fd);
	}
	*ram = (struct ram){.len = 0};
}
