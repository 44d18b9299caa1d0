/* SPDX-License-Identifier: MIT */
/* Which devices the host has, and which of them is meant. What a real kernel says of them is seen in tests/system/evdev. */
#include "devices/evdev_host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/evhost.h"

static const struct evdev_node keyboard = {.name = "ACME Keyboard", .uniq = "1234", .phys = "usb-1/input0", .desc = {.bustype = BUS_USB, .vendor = 0x046d, .product = 0xc31c}};

static void test_evdev_host_matches_all_that_is_said(void **state)
{
	(void)state;
	assert_true(evdev_host_matches(&keyboard, &(struct evdev_match){0}));
	assert_true(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "*Key*", .uniq = "12?4", .phys = "*/input0", .has_vendor = true, .vendor = 0x046d, .has_product = true, .product = 0xc31c}));
	assert_false(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "Key*"}));
	assert_false(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "*Key*", .uniq = "4321"}));
	assert_false(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "*Key*", .phys = "*/input1"}));
	assert_false(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "*Key*", .has_vendor = true, .vendor = 1}));
	assert_false(evdev_host_matches(&keyboard, &(struct evdev_match){.name = "*Key*", .has_product = true}));
}

static void test_evdev_host_matches_no_twin(void **state)
{
	struct evdev_node twin = {.name = EVDEV_TWIN_NAME "ACME Keyboard", .desc = {.bustype = BUS_VIRTUAL}};

	(void)state;
	assert_false(evdev_host_matches(&twin, &(struct evdev_match){.name = "*ACME*"}));
	assert_false(evdev_host_matches(&twin, &(struct evdev_match){.name = "tinyvmm*"}));
	assert_false(evdev_host_matches(&twin, &(struct evdev_match){.has_vendor = true}));
	/* Whoever calls his hardware so gets it. */
	twin.desc.bustype = BUS_USB;
	assert_true(evdev_host_matches(&twin, &(struct evdev_match){.name = "*ACME*"}));
}

/*
 * A device as the kernel answers for it. libevdev asks through this program's ioctl.
 */

static struct {
	const char *name, *uniq; /* NULL: it has none, -ENOENT */
	struct input_id id;
	struct input_absinfo pressure;
	int32_t slot; /* where the kernel is */
	bool has_key; /* something is held */
	unsigned key_questions, switch_questions;
	long grab; /* what EVIOCGRAB was called with; -1: not yet */
	int error; /* the answer, instead */
	unsigned error_nr; /* to this request only; 0: to all */
} told;

/* The kernel has more slots than are followed. */
#define TOLD_SLOTS (INPUT_SLOTS_MAX + 8)

static int32_t told_value(unsigned code, unsigned slot)
{
	return (int32_t)(code * 1000 + slot);
}

static int tell(void *to, unsigned long len, const void *from, size_t n)
{
	memcpy(to, from, n < len ? n : len);
	return (int)n;
}

static int tell_string(char *to, unsigned long len, const char *text)
{
	if (!text) {
		errno = ENOENT;
		return -1;
	}
	return tell(to, len, text, strlen(text) + 1);
}

/* The code, and after it room for as many slots as the request is long. */
static int tell_slots(uint32_t *to, unsigned long len)
{
	unsigned code = to[0];

	for (unsigned slot = 0; slot < TOLD_SLOTS && (slot + 2) * sizeof(*to) <= len; slot++) {
		to[1 + slot] = (uint32_t)told_value(code, slot);
	}
	return 0;
}

