/* SPDX-License-Identifier: MIT */
/*
 * What a screen of this machine shows, as a PPM on standard output: `scanned CARD`. The kernel is asked which buffer the first CRTC that is on is fed from, and that is exported, imported and mapped: what somebody else
 * has put on the screen, and not what they say they have. Needs root. Without the pointer, which has a plane of its own.
 */
#include <drm_fourcc.h>
#include <fcntl.h>
#include <gbm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

/* Return: the buffer that is scanned out, or 0. */
static uint32_t shown(int card)
{
	drmModeResPtr res = drmModeGetResources(card);
	uint32_t id = 0;

	for (int i = 0; res && !id && i < res->count_crtcs; i++) {
		drmModeCrtcPtr crtc = drmModeGetCrtc(card, res->crtcs[i]);

		if (crtc && crtc->mode_valid) {
			id = crtc->buffer_id;
		}
		drmModeFreeCrtc(crtc);
	}
	drmModeFreeResources(res);
	return id;
}

/* Red, green, blue. Return: false when it is of a format with other bytes than these. */
static bool write_ppm(const uint8_t *map, uint32_t stride, const drmModeFB2 *fb)
{
	bool is_bgr = fb->pixel_format == DRM_FORMAT_XRGB8888 || fb->pixel_format == DRM_FORMAT_ARGB8888;

	if (!is_bgr && fb->pixel_format != DRM_FORMAT_XBGR8888 && fb->pixel_format != DRM_FORMAT_ABGR8888) {
		return false;
	}
	printf("P6\n%u %u\n255\n", fb->width, fb->height);
	for (uint32_t y = 0; y < fb->height; y++) {
		for (uint32_t x = 0; x < fb->width; x++) {
			const uint8_t *p = map + (size_t)y * stride + 4ul * x;

			putchar(p[is_bgr ? 2 : 0]), putchar(p[1]), putchar(p[is_bgr ? 0 : 2]);
		}
	}
	return fflush(stdout) == 0;
}

int main(int argc, char **argv)
{
	struct gbm_import_fd_modifier_data import = {.num_fds = 1};
	int card = argc == 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	drmModeFB2 *fb = card >= 0 ? drmModeGetFB2(card, shown(card)) : NULL;
	struct gbm_device *gbm = card >= 0 ? gbm_create_device(card) : NULL;
	struct gbm_bo *bo;
	void *map, *kept = NULL;
	uint32_t stride;

	if (!fb || !fb->handles[0] || !gbm || drmPrimeHandleToFD(card, fb->handles[0], O_CLOEXEC, &import.fds[0]) < 0) {
		perror("scanned: what is shown");
		return 1;
	}
	import.width = fb->width;
	import.height = fb->height;
	import.format = fb->pixel_format;
	import.strides[0] = (int)fb->pitches[0];
	import.offsets[0] = (int)fb->offsets[0];
	import.modifier = fb->flags & DRM_MODE_FB_MODIFIERS ? fb->modifier : DRM_FORMAT_MOD_INVALID;
	bo = gbm_bo_import(gbm, GBM_BO_IMPORT_FD_MODIFIER, &import, GBM_BO_USE_SCANOUT);
	map = bo ? gbm_bo_map(bo, 0, 0, fb->width, fb->height, GBM_BO_TRANSFER_READ, &stride, &kept) : NULL;
	if (!map || !write_ppm(map, stride, fb)) {
		fprintf(stderr, "scanned: %ux%u %.4s: not importable, or a format that is not known here\n", fb->width, fb->height, (const char *)&fb->pixel_format);
		return 1;
	}
	return 0;
}
