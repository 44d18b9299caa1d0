/* SPDX-License-Identifier: MIT */
/*
 * What contexts are for, by the real virglrenderer on OpenGL in software: a triangle by shaders of the guest's, whose vertices come by a transfer within a submission, then parts of it enlarged and copied to another
 * picture. The scene is asymmetric, and every pixel of it is looked at: flipped, shifted or swapped it fails.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devices/gpu_3d.h"
#include "devices/gpu_egl.h"
#include "tests/support/gpudrv.h"
#include "tests/support/mesa.h"

#define W 64u
#define H 48u
#define BUDGET (64u << 20)

/* The renderer's language: commands, kinds of objects, Gallium's numbers. */
#define CMD(op, object, len) ((op) | (object) << 8 | (uint32_t)(len) << 16)
#define CREATE(kind, len) CMD(1u, kind, len)
#define BIND(kind) CMD(2u, kind, 1)
#define SET_VIEWPORT CMD(4u, 0, 7)
#define SET_FRAMEBUFFER CMD(5u, 0, 3)
#define SET_VERTICES CMD(6u, 0, 3)
#define CLEAR CMD(7u, 0, 8)
#define DRAW CMD(8u, 0, 12)
#define BLIT CMD(16u, 0, 21)
#define COPY CMD(17u, 0, 13)
#define BIND_SHADER CMD(31u, 0, 2)
#define TRANSFER CMD(43u, 0, 13)
#define TO_HOST 1
#define FROM_HOST 2
#define BLEND 1u
#define RASTERIZER 2u
#define DEPTH 3u
#define SHADER 4u
#define VERTEX_ELEMENTS 5u
#define SURFACE 8u
#define COLOUR0 4u
#define FLOAT4 31u /* a format */
#define BYTES 64u
#define TRIANGLES 4u
#define FORMAT GPU_FORMAT_B8G8R8X8

/* Resources. */
enum { SCENE = 5, COPIES = 6, VERTICES = 7 };

/* Parts of the second picture, and where in the first one they are from. */
static const struct display_rect enlarged = {8, 4, 32, 24}, enlarged_from = {4, 2, 16, 12}, copied = {44, 32, 16, 8}, copied_from = {20, 6, 16, 8};

static struct gpudrv v;
static uint32_t words[1024], nwords;
static uint8_t *vertices, *pixels; /* guest memory behind the buffer and the first picture */

#define OK(call) assert_int_equal(call, GPU_RESP_OK_NODATA)
#define IS(call, answer) assert_int_equal(call, GPU_RESP_ERR_##answer)

static uint32_t bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

static void say(const uint32_t *what, size_t len)
{
	memcpy(words + nwords, what, len);
	nwords += (uint32_t)(len / 4);
}

#define SAY(...) say((const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}))

static uint32_t submit(void)
{
	uint32_t n = nwords;

	nwords = 0;
	return gpudrv_submit(&v, words, n);
}

static void say_shader(uint32_t handle, uint32_t type, const char *text)
{
	uint32_t len = (uint32_t)strlen(text) + 1, n = (len + 3) / 4;

	SAY(CREATE(SHADER, 5 + n), handle, type, len, 100, 0);
	words[nwords + n - 1] = 0;
	memcpy(words + nwords, text, len);
	nwords += n;
	SAY(BIND_SHADER, handle, type);
}

static uint8_t *backing(uint32_t id, uint32_t len)
{
	uint64_t gpa = tdrv_alloc(&v.d, len, 4096);
	const struct gpudrv_entry half[2] = {{gpa, len / 2, 0}, {gpa + len / 2, len - len / 2, 0}};

	OK(gpudrv_attach(&v, id, half, 2));
	return tdrv_ptr(&v.d, gpa, len);
}

static void make(uint32_t id, const struct gpu_texture *t)
{
	OK(gpudrv_create_3d(&v, id, t));
	OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, id));
}

