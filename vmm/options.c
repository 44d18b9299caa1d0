/* SPDX-License-Identifier: MIT */
#include "vmm/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/clock.h"
#include "vmm/config.h"
#include "vmm/doctor.h"
#include "vmm/input_script.h"
#include "vmm/suggest.h"

enum option_id {
	OPT_SET,
	OPT_KERNEL,
	OPT_INITRD,
	OPT_KEY, /* stands for a configuration key */
	OPT_EPHEMERAL,
	OPT_HEADLESS,
	OPT_OBSERVE,
	OPT_FULLSCREEN,
	OPT_SCALE,
	OPT_ZOOM,
	OPT_TITLE,
	OPT_TIMEOUT,
	OPT_DETACH,
	OPT_PAUSED,
	OPT_EXPECT,
	OPT_STATS,
	OPT_TRACE,
	OPT_ARTIFACTS,
	OPT_JUNIT,
	OPT_TAP,
	OPT_SKIP_NO_KVM,
	OPT_JOBS,
	OPT_GRACE,
	OPT_KILL,
	OPT_ALL,
	OPT_FOR,
	OPT_DEVICE,
	OPT_LAYOUT,
	OPT_LOG,
	OPT_EVENTS,
	OPT_SCANOUT,
	OPT_REGION,
	OPT_TOLERANCE,
	OPT_MAX_DIFF,
	OPT_NO_CURSOR,
	OPT_SIZE,
	OPT_REFRESH,
	OPT_PLUG,
	OPT_UNPLUG,
	OPT_PRINT,
	OPT_NEED,
	OPT_DESCRIBE,
	OPT_FRAMES,
	OPT_RENDER_NODE,
	OPT_JSON,
	OPT_TABLE,
	OPT_VERBOSE,
	OPT_QUIET,
	OPT_HELP,
	OPT_VERSION,
};

#define ALL_VERBS 0xffffffffu

#define ANY_NUMBER 1000000u
#define SCANOUTS_MAX 16u

