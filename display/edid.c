/* SPDX-License-Identifier: MIT */
#include "display/edid.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define CLOCK_MIN 1000u /* 10 kHz */
/* In a detailed timing of the base block. */
#define DTD_CLOCK_MAX 65535u /* 10 kHz */
#define DTD_PIXELS_MAX 4095u
/* Of the whole screen, in the base block. */
#define MM_MAX 2550u

/* Reduced blanking as CVT has it (VESA CVT Standard 1.1, 3.4 "Generation of Reduced Blanking Timings"). */
#define H_BLANK 160u
#define H_FRONT 48u
#define H_SYNC 32u
#define V_FRONT 3u
#define V_BACK_MIN 6u
#define V_BLANK_MIN_US 460u

struct timing {
	uint32_t width, height;
	uint32_t v_blank, v_sync;
	uint32_t clock; /* 10 kHz */
};

/* How long the vertical sync is says what shape the picture has. */
static uint32_t v_sync_of(uint32_t width, uint32_t height)
{
	static const struct {
		uint32_t w, h, lines;
	} shapes[] = {{4, 3, 4}, {16, 9, 5}, {16, 10, 6}, {5, 4, 7}, {15, 9, 7}};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		if ((uint64_t)width * shapes[i].h == (uint64_t)height * shapes[i].w) {
			return shapes[i].lines;
		}
	}
	return 10;
}

static struct timing timing_of(uint32_t width, uint32_t height, uint32_t refresh_hz)
{
	struct timing t = {.width = width, .height = height, .v_sync = v_sync_of(width, height)};
	/* Lines that take the shortest blanking there may be, at the rate that leaves for the rest. */
	uint64_t frame_us = 1000000 / refresh_hz;
	uint64_t active_us = frame_us > 2 * V_BLANK_MIN_US ? frame_us - V_BLANK_MIN_US : frame_us / 2;
	uint64_t lines = (uint64_t)height * (frame_us - active_us) / active_us + 1, least = V_FRONT + t.v_sync + V_BACK_MIN;

	lines = lines > least ? lines : least;
	/* Readers take a slower clock for nonsense. */
	least = CLOCK_MIN * 10000ull / refresh_hz / (width + H_BLANK) + 1;
	t.v_blank = (uint32_t)(height + lines > least ? lines : least - height);
	t.clock = (uint32_t)(((uint64_t)(width + H_BLANK) * (height + t.v_blank) * refresh_hz + 5000) / 10000);
	return t;
}

static bool fits_dtd(const struct timing *t)
{
	return t->width <= DTD_PIXELS_MAX && t->height <= DTD_PIXELS_MAX && t->v_blank <= DTD_PIXELS_MAX && t->clock <= DTD_CLOCK_MAX;
}

/* E-EDID 3.10.2 "Detailed Timing Descriptor" */
static void put_dtd(uint8_t *p, const struct timing *t, uint32_t width_mm, uint32_t height_mm)
{
	p[0] = (uint8_t)t->clock;
	p[1] = (uint8_t)(t->clock >> 8);
	p[2] = (uint8_t)t->width;
	p[3] = (uint8_t)H_BLANK;
	p[4] = (uint8_t)(t->width >> 8 << 4 | H_BLANK >> 8);
	p[5] = (uint8_t)t->height;
	p[6] = (uint8_t)t->v_blank;
	p[7] = (uint8_t)(t->height >> 8 << 4 | t->v_blank >> 8);
	p[8] = H_FRONT;
	p[9] = H_SYNC;
	p[10] = (uint8_t)(V_FRONT << 4 | t->v_sync);
	p[11] = 0;
	p[12] = (uint8_t)width_mm;
	p[13] = (uint8_t)height_mm;
	p[14] = (uint8_t)(width_mm >> 8 << 4 | height_mm >> 8);
	p[17] = 0x1a; /* digital separate sync, horizontal positive, vertical negative: what reduced blanking is told by */
}