static int set_up(void **state)
{
	static const struct gpu_texture picture = {.target = 2, .format = FORMAT, .bind = 1u << 1 | 1u << 3 | 1u << 18, .width = W, .height = H, .depth = 1, .array_size = 1};
	static const struct gpu_texture buffer = {.target = 0, .format = BYTES, .bind = 1u << 4, .width = 96, .height = 1, .depth = 1, .array_size = 1};

	(void)state;
	nwords = 0;
	if (!gpudrv_init_3d(&v, 1, "surfaceless", BUDGET)) {
		return -1;
	}
	v.ctx = 1;
	v.context_init = GPU_CAPSET_VIRGL2;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "draws"));
	make(SCENE, &picture);
	make(COPIES, &picture);
	make(VERTICES, &buffer);
	vertices = backing(VERTICES, 96);
	pixels = backing(SCENE, W * H * 4);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	gpudrv_finish(&v);
	return 0;
}

/* The upper left half, redder to the right, over what was cleared. */
static void draw_scene(void)
{
	static const float corners[3][8] = {{-1, -1, 0, 1, 0, 0.4f, 0.6f, 0.8f}, {1, -1, 0, 1, 1, 0.4f, 0.6f, 0.8f}, {-1, 1, 0, 1, 0, 0.4f, 0.6f, 0.8f}};

	memcpy(vertices, corners, sizeof(corners));
	SAY(TRANSFER, VERTICES, 0, 0, 0, 0, 0, 0, 0, sizeof(corners), 1, 1, 0, TO_HOST);
	SAY(CREATE(SURFACE, 5), 1, SCENE, FORMAT, 0, 0, SET_FRAMEBUFFER, 1, 0, 1);
	SAY(CLEAR, COLOUR0, bits(0), bits(0), bits(1), bits(1), 0, 0, 0);
	SAY(CREATE(BLEND, 11), 2, 0, 0, 0xfu << 27, 0, 0, 0, 0, 0, 0, 0, BIND(BLEND), 2);
	SAY(CREATE(DEPTH, 5), 3, 0, 0, 0, 0, BIND(DEPTH), 3);
	SAY(CREATE(RASTERIZER, 9), 4, 1u << 1 | 1u << 29, bits(1), 0, 0, bits(1), 0, 0, 0, BIND(RASTERIZER), 4);
	SAY(SET_VIEWPORT, 0, bits(W / 2), bits(H / 2), bits(0.5f), bits(W / 2), bits(H / 2), bits(0.5f));
	say_shader(5, 0,
		"VERT\nDCL IN[0]\nDCL IN[1]\nDCL OUT[0], POSITION\nDCL OUT[1], GENERIC[0]\n"
		"  0: MOV OUT[0], IN[0]\n  1: MOV OUT[1], IN[1]\n  2: END\n");
	say_shader(6, 1, "FRAG\nDCL IN[0], GENERIC[0], PERSPECTIVE\nDCL OUT[0], COLOR\n  0: MOV OUT[0], IN[0]\n  1: END\n");
	SAY(CREATE(VERTEX_ELEMENTS, 9), 7, 0, 0, 0, FLOAT4, 16, 0, 0, FLOAT4, BIND(VERTEX_ELEMENTS), 7);
	SAY(SET_VERTICES, 32, 0, VERTICES);
	SAY(DRAW, 0, 3, TRIANGLES, 0, 1, 0, 0, 0, 0, 0, 2, 0);
}

static bool is_near(uint32_t a, uint32_t b)
{
	return a <= b + 2 && b <= a + 2;
}

/* Whether @rgb is what the scene has at @x, @y; at the triangle's edge it is either of the two. */
static bool is_scene(uint32_t x, uint32_t y, uint32_t rgb)
{
	uint32_t side = (2 * x + 1) * H + (2 * y + 1) * W; /* 2 W H at the edge */
	bool is_inside = is_near(rgb >> 16, (2 * x + 1) * 255 / (2 * W)) && is_near(rgb >> 8 & 0xff, 102) && is_near(rgb & 0xff, 153), is_outside = rgb == 0x0000ff;

	return side + 2 * H < 2 * W * H ? is_inside : side > 2 * W * H + 2 * H ? is_outside : is_inside || is_outside;
}

static bool is_in(struct display_rect r, uint32_t x, uint32_t y)
{
	return x >= r.x && x < r.x + r.w && y >= r.y && y < r.y + r.h;
}

