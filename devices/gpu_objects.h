/* SPDX-License-Identifier: MIT */
/*
 * What a context has made within itself by its submissions: contexts in it, objects, and what is bound. A resource that one of these is made of stays in the renderer's memory when the guest gives
 * it up, or is unbound then where the renderer would not keep it; so what it costs is kept here until none of them has it (struct gpu_charge). A few thousand are part of what a context costs; each more costs GPU_OBJECT_COST, and what is described at
 * length, as shaders are, costs that.
 *
 * A submission is followed before the renderer has it. What it adds is there from then on; what it takes away goes when the renderer says that all of it was done. After one that failed nobody knows
 * how much of it was: nothing that the context has goes any more before the context does. So never less is kept than the renderer has.
 *
 * What is bound says as well which textures a submission draws in, for pictures that somebody looks at (gpu_direct.h).
 *
 * Thread: the device's loop.
 */
#ifndef DEVICES_GPU_OBJECTS_H
#define DEVICES_GPU_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/gpu_table.h"

#define GPU_OBJECTS_MAX 65536u /* that a context has, things that are bound included */
#define GPU_OBJECTS_FREE 2048u /* of these: in what the context costs */
#define GPU_OBJECT_COST 128 /* bytes of the budget for each that is not */
#define GPU_OBJECT_WORDS_FREE 64u /* that describe one */
#define GPU_SUB_CONTEXTS_MAX 64 /* that a context may make within itself, besides its first; each costs GPU_CONTEXT_COST */
#define GPU_OBJECT_BUCKETS 1024u
#define GPU_OBJECT_STEPS_MAX (64u << 20) /* of following a submission; Mesa's longest, 256 KiB, take a few million at the most. A guest can choose numbers that are all in one bucket */

struct gpu;
struct gpu_charge;
struct gpu_object;

/* Zeroed memory is that of a new context. */
struct gpu_objects {
	struct gpu_object *bucket[GPU_OBJECT_BUCKETS];
	struct gpu_object *gone; /* taken away by the submission that is on its way */
	struct gpu_object *kept; /* as much as is known, by one that failed or came after that */
	unsigned n, nsubs; /* those included */
	uint32_t sub, sub_before; /* the context within that submissions are about; before the one that is on its way */
	uint64_t submission; /* that one's number */
	uint64_t nsteps; /* that it took to follow it */
	bool is_unsure; /* one has failed */
	bool draws_anywhere; /* the submission that is on its way: it may draw in whatever the context has */
};

/**
 * gpu_objects_follow - a submission is about to be carried out
 * @attached: the resources that the context may use, by number
 * @words: @n of them, commands that are whole
 * @mark: other than any before: what textures it may draw in is marked with that (gpu_charge.drawn), or o->draws_anywhere is set; 0: nobody asks
 *
 * Return: false when there is no memory for what it makes (reported), there are too many, or looking for them takes too long; then all is as before, and it is not to be carried out. Else gpu_objects_done or
 * gpu_objects_undo follows.
 */
bool gpu_objects_follow(struct gpu *g, struct gpu_objects *o, struct gpu_table *attached, const uint32_t *words, uint32_t n, uint64_t mark);

/* It has not been carried out: all but the marks is as before. */
void gpu_objects_undo(struct gpu *g, struct gpu_objects *o);

/* It has been. @is_whole: all of it was done. */
void gpu_objects_done(struct gpu *g, struct gpu_objects *o, bool is_whole);

/*
 * The resource with that charge is about to go. Places that the renderer keeps a resource at when its number is given up are left; at others (uniforms, buffers, images and counters of shaders) it is unbound. @ctx: the context's number.
 * The charge has more references than these.
 */
void gpu_objects_unbind(struct gpu *g, struct gpu_objects *o, uint32_t ctx, const struct gpu_charge *charge);

/* The context is no more. */
void gpu_objects_finish(struct gpu *g, struct gpu_objects *o);

#endif
