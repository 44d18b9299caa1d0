/* SPDX-License-Identifier: MIT */
#include "display/viewer_in.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SIZE_MAX_PX 16384

_Static_assert(offsetof(struct viewer_in_input, event) == sizeof(struct viewer_input), "one layout");
_Static_assert(offsetof(struct viewer_in_hello, format) == sizeof(struct viewer_client_hello), "one layout");
_Static_assert(offsetof(struct viewer_in_imports, format) == sizeof(struct viewer_imports), "one layout");

static int __attribute__((format(printf, 3, 4))) wrong(char *why, size_t why_len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_len, fmt, ap);
	va_end(ap);
	return -EPROTO;
}

static const struct message {
	uint32_t type;
	const char *name;
	size_t len; /* bytes at least */
	size_t scanout; /* where it is said; 0: nowhere */
} messages[] = {
	{VIEWER_CLIENT_HELLO, "hello", sizeof(struct viewer_client_hello), 0},
	{VIEWER_RELEASE, "release", sizeof(struct viewer_release), offsetof(struct viewer_release, scanout)},
	{VIEWER_PRESENTED, "presented", sizeof(struct viewer_presented), offsetof(struct viewer_presented, scanout)},
	{VIEWER_OUTPUT, "output", sizeof(struct viewer_output), offsetof(struct viewer_output, scanout)},
	{VIEWER_INPUT, "input", sizeof(struct viewer_input), 0},
	{VIEWER_FOCUS, "focus", sizeof(struct viewer_focus), 0},
	{VIEWER_CONTROL, "control", sizeof(struct viewer_control), 0},
	{VIEWER_ACTION, "action", sizeof(struct viewer_action), 0},
	{VIEWER_IMPORTS, "imports", sizeof(struct viewer_imports), 0},
};

static const struct message *find(uint32_t type)
{
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		if (messages[i].type == type) {
			return &messages[i];
		}
	}
	return NULL;
}

static bool is_button(uint16_t code)
{
	return code >= BTN_MOUSE && code < BTN_JOYSTICK;
}

static bool is_wheel(uint16_t code)
{
	return code == REL_WHEEL_HI_RES || code == REL_HWHEEL_HI_RES;
}

static bool is_place(int32_t value)
{
	return value >= 0 && value <= VIEWER_ABS_MAX;
}

/* Whether device @device has @e. */
static bool is_event(uint32_t device, const struct viewer_event *e)
{
	bool is_key = e->type == EV_KEY && e->code < KEY_CNT && (e->value == 0 || e->value == 1);

	switch (device) {
	case VIEWER_KEYBOARD:
		return is_key && e->code > 0 && !is_button(e->code);
	case VIEWER_MOUSE:
		return (is_key && is_button(e->code)) || (e->type == EV_REL && (is_wheel(e->code) || e->code == REL_X || e->code == REL_Y));
	case VIEWER_TABLET:
		return (is_key && is_button(e->code)) || (e->type == EV_REL && is_wheel(e->code)) ||
			(e->type == EV_ABS && (e->code == ABS_X || e->code == ABS_Y) && is_place(e->value));
	case VIEWER_TOUCH:
		if (e->type != EV_ABS) {
			return false;
		}
		return (e->code == ABS_MT_SLOT && e->value >= 0 && e->value < VIEWER_SLOTS) || (e->code == ABS_MT_TRACKING_ID && e->value >= -1 && e->value <= VIEWER_ABS_MAX) ||
			((e->code == ABS_MT_POSITION_X || e->code == ABS_MT_POSITION_Y) && is_place(e->value));
	default:
		return false;
	}
}

/* What follows the version is that version's own. */
static bool is_other_version(union viewer_in *m, const void *packet, size_t len)
{
	const size_t head = offsetof(struct viewer_client_hello, features);

	if (m->hdr.type == VIEWER_CLIENT_HELLO && len >= head) {
		memcpy(m, packet, head);
		return m->hello.version != VIEWER_VERSION;
	}
	return false;
}

/* What follows a message of @head bytes. Return: whether there are @n formats, and no more than there may be. */
static bool get_formats(struct viewer_format *format, uint32_t n, const uint8_t *packet, size_t len, size_t head)
{
	if (n > VIEWER_FORMATS_MAX || len < head + n * sizeof(*format)) {
		return false;
	}
	memcpy(format, packet + head, n * sizeof(*format));
	return true;
}

static int parse_hello(union viewer_in *m, const uint8_t *packet, size_t len, char *why, size_t why_len)
{
	struct viewer_in_hello *h = &m->hello;

	if (!get_formats(h->format, h->nformats, packet, len, sizeof(struct viewer_client_hello))) {
		return wrong(why, why_len, "hello: %u formats in %zu bytes", h->nformats, len);
	}
	h->name[sizeof(h->name) - 1] = 0;
	return VIEWER_CLIENT_HELLO;
}