static const struct verb_info {
	enum verb verb;
	const char *name, *args, *summary, *text, *example;
	unsigned min, max; /* words after the verb */
	const char *word; /* what such a word is */
} verbs[] = {
	{VERB_RUN, "run", "[OPTIONS] [FILE]", "start a VM and stay until it ends",
		"FILE is a vm.toml (default: ./vm.toml; - is standard input). Without a file,\n"
		"--kernel is enough. Options override the file. The first SIGINT, SIGTERM or\n"
		"SIGHUP presses the power button, the second one ends the VM. On a terminal\n"
		"Ctrl-A x ends it, Ctrl-A h lists the other keys.\n"
		"\n"
		"Exit code: 0 powered off, 1 tinyvmm failed, 2 usage or configuration,\n"
		"3 host, 4 name in use, 10 reboot, 11 panic, 124 timeout, 128+n killed by\n"
		"signal n.",
		"tinyvmm run --set machine.memory=2G --timeout 60s vm.toml", 0, 1, "file"},
	{VERB_CHECK, "check", "[OPTIONS] [FILE]...", "find every mistake in configuration files",
		"Does everything `run` does before it opens /dev/kvm, and reports all mistakes\n"
		"in one pass. Exit code: 0 none, 2 some.",
		"tinyvmm check --print vm.toml", 0, ANY_NUMBER, "file"},
	{VERB_DOCTOR, "doctor", "[OPTIONS] [FILE]", "what this host lacks, and the remedy",
		"One line for each check: ok, warn or FAIL. With FILE, what that VM needs.\n"
		"Exit code: 0, or 3 when a FAIL remains.",
		"tinyvmm doctor --need kvm", 0, 1, "file"},
	{VERB_TEST, "test", "[OPTIONS] FILE...", "boot each VM and see whether it does what its [expect] says",
		"Each file is a test, in a process of its own. On standard output one line for\n"
		"each, or TAP. With --artifacts DIR logs and result.json of each go to\n"
		"DIR/NAME/. The serial port is on unless the file says otherwise, so that\n"
		"nothing a kernel says is missed.\n"
		"Exit code: 0 all passed, 12 some failed, 3 no KVM, 143 interrupted.",
		"tinyvmm test -j 2 --junit boot.xml tests/*.toml", 1, ANY_NUMBER, "file"},
	{VERB_LIST, "list", "[--json]", "the VMs that run", "What a killed VM left behind is cleaned up on the way.", "tinyvmm list", 0, 0, NULL},
	{VERB_STOP, "stop", "[OPTIONS] VM...", "press the power button, and wait until the VM is gone",
		"A guest that has not powered off after the grace is killed.\n"
		"Exit code: 0, 4 no such VM.",
		"tinyvmm stop --grace 5s web", 0, ANY_NUMBER, "VM"},
	{VERB_PAUSE, "pause", "VM...", "stop the guest's processors and clock", "Done when the last one has stopped. Pausing twice is no error.",
		"tinyvmm pause web", 1, ANY_NUMBER, "VM"},
	{VERB_RESUME, "resume", "VM...", "let a paused guest go on", "", "tinyvmm resume web", 1, ANY_NUMBER, "VM"},
	{VERB_RESET, "reset", "VM...", "start the guest anew, as its reset button would", "Nothing is told to the guest first.",
		"tinyvmm reset web", 1, ANY_NUMBER, "VM"},
	{VERB_WAIT, "wait", "[OPTIONS] VM", "wait until a VM runs, ends, says or shows something",
		"Text is looked for in the console's last 8 KiB first, then in each new line.\n"
		"--for frame: its display shows something; stable=500ms: and has not changed\n"
		"for that long; image=FILE.png: and looks like that; with both: the picture that\n"
		"has not changed does. What it showed instead is written to VM-last.png and\n"
		"VM-diff.png, in --artifacts DIR or here.\n"
		"Exit code: 0 it happened, with --for exit the VM's own; 4 no such VM,\n"
		"12 the screen shows something else, 124 timeout.",
		"tinyvmm wait --for text=login: --timeout 60s web", 1, 1, "VM"},
	{VERB_INPUT, "input", "[OPTIONS] VM CMD...", "press keys and buttons in a VM, type text, move the pointer",
		"CMD is one of these; - reads them from standard input, one a line. Options come\n"
		"before it. X and Y are pixels or, with a dot, 0.0 to 1.0. Every mistake is\n"
		"found before anything is sent; done when the guest's driver has it all.\n"
		"\n"
		"Exit code: 0, 1 the VM refused, 2 a mistake, or a character the layout cannot\n"
		"type, 3 no keyboard layouts on this host, 4 no such VM, 124 a wait was over.",
		"tinyvmm input web type hello", 1, ANY_NUMBER, "VM"},
	{VERB_CONSOLE, "console", "[--log] VM", "this terminal becomes the guest's console",
		"Ctrl-A x (or the VM's own console.escape and x) leaves it; the VM goes on.\n"
		"The first who is attached may type, the others read. --log prints what the\n"
		"console has said in the VM's last run.",
		"tinyvmm console web", 1, 1, "VM"},
	{VERB_SCREENSHOT, "screenshot", "[OPTIONS] VM [FILE]", "what the guest's display shows, as a PNG",
		"FILE is NAME.png of the VM's name unless it is said; - is standard output. The\n"
		"guest's pointer is in the picture. A display that shows nothing is an error.",
		"tinyvmm screenshot web login.png", 1, 2, "VM"},
	{VERB_DISPLAY, "display", "[OPTIONS] VM", "the guest's outputs, and how they are to be",
		"Without options: what there is. Otherwise changes one output as if another\n"
		"monitor were plugged in, and the guest follows when it cares to.",
		"tinyvmm display --size 1920x1080 web", 1, 1, "VM"},
	{VERB_VIEW, "view", "[OPTIONS] VM", "a window that shows a VM's display, and is its keyboard and mouse",
		"Closing it does not stop the VM, and leaves whatever else looks at it alone.\n"
		"Exit code: 0 it was closed or the VM has ended, 1 the VM has no display, 3 this\n"
		"host has no display or tinyvmm-view is not installed, 4 no such VM.",
		"tinyvmm view web", 1, 1, "VM"},
	{VERB_CTL, "ctl", "[--events] VM [JSON]", "send one request to the control socket, print the answer",
		"The protocol: tinyvmm-control(7). --events prints what happens until the VM\n"
		"ends.",
		"tinyvmm ctl web '{\"do\":\"status\"}'", 1, 2, "VM"},
	{VERB_DEVICES, "devices", "[--json | --describe PATH]", "the host's input devices, to pass through",
		"For each: whether you may use it, what it is, vendor and product, and the path\n"
		"for vm.toml. --describe prints all that the device can do as JSON, for\n"
		"input.description. Exit code: 0, 2 no input device, 3 no access.",
		"tinyvmm devices --describe /dev/input/event3 > pad.json", 0, 0, NULL},
	{VERB_GPU_INFO, "gpu-info", "[--json] [--render-node PATH] | [--json] [--frames FILE] VM", "what draws for guests with gpu.mode = \"virgl\"",
		"Tries it: the render node, OpenGL, virglrenderer, what guests are offered, and\n"
		"the way pictures take. With VM, what that one has.\n"
		"Exit code: 0, 3 this host has none (and why), 4 no such VM.",
		"tinyvmm gpu-info", 0, 1, "VM"},
	{VERB_HELP, "help", "[VERB]", "this text, or more about one verb", "", "tinyvmm help run", 0, 1, "verb"},
};

