/* SPDX-License-Identifier: MIT */
/*
 * virglrenderer: what carries out a guest's OpenGL. It is one for the process, and loaded when a backend is made.
 *
 * Thread: the one that the device's loop will run on, from gpu_virgl_create to the backend's close.
 */
#ifndef DEVICES_GPU_VIRGL_H
#define DEVICES_GPU_VIRGL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "devices/gpu_backend.h"
#include "vmm/gmem.h"

/* What there is to draw with, for people. */
struct gpu_virgl_info {
	char node[64], driver[32]; /* as gpu_egl.h says them */
	char renderer[128], version[64];
	char library[64]; /* virglrenderer's file */
	char release[32]; /* its version, as far as what is in it tells: it does not say it */
	bool can_export; /* pictures can leave as dma-bufs */
	char no_export[160]; /* or why not */
	char no_direct[80]; /* why they are copied for that, each; empty: they need not be */
	dev_t device; /* of the render node; 0: none */
};

/**
 * gpu_virgl_create - 3D, and 2D as gpu_2d_create makes it
 * @render_node: as gpu_egl_open wants it
 * @images_max: as for gpu_2d_create
 * @info: what it draws with; may be NULL
 *
 * Return: the backend, or NULL with @why for people.
 */
struct gpu_backend *gpu_virgl_create(
	const struct gmem *mem, const char *render_node, unsigned images_max, struct gpu_virgl_info *info, char *why, size_t why_len);

#endif
