/* SPDX-License-Identifier: MIT */
/*
 * What a process has OpenGL read back, copy and draw, counted from outside and for any program that finds OpenGL's functions by name: a library for LD_PRELOAD that answers with functions of its own, which
 * count and go on. To the file GLCALLS names it adds, 64 bits each: calls that read pixels or buffers back; pixels of these; calls that copy pictures on the GPU; pixels of these; blits of one pixel, by which one
 * waits for what has been drawn; calls that draw.
 */
#include <EGL/egl.h>
#include <GL/gl.h>
#include <GL/glext.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { READS, READ_PIXELS, COPIES, COPIED_PIXELS, WAITS, DRAWS, NCOUNTS };

static uint64_t *counts;

static void __attribute__((constructor)) begin(void)
{
	const char *path = getenv("GLCALLS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, NCOUNTS * sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map != MAP_FAILED) {
		__atomic_store_n(&counts, map, __ATOMIC_RELEASE);
	}
	if (fd >= 0) {
		close(fd);
	}
}

static void count(unsigned what, uint64_t n)
{
	uint64_t *to = __atomic_load_n(&counts, __ATOMIC_ACQUIRE);

	if (to) {
		__atomic_add_fetch(&to[what], n, __ATOMIC_RELAXED);
	}
}

static void count_read(GLsizei width, GLsizei height)
{
	count(READS, 1);
	count(READ_PIXELS, (uint64_t)width * (uint64_t)height);
}

static void count_copy(GLsizei width, GLsizei height)
{
	count(COPIES, 1);
	count(COPIED_PIXELS, (uint64_t)width * (uint64_t)height);
}

/*
 * The real ones.
 */

enum {
	READ_PIXELS_FN, READN_PIXELS, GET_TEX_IMAGE, GETN_TEX_IMAGE, GET_TEXTURE_IMAGE, GET_BUFFER, MAP_BUFFER, MAP_BUFFER_RANGE, BLIT, BLIT_NAMED, COPY_TEX_IMAGE, COPY_TEX_SUB_IMAGE, COPY_IMAGE,
	DRAW_ARRAYS, DRAW_ARRAYS_INSTANCED, DRAW_ARRAYS_BASE, DRAW_ELEMENTS, DRAW_RANGE, DRAW_RANGE_BASE, DRAW_ELEMENTS_BASE, DRAW_ELEMENTS_INSTANCED, DRAW_ELEMENTS_INSTANCED_BASE, GET_PROC_ADDRESS, NFUNCTIONS
};

static void *real[NFUNCTIONS];

#define REAL(type, i) ((type)(uintptr_t)__atomic_load_n(&real[i], __ATOMIC_RELAXED))

/*
 * Read back.
 */

static void APIENTRY read_pixels(GLint x, GLint y, GLsizei w, GLsizei h, GLenum format, GLenum type, void *to)
{
	count_read(w, h);
	REAL(void (*)(GLint, GLint, GLsizei, GLsizei, GLenum, GLenum, void *), READ_PIXELS_FN)
	(x, y, w, h, format, type, to);
}

static void APIENTRY readn_pixels(GLint x, GLint y, GLsizei w, GLsizei h, GLenum format, GLenum type, GLsizei len, void *to)
{
	count_read(w, h);
	REAL(PFNGLREADNPIXELSPROC, READN_PIXELS)
	(x, y, w, h, format, type, len, to);
}

/* Of how many pixels the driver knows: one, so that it is not none. */
static void APIENTRY get_tex_image(GLenum target, GLint level, GLenum format, GLenum type, void *to)
{
	count_read(1, 1);
	REAL(void (*)(GLenum, GLint, GLenum, GLenum, void *), GET_TEX_IMAGE)
	(target, level, format, type, to);
}

static void APIENTRY getn_tex_image(GLenum target, GLint level, GLenum format, GLenum type, GLsizei len, void *to)
{
	count_read(1, 1);
	REAL(PFNGLGETNTEXIMAGEPROC, GETN_TEX_IMAGE)
	(target, level, format, type, len, to);
}

static void APIENTRY get_texture_image(GLuint texture, GLint level, GLenum format, GLenum type, GLsizei len, void *to)
{
	count_read(1, 1);
	REAL(PFNGLGETTEXTUREIMAGEPROC, GET_TEXTURE_IMAGE)
	(texture, level, format, type, len, to);
}

static void APIENTRY get_buffer(GLenum target, GLintptr offset, GLsizeiptr len, void *to)
{
	count_read(1, 1);
	REAL(PFNGLGETBUFFERSUBDATAPROC, GET_BUFFER)
	(target, offset, len, to);
}

static void *APIENTRY map_buffer(GLenum target, GLenum access)
{
	if (access != GL_WRITE_ONLY) {
		count_read(1, 1);
	}
	return REAL(PFNGLMAPBUFFERPROC, MAP_BUFFER)(target, access);
}

