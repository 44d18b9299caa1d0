/* SPDX-License-Identifier: MIT */
/*
 * The host's KVM: opening it, making one VM, giving it memory, interrupt lines and doorbells.
 *
 * Only the files around this one and vcpu.h include <linux/kvm.h>; everyone else sees these functions.
 *
 * Thread: the main thread, before vCPUs run.
 */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is mapped of a vCPU: its run page, and the next one, where the data of a port is on x86. What KVM has behind them is for what is not used here. */
#define KVM_RUN_LEN 8192u

struct kvm {
	int fd; /* /dev/kvm */
	int vm_fd;
	unsigned nslots; /* memory slots in use */
};

/**
 * kvm_open - open /dev/kvm and see whether it is a KVM this program can use
 * @why, @why_len: on failure what is wrong and what to do about it, one line
 * Return: 0 or -errno. Nothing is logged: `doctor` and `run` each say it in their own way.
 */
int kvm_open(struct kvm *kvm, char *why, size_t why_len);

/**
 * kvm_create_vm - the VM, its interrupt controllers and KVM's own pages
 * @pit: also an i8254, for kernels that boot without ACPI (Multiboot)
 * Return: 0 or -errno (logged).
 */
int kvm_create_vm(struct kvm *kvm, bool pit);

/* Closes what is open; accepts zeroed memory. */
void kvm_close(struct kvm *kvm);

/* Guest memory at @gpa, page-aligned; the mapping stays the caller's until kvm_close. Return: 0 or -errno (logged). */
int kvm_add_memory(struct kvm *kvm, uint64_t gpa, void *hva, uint64_t len);

/* The same, and the guest can only read it: its stores exit as if there were no memory. The caller's own stores are seen by the guest at once. */
int kvm_add_readonly_memory(struct kvm *kvm, uint64_t gpa, void *hva, uint64_t len);

/* An edge on @gsi whenever the eventfd @fd is written. Return: 0 or -errno (logged). */
int kvm_add_irqfd(struct kvm *kvm, int fd, uint32_t gsi);

/* The level of interrupt line @gsi. Return: 0 or -errno (logged). Thread: any. */
int kvm_set_irq_line(struct kvm *kvm, uint32_t gsi, bool high);

/* The eventfd @fd is written whenever the guest stores to @gpa, any width, any value. Return: 0 or -errno (logged). */
int kvm_add_ioeventfd(struct kvm *kvm, int fd, uint64_t gpa);
/* The same for a store of 4 bytes that are @value; any other store exits. */
int kvm_add_ioeventfd_value(struct kvm *kvm, int fd, uint64_t gpa, uint32_t value);

/* The guest's kvm-clock, nanoseconds. Return: 0 or -errno (logged). */
int kvm_get_clock(struct kvm *kvm, uint64_t *ns);
int kvm_set_clock(struct kvm *kvm, uint64_t ns);

#endif
