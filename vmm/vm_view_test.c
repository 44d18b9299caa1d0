/* SPDX-License-Identifier: MIT */
/* What a VM offers its viewers, and what its counters say of how pictures come to each of them: on one loop, and with a renderer that is only said to be there. */
#include "vmm/vm_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/vm_priv.h"

#define MODIFIER 0x42u
#define W 64
#define H 32

static struct vm *vm;
static struct vm_gpu gpu;
static struct config config;
static struct vm_result result;
static const struct vm_options options;

static int setup(void **state)
{
	const struct display_output outputs[2] = {{.enabled = true, .width = W, .height = H, .refresh_hz = 60}, {.enabled = true, .width = W, .height = H, .refresh_hz = 60}};

	(void)state;
	vm = calloc(1, sizeof(*vm));
	assert_non_null(vm);
	config = (struct config){.machine.name = (char *)(uintptr_t) "vm", .gpu.mode = GPU_VIRGL, .display = {.type = DISPLAY_EGL_HEADLESS, .dmabuf = true}};
	gpu = (struct vm_gpu){.info = {.node = "/dev/dri/renderD128", .can_export = true}};
	vm->cfg = &config;
	vm->options = &options;
	vm->result = &result;
	assert_int_equal(loop_init(&vm->loop), 0);
	display_init(&gpu.display, &vm->loop, outputs, 2, 1u << 22);
	vm->gpu = &gpu;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	clock_set_test_ns(0);
	vm_view_stop(vm);
	for (unsigned i = 0; i < 2; i++) {
		display_show(&gpu.display, i, NULL, NULL);
	}
	display_finish(&gpu.display);
	loop_finish(&vm->loop);
	free(vm);
	return 0;
}

static void serve(void)
{
	for (unsigned i = 0; i < 20; i++) {
		loop_run_once(&vm->loop, 0);
	}
}

/* The monitor's end of each, by the viewer's: nobody else closes it. */
static int theirs[64];

/* A viewer that imports pictures with @modifier; 0: none. Return: its end. */
static int meet(uint64_t modifier)
{
	const struct viewer_client_hello m = {.hdr.type = VIEWER_CLIENT_HELLO, .version = VIEWER_VERSION, .features = modifier ? VIEWER_CAN_DMABUF : 0, .nformats = modifier ? 1 : 0, .name = "test"};
	const struct viewer_format format = {.modifier = modifier, .fourcc = DISPLAY_XBGR8888};
	const size_t len = sizeof(m) + (modifier ? sizeof(format) : 0);
	uint8_t hello[sizeof(m) + sizeof(format)];
	int fd[2];

	memcpy(hello, &m, sizeof(m));
	memcpy(hello + sizeof(m), &format, sizeof(format));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	assert_true(fd[0] < 64);
	theirs[fd[0]] = fd[1];
	assert_int_equal(viewers_add(&vm->view.viewers, fd[1], 7), 0);
	assert_int_equal(send(fd[0], hello, len, MSG_NOSIGNAL), len);
	serve();
	return fd[0];
}

static void end(int fd)
{
	vm_view_stop(vm);
	close(fd);
	close(theirs[fd]);
}

/* A picture in memory. */
static void show(unsigned scanout)
{
	struct display_picture p = {.fourcc = DISPLAY_XRGB8888, .width = W, .height = H, .stride = W * 4, .len = (uint64_t)W * H * 4};
	const struct display_rect all = {0, 0, W, H};
	struct display_buffer *buffer;
	uint8_t *map;

	p.fd = display_memfd("test", p.len, &map);
	assert_true(p.fd >= 0);
	munmap(map, p.len);
	assert_true(display_budget_take(&gpu.display.budget, p.len));
	buffer = display_buffer_create(&p, &gpu.display.budget, p.len);
	display_show(&gpu.display, scanout, buffer, &all);
	display_buffer_unref(buffer);
}

static void flush(unsigned scanout)
{
	display_flush(&gpu.display, scanout, &(struct display_rect){0, 0, W, H});
	serve();
}

/* What the counters say of the only viewer. */
static const char *says(const char *name)
{
	static char text[256];
	json_t *all = vm_view_stats(vm), *it;

	assert_int_equal(json_array_size(all), 1);
	it = json_object_get(json_array_get(all, 0), name);
	assert_true(json_is_string(it));
	snprintf(text, sizeof(text), "%s", json_string_value(it));
	json_decref(all);
	return text;
}

