/* SPDX-License-Identifier: MIT */
/* vm.toml: what good files come to, and what is said about every way of getting a key wrong. */
#include "vmm/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/clock.h"
#include "vmm/config_keys.h"

/* Loads text as the file "vm.toml"; *@report is what was said, malloc'ed. Return: number of mistakes. */
static int load(struct config *cfg, const char *text, const char *const *sets, unsigned nsets, char **report)
{
	struct config_input in = {.path = "vm.toml", .text = text, .text_len = strlen(text), .sets = sets, .nsets = nsets};
	size_t len;
	FILE *f = open_memstream(report, &len);
	int mistakes = config_load(cfg, &in, f);

	fclose(f);
	return mistakes;
}

/* @text: it has a kernel besides, unless it is empty or says what is booted. */
static void assert_one_mistake(const char *text, const char *want)
{
	bool has_kernel = !*text || strstr(text, "[boot") || strncmp(text, "boot", 4) == 0;
	struct config cfg;
	char *report, *whole;

	assert_true(asprintf(&whole, "%s%s", text, has_kernel ? "" : "\n[boot]\nkernel = 'k'\n") >= 0);
	text = whole;
	if (load(&cfg, text, NULL, 0, &report) != 1 || strncmp(report, want, strlen(want)) != 0 ||
		strchr(report, '\n') != report + strlen(report) - 1) {
		fail_msg("for:\n%s\nwant: %s\ngot:  %s", text, want, report);
	}
	free(whole);
	free(report);
	config_finish(&cfg);
}

static const char good[] =
	"[machine]\nname = \"a-b.c\"\ncpus = 2\nmemory = \"64M\"\nhugepages = \"off\"\nexit_port = \"code\"\nmmio = \"strict\"\n"
	"on_reboot = \"exit\"\non_panic = \"restart\"\nstop_grace = \"1500ms\"\n"
	"[boot]\nkernel = \"/k\"\ninitrd = [\"/a\", \"/b\"]\ncmdline = \"x y\"\nauto_cmdline = false\nkaslr = false\n"
	"[console]\ntype = \"file\"\nlog = \"/log\"\nescape = \"ctrl-]\"\n"
	"[serial]\ntype = \"stdio\"\nlog = \"/slog\"\n[rng]\nenable = false\n";

static void test_config_load_evdev(void **state)
{
	static const char text[] = "[boot]\nkernel = 'k'\n[[input]]\ntype = 'evdev'\nmatch = { name = '*pad*', vendor = 0x045e }\ngrab = false\n"
		"reserve = ['f1', 'KEY_MUTE']\ntoggle = 'shift+f12'\n[[input]]\ntype = 'evdev'\npath = 'p'\nwait = true\ndescription = 'd'\n";
	struct config cfg;
	char *report, *printed;
	size_t len;
	FILE *f;

	(void)state;
	assert_int_equal(load(&cfg, text, NULL, 0, &report), 0);
	assert_string_equal(cfg.input[0].match->name, "*pad*");
	assert_int_equal(cfg.input[0].match->vendor, 0x45e);
	assert_int_equal(cfg.input[0].match->product, 0);
	assert_null(cfg.input[0].match->phys);
	assert_false(cfg.input[0].grab);
	assert_int_equal(cfg.input[0].reserve.n, 2);
	assert_string_equal(cfg.input[1].path, "p");
	assert_string_equal(cfg.input[1].name, "evdev1");
	assert_string_equal(cfg.input[1].toggle, "ctrl+ctrl");
	f = open_memstream(&printed, &len);
	config_print(&cfg, f);
	fclose(f);
	assert_non_null(strstr(printed, "match = { name = \"*pad*\", vendor = 1118 }"));
	assert_non_null(strstr(printed, "reserve = [\"f1\", \"KEY_MUTE\"]"));
	assert_null(strstr(printed, "fd ="));
	free(printed);
	free(report);
	config_finish(&cfg);
}

static void test_config_load_evdev_mistakes(void **state)
{
#define EVDEV "[boot]\nkernel='k'\n[[input]]\ntype='evdev'\n"
	(void)state;
	assert_one_mistake(EVDEV, "vm.toml:4:6: error: input: an evdev device is named by one of path, match and fd");
	assert_one_mistake(EVDEV "path='p'\nfd=3\n", "vm.toml:4:6: error: input: an evdev device is named by one of");
	assert_one_mistake(EVDEV "path='p'\ntoggle='ctrl+'\n", "vm.toml:6:8: error: input.toggle: ");
	assert_one_mistake(EVDEV "path='p'\nreserve='nokey'\n", "vm.toml:6:9: error: input.reserve: \"nokey\" is no key");
	assert_one_mistake(EVDEV "fd=3\nwait=true\ndescription='d'\n", "vm.toml:6:6: error: input.wait: a descriptor does not come later");
	assert_one_mistake(EVDEV "match={nam='x'}\n", "vm.toml:5:8: error: unknown key \"nam\" in [input.match]; did you mean \"name\"?");
	assert_one_mistake("[boot]\nkernel='k'\n[[input]]\ntype='mouse'\ngrab=true\n", "vm.toml:5:6: error: input.grab goes with type = \"evdev\" only");
#undef EVDEV
}

static void test_config_load_says_how_many_devices_there_can_be(void **state)
{
	const char *sets[24];
	struct config cfg;
	char *report;

	(void)state;
	for (unsigned i = 0; i < 18; i++) {
		sets[i] = i < 16 ? "input.+.type=mouse" : "disk.+.path=d";
	}
	assert_int_equal(load(&cfg, "[boot]\nkernel='k'\n", sets, 18, &report), 1);
	assert_non_null(strstr(report, "20 virtio devices (disks, input devices, display, console, rng): there are interrupt lines for 19"));
	free(report);
	config_finish(&cfg);
	assert_int_equal(load(&cfg, "[boot]\nkernel='k'\n", sets, 17, &report), 0);
	free(report);
	config_finish(&cfg);
}

static void test_config_load_reads_every_key(void **state)
{
	struct config cfg;
	char *report;

	(void)state;
	assert_int_equal(load(&cfg, good, NULL, 0, &report), 0);
	assert_string_equal(cfg.machine.name, "a-b.c");
	assert_int_equal(cfg.machine.cpus, 2);
	assert_int_equal(cfg.machine.memory, 64 << 20);
	assert_int_equal(cfg.machine.hugepages, HUGEPAGES_OFF);
	assert_int_equal(cfg.machine.exit_port, EXIT_PORT_CODE);
	assert_int_equal(cfg.machine.mmio, MMIO_STRICT);
	assert_int_equal(cfg.machine.on_reboot, END_EXIT);
	assert_int_equal(cfg.machine.on_panic, END_RESTART);
	assert_int_equal(cfg.machine.stop_grace_ns, 1500 * CLOCK_NS_PER_MS);
	assert_string_equal(cfg.boot.kernel, "/k");
	assert_int_equal(cfg.boot.initrd.n, 2);
	assert_string_equal(cfg.boot.initrd.item[1], "/b");
	assert_string_equal(cfg.boot.cmdline, "x y");
	assert_false(cfg.boot.auto_cmdline);
	assert_false(cfg.boot.kaslr);
	assert_int_equal(cfg.console.type, CONSOLE_FILE);
	assert_int_equal(cfg.console.escape, 0x1d);
	assert_int_equal(cfg.serial.type, CONSOLE_STDIO);
	assert_string_equal(cfg.serial.path, "/slog");
	assert_false(cfg.rng.enable);
	free(report);
	config_finish(&cfg);
}

static void test_config_load_defaults_are_the_documented_ones(void **state)
{
	struct config cfg;
	char *report;

	(void)state;
	assert_int_equal(load(&cfg, "[boot]\nkernel = \"/k\"\n", NULL, 0, &report), 0);
	assert_string_equal(report, "");
	assert_int_equal(cfg.machine.cpus, 1);
	assert_int_equal(cfg.machine.memory, 512 << 20);
	assert_int_equal(cfg.machine.hugepages, HUGEPAGES_THP);
	assert_int_equal(cfg.machine.exit_port, EXIT_PORT_OFF);
	assert_int_equal(cfg.machine.mmio, MMIO_FAST);
	assert_int_equal(cfg.machine.on_reboot, END_RESTART);
	assert_int_equal(cfg.machine.on_panic, END_EXIT);
	assert_int_equal(cfg.machine.stop_grace_ns, 20 * CLOCK_NS_PER_S);
	assert_true(cfg.boot.auto_cmdline);
	assert_true(cfg.boot.kaslr);
	assert_int_equal(cfg.console.type, CONSOLE_STDIO);
	assert_int_equal(cfg.console.escape, 1);
	assert_int_equal(cfg.serial.type, CONSOLE_NONE);
	assert_true(cfg.rng.enable);
	free(report);
	config_finish(&cfg);
}

