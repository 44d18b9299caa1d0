/* SPDX-License-Identifier: MIT */
/* Standing still: what counts as a change, when, and what looking costs. */
#include "display/still.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "vmm/clock.h"

#define W 600u
#define H 40u
#define MS 1000000ull
#define START (1000 * MS)

static struct loop loop;
static struct display d;
static struct display_still still;
static struct display_buffer *a, *b;
static uint8_t *map_a, *map_b;
static const struct display_rect all = {0, 0, W, H};

static struct display_buffer *make(uint32_t fourcc, uint32_t width, uint32_t height, uint8_t **map)
{
	struct display_picture p = {.fourcc = fourcc, .width = width, .height = height, .stride = width * 4, .len = (uint64_t)width * height * 4};
	struct display_buffer *buffer;

	p.fd = display_memfd("test", p.len, map);
	assert_true(p.fd >= 0);
	for (uint64_t i = 0; i < p.len; i++) {
		(*map)[i] = (uint8_t)(i * 7 + i / 1000);
	}
	assert_true(display_budget_take(&d.budget, p.len));
	buffer = display_buffer_create(&p, &d.budget, p.len);
	assert_non_null(buffer);
	return buffer;
}

static int setup(void **state)
{
	static const struct display_output outputs[2] = {{.enabled = true, .width = 640, .height = 480, .refresh_hz = 60}, {.enabled = true, .width = 640, .height = 480, .refresh_hz = 60}};

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	display_init(&d, &loop, outputs, 2, 1u << 24);
	a = make(DISPLAY_XRGB8888, W, H, &map_a);
	b = make(DISPLAY_XRGB8888, W, H, &map_b);
	clock_set_test_ns(START);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	clock_set_test_ns(0);
	display_still_finish(&still);
	display_still_finish(&still);
	display_buffer_unref(a);
	display_buffer_unref(b);
	munmap(map_a, W * H * 4);
	munmap(map_b, W * H * 4);
	display_finish(&d);
	loop_finish(&loop);
	return 0;
}

static unsigned news, lit, outside;

static void on_news(struct display_still *s)
{
	assert_ptr_equal(s, &still);
	assert_false(s->is_seen && s->is_outside);
	news++;
	lit += s->is_seen;
	outside += s->is_outside;
}

static void flip(struct display_buffer *buffer)
{
	display_show(&d, 0, buffer, &(struct display_rect){0, 0, buffer->picture.width, buffer->picture.height});
	display_flush(&d, 0, &all);
}

static void flush(uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	display_flush(&d, 0, &(struct display_rect){x, y, w, h});
}

static uint8_t *pixel(uint32_t x, uint32_t y)
{
	return map_a + (y * W + x) * 4;
}

/* Since when it is still, in ms since START; -1: nothing to look at. And that both ways of asking agree. */
static int since(void)
{
	uint64_t again, other;

	display_still_for(&still, 0, START, &again);
	if (again == 0) {
		assert_false(display_still_for(&still, 0, START + 1000 * MS, &other));
		return -1;
	}
	assert_true(display_still_for(&still, 5 * MS, again + 5 * MS, &other));
	assert_false(display_still_for(&still, 5 * MS, again + 5 * MS - 1, &other));
	assert_int_equal(other, again + 5 * MS);
	return (int)((again - START) / MS);
}

static void at(unsigned ms)
{
	clock_set_test_ns(START + ms * MS);
}

/* Whoever only looks each second time sees one picture all the time. */
static void test_still_a_guest_that_flips_is_not(void **state)
{
	(void)state;
	map_b[0] ^= 1;
	flip(a);
	display_still_init(&still, &d, 0, NULL, on_news);
	for (unsigned ms = 10; ms < 500; ms += 10) {
		at(ms);
		flip(ms / 10 % 2 ? b : a);
		assert_int_equal(since(), ms);
	}
	/* A flip back and forth in no time is two changes, too. */
	at(600);
	flip(b);
	flip(a);
	flip(b);
	assert_int_equal(since(), 600);
}

static void test_still_what_is_painted_in_place_and_undone_is_not(void **state)
{
	(void)state;
	flip(a);
	display_still_init(&still, &d, 0, NULL, on_news);
	at(10);
	*pixel(599, 39) ^= 0x80;
	flush(590, 30, 10, 10);
	*pixel(599, 39) ^= 0x80;
	at(20);
	assert_int_equal(since(), 10);
	flush(599, 39, 1, 1);
	assert_int_equal(since(), 20);
}

static void test_still_the_same_again_is_no_change(void **state)
{
	uint8_t *map;
	struct display_buffer *other = make(DISPLAY_XBGR8888, W, H, &map);

	(void)state;
	flip(a);
	display_still_init(&still, &d, 0, NULL, on_news);
	for (unsigned ms = 10; ms < 300; ms += 10) {
		at(ms);
		flip(ms / 10 % 2 ? b : a);
		flush(0, 0, W, 1);
		/* Nor is what says nothing. */
		pixel(3, 3)[3] ^= 0xff;
	}
	/* Nor another order of the same colours. */
	for (unsigned i = 0; i < W * H * 4; i += 4) {
		map[i] = map_a[i + 2];
		map[i + 1] = map_a[i + 1];
		map[i + 2] = map_a[i];
	}
	flip(other);
	assert_int_equal(since(), 0);
	map[0] ^= 1;
	flip(other);
	assert_int_equal(since(), 290);
	munmap(map, W * H * 4);
	display_buffer_unref(other);
}

