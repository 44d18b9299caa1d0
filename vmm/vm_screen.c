/* SPDX-License-Identifier: MIT */
#include "vmm/vm_screen.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "display/screenshot.h"
#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/result.h"
#include "vmm/vm_priv.h"

/* Between two looks at a screen that changes all the time: each costs a copy and a comparison. */
#define LOOK_GAP_NS (50 * (uint64_t)CLOCK_NS_PER_MS)

/*
 * On the display's thread.
 */

static void on_flushed(void *ctx, unsigned scanout)
{
	struct vm_screen *s = ctx;

	if (__atomic_load_n(&s->first_ns, __ATOMIC_RELAXED) == 0) {
		__atomic_store_n(&s->first_ns, clock_now_ns(), __ATOMIC_RELAXED);
	}
	/* Pairs with vm_screen_watch: who has armed and then sees the old count hears of it from here. */
	__atomic_add_fetch(&s->frames[scanout], 1, __ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&s->is_armed, false, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&s->has_news, true, __ATOMIC_RELEASE);
		loop_post(&s->vm->loop, &s->news);
	}
}

static void on_looked(struct loop_post *post);

/* What a scanout shows. Return: false when there is nothing; else unmap_shot. */
static bool map_shot(struct vm *vm, unsigned scanout, bool cursor, struct display_pixels *p)
{
	struct display_shot shot;
	void *map;

	if (display_screenshot(&vm->gpu->display, scanout, cursor, &shot) < 0) {
		return false;
	}
	map = mmap(NULL, (size_t)shot.stride * shot.height, PROT_READ, MAP_SHARED, shot.fd, 0);
	close(shot.fd);
	*p = (struct display_pixels){.data = map, .width = shot.width, .height = shot.height, .stride = shot.stride};
	return map != MAP_FAILED;
}

static void unmap_shot(const struct display_pixels *p)
{
	munmap((void *)(uintptr_t)p->data, (size_t)p->stride * p->height);
}

static void on_look(struct loop_post *post)
{
	struct vm_screen *s = (struct vm_screen *)((char *)post - offsetof(struct vm_screen, look));
	struct display_pixels p;

	s->again_ns = 0;
	s->is_seen = false;
	if (map_shot(s->vm, s->screen.want.scanout, false, &p)) {
		s->is_seen = screen_look(&s->screen, &p);
		unmap_shot(&p);
	}
	/* What it looks like now it has looked like since its last change. */
	if (s->is_seen && s->screen.want.stable_ns) {
		s->is_seen = display_still_for(&s->still, s->screen.want.stable_ns, clock_now_ns(), &s->again_ns) && display_still_holds(&s->still);
	}
	if (s->is_seen) {
		display_still_finish(&s->still);
	}
	s->look.fn = on_looked;
	loop_post(&s->vm->loop, &s->look);
}

/*
 * On the main loop.
 */

uint64_t vm_screen_frames(const struct vm *vm, unsigned scanout)
{
	return __atomic_load_n(&vm->screen.frames[scanout], __ATOMIC_SEQ_CST);
}

static void look(struct vm_screen *s)
{
	uint64_t now = clock_now_ns();

	if (!s->is_expected || s->is_seen || !s->vm->gpu->is_running) {
		return;
	}
	if (s->is_looking) {
		s->looks_again = true;
		return;
	}
	if (now - s->looked_ns < LOOK_GAP_NS) {
		loop_timer_set(&s->again, s->looked_ns + LOOK_GAP_NS);
		return;
	}
	s->looked_ns = now;
	s->is_looking = true;
	s->look.fn = on_look;
	/* Before the look: what is flushed during it is looked at again. */
	vm_screen_watch(s->vm);
	loop_post(&s->vm->gpu->loop, &s->look);
}

