/* SPDX-License-Identifier: MIT */
/*
 * What the guest's textures take of the host's memory, by what they are said to be: what gpu.max_host_memory is counted by. Drivers round up and add to it; never is it less than what they
 * usually take. And which parts of them can be moved.
 *
 * Thread: any.
 */
#ifndef DEVICES_GPU_TEXTURE_H
#define DEVICES_GPU_TEXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/gpu_backend.h"

#define GPU_TEXTURE_FORMAT_BYTES 64u /* R8_UNORM: of a pixel that is a byte */

/* Gallium's. */
enum gpu_texture_target {
	GPU_TEXTURE_BUFFER, /* its width is bytes */
	GPU_TEXTURE_1D,
	GPU_TEXTURE_2D,
	GPU_TEXTURE_3D, /* smaller levels have fewer layers */
	GPU_TEXTURE_CUBE,
	GPU_TEXTURE_RECT,
	GPU_TEXTURE_1D_ARRAY,
	GPU_TEXTURE_2D_ARRAY,
	GPU_TEXTURE_CUBE_ARRAY,
	GPU_TEXTURE_TARGETS,
};

/*
 * Whether *@r, of any numbers, is a part of *@t whose pixels the renderer can move: it is inside, has one sample, and neither its bytes, by its strides or those of the level, nor where they end, nor those of the level are more than
 * the renderer can count with 32 bits. Where they end in the backing it looks at.
 */
bool gpu_texture_can_move(const struct gpu_texture *t, const struct gpu_transfer *r);

/* Any numbers. Return: bytes, with all levels, layers and samples; UINT64_MAX when there are more. */
uint64_t gpu_texture_bytes(const struct gpu_texture *t);

/* How many pixels of @size there are at @level, of any number. */
uint32_t gpu_texture_at_level(uint32_t size, uint32_t level);

#endif
