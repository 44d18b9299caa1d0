/* SPDX-License-Identifier: MIT */
/* Devices of the host that come, go and come again while a VM runs: who has them, what the guest's bus says of them, and that none is overlooked. */
#include "vmm/vm_evdev.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/dial.h"
#include "tests/support/evhost.h"
#include "vmm/evdev_file.h"
#include "vmm/log.h"
#include "vmm/vm_priv.h"

#define DEVICES 3

static struct vm *vm;
static struct ged ged;
static struct config_input_device config[DEVICES];
static char path[DEVICES][160], saved[160];
static struct input_desc keyboard, mouse;
static unsigned errors;
static char last_line[600];

static void on_log(enum log_level level, const char *line)
{
	errors += level <= LOG_ERR;
	snprintf(last_line, sizeof(last_line), "%s", line);
}

static void on_line(void *ctx, bool high)
{
	(void)ctx;
	(void)high;
}

static int setup(void **state)
{
	static const char *const names[DEVICES] = {"evdev0", "evdev1", "evdev2"};

	(void)state;
	evhost_init();
	log_set_hook(on_log);
	errors = 0;
	input_desc_make(&keyboard, INPUT_KEYBOARD, 0);
	input_desc_make(&mouse, INPUT_MOUSE, 0);
	vm = calloc(1, sizeof(*vm));
	assert_non_null(vm);
	assert_int_equal(loop_init(&vm->loop), 0);
	ged_init(&ged, on_line, NULL);
	assert_int_equal(virtio_bus_init(&vm->virtio, NULL, &ged, false), 0);
	vm->input = calloc(DEVICES, sizeof(*vm->input));
	assert_non_null(vm->input);
	for (unsigned i = 0; i < DEVICES; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/event%u", evhost.dir, i);
		config[i] = (struct config_input_device){.type = INPUT_EVDEV, .name = (char *)names[i], .path = path[i], .grab = true, .wait = true, .toggle = (char *)""};
		vm->input[i].vm = vm;
		vm->input[i].config = &config[i];
		vm->input[i].name = names[i];
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vm_evdev_finish(vm);
	for (unsigned n = 0; n < EVHOST_DEVICES_MAX; n++) {
		assert_false(evhost.device[n].is_grabbed);
	}
	vm_evdev_finish(vm);
	virtio_bus_stop(&vm->virtio);
	virtio_bus_reset(&vm->virtio, &vm->loop);
	virtio_bus_finish(&vm->virtio);
	vm_input_finish(vm);
	ged_finish(&ged);
	loop_finish(&vm->loop);
	free(vm);
	evhost_finish();
	log_set_hook(NULL);
	return 0;
}

static void serve(void)
{
	for (int i = 0; i < 4; i++) {
		loop_run_once(&vm->loop, 2);
	}
}

/* As vm_input.c does it, in order. */
static int start(unsigned i)
{
	vm->ninputs = i + 1;
	return vm_evdev_start(&vm->input[i]);
}

static void save(const struct input_desc *desc)
{
	FILE *f;

	snprintf(saved, sizeof(saved), "%s/saved.json", evhost.root);
	f = fopen(saved, "we");
	assert_non_null(f);
	assert_int_equal(evdev_file_write(desc, f), 0);
	fclose(f);
}

/* There is no driver, so none is forwarding: "watching" has been opened. */
static void expect_state(unsigned i, const char *want)
{
	json_t *list = vm_evdev_list(vm);
	const json_t *one = NULL;
	size_t at;
	json_t *dev;

	json_array_foreach (list, at, dev) {
		if (strcmp(json_string_value(json_object_get(dev, "device")), vm->input[i].name) == 0) {
			one = dev;
		}
	}
	assert_non_null(one);
	assert_string_equal(json_string_value(json_object_get(one, "state")), want);
	json_decref(list);
}

/* Whether the guest has been told of a device on place @place. */
static bool is_on_bus(unsigned place)
{
	return vm->virtio.slot[place].dev != NULL;
}

static uint32_t told(void)
{
	return ged_in(&ged, GED_PRESENT, 4);
}

/*
 * At the start.
 */

static void test_vm_evdev_one_that_is_there(void **state)
{
	(void)state;
	evhost_plug("event0", &keyboard);
	assert_int_equal(start(0), 0);
	expect_state(0, "watching");
	assert_string_equal(vm->input[0].dev.desc.name, keyboard.name);
	assert_true(is_on_bus(0));
	/* Nobody watches folders for what is there. */
	assert_null(vm->evdev_watch.fn);
	assert_int_equal(errors, 0);
}

static void test_vm_evdev_one_that_is_not_there_ends_the_start(void **state)
{
	(void)state;
	config[0].wait = false;
	assert_int_equal(start(0), -ENODEV);
	assert_non_null(strstr(last_line, "evdev0: "));
	assert_non_null(strstr(last_line, path[0]));
	assert_int_equal(errors, 1);
}

/* Waiting would not help. */
static void test_vm_evdev_one_that_is_something_else_ends_the_start(void **state)
{
	(void)state;
	assert_int_equal(mknod(path[0], S_IFREG | 0600, 0), 0);
	assert_int_equal(start(0), -EINVAL);
	assert_int_equal(errors, 1);
}

static void test_vm_evdev_a_description_that_cannot_be_read_ends_the_start(void **state)
{
	(void)state;
	config[0].description = (char *)"/nonexistent/description";
	assert_int_equal(start(0), -EINVAL);
	assert_int_equal(errors, 1);
}

/* The guest's driver asks once what the device is: without a description there can be none before it comes. */
static void test_vm_evdev_one_that_comes_later_gets_its_place(void **state)
{
	(void)state;
	assert_int_equal(start(0), 0);
	expect_state(0, "absent");
	assert_false(is_on_bus(0));
	serve();
	assert_int_equal(told(), 0);
	evhost_plug("event0", &mouse);
	serve();
	expect_state(0, "watching");
	assert_true(is_on_bus(0));
	assert_int_equal(told(), 1);
	assert_string_equal(vm->input[0].dev.desc.name, mouse.name);
	assert_int_equal(errors, 0);
}

static void test_vm_evdev_one_with_a_description_is_there_at_once(void **state)
{
	(void)state;
	save(&keyboard);
	config[0].description = saved;
	assert_int_equal(start(0), 0);
	assert_true(is_on_bus(0));
	expect_state(0, "absent");
	assert_string_equal(vm->input[0].dev.desc.name, keyboard.name);
	evhost_plug("event0", &keyboard);
	serve();
	expect_state(0, "watching");
	assert_int_equal(told(), 0);
	assert_int_equal(errors, 0);
}

/*
 * Gone before it has answered.
 */

static void test_vm_evdev_one_that_goes_before_it_is_described_is_still_expected(void **state)
{
	unsigned n;

	(void)state;
	assert_int_equal(start(0), 0);
	/* The first answer is that it is an input device at all. */
	n = evhost_plug("event0", &keyboard);
	evhost.device[n].goes_after = 1;
	serve();
	assert_int_equal(evhost.device[n].answers, 1);
	expect_state(0, "absent");
	assert_false(is_on_bus(0));
	evhost_plug("event0", &keyboard);
	serve();
	expect_state(0, "watching");
	assert_true(is_on_bus(0));
	assert_int_equal(told(), 1);
}

/* The guest has it on its bus all the same: what it is, is known, and it comes back. */
static void test_vm_evdev_one_that_goes_while_it_is_plugged_comes_back(void **state)
{
	(void)state;
	/* After the first, the description for the guest, that for the comparison, the state. */
	for (unsigned answers = 2; answers <= 3; answers++) {
		unsigned i = answers - 2, n;

		assert_int_equal(start(i), 0);
		n = evhost_plug(i ? "event1" : "event0", &keyboard);
		evhost.device[n].goes_after = answers;
		serve();
		expect_state(i, "absent");
		assert_true(is_on_bus(i));
		assert_int_equal(told(), i ? 3 : 1);
		evhost_plug(i ? "event1" : "event0", &keyboard);
		serve();
		expect_state(i, "watching");
		assert_int_equal(told(), i ? 3 : 1);
	}
}

static void test_vm_evdev_one_that_goes_while_the_vm_starts_is_waited_for(void **state)
{
	(void)state;
	for (unsigned answers = 1; answers <= 3; answers++) {
		unsigned i = answers - 1, n = evhost_plug(strrchr(path[i], '/') + 1, &keyboard);

		evhost.device[n].goes_after = answers;
		assert_int_equal(start(i), 0);
		expect_state(i, "absent");
		/* Not before it is known what it is. */
		assert_int_equal(is_on_bus(i), answers > 1);
		evhost_plug(strrchr(path[i], '/') + 1, &keyboard);
		serve();
		expect_state(i, "watching");
		assert_true(is_on_bus(i));
	}
}

static void test_vm_evdev_an_error_that_passes_does_not_end_the_waiting(void **state)
{
	unsigned n;

	(void)state;
	assert_int_equal(start(0), 0);
	n = evhost_plug("event0", &keyboard);
	evhost.device[n].describe_error = -EINTR;
	serve();
	expect_state(0, "absent");
	evhost.device[n].describe_error = 0;
	evhost_touch(n);
	serve();
	expect_state(0, "watching");
	assert_true(is_on_bus(0));
}

/*
 * Gone, and there again.
 */

static void test_vm_evdev_unplugged_and_replugged(void **state)
{
	unsigned n = evhost_plug("event0", &keyboard);

	(void)state;
	assert_int_equal(start(0), 0);
	for (int i = 0; i < 20; i++) {
		evhost_unplug(n);
		serve();
		expect_state(0, "absent");
		n = evhost_plug("event0", &keyboard);
		serve();
		expect_state(0, "watching");
	}
	assert_int_equal(errors, 0);
}

/* Nobody knew that it was gone when the folder said that it is there: what another device brought about is read before its own hang-up. */
static void test_vm_evdev_replugged_before_anybody_looked(void **state)
{
	unsigned n = evhost_plug("event0", &keyboard);

	(void)state;
	assert_int_equal(start(0), 0);
	for (int i = 0; i < 5; i++) {
		unsigned other = evhost_plug("event7", &mouse);

		evhost_unplug(n);
		n = evhost_plug("event0", &keyboard);
		serve();
		expect_state(0, "watching");
		evhost_unplug(other);
		evhost_unplug(n);
		n = evhost_plug("event0", &keyboard);
		serve();
		expect_state(0, "watching");
	}
}

/* devtmpfs takes the folder away with its last device, and makes it with the first one. */
static void test_vm_evdev_the_folder_comes_and_goes(void **state)
{
	(void)state;
	evhost_remove_dir();
	assert_int_equal(start(0), 0);
	for (int i = 0; i < 5; i++) {
		unsigned n;

		evhost_make_dir();
		/* In one go, or one after the other. */
		if (i % 2 == 0) {
			serve();
		}
		n = evhost_plug("event0", &keyboard);
		serve();
		expect_state(0, "watching");
		evhost_unplug(n);
		evhost_remove_dir();
		serve();
		expect_state(0, "absent");
	}
	evhost_make_dir();
}

/* udev makes links after the nodes, in folders that come and go as well; and some people have theirs elsewhere. */
static void test_vm_evdev_links_come_after_nodes(void **state)
{
	char by_id[64], link[160], elsewhere[160];

	(void)state;
	snprintf(by_id, sizeof(by_id), "%s/by-id", evhost.dir);
	snprintf(link, sizeof(link), "%s/usb-ACME-event-kbd", by_id);
	snprintf(elsewhere, sizeof(elsewhere), "%s/desk", evhost.root);
	config[0].path = link;
	config[1].path = elsewhere;
	assert_int_equal(start(0), 0);
	assert_int_equal(start(1), 0);
	for (int i = 0; i < 3; i++) {
		unsigned n = evhost_plug("event0", &keyboard), m = evhost_plug("event1", &mouse);

		serve();
		expect_state(0, "absent");
		expect_state(1, "absent");
		assert_int_equal(mkdir(by_id, 0700), 0);
		assert_int_equal(symlink(path[0], link), 0);
		serve();
		expect_state(0, "watching");
		assert_int_equal(symlink(path[1], elsewhere), 0);
		serve();
		expect_state(1, "watching");
		unlink(link);
		unlink(elsewhere);
		rmdir(by_id);
		evhost_unplug(n);
		evhost_unplug(m);
		serve();
		expect_state(0, "absent");
		expect_state(1, "absent");
	}
}

/* The node is there first, the right to open it comes afterwards. */
static void test_vm_evdev_access_comes_after_the_node(void **state)
{
	unsigned n;

	(void)state;
	save(&keyboard);
	config[0].description = saved;
	assert_int_equal(start(0), 0);
	n = evhost_plug("event0", &keyboard);
	evhost.device[n].describe_error = -EACCES;
	serve();
	expect_state(0, "absent");
	evhost.device[n].describe_error = 0;
	evhost_touch(n);
	serve();
	expect_state(0, "watching");
}

static void test_vm_evdev_another_device_in_its_place_is_refused(void **state)
{
	unsigned n = evhost_plug("event0", &mouse);

	(void)state;
	assert_int_equal(start(0), 0);
	evhost_unplug(n);
	n = evhost_plug("event0", &keyboard);
	serve();
	expect_state(0, "absent");
	assert_true(errors > 0);
	evhost_unplug(n);
	evhost_plug("event0", &mouse);
	serve();
	expect_state(0, "watching");
}

/* A match may find it by another number. */
static void test_vm_evdev_a_match_finds_it_on_another_node(void **state)
{
	struct config_match match = {.name = keyboard.name};
	unsigned n = evhost_plug("event0", &keyboard);

	(void)state;
	config[0].path = NULL;
	config[0].match = &match;
	assert_int_equal(start(0), 0);
	evhost_unplug(n);
	serve();
	expect_state(0, "absent");
	evhost_plug("event9", &keyboard);
	serve();
	expect_state(0, "watching");
}

/* What a descriptor meant is gone for good, whatever gets its number or its node. */
static void test_vm_evdev_an_inherited_one_is_not_looked_for(void **state)
{
	unsigned n = evhost_plug("event0", &keyboard);

	(void)state;
	config[0].path = NULL;
	config[0].fd = (unsigned)evdev_host_open(path[0]);
	assert_int_equal(start(0), 0);
	expect_state(0, "watching");
	evhost_unplug(n);
	serve();
	expect_state(0, "absent");
	assert_null(vm->evdev_watch.fn);
	close((int)config[0].fd);
	evhost_plug("event0", &keyboard);
	serve();
	expect_state(0, "absent");
}

/*
 * What is said of them.
 */

static int dial_in(const char *to)
{
	int fd = dial(to, SOCK_STREAM | SOCK_NONBLOCK);

	serve();
	return fd;
}

/* What has come by now. */
static void expect_said(int fd, const char *want)
{
	char text[600] = "";

	serve();
	assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, want));
}

