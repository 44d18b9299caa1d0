/* SPDX-License-Identifier: MIT */
#include "vmm/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/clock.h"
#include "vmm/doctor.h"

#define ARGS(...) ((char **)(uintptr_t)(const char *[]){"tinyvmm", __VA_ARGS__, NULL})

/* Parses a NULL-ended argv; *@said is malloc'ed. */
static int parse(struct options *o, char **argv, char **said)
{
	int argc = 0, r;
	size_t len;
	FILE *f = open_memstream(said, &len);

	while (argv[argc]) {
		argc++;
	}
	r = options_parse(o, argc, argv, f);
	fclose(f);
	return r;
}

static void assert_refused(char **argv, const char *want)
{
	struct options o;
	char *said;

	assert_int_equal(parse(&o, argv, &said), -EINVAL);
	if (!strstr(said, want) || strchr(said, '\n') != said + strlen(said) - 1) {
		fail_msg("want: %s, got: %s", want, said);
	}
	free(said);
	options_finish(&o);
}

static void test_options_parse_takes_options_anywhere(void **state)
{
	struct options o;
	char *said;

	(void)state;
	assert_int_equal(parse(&o, ARGS("-v", "run", "a.toml", "--cpus", "4", "--memory=1G", "-v"), &said), 0);
	assert_int_equal(o.verb, VERB_RUN);
	assert_int_equal(o.nfiles, 1);
	assert_string_equal(o.files[0], "a.toml");
	assert_int_equal(o.nsets, 2);
	assert_string_equal(o.sets[0], "machine.cpus=4");
	assert_string_equal(o.sets[1], "machine.memory=\"1G\"");
	assert_int_equal(o.verbose, 2);
	free(said);
	options_finish(&o);
}

static void test_options_parse_no_window_is_a_promise(void **state)
{
	struct options o;
	char *said;

	(void)state;
	assert_int_equal(parse(&o, ARGS("run", "--headless", "--display", "sdl"), &said), 0);
	assert_true(o.headless);
	assert_int_equal(o.nsets, 1);
	assert_string_equal(o.sets[0], "display.type=\"sdl\"");
	free(said);
	options_finish(&o);
	assert_int_equal(parse(&o, ARGS("check"), &said), 0);
	assert_false(o.headless);
	free(said);
	options_finish(&o);
}

static void test_options_parse_joins_initrds_and_quotes(void **state)
{
	struct options o;
	char *said;

	(void)state;
	assert_int_equal(parse(&o, ARGS("run", "--kernel", "k\"\\\n", "--initrd", "a", "--initrd=b", "--append", "x=y"), &said), 0);
	assert_true(o.has_kernel);
	assert_string_equal(o.sets[0], "boot.kernel=\"k\\\"\\\\\\u000a\"");
	assert_string_equal(o.sets[1], "boot.cmdline=\"x=y\"");
	assert_string_equal(o.sets[2], "boot.initrd=[\"a\", \"b\"]");
	free(said);
	options_finish(&o);
}

static void test_options_parse_ends_at_two_dashes(void **state)
{
	struct options o;
	char *said;

	(void)state;
	assert_int_equal(parse(&o, ARGS("check", "--print", "--", "--odd.toml", "-"), &said), 0);
	assert_true(o.print);
	assert_int_equal(o.nfiles, 2);
	assert_string_equal(o.files[0], "--odd.toml");
	free(said);
	options_finish(&o);
}

