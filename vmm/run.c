/* SPDX-License-Identifier: MIT */
#include "vmm/run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/boot_trace.h"
#include "vmm/clock.h"
#include "vmm/control.h"
#include "vmm/log.h"
#include "vmm/outfd.h"
#include "vmm/plan.h"
#include "vmm/result.h"
#include "vmm/rundir.h"
#include "vmm/terminal.h"
#include "vmm/viewers.h"
#include "vmm/vm.h"

/* What a restarted monitor must know: "DEADLINE_NS,STDIN_FD,LOCK_FD,CONTROL_FD,CONSOLE_FD,VIEWER_FD,WINDOW_FD,WINDOW_PID,NAME", each 0 for none. */
#define RESTART_ENV "TINYVMM_RESTART"
#define STDIN_MAX (1 << 20)
/* Names tried for a VM that nobody has named. */
#define NAMES_MAX 100

struct restart {
	bool restarted;
	uint64_t deadline_ns;
	int stdin_fd; /* a memfd with the configuration that came from standard input; 0: none */
	int lock_fd, control_fd, console_fd, viewer_fd;
	struct view_window window;
	char name[CONFIG_NAME_MAX + 8];
};

static struct restart restart_read(void)
{
	struct restart r = {.restarted = false};
	const char *env = getenv(RESTART_ENV);

	if (env && sscanf(env, "%" SCNu64 ",%d,%d,%d,%d,%d,%d,%d,%70s", &r.deadline_ns, &r.stdin_fd, &r.lock_fd, &r.control_fd, &r.console_fd, &r.viewer_fd,
			&r.window.fd, &r.window.pid, r.name) == 9) {
		r.restarted = true;
	}
	unsetenv(RESTART_ENV);
	return r;
}

static void keep_over_exec(int fd)
{
	if (fd > 0) {
		fcntl(fd, F_SETFD, 0);
	}
}

