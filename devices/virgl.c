/* SPDX-License-Identifier: MIT */
#include "devices/virgl.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/gpu_egl.h"

#define GL_TEXTURE_CUBE_MAP_SEAMLESS 0x884f

struct virgl virgl;

/*
 * What it says.
 */

/* What the library says for the host it says while it is opened and asked for its capabilities; all else is about what the guest has done wrong. */
static void say(const char *text)
{
	if (virgl.has_guest) {
		log_guest(&virgl.log_limit, "virglrenderer", "%.*s", (int)strcspn(text, "\n"), text);
	}
}

/* 0.10 calls this one. */
static void __attribute__((format(printf, 1, 0))) on_debug(const char *fmt, va_list ap)
{
	char text[200];

	vsnprintf(text, sizeof(text), fmt, ap);
	say(text);
}

/* And 1.0 and later this one. */
static void on_log(int level, const char *text, void *ctx)
{
	(void)level;
	(void)ctx;
	say(text);
}

/* The library would write to standard error as often as a guest likes. */
static void redirect_messages(void)
{
	void (*set_log)(void (*fn)(int level, const char *text, void *ctx), void *ctx, void (*free_ctx)(void *ctx)) = NULL;
	void (*(*set_debug)(void (*fn)(const char *fmt, va_list ap)))(const char *fmt, va_list ap) = NULL;
	void *log = dlsym(virgl.lib, "virgl_set_log_callback"), *debug = dlsym(virgl.lib, "virgl_set_debug_callback");

	if (log) {
		memcpy(&set_log, &log, sizeof(log));
		set_log(on_log, NULL, NULL);
	} else if (debug) {
		memcpy(&set_debug, &debug, sizeof(debug));
		set_debug(on_debug);
	}
}

bool virgl_load(char *why, size_t why_len)
{
	void *lib = virgl.lib ? virgl.lib : dlopen("libvirglrenderer.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	bool is_whole = lib != NULL;

	if (!lib) {
		snprintf(why, why_len, "libvirglrenderer.so.1 is missing: install libvirglrenderer1");
		return false;
	}
#define FUNCTION(name)                                                                \
	{                                                                             \
		void *symbol = dlsym(lib, "virgl_renderer_" #name);                   \
		memcpy(&virgl.name, &symbol, sizeof(symbol));                         \
		is_whole &= symbol != NULL;                                           \
	}
	VIRGL_FUNCTIONS(FUNCTION)
#undef FUNCTION
	if (!is_whole) {
		snprintf(why, why_len, "libvirglrenderer.so.1 is older than 0.9.1");
		return false;
	}
	virgl.lib = lib;
	redirect_messages();
	return true;
}

int virgl_error(int r)
{
	return r == 0 ? 0 : r > 0 ? -r : r;
}

void virgl_name_file(char *name, size_t len)
{
	void *symbol = NULL;
	char path[PATH_MAX];
	Dl_info found;

	memcpy(&symbol, &virgl.init, sizeof(symbol));
	if (dladdr(symbol, &found) && realpath(found.dli_fname, path)) {
		snprintf(name, len, "%.*s", (int)len - 1, strrchr(path, '/') + 1);
	} else {
		snprintf(name, len, "unknown");
	}
}

/* By functions that came with one. */
const char *virgl_release(void)
{
	return dlsym(virgl.lib, "virgl_renderer_resource_map_fixed") ? "1.3 or later" : dlsym(virgl.lib, "virgl_set_log_callback") ? "1.0 to 1.2" : "0.9 or 0.10";
}

/*
 * The library sets for each sampler of the guest's whether cube maps have seams. Not every OpenGL can do that for one sampler (Mesa's virgl cannot), and the library takes that error for the
 * guest's: a context is lost with its first texture. So it is kept from OpenGL there. The library calls OpenGL by pointers that are part of libepoxy's interface.
 */
static struct {
	void (*set)(unsigned sampler, unsigned name, int value); /* OpenGL's */
	bool lacks_seamless;
} samplers;

static void set_sampler(unsigned sampler, unsigned name, int value)
{
	if (name != GL_TEXTURE_CUBE_MAP_SEAMLESS || !samplers.lacks_seamless) {
		samplers.set(sampler, name, value);
	}
}

void virgl_spare_samplers(struct gpu_egl *egl)
{
	void *epoxy = dlopen("libepoxy.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
	void *pointer = epoxy ? dlsym(epoxy, "epoxy_glSamplerParameteri") : NULL;
	void (*generate)(int n, unsigned *sampler) = NULL, (*destroy)(int n, const unsigned *sampler) = NULL, (*wanted)(unsigned, unsigned, int) = set_sampler;
	unsigned (*get_error)(void) = NULL, sampler;

	if (epoxy) {
		dlclose(epoxy);
	}
	/* Before OpenGL 3.3 there are none. */
	if (!pointer || !gpu_egl_load(egl, "glSamplerParameteri", &samplers.set) || !gpu_egl_load(egl, "glGenSamplers", &generate) ||
		!gpu_egl_load(egl, "glDeleteSamplers", &destroy) || !gpu_egl_load(egl, "glGetError", &get_error)) {
		return;
	}
	get_error();
	generate(1, &sampler);
	if (get_error() != 0) {
		return;
	}
	samplers.set(sampler, GL_TEXTURE_CUBE_MAP_SEAMLESS, 0);
	samplers.lacks_seamless = get_error() != 0;
	destroy(1, &sampler);
	if (samplers.lacks_seamless) {
		memcpy(pointer, &wanted, sizeof(wanted));
	}
}
