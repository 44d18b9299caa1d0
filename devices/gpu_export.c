/* SPDX-License-Identifier: MIT */
#include "devices/gpu_export.h"

#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GL/gl.h>
#include <GL/glext.h>
#include <errno.h>
#include <fcntl.h>
#include <gbm.h>
#include <libdrm/drm_fourcc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TRIED_SIZE 64u /* pixels */

static struct {
	PFNEGLCREATEIMAGEKHRPROC create_image;
	PFNEGLDESTROYIMAGEKHRPROC destroy_image;
	void (*image_target)(GLenum target, void *image);
	void (*gen_textures)(GLsizei n, GLuint *textures);
	void (*delete_textures)(GLsizei n, const GLuint *textures);
	void (*bind_texture)(GLenum target, GLuint texture);
	GLenum (*get_error)(void);
	PFNGLGENFRAMEBUFFERSPROC gen_framebuffers;
	PFNGLDELETEFRAMEBUFFERSPROC delete_framebuffers;
	PFNGLBINDFRAMEBUFFERPROC bind_framebuffer;
	PFNGLFRAMEBUFFERTEXTURE2DPROC framebuffer_texture;
	PFNGLCHECKFRAMEBUFFERSTATUSPROC check_framebuffer;
	PFNGLBLITFRAMEBUFFERPROC blit;
	PFNGLGENRENDERBUFFERSPROC gen_renderbuffers;
	PFNGLDELETERENDERBUFFERSPROC delete_renderbuffers;
	PFNGLBINDRENDERBUFFERPROC bind_renderbuffer;
	PFNGLRENDERBUFFERSTORAGEPROC renderbuffer_storage;
	PFNGLFRAMEBUFFERRENDERBUFFERPROC framebuffer_renderbuffer;
	void (*tex_image)(GLenum target, GLint level, GLint internal, GLsizei width, GLsizei height, GLint border, GLenum format, GLenum type, const void *pixels);
	PFNEGLQUERYSTRINGPROC query_string;
	PFNEGLEXPORTDMABUFIMAGEQUERYMESAPROC export_query;
	PFNEGLEXPORTDMABUFIMAGEMESAPROC export_image;
	typeof(gbm_bo_create) *bo_create;
	typeof(gbm_bo_destroy) *bo_destroy;
	typeof(gbm_bo_get_modifier) *bo_modifier;
	typeof(gbm_bo_get_plane_count) *bo_planes;
	typeof(gbm_bo_get_fd_for_plane) *bo_fd;
	typeof(gbm_bo_get_stride_for_plane) *bo_stride;
	typeof(gbm_bo_get_offset) *bo_offset;
	int (*test_storage)(uint32_t width, uint32_t height, bool opaque, bool linear, unsigned texture, struct display_picture *p);
	int (*test_texture)(unsigned texture, struct display_picture *p);
} api;

void gpu_export_set_test_storage(int (*storage)(uint32_t width, uint32_t height, bool opaque, bool linear, unsigned texture, struct display_picture *p))
{
	api.test_storage = storage;
}

void gpu_export_set_test_texture(int (*texture)(unsigned texture, struct display_picture *p))
{
	api.test_texture = texture;
}

static bool load_gl(struct gpu_egl *e)
{
	return gpu_egl_load(e, "glGenTextures", &api.gen_textures) && gpu_egl_load(e, "glDeleteTextures", &api.delete_textures) &&
		gpu_egl_load(e, "glBindTexture", &api.bind_texture) && gpu_egl_load(e, "glGetError", &api.get_error) &&
		gpu_egl_load(e, "glGenFramebuffers", &api.gen_framebuffers) && gpu_egl_load(e, "glDeleteFramebuffers", &api.delete_framebuffers) &&
		gpu_egl_load(e, "glBindFramebuffer", &api.bind_framebuffer) && gpu_egl_load(e, "glFramebufferTexture2D", &api.framebuffer_texture) &&
		gpu_egl_load(e, "glCheckFramebufferStatus", &api.check_framebuffer) && gpu_egl_load(e, "glBlitFramebuffer", &api.blit) && gpu_egl_load(e, "glGenRenderbuffers", &api.gen_renderbuffers) &&
		gpu_egl_load(e, "glDeleteRenderbuffers", &api.delete_renderbuffers) && gpu_egl_load(e, "glBindRenderbuffer", &api.bind_renderbuffer) &&
		gpu_egl_load(e, "glRenderbufferStorage", &api.renderbuffer_storage) && gpu_egl_load(e, "glFramebufferRenderbuffer", &api.framebuffer_renderbuffer) &&
		gpu_egl_load(e, "glTexImage2D", &api.tex_image);
}

