/* SPDX-License-Identifier: MIT */
#include "vmm/x86_vcpu.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "boot/x86_layout.h"
#include "vmm/log.h"

#define CR0_PE 0x1ull
#define CR0_ET 0x10ull
#define CR0_PG 0x80000000ull
#define CR4_PAE 0x20ull
#define EFER_LME 0x100ull
#define EFER_LMA 0x400ull
#define APIC_BASE 0xfee00000ull
#define APIC_BASE_IS_BOOT 0x100ull
#define APIC_BASE_ENABLE 0x800ull

#define MSR_IA32_MISC_ENABLE 0x1a0
#define MSR_IA32_MISC_ENABLE_FAST_STRING 0x1
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLE_WRITE_BACK 0x806

/* KVM's local APIC counts nanoseconds. */
#define APIC_BUS_KHZ 1000000u

#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define CPUID_1_ECX_HYPERVISOR (1u << 31)
#define CPUID_1_EDX_HTT (1u << 28)

static size_t cpuid_bytes(unsigned n)
{
	return sizeof(struct kvm_cpuid2) + n * sizeof(struct kvm_cpuid_entry2);
}

int x86_cpu_model_init(struct x86_cpu_model *model, struct kvm *kvm, unsigned ncpus)
{
	int r;

	*model = (struct x86_cpu_model){.ncpus = ncpus};
	model->cpuid = calloc(1, cpuid_bytes(X86_CPUID_MAX));
	if (!model->cpuid) {
		return -ENOMEM;
	}
	/* Room for the few leaves x86_cpuid_for adds. */
	model->cpuid->nent = X86_CPUID_MAX - 8;
	if (ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, model->cpuid) < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "KVM_GET_SUPPORTED_CPUID");
		x86_cpu_model_finish(model);
		return r;
	}
	return 0;
}

void x86_cpu_model_finish(struct x86_cpu_model *model)
{
	free(model->cpuid);
	*model = (struct x86_cpu_model){.ncpus = 0};
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, uint32_t function)
{
	for (unsigned i = 0; i < c->nent; i++) {
		if (c->entries[i].function == function) {
			return &c->entries[i];
		}
	}
	return NULL;
}

static struct kvm_cpuid_entry2 *append(struct kvm_cpuid2 *c, uint32_t function)
{
	struct kvm_cpuid_entry2 *e = &c->entries[c->nent];

	assert(c->nent < X86_CPUID_MAX);
	c->nent++;
	*e = (struct kvm_cpuid_entry2){.function = function};
	return e;
}

static struct kvm_cpuid_entry2 *find_or_append(struct kvm_cpuid2 *c, uint32_t function)
{
	struct kvm_cpuid_entry2 *e = find(c, function);

	return e ? e : append(c, function);
}

/* Bits an APIC id needs for @ncpus. */
static unsigned id_bits(unsigned ncpus)
{
	unsigned bits = 0;

	while (1u << bits < ncpus) {
		bits++;
	}
	return bits;
}

/* Topology by leaf 0xb: level 0 one thread per core, level 1 all cores, level 2 the end. */
static void set_topology_leaf(struct kvm_cpuid2 *c, unsigned ncpus, unsigned index)
{
	const uint32_t shift[3] = {0, id_bits(ncpus), 0}, count[3] = {1, ncpus, 0}, type[3] = {1, 2, 0};

	for (uint32_t level = 0; level < 3; level++) {
		struct kvm_cpuid_entry2 *e = append(c, 0xb);

		e->index = level;
		e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		e->eax = shift[level];
		e->ebx = count[level];
		e->ecx = type[level] << 8 | level;
		e->edx = index;
	}
}

/* A cache's "shared by" field (leaf 4 and 0x8000001d): the last level by all, the others by nobody. */
static uint32_t cache_eax(uint32_t eax, unsigned ncpus)
{
	bool last_level = (eax >> 5 & 7) >= 3;

	return (eax & ~(0xfffu << 14)) | (last_level ? ncpus - 1 : 0) << 14;
}

static void adapt_entry(struct kvm_cpuid_entry2 *e, const struct x86_cpu_model *model, unsigned index)
{
	unsigned n = model->ncpus;

	switch (e->function) {
	case 0x1:
		e->ebx = (e->ebx & 0xffff) | (1u << id_bits(n)) << 16 | index << 24;
		/* KVM leaves the bit out because it does not know here whose local APIC it will be: ours is KVM's, which has that timer in every kernel that takes registers from the run page. */
		e->ecx |= CPUID_1_ECX_HYPERVISOR | CPUID_1_ECX_TSC_DEADLINE;
		e->edx = (e->edx & ~CPUID_1_EDX_HTT) | (n > 1 ? CPUID_1_EDX_HTT : 0);
		break;
	case 0x4:
		if (e->eax & 0x1f) {
			e->eax = (cache_eax(e->eax, n) & 0x03ffffff) | (n - 1) << 26;
		}
		break;
	case 0xa:
		/* No performance counters: with them Linux runs its watchdog on one, and an idle guest is never idle. */
		e->eax = e->ebx = e->ecx = e->edx = 0;
		break;
	case 0x80000008:
		e->ecx = (e->ecx & ~0xf0ffu) | id_bits(n) << 12 | (n - 1);
		break;
	case 0x8000001d:
		if (e->eax & 0x1f) {
			e->eax = cache_eax(e->eax, n);
		}
		break;
	case 0x8000001e:
		e->eax = index;
		e->ebx = (e->ebx & ~0xffffu) | index;
		e->ecx = 0;
		break;
	default:
		break;
	}
}

