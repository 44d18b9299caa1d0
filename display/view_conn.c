/* SPDX-License-Identifier: MIT */
#include "display/view_conn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "display/buffer.h"
#include "vmm/log.h"

#define READ_PACKETS 128 /* in one go */
#define BYTES_PER_PIXEL 4u

/* The first end is the one that counts. */
static void __attribute__((format(printf, 3, 4))) finished(struct view_conn *c, enum view_end end, const char *fmt, ...)
{
	va_list ap;

	if (c->end != VIEW_GOES_ON) {
		return;
	}
	c->end = end;
	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	log_make_printable(c->why);
}

static void lie(struct view_conn *c, const char *what)
{
	finished(c, VIEW_END_LIE, "what the monitor says cannot be: %s", what);
}

static void copy_text(char *out, const uint8_t *in, size_t len)
{
	memcpy(out, in, len);
	out[len - 1] = 0;
	log_make_printable(out);
}

/*
 * Pictures.
 */

static struct view_picture *picture_find(struct view_conn *c, uint64_t id)
{
	struct view_picture *p = c->pictures;

	while (p && (p->id != id || p->is_gone)) {
		p = p->next;
	}
	return p;
}

static void unimport(struct view_picture *p)
{
	if (p->import) {
		p->unimport(p);
		p->import = NULL;
	}
}

void view_conn_unimport(struct view_conn *c)
{
	for (struct view_picture *p = c->pictures; p; p = p->next) {
		unimport(p);
	}
}

/* Frees it when nobody will look at it any more. */
static void picture_check(struct view_conn *c, struct view_picture *picture)
{
	struct view_picture **at = &c->pictures;

	if (!picture->is_gone || picture->refs > 0) {
		return;
	}
	while (*at != picture) {
		at = &(*at)->next;
	}
	*at = picture->next;
	c->npictures--;
	unimport(picture);
	if (picture->map) {
		munmap((void *)(uintptr_t)picture->map, picture->len);
	}
	for (unsigned i = 0; i < picture->nplanes; i++) {
		close(picture->plane_fd[i]);
	}
	free(picture);
}

static void show(struct view_conn *c, struct view_scanout *s, struct view_picture *picture)
{
	struct view_picture *old = s->picture;

	if (picture) {
		picture->refs++;
	}
	s->picture = picture;
	if (old) {
		old->refs--;
		picture_check(c, old);
	}
}

static bool is_known_format(uint32_t fourcc)
{
	static const uint32_t known[] = {DISPLAY_XRGB8888, DISPLAY_ARGB8888, DISPLAY_XBGR8888, DISPLAY_ABGR8888, DISPLAY_RGBX8888, DISPLAY_RGBA8888, DISPLAY_BGRX8888,
		DISPLAY_BGRA8888};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i] == fourcc) {
			return true;
		}
	}
	return false;
}

/* Whether the mapping can never fault: a file that shrinks would kill whoever has mapped it. */
static bool is_safe_memfd(int fd, uint64_t len)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	return seals >= 0 && (seals & F_SEAL_SHRINK) && fstat(fd, &st) == 0 && st.st_size > 0 && (uint64_t)st.st_size >= len;
}

static bool is_dmabuf(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == DMA_BUF_MAGIC;
}

/* The same of a dma-buf: none ever changes its size. Some drivers' say too little of it, and are not taken. */
static bool is_safe_dmabuf(int fd, uint64_t len)
{
	off_t size;

	if (!is_dmabuf(fd)) {
		return false;
	}
	size = lseek(fd, 0, SEEK_END);
	return size > 0 && (uint64_t)size >= len;
}

static bool is_size(uint32_t w, uint32_t h)
{
	return w > 0 && h > 0 && w <= VIEW_SIZE_MAX && h <= VIEW_SIZE_MAX;
}