static bool load_gbm(struct gpu_egl *e)
{
	return gpu_egl_load(e, "gbm_bo_create", &api.bo_create) && gpu_egl_load(e, "gbm_bo_destroy", &api.bo_destroy) &&
		gpu_egl_load(e, "gbm_bo_get_modifier", &api.bo_modifier) && gpu_egl_load(e, "gbm_bo_get_plane_count", &api.bo_planes) &&
		gpu_egl_load(e, "gbm_bo_get_fd_for_plane", &api.bo_fd) && gpu_egl_load(e, "gbm_bo_get_stride_for_plane", &api.bo_stride) &&
		gpu_egl_load(e, "gbm_bo_get_offset", &api.bo_offset);
}

static bool load_images(struct gpu_egl *e)
{
	return gpu_egl_load(e, "eglCreateImageKHR", &api.create_image) && gpu_egl_load(e, "eglDestroyImageKHR", &api.destroy_image) &&
		gpu_egl_load(e, "glEGLImageTargetTexture2DOES", &api.image_target);
}

/* Errors of what was before are not ours. */
static void forget_errors(void)
{
	for (unsigned i = 0; i < 16 && api.get_error() != GL_NO_ERROR; i++) {
	}
}

/*
 * Buffers.
 */

/* Return: 0, or -errno; then no descriptor is left. */
static int describe(struct gbm_bo *bo, struct display_picture *p)
{
	int n = api.bo_planes(bo);

	p->planes = (struct display_planes){.modifier = api.bo_modifier(bo)};
	if (n < 1 || n > DISPLAY_PLANES_MAX) {
		return -ENOTSUP;
	}
	for (int i = 0; i < n; i++) {
		int fd = api.bo_fd(bo, i);

		if (fd < 0) {
			display_picture_close(p);
			return -ENOTSUP;
		}
		p->planes.fd[i] = fd;
		p->planes.offset[i] = api.bo_offset(bo, i);
		p->planes.stride[i] = api.bo_stride(bo, i);
		p->planes.n++;
	}
	return 0;
}

/* The bound texture's storage is a buffer of GBM's. */
static int storage(const struct gpu_export *x, struct gpu_export_image *im, bool opaque, bool linear, struct display_picture *p)
{
	EGLImageKHR image;
	bool is_ok;
	int r;

	p->fourcc = opaque ? DISPLAY_XRGB8888 : DISPLAY_ARGB8888;
	im->bo = api.bo_create(x->egl->gbm, im->width, im->height, p->fourcc, GBM_BO_USE_RENDERING | (linear ? GBM_BO_USE_LINEAR : 0));
	image = im->bo ? api.create_image(x->egl->display, EGL_NO_CONTEXT, EGL_NATIVE_PIXMAP_KHR, im->bo, NULL) : EGL_NO_IMAGE_KHR;
	if (image == EGL_NO_IMAGE_KHR) {
		return im->bo ? -ENOTSUP : -ENOMEM;
	}
	forget_errors();
	api.image_target(GL_TEXTURE_2D, image);
	is_ok = api.get_error() == GL_NO_ERROR;
	api.destroy_image(x->egl->display, image);
	if (!is_ok) {
		return -ENOTSUP;
	}
	r = describe(im->bo, p);
	if (r == 0 && linear && p->planes.n == 1) {
		/* Drivers that know no modifiers do not say so. */
		p->planes.modifier = DRM_FORMAT_MOD_LINEAR;
	}
	return r;
}

