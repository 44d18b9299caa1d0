/* SPDX-License-Identifier: MIT */
/*
 * Pictures that leave as the guest draws them, by the real virglrenderer on OpenGL in software. There is no dma-buf here: what stands in for one is the texture's number in the picture, and its pixels are
 * looked at. That real ones leave, and are the same elsewhere, is tests/system/long/dmabuf's.
 */
#include "devices/gpu_direct.h"

#include <GL/gl.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "devices/gpu_export.h"
#include "devices/gpu_virgl.h"
#include "tests/support/gpudrv.h"
#include "tests/support/mesa.h"
#include "vmm/clock.h"

#define W 64u
#define H 48u
#define BUDGET (64u << 20)
#define A 5u /* resources */
#define B 6u
#define C 7u
#define NOW 1000000000u

#define TEXTURE_2D 2u /* Gallium's */
#define BIND_PICTURE ((1u << 1) | (1u << 3) | (1u << 18)) /* rendered to, sampled, shown */

static struct gpudrv v;
static const struct display_rect all = {0, 0, W, H};

static struct {
	void (*tex_image)(GLenum target, GLint level, GLint internal, GLsizei width, GLsizei height, GLint border, GLenum format, GLenum type, const void *pixels);
	void (*get_tex_image)(GLenum target, GLint level, GLenum format, GLenum type, void *pixels);
	void (*bind_texture)(GLenum target, GLuint texture);
} gl;

static uint64_t now; /* as everybody is told */
static int fails; /* what exporting says */
static unsigned exported;

/* A copy's. */
static int storage(uint32_t width, uint32_t height, bool opaque, bool linear, unsigned texture, struct display_picture *p)
{
	(void)linear;
	gl.tex_image(GL_TEXTURE_2D, 0, GL_RGBA8, (GLsizei)width, (GLsizei)height, 0, GL_RGBA, GL_UNSIGNED_BYTE, NULL);
	p->fourcc = opaque ? DISPLAY_XRGB8888 : DISPLAY_ARGB8888;
	p->planes = (struct display_planes){.n = 1, .fd = {open("/dev/null", O_RDONLY | O_CLOEXEC)}, .offset = {texture}};
	return 0;
}

static int texture(unsigned number, struct display_picture *p)
{
	if (fails < 0) {
		return fails;
	}
	/* As this kind of texture is found to be. */
	p->fourcc = DISPLAY_ABGR8888;
	p->planes = (struct display_planes){.n = 1, .fd = {open("/dev/null", O_RDONLY | O_CLOEXEC)}, .offset = {number}};
	exported++;
	return 0;
}

static bool load_gl(void)
{
	*(void **)&gl.tex_image = mesa_function("glTexImage2D");
	*(void **)&gl.get_tex_image = mesa_function("glGetTexImage");
	*(void **)&gl.bind_texture = mesa_function("glBindTexture");
	return gl.tex_image && gl.get_tex_image && gl.bind_texture;
}

static int set_up_with(enum gpu_direct_way way)
{
	fails = 0;
	clock_set_test_ns(now = NOW);
	if (!gl.bind_texture && !load_gl()) {
		return -1;
	}
	gpu_export_set_test_storage(storage);
	gpu_export_set_test_texture(texture);
	if (!gpudrv_init_3d(&v, 2, "surfaceless", BUDGET)) {
		return -1;
	}
	v.gpu.direct_way = way;
	v.may_wait = true;
	tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	gpudrv_start(&v);
	/* Its first turn. */
	clock_set_test_ns(++now);
	loop_run_once(&v.d.loop, 0);
	exported = 0;
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	return set_up_with(GPU_DIRECT_ALWAYS);
}

static int set_up_auto(void **state)
{
	(void)state;
	return set_up_with(GPU_DIRECT_AUTO);
}

static int tear_down(void **state)
{
	(void)state;
	clock_set_test_ns(0);
	gpudrv_finish(&v);
	gpu_export_set_test_storage(NULL);
	gpu_export_set_test_texture(NULL);
	return 0;
}

#define OK(call) assert_int_equal(call, GPU_RESP_OK_NODATA)
#define WAITS(call) assert_int_equal(call, GPUDRV_WAITS)

/*
 * The guest.
 */

static uint64_t backing[16]; /* of resources */

static void make_texture(uint32_t id, uint32_t format, uint32_t flags)
{
	const struct gpu_texture t = {.target = TEXTURE_2D, .format = format, .bind = BIND_PICTURE, .width = W, .height = H, .depth = 1, .array_size = 1, .flags = flags};

	backing[id] = tdrv_alloc(&v.d, W * H * 4, 4096);
	OK(gpudrv_create_3d(&v, id, &t));
	OK(gpudrv_attach(&v, id, &(const struct gpudrv_entry){backing[id], W * H * 4, 0}, 1));
}

static void make_two(void)
{
	make_texture(A, GPU_FORMAT_B8G8R8X8, 0);
	make_texture(B, GPU_FORMAT_B8G8R8X8, 0);
}

