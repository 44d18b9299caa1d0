/* SPDX-License-Identifier: MIT */
/*
 * A virtual CPU: its KVM descriptor, its thread, and the loop of KVM_RUN and exits.
 *
 * A vCPU thread touches its own descriptor and its run page, and calls the bus for what the guest does with ports and device memory. It never touches
 * a queue, a device's state or the terminal.
 *
 * vcpu_init and vcpu_finish run on the main thread, the rest where it says.
 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/kvm.h"

struct kvm_run;

enum vcpu_fault {
	VCPU_TRIPLE_FAULT,
	VCPU_FAILED, /* KVM cannot go on with this guest: failed entry, instruction it cannot emulate */
	VCPU_HOST_ERROR, /* KVM_RUN itself failed */
	VCPU_SYSTEM_RESET,
	VCPU_SYSTEM_SHUTDOWN,
	VCPU_SYSTEM_CRASH,
};

/* What a vCPU's exits lead to. Called on vCPU threads, several at once. @len is 1, 2, 4 or 8. */
struct vcpu_bus {
	void (*port_in)(void *ctx, uint16_t port, void *dst, uint32_t len);
	/* False: whoever has this port has no room for it now. The vCPU stays out of the guest, hears requests, and offers the same again after vcpu_retry. */
	bool (*port_out)(void *ctx, uint16_t port, const void *src, uint32_t len);
	void (*mmio_read)(void *ctx, uint64_t gpa, void *dst, uint32_t len);
	void (*mmio_write)(void *ctx, uint64_t gpa, const void *src, uint32_t len);
	/* The guest cannot go on; @text says what and where. The vCPU waits for vcpu_stop afterwards. */
	void (*fault)(void *ctx, enum vcpu_fault fault, const char *text);
	/* vcpu_pause was heard: the thread is out of the guest and stays out until vcpu_resume or vcpu_stop. */
	void (*parked)(void *ctx);
	/* vcpu_open_stats was heard. */
	void (*stats_opened)(void *ctx);
	/* The thread's last act. */
	void (*gone)(void *ctx);
	void *ctx;
};

/* What a vCPU's thread has done. Written by it alone, with plain stores; others may be a little behind. */
struct vcpu_counts {
	uint64_t runs; /* times KVM_RUN returned, which is the thread's system calls */
	uint64_t port_in, port_out, mmio_read, mmio_write; /* returns because of these; a string instruction may be one */
	/* Set when the thread ends; 0 before. */
	uint64_t cpu_us;
	uint64_t waits; /* times it gave up the processor by itself */
};

struct vcpu {
	unsigned index; /* = APIC id */
	int fd;
	struct kvm_run *run;
	const struct vcpu_bus *bus;
	pthread_t thread;
	bool started;
	/* Requests to the thread, set from any other one, looked at when KVM_RUN returns early. */
	bool parked; /* out of the guest because of vcpu_pause (atomic) */
	bool stop, pause, dump, open_stats, retry;
	bool held; /* port_out had no room: the last exit is not finished */
	uint32_t port_done; /* values of it that are, where a string instruction writes several */
	int stats_fd; /* atomic; 0 until it was asked for, then a descriptor or -errno */
	struct vcpu_counts counts; /* vcpu_get_counts reads them */
};

/* Signal that makes a vCPU leave KVM_RUN; blocked in every other thread. */
#define VCPU_SIGNAL SIGRTMIN

/* Once, on the main thread before there are others: the handler of VCPU_SIGNAL. Blocks it, and @blocked, in this thread and those it starts; vCPU threads hear it. */
void vcpu_init_signal(const sigset_t *blocked);

/* Return: 0 or -errno (logged). The architecture's part (x86_vcpu.h) sets registers afterwards. */
int vcpu_init(struct vcpu *vcpu, struct kvm *kvm, unsigned index, const struct vcpu_bus *bus);
void vcpu_finish(struct vcpu *vcpu); /* accepts zeroed memory; the thread must have been joined */

/* Starts the thread. Return: 0 or -errno (logged). */
int vcpu_start(struct vcpu *vcpu);

/* Asks the thread to leave KVM_RUN and end; bus->gone follows. Thread: any; idempotent. */
void vcpu_stop(struct vcpu *vcpu);
void vcpu_join(struct vcpu *vcpu);

/* Asks the thread to leave KVM_RUN and wait; bus->parked follows. A thread that has met a fault never parks: its VM is ending.
 * Thread: any; idempotent. */
void vcpu_pause(struct vcpu *vcpu);
void vcpu_resume(struct vcpu *vcpu);
/* True from bus->parked until the thread has left its place; after vcpu_pause, true means that it does not enter the guest. Thread: any. */
bool vcpu_is_parked(const struct vcpu *vcpu);

/* The thread's number, as in /proc/self/task; 0 while there is none. Thread: who starts and joins it. */
pid_t vcpu_tid(const struct vcpu *vcpu);
/* Nanoseconds the thread has worked or wanted to, in the guest and outside; 0 when the kernel does not tell. Thread: who starts and joins it. */
uint64_t vcpu_busy_ns(const struct vcpu *vcpu);

/* Asks the thread to open KVM's counters of this vCPU; bus->stats_opened follows. They stay open. Thread: any; idempotent. */
void vcpu_open_stats(struct vcpu *vcpu);
/* For kvm_stats_read, which any thread may do; 0 while they are not open. Return: a descriptor, 0 or -errno. Thread: any. */
int vcpu_stats_fd(const struct vcpu *vcpu);

/* Thread: any. */
struct vcpu_counts vcpu_get_counts(const struct vcpu *vcpu);

/* A device has room again, or may have: what port_out refused is offered again. Thread: any. */
void vcpu_retry(struct vcpu *vcpu);

/* Asks the thread to log its registers. Thread: any. */
void vcpu_dump(struct vcpu *vcpu);

#endif
