/* SPDX-License-Identifier: MIT */
/* Little-endian host assumed, as in all unit tests: wire integers are plain ones here. */
#include "tests/support/gpudrv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define IN_ROOM 4096

static void place(struct gpudrv *v)
{
	v->in_gpa = tdrv_alloc(&v->d, IN_ROOM, 8);
	v->out_gpa = tdrv_alloc(&v->d, sizeof(v->out), 8);
}

void gpudrv_init(struct gpudrv *v, unsigned n, const struct gpu_options *options, uint64_t budget)
{
	static const struct gpu_options none = {.blob = false};
	struct display_output outputs[DISPLAY_SCANOUTS_MAX];
	struct gpu_backend *backend;

	memset(v, 0, sizeof(*v));
	for (unsigned i = 0; i < n; i++) {
		outputs[i] = (struct display_output){.enabled = true, .width = 640, .height = 480, .refresh_hz = 60};
	}
	tdrv_init(&v->d);
	display_init(&v->display, &v->d.loop, outputs, n, budget);
	backend = gpu_2d_create(&v->d.mem, GPUDRV_IMAGES, &v->share);
	assert(backend);
	gpu_init(&v->gpu, options ? options : &none, &v->display, backend, &v->d.loop, &v->d.mem);
	tdrv_attach(&v->d, &v->gpu.base);
	v->out_room = sizeof(v->out);
	gpudrv_start(v);
}

void gpudrv_start(struct gpudrv *v)
{
	tdrv_start(&v->d);
	place(v);
}

void gpudrv_finish(struct gpudrv *v)
{
	struct tdrv *d = &v->d;

	tdrv_write(d, VIRTIO_MMIO_STATUS, 0);
	virtio_mmio_finish(&d->mmio);
	gpu_finish(&v->gpu);
	display_finish(&v->display);
	d->dev = NULL;
	tdrv_finish(d);
}

uint32_t gpudrv_raw(struct gpudrv *v, unsigned q, const void *cmd, size_t len, const void *more, size_t more_len)
{
	uint64_t in = v->in_gpa, brk = v->d.brk;
	uint32_t head, want;
	bool used;

	if (len + more_len > IN_ROOM) {
		in = tdrv_alloc(&v->d, len + more_len, 8);
	}
	memcpy(tdrv_ptr(&v->d, in, len + more_len), cmd, len);
	if (more_len > 0) {
		memcpy(tdrv_ptr(&v->d, in + len, more_len), more, more_len);
	}
	memset(tdrv_ptr(&v->d, v->out_gpa, sizeof(v->out)), 0xee, sizeof(v->out));
	want = tdrv_add(&v->d, q, in, (uint32_t)(len + more_len), v->out_gpa, v->out_room);
	tdrv_kick(&v->d, q);
	used = tdrv_used(&v->d, q, &head, &v->out_len);
	assert(used && head == want);
	(void)used;
	(void)want;
	v->d.brk = brk;
	memcpy(&v->out, tdrv_ptr(&v->d, v->out_gpa, sizeof(v->out)), sizeof(v->out));
	return v->out_len ? le32_get(v->out.hdr.type) : 0;
}

static struct gpu_wire_hdr header(const struct gpudrv *v, uint32_t type)
{
	return (struct gpu_wire_hdr){.type = le32_of(type), .flags = le32_of(v->flags), .fence_id = le64_of(v->fence), .ctx_id = le32_of(v->flags ? 7 : 0)};
}

static struct gpu_wire_rect wire_rect(struct display_rect r)
{
	return (struct gpu_wire_rect){le32_of(r.x), le32_of(r.y), le32_of(r.w), le32_of(r.h)};
}

#define DO(v, cmd) gpudrv_raw(v, GPU_CONTROLQ, &(cmd), sizeof(cmd), NULL, 0)

uint32_t gpudrv_get_info(struct gpudrv *v)
{
	struct gpu_wire_hdr c = header(v, GPU_CMD_GET_DISPLAY_INFO);

	return DO(v, c);
}

uint32_t gpudrv_get_edid(struct gpudrv *v, uint32_t scanout)
{
	struct gpu_wire_get_edid c = {.hdr = header(v, GPU_CMD_GET_EDID), .scanout = le32_of(scanout)};

	return DO(v, c);
}

uint32_t gpudrv_create(struct gpudrv *v, uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
	struct gpu_wire_create_2d c = {.hdr = header(v, GPU_CMD_RESOURCE_CREATE_2D), .resource_id = le32_of(id), .format = le32_of(format),
		.width = le32_of(width), .height = le32_of(height)};

	return DO(v, c);
}

