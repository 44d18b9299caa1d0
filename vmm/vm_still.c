/* SPDX-License-Identifier: MIT */
#include "vmm/vm_still.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "display/screenshot.h"
#include "display/still.h"
#include "vmm/clock.h"
#include "vmm/vm_priv.h"

struct vm_still {
	struct vm *vm;
	struct control_conn *conn; /* NULL: nobody waits any more */
	struct vm_still *next; /* of all that have not been freed */
	bool is_forgotten; /* the display's thread has been told, and says when it has heard */
	uint64_t outside; /* atomic; written by the display's thread: of a screen that the region is not in, width << 32 | height; else 0 */
	struct loop_post there, forget; /* each goes to the display's loop and comes back at most once */
	/* The display's thread's, between there and back. */
	struct display_still still;
	struct loop_timer due;
	struct vm_still_want want;
	uint64_t still_ns;
	bool is_done; /* it is on its way back, or nobody wants it */
	uint64_t frame;
	int error;
	struct display_shot shot; /* its descriptor is closed with it; -1: none */
};

/*
 * On the display's thread.
 */

static void on_back(struct loop_post *post);
static void on_forgotten(struct loop_post *post);

static void finish(struct vm_still *s)
{
	s->is_done = true;
	loop_timer_stop(&s->due);
	display_still_finish(&s->still);
}

static void on_due(struct loop_timer *timer)
{
	struct vm_still *s = (struct vm_still *)((char *)timer - offsetof(struct vm_still, due));
	uint64_t now = clock_now_ns(), again;

	if (display_still_for(&s->still, s->still_ns, now, &again) && display_still_holds(&s->still)) {
		s->frame = s->vm->gpu->display.scanout[s->still.scanout].frames;
		s->error = s->want.picture ? display_screenshot(&s->vm->gpu->display, s->still.scanout, false, &s->shot) : 0;
		finish(s);
		s->there.fn = on_back;
		loop_post(&s->vm->loop, &s->there);
		return;
	}
	/* A dark screen is lit first, one without the region gets another size. */
	if (again) {
		loop_timer_set(&s->due, again > now ? again : now + s->still_ns);
	}
}

static void on_news(struct display_still *still)
{
	struct vm_still *s = (struct vm_still *)((char *)still - offsetof(struct vm_still, still));

	__atomic_store_n(&s->outside, still->is_outside ? (uint64_t)still->width << 32 | still->height : 0, __ATOMIC_RELAXED);
	if (still->is_seen) {
		loop_timer_set(&s->due, clock_now_ns() + s->still_ns);
	}
}

static void on_there(struct loop_post *post)
{
	struct vm_still *s = (struct vm_still *)((char *)post - offsetof(struct vm_still, there));

	loop_timer_init(&s->due, &s->vm->gpu->loop, on_due);
	display_still_init(&s->still, &s->vm->gpu->display, (unsigned)s->want.scanout, &s->want.region, on_news);
}

static void on_forget(struct loop_post *post)
{
	struct vm_still *s = (struct vm_still *)((char *)post - offsetof(struct vm_still, forget));

	if (!s->is_done) {
		finish(s);
	}
	post->fn = on_forgotten;
	loop_post(&s->vm->loop, post);
}

/*
 * On the main loop.
 */

static void destroy(struct vm_still *s)
{
	struct vm_still **p = &s->vm->gpu->stills;

	while (*p != s) {
		p = &(*p)->next;
	}
	*p = s->next;
	s->vm->gpu->asked--;
	if (s->shot.fd >= 0) {
		close(s->shot.fd);
	}
	free(s);
}

static void on_back(struct loop_post *post)
{
	struct vm_still *s = (struct vm_still *)((char *)post - offsetof(struct vm_still, there));
	struct display_shot shot = s->shot;

	/* Else it comes back a second time. */
	if (s->is_forgotten) {
		return;
	}
	vm_control_gpu_done(s->vm, s->conn);
	if (s->want.picture) {
		s->shot.fd = -1;
		vm_gpu_answer_shot(s->conn, (unsigned)s->want.scanout, s->error, &shot, s->want.base64);
	} else {
		control_ok(s->conn, json_pack("{s:I}", "frame", (json_int_t)s->frame));
	}
	destroy(s);
}

static void on_forgotten(struct loop_post *post)
{
	destroy((struct vm_still *)((char *)post - offsetof(struct vm_still, forget)));
}

void vm_still_explain(const struct vm_still *s, char *buf, size_t len)
{
	uint64_t outside = __atomic_load_n(&s->outside, __ATOMIC_RELAXED);

	if (outside) {
		snprintf(buf, len, "the region is not inside the screen, which has %ux%u pixels", (unsigned)(outside >> 32), (unsigned)outside);
	} else {
		snprintf(buf, len, "it was not still in time");
	}
}

void vm_still_forget(struct vm_still *s)
{
	s->conn = NULL;
	s->is_forgotten = true;
	s->forget.fn = on_forget;
	loop_post(&s->vm->gpu->loop, &s->forget);
}

void vm_still_stop(struct vm *vm)
{
	for (struct vm_still *s = vm->gpu->stills; s; s = s->next) {
		if (!s->is_forgotten) {
			vm->ctl.wait[control_conn_index(s->conn)].still = NULL;
			vm_still_forget(s);
		}
	}
}

struct vm_still *vm_still_begin(struct vm *vm, struct control_conn *conn, const struct vm_still_want *want)
{
	struct vm_still *s;

	if (!vm_gpu_can_ask(vm, conn, want->scanout)) {
		return NULL;
	}
	if (want->stable_ms < 1 || want->stable_ms > INT_MAX) {
		control_error(conn, "field", "stable_ms: expected 1..%d", INT_MAX);
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		control_error(conn, "no-memory", "no memory");
		return NULL;
	}
	*s = (struct vm_still){.vm = vm, .conn = conn, .next = vm->gpu->stills, .there.fn = on_there, .want = *want, .shot.fd = -1,
		.still_ns = (uint64_t)want->stable_ms * (uint64_t)CLOCK_NS_PER_MS};
	vm->gpu->stills = s;
	vm->gpu->asked++;
	loop_post(&vm->gpu->loop, &s->there);
	return s;
}
