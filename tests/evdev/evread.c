/* SPDX-License-Identifier: MIT */
/*
 * evread: what the readers of an evdev device get, for tests; on the host and in the guest.
 *
 *   evread list                               each device: NODE|NAME|PHYS|UNIQ|REPEAT DELAY,PERIOD
 *   evread state NODE                         what is held (caps.h)
 *   evread slot NODE                          the slot that multitouch events were about last; this is no part of state, as a slot that is said alone is not seen until an event follows
 *   evread light NODE CODE VALUE              sets a light
 *   evread repeat NODE DELAY PERIOD           how this kernel repeats keys that are held, in milliseconds; 0 0: not at all
 *   evread events NODE N [SECONDS]            N events (or as many as come), a line each; SYN_REPORTs count
 *   evread compare NODE N MODE SEED           N frames, which must be those of frames.h; "+" at the end of each window
 *   evread watch NODE MODE [LATE [QUIET [SLOW]]]   everything, until nothing has come for QUIET milliseconds (1500) after the first event; begins to read LATE
 *                                             milliseconds after it opened the node, and pauses for SLOW microseconds before each read
 *
 * watch with MODE numbered counts what is not there: missing, numbers between those that came; untold, those of them where this reader's kernel has said nothing of a loss, in so many gaps; last, the
 * highest number; again, numbers that came twice or too late; bare, frames without one.
 *
 * All but list, state, slot and repeat say "ready" once the node is open. compare and watch say at the end, in one line, KEY=VALUE: frames and events (without SYN_REPORT)
 * they got; lost, how often this reader's kernel had no room for them; torn frames (of MODE paired and numbered); wrong, the events that differ; held, the keys down now.
 * Lights and repeats, which the reader's own kernel makes, are passed over.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tests/evdev/frames.h"

#define BATCH 64
#define FRAME_MAX 1024 /* a difference after a loss can be of every key */
#define QUIET_MS 1500
#define STUCK_MS 60000 /* compare: nothing comes any more */

struct reader {
	int fd;
	struct input_event batch[BATCH];
	unsigned next, n;
	unsigned late_ms, slow_us;
	bool is_lost; /* after SYN_DROPPED, up to the next SYN_REPORT of the device's */
	unsigned long frames, events, lost;
};

static int open_node(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0) {
		err(1, "%s", path);
	}
	return fd;
}

static void say_ready(void)
{
	printf("ready\n");
	fflush(stdout);
}

static int by_number(const struct dirent **a, const struct dirent **b)
{
	return atoi((*a)->d_name + 5) - atoi((*b)->d_name + 5);
}

static int is_event(const struct dirent *entry)
{
	return strncmp(entry->d_name, "event", 5) == 0;
}

static void list(void)
{
	struct dirent **entries;
	int n = scandir("/dev/input", &entries, is_event, by_number);

	for (int i = 0; i < n; i++) {
		struct caps caps;
		char path[300];
		unsigned rep[2] = {0};
		int fd;

		snprintf(path, sizeof(path), "/dev/input/%s", entries[i]->d_name);
		fd = open_node(path, O_RDONLY);
		caps_read(&caps, fd);
		ioctl(fd, EVIOCGREP, rep);
		printf("%s|%s|%s|%s|%u,%u\n", path, caps.name, caps.phys, caps.uniq, rep[0], rep[1]);
		close(fd);
		free(entries[i]);
	}
	free(entries);
}

static void state(const char *path)
{
	struct caps caps;
	struct caps_state now;
	int fd = open_node(path, O_RDONLY);

	caps_read(&caps, fd);
	caps_read_state(&caps, &now, fd);
	caps_print_state(&caps, &now, stdout);
	close(fd);
}

static void slot(const char *path)
{
	struct caps caps;
	struct caps_state now;
	int fd = open_node(path, O_RDONLY);

	caps_read(&caps, fd);
	caps_read_state(&caps, &now, fd);
	printf("%d\n", now.abs[ABS_MT_SLOT]);
	close(fd);
}

static void light(const char *path, const char *code, const char *value)
{
	struct input_event ev[2] = {
		{.type = EV_LED, .code = (uint16_t)atoi(code), .value = atoi(value)},
		{.type = EV_SYN, .code = SYN_REPORT},
	};
	int fd = open_node(path, O_RDWR);

	if (write(fd, ev, sizeof(ev)) != sizeof(ev)) {
		err(1, "%s: write", path);
	}
	close(fd);
	say_ready();
}