/* Every pixel is another one: @blue, its row, its column. Return: as gpudrv_transfer_3d. */
static uint32_t paint(uint32_t id, uint8_t blue)
{
	const struct gpu_transfer t = {.w = W, .h = H, .d = 1, .stride = W * 4};
	uint8_t *mem = tdrv_ptr(&v.d, backing[id], W * H * 4);

	for (uint32_t i = 0; i < W * H; i++) {
		memcpy(mem + i * 4, (const uint8_t[]){blue, (uint8_t)(i / W), (uint8_t)(i % W), 255}, 4);
	}
	return gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_TO_HOST_3D, id, &t);
}

/* Its answer may wait until it has been seen, which is something else (gpu.h). */
static void flush(uint32_t id)
{
	uint32_t answer = gpudrv_flush(&v, id, all);

	assert_true(answer == GPU_RESP_OK_NODATA || answer == GPUDRV_WAITS);
}

static void flip(unsigned scanout, uint32_t id)
{
	OK(gpudrv_set_scanout(&v, scanout, id, all));
	flush(id);
}

/* The renderer's language. */
#define CMD(op, object, len) ((op) | (object) << 8 | (uint32_t)(len) << 16)
#define NOTHING CMD(0u, 0, 0)
#define SURFACE(handle, id) CMD(1u, 8u, 5), handle, id, GPU_FORMAT_B8G8R8X8, 0, 0
#define TARGET(handle) CMD(5u, 0, 3), 1, 0, handle
#define CLEAR(red) CMD(7u, 0, 8), 4, red, 0, 0, ONE, 0, 0, 0 /* the first colour of what is bound */
#define BLIT(to, from) CMD(16u, 0, 21), 15, 0, 0, to, 0, GPU_FORMAT_B8G8R8X8, 0, 0, 0, W, H, 1, from, 0, GPU_FORMAT_B8G8R8X8, 0, 0, 0, W, H, 1
#define COPY(to, from) CMD(17u, 0, 13), to, 0, 0, 0, 0, from, 0, 0, 0, 0, W, H, 1
#define SUB_CTX(op, sub) CMD(op, 0, 1), sub
#define CREATE_SUB 29u
#define SET_SUB 28u
#define ONE 0x3f800000u /* 1.0 */

static uint32_t submit(uint32_t ctx, const uint32_t *words, size_t size)
{
	uint32_t answer;

	v.ctx = ctx;
	answer = gpudrv_submit(&v, words, (uint32_t)(size / 4));
	v.ctx = 0;
	return answer;
}

#define SUBMIT(ctx, ...) submit(ctx, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}))

/* A context with one of the two, or (0) none. */
static void make_context(uint32_t ctx, uint32_t id, uint32_t id2)
{
	v.ctx = ctx;
	OK(gpudrv_ctx(&v, GPU_CMD_CTX_CREATE, "test"));
	if (id) {
		OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, id));
	}
	if (id2) {
		OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, id2));
	}
	v.ctx = 0;
}

static void turn_for(int ms)
{
	clock_set_test_ns(++now);
	loop_run_once(&v.d.loop, ms);
	gpudrv_collect(&v);
}

static void turn(unsigned n)
{
	while (n-- > 0) {
		turn_for(0);
	}
}

static void at(uint64_t ns)
{
	clock_set_test_ns(now = ns);
	turn(3);
}

/*
 * The viewer.
 */

static bool takes_all = true; /* what it can import */

static bool on_imports(void *ctx, const struct display_picture *p)
{
	(void)ctx;
	return takes_all || !p->planes.is_direct;
}

static const struct display_sink_ops ops = {.imports = on_imports};
static struct display_sink sink;

/* It controls. */
static void join(void)
{
	takes_all = true;
	sink = (struct display_sink){.ops = &ops, .takes_copies = true};
	display_sink_add(&v.display, &sink);
	display_pace(&v.display, &sink);
}

static void leave(void)
{
	display_sink_remove(&v.display, &sink);
}

/* The next frame of scanout @i, when it comes. */
static struct display_frame await(unsigned i)
{
	struct display_frame f;

	for (unsigned turns = 0; turns < 1000; turns++) {
		if (display_take(&v.display, &sink, i, &f)) {
			return f;
		}
		turn_for(5);
	}
	fail_msg("no frame came");
	return f;
}

static void let_go(struct display_frame *f)
{
	display_buffer_unref(f->buffer);
	display_seen(&v.display, &sink, 0, f->number);
	turn(3);
}

/* Shows @id @n times, or that and the other one in turns, and looks at each. Return: how many were no copies. */
static unsigned look_at(uint32_t id, bool flips, unsigned n)
{
	unsigned directs = 0;

	for (unsigned k = 0; k < n; k++) {
		struct display_frame f;

		flip(0, flips && k % 2 ? A + B - id : id);
		f = await(0);
		directs += f.buffer->picture.planes.is_direct;
		let_go(&f);
	}
	return directs;
}