/* Of each tile and each row, the first pixel and the last. */
static void test_still_every_pixel_counts(void **state)
{
	static const uint32_t x[] = {0, 255, 256, 511, 512, 598};
	unsigned ms = 0;

	(void)state;
	flip(a);
	/* An odd number of them in the last tile. */
	display_still_init(&still, &d, 0, &(struct display_rect){0, 0, 599, H}, on_news);
	for (unsigned i = 0; i < sizeof(x) / sizeof(x[0]); i++) {
		for (uint32_t y = 0; y < H; y += H - 1) {
			for (unsigned c = 0; c < 3; c++) {
				at(++ms);
				pixel(x[i], y)[c] ^= 1;
				flush(x[i], y, 1, 1);
				assert_int_equal(since(), ms);
			}
		}
	}
}

static void test_still_where_it_counts(void **state)
{
	(void)state;
	flip(a);
	display_still_init(&still, &d, 0, &(struct display_rect){250, 10, 20, 5}, on_news);
	at(10);
	*pixel(249, 10) ^= 1;
	*pixel(270, 14) ^= 1;
	*pixel(250, 9) ^= 1;
	*pixel(269, 15) ^= 1;
	flush(0, 0, W, H);
	assert_int_equal(since(), 0);
	*pixel(250, 10) ^= 1;
	flush(0, 10, 251, 1);
	assert_int_equal(since(), 10);
	at(20);
	*pixel(269, 14) ^= 1;
	flush(269, 14, 1, 1);
	assert_int_equal(since(), 20);
	at(30);
	flip(a);
	assert_int_equal(since(), 20);
}

static void test_still_dark_is_not_and_begins_anew(void **state)
{
	(void)state;
	news = lit = outside = 0;
	display_still_init(&still, &d, 0, NULL, on_news);
	assert_int_equal(since(), -1);
	assert_int_equal(lit, 0);
	flip(a);
	flip(b);
	assert_int_equal(lit, 1);
	assert_int_equal(since(), 0);
	assert_int_equal(news, 1);
	display_show(&d, 0, NULL, NULL);
	assert_int_equal(since(), -1);
	assert_int_equal(news, 2);
	assert_false(still.is_seen);
	at(50);
	flip(a);
	assert_int_equal(lit, 2);
	assert_int_equal(since(), 50);
	display_still_finish(&still);
	/* At once, where something is shown. */
	display_still_init(&still, &d, 0, NULL, on_news);
	assert_int_equal(lit, 3);
	assert_int_equal(news, 4);
	assert_int_equal(outside, 0);
}

static void test_still_another_size_is_a_change(void **state)
{
	uint8_t *map;
	struct display_buffer *small = make(DISPLAY_XRGB8888, 30, H, &map);

	(void)state;
	flip(a);
	display_still_init(&still, &d, 0, &(struct display_rect){5, 5, 100, 10}, on_news);
	at(10);
	/* The region is not in it. */
	flip(small);
	assert_int_equal(since(), -1);
	at(20);
	flip(a);
	assert_int_equal(since(), 20);
	display_still_finish(&still);
	display_still_init(&still, &d, 0, NULL, on_news);
	at(30);
	flip(small);
	assert_int_equal(since(), 30);
	at(40);
	*map ^= 1;
	flush(0, 0, 1, 1);
	assert_int_equal(since(), 40);
	munmap(map, 30 * H * 4);
	display_buffer_unref(small);
}

/* Wholly, by one row and by one column; and the last that is inside. */
static void test_still_region_that_is_not_on_the_screen(void **state)
{
	static const struct display_rect r[] = {{W, 0, 10, 10}, {0, H, 1, 1}, {0, 0, W + 1, H}, {0, 0, W, H + 1}, {65535, 65535, 65535, 65535}, {W - 1, H - 1, 1, 1}};

	(void)state;
	for (unsigned i = 0; i < sizeof(r) / sizeof(r[0]); i++) {
		bool is_outside = i < sizeof(r) / sizeof(r[0]) - 1;

		news = lit = outside = 0;
		display_show(&d, 0, NULL, NULL);
		display_still_init(&still, &d, 0, &r[i], on_news);
		/* Dark is neither. */
		assert_int_equal(outside, 0);
		flip(a);
		assert_int_equal(outside, is_outside);
		assert_int_equal(lit, !is_outside);
		assert_int_equal(still.is_outside, is_outside);
		assert_int_equal(still.width, W);
		assert_int_equal(still.height, H);
		assert_int_equal(since(), is_outside ? -1 : 0);
		display_show(&d, 0, NULL, NULL);
		assert_false(still.is_outside);
		display_still_finish(&still);
	}
	/* What it said of one screen it does not say of the next. */
	flip(a);
	display_still_init(&still, &d, 0, &(struct display_rect){0, 0, W, H + 1}, on_news);
	assert_true(still.is_outside);
	{
		uint8_t *map;
		struct display_buffer *large = make(DISPLAY_XRGB8888, W, H + 1, &map);

		flip(large);
		assert_false(still.is_outside);
		assert_int_equal(since(), 0);
		flip(a);
		assert_true(still.is_outside);
		assert_int_equal(since(), -1);
		munmap(map, W * (H + 1) * 4);
		display_buffer_unref(large);
	}
}