static int answer(unsigned long request, void *to)
{
	static const uint8_t types[] = {1 << EV_SYN | 1 << EV_KEY | 1 << EV_ABS}, stylus[] = {1 << (BTN_STYLUS % 8)}, props[] = {1 << INPUT_PROP_DIRECT};
	unsigned long len = _IOC_SIZE(request);
	uint8_t bits[KEY_CNT / 8] = {0};

	if (told.error && (told.error_nr == 0 || told.error_nr == _IOC_NR(request))) {
		errno = told.error;
		return -1;
	}
	if (request == EVIOCGRAB) {
		/* By value: only whether it is 0. */
		told.grab = (long)(uintptr_t)to;
		return 0;
	}
	if (_IOC_NR(request) == _IOC_NR(EVIOCGMTSLOTS(0))) {
		return tell_slots(to, len);
	}
	memset(to, 0, len);
	switch (_IOC_NR(request)) {
	case _IOC_NR(EVIOCGKEY(0)):
		told.key_questions++;
		bits[KEY_MICMUTE / 8] = (uint8_t)(told.has_key << KEY_MICMUTE % 8);
		return tell(to, len, bits, sizeof(bits));
	case _IOC_NR(EVIOCGLED(0)):
		bits[0] = 1 << LED_CAPSL;
		return tell(to, len, bits, LED_CNT / 8);
	case _IOC_NR(EVIOCGSW(0)):
		told.switch_questions++;
		bits[0] = 1 << SW_LID;
		return tell(to, len, bits, SW_CNT / 8);
	case _IOC_NR(EVIOCGID):
		return tell(to, len, &told.id, sizeof(told.id));
	case _IOC_NR(EVIOCGNAME(0)):
		return tell_string(to, len, told.name);
	case _IOC_NR(EVIOCGUNIQ(0)):
		return tell_string(to, len, told.uniq);
	case _IOC_NR(EVIOCGPHYS(0)):
		return tell_string(to, len, NULL);
	case _IOC_NR(EVIOCGPROP(0)):
		return tell(to, len, props, sizeof(props));
	case _IOC_NR(EVIOCGBIT(0, 0)):
		return tell(to, len, types, sizeof(types));
	case _IOC_NR(EVIOCGBIT(EV_KEY, 0)):
		bits[BTN_STYLUS / 8] = stylus[0];
		return tell(to, len, bits, sizeof(bits));
	case _IOC_NR(EVIOCGBIT(EV_ABS, 0)):
		bits[ABS_PRESSURE / 8] = 1 << ABS_PRESSURE % 8;
		return tell(to, len, bits, ABS_CNT / 8);
	case _IOC_NR(EVIOCGABS(ABS_PRESSURE)):
		return tell(to, len, &told.pressure, sizeof(told.pressure));
	case _IOC_NR(EVIOCGABS(ABS_MT_SLOT)):
		return tell(to, len, &(struct input_absinfo){.value = told.slot}, sizeof(struct input_absinfo));
	default:
		return 0;
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *to;

	va_start(ap, request);
	to = va_arg(ap, void *);
	va_end(ap);
	return _IOC_TYPE(request) == 'E' ? answer(request, to) : (int)syscall(SYS_ioctl, fd, request, to);
}

static void describe(struct input_desc *desc)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	memset(desc, 0x55, sizeof(*desc));
	assert_int_equal(evdev_host.ops->describe(fd, desc), 0);
	close(fd);
}

static void test_evdev_host_describes_all_that_can_be_carried(void **state)
{
	struct input_desc desc;

	(void)state;
	told.name = "ACME Pen Pro";
	told.uniq = "SN-0815/4711";
	told.id = (struct input_id){.bustype = BUS_USB, .vendor = 0x056a, .product = 0x0357, .version = 0x0110};
	told.pressure = (struct input_absinfo){.value = 5, .minimum = -10, .maximum = 8191, .fuzz = 4, .flat = 3, .resolution = 12};
	describe(&desc);
	assert_string_equal(desc.name, "ACME Pen Pro");
	assert_string_equal(desc.serial, "SN-0815/4711");
	assert_int_equal(desc.bustype, BUS_USB);
	assert_int_equal(desc.vendor, 0x056a);
	assert_int_equal(desc.product, 0x0357);
	assert_int_equal(desc.version, 0x0110);
	assert_int_equal(desc.props[0], 1 << INPUT_PROP_DIRECT);
	assert_true(input_desc_has(&desc, EV_KEY, BTN_STYLUS));
	assert_false(input_desc_has(&desc, EV_KEY, BTN_STYLUS2));
	assert_false(input_desc_has_type(&desc, EV_REL));
	assert_memory_equal(&desc.abs[ABS_PRESSURE], &((struct input_axis){.min = -10, .max = 8191, .fuzz = 4, .flat = 3, .res = 12}), sizeof(struct input_axis));
	/* The guest is not to have the one of a device before. */
	told.uniq = NULL;
	describe(&desc);
	assert_string_equal(desc.serial, "");
}

