/* SPDX-License-Identifier: MIT */
/* The tables as a guest finds them: linked, summed, and what iasl (ACPICA's compiler) thinks of them. */
#include "boot/x86_acpi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM_LEN 0x200000u

struct fixture {
	struct gmem mem;
	uint8_t *ram;
	uint64_t rsdp;
};

/* Bit n of @may_come: virtio device n is not there yet. */
static struct fixture build_with(unsigned ncpus, unsigned nvirtio, uint32_t may_come)
{
	struct fixture f = {.ram = calloc(1, RAM_LEN)};
	struct x86_acpi_config cfg = {.ncpus = ncpus, .nvirtio = nvirtio, .serial = true, .pvpanic = true};

	gmem_add(&f.mem, 0, f.ram, RAM_LEN);
	for (unsigned i = 0; i < nvirtio; i++) {
		cfg.virtio[i] = (struct x86_acpi_virtio){.gpa = X86_VIRTIO_MMIO_GPA + i * 0x200ull, .len = 0x200, .gsi = i, .may_come = may_come >> i & 1};
	}
	f.rsdp = x86_acpi_build(&cfg, &f.mem);
	return f;
}

static struct fixture build(unsigned ncpus, unsigned nvirtio)
{
	return build_with(ncpus, nvirtio, 0);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len-- > 0) {
		s = (uint8_t)(s + *p++);
	}
	return s;
}

/* The table at @gpa, whose signature, length and sum are right. */
static const uint8_t *table_at(const struct fixture *f, uint64_t gpa, const char *signature)
{
	const uint8_t *p = gmem_ptr(&f->mem, gpa, 36);

	assert_non_null(p);
	assert_memory_equal(p, signature, 4);
	assert_true(gpa + get32(p + 4) <= X86_ACPI_GPA + X86_ACPI_MAX);
	assert_int_equal(sum(p, get32(p + 4)), 0);
	return p;
}

static const uint8_t *find_table(const struct fixture *f, const char *signature)
{
	const uint8_t *rsdp = gmem_ptr(&f->mem, f->rsdp, 36), *xsdt = table_at(f, get64(rsdp + 24), "XSDT"), *fadt = NULL;

	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	if (strcmp(signature, "APIC") == 0) {
		return table_at(f, get64(xsdt + 44), "APIC");
	}
	fadt = table_at(f, get64(xsdt + 36), "FACP");
	return strcmp(signature, "DSDT") == 0 ? table_at(f, get64(fadt + 140), "DSDT") : fadt;
}

static void test_x86_acpi_fadt_describes_reduced_hardware(void **state)
{
	struct fixture f = build(1, 2);
	const uint8_t *fadt = find_table(&f, "FACP");

	(void)state;
	assert_int_equal(get32(fadt + 4), 276);
	assert_int_equal(get32(fadt + 112), 1u << 20 | 1u << 10 | 1u << 5 | 1u << 4);
	assert_int_equal(fadt[109], 1 << 2 | 1 << 5);
	assert_int_equal(get64(fadt + 116 + 4), X86_PORT_RESET);
	assert_int_equal(fadt[128], X86_RESET_VALUE);
	assert_int_equal(get64(fadt + 244 + 4), X86_PORT_SLEEP_CONTROL);
	assert_int_equal(get64(fadt + 256 + 4), X86_PORT_SLEEP_STATUS);
	free(f.ram);
}

static void test_x86_acpi_madt_lists_every_processor(void **state)
{
	struct fixture f = build(X86_CPUS_MAX, 0);
	const uint8_t *madt = find_table(&f, "APIC");
	unsigned lapics = 0, ioapics = 0;

	(void)state;
	assert_int_equal(get32(madt + 36), X86_LAPIC_GPA);
	assert_int_equal(get32(madt + 40), 0);
	for (const uint8_t *p = madt + 44; p < madt + get32(madt + 4); p += p[1]) {
		if (p[0] == 0) {
			assert_int_equal(p[3], lapics);
			assert_int_equal(get32(p + 4), 1);
			lapics++;
		}
		ioapics += p[0] == 1 && get32(p + 4) == X86_IOAPIC_GPA && get32(p + 8) == 0;
	}
	assert_int_equal(lapics, X86_CPUS_MAX);
	assert_int_equal(ioapics, 1);
	free(f.ram);
}

