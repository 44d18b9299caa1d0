/* SPDX-License-Identifier: MIT */
/* What people ask of a running VM over its control socket, and what [expect] asks of it. The verbs are documented in docs/tinyvmm-control.7.scd. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/json_text.h"
#include "vmm/log.h"
#include "vmm/notify.h"
#include "vmm/pattern.h"
#include "vmm/result.h"
#include "vmm/vm_evdev.h"
#include "vmm/vm_priv.h"
#include "vmm/vm_stats.h"

/* How long answers to those who still wait have to leave. */
#define LAST_ANSWERS_MS 500
/* Of a guest's line in an answer or event, in bytes. */
#define LINE_TEXT_MAX 1024

static const char *state_name(const struct vm *vm)
{
	return vm->ctl.state == VM_PAUSED ? "paused" : vm->ctl.state == VM_PAUSING ? "pausing" : vm->stop_signal ? "stopping" : "running";
}

/*
 * Waiting.
 */

static void end_wait(struct vm_wait *w)
{
	loop_timer_stop(&w->timeout);
	if (w->what == WAIT_TEXT) {
		regfree(&w->regex);
	} else if (w->what == WAIT_GPU) {
		vm_gpu_forget(w->gpu);
	} else if (w->what == WAIT_STILL && w->still) {
		vm_still_forget(w->still);
	}
	json_decref(w->events);
	w->events = NULL;
	w->what = WAIT_NOTHING;
	w->conn = NULL;
}

static void answer_wait(struct vm_wait *w, json_t *fields)
{
	struct control_conn *conn = w->conn;

	end_wait(w);
	control_ok(conn, fields);
}

static void answer_all(struct vm *vm, int what)
{
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		if ((int)vm->ctl.wait[i].what == what) {
			answer_wait(&vm->ctl.wait[i], NULL);
		}
	}
}

static void on_wait_timeout(struct loop_timer *timer)
{
	struct vm_wait *w = (struct vm_wait *)((char *)timer - offsetof(struct vm_wait, timeout));
	struct control_conn *conn = w->conn;
	char why[120] = "it did not happen in time";

	if (w->what == WAIT_STILL && w->still) {
		vm_still_explain(w->still, why, sizeof(why));
	}
	end_wait(w);
	control_error(conn, "timeout", "%s", why);
}

static struct vm_wait *begin_wait(struct vm *vm, struct control_conn *conn, int what, json_int_t timeout_ms)
{
	struct vm_wait *w = &vm->ctl.wait[control_conn_index(conn)];

	w->what = what;
	w->conn = conn;
	loop_timer_init(&w->timeout, &vm->loop, on_wait_timeout);
	if (timeout_ms > 0) {
		loop_timer_set(&w->timeout, clock_now_ns() + (uint64_t)timeout_ms * (uint64_t)CLOCK_NS_PER_MS);
	}
	return w;
}

static void on_line(void *ctx, const char *line, bool done)
{
	struct vm *vm = ctx;

	expect_line(&vm->ctl.expect, line, done);
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		struct vm_wait *w = &vm->ctl.wait[i];

		if (w->what == WAIT_TEXT && regexec(&w->regex, line, 0, NULL, 0) == 0) {
			answer_wait(w, json_pack("{s:o}", "line", json_text(line, LINE_TEXT_MAX)));
		}
	}
	if (done && vm->ctl.control.loop) {
		control_event(&vm->ctl.control, "text", json_pack("{s:o}", "line", json_text(line, LINE_TEXT_MAX)));
	}
}

/* What was said before anybody asked. Return: whether @regex is in it. */
static bool is_in_tail(const struct stream *s, const regex_t *regex)
{
	char *text = NULL, *line, *rest;
	bool found = false;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f) {
		return false;
	}
	if (s->tail_total) {
		stream_print_tail(s, f, UINT_MAX);
	}
	fclose(f);
	for (line = text ? strtok_r(text, "\n", &rest) : NULL; line && !found; line = strtok_r(NULL, "\n", &rest)) {
		found = regexec(regex, line, 0, NULL, 0) == 0;
	}
	free(text);
	return found;
}

static void answer_frame(struct vm_wait *w, uint64_t frame)
{
	answer_wait(w, json_pack("{s:I}", "frame", (json_int_t)frame));
}

