/* SPDX-License-Identifier: MIT */
/* For backends that leave 2D to gpu_2d.c. Thread: the device's loop. */
#ifndef DEVICES_GPU_2D_H
#define DEVICES_GPU_2D_H

#include "devices/gpu_backend.h"

/* Where pixels come from of a resource that was made by create_blob and has no backing. */
struct gpu_2d_reader {
	/* @r of the resource to where it is in @map, a picture of @len bytes with rows @stride apart. Return: 0 or -errno. */
	int (*read)(void *ctx, uint32_t id, const struct display_rect *r, uint8_t *map, uint64_t len, uint32_t stride);
	void *ctx;
};

/* As gpu_2d_create; @reader is copied. */
struct gpu_backend *gpu_2d_create_reading(const struct gmem *mem, unsigned images_max, const struct gpu_2d_reader *reader);

/* Pixels without gaps as read_cursor wants them. @order: how they lie in memory; of an unknown one nothing is read. */
void gpu_2d_read_pixels(enum gpu_format order, const uint8_t *p, uint32_t image[DISPLAY_CURSOR_SIZE * DISPLAY_CURSOR_SIZE]);

#endif
