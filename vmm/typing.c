/* SPDX-License-Identifier: MIT */
#include "vmm/typing.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/keymap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SUBSETS (1u << TYPING_MODS)
/* So that it is the last resort. */
#define RARE_KEY_COST 100
#define SEQUENCE_COST 1000
/* No sequence begins with one of these. */
#define LATIN1_MAX 0xff

/* A keysym, and the cheapest way to it. */
struct sym {
	uint32_t sym;
	unsigned cost;
	struct typing_stroke stroke;
};

struct typing {
	struct keymap *keymap;
	char *layout;
	uint16_t modifier[TYPING_MODS]; /* 0: this layout has none */
	uint32_t modifier_sym[TYPING_MODS];
	struct sym *syms;
	size_t nsyms;
	struct typing_way *ways; /* by character */
	size_t nways, ways_room;
	bool has_sequences; /* they are in ways */
};

/* The keys of the main block that a modifier does not hold. */
static const struct {
	uint16_t first, last;
	unsigned cost;
} typing_keys[] = {{KEY_1, KEY_EQUAL, 0}, {KEY_Q, KEY_RIGHTBRACE, 0}, {KEY_A, KEY_GRAVE, 0}, {KEY_BACKSLASH, KEY_SLASH, 0}, {KEY_SPACE, KEY_SPACE, 0},
	{KEY_102ND, KEY_102ND, RARE_KEY_COST}, {KEY_RO, KEY_RO, RARE_KEY_COST}, {KEY_YEN, KEY_YEN, RARE_KEY_COST}};

uint32_t typing_next_char(const char **text, const char *end)
{
	const unsigned char *b = (const unsigned char *)*text;
	size_t left = (size_t)(end - *text);
	size_t n = b[0] < 0x80 ? 1 : b[0] >= 0xc2 && b[0] < 0xe0 ? 2 : b[0] >= 0xe0 && b[0] < 0xf0 ? 3 : b[0] >= 0xf0 && b[0] < 0xf5 ? 4 : 0;
	uint32_t c = n == 1 ? b[0] : b[0] & (0xffu >> (n + 1));

	if (n == 0 || n > left) {
		return UINT32_MAX;
	}
	for (size_t i = 1; i < n; i++) {
		if ((b[i] & 0xc0) != 0x80) {
			return UINT32_MAX;
		}
		c = c << 6 | (b[i] & 0x3f);
	}
	if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) || (n == 4 && (c < 0x10000 || c > 0x10ffff))) {
		return UINT32_MAX;
	}
	*text += n;
	return c;
}

static unsigned put_key(struct input_ev *ev, uint16_t code, bool down)
{
	ev[0] = (struct input_ev){.type = EV_KEY, .code = code, .value = down};
	ev[1] = (struct input_ev){.type = EV_SYN, .code = SYN_REPORT};
	return 2;
}

static unsigned put_mods(const struct typing *t, unsigned mods, bool down, struct input_ev *ev)
{
	unsigned n = 0;

	for (unsigned bit = 0; bit < TYPING_MODS; bit++) {
		if (mods & 1u << bit) {
			n += put_key(ev + n, t->modifier[bit], down);
		}
	}
	return n;
}

unsigned typing_release(const struct typing *t, uint8_t *held, struct input_ev *ev)
{
	unsigned n = put_mods(t, *held, false, ev);

	*held = 0;
	return n;
}

unsigned typing_press(const struct typing *t, const struct typing_way *way, uint8_t *held, struct input_ev *ev)
{
	unsigned n = 0;

	for (unsigned i = 0; i < way->n; i++) {
		/* All anew, in the order in which the way was found. */
		if (*held != way->stroke[i].mods) {
			n += typing_release(t, held, ev + n);
			n += put_mods(t, way->stroke[i].mods, true, ev + n);
			*held = way->stroke[i].mods;
		}
		n += put_key(ev + n, way->stroke[i].code, true);
		n += put_key(ev + n, way->stroke[i].code, false);
	}
	return n;
}

