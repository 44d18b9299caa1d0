/* SPDX-License-Identifier: MIT */
#include "display/view_import.h"

#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GL/gl.h>
#include <GL/glext.h>
#include <glob.h>
#include <libdrm/drm_fourcc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "display/buffer.h"

#define MODIFIERS_MAX 60 /* of a format */

/* Windows have contexts of one kind: what is found for one is good for all. */
static struct {
	EGLDisplay display;
	typeof(eglGetCurrentDisplay) *get_display;
	typeof(eglQueryString) *query_string;
	PFNEGLCREATEIMAGEKHRPROC create_image;
	PFNEGLDESTROYIMAGEKHRPROC destroy_image;
	PFNEGLQUERYDMABUFFORMATSEXTPROC query_formats; /* NULL: it says nothing of formats and modifiers */
	PFNEGLQUERYDMABUFMODIFIERSEXTPROC query_modifiers;
	PFNEGLQUERYDISPLAYATTRIBEXTPROC query_display; /* NULL, as the next: it does not say whose it is */
	PFNEGLQUERYDEVICESTRINGEXTPROC query_device;
	void (*image_target)(GLenum target, void *image);
	typeof(glGenTextures) *gen_textures;
	typeof(glDeleteTextures) *delete_textures;
	typeof(glBindTexture) *bind_texture;
	typeof(glGetIntegerv) *get_integer;
	typeof(glGetError) *get_error;
	typeof(glFinish) *finish;
	PFNGLGENFRAMEBUFFERSPROC gen_framebuffers;
	PFNGLDELETEFRAMEBUFFERSPROC delete_framebuffers;
	PFNGLBINDFRAMEBUFFERPROC bind_framebuffer;
	PFNGLFRAMEBUFFERTEXTURE2DPROC framebuffer_texture;
	PFNGLCHECKFRAMEBUFFERSTATUSPROC check_framebuffer;
	PFNGLBLITFRAMEBUFFERPROC blit;
} api;

static bool load(void *(*get)(const char *name), const char *name, void *to)
{
	void *symbol = get(name);

	memcpy(to, &symbol, sizeof(symbol));
	return symbol != NULL;
}

static bool load_all(void *(*get)(const char *name))
{
	load(get, "eglQueryDmaBufFormatsEXT", &api.query_formats);
	load(get, "eglQueryDmaBufModifiersEXT", &api.query_modifiers);
	load(get, "eglQueryDisplayAttribEXT", &api.query_display);
	load(get, "eglQueryDeviceStringEXT", &api.query_device);
	return load(get, "eglQueryString", &api.query_string) && load(get, "eglCreateImageKHR", &api.create_image) && load(get, "eglDestroyImageKHR", &api.destroy_image) &&
		load(get, "glEGLImageTargetTexture2DOES", &api.image_target) && load(get, "glGenTextures", &api.gen_textures) &&
		load(get, "glDeleteTextures", &api.delete_textures) && load(get, "glBindTexture", &api.bind_texture) && load(get, "glGetIntegerv", &api.get_integer) &&
		load(get, "glGetError", &api.get_error) && load(get, "glFinish", &api.finish) && load(get, "glGenFramebuffers", &api.gen_framebuffers) &&
		load(get, "glDeleteFramebuffers", &api.delete_framebuffers) && load(get, "glBindFramebuffer", &api.bind_framebuffer) &&
		load(get, "glFramebufferTexture2D", &api.framebuffer_texture) && load(get, "glCheckFramebufferStatus", &api.check_framebuffer) &&
		load(get, "glBlitFramebuffer", &api.blit);
}

/*
 * What can be imported.
 */

static bool is_device(const char *path, uint32_t major_number, uint32_t minor_number)
{
	struct stat st;

	return path && stat(path, &st) == 0 && major(st.st_rdev) == major_number && minor(st.st_rdev) == minor_number;
}