/* Something that is wrong for a key, by its type. */
static unsigned bad_values(const struct config_key *key, const char **values)
{
	static char more[24];
	unsigned n = 0;

	/* What is wrong in a table in a table has a place of its own. */
	values[n++] = key->type == CONFIG_FIELDS ? "{}" : "{ a = 1 }";
	values[n++] = "1979-05-27";
	values[n++] = key->type == CONFIG_SCALE ? "4.5" : "2.5";
	if (key->type != CONFIG_PATHS && key->type != CONFIG_REGEXES && key->type != CONFIG_STRINGS) {
		values[n++] = "[1]";
		values[n++] = "[\"x\"]";
	}
	if (key->type != CONFIG_BOOL) {
		values[n++] = "true";
	} else {
		values[n++] = "\"true\"";
	}
	if (key->type != CONFIG_COUNT) {
		values[n++] = "7";
		values[n++] = "-1";
	} else {
		values[n++] = "0";
		values[n++] = "-1";
		snprintf(more, sizeof(more), "%llu", (unsigned long long)key->max + 1);
		values[n++] = more;
		values[n++] = "9223372036854775807";
		values[n++] = "\"two\"";
	}
	switch (key->type) {
	case CONFIG_SIZE:
		values[n++] = "\"15M\"";
		values[n++] = "\"64MB\"";
		values[n++] = "\"64\"";
		values[n++] = "\"-64M\"";
		values[n++] = "\"99999999999999999999G\"";
		values[n++] = "\" 64M\"";
		break;
	case CONFIG_TIME:
		values[n++] = "\"20\"";
		values[n++] = "\"20 s\"";
		values[n++] = "\"1.5s\"";
		values[n++] = "\"99999999999999999999s\"";
		break;
	case CONFIG_PIXELS:
		values[n++] = "[]";
		values[n++] = "[\"1280x800\", 7]";
		values[n++] = "[\"1280x800\", \"63x64\"]";
		values[n++] = "\"1280\"";
		values[n++] = "\"1280x\"";
		values[n++] = "\"1280x800x2\"";
		values[n++] = "\"1280x 800\"";
		values[n++] = "\"64x63\"";
		values[n++] = "\"16385x64\"";
		values[n++] = "\"99999999999x800\"";
		break;
	case CONFIG_ENUM:
	case CONFIG_CONTROL:
		values[n++] = "\"nonsense\"";
		values[n++] = "\"\"";
		values[n++] = "\"Stdio\"";
		break;
	case CONFIG_PATH:
	case CONFIG_PATHS:
		values[n++] = "\"\"";
		values[n++] = "\"${TINYVMM_TEST_UNSET}/x\"";
		values[n++] = "\"${\"";
		values[n++] = "\"a\\u0000b\"";
		break;
	case CONFIG_REGEX:
	case CONFIG_REGEXES:
		values[n++] = "\"\"";
		values[n++] = "\"a(\"";
		values[n++] = "\"[\"";
		break;
	case CONFIG_STRINGS:
		values[n++] = "\"\"";
		values[n++] = "[\"x\", 1]";
		break;
	case CONFIG_STRING:
	case CONFIG_NAME:
		values[n++] = "\"a\\nb\"";
		values[n++] = "\"a\\u0000b\"";
		break;
	default:
		break;
	}
	return n;
}

/* Every key, every wrong value: one line with the position of the value; the same key misspelt, twice, and in a wrong table. */
static void test_config_load_names_file_line_and_column_of_200_mistakes(void **state)
{
	unsigned cases = 0, nkeys;

	(void)state;
	unsetenv("TINYVMM_TEST_UNSET");
	for (unsigned i = 0; i < config_nkeys; i++) {
		const struct config_key *key = &config_keys[i];
		bool is_list = config_find_list(key->table, strlen(key->table));
		const struct config_key *first = config_table_keys(key->table, strlen(key->table), &nkeys);
		const char *values[32], *open = is_list ? "[[" : "[", *close = is_list ? "]]" : "]";
		unsigned n = bad_values(key, values);
		char text[512], want[256];

		for (unsigned v = 0; v < n; v++, cases++) {
			/* An entry of a list, and what is booted, has what it must have, so that it is the only mistake. */
			snprintf(text, sizeof(text), "# comment\n%s%s%s\n\n%s = %s\n%s\n", open, key->table, close, key->name, values[v],
				strcmp(key->table, "boot") == 0 && key != first ? "kernel = 'k'" : !is_list || key == first ? "" : strcmp(first->name, "path") == 0 ? "path = 'd'" : "type = 'keyboard'");
			snprintf(want, sizeof(want), "vm.toml:4:%zu: error: %s.%s: ", strlen(key->name) + 4, key->table, key->name);
			assert_one_mistake(text, want);
		}
		snprintf(text, sizeof(text), "%s%s%s\nx%s = 1\n", open, key->table, close, key->name);
		snprintf(want, sizeof(want), "vm.toml:2:1: error: unknown key \"x%s\" in [%s]", key->name, key->table);
		assert_one_mistake(text, want);
		snprintf(text, sizeof(text), "%s%s%s\n%s = ''\n%s = ''\n", open, key->table, close, key->name, key->name);
		assert_one_mistake(text, "vm.toml:3:");
		snprintf(text, sizeof(text), "[%sx]\n%s = ''\n", key->table, key->name);
		snprintf(want, sizeof(want), "vm.toml:1:2: error: unknown key \"%sx\"", key->table);
		assert_one_mistake(text, want);
		snprintf(text, sizeof(text), "%s = 1\n", key->table);
		snprintf(want, sizeof(want), "vm.toml:1:%zu: error: %s: expected %s", strlen(key->table) + 4, key->table, is_list ? "tables" : "a table");
		assert_one_mistake(text, want);
		snprintf(text, sizeof(text), "%s%s%s\n%s = \n", open, key->table, close, key->name);
		assert_one_mistake(text, "vm.toml:2:");
		cases += 5;
	}
	assert_true(cases >= 200);
}

static void assert_lines(char *report, const char *const *want, size_t n);

/* Also what values say together, beside others that are none; but not what may only be a consequence of those. */
static void test_config_load_reports_all_mistakes_in_one_pass(void **state)
{
	static const struct {
		const char *text;
		unsigned n;
		const char *want[9];
	} cases[] = {
		{"[boot]\nkernel='k'\n[gpu]\nmode='2d'\nrefresh=0\n[expect]\nfirst_frame='90s'\nscreen={ stable='90s', tolerance=256, scanout=1 }\n[console]\ntype='file'\n", 6,
			{"vm.toml:5:9: error: gpu.refresh: ", "vm.toml:8:34: error: expect.screen.tolerance: ", "vm.toml:10:6: error: console.type is", "vm.toml:8:47: error: expect.screen.scanout: 1",
				"vm.toml:8:17: error: expect.screen.stable: 90000", "vm.toml:7:13: error: expect.first_frame: 90000"}},
		{"[boot]\nkernel=1\n[gpu]\nmode='3d'\nscanouts=0\nsize=1\n[expect]\ntimeout=1\nfirst_frame='90s'\nscreen={ stabel='90s', scanout=1 }\n"
		 "[console]\ntype='file'\nlgo='x'\n[serial]\ntype='file'\nlog=1\n[display]\ntype='sdl'\nallow=['x', 1]\n", 9,
			{"vm.toml:2:8: error: boot.kernel: ", "vm.toml:4:6: error: gpu.mode: ", "vm.toml:5:10: error: gpu.scanouts: ", "vm.toml:6:6: error: gpu.size: ", "vm.toml:8:9: error: expect.timeout: ",
				"vm.toml:10:10: error: unknown key \"stabel\"", "vm.toml:13:1: error: unknown key \"lgo\"", "vm.toml:16:5: error: serial.log: ", "vm.toml:19:7: error: display.allow: "}},
		{"[boot]\nkernel='k'\n[gpu]\nmode='2d'\nsiez='x'\nscanouts=2\n[expect.screen]\nstable=1\n", 2, {"vm.toml:5:1: error: unknown key \"siez\"", "vm.toml:8:8: error: expect.screen.stable: "}},
		/* What is said is meant. */
		{"[boot]\nkernel='k'\n[gpu]\nmode='off'\nsiez='x'\n[expect]\nfirst_frame='1s'\n", 2, {"vm.toml:5:1: error: unknown key \"siez\"", "vm.toml:7:13: error: expect.first_frame: the VM has no display"}},
		/* A table that is not there may be another one. */
		{"[boto]\nkernel='k'\n", 1, {"vm.toml:1:2: error: unknown key \"boto\""}},
	};
	struct config cfg;
	char *report;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int mistakes = load(&cfg, cases[i].text, NULL, 0, &report);

		if (mistakes != (int)cases[i].n) {
			fail_msg("%d mistakes: %s", mistakes, report);
		}
		assert_lines(report, cases[i].want, cases[i].n);
		free(report);
		config_finish(&cfg);
	}
	assert_int_equal(load(&cfg, "[machine]\ncpus = 0\nmemory = 1\n[boot]\nkernl = 'x'\n[nonsense]\n", NULL, 0, &report), 4);
	assert_non_null(strstr(report, "did you mean \"kernel\"?"));
	free(report);
	config_finish(&cfg);
}

