/* SPDX-License-Identifier: MIT */
/* Scanouts and sinks: who hears of what, who gets which frame, and whose memory counts for how long. */
#include "display/display.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/clock.h"

#define BUDGET (1u << 20)

static struct loop loop;
static struct display d;

struct watcher {
	struct display_sink sink;
	unsigned modes, frames, cursors, images, last;
};

static struct watcher a, b;

static void on_mode(void *ctx, unsigned i)
{
	struct watcher *w = ctx;

	w->modes++;
	w->last = i;
}

static void on_frame(void *ctx, unsigned i)
{
	struct watcher *w = ctx;

	w->frames++;
	w->last = i;
}

static void on_cursor(void *ctx, unsigned i, bool image)
{
	struct watcher *w = ctx;

	w->cursors++;
	w->images += image;
	w->last = i;
}

static const struct display_sink_ops watch = {.mode = on_mode, .frame = on_frame, .cursor = on_cursor};
static const struct display_sink_ops blind = {.mode = NULL};

static const struct display_output outputs[] = {
	{.enabled = true, .width = 640, .height = 480, .refresh_hz = 60}, {.enabled = false, .width = 320, .height = 200, .refresh_hz = 75}};

static int setup(void **state)
{
	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	display_init(&d, &loop, outputs, 2, BUDGET);
	a = (struct watcher){.sink = {.ops = &watch, .ctx = &a}};
	b = (struct watcher){.sink = {.ops = &watch, .ctx = &b}};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	display_sink_remove(&d, &a.sink);
	display_sink_remove(&d, &b.sink);
	display_finish(&d);
	loop_finish(&loop);
	return 0;
}

static struct display_buffer *make(uint32_t width, uint32_t height)
{
	struct display_picture p = {.fourcc = DISPLAY_XRGB8888, .width = width, .height = height, .stride = width * 4, .len = (uint64_t)width * height * 4};
	uint8_t *map;
	struct display_buffer *buffer;

	p.fd = display_memfd("test", p.len, &map);
	assert_true(p.fd >= 0);
	memset(map, 0x55, p.len);
	munmap(map, p.len);
	assert_true(display_budget_take(&d.budget, p.len));
	buffer = display_buffer_create(&p, &d.budget, p.len);
	assert_non_null(buffer);
	return buffer;
}

static void show(unsigned i, struct display_buffer *buffer, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	display_show(&d, i, buffer, &(struct display_rect){x, y, w, h});
}

static uint64_t flush(unsigned i, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	return display_flush(&d, i, &(struct display_rect){x, y, w, h});
}

static void assert_rect(const struct display_rect *r, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	assert_memory_equal(r, (&(struct display_rect){x, y, w, h}), sizeof(*r));
}

static void test_display_flush_is_a_frame_for_everyone(void **state)
{
	struct display_buffer *buffer = make(100, 50);
	struct display_frame f;

	(void)state;
	display_sink_add(&d, &a.sink);
	display_sink_add(&d, &b.sink);
	assert_int_equal(a.frames, 0);
	show(0, buffer, 0, 0, 100, 50);
	display_buffer_unref(buffer);
	/* Shown is not published. */
	assert_int_equal(a.frames, 0);
	assert_int_equal(a.modes, 1);
	assert_false(display_take(&d, &a.sink, 0, &f));
	clock_set_test_ns(77);
	assert_int_equal(flush(0, 0, 0, 10, 10), 100);
	clock_set_test_ns(0);
	assert_int_equal(a.frames, 1);
	assert_int_equal(b.frames, 1);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_ptr_equal(f.buffer, buffer);
	assert_int_equal(f.number, 1);
	assert_int_equal(f.flushed_ns, 77);
	/* The first of a picture is all of it, whatever the guest says has changed. */
	assert_int_equal(f.damage.n, 1);
	assert_rect(&f.damage.rect[0], 0, 0, 100, 50);
	display_buffer_unref(f.buffer);
	assert_false(display_take(&d, &a.sink, 0, &f));
	assert_int_equal(d.counters.damaged_bytes, 400);
	assert_int_equal(d.counters.taken, 1);
}