static void test_options_parse_leaves_the_words_of_input_alone(void **state)
{
	struct options o;
	char *said;

	(void)state;
	assert_int_equal(parse(&o, ARGS("input", "--device", "kb", "web", "--layout=de(neo)", "type", "-v", "--layout", "--"), &said), 0);
	assert_int_equal(o.verb, VERB_INPUT);
	assert_string_equal(o.device, "kb");
	assert_string_equal(o.layout, "de(neo)");
	assert_int_equal(o.nfiles, 5);
	assert_string_equal(o.files[2], "-v");
	assert_string_equal(o.files[4], "--");
	assert_int_equal(o.verbose, 0);
	free(said);
	options_finish(&o);
	assert_int_equal(parse(&o, ARGS("input", "web", "-"), &said), 0);
	assert_int_equal(o.nfiles, 2);
	free(said);
	options_finish(&o);
	assert_refused(ARGS("input"), "input: which VM?");
	assert_refused(ARGS("input", "web"), "input: which command?");
	assert_refused(ARGS("input", "--layout", "de,us", "web", "type", "x"), "--layout: expected LAYOUT or LAYOUT(VARIANT)");
	assert_refused(ARGS("input", "--timeout", "5s", "web", "type", "x"), "input: unknown option --timeout");
	assert_refused(ARGS("type", "--device", "x"), "unknown verb");
	assert_refused(ARGS("wait", "--device", "x", "web"), "wait: unknown option --device");
	assert_refused(ARGS("wait", "--for", "stable=1s", "--for", "text=x", "web"), "--for: of several only stable=TIME and image=FILE go together");
	assert_refused(ARGS("wait", "--for", "frame", "--for", "stable=1s", "web"), "--for: of several only stable=TIME and image=FILE go together");
}

/* What has no effect on what is waited for is a mistake, in whatever order it is said. */
static void test_options_parse_wait_has_no_option_in_vain(void **state)
{
	struct options o;
	char *said;

	(void)state;
	assert_refused(ARGS("wait", "--for", "frame", "--region", "0,0,1,1", "web"), "wait: --region goes with --for stable=TIME and image=FILE only");
	assert_refused(ARGS("wait", "--region", "0,0,1,1", "web"), "wait: --region goes with");
	assert_refused(ARGS("wait", "--for", "stable=1s", "--tolerance", "3", "web"), "wait: --tolerance goes with --for image=FILE only");
	assert_refused(ARGS("wait", "--max-diff", "0", "--for", "stable=1s", "web"), "wait: --max-diff goes with --for image=FILE only");
	assert_refused(ARGS("wait", "--for", "text=x", "--tolerance=0", "web"), "wait: --tolerance goes with");
	assert_refused(ARGS("wait", "--for", "running", "--scanout", "0", "web"), "wait: --scanout goes with --for frame, stable=TIME and image=FILE only");
	assert_refused(ARGS("wait", "--scanout", "1", "web"), "wait: --scanout goes with");
	assert_refused(ARGS("wait", "--for", "stable=0s", "web"), "--for: expected running");
	assert_refused(ARGS("wait", "--for", "stable=1s", "--region", "16384,0,1,1", "web"), "--region: 16384,0,1,1 is in no screen: the largest is 16384 pixels both ways");
	assert_refused(ARGS("wait", "--for", "stable=1s", "--region", "0,0,1,16385", "web"), "--region: 0,0,1,16385 is in no screen");
	assert_int_equal(parse(&o, ARGS("wait", "--scanout", "1", "--for", "frame", "web"), &said), 0);
	free(said);
	options_finish(&o);
	assert_int_equal(parse(&o, ARGS("wait", "--region", "16383,16383,1,1", "--artifacts", "d", "--for", "stable=1s", "web"), &said), 0);
	assert_int_equal(o.screen.region.x, 16383);
	free(said);
	options_finish(&o);
	assert_int_equal(parse(&o, ARGS("wait", "--tolerance", "3", "--max-diff", "0.5", "--scanout", "2", "--region", "0,0,1,1", "--for", "image=x", "--for", "stable=1s", "web"), &said), 0);
	assert_int_equal(o.screen.tolerance, 3);
	free(said);
	options_finish(&o);
}

static void test_options_parse_understands_times(void **state)
{
	struct options o;
	char *said;

	(void)state;
	assert_int_equal(parse(&o, ARGS("run", "--timeout", "1500ms", "x"), &said), 0);
	assert_int_equal(o.timeout_ns, 1500 * CLOCK_NS_PER_MS);
	free(said);
	options_finish(&o);
	assert_refused(ARGS("run", "--timeout", "0s"), "expected a time");
	assert_refused(ARGS("run", "--timeout", "5"), "expected a time");
	assert_refused(ARGS("run", "--timeout", "-5s"), "expected a time");
	assert_refused(ARGS("run", "--timeout", "99999999999999999999h"), "expected a time");
}