void vm_control_frame(struct vm *vm)
{
	bool somebody = false;

	/* The second time for frames that came before the display's thread had heard that somebody still waits. */
	for (unsigned turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
			struct vm_wait *w = &vm->ctl.wait[i];

			if (w->what != WAIT_FRAME) {
				continue;
			}
			if (vm_screen_frames(vm, w->scanout) > w->frame) {
				answer_frame(w, vm_screen_frames(vm, w->scanout));
			} else {
				somebody = true;
			}
		}
		if (!somebody) {
			return;
		}
		vm_screen_watch(vm);
	}
}

/* Return: whether it is one, and not an empty one. */
static bool read_region(const json_t *array, struct display_rect *r)
{
	json_int_t n[4];

	for (size_t i = 0; i < 4; i++) {
		const json_t *item = json_array_get(array, i);

		if (!json_is_integer(item)) {
			return false;
		}
		n[i] = json_integer_value(item);
		if (n[i] < 0 || n[i] > CONFIG_REGION_MAX) {
			return false;
		}
	}
	*r = (struct display_rect){(uint32_t)n[0], (uint32_t)n[1], (uint32_t)n[2], (uint32_t)n[3]};
	return json_array_size(array) == 4 && r->w > 0 && r->h > 0;
}

static void wait_for_frame(struct vm *vm, struct control_conn *conn, json_int_t scanout, json_int_t after, json_int_t timeout_ms)
{
	struct vm_wait *w;

	if (vm_gpu_can_ask(vm, conn, scanout)) {
		w = begin_wait(vm, conn, WAIT_FRAME, timeout_ms);
		w->scanout = (unsigned)scanout;
		w->frame = after > 0 ? (uint64_t)after : 0;
		vm_control_frame(vm);
	}
}

/* @region: an array, or NULL for all of the screen. */
static void wait_until_still(struct vm *vm, struct control_conn *conn, struct vm_still_want *want, const json_t *region, json_int_t timeout_ms)
{
	struct vm_still *s;

	if (region && !read_region(region, &want->region)) {
		control_error(conn, "field", "region: expected [x, y, width, height] in pixels");
		return;
	}
	s = vm_still_begin(vm, conn, want);
	if (s) {
		begin_wait(vm, conn, WAIT_STILL, timeout_ms)->still = s;
	}
}

/*
 * Pausing.
 */

/* Thread: any. */
void vm_control_parked(struct vm *vm)
{
	if (!__atomic_exchange_n(&vm->ctl.has_parked, true, __ATOMIC_SEQ_CST)) {
		loop_post(&vm->loop, &vm->ctl.parked);
	}
}

/* The guest's clocks stand still while it does not run. */
static void hold_clocks(struct vm *vm)
{
	kvm_get_clock(&vm->kvm, &vm->ctl.held_clock_ns);
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		x86_vcpu_get_tsc(&vm->vcpu[i], &vm->ctl.held_tsc[i]);
	}
}

static void release_clocks(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		x86_vcpu_set_tsc(&vm->vcpu[i], vm->ctl.held_tsc[i]);
	}
	kvm_set_clock(&vm->kvm, vm->ctl.held_clock_ns);
}

void vm_control_stats_opened(struct vm *vm)
{
	vm_control_parked(vm);
}

/* Return: whether every vCPU's counters are open, and those who asked have an answer. */
static bool answer_stats(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		if (vcpu_stats_fd(&vm->vcpu[i]) == 0) {
			return false;
		}
	}
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		if (vm->ctl.wait[i].what == WAIT_STATS) {
			json_t *stats = vm_stats_json(&vm->kvm, vm->vcpu, vm->nvcpus);

			json_object_set_new(stats, "virtio", vm_virtio_stats(vm));
			json_object_set_new(stats, "input", vm_input_stats(vm));
			if (vm->gpu) {
				json_object_set_new(stats, "gpu", vm_gpu_stats(vm));
			}
			json_object_set_new(stats, "viewers", vm_view_stats(vm));
			answer_wait(&vm->ctl.wait[i], stats);
		}
	}
	return true;
}

static bool all_parked(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		if (!vcpu_is_parked(&vm->vcpu[i])) {
			return false;
		}
	}
	return true;
}

