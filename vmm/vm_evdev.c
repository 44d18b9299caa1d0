/* SPDX-License-Identifier: MIT */
#include "vmm/vm_evdev.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "devices/key_name.h"
#include "vmm/clock.h"
#include "vmm/evdev_find.h"
#include "vmm/log.h"
#include "vmm/vm_priv.h"

#define WATCHED (IN_CREATE | IN_ATTRIB | IN_MOVED_TO | IN_ONLYDIR)

/*
 * Between host and guest.
 */

/* Whether the guest (@wanted) is to have one of the devices, or the host. */
static bool any_is(const struct vm *vm, bool wanted)
{
	for (unsigned i = 0; i < vm->ninputs; i++) {
		if (vm->input[i].evdev.in && vm->input[i].evdev.is_wanted == wanted) {
			return true;
		}
	}
	return false;
}

void vm_evdev_want(struct vm *vm, bool wanted)
{
	for (unsigned i = 0; i < vm->ninputs; i++) {
		if (vm->input[i].evdev.in) {
			evdev_want(&vm->input[i].evdev, wanted);
		}
	}
}

static void on_chord(void *ctx, bool release)
{
	const struct vm_input *in = ctx;

	vm_evdev_want(in->vm, !release && !any_is(in->vm, true));
}

static void start_watch(struct vm *vm);

static void on_changed(void *ctx)
{
	struct vm_input *in = ctx;

	if (in->vm->ctl.control.loop) {
		control_event(&in->vm->ctl.control, "evdev", json_pack("{s:s, s:s}", "device", in->name, "state", evdev_state_name(&in->evdev)));
	}
	if (evdev_is_absent(&in->evdev) && in->config->fd == 0) {
		start_watch(in->vm);
		/* The events of its coming back may have been read when it was not known to be gone. */
		loop_timer_set(&in->vm->evdev_again, clock_now_ns() + 1);
	}
}

static const struct evdev_ops evdev_ops = {.chord = on_chord, .changed = on_changed};

/*
 * Plugging in.
 */

/* The guest's device, as the host's is (@fd, which becomes the evdev's), or as it is described (-1). Return: 0 or -errno (logged). */
static int make(struct vm_input *in, int fd)
{
	const struct config_input_device *config = in->config;
	struct evdev_options o = {.name = in->name, .grab = config->grab, .ops = &evdev_ops, .ctx = in};
	struct input_desc desc;
	char err[512];
	int r = evdev_find_desc(config, fd, &desc, err, sizeof(err));

	if (r < 0) {
		log_msg(LOG_ERR, "%s: %s", in->name, err);
		if (fd >= 0) {
			close(fd);
		}
		return r;
	}
	vm_input_make(in, &desc);
	/* Both have been checked. */
	evdev_chord_parse(&o.toggle, config->toggle, err, sizeof(err));
	for (unsigned i = 0; i < config->reserve.n; i++) {
		int code = key_name_code(config->reserve.item[i], strlen(config->reserve.item[i]));

		o.reserve[code / 8] |= (uint8_t)(1u << code % 8);
	}
	evdev_init(&in->evdev, &in->dev, &o);
	if (fd < 0) {
		start_watch(in->vm);
		return 0;
	}
	return evdev_attach(&in->evdev, fd);
}

/* The first time that it is there: the guest finds a new device. */
static int plug(struct vm_input *in, int fd)
{
	/* It goes where the others are. */
	bool wanted = any_is(in->vm, true) || !any_is(in->vm, false);
	int r = make(in, fd);

	/* It went before it could be asked what it is. */
	if (!in->evdev.in) {
		return r;
	}
	/* What it is, is known now. Should it have gone since, it is one that is absent, and comes back as those do. */
	in->is_expected = false;
	evdev_want(&in->evdev, wanted);
	virtio_bus_plug(&in->vm->virtio, in->place, &in->dev.base);
	return r;
}

/* udev makes a node first, and gives access and links afterwards: each of these steps is an event, and only the last one finds an open door. */
static void try_attach(struct vm_input *in)
{
	char err[512];
	int fd = evdev_find(in->config, err, sizeof(err));

	if (fd >= 0) {
		if ((in->is_expected ? plug(in, fd) : evdev_attach(&in->evdev, fd)) == 0) {
			log_msg(LOG_INFO, "%s: the host's device \"%s\" is there", in->name, in->dev.desc.name);
		}
	} else if (fd != -ENODEV) {
		log_msg(LOG_INFO, "%s: %s", in->name, err);
	}
}

static void try_absent(struct vm *vm)
{
	for (unsigned i = 0; i < vm->ninputs; i++) {
		struct vm_input *in = &vm->input[i];

		if (in->is_expected || (in->evdev.in && evdev_is_absent(&in->evdev) && in->config->fd == 0)) {
			try_attach(in);
		}
	}
}

