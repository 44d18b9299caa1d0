/* SPDX-License-Identifier: MIT */
/* A mask to read and a call per event bit written. Unknown bits are ignored, as the interface asks.
 */
#include "devices/pvpanic.h"

#include <assert.h>

void pvpanic_init(
	struct pvpanic *p, void (*on_event)(void *ctx, enum pvpanic_event event), void *ctx)
{
	assert(on_event);
	*p = (struct pvpanic){.on_event = on_event, .ctx = ctx};
}

uint32_t pvpanic_in(struct pvpanic *p, uint32_t off, uint32_t len)
{
	(void)p;
	(void)len;
	return off == 0 ? PVPANIC_PANICKED | PVPANIC_CRASH_LOADED : 0;
}

void pvpanic_out(struct pvpanic *p, uint32_t off, uint32_t val, uint32_t len)
{
	(void)len;
	if (off != 0) {
		return;
	}
	if (val & PVPANIC_PANICKED) {
		p->on_event(p->ctx, PVPANIC_PANICKED);
	}
	if (val & PVPANIC_CRASH_LOADED) {
		p->on_event(p->ctx, PVPANIC_CRASH_LOADED);
	}
}
