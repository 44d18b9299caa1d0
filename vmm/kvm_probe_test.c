/* SPDX-License-Identifier: MIT */
/* What the probe makes of a guest's speed: this program's ioctl plays a KVM on a busy machine, or one that is none. */
#include "vmm/kvm_probe.h"

#include <errno.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <cmocka.h>

#define DATA_AT 2048

static union {
	struct kvm_run run;
	uint8_t bytes[4096];
} page;
static unsigned runs, slow_runs, fail_at; /* of the first runs; 0: never */

int ioctl(int fd, unsigned long request, ...)
{
	/* Longer than a processor takes to count, by more than is forgiven. */
	const struct timespec slow = {.tv_nsec = 400000000};

	(void)fd;
	if (request != KVM_RUN || ++runs == fail_at) {
		errno = ENXIO;
		return -1;
	}
	if (runs <= slow_runs) {
		nanosleep(&slow, NULL);
	}
	page.run.exit_reason = KVM_EXIT_IO;
	page.run.io.port = 0xf4;
	page.run.io.data_offset = DATA_AT;
	page.bytes[DATA_AT] = 42;
	return 0;
}

static int probe(unsigned slow, unsigned fail, char why[400])
{
	runs = 0;
	slow_runs = slow;
	fail_at = fail;
	why[0] = '\0';
	return kvm_probe_speed(-1, &page.run, why, 400);
}

static void test_kvm_probe_one_fast_count_is_proof(void **state)
{
	char why[400];

	(void)state;
	assert_int_equal(probe(0, 0, why), 0);
	assert_int_equal(runs, 1);
}

/* Somebody else had the processor meanwhile. */
static void test_kvm_probe_interrupted_counts_are_forgiven(void **state)
{
	char why[400];

	(void)state;
	assert_int_equal(probe(2, 0, why), 0);
	assert_int_equal(runs, 3);
	assert_string_equal(why, "");
}

static void test_kvm_probe_slow_each_time_is_no_kvm(void **state)
{
	char why[400];

	(void)state;
	assert_int_equal(probe(1000, 0, why), -EIO);
	assert_non_null(strstr(why, "emulates guest code"));
	assert_in_range(runs, 3, 16);
}

static void test_kvm_probe_failures_are_no_slowness(void **state)
{
	char why[400];

	(void)state;
	assert_int_equal(probe(0, 1, why), -ENXIO);
	assert_string_equal(why, "");
	assert_int_equal(probe(1000, 2, why), -ENXIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kvm_probe_one_fast_count_is_proof),
		cmocka_unit_test(test_kvm_probe_interrupted_counts_are_forgiven),
		cmocka_unit_test(test_kvm_probe_slow_each_time_is_no_kvm),
		cmocka_unit_test(test_kvm_probe_failures_are_no_slowness),
	};

	return cmocka_run_group_tests_name("kvm_probe", tests, NULL, NULL);
}
