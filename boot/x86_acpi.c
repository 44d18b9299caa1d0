/* SPDX-License-Identifier: MIT */
#include "boot/x86_acpi.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "boot/x86_aml.h"

#define OEM_ID "TINYVM"
#define OEM_TABLE_ID "TINYVMM "
#define CREATOR_ID "TVMM"
#define IOAPIC_ID 0xfe

/* ACPI 6.5, 5.2.9 "Fixed ACPI Description Table (FADT)" */
#define FADT_POWER_BUTTON_IS_DEVICE (1u << 4)
#define FADT_NO_SLEEP_BUTTON (1u << 5)
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_HW_REDUCED (1u << 20)
#define BOOT_ARCH_NO_VGA (1u << 2)
#define BOOT_ARCH_NO_RTC (1u << 5)

/* ACPI 6.5, 5.6.6 "Device Object Notifications" */
#define NOTIFY_DEVICE_CHECK 0x01
#define NOTIFY_BUTTON_PRESSED 0x80

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct address {
	uint8_t space, bit_width, bit_offset, access_size;
	uint64_t address;
} __attribute__((packed));

struct fadt {
	struct header header;
	uint32_t firmware_ctrl, dsdt;
	uint8_t reserved0, preferred_pm_profile;
	uint16_t sci_int;
	uint8_t fixed_hardware[61]; /* SMI_CMD to CENTURY: absent hardware */
	uint16_t boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct address reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl, x_dsdt;
	struct address fixed_blocks[8]; /* X_PM1a_EVT_BLK to X_GPE1_BLK: absent hardware */
	struct address sleep_control_reg, sleep_status_reg;
	char hypervisor_vendor[8];
} __attribute__((packed));

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

struct madt {
	struct header header;
	uint32_t lapic_address, flags;
} __attribute__((packed));

struct madt_lapic {
	uint8_t type, length, processor_uid, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

struct madt_lapic_nmi {
	uint8_t type, length, processor_uid;
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));

struct xsdt {
	struct header header;
	uint64_t entry[2];
} __attribute__((packed));

static_assert(sizeof(struct fadt) == 276, "FADT revision 6");
static_assert(offsetof(struct fadt, boot_arch) == 109 && offsetof(struct fadt, flags) == 112, "FADT layout");
static_assert(offsetof(struct fadt, sleep_control_reg) == 244, "FADT layout");
static_assert(sizeof(struct rsdp) == 36, "RSDP revision 2");
static_assert(X86_VIRTIO_MAX <= X86_EVENT_BUTTON, "one bit for each device that may come");

/* Tables one after another, each on a 16-byte boundary. */
struct tables {
	uint8_t *base;
	size_t len;
};

static uint8_t checksum(const void *p, size_t len)
{
	const uint8_t *bytes = p;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++) {
		sum = (uint8_t)(sum + bytes[i]);
	}
	return (uint8_t)-sum;
}

static struct header make_header(const char *signature, uint8_t revision)
{
	struct header h = {.revision = revision, .oem_revision = 1, .creator_revision = 1};

	memcpy(h.signature, signature, 4);
	memcpy(h.oem_id, OEM_ID, 6);
	memcpy(h.oem_table_id, OEM_TABLE_ID, 8);
	memcpy(h.creator_id, CREATOR_ID, 4);
	return h;
}

/* Length and checksum of a table that is complete. Return: its gpa. */
static uint64_t finish_table(struct tables *t, void *table, size_t len)
{
	struct header *h = table;
	uint64_t gpa = X86_ACPI_GPA + (uint64_t)((uint8_t *)table - t->base);

	h->length = (uint32_t)len;
	h->checksum = 0;
	h->checksum = checksum(table, len);
	t->len = (size_t)((uint8_t *)table - t->base) + ((len + 15) & ~(size_t)15);
	assert(t->len <= X86_ACPI_MAX);
	return gpa;
}

static bool anything_may_come(const struct x86_acpi_config *cfg)
{
	for (unsigned i = 0; i < cfg->nvirtio; i++) {
		if (cfg->virtio[i].may_come) {
			return true;
		}
	}
	return false;
}

static void notify(struct aml *a, const char *name, uint8_t value)
{
	aml_byte(a, AML_NOTIFY);
	aml_name(a, name);
	aml_integer(a, value);
}

/* The place of a virtio device that may come: a container, because that is what Linux looks into again while it runs. */
static const char *container_name(char name[5], unsigned index)
{
	snprintf(name, 5, "VS%02u", index % 100);
	return name;
}

