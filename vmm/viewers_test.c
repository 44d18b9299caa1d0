/* SPDX-License-Identifier: MIT */
/* Viewers over real sockets, on a real display: what an honest one gets, who controls, and that one that lies loses its own connection and nothing else. */
#include "vmm/viewers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/dial.h"
#include "vmm/clock.h"
#include "vmm/log.h"

#define BUDGET (1u << 22)
#define W 64
#define H 32

static struct loop loop;
static struct display display;
static struct viewers viewers;
static char path[] = "/tmp/viewers_test.XXXXXX";
static int listener;
static uint64_t now_ns;

/* What the owner was told. */
static struct {
	bool is_full; /* no device has room */
	unsigned inputs, asked, releases, actions, events, kept_gone, n;
	enum viewer_device device;
	struct input_ev ev[160];
} heard;

static void on_input(void *ctx, const struct viewer_conn *c, enum viewer_device device, const struct input_ev *ev, unsigned n)
{
	(void)ctx;
	(void)c;
	assert_true(!heard.is_full && n > 1 && n <= 160 && ev[n - 1].type == EV_SYN);
	heard.inputs++;
	heard.device = device;
	heard.n = n;
	memcpy(heard.ev, ev, n * sizeof(*ev));
}

static bool has_room(void *ctx, enum viewer_device device)
{
	(void)ctx;
	assert_true(device >= VIEWER_KEYBOARD);
	heard.asked++;
	return !heard.is_full;
}

static void on_release(void *ctx, const struct viewer_conn *c)
{
	(void)ctx;
	(void)c;
	heard.releases++;
}

static void on_action(void *ctx, enum viewer_action_kind action)
{
	(void)ctx;
	(void)action;
	heard.actions++;
}

static void on_input_state(void *ctx, struct viewer_input_state *s)
{
	(void)ctx;
	s->has = VIEWER_HAS_KEYBOARD;
}

static void on_event(void *ctx, const struct viewer_conn *c, const char *what)
{
	(void)ctx;
	(void)c;
	(void)what;
	heard.events++;
}

static void on_kept_gone(void *ctx)
{
	(void)ctx;
	heard.kept_gone++;
}

static const struct viewers_ops ops = {.input = on_input, .has_room = has_room, .release = on_release, .action = on_action, .input_state = on_input_state, .event = on_event,
	.kept_gone = on_kept_gone};

static void on_log(enum log_level level, const char *line)
{
	if (level == LOG_ERR) {
		fail_msg("%s", line);
	}
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir)) {
		n++;
	}
	closedir(dir);
	return n;
}

static void pass(uint64_t ns)
{
	now_ns += ns;
	clock_set_test_ns(now_ns);
}

static void serve(void)
{
	for (unsigned i = 0; i < 20; i++) {
		loop_run_once(&loop, 0);
	}
}

static void stop(enum viewer_bye_reason reason)
{
	viewers_stop(&viewers, reason);
	while (viewers.loop) {
		loop_run_once(&loop, -1);
	}
}

static int setup(void **state)
{
	const struct display_output outputs[2] = {{.enabled = true, .width = W, .height = H, .refresh_hz = 60}, {.enabled = true, .width = W, .height = H, .refresh_hz = 60}};

	(void)state;
	log_set_hook(on_log);
	memset(&heard, 0, sizeof(heard));
	now_ns = 1000000000;
	clock_set_test_ns(now_ns);
	assert_int_equal(loop_init(&loop), 0);
	display_init(&display, &loop, outputs, 2, BUDGET);
	viewers_init(&viewers, &loop, &display, "vm", &ops, NULL);
	unlink(path);
	listener = listener_open(path, SOCK_SEQPACKET, VIEWERS_MAX);
	assert_true(listener >= 0);
	assert_int_equal(viewers_listen(&viewers, listener), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stop(VIEWER_BYE_END);
	for (unsigned i = 0; i < 2; i++) {
		display_show(&display, i, NULL, NULL);
	}
	assert_null(display.sinks);
	display_finish(&display);
	close(listener);
	unlink(path);
	loop_finish(&loop);
	clock_set_test_ns(0);
	return 0;
}

/*
 * The guest.
 */

static void show(unsigned scanout)
{
	struct display_picture p = {.fourcc = DISPLAY_XRGB8888, .width = W, .height = H, .stride = W * 4, .len = (uint64_t)W * H * 4};
	const struct display_rect all = {0, 0, W, H};
	struct display_buffer *buffer;
	uint8_t *map;

	p.fd = display_memfd("test", p.len, &map);
	assert_true(p.fd >= 0);
	memset(map, 0x5a, p.len);
	munmap(map, p.len);
	assert_true(display_budget_take(&display.budget, p.len));
	buffer = display_buffer_create(&p, &display.budget, p.len);
	display_show(&display, scanout, buffer, &all);
	display_buffer_unref(buffer);
}

static void flush(unsigned scanout, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	pass(1000000);
	display_flush(&display, scanout, &(struct display_rect){x, y, w, h});
	serve();
}

/*
 * The viewer.
 */

struct packet {
	size_t len; /* 0: nothing came; SIZE_MAX: the connection has ended */
	int fd;
	union {
		uint8_t bytes[VIEWER_PACKET_MAX];
		struct viewer_header hdr;
		struct viewer_hello hello;
		struct viewer_mode mode;
		struct viewer_buffer buffer;
		struct viewer_buffer_gone gone;
		struct viewer_frame frame;
		struct viewer_cursor cursor;
		struct viewer_cursor_image image;
		struct viewer_role role;
		struct viewer_input_state input;
		struct viewer_bye bye;
	};
	int fds[VIEWER_FDS_MAX]; /* what came, fd the first of them */
	unsigned nfds;
};

static struct packet p;

static int dial_in(void)
{
	int fd = dial(path, SOCK_SEQPACKET);

	serve();
	return fd;
}

static bool in_one_go; /* packets are there together */

static void put(int fd, const void *message, size_t len)
{
	assert_int_equal(send(fd, message, len, MSG_NOSIGNAL), len);
	if (!in_one_go) {
		serve();
	}
}

#define PUT(fd, TYPE, ...) put(fd, &(const struct TYPE){__VA_ARGS__}, sizeof(struct TYPE))

static bool get(int fd)
{
	struct iovec iov = {p.bytes, sizeof(p.bytes)};
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(sizeof(int) * VIEWER_FDS_MAX)];
	} cmsg;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cmsg, .msg_controllen = sizeof(cmsg)};
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	p.fd = -1;
	p.nfds = 0;
	p.len = n > 0 ? (size_t)n : n == 0 || errno != EAGAIN ? SIZE_MAX : 0;
	if (n > 0 && CMSG_FIRSTHDR(&msg)) {
		p.nfds = (unsigned)((CMSG_FIRSTHDR(&msg)->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(p.fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), p.nfds * sizeof(int));
		p.fd = p.fds[0];
	}
	return n > 0;
}

/* The next message of @type; others are passed over. */
static void want(int fd, enum viewer_type type)
{
	while (get(fd) && p.hdr.type != type) {
		if (p.fd >= 0) {
			close(p.fd);
		}
	}
	if (p.len == 0 || p.len == SIZE_MAX) {
		fail_msg("message %u did not come", type);
	}
}

/* Return: how many of @type came. */
static unsigned drain(int fd, enum viewer_type type)
{
	unsigned n = 0;

	while (get(fd)) {
		n += p.hdr.type == type;
		if (p.fd >= 0) {
			close(p.fd);
		}
	}
	return n;
}

static int meet(uint32_t flags)
{
	int fd = dial_in();

	PUT(fd, viewer_client_hello, .hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .flags = flags, .name = "test");
	return fd;
}

static void hang_up(int fd)
{
	close(fd);
	serve();
}

static void want_bye(int fd, enum viewer_bye_reason reason)
{
	want(fd, VIEWER_BYE);
	assert_int_equal(p.bye.reason, reason);
	assert_false(get(fd));
	assert_int_equal(p.len, SIZE_MAX);
	hang_up(fd);
}

/*
 * Honest ones.
 */

