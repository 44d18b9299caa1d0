/* SPDX-License-Identifier: MIT */
/* Which of the host's devices is meant. What its kernel says of them is seen in tests/system/evdev. */
#include "devices/evdev_host.h"

#include <linux/input.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const struct evdev_node keyboard = {.name = "ACME Keyboard", .uniq = "1234", .phys = "usb-1/input0", .desc = {.bustype = BUS_USB, .vendor = 0x046d, .product = 0xc31c}};

static void test_evdev_host_matches_all_that_is_said(void **state)
{
	(void)state;
	assert_true(evdev_host_matches(&keyboard, &(struct evdev_match){0}));
	assert_true(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "*Key*", .uniq = "12?4", .phys = "*/input0", .has_vendor = true, .vendor = 0x046d, .has_product = true, .product = 0xc31c}));
	assert_false(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "Key*"}));
	assert_false(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "*Key*", .uniq = "4321"}));
	assert_false(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "*Key*", .phys = "*/input1"}));
	assert_false(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "*Key*", .has_vendor = true, .vendor = 1}));
	assert_false(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "*Key*", .has_product = true}));
}

static void test_evdev_host_matches_no_twin(void **state)
{
	struct evdev_node twin = {.name = EVDEV_TWIN_NAME "ACME Keyboard", .desc = {.bustype = BUS_VIRTUAL}};

	(void)state;
	assert_false(evdev_host_matches(&twin, &(struct evdev_match){.name = "*ACME*"}));
	assert_false(evdev_host_matches(&twin, &(struct evdev_match){.name = "tinyvmm*"}));
	assert_false(evdev_host_matches(&twin, &(struct evdev_match){.has_vendor = true}));
	/* Whoever calls his hardware so gets it. */
	twin.desc.bustype = BUS_USB;
	assert_true(evdev_host_matches(&twin, &(struct evdev_match){.name = "*ACME*"}));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_evdev_host_matches_all_that_is_said),
		cmocka_unit_test(test_evdev_host_matches_no_twin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