static void on_parked(struct loop_post *post)
{
	struct vm *vm = (struct vm *)((char *)post - offsetof(struct vm, ctl.parked));

	/* Before the look at them: whoever parks from here on posts anew. */
	__atomic_store_n(&vm->ctl.has_parked, false, __ATOMIC_SEQ_CST);
	answer_stats(vm);
	if (vm->ctl.state != VM_PAUSING || !all_parked(vm)) {
		return;
	}
	hold_clocks(vm);
	vm->ctl.state = VM_PAUSED;
	notify("STATUS=paused");
	control_event(&vm->ctl.control, "paused", NULL);
	answer_all(vm, WAIT_PAUSED);
}

void vm_pause(struct vm *vm)
{
	if (vm->ctl.state != VM_RUNNING) {
		return;
	}
	vm->ctl.state = VM_PAUSING;
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		vcpu_pause(&vm->vcpu[i]);
	}
	/* One that has not left its place since the last pause says nothing. */
	vm_control_parked(vm);
}

void vm_resume(struct vm *vm)
{
	if (vm->ctl.state == VM_RUNNING) {
		return;
	}
	if (vm->ctl.state == VM_PAUSED) {
		release_clocks(vm);
	}
	vm->ctl.state = VM_RUNNING;
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		vcpu_resume(&vm->vcpu[i]);
	}
	notify("STATUS=running");
	control_event(&vm->ctl.control, "running", NULL);
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		struct vm_wait *w = &vm->ctl.wait[i];

		if (w->what == WAIT_PAUSED) {
			struct control_conn *conn = w->conn;

			end_wait(w);
			control_error(conn, "resumed", "resumed by another request");
		}
	}
	answer_all(vm, WAIT_RUNNING);
}

/*
 * The verbs. Each checks its fields with one format: an unknown one is an error.
 */

struct verb_call {
	struct vm *vm;
	struct control_conn *conn;
	json_t *request;
};

#define COMMON "s:s, s?o"

/* What jansson says of fields that nobody asked for: "2 object item(s) left unpacked: bogus, other". The first is said. */
static bool unpack_failed(const struct verb_call *c, int r, const json_error_t *err)
{
	static const char mark[] = " left unpacked: ";
	const char *left = r != 0 && json_error_code(err) == json_error_end_of_input_expected ? strstr(err->text, mark) : NULL;

	if (left) {
		left += sizeof(mark) - 1;
		control_error(c->conn, "field", "unknown field \"%.*s\"", (int)strcspn(left, ","), left);
	} else if (r != 0) {
		control_error(c->conn, "field", "%s", err->text);
	}
	return r != 0;
}

/* For verbs without fields of their own. */
static bool takes_nothing(const struct verb_call *c)
{
	json_error_t err;
	const char *verb;
	json_t *id;

	return !unpack_failed(c, json_unpack_ex(c->request, &err, JSON_STRICT, "{" COMMON "}", "do", &verb, "id", &id), &err);
}

static void do_version(const struct verb_call *c)
{
	if (takes_nothing(c)) {
		control_ok(c->conn, json_pack("{s:s, s:i}", "version", TINYVMM_VERSION, "protocol", 1));
	}
}

static void do_status(const struct verb_call *c)
{
	const struct vm *vm = c->vm;

	if (takes_nothing(c)) {
		control_ok(c->conn, json_pack("{s:s, s:i, s:s, s:I, s:i, s:I, s:o, s:i, s:o, s:s, s:i, s:o}", "name", vm->cfg->machine.name, "pid", getpid(), "state",
			state_name(vm), "uptime_ms", (json_int_t)((clock_now_ns() - vm->ctl.started_ns) / (uint64_t)CLOCK_NS_PER_MS), "cpus",
			(int)vm->cfg->machine.cpus, "memory", (json_int_t)vm->cfg->machine.memory, "config", json_text(vm->options->config_path, CONTROL_ANSWER_MAX / 4), "escape",
			(int)vm->cfg->console.escape, "input", vm_input_list(vm), "display",
			vm_gpu_display(vm), "viewers", (int)viewers_count(&vm->view.viewers), "viewer_socket",
			json_text(vm->options->viewer_path ? vm->options->viewer_path : "", 256)));
	}
}

