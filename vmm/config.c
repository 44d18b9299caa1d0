/* SPDX-License-Identifier: MIT */
#include "vmm/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "boot/x86_layout.h"
#include "devices/evdev.h"
#include "devices/key_name.h"
#include "vmm/clock.h"
#include "vmm/config_keys.h"
#include "vmm/log.h"
#include "vmm/suggest.h"
#include "vmm/view_start.h"

#define INCLUDE_DEPTH_MAX 8
#define CONFIG_VERSION 1

/* One file being read, and those that included it; or an option, --set. */
struct source {
	const char *path; /* as messages name it */
	const char *set; /* of an option: its value; NULL: it is a file */
	const char *dir; /* what its paths are relative to; "" for the working directory */
	struct stat st; /* tells a cycle; zero for text that is no file */
	const struct source *parent;
	unsigned depth;
};

/* One line about a file that is still being read. */
struct finding {
	struct toml_pos pos;
	int order; /* of being found: decides between two at one place */
	char *line;
};

struct load {
	struct config *cfg;
	FILE *report;
	uint64_t timeout_ns; /* in place of expect.timeout; 0: none is */
	bool headless; /* as config_input has it */
	int mistakes;
	int located; /* of these, those about a value, or about a key that there is not in a table that there is */
	bool *wrong; /* of each key in a table that comes once, in the order of config_keys.c: a mistake was reported about it, or it may be what another one was to be */
	struct finding *findings;
	size_t nfindings;
};

/* Kept until report_findings: the parser hands tables out in alphabetic order, people read files from the top. */
static void __attribute__((format(printf, 4, 5)))
mistake(struct load *l, const char *path, struct toml_pos pos, const char *fmt, ...)
{
	struct finding *grown = reallocarray(l->findings, l->nfindings + 1, sizeof(*grown)), *f;
	char *text = NULL;
	va_list ap;

	l->mistakes++;
	l->findings = grown ? grown : l->findings;
	va_start(ap, fmt);
	if (!grown || vasprintf(&text, fmt, ap) < 0) {
		va_end(ap);
		return;
	}
	va_end(ap);
	f = &l->findings[l->nfindings++];
	*f = (struct finding){.pos = pos, .order = l->mistakes};
	if (asprintf(&f->line, "%s:%u:%u: error: %s", path, pos.line, pos.column, text) < 0) {
		l->nfindings--;
	} else {
		log_make_printable(f->line);
	}
	free(text);
}

static int by_position(const void *a, const void *b)
{
	const struct finding *f = a, *g = b;

	if (f->pos.line != g->pos.line) {
		return f->pos.line < g->pos.line ? -1 : 1;
	}
	if (f->pos.column != g->pos.column) {
		return f->pos.column < g->pos.column ? -1 : 1;
	}
	return f->order - g->order;
}

static void report_findings(struct load *l)
{
	if (l->nfindings > 0) {
		qsort(l->findings, l->nfindings, sizeof(*l->findings), by_position);
	}
	for (size_t i = 0; i < l->nfindings; i++) {
		fprintf(l->report, "%s\n", l->findings[i].line);
		free(l->findings[i].line);
	}
	free(l->findings);
	l->findings = NULL;
	l->nfindings = 0;
}

/* About something without a line and column. */
static void __attribute__((format(printf, 3, 0))) whole_vmistake(struct load *l, const char *where, const char *fmt, va_list ap)
{
	char *text = NULL, *line = NULL;

	l->mistakes++;
	if (vasprintf(&text, fmt, ap) >= 0 && asprintf(&line, "%s: error: %s", where, text) >= 0) {
		log_make_printable(line);
		fprintf(l->report, "%s\n", line);
		free(line);
	}
	free(text);
}

static void __attribute__((format(printf, 3, 4))) set_mistake(struct load *l, const char *set, const char *fmt, ...)
{
	char *where = NULL;
	va_list ap;

	va_start(ap, fmt);
	whole_vmistake(l, asprintf(&where, "--set %s", set) < 0 ? "--set" : where, fmt, ap);
	va_end(ap);
	free(where);
}

static void set_origin(char **origin, const char *text)
{
	free(*origin);
	*origin = strdup(text);
	if (*origin) {
		/* It is printed in front of messages, and as a comment. */
		log_make_printable(*origin);
	}
}

static void set_origin_at(char **origin, const struct source *src, struct toml_pos pos)
{
	char text[PATH_MAX + 32];

	if (src->set) {
		snprintf(text, sizeof(text), "--set %.280s", src->set);
	} else {
		snprintf(text, sizeof(text), "%s:%u:%u", src->path, pos.line, pos.column);
	}
	set_origin(origin, text);
}

static const struct config_key *find_key(const struct config_key *keys, unsigned n, const char *name, size_t len)
{
	for (unsigned i = 0; i < n; i++) {
		if (strncmp(keys[i].name, name, len) == 0 && !keys[i].name[len]) {
			return &keys[i];
		}
	}
	return NULL;
}

/* Where the values of one table go: into the configuration, into one entry of a list, or into a table in one of those. */
struct target {
	const char *table; /* name without the index */
	void *base;
	const struct config_key *keys;
	unsigned nkeys;
	char **origins; /* nkeys of them */
	uint32_t *wrong; /* of an entry of a list, or a table in a table: keys with mistakes */
};

static struct target plain_target(struct config *cfg, const char *table, size_t len)
{
	struct target t = {.table = table, .base = cfg};

	t.keys = config_table_keys(table, len, &t.nkeys);
	t.origins = cfg->origins + (t.keys - config_keys);
	return t;
}

static struct target item_target(struct config *cfg, const struct config_list_table *list, unsigned i)
{
	struct target t = {.table = list->table, .base = config_item(cfg, list, i)};

	t.keys = config_table_keys(t.table, strlen(t.table), &t.nkeys);
	t.origins = (char **)(void *)((char *)t.base + list->origins);
	t.wrong = (uint32_t *)(void *)((char *)t.base + list->wrong);
	return t;
}

/* What @key, a table in the table @t, has. */
static struct target fields_target(const struct target *t, const struct config_key *key)
{
	const struct config_fields *fields = key->values;
	void *base = config_fields_of(t->base, key);