/* Of disks and input devices also what only the whole of an entry shows, beside values that are none. */
static void test_config_load_reports_all_mistakes_of_lists_in_one_pass(void **state)
{
	static const char text[] = "[[input]]\ntype='keyboard'\nlayout='de,us'\nwait=true\n[[input]]\ntype='evdev'\npath='p'\nfd=3\nreserve='nokey'\ntoggle='a+'\nlayout='us'\n"
				   "[[input]]\nname='x'\ngrab=1\n[[input]]\ntype='evdev'\npth='p'\n[[input]]\ntype='evdev'\nmatch={nmae='x'}\n"
				   "[[disk]]\nname='d'\ncache=1\n[[disk]]\npath='p'\nformat='qcow2'\nroot=true\n[[disk]]\npath='q'\nroot=true\nname='disk1'\n";
	static const char *const want[] = {"vm.toml:3:8: error: input.layout: ", "vm.toml:12:1: error: input: type is missing", "vm.toml:14:6: error: input.grab: ",
		"vm.toml:17:1: error: unknown key \"pth\"", "vm.toml:20:8: error: unknown key \"nmae\" in [input.match]", "vm.toml:21:1: error: disk: path is missing", "vm.toml:23:7: error: disk.cache: ",
		"vm.toml:26:8: error: disk.format: qcow2", "vm.toml:30:6: error: disk.root: more", "vm.toml:31:6: error: disk.name: two", "vm.toml:4:6: error: input.wait goes with",
		"vm.toml:11:8: error: input.layout: only a keyboard", "vm.toml:6:6: error: input: an evdev device is named by one", "vm.toml:10:8: error: input.toggle: ",
		"vm.toml:9:9: error: input.reserve: ", "vm.toml: error: boot.kernel is missing"};
	char *report, *line, *rest;
	struct config cfg;
	size_t n = 0;

	(void)state;
	assert_int_equal(load(&cfg, text, NULL, 0, &report), sizeof(want) / sizeof(want[0]));
	for (line = strtok_r(report, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), n++) {
		assert_true(n < sizeof(want) / sizeof(want[0]));
		if (strncmp(line, want[n], strlen(want[n])) != 0) {
			fail_msg("want %s, got %s", want[n], line);
		}
	}
	assert_int_equal(n, sizeof(want) / sizeof(want[0]));
	free(report);
	config_finish(&cfg);
}

static void test_config_load_reports_mistakes_from_top_to_bottom(void **state)
{
	static const char text[] = "[serial]\ntype = 1\nlog = 2\n[rng]\nenable = 3\n[machine]\nname = 1\nmemory = 2\ncpus = 'x'\n[boot]\nx = 1\n";
	static const unsigned lines[] = {2, 3, 5, 7, 8, 9, 11};
	struct config cfg;
	char *report, *line;

	(void)state;
	assert_int_equal(load(&cfg, text, NULL, 0, &report), 7);
	line = strtok(report, "\n");
	for (size_t i = 0; i < 7; i++) {
		assert_non_null(line);
		assert_int_equal(atoi(strchr(line, ':') + 1), lines[i]);
		line = strtok(NULL, "\n");
	}
	free(report);
	config_finish(&cfg);
}

static void test_config_load_survives_what_the_parser_calls_impossible(void **state)
{
	(void)state;
	assert_one_mistake("[boot]\nkernel = '${A:-${B}}/k'\n", "vm.toml:2:10: error: boot.kernel: variables do not nest");
	assert_one_mistake("[,boot]\n", "vm.toml:1:2: error: ");
	assert_one_mistake("[boot]\nkernel = \xc3\xbc\n", "vm.toml:2:10: error: ");
	assert_one_mistake("[boot]\nk\xc3\xa4rnel = 1\n", "vm.toml:2:2: error: ");
}

static void test_config_load_checks_what_belongs_together(void **state)
{
	(void)state;
	assert_one_mistake("", "vm.toml: error: boot.kernel is missing");
	assert_one_mistake("[boot]\nkernel='k'\n[console]\ntype = 'file'\n", "vm.toml:4:8: error: console.type is \"file\"");
	assert_one_mistake("[boot]\nkernel='k'\n[serial]\ntype = 'file'\n", "vm.toml:4:8: error: serial.type is \"file\"");
	assert_one_mistake("[boot]\nkernel='k'\n[machine]\nmemory = '15T'\n", "vm.toml:4:10: error: machine.memory: this host has");
	assert_one_mistake("config_version = 2\n", "vm.toml:1:18: error: config_version");
}

static void assert_lines(char *report, const char *const *want, size_t n)
{
	char *rest = NULL, *line = strtok_r(report, "\n", &rest);

	for (size_t i = 0; i < n; i++, line = strtok_r(NULL, "\n", &rest)) {
		if (!line || strncmp(line, want[i], strlen(want[i])) != 0) {
			fail_msg("want: %s\ngot:  %s", want[i], line ? line : "nothing");
		}
	}
	assert_null(line);
}

