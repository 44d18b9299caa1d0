/* SPDX-License-Identifier: MIT */
/* When a VM ends: at once, but after a panic its display is served a little longer, and what is drawn in that time is on the last picture. */
#include "vmm/vm_gpu.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/png_file.h"
#include "vmm/screen.h"
#include "vmm/vm_priv.h"

#define START_NS CLOCK_NS_PER_S

static char dir[] = "/tmp/vm_end_test.XXXXXX", png[64];
static struct vm *vm;
static struct vm_result result;
static struct config config;
static struct vm_options options;
static uint8_t ram[4096];
static uint8_t *pixels;

static void output_ready(struct stream *s)
{
	(void)s;
}

static size_t input(struct stream *s, const uint8_t *buf, size_t len)
{
	(void)s;
	(void)buf;
	return len;
}

static const struct stream_ops stream_ops = {.output_ready = output_ready, .input = input};

/* On the display's thread. */
static void show(void *arg)
{
	struct display *d = arg;
	struct display_picture p = {.fourcc = DISPLAY_XRGB8888, .width = 30, .height = 20, .stride = 120, .len = 2400};
	struct display_buffer *buffer;

	p.fd = display_memfd("test", p.len, &pixels);
	assert_true(p.fd >= 0);
	assert_true(display_budget_take(&d->budget, p.len));
	buffer = display_buffer_create(&p, &d->budget, p.len);
	display_show(d, 0, buffer, &(struct display_rect){0, 0, 30, 20});
	display_buffer_unref(buffer);
}

static void flush_all(void *arg)
{
	display_flush(arg, 0, &(struct display_rect){0, 0, 30, 20});
}

/* What a kernel draws as its last words. */
static void draw(void *arg)
{
	(void)arg;
	memset(pixels, 0xff, 4);
}

static int make(enum config_gpu mode)
{
	result = (struct vm_result){.end = VM_END_NONE};
	config = (struct config){.gpu = {.mode = mode, .size = {1, {{64, 64}}}, .refresh = 60, .scanouts = 1, .max_host_memory = 1u << 24},
		.machine = {.on_reboot = END_RESTART, .on_panic = END_EXIT}};
	options = (struct vm_options){.screen_png = png};
	snprintf(png, sizeof(png), "%s/screen.png", dir);
	vm = calloc(1, sizeof(*vm));
	assert_non_null(vm);
	vm->cfg = &config;
	vm->options = &options;
	vm->result = &result;
	pthread_mutex_init(&vm->end_lock, NULL);
	assert_int_equal(loop_init(&vm->loop), 0);
	stream_init(&vm->serial.stream, "serial", &stream_ops);
	stream_init(&vm->console.stream, "console", &stream_ops);
	gmem_add(&vm->mem, 0x1000, ram, sizeof(ram));
	vm_end_init(vm);
	assert_int_equal(vm_gpu_init(vm), 0);
	if (vm->gpu) {
		assert_int_equal(vm_gpu_start(vm), 0);
		loop_call(&vm->gpu->loop, show, &vm->gpu->display);
	}
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return make(GPU_2D);
}

static int teardown(void **state)
{
	(void)state;
	clock_set_test_ns(0);
	vm_gpu_stop(vm);
	vm_gpu_finish(vm);
	loop_run_once(&vm->loop, 0);
	loop_finish(&vm->loop);
	pthread_mutex_destroy(&vm->end_lock);
	free(vm);
	unlink(png);
	return 0;
}

static void say(struct stream *s, const char *text)
{
	assert_int_equal(stream_write(s, (const uint8_t *)text, strlen(text)), strlen(text));
}

/* Whether the main loop would return, some time after what happened last. */
static bool has_ended(uint64_t ns)
{
	clock_set_test_ns(START_NS + ns);
	for (int i = 0; i < 5; i++) {
		loop_run_once(&vm->loop, 0);
	}
	return __atomic_load_n(&vm->loop.stop, __ATOMIC_ACQUIRE);
}

/* What the upper left pixel is on the last picture; -1: there is none. */
static int saved(void)
{
	uint32_t width, height;
	uint8_t *image;
	char err[200];
	int pixel;

	result.screen[0] = '\0';
	vm_screen_save(vm);
	if (!result.screen[0]) {
		assert_int_equal(access(png, F_OK), -1);
		return -1;
	}
	assert_string_equal(result.screen, png);
	assert_int_equal(png_file_read(png, &image, &width, &height, err, sizeof(err)), 0);
	assert_int_equal(width, 30);
	assert_int_equal(height, 20);
	pixel = image[0] << 16 | image[1] << 8 | image[2];
	free(image);
	return pixel;
}

