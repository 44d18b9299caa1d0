/* SPDX-License-Identifier: MIT */
#include "vmm/png_file.h"

#include <dlfcn.h>
#include <errno.h>
#include <png.h>
#include <string.h>

/* The version whose header this was compiled with: others have another name. */
#define LIBRARY "libpng16.so.16"

int png_file_write(FILE *f, const uint8_t *rgb, uint32_t width, uint32_t height, char *err, size_t err_len)
{
	/* It stays: the process ends soon. */
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	void *symbol = library ? dlsym(library, "png_image_write_to_stdio") : NULL;
	png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB, .flags = PNG_IMAGE_FLAG_FAST};
	__typeof__(png_image_write_to_stdio) *write_to_stdio;

	if (!symbol) {
		snprintf(err, err_len, LIBRARY " cannot be loaded: apt-get install libpng16-16");
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
