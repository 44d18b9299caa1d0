/* SPDX-License-Identifier: MIT */
/* The life cycle, configuration and failure of a device, without a transport's registers in between. */
#include "virtio/device.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/baredev.h"
#include "tests/support/testdrv.h"

#define ACK VIRTIO_STATUS_ACKNOWLEDGE
#define DRIVER (ACK | VIRTIO_STATUS_DRIVER)
#define FEATURES_OK (DRIVER | VIRTIO_STATUS_FEATURES_OK)
#define DRIVER_OK (FEATURES_OK | VIRTIO_STATUS_DRIVER_OK)

static struct tdrv d;
static struct baredev bare;
static unsigned complaints;

static void count(enum log_level level, const char *line)
{
	(void)line;
	complaints += level <= LOG_WARN;
}

static int set_up(void **state)
{
	(void)state;
	complaints = 0;
	log_set_hook(count);
	tdrv_init(&d);
	baredev_init(&bare, &d.loop, &d.mem);
	tdrv_attach(&d, &bare.base);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tdrv_finish(&d);
	log_set_hook(NULL);
	return 0;
}

static uint8_t status(void)
{
	return (uint8_t)tdrv_read(&d, VIRTIO_MMIO_STATUS);
}

static void write_status(uint8_t value)
{
	bare.base.driver_features = VIRTIO_F_VERSION_1;
	virtio_device_write_status(&bare.base, value);
}

/* Brings the device into @want, one of the states of the life cycle. */
static void bring_to(uint8_t want)
{
	static const uint8_t way[] = {ACK, DRIVER, FEATURES_OK, DRIVER_OK};

	write_status(0);
	for (size_t i = 0; i < sizeof(way) && status() != want; i++) {
		write_status(way[i]);
	}
	assert_int_equal(status(), want);
}

/* What the specification allows, written down a second time: every status byte in every state. */
static uint8_t expected_status(uint8_t now, uint8_t written)
{
	if (written == 0) {
		return 0;
	}
	if (written & VIRTIO_STATUS_FAILED) {
		return now | VIRTIO_STATUS_FAILED;
	}
	if ((now == 0 && written == ACK) || (now == ACK && written == DRIVER) || (now == DRIVER && written == FEATURES_OK) ||
		(now == FEATURES_OK && written == DRIVER_OK)) {
		return written;
	}
	return now;
}

static void test_device_every_status_in_every_state(void **state)
{
	static const uint8_t states[] = {0, ACK, DRIVER, FEATURES_OK, DRIVER_OK};

	(void)state;
	for (size_t i = 0; i < sizeof(states); i++) {
		for (unsigned written = 0; written < 256; written++) {
			bring_to(states[i]);
			write_status((uint8_t)written);
			if (status() != expected_status(states[i], (uint8_t)written)) {
				fail_msg("0x%02x after 0x%02x gave 0x%02x", written, states[i], status());
			}
		}
	}
}

static void test_device_activate_and_reset_once_each(void **state)
{
	(void)state;
	bring_to(DRIVER_OK);
	assert_int_equal(bare.activations, 1);
	assert_int_equal(bare.resets, 1); /* bring_to began with one */
	write_status(DRIVER_OK);
	assert_int_equal(bare.activations, 1);
	assert_true(virtio_device_is_running(&bare.base));
	write_status(0);
	assert_int_equal(bare.resets, 2);
	assert_false(virtio_device_is_running(&bare.base));
	assert_int_equal(bare.base.driver_features, 0);
	assert_int_equal(complaints, 0);
}

static void test_device_features_are_refused(void **state)
{
	static const uint64_t wrong[] = {0, BAREDEV_FEATURES, VIRTIO_F_VERSION_1 | 2, VIRTIO_F_VERSION_1 | 1ull << 63, ~0ull};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		bring_to(DRIVER);
		bare.base.driver_features = wrong[i];
		virtio_device_write_status(&bare.base, FEATURES_OK);
		assert_int_equal(status(), DRIVER);
		assert_int_equal(bare.base.driver_features, 0);
	}
	bring_to(DRIVER);
	bare.base.driver_features = virtio_device_features(&bare.base);
	virtio_device_write_status(&bare.base, FEATURES_OK);
	assert_int_equal(status(), FEATURES_OK);
	assert_true(virtio_device_has(&bare.base, 5));
	assert_false(virtio_device_has(&bare.base, 7));
}

static void test_device_that_cannot_be_activated_needs_a_reset(void **state)
{
	(void)state;
	bare.activate_result = -EIO;
	bring_to(FEATURES_OK);
	write_status(DRIVER_OK);
	assert_int_equal(status(), DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET);
	assert_false(virtio_device_is_running(&bare.base));
	assert_int_equal(d.config_irqs, 1);
	bare.activate_result = 0;
	bring_to(DRIVER_OK);
	assert_true(virtio_device_is_running(&bare.base));
}

