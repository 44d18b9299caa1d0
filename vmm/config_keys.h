/* SPDX-License-Identifier: MIT */
/*
 * The table of everything vm.toml may say, for config.c and config_print.c. Not for anyone else.
 * Thread: the main thread.
 */
#ifndef VMM_CONFIG_KEYS_H
#define VMM_CONFIG_KEYS_H

#include "vmm/config.h"
#include "vmm/toml.h"

enum config_type {
	CONFIG_STRING,
	CONFIG_NAME, /* a string that can be a file name and a word of a command line */
	CONFIG_PATH, /* expanded, and relative to the file that says it */
	CONFIG_PATHS, /* one path or an array -> struct config_list */
	CONFIG_STRINGS, /* one or an array -> struct config_list */
	CONFIG_FIELDS, /* a table in a table -> a pointer to a struct of which the caller sets each field, NULL while nobody says anything */
	CONFIG_FRACTION, /* a number from 0 to 1 -> double */
	CONFIG_SCALE, /* a number from 0.25 to 4, or "fit" -> double, 0 for that */
	CONFIG_REGION, /* [x, y, width, height] in pixels -> struct config_region */
	CONFIG_REGEX, /* an extended regular expression */
	CONFIG_REGEXES, /* one or an array -> struct config_list */
	CONFIG_SIZE, /* "512M" -> uint64_t bytes */
	CONFIG_TIME, /* "20s" -> uint64_t nanoseconds */
	CONFIG_COUNT, /* integer -> unsigned */
	CONFIG_BOOL,
	CONFIG_ENUM, /* one of values -> enum, in that order */
	CONFIG_PIXELS, /* "1280x800", one or an array -> struct config_pixels */
	CONFIG_CONTROL, /* "ctrl-a" -> uint8_t */
};

struct config_key {
	const char *table, *name;
	enum config_type type;
	size_t offset; /* in struct config, or in an entry of the list table */
	const char *initial; /* what it is when nobody says anything, as --set would; NULL: nothing */
	const void *values; /* CONFIG_ENUM: const char *const [], ended by NULL; CONFIG_FIELDS: a struct config_fields; else NULL */
	uint64_t min, max; /* CONFIG_SIZE, _COUNT; bytes a string may have; of CONFIG_PIXELS, each side */
	const char *help; /* one sentence */
};

/* What a table in a table may say. A field that is not said is zeroed memory. */
struct config_fields {
	const struct config_key *keys; /* offsets in the struct; table is the name of the whole, "expect.screen" */
	unsigned n;
	size_t size, origins, wrong; /* of the struct; offset in it of the origin array, NULL for what did not come from a place of its own; and of the bits of keys with mistakes */
};

extern const struct config_key config_keys[]; /* the keys of a table are neighbours */
extern const unsigned config_nkeys;

/* A table that may come any number of times, [[disk]]. Each must have the first of its keys. */
struct config_list_table {
	const char *table;
	unsigned max; /* entries */
	size_t items, item_size, count; /* offsets in struct config of the array and its unsigned counter */
	size_t origins, name, wrong; /* offsets in an entry: origin array, name (what merging goes by), keys with mistakes */
};

/* Return: NULL when @table is no list table. */
const struct config_list_table *config_find_list(const char *table, size_t len);
/* Entry @i, below the counter or the next free one. */
void *config_item(struct config *cfg, const struct config_list_table *list, unsigned i);
unsigned *config_count(struct config *cfg, const struct config_list_table *list);
/* The first key of a table, and how many it has. Return: NULL when there is no such table. */
const struct config_key *config_table_keys(const char *table, size_t len, unsigned *n);
/* Frees what keys of @keys own in @base. */
void config_drop(void *base, const struct config_key *keys, unsigned n);
/* What @key of CONFIG_FIELDS has in @base. */
void *config_fields_of(void *base, const struct config_key *key);

/**
 * config_set - convert a value and store it
 * @base: what key->offset counts from
 * @dir: what paths are relative to; "" for the working directory
 * @text: what a bare word was, when the value came as text; strings take it as it is. NULL for values from a file
 *
 * Of CONFIG_FIELDS it makes the struct, with nothing in it.
 * Return: 0, or -EINVAL with @err: what was expected and what there was.
 */
int config_set(void *base, const struct config_key *key, const struct toml_node *value, const char *text, const char *dir,
	char *err, size_t err_len);

#endif
