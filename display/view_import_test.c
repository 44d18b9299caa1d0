/* SPDX-License-Identifier: MIT */
/* What the window says that it can import, by what its EGL says, what it imports and how often, and imports that fail: with an EGL and an OpenGL that are played here. */
#include "display/view_import.h"

#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GL/gl.h>
#include <GL/glext.h>
#include <libdrm/drm_fourcc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <cmocka.h>

#include "display/buffer.h"

#define MODIFIER 0x42u
#define EXTERNAL 0x43u /* only a sampler of its own kind reads it */

/* What there is. */
static struct {
	const char *extensions, *missing; /* a name that has no address; NULL: all have one */
	const char *node; /* of the display's device; NULL: it does not say */
	bool fails; /* the import */
	unsigned images, asked; /* that are there; what was asked of modifiers */
	unsigned imports, drawn, fds[8]; /* of images that ever were, and each one's dma-buf; pictures out of one */
	unsigned long target; /* of a texture; 0: none */
	unsigned from[8]; /* the images these were out of */
	GLint corner[2]; /* of what was drawn last, in it */
	bool does_not_draw;
} egl;

static void *get_display(void)
{
	return &egl;
}

static const char *query_string(EGLDisplay display, EGLint name)
{
	assert_ptr_equal(display, &egl);
	assert_int_equal(name, EGL_EXTENSIONS);
	return egl.extensions;
}

static EGLBoolean query_modifiers(EGLDisplay display, EGLint fourcc, EGLint max, EGLuint64KHR *modifiers, EGLBoolean *external, EGLint *n)
{
	(void)display;
	egl.asked++;
	if (fourcc == (EGLint)DISPLAY_ABGR8888) {
		return EGL_FALSE;
	}
	assert_true(max >= 2);
	modifiers[0] = MODIFIER;
	modifiers[1] = EXTERNAL;
	external[0] = EGL_FALSE;
	external[1] = EGL_TRUE;
	*n = 2;
	return EGL_TRUE;
}

static EGLBoolean query_display(EGLDisplay display, EGLint attribute, EGLAttrib *value)
{
	(void)display;
	assert_int_equal(attribute, EGL_DEVICE_EXT);
	*value = (EGLAttrib)&egl;
	return EGL_TRUE;
}

static const char *query_device(EGLDeviceEXT device, EGLint name)
{
	assert_ptr_equal(device, &egl);
	assert_int_equal(name, EGL_DRM_RENDER_NODE_FILE_EXT);
	return egl.node;
}

static EGLImageKHR create_image(EGLDisplay display, EGLContext context, EGLenum target, EGLClientBuffer buffer, const EGLint *attributes)
{
	(void)display;
	(void)context;
	(void)buffer;
	assert_int_equal(target, EGL_LINUX_DMA_BUF_EXT);
	assert_int_equal(attributes[0], EGL_WIDTH);
	if (egl.fails) {
		return EGL_NO_IMAGE_KHR;
	}
	assert_int_equal(attributes[6], EGL_DMA_BUF_PLANE0_FD_EXT);
	egl.fds[egl.imports] = (unsigned)attributes[7];
	egl.images++;
	egl.imports++;
	/* Numbers, from 1. */
	return (EGLImageKHR)(uintptr_t)egl.imports;
}

static EGLBoolean destroy_image(EGLDisplay display, EGLImageKHR image)
{
	assert_ptr_equal(display, &egl);
	assert_non_null(image);
	egl.images--;
	return EGL_TRUE;
}

static void image_target(GLenum target, void *image)
{
	assert_int_equal(target, GL_TEXTURE_2D);
	egl.target = (uintptr_t)image;
}

static void blit(GLint x0, GLint y0, GLint x1, GLint y1, GLint to_x0, GLint to_y0, GLint to_x1, GLint to_y1, GLbitfield mask, GLenum filter)
{
	(void)mask;
	(void)filter;
	assert_int_equal(x1 - x0, to_x1 - to_x0);
	assert_int_equal(y1 - y0, to_y1 - to_y0);
	assert_true(egl.target > 0);
	egl.from[egl.drawn++] = (unsigned)egl.target;
	egl.corner[0] = x0;
	egl.corner[1] = y0;
}

static void name_one(GLsizei n, GLuint *names)
{
	assert_int_equal(n, 1);
	names[0] = 1;
}

static void delete_one(GLsizei n, const GLuint *names)
{
	assert_int_equal(n, 1);
	assert_int_equal(names[0], 1);
}

static void delete_texture(GLsizei n, const GLuint *names)
{
	delete_one(n, names);
	egl.target = 0;
}

static void bind(GLenum target, GLuint name)
{
	(void)target;
	(void)name;
}

static void get_integer(GLenum what, GLint *value)
{
	(void)what;
	*value = 0;
}

static GLenum get_error(void)
{
	return GL_NO_ERROR;
}