static void *APIENTRY map_buffer_range(GLenum target, GLintptr offset, GLsizeiptr len, GLbitfield access)
{
	if (access & GL_MAP_READ_BIT) {
		count_read(1, 1);
	}
	return REAL(PFNGLMAPBUFFERRANGEPROC, MAP_BUFFER_RANGE)(target, offset, len, access);
}

/*
 * Copied.
 */

static void count_blit(GLint x0, GLint y0, GLint x1, GLint y1)
{
	if (abs(x1 - x0) == 1 && abs(y1 - y0) == 1) {
		count(WAITS, 1);
	} else {
		count_copy(abs(x1 - x0), abs(y1 - y0));
	}
}

static void APIENTRY blit(GLint sx0, GLint sy0, GLint sx1, GLint sy1, GLint x0, GLint y0, GLint x1, GLint y1, GLbitfield mask, GLenum filter)
{
	count_blit(x0, y0, x1, y1);
	REAL(PFNGLBLITFRAMEBUFFERPROC, BLIT)
	(sx0, sy0, sx1, sy1, x0, y0, x1, y1, mask, filter);
}

static void APIENTRY blit_named(GLuint from, GLuint to, GLint sx0, GLint sy0, GLint sx1, GLint sy1, GLint x0, GLint y0, GLint x1, GLint y1, GLbitfield mask, GLenum filter)
{
	count_blit(x0, y0, x1, y1);
	REAL(PFNGLBLITNAMEDFRAMEBUFFERPROC, BLIT_NAMED)
	(from, to, sx0, sy0, sx1, sy1, x0, y0, x1, y1, mask, filter);
}

static void APIENTRY copy_tex_image(GLenum target, GLint level, GLenum format, GLint x, GLint y, GLsizei w, GLsizei h, GLint border)
{
	count_copy(w, h);
	REAL(void (*)(GLenum, GLint, GLenum, GLint, GLint, GLsizei, GLsizei, GLint), COPY_TEX_IMAGE)
	(target, level, format, x, y, w, h, border);
}

static void APIENTRY copy_tex_sub_image(GLenum target, GLint level, GLint to_x, GLint to_y, GLint x, GLint y, GLsizei w, GLsizei h)
{
	count_copy(w, h);
	REAL(void (*)(GLenum, GLint, GLint, GLint, GLint, GLint, GLsizei, GLsizei), COPY_TEX_SUB_IMAGE)
	(target, level, to_x, to_y, x, y, w, h);
}

static void APIENTRY copy_image(GLuint from, GLenum target, GLint level, GLint x, GLint y, GLint z, GLuint to, GLenum to_target, GLint to_level, GLint to_x, GLint to_y, GLint to_z, GLsizei w, GLsizei h, GLsizei depth)
{
	count_copy(w, h * depth);
	REAL(PFNGLCOPYIMAGESUBDATAPROC, COPY_IMAGE)
	(from, target, level, x, y, z, to, to_target, to_level, to_x, to_y, to_z, w, h, depth);
}

/*
 * Drawn: so one can copy, too.
 */

static void APIENTRY draw_arrays(GLenum mode, GLint first, GLsizei n)
{
	count(DRAWS, 1);
	REAL(void (*)(GLenum, GLint, GLsizei), DRAW_ARRAYS)
	(mode, first, n);
}

static void APIENTRY draw_arrays_instanced(GLenum mode, GLint first, GLsizei n, GLsizei instances)
{
	count(DRAWS, 1);
	REAL(PFNGLDRAWARRAYSINSTANCEDPROC, DRAW_ARRAYS_INSTANCED)
	(mode, first, n, instances);
}

static void APIENTRY draw_arrays_base(GLenum mode, GLint first, GLsizei n, GLsizei instances, GLuint base)
{
	count(DRAWS, 1);
	REAL(PFNGLDRAWARRAYSINSTANCEDBASEINSTANCEPROC, DRAW_ARRAYS_BASE)
	(mode, first, n, instances, base);
}

static void APIENTRY draw_elements(GLenum mode, GLsizei n, GLenum type, const void *at)
{
	count(DRAWS, 1);
	REAL(void (*)(GLenum, GLsizei, GLenum, const void *), DRAW_ELEMENTS)
	(mode, n, type, at);
}

static void APIENTRY draw_range(GLenum mode, GLuint start, GLuint end, GLsizei n, GLenum type, const void *at)
{
	count(DRAWS, 1);
	REAL(PFNGLDRAWRANGEELEMENTSPROC, DRAW_RANGE)
	(mode, start, end, n, type, at);
}

static void APIENTRY draw_range_base(GLenum mode, GLuint start, GLuint end, GLsizei n, GLenum type, const void *at, GLint base)
{
	count(DRAWS, 1);
	REAL(PFNGLDRAWRANGEELEMENTSBASEVERTEXPROC, DRAW_RANGE_BASE)
	(mode, start, end, n, type, at, base);
}

