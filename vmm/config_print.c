/* SPDX-License-Identifier: MIT */
/* The effective configuration, and the list of keys, as text. */
#include <inttypes.h>
#include <string.h>

#include "vmm/clock.h"
#include "vmm/config_keys.h"

static void print_string(const char *text, FILE *out)
{
	fputc('"', out);
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\') {
			fprintf(out, "\\%c", *c);
		} else if (*c < 0x20 || *c == 0x7f) {
			fprintf(out, "\\u%04x", *c);
		} else {
			fputc(*c, out);
		}
	}
	fputc('"', out);
}

static void print_size(uint64_t bytes, FILE *out)
{
	static const char units[] = "KMGT";
	unsigned i = 0;

	for (bytes >>= 10; i < 3 && bytes % 1024 == 0; i++) {
		bytes >>= 10;
	}
	fprintf(out, "\"%" PRIu64 "%c\"", bytes, units[i]);
}

static void print_list(const struct config_list *list, FILE *out)
{
	fputc('[', out);
	for (unsigned i = 0; i < list->n; i++) {
		fputs(i ? ", " : "", out);
		print_string(list->item[i], out);
	}
	fputc(']', out);
}

static void print_pixels(const struct config_pixels *p, FILE *out)
{
	fputs(p->n > 1 ? "[" : "", out);
	for (unsigned i = 0; i < p->n; i++) {
		fprintf(out, "%s\"%" PRIu32 "x%" PRIu32 "\"", i ? ", " : "", p->item[i].width, p->item[i].height);
	}
	fputs(p->n > 1 ? "]" : "", out);
}

static bool is_set(const void *base, const struct config_key *key)
{
	const void *p = (const char *)base + key->offset;

	switch (key->type) {
	case CONFIG_STRING:
	case CONFIG_NAME:
	case CONFIG_PATH:
	case CONFIG_REGEX:
	case CONFIG_FIELDS:
		return *(void *const *)p != NULL;
	case CONFIG_COUNT:
		/* 0 where the least is more: nobody said anything. */
		return *(const unsigned *)p >= key->min;
	case CONFIG_TIME:
		return *(const uint64_t *)p > 0 || key->initial;
	case CONFIG_REGION:
		return ((const struct config_region *)p)->w > 0;
	default:
		return true;
	}
}

static void print_value(const void *base, const struct config_key *key, FILE *out);

static void print_fields(const void *base, const struct config_fields *fields, FILE *out)
{
	const char *before = "{ ";

	for (unsigned i = 0; i < fields->n; i++) {
		if (is_set(base, &fields->keys[i])) {
			fprintf(out, "%s%s = ", before, fields->keys[i].name);
			print_value(base, &fields->keys[i], out);
			before = ", ";
		}
	}
	fputs(" }", out);
}

static void print_region(const struct config_region *r, FILE *out)
{
	fprintf(out, "[%" PRIu32 ", %" PRIu32 ", %" PRIu32 ", %" PRIu32 "]", r->x, r->y, r->w, r->h);
}

