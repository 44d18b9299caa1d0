/* SPDX-License-Identifier: MIT */
/*
 * The smallest viewer there is, written from docs/display-protocol.md: no window, no library. `client SOCKET [observe|guest]`; guest: it takes
 * guest memory. It says what it is sent, a line each, and releases every frame once it has read it; on standard input it is told what to do:
 *
 *   key CODE 0|1    press, release      tablet X Y    0 to 65535      control 0|1    focus 0|1    output W H
 *   idle 0|1        do not look at pictures: takes no time
 *   hold 0|1        keep the frames it gets, and release them     send HEX    any packet     quit
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "display/viewer_proto.h"

#define BUFFERS 256
#define SCANOUTS 16

static int sock;
static bool holds, is_idle, takes_guest;
static struct {
	uint64_t id;
	struct viewer_buffer b;
	const uint8_t *map;
} buffers[BUFFERS];
static uint64_t held[SCANOUTS]; /* number + 1 of a frame that is kept */

static bool say(const void *message, size_t len)
{
	return send(sock, message, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static uint32_t crc32(uint32_t crc, uint8_t byte)
{
	crc ^= byte;
	for (int i = 0; i < 8; i++) {
		crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return crc;
}

/* Of the picture's red, green, blue, row by row. */
static uint32_t sum_of(const struct viewer_frame *f, const struct viewer_buffer *b, const uint8_t *map)
{
	uint32_t crc = ~0u;

	for (uint32_t y = 0; !is_idle && y < f->crop.h; y++) {
		const uint8_t *p = map + b->offset[0] + (size_t)(f->crop.y + y) * b->stride[0] + 4ul * f->crop.x;

		for (uint32_t x = 0; x < f->crop.w; x++, p += 4) {
			crc = crc32(crc32(crc32(crc, p[2]), p[1]), p[0]);
		}
	}
	return ~crc;
}

static void release(uint32_t scanout, uint64_t number)
{
	const struct viewer_release m = {.hdr.type = VIEWER_RELEASE, .scanout = scanout, .number = number};

	say(&m, sizeof(m));
}

static bool on_buffer(const struct viewer_buffer *b, int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	unsigned i = 0;

	while (i < BUFFERS && buffers[i].id) {
		i++;
	}
	if (i == BUFFERS || fd < 0 || (b->kind == VIEWER_MEMFD ? seals < 0 || !(seals & F_SEAL_SHRINK) : b->kind != VIEWER_GUEST || !takes_guest)) {
		return false;
	}
	if (lseek(fd, 0, SEEK_END) < (off_t)b->len) {
		return false;
	}
	buffers[i].map = mmap(NULL, b->len, PROT_READ, MAP_SHARED, fd, 0);
	buffers[i].b = *b;
	buffers[i].id = b->id;
	printf("buffer %" PRIu64 " %ux%u %.4s%s\n", b->id, b->width, b->height, (const char *)&b->fourcc, b->kind == VIEWER_GUEST ? " guest" : "");
	return buffers[i].map != MAP_FAILED;
}

static bool on_gone(uint64_t id)
{
	for (unsigned i = 0; i < BUFFERS; i++) {
		if (buffers[i].id == id) {
			munmap((void *)(uintptr_t)buffers[i].map, buffers[i].b.len);
			buffers[i].id = 0;
			printf("gone %" PRIu64 "\n", id);
			return true;
		}
	}
	return false;
}

static bool on_frame(const struct viewer_frame *f)
{
	for (unsigned i = 0; i < BUFFERS; i++) {
		if (buffers[i].id == f->buffer) {
			printf("frame %u %" PRIu64 " %ux%u %08x%s\n", f->scanout, f->number, f->crop.w, f->crop.h, sum_of(f, &buffers[i].b, buffers[i].map), f->input_ns ? " input" : "");
			if (holds) {
				held[f->scanout] = f->number + 1;
			} else {
				release(f->scanout, f->number);
			}
			return true;
		}
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
		struct viewer_mode mode;
		struct viewer_buffer buffer;
		struct viewer_buffer_gone gone;
		struct viewer_frame frame;
		struct viewer_cursor cursor;
		struct viewer_role role;
		struct viewer_input_state input;
		struct viewer_bye bye;
	} m;
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(sizeof(int) * VIEWER_FDS_MAX)];
	} cmsg;
	struct iovec iov = {m.bytes, sizeof(m.bytes)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cmsg, .msg_controllen = sizeof(cmsg)};
	bool good = true;
	int fd = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) <= 0) {
		puts("end");
		return false;
	}
	if (CMSG_FIRSTHDR(&msg)) {
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	}
	switch (m.hdr.type) {
	case VIEWER_HELLO:
		printf("hello %u %s\n", m.hello.nscanouts, (const char *)m.hello.vm);
		break;
	case VIEWER_MODE:
		printf("mode %u %ux%u %u\n", m.mode.scanout, m.mode.width, m.mode.height, m.mode.flags);
		break;
	case VIEWER_BUFFER:
		good = on_buffer(&m.buffer, fd);
		break;
	case VIEWER_BUFFER_GONE:
		good = on_gone(m.gone.id);
		break;
	case VIEWER_FRAME:
		good = on_frame(&m.frame);
		break;
	case VIEWER_CURSOR:
		printf("cursor %u %d %d %u\n", m.cursor.scanout, m.cursor.x, m.cursor.y, m.cursor.visible);
		break;
	case VIEWER_ROLE:
		printf("role %u of %u\n", m.role.controls, m.role.nviewers);
		break;
	case VIEWER_INPUT_STATE:
		printf("input %u driven %u leds %u\n", m.input.has, m.input.driven, m.input.leds);
		break;
	case VIEWER_BYE:
		printf("bye %u %s\n", m.bye.reason, (const char *)m.bye.text);
		break;
	default:
		break;
	}
	if (fd >= 0) {
		close(fd);
	}
	if (!good) {
		puts("error");
	}
	return good;
}