static void do_stats(const struct verb_call *c)
{
	if (!takes_nothing(c)) {
		return;
	}
	begin_wait(c->vm, c->conn, WAIT_STATS, 0);
	if (!answer_stats(c->vm)) {
		for (unsigned i = 0; i < c->vm->nvcpus; i++) {
			vcpu_open_stats(&c->vm->vcpu[i]);
		}
	}
}

static void do_config(const struct verb_call *c)
{
	char *text = NULL;
	size_t len;
	FILE *f;

	if (!takes_nothing(c)) {
		return;
	}
	f = open_memstream(&text, &len);
	if (f) {
		config_print(c->vm->cfg, f);
		fclose(f);
	}
	control_ok(c->conn, json_pack("{s:o}", "toml", json_text(text ? text : "", SIZE_MAX)));
	free(text);
}

static void do_stop(const struct verb_call *c)
{
	json_int_t grace_ms = -1;
	json_error_t err;
	const char *verb;
	int kill = 0;
	json_t *id;

	if (unpack_failed(c, json_unpack_ex(c->request, &err, JSON_STRICT, "{" COMMON ", s?I, s?b}", "do", &verb, "id", &id, "grace_ms",
		&grace_ms, "kill", &kill), &err)) {
		return;
	}
	if (grace_ms < -1 || grace_ms > INT_MAX) {
		control_error(c->conn, "field", "grace_ms: expected 0..%d", INT_MAX);
		return;
	}
	control_ok(c->conn, NULL);
	if (kill) {
		vm_end(c->vm, VM_END_STOPPED, 0, "%s", "");
		return;
	}
	vm_stop_gently(c->vm, SIGTERM,
		grace_ms < 0 ? c->vm->cfg->machine.stop_grace_ns : (uint64_t)grace_ms * (uint64_t)CLOCK_NS_PER_MS);
}

static void do_pause(const struct verb_call *c)
{
	if (!takes_nothing(c)) {
		return;
	}
	if (c->vm->ctl.state == VM_PAUSED) {
		control_ok(c->conn, NULL);
		return;
	}
	begin_wait(c->vm, c->conn, WAIT_PAUSED, 0);
	vm_pause(c->vm);
}

static void do_resume(const struct verb_call *c)
{
	if (takes_nothing(c)) {
		vm_resume(c->vm);
		control_ok(c->conn, NULL);
	}
}

static void do_reset(const struct verb_call *c)
{
	if (takes_nothing(c)) {
		control_event(&c->vm->ctl.control, "reset", NULL);
		control_ok(c->conn, NULL);
		vm_end(c->vm, VM_END_RESET, 0, "%s", "");
	}
}

static void wait_for_text(const struct verb_call *c, const char *text, json_int_t timeout_ms)
{
	char why[160] = "expected an extended regular expression";
	struct vm_wait *w;
	regex_t regex;

	if (!text || pattern_compile(&regex, text, why, sizeof(why)) < 0) {
		control_error(c->conn, "field", "text: %s", why);
		return;
	}
	if (is_in_tail(&c->vm->console.stream, &regex) || is_in_tail(&c->vm->serial.stream, &regex)) {
		regfree(&regex);
		control_ok(c->conn, NULL);
		return;
	}
	w = begin_wait(c->vm, c->conn, WAIT_TEXT, timeout_ms);
	w->regex = regex;
}

