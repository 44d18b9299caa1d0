/* SPDX-License-Identifier: MIT */
/* CPUID as guests see it, from invented hosts, and the state they start in: no KVM needed. */
#include "vmm/x86_vcpu.h"

#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static size_t cpuid_bytes(void)
{
	return sizeof(struct kvm_cpuid2) + X86_CPUID_MAX * sizeof(struct kvm_cpuid_entry2);
}

static const struct kvm_cpuid_entry2 intel_host[] = {
	{.function = 0, .eax = 0xd, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69},
	{.function = 1, .ebx = 0xff100800, .ecx = 0x200000},
	{.function = 4, .index = 0, .eax = 0x1c004121},
	{.function = 4, .index = 3, .eax = 0x1c03c163},
	{.function = 4, .index = 4, .eax = 0},
	{.function = 0xa, .eax = 0x08300805, .ebx = 1, .edx = 0x603},
	{.function = 0xb, .index = 0, .eax = 1, .ebx = 2, .ecx = 0x100},
	{.function = 0xb, .index = 1, .eax = 5, .ebx = 16, .ecx = 0x201},
	{.function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b, .ecx = 0x564b4d56, .edx = 0x4d},
	{.function = 0x40000001, .eax = 0x0100007b},
	{.function = 0x80000008, .eax = 0x3028},
};

static const struct kvm_cpuid_entry2 amd_host[] = {
	{.function = 0, .eax = 0xd, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65},
	{.function = 1, .ebx = 0x00100800, .ecx = 0x200000},
	{.function = 0x80000008, .eax = 0x3028, .ecx = 0x7007},
	{.function = 0x8000001d, .index = 3, .eax = 0x0001c163},
	{.function = 0x8000001e, .eax = 9, .ebx = 0x104, .ecx = 0x100},
};

struct fixture {
	struct x86_cpu_model model;
	struct kvm_cpuid2 *out;
};

static struct fixture make(const struct kvm_cpuid_entry2 *entries, unsigned n, unsigned ncpus)
{
	struct fixture f = {.model = {.cpuid = calloc(1, cpuid_bytes()), .ncpus = ncpus}};

	f.out = calloc(1, cpuid_bytes());
	f.model.cpuid->nent = n;
	for (unsigned i = 0; i < n; i++) {
		f.model.cpuid->entries[i] = entries[i];
	}
	return f;
}

static void drop(struct fixture *f)
{
	free(f->model.cpuid);
	free(f->out);
}

