/* SPDX-License-Identifier: MIT */
/* What can be said without a KVM: the text, the threads, and that the largest answer fits. */
#include "vmm/vm_stats.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/control.h"
#include "boot/x86_layout.h"

static char *print(const json_t *stats)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	vm_stats_print(stats, f);
	fclose(f);
	return text;
}

static void test_vm_stats_print_is_a_line_for_each_object(void **state)
{
	json_t *stats = json_loads("{\"process\":{\"cpu_us\":7}, \"vcpu\":[{\"runs\":1},{\"runs\":2,\"port_in\":0}],"
		"\"threads\":[{\"name\":\"a b\",\"waits\":3}], \"vm\":{\"pages_2m\":128}}", 0, NULL);
	char *text = print(stats);

	(void)state;
	assert_string_equal(text, "tinyvmm: stats vm: pages_2m=128\n"
		"tinyvmm: stats vcpu 0: runs=1\n"
		"tinyvmm: stats vcpu 1: runs=2 port_in=0\n"
		"tinyvmm: stats threads a b: waits=3\n"
		"tinyvmm: stats process: cpu_us=7\n");
	free(text);
	json_decref(stats);
}

static void test_vm_stats_print_of_nothing_is_nothing(void **state)
{
	char *text = print(NULL);

	(void)state;
	assert_string_equal(text, "");
	free(text);
}

static void test_vm_stats_without_kvm_has_threads_and_process(void **state)
{
	const struct kvm kvm = {.fd = -1, .vm_fd = -1};
	json_t *stats = vm_stats_json(&kvm, NULL, 0), *thread;

	(void)state;
	assert_null(json_object_get(stats, "vm"));
	assert_null(json_object_get(stats, "vcpus"));
	assert_int_equal(json_array_size(json_object_get(stats, "vcpu")), 0);
	thread = json_array_get(json_object_get(stats, "threads"), 0);
	assert_string_equal(json_string_value(json_object_get(thread, "name")), "vm_stats_test");
	assert_true(json_integer_value(json_object_get(json_object_get(stats, "process"), "max_rss_kib")) > 0);
	json_decref(stats);
}

static json_int_t own(const char *key)
{
	const struct kvm kvm = {.fd = -1, .vm_fd = -1};
	json_t *stats = vm_stats_json(&kvm, NULL, 0);
	json_int_t n = json_integer_value(json_object_get(json_array_get(json_object_get(stats, "threads"), 0), key));

	json_decref(stats);
	return n;
}

static void test_vm_stats_system_calls_of_a_thread(void **state)
{
	json_int_t reads = own("reads"), writes = own("writes");
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char c = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(read(fd, &c, 1), 0);
		assert_int_equal(i < 300 ? write(fd, &c, 1) : 1, 1);
	}
	close(fd);
	/* Looking costs some, of one kind. */
	reads = own("reads") - reads;
	assert_true(reads >= 1000 && reads < 1300);
	assert_int_equal(own("writes") - writes, 300);
}

static void test_vm_stats_a_vcpu_that_has_ended_keeps_its_counts(void **state)
{
	const struct kvm kvm = {.fd = -1, .vm_fd = -1};
	const struct vcpu vcpu = {.fd = -1, .counts = {.runs = 10, .port_in = 1, .port_out = 2, .mmio_read = 3, .mmio_write = 4, .cpu_us = 5, .waits = 6}};
	json_t *stats = vm_stats_json(&kvm, &vcpu, 1);
	char *text = json_dumps(json_object_get(stats, "vcpu"), JSON_COMPACT);

	(void)state;
	assert_string_equal(text, "[{\"runs\":10,\"port_in\":1,\"port_out\":2,\"mmio_read\":3,\"mmio_write\":4,\"cpu_us\":5,\"waits\":6}]");
	free(text);
	json_decref(stats);
}

static void test_vm_stats_the_largest_vm_fits_into_an_answer(void **state)
{
	/* A year of a million exits a second, on every vCPU. */
	const uint64_t n = 31536000000000;
	const struct kvm kvm = {.fd = -1, .vm_fd = -1};
	static struct vcpu vcpu[X86_CPUS_MAX];
	json_t *stats, *threads;
	char *text;

	(void)state;
	for (unsigned i = 0; i < X86_CPUS_MAX; i++) {
		vcpu[i] = (struct vcpu){.fd = -1, .counts = {n, n, n, n, n, n, n}};
	}
	stats = vm_stats_json(&kvm, vcpu, X86_CPUS_MAX);
	threads = json_object_get(stats, "threads");
	while (json_array_size(threads) < VM_STATS_THREADS_MAX) {
		json_array_append_new(threads, json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", "iou-wrk-1234567", "cpu_us", (json_int_t)n, "waits",
			(json_int_t)n, "reads", (json_int_t)n, "writes", (json_int_t)n));
	}
	text = json_dumps(stats, JSON_COMPACT);
	/* And room for KVM's two groups: 80 counters of 30 characters; and for devices, with names of 20 and six counters each. */
	assert_true(strlen(text) + 80 * 30 + X86_VIRTIO_MAX * 210 < CONTROL_ANSWER_MAX);
	free(text);
	json_decref(stats);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vm_stats_print_is_a_line_for_each_object),
		cmocka_unit_test(test_vm_stats_print_of_nothing_is_nothing),
		cmocka_unit_test(test_vm_stats_without_kvm_has_threads_and_process),
		cmocka_unit_test(test_vm_stats_system_calls_of_a_thread),
		cmocka_unit_test(test_vm_stats_a_vcpu_that_has_ended_keeps_its_counts),
		cmocka_unit_test(test_vm_stats_the_largest_vm_fits_into_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