static void repeat(const char *path, unsigned delay_ms, unsigned period_ms)
{
	unsigned rep[2] = {delay_ms, period_ms};
	int fd = open_node(path, O_RDWR);

	if (ioctl(fd, EVIOCSREP, rep) < 0) {
		err(1, "%s: EVIOCSREP", path);
	}
	close(fd);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Return: false when nothing came until then, or the device is gone. */
static bool next_event(struct reader *r, struct input_event *ev, int64_t end_ms)
{
	if (r->next == r->n) {
		struct pollfd fd = {.fd = r->fd, .events = POLLIN};
		int64_t left_ms = end_ms - now_ms();
		ssize_t got;

		if (left_ms <= 0 || poll(&fd, 1, (int)left_ms) <= 0) {
			return false;
		}
		if (r->slow_us) {
			usleep(r->slow_us);
		}
		got = read(r->fd, r->batch, sizeof(r->batch));
		if (got <= 0) {
			return false;
		}
		r->next = 0;
		r->n = (unsigned)got / sizeof(r->batch[0]);
	}
	*ev = r->batch[r->next++];
	return true;
}

/* A whole frame that the device sent. Return: its events, the last a SYN_REPORT; 0 as above. */
static unsigned next_frame(struct reader *r, struct frames_event *frame, unsigned max, int timeout_ms)
{
	/* What is passed over keeps nobody waiting: a key that is held repeats for ever. */
	int64_t end_ms = now_ms() + timeout_ms;
	struct input_event ev;
	unsigned n = 0;

	while (next_event(r, &ev, end_ms)) {
		bool is_report = ev.type == EV_SYN && ev.code == SYN_REPORT;
		/* Value 1: the kernel split a frame that was too long for it, or repeats a key by itself. */
		bool is_end = is_report && ev.value == 0;

		if (ev.type == EV_SYN && ev.code == SYN_DROPPED) {
			r->lost++;
			r->is_lost = true;
			continue;
		}
		if (r->is_lost) {
			/* The rest of a frame that such a report lies within is lost too. */
			r->is_lost = !is_end;
			n = 0;
			continue;
		}
		if (ev.type == EV_LED || ev.type == EV_SND || ev.type == EV_REP || (ev.type == EV_KEY && ev.value == 2) ||
			(is_report && (n == 0 || !is_end))) {
			continue;
		}
		if (n == max) {
			errx(1, "a frame of more than %u events", max);
		}
		frame[n++] = (struct frames_event){.type = ev.type, .code = ev.code, .value = ev.value};
		if (is_end) {
			frame[n - 1].value = 0;
			r->frames++;
			r->events += n - 1;
			return n;
		}
	}
	return 0;
}

static void begin(struct reader *r, const char *path, struct caps *caps)
{
	r->fd = open_node(path, O_RDONLY | O_NONBLOCK);
	caps_read(caps, r->fd);
}

static void events(const char *path, unsigned n, int timeout_ms)
{
	struct reader r = {.fd = open_node(path, O_RDONLY | O_NONBLOCK)};
	struct input_event ev;

	say_ready();
	for (unsigned i = 0; i < n && next_event(&r, &ev, now_ms() + timeout_ms); i++) {
		printf("%u %u %d\n", ev.type, ev.code, ev.value);
		/* Who writes each event by itself is too slow for one who types fast. */
		if (r.next == r.n) {
			fflush(stdout);
		}
	}
	close(r.fd);
}

static unsigned held_keys(const struct caps *caps, int fd)
{
	struct caps_state now;
	unsigned held = 0;

	caps_read_state(caps, &now, fd);
	for (unsigned code = 0; code < KEY_CNT; code++) {
		held += caps_bit(now.key, code);
	}
	return held;
}

struct numbers {
	unsigned last;
	unsigned long lost; /* by this reader's kernel, up to the last one */
	unsigned long missing, untold, gaps, again, bare;
};

static void count(struct numbers *c, unsigned number, unsigned long lost)
{
	unsigned between = number - c->last - 1;

	if (number == 0) {
		c->bare++;
	} else if (number <= c->last) {
		c->again++;
	} else {
		c->missing += between;
		if (between > 0 && lost == c->lost) {
			c->untold += between;
			c->gaps++;
		}
		c->last = number;
		c->lost = lost;
	}
}

static void report(const struct reader *r, const struct caps *caps, unsigned long torn, unsigned long wrong, const struct numbers *c)
{
	printf("result frames=%lu events=%lu lost=%lu torn=%lu wrong=%lu held=%u", r->frames, r->events, r->lost, torn, wrong, held_keys(caps, r->fd));
	if (c) {
		printf(" missing=%lu untold=%lu gaps=%lu last=%u again=%lu bare=%lu", c->missing, c->untold, c->gaps, c->last, c->again, c->bare);
	}
	printf("\n");
}

static void print_frame(const char *name, const struct frames_event *ev, unsigned n)
{
	printf("%s", name);
	for (unsigned i = 0; i < n; i++) {
		printf(" [%u %u %d]", ev[i].type, ev[i].code, ev[i].value);
	}
	printf("\n");
}

static bool is_same(const struct frames_event *a, unsigned na, const struct frames_event *b, unsigned nb)
{
	return na == nb && memcmp(a, b, na * sizeof(*a)) == 0;
}

static void compare(const char *path, unsigned n, enum frames_mode mode, uint64_t seed)
{
	static struct reader r;
	static struct caps caps;
	static struct frames f;
	struct frames_event frame[FRAME_MAX];
	unsigned long wrong = 0;
	unsigned window = 0;

	begin(&r, path, &caps);
	frames_init(&f, &caps, mode, seed, r.fd);
	say_ready();
	for (unsigned i = 0; i < n && frames_next(&f) > 0; i++) {
		int64_t began_ms;
		unsigned got;

		if (window && window + frames_size(&f) > FRAMES_WINDOW) {
			printf("+\n");
			fflush(stdout);
			window = 0;
		}
		window += frames_size(&f);
		began_ms = now_ms();
		got = next_frame(&r, frame, FRAME_MAX, STUCK_MS);
		if (!is_same(frame, got, f.ev, f.n)) {
			printf("frame %u differs, after %lld ms\n", i, (long long)(now_ms() - began_ms));
			print_frame("expected", f.ev, f.n);
			print_frame("got     ", frame, got);
			wrong++;
			break;
		}
	}
	report(&r, &caps, 0, wrong, NULL);
	close(r.fd);
}

static void watch(struct reader *r, const char *path, enum frames_mode mode, int quiet_ms)
{
	static struct caps caps;
	static struct frames f;
	struct frames_event frame[FRAME_MAX];
	struct numbers numbers = {0};
	unsigned long torn = 0;
	unsigned n, slot;

	begin(r, path, &caps);
	frames_init(&f, &caps, mode, 0, r->fd);
	slot = f.slot;
	say_ready();
	usleep(r->late_ms * 1000);
	for (int timeout_ms = STUCK_MS; (n = next_frame(r, frame, FRAME_MAX, timeout_ms)) > 0; timeout_ms = quiet_ms) {
		if ((mode == FRAMES_PAIRED || mode == FRAMES_NUMBERED) && frames_is_torn(&f, frame, n, &slot)) {
			if (torn++ == 0) {
				print_frame("torn", frame, n);
			}
		}
		count(&numbers, frames_number(&f, frame, n), r->lost);
	}
	report(r, &caps, torn, 0, mode == FRAMES_NUMBERED ? &numbers : NULL);
	close(r->fd);
}

static unsigned number(int argc, char **argv, int i, unsigned or_else)
{
	return i < argc ? (unsigned)strtoul(argv[i], NULL, 0) : or_else;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	enum frames_mode mode = FRAMES_MIXED;

	if (strcmp(what, "list") == 0) {
		list();
	} else if (argc == 3 && strcmp(what, "state") == 0) {
		state(argv[2]);
	} else if (argc == 3 && strcmp(what, "slot") == 0) {
		slot(argv[2]);
	} else if (argc == 5 && strcmp(what, "light") == 0) {
		light(argv[2], argv[3], argv[4]);
	} else if (argc == 5 && strcmp(what, "repeat") == 0) {
		repeat(argv[2], number(argc, argv, 3, 0), number(argc, argv, 4, 0));
	} else if (argc >= 4 && strcmp(what, "events") == 0) {
		events(argv[2], number(argc, argv, 3, 0), (int)number(argc, argv, 4, 60) * 1000);
	} else if (argc == 6 && strcmp(what, "compare") == 0 && frames_parse_mode(&mode, argv[4])) {
		compare(argv[2], number(argc, argv, 3, 0), mode, strtoull(argv[5], NULL, 0));
	} else if (argc >= 4 && strcmp(what, "watch") == 0 && frames_parse_mode(&mode, argv[3])) {
		static struct reader r;

		r.late_ms = number(argc, argv, 4, 0);
		r.slow_us = number(argc, argv, 6, 0);
		watch(&r, argv[2], mode, (int)number(argc, argv, 5, QUIET_MS));
	} else {
		errx(2, "usage: evread list | state NODE | slot NODE | light NODE CODE VALUE | repeat NODE DELAY PERIOD | events NODE N [SECONDS] | compare NODE N MODE SEED | watch NODE MODE [LATE [QUIET [SLOW]]]");
	}
	return 0;
}
