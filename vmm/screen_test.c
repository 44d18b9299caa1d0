/* SPDX-License-Identifier: MIT */
/* What a screen has to look like: pictures, regions; and the files that show what was wrong. */
#include "vmm/screen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/log.h"
#include "vmm/png_file.h"

#define W 20u
#define H 10u
#define MS 1000000ull

static char dir[] = "/tmp/tinyvmm-screen-XXXXXX", image[64], out[64], diff[64];
static uint8_t pixels[H][W][4];
static const struct display_pixels shot = {&pixels[0][0][0], W, H, W * 4};
static struct screen screen;

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir)) {
		return -1;
	}
	snprintf(image, sizeof(image), "%s/image.png", dir);
	snprintf(out, sizeof(out), "%s/out.png", dir);
	snprintf(diff, sizeof(diff), "%s/diff.png", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(image);
	unlink(out);
	unlink(diff);
	return rmdir(dir);
}

static int set_up(void **state)
{
	(void)state;
	for (unsigned y = 0; y < H; y++) {
		for (unsigned x = 0; x < W; x++) {
			memcpy(pixels[y][x], (const uint8_t[]){(uint8_t)(x * 10), (uint8_t)(y * 20), (uint8_t)(x + y), 0xff}, 4);
		}
	}
	screen_write_png(&shot, image);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	screen_finish(&screen);
	return 0;
}

static void start(const struct config_screen *want)
{
	char err[300];

	assert_int_equal(screen_init(&screen, want, err, sizeof(err)), 0);
}

static void expect_explanation(const char *want)
{
	char text[200];

	screen_explain(&screen, text, sizeof(text));
	assert_string_equal(text, want);
}

static void test_screen_a_png_is_what_was_written(void **state)
{
	uint32_t width, height;
	uint8_t *read;
	char err[200];

	(void)state;
	assert_int_equal(png_file_read(image, &read, &width, &height, err, sizeof(err)), 0);
	assert_int_equal(width, W);
	assert_int_equal(height, H);
	assert_memory_equal(read, pixels, sizeof(pixels));
	free(read);
}

static void test_screen_waits_for_its_picture(void **state)
{
	struct config_screen want = {.image = image};

	(void)state;
	start(&want);
	expect_explanation("the guest has shown nothing");
	pixels[3][4][1] ^= 1;
	assert_false(screen_look(&screen, &shot));
	expect_explanation("0.50 % of the pixels differ, 0.00 % may");
	pixels[3][4][1] ^= 1;
	assert_true(screen_look(&screen, &shot));
}

static void test_screen_red_is_not_blue(void **state)
{
	struct config_screen want = {.image = image};

	(void)state;
	start(&want);
	for (unsigned y = 0; y < H; y++) {
		for (unsigned x = 0; x < W; x++) {
			uint8_t b = pixels[y][x][0];

			pixels[y][x][0] = pixels[y][x][2];
			pixels[y][x][2] = b;
		}
	}
	assert_false(screen_look(&screen, &shot));
}

static void test_screen_tolerance_and_max_diff(void **state)
{
	struct config_screen want = {.image = image, .tolerance = 3, .max_diff = 0.01};

	(void)state;
	start(&want);
	for (unsigned y = 0; y < H; y++) {
		for (unsigned x = 0; x < W; x++) {
			pixels[y][x][0] = (uint8_t)(pixels[y][x][0] + 3);
		}
	}
	pixels[0][0][0] = 99;
	pixels[0][1][0] = 99;
	assert_true(screen_look(&screen, &shot));
	pixels[0][2][0] = 99;
	assert_false(screen_look(&screen, &shot));
}

static void test_screen_region(void **state)
{
	struct config_screen want = {.image = image, .region = {5, 2, 4, 3}};

	(void)state;
	start(&want);
	pixels[0][0][0] = 99;
	assert_true(screen_look(&screen, &shot));
	pixels[4][8][0] ^= 1;
	assert_false(screen_look(&screen, &shot));
	/* 1 of 12. */
	expect_explanation("8.33 % of the pixels differ, 0.00 % may");
}

