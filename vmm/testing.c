/* SPDX-License-Identifier: MIT */
#include "vmm/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/config.h"
#include "vmm/host_limits.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/result.h"
#include "vmm/run.h"
#include "vmm/test_report.h"

#define TAIL_LINES 20
#define TAIL_BYTES 8192
/* How long the others may take to end when the run is interrupted. */
#define INTERRUPT_MS 5000
#define SETS_MAX 100
#define ARGS_MAX (2 * SETS_MAX + 24)
/* What a VM takes beside its guest's memory; generous. */
#define VM_BYTES (16ull << 20)

/* What one case leaves in its folder. */
static const char *const case_files[] = {"messages", "console.log", "serial.log", "tinyvmm.log", "result.json", "screen.png", "screen-diff.png"};

struct tests {
	const struct options *o;
	struct test_case *cases;
	unsigned n, running, ended, passed, failed;
	char dir[PATH_MAX]; /* of artifacts */
	bool dir_is_ours; /* nobody asked for them: removed at the end */
	int signal_fd;
	int interrupted; /* the signal; 0: none */
	uint64_t started_ns;
	uint64_t memory; /* bytes for all that run at once */
};

/* tests/login.toml -> login; a vm.toml is called after its folder. A second one of a name gets a number. */
static void name_case(struct tests *t, unsigned index)
{
	struct test_case *c = &t->cases[index];
	char path[PATH_MAX], *base, *dot;
	unsigned n = 1;

	if (!realpath(c->file, path)) {
		snprintf(path, sizeof(path), "/%s", c->file);
	}
	base = strrchr(path, '/') + 1;
	if (strcmp(base, "vm.toml") == 0 && base - path > 1) {
		base[-1] = '\0';
		base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	}
	dot = strrchr(base, '.');
	if (dot && dot > base && strcmp(dot, ".toml") == 0) {
		*dot = '\0';
	}
	snprintf(c->name, sizeof(c->name), "%.100s", *base ? base : "vm");
	for (unsigned i = 0; i < index; i++) {
		if (strcmp(t->cases[i].name, c->name) == 0) {
			snprintf(c->name, sizeof(c->name), "%.100s-%u", base, ++n);
			i = (unsigned)-1;
		}
	}
}

static void fail_case(struct test_case *c, const char *reason, const char *text)
{
	c->state = TEST_FAILED;
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
	snprintf(c->text, sizeof(c->text), "%s", text);
}

/* The mistakes `check` would report, the first of them as the case's text; and what it needs. */
static void check_case(const struct tests *t, struct test_case *c)
{
	struct config_input in = {.path = c->file, .sets = (const char *const *)t->o->sets, .nsets = t->o->nsets,
		.timeout_ns = t->o->timeout_ns};
	struct config cfg;
	char *report = NULL;
	size_t len;
	FILE *f = open_memstream(&report, &len);
	int mistakes = f ? config_load(&cfg, &in, f) : 1;

	if (f) {
		fclose(f);
		c->serial = mistakes == 0 && strcmp(config_where(&cfg, "serial.type"), "default") == 0;
		c->memory = VM_BYTES + cfg.machine.memory + (cfg.gpu.mode != GPU_OFF ? cfg.gpu.max_host_memory : 0);
		config_finish(&cfg);
	}
	if (mistakes) {
		if (report) {
			report[strcspn(report, "\n")] = '\0';
		}
		c->code = EXIT_USAGE;
		fail_case(c, "config", report ? report : "out of memory");
	}
	free(report);
}

/* Return: 0 or an errno. */
static int spawn_case(pid_t *pid, const char *const *argv, const char *log_path)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;
	int r;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawnattr_setsigmask(&attr, &none);
	/* A group of its own: Ctrl-C reaches this process, which ends the run case by case. */
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	r = posix_spawn(pid, "/proc/self/exe", &files, &attr, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return r;
}

static void remove_files(const struct tests *t, const struct test_case *c)
{
	char path[PATH_MAX + 300];

	for (size_t f = 0; f < sizeof(case_files) / sizeof(case_files[0]); f++) {
		snprintf(path, sizeof(path), "%s/%s/%s", t->dir, c->name, case_files[f]);
		unlink(path);
	}
}

