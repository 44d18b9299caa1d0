/* SPDX-License-Identifier: MIT */
#include "vmm/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/log.h"

static const char *const run_files[] = {"control.sock", "console.sock", "viewer.sock"};
static const char *const logs[] = {"console.log", "serial.log", "tinyvmm.log", "result.json", "screen.png", "screen-diff.png"};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* mkdir -p, private. Return: 0 or -errno. */
static int make_dirs(const char *path)
{
	char part[4096];

	for (const char *p = path + 1;; p++) {
		if (*p != '/' && *p != '\0') {
			continue;
		}
		if ((size_t)(p - path) >= sizeof(part)) {
			return -ENAMETOOLONG;
		}
		memcpy(part, path, (size_t)(p - path));
		part[p - path] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST && !(errno == EROFS && *p)) {
			return -errno;
		}
		if (!*p) {
			return 0;
		}
	}
}

static bool is_private(const struct stat *st)
{
	return st->st_uid == getauxval(AT_EUID) && !(st->st_mode & 077);
}

/* Return: a descriptor or -errno. */
static int open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* A folder that is ours alone: not a link, our own, closed to others. Return: its descriptor or -errno. */
static int open_private(const char *path)
{
	int fd = open_folder(path), r;
	struct stat st;

	if (fd < 0) {
		return fd;
	}
	r = fstat(fd, &st) < 0 ? -errno : is_private(&st) ? 0 : -EPERM;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* Where run folders are. Return: 0 or -ENAMETOOLONG. */
static int base_path(char *buf, size_t len)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n = runtime && *runtime == '/' ? snprintf(buf, len, "%s/tinyvmm", runtime) : snprintf(buf, len, "/tmp/tinyvmm-%u", geteuid());

	return (size_t)n < len ? 0 : -ENAMETOOLONG;
}

static void state_path(char *buf, size_t len, const char *name)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n = 0;

	if (state && *state == '/') {
		n = snprintf(buf, len, "%s/tinyvmm/%s", state, name);
	} else if (home && *home == '/') {
		n = snprintf(buf, len, "%s/.local/state/tinyvmm/%s", home, name);
	}
	if (n <= 0 || (size_t)n >= len) {
		buf[0] = '\0';
	}
}

/* Return: 0, or -ENAMETOOLONG when a socket's path would not fit. */
static int name_paths(struct rundir *rd, const char *name)
{
	char base[RUNDIR_PATH_MAX];
	int r = base_path(base, sizeof(base)), n;

	*rd = (struct rundir){.dir_fd = -1};
	if (r < 0) {
		/* For messages. */
		snprintf(rd->path, sizeof(rd->path), "%s", base);
		return r;
	}
	n = snprintf(rd->path, sizeof(rd->path), "%s/%s", base, name);
	state_path(rd->state, sizeof(rd->state), name);
	/* What will be appended: "/console.sock", into the 108 bytes of sun_path. */
	return n < (int)(sizeof(rd->path) - sizeof("/console.sock")) ? 0 : -ENAMETOOLONG;
}

/* Of the file that is locked. */
static pid_t pid_in(int fd)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	return n > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