/* What is to be imported. How large it has to be, whoever imports it knows. */
static const char *planes_mistake(const struct viewer_buffer *m, const int *fds, unsigned nfds)
{
	if (m->nplanes < 1 || m->nplanes > VIEWER_FDS_MAX || nfds != m->nplanes) {
		return "the number of a picture's planes";
	}
	for (unsigned i = 0; i < nfds; i++) {
		if (!is_dmabuf(fds[i]) || m->stride[i] == 0 || m->stride[i] > INT32_MAX || m->offset[i] > INT32_MAX) {
			return "a plane that is no dma-buf, or lies in none";
		}
	}
	return NULL;
}

static const char *buffer_mistake(struct view_conn *c, const struct viewer_buffer *m, const int *fds, unsigned nfds)
{
	bool is_planes = m->kind == VIEWER_DMABUF && c->sends_dmabufs;
	uint64_t row = (uint64_t)m->width * BYTES_PER_PIXEL;

	if (!is_planes && ((m->kind != VIEWER_MEMFD && (m->kind != VIEWER_GUEST || !c->sends_guest)) || m->nplanes != 1 || nfds != 1)) {
		return "a buffer of a kind that was not asked for";
	}
	if (!is_size(m->width, m->height) || !is_known_format(m->fourcc)) {
		return "the size or format of a buffer";
	}
	if (picture_find(c, m->id) || c->npictures >= VIEW_PICTURES_MAX) {
		return "a buffer twice, or too many";
	}
	if (is_planes) {
		return planes_mistake(m, fds, nfds);
	}
	if (m->stride[0] < row || (uint64_t)m->offset[0] + (uint64_t)m->stride[0] * (m->height - 1) + row > m->len || m->len > SIZE_MAX / 2) {
		return "a picture that is larger than its buffer";
	}
	if (m->kind == VIEWER_GUEST ? !is_safe_dmabuf(fds[0], m->len) : !is_safe_memfd(fds[0], m->len)) {
		return "a buffer that is no sealed memfd or dma-buf of its size";
	}
	return NULL;
}