static void start_case(struct tests *t, struct test_case *c)
{
	const char *argv[ARGS_MAX] = {"tinyvmm", "run", "--expect", "-q", "--set", "machine.on_reboot=exit", "--set", "machine.on_panic=exit",
		"--set", "machine.stop_grace=0s"};
	char artifacts[PATH_MAX + 160], log_path[PATH_MAX + 200], timeout[32];
	unsigned n = 10;
	int r;

	c->started_ns = clock_now_ns();
	/* What an earlier run has left says nothing about this one. */
	remove_files(t, c);
	if (c->state == TEST_FAILED) {
		return;
	}
	snprintf(artifacts, sizeof(artifacts), "%s/%s", t->dir, c->name);
	if (mkdir(artifacts, 0777) < 0 && errno != EEXIST) {
		fail_case(c, "failed", strerror(errno));
		return;
	}
	snprintf(log_path, sizeof(log_path), "%s/messages", artifacts);
	argv[n++] = "--artifacts";
	argv[n++] = artifacts;
	if (c->serial) {
		argv[n++] = "--set";
		argv[n++] = "serial.type=socket";
	}
	if (t->o->timeout_ns) {
		snprintf(timeout, sizeof(timeout), "%llums", (unsigned long long)(t->o->timeout_ns / (uint64_t)CLOCK_NS_PER_MS));
		argv[n++] = "--timeout";
		argv[n++] = timeout;
	}
	for (unsigned i = 0; i < t->o->nsets; i++) {
		argv[n++] = "--set";
		argv[n++] = t->o->sets[i];
	}
	argv[n++] = "--";
	argv[n] = c->file;
	r = spawn_case(&c->pid, argv, log_path);
	c->pid_fd = r ? -1 : (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (c->pid_fd < 0) {
		fail_case(c, "failed", strerror(r ? r : errno));
		return;
	}
	c->state = TEST_RUNNING;
	t->running++;
}

/* Malloc'ed, without what a terminal would act on; at most the last TAIL_LINES lines. NULL: there is nothing. */
static char *read_tail(const char *dir, const char *file)
{
	char path[PATH_MAX + 200], *text = malloc(TAIL_BYTES + 1), *from;
	int fd, lines = 0;
	ssize_t n = 0;
	off_t size;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		size = lseek(fd, 0, SEEK_END);
		n = text ? pread(fd, text, TAIL_BYTES, size > TAIL_BYTES ? size - TAIL_BYTES : 0) : 0;
		close(fd);
	}
	if (n <= 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	for (ssize_t i = 0; i < n; i++) {
		text[i] = text[i] ? text[i] : '?';
	}
	for (from = text + n - 1; from > text; from--) {
		if (*from == '\n' && from[1] && ++lines == TAIL_LINES) {
			from++;
			break;
		}
	}
	memmove(text, from, strlen(from) + 1);
	for (char *c = text, *to = text;; c++) {
		if (*c != '\r') {
			*to++ = *c == '\0' || *c == '\n' || *c == '\t' || (*c >= ' ' && *c < 0x7f) ? *c : '?';
		}
		if (*c == '\0') {
			return text;
		}
	}
}

/* What the run left behind says how it went; without result.json nothing ran, and the first message says why. */
static void judge_case(const struct tests *t, struct test_case *c, int status)
{
	char dir[PATH_MAX + 160], path[PATH_MAX + 200];
	const char *reason = "", *text = "", *panic = NULL;
	json_t *result;

	c->took_ns = clock_now_ns() - c->started_ns;
	c->code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNAL + WTERMSIG(status);
	snprintf(dir, sizeof(dir), "%s/%s", t->dir, c->name);
	snprintf(path, sizeof(path), "%s/result.json", dir);
	result = json_load_file(path, 0, NULL);
	if (result) {
		json_unpack(result, "{s:s, s:s, s?s}", "reason", &reason, "text", &text, "panic_line", &panic);
	}
	if (c->code == EXIT_OK) {
		c->state = TEST_PASSED;
	} else if (t->interrupted) {
		fail_case(c, "interrupted", "");
	} else if (result) {
		fail_case(c, reason, text);
	} else {
		char *said = read_tail(dir, "messages");

		fail_case(c, c->code == EXIT_USAGE ? "config" : c->code == EXIT_HOST ? "host" : WIFSIGNALED(status) ? "signal" : "failed",
			said ? said : "");
		c->text[strcspn(c->text, "\n")] = '\0';
		free(said);
	}
	json_decref(result);
	if (c->state == TEST_FAILED) {
		c->tail = read_tail(dir, "console.log");
		if (!c->tail) {
			c->tail = read_tail(dir, "serial.log");
		}
	}
}

static void end_case(struct tests *t, struct test_case *c)
{
	t->ended++;
	t->failed += c->state == TEST_FAILED;
	t->passed += c->state == TEST_PASSED;
	test_report_case(c, t->ended, t->o->tap, stdout);
}

static void interrupt(struct tests *t)
{
	struct signalfd_siginfo info;

	if (read(t->signal_fd, &info, sizeof(info)) != sizeof(info)) {
		return;
	}
	for (unsigned i = 0; i < t->n; i++) {
		if (t->cases[i].state == TEST_RUNNING) {
			kill(t->cases[i].pid, t->interrupted ? SIGKILL : SIGTERM);
		}
	}
	t->interrupted = (int)info.ssi_signo;
}

/* Waits for the next thing: a case that ends, or a signal. */
static void wait_for_case(struct tests *t)
{
	struct pollfd p[OPTIONS_JOBS_MAX + 1] = {{.fd = t->signal_fd, .events = POLLIN}};
	struct test_case *who[OPTIONS_JOBS_MAX + 1];
	unsigned n = 1;

	for (unsigned i = 0; i < t->n; i++) {
		if (t->cases[i].state == TEST_RUNNING) {
			who[n] = &t->cases[i];
			p[n++] = (struct pollfd){.fd = t->cases[i].pid_fd, .events = POLLIN};
		}
	}
	if (poll(p, n, t->interrupted ? INTERRUPT_MS : -1) == 0) {
		for (unsigned i = 1; i < n; i++) {
			kill(who[i]->pid, SIGKILL);
		}
		return;
	}
	if (p[0].revents) {
		interrupt(t);
	}
	for (unsigned i = 1; i < n; i++) {
		int status;

		if (p[i].revents && waitpid(who[i]->pid, &status, WNOHANG) == who[i]->pid) {
			close(who[i]->pid_fd);
			t->running--;
			judge_case(t, who[i], status);
			end_case(t, who[i]);
		}
	}
}

/* A machine may have more than can be waited for. */
static unsigned processors(void)
{
	unsigned n = host_limits_processors("");

	return n > OPTIONS_JOBS_MAX ? OPTIONS_JOBS_MAX : n;
}

bool testing_fits(const struct test_case *cases, unsigned n, uint64_t needed, uint64_t memory)
{
	bool alone = true;

	for (unsigned i = 0; i < n; i++) {
		if (cases[i].state == TEST_RUNNING) {
			alone = false;
			needed += cases[i].memory;
		}
	}
	return alone || needed <= memory;
}

static void run_all(struct tests *t)
{
	unsigned jobs = t->o->jobs ? t->o->jobs : processors(), next = 0;

	t->memory = host_limits_memory("");
	while (t->running || (next < t->n && !t->interrupted)) {
		struct test_case *c = next < t->n && t->running < jobs && !t->interrupted ? &t->cases[next] : NULL;

		if (c && c->memory == 0) {
			check_case(t, c);
		}
		/* Who says how many are to run is believed. */
		if (!c || (!t->o->jobs && !testing_fits(t->cases, t->n, c->memory, t->memory))) {
			wait_for_case(t);
			continue;
		}
		next++;
		start_case(t, c);
		if (c->state == TEST_FAILED) {
			end_case(t, c);
		}
	}
	for (; next < t->n; next++) {
		t->cases[next].state = TEST_SKIPPED;
		snprintf(t->cases[next].text, sizeof(t->cases[next].text), "interrupted");
		t->ended++;
		test_report_case(&t->cases[next], t->ended, t->o->tap, stdout);
	}
}

static bool write_junit(const struct tests *t)
{
	FILE *f = fopen(t->o->junit, "we");
	bool done = f && test_report_junit(t->cases, t->n, clock_now_ns() - t->started_ns, f);

	if (f) {
		done = fclose(f) == 0 && done;
	}
	if (!done) {
		log_errno(LOG_ERR, errno, "%s", t->o->junit);
	}
	return done;
}

/* The folder for artifacts: the one asked for, or one that is thrown away. */
static bool make_dir(struct tests *t)
{
	const char *tmp = getenv("TMPDIR");

	if (t->o->artifacts) {
		snprintf(t->dir, sizeof(t->dir), "%s", t->o->artifacts);
		if (mkdir(t->dir, 0777) == 0 || errno == EEXIST) {
			return true;
		}
	} else {
		snprintf(t->dir, sizeof(t->dir), "%s/tinyvmm-test.XXXXXX", tmp && *tmp ? tmp : "/tmp");
		t->dir_is_ours = mkdtemp(t->dir);
		if (t->dir_is_ours) {
			return true;
		}
	}
	log_errno(LOG_ERR, errno, "%s", t->dir);
	return false;
}

static void remove_dir(const struct tests *t)
{
	char path[PATH_MAX + 300];

	for (unsigned i = 0; i < t->n; i++) {
		remove_files(t, &t->cases[i]);
		snprintf(path, sizeof(path), "%s/%s", t->dir, t->cases[i].name);
		rmdir(path);
	}
	rmdir(t->dir);
}

static void block_signals(struct tests *t)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	t->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Return: EXIT_OK when a guest can run; EXIT_HOST, said. */
static int need_kvm(void)
{
	struct kvm kvm = {.fd = -1, .vm_fd = -1};
	char why[256];

	if (kvm_open(&kvm, why, sizeof(why)) < 0) {
		log_msg(LOG_ERR, "%s", why);
		return EXIT_HOST;
	}
	kvm_close(&kvm);
	return EXIT_OK;
}

static int skip_all(struct tests *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		t->cases[i].state = TEST_SKIPPED;
		snprintf(t->cases[i].text, sizeof(t->cases[i].text), "no KVM");
		test_report_case(&t->cases[i], i + 1, t->o->tap, stdout);
	}
	return !t->o->junit || write_junit(t) ? EXIT_OK : EXIT_FAILED;
}

