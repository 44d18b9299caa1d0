/* SPDX-License-Identifier: MIT */
#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "boot/x86_layout.h"
#include "vmm/log.h"

static void say_why_not_opened(int err, char *why, size_t why_len)
{
	const char *fix = "";

	if (err == ENOENT) {
		fix = ": load the module kvm_intel or kvm_amd, or enable virtualisation in the firmware (or nested, in the host)";
	} else if (err == EACCES || err == EPERM) {
		fix = ": usermod -aG kvm $USER, and log in again";
	} else if (err == ENODEV || err == ENXIO) {
		fix = ": the module is gone: modprobe kvm_intel or kvm_amd";
	}
	snprintf(why, why_len, "/dev/kvm: %s%s", strerror(err), fix);
}

int kvm_open(struct kvm *kvm, char *why, size_t why_len)
{
	int r;

	*kvm = (struct kvm){.fd = -1, .vm_fd = -1};
	kvm->fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm->fd < 0) {
		r = -errno;
		say_why_not_opened(-r, why, why_len);
		return r;
	}
	return 0;
}

void kvm_close(struct kvm *kvm)
{
	if (kvm->vm_fd > 0) {
		close(kvm->vm_fd);
	}
	if (kvm->fd > 0) {
		close(kvm->fd);
	}
	*kvm = (struct kvm){.fd = -1, .vm_fd = -1};
}

static int vm_ioctl(struct kvm *kvm, unsigned long request, const char *name, void *arg)
{
	int r;

	if (ioctl(kvm->vm_fd, request, arg) < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "%s", name);
		return r;
	}
	return 0;
}

int kvm_create_vm(struct kvm *kvm, bool pit)
{
	struct kvm_pit_config pit_config = {.flags = 0};
	int r;

	do {
		/* A signal that arrives while KVM waits for a lock makes it give up. */
		kvm->vm_fd = ioctl(kvm->fd, KVM_CREATE_VM, 0);
	} while (kvm->vm_fd < 0 && errno == EINTR);
	if (kvm->vm_fd < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "/dev/kvm: KVM_CREATE_VM");
		return r;
	}
	/* KVM's other page stays where it puts it by itself, X86_KVM_IDENTITY_GPA. */
	r = vm_ioctl(kvm, KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR", (void *)X86_KVM_TSS_GPA);
	if (r < 0) {
		return r;
	}
	r = vm_ioctl(kvm, KVM_CREATE_IRQCHIP, "KVM_CREATE_IRQCHIP", NULL);
	if (r < 0 || !pit) {
		return r;
	}
	return vm_ioctl(kvm, KVM_CREATE_PIT2, "KVM_CREATE_PIT2", &pit_config);
}

static int add_slot(struct kvm *kvm, uint32_t flags, uint64_t gpa, void *hva, uint64_t len)
{
	struct kvm_userspace_memory_region region = {
		.slot = kvm->nslots,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)hva,
	};
	int r = vm_ioctl(kvm, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION", &region);

	if (r == 0) {
		kvm->nslots++;
	}
	return r;
}

int kvm_add_memory(struct kvm *kvm, uint64_t gpa, void *hva, uint64_t len)
{
	return add_slot(kvm, 0, gpa, hva, len);
}

int kvm_add_readonly_memory(struct kvm *kvm, uint64_t gpa, void *hva, uint64_t len)
{
	return add_slot(kvm, KVM_MEM_READONLY, gpa, hva, len);
}

int kvm_add_irqfd(struct kvm *kvm, int fd, uint32_t gsi)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)fd, .gsi = gsi};

	return vm_ioctl(kvm, KVM_IRQFD, "KVM_IRQFD", &irqfd);
}

int kvm_set_irq_line(struct kvm *kvm, uint32_t gsi, bool high)
{
	struct kvm_irq_level line = {.irq = gsi, .level = high};

	return vm_ioctl(kvm, KVM_IRQ_LINE, "KVM_IRQ_LINE", &line);
}

int kvm_add_ioeventfd(struct kvm *kvm, int fd, uint64_t gpa)
{
	/* Length 0: KVM need not decode the instruction, which is the fast way where it has one. */
	struct kvm_ioeventfd ioeventfd = {.addr = gpa, .len = 0, .fd = fd};

	return vm_ioctl(kvm, KVM_IOEVENTFD, "KVM_IOEVENTFD", &ioeventfd);
}

int kvm_add_ioeventfd_value(struct kvm *kvm, int fd, uint64_t gpa, uint32_t value)
{
	struct kvm_ioeventfd ioeventfd = {
		.datamatch = value, .addr = gpa, .len = sizeof(value), .fd = fd, .flags = KVM_IOEVENTFD_FLAG_DATAMATCH};

	return vm_ioctl(kvm, KVM_IOEVENTFD, "KVM_IOEVENTFD", &ioeventfd);
}

int kvm_get_clock(struct kvm *kvm, uint64_t *ns)
{
	struct kvm_clock_data data = {.clock = 0};
	int r = vm_ioctl(kvm, KVM_GET_CLOCK, "KVM_GET_CLOCK", &data);

	*ns = data.clock;
	return r;
}

int kvm_set_clock(struct kvm *kvm, uint64_t ns)
{
	struct kvm_clock_data data = {.clock = ns};

	return vm_ioctl(kvm, KVM_SET_CLOCK, "KVM_SET_CLOCK", &data);
}
