/* SPDX-License-Identifier: MIT */
/* Requests for input devices over a real control socket and real rings, of a VM that has nothing else: clients that are faster than the guest. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_input.h>
#include <cmocka.h>

#include "tests/support/dial.h"
#include "tests/support/testdrv.h"
#include "vmm/vm_priv.h"

#define CLIENTS 6
/* Presses and releases of one request: nearly as long as a line may be. Three of them are more than a device keeps. */
#define PAIRS 1900
#define BUFFER_BYTES 8

static struct vm *vm;
static struct config *cfg;
static struct vm_options options;
static struct vm_result result;
static char path[] = "/tmp/vm_control_test.XXXXXX";
static struct tdrv drv;
static struct input_state guest;
static uint64_t buffers;
static unsigned given, returned, presses[KEY_CNT], releases[KEY_CNT];
static int client[CLIENTS];

static void serve(void)
{
	for (int i = 0; i < 40; i++) {
		loop_run_once(&vm->loop, 0);
	}
}

static void start_driver(void)
{
	tdrv_start(&drv);
	buffers = tdrv_alloc(&drv, INPUT_QUEUE_SIZE * BUFFER_BYTES, 8);
	given = 0;
	returned = 0;
	input_state_init(&guest, &vm->input[0].dev.desc);
	serve();
}

static int dial_in(void)
{
	int fd = dial(path, SOCK_STREAM);

	serve();
	return fd;
}

static int setup(void **state)
{
	struct input_desc desc;

	(void)state;
	vm = calloc(1, sizeof(*vm));
	cfg = calloc(1, sizeof(*cfg));
	assert_true(vm && cfg);
	cfg->console.type = CONSOLE_NONE;
	memset(&options, 0, sizeof(options));
	memset(&result, 0, sizeof(result));
	vm->cfg = cfg;
	vm->options = &options;
	vm->result = &result;
	assert_int_equal(loop_init(&vm->loop), 0);
	tdrv_init(&drv);
	vm->mem = drv.mem;
	vm->input = calloc(1, sizeof(*vm->input));
	assert_non_null(vm->input);
	vm->ninputs = 1;
	vm->input[0].vm = vm;
	vm->input[0].name = "keyboard0";
	vm->input[0].config = &cfg->input[0];
	input_desc_make(&desc, INPUT_KEYBOARD, 0);
	vm_input_make(&vm->input[0], &desc);
	tdrv_attach(&drv, &vm->input[0].dev.base);
	unlink(path);
	options.control_fd = listener_open(path, SOCK_STREAM, CONTROL_CONNS_MAX);
	assert_true(options.control_fd > 0);
	assert_int_equal(vm_control_init(vm), 0);
	for (unsigned i = 0; i < CLIENTS; i++) {
		client[i] = dial_in();
	}
	memset(presses, 0, sizeof(presses));
	memset(releases, 0, sizeof(releases));
	start_driver();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++) {
		close(client[i]);
	}
	serve();
	tdrv_finish(&drv);
	vm_control_finish(vm);
	vm_input_finish(vm);
	close(options.control_fd);
	unlink(path);
	loop_finish(&vm->loop);
	free(vm);
	free(cfg);
	return 0;
}

/* What one client asks: its own key, pressed and released, PAIRS times, and at the end held. */
static void press_much(unsigned i)
{
	static char text[CONTROL_LINE_MAX];
	unsigned key = KEY_1 + i;
	size_t n = (size_t)sprintf(text, "{\"do\":\"input\",\"device\":\"keyboard0\",\"events\":[");

	for (unsigned pair = 0; pair < PAIRS; pair++) {
		n += (size_t)sprintf(text + n, "[1,%u,1],[0,0,0],[1,%u,0],[0,0,0],", key, key);
	}
	n += (size_t)sprintf(text + n, "[1,%u,1],[0,0,0]]}\n", key);
	assert_true(n < CONTROL_LINE_MAX);
	assert_int_equal(send(client[i], text, n, MSG_NOSIGNAL), n);
	serve();
}