static const struct option_info {
	enum option_id id;
	unsigned verbs;
	char letter; /* 0: none */
	const char *name;
	const char *arg; /* NULL: takes none */
	const char *key; /* OPT_KEY: the configuration key; a string, unless it is machine.cpus */
	const char *help;
} option_table[] = {
	{OPT_KERNEL, VERB_RUN | VERB_CHECK, 0, "kernel", "PATH", "boot.kernel", "bzImage, or ELF with PVH or Multiboot"},
	{OPT_INITRD, VERB_RUN | VERB_CHECK, 0, "initrd", "PATH", "boot.initrd", "may be repeated: one after another"},
	{OPT_KEY, VERB_RUN | VERB_CHECK, 0, "disk", "PATH", "disk.+.path", "one more disk; may be repeated"},
	{OPT_EPHEMERAL, VERB_RUN | VERB_CHECK, 0, "ephemeral", NULL, NULL, "throw away what the guest writes to disks"},
	{OPT_KEY, VERB_RUN | VERB_CHECK, 0, "append", "TEXT", "boot.cmdline", "kernel command line"},
	{OPT_KEY, VERB_RUN | VERB_CHECK, 0, "memory", "SIZE", "machine.memory", "such as 512M or 2G"},
	{OPT_KEY, VERB_RUN | VERB_CHECK, 0, "cpus", "N", "machine.cpus", "1 to 64"},
	{OPT_KEY, VERB_RUN | VERB_CHECK, 0, "gpu", "MODE", "gpu.mode", "off, 2d or virgl: a display, with OpenGL"},
	{OPT_KEY, VERB_RUN | VERB_CHECK, 0, "display", "TYPE", "display.type", "sdl: a window; egl-headless, none: without"},
	{OPT_HEADLESS, VERB_RUN | VERB_CHECK, 0, "headless", NULL, NULL, "no window, whatever else says so"},
	{OPT_KEY, VERB_RUN | VERB_CHECK, 0, "name", "NAME", "machine.name", "what the VM is called"},
	{OPT_SET, VERB_RUN | VERB_CHECK | VERB_TEST, 0, "set", "KEY=VALUE", NULL, "any key of vm.toml; KEY=@FILE reads a file"},
	{OPT_TIMEOUT, VERB_RUN | VERB_WAIT | VERB_TEST, 0, "timeout", "TIME", NULL, "no longer than 500ms, 60s, 2m ..."},
	{OPT_DETACH, VERB_RUN, 'd', "detach", NULL, NULL, "return when the VM runs; it goes on by itself"},
	{OPT_PAUSED, VERB_RUN, 0, "paused", NULL, NULL, "wait for resume before the first instruction"},
	{OPT_EXPECT, VERB_RUN, 0, "expect", NULL, NULL, "end as [expect] says: 0 or 12"},
	{OPT_STATS, VERB_RUN, 0, "stats", NULL, NULL, "at the end print what the VM has cost"},
	{OPT_TRACE, VERB_RUN, 0, "trace", "WHAT", NULL, "boot: at the end print where the time went"},
	{OPT_ARTIFACTS, VERB_RUN | VERB_TEST | VERB_WAIT, 0, "artifacts", "DIR", NULL, "logs and results go there"},
	{OPT_JOBS, VERB_TEST, 'j', "jobs", "N", NULL, "at once; default: one per processor"},
	{OPT_JUNIT, VERB_TEST, 0, "junit", "FILE", NULL, "write a JUnit report too"},
	{OPT_TAP, VERB_TEST, 0, "tap", NULL, NULL, "TAP on standard output"},
	{OPT_SKIP_NO_KVM, VERB_TEST, 0, "skip-no-kvm", NULL, NULL, "no KVM: skip everything instead of failing"},
	{OPT_GRACE, VERB_STOP, 0, "grace", "TIME", NULL, "how long the guest may take; 0s kills at once"},
	{OPT_KILL, VERB_STOP, 0, "kill", NULL, NULL, "no power button"},
	{OPT_ALL, VERB_STOP, 0, "all", NULL, NULL, "every VM that runs"},
	{OPT_FOR, VERB_WAIT, 0, "for", "WHAT", NULL, "running, exit (default), text=REGEX, frame, ..."},
	{OPT_DEVICE, VERB_INPUT, 0, "device", "NAME", NULL, "instead of the first one of its kind"},
	{OPT_LAYOUT, VERB_INPUT, 0, "layout", "LAYOUT", NULL, "the guest's, instead of what vm.toml says"},
	{OPT_LOG, VERB_CONSOLE, 0, "log", NULL, NULL, "what was said, instead"},
	{OPT_EVENTS, VERB_CTL, 0, "events", NULL, NULL, "one JSON object for each thing that happens"},
	{OPT_REGION, VERB_WAIT, 0, "region", "X,Y,W,H", NULL, "pixels of the screen that count"},
	{OPT_TOLERANCE, VERB_WAIT, 0, "tolerance", "N", NULL, "how far colours may be off, 0 to 255"},
	{OPT_MAX_DIFF, VERB_WAIT, 0, "max-diff", "F", NULL, "how many pixels may differ, 0 to 1"},
	{OPT_SCANOUT, VERB_SCREENSHOT | VERB_WAIT | VERB_DISPLAY, 0, "scanout", "N", NULL, "which output, from 0; default 0"},
	{OPT_NO_CURSOR, VERB_SCREENSHOT, 0, "no-cursor", NULL, NULL, "without the pointer"},
	{OPT_SIZE, VERB_DISPLAY, 0, "size", "WxH", NULL, "the size the guest is to prefer"},
	{OPT_REFRESH, VERB_DISPLAY, 0, "refresh", "N", NULL, "pictures a second it is told, 1 to 360"},
	{OPT_PLUG, VERB_DISPLAY, 0, "plug", NULL, NULL, "the output is plugged in"},
	{OPT_UNPLUG, VERB_DISPLAY, 0, "unplug", NULL, NULL, "it is not"},
	{OPT_OBSERVE, VERB_VIEW, 0, "observe", NULL, NULL, "only look: no key or pointer goes to the VM"},
	{OPT_FULLSCREEN, VERB_VIEW, 0, "fullscreen", NULL, NULL, "start with the whole screen"},
	{OPT_ZOOM, VERB_VIEW, 0, "zoom", "N", NULL, "pixels of the window for one of the guest, 0.25 to 4"},
	{OPT_TITLE, VERB_VIEW, 0, "title", "TEXT", NULL, "of the window; {name} is the VM's name"},
	{OPT_SCALE, VERB_VIEW, 0, "scale", "MODE", NULL, "follow: the guest takes the window's size; fixed, scale"},
	{OPT_PRINT, VERB_CHECK, 0, "print", NULL, NULL, "print what is in effect and where it is from"},
	{OPT_NEED, VERB_DOCTOR, 0, "need", "WHAT,...", NULL, "only what these need: kvm"},
	{OPT_DESCRIBE, VERB_DEVICES, 0, "describe", "PATH", NULL, "what this one can do, for input.description"},
	{OPT_RENDER_NODE, VERB_GPU_INFO, 0, "render-node", "PATH", NULL, "what to try instead of auto, as gpu.render_node"},
	{OPT_FRAMES, VERB_GPU_INFO, 0, "frames", "FILE", NULL, "when what happened to the last frames, as a trace"},
	{OPT_JSON, VERB_DOCTOR | VERB_LIST | VERB_DISPLAY | VERB_DEVICES | VERB_GPU_INFO, 0, "json", NULL, NULL, "one JSON object a line"},
	{OPT_TABLE, VERB_HELP, 0, "table", NULL, NULL, "all of it and every key, for programs"},
	{OPT_VERBOSE, ALL_VERBS, 'v', "verbose", NULL, NULL, "say more; -vv still more"},
	{OPT_QUIET, ALL_VERBS, 'q', "quiet", NULL, NULL, "only errors"},
	{OPT_HELP, ALL_VERBS, 'h', "help", NULL, NULL, "this text"},
	{OPT_VERSION, ALL_VERBS, 'V', "version", NULL, NULL, "version and features"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct parse {
	struct options *o;
	FILE *err;
	bool done; /* --help or --version: the rest does not matter */
	char *initrds; /* TOML array under construction, without the closing bracket */
};

static int __attribute__((format(printf, 2, 3))) wrong(const struct parse *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("tinyvmm: error: ", p->err);
	vfprintf(p->err, fmt, ap);
	fputc('\n', p->err);
	va_end(ap);
	return -EINVAL;
}

/* `"text"` as a TOML string. Return: malloc'ed, or NULL. */
static char *toml_string(const char *text)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	if (!f) {
		return NULL;
	}
	fputc('"', f);
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\') {
			fprintf(f, "\\%c", *c);
		} else if (*c < 0x20 || *c == 0x7f) {
			fprintf(f, "\\u%04x", *c);
		} else {
			fputc(*c, f);
		}
	}
	fputc('"', f);
	return fclose(f) == 0 ? out : NULL;
}