/* What no guest can show, and what would have no effect: each at the place of the key in the table that is wrong. */
static void test_config_load_screens_that_cannot_be(void **state)
{
	static const struct {
		const char *screen;
		unsigned mistakes;
		const char *want[3];
	} cases[] = {
		{"{ image = '/x' }", 0, {NULL}},
		{"{ image = '/x', tolerance = 3, max_diff = 0.5 }", 0, {NULL}},
		{"{ image = '/x', tolerance = 0, scanout = 0 }", 0, {NULL}},
		{"{ image = '/x', tolerance = 255 }", 0, {NULL}},
		{"{ image = '/x', tolerance = -1 }", 1, {"38: error: expect.screen.tolerance: expected integer 0..255, got integer -1"}},
		{"{ stable = '9999ms', region = [0, 0, 1280, 800] }", 0, {NULL}},
		{"{ stable = '1s', max_diff = 0 }", 0, {NULL}},
		{"{ region = [0, 0, 1, 1] }", 1, {"10: error: expect.screen: like which image, or stable for how long?"}},
		{"{ tolerance = 3 }", 1, {"10: error: expect.screen: like which image, or stable for how long?"}},
		{"{ stable = '1s', tolerance = 3 }", 1, {"39: error: expect.screen.tolerance goes with image only"}},
		{"{ stable = '1s', max_diff = 0.1 }", 1, {"38: error: expect.screen.max_diff goes with image only"}},
		{"{ tolerance = 3, stable = '1s', max_diff = 0.1 }", 2,
			{"24: error: expect.screen.tolerance goes with image only", "53: error: expect.screen.max_diff goes with image only"}},
		{"{ stable = '0s' }", 1, {"21: error: expect.screen.stable: \"0s\" is no time: leave it out, or say how long"}},
		{"{ stable = '10s' }", 1, {"21: error: expect.screen.stable: 10000 ms, but expect.timeout is over after 10000 ms"}},
		{"{ stable = '1s', scanout = 1 }", 1, {"37: error: expect.screen.scanout: 1, but gpu.scanouts is 1"}},
		{"{ stable = '1s', region = [16383, 0, 2, 1] }", 1, {"36: error: expect.screen.region: 16383,0,2,1 is in no screen: the largest is 16384 pixels both ways"}},
		{"{ stable = '1s', region = [0, 1, 1, 16384] }", 1, {"36: error: expect.screen.region: 0,1,1,16384 is in no screen"}},
		{"{ stable = 2, image = 1 }", 2,
			{"21: error: expect.screen.stable: expected a time as a string", "32: error: expect.screen.image: expected a string, got integer 1"}},
		{"{ imag = 1, scanout = 99, zzz = 2 }", 3,
			{"12: error: unknown key \"imag\" in [expect.screen]; did you mean \"image\"?", "32: error: expect.screen.scanout: expected integer 0..15, got integer 99",
				"36: error: unknown key \"zzz\" in [expect.screen]"}},
	};
	char text[400], want[3][200], *report;
	const char *lines[3] = {want[0], want[1], want[2]};
	struct config cfg;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "[boot]\nkernel='k'\n[expect]\ntimeout='10s'\n\nscreen = %s\n[gpu]\nmode='2d'\n", cases[i].screen);
		for (unsigned k = 0; k < cases[i].mistakes; k++) {
			snprintf(want[k], sizeof(want[k]), "vm.toml:6:%s", cases[i].want[k]);
		}
		assert_int_equal(load(&cfg, text, NULL, 0, &report), cases[i].mistakes);
		assert_lines(report, lines, cases[i].mistakes);
		free(report);
		config_finish(&cfg);
	}
	assert_one_mistake("[boot]\nkernel='k'\n[expect]\nfirst_frame='60001ms'\n[gpu]\nmode='2d'\n",
		"vm.toml:4:13: error: expect.first_frame: 60001 ms, but expect.timeout is over after 60000 ms");
	assert_int_equal(load(&cfg, "[boot]\nkernel='k'\n[expect]\nfirst_frame='60s'\n[gpu]\nmode='2d'\n", NULL, 0, &report), 0);
	free(report);
	config_finish(&cfg);
	assert_int_equal(load(&cfg, "[boot]\nkernel='k'\n[expect]\nscreen={ stable='1s', region=[0, 0, 1281, 800] }\n[gpu]\nmode='2d'\n", NULL, 0, &report), 0);
	assert_string_equal(report, "vm.toml:4:30: warning: expect.screen.region: not inside the 1280x800 pixels of gpu.size: the guest must choose another size\n");
	free(report);
	config_finish(&cfg);
	assert_int_equal(load(&cfg, "[boot]\nkernel='k'\n[expect]\ntimeout='1s'\nfirst_frame='2s'\nscreen={ stable='1s', tolerance=1, scanout=1 }\n[gpu]\nmode='2d'\n", NULL, 0, &report), 4);
	free(report);
	config_finish(&cfg);
}

/* A table in a table may be a table of its own, on lines of its own. Of an option, that option is the place of all. What replaces it replaces all of it, places too. */
static void test_config_load_says_where_in_a_table_in_a_table(void **state)
{
	static const char head[] = "[boot]\nkernel='k'\n[gpu]\nmode='2d'\n[expect.screen]\nstable='1s'\n";
	static const char *const in_file[] = {"vm.toml:7:1: error: unknown key \"tolerence\" in [expect.screen]; did you mean \"tolerance\"?",
		"vm.toml:8:9: error: expect.screen.scanout: expected integer 0..15, got integer 16"};
	static const char *const in_set[] = {"--set expect.screen={ stable=1, imag=2, q=3 }: error: unknown key \"imag\"; did you mean \"image\"?",
		"--set expect.screen={ stable=1, imag=2, q=3 }: error: unknown key \"q\"", "--set expect.screen={ stable=1, imag=2, q=3 }: error: stable: expected a time as a string"};
	static const char *const in_lists[] = {"vm.toml:8:6: error: input.match.name: expected a string, got integer 1", "vm.toml:9:1: error: unknown key \"vendr\" in [input.match]; did you mean \"vendor\"?"};
	const char *wrong = "expect.screen={ stable=1, imag=2, q=3 }", *good_set = "expect.screen={ image='/i' }";
	char text[300], *report;
	struct config cfg;

	(void)state;
	snprintf(text, sizeof(text), "%stolerence=1\nscanout=16\n", head);
	assert_int_equal(load(&cfg, text, NULL, 0, &report), 2);
	assert_lines(report, in_file, 2);
	free(report);
	config_finish(&cfg);
	assert_int_equal(load(&cfg, head, &wrong, 1, &report), 3);
	assert_lines(report, in_set, 3);
	free(report);
	config_finish(&cfg);
	assert_int_equal(load(&cfg, "[boot]\nkernel='k'\n[[input]]\ntype='evdev'\npath='p'\n[input.match]\nvendor=1\nname=1\nvendr=2\n", NULL, 0, &report), 2);
	assert_lines(report, in_lists, 2);
	free(report);
	config_finish(&cfg);

	assert_int_equal(load(&cfg, head, NULL, 0, &report), 0);
	assert_string_equal(config_where(&cfg, "expect.screen"), "vm.toml:5:1");
	assert_string_equal(config_where(&cfg, "expect.screen.stable"), "vm.toml:6:8");
	assert_string_equal(config_where(&cfg, "expect.screen.image"), "vm.toml:5:1");
	free(report);
	config_finish(&cfg);
	assert_int_equal(load(&cfg, head, &good_set, 1, &report), 0);
	assert_string_equal(config_where(&cfg, "expect.screen.stable"), "--set expect.screen={ image='/i' }");
	assert_string_equal(cfg.expect.screen->image, "/i");
	assert_int_equal(cfg.expect.screen->stable_ns, 0);
	free(report);
	config_finish(&cfg);
	assert_int_equal(load(&cfg, "[boot]\nkernel='k'\n", NULL, 0, &report), 0);
	assert_string_equal(config_where(&cfg, "expect.screen.stable"), "default");
	free(report);
	config_finish(&cfg);
}