static void test_evdev_host_cuts_what_is_too_long_between_characters(void **state)
{
	struct input_desc desc;

	(void)state;
	told.name = "0123456789012345678901234567890123456789012345678901234567890\xe2\x82\xac";
	told.uniq = "012345678901234567890123456789012345678901234567890123456789012\xe2\x82\xac";
	describe(&desc);
	assert_string_equal(desc.name, "0123456789012345678901234567890123456789012345678901234567890");
	assert_string_equal(desc.serial, "012345678901234567890123456789012345678901234567890123456789012");
}

static int ask_state(const struct input_desc *desc, struct input_state *now)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC), r;

	assert_true(fd >= 0);
	memset(now, 0x55, sizeof(*now));
	r = evdev_host.ops->state(fd, desc, now);
	close(fd);
	return r;
}

static void test_evdev_host_tells_the_slot_that_comes_next(void **state)
{
	struct input_desc desc;
	struct input_state now;

	(void)state;
	input_desc_make(&desc, INPUT_MULTITOUCH, 0);
	told.slot = 6;
	assert_int_equal(ask_state(&desc, &now), 0);
	assert_int_equal(now.slot, 6);
	/* Whatever a driver says. */
	told.slot = -1;
	assert_int_equal(ask_state(&desc, &now), 0);
	assert_int_equal(now.slot, 0);
}

static void test_evdev_host_tells_what_is_held_and_which_switches_are_on(void **state)
{
	struct input_desc desc = {0};
	struct input_state now;

	(void)state;
	input_desc_add(&desc, EV_KEY, KEY_MICMUTE);
	told.has_key = true;
	told.key_questions = told.switch_questions = 0;
	assert_int_equal(ask_state(&desc, &now), 0);
	assert_true(input_state_has_key(&now, KEY_MICMUTE));
	now.key[KEY_MICMUTE / 8] = 0;
	assert_false(input_state_any_key(&now));
	assert_int_equal(now.sw[0], 0);
	/* The kernel has an error for what a device has not. */
	assert_int_equal(told.switch_questions, 0);
	told.has_key = false;
	assert_int_equal(ask_state(&desc, &now), 0);
	assert_false(input_state_any_key(&now));
	assert_int_equal(told.key_questions, 2);

	desc = (struct input_desc){0};
	input_desc_add(&desc, EV_SW, SW_LID);
	told.has_key = true;
	assert_int_equal(ask_state(&desc, &now), 0);
	assert_int_equal(now.sw[0], 1 << SW_LID);
	assert_false(input_state_any_key(&now));
	assert_int_equal(told.key_questions, 2);
	told.has_key = false;
}

static void test_evdev_host_tells_every_slot_that_is_followed(void **state)
{
	struct input_desc desc;
	struct input_state now;

	(void)state;
	input_desc_make(&desc, INPUT_MULTITOUCH, 0);
	desc.abs[ABS_MT_SLOT].max = TOLD_SLOTS - 1;
	assert_int_equal(ask_state(&desc, &now), 0);
	assert_int_equal(now.nslots, INPUT_SLOTS_MAX);
	for (unsigned slot = 0; slot < INPUT_SLOTS_MAX; slot++) {
		assert_int_equal(now.mt[slot][ABS_MT_POSITION_X - ABS_MT_SLOT], told_value(ABS_MT_POSITION_X, slot));
		assert_int_equal(now.mt[slot][ABS_MT_POSITION_Y - ABS_MT_SLOT], told_value(ABS_MT_POSITION_Y, slot));
		assert_int_equal(now.mt[slot][ABS_MT_TRACKING_ID - ABS_MT_SLOT], told_value(ABS_MT_TRACKING_ID, slot));
	}
	/* Of a device with fewer, nothing is made up. */
	desc.abs[ABS_MT_SLOT].max = 1;
	assert_int_equal(ask_state(&desc, &now), 0);
	assert_int_equal(now.mt[1][ABS_MT_TRACKING_ID - ABS_MT_SLOT], told_value(ABS_MT_TRACKING_ID, 1));
	assert_int_equal(now.mt[2][ABS_MT_TRACKING_ID - ABS_MT_SLOT], -1);
}

