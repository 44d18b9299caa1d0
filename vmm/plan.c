/* SPDX-License-Identifier: MIT */
#include "vmm/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/cmdline.h"
#include "vmm/evdev_find.h"
#include "vmm/log.h"
#include "vmm/screen.h"
#include "vmm/stream_file.h"

#define MIB ((uint64_t)0x100000)

/* In front: where the value of @key came from, or the program's name when nobody gave it. */
static void __attribute__((format(printf, 4, 5)))
mistake(const struct config *cfg, const char *key, FILE *report, const char *fmt, ...)
{
	const char *where = config_where(cfg, key);
	char *text = NULL, *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) >= 0 && asprintf(&line, "%s: error: %s", strcmp(where, "default") == 0 ? "tinyvmm" : where, text) >= 0) {
		log_make_printable(line);
		fprintf(report, "%s\n", line);
		free(line);
	}
	va_end(ap);
	free(text);
}

static bool is_written(const struct config_disk *d)
{
	return !d->readonly && !d->ephemeral;
}

/* Two disks in one file, by whatever names: the locks would refuse the second one, but not say why. */
static bool share_a_file(const struct config_disk *a, const struct config_disk *b)
{
	struct stat sa, sb;

	if ((!is_written(a) && !is_written(b)) || stat(a->path, &sa) < 0 || stat(b->path, &sb) < 0) {
		return false;
	}
	return (sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino) ||
		(S_ISBLK(sa.st_mode) && S_ISBLK(sb.st_mode) && sa.st_rdev == sb.st_rdev);
}

static int check_shared(const struct config *cfg, unsigned i, FILE *report)
{
	for (unsigned j = 0; j < i; j++) {
		if (cfg->disk[j].path && share_a_file(&cfg->disk[j], &cfg->disk[i])) {
			char key[32];

			snprintf(key, sizeof(key), "disk.%u.path", i);
			mistake(cfg, key, report, "disk.path: %s is the disk \"%s\" already (%s); both must be readonly or ephemeral to share it",
				cfg->disk[i].path, cfg->disk[j].name, cfg->disk[j].path);
			return 1;
		}
	}
	return 0;
}

/* Without a path it has a mistake that was reported; so it has when no disk can be like that. */
static bool can_be_opened(const struct config_disk *d)
{
	return d->path && d->format == DISK_FORMAT_RAW;
}

/* Opens each disk, lock included: what is wrong with it is a mistake with a place. */
static int open_disks(struct plan *plan, FILE *report)
{
	const struct config *cfg = plan->cfg;
	int mistakes = 0;

	for (unsigned i = 0; i < cfg->ndisks; i++) {
		const struct disk_options o = config_disk_options(&cfg->disk[i]);
		char key[32], err[512];

		if (!can_be_opened(&cfg->disk[i])) {
			continue;
		}
		if (check_shared(cfg, i, report) > 0) {
			/* The first one has it: the lock would only say the same again. */
			mistakes++;
		} else if (disk_open(&plan->disk[i], &o, err, sizeof(err)) < 0) {
			snprintf(key, sizeof(key), "disk.%u.path", i);
			mistake(cfg, key, report, "%s", err);
			plan->disk[i] = NULL;
			mistakes++;
		}
	}
	return mistakes;
}

/* How an input of type evdev is named. */
static const char *evdev_key(const struct config_input_device *in)
{
	return in->path ? "path" : in->match ? "match" : "fd";
}

/* Whether two inputs are one device of the host's (@x, @y; 0: it is not there) of which one would get nothing. Whoever has a descriptor of his own, and no grab, gets every event. */
static bool share_a_device(const struct config_input_device *a, dev_t x, const struct config_input_device *b, dev_t y)
{
	bool is_one = x != 0 ? x == y : a->path && b->path && strcmp(a->path, b->path) == 0;

	return is_one && (a->grab || b->grab || (a->fd != 0 && a->fd == b->fd));
}

/* @devices: of the inputs up to @i. */
static int check_evdev_shared(const struct config *cfg, unsigned i, const dev_t *devices, FILE *report)
{
	for (unsigned j = 0; j < i; j++) {
		if (cfg->input[j].type == INPUT_EVDEV && share_a_device(&cfg->input[i], devices[i], &cfg->input[j], devices[j])) {
			const char *name = evdev_key(&cfg->input[i]);
			char key[40];

			snprintf(key, sizeof(key), "input.%u.%s", i, name);
			mistake(cfg, key, report, "input.%s: this device is the input \"%s\" already; to share it, both must have grab = false, and a descriptor each", name, cfg->input[j].name);
			return 1;
		}
	}
	return 0;
}