/* E-EDID 3.10.3 "Display Descriptor Definitions" */
static void put_text(uint8_t *p, uint8_t tag, const char *text)
{
	size_t len = strlen(text);

	p[3] = tag;
	memset(p + 5, ' ', 13);
	memcpy(p + 5, text, len);
	if (len < 13) {
		p[5 + len] = '\n';
	}
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len > 0) {
		sum = (uint8_t)(sum + p[--len]);
	}
	return (uint8_t)-sum;
}

static uint8_t cm(uint32_t mm)
{
	return (uint8_t)(mm < 10 ? 1 : (mm + 5) / 10);
}

/* Sizes that the base block has a bit or two bytes for, all at 60 Hz. */
static void put_usual_modes(uint8_t *out)
{
	/* Width in steps of 8 pixels from 248 on, and the shape: 0 is 16:10, 1 4:3, 2 5:4, 3 16:9. */
	static const struct {
		uint16_t width;
		uint8_t shape;
	} modes[] = {{1280, 3}, {1280, 2}, {1440, 0}, {1600, 3}, {1600, 1}, {1680, 0}, {1920, 3}, {1920, 0}};

	out[35] = 0x21; /* 640x480, 800x600 */
	out[36] = 0x08; /* 1024x768 */
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		out[38 + 2 * i] = (uint8_t)(modes[i].width / 8 - 31);
		out[39 + 2 * i] = (uint8_t)(modes[i].shape << 6);
	}
}

static void put_base(uint8_t *out, const struct edid_monitor *m, const struct timing *preferred, uint32_t width_mm, uint32_t height_mm)
{
	static const uint8_t header[8] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};
	/* sRGB, as E-EDID 3.7 "Color Characteristics" packs it. */
	static const uint8_t color[10] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
	struct timing base = *preferred;
	uint32_t serial = m->number + 1;
	/* A size that there is no room for is none at all. */
	bool has_size = width_mm <= MM_MAX && height_mm <= MM_MAX;
	char text[14];

	memcpy(out, header, sizeof(header));
	out[8] = (uint8_t)(('T' - '@') << 2 | ('V' - '@') >> 3);
	out[9] = (uint8_t)(('V' - '@') << 5 | ('M' - '@'));
	out[10] = 1; /* product */
	out[12] = (uint8_t)serial;
	out[13] = (uint8_t)(serial >> 8);
	out[14] = (uint8_t)(serial >> 16);
	out[15] = (uint8_t)(serial >> 24);
	out[17] = 2026 - 1990;
	out[18] = 1;
	out[19] = 4;
	out[20] = 0xa5; /* digital, 8 bits a color, DisplayPort */
	out[21] = has_size ? cm(width_mm) : 0;
	out[22] = has_size ? cm(height_mm) : 0;
	out[23] = 120; /* gamma 2.2 */
	out[24] = 0x06; /* sRGB; the preferred mode is what it is made for */
	memcpy(out + 25, color, sizeof(color));
	put_usual_modes(out);
	/* A base block begins with a timing. When the preferred one does not fit, a small one stands in for it, and the preferred one is said in the block after this. */
	if (!fits_dtd(&base)) {
		base = timing_of(1280, 800, 60);
	}
	put_dtd(out + 54, &base, has_size ? width_mm : 0, has_size ? height_mm : 0);
	put_text(out + 72, 0xfc, "tinyvmm");
	snprintf(text, sizeof(text), "%u", serial);
	put_text(out + 90, 0xff, text);
	out[111] = 0x10; /* nothing */
	out[126] = !fits_dtd(preferred);
	out[127] = checksum(out, 127);
}

static void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)value;
	p[1] = (uint8_t)(value >> 8);
}

static void put24(uint8_t *p, uint32_t value)
{
	put16(p, value);
	p[2] = (uint8_t)(value >> 16);
}

/* The nearest shape DisplayID has a number for is only a hint; 8 is none of them. */
static uint8_t shape_of(uint32_t width, uint32_t height)
{
	static const uint8_t shapes[][2] = {{1, 1}, {5, 4}, {4, 3}, {15, 9}, {16, 9}, {16, 10}};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		if ((uint64_t)width * shapes[i][1] == (uint64_t)height * shapes[i][0]) {
			return (uint8_t)i;
		}
	}
	return 8;
}