static void framebuffer_texture(GLenum target, GLenum attachment, GLenum kind, GLuint texture, GLint level)
{
	(void)attachment;
	(void)kind;
	(void)level;
	assert_int_equal(target, GL_READ_FRAMEBUFFER);
	assert_int_equal(texture, 1);
}

static GLenum check_framebuffer(GLenum target)
{
	(void)target;
	return egl.does_not_draw ? GL_FRAMEBUFFER_UNSUPPORTED : GL_FRAMEBUFFER_COMPLETE;
}

static void finish(void)
{
}

/* All that is never called. */
static void nothing(void)
{
	fail();
}

static void *get(const char *name)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} all[] = {
		{"eglGetCurrentDisplay", (void (*)(void))get_display},
		{"eglQueryString", (void (*)(void))query_string},
		{"eglQueryDmaBufModifiersEXT", (void (*)(void))query_modifiers},
		{"eglQueryDisplayAttribEXT", (void (*)(void))query_display},
		{"eglQueryDeviceStringEXT", (void (*)(void))query_device},
		{"eglCreateImageKHR", (void (*)(void))create_image},
		{"eglDestroyImageKHR", (void (*)(void))destroy_image},
		{"glEGLImageTargetTexture2DOES", (void (*)(void))image_target},
		{"glGenTextures", (void (*)(void))name_one},
		{"glDeleteTextures", (void (*)(void))delete_texture},
		{"glBindTexture", (void (*)(void))bind},
		{"glGetIntegerv", (void (*)(void))get_integer},
		{"glGetError", (void (*)(void))get_error},
		{"glGenFramebuffers", (void (*)(void))name_one},
		{"glDeleteFramebuffers", (void (*)(void))delete_one},
		{"glBindFramebuffer", (void (*)(void))bind},
		{"glFramebufferTexture2D", (void (*)(void))framebuffer_texture},
		{"glCheckFramebufferStatus", (void (*)(void))check_framebuffer},
		{"glBlitFramebuffer", (void (*)(void))blit},
		{"glFinish", (void (*)(void))finish},
	};
	void (*fn)(void) = nothing;
	void *address;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		fn = strcmp(all[i].name, name) == 0 ? all[i].fn : fn;
	}
	if (egl.missing && strcmp(egl.missing, name) == 0) {
		return NULL;
	}
	memcpy(&address, &fn, sizeof(address));
	return address;
}

static int setup(void **state)
{
	(void)state;
	memset(&egl, 0, sizeof(egl));
	egl.extensions = "EGL_KHR_image_base EGL_EXT_image_dma_buf_import EGL_EXT_image_dma_buf_import_modifiers";
	egl.node = "/dev/null";
	return 0;
}

/* Pictures come from the device that @path is. */
static bool opens(struct view_import *im, const char *path, char *why, size_t why_len)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return view_import_open(im, get, major(st.st_rdev), minor(st.st_rdev), why, why_len);
}

static unsigned count_of(const struct view_import *im, uint64_t modifier)
{
	unsigned n = 0;

	for (unsigned i = 0; i < im->nformats; i++) {
		n += im->format[i].modifier == modifier;
	}
	return n;
}

static void test_view_import_says_what_it_can(void **state)
{
	struct view_import im;
	char why[128];

	(void)state;
	/* The device's own layout, which is not said, of every format that it answers for; and nothing that is for samplers only. */
	assert_true(opens(&im, "/dev/null", why, sizeof(why)));
	assert_true(im.works);
	assert_int_equal(im.nformats, 6);
	assert_int_equal(count_of(&im, MODIFIER), 3);
	assert_int_equal(count_of(&im, DRM_FORMAT_MOD_INVALID), 3);
	/* Another GPU: only what is said to be the same on both. */
	assert_true(opens(&im, "/dev/zero", why, sizeof(why)));
	assert_int_equal(im.nformats, 3);
	assert_int_equal(count_of(&im, DRM_FORMAT_MOD_INVALID), 0);
}

/* There is an address for any name: only an extension says that there is such a function. */
static void test_view_import_without_modifiers(void **state)
{
	struct view_import im;
	char why[128];

	(void)state;
	egl.extensions = "EGL_EXT_image_dma_buf_import";
	assert_true(opens(&im, "/dev/null", why, sizeof(why)));
	assert_int_equal(egl.asked, 0);
	assert_int_equal(im.nformats, 4);
	assert_int_equal(count_of(&im, DRM_FORMAT_MOD_INVALID), 4);
	assert_false(opens(&im, "/dev/zero", why, sizeof(why)));
	assert_false(im.works);
	assert_string_equal(why, "its window is drawn by another GPU, and that says no modifiers");
}