static void do_wait(const struct verb_call *c)
{
	const char *verb, *what, *text = NULL;
	json_int_t timeout_ms = 0, scanout = 0, after = 0, stable_ms = 0;
	int picture = 0, base64 = 0;
	json_t *id, *region = NULL;
	json_error_t err;

	if (unpack_failed(c, json_unpack_ex(c->request, &err, JSON_STRICT, "{" COMMON ", s:s, s?s, s?I, s?I, s?I, s?I, s?o, s?b, s?b}", "do", &verb, "id", &id, "for", &what,
		"text", &text, "timeout_ms", &timeout_ms, "scanout", &scanout, "after", &after, "stable_ms", &stable_ms, "region", &region,
		"picture", &picture, "base64", &base64), &err)) {
		return;
	}
	if (timeout_ms < 0 || timeout_ms > INT_MAX) {
		control_error(c->conn, "field", "timeout_ms: expected 0..%d", INT_MAX);
	} else if (strcmp(what, "running") == 0) {
		if (c->vm->ctl.state == VM_RUNNING) {
			control_ok(c->conn, NULL);
		} else {
			begin_wait(c->vm, c->conn, WAIT_RUNNING, timeout_ms);
		}
	} else if (strcmp(what, "exit") == 0) {
		begin_wait(c->vm, c->conn, WAIT_EXIT, timeout_ms);
	} else if (strcmp(what, "text") == 0) {
		wait_for_text(c, text, timeout_ms);
	} else if (strcmp(what, "frame") == 0) {
		wait_for_frame(c->vm, c->conn, scanout, after, timeout_ms);
	} else if (strcmp(what, "stable") == 0) {
		wait_until_still(c->vm, c->conn, &(struct vm_still_want){.scanout = scanout, .stable_ms = stable_ms, .picture = picture, .base64 = base64}, region, timeout_ms);
	} else {
		control_error(c->conn, "field", "for: expected \"running\", \"exit\", \"text\", \"frame\" or \"stable\"");
	}
}

/* The guest's driver has taken all of it, or is gone, and with it what it had not. */
static void answer_input(struct vm_wait *w)
{
	const struct vm_input *in = w->input;
	struct control_conn *conn = w->conn;

	if (input_has_driver(&in->dev)) {
		answer_wait(w, NULL);
		return;
	}
	end_wait(w);
	control_error(conn, "no-driver", "the guest's driver of %s went away before it had all of it", in->name);
}

/* As much as there is room for. The connection's next requests are not read before the guest has taken all of this one: that holds a fast client back. */
static void feed_input(struct vm_wait *w)
{
	if (!input_has_driver(&w->input->dev)) {
		answer_input(w);
	} else if (vm_input_feed(w->input, control_conn_index(w->conn), w->events, &w->at)) {
		json_decref(w->events);
		w->events = NULL;
		if (input_await(&w->input->dev)) {
			answer_input(w);
		}
	}
}

static void do_input(const struct verb_call *c)
{
	const char *verb, *name;
	json_t *id, *events;
	struct vm_input *in;
	struct vm_wait *w;
	json_error_t err;
	char why[160];

	if (unpack_failed(c, json_unpack_ex(c->request, &err, JSON_STRICT, "{" COMMON ", s:s, s:o}", "do", &verb, "id", &id, "device", &name,
		"events", &events), &err)) {
		return;
	}
	in = vm_input_find(c->vm, name);
	if (!in) {
		control_error(c->conn, "field", "device: there is no input device \"%.64s\"", name);
	} else if (!virtio_device_is_running(&in->dev.base)) {
		control_error(c->conn, "no-driver", "the guest does not use %s: it needs the modules virtio_input and evdev", in->name);
	} else if (vm_input_check(in, events, why, sizeof(why)) < 0) {
		control_error(c->conn, "field", "%s", why);
	} else {
		w = begin_wait(c->vm, c->conn, WAIT_INPUT, 0);
		w->input = in;
		w->events = json_incref(events);
		w->at = 0;
		feed_input(w);
	}
}

/* {"do":"evdev"} says how the host's devices are; with "attach", after they have gone to the guest (true) or the host. */
static void do_evdev(const struct verb_call *c)
{
	int attach = -1;
	json_error_t err;
	const char *verb;
	json_t *id;

	if (unpack_failed(c, json_unpack_ex(c->request, &err, JSON_STRICT, "{" COMMON ", s?b}", "do", &verb, "id", &id, "attach", &attach), &err)) {
		return;
	}
	if (attach >= 0) {
		vm_evdev_want(c->vm, attach);
	}
	control_ok(c->conn, json_pack("{s:o}", "devices", vm_evdev_list(c->vm)));
}

void vm_control_input_taken(struct vm *vm, const struct vm_input *in)
{
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		struct vm_wait *w = &vm->ctl.wait[i];

		if (w->what == WAIT_INPUT && w->input == in && !w->events) {
			answer_input(w);
		}
	}
}

