/* SPDX-License-Identifier: MIT */
/* tinyvmm: what the command line asks for, and the exit code that says how it went. The only file that ends the process. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/boot_trace.h"
#include "vmm/client.h"
#include "vmm/config.h"
#include "vmm/devices.h"
#include "vmm/doctor.h"
#include "vmm/input_script.h"
#include "vmm/keymap.h"
#include "vmm/gpu_info.h"
#include "vmm/log.h"
#include "vmm/options.h"
#include "vmm/plan.h"
#include "vmm/result.h"
#include "vmm/run.h"
#include "vmm/testing.h"

/* Only here: `run` does not need the layouts, and does not load what knows them. */
static int check_layouts(const struct config *cfg)
{
	int mistakes = 0;

	for (unsigned i = 0; i < cfg->ninputs; i++) {
		struct keymap *keymap = NULL;
		char key[32], err[256];
		const char *where;
		int r;

		snprintf(key, sizeof(key), "input.%u.layout", i);
		where = config_where(cfg, key);
		r = strcmp(where, "default") == 0 ? 0 : keymap_open(&keymap, cfg->input[i].layout, err, sizeof(err));
		if (r == -EINVAL) {
			fprintf(stderr, "%s: error: input.layout: %s\n", where, err);
			mistakes++;
		} else if (r < 0) {
			log_msg(LOG_INFO, "input.layout was not checked: %s", err);
		}
		keymap_close(keymap);
	}
	return mistakes;
}

static int check_one(const struct options *o, const char *path)
{
	struct config cfg;
	struct plan plan = {.cfg = NULL};
	int mistakes = run_load(&cfg, o, path);

	mistakes += mistakes == 0 ? plan_make(&plan, &cfg, stderr) : plan_check(&cfg, stderr);
	mistakes += check_layouts(&cfg);
	if (mistakes == 0 && o->print) {
		config_print(&cfg, stdout);
	}
	plan_finish(&plan);
	config_finish(&cfg);
	return mistakes;
}

static int do_check(const struct options *o)
{
	int mistakes = 0;

	if (o->nfiles == 0) {
		mistakes = check_one(o, run_default_path(o));
	}
	for (unsigned i = 0; i < o->nfiles; i++) {
		mistakes += check_one(o, o->files[i]);
	}
	return mistakes ? EXIT_USAGE : EXIT_OK;
}

static int do_doctor(const struct options *o)
{
	int fails = doctor_run(o->need ? o->need : o->nfiles ? DOCTOR_NEED_KVM : DOCTOR_NEED_ALL, o->json, stdout);
	int mistakes = o->nfiles ? check_one(o, o->files[0]) : 0;

	return mistakes ? EXIT_USAGE : fails ? EXIT_HOST : EXIT_OK;
}

static int do_help(const struct options *o)
{
	if (o->table) {
		options_print_table(stdout);
		config_print_keys(stdout);
		input_script_print_table(stdout);
	} else {
		options_print_help(o->help_for, stdout);
	}
	return EXIT_OK;
}

static int do_version(void)
{
	printf("tinyvmm %s\nx86-64; boot: bzImage, PVH, Multiboot 1; devices: virtio-blk, virtio-console, virtio-rng, virtio-input, virtio-gpu, 8250, pvpanic, exit port\n",
		TINYVMM_VERSION);
	return EXIT_OK;
}

/* A descriptor that is closed here would be handed out again: /dev/kvm as standard output. */
static void fill_standard_descriptors(void)
{
	struct pollfd standard[3] = {{.fd = STDIN_FILENO}, {.fd = STDOUT_FILENO}, {.fd = STDERR_FILENO}};
	int fd;

	if (poll(standard, 3, 0) >= 0 && !((standard[0].revents | standard[1].revents | standard[2].revents) & POLLNVAL)) {
		return;
	}
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0) {
		close(fd);
	}
}

static int run_verb(const struct options *o, char **argv)
{
	if (o->verbose) {
		log_set_level(o->verbose < 0 ? LOG_ERR : o->verbose == 1 ? LOG_INFO : LOG_DEBUG);
	}
	switch (o->verb) {
	case VERB_RUN:
		return run_vm(o, argv);
	case VERB_CHECK:
		return do_check(o);
	case VERB_DOCTOR:
		return do_doctor(o);
	case VERB_HELP:
		return do_help(o);
	case VERB_VERSION:
		return do_version();
	case VERB_LIST:
		return client_list(o);
	case VERB_STOP:
		return client_stop(o);
	case VERB_PAUSE:
		return client_simple(o, "pause");
	case VERB_RESUME:
		return client_simple(o, "resume");
	case VERB_RESET:
		return client_simple(o, "reset");
	case VERB_WAIT:
		return client_wait(o);
	case VERB_INPUT:
		return client_input(o);
	case VERB_CONSOLE:
		return client_console(o);
	case VERB_SCREENSHOT:
		return client_screenshot(o);
	case VERB_DISPLAY:
		return client_display(o);
	case VERB_VIEW:
		return client_view(o);
	case VERB_CTL:
		return client_ctl(o);
	case VERB_DEVICES:
		return devices_run(o);
	case VERB_GPU_INFO:
		return gpu_info_run(o);
	case VERB_TEST:
		return testing_run(o);
	}
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct options o;
	int code = EXIT_USAGE;

	boot_trace_begin();
	fill_standard_descriptors();
	if (options_parse(&o, argc, argv, stderr) == 0) {
		code = run_verb(&o, argv);
	}
	/* What was asked for may not have arrived: a full disk. A VM's exit code is its own. */
	if (fflush(stdout) != 0 && code == EXIT_OK && o.verb != VERB_RUN) {
		code = EXIT_FAILED;
	}
	options_finish(&o);
	exit(code);
}