/* Return: pixel @x, @y of what stands in for a dma-buf: 0xRRGGBB. */
static uint32_t pixel(const struct display_frame *f, uint32_t x, uint32_t y)
{
	static uint8_t pixels[W * H * 4];
	const struct display_picture *p = &f->buffer->picture;

	assert_true(p->planes.n == 1 && x < W && y < H);
	gl.bind_texture(GL_TEXTURE_2D, p->planes.offset[0]);
	gl.get_tex_image(GL_TEXTURE_2D, 0, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
	gl.bind_texture(GL_TEXTURE_2D, 0);
	return (uint32_t)pixels[(y * W + x) * 4] << 16 | (uint32_t)pixels[(y * W + x) * 4 + 1] << 8 | pixels[(y * W + x) * 4 + 2];
}

/*
 * What is sent.
 */

/* The texture itself, once for each; nothing is copied and nothing read back. */
static void test_direct_is_what_the_guest_drew(void **state)
{
	(void)state;
	make_two();
	join();
	for (uint8_t n = 1; n <= 9; n++) {
		uint32_t id = n & 1 ? A : B;
		struct display_frame f;

		OK(paint(id, n));
		flip(0, id);
		f = await(0);
		assert_int_equal(f.number, n);
		assert_true(f.buffer->picture.planes.is_direct);
		/* Alpha says nothing in it, whatever the driver says. */
		assert_int_equal(f.buffer->picture.fourcc, DISPLAY_XBGR8888);
		assert_int_equal(pixel(&f, 3, 4), 3 << 16 | 4 << 8 | n);
		let_go(&f);
	}
	assert_int_equal(exported, 2);
	assert_int_equal(v.display.counters.offers, 9);
	assert_int_equal(v.display.counters.copies, 0);
	assert_int_equal(v.gpu.backend->read_bytes, 0);
	assert_null(v.gpu.scanout[0].direct.why);
	leave();
	assert_false(v.display.scanout[0].is_direct);
}

/* One whose first row is its last, one with alpha, and a part of one. */
static void test_direct_says_how_it_lies(void **state)
{
	const struct display_rect part = {10, 20, 30, 15};
	struct display_frame f;

	(void)state;
	make_texture(A, GPU_FORMAT_R8G8B8A8, 1);
	join();
	OK(gpudrv_set_scanout(&v, 0, A, part));
	flush(A);
	f = await(0);
	assert_true(f.buffer->picture.planes.y_inverted);
	assert_int_equal(f.buffer->picture.fourcc, DISPLAY_ABGR8888);
	assert_int_equal(f.buffer->picture.width, W);
	assert_memory_equal(&f.crop, &part, sizeof(part));
	let_go(&f);
	leave();
}

/* Who only looks gets a copy of the same, or maps it. */
static void test_direct_is_for_who_paces(void **state)
{
	struct display_sink other = {.ops = &ops, .takes_copies = true}, maps = {.ops = &ops};
	struct display_frame f, g, h;

	(void)state;
	make_two();
	join();
	OK(paint(A, 7));
	OK(paint(B, 8));
	display_sink_add(&v.display, &other);
	flip(0, A);
	f = await(0);
	assert_true(f.buffer->picture.planes.is_direct);
	while (!display_take(&v.display, &other, 0, &g)) {
		turn_for(5);
	}
	assert_false(g.buffer->picture.planes.is_direct);
	assert_int_equal(pixel(&g, 3, 4), 3 << 16 | 4 << 8 | 7);
	assert_int_equal(v.gpu.backend->read_bytes, 0);
	display_sink_add(&v.display, &maps);
	flip(0, B);
	assert_true(display_take(&v.display, &maps, 0, &h));
	assert_int_equal(h.buffer->picture.planes.n, 0);
	assert_int_equal(display_buffer_map(h.buffer)[(4 * W + 3) * 4], 8);
	display_buffer_unref(g.buffer);
	display_buffer_unref(h.buffer);
	let_go(&f);
	display_sink_remove(&v.display, &other);
	display_sink_remove(&v.display, &maps);
	leave();
}

/*
 * No half-drawn picture.
 */

/* A transfer to what somebody looks at waits, and all that comes behind it but pointers. */
static void test_direct_transfers_wait(void **state)
{
	struct display_frame f;

	(void)state;
	make_two();
	join();
	OK(paint(A, 1));
	OK(paint(B, 2));
	flip(0, A);
	f = await(0);
	flip(0, B);
	WAITS(paint(A, 3));
	WAITS(gpudrv_set_scanout(&v, 1, B, all));
	gpudrv_cursor(&v, GPU_CMD_MOVE_CURSOR, 0, 0, 5, 6, 0, 0);
	assert_int_equal(v.display.scanout[0].cursor.x, 5);
	assert_null(v.display.scanout[1].buffer);
	turn(5);
	assert_int_equal(v.gpu.counters.waits, 1);
	assert_int_equal(pixel(&f, 3, 4), 3 << 16 | 4 << 8 | 1);
	/* A kick changes nothing. */
	tdrv_kick(&v.d, GPU_CONTROLQ);
	turn(5);
	assert_int_equal(pixel(&f, 3, 4), 3 << 16 | 4 << 8 | 1);
	assert_int_equal(v.display.counters.late, 0);
	let_go(&f);
	assert_non_null(v.display.scanout[1].buffer);
	f = await(0);
	assert_int_equal(pixel(&f, 3, 4), 3 << 16 | 4 << 8 | 2);
	OK(paint(A, 4));
	let_go(&f);
	leave();
}

/* Nor is it drawn in before it is there, and before it has been taken. */
static uint64_t withheld;

static void withhold(void *ctx, uint64_t fence)
{
	(void)ctx;
	withheld = fence;
}

static void test_direct_waits_from_the_flush_on(void **state)
{
	void (*retired)(void *ctx, uint64_t fence) = v.gpu.backend->retired;
	struct display_frame f;

	(void)state;
	make_two();
	join();
	OK(paint(A, 1));
	/* However quick the renderer is. */
	withheld = 0;
	v.gpu.backend->retired = withhold;
	flip(0, A);
	WAITS(paint(A, 2));
	v.gpu.backend->retired = retired;
	if (withheld) {
		retired(v.gpu.backend->retired_ctx, withheld);
	}
	f = await(0);
	turn(3);
	assert_int_equal(pixel(&f, 3, 4), 3 << 16 | 4 << 8 | 1);
	let_go(&f);
	/* On offer, and nobody has taken it. */
	flip(0, B);
	while (!v.display.scanout[0].offer) {
		turn_for(5);
	}
	WAITS(paint(B, 3));
	f = await(0);
	let_go(&f);
	assert_int_equal(v.gpu.counters.waits, 2);
	leave();
}

/* What draws in what is held waits, what it shows or another one; and nothing else does. */
static void test_direct_submissions_wait(void **state)
{
	struct display_frame f;

	(void)state;
	make_two();
	make_context(1, A, B);
	make_context(2, 0, 0);
	make_context(3, B, 0);
	OK(SUBMIT(1, SURFACE(A, A), SURFACE(B, B), TARGET(A), CLEAR(ONE)));
	join();
	flip(0, A);
	f = await(0);
	flip(0, B);
	OK(SUBMIT(2, NOTHING));
	OK(SUBMIT(3, NOTHING));
	OK(SUBMIT(1, NOTHING));
	/* It is bound since before. */
	WAITS(SUBMIT(1, CLEAR(0)));
	turn(3);
	assert_true(v.gpu.wait.is_waiting);
	assert_int_equal(pixel(&f, 3, 4), 0xff0000);
	let_go(&f);
	assert_false(v.gpu.wait.is_waiting);
	/* It draws in A while B is looked at, whatever is bound afterwards. */
	f = await(0);
	OK(SUBMIT(1, CLEAR(ONE), TARGET(B)));
	OK(SUBMIT(1, TARGET(A), CLEAR(ONE), TARGET(B)));
	/* The one that is shown, which was flipped to, and has been flushed once. */
	WAITS(SUBMIT(1, TARGET(A), CLEAR(0), TARGET(B), CLEAR(ONE)));
	turn(3);
	assert_true(v.gpu.wait.is_waiting);
	let_go(&f);
	assert_false(v.gpu.wait.is_waiting);
	flush(B);
	f = await(0);
	OK(SUBMIT(1, TARGET(A), CLEAR(ONE)));
	let_go(&f);
	flip(0, A);
	f = await(0);
	WAITS(SUBMIT(1, CLEAR(0)));
	let_go(&f);
	/* In a context that has it no more. */
	flip(0, B);
	f = await(0);
	v.ctx = 3;
	OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_DETACH_RESOURCE, B));
	OK(SUBMIT(3, NOTHING));
	let_go(&f);
	leave();
}

