/* SPDX-License-Identifier: MIT */
/*
 * 3D commands: contexts, textures, transfers, submissions. As in gpu_cmd.c all of it is checked here; how a submission draws is for the renderer to check. What a context makes within itself by its
 * submissions is followed (gpu_objects.h).
 *
 * Spec: virtio v1.3, 5.7.6.9 "Device Operation: controlq (3d)". Thread: the device's loop.
 */
#ifndef DEVICES_GPU_3D_H
#define DEVICES_GPU_3D_H

#include "devices/gpu_priv.h"

#define GPU_CONTEXTS_MAX 256
#define GPU_CONTEXT_COST (1u << 20) /* bytes of the budget for one: about what Mesa keeps for it */
#define GPU_ATTACHED_COST 128 /* for a resource that is attached to one */
#define GPU_SUBMIT_MAX (16u << 20) /* bytes */
#define GPU_TEXTURE_SIZE_MAX 16384u /* pixels */
#define GPU_TEXTURE_LAYERS_MAX 2048u
#define GPU_TEXTURE_LEVELS_MAX 15u
#define GPU_TEXTURE_SAMPLES_MAX 32u

extern const struct gpu_command_info gpu_3d_commands[];
extern const size_t gpu_3d_ncommands;

/* @res is about to go: it is attached to nothing. */
void gpu_3d_forget_resource(struct gpu *g, const struct gpu_resource *res);
/* Contexts, and those within them. */
unsigned gpu_3d_contexts(const struct gpu *g);
/* All contexts end. */
void gpu_3d_reset(struct gpu *g);

#endif
