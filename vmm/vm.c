/* SPDX-License-Identifier: MIT */
#include "vmm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "boot/x86_acpi.h"
#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/notify.h"
#include "vmm/result.h"
#include "vmm/vm_evdev.h"
#include "vmm/vm_priv.h"
#include "vmm/vm_stats.h"

/* Of each log that is kept for every VM. */
#define LOG_LIMIT (16u << 20)
/* A guest that shuts down in answer to the power button usually needs less. */
#define BUTTON_PATIENCE_NS (3 * CLOCK_NS_PER_S)
/* How long the end waits for whoever reads the guest's last words. */
#define FLUSH_PATIENCE_MS 2000

/*
 * What vCPUs meet. vCPU threads.
 */

static void on_guest_power_off(void *ctx)
{
	vm_end(ctx, VM_END_POWEROFF, 0, "%s", "");
}

static void on_guest_reset(void *ctx)
{
	vm_end(ctx, VM_END_REBOOT, 0, "%s", "");
}

static void on_exit_port(void *ctx, uint8_t code)
{
	vm_end(ctx, VM_END_EXIT_PORT, code, "%s", "");
}

static void on_pvpanic(void *ctx, enum pvpanic_event event)
{
	/* A guest that has a crash kernel loaded goes on and reports the end itself. */
	if (event == PVPANIC_PANICKED) {
		vm_end(ctx, VM_END_PANIC, 0, "%s", "");
	}
}

static void on_port_in(void *ctx, uint16_t port, void *dst, uint32_t len)
{
	const struct vm *vm = ctx;

	x86_ports_in(&vm->ports, port, dst, len);
}

static bool on_port_out(void *ctx, uint16_t port, const void *src, uint32_t len)
{
	const struct vm *vm = ctx;

	return x86_ports_out(&vm->ports, port, src, len);
}

static void on_mmio_read(void *ctx, uint64_t gpa, void *dst, uint32_t len)
{
	struct vm *vm = ctx;

	if (!virtio_bus_read(&vm->virtio, gpa, dst, len)) {
		memset(dst, 0xff, len);
	}
}

static void on_mmio_write(void *ctx, uint64_t gpa, const void *src, uint32_t len)
{
	struct vm *vm = ctx;

	virtio_bus_write(&vm->virtio, gpa, src, len);
}

static void on_vcpu_fault(void *ctx, enum vcpu_fault fault, const char *text)
{
	static const enum vm_end end[] = {
		[VCPU_TRIPLE_FAULT] = VM_END_PANIC,
		[VCPU_FAILED] = VM_END_PANIC,
		[VCPU_HOST_ERROR] = VM_END_FAILED,
		[VCPU_SYSTEM_RESET] = VM_END_REBOOT,
		[VCPU_SYSTEM_SHUTDOWN] = VM_END_POWEROFF,
		[VCPU_SYSTEM_CRASH] = VM_END_PANIC,
	};

	vm_end(ctx, end[fault], 0, "%s", text);
}

static void on_vcpu_parked(void *ctx)
{
	vm_control_parked(ctx);
}

static void on_vcpu_stats_opened(void *ctx)
{
	vm_control_stats_opened(ctx);
}

static void on_vcpu_gone(void *ctx)
{
	struct vm *vm = ctx;

	__atomic_sub_fetch(&vm->vcpus_running, 1, __ATOMIC_RELEASE);
	loop_stop(&vm->loop);
}

static void on_serial_irq(void *ctx)
{
	const struct vm *vm = ctx;

	eventfd_write(vm->serial_irq_fd, 1);
}

/* On the main loop. */
static void on_serial_room(void *ctx)
{
	struct vm *vm = ctx;

	for (unsigned i = 0; i < vm->nvcpus; i++) {
		vcpu_retry(&vm->vcpu[i]);
	}
}

static void on_ged_line(void *ctx, bool high)
{
	struct vm *vm = ctx;

	kvm_set_irq_line(&vm->kvm, X86_GSI_GED, high);
}

