/* SPDX-License-Identifier: MIT */
#include "vmm/input_script.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <regex.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/clock.h"
#include "vmm/suggest.h"
#include "vmm/typing.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BLANKS " \t"
#define WORDS_MAX 6
#define DIGITS_MAX 6 /* before the dot, and after it */
#define SCROLL_MAX 1000

static const struct {
	const char *name, *args, *help;
	unsigned min, max; /* numbers: one or the other; max 0: no words of this kind */
	bool button;
} verbs[] = {
	[INPUT_TYPE] = {"type", "TEXT", "type text, to the end of the line", 0, 0, false},
	[INPUT_KEY] = {"key", "CHORD...", "press keys at once: ctrl+alt+t; several in turn", 0, 0, false},
	[INPUT_MOVE] = {"move", "X Y", "move the pointer there; a mouse by that much", 2, 2, false},
	[INPUT_CLICK] = {"click", "[X Y] [BUTTON]", "click there, or where the pointer is", 0, 2, true},
	[INPUT_DRAG] = {"drag", "X Y X2 Y2 [BUTTON]", "press at the first place, release at the other", 4, 4, true},
	[INPUT_SCROLL] = {"scroll", "DX DY", "turn the wheels right and down, in notches", 2, 2, false},
	[INPUT_TOUCH] = {"touch", "X Y", "tap there", 2, 2, false},
	[INPUT_SLEEP] = {"sleep", "TIME", "do nothing for 200ms, 5s ...", 0, 0, false},
	[INPUT_WAIT] = {"wait", "text=REGEX [TIME]", "until a console says so, no longer than TIME", 0, 0, false},
	[INPUT_SHOT] = {"shot", "FILE", "write what the screen shows to a PNG file", 0, 0, false},
};

static const struct {
	const char *name;
	uint16_t code;
} buttons[] = {{"left", BTN_LEFT}, {"right", BTN_RIGHT}, {"middle", BTN_MIDDLE}, {"side", BTN_SIDE}, {"extra", BTN_EXTRA}, {"forward", BTN_FORWARD}, {"back", BTN_BACK},
	{"task", BTN_TASK}};

const char *input_script_verb(enum input_verb verb)
{
	return verbs[verb].name;
}

void input_script_print_table(FILE *out)
{
	for (size_t i = 0; i < COUNT(verbs); i++) {
		fprintf(out, "command\t%s\t%s\t%s\n", verbs[i].name, verbs[i].args, verbs[i].help);
	}
}

void input_script_print_help(FILE *out)
{
	for (size_t i = 0; i < COUNT(verbs); i++) {
		char head[40];

		snprintf(head, sizeof(head), "%s %s", verbs[i].name, verbs[i].args);
		fprintf(out, "  %-24s %s\n", head, verbs[i].help);
	}
}

/* Return: -EINVAL, or -ENOMEM. */
static int __attribute__((format(printf, 2, 3))) wrong(struct input_command *c, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&c->mistake, fmt, ap);
	va_end(ap);
	if (n < 0) {
		c->mistake = NULL;
		return -ENOMEM;
	}
	return -EINVAL;
}

/* "12", "-3", "0.5". Return: false for what is no such number. */
static bool parse_number(const char *word, struct input_number *number)
{
	static const char digits[] = "0123456789";
	const char *at = word + (*word == '-');
	size_t whole = strspn(at, digits), part = 0;

	number->has_dot = at[whole] == '.';
	if (number->has_dot) {
		part = strspn(at + whole + 1, digits);
	}
	if (whole == 0 || whole > DIGITS_MAX || part > DIGITS_MAX || number->has_dot != (part > 0) || at[whole + number->has_dot + part]) {
		return false;
	}
	number->value = strtod(word, NULL);
	return true;
}

static bool parse_button(const char *word, uint16_t *button)
{
	for (size_t i = 0; i < COUNT(buttons); i++) {
		if (strcmp(buttons[i].name, word) == 0) {
			*button = buttons[i].code;
			return true;
		}
	}
	return false;
}