/* Nobody's second request comes before another one's first: it is not read before all that waits has been taken. */
void vm_control_input_room(struct vm *vm, const struct vm_input *in)
{
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		struct vm_wait *w = &vm->ctl.wait[i];

		if (w->what == WAIT_INPUT && w->input == in && w->events) {
			feed_input(w);
		}
	}
}

void vm_control_gpu_asked(struct vm *vm, struct control_conn *conn, struct vm_gpu_request *r)
{
	begin_wait(vm, conn, WAIT_GPU, 0)->gpu = r;
}

void vm_control_gpu_done(struct vm *vm, struct control_conn *conn)
{
	struct vm_wait *w = &vm->ctl.wait[control_conn_index(conn)];

	w->what = WAIT_NOTHING;
	end_wait(w);
}

static void do_screenshot(const struct verb_call *c)
{
	json_int_t scanout = 0;
	int cursor = 1, base64 = 0;
	json_error_t err;
	const char *verb;
	json_t *id;

	if (!unpack_failed(c, json_unpack_ex(c->request, &err, JSON_STRICT, "{" COMMON ", s?I, s?b, s?b}", "do", &verb, "id", &id, "scanout", &scanout,
		"cursor", &cursor, "base64", &base64), &err)) {
		vm_gpu_screenshot(c->vm, c->conn, scanout, cursor, base64);
	}
}

static void do_display(const struct verb_call *c)
{
	struct vm_gpu_change change = {.width = -1, .height = -1, .refresh = -1, .width_mm = -1, .height_mm = -1, .enabled = -1};
	json_int_t scanout = 0;
	json_error_t err;
	const char *verb;
	json_t *id;

	if (!unpack_failed(c, json_unpack_ex(c->request, &err, JSON_STRICT, "{" COMMON ", s?I, s?b, s?I, s?I, s?I, s?I, s?I}", "do", &verb, "id", &id, "scanout",
		&scanout, "enabled", &change.enabled, "width", &change.width, "height", &change.height, "refresh", &change.refresh, "width_mm",
		&change.width_mm, "height_mm", &change.height_mm), &err)) {
		vm_gpu_outputs(c->vm, c->conn, scanout, &change);
	}
}

static void do_frames(const struct verb_call *c)
{
	json_int_t viewer = 0, after = 0;
	json_error_t err;
	const char *verb;
	json_t *id, *frames;

	if (unpack_failed(c, json_unpack_ex(c->request, &err, JSON_STRICT, "{" COMMON ", s:I, s?I}", "do", &verb, "id", &id, "viewer", &viewer, "after", &after), &err)) {
		return;
	}
	frames = vm_view_frames(c->vm, viewer, after);
	if (!frames) {
		control_error(c->conn, "field", "there is no viewer %lld", (long long)viewer);
		return;
	}
	control_ok(c->conn, frames);
}

static void do_subscribe(const struct verb_call *c)
{
	if (takes_nothing(c)) {
		c->conn->subscribed = true;
		control_ok(c->conn, NULL);
	}
}

static void on_request(void *ctx, struct control_conn *conn, const char *verb, json_t *request)
{
	static const struct {
		const char *name;
		void (*fn)(const struct verb_call *c);
	} verbs[] = {
		{"version", do_version}, {"status", do_status}, {"stats", do_stats}, {"config", do_config}, {"stop", do_stop}, {"pause", do_pause},
		{"resume", do_resume}, {"reset", do_reset}, {"wait", do_wait}, {"input", do_input}, {"evdev", do_evdev}, {"screenshot", do_screenshot},
		{"display", do_display}, {"frames", do_frames}, {"subscribe", do_subscribe},
	};
	const struct verb_call c = {.vm = ctx, .conn = conn, .request = request};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].name, verb) == 0) {
			verbs[i].fn(&c);
			return;
		}
	}
	control_error(conn, "verb", "unknown verb \"%.64s\"", verb);
}

static void on_gone(void *ctx, struct control_conn *conn)
{
	struct vm *vm = ctx;

	end_wait(&vm->ctl.wait[control_conn_index(conn)]);
	vm_input_gone(vm, control_conn_index(conn));
}

static const struct control_ops control_ops = {.request = on_request, .gone = on_gone};

/*
 * [expect].
 */