static void test_display_slow_sink_gets_the_newest_with_all_that_changed(void **state)
{
	struct display_buffer *one = make(100, 50), *two = make(100, 50);
	struct display_frame f;

	(void)state;
	display_sink_add(&d, &a.sink);
	display_sink_add(&d, &b.sink);
	show(0, one, 0, 0, 100, 50);
	flush(0, 0, 0, 100, 50);
	assert_true(display_take(&d, &a.sink, 0, &f));
	display_buffer_unref(f.buffer);
	for (uint32_t i = 0; i < 5; i++) {
		flush(0, 20 * i, 0, 1, 1);
	}
	/* Told once. b has never taken any. */
	assert_int_equal(a.frames, 2);
	assert_int_equal(b.frames, 1);
	assert_int_equal(d.counters.replaced, 4 + 5);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_int_equal(f.damage.n, 5);
	assert_int_equal(f.number, 6);
	display_buffer_unref(f.buffer);
	/* A flip: what changed in the old one says nothing about the new one. */
	flush(0, 0, 0, 1, 1);
	show(0, two, 0, 0, 100, 50);
	flush(0, 5, 5, 1, 1);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_ptr_equal(f.buffer, two);
	assert_int_equal(f.damage.n, 1);
	assert_rect(&f.damage.rect[0], 0, 0, 100, 50);
	display_buffer_unref(f.buffer);
	display_buffer_unref(one);
	display_buffer_unref(two);
}

static void test_display_flip_keeps_what_a_sink_holds(void **state)
{
	struct display_buffer *one = make(100, 50), *two = make(100, 50);
	uint64_t used = d.budget.used;
	struct display_frame f;

	(void)state;
	display_sink_add(&d, &a.sink);
	show(0, one, 0, 0, 100, 50);
	flush(0, 0, 0, 100, 50);
	assert_true(display_take(&d, &a.sink, 0, &f));
	show(0, two, 0, 0, 100, 50);
	/* The guest has let go of it. */
	display_buffer_unref(one);
	display_buffer_unref(two);
	assert_int_equal(d.budget.used, used);
	assert_int_equal(display_buffer_map(f.buffer)[19999], 0x55);
	display_buffer_unref(f.buffer);
	assert_int_equal(d.budget.used, used / 2);
	assert_int_equal(d.budget.peak, used);
}

static void test_display_crop_moves_and_clips_damage(void **state)
{
	struct display_buffer *buffer = make(100, 50);
	struct display_frame f;

	(void)state;
	display_sink_add(&d, &a.sink);
	show(0, buffer, 10, 20, 30, 25);
	display_buffer_unref(buffer);
	flush(0, 0, 0, 100, 50);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_rect(&f.crop, 10, 20, 30, 25);
	assert_rect(&f.damage.rect[0], 0, 0, 30, 25);
	display_buffer_unref(f.buffer);
	assert_int_equal(flush(0, 0, 0, 10, 50), 0); /* left of it */
	assert_int_equal(flush(0, 40, 0, UINT32_MAX, UINT32_MAX), 0);
	assert_false(display_take(&d, &a.sink, 0, &f));
	assert_int_equal(flush(0, 5, 15, 10, 10), 25);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_int_equal(f.damage.n, 1);
	assert_rect(&f.damage.rect[0], 0, 0, 5, 5);
	display_buffer_unref(f.buffer);
	assert_int_equal(flush(0, 39, 44, 2, 2), 1);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_rect(&f.damage.rect[0], 29, 24, 1, 1);
	display_buffer_unref(f.buffer);
}