/* Takes @set, also on failure. */
static int add_set(struct options *o, char *set)
{
	char **sets = set ? realloc(o->sets, (o->nsets + 1) * sizeof(*sets)) : NULL;

	if (!sets) {
		free(set);
		return -ENOMEM;
	}
	o->sets = sets;
	o->sets[o->nsets++] = set;
	return 0;
}

static int add_key(struct options *o, const char *key, const char *value)
{
	bool is_number = strcmp(key, "machine.cpus") == 0;
	char *quoted = is_number ? NULL : toml_string(value), *set = NULL;

	if ((is_number || quoted) && asprintf(&set, "%s=%s", key, quoted ? quoted : value) < 0) {
		set = NULL;
	}
	free(quoted);
	return add_set(o, set);
}

static int add_initrd(struct parse *p, const char *path)
{
	char *quoted = toml_string(path), *list = NULL;

	if (quoted && asprintf(&list, "%s%s%s", p->initrds ? p->initrds : "[", p->initrds ? ", " : "", quoted) < 0) {
		list = NULL;
	}
	free(quoted);
	if (!list) {
		return -ENOMEM;
	}
	free(p->initrds);
	p->initrds = list;
	return 0;
}

/* @zero: "0s" is a time too. */
static int set_time(const struct parse *p, const struct option_info *opt, const char *value, bool zero, uint64_t *out)
{
	if (clock_parse(value, out) && (*out > 0 || zero)) {
		return 0;
	}
	return wrong(p, "--%s: expected a time such as \"500ms\", \"60s\" or \"2m\", got \"%s\"", opt->name, value);
}

static int set_jobs(const struct parse *p, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n == 0 || n > OPTIONS_JOBS_MAX) {
		return wrong(p, "--jobs: expected 1..%d, got \"%s\"", OPTIONS_JOBS_MAX, value);
	}
	p->o->jobs = (unsigned)n;
	return 0;
}

