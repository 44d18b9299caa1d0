/* SPDX-License-Identifier: MIT */
/*
 * A viewer that imports pictures where they lie on a GPU, written from docs/display-protocol.md, without a window: `importer SOCKET RENDER_NODE|- [observe]`; -: it only keeps the descriptors, and looks at nothing. It says what it is sent, a line each; of a frame its sum of
 * red, green, blue, row by row, and the first pixels of its first and last rows; and releases it. On standard input it is told what to do:
 *
 *   hold MS        keep each frame so long before it is looked at once more and released; a frame that is then another one is `torn`
 *   sums 0|1|2     only the two pixels; all of it; all of it by a number that is sooner made
 *   imports all|rows|none|unlike    what it can import from now on; rows: what any GPU can
 *   control 0|1    output W H    quit
 */
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GL/gl.h>
#include <GL/glext.h>
#include <drm_fourcc.h>
#include <fcntl.h>
#include <gbm.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "display/viewer_proto.h"

#define BUFFERS 64

static int sock;
static unsigned hold_ms;
static unsigned sums = 1;
static EGLDisplay display;

static struct {
	struct viewer_buffer b; /* id 0: none */
	const uint8_t *map;
	int fd; /* that is only kept; 0: none */
	GLuint texture, framebuffer;
} buffers[BUFFERS];

static PFNEGLCREATEIMAGEKHRPROC create_image;
static PFNEGLDESTROYIMAGEKHRPROC destroy_image;
static void (*image_target)(GLenum target, void *image);
static PFNGLGENFRAMEBUFFERSPROC gen_framebuffers;
static PFNGLDELETEFRAMEBUFFERSPROC delete_framebuffers;
static PFNGLBINDFRAMEBUFFERPROC bind_framebuffer;
static PFNGLFRAMEBUFFERTEXTURE2DPROC framebuffer_texture;

static bool open_gpu(const char *node)
{
	static const EGLint attributes[] = {EGL_CONTEXT_MAJOR_VERSION, 3, EGL_CONTEXT_MINOR_VERSION, 1, EGL_CONTEXT_OPENGL_PROFILE_MASK, EGL_CONTEXT_OPENGL_CORE_PROFILE_BIT, EGL_NONE};
	int fd = open(node, O_RDWR | O_CLOEXEC);
	struct gbm_device *gbm = fd >= 0 ? gbm_create_device(fd) : NULL;
	EGLContext context;

	display = gbm ? eglGetPlatformDisplay(EGL_PLATFORM_GBM_KHR, gbm, NULL) : EGL_NO_DISPLAY;
	if (display == EGL_NO_DISPLAY || !eglInitialize(display, NULL, NULL) || !eglBindAPI(EGL_OPENGL_API)) {
		return false;
	}
	context = eglCreateContext(display, EGL_NO_CONFIG_KHR, EGL_NO_CONTEXT, attributes);
	*(void **)&create_image = (void *)eglGetProcAddress("eglCreateImageKHR");
	*(void **)&destroy_image = (void *)eglGetProcAddress("eglDestroyImageKHR");
	*(void **)&image_target = (void *)eglGetProcAddress("glEGLImageTargetTexture2DOES");
	*(void **)&gen_framebuffers = (void *)eglGetProcAddress("glGenFramebuffers");
	*(void **)&delete_framebuffers = (void *)eglGetProcAddress("glDeleteFramebuffers");
	*(void **)&bind_framebuffer = (void *)eglGetProcAddress("glBindFramebuffer");
	*(void **)&framebuffer_texture = (void *)eglGetProcAddress("glFramebufferTexture2D");
	return context && eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, context) && create_image && destroy_image && image_target && gen_framebuffers;
}

