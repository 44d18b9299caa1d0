/* SPDX-License-Identifier: MIT */
/*
 * The display of a running VM: the graphics device and what shows its pictures, on a loop and a thread of their own, and what people ask of them.
 *
 * The main loop never waits for this thread: a request goes there as a post and comes back as one, and only then is answered. At the end it does, for a while (vm_gpu_wait).
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
#include "vmm/clock.h"
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
	struct loop_post gone; /* the last that the thread says */
	bool is_gone; /* it has come */
	bool is_stuck; /* the thread does not come back; set once, by vm_gpu_wait */
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
/* The vCPUs are gone: what was asked comes back, the device is reset, the thread ends; or it is stuck (vm_gpu_is_stuck). Accepts what has not been made. */
void vm_gpu_stop(struct vm *vm);
/* The thread has ended. */
void vm_gpu_finish(struct vm *vm);

/* A renderer that does what a guest has told it to may take for ever: how long the end of a VM waits for the display's thread each time. */
#define VM_GPU_PATIENCE_NS (5 * CLOCK_NS_PER_S)

/**
 * vm_gpu_wait - at the end of a VM, serve the main loop until something has happened that the display's thread may hold up
 *
 * When it takes longer than VM_GPU_PATIENCE_NS that is logged, the thread is stuck, and there is no more waiting for it. Nothing that it uses may be freed or finished
 * from then on: guest memory, both loops, the device. Without a display it takes as long as it takes.
 * Return: whether it has happened.
 */
bool vm_gpu_wait(struct vm *vm, bool (*has_happened)(const struct vm *vm));
bool vm_gpu_is_stuck(const struct vm *vm);

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