static void test_vm_end_serves_the_display_after_a_panic(void **state)
{
	(void)state;
	clock_set_test_ns(START_NS);
	vm_end(vm, VM_END_PANIC, 0, "%s", "it panics");
	assert_false(has_ended(0));
	/* How it goes on with panic=-1 and others, and what a person sees of it on the console. */
	vm_end(vm, VM_END_REBOOT, 0, "%s", "");
	vm_end(vm, VM_END_PANIC, 0, "%s", "again");
	vm_end(vm, VM_END_POWEROFF, 0, "%s", "");
	assert_false(has_ended(150 * CLOCK_NS_PER_MS));
	loop_call(&vm->gpu->loop, draw, NULL);
	/* As the manual says. */
	assert_false(has_ended(300 * CLOCK_NS_PER_MS - 1));
	assert_true(has_ended(300 * CLOCK_NS_PER_MS));
	assert_int_equal(result.end, VM_END_PANIC);
	assert_string_equal(result.text, "it panics");
	/* It is not served twice. */
	vm_end_find_panic(vm);
	assert_int_equal(vm->after_panic.deadline_ns, 0);
	assert_int_equal(saved(), 0xffffff);
}

static void test_vm_end_killed_after_a_panic(void **state)
{
	(void)state;
	clock_set_test_ns(START_NS);
	vm_end(vm, VM_END_PANIC, 0, "%s", "");
	assert_false(has_ended(1));
	vm_end(vm, VM_END_SIGNAL, 15, "%s", "");
	assert_true(has_ended(2));
	assert_int_equal(result.end, VM_END_PANIC);
}

static void test_vm_end_at_once(void **state)
{
	static const enum vm_end ends[] = {VM_END_POWEROFF, VM_END_REBOOT, VM_END_TIMEOUT, VM_END_EXIT_PORT};

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		result.end = VM_END_NONE;
		__atomic_store_n(&vm->loop.stop, false, __ATOMIC_RELEASE);
		vm_end(vm, ends[i], 0, "%s", "");
		assert_true(has_ended(0));
		assert_int_equal(result.end, ends[i]);
	}
	/* A guest that restarts leaves no picture. */
	result.end = VM_END_REBOOT;
	vm_end_find_panic(vm);
	assert_int_equal(result.end, VM_END_REBOOT);
	assert_int_equal(saved(), -1);
}

static void test_vm_end_without_a_display_nothing_waits(void **state)
{
	(void)state;
	teardown(NULL);
	make(GPU_OFF);
	clock_set_test_ns(START_NS);
	vm_end(vm, VM_END_PANIC, 0, "%s", "");
	assert_true(has_ended(0));
	say(&vm->console.stream, "Kernel panic - not syncing: here\n");
	vm_end_find_panic(vm);
	assert_string_equal(result.text, "Kernel panic - not syncing: here");
	assert_int_equal(saved(), -1);
}

/* On the main loop, whose timers fire in their order however late it is. */
static void on_drawing(struct loop_timer *timer)
{
	(void)timer;
	loop_call(&vm->gpu->loop, draw, NULL);
}

/* [expect] first_frame: a display that is dark until then, and one that is flushed at the last moment. */
static void test_vm_end_when_nothing_was_shown_in_time(void **state)
{
	(void)state;
	for (unsigned shows = 0; shows < 2; shows++) {
		teardown(NULL);
		clock_set_test_ns(START_NS);
		make(GPU_OFF);
		options.expect = true;
		config.gpu.mode = GPU_2D;
		config.expect.first_frame_ns = 5 * CLOCK_NS_PER_S;
		assert_int_equal(vm_gpu_init(vm), 0);
		assert_int_equal(vm_gpu_start(vm), 0);
		assert_false(has_ended(5 * CLOCK_NS_PER_S - 1));
		if (shows) {
			loop_call(&vm->gpu->loop, show, &vm->gpu->display);
			loop_call(&vm->gpu->loop, flush_all, &vm->gpu->display);
		}
		assert_int_equal(has_ended(5 * CLOCK_NS_PER_S), !shows);
		assert_int_equal(result.end, shows ? VM_END_NONE : VM_END_EXPECT);
		assert_string_equal(result.text, shows ? "" : "the display has shown nothing within 5000 ms");
	}
}

/* A guest without pvpanic and with panic=-1 only resets: what it said says why, and on_reboot = "restart" does not apply. */
static void test_vm_end_reset_that_was_a_panic(void **state)
{
	struct loop_timer drawing;

	(void)state;
	say(&vm->serial.stream, "[    1.5] Kernel panic - not syncing: no init\n[    1.6] more\n");
	vm_end(vm, VM_END_REBOOT, 0, "%s", "");
	loop_run(&vm->loop);
	/* As when the last vCPU is gone. */
	loop_stop(&vm->loop);
	loop_timer_init(&drawing, &vm->loop, on_drawing);
	loop_timer_set(&drawing, clock_now_ns() + VM_PANIC_SCREEN_NS / 4);
	vm_end_find_panic(vm);
	loop_timer_stop(&drawing);
	assert_int_equal(result.end, VM_END_PANIC);
	assert_string_equal(result.text, "Kernel panic - not syncing: no init");
	assert_int_equal(saved(), 0xffffff);
}

