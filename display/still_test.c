/* SPDX-License-Identifier: MIT */
/* Whether a picture stands still: what of each flush counts as a change. */
#include "display/still.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#define W 32u
#define H 16u

static struct loop loop;
static struct display d;
static struct display_still still;
static unsigned changes;
static uint8_t *map[2];
static struct display_buffer *buffer[2];
static const struct display_rect all = {0, 0, W, H};

static void on_changed(struct display_still *s)
{
	assert_ptr_equal(s, &still);
	changes++;
}

static struct display_buffer *make(uint32_t fourcc, uint32_t w, uint32_t h, uint8_t **bytes)
{
	struct display_picture p = {.fourcc = fourcc, .width = w, .height = h, .stride = w * 4 + 8, .offset = 12};
	struct display_buffer *b;

	p.len = p.offset + (uint64_t)p.stride * h;
	p.fd = display_memfd("test", p.len, bytes);
	assert_true(p.fd >= 0);
	b = display_buffer_create(&p, &d.budget, 0);
	assert_non_null(b);
	return b;
}

static uint8_t *pixel(unsigned i, uint32_t x, uint32_t y)
{
	return map[i] + 12 + (size_t)y * (W * 4 + 8) + (size_t)x * 4;
}

static int set_up(void **state)
{
	static const struct display_output outputs[2] = {{.enabled = true, .width = W, .height = H, .refresh_hz = 60}, {.enabled = true, .width = W, .height = H, .refresh_hz = 60}};

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	display_init(&d, &loop, outputs, 2, 1u << 24);
	for (unsigned i = 0; i < 2; i++) {
		buffer[i] = make(DISPLAY_XRGB8888, W, H, &map[i]);
	}
	still = (struct display_still){.changed = on_changed};
	changes = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	display_still_stop(&still);
	display_still_stop(&still);
	for (unsigned i = 0; i < 2; i++) {
		munmap(map[i], buffer[i]->picture.len);
		display_buffer_unref(buffer[i]);
	}
	display_finish(&d);
	loop_finish(&loop);
	return 0;
}

static void start(const struct display_rect *region)
{
	display_still_start(&d, &still, 0, region);
	changes = 0;
}

/* Whether a flush of @r has changed what is looked at; then since_ns says when. */
static bool flush(const struct display_rect *r)
{
	unsigned before = changes;
	uint64_t since = still.since_ns;

	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	display_flush(&d, 0, r);
	assert_int_equal(still.since_ns > since, changes > before);
	return changes > before;
}

static void test_still_what_is_flushed_and_alike_is_no_change(void **state)
{
	(void)state;
	display_show(&d, 0, buffer[0], &all);
	start(&(struct display_rect){0});
	assert_true(still.is_lit);
	assert_false(flush(&all));
	*pixel(0, 3, 4) = 1;
	assert_true(flush(&all));
	assert_false(flush(&all));
	/* What is no colour is not seen. */
	pixel(0, 3, 4)[3] = 9;
	assert_false(flush(&all));
	/* Nor what is not flushed, until it is. */
	*pixel(0, 31, 15) = 1;
	assert_false(flush(&(struct display_rect){0, 0, 31, 16}));
	assert_false(flush(&(struct display_rect){0, 0, 32, 15}));
	assert_true(flush(&(struct display_rect){31, 15, 1, 1}));
	assert_false(flush(&all));
}

/* However fast: each flip is a change, though every second one leads back. */
static void test_still_sees_what_changes_and_changes_back(void **state)
{
	(void)state;
	*pixel(1, 0, 0) = 7;
	display_show(&d, 0, buffer[0], &all);
	start(&(struct display_rect){0});
	for (unsigned i = 0; i < 10; i++) {
		display_show(&d, 0, buffer[~i & 1], &all);
		assert_true(flush(&all));
	}
	/* The same picture in another buffer is the same. */
	*pixel(0, 0, 0) = 7;
	display_show(&d, 0, buffer[1], &all);
	assert_true(flush(&all));
	display_show(&d, 0, buffer[0], &all);
	assert_false(flush(&all));
}