static const struct kvm_cpuid_entry2 *leaf(const struct fixture *f, uint32_t function, uint32_t index)
{
	for (unsigned i = 0; i < f->out->nent; i++) {
		if (f->out->entries[i].function == function && f->out->entries[i].index == index) {
			return &f->out->entries[i];
		}
	}
	return NULL;
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_x86_cpuid_for_gives_each_vcpu_its_apic_id(void **state)
{
	struct fixture f = make(intel_host, COUNT(intel_host), 4);

	(void)state;
	x86_cpuid_for(f.out, &f.model, 3, 0);
	assert_int_equal(leaf(&f, 1, 0)->ebx >> 24, 3);
	assert_int_equal(leaf(&f, 1, 0)->ebx >> 16 & 0xff, 4);
	assert_int_equal(leaf(&f, 1, 0)->ebx & 0xffff, 0x0800);
	for (uint32_t level = 0; level < 3; level++) {
		assert_int_equal(leaf(&f, 0xb, level)->edx, 3);
	}
	drop(&f);
}

static void test_x86_cpuid_for_describes_one_package_of_single_threads(void **state)
{
	struct fixture f = make(intel_host, COUNT(intel_host), 5);

	(void)state;
	x86_cpuid_for(f.out, &f.model, 0, 0);
	assert_int_equal(leaf(&f, 0xb, 0)->ebx, 1);
	assert_int_equal(leaf(&f, 0xb, 0)->eax, 0);
	assert_int_equal(leaf(&f, 0xb, 1)->ebx, 5);
	assert_int_equal(leaf(&f, 0xb, 1)->eax, 3);
	assert_int_equal(leaf(&f, 0xb, 2)->ebx, 0);
	assert_int_equal(leaf(&f, 4, 0)->eax >> 14 & 0xfff, 0);
	assert_int_equal(leaf(&f, 4, 3)->eax >> 14 & 0xfff, 4);
	assert_int_equal(leaf(&f, 4, 0)->eax >> 26, 4);
	assert_int_equal(leaf(&f, 4, 4)->eax, 0);
	assert_true(leaf(&f, 1, 0)->edx & 1u << 28);
	drop(&f);
}

static void test_x86_cpuid_for_one_cpu_has_no_htt(void **state)
{
	struct fixture f = make(intel_host, COUNT(intel_host), 1);

	(void)state;
	x86_cpuid_for(f.out, &f.model, 0, 0);
	assert_false(leaf(&f, 1, 0)->edx & 1u << 28);
	assert_int_equal(leaf(&f, 0xb, 1)->eax, 0);
	drop(&f);
}

static void test_x86_cpuid_for_offers_the_deadline_timer(void **state)
{
	struct fixture f = make(intel_host, COUNT(intel_host), 1);

	(void)state;
	x86_cpuid_for(f.out, &f.model, 0, 0);
	assert_true(leaf(&f, 1, 0)->ecx & 1u << 24);
	assert_true(leaf(&f, 1, 0)->ecx & 1u << 31);
	drop(&f);
}

static void test_x86_cpuid_for_tells_frequencies(void **state)
{
	struct fixture f = make(intel_host, COUNT(intel_host), 1);
	const struct kvm_cpuid_entry2 *e;

	(void)state;
	x86_cpuid_for(f.out, &f.model, 0, 2400000);
	e = leaf(&f, 0x40000010, 0);
	assert_int_equal(e->eax, 2400000);
	assert_int_equal(e->ebx, 1000000);
	assert_int_equal(leaf(&f, 0x40000000, 0)->eax, 0x40000010);
	e = leaf(&f, 0x15, 0);
	assert_int_equal((uint64_t)e->ecx * e->ebx / e->eax, 2400000000u);
	assert_int_equal(leaf(&f, 0x16, 0)->eax, 2400);
	assert_int_equal(leaf(&f, 0, 0)->eax, 0x16);
	drop(&f);
}

static void test_x86_cpuid_for_unknown_frequency_invents_none(void **state)
{
	struct fixture f = make(intel_host, COUNT(intel_host), 1);

	(void)state;
	x86_cpuid_for(f.out, &f.model, 0, 0);
	assert_null(leaf(&f, 0x40000010, 0));
	assert_null(leaf(&f, 0x15, 0));
	assert_int_equal(leaf(&f, 0, 0)->eax, 0xd);
	drop(&f);
}

static void test_x86_cpuid_for_amd_has_its_own_leaves(void **state)
{
	struct fixture f = make(amd_host, COUNT(amd_host), 4);

	(void)state;
	x86_cpuid_for(f.out, &f.model, 2, 3000000);
	assert_int_equal(leaf(&f, 0x80000008, 0)->ecx, 0x2003);
	assert_int_equal(leaf(&f, 0x8000001d, 3)->eax >> 14 & 0xfff, 3);
	assert_int_equal(leaf(&f, 0x8000001e, 0)->eax, 2);
	assert_int_equal(leaf(&f, 0x8000001e, 0)->ebx, 2);
	assert_int_equal(leaf(&f, 0x8000001e, 0)->ecx, 0);
	assert_null(leaf(&f, 0x15, 0));
	assert_null(leaf(&f, 0xb, 0));
	drop(&f);
}

static void test_x86_cpuid_for_hides_performance_counters(void **state)
{
	struct fixture f = make(intel_host, COUNT(intel_host), 1);

	(void)state;
	x86_cpuid_for(f.out, &f.model, 0, 0);
	assert_int_equal(leaf(&f, 0xa, 0)->eax, 0);
	assert_int_equal(leaf(&f, 0xa, 0)->edx, 0);
	drop(&f);
}

static struct kvm_run *entered(bool long_mode)
{
	const struct boot_entry entry = {.mode = long_mode ? BOOT_LONG_MODE : BOOT_PROTECTED_MODE, .rip = 0x1000200, .rsp = 0x8ff0, .rax = 1, .rbx = 2, .rsi = 0x7000};
	struct kvm_run *run = calloc(1, sizeof(*run));

	x86_vcpu_set_entry(run, &entry);
	return run;
}

static void test_x86_vcpu_set_entry_has_all_that_kvm_takes(void **state)
{
	struct kvm_run *run = entered(false);
	const struct kvm_sregs *s = &run->s.regs.sregs;

	(void)state;
	assert_int_equal(run->kvm_dirty_regs, KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS);
	assert_int_equal(run->s.regs.regs.rip, 0x1000200);
	assert_int_equal(run->s.regs.regs.rsp, 0x8ff0);
	assert_int_equal(run->s.regs.regs.rax, 1);
	assert_int_equal(run->s.regs.regs.rbx, 2);
	assert_int_equal(run->s.regs.regs.rsi, 0x7000);
	assert_int_equal(run->s.regs.regs.rflags, 0x2);
	/* The local APIC is on, and this is the processor that boots: nobody else says so. */
	assert_int_equal(s->apic_base, 0xfee00900);
	assert_int_equal(s->cr0, 0x11);
	assert_int_equal(s->cr3, 0);
	assert_int_equal(s->efer, 0);
	assert_true(s->cs.db && !s->cs.l && s->cs.present && s->tr.present && s->ldt.present);
	assert_int_equal(s->idt.limit, 0);
	free(run);
}

static void test_x86_vcpu_set_entry_of_a_64_bit_kernel_has_page_tables(void **state)
{
	struct kvm_run *run = entered(true);
	const struct kvm_sregs *s = &run->s.regs.sregs;

	(void)state;
	assert_true(s->cs.l && !s->cs.db && s->ds.db);
	assert_int_equal(s->cr0, 0x80000011);
	assert_int_not_equal(s->cr3, 0);
	assert_int_equal(s->cr4, 0x20);
	assert_int_equal(s->efer, 0x500);
	free(run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_x86_cpuid_for_gives_each_vcpu_its_apic_id),
		cmocka_unit_test(test_x86_cpuid_for_describes_one_package_of_single_threads),
		cmocka_unit_test(test_x86_cpuid_for_one_cpu_has_no_htt),
		cmocka_unit_test(test_x86_cpuid_for_offers_the_deadline_timer),
		cmocka_unit_test(test_x86_cpuid_for_tells_frequencies),
		cmocka_unit_test(test_x86_vcpu_set_entry_has_all_that_kvm_takes),
		cmocka_unit_test(test_x86_vcpu_set_entry_of_a_64_bit_kernel_has_page_tables),
		cmocka_unit_test(test_x86_cpuid_for_unknown_frequency_invents_none),
		cmocka_unit_test(test_x86_cpuid_for_amd_has_its_own_leaves),
		cmocka_unit_test(test_x86_cpuid_for_hides_performance_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