/* The folder of @path, or the next one above that is there, for whose folder to come. Return: whether it was the folder itself. */
static bool watch_folder(const struct vm *vm, const char *path)
{
	char folder[PATH_MAX];
	bool is_whole = true;
	char *end;

	snprintf(folder, sizeof(folder), "%s", path);
	while ((end = strrchr(folder, '/'))) {
		end[end == folder] = '\0';
		if (inotify_add_watch(vm->evdev_watch.fd, folder, WATCHED) >= 0) {
			return is_whole;
		}
		if ((errno != ENOENT && errno != ENOTDIR) || end == folder) {
			log_errno(LOG_INFO, -errno, "devices that are plugged in are not noticed in %s", folder);
			return true;
		}
		is_whole = false;
	}
	return true;
}

static void watch(const struct vm *vm, const char *path)
{
	/* One that came between the two calls has said nothing to its parent's watch. */
	if (!watch_folder(vm, path)) {
		watch_folder(vm, path);
	}
}

/* Folders of links come and go with the devices, and that of all with the first and the last one. */
static void watch_folders(const struct vm *vm)
{
	static const char *const folders[] = {"", "by-id/", "by-path/"};
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", evdev_host.dir, folders[i]);
		watch(vm, path);
	}
	for (unsigned i = 0; i < vm->ninputs; i++) {
		if (vm->input[i].config->path) {
			watch(vm, vm->input[i].config->path);
		}
	}
}

static void on_watch(struct loop_source *src, uint32_t events)
{
	struct vm *vm = (struct vm *)((char *)src - offsetof(struct vm, evdev_watch));
	char buf[4096];

	(void)events;
	while (read(src->fd, buf, sizeof(buf)) > 0) {
	}
	watch_folders(vm);
	try_absent(vm);
}

static void on_again(struct loop_timer *timer)
{
	struct vm *vm = (struct vm *)((char *)timer - offsetof(struct vm, evdev_again));

	watch_folders(vm);
	try_absent(vm);
}

/* From the first time that a device is absent. */
static void start_watch(struct vm *vm)
{
	int r;

	if (vm->evdev_watch.fn) {
		return;
	}
	loop_timer_init(&vm->evdev_again, &vm->loop, on_again);
	vm->evdev_watch = (struct loop_source){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .events = EPOLLIN, .fn = on_watch};
	r = vm->evdev_watch.fd < 0 ? -errno : loop_add(&vm->loop, &vm->evdev_watch);
	if (r < 0) {
		log_errno(LOG_WARN, r, "devices that are plugged in are not noticed: inotify");
		return;
	}
	watch_folders(vm);
	/* It may have come back before anybody watched. */
	try_absent(vm);
}

json_t *vm_evdev_list(const struct vm *vm)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < vm->ninputs; i++) {
		const struct vm_input *in = &vm->input[i];

		if (in->is_expected) {
			json_array_append_new(list, json_pack("{s:s, s:s}", "device", in->name, "state", "absent"));
		} else if (in->evdev.in) {
			json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "device", in->name, "state", evdev_state_name(&in->evdev), "name", in->dev.desc.name));
		}
	}
	return list;
}

/*
 * Beginning and end.
 */

int vm_evdev_start(struct vm_input *in)
{
	const struct config_input_device *config = in->config;
	char err[512];
	int fd = evdev_find(config, err, sizeof(err)), r;

	if (fd >= 0 || (fd == -ENODEV && config->wait && config->description)) {
		r = make(in, fd >= 0 ? fd : -1);
		/* One that went meanwhile is absent as any other: described already, or to be described when it comes. */
		if (r == -ENODEV && config->wait && in->evdev.in) {
			start_watch(in->vm);
			r = 0;
		}
		if (r != -ENODEV || !config->wait) {
			return r < 0 ? r : virtio_bus_add(&in->vm->virtio, &in->dev.base);
		}
	} else if (fd != -ENODEV || !config->wait) {
		log_msg(LOG_ERR, "%s: %s", in->name, err);
		return fd;
	}
	r = virtio_bus_reserve(&in->vm->virtio);
	if (r >= 0) {
		in->place = (unsigned)r;
		in->is_expected = true;
		start_watch(in->vm);
	}
	return r < 0 ? r : 0;
}

void vm_evdev_finish(struct vm *vm)
{
	for (unsigned i = 0; i < vm->ninputs; i++) {
		evdev_finish(&vm->input[i].evdev);
	}
	if (vm->evdev_watch.fn && vm->evdev_watch.fd >= 0) {
		loop_remove(&vm->evdev_watch);
		close(vm->evdev_watch.fd);
	}
	if (vm->evdev_watch.fn) {
		loop_timer_stop(&vm->evdev_again);
	}
	vm->evdev_watch.fn = NULL;
}
