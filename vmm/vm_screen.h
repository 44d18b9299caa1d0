/* SPDX-License-Identifier: MIT */
/*
 * What the main loop hears of a running VM's display: that there is a frame, for those who wait for one, and whether the screen is as [expect] wants it.
 *
 * Nothing is heard while nobody waits: the display's thread counts frames, and says so once when it was asked to (vm_screen.news).
 *
 * Thread: the main thread, except where noted.
 */
#ifndef VMM_VM_SCREEN_H
#define VMM_VM_SCREEN_H

#include "display/still.h"
#include "vmm/loop.h"
#include "vmm/screen.h"

struct vm;

struct vm_screen {
	struct vm *vm; /* NULL: not in use */
	uint64_t frames[DISPLAY_SCANOUTS_MAX]; /* atomic; written by the display's thread */
	uint64_t first_ns; /* atomic: when the first of them was */
	bool is_armed; /* atomic: somebody wants to hear of the next one */
	bool has_news; /* atomic: news is on its way to the main loop */
	struct loop_post news;
	/* [expect] screen: while is_looking, the first five belong to the display's thread. */
	struct display_still still; /* not in use unless it is to be still; and always that thread's */
	struct screen screen;
	bool is_seen;
	uint64_t again_ns;
	bool is_saved; /* there is a last picture */
	bool is_looking, is_expected;
	bool looks_again; /* a look was wanted during one */
	char why[120]; /* what the last look missed, for people */
	uint64_t looked_ns;
	struct loop_post look;
	struct loop_timer again, first_frame;
};

/* Before the display's thread runs; @expect: [expect] counts. Return: 0 or -errno (logged). */
int vm_screen_init(struct vm *vm, bool expect);
/* The display's thread has ended. Accepts what has not been made. */
void vm_screen_finish(struct vm *vm);
/* Whether a post of the screen's is still on its way to the main loop. */
bool vm_screen_is_busy(const struct vm *vm);
/* No more looks. */
void vm_screen_stop(struct vm *vm);

uint64_t vm_screen_frames(const struct vm *vm, unsigned scanout);
/* vm_control_frame is called when there is a new frame, or soon. */
void vm_screen_watch(struct vm *vm);
/* What of [expect] the screen has not shown, for people. Return: false when it has, or nothing is expected. */
bool vm_screen_missing(const struct vm *vm, char *buf, size_t len);

/* A last picture of a VM that did not do what it should have, into the files the options name, and into the result. The display's thread still runs. */
void vm_screen_save(struct vm *vm);
/* What the end means is known now: if all is well after all, there is no last picture. */
void vm_screen_judged(struct vm *vm);

#endif
