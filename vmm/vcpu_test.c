/* SPDX-License-Identifier: MIT */
/*
 * The loop around KVM_RUN without KVM: this program's ioctl plays the kernel. A guest that writes to a port is all there is here: what
 * happens while the device behind it has no room.
 */
#include "vmm/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define RUN_LEN (KVM_RUN_LEN + 4096)
#define DATA_AT 2048
#define TEXT "three words of text"
#define TEXT_LEN (sizeof(TEXT) - 1)

static struct vcpu vcpu;
static uint32_t data_at = DATA_AT;
static char got[256];
static size_t ngot;
static unsigned room; /* bytes the device takes (atomic) */
static bool room_at_once; /* as soon as it has refused something */
static bool end_at_once; /* then somebody asks for the registers and ends the VM */
static unsigned offered, parked, opened, gone, faults, runs, dumps; /* atomic */

static unsigned count_of(const unsigned *n)
{
	return __atomic_load_n(n, __ATOMIC_SEQ_CST);
}

static void add(unsigned *n)
{
	__atomic_add_fetch(n, 1, __ATOMIC_SEQ_CST);
}

/* The guest: one string instruction that writes TEXT, then it sleeps until a signal comes. */
int ioctl(int fd, unsigned long request, ...)
{
	struct kvm_run *run = vcpu.run;
	const struct timespec pause = {.tv_nsec = 200000};

	(void)fd;
	if (request == KVM_GET_REGS) {
		add(&dumps);
	}
	if (request != KVM_RUN) {
		errno = ENOTTY;
		return -1;
	}
	if (count_of(&runs) == 0) {
		add(&runs);
		run->exit_reason = KVM_EXIT_IO;
		run->io.direction = KVM_EXIT_IO_OUT;
		run->io.port = 0x3f8;
		run->io.size = 1;
		run->io.count = TEXT_LEN;
		run->io.data_offset = data_at;
		memcpy((char *)run + DATA_AT, TEXT, TEXT_LEN);
		return 0;
	}
	add(&runs);
	while (!__atomic_load_n(&run->immediate_exit, __ATOMIC_RELAXED)) {
		nanosleep(&pause, NULL);
	}
	errno = EINTR;
	return -1;
}

static void give_room(unsigned bytes)
{
	__atomic_store_n(&room, bytes, __ATOMIC_SEQ_CST);
	vcpu_retry(&vcpu);
}

static bool on_out(void *ctx, uint16_t port, const void *src, uint32_t len)
{
	(void)ctx;
	assert_int_equal(port, 0x3f8);
	assert_int_equal(len, 1);
	add(&offered);
	if (count_of(&room) == 0) {
		if (room_at_once) {
			give_room(100);
		}
		if (end_at_once) {
			vcpu_dump(&vcpu);
			vcpu_stop(&vcpu);
		}
		return false;
	}
	__atomic_sub_fetch(&room, 1, __ATOMIC_SEQ_CST);
	got[ngot++] = *(const char *)src;
	return true;
}

static void on_fault(void *ctx, enum vcpu_fault fault, const char *text)
{
	(void)ctx;
	(void)fault;
	(void)text;
	add(&faults);
}

static void on_parked(void *ctx)
{
	(void)ctx;
	add(&parked);
}

static void on_stats_opened(void *ctx)
{
	(void)ctx;
	add(&opened);
}

static void on_gone(void *ctx)
{
	(void)ctx;
	add(&gone);
}

/* Waits for what another thread will do; a test that waits in vain fails. */
static void wait_for(const unsigned *n, unsigned at_least)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (unsigned i = 0; i < 10000 && count_of(n) < at_least; i++) {
		nanosleep(&pause, NULL);
	}
	assert_true(count_of(n) >= at_least);
}

static const struct vcpu_bus bus = {
	.port_out = on_out, .fault = on_fault, .parked = on_parked, .stats_opened = on_stats_opened, .gone = on_gone};

static void make_vcpu(unsigned bytes)
{
	void *run = aligned_alloc(4096, RUN_LEN);

	assert_non_null(run);
	memset(run, 0, RUN_LEN);
	ngot = 0;
	offered = parked = opened = gone = faults = runs = dumps = 0;
	room = bytes;
	vcpu = (struct vcpu){.fd = -1, .run = run, .bus = &bus};
}

/* A vCPU whose guest has begun to write to a device that has room for @bytes. */
static void start(unsigned bytes)
{
	make_vcpu(bytes);
	assert_int_equal(vcpu_start(&vcpu), 0);
	wait_for(&offered, bytes + 1);
}

static int set_up_all(void **state)
{
	sigset_t set;

	(void)state;
	sigemptyset(&set);
	vcpu_init_signal(&set);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	vcpu_stop(&vcpu);
	vcpu_join(&vcpu);
	free(vcpu.run);
	vcpu.run = NULL;
	room_at_once = end_at_once = false;
	data_at = DATA_AT;
	return 0;
}

