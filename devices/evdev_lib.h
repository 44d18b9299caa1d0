/* SPDX-License-Identifier: MIT */
/*
 * libevdev, which is opened when a device of the host's or a name of a key is asked for: most VMs want neither, and its tables of names are pages of their own in each process that is linked with it.
 */
#ifndef DEVICES_EVDEV_LIB_H
#define DEVICES_EVDEV_LIB_H

#include <libevdev/libevdev-uinput.h>
#include <libevdev/libevdev.h>

/* What is used of it: libevdev_NAME. */
struct evdev_lib {
	__typeof__(&libevdev_new) new;
	__typeof__(&libevdev_new_from_fd) new_from_fd;
	__typeof__(&libevdev_free) free;
	__typeof__(&libevdev_get_id_bustype) get_id_bustype;
	__typeof__(&libevdev_get_id_vendor) get_id_vendor;
	__typeof__(&libevdev_get_id_product) get_id_product;
	__typeof__(&libevdev_get_id_version) get_id_version;
	__typeof__(&libevdev_get_name) get_name;
	__typeof__(&libevdev_get_uniq) get_uniq;
	__typeof__(&libevdev_get_abs_info) get_abs_info;
	__typeof__(&libevdev_has_property) has_property;
	__typeof__(&libevdev_has_event_type) has_event_type;
	__typeof__(&libevdev_has_event_code) has_event_code;
	__typeof__(&libevdev_set_name) set_name;
	__typeof__(&libevdev_set_id_bustype) set_id_bustype;
	__typeof__(&libevdev_enable_event_code) enable_event_code;
	__typeof__(&libevdev_event_code_get_name) event_code_get_name;
	__typeof__(&libevdev_event_code_from_name) event_code_from_name;
	__typeof__(&libevdev_property_get_name) property_get_name;
	__typeof__(&libevdev_property_from_name) property_from_name;
	__typeof__(&libevdev_uinput_create_from_device) uinput_create_from_device;
	__typeof__(&libevdev_uinput_destroy) uinput_destroy;
	__typeof__(&libevdev_uinput_write_event) uinput_write_event;
};

/**
 * evdev_lib - the library, opened by the first call; it stays
 *
 * Return: NULL when this host has none, which is logged once. Thread: any.
 */
const struct evdev_lib *evdev_lib(void);

#endif
