/* SPDX-License-Identifier: MIT */
/*
 * The host's input devices as its kernel shows them, /dev/input/eventN: what they are, what they are doing, and the grab that keeps their events from
 * everybody else. The only file that knows the EVIOC* requests, and with key_name.c the only one that knows libevdev; what is done with the events is evdev.c's.
 *
 * Nothing here blocks. Thread: any, one at a time per descriptor.
 */
#ifndef DEVICES_EVDEV_HOST_H
#define DEVICES_EVDEV_HOST_H

#include <linux/limits.h>

#include "devices/input_state.h"

/* Loaded when a device of the host's or a name is asked for (evdev_lib.h), and the package that has it. */
#define EVDEV_LIBRARY "libevdev.so.2"
#define EVDEV_PACKAGE "libevdev2"

/* Non-blocking, for reading and for lights. Return: a descriptor, or -errno (not logged). */
int evdev_host_open(const char *path);

/* What a device is asked and told; a table, so that a test can stand in for the kernel. */
struct evdev_host_ops {
	/* All that virtio-input can carry of it. Name and serial number are cut to INPUT_STRING_MAX bytes; force feedback is left out.
	 * Return: 0, or -errno: @fd is no evdev node then, or -ELIBACC: no libevdev. */
	int (*describe)(int fd, struct input_desc *desc);
	/* What is held, where axes and touches are. Key and switch events before now will not be read any more. Return: 0 or -errno. */
	int (*state)(int fd, const struct input_desc *desc, struct input_state *state);
	/* From now on nobody else gets its events, or everybody does. Return: 0, or -errno: -EBUSY when somebody else has grabbed it. */
	int (*grab)(int fd, bool on);
	/* Lights as they are, by LED_*; all off where they cannot be read. */
	void (*lights)(int fd, uint8_t lights[(LED_CNT + 7) / 8]);
	/* Switches one. A device that is gone takes no offence. */
	void (*light)(int fd, unsigned code, bool on);
};

/* This host's. A unit test brings another one (tests/support/evhost.h), before it opens anything. */
struct evdev_host {
	const char *dir; /* of the nodes; below by-id and by-path are links to them */
	const char *sysfs; /* what of them can be read without opening them */
	const struct evdev_host_ops *ops;
};
extern struct evdev_host evdev_host;

/*
 * Time stamps of its events as clock_now_ns() has them. Before its state is read: what the kernel keeps for this descriptor is lost, and that is said by SYN_DROPPED.
 */
void evdev_host_set_clock(int fd);

/* What a host device must be like; NULL and 0 do not matter. Strings are shell patterns, fnmatch(3). */
struct evdev_match {
	const char *name, *uniq, *phys;
	bool has_vendor, has_product;
	uint16_t vendor, product;
};

struct evdev_node {
	char path[128]; /* /dev/input/eventN */
	char by_id[PATH_MAX]; /* a link to it below by-id, or by-path; "": none */
	char name[256], uniq[256], phys[256];
	int access; /* 0, or -errno of opening it: then desc has nothing but the numbers */
	struct input_desc desc;
};

/* Every evdev node, by number. Return: how many, at most @max. */
unsigned evdev_host_list(struct evdev_node *nodes, unsigned max);
/* Never a twin, ours or another monitor's: what the guest is not to get would come to a guest by it. */
bool evdev_host_matches(const struct evdev_node *node, const struct evdev_match *match);

/* Names of codes and properties as <linux/input-event-codes.h> has them. NULL, -EINVAL: there is none, or no libevdev. */
const char *evdev_host_code_name(unsigned type, unsigned code);
int evdev_host_code(unsigned type, const char *name);
const char *evdev_host_prop_name(unsigned prop);
int evdev_host_prop(const char *name);

/* A device of our own on the host that types what the guest is not to get (uinput). */
struct evdev_twin;
#define EVDEV_TWIN_NAME "tinyvmm reserved keys of "
/* @of: the name of the device whose @keys, by KEY_*, it types. Return: 0 or -errno: no access to /dev/uinput. */
int evdev_twin_create(struct evdev_twin **twin, const char *of, const uint8_t keys[KEY_CNT / 8]);
void evdev_twin_destroy(struct evdev_twin *twin); /* accepts NULL; what is pressed on it comes up */
void evdev_twin_send(struct evdev_twin *twin, const struct input_ev *ev);

#endif
