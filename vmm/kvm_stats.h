/* SPDX-License-Identifier: MIT */
/*
 * KVM's own counters of a VM or a vCPU, in the binary format of KVM_GET_STATS_FD (Linux 5.14 and later): exits, interrupts, pages.
 *
 * What is counted depends on the host's kernel; names are taken as they come. Histograms are left out.
 * Spec: Linux Documentation/virt/kvm/api.rst, 4.133 "KVM_GET_STATS_FD".
 *
 * Thread: any.
 */
#ifndef VMM_KVM_STATS_H
#define VMM_KVM_STATS_H

#include <stddef.h>
#include <stdint.h>

enum kvm_stats_kind {
	KVM_STATS_COUNTER, /* only grows */
	KVM_STATS_LEVEL, /* what it is now */
	KVM_STATS_PEAK, /* the highest it has been */
};

/* @name lives as long as the call. */
typedef void kvm_stats_fn(void *ctx, const char *name, enum kvm_stats_kind kind, uint64_t value);

/**
 * kvm_stats_parse - call @fn for each single value in @len bytes as a statistics descriptor gives them
 * @buf: of any alignment
 * Return: 0, or -EPROTO when the bytes contradict themselves; @fn has been called for what came before.
 */
int kvm_stats_parse(const void *buf, size_t len, kvm_stats_fn *fn, void *ctx);

/**
 * kvm_stats_open - a descriptor for the counters of a VM or a vCPU
 *
 * A vCPU's is not to be asked for by another thread while the vCPU may run: KVM makes that wait until KVM_RUN returns, which in an idle guest is never.
 * Return: a descriptor, -ENOTTY where the kernel is too old, or another -errno. Nothing is logged.
 */
int kvm_stats_open(int vm_or_vcpu_fd);

/* kvm_stats_parse of what such a descriptor tells now. Return: 0 or -errno. Nothing is logged. */
int kvm_stats_read(int stats_fd, kvm_stats_fn *fn, void *ctx);

#endif
