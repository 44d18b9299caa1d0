/* SPDX-License-Identifier: MIT */
#include "devices/gpu_egl.h"

#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <dlfcn.h>
#include <errno.h>
#include <gbm.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "devices/gpu_node.h"

#define GL_RENDERER 0x1f01
#define GL_VERSION 0x1f02

/* Loaded once and never unloaded: OpenGL drivers leave threads and handlers behind that would be without their code. */
struct gpu_egl_api {
	typeof(eglGetProcAddress) *get_proc_address;
	typeof(eglGetPlatformDisplay) *get_platform_display;
	typeof(eglInitialize) *initialize;
	typeof(eglTerminate) *terminate;
	typeof(eglBindAPI) *bind_api;
	typeof(eglCreateContext) *create_context;
	typeof(eglDestroyContext) *destroy_context;
	typeof(eglMakeCurrent) *make_current;
	typeof(eglReleaseThread) *release_thread;
	void *gbm; /* the library */
	typeof(gbm_create_device) *gbm_create;
	typeof(gbm_device_destroy) *gbm_destroy;
};

static struct gpu_egl_api api;
static bool test_no_contexts, test_lost;

static int fail(int r, char *why, size_t why_len, const char *text)
{
	snprintf(why, why_len, "%s", text);
	return r;
}

/* Return: whether @name of @lib could be loaded. */
static bool load(void *lib, const char *name, void *to)
{
	void *symbol = dlsym(lib, name);

	memcpy(to, &symbol, sizeof(symbol));
	return symbol != NULL;
}

static int load_api(bool with_gbm, char *why, size_t why_len)
{
	void *egl = dlopen("libEGL.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	void *gbm = with_gbm ? dlopen("libgbm.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) : NULL;

	if (!egl || (with_gbm && !gbm)) {
		return fail(-ENOENT, why, why_len, egl ? "libgbm.so.1 is missing: install libgbm1" : "libEGL.so.1 is missing: install libegl1 and libgl1-mesa-dri");
	}
	if (!load(egl, "eglGetProcAddress", &api.get_proc_address) || !load(egl, "eglGetPlatformDisplay", &api.get_platform_display) ||
		!load(egl, "eglInitialize", &api.initialize) || !load(egl, "eglTerminate", &api.terminate) || !load(egl, "eglBindAPI", &api.bind_api) ||
		!load(egl, "eglCreateContext", &api.create_context) || !load(egl, "eglDestroyContext", &api.destroy_context) ||
		!load(egl, "eglMakeCurrent", &api.make_current) || !load(egl, "eglReleaseThread", &api.release_thread)) {
		return fail(-ENOSYS, why, why_len, "libEGL.so.1 is older than EGL 1.5");
	}
	api.gbm = gbm;
	if (gbm && (!load(gbm, "gbm_create_device", &api.gbm_create) || !load(gbm, "gbm_device_destroy", &api.gbm_destroy))) {
		return fail(-ENOSYS, why, why_len, "libgbm.so.1 lacks gbm_create_device");
	}
	return 0;
}

/*
 * The display.
 */

bool gpu_egl_load(struct gpu_egl *e, const char *name, void *to)
{
	void (*symbol)(void);

	if (strncmp(name, "gbm_", 4) == 0) {
		return e->gbm && load(api.gbm, name, to);
	}
	symbol = api.get_proc_address(name);
	memcpy(to, &symbol, sizeof(symbol));
	return symbol != NULL;
}

static void gl_string(struct gpu_egl *e, unsigned name, char *to, size_t len)
{
	const unsigned char *(*get_string)(unsigned) = NULL;
	const unsigned char *text = gpu_egl_load(e, "glGetString", &get_string) ? get_string(name) : NULL;

	snprintf(to, len, "%s", text ? (const char *)text : "unknown");
}

/* All that share are of one kind. Return: NULL when there is none. */
static void *create_base(struct gpu_egl *e)
{
	void *context;

	e->tells_reset = true;
	context = gpu_egl_create_context(e, 3, 1);
	if (!context) {
		e->tells_reset = false;
		context = gpu_egl_create_context(e, 3, 1);
	}
	return context;
}

/* Once: it is asked for each fence. Where there is no such function asking is an error, and the renderer would take that for the guest's. The base context is current. */
static void find_reset_status(struct gpu_egl *e)
{
	unsigned (*get_error)(void) = NULL, (*reset_status)(void) = NULL;

	if (e->tells_reset && gpu_egl_load(e, "glGetError", &get_error) && gpu_egl_load(e, "glGetGraphicsResetStatus", &reset_status)) {
		reset_status();
		e->reset_status = get_error() == 0 ? reset_status : NULL;
	}
}

