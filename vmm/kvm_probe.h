/* SPDX-License-Identifier: MIT */
/*
 * Whether this host's KVM really runs code: permission bits lie, and a /dev/kvm that opens may still not enter a guest.
 */
#ifndef VMM_KVM_PROBE_H
#define VMM_KVM_PROBE_H

#include <stdbool.h>
#include <stddef.h>

/**
 * kvm_probe - make a VM with one page of memory and let it count and write a port; see that the extensions every VM uses are there
 * @why: on failure one line that says what is wrong and what to do
 * Return: 0 or -errno. Takes a few milliseconds where KVM works, seconds where it does not. Thread: main.
 */
int kvm_probe(char *why, size_t why_len);

/* What it offers beyond that. */
struct kvm_probe_options {
	unsigned cpus; /* of one VM */
	bool tsc_deadline, pit;
};

/* @path: /dev/kvm. Return: 0, or -errno when it cannot be opened or does not tell. */
int kvm_probe_options(const char *path, struct kvm_probe_options *o);

struct kvm_run;

/* Its second half: whether the vCPU, whose guest counts for ever, is fast enough. Return: 0 or -errno, with @why unless a call failed. */
int kvm_probe_speed(int vcpu_fd, struct kvm_run *run, char *why, size_t why_len);

#endif
