/* SPDX-License-Identifier: MIT */
/* Layouts turned around: the keys found are pressed on a keyboard of libxkbcommon's, and what comes out is what was to be typed. */
#include "vmm/typing.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/keymap.h"

static char err[256];

static struct typing *open_typing(const char *layout)
{
	struct typing *t;

	if (typing_open(&t, layout, err, sizeof(err)) != 0) {
		fail_msg("%s: %s", layout, err);
	}
	return t;
}

/* What a guest makes of the keys: the character, 0 for none, UINT32_MAX for more than one. */
static uint32_t played(struct keymap *k, const struct input_ev *ev, unsigned n)
{
	uint32_t out = 0;

	for (unsigned i = 0; i < n; i++) {
		uint32_t sym, c = 0;
		enum keymap_compose state;

		assert_int_equal(ev[i].type, i % 2 ? EV_SYN : EV_KEY);
		if (ev[i].type == EV_SYN) {
			continue;
		}
		sym = keymap_sym(k, ev[i].code);
		keymap_key(k, ev[i].code, ev[i].value);
		if (ev[i].value == 0) {
			continue;
		}
		state = keymap_compose(k, sym, &c);
		c = state == KEYMAP_ALONE ? keymap_char(k, sym) : state == KEYMAP_DONE ? c : 0;
		out = c && out ? UINT32_MAX : c ? c : out;
	}
	return out;
}

static void test_typing_what_is_typed_is_what_was_meant(void **state)
{
	/* The least number of characters: that few are not found by mistake. */
	static const struct {
		const char *layout;
		unsigned least;
	} layouts[] = {{"us", 95}, {"us(intl)", 600}, {"us(dvorak)", 95}, {"gb", 400}, {"de", 500}, {"de(nodeadkeys)", 250}, {"de(neo)", 700}, {"fr", 550},
		{"fr(bepo)", 600}, {"ch", 500}, {"ch(fr)", 500}, {"es", 500}, {"it", 200}, {"pt", 600}, {"br", 600}, {"pl", 300}, {"cz", 450}, {"tr", 400}, {"se", 500},
		{"jp", 95}, {"ru", 90}, {"gr", 300}, {"il", 90}, {"ara", 90}};

	static const struct input_ev space[] = {{EV_KEY, KEY_SPACE, 1}, {EV_SYN, SYN_REPORT, 0}, {EV_KEY, KEY_SPACE, 0}, {EV_SYN, SYN_REPORT, 0}};
	struct input_ev ev[TYPING_EVENTS_MAX];
	uint8_t held = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		struct typing *t = open_typing(layouts[i].layout);
		struct keymap *k;
		unsigned n = 0;

		assert_int_equal(keymap_open(&k, layouts[i].layout, err, sizeof(err)), 0);
		assert_int_equal(keymap_open_compose(k, err, sizeof(err)), 0);
		for (uint32_t c = 0x20; c < 0x20000; c++) {
			const struct typing_way *way = typing_find(t, c, err, sizeof(err));
			uint32_t got = way ? played(k, ev, typing_press(t, way, &held, ev)) : c;

			n += way != NULL;
			if (got != c) {
				fail_msg("%s: U+%04X comes out as U+%04X", layouts[i].layout, (unsigned)c, (unsigned)got);
			}
		}
		assert_int_equal(played(k, ev, typing_release(t, &held, ev)), 0);
		/* Nothing is held: a key gives what it gives alone. */
		assert_int_equal(played(k, space, 4), ' ');
		if (n < layouts[i].least) {
			fail_msg("%s: only %u characters", layouts[i].layout, n);
		}
		keymap_close(k);
		typing_close(t);
	}
}

static void assert_stroke(const struct typing_stroke *stroke, unsigned code, unsigned mods)
{
	assert_int_equal(stroke->code, code);
	assert_int_equal(stroke->mods, mods);
}

static const struct typing_way *find(struct typing *t, uint32_t c)
{
	const struct typing_way *way = typing_find(t, c, err, sizeof(err));

	if (!way) {
		fail_msg("%s", err);
	}
	return way;
}

static void assert_key(struct typing *t, uint32_t c, unsigned code, unsigned mods)
{
	const struct typing_way *way = find(t, c);

	assert_int_equal(way->n, 1);
	assert_stroke(&way->stroke[0], code, mods);
}

/* A dead key, and another one. */
static void assert_dead(struct typing *t, uint32_t c, struct typing_stroke dead, struct typing_stroke then)
{
	const struct typing_way *way = find(t, c);

	assert_int_equal(way->n, 2);
	assert_stroke(&way->stroke[0], dead.code, dead.mods);
	assert_stroke(&way->stroke[1], then.code, then.mods);
}

#define SHIFT 1
#define ALTGR 2