/* EVIOCGRAB takes its argument by value: with an address, giving back would take. */
static void test_evdev_host_grabs_and_gives_back(void **state)
{
	(void)state;
	told.grab = -1;
	assert_int_equal(evdev_host.ops->grab(0, true), 0);
	assert_int_equal(told.grab, 1);
	assert_int_equal(evdev_host.ops->grab(0, false), 0);
	assert_int_equal(told.grab, 0);
	told.error = EBUSY;
	assert_int_equal(evdev_host.ops->grab(0, true), -EBUSY);
	told.error = 0;
}

/* A device that is gone answers nothing more. */
static void test_evdev_host_says_when_there_is_no_state(void **state)
{
	struct input_desc desc = {0};
	struct input_state now;

	(void)state;
	told.error = ENODEV;
	input_desc_add(&desc, EV_KEY, KEY_A);
	assert_int_equal(ask_state(&desc, &now), -ENODEV);
	desc = (struct input_desc){0};
	input_desc_add(&desc, EV_SW, SW_LID);
	assert_int_equal(ask_state(&desc, &now), -ENODEV);
	desc = (struct input_desc){0};
	input_desc_add_abs(&desc, ABS_X, &(struct input_axis){.max = 1});
	assert_int_equal(ask_state(&desc, &now), -ENODEV);
	desc = (struct input_desc){0};
	input_desc_add_abs(&desc, ABS_MT_SLOT, &(struct input_axis){.max = 1});
	input_desc_add_abs(&desc, ABS_MT_TRACKING_ID, &(struct input_axis){.max = 1});
	told.error_nr = _IOC_NR(EVIOCGMTSLOTS(0));
	assert_int_equal(ask_state(&desc, &now), -ENODEV);
	told.error_nr = 0;
	told.error = 0;
}

static void test_evdev_host_lights(void **state)
{
	uint8_t lights[(LED_CNT + 7) / 8];
	struct input_event ev[4];
	int fd[2];

	(void)state;
	told.error = ENODEV;
	memset(lights, 0x55, sizeof(lights));
	evdev_host.ops->lights(0, lights);
	assert_int_equal(lights[0], 0);
	assert_int_equal(lights[1], 0);
	told.error = 0;
	evdev_host.ops->lights(0, lights);
	assert_int_equal(lights[0], 1 << LED_CAPSL);
	assert_int_equal(pipe(fd), 0);
	evdev_host.ops->light(fd[1], LED_SCROLLL, true);
	assert_int_equal(read(fd[0], ev, sizeof(ev)), 2 * sizeof(ev[0]));
	assert_int_equal(ev[0].type, EV_LED);
	assert_int_equal(ev[0].code, LED_SCROLLL);
	assert_int_equal(ev[0].value, 1);
	assert_int_equal(ev[1].type, EV_SYN);
	assert_int_equal(ev[1].code, SYN_REPORT);
	close(fd[0]);
	close(fd[1]);
}

#define NODES 8

static struct evdev_node nodes[NODES];

/* Of evhost's, in their order. */
static void expect_nodes(const char *const *want, unsigned n)
{
	char path[128];

	assert_int_equal(evdev_host_list(nodes, NODES), n);
	for (unsigned i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", evhost.dir, want[i]);
		assert_string_equal(nodes[i].path, path);
	}
}

static int make_host(void **state)
{
	(void)state;
	evhost_init();
	return 0;
}

static int remove_host(void **state)
{
	(void)state;
	evhost_finish();
	return 0;
}

static void link_below(const char *folder, const char *name, const char *target)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", evhost.dir, folder);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%s/%s", evhost.dir, folder, name);
	assert_int_equal(symlink(target, path), 0);
}

/* A node that has a link; evhost's are links themselves. Nobody answers for it. */
static void make_node(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", evhost.dir, name);
	assert_int_equal(mknod(path, S_IFREG | 0600, 0), 0);
}