/* Cuts @text into words, in place. Return: how many, WORDS_MAX also for more. */
static unsigned split(char *text, char *words[WORDS_MAX])
{
	char *rest = NULL;
	unsigned n = 0;

	for (char *word = strtok_r(text, BLANKS, &rest); word && n < WORDS_MAX; word = strtok_r(NULL, BLANKS, &rest)) {
		words[n++] = word;
	}
	return n;
}

/* Numbers, and then maybe a button. */
static int parse_words(struct input_command *c, char *text)
{
	const char *args = verbs[c->verb].args, *name = verbs[c->verb].name;
	char *words[WORDS_MAX];
	unsigned n = split(text, words), i = 0;

	c->button = BTN_LEFT;
	while (i < n && c->nnumbers < verbs[c->verb].max && parse_number(words[i], &c->number[c->nnumbers])) {
		c->nnumbers++;
		i++;
	}
	if (i < n && verbs[c->verb].button && (c->nnumbers == verbs[c->verb].min || c->nnumbers == verbs[c->verb].max) && parse_button(words[i], &c->button)) {
		i++;
	}
	if (i < n) {
		return wrong(c, "%s: expected %s, got \"%s\"", name, args, words[i]);
	}
	if (c->nnumbers != verbs[c->verb].min && c->nnumbers != verbs[c->verb].max) {
		return wrong(c, "%s: expected %s", name, args);
	}
	for (i = 0; c->verb == INPUT_SCROLL && i < c->nnumbers; i++) {
		if (c->number[i].value < -SCROLL_MAX || c->number[i].value > SCROLL_MAX) {
			return wrong(c, "scroll: at most %d notches", SCROLL_MAX);
		}
	}
	return 0;
}

static int parse_type(struct input_command *c, const char *text, size_t len)
{
	const char *at = text, *end = text + len;

	while (at < end) {
		if (typing_next_char(&at, end) == UINT32_MAX) {
			return wrong(c, "type: byte %zu of the text is no UTF-8", (size_t)(at - text) + 1);
		}
	}
	if (len == 0) {
		return wrong(c, "type: expected TEXT");
	}
	c->text = strdup(text);
	return c->text ? 0 : -ENOMEM;
}

static int parse_key(struct input_command *c, const char *text)
{
	if (!*text) {
		return wrong(c, "key: expected %s", verbs[INPUT_KEY].args);
	}
	c->text = strdup(text);
	return c->text ? 0 : -ENOMEM;
}

/* The rest of the line is the name, blanks in it included. */
static int parse_shot(struct input_command *c, const char *text)
{
	if (!*text) {
		return wrong(c, "shot: expected %s", verbs[INPUT_SHOT].args);
	}
	c->text = strdup(text);
	return c->text ? 0 : -ENOMEM;
}

static int parse_sleep(struct input_command *c, const char *text)
{
	if (!clock_parse(text, &c->time_ns)) {
		return wrong(c, "sleep: expected a time such as 500ms, 60s or 2m, got \"%s\"", text);
	}
	return 0;
}

/* Cuts blanks off the end. Return: the text without those in front. */
static char *trim(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && strchr(BLANKS, text[len - 1])) {
		text[--len] = '\0';
	}
	return text + strspn(text, BLANKS);
}

static char *last_word(char *text)
{
	char *last = text + strlen(text);

	while (last > text && !strchr(BLANKS, last[-1])) {
		last--;
	}
	return last;
}

/* text=REGEX, which may have blanks in it; a last word that is a time is one. */
static int parse_wait(struct input_command *c, char *text)
{
	char why[160], *last = last_word(text);
	regex_t regex;
	int r;

	if (last > text && clock_parse(last, &c->time_ns)) {
		if (c->time_ns == 0) {
			return wrong(c, "wait: %s is no time to wait", last);
		}
		*last = '\0';
		trim(text);
	}
	if (strncmp(text, "text=", 5) != 0 || !text[5]) {
		return wrong(c, "wait: expected %s, got \"%s\"", verbs[INPUT_WAIT].args, text);
	}
	r = regcomp(&regex, text + 5, REG_EXTENDED | REG_NOSUB);
	if (r != 0) {
		regerror(r, &regex, why, sizeof(why));
		return wrong(c, "wait: \"%s\" is no extended regular expression: %s", text + 5, why);
	}
	regfree(&regex);
	c->text = strdup(text + 5);
	return c->text ? 0 : -ENOMEM;
}