/* Starts the program anew in this process: the guest's reset is complete, and nothing of the old VM is left. Returns only on failure. */
static int restart_exec(const struct restart *r, const struct config *cfg, char **argv)
{
	char env[200];
	sigset_t none;
	int err;

	for (unsigned i = 0; i < cfg->ninputs; i++) {
		keep_over_exec((int)cfg->input[i].fd);
	}
	keep_over_exec(r->stdin_fd);
	keep_over_exec(r->lock_fd);
	keep_over_exec(r->control_fd);
	keep_over_exec(r->console_fd);
	keep_over_exec(r->viewer_fd);
	keep_over_exec(r->window.fd);
	snprintf(env, sizeof(env), "%" PRIu64 ",%d,%d,%d,%d,%d,%d,%d,%s", r->deadline_ns, r->stdin_fd, r->lock_fd, r->control_fd, r->console_fd, r->viewer_fd,
		r->window.fd, (int)r->window.pid, r->name);
	setenv(RESTART_ENV, env, 1);
	outfd_drop_signals();
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

static int load(struct config *cfg, const struct options *o, const char *path, struct restart *r)
{
	struct config_input in = {.path = path, .sets = (const char *const *)o->sets, .nsets = o->nsets, .ephemeral = o->ephemeral, .headless = o->headless,
		.timeout_ns = o->expect ? o->timeout_ns : 0};
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

int run_load(struct config *cfg, const struct options *o, const char *path)
{
	struct restart r = {.restarted = false};

	return load(cfg, o, path, &r);
}

const char *run_default_path(const struct options *o)
{
	return o->nfiles ? o->files[0] : o->has_kernel ? NULL : "vm.toml";
}

static void say_end(const struct vm_result *result)
{
	static const char *const what[] = {
		[VM_END_REBOOT] = "the guest rebooted",
		[VM_END_PANIC] = "the guest died",
		[VM_END_TIMEOUT] = "the guest was ended by --timeout",
		[VM_END_HANG] = "the guest hangs",
		[VM_END_EXPECT] = "not as expected",
		[VM_END_SIGNAL] = "the guest was killed",
		[VM_END_FAILED] = "the guest cannot go on",
	};

	if (result->end < sizeof(what) / sizeof(what[0]) && what[result->end]) {
		log_msg(result->end == VM_END_REBOOT ? LOG_INFO : LOG_ERR, "%s%s%s", what[result->end], result->text[0] ? ": " : "",
			result->text);
	}
	if (result->screen[0]) {
		log_msg(LOG_ERR, "its screen: %s", result->screen);
	}
}

/*
 * Name, folders, sockets.
 */

struct session {
	const struct options *o;
	struct restart *restart;
	struct config *cfg;
	struct rundir dir;
	int log_fd; /* tinyvmm.log; 0: none */
	int started_fd; /* --detach: written when the VM runs; 0: nobody waits */
	char viewer_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	bool has_inherited_viewers; /* the socket there is not ours to remove */
	char *console_log, *serial_log, *screen_png, *screen_diff_png; /* paths; NULL: no place for it */
};

static int rename_vm(struct config *cfg, const char *name)
{
	char *copy = strdup(name);

	if (!copy) {
		return -ENOMEM;
	}
	free(cfg->machine.name);
	cfg->machine.name = copy;
	return 0;
}

/* A VM from options alone, or a test, has no name of its own: the first free one of vm, vm-2, vm-3, ... Return: an exit code. */
static int take_name(struct session *s)
{
	bool may_change = ((!s->o->nfiles && s->o->has_kernel) || s->o->expect) && strcmp(config_where(s->cfg, "machine.name"), "default") == 0;
	char name[CONFIG_NAME_MAX + 8];
	pid_t holder;
	int r;

	snprintf(name, sizeof(name), "%s", s->restart->restarted ? s->restart->name : s->cfg->machine.name);
	for (unsigned n = 2;; n++) {
		r = rundir_take(&s->dir, name, s->restart->lock_fd, s->o->artifacts, &holder);
		if (r != -EBUSY || !may_change || n > NAMES_MAX) {
			break;
		}
		snprintf(name, sizeof(name), "%s-%u", s->cfg->machine.name, n);
	}
	if (r == -EBUSY) {
		log_msg(LOG_ERR, "a VM called \"%s\" runs already, process %d: choose another --name, or tinyvmm stop %s", name, holder, name);
		return EXIT_NO_VM;
	}
	return r < 0 || rename_vm(s->cfg, name) < 0 ? EXIT_HOST : EXIT_OK;
}

static int option_of(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

/* One that is ours from now on. Return: @fd, or -EINVAL (logged). */
static int take_inherited(int fd, const char *name, int type)
{
	if (option_of(fd, SO_DOMAIN) != AF_UNIX || option_of(fd, SO_TYPE) != type || option_of(fd, SO_ACCEPTCONN) != 1) {
		log_msg(LOG_ERR, "LISTEN_FDS: descriptor %d, \"%s\", is no listening UNIX socket of type %s", fd, name, type == SOCK_STREAM ? "SOCK_STREAM" : "SOCK_SEQPACKET");
		return -EINVAL;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* Whoever accepts as well may be faster. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}

/* systemd's socket activation, sd_listen_fds(3): a listening socket that was made for us. Return: 0 when there is none called @name, -errno (logged) when it is another kind of thing. */
static int inherited_socket(const char *name, int type)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");

	if (!pid || !count || !names || strtol(pid, NULL, 10) != getpid()) {
		return 0;
	}
	for (int fd = 3; fd < 3 + atoi(count); fd++) {
		size_t len = strcspn(names, ":");

		if (strlen(name) == len && memcmp(names, name, len) == 0) {
			return take_inherited(fd, name, type);
		}
		names += len + (names[len] == ':');
	}
	return 0;
}

/* Return: a descriptor or -errno (logged). */
static int open_socket(const struct session *s, const char *file, const char *activation_name)
{
	char path[RUNDIR_PATH_MAX + 16];
	int fd = inherited_socket(activation_name, SOCK_STREAM);

	rundir_file(&s->dir, file, path, sizeof(path));
	return fd != 0 ? fd : listener_open(path, SOCK_STREAM, CONTROL_CONNS_MAX);
}

/* Where viewers connect: in the run folder, or where display.socket says. There, what a killed process left is removed; a socket that somebody serves is not. */
static int open_viewer_socket(struct session *s)
{
	int fd = inherited_socket("viewer", SOCK_SEQPACKET), probe;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;

	if (fd != 0) {
		return fd;
	}
	if (s->cfg->display.socket && lstat(s->viewer_path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_uid == geteuid()) {
		memcpy(addr.sun_path, s->viewer_path, sizeof(addr.sun_path));
		probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(probe, (const struct sockaddr *)&addr, sizeof(addr)) < 0 && errno == ECONNREFUSED) {
			unlink(s->viewer_path);
		}
		close(probe);
	}
	return listener_open(s->viewer_path, SOCK_SEQPACKET, VIEWERS_MAX);
}

/* Somebody else's is where he has put it, and stays there. */
static void find_inherited_viewers(struct session *s)
{
	struct sockaddr_un addr = {.sun_family = AF_UNSPEC};
	socklen_t len = sizeof(addr);

	if (s->restart->viewer_fd > 0 && inherited_socket("viewer", SOCK_SEQPACKET) == s->restart->viewer_fd) {
		getsockname(s->restart->viewer_fd, (struct sockaddr *)&addr, &len);
		len = len > offsetof(struct sockaddr_un, sun_path) ? len - (socklen_t)offsetof(struct sockaddr_un, sun_path) : 0;
		snprintf(s->viewer_path, sizeof(s->viewer_path), "%.*s", (int)len, addr.sun_path);
		s->has_inherited_viewers = true;
	}
}

static int open_sockets(struct session *s)
{
	struct restart *r = s->restart;

	if (r->restarted) {
		return EXIT_OK;
	}
	r->lock_fd = s->dir.lock_fd;
	snprintf(r->name, sizeof(r->name), "%s", s->cfg->machine.name);
	r->control_fd = open_socket(s, "control.sock", "control");
	r->console_fd = r->control_fd < 0 ? -1 : open_socket(s, "console.sock", "console");
	/* Without a display there is nothing to look at, unless somebody asks for the socket. */
	r->viewer_fd = r->console_fd < 0 ? -1 : s->cfg->gpu.mode != GPU_OFF || s->cfg->display.socket || s->cfg->ninputs ? open_viewer_socket(s) : inherited_socket("viewer", SOCK_SEQPACKET);
	return r->viewer_fd < 0 ? EXIT_HOST : EXIT_OK;
}

/* The window, where one is wanted. Return: an exit code. */
static int open_window(struct session *s)
{
	struct config *cfg = s->cfg;
	const struct view_start_how how = {.scale = cfg->display.resize ? "follow" : cfg->display.scale > 0 ? "fixed" : "scale", .zoom = cfg->display.scale, .title = cfg->display.title,
		.fullscreen = cfg->display.fullscreen, .is_optional = cfg->display.by_default};
	int r;

	if (s->restart->restarted || cfg->display.type != DISPLAY_SDL) {
		return EXIT_OK;
	}
	if (!view_start_can_open()) {
		log_msg(LOG_ERR, "display.type is \"sdl\", but neither DISPLAY nor WAYLAND_DISPLAY is set: --headless runs the VM without a window");
		return EXIT_HOST;
	}
	r = view_start_window(&s->restart->window, cfg->machine.name, &how);
	if (r == -ENOENT && how.is_optional) {
		config_no_window(cfg);
		return EXIT_OK;
	}
	return r < 0 ? EXIT_HOST : EXIT_OK;
}

/* A log that is kept for every VM. Return: a descriptor, or -1 with an empty @path: no place for it is no reason not to run. */
static int open_log(const struct session *s, const char *file, char *path, size_t len)
{
	int fd = -1;

	if (rundir_state_file(&s->dir, file, path, len)) {
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0) {
			log_errno(LOG_INFO, errno, "%s: this log is not kept", path);
		}
	}
	if (fd < 0) {
		path[0] = '\0';
	}
	return fd;
}

/* Return: malloc'ed, or NULL: it is not kept. */
static char *state_file(const struct session *s, const char *file)
{
	char path[4200];

	return rundir_state_file(&s->dir, file, path, sizeof(path)) ? strdup(path) : NULL;
}

/* Not a part of the frame that lasts as long as the VM, like write_result: it would be larger by their paths. */
static __attribute__((noinline)) void open_logs(struct session *s)
{
	char path[4200];
	int fd = open_log(s, "tinyvmm.log", path, sizeof(path));

	if (fd >= 0) {
		s->log_fd = fd;
		log_set_file(fd);
	}
	/* Made only when there is something wrong to be seen. */
	s->screen_png = state_file(s, "screen.png");
	s->screen_diff_png = state_file(s, "screen-diff.png");
	if (!s->restart->restarted && s->o->artifacts && s->screen_png && s->screen_diff_png) {
		/* Those of a run before. */
		unlink(s->screen_png);
		unlink(s->screen_diff_png);
	}
	/* Opened by whoever writes them. */
	s->console_log = state_file(s, "console.log");
	s->serial_log = state_file(s, "serial.log");
}

static __attribute__((noinline)) void write_result(const struct session *s, const struct vm_result *result)
{
	char path[4200];
	int r;

	if (rundir_state_file(&s->dir, "result.json", path, sizeof(path))) {
		r = result_write(result, s->cfg, path);
		if (r < 0) {
			log_errno(LOG_WARN, r, "%s", path);
		}
	}
}

static void close_session(struct session *s)
{
	if (s->cfg->display.socket && s->restart->viewer_fd > 0 && !s->has_inherited_viewers) {
		unlink(s->viewer_path);
	}
	log_set_file(-1);
	if (s->log_fd > 0) {
		close(s->log_fd);
	}
	rundir_release(&s->dir);
	free(s->console_log);
	free(s->serial_log);
	free(s->screen_png);
	free(s->screen_diff_png);
}

/*
 * --detach
 */

/* The VM runs, and whoever started it has been told: from here on nobody looks at our output. */
static void on_started(void *ctx)
{
	struct session *s = ctx;
	int null;

	if (s->started_fd <= 0) {
		return;
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	close(null);
	if (write(s->started_fd, "", 1) != 1) {
		log_errno(LOG_WARN, errno, "--detach");
	}
	close(s->started_fd);
	s->started_fd = 0;
}

/* Return: 0 in the new process; in the old one, when the VM runs or has failed, an exit code and *@is_done. */
static int detach(int *started_fd, bool *is_done)
{
	int fd[2], status = 0, null;
	pid_t child;
	char byte;

	if (pipe2(fd, O_CLOEXEC) < 0) {
		log_errno(LOG_ERR, errno, "--detach");
		*is_done = true;
		return EXIT_FAILED;
	}
	child = fork();
	if (child == 0) {
		close(fd[0]);
		setsid();
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		dup2(null, STDIN_FILENO);
		close(null);
		*started_fd = fd[1];
		return EXIT_OK;
	}
	close(fd[1]);
	*is_done = true;
	if (child < 0) {
		log_errno(LOG_ERR, errno, "--detach");
		close(fd[0]);
		return EXIT_FAILED;
	}
	if (read(fd[0], &byte, 1) == 1) {
		close(fd[0]);
		return EXIT_OK;
	}
	close(fd[0]);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

static void detach_console(struct config *cfg)
{
	if (cfg->console.type == CONSOLE_STDIO) {
		cfg->console.type = CONSOLE_SOCKET;
	}
	if (cfg->serial.type == CONSOLE_STDIO) {
		cfg->serial.type = CONSOLE_SOCKET;
	}
}

/* From the plan to the end. Return: an exit code, or what restart_exec returns. */
static int run_plan(struct session *s, struct plan *plan, char **argv)
{
	struct restart *r = s->restart;
	const struct options *o = s->o;
	struct vm_options options = {.quiet = o->verbose < 0, .restarted = r->restarted, .deadline_ns = r->deadline_ns, .paused = o->paused && !r->restarted, .expect = o->expect, .stats = o->stats,
		.config_path = run_default_path(o) ? run_default_path(o) : "", .on_started = on_started, .ctx = s};
	/* Large, and hardly touched where all goes well. */
	static struct vm_result result;
	int code = take_name(s);

	result.end = VM_END_FAILED;
	if (o->detach || o->expect) {
		/* Nobody sits there. */
		config_no_window(s->cfg);
	}
	if (code == EXIT_OK) {
		if (s->cfg->display.socket) {
			if (snprintf(s->viewer_path, sizeof(s->viewer_path), "%s", s->cfg->display.socket) >= (int)sizeof(s->viewer_path)) {
				log_msg(LOG_ERR, "display.socket: %s: a socket's path has at most %zu bytes", s->cfg->display.socket, sizeof(s->viewer_path) - 1);
				code = EXIT_HOST;
			}
		} else {
			rundir_file(&s->dir, "viewer.sock", s->viewer_path, sizeof(s->viewer_path));
		}
		code = code == EXIT_OK ? open_sockets(s) : code;
		find_inherited_viewers(s);
	}
	if (code == EXIT_OK) {
		code = open_window(s);
	}
	if (code != EXIT_OK) {
		close_session(s);
		return code;
	}
	open_logs(s);
	log_msg(LOG_INFO, "command line: %s", plan->cmdline);
	boot_trace_mark("name, sockets and logs");
	options.control_fd = r->control_fd;
	options.console_fd = r->console_fd;
	options.viewer_fd = r->viewer_fd;
	options.viewer_path = r->viewer_fd > 0 ? s->viewer_path : NULL;
	options.window = &r->window;
	options.console_log = s->console_log;
	/* Standard error leads nowhere then. */
	options.stats_fd = o->detach ? s->log_fd : 0;
	options.screen_png = s->screen_png;
	options.screen_diff_png = s->screen_diff_png;
	options.serial_log = s->serial_log;
	vm_run(plan, &options, &result);
	if (result_wants_restart(&result, s->cfg)) {
		log_msg(LOG_INFO, "restarting the guest%s%s", result.text[0] ? ": " : "", result.text);
		plan_finish(plan);
		code = restart_exec(r, s->cfg, argv);
	} else {
		say_end(&result);
		write_result(s, &result);
		close_session(s);
		code = result_exit_code(&result);
	}
	if (result.is_stuck) {
		/* Neither what is freed at an end nor what libraries do at exit may run under that thread. */
		_exit(code);
	}
	return code;
}

/* Here because it forks: nothing is open yet that another process should not have. */
static void unpack_kernel(struct plan *plan, uint64_t deadline_ns)
{
	char why[256];

	if (plan->image.kind != BOOT_BZIMAGE) {
		return;
	}
	if (boot_unpack(&plan->image, deadline_ns, why, sizeof(why)) < 0) {
		log_msg(LOG_INFO, "kernel %s: the guest unpacks it: %s", plan->image.kernel_path, why);
	} else {
		log_msg(LOG_INFO, "kernel %s: unpacked by the host, %s", plan->image.kernel_path, plan->image.unpacked.was_there ? "before" : "now");
		boot_trace_mark(plan->image.unpacked.was_there ? "kernel found unpacked" : "kernel unpacked");
	}
}

int run_vm(const struct options *o, char **argv)
{
	/* Its 12 KiB are mostly of what few VMs have. */
	static struct plan plan;
	struct restart r = restart_read();
	struct config cfg;
	struct session s = {.o = o, .restart = &r, .cfg = &cfg, .dir.dir_fd = -1};
	bool is_done = false;
	int code, mistakes;

	if (o->timeout_ns && !r.restarted) {
		r.deadline_ns = clock_now_ns() + o->timeout_ns;
	}
	if (o->trace_boot) {
		boot_trace_enable();
		boot_trace_mark("main");
	}
	mistakes = load(&cfg, o, run_default_path(o), &r);
	boot_trace_mark("configuration read");
	for (unsigned i = 0; r.restarted && i < cfg.ninputs; i++) {
		/* What was unplugged when the guest was reset is no reason not to start it again. */
		cfg.input[i].wait = cfg.input[i].type == INPUT_EVDEV;
	}
	if (mistakes > 0) {
		plan_check(&cfg, stderr);
	}
	if (mistakes > 0 || plan_make(&plan, &cfg, stderr) > 0) {
		plan_finish(&plan);
		config_finish(&cfg);
		return EXIT_USAGE;
	}
	boot_trace_mark("kernel, initrds and disks opened and checked");
	if (o->expect && r.deadline_ns == 0) {
		r.deadline_ns = clock_now_ns() + cfg.expect.timeout_ns;
	}
	unpack_kernel(&plan, r.deadline_ns);
	code = EXIT_OK;
	if (o->detach) {
		detach_console(&cfg);
		code = r.restarted ? EXIT_OK : detach(&s.started_fd, &is_done);
	}
	if (!is_done) {
		code = run_plan(&s, &plan, argv);
	}
	plan_finish(&plan);
	config_finish(&cfg);
	return code;
}