static bool say(const void *message, size_t len)
{
	return send(sock, message, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool say_imports(const char *what)
{
	static const uint32_t fourccs[] = {DRM_FORMAT_XRGB8888, DRM_FORMAT_ARGB8888, DRM_FORMAT_XBGR8888, DRM_FORMAT_ABGR8888};
	struct {
		struct viewer_imports m;
		struct viewer_format format[8];
	} all = {.m = {.hdr.type = VIEWER_IMPORTS, .nformats = strcmp(what, "none") == 0 ? 0 : 8}};

	strcpy((char *)all.m.text, "as it was told");
	for (unsigned i = 0; i < 8; i++) {
		all.format[i] = (struct viewer_format){.fourcc = fourccs[i / 2],
			.modifier = strcmp(what, "unlike") == 0 ? 12345 : (i & 1) || strcmp(what, "rows") == 0 ? DRM_FORMAT_MOD_LINEAR : DRM_FORMAT_MOD_INVALID};
	}
	return say(&all, sizeof(all.m) + all.m.nformats * sizeof(all.format[0]));
}

/* Whose memory it is, as the kernel says. */
static void exporter(int fd, char *name, size_t len)
{
	char path[64], line[256];
	FILE *f;

	snprintf(name, len, "none");
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "exp_name:", 9) == 0) {
			snprintf(name, len, "%.*s", (int)strcspn(line + 10, "\n"), line + 10);
		}
	}
	if (f) {
		fclose(f);
	}
}

static bool import(unsigned i, const int *fds)
{
	const struct viewer_buffer *b = &buffers[i].b;
	EGLint a[64], n = 0;
	EGLImageKHR image;

	a[n++] = EGL_WIDTH, a[n++] = (EGLint)b->width;
	a[n++] = EGL_HEIGHT, a[n++] = (EGLint)b->height;
	a[n++] = EGL_LINUX_DRM_FOURCC_EXT, a[n++] = (EGLint)b->fourcc;
	for (uint32_t p = 0; p < b->nplanes && p < 3; p++) {
		a[n++] = EGL_DMA_BUF_PLANE0_FD_EXT + 3 * (EGLint)p, a[n++] = fds[p];
		a[n++] = EGL_DMA_BUF_PLANE0_OFFSET_EXT + 3 * (EGLint)p, a[n++] = (EGLint)b->offset[p];
		a[n++] = EGL_DMA_BUF_PLANE0_PITCH_EXT + 3 * (EGLint)p, a[n++] = (EGLint)b->stride[p];
		if (b->modifier != DRM_FORMAT_MOD_INVALID) {
			a[n++] = EGL_DMA_BUF_PLANE0_MODIFIER_LO_EXT + 2 * (EGLint)p, a[n++] = (EGLint)b->modifier;
			a[n++] = EGL_DMA_BUF_PLANE0_MODIFIER_HI_EXT + 2 * (EGLint)p, a[n++] = (EGLint)(b->modifier >> 32);
		}
	}
	a[n] = EGL_NONE;
	image = create_image(display, EGL_NO_CONTEXT, EGL_LINUX_DMA_BUF_EXT, NULL, a);
	if (image == EGL_NO_IMAGE_KHR) {
		return false;
	}
	glGenTextures(1, &buffers[i].texture);
	glBindTexture(GL_TEXTURE_2D, buffers[i].texture);
	image_target(GL_TEXTURE_2D, image);
	destroy_image(display, image);
	gen_framebuffers(1, &buffers[i].framebuffer);
	bind_framebuffer(GL_FRAMEBUFFER, buffers[i].framebuffer);
	framebuffer_texture(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, buffers[i].texture, 0);
	return glGetError() == GL_NO_ERROR;
}

static bool on_buffer(const struct viewer_buffer *b, const int *fds, unsigned nfds)
{
	char name[64];
	unsigned i = 0;

	while (i < BUFFERS && buffers[i].b.id) {
		i++;
	}
	if (i == BUFFERS || nfds != b->nplanes) {
		return false;
	}
	buffers[i].b = *b;
	exporter(fds[0], name, sizeof(name));
	printf("buffer %" PRIu64 " %ux%u %.4s kind %u planes %u modifier %" PRIx64 " exporter %s%s\n", b->id, b->width, b->height, (const char *)&b->fourcc, b->kind, b->nplanes, b->modifier, name,
		b->flags & VIEWER_BUFFER_Y_INVERTED ? " upside down" : "");
	if (display == EGL_NO_DISPLAY) {
		return (buffers[i].fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 0)) > 0;
	}
	if (b->kind == VIEWER_DMABUF) {
		return import(i, fds);
	}
	buffers[i].map = mmap(NULL, b->len, PROT_READ, MAP_SHARED, fds[0], 0);
	return buffers[i].map != MAP_FAILED;
}