static pid_t read_pid(const struct rundir *rd)
{
	int fd = openat(rd->dir_fd, "pid", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	pid_t pid = fd >= 0 ? pid_in(fd) : 0;

	if (fd >= 0) {
		close(fd);
	}
	return pid;
}

static int write_pid(const struct rundir *rd)
{
	char text[32];
	const int n = snprintf(text, sizeof(text), "%d\n", getpid());

	/* That of a killed process may be longer. */
	if (!rd->is_new && ftruncate(rd->lock_fd, 0) < 0) {
		return -errno;
	}
	/* Too short for a write to be cut. */
	return write(rd->lock_fd, text, (size_t)n) < 0 ? -errno : 0;
}

/* How long a name may be held by somebody who cannot be told: one who is about to say so, or who removes what a killed process left. */
#define HOLDER_TRIES 500
#define HOLDER_WAIT_US 2000

/* Of the open file, so it outlasts an exec; and it can be asked for without being taken: whoever looks is in nobody's way. */
static int lock_file(int fd, int cmd, struct flock *l)
{
	*l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return fcntl(fd, cmd, l) < 0 ? -errno : 0;
}

/* The locked file may be removed between open and lock by the one who had it: then it is another file's turn. */
static int take_lock(struct rundir *rd)
{
	for (;;) {
		const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
		int fd = openat(rd->dir_fd, "pid", flags | O_EXCL, 0600), r;
		struct stat st;
		struct flock l;

		/* The first one in this folder: nobody has left anything in it. */
		rd->is_new = fd >= 0;
		if (fd < 0 && errno == EEXIST) {
			fd = openat(rd->dir_fd, "pid", flags, 0600);
		}
		if (fd < 0) {
			return -errno;
		}
		r = lock_file(fd, F_OFD_SETLK, &l);
		if (r < 0) {
			close(fd);
			return r == -EAGAIN || r == -EACCES ? -EBUSY : r;
		}
		if (fstat(fd, &st) == 0 && st.st_nlink > 0) {
			rd->lock_fd = fd;
			return 0;
		}
		close(fd);
	}
}

static void close_run(struct rundir *rd)
{
	if (rd->dir_fd >= 0) {
		close(rd->dir_fd);
	}
	rd->dir_fd = -1;
}

/* mkdir -p, which usually has only the last one to make. Return: 0, -EEXIST or another -errno. */
static int make_folder(const char *path)
{
	if (mkdir(path, 0700) == 0) {
		return 0;
	}
	return errno == ENOENT ? make_dirs(path) : -errno;
}

/* A folder as for open_private, made when it is missing. Nobody else can put another one in the place of a folder that is ours. Return: 0 or -errno. */
static int have_private(const char *path)
{
	struct stat st;
	int r = 0;

	if (lstat(path, &st) < 0) {
		r = errno == ENOENT ? make_folder(path) : -errno;
		if (r < 0 && r != -EEXIST) {
			return r;
		}
		r = lstat(path, &st) < 0 ? -errno : 0;
	}
	return r < 0 ? r : S_ISLNK(st.st_mode) ? -ELOOP : !S_ISDIR(st.st_mode) ? -ENOTDIR : is_private(&st) ? 0 : -EPERM;
}

/* Which logs there are: bit n of there[i] for logs[i].n, bit 0 for the one without a number. */
static void note_log(unsigned there[COUNT(logs)], const char *name)
{
	for (size_t i = 0; i < COUNT(logs); i++) {
		const size_t len = strlen(logs[i]);

		if (strncmp(name, logs[i], len) == 0 && name[len] == '\0') {
			there[i] |= 1;
		} else if (strncmp(name, logs[i], len) == 0 && name[len] == '.' && name[len + 1] > '0' && name[len + 1] < '0' + RUNDIR_RUNS && !name[len + 2]) {
			there[i] |= 1u << (name[len + 1] - '0');
		}
	}
}

static void find_logs(unsigned there[COUNT(logs)], int fd)
{
	_Alignas(struct dirent64) char buf[2048];
	ssize_t n;

	/* readdir would do the same with four more system calls and 32 KiB. */
	while ((n = getdents64(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t off = 0; off < n; off += ((struct dirent64 *)(void *)(buf + off))->d_reclen) {
			note_log(there, ((struct dirent64 *)(void *)(buf + off))->d_name);
		}
	}
}

/* console.log -> console.log.1 -> ... Return: 0, or -errno where no log can be kept. */
static int rotate(const char *dir)
{
	unsigned there[COUNT(logs)] = {0};
	int fd = open_private(dir), r;

	if (fd == -ENOENT) {
		r = make_folder(dir);
		if (r != -EEXIST) {
			/* Nothing is in it. */
			return r;
		}
		fd = open_private(dir);
	}
	if (fd < 0) {
		return fd;
	}
	find_logs(there, fd);
	for (size_t i = 0; i < COUNT(logs); i++) {
		for (int n = RUNDIR_RUNS - 1; n > 0; n--) {
			char from[64], to[64];

			if (!(there[i] & 1u << (n - 1))) {
				continue;
			}
			snprintf(from, sizeof(from), n == 1 ? "%s" : "%s.%d", logs[i], n - 1);
			snprintf(to, sizeof(to), "%s.%d", logs[i], n);
			renameat(fd, from, fd, to);
		}
	}
	r = faccessat(fd, ".", W_OK, 0) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int open_run(struct rundir *rd)
{
	char base[RUNDIR_PATH_MAX];
	bool is_made = false;
	int r;

	base_path(base, sizeof(base));
	/* Everybody may write to /tmp: what lies there under our name need not be ours. */
	r = have_private(base);
	if (r == 0) {
		is_made = mkdir(rd->path, 0700) == 0;
		r = is_made || errno == EEXIST ? 0 : -errno;
	} else if (r == -EPERM || r == -ENOTDIR || r == -ELOOP) {
		log_msg(LOG_ERR, "%s: want a folder, not a link, that is yours alone (mode 0700); or set XDG_RUNTIME_DIR", base);
		rd->path[0] = '\0';
	}
	/* What was made just now in a folder that is ours alone is as it was made. */
	rd->dir_fd = r < 0 ? r : is_made ? open_folder(rd->path) : open_private(rd->path);
	return rd->dir_fd < 0 ? rd->dir_fd : 0;
}

int rundir_make_artifacts(const char *path)
{
	int r = *path ? make_dirs(path) : -ENOENT;

	if (r == 0 && access(path, W_OK | X_OK) < 0) {
		r = -errno;
	}
	if (r < 0) {
		log_errno(LOG_ERR, r, "--artifacts %s", path);
	}
	return r;
}

static bool is_held_by_a_process(const struct rundir *rd)
{
	pid_t pid = read_pid(rd);

	return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

int rundir_take(struct rundir *rd, const char *name, int lock_fd, const char *state, pid_t *holder)
{
	int r = name_paths(rd, name);

	*holder = 0;
	if (state) {
		snprintf(rd->state, sizeof(rd->state), "%s", state);
	}
	for (int tries = 0, waits = 0; r == 0; tries++) {
		r = open_run(rd);
		if (r == 0 && lock_fd > 0) {
			rd->lock_fd = lock_fd;
			fcntl(lock_fd, F_SETFD, FD_CLOEXEC);
			return 0;
		}
		if (r == 0) {
			r = take_lock(rd);
		}
		if (r == -EBUSY && !is_held_by_a_process(rd) && waits < HOLDER_TRIES) {
			waits++;
			usleep(HOLDER_WAIT_US);
		} else if (r != -ENOENT || tries - waits == 100) {
			break;
		}
		/* Or the one before removed the folder under our hands. */
		close_run(rd);
		r = 0;
	}
	if (r == -EBUSY) {
		*holder = read_pid(rd);
		close_run(rd);
		return r;
	}
	if (r == 0) {
		for (size_t i = 0; i < COUNT(run_files) && !rd->is_new; i++) {
			unlinkat(rd->dir_fd, run_files[i], 0);
		}
		r = write_pid(rd);
	}
	if (r < 0) {
		if (rd->path[0]) {
			log_errno(LOG_ERR, r, "%s", rd->path);
		}
		rundir_release(rd);
		return r;
	}
	if (state) {
		r = rundir_make_artifacts(state);
		if (r < 0) {
			rundir_release(rd);
		}
		return r;
	}
	r = rd->state[0] ? rotate(rd->state) : 0;
	if (r < 0) {
		log_errno(LOG_INFO, r, "%s: no logs are kept", rd->state);
		rd->state[0] = '\0';
	}
	return 0;
}

void rundir_release(struct rundir *rd)
{
	if (rd->lock_fd > 0) {
		for (size_t i = 0; i < COUNT(run_files); i++) {
			unlinkat(rd->dir_fd, run_files[i], 0);
		}
		unlinkat(rd->dir_fd, "pid", 0);
		rmdir(rd->path);
		close(rd->lock_fd);
	}
	if (rd->dir_fd > 0) {
		close(rd->dir_fd);
	}
	*rd = (struct rundir){.dir_fd = -1};
}

static bool join(char *buf, size_t len, const char *dir, const char *file)
{
	return dir[0] && (size_t)snprintf(buf, len, "%s/%s", dir, file) < len;
}

bool rundir_file(const struct rundir *rd, const char *file, char *buf, size_t len)
{
	return join(buf, len, rd->path, file);
}

bool rundir_state_file(const struct rundir *rd, const char *file, char *buf, size_t len)
{
	return join(buf, len, rd->state, file);
}

int rundir_find(struct rundir *rd, const char *name, char *err, size_t err_len)
{
	int r = strchr(name, '/') || name[0] == '.' ? -EINVAL : name_paths(rd, name);

	if (r == 0) {
		rd->dir_fd = open_private(rd->path);
		r = rd->dir_fd < 0 ? rd->dir_fd : 0;
	}
	if (r < 0) {
		snprintf(err, err_len, r == -ENOENT || r == -EINVAL ? "no VM is called \"%s\"; see tinyvmm list" : "%s: %s",
			r == -ENOENT || r == -EINVAL ? name : rd->path, strerror(-r));
	}
	return r;
}

bool rundir_is_alive(const struct rundir *rd, pid_t *pid)
{
	int fd = openat(rd->dir_fd, "pid", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	struct flock l;
	bool alive = fd >= 0 && lock_file(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;

	*pid = alive ? pid_in(fd) : 0;
	if (fd >= 0) {
		close(fd);
	}
	return alive;
}

/* Removes what a killed process left, unless somebody just takes the name. */
static void remove_dead(const struct rundir *dead)
{
	struct rundir rd = *dead;

	rd.dir_fd = dup(dead->dir_fd);
	rd.lock_fd = 0;
	if (rd.dir_fd >= 0 && take_lock(&rd) == 0) {
		rundir_release(&rd);
	} else if (rd.dir_fd >= 0) {
		close(rd.dir_fd);
	}
}

static int not_dots(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

int rundir_each(void (*fn)(const struct rundir *rd, const char *name, pid_t pid, void *ctx), void *ctx, char *err, size_t err_len)
{
	char base[RUNDIR_PATH_MAX];
	struct dirent **names;
	int n, r = base_path(base, sizeof(base)), fd = r < 0 ? r : open_private(base);

	if (fd < 0) {
		if (fd == -ENOENT) {
			return 0;
		}
		snprintf(err, err_len, "%s: %s", base, strerror(-fd));
		return fd;
	}
	close(fd);
	n = scandir(base, &names, not_dots, alphasort);
	for (int i = 0; i < n; i++) {
		struct rundir rd;
		pid_t pid;

		if (rundir_find(&rd, names[i]->d_name, err, err_len) == 0) {
			if (rundir_is_alive(&rd, &pid)) {
				fn(&rd, names[i]->d_name, pid, ctx);
			} else {
				remove_dead(&rd);
			}
			close_run(&rd);
		}
		free(names[i]);
	}
	if (n >= 0) {
		free(names);
	}
	return 0;
}
