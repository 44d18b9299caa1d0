/* SPDX-License-Identifier: MIT */
#include "boot/kernel_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/clock.h"

#define NEW_PREFIX "new-"
/* Nobody takes that long to unpack one. */
#define NEW_SECONDS 3600
/* As exactly as it is known when one was used last. */
#define USED_SECONDS 3600

int kernel_cache_path(char *path, size_t len)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int n;

	if (cache && *cache == '/') {
		n = snprintf(path, len, "%s/tinyvmm/kernels", cache);
	} else if (home && *home == '/') {
		n = snprintf(path, len, "%s/.cache/tinyvmm/kernels", home);
	} else {
		return -ENOENT;
	}
	return (size_t)n < len ? 0 : -ENAMETOOLONG;
}

/* mkdir -p, private. */
static void make_dirs(const char *path)
{
	char part[4096];

	for (const char *p = strchr(path + 1, '/');; p = strchr(p + 1, '/')) {
		size_t n = p ? (size_t)(p - path) : strlen(path);

		if (n >= sizeof(part)) {
			return;
		}
		memcpy(part, path, n);
		part[n] = '\0';
		/* Whether it worked is seen when the last one is opened. */
		mkdir(part, 0700);
		if (!p) {
			return;
		}
	}
}

/* The user that this process began as, and is. */
static bool is_own(const struct stat *st)
{
	return st->st_uid == getauxval(AT_EUID) && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

int kernel_cache_open(const char *path)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	struct stat st;
	int fd = open(path, flags), r;

	if (fd < 0 && errno == ENOENT) {
		make_dirs(path);
		fd = open(path, flags);
	}
	if (fd < 0) {
		return -errno;
	}
	r = fstat(fd, &st) < 0 ? -errno : is_own(&st) ? 0 : -EPERM;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

void kernel_cache_key(const void *bytes, size_t len, char key[KERNEL_CACHE_KEY_LEN])
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, bytes, len);
	SHA256End(&ctx, key);
}

static int get(int dir_fd, const char *name, uint64_t *len)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0) {
		return -errno;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !is_own(&st)) {
		close(fd);
		return -EINVAL;
	}
	/* Its time says when it was used last, to the hour. Where that cannot be told, it is only forgotten sooner. */
	if (time(NULL) - st.st_mtime >= USED_SECONDS || time(NULL) < st.st_mtime) {
		futimens(fd, NULL);
	}
	*len = (uint64_t)st.st_size;
	return fd;
}

int kernel_cache_get(int dir_fd, const char *key, uint64_t *len)
{
	return get(dir_fd, key, len);
}

int kernel_cache_look(const char *path, const char *key, uint64_t *len)
{
	char name[4096 + KERNEL_CACHE_KEY_LEN];
	int n = snprintf(name, sizeof(name), "%s/%s", path, key);

	return n < 0 || (size_t)n >= sizeof(name) ? -ENAMETOOLONG : get(AT_FDCWD, name, len);
}

/* A process that was stopped while it has its turn must not stop all others. */
#define TURN_TRIES 3000
#define TURN_WAIT_US 20000

int kernel_cache_wait(int dir_fd, uint64_t deadline_ns)
{
	for (unsigned i = 0; i < TURN_TRIES && flock(dir_fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK; i++) {
		if (deadline_ns && clock_now_ns() >= deadline_ns) {
			return -ETIMEDOUT;
		}
		usleep(TURN_WAIT_US);
	}
	return 0;
}

void kernel_cache_done(int dir_fd)
{
	flock(dir_fd, LOCK_UN);
}

int kernel_cache_new(int dir_fd, char name[KERNEL_CACHE_NAME_LEN])
{
	uint64_t random = 0;
	int fd;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
		return -EIO;
	}
	snprintf(name, KERNEL_CACHE_NAME_LEN, NEW_PREFIX "%016llx", (unsigned long long)random);
	fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

int kernel_cache_put(int dir_fd, const char *name, const char *key)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return -errno;
	}
	/* Before it comes: no other one would be left beside it. */
	if ((uint64_t)st.st_size > KERNEL_CACHE_BYTES) {
		return -EFBIG;
	}
	if (renameat(dir_fd, name, dir_fd, key) < 0) {
		return -errno;
	}
	kernel_cache_trim(dir_fd, KERNEL_CACHE_BYTES, KERNEL_CACHE_FILES, key);
	return 0;
}

void kernel_cache_remove(int dir_fd, const char *key)
{
	unlinkat(dir_fd, key, 0);
}

/* One look at the folder: how much there is, and which one was used longest ago. */
struct look {
	uint64_t bytes;
	unsigned files;
	char oldest[KERNEL_CACHE_KEY_LEN];
	struct timespec time;
};

static bool is_before(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

static void look_at(struct look *l, int dir_fd, const char *name, const char *keep)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode)) {
		return;
	}
	if (strncmp(name, NEW_PREFIX, sizeof(NEW_PREFIX) - 1) == 0) {
		if (time(NULL) - st.st_mtime > NEW_SECONDS) {
			unlinkat(dir_fd, name, 0);
		}
		return;
	}
	if (strlen(name) != KERNEL_CACHE_KEY_LEN - 1) {
		return;
	}
	l->bytes += (uint64_t)st.st_size;
	l->files++;
	if (strcmp(name, keep) != 0 && (!l->oldest[0] || is_before(st.st_mtim, l->time))) {
		memcpy(l->oldest, name, KERNEL_CACHE_KEY_LEN);
		l->time = st.st_mtim;
	}
}

void kernel_cache_trim(int dir_fd, uint64_t bytes, unsigned files, const char *keep)
{
	for (;;) {
		/* Opened anew: a position in the folder is the descriptor's, which others may share. */
		int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *dir = fd < 0 ? NULL : fdopendir(fd);
		struct look l = {.files = 0};
		const struct dirent *d;

		if (!dir) {
			if (fd >= 0) {
				close(fd);
			}
			return;
		}
		while ((d = readdir(dir))) {
			look_at(&l, dir_fd, d->d_name, keep);
		}
		closedir(dir);
		if ((l.bytes <= bytes && l.files <= files) || !l.oldest[0] || unlinkat(dir_fd, l.oldest, 0) < 0) {
			return;
		}
	}
}
