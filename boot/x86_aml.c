/* SPDX-License-Identifier: MIT */
#include "boot/x86_aml.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_EXT = 0x5b,
	OP_EXT_REGION = 0x80,
	OP_EXT_FIELD = 0x81,
	OP_EXT_DEVICE = 0x82,
	OP_IF = 0xa0,
};

/* ACPI 6.5, 6.4 "Resource Data Types for ACPI" */
enum {
	RESOURCE_IO = 0x47,
	RESOURCE_END = 0x79,
	RESOURCE_MEMORY32_FIXED = 0x86,
	RESOURCE_INTERRUPT = 0x89,
};

#define REGION_SYSTEM_IO 0x01
#define FIELD_DWORD_ACCESS 0x03
#define METHOD_SERIALIZED 0x08
#define INTERRUPT_CONSUMER 0x01
#define INTERRUPT_EDGE 0x02

void aml_byte(struct aml *a, uint8_t byte)
{
	assert(a->len < a->cap);
	a->buf[a->len++] = byte;
}

void aml_u16(struct aml *a, uint16_t value)
{
	aml_byte(a, (uint8_t)value);
	aml_byte(a, (uint8_t)(value >> 8));
}

void aml_u32(struct aml *a, uint32_t value)
{
	aml_u16(a, (uint16_t)value);
	aml_u16(a, (uint16_t)(value >> 16));
}

void aml_name(struct aml *a, const char *name)
{
	assert(strlen(name) == (name[0] == '\\' ? 5 : 4));
	for (; *name; name++) {
		aml_byte(a, (uint8_t)*name);
	}
}

void aml_integer(struct aml *a, uint32_t value)
{
	if (value <= 1) {
		aml_byte(a, value ? OP_ONE : OP_ZERO);
	} else if (value <= 0xff) {
		aml_byte(a, OP_BYTE);
		aml_byte(a, (uint8_t)value);
	} else if (value <= 0xffff) {
		aml_byte(a, OP_WORD);
		aml_u16(a, (uint16_t)value);
	} else {
		aml_byte(a, OP_DWORD);
		aml_u32(a, value);
	}
}

void aml_string(struct aml *a, const char *text)
{
	aml_byte(a, OP_STRING);
	for (; *text; text++) {
		aml_byte(a, (uint8_t)*text);
	}
	aml_byte(a, 0);
}

static uint32_t hex_digit(char c)
{
	assert(isxdigit((unsigned char)c));
	return c <= '9' ? (uint32_t)(c - '0') : (uint32_t)(c - 'A' + 10);
}

void aml_eisa_id(struct aml *a, const char *id)
{
	uint32_t letters = 0, digits = 0, big;

	assert(strlen(id) == 7);
	for (int i = 0; i < 3; i++) {
		letters = letters << 5 | ((uint32_t)id[i] - 0x40);
	}
	for (int i = 3; i < 7; i++) {
		digits = digits << 4 | hex_digit(id[i]);
	}
	big = letters << 16 | digits;
	aml_byte(a, OP_DWORD);
	aml_u32(a, __builtin_bswap32(big));
}

void aml_define(struct aml *a, const char *name)
{
	aml_byte(a, OP_NAME);
	aml_name(a, name);
}

void aml_io_region(struct aml *a, const char *name, uint16_t port, uint8_t len)
{
	aml_byte(a, OP_EXT);
	aml_byte(a, OP_EXT_REGION);
	aml_name(a, name);
	aml_byte(a, REGION_SYSTEM_IO);
	aml_integer(a, port);
	aml_integer(a, len);
}

size_t aml_open_scope(struct aml *a, const char *name)
{
	size_t start;

	aml_byte(a, OP_SCOPE);
	start = a->len;
	aml_name(a, name);
	return start;
}

size_t aml_open_device(struct aml *a, const char *name)
{
	size_t start;

	aml_byte(a, OP_EXT);
	aml_byte(a, OP_EXT_DEVICE);
	start = a->len;
	aml_name(a, name);
	return start;
}

