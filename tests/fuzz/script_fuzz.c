/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any bytes as a script of `tinyvmm input`. What must hold: a command has a mistake or is valid, with lines that go up; what was checked can be done;
 * it comes to whole frames in small portions, of events the devices have, and leaves nothing pressed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/input_play.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct input_play_device devices[] = {{"keyboard0", "keyboard", "de"}, {"tablet0", "tablet", ""}, {"mouse0", "mouse", ""}, {"touch0", "multitouch", ""}};
static struct input_desc desc[4];
static struct input_state state[4];
static uint8_t asked;

static void must(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

static int on_send(void *ctx, const char *device, const struct input_ev *ev, unsigned n)
{
	size_t d = 0;

	(void)ctx;
	while (strcmp(devices[d].name, device) != 0) {
		d++;
	}
	must(n > 1 && n <= INPUT_PLAY_EVENTS_MAX && ev[n - 1].type == EV_SYN, "whole frames in a small portion");
	for (unsigned i = 0; i < n; i++) {
		must(ev[i].type == EV_SYN ? i > 0 && ev[i - 1].type != EV_SYN : input_desc_has(&desc[d], ev[i].type, ev[i].code), "events the device has");
		must(ev[i].type != EV_ABS || (ev[i].value >= -1 && ev[i].value <= INPUT_TABLET_MAX), "a place on the device");
		input_state_apply(&state[d], &ev[i]);
	}
	return 0;
}

static int on_sleep(void *ctx, uint64_t ns)
{
	(void)ctx;
	(void)ns;
	return 0;
}

static int on_wait(void *ctx, const char *regex, uint64_t timeout_ns)
{
	(void)ctx;
	(void)timeout_ns;
	must(*regex, "something to wait for");
	return 0;
}

static int on_caps(void *ctx, const char *device, bool *on)
{
	(void)ctx;
	(void)device;
	*on = asked++ & 1;
	return 0;
}

static int on_box(void *ctx, uint32_t box[2])
{
	(void)ctx;
	/* At times there is no display, and at times its size changes. */
	asked++;
	box[0] = asked % 7 ? 320 + asked : 0;
	box[1] = asked % 7 ? 200 : 0;
	return 0;
}

static int on_shot(void *ctx, const char *path)
{
	(void)ctx;
	must(*path, "a file to write");
	return 0;
}

static void prepare(void)
{
	static const enum input_kind kinds[] = {INPUT_KEYBOARD, INPUT_TABLET, INPUT_MOUSE, INPUT_MULTITOUCH};

	for (unsigned i = 0; i < 4; i++) {
		if (!desc[i].name[0]) {
			input_desc_make(&desc[i], kinds[i], 0);
		}
		input_state_init(&state[i], &desc[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct input_play_ops ops = {.send = on_send, .sleep = on_sleep, .wait = on_wait, .has_caps = on_caps, .box = on_box, .shot = on_shot};
	static struct input_play play = {.device = devices, .ndevices = 4, .ops = &ops};
	struct input_script script;
	unsigned line = 0;

	prepare();
	must(input_script_read(&script, (const char *)data, len) == 0, "memory");
	for (size_t i = 0; i < script.n; i++) {
		const struct input_command *c = &script.command[i];

		must(c->line > line, "lines that go up");
		line = c->line;
		if (!c->mistake && input_play_check(&play, c) == 0) {
			int r = input_play_run(&play, c);

			/* Outputs may have become smaller in between. */
			must(r == 0 || r == -EINVAL, "what was checked can be done");
		}
		for (unsigned d = 0; d < 4; d++) {
			must(!input_state_any_key(&state[d]), "nothing pressed");
		}
	}
	input_script_finish(&script);
	return 0;
}
