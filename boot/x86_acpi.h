/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables for a machine with hardware-reduced ACPI: processors, IOAPIC, virtio-mmio devices, power button, sleep, reset; no PIC, PIT, RTC, i8042 or PCI.
 *
 * RSDP, XSDT, FADT, MADT and DSDT (AML written here, no compiler). Spec: ACPI 6.5.
 * Thread: the main thread, before vCPUs exist.
 */
#ifndef BOOT_X86_ACPI_H
#define BOOT_X86_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/x86_layout.h"
#include "vmm/gmem.h"

struct x86_acpi_virtio {
	uint64_t gpa; /* register window, below 4 GiB */
	uint32_t len;
	uint32_t gsi; /* edge, active high, exclusive */
	bool may_come; /* absent until bit n of the devices that are present (devices/ged.h) is set */
};

struct x86_acpi_config {
	unsigned ncpus; /* 1..X86_CPUS_MAX; APIC ids are 0..ncpus-1 */
	unsigned nvirtio;
	struct x86_acpi_virtio virtio[X86_VIRTIO_MAX]; /* `LNRO0005`, in this order */
	bool serial; /* PNP0501 at X86_PORT_SERIAL */
	bool pvpanic; /* QEMU0001 at X86_PORT_PVPANIC */
};

/**
 * x86_acpi_build - write the tables to X86_ACPI_GPA
 * Return: the RSDP's gpa. The tables always fit (asserted).
 */
uint64_t x86_acpi_build(const struct x86_acpi_config *cfg, const struct gmem *mem);

#endif