/*
 * What people and clocks want. Main loop.
 */

void vm_press_power_button(struct vm *vm)
{
	ged_raise(&vm->ged, 1u << X86_EVENT_BUTTON);
	if (vm->patience.deadline_ns == 0) {
		loop_timer_set(&vm->patience, clock_now_ns() + BUTTON_PATIENCE_NS);
	}
}

static void on_patience(struct loop_timer *timer)
{
	struct vm *vm = (struct vm *)((char *)timer - offsetof(struct vm, patience));

	if (vm->stop_signal) {
		log_msg(LOG_WARN, "the guest still runs after the power button (it needs the module \"button\" and somebody who listens); "
			"it will be killed when machine.stop_grace is over, or by a second signal");
	} else {
		log_msg(LOG_WARN, "the guest still runs after the power button (it needs the module \"button\" and somebody who listens)");
	}
}

static void on_grace(struct loop_timer *timer)
{
	struct vm *vm = (struct vm *)((char *)timer - offsetof(struct vm, grace));

	vm_end(vm, VM_END_SIGNAL, vm->stop_signal, "did not power off within machine.stop_grace");
}

static void on_deadline(struct loop_timer *timer)
{
	struct vm *vm = (struct vm *)((char *)timer - offsetof(struct vm, deadline));

	if (vm->options->expect) {
		vm_control_timeout(vm);
	} else {
		vm_end(vm, VM_END_TIMEOUT, 0, "timeout");
	}
}

void vm_stop_gently(struct vm *vm, int signo, uint64_t grace_ns)
{
	if (grace_ns == 0) {
		vm_end(vm, VM_END_SIGNAL, signo, "%s", strsignal(signo));
		return;
	}
	vm->stop_signal = signo;
	notify("STOPPING=1\nSTATUS=power button pressed");
	vm_resume(vm);
	vm_press_power_button(vm);
	loop_timer_set(&vm->grace, clock_now_ns() + grace_ns);
}

static void on_stop_signal(struct vm *vm, int signo)
{
	if (vm->stop_signal) {
		vm_end(vm, VM_END_SIGNAL, signo, "%s", strsignal(signo));
	} else {
		vm_stop_gently(vm, signo, vm->cfg->machine.stop_grace_ns);
	}
}

static void dump_state(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		vcpu_dump(&vm->vcpu[i]);
	}
	for (unsigned i = 0; i < vm->virtio.nslots; i++) {
		const struct virtio_device *dev = vm->virtio.slot[i].dev;

		if (!dev) {
			log_msg(LOG_WARN, "virtio %u: free, for a device that comes later", i);
			continue;
		}
		log_msg(LOG_WARN, "virtio %u: %s at 0x%llx gsi %u, %s", i, dev->ops->name, (unsigned long long)vm->virtio.slot[i].gpa,
			vm->virtio.slot[i].gsi, virtio_device_is_running(dev) ? "running" : "not running");
	}
}

/* nohup and shells' background jobs rely on an ignored signal staying ignored. It comes all the same, since it is blocked. */
static bool is_ignored(int signo)
{
	struct sigaction sa;

	return sigaction(signo, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN;
}

static void on_signal(struct loop_source *src, uint32_t events)
{
	struct vm *vm = (struct vm *)((char *)src - offsetof(struct vm, signals));
	struct signalfd_siginfo info;

	(void)events;
	while (read(src->fd, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGINT:
		case SIGTERM:
		case SIGHUP:
			if (!is_ignored((int)info.ssi_signo)) {
				on_stop_signal(vm, (int)info.ssi_signo);
			}
			break;
		case SIGUSR1:
			dump_state(vm);
			break;
		default:
			terminal_signal(&vm->terminal, (int)info.ssi_signo);
			break;
		}
	}
}

static void on_terminal_kill(void *ctx)
{
	vm_end(ctx, VM_END_STOPPED, 0, "%s", "");
}

static void on_terminal_power_button(void *ctx)
{
	vm_press_power_button(ctx);
}

/*
 * Making it, in order.
 */

static int setup_signals(struct vm *vm)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	terminal_signals(&set);
	vm->signals = (struct loop_source){
		.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .events = EPOLLIN, .fn = on_signal};
	if (vm->signals.fd < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "signalfd");
		return r;
	}
	/* A reader of messages that goes away is no reason to stop a VM, nor is a log at the limit for files. */
	outfd_block_signals(&set);
	vcpu_init_signal(&set);
	return loop_add(&vm->loop, &vm->signals);
}

