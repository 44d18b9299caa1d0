/* SPDX-License-Identifier: MIT */
#include "boot/unpack.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <lzma.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "vmm/clock.h"

/* For a decoder's own state. Linux packs itself with an xz dictionary of 128 MiB since 6.12 (scripts/xz_wrap.sh); 32 MiB before, xz -9 has 64. */
#define ARENA_LEN (160u << 20)
/* A stream that takes longer is a hostile one; the slowest kernels take a second. In emulation everything is twenty times slower. */
#define CPU_SECONDS 120
#define GZIP_WINDOW (15 + 16) /* of any size, with gzip's header */
#define WRITE_LEN (1u << 20)

/* How the process of its own ends. */
enum { DONE, BROKEN, NO_LIBRARY, NO_MEMORY, NO_CONFINEMENT, CANNOT_WRITE };

enum unpack_format unpack_format(const uint8_t *packed, size_t len)
{
	static const struct {
		const char *magic;
		size_t len;
		enum unpack_format format;
	} known[] = {{"\x1f\x8b\x08", 3, UNPACK_GZIP}, {"\xfd" "7zXZ", 6, UNPACK_XZ}, {"\x28\xb5\x2f\xfd", 4, UNPACK_ZSTD}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (len >= known[i].len && memcmp(packed, known[i].magic, known[i].len) == 0) {
			return known[i].format;
		}
	}
	return UNPACK_UNKNOWN;
}

/*
 * In the process of its own. Nothing here may call the kernel once it is confined, so decoders get their memory from an arena, which never takes any back.
 */

struct arena {
	uint8_t *at;
	size_t left;
};

static void *take(struct arena *a, size_t n)
{
	void *p = a->at;

	if (a->left < 16 || n > a->left - 16) {
		return NULL;
	}
	n = (n + 15) & ~(size_t)15;
	a->at += n;
	a->left -= n;
	return p;
}

static void *lzma_take(void *arena, size_t n, size_t size)
{
	return n <= ARENA_LEN && size <= ARENA_LEN ? take(arena, n * size) : NULL;
}

static void lzma_give(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

static voidpf zlib_take(voidpf arena, uInt n, uInt size)
{
	return take(arena, (size_t)n * size);
}

static void zlib_give(voidpf arena, voidpf p)
{
	(void)arena;
	(void)p;
}

/* A decoder that is ready to be confined. */
struct decoder {
	enum unpack_format format;
	struct arena arena;
	__typeof__(&lzma_stream_buffer_decode) xz;
	z_stream zlib;
	__typeof__(&inflate) inflate;
	ZSTD_DCtx *zstd_ctx;
	__typeof__(&ZSTD_decompressDCtx) zstd;
	__typeof__(&ZSTD_findFrameCompressedSize) zstd_frame_len;
};

static void *library_function(const char *library, const char *name)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

	return handle ? dlsym(handle, name) : NULL;
}

static bool prepare_zlib(struct decoder *d)
{
	__typeof__(&inflateInit2_) init = library_function("libz.so.1", "inflateInit2_");

	d->inflate = library_function("libz.so.1", "inflate");
	d->zlib = (z_stream){.zalloc = zlib_take, .zfree = zlib_give, .opaque = &d->arena};
	return init && d->inflate && init(&d->zlib, GZIP_WINDOW, ZLIB_VERSION, (int)sizeof(d->zlib)) == Z_OK;
}

static bool prepare_zstd(struct decoder *d)
{
	__typeof__(&ZSTD_createDCtx) create = library_function("libzstd.so.1", "ZSTD_createDCtx");

	d->zstd = library_function("libzstd.so.1", "ZSTD_decompressDCtx");
	d->zstd_frame_len = library_function("libzstd.so.1", "ZSTD_findFrameCompressedSize");
	/* All of its memory: with the whole output in one piece it needs no window. */
	d->zstd_ctx = create ? create() : NULL;
	return d->zstd && d->zstd_frame_len && d->zstd_ctx;
}

static bool prepare(struct decoder *d)
{
	switch (d->format) {
	case UNPACK_XZ:
		d->xz = library_function("liblzma.so.5", "lzma_stream_buffer_decode");
		return d->xz;
	case UNPACK_GZIP:
		return prepare_zlib(d);
	case UNPACK_ZSTD:
		return prepare_zstd(d);
	case UNPACK_UNKNOWN:
		break;
	}
	return false;
}

/* Return: whether the stream is whole and has exactly @out_len bytes. */
static bool decode(struct decoder *d, const uint8_t *packed, size_t len, uint8_t *out, size_t out_len)
{
	const lzma_allocator allocator = {lzma_take, lzma_give, &d->arena};
	uint64_t limit = ARENA_LEN;
	size_t in_pos = 0, out_pos = 0;

	switch (d->format) {
	case UNPACK_XZ:
		return d->xz(&limit, 0, &allocator, packed, &in_pos, len, out, &out_pos, out_len) == LZMA_OK && out_pos == out_len;
	case UNPACK_GZIP:
		d->zlib.next_in = packed;
		d->zlib.avail_in = (uInt)len;
		d->zlib.next_out = out;
		d->zlib.avail_out = (uInt)out_len;
		return d->inflate(&d->zlib, Z_FINISH) == Z_STREAM_END && d->zlib.avail_out == 0;
	case UNPACK_ZSTD:
		/* One frame; errors are numbers no length can be. */
		in_pos = d->zstd_frame_len(packed, len);
		return in_pos <= len && d->zstd(d->zstd_ctx, out, out_len, packed, in_pos) == out_len;
	case UNPACK_UNKNOWN:
		break;
	}
	return false;
}

