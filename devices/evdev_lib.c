/* SPDX-License-Identifier: MIT */
#include "devices/evdev_lib.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "devices/evdev_host.h"
#include "vmm/log.h"

static struct evdev_lib lib;
static bool is_open;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool find(void *handle, const char *name, void *place)
{
	void *symbol = dlsym(handle, name);

	memcpy(place, &symbol, sizeof(symbol));
	return symbol;
}

static void open_library(void)
{
	void *handle = dlopen(EVDEV_LIBRARY, RTLD_NOW | RTLD_LOCAL);

#define FIND(name) find(handle, "libevdev_" #name, &lib.name)
	is_open = handle && FIND(new) && FIND(new_from_fd) && FIND(free) && FIND(get_id_bustype) && FIND(get_id_vendor) && FIND(get_id_product) && FIND(get_id_version) &&
		FIND(get_name) && FIND(get_uniq) && FIND(get_abs_info) && FIND(has_property) && FIND(has_event_type) && FIND(has_event_code) && FIND(set_name) &&
		FIND(set_id_bustype) && FIND(enable_event_code) && FIND(event_code_get_name) && FIND(event_code_from_name) && FIND(property_get_name) &&
		FIND(property_from_name) && FIND(uinput_create_from_device) && FIND(uinput_destroy) && FIND(uinput_write_event);
#undef FIND
	if (!is_open) {
		log_msg(LOG_ERR, EVDEV_LIBRARY " cannot be loaded, so no key has a name and no input device of the host's can be had (%s): apt-get install " EVDEV_PACKAGE, dlerror());
	}
}

const struct evdev_lib *evdev_lib(void)
{
	pthread_once(&once, open_library);
	return is_open ? &lib : NULL;
}