static void test_viewers_show_what_there_is(void **state)
{
	const uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE] = {[0] = 0xff112233};
	const uint8_t *map;
	uint64_t id;
	int fd;

	(void)state;
	show(0);
	display_set_cursor(&display, 0, image, 3, 4);
	display_move_cursor(&display, 0, -5, 6);
	fd = meet(0);
	assert_true(get(fd));
	assert_int_equal(p.hdr.type, VIEWER_HELLO);
	assert_int_equal(p.hello.version, VIEWER_VERSION);
	assert_int_equal(p.hello.nscanouts, 2);
	assert_string_equal((char *)p.hello.vm, "vm");
	want(fd, VIEWER_INPUT_STATE);
	assert_int_equal(p.input.has, VIEWER_HAS_KEYBOARD);
	want(fd, VIEWER_ROLE);
	assert_int_equal(p.role.controls, 1);
	assert_int_equal(p.role.pid, getpid());
	want(fd, VIEWER_MODE);
	assert_int_equal(p.mode.scanout, 0);
	assert_int_equal(p.mode.flags, VIEWER_MODE_PLUGGED | VIEWER_MODE_SHOWS);
	assert_int_equal(p.mode.width, W);
	assert_int_equal(p.mode.refresh_mhz, 60000);
	assert_true(get(fd));
	assert_int_equal(p.hdr.type, VIEWER_MODE);
	assert_int_equal(p.mode.flags, VIEWER_MODE_PLUGGED);
	want(fd, VIEWER_CURSOR_IMAGE);
	assert_int_equal(p.len, sizeof(struct viewer_cursor_image) + sizeof(image));
	assert_int_equal(p.image.hot_y, 4);
	assert_memory_equal(p.bytes + sizeof(struct viewer_cursor_image), image, sizeof(image));
	want(fd, VIEWER_CURSOR);
	assert_int_equal(p.cursor.x, -5);
	assert_int_equal(p.cursor.visible, 1);
	want(fd, VIEWER_BUFFER);
	assert_true(p.fd >= 0);
	assert_int_equal(p.buffer.kind, VIEWER_MEMFD);
	assert_int_equal(p.buffer.flags, VIEWER_BUFFER_OPAQUE);
	id = p.buffer.id;
	map = mmap(NULL, p.buffer.len, PROT_READ, MAP_SHARED, p.fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(map[W * H * 4 - 1], 0x5a);
	assert_ptr_equal(mmap(NULL, p.buffer.len, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0), MAP_FAILED);
	munmap((void *)(uintptr_t)map, p.buffer.len);
	close(p.fd);
	want(fd, VIEWER_FRAME);
	assert_int_equal(p.frame.buffer, id);
	assert_int_equal(p.frame.nrects, 1);
	assert_int_equal(p.frame.rect[0].w, W);
	hang_up(fd);
}

/* One frame of a scanout is with the viewer; what comes meanwhile melts into the next. */
static void test_viewers_send_one_frame_at_a_time(void **state)
{
	uint64_t first;
	int fd;

	(void)state;
	show(0);
	flush(0, 0, 0, W, H);
	fd = meet(0);
	want(fd, VIEWER_FRAME);
	first = p.frame.number;
	flush(0, 1, 1, 2, 2);
	flush(0, 20, 20, 2, 2);
	/* Something else to send is no reason either. */
	display_move_cursor(&display, 0, 7, 7);
	assert_int_equal(drain(fd, VIEWER_FRAME), 0);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = first, .scanout = 0);
	assert_true(get(fd));
	assert_int_equal(p.hdr.type, VIEWER_FRAME);
	assert_int_equal(p.frame.number, first + 2);
	assert_int_equal(p.frame.nrects, 2);
	assert_int_equal(p.frame.rect[1].x, 20);
	PUT(fd, viewer_presented, .hdr.type = VIEWER_PRESENTED, .number = first + 2);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = first + 2);
	assert_int_equal(drain(fd, VIEWER_FRAME), 0);
	assert_int_equal(viewers.conn[0]->out.counters.sent, 2);
	assert_int_equal(viewers.conn[0]->out.counters.released, 2);
	assert_int_equal(viewers.conn[0]->out.counters.replaced, 1);
	assert_int_equal(viewers.conn[0]->out.counters.presented, 1);
	hang_up(fd);
}

/* When what happened to a frame is known for the last of them, whatever the viewer says. */
static void test_viewers_frames_have_their_times(void **state)
{
	const struct viewer_out *out;
	struct viewer_out_stamps s;
	uint64_t number;
	int fd;

	(void)state;
	show(0);
	flush(0, 0, 0, W, H);
	fd = meet(0);
	want(fd, VIEWER_FRAME);
	number = p.frame.number;
	out = &viewers.conn[0]->out;
	assert_false(viewer_out_stamps(out, 1, &s));
	assert_true(viewer_out_stamps(out, 0, &s));
	assert_int_equal(s.number, number);
	assert_int_equal(s.kind, VIEWER_MEMFD);
	assert_int_equal(s.flushed_ns, p.frame.flushed_ns);
	assert_int_equal(s.sent_ns, p.frame.sent_ns);
	assert_true(s.flushed_ns > 0 && s.ready_ns >= s.flushed_ns && s.sent_ns >= s.ready_ns);
	assert_int_equal(s.released_ns, 0);
	assert_int_equal(s.presented_ns, 0);
	/* Before it was sent, and a year from now. */
	PUT(fd, viewer_presented, .hdr.type = VIEWER_PRESENTED, .number = number, .presented_ns = 1);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number);
	assert_true(viewer_out_stamps(out, 0, &s));
	assert_int_equal(s.presented_ns, s.sent_ns);
	assert_true(s.released_ns >= s.sent_ns);
	flush(0, 0, 0, W, H);
	want(fd, VIEWER_FRAME);
	PUT(fd, viewer_presented, .hdr.type = VIEWER_PRESENTED, .number = p.frame.number, .presented_ns = UINT64_MAX);
	assert_true(viewer_out_stamps(out, 1, &s));
	assert_in_range(s.presented_ns, s.sent_ns, clock_now_ns());
	assert_int_equal(out->counters.present.n, 2);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = p.frame.number);
	for (unsigned n = 0; n < VIEWER_OUT_STAMPS; n++) {
		flush(0, 0, 0, W, H);
		want(fd, VIEWER_FRAME);
		PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = p.frame.number);
	}
	/* Of so many that one more can be written meanwhile. */
	assert_false(viewer_out_stamps(out, 2, &s));
	assert_true(viewer_out_stamps(out, 3, &s));
	assert_true(viewer_out_stamps(out, VIEWER_OUT_STAMPS + 1, &s));
	assert_int_equal(s.number, p.frame.number);
	PUT(fd, viewer_presented, .hdr.type = VIEWER_PRESENTED, .number = number, .presented_ns = clock_now_ns());
	assert_int_equal(out->counters.present.n, 2);
	hang_up(fd);
}

/* A buffer is announced once, and taken back when the guest's resource and the viewer's frame are both gone. */
static void test_viewers_tell_of_buffers_once(void **state)
{
	uint64_t first, number;
	int fd;

	(void)state;
	show(0);
	fd = meet(0);
	want(fd, VIEWER_BUFFER);
	close(p.fd);
	first = p.buffer.id;
	want(fd, VIEWER_FRAME);
	number = p.frame.number;
	drain(fd, 0);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number);
	flush(0, 0, 0, 1, 1);
	assert_true(get(fd));
	assert_int_equal(p.hdr.type, VIEWER_FRAME);
	assert_int_equal(p.frame.buffer, first);
	number = p.frame.number;
	show(0);
	flush(0, 0, 0, 1, 1);
	assert_int_equal(drain(fd, VIEWER_BUFFER_GONE), 0);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number);
	want(fd, VIEWER_BUFFER_GONE);
	assert_int_equal(p.gone.id, first);
	want(fd, VIEWER_BUFFER);
	close(p.fd);
	assert_int_not_equal(p.buffer.id, first);
	want(fd, VIEWER_FRAME);
	assert_int_equal(p.frame.rect[0].w, W);
	hang_up(fd);
}

/* A picture as udmabuf makes it: with room before its rows and between them, and without seals. Return: where its first pixel is. */
static uint8_t *show_guest(unsigned scanout, const struct display_rect *crop)
{
	struct display_picture g = {.is_guest = true, .fourcc = DISPLAY_XRGB8888, .width = W, .height = H, .stride = W * 4 + 64, .offset = 4096};
	struct display_buffer *buffer;
	uint8_t *map;

	g.len = 3 * 4096 + g.offset + (uint64_t)g.stride * H;
	g.fd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(g.fd, (off_t)g.len), 0);
	map = mmap(NULL, g.len, PROT_READ | PROT_WRITE, MAP_SHARED, g.fd, 0);
	assert_true(map != MAP_FAILED);
	buffer = display_buffer_create(&g, &display.budget, 0);
	display_show(&display, scanout, buffer, crop);
	display_buffer_unref(buffer);
	return map + g.offset;
}

#define GUEST_STRIDE (W * 4 + 64)

static void fill(uint8_t *pixels, uint8_t with)
{
	for (unsigned y = 0; y < H; y++) {
		memset(pixels + (size_t)y * GUEST_STRIDE, with + (int)y % 8, W * 4);
	}
}

static void done_guest(uint8_t *pixels)
{
	munmap(pixels - 4096, 3 * 4096 + 4096 + (size_t)GUEST_STRIDE * H);
}

