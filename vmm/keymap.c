/* SPDX-License-Identifier: MIT */
#include "vmm/keymap.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <xkbcommon/xkbcommon-compose.h>
#include <xkbcommon/xkbcommon.h>

#include "vmm/log.h"

/* Between the codes of evdev and those of xkb. */
#define CODE_OFFSET 8
#define DEFAULT_LOCALE "en_US.UTF-8"

/* Every function that is used, with its own type. */
struct xkb {
	__typeof__(&xkb_context_new) context_new;
	__typeof__(&xkb_context_unref) context_unref;
	__typeof__(&xkb_context_set_log_fn) context_set_log_fn;
	__typeof__(&xkb_context_set_log_level) context_set_log_level;
	__typeof__(&xkb_context_include_path_append_default) context_include_path_append_default;
	__typeof__(&xkb_context_num_include_paths) context_num_include_paths;
	__typeof__(&xkb_context_include_path_get) context_include_path_get;
	__typeof__(&xkb_keymap_new_from_names) keymap_new_from_names;
	__typeof__(&xkb_keymap_unref) keymap_unref;
	__typeof__(&xkb_state_new) state_new;
	__typeof__(&xkb_state_unref) state_unref;
	__typeof__(&xkb_state_update_key) state_update_key;
	__typeof__(&xkb_state_key_get_one_sym) state_key_get_one_sym;
	__typeof__(&xkb_keysym_from_name) keysym_from_name;
	__typeof__(&xkb_keysym_to_utf32) keysym_to_utf32;
	__typeof__(&xkb_compose_table_new_from_buffer) compose_table_new_from_buffer;
	__typeof__(&xkb_compose_table_unref) compose_table_unref;
	__typeof__(&xkb_compose_state_new) compose_state_new;
	__typeof__(&xkb_compose_state_unref) compose_state_unref;
	__typeof__(&xkb_compose_state_reset) compose_state_reset;
	__typeof__(&xkb_compose_state_feed) compose_state_feed;
	__typeof__(&xkb_compose_state_get_status) compose_state_get_status;
	__typeof__(&xkb_compose_state_get_utf8) compose_state_get_utf8;
};

struct keymap {
	struct xkb_context *context;
	struct xkb_keymap *keymap;
	struct xkb_state *state;
	struct xkb_compose_table *table;
	struct xkb_compose_state *compose; /* NULL: not open */
};

static struct xkb lib;

static int __attribute__((format(printf, 4, 5))) refuse(int r, char *err, size_t err_len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_len, fmt, ap);
	va_end(ap);
	return r;
}

static bool find(void *handle, const char *name, void *place)
{
	void *symbol = dlsym(handle, name);

	memcpy(place, &symbol, sizeof(symbol));
	return symbol;
}