int testing_run(const struct options *o)
{
	struct tests t = {.o = o, .n = o->nfiles, .cases = calloc(o->nfiles, sizeof(struct test_case)), .started_ns = clock_now_ns()};
	bool reported = true;
	int code;

	if (!t.cases) {
		return EXIT_FAILED;
	}
	if (o->nsets > SETS_MAX) {
		log_msg(LOG_ERR, "more than %d times --set", SETS_MAX);
		free(t.cases);
		return EXIT_USAGE;
	}
	for (unsigned i = 0; i < t.n; i++) {
		t.cases[i].file = o->files[i];
		name_case(&t, i);
	}
	if (o->tap) {
		printf("TAP version 13\n1..%u\n", t.n);
	}
	code = need_kvm();
	if (code != EXIT_OK) {
		code = o->skip_no_kvm ? skip_all(&t) : code;
		free(t.cases);
		return code;
	}
	if (!make_dir(&t)) {
		free(t.cases);
		return EXIT_FAILED;
	}
	block_signals(&t);
	run_all(&t);
	reported = !o->junit || write_junit(&t);
	if (!o->tap) {
		printf("%u passed, %u failed%s\n", t.passed, t.failed, t.interrupted ? ", interrupted" : "");
	}
	if (t.dir_is_ours) {
		remove_dir(&t);
	}
	for (unsigned i = 0; i < t.n; i++) {
		free(t.cases[i].tail);
	}
	free(t.cases);
	close(t.signal_fd);
	return t.interrupted ? EXIT_SIGNAL + SIGTERM : t.failed ? EXIT_EXPECT : reported ? EXIT_OK : EXIT_FAILED;
}