uint32_t gpudrv_unref(struct gpudrv *v, uint32_t id)
{
	struct gpu_wire_resource c = {.hdr = header(v, GPU_CMD_RESOURCE_UNREF), .resource_id = le32_of(id)};

	return DO(v, c);
}

uint32_t gpudrv_detach(struct gpudrv *v, uint32_t id)
{
	struct gpu_wire_resource c = {.hdr = header(v, GPU_CMD_RESOURCE_DETACH_BACKING), .resource_id = le32_of(id)};

	return DO(v, c);
}

uint32_t gpudrv_attach(struct gpudrv *v, uint32_t id, const struct gpudrv_entry *e, uint32_t n)
{
	struct gpu_wire_attach_backing c = {.hdr = header(v, GPU_CMD_RESOURCE_ATTACH_BACKING), .resource_id = le32_of(id), .nr_entries = le32_of(n)};

	return gpudrv_raw(v, GPU_CONTROLQ, &c, sizeof(c), e, n * sizeof(*e));
}

uint32_t gpudrv_transfer(struct gpudrv *v, uint32_t id, struct display_rect r, uint64_t offset)
{
	struct gpu_wire_transfer_2d c = {.hdr = header(v, GPU_CMD_TRANSFER_TO_HOST_2D), .r = wire_rect(r), .offset = le64_of(offset), .resource_id = le32_of(id)};

	return DO(v, c);
}

uint32_t gpudrv_set_scanout(struct gpudrv *v, uint32_t scanout, uint32_t id, struct display_rect r)
{
	struct gpu_wire_set_scanout c = {.hdr = header(v, GPU_CMD_SET_SCANOUT), .r = wire_rect(r), .scanout_id = le32_of(scanout), .resource_id = le32_of(id)};

	return DO(v, c);
}

uint32_t gpudrv_flush(struct gpudrv *v, uint32_t id, struct display_rect r)
{
	struct gpu_wire_flush c = {.hdr = header(v, GPU_CMD_RESOURCE_FLUSH), .r = wire_rect(r), .resource_id = le32_of(id)};

	return DO(v, c);
}

uint32_t gpudrv_create_blob(struct gpudrv *v, uint32_t id, uint64_t size, const struct gpudrv_entry *e, uint32_t n)
{
	struct gpu_wire_create_blob c = {.hdr = header(v, GPU_CMD_RESOURCE_CREATE_BLOB), .resource_id = le32_of(id), .blob_mem = le32_of(GPU_BLOB_MEM_GUEST),
		.blob_flags = le32_of(2), .nr_entries = le32_of(n), .size = le64_of(size)};

	return gpudrv_raw(v, GPU_CONTROLQ, &c, sizeof(c), e, n * sizeof(*e));
}

uint32_t gpudrv_set_scanout_blob(struct gpudrv *v, uint32_t scanout, uint32_t id, struct display_rect r, const struct gpu_layout *l)
{
	struct gpu_wire_set_scanout_blob c = {.hdr = header(v, GPU_CMD_SET_SCANOUT_BLOB), .r = wire_rect(r), .scanout_id = le32_of(scanout),
		.resource_id = le32_of(id), .width = le32_of(l->width), .height = le32_of(l->height), .format = le32_of(l->format)};

	c.strides[0] = le32_of(l->stride);
	c.offsets[0] = le32_of((uint32_t)l->offset);
	return DO(v, c);
}

uint32_t gpudrv_cursor(struct gpudrv *v, uint32_t type, uint32_t scanout, uint32_t id, int32_t x, int32_t y, uint32_t hot_x, uint32_t hot_y)
{
	struct gpu_wire_cursor c = {.hdr = header(v, type), .pos = {le32_of(scanout), le32_of((uint32_t)x), le32_of((uint32_t)y), le32_of(0)},
		.resource_id = le32_of(id), .hot_x = le32_of(hot_x), .hot_y = le32_of(hot_y)};

	return gpudrv_raw(v, GPU_CURSORQ, &c, sizeof(c), NULL, 0);
}

uint8_t *gpudrv_shot(struct gpudrv *v, unsigned i, bool cursor, uint32_t *width, uint32_t *height)
{
	struct display_shot s;
	uint8_t *copy;
	void *map;
	size_t len;

	if (display_screenshot(&v->display, i, cursor, &s) == -ENOENT) {
		return NULL;
	}
	len = (size_t)s.stride * s.height;
	map = mmap(NULL, len, PROT_READ, MAP_SHARED, s.fd, 0);
	copy = malloc(len);
	assert(map != MAP_FAILED && copy);
	memcpy(copy, map, len);
	munmap(map, len);
	close(s.fd);
	*width = s.width;
	*height = s.height;
	return copy;
}
