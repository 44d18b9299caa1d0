/* SPDX-License-Identifier: MIT */
/*
 * Copies of what scanouts show that the GPU makes, for sinks that take them instead of memory to map (display.h, display_publish).
 *
 *   flush -> the GPU copies into a picture nobody looks at -> its fence is passed -> published -> sinks -> let go of: may be copied into again
 *
 * One copy of a scanout is on its way at a time; what is flushed meanwhile is in the next one, which follows at once. So a guest that flushes faster than its GPU copies costs no more than that,
 * its last flush is always seen, and no picture is seen half drawn: what guests draw into is not what sinks get. A scanout has as many copies as there are who hold one, and two.
 *
 * The first copy after somebody has come is of what is there then, which a guest that paints in place may be painting.
 *
 * Copies lie as their driver likes it; where one of those who get them can import none like that, in rows.
 *
 * What cannot be copied (no memory for it, no driver that gives such buffers) is read back for everybody, until what is shown has another size or somebody else comes or goes.
 *
 * Thread: the device's loop.
 */
#ifndef DEVICES_GPU_COPY_H
#define DEVICES_GPU_COPY_H

#include "devices/gpu_priv.h"

/* Scanout @i shows another resource, or another part of one. */
void gpu_copy_shown(struct gpu *g, unsigned i);
/* What it shows has changed, and the display has been told. */
void gpu_copy_flushed(struct gpu *g, unsigned i);
/* All that came before @fence is done. */
void gpu_copy_retired(struct gpu *g, uint64_t fence);
/* The display's sink that paces is about to get copies, too: makes one, where they can be made. */
void gpu_copy_take_over(struct gpu *g, unsigned i);
/* There are none, and nothing is known of them. */
void gpu_copy_forget(struct gpu *g, unsigned i);
/* display_set_wanted. */
void gpu_copy_wanted(struct gpu *g, unsigned i);

#endif
