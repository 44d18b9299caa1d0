/* SPDX-License-Identifier: MIT */
/* PNG files: what is written can be read by others and back, and what others have written is read as it is meant or refused. The files are put together here, byte by byte. */
#include "vmm/png_file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

enum {
	GREY = 0,
	RGB = 2,
	PALETTE = 3,
	RGBA = 6,
};

static char path[] = "/tmp/png_file_XXXXXX", err[200];
static uint8_t *pixels;
static uint32_t width, height;

static void put32(uint8_t *p, uint32_t n)
{
	for (unsigned i = 0; i < 4; i++) {
		p[i] = (uint8_t)(n >> (24 - 8 * i));
	}
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Of PNG's own annex: the sum over a chunk's name and data. */
static uint32_t crc(const uint8_t *p, size_t len)
{
	uint32_t c = 0xffffffff;

	for (size_t i = 0; i < len; i++) {
		c ^= p[i];
		for (unsigned bit = 0; bit < 8; bit++) {
			c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
		}
	}
	return ~c;
}

static void chunk(FILE *f, const char *name, const uint8_t *data, uint32_t len)
{
	uint8_t buf[600];

	assert_true(len <= sizeof(buf) - 12);
	put32(buf, len);
	memcpy(buf + 4, name, 4);
	if (len) {
		memcpy(buf + 8, data, len);
	}
	put32(buf + 8 + len, crc(buf + 4, len + 4));
	assert_int_equal(fwrite(buf, 1, len + 12, f), len + 12);
}

/* @rows: filter bytes included. Compressed is what the header says, and no more. */
static void make_png(uint32_t w, uint32_t h, uint8_t depth, uint8_t colours, const uint8_t *palette, uint32_t palette_len, const uint8_t *rows, uint16_t len)
{
	uint8_t header[13] = {0}, data[512] = {0x78, 0x01, 1, (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)~len, (uint8_t)(~len >> 8)};
	uint32_t a = 1, b = 0;
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_true(len + 11u <= sizeof(data));
	fwrite("\x89PNG\r\n\x1a\n", 1, 8, f);
	put32(header, w);
	put32(header + 4, h);
	header[8] = depth;
	header[9] = colours;
	chunk(f, "IHDR", header, sizeof(header));
	if (palette) {
		chunk(f, "PLTE", palette, palette_len);
	}
	if (len) {
		memcpy(data + 7, rows, len);
	}
	for (unsigned i = 0; i < len; i++) {
		a = (a + rows[i]) % 65521;
		b = (b + a) % 65521;
	}
	put32(data + 7 + len, b << 16 | a);
	chunk(f, "IDAT", data, len + 11u);
	chunk(f, "IEND", NULL, 0);
	fclose(f);
}

static int read_it(void)
{
	pixels = NULL;
	err[0] = '\0';
	return png_file_read(path, &pixels, &width, &height, err, sizeof(err));
}

static void expect_pixels(uint32_t w, uint32_t h, const uint8_t *want)
{
	assert_int_equal(read_it(), 0);
	assert_int_equal(width, w);
	assert_int_equal(height, h);
	assert_memory_equal(pixels, want, (size_t)w * h * 4);
	free(pixels);
}

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void test_png_colours_lie_as_on_a_screen(void **state)
{
	static const uint8_t rows[] = {0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12};
	static const uint8_t want[] = {3, 2, 1, 255, 6, 5, 4, 255, 9, 8, 7, 255, 12, 11, 10, 255};

	(void)state;
	make_png(2, 2, 8, RGB, NULL, 0, rows, sizeof(rows));
	expect_pixels(2, 2, want);
}

static void test_png_what_is_transparent_lies_on_black(void **state)
{
	static const uint8_t rows[] = {0, 10, 20, 30, 255, 200, 100, 50, 0};
	static const uint8_t want[] = {30, 20, 10, 255, 0, 0, 0, 255};

	(void)state;
	make_png(2, 1, 8, RGBA, NULL, 0, rows, sizeof(rows));
	expect_pixels(2, 1, want);
}

static void test_png_other_ways_to_say_a_colour(void **state)
{
	static const uint8_t palette[] = {1, 2, 3, 40, 50, 60}, by_palette[] = {0, 1, 0}, grey[] = {0, 77}, deep[] = {0, 0x12, 0x12, 0x34, 0x34, 0x56, 0x56};

	(void)state;
	make_png(2, 1, 8, PALETTE, palette, sizeof(palette), by_palette, sizeof(by_palette));
	expect_pixels(2, 1, (const uint8_t[]){60, 50, 40, 255, 3, 2, 1, 255});
	make_png(1, 1, 8, GREY, NULL, 0, grey, sizeof(grey));
	expect_pixels(1, 1, (const uint8_t[]){77, 77, 77, 255});
	make_png(1, 1, 16, RGB, NULL, 0, deep, sizeof(deep));
	expect_pixels(1, 1, (const uint8_t[]){0x56, 0x34, 0x12, 255});
}

/* A file of a hundred bytes that says it is a picture of a thousand megabytes is refused, and no memory is taken for it. */
static void test_png_too_large_is_refused_before_there_is_memory(void **state)
{
	static const uint8_t rows[] = {0, 1, 2, 3};
	static const uint32_t sizes[][2] = {{PNG_FILE_SIZE_MAX + 1, 1}, {1, PNG_FILE_SIZE_MAX + 1}, {1000000, 1000000}};
	struct rusage before, after;

	(void)state;
	getrusage(RUSAGE_SELF, &before);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char want[60];

		make_png(sizes[i][0], sizes[i][1], 8, RGB, NULL, 0, rows, sizeof(rows));
		assert_true(read_it() < 0);
		assert_null(pixels);
		/* Of a million each way libpng says something of its own. */
		snprintf(want, sizeof(want), "%ux%u pixels are too many", sizes[i][0], sizes[i][1]);
		assert_true(i == 2 || strcmp(err, want) == 0);
		assert_true(err[0] != '\0');
	}
	getrusage(RUSAGE_SELF, &after);
	assert_true(after.ru_maxrss - before.ru_maxrss < 100000);
}