/* [expect] screen, and a guest that powers off without having shown it: its picture, and what differs. */
static void test_vm_end_poweroff_before_the_screen_was_seen(void **state)
{
	static uint8_t wanted[20][30][4];
	char reference[80], diff[80], err[200];
	struct config_screen want = {.image = reference};
	uint32_t width, height;
	uint8_t *image;

	(void)state;
	teardown(NULL);
	snprintf(reference, sizeof(reference), "%s/reference.png", dir);
	snprintf(diff, sizeof(diff), "%s/diff.png", dir);
	wanted[3][4][1] = 1;
	assert_true(screen_write_png(&(struct display_pixels){&wanted[0][0][0], 30, 20, 120}, reference));
	/* The last time it is shown when somebody has just looked, and looks no more. */
	for (unsigned sees = 0; sees < 3; sees++) {
		make(GPU_OFF);
		options.expect = true;
		options.screen_diff_png = diff;
		config.gpu.mode = GPU_2D;
		config.expect.screen = &want;
		assert_int_equal(vm_gpu_init(vm), 0);
		assert_int_equal(vm_gpu_start(vm), 0);
		loop_call(&vm->gpu->loop, show, &vm->gpu->display);
		if (sees == 2) {
			clock_set_test_ns(START_NS);
			loop_call(&vm->gpu->loop, flush_all, &vm->gpu->display);
			for (int i = 0; i < 2000 && !vm->screen.screen.last; i++) {
				loop_run_once(&vm->loop, 1);
			}
			assert_non_null(vm->screen.screen.last);
		}
		pixels[3 * 120 + 4 * 4 + 1] = sees > 0;
		loop_call(&vm->gpu->loop, flush_all, &vm->gpu->display);
		vm_end(vm, VM_END_POWEROFF, 0, "%s", "");
		vm_screen_save(vm);
		assert_int_equal(result.screen[0] == '\0', sees == 1);
		if (!sees) {
			assert_int_equal(png_file_read(diff, &image, &width, &height, err, sizeof(err)), 0);
			for (unsigned i = 0; i < 30 * 20; i++) {
				assert_int_equal(image[4 * i + 2] == 255 && image[4 * i + 1] == 0, i == 3 * 30 + 4);
			}
			free(image);
		}
		vm_gpu_stop(vm);
		vm_control_judge(vm);
		vm_screen_judged(vm);
		assert_int_equal(result.end, sees ? VM_END_PASSED : VM_END_EXPECT);
		assert_int_equal(access(png, F_OK), sees ? -1 : 0);
		clock_set_test_ns(0);
		if (!sees) {
			/* As if what was missing had come at the very end. */
			result.end = VM_END_POWEROFF;
			vm_screen_judged(vm);
			assert_int_equal(result.screen[0], 0);
			assert_int_equal(access(png, F_OK), -1);
		}
		assert_int_equal(access(diff, F_OK), -1);
		if (sees < 2) {
			teardown(NULL);
		}
	}
	unlink(reference);
}

static sem_t hold;

static void on_hold(struct loop_post *post)
{
	(void)post;
	while (sem_wait(&hold) < 0) {
	}
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

/* The renderer does not come back: there is no last picture, and the VM ends. */
static void test_vm_end_without_a_picture_that_does_not_come(void **state)
{
	struct loop_post held = {.fn = on_hold}, late = {.fn = on_late};

	(void)state;
	sem_init(&hold, 0, 0);
	loop_post(&vm->gpu->loop, &held);
	vm_end(vm, VM_END_TIMEOUT, 0, "%s", "");
	clock_set_test_ns(START_NS);
	log_set_hook(ignore_line);
	loop_post(&vm->loop, &late);
	vm_screen_save(vm);
	log_set_hook(NULL);
	assert_true(vm_gpu_is_stuck(vm));
	assert_string_equal(result.screen, "");
	/* A second time it is not asked, and not waited for. */
	vm_screen_save(vm);
	vm_gpu_stop(vm);
	assert_true(vm_gpu_is_stuck(vm));
	/* What no VM that has ended does: it is taken down. */
	sem_post(&hold);
	vm->gpu->is_stuck = false;
	vm->gpu->is_running = true;
	vm_gpu_stop(vm);
	assert_false(vm_gpu_is_stuck(vm));
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_vm_end_serves_the_display_after_a_panic),
		T(test_vm_end_killed_after_a_panic),
		T(test_vm_end_at_once),
		T(test_vm_end_without_a_display_nothing_waits),
		T(test_vm_end_when_nothing_was_shown_in_time),
		T(test_vm_end_reset_that_was_a_panic),
		T(test_vm_end_poweroff_before_the_screen_was_seen),
		T(test_vm_end_without_a_picture_that_does_not_come),
	};

	return cmocka_run_group_tests_name("vm_end", tests, make_dir, remove_dir);
}