static int unknown(struct input_command *c, const char *name, size_t len)
{
	struct suggest s;

	suggest_init(&s, name, len);
	for (size_t i = 0; i < COUNT(verbs); i++) {
		suggest_offer(&s, verbs[i].name);
	}
	if (s.best) {
		return wrong(c, "unknown command \"%.*s\"; did you mean \"%s\"?", (int)len, name, s.best);
	}
	return wrong(c, "unknown command \"%.*s\"; see tinyvmm help input", (int)len, name);
}

/* @line: without its end; it is taken apart. */
static int parse_command(struct input_command *c, char *line, size_t len)
{
	char *name = line + strspn(line, BLANKS);
	size_t n = strcspn(name, BLANKS);
	char *rest = name + n + (name[n] != '\0');

	if (strlen(line) != len) {
		return wrong(c, "there is a NUL character in the line");
	}
	for (size_t i = 0; i < COUNT(verbs); i++) {
		if (strlen(verbs[i].name) == n && memcmp(verbs[i].name, name, n) == 0) {
			c->verb = (enum input_verb)i;
			switch (c->verb) {
			case INPUT_TYPE:
				return parse_type(c, rest, strlen(rest));
			case INPUT_KEY:
				return parse_key(c, trim(rest));
			case INPUT_SLEEP:
				return parse_sleep(c, trim(rest));
			case INPUT_WAIT:
				return parse_wait(c, trim(rest));
			case INPUT_SHOT:
				return parse_shot(c, trim(rest));
			default:
				return parse_words(c, rest);
			}
		}
	}
	return unknown(c, name, n);
}

/* Return: 0 or -ENOMEM. */
static int add_line(struct input_script *s, size_t *room, unsigned number, char *line, size_t len)
{
	if (s->n == *room) {
		size_t new_room = *room ? 2 * *room : 16;
		struct input_command *command = realloc(s->command, new_room * sizeof(*command));

		if (!command) {
			return -ENOMEM;
		}
		s->command = command;
		*room = new_room;
	}
	s->command[s->n] = (struct input_command){.line = number};
	return parse_command(&s->command[s->n++], line, len) == -ENOMEM ? -ENOMEM : 0;
}

int input_script_read(struct input_script *s, const char *text, size_t len)
{
	const char *end = text + len;
	unsigned number = 0;
	size_t room = 0;
	int r = 0;

	*s = (struct input_script){.n = 0};
	while (r == 0 && text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((newline ? newline : end) - text);
		char *line = malloc(n + 1);

		number++;
		if (!line) {
			return -ENOMEM;
		}
		memcpy(line, text, n);
		text = newline ? newline + 1 : end;
		/* As some editors end lines. */
		n -= n > 0 && line[n - 1] == '\r';
		line[n] = '\0';
		if (line[strspn(line, BLANKS)] != '#' && strspn(line, BLANKS) < n) {
			r = add_line(s, &room, number, line, n);
		}
		free(line);
	}
	return r;
}

int input_script_words(struct input_script *s, const char *const *words, unsigned n)
{
	char *line = NULL;
	size_t len, room = 0;
	FILE *f = open_memstream(&line, &len);
	int r;

	*s = (struct input_script){.n = 0};
	if (!f) {
		return -ENOMEM;
	}
	for (unsigned i = 0; i < n; i++) {
		fprintf(f, "%s%s", i ? " " : "", words[i]);
	}
	r = fclose(f) == 0 ? add_line(s, &room, 1, line, len) : -ENOMEM;
	free(line);
	return r;
}

void input_script_finish(struct input_script *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->command[i].mistake);
		free(s->command[i].text);
	}
	free(s->command);
	*s = (struct input_script){.n = 0};
}
