/* SPDX-License-Identifier: MIT */
/*
 * One VM from the plan to its end: memory, devices in a visible order, vCPUs, the main loop, and stopping.
 *
 * Thread: the main thread; vm_run returns when the VM is gone, or cannot be waited for (vm_result.is_stuck).
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <stdint.h>

#include "vmm/plan.h"
#include "vmm/view_start.h"

enum vm_end {
	VM_END_NONE,
	VM_END_POWEROFF, /* the guest powered off, also after the power button */
	VM_END_STOPPED, /* the user ended it from the terminal */
	VM_END_REBOOT, /* the guest asked for a reset */
	VM_END_RESET, /* the user did */
	VM_END_PANIC, /* panic, triple fault, or a guest the processor cannot run */
	VM_END_TIMEOUT,
	VM_END_HANG, /* a timeout, and nothing had happened for long */
	VM_END_EXIT_PORT, /* code: what the guest wants the exit code to be */
	VM_END_SIGNAL, /* code: the signal that killed it */
	VM_END_PASSED, /* everything expected was seen */
	VM_END_EXPECT, /* it was not, or something that must not be was */
	VM_END_HOST, /* the host lacks something: nothing ran */
	VM_END_FAILED, /* tinyvmm failed while the guest ran */
};

struct vm_result {
	enum vm_end end;
	int code;
	char text[256]; /* one line for people, empty where the end speaks for itself */
	uint64_t run_ns; /* from the first instruction to the end */
	uint64_t first_frame_ns; /* until the display first showed something; 0: it never did */
	struct {
		bool offered; /* gpu.blob */
		uint64_t shared, copied; /* times one was shown, where it is or as a copy */
		uint64_t pieces_max; /* of guest memory that one of them had */
	} blobs;
	char screen[4200]; /* the file with the last picture; empty: there is none */
	uint64_t boot_ns; /* from there until the guest was ready; 0: nobody said what ready is, or it never was */
	bool is_stuck; /* a thread that does not come back still uses the VM, its configuration and its plan: all that is left is _exit, or exec */
};

struct vm_options {
	uint64_t deadline_ns; /* clock_now_ns() time at which the VM is killed; 0: never */
	bool quiet; /* no hint line, no console tail */
	bool restarted; /* the guest has been reset: log files go on */
	bool expect; /* end as [expect] says */
	bool stats; /* print vm_stats.h at the end, also at a reset */
	int stats_fd; /* there; 0: on standard error */
	bool paused; /* made, and not running until somebody says resume */
	const char *config_path; /* for `list`: where the configuration is from */
	int control_fd, console_fd, viewer_fd; /* listening sockets, which stay the caller's; 0: none */
	const char *viewer_path; /* where the last one is, for `view` */
	struct view_window *window; /* that was started; what is gone of it is cleared. NULL: none */
	const char *screen_png, *screen_diff_png; /* where a last picture goes of a VM that fails; NULL: nowhere */
	const char *console_log, *serial_log; /* kept for every VM; NULL: none */
	void (*on_started)(void *ctx); /* the vCPUs run. Main thread. NULL: nobody waits */
	void *ctx;
};

/* Runs @plan to its end and fills @result. Failures are logged where they happen; end is VM_END_HOST or _FAILED then. */
void vm_run(struct plan *plan, const struct vm_options *options, struct vm_result *result);

#endif
