/* SPDX-License-Identifier: MIT */
#include "vmm/vm_view.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/json_text.h"
#include "vmm/log.h"
#include "vmm/result.h"
#include "vmm/vm_priv.h"

/*
 * Input.
 */

/* Return: NULL when none is configured. */
static struct vm_input *first_of(struct vm *vm, enum viewer_device device)
{
	static const enum input_kind kinds[] = {
		[VIEWER_KEYBOARD] = INPUT_KEYBOARD, [VIEWER_MOUSE] = INPUT_MOUSE, [VIEWER_TABLET] = INPUT_TABLET, [VIEWER_TOUCH] = INPUT_MULTITOUCH};

	for (unsigned i = 0; i < vm->ninputs; i++) {
		if (vm->input[i].config->type == kinds[device]) {
			return &vm->input[i];
		}
	}
	return NULL;
}

static void on_input(void *ctx, const struct viewer_conn *c, enum viewer_device device, const struct input_ev *ev, unsigned n)
{
	struct vm_input *in = first_of(ctx, device);

	if (in) {
		vm_input_frame(in, CONTROL_CONNS_MAX + c->index, ev, n);
	}
}

static bool has_room(void *ctx, enum viewer_device device)
{
	struct vm_input *in = first_of(ctx, device);

	return !in || input_has_room(&in->dev);
}

static void on_release(void *ctx, const struct viewer_conn *c)
{
	vm_input_gone(ctx, CONTROL_CONNS_MAX + c->index);
}

static void on_input_state(void *ctx, struct viewer_input_state *s)
{
	for (unsigned device = VIEWER_KEYBOARD; device <= VIEWER_TOUCH; device++) {
		const struct vm_input *in = first_of(ctx, device);
		uint32_t bit = 1u << (device - VIEWER_KEYBOARD);

		s->has |= in ? bit : 0;
		s->driven |= in && input_has_driver(&in->dev) ? bit : 0;
		if (in && device == VIEWER_KEYBOARD) {
			s->leds = in->dev.lights[0] | (uint32_t)in->dev.lights[1] << 8;
		}
	}
}

void vm_view_input_changed(struct vm *vm)
{
	if (vm->view.viewers.loop) {
		viewers_input_changed(&vm->view.viewers);
	}
}

void vm_view_input_room(struct vm *vm)
{
	if (vm->view.viewers.loop) {
		viewers_room(&vm->view.viewers);
	}
}

/*
 * What a person does to the VM.
 */

static void on_action(void *ctx, enum viewer_action_kind action)
{
	struct vm *vm = ctx;

	switch (action) {
	case VIEWER_POWER_BUTTON:
		vm_press_power_button(vm);
		break;
	case VIEWER_RESET:
		control_event(&vm->ctl.control, "reset", NULL);
		vm_end(vm, VM_END_RESET, 0, "%s", "");
		break;
	case VIEWER_STOP:
		vm_end(vm, VM_END_STOPPED, 0, "%s", "");
		break;
	}
}

static void on_event(void *ctx, const struct viewer_conn *c, const char *what)
{
	struct vm *vm = ctx;

	log_msg(LOG_INFO, "viewer %u (%s, process %d): %s", c->number, c->name, (int)c->pid, what);
	if (vm->ctl.control.loop) {
		control_event(&vm->ctl.control, "viewer", json_pack("{s:s, s:i, s:o, s:i, s:i}", "what", what, "viewer", (int)c->number, "name",
			json_text(c->name, sizeof(c->name)), "pid", (int)c->pid, "viewers", (int)viewers_count(&vm->view.viewers)));
	}
}

/*
 * The window that was started.
 */

static void on_window_closed(struct vm *vm)
{
	if (vm->stop_signal) {
		return;
	}
	if (vm->cfg->display.on_close == ON_CLOSE_STOP) {
		log_msg(LOG_INFO, "the window is closed: power button (display.on_close)");
		vm_stop_gently(vm, SIGTERM, vm->cfg->machine.stop_grace_ns);
	} else {
		log_msg(LOG_INFO, "the window is closed; the guest runs on: tinyvmm view %s", vm->cfg->machine.name);
	}
}