static void test_vm_view_offers_dmabufs_or_memory(void **state)
{
	static const struct {
		enum config_display type;
		bool dmabuf, can_export, offers;
		const char *why;
	} rows[] = {
		{DISPLAY_EGL_HEADLESS, true, true, true, ""},
		{DISPLAY_SDL, true, true, true, ""},
		{DISPLAY_NONE, true, true, false, "display.type is \"none\""},
		{DISPLAY_EGL_HEADLESS, false, true, false, "display.dmabuf is false"},
		{DISPLAY_EGL_HEADLESS, true, false, false, "there is no render node"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd;

		config.display.type = rows[i].type;
		config.display.dmabuf = rows[i].dmabuf;
		gpu.info.can_export = rows[i].can_export;
		strcpy(gpu.info.no_export, rows[i].can_export ? "" : "there is no render node");
		assert_int_equal(vm_view_init(vm), 0);
		assert_int_equal(vm->view.viewers.has_dmabufs, rows[i].offers);
		assert_string_equal(vm_gpu_no_export(vm), rows[i].why);
		show(0);
		flush(0);
		fd = meet(MODIFIER);
		assert_string_equal(says("way"), "memfd");
		assert_string_equal(says("why_no_dmabuf"), rows[i].why);
		end(fd);
	}
}

/* One scanout says nothing of the other. */
static void test_vm_view_says_why_of_what_was_sent(void **state)
{
	const char *why[2] = {"the first one's", "the second one's"};
	int fd;

	(void)state;
	assert_int_equal(vm_view_init(vm), 0);
	for (unsigned i = 0; i < 2; i++) {
		gpu.dev.scanout[i].direct.why = why[i];
	}
	show(0);
	fd = meet(MODIFIER);
	assert_string_equal(says("why_no_dmabuf"), why[0]);
	show(1);
	flush(1);
	assert_string_equal(says("why_no_dmabuf"), why[1]);
	gpu.dev.scanout[1].direct.why = NULL;
	assert_string_equal(says("why_no_dmabuf"), "");
	end(fd);
}

static void want_us(const json_t *viewer, const char *name, int p50, int p90, int p99)
{
	const json_t *us = json_object_get(viewer, name);

	assert_int_equal(json_array_size(us), 3);
	assert_int_equal(json_integer_value(json_array_get(us, 0)), p50);
	assert_int_equal(json_integer_value(json_array_get(us, 1)), p90);
	assert_int_equal(json_integer_value(json_array_get(us, 2)), p99);
}

/* Each has its own name; and none is there of what has not been. */
static void test_vm_view_times_have_their_names(void **state)
{
	static const char *const names[] = {"release_us", "input_us", "ready_us", "present_us", "answer_us"};
	struct viewer_out_counters *n;
	json_t *all;
	int fd;

	(void)state;
	assert_int_equal(vm_view_init(vm), 0);
	fd = meet(0);
	n = &vm->view.viewers.conn[0]->out.counters;
	all = vm_view_stats(vm);
	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		assert_int_equal(json_array_size(json_object_get(json_array_get(all, 0), names[k])), 0);
	}
	json_decref(all);
	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		struct viewer_out_samples *const of[] = {&n->release, &n->input, &n->ready, &n->present, &n->answer};

		/* From the last to the first: 0 to 100, and how many thousands says which it is. */
		for (uint32_t i = 0; i <= 100; i++) {
			of[k]->us[of[k]->n++] = (uint32_t)(k + 1) * 1000 + 100 - i;
		}
	}
	all = vm_view_stats(vm);
	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		int from = ((int)k + 1) * 1000;

		want_us(json_array_get(all, 0), names[k], from + 50, from + 90, from + 99);
	}
	json_decref(all);
	end(fd);
}

static void on_late(struct loop_post *post)
{
	(void)post;
	clock_set_test_ns(clock_now_ns() + VM_GPU_PATIENCE_NS);
}

static void ignore_line(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

/* The display's thread is stuck, and a viewer that has been told goodbye still has what is its. */
static void test_vm_view_stop_does_not_wait_for_ever(void **state)
{
	struct loop_post late = {.fn = on_late};
	struct viewer_header hdr = {0};
	struct loop display_loop;
	int fd;

	(void)state;
	assert_int_equal(loop_init(&display_loop), 0);
	gpu.display.loop = &display_loop;
	assert_int_equal(vm_view_init(vm), 0);
	fd = meet(0);
	clock_set_test_ns(CLOCK_NS_PER_S);
	log_set_hook(ignore_line);
	loop_post(&vm->loop, &late);
	vm_view_stop(vm);
	log_set_hook(NULL);
	assert_true(vm_gpu_is_stuck(vm));
	assert_int_equal(vm->view.viewers.n, 1);
	while (recv(fd, &hdr, sizeof(hdr), MSG_DONTWAIT) > 0 && hdr.type != VIEWER_BYE) {
	}
	assert_int_equal(hdr.type, VIEWER_BYE);
	/* What no VM that has ended does. */
	loop_run_once(&display_loop, 0);
	serve();
	assert_null(vm->view.viewers.loop);
	loop_finish(&display_loop);
	gpu.display.loop = &vm->loop;
	end(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_vm_view_offers_dmabufs_or_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vm_view_says_why_of_what_was_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vm_view_stop_does_not_wait_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vm_view_times_have_their_names, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
