/* SPDX-License-Identifier: MIT */
#include "devices/ged.h"

#include <assert.h>

void ged_init(struct ged *g, void (*line)(void *ctx, bool high), void *ctx)
{
	*g = (struct ged){.line = line, .ctx = ctx};
	pthread_mutex_init(&g->lock, NULL);
}

void ged_finish(struct ged *g)
{
	if (g->line) {
		pthread_mutex_destroy(&g->lock);
	}
	*g = (struct ged){.line = NULL};
}

static void post(struct ged *g, uint32_t event)
{
	g->line(g->ctx, true);
	if (g->has_registers) {
		g->events |= event;
	} else {
		g->line(g->ctx, false);
	}
}

void ged_raise(struct ged *g, uint32_t event)
{
	pthread_mutex_lock(&g->lock);
	post(g, event);
	pthread_mutex_unlock(&g->lock);
}

void ged_add_device(struct ged *g, uint32_t device)
{
	assert(g->has_registers);
	pthread_mutex_lock(&g->lock);
	g->present |= device;
	post(g, device);
	pthread_mutex_unlock(&g->lock);
}

uint32_t ged_in(struct ged *g, uint32_t off, uint32_t len)
{
	uint32_t value = UINT32_MAX;

	if (len != 4) {
		return value;
	}
	pthread_mutex_lock(&g->lock);
	if (off == GED_PRESENT) {
		value = g->present;
	} else if (off == GED_EVENTS) {
		value = g->events;
		g->events = 0;
		g->line(g->ctx, false);
	}
	pthread_mutex_unlock(&g->lock);
	return value;
}