/* --timeout of `tinyvmm test` and `run --expect` holds in place of expect.timeout: what is too long for the file's own may be in time, and the other way round. */
static void test_config_load_screens_and_another_timeout(void **state)
{
	static const struct {
		unsigned timeout_s;
		const char *expect, *want;
	} cases[] = {
		{0, "first_frame='90s'", "vm.toml:6:13: error: expect.first_frame: 90000 ms, but expect.timeout is over after 60000 ms\n"},
		{100, "first_frame='90s'", ""},
		{100, "timeout='1s'\nfirst_frame='90s'", ""},
		/* It may be shown before that. */
		{10, "first_frame='30s'", ""},
		{0, "screen={ stable='90s' }", "vm.toml:6:17: error: expect.screen.stable: 90000 ms, but expect.timeout is over after 60000 ms\n"},
		{100, "screen={ stable='90s' }", ""},
		{90, "screen={ stable='90s' }", "vm.toml:6:17: error: expect.screen.stable: 90000 ms, but --timeout is over after 90000 ms\n"},
		{10, "screen={ stable='30s' }", "vm.toml:6:17: error: expect.screen.stable: 30000 ms, but --timeout is over after 10000 ms\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[200], *report;
		size_t len;
		FILE *f = open_memstream(&report, &len);
		struct config_input in = {.path = "vm.toml", .text = text, .timeout_ns = cases[i].timeout_s * (uint64_t)CLOCK_NS_PER_S};
		struct config cfg;

		snprintf(text, sizeof(text), "[boot]\nkernel='k'\n[gpu]\nmode='2d'\n[expect]\n%s\n", cases[i].expect);
		in.text_len = strlen(text);
		assert_int_equal(config_load(&cfg, &in, f), cases[i].want[0] != '\0');
		fclose(f);
		assert_string_equal(report, cases[i].want);
		free(report);
		config_finish(&cfg);
	}
}

static void test_config_load_sets_win_and_take_bare_words(void **state)
{
	const char *sets[] = {"machine.memory=1G", "machine.cpus=1", "machine.name=42", "boot.kernel=\"/quoted\"", "rng.enable=false"};
	struct config cfg;
	char *report;

	(void)state;
	assert_int_equal(load(&cfg, good, sets, 5, &report), 0);
	assert_int_equal(cfg.machine.memory, 1 << 30);
	assert_int_equal(cfg.machine.cpus, 1);
	assert_string_equal(cfg.machine.name, "42");
	assert_string_equal(cfg.boot.kernel, "/quoted");
	assert_string_equal(config_where(&cfg, "machine.cpus"), "--set machine.cpus=1");
	assert_string_equal(config_where(&cfg, "boot.cmdline"), "vm.toml:14:11");
	free(report);
	config_finish(&cfg);
}

static void test_config_load_names_a_wrong_set(void **state)
{
	const char *sets[] = {"machine.memroy=1G", "nothing", "machine.cpus=two", "boot.kernel=@/nonexistent"};
	struct config cfg;
	char *report;

	(void)state;
	assert_int_equal(load(&cfg, good, sets, 4, &report), 4);
	assert_non_null(strstr(report, "--set machine.memroy=1G: error: unknown key \"memroy\"; did you mean \"memory\"?"));
	assert_non_null(strstr(report, "--set nothing: error: "));
	assert_non_null(strstr(report, "--set machine.cpus=two: error: expected integer 1..64, got string \"two\""));
	assert_non_null(strstr(report, "No such file"));
	free(report);
	config_finish(&cfg);
}

/* A file is somebody else's text: what is said about it stays on its line, and nothing in it acts on the terminal. */
static void test_config_load_messages_are_one_printable_line(void **state)
{
	const char *sets[] = {"machine.cpus=1\nx = 2", "boot.initrd=[\"a\",\n\"b\"]", "rng.enable=\x1b[31m"};
	struct config cfg;
	char *report, *printed;
	size_t len;
	FILE *f;

	(void)state;
	assert_one_mistake("[machine]\ncpus = \"a\\nb\\u001b[31m\\u009b\"\n[boot]\nkernel = \"k\"\n",
		"vm.toml:2:8: error: machine.cpus: expected integer 1..64, got string \"a?b?[31m??\"\n");
	assert_one_mistake("[machine]\n\"a\\nb\" = 1\n[boot]\nkernel = \"k\"\n", "vm.toml:2:1: error: unknown key \"a?b\" in [machine]\n");
	assert_int_equal(load(&cfg, good, sets, 3, &report), 2);
	assert_string_equal(report, "--set machine.cpus=1?x = 2: error: expected integer 1..64, got string \"1?x = 2\"\n"
		"--set rng.enable=?[31m: error: value not understood\n");
	free(report);
	/* Where a value is from is a comment, so it must not end early. */
	f = open_memstream(&printed, &len);
	config_print(&cfg, f);
	fclose(f);
	config_finish(&cfg);
	assert_non_null(strstr(printed, "# --set boot.initrd=[\"a\",?\"b\"]\n"));
	free(printed);
}

static void test_config_load_expands_paths(void **state)
{
	struct config cfg;
	char *report;

	(void)state;
	setenv("TINYVMM_TEST_A", "/aa", 1);
	setenv("HOME", "/home/x", 1);
	unsetenv("TINYVMM_TEST_B");
	assert_int_equal(load(&cfg, "[boot]\nkernel = '${TINYVMM_TEST_A}/k'\ninitrd = ['~/i', '${TINYVMM_TEST_B:-~/c}/j', 'rel']\n", NULL, 0,
				 &report), 0);
	assert_string_equal(cfg.boot.kernel, "/aa/k");
	assert_string_equal(cfg.boot.initrd.item[0], "/home/x/i");
	assert_string_equal(cfg.boot.initrd.item[1], "/home/x/c/j");
	assert_string_equal(cfg.boot.initrd.item[2], "rel");
	free(report);
	config_finish(&cfg);
}

static void test_config_load_disks_in_their_order(void **state)
{
	const char *sets[] = {"disk.1.readonly=true", "disk.+.path=third", "disk.2.name=c", "disk.3.path=\"fourth\"", "disk.*.ephemeral=true"};
	struct config cfg;
	char *report;

	(void)state;
	assert_int_equal(load(&cfg, "[boot]\nkernel = 'k'\ninitrd = 'i'\n[[disk]]\npath = '/a'\ndiscard = false\n[[disk]]\npath = '/b'\n"
				    "cache = 'direct'\nname = 'data'\nroot = true\n", sets, 5, &report), 0);
	assert_int_equal(cfg.ndisks, 4);
	assert_string_equal(cfg.disk[0].path, "/a");
	assert_string_equal(cfg.disk[0].name, "disk0");
	assert_false(cfg.disk[0].discard);
	assert_false(cfg.disk[0].readonly);
	assert_string_equal(cfg.disk[1].name, "data");
	assert_int_equal(cfg.disk[1].cache, DISK_CACHE_DIRECT);
	assert_true(cfg.disk[1].root && cfg.disk[1].readonly && cfg.disk[1].discard);
	assert_string_equal(cfg.disk[2].path, "third");
	assert_string_equal(cfg.disk[2].name, "c");
	assert_string_equal(cfg.disk[3].name, "disk3");
	for (unsigned i = 0; i < 4; i++) {
		assert_true(cfg.disk[i].ephemeral);
	}
	assert_string_equal(config_where(&cfg, "disk.1.path"), "vm.toml:8:8");
	assert_string_equal(config_where(&cfg, "disk.1.readonly"), "--set disk.1.readonly=true");
	assert_string_equal(config_where(&cfg, "disk.1.format"), "default");
	assert_string_equal(report, "");
	free(report);
	config_finish(&cfg);
}

/* What would be set nowhere is a mistake, but --ephemeral is a promise about whatever disks there are. */
static void test_config_load_all_of_none(void **state)
{
	static const char *const sets[][2] = {{"disk.*.path=x", "[[disk]]"}, {"input.*.name=x", "[[input]]"}};
	static const char text[] = "[boot]\nkernel = 'k'\n";
	struct config_input in = {.path = "vm.toml", .text = text, .text_len = sizeof(text) - 1, .ephemeral = true};
	const char *add = "disk.+.path=y";
	char want[200], *report;
	struct config cfg;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(load(&cfg, text, &sets[i][0], 1, &report), 1);
		snprintf(want, sizeof(want), "--set %s: error: there is no %s that it could be set for\n", sets[i][0], sets[i][1]);
		assert_string_equal(report, want);
		free(report);
		config_finish(&cfg);
	}
	assert_int_equal(config_load(&cfg, &in, stderr), 0);
	assert_int_equal(cfg.ndisks, 0);
	config_finish(&cfg);
	in.sets = &add;
	in.nsets = 1;
	assert_int_equal(config_load(&cfg, &in, stderr), 0);
	assert_true(cfg.disk[0].ephemeral);
	config_finish(&cfg);
}

static void test_config_load_file_without_a_name(void **state)
{
	struct config_input in = {.path = ""};
	struct config cfg;
	char *report;
	size_t len;
	FILE *f = open_memstream(&report, &len);

	(void)state;
	assert_int_equal(config_load(&cfg, &in, f), 1);
	fclose(f);
	assert_string_equal(report, "tinyvmm: error: the configuration file's name is empty\n");
	free(report);
	config_finish(&cfg);
}

static void test_config_load_input_devices(void **state)
{
	const char *sets[] = {"input.+.type=mouse", "input.0.name=first"};
	struct config cfg;
	char *report;

	(void)state;
	assert_int_equal(load(&cfg, "[boot]\nkernel = 'k'\n[[input]]\ntype = 'keyboard'\n[[input]]\ntype = 'keyboard'\n[[input]]\ntype = 'multitouch'\n",
		sets, 2, &report), 0);
	assert_int_equal(cfg.ninputs, 4);
	assert_string_equal(cfg.input[0].name, "first");
	assert_string_equal(cfg.input[1].name, "keyboard1");
	assert_string_equal(cfg.input[2].name, "multitouch0");
	assert_int_equal(cfg.input[2].type, INPUT_MULTITOUCH);
	assert_string_equal(cfg.input[3].name, "mouse0");
	assert_string_equal(cfg.input[0].layout, "us");
	free(report);
	config_finish(&cfg);
	assert_true(config_is_layout("us") && config_is_layout("de(nodeadkeys)"));
	assert_false(config_is_layout("") || config_is_layout("de,us") || config_is_layout("de(neo)x") || config_is_layout("(neo)"));
	assert_one_mistake("[boot]\nkernel='k'\n[[input]]\ntype='mouse'\nlayout='us'\n", "vm.toml:5:8: error: input.layout: only a keyboard of the VM's own has one");
	assert_one_mistake("[[input]]\nname = 'x'\n", "vm.toml:1:1: error: input: type is missing");
	assert_one_mistake("[boot]\nkernel='k'\n[[input]]\ntype='mouse'\nname='keyboard0'\n[[input]]\ntype='keyboard'\n",
		"vm.toml:7:6: error: input.name: two input devices are called \"keyboard0\"");
}

