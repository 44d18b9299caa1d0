/* SPDX-License-Identifier: MIT */
/*
 * What makes a vCPU an x86 one: CPUID, model specific registers, the state the first vCPU starts with, and registers as text.
 */
#ifndef VMM_X86_VCPU_H
#define VMM_X86_VCPU_H

#include <stddef.h>
#include <stdint.h>

#include "boot/boot.h"
#include "vmm/vcpu.h"

struct kvm_cpuid2;
struct kvm_run;

/* What all vCPUs of a VM share: the host's CPUID as KVM can give it, and how many there are. */
struct x86_cpu_model {
	struct kvm_cpuid2 *cpuid; /* as KVM supports it; each vCPU gets a copy with its own numbers */
	unsigned ncpus;
};

/* Asks KVM. Return: 0 or -errno (logged). Thread: main. */
int x86_cpu_model_init(struct x86_cpu_model *model, struct kvm *kvm, unsigned ncpus);
void x86_cpu_model_finish(struct x86_cpu_model *model); /* accepts zeroed memory */

/**
 * x86_vcpu_setup - give a vCPU its CPUID and MSRs, and the first one its start state
 * @entry: where vCPU 0 starts; the others wait for INIT and SIPI
 * Return: 0 or -errno (logged). Thread: main, before vcpu_start.
 */
int x86_vcpu_setup(struct vcpu *vcpu, const struct x86_cpu_model *model, const struct boot_entry *entry);

/* The start state, in the page that KVM takes it from when it first runs the vCPU: no call is needed for it. Pure: for tests, and for x86_vcpu_setup. */
void x86_vcpu_set_entry(struct kvm_run *run, const struct boot_entry *entry);

/*
 * x86_cpuid_for - a vCPU's CPUID from what KVM supports, @tsc_khz 0 when it is not known
 *
 * One package of one-thread cores that share the last cache level; APIC id = @index. Adds the hypervisor's timing leaf, so that no
 * guest needs to measure a frequency. @out has room for X86_CPUID_MAX entries. Pure: for tests, and for x86_vcpu_setup.
 */
#define X86_CPUID_MAX 160
void x86_cpuid_for(struct kvm_cpuid2 *out, const struct x86_cpu_model *model, unsigned index, uint32_t tsc_khz);

/* The guest's time stamp counter, so that it does not see a pause. While the vCPU is parked. Return: 0 or -errno (logged). Thread: main. */
int x86_vcpu_get_tsc(const struct vcpu *vcpu, uint64_t *tsc);
int x86_vcpu_set_tsc(const struct vcpu *vcpu, uint64_t tsc);

/* ", rip 0x... cr3 0x...": for the line that reports a fault. Thread: the vCPU's. */
void x86_vcpu_where(const struct vcpu *vcpu, char *buf, size_t len);
/* Logs the registers. Thread: the vCPU's. */
void x86_vcpu_dump(const struct vcpu *vcpu);

#endif