static void test_options_parse_refuses_what_it_does_not_know(void **state)
{
	(void)state;
	assert_refused(ARGS("rum"), "did you mean \"run\"?");
	assert_refused(ARGS("xyzzy"), "unknown verb");
	assert_refused(ARGS("run", "--kernle", "x"), "did you mean --kernel?");
	assert_refused(ARGS("run", "--windowless"), "unknown option --windowless");
	assert_refused(ARGS("run", "-z"), "unknown option -z");
	assert_refused(ARGS("run", "--memory"), "expected SIZE");
	assert_refused(ARGS("check", "--timeout", "5s"), "unknown option --timeout");
	assert_refused(ARGS("check", "--print=yes"), "takes no value");
	assert_refused(ARGS("run", "a", "b"), "takes one file");
	assert_refused(ARGS("run", "--set", "nothing"), "expected KEY=VALUE");
	assert_refused(ARGS("--kernel", "x"), "name a verb first");
	assert_refused(ARGS("doctor", "--need", "gpx"), "unknown need");
	assert_refused(ARGS("doctor", "--need", ""), "nothing named");
	assert_refused(((char *[]){(char *)"tinyvmm", NULL}), "no verb");
}

static void test_options_parse_knows_what_doctor_may_need(void **state)
{
	struct options o;
	char *said;

	(void)state;
	assert_int_equal(parse(&o, ARGS("doctor", "--need", "kvm", "--json"), &said), 0);
	assert_int_equal(o.need, DOCTOR_NEED_KVM);
	assert_true(o.json);
	free(said);
	options_finish(&o);
}

static void test_options_parse_help_wins_over_what_follows(void **state)
{
	struct options o;
	char *said;

	(void)state;
	assert_int_equal(parse(&o, ARGS("run", "--help", "--nonsense"), &said), 0);
	assert_int_equal(o.verb, VERB_HELP);
	assert_int_equal(o.help_for, VERB_RUN);
	free(said);
	options_finish(&o);
	assert_int_equal(parse(&o, ARGS("--version"), &said), 0);
	assert_int_equal(o.verb, VERB_VERSION);
	free(said);
	options_finish(&o);
}

static void test_options_print_help_fits_80_columns(void **state)
{
	static const enum verb verbs[] = {0, VERB_RUN, VERB_CHECK, VERB_DOCTOR, VERB_TEST, VERB_LIST, VERB_STOP, VERB_PAUSE, VERB_RESUME,
		VERB_RESET, VERB_WAIT, VERB_INPUT, VERB_CONSOLE, VERB_CTL, VERB_HELP};

	(void)state;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		char *text;
		size_t len;
		FILE *f = open_memstream(&text, &len);

		options_print_help(verbs[i], f);
		fclose(f);
		assert_non_null(strstr(text, "example: tinyvmm "));
		for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
			if (strlen(line) > 80) {
				fail_msg("longer than 80 columns: %s", line);
			}
		}
		free(text);
	}
}

/* A line of fields that are never empty: `IFS=$'\t' read` in a shell would lose an empty one. */
static void test_options_print_table_has_no_empty_field(void **state)
{
	size_t len, verbs = 0, options = 0;
	char *text;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	options_print_table(f);
	fclose(f);
	assert_null(strstr(text, "\t\t"));
	assert_null(strstr(text, "\t\n"));
	assert_non_null(strstr(text, "\noption\t--detach\td\t-\trun\t-\t"));
	assert_non_null(strstr(text, "\noption\t--memory\t-\tSIZE\trun,check\tmachine.memory\t"));
	assert_non_null(strstr(text, "\noption\t--help\th\t-\tall\t-\t"));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		verbs += strncmp(line, "verb\t", 5) == 0;
		options += strncmp(line, "option\t--", 9) == 0;
	}
	assert_true(verbs > 10);
	assert_true(options > 20);
	free(text);
}