/* Return: whether @fd has an answer, which is that all is well. */
static bool is_answered(int fd, const char *with)
{
	char text[512] = "";

	if (recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT) <= 0) {
		return false;
	}
	assert_non_null(strstr(text, with));
	return true;
}

static bool has_answer(int fd)
{
	return is_answered(fd, "\"ok\":true");
}

static void see(const struct virtio_input_event *wire)
{
	const struct input_ev ev = {wire->type, wire->code, (int32_t)wire->value};

	if (ev.type == EV_KEY) {
		/* No press or release is missing in between. */
		assert_int_not_equal(input_state_has_key(&guest, ev.code), ev.value);
		*(ev.value ? &presses[ev.code] : &releases[ev.code]) += 1;
	}
	input_state_apply(&guest, &ev);
}

/* Buffers for 64 events, and what came in them. Return: how many. */
static unsigned take(void)
{
	unsigned before = returned;
	uint32_t head, len;

	for (; given - returned < INPUT_QUEUE_SIZE; given++) {
		tdrv_add(&drv, INPUT_EVENTQ, 0, 0, buffers + given % INPUT_QUEUE_SIZE * BUFFER_BYTES, BUFFER_BYTES);
	}
	tdrv_kick(&drv, INPUT_EVENTQ);
	serve();
	while (tdrv_used(&drv, INPUT_EVENTQ, &head, &len)) {
		see(tdrv_ptr(&drv, buffers + returned++ % INPUT_QUEUE_SIZE * BUFFER_BYTES, sizeof(struct virtio_input_event)));
	}
	return returned - before;
}

static bool is_held_back(unsigned i)
{
	return vm->ctl.wait[i].what == WAIT_INPUT && vm->ctl.wait[i].events;
}

static void test_vm_control_clients_that_are_too_fast_wait_and_lose_no_key(void **state)
{
	const struct input_counters *n = &vm->input[0].dev.counters;
	unsigned answers = 0;

	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++) {
		press_much(i);
		assert_false(has_answer(client[i]));
	}
	assert_true(is_held_back(CLIENTS - 1));
	while (take() > 0) {
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		answers += has_answer(client[i]);
		assert_int_equal(presses[KEY_1 + i], PAIRS + 1);
		assert_int_equal(releases[KEY_1 + i], PAIRS);
	}
	assert_int_equal(answers, CLIENTS);
	assert_int_equal(n->dropped + n->resyncs + n->coalesced, 0);
	assert_int_equal(n->frames_out, CLIENTS * (2 * PAIRS + 1));
}

static void test_vm_control_others_are_served_while_one_is_held_back(void **state)
{
	static const char status[] = "{\"do\":\"version\"}\n";

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		press_much(i);
	}
	assert_true(is_held_back(3));
	assert_int_equal(send(client[5], status, sizeof(status) - 1, MSG_NOSIGNAL), sizeof(status) - 1);
	serve();
	assert_true(has_answer(client[5]));
}

static void test_vm_control_an_answer_comes_when_the_guest_has_made_room_again(void **state)
{
	static const char text[] = "{\"do\":\"input\",\"device\":\"keyboard0\",\"events\":[[1,30,1],[0,0,0],[1,30,0],[0,0,0]]}\n";

	(void)state;
	assert_int_equal(send(client[0], text, sizeof(text) - 1, MSG_NOSIGNAL), sizeof(text) - 1);
	serve();
	assert_int_equal(take(), 4);
	assert_false(has_answer(client[0]));
	assert_int_equal(take(), 0);
	assert_true(has_answer(client[0]));
}