/* Who takes guest memory gets it; for the others it is copied, what was flushed of it, into memory as all other pictures are. */
static void test_viewers_that_take_no_guest_memory_get_a_copy(void **state)
{
	const struct display_rect crop = {2, 1, W - 4, H - 3};
	uint64_t first, used = display.budget.used;
	struct viewer_buffer b;
	const uint8_t *seen;
	uint8_t *pixels;
	int takes, plain;

	(void)state;
	pixels = show_guest(0, &crop);
	fill(pixels, 10);
	flush(0, 0, 0, W, H);
	takes = dial_in();
	PUT(takes, viewer_client_hello, .hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .features = VIEWER_CAN_GUEST | VIEWER_CAN_DMABUF, .name = "takes");
	want(takes, VIEWER_HELLO);
	assert_int_equal(p.hello.features, VIEWER_CAN_GUEST);
	want(takes, VIEWER_BUFFER);
	assert_int_equal(p.buffer.kind, VIEWER_GUEST);
	assert_int_equal(p.buffer.offset[0], 4096);
	assert_int_equal(p.buffer.stride[0], GUEST_STRIDE);
	close(p.fd);
	want(takes, VIEWER_FRAME);
	assert_int_equal(display.budget.used, used);

	plain = meet(VIEWER_OBSERVES);
	want(plain, VIEWER_HELLO);
	assert_int_equal(p.hello.features, 0);
	want(plain, VIEWER_BUFFER);
	b = p.buffer;
	assert_int_equal(b.kind, VIEWER_MEMFD);
	assert_int_equal(b.offset[0], 0);
	assert_int_equal(b.stride[0], W * 4);
	assert_int_equal(b.len, W * H * 4);
	assert_true(fcntl(p.fd, F_GET_SEALS) & F_SEAL_SHRINK);
	assert_int_equal(display.budget.used, used + b.len);
	seen = mmap(NULL, b.len, PROT_READ, MAP_SHARED, p.fd, 0);
	close(p.fd);
	assert_true(seen != MAP_FAILED);
	want(plain, VIEWER_FRAME);
	first = p.frame.number;
	assert_int_equal(p.frame.buffer, b.id);
	assert_int_equal(p.frame.crop.x, crop.x);
	for (unsigned y = crop.y; y < crop.y + crop.h; y++) {
		assert_int_equal(seen[y * W * 4 + crop.x * 4], 10 + y % 8);
		assert_int_equal(seen[y * W * 4 + (crop.x + crop.w) * 4 - 1], 10 + y % 8);
		assert_int_equal(seen[y * W * 4 + (crop.x + crop.w) * 4], 0);
	}

	/* Painted is not flushed; flushed is not sent before the release. */
	fill(pixels, 50);
	flush(0, 4, 3, 2, 2);
	assert_int_equal(seen[3 * W * 4 + 4 * 4], 13);
	PUT(plain, viewer_release, .hdr.type = VIEWER_RELEASE, .number = first);
	want(plain, VIEWER_FRAME);
	assert_int_equal(p.frame.buffer, b.id);
	for (unsigned y = crop.y; y < crop.y + crop.h; y++) {
		for (unsigned x = crop.x; x < crop.x + crop.w; x++) {
			bool is_new = x >= 4 && x < 6 && y >= 3 && y < 5;

			assert_int_equal(seen[(y * W + x) * 4], (is_new ? 50 : 10) + y % 8);
		}
	}
	assert_int_equal(viewers.conn[0]->out.counters.copied_bytes, 0);
	assert_int_equal(viewers.conn[1]->out.counters.copied_bytes, (crop.w * crop.h + 2 * 2) * 4);
	/* Back to an ordinary one: the copy is gone, and what it took. */
	first = p.frame.number;
	show(0);
	flush(0, 0, 0, W, H);
	PUT(plain, viewer_release, .hdr.type = VIEWER_RELEASE, .number = first);
	want(plain, VIEWER_BUFFER);
	assert_int_not_equal(p.buffer.id, b.id);
	close(p.fd);
	assert_int_equal(drain(plain, VIEWER_BUFFER_GONE), 1);
	hang_up(takes);
	display_show(&display, 0, NULL, NULL);
	hang_up(plain);
	assert_int_equal(display.budget.used, used);
	munmap((void *)(uintptr_t)seen, b.len);
	done_guest(pixels);
}

/*
 * Pictures on a GPU.
 */

#define MODIFIER 0x0300000000000042u

static struct {
	bool can; /* the device copies */
	uint64_t takes_ns; /* the GPU, for a copy */
	bool can_offer; /* when it was asked last, whoever controls takes what the guest draws in */
	unsigned asked;
} gpu;

static void on_wanted(void *ctx, unsigned i)
{
	(void)ctx;
	gpu.asked++;
	gpu.can_offer = display_can_offer(&display);
	display_set_copied(&display, i, gpu.can && display_copy_sinks(&display) > 0);
}

/* What the device has had copied, of @nplanes planes. */
static void publish(uint64_t number, unsigned nplanes)
{
	struct display_picture c = {.fd = -1, .fourcc = DISPLAY_XBGR8888, .width = W, .height = H, .planes = {.n = nplanes, .modifier = MODIFIER}};
	struct display_buffer *copy;

	for (unsigned i = 0; i < nplanes; i++) {
		c.planes.fd[i] = memfd_create("plane", MFD_CLOEXEC);
		assert_int_equal(ftruncate(c.planes.fd[i], 100 + (int)i), 0);
		c.planes.offset[i] = 8 * i;
		c.planes.stride[i] = 16 * i + W * 4;
	}
	assert_true(display_budget_take(&display.budget, 4096));
	copy = display_buffer_create(&c, &display.budget, 4096);
	display_publish(&display, 0, copy, number, now_ns - gpu.takes_ns);
	display_buffer_unref(copy);
	serve();
}

/* A message of @head bytes and what follows it: @n formats, the one that fits the last of them. */
static void put_formats(int fd, const void *message, size_t head, uint32_t n, uint64_t modifier)
{
	uint8_t packet[1024 + VIEWER_FORMATS_MAX * sizeof(struct viewer_format)];

	assert_true(head <= 1024 && n <= VIEWER_FORMATS_MAX);
	memcpy(packet, message, head);
	for (uint32_t i = 0; i < n; i++) {
		const struct viewer_format f = {.modifier = i == n - 1 ? modifier : i, .fourcc = DISPLAY_XBGR8888};

		memcpy(packet + head + i * sizeof(f), &f, sizeof(f));
	}
	put(fd, packet, head + n * sizeof(struct viewer_format));
}

static void put_imports(int fd, const char *why, uint32_t n, uint64_t modifier)
{
	struct viewer_imports m = {.hdr.type = VIEWER_IMPORTS, .nformats = n};

	strcpy((char *)m.text, why);
	put_formats(fd, &m, sizeof(m), n, modifier);
}

static int meet_gpu(uint32_t features)
{
	int fd = dial_in();

	PUT(fd, viewer_client_hello, .hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .features = features, .name = "gpu");
	want(fd, VIEWER_HELLO);
	return fd;
}

/* The next frame, which is in a buffer of @kind that has just been announced; it is released. Return: the buffer's descriptors are closed, p is the announcement. */
static void want_picture(int fd, enum viewer_kind kind)
{
	struct packet buffer;
	uint64_t id;

	want(fd, VIEWER_BUFFER);
	buffer = p;
	id = p.buffer.id;
	assert_int_equal(p.buffer.kind, kind);
	want(fd, VIEWER_FRAME);
	assert_int_equal(p.frame.buffer, id);
	assert_int_equal(p.frame.crop.w, W);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = p.frame.number);
	for (unsigned i = 0; i < buffer.nfds; i++) {
		close(buffer.fds[i]);
	}
	p = buffer;
}

static void begin_gpu(void)
{
	gpu.can = true;
	gpu.asked = 0;
	gpu.takes_ns = 0;
	viewers.has_dmabufs = true;
	viewers.render_major = 226;
	viewers.render_minor = 128;
	display_set_wanted(&display, on_wanted, NULL);
	show(0);
	flush(0, 0, 0, W, H);
}

/* One that can import gets what the GPU copied, all planes of it; another one maps memory as ever, at the same time. */
static void test_viewers_that_import_get_dmabufs(void **state)
{
	const struct viewer_out *out;
	int fd, plain;

	(void)state;
	begin_gpu();
	fd = meet_gpu(VIEWER_CAN_DMABUF);
	assert_int_equal(p.hello.features, VIEWER_CAN_DMABUF);
	assert_int_equal(p.hello.render_major, 226);
	assert_int_equal(p.hello.render_minor, 128);
	out = &viewers.conn[0]->out;
	/* It has not said what yet: nothing is read back for it, nor is the guest held up. */
	flush(0, 0, 0, W, H);
	assert_int_equal(drain(fd, VIEWER_FRAME), 0);
	assert_int_equal(gpu.asked, 0);
	assert_false(display_is_watched(&display, 0));
	assert_false(display_is_paced(&display));
	put_imports(fd, "", VIEWER_FORMATS_MAX, MODIFIER);
	assert_int_equal(gpu.asked, 1);
	assert_true(display_is_paced(&display));
	assert_false(display_is_watched(&display, 0));
	flush(0, 0, 0, W, H);
	assert_int_equal(drain(fd, VIEWER_FRAME), 0);
	publish(2, 3);
	want_picture(fd, VIEWER_DMABUF);
	assert_int_equal(p.buffer.modifier, MODIFIER);
	assert_int_equal(p.buffer.fourcc, DISPLAY_XBGR8888);
	assert_int_equal(p.buffer.flags, VIEWER_BUFFER_OPAQUE);
	assert_int_equal(p.buffer.nplanes, 3);
	assert_int_equal(p.nfds, 3);
	assert_int_equal(p.buffer.len, 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(p.buffer.offset[i], 8 * i);
		assert_int_equal(p.buffer.stride[i], 16 * i + W * 4);
	}
	assert_int_equal(out->way.kind, VIEWER_DMABUF);
	assert_int_equal(out->way.fourcc, DISPLAY_XBGR8888);
	assert_true(out->way.modifier == MODIFIER);
	assert_int_equal(out->way.nplanes, 3);
	assert_int_equal(out->counters.dmabufs, 1);
	assert_int_equal(out->counters.sent, 1);

	plain = meet_gpu(0);
	assert_int_equal(p.hello.features, 0);
	assert_int_equal(p.hello.render_major, 0);
	want_picture(plain, VIEWER_MEMFD);
	put_imports(plain, "", 1, MODIFIER);
	flush(0, 0, 0, W, H);
	publish(3, 1);
	want(plain, VIEWER_FRAME);
	want_picture(fd, VIEWER_DMABUF);
	assert_int_equal(p.nfds, 1);
	hang_up(plain);
	hang_up(fd);
	assert_int_equal(display_copy_sinks(&display), 0);
	assert_false(display.scanout[0].is_copied);
}

