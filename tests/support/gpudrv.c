/* SPDX-License-Identifier: MIT */
/* Little-endian host assumed, as in all unit tests: wire integers are plain ones here. */
#include "tests/support/gpudrv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/gpu_virgl.h"

#define IN_ROOM 4096

static void place(struct gpudrv *v)
{
	v->in_gpa = tdrv_alloc(&v->d, IN_ROOM * (v->may_wait ? GPU_HELD_MAX + 1 : 1), 8);
	v->first_out_gpa = tdrv_alloc(&v->d, sizeof(v->out) * (v->may_wait ? GPU_HELD_MAX + 1 : 1), 8);
	v->out_gpa = v->first_out_gpa;
}

static void start_with(struct gpudrv *v, const struct gpu_options *options, struct gpu_backend *backend)
{
	gpu_init(&v->gpu, options, &v->display, backend, &v->d.loop, &v->d.mem);
	tdrv_attach(&v->d, &v->gpu.base);
	v->out_room = sizeof(v->out);
	gpudrv_start(v);
}

static void init(struct gpudrv *v, unsigned n, uint64_t budget)
{
	struct display_output outputs[DISPLAY_SCANOUTS_MAX];

	memset(v, 0, sizeof(*v));
	for (unsigned i = 0; i < n; i++) {
		outputs[i] = (struct display_output){.enabled = true, .width = 640, .height = 480, .refresh_hz = 60};
	}
	tdrv_init(&v->d);
	display_init(&v->display, &v->d.loop, outputs, n, budget);
}

void gpudrv_init(struct gpudrv *v, unsigned n, const struct gpu_options *options, uint64_t budget)
{
	static const struct gpu_options none = {.blob = false};
	struct gpu_backend *backend;

	init(v, n, budget);
	backend = gpu_2d_create(&v->d.mem, GPUDRV_IMAGES, &v->share);
	assert(backend);
	start_with(v, options ? options : &none, backend);
}

void gpudrv_init_with(struct gpudrv *v, unsigned n, struct gpu_backend *(*make)(const struct gmem *mem), uint64_t budget)
{
	static const struct gpu_options none = {.blob = false};

	init(v, n, budget);
	start_with(v, &none, make(&v->d.mem));
}

bool gpudrv_init_3d(struct gpudrv *v, unsigned n, const char *render_node, uint64_t budget)
{
	static const struct gpu_options options = {.blob = true};
	struct gpu_backend *backend;
	char why[300];

	init(v, n, budget);
	backend = gpu_virgl_create(&v->d.mem, render_node, GPUDRV_IMAGES, NULL, why, sizeof(why));
	if (!backend) {
		printf("# %s\n", why);
		display_finish(&v->display);
		tdrv_finish(&v->d);
		return false;
	}
	start_with(v, &options, backend);
	return true;
}

void gpudrv_start(struct gpudrv *v)
{
	tdrv_start(&v->d);
	place(v);
	memset(v->waiting, 0, sizeof(v->waiting));
	v->nwaiting = 0;
	v->last_fence = 0; /* a driver begins with 1 */
}

void gpudrv_finish(struct gpudrv *v)
{
	struct tdrv *d = &v->d;

	tdrv_write(d, VIRTIO_MMIO_STATUS, 0);
	assert(v->display.budget.used == 0);
	virtio_mmio_finish(&d->mmio);
	gpu_close(&v->gpu);
	gpu_finish(&v->gpu);
	display_finish(&v->display);
	d->dev = NULL;
	tdrv_finish(d);
}

/* What Linux needs: it takes a fence that is answered for all before it. */
static void note_fence(struct gpudrv *v, const struct gpu_wire_hdr *hdr, uint32_t len)
{
	if (v->may_wait && len >= sizeof(*hdr) && le32_get(hdr->flags) & GPU_FLAG_FENCE) {
		assert(le64_get(hdr->fence_id) > v->last_fence);
		v->last_fence = le64_get(hdr->fence_id);
	}
}

/* The chain that was added last is not answered yet. */
static void keep(struct gpudrv *v, uint32_t head)
{
	struct gpudrv_waiting *w = v->waiting;

	while (w->out_gpa) {
		w++;
		assert(w < v->waiting + GPU_HELD_MAX);
	}
	*w = (struct gpudrv_waiting){.head = head, .room = v->out_room, .out_gpa = v->out_gpa};
	v->nwaiting++;
}

static void answered(struct gpudrv *v, uint32_t head, uint32_t len)
{
	struct gpudrv_waiting *w = v->waiting;
	const uint8_t *out;

	while (!w->out_gpa || w->head != head) {
		w++;
		assert(w < v->waiting + GPU_HELD_MAX + 1);
	}
	out = tdrv_ptr(&v->d, w->out_gpa, sizeof(v->out));
	assert(len == (w->room < sizeof(struct gpu_wire_hdr) ? 0 : sizeof(struct gpu_wire_hdr)));
	assert(len == 0 || le32_get(((const struct gpu_wire_hdr *)out)->type) == GPU_RESP_OK_NODATA);
	note_fence(v, (const struct gpu_wire_hdr *)out, len);
	for (size_t i = len; i < sizeof(v->out); i++) {
		assert(out[i] == 0xee);
	}
	w->out_gpa = 0;
	v->nwaiting--;
}

/* Return: whether @want was answered; all others that were are ones that have waited. */
static bool collect(struct gpudrv *v, unsigned q, uint32_t want)
{
	bool found = false;
	uint32_t head, len;

	while (tdrv_used(&v->d, q, &head, &len)) {
		if (head == want) {
			v->out_len = len;
			note_fence(v, tdrv_ptr(&v->d, v->out_gpa, sizeof(v->out)), len);
			found = true;
		} else {
			answered(v, head, len);
		}
	}
	return found;
}

