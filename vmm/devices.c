/* SPDX-License-Identifier: MIT */
#include "vmm/devices.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/evdev_host.h"
#include "vmm/evdev_file.h"
#include "vmm/json_text.h"
#include "vmm/log.h"
#include "vmm/result.h"

#define NODES_MAX 256

static bool has_prop(const struct input_desc *desc, unsigned prop)
{
	return desc->props[prop / 8] & 1u << prop % 8;
}

/* As people call it; the first that fits. */
static const char *kind(const struct input_desc *desc)
{
	static const struct {
		unsigned type, code;
		const char *name;
	} signs[] = {
		{EV_KEY, BTN_TOOL_PEN, "pen tablet"}, {EV_KEY, BTN_GAMEPAD, "gamepad"}, {EV_KEY, BTN_JOYSTICK, "joystick"}, {EV_KEY, BTN_TOOL_FINGER, "touchpad"},
		{EV_KEY, KEY_A, "keyboard"}, {EV_REL, REL_X, "mouse"}, {EV_SW, SW_LID, "lid"}, {EV_KEY, KEY_POWER, "power button"}, {EV_KEY, KEY_PLAYPAUSE, "media keys"},
		{EV_SW, SW_HEADPHONE_INSERT, "jack"},
	};
	/* A virtual machine's pointer on a nested host (QEMU's, VMware's), a remote console's, ours: a mouse that says where it is, not how far it went. */
	bool is_absolute = input_desc_has(desc, EV_ABS, ABS_X) && input_desc_has(desc, EV_ABS, ABS_Y) && input_desc_has(desc, EV_KEY, BTN_LEFT);

	if (has_prop(desc, INPUT_PROP_DIRECT) && input_desc_has(desc, EV_KEY, BTN_TOUCH) && !input_desc_has(desc, EV_KEY, BTN_TOOL_PEN)) {
		return "touch screen";
	}
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		if (input_desc_has(desc, signs[i].type, signs[i].code)) {
			return signs[i].name;
		}
	}
	return is_absolute ? "tablet" : "other";
}

static void print_json(const struct evdev_node *node)
{
	json_t *object = json_pack("{s:s, s:b, s:s, s:s*, s:i, s:i}", "path", node->path, "access", node->access == 0, "kind",
		node->access == 0 ? kind(&node->desc) : "unknown", "by_id", node->by_id[0] ? node->by_id : NULL, "vendor", (int)node->desc.vendor, "product",
		(int)node->desc.product);
	const char *const names[] = {"name", "uniq", "phys"}, *const values[] = {node->name, node->uniq, node->phys};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		json_object_set_new(object, names[i], json_text(values[i], 256));
	}
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

/* A device names itself; a terminal is not to be told what to do by it. */
static void print_name(const char *name)
{
	for (; *name; name++) {
		putchar((unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name);
	}
}

static int list(bool json)
{
	struct evdev_node *nodes = calloc(NODES_MAX, sizeof(*nodes));
	unsigned n = nodes ? evdev_host_list(nodes, NODES_MAX) : 0, refused = 0;

	if (!json && n > 0) {
		printf("%-8s %-12s %-9s %s\n", "ACCESS", "KIND", "ID", "PATH AND NAME");
	}
	for (unsigned i = 0; i < n; i++) {
		const struct evdev_node *node = &nodes[i];

		refused += node->access < 0;
		if (json) {
			print_json(node);
			continue;
		}
		printf("%-8s %-12s %04x:%04x %s \"", node->access < 0 ? "no" : "yes", node->access < 0 ? "?" : kind(&node->desc), node->desc.vendor, node->desc.product,
			node->by_id[0] ? node->by_id : node->path);
		print_name(node->name);
		puts("\"");
	}
	free(nodes);
	if (n == 0 && !json) {
		log_msg(LOG_WARN, "this host has no input devices in %s", evdev_host.dir);
	} else if (refused && !json) {
		log_msg(LOG_WARN, "no access to %u of them: give yourself one by a udev rule with TAG+=\"uaccess\" (docs/passing-a-device.md)", refused);
	}
	return EXIT_OK;
}

static int describe(const char *path)
{
	struct input_desc desc;
	int fd = evdev_host_open(path), r;

	if (fd < 0) {
		log_msg(LOG_ERR, "%s: %s", path, strerror(-fd));
		return fd == -EACCES || fd == -EPERM ? EXIT_HOST : EXIT_USAGE;
	}
	r = evdev_host.ops->describe(fd, &desc);
	close(fd);
	if (r < 0) {
		log_msg(LOG_ERR, "%s is no input device: see tinyvmm devices", path);
		return EXIT_USAGE;
	}
	return evdev_file_write(&desc, stdout) < 0 ? EXIT_FAILED : EXIT_OK;
}

int devices_run(const struct options *o)
{
	return o->describe ? describe(o->describe) : list(o->json);
}
