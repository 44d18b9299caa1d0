/* SPDX-License-Identifier: MIT */
#include "devices/evdev_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "devices/evdev_lib.h"

/* The types Linux's virtio-input driver asks for; EV_REP by presence only. */
static const uint8_t carried[] = {EV_KEY, EV_REL, EV_ABS, EV_MSC, EV_SW, EV_LED, EV_SND, EV_REP};

int evdev_host_open(const char *path)
{
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

static void copy_string(char out[INPUT_STRING_MAX + 1], const char *text)
{
	size_t len = text ? strlen(text) : 0;

	len = len < INPUT_STRING_MAX ? len : INPUT_STRING_MAX;
	/* Not in the middle of a character. */
	while (len > 0 && text[len] && ((unsigned char)text[len] & 0xc0) == 0x80) {
		len--;
	}
	memset(out, 0, INPUT_STRING_MAX + 1);
	if (len > 0) {
		memcpy(out, text, len);
	}
}

static void describe_bits(const struct evdev_lib *lib, const struct libevdev *dev, struct input_desc *desc)
{
	for (size_t i = 0; i < sizeof(carried); i++) {
		unsigned type = carried[i];

		for (unsigned code = 0; lib->has_event_type(dev, type) && code < input_type_codes(type); code++) {
			if (type != EV_REP && !lib->has_event_code(dev, type, code)) {
				continue;
			}
			if (type == EV_ABS) {
				const struct input_absinfo *abs = lib->get_abs_info(dev, code);
				const struct input_axis axis = {.min = abs->minimum, .max = abs->maximum, .fuzz = abs->fuzz, .flat = abs->flat, .res = abs->resolution};

				input_desc_add_abs(desc, code, &axis);
			} else {
				input_desc_add(desc, type, code);
			}
		}
	}
}

static int host_describe(int fd, struct input_desc *desc)
{
	const struct evdev_lib *lib = evdev_lib();
	struct libevdev *dev;
	int r = lib ? lib->new_from_fd(fd, &dev) : -ELIBACC;

	if (r < 0) {
		return r;
	}
	*desc = (struct input_desc){.bustype = (uint16_t)lib->get_id_bustype(dev), .vendor = (uint16_t)lib->get_id_vendor(dev),
		.product = (uint16_t)lib->get_id_product(dev), .version = (uint16_t)lib->get_id_version(dev)};
	copy_string(desc->name, lib->get_name(dev));
	copy_string(desc->serial, lib->get_uniq(dev));
	for (unsigned prop = 0; prop < INPUT_PROP_CNT; prop++) {
		if (lib->has_property(dev, prop)) {
			input_desc_add_prop(desc, prop);
		}
	}
	describe_bits(lib, dev, desc);
	lib->free(dev);
	return 0;
}

static bool is_mt(unsigned code)
{
	return code > ABS_MT_SLOT && code <= ABS_MT_TOOL_Y;
}

static int read_slots(int fd, unsigned code, struct input_state *state)
{
	struct {
		uint32_t code;
		int32_t values[INPUT_SLOTS_MAX];
	} request = {.code = code};

	if (ioctl(fd, EVIOCGMTSLOTS(sizeof(request)), &request) < 0) {
		return -errno;
	}
	for (unsigned slot = 0; slot < state->nslots; slot++) {
		state->mt[slot][code - ABS_MT_SLOT] = request.values[slot];
	}
	return 0;
}

static int read_axis(int fd, unsigned code, struct input_state *state)
{
	struct input_absinfo info;

	if (is_mt(code)) {
		return state->nslots ? read_slots(fd, code, state) : 0;
	}
	if (ioctl(fd, EVIOCGABS(code), &info) < 0) {
		return -errno;
	}
	if (code == ABS_MT_SLOT) {
		state->slot = info.value >= 0 ? (unsigned)info.value : 0;
	} else {
		state->abs[code] = info.value;
	}
	return 0;
}

static int host_state(int fd, const struct input_desc *desc, struct input_state *state)
{
	input_state_init(state, desc);
	if (input_desc_has_type(desc, EV_KEY) && ioctl(fd, EVIOCGKEY(sizeof(state->key)), state->key) < 0) {
		return -errno;
	}
	if (input_desc_has_type(desc, EV_SW) && ioctl(fd, EVIOCGSW(sizeof(state->sw)), state->sw) < 0) {
		return -errno;
	}
	for (unsigned code = 0; code < ABS_CNT; code++) {
		int r = input_desc_has(desc, EV_ABS, code) ? read_axis(fd, code, state) : 0;

		if (r < 0) {
			return r;
		}
	}
	return 0;
}

static int host_grab(int fd, bool on)
{
	return ioctl(fd, EVIOCGRAB, on ? 1 : 0) < 0 ? -errno : 0;
}

static void host_lights(int fd, uint8_t lights[(LED_CNT + 7) / 8])
{
	memset(lights, 0, (LED_CNT + 7) / 8);
	if (ioctl(fd, EVIOCGLED((LED_CNT + 7) / 8), lights) < 0) {
		memset(lights, 0, (LED_CNT + 7) / 8);
	}
}

static void host_light(int fd, unsigned code, bool on)
{
	const struct input_event ev[] = {
		{.type = EV_LED, .code = (uint16_t)code, .value = on},
		{.type = EV_SYN, .code = SYN_REPORT},
	};
	ssize_t n = write(fd, ev, sizeof(ev));

	(void)n;
}

static const struct evdev_host_ops kernel = {
	.describe = host_describe, .state = host_state, .grab = host_grab, .lights = host_lights, .light = host_light};

struct evdev_host evdev_host = {.dir = "/dev/input", .sysfs = "/sys/class/input", .ops = &kernel};

void evdev_host_set_clock(int fd)
{
	int clock = CLOCK_MONOTONIC;

	/* What is older than the kernel's 3.4 keeps its own. */
	(void)ioctl(fd, EVIOCSCLOCKID, &clock);
}

/*
 * Finding one.
 */

/* One line of a file of the node's in sysfs. */
static void read_sysfs(const char *node, const char *file, char *out, size_t len)
{
	char path[PATH_MAX];
	FILE *f;

	out[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s/device/%s", evdev_host.sysfs, node, file);
	f = fopen(path, "re");
	if (f && fgets(out, (int)len, f)) {
		out[strcspn(out, "\n")] = '\0';
	}
	if (f) {
		fclose(f);
	}
}

static uint16_t read_sysfs_id(const char *node, const char *file)
{
	char text[16];

	read_sysfs(node, file, text, sizeof(text));
	return (uint16_t)strtoul(text, NULL, 16);
}

/* A link to @path in the folder @name beside the nodes. */
static bool find_link(const char *name, const char *path, char out[PATH_MAX])
{
	char dir[128];
	const struct dirent *entry;
	bool found = false;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/%s", evdev_host.dir, name);
	d = opendir(dir);

	while (d && !found && (entry = readdir(d)) != NULL) {
		char target[PATH_MAX];

		if (snprintf(out, PATH_MAX, "%s/%s", dir, entry->d_name) < PATH_MAX && entry->d_type == DT_LNK && realpath(out, target)) {
			found = strcmp(target, path) == 0;
		}
	}
	if (d) {
		closedir(d);
	}
	if (!found) {
		out[0] = '\0';
	}
	return found;
}

static void fill_node(struct evdev_node *node, const char *name)
{
	int fd;

	memset(node, 0, sizeof(*node));
	snprintf(node->path, sizeof(node->path), "%s/%.24s", evdev_host.dir, name);
	if (!find_link("by-id", node->path, node->by_id)) {
		find_link("by-path", node->path, node->by_id);
	}
	read_sysfs(name, "name", node->name, sizeof(node->name));
	read_sysfs(name, "uniq", node->uniq, sizeof(node->uniq));
	read_sysfs(name, "phys", node->phys, sizeof(node->phys));
	fd = evdev_host_open(node->path);
	node->access = fd < 0 ? fd : evdev_host.ops->describe(fd, &node->desc);
	if (fd >= 0) {
		close(fd);
	}
	if (node->access < 0) {
		node->desc.bustype = read_sysfs_id(name, "id/bustype");
		node->desc.vendor = read_sysfs_id(name, "id/vendor");
		node->desc.product = read_sysfs_id(name, "id/product");
		node->desc.version = read_sysfs_id(name, "id/version");
	} else if (!node->name[0]) {
		/* No sysfs here. */
		snprintf(node->name, sizeof(node->name), "%s", node->desc.name);
		snprintf(node->uniq, sizeof(node->uniq), "%s", node->desc.serial);
	}
}

static int is_event_node(const struct dirent *entry)
{
	return strncmp(entry->d_name, "event", 5) == 0;
}

unsigned evdev_host_list(struct evdev_node *nodes, unsigned max)
{
	struct dirent **entries;
	int found = scandir(evdev_host.dir, &entries, is_event_node, versionsort);
	unsigned n = 0;

	for (int i = 0; i < found; i++) {
		if (n < max) {
			fill_node(&nodes[n++], entries[i]->d_name);
		}
		free(entries[i]);
	}
	if (found >= 0) {
		free(entries);
	}
	return n;
}

static bool is_like(const char *pattern, const char *text)
{
	return !pattern || fnmatch(pattern, text, 0) == 0;
}

static bool is_twin(const struct evdev_node *node)
{
	return node->desc.bustype == BUS_VIRTUAL && strncmp(node->name, EVDEV_TWIN_NAME, strlen(EVDEV_TWIN_NAME)) == 0;
}

bool evdev_host_matches(const struct evdev_node *node, const struct evdev_match *match)
{
	return !is_twin(node) && is_like(match->name, node->name) && is_like(match->uniq, node->uniq) && is_like(match->phys, node->phys) &&
		(!match->has_vendor || match->vendor == node->desc.vendor) && (!match->has_product || match->product == node->desc.product);
}

/*
 * Names.
 */

const char *evdev_host_code_name(unsigned type, unsigned code)
{
	const struct evdev_lib *lib = evdev_lib();

	return lib ? lib->event_code_get_name(type, code) : NULL;
}

int evdev_host_code(unsigned type, const char *name)
{
	const struct evdev_lib *lib = evdev_lib();
	int code = lib ? lib->event_code_from_name(type, name) : -1;

	return code < 0 ? -EINVAL : code;
}

const char *evdev_host_prop_name(unsigned prop)
{
	const struct evdev_lib *lib = evdev_lib();

	return lib ? lib->property_get_name(prop) : NULL;
}

int evdev_host_prop(const char *name)
{
	const struct evdev_lib *lib = evdev_lib();
	int prop = lib ? lib->property_from_name(name) : -1;

	return prop < 0 ? -EINVAL : prop;
}

/*
 * The twin.
 */

struct evdev_twin {
	const struct evdev_lib *lib;
	struct libevdev_uinput *uinput;
};

int evdev_twin_create(struct evdev_twin **out, const char *of, const uint8_t keys[KEY_CNT / 8])
{
	char name[sizeof(EVDEV_TWIN_NAME) + INPUT_STRING_MAX];
	const struct evdev_lib *lib = evdev_lib();
	struct evdev_twin *twin = calloc(1, sizeof(*twin));
	struct libevdev *dev = lib ? lib->new () : NULL;
	int r = !lib ? -ELIBACC : twin && dev ? 0
					      : -ENOMEM;

	if (r == 0) {
		snprintf(name, sizeof(name), EVDEV_TWIN_NAME "%s", of);
		lib->set_name(dev, name);
		lib->set_id_bustype(dev, BUS_VIRTUAL);
		for (unsigned code = 0; code < KEY_CNT; code++) {
			if (keys[code / 8] & 1u << code % 8) {
				lib->enable_event_code(dev, EV_KEY, code, NULL);
			}
		}
		twin->lib = lib;
		r = lib->uinput_create_from_device(dev, LIBEVDEV_UINPUT_OPEN_MANAGED, &twin->uinput);
	}
	if (lib) {
		lib->free(dev);
	}
	if (r < 0) {
		free(twin);
		return r;
	}
	*out = twin;
	return 0;
}

void evdev_twin_destroy(struct evdev_twin *twin)
{
	if (twin) {
		twin->lib->uinput_destroy(twin->uinput);
		free(twin);
	}
}

void evdev_twin_send(struct evdev_twin *twin, const struct input_ev *ev)
{
	twin->lib->uinput_write_event(twin->uinput, ev->type, ev->code, ev->value);
}