static void on_window(struct loop_source *src, uint32_t events)
{
	struct vm *vm = (struct vm *)((char *)src - offsetof(struct vm, view.window));
	struct view_window *w = vm->options->window;
	int status = 0;

	(void)events;
	loop_remove(src);
	close(src->fd);
	src->fn = NULL;
	waitpid(w->pid, &status, 0);
	w->pid = 0;
	/* Whoever closes a window wants something. A program that is killed, or an X server that goes, does not. */
	if (WIFSIGNALED(status)) {
		log_msg(LOG_WARN, "the window was killed: %s; the guest runs on: tinyvmm view %s", strsignal(WTERMSIG(status)), vm->cfg->machine.name);
	} else if (WEXITSTATUS(status) == VIEW_START_CLOSED) {
		on_window_closed(vm);
	} else if (WEXITSTATUS(status) == VIEW_START_NO_DISPLAY && vm->cfg->display.by_default) {
		log_msg(LOG_INFO, "no window: the guest runs on without it");
	} else if (WEXITSTATUS(status) != 0) {
		log_msg(LOG_WARN, "the window ended with exit code %d; the guest runs on: tinyvmm view %s", WEXITSTATUS(status), vm->cfg->machine.name);
	}
}

static void on_kept_gone(void *ctx)
{
	struct vm *vm = ctx;
	struct view_window *w = vm->options->window;

	if (!vm->view.viewers.is_stopping) {
		close(w->fd);
		w->fd = 0;
	}
}

static int watch_window(struct vm *vm)
{
	struct view_window *w = vm->options->window;
	int fd, r;

	if (w->fd > 0) {
		r = viewers_add(&vm->view.viewers, w->fd, w->pid);
		if (r < 0) {
			return r;
		}
	}
	if (w->pid > 0) {
		fd = pidfd_open(w->pid, 0);
		if (fd < 0) {
			r = -errno;
			log_errno(LOG_ERR, r, "the window's process");
			return r;
		}
		vm->view.window = (struct loop_source){.fd = fd, .events = EPOLLIN, .fn = on_window};
		return loop_add(&vm->loop, &vm->view.window);
	}
	return 0;
}

/*
 * Beginning and end.
 */

static const struct viewers_ops ops = {.input = on_input, .has_room = has_room, .release = on_release, .action = on_action, .input_state = on_input_state, .event = on_event,
	.kept_gone = on_kept_gone};

int vm_view_init(struct vm *vm)
{
	struct viewers *vs = &vm->view.viewers;
	int r = 0;

	viewers_init(vs, &vm->loop, vm->gpu ? &vm->gpu->display : NULL, vm->cfg->machine.name, &ops, vm);
	if (vm->gpu && vm->gpu->info.can_export && !vm_gpu_no_export(vm)[0]) {
		vs->has_dmabufs = true;
		vs->render_major = major(vm->gpu->info.device);
		vs->render_minor = minor(vm->gpu->info.device);
	}
	for (unsigned i = 0; i < vm->cfg->display.allow.n && vs->nallow < VIEWERS_ALLOW_MAX; i++) {
		/* config.c has seen to it that it is uid:NUMBER. */
		vs->allow[vs->nallow++] = (uid_t)strtoul(vm->cfg->display.allow.item[i] + 4, NULL, 10);
	}
	if (vm->options->viewer_fd > 0) {
		r = viewers_listen(vs, vm->options->viewer_fd);
	}
	return r == 0 && vm->options->window ? watch_window(vm) : r;
}

static bool are_viewers_gone(const struct vm *vm)
{
	return !vm->view.viewers.loop;
}

void vm_view_stop(struct vm *vm)
{
	struct vm_view *view = &vm->view;

	if (view->window.fn) {
		loop_remove(&view->window);
		close(view->window.fd);
		view->window.fn = NULL;
	}
	viewers_stop(&view->viewers, result_wants_restart(vm->result, vm->cfg) ? VIEWER_BYE_RESTART : VIEWER_BYE_END);
	vm_gpu_wait(vm, are_viewers_gone);
}

/*
 * Counters.
 */

static json_int_t now(const uint64_t *counter)
{
	return (json_int_t)__atomic_load_n(counter, __ATOMIC_RELAXED);
}

static json_t *percentiles(const struct viewer_out_samples *s)
{
	uint32_t us[3];

	return viewer_out_percentiles(s, us) ? json_pack("[i, i, i]", (int)us[0], (int)us[1], (int)us[2]) : json_array();
}

