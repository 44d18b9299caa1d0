/* SPDX-License-Identifier: MIT */
/*
 * [expect]: what a guest has to say, in this order, and what it must not. Sees each line of the guest's consoles and says once
 * what follows from them.
 *
 * Patterns that are always wrong (a panic, an oops, a lost root file system) are built in; expect.builtin_fail = false leaves them out. After one of
 * them, or one of expect.fail, the guest may speak on for EXPECT_LAST_WORDS_NS, because the explanation follows the line.
 *
 * Thread: the main thread.
 */
#ifndef VMM_EXPECT_H
#define VMM_EXPECT_H

#include <regex.h>
#include <stdbool.h>

#include "vmm/config.h"
#include "vmm/loop.h"

#define EXPECT_LAST_WORDS_NS 300000000ull
#define EXPECT_TIMEOUT_NS 60000000000ull /* when neither the file nor the command line says one */

enum expect_verdict {
	EXPECT_READY, /* expect.ready was seen, or without it all of expect.console */
	EXPECT_PASSED, /* all of expect.console was seen */
	EXPECT_FAILED,
	EXPECT_PANICKED,
	EXPECT_WARNED, /* a line that is worth a warning */
};

struct expect {
	const struct config *cfg; /* NULL: not in use */
	regex_t console[CONFIG_LIST_MAX], fail[CONFIG_LIST_MAX], ready, *builtin;
	unsigned next; /* the first of expect.console that has not been seen */
	bool is_ready, is_over;
	struct loop_timer last_words;
	enum expect_verdict verdict; /* when last_words are over */
	char line[200];
	void (*fn)(void *ctx, enum expect_verdict verdict, const char *line);
	void *ctx;
};

/* @fn may end the VM; PASSED, FAILED and PANICKED come at most once. Return: 0 or -ENOMEM (logged); the patterns were checked with the file. */
int expect_init(struct expect *e, const struct config *cfg, struct loop *loop,
	void (*fn)(void *ctx, enum expect_verdict verdict, const char *line), void *ctx);
void expect_finish(struct expect *e); /* accepts zeroed memory */

/* @done: the line is whole. */
void expect_line(struct expect *e, const char *line, bool done);

/* The pattern that is waited for, NULL when everything was seen. */
const char *expect_missing(const struct expect *e);

#endif