static void ask(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void test_vm_evdev_changes_are_said_to_who_subscribed(void **state)
{
	struct config *cfg = calloc(1, sizeof(*cfg));
	struct vm_options options = {0};
	struct vm_result result = {0};
	char socket_path[64];
	unsigned n;
	int fd;

	(void)state;
	assert_non_null(cfg);
	cfg->console.type = CONSOLE_NONE;
	snprintf(socket_path, sizeof(socket_path), "%s/control", evhost.root);
	options.control_fd = listener_open(socket_path, SOCK_STREAM, CONTROL_CONNS_MAX);
	assert_true(options.control_fd > 0);
	vm->cfg = cfg;
	vm->options = &options;
	vm->result = &result;
	assert_int_equal(start(0), 0);
	assert_int_equal(vm_control_init(vm), 0);
	fd = dial_in(socket_path);
	ask(fd, "{\"do\":\"subscribe\"}\n");
	expect_said(fd, "\"ok\":true");
	ask(fd, "{\"do\":\"evdev\"}\n");
	expect_said(fd, "\"devices\":[{\"device\":\"evdev0\",\"state\":\"absent\"}]");
	n = evhost_plug("event0", &mouse);
	expect_said(fd, "\"event\":\"evdev\"");
	ask(fd, "{\"do\":\"evdev\",\"attach\":false}\n");
	expect_said(fd, "\"devices\":[{\"device\":\"evdev0\",\"state\":\"watching\",\"name\":\"tinyvmm mouse\"}]");
	assert_false(vm->input[0].evdev.is_wanted);
	evhost_unplug(n);
	expect_said(fd, "\"device\":\"evdev0\",\"state\":\"absent\"");
	close(fd);
	serve();
	vm_control_finish(vm);
	close(options.control_fd);
	vm->cfg = NULL;
	free(cfg);
}

/*
 * Whose they are.
 */

static void chord(unsigned i, bool release)
{
	vm->input[i].evdev.options.ops->chord(&vm->input[i], release);
}

/* The chord of one of them is for all. */
static void test_vm_evdev_chords_are_for_all(void **state)
{
	(void)state;
	evhost_plug("event0", &keyboard);
	evhost_plug("event1", &mouse);
	assert_int_equal(start(0), 0);
	assert_int_equal(start(1), 0);
	assert_int_equal(start(2), 0);
	chord(0, false);
	assert_false(vm->input[0].evdev.is_wanted);
	assert_false(vm->input[1].evdev.is_wanted);
	chord(1, false);
	assert_true(vm->input[0].evdev.is_wanted);
	assert_true(vm->input[1].evdev.is_wanted);
	/* The one that always gives back takes nothing, however often. */
	chord(1, true);
	chord(0, true);
	assert_false(vm->input[0].evdev.is_wanted);
	assert_false(vm->input[1].evdev.is_wanted);
	vm_evdev_want(vm, true);
	assert_true(vm->input[1].evdev.is_wanted);
	/* Part of them: a chord gives back what is left. */
	evdev_want(&vm->input[0].evdev, false);
	chord(0, false);
	assert_false(vm->input[1].evdev.is_wanted);
}

/* Who has given all of his devices back does not lose the one that he plugs in now. */
static void test_vm_evdev_one_that_comes_goes_where_the_others_are(void **state)
{
	(void)state;
	evhost_plug("event0", &keyboard);
	assert_int_equal(start(0), 0);
	assert_int_equal(start(1), 0);
	assert_int_equal(start(2), 0);
	vm_evdev_want(vm, false);
	evhost_plug("event1", &mouse);
	serve();
	expect_state(1, "watching");
	assert_false(vm->input[1].evdev.is_wanted);
	vm_evdev_want(vm, true);
	evhost_plug("event2", &mouse);
	serve();
	assert_true(vm->input[2].evdev.is_wanted);
	assert_int_equal(told(), 6);
}

/* As far as an evdev can see, there is a driver. */
static void test_vm_evdev_finish_gives_back(void **state)
{
	unsigned n = evhost_plug("event0", &keyboard), m = evhost_plug("event1", &mouse);

	(void)state;
	config[1].grab = false;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(start(i), 0);
		vm->input[i].dev.is_active = true;
		evdev_running(&vm->input[i].evdev);
		expect_state(i, "forwarding");
	}
	assert_true(evhost.device[n].is_grabbed);
	assert_false(evhost.device[m].is_grabbed);
	vm_evdev_want(vm, false);
	assert_false(evhost.device[n].is_grabbed);
	vm_evdev_want(vm, true);
	assert_true(evhost.device[n].is_grabbed);
	vm_evdev_finish(vm);
	assert_false(evhost.device[n].is_grabbed);
}

