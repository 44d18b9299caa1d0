/* SPDX-License-Identifier: MIT */
/*
 * Where everything lies in the guest-physical address space of an x86 guest, its port numbers and interrupt pins. Nothing else in the code has an address of
 * its own.
 *
 *   0x00000000  low RAM: boot data below 0x9fc00, ACPI tables at 0xe0000, the kernel from 1 MiB or 16 MiB on
 *   0xc0000000  end of low RAM at the latest; hole for devices up to 4 GiB
 *   0xd0000000  virtio-mmio register pages
 *   0xfec00000  IOAPIC, 0xfee00000 local APICs (in KVM), 0xfffbc000 KVM's own pages on Intel
 *   0x100000000 high RAM: what does not fit below the hole
 *   above       64-bit window for host-visible blobs, from the next multiple of 1 GiB after RAM
 */
#ifndef BOOT_X86_LAYOUT_H
#define BOOT_X86_LAYOUT_H

#define X86_GDT_GPA 0x500ull
#define X86_GDT_LIMIT 0x1f /* null, null, code, data; boot_load writes 64-bit code for long mode, 32-bit for protected mode */
#define X86_SELECTOR_CODE 0x10
#define X86_SELECTOR_DATA 0x18
#define X86_START_INFO_GPA 0x6000ull /* PVH start info, or Multiboot information */
#define X86_ZERO_PAGE_GPA 0x7000ull
#define X86_STACK_GPA 0x8ff0ull
#define X86_PAGE_TABLES_GPA 0x9000ull /* 6 pages: PML4, PDPT, 4 page directories: 4 GiB by 2 MiB pages */
#define X86_CMDLINE_GPA 0x20000ull
#define X86_CMDLINE_MAX 2047 /* bytes without the final NUL */
#define X86_BOOT_DATA_GPA 0x21000ull /* module lists and the like, up to X86_EBDA_GPA */
#define X86_EBDA_GPA 0x9fc00ull /* end of usable memory below 1 MiB */
#define X86_ACPI_GPA 0xe0000ull
#define X86_ACPI_MAX 0x1f000ull
#define X86_RESET_VECTOR_GPA 0xffff0ull /* where a jump to the BIOS ends: boot_load puts a reset there */
#define X86_HIGH_MEMORY_GPA 0x100000ull

#define X86_LOW_RAM_MAX 0xc0000000ull
#define X86_HIGH_RAM_GPA 0x100000000ull

#define X86_VIRTIO_MMIO_GPA 0xd0000000ull
#define X86_VIRTIO_MMIO_LEN 0x3000ull /* 3 pages of 8 windows for X86_VIRTIO_MAX devices */
#define X86_IOAPIC_GPA 0xfec00000ull
#define X86_LAPIC_GPA 0xfee00000ull
#define X86_KVM_IDENTITY_GPA 0xfffbc000ull
#define X86_KVM_TSS_GPA 0xfffbd000ull

/* I/O ports */
#define X86_PORT_I8042 0x64 /* only its reset command exists */
#define X86_I8042_RESET 0xfe
#define X86_PORT_EXIT 0xf4
#define X86_PORT_SERIAL 0x3f8
#define X86_PORT_PVPANIC 0x505
#define X86_PORT_SLEEP_CONTROL 0x600
#define X86_PORT_SLEEP_STATUS 0x601
#define X86_PORT_RESET 0x602
#define X86_RESET_VALUE 0x01
/* devices/ged.h: two registers of 32 bits, there when devices may come while the guest runs */
#define X86_PORT_EVENTS 0x608 /* 8 ports */
#define X86_EVENT_BUTTON 31 /* bit of the events; bit n, also of the devices that are present: virtio device n has come */

/* S5 in the sleep control register: SLP_EN | S5 << 2 (ACPI 6.5, 4.8.3.7 "Sleep Control and Status Registers") */
#define X86_SLEEP_TYPE_S5 5
#define X86_SLEEP_ENABLE 0x20

/* Interrupt pins (GSI = IOAPIC pin; there are 24). All edge, active high. */
#define X86_GSI_COUNT 24
#define X86_GSI_SERIAL 4
#define X86_GSI_GED 9 /* generic event device: power button */
/* 0, 2 and 8 have a past (timer, cascade, clock) that KVM and kernels still treat specially. */
#define X86_GSI_VIRTIO {5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 3, 1}
#define X86_VIRTIO_MAX 19

#define X86_CPUS_MAX 64

#endif