static void on_looked(struct loop_post *post)
{
	struct vm_screen *s = (struct vm_screen *)((char *)post - offsetof(struct vm_screen, look));

	s->is_looking = false;
	screen_explain(&s->screen, s->why, sizeof(s->why));
	if (s->is_seen) {
		vm_control_screen_seen(s->vm);
	} else if (s->looks_again) {
		/* Nobody listens for frames any more: the one that asked for this look was the last to be heard of. */
		s->looks_again = false;
		look(s);
	} else if (s->again_ns) {
		loop_timer_set(&s->again, s->again_ns);
	}
}

static void on_again(struct loop_timer *timer)
{
	look((struct vm_screen *)((char *)timer - offsetof(struct vm_screen, again)));
}

static void on_news(struct loop_post *post)
{
	struct vm_screen *s = (struct vm_screen *)((char *)post - offsetof(struct vm_screen, news));

	__atomic_store_n(&s->has_news, false, __ATOMIC_RELEASE);
	vm_control_frame(s->vm);
	look(s);
}

void vm_screen_watch(struct vm *vm)
{
	/* Armed or about to come: either way there will be a call. */
	if (!__atomic_load_n(&vm->screen.has_news, __ATOMIC_ACQUIRE)) {
		__atomic_store_n(&vm->screen.is_armed, true, __ATOMIC_SEQ_CST);
	}
}

static void on_first_frame(struct loop_timer *timer)
{
	struct vm_screen *s = (struct vm_screen *)((char *)timer - offsetof(struct vm_screen, first_frame));

	if (__atomic_load_n(&s->first_ns, __ATOMIC_RELAXED) == 0) {
		vm_end(s->vm, VM_END_EXPECT, 0, "the display has shown nothing within %llu ms",
			(unsigned long long)(s->vm->cfg->expect.first_frame_ns / (uint64_t)CLOCK_NS_PER_MS));
	}
}

int vm_screen_init(struct vm *vm, bool expect)
{
	struct vm_screen *s = &vm->screen;
	char err[400];
	int r;

	s->vm = vm;
	s->news.fn = on_news;
	loop_timer_init(&s->again, &vm->loop, on_again);
	loop_timer_init(&s->first_frame, &vm->loop, on_first_frame);
	display_set_watch(&vm->gpu->display, on_flushed, s);
	if (!expect) {
		return 0;
	}
	if (vm->cfg->expect.screen) {
		r = screen_init(&s->screen, vm->cfg->expect.screen, err, sizeof(err));
		if (r < 0) {
			log_msg(LOG_ERR, "expect.screen: %s", err);
			return r;
		}
		screen_explain(&s->screen, s->why, sizeof(s->why));
		s->is_expected = true;
		if (s->screen.want.stable_ns) {
			const struct config_region *region = &s->screen.want.region;

			display_still_init(&s->still, &vm->gpu->display, s->screen.want.scanout, &(struct display_rect){region->x, region->y, region->w, region->h}, NULL);
		}
	}
	if (vm->cfg->expect.first_frame_ns) {
		loop_timer_set(&s->first_frame, clock_now_ns() + vm->cfg->expect.first_frame_ns);
	}
	vm_screen_watch(vm);
	return 0;
}

void vm_screen_stop(struct vm *vm)
{
	if (vm->screen.vm) {
		vm->screen.is_expected = false;
		loop_timer_stop(&vm->screen.again);
		loop_timer_stop(&vm->screen.first_frame);
	}
}

bool vm_screen_is_busy(const struct vm *vm)
{
	return vm->screen.vm && (vm->screen.is_looking || __atomic_load_n(&vm->screen.has_news, __ATOMIC_ACQUIRE));
}

void vm_screen_finish(struct vm *vm)
{
	display_still_finish(&vm->screen.still);
	screen_finish(&vm->screen.screen);
	vm->screen.vm = NULL;
}