static void set_frequencies(struct kvm_cpuid2 *c, uint32_t tsc_khz)
{
	struct kvm_cpuid_entry2 *e = find(c, 0), *kvm = find(c, 0x40000000);
	bool intel = e && e->ebx == 0x756e6547; /* "Genu" */

	if (tsc_khz == 0) {
		return;
	}
	if (kvm) {
		kvm->eax = kvm->eax > 0x40000010 ? kvm->eax : 0x40000010;
		e = find_or_append(c, 0x40000010);
		e->eax = tsc_khz;
		e->ebx = APIC_BUS_KHZ;
	}
	if (!intel) {
		return;
	}
	/* TSC = crystal * ebx / eax; the crystal is what drives the APIC timer. */
	e = find_or_append(c, 0x15);
	e->eax = APIC_BUS_KHZ;
	e->ebx = tsc_khz;
	e->ecx = APIC_BUS_KHZ * 1000u;
	e->edx = 0;
	e = find_or_append(c, 0x16);
	e->eax = e->ebx = tsc_khz / 1000;
	e->ecx = 100;
	e->edx = 0;
	e = find(c, 0);
	e->eax = e->eax > 0x16 ? e->eax : 0x16;
}

void x86_cpuid_for(struct kvm_cpuid2 *out, const struct x86_cpu_model *model, unsigned index, uint32_t tsc_khz)
{
	const struct kvm_cpuid2 *in = model->cpuid;
	bool has_topology = false;

	*out = (struct kvm_cpuid2){.nent = 0};
	for (unsigned i = 0; i < in->nent; i++) {
		if (in->entries[i].function == 0xb || in->entries[i].function == 0x1f) {
			has_topology = true;
			continue;
		}
		out->entries[out->nent] = in->entries[i];
		adapt_entry(&out->entries[out->nent++], model, index);
	}
	if (has_topology) {
		set_topology_leaf(out, model->ncpus, index);
	}
	set_frequencies(out, tsc_khz);
}

static int vcpu_ioctl(struct vcpu *vcpu, unsigned long request, const char *name, void *arg)
{
	int r;

	if (ioctl(vcpu->fd, request, arg) < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "vCPU %u: %s", vcpu->index, name);
		return r;
	}
	return 0;
}

static int setup_cpuid(struct vcpu *vcpu, const struct x86_cpu_model *model)
{
	union {
		struct kvm_cpuid2 cpuid;
		uint8_t room[sizeof(struct kvm_cpuid2) + X86_CPUID_MAX * sizeof(struct kvm_cpuid_entry2)];
	} u;
	int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	x86_cpuid_for(&u.cpuid, model, vcpu->index, khz > 0 ? (uint32_t)khz : 0);
	return vcpu_ioctl(vcpu, KVM_SET_CPUID2, "KVM_SET_CPUID2", &u.cpuid);
}

static int setup_msrs(struct vcpu *vcpu)
{
	/* What firmware would have done: without the MTRR default Linux takes the memory types for broken and gives up PAT. */
	static const struct kvm_msr_entry entry[] = {
		{.index = MSR_IA32_MISC_ENABLE, .data = MSR_IA32_MISC_ENABLE_FAST_STRING},
		{.index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE_WRITE_BACK},
	};
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(entry)];
	} u = {.msrs.nmsrs = 2};
	int n;

	memcpy(u.msrs.entries, entry, sizeof(entry));
	n = ioctl(vcpu->fd, KVM_SET_MSRS, &u);
	if (n != 2) {
		log_msg(LOG_ERR, "vCPU %u: KVM_SET_MSRS: register 0x%x refused", vcpu->index,
			entry[n < 0 ? 0 : n].index);
		return -EINVAL;
	}
	return 0;
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type, bool long_code)
{
	return (struct kvm_segment){.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .s = 1,
		.db = !long_code, .l = long_code, .g = 1};
}

