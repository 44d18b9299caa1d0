/* SPDX-License-Identifier: MIT */
/* What a viewer makes of what a monitor says, good or not: the state it keeps, what stays mapped and open, and why it hangs up. */
#include "display/view_conn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "display/buffer.h"
#include "tests/support/viewmon.h"

#define W 64u
#define H 32u
#define ALL_OF_IT ((struct viewer_rect){0, 0, W, H})

static struct viewmon m;
static struct view_conn c;

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d)) {
		n++;
	}
	closedir(d);
	return n;
}

/* W x H pixels of @fill as the kernel's udmabuf makes them of memory. Return: -1 where there is none. */
static int guest_memory(uint8_t fill)
{
	struct udmabuf_create u = {.flags = UDMABUF_FLAGS_CLOEXEC, .size = W * H * 4};
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), fd;
	void *map;

	if (dev < 0) {
		return -1;
	}
	u.memfd = (uint32_t)memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate((int)u.memfd, W * H * 4), 0);
	assert_int_equal(fcntl((int)u.memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	map = mmap(NULL, W * H * 4, PROT_READ | PROT_WRITE, MAP_SHARED, (int)u.memfd, 0);
	assert_true(map != MAP_FAILED);
	memset(map, fill, W * H * 4);
	munmap(map, W * H * 4);
	fd = ioctl(dev, UDMABUF_CREATE, &u);
	assert_true(fd >= 0);
	close((int)u.memfd);
	close(dev);
	return fd;
}

static int set_up(void **state)
{
	(void)state;
	viewmon_init(&m);
	view_conn_init(&c, m.viewer_fd, "tests", false);
	m.viewer_fd = -1;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	view_conn_finish(&c);
	viewmon_finish(&m);
	return 0;
}

static void greeted(unsigned nscanouts)
{
	viewmon_hello(&m, nscanouts);
	for (unsigned i = 0; i < nscanouts; i++) {
		viewmon_mode(&m, i, W, H);
	}
	assert_true(view_conn_read(&c));
	assert_int_equal(c.end, VIEW_GOES_ON);
}

static void shown(void)
{
	greeted(1);
	viewmon_buffer(&m, 7, W, H);
	viewmon_frame(&m, 0, 7, 1, W, H, ALL_OF_IT);
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_GOES_ON);
}

static void test_view_conn_says_hello(void **state)
{
	const struct viewer_client_hello *hello = viewmon_read(&m, 0);

	(void)state;
	assert_non_null(hello);
	assert_int_equal(hello->hdr.type, VIEWER_CLIENT_HELLO);
	assert_int_equal(hello->version, VIEWER_VERSION);
	assert_int_equal(hello->flags | hello->nformats, 0);
	assert_int_equal(hello->features, VIEWER_CAN_GUEST | VIEWER_CAN_DMABUF);
	assert_string_equal((const char *)hello->name, "tests");
	view_conn_again(&c, "tests", true);
	hello = viewmon_read(&m, 0);
	assert_int_equal(hello->flags, VIEWER_OBSERVES);
}

static void test_view_conn_keeps_what_the_monitor_says(void **state)
{
	struct viewer_hello hello = {.hdr.type = VIEWER_HELLO, .version = VIEWER_VERSION, .nscanouts = 2, .viewer = 5, .vm = "we\033b"};
	struct viewer_mode mode = {.hdr.type = VIEWER_MODE, .scanout = 1, .flags = VIEWER_MODE_PLUGGED, .width = 800, .height = 600, .refresh_mhz = 75000};

	(void)state;
	assert_false(view_conn_read(&c));
	viewmon_send(&m, &hello, sizeof(hello));
	viewmon_send(&m, &mode, sizeof(mode));
	viewmon_input_state(&m, 7, 5, 2);
	viewmon_role(&m, 0);
	assert_true(view_conn_read(&c));
	assert_int_equal(c.end, VIEW_GOES_ON);
	assert_int_equal(c.nscanouts, 2);
	assert_int_equal(c.number, 5);
	/* What a terminal or a title bar would act on is not in it. */
	assert_string_equal(c.vm, "we?b");
	assert_true(c.at[1].plugged);
	assert_false(c.at[1].shows);
	assert_int_equal(c.at[1].width, 800);
	assert_int_equal(c.at[1].height, 600);
	assert_int_equal(c.at[1].refresh_mhz, 75000);
	assert_true(c.at[1].news & VIEW_NEWS_MODE);
	assert_true(c.has_input_state);
	assert_int_equal(c.has, 7);
	assert_int_equal(c.driven, 5);
	assert_int_equal(c.leds, 2);
	assert_false(c.controls);
	assert_int_equal(c.controller_pid, 4321);
	assert_string_equal(c.controller_name, "other");
}

