/* SPDX-License-Identifier: MIT */
/* Pictures of a running VM: `tinyvmm screenshot`, and `tinyvmm wait` for what the screen shows. The monitor gives pictures in memory; files are written here. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/client.h"
#include "vmm/client_priv.h"
#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/result.h"
#include "vmm/screen.h"

/* For how long a screen that was not still is looked at to see what moves: as long as it was to be still, within these. */
#define MOVES_MIN_NS (200 * CLOCK_NS_PER_MS)
#define MOVES_MAX_NS (2 * CLOCK_NS_PER_S)

/* Until a guest that is reset is asked again. */
#define RESET_MS 20
/* In place of an exit code: there was no answer. */
#define NO_ANSWER (-1)

struct picture {
	struct display_pixels pixels;
	size_t len; /* bytes that are mapped */
	uint64_t frame; /* number of the last one on its scanout */
};

/* Return: whether the answer and the descriptor that came with it agree. */
static bool map_picture(const json_t *answer, int fd, struct picture *p)
{
	const char *format = "";
	int width = 0, height = 0, stride = 0;
	json_int_t frame = 0;
	struct stat st;
	void *map;

	json_unpack((json_t *)(uintptr_t)answer, "{s:i, s:i, s:i, s:s, s:I}", "width", &width, "height", &height, "stride", &stride, "format", &format, "frame",
		&frame);
	if (fd < 0 || fstat(fd, &st) < 0 || strcmp(format, "XR24") != 0 || width <= 0 || height <= 0 || stride < 4ll * width ||
		(uint64_t)stride * (uint64_t)height > (uint64_t)st.st_size) {
		return false;
	}
	p->len = (size_t)stride * (size_t)height;
	map = mmap(NULL, p->len, PROT_READ, MAP_SHARED, fd, 0);
	p->pixels = (struct display_pixels){.data = map, .width = (uint32_t)width, .height = (uint32_t)height, .stride = (uint32_t)stride};
	p->frame = (uint64_t)frame;
	return map != MAP_FAILED;
}

static void unmap_picture(struct picture *p)
{
	munmap((void *)(uintptr_t)p->pixels.data, p->len);
}

/* What is answered with a picture; the reference to @request is taken. @patience_ms: -1: for ever. Return: an exit code; nothing is said of EXIT_EXPECT, the guest shows nothing, nor of
 * EXIT_TIMEOUT and NO_ANSWER, where that is waited for (@waits). */
static int ask_for_picture(struct client_link *l, const char *name, json_t *request, bool waits, int patience_ms, struct picture *p)
{
	json_t *answer = client_ask(l, request, patience_ms);
	const char *code = "";
	int r;

	json_unpack(answer, "{s:{s:s}}", "error", "code", &code);
	if (waits && !answer) {
		r = NO_ANSWER;
	} else if (waits && strcmp(code, "no-scanout") == 0) {
		r = EXIT_EXPECT;
	} else if (waits && strcmp(code, "timeout") == 0) {
		r = EXIT_TIMEOUT;
	} else {
		r = client_judge(answer, name);
	}
	if (r == EXIT_OK && !map_picture(answer, l->received_fd, p)) {
		log_msg(LOG_ERR, "%s: the answer has no picture that can be read", name);
		r = EXIT_FAILED;
	}
	json_decref(answer);
	if (l->received_fd >= 0) {
		close(l->received_fd);
		l->received_fd = -1;
	}
	return r;
}

static json_t *screenshot_request(unsigned scanout, bool cursor)
{
	return json_pack("{s:s, s:i, s:b}", "do", "screenshot", "scanout", (int)scanout, "cursor", (int)cursor);
}

int client_write_picture(struct client_link *l, const char *name, unsigned scanout, bool cursor, const char *path)
{
	struct picture p;
	int code = ask_for_picture(l, name, screenshot_request(scanout, cursor), false, CLIENT_PATIENCE_MS, &p);

	if (code == EXIT_OK) {
		code = screen_write_png(&p.pixels, path) ? EXIT_OK : EXIT_FAILED;
		unmap_picture(&p);
	}
	return code;
}

int client_screenshot(const struct options *o)
{
	const char *name = o->files[0];
	char own_path[CONFIG_NAME_MAX + 16];
	struct client_link l;
	struct rundir rd;
	int code = client_link_open(&l, name, &rd);

	if (code != EXIT_OK) {
		return code;
	}
	snprintf(own_path, sizeof(own_path), "%s.png", name);
	code = client_write_picture(&l, name, o->scanout, !o->no_cursor, o->nfiles > 1 ? o->files[1] : own_path);
	client_link_close(&l, &rd);
	return code;
}