static void test_device_without_a_way_for_interrupts_is_not_activated(void **state)
{
	(void)state;
	bring_to(FEATURES_OK);
	assert_int_equal(d.connects, 0);
	d.connect_result = -EMFILE;
	write_status(DRIVER_OK);
	assert_int_equal(bare.activations, 0);
	assert_int_equal(status(), FEATURES_OK | VIRTIO_STATUS_NEEDS_RESET);
	assert_false(virtio_device_is_running(&bare.base));
	assert_int_equal(d.config_irqs, 0);
	d.connect_result = 0;
	bring_to(DRIVER_OK);
	assert_int_equal(d.connects, 2);
	assert_true(virtio_device_is_running(&bare.base));
}

static void test_device_broken_queue_configuration_is_not_activated(void **state)
{
	(void)state;
	bring_to(FEATURES_OK);
	bare.base.queue_ready[0] = true;
	bare.base.queue_config[0] = (struct virtq_config){.size = 8, .desc = 16, .driver = 16, .device = 16};
	write_status(DRIVER_OK);
	assert_int_equal(bare.activations, 0);
	assert_true(status() & VIRTIO_STATUS_NEEDS_RESET);
}

static void test_device_fails_once_until_the_reset(void **state)
{
	(void)state;
	tdrv_start(&d);
	virtio_device_fail(&bare.base, "first");
	virtio_device_fail(&bare.base, "second");
	assert_int_equal(complaints, 1);
	assert_int_equal(bare.stops, 1);
	assert_int_equal(d.config_irqs, 1);
	assert_int_equal(status(), DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG, VIRTIO_MMIO_INT_CONFIG);
	/* Nothing but a reset leaves it, and no queue is served. */
	write_status(DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET);
	tdrv_kick(&d, 0);
	assert_int_equal(bare.kicks[0], 0);
	assert_true(status() & VIRTIO_STATUS_NEEDS_RESET);
	tdrv_start(&d);
	tdrv_kick(&d, 0);
	assert_int_equal(bare.kicks[0], 1);
}

static void test_device_given_up_by_its_driver_is_quiet(void **state)
{
	(void)state;
	tdrv_start(&d);
	write_status(DRIVER_OK | VIRTIO_STATUS_FAILED);
	assert_int_equal(bare.stops, 1);
	tdrv_kick(&d, 0);
	virtio_device_config_changed(&bare.base);
	virtio_device_fail(&bare.base, "late");
	assert_int_equal(bare.kicks[0], 0);
	assert_int_equal(d.config_irqs, 0);
	assert_int_equal(complaints, 0);
}

static void test_device_kick_serves_queues_that_run(void **state)
{
	(void)state;
	tdrv_negotiate(&d, VIRTIO_F_VERSION_1);
	tdrv_place_queue(&d, 1, 4);
	assert_true(tdrv_enable_queue(&d, 1));
	tdrv_write(&d, VIRTIO_MMIO_STATUS, DRIVER_OK);
	virtio_device_kick(&bare.base);
	assert_int_equal(bare.kicks[0], 0);
	assert_int_equal(bare.kicks[1], 1);
}

static void test_device_config_reaches_the_page_and_counts(void **state)
{
	uint32_t generation = tdrv_read(&d, VIRTIO_MMIO_CONFIG_GENERATION), value = 0x01020304;

	(void)state;
	virtio_device_set_config(&bare.base, 0, "abcdefghijklmnop", 16);
	assert_memory_equal(d.regs.bytes + VIRTIO_MMIO_CONFIG, "abcdefghijklmnop", 16);
	assert_true(tdrv_read(&d, VIRTIO_MMIO_CONFIG_GENERATION) != generation);
	virtio_device_config_changed(&bare.base); /* nobody listens yet */
	assert_int_equal(d.config_irqs, 0);

	tdrv_start(&d);
	virtio_device_set_config(&bare.base, 12, &value, 4);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_CONFIG + 12), value);
	assert_int_equal(d.config_irqs, 0);
	virtio_device_config_changed(&bare.base);
	assert_int_equal(d.config_irqs, 1);
	/* A reset does not change what a device is. */
	write_status(0);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_CONFIG + 12), value);
}

/* Before a transport takes the device its configuration waits in it. */
static void test_device_config_set_early_is_published_later(void **state)
{
	struct baredev early;
	struct tdrv other;

	(void)state;
	tdrv_init(&other);
	baredev_init(&early, &other.loop, &other.mem);
	assert_false(virtio_device_is_running(&early.base));
	virtio_device_set_config(&early.base, 4, "wxyz", 4);
	tdrv_attach(&other, &early.base);
	assert_memory_equal(other.regs.bytes + VIRTIO_MMIO_CONFIG, "\0\0\0\0wxyz", 8);
	tdrv_finish(&other);
}

int main(void)
{
#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH(test_device_every_status_in_every_state),
		WITH(test_device_activate_and_reset_once_each),
		WITH(test_device_features_are_refused),
		WITH(test_device_that_cannot_be_activated_needs_a_reset),
		WITH(test_device_broken_queue_configuration_is_not_activated),
		WITH(test_device_without_a_way_for_interrupts_is_not_activated),
		WITH(test_device_fails_once_until_the_reset),
		WITH(test_device_given_up_by_its_driver_is_quiet),
		WITH(test_device_kick_serves_queues_that_run),
		WITH(test_device_config_reaches_the_page_and_counts),
		WITH(test_device_config_set_early_is_published_later),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