static int set_scanout(const struct parse *p, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n >= SCANOUTS_MAX) {
		return wrong(p, "--scanout: expected 0..%u, got \"%s\"", SCANOUTS_MAX - 1, value);
	}
	p->o->scanout = (unsigned)n;
	p->o->screen.scanout = (unsigned)n;
	p->o->is_scanout_said = true;
	return 0;
}

static int set_region(const struct parse *p, const char *value)
{
	struct config_region *r = &p->o->screen.region;
	int end = 0;

	if (sscanf(value, "%5" SCNu32 ",%5" SCNu32 ",%5" SCNu32 ",%5" SCNu32 "%n", &r->x, &r->y, &r->w, &r->h, &end) != 4 || value[end] || strchr(value, '-') ||
		r->w == 0 || r->h == 0) {
		return wrong(p, "--region: expected X,Y,WIDTH,HEIGHT in pixels, got \"%s\"", value);
	}
	if (r->x + r->w > CONFIG_REGION_MAX || r->y + r->h > CONFIG_REGION_MAX) {
		return wrong(p, "--region: %s is in no screen: the largest is %d pixels both ways", value, CONFIG_REGION_MAX);
	}
	return 0;
}

static int set_zoom(const struct parse *p, const char *value)
{
	char *end;
	double n = strtod(value, &end);

	if (*value < '0' || *value > '9' || *end || !(n >= CONFIG_SCALE_MIN && n <= CONFIG_SCALE_MAX)) {
		return wrong(p, "--zoom: expected 0.25..4, got \"%s\"", value);
	}
	p->o->view.zoom = n;
	return 0;
}

static int set_tolerance(const struct parse *p, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n > 255) {
		return wrong(p, "--tolerance: expected 0..255, got \"%s\"", value);
	}
	p->o->screen.tolerance = (unsigned)n;
	p->o->image_only = "--tolerance";
	return 0;
}

static int set_max_diff(const struct parse *p, const char *value)
{
	char *end;
	double n = strtod(value, &end);

	if (*value < '0' || *value > '9' || *end || !(n >= 0 && n <= 1)) {
		return wrong(p, "--max-diff: expected a number from 0 to 1, got \"%s\"", value);
	}
	p->o->screen.max_diff = n;
	p->o->image_only = "--max-diff";
	return 0;
}

static int set_size(const struct parse *p, const char *value)
{
	int used = 0;

	if (strspn(value, "0123456789x") != strlen(value) || sscanf(value, "%5ux%5u%n", &p->o->width, &p->o->height, &used) != 2 || value[used] ||
		p->o->width < 64 || p->o->width > 16384 || p->o->height < 64 || p->o->height > 16384) {
		return wrong(p, "--size: expected a size such as 1280x800, 64..16384 pixels each way, got \"%s\"", value);
	}
	return 0;
}

static int set_refresh(const struct parse *p, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n == 0 || n > 360) {
		return wrong(p, "--refresh: expected 1..360, got \"%s\"", value);
	}
	p->o->refresh = (unsigned)n;
	return 0;
}

static int set_wait_for(const struct parse *p, const char *value)
{
	static const char *const plain[] = {"running", "exit", "frame"};
	bool has_screen = p->o->screen.image || p->o->screen.stable_ns;
	struct options *o = p->o;

	if (o->wait_for && (!has_screen || (strncmp(value, "image=", 6) != 0 && strncmp(value, "stable=", 7) != 0))) {
		return wrong(p, "--for: of several only stable=TIME and image=FILE go together");
	}
	o->wait_screen = strcmp(value, "frame") == 0;
	for (size_t i = 0; i < COUNT(plain); i++) {
		if (strcmp(value, plain[i]) == 0) {
			o->wait_for = plain[i];
			return 0;
		}
	}
	if (strncmp(value, "text=", 5) == 0 && value[5]) {
		o->wait_for = value;
		return 0;
	}
	o->wait_screen = true;
	if (strncmp(value, "image=", 6) == 0 && value[6]) {
		o->wait_for = "image";
		/* Only read. */
		o->screen.image = (char *)(uintptr_t)(value + 6);
		return 0;
	}
	if (strncmp(value, "stable=", 7) == 0 && clock_parse(value + 7, &o->screen.stable_ns) && o->screen.stable_ns > 0) {
		o->wait_for = "stable";
		return 0;
	}
	return wrong(p, "--for: expected running, exit, text=REGEX, frame, stable=TIME or image=FILE, got \"%s\"", value);
}

static int set_need(const struct parse *p, const char *value)
{
	while (*value) {
		size_t len = strcspn(value, ",");
		unsigned need = doctor_need_from_name(value, len);

		if (!need) {
			return wrong(p, "--need: unknown need \"%.*s\"; known: kvm", (int)len, value);
		}
		p->o->need |= need;
		value += len + (value[len] == ',');
	}
	return p->o->need ? 0 : wrong(p, "--need: nothing named; known: kvm");
}