/* Whether the display draws with the device pictures come from: only then a layout that is not said means the same on both sides. */
static bool draws_with(void *display, uint32_t major_number, uint32_t minor_number)
{
	EGLAttrib device = 0;
	bool is_only;
	glob_t nodes;

	if (api.query_display && api.query_device && api.query_display(display, EGL_DEVICE_EXT, &device) && device &&
		api.query_device((EGLDeviceEXT)device, EGL_DRM_RENDER_NODE_FILE_EXT)) {
		return is_device(api.query_device((EGLDeviceEXT)device, EGL_DRM_RENDER_NODE_FILE_EXT), major_number, minor_number);
	}
	/* It does not say. Where there is one it can be no other. */
	if (glob("/dev/dri/renderD*", 0, NULL, &nodes) != 0) {
		return false;
	}
	is_only = nodes.gl_pathc == 1 && is_device(nodes.gl_pathv[0], major_number, minor_number);
	globfree(&nodes);
	return is_only;
}

static void add(struct view_import *im, uint32_t fourcc, uint64_t modifier)
{
	if (im->nformats < VIEWER_FORMATS_MAX) {
		im->format[im->nformats++] = (struct viewer_format){.fourcc = fourcc, .modifier = modifier};
	}
}

static void find_formats(struct view_import *im, bool is_same_device)
{
	static const uint32_t fourccs[] = {DISPLAY_XRGB8888, DISPLAY_ARGB8888, DISPLAY_XBGR8888, DISPLAY_ABGR8888};
	EGLuint64KHR modifiers[MODIFIERS_MAX];
	EGLBoolean external[MODIFIERS_MAX];

	for (size_t i = 0; i < sizeof(fourccs) / sizeof(fourccs[0]); i++) {
		EGLint n = 0;

		if (api.query_modifiers && !api.query_modifiers(api.display, (EGLint)fourccs[i], MODIFIERS_MAX, modifiers, external, &n)) {
			continue;
		}
		for (EGLint k = 0; k < n; k++) {
			if (!external[k]) {
				add(im, fourccs[i], modifiers[k]);
			}
		}
		if (is_same_device) {
			add(im, fourccs[i], DRM_FORMAT_MOD_INVALID);
		}
	}
}

bool view_import_open(struct view_import *im, void *(*get)(const char *name), uint32_t render_major, uint32_t render_minor, char *why, size_t why_len)
{
	const char *extensions;

	*im = (struct view_import){.works = false};
	api.display = load(get, "eglGetCurrentDisplay", &api.get_display) ? api.get_display() : NULL;
	if (!api.display || !load_all(get)) {
		snprintf(why, why_len, api.display ? "its OpenGL lacks what it takes" : "its window is not drawn with EGL");
		return false;
	}
	extensions = api.query_string(api.display, EGL_EXTENSIONS);
	if (!extensions || !strstr(extensions, "EGL_EXT_image_dma_buf_import")) {
		snprintf(why, why_len, "the OpenGL of its window imports no dma-bufs");
		return false;
	}
	/* An address says nothing of whether there is such a function. */
	if (!strstr(extensions, "EGL_EXT_image_dma_buf_import_modifiers")) {
		api.query_modifiers = NULL;
	}
	find_formats(im, draws_with(api.display, render_major, render_minor));
	im->works = im->nformats > 0;
	if (!im->works) {
		snprintf(why, why_len, "its window is drawn by another GPU, and that says no modifiers");
	}
	return im->works;
}

/*
 * Importing.
 */