static void test_display_two_scanouts_of_one_buffer(void **state)
{
	struct display_buffer *buffer = make(100, 50);
	struct display_frame f;

	(void)state;
	display_sink_add(&d, &a.sink);
	show(0, buffer, 0, 0, 50, 50);
	show(1, buffer, 50, 0, 50, 50);
	display_buffer_unref(buffer);
	assert_int_equal(flush(0, 45, 0, 10, 10), 50);
	assert_int_equal(flush(1, 45, 0, 10, 10), 50);
	assert_true(display_take(&d, &a.sink, 1, &f));
	assert_rect(&f.crop, 50, 0, 50, 50);
	display_buffer_unref(f.buffer);
	show(0, NULL, 0, 0, 0, 0);
	assert_false(display_take(&d, &a.sink, 0, &f));
	flush(1, 50, 0, 1, 1);
	assert_true(display_take(&d, &a.sink, 1, &f));
	display_buffer_unref(f.buffer);
}

static void test_display_nothing_shown_is_no_frame(void **state)
{
	struct display_buffer *buffer = make(10, 10);
	struct display_frame f;

	(void)state;
	display_sink_add(&d, &a.sink);
	assert_int_equal(flush(0, 0, 0, 10, 10), 0);
	show(0, buffer, 0, 0, 10, 10);
	flush(0, 0, 0, 10, 10);
	/* What was there to take goes with the picture. */
	show(0, NULL, 0, 0, 0, 0);
	assert_int_equal(a.modes, 2);
	assert_false(display_take(&d, &a.sink, 0, &f));
	show(0, NULL, 0, 0, 0, 0);
	assert_int_equal(a.modes, 2);
	show(0, buffer, 0, 0, 10, 10);
	assert_false(display_take(&d, &a.sink, 0, &f));
	flush(0, 9, 9, 1, 1);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_rect(&f.damage.rect[0], 0, 0, 10, 10);
	display_buffer_unref(f.buffer);
	display_buffer_unref(buffer);
}

static void test_display_late_sink_starts_with_what_is_shown(void **state)
{
	struct display_buffer *buffer = make(10, 10);
	struct watcher c = {.sink = {.ops = &blind}};
	struct display_frame f;

	(void)state;
	show(1, buffer, 2, 2, 8, 8);
	flush(1, 2, 2, 1, 1);
	display_sink_add(&d, &a.sink);
	display_sink_add(&d, &c.sink);
	assert_int_equal(a.frames, 1);
	assert_int_equal(a.last, 1);
	assert_true(display_take(&d, &a.sink, 1, &f));
	assert_rect(&f.damage.rect[0], 0, 0, 8, 8);
	display_buffer_unref(f.buffer);
	/* A sink without functions looks when it likes. */
	assert_true(display_take(&d, &c.sink, 1, &f));
	display_buffer_unref(f.buffer);
	show(1, NULL, 0, 0, 0, 0);
	display_move_cursor(&d, 1, 5, 5);
	display_sink_remove(&d, &c.sink);
	display_sink_remove(&d, &c.sink);
	show(1, buffer, 0, 0, 10, 10);
	flush(1, 0, 0, 10, 10);
	assert_int_equal(a.frames, 2);
	assert_false(c.sink.at[1].has_frame);
	display_buffer_unref(buffer);
}

static void test_display_cursor_image_place_and_hot_spot(void **state)
{
	static uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE];
	const struct display_cursor *c = &d.scanout[1].cursor;
	uint64_t id;

	(void)state;
	display_sink_add(&d, &a.sink);
	display_set_cursor(&d, 1, NULL, 0, 0);
	assert_int_equal(a.cursors, 0);
	image[7] = 0x80402010;
	display_set_cursor(&d, 1, image, 3, 4);
	id = c->image_id;
	image[7] = 0;
	assert_int_equal(c->image[7], 0x80402010);
	assert_true(c->visible);
	assert_int_equal(c->hot_x, 3);
	assert_int_equal(c->hot_y, 4);
	assert_int_equal(a.images, 1);
	assert_int_equal(a.last, 1);
	display_move_cursor(&d, 1, -20, 7);
	display_move_cursor(&d, 1, -20, 7);
	assert_int_equal(a.cursors, 2);
	assert_int_equal(a.images, 1);
	assert_int_equal(c->x, -20);
	assert_int_equal(c->image_id, id);
	display_set_cursor(&d, 1, image, UINT32_MAX, 64);
	assert_int_not_equal(c->image_id, id);
	assert_int_equal(c->hot_x, 63);
	assert_int_equal(c->hot_y, 63);
	display_set_cursor(&d, 1, NULL, 0, 0);
	assert_false(c->visible);
	assert_false(d.scanout[0].cursor.visible);
}

