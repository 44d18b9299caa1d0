/* SPDX-License-Identifier: MIT */
#include "vmm/kvm_probe.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/kvm.h"

#define PROBE_PORT 0xf4
#define PROBE_VALUE 0x2a
#define PAGE 0x1000

#define COUNT 0x200000u

/*
 * Real mode, at address 0: counts down from COUNT, and writes the product of 6 and 7 to the port. A processor counts as fast for a guest as for
 * this program; where somebody emulates the guest's instructions it takes a thousand times longer, and that is no KVM to boot a kernel on.
 */
static const uint8_t program[] = {
	0x66, 0xb9, COUNT & 0xff, COUNT >> 8 & 0xff, COUNT >> 16 & 0xff, COUNT >> 24, /* mov ecx, COUNT */
	0x66, 0x49, /* dec ecx */
	0x75, 0xfc, /* jnz back */
	0xb0, 6, 0xb3, 7, 0xf6, 0xe3, /* mov al, 6; mov bl, 7; mul bl */
	0xe6, PROBE_PORT, 0xf4, /* out PROBE_PORT, al; hlt */
};
#define SLOWER_MAX 50

static uint64_t count_here_ns(void)
{
	uint64_t start = clock_now_ns();

	for (volatile uint32_t i = COUNT; i > 0; i--) {
	}
	return clock_now_ns() - start + 1;
}

static int run_program(int vcpu_fd, struct kvm_run *run, char *why, size_t why_len)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = {.rip = 0, .rflags = 2};
	uint64_t start, ns, here;
	int r;

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) < 0) {
		return -errno;
	}
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu_fd, KVM_SET_REGS, &regs) < 0) {
		return -errno;
	}
	start = clock_now_ns();
	do {
		r = ioctl(vcpu_fd, KVM_RUN, 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0) {
		return -errno;
	}
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != PROBE_PORT ||
		((uint8_t *)run)[run->io.data_offset] != PROBE_VALUE) {
		snprintf(why, why_len, "/dev/kvm opens, but a guest's first instructions do not run (exit reason %u): "
			"the host's virtualisation is broken or incomplete", run->exit_reason);
		return -EIO;
	}
	ns = clock_now_ns() - start;
	here = count_here_ns();
	if (ns / here > SLOWER_MAX) {
		snprintf(why, why_len, "/dev/kvm emulates guest code instead of running it (%llu times slower): too slow for a kernel",
			(unsigned long long)(ns / here));
		return -EIO;
	}
	return 0;
}

static int probe_vm(struct kvm *kvm, uint8_t *page, char *why, size_t why_len)
{
	int vcpu_fd, r;
	void *run;

	memcpy(page, program, sizeof(program));
	r = kvm_add_memory(kvm, 0, page, PAGE);
	if (r < 0) {
		return r;
	}
	vcpu_fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, 0);
	if (vcpu_fd < 0) {
		return -errno;
	}
	run = mmap(NULL, kvm->run_len, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
	if (run == MAP_FAILED) {
		r = -errno;
	} else {
		r = run_program(vcpu_fd, run, why, why_len);
		munmap(run, kvm->run_len);
	}
	close(vcpu_fd);
	return r;
}

int kvm_probe(char *why, size_t why_len)
{
	struct kvm kvm;
	void *page;
	int r;

	why[0] = '\0';
	r = kvm_open(&kvm, why, why_len);
	if (r < 0) {
		return r;
	}
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	r = page == MAP_FAILED ? -errno : kvm_create_vm(&kvm, false);
	if (r == 0) {
		r = probe_vm(&kvm, page, why, why_len);
	}
	if (page != MAP_FAILED) {
		munmap(page, PAGE);
	}
	kvm_close(&kvm);
	if (r < 0 && why[0] == '\0') {
		snprintf(why, why_len, "/dev/kvm opens, but a VM cannot be made: %s", strerror(-r));
	}
	return r;
}
