/* SPDX-License-Identifier: MIT */
/*
 * The command line: `tinyvmm VERB [OPTIONS] [FILE|VM]...`.
 *
 * Two tables in options.c, of verbs and of options, feed the parser and --help. An option that does not exist yet is not in them.
 *
 * Thread: the main thread.
 */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/config.h"
#include "vmm/view_start.h"

#define OPTIONS_JOBS_MAX 256 /* of `test`, at once */

enum verb {
	VERB_RUN = 0x1,
	VERB_CHECK = 0x2,
	VERB_DOCTOR = 0x4,
	VERB_HELP = 0x8,
	VERB_VERSION = 0x10,
	VERB_LIST = 0x20,
	VERB_STOP = 0x40,
	VERB_PAUSE = 0x80,
	VERB_RESUME = 0x100,
	VERB_RESET = 0x200,
	VERB_WAIT = 0x400,
	VERB_CONSOLE = 0x800,
	VERB_CTL = 0x1000,
	VERB_TEST = 0x2000,
	VERB_SCREENSHOT = 0x4000,
	VERB_DEVICES = 0x8000,
	VERB_INPUT = 0x10000,
	VERB_DISPLAY = 0x20000,
	VERB_VIEW = 0x40000,
	VERB_GPU_INFO = 0x80000,
};

struct options {
	enum verb verb;
	enum verb help_for; /* with VERB_HELP: one verb, or 0 for the overview */
	const char **files; /* nfiles of them, or names of VMs, or one and the words of a command or request, borrowed from argv; "-" is standard input */
	unsigned nfiles;
	char **sets; /* nsets times "key=value", in order: --set, and options that stand for a key */
	unsigned nsets;
	bool has_kernel; /* --kernel: `run` needs no file */
	uint64_t timeout_ns; /* 0: none */
	int verbose; /* -v: 1, -vv: 2, -q: -1 */
	bool print, json;
	bool table; /* help */
	unsigned need; /* DOCTOR_NEED_*, 0: everything */
	bool detach, paused, expect, stats, trace_boot; /* run */
	bool ephemeral; /* run, check: all disks, also those that options after it add */
	bool headless; /* run, check: no window, whatever else says so */
	const char *artifacts; /* run, test: folder for logs and results; NULL: the usual one */
	const char *junit; /* test */
	const char *frames, *render_node; /* gpu-info: a file; what to try, NULL: "auto" */
	bool tap, skip_no_kvm;
	unsigned jobs; /* 0: as many as processors */
	bool has_grace, kill, all; /* stop */
	uint64_t grace_ns;
	const char *wait_for; /* wait: "running", "exit", "text=RE", "frame", "stable" or "image"; NULL: exit */
	bool wait_screen; /* one of the last three: */
	struct config_screen screen; /* its image is borrowed from argv */
	const char *image_only; /* the option, if any, that said how an image may differ */
	bool is_scanout_said;
	const char *describe; /* devices: which one; NULL: list all */
	const char *device, *layout; /* input: NULL: the first one, and its own */
	bool log; /* console */
	bool events; /* ctl */
	unsigned scanout; /* screenshot, display */
	bool no_cursor;
	unsigned width, height, refresh; /* display; 0: as they are */
	bool plug, unplug;
	struct view_start_how view; /* view */
};

/**
 * options_parse - understand a command line
 * @err: gets one line that says what is wrong, with a suggestion where one is near
 * Return: 0, or -EINVAL or -ENOMEM. Either way options_finish frees what was made.
 */
int options_parse(struct options *o, int argc, char *const *argv, FILE *err);
void options_finish(struct options *o); /* accepts zeroed memory */

/* At most 80 columns. @verb 0: the overview. */
void options_print_help(enum verb verb, FILE *out);

/*
 * The two tables, for programs (completion, the manual page's test): a line for each row, tabs between fields, "-" where there is nothing.
 *   verb    NAME  ARGS  WORD  SUMMARY             WORD: what a word after the verb is, "file", "VM" or "verb"
 *   option  --NAME  LETTER  ARG  VERBS  KEY  HELP   VERBS: with commas, or "all"
 * Fields may be added at the end of a line, and lines of other kinds.
 */
void options_print_table(FILE *out);

#endif
