/* SPDX-License-Identifier: MIT */
/*
 * When this machine, or the GPU that all of it draws with, stood still: `standstill RENDER_NODE MS`. One thread, before all others where it may be, has the GPU colour a pixel, waits for that, and sleeps for half of MS; from
 * the end of one to the end of the next, by CLOCK_MONOTONIC, is a line "START END" in ns where it takes more than MS. Whoever waits in such a time waits for the machine. Nothing of the monitor's is in it.
 */
#define GL_GLEXT_PROTOTYPES
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GL/gl.h>
#include <GL/glext.h>
#include <fcntl.h>
#include <gbm.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static bool open_gpu(const char *node)
{
	int fd = open(node, O_RDWR | O_CLOEXEC);
	struct gbm_device *gbm = fd >= 0 ? gbm_create_device(fd) : NULL;
	EGLDisplay display = gbm ? eglGetPlatformDisplay(EGL_PLATFORM_GBM_KHR, gbm, NULL) : EGL_NO_DISPLAY;
	EGLContext context = EGL_NO_CONTEXT;
	GLuint texture, framebuffer;

	if (display != EGL_NO_DISPLAY && eglInitialize(display, NULL, NULL) && eglBindAPI(EGL_OPENGL_API)) {
		context = eglCreateContext(display, EGL_NO_CONFIG_KHR, EGL_NO_CONTEXT, NULL);
	}
	if (context == EGL_NO_CONTEXT || !eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, context)) {
		return false;
	}
	glGenTextures(1, &texture);
	glBindTexture(GL_TEXTURE_2D, texture);
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, 1, 1, 0, GL_RGBA, GL_UNSIGNED_BYTE, NULL);
	glGenFramebuffers(1, &framebuffer);
	glBindFramebuffer(GL_FRAMEBUFFER, framebuffer);
	glFramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, texture, 0);
	return glCheckFramebufferStatus(GL_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
	uint64_t last, now, most;
	GLubyte pixel[4];

	if (argc != 3 || !open_gpu(argv[1])) {
		fprintf(stderr, "usage: standstill RENDER_NODE MS, with OpenGL\n");
		return 2;
	}
	most = strtoull(argv[2], NULL, 10) * 1000000;
	setvbuf(stdout, NULL, _IOLBF, 0);
	sched_setscheduler(0, SCHED_FIFO, &(const struct sched_param){.sched_priority = 50});
	last = now_ns();
	for (unsigned n = 0;; n++) {
		glClearColor(n & 1 ? 1 : 0, 0, 0, 1);
		glClear(GL_COLOR_BUFFER_BIT);
		glReadPixels(0, 0, 1, 1, GL_RGBA, GL_UNSIGNED_BYTE, pixel);
		now = now_ns();
		if (now - last > most) {
			printf("%" PRIu64 " %" PRIu64 "\n", last, now);
		}
		last = now;
		nanosleep(&(const struct timespec){.tv_nsec = (long)most / 2}, NULL);
	}
}