/* What the scanout that its last picture was of says of why it is not sent as it is. Return: empty when it is. */
static const char *why_not_direct(const struct vm *vm, const struct viewer_conn *c)
{
	const char *why = __atomic_load_n(&vm->gpu->dev.scanout[__atomic_load_n(&c->out.way.scanout, __ATOMIC_RELAXED)].direct.why, __ATOMIC_RELAXED);

	return why ? why : "";
}

/* Return: why they are copied; empty: they are not. */
static const char *why_no_zero_copy(const struct vm *vm, const struct viewer_conn *c)
{
	if (__atomic_load_n(&c->out.way.is_direct, __ATOMIC_RELAXED)) {
		return "";
	}
	if (vm->cfg->display.zero_copy != ZERO_COPY_NEVER && vm->gpu->info.no_direct[0]) {
		return vm->gpu->info.no_direct;
	}
	if (vm->view.viewers.controller != c && vm->cfg->display.zero_copy != ZERO_COPY_NEVER) {
		return "it does not control";
	}
	return why_not_direct(vm, c);
}

/* Return: why copies of its are in rows, which every GPU can read, and not as the one they come from likes it; empty: they are not. */
static const char *why_rows(const struct vm *vm, const struct viewer_conn *c)
{
	const struct gpu_scanout *so = &vm->gpu->dev.scanout[__atomic_load_n(&c->out.way.scanout, __ATOMIC_RELAXED)];

	return __atomic_load_n(&so->copies.is_linear, __ATOMIC_RELAXED) && !__atomic_load_n(&c->out.way.is_direct, __ATOMIC_RELAXED) ? "not every viewer can import what the GPU likes better" : "";
}

/* Return: why a viewer that can import gets memory all the same, where OpenGL draws. */
static const char *why_memory(const struct vm *vm, const struct viewer_conn *c)
{
	const char *why = vm->gpu && vm->gpu->info.node[0] ? vm_gpu_no_export(vm) : NULL;

	return !why ? "" : why[0] ? why : why_not_direct(vm, c);
}

/* How its pictures come to it, and what it takes. */
static json_t *way_of(const struct vm *vm, const struct viewer_conn *c)
{
	static const char *const kinds[] = {[VIEWER_MEMFD] = "memfd", [VIEWER_DMABUF] = "dma-buf", [VIEWER_GUEST] = "guest"};
	const struct viewer_out_way *w = &c->out.way;
	uint32_t kind = __atomic_load_n(&w->kind, __ATOMIC_RELAXED), fourcc = __atomic_load_n(&w->fourcc, __ATOMIC_RELAXED);
	bool is_unlike = __atomic_load_n(&w->is_unlike, __ATOMIC_RELAXED);
	char modifier[24], why[VIEWER_WHY_LEN + 64] = "";
	json_t *o;

	snprintf(modifier, sizeof(modifier), "0x%016llx", (unsigned long long)now(&w->modifier));
	if (is_unlike) {
		snprintf(why, sizeof(why), "it cannot import %.4s with modifier %s", (const char *)&fourcc, modifier);
	} else if (!c->takes_dmabufs && c->owner->has_dmabufs) {
		snprintf(why, sizeof(why), "it takes no dma-bufs");
	} else if (c->takes_dmabufs && !c->imports_any) {
		snprintf(why, sizeof(why), "%s", c->imports_why[0] ? c->imports_why : "it does not say that it imports any");
	} else if (kind != VIEWER_DMABUF) {
		snprintf(why, sizeof(why), "%s", why_memory(vm, c));
	}
	o = json_pack("{s:s, s:b, s:o}", "way", kind <= VIEWER_GUEST && kinds[kind] ? kinds[kind] : "none", "takes_dmabufs", (int)c->takes_dmabufs, "why_no_dmabuf", json_text(why, sizeof(why)));
	if (kind == VIEWER_DMABUF) {
		json_object_set_new(o, "fourcc", json_stringn((const char *)&fourcc, sizeof(fourcc)));
		json_object_set_new(o, "modifier", json_string(modifier));
		json_object_set_new(o, "planes", json_integer(__atomic_load_n(&w->nplanes, __ATOMIC_RELAXED)));
		json_object_set_new(o, "zero_copy", json_boolean(__atomic_load_n(&w->is_direct, __ATOMIC_RELAXED)));
		json_object_set_new(o, "why_no_zero_copy", json_string(why_no_zero_copy(vm, c)));
		json_object_set_new(o, "why_rows", json_string(why_rows(vm, c)));
	}
	return o;
}

