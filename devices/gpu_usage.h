/* SPDX-License-Identifier: MIT */
/*
 * Whether the guest has about what it is counted for (gpu.max_host_memory). OpenGL and its drivers keep more than that: a texture that was deleted, and all that the last drawing of a context was made with, until that context does something
 * else or ends. A context for each of them, left alone, and they keep as much as the guest likes. What they keep cannot be told from outside; so the host's kernel is asked what it has given in all, each time that the guest has asked for
 * an eighth of its limit, and when that is more than twice the limit and what contexts and everybody else may have, the guest's contexts end.
 *
 * Not where nobody counts: the memory of a GPU of its own is known only from kernel drivers that say it in fdinfo.
 *
 * Spec: Linux, Documentation/gpu/drm-usage-stats.rst. Thread: the device's loop.
 */
#ifndef DEVICES_GPU_USAGE_H
#define DEVICES_GPU_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#define GPU_USAGE_OTHERS (512ull << 20) /* bytes that may be the monitor's, libraries', compiled shaders' */
#define GPU_USAGE_CONTEXT (32ull << 20) /* that may be a context's of OpenGL's: so many has one of Mesa 25 where the processor draws, by far the most */
#define GPU_USAGE_CONTEXTS 64u /* for which that may be; more than a desktop has */
#define GPU_USAGE_SUBMISSION (1u << 20) /* what one is taken for, of what the guest asks for */

struct gpu;

/* Resident in this process, and of a GPU's memory what the clients of the render node @fd have; -1: there is none. */
uint64_t gpu_usage_bytes(int fd);

/* What @text, a file of /proc/PID/fdinfo, has of memory. */
uint64_t gpu_usage_of_fdinfo(const char *text);

/* The guest asks for @more bytes. Return: false when it has too much; then its contexts have ended (reported). */
bool gpu_usage_is_fair(struct gpu *g, uint64_t more);

#endif
