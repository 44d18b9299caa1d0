/* SPDX-License-Identifier: MIT */
#include "tests/evdev/caps.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

bool caps_bit(const uint8_t *bits, unsigned i)
{
	return bits[i / 8] & 1u << i % 8;
}

void caps_set_bit(uint8_t *bits, unsigned i, bool on)
{
	if (on) {
		bits[i / 8] |= (uint8_t)(1u << i % 8);
	} else {
		bits[i / 8] &= (uint8_t) ~(1u << i % 8);
	}
}

unsigned caps_codes(unsigned type)
{
	static const uint16_t codes[EV_CNT] = {
		[EV_SYN] = EV_CNT,
		[EV_KEY] = KEY_CNT,
		[EV_REL] = REL_CNT,
		[EV_ABS] = ABS_CNT,
		[EV_MSC] = MSC_CNT,
		[EV_SW] = SW_CNT,
		[EV_LED] = LED_CNT,
		[EV_SND] = SND_CNT,
		[EV_REP] = REP_CNT,
		[EV_FF] = FF_CNT,
	};

	return type < EV_CNT ? codes[type] : 0;
}

unsigned caps_slots(const struct caps *c)
{
	unsigned slots = (unsigned)c->abs[ABS_MT_SLOT].maximum + 1;

	if (!caps_has(c, EV_ABS, ABS_MT_SLOT)) {
		return 0;
	}
	return slots < CAPS_SLOTS_MAX ? slots : CAPS_SLOTS_MAX;
}

static void ask(int fd, unsigned long request, void *answer, const char *what)
{
	if (ioctl(fd, request, answer) < 0) {
		err(1, "%s", what);
	}
}

/* What a device does not have is an error there, and an empty text here. */
static void ask_text(int fd, unsigned long request, char *answer)
{
	if (ioctl(fd, request, answer) < 0) {
		answer[0] = '\0';
	}
}

void caps_read(struct caps *c, int fd)
{
	memset(c, 0, sizeof(*c));
	ask_text(fd, EVIOCGNAME(sizeof(c->name)), c->name);
	ask_text(fd, EVIOCGPHYS(sizeof(c->phys)), c->phys);
	ask_text(fd, EVIOCGUNIQ(sizeof(c->uniq)), c->uniq);
	ask(fd, EVIOCGID, &c->id, "EVIOCGID");
	ask(fd, EVIOCGPROP(sizeof(c->props)), c->props, "EVIOCGPROP");
	ask(fd, EVIOCGBIT(0, sizeof(c->bits[0])), c->bits[0], "EVIOCGBIT");
	for (unsigned type = 1; type < EV_CNT; type++) {
		if (caps_bit(c->bits[0], type) && type != EV_REP && caps_codes(type)) {
			ask(fd, EVIOCGBIT(type, sizeof(c->bits[type])), c->bits[type], "EVIOCGBIT of a type");
		}
	}
	for (unsigned code = 0; code < ABS_CNT; code++) {
		if (caps_has(c, EV_ABS, code)) {
			ask(fd, EVIOCGABS(code), &c->abs[code], "EVIOCGABS");
		}
	}
}

static void parse_bits(uint8_t *bits, size_t len, size_t *filled, const char *text)
{
	unsigned byte;
	int used;

	while (sscanf(text, "%x%n", &byte, &used) == 1) {
		if (*filled < len) {
			bits[(*filled)++] = (uint8_t)byte;
		}
		text += used;
	}
}

static void parse_line(struct caps *c, const char *line, size_t filled[EV_CNT + 1])
{
	unsigned type, on;
	int used;
	struct input_absinfo a = {0};

	if (sscanf(line, "N: %255[^\n]", c->name) == 1 || sscanf(line, "# phys: %127[^\n]", c->phys) == 1 || sscanf(line, "# uniq: %127[^\n]", c->uniq) == 1 ||
		sscanf(line, "I: %hx %hx %hx %hx", &c->id.bustype, &c->id.vendor, &c->id.product, &c->id.version) == 4) {
		return;
	}
	if (strncmp(line, "P:", 2) == 0) {
		parse_bits(c->props, sizeof(c->props), &filled[EV_CNT], line + 2);
	} else if (sscanf(line, "B: %x%n", &type, &used) == 1 && type < EV_CNT) {
		/* Of type 0 evemu writes the same whatever the device is. */
		parse_bits(c->bits[type], type == EV_SYN ? 0 : sizeof(c->bits[type]), &filled[type], line + used);
	} else if (sscanf(line, "A: %x %d %d %d %d %d", &type, &a.minimum, &a.maximum, &a.fuzz, &a.flat, &a.resolution) >= 3 && type < ABS_CNT) {
		c->abs[type] = a;
	} else if (sscanf(line, "S: %x %u", &type, &on) == 2 && type < SW_CNT) {
		caps_set_bit(c->sw_on, type, on);
	} else if (line[0] != '#') {
		errx(1, "not a line of evemu's: %s", line);
	}
}

