/* SPDX-License-Identifier: MIT */
/*
 * A guest's program that drives its screens through the kernel's mode setting interface, by commands on standard input, one a line; `help` lists them. Each is
 * answered by one line, `kms: ok COMMAND ...` or `kms: error COMMAND: what: why`, after any number of others that begin with `kms: `. Between two commands the
 * screens stand still, and a script can take their pictures. Statically linked, without any library.
 *
 * Buffers have numbers from 0 to 31, screens the kernel's order from 0. The screens are taken from the text console by the first command that needs them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <drm_fourcc.h>

#include "card.h"
#include "follow.h"
#include "fragment.h"
#include "paint.h"
#include "text.h"

#define BUFFERS 32
#define CLIPS 256
#define ANSWER_MS 20000 /* until a key must have come */
#define WORDS (2 + 4 * CLIPS)

static struct card card = {.fd = -1};
static struct buffer buffers[BUFFERS];

/* What is being done: its words, with the command itself. */
static char *words[WORDS];
static int nwords;

/* Return: false, so that a command can return it. */
static bool fail(const char *what)
{
	printf("kms: error %s: %s: %s\n", words[0], what, strerror(errno));
	return false;
}

static bool fail_with(int error, const char *what)
{
	errno = error;
	return fail(what);
}

/* The words from @first on as numbers; @out keeps what it has where there is no word. Return: false, and said, when one is no number. */
static bool numbers(int first, int32_t *out, int n)
{
	for (int i = 0; i < n && first + i < nwords; i++) {
		char *end;
		long value = strtol(words[first + i], &end, 0);

		if (*end != '\0' || value < INT16_MIN || value > INT32_MAX) {
			return fail_with(EINVAL, words[first + i]);
		}
		out[i] = (int32_t)value;
	}
	return true;
}

/* Four words that are a rectangle inside @b; the whole of it when they are not there. */
static bool rectangle(int first, const struct buffer *b, uint32_t r[4])
{
	int32_t n[4] = {0, 0, (int32_t)b->w, (int32_t)b->h};

	if (!numbers(first, n, 4)) {
		return false;
	}
	for (int i = 0; i < 4; i++) {
		r[i] = (uint32_t)n[i];
	}
	if (n[0] < 0 || n[1] < 0 || n[2] < 0 || n[3] < 0 || (uint64_t)r[0] + r[2] > b->w || (uint64_t)r[1] + r[3] > b->h) {
		return fail_with(ERANGE, "rectangle");
	}
	return true;
}

/* The buffer that word @at names, made or not yet; NULL, and said, when there can be none. */
static struct buffer *buffer(int at, bool made)
{
	int32_t n = 0;

	if (!numbers(at, &n, 1)) {
		return NULL;
	}
	if (n < 0 || n >= BUFFERS) {
		fail_with(ERANGE, words[at]);
		return NULL;
	}
	if (made != (buffers[n].handle != 0)) {
		fail_with(made ? ENOENT : EEXIST, words[at]);
		return NULL;
	}
	return &buffers[n];
}

/* The screen that word @at names. */
static bool screen(int at, unsigned *s)
{
	int32_t n = 0;

	if (!numbers(at, &n, 1)) {
		return false;
	}
	if (!card_open(&card)) {
		return fail("/dev/dri/card0");
	}
	if (n < 0 || (unsigned)n >= card.nscreens) {
		return fail_with(ERANGE, words[at]);
	}
	*s = (unsigned)n;
	return true;
}

