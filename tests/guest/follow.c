/* SPDX-License-Identifier: MIT */
#include "follow.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <drm_fourcc.h>

#include "paint.h"

/* The kernel's word about devices, as udev hears it. Return: a descriptor or -1. */
static int open_uevents(void)
{
	const struct sockaddr_nl all = {.nl_family = AF_NETLINK, .nl_groups = 1};
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&all, sizeof(all)) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Reads one. Return: whether it is about outputs: strings, with their ends, one of which is this. */
static bool is_hotplug(int fd)
{
	char text[8192];
	ssize_t len = recv(fd, text, sizeof(text) - 1, 0);

	text[len > 0 ? len : 0] = '\0';
	for (const char *s = text; s < text + len; s += strlen(s) + 1) {
		if (strcmp(s, "HOTPLUG=1") == 0) {
			return true;
		}
	}
	return false;
}

static bool preferred(const struct card *c, unsigned screen, struct drm_mode_modeinfo *mode)
{
	static struct drm_mode_modeinfo modes[CARD_MODES_MAX];
	struct drm_mode_get_connector info;
	int n = card_modes(c, screen, &info, modes);

	for (int i = 0; i < n; i++) {
		if (modes[i].type & DRM_MODE_TYPE_PREFERRED) {
			*mode = modes[i];
			return true;
		}
	}
	if (n >= 0) {
		errno = ENOENT;
	}
	return false;
}

static bool show(const struct card *c, unsigned screen, const struct drm_mode_modeinfo *mode, struct buffer *b, uint32_t frame, const char **what)
{
	const struct paint p = {.kind = PAINT_SCENE, .w = mode->hdisplay, .h = mode->vdisplay, .frame = frame};
	struct drm_mode_crtc set = {.count_connectors = 1, .mode_valid = 1, .mode = *mode, .set_connectors_ptr = (uintptr_t)&c->connector[screen], .crtc_id = c->crtc[screen]};

	if (!buffer_create(c, b, p.w, p.h, DRM_FORMAT_XRGB8888, what)) {
		return false;
	}
	paint_rect(&p, b->map, b->pitch, (const uint32_t[4]){0, 0, p.w, p.h});
	set.fb_id = b->fb;
	*what = "mode";
	return ioctl(c->fd, DRM_IOCTL_MODE_SETCRTC, &set) == 0 && card_sync(c);
}

/* Shows @mode instead of @shown, unless that has its size. */
static bool take(const struct card *c, unsigned screen, const struct drm_mode_modeinfo *mode, struct buffer *shown, unsigned *n, const char **what)
{
	struct buffer next = {0};
	bool good;

	if (mode->hdisplay == shown->w && mode->vdisplay == shown->h) {
		return true;
	}
	good = show(c, screen, mode, &next, *n + 1, what);
	buffer_destroy(c, good ? shown : &next);
	if (good) {
		*shown = next;
		printf("kms: follows %u %ux%u\n", ++*n, next.w, next.h);
	}
	return good;
}

static bool catch_up(const struct card *c, unsigned screen, struct buffer *shown, unsigned *n, const char **what)
{
	struct drm_mode_modeinfo mode;

	*what = "preferred mode";
	return preferred(c, screen, &mode) && take(c, screen, &mode, shown, n, what);
}

int follow(const struct card *c, unsigned screen, uint32_t width, uint32_t height, const char **what)
{
	struct pollfd p[2] = {{.fd = 0, .events = POLLIN}, {.fd = open_uevents(), .events = POLLIN}};
	struct buffer shown = {0};
	unsigned n = 0;
	bool good;

	*what = "uevents";
	if (p[1].fd < 0) {
		return -1;
	}
	if (width && height) {
		struct drm_mode_modeinfo own;

		card_find_mode(c, screen, width, height, &own);
		good = take(c, screen, &own, &shown, &n, what);
	} else {
		good = catch_up(c, screen, &shown, &n, what);
	}
	while (good && !p[0].revents) {
		good = poll(p, 2, -1) > 0 && (!(p[1].revents & POLLIN) || !is_hotplug(p[1].fd) || catch_up(c, screen, &shown, &n, what));
	}
	buffer_destroy(c, &shown);
	close(p[1].fd);
	return good ? (int)n : -1;
}