static void test_options_parse_displays(void **state)
{
	struct options o;
	char *said;

	(void)state;
	assert_int_equal(parse(&o, ARGS("screenshot", "web", "-", "--scanout=15", "--no-cursor"), &said), 0);
	assert_int_equal(o.verb, VERB_SCREENSHOT);
	assert_int_equal(o.nfiles, 2);
	assert_int_equal(o.scanout, 15);
	assert_true(o.no_cursor);
	free(said);
	options_finish(&o);
	assert_int_equal(parse(&o, ARGS("display", "--size", "1920x1080", "--refresh", "75", "--unplug", "web"), &said), 0);
	assert_int_equal(o.width, 1920);
	assert_int_equal(o.height, 1080);
	assert_int_equal(o.refresh, 75);
	assert_true(o.unplug && !o.plug);
	free(said);
	options_finish(&o);
	assert_int_equal(parse(&o, ARGS("view", "web", "--scale", "fixed", "--fullscreen"), &said), 0);
	assert_string_equal(o.view.scale, "fixed");
	assert_true(o.view.fullscreen && !o.view.observe);
	free(said);
	options_finish(&o);
	assert_int_equal(parse(&o, ARGS("view", "--observe", "web"), &said), 0);
	assert_true(o.view.observe && !o.view.fullscreen && !o.view.scale);
	free(said);
	options_finish(&o);
	assert_int_equal(parse(&o, ARGS("run", "--gpu", "2d"), &said), 0);
	assert_string_equal(o.sets[0], "gpu.mode=\"2d\"");
	free(said);
	options_finish(&o);
	assert_refused(ARGS("screenshot"), "which VM");
	assert_refused(ARGS("screenshot", "a", "b", "c"), "one word too many, \"c\"; usage: tinyvmm screenshot [OPTIONS] VM [FILE]");
	assert_refused(ARGS("ctl", "a", "{}", "c"), "one word too many, \"c\"; usage: tinyvmm ctl");
	assert_refused(ARGS("view", "a", "b"), "takes one VM, got \"a\" and \"b\"");
	assert_refused(ARGS("screenshot", "a", "--scanout", "16"), "expected 0..15");
	assert_refused(ARGS("screenshot", "a", "--scanout", "-1"), "expected 0..15");
	assert_refused(ARGS("display", "a", "--size", "1920"), "expected a size");
	assert_refused(ARGS("display", "a", "--size", "1920x1080x1"), "expected a size");
	assert_refused(ARGS("display", "a", "--size", "63x64"), "expected a size");
	assert_refused(ARGS("display", "a", "--size", "64x16385"), "expected a size");
	assert_refused(ARGS("display", "a", "--size", "64x99999999999"), "expected a size");
	assert_refused(ARGS("display", "a", "--refresh", "0"), "expected 1..360");
	assert_refused(ARGS("display", "a", "--refresh", "361"), "expected 1..360");
	assert_refused(ARGS("view", "a", "--zoom", "5"), "expected 0.25..4");
	assert_refused(ARGS("view", "a", "--zoom", "1,5"), "expected 0.25..4");
	assert_refused(ARGS("display", "a", "--plug", "--unplug"), "either --plug or --unplug");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options_parse_takes_options_anywhere),
		cmocka_unit_test(test_options_parse_no_window_is_a_promise),
		cmocka_unit_test(test_options_parse_joins_initrds_and_quotes),
		cmocka_unit_test(test_options_parse_ends_at_two_dashes),
		cmocka_unit_test(test_options_parse_leaves_the_words_of_input_alone),
		cmocka_unit_test(test_options_parse_wait_has_no_option_in_vain),
		cmocka_unit_test(test_options_parse_understands_times),
		cmocka_unit_test(test_options_parse_refuses_what_it_does_not_know),
		cmocka_unit_test(test_options_parse_knows_what_doctor_may_need),
		cmocka_unit_test(test_options_parse_help_wins_over_what_follows),
		cmocka_unit_test(test_options_print_help_fits_80_columns),
		cmocka_unit_test(test_options_print_table_has_no_empty_field),
		cmocka_unit_test(test_options_parse_displays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
