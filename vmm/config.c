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

#include "vmm/config_keys.h"
#include "vmm/suggest.h"

#define INCLUDE_DEPTH_MAX 8
#define CONFIG_VERSION 1

/* One file being read, and those that included it. */
struct source {
	const char *path; /* as messages name it */
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
	int mistakes;
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

static void set_origin(struct config *cfg, unsigned index, const char *text)
{
	free(cfg->origins[index]);
	cfg->origins[index] = strdup(text);
}

static const struct config_key *find_key(const char *table, size_t table_len, const char *name)
{
	for (unsigned i = 0; i < config_nkeys; i++) {
		const struct config_key *key = &config_keys[i];

		if (strlen(key->table) == table_len && memcmp(key->table, table, table_len) == 0 && strcmp(key->name, name) == 0) {
			return key;
		}
	}
	return NULL;
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

static const char *nearest_key(const char *table, size_t table_len, const char *name)
{
	struct suggest s;

	suggest_init(&s, name, strlen(name));
	for (unsigned i = 0; i < config_nkeys; i++) {
		if (strlen(config_keys[i].table) == table_len && memcmp(config_keys[i].table, table, table_len) == 0) {
			suggest_offer(&s, config_keys[i].name);
		}
	}
	return s.best;
}

static bool is_table(const char *name)
{
	for (unsigned i = 0; i < config_nkeys; i++) {
		if (strcmp(config_keys[i].table, name) == 0) {
			return true;
		}
	}
	return false;
}

static void apply_table(struct load *l, const struct source *src, const char *table, const struct toml_node *node)
{
	for (size_t i = 0; i < toml_count(node); i++) {
		struct toml_pos pos;
		const char *name, *near;
		const struct toml_node *value = toml_item(node, i, &name, &pos);
		const struct config_key *key = find_key(table, strlen(table), name);
		char err[256], origin[PATH_MAX + 32];

		if (!key) {
			near = nearest_key(table, strlen(table), name);
			mistake(l, src->path, pos, near ? "unknown key \"%s\" in [%s]; did you mean \"%s\"?" : "unknown key \"%s\" in [%s]", name, table,
				near);
			continue;
		}
		pos = toml_pos_of(value);
		if (config_set(l->cfg, key, value, NULL, src->dir, err, sizeof(err)) < 0) {
			mistake(l, src->path, pos, "%s.%s: %s", table, name, err);
			continue;
		}
		snprintf(origin, sizeof(origin), "%s:%u:%u", src->path, pos.line, pos.column);
		set_origin(l->cfg, (unsigned)(key - config_keys), origin);
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
		} else if (!is_table(name)) {
			const char *near = nearest_table(name);

			mistake(l, src->path, pos, near ? "unknown key \"%s\"; did you mean \"%s\"?" : "unknown key \"%s\"", name, near);
		} else if (toml_type_of(value) != TOML_TABLE) {
			mistake(l, src->path, toml_pos_of(value), "%s: expected a table, [%s]", name, name);
		} else {
			apply_table(l, src, name, value);
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

static void __attribute__((format(printf, 3, 4))) set_mistake(struct load *l, const char *set, const char *fmt, ...)
{
	va_list ap;

	fprintf(l->report, "--set %s: error: ", set);
	va_start(ap, fmt);
	vfprintf(l->report, fmt, ap);
	va_end(ap);
	fputc('\n', l->report);
	l->mistakes++;
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

static void apply_set(struct load *l, const char *set)
{
	const char *equals = strchr(set, '='), *dot = strchr(set, '.');
	char name[64], err[256], origin[300], *from_file = NULL;
	const char *text = equals ? equals + 1 : "";
	const struct config_key *key = NULL;
	struct toml_doc *doc;

	if (!equals || !dot || dot > equals || (size_t)(equals - dot) > sizeof(name)) {
		set_mistake(l, set, "expected TABLE.KEY=VALUE");
		return;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(equals - dot - 1), dot + 1);
	key = find_key(set, (size_t)(dot - set), name);
	if (!key) {
		const char *near = nearest_key(set, (size_t)(dot - set), name);

		set_mistake(l, set, near ? "unknown key \"%s\"; did you mean \"%s\"?" : "unknown key \"%s\"", name, near);
		return;
	}
	if (*text == '@') {
		from_file = read_value(l, set, text + 1);
		if (!from_file) {
			return;
		}
		text = from_file;
	}
	doc = parse_value(text);
	if (!doc) {
		set_mistake(l, set, "value not understood");
	} else if (config_set(l->cfg, key, toml_item(toml_root(doc), 0, NULL, NULL), text, "", err, sizeof(err)) < 0) {
		set_mistake(l, set, "%s", err);
	} else {
		snprintf(origin, sizeof(origin), "--set %.280s", set);
		set_origin(l->cfg, (unsigned)(key - config_keys), origin);
	}
	toml_free(doc);
	free(from_file);
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

static void set_initial(struct config *cfg)
{
	char err[64];

	for (unsigned i = 0; i < config_nkeys; i++) {
		const struct config_key *key = &config_keys[i];

		if (key->initial) {
			struct toml_doc *doc = parse_value(*key->initial ? key->initial : "''");

			config_set(cfg, key, toml_item(toml_root(doc), 0, NULL, NULL), key->initial, "", err, sizeof(err));
			toml_free(doc);
		}
		set_origin(cfg, i, "default");
	}
}

/* What only makes sense together, and what this host has. */
static void check_whole(struct load *l, const char *path)
{
	struct config *cfg = l->cfg;
	struct sysinfo si;
	long host_cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!cfg->boot.kernel) {
		fprintf(l->report, "%s: error: boot.kernel is missing: which kernel should boot?\n", path);
		l->mistakes++;
	}
	if (cfg->console.type == CONSOLE_FILE && !cfg->console.path) {
		fprintf(l->report, "%s: error: console.type is \"file\", but console.log names no file\n", config_where(cfg, "console.type"));
		l->mistakes++;
	}
	if (cfg->serial.type == CONSOLE_FILE && !cfg->serial.path) {
		fprintf(l->report, "%s: error: serial.type is \"file\", but serial.log names no file\n", config_where(cfg, "serial.type"));
		l->mistakes++;
	}
	if (sysinfo(&si) == 0 && cfg->machine.memory > (uint64_t)si.totalram * si.mem_unit) {
		fprintf(l->report, "%s: error: machine.memory: this host has %" PRIu64 "M\n", config_where(cfg, "machine.memory"),
			(uint64_t)si.totalram * si.mem_unit >> 20);
		l->mistakes++;
	}
	if (host_cpus > 0 && cfg->machine.cpus > (unsigned long)host_cpus) {
		fprintf(l->report, "%s: warning: machine.cpus is %u, but this host has %ld\n", config_where(cfg, "machine.cpus"),
			cfg->machine.cpus, host_cpus);
	}
}

int config_load(struct config *cfg, const struct config_input *in, FILE *report)
{
	struct load l = {.cfg = cfg, .report = report};
	const char *path = in->path ? in->path : "command line";

	*cfg = (struct config){.origins = calloc(config_nkeys, sizeof(char *))};
	if (!cfg->origins) {
		return 1;
	}
	set_initial(cfg);
	name_from_path(cfg, in->path);
	if (in->text) {
		struct source src = {.path = in->path && strcmp(in->path, "-") != 0 ? in->path : "<stdin>", .dir = ""};

		path = src.path;
		load_text(&l, &src, in->text, in->text_len);
	} else if (in->path) {
		load_file(&l, in->path, NULL, (struct toml_pos){1, 1});
	}
	for (unsigned i = 0; i < in->nsets; i++) {
		apply_set(&l, in->sets[i]);
	}
	report_findings(&l);
	/* Only a configuration without mistakes is looked at as a whole: otherwise one mistake would be told twice. */
	if (l.mistakes == 0) {
		check_whole(&l, path);
		report_findings(&l);
	}
	return l.mistakes;
}

const char *config_where(const struct config *cfg, const char *key)
{
	const char *dot = strchr(key, '.');
	const struct config_key *found = find_key(key, (size_t)(dot - key), dot + 1);

	return found && cfg->origins[found - config_keys] ? cfg->origins[found - config_keys] : "default";
}

void config_finish(struct config *cfg)
{
	free(cfg->machine.name);
	free(cfg->boot.kernel);
	for (unsigned i = 0; i < cfg->boot.ninitrds; i++) {
		free(cfg->boot.initrd[i]);
	}
	free(cfg->boot.cmdline);
	free(cfg->console.path);
	free(cfg->serial.path);
	for (unsigned i = 0; cfg->origins && i < config_nkeys; i++) {
		free(cfg->origins[i]);
	}
	free(cfg->origins);
	*cfg = (struct config){.origins = NULL};
}