static void test_typing_us_is_one_key_of_the_main_block_each(void **state)
{
	struct typing *t = open_typing("us");

	(void)state;
	for (uint32_t c = 0x20; c < 0x7f; c++) {
		const struct typing_way *way = typing_find(t, c, err, sizeof(err));

		assert_non_null(way);
		assert_int_equal(way->n, 1);
		assert_true(way->stroke[0].mods <= SHIFT);
		/* "<" is on this one too, but not every keyboard has it. */
		assert_int_not_equal(way->stroke[0].code, KEY_102ND);
	}
	assert_key(t, 'a', KEY_A, 0);
	assert_key(t, 'A', KEY_A, SHIFT);
	assert_key(t, '<', KEY_COMMA, SHIFT);
	assert_key(t, '~', KEY_GRAVE, SHIFT);
	assert_key(t, '0', KEY_0, 0);
	assert_key(t, '\n', KEY_ENTER, 0);
	assert_key(t, '\t', KEY_TAB, 0);
	typing_close(t);
}

static void test_typing_de_has_umlauts_and_dead_keys(void **state)
{
	struct typing *t = open_typing("de");

	(void)state;
	assert_key(t, 0xe4, KEY_APOSTROPHE, 0);
	assert_key(t, 0xd6, KEY_SEMICOLON, SHIFT);
	assert_key(t, 0xfc, KEY_LEFTBRACE, 0);
	assert_key(t, 0xdf, KEY_MINUS, 0);
	assert_key(t, 0x20ac, KEY_E, ALTGR);
	assert_key(t, 'z', KEY_Y, 0);
	assert_key(t, '<', KEY_102ND, 0);
	/* A dead key and a space, not the dead key twice. */
	assert_dead(t, '^', (struct typing_stroke){KEY_GRAVE, 0}, (struct typing_stroke){KEY_SPACE, 0});
	assert_dead(t, '`', (struct typing_stroke){KEY_EQUAL, SHIFT}, (struct typing_stroke){KEY_SPACE, 0});
	assert_dead(t, 0xe9, (struct typing_stroke){KEY_EQUAL, 0}, (struct typing_stroke){KEY_E, 0});
	assert_dead(t, 0xca, (struct typing_stroke){KEY_GRAVE, 0}, (struct typing_stroke){KEY_E, SHIFT});
	typing_close(t);
}

static void test_typing_a_key_wins_over_a_sequence(void **state)
{
	struct typing *fr = open_typing("fr"), *intl = open_typing("us(intl)");

	(void)state;
	assert_key(fr, '1', KEY_1, SHIFT);
	assert_key(fr, 0xe9, KEY_2, 0);
	assert_dead(fr, 0xea, (struct typing_stroke){KEY_LEFTBRACE, 0}, (struct typing_stroke){KEY_E, 0});
	/* From here on it knows sequences. Three keys at once, where a dead key and a space would be two. */
	assert_non_null(find(intl, 0xea));
	assert_key(intl, '^', KEY_6, SHIFT | ALTGR);
	/* One key, which a dead key and a letter would be too. */
	assert_key(intl, 0xe9, KEY_E, ALTGR);
	typing_close(fr);
	typing_close(intl);
}

static void test_typing_modifiers_stay_held_while_they_are_needed(void **state)
{
	static const struct {
		uint32_t c;
		const char *want; /* codes, with a minus for a release */
	} cases[] = {{'a', "30 -30"}, {'A', "42 30 -30"}, {'B', "48 -48"}, {0x20ac, "-42 100 18 -18"}, {'@', "16 -16"}, {'^', "-100 41 -41 57 -57"},
		{0xb0, "42 41 -41"}};
	struct typing *t = open_typing("de");
	struct input_ev ev[TYPING_EVENTS_MAX];
	uint8_t held = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned n = typing_press(t, typing_find(t, cases[i].c, err, sizeof(err)), &held, ev);
		char said[128] = "";

		for (unsigned k = 0; k < n; k += 2) {
			snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s%s%u", k ? " " : "", ev[k].value ? "" : "-", ev[k].code);
		}
		assert_string_equal(said, cases[i].want);
	}
	assert_int_equal(typing_release(t, &held, ev), 2);
	assert_int_equal(ev[0].code, KEY_LEFTSHIFT);
	assert_int_equal(ev[0].value, 0);
	assert_int_equal(typing_release(t, &held, ev), 0);
	typing_close(t);
}