static int confine(size_t out_len, int out_fd)
{
	const struct rlimit none = {0, 0}, cpu = {CPU_SECONDS, CPU_SECONDS}, file = {out_len, out_len};

	/* Without these the confinement is still whole. */
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_FSIZE, &file);
	if (dup2(out_fd, 0) < 0 || syscall(SYS_close_range, 1u, ~0u, 0u) < 0) {
		return -errno;
	}
	/* read, write, exit and the return from a signal: anything else is its end. */
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0 ? -errno : 0;
}

static int child(enum unpack_format format, const uint8_t *packed, size_t len, size_t out_len, int out_fd)
{
	struct decoder d = {.format = format};
	uint8_t *out = mmap(NULL, out_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	d.arena.at = mmap(NULL, ARENA_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	d.arena.left = ARENA_LEN;
	if (out == MAP_FAILED || d.arena.at == MAP_FAILED) {
		return NO_MEMORY;
	}
	if (!prepare(&d)) {
		return NO_LIBRARY;
	}
	if (confine(out_len, out_fd) < 0) {
		return NO_CONFINEMENT;
	}
	if (!decode(&d, packed, len, out, out_len)) {
		return BROKEN;
	}
	for (size_t done = 0; done < out_len;) {
		ssize_t n = write(0, out + done, out_len - done < WRITE_LEN ? out_len - done : WRITE_LEN);

		if (n <= 0) {
			return CANNOT_WRITE;
		}
		done += (size_t)n;
	}
	return DONE;
}

static int say(int r, char *why, size_t why_len, const char *text)
{
	snprintf(why, why_len, "%s", text);
	return r;
}

static int say_late(char *why, size_t why_len)
{
	return say(-ETIMEDOUT, why, why_len, "no time was left for it");
}

static int judge(int status, char *why, size_t why_len)
{
	if (!WIFEXITED(status)) {
		snprintf(why, why_len, "the process that unpacks it was ended by signal %d", WTERMSIG(status));
		return -EINVAL;
	}
	switch (WEXITSTATUS(status)) {
	case DONE:
		return 0;
	case NO_LIBRARY:
		return say(-ENOSYS, why, why_len, "the library that unpacks it is not installed");
	case NO_MEMORY:
		return say(-ENOMEM, why, why_len, "no memory to unpack it");
	case NO_CONFINEMENT:
		return say(-EPERM, why, why_len, "the process that unpacks it cannot be confined");
	case CANNOT_WRITE:
		return say(-ENOSPC, why, why_len, "what is unpacked cannot be written");
	default:
		return say(-EINVAL, why, why_len, "its compressed part is broken");
	}
}

/* Waits until @pid has ended, or ends it when it is time. Return: whether it was. */
static bool end_at(pid_t pid, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0u), .events = POLLIN};
	uint64_t now = clock_now_ns();
	bool is_late;

	while (p.fd >= 0 && now < deadline_ns && poll(&p, 1, (int)((deadline_ns - now) / CLOCK_NS_PER_MS) + 1) != 1) {
		now = clock_now_ns();
	}
	/* Without a descriptor it has its limits still. */
	is_late = p.fd >= 0 && now >= deadline_ns;
	if (is_late) {
		kill(pid, SIGKILL);
	}
	if (p.fd >= 0) {
		close(p.fd);
	}
	return is_late;
}

int unpack(enum unpack_format format, const uint8_t *packed, size_t len, size_t out_len, int out_fd, uint64_t deadline_ns, char *why, size_t why_len)
{
	const pid_t parent = getpid();
	int status = 0, r;
	bool is_late;
	pid_t pid;

	if (format == UNPACK_UNKNOWN || out_len == 0 || out_len > UNPACK_MAX || len > UNPACK_MAX) {
		return say(-EINVAL, why, why_len, "compressed in a way that is not known");
	}
	if (deadline_ns && clock_now_ns() >= deadline_ns) {
		return say_late(why, why_len);
	}
	pid = fork();
	if (pid < 0) {
		r = -errno;
		return say(r, why, why_len, strerror(-r));
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* exit_group, which the C library uses, is not allowed there. */
		syscall(SYS_exit, getppid() == parent ? child(format, packed, len, out_len, out_fd) : BROKEN);
		__builtin_unreachable();
	}
	is_late = deadline_ns && end_at(pid, deadline_ns);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR) {
			r = -errno;
			return say(r, why, why_len, strerror(-r));
		}
	}
	return is_late && !WIFEXITED(status) ? say_late(why, why_len) : judge(status, why, why_len);
}
