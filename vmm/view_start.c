/* SPDX-License-Identifier: MIT */
#include "vmm/view_start.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/log.h"
#include "vmm/result.h"

#define PROGRAM "tinyvmm-view"
#define WINDOW_FD 3

extern char **environ;

bool view_start_has_display(void)
{
	const char *x = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");

	return (x && x[0]) || (wayland && wayland[0]);
}

bool view_start_can_open(void)
{
	const char *driver = getenv("SDL_VIDEODRIVER");

	return view_start_has_display() || (driver && driver[0]);
}

/* Beside this program, or as the shell would find it. */
static const char *find_program(char *buf, size_t len)
{
	ssize_t n = readlink("/proc/self/exe", buf, len - 1);
	char *slash;

	if (n > 0) {
		buf[n] = '\0';
		slash = strrchr(buf, '/');
		if (slash && (size_t)(slash + 1 - buf) + sizeof(PROGRAM) <= len) {
			strcpy(slash + 1, PROGRAM);
			if (access(buf, X_OK) == 0) {
				return buf;
			}
		}
	}
	return PROGRAM;
}

static void say_missing(int err, enum log_level level)
{
	if (err == ENOENT) {
		log_msg(level, PROGRAM " is neither beside tinyvmm nor in PATH: make builds it where libsdl2-dev is installed");
	} else {
		log_errno(LOG_ERR, err, PROGRAM);
	}
}

/* What the program begins with: no signal blocked or ignored, no descriptor but @fd, as WINDOW_FD. Return: 0 or an errno. */
static int spawn(pid_t *pid, char *const *argv, int fd)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	char path[PATH_MAX];
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
	r = r ? r : posix_spawn_file_actions_adddup2(&actions, 2, 1);
	r = r ? r : posix_spawn_file_actions_adddup2(&actions, fd, WINDOW_FD);
	r = r ? r : posix_spawn_file_actions_addclosefrom_np(&actions, WINDOW_FD + 1);
	r = r ? r : posix_spawnp(pid, find_program(path, sizeof(path)), &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return r;
}

struct command {
	const char *argv[16]; /* the last one NULL */
	char zoom[32];
};

/* What is to be run, in *@c. @way, @place: the option and its value that say where the VM is. */
static void make_command(struct command *c, const char *way, const char *place, const char *name, const struct view_start_how *how)
{
	size_t n = 5;

	*c = (struct command){.argv = {PROGRAM, way, place, "--name", name}};
	if (how->scale) {
		c->argv[n++] = "--scale";
		c->argv[n++] = how->scale;
	}
	if (how->zoom > 0) {
		snprintf(c->zoom, sizeof(c->zoom), "%.6g", how->zoom);
		c->argv[n++] = "--zoom";
		c->argv[n++] = c->zoom;
	}
	if (how->title) {
		c->argv[n++] = "--title";
		c->argv[n++] = how->title;
	}
	if (how->observe) {
		c->argv[n++] = "--observe";
	}
	if (how->fullscreen) {
		c->argv[n++] = "--fullscreen";
	}
	if (how->verbose) {
		c->argv[n++] = "--verbose";
	}
}

int view_start_window(struct view_window *w, const char *name, const struct view_start_how *how)
{
	char fd_text[16];
	struct command c;
	int sv[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0) {
		r = errno;
		log_errno(LOG_ERR, r, "socketpair");
		return -r;
	}
	snprintf(fd_text, sizeof(fd_text), "%d", WINDOW_FD);
	make_command(&c, "--fd", fd_text, name, how);
	r = spawn(&w->pid, (char *const *)(uintptr_t)c.argv, sv[1]);
	close(sv[1]);
	if (r != 0) {
		close(sv[0]);
		w->pid = 0;
		say_missing(r, how->is_optional ? LOG_INFO : LOG_ERR);
		return -r;
	}
	w->fd = sv[0];
	return 0;
}

int view_start_attach(const char *path, const char *name, const struct view_start_how *how)
{
	struct command c;
	char program[PATH_MAX];
	pid_t parent = getpid(), pid;
	int status = 0;

	make_command(&c, "--socket", path, name, how);
	pid = fork();
	if (pid < 0) {
		log_errno(LOG_ERR, errno, "fork");
		return EXIT_FAILED;
	}
	if (pid == 0) {
		/* A window whose tinyvmm was killed goes too. */
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() == parent) {
			execvp(find_program(program, sizeof(program)), (char *const *)(uintptr_t)c.argv);
			say_missing(errno, LOG_ERR);
		}
		raise(SIGKILL);
	}
	/* Ctrl-C is for the viewer, which ends in its own way. */
	signal(SIGINT, SIG_IGN);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	if (WIFSIGNALED(status)) {
		return WTERMSIG(status) == SIGKILL ? EXIT_HOST : 128 + WTERMSIG(status);
	}
	return WEXITSTATUS(status) == VIEW_START_CLOSED ? EXIT_OK : WEXITSTATUS(status);
}