static int setup_timers(struct vm *vm)
{
	loop_timer_init(&vm->deadline, &vm->loop, on_deadline);
	loop_timer_init(&vm->grace, &vm->loop, on_grace);
	loop_timer_init(&vm->patience, &vm->loop, on_patience);
	vm_end_init(vm);
	if (vm->options->deadline_ns) {
		loop_timer_set(&vm->deadline, vm->options->deadline_ns);
	}
	return 0;
}

static int setup_kvm(struct vm *vm)
{
	char why[256];
	int r = kvm_open(&vm->kvm, why, sizeof(why));

	if (r < 0) {
		log_msg(LOG_ERR, "%s", why);
		return r;
	}
	r = kvm_create_vm(&vm->kvm, vm->plan->image.kind == BOOT_MULTIBOOT);
	return r < 0 ? r : x86_cpu_model_init(&vm->model, &vm->kvm, vm->cfg->machine.cpus);
}

static int setup_memory(struct vm *vm)
{
	int r = (vm_gpu_shares_memory(vm->cfg) ? ram_map_shared : ram_map)(&vm->ram, vm->cfg->machine.memory, vm->cfg->machine.hugepages);
	uint64_t len, low;

	if (r < 0) {
		return r;
	}
	len = vm->ram.len;
	low = len < X86_LOW_RAM_MAX ? len : X86_LOW_RAM_MAX;
	gmem_add(&vm->mem, 0, vm->ram.hva, low);
	if (vm->ram.is_shared) {
		gmem_share(&vm->mem, vm->ram.fd, 0);
	}
	r = kvm_add_memory(&vm->kvm, 0, vm->ram.hva, low);
	if (r == 0 && len > low) {
		gmem_add(&vm->mem, X86_HIGH_RAM_GPA, vm->ram.hva + low, len - low);
		if (vm->ram.is_shared) {
			gmem_share(&vm->mem, vm->ram.fd, low);
		}
		r = kvm_add_memory(&vm->kvm, X86_HIGH_RAM_GPA, vm->ram.hva + low, len - low);
	}
	return r;
}

/* An eventfd that pulls @gsi when it is written. Return: the descriptor or -errno (logged). */
static int irq_eventfd(struct vm *vm, uint32_t gsi)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), r;

	if (fd < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "eventfd");
		return r;
	}
	r = kvm_add_irqfd(&vm->kvm, fd, gsi);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static int setup_serial(struct vm *vm)
{
	int r;

	if (vm->cfg->serial.type == CONSOLE_NONE) {
		return 0;
	}
	vm->serial_irq_fd = irq_eventfd(vm, X86_GSI_SERIAL);
	if (vm->serial_irq_fd < 0) {
		return vm->serial_irq_fd;
	}
	r = serial_init(&vm->serial, &vm->loop, on_serial_irq, on_serial_room, vm);
	if (r < 0) {
		return r;
	}
	vm->ports.serial = &vm->serial;
	return 0;
}

static int setup_ports(struct vm *vm)
{
	vm->ports = (struct x86_ports){.pvpanic = &vm->pvpanic, .power_off = on_guest_power_off, .reset = on_guest_reset, .ctx = vm};
	pvpanic_init(&vm->pvpanic, on_pvpanic, vm);
	if (vm->cfg->machine.exit_port != EXIT_PORT_OFF) {
		exit_port_init(&vm->exit_port, vm->cfg->machine.exit_port == EXIT_PORT_ISA_DEBUG, on_exit_port, vm);
		vm->ports.exit_port = &vm->exit_port;
	}
	ged_init(&vm->ged, on_ged_line, vm);
	return setup_serial(vm);
}