/*
 * Waiting.
 */

static void set_timeout(json_t *request, uint64_t wait_ns)
{
	if (wait_ns) {
		json_object_set_new(request, "timeout_ms", json_integer((json_int_t)((wait_ns + (uint64_t)CLOCK_NS_PER_MS - 1) / (uint64_t)CLOCK_NS_PER_MS)));
	}
}

/* Until there is a frame after @frame, which becomes its number, or for @wait_ns (0: for ever). Return: an exit code; EXIT_TIMEOUT when there was none; NO_ANSWER. */
static int wait_for_frame(struct client_link *l, const char *name, unsigned scanout, uint64_t *frame, uint64_t wait_ns)
{
	json_t *request = json_pack("{s:s, s:s, s:i, s:I}", "do", "wait", "for", "frame", "scanout", (int)scanout, "after", (json_int_t)*frame), *answer;
	json_int_t number = (json_int_t)*frame;
	const char *code = "";
	int r;

	set_timeout(request, wait_ns);
	answer = client_ask(l, request, -1);
	json_unpack(answer, "{s:{s:s}}", "error", "code", &code);
	json_unpack(answer, "{s:I}", "frame", &number);
	*frame = (uint64_t)number;
	r = !answer ? NO_ANSWER : strcmp(code, "timeout") == 0 ? EXIT_TIMEOUT : client_judge(answer, name);
	json_decref(answer);
	return r;
}

/* The next picture to look at: what is shown now or, where it is to be still, what has been still, within @wait_ns (0: for ever). The monitor sees to that, by each flush: here a picture that comes
 * and goes between two others would be missed. Return: as ask_for_picture. */
static int next_picture(struct client_link *l, const char *name, const struct config_screen *want, uint64_t wait_ns, struct picture *p)
{
	const struct config_region *r = &want->region;
	json_t *request;

	if (!want->stable_ns) {
		return ask_for_picture(l, name, screenshot_request(want->scanout, false), true, CLIENT_PATIENCE_MS, p);
	}
	request = json_pack("{s:s, s:s, s:i, s:I, s:b}", "do", "wait", "for", "stable", "scanout", (int)want->scanout, "stable_ms",
		(json_int_t)((want->stable_ns + (uint64_t)CLOCK_NS_PER_MS - 1) / (uint64_t)CLOCK_NS_PER_MS), "picture", 1);
	if (r->w) {
		json_object_set_new(request, "region", json_pack("[i, i, i, i]", (int)r->x, (int)r->y, (int)r->w, (int)r->h));
	}
	set_timeout(request, wait_ns);
	return ask_for_picture(l, name, request, true, -1, p);
}

/* What was never still has not been looked at. Where no picture is wanted, what moves is what differs: between this picture and one of the next. */
static void look_at_what_moves(struct client_link *l, struct screen *s, const struct options *o)
{
	const uint64_t patience_ns = o->screen.stable_ns < MOVES_MIN_NS ? MOVES_MIN_NS : o->screen.stable_ns > MOVES_MAX_NS ? MOVES_MAX_NS : o->screen.stable_ns;
	const uint64_t end = clock_now_ns() + patience_ns;
	struct picture p;

	while (ask_for_picture(l, o->files[0], screenshot_request(o->screen.scanout, false), true, CLIENT_PATIENCE_MS, &p) == EXIT_OK) {
		uint64_t now = clock_now_ns(), frame = p.frame;
		bool counts = screen_look(s, &p.pixels);

		unmap_picture(&p);
		/* Where it is not the picture there is a difference; else the region is not there, and nothing moves in it. */
		if (screen_has_difference(s) || !counts || now >= end || wait_for_frame(l, o->files[0], o->screen.scanout, &frame, end - now) != EXIT_OK) {
			break;
		}
	}
}

