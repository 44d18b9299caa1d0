/* SPDX-License-Identifier: MIT */
#include "vmm/x86_ports.h"

#include <string.h>

#include "boot/x86_layout.h"

static bool is_within(uint16_t port, uint16_t base, uint16_t count)
{
	return port >= base && port - base < count;
}

void x86_ports_in(const struct x86_ports *p, uint16_t port, void *dst, uint32_t len)
{
	uint32_t value = 0xffffffff;

	if (p->serial && is_within(port, X86_PORT_SERIAL, SERIAL_PORTS)) {
		value = serial_in(p->serial, port - X86_PORT_SERIAL, len);
	} else if (p->exit_port && is_within(port, X86_PORT_EXIT, EXIT_PORT_PORTS)) {
		value = exit_port_in(p->exit_port, port - X86_PORT_EXIT, len);
	} else if (p->pvpanic && is_within(port, X86_PORT_PVPANIC, PVPANIC_PORTS)) {
		value = pvpanic_in(p->pvpanic, port - X86_PORT_PVPANIC, len);
	} else if (p->ged && is_within(port, X86_PORT_EVENTS, GED_PORTS)) {
		value = ged_in(p->ged, port - X86_PORT_EVENTS, len);
	} else if (port == X86_PORT_SLEEP_CONTROL || port == X86_PORT_SLEEP_STATUS) {
		value = 0;
	} else if (port == X86_PORT_I8042) {
		/* "Input buffer empty", which a reset through this port waits for, and "output buffer full" for ever, by which a
		 * driver sees at once that there is no controller. */
		value = 0xfd;
	}
	memcpy(dst, &value, len);
}

bool x86_ports_out(const struct x86_ports *p, uint16_t port, const void *src, uint32_t len)
{
	uint32_t value = 0;

	memcpy(&value, src, len);
	if (p->serial && is_within(port, X86_PORT_SERIAL, SERIAL_PORTS)) {
		return serial_out(p->serial, port - X86_PORT_SERIAL, value, len);
	}
	if (p->exit_port && is_within(port, X86_PORT_EXIT, EXIT_PORT_PORTS)) {
		exit_port_out(p->exit_port, port - X86_PORT_EXIT, value, len);
	} else if (p->pvpanic && is_within(port, X86_PORT_PVPANIC, PVPANIC_PORTS)) {
		pvpanic_out(p->pvpanic, port - X86_PORT_PVPANIC, value, len);
	} else if (port == X86_PORT_SLEEP_CONTROL) {
		if ((value & X86_SLEEP_ENABLE) && (value >> 2 & 7) == X86_SLEEP_TYPE_S5) {
			p->power_off(p->ctx);
		}
	} else if ((port == X86_PORT_RESET && (value & 0xff) == X86_RESET_VALUE) ||
		(port == X86_PORT_I8042 && (value & 0xff) == X86_I8042_RESET)) {
		p->reset(p->ctx);
	}
	return true;
}
