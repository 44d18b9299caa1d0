/* SPDX-License-Identifier: MIT */
/*
 * uinput DESCRIPTION: a device of the host made from a description (tests/devices), for tests. Lines on standard input say what it does:
 *
 *   create                      answers "node /dev/input/eventN"
 *   destroy                     unplugs it, answers "gone"
 *   ev T C V [T C V]...         writes these events and a SYN_REPORT
 *   frames N MODE SEED [HZ]     N frames from a seed (frames.h), so many a second; 0 or nothing: as fast as they can be written
 *   window N MODE SEED          the same, at the reader's pace: after each window it waits for a line "+"
 *   release                     lets go of everything that the frames left held
 *   print N MODE SEED           makes no use of uinput: the frames of "window" for a fresh device as JSON, a line each window, and after the answer what is held
 *                               then, as "evread state" says it
 *   quit                        or the end of its input
 *
 * frames, window, print and release answer "sent FRAMES EVENTS", the SYN_REPORTs not counted. Lights that come back are told at any time: "led CODE VALUE".
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/uinput.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tests/evdev/frames.h"

#define EFFECTS_MAX 16 /* of force feedback: devices that have it keep so many */

struct device {
	struct caps caps;
	int uinput, node; /* node: only to ask how things are */
	char path[64];
	struct frames frames;
};

static void set_bits(int fd, const struct caps *c, unsigned type, unsigned long request)
{
	for (unsigned code = 0; code < caps_codes(type); code++) {
		if (caps_has(c, type, code) && ioctl(fd, request, code) < 0) {
			err(1, "uinput: type %u code %u", type, code);
		}
	}
}

static void describe(int fd, const struct caps *c)
{
	static const struct {
		unsigned type;
		unsigned long request;
	} requests[] = {{EV_KEY, UI_SET_KEYBIT}, {EV_REL, UI_SET_RELBIT}, {EV_ABS, UI_SET_ABSBIT}, {EV_MSC, UI_SET_MSCBIT}, {EV_SW, UI_SET_SWBIT},
		{EV_LED, UI_SET_LEDBIT}, {EV_SND, UI_SET_SNDBIT}, {EV_FF, UI_SET_FFBIT}};
	struct uinput_setup setup = {.id = c->id, .ff_effects_max = caps_bit(c->bits[0], EV_FF) ? EFFECTS_MAX : 0};

	for (unsigned type = 1; type < EV_CNT; type++) {
		if (caps_bit(c->bits[0], type) && ioctl(fd, UI_SET_EVBIT, type) < 0) {
			err(1, "uinput: type %u", type);
		}
	}
	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		set_bits(fd, c, requests[i].type, requests[i].request);
	}
	for (unsigned prop = 0; prop < INPUT_PROP_CNT; prop++) {
		if (caps_bit(c->props, prop) && ioctl(fd, UI_SET_PROPBIT, prop) < 0) {
			err(1, "uinput: property %u", prop);
		}
	}
	for (unsigned code = 0; code < ABS_CNT; code++) {
		struct uinput_abs_setup abs = {.code = (uint16_t)code, .absinfo = c->abs[code]};

		if (caps_has(c, EV_ABS, code) && ioctl(fd, UI_ABS_SETUP, &abs) < 0) {
			err(1, "uinput: axis %u", code);
		}
	}
	snprintf(setup.name, sizeof(setup.name), "%.*s", UINPUT_MAX_NAME_SIZE - 1, c->name);
	if ((c->phys[0] && ioctl(fd, UI_SET_PHYS, c->phys) < 0) || ioctl(fd, UI_DEV_SETUP, &setup) < 0) {
		err(1, "uinput: setup");
	}
}