/* The end of a command that shows something: what was painted until now is on the screen, what is painted next is not. @what: more for the answer. */
static bool shown(const char *what)
{
	if (!card_sync(&card)) {
		return fail("wait");
	}
	printf("kms: ok %s%s%s\n", words[0], *what ? " " : "", what);
	return true;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void sleep_until_us(uint64_t us)
{
	struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000 * 1000)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* The end of a command whose time is of interest. */
static bool took(uint64_t start_us)
{
	char text[24];

	if (!card_sync(&card)) {
		return fail("wait");
	}
	snprintf(text, sizeof(text), "%lu", (unsigned long)(now_us() - start_us));
	return shown(text);
}

static void say_edid(unsigned s)
{
	uint8_t data[4096];
	int n = card_edid(&card, s, data, sizeof(data));

	printf("kms: edid %u ", s);
	for (int i = 0; i < n; i++) {
		printf("%02x", data[i]);
	}
	printf("%s\n", n < 0 ? "unreadable" : n == 0 ? "none" : "");
}

static bool do_info(void)
{
	static struct drm_mode_modeinfo modes[CARD_MODES_MAX];
	static const char *const states[] = {"unknown", "connected", "disconnected", "unknown"};

	if (!card_open(&card)) {
		return fail("/dev/dri/card0");
	}
	for (unsigned s = 0; s < card.nscreens; s++) {
		struct drm_mode_get_connector info;
		int n = card_modes(&card, s, &info, modes);

		if (n < 0) {
			return fail("connector");
		}
		printf("kms: screen %u %s %u x %u mm\n", s, states[info.connection & 3], info.mm_width, info.mm_height);
		for (int i = 0; i < n; i++) {
			const struct drm_mode_modeinfo *m = &modes[i];
			unsigned long dots = (unsigned long)m->htotal * m->vtotal;

			/* The refresh rate in mHz, by the clock. */
			printf("kms: mode %u %ux%u %lu%s\n", s, m->hdisplay, m->vdisplay, dots ? m->clock * 1000000ul / dots : 0,
				m->type & DRM_MODE_TYPE_PREFERRED ? " *" : "");
		}
		say_edid(s);
	}
	printf("kms: ok info %u\n", card.nscreens);
	return true;
}

static bool do_create(void)
{
	struct buffer *b = buffer(1, false);
	uint32_t format = DRM_FORMAT_XRGB8888, native = 0, flags = 0;
	const char *what;
	char *end;
	int32_t size[2];

	if (!b || !numbers(2, size, 2)) {
		return false;
	}
	if (!card_open(&card)) {
		return fail("/dev/dri/card0");
	}
	if (nwords > 4 && strncmp(words[4], "virtio:", 7) == 0) {
		native = (uint32_t)strtoul(words[4] + 7, &end, 10);
		flags = *end == ':' ? (uint32_t)strtoul(end + 1, NULL, 10) : 0;
		if (!paint_order(native, NULL, 0, (const uint32_t[4]){0})) {
			return fail_with(EINVAL, words[4]);
		}
	} else if (nwords > 4) {
		format = strcmp(words[4], "argb") == 0 ? DRM_FORMAT_ARGB8888 : 0;
	}
	if (native ? !buffer_create_native(&card, b, (uint32_t)size[0], (uint32_t)size[1], native, flags, &what) : !buffer_create(&card, b, (uint32_t)size[0], (uint32_t)size[1], format, &what)) {
		return fail(what);
	}
	printf("kms: ok create pitch %u\n", b->pitch);
	return true;
}

static bool do_remove(void)
{
	struct buffer *b = buffer(1, true);

	if (!b) {
		return false;
	}
	buffer_destroy(&card, b);
	printf("kms: ok remove\n");
	return true;
}

static bool do_paint(void)
{
	struct buffer *b = buffer(1, true);
	struct paint p = {0};
	uint32_t r[4];
	int32_t frame = 0;

	if (!b || !numbers(3, &frame, 1) || !rectangle(4, b, r)) {
		return false;
	}
	if (!paint_parse(&p, words[2])) {
		return fail_with(EINVAL, words[2]);
	}
	p.w = b->w;
	p.h = b->h;
	p.frame = (uint32_t)frame;
	paint_rect(&p, b->map, b->pitch, r);
	if (b->native) {
		paint_order(b->native, b->map, b->pitch, r);
	}
	printf("kms: ok paint\n");
	return true;
}

static bool do_set(void)
{
	struct buffer *b = buffer(2, true);
	struct drm_mode_crtc c = {.count_connectors = 1, .mode_valid = 1};
	int32_t size[2], from[2] = {0, 0};
	unsigned s;
	bool own;

	if (!b || !screen(1, &s) || !numbers(3, size, 2) || !numbers(5, from, 2)) {
		return false;
	}
	own = card_find_mode(&card, s, (uint32_t)size[0], (uint32_t)size[1], &c.mode);
	c.set_connectors_ptr = (uintptr_t)&card.connector[s];
	c.crtc_id = card.crtc[s];
	c.fb_id = b->fb;
	c.x = (uint32_t)from[0];
	c.y = (uint32_t)from[1];
	if (!buffer_send(&card, b, (const uint32_t[4]){0, 0, b->w, b->h})) {
		return fail("send");
	}
	if (ioctl(card.fd, DRM_IOCTL_MODE_SETCRTC, &c) != 0) {
		return fail("mode");
	}
	return shown(own ? "own" : "made");
}

static bool do_off(void)
{
	struct drm_mode_crtc c = {0};
	unsigned s;

	if (!screen(1, &s)) {
		return false;
	}
	c.crtc_id = card.crtc[s];
	if (ioctl(card.fd, DRM_IOCTL_MODE_SETCRTC, &c) != 0) {
		return fail("mode");
	}
	return shown("");
}

static bool do_flip(void)
{
	struct buffer *b = buffer(2, true);
	unsigned s;

	if (!b || !screen(1, &s)) {
		return false;
	}
	if (!buffer_send(&card, b, (const uint32_t[4]){0, 0, b->w, b->h})) {
		return fail("send");
	}
	if (!card_flip(&card, s, b)) {
		return fail("flip");
	}
	return shown("");
}

static bool do_dirty(void)
{
	static struct drm_clip_rect clips[CLIPS];
	struct buffer *b = buffer(1, true);
	struct drm_mode_fb_dirty_cmd d = {0};
	uint32_t r[4];

	if (!b) {
		return false;
	}
	for (int i = 2; i + 4 <= nwords; i += 4) {
		if (!rectangle(i, b, r)) {
			return false;
		}
		if (!buffer_send(&card, b, r)) {
			return fail("send");
		}
		clips[d.num_clips++] = (struct drm_clip_rect){(uint16_t)r[0], (uint16_t)r[1], (uint16_t)(r[0] + r[2]), (uint16_t)(r[1] + r[3])};
	}
	if (d.num_clips == 0 && !buffer_send(&card, b, (const uint32_t[4]){0, 0, b->w, b->h})) {
		return fail("send");
	}
	d.fb_id = b->fb;
	d.clips_ptr = d.num_clips ? (uintptr_t)clips : 0;
	if (ioctl(card.fd, DRM_IOCTL_MODE_DIRTYFB, &d) != 0) {
		return fail("dirty");
	}
	return shown("");
}

/* @c without the screen, which is word 1. */
static bool cursor(struct drm_mode_cursor2 c)
{
	unsigned s;

	if (!screen(1, &s)) {
		return false;
	}
	c.crtc_id = card.crtc[s];
	if (ioctl(card.fd, DRM_IOCTL_MODE_CURSOR2, &c) != 0) {
		return fail("cursor");
	}
	printf("kms: ok %s\n", words[0]);
	return true;
}

static bool do_cursor(void)
{
	struct buffer *b = buffer(2, true);
	int32_t hot[2];

	return b && numbers(3, hot, 2) &&
	       cursor((struct drm_mode_cursor2){.flags = DRM_MODE_CURSOR_BO, .width = b->w, .height = b->h, .handle = b->handle, .hot_x = hot[0], .hot_y = hot[1]});
}

static bool do_move(void)
{
	int32_t place[2];

	return numbers(2, place, 2) && cursor((struct drm_mode_cursor2){.flags = DRM_MODE_CURSOR_MOVE, .x = place[0], .y = place[1]});
}

static bool do_nocursor(void)
{
	return cursor((struct drm_mode_cursor2){.flags = DRM_MODE_CURSOR_BO});
}

/* Sleeps until frame @i is due, of @hz a second; 0: at once. */
static void until_its_turn(uint64_t start_us, int32_t i, int32_t hz)
{
	if (hz > 0) {
		sleep_until_us(start_us + (uint64_t)i * 1000000 / (uint64_t)hz);
	}
}

static bool do_flips(void)
{
	const struct buffer *a = buffer(2, true), *b = a ? buffer(3, true) : NULL;
	uint64_t start = now_us();
	unsigned s;
	int32_t n[2] = {0, 0};

	if (!a || !b || !screen(1, &s) || !numbers(4, n, 2)) {
		return false;
	}
	for (int32_t i = 0; i < n[0]; i++) {
		until_its_turn(start, i, n[1]);
		if (!card_flip(&card, s, i & 1 ? b : a)) {
			return fail("flip");
		}
	}
	return took(start);
}

/* A frame's number as a colour: neighbours are far from each other. */
static void number_rows(const struct buffer *b, uint32_t first, uint32_t n, uint32_t frame)
{
	struct paint p = {.kind = PAINT_SOLID, .w = b->w, .h = b->h, .colour = 0xff000000 | (frame * 40503 & 0xffff) << 8 | (frame & 0xff)};

	paint_rect(&p, b->map, b->pitch, (const uint32_t[4]){0, first, b->w, n});
}

/* A part of frame @i's picture, which @through is drawn from, or (NULL) which is sent. */
static bool count_part(const struct buffer *b, const struct buffer *through, const uint32_t r[4], uint32_t frame)
{
	number_rows(through ? through : b, r[1], r[3], frame);
	return buffer_send(&card, through ? through : b, r) && (!through || buffer_draw(&card, b, through, r)) && card_sync(&card);
}

/* @nbuffers: the third one is what the others are drawn from. */
static bool count_frames(unsigned nbuffers)
{
	const struct buffer *b[3] = {NULL, NULL, NULL};
	uint64_t start = now_us();
	int32_t n[2] = {0, 0};
	unsigned s;

	for (unsigned i = 0; i < nbuffers; i++) {
		b[i] = buffer(2 + i, true);
		if (!b[i]) {
			return false;
		}
	}
	if (!screen(1, &s) || !numbers(2 + nbuffers, n, 2)) {
		return false;
	}
	for (int32_t i = 0; i < n[0]; i++) {
		const struct buffer *next = b[i & 1];

		until_its_turn(start, i, n[1]);
		/* The first row long before the last: a picture that is looked at between the two is seen to be. */
		for (unsigned part = 0; part < 2; part++) {
			if (!count_part(next, b[2], (const uint32_t[4]){0, part == 0 ? 0 : next->h - 8, next->w, 8}, (uint32_t)i + 1)) {
				return fail("send");
			}
		}
		if (!card_flip(&card, s, next)) {
			return fail("flip");
		}
	}
	return took(start);
}

/* A buffer that is painted, shown where @shown is, and gone. */
static bool show_one(unsigned s, const struct buffer *shown, uint32_t frame)
{
	struct buffer b = {.fb = 0};
	const char *what;
	bool good;

	if (!buffer_create(&card, &b, shown->w, shown->h, DRM_FORMAT_XRGB8888, &what)) {
		return fail(what);
	}
	number_rows(&b, 0, b.h, frame);
	good = (buffer_send(&card, &b, (const uint32_t[4]){0, 0, b.w, b.h}) && card_flip(&card, s, &b) && card_flip(&card, s, shown)) || fail("flip");
	buffer_destroy(&card, &b);
	return good;
}

static bool do_churn(void)
{
	int32_t n[2] = {0, 0};
	const struct buffer *shown = NULL;
	unsigned s = 0;

	if (!numbers(1, n, 2)) {
		return false;
	}
	if (!card_open(&card)) {
		return fail("/dev/dri/card0");
	}
	if (n[1] > 0) {
		shown = buffer(4, true);
		if (!shown || !screen(3, &s)) {
			return false;
		}
	}
	for (uint32_t i = 0; i < (uint32_t)n[0]; i++) {
		struct drm_mode_create_dumb c = {.width = 1 + i % 64, .height = 1 + i / 64 % 64, .bpp = 32};
		struct drm_mode_destroy_dumb d;

		if (shown && i % (uint32_t)n[1] == 0) {
			if (!show_one(s, shown, i)) {
				return false;
			}
			continue;
		}
		if (ioctl(card.fd, DRM_IOCTL_MODE_CREATE_DUMB, &c) != 0) {
			return fail("create");
		}
		d.handle = c.handle;
		if (ioctl(card.fd, DRM_IOCTL_MODE_DESTROY_DUMB, &d) != 0) {
			return fail("destroy");
		}
	}
	printf("kms: ok churn %d\n", n[0]);
	return true;
}

static bool do_count(void)
{
	return count_frames(2);
}

static bool do_drawn(void)
{
	return count_frames(3);
}

/* The first one that has letters. Return: a descriptor or -1. */
static int open_keyboard(void)
{
	for (unsigned i = 0; i < 32; i++) {
		unsigned char keys[KEY_CNT / 8] = {0};
		char path[32];
		int fd;

		snprintf(path, sizeof(path), "/dev/input/event%u", i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 && keys[KEY_A / 8] & 1 << KEY_A % 8) {
			return fd;
		}
		if (fd >= 0) {
			close(fd);
		}
	}
	errno = ENODEV;
	return -1;
}

/* Waits for a press. Return: false when none comes. */
static bool await_press(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct input_event e;

	do {
		if (poll(&p, 1, ANSWER_MS) != 1) {
			errno = ETIMEDOUT;
			return false;
		}
		if (read(fd, &e, sizeof(e)) != sizeof(e)) {
			return false;
		}
	} while (e.type != EV_KEY || e.value != 1);
	return true;
}

static bool do_answers(void)
{
	const struct buffer *a = buffer(2, true), *b = a ? buffer(3, true) : NULL;
	uint64_t start = now_us();
	bool is_done = true;
	unsigned s;
	int32_t n = 0;
	int fd;

	if (!a || !b || !screen(1, &s) || !numbers(4, &n, 1)) {
		return false;
	}
	fd = open_keyboard();
	if (fd < 0) {
		return fail("keyboard");
	}
	printf("kms: waits for a key\n");
	for (int32_t i = 0; is_done && i < n; i++) {
		is_done = await_press(fd) && card_flip(&card, s, i & 1 ? b : a);
	}
	if (!is_done) {
		fail("a key");
	}
	close(fd);
	return is_done && took(start);
}

static bool do_damage(void)
{
	const struct buffer *b = buffer(1, true);
	uint64_t start = now_us();
	uint32_t r[4];
	int32_t n = 0, hz = 0;

	if (!b || !numbers(2, &n, 1) || !rectangle(3, b, r) || !numbers(7, &hz, 1)) {
		return false;
	}
	for (int32_t i = 0; i < n; i++) {
		struct drm_clip_rect clip = {(uint16_t)r[0], (uint16_t)r[1], (uint16_t)(r[0] + r[2]), (uint16_t)(r[1] + r[3])};
		struct drm_mode_fb_dirty_cmd d = {.fb_id = b->fb, .clips_ptr = (uintptr_t)&clip, .num_clips = 1};

		until_its_turn(start, i, hz);
		if (ioctl(card.fd, DRM_IOCTL_MODE_DIRTYFB, &d) != 0) {
			return fail("dirty");
		}
	}
	return took(start);
}

static bool do_moves(void)
{
	struct drm_mode_cursor2 c = {.flags = DRM_MODE_CURSOR_MOVE};
	uint64_t start = now_us();
	unsigned s;
	int32_t n[2] = {0, 0};

	if (!screen(1, &s) || !numbers(2, n, 2)) {
		return false;
	}
	c.crtc_id = card.crtc[s];
	for (int32_t i = 0; i < n[0]; i++) {
		until_its_turn(start, i, n[1]);
		c.x = i % 500;
		c.y = i % 300;
		if (ioctl(card.fd, DRM_IOCTL_MODE_CURSOR2, &c) != 0) {
			return fail("cursor");
		}
	}
	return took(start);
}

static bool do_follow(void)
{
	int32_t size[2] = {0, 0};
	const char *what;
	unsigned s;
	int n;

	if (!screen(1, &s) || !numbers(2, size, 2)) {
		return false;
	}
	n = follow(&card, s, (uint32_t)size[0], (uint32_t)size[1], &what);
	if (n < 0) {
		return fail(what);
	}
	printf("kms: ok follow %d\n", n);
	return true;
}

static bool do_watch(void)
{
	if (entries_watch() != 0) {
		return fail("tracing");
	}
	printf("kms: ok watch\n");
	return true;
}

static bool do_entries(void)
{
	long n = entries_last();

	if (n < 0) {
		return fail("tracing");
	}
	printf("kms: ok entries %ld\n", n);
	return true;
}

static bool do_fragment(void)
{
	int32_t left = 0;
	long kept;

	if (!numbers(1, &left, 1)) {
		return false;
	}
	kept = fragment_memory((unsigned)left);
	if (kept < 0) {
		return fail("memory");
	}
	printf("kms: ok fragment %ld\n", kept);
	return true;
}

/* @r: of something that leaves errno. */
static bool done(int r)
{
	if (r != 0) {
		return fail("text console");
	}
	printf("kms: ok %s\n", words[0]);
	return true;
}

static bool do_font(void)
{
	return done(text_font());
}

static bool do_text(void)
{
	return done(text_screen());
}

static bool do_write(void)
{
	return done(text_write(words + 1, nwords - 1));
}

static bool do_sh(void)
{
	static char text[4096];
	size_t len = 0;
	int status;

	for (int i = 1; i < nwords && len < sizeof(text); i++) {
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s ", words[i]);
	}
	if (len >= sizeof(text)) {
		return fail_with(E2BIG, "command line");
	}
	status = system(text);
	if (status != 0) {
		return fail_with(ECANCELED, text);
	}
	printf("kms: ok sh\n");
	return true;
}

static bool do_close(void)
{
	for (unsigned i = 0; i < BUFFERS; i++) {
		buffer_destroy(&card, &buffers[i]);
	}
	card_close(&card);
	printf("kms: ok close\n");
	return true;
}

static bool do_help(void);

static const struct command {
	const char *name, *args, *what;
	int nargs; /* at least */
	bool (*run)(void);
} commands[] = {
	{"help", "", "this", 0, do_help},
	{"info", "", "each screen, its modes (size, mHz, * for the preferred one) and its EDID; asks the device anew", 0, do_info},
	{"create", "BUFFER W H [argb|bare|virtio:N[:FLAGS]]", "a dumb buffer with an XRGB framebuffer, an ARGB one, or none; or a resource of format N of the device (flag 1: its first row is at the end)", 3, do_create},
	{"remove", "BUFFER", "and take it from the screens that show it", 1, do_remove},
	{"paint", "BUFFER scene|cursor|solid:AARRGGBB FRAME [X Y W H]", "into memory only; see paint.h", 3, do_paint},
	{"set", "SCREEN BUFFER W H [X Y]", "a mode of W x H, the screen's own or made up, that shows the buffer from X, Y on", 4, do_set},
	{"off", "SCREEN", "shows nothing", 1, do_off},
	{"flip", "SCREEN BUFFER", "answered when the kernel says that it is shown", 2, do_flip},
	{"dirty", "BUFFER [X Y W H]...", "what was painted there is to be shown, at most 256 places; none is everywhere", 1, do_dirty},
	{"cursor", "SCREEN BUFFER HOT_X HOT_Y", "64 x 64 pixels", 4, do_cursor},
	{"move", "SCREEN X Y", "the cursor's upper left corner, which may lie outside", 3, do_move},
	{"nocursor", "SCREEN", "hides it", 1, do_nocursor},
	{"churn", "N [EVERY SCREEN BUFFER]", "N buffers of 1 x 1 to 64 x 64, each made and removed; so many of them painted and shown instead of this one", 1, do_churn},
	{"flips", "SCREEN BUFFER BUFFER N [HZ]", "one and the other, N times in all, so many a second; says the microseconds", 4, do_flips},
	{"count", "SCREEN BUFFER BUFFER N [HZ]", "one and the other (or the same), N times in all, so many a second, with the number in the first and last rows; says the microseconds", 4, do_count},
	{"answers", "SCREEN BUFFER BUFFER N", "one and the other, at the press of a key, N times in all", 4, do_answers},
	{"damage", "BUFFER N X Y W H [HZ]", "the same rectangle N times, so many a second; says the microseconds", 6, do_damage},
	{"moves", "SCREEN N [HZ]", "moves the cursor N times, so many a second; says the microseconds", 2, do_moves},
	{"drawn", "SCREEN BUFFER BUFFER FROM N [HZ]", "as count, but the GPU draws them, out of a third one", 5, do_drawn},
	{"follow", "SCREEN [W H]", "(after a mode of this size) each mode that it comes to prefer, with the next frame of the scene, until another line is there; shows nothing afterwards", 1, do_follow},
	{"watch", "", "from now on the kernel counts the pieces of each buffer that is made", 0, do_watch},
	{"entries", "", "of how many pieces, runs of neighbouring pages, the last buffer is made", 0, do_entries},
	{"fragment", "MIB", "takes memory until so much is left, and gives back every second page", 1, do_fragment},
	{"write", "WORD...", "to the text console", 1, do_write},
	{"text", "", "what the text console shows, row by row", 0, do_text},
	{"font", "", "how it writes that", 0, do_font},
	{"sh", "WORD...", "a shell's command; what it says comes before the answer", 1, do_sh},
	{"close", "", "no buffers any more, and the screens go back to the text console", 0, do_close},
};

static bool do_help(void)
{
	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		printf("kms: %s %s: %s\n", commands[i].name, commands[i].args, commands[i].what);
	}
	printf("kms: ok help\n");
	return true;
}

