/* SPDX-License-Identifier: MIT */
#include "devices/gpu_export.h"

#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GL/gl.h>
#include <GL/glext.h>
#include <errno.h>
#include <gbm.h>
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
	typeof(gbm_bo_create) *bo_create;
	typeof(gbm_bo_destroy) *bo_destroy;
	typeof(gbm_bo_get_modifier) *bo_modifier;
	typeof(gbm_bo_get_plane_count) *bo_planes;
	typeof(gbm_bo_get_fd_for_plane) *bo_fd;
	typeof(gbm_bo_get_stride_for_plane) *bo_stride;
	typeof(gbm_bo_get_offset) *bo_offset;
	int (*test_storage)(uint32_t width, uint32_t height, bool opaque, unsigned texture, struct display_picture *p);
} api;

void gpu_export_set_test_storage(int (*storage)(uint32_t width, uint32_t height, bool opaque, unsigned texture, struct display_picture *p))
{
	api.test_storage = storage;
}

static bool load_gl(struct gpu_egl *e)
{
	return gpu_egl_load(e, "glGenTextures", &api.gen_textures) && gpu_egl_load(e, "glDeleteTextures", &api.delete_textures) &&
		gpu_egl_load(e, "glBindTexture", &api.bind_texture) && gpu_egl_load(e, "glGetError", &api.get_error) &&
		gpu_egl_load(e, "glGenFramebuffers", &api.gen_framebuffers) && gpu_egl_load(e, "glDeleteFramebuffers", &api.delete_framebuffers) &&
		gpu_egl_load(e, "glBindFramebuffer", &api.bind_framebuffer) && gpu_egl_load(e, "glFramebufferTexture2D", &api.framebuffer_texture) &&
		gpu_egl_load(e, "glCheckFramebufferStatus", &api.check_framebuffer) && gpu_egl_load(e, "glBlitFramebuffer", &api.blit);
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
static int storage(const struct gpu_export *x, struct gpu_export_image *im, bool opaque, struct display_picture *p)
{
	EGLImageKHR image;
	bool is_ok;

	p->fourcc = opaque ? DISPLAY_XRGB8888 : DISPLAY_ARGB8888;
	im->bo = api.bo_create(x->egl->gbm, im->width, im->height, p->fourcc, GBM_BO_USE_RENDERING);
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
	return describe(im->bo, p);
}

int gpu_export_image_init(struct gpu_export *x, struct gpu_export_image *im, uint32_t width, uint32_t height, bool opaque, struct display_picture *p)
{
	int r;

	*im = (struct gpu_export_image){.width = width, .height = height};
	*p = (struct display_picture){.fd = -1, .width = width, .height = height};
	api.gen_textures(1, &im->texture);
	api.bind_texture(GL_TEXTURE_2D, im->texture);
	r = api.test_storage ? api.test_storage(width, height, opaque, im->texture, p) : storage(x, im, opaque, p);
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
 * Beginning and end.
 */

/* Return: whether a small one could be made, and copied into. */
static bool try_it(struct gpu_export *x)
{
	struct gpu_export_image a = {.texture = 0}, b = {.texture = 0};
	struct display_picture p = {.fd = -1}, q = {.fd = -1};
	bool works = gpu_export_image_init(x, &a, TRIED_SIZE, TRIED_SIZE, true, &p) == 0 && gpu_export_image_init(x, &b, TRIED_SIZE, TRIED_SIZE, false, &q) == 0 &&
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
	return 0;
}

void gpu_export_close(struct gpu_export *x)
{
	if (x->egl) {
		api.delete_framebuffers(2, x->framebuffer);
	}
	*x = (struct gpu_export){.egl = NULL};
}