static void expect_all_of_it(void)
{
	wait_for(&runs, 2);
	assert_int_equal(ngot, TEXT_LEN);
	assert_memory_equal(got, TEXT, TEXT_LEN);
	assert_int_equal(vcpu_get_counts(&vcpu).port_out, 1);
	assert_int_equal(count_of(&faults), 0);
}

static void test_vcpu_goes_on_where_the_device_had_no_room(void **state)
{
	(void)state;
	start(6);
	assert_int_equal(count_of(&runs), 1);
	give_room(5);
	wait_for(&offered, 6 + 1 + 5 + 1);
	assert_int_equal(count_of(&runs), 1);
	assert_memory_equal(got, TEXT, 11);
	give_room(100);
	expect_all_of_it();
}

static void test_vcpu_without_room_can_be_paused(void **state)
{
	unsigned before;

	(void)state;
	start(6);
	vcpu_pause(&vcpu);
	wait_for(&parked, 1);
	assert_true(vcpu_is_parked(&vcpu));
	/* Room that comes meanwhile is for later. */
	before = count_of(&offered);
	give_room(100);
	usleep(20000);
	assert_int_equal(count_of(&offered), before);
	vcpu_resume(&vcpu);
	expect_all_of_it();
}

static void test_vcpu_without_room_opens_its_counters(void **state)
{
	(void)state;
	start(0);
	vcpu_open_stats(&vcpu);
	wait_for(&opened, 1);
	assert_int_equal(count_of(&runs), 1);
	give_room(100);
	expect_all_of_it();
}

static void test_vcpu_without_room_can_be_stopped(void **state)
{
	(void)state;
	start(6);
	vcpu_stop(&vcpu);
	wait_for(&gone, 1);
	assert_int_equal(ngot, 6);
	assert_int_equal(count_of(&runs), 1);
}

/* Room that comes between the device's answer and the wait is not missed. */
static void test_vcpu_room_that_comes_at_once_is_not_missed(void **state)
{
	(void)state;
	room_at_once = true;
	start(0);
	expect_all_of_it();
}

static void test_vcpu_paused_shows_its_registers(void **state)
{
	(void)state;
	start(6);
	vcpu_pause(&vcpu);
	wait_for(&parked, 1);
	vcpu_dump(&vcpu);
	wait_for(&dumps, 1);
	assert_true(vcpu_is_parked(&vcpu));
}

static void test_vcpu_its_thread_has_a_number_and_a_name(void **state)
{
	char path[64], name[16] = "";
	FILE *f;

	(void)state;
	assert_int_equal(vcpu_tid(&vcpu), 0);
	start(6);
	vcpu_pause(&vcpu);
	wait_for(&parked, 1);
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", vcpu_tid(&vcpu));
	f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(name, sizeof(name), f));
	fclose(f);
	assert_string_equal(name, "vcpu0\n");
	assert_true(vcpu_busy_ns(&vcpu) > 0);
}

/* Who ends a guest that hangs wants to know where it was, and asks for both at once. */
static void test_vcpu_shows_its_registers_before_it_ends(void **state)
{
	(void)state;
	end_at_once = true;
	start(0);
	wait_for(&gone, 1);
	assert_int_equal(count_of(&dumps), 1);
}

/* On a busy host the signal comes before the new thread has had a processor, and finds nothing to tell it to. */
static void test_vcpu_hears_what_was_asked_before_it_ran(void **state)
{
	(void)state;
	make_vcpu(100);
	vcpu_open_stats(&vcpu);
	vcpu_dump(&vcpu);
	assert_int_equal(vcpu_start(&vcpu), 0);
	wait_for(&opened, 1);
	wait_for(&dumps, 1);
	expect_all_of_it();
}

/* A KVM that has the data of ports elsewhere: nothing there is read. */
static void test_vcpu_data_behind_what_is_mapped_is_a_fault(void **state)
{
	(void)state;
	data_at = KVM_RUN_LEN - TEXT_LEN + 1;
	make_vcpu(100);
	assert_int_equal(vcpu_start(&vcpu), 0);
	wait_for(&faults, 1);
	assert_int_equal(count_of(&offered), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_vcpu_goes_on_where_the_device_had_no_room),
		T(test_vcpu_without_room_can_be_paused),
		T(test_vcpu_without_room_opens_its_counters),
		T(test_vcpu_without_room_can_be_stopped),
		T(test_vcpu_room_that_comes_at_once_is_not_missed),
		T(test_vcpu_paused_shows_its_registers),
		T(test_vcpu_its_thread_has_a_number_and_a_name),
		T(test_vcpu_shows_its_registers_before_it_ends),
		T(test_vcpu_hears_what_was_asked_before_it_ran),
		T(test_vcpu_data_behind_what_is_mapped_is_a_fault),
	};

	return cmocka_run_group_tests_name("vcpu", tests, set_up_all, NULL);
}
