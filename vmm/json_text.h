/* SPDX-License-Identifier: MIT */
/*
 * Text as a JSON string, wherever it came from. A guest's line, a path or a name need not be UTF-8, and jansson makes nothing at all of what is not:
 * an answer or event would be lost without a word.
 *
 * Thread: any.
 */
#ifndef VMM_JSON_TEXT_H
#define VMM_JSON_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* At most @max bytes of @text, no character cut in two; each byte that is no UTF-8 becomes U+FFFD. Return: a new reference, NULL: out of memory. */
json_t *json_text(const char *text, size_t max);

#endif
