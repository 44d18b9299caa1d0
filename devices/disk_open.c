/* SPDX-License-Identifier: MIT */
/* Opening, locking and measuring a disk, before any request. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/disk_priv.h"
#include "vmm/log.h"

/*
 * QEMU's file locks: what a program does with the image, and what it does not let others do, are
 * shared locks on bytes of two ranges, one byte for each right. Whoever opens the image puts its
 * own locks there first and then asks whether a byte of the opposite range is taken.
 */
#define LOCK_USED    100
#define LOCK_REFUSED 200

enum lock_right {
	RIGHT_READ = 1 << 0,
	RIGHT_WRITE = 1 << 1,
	RIGHT_WRITE_SAME = 1 << 2, /* what is there already: part of writing, and then one range of bytes */
	RIGHT_RESIZE = 1 << 3,
	RIGHT_BITS = 4,
	RIGHT_END = 1 << RIGHT_BITS,
};

/* Who died a moment ago may still be on its way out. */
#define LOCK_TRIES   20
#define LOCK_WAIT_US 10000

static int explain(char *err, size_t errlen, int e, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Return: -@e. */
static int explain(char *err, size_t errlen, int e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return -e;
}

static int lock_range(int fd, int cmd, short type, int byte, int len)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = len};

	if (fcntl(fd, cmd, &l) < 0) {
		return -errno;
	}
	return cmd == F_OFD_GETLK && l.l_type != F_UNLCK ? -EBUSY : 0;
}

/* Neighbours in one call. */
static int lock_bytes(int fd, int cmd, short type, int base, unsigned rights)
{
	while (rights) {
		int first = __builtin_ctz(rights), len = __builtin_ctz(~(rights >> first));
		int r = lock_range(fd, cmd, type, base + first, len);

		if (r < 0) {
			return r;
		}
		rights &= ~0u << (first + len);
	}
	return 0;
}

/* Nobody else has any byte of those. */
static int find_lock(int fd, int base, unsigned rights)
{
	return lock_bytes(fd, F_OFD_GETLK, F_WRLCK, base, rights);
}

/* Return: 0, -EBUSY: another program is in the way, or why there are no locks here. */
static int lock_once(int fd, bool writer)
{
	unsigned used = writer ? RIGHT_READ | RIGHT_WRITE | RIGHT_WRITE_SAME | RIGHT_RESIZE : RIGHT_READ;
	unsigned refused = writer ? RIGHT_WRITE | RIGHT_WRITE_SAME | RIGHT_RESIZE : RIGHT_WRITE | RIGHT_RESIZE;
	int r = lock_bytes(fd, F_OFD_SETLK, F_RDLCK, LOCK_USED, used);
	bool any;

	if (r == 0) {
		r = lock_bytes(fd, F_OFD_SETLK, F_RDLCK, LOCK_REFUSED, refused);
	}
	if (r == 0) {
		/* Usually nobody else has any byte of either range, or between them. */
		r = lock_range(fd, F_OFD_GETLK, F_WRLCK, LOCK_USED, LOCK_REFUSED + RIGHT_BITS - LOCK_USED);
	}
	any = r == -EBUSY;
	if (any) {
		r = find_lock(fd, LOCK_REFUSED, used);
	}
	if (any && r == 0) {
		r = find_lock(fd, LOCK_USED, refused);
	}
	if (r < 0) {
		/* Two that collide must not both see only the other's leftovers. */
		lock_bytes(fd, F_OFD_SETLK, F_UNLCK, LOCK_USED, RIGHT_END - 1);
		lock_bytes(fd, F_OFD_SETLK, F_UNLCK, LOCK_REFUSED, RIGHT_END - 1);
	}
	/* Somebody holds an exclusive lock. */
	return r == -EAGAIN || r == -EACCES ? -EBUSY : r;
}

static int lock(const struct disk *d, bool writer, char *err, size_t errlen)
{
	int r = lock_once(d->lock_fd, writer);

	for (unsigned i = 1; r == -EBUSY && i < LOCK_TRIES; i++) {
		usleep(LOCK_WAIT_US);
		r = lock_once(d->lock_fd, writer);
	}
	if (r == -EBUSY && lock_once(d->lock_fd, false) == 0) {
		return explain(err, errlen, EBUSY,
			"%s: another program has it open for reading, so it cannot be written",
			d->path);
	}
	if (r == -EBUSY) {
		return explain(
			err, errlen, EBUSY, "%s: another program has it open for writing", d->path);
	}
	if (r < 0) {
		log_errno(LOG_WARN, r,
			"%s: its file system has no locks, nothing keeps a second writer away",
			d->path);
	}
	return 0;
}

/*
 * The descriptor that keeps others away; no request uses it, so nothing holds it longer than this
 * process. O_NONBLOCK so that a FIFO does not wait for its writer. O_EXCL without O_CREAT is about
 * block devices only: it fails while the host has a file system or anything else on it.
 */
