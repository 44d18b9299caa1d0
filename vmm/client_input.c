/* SPDX-License-Identifier: MIT */
/* `tinyvmm input`: commands become events of a running VM's input devices. Everything is checked before anything is sent. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/client.h"
#include "vmm/client_priv.h"
#include "vmm/clock.h"
#include "vmm/input_play.h"
#include "vmm/log.h"
#include "vmm/result.h"

#define DEVICES_MAX 32

struct session {
	struct client_link link;
	struct rundir rd;
	const char *name;
	struct input_play_device device[DEVICES_MAX];
	unsigned ndevices;
	int code; /* what went wrong while sending: an exit code, said */
};

/*
 * What the VM says.
 */

static json_t *ask_status(struct session *s)
{
	return client_ask(&s->link, json_pack("{s:s}", "do", "status"), CLIENT_PATIENCE_MS);
}

static void learn_device(struct session *s, const json_t *one)
{
	struct input_play_device *d = &s->device[s->ndevices];
	const char *name, *type, *layout = "us";

	if (s->ndevices < DEVICES_MAX && json_unpack((json_t *)one, "{s:s, s:s, s?s}", "name", &name, "type", &type, "layout", &layout) == 0) {
		snprintf(d->name, sizeof(d->name), "%s", name);
		snprintf(d->type, sizeof(d->type), "%s", type);
		snprintf(d->layout, sizeof(d->layout), "%s", layout);
		s->ndevices++;
	}
}

/* Return: an exit code; what is wrong is said. */
static int learn(struct session *s)
{
	json_t *answer = ask_status(s);
	const json_t *all = json_object_get(answer, "input");
	int code = client_judge(answer, s->name);

	for (size_t i = 0; i < json_array_size(all); i++) {
		learn_device(s, json_array_get(all, i));
	}
	json_decref(answer);
	return code;
}

/*
 * What is sent. The functions of input_play_ops: an error is in code.
 */

static int failed(struct session *s, int code)
{
	s->code = code;
	return code == EXIT_OK ? 0 : -EIO;
}

static int send_events(void *ctx, const char *device, const struct input_ev *ev, unsigned n)
{
	struct session *s = ctx;
	uint64_t began = clock_now_ns();
	json_t *events = json_array(), *answer;
	int code;

	for (unsigned i = 0; i < n; i++) {
		json_array_append_new(events, json_pack("[i, i, i]", (int)ev[i].type, (int)ev[i].code, (int)ev[i].value));
	}
	answer = client_ask(&s->link, json_pack("{s:s, s:s, s:o}", "do", "input", "device", device, "events", events), CLIENT_PATIENCE_MS);
	if (!answer && clock_now_ns() - began >= CLIENT_PATIENCE_MS * CLOCK_NS_PER_MS) {
		log_msg(LOG_ERR, "%s: the guest does not take what %s sends; is the VM paused?", s->name, device);
		return failed(s, EXIT_FAILED);
	}
	code = client_judge(answer, s->name);
	json_decref(answer);
	return failed(s, code);
}

static int sleep_for(void *ctx, uint64_t ns)
{
	(void)ctx;
	poll(NULL, 0, (int)(ns / CLOCK_NS_PER_MS));
	return 0;
}

static int wait_for_text(void *ctx, const char *regex, uint64_t timeout_ns)
{
	struct session *s = ctx;
	json_t *request = json_pack("{s:s, s:s, s:s, s:I}", "do", "wait", "for", "text", "text", regex, "timeout_ms", (json_int_t)(timeout_ns / CLOCK_NS_PER_MS));
	json_t *answer = client_ask(&s->link, request, -1);
	int code = client_judge(answer, s->name);

	json_decref(answer);
	return failed(s, code);
}

static int has_caps(void *ctx, const char *device, bool *on)
{
	struct session *s = ctx;
	json_t *answer = ask_status(s);
	const json_t *all = json_object_get(answer, "input");
	int code = client_judge(answer, s->name);

	*on = false;
	for (size_t i = 0; i < json_array_size(all); i++) {
		const char *name = json_string_value(json_object_get(json_array_get(all, i), "name"));
		const json_t *leds = json_object_get(json_array_get(all, i), "leds");

		for (size_t k = 0; name && strcmp(name, device) == 0 && k < json_array_size(leds); k++) {
			*on |= json_integer_value(json_array_get(leds, k)) == LED_CAPSL;
		}
	}
	json_decref(answer);
	return failed(s, code);
}

/* As gpu_cmd.c tells the guest: side by side, from the left. What the guest shows counts before what it was asked for. */
static void add_output(const json_t *one, uint32_t box[2])
{
	int enabled = 0, width = 0, height = 0, shown_width = 0, shown_height = 0;

	json_unpack((json_t *)(uintptr_t)one, "{s:b, s:i, s:i, s:i, s:i}", "enabled", &enabled, "width", &width, "height", &height, "shown_width", &shown_width,
		"shown_height", &shown_height);
	width = shown_width > 0 ? shown_width : width;
	height = shown_height > 0 ? shown_height : height;
	if (enabled && width > 0 && height > 0) {
		box[0] += (uint32_t)width;
		box[1] = (uint32_t)height > box[1] ? (uint32_t)height : box[1];
	}
}