/* All pixels of what a scanout shows of @id. */
static void assert_shows(uint32_t id, bool (*is_right)(uint32_t x, uint32_t y, uint32_t rgb))
{
	uint32_t w, h;
	uint8_t *shot;

	OK(gpudrv_set_scanout(&v, 0, id, (struct display_rect){0, 0, W, H}));
	OK(gpudrv_flush(&v, id, (struct display_rect){0, 0, W, H}));
	shot = gpudrv_shot(&v, 0, false, &w, &h);
	assert_non_null(shot);
	assert_true(w == W && h == H);
	for (uint32_t i = 0; i < W * H; i++) {
		uint32_t rgb = (uint32_t)shot[i * 4 + 2] << 16 | (uint32_t)shot[i * 4 + 1] << 8 | shot[i * 4];

		if (!is_right(i % W, i / W, rgb)) {
			fail_msg("resource %u, pixel %u,%u: %06x", id, i % W, i / W, rgb);
		}
	}
	free(shot);
}

static void test_draw_a_triangle_by_shaders(void **state)
{
	(void)state;
	draw_scene();
	OK(submit());
	assert_shows(SCENE, is_scene);
}

/* Back, within a submission, to where the guest wants it, and nowhere else. */
static void test_draw_and_transfer_back(void **state)
{
	const struct display_rect part = {40, 4, 20, 10};

	(void)state;
	draw_scene();
	memset(pixels, 0x77, W * H * 4);
	SAY(TRANSFER, SCENE, 0, 0, W * 4, 0, part.x, part.y, 0, part.w, part.h, 1, (part.y * W + part.x) * 4, FROM_HOST);
	OK(submit());
	for (uint32_t i = 0; i < W * H; i++) {
		uint32_t rgb = (uint32_t)pixels[i * 4 + 2] << 16 | (uint32_t)pixels[i * 4 + 1] << 8 | pixels[i * 4];

		if (is_in(part, i % W, i / W) ? !is_scene(i % W, i / W, rgb) : rgb != 0x777777) {
			fail_msg("pixel %u,%u: %06x", i % W, i / W, rgb);
		}
	}
}

static bool is_copies(uint32_t x, uint32_t y, uint32_t rgb)
{
	if (is_in(enlarged, x, y)) {
		return is_scene(enlarged_from.x + (x - enlarged.x) / 2, enlarged_from.y + (y - enlarged.y) / 2, rgb);
	}
	if (is_in(copied, x, y)) {
		return is_scene(copied_from.x + x - copied.x, copied_from.y + y - copied.y, rgb);
	}
	return rgb == 0x00ff00;
}

static void test_draw_blit_and_copy(void **state)
{
	const struct display_rect *e = &enlarged, *f = &enlarged_from, *c = &copied, *d = &copied_from;

	(void)state;
	draw_scene();
	SAY(CREATE(SURFACE, 5), 8, COPIES, FORMAT, 0, 0, SET_FRAMEBUFFER, 1, 0, 8);
	SAY(CLEAR, COLOUR0, bits(0), bits(1), bits(0), bits(1), 0, 0, 0);
	SAY(BLIT, 0xf, 0, 0, COPIES, 0, FORMAT, e->x, e->y, 0, e->w, e->h, 1, SCENE, 0, FORMAT, f->x, f->y, 0, f->w, f->h, 1);
	SAY(COPY, COPIES, 0, c->x, c->y, 0, SCENE, 0, d->x, d->y, 0, d->w, d->h, 1);
	OK(submit());
	assert_shows(COPIES, is_copies);
	/* What it was copied from is as it was. */
	assert_shows(SCENE, is_scene);
}

/* One context's pictures are no other's: not to draw in, not to copy from, not to transfer. */
static void test_draw_with_what_another_context_has(void **state)
{
	const struct gpu_transfer all = {.w = W, .h = H, .d = 1, .stride = W * 4};

	(void)state;
	draw_scene();
	OK(submit());
	v.ctx = 2;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "another"));
	IS(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_TO_HOST_3D, SCENE, &all), UNSPEC);
	IS(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_FROM_HOST_3D, SCENE, &all), UNSPEC);
	SAY(CREATE(SURFACE, 5), 1, SCENE, FORMAT, 0, 0);
	IS(submit(), UNSPEC);
	v.ctx = 1;
	OK(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_FROM_HOST_3D, SCENE, &all));
	assert_true(is_scene(1, 1, (uint32_t)pixels[(W + 1) * 4 + 2] << 16 | (uint32_t)pixels[(W + 1) * 4 + 1] << 8 | pixels[(W + 1) * 4]));
	/* Nor what it has given up. */
	OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_DETACH_RESOURCE, COPIES));
	SAY(CREATE(SURFACE, 5), 9, COPIES, FORMAT, 0, 0);
	IS(submit(), UNSPEC);
}

