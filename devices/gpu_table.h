/* SPDX-License-Identifier: MIT */
/*
 * Things by the 32-bit numbers a guest gives them. For the graphics device and its backends.
 *
 * Thread: the device's loop.
 */
#ifndef DEVICES_GPU_TABLE_H
#define DEVICES_GPU_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define GPU_TABLE_BUCKETS 1024u

/* Embedded in what is to be found, as its first member. */
struct gpu_entry {
	uint32_t id;
	struct gpu_entry *next;
};

/* Zeroed memory is an empty one. */
struct gpu_table {
	struct gpu_entry *bucket[GPU_TABLE_BUCKETS];
	unsigned n; /* may be read by any thread (atomic) */
};

static inline struct gpu_entry **gpu_table_bucket(struct gpu_table *t, uint32_t id)
{
	return &t->bucket[(id * 2654435761u) >> 22];
}

/* Return: NULL when there is none. Complexity: O(1) for numbers in sequence; O(n) for a guest that looks for trouble, which has its own loop. */
static inline struct gpu_entry *gpu_table_find(struct gpu_table *t, uint32_t id)
{
	struct gpu_entry *e = *gpu_table_bucket(t, id);

	while (e && e->id != id) {
		e = e->next;
	}
	return e;
}

/* @e->id is set, and not in the table. */
static inline void gpu_table_add(struct gpu_table *t, struct gpu_entry *e)
{
	struct gpu_entry **bucket = gpu_table_bucket(t, e->id);

	e->next = *bucket;
	*bucket = e;
	__atomic_store_n(&t->n, t->n + 1, __ATOMIC_RELAXED);
}

/* @e is in the table. */
static inline void gpu_table_remove(struct gpu_table *t, struct gpu_entry *e)
{
	struct gpu_entry **p = gpu_table_bucket(t, e->id);

	while (*p != e) {
		p = &(*p)->next;
	}
	*p = e->next;
	__atomic_store_n(&t->n, t->n - 1, __ATOMIC_RELAXED);
}

/* Any entry, for taking them all out. Return: NULL when the table is empty. */
static inline struct gpu_entry *gpu_table_any(struct gpu_table *t)
{
	for (unsigned i = 0; t->n > 0 && i < GPU_TABLE_BUCKETS; i++) {
		if (t->bucket[i]) {
			return t->bucket[i];
		}
	}
	return NULL;
}

#endif