	return (struct target){.table = fields->keys->table, .base = base, .keys = fields->keys, .nkeys = fields->n,
		.origins = (char **)(void *)((char *)base + fields->origins), .wrong = (uint32_t *)(void *)((char *)base + fields->wrong)};
}

static void mark_wrong(struct load *l, const struct target *t, const struct config_key *key)
{
	if (t->wrong) {
		*t->wrong |= key ? 1u << (key - t->keys) : CONFIG_UNKNOWN_KEY;
		return;
	}
	for (unsigned i = 0; i < t->nkeys; i++) {
		/* What was said before was meant as it is. */
		if (key ? key == &t->keys[i] : strcmp(t->origins[i], "default") == 0) {
			l->wrong[&t->keys[i] - config_keys] = true;
		}
	}
}

/* A mistake was reported about @key, NULL for one that there is not: nothing else needs to be said about it. */
static void set_wrong(struct load *l, const struct target *t, const struct config_key *key)
{
	l->located++;
	mark_wrong(l, t, key);
}

static const char *nearest_table(const char *name)
{
	static const char *const top[] = {"include", "config_version"};
	struct suggest s;

	suggest_init(&s, name, strlen(name));
	for (unsigned i = 0; i < config_nkeys; i++) {
		suggest_offer(&s, config_keys[i].table);
	}
	for (size_t i = 0; i < sizeof(top) / sizeof(top[0]); i++) {
		suggest_offer(&s, top[i]);
	}
	return s.best;
}

static const char *nearest_key(const struct target *t, const char *name)
{
	struct suggest s;

	suggest_init(&s, name, strlen(name));
	for (unsigned i = 0; i < t->nkeys; i++) {
		suggest_offer(&s, t->keys[i].name);
	}
	return s.best;
}

/* About the key @name, at @pos in a file: its value is wrong, or, @err is NULL, there is none of that name. */
static void key_mistake(struct load *l, const struct source *src, struct toml_pos pos, const struct target *t, const char *name, const char *err)
{
	const char *near = err ? NULL : nearest_key(t, name);

	if (src->set) {
		set_mistake(l, src->set, err ? "%s: %s" : near ? "unknown key \"%s\"; did you mean \"%s\"?" : "unknown key \"%s\"", name, err ? err : near);
	} else if (err) {
		mistake(l, src->path, pos, "%s.%s: %s", t->table, name, err);
	} else {
		mistake(l, src->path, pos, near ? "unknown key \"%s\" in [%s]; did you mean \"%s\"?" : "unknown key \"%s\" in [%s]", name, t->table, near);
	}
}

static void set_initial(const struct target *t);

static void apply_table(struct load *l, const struct source *src, const struct target *t, const struct toml_node *node);

/* A table in a table, with a mistake. Of an entry of a list it is none then: half of what a device must be like would find another one. */
static void spoil_fields(struct load *l, const struct target *t, const struct config_key *key)
{
	if (t->wrong) {
		config_drop(t->base, key, 1);
		mark_wrong(l, t, key);
	}
}

/* A table in a table, each of whose keys has a place of its own. Return: whether it is there, mistakes or not. */
static bool apply_fields(struct load *l, const struct source *src, const struct target *t, const struct config_key *key, const struct toml_node *node)
{
	struct target fields = fields_target(t, key);
	int before = l->mistakes;

	apply_table(l, src, &fields, node);
	if (l->mistakes > before) {
		spoil_fields(l, t, key);
	}
	return l->mistakes == before || !t->wrong;
}

static void apply_table(struct load *l, const struct source *src, const struct target *t, const struct toml_node *node)
{
	for (size_t i = 0; i < toml_count(node); i++) {
		struct toml_pos pos;
		const char *name;
		const struct toml_node *value = toml_item(node, i, &name, &pos);
		const struct config_key *key = find_key(t->keys, t->nkeys, name, strlen(name));
		char err[1024];

		if (!key) {
			key_mistake(l, src, pos, t, name, NULL);
			set_wrong(l, t, NULL);
			continue;
		}
		pos = toml_pos_of(value);
		if (config_set(t->base, key, value, NULL, src->dir, err, sizeof(err)) < 0) {
			key_mistake(l, src, pos, t, name, err);
			set_wrong(l, t, key);
			continue;
		}
		if (key->type == CONFIG_FIELDS && !apply_fields(l, src, t, key, value)) {
			continue;
		}
		set_origin_at(&t->origins[key - t->keys], src, pos);
	}
}

static void drop_item(const struct target *t)
{
	config_drop(t->base, t->keys, t->nkeys);
	for (unsigned i = 0; i < t->nkeys; i++) {
		free(t->origins[i]);
		t->origins[i] = NULL;
	}
	if (t->wrong) {
		*t->wrong = 0;
	}
}

/* The entry with this name; one that has none yet matches nothing. */
static bool find_item(struct config *cfg, const struct config_list_table *list, const char *name, unsigned *index)
{
	for (*index = 0; *index < *config_count(cfg, list); ++*index) {
		const char *own = *(char **)(void *)((char *)config_item(cfg, list, *index) + list->name);

		if (name && own && strcmp(own, name) == 0) {
			return true;
		}
	}
	return false;
}

static const char *name_in(const struct toml_node *node)
{
	for (size_t i = 0; i < toml_count(node); i++) {
		const char *key;
		size_t len;
		const struct toml_node *value = toml_item(node, i, &key, NULL);

		if (strcmp(key, "name") == 0 && toml_type_of(value) == TOML_STRING) {
			return toml_string(value, &len);
		}
	}
	return NULL;
}

/* [[disk]]: an entry with the name of an earlier one takes its place, others are added. */
static void apply_list(struct load *l, const struct source *src, const struct config_list_table *list, const struct toml_node *node)
{
	for (size_t i = 0; i < toml_count(node); i++) {
		const struct toml_node *entry = toml_item(node, i, NULL, NULL);
		struct target t;
		unsigned index;

		if (toml_type_of(entry) != TOML_TABLE) {
			mistake(l, src->path, toml_pos_of(entry), "%s: expected tables, [[%s]]", list->table, list->table);
			continue;
		}
		if (!find_item(l->cfg, list, name_in(entry), &index)) {
			if (index == list->max) {
				mistake(l, src->path, toml_pos_of(entry), "more than %u [[%s]]", list->max, list->table);
				return;
			}
			++*config_count(l->cfg, list);
		}
		t = item_target(l->cfg, list, index);
		drop_item(&t);
		set_initial(&t);
		apply_table(l, src, &t, entry);
		if (!(*t.wrong & (1u | CONFIG_UNKNOWN_KEY)) && strcmp(t.origins[0], "default") == 0) {
			mistake(l, src->path, toml_pos_of(entry), "%s: %s is missing", list->table, t.keys[0].name);
			set_wrong(l, &t, &t.keys[0]);
		}
	}
}