void gpudrv_collect(struct gpudrv *v)
{
	collect(v, GPU_CONTROLQ, UINT32_MAX);
}

/* An answer's place that none waits for. */
static void find_place(struct gpudrv *v)
{
	bool is_taken = true;

	for (uint64_t gpa = v->first_out_gpa; is_taken; gpa += sizeof(v->out)) {
		is_taken = false;
		for (unsigned i = 0; i < GPU_HELD_MAX + 1; i++) {
			is_taken |= v->waiting[i].out_gpa == gpa;
		}
		v->out_gpa = gpa;
	}
}

uint32_t gpudrv_raw(struct gpudrv *v, unsigned q, const void *cmd, size_t len, const void *more, size_t more_len)
{
	uint64_t in = v->in_gpa, brk = v->d.brk;
	uint32_t want;
	bool used;

	if (v->may_wait) {
		find_place(v);
		/* Each has its own: one that was not taken yet is read later. */
		in += (v->out_gpa - v->first_out_gpa) / sizeof(v->out) * IN_ROOM;
	}
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
	/* A fence on the other queue: what has waited before it was answered before it, too. */
	if (v->may_wait && q != GPU_CONTROLQ) {
		gpudrv_collect(v);
	}
	used = collect(v, q, want);
	/* What waits for a renderer, or, where nothing may be left waiting, for who looks. */
	for (int i = 0; !used && (v->gpu.nfenced > 0 || (!v->may_wait && (v->gpu.wait.is_waiting || v->gpu.again.deadline_ns || v->display.holds))) && i < 1000; i++) {
		loop_run_once(&v->d.loop, 10);
		used = collect(v, q, want);
	}
	v->d.brk = brk;
	if (!used && v->may_wait) {
		keep(v, want);
		return GPUDRV_WAITS;
	}
	assert(used);
	memcpy(&v->out, tdrv_ptr(&v->d, v->out_gpa, sizeof(v->out)), sizeof(v->out));
	return v->out_len ? le32_get(v->out.hdr.type) : 0;
}

static struct gpu_wire_hdr header(const struct gpudrv *v, uint32_t type)
{
	return (struct gpu_wire_hdr){.type = le32_of(type), .flags = le32_of(v->flags), .fence_id = le64_of(v->fence), .ctx_id = le32_of(v->ctx ? v->ctx : v->flags ? 7 : 0),
		.ring_idx = v->ring};
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

uint32_t gpudrv_capset_info(struct gpudrv *v, uint32_t index)
{
	struct gpu_wire_get_capset_info c = {.hdr = header(v, GPU_CMD_GET_CAPSET_INFO), .capset_index = le32_of(index)};

	return DO(v, c);
}

uint32_t gpudrv_capset(struct gpudrv *v, uint32_t id, uint32_t version)
{
	struct gpu_wire_get_capset c = {.hdr = header(v, GPU_CMD_GET_CAPSET), .capset_id = le32_of(id), .capset_version = le32_of(version)};

	return DO(v, c);
}

uint32_t gpudrv_ctx(struct gpudrv *v, uint32_t type, const char *name)
{
	struct gpu_wire_ctx_create c = {.hdr = header(v, type), .nlen = le32_of((uint32_t)strlen(name)), .context_init = le32_of(v->context_init)};

	memcpy(c.debug_name, name, strnlen(name, sizeof(c.debug_name)));
	return gpudrv_raw(v, GPU_CONTROLQ, &c, type == GPU_CMD_CTX_CREATE ? sizeof(c) : sizeof(c.hdr), NULL, 0);
}

uint32_t gpudrv_ctx_resource(struct gpudrv *v, uint32_t type, uint32_t id)
{
	struct gpu_wire_resource c = {.hdr = header(v, type), .resource_id = le32_of(id)};

	return DO(v, c);
}

uint32_t gpudrv_create_3d(struct gpudrv *v, uint32_t id, const struct gpu_texture *t)
{
	struct gpu_wire_create_3d c = {.hdr = header(v, GPU_CMD_RESOURCE_CREATE_3D), .resource_id = le32_of(id), .target = le32_of(t->target), .format = le32_of(t->format),
		.bind = le32_of(t->bind), .width = le32_of(t->width), .height = le32_of(t->height), .depth = le32_of(t->depth), .array_size = le32_of(t->array_size),
		.last_level = le32_of(t->last_level), .nr_samples = le32_of(t->nr_samples), .flags = le32_of(t->flags)};

	return DO(v, c);
}

uint32_t gpudrv_transfer_3d(struct gpudrv *v, uint32_t type, uint32_t id, const struct gpu_transfer *t)
{
	struct gpu_wire_transfer_3d c = {.hdr = header(v, type), .box = {le32_of(t->x), le32_of(t->y), le32_of(t->z), le32_of(t->w), le32_of(t->h), le32_of(t->d)},
		.offset = le64_of(t->offset), .resource_id = le32_of(id), .level = le32_of(t->level), .stride = le32_of(t->stride), .layer_stride = le32_of(t->layer_stride)};

	return DO(v, c);
}

uint32_t gpudrv_submit(struct gpudrv *v, const uint32_t *words, uint32_t nwords)
{
	struct gpu_wire_submit_3d c = {.hdr = header(v, GPU_CMD_SUBMIT_3D), .size = le32_of(nwords * 4)};

	return gpudrv_raw(v, GPU_CONTROLQ, &c, sizeof(c), words, nwords * 4);
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