static void test_typing_says_what_it_cannot(void **state)
{
	struct typing *t = open_typing("us");

	(void)state;
	assert_null(typing_find(t, 0xe9, err, sizeof(err)));
	assert_string_equal(err, "\"\xc3\xa9\" (U+00E9) is on no key of the layout \"us\"");
	assert_null(typing_find(t, 0x1f600, err, sizeof(err)));
	assert_string_equal(err, "\"\xf0\x9f\x98\x80\" (U+1F600) is on no key of the layout \"us\"");
	for (uint32_t c = 0; c < 0xa0; c++) {
		if ((c < 0x20 || c >= 0x7f) && c != '\n' && c != '\t') {
			assert_null(typing_find(t, c, err, sizeof(err)));
			assert_non_null(strstr(err, "control character"));
		}
	}
	typing_close(t);
	assert_int_equal(typing_open(&t, "xx", err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "there is no keyboard layout \"xx\"; see xkeyboard-config(7)");
	assert_null(t);
	assert_int_equal(typing_open(&t, "us(xx)", err, sizeof(err)), -EINVAL);
	typing_close(NULL);
}

/* The locale decides what a dead key makes: acute and c are two different letters in these. */
static void assert_acute_c(const char *locale, uint32_t want, uint32_t other)
{
	struct typing *t;

	setenv("LC_ALL", locale, 1);
	t = open_typing("us(alt-intl)");
	assert_dead(t, want, (struct typing_stroke){KEY_APOSTROPHE, 0}, (struct typing_stroke){KEY_C, 0});
	if (other) {
		const struct typing_way *way = typing_find(t, other, err, sizeof(err));

		assert_true(!way || way->stroke[0].code != KEY_APOSTROPHE);
	}
	typing_close(t);
}

static void test_typing_sequences_are_those_of_the_locale(void **state)
{
	(void)state;
	assert_acute_c("en_US.UTF-8", 0x107, 0xe7);
	assert_acute_c("pt_BR.utf8", 0xe7, 0x107);
	assert_acute_c("C", 0x107, 0xe7);
	assert_acute_c("pt_BR.ISO-8859-1", 0x107, 0xe7);
	assert_acute_c("xx_XX.UTF-8", 0x107, 0xe7);
	unsetenv("LC_ALL");
}

static void test_typing_sequences_of_the_host_s_user_are_not_the_guest_s(void **state)
{
	char folder[] = "/tmp/typing-XXXXXX", path[64];
	const char *old = getenv("HOME");
	char *home = old ? strdup(old) : NULL;
	struct typing *t;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/.XCompose", folder);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("<dead_acute> <e> : \"x\"\n", f);
	fclose(f);
	setenv("HOME", folder, 1);
	setenv("XCOMPOSEFILE", path, 1);
	t = open_typing("de");
	assert_dead(t, 0xe9, (struct typing_stroke){KEY_EQUAL, 0}, (struct typing_stroke){KEY_E, 0});
	typing_close(t);
	unlink(path);
	rmdir(folder);
	unsetenv("XCOMPOSEFILE");
	if (home) {
		setenv("HOME", home, 1);
	}
	free(home);
}

static void test_typing_names_the_package_that_is_missing(void **state)
{
	struct typing *t;

	(void)state;
	setenv("XKB_CONFIG_ROOT", "/nonexistent", 1);
	assert_int_equal(typing_open(&t, "us", err, sizeof(err)), -ELIBACC);
	assert_non_null(strstr(err, "apt-get install xkb-data"));
	/* A folder, and no layouts in it. */
	setenv("XKB_CONFIG_ROOT", "/", 1);
	assert_int_equal(typing_open(&t, "us", err, sizeof(err)), -ELIBACC);
	assert_non_null(strstr(err, "apt-get install xkb-data"));
	unsetenv("XKB_CONFIG_ROOT");
	setenv("XLOCALEDIR", "/nonexistent", 1);
	t = open_typing("de");
	assert_non_null(typing_find(t, 0xe4, err, sizeof(err)));
	assert_null(typing_find(t, '^', err, sizeof(err)));
	assert_non_null(strstr(err, "apt-get install libx11-data"));
	typing_close(t);
	unsetenv("XLOCALEDIR");
}

static void test_typing_next_char_reads_utf8(void **state)
{
	static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
	static const uint32_t want[] = {'a', 0xe9, 0x20ac, 0x1f600};
	/* Cut, overlong, half of a pair, too large, not a beginning. */
	static const char *const wrong[] = {"\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80", "\x80", "\xff", "\xc3\x41", "\xe2\x82\xc0"};
	const char *at = text, *end = text + sizeof(text) - 1;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(typing_next_char(&at, end), want[i]);
	}
	assert_ptr_equal(at, end);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		at = wrong[i];
		assert_int_equal(typing_next_char(&at, at + strlen(at)), UINT32_MAX);
		assert_ptr_equal(at, wrong[i]);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_typing_what_is_typed_is_what_was_meant),
		cmocka_unit_test(test_typing_us_is_one_key_of_the_main_block_each),
		cmocka_unit_test(test_typing_de_has_umlauts_and_dead_keys),
		cmocka_unit_test(test_typing_a_key_wins_over_a_sequence),
		cmocka_unit_test(test_typing_modifiers_stay_held_while_they_are_needed),
		cmocka_unit_test(test_typing_says_what_it_cannot),
		cmocka_unit_test(test_typing_sequences_are_those_of_the_locale),
		cmocka_unit_test(test_typing_sequences_of_the_host_s_user_are_not_the_guest_s),
		cmocka_unit_test(test_typing_names_the_package_that_is_missing),
		cmocka_unit_test(test_typing_next_char_reads_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