static EGLImageKHR import(const struct view_picture *p)
{
	static const EGLint names[VIEWER_FDS_MAX][5] = {
		{EGL_DMA_BUF_PLANE0_FD_EXT, EGL_DMA_BUF_PLANE0_OFFSET_EXT, EGL_DMA_BUF_PLANE0_PITCH_EXT, EGL_DMA_BUF_PLANE0_MODIFIER_LO_EXT, EGL_DMA_BUF_PLANE0_MODIFIER_HI_EXT},
		{EGL_DMA_BUF_PLANE1_FD_EXT, EGL_DMA_BUF_PLANE1_OFFSET_EXT, EGL_DMA_BUF_PLANE1_PITCH_EXT, EGL_DMA_BUF_PLANE1_MODIFIER_LO_EXT, EGL_DMA_BUF_PLANE1_MODIFIER_HI_EXT},
		{EGL_DMA_BUF_PLANE2_FD_EXT, EGL_DMA_BUF_PLANE2_OFFSET_EXT, EGL_DMA_BUF_PLANE2_PITCH_EXT, EGL_DMA_BUF_PLANE2_MODIFIER_LO_EXT, EGL_DMA_BUF_PLANE2_MODIFIER_HI_EXT},
		{EGL_DMA_BUF_PLANE3_FD_EXT, EGL_DMA_BUF_PLANE3_OFFSET_EXT, EGL_DMA_BUF_PLANE3_PITCH_EXT, EGL_DMA_BUF_PLANE3_MODIFIER_LO_EXT, EGL_DMA_BUF_PLANE3_MODIFIER_HI_EXT},
	};
	EGLint a[6 + 10 * VIEWER_FDS_MAX + 1] = {EGL_WIDTH, (EGLint)p->width, EGL_HEIGHT, (EGLint)p->height, EGL_LINUX_DRM_FOURCC_EXT, (EGLint)p->fourcc};
	unsigned n = 6;

	for (unsigned i = 0; i < p->nplanes; i++) {
		const EGLint values[5] = {p->plane_fd[i], (EGLint)p->plane_offset[i], (EGLint)p->plane_stride[i], (EGLint)(uint32_t)p->modifier, (EGLint)(p->modifier >> 32)};

		for (unsigned k = 0; k < (p->modifier == DRM_FORMAT_MOD_INVALID ? 3u : 5u); k++) {
			a[n++] = names[i][k];
			a[n++] = values[k];
		}
	}
	a[n] = EGL_NONE;
	return api.create_image(api.display, EGL_NO_CONTEXT, EGL_LINUX_DMA_BUF_EXT, NULL, a);
}

static void unimport(struct view_picture *p)
{
	api.destroy_image(api.display, p->import);
}

/* A buffer is announced once, and many frames come in it. Return: false when it cannot be imported. */
static bool import_once(struct view_picture *p)
{
	if (!p->import) {
		p->import = import(p);
		p->unimport = unimport;
	}
	return p->import;
}

/* From the texture that is bound, with a framebuffer of its own that is gone again. Return: whether it was drawn. */
static bool blit(GLuint texture, GLint draw, const struct view_picture *p, const struct display_rect *crop)
{
	/* One with row 0 at the bottom is drawn as it lies in memory too. */
	GLint left = (GLint)crop->x, top = (GLint)(p->y_inverted ? p->height - crop->y - crop->h : crop->y), w = (GLint)crop->w, h = (GLint)crop->h;
	GLuint framebuffer;
	bool is_whole;

	api.gen_framebuffers(1, &framebuffer);
	api.bind_framebuffer(GL_READ_FRAMEBUFFER, framebuffer);
	api.framebuffer_texture(GL_READ_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, texture, 0);
	is_whole = api.check_framebuffer(GL_READ_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE;
	if (is_whole) {
		api.blit(left, top, left + w, top + h, 0, 0, w, h, GL_COLOR_BUFFER_BIT, GL_NEAREST);
	}
	api.bind_framebuffer(GL_READ_FRAMEBUFFER, (GLuint)draw);
	api.delete_framebuffers(1, &framebuffer);
	return is_whole;
}

bool view_import_draw(struct view_picture *p, const struct display_rect *crop, char *why, size_t why_len)
{
	GLint draw = 0, bound = 0;
	bool is_drawn;
	GLuint texture;

	if (!import_once(p)) {
		snprintf(why, why_len, "the import of %.4s with modifier 0x%016llx failed", (const char *)&p->fourcc, (unsigned long long)p->modifier);
		return false;
	}
	/* SDL remembers what it has bound. */
	api.get_integer(GL_DRAW_FRAMEBUFFER_BINDING, &draw);
	api.get_integer(GL_TEXTURE_BINDING_2D, &bound);
	for (unsigned i = 0; i < 16 && api.get_error() != GL_NO_ERROR; i++) {
	}
	api.gen_textures(1, &texture);
	api.bind_texture(GL_TEXTURE_2D, texture);
	/* Anew for each frame: that tells the driver that what is in it has changed. */
	api.image_target(GL_TEXTURE_2D, p->import);
	is_drawn = api.get_error() == GL_NO_ERROR && blit(texture, draw, p, crop) && api.get_error() == GL_NO_ERROR;
	api.bind_texture(GL_TEXTURE_2D, (GLuint)bound);
	api.delete_textures(1, &texture);
	/* The monitor may have the next one copied into it as soon as it is released. */
	api.finish();
	if (!is_drawn) {
		snprintf(why, why_len, "a dma-buf of %.4s could not be drawn", (const char *)&p->fourcc);
	}
	return is_drawn;
}