/* A flip is looked at as a whole, whatever part of it the guest says it has changed. */
static void test_still_does_not_believe_the_damage_of_a_flip(void **state)
{
	(void)state;
	*pixel(1, 20, 10) = 7;
	display_show(&d, 0, buffer[0], &all);
	start(&(struct display_rect){0});
	display_show(&d, 0, buffer[1], &all);
	assert_true(flush(&(struct display_rect){0, 0, 1, 1}));
}

static void test_still_counts_in_its_region_only(void **state)
{
	(void)state;
	display_show(&d, 0, buffer[0], &all);
	start(&(struct display_rect){4, 2, 3, 5});
	for (uint32_t y = 0; y < H; y++) {
		for (uint32_t x = 0; x < W; x++) {
			bool is_in = x >= 4 && x < 7 && y >= 2 && y < 7;

			*pixel(0, x, y) ^= 0x55;
			assert_int_equal(flush(&(struct display_rect){x, y, 1, 1}), is_in);
			*pixel(0, x, y) ^= 0x55;
			assert_int_equal(flush(&(struct display_rect){x > 2 ? x - 2 : 0, 0, 5, H}), is_in);
		}
	}
}

static void test_still_of_a_region_that_is_not_on_the_screen(void **state)
{
	(void)state;
	display_show(&d, 0, buffer[0], &all);
	start(&(struct display_rect){W, 0, UINT32_MAX, UINT32_MAX});
	*pixel(0, 0, 0) = 1;
	assert_false(flush(&all));
	display_still_stop(&still);
	start(&(struct display_rect){W - 1, H - 1, UINT32_MAX, UINT32_MAX});
	*pixel(0, W - 1, H - 1) = 1;
	assert_true(flush(&all));
}

static void test_still_dark_in_between_is_a_change(void **state)
{
	(void)state;
	start(&(struct display_rect){0});
	assert_false(still.is_lit);
	display_show(&d, 0, buffer[0], &all);
	assert_true(flush(&all));
	assert_true(still.is_lit);
	display_show(&d, 0, NULL, NULL);
	assert_false(still.is_lit);
	display_show(&d, 0, buffer[0], &all);
	assert_false(still.is_lit);
	assert_true(flush(&all));
	assert_false(flush(&all));
}

static void test_still_another_size_is_a_change(void **state)
{
	(void)state;
	display_show(&d, 0, buffer[0], &all);
	start(&(struct display_rect){0, 0, 2, 2});
	display_show(&d, 0, buffer[0], &(struct display_rect){0, 0, W - 1, H});
	assert_true(flush(&all));
	display_show(&d, 0, buffer[0], &(struct display_rect){1, 0, W - 1, H});
	assert_false(flush(&all));
	*pixel(0, 1, 0) = 1;
	assert_true(flush(&all));
}

static void test_still_other_scanouts_and_orders_of_bytes(void **state)
{
	uint8_t *bytes;
	struct display_buffer *b = make(DISPLAY_RGBX8888, W, H, &bytes);

	(void)state;
	display_show(&d, 0, b, &all);
	display_show(&d, 1, buffer[1], &all);
	start(&(struct display_rect){0});
	*pixel(1, 0, 0) = 1;
	display_flush(&d, 1, &all);
	assert_int_equal(changes, 0);
	/* The byte that says nothing is the first here. */
	bytes[12] = 1;
	assert_false(flush(&all));
	bytes[13] = 1;
	assert_true(flush(&all));
	munmap(bytes, b->picture.len);
	display_buffer_unref(b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		T(test_still_what_is_flushed_and_alike_is_no_change),
		T(test_still_sees_what_changes_and_changes_back),
		T(test_still_does_not_believe_the_damage_of_a_flip),
		T(test_still_counts_in_its_region_only),
		T(test_still_of_a_region_that_is_not_on_the_screen),
		T(test_still_dark_in_between_is_a_change),
		T(test_still_another_size_is_a_change),
		T(test_still_other_scanouts_and_orders_of_bytes),
	};

	return cmocka_run_group_tests_name("still", tests, NULL, NULL);
}