static void test_view_import_says_why_not(void **state)
{
	struct view_import im;
	char why[128];

	(void)state;
	egl.extensions = "EGL_KHR_image_base";
	assert_false(opens(&im, "/dev/null", why, sizeof(why)));
	assert_string_equal(why, "the OpenGL of its window imports no dma-bufs");
	egl.extensions = NULL;
	assert_false(opens(&im, "/dev/null", why, sizeof(why)));
	assert_string_equal(why, "the OpenGL of its window imports no dma-bufs");
	egl.missing = "glBlitFramebuffer";
	assert_false(opens(&im, "/dev/null", why, sizeof(why)));
	assert_string_equal(why, "its OpenGL lacks what it takes");
	egl.missing = "eglGetCurrentDisplay";
	assert_false(opens(&im, "/dev/null", why, sizeof(why)));
	assert_string_equal(why, "its window is not drawn with EGL");
	assert_false(im.works);
}

#define PICTURE(fd) {.fourcc = DISPLAY_XRGB8888, .width = 64, .height = 32, .nplanes = 1, .plane_fd = {fd}, .plane_stride = {256}, .modifier = MODIFIER}

static const struct display_rect crop = {0, 0, 64, 32};

static void draw(struct view_picture *p)
{
	char why[128];

	assert_true(view_import_draw(p, &crop, why, sizeof(why)));
}

static void test_view_import_that_fails_says_what(void **state)
{
	struct view_picture p = PICTURE(-1);
	struct view_import im;
	char why[128];

	(void)state;
	assert_true(opens(&im, "/dev/null", why, sizeof(why)));
	egl.fails = true;
	assert_false(view_import_draw(&p, &crop, why, sizeof(why)));
	assert_string_equal(why, "the import of XR24 with modifier 0x0000000000000042 failed");
	assert_int_equal(egl.images, 0);
	assert_null(p.import);
	/* Not for good. */
	egl.fails = false;
	draw(&p);
	assert_int_equal(egl.images, 1);
}

/* A buffer's frames are one import, and each is drawn out of its own buffer. */
static void test_view_import_imports_a_buffer_once(void **state)
{
	static const unsigned want[] = {1, 2, 1, 2, 2};
	struct view_picture p[] = {PICTURE(10), PICTURE(11)};
	struct view_import im;
	char why[128];

	(void)state;
	assert_true(opens(&im, "/dev/null", why, sizeof(why)));
	draw(&p[0]);
	draw(&p[1]);
	draw(&p[0]);
	draw(&p[1]);
	draw(&p[1]);
	assert_int_equal(egl.imports, 2);
	assert_int_equal(egl.fds[0], 10);
	assert_int_equal(egl.fds[1], 11);
	assert_memory_equal(egl.from, want, sizeof(want));
	assert_int_equal(egl.drawn, 5);
	/* As view_conn.c does before one goes. */
	p[0].unimport(&p[0]);
	assert_int_equal(egl.images, 1);
	p[1].unimport(&p[1]);
	assert_int_equal(egl.images, 0);
	p[0].import = NULL;
	draw(&p[0]);
	assert_int_equal(egl.imports, 3);
}

/* As it lies in memory: the crop counts from the top, wherever that is. */
static void test_view_import_draws_the_crop(void **state)
{
	const struct display_rect part = {4, 2, 10, 6};
	struct view_picture p = PICTURE(10);
	struct view_import im;
	char why[128];

	(void)state;
	assert_true(opens(&im, "/dev/null", why, sizeof(why)));
	assert_true(view_import_draw(&p, &part, why, sizeof(why)));
	assert_int_equal(egl.corner[0], 4);
	assert_int_equal(egl.corner[1], 2);
	p.y_inverted = true;
	assert_true(view_import_draw(&p, &part, why, sizeof(why)));
	assert_int_equal(egl.corner[1], 32 - 2 - 6);
}

/* What could be imported, but not be drawn, goes as any other. */
static void test_view_import_that_is_not_drawn(void **state)
{
	struct view_picture p = PICTURE(10);
	struct view_import im;
	char why[128];

	(void)state;
	assert_true(opens(&im, "/dev/null", why, sizeof(why)));
	egl.does_not_draw = true;
	assert_false(view_import_draw(&p, &crop, why, sizeof(why)));
	assert_string_equal(why, "a dma-buf of XR24 could not be drawn");
	assert_int_equal(egl.drawn, 0);
	assert_non_null(p.import);
	p.unimport(&p);
	assert_int_equal(egl.images, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_view_import_says_what_it_can, setup),
		cmocka_unit_test_setup(test_view_import_without_modifiers, setup),
		cmocka_unit_test_setup(test_view_import_says_why_not, setup),
		cmocka_unit_test_setup(test_view_import_that_fails_says_what, setup),
		cmocka_unit_test_setup(test_view_import_imports_a_buffer_once, setup),
		cmocka_unit_test_setup(test_view_import_draws_the_crop, setup),
		cmocka_unit_test_setup(test_view_import_that_is_not_drawn, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
