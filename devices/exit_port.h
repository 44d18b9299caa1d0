/* SPDX-License-Identifier: MIT */
/*
 * The exit port: a write to it ends the VM with an exit code that the guest chooses. Off unless
 * configured. Test kernels made for QEMU's isa-debug-exit expect (value << 1) | 1.
 *
 * Thread: vCPU threads; it has one atomic flag and no lock.
 */
#ifndef DEVICES_EXIT_PORT_H
#define DEVICES_EXIT_PORT_H

#include <stdbool.h>
#include <stdint.h>

#define EXIT_PORT_BASE  0xf4
#define EXIT_PORT_PORTS 4

struct exit_port {
	bool isa_debug;
	bool used;
	void (*on_exit)(void *ctx, uint8_t code);
	void *ctx;
};

/* @isa_debug: the exit code is (value << 1) | 1 instead of the value's low byte.
 * @on_exit: called once, on the vCPU thread of the first write. */
void exit_port_init(
	struct exit_port *p, bool isa_debug, void (*on_exit)(void *ctx, uint8_t code), void *ctx);

uint32_t exit_port_in(struct exit_port *p, uint32_t off, uint32_t len); /* 0 */
/* Only a write to the first port counts. Later writes do nothing. */
void exit_port_out(struct exit_port *p, uint32_t off, uint32_t val, uint32_t len);

#endif