/* Return: whether it was done. */
static bool run_line(char *line)
{
	char *save, *word = strtok_r(line, " \t\r\n", &save);

	for (nwords = 0; word && nwords < WORDS; word = strtok_r(NULL, " \t\r\n", &save)) {
		words[nwords++] = word;
	}
	if (nwords == 0) {
		return true;
	}
	for (const struct command *c = commands; c < commands + sizeof(commands) / sizeof(commands[0]); c++) {
		if (strcmp(words[0], c->name) == 0) {
			return nwords > c->nargs ? c->run() : fail_with(EINVAL, c->args);
		}
	}
	return fail_with(ENOSYS, "no such command");
}

/* For tests/picture_test, on the host: `kms paint KIND W H FRAME` writes the pixels to standard output. */
static int paint_out(char **args)
{
	struct paint p = {0};
	uint32_t *pixels, r[4] = {0, 0, (uint32_t)atoi(args[1]), (uint32_t)atoi(args[2])};
	size_t n = (size_t)r[2] * r[3];

	p.w = r[2];
	p.h = r[3];
	p.frame = (uint32_t)atoi(args[3]);
	pixels = calloc(n, 4);
	if (!pixels || !paint_parse(&p, args[0])) {
		return 1;
	}
	paint_rect(&p, pixels, p.w * 4, r);
	return fwrite(pixels, 4, n, stdout) == n ? 0 : 1;
}

int main(int argc, char **argv)
{
	static char line[32768];
	struct termios tty;
	bool good = true;

	if (argc == 6 && strcmp(argv[1], "paint") == 0) {
		return paint_out(argv + 2);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (tcgetattr(0, &tty) == 0) {
		/* What is typed does not come back, and a line may be longer than the 4096 characters of a terminal's own. */
		tty.c_iflag |= ICRNL;
		tty.c_lflag &= ~(tcflag_t)(ECHO | ICANON);
		tcsetattr(0, TCSANOW, &tty);
	}
	printf("kms: ready\n");
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "quit\n") != 0) {
		good = run_line(line) && good;
	}
	return good ? 0 : 1;
}
