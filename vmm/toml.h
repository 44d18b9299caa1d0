/* SPDX-License-Identifier: MIT */
/*
 * TOML as a tree with positions: a C interface to toml++ (toml.cc). Nodes belong to their document and are read-only.
 * Thread: one at a time for each document.
 */
#ifndef VMM_TOML_H
#define VMM_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TOML_TEXT_MAX (1u << 20) /* bytes; longer text is refused */

enum toml_type {
	TOML_TABLE,
	TOML_ARRAY,
	TOML_STRING,
	TOML_INTEGER,
	TOML_FLOAT,
	TOML_BOOLEAN,
	TOML_DATE,
};

/* Lines and columns count from 1; columns count characters, not bytes. */
struct toml_pos {
	unsigned line, column;
};

struct toml_doc;
struct toml_node;

/* Return: the document, or NULL with the message and its position. */
struct toml_doc *toml_parse(const char *text, size_t len, char *err, size_t err_len, struct toml_pos *err_pos);
void toml_free(struct toml_doc *doc); /* accepts NULL */

const struct toml_node *toml_root(const struct toml_doc *doc);
enum toml_type toml_type_of(const struct toml_node *node);
struct toml_pos toml_pos_of(const struct toml_node *node);

/* Entries of a table or array; 0 for other nodes. */
size_t toml_count(const struct toml_node *node);
/* Entry @i < toml_count; @key and @key_pos are set for a table's entries and may be NULL. */
const struct toml_node *toml_item(const struct toml_node *node, size_t i, const char **key, struct toml_pos *key_pos);

/* For a node of the right type (asserted). */
const char *toml_string(const struct toml_node *node, size_t *len);
int64_t toml_integer(const struct toml_node *node);
bool toml_boolean(const struct toml_node *node);
double toml_float(const struct toml_node *node);

#ifdef __cplusplus
}
#endif
#endif