static bool is_modifier(const struct typing *t, unsigned code)
{
	for (unsigned bit = 0; bit < TYPING_MODS; bit++) {
		if (t->modifier[bit] == code) {
			return true;
		}
	}
	return false;
}

/* The first key that is @name when nothing else is pressed, of those people use for it. */
static void find_modifier(struct typing *t, unsigned bit, const char *name)
{
	static const uint16_t candidates[] = {
		KEY_LEFTSHIFT, KEY_RIGHTALT, KEY_CAPSLOCK, KEY_102ND, KEY_RIGHTCTRL, KEY_BACKSLASH, KEY_RIGHTMETA, KEY_COMPOSE, KEY_RIGHTSHIFT};
	uint32_t sym = keymap_sym_named(t->keymap, name);

	t->modifier_sym[bit] = sym;
	for (size_t i = 0; i < COUNT(candidates); i++) {
		if (sym && keymap_sym(t->keymap, candidates[i]) == sym) {
			t->modifier[bit] = candidates[i];
			return;
		}
	}
}

static unsigned presses(const struct typing_stroke *stroke)
{
	return 1 + (unsigned)__builtin_popcount(stroke->mods);
}

static int add_sym(struct typing *t, uint32_t sym, const struct typing_stroke *stroke, unsigned cost)
{
	struct sym *syms;

	for (size_t i = 0; i < t->nsyms; i++) {
		if (t->syms[i].sym == sym) {
			if (cost < t->syms[i].cost) {
				t->syms[i] = (struct sym){.sym = sym, .cost = cost, .stroke = *stroke};
			}
			return 0;
		}
	}
	syms = realloc(t->syms, (t->nsyms + 1) * sizeof(*syms));
	if (!syms) {
		return -ENOMEM;
	}
	t->syms = syms;
	t->syms[t->nsyms++] = (struct sym){.sym = sym, .cost = cost, .stroke = *stroke};
	return 0;
}

static int try_key(struct typing *t, unsigned code, unsigned mods, unsigned cost)
{
	const struct typing_stroke stroke = {.code = (uint16_t)code, .mods = (uint8_t)mods};
	uint32_t sym = is_modifier(t, code) ? 0 : keymap_sym(t->keymap, code);

	return sym ? add_sym(t, sym, &stroke, cost + presses(&stroke)) : 0;
}

/* Every key while @mods are held. */
static int try_keys(struct typing *t, unsigned mods)
{
	int r = 0;

	keymap_reset(t->keymap);
	for (unsigned bit = 0; bit < TYPING_MODS; bit++) {
		if (mods & 1u << bit) {
			keymap_key(t->keymap, t->modifier[bit], true);
		}
	}
	for (size_t i = 0; i < COUNT(typing_keys); i++) {
		for (unsigned code = typing_keys[i].first; r == 0 && code <= typing_keys[i].last; code++) {
			r = try_key(t, code, mods, typing_keys[i].cost);
		}
	}
	keymap_reset(t->keymap);
	return r;
}

static int find_syms(struct typing *t)
{
	static const char *const names[TYPING_MODS] = {"Shift_L", "ISO_Level3_Shift", "ISO_Level5_Shift"};
	unsigned there = 0;
	int r = 0;

	for (unsigned bit = 0; bit < TYPING_MODS; bit++) {
		find_modifier(t, bit, names[bit]);
		there |= t->modifier[bit] ? 1u << bit : 0;
	}
	for (unsigned mods = 0; r == 0 && mods < SUBSETS; mods++) {
		r = mods & ~there ? 0 : try_keys(t, mods);
	}
	return r;
}