static int setup_disk(struct vm *vm, unsigned i)
{
	struct blk *blk = &vm->blk[i];

	blk_init(blk, vm->cfg->disk[i].name, vm->plan->disk[i], &vm->loop, &vm->mem);
	vm->plan->disk[i] = NULL;
	vm->nblks++;
	return virtio_bus_add(&vm->virtio, &blk->base);
}

static int setup_virtio(struct vm *vm)
{
	int r = virtio_bus_init(&vm->virtio, &vm->kvm, &vm->ged, vm->cfg->machine.mmio == MMIO_FAST);

	if (r == 0 && vm->cfg->console.type != CONSOLE_NONE) {
		console_init(&vm->console, &vm->loop, &vm->mem);
		r = virtio_bus_add(&vm->virtio, &vm->console.base);
	}
	if (r == 0 && vm->cfg->rng.enable) {
		rng_init(&vm->rng, &vm->loop, &vm->mem);
		r = virtio_bus_add(&vm->virtio, &vm->rng.base);
	}
	for (unsigned i = 0; r == 0 && i < vm->cfg->ndisks; i++) {
		r = setup_disk(vm, i);
	}
	if (r == 0) {
		r = vm_input_init(vm);
	}
	if (r == 0) {
		r = vm_gpu_init(vm);
	}
	if (r == 0 && vm->gpu) {
		r = virtio_bus_add(&vm->virtio, &vm->gpu->dev.base);
	}
	return r == 0 && vm->gpu ? vm_gpu_start(vm) : r;
}

static int setup_boot(struct vm *vm)
{
	struct x86_acpi_config acpi = {.ncpus = vm->cfg->machine.cpus, .serial = vm->ports.serial != NULL, .pvpanic = true};
	char err[512];
	int r;

	virtio_bus_describe(&vm->virtio, &acpi);
	vm->ports.ged = vm->ged.has_registers ? &vm->ged : NULL;
	r = boot_load(&vm->plan->image, &vm->mem, vm->plan->cmdline, x86_acpi_build(&acpi, &vm->mem), vm->cfg->boot.kaslr, &vm->entry, err, sizeof(err));
	if (r < 0) {
		log_msg(LOG_ERR, "%s", err);
	}
	/* Else the kernel's file would count as ours for as long as the guest runs: 60 MiB. */
	boot_close(&vm->plan->image);
	return r;
}