static void test_evdev_host_lists_nodes_by_number(void **state)
{
	static const char *const want[] = {"event2", "event9", "event10"};
	struct input_desc desc;

	(void)state;
	if (!evhost_is_possible()) {
		skip();
	}
	assert_int_equal(evdev_host_list(nodes, NODES), 0);
	make_node("mouse0");
	make_node("js0");
	for (unsigned kind = 0; kind < 3; kind++) {
		input_desc_make(&desc, (enum input_kind)kind, kind);
		evhost_plug(want[2 - kind], &desc);
	}
	expect_nodes(want, 3);
	for (unsigned i = 0; i < 3; i++) {
		input_desc_make(&desc, (enum input_kind)(2 - i), 2 - i);
		assert_int_equal(nodes[i].access, 0);
		assert_string_equal(nodes[i].name, desc.name);
		assert_string_equal(nodes[i].uniq, desc.serial);
		assert_string_equal(nodes[i].by_id, "");
		assert_memory_equal(&nodes[i].desc, &desc, sizeof(desc));
	}
	/* As many as there is room for. */
	memset(nodes, 0, sizeof(nodes));
	assert_int_equal(evdev_host_list(nodes, 2), 2);
	assert_string_equal(nodes[2].path, "");
	evhost_remove_sysfs();
	assert_int_equal(evdev_host_list(nodes, NODES), 3);
	assert_string_equal(nodes[2].name, "tinyvmm keyboard");
}

/* What it is called is no secret, and which keys it has nobody needs to say what it is. */
static void test_evdev_host_lists_what_it_must_not_open(void **state)
{
	static const char *const want[] = {"event4"};
	struct input_desc desc;
	unsigned n;

	(void)state;
	if (!evhost_is_possible()) {
		skip();
	}
	input_desc_make(&desc, INPUT_MOUSE, 0);
	desc.vendor = 0x046d;
	desc.product = 0xc31c;
	n = evhost_plug("event4", &desc);
	evhost.device[n].describe_error = -EACCES;
	expect_nodes(want, 1);
	assert_int_equal(nodes[0].access, -EACCES);
	assert_string_equal(nodes[0].name, "tinyvmm mouse");
	assert_int_equal(nodes[0].desc.bustype, desc.bustype);
	assert_int_equal(nodes[0].desc.vendor, 0x046d);
	assert_int_equal(nodes[0].desc.product, 0xc31c);
	assert_int_equal(nodes[0].desc.version, desc.version);
}

static void test_evdev_host_knows_links_that_stay(void **state)
{
	static const char *const want[] = {"event4", "event5", "event6"};
	char path[200];

	(void)state;
	if (!evhost_is_possible()) {
		skip();
	}
	for (unsigned i = 0; i < 3; i++) {
		make_node(want[i]);
	}
	link_below("by-path", "pci-event-kbd", "../event4");
	link_below("by-path", "pci-event-mouse", "../event5");
	link_below("by-id", "usb-event-kbd", "../event4");
	link_below("by-id", "usb-gone", "../event7");
	expect_nodes(want, 3);
	snprintf(path, sizeof(path), "%s/by-id/usb-event-kbd", evhost.dir);
	assert_string_equal(nodes[0].by_id, path);
	snprintf(path, sizeof(path), "%s/by-path/pci-event-mouse", evhost.dir);
	assert_string_equal(nodes[1].by_id, path);
	assert_string_equal(nodes[2].by_id, "");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make_host, remove_host)
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_evdev_host_matches_all_that_is_said),
		cmocka_unit_test(test_evdev_host_matches_no_twin),
		cmocka_unit_test(test_evdev_host_describes_all_that_can_be_carried),
		cmocka_unit_test(test_evdev_host_cuts_what_is_too_long_between_characters),
		cmocka_unit_test(test_evdev_host_tells_the_slot_that_comes_next),
		cmocka_unit_test(test_evdev_host_tells_what_is_held_and_which_switches_are_on),
		cmocka_unit_test(test_evdev_host_tells_every_slot_that_is_followed),
		cmocka_unit_test(test_evdev_host_grabs_and_gives_back),
		cmocka_unit_test(test_evdev_host_says_when_there_is_no_state),
		cmocka_unit_test(test_evdev_host_lights),
		T(test_evdev_host_lists_nodes_by_number),
		T(test_evdev_host_lists_what_it_must_not_open),
		T(test_evdev_host_knows_links_that_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
