/* SPDX-License-Identifier: MIT */
#include "tests/support/evhost.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct evhost evhost;

static struct evdev_host real;

/* A file, or a folder, must be as it should. */
static void must(int r)
{
	assert(r >= 0);
	(void)r;
}

/*
 * The kernel.
 */

/* What was opened as @fd, or NULL. The number of one that is gone belongs to another one, sooner or later. */
static struct evhost_device *find(int fd)
{
	struct evhost_device *found = NULL;
	struct stat st;

	must(fstat(fd, &st));
	for (unsigned n = 0; n < EVHOST_DEVICES_MAX; n++) {
		struct evhost_device *dev = &evhost.device[n];

		if (dev->node[0] && S_ISCHR(st.st_mode) && st.st_rdev == dev->rdev && (!found || dev->master >= 0)) {
			found = dev;
		}
	}
	return found;
}

/* Return: @error, or that it is gone. */
static int answer(struct evhost_device *dev, int error)
{
	if (dev->master < 0) {
		return -ENODEV;
	}
	dev->answers++;
	if (dev->goes_after > 0 && dev->answers == dev->goes_after) {
		evhost_unplug((unsigned)(dev - evhost.device));
	}
	return error;
}

static int fake_describe(int fd, struct input_desc *desc)
{
	struct evhost_device *dev = find(fd);
	int r = dev ? answer(dev, dev->describe_error) : -ENOTTY;

	if (r == 0) {
		*desc = dev->desc;
	}
	return r;
}

static int fake_state(int fd, const struct input_desc *desc, struct input_state *state)
{
	struct evhost_device *dev = find(fd);

	input_state_init(state, desc);
	return dev ? answer(dev, dev->state_error) : -ENODEV;
}

static int fake_grab(int fd, bool on)
{
	struct evhost_device *dev = find(fd);

	if (!dev || (on && dev->grab_error)) {
		return dev ? dev->grab_error : -ENODEV;
	}
	dev->is_grabbed = on;
	return 0;
}

static void fake_lights(int fd, uint8_t lights[(LED_CNT + 7) / 8])
{
	(void)fd;
	memset(lights, 0, (LED_CNT + 7) / 8);
}

static void fake_light(int fd, unsigned code, bool on)
{
	(void)fd;
	(void)code;
	(void)on;
}

static const struct evdev_host_ops ops = {
	.describe = fake_describe, .state = fake_state, .grab = fake_grab, .lights = fake_lights, .light = fake_light};

/*
 * The folders.
 */

void evhost_make_dir(void)
{
	must(mkdir(evhost.dir, 0700));
}

void evhost_remove_dir(void)
{
	must(rmdir(evhost.dir));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	must(remove(path));
	return 0;
}

static void remove_all(const char *path)
{
	must(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS));
}

void evhost_remove_sysfs(void)
{
	remove_all(evhost.sysfs);
}

bool evhost_is_possible(void)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
	}
	return fd >= 0;
}

void evhost_init(void)
{
	memset(&evhost, 0, sizeof(evhost));
	snprintf(evhost.root, sizeof(evhost.root), "/tmp/tinyvmm-evhost-XXXXXX");
	must(mkdtemp(evhost.root) ? 0 : -1);
	snprintf(evhost.dir, sizeof(evhost.dir), "%s/input", evhost.root);
	snprintf(evhost.sysfs, sizeof(evhost.sysfs), "%s/sys", evhost.root);
	must(mkdir(evhost.sysfs, 0700));
	evhost_make_dir();
	real = evdev_host;
	evdev_host = (struct evdev_host){.dir = evhost.dir, .sysfs = evhost.sysfs, .ops = &ops};
}

void evhost_finish(void)
{
	for (unsigned n = 0; n < EVHOST_DEVICES_MAX; n++) {
		if (evhost.device[n].node[0] && evhost.device[n].master >= 0) {
			evhost_unplug(n);
		}
	}
	remove_all(evhost.root);
	evdev_host = real;
}

/*
 * Devices.
 */

static void write_file(const char *node, const char *file, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/device/%s", evhost.sysfs, node, file);
	f = fopen(path, "we");
	must(f ? 0 : -1);
	fprintf(f, "%s\n", text);
	fclose(f);
}

static void write_sysfs(const struct evhost_device *dev)
{
	const struct {
		const char *file;
		uint16_t value;
	} ids[] = {{"id/bustype", dev->desc.bustype}, {"id/vendor", dev->desc.vendor}, {"id/product", dev->desc.product}, {"id/version", dev->desc.version}};
	static const char *const folders[] = {"", "/device", "/device/id"};
	char text[PATH_MAX];

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(text, sizeof(text), "%s/%s%s", evhost.sysfs, dev->node, folders[i]);
		must(mkdir(text, 0700) == 0 || errno == EEXIST ? 0 : -1);
	}
	write_file(dev->node, "name", dev->desc.name);
	write_file(dev->node, "uniq", dev->desc.serial);
	write_file(dev->node, "phys", "");
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		snprintf(text, sizeof(text), "%04x", ids[i].value);
		write_file(dev->node, ids[i].file, text);
	}
}

static void node_path(const struct evhost_device *dev, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", evhost.dir, dev->node);
}

unsigned evhost_plug(const char *node, const struct input_desc *desc)
{
	struct evhost_device *dev = evhost.device;
	char path[PATH_MAX], end[64];
	struct stat st;

	while (dev->node[0]) {
		dev++;
		assert(dev < evhost.device + EVHOST_DEVICES_MAX);
	}
	*dev = (struct evhost_device){.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), .desc = *desc};
	snprintf(dev->node, sizeof(dev->node), "%s", node);
	must(dev->master);
	must(unlockpt(dev->master) == 0 && ptsname_r(dev->master, end, sizeof(end)) == 0 && stat(end, &st) == 0 ? 0 : -1);
	dev->rdev = st.st_rdev;
	write_sysfs(dev);
	node_path(dev, path);
	must(symlink(end, path));
	return (unsigned)(dev - evhost.device);
}

void evhost_unplug(unsigned n)
{
	struct evhost_device *dev = &evhost.device[n];
	char path[PATH_MAX];

	node_path(dev, path);
	must(unlink(path));
	must(close(dev->master));
	dev->master = -1;
}

void evhost_touch(unsigned n)
{
	char path[PATH_MAX];

	node_path(&evhost.device[n], path);
	must(utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW));
}
