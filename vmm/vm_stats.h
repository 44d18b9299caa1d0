/* SPDX-License-Identifier: MIT */
/*
 * What a VM has cost, as one JSON object; for `run --stats` and the control socket's `stats`. Nothing is measured for it but the plain
 * counters of vcpu.h: the rest is read when somebody asks.
 *
 *   vm        KVM's counters of the VM (kvm_stats.h)
 *   vcpus     those of its vCPUs, added up
 *   vcpu      an array: returns to user space by reason (each a system call, KVM_RUN), CPU time and waits of each vCPU's thread
 *   threads   an array: CPU time, waits and system calls of every other thread: those that read and those that write, which the kernel
 *             counts for everybody. What it does not count by itself (epoll_wait, io_uring_enter) is for tests/bench.
 *   virtio    added by the caller, an array: kicks (the guest's stores to QueueNotify), turns of the device's loop for them, interrupts; of a disk also its requests and the
 *             system calls that handed them to io_uring
 *   gpu       only where there is one, added by the caller: vm_gpu.h
 *   process   CPU time, page faults and the largest resident memory of all of it
 *
 * Counters that are 0 are left out of the first two; both are missing where the kernel has none (before Linux 5.14). CPU time is in
 * microseconds; a wait is a thread that gave up the processor by itself.
 *
 * Thread: the main thread.
 */
#ifndef VMM_VM_STATS_H
#define VMM_VM_STATS_H

#include <jansson.h>
#include <stdio.h>

#include "vmm/kvm.h"
#include "vmm/vcpu.h"

#define VM_STATS_THREADS_MAX 20 /* others than vCPUs that are listed one by one */

/* The counters of a VM and its @nvcpus vCPUs: each is joined, or has answered vcpu_open_stats. Return: a new reference, or NULL when there is no memory. */
json_t *vm_stats_json(const struct kvm *kvm, const struct vcpu *vcpu, unsigned nvcpus);

/* As text, a line `tinyvmm: stats GROUP: NAME=VALUE ...` for each object. @stats may be NULL. */
void vm_stats_print(const json_t *stats, FILE *out);

#endif
