/* SPDX-License-Identifier: MIT */
#include "vmm/evdev_find.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/evdev_file.h"

#define NODES_MAX 256

/* @r: what opening @path said. Return: it, or -ENODEV for what is not there. */
static int explain(int r, const char *path, char *err, size_t err_len)
{
	if (r == -EACCES || r == -EPERM) {
		snprintf(err, err_len, "%s: %s: give yourself access to this one device by a udev rule (TAG+=\"uaccess\")", path, strerror(-r));
	} else if (r < 0) {
		snprintf(err, err_len, "%s: %s", path, strerror(-r));
	}
	return r == -ENOENT || r == -ENXIO ? -ENODEV : r;
}

static int open_path(const char *path, char *err, size_t err_len)
{
	struct input_desc desc;
	int fd = evdev_host_open(path);

	if (fd >= 0 && evdev_host.ops->describe(fd, &desc) < 0) {
		close(fd);
		snprintf(err, err_len, "%s is no input device: see tinyvmm devices", path);
		return -EINVAL;
	}
	return explain(fd, path, err, err_len);
}

static int open_fd(unsigned number, char *err, size_t err_len)
{
	struct input_desc desc;
	int fd = fcntl((int)number, F_DUPFD_CLOEXEC, 3), r;

	if (fd < 0) {
		snprintf(err, err_len, "descriptor %u is not open", number);
		return -EINVAL;
	}
	r = evdev_host.ops->describe(fd, &desc);
	if (r < 0) {
		close(fd);
		snprintf(err, err_len, r == -ENODEV ? "the device of descriptor %u is gone" : "descriptor %u is no input device", number);
		return r == -ENODEV ? -ENODEV : -EINVAL;
	}
	/* The grab is the description's: whoever gave it to us shares it, and so does its O_NONBLOCK. No program that we start may. A restart of ourselves needs the number again, see run.c. */
	fcntl((int)number, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}

static size_t add_candidate(char *err, size_t err_len, size_t used, const struct evdev_node *node)
{
	int n = used < err_len ? snprintf(err + used, err_len - used, "%s %s \"%.60s\"", used ? "," : "", node->path, node->name) : 0;

	return used + (size_t)(n > 0 ? n : 0);
}

static int open_match(const struct config_match *m, char *err, size_t err_len)
{
	const struct evdev_match match = {.name = m->name, .uniq = m->uniq, .phys = m->phys, .has_vendor = m->vendor > 0, .has_product = m->product > 0,
		.vendor = (uint16_t)m->vendor, .product = (uint16_t)m->product};
	struct evdev_node *nodes = calloc(NODES_MAX, sizeof(*nodes));
	unsigned n = nodes ? evdev_host_list(nodes, NODES_MAX) : 0, found = 0, first = 0;
	char list[400] = "", all[400] = "";
	size_t list_len = 0, all_len = 0;
	int r;

	for (unsigned i = 0; i < n; i++) {
		all_len = add_candidate(all, sizeof(all), all_len, &nodes[i]);
		if (evdev_host_matches(&nodes[i], &match)) {
			first = found++ ? first : i;
			list_len = add_candidate(list, sizeof(list), list_len, &nodes[i]);
		}
	}
	if (found == 1) {
		r = open_path(nodes[first].path, err, err_len);
	} else if (found == 0) {
		r = -ENODEV;
		snprintf(err, err_len, n ? "no input device matches; there are:%s" : "no input device matches; there is none%s", all);
	} else {
		r = -EEXIST;
		snprintf(err, err_len, "%u input devices match:%s", found, list);
	}
	free(nodes);
	return r;
}

int evdev_find(const struct config_input_device *in, char *err, size_t err_len)
{
	return in->path ? open_path(in->path, err, err_len) : in->match ? open_match(in->match, err, err_len) : open_fd(in->fd, err, err_len);
}

int evdev_find_desc(const struct config_input_device *in, int fd, struct input_desc *desc, char *err, size_t err_len)
{
	int r;

	if (fd < 0) {
		return evdev_file_read(desc, in->description, err, err_len);
	}
	r = evdev_host.ops->describe(fd, desc);
	if (r < 0) {
		snprintf(err, err_len, "%s", strerror(-r));
	}
	return r;
}
