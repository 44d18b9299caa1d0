/* SPDX-License-Identifier: MIT */
#include "vmm/pattern.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct measure {
	const char *wrong; /* NULL: nothing so far */
	unsigned depth;
	uint64_t size[PATTERN_DEPTH_MAX + 1]; /* of what stands in each open bracket */
	uint64_t last; /* of what a repetition would repeat */
};

/* Behind a bracket expression that begins at @p; regcomp says what is wrong with one that has no end. */
static const char *skip_set(const char *p)
{
	p += p[1] == '^' ? 2 : 1;
	/* A bracket that comes first is a member. */
	for (bool first = true; *p && (*p != ']' || first); first = false, p++) {
		if (*p == '[' && p[1] && strchr(".:=", p[1])) {
			const char end[] = {p[1], ']', '\0'}, *close = strstr(p + 2, end);

			p = close ? close + 1 : p;
		}
	}
	return *p ? p + 1 : p;
}

static void add(struct measure *m, uint64_t size)
{
	m->last = size;
	m->size[m->depth] += size;
	if (m->size[m->depth] > PATTERN_SIZE_MAX) {
		m->wrong = "it is too large, repetitions counted";
	}
}

/* {n}, {n,}, {,m} or {n,m} at @p. Return: behind it, and the larger number in *most; NULL when there is none of these. */
static const char *repetition(const char *p, uint64_t *most)
{
	*most = 1;
	for (p++; isdigit((unsigned char)*p) || *p == ',';) {
		char *end;
		uint64_t n;

		if (*p == ',') {
			p++;
			continue;
		}
		n = strtoull(p, &end, 10);
		*most = n <= *most ? *most : n <= PATTERN_SIZE_MAX ? n : PATTERN_SIZE_MAX + 1;
		p = end;
	}
	return *p == '}' ? p + 1 : NULL;
}

static const char *step(struct measure *m, const char *p)
{
	const char *behind;
	uint64_t times;

	switch (*p) {
	case '\\':
		if (p[1] >= '1' && p[1] <= '9') {
			m->wrong = "back-references are not supported";
		}
		add(m, 1);
		return p[1] ? p + 2 : p + 1;
	case '[':
		add(m, 1);
		return skip_set(p);
	case '(':
		if (m->depth == PATTERN_DEPTH_MAX) {
			m->wrong = "too many brackets inside each other";
			return p + 1;
		}
		m->size[++m->depth] = 0;
		m->last = 0;
		return p + 1;
	case ')':
		if (m->depth > 0) {
			m->depth--;
			add(m, m->size[m->depth + 1]);
		}
		return p + 1;
	case '{':
		behind = repetition(p, &times);
		if (!behind) {
			add(m, 1);
			return p + 1;
		}
		/* What it repeats is there once already. */
		m->size[m->depth] -= m->last;
		add(m, m->last * times);
		return behind;
	case '*':
	case '+':
	case '?':
		return p + 1;
	case '|':
		m->last = 0;
		return p + 1;
	default:
		add(m, 1);
		return p + 1;
	}
}

int pattern_compile(regex_t *regex, const char *text, char *why, size_t why_len)
{
	struct measure m = {.wrong = NULL};
	int r;

	for (const char *p = text; *p && !m.wrong;) {
		p = step(&m, p);
	}
	if (m.wrong) {
		snprintf(why, why_len, "%s", m.wrong);
		return -EINVAL;
	}
	r = regcomp(regex, text, REG_EXTENDED | REG_NOSUB);
	if (r != 0) {
		regerror(r, regex, why, why_len);
		return -EINVAL;
	}
	return 0;
}
