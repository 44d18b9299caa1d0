/* SPDX-License-Identifier: MIT */
#include "vmm/vcpu.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/kvm_stats.h"
#include "vmm/log.h"
#include "vmm/x86_vcpu.h"

#define STACK_LEN (256u << 10)

/* The run page of the calling vCPU thread, for the signal handler. */
static __thread struct kvm_run *this_run;

/* A signal between the check of the requests and KVM_RUN would be lost; immediate_exit makes that KVM_RUN return at once. */
static void leave_guest(int sig)
{
	(void)sig;
	if (this_run) {
		__atomic_store_n(&this_run->immediate_exit, 1, __ATOMIC_RELAXED);
	}
}

/* What vCPU threads block: all that the others do, but their signal. */
static sigset_t vcpu_mask;

void vcpu_init_signal(const sigset_t *blocked)
{
	struct sigaction sa = {.sa_handler = leave_guest};
	sigset_t set = *blocked, before;

	sigaction(VCPU_SIGNAL, &sa, NULL);
	sigaddset(&set, VCPU_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	sigorset(&vcpu_mask, &set, &before);
	sigdelset(&vcpu_mask, VCPU_SIGNAL);
}

int vcpu_init(struct vcpu *vcpu, struct kvm *kvm, unsigned index, const struct vcpu_bus *bus)
{
	void *run;
	int r;

	*vcpu = (struct vcpu){.index = index, .bus = bus};
	vcpu->fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (vcpu->fd < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "KVM_CREATE_VCPU %u", index);
		return r;
	}
	run = mmap(NULL, KVM_RUN_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED) {
		r = -errno;
		log_errno(LOG_ERR, r, "vCPU %u: run page", index);
		vcpu_finish(vcpu);
		return r;
	}
	vcpu->run = run;
	return 0;
}

void vcpu_finish(struct vcpu *vcpu)
{
	if (vcpu->run) {
		munmap(vcpu->run, KVM_RUN_LEN);
	}
	if (vcpu->stats_fd > 0) {
		close(vcpu->stats_fd);
	}
	if (vcpu->fd > 0) {
		close(vcpu->fd);
	}
	*vcpu = (struct vcpu){.fd = -1};
}

/* One writer: no locked instruction is needed, only that a reader never sees half a number. */
static void set_count(uint64_t *count, uint64_t value)
{
	__atomic_store_n(count, value, __ATOMIC_RELAXED);
}

/* Goes on with an access from its first value that is not done. */
static void continue_port(struct vcpu *vcpu)
{
	const struct vcpu_bus *bus = vcpu->bus;
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (; vcpu->port_done < run->io.count; vcpu->port_done++) {
		uint8_t *value = data + (size_t)vcpu->port_done * run->io.size;

		if (run->io.direction != KVM_EXIT_IO_OUT) {
			bus->port_in(bus->ctx, run->io.port, value, run->io.size);
		} else if (!bus->port_out(bus->ctx, run->io.port, value, run->io.size)) {
			vcpu->held = true;
			return;
		}
	}
	vcpu->held = false;
}

/* It always has been where KVM_RUN_LEN expects it. */
static bool is_data_mapped(const struct kvm_run *run)
{
	const uint64_t len = (uint64_t)run->io.size * run->io.count;

	return run->io.data_offset <= KVM_RUN_LEN && len <= KVM_RUN_LEN - run->io.data_offset;
}

static void do_port(struct vcpu *vcpu)
{
	uint64_t *count = vcpu->run->io.direction == KVM_EXIT_IO_OUT ? &vcpu->counts.port_out : &vcpu->counts.port_in;

	set_count(count, *count + 1);
	vcpu->port_done = 0;
	continue_port(vcpu);
}