static void test_view_conn_a_frame_is_mapped_and_released(void **state)
{
	const struct viewer_release *release;
	const struct view_scanout *s = &c.at[0];

	(void)state;
	shown();
	assert_true(s->has_frame);
	assert_true(s->news & VIEW_NEWS_FRAME);
	assert_int_equal(s->frame, 1);
	assert_int_equal(s->picture->fourcc, DISPLAY_XRGB8888);
	assert_int_equal(s->picture->map[0], 7);
	assert_int_equal(s->picture->map[s->picture->len - 1], 7);
	assert_int_equal(s->damage.n, 1);
	assert_int_equal(s->damage.rect[0].w, W);
	assert_null(viewmon_read(&m, VIEWER_RELEASE));
	view_conn_release(&c, 0);
	release = viewmon_read(&m, VIEWER_RELEASE);
	assert_non_null(release);
	assert_int_equal(release->number, 1);
	assert_false(s->has_frame);
	viewmon_frame(&m, 0, 7, 2, W, H, (struct viewer_rect){1, 2, 3, 4});
	view_conn_read(&c);
	assert_int_equal(s->frame, 2);
	assert_int_equal(s->damage.n, 1);
	assert_int_equal(s->damage.rect[0].y, 2);
}

static void test_view_conn_a_buffer_stays_while_it_is_looked_at(void **state)
{
	(void)state;
	shown();
	viewmon_gone(&m, 7);
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_GOES_ON);
	assert_int_equal(c.at[0].picture->map[0], 7);
	assert_int_equal(c.npictures, 1);
	view_conn_release(&c, 0);
	viewmon_buffer(&m, 8, W, H);
	viewmon_frame(&m, 0, 8, 2, W, H, ALL_OF_IT);
	view_conn_read(&c);
	assert_int_equal(c.npictures, 1);
	assert_int_equal(c.at[0].picture->map[0], 8);
	/* One that nobody looks at goes at once. */
	viewmon_buffer(&m, 9, W, H);
	viewmon_gone(&m, 9);
	view_conn_read(&c);
	assert_int_equal(c.npictures, 1);
	assert_int_equal(c.end, VIEW_GOES_ON);
}

static void test_view_conn_one_buffer_on_two_scanouts(void **state)
{
	(void)state;
	greeted(2);
	viewmon_buffer(&m, 7, W, H);
	viewmon_frame(&m, 0, 7, 1, W, H, ALL_OF_IT);
	viewmon_frame(&m, 1, 7, 1, W, H, ALL_OF_IT);
	viewmon_gone(&m, 7);
	view_conn_read(&c);
	view_conn_release(&c, 0);
	viewmon_buffer(&m, 8, W, H);
	viewmon_frame(&m, 0, 8, 2, W, H, ALL_OF_IT);
	view_conn_read(&c);
	assert_int_equal(c.npictures, 2);
	assert_int_equal(c.at[1].picture->map[0], 7);
}

static void test_view_conn_leaves_nothing_open(void **state)
{
	unsigned before = open_fds();

	(void)state;
	shown();
	/* Descriptors that come with what takes none. */
	viewmon_send_memfd(&m, &(struct viewer_header){.type = 4000}, sizeof(struct viewer_header), 4, 4096, F_SEAL_SHRINK, 0);
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_GOES_ON);
	assert_int_equal(open_fds(), before);
}