void caps_parse(struct caps *c, const char *path)
{
	size_t filled[EV_CNT + 1] = {0};
	char line[512];
	FILE *f = fopen(path, "r");

	if (!f) {
		err(1, "%s", path);
	}
	memset(c, 0, sizeof(*c));
	while (fgets(line, sizeof(line), f)) {
		parse_line(c, line, filled);
	}
	fclose(f);
	for (unsigned type = 1; type < EV_CNT; type++) {
		for (unsigned code = 0; code < caps_codes(type); code++) {
			if (caps_bit(c->bits[type], code)) {
				caps_set_bit(c->bits[EV_SYN], type, true);
			}
		}
	}
	caps_set_bit(c->bits[EV_SYN], EV_SYN, true);
}

static void read_slots(const struct caps *c, struct caps_state *s, int fd)
{
	for (unsigned axis = 0; axis < CAPS_MT_AXES; axis++) {
		struct {
			uint32_t code;
			int32_t values[CAPS_SLOTS_MAX];
		} request = {.code = ABS_MT_SLOT + 1 + axis};

		if (caps_slots(c) && caps_has(c, EV_ABS, request.code)) {
			ask(fd, EVIOCGMTSLOTS(sizeof(request)), &request, "EVIOCGMTSLOTS");
			for (unsigned slot = 0; slot < caps_slots(c); slot++) {
				s->mt[slot][axis] = request.values[slot];
			}
		}
	}
}

void caps_read_state(const struct caps *c, struct caps_state *s, int fd)
{
	memset(s, 0, sizeof(*s));
	ask(fd, EVIOCGKEY(sizeof(s->key)), s->key, "EVIOCGKEY");
	ask(fd, EVIOCGSW(sizeof(s->sw)), s->sw, "EVIOCGSW");
	ask(fd, EVIOCGLED(sizeof(s->led)), s->led, "EVIOCGLED");
	for (unsigned code = 0; code < ABS_CNT; code++) {
		struct input_absinfo info;

		if (caps_has(c, EV_ABS, code)) {
			ask(fd, EVIOCGABS(code), &info, "EVIOCGABS");
			s->abs[code] = info.value;
		}
	}
	read_slots(c, s, fd);
}

static void print_bits(const char *name, const uint8_t *bits, unsigned n, FILE *out)
{
	fprintf(out, "%s:", name);
	for (unsigned i = 0; i < n; i++) {
		if (caps_bit(bits, i)) {
			fprintf(out, " %u", i);
		}
	}
	fprintf(out, "\n");
}

void caps_print_state(const struct caps *c, const struct caps_state *s, FILE *out)
{
	print_bits("keys", s->key, KEY_CNT, out);
	print_bits("switches", s->sw, SW_CNT, out);
	fprintf(out, "axes:");
	for (unsigned code = 0; code < ABS_CNT; code++) {
		if (caps_has(c, EV_ABS, code) && !(caps_slots(c) && code >= ABS_MT_SLOT)) {
			fprintf(out, " %u=%d", code, s->abs[code]);
		}
	}
	fprintf(out, "\n");
	for (unsigned slot = 0; slot < caps_slots(c); slot++) {
		fprintf(out, "slot %u:", slot);
		for (unsigned axis = 0; axis < CAPS_MT_AXES; axis++) {
			if (caps_has(c, EV_ABS, ABS_MT_SLOT + 1 + axis)) {
				fprintf(out, " %u=%d", ABS_MT_SLOT + 1 + axis, s->mt[slot][axis]);
			}
		}
		fprintf(out, "\n");
	}
}