static void do_mmio(struct vcpu *vcpu)
{
	const struct vcpu_bus *bus = vcpu->bus;
	struct kvm_run *run = vcpu->run;
	uint64_t *count = run->mmio.is_write ? &vcpu->counts.mmio_write : &vcpu->counts.mmio_read;

	set_count(count, *count + 1);
	if (run->mmio.is_write) {
		bus->mmio_write(bus->ctx, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	} else {
		bus->mmio_read(bus->ctx, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	}
}

static enum vcpu_fault system_event(const struct kvm_run *run, char *text, size_t len)
{
	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return VCPU_SYSTEM_SHUTDOWN;
	case KVM_SYSTEM_EVENT_RESET:
		return VCPU_SYSTEM_RESET;
	case KVM_SYSTEM_EVENT_CRASH:
		snprintf(text, len, "the guest reported a crash");
		return VCPU_SYSTEM_CRASH;
	default:
		snprintf(text, len, "system event %u from KVM", run->system_event.type);
		return VCPU_FAILED;
	}
}

/* An exit after which this vCPU cannot go on. */
static void report_fault(struct vcpu *vcpu, int run_errno)
{
	const struct kvm_run *run = vcpu->run;
	enum vcpu_fault fault = VCPU_FAILED;
	char text[160] = "", where[96];

	x86_vcpu_where(vcpu, where, sizeof(where));
	if (run_errno) {
		fault = VCPU_HOST_ERROR;
		snprintf(text, sizeof(text), "KVM_RUN: %s", strerror(run_errno));
	} else if (run->exit_reason == KVM_EXIT_SHUTDOWN) {
		fault = VCPU_TRIPLE_FAULT;
		snprintf(text, sizeof(text), "triple fault");
	} else if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT) {
		fault = system_event(run, text, sizeof(text));
	} else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY) {
		snprintf(text, sizeof(text), "the processor refused to enter the guest, hardware reason 0x%" PRIx64,
			(uint64_t)run->fail_entry.hardware_entry_failure_reason);
	} else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR && run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
		snprintf(text, sizeof(text), "KVM cannot emulate the guest's instruction");
	} else {
		snprintf(text, sizeof(text), "KVM gave up on the guest, exit reason %u", run->exit_reason);
	}
	vcpu->bus->fault(vcpu->bus->ctx, fault, text[0] ? strncat(text, where, sizeof(text) - strlen(text) - 1) : where);
}

static bool is_stopped(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->stop, __ATOMIC_ACQUIRE);
}

static bool is_paused(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->pause, __ATOMIC_SEQ_CST);
}

static void open_stats(struct vcpu *vcpu)
{
	if (__atomic_exchange_n(&vcpu->open_stats, false, __ATOMIC_ACQUIRE)) {
		if (vcpu->stats_fd <= 0) {
			__atomic_store_n(&vcpu->stats_fd, kvm_stats_open(vcpu->fd), __ATOMIC_RELEASE);
		}
		vcpu->bus->stats_opened(vcpu->bus->ctx);
	}
}

static void do_dump(struct vcpu *vcpu)
{
	if (__atomic_exchange_n(&vcpu->dump, false, __ATOMIC_ACQUIRE)) {
		x86_vcpu_dump(vcpu);
	}
}

/* Waits out of the guest until the VM ends, or, when it was only paused, until it goes on. */
static void wait_outside(struct vcpu *vcpu, bool only_paused)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, VCPU_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	while (!is_stopped(vcpu) && (!only_paused || is_paused(vcpu))) {
		int sig;

		do_dump(vcpu);
		open_stats(vcpu);
		sigwait(&set, &sig);
	}
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* Waits out of the guest until the device behind a port may have room, or somebody wants something. */
static void wait_for_room(struct vcpu *vcpu)
{
	bool again = false;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, VCPU_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	while (!is_stopped(vcpu) && !is_paused(vcpu)) {
		int sig;

		again = __atomic_exchange_n(&vcpu->retry, false, __ATOMIC_ACQ_REL);
		if (again) {
			break;
		}
		do_dump(vcpu);
		open_stats(vcpu);
		sigwait(&set, &sig);
	}
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (again) {
		continue_port(vcpu);
	}
}

/* True while the vCPU can go on. */
static bool do_exit(struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		if (!is_data_mapped(vcpu->run)) {
			report_fault(vcpu, EPROTO);
			return false;
		}
		do_port(vcpu);
		return true;
	case KVM_EXIT_MMIO:
		do_mmio(vcpu);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	default:
		report_fault(vcpu, 0);
		return false;
	}
}

static void run_guest(struct vcpu *vcpu)
{
	int r, err;

	while (!is_stopped(vcpu)) {
		if (is_paused(vcpu)) {
			__atomic_store_n(&vcpu->parked, true, __ATOMIC_SEQ_CST);
			vcpu->bus->parked(vcpu->bus->ctx);
			wait_outside(vcpu, true);
			/* Before the next look at pause: whoever pauses again meanwhile sees either this or is seen there. */
			__atomic_store_n(&vcpu->parked, false, __ATOMIC_SEQ_CST);
			continue;
		}
		if (vcpu->held) {
			wait_for_room(vcpu);
			continue;
		}
		r = ioctl(vcpu->fd, KVM_RUN, 0);
		err = errno;
		set_count(&vcpu->counts.runs, vcpu->counts.runs + 1);
		if (r == 0) {
			if (!do_exit(vcpu)) {
				wait_outside(vcpu, false);
			}
			continue;
		}
		if (err == EAGAIN) {
			continue;
		}
		if (err != EINTR) {
			report_fault(vcpu, err);
			wait_outside(vcpu, false);
			continue;
		}
		__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_RELAXED);
		do_dump(vcpu);
		open_stats(vcpu);
	}
}