static void test_view_conn_a_cursor(void **state)
{
	struct {
		struct viewer_cursor_image hdr;
		uint32_t pixels[VIEWER_CURSOR_SIZE + 1];
	} image = {{.hdr.type = VIEWER_CURSOR_IMAGE, .width = 2, .height = 3, .hot_x = 1, .hot_y = 77}, {1, 2, 3, 4, 5, 6}};
	struct viewer_cursor cursor = {.hdr.type = VIEWER_CURSOR, .visible = 1, .x = -3, .y = 9};

	(void)state;
	greeted(1);
	viewmon_send(&m, &cursor, sizeof(cursor));
	view_conn_read(&c);
	/* Without an image there is nothing to see. */
	assert_false(c.at[0].cursor_visible);
	viewmon_send(&m, &image, sizeof(image));
	viewmon_send(&m, &cursor, sizeof(cursor));
	view_conn_read(&c);
	assert_true(c.at[0].cursor_visible);
	assert_int_equal(c.at[0].cursor_x, -3);
	assert_int_equal(c.at[0].cursor[5], 6);
	assert_int_equal(c.at[0].hot_x, 1);
	assert_int_equal(c.at[0].hot_y, 2);
	assert_int_equal(c.at[0].news & (VIEW_NEWS_CURSOR | VIEW_NEWS_IMAGE), VIEW_NEWS_CURSOR | VIEW_NEWS_IMAGE);
	image.hdr.width = VIEWER_CURSOR_SIZE + 1;
	image.hdr.height = 1;
	viewmon_send(&m, &image, sizeof(image));
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_END_LIE);
}

static void test_view_conn_newer_monitors_say_more(void **state)
{
	uint8_t longer[sizeof(struct viewer_mode) + 40] = {0};
	struct viewer_mode mode = {.hdr.type = VIEWER_MODE, .width = 100, .height = 50};

	(void)state;
	greeted(1);
	memcpy(longer, &mode, sizeof(mode));
	viewmon_send(&m, longer, sizeof(longer));
	viewmon_send(&m, &(struct viewer_header){.type = 11}, sizeof(struct viewer_header));
	viewmon_send(&m, &(struct viewer_header){.type = VIEWER_INPUT}, sizeof(struct viewer_header));
	viewmon_send(&m, &(struct viewer_header){.type = UINT32_MAX}, sizeof(struct viewer_header));
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_GOES_ON);
	assert_int_equal(c.at[0].width, 100);
}

/* Everything that ends the connection, one after another, each on a new one. */
static void lie_before_hello(void)
{
	viewmon_role(&m, 1);
}

static void lie_hello_twice(void)
{
	greeted(1);
	viewmon_hello(&m, 1);
}

static void lie_version(void)
{
	struct viewer_hello hello = {.hdr.type = VIEWER_HELLO, .version = VIEWER_VERSION + 1, .nscanouts = 1};

	viewmon_send(&m, &hello, sizeof(hello));
}

static void lie_scanouts(void)
{
	viewmon_hello(&m, VIEW_SCANOUTS_MAX + 1);
}

static void lie_no_header(void)
{
	viewmon_send(&m, "1234567", 7);
}

static void lie_short(void)
{
	greeted(1);
	viewmon_send(&m, &(struct viewer_header){.type = VIEWER_ROLE}, sizeof(struct viewer_header));
}

static void lie_long(void)
{
	static const uint8_t packet[VIEWER_PACKET_MAX + 1];

	greeted(1);
	viewmon_send(&m, packet, sizeof(packet));
}

static void lie_scanout(void)
{
	greeted(1);
	viewmon_mode(&m, 1, W, H);
}

static void lie_mode(void)
{
	greeted(1);
	viewmon_mode(&m, 0, 0, H);
}

static void lie_mode_large(void)
{
	greeted(1);
	viewmon_mode(&m, 0, VIEW_SIZE_MAX + 1, H);
}

static struct viewer_buffer a_buffer(void)
{
	greeted(1);
	return viewmon_make_buffer(7, W, H);
}

static void send_buffer(const struct viewer_buffer *b)
{
	viewmon_send_memfd(&m, b, sizeof(*b), 1, W * H * 4, F_SEAL_SHRINK, 0);
}

