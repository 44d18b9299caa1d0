/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the monitor's side of the viewer protocol. The input is what one viewer sends while a guest paints: a byte that says how long the next packet is, one that says what
 * happens after it, then its bytes; pictures are memory or copies on a GPU, as it wants. What must hold: nothing crashes, a second viewer keeps its connection and gets every frame it releases, nothing is left when both are gone.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/log.h"
#include "vmm/viewers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define W 16
#define H 16

static struct loop loop;
static struct display display;
static struct viewers viewers;
static bool is_full; /* the guest is late */
static uint64_t last; /* the number of the last frame the honest one got */

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static void must(int is_so)
{
	if (!is_so) {
		abort();
	}
}

static void on_input(void *ctx, const struct viewer_conn *c, enum viewer_device device, const struct input_ev *ev, unsigned n)
{
	(void)ctx;
	must(!is_full && viewers.controller == c && device >= VIEWER_KEYBOARD && device <= VIEWER_TOUCH && n > 1 && n <= 2 * VIEWER_EVENTS_MAX + 1);
	for (unsigned i = 0; i < n; i++) {
		must((ev[i].type == EV_SYN) == (i == n - 1));
		must(ev[i].type != EV_ABS || ev[i].code == ABS_MT_SLOT || ev[i].code == ABS_MT_TRACKING_ID || (ev[i].value >= 0 && ev[i].value <= INPUT_TABLET_MAX));
	}
}

static bool has_room(void *ctx, enum viewer_device device)
{
	(void)ctx;
	must(device >= VIEWER_KEYBOARD && device <= VIEWER_TOUCH);
	return !is_full;
}

static void on_release(void *ctx, const struct viewer_conn *c)
{
	(void)ctx;
	(void)c;
}

static void on_action(void *ctx, enum viewer_action_kind action)
{
	(void)ctx;
	must(action >= VIEWER_POWER_BUTTON && action <= VIEWER_STOP);
}

static void on_input_state(void *ctx, struct viewer_input_state *s)
{
	(void)ctx;
	s->has = VIEWER_HAS_KEYBOARD;
}

static void on_event(void *ctx, const struct viewer_conn *c, const char *what)
{
	(void)ctx;
	(void)what;
	must(memchr(c->name, 0, sizeof(c->name)) != NULL);
}

static const struct viewers_ops ops = {.input = on_input, .has_room = has_room, .release = on_release, .action = on_action, .input_state = on_input_state, .event = on_event};

static void serve(void)
{
	for (int i = 0; i < 6; i++) {
		loop_run_once(&loop, 0);
	}
}

static void show(void)
{
	struct display_picture p = {.fourcc = DISPLAY_ARGB8888, .width = W, .height = H, .stride = W * 4, .len = (uint64_t)W * H * 4};
	struct display_buffer *buffer;
	uint8_t *map = NULL;

	p.fd = display_memfd("fuzz", p.len, &map);
	must(p.fd >= 0 && display_budget_take(&display.budget, p.len));
	munmap(map, p.len);
	buffer = display_buffer_create(&p, &display.budget, p.len);
	display_show(&display, 0, buffer, &(struct display_rect){0, 0, W, H});
	display_buffer_unref(buffer);
}

/* Somebody takes copies, or nobody does. */
static void on_wanted(void *ctx, unsigned i)
{
	(void)ctx;
	display_set_copied(&display, i, display_copy_sinks(&display) > 0);
}

static void publish(void)
{
	struct display_picture p = {.fd = -1, .fourcc = DISPLAY_ARGB8888, .width = W, .height = H, .planes = {.n = 2, .fd = {open("/dev/null", O_RDONLY | O_CLOEXEC), open("/dev/null", O_RDONLY | O_CLOEXEC)}}};
	struct display_buffer *copy;

	must(display_budget_take(&display.budget, 1));
	copy = display_buffer_create(&p, &display.budget, 1);
	display_publish(&display, 0, copy, display.scanout[0].frames, 1);
	display_buffer_unref(copy);
}

