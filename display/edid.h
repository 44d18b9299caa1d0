/* SPDX-License-Identifier: MIT */
/*
 * What a monitor says about itself: an EDID 1.4 base block, and a DisplayID 1.3 block after it where the preferred mode does not fit in a
 * detailed timing of the base block: more than 4095 pixels, or more than 655.35 MHz.
 *
 * The preferred mode is the size asked for with reduced blanking. The refresh rate is met as nearly as a pixel clock in steps of 10 kHz can. Besides it there are the
 * usual sizes: a virtual monitor can show them all.
 *
 * Thread: any. Spec: VESA E-EDID Standard, Release A2, 3 "EDID 1.4 Data Format"; VESA DisplayID Standard 1.3, 4.4 "Type I Detailed Timing".
 */
#ifndef DISPLAY_EDID_H
#define DISPLAY_EDID_H

#include <stddef.h>
#include <stdint.h>

#define EDID_BLOCK 128
#define EDID_MAX (2 * EDID_BLOCK)

struct edid_monitor {
	uint32_t width, height; /* pixels, 1 to 65536 */
	uint32_t refresh_hz; /* 1 to 1000 */
	uint32_t width_mm, height_mm; /* 0: as many as make 96 dots an inch */
	uint32_t number; /* which one of its kind: its serial number is one more */
};

/* Return: bytes made, EDID_BLOCK or two of them. */
size_t edid_make(const struct edid_monitor *m, uint8_t out[EDID_MAX]);

#endif
