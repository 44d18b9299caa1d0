/* SPDX-License-Identifier: MIT */
#include "vmm/cmdline.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "boot/x86_layout.h"

static struct config config_with(const char *cmdline, enum config_console console, enum config_console serial)
{
	return (struct config){
		.boot = {.cmdline = (char *)cmdline, .auto_cmdline = true}, .console.type = console, .serial.type = serial};
}

static void assert_cmdline(const struct config *cfg, enum boot_kind kind, const char *want)
{
	char buf[X86_CMDLINE_MAX + 1];

	assert_int_equal(cmdline_make(cfg, kind, buf, sizeof(buf)), 0);
	assert_string_equal(buf, want);
}

static void test_cmdline_make_adds_what_is_missing(void **state)
{
	struct config cfg = config_with("quiet", CONSOLE_STDIO, CONSOLE_NONE);

	(void)state;
	assert_cmdline(&cfg, BOOT_BZIMAGE, "quiet console=hvc0 pci=off panic=-1");
	cfg.serial.type = CONSOLE_STDIO;
	assert_cmdline(&cfg, BOOT_PVH, "quiet console=ttyS0 console=hvc0 pci=off panic=-1");
	cfg.gpu.mode = GPU_2D;
	assert_cmdline(&cfg, BOOT_PVH, "quiet console=tty0 console=ttyS0 console=hvc0 pci=off panic=-1");
	cfg.gpu.mode = GPU_OFF;
	cfg.console.type = CONSOLE_NONE;
	assert_cmdline(&cfg, BOOT_PVH, "quiet console=ttyS0 pci=off panic=-1");
	cfg.boot.cmdline = NULL;
	cfg.serial.type = CONSOLE_NONE;
	assert_cmdline(&cfg, BOOT_BZIMAGE, "pci=off panic=-1");
}

static void test_cmdline_make_names_the_root_disk(void **state)
{
	struct config cfg = config_with("", CONSOLE_NONE, CONSOLE_NONE);

	(void)state;
	cfg.ndisks = 3;
	cfg.disk[2] = (struct config_disk){.root = true, .path = (char *)"/dev/null"};
	assert_cmdline(&cfg, BOOT_BZIMAGE, "root=/dev/vdc rw pci=off panic=-1");
	cfg.disk[2].readonly = true;
	assert_cmdline(&cfg, BOOT_BZIMAGE, "root=/dev/vdc ro pci=off panic=-1");
	cfg.boot.cmdline = (char *)"root=LABEL=x";
	assert_cmdline(&cfg, BOOT_BZIMAGE, "root=LABEL=x pci=off panic=-1");
}

static void test_cmdline_make_respects_what_is_there(void **state)
{
	struct config cfg = config_with("console=tty0 pci=conf1 panic=5", CONSOLE_STDIO, CONSOLE_STDIO);

	(void)state;
	assert_cmdline(&cfg, BOOT_BZIMAGE, "console=tty0 pci=conf1 panic=5");
	/* Words that only look alike do not count. */
	cfg.boot.cmdline = (char *)"netconsole=x oops=panic=2";
	assert_cmdline(&cfg, BOOT_BZIMAGE, "netconsole=x oops=panic=2 console=ttyS0 console=hvc0 pci=off panic=-1");
}

static void test_cmdline_make_leaves_the_words_for_init_last(void **state)
{
	struct config cfg = config_with("quiet a--b -- console=x --", CONSOLE_STDIO, CONSOLE_NONE);

	(void)state;
	assert_cmdline(&cfg, BOOT_BZIMAGE, "quiet a--b console=hvc0 pci=off panic=-1 -- console=x --");
	cfg.boot.cmdline = (char *)"-- single";
	assert_cmdline(&cfg, BOOT_BZIMAGE, "console=hvc0 pci=off panic=-1 -- single");
	assert_cmdline(&cfg, BOOT_MULTIBOOT, "-- single");
	cfg.boot.cmdline = (char *)"x --";
	assert_cmdline(&cfg, BOOT_BZIMAGE, "x console=hvc0 pci=off panic=-1 --");
}

static void test_cmdline_make_auto_off_and_multiboot_add_nothing(void **state)
{
	struct config cfg = config_with("a b", CONSOLE_STDIO, CONSOLE_STDIO);

	(void)state;
	assert_cmdline(&cfg, BOOT_MULTIBOOT, "a b");
	cfg.boot.auto_cmdline = false;
	assert_cmdline(&cfg, BOOT_BZIMAGE, "a b");
}

static void test_cmdline_make_too_long_is_refused(void **state)
{
	char line[X86_CMDLINE_MAX + 1], buf[X86_CMDLINE_MAX + 1];
	struct config cfg = config_with(line, CONSOLE_STDIO, CONSOLE_NONE);

	(void)state;
	memset(line, 'x', X86_CMDLINE_MAX);
	line[X86_CMDLINE_MAX] = '\0';
	assert_int_equal(cmdline_make(&cfg, BOOT_BZIMAGE, buf, sizeof(buf)), -E2BIG);
	cfg.boot.auto_cmdline = false;
	assert_int_equal(cmdline_make(&cfg, BOOT_BZIMAGE, buf, sizeof(buf)), 0);
	assert_string_equal(buf, line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cmdline_make_adds_what_is_missing),
		cmocka_unit_test(test_cmdline_make_names_the_root_disk),
		cmocka_unit_test(test_cmdline_make_respects_what_is_there),
		cmocka_unit_test(test_cmdline_make_leaves_the_words_for_init_last),
		cmocka_unit_test(test_cmdline_make_auto_off_and_multiboot_add_nothing),
		cmocka_unit_test(test_cmdline_make_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
