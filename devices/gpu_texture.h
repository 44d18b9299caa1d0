/* SPDX-License-Identifier: MIT */
/*
 * What the guest's textures take of the host's memory, by what they are said to be: what gpu.max_host_memory is counted by. Drivers round up and add to it; never is it less than what they
 * usually take.
 *
 * Thread: any.
 */
#ifndef DEVICES_GPU_TEXTURE_H
#define DEVICES_GPU_TEXTURE_H

#include <stdint.h>

#include "devices/gpu_backend.h"

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

/* Any numbers. Return: bytes, with all levels, layers and samples; UINT64_MAX when there are more. */
uint64_t gpu_texture_bytes(const struct gpu_texture *t);

/* How many pixels of @size there are at @level, of any number. */
uint32_t gpu_texture_at_level(uint32_t size, uint32_t level);

#endif