static int parse_imports(union viewer_in *m, const uint8_t *packet, size_t len, char *why, size_t why_len)
{
	struct viewer_in_imports *in = &m->imports;

	if (!get_formats(in->format, in->nformats, packet, len, sizeof(struct viewer_imports))) {
		return wrong(why, why_len, "imports: %u formats in %zu bytes", in->nformats, len);
	}
	in->text[sizeof(in->text) - 1] = 0;
	return VIEWER_IMPORTS;
}

static int parse_input(union viewer_in *m, const uint8_t *packet, size_t len, unsigned nscanouts, char *why, size_t why_len)
{
	struct viewer_in_input *in = &m->input;

	if (in->device < VIEWER_KEYBOARD || in->device > VIEWER_TOUCH) {
		return wrong(why, why_len, "input: device %u", in->device);
	}
	if (in->nevents == 0 || in->nevents > VIEWER_EVENTS_MAX || len < sizeof(struct viewer_input) + in->nevents * sizeof(struct viewer_event)) {
		return wrong(why, why_len, "input: %u events in %zu bytes", in->nevents, len);
	}
	if (in->device >= VIEWER_TABLET && nscanouts > 0 && in->scanout >= nscanouts) {
		return wrong(why, why_len, "input: scanout %u", in->scanout);
	}
	memcpy(in->event, packet + sizeof(struct viewer_input), in->nevents * sizeof(struct viewer_event));
	for (unsigned i = 0; i < in->nevents; i++) {
		const struct viewer_event *e = &in->event[i];

		if (!is_event(in->device, e)) {
			return wrong(why, why_len, "input: device %u has no event of type %u, code %u, value %d", in->device, e->type, e->code, e->value);
		}
	}
	return VIEWER_INPUT;
}

static int parse_output(const struct viewer_output *o, char *why, size_t why_len)
{
	if (o->plugged > 1 || o->width == 0 || o->width > SIZE_MAX_PX || o->height == 0 || o->height > SIZE_MAX_PX || o->width_mm > 65535 || o->height_mm > 65535) {
		return wrong(why, why_len, "output: %ux%u pixels, %ux%u mm, plugged %u", o->width, o->height, o->width_mm, o->height_mm, o->plugged);
	}
	return VIEWER_OUTPUT;
}

int viewer_in_parse(union viewer_in *m, const void *packet, size_t len, unsigned nscanouts, char *why, size_t why_len)
{
	const struct message *kind;

	/* But for what there may be many of, where only what is there is looked at. */
	memset(m, 0, sizeof(m->input));
	if (len < sizeof(m->hdr)) {
		return wrong(why, why_len, "a packet of %zu bytes", len);
	}
	memcpy(&m->hdr, packet, sizeof(m->hdr));
	kind = find(m->hdr.type);
	if (!kind) {
		return 0;
	}
	if (is_other_version(m, packet, len)) {
		return VIEWER_CLIENT_HELLO;
	}
	if (len < kind->len) {
		return wrong(why, why_len, "%s of %zu bytes", kind->name, len);
	}
	memcpy(m, packet, kind->len);
	if (kind->scanout && nscanouts > 0) {
		uint32_t scanout;

		memcpy(&scanout, (const uint8_t *)m + kind->scanout, sizeof(scanout));
		if (scanout >= nscanouts) {
			return wrong(why, why_len, "%s: scanout %u", kind->name, scanout);
		}
	}
	switch (m->hdr.type) {
	case VIEWER_CLIENT_HELLO:
		return parse_hello(m, packet, len, why, why_len);
	case VIEWER_IMPORTS:
		return parse_imports(m, packet, len, why, why_len);
	case VIEWER_INPUT:
		return parse_input(m, packet, len, nscanouts, why, why_len);
	case VIEWER_OUTPUT:
		return parse_output(&m->output, why, why_len);
	case VIEWER_FOCUS:
		return m->focus.has > 1 ? wrong(why, why_len, "focus: %u", m->focus.has) : VIEWER_FOCUS;
	case VIEWER_CONTROL:
		return m->control.wants > 1 ? wrong(why, why_len, "control: %u", m->control.wants) : VIEWER_CONTROL;
	case VIEWER_ACTION:
		return m->action.action < VIEWER_POWER_BUTTON || m->action.action > VIEWER_STOP ? wrong(why, why_len, "action: %u", m->action.action) : VIEWER_ACTION;
	default:
		return (int)m->hdr.type;
	}
}
