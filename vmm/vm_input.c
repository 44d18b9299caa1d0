/* SPDX-License-Identifier: MIT */
#include "vmm/vm_input.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/vm_evdev.h"
#include "vmm/vm_priv.h"

static void on_light(void *ctx, unsigned code, bool on)
{
	struct vm_input *in = ctx;

	if (in->evdev.in) {
		evdev_light(&in->evdev, code, on);
	}
	if (in->vm->ctl.control.loop) {
		control_event(&in->vm->ctl.control, "leds", json_pack("{s:s, s:i, s:b}", "device", in->name, "code", (int)code, "on", (int)on));
	}
	vm_view_input_changed(in->vm);
}

static void on_taken(void *ctx)
{
	struct vm_input *in = ctx;

	vm_control_input_taken(in->vm, in);
}

static void on_room(void *ctx)
{
	struct vm_input *in = ctx;

	vm_control_input_room(in->vm, in);
	vm_view_input_room(in->vm);
}

static void on_running(void *ctx, bool is_running)
{
	struct vm_input *in = ctx;

	(void)is_running;
	if (in->evdev.in) {
		evdev_running(&in->evdev);
	}
	vm_view_input_changed(in->vm);
}

static const struct input_source_ops source_ops = {.light = on_light, .running = on_running, .taken = on_taken, .room = on_room};

static int init_device(struct vm *vm, struct vm_input *in, unsigned n)
{
	struct input_desc desc;

	in->vm = vm;
	in->name = in->config->name;
	vm->ninputs++;
	if (in->config->type == INPUT_EVDEV) {
		return vm_evdev_start(in);
	}
	input_desc_make(&desc, in->config->type, n);
	vm_input_make(in, &desc);
	return virtio_bus_add(&vm->virtio, &in->dev.base);
}

void vm_input_make(struct vm_input *in, const struct input_desc *desc)
{
	input_init(&in->dev, desc, &in->vm->loop, &in->vm->mem);
	input_set_source(&in->dev, &source_ops, in);
}

int vm_input_init(struct vm *vm)
{
	unsigned of_kind[INPUT_EVDEV + 1] = {0};
	int r = 0;

	/* From fresh pages, which stay untouched as long as the guest fetches its events. */
	vm->input = vm->cfg->ninputs ? calloc(vm->cfg->ninputs, sizeof(*vm->input)) : NULL;
	if (vm->cfg->ninputs && !vm->input) {
		log_errno(LOG_ERR, -ENOMEM, "input");
		return -ENOMEM;
	}
	for (unsigned i = 0; r == 0 && i < vm->cfg->ninputs; i++) {
		struct vm_input *in = &vm->input[i];

		in->config = &vm->cfg->input[i];
		r = init_device(vm, in, of_kind[in->config->type]++);
	}
	return r;
}

void vm_input_finish(struct vm *vm)
{
	vm_evdev_finish(vm);
	for (unsigned i = 0; i < vm->ninputs; i++) {
		input_finish(&vm->input[i].dev);
	}
	free(vm->input);
	vm->input = NULL;
	vm->ninputs = 0;
}

struct vm_input *vm_input_find(struct vm *vm, const char *name)
{
	for (unsigned i = 0; i < vm->ninputs; i++) {
		if (strcmp(vm->input[i].name, name) == 0) {
			return &vm->input[i];
		}
	}
	return NULL;
}