static void APIENTRY draw_elements_base(GLenum mode, GLsizei n, GLenum type, const void *at, GLint base)
{
	count(DRAWS, 1);
	REAL(PFNGLDRAWELEMENTSBASEVERTEXPROC, DRAW_ELEMENTS_BASE)
	(mode, n, type, at, base);
}

static void APIENTRY draw_elements_instanced(GLenum mode, GLsizei n, GLenum type, const void *at, GLsizei instances)
{
	count(DRAWS, 1);
	REAL(PFNGLDRAWELEMENTSINSTANCEDPROC, DRAW_ELEMENTS_INSTANCED)
	(mode, n, type, at, instances);
}

static void APIENTRY draw_elements_instanced_base(GLenum mode, GLsizei n, GLenum type, const void *at, GLsizei instances, GLint base)
{
	count(DRAWS, 1);
	REAL(PFNGLDRAWELEMENTSINSTANCEDBASEVERTEXPROC, DRAW_ELEMENTS_INSTANCED_BASE)
	(mode, n, type, at, instances, base);
}

/*
 * Found by name.
 */

static void *get_proc_address(const char *name);

static const struct {
	const char *name; /* also of what an extension calls so, and ARB, KHR or EXT */
	void *fn;
} ours[NFUNCTIONS] = {
	[READ_PIXELS_FN] = {"glReadPixels", (void *)read_pixels},
	[READN_PIXELS] = {"glReadnPixels", (void *)readn_pixels},
	[GET_TEX_IMAGE] = {"glGetTexImage", (void *)get_tex_image},
	[GETN_TEX_IMAGE] = {"glGetnTexImage", (void *)getn_tex_image},
	[GET_TEXTURE_IMAGE] = {"glGetTextureImage", (void *)get_texture_image},
	[GET_BUFFER] = {"glGetBufferSubData", (void *)get_buffer},
	[MAP_BUFFER] = {"glMapBuffer", (void *)map_buffer},
	[MAP_BUFFER_RANGE] = {"glMapBufferRange", (void *)map_buffer_range},
	[BLIT] = {"glBlitFramebuffer", (void *)blit},
	[BLIT_NAMED] = {"glBlitNamedFramebuffer", (void *)blit_named},
	[COPY_TEX_IMAGE] = {"glCopyTexImage2D", (void *)copy_tex_image},
	[COPY_TEX_SUB_IMAGE] = {"glCopyTexSubImage2D", (void *)copy_tex_sub_image},
	[COPY_IMAGE] = {"glCopyImageSubData", (void *)copy_image},
	[DRAW_ARRAYS] = {"glDrawArrays", (void *)draw_arrays},
	[DRAW_ARRAYS_INSTANCED] = {"glDrawArraysInstanced", (void *)draw_arrays_instanced},
	[DRAW_ARRAYS_BASE] = {"glDrawArraysInstancedBaseInstance", (void *)draw_arrays_base},
	[DRAW_ELEMENTS] = {"glDrawElements", (void *)draw_elements},
	[DRAW_RANGE] = {"glDrawRangeElements", (void *)draw_range},
	[DRAW_RANGE_BASE] = {"glDrawRangeElementsBaseVertex", (void *)draw_range_base},
	[DRAW_ELEMENTS_BASE] = {"glDrawElementsBaseVertex", (void *)draw_elements_base},
	[DRAW_ELEMENTS_INSTANCED] = {"glDrawElementsInstanced", (void *)draw_elements_instanced},
	[DRAW_ELEMENTS_INSTANCED_BASE] = {"glDrawElementsInstancedBaseVertex", (void *)draw_elements_instanced_base},
	[GET_PROC_ADDRESS] = {"eglGetProcAddress", (void *)get_proc_address},
};

static bool is_called(const char *name, const char *base)
{
	size_t n = strlen(base);

	return strncmp(name, base, n) == 0 && (name[n] == 0 || strcmp(name + n, "ARB") == 0 || strcmp(name + n, "KHR") == 0 || strcmp(name + n, "EXT") == 0);
}

/* @found, or what stands in for it. */
static void *stand_in(const char *name, void *found)
{
	for (unsigned i = 0; found && i < NFUNCTIONS; i++) {
		if (is_called(name, ours[i].name)) {
			if (found != ours[i].fn) {
				__atomic_store_n(&real[i], found, __ATOMIC_RELAXED);
			}
			return ours[i].fn;
		}
	}
	return found;
}

static void *get_proc_address(const char *name)
{
	return stand_in(name, REAL(void *(*)(const char *), GET_PROC_ADDRESS)(name));
}

void *dlsym(void *handle, const char *name)
{
	static void *(*next)(void *handle, const char *name);

	if (!next) {
		next = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
	}
	return stand_in(name, next(handle, name));
}
