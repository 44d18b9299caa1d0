/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the viewer's end of the viewer protocol. The input is what a monitor sends: for each message a byte of its type, one that says what is done, two of its length, then
 * its bytes behind the header. Between them the window takes frames, is pulled at, and a person types. What must hold: pictures can be read all over where the damage says, there is a
 * bound on them, and when it is over nothing is open or mapped.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "display/view_state.h"
#include "tests/support/viewmon.h"
#include "vmm/clock.h"
#include "vmm/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MEMFD_LEN 65536u
#define KNOWN_TYPES 11

static struct view_conn conn;
static struct view view;
static uint64_t packet[VIEWER_PACKET_MAX / 8 + 1];
static uint64_t sum; /* so that reading is not left out */

static void must(int is_so)
{
	if (!is_so) {
		abort();
	}
}

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

/* All that the window would read of a frame. */
static void look_at(const struct view_scanout *s)
{
	for (unsigned i = 0; i < s->damage.n; i++) {
		const struct display_rect *r = &s->damage.rect[i];

		must(display_rect_is_inside(r, s->crop.w, s->crop.h));
		/* What is in planes is not mapped. */
		must((s->picture->map != NULL) != (s->picture->nplanes > 0));
		for (uint32_t y = 0; s->picture->map && y < r->h; y++) {
			const uint8_t *row = s->picture->map + s->picture->offset + (uint64_t)(s->crop.y + r->y + y) * s->picture->stride + (uint64_t)(s->crop.x + r->x) * 4;

			sum += row[0] + row[r->w * 4 - 1];
		}
	}
}

static void draw(uint64_t now)
{
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		struct view_scanout *s = &conn.at[i];
		uint32_t w, h;
		char title[100];

		if (view_may_take(&view, i, now)) {
			look_at(s);
			view_taken(&view, i, now);
			view_presented(&view, i, s->frame, now);
		}
		must(s->cursor_width <= VIEWER_CURSOR_SIZE && s->hot_x <= s->cursor_width);
		view_wants_size(&view, i, &w, &h, now);
		view_title(&view, i, title, sizeof(title));
		must(strlen(title) > 0);
		s->news = 0;
	}
}

static void use(uint8_t what, uint64_t now)
{
	unsigned i = what % VIEW_SCANOUTS_MAX;

	switch (what >> 4) {
	case 0:
		draw(now);
		break;
	case 1:
		view_resized(&view, i, 100 + what, 100, now);
		break;
	case 2:
		view_motion(&view, i, what, -what, 3, 4);
		view_tick(&view, now);
		break;
	case 3:
		view_press(&view, what, what & 1);
		break;
	case 4:
		view_focus(&view, what & 1, what);
		break;
	case 5:
		view_button(&view, i, 0x110 + (what & 7), what & 8);
		view_wheel(&view, i, 0.3f, -1);
		break;
	default:
		break;
	}
}

static int make_memfd(uint8_t how)
{
	int fd = memfd_create("view_fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && ftruncate(fd, MEMFD_LEN) == 0);
	must(fcntl(fd, F_ADD_SEALS, how & 1 ? F_SEAL_GROW : F_SEAL_SHRINK) == 0);
	return fd;
}

/* What is left open shows in the number the next one gets. */
static int next_fd(void)
{
	int fd = dup(0);

	must(fd >= 0);
	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint64_t now = CLOCK_NS_PER_S;
	int fds[2], before;
	char nothing[VIEWER_PACKET_MAX];

	log_set_hook(on_log);
	before = next_fd();
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	view_conn_init(&conn, fds[0], "fuzz", false);
	view_init(&view, &conn, len > 0 ? data[0] % 3 : 0, false, "");
	while (len >= 4 && conn.end == VIEW_GOES_ON) {
		uint8_t type = data[0] % (KNOWN_TYPES + 1), what = data[1];
		size_t n = data[2] | (size_t)(data[3] & 3) << 8;
		unsigned nfds = type == VIEWER_BUFFER ? !(what & 0x80) : data[3] >> 6;
		int sent[3];

		data += 4;
		len -= 4;
		n = n < len ? n : len;
		memset(packet, 0, sizeof(struct viewer_header));
		packet[0] = type;
		memcpy(packet + 1, data, n);
		data += n;
		len -= n;
		for (unsigned i = 0; i < nfds; i++) {
			sent[i] = make_memfd(what);
		}
		/* Short ones are a matter of chance; most are as long as their message. */
		view_conn_take(&conn, (const uint8_t *)packet, sizeof(struct viewer_header) + n, sent, nfds);
		now += 20 * CLOCK_NS_PER_MS;
		clock_set_test_ns(now);
		view_news(&view, now);
		use(what, now);
		must(conn.npictures <= VIEW_PICTURES_MAX && conn.out_size <= VIEW_OUT_MAX);
		while (recv(fds[1], nothing, sizeof(nothing), 0) > 0) {
		}
		view_conn_flush(&conn);
	}
	must(conn.end == VIEW_GOES_ON || conn.why[0]);
	view_conn_finish(&conn);
	close(fds[1]);
	must(next_fd() == before);
	clock_set_test_ns(0);
	return 0;
}