/* Whole, as after a reset but for the entry: nothing of it needs to be asked for. */
static struct kvm_sregs entry_sregs(bool long_mode)
{
	const struct kvm_segment data = flat_segment(X86_SELECTOR_DATA, 0x3, false);
	struct kvm_sregs s = {
		.cs = flat_segment(X86_SELECTOR_CODE, 0xb, long_mode),
		.ds = data,
		.es = data,
		.fs = data,
		.gs = data,
		.ss = data,
		.tr = {.limit = 0x67, .type = 0xb, .present = 1},
		.ldt = {.limit = 0xffff, .type = 0x2, .present = 1},
		.gdt = {.base = X86_GDT_GPA, .limit = X86_GDT_LIMIT},
		.cr0 = CR0_PE | CR0_ET,
		.apic_base = APIC_BASE | APIC_BASE_IS_BOOT | APIC_BASE_ENABLE,
	};

	if (long_mode) {
		s.cr0 |= CR0_PG;
		s.cr3 = X86_PAGE_TABLES_GPA;
		s.cr4 = CR4_PAE;
		s.efer = EFER_LME | EFER_LMA;
	}
	return s;
}

void x86_vcpu_set_entry(struct kvm_run *run, const struct boot_entry *entry)
{
	run->s.regs.regs = (struct kvm_regs){
		.rip = entry->rip, .rsp = entry->rsp, .rax = entry->rax, .rbx = entry->rbx, .rsi = entry->rsi, .rflags = 0x2};
	run->s.regs.sregs = entry_sregs(entry->mode == BOOT_LONG_MODE);
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
}

int x86_vcpu_setup(struct vcpu *vcpu, const struct x86_cpu_model *model, const struct boot_entry *entry)
{
	int r = setup_cpuid(vcpu, model);

	if (r == 0) {
		r = setup_msrs(vcpu);
	}
	if (r == 0 && vcpu->index == 0) {
		x86_vcpu_set_entry(vcpu->run, entry);
	}
	return r;
}

/* Those that KVM will have first of all when they have been set and it has not run since. */
static int get_registers(const struct vcpu *vcpu, struct kvm_regs *regs, struct kvm_sregs *sregs)
{
	if (vcpu->run->kvm_dirty_regs) {
		*regs = vcpu->run->s.regs.regs;
		*sregs = vcpu->run->s.regs.sregs;
		return 0;
	}
	return ioctl(vcpu->fd, KVM_GET_REGS, regs) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, sregs) < 0 ? -errno : 0;
}

void x86_vcpu_where(const struct vcpu *vcpu, char *buf, size_t len)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	buf[0] = '\0';
	if (get_registers(vcpu, &regs, &sregs) == 0) {
		snprintf(buf, len, " (vCPU %u, rip 0x%llx, cr3 0x%llx)", vcpu->index, regs.rip, sregs.cr3);
	}
}

void x86_vcpu_dump(const struct vcpu *vcpu)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	if (get_registers(vcpu, &r, &s) < 0) {
		log_msg(LOG_WARN, "vCPU %u: no registers", vcpu->index);
		return;
	}
	log_msg(LOG_WARN, "vCPU %u: rip %016llx rsp %016llx flags %08llx cs %04x cpl %u", vcpu->index, r.rip, r.rsp, r.rflags,
		s.cs.selector, s.cs.selector & 3);
	log_msg(LOG_WARN, "vCPU %u: rax %016llx rbx %016llx rcx %016llx rdx %016llx", vcpu->index, r.rax, r.rbx, r.rcx, r.rdx);
	log_msg(LOG_WARN, "vCPU %u: rsi %016llx rdi %016llx rbp %016llx r8  %016llx", vcpu->index, r.rsi, r.rdi, r.rbp, r.r8);
	log_msg(LOG_WARN, "vCPU %u: cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %04llx", vcpu->index, s.cr0, s.cr2,
		s.cr3, s.cr4, s.efer);
}

#define MSR_IA32_TSC 0x10u

/* One register with its header: the header ends in an array of no length. */
union one_msr {
	struct kvm_msrs head;
	struct {
		uint8_t room[sizeof(struct kvm_msrs)];
		struct kvm_msr_entry entry;
	} at;
};

static int tsc_ioctl(const struct vcpu *vcpu, unsigned long request, union one_msr *msr)
{
	/* The number of registers done, so 1. */
	int r = ioctl(vcpu->fd, request, msr);

	if (r != 1) {
		r = r < 0 ? -errno : -EINVAL;
		log_errno(LOG_ERR, r, "vCPU %u: time stamp counter", vcpu->index);
		return r;
	}
	return 0;
}

int x86_vcpu_get_tsc(const struct vcpu *vcpu, uint64_t *tsc)
{
	union one_msr msr = {.at.entry.index = MSR_IA32_TSC};
	int r;

	msr.head.nmsrs = 1;
	r = tsc_ioctl(vcpu, KVM_GET_MSRS, &msr);

	*tsc = msr.at.entry.data;
	return r;
}

int x86_vcpu_set_tsc(const struct vcpu *vcpu, uint64_t tsc)
{
	union one_msr msr = {.at.entry = {.index = MSR_IA32_TSC, .data = tsc}};

	msr.head.nmsrs = 1;
	return tsc_ioctl(vcpu, KVM_SET_MSRS, &msr);
}
