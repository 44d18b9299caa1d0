/* SPDX-License-Identifier: MIT */
/*
 * What the commands of `tinyvmm input` come to on the devices a VM has: whole frames, in portions small enough for a guest's reader, for which its kernel keeps 64
 * events: each is sent when the guest's driver has taken the one before, and a moment later, for the reader.
 *
 *   every command: input_play_check    -> what is wrong with it, before anything is sent
 *   every command: input_play_run      -> ops->send, ops->sleep, ops->wait, ops->shot
 *
 * Both do the same but for the sending, so what was checked is what is sent. Pixels are counted each time: a guest may change its outputs in between.
 *
 * Thread: the main thread.
 */
#ifndef VMM_INPUT_PLAY_H
#define VMM_INPUT_PLAY_H

#include "devices/input_state.h"
#include "vmm/input_script.h"

#define INPUT_PLAY_EVENTS 16 /* of one portion, more only where frames belong together: Linux keeps 64 for a reader */
#define INPUT_PLAY_EVENTS_MAX 64

/* A device of the VM, as its status says it. */
struct input_play_device {
	char name[64], type[16], layout[64]; /* layout: of a keyboard */
};

/* Each returns 0, or an error that input_play_run returns. */
struct input_play_ops {
	/* Whole frames; done when the guest's driver has taken them. */
	int (*send)(void *ctx, const char *device, const struct input_ev *ev, unsigned n);
	int (*sleep)(void *ctx, uint64_t ns);
	int (*wait)(void *ctx, const char *regex, uint64_t timeout_ns);
	int (*has_caps)(void *ctx, const char *device, bool *on); /* whether its light for Caps Lock is on */
	/* How many pixels a pointer's whole range is: the box around the outputs, side by side as the guest is told. 0 and 0: there is no display. */
	int (*box)(void *ctx, uint32_t box[2]);
	int (*shot)(void *ctx, const char *path);
};

struct typing;

struct input_play {
	/* The caller's. */
	const struct input_play_device *device;
	unsigned ndevices;
	const char *wanted; /* --device: the one to use for commands that its kind can do; NULL: the first of the kind */
	const char *layout; /* --layout; NULL: the device's */
	const struct input_play_ops *ops;
	void *ctx;

	char err[320]; /* what input_play_check found */
	bool wanted_used; /* for a command that was checked */
	/* Of input_play.c. */
	bool is_dry;
	struct typing *typing;
	const char *to;
	struct input_ev ev[INPUT_PLAY_EVENTS_MAX];
	unsigned nev, nsent; /* in ev; sent since the last pause */
};

/**
 * input_play_check - whether a command without a mistake can be done
 * Return: 0, or with p->err -EINVAL when it is wrong for this VM, -ELIBACC when this host lacks something, -ENOMEM.
 */
int input_play_check(struct input_play *p, const struct input_command *c);
/*
 * Does a command that was checked. Return: 0, what a function of ops returned, or -EINVAL with p->err: since it was checked the outputs have become smaller, or
 * are gone.
 */
int input_play_run(struct input_play *p, const struct input_command *c);
void input_play_finish(struct input_play *p); /* accepts zeroed memory */

#endif