/* Its own copies of the descriptors. Return: false when there are none left. */
static bool take_planes(struct view_picture *p, const struct viewer_buffer *m, const int *fds)
{
	for (unsigned i = 0; i < m->nplanes; i++) {
		p->plane_fd[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (p->plane_fd[i] < 0) {
			return false;
		}
		p->plane_offset[i] = m->offset[i];
		p->plane_stride[i] = m->stride[i];
		p->nplanes++;
	}
	p->modifier = m->modifier;
	return true;
}

static void take_buffer(struct view_conn *c, const struct viewer_buffer *m, const int *fds, unsigned nfds)
{
	const char *mistake = buffer_mistake(c, m, fds, nfds);
	struct view_picture *p;
	void *map = NULL;

	if (mistake) {
		lie(c, mistake);
		return;
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		finished(c, VIEW_END_REFUSED, "no memory for a picture");
		return;
	}
	*p = (struct view_picture){.next = c->pictures, .is_gone = true, .id = m->id, .len = m->len, .fourcc = m->fourcc, .width = m->width, .height = m->height, .offset = m->offset[0],
		.stride = m->stride[0], .y_inverted = m->flags & VIEWER_BUFFER_Y_INVERTED};
	c->pictures = p;
	c->npictures++;
	if (m->kind == VIEWER_DMABUF) {
		p->is_gone = !take_planes(p, m, fds);
	} else {
		map = mmap(NULL, m->len, PROT_READ, MAP_SHARED, fds[0], 0);
		p->is_gone = map == MAP_FAILED;
		p->map = p->is_gone ? NULL : map;
	}
	if (p->is_gone) {
		picture_check(c, p);
		finished(c, VIEW_END_REFUSED, "no memory to map a picture, or no descriptor");
	}
}

static void take_buffer_gone(struct view_conn *c, const struct viewer_buffer_gone *m)
{
	struct view_picture *p = picture_find(c, m->id);

	if (!p) {
		lie(c, "a buffer is gone that was not there");
		return;
	}
	p->is_gone = true;
	picture_check(c, p);
}

/*
 * Scanouts.
 */

static struct view_scanout *scanout(struct view_conn *c, uint32_t i)
{
	if (i >= c->nscanouts) {
		lie(c, "a scanout that does not exist");
		return NULL;
	}
	return &c->at[i];
}

static void take_mode(struct view_conn *c, const struct viewer_mode *m)
{
	struct view_scanout *s = scanout(c, m->scanout);

	if (!s) {
		return;
	}
	if (!is_size(m->width, m->height)) {
		lie(c, "the size of a scanout");
		return;
	}
	s->plugged = m->flags & VIEWER_MODE_PLUGGED;
	s->shows = m->flags & VIEWER_MODE_SHOWS;
	s->width = m->width;
	s->height = m->height;
	s->refresh_mhz = m->refresh_mhz;
	s->news |= VIEW_NEWS_MODE;
}

static void take_frame(struct view_conn *c, const struct viewer_frame *m, size_t len)
{
	struct view_scanout *s = scanout(c, m->scanout);
	struct view_picture *p = picture_find(c, m->buffer);
	const struct display_rect crop = {m->crop.x, m->crop.y, m->crop.w, m->crop.h};

	if (!s) {
		return;
	}
	if (!p || s->has_frame || !display_rect_is_inside(&crop, p->width, p->height)) {
		lie(c, "a frame of an unknown buffer, outside it, or before the last one was released");
		return;
	}
	if (m->nrects == 0 || m->nrects > VIEWER_RECTS_MAX || len < offsetof(struct viewer_frame, rect) + m->nrects * sizeof(m->rect[0])) {
		lie(c, "the number of rectangles");
		return;
	}
	s->damage.n = 0;
	for (uint32_t i = 0; i < m->nrects; i++) {
		const struct display_rect r = {m->rect[i].x, m->rect[i].y, m->rect[i].w, m->rect[i].h};

		if (!display_rect_is_inside(&r, crop.w, crop.h)) {
			lie(c, "a rectangle outside the picture");
			return;
		}
		display_damage_add(&s->damage, &r);
	}
	show(c, s, p);
	s->crop = crop;
	s->frame = m->number;
	s->flushed_ns = m->flushed_ns;
	s->has_frame = true;
	s->news |= VIEW_NEWS_FRAME;
}

static void take_cursor_image(struct view_conn *c, const struct viewer_cursor_image *m, size_t len)
{
	struct view_scanout *s = scanout(c, m->scanout);
	size_t pixels = (size_t)m->width * m->height * BYTES_PER_PIXEL;

	if (!s) {
		return;
	}
	if (!is_size(m->width, m->height) || m->width > VIEWER_CURSOR_SIZE || m->height > VIEWER_CURSOR_SIZE || len < sizeof(*m) + pixels) {
		lie(c, "the size of a pointer's image");
		return;
	}
	s->cursor_width = m->width;
	s->cursor_height = m->height;
	/* A guest may say any pixel; one outside the image points nowhere. */
	s->hot_x = m->hot_x < m->width ? m->hot_x : m->width - 1;
	s->hot_y = m->hot_y < m->height ? m->hot_y : m->height - 1;
	memcpy(s->cursor, m + 1, pixels);
	s->has_cursor = true;
	s->news |= VIEW_NEWS_IMAGE;
}

static void take_cursor(struct view_conn *c, const struct viewer_cursor *m)
{
	struct view_scanout *s = scanout(c, m->scanout);

	if (!s) {
		return;
	}
	s->cursor_visible = m->visible && s->has_cursor;
	s->cursor_x = m->x;
	s->cursor_y = m->y;
	s->news |= VIEW_NEWS_CURSOR;
}

/*
 * What there is one of.
 */

static void take_hello(struct view_conn *c, const struct viewer_hello *m)
{
	if (c->said_hello || m->version != VIEWER_VERSION || m->nscanouts > VIEW_SCANOUTS_MAX) {
		lie(c, "its hello");
		return;
	}
	c->said_hello = true;
	c->sends_guest = m->features & VIEWER_CAN_GUEST;
	c->sends_dmabufs = m->features & VIEWER_CAN_DMABUF;
	c->render_major = m->render_major;
	c->render_minor = m->render_minor;
	c->number = m->viewer;
	c->nscanouts = m->nscanouts;
	copy_text(c->vm, m->vm, sizeof(c->vm));
	for (unsigned i = 0; i < c->nscanouts; i++) {
		c->at[i].news = VIEW_NEWS_MODE | VIEW_NEWS_CURSOR;
	}
}

static void take_input_state(struct view_conn *c, const struct viewer_input_state *m)
{
	c->has_input_state = true;
	c->has = m->has;
	c->driven = m->driven;
	c->leds = m->leds;
}

static void take_role(struct view_conn *c, const struct viewer_role *m)
{
	c->controls = m->controls;
	c->controller = m->controller;
	c->controller_pid = m->pid;
	c->nviewers = m->nviewers;
	copy_text(c->controller_name, m->name, sizeof(c->controller_name));
}

static void take_bye(struct view_conn *c, const struct viewer_bye *m)
{
	char text[VIEWER_TEXT_LEN];

	copy_text(text, m->text, sizeof(text));
	switch (m->reason) {
	case VIEWER_BYE_END:
		finished(c, VIEW_END_VM, "the VM has ended");
		break;
	case VIEWER_BYE_RESTART:
		finished(c, VIEW_END_RESTART, "the VM starts again");
		break;
	case VIEWER_BYE_VERSION:
		finished(c, VIEW_END_REFUSED, "the monitor speaks version %u of the protocol, this viewer version %d", m->version, VIEWER_VERSION);
		break;
	case VIEWER_BYE_FULL:
		finished(c, VIEW_END_REFUSED, "the VM has too many viewers%s%s", text[0] ? ": " : "", text);
		break;
	case VIEWER_BYE_SLOW:
		finished(c, VIEW_END_LOST, "this viewer was too slow");
		break;
	default:
		finished(c, VIEW_END_REFUSED, "the monitor has ended the connection: %s", text[0] ? text : "it does not say why");
	}
}

static void dispatch(struct view_conn *c, const void *packet, size_t len, const int *fds, unsigned nfds)
{
	static const size_t least[] = {
		[VIEWER_HELLO] = sizeof(struct viewer_hello),
		[VIEWER_MODE] = sizeof(struct viewer_mode),
		[VIEWER_BUFFER] = sizeof(struct viewer_buffer),
		[VIEWER_BUFFER_GONE] = sizeof(struct viewer_buffer_gone),
		[VIEWER_FRAME] = offsetof(struct viewer_frame, rect) + sizeof(struct viewer_rect),
		[VIEWER_CURSOR_IMAGE] = sizeof(struct viewer_cursor_image),
		[VIEWER_CURSOR] = sizeof(struct viewer_cursor),
		[VIEWER_INPUT_STATE] = sizeof(struct viewer_input_state),
		[VIEWER_ROLE] = sizeof(struct viewer_role),
		[VIEWER_BYE] = sizeof(struct viewer_bye),
	};
	const struct viewer_header *hdr = packet;

	if (len < sizeof(*hdr) || len > VIEWER_PACKET_MAX) {
		lie(c, "the length of a message");
		return;
	}
	if (hdr->type >= sizeof(least) / sizeof(least[0]) || !least[hdr->type]) {
		return;
	}
	if (len < least[hdr->type]) {
		lie(c, "a short message");
		return;
	}
	if (!c->said_hello && hdr->type != VIEWER_HELLO && hdr->type != VIEWER_BYE) {
		lie(c, "something before its hello");
		return;
	}
	switch (hdr->type) {
	case VIEWER_HELLO:
		take_hello(c, packet);
		break;
	case VIEWER_MODE:
		take_mode(c, packet);
		break;
	case VIEWER_BUFFER:
		take_buffer(c, packet, fds, nfds);
		break;
	case VIEWER_BUFFER_GONE:
		take_buffer_gone(c, packet);
		break;
	case VIEWER_FRAME:
		take_frame(c, packet, len);
		break;
	case VIEWER_CURSOR_IMAGE:
		take_cursor_image(c, packet, len);
		break;
	case VIEWER_CURSOR:
		take_cursor(c, packet);
		break;
	case VIEWER_INPUT_STATE:
		take_input_state(c, packet);
		break;
	case VIEWER_ROLE:
		take_role(c, packet);
		break;
	case VIEWER_BYE:
		take_bye(c, packet);
		break;
	}
}

void view_conn_take(struct view_conn *c, const uint8_t *packet, size_t len, int *fds, unsigned nfds)
{
	if (c->end == VIEW_GOES_ON) {
		dispatch(c, packet, len, fds, nfds);
	}
	for (unsigned i = 0; i < nfds; i++) {
		close(fds[i]);
	}
}

/* Room for one more descriptor than there may be, so that too many are noticed and closed. */
union control {
	char bytes[CMSG_SPACE((VIEWER_FDS_MAX + 1) * sizeof(int))];
	struct cmsghdr align;
};

static unsigned received_fds(struct msghdr *msg, int *fds)
{
	unsigned n = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) {
			unsigned more = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));

			memcpy(fds + n, CMSG_DATA(cmsg), more * sizeof(int));
			n += more;
		}
	}
	return n;
}

