/* SPDX-License-Identifier: MIT */
/* Names, locks and folders, also those that somebody else has made, or left. */
#include "vmm/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/log.h"

static char dir[] = "/tmp/rundir_test.XXXXXX";

static void swallow(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/rundir_test.XXXXXX");
	assert_non_null(mkdtemp(dir));
	setenv("XDG_RUNTIME_DIR", dir, 1);
	setenv("XDG_STATE_HOME", dir, 1);
	log_set_hook(swallow);
	return 0;
}

static int tear_down(void **state)
{
	char command[80];

	(void)state;
	log_set_hook(NULL);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static int take(struct rundir *rd, const char *name)
{
	pid_t holder;

	return rundir_take(rd, name, 0, NULL, &holder);
}

static bool exists(const char *file)
{
	char path[200];
	struct stat st;

	snprintf(path, sizeof(path), "%s/tinyvmm/%s", dir, file);
	return lstat(path, &st) == 0;
}

static void make(const char *file, const char *text)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/tinyvmm/%s", dir, file);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_rundir_is_private_and_gone_afterwards(void **state)
{
	struct rundir rd;
	struct stat st;
	char path[128];

	(void)state;
	assert_int_equal(take(&rd, "a"), 0);
	assert_int_equal(stat(rd.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_true(exists("a/pid"));
	assert_true(rundir_file(&rd, "control.sock", path, sizeof(path)));
	assert_false(rundir_file(&rd, "control.sock", path, 10));
	make("a/control.sock", "");
	rundir_release(&rd);
	/* The state folder has the same parent here, so only the run files are looked at. */
	assert_false(exists("a/pid") || exists("a/control.sock"));
	rundir_release(&rd);
}

static void test_rundir_name_in_use_names_its_process(void **state)
{
	struct rundir rd, other;
	pid_t holder = 0, pid;

	(void)state;
	assert_int_equal(take(&rd, "a"), 0);
	assert_int_equal(rundir_take(&other, "a", 0, NULL, &holder), -EBUSY);
	assert_int_equal(holder, getpid());
	assert_true(rundir_is_alive(&rd, &pid));
	assert_int_equal(pid, getpid());
	assert_int_equal(take(&other, "b"), 0);
	rundir_release(&other);
	rundir_release(&rd);
	assert_int_equal(take(&rd, "a"), 0);
	rundir_release(&rd);
}

/* A child that takes the name and is killed: its lock goes with it, its files do not. */
static void leave_dead(const char *name)
{
	int fd[2], status;
	pid_t child;
	char byte;

	assert_int_equal(pipe(fd), 0);
	child = fork();
	if (child == 0) {
		struct rundir rd;

		byte = take(&rd, name) == 0 ? 'y' : 'n';
		if (write(fd[1], &byte, 1) == 1) {
			pause();
		}
		_exit(1);
	}
	assert_int_equal(read(fd[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	close(fd[0]);
	close(fd[1]);
}

static void test_rundir_of_a_killed_process_is_taken_over(void **state)
{
	char path[128], text[64] = "", want[32];
	struct rundir rd;
	pid_t pid;
	FILE *f;

	(void)state;
	leave_dead("a");
	make("a/control.sock", "stale");
	make("a/pid", "a number that is longer than any other\n");
	assert_int_equal(take(&rd, "a"), 0);
	assert_false(exists("a/control.sock"));
	assert_true(rundir_is_alive(&rd, &pid));
	assert_int_equal(pid, getpid());
	snprintf(path, sizeof(path), "%s/tinyvmm/a/pid", dir);
	snprintf(want, sizeof(want), "%d\n", getpid());
	f = fopen(path, "r");
	assert_int_equal(fread(text, 1, sizeof(text) - 1, f), strlen(want));
	fclose(f);
	assert_string_equal(text, want);
	rundir_release(&rd);
}

static void note(const struct rundir *rd, const char *name, pid_t pid, void *ctx)
{
	(void)rd;
	assert_int_equal(pid, getpid());
	strcat(strcat(ctx, name), " ");
}

static void test_rundir_each_lists_the_living_and_removes_the_dead(void **state)
{
	struct rundir a, b;
	char names[64] = "", err[128];

	(void)state;
	unsetenv("XDG_STATE_HOME");
	setenv("HOME", dir, 1);
	assert_int_equal(rundir_each(note, names, err, sizeof(err)), 0); /* nobody was ever here */
	assert_int_equal(take(&b, "b"), 0);
	leave_dead("dead");
	assert_int_equal(take(&a, "a"), 0);
	assert_int_equal(rundir_each(note, names, err, sizeof(err)), 0);
	assert_string_equal(names, "a b ");
	assert_false(exists("dead"));
	rundir_release(&a);
	rundir_release(&b);
	assert_false(exists("a") || exists("b"));
}

static void test_rundir_that_is_not_ours_alone_is_refused(void **state)
{
	char path[128], target[128];
	struct rundir rd;

	(void)state;
	snprintf(path, sizeof(path), "%s/tinyvmm", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(take(&rd, "a"), -EPERM); /* others may look in */
	assert_int_equal(rmdir(path), 0);
	snprintf(target, sizeof(target), "%s/elsewhere", dir);
	assert_int_equal(mkdir(target, 0700), 0);
	assert_int_equal(symlink(target, path), 0);
	assert_true(take(&rd, "a") < 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(take(&rd, "a"), 0);
	rundir_release(&rd);
}

/* Links where files belong are neither followed nor written through. */
static void test_rundir_links_are_not_followed(void **state)
{
	char path[128], victim[128], text[16] = "";
	struct rundir rd;
	FILE *f;

	(void)state;
	snprintf(victim, sizeof(victim), "%s/victim", dir);
	f = fopen(victim, "w");
	fputs("precious", f);
	fclose(f);
	assert_int_equal(take(&rd, "a"), 0);
	rundir_release(&rd);
	snprintf(path, sizeof(path), "%s/tinyvmm/a", dir);
	mkdir(path, 0700);
	strcat(path, "/pid");
	assert_int_equal(symlink(victim, path), 0);
	assert_true(take(&rd, "a") < 0);
	f = fopen(victim, "r");
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_string_equal(text, "precious");
}

static void test_rundir_paths_too_long_for_a_socket(void **state)
{
	char name[64], err[200];
	struct rundir rd;

	(void)state;
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(take(&rd, name), -ENAMETOOLONG);
	assert_true(rundir_find(&rd, name, err, sizeof(err)) < 0);
	assert_true(rundir_find(&rd, "../x", err, sizeof(err)) < 0);
	assert_non_null(strstr(err, "no VM is called"));
}

static void test_rundir_keeps_the_logs_of_five_runs(void **state)
{
	static const char *const files[] = {"console.log", "serial.log", "tinyvmm.log", "result.json"};
	char run[8];

	(void)state;
	for (int i = 1; i <= 8; i++) {
		struct rundir rd;
		char path[4200];
		FILE *f;

		assert_int_equal(take(&rd, "a"), 0);
		for (int k = 0; k < 4; k++) {
			assert_true(rundir_state_file(&rd, files[k], path, sizeof(path)));
			f = fopen(path, "w");
			fprintf(f, "%d", i);
			fclose(f);
		}
		rundir_release(&rd);
	}
	for (int n = 0; n < 4 * RUNDIR_RUNS; n++) {
		char path[200];
		FILE *f;

		snprintf(path, sizeof(path), n / 4 ? "%s/tinyvmm/a/%s.%d" : "%s/tinyvmm/a/%s", dir, files[n % 4], n / 4);
		f = fopen(path, "r");
		assert_non_null(f);
		assert_non_null(fgets(run, sizeof(run), f));
		fclose(f);
		assert_int_equal(atoi(run), 8 - n / 4);
	}
	assert_false(exists("a/console.log.5"));
}

static void test_rundir_logs_elsewhere_are_not_numbered(void **state)
{
	char where[128];
	struct rundir rd;
	struct stat st;
	pid_t holder;

	(void)state;
	snprintf(where, sizeof(where), "%s/artifacts/x", dir);
	assert_int_equal(rundir_take(&rd, "a", 0, where, &holder), 0);
	assert_string_equal(rd.state, where);
	assert_int_equal(stat(where, &st), 0);
	rundir_release(&rd);
}

/* Many processes want one name, again and again: never two have it. */
static void test_rundir_race_for_one_name(void **state)
{
	enum { PROCESSES = 4, ROUNDS = 200 };
	char path[128];
	int status, good = 0;

	(void)state;
	snprintf(path, sizeof(path), "%s/inside", dir);
	for (int i = 0; i < PROCESSES; i++) {
		if (fork() == 0) {
			for (int taken = 0; taken < ROUNDS;) {
				struct rundir rd;
				int fd, r = take(&rd, "race");

				if (r == -EBUSY) {
					continue;
				}
				fd = r == 0 ? open(path, O_WRONLY | O_CREAT | O_EXCL, 0600) : -1;
				if (fd < 0) {
					_exit(1);
				}
				close(fd);
				unlink(path);
				rundir_release(&rd);
				taken++;
			}
			_exit(0);
		}
	}
	for (int i = 0; i < PROCESSES; i++) {
		assert_true(wait(&status) > 0);
		good += WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	assert_int_equal(good, PROCESSES);
}

static void ignore(const struct rundir *rd, const char *name, pid_t pid, void *ctx)
{
	(void)rd;
	(void)name;
	(void)pid;
	(void)ctx;
}

/* `tinyvmm list` in a loop beside runs that begin and end, some by being killed: whoever only looks is in nobody's way. */
static void test_rundir_looking_disturbs_nobody(void **state)
{
	char err[256];
	pid_t looker[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		looker[i] = fork();
		if (looker[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		}
		while (looker[i] == 0) {
			rundir_each(ignore, NULL, err, sizeof(err));
		}
	}
	for (int i = 0; i < 100; i++) {
		struct rundir rd;

		leave_dead("a");
		assert_int_equal(take(&rd, "a"), 0);
		rundir_release(&rd);
	}
	for (int i = 0; i < 2; i++) {
		kill(looker[i], SIGKILL);
		waitpid(looker[i], NULL, 0);
	}
}

int main(void)
{
#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH(test_rundir_is_private_and_gone_afterwards),
		WITH(test_rundir_name_in_use_names_its_process),
		WITH(test_rundir_of_a_killed_process_is_taken_over),
		WITH(test_rundir_each_lists_the_living_and_removes_the_dead),
		WITH(test_rundir_that_is_not_ours_alone_is_refused),
		WITH(test_rundir_links_are_not_followed),
		WITH(test_rundir_paths_too_long_for_a_socket),
		WITH(test_rundir_keeps_the_logs_of_five_runs),
		WITH(test_rundir_logs_elsewhere_are_not_numbered),
		WITH(test_rundir_race_for_one_name),
		WITH(test_rundir_looking_disturbs_nobody),
	};

	return cmocka_run_group_tests_name("rundir", tests, NULL, NULL);
}