/* Everything that was expected has been seen? */
static void pass_if_complete(struct vm *vm)
{
	char why[200];

	if (!vm->options->expect || vm->cfg->expect.exit != EXPECT_EXIT_STOP || vm_screen_missing(vm, why, sizeof(why)) ||
		(vm->cfg->expect.console.n > 0 && !vm->ctl.lines_seen)) {
		return;
	}
	vm_end(vm, VM_END_PASSED, 0, "%s", "");
}

void vm_control_screen_seen(struct vm *vm)
{
	pass_if_complete(vm);
}

static void on_expect(void *ctx, enum expect_verdict verdict, const char *line)
{
	struct vm *vm = ctx;

	if (verdict == EXPECT_READY) {
		vm->result->boot_ns = clock_now_ns() - vm->ctl.started_ns;
		boot_trace_mark("guest: ready, as expect.ready says");
		notify("READY=1\nSTATUS=ready");
		control_event(&vm->ctl.control, "ready", NULL);
		return;
	}
	if (!vm->options->expect) {
		return;
	}
	switch (verdict) {
	case EXPECT_PASSED:
		vm->ctl.lines_seen = true;
		pass_if_complete(vm);
		break;
	case EXPECT_FAILED:
		vm_end(vm, VM_END_EXPECT, 0, "the guest says: %s", line);
		break;
	case EXPECT_PANICKED:
		vm_end(vm, VM_END_PANIC, 0, "%s", line);
		break;
	default:
		log_msg(LOG_WARN, "the guest says: %s", line);
		break;
	}
}

static uint64_t busy_ns(const struct vm *vm)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < vm->nvcpus; i++) {
		uint64_t busy = vcpu_busy_ns(&vm->vcpu[i]);

		most = busy > most ? busy : most;
	}
	return most;
}

static uint64_t bytes_said(const struct vm *vm)
{
	return vm->console.stream.tail_total + vm->serial.stream.tail_total;
}

static void on_sample(struct loop_timer *timer)
{
	struct vm *vm = (struct vm *)((char *)timer - offsetof(struct vm, ctl.sample));

	vm->ctl.sample_ns = clock_now_ns();
	vm->ctl.sample_bytes = bytes_said(vm);
	vm->ctl.sample_busy_ns = busy_ns(vm);
}

/* A guest that waits for something is idle. One that has said nothing at all, or nothing for a third of its time while a processor
 * was busy for more than half of that, hangs. */
void vm_control_timeout(struct vm *vm)
{
	const struct vm_control *ctl = &vm->ctl;
	const char *missing = expect_missing(&ctl->expect);
	uint64_t silent_ns = clock_now_ns() - ctl->sample_ns;
	char screen[200];
	bool hangs = bytes_said(vm) == 0 ||
		(ctl->sample_ns && bytes_said(vm) == ctl->sample_bytes && busy_ns(vm) - ctl->sample_busy_ns > silent_ns / 2);

	if (hangs) {
		for (unsigned i = 0; i < vm->nvcpus; i++) {
			vcpu_dump(&vm->vcpu[i]);
		}
	}
	if (missing) {
		vm_end(vm, hangs ? VM_END_HANG : VM_END_TIMEOUT, 0, "\"%s\" was not seen in time", missing);
	} else if (vm_screen_missing(vm, screen, sizeof(screen))) {
		/* It ran, and showed something else. */
		vm_end(vm, VM_END_EXPECT, 0, "%s", screen);
	} else {
		vm_end(vm, hangs ? VM_END_HANG : VM_END_TIMEOUT, 0, "timeout");
	}
}

void vm_control_judge(struct vm *vm)
{
	const char *missing = expect_missing(&vm->ctl.expect);
	struct vm_result *result = vm->result;
	char screen[200];
	bool is_end = result->end == VM_END_POWEROFF || (result->end == VM_END_EXIT_PORT && result->code == 0);

	if (!vm->options->expect || !is_end) {
		return;
	}
	if (missing) {
		result->end = VM_END_EXPECT;
		snprintf(result->text, sizeof(result->text), "the guest ended before \"%.200s\" was seen", missing);
	} else if (vm_screen_missing(vm, screen, sizeof(screen))) {
		result->end = VM_END_EXPECT;
		snprintf(result->text, sizeof(result->text), "the guest ended: %s", screen);
	} else if (result->end == VM_END_POWEROFF && vm->cfg->expect.exit == EXPECT_EXIT_GUEST) {
		result->end = VM_END_EXPECT;
		snprintf(result->text, sizeof(result->text), "the guest powered off without writing its exit code");
	} else if (result->end == VM_END_POWEROFF) {
		result->end = VM_END_PASSED;
	}
}

