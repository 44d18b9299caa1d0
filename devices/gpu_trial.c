/* SPDX-License-Identifier: MIT */
#include "devices/gpu_trial.h"

#include <GL/gl.h>
#include <GL/glext.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "devices/gpu_egl.h"

#define SIZE 8u /* pixels */

/* A triangle over the lower left half of the picture, with a colour whose channels differ, computed for each pixel. */
static const char vertex_text[] = "#version 140\n"
				  "void main() { gl_Position = vec4(gl_VertexID == 1 ? 1.0 : -1.0, gl_VertexID == 2 ? 1.0 : -1.0, 0.0, 1.0); }\n";
static const char fragment_text[] = "#version 140\n"
				    "out vec4 colour;\n"
				    "void main() { colour = vec4(51.0, 102.0, 153.0, 204.0) / 255.0; }\n";
static const uint8_t drawn[4] = {51, 102, 153, 204}, cleared[4] = {0, 0, 0, 0};

static struct {
	PFNGLCREATESHADERPROC create_shader;
	PFNGLSHADERSOURCEPROC shader_source;
	PFNGLCOMPILESHADERPROC compile_shader;
	PFNGLCREATEPROGRAMPROC create_program;
	PFNGLATTACHSHADERPROC attach_shader;
	PFNGLLINKPROGRAMPROC link_program;
	PFNGLUSEPROGRAMPROC use_program;
	PFNGLGENVERTEXARRAYSPROC gen_vertex_arrays;
	PFNGLBINDVERTEXARRAYPROC bind_vertex_array;
	PFNGLGENRENDERBUFFERSPROC gen_renderbuffers;
	PFNGLBINDRENDERBUFFERPROC bind_renderbuffer;
	PFNGLRENDERBUFFERSTORAGEPROC renderbuffer_storage;
	PFNGLGENFRAMEBUFFERSPROC gen_framebuffers;
	PFNGLBINDFRAMEBUFFERPROC bind_framebuffer;
	PFNGLFRAMEBUFFERRENDERBUFFERPROC framebuffer_renderbuffer;
	void (*viewport)(GLint x, GLint y, GLsizei width, GLsizei height);
	void (*clear)(GLbitfield mask);
	void (*draw_arrays)(GLenum mode, GLint first, GLsizei count);
	void (*read_pixels)(GLint x, GLint y, GLsizei width, GLsizei height, GLenum format, GLenum type, void *pixels);
} api;

static bool load(struct gpu_egl *e)
{
	return gpu_egl_load(e, "glCreateShader", &api.create_shader) && gpu_egl_load(e, "glShaderSource", &api.shader_source) && gpu_egl_load(e, "glCompileShader", &api.compile_shader) &&
		gpu_egl_load(e, "glCreateProgram", &api.create_program) && gpu_egl_load(e, "glAttachShader", &api.attach_shader) && gpu_egl_load(e, "glLinkProgram", &api.link_program) &&
		gpu_egl_load(e, "glUseProgram", &api.use_program) && gpu_egl_load(e, "glGenVertexArrays", &api.gen_vertex_arrays) &&
		gpu_egl_load(e, "glBindVertexArray", &api.bind_vertex_array) && gpu_egl_load(e, "glGenRenderbuffers", &api.gen_renderbuffers) &&
		gpu_egl_load(e, "glBindRenderbuffer", &api.bind_renderbuffer) && gpu_egl_load(e, "glRenderbufferStorage", &api.renderbuffer_storage) &&
		gpu_egl_load(e, "glGenFramebuffers", &api.gen_framebuffers) && gpu_egl_load(e, "glBindFramebuffer", &api.bind_framebuffer) &&
		gpu_egl_load(e, "glFramebufferRenderbuffer", &api.framebuffer_renderbuffer) && gpu_egl_load(e, "glViewport", &api.viewport) && gpu_egl_load(e, "glClear", &api.clear) &&
		gpu_egl_load(e, "glDrawArrays", &api.draw_arrays) && gpu_egl_load(e, "glReadPixels", &api.read_pixels);
}

static void add_shader(GLuint program, GLenum type, const char *text)
{
	GLuint shader = api.create_shader(type);

	api.shader_source(shader, 1, &text, NULL);
	api.compile_shader(shader);
	api.attach_shader(program, shader);
}

/* What is made goes with the context. */
static void draw(uint8_t (*pixels)[SIZE][4])
{
	GLuint array, buffer, target, program = api.create_program();

	add_shader(program, GL_VERTEX_SHADER, vertex_text);
	add_shader(program, GL_FRAGMENT_SHADER, fragment_text);
	api.link_program(program);
	api.gen_renderbuffers(1, &buffer);
	api.bind_renderbuffer(GL_RENDERBUFFER, buffer);
	api.renderbuffer_storage(GL_RENDERBUFFER, GL_RGBA8, SIZE, SIZE);
	api.gen_framebuffers(1, &target);
	api.bind_framebuffer(GL_FRAMEBUFFER, target);
	api.framebuffer_renderbuffer(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_RENDERBUFFER, buffer);
	api.gen_vertex_arrays(1, &array);
	api.bind_vertex_array(array);
	api.use_program(program);
	api.viewport(0, 0, SIZE, SIZE);
	api.clear(GL_COLOR_BUFFER_BIT);
	api.draw_arrays(GL_TRIANGLES, 0, 3);
	api.read_pixels(0, 0, SIZE, SIZE, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
}

int gpu_trial_draw(const char *render_node, char *why, size_t why_len)
{
	uint8_t pixels[SIZE][SIZE][4];
	struct gpu_egl e;
	int r = gpu_egl_open(&e, render_node, why, why_len);

	if (r < 0) {
		return r;
	}
	memset(pixels, 0xff, sizeof(pixels));
	if (load(&e)) {
		draw(pixels);
	}
	/* One pixel well inside the triangle, one well outside. */
	if (memcmp(pixels[1][1], drawn, sizeof(drawn)) != 0 || memcmp(pixels[SIZE - 2][SIZE - 2], cleared, sizeof(cleared)) != 0) {
		snprintf(why, why_len, "%s: it does not draw what it is told", e.node);
		r = -EIO;
	}
	gpu_egl_close(&e);
	return r;
}