static void test_screen_of_another_size_differs(void **state)
{
	struct config_screen want = {.image = image};
	const struct display_pixels part = {&pixels[0][0][0], W - 1, H, W * 4};

	(void)state;
	start(&want);
	assert_false(screen_look(&screen, &part));
	expect_explanation("the picture has 20x10 pixels, the screen 19x10");
}

/* Which a screenshot cannot say. */
static void test_screen_explains_what_was_not_still(void **state)
{
	struct config_screen want = {.image = image, .stable_ns = 100 * MS};

	(void)state;
	start(&want);
	pixels[0][0][0] ^= 1;
	assert_false(screen_look(&screen, &shot));
	expect_explanation("0.50 % of the pixels differ, 0.00 % may");
	pixels[0][0][0] ^= 1;
	assert_true(screen_look(&screen, &shot));
	expect_explanation("it was never still for 100 ms");
}

/* What is not there neither stands still nor differs, however much may. */
static void test_screen_explains_what_is_not_on_it(void **state)
{
	static const struct config_region r[] = {{W, 0, 1, 1}, {0, H, 1, 1}, {0, 0, W + 1, H}, {0, 0, W, H + 1}, {65535, 65535, 65535, 65535}};
	const struct display_pixels part = {&pixels[0][0][0], W, H - 1, W * 4};
	struct config_screen want = {.stable_ns = 100 * MS};
	char text[200];

	(void)state;
	for (unsigned i = 0; i < sizeof(r) / sizeof(r[0]); i++) {
		want.region = r[i];
		start(&want);
		assert_false(screen_look(&screen, &shot));
		snprintf(text, sizeof(text), "the region %u,%u,%u,%u is not inside the screen, which has 20x10 pixels", r[i].x, r[i].y, r[i].w, r[i].h);
		expect_explanation(text);
		/* Nor does anything move there: no file says so. */
		assert_false(screen_look(&screen, &shot));
		pixels[0][0][0] ^= 1;
		assert_false(screen_look(&screen, &shot));
		assert_false(screen_has_difference(&screen));
		screen_finish(&screen);
	}
	want = (struct config_screen){.image = image, .max_diff = 1, .region = {0, 0, W, H}};
	start(&want);
	assert_false(screen_look(&screen, &part));
	expect_explanation("the region 0,0,20,10 is not inside the screen, which has 20x9 pixels");
	assert_true(screen_look(&screen, &shot));
}

static void test_screen_save_shows_what_was_wrong(void **state)
{
	struct config_screen want = {.image = image};
	uint32_t width, height;
	uint8_t *read;
	char err[200];

	(void)state;
	start(&want);
	assert_false(screen_save(&screen, out, diff));
	pixels[3][4][1] ^= 1;
	screen_look(&screen, &shot);
	assert_true(screen_save(&screen, out, diff));
	assert_int_equal(png_file_read(out, &read, &width, &height, err, sizeof(err)), 0);
	assert_memory_equal(read, pixels, sizeof(pixels));
	free(read);
	assert_int_equal(png_file_read(diff, &read, &width, &height, err, sizeof(err)), 0);
	for (unsigned i = 0; i < W * H; i++) {
		assert_int_equal(memcmp(read + i * 4, (const uint8_t[]){0, 0, 255, 255}, 4) == 0, i == 3 * W + 4);
	}
	free(read);
}

static void expect_difference(unsigned wrong)
{
	uint32_t width, height;
	uint8_t *read;
	char err[200];

	assert_true(screen_has_difference(&screen));
	assert_true(screen_save(&screen, out, diff));
	assert_int_equal(png_file_read(diff, &read, &width, &height, err, sizeof(err)), 0);
	assert_int_equal(width, W);
	assert_int_equal(height, H);
	for (unsigned i = 0; i < W * H; i++) {
		assert_int_equal(memcmp(read + i * 4, (const uint8_t[]){0, 0, 255, 255}, 4) == 0, i == wrong);
	}
	free(read);
	assert_int_equal(unlink(diff), 0);
}