/* A context within a context has its own target. */
static void test_direct_submissions_wait_within(void **state)
{
	struct display_frame f;

	(void)state;
	make_two();
	make_context(1, A, B);
	OK(SUBMIT(1, SURFACE(A, A), TARGET(A), SUB_CTX(CREATE_SUB, 1), SUB_CTX(SET_SUB, 1), SURFACE(B, B), TARGET(B)));
	join();
	flip(0, A);
	f = await(0);
	OK(SUBMIT(1, CLEAR(ONE)));
	OK(SUBMIT(1, CLEAR(ONE), SUB_CTX(SET_SUB, 0), SUB_CTX(SET_SUB, 1)));
	WAITS(SUBMIT(1, CLEAR(ONE), SUB_CTX(SET_SUB, 0), CLEAR(ONE)));
	let_go(&f);
	/* What waited has been carried out, and left that one. */
	flush(A);
	f = await(0);
	WAITS(SUBMIT(1, CLEAR(0)));
	assert_int_equal(pixel(&f, 3, 4), 0xff0000);
	let_go(&f);
	leave();
}

/* One that has waited begins with what was bound then, not with what it binds. */
static void test_direct_waiting_submissions_begin_anew(void **state)
{
	struct display_frame f;

	(void)state;
	make_two();
	make_texture(C, GPU_FORMAT_B8G8R8X8, 0);
	make_context(1, A, B);
	v.ctx = 1;
	OK(gpudrv_ctx_resource(&v, GPU_CMD_CTX_ATTACH_RESOURCE, C));
	OK(SUBMIT(1, SURFACE(A, A), SURFACE(B, B), SURFACE(C, C), TARGET(C)));
	join();
	flip(0, A);
	f = await(0);
	flip(0, B);
	WAITS(SUBMIT(1, CLEAR(ONE), TARGET(A), CLEAR(ONE), TARGET(B)));
	let_go(&f);
	assert_false(v.gpu.wait.is_waiting);
	f = await(0);
	let_go(&f);
	leave();
}

