/* SPDX-License-Identifier: MIT */
/* The first write wins: vCPUs may race to it. */
#include "devices/exit_port.h"

#include <assert.h>

void exit_port_init(
	struct exit_port *p, bool isa_debug, void (*on_exit)(void *ctx, uint8_t code), void *ctx)
{
	assert(on_exit);
	*p = (struct exit_port){.isa_debug = isa_debug, .on_exit = on_exit, .ctx = ctx};
}

uint32_t exit_port_in(struct exit_port *p, uint32_t off, uint32_t len)
{
	(void)p;
	(void)off;
	(void)len;
	return 0;
}

void exit_port_out(struct exit_port *p, uint32_t off, uint32_t val, uint32_t len)
{
	(void)len;
	if (off != 0 || __atomic_exchange_n(&p->used, true, __ATOMIC_RELAXED)) {
		return;
	}
	p->on_exit(p->ctx, (uint8_t)(p->isa_debug ? val << 1 | 1 : val));
}