/* Found, opened, and let go of. @device: which it is, 0 when it is not there. */
static int check_evdev(const struct config *cfg, unsigned i, dev_t *device, FILE *report)
{
	const struct config_input_device *in = &cfg->input[i];
	const char *name = evdev_key(in);
	struct input_desc desc;
	char err[512], key[40];
	struct stat st;
	int fd, r;

	fd = r = evdev_find(in, err, sizeof(err));
	if (fd == -ENODEV && in->wait) {
		name = "description";
		r = in->description ? evdev_find_desc(in, -1, &desc, err, sizeof(err)) : 0;
	}
	if (fd >= 0) {
		*device = fstat(fd, &st) == 0 ? st.st_rdev : 0;
		close(fd);
	}
	if (r < 0) {
		snprintf(key, sizeof(key), "input.%u.%s", i, name);
		mistake(cfg, key, report, "input.%s: %s", name, err);
	}
	return r < 0;
}

static int check_evdevs(const struct config *cfg, FILE *report)
{
	dev_t devices[CONFIG_INPUTS_MAX] = {0};
	int mistakes = 0;

	for (unsigned i = 0; i < cfg->ninputs; i++) {
		const struct config_input_device *in = &cfg->input[i];

		/* One that is named in no way, or in two, has been reported. */
		if (in->type == INPUT_EVDEV && (in->path != NULL) + (in->match != NULL) + (in->fd != 0) == 1) {
			mistakes += check_evdev(cfg, i, &devices[i], report) > 0 || check_evdev_shared(cfg, i, devices, report) > 0;
		}
	}
	return mistakes;
}

/* The picture can be read. */
static int check_screen(const struct config *cfg, FILE *report)
{
	struct screen screen;
	char err[400];
	int r = cfg->expect.screen ? screen_init(&screen, cfg->expect.screen, err, sizeof(err)) : 0;

	if (r < 0) {
		mistake(cfg, "expect.screen.image", report, "expect.screen.image: %s", err);
		return 1;
	}
	if (cfg->expect.screen) {
		screen_finish(&screen);
	}
	return 0;
}

/* A log can be written, where the device is there at all. */
static int check_log(const struct config *cfg, const char *key, int type, const char *path, FILE *report)
{
	char err[PATH_MAX + 400];

	if (type == CONSOLE_NONE || !path || stream_file_check(path, err, sizeof(err)) == 0) {
		return 0;
	}
	mistake(cfg, key, report, "%s: %s", key, err);
	return 1;
}

/* What is written and read beside the disks. */
static int check_files(const struct config *cfg, FILE *report)
{
	return check_log(cfg, "console.log", (int)cfg->console.type, cfg->console.path, report) + check_log(cfg, "serial.log", (int)cfg->serial.type, cfg->serial.path, report) +
		check_screen(cfg, report);
}

static int check_devices(const struct config *cfg, FILE *report)
{
	struct plan plan = {.cfg = cfg};
	int mistakes = open_disks(&plan, report) + check_evdevs(cfg, report) + check_files(cfg, report);

	plan_finish(&plan);
	return mistakes;
}

int plan_make(struct plan *plan, const struct config *cfg, FILE *report)
{
	const char *const *initrds = (const char *const *)cfg->boot.initrd.item;
	char err[512];
	int mistakes = 0;

	*plan = (struct plan){.cfg = cfg};
	if (boot_open(&plan->image, cfg->boot.kernel, initrds, cfg->boot.initrd.n, err, sizeof(err)) < 0) {
		mistake(cfg, strncmp(err, "initrd ", 7) == 0 ? "boot.initrd" : "boot.kernel", report, "%s", err);
		return 1 + check_devices(cfg, report);
	}
	if (cfg->machine.memory < plan->image.memory_min) {
		mistakes++;
		mistake(cfg, "machine.memory", report, "machine.memory is %" PRIu64 "M, but %s needs at least %" PRIu64 "M", cfg->machine.memory / MIB,
			cfg->boot.kernel, (plan->image.memory_min + MIB - 1) / MIB);
	}
	if (cmdline_make(cfg, plan->image.kind, plan->cmdline, sizeof(plan->cmdline)) < 0) {
		mistakes++;
		mistake(cfg, "boot.cmdline", report, "boot.cmdline is longer than %d bytes together with what boot.auto_cmdline adds", X86_CMDLINE_MAX);
	}
	return mistakes + open_disks(plan, report) + check_evdevs(cfg, report) + check_files(cfg, report);
}

int plan_check(const struct config *cfg, FILE *report)
{
	struct plan plan;
	int mistakes;

	if (!cfg->boot.kernel) {
		return check_devices(cfg, report);
	}
	mistakes = plan_make(&plan, cfg, report);
	plan_finish(&plan);
	return mistakes;
}

void plan_finish(struct plan *plan)
{
	for (unsigned i = 0; i < CONFIG_DISKS_MAX; i++) {
		disk_close(plan->disk[i]);
		plan->disk[i] = NULL;
	}
	boot_close(&plan->image);
}
