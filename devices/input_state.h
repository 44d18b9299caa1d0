/* SPDX-License-Identifier: MIT */
/*
 * What is held down on an input device: keys, switches, axes, touches. A plain value that follows a stream of events, and the events that lead from one
 * such value to another. It is what makes a lost event harmless: whoever lost some sends the difference.
 *
 * Thread: any; no shared state.
 */
#ifndef DEVICES_INPUT_STATE_H
#define DEVICES_INPUT_STATE_H

#include "devices/input_desc.h"

#define INPUT_SLOTS_MAX 32
#define INPUT_MT_AXES (ABS_MT_TOOL_Y - ABS_MT_SLOT + 1)

/* One event, as <linux/input.h> has it without the time. */
struct input_ev {
	uint16_t type, code;
	int32_t value;
};

/* Starts as a fresh device in the guest's kernel does: everything up, axes at 0, no touch. */
struct input_state {
	uint8_t key[KEY_CNT / 8], sw[(SW_CNT + 7) / 8];
	int32_t abs[ABS_CNT];
	unsigned nslots, slot; /* the slot that multitouch events go to; not below nslots: they are not followed */
	int32_t mt[INPUT_SLOTS_MAX][INPUT_MT_AXES]; /* by code - ABS_MT_SLOT; the tracking id is -1 where nothing touches */
};

void input_state_init(struct input_state *s, const struct input_desc *desc);
/* Follows one event. Codes and values of any kind are harmless; SYN and what leaves no state (REL, MSC, REP, autorepeat) do nothing. */
void input_state_apply(struct input_state *s, const struct input_ev *ev);
bool input_state_has_key(const struct input_state *s, unsigned code);
bool input_state_any_key(const struct input_state *s);
/* Every key up and every touch ended; axes and switches as they are. */
void input_state_release(struct input_state *s);

/* Whether an axis of multitouch, of which each slot has its own. ABS_MT_SLOT is none. */
bool input_is_mt(unsigned code);

/**
 * input_find_detour - a place to go by on the way to @to
 *
 * The guest's kernel takes what is within twice an axis' fuzz of where that is for noise, so that it would stay near to where it was; and where it is may be off by the fuzz from @from, by the noise it
 * has seen before. Return: false when none is needed, or the axis is too short for one.
 */
bool input_find_detour(const struct input_axis *axis, int32_t from, int32_t to, int32_t *detour);

/* Room for any difference, with its SYN_REPORT. */
#define INPUT_DIFF_MAX (KEY_CNT + SW_CNT + 2 * ABS_CNT + INPUT_SLOTS_MAX * (2 * INPUT_MT_AXES + 2) + 2)

/**
 * input_state_diff - the frame that leads from @from to @to
 * @ev: room for INPUT_DIFF_MAX
 *
 * Only what @desc can send. An axis with fuzz goes by another place where its way is so short that the guest's kernel would take it for noise: it ends up exactly where it should. Releases come before presses. A slot whose tracking id changed from one touch to another is ended and begun anew.
 * Return: number of events, the last a SYN_REPORT; 0 when nothing differs.
 */
unsigned input_state_diff(const struct input_desc *desc, const struct input_state *from, const struct input_state *to, struct input_ev *ev);

#endif