static void lie_buffer_without(void)
{
	struct viewer_buffer b = a_buffer();

	viewmon_send(&m, &b, sizeof(b));
}

static void lie_buffer_with_two(void)
{
	struct viewer_buffer b = a_buffer();

	viewmon_send_memfd(&m, &b, sizeof(b), 2, W * H * 4, F_SEAL_SHRINK, 0);
}

static void lie_fds(void)
{
	greeted(1);
	viewmon_send_memfd(&m, &(struct viewer_header){.type = 4000}, sizeof(struct viewer_header), VIEWER_FDS_MAX + 1, 4096, F_SEAL_SHRINK, 0);
}

static void lie_many_fds(void)
{
	greeted(1);
	viewmon_send_memfd(&m, &(struct viewer_header){.type = 4000}, sizeof(struct viewer_header), 16, 4096, F_SEAL_SHRINK, 0);
}

static void lie_buffer_that_can_shrink(void)
{
	struct viewer_buffer b = a_buffer();

	viewmon_send_memfd(&m, &b, sizeof(b), 1, W * H * 4, F_SEAL_GROW, 0);
}

static void lie_buffer_that_is_short(void)
{
	struct viewer_buffer b = a_buffer();

	viewmon_send_memfd(&m, &b, sizeof(b), 1, W * H * 4 - 1, F_SEAL_SHRINK, 0);
}

static void lie_buffer_no_file(void)
{
	struct viewer_buffer b = a_buffer();
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {&b, sizeof(b)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);

	control.align = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	assert_int_equal(sendmsg(m.fd, &msg, 0), sizeof(b));
	close(fd);
}

static void lie_buffer_kind(void)
{
	struct viewer_buffer b = a_buffer();

	b.kind = VIEWER_DMABUF;
	send_buffer(&b);
}

/* From one that has not said that it would. */
static void lie_buffer_kind_unsaid(void)
{
	struct viewer_hello hello = {.hdr.type = VIEWER_HELLO, .version = VIEWER_VERSION, .nscanouts = 1};
	struct viewer_buffer b = viewmon_make_buffer(7, W, H);
	int fd = guest_memory(3);

	viewmon_send(&m, &hello, sizeof(hello));
	b.kind = VIEWER_DMABUF;
	if (fd < 0) {
		send_buffer(&b);
	} else {
		viewmon_send_fd(&m, &b, sizeof(b), fd);
		close(fd);
	}
}

static void lie_planes_of_one_descriptor(void)
{
	struct viewer_buffer b = a_buffer();

	b.kind = VIEWER_DMABUF;
	b.nplanes = 2;
	send_buffer(&b);
}

static void lie_no_planes(void)
{
	struct viewer_buffer b = a_buffer();

	b.kind = VIEWER_DMABUF;
	b.nplanes = 0;
	viewmon_send(&m, &b, sizeof(b));
}

/* Sealed as it may be: guest memory is a dma-buf. */
static void lie_buffer_guest_in_a_file(void)
{
	struct viewer_buffer b = a_buffer();

	b.kind = VIEWER_GUEST;
	send_buffer(&b);
}

static void lie_buffer_guest_unsaid(void)
{
	struct viewer_hello hello = {.hdr.type = VIEWER_HELLO, .version = VIEWER_VERSION, .nscanouts = 1};
	struct viewer_buffer b = viewmon_make_buffer(7, W, H);
	int fd;

	viewmon_send(&m, &hello, sizeof(hello));
	b.kind = VIEWER_GUEST;
	fd = guest_memory(3);
	if (fd < 0) {
		send_buffer(&b);
	} else {
		viewmon_send_fd(&m, &b, sizeof(b), fd);
		close(fd);
	}
}

static void lie_buffer_planes(void)
{
	struct viewer_buffer b = a_buffer();

	b.nplanes = 2;
	send_buffer(&b);
}

static void lie_buffer_format(void)
{
	struct viewer_buffer b = a_buffer();

	b.fourcc = DISPLAY_FOURCC('N', 'V', '1', '2');
	send_buffer(&b);
}

static void lie_buffer_stride(void)
{
	struct viewer_buffer b = a_buffer();

	b.stride[0]--;
	send_buffer(&b);
}