/* One that could import and does not say what gets memory three seconds later; one that says that it is nothing at once. */
static void test_viewers_that_do_not_say_what_they_import_get_memory(void **state)
{
	int fd;

	(void)state;
	begin_gpu();
	fd = meet_gpu(VIEWER_CAN_DMABUF);
	pass(VIEWER_OUT_IMPORTS_NS - 1000000);
	serve();
	assert_int_equal(drain(fd, VIEWER_FRAME), 0);
	pass(2000000);
	serve();
	want_picture(fd, VIEWER_MEMFD);
	assert_true(display_is_watched(&display, 0));
	/* It may say it all the same. */
	put_imports(fd, "", 1, MODIFIER);
	publish(2, 1);
	want_picture(fd, VIEWER_DMABUF);
	hang_up(fd);
	fd = meet_gpu(VIEWER_CAN_DMABUF);
	assert_int_equal(drain(fd, VIEWER_FRAME), 0);
	put_imports(fd, "the processor draws", 0, 0);
	want_picture(fd, VIEWER_MEMFD);
	hang_up(fd);
	/* One that goes before that. */
	fd = meet_gpu(VIEWER_CAN_DMABUF);
	hang_up(fd);
	pass(2 * (uint64_t)VIEWER_OUT_IMPORTS_NS);
	serve();
}

/* What the guest draws in, for the one that controls; when it says that it imports other things it gets something else. */
static void test_viewers_that_control_get_what_the_guest_draws_in(void **state)
{
	struct display_picture picture = {.fd = -1, .fourcc = DISPLAY_XBGR8888, .width = W, .height = H, .planes = {.n = 1, .modifier = MODIFIER, .is_direct = true, .y_inverted = true}};
	const struct display_rect crop = {0, 0, W, H};
	const struct viewer_out *out;
	struct display_buffer *offer;
	int fd;

	(void)state;
	begin_gpu();
	fd = meet_gpu(VIEWER_CAN_DMABUF);
	put_imports(fd, "", 2, MODIFIER);
	out = &viewers.conn[0]->out;
	picture.planes.fd[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(display_imports(&display, &picture));
	picture.planes.modifier++;
	assert_false(display_imports(&display, &picture));
	picture.planes.modifier--;
	offer = display_buffer_create(&picture, &display.budget, 0);
	display_set_direct(&display, 0, true);
	display_offer(&display, 0, offer, &crop, 5, now_ns);
	want_picture(fd, VIEWER_DMABUF);
	assert_int_equal(p.buffer.flags, VIEWER_BUFFER_OPAQUE | VIEWER_BUFFER_Y_INVERTED);
	assert_int_equal(p.nfds, 1);
	assert_true(out->way.is_direct);
	assert_int_equal(out->counters.directs, 1);
	assert_int_equal(out->counters.dmabufs, 1);
	/* It was let go of. */
	assert_int_equal(offer->refs, 1);
	put_imports(fd, "", 1, MODIFIER + 1);
	assert_false(display.scanout[0].is_direct);
	assert_false(display_imports(&display, &picture));
	hang_up(fd);
	display_buffer_unref(offer);
}

/* Whether there is somebody for it is asked when that is known, and again when somebody else controls: not first at the guest's next flush. */
static void test_viewers_that_control_are_known_when_pictures_are_chosen(void **state)
{
	const struct viewer_client_hello hello = {.hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .features = VIEWER_CAN_DMABUF, .nformats = 1, .name = "gpu"};
	int fd, plain;

	(void)state;
	begin_gpu();
	fd = dial_in();
	put_formats(fd, &hello, sizeof(hello), 1, MODIFIER);
	assert_int_equal(gpu.asked, 1);
	assert_true(gpu.can_offer);
	hang_up(fd);
	/* In a message of its own, which is there with the first. */
	gpu.can_offer = false;
	fd = dial_in();
	in_one_go = true;
	PUT(fd, viewer_client_hello, .hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .features = VIEWER_CAN_DMABUF, .name = "gpu");
	put_imports(fd, "", 1, MODIFIER);
	in_one_go = false;
	serve();
	assert_true(gpu.can_offer);
	hang_up(fd);
	/* One that takes none controls, and goes. */
	plain = meet_gpu(0);
	fd = dial_in();
	put_formats(fd, &hello, sizeof(hello), 1, MODIFIER);
	assert_false(gpu.can_offer);
	hang_up(plain);
	assert_true(gpu.can_offer);
	hang_up(fd);
}

/* What cannot be imported is not sent: pictures in memory are, from that frame on, and again dma-bufs when the viewer says so. */
static void test_viewers_that_cannot_import_get_memory(void **state)
{
	const struct viewer_client_hello hello = {.hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .features = VIEWER_CAN_DMABUF, .nformats = 1, .name = "gpu"};
	const struct viewer_conn *c;
	uint64_t used;
	int fd = dial_in();

	(void)state;
	begin_gpu();
	used = display.budget.used;
	put_formats(fd, &hello, sizeof(hello), 1, MODIFIER + 1);
	c = viewers.conn[0];
	assert_int_equal(gpu.asked, 1);
	assert_int_equal(drain(fd, VIEWER_FRAME), 0);
	publish(1, 1);
	want_picture(fd, VIEWER_MEMFD);
	assert_true(c->out.way.is_unlike);
	assert_true(c->out.way.modifier == MODIFIER);
	assert_int_equal(c->out.counters.dmabufs, 0);
	assert_false(display.scanout[0].is_copied);
	/* Its window has moved to another GPU. */
	put_imports(fd, "", 2, MODIFIER);
	assert_false(c->out.way.is_unlike);
	assert_true(c->imports_any);
	publish(2, 1);
	want_picture(fd, VIEWER_DMABUF);
	/* While it has a frame in one. */
	publish(3, 1);
	want(fd, VIEWER_FRAME);
	put_imports(fd, "no\033 EGL", 0, 0);
	assert_string_equal(c->imports_why, "no? EGL");
	assert_false(c->imports_any);
	assert_int_equal(drain(fd, VIEWER_FRAME), 0);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = 3);
	want(fd, VIEWER_FRAME);
	assert_int_equal(c->out.way.kind, VIEWER_MEMFD);
	/* The device cannot either, and says so when it is asked. */
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = p.frame.number);
	gpu.can = false;
	put_imports(fd, "", 1, MODIFIER);
	flush(0, 0, 0, W, H);
	want(fd, VIEWER_FRAME);
	assert_int_equal(c->out.way.kind, VIEWER_MEMFD);
	hang_up(fd);
	assert_int_equal(display.budget.used, used);
}

/* It counts as what the guest causes. */
static void test_viewers_are_lost_when_there_is_no_memory_for_a_copy(void **state)
{
	const struct display_rect all = {0, 0, W, H};
	uint8_t *pixels;
	int fd;

	(void)state;
	pixels = show_guest(0, &all);
	flush(0, 0, 0, W, H);
	assert_true(display_budget_take(&display.budget, BUDGET - 100));
	fd = meet(0);
	want_bye(fd, VIEWER_BYE_FULL);
	display_budget_give(&display.budget, BUDGET - 100);
	fd = meet(0);
	want(fd, VIEWER_FRAME);
	hang_up(fd);
	display_show(&display, 0, NULL, NULL);
	assert_int_equal(display.budget.used, 0);
	done_guest(pixels);
}

static void test_viewers_have_one_who_controls(void **state)
{
	int a = meet(0), b = meet(0), c = meet(VIEWER_OBSERVES);

	(void)state;
	assert_int_equal(viewers_count(&viewers), 3);
	drain(a, 0);
	drain(b, 0);
	PUT(b, viewer_action, .hdr.type = VIEWER_ACTION, .action = VIEWER_POWER_BUTTON);
	assert_int_equal(heard.actions, 0);
	PUT(a, viewer_action, .hdr.type = VIEWER_ACTION, .action = VIEWER_POWER_BUTTON);
	assert_int_equal(heard.actions, 1);
	PUT(b, viewer_control, .hdr.type = VIEWER_CONTROL, .wants = 1);
	assert_int_equal(heard.releases, 1);
	want(a, VIEWER_ROLE);
	assert_int_equal(p.role.controls, 0);
	assert_int_equal(p.role.controller, 2);
	assert_int_equal(p.role.nviewers, 3);
	PUT(a, viewer_action, .hdr.type = VIEWER_ACTION, .action = VIEWER_POWER_BUTTON);
	assert_int_equal(heard.actions, 1);
	hang_up(b);
	assert_int_equal(heard.releases, 2);
	want(a, VIEWER_ROLE);
	assert_int_equal(p.role.controls, 1);
	hang_up(a);
	drain(c, 0);
	assert_null(viewers.controller);
	PUT(c, viewer_control, .hdr.type = VIEWER_CONTROL, .wants = 0);
	want(c, VIEWER_ROLE);
	assert_int_equal(p.role.controller, 0);
	hang_up(c);
}