/* Unsorted. @syms: the strokes, @n of them. */
static int add_way(struct typing *t, uint32_t c, const struct sym *const syms[], unsigned n)
{
	struct typing_way way = {.c = c, .n = n, .cost = n > 1 ? SEQUENCE_COST : 0};

	if (c < 0x20 || c == 0x7f) {
		return 0;
	}
	if (t->nways == t->ways_room) {
		size_t room = t->ways_room ? 2 * t->ways_room : 512;
		struct typing_way *ways = realloc(t->ways, room * sizeof(*ways));

		if (!ways) {
			return -ENOMEM;
		}
		t->ways = ways;
		t->ways_room = room;
	}
	for (unsigned i = 0; i < n; i++) {
		way.stroke[i] = syms[i]->stroke;
		way.cost += syms[i]->cost;
	}
	t->ways[t->nways++] = way;
	return 0;
}

/* Of those that cost the same, one that ends in a space goes first: what a dead key gives with itself differs between systems. Then always the same. */
static int compare_ways(const void *a, const void *b)
{
	const struct typing_way *x = a, *y = b;

	if (x->c != y->c) {
		return x->c < y->c ? -1 : 1;
	}
	if (x->cost != y->cost) {
		return x->cost < y->cost ? -1 : 1;
	}
	if ((x->stroke[x->n - 1].code == KEY_SPACE) != (y->stroke[y->n - 1].code == KEY_SPACE)) {
		return x->stroke[x->n - 1].code == KEY_SPACE ? -1 : 1;
	}
	for (unsigned i = 0; i < TYPING_STROKES_MAX; i++) {
		if (x->stroke[i].code != y->stroke[i].code) {
			return x->stroke[i].code - y->stroke[i].code;
		}
		if (x->stroke[i].mods != y->stroke[i].mods) {
			return x->stroke[i].mods - y->stroke[i].mods;
		}
	}
	return 0;
}

static void sort_ways(struct typing *t)
{
	size_t n = 0;

	qsort(t->ways, t->nways, sizeof(*t->ways), compare_ways);
	for (size_t i = 0; i < t->nways; i++) {
		if (n == 0 || t->ways[n - 1].c != t->ways[i].c) {
			t->ways[n++] = t->ways[i];
		}
	}
	t->nways = n;
}

/* Types @n keysyms from the start, with the modifiers as typing_press presses them: some end a sequence, in some guests. */
static enum keymap_compose compose(struct typing *t, const struct sym *const syms[], unsigned n, uint32_t *c)
{
	enum keymap_compose state = KEYMAP_MORE;
	unsigned held = 0;

	keymap_compose_reset(t->keymap);
	for (unsigned i = 0; i < n && state == KEYMAP_MORE; i++) {
		unsigned mods = syms[i]->stroke.mods;

		for (unsigned bit = 0; mods != held && bit < TYPING_MODS; bit++) {
			if (mods & 1u << bit) {
				state = keymap_compose(t->keymap, t->modifier_sym[bit], c);
			}
		}
		held = mods;
		if (i == 0 || state == KEYMAP_MORE) {
			state = keymap_compose(t->keymap, syms[i]->sym, c);
		}
	}
	return state;
}

/* The keysyms that continue the sequence @before, of @n; each is tried from the start. */
static int find_sequences(struct typing *t, const struct sym *const before[], unsigned n)
{
	const struct sym *syms[TYPING_STROKES_MAX];
	int r = 0;

	for (unsigned k = 0; k < n; k++) {
		syms[k] = before[k];
	}
	for (size_t i = 0; r == 0 && i < t->nsyms; i++) {
		enum keymap_compose state;
		uint32_t c = 0;

		syms[n] = &t->syms[i];
		state = compose(t, syms, n + 1, &c);
		if (state == KEYMAP_MORE && n + 1 < TYPING_STROKES_MAX) {
			r = find_sequences(t, syms, n + 1);
		} else if (state == KEYMAP_DONE && n > 0) {
			r = add_way(t, c, syms, n + 1);
		}
	}
	return r;
}