static int open_lock_fd(struct disk *d, bool writer, struct stat *st, char *err, size_t errlen)
{
	d->lock_fd =
		open(d->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (writer ? O_EXCL : 0));
	if (d->lock_fd < 0 && errno == EBUSY) {
		return explain(err, errlen, EBUSY,
			"%s: the host or another program uses it (is it mounted?)", d->path);
	}
	if (d->lock_fd < 0 || fstat(d->lock_fd, st) < 0) {
		int e = errno;

		return explain(err, errlen, e, "%s: %s", d->path, strerror(e));
	}
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode)) {
		return explain(err, errlen, EINVAL, "%s: %s, not a file or block device", d->path,
			S_ISDIR(st->st_mode) ? "is a directory" : "is a special file");
	}
	return 0;
}

static int open_file(struct disk *d, enum disk_file which, int flags, const struct stat *want,
	char *err, size_t errlen)
{
	struct stat st = {.st_size = 0};
	int e;

	d->fd[which] = open(d->path, flags | O_CLOEXEC | O_NOCTTY);
	e = errno;
	if (d->fd[which] < 0 && e == EINVAL && (flags & O_DIRECT)) {
		return explain(err, errlen, e, "%s: its file system cannot do cache = \"direct\"",
			d->path);
	}
	if (d->fd[which] < 0 && (e == EACCES || e == EROFS || e == EPERM) &&
		(flags & O_ACCMODE) == O_RDWR) {
		return explain(err, errlen, e,
			"%s: cannot be opened for writing: %s (readonly or ephemeral would do "
			"without)",
			d->path, strerror(e));
	}
	if (d->fd[which] < 0 || fstat(d->fd[which], &st) < 0) {
		e = errno;
		return explain(err, errlen, e, "%s: %s", d->path, strerror(e));
	}
	if (st.st_dev != want->st_dev || st.st_ino != want->st_ino) {
		return explain(
			err, errlen, EAGAIN, "%s: was replaced while it was opened", d->path);
	}
	return 0;
}

static int open_files(struct disk *d, const struct disk_options *o, const struct stat *st,
	char *err, size_t errlen)
{
	int access = o->readonly || o->ephemeral ? O_RDONLY : O_RDWR;
	int direct = o->cache == DISK_CACHE_DIRECT ? O_DIRECT : 0;
	int r = open_file(d, DISK_FILE_MAIN, access | direct, st, err, errlen);

	if (r == 0 && direct) {
		r = open_file(d, DISK_FILE_BUFFERED, access, st, err, errlen);
	}
	return r;
}

/*
 * Measuring.
 */

static bool is_power_of_two(uint64_t v, uint64_t min, uint64_t max)
{
	return v >= min && v <= max && (v & (v - 1)) == 0;
}

static int measure_device(struct disk *d, char *err, size_t errlen)
{
	unsigned int physical = 0;
	int logical = 0;

	if (ioctl(d->fd[DISK_FILE_MAIN], BLKGETSIZE64, &d->info.size) < 0 ||
		ioctl(d->fd[DISK_FILE_MAIN], BLKSSZGET, &logical) < 0) {
		int e = errno;

		return explain(err, errlen, e, "%s: its size: %s", d->path, strerror(e));
	}
	ioctl(d->fd[DISK_FILE_MAIN], BLKPBSZGET, &physical);
	d->info.block_size = is_power_of_two((uint64_t)logical, DISK_SECTOR, 65536)
				     ? (uint32_t)logical
				     : DISK_SECTOR;
	d->info.physical_block_size = physical;
	d->direct_align = d->info.block_size;
	return 0;
}

/* Since Linux 6.1, where the file system knows; by a call of its own because the C library's
 * struct may be older. */