static void lie_buffer_offset(void)
{
	struct viewer_buffer b = a_buffer();

	b.offset[0] = 4;
	send_buffer(&b);
}

static void lie_buffer_overflow(void)
{
	struct viewer_buffer b = a_buffer();

	/* 32 bits of it would be right. */
	b.height = 2;
	b.stride[0] = UINT32_MAX - W * 4 + 1;
	b.offset[0] = W * 4;
	send_buffer(&b);
}

static void lie_buffer_large(void)
{
	struct viewer_buffer b = a_buffer();

	b.width = VIEW_SIZE_MAX + 1;
	b.height = 1;
	b.stride[0] = b.width * 4;
	b.len = b.stride[0];
	viewmon_send_memfd(&m, &b, sizeof(b), 1, b.len, F_SEAL_SHRINK, 0);
}

static void lie_buffer_twice(void)
{
	struct viewer_buffer b = a_buffer();

	send_buffer(&b);
	send_buffer(&b);
}

static void lie_gone(void)
{
	greeted(1);
	viewmon_gone(&m, 7);
}

static void lie_gone_twice(void)
{
	shown();
	viewmon_gone(&m, 7);
	viewmon_gone(&m, 7);
}

static void lie_frame_unknown(void)
{
	greeted(1);
	viewmon_frame(&m, 0, 7, 1, W, H, ALL_OF_IT);
}

static void lie_frame_gone(void)
{
	shown();
	view_conn_release(&c, 0);
	viewmon_gone(&m, 7);
	viewmon_frame(&m, 0, 7, 2, W, H, ALL_OF_IT);
}

static void lie_frame_early(void)
{
	shown();
	viewmon_frame(&m, 0, 7, 2, W, H, ALL_OF_IT);
}

static void lie_frame_crop(void)
{
	greeted(1);
	viewmon_buffer(&m, 7, W, H);
	viewmon_frame(&m, 0, 7, 1, W, H + 1, ALL_OF_IT);
}

static void lie_frame_rect(void)
{
	greeted(1);
	viewmon_buffer(&m, 7, W, H);
	viewmon_frame(&m, 0, 7, 1, W, H, (struct viewer_rect){1, 0, W, 1});
}

static void lie_frame_rect_overflow(void)
{
	greeted(1);
	viewmon_buffer(&m, 7, W, H);
	viewmon_frame(&m, 0, 7, 1, W, H, (struct viewer_rect){2, 0, UINT32_MAX, 1});
}

static void lie_frame_scanout(void)
{
	greeted(1);
	viewmon_buffer(&m, 7, W, H);
	viewmon_frame(&m, 1, 7, 1, W, H, ALL_OF_IT);
}

static void frame_with_rects(uint32_t n)
{
	struct viewer_frame f = viewmon_make_frame(0, 7, 1, W, H, ALL_OF_IT);

	greeted(1);
	viewmon_buffer(&m, 7, W, H);
	f.nrects = n;
	viewmon_send(&m, &f, n > VIEWER_RECTS_MAX ? sizeof(f) : offsetof(struct viewer_frame, rect) + sizeof(f.rect[0]));
}

static void lie_frame_no_rects(void)
{
	frame_with_rects(0);
}

static void lie_frame_short(void)
{
	struct viewer_frame before = viewmon_make_frame(0, 7, 1, W, H, ALL_OF_IT);

	/* What the last packet left there would do. */
	before.hdr.type = 4000;
	before.rect[1] = ALL_OF_IT;
	viewmon_send(&m, &before, sizeof(before));
	view_conn_read(&c);
	frame_with_rects(2);
}

static void lie_frame_rects(void)
{
	frame_with_rects(VIEWER_RECTS_MAX + 1);
}

static void lie_cursor_short(void)
{
	struct viewer_cursor_image image = {.hdr.type = VIEWER_CURSOR_IMAGE, .width = 1, .height = 1};

	greeted(1);
	viewmon_send(&m, &image, sizeof(image));
}