/* Return: false when nothing is there, or the connection is over. */
static bool read_one(struct view_conn *c)
{
	/* One byte more than a packet may have; aligned for the messages. */
	static uint64_t packet[VIEWER_PACKET_MAX / 8 + 1];
	struct iovec iov = {packet, sizeof(packet)};
	union control control;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	int fds[sizeof(control.bytes) / sizeof(int)];
	ssize_t len = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	unsigned nfds;

	/* ECONNRESET is said once, when the monitor has closed its end before it had read everything; what it said last is still there. */
	if (len < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET)) {
		return errno != EAGAIN;
	}
	if (len <= 0) {
		finished(c, VIEW_END_LOST, "the monitor has gone");
		return false;
	}
	nfds = received_fds(&msg, fds);
	if (nfds > VIEWER_FDS_MAX || (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
		lie(c, "a message with too much in it");
	}
	view_conn_take(c, (const uint8_t *)packet, (size_t)len, fds, nfds);
	return c->end == VIEW_GOES_ON;
}

bool view_conn_read(struct view_conn *c)
{
	unsigned n = 0;

	while (n < READ_PACKETS && read_one(c)) {
		n++;
	}
	return n > 0 || c->end != VIEW_GOES_ON;
}

/*
 * The other way.
 */

/* Return: 0, -EAGAIN when there is no room, another -errno when it is over. */
static int send_now(struct view_conn *c, const void *message, size_t len)
{
	ssize_t n;

	do {
		n = send(c->fd, message, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static void keep(struct view_conn *c, const void *message, size_t len)
{
	size_t need = c->out_len + sizeof(uint32_t) + len;
	uint32_t n = (uint32_t)len;

	if (need > VIEW_OUT_MAX) {
		finished(c, VIEW_END_LOST, "the monitor does not read");
		return;
	}
	if (need > c->out_size) {
		size_t size = need * 2 < VIEW_OUT_MAX ? need * 2 : VIEW_OUT_MAX;
		uint8_t *out = realloc(c->out, size);

		if (!out) {
			finished(c, VIEW_END_LOST, "no memory");
			return;
		}
		c->out = out;
		c->out_size = size;
	}
	memcpy(c->out + c->out_len, &n, sizeof(n));
	memcpy(c->out + c->out_len + sizeof(n), message, len);
	c->out_len = need;
}

void view_conn_send(struct view_conn *c, const void *message, size_t len)
{
	int r = c->out_len > 0 ? -EAGAIN : 0;

	if (c->fd < 0 || c->end != VIEW_GOES_ON) {
		return;
	}
	r = r < 0 ? r : send_now(c, message, len);
	if (r == -EAGAIN) {
		keep(c, message, len);
	}
	/* Any other error: there may be a last message to read, which says why. */
}

bool view_conn_waits(const struct view_conn *c)
{
	return c->out_len > 0;
}

void view_conn_flush(struct view_conn *c)
{
	size_t done = 0;

	while (done < c->out_len) {
		uint32_t n;

		memcpy(&n, c->out + done, sizeof(n));
		if (send_now(c, c->out + done + sizeof(n), n) == -EAGAIN) {
			break;
		}
		done += sizeof(n) + n;
	}
	if (done > 0) {
		c->out_len -= done;
		memmove(c->out, c->out + done, c->out_len);
	}
}

void view_conn_release(struct view_conn *c, unsigned i)
{
	struct view_scanout *s = &c->at[i];
	struct viewer_release m = {.hdr.type = VIEWER_RELEASE, .number = s->frame, .scanout = i};

	assert(s->has_frame);
	s->has_frame = false;
	s->damage.n = 0;
	view_conn_send(c, &m, sizeof(m));
}

void view_conn_imports(struct view_conn *c, const struct viewer_format *format, unsigned n, const char *why)
{
	struct viewer_imports m = {.hdr.type = VIEWER_IMPORTS, .nformats = n};
	uint8_t packet[sizeof(m) + VIEWER_FORMATS_MAX * sizeof(*format)];

	assert(n <= VIEWER_FORMATS_MAX);
	if (!c->sends_dmabufs) {
		return;
	}
	snprintf((char *)m.text, sizeof(m.text), "%s", why);
	memcpy(packet, &m, sizeof(m));
	if (n > 0) {
		memcpy(packet + sizeof(m), format, n * sizeof(*format));
	}
	view_conn_send(c, packet, sizeof(m) + n * sizeof(*format));
}

int view_conn_connect(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, r;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		return -ENAMETOOLONG;
	}
	memcpy(addr.sun_path, path, strlen(path));
	/* To a monitor that is stopped and whose queue is full, connect would wait for as long as it is. */
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		r = -errno;
		if (fd >= 0) {
			close(fd);
		}
		return r;
	}
	return fd;
}

static void say_hello(struct view_conn *c, const char *name, bool observes)
{
	struct viewer_client_hello m = {.hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .features = VIEWER_CAN_GUEST | VIEWER_CAN_DMABUF,
		.flags = observes ? VIEWER_OBSERVES : 0};

	memcpy(m.name, name, strnlen(name, sizeof(m.name) - 1));
	view_conn_send(c, &m, sizeof(m));
}

static void forget(struct view_conn *c)
{
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		show(c, &c->at[i], NULL);
	}
	for (struct view_picture *p = c->pictures, *next; p; p = next) {
		next = p->next;
		p->is_gone = true;
		picture_check(c, p);
	}
	free(c->out);
}

void view_conn_init(struct view_conn *c, int fd, const char *name, bool observes)
{
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	say_hello(c, name, observes);
}

void view_conn_again(struct view_conn *c, const char *name, bool observes)
{
	int fd = c->fd;

	forget(c);
	view_conn_init(c, fd, name, observes);
}

void view_conn_finish(struct view_conn *c)
{
	forget(c);
	if (c->fd >= 0) {
		close(c->fd);
	}
	memset(c, 0, sizeof(*c));
	c->fd = -1;
}
