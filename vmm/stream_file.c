/* SPDX-License-Identifier: MIT */
/* A sink over an outfd of our own. Opening does not wait, not even for the reader of a FIFO. */
#include "vmm/stream_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/log.h"

static struct stream_file *file_from(struct stream_sink *k)
{
	return (struct stream_file *)((char *)k - offsetof(struct stream_file, sink));
}

static size_t file_room(struct stream_sink *k)
{
	return outfd_room(&file_from(k)->out);
}

static void file_write(struct stream_sink *k, const uint8_t *buf, size_t len)
{
	static const char full[] = "\n[tinyvmm: this log is full]\n";
	struct stream_file *f = file_from(k);

	if (len < f->left) {
		outfd_write(&f->out, buf, len);
		f->left -= len;
	} else if (f->left > 0) {
		f->left = 0;
		if (outfd_room(&f->out) >= sizeof(full) - 1) {
			outfd_write(&f->out, (const uint8_t *)full, sizeof(full) - 1);
		}
	}
}

static void on_room(struct outfd *o)
{
	struct stream_file *f =
		(struct stream_file *)((char *)o - offsetof(struct stream_file, out));

	stream_sink_ready(&f->sink);
}

static const struct stream_sink_ops file_ops = {.room = file_room, .write = file_write};

/* The folder that @path lies in. */
static int check_folder(const char *path, char *err, size_t err_len)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX] = ".";
	int r = 0;

	if (slash) {
		snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	}
	/* It is a folder: a file in its place would have been another error. */
	if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) < 0) {
		r = -errno;
	}
	if (r < 0) {
		snprintf(err, err_len, "%s: no file can be made in %s: %s", path, folder, strerror(-r));
	}
	return r;
}

int stream_file_check(const char *path, char *err, size_t err_len)
{
	struct stat st;
	int r = 0;

	if (stat(path, &st) < 0) {
		if (errno == ENOENT) {
			return check_folder(path, err, err_len);
		}
		r = -errno;
	} else if (S_ISDIR(st.st_mode)) {
		r = -EISDIR;
	} else if (S_ISSOCK(st.st_mode)) {
		r = -ENXIO;
	} else if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0) {
		r = -errno;
	}
	if (r < 0) {
		snprintf(err, err_len, "%s: %s", path, strerror(-r));
	}
	return r;
}

int stream_file_open(
	struct stream_file *f, struct loop *loop, struct stream *s, const char *path, bool keep,
	uint64_t limit)
{
	int fd = open(path,
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
			(keep ? 0 : O_TRUNC),
		0600);
	int err = errno;
	struct stat st;

	if (fd < 0) {
		if (err == ENXIO && stat(path, &st) == 0 && S_ISFIFO(st.st_mode)) {
			log_msg(LOG_ERR, "%s: nobody reads this FIFO; start its reader first",
				path);
		} else {
			log_errno(LOG_ERR, err, "%s", path);
		}
		return -err;
	}
	stream_file_begin(f, loop, s, fd, path, limit);
	return 0;
}

void stream_file_begin(struct stream_file *f, struct loop *loop, struct stream *s, int fd, const char *path, uint64_t limit)
{
	f->sink = (struct stream_sink){0};
	f->left = limit;
	outfd_init_own(&f->out, loop, fd, path, on_room);
	stream_attach(s, &f->sink, &file_ops);
}

void stream_file_close(struct stream_file *f, unsigned timeout_ms)
{
	if (!f->out.loop) {
		return;
	}
	outfd_flush(&f->out, clock_now_ns() + timeout_ms * CLOCK_NS_PER_MS);
	stream_detach(&f->sink);
	outfd_finish(&f->out);
}
