/* SPDX-License-Identifier: MIT */
#include "vmm/png_file.h"

#include <dlfcn.h>
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* libpng says only "Read Error" of one that is cut short. */
#define NO_PNG "is no PNG, or not all of one: "

/* A function of the library. Return: NULL with @err when there is none. */
static void *function(const char *name, char *err, size_t err_len)
{
	/* It stays: the process ends soon, or wants it again. */
	void *library = dlopen(PNG_FILE_LIBRARY, RTLD_NOW | RTLD_LOCAL), *symbol = library ? dlsym(library, name) : NULL;

	if (!symbol) {
		snprintf(err, err_len, PNG_FILE_LIBRARY " cannot be loaded: apt-get install " PNG_FILE_PACKAGE);
	}
	return symbol;
}

int png_file_write(FILE *f, const uint8_t *rgb, uint32_t width, uint32_t height, char *err, size_t err_len)
{
	png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB, .flags = PNG_IMAGE_FLAG_FAST};
	void *symbol = function("png_image_write_to_stdio", err, err_len);
	__typeof__(png_image_write_to_stdio) *write_to_stdio;

	if (!symbol) {
		return -ENOENT;
	}
	memcpy(&write_to_stdio, &symbol, sizeof(write_to_stdio));
	if (!write_to_stdio(&image, f, 0, rgb, 0, NULL) || fflush(f) != 0) {
		int r = errno ? -errno : -EIO;

		snprintf(err, err_len, "%s", image.message[0] ? image.message : strerror(-r));
		return r;
	}
	return 0;
}

/* @image has been begun. */
static int read_pixels(png_image *image, uint8_t **pixels, __typeof__(png_image_finish_read) *finish, char *err, size_t err_len)
{
	const png_color black = {0, 0, 0};

	if (image->width > PNG_FILE_SIZE_MAX || image->height > PNG_FILE_SIZE_MAX) {
		snprintf(err, err_len, "%ux%u pixels are too many", image->width, image->height);
		return -EFBIG;
	}
	image->format = PNG_FORMAT_BGR;
	/* Sixteen bits a channel are what eight are, too, unless the file says otherwise: libpng takes them for light. */
	image->flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
	*pixels = malloc((size_t)image->width * image->height * 4);
	if (!*pixels || !finish(image, &black, *pixels, 0, NULL)) {
		snprintf(err, err_len, "%s%s", *pixels ? NO_PNG : "no memory", *pixels ? image->message : "");
		free(*pixels);
		return -EINVAL;
	}
	/* From three bytes a pixel to four, from the end, in place. */
	for (size_t i = (size_t)image->width * image->height; i-- > 0;) {
		uint8_t b = (*pixels)[i * 3], g = (*pixels)[i * 3 + 1], r = (*pixels)[i * 3 + 2];

		memcpy(*pixels + i * 4, (const uint8_t[]){b, g, r, 0xff}, 4);
	}
	return 0;
}

int png_file_read(const char *path, uint8_t **pixels, uint32_t *width, uint32_t *height, char *err, size_t err_len)
{
	png_image image = {.version = PNG_IMAGE_VERSION};
	void *symbols[] = {function("png_image_begin_read_from_stdio", err, err_len), function("png_image_finish_read", err, err_len),
		function("png_image_free", err, err_len)};
	__typeof__(png_image_begin_read_from_stdio) *begin;
	__typeof__(png_image_finish_read) *finish;
	__typeof__(png_image_free) *done;
	struct stat st;
	FILE *f;
	int r;

	if (!symbols[0] || !symbols[1] || !symbols[2]) {
		return -ENOENT;
	}
	memcpy(&begin, &symbols[0], sizeof(begin));
	memcpy(&finish, &symbols[1], sizeof(finish));
	memcpy(&done, &symbols[2], sizeof(done));
	f = fopen(path, "rbe");
	if (!f) {
		r = -errno;
		snprintf(err, err_len, "%s", strerror(errno));
		return r;
	}
	if (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode)) {
		r = -EISDIR;
		snprintf(err, err_len, "is a directory");
	} else if (begin(&image, f)) {
		r = read_pixels(&image, pixels, finish, err, err_len);
		*width = image.width;
		*height = image.height;
	} else {
		r = -EINVAL;
		snprintf(err, err_len, NO_PNG "%s", image.message);
	}
	done(&image);
	fclose(f);
	return r;
}