/* As large as a picture may be. */
static void test_png_as_long_as_it_may_be(void **state)
{
	static uint8_t rgb[PNG_FILE_SIZE_MAX * 3];
	FILE *f;

	(void)state;
	for (unsigned turn = 0; turn < 2; turn++) {
		uint32_t w = turn ? 1 : PNG_FILE_SIZE_MAX, h = turn ? PNG_FILE_SIZE_MAX : 1;

		for (unsigned i = 0; i < sizeof(rgb); i++) {
			rgb[i] = (uint8_t)(i * 7 + i / 300 + turn);
		}
		f = fopen(path, "wb");
		assert_non_null(f);
		assert_int_equal(png_file_write(f, rgb, w, h, err, sizeof(err)), 0);
		fclose(f);
		assert_int_equal(read_it(), 0);
		assert_int_equal(width, w);
		assert_int_equal(height, h);
		for (unsigned i = 0; i < PNG_FILE_SIZE_MAX; i++) {
			assert_int_equal(pixels[i * 4], rgb[i * 3 + 2]);
			assert_int_equal(pixels[i * 4 + 1], rgb[i * 3 + 1]);
			assert_int_equal(pixels[i * 4 + 2], rgb[i * 3]);
			assert_int_equal(pixels[i * 4 + 3], 255);
		}
		free(pixels);
	}
}

static void test_png_cut_short_or_none(void **state)
{
	static const uint8_t rows[] = {0, 1, 2, 3, 0, 4, 5, 6};
	off_t len;
	FILE *f;

	(void)state;
	make_png(1, 2, 8, RGB, NULL, 0, rows, sizeof(rows));
	f = fopen(path, "rb");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	len = ftell(f);
	fclose(f);
	/* The end mark may be missing, of the picture nothing. */
	for (off_t cut = len - 13; cut >= 0; cut--) {
		make_png(1, 2, 8, RGB, NULL, 0, rows, sizeof(rows));
		assert_int_equal(truncate(path, cut), 0);
		if (read_it() == 0) {
			/* What libpng makes of a checksum that is cut; the pixels are all there. */
			assert_true(cut >= len - 12 - 8);
			assert_memory_equal(pixels, ((const uint8_t[]){3, 2, 1, 255, 6, 5, 4, 255}), 8);
			free(pixels);
			continue;
		}
		assert_int_equal(strncmp(err, "is no PNG, or not all of one: ", 30), 0);
		assert_true(err[30] != '\0');
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(read_it(), -ENOENT);
	assert_string_equal(err, "No such file or directory");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(read_it(), -EISDIR);
	assert_string_equal(err, "is a directory");
	assert_int_equal(rmdir(path), 0);
	f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
}

/* A file that is made is one that others read: its parts are what PNG says, with their sums. */
static void test_png_written_for_others(void **state)
{
	static const uint8_t rgb[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
	uint8_t file[2000];
	size_t len, at = 8;
	bool has_data = false;
	FILE *f = fopen(path, "wb");

	(void)state;
	assert_non_null(f);
	assert_int_equal(png_file_write(f, rgb, 4, 1, err, sizeof(err)), 0);
	/* It is in the file before that is closed. */
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	fclose(f);
	f = fopen(path, "rb");
	assert_non_null(f);
	len = fread(file, 1, sizeof(file), f);
	fclose(f);
	assert_memory_equal(file, "\x89PNG\r\n\x1a\n", 8);
	assert_memory_equal(file + 12, "IHDR", 4);
	assert_int_equal(get32(file + 16), 4);
	assert_int_equal(get32(file + 20), 1);
	assert_int_equal(file[24], 8);
	assert_int_equal(file[25], RGB);
	while (at + 12 <= len) {
		uint32_t n = get32(file + at);

		assert_true(n <= len - at - 12);
		assert_int_equal(get32(file + at + 8 + n), crc(file + at + 4, n + 4));
		has_data |= memcmp(file + at + 4, "IDAT", 4) == 0;
		at += n + 12;
	}
	assert_int_equal(at, len);
	assert_true(has_data);
	assert_memory_equal(file + len - 8, "IEND", 4);
}

/* A disk that is full is not found out by the one who reads the picture. */
static void test_png_onto_a_full_disk(void **state)
{
	static const uint8_t rgb[30] = {1};
	FILE *f = fopen("/dev/full", "wb");

	(void)state;
	assert_non_null(f);
	assert_true(png_file_write(f, rgb, 10, 1, err, sizeof(err)) < 0);
	assert_true(err[0] != '\0');
	fclose(f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_png_colours_lie_as_on_a_screen),
		cmocka_unit_test(test_png_what_is_transparent_lies_on_black),
		cmocka_unit_test(test_png_other_ways_to_say_a_colour),
		cmocka_unit_test(test_png_too_large_is_refused_before_there_is_memory),
		cmocka_unit_test(test_png_as_long_as_it_may_be),
		cmocka_unit_test(test_png_cut_short_or_none),
		cmocka_unit_test(test_png_written_for_others),
		cmocka_unit_test(test_png_onto_a_full_disk),
	};

	return cmocka_run_group_tests_name("png_file", tests, make_file, remove_file);
}