static int setup_vcpus(struct vm *vm)
{
	vm->bus = (struct vcpu_bus){.port_in = on_port_in, .port_out = on_port_out, .mmio_read = on_mmio_read,
		.mmio_write = on_mmio_write, .fault = on_vcpu_fault, .parked = on_vcpu_parked, .stats_opened = on_vcpu_stats_opened,
		.gone = on_vcpu_gone, .ctx = vm};
	for (unsigned i = 0; i < vm->cfg->machine.cpus; i++) {
		int r = vcpu_init(&vm->vcpu[i], &vm->kvm, i, &vm->bus);

		if (r < 0) {
			return r;
		}
		vm->nvcpus++;
		r = x86_vcpu_setup(&vm->vcpu[i], &vm->model, &vm->entry);
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

/* The file somebody asked for, and the log that is kept for every VM. */
static int setup_logs(struct vm *vm, struct stream *stream, struct stream_file *file, const char *path, struct stream_file *log,
	const char *log_path)
{
	const bool keep = vm->options->restarted;
	int r = path ? stream_file_open(file, &vm->loop, stream, path, keep, UINT64_MAX) : 0;
	int fd;

	if (r == 0 && log_path) {
		fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK | (keep ? 0 : O_TRUNC), 0600);
		if (fd >= 0) {
			stream_file_begin(log, &vm->loop, stream, fd, log_path, LOG_LIMIT);
		} else {
			/* Nobody has asked for it. */
			log_errno(LOG_INFO, errno, "%s: this log is not kept", log_path);
		}
	}
	return r;
}

/* Whoever uses the terminal: the last one attached that the guest has opened is shown. */
static int setup_streams(struct vm *vm)
{
	const struct config *cfg = vm->cfg;
	struct terminal_config config = {.in_fd = 0, .out_fd = 1, .message_fd = 2, .escape = cfg->console.escape,
		.hint = !vm->options->quiet && !vm->options->restarted, .on_kill = on_terminal_kill, .on_power_button = on_terminal_power_button, .ctx = vm};
	int r = 0;

	if (cfg->serial.type != CONSOLE_NONE) {
		r = setup_logs(vm, &vm->serial.stream, &vm->serial_file, cfg->serial.path, &vm->serial_log, vm->options->serial_log);
	}
	if (r == 0 && cfg->console.type != CONSOLE_NONE) {
		r = setup_logs(vm, &vm->console.stream, &vm->console_file, cfg->console.path, &vm->console_log, vm->options->console_log);
	}
	if (r == 0 && cfg->serial.type != CONSOLE_NONE) {
		boot_trace_watch(&vm->serial_trace, &vm->serial.stream);
	}
	if (r == 0 && cfg->console.type != CONSOLE_NONE) {
		boot_trace_watch(&vm->console_trace, &vm->console.stream);
	}
	if (r < 0 || (cfg->serial.type != CONSOLE_STDIO && cfg->console.type != CONSOLE_STDIO)) {
		return r;
	}
	r = terminal_open(&vm->terminal, &vm->loop, &config);
	if (r == 0 && cfg->serial.type == CONSOLE_STDIO) {
		terminal_attach(&vm->terminal, &vm->serial.stream);
	}
	if (r == 0 && cfg->console.type == CONSOLE_STDIO) {
		terminal_attach(&vm->terminal, &vm->console.stream);
	}
	return r;
}

static int start_vcpus(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		int r;

		__atomic_add_fetch(&vm->vcpus_running, 1, __ATOMIC_RELAXED);
		r = vcpu_start(&vm->vcpu[i]);
		if (r < 0) {
			__atomic_sub_fetch(&vm->vcpus_running, 1, __ATOMIC_RELAXED);
			return r;
		}
	}
	return 0;
}

/*
 * The end.
 */

static void print_tail(struct vm *vm)
{
	const struct stream *s = vm->console.stream.tail_total ? &vm->console.stream : &vm->serial.stream;
	bool is_good = vm->result->end == VM_END_POWEROFF || vm->result->end == VM_END_STOPPED ||
		(vm->result->end == VM_END_EXIT_PORT && vm->result->code == 0) ||
		vm->result->end == VM_END_PASSED || result_wants_restart(vm->result, vm->cfg);

	if (!is_good && !vm->options->quiet && s->tail_total) {
		fprintf(stderr, "tinyvmm: the last lines of the %s:\n", s->name);
		stream_print_tail(s, stderr, STREAM_TAIL_LINES);
	}
}

json_t *vm_virtio_stats(struct vm *vm)
{
	json_t *array = virtio_bus_stats(&vm->virtio), *entry;
	size_t i;

	json_array_foreach (array, i, entry) {
		const struct virtio_device *dev = vm->virtio.slot[json_integer_value(json_object_get(entry, "place"))].dev;

		for (unsigned b = 0; b < vm->nblks; b++) {
			if (dev == &vm->blk[b].base) {
				struct disk_counts c = disk_get_counts(vm->blk[b].disk);

				json_object_set_new(entry, "requests", json_integer((json_int_t)c.requests));
				json_object_set_new(entry, "enters", json_integer((json_int_t)c.enters));
			}
		}
	}
	return array;
}