/* What was wrong, and the pictures that show it. @l: NULL: there is nobody any more who could be asked. */
static void report(struct client_link *l, struct screen *s, const struct options *o)
{
	const char *dir = o->artifacts ? o->artifacts : ".", *verb = l ? "shows" : "showed";
	char why[200], shot[4096], diff[4096];

	if (l && o->screen.stable_ns) {
		look_at_what_moves(l, s, o);
	}
	screen_explain(s, why, sizeof(why));
	log_msg(LOG_ERR, "%s: %s", o->files[0], why);
	if (!s->last || (o->artifacts && rundir_make_artifacts(o->artifacts) < 0)) {
		return;
	}
	snprintf(shot, sizeof(shot), "%s/%s-last.png", dir, o->files[0]);
	snprintf(diff, sizeof(diff), "%s/%s-diff.png", dir, o->files[0]);
	if (screen_save(s, shot, diff)) {
		log_msg(LOG_ERR, s->reference ? "it %s %s; what differs: %s" : s->before ? "it %s %s; what moves: %s" : "it %s %s", verb, shot, diff);
	}
}

/* Another size may come and have the region. Who waits need not wait for the end to hear that this one has it not. Return: as ask_for_picture. */
static int look_for_region(struct client_link *l, const struct screen *s, const struct options *o)
{
	struct picture p;
	int code = ask_for_picture(l, o->files[0], screenshot_request(o->screen.scanout, false), true, CLIENT_PATIENCE_MS, &p);

	if (code == EXIT_OK) {
		if (!screen_has_region(s, &p.pixels)) {
			log_msg(LOG_WARN, "%s: the region is not inside the screen, which has %ux%u pixels: waiting for one that it is in", o->files[0], p.pixels.width, p.pixels.height);
		}
		unmap_picture(&p);
	}
	return code;
}

/*
 * A picture of one's own is compared here: it is a file of the one who waits, and the monitor reads nothing that somebody else has made. So one that is shown for less time than a look takes may be
 * missed, but none that stays.
 */
static int wait_for_screen(struct client_link *l, const struct options *o, struct screen *s, uint64_t deadline)
{
	uint64_t frame = 0; /* all up to this one have been looked at */

	if (o->screen.region.w) {
		int code = look_for_region(l, s, o);

		if (code != EXIT_OK && code != EXIT_EXPECT) {
			return code;
		}
	}
	for (;;) {
		uint64_t now = clock_now_ns();
		struct picture p = {.frame = 0};
		int code = next_picture(l, o->files[0], &o->screen, deadline > now ? deadline - now : !!deadline, &p);

		if (code == EXIT_OK) {
			bool is_it = screen_look(s, &p.pixels);

			frame = p.frame;
			unmap_picture(&p);
			if (is_it) {
				return EXIT_OK;
			}
		} else if (code != EXIT_EXPECT && code != EXIT_TIMEOUT) {
			return code;
		}
		now = clock_now_ns();
		if (deadline && now >= deadline) {
			report(l, s, o);
			return s->last ? EXIT_EXPECT : EXIT_TIMEOUT;
		}
		code = wait_for_frame(l, o->files[0], o->screen.scanout, &frame, deadline ? deadline - now : 0);
		if (code != EXIT_OK && code != EXIT_TIMEOUT) {
			return code;
		}
	}
}

/* A guest that is reset is waited for further, by a new connection to the same VM. Return: an exit code, with the reason said. */
static int wait_over_resets(const struct options *o, struct screen *s, uint64_t deadline)
{
	for (;;) {
		struct client_link l;
		struct rundir rd;
		bool is_alive;
		pid_t pid;
		int code = client_link_open(&l, o->files[0], &rd);

		if (code != EXIT_OK) {
			return code;
		}
		code = wait_for_screen(&l, o, s, deadline);
		is_alive = rundir_is_alive(&rd, &pid);
		client_link_close(&l, &rd);
		if (code != NO_ANSWER) {
			return code;
		}
		if (!is_alive) {
			return client_judge(NULL, o->files[0]);
		}
		if (deadline && clock_now_ns() >= deadline) {
			report(NULL, s, o);
			return s->last ? EXIT_EXPECT : EXIT_TIMEOUT;
		}
		poll(NULL, 0, RESET_MS);
	}
}

int client_wait_screen(const struct options *o)
{
	struct screen s;
	char err[400];
	int code;

	if (screen_init(&s, &o->screen, err, sizeof(err)) < 0) {
		log_msg(LOG_ERR, "%s", err);
		return EXIT_USAGE;
	}
	code = wait_over_resets(o, &s, o->timeout_ns ? clock_now_ns() + o->timeout_ns : 0);
	/* The VM has ended, or its monitor says no more: what it showed until then has been seen here. */
	if (code != EXIT_OK && code != EXIT_EXPECT && code != EXIT_TIMEOUT && s.last) {
		report(NULL, &s, o);
	}
	screen_finish(&s);
	return code;
}