static void lie_cursor_empty(void)
{
	struct viewer_cursor_image image = {.hdr.type = VIEWER_CURSOR_IMAGE, .width = 0, .height = 1};

	greeted(1);
	viewmon_send(&m, &image, sizeof(image));
}

static void test_view_conn_maps_guest_memory(void **state)
{
	struct viewer_buffer b = viewmon_make_buffer(7, W, H);
	unsigned before = open_fds();
	int fd = guest_memory(0x5c);

	(void)state;
	if (fd < 0) {
		skip();
	}
	greeted(1);
	b.kind = VIEWER_GUEST;
	viewmon_send_fd(&m, &b, sizeof(b), fd);
	viewmon_frame(&m, 0, 7, 1, W, H, ALL_OF_IT);
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_GOES_ON);
	assert_int_equal(((const uint8_t *)c.pictures->map)[W * H * 4 - 1], 0x5c);
	/* One page more than there is: whoever looks there would be killed. */
	b.id = 8;
	b.len += 4096;
	viewmon_send_fd(&m, &b, sizeof(b), fd);
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_END_LIE);
	close(fd);
	assert_int_equal(open_fds(), before);
}

/* They are kept for whoever imports them, and closed with the picture. */
static void test_view_conn_keeps_planes(void **state)
{
	struct viewer_buffer b = viewmon_make_buffer(7, W, H);
	unsigned before = open_fds();
	int fd = guest_memory(0x5c);

	(void)state;
	if (fd < 0) {
		skip();
	}
	greeted(1);
	b.kind = VIEWER_DMABUF;
	b.len = 0;
	b.modifier = 0x1234567800000000;
	b.offset[0] = 99;
	viewmon_send_fd(&m, &b, sizeof(b), fd);
	viewmon_frame(&m, 0, 7, 1, W, H, ALL_OF_IT);
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_GOES_ON);
	assert_null(c.pictures->map);
	assert_int_equal(c.pictures->nplanes, 1);
	assert_true(c.pictures->modifier == b.modifier);
	assert_int_equal(c.pictures->plane_offset[0], 99);
	assert_int_equal(c.pictures->plane_stride[0], W * 4);
	assert_int_equal(open_fds(), before + 2);
	viewmon_gone(&m, 7);
	view_conn_read(&c);
	/* It is still shown. */
	assert_int_equal(open_fds(), before + 2);
	viewmon_buffer(&m, 8, W, H);
	view_conn_release(&c, 0);
	viewmon_frame(&m, 0, 8, 2, W, H, ALL_OF_IT);
	view_conn_read(&c);
	assert_int_equal(open_fds(), before + 1);
	close(fd);
}

static unsigned unimported;

static void unimport(struct view_picture *p)
{
	assert_ptr_equal(p->import, &m);
	unimported++;
}

static void keep_import(void)
{
	c.pictures->import = &m;
	c.pictures->unimport = unimport;
}

/* With the picture, with the connection, and when whoever keeps it says so; once each time. */
static void test_view_conn_drops_what_is_kept_of_a_picture(void **state)
{
	(void)state;
	unimported = 0;
	shown();
	keep_import();
	viewmon_gone(&m, 7);
	view_conn_read(&c);
	/* It is still shown. */
	assert_int_equal(unimported, 0);
	view_conn_release(&c, 0);
	viewmon_buffer(&m, 8, W, H);
	viewmon_frame(&m, 0, 8, 2, W, H, ALL_OF_IT);
	view_conn_read(&c);
	assert_int_equal(unimported, 1);
	keep_import();
	view_conn_unimport(&c);
	view_conn_unimport(&c);
	assert_int_equal(unimported, 2);
	assert_null(c.pictures->import);
	keep_import();
	view_conn_again(&c, "tests", false);
	assert_int_equal(unimported, 3);
	view_conn_unimport(&c);
	assert_int_equal(unimported, 3);
}

