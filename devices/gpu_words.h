/* SPDX-License-Identifier: MIT */
/*
 * Submissions as the renderer reads them: a list of commands, each a word with its number (8 bits), kind (8) and length in words (16), and so many words.
 *
 * How they draw is for the renderer to check. Here is looked at what it does not check, or with numbers that wrap: it would read or write memory that is not the guest's, fall over, take memory that nobody counts, or write to
 * standard error about it.
 *
 * Thread: the device's loop.
 */
#ifndef DEVICES_GPU_WORDS_H
#define DEVICES_GPU_WORDS_H

#include <stdbool.h>
#include <stdint.h>

/* Commands. */
enum {
	GPU_CREATE_OBJECT = 1,
	GPU_DESTROY_OBJECT = 3,
	GPU_SET_FRAMEBUFFER = 5,
	GPU_SET_VERTEX_BUFFERS = 6,
	GPU_CLEAR = 7,
	GPU_DRAW_VBO = 8,
	GPU_RESOURCE_INLINE_WRITE = 9,
	GPU_SET_SAMPLER_VIEWS = 10,
	GPU_SET_INDEX_BUFFER = 11,
	GPU_BLIT = 16,
	GPU_RESOURCE_COPY_REGION = 17,
	GPU_SET_UNIFORM_BUFFER = 27,
	GPU_SET_SUB_CTX = 28,
	GPU_CREATE_SUB_CTX = 29,
	GPU_DESTROY_SUB_CTX = 30,
	GPU_SET_SHADER_BUFFERS = 34,
	GPU_SET_SHADER_IMAGES = 35,
	GPU_LAUNCH_GRID = 37,
	GPU_SET_ATOMIC_BUFFERS = 40,
	GPU_TRANSFER3D = 43,
	GPU_COPY_TRANSFER3D = 45,
	GPU_CLEAR_TEXTURE = 47,
	GPU_PIPE_RESOURCE_CREATE = 48,
	GPU_PIPE_RESOURCE_SET_TYPE = 49,
	GPU_GET_MEMORY_INFO = 50,
	GPU_SEND_STRING_MARKER = 51,
	GPU_LINK_SHADER = 52, /* the last one that is known not to draw */
};

/* Kinds of objects: those that are made of a resource, and one that comes in pieces. */
enum {
	GPU_SHADER = 4,
	GPU_SAMPLER_VIEW = 6,
	GPU_SURFACE = 8,
	GPU_QUERY = 9,
	GPU_STREAMOUT_TARGET = 10,
	GPU_MSAA_SURFACE = 11,
};

struct gpu;
struct gpu_table;

/**
 * gpu_words_check - whether the renderer may have a submission
 * @attached: the resources that the context may use, by number
 * @words: @n of them, which the guest can no longer change. A transfer of several layers from a texture becomes one of the first: more the renderer does not read, and it would fill the rest with what lay in its memory
 */
bool gpu_words_check(struct gpu *g, struct gpu_table *attached, uint32_t *words, uint32_t n);

#endif
