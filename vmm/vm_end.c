/* SPDX-License-Identifier: MIT */
/* Why a VM ends, and when: at once, or after a panic a little later, because its display may still be drawing what happened. */
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/clock.h"
#include "vmm/vm_gpu.h"
#include "vmm/vm_priv.h"

static bool has_display(const struct vm *vm)
{
	return vm->gpu && vm->gpu->is_running;
}

void vm_end(struct vm *vm, enum vm_end end, int code, const char *fmt, ...)
{
	va_list ap;

	bool waits = false;

	pthread_mutex_lock(&vm->end_lock);
	if (vm->waits_after_panic && (end == VM_END_REBOOT || end == VM_END_PANIC || end == VM_END_POWEROFF)) {
		/* That is how it goes on after what has been seen already. */
		waits = true;
	}
	if (vm->result->end == VM_END_NONE) {
		vm->result->end = end;
		vm->result->code = code;
		va_start(ap, fmt);
		vsnprintf(vm->result->text, sizeof(vm->result->text), fmt, ap);
		va_end(ap);
		if (end == VM_END_PANIC && has_display(vm)) {
			vm->waits_after_panic = waits = true;
			loop_post(&vm->loop, &vm->panicked);
		}
	}
	pthread_mutex_unlock(&vm->end_lock);
	if (!waits) {
		loop_stop(&vm->loop);
	}
}

static void on_after_panic(struct loop_timer *timer)
{
	struct vm *vm = (struct vm *)((char *)timer - offsetof(struct vm, after_panic));

	loop_stop(&vm->loop);
}

static void serve_on(struct vm *vm)
{
	loop_timer_set(&vm->after_panic, clock_now_ns() + VM_PANIC_SCREEN_NS);
}

/* The kernel draws its last words after it has said that it panicked. */
static void on_panicked(struct loop_post *post)
{
	serve_on((struct vm *)((char *)post - offsetof(struct vm, panicked)));
}

void vm_end_init(struct vm *vm)
{
	loop_timer_init(&vm->after_panic, &vm->loop, on_after_panic);
	vm->panicked.fn = on_panicked;
}

/* Return: whether the kernel said that it panicked; then the line is the result's text. */
static bool find_panic(struct vm *vm)
{
	static const char mark[] = "Kernel panic - not syncing";
	const struct stream *streams[] = {&vm->serial.stream, &vm->console.stream};
	struct vm_result *result = vm->result;
	bool found = false;

	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		char *text = NULL, *line;
		size_t len;
		FILE *file = open_memstream(&text, &len);

		if (!file) {
			return found;
		}
		stream_print_tail(streams[i], file, UINT_MAX);
		fclose(file);
		line = text ? strstr(text, mark) : NULL;
		if (line) {
			snprintf(result->text, sizeof(result->text), "%.*s", (int)strcspn(line, "\n"), line);
			found = true;
		}
		free(text);
	}
	return found;
}

void vm_end_find_panic(struct vm *vm)
{
	struct vm_result *result = vm->result;

	if ((result->end != VM_END_REBOOT && result->end != VM_END_PANIC) || !find_panic(vm)) {
		return;
	}
	result->end = VM_END_PANIC;
	if (has_display(vm) && !vm->waits_after_panic) {
		/* Whoever has stopped the loop for other reasons has been heard. */
		serve_on(vm);
		while (vm->after_panic.deadline_ns) {
			loop_run(&vm->loop);
		}
	}
}