static void ask_direct_align(struct disk *d)
{
#ifdef STATX_DIOALIGN
	struct statx stx = {0};

	if (syscall(SYS_statx, d->fd[DISK_FILE_MAIN], "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) ==
			0 &&
		(stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align > 0) {
		uint32_t a = stx.stx_dio_mem_align | stx.stx_dio_offset_align;

		/* Both are powers of two; the larger one. */
		while (a & (a - 1)) {
			a &= a - 1;
		}
		d->direct_align = a;
	}
#endif
}

static int measure(struct disk *d, const struct stat *st, bool quiet, char *err,
	size_t errlen)
{
	uint64_t rest;

	d->info.block_size = DISK_SECTOR;
	d->direct_align = DISK_SECTOR;
	if (S_ISBLK(st->st_mode)) {
		int r = measure_device(d, err, errlen);

		if (r < 0) {
			return r;
		}
	} else {
		d->info.size = (uint64_t)st->st_size;
		d->info.physical_block_size = (uint32_t)st->st_blksize;
		if (d->fd[DISK_FILE_BUFFERED] >= 0) {
			ask_direct_align(d);
		}
	}
	if (!is_power_of_two(d->info.physical_block_size, d->info.block_size, 65536)) {
		d->info.physical_block_size = d->info.block_size;
	}
	rest = d->info.size % d->info.block_size;
	d->info.size -= rest;
	if (d->info.size == 0) {
		return explain(err, errlen, EINVAL,
			"%s: is empty (truncate -s 10G makes a disk of it)", d->path);
	}
	if (rest > 0 && !quiet) {
		log_msg(LOG_WARN,
			"%s: the guest does not see its last %u bytes, less than a sector", d->path,
			(unsigned)rest);
	}
	return 0;
}

static void warn_about_content(const struct disk *d)
{
	int fd = d->fd[DISK_FILE_BUFFERED] >= 0 ? d->fd[DISK_FILE_BUFFERED] : d->fd[DISK_FILE_MAIN];
	uint8_t magic[4];

	if (pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
		memcmp(magic, "QFI\xfb", 4) == 0) {
		log_msg(LOG_WARN,
			"%s: begins like a qcow2 image, the guest sees it as raw bytes "
			"(qemu-img convert -O raw makes a raw image of it)",
			d->path);
	}
}

/*
 * The overlay.
 */

static int open_overlay_file(const char *dir)
{
	char name[4096];
	int fd, n;

	if (!dir) {
		return memfd_create("disk-overlay", MFD_CLOEXEC);
	}
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) {
		return fd;
	}
	/* Not every file system makes files without a name. */
	n = snprintf(name, sizeof(name), "%s/tinyvmm-overlay-XXXXXX", dir);
	if (n < 0 || (size_t)n >= sizeof(name)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0) {
		unlink(name);
	}
	return fd;
}

static int open_overlay(struct disk *d, const struct disk_options *o, char *err, size_t errlen)
{
	const char *where = o->overlay_dir ? o->overlay_dir : "memory";
	void *map;
	int e;

	d->fd[DISK_FILE_OVERLAY] = open_overlay_file(o->overlay_dir);
	if (d->fd[DISK_FILE_OVERLAY] < 0 ||
		ftruncate(d->fd[DISK_FILE_OVERLAY], (off_t)d->info.size) < 0) {
		e = errno;
		return explain(err, errlen, e, "%s: no room for its changes in %s: %s", d->path,
			where, strerror(e));
	}
	/* Rounded up, so that a run may be measured in whole bytes. */
	d->written_len = d->info.size / DISK_SECTOR / 8 + 1;
	map = mmap(NULL, d->written_len, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		e = errno;
		return explain(err, errlen, e, "%s: no room for its list of changes: %s", d->path,
			strerror(e));
	}
	d->written = map;
	return 0;
}

static int open_all(struct disk *d, const struct disk_options *o, char *err, size_t errlen)
{
	bool writer = !o->readonly && !o->ephemeral;
	struct stat st = {.st_size = 0};
	int r = open_lock_fd(d, writer, &st, err, errlen);

	if (r == 0) {
		r = open_files(d, o, &st, err, errlen);
	}
	if (r == 0) {
		r = lock(d, writer, err, errlen);
	}
	if (r == 0) {
		r = measure(d, &st, o->quiet, err, errlen);
	}
	if (r == 0 && o->ephemeral && !o->readonly) {
		r = open_overlay(d, o, err, errlen);
	}
	if (r < 0) {
		return r;
	}
	if (!o->quiet) {
		warn_about_content(d);
	}
	if (!o->quiet && o->cache == DISK_CACHE_UNSAFE && !o->readonly && !o->ephemeral) {
		log_msg(LOG_WARN,
			"%s: cache = \"unsafe\": a crash of the host may lose what the guest has "
			"written",
			d->path);
	}
	r = o->loop ? disk_run(d, o->loop) : 0;
	return r < 0 ? explain(err, errlen, -r, "%s: no asynchronous I/O: %s", d->path,
			       strerror(-r))
		     : 0;
}

int disk_open(struct disk **out, const struct disk_options *o, char *err, size_t errlen)
{
	struct disk *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		return explain(err, errlen, ENOMEM, "%s: out of memory", o->path);
	}
	d->lock_fd = d->source.fd = d->ring.fd = -1;
	for (unsigned i = 0; i < DISK_FILES; i++) {
		d->fd[i] = -1;
	}
	d->cache = o->cache;
	d->wanted = o->engine;
	d->info = (struct disk_info){
		.readonly = o->readonly, .discard = o->discard && !o->readonly, .engine = "none"};
	d->path = strdup(o->path);
	r = d->path ? open_all(d, o, err, errlen)
		    : explain(err, errlen, ENOMEM, "%s: out of memory", o->path);
	if (r < 0) {
		disk_close(d);
		return r;
	}
	*out = d;
	return 0;
}

void disk_free(struct disk *d)
{
	for (unsigned i = 0; i < DISK_FILES; i++) {
		if (d->fd[i] >= 0) {
			close(d->fd[i]);
		}
	}
	if (d->source.fd >= 0) {
		close(d->source.fd);
	}
	/* Last: nobody else gets in before all is closed. */
	if (d->lock_fd >= 0) {
		close(d->lock_fd);
	}
	if (d->written) {
		munmap(d->written, d->written_len);
	}
	free(d->path);
	free(d);
}
