/* SPDX-License-Identifier: MIT */
/*
 * Pictures for tests of virtio-gpu: painted into the driver's memory, and looked for on the screen, to the pixel. No two neighbours are alike, there is no symmetry, and an alpha ramp.
 *
 * And what such a test begins and ends with: what a good driver does is never reported. Thread: the test's.
 */
#ifndef TESTS_SUPPORT_GPUPIC_H
#define TESTS_SUPPORT_GPUPIC_H

#include "tests/support/gpudrv.h"

/* Order of the bytes as the names of formats have it. */
#define GPUPIC_FORMATS 8
extern const struct gpupic_format {
	enum gpu_format format;
	const char *order;
} gpupic_formats[GPUPIC_FORMATS];

/* How a reference is spoiled, to see that the comparison notices. */
enum gpupic_spoil { GPUPIC_RIGHT, GPUPIC_FLIPPED, GPUPIC_MIRRORED, GPUPIC_SWAPPED };

/* The device runs, with @scanouts outputs of 640x480. Lines of the log are counted. */
void gpupic_begin(struct gpudrv *v, unsigned scanouts, bool blob, uint64_t budget);
/* Something was logged, an assert; it is forgotten. */
void gpupic_was_said(void);
/* Nothing was logged; an assert. */
void gpupic_end(struct gpudrv *v);
/* The same for cmocka's tests, whose state is a struct gpudrv: with one output, two, two and blobs. */
int gpupic_setup(void **state);
int gpupic_setup_two(void **state);
int gpupic_setup_blob(void **state);
int gpupic_teardown(void **state);

/* 0xAARRGGBB */
uint32_t gpupic_pixel(uint32_t x, uint32_t y, unsigned seed);
/* The part @r of a picture that begins at @gpa. */
void gpupic_paint(struct gpudrv *v, uint64_t gpa, const char *order, uint32_t stride, const struct display_rect *r, unsigned seed);
/* Pixels of a screenshot that are not the picture's. @at: where its corner is in the picture. */
unsigned gpupic_differences(const uint8_t *shot, uint32_t width, uint32_t height, uint32_t at_x, uint32_t at_y, unsigned seed, enum gpupic_spoil spoil);
/* The same of what a scanout shows, which is of that size. */
unsigned gpupic_screen_differs(struct gpudrv *v, unsigned scanout, uint32_t want_w, uint32_t want_h, uint32_t at_x, uint32_t at_y, unsigned seed, enum gpupic_spoil spoil);

/* A resource with backing in one piece. Return: where that is. */
uint64_t gpupic_make(struct gpudrv *v, uint32_t id, uint32_t format, uint32_t width, uint32_t height);

/* A blob in three pieces with a picture of that layout in it. Return: where the picture is. */
extern const struct gpu_layout gpupic_blob_layout;
uint64_t gpupic_make_blob(struct gpudrv *v, uint32_t id, unsigned seed);

unsigned gpupic_open_descriptors(void);

#endif