static void load_display(struct config *cfg, const char *const *sets, unsigned n, bool headless)
{
	struct config_input in = {.path = "vm.toml", .text = "[boot]\nkernel = 'k'\n", .text_len = sizeof("[boot]\nkernel = 'k'\n") - 1, .sets = sets, .nsets = n, .headless = headless};
	char *report;
	size_t len;
	FILE *out = open_memstream(&report, &len);

	assert_int_equal(config_load(cfg, &in, out), 0);
	fclose(out);
	free(report);
}

static enum config_display loaded_display(const char *const *sets, unsigned n, bool *by_default)
{
	enum config_display type;
	struct config cfg;
	char *report;

	assert_int_equal(load(&cfg, "[boot]\nkernel = 'k'\n", (const char **)(uintptr_t)sets, n, &report), 0);
	type = cfg.display.type;
	*by_default = cfg.display.by_default;
	free(report);
	config_finish(&cfg);
	return type;
}

static void test_config_load_scale_of_the_window(void **state)
{
	static const struct {
		const char *set;
		double want;
	} rows[] = {{"display.scale=2", 2}, {"display.scale=0.25", 0.25}, {"display.scale=1.5", 1.5}, {"display.scale=fit", 0}, {"display.title=x", 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *sets[] = {rows[i].set};
		struct config cfg;
		char *report;

		assert_int_equal(load(&cfg, "[boot]\nkernel = 'k'\n", sets, 1, &report), 0);
		assert_true(cfg.display.scale > rows[i].want - 0.001 && cfg.display.scale < rows[i].want + 0.001);
		free(report);
		config_finish(&cfg);
	}
	assert_one_mistake("[display]\nscale = 5\n", "vm.toml:2:9: error: display.scale: expected a number from 0.25 to 4, or \"fit\"");
	assert_one_mistake("[display]\nscale = '1:1'\n", "vm.toml:2:9: error: display.scale: expected a number");
	assert_one_mistake("[display]\nscale = nan\n", "vm.toml:2:9: error: display.scale: expected a number");
	assert_one_mistake("[display]\ntitle = ''\n", "vm.toml:2:9: error: display.title");
}

static void test_config_load_a_window_opens_where_there_is_a_display(void **state)
{
	static const char *const sets[] = {"gpu.mode=2d", "display.type=none"}, *const window[] = {"gpu.mode=2d", "display.type=sdl"};
	char *x = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");
	bool by_default;

	(void)state;
	x = x ? strdup(x) : NULL;
	wayland = wayland ? strdup(wayland) : NULL;
	unsetenv("DISPLAY");
	unsetenv("WAYLAND_DISPLAY");
	assert_int_equal(loaded_display(sets, 1, &by_default), DISPLAY_NONE);
	setenv("WAYLAND_DISPLAY", "", 1);
	assert_int_equal(loaded_display(sets, 1, &by_default), DISPLAY_NONE);
	setenv("WAYLAND_DISPLAY", "wayland-0", 1);
	assert_int_equal(loaded_display(sets, 1, &by_default), DISPLAY_SDL);
	unsetenv("WAYLAND_DISPLAY");
	setenv("DISPLAY", ":0", 1);
	assert_int_equal(loaded_display(sets, 1, &by_default), DISPLAY_SDL);
	assert_true(by_default);
	/* Without a gpu there is nothing to show; and what is said counts. */
	assert_int_equal(loaded_display(NULL, 0, &by_default), DISPLAY_NONE);
	assert_int_equal(loaded_display(sets, 2, &by_default), DISPLAY_NONE);
	assert_int_equal(loaded_display(window, 2, &by_default), DISPLAY_SDL);
	assert_false(by_default);
	unsetenv("DISPLAY");
	if (x) {
		setenv("DISPLAY", x, 1);
	}
	if (wayland) {
		setenv("WAYLAND_DISPLAY", wayland, 1);
	}
	free(x);
	free(wayland);
}

/* Of what needs no window, the one that goes with what draws; and what is said counts, as long as it has no window. */
static void test_config_load_without_a_window(void **state)
{
	static const struct {
		const char *sets[2];
		bool headless;
		enum config_display plain, with_x; /* what it comes to where there is no display of X11, and where there is one */
	} rows[] = {
		{{"gpu.mode=2d", "rng.enable=true"}, false, DISPLAY_NONE, DISPLAY_SDL},
		{{"gpu.mode=virgl", "rng.enable=true"}, false, DISPLAY_EGL_HEADLESS, DISPLAY_SDL},
		{{"gpu.mode=2d", "rng.enable=true"}, true, DISPLAY_NONE, DISPLAY_NONE},
		{{"gpu.mode=virgl", "rng.enable=true"}, true, DISPLAY_EGL_HEADLESS, DISPLAY_EGL_HEADLESS},
		{{"gpu.mode=virgl", "display.type=sdl"}, false, DISPLAY_SDL, DISPLAY_SDL},
		{{"gpu.mode=virgl", "display.type=sdl"}, true, DISPLAY_EGL_HEADLESS, DISPLAY_EGL_HEADLESS},
		{{"gpu.mode=2d", "display.type=sdl"}, true, DISPLAY_NONE, DISPLAY_NONE},
		{{"gpu.mode=virgl", "display.type=none"}, false, DISPLAY_NONE, DISPLAY_NONE},
		{{"gpu.mode=virgl", "display.type=none"}, true, DISPLAY_NONE, DISPLAY_NONE},
		{{"gpu.mode=virgl", "display.type=egl-headless"}, false, DISPLAY_EGL_HEADLESS, DISPLAY_EGL_HEADLESS},
		/* No promise of no window is broken by a mode that another option has changed. */
		{{"display.type=egl-headless", "gpu.mode=2d"}, true, DISPLAY_NONE, DISPLAY_NONE},
		{{"display.type=egl-headless", "gpu.mode=off"}, true, DISPLAY_NONE, DISPLAY_NONE},
		{{"display.type=sdl", "gpu.mode=off"}, true, DISPLAY_NONE, DISPLAY_NONE},
	};
	char *x = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");

	(void)state;
	x = x ? strdup(x) : NULL;
	wayland = wayland ? strdup(wayland) : NULL;
	unsetenv("WAYLAND_DISPLAY");
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		bool is_x = i % 2;
		struct config cfg;

		if (is_x) {
			setenv("DISPLAY", ":0", 1);
		} else {
			unsetenv("DISPLAY");
		}
		load_display(&cfg, rows[i / 2].sets, 2, rows[i / 2].headless);
		assert_int_equal(cfg.display.type, is_x ? rows[i / 2].with_x : rows[i / 2].plain);
		/* As --detach does it. */
		config_no_window(&cfg);
		assert_int_not_equal(cfg.display.type, DISPLAY_SDL);
		assert_true(rows[i / 2].plain == DISPLAY_SDL || cfg.display.type == rows[i / 2].plain);
		assert_true(rows[i / 2].plain != DISPLAY_SDL || cfg.display.type == DISPLAY_EGL_HEADLESS);
		config_finish(&cfg);
	}
	if (x) {
		setenv("DISPLAY", x, 1);
	} else {
		unsetenv("DISPLAY");
	}
	if (wayland) {
		setenv("WAYLAND_DISPLAY", wayland, 1);
	}
	free(x);
	free(wayland);
	assert_string_equal(config_display_name(DISPLAY_NONE), "none");
	assert_string_equal(config_display_name(DISPLAY_SDL), "sdl");
	assert_string_equal(config_display_name(DISPLAY_EGL_HEADLESS), "egl-headless");
	assert_one_mistake("[boot]\nkernel='k'\n[gpu]\nmode='2d'\n[display]\ntype='egl-headless'\n",
		"vm.toml:6:6: error: display.type is \"egl-headless\", but no OpenGL draws the display: gpu.mode is \"2d\", not \"virgl\"");
	assert_one_mistake("[boot]\nkernel='k'\n[display]\ntype='egl-headless'\n",
		"vm.toml:4:6: error: display.type is \"egl-headless\", but no OpenGL draws the display: gpu.mode is \"off\", not \"virgl\"");
	assert_one_mistake("[boot]\nkernel='k'\n[gpu]\nmode='fast'\n[display]\ntype='egl-headless'\n", "vm.toml:4:6: error: gpu.mode");
}