static void load_text(struct load *l, const struct source *src, const char *text, size_t len);
static void load_file(struct load *l, const char *path, const struct source *parent, struct toml_pos pos);

static void apply_include(struct load *l, const struct source *src, const struct toml_node *value)
{
	if (toml_type_of(value) != TOML_ARRAY) {
		mistake(l, src->path, toml_pos_of(value), "include: expected an array of paths");
		return;
	}
	for (size_t i = 0; i < toml_count(value); i++) {
		const struct toml_node *item = toml_item(value, i, NULL, NULL);
		struct toml_pos pos = toml_pos_of(item);
		char path[PATH_MAX];
		const char *name;
		size_t len;

		if (toml_type_of(item) != TOML_STRING) {
			mistake(l, src->path, pos, "include: expected a path as a string");
			continue;
		}
		name = toml_string(item, &len);
		snprintf(path, sizeof(path), "%s%s%s", *name == '/' ? "" : src->dir, *name == '/' || !*src->dir ? "" : "/", name);
		if (src->depth >= INCLUDE_DEPTH_MAX) {
			mistake(l, src->path, pos, "include: more than %d files deep", INCLUDE_DEPTH_MAX);
			continue;
		}
		load_file(l, path, src, pos);
	}
}

static void apply_top(struct load *l, const struct source *src, const char *name, struct toml_pos pos, const struct toml_node *value)
{
	const struct config_list_table *list = config_find_list(name, strlen(name));
	unsigned n;

	if (!config_table_keys(name, strlen(name), &n)) {
		const char *near = nearest_table(name);

		mistake(l, src->path, pos, near ? "unknown key \"%s\"; did you mean \"%s\"?" : "unknown key \"%s\"", name, near);
	} else if (toml_type_of(value) != (list ? TOML_ARRAY : TOML_TABLE)) {
		mistake(l, src->path, toml_pos_of(value), list ? "%s: expected tables, [[%s]]" : "%s: expected a table, [%s]", name, name);
	} else if (list) {
		apply_list(l, src, list, value);
	} else {
		struct target t = plain_target(l->cfg, name, strlen(name));

		apply_table(l, src, &t, value);
	}
}

static void load_text(struct load *l, const struct source *src, const char *text, size_t len)
{
	char err[256];
	struct toml_pos pos;
	struct toml_doc *doc = toml_parse(text, len, err, sizeof(err), &pos);
	const struct toml_node *root, *value;
	const char *name;

	if (!doc) {
		mistake(l, src->path, pos, "%s", err);
		report_findings(l);
		return;
	}
	root = toml_root(doc);
	/* Included files first: what this one says wins. */
	for (size_t i = 0; i < toml_count(root); i++) {
		value = toml_item(root, i, &name, &pos);
		if (strcmp(name, "include") == 0) {
			apply_include(l, src, value);
		}
	}
	report_findings(l);
	for (size_t i = 0; i < toml_count(root); i++) {
		value = toml_item(root, i, &name, &pos);
		if (strcmp(name, "include") == 0) {
			continue;
		}
		if (strcmp(name, "config_version") == 0) {
			if (toml_type_of(value) != TOML_INTEGER || toml_integer(value) != CONFIG_VERSION) {
				mistake(l, src->path, toml_pos_of(value), "config_version: expected integer %d", CONFIG_VERSION);
			}
		} else {
			apply_top(l, src, name, pos, value);
		}
	}
	report_findings(l);
	toml_free(doc);
}

/* The whole file, at most one byte more than allowed. Return: malloc'ed, or NULL with errno. */
static char *read_all(int fd, size_t *len)
{
	char *text = malloc(TOML_TEXT_MAX + 2);
	ssize_t n = 0;

	*len = 0;
	while (text && *len <= TOML_TEXT_MAX && (n = read(fd, text + *len, TOML_TEXT_MAX + 1 - *len)) > 0) {
		*len += (size_t)n;
	}
	if (text && n < 0) {
		free(text);
		return NULL;
	}
	return text;
}

static bool is_cycle(const struct source *src)
{
	for (const struct source *up = src->parent; up; up = up->parent) {
		if (up->st.st_ino == src->st.st_ino && up->st.st_dev == src->st.st_dev && src->st.st_ino != 0) {
			return true;
		}
	}
	return false;
}

/* @pos: where @parent includes it; for the first file, 1:1 of itself. */
static void load_file(struct load *l, const char *path, const struct source *parent, struct toml_pos pos)
{
	struct source src = {.path = path, .parent = parent, .depth = parent ? parent->depth + 1 : 0};
	const char *blame = parent ? parent->path : path, *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err = errno;
	char *text = NULL;
	size_t len;

	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash == path ? 1 : slash - path) : 0, path);
	src.dir = dir;
	if (fd < 0 || fstat(fd, &src.st) < 0) {
		mistake(l, blame, pos, "%s: %s", path, strerror(err));
	} else if (S_ISDIR(src.st.st_mode)) {
		mistake(l, blame, pos, "%s: is a directory", path);
	} else if (is_cycle(&src)) {
		mistake(l, blame, pos, "include: %s includes itself", path);
	} else {
		text = read_all(fd, &len);
		if (text) {
			load_text(l, &src, text, len);
		} else {
			mistake(l, blame, pos, "%s: %s", path, strerror(errno));
		}
	}
	free(text);
	if (fd >= 0) {
		close(fd);
	}
}

