/* SPDX-License-Identifier: MIT */
/*
 * Copies that the GPU makes for sinks, by the real virglrenderer on OpenGL in software. There is no dma-buf here: what stands in for one is a texture whose number is in the picture, and whose pixels are looked
 * at. That real ones leave, and are the same elsewhere, is tests/system/long/dmabuf's.
 */
#include "devices/gpu_copy.h"

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

#define W 64u
#define H 48u
#define BUDGET (64u << 20)
#define ID 5u
#define TILED 77u /* a modifier */

#define TEXTURE_2D 2u /* Gallium's */
#define BIND_PICTURE ((1u << 1) | (1u << 3) | (1u << 18)) /* rendered to, sampled, shown */

static struct gpudrv v;
static const struct display_rect all = {0, 0, W, H};

static struct {
	void (*tex_image)(GLenum target, GLint level, GLint internal, GLsizei width, GLsizei height, GLint border, GLenum format, GLenum type, const void *pixels);
	void (*get_tex_image)(GLenum target, GLint level, GLenum format, GLenum type, void *pixels);
	void (*bind_texture)(GLenum target, GLuint texture);
} gl;

static int fails; /* what storage says */
static bool no_rows; /* nor does it know rows */
static unsigned made;

static int storage(uint32_t width, uint32_t height, bool opaque, bool linear, unsigned texture, struct display_picture *p)
{
	if (fails < 0) {
		return fails;
	}
	if (linear && no_rows) {
		return -ENOTSUP;
	}
	gl.tex_image(GL_TEXTURE_2D, 0, GL_RGBA8, (GLsizei)width, (GLsizei)height, 0, GL_RGBA, GL_UNSIGNED_BYTE, NULL);
	p->fourcc = opaque ? DISPLAY_XRGB8888 : DISPLAY_ARGB8888;
	p->planes = (struct display_planes){.n = 1, .modifier = linear ? 0 : TILED, .fd = {open("/dev/null", O_RDONLY | O_CLOEXEC)}, .offset = {texture}};
	made++;
	return 0;
}

static bool load_gl(void)
{
	*(void **)&gl.tex_image = mesa_function("glTexImage2D");
	*(void **)&gl.get_tex_image = mesa_function("glGetTexImage");
	*(void **)&gl.bind_texture = mesa_function("glBindTexture");
	return gl.tex_image && gl.get_tex_image && gl.bind_texture;
}

static int set_up_with(uint64_t budget)
{
	fails = 0;
	no_rows = false;
	if (!gl.bind_texture && !load_gl()) {
		return -1;
	}
	gpu_export_set_test_storage(storage);
	return gpudrv_init_3d(&v, 2, "surfaceless", budget) ? 0 : -1;
}

static int set_up(void **state)
{
	(void)state;
	return set_up_with(BUDGET);
}

static int tear_down(void **state)
{
	(void)state;
	gpudrv_finish(&v);
	gpu_export_set_test_storage(NULL);
	return 0;
}

#define OK(call) assert_int_equal(call, GPU_RESP_OK_NODATA)

static uint64_t backing;

static void make_texture(uint32_t id, uint32_t format, uint32_t flags)
{
	const struct gpu_texture t = {.target = TEXTURE_2D, .format = format, .bind = BIND_PICTURE, .width = W, .height = H, .depth = 1, .array_size = 1, .flags = flags};

	backing = tdrv_alloc(&v.d, W * H * 4, 4096);
	OK(gpudrv_create_3d(&v, id, &t));
	OK(gpudrv_attach(&v, id, &(const struct gpudrv_entry){backing, W * H * 4, 0}, 1));
}