/* Disassembled and compiled again without an error, warning or remark. */
static void assert_iasl_is_content(const char *dir, const char *name, const uint8_t *table)
{
	char path[256], command[1024], line[256], verdict[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.aml", dir, name);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(table, 1, get32(table + 4), file), get32(table + 4));
	fclose(file);
	snprintf(command, sizeof(command),
		"cd %s && iasl -d %s.aml > d.log 2>&1 && ! grep -iE 'error|warning|invalid' d.log && mv %s.aml was.aml && iasl -p again %s.dsl 2>&1",
		dir, name, name, name);
	file = popen(command, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (strstr(line, "Compilation")) {
			snprintf(verdict, sizeof(verdict), "%s", line);
		}
	}
	if (pclose(file) != 0 || !strstr(verdict, " 0 Errors, 0 Warnings, 0 Remarks")) {
		fail_msg("%s: %s", name, verdict);
	}
}

static void test_x86_acpi_iasl_content_where_devices_may_come(void **state)
{
	static const uint32_t which[] = {1u << 0, 1u << (X86_VIRTIO_MAX - 1), 0x1554, (1u << X86_VIRTIO_MAX) - 1};
	char dir[] = "/tmp/x86_acpi_test.XXXXXX", command[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < sizeof(which) / sizeof(which[0]); i++) {
		struct fixture f = build_with(1, X86_VIRTIO_MAX, which[i]);

		assert_iasl_is_content(dir, "dsdt", find_table(&f, "DSDT"));
		free(f.ram);
	}
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static bool has_bytes(const uint8_t *table, const char *text)
{
	return memmem(table, get32(table + 4), text, strlen(text)) != NULL;
}

static void test_x86_acpi_nothing_about_it_where_no_device_may_come(void **state)
{
	struct fixture f = build(1, X86_VIRTIO_MAX);
	const uint8_t *dsdt = find_table(&f, "DSDT");

	(void)state;
	assert_false(has_bytes(dsdt, "ACPI0004"));
	assert_false(has_bytes(dsdt, "EVNT"));
	free(f.ram);
}

/* What acpiexec (ACPICA's interpreter, Linux's too) says when it runs @method on the table, every byte of every register being @fill. The caller frees it. */
static char *execute(const uint8_t *table, unsigned fill, const char *method)
{
	char path[] = "/tmp/x86_acpi_test.XXXXXX", command[512], *out = calloc(1, 65536);
	int fd = mkstemp(path);
	FILE *file;

	assert_true(fd >= 0 && out);
	assert_int_equal(write(fd, table, get32(table + 4)), get32(table + 4));
	close(fd);
	/* Not by -b, which takes a second. */
	snprintf(command, sizeof(command), "printf 'execute %%s\\nquit\\n' '%s' | acpiexec -fv 0x%02x %s 2>&1", method, fill, path);
	file = popen(command, "r");
	assert_non_null(file);
	assert_true(fread(out, 1, 65535, file) > 0);
	assert_int_equal(pclose(file), 0);
	unlink(path);
	return out;
}

static void test_x86_acpi_device_is_present_when_its_bit_is(void **state)
{
	static const struct {
		unsigned fill;
		const char *device, *result;
	} cases[] = {
		{0x00, "VS02", "[Integer] = 0000000000000000"},
		{0x04, "VS02", "[Integer] = 000000000000000F"},
		{0xfb, "VS02", "[Integer] = 0000000000000000"},
		{0x04, "VS10", "[Integer] = 000000000000000F"},
		{0xfb, "VS10", "[Integer] = 0000000000000000"},
	};
	struct fixture f = build_with(1, X86_VIRTIO_MAX, 1u << 2 | 1u << 10 | 1u << 18);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char method[32], *out;

		snprintf(method, sizeof(method), "\\_SB.%s._STA", cases[i].device);
		out = execute(find_table(&f, "DSDT"), cases[i].fill, method);
		if (!strstr(out, cases[i].result)) {
			fail_msg("%s, 0x%02x: %s", cases[i].device, cases[i].fill, out);
		}
		free(out);
	}
	free(f.ram);
}

/* The devices the event method notifies, a bit for each line of the list. acpiexec prints that from threads it does not wait for, so it is run again while some of
 * @expected are missing. */
static unsigned notified(const uint8_t *table, unsigned fill, unsigned expected)
{
	static const struct {
		const char *device, *value;
	} list[] = {{"VS02", "0x01 (Device Check)"}, {"VS03", "0x01 (Device Check)"}, {"VS18", "0x01 (Device Check)"}, {"PWRB", "0x80 (Status Change)"}};
	unsigned found = 0;

	for (unsigned tries = 0; tries == 0 || (tries < 20 && (expected & ~found)); tries++) {
		char *out = execute(table, fill, "\\_SB.GED_._EVT 9");

		for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
			char text[32];
			const char *line;

			snprintf(text, sizeof(text), "Notify on [%s]", list[i].device);
			line = strstr(out, text);
			if (line) {
				line = strstr(line, "Value ");
				assert_true(line && strncmp(line + 6, list[i].value, strlen(list[i].value)) == 0);
				found |= 1u << i;
			}
		}
		free(out);
	}
	return found;
}

