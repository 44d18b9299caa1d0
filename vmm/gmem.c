/* SPDX-License-Identifier: MIT */
#include "vmm/gmem.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void gmem_add(struct gmem *mem, uint64_t gpa, void *hva, uint64_t len)
{
	assert(mem->nregions < GMEM_REGIONS_MAX);
	assert(len > 0 && gpa <= UINT64_MAX - len && gpa >= gmem_end(mem));
	mem->region[mem->nregions++] = (struct gmem_region){.gpa = gpa, .len = len, .hva = hva};
}

void gmem_share(struct gmem *mem, int fd, uint64_t offset)
{
	struct gmem_region *r;

	assert(mem->nregions > 0 && fd >= 0);
	r = &mem->region[mem->nregions - 1];
	r->has_file = true;
	r->fd = fd;
	r->offset = offset;
}

int gmem_file(const struct gmem *mem, const void *p, uint64_t len, uint64_t *offset)
{
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct gmem_region *r = &mem->region[i];
		uint64_t at = (uint64_t)((uintptr_t)p - (uintptr_t)r->hva);

		/* A pointer below the region is a very large number. */
		if (r->has_file && at < r->len && len <= r->len - at) {
			*offset = r->offset + at;
			return r->fd;
		}
	}
	return -1;
}

void *gmem_ptr(const struct gmem *mem, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct gmem_region *r = &mem->region[i];

		/* Subtractions only, each of a smaller value: no sum a guest could make wrap. */
		if (gpa >= r->gpa && gpa - r->gpa < r->len && len <= r->len - (gpa - r->gpa)) {
			return r->hva + (gpa - r->gpa);
		}
	}
	return NULL;
}

int gmem_write(const struct gmem *mem, uint64_t gpa, const void *src, size_t len)
{
	void *dst = gmem_ptr(mem, gpa, len);

	if (!dst) {
		return -EFAULT;
	}
	memcpy(dst, src, len);
	return 0;
}

uint64_t gmem_end(const struct gmem *mem)
{
	if (mem->nregions == 0) {
		return 0;
	}
	return mem->region[mem->nregions - 1].gpa + mem->region[mem->nregions - 1].len;
}
