/* SPDX-License-Identifier: MIT */
/* How a viewer's connection ends, and when it is tried again. Knows no SDL. */
#include <errno.h>

#include "display/view_sdl_priv.h"
#include "vmm/clock.h"

static void forget_monitor(struct app *a)
{
	a->retry_ns = a->gives_up_ns = 0;
	a->said_imports = false;
	for (unsigned i = 0; i < VIEW_SCANOUTS_MAX; i++) {
		a->at[i].is_dirty = a->at[i].window;
		a->at[i].is_new = false;
	}
	view_reconnected(&a->view);
}

bool view_link_try(struct app *a, uint64_t now)
{
	int fd;

	if (!a->retry_ns || now < a->retry_ns) {
		return false;
	}
	fd = view_conn_connect(a->o->socket);
	if (fd >= 0) {
		view_conn_init(&a->conn, fd, VIEW_CLIENT_NAME, a->o->observes);
		forget_monitor(a);
	} else if (a->gives_up_ns && now >= a->gives_up_ns) {
		view_stop(a, VIEW_EXIT_FAILED, fd == -EAGAIN ? "the VM takes no viewers: its monitor is stopped" : "the VM has gone and did not come back");
	} else {
		a->retry_ns = now + VIEW_RETRY_NS;
	}
	return fd >= 0;
}

void view_link_begin(struct app *a, uint64_t now)
{
	a->gives_up_ns = a->o->waits ? 0 : now + VIEW_RESTART_NS;
	a->retry_ns = now;
}

static void disconnected(struct app *a, bool for_ever)
{
	uint64_t now = clock_now_ns();

	view_conn_finish(&a->conn);
	forget_monitor(a);
	a->gives_up_ns = for_ever ? 0 : now + VIEW_RESTART_NS;
	a->retry_ns = now + VIEW_RETRY_NS;
}

void view_link_ended(struct app *a)
{
	switch (a->conn.end) {
	case VIEW_GOES_ON:
		return;
	case VIEW_END_VM:
		if (a->o->waits) {
			disconnected(a, true);
		} else {
			view_stop(a, VIEW_EXIT_ENDED, NULL);
		}
		return;
	case VIEW_END_RESTART:
		if (a->o->socket) {
			disconnected(a, a->o->waits);
		} else {
			view_conn_again(&a->conn, VIEW_CLIENT_NAME, a->o->observes);
			forget_monitor(a);
		}
		return;
	case VIEW_END_LOST:
		if (a->o->socket) {
			disconnected(a, a->o->waits);
			return;
		}
		break;
	default:
		break;
	}
	view_stop(a, VIEW_EXIT_FAILED, "%s", a->conn.why);
}