/* Once; it stays open. */
static int open_library(char *err, size_t err_len)
{
	static bool is_open;
	void *handle = is_open ? NULL : dlopen(KEYMAP_LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (is_open) {
		return 0;
	}
	if (!handle) {
		return refuse(-ELIBACC, err, err_len, "keyboard layouts need libxkbcommon (%s): apt-get install " KEYMAP_PACKAGE, dlerror());
	}
#define FIND(name) find(handle, "xkb_" #name, &lib.name)
	is_open = FIND(context_new) && FIND(context_unref) && FIND(context_set_log_fn) && FIND(context_set_log_level) &&
		FIND(context_include_path_append_default) && FIND(context_num_include_paths) && FIND(context_include_path_get) && FIND(keymap_new_from_names) && FIND(keymap_unref) &&
		FIND(state_new) && FIND(state_unref) && FIND(state_update_key) && FIND(state_key_get_one_sym) && FIND(keysym_from_name) &&
		FIND(keysym_to_utf32) && FIND(compose_table_new_from_buffer) && FIND(compose_table_unref) && FIND(compose_state_new) &&
		FIND(compose_state_unref) && FIND(compose_state_reset) && FIND(compose_state_feed) && FIND(compose_state_get_status) &&
		FIND(compose_state_get_utf8);
#undef FIND
	return is_open ? 0 : refuse(-ELIBACC, err, err_len, "%s is too old: %s", KEYMAP_LIBRARY, dlerror());
}

static void __attribute__((format(printf, 3, 0))) on_log(struct xkb_context *context, enum xkb_log_level level, const char *fmt, va_list args)
{
	char line[512];

	(void)context;
	(void)level;
	vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\n")] = '\0';
	log_msg(LOG_DEBUG, "%s", line);
}

static bool has_data(struct xkb_context *context)
{
	for (unsigned i = 0; i < lib.context_num_include_paths(context); i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/rules/evdev", lib.context_include_path_get(context, i));
		if (access(path, R_OK) == 0) {
			return true;
		}
	}
	return false;
}

static int compile(struct keymap *k, const char *layout, char *err, size_t err_len)
{
	struct xkb_rule_names names = {.rules = "evdev", .model = "pc105", .options = ""};
	size_t n = strcspn(layout, "(");
	char name[64], variant[64] = "";

	snprintf(name, sizeof(name), "%.*s", (int)n, layout);
	if (layout[n]) {
		snprintf(variant, sizeof(variant), "%.*s", (int)strcspn(layout + n + 1, ")"), layout + n + 1);
	}
	names.layout = name;
	names.variant = variant;
	k->keymap = lib.keymap_new_from_names(k->context, &names, XKB_KEYMAP_COMPILE_NO_FLAGS);
	if (!k->keymap) {
		return refuse(-EINVAL, err, err_len, "there is no keyboard layout \"%s\"; see xkeyboard-config(7)", layout);
	}
	k->state = lib.state_new(k->keymap);
	return k->state ? 0 : refuse(-ENOMEM, err, err_len, "out of memory");
}

int keymap_open(struct keymap **k, const char *layout, char *err, size_t err_len)
{
	struct keymap *new;
	int r = open_library(err, err_len);

	*k = NULL;
	if (r < 0) {
		return r;
	}
	new = calloc(1, sizeof(*new));
	if (!new) {
		return refuse(-ENOMEM, err, err_len, "out of memory");
	}
	/* Folders come last: that there are none is said here, not by the library. */
	new->context = lib.context_new(XKB_CONTEXT_NO_ENVIRONMENT_NAMES | XKB_CONTEXT_NO_DEFAULT_INCLUDES);
	if (!new->context) {
		r = refuse(-ENOMEM, err, err_len, "out of memory");
		goto fail;
	}
	lib.context_set_log_fn(new->context, on_log);
	lib.context_set_log_level(new->context, XKB_LOG_LEVEL_WARNING);
	if (!lib.context_include_path_append_default(new->context) || !has_data(new->context)) {
		r = refuse(-ELIBACC, err, err_len, "keyboard layouts are missing: apt-get install xkb-data");
	} else {
		r = compile(new, layout, err, err_len);
	}
	if (r == 0) {
		*k = new;
		return 0;
	}
fail:
	keymap_close(new);
	return r;
}

void keymap_close(struct keymap *k)
{
	if (!k) {
		return;
	}
	lib.compose_state_unref(k->compose);
	lib.compose_table_unref(k->table);
	lib.state_unref(k->state);
	lib.keymap_unref(k->keymap);
	lib.context_unref(k->context);
	free(k);
}

void keymap_key(struct keymap *k, unsigned code, bool down)
{
	lib.state_update_key(k->state, code + CODE_OFFSET, down ? XKB_KEY_DOWN : XKB_KEY_UP);
}

void keymap_reset(struct keymap *k)
{
	struct xkb_state *fresh = lib.state_new(k->keymap);

	/* Out of memory leaves the old one. */
	if (fresh) {
		lib.state_unref(k->state);
		k->state = fresh;
	}
}

uint32_t keymap_sym(const struct keymap *k, unsigned code)
{
	return lib.state_key_get_one_sym(k->state, code + CODE_OFFSET);
}

uint32_t keymap_sym_named(const struct keymap *k, const char *name)
{
	(void)k;
	return lib.keysym_from_name(name, XKB_KEYSYM_NO_FLAGS);
}

uint32_t keymap_char(const struct keymap *k, uint32_t sym)
{
	(void)k;
	return lib.keysym_to_utf32(sym);
}

static const char *locale(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);
		const char *codeset = value ? strchr(value, '.') : NULL;

		if (codeset && (strncasecmp(codeset, ".utf-8", 6) == 0 || strncasecmp(codeset, ".utf8", 5) == 0)) {
			return value;
		}
		if (value && *value) {
			break;
		}
	}
	return DEFAULT_LOCALE;
}