static void test_config_load_a_display_has_a_keyboard_and_a_tablet(void **state)
{
	static const char with_mouse[] = "[boot]\nkernel = 'k'\n[gpu]\nmode = '2d'\n[[input]]\ntype = 'mouse'\n";
	const char *sets[] = {"gpu.mode=2d"};
	struct config cfg;
	char *report;

	(void)state;
	assert_int_equal(load(&cfg, "[boot]\nkernel = 'k'\n", sets, 1, &report), 0);
	assert_int_equal(cfg.ninputs, 2);
	assert_string_equal(cfg.input[0].name, "keyboard0");
	assert_string_equal(cfg.input[1].name, "tablet0");
	assert_int_equal(cfg.input[1].type, INPUT_TABLET);
	free(report);
	config_finish(&cfg);
	assert_int_equal(load(&cfg, with_mouse, NULL, 0, &report), 0);
	assert_int_equal(cfg.ninputs, 1);
	free(report);
	config_finish(&cfg);
	assert_int_equal(load(&cfg, "[boot]\nkernel = 'k'\n", NULL, 0, &report), 0);
	assert_int_equal(cfg.ninputs, 0);
	free(report);
	config_finish(&cfg);
}

static void test_config_load_sizes_of_outputs(void **state)
{
	const char *sets[] = {"gpu.size=[\"1920x1080\", \"64x16384\"]", "gpu.scanouts=2"};
	const char *large[] = {"gpu.size=16384x8192", "gpu.scanouts=2", "gpu.mode=2d"};
	struct config cfg;
	char *report;

	(void)state;
	assert_int_equal(load(&cfg, "[boot]\nkernel = 'k'\n", NULL, 0, &report), 0);
	assert_int_equal(cfg.gpu.size.n, 1);
	assert_int_equal(cfg.gpu.size.item[0].width, 1280);
	assert_int_equal(cfg.gpu.size.item[0].height, 800);
	free(report);
	config_finish(&cfg);
	assert_int_equal(load(&cfg, "[boot]\nkernel = 'k'\n", sets, 2, &report), 0);
	assert_int_equal(cfg.gpu.size.n, 2);
	assert_int_equal(cfg.gpu.size.item[0].width, 1920);
	assert_int_equal(cfg.gpu.size.item[1].height, 16384);
	free(report);
	config_finish(&cfg);
	assert_one_mistake("[boot]\nkernel='k'\n[gpu]\nsize=['640x480','800x600']\nmode='2d'\n", "vm.toml:4:6: error: gpu.size has 2 sizes, but gpu.scanouts is 1");
	assert_int_equal(load(&cfg, "[boot]\nkernel = 'k'\n", large, 3, &report), 0);
	assert_non_null(strstr(report, "warning: gpu.max_host_memory is 256M, but one picture for each output takes 1024M"));
	free(report);
	config_finish(&cfg);
}

/* What is said in vain is no mistake, but somebody may wonder. */
static void test_config_load_keys_of_gpu_that_the_mode_has_no_use_for(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"mode='2d'\nrender_node='i915'\nfallback=true\nblob=true\n",
			"vm.toml:5:13: warning: gpu.render_node has no use: gpu.mode is \"2d\"\nvm.toml:6:10: warning: gpu.fallback has no use: gpu.mode is \"2d\"\n"},
		{"mode='virgl'\nrender_node='i915'\nblob=true\nsize='640x480'\n", "vm.toml:6:6: warning: gpu.blob has no use: gpu.mode is \"virgl\" without gpu.fallback\n"},
		{"mode='virgl'\nfallback=true\nblob=true\n", ""},
		/* What nobody asks for. */
		{"mode='2d'\nrender_node='auto'\nfallback=false\nblob=false\nrefresh=75\n", ""},
		{"mode='virgl'\nblob=false\n", ""},
		/* Nobody has switched it on, or somebody has switched it off. */
		{"size='640x480'\nblob=false\nmax_host_memory='64M'\n",
			"vm.toml:4:6: warning: gpu.size has no use: gpu.mode is \"off\" when nothing is said\n"
			"vm.toml:6:17: warning: gpu.max_host_memory has no use: gpu.mode is \"off\" when nothing is said\n"},
		{"refresh=60\nscanouts=1\nblob=true\n",
			"vm.toml:4:9: warning: gpu.refresh has no use: gpu.mode is \"off\" when nothing is said\n"
			"vm.toml:5:10: warning: gpu.scanouts has no use: gpu.mode is \"off\" when nothing is said\n"
			"vm.toml:6:6: warning: gpu.blob has no use: gpu.mode is \"off\" when nothing is said\n"},
		{"mode='off'\nsize='640x480'\nblob=true\n", ""},
	};
	static const char wrong[] = "[boot]\nkernel='k'\n[gpu]\nmode='3d'\nrender_node='i915'\n";
	const char *sets[] = {"gpu.mode=2d", "gpu.render_node=i915"};
	char text[200], *report;
	struct config cfg;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "[boot]\nkernel='k'\n[gpu]\n%s", cases[i].text);
		assert_int_equal(load(&cfg, text, NULL, 0, &report), 0);
		assert_string_equal(report, cases[i].want);
		free(report);
		config_finish(&cfg);
	}
	assert_int_equal(load(&cfg, "[boot]\nkernel='k'\n", sets, 2, &report), 0);
	assert_string_equal(report, "--set gpu.render_node=i915: warning: gpu.render_node has no use: gpu.mode is \"2d\"\n");
	free(report);
	config_finish(&cfg);
	/* Which mode it was to be nobody knows. */
	assert_int_equal(load(&cfg, wrong, NULL, 0, &report), 1);
	assert_null(strstr(report, "warning"));
	free(report);
	config_finish(&cfg);
}

static void test_config_load_memory_of_3d(void **state)
{
	const char *sets[] = {"gpu.mode=virgl", "gpu.max_host_memory=256M"};
	struct config cfg;
	char *report;

	(void)state;
	for (unsigned nsets = 0; nsets <= 2; nsets++) {
		assert_int_equal(load(&cfg, "[boot]\nkernel = 'k'\n", sets, nsets, &report), 0);
		assert_int_equal(cfg.gpu.max_host_memory >> 20, nsets == 1 ? 1024 : 256);
		free(report);
		config_finish(&cfg);
	}
}