static void test_view_conn_says_what_it_imports(void **state)
{
	const struct viewer_format format[2] = {{.fourcc = 1, .modifier = 2}, {.fourcc = 3, .modifier = 4}};
	struct viewer_hello hello = {.hdr.type = VIEWER_HELLO, .version = VIEWER_VERSION, .nscanouts = 1};
	const struct viewer_imports *said;

	(void)state;
	greeted(1);
	view_conn_imports(&c, format, 2, "");
	said = viewmon_read(&m, VIEWER_IMPORTS);
	assert_non_null(said);
	assert_int_equal(said->nformats, 2);
	assert_memory_equal(said->format, format, sizeof(format));
	view_conn_imports(&c, NULL, 0, "because");
	said = viewmon_read(&m, VIEWER_IMPORTS);
	assert_int_equal(said->nformats, 0);
	assert_string_equal((const char *)said->text, "because");
	/* To a monitor that sends none it says nothing. */
	view_conn_again(&c, "tests", false);
	viewmon_send(&m, &hello, sizeof(hello));
	view_conn_read(&c);
	view_conn_imports(&c, NULL, 0, "because");
	assert_null(viewmon_read(&m, VIEWER_IMPORTS));
}

static void test_view_conn_lies_end_it(void **state)
{
	static void (*const lies[])(void) = {
		lie_before_hello, lie_hello_twice, lie_version, lie_scanouts, lie_no_header, lie_short, lie_long, lie_scanout, lie_mode, lie_mode_large, lie_buffer_without,
		lie_buffer_with_two, lie_fds, lie_many_fds, lie_buffer_that_can_shrink, lie_buffer_that_is_short, lie_buffer_no_file, lie_buffer_kind, lie_buffer_guest_in_a_file,
		lie_buffer_guest_unsaid, lie_buffer_planes, lie_buffer_kind_unsaid, lie_planes_of_one_descriptor, lie_no_planes,
		lie_buffer_format, lie_buffer_stride, lie_buffer_offset, lie_buffer_overflow, lie_buffer_large, lie_buffer_twice, lie_gone, lie_gone_twice, lie_frame_unknown,
		lie_frame_gone, lie_frame_early, lie_frame_crop, lie_frame_rect, lie_frame_rect_overflow, lie_frame_scanout, lie_frame_no_rects, lie_frame_short, lie_frame_rects,
		lie_cursor_short, lie_cursor_empty,
	};
	unsigned before = open_fds();

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		lies[i]();
		view_conn_read(&c);
		if (c.end != VIEW_END_LIE || !strstr(c.why, "cannot be")) {
			fail_msg("lie %zu: end %d, %s", i, c.end, c.why);
		}
		/* From now on nothing is taken, and nothing said. */
		viewmon_hello(&m, 1);
		view_conn_read(&c);
		assert_int_equal(open_fds(), before);
		tear_down(state);
		set_up(state);
	}
}

static void test_view_conn_buffers_are_bounded(void **state)
{
	(void)state;
	greeted(1);
	for (unsigned i = 0; i < VIEW_PICTURES_MAX; i++) {
		viewmon_buffer(&m, i + 1, 1, 1);
		view_conn_read(&c);
	}
	assert_int_equal(c.end, VIEW_GOES_ON);
	viewmon_buffer(&m, VIEW_PICTURES_MAX + 1, 1, 1);
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_END_LIE);
	assert_int_equal(c.npictures, VIEW_PICTURES_MAX);
}