static void print_stats(const struct vm *vm, const json_t *stats)
{
	int fd = stats && vm->options->stats_fd > 0 ? dup(vm->options->stats_fd) : -1;
	FILE *out = fd < 0 ? stderr : fdopen(fd, "a");

	if (out) {
		vm_stats_print(stats, out);
	}
	if (out && fd >= 0) {
		fclose(out);
	}
}

static void print_trace(struct vm *vm)
{
	int fd = vm->options->stats_fd > 0 ? dup(vm->options->stats_fd) : -1;
	FILE *out = fd < 0 ? stderr : fdopen(fd, "a");

	stream_detach(&vm->serial_trace.sink);
	stream_detach(&vm->console_trace.sink);
	if (out) {
		boot_trace_print(out);
	}
	if (out && fd >= 0) {
		fclose(out);
	}
}

static bool are_vcpus_gone(const struct vm *vm)
{
	return __atomic_load_n(&vm->vcpus_running, __ATOMIC_ACQUIRE) == 0;
}

/*
 * Stopping, in order. Whoever wanted the end only stored a reason and woke the loop; everything is done here, on the main thread.
 *
 *   1. vCPUs leave KVM_RUN. One may be waiting for a device on this loop, or for a reset that the host holds up: the bus stops waiting, and the loop serves on until the last thread has said that it is gone. Then they are joined. One that waits for the display may be as stuck as that.
 *   2. What the guest wrote last goes out, for as long as somebody reads it, but not for ever.
 *   3. A panic is found, if that was it. What the display shows is kept, where something went wrong. Viewers hear that this is the end. Devices are reset, each on its loop, so none holds a chain or a timer. Then the display's thread ends: what was asked of it comes back first.
 *   4. The terminal gets its mode back, and everything is closed and unmapped in the reverse order of its making; where the display's thread is stuck (vm_gpu_wait), only what it does not use, and the process has to end.
 *
 * It runs after a failed start too: each step accepts what has not been made.
 */
static void vm_stop(struct vm *vm)
{
	json_t *stats;
	bool are_gone;

	virtio_bus_stop(&vm->virtio);
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		vcpu_stop(&vm->vcpu[i]);
	}
	are_gone = vm_gpu_wait(vm, are_vcpus_gone);
	for (unsigned i = 0; are_gone && i < vm->nvcpus; i++) {
		vcpu_join(&vm->vcpu[i]);
	}
	/* The devices' threads are still there, and the terminal is not yet fit for lines. */
	stats = vm->options->stats && vm->nvcpus ? vm_stats_json(&vm->kvm, vm->vcpu, vm->nvcpus) : NULL;
	if (stats) {
		json_object_set_new(stats, "virtio", vm_virtio_stats(vm));
	}
	if (stats && vm->gpu) {
		json_object_set_new(stats, "gpu", vm_gpu_stats(vm));
	}
	vm_gpu_report(vm);

	if (vm->ports.serial) {
		serial_flush(&vm->serial);
	}
	if (vm->virtio.nslots && vm->cfg->console.type != CONSOLE_NONE) {
		console_flush(&vm->console);
	}
	if (vm->terminal.loop) {
		terminal_flush(&vm->terminal, FLUSH_PATIENCE_MS);
	}

	vm_end_find_panic(vm);
	vm_screen_save(vm);
	vm_view_stop(vm);
	virtio_bus_reset(&vm->virtio, &vm->loop);
	vm_gpu_stop(vm);
	terminal_close(&vm->terminal);
	stream_file_close(&vm->console_file, FLUSH_PATIENCE_MS);
	stream_file_close(&vm->serial_file, FLUSH_PATIENCE_MS);
	stream_file_close(&vm->console_log, FLUSH_PATIENCE_MS);
	stream_file_close(&vm->serial_log, FLUSH_PATIENCE_MS);
	/* The last half line is looked at too. */
	line_watch_detach(&vm->ctl.console_watch);
	line_watch_detach(&vm->ctl.serial_watch);
	vm_control_judge(vm);
	vm_screen_judged(vm);
	print_tail(vm);
	print_stats(vm, stats);
	print_trace(vm);
	json_decref(stats);
	vm_control_finish(vm);

	for (unsigned i = 0; i < vm->nblks; i++) {
		blk_finish(&vm->blk[i]);
	}
	if (vm_gpu_is_stuck(vm)) {
		vm_evdev_finish(vm);
		vm->result->is_stuck = true;
		return;
	}
	virtio_bus_finish(&vm->virtio);
	vm_gpu_finish(vm);
	vm_input_finish(vm);
	rng_finish(&vm->rng);
	console_finish(&vm->console);
	serial_finish(&vm->serial);
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		vcpu_finish(&vm->vcpu[i]);
	}
	x86_cpu_model_finish(&vm->model);
	if (vm->serial_irq_fd > 0) {
		close(vm->serial_irq_fd);
	}
	ged_finish(&vm->ged);
	kvm_close(&vm->kvm);
	ram_unmap(&vm->ram);
	loop_remove(&vm->signals);
	if (vm->signals.fd > 0) {
		close(vm->signals.fd);
	}
	loop_finish(&vm->loop);
}