/* `KEY=@FILE`: the file's content, without its last newline. Return: malloc'ed, or NULL (reported). */
static char *read_value(struct load *l, const char *set, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err = errno;
	size_t len;
	char *text = fd >= 0 ? read_all(fd, &len) : NULL;

	if (fd >= 0) {
		err = errno;
		close(fd);
	}
	if (!text) {
		set_mistake(l, set, "%s: %s", path, strerror(err));
		return NULL;
	}
	text[len] = '\0';
	if (len > 0 && text[len - 1] == '\n') {
		text[len - 1] = '\0';
	}
	return text;
}

/* "v = TEXT" as TOML, or the text as a string when that is no TOML. */
static struct toml_doc *parse_value(const char *text)
{
	char err[64], *line = NULL;
	struct toml_pos pos;
	struct toml_doc *doc = NULL;

	if (asprintf(&line, "v = %s\n", text) >= 0) {
		doc = toml_parse(line, strlen(line), err, sizeof(err), &pos);
		free(line);
	}
	if (doc && toml_count(toml_root(doc)) != 1) {
		toml_free(doc);
		doc = NULL;
	}
	if (!doc && !strstr(text, "'''") && asprintf(&line, "v = '''%s'''\n", text) >= 0) {
		doc = toml_parse(line, strlen(line), err, sizeof(err), &pos);
		free(line);
	}
	return doc;
}

/* One value into one place. */
static void set_key(struct load *l, const char *set, const struct target *t, const char *name, const char *text)
{
	const struct config_key *key = find_key(t->keys, t->nkeys, name, strlen(name));
	const struct source src = {.set = set, .dir = ""};
	const struct toml_pos nowhere = {0};
	struct toml_doc *doc;
	char err[256];

	if (!key) {
		key_mistake(l, &src, nowhere, t, name, NULL);
		set_wrong(l, t, NULL);
		return;
	}
	doc = parse_value(text);
	if (!doc) {
		set_mistake(l, set, "value not understood");
		set_wrong(l, t, key);
	} else if (config_set(t->base, key, toml_item(toml_root(doc), 0, NULL, NULL), text, src.dir, err, sizeof(err)) < 0) {
		set_mistake(l, set, "%s", err);
		set_wrong(l, t, key);
	} else if (key->type != CONFIG_FIELDS || apply_fields(l, &src, t, key, toml_item(toml_root(doc), 0, NULL, NULL))) {
		set_origin_at(&t->origins[key - t->keys], &src, nowhere);
	}
	toml_free(doc);
}

/* `disk.INDEX.KEY`: a number; `+`, or the number after the last, for one more; `*` for all there are. */
static void set_item(struct load *l, const char *set, const struct config_list_table *list, const char *index, size_t len, const char *name,
	const char *text)
{
	unsigned *count = config_count(l->cfg, list);
	bool all = len == 1 && *index == '*', more = len == 1 && *index == '+';
	unsigned long first = 0, last;
	char *end;
	struct target t;

	if (!all && !more) {
		first = strtoul(index, &end, 10);
		if (*index < '0' || *index > '9' || end != index + len) {
			set_mistake(l, set, "expected %s.NUMBER.KEY=VALUE", list->table);
			return;
		}
		more = first == *count;
	}
	if (more && *count == list->max) {
		set_mistake(l, set, "more than %u [[%s]]", list->max, list->table);
		return;
	}
	if (more) {
		first = (*count)++;
		t = item_target(l->cfg, list, (unsigned)first);
		set_initial(&t);
	}
	if (all && *count == 0) {
		set_mistake(l, set, "there is no [[%s]] that it could be set for", list->table);
		return;
	}
	if (first >= *count && !all) {
		set_mistake(l, set, "there is no [[%s]] number %lu: they count from 0", list->table, first);
		return;
	}
	last = all ? *count : first + 1;
	for (; first < last; first++) {
		t = item_target(l->cfg, list, (unsigned)first);
		set_key(l, set, &t, name, text);
	}
}

static void apply_set(struct load *l, const char *set)
{
	const char *equals = strchr(set, '='), *dot = strchr(set, '.'), *last_dot;
	const char *text = equals ? equals + 1 : "";
	const struct config_list_table *list;
	char name[64], *from_file = NULL;
	struct target t;
	unsigned n;

	last_dot = equals ? memrchr(set, '.', (size_t)(equals - set)) : NULL;
	if (!last_dot || (size_t)(equals - last_dot) > sizeof(name)) {
		set_mistake(l, set, "expected TABLE.KEY=VALUE");
		return;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(equals - last_dot - 1), last_dot + 1);
	list = config_find_list(set, (size_t)(dot - set));
	if (list ? last_dot == dot : last_dot != dot) {
		set_mistake(l, set, list ? "expected %s.NUMBER.KEY=VALUE" : "expected TABLE.KEY=VALUE", list ? list->table : "");
		return;
	}
	if (!config_table_keys(set, (size_t)(dot - set), &n)) {
		char table[64];
		const char *near;

		snprintf(table, sizeof(table), "%.*s", (int)(dot - set), set);
		near = nearest_table(table);
		set_mistake(l, set, near ? "unknown table \"%s\"; did you mean \"%s\"?" : "unknown table \"%s\"", table, near);
		return;
	}
	if (*text == '@') {
		from_file = read_value(l, set, text + 1);
		if (!from_file) {
			return;
		}
		text = from_file;
	}
	if (list) {
		set_item(l, set, list, dot + 1, (size_t)(last_dot - dot - 1), name, text);
	} else {
		t = plain_target(l->cfg, set, (size_t)(dot - set));
		set_key(l, set, &t, name, text);
	}
	free(from_file);
}

/* --ephemeral: true of no disks as well. */
static void make_ephemeral(struct load *l)
{
	if (l->cfg->ndisks > 0) {
		apply_set(l, "disk.*.ephemeral=true");
	}
}

/* The directory of vm.toml, or the stem of another file, made into a legal name. */
static void name_from_path(struct config *cfg, const char *path)
{
	char absolute[PATH_MAX], name[CONFIG_NAME_MAX + 1] = "";
	const char *base = "vm", *end;
	size_t n = 0;

	if (path && strcmp(path, "-") != 0 && realpath(path, absolute)) {
		char *slash = strrchr(absolute, '/');

		base = slash + 1;
		if (strcmp(base, "vm.toml") == 0) {
			*slash = '\0';
			base = strrchr(absolute, '/') ? strrchr(absolute, '/') + 1 : "vm";
		}
	}
	end = strrchr(base, '.') && strcmp(strrchr(base, '.'), ".toml") == 0 ? strrchr(base, '.') : base + strlen(base);
	for (; base < end && n < CONFIG_NAME_MAX; base++) {
		char c = (char)tolower((unsigned char)*base);

		if (isalnum((unsigned char)c) || (n > 0 && strchr("._-", c))) {
			name[n++] = c;
		}
	}
	free(cfg->machine.name);
	cfg->machine.name = strdup(n ? name : "vm");
}

