/* SPDX-License-Identifier: MIT */
/*
 * A writer of AML, the byte code of ACPI tables: just what our DSDT needs. Bytes are appended to a buffer; a block (scope, device,
 * method, package, buffer) is opened and closed, and closing puts its length in front.
 * Spec: ACPI 6.5, 20 "ACPI Machine Language (AML) Specification".
 * Thread: the main thread.
 */
#ifndef BOOT_X86_AML_H
#define BOOT_X86_AML_H

#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *buf;
	size_t len, cap; /* more than cap is a bug in the tables, asserted */
};

void aml_byte(struct aml *a, uint8_t byte);
void aml_u16(struct aml *a, uint16_t value);
void aml_u32(struct aml *a, uint32_t value);

/* A name: four characters, or a root path like "\\_SB_". */
void aml_name(struct aml *a, const char *name);
void aml_integer(struct aml *a, uint32_t value);
void aml_string(struct aml *a, const char *text);
/* A compressed id such as "PNP0C0C", ACPI 6.5, 19.3.4 "ASL Macros", EISAID. */
void aml_eisa_id(struct aml *a, const char *id);

/* Operators that take what is appended after them. */
enum aml_op {
	AML_LOCAL0 = 0x60,
	AML_STORE = 0x70, /* value, where */
	AML_AND = 0x7b, /* value, value, where: a name, a local or AML_NOWHERE */
	AML_NOTIFY = 0x86, /* name, value */
	AML_RETURN = 0xa4, /* value */
	AML_NOWHERE = 0x00,
};

/* Name (NAME, what is appended next) */
void aml_define(struct aml *a, const char *name);

/* OperationRegion (NAME, SystemIO, PORT, LEN) */
void aml_io_region(struct aml *a, const char *name, uint16_t port, uint8_t len);

/* Each opens a block and returns its start for aml_close. */
size_t aml_open_scope(struct aml *a, const char *name);
size_t aml_open_device(struct aml *a, const char *name);
size_t aml_open_method(struct aml *a, const char *name, uint8_t nargs);
size_t aml_open_package(struct aml *a, uint8_t nelements);
/* Field (REGION, DWordAcc, NoLock, Preserve): registers of 32 bits one after another. */
size_t aml_open_field(struct aml *a, const char *region);
void aml_register32(struct aml *a, const char *name);
size_t aml_open_if(struct aml *a); /* the condition is appended first */
void aml_close(struct aml *a, size_t start);

/* Name (_CRS, ResourceTemplate () { ... }): the resources between the two. */
size_t aml_open_resources(struct aml *a);
void aml_memory32(struct aml *a, uint32_t base, uint32_t len);
void aml_interrupt_edge(struct aml *a, uint32_t gsi);
void aml_interrupt_level(struct aml *a, uint32_t gsi);
void aml_io(struct aml *a, uint16_t port, uint8_t count);
void aml_close_resources(struct aml *a, size_t start);

#endif
