/* SPDX-License-Identifier: MIT */
/*
 * What `test` tells: lines for people, TAP 13, JUnit. Text from guests is cleaned for each of them.
 * Thread: the main thread.
 */
#ifndef VMM_TEST_REPORT_H
#define VMM_TEST_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum test_state { TEST_WAITING, TEST_RUNNING, TEST_PASSED, TEST_FAILED, TEST_SKIPPED };

struct test_case {
	const char *file;
	char name[128]; /* unique in a run, and a file name */
	enum test_state state;
	bool serial; /* nobody has configured the serial port */
	uint64_t memory; /* what its VM may take, bytes; 0: not known yet */
	int pid, pid_fd;
	uint64_t started_ns, took_ns;
	int code; /* exit code of the run */
	char reason[32], text[512]; /* "panic" and the line, "config" and the mistake, ... */
	char *tail; /* the last lines of its console, NULL: none */
};

/* One case that has just ended, as line number @n for people or TAP. */
void test_report_case(const struct test_case *c, unsigned n, bool tap, FILE *out);

/* Return: false when it could not be written. */
bool test_report_junit(const struct test_case *cases, unsigned n, uint64_t took_ns, FILE *out);

#endif