int gpu_export_image_init(struct gpu_export *x, struct gpu_export_image *im, uint32_t width, uint32_t height, bool opaque, bool linear, struct display_picture *p)
{
	int r;

	*im = (struct gpu_export_image){.width = width, .height = height};
	*p = (struct display_picture){.fd = -1, .width = width, .height = height};
	api.gen_textures(1, &im->texture);
	api.bind_texture(GL_TEXTURE_2D, im->texture);
	r = api.test_storage ? api.test_storage(width, height, opaque, linear, im->texture, p) : storage(x, im, opaque, linear, p);
	api.bind_texture(GL_TEXTURE_2D, 0);
	if (r < 0) {
		gpu_export_image_finish(x, im);
	}
	return r;
}

void gpu_export_image_finish(struct gpu_export *x, struct gpu_export_image *im)
{
	(void)x;
	if (im->texture) {
		api.delete_textures(1, &im->texture);
	}
	if (im->bo) {
		api.bo_destroy(im->bo);
	}
	*im = (struct gpu_export_image){.texture = 0};
}

/*
 * Copies.
 */

int gpu_export_copy(struct gpu_export *x, const struct gpu_export_part *from, const struct gpu_export_image *to)
{
	static const GLenum targets[] = {GL_READ_FRAMEBUFFER, GL_DRAW_FRAMEBUFFER};
	const GLint left = (GLint)from->x, right = (GLint)(from->x + to->width), width = (GLint)to->width, height = (GLint)to->height;
	GLint top = (GLint)from->y, bottom = (GLint)(from->y + to->height);
	GLenum error;

	if (from->is_upside_down) {
		top = (GLint)(from->texture_height - from->y);
		bottom = top - height;
	}
	forget_errors();
	for (unsigned i = 0; i < 2; i++) {
		api.bind_framebuffer(targets[i], x->framebuffer[i]);
		api.framebuffer_texture(targets[i], GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, i == 0 ? from->texture : to->texture, 0);
	}
	if (api.check_framebuffer(GL_READ_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE && api.check_framebuffer(GL_DRAW_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE) {
		api.blit(left, top, right, bottom, 0, 0, width, height, GL_COLOR_BUFFER_BIT, GL_NEAREST);
		error = api.get_error();
	} else {
		error = GL_INVALID_FRAMEBUFFER_OPERATION;
	}
	/* A texture that is attached lives on when its resource is gone. */
	for (unsigned i = 0; i < 2; i++) {
		api.framebuffer_texture(targets[i], GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, 0, 0);
		api.bind_framebuffer(targets[i], 0);
	}
	return error == GL_NO_ERROR ? 0 : error == GL_OUT_OF_MEMORY ? -ENOMEM : -EIO;
}

/*
 * Textures as they are.
 */

/* Without alpha, when that says nothing. Return: 0 for what viewers are not told about. */
static uint32_t fourcc_of(uint32_t fourcc, bool opaque)
{
	static const uint32_t known[][2] = {{DISPLAY_ARGB8888, DISPLAY_XRGB8888}, {DISPLAY_ABGR8888, DISPLAY_XBGR8888}, {DISPLAY_RGBA8888, DISPLAY_RGBX8888}, {DISPLAY_BGRA8888, DISPLAY_BGRX8888}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (fourcc == known[i][0] || fourcc == known[i][1]) {
			return opaque ? known[i][1] : fourcc;
		}
	}
	return 0;
}

/* Return: 0, or -errno; then no descriptor is left. */
static int export_planes(const struct gpu_export *x, EGLImageKHR image, bool opaque, struct display_picture *p)
{
	EGLuint64KHR modifiers[DISPLAY_PLANES_MAX] = {0};
	EGLint strides[DISPLAY_PLANES_MAX] = {0}, offsets[DISPLAY_PLANES_MAX] = {0};
	int fourcc = 0, n = 0, fds[DISPLAY_PLANES_MAX] = {-1, -1, -1, -1};

	if (!api.export_query(x->egl->display, image, &fourcc, &n, NULL) || n < 1 || n > DISPLAY_PLANES_MAX || !api.export_query(x->egl->display, image, NULL, NULL, modifiers)) {
		return -ENOTSUP;
	}
	p->fourcc = fourcc_of((uint32_t)fourcc, opaque);
	if (!p->fourcc || !api.export_image(x->egl->display, image, fds, strides, offsets)) {
		return -ENOTSUP;
	}
	p->planes = (struct display_planes){.modifier = modifiers[0], .is_direct = true};
	for (int i = 0; i < n; i++) {
		/* Planes of one buffer may have one descriptor. */
		int fd = fds[i] < 0 && i > 0 ? fcntl(p->planes.fd[i - 1], F_DUPFD_CLOEXEC, 0) : fds[i];

		if (fd < 0) {
			for (int k = i + 1; k < n; k++) {
				if (fds[k] >= 0) {
					close(fds[k]);
				}
			}
			display_picture_close(p);
			return -ENOTSUP;
		}
		p->planes.fd[i] = fd;
		p->planes.offset[i] = (uint32_t)offsets[i];
		p->planes.stride[i] = (uint32_t)strides[i];
		p->planes.n++;
	}
	return 0;
}

int gpu_export_texture(struct gpu_export *x, unsigned texture, uint32_t width, uint32_t height, bool opaque, struct display_picture *p)
{
	EGLImageKHR image;
	int r;

	*p = (struct display_picture){.fd = -1, .width = width, .height = height};
	if (x->no_direct[0]) {
		return -ENOTSUP;
	}
	if (api.test_texture) {
		r = api.test_texture(texture, p);
		p->fourcc = r == 0 ? fourcc_of(p->fourcc, opaque) : 0;
		p->planes.is_direct = true;
		return r;
	}
	/* With a context: without one Mesa crashes. */
	image = api.create_image(x->egl->display, x->egl->base, EGL_GL_TEXTURE_2D_KHR, (EGLClientBuffer)(uintptr_t)texture, NULL);
	if (image == EGL_NO_IMAGE_KHR) {
		return -ENOTSUP;
	}
	r = export_planes(x, image, opaque, p);
	/* The descriptors stay good. */
	api.destroy_image(x->egl->display, image);
	return r;
}

int gpu_export_await(struct gpu_export *x, unsigned texture)
{
	GLenum error = GL_INVALID_FRAMEBUFFER_OPERATION;

	/* Whoever reads a pixel of it waits for whoever has drawn it, wherever that was. */
	forget_errors();
	api.bind_framebuffer(GL_READ_FRAMEBUFFER, x->framebuffer[0]);
	api.framebuffer_texture(GL_READ_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, texture, 0);
	api.bind_framebuffer(GL_DRAW_FRAMEBUFFER, x->sink);
	if (api.check_framebuffer(GL_READ_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE) {
		api.blit(0, 0, 1, 1, 0, 0, 1, 1, GL_COLOR_BUFFER_BIT, GL_NEAREST);
		error = api.get_error();
	}
	api.framebuffer_texture(GL_READ_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, 0, 0);
	api.bind_framebuffer(GL_READ_FRAMEBUFFER, 0);
	api.bind_framebuffer(GL_DRAW_FRAMEBUFFER, 0);
	return error == GL_NO_ERROR ? 0 : error == GL_OUT_OF_MEMORY ? -ENOMEM : -EIO;
}

/* What awaiting takes. */
static void make_sink(struct gpu_export *x)
{
	api.gen_framebuffers(1, &x->sink);
	api.gen_renderbuffers(1, &x->pixel);
	api.bind_renderbuffer(GL_RENDERBUFFER, x->pixel);
	api.renderbuffer_storage(GL_RENDERBUFFER, GL_RGBA8, 1, 1);
	api.bind_framebuffer(GL_DRAW_FRAMEBUFFER, x->sink);
	api.framebuffer_renderbuffer(GL_DRAW_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_RENDERBUFFER, x->pixel);
	api.bind_framebuffer(GL_DRAW_FRAMEBUFFER, 0);
	api.bind_renderbuffer(GL_RENDERBUFFER, 0);
}

/* Whether textures can leave as they are, which is tried with a small one. */
static void try_direct(struct gpu_export *x)
{
	const char *extensions = gpu_egl_load(x->egl, "eglQueryString", &api.query_string) ? api.query_string(x->egl->display, EGL_EXTENSIONS) : NULL;
	struct display_picture p = {.fd = -1};
	unsigned texture;

	if (!api.test_texture && (!extensions || !strstr(extensions, "EGL_MESA_image_dma_buf_export") || !gpu_egl_load(x->egl, "eglExportDMABUFImageQueryMESA", &api.export_query) ||
				  !gpu_egl_load(x->egl, "eglExportDMABUFImageMESA", &api.export_image))) {
		snprintf(x->no_direct, sizeof(x->no_direct), "EGL exports no textures");
		return;
	}
	api.gen_textures(1, &texture);
	api.bind_texture(GL_TEXTURE_2D, texture);
	api.tex_image(GL_TEXTURE_2D, 0, GL_RGBA8, TRIED_SIZE, TRIED_SIZE, 0, GL_RGBA, GL_UNSIGNED_BYTE, NULL);
	api.bind_texture(GL_TEXTURE_2D, 0);
	if (gpu_export_texture(x, texture, TRIED_SIZE, TRIED_SIZE, false, &p) < 0 || gpu_export_await(x, texture) < 0) {
		snprintf(x->no_direct, sizeof(x->no_direct), "the driver exports no textures");
	}
	display_picture_close(&p);
	api.delete_textures(1, &texture);
}

/*
 * Beginning and end.
 */

/* Return: whether a small one could be made, and copied into. */
static bool try_it(struct gpu_export *x)
{
	struct gpu_export_image a = {.texture = 0}, b = {.texture = 0};
	struct display_picture p = {.fd = -1}, q = {.fd = -1};
	bool works = gpu_export_image_init(x, &a, TRIED_SIZE, TRIED_SIZE, true, false, &p) == 0 && gpu_export_image_init(x, &b, TRIED_SIZE, TRIED_SIZE, false, false, &q) == 0 &&
		gpu_export_copy(x, &(const struct gpu_export_part){.texture = a.texture}, &b) == 0;

	display_picture_close(&p);
	display_picture_close(&q);
	gpu_export_image_finish(x, &a);
	gpu_export_image_finish(x, &b);
	return works;
}

int gpu_export_open(struct gpu_export *x, struct gpu_egl *egl, char *why, size_t why_len)
{
	*x = (struct gpu_export){.egl = NULL};
	if (!load_gl(egl)) {
		snprintf(why, why_len, "OpenGL lacks framebuffer objects");
		return -ENOTSUP;
	}
	if (!api.test_storage && !egl->gbm) {
		snprintf(why, why_len, "there is no render node");
		return -ENOTSUP;
	}
	if (!api.test_storage && (!load_gbm(egl) || !load_images(egl))) {
		snprintf(why, why_len, "libgbm1 or EGL is too old");
		return -ENOTSUP;
	}
	x->egl = egl;
	api.gen_framebuffers(2, x->framebuffer);
	if (!try_it(x)) {
		snprintf(why, why_len, "%s gives no buffer that can leave as a dma-buf", egl->driver[0] ? egl->driver : "the driver");
		gpu_export_close(x);
		return -ENOTSUP;
	}
	make_sink(x);
	try_direct(x);
	return 0;
}

void gpu_export_close(struct gpu_export *x)
{
	if (x->egl) {
		api.delete_framebuffers(2, x->framebuffer);
	}
	if (x->sink) {
		api.delete_framebuffers(1, &x->sink);
		api.delete_renderbuffers(1, &x->pixel);
	}
	*x = (struct gpu_export){.egl = NULL};
}
