/* SPDX-License-Identifier: MIT */
#include "card.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm_fourcc.h>
#include <virtgpu_drm.h>

static uint64_t address(const void *p)
{
	return (uintptr_t)p;
}

bool card_open(struct card *c)
{
	struct drm_mode_card_res res = {.crtc_id_ptr = address(c->crtc), .connector_id_ptr = address(c->connector),
					.count_crtcs = CARD_SCREENS_MAX, .count_connectors = CARD_SCREENS_MAX};

	if (c->fd >= 0) {
		return true;
	}
	c->fd = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
	if (c->fd < 0) {
		return false;
	}
	if (ioctl(c->fd, DRM_IOCTL_MODE_GETRESOURCES, &res) != 0) {
		card_close(c);
		return false;
	}
	c->nscreens = res.count_crtcs < res.count_connectors ? res.count_crtcs : res.count_connectors;
	if (c->nscreens > CARD_SCREENS_MAX) {
		c->nscreens = CARD_SCREENS_MAX;
	}
	return true;
}

void card_close(struct card *c)
{
	int error = errno;

	if (c->fd >= 0) {
		close(c->fd);
	}
	c->fd = -1;
	errno = error;
}

void buffer_destroy(const struct card *c, struct buffer *b)
{
	int error = errno;

	if (b->map) {
		munmap(b->map, b->size);
	}
	if (b->fb) {
		ioctl(c->fd, DRM_IOCTL_MODE_RMFB, &b->fb);
	}
	if (b->handle) {
		struct drm_mode_destroy_dumb d = {.handle = b->handle};

		ioctl(c->fd, DRM_IOCTL_MODE_DESTROY_DUMB, &d);
	}
	*b = (struct buffer){0};
	errno = error;
}

/* The handle is there; what follows. On failure nothing is left. */
static bool finish(const struct card *c, struct buffer *b, uint32_t format, const char **what)
{
	struct drm_mode_fb_cmd2 add = {.width = b->w, .height = b->h, .pixel_format = format, .handles = {b->handle}, .pitches = {b->pitch}};
	struct drm_mode_map_dumb m = {.handle = b->handle};
	void *map;

	*what = "framebuffer";
	if (format && ioctl(c->fd, DRM_IOCTL_MODE_ADDFB2, &add) != 0) {
		goto fail;
	}
	b->fb = add.fb_id;
	*what = "mapping";
	if (ioctl(c->fd, DRM_IOCTL_MODE_MAP_DUMB, &m) != 0) {
		goto fail;
	}
	map = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, (off_t)m.offset);
	if (map == MAP_FAILED) {
		goto fail;
	}
	b->map = map;
	return true;
fail:
	buffer_destroy(c, b);
	return false;
}

bool buffer_create(const struct card *c, struct buffer *b, uint32_t w, uint32_t h, uint32_t format, const char **what)
{
	struct drm_mode_create_dumb create = {.width = w, .height = h, .bpp = 32};

	*what = "buffer";
	if (ioctl(c->fd, DRM_IOCTL_MODE_CREATE_DUMB, &create) != 0) {
		return false;
	}
	*b = (struct buffer){.handle = create.handle, .pitch = create.pitch, .w = w, .h = h, .size = create.size};
	return finish(c, b, format, what);
}

bool buffer_create_native(const struct card *c, struct buffer *b, uint32_t w, uint32_t h, uint32_t native, uint32_t flags, const char **what)
{
	struct drm_virtgpu_resource_create create = {.target = 2, .format = native, .bind = 2, .width = w, .height = h, .depth = 1, .array_size = 1, .flags = flags, .size = w * h * 4};

	*what = "resource";
	if (ioctl(c->fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE, &create) != 0) {
		return false;
	}
	*b = (struct buffer){.native = native, .handle = create.bo_handle, .resource = create.res_handle, .pitch = w * 4, .w = w, .h = h, .size = (uint64_t)w * h * 4};
	return finish(c, b, DRM_FORMAT_XRGB8888, what);
}

bool buffer_send(const struct card *c, const struct buffer *b, const uint32_t r[4])
{
	struct drm_virtgpu_3d_transfer_to_host t = {.bo_handle = b->handle, .box = {.x = r[0], .y = r[1], .w = r[2], .h = r[3], .d = 1}, .offset = r[1] * b->pitch + r[0] * 4};

	return !b->native || ioctl(c->fd, DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST, &t) == 0;
}

bool buffer_draw(const struct card *c, const struct buffer *to, const struct buffer *from, const uint32_t r[4])
{
	/* RESOURCE_COPY_REGION, 13 words: of each its number, level and place, and how much. */
	const uint32_t words[] = {17 | 13 << 16, to->resource, 0, r[0], r[1], 0, from->resource, 0, r[0], r[1], 0, r[2], r[3], 1}, handles[] = {to->handle, from->handle};
	struct drm_virtgpu_execbuffer e = {.size = sizeof(words), .command = (uint64_t)(uintptr_t)words, .bo_handles = (uint64_t)(uintptr_t)handles, .num_bo_handles = 2, .fence_fd = -1};

	return ioctl(c->fd, DRM_IOCTL_VIRTGPU_EXECBUFFER, &e) == 0;
}