/* @value: "" for an option that takes none. */
static int apply(struct parse *p, const struct option_info *opt, const char *value)
{
	struct options *o = p->o;

	switch (opt->id) {
	case OPT_SET:
		return strchr(value, '=') ? add_set(o, strdup(value)) : wrong(p, "--set %s: expected KEY=VALUE", value);
	case OPT_KERNEL:
		o->has_kernel = true;
		return add_key(o, opt->key, value);
	case OPT_INITRD:
		return add_initrd(p, value);
	case OPT_KEY:
		return add_key(o, opt->key, value);
	case OPT_HEADLESS:
		o->headless = true;
		return 0;
	case OPT_OBSERVE:
		o->view.observe = true;
		return 0;
	case OPT_FULLSCREEN:
		o->view.fullscreen = true;
		return 0;
	case OPT_SCALE:
		o->view.scale = value;
		return 0;
	case OPT_ZOOM:
		return set_zoom(p, value);
	case OPT_TITLE:
		o->view.title = value;
		return 0;
	case OPT_EPHEMERAL:
		p->o->ephemeral = true;
		return 0;
	case OPT_TIMEOUT:
		return set_time(p, opt, value, false, &o->timeout_ns);
	case OPT_GRACE:
		o->has_grace = true;
		return set_time(p, opt, value, true, &o->grace_ns);
	case OPT_FOR:
		return set_wait_for(p, value);
	case OPT_EXPECT:
		o->expect = true;
		return 0;
	case OPT_STATS:
		o->stats = true;
		return 0;
	case OPT_TRACE:
		o->trace_boot = strcmp(value, "boot") == 0;
		return o->trace_boot ? 0 : wrong(p, "--trace: expected boot, got \"%s\"", value);
	case OPT_ARTIFACTS:
		o->artifacts = value;
		return 0;
	case OPT_JUNIT:
		o->junit = value;
		return 0;
	case OPT_RENDER_NODE:
		o->render_node = value;
		return *value ? 0 : wrong(p, "--render-node: expected a path, a driver, auto or surfaceless");
	case OPT_FRAMES:
		o->frames = value;
		return 0;
	case OPT_TAP:
		o->tap = true;
		return 0;
	case OPT_SKIP_NO_KVM:
		o->skip_no_kvm = true;
		return 0;
	case OPT_JOBS:
		return set_jobs(p, value);
	case OPT_DETACH:
		o->detach = true;
		return 0;
	case OPT_PAUSED:
		o->paused = true;
		return 0;
	case OPT_KILL:
		o->kill = true;
		return 0;
	case OPT_ALL:
		o->all = true;
		return 0;
	case OPT_DEVICE:
		o->device = value;
		return 0;
	case OPT_LAYOUT:
		o->layout = value;
		return config_is_layout(value) ? 0 : wrong(p, "--layout: expected LAYOUT or LAYOUT(VARIANT), such as us or de(nodeadkeys), got \"%s\"", value);
	case OPT_LOG:
		o->log = true;
		return 0;
	case OPT_EVENTS:
		o->events = true;
		return 0;
	case OPT_SCANOUT:
		return set_scanout(p, value);
	case OPT_REGION:
		return set_region(p, value);
	case OPT_TOLERANCE:
		return set_tolerance(p, value);
	case OPT_MAX_DIFF:
		return set_max_diff(p, value);
	case OPT_NO_CURSOR:
		o->no_cursor = true;
		return 0;
	case OPT_SIZE:
		return set_size(p, value);
	case OPT_REFRESH:
		return set_refresh(p, value);
	case OPT_PLUG:
		o->plug = true;
		return 0;
	case OPT_UNPLUG:
		o->unplug = true;
		return 0;
	case OPT_NEED:
		return set_need(p, value);
	case OPT_DESCRIBE:
		o->describe = value;
		return 0;
	case OPT_PRINT:
		o->print = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_TABLE:
		o->table = true;
		return 0;
	case OPT_VERBOSE:
		o->verbose++;
		return 0;
	case OPT_QUIET:
		o->verbose = -1;
		return 0;
	case OPT_HELP:
		o->help_for = o->verb;
		o->verb = VERB_HELP;
		p->done = true;
		return 0;
	case OPT_VERSION:
		o->verb = VERB_VERSION;
		p->done = true;
		return 0;
	}
	return -EINVAL;
}

static const struct verb_info *find_verb(const char *name)
{
	for (size_t i = 0; i < COUNT(verbs); i++) {
		if (strcmp(verbs[i].name, name) == 0) {
			return &verbs[i];
		}
	}
	return NULL;
}

static const struct verb_info *verb_of(enum verb verb)
{
	for (size_t i = 0; i < COUNT(verbs); i++) {
		if (verbs[i].verb == verb) {
			return &verbs[i];
		}
	}
	return NULL;
}

static const char *verb_name(enum verb verb)
{
	const struct verb_info *v = verb_of(verb);

	return v ? v->name : "";
}

static int unknown_verb(const struct parse *p, const char *name)
{
	struct suggest s;

	suggest_init(&s, name, strlen(name));
	for (size_t i = 0; i < COUNT(verbs); i++) {
		suggest_offer(&s, verbs[i].name);
	}
	if (s.best) {
		return wrong(p, "unknown verb \"%s\"; did you mean \"%s\"?", name, s.best);
	}
	return wrong(p, "unknown verb \"%s\"; see tinyvmm --help", name);
}