static void type(int fd, enum viewer_device device, unsigned scanout, unsigned n, const struct viewer_event *ev)
{
	struct viewer_in_input m = {.hdr.type = VIEWER_INPUT, .time_ns = now_ns, .device = device, .scanout = scanout, .nevents = n};

	memcpy(m.event, ev, n * sizeof(*ev));
	put(fd, &m, offsetof(struct viewer_in_input, event) + n * sizeof(*ev));
}

static void test_viewers_pass_input_on(void **state)
{
	uint32_t us[3];
	int fd;

	(void)state;
	show(0);
	show(1);
	fd = meet(0);
	type(fd, VIEWER_KEYBOARD, 0, 1, (struct viewer_event[]){{EV_KEY, KEY_A, 1}});
	assert_int_equal(heard.device, VIEWER_KEYBOARD);
	assert_int_equal(heard.ev[0].code, KEY_A);
	/* Half a notch, and half a notch more. */
	type(fd, VIEWER_MOUSE, 0, 1, (struct viewer_event[]){{EV_REL, REL_WHEEL_HI_RES, -60}});
	assert_int_equal(heard.n, 2);
	type(fd, VIEWER_MOUSE, 0, 1, (struct viewer_event[]){{EV_REL, REL_WHEEL_HI_RES, -60}});
	assert_int_equal(heard.n, 3);
	assert_int_equal(heard.ev[1].code, REL_WHEEL);
	assert_int_equal(heard.ev[1].value, -1);
	/* The second of two outputs side by side is the right half of the tablet. */
	type(fd, VIEWER_TABLET, 1, 2, (struct viewer_event[]){{EV_ABS, ABS_X, 0}, {EV_ABS, ABS_Y, VIEWER_ABS_MAX}});
	assert_int_equal(heard.ev[0].value, INPUT_TABLET_MAX / 2);
	assert_int_equal(heard.ev[1].value, INPUT_TABLET_MAX);
	type(fd, VIEWER_TABLET, 1, 1, (struct viewer_event[]){{EV_ABS, ABS_X, VIEWER_ABS_MAX}});
	assert_int_equal(heard.ev[0].value, INPUT_TABLET_MAX);
	type(fd, VIEWER_TOUCH, 0, 2, (struct viewer_event[]){{EV_ABS, ABS_MT_SLOT, 1}, {EV_ABS, ABS_MT_POSITION_X, VIEWER_ABS_MAX}});
	assert_int_equal(heard.ev[0].value, 1);
	assert_int_equal(heard.ev[1].value, INPUT_TABLET_MAX / 2);
	PUT(fd, viewer_focus, .hdr.type = VIEWER_FOCUS, .has = 0);
	assert_int_equal(heard.releases, 1);
	/* The next frame says which event it follows. */
	drain(fd, 0);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = viewers.conn[0]->out.at[0].last);
	flush(0, 0, 0, 1, 1);
	want(fd, VIEWER_FRAME);
	assert_int_equal(p.frame.input_ns, now_ns - 1000000);
	/* From the key, by the viewer's clock, to the frame: a millisecond. */
	assert_true(viewer_out_percentiles(&viewers.controller->out.counters.input, us));
	assert_int_equal(us[0], 1000);
	assert_int_equal(us[2], 1000);
	assert_int_equal(viewers.conn[0]->out.counters.input.n, 1);
	hang_up(fd);
}

/* Each part of a frame's way is counted by itself, and so is the whole of it. */
static void test_viewers_parts_of_the_way_are_counted(void **state)
{
	const struct viewer_out_counters *n;
	uint64_t input_ns;
	int fd;

	(void)state;
	begin_gpu();
	fd = meet_gpu(VIEWER_CAN_DMABUF);
	put_imports(fd, "", 1, MODIFIER);
	publish(2, 1);
	want_picture(fd, VIEWER_DMABUF);
	n = &viewers.conn[0]->out.counters;
	assert_int_equal(n->ready.n, 1);
	input_ns = now_ns;
	type(fd, VIEWER_KEYBOARD, 0, 1, (struct viewer_event[]){{EV_KEY, KEY_A, 1}});
	/* The guest takes 2 ms to flush, the GPU 3 to copy, the viewer 5 to present, and 7 more to let go. */
	gpu.takes_ns = 3000000;
	pass(2000000 + gpu.takes_ns);
	publish(3, 1);
	want(fd, VIEWER_FRAME);
	assert_int_equal(p.frame.input_ns, input_ns);
	pass(5000000);
	PUT(fd, viewer_presented, .hdr.type = VIEWER_PRESENTED, .number = 3, .presented_ns = now_ns);
	pass(7000000);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = 3);
	assert_int_equal(n->input.n, 1);
	assert_int_equal(n->input.us[0], 5000);
	assert_int_equal(n->ready.n, 2);
	assert_int_equal(n->ready.us[1], 3000);
	assert_int_equal(n->present.n, 1);
	assert_int_equal(n->present.us[0], 8000);
	assert_int_equal(n->release.n, 2);
	assert_int_equal(n->release.us[1], 15000);
	assert_int_equal(n->answer.n, 1);
	assert_int_equal(n->answer.us[0], 10000);
	/* A frame that answers nothing. */
	publish(4, 1);
	want(fd, VIEWER_FRAME);
	PUT(fd, viewer_presented, .hdr.type = VIEWER_PRESENTED, .number = 4, .presented_ns = now_ns);
	assert_int_equal(n->present.n, 2);
	assert_int_equal(n->input.n, 1);
	assert_int_equal(n->answer.n, 1);
	hang_up(fd);
}

/* Of few, of many, and of more than are kept, in whatever order they come. */
static void test_viewers_percentiles(void **state)
{
	static struct viewer_out_samples s;
	uint32_t us[3] = {7, 7, 7};

	(void)state;
	assert_false(viewer_out_percentiles(&s, us));
	s.us[s.n++] = 1234;
	assert_true(viewer_out_percentiles(&s, us));
	assert_true(us[0] == 1234 && us[1] == 1234 && us[2] == 1234);
	memset(&s, 0, sizeof(s));
	/* 0, 37, 74 and so on, modulo 101: each of 0 to 100 once. */
	for (uint32_t i = 0; i < 101; i++) {
		s.us[s.n++] = i * 37 % 101 * 10;
	}
	assert_true(viewer_out_percentiles(&s, us));
	assert_int_equal(us[0], 500);
	assert_int_equal(us[1], 900);
	assert_int_equal(us[2], 990);
	/* All 256 are from then on, and those that were before are not. */
	for (uint32_t i = 0; i < VIEWER_OUT_SAMPLES; i++) {
		s.us[(s.n + i) % VIEWER_OUT_SAMPLES] = 1000 + i;
	}
	s.n += VIEWER_OUT_SAMPLES;
	assert_true(viewer_out_percentiles(&s, us));
	assert_int_equal(us[0], 1000 + 255 * 50 / 100);
	assert_int_equal(us[1], 1000 + 255 * 90 / 100);
	assert_int_equal(us[2], 1000 + 255 * 99 / 100);
}

static void press(int fd, unsigned code, int value)
{
	type(fd, VIEWER_KEYBOARD, 0, 1, (struct viewer_event[]){{EV_KEY, (uint16_t)code, value}});
}

static void room(bool has)
{
	heard.is_full = !has;
	if (has) {
		viewers_room(&viewers);
		serve();
	}
}

/* What it sends waits, in order, in the monitor and then in its socket, and nothing is lost; others are served. */
/*
 * A display on a thread of its own.
 */

static struct loop graphics;
static sem_t busy;

static void on_busy(struct loop_post *post)
{
	(void)post;
	while (sem_wait(&busy) < 0) {
	}
}

static void *run_graphics(void *arg)
{
	(void)arg;
	loop_run(&graphics);
	return NULL;
}

/* That thread is held up, by a driver that takes its time: what a person does goes on to the guest meanwhile, also of those who have other things to say to the display. */
static void test_viewers_input_does_not_wait_for_the_display(void **state)
{
	const struct display_output outputs[2] = {{.enabled = true, .width = W, .height = H, .refresh_hz = 60}, {0}};
	struct loop_post post = {.fn = on_busy};
	pthread_t thread;
	int fd;

	(void)state;
	stop(VIEWER_BYE_END);
	display_finish(&display);
	assert_int_equal(loop_init(&graphics), 0);
	display_init(&display, &graphics, outputs, 2, BUDGET);
	viewers_init(&viewers, &loop, &display, "vm", &ops, NULL);
	assert_int_equal(viewers_listen(&viewers, listener), 0);
	sem_init(&busy, 0, 0);
	loop_post(&graphics, &post);
	assert_int_equal(pthread_create(&thread, NULL, run_graphics, NULL), 0);
	fd = meet(0);
	PUT(fd, viewer_output, .hdr.type = VIEWER_OUTPUT, .plugged = 1, .width = 800, .height = 600);
	type(fd, VIEWER_KEYBOARD, 0, 1, (struct viewer_event[]){{EV_KEY, KEY_A, 1}});
	assert_int_equal(heard.inputs, 1);
	PUT(fd, viewer_action, .hdr.type = VIEWER_ACTION, .action = VIEWER_POWER_BUTTON);
	assert_int_equal(heard.actions, 1);
	type(fd, VIEWER_TABLET, 0, 1, (struct viewer_event[]){{EV_ABS, ABS_X, 1}});
	PUT(fd, viewer_focus, .hdr.type = VIEWER_FOCUS, .has = 0);
	assert_int_equal(heard.inputs, 2);
	assert_int_equal(heard.releases, 1);
	hang_up(fd);
	assert_int_equal(heard.releases, 2);
	/* Only now the display hears of any of it. */
	sem_post(&busy);
	stop(VIEWER_BYE_END);
	loop_stop(&graphics);
	pthread_join(thread, NULL);
	display_finish(&display);
	loop_finish(&graphics);
	display_init(&display, &loop, outputs, 2, BUDGET);
	sem_destroy(&busy);
}