static void find_node(struct device *d)
{
	char name[32], pattern[128];
	glob_t found;

	if (ioctl(d->uinput, UI_GET_SYSNAME(sizeof(name)), name) < 0) {
		err(1, "UI_GET_SYSNAME");
	}
	snprintf(pattern, sizeof(pattern), "/sys/devices/virtual/input/%s/event*", name);
	if (glob(pattern, 0, NULL, &found) != 0) {
		errx(1, "%s has no event node: is the module evdev loaded?", name);
	}
	snprintf(d->path, sizeof(d->path), "/dev/input/%s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
}

static void write_events(struct device *d, const struct frames_event *ev, unsigned n)
{
	struct input_event out[FRAMES_EVENTS_MAX + 1] = {0};

	for (unsigned i = 0; i < n; i++) {
		out[i].type = ev[i].type;
		out[i].code = ev[i].code;
		out[i].value = ev[i].value;
	}
	if (write(d->uinput, out, n * sizeof(out[0])) != (ssize_t)(n * sizeof(out[0]))) {
		err(1, "uinput: write");
	}
}

static void turn_on_switches(struct device *d)
{
	struct frames_event ev[SW_CNT + 1] = {0};
	unsigned n = 0;

	for (unsigned code = 0; code < SW_CNT; code++) {
		if (caps_bit(d->caps.sw_on, code)) {
			ev[n++] = (struct frames_event){.type = EV_SW, .code = (uint16_t)code, .value = 1};
		}
	}
	if (n > 0) {
		write_events(d, ev, n + 1);
	}
}

static void create(struct device *d)
{
	d->uinput = open("/dev/uinput", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (d->uinput < 0) {
		err(1, "/dev/uinput");
	}
	describe(d->uinput, &d->caps);
	if (ioctl(d->uinput, UI_DEV_CREATE) < 0) {
		err(1, "UI_DEV_CREATE");
	}
	find_node(d);
	d->node = open(d->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (d->node < 0) {
		err(1, "%s", d->path);
	}
	turn_on_switches(d);
	printf("node %s\n", d->path);
}

static void destroy(struct device *d)
{
	close(d->node);
	close(d->uinput);
	d->uinput = -1;
	printf("gone\n");
}

/* What the kernel hands to the device. Of force feedback it asks for answers, which no test needs. */
static void take_lights(struct device *d)
{
	struct input_event ev;

	while (read(d->uinput, &ev, sizeof(ev)) == sizeof(ev)) {
		if (ev.type == EV_LED) {
			printf("led %u %d\n", ev.code, ev.value);
		}
	}
}

/* Waits for a line of the input, telling about lights meanwhile. Return: false at the end of the input. */
static bool next_line(struct device *d, char *line, size_t len)
{
	for (;;) {
		struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = d->uinput, .events = POLLIN}};
		size_t n = 0;

		if (poll(fds, 2, -1) < 0) {
			err(1, "poll");
		}
		if (fds[1].revents & POLLIN) {
			take_lights(d);
		}
		if (!fds[0].revents) {
			continue;
		}
		/* Byte by byte: what comes after the line stays where poll sees it. */
		while (n + 1 < len && read(STDIN_FILENO, &line[n], 1) == 1) {
			if (line[n] == '\n') {
				line[n] = '\0';
				return true;
			}
			n++;
		}
		return false;
	}
}

static void wait_for_reader(struct device *d)
{
	char line[64];

	if (!next_line(d, line, sizeof(line)) || strcmp(line, "+") != 0) {
		errx(1, "expected the reader's +");
	}
}

static void pace(struct timespec *next, unsigned hz)
{
	next->tv_nsec += 1000000000L / (long)hz;
	if (next->tv_nsec >= 1000000000L) {
		next->tv_nsec -= 1000000000L;
		next->tv_sec++;
	}
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
}

static void send_frames(struct device *d, const char *text, bool in_windows)
{
	unsigned n, hz = 0, window = 0, sent = 0;
	unsigned long events = 0;
	unsigned long long seed;
	char word[16];
	struct frames *f = &d->frames;
	enum frames_mode mode;
	struct timespec next;

	if (sscanf(text, "%u %15s %llu %u", &n, word, &seed, &hz) < 3 || !frames_parse_mode(&mode, word)) {
		errx(1, "expected N MODE SEED [HZ]: %s", text);
	}
	frames_init(f, &d->caps, mode, seed, d->node);
	clock_gettime(CLOCK_MONOTONIC, &next);
	while (sent < n && frames_next(f) > 0) {
		if (in_windows && window && window + frames_size(f) > FRAMES_WINDOW) {
			wait_for_reader(d);
			window = 0;
		}
		window += frames_size(f);
		write_events(d, f->ev, f->n);
		events += f->n - 1;
		sent++;
		if (hz) {
			pace(&next, hz);
		}
	}
	printf("sent %u %lu\n", sent, events);
}

static void print_events(const struct frames_event *ev, unsigned n, bool is_first)
{
	for (unsigned i = 0; i < n; i++) {
		printf("%s[%u,%u,%d]", is_first && i == 0 ? "[" : ",", ev[i].type, ev[i].code, ev[i].value);
	}
}

static void print_frames(struct device *d, const char *text)
{
	struct frames *f = &d->frames;
	unsigned n, window = 0, sent = 0;
	unsigned long events = 0;
	unsigned long long seed;
	char word[16];
	enum frames_mode mode;

	if (sscanf(text, "%u %15s %llu", &n, word, &seed) != 3 || !frames_parse_mode(&mode, word)) {
		errx(1, "expected N MODE SEED: %s", text);
	}
	frames_init(f, &d->caps, mode, seed, -1);
	while (sent < n && frames_next(f) > 0) {
		if (window && window + frames_size(f) > FRAMES_WINDOW) {
			printf("]\n");
			window = 0;
		}
		print_events(f->ev, f->n, window == 0);
		window += frames_size(f);
		events += f->n - 1;
		sent++;
	}
	printf("%ssent %u %lu\n", window ? "]\n" : "", sent, events);
	caps_print_state(&d->caps, &f->state, stdout);
}

static void release(struct device *d)
{
	unsigned n;

	frames_init(&d->frames, &d->caps, FRAMES_MIXED, 0, d->node);
	n = frames_release(&d->frames);
	if (n > 0) {
		write_events(d, d->frames.ev, n);
	}
	printf("sent %u %u\n", n > 0, n > 0 ? n - 1 : 0);
}

static void send_events(struct device *d, const char *text)
{
	struct frames_event ev[FRAMES_EVENTS_MAX + 1] = {0};
	unsigned n = 0;
	int used;

	while (n < FRAMES_EVENTS_MAX && sscanf(text, "%hu %hu %d%n", &ev[n].type, &ev[n].code, &ev[n].value, &used) == 3) {
		text += used;
		n++;
	}
	ev[n] = (struct frames_event){.type = EV_SYN, .code = SYN_REPORT};
	write_events(d, ev, n + 1);
}

static void obey(struct device *d, const char *line)
{
	if (strcmp(line, "create") == 0) {
		create(d);
	} else if (strcmp(line, "+") == 0) {
		/* The reader confirmed more than was waited for: it gave up. */
	} else if (strncmp(line, "print ", 6) == 0) {
		print_frames(d, line + 6);
	} else if (d->uinput < 0) {
		errx(1, "not created: %s", line);
	} else if (strcmp(line, "destroy") == 0) {
		destroy(d);
	} else if (strcmp(line, "release") == 0) {
		release(d);
	} else if (strncmp(line, "ev ", 3) == 0) {
		send_events(d, line + 3);
	} else if (strncmp(line, "frames ", 7) == 0) {
		send_frames(d, line + 7, false);
	} else if (strncmp(line, "window ", 7) == 0) {
		send_frames(d, line + 7, true);
	} else {
		errx(1, "unknown: %s", line);
	}
}

int main(int argc, char **argv)
{
	static struct device d = {.uinput = -1, .node = -1};
	char line[4096];

	if (argc != 2) {
		errx(2, "usage: uinput DESCRIPTION");
	}
	setlinebuf(stdout);
	caps_parse(&d.caps, argv[1]);
	while (next_line(&d, line, sizeof(line)) && strcmp(line, "quit") != 0) {
		obey(&d, line);
	}
	return 0;
}