static void set_initial(const struct target *t)
{
	char err[64];

	for (unsigned i = 0; i < t->nkeys; i++) {
		const struct config_key *key = &t->keys[i];

		if (key->initial) {
			struct toml_doc *doc = parse_value(*key->initial ? key->initial : "''");

			config_set(t->base, key, toml_item(toml_root(doc), 0, NULL, NULL), key->initial, "", err, sizeof(err));
			toml_free(doc);
		}
		set_origin(&t->origins[i], "default");
	}
}

/* Every table that there is once. */
static void set_all_initial(struct config *cfg)
{
	for (unsigned i = 0; i < config_nkeys;) {
		const char *table = config_keys[i].table;
		struct target t = plain_target(cfg, table, strlen(table));

		if (!config_find_list(table, strlen(table))) {
			set_initial(&t);
		}
		i += t.nkeys;
	}
}

static void __attribute__((format(printf, 3, 4))) whole_mistake(struct load *l, const char *where, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	whole_vmistake(l, where, fmt, ap);
	va_end(ap);
}

/* Whether @name of a list's table is among the keys in @wrong, or may have been meant by one of them. */
static bool is_wrong(const char *table, uint32_t wrong, const char *name)
{
	unsigned n;
	const struct config_key *keys = config_table_keys(table, strlen(table), &n);

	return wrong & (1u << (find_key(keys, n, name, strlen(name)) - keys) | CONFIG_UNKNOWN_KEY);
}

/* Whether @key, of a table that comes once, has the value it was meant to have. */
static bool is_known(const struct load *l, const char *key)
{
	const char *dot = strchr(key, '.');
	unsigned n;
	const struct config_key *keys = config_table_keys(key, (size_t)(dot - key), &n);

	return !l->wrong[find_key(keys, n, dot + 1, strlen(dot + 1)) - config_keys];
}

/* The same of a field of expect.screen. */
static bool is_screen_known(const struct config_screen *s, const char *name)
{
	unsigned n;
	const struct config_key *keys = config_table_keys("expect", strlen("expect"), &n);
	const struct config_fields *fields = find_key(keys, n, "screen", strlen("screen"))->values;

	return !(s->wrong & (1u << (find_key(fields->keys, fields->n, name, strlen(name)) - fields->keys) | CONFIG_UNKNOWN_KEY));
}

static const char *disk_where(const struct config *cfg, unsigned i, const char *name)
{
	char key[64];

	snprintf(key, sizeof(key), "disk.%u.%s", i, name);
	return config_where(cfg, key);
}

static void check_disks(struct load *l)
{
	struct config *cfg = l->cfg;
	unsigned roots = 0;

	for (unsigned i = 0; i < cfg->ndisks; i++) {
		struct config_disk *d = &cfg->disk[i];

		if (!d->path && !is_wrong("disk", d->wrong, "path")) {
			whole_mistake(l, "--set", "disk.%u.path is missing", i);
		}
		if (d->format == DISK_FORMAT_QCOW2) {
			whole_mistake(l, disk_where(cfg, i, "format"), "disk.format: qcow2 is not supported: qemu-img convert -O raw %s NEW", d->path ? d->path : "OLD");
		}
		if (d->root && roots++) {
			whole_mistake(l, disk_where(cfg, i, "root"), "disk.root: more than one disk is the root");
		}
		if (!d->name && asprintf(&d->name, "disk%u", i) < 0) {
			d->name = NULL;
		}
		for (unsigned j = 0; j < i; j++) {
			if (d->name && cfg->disk[j].name && strcmp(d->name, cfg->disk[j].name) == 0) {
				whole_mistake(l, disk_where(cfg, i, "name"), "disk.name: two disks are called \"%s\"", d->name);
			}
		}
	}
	if (roots && cfg->boot.initrd.n == 0 && l->mistakes == 0) {
		fprintf(l->report, "%s: warning: a root disk without an initrd: most distributions' kernels cannot read a disk by themselves\n",
			config_where(cfg, "boot.kernel"));
	}
}

static const char *input_where(const struct config *cfg, unsigned i, const char *name)
{
	char key[64];

	snprintf(key, sizeof(key), "input.%u.%s", i, name);
	return config_where(cfg, key);
}

/* What only a device of the host can have. */
static void check_emulated(struct load *l, unsigned i)
{
	unsigned n;
	const struct config_key *keys = config_table_keys("input", strlen("input"), &n);

	for (unsigned k = 0; k < n; k++) {
		const char *origin = l->cfg->input[i].origin[k];

		if (strncmp(keys[k].help, "evdev: ", 7) == 0 && strcmp(origin, "default") != 0 && !is_wrong("input", l->cfg->input[i].wrong, keys[k].name)) {
			whole_mistake(l, origin, "input.%s goes with type = \"evdev\" only", keys[k].name);
		}
	}
}

/* Values that are wrong whatever the others are. */
static void check_evdev_keys(struct load *l, unsigned i)
{
	const struct config *cfg = l->cfg;
	const struct config_input_device *in = &cfg->input[i];
	struct evdev_chord chord;
	char err[160];

	if (evdev_chord_parse(&chord, in->toggle, err, sizeof(err)) < 0) {
		whole_mistake(l, input_where(cfg, i, "toggle"), "input.toggle: %s", err);
	}
	for (unsigned k = 0; k < in->reserve.n; k++) {
		if (key_name_code(in->reserve.item[k], strlen(in->reserve.item[k])) < 0) {
			whole_mistake(l, input_where(cfg, i, "reserve"), "input.reserve: \"%s\" is no key: want names such as volumeup or KEY_SYSRQ",
				in->reserve.item[k]);
		}
	}
}