static bool on_gone(uint64_t id)
{
	for (unsigned i = 0; i < BUFFERS; i++) {
		if (buffers[i].b.id == id) {
			if (buffers[i].fd > 0) {
				close(buffers[i].fd);
			} else if (buffers[i].map) {
				munmap((void *)(uintptr_t)buffers[i].map, buffers[i].b.len);
			} else {
				glDeleteTextures(1, &buffers[i].texture);
				delete_framebuffers(1, &buffers[i].framebuffer);
			}
			memset(&buffers[i], 0, sizeof(buffers[i]));
			printf("gone %" PRIu64 "\n", id);
			return true;
		}
	}
	return false;
}

static uint32_t crc32(uint32_t crc, uint8_t byte)
{
	crc ^= byte;
	for (int i = 0; i < 8; i++) {
		crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return crc;
}

static void turn_over(uint8_t *rows, size_t len, uint32_t n)
{
	for (uint32_t k = 0; k < n / 2; k++) {
		for (size_t x = 0; x < len; x++) {
			uint8_t *a = rows + k * len + x, *b = rows + (n - 1 - k) * len + x, kept = *a;

			*a = *b;
			*b = kept;
		}
	}
}

/* Rows @y to @y + @n of the frame: blue, green, red, and one that says nothing. */
static void read_rows(unsigned i, const struct viewer_frame *f, uint32_t y, uint32_t n, uint8_t *out)
{
	const struct viewer_buffer *b = &buffers[i].b;
	bool is_inverted = b->flags & VIEWER_BUFFER_Y_INVERTED;
	uint32_t top = is_inverted ? b->height - f->crop.y - y - n : f->crop.y + y;

	for (uint32_t k = 0; buffers[i].map && k < n; k++) {
		memcpy(out + (size_t)k * f->crop.w * 4, buffers[i].map + b->offset[0] + (size_t)(top + k) * b->stride[0] + 4ul * f->crop.x, f->crop.w * 4ul);
	}
	if (!buffers[i].map) {
		bind_framebuffer(GL_FRAMEBUFFER, buffers[i].framebuffer);
		glReadPixels((GLint)f->crop.x, (GLint)top, (GLsizei)f->crop.w, (GLsizei)n, GL_BGRA, GL_UNSIGNED_BYTE, out);
	}
	if (is_inverted) {
		turn_over(out, f->crop.w * 4ul, n);
	}
}

struct look {
	uint32_t sum, first, last;
};

static struct look look(unsigned i, const struct viewer_frame *f)
{
	size_t row = f->crop.w * 4ul, n = row * (sums ? f->crop.h : 1);
	uint8_t *pixels = calloc(1, n);
	struct look l = {.sum = ~0u};

	read_rows(i, f, 0, 1, pixels);
	l.first = (uint32_t)pixels[2] << 16 | (uint32_t)pixels[1] << 8 | pixels[0];
	read_rows(i, f, f->crop.h - 1, 1, pixels);
	l.last = (uint32_t)pixels[2] << 16 | (uint32_t)pixels[1] << 8 | pixels[0];
	if (sums) {
		read_rows(i, f, 0, f->crop.h, pixels);
	}
	for (size_t k = 0; sums == 2 && k < n; k += 4) {
		l.sum = l.sum * 31 + ((uint32_t)pixels[k + 2] << 16 | (uint32_t)pixels[k + 1] << 8 | pixels[k]);
	}
	for (size_t k = 0; sums == 1 && k < n; k += 4) {
		l.sum = crc32(crc32(crc32(l.sum, pixels[k + 2]), pixels[k + 1]), pixels[k]);
	}
	l.sum = ~l.sum;
	free(pixels);
	return l;
}

static bool on_frame(const struct viewer_frame *f)
{
	const struct viewer_release m = {.hdr.type = VIEWER_RELEASE, .scanout = f->scanout, .number = f->number};

	for (unsigned i = 0; i < BUFFERS; i++) {
		struct look a, b;

		if (buffers[i].b.id != f->buffer) {
			continue;
		}
		a = display == EGL_NO_DISPLAY ? (struct look){.sum = 0} : look(i, f);
		if (hold_ms) {
			usleep(hold_ms * 1000);
		}
		b = hold_ms && display != EGL_NO_DISPLAY ? look(i, f) : a;
		printf("frame %u %" PRIu64 " %ux%u %08x %06x %06x%s\n", f->scanout, f->number, f->crop.w, f->crop.h, a.sum, a.first, a.last, memcmp(&a, &b, sizeof(a)) || (!sums && a.first != a.last) ? " torn" : "");
		return say(&m, sizeof(m));
	}
	return false;
}

/* Return: false when that was the last. */
static bool on_packet(void)
{
	static union {
		uint8_t bytes[VIEWER_PACKET_MAX];
		struct viewer_header hdr;
		struct viewer_hello hello;
		struct viewer_buffer buffer;
		struct viewer_buffer_gone gone;
		struct viewer_frame frame;
		struct viewer_bye bye;
	} m;
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(sizeof(int) * VIEWER_FDS_MAX)];
	} cmsg;
	struct iovec iov = {m.bytes, sizeof(m.bytes)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cmsg, .msg_controllen = sizeof(cmsg)};
	int fds[VIEWER_FDS_MAX];
	unsigned nfds = 0;
	bool good = true;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) <= 0) {
		puts("end");
		return false;
	}
	if (CMSG_FIRSTHDR(&msg)) {
		nfds = (unsigned)((CMSG_FIRSTHDR(&msg)->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), nfds * sizeof(int));
	}
	switch (m.hdr.type) {
	case VIEWER_HELLO:
		printf("hello features %u render %u:%u\n", m.hello.features, m.hello.render_major, m.hello.render_minor);
		break;
	case VIEWER_BUFFER:
		good = on_buffer(&m.buffer, fds, nfds);
		break;
	case VIEWER_BUFFER_GONE:
		good = on_gone(m.gone.id);
		break;
	case VIEWER_FRAME:
		good = on_frame(&m.frame);
		break;
	case VIEWER_BYE:
		printf("bye %u %s\n", m.bye.reason, (const char *)m.bye.text);
		break;
	default:
		break;
	}
	while (nfds > 0) {
		close(fds[--nfds]);
	}
	if (!good) {
		puts("error");
	}
	return good;
}

