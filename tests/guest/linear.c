/* SPDX-License-Identifier: MIT */
/*
 * For sway in a guest, LD_PRELOAD. Where programs draw with pixman, wlroots 0.15, Debian 12's, hands no pointer to a display whose driver has no modifiers, as virtio-gpu's: it takes buffers that are
 * linear only, and has some whose layout is said not to be known. Nor does it paint the pointer itself then: it believes that the display has it. Here what takes linear ones takes those too.
 */
#include <dlfcn.h>
#include <drm_fourcc.h>
#include <stdbool.h>
#include <stdint.h>

struct wlr_drm_format_set;

bool wlr_drm_format_set_add(struct wlr_drm_format_set *set, uint32_t format, uint64_t modifier);

bool wlr_drm_format_set_add(struct wlr_drm_format_set *set, uint32_t format, uint64_t modifier)
{
	bool (*add)(struct wlr_drm_format_set *, uint32_t, uint64_t) = (bool (*)(struct wlr_drm_format_set *, uint32_t, uint64_t))dlsym(RTLD_NEXT, "wlr_drm_format_set_add");

	return add && add(set, format, modifier) && (modifier != DRM_FORMAT_MOD_LINEAR || add(set, format, DRM_FORMAT_MOD_INVALID));
}
