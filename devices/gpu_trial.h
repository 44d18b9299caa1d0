/* SPDX-License-Identifier: MIT */
/* Whether what calls itself OpenGL draws: some drivers are found out only by that, and a few end the process, for a processor or GPU that they do not know. */
#ifndef DEVICES_GPU_TRIAL_H
#define DEVICES_GPU_TRIAL_H

#include <stddef.h>

/**
 * gpu_trial_draw - draw a triangle with a program for it, and read it back
 * @render_node: as gpu_egl_open wants it
 *
 * Return: 0, or -errno with @why for people. It may not return at all: to be called in a process of its own (vmm/gpu_info.h). Thread: any.
 */
int gpu_trial_draw(const char *render_node, char *why, size_t why_len);

#endif
