/* SPDX-License-Identifier: MIT */
/*
 * pvpanic: one I/O port through which a guest kernel says that it panicked (ACPI id QEMU0001).
 * Reading gives the events that exist, writing reports one.
 *
 * Thread: vCPU threads; no state changes, so there is no lock.
 * Spec: QEMU docs/specs/pvpanic "PVPANIC DEVICE".
 */
#ifndef DEVICES_PVPANIC_H
#define DEVICES_PVPANIC_H

#include <stdint.h>

#define PVPANIC_PORT  0x505
#define PVPANIC_PORTS 1

enum pvpanic_event {
	PVPANIC_PANICKED = 1,     /* the guest is dead */
	PVPANIC_CRASH_LOADED = 2, /* it panicked and starts a crash kernel: it goes on */
};

struct pvpanic {
	void (*on_event)(void *ctx, enum pvpanic_event event);
	void *ctx;
};

/* @on_event: called on the vCPU thread, once for each event of each write, as often as the guest
 * likes. */
void pvpanic_init(
	struct pvpanic *p, void (*on_event)(void *ctx, enum pvpanic_event event), void *ctx);

uint32_t pvpanic_in(struct pvpanic *p, uint32_t off, uint32_t len);
void pvpanic_out(struct pvpanic *p, uint32_t off, uint32_t val, uint32_t len);

#endif
