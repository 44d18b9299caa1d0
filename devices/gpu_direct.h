/* SPDX-License-Identifier: MIT */
/*
 * What a guest draws in, sent to the viewer that paces without a copy (display.h, display_offer).
 *
 *   flush -> what was drawn is there (a fence) -> on offer -> taken -> let go of
 *
 * The picture is the guest's own, and nothing in the protocol keeps a guest from drawing in it again: Linux waits for the answer to a flush only with its dumb buffers and blobs. So from the flush to
 * where the viewer lets go of it the picture is held, and a command that might draw in it waits, and with it all that come behind it on the control queue:
 *
 *   a transfer to it;
 *   a submission that draws in it, by what is bound when it does (gpu_objects.h); one that nobody can tell of, in a context it is attached to, too.
 *
 * A command waits GPU_DIRECT_WAIT_NS at most: then the viewer was late, and gets copies (gpu_copy.h). What was still to be sent, and may be drawn in now, is not sent any more. Pointers and the answers to what came
 * before go on.
 *
 * Which scanouts: those whose guest has flushed another texture than before for GPU_DIRECT_FLIPS times, while the viewer let go of as many frames as GPU_DIRECT_PROMPT says at once, or, once it was late,
 * GPU_DIRECT_PROMPT_AGAIN. All others are copied, and so is a scanout whose guest flushes one texture GPU_DIRECT_SAME times more: waiting for the viewer with each of its pictures would cost it more than the copy.
 * Fewer times say nothing: weston flushes what it shows once more when there was nothing to draw.
 * GPU_DIRECT_ALWAYS asks for neither, and lets late viewers have what is half drawn.
 *
 * Thread: the device's loop.
 */
#ifndef DEVICES_GPU_DIRECT_H
#define DEVICES_GPU_DIRECT_H

#include "devices/gpu_priv.h"

#define GPU_DIRECT_WAIT_NS 40000000u
#define GPU_DIRECT_FLIPS 4
#define GPU_DIRECT_SAME 4
#define GPU_DIRECT_PROMPT 8
#define GPU_DIRECT_PROMPT_AGAIN 256

void gpu_direct_init(struct gpu *g, enum gpu_direct_way way);
/* No command waits any more. Accepts zeroed memory. */
void gpu_direct_end_wait(struct gpu *g);

/* What scanout @i shows, with a resource, has changed, and the display has been told. Before gpu_copy_flushed. */
void gpu_direct_flushed(struct gpu *g, unsigned i);
/* All that came before @fence is done. */
void gpu_direct_retired(struct gpu *g, uint64_t fence);
/* Scanout @i shows nothing any more. */
void gpu_direct_forget(struct gpu *g, unsigned i);
/* The resource is about to go; its number may be another one's soon. */
void gpu_direct_unref(struct gpu *g, uint32_t id);
/* display_set_wanted, for what is direct. */
void gpu_direct_wanted(struct gpu *g, unsigned i);

/* Whether a command that draws in resource @id is to wait; then it is to be carried out later: g->again comes. */
bool gpu_direct_must_wait(struct gpu *g, uint32_t id);
/* One that draws in those of @attached that are marked with @mark; 0: in any. */
bool gpu_direct_must_wait_for(struct gpu *g, struct gpu_table *attached, uint64_t mark);
/* Whether any of @attached is held, so that it is to be known what is drawn in. */
bool gpu_direct_holds(const struct gpu *g, struct gpu_table *attached);
/* A command of the control queue did not have to. */
void gpu_direct_went(struct gpu *g);

#endif
