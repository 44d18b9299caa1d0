/* SPDX-License-Identifier: MIT */
#include "tests/support/gpudouble.h"

#include <assert.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/gpu_2d.h"

static struct gpudouble the;
static const struct gpu_backend_ops *plain;
static uint64_t done;

static int create_3d(struct gpu_backend *b, uint32_t id, const struct gpu_texture *t)
{
	(void)t;
	return plain->create_blob(b, id);
}

static int transfer(struct gpu_backend *b, uint32_t ctx, uint32_t id, const struct gpu_transfer *t)
{
	(void)b;
	(void)ctx;
	(void)id;
	(void)t;
	return 0;
}

static int create_context(struct gpu_backend *b, uint32_t ctx, uint32_t capset, const char *name)
{
	(void)b;
	(void)ctx;
	(void)name;
	the.capset = capset;
	the.contexts++;
	return 0;
}

static void destroy_context(struct gpu_backend *b, uint32_t ctx)
{
	(void)b;
	(void)ctx;
	the.contexts--;
}

static void use_in_context(struct gpu_backend *b, uint32_t ctx, uint32_t id)
{
	(void)b;
	(void)ctx;
	(void)id;
}

static int submit(struct gpu_backend *b, uint32_t ctx, void *words, uint32_t nwords)
{
	(void)b;
	(void)ctx;
	(void)words;
	the.submissions++;
	the.submitted_len += 4ull * nwords;
	if (the.on_submit) {
		the.on_submit();
	}
	return the.submit_error;
}

static void read_capset(struct gpu_backend *b, uint32_t id, uint32_t version, void *set)
{
	(void)version;
	memset(set, (int)id, b->capset[id == GPU_CAPSET_VIRGL ? 0 : 1].size);
}

static int fence(struct gpu_backend *b, uint64_t *number)
{
	(void)b;
	if (the.fence_error < 0) {
		return the.fence_error;
	}
	*number = ++the.fences;
	return 0;
}

static void poll(struct gpu_backend *b)
{
	eventfd_t n;

	eventfd_read(the.fd, &n);
	b->retired(b->retired_ctx, done);
}

/* What scanouts show of a texture. */
static int read_texture(void *ctx, uint32_t id, const struct display_rect *r, uint8_t *map, uint64_t len, uint32_t stride)
{
	(void)ctx;
	(void)r;
	(void)stride;
	memset(map, (int)id, len);
	return 0;
}

static void destroy(struct gpu_backend *b)
{
	close(the.fd);
	plain->destroy(b);
}

static struct gpu_backend *make(const struct gmem *mem)
{
	static const struct gpu_2d_reader reader = {.read = read_texture};
	static struct gpu_backend_ops ops;
	struct gpu_backend *b = gpu_2d_create_reading(mem, GPUDRV_IMAGES, &reader);

	assert(b);
	the = (struct gpudouble){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	done = 0;
	plain = b->ops;
	ops = *plain;
	ops.create_3d = create_3d;
	ops.transfer_to_3d = transfer;
	ops.transfer_from_3d = transfer;
	ops.create_context = create_context;
	ops.destroy_context = destroy_context;
	ops.attach_context = use_in_context;
	ops.detach_context = use_in_context;
	ops.submit = submit;
	ops.read_capset = read_capset;
	ops.fence = fence;
	ops.poll = poll;
	ops.destroy = destroy;
	b->ops = &ops;
	b->ncapsets = 2;
	b->capset[0] = (struct gpu_capset){.id = GPU_CAPSET_VIRGL, .version = 1, .size = 8};
	b->capset[1] = (struct gpu_capset){.id = GPU_CAPSET_VIRGL2, .version = 2, .size = 16};
	b->poll_fd = the.fd;
	return b;
}

struct gpudouble *gpudouble_init(struct gpudrv *v, unsigned n, uint64_t budget)
{
	gpudrv_init_with(v, n, make, budget);
	return &the;
}

void gpudouble_done(struct gpudouble *r, uint64_t number)
{
	done = number;
	eventfd_write(r->fd, 1);
}