static int unknown_option(const struct parse *p, const char *name, size_t len)
{
	struct suggest s;

	suggest_init(&s, name, len);
	for (size_t i = 0; i < COUNT(option_table); i++) {
		if (option_table[i].verbs & p->o->verb) {
			suggest_offer(&s, option_table[i].name);
		}
	}
	if (s.best) {
		return wrong(p, "%s: unknown option --%.*s; did you mean --%s?", verb_name(p->o->verb), (int)len, name, s.best);
	}
	return wrong(p, "%s: unknown option --%.*s; see tinyvmm help %s", verb_name(p->o->verb), (int)len, name,
		verb_name(p->o->verb));
}

/* `--name`, `--name=value` or `--name value`. *@used counts the arguments taken. */
static int parse_long(struct parse *p, const char *arg, const char *next, int *used)
{
	const char *name = arg + 2, *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);

	for (size_t i = 0; i < COUNT(option_table); i++) {
		const struct option_info *opt = &option_table[i];
		const char *value = equals ? equals + 1 : next;

		if (strlen(opt->name) != len || memcmp(opt->name, name, len) != 0 ||
			(p->o->verb && !(opt->verbs & p->o->verb))) {
			continue;
		}
		if (!opt->arg) {
			return equals ? wrong(p, "--%s takes no value", opt->name) : apply(p, opt, "");
		}
		if (!value) {
			return wrong(p, "--%s: expected %s after it", opt->name, opt->arg);
		}
		*used += !equals;
		return apply(p, opt, value);
	}
	return unknown_option(p, name, len);
}

