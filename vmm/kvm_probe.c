/* SPDX-License-Identifier: MIT */
#include "vmm/kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
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

#define COUNT 0x40000u

/*
 * Real mode, at address 0: counts down from COUNT, and writes the product of 6 and 7 to the port, for ever. A processor counts as fast for a guest as
 * for this program; where somebody emulates the guest's instructions it takes a thousand times longer, and that is no KVM to boot a kernel on.
 */
static const uint8_t program[] = {
	0x66, 0xb9, COUNT & 0xff, COUNT >> 8 & 0xff, COUNT >> 16 & 0xff, COUNT >> 24, /* mov ecx, COUNT */
	0x66, 0x49, /* dec ecx */
	0x75, 0xfc, /* jnz back */
	0xb0, 6, 0xb3, 7, 0xf6, 0xe3, /* mov al, 6; mov bl, 7; mul bl */
	0xe6, PROBE_PORT, 0xeb, 0xec, /* out PROBE_PORT, al; jmp 0 */
};
#define SLOWER_MAX 50
/*
 * A count is a fraction of a millisecond, and on a busy machine any one may be interrupted for much longer: what counts is the fastest. One fast count of the guest
 * is proof, so more than one is for those who look slow, and for them not without end.
 */
#define TRIES_MAX 16
#define TRIES_MIN 3
#define TRIES_NS (2 * CLOCK_NS_PER_S)

static uint64_t count_here_ns(void)
{
	uint64_t start = clock_now_ns();

	for (volatile uint32_t i = COUNT; i > 0; i--) {
	}
	return clock_now_ns() - start + 1;
}

/* Return: 0 when the guest counted and multiplied, or -errno, with @why or without. */
static int count_in_guest(int vcpu_fd, struct kvm_run *run, uint64_t *ns, char *why, size_t why_len)
{
	uint64_t start = clock_now_ns();
	int r;

	do {
		r = ioctl(vcpu_fd, KVM_RUN, 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0) {
		return -errno;
	}
	*ns = clock_now_ns() - start;
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != PROBE_PORT || run->io.data_offset >= KVM_RUN_LEN ||
		((uint8_t *)run)[run->io.data_offset] != PROBE_VALUE) {
		snprintf(why, why_len, "/dev/kvm opens, but a guest's first instructions do not run (exit reason %u): "
			"the host's virtualisation is broken or incomplete", run->exit_reason);
		return -EIO;
	}
	return 0;
}

int kvm_probe_speed(int vcpu_fd, struct kvm_run *run, char *why, size_t why_len)
{
	uint64_t start = clock_now_ns(), guest = UINT64_MAX, here = UINT64_MAX;

	for (unsigned i = 0; i < TRIES_MAX && (i < TRIES_MIN || clock_now_ns() - start < TRIES_NS); i++) {
		uint64_t ns = 0, own = count_here_ns();
		int r = count_in_guest(vcpu_fd, run, &ns, why, why_len);

		if (r < 0) {
			return r;
		}
		guest = ns < guest ? ns : guest;
		here = own < here ? own : here;
		if (guest / here <= SLOWER_MAX) {
			return 0;
		}
	}
	snprintf(why, why_len, "/dev/kvm emulates guest code instead of running it (%llu times slower): too slow for a kernel",
		(unsigned long long)(guest / here));
	return -EIO;
}

static int run_program(int vcpu_fd, struct kvm_run *run, char *why, size_t why_len)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = {.rip = 0, .rflags = 2};

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) < 0) {
		return -errno;
	}
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu_fd, KVM_SET_REGS, &regs) < 0) {
		return -errno;
	}
	return kvm_probe_speed(vcpu_fd, run, why, why_len);
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
	run = mmap(NULL, KVM_RUN_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
	if (run == MAP_FAILED) {
		r = -errno;
	} else {
		r = run_program(vcpu_fd, run, why, why_len);
		munmap(run, KVM_RUN_LEN);
	}
	close(vcpu_fd);
	return r;
}

/* What every VM uses. Return: 0, or -ENOSYS with @why. */
static int check_extensions(const struct kvm *kvm, char *why, size_t why_len)
{
	static const struct {
		int number;
		const char *name;
	} needed[] = {
		{KVM_CAP_IRQCHIP, "IRQCHIP"}, {KVM_CAP_USER_MEMORY, "USER_MEMORY"}, {KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR"}, {KVM_CAP_EXT_CPUID, "EXT_CPUID"},
		{KVM_CAP_SET_IDENTITY_MAP_ADDR, "SET_IDENTITY_MAP_ADDR"}, {KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK"}, {KVM_CAP_IRQFD, "IRQFD"}, {KVM_CAP_IOEVENTFD, "IOEVENTFD"},
		{KVM_CAP_IOEVENTFD_ANY_LENGTH, "IOEVENTFD_ANY_LENGTH"}, {KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT"},
	};
	char names[200] = "";

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (ioctl(kvm->fd, KVM_CHECK_EXTENSION, needed[i].number) <= 0) {
			size_t len = strlen(names);

			snprintf(names + len, sizeof(names) - len, " %s", needed[i].name);
		}
	}
	if (names[0]) {
		snprintf(why, why_len, "/dev/kvm lacks what a VM needs (KVM_CAP:%s): a newer kernel", names);
		return -ENOSYS;
	}
	return 0;
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
	if (r == 0) {
		r = check_extensions(&kvm, why, why_len);
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

int kvm_probe_options(const char *path, struct kvm_probe_options *o)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), r = fd < 0 ? -errno : 0, cpus;

	if (fd < 0) {
		return r;
	}
	cpus = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (cpus <= 0) {
		r = -ENOTTY;
	} else {
		*o = (struct kvm_probe_options){.cpus = (unsigned)cpus,
			.tsc_deadline = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
			.pit = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_PIT2) > 0};
	}
	close(fd);
	return r;
}