size_t aml_open_method(struct aml *a, const char *name, uint8_t nargs)
{
	size_t start;

	aml_byte(a, OP_METHOD);
	start = a->len;
	aml_name(a, name);
	aml_byte(a, nargs | METHOD_SERIALIZED);
	return start;
}

size_t aml_open_package(struct aml *a, uint8_t nelements)
{
	size_t start;

	aml_byte(a, OP_PACKAGE);
	start = a->len;
	aml_byte(a, nelements);
	return start;
}

size_t aml_open_field(struct aml *a, const char *region)
{
	size_t start;

	aml_byte(a, OP_EXT);
	aml_byte(a, OP_EXT_FIELD);
	start = a->len;
	aml_name(a, region);
	aml_byte(a, FIELD_DWORD_ACCESS);
	return start;
}

void aml_register32(struct aml *a, const char *name)
{
	aml_name(a, name);
	aml_byte(a, 32); /* bits, as a package length of one byte */
}

size_t aml_open_if(struct aml *a)
{
	aml_byte(a, OP_IF);
	return a->len;
}

/* ACPI 6.5, 20.2.4 "Package Length Encoding": the length counts its own bytes. */
void aml_close(struct aml *a, size_t start)
{
	size_t body = a->len - start, nbytes = body + 1 < 0x40 ? 1 : body + 2 < 0x1000 ? 2 : 3;
	size_t total = body + nbytes;

	assert(total < 0x100000 && a->len + nbytes <= a->cap);
	memmove(a->buf + start + nbytes, a->buf + start, body);
	a->len += nbytes;
	if (nbytes == 1) {
		a->buf[start] = (uint8_t)total;
		return;
	}
	a->buf[start] = (uint8_t)((nbytes - 1) << 6 | (total & 0xf));
	for (size_t i = 1; i < nbytes; i++) {
		a->buf[start + i] = (uint8_t)(total >> (8 * i - 4));
	}
}

size_t aml_open_resources(struct aml *a)
{
	aml_define(a, "_CRS");
	return a->len;
}

void aml_memory32(struct aml *a, uint32_t base, uint32_t len)
{
	aml_byte(a, RESOURCE_MEMORY32_FIXED);
	aml_u16(a, 9);
	aml_byte(a, 1); /* writable */
	aml_u32(a, base);
	aml_u32(a, len);
}

/* Active high, exclusive. */
static void interrupt(struct aml *a, uint32_t gsi, uint8_t flags)
{
	aml_byte(a, RESOURCE_INTERRUPT);
	aml_u16(a, 6);
	aml_byte(a, flags);
	aml_byte(a, 1);
	aml_u32(a, gsi);
}

void aml_interrupt_edge(struct aml *a, uint32_t gsi)
{
	interrupt(a, gsi, INTERRUPT_CONSUMER | INTERRUPT_EDGE);
}

void aml_interrupt_level(struct aml *a, uint32_t gsi)
{
	interrupt(a, gsi, INTERRUPT_CONSUMER);
}

void aml_io(struct aml *a, uint16_t port, uint8_t count)
{
	aml_byte(a, RESOURCE_IO);
	aml_byte(a, 1); /* decodes 16 bits */
	aml_u16(a, port);
	aml_u16(a, port);
	aml_byte(a, 1);
	aml_byte(a, count);
}

void aml_close_resources(struct aml *a, size_t start)
{
	uint8_t bytes[64];
	size_t n, buffer;

	aml_byte(a, RESOURCE_END);
	aml_byte(a, 0); /* no checksum */
	n = a->len - start;
	assert(n <= sizeof(bytes));
	memcpy(bytes, a->buf + start, n);
	a->len = start;
	aml_byte(a, OP_BUFFER);
	buffer = a->len;
	aml_integer(a, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		aml_byte(a, bytes[i]);
	}
	aml_close(a, buffer);
}