static int parse_letters(struct parse *p, const char *arg, const char *next, int *used)
{
	for (const char *c = arg + 1; *c; c++) {
		const struct option_info *opt = NULL;
		int r;

		for (size_t i = 0; i < COUNT(option_table); i++) {
			if (option_table[i].letter == *c) {
				opt = &option_table[i];
			}
		}
		if (!opt || (p->o->verb && !(opt->verbs & p->o->verb))) {
			return wrong(p, "unknown option -%c; see tinyvmm --help", *c);
		}
		if (opt->arg) {
			/* -j4 or -j 4: the rest of the word, or the next one. */
			if (!c[1] && !next) {
				return wrong(p, "-%c: expected %s after it", *c, opt->arg);
			}
			*used += !c[1];
			return apply(p, opt, c[1] ? c + 1 : next);
		}
		r = apply(p, opt, "");
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

static int parse_word(struct parse *p, const char *arg)
{
	struct options *o = p->o;
	const struct verb_info *verb;

	if (o->verb == VERB_HELP) {
		verb = find_verb(arg);
		o->help_for = verb ? verb->verb : 0;
		return verb ? 0 : unknown_verb(p, arg);
	}
	if (!o->verb) {
		verb = find_verb(arg);
		o->verb = verb ? verb->verb : 0;
		return verb ? 0 : unknown_verb(p, arg);
	}
	verb = verb_of(o->verb);
	if (o->nfiles == verb->max && verb->max == 0) {
		return wrong(p, "%s takes no more words, got \"%s\"", verb->name, arg);
	}
	if (o->nfiles == verb->max && verb->max > 1) {
		return wrong(p, "%s: one word too many, \"%s\"; usage: tinyvmm %s %s", verb->name, arg, verb->name, verb->args);
	}
	if (o->nfiles == verb->max) {
		return wrong(p, "%s takes one %s, got \"%s\" and \"%s\"", verb->name, verb->word, o->files[0], arg);
	}
	o->files[o->nfiles++] = arg;
	return 0;
}

static int parse_all(struct parse *p, int argc, char *const *argv)
{
	bool only_words = false;

	for (int i = 1; i < argc && !p->done; i++) {
		const char *arg = argv[i];
		int r, used = 0;

		/* The words of a command may begin like options: type -v, move -5 0. */
		only_words |= p->o->verb == VERB_INPUT && p->o->nfiles > 1;
		if (only_words || arg[0] != '-' || arg[1] == '\0') {
			r = parse_word(p, arg);
		} else if (strcmp(arg, "--") == 0) {
			only_words = true;
			r = 0;
		} else if (arg[1] != '-') {
			r = parse_letters(p, arg, argv[i + 1], &used);
		} else if (!p->o->verb && strcmp(arg, "--help") != 0 && strcmp(arg, "--version") != 0) {
			r = wrong(p, "%s: name a verb first; see tinyvmm --help", arg);
		} else {
			r = parse_long(p, arg, argv[i + 1], &used);
		}
		if (r < 0) {
			return r;
		}
		i += used;
	}
	return 0;
}

/* What would have no effect. */
static int check_wait(const struct parse *p)
{
	const struct options *o = p->o;

	if (o->image_only && !o->screen.image) {
		return wrong(p, "wait: %s goes with --for image=FILE only", o->image_only);
	}
	if (o->screen.region.w && !o->screen.image && !o->screen.stable_ns) {
		return wrong(p, "wait: --region goes with --for stable=TIME and image=FILE only");
	}
	if (o->is_scanout_said && !o->wait_screen) {
		return wrong(p, "wait: --scanout goes with --for frame, stable=TIME and image=FILE only");
	}
	return 0;
}

/* What only the whole command line tells. */
static int check_words(const struct parse *p)
{
	const struct options *o = p->o;
	const struct verb_info *verb = verb_of(o->verb);

	if (verb && o->nfiles < verb->min) {
		return wrong(p, "%s: which %s? see tinyvmm help %s", verb->name, verb->word, verb->name);
	}
	if (o->verb == VERB_INPUT && o->nfiles < 2) {
		return wrong(p, "input: which command? see tinyvmm help input");
	}
	if (o->verb == VERB_STOP && o->all == (o->nfiles > 0)) {
		return wrong(p, o->all ? "stop: either --all or names" : "stop: which VM? see tinyvmm help stop");
	}
	if (o->verb == VERB_WAIT) {
		return check_wait(p);
	}
	if (o->plug && o->unplug) {
		return wrong(p, "display: either --plug or --unplug");
	}
	if (o->verb == VERB_CTL && o->events == (o->nfiles > 1)) {
		return wrong(p, o->events ? "ctl: either --events or a request" : "ctl: which request? see tinyvmm help ctl");
	}
	return 0;
}

int options_parse(struct options *o, int argc, char *const *argv, FILE *err)
{
	struct parse p = {.o = o, .err = err};
	char *set = NULL;
	int r;

	*o = (struct options){.verb = 0};
	o->files = calloc((size_t)argc + 1, sizeof(*o->files));
	r = o->files ? parse_all(&p, argc, argv) : -ENOMEM;
	if (r == 0 && p.initrds) {
		r = asprintf(&set, "boot.initrd=%s]", p.initrds) < 0 ? -ENOMEM : add_set(o, set);
	}
	free(p.initrds);
	if (r == 0 && !o->verb) {
		return wrong(&p, "no verb; see tinyvmm --help");
	}
	if (r == 0 && !p.done) {
		r = check_words(&p);
	}
	return r == -ENOMEM ? (wrong(&p, "out of memory"), r) : r;
}

void options_finish(struct options *o)
{
	for (unsigned i = 0; i < o->nsets; i++) {
		free(o->sets[i]);
	}
	free(o->sets);
	free(o->files);
	*o = (struct options){.verb = 0};
}

static const char *or_dash(const char *text)
{
	return text && *text ? text : "-";
}

/* The verbs that take @opt, with commas between them. */
static void print_verbs_of(const struct option_info *opt, FILE *out)
{
	const char *comma = "";

	if (opt->verbs == ALL_VERBS) {
		fputs("all", out);
		return;
	}
	for (size_t i = 0; i < COUNT(verbs); i++) {
		if (opt->verbs & verbs[i].verb) {
			fprintf(out, "%s%s", comma, verbs[i].name);
			comma = ",";
		}
	}
}

void options_print_table(FILE *out)
{
	for (size_t i = 0; i < COUNT(verbs); i++) {
		const struct verb_info *v = &verbs[i];

		fprintf(out, "verb\t%s\t%s\t%s\t%s\n", v->name, or_dash(v->args), or_dash(v->word), v->summary);
	}
	for (size_t i = 0; i < COUNT(option_table); i++) {
		const struct option_info *opt = &option_table[i];

		fprintf(out, "option\t--%s\t%c\t%s\t", opt->name, opt->letter ? opt->letter : '-', or_dash(opt->arg));
		print_verbs_of(opt, out);
		fprintf(out, "\t%s\t%s\n", or_dash(opt->key), opt->help);
	}
}

static void print_options(unsigned verb, FILE *out)
{
	for (size_t i = 0; i < COUNT(option_table); i++) {
		const struct option_info *opt = &option_table[i];
		char head[40];

		if (!(opt->verbs & verb)) {
			continue;
		}
		snprintf(head, sizeof(head), "%c%c%c --%s%s%s", opt->letter ? '-' : ' ', opt->letter ? opt->letter : ' ',
			opt->letter ? ',' : ' ', opt->name, opt->arg ? " " : "", opt->arg ? opt->arg : "");
		fprintf(out, "  %-24s %s\n", head, opt->help);
	}
}

void options_print_help(enum verb verb, FILE *out)
{
	for (size_t i = 0; verb && i < COUNT(verbs); i++) {
		const struct verb_info *v = &verbs[i];

		if (v->verb == verb) {
			fprintf(out, "usage: tinyvmm %s %s\n\n%s\n\n", v->name, v->args, v->text);
			if (verb == VERB_INPUT) {
				input_script_print_help(out);
				fputc('\n', out);
			}
			print_options(verb, out);
			fprintf(out, "\nexample: %s\n", v->example);
		}
	}
	if (verb) {
		return;
	}
	fputs("usage: tinyvmm VERB [OPTIONS] [FILE|VM]...\n\nA minimal KVM virtual machine monitor.\n\n", out);
	for (size_t i = 0; i < COUNT(verbs); i++) {
		fprintf(out, "  %-10s %s\n%12s example: %s\n", verbs[i].name, verbs[i].summary, "", verbs[i].example);
	}
	fputs("\n  --version  version and features\n\nOptions of each verb: tinyvmm help VERB. The file: vm.toml(5).\n", out);
}