static uint64_t us(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

/* Nobody can ask for a thread that is gone. */
static void keep_usage(struct vcpu *vcpu)
{
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage) == 0) {
		set_count(&vcpu->counts.cpu_us, us(usage.ru_utime) + us(usage.ru_stime));
		set_count(&vcpu->counts.waits, (uint64_t)usage.ru_nvcsw);
	}
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	char name[16];

	__atomic_store_n(&this_run, vcpu->run, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	prctl(PR_SET_NAME, name);
	/* What was asked for while the handler did not know the run page: no KVM_RUN will return for it. */
	do_dump(vcpu);
	open_stats(vcpu);
	run_guest(vcpu);
	/* Asked for just before the end, as for a guest that hangs. */
	do_dump(vcpu);
	keep_usage(vcpu);
	vcpu->bus->gone(vcpu->bus->ctx);
	return NULL;
}

int vcpu_start(struct vcpu *vcpu)
{
	pthread_attr_t attr;
	int r;

	/* The stack of the usual size is address space that a kernel with huge pages may fill with one. */
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_LEN);
	pthread_attr_setsigmask_np(&attr, &vcpu_mask);
	r = pthread_create(&vcpu->thread, &attr, vcpu_thread, vcpu);
	pthread_attr_destroy(&attr);
	if (r != 0) {
		log_errno(LOG_ERR, r, "vCPU %u: thread", vcpu->index);
		return -r;
	}
	vcpu->started = true;
	return 0;
}

static void kick(struct vcpu *vcpu)
{
	if (vcpu->started) {
		pthread_kill(vcpu->thread, VCPU_SIGNAL);
	}
}

void vcpu_stop(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->stop, true, __ATOMIC_RELEASE);
	kick(vcpu);
}

void vcpu_join(struct vcpu *vcpu)
{
	if (vcpu->started) {
		pthread_join(vcpu->thread, NULL);
		vcpu->started = false;
	}
}

void vcpu_pause(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->pause, true, __ATOMIC_SEQ_CST);
	kick(vcpu);
}

bool vcpu_is_parked(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->parked, __ATOMIC_SEQ_CST);
}

void vcpu_resume(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->pause, false, __ATOMIC_RELEASE);
	kick(vcpu);
}

void vcpu_retry(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->retry, true, __ATOMIC_RELEASE);
	kick(vcpu);
}

void vcpu_dump(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->dump, true, __ATOMIC_RELEASE);
	kick(vcpu);
}

pid_t vcpu_tid(const struct vcpu *vcpu)
{
	clockid_t clock = 0;

	/* A thread's clock has its number in it, as clock_gettime takes it. */
	return vcpu->started && pthread_getcpuclockid(vcpu->thread, &clock) == 0 ? ~(clock >> 3) : 0;
}

uint64_t vcpu_busy_ns(const struct vcpu *vcpu)
{
	unsigned long long ran = 0, waited = 0;
	char path[64];
	FILE *f;

	/* Time on the run queue counts: on a busy host a guest that spins may get little of a processor. */
	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", vcpu_tid(vcpu));
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%llu %llu", &ran, &waited) != 2) {
			ran = waited = 0;
		}
		fclose(f);
	}
	return ran + waited;
}

void vcpu_open_stats(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->open_stats, true, __ATOMIC_RELEASE);
	kick(vcpu);
}

int vcpu_stats_fd(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->stats_fd, __ATOMIC_ACQUIRE);
}

struct vcpu_counts vcpu_get_counts(const struct vcpu *vcpu)
{
	const struct vcpu_counts *c = &vcpu->counts;

	return (struct vcpu_counts){
		.runs = __atomic_load_n(&c->runs, __ATOMIC_RELAXED),
		.port_in = __atomic_load_n(&c->port_in, __ATOMIC_RELAXED),
		.port_out = __atomic_load_n(&c->port_out, __ATOMIC_RELAXED),
		.mmio_read = __atomic_load_n(&c->mmio_read, __ATOMIC_RELAXED),
		.mmio_write = __atomic_load_n(&c->mmio_write, __ATOMIC_RELAXED),
		.cpu_us = __atomic_load_n(&c->cpu_us, __ATOMIC_RELAXED),
		.waits = __atomic_load_n(&c->waits, __ATOMIC_RELAXED),
	};
}