/* Every pixel is another one: @blue, its row, its column. */
static void paint(uint32_t id, uint8_t blue)
{
	const struct gpu_transfer t = {.w = W, .h = H, .d = 1, .stride = W * 4};
	uint8_t *mem = tdrv_ptr(&v.d, backing, W * H * 4);

	for (uint32_t i = 0; i < W * H; i++) {
		memcpy(mem + i * 4, (const uint8_t[]){blue, (uint8_t)(i / W), (uint8_t)(i % W), 255}, 4);
	}
	OK(gpudrv_transfer_3d(&v, GPU_CMD_TRANSFER_TO_HOST_3D, id, &t));
}

static unsigned frames;

static void on_frame(void *ctx, unsigned scanout)
{
	(void)ctx;
	(void)scanout;
	frames++;
}

static bool imports_rows; /* and nothing else */

static bool on_imports(void *ctx, const struct display_picture *p)
{
	(void)ctx;
	return !imports_rows || p->planes.modifier == 0;
}

static const struct display_sink_ops ops = {.frame = on_frame, .imports = on_imports};
static struct display_sink sink;

static void join(void)
{
	sink = (struct display_sink){.ops = &ops, .takes_copies = true};
	frames = 0;
	display_sink_add(&v.display, &sink);
}

/* Until the renderer has been heard of so many more frames. */
static void await(unsigned n)
{
	for (unsigned turns = 0; frames < n; turns++) {
		assert_true(turns < 1000);
		loop_run_once(&v.d.loop, 10);
	}
}

static struct display_frame take(unsigned i)
{
	struct display_frame f;

	assert_true(display_take(&v.display, &sink, i, &f));
	return f;
}

static void let_go(struct display_frame *f)
{
	display_buffer_unref(f->buffer);
}

/* The frame of flush @number, when it comes: there may be one before. */
static struct display_frame take_number(uint64_t number)
{
	struct display_frame f;

	for (unsigned turns = 0; turns < 1000; turns++) {
		if (display_take(&v.display, &sink, 0, &f)) {
			if (f.number == number) {
				return f;
			}
			let_go(&f);
		}
		loop_run_once(&v.d.loop, 10);
	}
	fail_msg("frame %u did not come", (unsigned)number);
	return f;
}

