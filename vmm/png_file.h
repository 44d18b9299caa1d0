/* SPDX-License-Identifier: MIT */
/*
 * PNG files through libpng, which is loaded when the first one is wanted: a running VM never maps it.
 *
 * Thread: the main thread.
 */
#ifndef VMM_PNG_FILE_H
#define VMM_PNG_FILE_H

#include <stdint.h>
#include <stdio.h>

/**
 * png_file_write - a picture into an open file
 * @rgb: rows from the top without gaps, three bytes a pixel
 * @err: says what went wrong; when there is no libpng, which package has it
 *
 * Return: 0 or -errno. The file is flushed, and stays open.
 */
int png_file_write(FILE *f, const uint8_t *rgb, uint32_t width, uint32_t height, char *err, size_t err_len);

#endif
