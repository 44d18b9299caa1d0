/* SPDX-License-Identifier: MIT */
/* Linked to a test program by tests/mutants/run: of its tests only the one that $MUTANT_TEST names is run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

__attribute__((constructor)) static void only(void)
{
	cmocka_set_test_filter(getenv("MUTANT_TEST"));
}
