/* SPDX-License-Identifier: MIT */
/* Requests to a display on a thread of its own, over a real control socket: there and back, and what happens when somebody leaves in between. */
#include "vmm/vm_gpu.h"

#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/dial.h"
#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/vm_priv.h"

static char dir[] = "/tmp/vm_gpu_test.XXXXXX", path[64];
static struct vm *vm;
static struct config config;
static uint8_t ram[4096];

/* As vm_control.c. */
static void on_request(void *ctx, struct control_conn *conn, const char *verb, json_t *request)
{
	json_t *scanout = json_object_get(request, "scanout"), *width = json_object_get(request, "width"), *enabled = json_object_get(request, "enabled");
	struct vm_gpu_change change = {.width = width ? json_integer_value(width) : -1, .height = -1, .refresh = -1, .width_mm = -1, .height_mm = -1,
		.enabled = enabled ? json_is_true(enabled) : -1};

	assert_ptr_equal(ctx, vm);
	if (strcmp(verb, "wait") == 0) {
		struct vm_still_want want = {.scanout = json_integer_value(scanout), .stable_ms = json_integer_value(json_object_get(request, "stable_ms")),
			.picture = json_is_true(json_object_get(request, "picture"))};
		struct vm_still *s;

		if (json_object_get(request, "x")) {
			want.region = (struct display_rect){(uint32_t)json_integer_value(json_object_get(request, "x")), 0, 10, 20};
		}
		s = vm_still_begin(vm, conn, &want);

		if (s) {
			vm->ctl.wait[control_conn_index(conn)].what = WAIT_STILL;
			vm->ctl.wait[control_conn_index(conn)].still = s;
		}
	} else if (strcmp(verb, "screenshot") == 0) {
		vm_gpu_screenshot(vm, conn, json_integer_value(scanout), true, json_is_true(json_object_get(request, "base64")));
	} else {
		vm_gpu_outputs(vm, conn, json_integer_value(scanout), &change);
	}
}

static void on_gone(void *ctx, struct control_conn *conn)
{
	struct vm_wait *w = &vm->ctl.wait[control_conn_index(conn)];

	(void)ctx;
	if (w->what == WAIT_GPU) {
		vm_gpu_forget(w->gpu);
	} else if (w->what == WAIT_STILL && w->still) {
		vm_still_forget(w->still);
	}
	w->what = WAIT_NOTHING;
}

static const struct control_ops ops = {.request = on_request, .gone = on_gone};

static int setup(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "%s/s", dir);
	unlink(path);
	vm = calloc(1, sizeof(*vm));
	assert_non_null(vm);
	config = (struct config){.gpu = {.mode = GPU_2D, .size = {2, {{1024, 768}, {640, 480}}}, .refresh = 60, .scanouts = 3, .max_host_memory = 1u << 24}};
	vm->cfg = &config;
	assert_int_equal(loop_init(&vm->loop), 0);
	gmem_add(&vm->mem, 0x1000, ram, sizeof(ram));
	assert_int_equal(control_init(&vm->ctl.control, &vm->loop, listener_open(path, SOCK_STREAM, CONTROL_CONNS_MAX), &ops, vm), 0);
	assert_int_equal(vm_gpu_init(vm), 0);
	assert_int_equal(vm_gpu_start(vm), 0);
	return 0;
}

static bool is_ticking;

static int teardown(void **state)
{
	(void)state;
	is_ticking = false;
	log_set_hook(NULL);
	clock_set_test_ns(0);
	vm_gpu_stop(vm);
	vm_gpu_stop(vm);
	control_finish(&vm->ctl.control, 100, false);
	vm_gpu_finish(vm);
	vm_gpu_finish(vm);
	loop_finish(&vm->loop);
	free(vm);
	return 0;
}

static void serve(void)
{
	for (int i = 0; i < 50; i++) {
		loop_run_once(&vm->loop, 0);
	}
}

static int connect_peer(void)
{
	int fd = dial(path, SOCK_STREAM);

	serve();
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	serve();
}