/* What the backend is asked for and cannot do, by itself: the device in front would not let a guest get there. */
static void test_draw_memory_that_is_given_and_taken(void **state)
{
	const struct gpu_range range = {TDRV_RAM_GPA, W * H * 4};
	const struct gpu_transfer all = {.w = W, .h = H, .d = 1, .stride = W * 4};
	struct gpu_backend *b = v.gpu.backend;

	(void)state;
	assert_true(b->ops->attach(b, SCENE, &range, 1) < 0);
	OK(gpudrv_detach(&v, SCENE));
	assert_true(b->ops->transfer_to_3d(b, 0, SCENE, &all) < 0);
	assert_true(b->ops->transfer_from_3d(b, 0, SCENE, &all) < 0);
	pixels = backing(SCENE, W * H * 4);
	assert_int_equal(b->ops->transfer_to_3d(b, 0, SCENE, &all), 0);
}

static bool is_green(uint32_t x, uint32_t y, uint32_t rgb)
{
	(void)x;
	(void)y;
	return rgb == 0x00ff00;
}

/* As anything else does that draws on this thread, without the renderer noticing. */
static void take_its_context(void)
{
	void *lib = dlopen("libEGL.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
	void *(*current)(void);
	unsigned (*make_current)(void *display, void *draw, void *read, void *context);

	assert_non_null(lib);
	*(void **)&current = dlsym(lib, "eglGetCurrentDisplay");
	*(void **)&make_current = dlsym(lib, "eglMakeCurrent");
	assert_non_null(current());
	assert_true(make_current(current(), NULL, NULL, NULL));
	dlclose(lib);
}

/* The renderer would draw in whatever context is current: it is told each time that it may be another one. */
static void test_draw_after_others_did(void **state)
{
	static const struct gpu_texture picture = {.target = 2, .format = FORMAT, .bind = 1u << 1, .width = W, .height = H, .depth = 1, .array_size = 1};
	const struct gpu_transfer all = {.w = W, .h = H, .d = 1, .stride = W * 4};

	(void)state;
	draw_scene();
	OK(submit());
	take_its_context();
	OK(gpudrv_create_3d(&v, 12, &picture));
	OK(gpudrv_set_scanout(&v, 0, SCENE, (struct display_rect){0, 0, W, H}));
	take_its_context();
	assert_shows(SCENE, is_scene);
	memset(pixels, 0, W * H * 4);
	v.ctx = 0; /* no context of the guest's, which it would change to */
	take_its_context();
	OK(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_FROM_HOST_3D, SCENE, &all));
	for (uint32_t i = 0; i < W * H; i++) {
		assert_true(is_scene(i % W, i / W, (uint32_t)pixels[i * 4 + 2] << 16 | (uint32_t)pixels[i * 4 + 1] << 8 | pixels[i * 4]));
	}
	for (uint32_t i = 0; i < W * H; i++) {
		memcpy(pixels + i * 4, (const uint8_t[]){0, 0xff, 0, 0}, 4);
	}
	take_its_context();
	OK(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_TO_HOST_3D, SCENE, &all));
	assert_shows(SCENE, is_green);
}

/* In guest memory, with a fence. Return: its chain's head. */
static uint32_t send(uint64_t in, uint64_t out, uint64_t fence, const uint32_t *what, uint32_t n)
{
	const struct gpu_wire_submit_3d c = {.hdr = {.type = le32_of(GPU_CMD_SUBMIT_3D), .flags = le32_of(GPU_FLAG_FENCE), .fence_id = le64_of(fence), .ctx_id = le32_of(1)}, .size = le32_of(n * 4)};

	memcpy(tdrv_ptr(&v.d, in, sizeof(c)), &c, sizeof(c));
	memcpy(tdrv_ptr(&v.d, in + sizeof(c), n * 4), what, n * 4);
	return tdrv_add(&v.d, GPU_CONTROLQ, in, (uint32_t)sizeof(c) + n * 4, out, sizeof(struct gpu_wire_hdr));
}