static int find_box(void *ctx, uint32_t box[2])
{
	struct session *s = ctx;
	json_t *answer = client_ask(&s->link, json_pack("{s:s}", "do", "display"), CLIENT_PATIENCE_MS);
	const json_t *outputs = json_object_get(answer, "outputs");
	const char *error = "";
	int code;

	box[0] = box[1] = 0;
	json_unpack(answer, "{s:{s:s}}", "error", "code", &error);
	code = strcmp(error, "no-display") == 0 ? EXIT_OK : client_judge(answer, s->name);
	for (size_t i = 0; i < json_array_size(outputs); i++) {
		add_output(json_array_get(outputs, i), box);
	}
	json_decref(answer);
	return failed(s, code);
}

static int take_shot(void *ctx, const char *path)
{
	struct session *s = ctx;

	return failed(s, client_write_picture(&s->link, s->name, 0, true, path));
}

static const struct input_play_ops play_ops = {
	.send = send_events, .sleep = sleep_for, .wait = wait_for_text, .has_caps = has_caps, .box = find_box, .shot = take_shot};

/*
 * The commands.
 */

static int read_script(struct input_script *script)
{
	char *text = malloc(INPUT_SCRIPT_MAX + 1);
	size_t len = text ? fread(text, 1, INPUT_SCRIPT_MAX + 1, stdin) : 0;
	int r = text ? 0 : -ENOMEM;

	if (r == 0 && ferror(stdin)) {
		r = -EIO;
	} else if (len > INPUT_SCRIPT_MAX) {
		r = -E2BIG;
	}
	if (r < 0) {
		log_errno(LOG_ERR, r, "<stdin>");
	} else {
		r = input_script_read(script, text, len);
	}
	free(text);
	return r;
}

static void mistake(const struct input_command *c, bool is_script, const char *text)
{
	if (is_script) {
		fprintf(stderr, "<stdin>:%u: error: %s\n", c->line, text);
	} else {
		log_msg(LOG_ERR, "%s", text);
	}
}

/* Every mistake is said. Return: an exit code. */
static int check(const struct session *s, struct input_play *p, const struct input_script *script, bool is_script)
{
	int code = EXIT_OK;

	for (size_t i = 0; i < script->n; i++) {
		const struct input_command *c = &script->command[i];
		int r = c->mistake ? -EINVAL : input_play_check(p, c);

		/* The VM did not answer: said already. */
		if (s->code != EXIT_OK) {
			return s->code;
		}
		if (r < 0) {
			mistake(c, is_script, c->mistake ? c->mistake : p->err);
			code = r == -ELIBACC ? EXIT_HOST : EXIT_USAGE;
		}
		/* It would be the same for the others. */
		if (code == EXIT_HOST) {
			return code;
		}
	}
	return code;
}

static int check_wanted(const struct session *s, const struct input_play *p)
{
	for (unsigned i = 0; i < s->ndevices; i++) {
		if (strcmp(s->device[i].name, p->wanted) == 0) {
			if (!p->wanted_used) {
				log_msg(LOG_ERR, "--device %s: no command here is for a device of type %s", p->wanted, s->device[i].type);
			}
			return p->wanted_used ? EXIT_OK : EXIT_USAGE;
		}
	}
	log_msg(LOG_ERR, "--device: %s has no input device \"%s\"", s->name, p->wanted);
	return EXIT_USAGE;
}

static int play(struct session *s, const struct options *o, const struct input_script *script, bool is_script)
{
	struct input_play p = {.device = s->device, .ndevices = s->ndevices, .wanted = o->device, .layout = o->layout, .ops = &play_ops, .ctx = s};
	int code = check(s, &p, script, is_script);

	if (code == EXIT_OK && o->device) {
		code = check_wanted(s, &p);
	}
	for (size_t i = 0; code == EXIT_OK && i < script->n; i++) {
		const struct input_command *c = &script->command[i];

		if (input_play_run(&p, c) < 0 && s->code == EXIT_OK) {
			mistake(c, is_script, p.err);
			s->code = EXIT_FAILED;
		}
		code = s->code;
	}
	input_play_finish(&p);
	return code;
}

int client_input(const struct options *o)
{
	bool is_script = o->nfiles == 2 && strcmp(o->files[1], "-") == 0;
	static struct session s;
	struct input_script script = {.n = 0};
	int code = (is_script ? read_script(&script) : input_script_words(&script, o->files + 1, o->nfiles - 1)) < 0 ? EXIT_USAGE : EXIT_OK;

	s.name = o->files[0];
	if (code == EXIT_OK) {
		code = client_link_open(&s.link, s.name, &s.rd);
	}
	if (code == EXIT_OK) {
		code = learn(&s);
		code = code == EXIT_OK ? play(&s, o, &script, is_script) : code;
		client_link_close(&s.link, &s.rd);
	}
	input_script_finish(&script);
	return code;
}
