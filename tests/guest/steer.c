/* SPDX-License-Identifier: MIT */
/*
 * A program that has the screen, draws on it with OpenGL and is steered by a mouse, as a game is: a square on a dark ground goes where the mouse moves it. In a Debian guest (guest-images/gl), whose libraries
 * it takes. It says `steer WIDTH HEIGHT`, and after each frame that is shown where the square's corner is, `at X Y`.
 */
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GL/gl.h>
#include <drm_fourcc.h>
#include <err.h>
#include <fcntl.h>
#include <gbm.h>
#include <glob.h>
#include <linux/input.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#define SQUARE 64

static struct {
	int fd;
	uint32_t connector, crtc;
	drmModeModeInfo mode;
	struct gbm_surface *surface;
	EGLDisplay display;
	EGLSurface window;
	struct gbm_bo *shown;
	uint32_t fb;
} screen;

static int mouse = -1;

static void find_screen(void)
{
	drmModeRes *res;

	screen.fd = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
	res = screen.fd >= 0 ? drmModeGetResources(screen.fd) : NULL;
	for (int i = 0; res && i < res->count_connectors && !screen.connector; i++) {
		drmModeConnector *c = drmModeGetConnector(screen.fd, res->connectors[i]);

		if (c && c->connection == DRM_MODE_CONNECTED && c->count_modes > 0) {
			screen.connector = c->connector_id;
			screen.mode = c->modes[0];
			screen.crtc = res->crtcs[0];
		}
		drmModeFreeConnector(c);
	}
	if (!screen.connector) {
		errx(1, "no screen");
	}
	drmModeFreeResources(res);
}

static void open_gl(void)
{
	static const EGLint wanted[] = {EGL_SURFACE_TYPE, EGL_WINDOW_BIT, EGL_RENDERABLE_TYPE, EGL_OPENGL_BIT, EGL_RED_SIZE, 8, EGL_GREEN_SIZE, 8, EGL_BLUE_SIZE, 8, EGL_NONE};
	struct gbm_device *gbm = gbm_create_device(screen.fd);
	EGLConfig configs[64];
	EGLint n = 0, id = 0, i = 0;
	EGLContext context;

	screen.surface = gbm ? gbm_surface_create(gbm, screen.mode.hdisplay, screen.mode.vdisplay, GBM_FORMAT_XRGB8888, GBM_BO_USE_SCANOUT | GBM_BO_USE_RENDERING) : NULL;
	screen.display = gbm ? eglGetPlatformDisplay(EGL_PLATFORM_GBM_KHR, gbm, NULL) : EGL_NO_DISPLAY;
	if (!screen.surface || !eglInitialize(screen.display, NULL, NULL) || !eglBindAPI(EGL_OPENGL_API) || !eglChooseConfig(screen.display, wanted, configs, 64, &n)) {
		errx(1, "no OpenGL");
	}
	while (i < n && (!eglGetConfigAttrib(screen.display, configs[i], EGL_NATIVE_VISUAL_ID, &id) || id != GBM_FORMAT_XRGB8888)) {
		i++;
	}
	context = i < n ? eglCreateContext(screen.display, configs[i], EGL_NO_CONTEXT, NULL) : EGL_NO_CONTEXT;
	screen.window = context ? eglCreatePlatformWindowSurface(screen.display, configs[i], screen.surface, NULL) : EGL_NO_SURFACE;
	if (!screen.window || !eglMakeCurrent(screen.display, screen.window, screen.window, context)) {
		errx(1, "no OpenGL for the screen");
	}
	fprintf(stderr, "%s\n", (const char *)glGetString(GL_RENDERER));
}

static void find_mouse(void)
{
	glob_t nodes;

	if (glob("/dev/input/event*", 0, NULL, &nodes) != 0) {
		errx(1, "no input");
	}
	for (size_t i = 0; i < nodes.gl_pathc && mouse < 0; i++) {
		unsigned long rel = 0;
		int fd = open(nodes.gl_pathv[i], O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && ioctl(fd, EVIOCGBIT(EV_REL, sizeof(rel)), &rel) >= 0 && (rel & 1u << REL_X)) {
			mouse = fd;
		} else if (fd >= 0) {
			close(fd);
		}
	}
	globfree(&nodes);
	if (mouse < 0) {
		errx(1, "no mouse");
	}
}

static void on_flip(int fd, unsigned sequence, unsigned s, unsigned us, void *done)
{
	(void)fd, (void)sequence, (void)s, (void)us;
	*(bool *)done = true;
}

/* What has been drawn is on the screen when it returns. */
static void show(void)
{
	drmEventContext events = {.version = 2, .page_flip_handler = on_flip};
	bool is_done = false;
	struct gbm_bo *bo;
	uint32_t fb;

	eglSwapBuffers(screen.display, screen.window);
	bo = gbm_surface_lock_front_buffer(screen.surface);
	if (!bo || drmModeAddFB(screen.fd, screen.mode.hdisplay, screen.mode.vdisplay, 24, 32, gbm_bo_get_stride(bo), gbm_bo_get_handle(bo).u32, &fb) != 0) {
		errx(1, "no buffer");
	}
	if (!screen.shown) {
		is_done = drmModeSetCrtc(screen.fd, screen.crtc, fb, 0, 0, &screen.connector, 1, &screen.mode) == 0;
	} else if (drmModePageFlip(screen.fd, screen.crtc, fb, DRM_MODE_PAGE_FLIP_EVENT, &is_done) == 0) {
		while (!is_done && drmHandleEvent(screen.fd, &events) == 0) {
		}
	}
	if (!is_done) {
		err(1, "the picture cannot be shown");
	}
	if (screen.shown) {
		drmModeRmFB(screen.fd, screen.fb);
		gbm_surface_release_buffer(screen.surface, screen.shown);
	}
	screen.shown = bo;
	screen.fb = fb;
}

static void draw(int x, int y)
{
	glDisable(GL_SCISSOR_TEST);
	glClearColor(0.125f, 0.125f, 0.25f, 1);
	glClear(GL_COLOR_BUFFER_BIT);
	glEnable(GL_SCISSOR_TEST);
	glScissor(x, screen.mode.vdisplay - SQUARE - y, SQUARE, SQUARE);
	glClearColor(1, 0.5f, 0, 1);
	glClear(GL_COLOR_BUFFER_BIT);
	show();
	printf("at %d %d\n", x, y);
}

/* Within the screen. */
static int moved(int at, int by, int size)
{
	at += by;
	return at < 0 ? 0 : at > size - SQUARE ? size - SQUARE : at;
}

int main(void)
{
	int x, y;

	setvbuf(stdout, NULL, _IOLBF, 0);
	find_screen();
	open_gl();
	find_mouse();
	printf("steer %d %d\n", screen.mode.hdisplay, screen.mode.vdisplay);
	x = screen.mode.hdisplay / 2;
	y = screen.mode.vdisplay / 2;
	for (bool is_new = true;;) {
		struct input_event e;

		if (is_new) {
			draw(x, y);
		}
		if (read(mouse, &e, sizeof(e)) != sizeof(e)) {
			err(1, "the mouse has gone");
		}
		if (e.type == EV_REL && e.code == REL_X) {
			x = moved(x, e.value, screen.mode.hdisplay);
		} else if (e.type == EV_REL && e.code == REL_Y) {
			y = moved(y, e.value, screen.mode.vdisplay);
		}
		is_new = e.type == EV_SYN && e.code == SYN_REPORT;
	}
}
