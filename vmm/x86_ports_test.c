/* SPDX-License-Identifier: MIT */
/* All 65,536 ports. */
#include "vmm/x86_ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "boot/x86_layout.h"

static unsigned offs, resets, panics, exits;
static struct exit_port exit_port;
static struct pvpanic pvpanic;

static void on_off(void *ctx)
{
	(void)ctx;
	offs++;
}

static void on_reset(void *ctx)
{
	(void)ctx;
	resets++;
}

static void on_exit_port(void *ctx, uint8_t code)
{
	(void)ctx;
	exits += code;
}

static void on_panic(void *ctx, enum pvpanic_event event)
{
	(void)ctx;
	panics += event == PVPANIC_PANICKED;
}

static struct x86_ports make(bool with_devices)
{
	struct x86_ports p = {.power_off = on_off, .reset = on_reset};

	offs = resets = panics = exits = 0;
	exit_port_init(&exit_port, false, on_exit_port, NULL);
	pvpanic_init(&pvpanic, on_panic, NULL);
	if (with_devices) {
		p.exit_port = &exit_port;
		p.pvpanic = &pvpanic;
	}
	return p;
}

static void out(const struct x86_ports *p, uint16_t port, uint32_t value, uint32_t len)
{
	x86_ports_out(p, port, &value, len);
}

/* Every port, every width: a bus without devices answers all ones, but for the two registers that are no device. */
static void test_x86_ports_empty_bus_reads_all_ones(void **state)
{
	struct x86_ports p = make(false);

	(void)state;
	for (uint32_t port = 0; port <= 0xffff; port++) {
		for (uint32_t len = 1; len <= 4; len *= 2) {
			uint32_t got = 0, ones = 0;

			memset(&ones, 0xff, len);
			x86_ports_in(&p, (uint16_t)port, &got, len);
			if (port == X86_PORT_SLEEP_CONTROL || port == X86_PORT_SLEEP_STATUS) {
				assert_int_equal(got, 0);
			} else if (port == X86_PORT_I8042) {
				assert_int_equal(got & 2, 0); /* ready for the reset command */
			} else if (got != ones) {
				fail_msg("port 0x%x width %u: 0x%x", port, len, got);
			}
		}
	}
}

/* Every byte to every port: exactly the documented ones do something. */
static void test_x86_ports_only_known_writes_act(void **state)
{
	struct x86_ports p = make(false);

	(void)state;
	for (uint32_t port = 0; port <= 0xffff; port++) {
		for (uint32_t value = 0; value < 256; value++) {
			out(&p, (uint16_t)port, value, 1);
		}
	}
	assert_int_equal(resets, 2); /* the reset register, and 0xfe to port 0x64 */
	assert_int_equal(offs, 256 / 16); /* sleep enable and type S5 together, whatever the reserved bits are */
	assert_int_equal(exits + panics, 0);
}

static void test_x86_ports_reach_their_devices(void **state)
{
	struct x86_ports p = make(true);
	uint8_t events = 0;

	(void)state;
	out(&p, X86_PORT_EXIT, 7, 1);
	assert_int_equal(exits, 7);
	out(&p, X86_PORT_PVPANIC, 1, 1);
	assert_int_equal(panics, 1);
	x86_ports_in(&p, X86_PORT_PVPANIC, &events, 1);
	assert_true(events & 1);
	out(&p, X86_PORT_RESET, X86_RESET_VALUE, 1);
	out(&p, X86_PORT_I8042, X86_I8042_RESET, 1);
	assert_int_equal(resets, 2);
}

static void on_line(void *ctx, bool high)
{
	*(bool *)ctx = high;
}

static void test_x86_ports_reach_the_event_registers(void **state)
{
	struct x86_ports p = make(false);
	bool high = false;
	uint32_t got = 0;
	struct ged ged;

	(void)state;
	ged_init(&ged, on_line, &high);
	ged.has_registers = true;
	p.ged = &ged;
	ged_add_device(&ged, 1u << 2);
	x86_ports_in(&p, X86_PORT_EVENTS + GED_PRESENT, &got, 4);
	assert_int_equal(got, 4);
	out(&p, X86_PORT_EVENTS, 0, 4);
	out(&p, X86_PORT_EVENTS + GED_PRESENT, 0, 4);
	assert_true(high);
	x86_ports_in(&p, X86_PORT_EVENTS, &got, 4);
	assert_int_equal(got, 4);
	assert_false(high);
	x86_ports_in(&p, X86_PORT_EVENTS + GED_PRESENT, &got, 4);
	assert_int_equal(got, 4);
	x86_ports_in(&p, X86_PORT_EVENTS + GED_PORTS, &got, 4);
	assert_int_equal(got, 0xffffffff);
	ged_finish(&ged);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_x86_ports_empty_bus_reads_all_ones),
		cmocka_unit_test(test_x86_ports_only_known_writes_act),
		cmocka_unit_test(test_x86_ports_reach_their_devices),
		cmocka_unit_test(test_x86_ports_reach_the_event_registers),
	};

	return cmocka_run_group_tests_name("x86_ports", tests, NULL, NULL);
}