static void test_still_a_crop_that_moves_is_looked_at(void **state)
{
	const struct display_rect left = {0, 0, 100, 20}, right = {8, 7, 100, 20};

	(void)state;
	display_show(&d, 0, a, &left);
	flush(0, 0, W, H);
	display_still_init(&still, &d, 0, NULL, on_news);
	at(10);
	display_show(&d, 0, a, &right);
	flush(100, 7, 1, 1);
	assert_int_equal(since(), 10);
	at(20);
	*pixel(107, 26) ^= 1;
	flush(107, 26, 1, 1);
	assert_int_equal(since(), 20);
	at(30);
	*pixel(108, 26) ^= 1;
	flush(0, 0, W, H);
	assert_int_equal(since(), 20);
}

static void test_still_looks_at_its_own_scanout_only(void **state)
{
	uint64_t compared;

	(void)state;
	flip(a);
	display_show(&d, 1, b, &all);
	display_flush(&d, 1, &all);
	display_still_init(&still, &d, 0, NULL, on_news);
	compared = d.counters.compared_bytes;
	for (unsigned i = 0; i < 10; i++) {
		at(10 * i);
		map_b[0] ^= 1;
		display_flush(&d, 1, &all);
	}
	display_show(&d, 1, NULL, NULL);
	assert_int_equal(since(), 0);
	assert_int_equal(d.counters.compared_bytes, compared);
	/* Nobody else's frames are replaced. */
	assert_int_equal(d.counters.replaced, 0);
}

static void test_still_costs_what_was_flushed_and_nothing_afterwards(void **state)
{
	(void)state;
	flip(a);
	assert_int_equal(d.counters.compared_bytes, 0);
	display_still_init(&still, &d, 0, NULL, on_news);
	assert_int_equal(d.counters.compared_bytes, 4 * W * H);
	/* Whole tiles of it. */
	flush(300, 2, 10, 10);
	assert_int_equal(d.counters.compared_bytes, 4 * W * H + 4 * 256 * 10);
	flush(599, 0, 1, 1);
	assert_int_equal(d.counters.compared_bytes, 4 * W * H + 4 * 256 * 10 + 4 * (W - 512));
	display_still_finish(&still);
	flip(b);
	assert_int_equal(d.counters.compared_bytes, 4 * W * H + 4 * 256 * 10 + 4 * (W - 512));
	assert_null(d.sinks);
}

static unsigned refreshed;

static void on_refresh(void *ctx, unsigned scanout)
{
	(void)ctx;
	assert_int_equal(scanout, 0);
	refreshed++;
	*pixel(0, 0) ^= 1;
}

/* What is read back for those who look is read back for this one. */
static void test_still_sees_what_is_brought_when_one_looks(void **state)
{
	(void)state;
	flip(a);
	display_still_init(&still, &d, 0, NULL, on_news);
	display_set_refresh(&d, on_refresh, NULL);
	at(10);
	flush(0, 0, 1, 1);
	assert_int_equal(since(), 10);
	assert_int_equal(refreshed, 1);
	display_set_refresh(&d, NULL, NULL);
}

/* A transfer is in the picture, and another buffer is shown, before the flush that says so: who takes the picture then would have one that was there for no time. */
static void test_still_what_is_not_flushed_yet_does_not_hold(void **state)
{
	(void)state;
	flip(a);
	display_still_init(&still, &d, 0, NULL, on_news);
	at(500);
	assert_true(display_still_holds(&still));
	assert_int_equal(since(), 0);
	*pixel(W - 1, H - 1) ^= 1;
	assert_int_equal(since(), 0);
	assert_false(display_still_holds(&still));
	assert_int_equal(since(), 500);
	assert_true(display_still_holds(&still));
	at(600);
	display_show(&d, 0, b, &all);
	assert_false(display_still_holds(&still));
	assert_int_equal(since(), 600);
	display_show(&d, 0, NULL, &all);
	assert_false(display_still_holds(&still));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_still_a_guest_that_flips_is_not),
		T(test_still_what_is_painted_in_place_and_undone_is_not),
		T(test_still_the_same_again_is_no_change),
		T(test_still_every_pixel_counts),
		T(test_still_where_it_counts),
		T(test_still_dark_is_not_and_begins_anew),
		T(test_still_another_size_is_a_change),
		T(test_still_region_that_is_not_on_the_screen),
		T(test_still_a_crop_that_moves_is_looked_at),
		T(test_still_looks_at_its_own_scanout_only),
		T(test_still_costs_what_was_flushed_and_nothing_afterwards),
		T(test_still_sees_what_is_brought_when_one_looks),
		T(test_still_what_is_not_flushed_yet_does_not_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
