/* SPDX-License-Identifier: MIT */
/*
 * tinyvmm: what the command line asks for, the exit code that says how it went, and starting over after a guest's reset.
 * The only file that ends the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/config.h"
#include "vmm/doctor.h"
#include "vmm/log.h"
#include "vmm/options.h"
#include "vmm/plan.h"
#include "vmm/terminal.h"
#include "vmm/vm.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_HOST = 3,
	EXIT_REBOOT = 10,
	EXIT_PANIC = 11,
	EXIT_TIMEOUT = 124,
	EXIT_SIGNAL = 128,
};

/* What a restarted monitor must know: "DEADLINE_NS,STDIN_FD", each 0 for none. */
#define RESTART_ENV "TINYVMM_RESTART"
#define STDIN_MAX (1 << 20)

struct restart {
	bool restarted;
	uint64_t deadline_ns;
	int stdin_fd; /* a memfd with the configuration that came from standard input; 0: none */
};

static struct restart restart_read(void)
{
	struct restart r = {.restarted = false};
	const char *env = getenv(RESTART_ENV);

	if (env && sscanf(env, "%" SCNu64 ",%d", &r.deadline_ns, &r.stdin_fd) == 2) {
		r.restarted = true;
	}
	unsetenv(RESTART_ENV);
	return r;
}