static void check_evdev(struct load *l, unsigned i)
{
	const struct config *cfg = l->cfg;
	const struct config_input_device *in = &cfg->input[i];

	if ((in->path != NULL) + (in->match != NULL) + (in->fd != 0) != 1 && !is_wrong("input", in->wrong, "path") && !is_wrong("input", in->wrong, "match") &&
		!is_wrong("input", in->wrong, "fd")) {
		whole_mistake(l, input_where(cfg, i, "type"), "input: an evdev device is named by one of path, match and fd");
	}
	check_evdev_keys(l, i);
	if (in->wait && in->fd) {
		whole_mistake(l, input_where(cfg, i, "wait"), "input.wait: a descriptor does not come later");
	}
}

static void check_inputs(struct load *l)
{
	struct config *cfg = l->cfg;
	unsigned of_kind[INPUT_EVDEV + 1] = {0};

	for (unsigned i = 0; i < cfg->ninputs; i++) {
		struct config_input_device *in = &cfg->input[i];

		if (strcmp(in->origin[0], "default") == 0) {
			if (!is_wrong("input", in->wrong, "type")) {
				whole_mistake(l, "--set", "input.%u.type is missing", i);
			}
			check_evdev_keys(l, i);
			continue;
		}
		if (!in->name && asprintf(&in->name, "%s%u", config_input_kind(in->type), of_kind[in->type]) < 0) {
			in->name = NULL;
		}
		of_kind[in->type]++;
		if (in->type != INPUT_KEYBOARD && strcmp(in->origin[2], "default") != 0) {
			whole_mistake(l, in->origin[2], "input.layout: only a keyboard of the VM's own has one (type = \"keyboard\")");
		}
		for (unsigned j = 0; j < i; j++) {
			if (in->name && cfg->input[j].name && strcmp(in->name, cfg->input[j].name) == 0) {
				whole_mistake(l, input_where(cfg, i, strcmp(in->origin[1], "default") == 0 ? "type" : "name"),
					"input.name: two input devices are called \"%s\"", in->name);
			}
		}
		if (in->type == INPUT_EVDEV) {
			check_evdev(l, i);
		} else {
			check_emulated(l, i);
		}
	}
}

/* Each has an interrupt pin of its own, and the IOAPIC has 24. */
static void check_devices(struct load *l)
{
	const struct config *cfg = l->cfg;
	unsigned n = cfg->ndisks + cfg->ninputs + (cfg->console.type != CONSOLE_NONE) + cfg->rng.enable + (cfg->gpu.mode != GPU_OFF);

	if (n > X86_VIRTIO_MAX) {
		whole_mistake(l, cfg->ninputs ? input_where(cfg, cfg->ninputs - 1, "type") : "tinyvmm",
			"%u virtio devices (disks, input devices, display, console, rng): there are interrupt lines for %d", n, X86_VIRTIO_MAX);
	}
}

/* A display is of little use without them. */
static void add_inputs(struct load *l)
{
	static const struct {
		enum input_kind type;
		const char *name;
	} wanted[] = {{INPUT_KEYBOARD, "keyboard0"}, {INPUT_TABLET, "tablet0"}};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct config_input_device *in = &l->cfg->input[l->cfg->ninputs];
		struct target t = item_target(l->cfg, config_find_list("input", 5), l->cfg->ninputs++);

		set_initial(&t);
		in->type = wanted[i].type;
		in->name = strdup(wanted[i].name);
	}
}

/* What cannot be seen before the VM is ended. */
static void check_screen_times(struct load *l)
{
	const struct config *cfg = l->cfg;
	uint64_t timeout_ns = l->timeout_ns ? l->timeout_ns : cfg->expect.timeout_ns;

	if (!l->timeout_ns && !is_known(l, "expect.timeout")) {
		return;
	}
	if (cfg->expect.screen && cfg->expect.screen->stable_ns >= timeout_ns) {
		whole_mistake(l, config_where(cfg, "expect.screen.stable"), "expect.screen.stable: %" PRIu64 " ms, but %s is over after %" PRIu64 " ms",
			cfg->expect.screen->stable_ns / (uint64_t)CLOCK_NS_PER_MS, l->timeout_ns ? "--timeout" : "expect.timeout", timeout_ns / (uint64_t)CLOCK_NS_PER_MS);
	}
	/* A shorter time for all of it does not make this one wrong: something may be shown before. */
	if (!l->timeout_ns && cfg->expect.first_frame_ns > timeout_ns) {
		whole_mistake(l, config_where(cfg, "expect.first_frame"), "expect.first_frame: %" PRIu64 " ms, but expect.timeout is over after %" PRIu64 " ms",
			cfg->expect.first_frame_ns / (uint64_t)CLOCK_NS_PER_MS, timeout_ns / (uint64_t)CLOCK_NS_PER_MS);
	}
}

static void check_screen(struct load *l)
{
	const struct config *cfg = l->cfg;
	const struct config_screen *s = cfg->expect.screen;

	if (cfg->gpu.mode == GPU_OFF && is_known(l, "gpu.mode") && (s || cfg->expect.first_frame_ns)) {
		const char *key = s ? "expect.screen" : "expect.first_frame";

		whole_mistake(l, config_where(cfg, key), "%s: the VM has no display: gpu.mode is \"off\"", key);
	} else if (s && s->scanout >= cfg->gpu.scanouts && is_known(l, "gpu.scanouts")) {
		whole_mistake(l, config_where(cfg, "expect.screen.scanout"), "expect.screen.scanout: %u, but gpu.scanouts is %u", s->scanout, cfg->gpu.scanouts);
	}
	if (s && !s->image && !is_screen_known(s, "image")) {
		/* With it the rest may be right. */
	} else if (s && !s->image && !s->stable_ns && is_screen_known(s, "stable")) {
		whole_mistake(l, config_where(cfg, "expect.screen"), "expect.screen: like which image, or stable for how long?");
	} else if (s && !s->image) {
		if (s->tolerance > 0) {
			whole_mistake(l, config_where(cfg, "expect.screen.tolerance"), "expect.screen.tolerance goes with image only");
		}
		if (s->max_diff > 0) {
			whole_mistake(l, config_where(cfg, "expect.screen.max_diff"), "expect.screen.max_diff goes with image only");
		}
	}
	if (s && s->region.w && s->scanout < cfg->gpu.scanouts && is_known(l, "gpu.size")) {
		const struct config_pixels *sizes = &cfg->gpu.size;
		unsigned i = s->scanout < sizes->n ? s->scanout : sizes->n - 1;

		if (s->region.x + s->region.w > sizes->item[i].width || s->region.y + s->region.h > sizes->item[i].height) {
			fprintf(l->report, "%s: warning: expect.screen.region: not inside the %ux%u pixels of gpu.size: the guest must choose another size\n",
				config_where(cfg, "expect.screen.region"), sizes->item[i].width, sizes->item[i].height);
		}
	}
	check_screen_times(l);
}

