/* SPDX-License-Identifier: MIT */
/* EDID: what a guest reads out of it, and what edid-decode, where it is installed, thinks of it. */
#include "display/edid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const struct edid_monitor monitors[] = {
	{1280, 800, 60, 0, 0, 0}, {1920, 1080, 60, 520, 290, 1}, {1024, 768, 75, 0, 0, 2}, {640, 480, 60, 0, 0, 0}, {64, 64, 60, 0, 0, 0}, {1366, 768, 60, 0, 0, 0},
	{3840, 2160, 60, 0, 0, 15}, {1920, 1080, 360, 0, 0, 0}, {5120, 2880, 60, 0, 0, 0}, {4096, 2160, 30, 0, 0, 0}, {7680, 4320, 60, 1600, 900, 3},
	{16384, 16384, 60, 0, 0, 0}, {16384, 16384, 360, 0, 0, 0}, {64, 16384, 1, 0, 0, 0}, {4095, 64, 60, 0, 0, 0}, {800, 600, 1, 0, 0, 0},
};
#define NMONITORS (sizeof(monitors) / sizeof(monitors[0]))

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	for (size_t i = 0; i < n; i++) {
		s = (uint8_t)(s + p[i]);
	}
	return s;
}

struct mode {
	uint32_t width, height, width_mm, height_mm;
	double hz, pixels; /* of a frame, with what is blank */
};

/* As a driver reads them. */
static struct mode read_dtd(const uint8_t *p)
{
	struct mode m = {.width = p[2] | (p[4] & 0xf0u) << 4, .height = p[5] | (p[7] & 0xf0u) << 4, .width_mm = p[12] | (p[14] & 0xf0u) << 4,
		.height_mm = p[13] | (p[14] & 0xfu) << 8};
	uint32_t h = m.width + (p[3] | (p[4] & 0xfu) << 8), v = m.height + (p[6] | (p[7] & 0xfu) << 8);

	m.pixels = (double)h * v;
	m.hz = (p[0] | p[1] << 8) * 10000.0 / m.pixels;
	return m;
}