static void test_view_conn_how_it_ends(void **state)
{
	static const struct {
		uint32_t reason;
		const char *text;
		enum view_end end;
		const char *why;
	} rows[] = {
		{VIEWER_BYE_END, "", VIEW_END_VM, "has ended"},
		{VIEWER_BYE_RESTART, "", VIEW_END_RESTART, "starts again"},
		{VIEWER_BYE_VERSION, "", VIEW_END_REFUSED, "version 1"},
		{VIEWER_BYE_FULL, "", VIEW_END_REFUSED, "too many viewers"},
		{VIEWER_BYE_SLOW, "", VIEW_END_LOST, "too slow"},
		{VIEWER_BYE_PROTOCOL, "a short \033 message", VIEW_END_REFUSED, "a short ? message"},
		{77, "", VIEW_END_REFUSED, "does not say why"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* Also instead of a hello. */
		viewmon_bye(&m, rows[i].reason, rows[i].text);
		close(m.fd);
		m.fd = -1;
		view_conn_read(&c);
		assert_int_equal(c.end, rows[i].end);
		assert_non_null(strstr(c.why, rows[i].why));
		tear_down(state);
		set_up(state);
	}
	close(m.fd);
	m.fd = -1;
	assert_true(view_conn_read(&c));
	assert_int_equal(c.end, VIEW_END_LOST);
}

static void test_view_conn_a_monitor_that_does_not_read(void **state)
{
	struct viewer_presented message = {.hdr.type = VIEWER_PRESENTED};
	const struct viewer_presented *got;
	uint64_t sent = 0, n = 0;

	(void)state;
	while (!view_conn_waits(&c)) {
		message.number = sent++;
		view_conn_send(&c, &message, sizeof(message));
	}
	for (unsigned i = 0; i < 1000; i++) {
		message.number = sent++;
		view_conn_send(&c, &message, sizeof(message));
	}
	assert_int_equal(c.end, VIEW_GOES_ON);
	/* When it reads again it gets all of it, in order, also what is said while there is room. */
	for (unsigned i = 0; i < 2; i++) {
		got = viewmon_read(&m, VIEWER_PRESENTED);
		assert_non_null(got);
		assert_int_equal(got->number, n++);
	}
	message.number = sent++;
	view_conn_send(&c, &message, sizeof(message));
	while (n < sent) {
		got = viewmon_read(&m, VIEWER_PRESENTED);
		if (got) {
			assert_int_equal(got->number, n++);
		} else {
			assert_true(view_conn_waits(&c));
			view_conn_flush(&c);
		}
	}
	assert_false(view_conn_waits(&c));
	for (unsigned i = 0; c.end == VIEW_GOES_ON; i++) {
		assert_true(i < 100000);
		view_conn_send(&c, &message, sizeof(message));
	}
	assert_int_equal(c.end, VIEW_END_LOST);
	assert_true(c.out_size <= VIEW_OUT_MAX);
}

static void test_view_conn_what_a_closed_monitor_said_last_is_read(void **state)
{
	struct viewer_presented message = {.hdr.type = VIEWER_PRESENTED};

	(void)state;
	while (viewmon_read(&m, 0)) {
	}
	viewmon_bye(&m, VIEWER_BYE_END, "");
	close(m.fd);
	m.fd = -1;
	view_conn_send(&c, &message, sizeof(message));
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_END_VM);
}

static void test_view_conn_again_begins_anew(void **state)
{
	(void)state;
	shown();
	viewmon_bye(&m, VIEWER_BYE_RESTART, "");
	view_conn_read(&c);
	assert_int_equal(c.end, VIEW_END_RESTART);
	view_conn_again(&c, "tests", false);
	assert_int_equal(c.npictures, 0);
	assert_null(c.at[0].picture);
	/* Numbers begin anew too. */
	shown();
}

static void test_view_conn_connect(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/view_conn_test.XXXXXX", path[64], far[200];
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), r;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(view_conn_connect(path), -ENOENT);
	memcpy(addr.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(view_conn_connect(path), -ECONNREFUSED);
	assert_int_equal(listen(fd, 1), 0);
	r = view_conn_connect(path);
	assert_true(r >= 0);
	close(r);
	close(fd);
	memset(far, 'x', sizeof(far));
	far[sizeof(far) - 1] = 0;
	assert_int_equal(view_conn_connect(far), -ENAMETOOLONG);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_view_conn_says_hello, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_keeps_what_the_monitor_says, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_a_frame_is_mapped_and_released, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_a_buffer_stays_while_it_is_looked_at, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_one_buffer_on_two_scanouts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_leaves_nothing_open, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_a_cursor, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_newer_monitors_say_more, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_lies_end_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_maps_guest_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_keeps_planes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_drops_what_is_kept_of_a_picture, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_says_what_it_imports, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_buffers_are_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_how_it_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_a_monitor_that_does_not_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_what_a_closed_monitor_said_last_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_view_conn_again_begins_anew, set_up, tear_down),
		cmocka_unit_test(test_view_conn_connect),
	};

	return cmocka_run_group_tests_name("view_conn", tests, NULL, NULL);
}