/* DisplayID 4.4 "Type I Detailed Timing" */
static void put_type_1(uint8_t *p, const struct timing *t)
{
	put24(p, t->clock - 1);
	p[3] = (uint8_t)(0x80 | shape_of(t->width, t->height)); /* preferred */
	put16(p + 4, t->width - 1);
	put16(p + 6, H_BLANK - 1);
	put16(p + 8, (H_FRONT - 1) | 0x8000); /* positive sync */
	put16(p + 10, H_SYNC - 1);
	put16(p + 12, t->height - 1);
	put16(p + 14, t->v_blank - 1);
	put16(p + 16, V_FRONT - 1);
	put16(p + 18, t->v_sync - 1);
}

/* DisplayID 4.1 "Product Identification", 4.2 "Display Parameters", 4.15 "Display Interface": must be there. */
static uint8_t *put_identity(uint8_t *p, const struct edid_monitor *m, uint32_t width_mm, uint32_t height_mm)
{
	static const char name[] = "tinyvmm";
	bool has_size = width_mm <= 6553 && height_mm <= 6553;
	uint32_t ratio = (m->width > m->height ? m->width : m->height) * 100 / (m->width > m->height ? m->height : m->width) - 100;

	p[0] = 0x00;
	p[2] = 12 + sizeof(name) - 1;
	memcpy(p + 3, "TVM", 3);
	put16(p + 6, 1);
	put16(p + 8, m->number + 1);
	put16(p + 10, (m->number + 1) >> 16);
	p[13] = 26; /* the year */
	p[14] = sizeof(name) - 1;
	memcpy(p + 15, name, sizeof(name) - 1);
	p += 15 + sizeof(name) - 1;

	p[0] = 0x01;
	p[2] = 12;
	put16(p + 3, has_size ? width_mm * 10 : 0);
	put16(p + 5, has_size ? height_mm * 10 : 0);
	put16(p + 7, m->width);
	put16(p + 9, m->height);
	p[12] = 120; /* gamma 2.2 */
	p[13] = (uint8_t)(ratio < 255 ? ratio : 255);
	p[14] = 0x77; /* 8 bits a color */
	p += 15;

	p[0] = 0x0f;
	p[2] = 10;
	p[3] = 0x81; /* DisplayPort, one lane */
	p[4] = 0x11;
	p[5] = 0x02; /* 8 bits a color */
	return p + 13;
}

static void put_display_id(uint8_t *out, const struct edid_monitor *m, const struct timing *t, uint32_t width_mm, uint32_t height_mm)
{
	uint8_t *section = out + 1, *p;

	out[0] = 0x70;
	section[0] = 0x13;
	section[1] = 121; /* of data: all but the section's header and checksum and this block's two bytes */
	section[2] = 3; /* a monitor by itself */
	p = put_identity(section + 4, m, width_mm, height_mm);
	p[0] = 0x03;
	p[2] = 20;
	put_type_1(p + 3, t);
	section[125] = checksum(section, 125);
	out[127] = checksum(out, 127);
}

size_t edid_make(const struct edid_monitor *m, uint8_t out[EDID_MAX])
{
	struct timing preferred = timing_of(m->width, m->height, m->refresh_hz);
	uint32_t width_mm = m->width_mm ? m->width_mm : (uint32_t)((uint64_t)m->width * 254 / 960);
	uint32_t height_mm = m->height_mm ? m->height_mm : (uint32_t)((uint64_t)m->height * 254 / 960);

	memset(out, 0, EDID_MAX);
	put_base(out, m, &preferred, width_mm, height_mm);
	if (fits_dtd(&preferred)) {
		return EDID_BLOCK;
	}
	put_display_id(out + EDID_BLOCK, m, &preferred, width_mm, height_mm);
	return EDID_MAX;
}
