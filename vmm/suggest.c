/* SPDX-License-Identifier: MIT */
#include "vmm/suggest.h"

#include <limits.h>
#include <string.h>

#define NAME_MAX_LEN 40

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Insertions, deletions, replacements, and swaps of neighbours. */
static unsigned edit_distance(const char *a, size_t alen, const char *b, size_t blen)
{
	unsigned row[3][NAME_MAX_LEN + 1], *before = row[0], *last = row[1], *now = row[2];

	for (size_t j = 0; j <= blen; j++) {
		last[j] = (unsigned)j;
	}
	for (size_t i = 1; i <= alen; i++) {
		unsigned *free_row = before;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= blen; j++) {
			now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < now[j]) {
				now[j] = before[j - 2] + 1;
			}
		}
		before = last;
		last = now;
		now = free_row;
	}
	return last[blen];
}

void suggest_init(struct suggest *s, const char *name, size_t len)
{
	*s = (struct suggest){.name = name, .len = len, .distance = UINT_MAX};
}

void suggest_offer(struct suggest *s, const char *known)
{
	size_t known_len = strlen(known);
	unsigned distance;

	if (s->len > NAME_MAX_LEN || known_len > NAME_MAX_LEN) {
		return;
	}
	distance = edit_distance(s->name, s->len, known, known_len);
	/* A third of the letters wrong is a slip; more is another word. */
	if (distance * 3 <= known_len + 1 && distance < s->distance) {
		s->best = known;
		s->distance = distance;
	}
}
