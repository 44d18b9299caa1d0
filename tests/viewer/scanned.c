/* SPDX-License-Identifier: MIT */
/*
 * What a screen of this machine shows, as a PPM on standard output: `scanned CARD`. The kernel is asked which buffer the first CRTC that is on is fed from, and that is exported, imported and mapped: what somebody else
 * has put on the screen, and not what they say they have. Needs root. Without the pointer, which has a plane of its own: `scanned CARD pointer` says `X Y WIDTH HEIGHT`, from the screen's first pixel, and behind that line
 * its pixels, 0xAARRGGBB in little-endian, multiplied by alpha; nothing where the screen has none.
 */
#include <drm_fourcc.h>
#include <fcntl.h>
#include <gbm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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

/* Return: 0 also when it has no such property. */
static uint64_t property(int card, uint32_t plane, const char *name)
{
	drmModeObjectPropertiesPtr all = drmModeObjectGetProperties(card, plane, DRM_MODE_OBJECT_PLANE);
	uint64_t value = 0;

	for (uint32_t i = 0; all && i < all->count_props; i++) {
		drmModePropertyPtr p = drmModeGetProperty(card, all->props[i]);

		if (p && strcmp(p->name, name) == 0) {
			value = all->prop_values[i];
		}
		drmModeFreeProperty(p);
	}
	drmModeFreeObjectProperties(all);
	return value;
}

/* Return: the plane that shows a pointer, or 0. */
static uint32_t pointer_plane(int card)
{
	drmModePlaneResPtr planes;
	uint32_t id = 0;

	/* Where a plane is, and what it shows, is said only to who may set it by property. */
	if (drmSetClientCap(card, DRM_CLIENT_CAP_ATOMIC, 1) < 0) {
		return 0;
	}
	planes = drmModeGetPlaneResources(card);
	for (uint32_t i = 0; planes && i < planes->count_planes; i++) {
		if (property(card, planes->planes[i], "type") == DRM_PLANE_TYPE_CURSOR && property(card, planes->planes[i], "FB_ID")) {
			id = planes->planes[i];
		}
	}
	drmModeFreePlaneResources(planes);
	return id;
}

/* The processor has drawn it, so its memory has it. Return: the exit code. */
static int write_pointer(int card)
{
	uint32_t plane = pointer_plane(card);
	drmModeFB2 *fb = plane ? drmModeGetFB2(card, (uint32_t)property(card, plane, "FB_ID")) : NULL;
	struct drm_mode_map_dumb request = {.handle = fb ? fb->handles[0] : 0};
	const uint8_t *map;
	size_t len;

	if (!fb) {
		return 0;
	}
	len = (size_t)fb->pitches[0] * fb->height;
	map = drmIoctl(card, DRM_IOCTL_MODE_MAP_DUMB, &request) == 0 ? mmap(NULL, len, PROT_READ, MAP_SHARED, card, (off_t)request.offset) : MAP_FAILED;
	if (map == MAP_FAILED || fb->pixel_format != DRM_FORMAT_ARGB8888) {
		fprintf(stderr, "scanned: a pointer of %.4s: not to be mapped, or a format that is not known here\n", (const char *)&fb->pixel_format);
		return 1;
	}
	printf("%d %d %u %u\n", (int)property(card, plane, "CRTC_X"), (int)property(card, plane, "CRTC_Y"), fb->width, fb->height);
	for (uint32_t y = 0; y < fb->height; y++) {
		fwrite(map + (size_t)y * fb->pitches[0], 4, fb->width, stdout);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}

static int write_picture(int card)
{
	struct gbm_import_fd_modifier_data import = {.num_fds = 1};
	drmModeFB2 *fb = drmModeGetFB2(card, shown(card));
	struct gbm_device *gbm = gbm_create_device(card);
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

int main(int argc, char **argv)
{
	int card = argc >= 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;

	if (card < 0) {
		perror("scanned: CARD [pointer]");
		return 1;
	}
	return argc > 2 ? write_pointer(card) : write_picture(card);
}
