/* SPDX-License-Identifier: MIT */
/* "did you mean ...?": the known name nearest to one that somebody mistyped. Thread: any. */
#ifndef VMM_SUGGEST_H
#define VMM_SUGGEST_H

#include <stddef.h>

struct suggest {
	const char *name; /* what was typed */
	size_t len;
	const char *best; /* NULL: nothing is near enough */
	unsigned distance;
};

/* Start with a mistyped name, offer every known one, read best. Names are borrowed. */
void suggest_init(struct suggest *s, const char *name, size_t len);
void suggest_offer(struct suggest *s, const char *known);

#endif