static uint32_t get16(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

static struct mode read_type_1(const uint8_t *p)
{
	struct mode m = {.width = get16(p + 4) + 1, .height = get16(p + 12) + 1};
	uint32_t clock = (p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16) + 1;

	m.pixels = (double)(m.width + get16(p + 6) + 1) * (m.height + get16(p + 14) + 1);
	m.hz = clock * 10000.0 / m.pixels;
	return m;
}

/* Blocks of data follow each other in the section: tag, revision, length. */
static const uint8_t *find_type_1(const uint8_t *block)
{
	const uint8_t *p = block + 5;

	assert_int_equal(block[0], 0x70);
	while (p[0] != 0x03) {
		p += 3 + p[2];
		assert_true(p < block + 120);
	}
	assert_int_equal(p[2], 20);
	assert_true(p[6] & 0x80); /* preferred */
	return p + 3;
}

static void test_edid_checksums_are_right(void **state)
{
	uint8_t edid[EDID_MAX];

	(void)state;
	for (size_t i = 0; i < NMONITORS; i++) {
		size_t n = edid_make(&monitors[i], edid);

		assert_true(n == EDID_BLOCK || n == EDID_MAX);
		assert_int_equal(edid[126], n / EDID_BLOCK - 1);
		assert_int_equal(sum(edid, EDID_BLOCK), 0);
		assert_int_equal(sum(edid + EDID_BLOCK, EDID_BLOCK), 0);
		assert_int_equal(sum(edid + EDID_BLOCK + 1, EDID_BLOCK - 2), 0);
	}
}

/* Size and rate are those asked for, wherever they are said. */
static void test_edid_preferred_mode_is_the_one_asked_for(void **state)
{
	uint8_t edid[EDID_MAX];

	(void)state;
	for (size_t i = 0; i < NMONITORS; i++) {
		const struct edid_monitor *want = &monitors[i];
		size_t n = edid_make(want, edid);
		struct mode got = n == EDID_BLOCK ? read_dtd(edid + 54) : read_type_1(find_type_1(edid + EDID_BLOCK));
		double error = got.hz / want->refresh_hz - 1, clock_error = (got.hz - want->refresh_hz) * got.pixels / 10000;

		assert_int_equal(got.width, want->width);
		assert_int_equal(got.height, want->height);
		/* Clocks go in steps of 10 kHz, and are 10 MHz or more. */
		assert_true(error < 0.001 && error > -0.001);
		/* The step that is nearest. */
		assert_true(clock_error < 0.501 && clock_error > -0.501);
	}
}

static void test_edid_limits_of_the_base_block(void **state)
{
	struct edid_monitor m = {.width = 4095, .height = 2160, .refresh_hz = 30};
	uint8_t edid[EDID_MAX];

	(void)state;
	assert_int_equal(edid_make(&m, edid), EDID_BLOCK);
	m.width = 4096;
	assert_int_equal(edid_make(&m, edid), EDID_MAX);
	m = (struct edid_monitor){.width = 1920, .height = 4095, .refresh_hz = 30};
	assert_int_equal(edid_make(&m, edid), EDID_BLOCK);
	m.height = 4096;
	assert_int_equal(edid_make(&m, edid), EDID_MAX);
	/* 655.35 MHz. */
	m = (struct edid_monitor){.width = 3840, .height = 2160, .refresh_hz = 60};
	assert_int_equal(edid_make(&m, edid), EDID_BLOCK);
	m.refresh_hz = 75;
	assert_int_equal(edid_make(&m, edid), EDID_MAX);
	assert_int_equal(read_dtd(edid + 54).width, 1280);
}

static void test_edid_physical_size(void **state)
{
	struct edid_monitor m = {.width = 1920, .height = 1080, .refresh_hz = 60, .width_mm = 527, .height_mm = 296};
	uint8_t edid[EDID_MAX];

	(void)state;
	edid_make(&m, edid);
	assert_int_equal(read_dtd(edid + 54).width_mm, 527);
	assert_int_equal(read_dtd(edid + 54).height_mm, 296);
	assert_int_equal(edid[21], 53);
	assert_int_equal(edid[22], 30);
	m.width_mm = m.height_mm = 0;
	edid_make(&m, edid);
	assert_int_equal(read_dtd(edid + 54).width_mm, 508); /* 96 dots an inch */
	/* Sizes beyond what there is room for are none. */
	m.width_mm = 2556;
	m.height_mm = 5000;
	edid_make(&m, edid);
	assert_int_equal(edid[21], 0);
	assert_int_equal(edid[22], 0);
	assert_int_equal(read_dtd(edid + 54).width_mm, 0);
	assert_int_equal(read_dtd(edid + 54).height_mm, 0);
}

static void test_edid_name_and_serial_number(void **state)
{
	struct edid_monitor m = {.width = 1280, .height = 800, .refresh_hz = 60, .number = 7};
	uint8_t edid[EDID_MAX], other[EDID_MAX];

	(void)state;
	edid_make(&m, edid);
	assert_memory_equal(edid + 72, "\0\0\0\xfc\0tinyvmm\n     ", 18);
	assert_memory_equal(edid + 90, "\0\0\0\xff\0"
				       "8\n           ", 18);
	assert_int_equal(edid[12], 8);
	m.number = 0x01020304;
	edid_make(&m, other);
	assert_memory_equal(other + 12, "\x05\x03\x02\x01", 4);
	assert_memory_not_equal(edid, other, EDID_BLOCK);
}

/* Another reader's opinion. */
static void test_edid_decode_finds_nothing_wrong(void **state)
{
	char path[] = "/tmp/edid_test.XXXXXX", command[128], line[256];
	uint8_t edid[EDID_MAX];
	bool conforms = true;
	int fd;

	(void)state;
	if (system("command -v edid-decode > /dev/null") != 0) {
		print_message("edid-decode is not installed\n");
		skip();
	}
	fd = mkstemp(path);
	assert_true(fd >= 0);
	for (size_t i = 0; i < NMONITORS; i++) {
		size_t n = edid_make(&monitors[i], edid);
		bool passed = false;
		FILE *f;

		assert_int_equal(pwrite(fd, edid, n, 0), n);
		assert_int_equal(ftruncate(fd, (off_t)n), 0);
		snprintf(command, sizeof(command), "edid-decode --check %s 2>&1", path);
		f = popen(command, "r");
		assert_non_null(f);
		while (fgets(line, sizeof(line), f)) {
			passed |= strncmp(line, "EDID conformity: PASS", 21) == 0;
			if (getenv("VERBOSE") || strstr(line, "FAIL")) {
				print_message("%u x %u: %s", monitors[i].width, monitors[i].height, line);
			}
		}
		pclose(f);
		conforms &= passed;
	}
	close(fd);
	unlink(path);
	assert_true(conforms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edid_checksums_are_right),
		cmocka_unit_test(test_edid_preferred_mode_is_the_one_asked_for),
		cmocka_unit_test(test_edid_limits_of_the_base_block),
		cmocka_unit_test(test_edid_physical_size),
		cmocka_unit_test(test_edid_name_and_serial_number),
		cmocka_unit_test(test_edid_decode_finds_nothing_wrong),
	};

	return cmocka_run_group_tests_name("edid", tests, NULL, NULL);
}