static int __attribute__((format(printf, 3, 4))) refuse(char *err, size_t err_len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static bool is_syn(const struct input_ev *ev)
{
	return ev->type == EV_SYN;
}

/* The values that an event of the device may have. */
static void find_range(const struct input_desc *desc, const struct input_ev *ev, int32_t *min, int32_t *max)
{
	const struct input_axis *axis = ev->type == EV_ABS ? &desc->abs[ev->code] : NULL;

	*min = INT32_MIN;
	*max = INT32_MAX;
	if (ev->type == EV_KEY || ev->type == EV_SW) {
		*min = 0;
		/* A repeat, which a device without EV_REP may say itself. */
		*max = ev->type == EV_KEY && !input_desc_has_type(desc, EV_REP) ? 2 : 1;
	} else if (axis && ev->code == ABS_MT_TRACKING_ID) {
		*min = -1;
		*max = axis->max > 0 ? axis->max : INT32_MAX;
	} else if (axis && axis->min < axis->max) {
		/* Else it is one of the host's, whose driver does not know its range. */
		*min = axis->min;
		*max = axis->max;
	}
}

/* Event @i of a request. Return: 0, or -EINVAL with @err. */
static int parse(const struct vm_input *in, const json_t *events, size_t i, struct input_ev *ev, char *err, size_t err_len)
{
	json_int_t type, code, value;
	int32_t min, max;
	const json_t *item = json_array_get(events, i);

	if (json_array_size(item) != 3 || json_unpack((json_t *)item, "[I, I, I]", &type, &code, &value) != 0) {
		return refuse(err, err_len, "events[%zu]: expected [type, code, value]", i);
	}
	if (value < INT32_MIN || value > INT32_MAX) {
		return refuse(err, err_len, "events[%zu]: the value is out of range", i);
	}
	if (!(type == EV_SYN && code == SYN_REPORT) &&
		(type < 0 || type > EV_MAX || code < 0 || code > KEY_MAX || type == EV_LED || type == EV_REP ||
			!input_desc_has(&in->dev.desc, (unsigned)type, (unsigned)code))) {
		return refuse(err, err_len, "events[%zu]: %s has no event of type %lld and code %lld", i, in->name, (long long)type, (long long)code);
	}
	*ev = (struct input_ev){.type = (uint16_t)type, .code = (uint16_t)code, .value = (int32_t)value};
	find_range(&in->dev.desc, ev, &min, &max);
	if (value < min || value > max) {
		return refuse(err, err_len, "events[%zu]: %s takes values from %d to %d for type %lld and code %lld", i, in->name, min, max, (long long)type, (long long)code);
	}
	return 0;
}

/* Every event, and that they are whole frames. */
int vm_input_check(const struct vm_input *in, const json_t *events, char *err, size_t err_len)
{
	size_t n = json_array_size(events), frame = 0;

	for (size_t i = 0; i < n; i++) {
		struct input_ev ev;
		int r = parse(in, events, i, &ev, err, err_len);

		if (r < 0) {
			return r;
		}
		frame = is_syn(&ev) ? 0 : frame + 1;
		if (frame == INPUT_FRAME_MAX) {
			return refuse(err, err_len, "events[%zu]: a frame of more than %d events", i, INPUT_FRAME_MAX);
		}
	}
	if (n == 0 || frame > 0) {
		return refuse(err, err_len, "events: a frame ends in [0, 0, 0]");
	}
	return 0;
}

static_assert(INPUT_SLOTS_MAX <= 32, "touched has a bit for each");

static void remember(struct vm_input *in, unsigned conn, const struct input_ev *ev)
{
	uint8_t bit = (uint8_t)(1u << ev->code % 8);
	uint32_t finger = in->slot < INPUT_SLOTS_MAX ? 1u << in->slot : 0;

	if (ev->type == EV_KEY && ev->value) {
		in->held[conn][ev->code / 8] |= bit;
	} else if (ev->type == EV_KEY) {
		in->held[conn][ev->code / 8] &= (uint8_t)~bit;
	} else if (ev->type == EV_ABS && ev->code == ABS_MT_SLOT) {
		in->slot = (unsigned)ev->value;
	} else if (ev->type == EV_ABS && ev->code == ABS_MT_TRACKING_ID) {
		in->touched[conn] = ev->value >= 0 ? in->touched[conn] | finger : in->touched[conn] & ~finger;
	}
}

bool vm_input_feed(struct vm_input *in, unsigned conn, const json_t *events, size_t *at)
{
	size_t end = json_array_size(events);

	while (*at < end && input_has_room(&in->dev)) {
		struct input_ev frame[INPUT_FRAME_MAX];
		char err[1];
		unsigned n = 0;

		do {
			parse(in, events, (*at)++, &frame[n], err, sizeof(err));
		} while (!is_syn(&frame[n++]));
		vm_input_frame(in, conn, frame, n);
	}
	return *at == end;
}

void vm_input_frame(struct vm_input *in, unsigned holder, const struct input_ev *ev, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		remember(in, holder, &ev[i]);
	}
	input_send(&in->dev, ev, n);
}

/* What others hold too stays down. */
static void release(struct vm_input *in, unsigned conn)
{
	struct input_state state = in->dev.now;
	uint32_t lifted = in->touched[conn];

	for (unsigned other = 0; other < VM_INPUT_HOLDERS; other++) {
		for (size_t i = 0; other != conn && i < sizeof(state.key); i++) {
			in->held[conn][i] &= (uint8_t)~in->held[other][i];
		}
		lifted &= other != conn ? ~in->touched[other] : ~0u;
	}
	for (size_t i = 0; i < sizeof(state.key); i++) {
		state.key[i] &= (uint8_t)~in->held[conn][i];
	}
	for (unsigned slot = 0; slot < INPUT_SLOTS_MAX; slot++) {
		if (lifted & 1u << slot) {
			state.mt[slot][ABS_MT_TRACKING_ID - ABS_MT_SLOT] = -1;
		}
	}
	memset(in->held[conn], 0, sizeof(in->held[conn]));
	in->touched[conn] = 0;
	input_sync(&in->dev, &state);
}

void vm_input_gone(struct vm *vm, unsigned holder)
{
	for (unsigned i = 0; i < vm->ninputs; i++) {
		release(&vm->input[i], holder);
	}
}

json_t *vm_input_list(const struct vm *vm)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < vm->ninputs; i++) {
		const struct config_input_device *config = &vm->cfg->input[i];
		const struct input *dev = &vm->input[i].dev;
		json_t *one = json_pack("{s:s, s:s, s:b}", "name", vm->input[i].name, "type", config_input_kind(config->type), "driver",
			(int)virtio_device_is_running(&dev->base));
		json_t *leds = json_array();

		for (unsigned code = 0; code < LED_CNT; code++) {
			if (dev->lights[code / 8] & 1u << code % 8) {
				json_array_append_new(leds, json_integer((json_int_t)code));
			}
		}
		if (config->type == INPUT_KEYBOARD) {
			json_object_set_new(one, "layout", json_string(config->layout));
		}
		json_object_set_new(one, "leds", leds);
		json_array_append_new(all, one);
	}
	return all;
}

json_t *vm_input_stats(const struct vm *vm)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < vm->ninputs; i++) {
		const struct input_counters *c = &vm->input[i].dev.counters;

		json_object_set_new(all, vm->input[i].name,
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "frames_in", (json_int_t)c->frames_in, "events_in", (json_int_t)c->events_in,
				"frames_out", (json_int_t)c->frames_out, "events_out", (json_int_t)c->events_out, "coalesced", (json_int_t)c->coalesced,
				"dropped", (json_int_t)c->dropped, "resyncs", (json_int_t)c->resyncs, "refused", (json_int_t)c->refused, "lights",
				(json_int_t)c->lights, "late_us", (json_int_t)c->late_us, "late_max_us", (json_int_t)c->late_max_us));
	}
	return all;
}