/* Reading the register takes what is in it, so it is read once. */
static void add_events(struct aml *a, const struct x86_acpi_config *cfg)
{
	char name[5];

	aml_byte(a, AML_STORE);
	aml_name(a, "EVNT");
	aml_byte(a, AML_LOCAL0);
	for (unsigned i = 0; i <= X86_EVENT_BUTTON; i++) {
		size_t condition;

		if (i != X86_EVENT_BUTTON && (i >= cfg->nvirtio || !cfg->virtio[i].may_come)) {
			continue;
		}
		condition = aml_open_if(a);
		aml_byte(a, AML_AND);
		aml_byte(a, AML_LOCAL0);
		aml_integer(a, 1u << i);
		aml_byte(a, AML_NOWHERE);
		if (i == X86_EVENT_BUTTON) {
			notify(a, "PWRB", NOTIFY_BUTTON_PRESSED);
		} else {
			notify(a, container_name(name, i), NOTIFY_DEVICE_CHECK);
		}
		aml_close(a, condition);
	}
}

static void add_power_button(struct aml *a)
{
	size_t device = aml_open_device(a, "PWRB");

	aml_define(a, "_HID");
	aml_eisa_id(a, "PNP0C0C");
	aml_define(a, "_UID");
	aml_integer(a, 0);
	aml_close(a, device);
}

static void add_event_device(struct aml *a, const struct x86_acpi_config *cfg)
{
	size_t device, field, method, resources;
	bool more = anything_may_come(cfg);

	if (more) {
		aml_io_region(a, "EVRG", X86_PORT_EVENTS, 8);
		field = aml_open_field(a, "EVRG");
		aml_register32(a, "EVNT");
		aml_register32(a, "PRES");
		aml_close(a, field);
	}
	device = aml_open_device(a, "GED_");
	aml_define(a, "_HID");
	aml_string(a, "ACPI0013");
	aml_define(a, "_UID");
	aml_integer(a, 0);
	resources = aml_open_resources(a);
	if (more) {
		aml_interrupt_level(a, X86_GSI_GED);
	} else {
		aml_interrupt_edge(a, X86_GSI_GED);
	}
	aml_close_resources(a, resources);
	method = aml_open_method(a, "_EVT", 1);
	if (more) {
		add_events(a, cfg);
	} else {
		/* The button is the only event there is, so any interrupt is the button. */
		notify(a, "PWRB", NOTIFY_BUTTON_PRESSED);
	}
	aml_close(a, method);
	aml_close(a, device);
}

/* Whether the device is there: its bit of devices/ged.h's second register. */
static void add_presence(struct aml *a, unsigned index)
{
	size_t method = aml_open_method(a, "_STA", 0), condition = aml_open_if(a);

	aml_byte(a, AML_AND);
	aml_name(a, "PRES");
	aml_integer(a, 1u << index);
	aml_byte(a, AML_NOWHERE);
	aml_byte(a, AML_RETURN);
	aml_integer(a, 0xf);
	aml_close(a, condition);
	aml_byte(a, AML_RETURN);
	aml_integer(a, 0);
	aml_close(a, method);
}

static void add_virtio(struct aml *a, const struct x86_acpi_virtio *v, unsigned index)
{
	size_t device, resources;
	char name[5];

	snprintf(name, sizeof(name), "VR%02u", index % 100);
	device = aml_open_device(a, name);
	aml_define(a, "_HID");
	aml_string(a, "LNRO0005");
	aml_define(a, "_UID");
	aml_integer(a, index);
	aml_define(a, "_CCA");
	aml_integer(a, 1);
	resources = aml_open_resources(a);
	aml_memory32(a, (uint32_t)v->gpa, v->len);
	aml_interrupt_edge(a, v->gsi);
	aml_close_resources(a, resources);
	aml_close(a, device);
}

static void add_virtio_that_may_come(struct aml *a, const struct x86_acpi_virtio *v, unsigned index)
{
	char name[5];
	size_t container = aml_open_device(a, container_name(name, index));

	aml_define(a, "_HID");
	aml_string(a, "ACPI0004");
	aml_define(a, "_UID");
	aml_integer(a, index);
	add_presence(a, index);
	add_virtio(a, v, index);
	aml_close(a, container);
}

static void add_serial(struct aml *a)
{
	size_t device = aml_open_device(a, "COM1"), resources;

	aml_define(a, "_HID");
	aml_eisa_id(a, "PNP0501");
	aml_define(a, "_UID");
	aml_integer(a, 1);
	resources = aml_open_resources(a);
	aml_io(a, X86_PORT_SERIAL, 8);
	aml_interrupt_edge(a, X86_GSI_SERIAL);
	aml_close_resources(a, resources);
	aml_close(a, device);
}

static void add_pvpanic(struct aml *a)
{
	size_t device = aml_open_device(a, "PEVT"), resources;

	aml_define(a, "_HID");
	aml_string(a, "QEMU0001");
	aml_define(a, "_STA");
	aml_integer(a, 0xf);
	resources = aml_open_resources(a);
	aml_io(a, X86_PORT_PVPANIC, 1);
	aml_close_resources(a, resources);
	aml_close(a, device);
}