static json_t *one_viewer(const struct vm *vm, const struct viewer_conn *c)
{
	const struct viewer_out_counters *n = &c->out.counters;
	json_t *o = json_pack("{s:i, s:o, s:i, s:b, s:b}", "viewer", (int)c->number, "name", json_text(c->name, sizeof(c->name)), "pid", (int)c->pid, "controls",
		(int)(vm->view.viewers.controller == c), "wants", (int)c->wants);

	json_object_set_new(o, "sent", json_integer(now(&n->sent)));
	json_object_set_new(o, "released", json_integer(now(&n->released)));
	json_object_set_new(o, "presented", json_integer(now(&n->presented)));
	json_object_set_new(o, "replaced", json_integer(now(&n->replaced)));
	json_object_set_new(o, "buffers", json_integer(now(&n->buffers)));
	json_object_set_new(o, "copied_bytes", json_integer(now(&n->copied_bytes)));
	json_object_set_new(o, "dmabufs", json_integer(now(&n->dmabufs)));
	json_object_set_new(o, "zero_copies", json_integer(now(&n->directs)));
	json_object_update_new(o, way_of(vm, c));
	json_object_set_new(o, "demoted", json_integer(now(&c->out.sink.demoted)));
	json_object_set_new(o, "release_us", percentiles(&n->release));
	json_object_set_new(o, "input_us", percentiles(&n->input));
	json_object_set_new(o, "ready_us", percentiles(&n->ready));
	json_object_set_new(o, "present_us", percentiles(&n->present));
	json_object_set_new(o, "answer_us", percentiles(&n->answer));
	return o;
}

json_t *vm_view_stats(const struct vm *vm)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < VIEWERS_MAX; i++) {
		const struct viewer_conn *c = vm->view.viewers.conn[i];

		if (c && c->state == VIEWER_ACTIVE) {
			json_array_append_new(all, one_viewer(vm, c));
		}
	}
	return all;
}

static json_t *one_frame(const struct viewer_out_stamps *f)
{
	static const char *const ways[] = {"zero-copy", [VIEWER_MEMFD] = "memfd", [VIEWER_DMABUF] = "dma-buf", [VIEWER_GUEST] = "guest"};

	return json_pack("{s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "frame", (json_int_t)f->number, "scanout", (json_int_t)f->scanout, "way", ways[f->kind & 3], "input_ns", (json_int_t)f->input_ns,
		"flushed_ns", (json_int_t)f->flushed_ns, "ready_ns", (json_int_t)f->ready_ns, "sent_ns", (json_int_t)f->sent_ns, "released_ns", (json_int_t)f->released_ns, "presented_ns",
		(json_int_t)f->presented_ns);
}

json_t *vm_view_frames(const struct vm *vm, json_int_t viewer, json_int_t after)
{
	const struct viewer_conn *c = NULL;
	json_t *frames = json_array();
	uint64_t n, end;

	for (unsigned i = 0; i < VIEWERS_MAX; i++) {
		const struct viewer_conn *other = vm->view.viewers.conn[i];

		c = other && other->state == VIEWER_ACTIVE && other->number == viewer ? other : c;
	}
	if (!c) {
		json_decref(frames);
		return NULL;
	}
	end = __atomic_load_n(&c->out.nstamps, __ATOMIC_ACQUIRE);
	n = end < VIEWER_OUT_STAMPS ? 0 : end - VIEWER_OUT_STAMPS + 1;
	n = after > 0 && (uint64_t)after > n ? (uint64_t)after : n;
	for (; n < end && json_array_size(frames) < VM_VIEW_FRAMES_MAX; n++) {
		struct viewer_out_stamps f;

		if (viewer_out_stamps(&c->out, n, &f)) {
			json_array_append_new(frames, one_frame(&f));
		}
	}
	return json_pack("{s:o, s:I}", "frames", frames, "next", (json_int_t)n);
}