static void test_vm_evdev_options_reach_the_device(void **state)
{
	const struct evdev_options *o = &vm->input[0].evdev.options;

	(void)state;
	evhost_plug("event0", &keyboard);
	config[0].grab = false;
	config[0].toggle = (char *)"scrolllock";
	config[0].reserve = (struct config_list){.item = {(char *)"VOLUMEUP", (char *)"F24"}, .n = 2};
	assert_int_equal(start(0), 0);
	assert_false(o->grab);
	assert_int_equal(o->toggle.n, 1);
	assert_int_equal(o->toggle.key[0].code, KEY_SCROLLLOCK);
	for (unsigned code = 0; code < KEY_CNT; code++) {
		assert_int_equal(!!(o->reserve[code / 8] & 1u << code % 8), code == KEY_VOLUMEUP || code == KEY_F24);
	}
}

static void test_vm_evdev_needs_pseudo_terminals(void **state)
{
	(void)state;
	skip();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_vm_evdev_one_that_is_there),
		T(test_vm_evdev_one_that_is_not_there_ends_the_start),
		T(test_vm_evdev_one_that_is_something_else_ends_the_start),
		T(test_vm_evdev_a_description_that_cannot_be_read_ends_the_start),
		T(test_vm_evdev_one_that_comes_later_gets_its_place),
		T(test_vm_evdev_one_with_a_description_is_there_at_once),
		T(test_vm_evdev_one_that_goes_before_it_is_described_is_still_expected),
		T(test_vm_evdev_one_that_goes_while_it_is_plugged_comes_back),
		T(test_vm_evdev_one_that_goes_while_the_vm_starts_is_waited_for),
		T(test_vm_evdev_an_error_that_passes_does_not_end_the_waiting),
		T(test_vm_evdev_unplugged_and_replugged),
		T(test_vm_evdev_replugged_before_anybody_looked),
		T(test_vm_evdev_the_folder_comes_and_goes),
		T(test_vm_evdev_links_come_after_nodes),
		T(test_vm_evdev_access_comes_after_the_node),
		T(test_vm_evdev_another_device_in_its_place_is_refused),
		T(test_vm_evdev_a_match_finds_it_on_another_node),
		T(test_vm_evdev_an_inherited_one_is_not_looked_for),
		T(test_vm_evdev_changes_are_said_to_who_subscribed),
		T(test_vm_evdev_chords_are_for_all),
		T(test_vm_evdev_one_that_comes_goes_where_the_others_are),
		T(test_vm_evdev_finish_gives_back),
		T(test_vm_evdev_options_reach_the_device),
	};
	static const struct CMUnitTest none[] = {cmocka_unit_test(test_vm_evdev_needs_pseudo_terminals)};

	return evhost_is_possible() ? cmocka_run_group_tests(tests, NULL, NULL) : cmocka_run_group_tests(none, NULL, NULL);
}