static void print_value(const void *base, const struct config_key *key, FILE *out)
{
	const void *p = (const char *)base + key->offset;
	uint64_t ns;

	switch (key->type) {
	case CONFIG_STRING:
	case CONFIG_NAME:
	case CONFIG_PATH:
	case CONFIG_REGEX:
		print_string(*(char *const *)p, out);
		break;
	case CONFIG_PATHS:
	case CONFIG_STRINGS:
	case CONFIG_REGEXES:
		print_list(p, out);
		break;
	case CONFIG_FIELDS:
		print_fields(*(void *const *)p, key->values, out);
		break;
	case CONFIG_FRACTION:
		fprintf(out, "%.6f", *(const double *)p);
		break;
	case CONFIG_SCALE:
		if (*(const double *)p > 0) {
			fprintf(out, "%.6g", *(const double *)p);
		} else {
			fputs("\"fit\"", out);
		}
		break;
	case CONFIG_REGION:
		print_region(p, out);
		break;
	case CONFIG_SIZE:
		print_size(*(const uint64_t *)p, out);
		break;
	case CONFIG_TIME:
		ns = *(const uint64_t *)p;
		if (ns % CLOCK_NS_PER_S == 0) {
			fprintf(out, "\"%" PRIu64 "s\"", ns / (uint64_t)CLOCK_NS_PER_S);
		} else {
			fprintf(out, "\"%" PRIu64 "ms\"", ns / (uint64_t)CLOCK_NS_PER_MS);
		}
		break;
	case CONFIG_COUNT:
		fprintf(out, "%u", *(const unsigned *)p);
		break;
	case CONFIG_BOOL:
		fputs(*(const bool *)p ? "true" : "false", out);
		break;
	case CONFIG_ENUM:
		fprintf(out, "\"%s\"", ((const char *const *)key->values)[*(const unsigned *)p]);
		break;
	case CONFIG_PIXELS:
		print_pixels(p, out);
		break;
	case CONFIG_CONTROL:
		fprintf(out, "'ctrl-%c'", (*(const uint8_t *)p | (*(const uint8_t *)p <= 26 ? 0x60 : 0x40)));
		break;
	}
}

static void print_table(const void *base, const struct config_key *keys, unsigned n, char *const *origins, FILE *out)
{
	for (unsigned i = 0; i < n; i++) {
		if (is_set(base, &keys[i])) {
			fprintf(out, "%s = ", keys[i].name);
			print_value(base, &keys[i], out);
			fprintf(out, "  # %s\n", origins[i]);
		}
	}
}

void config_print(const struct config *cfg, FILE *out)
{
	for (unsigned i = 0; i < config_nkeys;) {
		const char *table = config_keys[i].table;
		const struct config_list_table *list = config_find_list(table, strlen(table));
		unsigned n;
		const struct config_key *keys = config_table_keys(table, strlen(table), &n);

		for (unsigned item = 0; list && item < *config_count((struct config *)cfg, list); item++) {
			const char *base = config_item((struct config *)cfg, list, item);

			fprintf(out, "\n[[%s]]\n", table);
			print_table(base, keys, n, (char *const *)(const void *)(base + list->origins), out);
		}
		if (!list) {
			fprintf(out, "%s[%s]\n", i ? "\n" : "", table);
			print_table(cfg, keys, n, cfg->origins + i, out);
		}
		i += n;
	}
	fprintf(out, "\n# host memory: at most %" PRIu64 "M for the guest, and about 1M for tinyvmm\n", cfg->machine.memory >> 20);
	if (cfg->gpu.mode != GPU_OFF) {
		fprintf(out, "# and at most %" PRIu64 "M for the guest's pictures\n", cfg->gpu.max_host_memory >> 20);
	}
	for (unsigned i = 0; i < cfg->ndisks; i++) {
		if (cfg->disk[i].ephemeral && !cfg->disk[i].readonly && !cfg->disk[i].overlay_dir) {
			fprintf(out, "# and what the guest writes to disk %u, at most its size\n", i);
		}
	}
}

void config_print_keys(FILE *out)
{
	for (unsigned i = 0; i < config_nkeys; i++) {
		const struct config_key *key = &config_keys[i];
		bool is_enum = key->type == CONFIG_ENUM;
		const char *const *values = key->values;
		bool bare = key->type == CONFIG_COUNT || key->type == CONFIG_BOOL || key->type == CONFIG_SCALE;
		const char *quote = bare || !key->initial ? "" : "\"";
		const char *number = config_find_list(key->table, strlen(key->table)) ? ".N" : "";

		fprintf(out, "key\t%s%s.%s\t%s%s%s\t", key->table, number, key->name, quote, key->initial ? key->initial : "-", quote);
		for (unsigned v = 0; is_enum && values[v]; v++) {
			fprintf(out, "%s%s", v ? " " : "", values[v]);
		}
		fprintf(out, "%s\t%s\n", is_enum ? "" : key->type == CONFIG_BOOL ? "true false" : "-", key->help);
	}
}
