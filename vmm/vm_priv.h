/* SPDX-License-Identifier: MIT */
/*
 * A VM's parts, for vm.c (making it and taking it apart) and vm_control.c (what people ask of it while it runs). Not for anyone else.
 * Thread: the main thread, except where a member says otherwise.
 */
#ifndef VMM_VM_PRIV_H
#define VMM_VM_PRIV_H

#include <pthread.h>
#include <regex.h>

#include "boot/boot.h"
#include "devices/blk.h"
#include "devices/console.h"
#include "devices/exit_port.h"
#include "devices/ged.h"
#include "devices/pvpanic.h"
#include "devices/rng.h"
#include "devices/serial.h"
#include "vmm/boot_trace.h"
#include "vmm/console_sock.h"
#include "vmm/control.h"
#include "vmm/expect.h"
#include "vmm/kvm.h"
#include "vmm/line_watch.h"
#include "vmm/loop.h"
#include "vmm/ram.h"
#include "vmm/stream_file.h"
#include "vmm/terminal.h"
#include "vmm/vcpu.h"
#include "vmm/virtio_bus.h"
#include "vmm/vm.h"
#include "vmm/vm_gpu.h"
#include "vmm/vm_input.h"
#include "vmm/vm_screen.h"
#include "vmm/vm_still.h"
#include "vmm/vm_view.h"
#include "vmm/x86_ports.h"
#include "vmm/x86_vcpu.h"

/* What a connection of the control socket waits for. */
struct vm_wait {
	enum { WAIT_NOTHING, WAIT_PAUSED, WAIT_RUNNING, WAIT_EXIT, WAIT_TEXT, WAIT_STATS, WAIT_INPUT, WAIT_GPU, WAIT_FRAME, WAIT_STILL } what;
	struct control_conn *conn;
	regex_t regex; /* WAIT_TEXT */
	struct vm_input *input; /* WAIT_INPUT */
	json_t *events; /* WAIT_INPUT: of the request, those from at have not been sent; NULL: all have been */
	size_t at;
	struct vm_gpu_request *gpu; /* WAIT_GPU */
	struct vm_still *still; /* WAIT_STILL; NULL: it will not be answered */
	unsigned scanout; /* WAIT_FRAME */
	uint64_t frame; /* WAIT_FRAME: one after this one */
	struct loop_timer timeout;
};

struct vm_control {
	struct control control;
	uint64_t started_ns;
	enum { VM_RUNNING, VM_PAUSING, VM_PAUSED } state;
	struct loop_post parked; /* from vCPUs which have parked or opened their counters */
	bool has_parked; /* it is on its way (atomic) */
	bool lines_seen; /* all of expect.console */
	struct loop_timer sample; /* two thirds of the time are over: what has happened until then */
	uint64_t sample_bytes, sample_busy_ns, sample_ns;
	uint64_t held_clock_ns;
	struct console_sock console_sock;
	struct line_watch console_watch, serial_watch;
	struct vm_wait wait[CONTROL_CONNS_MAX];
	struct expect expect;
	uint64_t held_tsc[X86_CPUS_MAX];
};

struct vm {
	const struct config *cfg;
	struct plan *plan;
	const struct vm_options *options;

	struct kvm kvm;
	struct ram ram;
	struct gmem mem;
	struct virtio_bus virtio;
	struct x86_ports ports;
	struct x86_cpu_model model;
	struct boot_entry entry;
	struct vcpu_bus bus;
	unsigned nvcpus; /* made */
	unsigned vcpus_running; /* atomic */

	struct loop loop;
	struct loop_source signals;
	struct loop_timer deadline, grace, patience;
	int serial_irq_fd;
	int stop_signal; /* the first one that asked the VM to end; 0: none */

	struct stream_file serial_file, console_file, console_log, serial_log;
	struct boot_trace_sink console_trace, serial_trace;
	struct exit_port exit_port;
	struct pvpanic pvpanic;
	struct ged ged;
	unsigned nblks; /* made */
	struct vm_gpu *gpu; /* NULL: there is no display */
	struct vm_input *input;
	unsigned ninputs; /* made */
	struct loop_source evdev_watch; /* fn NULL: no device of the host has been absent yet */
	struct loop_timer evdev_again; /* one more look: what has just gone may be there again */
	struct vm_view view;
	struct loop_post panicked; /* the end waits a little: the display may still be drawing what happened */
	struct loop_timer after_panic;
	bool waits_after_panic; /* guarded by end_lock */

	pthread_mutex_t end_lock;
	struct vm_result *result; /* guarded by end_lock while vCPUs run */

	/* What is large, and mostly never touched, last: the rest shares pages. */
	struct vm_control ctl;
	struct vm_screen screen;
	struct vcpu vcpu[X86_CPUS_MAX];
	struct blk blk[CONFIG_DISKS_MAX];
	struct rng rng;
	struct console console;
	struct terminal terminal;
	struct serial serial;
};

/* How long the display of a guest that has panicked is served. */
#define VM_PANIC_SCREEN_NS (300 * CLOCK_NS_PER_MS)

/* Before the first vm_end. */
void vm_end_init(struct vm *vm);
/* Ends the VM; the first reason counts. After a panic the display is served for VM_PANIC_SCREEN_NS before the loop stops. Thread: any. */
void vm_end(struct vm *vm, enum vm_end end, int code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* When the kernel said that it panicked, a reset (panic=-1) is how it died, and the line is what a person wants to read. The display is served then, unless it has been
 * after that panic already. The vCPUs are gone. */
void vm_end_find_panic(struct vm *vm);
void vm_press_power_button(struct vm *vm);
json_t *vm_virtio_stats(struct vm *vm); /* vm_stats.h says what; a new reference */
/* The power button, and machine.stop_grace until it is over. A paused guest goes on, to hear it. */
void vm_stop_gently(struct vm *vm, int signo, uint64_t grace_ns);

/* vm_control.c. Steps of making and ending, each accepts what has not been made. */
int vm_control_init(struct vm *vm);
void vm_control_started(struct vm *vm); /* the vCPUs run */
void vm_control_finish(struct vm *vm);
/* A vCPU has left the guest because of a pause (vcpu_is_parked). Thread: vCPU. */
void vm_control_parked(struct vm *vm);
/* A vCPU has opened its counters. Thread: vCPU. */
void vm_control_stats_opened(struct vm *vm);
/* The guest has taken all that was sent to a device, or never will. */
void vm_control_input_taken(struct vm *vm, const struct vm_input *in);
/* A device that had no room has some again. */
void vm_control_input_room(struct vm *vm, const struct vm_input *in);
/* A connection waits for @r; what it waits for of the display is here, and its answer comes next. */
void vm_control_gpu_asked(struct vm *vm, struct control_conn *conn, struct vm_gpu_request *r);
void vm_control_gpu_done(struct vm *vm, struct control_conn *conn);
/* What the end means where something was expected; registers of a guest that hangs go to the log. The vCPUs still run at a timeout. */
void vm_control_timeout(struct vm *vm);
void vm_control_judge(struct vm *vm);
/* There is a new frame on some scanout. */
void vm_control_frame(struct vm *vm);
/* The screen is as [expect] wants it. */
void vm_control_screen_seen(struct vm *vm);
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

#endif