/* An include that fails makes an empty table, and a table without an acute accent is of no use. */
static bool has_dead_keys(struct xkb_compose_state *compose)
{
	bool has;

	lib.compose_state_feed(compose, lib.keysym_from_name("dead_acute", XKB_KEYSYM_NO_FLAGS));
	has = lib.compose_state_get_status(compose) == XKB_COMPOSE_COMPOSING;
	lib.compose_state_reset(compose);
	return has;
}

static bool load_table(struct keymap *k, const char *name)
{
	/* The locale's own, without the user's in front of it. */
	static const char text[] = "include \"%L\"\n";

	k->table = lib.compose_table_new_from_buffer(k->context, text, sizeof(text) - 1, name, XKB_COMPOSE_FORMAT_TEXT_V1,
		XKB_COMPOSE_COMPILE_NO_FLAGS);
	k->compose = k->table ? lib.compose_state_new(k->table, XKB_COMPOSE_STATE_NO_FLAGS) : NULL;
	if (k->compose && has_dead_keys(k->compose)) {
		return true;
	}
	lib.compose_state_unref(k->compose);
	lib.compose_table_unref(k->table);
	k->compose = NULL;
	k->table = NULL;
	return false;
}

int keymap_open_compose(struct keymap *k, char *err, size_t err_len)
{
	if (k->compose || load_table(k, locale()) || load_table(k, DEFAULT_LOCALE)) {
		return 0;
	}
	return refuse(-ELIBACC, err, err_len, "the tables of dead keys are missing: apt-get install libx11-data");
}

/* The one character of a UTF-8 text, 0 when it is not one. */
static uint32_t only_char(const char *text)
{
	const unsigned char *b = (const unsigned char *)text;
	size_t n = b[0] < 0x80 ? 1 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? b[0] : b[0] & (0xffu >> (n + 1));

	if (strlen(text) != n) {
		return 0;
	}
	for (size_t i = 1; i < n; i++) {
		c = c << 6 | (b[i] & 0x3f);
	}
	return c;
}

enum keymap_compose keymap_compose(struct keymap *k, uint32_t sym, uint32_t *c)
{
	char text[32];

	if (lib.compose_state_feed(k->compose, sym) == XKB_COMPOSE_FEED_IGNORED) {
		/* A modifier: what was, is. */
		return lib.compose_state_get_status(k->compose) == XKB_COMPOSE_COMPOSING ? KEYMAP_MORE : KEYMAP_ALONE;
	}
	switch (lib.compose_state_get_status(k->compose)) {
	case XKB_COMPOSE_NOTHING:
		return KEYMAP_ALONE;
	case XKB_COMPOSE_COMPOSING:
		return KEYMAP_MORE;
	case XKB_COMPOSE_COMPOSED:
		lib.compose_state_get_utf8(k->compose, text, sizeof(text));
		*c = only_char(text);
		return *c ? KEYMAP_DONE : KEYMAP_BROKEN;
	case XKB_COMPOSE_CANCELLED:
		break;
	}
	return KEYMAP_BROKEN;
}

void keymap_compose_reset(struct keymap *k)
{
	lib.compose_state_reset(k->compose);
}
