/* SPDX-License-Identifier: MIT */
#include "vmm/expect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/pattern.h"

/* Lines of Linux, its initramfs and systemd that no healthy boot has. The words are the programs' own. */
static const struct {
	const char *pattern;
	enum expect_verdict verdict;
} builtin[] = {
	{"Kernel panic - not syncing", EXPECT_PANICKED},
	{"BUG: ", EXPECT_FAILED},
	{"Oops: ", EXPECT_FAILED},
	{"general protection fault", EXPECT_FAILED},
	{"kernel BUG at", EXPECT_FAILED},
	{"soft lockup", EXPECT_FAILED},
	{"rcu: INFO: .*stall", EXPECT_FAILED},
	{"blocked for more than", EXPECT_FAILED},
	{"Unable to mount root fs", EXPECT_FAILED},
	{"Attempted to kill init", EXPECT_FAILED},
	{"No working init found", EXPECT_FAILED},
	{"KASAN: ", EXPECT_FAILED},
	{"UBSAN: ", EXPECT_FAILED},
	{"ALERT!.*does not exist", EXPECT_FAILED},
	{"emergency mode", EXPECT_FAILED},
	{"WARNING: CPU:", EXPECT_WARNED},
	{"Out of memory: Killed process", EXPECT_WARNED},
};
#define BUILTINS (sizeof(builtin) / sizeof(builtin[0]))

static void on_last_words(struct loop_timer *timer)
{
	struct expect *e = (struct expect *)((char *)timer - offsetof(struct expect, last_words));

	e->fn(e->ctx, e->verdict, e->line);
}

int expect_init(struct expect *e, const struct config *cfg, struct loop *loop,
	void (*fn)(void *ctx, enum expect_verdict verdict, const char *line), void *ctx)
{
	char why[128] = "out of memory";
	int r;

	*e = (struct expect){.cfg = cfg, .fn = fn, .ctx = ctx, .builtin = calloc(BUILTINS, sizeof(regex_t))};
	loop_timer_init(&e->last_words, loop, on_last_words);
	r = e->builtin ? 0 : -ENOMEM;
	for (unsigned i = 0; r == 0 && i < BUILTINS; i++) {
		r = pattern_compile(&e->builtin[i], builtin[i].pattern, why, sizeof(why));
	}
	for (unsigned i = 0; r == 0 && i < cfg->expect.console.n; i++) {
		r = pattern_compile(&e->console[i], cfg->expect.console.item[i], why, sizeof(why));
	}
	for (unsigned i = 0; r == 0 && i < cfg->expect.fail.n; i++) {
		r = pattern_compile(&e->fail[i], cfg->expect.fail.item[i], why, sizeof(why));
	}
	if (r == 0 && cfg->expect.ready) {
		r = pattern_compile(&e->ready, cfg->expect.ready, why, sizeof(why));
	}
	if (r < 0) {
		log_msg(LOG_ERR, "[expect]: %s", why);
	}
	return r;
}

void expect_finish(struct expect *e)
{
	if (!e->cfg) {
		return;
	}
	loop_timer_stop(&e->last_words);
	for (unsigned i = 0; e->builtin && i < BUILTINS; i++) {
		regfree(&e->builtin[i]);
	}
	for (unsigned i = 0; i < CONFIG_LIST_MAX; i++) {
		regfree(&e->console[i]);
		regfree(&e->fail[i]);
	}
	regfree(&e->ready);
	free(e->builtin);
	*e = (struct expect){.cfg = NULL};
}

static bool matches(const regex_t *regex, const char *line)
{
	return regexec(regex, line, 0, NULL, 0) == 0;
}

static void end_soon(struct expect *e, enum expect_verdict verdict, const char *line)
{
	e->is_over = true;
	e->verdict = verdict;
	snprintf(e->line, sizeof(e->line), "%s", line);
	loop_timer_set(&e->last_words, clock_now_ns() + EXPECT_LAST_WORDS_NS);
}

static void look_for_builtin(struct expect *e, const char *line)
{
	for (unsigned i = 0; !e->is_over && i < BUILTINS; i++) {
		if (!matches(&e->builtin[i], line)) {
			continue;
		}
		if (builtin[i].verdict == EXPECT_WARNED) {
			e->fn(e->ctx, EXPECT_WARNED, line);
		} else {
			end_soon(e, builtin[i].verdict, line);
		}
	}
}

static void set_ready(struct expect *e, const char *line)
{
	if (!e->is_ready) {
		e->is_ready = true;
		e->fn(e->ctx, EXPECT_READY, line);
	}
}

void expect_line(struct expect *e, const char *line, bool done)
{
	if (!e->cfg || e->is_over) {
		return;
	}
	/* The kernel's own lines are read whole, so that the report has all of them. */
	if (done && e->cfg->expect.builtin_fail) {
		look_for_builtin(e, line);
	}
	for (unsigned i = 0; !e->is_over && i < e->cfg->expect.fail.n; i++) {
		if (matches(&e->fail[i], line)) {
			end_soon(e, EXPECT_FAILED, line);
		}
	}
	if (e->is_over) {
		return;
	}
	if (e->cfg->expect.ready && matches(&e->ready, line)) {
		set_ready(e, line);
	}
	if (e->next == e->cfg->expect.console.n) {
		return;
	}
	while (e->next < e->cfg->expect.console.n && matches(&e->console[e->next], line)) {
		e->next++;
	}
	if (e->next == e->cfg->expect.console.n) {
		if (!e->cfg->expect.ready) {
			set_ready(e, line);
		}
		e->fn(e->ctx, EXPECT_PASSED, line);
	}
}

const char *expect_missing(const struct expect *e)
{
	return e->cfg && e->next < e->cfg->expect.console.n ? e->cfg->expect.console.item[e->next] : NULL;
}