/* By every command that can. */
static void test_direct_all_that_draws_waits(void **state)
{
	static const struct {
		uint32_t words[24];
		unsigned n;
		bool waits;
	} cases[] = {
#define CASE(waits, ...) {{__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}), waits}
		CASE(true, BLIT(A, B)),
		CASE(false, BLIT(B, A)),
		CASE(true, COPY(A, B)),
		CASE(false, COPY(B, A)),
		CASE(true, SURFACE(A, A), TARGET(A), CMD(8u, 0, 12), 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		CASE(true, CMD(9u, 0, 12), A, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 7),
		CASE(false, CMD(9u, 0, 12), B, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 7),
		CASE(true, CMD(35u, 0, 7), 5, 3, GPU_FORMAT_B8G8R8X8, 2, 0, 0, A, CMD(37u, 0, 8), 1, 1, 1, 1, 1, 1, 0, 0),
		CASE(false, CMD(35u, 0, 7), 5, 3, GPU_FORMAT_B8G8R8X8, 2, 0, 0, A, NOTHING),
		CASE(true, CMD(43u, 0, 13), A, 0, 0, W * 4, 0, 0, 0, 0, W, H, 1, 0, 1),
		CASE(true, CMD(45u, 0, 14), A, 0, 0, W * 4, 0, 0, 0, 0, W, H, 1, B, 0, 0),
		CASE(true, CMD(45u, 0, 14), B, 0, 0, W * 4, 0, 0, 0, 0, W, H, 1, A, 0, 2),
		CASE(true, CMD(47u, 0, 12), A, 0, 0, 0, 0, W, H, 1, 0, 0, 0, 0),
		CASE(false, CMD(47u, 0, 12), B, 0, 0, 0, 0, W, H, 1, 0, 0, 0, 0),
#undef CASE
	};
	const uint32_t n = sizeof(cases) / sizeof(cases[0]);

	(void)state;
	make_two();
	join();
	for (uint32_t i = 0; i < n; i++) {
		struct display_frame f;
		uint32_t answer;

		make_context(10 + i, A, B);
		flip(0, A);
		f = await(0);
		answer = submit(10 + i, cases[i].words, cases[i].n);
		if ((answer == GPUDRV_WAITS) != cases[i].waits || v.gpu.wait.is_waiting != cases[i].waits) {
			fail_msg("case %u: the answer is 0x%x", i, answer);
		}
		let_go(&f);
		assert_false(v.gpu.wait.is_waiting);
	}
	leave();
}

/* What nobody can tell of, whether the command is not known or what is bound, waits. */
static void test_direct_what_cannot_be_told_waits(void **state)
{
	struct display_frame f;

	(void)state;
	make_two();
	make_context(1, A, 0);
	make_context(2, B, 0);
	assert_int_not_equal(SUBMIT(1, CMD(62u, 0, 3), 1, 2, 3), GPU_RESP_OK_NODATA);
	join();
	for (unsigned round = 0; round < 2; round++) {
		flip(0, A);
		f = await(0);
		WAITS(round == 0 ? SUBMIT(1, NOTHING) : SUBMIT(1, CMD(62u, 0, 3), 1, 2, 3));
		assert_true(v.gpu.wait.is_waiting);
		tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
		display_buffer_unref(f.buffer);
		gpudrv_start(&v);
		turn(3);
		make_two();
		make_context(1, A, 0);
		make_context(2, B, 0);
	}
	/* Of what it can reach. */
	flip(0, A);
	f = await(0);
	assert_int_not_equal(SUBMIT(2, CMD(62u, 0, 3), 1, 2, 3), GPUDRV_WAITS);
	let_go(&f);
	leave();
}

/* One that flips and then paints in what it shows: the picture stays as it was sent. */
static void test_direct_painting_in_place_after_flipping(void **state)
{
	(void)state;
	make_two();
	make_context(1, A, B);
	OK(SUBMIT(1, SURFACE(A, A), SURFACE(B, B)));
	join();
	look_at(A, true, GPU_DIRECT_FLIPS + GPU_DIRECT_PROMPT);
	for (uint32_t k = 0; k < 20; k++) {
		const uint32_t id = k % 2 ? B : A;
		struct display_frame f;

		OK(SUBMIT(1, TARGET(id), CLEAR(ONE)));
		flip(0, id);
		f = await(0);
		assert_true(f.buffer->picture.planes.is_direct);
		WAITS(SUBMIT(1, CLEAR(0)));
		turn(3);
		assert_int_equal(pixel(&f, 3, 4), 0xff0000);
		let_go(&f);
	}
	assert_int_equal(v.gpu.counters.waits, 20);
	assert_int_equal(v.gpu.counters.late_waits, 0);
	leave();
}

/* A picture of one scanout that is drawn for another one. */
static void test_direct_waits_for_any_scanout(void **state)
{
	struct display_frame f, g;

	(void)state;
	make_two();
	join();
	flip(1, A);
	f = await(1);
	flip(1, B);
	flip(0, A);
	g = await(0);
	let_go(&g);
	WAITS(paint(A, 1));
	turn(3);
	assert_true(v.gpu.wait.is_waiting);
	display_buffer_unref(f.buffer);
	turn(3);
	assert_false(v.gpu.wait.is_waiting);
	leave();
}

/* What a viewer holds for too long is drawn in all the same. */
static void test_direct_waits_no_longer_than_that(void **state)
{
	struct display_frame f;

	(void)state;
	make_two();
	join();
	OK(paint(A, 1));
	flip(0, A);
	f = await(0);
	flip(0, B);
	at(2 * NOW);
	WAITS(paint(A, 2));
	at(2 * NOW + GPU_DIRECT_WAIT_NS - 100);
	assert_true(v.gpu.wait.is_waiting);
	at(2 * NOW + GPU_DIRECT_WAIT_NS + 100);
	assert_false(v.gpu.wait.is_waiting);
	assert_int_equal(pixel(&f, 3, 4), 3 << 16 | 4 << 8 | 2);
	assert_true(sink.demoted > 0);
	assert_int_equal(v.gpu.counters.late_waits, 1);
	/* It is not waited for again, until it is flushed again. */
	OK(paint(A, 3));
	assert_int_equal(v.gpu.counters.waits, 1);
	flip(0, A);
	WAITS(paint(A, 4));
	at(3 * NOW);
	assert_false(v.gpu.wait.is_waiting);
	let_go(&f);
	leave();
}

/* A late viewer has lost what it looks at, and not what it is sent next. */
static void test_direct_late_viewers_lose_one_picture(void **state)
{
	struct display_frame f;

	(void)state;
	make_two();
	join();
	OK(paint(A, 1));
	OK(paint(B, 2));
	flip(0, A);
	f = await(0);
	flip(0, B);
	while (!v.display.scanout[0].offer) {
		turn_for(5);
	}
	at(2 * NOW);
	WAITS(paint(A, 3));
	at(2 * NOW + GPU_DIRECT_WAIT_NS + 100);
	assert_int_equal(v.gpu.counters.late_waits, 1);
	let_go(&f);
	f = await(0);
	assert_int_equal(f.number, 2);
	WAITS(paint(B, 4));
	assert_int_equal(pixel(&f, 3, 4), 3 << 16 | 4 << 8 | 2);
	let_go(&f);
	assert_int_equal(v.gpu.counters.waits, 2);
	leave();
}

/* What was to be sent next, and is drawn in since the viewer was late, is not sent any more. */
static void test_direct_what_is_drawn_in_is_not_sent(void **state)
{
	struct display_frame f;

	(void)state;
	make_two();
	join();
	for (unsigned round = 0; round < 2; round++) {
		OK(paint(A, 1));
		OK(paint(B, 2));
		flip(0, A);
		f = await(0);
		flip(0, B);
		/* On offer, or on its way to there. */
		while (round == 0 && !v.display.scanout[0].offer) {
			turn_for(5);
		}
		at(2 * NOW + round * NOW);
		WAITS(paint(B, 3));
		at(2 * NOW + round * NOW + GPU_DIRECT_WAIT_NS + 100);
		assert_false(v.gpu.wait.is_waiting);
		let_go(&f);
		turn_for(5);
		assert_false(display_take(&v.display, &sink, 0, &f));
		flip(0, B);
		f = await(0);
		assert_int_equal(f.number, round * 3 + 3);
		assert_int_equal(pixel(&f, 3, 4), 3 << 16 | 4 << 8 | 3);
		let_go(&f);
	}
	assert_int_equal(v.gpu.backend->read_bytes, 0);
	leave();
}

/*
 * Which scanouts.
 */

static void want_why(const char *why)
{
	assert_false(v.display.scanout[0].is_direct);
	assert_non_null(v.gpu.scanout[0].direct.why);
	assert_string_equal(v.gpu.scanout[0].direct.why, why);
}

/* Copies, until it is known that the guest flips and the viewer is prompt; and again as soon as it does not. */
static void test_direct_begins_when_it_holds_up_nobody(void **state)
{
	(void)state;
	make_two();
	join();
	assert_int_equal(look_at(A, false, 20), 0);
	want_why("the guest does not flip between pictures");
	assert_int_equal(look_at(B, true, GPU_DIRECT_FLIPS - 1), 0);
	assert_int_equal(look_at(GPU_DIRECT_FLIPS % 2 ? B : A, true, 10), 10);
	assert_int_equal(v.display.scanout[0].is_copied, false);
	/* Weston does that when there was nothing to draw. */
	assert_int_equal(look_at(GPU_DIRECT_FLIPS % 2 ? A : B, false, GPU_DIRECT_SAME - 1), GPU_DIRECT_SAME - 1);
	assert_int_equal(look_at(GPU_DIRECT_FLIPS % 2 ? B : A, true, 2), 2);
	assert_int_equal(look_at(GPU_DIRECT_FLIPS % 2 ? A : B, false, GPU_DIRECT_SAME), GPU_DIRECT_SAME - 1);
	want_why("the guest does not flip between pictures");
	assert_true(v.display.scanout[0].is_copied);
	assert_int_equal(v.gpu.backend->read_bytes, 0);
	leave();
}

static void test_direct_begins_with_prompt_viewers(void **state)
{
	(void)state;
	make_two();
	join();
	for (unsigned n = 0; n < 30; n++) {
		struct display_frame f;

		flip(0, n & 1 ? B : A);
		f = await(0);
		assert_false(f.buffer->picture.planes.is_direct);
		at(now + DISPLAY_PROMPT_NS + 1);
		let_go(&f);
	}
	want_why("the viewer is not known to let go of pictures soon");
	assert_int_equal(look_at(A, true, GPU_DIRECT_PROMPT), 0);
	assert_int_equal(look_at(A, true, 4), 4);
	leave();
}

/* One that was late gets copies, until it has been prompt for long. */
static void test_direct_ends_with_late_viewers(void **state)
{
	struct display_frame f;

	(void)state;
	make_two();
	join();
	look_at(A, true, 20);
	assert_true(v.display.scanout[0].is_direct);
	OK(paint(A, 1));
	flip(0, A);
	f = await(0);
	assert_true(f.buffer->picture.planes.is_direct);
	flip(0, B);
	WAITS(paint(A, 2));
	at(now + GPU_DIRECT_WAIT_NS + 100);
	assert_false(v.gpu.wait.is_waiting);
	want_why("the viewer has held a picture for too long");
	let_go(&f);
	/* B, which it has not seen, as a copy. */
	f = await(0);
	assert_false(f.buffer->picture.planes.is_direct);
	let_go(&f);
	assert_int_equal(look_at(A, true, GPU_DIRECT_PROMPT_AGAIN - 2), 0);
	want_why("the viewer has held a picture for too long");
	assert_true(look_at(A, true, 8) > 0);
	assert_int_equal(v.gpu.backend->read_bytes, 0);
	leave();
}

static void test_direct_never(void **state)
{
	(void)state;
	v.gpu.direct_way = GPU_DIRECT_NEVER;
	make_two();
	join();
	assert_int_equal(look_at(A, true, 20), 0);
	want_why("display.zero_copy is \"never\"");
	/* That would not have been the reason. */
	OK(gpudrv_create(&v, 9, GPU_FORMAT_B8G8R8X8, W, H));
	flip(0, 9);
	want_why("the guest shows what no GPU has drawn");
	flip(0, A);
	OK(paint(A, 1));
	leave();
}

/* What cannot be exported or imported is copied. */
static void test_direct_that_cannot_be(void **state)
{
	uint64_t spare;

	(void)state;
	make_two();
	join();
	fails = -ENOTSUP;
	assert_int_equal(look_at(A, true, 2), 0);
	want_why("the driver does not export what the guest draws in");
	fails = 0;
	takes_all = false;
	assert_int_equal(look_at(A, true, 2), 0);
	want_why("the viewer cannot import what the guest draws in");
	takes_all = true;
	assert_int_equal(look_at(A, true, 2), 2);
	/* It says that it can no more, while one is on offer. */
	flip(0, A);
	while (!v.display.scanout[0].offer) {
		turn_for(5);
	}
	takes_all = false;
	display_sink_imports(&v.display, &sink);
	want_why("the guest has flushed nothing since viewers, or what they import, have changed");
	assert_int_equal(look_at(B, true, 2), 0);
	want_why("the viewer cannot import what the guest draws in");
	takes_all = true;
	/* Each has its price, on top of the texture's: it may stay for longer. There is enough for copies. */
	spare = v.display.budget.max - v.display.budget.used;
	assert_true(display_budget_take(&v.display.budget, spare));
	assert_int_equal(look_at(A, true, 2), 0);
	want_why("no memory for pictures that are sent as they are");
	display_budget_give(&v.display.budget, spare);
	assert_int_equal(look_at(A, true, 2), 2);
	leave();
	/* Nobody controls. */
	flip(0, A);
	want_why("whoever controls takes no dma-bufs");
}

/* A dumb buffer. */
static void test_direct_is_for_textures(void **state)
{
	struct display_frame f;

	(void)state;
	make_two();
	OK(gpudrv_create(&v, 9, GPU_FORMAT_B8G8R8X8, W, H));
	join();
	assert_int_equal(look_at(A, true, 2), 2);
	flip(0, 9);
	want_why("the guest shows what no GPU has drawn");
	f = await(0);
	assert_int_equal(f.buffer->picture.planes.n, 0);
	let_go(&f);
	assert_int_equal(look_at(A, true, 2), 2);
	leave();
}

/* A guest with many pictures: only so many are kept, and none that is held goes. */
static void test_direct_keeps_few(void **state)
{
	const uint64_t cost = W * H * 4;
	uint64_t before;
	struct display_frame f;

	(void)state;
	for (uint32_t id = 1; id < 16; id++) {
		make_texture(id, GPU_FORMAT_B8G8R8X8, 0);
	}
	join();
	before = v.display.budget.used;
	flip(0, 1);
	f = await(0);
	for (uint32_t id = 2; id < 16; id++) {
		flip(0, id);
		turn(3);
	}
	/* And the two that a texture is read back into. */
	assert_int_equal(v.display.budget.used - before, (GPU_DIRECT_MAX + 2) * cost);
	WAITS(paint(1, 1));
	let_go(&f);
	assert_false(v.gpu.wait.is_waiting);
	leave();
}

/*
 * What goes.
 */

/* Whoever looks at a picture keeps it, and its price, when its resource goes; another one of its number is another one. */
static void test_direct_resources_go(void **state)
{
	uint64_t before;
	struct display_frame f;

	(void)state;
	make_two();
	join();
	OK(paint(A, 9));
	flip(0, A);
	f = await(0);
	flip(0, B);
	before = v.display.budget.used;
	OK(gpudrv_unref(&v, A));
	assert_int_equal(v.display.budget.used, before - W * H * 4 - GPU_RESOURCE_COST - GPU_ENTRY_COST);
	make_texture(A, GPU_FORMAT_B8G8R8X8, 0);
	OK(paint(A, 1));
	flip(0, A);
	let_go(&f);
	f = await(0);
	assert_int_equal(pixel(&f, 3, 4) & 0xff, f.number == 2 ? 0 : 1);
	let_go(&f);
	leave();
}

/* Whatever goes while a command waits: nothing is left that waits, and nothing of the pictures. */
static void test_direct_waiting_can_end(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		const uint64_t brk = v.d.brk;
		struct display_frame f;

		make_two();
		join();
		flip(0, A);
		f = await(0);
		WAITS(paint(A, 2));
		switch (round) {
		case 0:
			leave();
			turn(3);
			assert_false(v.gpu.wait.is_waiting);
			break;
		case 1:
			display_sink_set_copies(&v.display, &sink, false);
			turn(3);
			assert_false(v.gpu.wait.is_waiting);
			leave();
			break;
		default:
			tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
			assert_int_equal(v.display.budget.used, W * H * 4);
			leave();
			break;
		}
		display_buffer_unref(f.buffer);
		tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
		assert_int_equal(v.display.budget.used, 0);
		v.d.brk = brk;
		gpudrv_start(&v);
		turn(1);
		assert_false(v.gpu.wait.is_waiting);
		assert_int_equal(v.gpu.wait.patience.deadline_ns, 0);
		OK(gpudrv_create(&v, 1, GPU_FORMAT_B8G8R8X8, 16, 16));
		OK(gpudrv_unref(&v, 1));
	}
}

