/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "devices/gpu_egl.h"
#include "devices/gpu_trial.h"
#include "tests/support/mesa.h"

static char why[320];

static void test_trial_draws(void **state)
{
	(void)state;
	assert_int_equal(gpu_trial_draw("surfaceless", why, sizeof(why)), 0);
}

static void test_trial_has_nothing_to_draw_with(void **state)
{
	(void)state;
	assert_int_equal(gpu_trial_draw("/dev/null", why, sizeof(why)), -ENODEV);
	assert_string_equal(why, "/dev/null: no GPU");
}

static int keep_drivers(void **state)
{
	struct gpu_egl e;

	(void)state;
	assert_int_equal(gpu_egl_open(&e, "surfaceless", why, sizeof(why)), 0);
	mesa_keep_drivers();
	gpu_egl_close(&e);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trial_draws),
		cmocka_unit_test(test_trial_has_nothing_to_draw_with),
	};

	return cmocka_run_group_tests_name("trial", tests, keep_drivers, NULL);
}
