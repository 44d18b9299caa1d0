/* SPDX-License-Identifier: MIT */
/*
 * The display of a running VM: the graphics device and what shows its pictures, on a loop and a thread of their own, and what people ask of them.
 *
 * The main loop never waits for this thread: a request goes there as a post and comes back as one, and only then is answered.
 *
 * Thread: the main thread, except where noted.
 */
#ifndef VMM_VM_GPU_H
#define VMM_VM_GPU_H

#include <jansson.h>
#include <pthread.h>
#include <semaphore.h>

#include "devices/gpu.h"
#include "devices/gpu_share.h"
#include "devices/gpu_virgl.h"
#include "display/display.h"
#include "vmm/control.h"
#include "vmm/loop.h"

struct config;
struct vm;
struct vm_still;

struct vm_gpu {
	struct loop loop;
	struct display display;
	struct gpu dev;
	struct gpu_share share;
	pthread_t thread;
	/* What the thread waits for: the device has its place. And what the main thread does: the renderer is there, which belongs to the thread that opens it. */
	sem_t go, opened;
	struct loop_post running;
	struct gpu_backend *backend; /* of the thread, until the device has it; NULL: there is none */
	char why[320]; /* not */
	struct gpu_virgl_info info; /* what draws; empty without 3D */
	bool has_thread, is_cancelled;
	bool is_running; /* the thread serves the loop */
	unsigned asked; /* requests, and looks until it is still, that have not come back */
	struct vm_still *stills; /* of them */
};

/* What somebody asks of the display. Made and answered on the main loop, carried out on the display's. */
struct vm_gpu_request;

/* Whether the guest's memory is to be a file that others can map: its pictures may lie there, and this host can show them without a copy. */
bool vm_gpu_shares_memory(const struct config *cfg);

/* Makes vm->gpu, or nothing where gpu.mode is "off". Return: 0 or -errno (logged). */
int vm_gpu_init(struct vm *vm);
/* The device has its place: from here on the display's loop is its thread's. Return: 0 or -errno (logged). */
int vm_gpu_start(struct vm *vm);
/* The devices have been reset: the thread ends. Requests on their way come back first. Accepts what has not been made. */
void vm_gpu_stop(struct vm *vm);
void vm_gpu_finish(struct vm *vm);

/* Return: whether the display can be asked about @scanout; else @conn has its answer. */
bool vm_gpu_can_ask(struct vm *vm, struct control_conn *conn, json_int_t scanout);

struct display_shot;

/* What answers @conn with a picture, or with why there is none: @error, what display_screenshot has returned. @shot: its descriptor is the answer's. */
void vm_gpu_answer_shot(struct control_conn *conn, unsigned scanout, int error, const struct display_shot *shot, bool base64);

/* Answers @conn, now or later. */
void vm_gpu_screenshot(struct vm *vm, struct control_conn *conn, json_int_t scanout, bool cursor, bool base64);

/* What is to be changed of an output; -1: it stays as it is. */
struct vm_gpu_change {
	json_int_t width, height, refresh; /* pixels, Hz */
	json_int_t width_mm, height_mm; /* 0: as many as make 96 dots an inch */
	int enabled;
};

/* Changes output @scanout, and answers @conn with how all of them are then. */
void vm_gpu_outputs(struct vm *vm, struct control_conn *conn, json_int_t scanout, const struct vm_gpu_change *change);

/* The connection of a request has ended: nobody waits for it any more. */
void vm_gpu_forget(struct vm_gpu_request *r);

/* How the guest's blobs were shown, into the result. Nothing where there is no display. */
void vm_gpu_report(const struct vm *vm);

/* {"flushes": 1, ...}; the caller owns it. NULL: there is no display. */
json_t *vm_gpu_stats(const struct vm *vm);
/* What the display is, as display.type names it; "off": there is none. Pictures of 2D are no "egl-headless", whatever was asked for. */
const char *vm_gpu_display(const struct vm *vm);
/* Why pictures do not leave as dma-bufs, for people; empty: they do, or would. Thread: any. */
const char *vm_gpu_no_export(const struct vm *vm);

#endif