/* Return: pixel @x, @y of what stands in for a dma-buf: 0xRRGGBB. */
static uint32_t pixel(const struct display_frame *f, uint32_t x, uint32_t y)
{
	static uint8_t pixels[W * H * 4];
	const struct display_picture *p = &f->buffer->picture;

	assert_true(p->planes.n == 1 && x < p->width && y < p->height);
	gl.bind_texture(GL_TEXTURE_2D, p->planes.offset[0]);
	gl.get_tex_image(GL_TEXTURE_2D, 0, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
	gl.bind_texture(GL_TEXTURE_2D, 0);
	return (uint32_t)pixels[(y * p->width + x) * 4] << 16 | (uint32_t)pixels[(y * p->width + x) * 4 + 1] << 8 | pixels[(y * p->width + x) * 4 + 2];
}

/* All of what was flushed, as it was then, whatever is painted afterwards; and nothing is read back. */
static void test_copy_is_what_was_flushed(void **state)
{
	struct display_frame f, g;

	(void)state;
	make_texture(ID, GPU_FORMAT_B8G8R8X8, 0);
	paint(ID, 10);
	OK(gpudrv_set_scanout(&v, 0, ID, all));
	OK(gpudrv_flush(&v, ID, all));
	join();
	/* What was there already. */
	await(1);
	f = take(0);
	assert_int_equal(f.number, 1);
	assert_int_equal(f.buffer->picture.fourcc, DISPLAY_XRGB8888);
	assert_int_equal(pixel(&f, 3, 4), 3 << 16 | 4 << 8 | 10);
	paint(ID, 20);
	assert_int_equal(pixel(&f, 3, 4), 3 << 16 | 4 << 8 | 10);
	OK(gpudrv_flush(&v, ID, (struct display_rect){0, 0, 1, 1}));
	await(2);
	g = take(0);
	assert_int_equal(g.number, 2);
	assert_ptr_not_equal(g.buffer, f.buffer);
	assert_int_equal(pixel(&g, W - 1, H - 1), (W - 1) << 16 | (H - 1) << 8 | 20);
	assert_int_equal(pixel(&f, W - 1, H - 1), (W - 1) << 16 | (H - 1) << 8 | 10);
	let_go(&f);
	let_go(&g);
	assert_int_equal(v.gpu.backend->read_bytes, 0);
	assert_int_equal(v.display.counters.copies, 2);
	display_sink_remove(&v.display, &sink);
	assert_false(v.display.scanout[0].is_copied);
}

/* As a screenshot has them, which is read back: both ways a texture may lie, whole and in part. */
static void test_copy_is_the_right_way_up(void **state)
{
	static const struct display_rect parts[] = {{0, 0, W, H}, {10, 20, 30, 15}, {W - 1, H - 1, 1, 1}};
	unsigned n = 0;

	(void)state;
	join();
	for (uint32_t flags = 0; flags < 2; flags++) {
		make_texture(ID + flags, GPU_FORMAT_R8G8B8A8, flags);
		paint(ID + flags, 77);
		for (unsigned i = 0; i < 3; i++) {
			struct display_frame f;
			uint32_t w, h;
			uint8_t *shot;

			OK(gpudrv_set_scanout(&v, 0, ID + flags, parts[i]));
			OK(gpudrv_flush(&v, ID + flags, all));
			await(++n);
			f = take(0);
			shot = gpudrv_shot(&v, 0, false, &w, &h);
			assert_int_equal(f.buffer->picture.fourcc, DISPLAY_ARGB8888);
			assert_int_equal(f.crop.w, w);
			assert_int_equal(f.crop.h, h);
			for (uint32_t k = 0; k < w * h; k += 7) {
				assert_int_equal(pixel(&f, k % w, k / w), shot[k * 4 + 2] << 16 | shot[k * 4 + 1] << 8 | shot[k * 4]);
			}
			assert_int_equal(pixel(&f, 0, 0), 77 << 16 | parts[i].y << 8 | parts[i].x);
			free(shot);
			let_go(&f);
		}
	}
	display_sink_remove(&v.display, &sink);
}

/* A guest that flushes faster than anybody looks: its last flush is seen, and three copies are enough for one who holds one. */
static void test_copy_of_many_flushes_is_the_last(void **state)
{
	struct display_frame held, f;
	unsigned before = made;
	uint64_t number = 0;

	(void)state;
	make_texture(ID, GPU_FORMAT_B8G8R8X8, 0);
	OK(gpudrv_set_scanout(&v, 0, ID, all));
	join();
	OK(gpudrv_flush(&v, ID, all));
	held = take_number(1);
	for (unsigned i = 1; i <= 40; i++) {
		paint(ID, (uint8_t)i);
		OK(gpudrv_flush(&v, ID, all));
	}
	for (unsigned turns = 0; number < 41; turns++) {
		assert_true(turns < 1000);
		loop_run_once(&v.d.loop, 10);
		if (display_take(&v.display, &sink, 0, &f)) {
			assert_true(f.number > number);
			number = f.number;
			if (number == 41) {
				assert_int_equal(pixel(&f, 1, 1), 1 << 16 | 1 << 8 | 40);
			}
			let_go(&f);
		}
	}
	assert_int_equal(pixel(&held, 1, 1) & 0xff, 0);
	assert_true(made - before <= 3);
	let_go(&held);
	display_sink_remove(&v.display, &sink);
}

/* Another size: what is held of the old one stays as it is. */
static void test_copy_follows_the_size(void **state)
{
	struct display_frame f, g;

	(void)state;
	make_texture(ID, GPU_FORMAT_B8G8R8X8, 0);
	paint(ID, 30);
	OK(gpudrv_set_scanout(&v, 0, ID, all));
	join();
	OK(gpudrv_flush(&v, ID, all));
	f = take_number(1);
	OK(gpudrv_set_scanout(&v, 0, ID, (struct display_rect){4, 4, 20, 10}));
	OK(gpudrv_flush(&v, ID, all));
	g = take_number(2);
	assert_int_equal(g.crop.w, 20);
	assert_int_equal(pixel(&g, 0, 0), 4 << 16 | 4 << 8 | 30);
	assert_int_equal(f.buffer->picture.width, W);
	let_go(&f);
	let_go(&g);
	/* A dumb buffer, which no GPU has drawn, is mapped. */
	OK(gpudrv_create(&v, 99, GPU_FORMAT_B8G8R8X8, W, H));
	OK(gpudrv_set_scanout(&v, 0, 99, all));
	OK(gpudrv_flush(&v, 99, all));
	f = take(0);
	assert_int_equal(f.buffer->picture.planes.n, 0);
	assert_int_equal(f.damage.n, 1);
	let_go(&f);
	OK(gpudrv_set_scanout(&v, 0, ID, all));
	OK(gpudrv_flush(&v, ID, all));
	f = take_number(4);
	assert_int_equal(f.buffer->picture.planes.n, 1);
	let_go(&f);
	display_sink_remove(&v.display, &sink);
}

static void want_mapped(uint32_t rgb)
{
	struct display_frame f = take(0);
	const uint8_t *p;

	assert_int_equal(f.buffer->picture.planes.n, 0);
	p = display_buffer_map(f.buffer) + (2 * W + 1) * 4;
	assert_int_equal(p[2] << 16 | p[1] << 8 | p[0], rgb);
	let_go(&f);
}

/* Where none can be made everybody maps, and it is said why; another size may do. */
static void test_copy_that_cannot_be_is_read_back(void **state)
{
	struct display_frame f;

	(void)state;
	make_texture(ID, GPU_FORMAT_B8G8R8X8, 0);
	paint(ID, 40);
	OK(gpudrv_set_scanout(&v, 0, ID, all));
	fails = -ENOTSUP;
	join();
	OK(gpudrv_flush(&v, ID, all));
	assert_non_null(v.gpu.no_copies);
	want_mapped(1 << 16 | 2 << 8 | 40);
	paint(ID, 41);
	fails = 0;
	OK(gpudrv_flush(&v, ID, all));
	want_mapped(1 << 16 | 2 << 8 | 41);
	OK(gpudrv_set_scanout(&v, 0, ID, (struct display_rect){0, 0, 20, 10}));
	OK(gpudrv_flush(&v, ID, all));
	f = take_number(3);
	assert_int_equal(f.buffer->picture.planes.n, 1);
	assert_null(v.gpu.no_copies);
	let_go(&f);
	display_sink_remove(&v.display, &sink);
}

/* They count as what the guest causes: no memory for them is no end of the picture. */
static void test_copy_is_counted(void **state)
{
	uint64_t spare, before;
	struct display_frame f;

	(void)state;
	make_texture(ID, GPU_FORMAT_B8G8R8X8, 0);
	paint(ID, 50);
	OK(gpudrv_set_scanout(&v, 0, ID, all));
	OK(gpudrv_flush(&v, ID, all));
	before = v.display.budget.used;
	join();
	await(1);
	assert_int_equal(v.display.budget.used, before + W * H * 4);
	f = take(0);
	display_sink_remove(&v.display, &sink);
	/* Whoever holds one makes it count. */
	assert_int_equal(v.display.budget.used, before + W * H * 4);
	let_go(&f);
	assert_int_equal(v.display.budget.used, before);
	spare = v.display.budget.max - before - W * H * 4 + 1;
	assert_true(display_budget_take(&v.display.budget, spare));
	join();
	want_mapped(1 << 16 | 2 << 8 | 50);
	assert_string_equal(v.gpu.no_copies, "no memory for copies");
	display_budget_give(&v.display.budget, spare);
	display_sink_remove(&v.display, &sink);
	/* Who comes next may find some. */
	join();
	await(1);
	f = take(0);
	assert_int_equal(f.buffer->picture.planes.n, 1);
	let_go(&f);
	display_sink_remove(&v.display, &sink);
}

static void want_modifier(uint64_t number, uint64_t modifier)
{
	struct display_frame f;

	OK(gpudrv_flush(&v, ID, all));
	f = take_number(number);
	assert_int_equal(f.buffer->picture.planes.modifier, modifier);
	assert_int_equal(pixel(&f, 1, 2), 1 << 16 | 2 << 8 | 60);
	let_go(&f);
}

/* A viewer on another GPU cannot import what this one's driver likes best: then everybody gets rows, as long as it is there. */
static void test_copy_in_rows_for_who_imports_no_other(void **state)
{
	(void)state;
	make_texture(ID, GPU_FORMAT_B8G8R8X8, 0);
	paint(ID, 60);
	OK(gpudrv_set_scanout(&v, 0, ID, all));
	join();
	want_modifier(1, TILED);
	imports_rows = true;
	display_sink_imports(&v.display, &sink);
	want_modifier(2, 0);
	want_modifier(3, 0);
	imports_rows = false;
	display_sink_imports(&v.display, &sink);
	want_modifier(4, TILED);
	/* Where there are none that is for the viewer to find out. */
	no_rows = true;
	imports_rows = true;
	display_sink_imports(&v.display, &sink);
	want_modifier(5, TILED);
	assert_int_equal(v.gpu.backend->read_bytes, 0);
	imports_rows = false;
	display_sink_remove(&v.display, &sink);
}

/* Whatever goes while one is on its way: the resource, the picture, the driver, who wanted it. */
static void test_copy_on_its_way_can_be_forgotten(void **state)
{
	const uint64_t brk = v.d.brk;
	unsigned before;

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		v.d.brk = brk;
		make_texture(ID, GPU_FORMAT_B8G8R8X8, 0);
		OK(gpudrv_set_scanout(&v, 0, ID, all));
		join();
		/* A renderer that is quick has copied before the flush is answered. */
		for (unsigned tries = 0; tries < 1000 && !v.gpu.scanout[0].copies.is_pending; tries++) {
			OK(gpudrv_flush(&v, ID, all));
		}
		assert_true(v.gpu.scanout[0].copies.is_pending);
		before = frames;
		switch (round) {
		case 0:
			OK(gpudrv_unref(&v, ID));
			break;
		case 1:
			OK(gpudrv_set_scanout(&v, 0, 0, all));
			OK(gpudrv_unref(&v, ID));
			break;
		case 2:
			display_sink_remove(&v.display, &sink);
			assert_false(v.gpu.scanout[0].copies.is_pending);
			OK(gpudrv_unref(&v, ID));
			break;
		default:
			tdrv_write(&v.d, VIRTIO_MMIO_STATUS, 0);
			gpudrv_start(&v);
			break;
		}
		assert_false(v.gpu.scanout[0].copies.is_pending);
		for (unsigned turns = 0; turns < 20; turns++) {
			loop_run_once(&v.d.loop, 5);
		}
		assert_int_equal(frames, before);
		assert_int_equal(v.display.budget.used, 0);
		display_sink_remove(&v.display, &sink);
	}
}

static int keep_drivers(void **state)
{
	return mesa_keep_drivers_of(set_up, tear_down, state);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		T(test_copy_is_what_was_flushed),
		T(test_copy_is_the_right_way_up),
		T(test_copy_of_many_flushes_is_the_last),
		T(test_copy_follows_the_size),
		T(test_copy_that_cannot_be_is_read_back),
		T(test_copy_is_counted),
		T(test_copy_in_rows_for_who_imports_no_other),
		T(test_copy_on_its_way_can_be_forgotten),
	};

	return cmocka_run_group_tests_name("copy", tests, keep_drivers, NULL);
}