/* Starts the program anew in this process: the guest's reset is complete, and nothing of the old VM is left. Returns only on failure. */
static int restart_exec(const struct restart *r, char **argv)
{
	char env[64];
	sigset_t none;
	int err;

	if (r->stdin_fd > 0) {
		fcntl(r->stdin_fd, F_SETFD, 0);
	}
	snprintf(env, sizeof(env), "%" PRIu64 ",%d", r->deadline_ns, r->stdin_fd);
	setenv(RESTART_ENV, env, 1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv("/proc/self/exe", argv);
	err = errno;
	log_errno(LOG_ERR, err, "restart");
	return EXIT_FAILED;
}

/* Standard input as text. A restart finds it again in a memfd. Return: malloc'ed, or NULL (logged). */
static char *read_stdin(struct restart *r, size_t *len)
{
	int fd = r->stdin_fd > 0 ? r->stdin_fd : STDIN_FILENO;
	char *text = malloc(STDIN_MAX + 1);
	ssize_t n = -1;

	*len = 0;
	if (text && r->stdin_fd > 0) {
		lseek(fd, 0, SEEK_SET);
	}
	while (text && *len <= STDIN_MAX && (n = read(fd, text + *len, STDIN_MAX + 1 - *len)) > 0) {
		*len += (size_t)n;
	}
	if (!text || n < 0) {
		log_errno(LOG_ERR, errno, "standard input");
		free(text);
		return NULL;
	}
	if (r->stdin_fd <= 0) {
		r->stdin_fd = memfd_create("vm.toml", MFD_CLOEXEC);
		if (r->stdin_fd < 0 || write(r->stdin_fd, text, *len) != (ssize_t)*len) {
			log_errno(LOG_ERR, errno, "memfd");
			free(text);
			return NULL;
		}
	}
	return text;
}

/* One configuration, from @path (NULL: options alone). Return: the number of mistakes. */
static int load(struct config *cfg, const struct options *o, const char *path, struct restart *r)
{
	struct config_input in = {.path = path, .sets = (const char *const *)o->sets, .nsets = o->nsets};
	char *text = NULL;
	int mistakes;

	if (path && strcmp(path, "-") == 0) {
		text = read_stdin(r, &in.text_len);
		if (!text) {
			memset(cfg, 0, sizeof(*cfg));
			return 1;
		}
		in.text = text;
	}
	mistakes = config_load(cfg, &in, stderr);
	free(text);
	return mistakes;
}

/* The file a verb works on when none is named. */
static const char *default_path(const struct options *o)
{
	return o->nfiles ? o->files[0] : o->has_kernel ? NULL : "vm.toml";
}

static int exit_code_of(const struct vm_result *result)
{
	switch (result->end) {
	case VM_END_POWEROFF:
	case VM_END_STOPPED:
		return EXIT_OK;
	case VM_END_HOST:
		return EXIT_HOST;
	case VM_END_REBOOT:
		return EXIT_REBOOT;
	case VM_END_PANIC:
		return EXIT_PANIC;
	case VM_END_TIMEOUT:
		return EXIT_TIMEOUT;
	case VM_END_EXIT_PORT:
		return result->code;
	case VM_END_SIGNAL:
		return EXIT_SIGNAL + result->code;
	default:
		return EXIT_FAILED;
	}
}

static void say_end(const struct vm_result *result)
{
	static const char *const what[] = {
		[VM_END_REBOOT] = "the guest rebooted",
		[VM_END_PANIC] = "the guest died",
		[VM_END_TIMEOUT] = "the guest was ended by --timeout",
		[VM_END_SIGNAL] = "the guest was killed",
		[VM_END_FAILED] = "the guest cannot go on",
	};

	if (result->end < sizeof(what) / sizeof(what[0]) && what[result->end]) {
		log_msg(result->end == VM_END_REBOOT ? LOG_INFO : LOG_ERR, "%s%s%s", what[result->end], result->text[0] ? ": " : "",
			result->text);
	}
}

static bool wants_restart(const struct config *cfg, const struct vm_result *result)
{
	return (result->end == VM_END_REBOOT && cfg->machine.on_reboot == END_RESTART) ||
		(result->end == VM_END_PANIC && cfg->machine.on_panic == END_RESTART);
}

static int do_run(const struct options *o, char **argv)
{
	struct restart r = restart_read();
	struct vm_options options = {.quiet = o->verbose < 0, .restarted = r.restarted};
	struct config cfg;
	struct plan plan = {.cfg = NULL};
	struct vm_result result;
	bool again;

	if (o->timeout_ns && !r.restarted) {
		r.deadline_ns = clock_now_ns() + o->timeout_ns;
	}
	options.deadline_ns = r.deadline_ns;
	if (load(&cfg, o, default_path(o), &r) > 0 || plan_make(&plan, &cfg, stderr) > 0) {
		plan_finish(&plan);
		config_finish(&cfg);
		return EXIT_USAGE;
	}
	log_msg(LOG_INFO, "command line: %s", plan.cmdline);
	vm_run(&plan, &options, &result);
	again = wants_restart(&cfg, &result);
	plan_finish(&plan);
	config_finish(&cfg);
	if (again) {
		log_msg(LOG_INFO, "restarting the guest%s%s", result.text[0] ? ": " : "", result.text);
		return restart_exec(&r, argv);
	}
	say_end(&result);
	return exit_code_of(&result);
}

static int check_one(const struct options *o, const char *path)
{
	struct restart r = {.restarted = false};
	struct config cfg;
	struct plan plan = {.cfg = NULL};
	int mistakes = load(&cfg, o, path, &r);

	if (mistakes == 0) {
		mistakes = plan_make(&plan, &cfg, stderr);
	}
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
		mistakes = check_one(o, default_path(o));
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

static int do_version(void)
{
	printf("tinyvmm %s\nx86-64; boot: bzImage, PVH, Multiboot 1; devices: virtio-console, virtio-rng, 8250, pvpanic, exit port\n",
		TINYVMM_VERSION);
	return EXIT_OK;
}

/* A descriptor that is closed here would be handed out again: /dev/kvm as standard output. */
static void fill_standard_descriptors(void)
{
	int fd;

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
		return do_run(o, argv);
	case VERB_CHECK:
		return do_check(o);
	case VERB_DOCTOR:
		return do_doctor(o);
	case VERB_HELP:
		options_print_help(o->help_for, stdout);
		return EXIT_OK;
	case VERB_VERSION:
		return do_version();
	}
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct options o;
	int code = EXIT_USAGE;

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
