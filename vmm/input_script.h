/* SPDX-License-Identifier: MIT */
/*
 * What `tinyvmm input` is told to do: one command from its words, or a script, a command a line. Here are the commands and their form; what they come to on a
 * VM's devices is input_play.h's.
 *
 * A line that starts with # and an empty one are nothing. What follows `type` and one blank is typed as it is, blanks and quotes included; words of other commands are
 * separated by blanks. The words of a command line are joined by one blank each and then are such a line.
 *
 * Thread: the main thread.
 */
#ifndef VMM_INPUT_SCRIPT_H
#define VMM_INPUT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define INPUT_SCRIPT_MAX (1u << 20) /* bytes */

enum input_verb { INPUT_TYPE, INPUT_KEY, INPUT_MOVE, INPUT_CLICK, INPUT_DRAG, INPUT_SCROLL, INPUT_TOUCH, INPUT_SLEEP, INPUT_WAIT, INPUT_SHOT };

struct input_number {
	double value;
	bool has_dot; /* where it is a place: a part of the whole from 0 to 1; without a dot pixels */
};

struct input_command {
	enum input_verb verb;
	unsigned line; /* from 1 */
	char *mistake; /* what is wrong with it; then nothing else is valid. NULL: nothing */
	char *text; /* type: valid UTF-8; key: the chords with blanks between them; wait: a regular expression that compiles; shot: a path; NULL for the others */
	struct input_number number[4];
	unsigned nnumbers; /* click: 0 or 2 */
	uint16_t button; /* click, drag: BTN_... */
	uint64_t time_ns; /* sleep; wait: 0 is for ever */
};

struct input_script {
	struct input_command *command;
	size_t n;
};

/**
 * input_script_read - a script
 * @text: @len bytes, of any kind
 *
 * Return: 0, also with mistakes: they are in the commands; -ENOMEM. Either way input_script_finish frees what was made.
 */
int input_script_read(struct input_script *s, const char *text, size_t len);
/* One command from the words of a command line. Return: as input_script_read. */
int input_script_words(struct input_script *s, const char *const *words, unsigned n);
void input_script_finish(struct input_script *s); /* accepts zeroed memory */

/* "type", ... */
const char *input_script_verb(enum input_verb verb);

/* For programs, beside options_print_table: `command  NAME  ARGS  HELP`. */
void input_script_print_table(FILE *out);
/* For people, in 80 columns. */
void input_script_print_help(FILE *out);

#endif