static void assert_next(uint32_t want)
{
	uint32_t head, len;

	for (int n = 0; !tdrv_used(&v.d, GPU_CONTROLQ, &head, &len); n++) {
		assert_true(n < 1000);
		loop_run_once(&v.d.loop, 10);
	}
	assert_int_equal(head, want);
}

#define LARGE 9u
#define LARGE_SIZE 1024u

/* What takes long to draw is in words. */
static void make_slow(void)
{
	static const struct gpu_texture large = {.target = 2, .format = FORMAT, .bind = 1u << 1, .width = LARGE_SIZE, .height = LARGE_SIZE, .depth = 1, .array_size = 1};

	make(LARGE, &large);
	draw_scene();
	SAY(CREATE(SURFACE, 5), 20, LARGE, FORMAT, 0, 0, SET_FRAMEBUFFER, 1, 0, 20);
	SAY(SET_VIEWPORT, 0, bits(LARGE_SIZE / 2), bits(LARGE_SIZE / 2), bits(0.5f), bits(LARGE_SIZE / 2), bits(LARGE_SIZE / 2), bits(0.5f));
	OK(submit());
	for (unsigned i = 0; i < 40; i++) {
		SAY(DRAW, 0, 3, TRIANGLES, 0, 1, 0, 0, 0, 0, 0, 2, 0);
	}
}

/* The fence of what takes no time is not answered together with that of what takes long: not each time at least, on a machine where nobody knows who is next. */
static void test_draw_fences_when_their_work_is_done(void **state)
{
	static const uint32_t nop;
	uint64_t in[2], out[2];
	bool was_alone = false;

	(void)state;
	make_slow();
	for (unsigned i = 0; i < 2; i++) {
		in[i] = tdrv_alloc(&v.d, 4096, 8);
		out[i] = tdrv_alloc(&v.d, sizeof(struct gpu_wire_hdr), 8);
	}
	for (unsigned i = 0; i < 20 && !was_alone; i++) {
		uint32_t quick = send(in[0], out[0], 2 * i + 1, &nop, 1), slow = send(in[1], out[1], 2 * i + 2, words, nwords);

		tdrv_write(&v.d, VIRTIO_MMIO_QUEUE_NOTIFY, GPU_CONTROLQ);
		assert_next(quick);
		was_alone = v.gpu.nfenced == 1;
		assert_next(slow);
	}
	assert_true(was_alone);
}

/* The host's GPU is reset while it works (gpu_lost_test.c): what it will not do any more is not waited for. */
static void test_draw_fences_when_the_gpu_is_lost(void **state)
{
	uint64_t in = tdrv_alloc(&v.d, 4096, 8), out = tdrv_alloc(&v.d, sizeof(struct gpu_wire_hdr), 8);
	uint32_t heads[8], head, len;

	(void)state;
	make_slow();
	for (unsigned i = 0; i < 8; i++) {
		heads[i] = send(in, out, 1 + i, words, nwords);
	}
	tdrv_write(&v.d, VIRTIO_MMIO_QUEUE_NOTIFY, GPU_CONTROLQ);
	assert_int_equal(v.gpu.nfenced, 8);
	gpu_egl_set_test_lost(true);
	v.gpu.backend->ops->poll(v.gpu.backend);
	gpu_egl_set_test_lost(false);
	assert_int_equal(v.gpu.nfenced, 0);
	for (unsigned i = 0; i < 8; i++) {
		assert_true(tdrv_used(&v.d, GPU_CONTROLQ, &head, &len));
		assert_int_equal(head, heads[i]);
	}
}

static int keep_drivers(void **state)
{
	return mesa_keep_drivers_of(set_up, tear_down, state);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_draw_a_triangle_by_shaders),
		T(test_draw_and_transfer_back),
		T(test_draw_blit_and_copy),
		T(test_draw_with_what_another_context_has),
		T(test_draw_memory_that_is_given_and_taken),
		T(test_draw_after_others_did),
		T(test_draw_fences_when_their_work_is_done),
		T(test_draw_fences_when_the_gpu_is_lost),
	};

	return cmocka_run_group_tests(tests, keep_drivers, NULL);
}
