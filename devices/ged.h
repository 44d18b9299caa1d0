/* SPDX-License-Identifier: MIT */
/*
 * The registers behind ACPI's generic event device: what has happened (power button, a device came), and which devices are there. The AML of
 * boot/x86_acpi.c reads them.
 *
 * While something has happened that the guest has not read, the interrupt line is high. So nothing is lost that happens before the guest's driver is
 * there, or while it handles something else; an edge would be.
 *
 * A guest whose devices are all there at its start has no use for the registers and no line that must be lowered: then the line is an edge, and the
 * button is all it can mean.
 *
 * Thread: any; a lock of its own, which is held while @line is called.
 * Spec: ACPI 6.5, 5.6.9 "Interrupt-signaled ACPI events".
 */
#ifndef DEVICES_GED_H
#define DEVICES_GED_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define GED_PORTS 8
#define GED_EVENTS 0 /* 32 bits; reading takes them */
#define GED_PRESENT 4 /* 32 bits */

struct ged {
	void (*line)(void *ctx, bool high); /* the interrupt line; must not call back */
	void *ctx;
	bool has_registers; /* set before the guest runs */
	pthread_mutex_t lock; /* guards the rest */
	uint32_t events, present;
};

void ged_init(struct ged *g, void (*line)(void *ctx, bool high), void *ctx);
void ged_finish(struct ged *g); /* accepts zeroed memory */

/* @event, a bit, has happened. */
void ged_raise(struct ged *g, uint32_t event);
/* The device whose bit is @device is there from now on, and that is an event of the same bit. Needs the registers. */
void ged_add_device(struct ged *g, uint32_t device);

/* Anything but the whole register reads as ones; writes do nothing. */
uint32_t ged_in(struct ged *g, uint32_t off, uint32_t len);

#endif