/* The one who paced has its frame to let go of, and another one gets them. */
static void test_direct_another_one_paces(void **state)
{
	struct display_sink other = {.ops = &ops, .takes_copies = true};
	struct display_frame f, g;

	(void)state;
	make_two();
	join();
	OK(paint(A, 1));
	OK(paint(B, 2));
	flip(0, A);
	f = await(0);
	flip(0, B);
	display_sink_add(&v.display, &other);
	display_pace(&v.display, &other);
	assert_false(v.display.scanout[0].is_direct);
	OK(paint(A, 3));
	flip(0, A);
	while (!display_take(&v.display, &other, 0, &g) || !g.buffer->picture.planes.is_direct) {
		turn_for(5);
	}
	assert_int_equal(pixel(&g, 3, 4), 3 << 16 | 4 << 8 | 3);
	display_buffer_unref(f.buffer);
	f = await(0);
	assert_false(f.buffer->picture.planes.is_direct);
	display_buffer_unref(f.buffer);
	display_buffer_unref(g.buffer);
	assert_int_equal(v.gpu.backend->read_bytes, 0);
	display_sink_remove(&v.display, &other);
	leave();
}

static int keep_drivers(void **state)
{
	return mesa_keep_drivers_of(set_up, tear_down, state);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TA(name) cmocka_unit_test_setup_teardown(name, set_up_auto, tear_down)
	static const struct CMUnitTest tests[] = {
		T(test_direct_is_what_the_guest_drew),
		T(test_direct_says_how_it_lies),
		T(test_direct_is_for_who_paces),
		T(test_direct_transfers_wait),
		T(test_direct_waits_from_the_flush_on),
		T(test_direct_submissions_wait),
		T(test_direct_submissions_wait_within),
		T(test_direct_waiting_submissions_begin_anew),
		T(test_direct_all_that_draws_waits),
		T(test_direct_what_cannot_be_told_waits),
		TA(test_direct_painting_in_place_after_flipping),
		T(test_direct_waits_for_any_scanout),
		T(test_direct_waits_no_longer_than_that),
		T(test_direct_late_viewers_lose_one_picture),
		T(test_direct_what_is_drawn_in_is_not_sent),
		TA(test_direct_begins_when_it_holds_up_nobody),
		TA(test_direct_begins_with_prompt_viewers),
		TA(test_direct_ends_with_late_viewers),
		T(test_direct_never),
		T(test_direct_that_cannot_be),
		T(test_direct_is_for_textures),
		T(test_direct_keeps_few),
		T(test_direct_resources_go),
		T(test_direct_waiting_can_end),
		T(test_direct_another_one_paces),
	};

	return cmocka_run_group_tests_name("direct", tests, keep_drivers, NULL);
}
