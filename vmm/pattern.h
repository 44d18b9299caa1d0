/* SPDX-License-Identifier: MIT */
/*
 * Regular expressions that somebody else has written, from vm.toml or a request: POSIX extended, and of a size that the C library
 * can take. It compiles a thousand brackets inside each other on the stack, and x{1,255}{1,255} by writing out every x, so an expression
 * is measured before it gets there.
 *
 * Thread: any.
 */
#ifndef VMM_PATTERN_H
#define VMM_PATTERN_H

#include <regex.h>
#include <stddef.h>

#define PATTERN_DEPTH_MAX 50 /* brackets inside each other */
#define PATTERN_SIZE_MAX 1024 /* characters to match, each counted as often as it may be repeated by {} */

/**
 * pattern_compile - regcomp without surprises
 * @regex: for regexec without places of matches; regfree is the caller's
 * @why: what is wrong with it, set on failure
 *
 * Back-references are refused: extended expressions have none, and looking for one can take for ever.
 * Return: 0 or -EINVAL.
 */
int pattern_compile(regex_t *regex, const char *text, char *why, size_t why_len);

#endif