/* Takes what there is. Return: how many frames came. */
static unsigned drain(int fd, uint64_t *number)
{
	union {
		struct viewer_header hdr;
		struct viewer_frame frame;
		uint8_t bytes[VIEWER_PACKET_MAX];
	} m;
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(VIEWER_FDS_MAX * sizeof(int))];
	} cmsg;
	unsigned frames = 0;

	for (;;) {
		struct iovec iov = {m.bytes, sizeof(m.bytes)};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cmsg, .msg_controllen = sizeof(cmsg)};
		const struct cmsghdr *c;

		if (recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0) {
			return frames;
		}
		c = CMSG_FIRSTHDR(&msg);
		if (c) {
			int received[VIEWER_FDS_MAX];
			size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

			memcpy(received, CMSG_DATA(c), n * sizeof(int));
			while (n > 0) {
				close(received[--n]);
			}
		}
		if (m.hdr.type == VIEWER_FRAME) {
			*number = m.frame.number;
			frames++;
		}
	}
}

/* The other viewer releases what it has, and gets what the guest has flushed. */
static void check_honest(int fd)
{
	struct viewer_release m = {.hdr.type = VIEWER_RELEASE, .number = last};

	if (!display.scanout[0].buffer) {
		return;
	}
	display_flush(&display, 0, &(struct display_rect){0, 0, W, H});
	must(send(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(m));
	serve();
	must(drain(fd, &last) == 1);
}

static void act(unsigned what, int fd)
{
	static uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE];
	uint64_t number;

	switch (what % 8) {
	case 0:
		display_flush(&display, 0, &(struct display_rect){what / 8, 1, 2, 3});
		break;
	case 1:
		show();
		break;
	case 2:
		drain(fd, &number);
		break;
	case 3:
		display_set_cursor(&display, 0, what & 8 ? image : NULL, what, what);
		break;
	case 4:
		display_move_cursor(&display, 0, (int32_t)what, -(int32_t)what);
		break;
	case 5:
		viewers_input_changed(&viewers);
		break;
	case 6:
		is_full = what & 8;
		if (!is_full) {
			viewers_room(&viewers);
		}
		break;
	default:
		if (display.scanout[0].is_copied) {
			publish();
		}
		break;
	}
	serve();
}

static int join(void)
{
	int sv[2];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == 0 && viewers_add(&viewers, sv[0], 1) == 0);
	viewers.conn[viewers.n - 1]->is_kept = false;
	return sv[1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct display_output outputs[2] = {{.enabled = true, .width = W, .height = H, .refresh_hz = 60}, {.enabled = false, .width = 99, .height = 9, .refresh_hz = 1}};
	const struct viewer_client_hello hello = {.hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .flags = VIEWER_OBSERVES};
	int honest, liar;

	log_set_hook(on_log);
	is_full = false;
	must(loop_init(&loop) == 0);
	display_init(&display, &loop, outputs, 2, 1 << 20);
	viewers_init(&viewers, &loop, &display, "vm", &ops, NULL);
	viewers.has_dmabufs = true;
	display_set_wanted(&display, on_wanted, NULL);
	honest = join();
	liar = join();
	show();
	must(send(honest, &hello, sizeof(hello), 0) == (ssize_t)sizeof(hello));
	serve();
	must(drain(honest, &last) == 1);
	while (len >= 2) {
		size_t n = data[0] < len - 2 ? data[0] : len - 2;

		/* An empty packet looks like the end. */
		if (n > 0) {
			send(liar, data + 2, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		}
		serve();
		act(data[1], liar);
		drain(honest, &last);
		data += 2 + n;
		len -= 2 + n;
	}
	check_honest(honest);
	close(liar);
	serve();
	must(viewers.n == 1);
	viewers_stop(&viewers, VIEWER_BYE_END);
	while (viewers.n > 0) {
		loop_run_once(&loop, -1);
	}
	close(honest);
	display_set_cursor(&display, 0, NULL, 0, 0);
	display_show(&display, 0, NULL, NULL);
	display_finish(&display);
	loop_finish(&loop);
	return 0;
}
