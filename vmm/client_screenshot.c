/* SPDX-License-Identifier: MIT */
/* Pictures of a running VM: `tinyvmm screenshot`, and `tinyvmm wait` for what the screen shows. The monitor gives pictures in memory; files are written here. */
#include <errno.h>
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

/* Return: an exit code; EXIT_EXPECT, and nothing is said, when the guest shows nothing and @may_be_dark. */
static int take_picture(struct client_link *l, const char *name, unsigned scanout, bool cursor, bool may_be_dark, struct picture *p)
{
	json_t *answer = client_ask(l, json_pack("{s:s, s:i, s:b}", "do", "screenshot", "scanout", (int)scanout, "cursor", (int)cursor), CLIENT_PATIENCE_MS);
	const char *code = "";
	int r;

	json_unpack(answer, "{s:{s:s}}", "error", "code", &code);
	if (may_be_dark && strcmp(code, "no-scanout") == 0) {
		json_decref(answer);
		return EXIT_EXPECT;
	}
	r = client_judge(answer, name);
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

int client_write_picture(struct client_link *l, const char *name, unsigned scanout, bool cursor, const char *path)
{
	struct picture p;
	int code = take_picture(l, name, scanout, cursor, false, &p);

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

/* Until there is a frame after @frame, which becomes its number, or for @wait_ns (0: for ever). Return: an exit code; EXIT_TIMEOUT when there was none. */
static int wait_for_frame(struct client_link *l, const char *name, unsigned scanout, uint64_t *frame, uint64_t wait_ns)
{
	json_t *request = json_pack("{s:s, s:s, s:i, s:I}", "do", "wait", "for", "frame", "scanout", (int)scanout, "after", (json_int_t)*frame), *answer;
	json_int_t number = (json_int_t)*frame;
	const char *code = "";
	int r;

	if (wait_ns) {
		json_object_set_new(request, "timeout_ms", json_integer((json_int_t)((wait_ns + (uint64_t)CLOCK_NS_PER_MS - 1) / (uint64_t)CLOCK_NS_PER_MS)));
	}
	answer = client_ask(l, request, -1);
	json_unpack(answer, "{s:{s:s}}", "error", "code", &code);
	json_unpack(answer, "{s:I}", "frame", &number);
	*frame = (uint64_t)number;
	r = strcmp(code, "timeout") == 0 ? EXIT_TIMEOUT : client_judge(answer, name);
	json_decref(answer);
	return r;
}

/* What was wrong, and the pictures that show it. */
static void report(const struct screen *s, const struct options *o)
{
	const char *dir = o->artifacts ? o->artifacts : ".";
	char why[200], shot[4096], diff[4096];

	screen_explain(s, why, sizeof(why));
	log_msg(LOG_ERR, "%s: %s", o->files[0], why);
	snprintf(shot, sizeof(shot), "%s/%s-last.png", dir, o->files[0]);
	snprintf(diff, sizeof(diff), "%s/%s-diff.png", dir, o->files[0]);
	if (screen_save(s, shot, s->reference ? diff : NULL)) {
		log_msg(LOG_ERR, s->reference ? "it shows %s; what differs: %s" : "it shows %s", shot, diff);
	}
}

static int wait_for_screen(struct client_link *l, const struct options *o, struct screen *s, uint64_t deadline)
{
	const char *name = o->files[0];
	uint64_t frame = 0; /* all up to this one have been looked at */

	for (;;) {
		uint64_t again = 0, until, now;
		struct picture p = {.frame = 0};
		int code = take_picture(l, name, o->screen.scanout, false, true, &p);
		bool is_it = false;

		if (code == EXIT_OK) {
			is_it = screen_look(s, &p.pixels, clock_now_ns(), &again);
			unmap_picture(&p);
			frame = p.frame;
		} else if (code == EXIT_EXPECT) {
			screen_is_dark(s);
		} else {
			return code;
		}
		now = clock_now_ns();
		if (is_it) {
			return EXIT_OK;
		}
		if (deadline && now >= deadline) {
			report(s, o);
			return s->last ? EXIT_EXPECT : EXIT_TIMEOUT;
		}
		until = again && (!deadline || again < deadline) ? again : deadline;
		code = wait_for_frame(l, name, o->screen.scanout, &frame, until == 0 ? 0 : until > now ? until - now : 1);
		if (code != EXIT_OK && code != EXIT_TIMEOUT) {
			return code;
		}
	}
}

int client_wait_screen(const struct options *o)
{
	uint64_t deadline = o->timeout_ns ? clock_now_ns() + o->timeout_ns : 0;
	struct client_link l;
	struct screen s;
	struct rundir rd;
	char err[400];
	int code;

	if (screen_init(&s, &o->screen, err, sizeof(err)) < 0) {
		log_msg(LOG_ERR, "%s", err);
		return EXIT_USAGE;
	}
	code = client_link_open(&l, o->files[0], &rd);
	if (code == EXIT_OK) {
		code = wait_for_screen(&l, o, &s, deadline);
		client_link_close(&l, &rd);
	}
	screen_finish(&s);
	return code;
}