static const char *const gpu_names[] = {[GPU_OFF] = "off", [GPU_2D] = "2d", [GPU_VIRGL] = "virgl"};

static enum config_display without_window(const struct config *cfg)
{
	return cfg->gpu.mode == GPU_VIRGL ? DISPLAY_EGL_HEADLESS : DISPLAY_NONE;
}

void config_no_window(struct config *cfg)
{
	cfg->display.type = cfg->display.type == DISPLAY_SDL ? without_window(cfg) : cfg->display.type;
}

/* A window needs something to show, and users have numbers. */
static void check_display(struct load *l)
{
	struct config *cfg = l->cfg;

	cfg->display.by_default = strcmp(config_where(cfg, "display.type"), "default") == 0;
	if (cfg->display.by_default) {
		cfg->display.type = cfg->gpu.mode != GPU_OFF && view_start_has_display() ? DISPLAY_SDL : without_window(cfg);
	}
	if (l->headless && (cfg->display.type == DISPLAY_SDL || (cfg->display.type == DISPLAY_EGL_HEADLESS && cfg->gpu.mode != GPU_VIRGL))) {
		struct target t = plain_target(cfg, "display", strlen("display"));

		cfg->display.type = without_window(cfg);
		set_origin(&t.origins[find_key(t.keys, t.nkeys, "type", strlen("type")) - t.keys], "--headless");
	}
	if (cfg->display.type == DISPLAY_SDL && cfg->gpu.mode == GPU_OFF && is_known(l, "gpu.mode")) {
		whole_mistake(l, config_where(cfg, "display.type"), "display.type is \"sdl\", but the VM has no display: gpu.mode is \"off\"");
	}
	if (cfg->display.type == DISPLAY_EGL_HEADLESS && cfg->gpu.mode != GPU_VIRGL && is_known(l, "gpu.mode")) {
		whole_mistake(l, config_where(cfg, "display.type"), "display.type is \"egl-headless\", but no OpenGL draws the display: gpu.mode is \"%s\", not \"virgl\"", gpu_names[cfg->gpu.mode]);
	}
	for (unsigned i = 0; is_known(l, "display.allow") && i < cfg->display.allow.n; i++) {
		const char *user = cfg->display.allow.item[i];

		if (strncmp(user, "uid:", 4) != 0 || !user[4] || strspn(user + 4, "0123456789") != strlen(user + 4) || strlen(user + 4) > 9) {
			whole_mistake(l, config_where(cfg, "display.allow"), "display.allow: expected a user such as \"uid:1000\", got \"%s\"", user);
		}
	}
}

/* Keys of [gpu] that ask for what the mode does not have. One with what nobody asks for says nothing wrong; and who says "off" keeps the rest for another day. */
static void check_gpu_mode(struct load *l)
{
	const struct config *cfg = l->cfg;
	bool is_off = cfg->gpu.mode == GPU_OFF, is_virgl = cfg->gpu.mode == GPU_VIRGL;
	const struct {
		const char *key;
		bool is_vain;
		const char *why; /* beside the mode */
	} keys[] = {
		{"gpu.size", is_off, ""},
		{"gpu.refresh", is_off, ""},
		{"gpu.scanouts", is_off, ""},
		{"gpu.max_host_memory", is_off, ""},
		{"gpu.render_node", !is_virgl && strcmp(cfg->gpu.render_node, "auto") != 0, ""},
		{"gpu.fallback", !is_virgl && cfg->gpu.fallback, ""},
		{"gpu.blob", cfg->gpu.blob && (is_off || (is_virgl && !cfg->gpu.fallback)), is_virgl ? " without gpu.fallback" : ""},
	};

	if (!is_known(l, "gpu.mode") || (is_off && strcmp(config_where(cfg, "gpu.mode"), "default") != 0)) {
		return;
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *where = config_where(cfg, keys[i].key);

		if (keys[i].is_vain && strcmp(where, "default") != 0 && is_known(l, keys[i].key)) {
			fprintf(l->report, "%s: warning: %s has no use: gpu.mode is \"%s\"%s%s\n", where, keys[i].key, gpu_names[cfg->gpu.mode], keys[i].why,
				is_off ? " when nothing is said" : "");
		}
	}
}

/* What 3D takes by default, sizes that no output has, and outputs that cannot show one picture. */
static void check_gpu(struct load *l)
{
	struct config *cfg = l->cfg;
	uint64_t need = 0;

	if (cfg->gpu.mode == GPU_VIRGL && strcmp(config_where(cfg, "gpu.max_host_memory"), "default") == 0) {
		cfg->gpu.max_host_memory = (uint64_t)1 << 30;
	}
	check_gpu_mode(l);
	if (!is_known(l, "gpu.size") || !is_known(l, "gpu.scanouts")) {
		return;
	}
	if (cfg->gpu.size.n > cfg->gpu.scanouts) {
		whole_mistake(l, config_where(cfg, "gpu.size"), "gpu.size has %u sizes, but gpu.scanouts is %u", cfg->gpu.size.n, cfg->gpu.scanouts);
		return;
	}
	for (unsigned i = 0; i < cfg->gpu.scanouts; i++) {
		unsigned size = i < cfg->gpu.size.n ? i : cfg->gpu.size.n - 1;

		need += (uint64_t)cfg->gpu.size.item[size].width * cfg->gpu.size.item[size].height * 4;
	}
	if (cfg->gpu.mode != GPU_OFF && is_known(l, "gpu.max_host_memory") && need > cfg->gpu.max_host_memory) {
		fprintf(l->report, "%s: warning: gpu.max_host_memory is %" PRIu64 "M, but one picture for each output takes %" PRIu64 "M\n",
			config_where(cfg, "gpu.max_host_memory"), cfg->gpu.max_host_memory >> 20, (need + (1 << 20) - 1) >> 20);
	}
}

