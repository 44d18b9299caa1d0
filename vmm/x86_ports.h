/* SPDX-License-Identifier: MIT */
/*
 * The I/O ports of an x86 guest: which device answers where, and the few ports that are no device: sleep, reset.
 * A port nobody has reads as all ones and swallows writes, as an empty bus does.
 *
 * Thread: vCPU threads. The structure does not change while they run.
 */
#ifndef VMM_X86_PORTS_H
#define VMM_X86_PORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/exit_port.h"
#include "devices/ged.h"
#include "devices/pvpanic.h"
#include "devices/serial.h"

struct x86_ports {
	/* NULL: not there */
	struct serial *serial;
	struct exit_port *exit_port;
	struct pvpanic *pvpanic;
	struct ged *ged;
	void (*power_off)(void *ctx); /* the guest entered S5 */
	void (*reset)(void *ctx); /* the guest used the reset register or the keyboard controller's reset */
	void *ctx;
};

/* @len is 1, 2 or 4. x86_ports_out returns false when the port has no room and nothing was done (serial_out). */
void x86_ports_in(const struct x86_ports *p, uint16_t port, void *dst, uint32_t len);
bool x86_ports_out(const struct x86_ports *p, uint16_t port, const void *src, uint32_t len);

#endif