/* Where no picture is wanted, the last screenshot that was another one is what it is compared with. */
static void test_screen_save_shows_what_has_moved(void **state)
{
	struct config_screen want = {.stable_ns = 100 * MS, .region = {1, 1, W - 1, H - 1}, .tolerance = 200};

	(void)state;
	start(&want);
	unlink(diff);
	assert_false(screen_has_difference(&screen));
	for (unsigned i = 0; i < 3; i++) {
		assert_true(screen_look(&screen, &shot));
		assert_false(screen_has_difference(&screen));
		assert_true(screen_save(&screen, out, diff));
		assert_int_equal(access(diff, F_OK), -1);
		/* Outside the region. */
		pixels[0][i][1] ^= 1;
	}
	for (unsigned x = 3; x < 8; x++) {
		/* Only the last step counts, however long ago. */
		pixels[4][x][2] ^= 1;
		assert_true(screen_look(&screen, &shot));
		expect_difference(4 * W + x);
		assert_true(screen_look(&screen, &shot));
		expect_difference(4 * W + x);
	}
	/* One of another size is no harm. */
	assert_false(screen_look(&screen, &(struct display_pixels){&pixels[0][0][0], W, H - 2, W * 4}));
	assert_true(screen_save(&screen, out, diff));
}

static unsigned said;

static void hear(enum log_level level, const char *line)
{
	assert_int_equal(level, LOG_ERR);
	assert_true(strstr(line, "/dev/full: ") == line || strstr(line, "/nonexistent/x.png: No such file") == line);
	said++;
}

/* Half a picture is none, and is not passed off as one. */
static void test_screen_pictures_that_cannot_be_written(void **state)
{
	(void)state;
	said = 0;
	log_set_hook(hear);
	assert_false(screen_write_png(&shot, "/dev/full"));
	assert_false(screen_write_png(&shot, "/nonexistent/x.png"));
	log_set_hook(NULL);
	assert_int_equal(said, 2);
}

static void test_screen_pictures_that_cannot_be_read(void **state)
{
	struct config_screen want = {.image = (char *)(uintptr_t) "/nonexistent.png"};
	struct screen s;
	char err[300];
	FILE *f;

	(void)state;
	assert_true(screen_init(&s, &want, err, sizeof(err)) < 0);
	assert_non_null(strstr(err, "/nonexistent.png: No such file"));
	want = (struct config_screen){.image = image, .region = {1, 1, W, 1}};
	assert_true(screen_init(&s, &want, err, sizeof(err)) < 0);
	assert_non_null(strstr(err, "the region is not inside its 20x10 pixels"));
	assert_int_equal(truncate(image, 60), 0);
	want = (struct config_screen){.image = image};
	assert_true(screen_init(&s, &want, err, sizeof(err)) < 0);
	f = fopen(image, "w");
	assert_non_null(f);
	fputs("no png", f);
	fclose(f);
	assert_true(screen_init(&s, &want, err, sizeof(err)) < 0);
	assert_non_null(strstr(err, "image.png: "));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		T(test_screen_a_png_is_what_was_written),
		T(test_screen_waits_for_its_picture),
		T(test_screen_red_is_not_blue),
		T(test_screen_tolerance_and_max_diff),
		T(test_screen_region),
		T(test_screen_of_another_size_differs),
		T(test_screen_explains_what_was_not_still),
		T(test_screen_explains_what_is_not_on_it),
		T(test_screen_save_shows_what_was_wrong),
		T(test_screen_save_shows_what_has_moved),
		T(test_screen_pictures_that_cannot_be_written),
		T(test_screen_pictures_that_cannot_be_read),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