/*
 * Beginning and end.
 */

int vm_control_init(struct vm *vm)
{
	struct vm_control *ctl = &vm->ctl;
	struct stream *shown = vm->cfg->console.type != CONSOLE_NONE ? &vm->console.stream : vm->ports.serial ? &vm->serial.stream : NULL;
	int r = 0;

	ctl->started_ns = clock_now_ns();
	ctl->parked.fn = on_parked;
	if (vm->options->expect || vm->cfg->expect.ready) {
		r = expect_init(&ctl->expect, vm->cfg, &vm->loop, on_expect, vm);
		if (r < 0) {
			return r;
		}
	}
	loop_timer_init(&ctl->sample, &vm->loop, on_sample);
	if (vm->options->expect && vm->options->deadline_ns > ctl->started_ns) {
		loop_timer_set(&ctl->sample, ctl->started_ns + (vm->options->deadline_ns - ctl->started_ns) / 3 * 2);
	}
	if (vm->cfg->console.type != CONSOLE_NONE) {
		line_watch_attach(&ctl->console_watch, &vm->loop, &vm->console.stream, on_line, vm);
	}
	if (vm->ports.serial) {
		line_watch_attach(&ctl->serial_watch, &vm->loop, &vm->serial.stream, on_line, vm);
	}
	if (vm->options->control_fd > 0) {
		r = control_init(&ctl->control, &vm->loop, vm->options->control_fd, &control_ops, vm);
	}
	if (r == 0 && vm->options->console_fd > 0 && shown) {
		r = console_sock_init(&ctl->console_sock, &vm->loop, vm->options->console_fd, shown);
	}
	return r;
}

void vm_control_started(struct vm *vm)
{
	notify(vm->cfg->expect.ready ? "STATUS=booting" : "READY=1\nSTATUS=running");
	if (vm->options->on_started) {
		vm->options->on_started(vm->options->ctx);
	}
}

/* What "wait" waits for, rather than what another request has asked for. */
static bool is_waited_for(const struct vm_wait *w)
{
	return w->what == WAIT_RUNNING || w->what == WAIT_EXIT || w->what == WAIT_TEXT || w->what == WAIT_FRAME || w->what == WAIT_STILL;
}

void vm_control_finish(struct vm *vm)
{
	struct vm_control *ctl = &vm->ctl;
	bool restarts = result_wants_restart(vm->result, vm->cfg);

	loop_timer_stop(&ctl->sample);
	expect_finish(&ctl->expect);
	for (unsigned i = 0; ctl->control.loop && i < CONTROL_CONNS_MAX; i++) {
		struct vm_wait *w = &ctl->wait[i];

		if (restarts && is_waited_for(w)) {
			/* Nothing has ended: who waits connects again. */
			end_wait(w);
		} else if (w->what == WAIT_EXIT) {
			answer_wait(w, json_pack("{s:s, s:i}", "reason", result_reason(vm->result), "exit", result_exit_code(vm->result)));
		} else if (w->what != WAIT_NOTHING) {
			struct control_conn *conn = w->conn;

			end_wait(w);
			control_error(conn, "ended", "the VM has ended: %s", result_reason(vm->result));
		}
	}
	if (ctl->control.loop && !restarts) {
		control_event(&ctl->control, "exit", json_pack("{s:s, s:i}", "reason", result_reason(vm->result), "exit", result_exit_code(vm->result)));
	}
	control_finish(&ctl->control, LAST_ANSWERS_MS, true);
	console_sock_finish(&ctl->console_sock, LAST_ANSWERS_MS, true);
	/* What vCPUs that have ended since have left in the loop. */
	while (__atomic_load_n(&ctl->has_parked, __ATOMIC_SEQ_CST)) {
		loop_run_once(&vm->loop, 0);
	}
}