/* 0x04 in every byte is bits 2, 10, 18 and 26; 0xfb is all others, and the button is bit 31. */
static void test_x86_acpi_events_reach_who_they_are_for(void **state)
{
	enum { VS02 = 1, VS03 = 2, VS18 = 4, BUTTON = 8 };
	struct fixture f = build_with(1, X86_VIRTIO_MAX, 1u << 2 | 1u << 3 | 1u << 18);
	const uint8_t *dsdt = find_table(&f, "DSDT");

	(void)state;
	assert_int_equal(notified(dsdt, 0x00, 0), 0);
	assert_int_equal(notified(dsdt, 0x04, VS02 | VS18), VS02 | VS18);
	assert_int_equal(notified(dsdt, 0xfb, VS03 | BUTTON), VS03 | BUTTON);
	free(f.ram);

	/* Without such devices there are no registers, and every interrupt is the button. */
	f = build(1, X86_VIRTIO_MAX);
	assert_int_equal(notified(find_table(&f, "DSDT"), 0x00, BUTTON), BUTTON);
	free(f.ram);
}

static void test_x86_acpi_iasl_finds_nothing_to_say(void **state)
{
	struct fixture f = build(4, X86_VIRTIO_MAX);
	char dir[] = "/tmp/x86_acpi_test.XXXXXX", command[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_iasl_is_content(dir, "dsdt", find_table(&f, "DSDT"));
	assert_iasl_is_content(dir, "facp", find_table(&f, "FACP"));
	assert_iasl_is_content(dir, "apic", find_table(&f, "APIC"));
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
	free(f.ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_x86_acpi_fadt_describes_reduced_hardware),
		cmocka_unit_test(test_x86_acpi_madt_lists_every_processor),
		cmocka_unit_test(test_x86_acpi_iasl_finds_nothing_to_say),
		cmocka_unit_test(test_x86_acpi_iasl_content_where_devices_may_come),
		cmocka_unit_test(test_x86_acpi_nothing_about_it_where_no_device_may_come),
		cmocka_unit_test(test_x86_acpi_device_is_present_when_its_bit_is),
		cmocka_unit_test(test_x86_acpi_events_reach_who_they_are_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