bool vm_screen_missing(const struct vm *vm, char *buf, size_t len)
{
	const struct vm_screen *s = &vm->screen;

	if (!s->vm || !vm->cfg->expect.screen || (!s->is_looking && s->is_seen)) {
		return false;
	}
	snprintf(buf, len, "expect.screen: %s", s->why);
	return true;
}

/*
 * The last picture.
 */

/* On the main loop. */
static void on_saved(struct loop_post *post)
{
	struct vm_screen *s = (struct vm_screen *)((char *)post - offsetof(struct vm_screen, look));

	s->is_looking = false;
	if (s->is_saved) {
		snprintf(s->vm->result->screen, sizeof(s->vm->result->screen), "%s", s->vm->options->screen_png);
	}
}

/* On the display's thread. */
static void save_last_shot(struct vm_screen *s)
{
	struct vm *vm = s->vm;
	const struct vm_options *o = vm->options;
	unsigned scanout = vm->cfg->expect.screen ? vm->cfg->expect.screen->scanout : 0;
	struct display_pixels p;

	if (!map_shot(vm, scanout, true, &p)) {
		return;
	}
	s->is_saved = screen_write_png(&p, o->screen_png);
	unmap_shot(&p);
	/* The pointer does not count. */
	if (s->is_expected && o->screen_diff_png && !s->is_seen && map_shot(vm, scanout, false, &p)) {
		/* What came so late that nobody has looked at it counts. */
		s->is_seen = screen_look(&s->screen, &p) && !s->screen.want.stable_ns;
		if (!s->is_seen && screen_has_difference(&s->screen)) {
			screen_save_difference(&s->screen, o->screen_diff_png);
		}
		unmap_shot(&p);
	}
}

static void on_save(struct loop_post *post)
{
	struct vm_screen *s = (struct vm_screen *)((char *)post - offsetof(struct vm_screen, look));

	save_last_shot(s);
	s->look.fn = on_saved;
	loop_post(&s->vm->loop, &s->look);
}

/* A good end so far, but not all that was expected has been seen: vm_control_judge will say so, when the last half line of the console has been looked at too. */
static bool is_missing(const struct vm *vm)
{
	char what[200];

	return vm->options->expect && (expect_missing(&vm->ctl.expect) || vm_screen_missing(vm, what, sizeof(what)));
}

static bool is_bad(const struct vm *vm)
{
	switch (vm->result->end) {
	case VM_END_PANIC:
	case VM_END_TIMEOUT:
	case VM_END_HANG:
	case VM_END_EXPECT:
		return true;
	case VM_END_REBOOT:
		/* A guest that restarts by itself is no failure. */
		return !result_wants_restart(vm->result, vm->cfg);
	case VM_END_POWEROFF:
	case VM_END_EXIT_PORT:
		return vm->result->code == 0 && is_missing(vm);
	default:
		return false;
	}
}

static bool is_idle(const struct vm *vm)
{
	return !vm_screen_is_busy(vm);
}

void vm_screen_save(struct vm *vm)
{
	struct vm_screen *s = &vm->screen;

	if (!vm->gpu || !vm->gpu->is_running || !vm->options->screen_png) {
		return;
	}
	/* A look that is under way may be the one that sees it. */
	if (vm_gpu_wait(vm, is_idle) && is_bad(vm)) {
		/* It is a look: what is compared is the display's thread's until it is back. */
		s->is_looking = true;
		s->look.fn = on_save;
		loop_post(&vm->gpu->loop, &s->look);
		vm_gpu_wait(vm, is_idle);
	}
}

void vm_screen_judged(struct vm *vm)
{
	const struct vm_result *r = vm->result;

	if (r->screen[0] && (r->end == VM_END_POWEROFF || r->end == VM_END_PASSED || (r->end == VM_END_EXIT_PORT && r->code == 0))) {
		vm->result->screen[0] = '\0';
		unlink(vm->options->screen_png);
		if (vm->options->screen_diff_png) {
			unlink(vm->options->screen_diff_png);
		}
	}
}
