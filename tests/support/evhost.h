/* SPDX-License-Identifier: MIT */
/*
 * A host with input devices, for tests: a folder of nodes that open, hang up and come again, what sysfs says of them, and a kernel that answers as it is told to. No root,
 * no uinput, no name space: a node is a link to a pseudo-terminal, which is what else hangs up when its other end goes.
 *
 *   evhost_init();                                   from here on evdev_host is this one
 *   n = evhost_plug("event3", &desc);                the node is there, and has said so to whoever watches the folder
 *   evhost_unplug(n);                                it is gone; who has it open sees it hang up
 *   evhost_finish();
 *
 * Failures of the host itself are asserts. Thread: the test's.
 */
#ifndef TESTS_SUPPORT_EVHOST_H
#define TESTS_SUPPORT_EVHOST_H

#include <stdbool.h>

#include "devices/evdev_host.h"

#define EVHOST_DEVICES_MAX 300

struct evhost_device {
	char node[32]; /* "event3"; "": free */
	int master; /* the device's end; -1: unplugged */
	unsigned long rdev; /* of the node's end */
	struct input_desc desc;
	int describe_error, state_error, grab_error; /* answers, instead */
	unsigned answers; /* that it has given */
	unsigned goes_after; /* so many of them; 0: it stays */
	bool is_grabbed;
};

struct evhost {
	char root[32]; /* of all its files; whatever else is put there goes with them */
	char dir[48]; /* the nodes */
	char sysfs[48];
	struct evhost_device device[EVHOST_DEVICES_MAX];
};
extern struct evhost evhost;

/* False where there are no pseudo-terminals: the tests are to be skipped. */
bool evhost_is_possible(void);
void evhost_init(void);
void evhost_finish(void); /* evdev_host is this machine's again */

/* The folder goes with its last device and comes with the first, as in devtmpfs; evhost_init makes it. */
void evhost_make_dir(void);
void evhost_remove_dir(void);
/* A host whose sysfs is not there, as in some containers. */
void evhost_remove_sysfs(void);

/* Return: its number. */
unsigned evhost_plug(const char *node, const struct input_desc *desc);
void evhost_unplug(unsigned n);
/* udev gives access, or whatever else is told by IN_ATTRIB. */
void evhost_touch(unsigned n);

#endif