static void test_viewers_wait_for_a_guest_that_is_late(void **state)
{
	int a = meet(0), b = meet(VIEWER_OBSERVES);
	unsigned asked;

	(void)state;
	press(a, KEY_A, 1);
	room(false);
	in_one_go = true;
	for (unsigned i = 0; i < VIEWERS_LATE_MAX + 20; i++) {
		press(a, KEY_1 + i / 2 % 8, i % 2 == 0);
	}
	PUT(a, viewer_focus, .hdr.type = VIEWER_FOCUS, .has = 0);
	in_one_go = false;
	press(a, KEY_B, 1);
	assert_int_equal(viewers.controller->nlate, VIEWERS_LATE_MAX);
	assert_int_equal(heard.inputs, 1);
	assert_int_equal(heard.releases, 0);
	asked = heard.asked;
	drain(b, 0);
	viewers_input_changed(&viewers);
	serve();
	assert_int_equal(heard.asked, asked);
	assert_int_equal(drain(b, VIEWER_INPUT_STATE), 1);
	assert_int_equal(drain(a, VIEWER_INPUT_STATE), 2);
	/* Told of room that another has taken. */
	viewers_room(&viewers);
	serve();
	assert_int_equal(heard.inputs, 1);
	room(true);
	assert_int_equal(heard.inputs, VIEWERS_LATE_MAX + 22);
	assert_int_equal(heard.releases, 1);
	assert_int_equal(heard.ev[0].code, KEY_B);
	press(a, KEY_B, 0);
	assert_int_equal(heard.inputs, VIEWERS_LATE_MAX + 23);
	hang_up(a);
	hang_up(b);
}

/* Whoever wants a guest that takes nothing to stop must be heard, and pictures go on. */
static void test_viewers_that_wait_are_heard_in_everything_else(void **state)
{
	int a;

	(void)state;
	show(0);
	a = meet(0);
	drain(a, 0);
	room(false);
	press(a, KEY_A, 1);
	PUT(a, viewer_focus, .hdr.type = VIEWER_FOCUS, .has = 0);
	PUT(a, viewer_action, .hdr.type = VIEWER_ACTION, .action = VIEWER_RESET);
	assert_int_equal(heard.actions, 1);
	PUT(a, viewer_release, .hdr.type = VIEWER_RELEASE, .number = viewers.conn[0]->out.at[0].last);
	flush(0, 0, 0, 1, 1);
	want(a, VIEWER_FRAME);
	/* The keys come up after they went down. */
	assert_int_equal(heard.releases, 0);
	room(true);
	assert_int_equal(heard.inputs, 1);
	assert_int_equal(heard.releases, 1);
	hang_up(a);
}

static void test_viewers_that_wait_can_lose_control(void **state)
{
	int a = meet(0), b = meet(0);

	(void)state;
	press(a, KEY_A, 1);
	room(false);
	press(a, KEY_A, 0);
	press(a, KEY_B, 1);
	PUT(b, viewer_control, .hdr.type = VIEWER_CONTROL, .wants = 1);
	assert_int_equal(heard.releases, 1);
	/* What it had on its way is nobody's now, and what it says next is heard. */
	room(true);
	assert_int_equal(heard.inputs, 1);
	PUT(a, viewer_control, .hdr.type = VIEWER_CONTROL, .wants = 1);
	press(a, KEY_C, 1);
	assert_int_equal(heard.inputs, 2);
	assert_int_equal(heard.ev[0].code, KEY_C);
	hang_up(a);
	hang_up(b);
}

static void test_viewers_that_wait_can_go(void **state)
{
	int before = count_fds(), a = meet(0), b = meet(0);

	(void)state;
	room(false);
	/* One that is read, and one that is not. */
	for (unsigned i = 0; i < 2 * VIEWERS_LATE_MAX; i++) {
		press(i < VIEWERS_LATE_MAX + 1 ? a : b, KEY_A, 1);
	}
	hang_up(a);
	assert_int_equal(heard.releases, 1);
	assert_int_equal(viewers_count(&viewers), 1);
	assert_int_equal(viewers.controller->number, 2);
	room(true);
	assert_int_equal(heard.inputs, 0);
	hang_up(b);
	assert_int_equal(count_fds(), before);
}

static void test_viewers_outputs_settle(void **state)
{
	int a = meet(0), b = meet(0);

	(void)state;
	PUT(a, viewer_output, .hdr.type = VIEWER_OUTPUT, .scanout = 1, .plugged = 1, .width = 800, .height = 600);
	pass(VIEWER_OUT_SETTLE_NS / 2);
	PUT(a, viewer_output, .hdr.type = VIEWER_OUTPUT, .scanout = 1, .plugged = 1, .width = 10, .height = 700, .refresh_mhz = 75000);
	PUT(b, viewer_output, .hdr.type = VIEWER_OUTPUT, .scanout = 0, .plugged = 0, .width = 10, .height = 700);
	pass(VIEWER_OUT_SETTLE_NS - 1);
	serve();
	assert_int_equal(display.scanout[1].output.height, H);
	pass(1);
	serve();
	assert_int_equal(display.scanout[1].output.width, 64);
	assert_int_equal(display.scanout[1].output.height, 700);
	assert_int_equal(display.scanout[1].output.refresh_hz, 75);
	assert_true(display.scanout[0].output.enabled);
	hang_up(a);
	hang_up(b);
}

static void test_viewers_say_goodbye(void **state)
{
	int sv[2], fd = meet(0);

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(viewers_add(&viewers, sv[0], 77), 0);
	/* Left over from before the restart. */
	PUT(sv[1], viewer_release, .hdr.type = VIEWER_RELEASE, .number = 5);
	PUT(sv[1], viewer_client_hello, .hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION);
	want(sv[1], VIEWER_ROLE);
	assert_int_equal(p.role.controls, 0);
	stop(VIEWER_BYE_RESTART);
	want_bye(fd, VIEWER_BYE_RESTART);
	want(sv[1], VIEWER_BYE);
	assert_int_equal(heard.kept_gone, 1);
	/* That one is still open. */
	assert_int_equal(send(sv[0], "x", 1, MSG_NOSIGNAL), 1);
	close(sv[0]);
	close(sv[1]);
}

static void test_viewers_without_a_display(void **state)
{
	int fd;

	(void)state;
	viewers.display = NULL;
	fd = meet(0);
	want(fd, VIEWER_HELLO);
	assert_int_equal(p.hello.nscanouts, 0);
	type(fd, VIEWER_TABLET, 3, 1, (struct viewer_event[]){{EV_ABS, ABS_X, VIEWER_ABS_MAX}});
	assert_int_equal(heard.ev[0].value, INPUT_TABLET_MAX);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE);
	want_bye(fd, VIEWER_BYE_PROTOCOL);
	viewers.display = &display;
}

/*
 * Pacing.
 */

static unsigned done;

static void on_done(struct display_hold *h)
{
	(void)h;
	done++;
}

static void test_viewers_pace_while_they_keep_up(void **state)
{
	struct display_hold hold = {.done = on_done};
	uint64_t number;
	int fd, watcher;

	(void)state;
	done = 0;
	show(0);
	watcher = meet(VIEWER_OBSERVES);
	flush(0, 0, 0, 1, 1);
	assert_false(display_hold(&display, &hold, 1));
	fd = meet(0);
	want(fd, VIEWER_FRAME);
	number = p.frame.number;
	assert_true(display_hold(&display, &hold, 1));
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number);
	assert_int_equal(done, 1);
	/* One that comes while a frame is with the viewer waits for the one it is in. */
	flush(0, 0, 0, 1, 1);
	want(fd, VIEWER_FRAME);
	number = p.frame.number;
	flush(0, 0, 0, 1, 1);
	assert_true(display_hold(&display, &hold, 1));
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number);
	assert_int_equal(done, 1);
	pass(DISPLAY_HOLD_NS - 1000001);
	serve();
	assert_int_equal(done, 1);
	pass(1000001);
	serve();
	assert_int_equal(done, 2);
	assert_int_equal(display.counters.late, 1);
	/* Too late: nothing is held for it, until it releases a frame. */
	flush(0, 0, 0, 1, 1);
	assert_false(display_hold(&display, &hold, 1));
	want(fd, VIEWER_FRAME);
	number = p.frame.number;
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number);
	flush(0, 0, 0, 1, 1);
	assert_true(display_hold(&display, &hold, 1));
	/* Its end is the end of that. */
	hang_up(fd);
	assert_int_equal(done, 3);
	assert_false(display_hold(&display, &hold, 1));
	hang_up(watcher);
}

