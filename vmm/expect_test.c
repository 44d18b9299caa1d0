/* SPDX-License-Identifier: MIT */
/* What guests say, and what follows from it. Whole guests are in tests/system/ci. */
#include "vmm/expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "vmm/clock.h"

static struct loop loop;
static struct expect expect;
static struct config cfg;
static char verdicts[512];

static void on_verdict(void *ctx, enum expect_verdict verdict, const char *line)
{
	static const char letters[] = {[EXPECT_READY] = 'r', [EXPECT_PASSED] = 'p', [EXPECT_FAILED] = 'f', [EXPECT_PANICKED] = '!', [EXPECT_WARNED] = 'w'};
	size_t used = strlen(verdicts);

	(void)ctx;
	snprintf(verdicts + used, sizeof(verdicts) - used, "%c[%s]", letters[verdict], line);
}

static int set_up(void **state)
{
	(void)state;
	verdicts[0] = '\0';
	cfg = (struct config){.expect = {.builtin_fail = true}};
	return loop_init(&loop);
}

static int tear_down(void **state)
{
	(void)state;
	expect_finish(&expect);
	loop_finish(&loop);
	return 0;
}

static void start(void)
{
	assert_int_equal(expect_init(&expect, &cfg, &loop, on_verdict, NULL), 0);
}

/* Whole lines, separated by newlines. */
static void say(const char *text)
{
	char line[256];

	while (*text) {
		size_t n = strcspn(text, "\n");

		snprintf(line, sizeof(line), "%.*s", (int)n, text);
		expect_line(&expect, line, true);
		text += n + (text[n] == '\n');
	}
}

static void let_last_words_pass(void)
{
	uint64_t end = clock_now_ns() + EXPECT_LAST_WORDS_NS + 50 * (uint64_t)CLOCK_NS_PER_MS;

	while (clock_now_ns() < end) {
		loop_run_once(&loop, 10);
	}
}

static void test_expect_patterns_in_their_order(void **state)
{
	(void)state;
	cfg.expect.console = (struct config_list){.item = {(char *)"^one$", (char *)"two|zwei", (char *)"three"}, .n = 3};
	start();
	say("three\ntwo\n one");
	assert_string_equal(expect_missing(&expect), "^one$");
	say("one");
	assert_string_equal(expect_missing(&expect), "two|zwei");
	say("one\nzwei and three");
	assert_null(expect_missing(&expect));
	assert_string_equal(verdicts, "r[zwei and three]p[zwei and three]");
	say("three");
	assert_string_equal(verdicts, "r[zwei and three]p[zwei and three]");
}

static void test_expect_prompt_without_newline(void **state)
{
	(void)state;
	cfg.expect.console = (struct config_list){.item = {(char *)"login: $"}, .n = 1};
	start();
	expect_line(&expect, "debian log", false);
	assert_string_equal(verdicts, "");
	expect_line(&expect, "debian login: ", false);
	assert_string_equal(verdicts, "r[debian login: ]p[debian login: ]");
}

static void test_expect_ready_is_its_own_pattern(void **state)
{
	(void)state;
	cfg.expect.console = (struct config_list){.item = {(char *)"late"}, .n = 1};
	cfg.expect.ready = (char *)"up";
	start();
	say("up\nup");
	assert_string_equal(verdicts, "r[up]");
	say("late");
	assert_string_equal(verdicts, "r[up]p[late]");
}

static void test_expect_fail_lets_the_guest_finish(void **state)
{
	(void)state;
	cfg.expect.console = (struct config_list){.item = {(char *)"end"}, .n = 1};
	cfg.expect.fail = (struct config_list){.item = {(char *)"Failed to"}, .n = 1};
	start();
	say("[FAILED] Failed to start x");
	assert_string_equal(verdicts, ""); /* not yet: what follows is for the log */
	say("end");
	assert_string_equal(verdicts, ""); /* and does not make it good */
	let_last_words_pass();
	assert_string_equal(verdicts, "f[[FAILED] Failed to start x]");
}

static void test_expect_builtin_patterns(void **state)
{
	static const struct {
		const char *line;
		char verdict;
	} lines[] = {
		{"[    1.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x100", '!'},
		{"[    1.5] BUG: kernel NULL pointer dereference, address: 0000000000000000", 'f'},
		{"[    1.5] Oops: 0002 [#1] PREEMPT SMP", 'f'},
		{"[    1.5] general protection fault, probably for non-canonical address", 'f'},
		{"[    1.5] kernel BUG at mm/slub.c:1!", 'f'},
		{"[    1.5] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!", 'f'},
		{"[    1.5] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", 'f'},
		{"[    1.5] INFO: task x:1 blocked for more than 120 seconds.", 'f'},
		{"[    1.5] No working init found.", 'f'},
		{"ALERT!  /dev/vda does not exist.  Dropping to a shell!", 'f'},
		{"You are in emergency mode.", 'f'},
		{"[    1.5] WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2", 'w'},
		{"[    1.5] Out of memory: Killed process 1 (x)", 'w'},
		{"[    1.5] Linux version 6.1 debugging a BUG-free system", 0},
		{"[    1.5] systemd[1]: Started Oopsie.", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		verdicts[0] = '\0';
		start();
		expect_line(&expect, lines[i].line, true);
		if (expect.last_words.deadline_ns) {
			/* Without the wait: the timer's function is what would come. */
			on_verdict(NULL, expect.verdict, expect.line);
		}
		if (verdicts[0] != lines[i].verdict) {
			fail_msg("%s: %s", lines[i].line, verdicts);
		}
		expect_finish(&expect);
	}
	cfg.expect.builtin_fail = false;
	start();
	say("Kernel panic - not syncing: x");
	assert_int_equal(expect.last_words.deadline_ns, 0);
}

static void test_expect_not_in_use_does_nothing(void **state)
{
	(void)state;
	expect_line(&expect, "Kernel panic - not syncing", true);
	assert_null(expect_missing(&expect));
	assert_string_equal(verdicts, "");
}

int main(void)
{
#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH(test_expect_patterns_in_their_order),
		WITH(test_expect_prompt_without_newline),
		WITH(test_expect_ready_is_its_own_pattern),
		WITH(test_expect_fail_lets_the_guest_finish),
		WITH(test_expect_builtin_patterns),
		WITH(test_expect_not_in_use_does_nothing),
	};

	return cmocka_run_group_tests_name("expect", tests, NULL, NULL);
}