/* Return: false when it was quit. */
static bool command(const char *line)
{
	char what[16];
	unsigned n, w, h;

	if (sscanf(line, "hold %u", &n) == 1) {
		hold_ms = n;
	} else if (sscanf(line, "sums %u", &n) == 1) {
		sums = n;
	} else if (sscanf(line, "imports %15s", what) == 1) {
		say_imports(what);
	} else if (sscanf(line, "control %u", &n) == 1) {
		say(&(const struct viewer_control){.hdr.type = VIEWER_CONTROL, .wants = n}, sizeof(struct viewer_control));
	} else if (sscanf(line, "output %u %u", &w, &h) == 2) {
		say(&(const struct viewer_output){.hdr.type = VIEWER_OUTPUT, .plugged = 1, .width = w, .height = h}, sizeof(struct viewer_output));
	}
	return strncmp(line, "quit", 4) != 0;
}

int main(int argc, char **argv)
{
	struct viewer_client_hello hello = {.hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .features = VIEWER_CAN_DMABUF, .name = "importer"};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char line[256];

	if (argc > 3 && strcmp(argv[3], "observe") == 0) {
		hello.flags = VIEWER_OBSERVES;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	setvbuf(stdin, NULL, _IONBF, 0);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (argc < 3 || strlen(argv[1]) >= sizeof(addr.sun_path)) {
		return 2;
	}
	strcpy(addr.sun_path, argv[1]);
	if (strcmp(argv[2], "-") != 0 && !open_gpu(argv[2])) {
		fprintf(stderr, "%s: no OpenGL\n", argv[2]);
		return 1;
	}
	if (connect(sock, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || !say(&hello, sizeof(hello)) || !say_imports("all")) {
		perror(argv[1]);
		return 1;
	}
	for (;;) {
		struct pollfd p[2] = {{.fd = sock, .events = POLLIN}, {.fd = 0, .events = POLLIN}};

		poll(p, 2, -1);
		if (p[0].revents && !on_packet()) {
			return 0;
		}
		if (p[1].revents && (!fgets(line, sizeof(line), stdin) || !command(line))) {
			return 0;
		}
	}
}
