/* SPDX-License-Identifier: MIT */
#include "vmm/screen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/png_file.h"

int screen_init(struct screen *s, const struct config_screen *want, char *err, size_t err_len)
{
	uint32_t width, height;
	char why[200];
	int r;

	*s = (struct screen){.want = *want};
	if (!want->image) {
		return 0;
	}
	r = png_file_read(want->image, &s->reference, &width, &height, why, sizeof(why));
	if (r < 0) {
		s->reference = NULL;
		snprintf(err, err_len, "%s: %s", want->image, why);
		return r;
	}
	s->image = (struct display_pixels){.data = s->reference, .width = width, .height = height, .stride = width * 4};
	if (want->region.w && (want->region.x + want->region.w > width || want->region.y + want->region.h > height)) {
		snprintf(err, err_len, "%s: the region is not inside its %ux%u pixels", want->image, width, height);
		screen_finish(s);
		return -EINVAL;
	}
	return 0;
}

void screen_finish(struct screen *s)
{
	free(s->reference);
	free(s->last);
	free(s->before);
	s->reference = NULL;
	s->last = NULL;
	s->before = NULL;
}

/* What counts of @p, or of the picture that is wanted where that is larger. */
static struct display_rect region(const struct screen *s, const struct display_pixels *p)
{
	const struct config_region *r = &s->want.region;
	uint32_t w = s->reference && s->image.width > p->width ? s->image.width : p->width;
	uint32_t h = s->reference && s->image.height > p->height ? s->image.height : p->height;

	return r->w ? (struct display_rect){r->x, r->y, r->w, r->h} : (struct display_rect){0, 0, w, h};
}

bool screen_has_region(const struct screen *s, const struct display_pixels *p)
{
	const struct config_region *r = &s->want.region;

	return r->w == 0 || display_rect_is_inside(&(struct display_rect){r->x, r->y, r->w, r->h}, p->width, p->height);
}

static bool keep(struct screen *s, const struct display_pixels *shot)
{
	const struct display_rect r = region(s, shot);
	uint8_t *copy;

	if (!s->reference && s->last && screen_has_region(s, &s->shown) && screen_has_region(s, shot) && display_compare(&s->shown, shot, &r, 0) > 0) {
		free(s->before);
		s->before = s->last;
		s->earlier = s->shown;
		s->last = NULL;
	}
	copy = realloc(s->last, (size_t)shot->width * shot->height * 4);
	if (!copy) {
		return false;
	}
	for (uint32_t y = 0; y < shot->height; y++) {
		memcpy(copy + (size_t)y * shot->width * 4, shot->data + (size_t)y * shot->stride, (size_t)shot->width * 4);
	}
	s->last = copy;
	s->shown = (struct display_pixels){.data = copy, .width = shot->width, .height = shot->height, .stride = shot->width * 4};
	return true;
}

bool screen_look(struct screen *s, const struct display_pixels *shot)
{
	const struct display_rect r = region(s, shot);

	if (!keep(s, shot)) {
		return false;
	}
	s->diff = s->reference ? (double)display_compare(&s->image, shot, &r, s->want.tolerance) / (double)display_rect_area(&r) : 0;
	return screen_has_region(s, shot) && s->diff <= s->want.max_diff;
}

void screen_explain(const struct screen *s, char *buf, size_t len)
{
	if (!s->last) {
		snprintf(buf, len, "the guest has shown nothing");
	} else if (!screen_has_region(s, &s->shown)) {
		const struct config_region *r = &s->want.region;

		snprintf(buf, len, "the region %u,%u,%u,%u is not inside the screen, which has %ux%u pixels", r->x, r->y, r->w, r->h, s->shown.width, s->shown.height);
	} else if (s->reference && (s->image.width != s->shown.width || s->image.height != s->shown.height) && !s->want.region.w) {
		snprintf(buf, len, "the picture has %ux%u pixels, the screen %ux%u", s->image.width, s->image.height, s->shown.width, s->shown.height);
	} else if (s->diff > s->want.max_diff) {
		snprintf(buf, len, "%.2f %% of the pixels differ, %.2f %% may", s->diff * 100, s->want.max_diff * 100);
	} else {
		snprintf(buf, len, "it was never still for %llu ms", (unsigned long long)(s->want.stable_ns / (uint64_t)CLOCK_NS_PER_MS));
	}
}

static bool write_rgb(const uint8_t *rgb, uint32_t width, uint32_t height, const char *path)
{
	bool to_stdout = strcmp(path, "-") == 0;
	FILE *f = !rgb ? NULL : to_stdout ? stdout : fopen(path, "wbe");
	char err[200] = "no memory";
	int r;

	if (!f) {
		log_errno(LOG_ERR, rgb ? errno : ENOMEM, "%s", path);
		return false;
	}
	r = png_file_write(f, rgb, width, height, err, sizeof(err));
	if (!to_stdout && fclose(f) != 0 && r == 0) {
		r = -errno;
		snprintf(err, sizeof(err), "%s", strerror(errno));
	}
	if (r < 0) {
		log_msg(LOG_ERR, "%s: %s", path, err);
	}
	return r == 0;
}

bool screen_write_png(const struct display_pixels *p, const char *path)
{
	uint8_t *rgb = malloc((size_t)p->width * p->height * 3), *to = rgb;
	bool written;

	for (uint32_t y = 0; rgb && y < p->height; y++) {
		const uint8_t *from = p->data + (size_t)y * p->stride;

		for (uint32_t x = 0; x < p->width; x++, from += 4, to += 3) {
			to[0] = from[2];
			to[1] = from[1];
			to[2] = from[0];
		}
	}
	written = write_rgb(rgb, p->width, p->height, path);
	free(rgb);
	return written;
}

bool screen_has_difference(const struct screen *s)
{
	return s->last && (s->reference || s->before);
}

bool screen_save_difference(const struct screen *s, const char *path)
{
	const struct display_rect r = region(s, &s->shown);
	uint8_t *rgb = malloc((size_t)s->shown.width * s->shown.height * 3);
	bool written;

	if (rgb) {
		display_paint_difference(&s->shown, s->reference ? &s->image : &s->earlier, &r, s->reference ? s->want.tolerance : 0, rgb);
	}
	written = write_rgb(rgb, s->shown.width, s->shown.height, path);
	free(rgb);
	return written;
}

bool screen_save(const struct screen *s, const char *shot_path, const char *diff_path)
{
	return s->last && screen_write_png(&s->shown, shot_path) && (!screen_has_difference(s) || screen_save_difference(s, diff_path));
}