static void input(uint32_t device, unsigned n, const struct viewer_event *ev)
{
	uint8_t packet[sizeof(struct viewer_input) + 2 * sizeof(*ev)];
	struct timespec ts;
	struct viewer_input in = {.hdr.type = VIEWER_INPUT, .device = device, .nevents = n};

	clock_gettime(CLOCK_MONOTONIC, &ts);
	in.time_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	memcpy(packet, &in, sizeof(in));
	memcpy(packet + sizeof(in), ev, n * sizeof(*ev));
	say(packet, sizeof(in) + n * sizeof(*ev));
}

static void hold(bool on)
{
	holds = on;
	for (uint32_t i = 0; !on && i < SCANOUTS; i++) {
		if (held[i]) {
			release(i, held[i] - 1);
			held[i] = 0;
		}
	}
}

/* Return: false when it was quit. */
static bool command(const char *line)
{
	char hex[4096];
	unsigned a = 0, b = 0;

	if (sscanf(line, "key %u %u", &a, &b) == 2) {
		input(VIEWER_KEYBOARD, 1, (const struct viewer_event[]){{EV_KEY, (uint16_t)a, (int32_t)b}});
	} else if (sscanf(line, "tablet %u %u", &a, &b) == 2) {
		input(VIEWER_TABLET, 2, (const struct viewer_event[]){{EV_ABS, ABS_X, (int32_t)a}, {EV_ABS, ABS_Y, (int32_t)b}});
	} else if (sscanf(line, "control %u", &a) == 1) {
		say(&(const struct viewer_control){.hdr.type = VIEWER_CONTROL, .wants = a}, sizeof(struct viewer_control));
	} else if (sscanf(line, "focus %u", &a) == 1) {
		say(&(const struct viewer_focus){.hdr.type = VIEWER_FOCUS, .has = a}, sizeof(struct viewer_focus));
	} else if (sscanf(line, "output %u %u", &a, &b) == 2) {
		say(&(const struct viewer_output){.hdr.type = VIEWER_OUTPUT, .plugged = 1, .width = a, .height = b}, sizeof(struct viewer_output));
	} else if (sscanf(line, "idle %u", &a) == 1) {
		is_idle = a;
	} else if (sscanf(line, "hold %u", &a) == 1) {
		hold(a);
	} else if (sscanf(line, "send %4095[0-9a-f]", hex) == 1) {
		uint8_t packet[2048];
		size_t n = strlen(hex) / 2;

		for (size_t i = 0; i < n; i++) {
			sscanf(hex + 2 * i, "%2hhx", &packet[i]);
		}
		say(packet, n);
	}
	return strncmp(line, "quit", 4) != 0;
}

int main(int argc, char **argv)
{
	struct viewer_client_hello hello = {.hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .name = "client"};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char line[8192];

	setvbuf(stdout, NULL, _IOLBF, 0);
	setvbuf(stdin, NULL, _IONBF, 0);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (argc < 2 || strlen(argv[1]) >= sizeof(addr.sun_path)) {
		return 2;
	}
	strcpy(addr.sun_path, argv[1]);
	takes_guest = argc > 2 && strcmp(argv[2], "guest") == 0;
	hello.features = takes_guest ? VIEWER_CAN_GUEST : 0;
	hello.flags = argc > 2 && !takes_guest ? VIEWER_OBSERVES : 0;
	if (connect(sock, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || !say(&hello, sizeof(hello))) {
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