static int find_ways(struct typing *t)
{
	int r = find_syms(t);

	for (size_t i = 0; r == 0 && i < t->nsyms; i++) {
		const struct sym *sym = &t->syms[i];

		r = add_way(t, keymap_char(t->keymap, sym->sym), &sym, 1);
	}
	sort_ways(t);
	return r;
}

int typing_open(struct typing **t, const char *layout, char *err, size_t err_len)
{
	struct typing *new = calloc(1, sizeof(*new));
	int r = -ENOMEM;

	*t = NULL;
	snprintf(err, err_len, "out of memory");
	if (new) {
		new->layout = strdup(layout);
		r = new->layout ? keymap_open(&new->keymap, layout, err, err_len) : -ENOMEM;
	}
	if (r == 0) {
		r = find_ways(new);
	}
	if (r < 0) {
		typing_close(new);
		return r;
	}
	*t = new;
	return 0;
}

void typing_close(struct typing *t)
{
	if (!t) {
		return;
	}
	keymap_close(t->keymap);
	free(t->layout);
	free(t->syms);
	free(t->ways);
	free(t);
}

static const struct typing_way *known(const struct typing *t, uint32_t c)
{
	size_t low = 0, high = t->nways;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (t->ways[middle].c < c) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low < t->nways && t->ways[low].c == c ? &t->ways[low] : NULL;
}

/* A key whose keysym begins a sequence, or is one, does not give the character it stands for: Arabic ligatures are taken apart. */
static void drop_taken(struct typing *t)
{
	for (size_t i = 0; i < t->nsyms; i++) {
		const struct sym *sym = &t->syms[i];
		uint32_t c = 0, own = keymap_char(t->keymap, sym->sym);
		enum keymap_compose state = compose(t, &sym, 1, &c);

		for (size_t k = 0; k < t->nways && state != KEYMAP_ALONE && c != own; k++) {
			if (t->ways[k].c == own) {
				t->ways[k] = t->ways[--t->nways];
			}
		}
	}
}

/* Only for a character that needs it: it takes some milliseconds. */
static int open_sequences(struct typing *t, char *err, size_t err_len)
{
	int r = keymap_open_compose(t->keymap, err, err_len);

	if (r == 0 && !t->has_sequences) {
		drop_taken(t);
		r = find_sequences(t, NULL, 0);
		sort_ways(t);
		t->has_sequences = true;
		snprintf(err, err_len, "out of memory");
	}
	return r;
}

static void encode(uint32_t c, char text[5])
{
	if (c < 0x80) {
		snprintf(text, 5, "%c", (char)c);
	} else if (c < 0x800) {
		snprintf(text, 5, "%c%c", (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		snprintf(text, 5, "%c%c%c", (char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f)));
	} else {
		snprintf(text, 5, "%c%c%c%c", (char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3f)), (char)(0x80 | (c >> 6 & 0x3f)),
			(char)(0x80 | (c & 0x3f)));
	}
}

const struct typing_way *typing_find(struct typing *t, uint32_t c, char *err, size_t err_len)
{
	static const struct typing_way enter = {.c = '\n', .n = 1, .stroke = {{.code = KEY_ENTER}}}, tab = {.c = '\t', .n = 1, .stroke = {{.code = KEY_TAB}}};
	const struct typing_way *way = c == '\n' ? &enter : c == '\t' ? &tab : known(t, c);
	char why[128], text[5];
	int r = 0;

	if (way && c <= LATIN1_MAX) {
		return way;
	}
	if (c < 0x20 || (c >= 0x7f && c < 0xa0)) {
		snprintf(err, err_len, "the control character U+%04X cannot be typed", (unsigned)c);
		return NULL;
	}
	r = open_sequences(t, why, sizeof(why));
	way = known(t, c);
	if (!way) {
		encode(c, text);
		snprintf(err, err_len, "\"%s\" (U+%04X) is on no key of the layout \"%s\"%s%s", text, (unsigned)c, t->layout, r < 0 ? ": " : "", r < 0 ? why : "");
	}
	return way;
}