static void on_changed(void *ctx)
{
	++*(unsigned *)ctx;
}

static void test_display_output_changes_are_told_once(void **state)
{
	struct display_output o = outputs[0];
	uint8_t edid[EDID_MAX];
	unsigned changes = 0;

	(void)state;
	display_sink_add(&d, &a.sink);
	display_set_guest(&d, on_changed, &changes);
	display_set_output(&d, 0, &o);
	assert_int_equal(changes, 0);
	o.width = 800;
	display_set_output(&d, 0, &o);
	assert_int_equal(changes, 1);
	assert_int_equal(a.modes, 1);
	assert_int_equal(display_edid(&d, 0, edid), EDID_BLOCK);
	assert_int_equal(edid[56] | (edid[58] & 0xf0) << 4, 800);
	assert_int_equal(edid[12], 1);
	display_edid(&d, 1, edid);
	assert_int_equal(edid[12], 2);
	o.enabled = false;
	display_set_output(&d, 0, &o);
	o.width_mm = 100;
	display_set_output(&d, 0, &o);
	o.height_mm = 100;
	display_set_output(&d, 0, &o);
	o.refresh_hz = 1;
	display_set_output(&d, 0, &o);
	assert_int_equal(changes, 5);
	display_set_guest(&d, NULL, NULL);
	o.height = 1;
	display_set_output(&d, 0, &o);
	assert_int_equal(changes, 5);
}

/* Whoever asks for the size that is told already wants the guest to have it: a window that has followed a mode of the guest's own and is pulled back to where it was. */
static void test_display_a_guest_with_a_mode_of_its_own_is_told_again(void **state)
{
	static const struct display_rect other[] = {{0, 0, 90, 80}, {0, 0, 100, 79}};
	struct display_output o = outputs[0];
	struct display_buffer *buffer = make(100, 80);
	unsigned changes = 0;

	(void)state;
	o.width = 100;
	o.height = 80;
	display_set_output(&d, 0, &o);
	display_set_guest(&d, on_changed, &changes);
	display_sink_add(&d, &a.sink);
	show(0, buffer, 0, 0, 100, 80);
	display_set_output(&d, 0, &o);
	assert_int_equal(changes, 0);
	for (unsigned i = 0; i < 2; i++) {
		display_show(&d, 0, buffer, &other[i]);
		a.modes = 0;
		display_set_output(&d, 0, &o);
		assert_int_equal(changes, i + 1);
		/* Nothing is new for viewers. */
		assert_int_equal(a.modes, 0);
	}
	show(0, buffer, 0, 0, 100, 80);
	display_set_output(&d, 0, &o);
	assert_int_equal(changes, 2);
	display_show(&d, 0, NULL, NULL);
	display_buffer_unref(buffer);
}

static void test_display_budget_is_never_exceeded(void **state)
{
	struct display_budget g = {.max = 100};

	(void)state;
	assert_true(display_budget_take(&g, 60));
	assert_false(display_budget_take(&g, 41));
	assert_false(display_budget_take(&g, UINT64_MAX));
	assert_true(display_budget_take(&g, 40));
	assert_false(display_budget_take(&g, 1));
	display_budget_give(&g, 100);
	assert_true(display_budget_take(&g, 100));
	assert_int_equal(g.peak, 100);
	display_budget_give(&g, 100);
	assert_false(display_budget_take(&g, 101));
}