/* Return: 0, or -errno with @why. What has been made is for gpu_egl_close. */
static int open_display(struct gpu_egl *e, char *why, size_t why_len)
{
	int major, minor;

	if (e->fd >= 0) {
		e->gbm = api.gbm_create(e->fd);
		if (!e->gbm) {
			return fail(-ENODEV, why, why_len, "Mesa has no driver for it: install libgl1-mesa-dri");
		}
	}
	e->display = api.get_platform_display(e->gbm ? EGL_PLATFORM_GBM_KHR : EGL_PLATFORM_SURFACELESS_MESA, e->gbm ? e->gbm : EGL_DEFAULT_DISPLAY, NULL);
	if (e->display == EGL_NO_DISPLAY || !api.initialize(e->display, &major, &minor)) {
		e->display = NULL;
		return fail(-ENODEV, why, why_len, "EGL does not work on it: install libgl1-mesa-dri");
	}
	e->base = api.bind_api(EGL_OPENGL_API) ? create_base(e) : NULL;
	if (!e->base || !gpu_egl_make_current(e, e->base)) {
		return fail(-ENODEV, why, why_len, "it has no OpenGL 3.1 without a surface");
	}
	find_reset_status(e);
	e->reserve = gpu_egl_create_context(e, 3, 1);
	if (!e->reserve) {
		return fail(-ENODEV, why, why_len, "it has only one OpenGL context");
	}
	gl_string(e, GL_RENDERER, e->renderer, sizeof(e->renderer));
	gl_string(e, GL_VERSION, e->version, sizeof(e->version));
	return 0;
}

bool gpu_egl_is_software(const char *renderer)
{
	static const char *const names[] = {"llvmpipe", "softpipe", "swrast", "Software Rasterizer"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(renderer, names[i], strlen(names[i])) == 0) {
			return true;
		}
	}
	return false;
}

/* @node: NULL: none. Return: 0, or -errno with @why; then nothing is left open. */
static int open_on(struct gpu_egl *e, const struct gpu_node *node, char *why, size_t why_len)
{
	char reason[160];
	int r;

	*e = (struct gpu_egl){.fd = -1, .node = "surfaceless"};
	if (node) {
		memcpy(e->node, node->path, sizeof(e->node));
		memcpy(e->driver, node->driver, sizeof(e->driver));
		e->fd = gpu_node_open(node->path);
	}
	r = node && e->fd < 0 ? fail(e->fd, reason, sizeof(reason), strerror(-e->fd)) : load_api(node, reason, sizeof(reason));
	e->api = r == 0 ? &api : NULL;
	if (r == 0) {
		r = open_display(e, reason, sizeof(reason));
	}
	if (r < 0) {
		snprintf(why, why_len, "%s%s%s: %s", e->node, e->driver[0] ? ", driver " : "", e->driver, reason);
		gpu_egl_close(e);
	}
	return r;
}

static int try_node(void *ctx, const struct gpu_node *node, bool *is_software, char *why, size_t why_len)
{
	struct gpu_egl *e = ctx;
	int r;

	gpu_egl_close(e);
	r = open_on(e, node, why, why_len);
	*is_software = r == 0 && gpu_egl_is_software(e->renderer);
	return r;
}

int gpu_egl_open(struct gpu_egl *e, const char *want, char *why, size_t why_len)
{
	const struct gpu_node_trial trial = {.try = try_node, .ctx = e};
	struct gpu_nodes nodes;
	int r;

	*e = (struct gpu_egl){.fd = -1};
	if (strcmp(want, "surfaceless") == 0) {
		return open_on(e, NULL, why, why_len);
	}
	r = gpu_node_find(&gpu_node_host, want, &nodes, why, why_len);
	if (r == 0) {
		r = gpu_node_choose(&nodes, &trial, why, why_len);
	}
	return r < 0 ? r : 0;
}

void gpu_egl_close(struct gpu_egl *e)
{
	if (e->display) {
		gpu_egl_make_current(e, NULL);
		if (e->reserve) {
			gpu_egl_destroy_context(e, e->reserve);
		}
		if (e->base) {
			gpu_egl_destroy_context(e, e->base);
		}
		api.terminate(e->display);
		api.release_thread();
	}
	if (e->gbm) {
		api.gbm_destroy(e->gbm);
	}
	/* Zeroed memory has no descriptor 0. */
	if (e->fd > 0) {
		close(e->fd);
	}
	*e = (struct gpu_egl){.fd = -1};
}

void *gpu_egl_create_context(struct gpu_egl *e, int major, int minor)
{
	/* The last two are for those that tell. */
	const EGLint attributes[] = {EGL_CONTEXT_MAJOR_VERSION, major, EGL_CONTEXT_MINOR_VERSION, minor, EGL_CONTEXT_OPENGL_PROFILE_MASK, EGL_CONTEXT_OPENGL_CORE_PROFILE_BIT,
		e->tells_reset ? EGL_CONTEXT_OPENGL_RESET_NOTIFICATION_STRATEGY : EGL_NONE, EGL_LOSE_CONTEXT_ON_RESET, EGL_NONE};

	if (test_no_contexts) {
		return NULL;
	}
	api.bind_api(EGL_OPENGL_API);
	return api.create_context(e->display, EGL_NO_CONFIG_KHR, e->base ? e->base : EGL_NO_CONTEXT, attributes);
}

bool gpu_egl_is_lost(struct gpu_egl *e)
{
	return test_lost || (e->reset_status && e->reset_status() != 0);
}

void gpu_egl_set_test_lost(bool is_lost)
{
	test_lost = is_lost;
}

void gpu_egl_destroy_context(struct gpu_egl *e, void *context)
{
	api.destroy_context(e->display, context);
}

bool gpu_egl_make_current(struct gpu_egl *e, void *context)
{
	api.bind_api(EGL_OPENGL_API);
	return api.make_current(e->display, EGL_NO_SURFACE, EGL_NO_SURFACE, context ? context : EGL_NO_CONTEXT);
}

void gpu_egl_set_test_no_contexts(bool none)
{
	test_no_contexts = none;
}
