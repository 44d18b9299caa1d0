/* SPDX-License-Identifier: MIT */
/*
 * OpenGL without a screen: an EGL display on a DRM render node, or in software without one. EGL and GBM are loaded when it is opened: a program that never does maps neither.
 *
 * Thread: the one that opened it, except gpu_egl_make_current.
 */
#ifndef DEVICES_GPU_EGL_H
#define DEVICES_GPU_EGL_H

#include <stdbool.h>
#include <stddef.h>

struct gpu_egl_api;

struct gpu_egl {
	const struct gpu_egl_api *api; /* NULL: not open */
	int fd; /* the render node; -1: there is none */
	void *gbm, *display;
	void *base; /* the context that all others share with; current on the thread */
	bool tells_reset; /* contexts are made so that they say when the GPU was reset */
	unsigned (*reset_status)(void); /* by this; NULL: they do not */
	void *reserve; /* one to draw in where nothing that is drawn matters: when there is no other */
	char node[64]; /* "/dev/dri/renderD128", or "surfaceless" */
	char driver[32]; /* the kernel's, of the node */
	char renderer[128], version[64]; /* as OpenGL says them */
};

/* @want: as gpu_node_find has it, or "surfaceless": no render node, software. Of several nodes it is the first that draws, by a GPU where there is one. Return: 0, or -errno with @why, and what would cure it, for
 * people. */
int gpu_egl_open(struct gpu_egl *e, const char *want, char *why, size_t why_len);
void gpu_egl_close(struct gpu_egl *e); /* accepts zeroed memory */

/* A context that shares with the base, of this version of OpenGL's core profile or a later one. Return: NULL when there is none. */
void *gpu_egl_create_context(struct gpu_egl *e, int major, int minor);
void gpu_egl_destroy_context(struct gpu_egl *e, void *context);
/* On the calling thread; NULL: none. Thread: any. */
bool gpu_egl_make_current(struct gpu_egl *e, void *context);

/* Whether OpenGL's name of what draws is that of the processor. */
bool gpu_egl_is_software(const char *renderer);

/* Whether the GPU was reset, so that all that was made of contexts is lost; they do nothing any more. One of them is current on the thread. */
bool gpu_egl_is_lost(struct gpu_egl *e);

/* For tests: from now on no context is made. */
void gpu_egl_set_test_no_contexts(bool none);
/* For tests: whether it is. */
void gpu_egl_set_test_lost(bool is_lost);

/* A function of OpenGL's or EGL's, or, where there is a render node, of GBM's ("gbm_..."). @to: the pointer to it. Return: whether there is one. */
bool gpu_egl_load(struct gpu_egl *e, const char *name, void *to);

#endif