static void test_config_load_disks_that_cannot_be(void **state)
{
	static const char nine[] = "[[disk]]\npath='a'\n[[disk]]\npath='b'\n[[disk]]\npath='c'\n[[disk]]\npath='d'\n[[disk]]\npath='e'\n"
				   "[[disk]]\npath='f'\n[[disk]]\npath='g'\n[[disk]]\npath='h'\n[[disk]]\npath='i'\n";
	const char *sets[] = {"disk.5.path=x", "disk.path=x", "disk.x.path=y", "disk.0.pth=y", "disk.-1.path=y", "disk..path=y"};
	struct config cfg;
	char *report;

	(void)state;
	assert_one_mistake("[[disk]]\nreadonly = true\n", "vm.toml:1:1: error: disk: path is missing");
	assert_one_mistake("disk = [1]\n", "vm.toml:1:9: error: disk: expected tables, [[disk]]");
	assert_one_mistake("[disk]\npath = 'x'\n", "vm.toml:1:1: error: disk: expected tables, [[disk]]");
	assert_one_mistake(nine, "vm.toml:17:1: error: more than 8 [[disk]]");
	assert_one_mistake("[boot]\nkernel='k'\ninitrd='i'\n[[disk]]\npath = 'x'\nformat = 'qcow2'\n", "vm.toml:6:10: error: disk.format: qcow2");
	assert_one_mistake("[boot]\nkernel='k'\ninitrd='i'\n[[disk]]\npath='x'\nroot=true\n[[disk]]\npath='y'\nroot=true\n",
		"vm.toml:9:6: error: disk.root: more than one");
	/* disk1 is what the second one is called when nobody says otherwise. */
	assert_one_mistake("[boot]\nkernel='k'\n[[disk]]\npath='x'\nname='disk1'\n[[disk]]\npath='y'\n", "default: error: disk.name: two disks");
	assert_int_equal(load(&cfg, good, sets, 6, &report), 6);
	assert_non_null(strstr(report, "--set disk.5.path=x: error: there is no [[disk]] number 5"));
	assert_non_null(strstr(report, "--set disk.0.pth=y: error: "));
	free(report);
	config_finish(&cfg);
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int load_file(struct config *cfg, const char *dir, const char *name, char **report)
{
	char path[256];
	struct config_input in = {.path = path};
	size_t len;
	FILE *f = open_memstream(report, &len);
	int mistakes;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	mistakes = config_load(cfg, &in, f);
	fclose(f);
	return mistakes;
}

static void test_config_load_includes(void **state)
{
	char dir[] = "/tmp/config_test.XXXXXX", want[256], command[300];
	struct config cfg;
	char *report;

	(void)state;
	assert_non_null(mkdtemp(dir));
	write_file(dir, "base.toml", "[machine]\ncpus = 3\nmemory = '32M'\n[boot]\nkernel = 'base-kernel'\n");
	write_file(dir, "vm.toml", "include = ['base.toml']\n[machine]\nmemory = '64M'\n");
	assert_int_equal(load_file(&cfg, dir, "vm.toml", &report), 0);
	assert_int_equal(cfg.machine.cpus, 3);
	assert_int_equal(cfg.machine.memory, 64 << 20);
	snprintf(want, sizeof(want), "%s/base-kernel", dir);
	assert_string_equal(cfg.boot.kernel, want);
	free(report);
	config_finish(&cfg);

	/* A disk of the same name takes the place of the included one, whole; another one is added. */
	write_file(dir, "base.toml", "[boot]\nkernel = 'k'\n[[disk]]\nname = 'r'\npath = 'old'\nreadonly = true\n[[disk]]\npath = 'kept'\n");
	write_file(dir, "vm.toml", "include = ['base.toml']\n[[disk]]\nname = 'r'\npath = 'new'\n[[disk]]\npath = 'more'\n");
	assert_int_equal(load_file(&cfg, dir, "vm.toml", &report), 0);
	assert_int_equal(cfg.ndisks, 3);
	assert_non_null(strstr(cfg.disk[0].path, "/new"));
	assert_false(cfg.disk[0].readonly);
	assert_non_null(strstr(cfg.disk[1].path, "/kept"));
	assert_non_null(strstr(cfg.disk[2].path, "/more"));
	free(report);
	config_finish(&cfg);

	write_file(dir, "a.toml", "include = ['b.toml']\n");
	write_file(dir, "b.toml", "include = ['a.toml']\n");
	assert_int_equal(load_file(&cfg, dir, "a.toml", &report), 1);
	assert_non_null(strstr(report, "b.toml:1:12: error: include: "));
	free(report);
	config_finish(&cfg);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static void test_config_print_can_be_loaded_again(void **state)
{
	struct config cfg, again;
	char *report, *printed, *second;
	size_t len;
	FILE *f = open_memstream(&printed, &len);

	(void)state;
	assert_int_equal(load(&cfg, good, NULL, 0, &report), 0);
	config_print(&cfg, f);
	fclose(f);
	free(report);
	assert_int_equal(load(&again, printed, NULL, 0, &report), 0);
	assert_int_equal(again.machine.memory, cfg.machine.memory);
	assert_int_equal(again.machine.stop_grace_ns, cfg.machine.stop_grace_ns);
	assert_int_equal(again.console.escape, cfg.console.escape);
	assert_int_equal(again.boot.initrd.n, 2);
	f = open_memstream(&second, &len);
	config_print(&again, f);
	fclose(f);
	/* The same values; only where they come from differs. */
	for (const char *a = printed, *b = second; *a && *b; a += strcspn(a, "\n"), a += *a == '\n', b += strcspn(b, "\n"), b += *b == '\n') {
		size_t n = strcspn(a, "#\n");

		assert_int_equal(n, strcspn(b, "#\n"));
		assert_memory_equal(a, b, n);
	}
	free(printed);
	free(second);
	free(report);
	config_finish(&cfg);
	config_finish(&again);
}

/* The example names every key, commented out or not, and what it says loads. */
static void test_config_keys_are_all_in_the_example(void **state)
{
	static char text[65536];
	FILE *f = fopen("vm.toml.example", "r");
	size_t len;

	(void)state;
	assert_non_null(f);
	len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = '\0';
	for (unsigned i = 0; i < config_nkeys; i++) {
		char table[64], set[64], comment[64];
		const char *section, *end, *found, *commented;

		snprintf(table, sizeof(table), "[%s]", config_keys[i].table);
		snprintf(set, sizeof(set), "\n%s = ", config_keys[i].name);
		snprintf(comment, sizeof(comment), "\n#%s = ", config_keys[i].name);
		section = strstr(text, table);
		assert_non_null(section);
		end = strstr(section, "\n[");
		found = strstr(section, set);
		commented = strstr(section, comment);
		found = found && (!commented || found < commented) ? found : commented;
		/* A list table is there as a comment, and so are its keys. */
		end = config_find_list(config_keys[i].table, strlen(config_keys[i].table)) ? strstr(section, "\n\n") : end;
		if (!found || (end && found > end)) {
			fail_msg("vm.toml.example: no %s in [%s]", config_keys[i].name, config_keys[i].table);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_load_reads_every_key),
		cmocka_unit_test(test_config_load_defaults_are_the_documented_ones),
		cmocka_unit_test(test_config_load_names_file_line_and_column_of_200_mistakes),
		cmocka_unit_test(test_config_load_reports_all_mistakes_in_one_pass),
		cmocka_unit_test(test_config_load_reports_all_mistakes_of_lists_in_one_pass),
		cmocka_unit_test(test_config_load_reports_mistakes_from_top_to_bottom),
		cmocka_unit_test(test_config_load_survives_what_the_parser_calls_impossible),
		cmocka_unit_test(test_config_load_checks_what_belongs_together),
		cmocka_unit_test(test_config_load_screens_that_cannot_be),
		cmocka_unit_test(test_config_load_says_where_in_a_table_in_a_table),
		cmocka_unit_test(test_config_load_screens_and_another_timeout),
		cmocka_unit_test(test_config_load_sets_win_and_take_bare_words),
		cmocka_unit_test(test_config_load_names_a_wrong_set),
		cmocka_unit_test(test_config_load_messages_are_one_printable_line),
		cmocka_unit_test(test_config_load_expands_paths),
		cmocka_unit_test(test_config_load_disks_in_their_order),
		cmocka_unit_test(test_config_load_all_of_none),
		cmocka_unit_test(test_config_load_file_without_a_name),
		cmocka_unit_test(test_config_load_input_devices),
		cmocka_unit_test(test_config_load_evdev),
		cmocka_unit_test(test_config_load_evdev_mistakes),
		cmocka_unit_test(test_config_load_says_how_many_devices_there_can_be),
		cmocka_unit_test(test_config_load_scale_of_the_window),
		cmocka_unit_test(test_config_load_a_window_opens_where_there_is_a_display),
		cmocka_unit_test(test_config_load_without_a_window),
		cmocka_unit_test(test_config_load_a_display_has_a_keyboard_and_a_tablet),
		cmocka_unit_test(test_config_load_sizes_of_outputs),
		cmocka_unit_test(test_config_load_keys_of_gpu_that_the_mode_has_no_use_for),
		cmocka_unit_test(test_config_load_memory_of_3d),
		cmocka_unit_test(test_config_load_disks_that_cannot_be),
		cmocka_unit_test(test_config_load_includes),
		cmocka_unit_test(test_config_print_can_be_loaded_again),
		cmocka_unit_test(test_config_keys_are_all_in_the_example),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