/* What else only makes sense together, and what this host has. */
static void check_whole(struct load *l, const char *path)
{
	struct config *cfg = l->cfg;
	struct sysinfo si;
	/* There is always one, and looking for more costs a file. */
	long host_cpus = cfg->machine.cpus > 1 ? sysconf(_SC_NPROCESSORS_ONLN) : 1;

	if (!cfg->boot.kernel && is_known(l, "boot.kernel")) {
		whole_mistake(l, path, "boot.kernel is missing: which kernel should boot?");
	}
	if (cfg->console.type == CONSOLE_FILE && !cfg->console.path && is_known(l, "console.log")) {
		whole_mistake(l, config_where(cfg, "console.type"), "console.type is \"file\", but console.log names no file");
	}
	if (cfg->serial.type == CONSOLE_FILE && !cfg->serial.path && is_known(l, "serial.log")) {
		whole_mistake(l, config_where(cfg, "serial.type"), "serial.type is \"file\", but serial.log names no file");
	}
	/* The guest's own exit code needs a way out. */
	if (cfg->expect.exit == EXPECT_EXIT_GUEST && cfg->machine.exit_port == EXIT_PORT_OFF) {
		cfg->machine.exit_port = EXIT_PORT_CODE;
	}
	if (sysinfo(&si) == 0 && cfg->machine.memory > (uint64_t)si.totalram * si.mem_unit) {
		whole_mistake(l, config_where(cfg, "machine.memory"), "machine.memory: this host has %" PRIu64 "M",
			(uint64_t)si.totalram * si.mem_unit >> 20);
	}
	check_gpu(l);
	if (cfg->gpu.mode != GPU_OFF && cfg->ninputs == 0) {
		add_inputs(l);
	}
	check_devices(l);
	check_display(l);
	check_screen(l);
	if (host_cpus > 0 && cfg->machine.cpus > (unsigned long)host_cpus) {
		fprintf(l->report, "%s: warning: machine.cpus is %u, but this host has %ld\n", config_where(cfg, "machine.cpus"),
			cfg->machine.cpus, host_cpus);
	}
}

int config_load(struct config *cfg, const struct config_input *in, FILE *report)
{
	struct load l = {.cfg = cfg, .report = report, .timeout_ns = in->timeout_ns, .headless = in->headless};
	const char *path = in->path ? in->path : "command line";
	bool is_all_read;

	*cfg = (struct config){.origins = calloc(config_nkeys, sizeof(char *))};
	l.wrong = calloc(config_nkeys, sizeof(*l.wrong));
	if (!cfg->origins || !l.wrong) {
		free(l.wrong);
		return 1;
	}
	set_all_initial(cfg);
	name_from_path(cfg, in->path);
	if (in->text) {
		struct source src = {.path = in->path && strcmp(in->path, "-") != 0 ? in->path : "<stdin>", .dir = ""};

		path = src.path;
		load_text(&l, &src, in->text, in->text_len);
	} else if (in->path && !*in->path) {
		whole_mistake(&l, "tinyvmm", "the configuration file's name is empty");
	} else if (in->path) {
		load_file(&l, in->path, NULL, (struct toml_pos){1, 1});
	}
	for (unsigned i = 0; i < in->nsets; i++) {
		apply_set(&l, in->sets[i]);
	}
	if (in->ephemeral) {
		make_ephemeral(&l);
	}
	report_findings(&l);
	is_all_read = l.mistakes == l.located;
	/* What is wrong already is known by key, and nothing is told twice. */
	check_disks(&l);
	check_inputs(&l);
	/* Not where something could not be read at all, which may be what is missing. */
	if (is_all_read) {
		check_whole(&l, path);
	}
	free(l.wrong);
	return l.mistakes;
}

const char *config_where(const struct config *cfg, const char *key)
{
	const char *dot = strchr(key, '.'), *name = dot + 1;
	size_t len = (size_t)(dot - key);
	const struct config_list_table *list = config_find_list(key, len);
	struct target t = list ? item_target((struct config *)cfg, list, (unsigned)strtoul(name, NULL, 10)) : plain_target((struct config *)cfg, key, len);
	const struct config_key *found, *field;
	const char *origin;

	name = list ? strchr(name, '.') + 1 : name;
	found = find_key(t.keys, t.nkeys, name, strcspn(name, "."));
	origin = found ? t.origins[found - t.keys] : NULL;
	name = strchr(name, '.');
	if (name && found && found->type == CONFIG_FIELDS && config_fields_of(t.base, found)) {
		t = fields_target(&t, found);
		field = find_key(t.keys, t.nkeys, name + 1, strlen(name + 1));
		origin = field && t.origins[field - t.keys] ? t.origins[field - t.keys] : origin;
	}
	return origin ? origin : "default";
}

const char *config_input_kind(enum input_kind kind)
{
	static const char *const names[] = {"keyboard", "mouse", "tablet", "multitouch", "evdev"};

	return names[kind];
}

const char *config_display_name(enum config_display type)
{
	static const char *const names[] = {[DISPLAY_NONE] = "none", [DISPLAY_SDL] = "sdl", [DISPLAY_EGL_HEADLESS] = "egl-headless"};

	return names[type];
}

struct disk_options config_disk_options(const struct config_disk *d)
{
	return (struct disk_options){.path = d->path, .readonly = d->readonly, .ephemeral = d->ephemeral, .overlay_dir = d->overlay_dir,
		.cache = d->cache, .discard = d->discard};
}

void config_finish(struct config *cfg)
{
	for (unsigned i = 0; cfg->origins && i < config_nkeys;) {
		const char *table = config_keys[i].table;
		const struct config_list_table *list = config_find_list(table, strlen(table));
		struct target t = plain_target(cfg, table, strlen(table));

		for (unsigned n = 0; list && n < *config_count(cfg, list); n++) {
			struct target item = item_target(cfg, list, n);

			drop_item(&item);
		}
		if (!list) {
			drop_item(&t);
		}
		i += t.nkeys;
	}
	free(cfg->origins);
	*cfg = (struct config){.origins = NULL};
}