/* Whoever gets the descriptor can look, and neither change the picture nor its size. */
static void test_display_memory_is_sealed_for_others(void **state)
{
	uint8_t *map;
	int fd = display_memfd("test", 8192, &map), writable;
	const uint8_t *other;
	char path[64];

	(void)state;
	assert_true(fd >= 0);
	map[5000] = 7;
	other = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(other != MAP_FAILED);
	assert_int_equal(other[5000], 7);
	map[5000] = 8;
	assert_int_equal(other[5000], 8);
	assert_int_equal(mprotect((void *)(uintptr_t)other, 8192, PROT_READ | PROT_WRITE), -1);
	assert_ptr_equal(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(ftruncate(fd, 4096), -1);
	assert_int_equal(ftruncate(fd, 16384), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	/* Nor through another opening of the same file. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	writable = open(path, O_RDWR | O_CLOEXEC);
	assert_true(writable < 0 || pwrite(writable, "x", 1, 0) == -1);
	if (writable >= 0) {
		close(writable);
	}
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	munmap((void *)(uintptr_t)other, 8192);
	munmap(map, 8192);
	close(fd);
}

/*
 * Copies.
 */

static unsigned wanted;

static void on_wanted(void *ctx, unsigned i)
{
	assert_ptr_equal(ctx, &d);
	assert_int_equal(i, 0);
	wanted++;
}

/* A picture that nobody can map, of @n planes. */
static struct display_buffer *make_planes(unsigned n)
{
	struct display_picture p = {.fd = -1, .fourcc = DISPLAY_XBGR8888, .width = 80, .height = 40, .planes.n = n};

	for (unsigned i = 0; i < n; i++) {
		p.planes.fd[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_true(p.planes.fd[i] >= 0);
	}
	assert_true(display_budget_take(&d.budget, 12800));
	return display_buffer_create(&p, &d.budget, 12800);
}

/* Scanout 0 shows @buffer, a takes copies of it and b maps it; nothing is left to take. */
static void show_copied(struct display_buffer *buffer)
{
	struct display_frame f;

	a.sink.takes_copies = true;
	wanted = 0;
	display_set_wanted(&d, on_wanted, &d);
	show(0, buffer, 10, 10, 80, 40);
	display_sink_add(&d, &a.sink);
	assert_int_equal(wanted, 1);
	assert_int_equal(display_copy_sinks(&d), 1);
	display_set_copied(&d, 0, true);
	assert_false(display_is_watched(&d, 0));
	display_sink_add(&d, &b.sink);
	assert_true(display_is_watched(&d, 0));
	assert_int_equal(display_copy_sinks(&d), 1);
	assert_true(display_take(&d, &b.sink, 0, &f));
	display_buffer_unref(f.buffer);
	assert_false(display_take(&d, &a.sink, 0, &f));
	a.frames = b.frames = 0;
}

static void test_display_copies_are_frames_for_those_who_take_them(void **state)
{
	struct display_buffer *buffer = make(100, 50), *copy = make_planes(2), *next = make_planes(1);
	struct display_frame f;

	(void)state;
	show_copied(buffer);
	assert_int_equal(flush(0, 10, 10, 5, 5), 25);
	assert_int_equal(b.frames, 1);
	assert_int_equal(a.frames, 0);
	assert_false(display_take(&d, &a.sink, 0, &f));
	display_publish(&d, 0, copy, 1, 55);
	assert_int_equal(b.frames, 1);
	assert_int_equal(a.frames, 1);
	/* Another one before it has taken that. */
	display_publish(&d, 0, next, 2, 66);
	assert_int_equal(copy->refs, 1);
	assert_int_equal(a.frames, 1);
	assert_int_equal(d.counters.replaced, 1);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_ptr_equal(f.buffer, next);
	assert_int_equal(f.number, 2);
	assert_int_equal(f.flushed_ns, 66);
	assert_rect(&f.crop, 0, 0, 80, 40);
	assert_int_equal(f.damage.n, 0);
	assert_int_equal(next->refs, 3);
	display_buffer_unref(f.buffer);
	assert_true(display_take(&d, &b.sink, 0, &f));
	assert_ptr_equal(f.buffer, buffer);
	display_buffer_unref(f.buffer);
	/* A guest that flips shows another buffer; the copy is still the newest. */
	display_buffer_unref(copy);
	display_publish(&d, 0, next, 3, 77);
	show(0, buffer, 0, 0, 80, 40);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_ptr_equal(f.buffer, next);
	display_buffer_unref(f.buffer);
	/* Nothing shown: no copy either. */
	display_publish(&d, 0, next, 4, 88);
	show(0, NULL, 0, 0, 0, 0);
	assert_int_equal(next->refs, 1);
	assert_false(display_take(&d, &a.sink, 0, &f));
	display_buffer_unref(next);
	display_buffer_unref(buffer);
}

static void test_display_without_copies_all_map(void **state)
{
	struct display_buffer *buffer = make(100, 50), *copy = make_planes(1);
	struct display_frame f;

	(void)state;
	show_copied(buffer);
	display_publish(&d, 0, copy, 1, 55);
	/* What the device shows now is not a GPU's. */
	a.frames = 0;
	display_set_copied(&d, 0, false);
	assert_int_equal(copy->refs, 1);
	assert_int_equal(a.frames, 1);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_ptr_equal(f.buffer, buffer);
	assert_rect(&f.damage.rect[0], 0, 0, 80, 40);
	display_buffer_unref(f.buffer);
	assert_true(display_is_watched(&d, 0));
	/* And one who can do nothing with them says so. */
	display_set_copied(&d, 0, true);
	display_publish(&d, 0, copy, 2, 55);
	assert_true(display_take(&d, &a.sink, 0, &f));
	display_buffer_unref(f.buffer);
	wanted = a.frames = b.frames = 0;
	display_sink_set_copies(&d, &a.sink, false);
	assert_int_equal(wanted, 1);
	assert_int_equal(display_copy_sinks(&d), 0);
	assert_int_equal(a.frames, 1);
	assert_int_equal(b.frames, 0);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_ptr_equal(f.buffer, buffer);
	assert_int_equal(f.damage.n, 1);
	display_buffer_unref(f.buffer);
	display_sink_set_copies(&d, &a.sink, false);
	assert_int_equal(wanted, 1);
	/* And takes it back. */
	assert_int_equal(flush(0, 10, 10, 5, 5), 25);
	display_sink_set_copies(&d, &a.sink, true);
	assert_int_equal(wanted, 2);
	assert_false(display_take(&d, &a.sink, 0, &f));
	display_publish(&d, 0, copy, 3, 55);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_ptr_equal(f.buffer, copy);
	display_buffer_unref(f.buffer);
	display_buffer_unref(copy);
	display_buffer_unref(buffer);
}

static void test_display_the_device_hears_who_takes_copies(void **state)
{
	struct display_buffer *buffer = make(100, 50);

	(void)state;
	show_copied(buffer);
	wanted = 0;
	display_sink_remove(&d, &b.sink);
	assert_int_equal(wanted, 0);
	display_sink_remove(&d, &a.sink);
	assert_int_equal(wanted, 1);
	assert_int_equal(display_copy_sinks(&d), 0);
	display_sink_add(&d, &a.sink);
	assert_int_equal(wanted, 2);
	show(0, NULL, 0, 0, 0, 0);
	display_sink_remove(&d, &a.sink);
	assert_int_equal(wanted, 2);
	display_buffer_unref(buffer);
}

/*
 * What guests draw in.
 */

static unsigned alone;

static void on_alone(void *ctx)
{
	assert_ptr_equal(ctx, &alone);
	alone++;
}

static const struct display_rect part = {8, 4, 60, 30};

/* Copies are there for a, which paces and gets offers; b maps. */
static void show_direct(struct display_buffer *buffer)
{
	show_copied(buffer);
	assert_false(display_can_offer(&d));
	display_pace(&d, &a.sink);
	assert_true(display_can_offer(&d));
	display_set_direct(&d, 0, true);
	display_set_copied(&d, 0, false);
	a.frames = b.frames = wanted = 0;
}

/* An offer goes to the one that paces, who has then the only reference beside the device's; others map. */
static void test_display_offers_are_for_who_paces(void **state)
{
	struct display_buffer *buffer = make(100, 50), *offer = make_planes(2), *next = make_planes(1);
	struct display_frame f;

	(void)state;
	show_direct(buffer);
	offer->alone = on_alone;
	offer->alone_ctx = &alone;
	alone = 0;
	assert_int_equal(flush(0, 10, 10, 5, 5), 25);
	assert_int_equal(b.frames, 1);
	assert_int_equal(a.frames, 0);
	assert_false(display_take(&d, &a.sink, 0, &f));
	display_offer(&d, 0, offer, &part, 7, 55);
	assert_int_equal(a.frames, 1);
	assert_int_equal(b.frames, 1);
	assert_int_equal(offer->refs, 2);
	assert_true(display_take(&d, &a.sink, 0, &f));
	assert_ptr_equal(f.buffer, offer);
	assert_memory_equal(&f.crop, &part, sizeof(part));
	assert_int_equal(f.number, 7);
	assert_int_equal(f.flushed_ns, 55);
	assert_int_equal(f.damage.n, 0);
	assert_int_equal(offer->refs, 2);
	assert_false(display_take(&d, &a.sink, 0, &f));
	assert_int_equal(alone, 0);
	display_buffer_unref(offer);
	assert_int_equal(alone, 1);
	display_buffer_ref(offer);
	/* One that was not taken is withdrawn by the next. */
	display_offer(&d, 0, offer, &part, 8, 56);
	display_buffer_unref(offer);
	display_offer(&d, 0, next, &part, 9, 57);
	assert_int_equal(alone, 2);
	assert_int_equal(d.counters.offers, 3);
	/* So it is when nothing is shown any more, or who paces is to get something else. */
	display_set_copied(&d, 0, true);
	display_set_direct(&d, 0, false);
	assert_int_equal(next->refs, 1);
	assert_false(display_take(&d, &a.sink, 0, &f));
	display_publish(&d, 0, next, 10, 58);
	assert_true(display_take(&d, &a.sink, 0, &f));
	display_buffer_unref(f.buffer);
	display_set_direct(&d, 0, true);
	display_offer(&d, 0, offer, &part, 11, 59);
	show(0, NULL, 0, 0, 0, 0);
	assert_false(d.scanout[0].is_direct);
	assert_int_equal(offer->refs, 1);
	assert_int_equal(next->refs, 1);
	assert_false(display_take(&d, &a.sink, 0, &f));
	display_buffer_unref(offer);
	display_buffer_unref(next);
	display_buffer_unref(buffer);
}

/* Whatever becomes of the one that paces, offers end, the device hears of it, and who had them gets what all get. */
static void test_display_offers_end_with_who_paced(void **state)
{
	struct display_buffer *buffer = make(100, 50), *offer = make_planes(1);
	struct display_frame f;

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		show_direct(buffer);
		display_offer(&d, 0, offer, &part, 1, 55);
		assert_int_equal(offer->refs, 2);
		a.frames = 0;
		switch (round) {
		case 0:
			display_pace(&d, &b.sink);
			break;
		case 1:
			display_sink_imports(&d, &a.sink);
			break;
		case 2:
			display_sink_set_copies(&d, &a.sink, false);
			break;
		default:
			display_sink_remove(&d, &a.sink);
			break;
		}
		assert_false(d.scanout[0].is_direct);
		assert_int_equal(offer->refs, 1);
		assert_true(wanted > 0);
		assert_int_equal(a.frames, round < 3);
		if (round < 3) {
			assert_true(display_take(&d, &a.sink, 0, &f));
			assert_ptr_equal(f.buffer, buffer);
			assert_int_equal(f.damage.n, 1);
			display_buffer_unref(f.buffer);
		}
		show(0, NULL, 0, 0, 0, 0);
		display_sink_remove(&d, &a.sink);
		display_sink_remove(&d, &b.sink);
	}
	display_buffer_unref(offer);
	display_buffer_unref(buffer);
}

static bool imports_no_inverted(void *ctx, const struct display_picture *p)
{
	assert_ptr_equal(ctx, &a);
	return !p->planes.y_inverted;
}

/* How soon it lets go of frames, whatever kind they are, and what it imports. */
static void test_display_prompt_sinks_are_known(void **state)
{
	static const struct display_sink_ops ops = {.imports = imports_no_inverted};
	struct display_buffer *buffer = make(100, 50);
	struct display_picture p = {.planes.n = 1};
	struct display_frame f;
	uint64_t now = 1000, first;

	(void)state;
	clock_set_test_ns(now);
	a.sink.ops = &ops;
	assert_false(display_imports(&d, &p));
	show_copied(buffer);
	display_set_copied(&d, 0, false);
	display_pace(&d, &a.sink);
	assert_true(display_imports(&d, &p));
	p.planes.y_inverted = true;
	assert_false(display_imports(&d, &p));
	for (unsigned n = 0; n < 3; n++) {
		flush(0, 10, 10, 5, 5);
		assert_true(display_take(&d, &a.sink, 0, &f));
		display_buffer_unref(f.buffer);
		clock_set_test_ns(now += DISPLAY_PROMPT_NS);
		display_seen(&d, &a.sink, 0, f.number);
		/* Nothing is told by one that is seen twice, or by others. */
		display_seen(&d, &a.sink, 0, f.number);
		display_seen(&d, &b.sink, 0, f.number);
	}
	assert_int_equal(display_prompt_frames(&d, 0), 3);
	/* The next one is taken before this one is seen. */
	flush(0, 10, 10, 5, 5);
	assert_true(display_take(&d, &a.sink, 0, &f));
	display_buffer_unref(f.buffer);
	first = f.number;
	clock_set_test_ns(now += DISPLAY_PROMPT_NS + 1);
	flush(0, 10, 10, 5, 5);
	assert_true(display_take(&d, &a.sink, 0, &f));
	display_buffer_unref(f.buffer);
	display_seen(&d, &a.sink, 0, first);
	assert_int_equal(display_prompt_frames(&d, 0), 0);
	display_seen(&d, &a.sink, 0, f.number);
	assert_int_equal(display_prompt_frames(&d, 0), 1);
	display_was_late(&d, 0);
	assert_int_equal(display_prompt_frames(&d, 0), 0);
	assert_int_equal(a.sink.demoted, 1);
	assert_true(display_has_been_late(&d, 0));
	assert_false(display_has_been_late(&d, 1));
	/* Another one is another one. */
	flush(0, 10, 10, 5, 5);
	assert_true(display_take(&d, &a.sink, 0, &f));
	display_buffer_unref(f.buffer);
	display_seen(&d, &a.sink, 0, f.number);
	display_pace(&d, &b.sink);
	assert_int_equal(display_prompt_frames(&d, 0), 0);
	assert_false(display_has_been_late(&d, 0));
	display_buffer_unref(buffer);
	clock_set_test_ns(0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_display_flush_is_a_frame_for_everyone),
		T(test_display_slow_sink_gets_the_newest_with_all_that_changed),
		T(test_display_flip_keeps_what_a_sink_holds),
		T(test_display_crop_moves_and_clips_damage),
		T(test_display_two_scanouts_of_one_buffer),
		T(test_display_nothing_shown_is_no_frame),
		T(test_display_late_sink_starts_with_what_is_shown),
		T(test_display_cursor_image_place_and_hot_spot),
		T(test_display_output_changes_are_told_once),
		T(test_display_a_guest_with_a_mode_of_its_own_is_told_again),
		T(test_display_budget_is_never_exceeded),
		T(test_display_memory_is_sealed_for_others),
		T(test_display_copies_are_frames_for_those_who_take_them),
		T(test_display_without_copies_all_map),
		T(test_display_the_device_hears_who_takes_copies),
		T(test_display_offers_are_for_who_paces),
		T(test_display_offers_end_with_who_paced),
		T(test_display_prompt_sinks_are_known),
	};

	return cmocka_run_group_tests_name("display", tests, NULL, NULL);
}