static uint64_t add_dsdt(struct tables *t, const struct x86_acpi_config *cfg)
{
	struct header *h = (struct header *)(t->base + t->len);
	struct aml a = {.buf = (uint8_t *)(h + 1), .cap = X86_ACPI_MAX - t->len - sizeof(*h)};
	size_t scope, package;

	*h = make_header("DSDT", 2);
	aml_define(&a, "\\_S5_");
	package = aml_open_package(&a, 4);
	aml_integer(&a, X86_SLEEP_TYPE_S5);
	aml_integer(&a, X86_SLEEP_TYPE_S5);
	aml_integer(&a, 0);
	aml_integer(&a, 0);
	aml_close(&a, package);

	scope = aml_open_scope(&a, "\\_SB_");
	add_power_button(&a);
	add_event_device(&a, cfg);
	for (unsigned i = 0; i < cfg->nvirtio; i++) {
		if (cfg->virtio[i].may_come) {
			add_virtio_that_may_come(&a, &cfg->virtio[i], i);
		} else {
			add_virtio(&a, &cfg->virtio[i], i);
		}
	}
	if (cfg->serial) {
		add_serial(&a);
	}
	if (cfg->pvpanic) {
		add_pvpanic(&a);
	}
	aml_close(&a, scope);
	return finish_table(t, h, sizeof(*h) + a.len);
}

static struct address io_register(uint16_t port)
{
	return (struct address){.space = 1, .bit_width = 8, .access_size = 1, .address = port};
}

static uint64_t add_fadt(struct tables *t, uint64_t dsdt_gpa)
{
	struct fadt *f = (struct fadt *)(t->base + t->len);

	*f = (struct fadt){
		.header = make_header("FACP", 6),
		.dsdt = (uint32_t)dsdt_gpa,
		.x_dsdt = dsdt_gpa,
		.boot_arch = BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_RTC,
		.flags = FADT_HW_REDUCED | FADT_RESET_REG_SUP | FADT_POWER_BUTTON_IS_DEVICE | FADT_NO_SLEEP_BUTTON,
		.reset_reg = io_register(X86_PORT_RESET),
		.reset_value = X86_RESET_VALUE,
		.minor_version = 5,
		.sleep_control_reg = io_register(X86_PORT_SLEEP_CONTROL),
		.sleep_status_reg = io_register(X86_PORT_SLEEP_STATUS),
	};
	memcpy(f->hypervisor_vendor, OEM_TABLE_ID, 8);
	return finish_table(t, f, sizeof(*f));
}

static uint64_t add_madt(struct tables *t, unsigned ncpus)
{
	struct madt *m = (struct madt *)(t->base + t->len);
	uint8_t *p = (uint8_t *)(m + 1);
	struct madt_ioapic ioapic = {.type = 1, .length = sizeof(ioapic), .id = IOAPIC_ID, .address = X86_IOAPIC_GPA};
	struct madt_lapic_nmi nmi = {.type = 4, .length = sizeof(nmi), .processor_uid = 0xff, .lint = 1};

	*m = (struct madt){.header = make_header("APIC", 5), .lapic_address = X86_LAPIC_GPA};
	for (unsigned i = 0; i < ncpus; i++) {
		struct madt_lapic lapic = {.length = sizeof(lapic), .processor_uid = (uint8_t)i, .apic_id = (uint8_t)i, .flags = 1};

		memcpy(p, &lapic, sizeof(lapic));
		p += sizeof(lapic);
	}
	memcpy(p, &ioapic, sizeof(ioapic));
	p += sizeof(ioapic);
	memcpy(p, &nmi, sizeof(nmi));
	p += sizeof(nmi);
	return finish_table(t, m, (size_t)(p - (uint8_t *)m));
}

static uint64_t add_xsdt(struct tables *t, uint64_t fadt_gpa, uint64_t madt_gpa)
{
	struct xsdt *x = (struct xsdt *)(t->base + t->len);

	*x = (struct xsdt){.header = make_header("XSDT", 1), .entry = {fadt_gpa, madt_gpa}};
	return finish_table(t, x, sizeof(*x));
}

uint64_t x86_acpi_build(const struct x86_acpi_config *cfg, const struct gmem *mem)
{
	struct tables t = {.base = gmem_ptr(mem, X86_ACPI_GPA, X86_ACPI_MAX)};
	struct rsdp rsdp = {.revision = 2, .length = sizeof(rsdp)};
	uint64_t fadt, madt;

	assert(t.base && cfg->ncpus >= 1 && cfg->ncpus <= X86_CPUS_MAX && cfg->nvirtio <= X86_VIRTIO_MAX);
	t.len = (sizeof(rsdp) + 15) & ~(size_t)15;
	fadt = add_fadt(&t, add_dsdt(&t, cfg));
	madt = add_madt(&t, cfg->ncpus);
	rsdp.xsdt = add_xsdt(&t, fadt, madt);
	memcpy(rsdp.signature, "RSD PTR ", 8);
	memcpy(rsdp.oem_id, OEM_ID, 6);
	/* The first sum is over the fields of revision 0. */
	rsdp.checksum = checksum(&rsdp, 20);
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	memcpy(t.base, &rsdp, sizeof(rsdp));
	return X86_ACPI_GPA;
}
