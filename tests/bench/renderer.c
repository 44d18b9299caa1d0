/* SPDX-License-Identifier: MIT */
/*
 * libvirglrenderer.so.1 for a monitor that is measured: what it is called for is the real one's, and the processor time of the calling thread within those calls is added up, apart from the rest. Each
 * line of $RENDERER_SHARE says, after 50 submissions more and at the end: submissions, calls, nanoseconds of the thread, of those in the renderer, and of those for looking at the clock, which are in neither part.
 *
 * What is called while the real one runs (callbacks) is its own time.
 */
#include <dlfcn.h>
#include <err.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>
#include <virgl/virglrenderer.h>

#define SUBMISSIONS_A_LINE 50

struct virgl_box;

static struct {
	void *lib;
	FILE *out;
	uint64_t start_ns, enter_ns, inside_ns, look_ns; /* look: what one look at the clock costs */
	uint64_t calls, submissions;
} state;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *real(const char *name)
{
	void *symbol;

	if (!state.lib) {
		const char *path = getenv("RENDERER_REAL"), *out = getenv("RENDERER_SHARE");

		state.lib = dlopen(path ? path : "/usr/lib/x86_64-linux-gnu/libvirglrenderer.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
		state.out = out ? fopen(out, "a") : NULL;
		if (!state.lib || !state.out) {
			errx(1, "no renderer, or no $RENDERER_SHARE");
		}
		state.start_ns = now_ns();
		for (unsigned i = 0; i < 1000; i++) {
			now_ns();
		}
		state.look_ns = (now_ns() - state.start_ns) / 1001;
		state.start_ns = now_ns();
	}
	symbol = dlsym(state.lib, name);
	if (!symbol) {
		errx(1, "the renderer has no %s", name);
	}
	return symbol;
}

/* Of the two looks of a call as much as one is between them: what follows the first one's clock, and what comes before the second one's. Calls that do nothing may take less than is taken off. */
static void say(void)
{
	uint64_t looks_ns = state.calls * state.look_ns;

	fprintf(state.out, "%ju %ju %ju %jd %ju\n", (uintmax_t)state.submissions, (uintmax_t)state.calls, (uintmax_t)(now_ns() - state.start_ns), (intmax_t)(state.inside_ns - looks_ns),
		(uintmax_t)(2 * looks_ns));
	fflush(state.out);
}

static void enter(void)
{
	state.calls++;
	state.enter_ns = now_ns();
}

static void leave(void)
{
	state.inside_ns += now_ns() - state.enter_ns;
}

/* One function of the library's that returns something, and one that does not. */
#define PASS(type, name, parameters, arguments)                         \
	type name parameters;                                           \
	type name parameters                                            \
	{                                                               \
		static typeof(name) *fn;                                \
		type r;                                                 \
                                                                        \
		fn = fn ? fn : (typeof(name) *)(uintptr_t)real(#name);  \
		enter();                                                \
		r = fn arguments;                                       \
		leave();                                                \
		return r;                                               \
	}
#define PASS_VOID(name, parameters, arguments)                          \
	void name parameters;                                           \
	void name parameters                                            \
	{                                                               \
		static typeof(name) *fn;                                \
                                                                        \
		fn = fn ? fn : (typeof(name) *)(uintptr_t)real(#name);  \
		enter();                                                \
		fn arguments;                                           \
		leave();                                                \
	}

typedef void (*debug_fn)(const char *fmt, va_list ap);

PASS(debug_fn, virgl_set_debug_callback, (debug_fn cb), (cb))
PASS(int, virgl_renderer_init, (void *cookie, int flags, struct virgl_renderer_callbacks *cb), (cookie, flags, cb))
PASS_VOID(virgl_renderer_poll, (void), ())
PASS(int, virgl_renderer_get_poll_fd, (void), ())
PASS_VOID(virgl_renderer_force_ctx_0, (void), ())
PASS_VOID(virgl_renderer_get_cap_set, (uint32_t set, uint32_t *version, uint32_t *size), (set, version, size))
PASS_VOID(virgl_renderer_fill_caps, (uint32_t set, uint32_t version, void *caps), (set, version, caps))
PASS(int, virgl_renderer_context_create_with_flags, (uint32_t ctx, uint32_t flags, uint32_t len, const char *name), (ctx, flags, len, name))
PASS_VOID(virgl_renderer_context_destroy, (uint32_t ctx), (ctx))
PASS_VOID(virgl_renderer_ctx_attach_resource, (int ctx, int res), (ctx, res))
PASS_VOID(virgl_renderer_ctx_detach_resource, (int ctx, int res), (ctx, res))
PASS(int, virgl_renderer_resource_create, (struct virgl_renderer_resource_create_args *args, struct iovec *iov, uint32_t n), (args, iov, n))
PASS_VOID(virgl_renderer_resource_unref, (uint32_t res), (res))
PASS(int, virgl_renderer_resource_attach_iov, (int res, struct iovec *iov, int n), (res, iov, n))
PASS_VOID(virgl_renderer_resource_detach_iov, (int res, struct iovec **iov, int *n), (res, iov, n))
PASS(int, virgl_renderer_transfer_read_iov,
	(uint32_t res, uint32_t ctx, uint32_t level, uint32_t stride, uint32_t layer_stride, struct virgl_box *box, uint64_t offset, struct iovec *iov, int n),
	(res, ctx, level, stride, layer_stride, box, offset, iov, n))
PASS(int, virgl_renderer_transfer_write_iov,
	(uint32_t res, uint32_t ctx, int level, uint32_t stride, uint32_t layer_stride, struct virgl_box *box, uint64_t offset, struct iovec *iov, unsigned n),
	(res, ctx, level, stride, layer_stride, box, offset, iov, n))
PASS(int, virgl_renderer_resource_get_info, (int res, struct virgl_renderer_resource_info *info), (res, info))
PASS(int, virgl_renderer_create_fence, (int fence, uint32_t ctx), (fence, ctx))

int virgl_renderer_submit_cmd(void *buffer, int ctx, int ndw)
{
	static typeof(virgl_renderer_submit_cmd) *fn;
	int r;

	fn = fn ? fn : (typeof(virgl_renderer_submit_cmd) *)(uintptr_t)real("virgl_renderer_submit_cmd");
	enter();
	r = fn(buffer, ctx, ndw);
	leave();
	if (++state.submissions % SUBMISSIONS_A_LINE == 0) {
		say();
	}
	return r;
}

void virgl_renderer_cleanup(void *cookie)
{
	static typeof(virgl_renderer_cleanup) *fn;

	fn = fn ? fn : (typeof(virgl_renderer_cleanup) *)(uintptr_t)real("virgl_renderer_cleanup");
	say();
	fn(cookie);
}