/* What only the start has needed of the stack, configuration files and paths above all, would stay ours for as long as the VM runs. */
static void give_back_stack(void)
{
	const size_t most = 512u << 10, margin = 4u << 10; /* no start is deeper; what this call and the next may be in */
	const uintptr_t here = (uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)0xfff;

	/* The part that the stack has never reached is not mapped, which is said, and does no harm. */
	madvise((void *)(here - most), most - margin, MADV_DONTNEED);
}

void vm_run(struct plan *plan, const struct vm_options *options, struct vm_result *result)
{
	static const struct {
		int (*fn)(struct vm *vm);
		const char *mark; /* NULL: takes no time */
	} steps[] = {
		{setup_signals, NULL}, {setup_timers, NULL}, {setup_kvm, "VM made"}, {setup_memory, "guest memory mapped"}, {setup_ports, NULL}, {setup_virtio, "devices made"},
		{setup_boot, "kernel and initrds loaded"}, {setup_vcpus, "processors made"}, {setup_streams, NULL}, {vm_control_init, NULL}, {vm_view_init, "consoles and sockets served"},
	};
	/* One for each process: a guest's reset is an exec. */
	static struct vm this_vm;
	struct vm *vm = &this_vm;
	int r;

	*result = (struct vm_result){.end = VM_END_NONE};
	if (loop_init(&vm->loop) < 0) {
		result->end = VM_END_HOST;
		return;
	}
	vm->cfg = plan->cfg;
	vm->plan = plan;
	vm->options = options;
	vm->result = result;
	pthread_mutex_init(&vm->end_lock, NULL);

	r = 0;
	for (size_t i = 0; r == 0 && i < sizeof(steps) / sizeof(steps[0]); i++) {
		r = steps[i].fn(vm);
		if (steps[i].mark) {
			boot_trace_mark("%s", steps[i].mark);
		}
	}
	if (r == 0 && options->paused) {
		vm_pause(vm);
	}
	if (r == 0) {
		boot_trace_mark("guest: first instruction");
		r = start_vcpus(vm);
	}
	if (r < 0) {
		vm_end(vm, VM_END_HOST, 0, "%s", "");
	} else {
		vm_control_started(vm);
		give_back_stack();
	}
	loop_run(&vm->loop);
	result->run_ns = clock_now_ns() - vm->ctl.started_ns;
	result->first_frame_ns = vm->screen.first_ns > vm->ctl.started_ns ? vm->screen.first_ns - vm->ctl.started_ns : 0;
	vm_stop(vm);
	if (!result->is_stuck) {
		pthread_mutex_destroy(&vm->end_lock);
	}
}
