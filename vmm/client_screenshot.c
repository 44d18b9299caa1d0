/* SPDX-License-Identifier: MIT */
/* `tinyvmm screenshot`: the monitor gives a picture in memory, here it becomes a PNG. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/client.h"
#include "vmm/client_priv.h"
#include "vmm/log.h"
#include "vmm/png_file.h"
#include "vmm/result.h"

/* What the monitor says its picture is. */
struct picture {
	const uint8_t *pixels;
	size_t len;
	uint32_t width, height, stride;
};

/* Return: whether the answer and the descriptor that came with it agree. */
static bool map_picture(const json_t *answer, int fd, struct picture *p)
{
	const char *format = "";
	int width = 0, height = 0, stride = 0;
	struct stat st;
	void *map;

	json_unpack((json_t *)(uintptr_t)answer, "{s:i, s:i, s:i, s:s}", "width", &width, "height", &height, "stride", &stride, "format", &format);
	if (fd < 0 || fstat(fd, &st) < 0 || strcmp(format, "XR24") != 0 || width <= 0 || height <= 0 || stride < 4ll * width ||
		(uint64_t)stride * (uint64_t)height > (uint64_t)st.st_size) {
		return false;
	}
	*p = (struct picture){.len = (size_t)stride * (size_t)height, .width = (uint32_t)width, .height = (uint32_t)height, .stride = (uint32_t)stride};
	map = mmap(NULL, p->len, PROT_READ, MAP_SHARED, fd, 0);
	p->pixels = map;
	return map != MAP_FAILED;
}

/* Three bytes a pixel, which is what the PNG will have. Return: malloc'ed, or NULL. */
static uint8_t *to_rgb(const struct picture *p)
{
	uint8_t *rgb = malloc((size_t)p->width * p->height * 3), *to = rgb;

	for (uint32_t y = 0; rgb && y < p->height; y++) {
		const uint8_t *from = p->pixels + (size_t)y * p->stride;

		for (uint32_t x = 0; x < p->width; x++, from += 4, to += 3) {
			to[0] = from[2];
			to[1] = from[1];
			to[2] = from[0];
		}
	}
	return rgb;
}

/* Return: an exit code. */
static int write_png(const struct picture *p, const char *path)
{
	bool to_stdout = strcmp(path, "-") == 0;
	FILE *f = to_stdout ? stdout : fopen(path, "wbe");
	uint8_t *rgb = f ? to_rgb(p) : NULL;
	char err[200] = "no memory";
	int r;

	if (!f) {
		log_errno(LOG_ERR, errno, "%s", path);
		return EXIT_FAILED;
	}
	r = rgb ? png_file_write(f, rgb, p->width, p->height, err, sizeof(err)) : -ENOMEM;
	free(rgb);
	if (!to_stdout && fclose(f) != 0 && r == 0) {
		r = -errno;
		snprintf(err, sizeof(err), "%s", strerror(errno));
	}
	if (r < 0) {
		log_msg(LOG_ERR, "%s: %s", path, err);
	}
	return r < 0 ? EXIT_FAILED : EXIT_OK;
}

int client_screenshot(const struct options *o)
{
	const char *name = o->files[0];
	char own_path[CONFIG_NAME_MAX + 16];
	struct picture p = {.pixels = NULL};
	struct client_link l;
	struct rundir rd;
	json_t *answer;
	int code = client_link_open(&l, name, &rd);

	if (code != EXIT_OK) {
		return code;
	}
	answer = client_ask(&l, json_pack("{s:s, s:i, s:b}", "do", "screenshot", "scanout", (int)o->scanout, "cursor", !o->no_cursor), CLIENT_PATIENCE_MS);
	code = client_judge(answer, name);
	if (code == EXIT_OK && !map_picture(answer, l.received_fd, &p)) {
		log_msg(LOG_ERR, "%s: the answer has no picture that can be read", name);
		code = EXIT_FAILED;
	} else if (code == EXIT_OK) {
		snprintf(own_path, sizeof(own_path), "%s.png", name);
		code = write_png(&p, o->nfiles > 1 ? o->files[1] : own_path);
		munmap((void *)(uintptr_t)p.pixels, p.len);
	}
	json_decref(answer);
	client_link_close(&l, &rd);
	return code;
}
