/* SPDX-License-Identifier: MIT */
/* Levels, printable text, and that a guest cannot fill a disk with its mistakes. */
#include "vmm/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

static char lines[32][1200];
static enum log_level levels[32];
static unsigned nlines;

static void keep(enum log_level level, const char *line)
{
	levels[nlines] = level;
	snprintf(lines[nlines++], sizeof(lines[0]), "%s", line);
}

static int set_up(void **state)
{
	(void)state;
	nlines = 0;
	log_set_hook(keep);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	log_set_hook(NULL);
	log_set_level(LOG_WARN);
	return 0;
}

static void test_log_level_hides_what_is_below(void **state)
{
	(void)state;
	log_msg(LOG_INFO, "hidden");
	log_msg(LOG_WARN, "seen %d", 1);
	log_set_level(LOG_DEBUG);
	log_msg(LOG_DEBUG, "seen 2");
	log_set_level(LOG_ERR);
	log_msg(LOG_WARN, "hidden");
	assert_int_equal(nlines, 2);
	assert_string_equal(lines[0], "seen 1");
	assert_int_equal(levels[0], LOG_WARN);
	assert_string_equal(lines[1], "seen 2");
}

static void test_log_errno_takes_either_sign(void **state)
{
	(void)state;
	log_errno(LOG_ERR, ENOENT, "a");
	log_errno(LOG_ERR, -ENOENT, "b");
	assert_string_equal(lines[0], "a: No such file or directory");
	assert_string_equal(lines[1], "b: No such file or directory");
}

/* A guest's text must not act on the terminal a message is printed on. */
static void test_log_nothing_for_a_terminal_leaves(void **state)
{
	(void)state;
	log_msg(LOG_ERR, "a\x1b[2Jb\nc\x7f");
	assert_string_equal(lines[0], "a?[2Jb?c?");
	log_msg(LOG_ERR, "\xc3\xbc\xc2\x9b" "1m\xc2\x80\xc2\xa0");
	assert_string_equal(lines[1], "\xc3\xbc??1m??\xc2\xa0");
}

static void test_log_long_message_is_one_line(void **state)
{
	static char text[5000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	log_errno(LOG_ERR, EIO, "%s", text);
	assert_int_equal(nlines, 1);
	assert_in_range(strlen(lines[0]), 1000, 1023);
}

static void test_log_guest_cannot_flood(void **state)
{
	struct log_limit limit = {.total = 0}, other = {.total = 0};
	unsigned dropped;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		log_guest(&limit, "dev", "round %d", i);
	}
	/* The clock may have crossed into another second or two meanwhile. */
	assert_in_range(nlines, LOG_GUEST_LINES_PER_SECOND, sizeof(lines) / sizeof(lines[0]) - 4);
	assert_string_equal(lines[0], "dev: round 0");
	assert_int_equal(limit.total, 100000);
	/* Another object is not its fault. */
	nlines = 0;
	log_guest(&other, "calm", "hello");
	assert_string_equal(lines[0], "calm: hello");
	/* The next window says how many are missing. */
	dropped = limit.suppressed;
	assert_true(dropped > 0);
	limit.window_ns = 1;
	nlines = 0;
	log_guest(&limit, "dev", "again");
	assert_int_equal(nlines, 2);
	assert_int_equal(strtoul(lines[0] + strlen("dev: "), NULL, 10), dropped);
	assert_string_equal(lines[1], "dev: again");
}

/* What a person reads: prefix, one newline, brackets around it. */
static int out_fd;

static void before(void)
{
	assert_int_equal(write(out_fd, "<", 1), 1);
}

static void after(void)
{
	assert_int_equal(write(out_fd, ">", 1), 1);
}

static void test_log_writes_to_standard_error(void **state)
{
	int saved = dup(STDERR_FILENO), pipe_fd[2];
	char got[64] = "";

	(void)state;
	log_set_hook(NULL);
	assert_int_equal(pipe(pipe_fd), 0);
	out_fd = pipe_fd[1];
	dup2(pipe_fd[1], STDERR_FILENO);
	log_set_brackets(before, after);
	log_msg(LOG_WARN, "w");
	log_set_brackets(NULL, NULL);
	log_msg(LOG_ERR, "e");
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_true(read(pipe_fd[0], got, sizeof(got) - 1) > 0);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	assert_string_equal(got, "<tinyvmm: warning: w\n>tinyvmm: error: e\n");
}

/* The log file has more than the terminal, and an end. */
static void test_log_file_gets_what_quiet_hides(void **state)
{
	char got[128] = "";
	int pipe_fd[2];

	(void)state;
	assert_int_equal(pipe(pipe_fd), 0);
	log_set_hook(NULL);
	log_set_level(LOG_ERR);
	log_set_file(pipe_fd[1]);
	log_msg(LOG_INFO, "kept");
	log_msg(LOG_DEBUG, "not kept");
	log_set_file(-1);
	log_msg(LOG_INFO, "nowhere");
	assert_true(read(pipe_fd[0], got, sizeof(got) - 1) > 0);
	assert_string_equal(got, "tinyvmm: kept\n");
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

static void test_log_file_does_not_grow_for_ever(void **state)
{
	char path[] = "/tmp/log_test.XXXXXX", text[1000];
	int fd = mkstemp(path);

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_set_hook(NULL);
	log_set_level(LOG_ERR);
	log_set_file(fd);
	for (int i = 0; i < 3000; i++) {
		log_msg(LOG_WARN, "%s", text);
	}
	log_set_file(-1);
	assert_in_range(lseek(fd, 0, SEEK_END), LOG_FILE_MAX / 2, LOG_FILE_MAX + 2000);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_log_level_hides_what_is_below, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_errno_takes_either_sign, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_nothing_for_a_terminal_leaves, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_long_message_is_one_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_guest_cannot_flood, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_file_gets_what_quiet_hides, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_file_does_not_grow_for_ever, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_writes_to_standard_error, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
