/* SPDX-License-Identifier: MIT */
/*
 * The library virglrenderer at work: opened on a render node or in software, with the contexts of OpenGL that it asks for, its fences, and whether the GPU under it was reset. What a guest does with
 * it is gpu_virgl.c's.
 *
 * The library's own thread waits for the GPU and makes the poll descriptor readable.
 *
 * Thread: the one that opened it.
 */
#ifndef DEVICES_VIRGL_NODE_H
#define DEVICES_VIRGL_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/gpu_backend.h"
#include "devices/gpu_egl.h"

/* Zeroed memory is none. */
struct virgl_node {
	struct gpu_backend *backend; /* its fences, sets of capabilities, descriptor and losses are this one's */
	struct gpu_egl egl;
	uint64_t last_fence;
	bool is_open;
	bool has_begun; /* the library has had a context; before that it asks for versions there may not be */
	bool lacks_context; /* it wanted one that there is not, and was given the reserve */
	bool is_lost; /* the GPU was reset: nothing draws before all is opened again */
};

/**
 * virgl_node_open - the library has a guest
 * @b: whose it is
 * @want: as gpu_egl_open has it
 *
 * A context of the library's is current afterwards. Return: whether it works; else @why for people, and nothing of it is left.
 */
bool virgl_node_open(struct virgl_node *n, struct gpu_backend *b, const char *want, char *why, size_t why_len);
/* The guest has no resources and contexts there any more. Does nothing when it is not open. */
void virgl_node_close(struct virgl_node *n);

/* The descriptor is readable. */
void virgl_node_poll(struct virgl_node *n);

/* A fence behind all that was drawn, in the context that has drawn last; b->retired says when that is done. Return: 0 or -errno. */
int virgl_node_fence(struct virgl_node *n, uint64_t *fence);

/* The library has done something for the guest's context @ctx, and @r came of it. Return: @r, or what it is when the host had no context of OpenGL for it: then the guest's is no more. */
int virgl_node_ended(struct virgl_node *n, uint32_t ctx, int r);

#endif