static void test_viewers_are_late_for_one_output_only(void **state)
{
	struct display_hold first = {.done = on_done}, second = {.done = on_done};
	uint64_t number;
	int fd;

	(void)state;
	done = 0;
	show(0);
	show(1);
	flush(0, 0, 0, 1, 1);
	flush(1, 0, 0, 1, 1);
	fd = meet(0);
	do {
		want(fd, VIEWER_FRAME);
	} while (p.frame.scanout != 0);
	number = p.frame.number;
	assert_true(display_hold(&display, &second, 2));
	pass(DISPLAY_HOLD_NS / 2);
	assert_true(display_hold(&display, &first, 1));
	/* It never releases output 1. */
	pass(DISPLAY_HOLD_NS / 2 + 1000001);
	serve();
	assert_int_equal(done, 1);
	assert_int_equal(first.scanouts, 1);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number);
	assert_int_equal(done, 2);
	/* Nothing is held there, whatever it releases elsewhere; there it goes on pacing. */
	flush(0, 0, 0, 1, 1);
	flush(1, 0, 0, 1, 1);
	assert_false(display_hold(&display, &second, 2));
	assert_true(display_is_paced(&display));
	assert_true(display_hold(&display, &first, 3));
	assert_int_equal(first.scanouts, 1);
	assert_int_equal(display.pacer->demoted, 1);
	hang_up(fd);
	assert_int_equal(done, 3);
}

static void test_viewers_pace_no_longer_than_they_control(void **state)
{
	struct display_hold hold = {.done = on_done};
	int a, b;

	(void)state;
	done = 0;
	show(0);
	flush(0, 0, 0, 1, 1);
	a = meet(0);
	b = meet(0);
	assert_true(display_hold(&display, &hold, 1));
	PUT(b, viewer_control, .hdr.type = VIEWER_CONTROL, .wants = 1);
	assert_int_equal(done, 1);
	assert_true(display_hold(&display, &hold, 1));
	/* Nothing is shown: nothing can be seen. */
	display_show(&display, 0, NULL, NULL);
	assert_int_equal(done, 2);
	hang_up(a);
	hang_up(b);
}

/*
 * Those that lie.
 */

static void lie_version(int fd)
{
	PUT(fd, viewer_client_hello, .hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION + 1);
}

static void lie_nothing(int fd)
{
	(void)fd;
	pass(VIEWERS_HELLO_NS + 1);
	serve();
}

static void lie_no_hello(int fd)
{
	PUT(fd, viewer_control, .hdr.type = VIEWER_CONTROL, .wants = 1);
}

static void hello(int fd)
{
	PUT(fd, viewer_client_hello, .hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION);
}

static void lie_second_hello(int fd)
{
	hello(fd);
	hello(fd);
}

static void lie_formats(int fd)
{
	PUT(fd, viewer_client_hello, .hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .nformats = 3);
}

static void lie_short_header(int fd)
{
	put(fd, "abc", 3);
}

static void lie_short_message(int fd)
{
	const struct viewer_focus m = {.hdr.type = VIEWER_FOCUS};

	hello(fd);
	put(fd, &m, sizeof(m) - 1);
}

static void lie_long_packet(int fd)
{
	static uint8_t big[VIEWER_PACKET_MAX + 1];

	hello(fd);
	put(fd, big, sizeof(big));
}

static void lie_descriptors(int fd)
{
	const struct viewer_focus m = {.hdr.type = VIEWER_FOCUS};
	struct iovec iov = {(void *)(uintptr_t)&m, sizeof(m)};
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(sizeof(int) * 100)];
	} cmsg;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cmsg, .msg_controllen = sizeof(cmsg)};

	hello(fd);
	cmsg.hdr = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * 100)};
	for (unsigned i = 0; i < 100; i++) {
		memcpy(CMSG_DATA(&cmsg.hdr) + i * sizeof(int), &fd, sizeof(int));
	}
	assert_true(sendmsg(fd, &msg, MSG_NOSIGNAL) > 0);
	serve();
}

static void lie_release_twice(int fd)
{
	uint64_t number;

	hello(fd);
	want(fd, VIEWER_FRAME);
	number = p.frame.number;
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number);
}

/* Both before the display's loop hears of the first. */
static void lie_release_at_once(int fd)
{
	struct viewer_release m = {.hdr.type = VIEWER_RELEASE};

	hello(fd);
	want(fd, VIEWER_FRAME);
	m.number = p.frame.number;
	assert_int_equal(send(fd, &m, sizeof(m), 0), sizeof(m));
	assert_int_equal(send(fd, &m, sizeof(m), 0), sizeof(m));
	serve();
}

static void lie_release_unknown(int fd)
{
	hello(fd);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .number = 12345);
}

static void lie_scanout(int fd)
{
	hello(fd);
	PUT(fd, viewer_release, .hdr.type = VIEWER_RELEASE, .scanout = 2);
}

static void lie_presented(int fd)
{
	hello(fd);
	PUT(fd, viewer_presented, .hdr.type = VIEWER_PRESENTED, .number = 1ull << 60);
}

static void lie_output(int fd)
{
	hello(fd);
	PUT(fd, viewer_output, .hdr.type = VIEWER_OUTPUT, .plugged = 1, .width = UINT32_MAX, .height = 10);
}

static void lie_device(int fd)
{
	hello(fd);
	type(fd, 9, 0, 1, (struct viewer_event[]){{EV_KEY, KEY_A, 1}});
}

static void lie_event(int fd)
{
	hello(fd);
	type(fd, VIEWER_KEYBOARD, 0, 1, (struct viewer_event[]){{EV_ABS, ABS_X, 1}});
}

static void lie_syn(int fd)
{
	hello(fd);
	type(fd, VIEWER_MOUSE, 0, 1, (struct viewer_event[]){{EV_SYN, SYN_REPORT, 0}});
}

static void lie_place(int fd)
{
	hello(fd);
	type(fd, VIEWER_TABLET, 0, 1, (struct viewer_event[]){{EV_ABS, ABS_X, VIEWER_ABS_MAX + 1}});
}

static void lie_slot(int fd)
{
	hello(fd);
	type(fd, VIEWER_TOUCH, 0, 1, (struct viewer_event[]){{EV_ABS, ABS_MT_SLOT, VIEWER_SLOTS}});
}

static void lie_finger(int fd)
{
	hello(fd);
	type(fd, VIEWER_TOUCH, 0, 1, (struct viewer_event[]){{EV_ABS, ABS_MT_TRACKING_ID, -2}});
}

static void lie_key(int fd)
{
	hello(fd);
	type(fd, VIEWER_KEYBOARD, 0, 1, (struct viewer_event[]){{EV_KEY, KEY_A, 2}});
}

static void lie_nevents(int fd)
{
	const struct viewer_in_input m = {.hdr.type = VIEWER_INPUT, .device = VIEWER_KEYBOARD, .nevents = UINT32_MAX / 8 + 2};

	hello(fd);
	put(fd, &m, offsetof(struct viewer_in_input, event));
}

static void lie_action(int fd)
{
	hello(fd);
	PUT(fd, viewer_action, .hdr.type = VIEWER_ACTION, .action = 4);
}

static void lie_imports(int fd)
{
	PUT(fd, viewer_client_hello, .hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .features = VIEWER_CAN_DMABUF);
	PUT(fd, viewer_imports, .hdr.type = VIEWER_IMPORTS, .nformats = 1);
}

static void lie_imports_many(int fd)
{
	static uint8_t packet[sizeof(struct viewer_imports) + (VIEWER_FORMATS_MAX + 1) * sizeof(struct viewer_format)];
	const struct viewer_imports m = {.hdr.type = VIEWER_IMPORTS, .nformats = VIEWER_FORMATS_MAX + 1};

	PUT(fd, viewer_client_hello, .hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .features = VIEWER_CAN_DMABUF);
	memcpy(packet, &m, sizeof(m));
	put(fd, packet, sizeof(packet));
}

static void lie_imports_short(int fd)
{
	const struct viewer_imports m = {.hdr.type = VIEWER_IMPORTS};

	PUT(fd, viewer_client_hello, .hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .features = VIEWER_CAN_DMABUF);
	put(fd, &m, sizeof(m) - 1);
}