/* What the kernel keeps for a socket, and one line: no more of a client that does not wait for answers is in the monitor. */
static void test_vm_control_a_client_that_does_not_wait_for_answers_is_not_read(void **state)
{
	static const char text[] = "{\"do\":\"input\",\"device\":\"keyboard0\",\"events\":[[1,30,1],[0,0,0],[1,30,0],[0,0,0]]}\n";
	unsigned asked = 0, answers = 0;

	(void)state;
	while (send(client[0], text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(text) - 1) {
		asked++;
		serve();
		assert_true(asked < 1000000);
	}
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(vm->input[0].dev.counters.frames_in, 2);
	for (unsigned i = 0; i < 100; i++) {
		char answer[512];

		take();
		answers += recv(client[0], answer, sizeof(answer), MSG_DONTWAIT) > 0;
	}
	assert_true(answers > 10);
	assert_true(presses[KEY_A] > 10 && presses[KEY_A] == releases[KEY_A]);
}

static void test_vm_control_a_client_that_goes_while_it_waits_leaves_no_key(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		press_much(i);
	}
	assert_true(is_held_back(2));
	close(client[2]);
	client[2] = dial_in();
	assert_false(is_held_back(2));
	while (take() > 0) {
	}
	/* As far as it came, and nothing of it stays; the others have not noticed. */
	assert_false(input_state_has_key(&guest, KEY_1 + 2));
	assert_int_equal(presses[KEY_1 + 2], releases[KEY_1 + 2]);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(i == 2 || (has_answer(client[i]) && presses[KEY_1 + i] == PAIRS + 1 && input_state_has_key(&guest, KEY_1 + i)));
	}
}

static void test_vm_control_a_guest_that_gives_up_holds_nobody_back(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++) {
		press_much(i);
	}
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 15 | VIRTIO_STATUS_FAILED);
	serve();
	for (unsigned i = 0; i < CLIENTS; i++) {
		assert_true(is_answered(client[i], "\"no-driver\""));
	}
}

static void test_vm_control_what_a_reset_has_lost_is_said_and_counted(void **state)
{
	const struct input_counters *c = &vm->input[0].dev.counters;

	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++) {
		press_much(i);
	}
	assert_true(take() > 0);
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 0);
	serve();
	for (unsigned i = 0; i < CLIENTS; i++) {
		assert_true(is_answered(client[i], "\"no-driver\""));
	}
	assert_true(c->dropped > 1000 && c->frames_out > 0);
	assert_int_equal(c->frames_in, c->frames_out + c->dropped);
	start_driver();
}

/* Whoever asks again and again takes nobody's turn. */
static void test_vm_control_a_second_request_comes_after_everybody_s_first(void **state)
{
	static const char again[] = "{\"do\":\"input\",\"device\":\"keyboard0\",\"events\":[[1,2,0],[0,0,0]]}\n";

	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++) {
		press_much(i);
	}
	assert_int_equal(send(client[0], again, sizeof(again) - 1, MSG_NOSIGNAL), sizeof(again) - 1);
	while (releases[KEY_1] <= PAIRS) {
		assert_true(take() > 0);
	}
	for (unsigned i = 1; i < CLIENTS; i++) {
		assert_int_equal(presses[KEY_1 + i], PAIRS + 1);
	}
	assert_true(has_answer(client[0]));
}

/* As the guest's driver switches them, and off when it goes. */
static void test_vm_control_lights_are_said_to_who_subscribed(void **state)
{
	static const char subscribe[] = "{\"do\":\"subscribe\"}\n";
	const struct virtio_input_event wire = {EV_LED, LED_CAPSL, 1};
	uint64_t buf = tdrv_alloc(&drv, sizeof(wire), 8);

	(void)state;
	assert_int_equal(send(client[0], subscribe, sizeof(subscribe) - 1, MSG_NOSIGNAL), sizeof(subscribe) - 1);
	serve();
	assert_true(has_answer(client[0]));
	memcpy(tdrv_ptr(&drv, buf, sizeof(wire)), &wire, sizeof(wire));
	for (unsigned i = 0; i < 2; i++) {
		tdrv_add(&drv, INPUT_STATUSQ, buf, sizeof(wire), 0, 0);
		tdrv_kick(&drv, INPUT_STATUSQ);
		serve();
		/* Once: it was on already. */
		assert_int_equal(is_answered(client[0], "\"event\":\"leds\""), i == 0);
	}
	tdrv_write(&drv, VIRTIO_MMIO_STATUS, 0);
	serve();
	assert_true(is_answered(client[0], "\"device\":\"keyboard0\",\"code\":1,\"on\":false"));
	assert_false(has_answer(client[1]));
}

