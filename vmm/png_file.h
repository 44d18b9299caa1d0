/* SPDX-License-Identifier: MIT */
/*
 * PNG files through libpng, which is loaded when the first one is wanted: a running VM never maps it.
 *
 * Thread: the main thread.
 */
#ifndef VMM_PNG_FILE_H
#define VMM_PNG_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Loaded when it is wanted. The version whose header this was compiled with: others have another name. */
#define PNG_FILE_LIBRARY "libpng16.so.16"
#define PNG_FILE_PACKAGE "libpng16-16"

/**
 * png_file_write - a picture into an open file
 * @rgb: rows from the top without gaps, three bytes a pixel
 * @err: says what went wrong; when there is no libpng, which package has it
 *
 * Return: 0 or -errno. The file is flushed, and stays open.
 */
int png_file_write(FILE *f, const uint8_t *rgb, uint32_t width, uint32_t height, char *err, size_t err_len);

/**
 * png_file_read - a picture from a file
 * @pixels: gets rows from the top without gaps, four bytes a pixel: blue, green, red, 255; what is transparent lies on black. The caller frees it
 *
 * Return: 0, or -errno with @err. A picture wider or higher than PNG_FILE_SIZE_MAX is refused.
 */
#define PNG_FILE_SIZE_MAX 16384
int png_file_read(const char *path, uint8_t **pixels, uint32_t *width, uint32_t *height, char *err, size_t err_len);

#endif