static void test_viewers_that_lie_lose_their_connection_only(void **state)
{
	static const struct {
		const char *name;
		void (*lie)(int fd);
		enum viewer_bye_reason reason;
	} rows[] = {
		{"another version", lie_version, VIEWER_BYE_VERSION}, {"no word", lie_nothing, VIEWER_BYE_PROTOCOL}, {"no hello", lie_no_hello, VIEWER_BYE_PROTOCOL},
		{"two hellos", lie_second_hello, VIEWER_BYE_PROTOCOL}, {"formats that are not there", lie_formats, VIEWER_BYE_PROTOCOL},
		{"less than a header", lie_short_header, VIEWER_BYE_PROTOCOL}, {"a short message", lie_short_message, VIEWER_BYE_PROTOCOL},
		{"a long packet", lie_long_packet, VIEWER_BYE_PROTOCOL}, {"descriptors", lie_descriptors, VIEWER_BYE_PROTOCOL},
		{"a release twice", lie_release_twice, VIEWER_BYE_PROTOCOL}, {"two releases at once", lie_release_at_once, VIEWER_BYE_PROTOCOL},
		{"a release of what was not sent", lie_release_unknown, VIEWER_BYE_PROTOCOL}, {"a scanout", lie_scanout, VIEWER_BYE_PROTOCOL},
		{"presented what was not sent", lie_presented, VIEWER_BYE_PROTOCOL}, {"a size", lie_output, VIEWER_BYE_PROTOCOL},
		{"a device", lie_device, VIEWER_BYE_PROTOCOL}, {"an event", lie_event, VIEWER_BYE_PROTOCOL}, {"an end of a frame", lie_syn, VIEWER_BYE_PROTOCOL},
		{"a slot", lie_slot, VIEWER_BYE_PROTOCOL}, {"a finger", lie_finger, VIEWER_BYE_PROTOCOL}, {"a key", lie_key, VIEWER_BYE_PROTOCOL},
		{"a place", lie_place, VIEWER_BYE_PROTOCOL}, {"more events than there are", lie_nevents, VIEWER_BYE_PROTOCOL},
		{"an action", lie_action, VIEWER_BYE_PROTOCOL}, {"imports that are not there", lie_imports, VIEWER_BYE_PROTOCOL}, {"too many imports", lie_imports_many, VIEWER_BYE_PROTOCOL},
		{"short imports", lie_imports_short, VIEWER_BYE_PROTOCOL},
	};
	uint64_t number, used;
	int honest, fds;

	(void)state;
	show(0);
	flush(0, 0, 0, W, H);
	honest = meet(0);
	want(honest, VIEWER_FRAME);
	number = p.frame.number;
	drain(honest, 0);
	fds = count_fds();
	used = display.budget.used;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = dial_in();

		rows[i].lie(fd);
		want(fd, VIEWER_BYE);
		if (p.bye.reason != rows[i].reason) {
			fail_msg("%s: bye for reason %u: %s", rows[i].name, p.bye.reason, (char *)p.bye.text);
		}
		hang_up(fd);
		drain(honest, 0);
		if (viewers.n != 1 || count_fds() != fds || display.budget.used != used) {
			fail_msg("%s: %u viewers, %d descriptors", rows[i].name, viewers.n, count_fds() - fds);
		}
	}
	assert_int_equal(heard.inputs, 0);
	PUT(honest, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number);
	flush(0, 0, 0, 1, 1);
	want(honest, VIEWER_FRAME);
	assert_int_equal(p.frame.number, number + 1);
	hang_up(honest);
	assert_int_equal(viewers.n, 0);
	assert_int_equal(count_fds(), fds - 3);
}

static struct {
	int fd;
	struct viewer_presented message;
	atomic_bool is_over;
} flood;

/* Return: how many of them fit into the socket. */
static unsigned fill_socket(void)
{
	unsigned n = 0;

	while (send(flood.fd, &flood.message, sizeof(flood.message), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
		n++;
	}
	return n;
}

static void *run_flood(void *arg)
{
	while (!atomic_load(&flood.is_over)) {
		fill_socket();
	}
	return arg;
}

static void test_viewers_that_flood_have_their_turn(void **state)
{
	unsigned room, taken;
	uint64_t number;
	pthread_t thread;
	int honest;

	(void)state;
	show(0);
	flush(0, 0, 0, W, H);
	honest = meet(0);
	want(honest, VIEWER_FRAME);
	number = p.frame.number;
	PUT(honest, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number);
	flood.fd = meet(VIEWER_OBSERVES);
	want(flood.fd, VIEWER_FRAME);
	flood.message = (struct viewer_presented){.hdr.type = VIEWER_PRESENTED, .number = p.frame.number};
	drain(flood.fd, 0);
	room = fill_socket();
	assert_in_range(room, 100, 100000);
	loop_run_once(&loop, 0);
	taken = fill_socket();
	assert_in_range(taken, 1, 40);
	/* And one that does not stop: each of the others' frames comes. */
	atomic_store(&flood.is_over, false);
	assert_int_equal(pthread_create(&thread, NULL, run_flood, NULL), 0);
	for (unsigned i = 1; i <= 200; i++) {
		flush(0, 0, 0, 1, 1);
		want(honest, VIEWER_FRAME);
		assert_int_equal(p.frame.number, number + i);
		PUT(honest, viewer_release, .hdr.type = VIEWER_RELEASE, .number = number + i);
	}
	atomic_store(&flood.is_over, true);
	pthread_join(thread, NULL);
	assert_int_equal(viewers.n, 2);
	hang_up(flood.fd);
	hang_up(honest);
	serve();
	assert_int_equal(viewers.n, 0);
}

static void test_viewers_that_never_read_are_dropped(void **state)
{
	int fd, reader, fds;

	(void)state;
	show(0);
	reader = meet(0);
	fds = count_fds();
	fd = meet(0);
	for (unsigned i = 0; i < 5000; i++) {
		display_move_cursor(&display, 0, (int32_t)i, 1);
		drain(reader, 0);
	}
	assert_non_null(viewers.conn[1]->out.room.loop);
	pass(VIEWER_OUT_PATIENCE_NS - 1);
	serve();
	assert_int_equal(viewers.n, 2);
	pass(1);
	serve();
	assert_int_equal(viewers.n, 1);
	close(fd);
	display_move_cursor(&display, 0, 77, 1);
	want(reader, VIEWER_CURSOR);
	assert_int_equal(p.cursor.x, 77);
	assert_int_equal(count_fds(), fds);
	hang_up(reader);
}

static void test_viewers_that_read_late_get_the_newest(void **state)
{
	int fd;
	int32_t x = 0;

	(void)state;
	show(0);
	fd = meet(0);
	for (unsigned i = 0; i < 5000; i++) {
		display_move_cursor(&display, 0, (int32_t)i, 1);
	}
	for (unsigned i = 0; i < 3; i++) {
		while (get(fd)) {
			x = p.hdr.type == VIEWER_CURSOR ? p.cursor.x : x;
			if (p.fd >= 0) {
				close(p.fd);
			}
		}
		serve();
	}
	assert_int_equal(x, 4999);
	assert_null(viewers.conn[0]->out.room.loop);
	hang_up(fd);
}

static void test_viewers_are_so_many(void **state)
{
	int fd[VIEWERS_MAX + 1];

	(void)state;
	for (unsigned i = 0; i < VIEWERS_MAX; i++) {
		fd[i] = meet(0);
	}
	fd[VIEWERS_MAX] = dial_in();
	want_bye(fd[VIEWERS_MAX], VIEWER_BYE_FULL);
	hang_up(fd[3]);
	fd[3] = meet(0);
	want(fd[3], VIEWER_HELLO);
	for (unsigned i = 0; i < VIEWERS_MAX; i++) {
		hang_up(fd[i]);
	}
}

static void test_viewers_are_these_users(void **state)
{
	uid_t me = geteuid(), other = me == 0 ? 65534 : me;
	int fd;

	(void)state;
	/* Root may always: it comes as somebody else. */
	viewers.allow[0] = other + 1;
	viewers.listener.nallow = 1;
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(seteuid(other), 0);
	fd = dial_in();
	assert_int_equal(seteuid(me), 0);
	assert_false(get(fd));
	assert_int_equal(p.len, SIZE_MAX);
	close(fd);
	viewers.allow[0] = other;
	assert_int_equal(seteuid(other), 0);
	fd = meet(0);
	assert_int_equal(seteuid(me), 0);
	want(fd, VIEWER_HELLO);
	hang_up(fd);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_viewers_show_what_there_is), T(test_viewers_send_one_frame_at_a_time), T(test_viewers_tell_of_buffers_once),
		T(test_viewers_that_take_no_guest_memory_get_a_copy), T(test_viewers_are_lost_when_there_is_no_memory_for_a_copy),
		T(test_viewers_wait_for_a_guest_that_is_late), T(test_viewers_that_wait_are_heard_in_everything_else),
		T(test_viewers_that_wait_can_lose_control), T(test_viewers_that_wait_can_go),
		T(test_viewers_have_one_who_controls), T(test_viewers_pass_input_on), T(test_viewers_input_does_not_wait_for_the_display), T(test_viewers_outputs_settle), T(test_viewers_say_goodbye),
		T(test_viewers_without_a_display), T(test_viewers_pace_while_they_keep_up), T(test_viewers_are_late_for_one_output_only), T(test_viewers_pace_no_longer_than_they_control),
		T(test_viewers_frames_have_their_times), T(test_viewers_that_import_get_dmabufs), T(test_viewers_that_control_get_what_the_guest_draws_in), T(test_viewers_that_cannot_import_get_memory),
		T(test_viewers_frames_have_their_times), T(test_viewers_that_do_not_say_what_they_import_get_memory), T(test_viewers_that_control_get_what_the_guest_draws_in), T(test_viewers_that_cannot_import_get_memory),
		T(test_viewers_that_control_are_known_when_pictures_are_chosen), T(test_viewers_parts_of_the_way_are_counted), T(test_viewers_percentiles),
		T(test_viewers_that_lie_lose_their_connection_only), T(test_viewers_that_flood_have_their_turn), T(test_viewers_that_never_read_are_dropped),
		T(test_viewers_that_read_late_get_the_newest), T(test_viewers_are_so_many), T(test_viewers_are_these_users),
	};

	close(mkstemp(path));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
