/* SPDX-License-Identifier: MIT */
#include "tests/support/viewmon.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "display/buffer.h"

#define FDS_MAX 16

void viewmon_init(struct viewmon *m)
{
	int fds[2];

	memset(m, 0, sizeof(*m));
	assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	m->fd = fds[0];
	m->viewer_fd = fds[1];
}

void viewmon_finish(struct viewmon *m)
{
	if (m->fd >= 0) {
		close(m->fd);
	}
	if (m->viewer_fd >= 0) {
		close(m->viewer_fd);
	}
	m->fd = m->viewer_fd = -1;
}

static void send_with(struct viewmon *m, const void *message, size_t len, const int *fds, unsigned n)
{
	union {
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {(void *)(uintptr_t)message, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cmsg;

	if (n > 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
	}
	assert(sendmsg(m->fd, &msg, MSG_NOSIGNAL) == (ssize_t)len);
}

void viewmon_send(struct viewmon *m, const void *message, size_t len)
{
	send_with(m, message, len, NULL, 0);
}

void viewmon_send_memfd(struct viewmon *m, const void *message, size_t len, unsigned n, uint64_t size, int seals, uint8_t fill)
{
	int fd = memfd_create("viewmon", MFD_CLOEXEC | MFD_ALLOW_SEALING), fds[FDS_MAX];

	assert(fd >= 0 && n <= FDS_MAX && ftruncate(fd, (off_t)size) == 0);
	if (fill) {
		void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		assert(map != MAP_FAILED);
		memset(map, fill, size);
		munmap(map, size);
	}
	assert(fcntl(fd, F_ADD_SEALS, seals) == 0);
	for (unsigned i = 0; i < n; i++) {
		fds[i] = fd;
	}
	send_with(m, message, len, fds, n);
	close(fd);
}

void viewmon_send_fd(struct viewmon *m, const void *message, size_t len, int fd)
{
	send_with(m, message, len, &fd, 1);
}

void viewmon_hello(struct viewmon *m, unsigned nscanouts)
{
	struct viewer_hello hello = {.hdr.type = VIEWER_HELLO, .version = VIEWER_VERSION, .features = VIEWER_CAN_GUEST | VIEWER_CAN_DMABUF, .nscanouts = nscanouts,
		.viewer = 1, .vm = "web"};

	viewmon_send(m, &hello, sizeof(hello));
}

void viewmon_mode(struct viewmon *m, unsigned scanout, uint32_t width, uint32_t height)
{
	struct viewer_mode mode = {.hdr.type = VIEWER_MODE, .scanout = scanout, .flags = VIEWER_MODE_PLUGGED | VIEWER_MODE_SHOWS, .width = width, .height = height,
		.refresh_mhz = 60000};

	viewmon_send(m, &mode, sizeof(mode));
}

struct viewer_buffer viewmon_make_buffer(uint64_t id, uint32_t width, uint32_t height)
{
	return (struct viewer_buffer){.hdr.type = VIEWER_BUFFER, .id = id, .len = (uint64_t)width * height * 4, .kind = VIEWER_MEMFD, .fourcc = DISPLAY_XRGB8888, .width = width,
		.height = height, .nplanes = 1, .stride = {width * 4}};
}

void viewmon_buffer(struct viewmon *m, uint64_t id, uint32_t width, uint32_t height)
{
	struct viewer_buffer buffer = viewmon_make_buffer(id, width, height);

	viewmon_send_memfd(m, &buffer, sizeof(buffer), 1, buffer.len, F_SEAL_SHRINK, (uint8_t)id);
}

void viewmon_gone(struct viewmon *m, uint64_t id)
{
	struct viewer_buffer_gone gone = {.hdr.type = VIEWER_BUFFER_GONE, .id = id};

	viewmon_send(m, &gone, sizeof(gone));
}

struct viewer_frame viewmon_make_frame(unsigned scanout, uint64_t buffer, uint64_t number, uint32_t width, uint32_t height, struct viewer_rect r)
{
	return (struct viewer_frame){.hdr.type = VIEWER_FRAME, .buffer = buffer, .number = number, .scanout = scanout, .crop = {0, 0, width, height}, .nrects = 1, .rect = {r}};
}

void viewmon_frame(struct viewmon *m, unsigned scanout, uint64_t buffer, uint64_t number, uint32_t width, uint32_t height, struct viewer_rect r)
{
	struct viewer_frame frame = viewmon_make_frame(scanout, buffer, number, width, height, r);

	viewmon_send(m, &frame, offsetof(struct viewer_frame, rect) + sizeof(r));
}

void viewmon_input_state(struct viewmon *m, uint32_t has, uint32_t driven, uint32_t leds)
{
	struct viewer_input_state state = {.hdr.type = VIEWER_INPUT_STATE, .has = has, .driven = driven, .leds = leds};

	viewmon_send(m, &state, sizeof(state));
}

void viewmon_role(struct viewmon *m, uint32_t controls)
{
	struct viewer_role role = {.hdr.type = VIEWER_ROLE, .controls = controls, .controller = controls ? 1 : 2, .pid = controls ? 0 : 4321, .nviewers = 2, .name = "other"};

	viewmon_send(m, &role, sizeof(role));
}

void viewmon_bye(struct viewmon *m, uint32_t reason, const char *text)
{
	struct viewer_bye bye = {.hdr.type = VIEWER_BYE, .reason = reason, .version = VIEWER_VERSION};

	memcpy(bye.text, text, strnlen(text, sizeof(bye.text)));
	viewmon_send(m, &bye, sizeof(bye));
}

const void *viewmon_read(struct viewmon *m, uint32_t type)
{
	const struct viewer_header *hdr = (const struct viewer_header *)m->packet;

	for (;;) {
		ssize_t len = recv(m->fd, m->packet, sizeof(m->packet), 0);

		if (len <= 0) {
			assert(len == 0 || errno == EAGAIN || errno == ECONNRESET);
			return NULL;
		}
		assert((size_t)len >= sizeof(*hdr));
		/* What is not sent is not there either. */
		memset((uint8_t *)m->packet + len, 0, sizeof(m->packet) - (size_t)len);
		if (type == 0 || hdr->type == type) {
			return hdr;
		}
	}
}