int card_modes(const struct card *c, unsigned screen, struct drm_mode_get_connector *info, struct drm_mode_modeinfo *modes)
{
	*info = (struct drm_mode_get_connector){.connector_id = c->connector[screen]};
	/* Without room for modes the kernel looks for them anew. */
	if (ioctl(c->fd, DRM_IOCTL_MODE_GETCONNECTOR, info) != 0) {
		return -1;
	}
	if (info->count_modes == 0) {
		return 0;
	}
	info->modes_ptr = address(modes);
	info->count_modes = CARD_MODES_MAX;
	info->count_props = info->count_encoders = 0;
	if (ioctl(c->fd, DRM_IOCTL_MODE_GETCONNECTOR, info) != 0) {
		return -1;
	}
	return info->count_modes <= CARD_MODES_MAX ? (int)info->count_modes : -1;
}

bool card_find_mode(const struct card *c, unsigned screen, uint32_t w, uint32_t h, struct drm_mode_modeinfo *mode)
{
	static struct drm_mode_modeinfo modes[CARD_MODES_MAX];
	struct drm_mode_get_connector info;
	int n = card_modes(c, screen, &info, modes);

	for (int i = 0; i < n; i++) {
		if (modes[i].hdisplay == w && modes[i].vdisplay == h) {
			*mode = modes[i];
			return true;
		}
	}
	*mode = (struct drm_mode_modeinfo){.vrefresh = 60};
	mode->hdisplay = (uint16_t)w;
	mode->hsync_start = (uint16_t)(w + 8);
	mode->hsync_end = (uint16_t)(w + 16);
	mode->htotal = (uint16_t)(w + 24);
	mode->vdisplay = (uint16_t)h;
	mode->vsync_start = (uint16_t)(h + 8);
	mode->vsync_end = (uint16_t)(h + 16);
	mode->vtotal = (uint16_t)(h + 24);
	mode->clock = (uint32_t)((uint64_t)mode->htotal * mode->vtotal * 60 / 1000 + 1);
	return false;
}

/* The value of a connector's property; 0 when it has none of this name. */
static bool property(const struct card *c, unsigned screen, const char *name, uint64_t *value)
{
	uint32_t ids[64];
	uint64_t values[64];
	struct drm_mode_obj_get_properties g = {.props_ptr = address(ids), .prop_values_ptr = address(values), .count_props = 64,
						.obj_id = c->connector[screen], .obj_type = DRM_MODE_OBJECT_CONNECTOR};

	*value = 0;
	if (ioctl(c->fd, DRM_IOCTL_MODE_OBJ_GETPROPERTIES, &g) != 0) {
		return false;
	}
	for (uint32_t i = 0; i < g.count_props && i < 64; i++) {
		struct drm_mode_get_property p = {.prop_id = ids[i]};

		if (ioctl(c->fd, DRM_IOCTL_MODE_GETPROPERTY, &p) == 0 && strcmp(p.name, name) == 0) {
			*value = values[i];
		}
	}
	return true;
}

int card_edid(const struct card *c, unsigned screen, uint8_t *data, uint32_t len)
{
	struct drm_mode_get_blob blob = {0};
	uint64_t id;

	if (!property(c, screen, "EDID", &id)) {
		return -1;
	}
	if (id == 0) {
		return 0;
	}
	blob.blob_id = (uint32_t)id;
	/* Copied only where the length is given exactly. */
	if (ioctl(c->fd, DRM_IOCTL_MODE_GETPROPBLOB, &blob) != 0) {
		return -1;
	}
	if (blob.length > len) {
		errno = ENOSPC;
		return -1;
	}
	blob.data = address(data);
	return ioctl(c->fd, DRM_IOCTL_MODE_GETPROPBLOB, &blob) == 0 ? (int)blob.length : -1;
}

bool card_flip(const struct card *c, unsigned screen, const struct buffer *b)
{
	struct drm_mode_crtc_page_flip f = {.crtc_id = c->crtc[screen], .fb_id = b->fb, .flags = DRM_MODE_PAGE_FLIP_EVENT};
	struct drm_event_vblank event;

	if (ioctl(c->fd, DRM_IOCTL_MODE_PAGE_FLIP, &f) != 0) {
		return false;
	}
	if (read(c->fd, &event, sizeof(event)) != sizeof(event) || event.base.type != DRM_EVENT_FLIP_COMPLETE) {
		errno = EPROTO;
		return false;
	}
	return true;
}

bool card_sync(const struct card *c)
{
	/* A resource is made by a command with a fence, in the same queue as all others. */
	struct drm_virtgpu_resource_create create = {.target = 2, .format = 2, .bind = 2, .width = 1, .height = 1, .depth = 1, .array_size = 1, .size = 4096};
	struct drm_virtgpu_3d_wait wait = {0};
	struct drm_gem_close gone = {0};
	bool good;

	if (ioctl(c->fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE, &create) != 0) {
		return false;
	}
	wait.handle = gone.handle = create.bo_handle;
	good = ioctl(c->fd, DRM_IOCTL_VIRTGPU_WAIT, &wait) == 0;
	return ioctl(c->fd, DRM_IOCTL_GEM_CLOSE, &gone) == 0 && good;
}