/* The connections end, of those who wait without an answer; what another request wants has ended with the guest that was to do it. */
static void test_vm_control_a_wait_outlasts_a_reset(void **state)
{
	static const char *const waits[] = {"{\"do\":\"wait\",\"for\":\"exit\"}\n", "{\"do\":\"wait\",\"for\":\"text\",\"text\":\"login:\"}\n"};

	(void)state;
	cfg->machine.on_reboot = END_RESTART;
	for (unsigned ends = 0; ends < 2; ends++) {
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(send(client[i], waits[i], strlen(waits[i]), MSG_NOSIGNAL), strlen(waits[i]));
		}
		serve();
		press_much(2);
		assert_int_equal(vm->ctl.wait[2].what, WAIT_INPUT);
		result.end = ends ? VM_END_POWEROFF : VM_END_REBOOT;
		vm_control_finish(vm);
		assert_true(is_answered(client[2], "the VM has ended"));
		if (ends) {
			assert_true(is_answered(client[0], "\"reason\":\"poweroff\""));
			assert_true(is_answered(client[1], "\"code\":\"ended\""));
		}
		for (unsigned i = 0; i < CLIENTS; i++) {
			char byte;

			assert_int_equal(recv(client[i], &byte, 1, MSG_DONTWAIT), 0);
			close(client[i]);
		}
		memset(&vm->ctl, 0, sizeof(vm->ctl));
		assert_int_equal(vm_control_init(vm), 0);
		for (unsigned i = 0; i < CLIENTS; i++) {
			client[i] = dial_in();
		}
	}
}

static void test_vm_control_a_field_that_there_is_not(void **state)
{
	static const struct {
		const char *request, *answer;
	} cases[] = {
		{"{\"do\":\"version\",\"bogus\":1}\n", "{\"code\":\"field\",\"text\":\"unknown field \\\"bogus\\\"\"}"},
		{"{\"do\":\"stop\",\"grace_ms\":1,\"grace\":1}\n", "unknown field \\\"grace\\\""},
		{"{\"do\":\"version\",\"a\":1,\"b\":2,\"id\":7}\n", "unknown field \\\""},
		{"{\"do\":\"version\",\"\":1}\n", "unknown field \\\"\\\""},
		/* A field of the wrong kind is another matter. */
		{"{\"do\":\"stop\",\"grace_ms\":\"left unpacked: x\"}\n", "\"text\":\"Expected integer, got string\""},
		{"{\"do\":\"version\",\"id\":1}\n", "\"ok\":true"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(send(client[0], cases[i].request, strlen(cases[i].request), MSG_NOSIGNAL), strlen(cases[i].request));
		serve();
		assert_true(is_answered(client[0], cases[i].answer));
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_vm_control_clients_that_are_too_fast_wait_and_lose_no_key),
		T(test_vm_control_others_are_served_while_one_is_held_back),
		T(test_vm_control_an_answer_comes_when_the_guest_has_made_room_again),
		T(test_vm_control_a_client_that_does_not_wait_for_answers_is_not_read),
		T(test_vm_control_a_client_that_goes_while_it_waits_leaves_no_key),
		T(test_vm_control_a_guest_that_gives_up_holds_nobody_back),
		T(test_vm_control_what_a_reset_has_lost_is_said_and_counted),
		T(test_vm_control_a_second_request_comes_after_everybody_s_first),
		T(test_vm_control_lights_are_said_to_who_subscribed),
		T(test_vm_control_a_wait_outlasts_a_reset),
		T(test_vm_control_a_field_that_there_is_not),
	};
	int fd = mkstemp(path);

	if (fd >= 0) {
		close(fd);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
