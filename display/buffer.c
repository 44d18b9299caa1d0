/* SPDX-License-Identifier: MIT */
#include "display/buffer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/log.h"

bool display_budget_take(struct display_budget *b, uint64_t n)
{
	if (n > b->max || b->used > b->max - n) {
		return false;
	}
	__atomic_store_n(&b->used, b->used + n, __ATOMIC_RELAXED);
	if (b->used > b->peak) {
		__atomic_store_n(&b->peak, b->used, __ATOMIC_RELAXED);
	}
	return true;
}

void display_budget_give(struct display_budget *b, uint64_t n)
{
	assert(n <= b->used);
	__atomic_store_n(&b->used, b->used - n, __ATOMIC_RELAXED);
}

int display_memfd(const char *name, uint64_t len, uint8_t **map)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), r;
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)len) == 0) {
		p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	}
	/* The one mapping that can write is there: from here on there will be no other. */
	if (p == MAP_FAILED || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0) {
		r = -errno;
		if (p != MAP_FAILED) {
			munmap(p, len);
		}
		if (fd >= 0) {
			close(fd);
		}
		return r;
	}
	*map = p;
	return fd;
}

void display_picture_close(const struct display_picture *p)
{
	if (p->fd >= 0) {
		close(p->fd);
	}
	for (unsigned i = 0; i < p->planes.n; i++) {
		close(p->planes.fd[i]);
	}
}

struct display_buffer *display_buffer_create(const struct display_picture *picture, struct display_budget *budget, uint64_t charge)
{
	static uint64_t last_id;
	struct display_buffer *b = malloc(sizeof(*b));

	assert((picture->fd >= 0) != (picture->planes.n > 0) && picture->planes.n <= DISPLAY_PLANES_MAX && picture->width > 0 && picture->height > 0);
	if (!b) {
		log_errno(LOG_ERR, -ENOMEM, "picture");
		display_picture_close(picture);
		return NULL;
	}
	*b = (struct display_buffer){.refs = 1, .id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED), .picture = *picture, .budget = budget, .charge = charge};
	return b;
}

struct display_buffer *display_buffer_ref(struct display_buffer *b)
{
	if (b) {
		assert(b->refs > 0);
		b->refs++;
	}
	return b;
}

void display_buffer_unref(struct display_buffer *b)
{
	if (!b) {
		return;
	}
	if (--b->refs > 0) {
		if (b->refs == 1 && b->alone) {
			b->alone(b->alone_ctx);
		}
		return;
	}
	if (b->map) {
		munmap((void *)(uintptr_t)b->map, b->picture.len);
	}
	display_picture_close(&b->picture);
	display_budget_give(b->budget, b->charge);
	if (b->budget->gone) {
		b->budget->gone(b->budget->gone_ctx, b->id);
	}
	free(b);
}

const uint8_t *display_buffer_map(struct display_buffer *b)
{
	assert(b->picture.fd >= 0);
	if (!b->map) {
		void *p = mmap(NULL, b->picture.len, PROT_READ, MAP_SHARED, b->picture.fd, 0);

		if (p == MAP_FAILED) {
			log_errno(LOG_ERR, errno, "picture of %llu bytes", (unsigned long long)b->picture.len);
			return NULL;
		}
		b->map = p;
	}
	return b->map;
}