/* The next answer, and the descriptor that came with it, or -1. */
static json_t *hear(int fd, int *received)
{
	static char buf[CONTROL_ANSWER_MAX];
	char cmsg[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {buf, sizeof(buf) - 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = cmsg, .msg_controllen = sizeof(cmsg)};
	const struct cmsghdr *c;
	ssize_t n = -1;
	json_t *answer;

	for (int i = 0; i < 2000 && n < 0; i++) {
		loop_run_once(&vm->loop, 5);
		n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	}
	assert_true(n > 0);
	buf[n] = '\0';
	c = CMSG_FIRSTHDR(&msg);
	*received = -1;
	if (c) {
		memcpy(received, CMSG_DATA(c), sizeof(int));
	}
	answer = json_loads(buf, 0, NULL);
	assert_non_null(answer);
	return answer;
}

static void expect_error(int fd, const char *request, const char *code)
{
	json_t *answer;
	int received;

	say(fd, request);
	answer = hear(fd, &received);
	assert_string_equal(json_string_value(json_object_get(json_object_get(answer, "error"), "code")), code);
	assert_int_equal(received, -1);
	json_decref(answer);
}

/* On the display's thread. */
static void show_something(void *arg)
{
	struct display *d = arg;
	struct display_picture p = {.fourcc = DISPLAY_XRGB8888, .width = 30, .height = 20, .stride = 120, .len = 2400};
	struct display_buffer *buffer;
	uint8_t *map;

	assert_true(loop_is_current(d->loop));
	p.fd = display_memfd("test", p.len, &map);
	assert_true(p.fd >= 0);
	map[0] = 0x12;
	assert_true(display_budget_take(&d->budget, p.len));
	buffer = display_buffer_create(&p, &d->budget, p.len);
	display_show(d, 1, buffer, &(struct display_rect){0, 0, 30, 20});
	display_buffer_unref(buffer);
}

static void test_vm_gpu_screenshot_comes_with_its_answer(void **state)
{
	int fd = connect_peer(), received;
	struct stat st;
	json_t *answer;
	uint8_t pixel[4];

	(void)state;
	loop_call(&vm->gpu->loop, show_something, &vm->gpu->display);
	say(fd, "{\"do\":\"screenshot\",\"scanout\":1,\"id\":9}\n");
	answer = hear(fd, &received);
	assert_int_equal(json_integer_value(json_object_get(answer, "id")), 9);
	assert_int_equal(json_integer_value(json_object_get(answer, "width")), 30);
	assert_int_equal(json_integer_value(json_object_get(answer, "height")), 20);
	assert_int_equal(json_integer_value(json_object_get(answer, "stride")), 120);
	assert_string_equal(json_string_value(json_object_get(answer, "format")), "XR24");
	assert_true(received >= 0);
	assert_int_equal(fstat(received, &st), 0);
	assert_int_equal(st.st_size, 2400);
	assert_int_equal(pread(received, pixel, 4, 0), 4);
	assert_int_equal(pixel[0], 0x12);
	close(received);
	json_decref(answer);
	/* Or in the answer itself, for those who cannot take a descriptor: 2400 bytes are 3200 characters. */
	say(fd, "{\"do\":\"screenshot\",\"scanout\":1,\"base64\":true}\n");
	answer = hear(fd, &received);
	assert_int_equal(received, -1);
	assert_int_equal(json_integer_value(json_object_get(answer, "width")), 30);
	assert_int_equal(json_string_length(json_object_get(answer, "base64")), 3200);
	assert_int_equal(strncmp(json_string_value(json_object_get(answer, "base64")), "EgAA/wAA", 8), 0);
	json_decref(answer);
	close(fd);
}

static void test_vm_gpu_what_cannot_be_shown(void **state)
{
	int fd = connect_peer();

	(void)state;
	expect_error(fd, "{\"do\":\"screenshot\"}\n", "no-scanout");
	expect_error(fd, "{\"do\":\"screenshot\",\"scanout\":3}\n", "field");
	expect_error(fd, "{\"do\":\"screenshot\",\"scanout\":-1}\n", "field");
	expect_error(fd, "{\"do\":\"screenshot\",\"scanout\":4294967296}\n", "field");
	close(fd);
}

static void test_vm_gpu_outputs_are_those_of_the_configuration(void **state)
{
	static const int want[3][2] = {{1024, 768}, {640, 480}, {640, 480}};
	int fd = connect_peer(), received;
	json_t *answer, *outputs;

	(void)state;
	loop_call(&vm->gpu->loop, show_something, &vm->gpu->display);
	say(fd, "{\"do\":\"display\"}\n");
	answer = hear(fd, &received);
	outputs = json_object_get(answer, "outputs");
	assert_int_equal(json_array_size(outputs), 3);
	for (size_t i = 0; i < 3; i++) {
		const json_t *o = json_array_get(outputs, i);

		assert_true(json_is_true(json_object_get(o, "enabled")));
		assert_int_equal(json_integer_value(json_object_get(o, "width")), want[i][0]);
		assert_int_equal(json_integer_value(json_object_get(o, "height")), want[i][1]);
		assert_int_equal(json_integer_value(json_object_get(o, "refresh")), 60);
		assert_int_equal(json_integer_value(json_object_get(o, "shown_width")), i == 1 ? 30 : 0);
	}
	json_decref(answer);
	close(fd);
}

static void test_vm_gpu_output_changes_one_thing_at_a_time(void **state)
{
	int fd = connect_peer(), received;
	json_t *answer, *o;

	(void)state;
	say(fd, "{\"do\":\"display\",\"scanout\":2,\"width\":800}\n");
	json_decref(hear(fd, &received));
	say(fd, "{\"do\":\"display\",\"scanout\":2,\"enabled\":false}\n");
	answer = hear(fd, &received);
	o = json_array_get(json_object_get(answer, "outputs"), 2);
	assert_true(json_is_false(json_object_get(o, "enabled")));
	assert_int_equal(json_integer_value(json_object_get(o, "width")), 800);
	assert_int_equal(json_integer_value(json_object_get(o, "height")), 480);
	o = json_array_get(json_object_get(answer, "outputs"), 1);
	assert_int_equal(json_integer_value(json_object_get(o, "width")), 640);
	json_decref(answer);
	/* The device has been told. */
	assert_int_equal(vm->gpu->dev.events, GPU_EVENT_DISPLAY);
	expect_error(fd, "{\"do\":\"display\",\"width\":63}\n", "field");
	expect_error(fd, "{\"do\":\"display\",\"width\":16385}\n", "field");
	expect_error(fd, "{\"do\":\"display\",\"width\":-2}\n", "field");
	expect_error(fd, "{\"do\":\"display\",\"scanout\":3,\"width\":800}\n", "field");
	close(fd);
}

static sem_t hold;

static void on_hold(struct loop_post *post)
{
	(void)post;
	while (sem_wait(&hold) < 0) {
	}
}

/* The display's thread is busy: nobody waits for it, and whoever leaves leaves nothing behind. */
static void test_vm_gpu_peer_that_leaves_while_it_waits(void **state)
{
	struct loop_post post = {.fn = on_hold};
	int fd[3] = {connect_peer(), connect_peer(), connect_peer()}, received;
	json_t *answer;

	(void)state;
	loop_call(&vm->gpu->loop, show_something, &vm->gpu->display);
	sem_init(&hold, 0, 0);
	loop_post(&vm->gpu->loop, &post);
	for (unsigned i = 0; i < 3; i++) {
		say(fd[i], "{\"do\":\"screenshot\",\"scanout\":1}\n");
	}
	assert_int_equal(vm->gpu->asked, 3);
	close(fd[0]);
	serve();
	/* Its place is taken by another, who asks too. */
	fd[0] = connect_peer();
	say(fd[0], "{\"do\":\"display\"}\n");
	close(fd[1]);
	serve();
	sem_post(&hold);
	answer = hear(fd[0], &received);
	assert_non_null(json_object_get(answer, "outputs"));
	assert_int_equal(received, -1);
	json_decref(answer);
	answer = hear(fd[2], &received);
	assert_non_null(json_object_get(answer, "width"));
	assert_true(received >= 0);
	close(received);
	json_decref(answer);
	assert_int_equal(vm->gpu->asked, 0);
	close(fd[0]);
	close(fd[2]);
}

static void test_vm_gpu_stop_answers_what_was_asked_and_nothing_after(void **state)
{
	struct loop_post post = {.fn = on_hold};
	int fd = connect_peer(), received;
	uint64_t now_ns;
	json_t *answer;

	(void)state;
	loop_call(&vm->gpu->loop, show_something, &vm->gpu->display);
	sem_init(&hold, 0, 0);
	loop_post(&vm->gpu->loop, &post);
	say(fd, "{\"do\":\"screenshot\",\"scanout\":1}\n");
	sem_post(&hold);
	now_ns = clock_now_ns();
	vm_gpu_stop(vm);
	assert_true(clock_now_ns() - now_ns < CLOCK_NS_PER_S);
	assert_false(vm_gpu_is_stuck(vm));
	assert_int_equal(vm->gpu->asked, 0);
	answer = hear(fd, &received);
	assert_true(received >= 0);
	close(received);
	json_decref(answer);
	expect_error(fd, "{\"do\":\"screenshot\",\"scanout\":1}\n", "ended");
	close(fd);
}

static bool has_answer(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static struct loop_post tick;
static unsigned ticks, stuck_lines;

/* The main loop's clock goes on while it is served: almost all of the patience at first, then a nanosecond each time. */
static void on_tick(struct loop_post *post)
{
	if (is_ticking) {
		clock_set_test_ns(clock_now_ns() + (ticks == 0 ? VM_GPU_PATIENCE_NS - 1 : 1));
		ticks++;
		loop_post(&vm->loop, post);
	}
}

static void on_stuck_line(enum log_level level, const char *line)
{
	assert_int_equal(level, LOG_WARN);
	assert_string_equal(line, "gpu: the renderer has not come back for 5 s: the VM ends without it");
	stuck_lines++;
}

static sem_t holds;

static void on_hold_and_say(struct loop_post *post)
{
	sem_post(&holds);
	on_hold(post);
}

static void hold_display(struct loop_post *post)
{
	post->fn = on_hold_and_say;
	sem_init(&hold, 0, 0);
	sem_init(&holds, 0, 0);
	loop_post(&vm->gpu->loop, post);
	sem_wait(&holds);
	clock_set_test_ns(CLOCK_NS_PER_S);
	log_set_hook(on_stuck_line);
	ticks = stuck_lines = 0;
	is_ticking = true;
	tick.fn = on_tick;
	loop_post(&vm->loop, &tick);
}

/* What no VM that has ended does: its display comes back, and is taken down like any other. */
static void let_display_go(void)
{
	is_ticking = false;
	log_set_hook(NULL);
	sem_post(&hold);
	vm->gpu->is_stuck = false;
	vm->gpu->is_running = true;
	vm_gpu_stop(vm);
	assert_false(vm_gpu_is_stuck(vm));
}

/* A guest can give the renderer work for hours. The end of its VM does not wait for that, however often it looks, and says so once. */
static void test_vm_gpu_stop_does_not_wait_for_ever(void **state)
{
	struct loop_post post;
	int fd = connect_peer(), other = connect_peer();

	(void)state;
	hold_display(&post);
	say(fd, "{\"do\":\"display\"}\n");
	/* Only what the end waits for counts. */
	clock_set_test_ns(CLOCK_NS_PER_S);
	ticks = 0;
	vm_gpu_stop(vm);
	assert_true(vm_gpu_is_stuck(vm));
	assert_int_equal(ticks, 2);
	assert_int_equal(stuck_lines, 1);
	assert_int_equal(vm->gpu->asked, 1);
	vm_gpu_stop(vm);
	assert_int_equal(ticks, 2);
	assert_int_equal(stuck_lines, 1);
	expect_error(other, "{\"do\":\"display\"}\n", "ended");
	let_display_go();
	close(fd);
	close(other);
}

/* Nothing is asked of it, and it does not hear that it is to end. */
static void test_vm_gpu_stop_of_one_that_hears_nothing(void **state)
{
	struct loop_post post;

	(void)state;
	hold_display(&post);
	vm_gpu_stop(vm);
	assert_true(vm_gpu_is_stuck(vm));
	assert_int_equal(ticks, 2);
	assert_int_equal(stuck_lines, 1);
	let_display_go();
}

/* A guest that is reset has not ended: who asks while its display is taken down is hung up on, and connects to the next one. */
static void test_vm_gpu_stop_before_a_restart_says_nothing_of_an_end(void **state)
{
	struct vm_result result = {.end = VM_END_RESET};
	int fd = connect_peer(), other = connect_peer();

	(void)state;
	vm->result = &result;
	vm_gpu_stop(vm);
	say(fd, "{\"do\":\"screenshot\",\"scanout\":1}\n");
	say(other, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":1}\n");
	assert_false(has_answer(fd));
	assert_false(has_answer(other));
	/* One that is not started again has. */
	result.end = VM_END_POWEROFF;
	close(fd);
	fd = connect_peer();
	expect_error(fd, "{\"do\":\"screenshot\",\"scanout\":1}\n", "ended");
	close(fd);
	close(other);
	vm->result = NULL;
}

static sem_t flushed;

static void flush(void)
{
	display_flush(&vm->gpu->display, 1, &(struct display_rect){0, 0, 30, 20});
	sem_post(&flushed);
}

/* Two frames, and after each of them nothing for as long as the test likes. */
static void on_two_frames(struct loop_post *post)
{
	flush();
	on_hold(post);
	flush();
	on_hold(post);
}

/* [expect] screen: a frame that is heard of during a look leads to another one, however long the first takes. */
static void test_vm_gpu_frame_during_a_slow_look(void **state)
{
	struct config_screen want = {.scanout = 1, .stable_ns = 3600 * CLOCK_NS_PER_S};
	const struct vm_options options = {.expect = true};
	struct loop_post frames = {.fn = on_two_frames};
	uint64_t looked_ns;
	char why[200];

	(void)state;
	vm_gpu_stop(vm);
	vm_gpu_finish(vm);
	config.expect.screen = &want;
	vm->options = &options;
	assert_int_equal(vm_gpu_init(vm), 0);
	assert_int_equal(vm_gpu_start(vm), 0);
	loop_call(&vm->gpu->loop, show_something, &vm->gpu->display);
	sem_init(&hold, 0, 0);
	sem_init(&flushed, 0, 0);
	loop_post(&vm->gpu->loop, &frames);
	sem_wait(&flushed);
	serve();
	assert_true(vm->screen.is_looking);
	looked_ns = vm->screen.looked_ns;
	sem_post(&hold);
	sem_wait(&flushed);
	serve();
	/* Later than the next look would be due. */
	usleep(100000);
	serve();
	assert_true(vm->screen.is_looking);
	/* A VM that ends now says what the last look that is over has seen. */
	assert_true(vm_screen_missing(vm, why, sizeof(why)));
	assert_string_equal(why, "expect.screen: the guest has shown nothing");
	sem_post(&hold);
	for (int i = 0; i < 2000 && vm->screen.looked_ns == looked_ns; i++) {
		loop_run_once(&vm->loop, 5);
	}
	assert_true(vm->screen.looked_ns > looked_ns);
	assert_true(vm->screen.is_armed);
	assert_true(vm_screen_missing(vm, why, sizeof(why)));
	assert_string_equal(why, "expect.screen: it was never still for 3600000 ms");
}

/*
 * Waiting until it is still.
 */

static uint8_t *painted;

/* On the display's thread: what is shown is another picture from now on, and the one before again the next time. */
static void paint(void *arg)
{
	struct display *d = arg;

	if (!painted) {
		struct display_picture p = {.fourcc = DISPLAY_XRGB8888, .width = 30, .height = 20, .stride = 120, .len = 2400};
		struct display_buffer *buffer;

		p.fd = display_memfd("test", p.len, &painted);
		assert_true(p.fd >= 0);
		assert_true(display_budget_take(&d->budget, p.len));
		buffer = display_buffer_create(&p, &d->budget, p.len);
		display_show(d, 1, buffer, &(struct display_rect){0, 0, 30, 20});
		display_buffer_unref(buffer);
	}
	painted[2399 - 1] ^= 1;
	display_flush(d, 1, &(struct display_rect){29, 19, 1, 1});
}

static void unpaint(void)
{
	munmap(painted, 2400);
	painted = NULL;
}

static unsigned sinks(void)
{
	unsigned n = 0;

	for (const struct display_sink *s = vm->gpu->display.sinks; s; s = s->next) {
		n++;
	}
	return n;
}

struct fence {
	struct loop_post post;
	sem_t passed;
	unsigned sinks;
};

static void on_fence(struct loop_post *post)
{
	struct fence *f = (struct fence *)((char *)post - offsetof(struct fence, post));

	f->sinks = sinks();
	sem_post(&f->passed);
}

/* How many sinks there are when the display's thread has done what it was told; and what it says of that is heard. */
static unsigned settled_sinks(void)
{
	struct fence f = {.post.fn = on_fence};

	sem_init(&f.passed, 0, 0);
	serve();
	loop_post(&vm->gpu->loop, &f.post);
	while (sem_wait(&f.passed) < 0) {
	}
	sem_destroy(&f.passed);
	serve();
	return f.sinks;
}

/* Time that passes as the test says: how busy the machine is does not matter. */
static uint64_t test_ns;

static void pass(uint64_t ms)
{
	test_ns = ms == 0 ? 0 : (test_ns ? test_ns : clock_now_ns()) + ms * (uint64_t)CLOCK_NS_PER_MS;
	clock_set_test_ns(test_ns);
	/* The display's thread looks at its timers, after what it serves in its second round, has done with that when the third one serves, and what it says is heard. */
	settled_sinks();
	settled_sinks();
	settled_sinks();
}

static void test_vm_still_waits_for_a_guest_that_flips(void **state)
{
	int fd = connect_peer(), received;
	json_t *answer;

	(void)state;
	pass(1);
	say(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":300}\n");
	/* Dark is not still. */
	pass(1000);
	assert_false(has_answer(fd));
	for (unsigned i = 0; i < 20; i++) {
		loop_call(&vm->gpu->loop, paint, &vm->gpu->display);
		pass(299);
		assert_false(has_answer(fd));
	}
	pass(1);
	answer = hear(fd, &received);
	assert_int_equal(json_integer_value(json_object_get(answer, "frame")), vm->gpu->display.scanout[1].frames);
	assert_int_equal(received, -1);
	json_decref(answer);
	assert_int_equal(settled_sinks(), 0);
	assert_int_equal(vm->gpu->asked, 0);
	/* The picture with it is the one that was still. */
	say(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":1,\"picture\":true}\n");
	assert_int_equal(settled_sinks(), 1);
	pass(1);
	answer = hear(fd, &received);
	assert_true(received >= 0);
	assert_int_equal(json_integer_value(json_object_get(answer, "width")), 30);
	assert_int_equal(json_integer_value(json_object_get(answer, "frame")), vm->gpu->display.scanout[1].frames);
	close(received);
	json_decref(answer);
	close(fd);
	unpaint();
	pass(0);
}

/* On the display's thread: a wider screen. */
static void show_more(void *arg)
{
	struct display *d = arg;
	struct display_picture p = {.fourcc = DISPLAY_XRGB8888, .width = 31, .height = 20, .stride = 124, .len = 2480};
	struct display_buffer *buffer;
	uint8_t *map;

	p.fd = display_memfd("test", p.len, &map);
	assert_true(p.fd >= 0);
	munmap(map, p.len);
	assert_true(display_budget_take(&d->budget, p.len));
	buffer = display_buffer_create(&p, &d->budget, p.len);
	display_show(d, 1, buffer, &(struct display_rect){0, 0, 31, 20});
	display_buffer_unref(buffer);
	display_flush(d, 1, &(struct display_rect){0, 0, 31, 20});
}

static void expect_still_explanation(const char *want)
{
	char why[120];

	settled_sinks();
	vm_still_explain(vm->ctl.wait[0].still, why, sizeof(why));
	assert_string_equal(why, want);
}

/* It waits for a screen that has it, and says meanwhile what the matter is. */
static void test_vm_still_region_that_is_not_on_the_screen(void **state)
{
	int fd = connect_peer(), received;

	(void)state;
	pass(1);
	say(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":300,\"x\":21}\n");
	expect_still_explanation("it was not still in time");
	loop_call(&vm->gpu->loop, paint, &vm->gpu->display);
	expect_still_explanation("the region is not inside the screen, which has 30x20 pixels");
	pass(1000);
	loop_call(&vm->gpu->loop, paint, &vm->gpu->display);
	pass(1000);
	assert_false(has_answer(fd));
	expect_still_explanation("the region is not inside the screen, which has 30x20 pixels");
	loop_call(&vm->gpu->loop, show_more, &vm->gpu->display);
	expect_still_explanation("it was not still in time");
	pass(299);
	assert_false(has_answer(fd));
	pass(1);
	json_decref(hear(fd, &received));
	assert_int_equal(settled_sinks(), 0);
	close(fd);
	unpaint();
	pass(0);
}

/* On the display's thread: as a guest that draws and has not flushed yet. */
static void draw(void *arg)
{
	(void)arg;
	painted[2399 - 1] ^= 1;
}

/* What has changed by the time the answer would be given has not been still, flushed or not. */
static void test_vm_still_looks_a_second_time(void **state)
{
	int fd = connect_peer(), received;

	(void)state;
	pass(1);
	loop_call(&vm->gpu->loop, paint, &vm->gpu->display);
	say(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":300}\n");
	assert_int_equal(settled_sinks(), 1);
	pass(299);
	loop_call(&vm->gpu->loop, draw, NULL);
	pass(1);
	assert_false(has_answer(fd));
	pass(299);
	assert_false(has_answer(fd));
	pass(1);
	json_decref(hear(fd, &received));
	close(fd);
	unpaint();
	pass(0);
}

static void test_vm_still_wrong_and_ended(void **state)
{
	int fd = connect_peer();

	(void)state;
	expect_error(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":0}\n", "field");
	expect_error(fd, "{\"do\":\"wait\",\"scanout\":3,\"stable_ms\":1}\n", "field");
	expect_error(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":4294967297}\n", "field");
	say(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":1}\n");
	vm_gpu_stop(vm);
	/* Whoever tells of the end tells this one too. */
	assert_int_equal(vm->gpu->asked, 0);
	assert_int_equal(sinks(), 0);
	assert_false(has_answer(fd));
	assert_null(vm->ctl.wait[0].still);
	assert_int_equal(vm->ctl.wait[0].what, WAIT_STILL);
	close(fd);
	fd = connect_peer();
	expect_error(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":1}\n", "ended");
	close(fd);
}

/* Before it was looked at, while it is, and when the answer is on its way. */
static void test_vm_still_peer_that_leaves(void **state)
{
	struct loop_post post = {.fn = on_hold};
	int fd;

	(void)state;
	sem_init(&hold, 0, 0);
	loop_call(&vm->gpu->loop, show_something, &vm->gpu->display);
	loop_post(&vm->gpu->loop, &post);
	fd = connect_peer();
	say(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":1}\n");
	close(fd);
	serve();
	assert_int_equal(vm->gpu->asked, 1);
	sem_post(&hold);
	assert_int_equal(settled_sinks(), 0);
	assert_int_equal(vm->gpu->asked, 0);

	fd = connect_peer();
	say(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":3600000}\n");
	assert_int_equal(settled_sinks(), 1);
	close(fd);
	serve();
	assert_int_equal(settled_sinks(), 0);
	assert_int_equal(vm->gpu->asked, 0);

	fd = connect_peer();
	say(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":1,\"picture\":true}\n");
	/* Nobody serves the main loop. */
	usleep(50000);
	close(fd);
	serve();
	assert_int_equal(settled_sinks(), 0);
	assert_int_equal(vm->gpu->asked, 0);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* The display's thread has fired those that are due: it was asleep in the first round, so they are for the second, where they come after what is served; and that is over when the third serves. */
static void let_timers_pass(void)
{
	for (unsigned i = 0; i < 3; i++) {
		loop_call(&vm->gpu->loop, nothing, NULL);
	}
}

static unsigned open_files(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 200; fd++) {
		n += fcntl(fd, F_GETFD) >= 0;
	}
	return n;
}

/* Two wait, and the picture for one of them is on its way when he is gone: it is nobody's, and the other one gets his. */
static void test_vm_still_forgotten_on_its_way(void **state)
{
	int other = connect_peer(), fd = connect_peer(), received;
	struct vm_wait *w;
	unsigned before;

	(void)state;
	pass(1);
	loop_call(&vm->gpu->loop, paint, &vm->gpu->display);
	before = open_files();
	say(fd, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":100,\"picture\":true}\n");
	say(other, "{\"do\":\"wait\",\"scanout\":1,\"stable_ms\":300}\n");
	assert_int_equal(settled_sinks(), 2);
	w = &vm->ctl.wait[1];
	assert_int_equal(w->what, WAIT_STILL);
	/* The display's thread has done it, and the main loop has not heard of that. */
	test_ns += 100 * (uint64_t)CLOCK_NS_PER_MS;
	clock_set_test_ns(test_ns);
	let_timers_pass();
	assert_int_equal(open_files(), before + 1);
	vm_still_forget(w->still);
	w->what = WAIT_NOTHING;
	assert_int_equal(settled_sinks(), 1);
	settled_sinks();
	assert_int_equal(vm->gpu->asked, 1);
	assert_int_equal(open_files(), before);
	assert_false(has_answer(fd));
	pass(200);
	json_decref(hear(other, &received));
	assert_int_equal(vm->gpu->asked, 0);
	close(other);
	close(fd);
	unpaint();
	pass(0);
}

/* The display again, now with an [expect] screen. */
static void start_expecting(struct config_screen *want)
{
	static const struct vm_options options = {.expect = true};

	vm_gpu_stop(vm);
	vm_gpu_finish(vm);
	config.expect.screen = want;
	config.expect.exit = EXPECT_EXIT_GUEST;
	vm->options = &options;
	assert_int_equal(vm_gpu_init(vm), 0);
	assert_int_equal(vm_gpu_start(vm), 0);
}

/* [expect] screen: whoever only looks now and then may see one picture all the time. */
static void test_vm_gpu_expects_a_screen_that_is_still(void **state)
{
	struct config_screen want = {.scanout = 1, .stable_ns = 300 * (uint64_t)CLOCK_NS_PER_MS};
	char why[200];

	(void)state;
	start_expecting(&want);
	for (unsigned i = 0; i < 60; i++) {
		/* Back at once: each look sees the same. */
		loop_call(&vm->gpu->loop, paint, &vm->gpu->display);
		loop_call(&vm->gpu->loop, paint, &vm->gpu->display);
		pass(100);
		assert_true(vm_screen_missing(vm, why, sizeof(why)));
	}
	assert_string_equal(why, "expect.screen: it was never still for 300 ms");
	for (int i = 0; i < 2000 && vm_screen_missing(vm, why, sizeof(why)); i++) {
		pass(50);
		usleep(1000);
	}
	assert_false(vm_screen_missing(vm, why, sizeof(why)));
	assert_int_equal(settled_sinks(), 0);
	unpaint();
	pass(0);
}

/* [expect] screen: what is not on the screen, whether it is to be still or not. */
static void test_vm_gpu_expects_what_is_not_on_the_screen(void **state)
{
	struct config_screen want = {.scanout = 1, .stable_ns = 300 * (uint64_t)CLOCK_NS_PER_MS, .region = {21, 0, 10, 20}};
	char why[200];

	(void)state;
	start_expecting(&want);
	pass(100);
	loop_call(&vm->gpu->loop, paint, &vm->gpu->display);
	for (unsigned i = 0; i < 10; i++) {
		pass(100);
	}
	assert_true(vm_screen_missing(vm, why, sizeof(why)));
	assert_string_equal(why, "expect.screen: the region 21,0,10,20 is not inside the screen, which has 30x20 pixels");
	loop_call(&vm->gpu->loop, show_more, &vm->gpu->display);
	pass(100);
	assert_true(vm_screen_missing(vm, why, sizeof(why)));
	assert_string_equal(why, "expect.screen: it was never still for 300 ms");
	for (unsigned i = 0; i < 10; i++) {
		pass(100);
	}
	assert_false(vm_screen_missing(vm, why, sizeof(why)));
	unpaint();
	pass(0);
}

static bool is_missing_on_the_screen(void)
{
	char why[200];

	return vm_screen_missing(vm, why, sizeof(why));
}

/* [expect] screen: it was still, and is another picture when one looks. */
static void test_vm_gpu_expects_what_is_still_when_it_is_looked_at(void **state)
{
	struct config_screen want = {.scanout = 1, .stable_ns = 300 * (uint64_t)CLOCK_NS_PER_MS};

	(void)state;
	start_expecting(&want);
	pass(1000);
	loop_call(&vm->gpu->loop, paint, &vm->gpu->display);
	pass(1);
	pass(298);
	loop_call(&vm->gpu->loop, draw, NULL);
	for (unsigned i = 0; i < 6; i++) {
		pass(50);
		assert_true(is_missing_on_the_screen());
	}
	for (unsigned i = 0; i < 4; i++) {
		pass(50);
	}
	assert_false(is_missing_on_the_screen());
	unpaint();
	pass(0);
}

/* [expect] screen: a screen that changes all the time is looked at twenty times a second, and what comes between two looks is seen at the next. */
static void test_vm_gpu_looks_are_apart_and_miss_nothing_that_stays(void **state)
{
	static const uint8_t black[2400] = {0};
	char image[80];
	struct config_screen want = {.scanout = 1, .image = image};
	uint64_t first_ns;

	(void)state;
	snprintf(image, sizeof(image), "%s/black.png", dir);
	assert_true(screen_write_png(&(struct display_pixels){black, 30, 20, 120}, image));
	start_expecting(&want);
	pass(1000);
	unlink(image);
	loop_call(&vm->gpu->loop, paint, &vm->gpu->display);
	pass(1);
	first_ns = test_ns;
	assert_int_equal(vm->screen.looked_ns, first_ns);
	assert_true(is_missing_on_the_screen());
	/* Three more of them, the last is the one. */
	for (unsigned i = 0; i < 3; i++) {
		loop_call(&vm->gpu->loop, paint, &vm->gpu->display);
		pass(10);
		assert_int_equal(vm->screen.looked_ns, first_ns);
	}
	pass(19);
	assert_true(is_missing_on_the_screen());
	assert_int_equal(vm->screen.looked_ns, first_ns);
	pass(1);
	assert_int_equal(vm->screen.looked_ns, first_ns + 50 * (uint64_t)CLOCK_NS_PER_MS);
	assert_false(is_missing_on_the_screen());
	unpaint();
	pass(0);
}

static void test_vm_gpu_no_display(void **state)
{
	json_t *stats = vm_gpu_stats(vm);
	int fd;

	(void)state;
	assert_int_equal(json_integer_value(json_object_get(stats, "memory")), 0);
	json_decref(stats);
	vm_gpu_stop(vm);
	vm_gpu_finish(vm);
	config.gpu.mode = GPU_OFF;
	assert_int_equal(vm_gpu_init(vm), 0);
	assert_null(vm->gpu);
	assert_null(vm_gpu_stats(vm));
	fd = connect_peer();
	expect_error(fd, "{\"do\":\"screenshot\"}\n", "no-display");
	expect_error(fd, "{\"do\":\"display\"}\n", "no-display");
	close(fd);
	assert_string_equal(vm_gpu_display(vm), "off");
}

/* Where an end of 2 MiB lies in it, one time in three by chance, a kernel with huge pages makes 2 MiB of the few pages that are touched. */
static void test_vm_gpu_its_stack_has_no_room_for_a_huge_page(void **state)
{
	pthread_attr_t attr;
	size_t len = 0;

	(void)state;
	assert_int_equal(pthread_getattr_np(vm->gpu->thread, &attr), 0);
	assert_int_equal(pthread_attr_getstacksize(&attr, &len), 0);
	pthread_attr_destroy(&attr);
	assert_true(len < 1u << 20);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* A VM that is to have OpenGL, on a host that cannot draw. */
static int setup_no_node(void **state)
{
	static char node[] = "/dev/dri/none";

	(void)state;
	vm = calloc(1, sizeof(*vm));
	assert_non_null(vm);
	config = (struct config){.gpu = {.mode = GPU_VIRGL, .size = {1, {{640, 480}}}, .refresh = 60, .scanouts = 1, .max_host_memory = 1u << 24, .render_node = node}};
	vm->cfg = &config;
	assert_int_equal(loop_init(&vm->loop), 0);
	gmem_add(&vm->mem, 0x1000, ram, sizeof(ram));
	return 0;
}

static int teardown_no_node(void **state)
{
	(void)state;
	vm_gpu_stop(vm);
	vm_gpu_stop(vm);
	vm_gpu_finish(vm);
	assert_null(vm->gpu);
	loop_finish(&vm->loop);
	free(vm);
	return 0;
}

/* What that leaves can be ended like any other. */
static void test_vm_gpu_host_that_cannot(void **state)
{
	struct vm_result result = {.end = VM_END_NONE};

	(void)state;
	vm->result = &result;
	assert_true(vm_gpu_init(vm) < 0);
	vm_gpu_report(vm);
	assert_false(result.blobs.offered);
}

/* It is said what the VM has, not what was asked for; and a window is one all the same. */
static void test_vm_gpu_says_what_was_taken_instead(void **state)
{
	json_t *stats;

	(void)state;
	config.gpu.fallback = true;
	config.display.type = DISPLAY_EGL_HEADLESS;
	assert_int_equal(vm_gpu_init(vm), 0);
	assert_string_equal(vm_gpu_display(vm), "none");
	config.display.type = DISPLAY_SDL;
	assert_string_equal(vm_gpu_display(vm), "sdl");
	stats = vm_gpu_stats(vm);
	assert_string_equal(json_string_value(json_object_get(stats, "mode")), "2d");
	assert_non_null(strstr(json_string_value(json_object_get(stats, "why_no_virgl")), "/dev/dri/none"));
	json_decref(stats);
	/* With OpenGL it is what it was to be; and 2D that was asked for wants no reason. */
	strcpy(vm->gpu->info.node, "/dev/dri/renderD128");
	config.display.type = DISPLAY_EGL_HEADLESS;
	assert_string_equal(vm_gpu_display(vm), "egl-headless");
	vm->gpu->info.node[0] = 0;
	config.gpu.mode = GPU_2D;
	stats = vm_gpu_stats(vm);
	assert_null(json_object_get(stats, "why_no_virgl"));
	json_decref(stats);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_vm_gpu_screenshot_comes_with_its_answer),
		T(test_vm_gpu_what_cannot_be_shown),
		T(test_vm_gpu_its_stack_has_no_room_for_a_huge_page),
		T(test_vm_gpu_outputs_are_those_of_the_configuration),
		T(test_vm_gpu_output_changes_one_thing_at_a_time),
		T(test_vm_gpu_peer_that_leaves_while_it_waits),
		T(test_vm_gpu_stop_answers_what_was_asked_and_nothing_after),
		T(test_vm_gpu_stop_before_a_restart_says_nothing_of_an_end),
		T(test_vm_gpu_stop_does_not_wait_for_ever),
		T(test_vm_gpu_stop_of_one_that_hears_nothing),
		T(test_vm_gpu_frame_during_a_slow_look),
		T(test_vm_still_waits_for_a_guest_that_flips),
		T(test_vm_still_region_that_is_not_on_the_screen),
		T(test_vm_still_looks_a_second_time),
		T(test_vm_still_wrong_and_ended),
		T(test_vm_still_peer_that_leaves),
		T(test_vm_still_forgotten_on_its_way),
		T(test_vm_gpu_expects_a_screen_that_is_still),
		T(test_vm_gpu_expects_what_is_not_on_the_screen),
		T(test_vm_gpu_expects_what_is_still_when_it_is_looked_at),
		T(test_vm_gpu_looks_are_apart_and_miss_nothing_that_stays),
		cmocka_unit_test_setup_teardown(test_vm_gpu_host_that_cannot, setup_no_node, teardown_no_node),
		cmocka_unit_test_setup_teardown(test_vm_gpu_says_what_was_taken_instead, setup_no_node, teardown_no_node),
		T(test_vm_gpu_no_display),
	};

	return cmocka_run_group_tests_name("vm_gpu", tests, make_dir, remove_dir);
}
