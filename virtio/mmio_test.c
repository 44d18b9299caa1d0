/* SPDX-License-Identifier: MIT */
/* The registers as a driver meets them. What broken drivers do to them is the hostile table's. */
#include "virtio/mmio.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/baredev.h"
#include "tests/support/testdrv.h"

static struct tdrv d;
static struct baredev bare;

static void swallow(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static int set_up(void **state)
{
	(void)state;
	log_set_hook(swallow);
	tdrv_init(&d);
	baredev_init(&bare, &d.loop, &d.mem);
	bare.base.shm[0] = (struct virtio_shm){.id = 3, .gpa = 0x1234500000000, .len = 0x200000000};
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

static void test_mmio_says_what_it_is(void **state)
{
	(void)state;
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_MAGIC), 0x74726976);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_DEVICE_ID), 42);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_STATUS), 0);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void test_mmio_features_through_the_selector(void **state)
{
	(void)state;
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_DEVICE_FEATURES), BAREDEV_FEATURES | 1u << 28 | 1u << 29);
	tdrv_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_DEVICE_FEATURES), 1);
	tdrv_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	tdrv_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_DEVICE_FEATURES) & 0xff, BAREDEV_FEATURES);
}

/* Once FEATURES_OK stands, what was accepted cannot change. */
static void test_mmio_features_are_settled_once(void **state)
{
	(void)state;
	assert_true(tdrv_negotiate(&d, VIRTIO_F_VERSION_1 | 4));
	tdrv_write(&d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	tdrv_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 15);
	assert_true(virtio_device_has(&bare.base, 4));
	assert_false(virtio_device_has(&bare.base, 1));
}

static void test_mmio_reads_are_plain_copies_at_any_width(void **state)
{
	uint8_t got[8];

	(void)state;
	virtio_device_set_config(&bare.base, 0, "0123456789abcdef", 16);
	for (uint32_t len = 1; len <= 8; len++) {
		for (uint32_t off = 0; off < VIRTIO_MMIO_WINDOW; off++) {
			uint32_t inside = VIRTIO_MMIO_WINDOW - off < len ? VIRTIO_MMIO_WINDOW - off : len;

			memset(got, 0xee, sizeof(got));
			virtio_mmio_read(&d.mmio, off, got, len);
			assert_memory_equal(got, d.regs.bytes + off, inside);
			for (uint32_t i = inside; i < len; i++) {
				assert_int_equal(got[i], 0);
			}
			for (uint32_t i = len; i < sizeof(got); i++) {
				assert_int_equal(got[i], 0xee);
			}
		}
	}
}

static void test_mmio_writes_of_other_widths_do_nothing(void **state)
{
	const uint64_t value = 0x0101010101010101;
	struct virtio_regs before = d.regs;

	(void)state;
	for (uint32_t off = 0; off < VIRTIO_MMIO_CONFIG; off++) {
		for (uint32_t len = 1; len <= 8; len++) {
			if (len != 4 || off % 4 != 0) {
				virtio_mmio_write(&d.mmio, off, &value, len);
			}
		}
	}
	assert_memory_equal(&d.regs, &before, sizeof(before));
}

static void test_mmio_read_only_registers_stay(void **state)
{
	static const uint32_t regs[] = {VIRTIO_MMIO_MAGIC, VIRTIO_MMIO_VERSION, VIRTIO_MMIO_DEVICE_ID, VIRTIO_MMIO_VENDOR_ID,
		VIRTIO_MMIO_DEVICE_FEATURES, VIRTIO_MMIO_QUEUE_SIZE_MAX, VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_SHM_LEN_LOW,
		VIRTIO_MMIO_CONFIG_GENERATION, VIRTIO_MMIO_QUEUE_RESET, 0x0c, 0xf0};

	(void)state;
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
		struct virtio_regs before = d.regs;

		tdrv_write(&d, regs[i], 0x5a5a5a5a);
		assert_memory_equal(&d.regs, &before, sizeof(before));
	}
}

static void test_mmio_queue_is_ready_only_when_it_can_work(void **state)
{
	(void)state;
	assert_true(tdrv_negotiate(&d, VIRTIO_F_VERSION_1));
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_SEL, BAREDEV_QUEUES);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_QUEUE_SIZE_MAX), 0);
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);

	tdrv_write(&d, VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_QUEUE_SIZE_MAX), BAREDEV_QUEUE_SIZE);
	assert_false(tdrv_enable_queue(&d, 1)); /* nothing set up */
	tdrv_place_queue(&d, 1, BAREDEV_QUEUE_SIZE);
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_SIZE, 0x10008); /* not 8: the whole word counts */
	assert_false(tdrv_enable_queue(&d, 1));
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_SIZE, 4);
	assert_true(tdrv_enable_queue(&d, 1));

	/* While it is ready its registers are closed; taken down, they open. */
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0xffffffff);
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_true(tdrv_enable_queue(&d, 1));
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_READY, 0);
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0xffffffff);
	assert_false(tdrv_enable_queue(&d, 1));

	/* The other queue is untouched, and a reset forgets this one. */
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_SEL, 0);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_SEL, 1);
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0);
	assert_true(tdrv_enable_queue(&d, 1));
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);
}

static void test_mmio_vring_bit_is_sticky(void **state)
{
	(void)state;
	tdrv_start(&d);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	virtio_device_config_changed(&bare.base);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG);
	tdrv_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, ~0u);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

/* What KVM swallows must have no effect, in any state: an acknowledge of used buffers. */
static void test_mmio_acknowledge_of_used_buffers_changes_nothing(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct virtio_regs before = d.regs;

		tdrv_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
		assert_memory_equal(&d.regs, &before, sizeof(before));
		assert_int_equal(d.used_irqs + d.config_irqs + bare.kicks[0] + bare.kicks[1], i == 2);
		if (i == 0) {
			tdrv_start(&d);
		} else if (i == 1) {
			virtio_device_config_changed(&bare.base);
		} else {
			tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
			d.config_irqs = 0;
		}
	}
}

static void test_mmio_acknowledge_clears_the_configuration_bit_alone(void **state)
{
	static const uint32_t others[] = {0, VIRTIO_MMIO_INT_VRING, 4, 0x80000000, ~VIRTIO_MMIO_INT_CONFIG};

	(void)state;
	tdrv_start(&d);
	virtio_device_config_changed(&bare.base);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		tdrv_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, others[i]);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	}
	tdrv_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 1);
	tdrv_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 1);
}

/* A driver that never acknowledges, or whose acknowledges nobody sees, gets every interrupt all the same. */
static void test_mmio_interrupts_come_without_acknowledges(void **state)
{
	uint64_t buf;

	(void)state;
	bare.echo = true;
	tdrv_start(&d);
	buf = tdrv_alloc(&d, 8, 1);
	for (unsigned i = 0; i < 100; i++) {
		uint16_t event = d.q[0].used_seen;
		uint32_t head, len;

		memcpy(tdrv_ptr(&d, d.q[0].avail + 4 + 2 * BAREDEV_QUEUE_SIZE, 2), &event, 2);
		tdrv_add(&d, 0, 0, 0, buf, 8);
		tdrv_kick(&d, 0);
		assert_int_equal(d.used_irqs, i + 1);
		assert_true(tdrv_used(&d, 0, &head, &len));
		virtio_device_config_changed(&bare.base);
		assert_int_equal(d.config_irqs, i + 1);
	}
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
}

/* The bit comes with DRIVER_OK and goes with the reset, which takes what is pending along. */
static void test_mmio_reset_forgets_what_is_pending(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(tdrv_negotiate(&d, VIRTIO_F_VERSION_1));
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
		virtio_device_config_changed(&bare.base); /* nobody is there to be told */
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
		tdrv_write(&d, VIRTIO_MMIO_STATUS, 15);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 1);
		virtio_device_config_changed(&bare.base);
		tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	}
}

static unsigned early_interrupts;

static void look_at_bytes(void *ctx)
{
	(void)ctx;
	early_interrupts += memcmp(d.regs.bytes + VIRTIO_MMIO_CONFIG + 4, "new!", 4) != 0 ||
		!(tdrv_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG);
}

/* When the interrupt comes, the bytes and the bit are there, and the generation is another one. */
static void test_mmio_new_configuration_is_there_before_its_interrupt(void **state)
{
	uint32_t generation = tdrv_read(&d, VIRTIO_MMIO_CONFIG_GENERATION);

	(void)state;
	tdrv_start(&d);
	early_interrupts = 0;
	bare.base.irq.config = look_at_bytes;
	virtio_device_set_config(&bare.base, 4, "new!", 4);
	virtio_device_config_changed(&bare.base);
	assert_int_equal(early_interrupts, 0);
	assert_true(tdrv_read(&d, VIRTIO_MMIO_CONFIG_GENERATION) != generation);
}

static struct virtio_regs *watched;
static uint32_t generation_at_store;
static unsigned stores;

/* The first store into the page with the configuration. */
static void on_store(int signo)
{
	(void)signo;
	stores++;
	generation_at_store = watched->word[VIRTIO_MMIO_CONFIG_GENERATION / 4];
	mprotect(watched->bytes + VIRTIO_MMIO_CONFIG, 4096, PROT_READ | PROT_WRITE);
}

/* Whoever has seen some of the new bytes finds another generation than before, and whoever has seen some of the old ones another one in the end. */
static void test_mmio_generation_moves_before_and_after_the_bytes(void **state)
{
	uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct sigaction action = {.sa_handler = on_store};
	struct sigaction old;
	uint32_t before, after;

	(void)state;
	assert_true(pages != MAP_FAILED);
	tdrv_finish(&d);
	tdrv_init(&d);
	baredev_init(&bare, &d.loop, &d.mem);
	/* The configuration has a page of its own. */
	watched = (struct virtio_regs *)(void *)(pages + 4096 - VIRTIO_MMIO_CONFIG);
	virtio_mmio_init(&d.mmio, watched);
	tdrv_plug(&d, &bare.base);
	tdrv_start(&d);
	stores = 0;
	assert_int_equal(sigaction(SIGSEGV, &action, &old), 0);
	before = tdrv_read(&d, VIRTIO_MMIO_CONFIG_GENERATION);
	mprotect(pages + 4096, 4096, PROT_READ);
	virtio_device_set_config(&bare.base, 8, "new!", 4);
	sigaction(SIGSEGV, &old, NULL);
	after = tdrv_read(&d, VIRTIO_MMIO_CONFIG_GENERATION);
	assert_int_equal(stores, 1);
	assert_memory_equal(pages + 4096 + 8, "new!", 4);
	assert_int_not_equal(generation_at_store, before);
	assert_int_not_equal(after, generation_at_store);
	assert_int_not_equal(after, before);
	tdrv_finish(&d);
	munmap(pages, 8192);
	tdrv_init(&d);
	baredev_init(&bare, &d.loop, &d.mem);
	tdrv_attach(&d, &bare.base);
}

static bool reader_is_over;

/* A vCPU that reads the page itself, as it does without an exit. */
static void *torn_reader(void *arg)
{
	unsigned *torn = arg;

	while (!__atomic_load_n(&reader_is_over, __ATOMIC_RELAXED)) {
		uint32_t field = __atomic_load_n(&d.regs.word[(VIRTIO_MMIO_CONFIG + 8) / 4], __ATOMIC_RELAXED);
		uint32_t before = __atomic_load_n(&d.regs.word[VIRTIO_MMIO_INTERRUPT_STATUS / 4], __ATOMIC_ACQUIRE);

		*torn += (uint16_t)field != field >> 16 || !(before & VIRTIO_MMIO_INT_VRING);
	}
	return NULL;
}

/* A field that changes is the old or the new one to whoever reads it in between, and the vring bit does not flicker when the other one is acknowledged. */
static void test_mmio_fields_change_at_once(void **state)
{
	unsigned torn = 0;
	pthread_t thread;

	(void)state;
	virtio_device_set_config(&bare.base, 8, "\0\0\0\0", 4);
	tdrv_start(&d);
	reader_is_over = false;
	assert_int_equal(pthread_create(&thread, NULL, torn_reader, &torn), 0);
	for (uint32_t i = 0; i < 200000; i++) {
		uint32_t field = (i & 0xffff) * 0x10001;

		virtio_device_set_config(&bare.base, 8, &field, 4);
		virtio_device_config_changed(&bare.base);
		tdrv_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	}
	__atomic_store_n(&reader_is_over, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(torn, 0);
}

static void test_mmio_configuration_writes_inside_only(void **state)
{
	(void)state;
	virtio_mmio_write(&d.mmio, VIRTIO_MMIO_CONFIG + 8, "12345678", 8);
	assert_int_equal(bare.config_writes, 1);
	assert_int_equal(bare.config_off, 8);
	assert_int_equal(bare.config_len, 8);
	assert_memory_equal(bare.config, "12345678", 8);
	virtio_mmio_write(&d.mmio, VIRTIO_MMIO_CONFIG + 15, "x", 1);
	assert_int_equal(bare.config_writes, 2);
	virtio_mmio_write(&d.mmio, VIRTIO_MMIO_CONFIG + 15, "xy", 2);
	virtio_mmio_write(&d.mmio, VIRTIO_MMIO_CONFIG + 16, "x", 1);
	virtio_mmio_write(&d.mmio, VIRTIO_MMIO_CONFIG, "xyz", 3);
	virtio_mmio_write(&d.mmio, VIRTIO_MMIO_WINDOW - 1, "xyzuvwrs", 8);
	assert_int_equal(bare.config_writes, 2);
}

/* The status register is 32 bits wide, its bits are 8: only a word of 0 is a reset, and none of FAILED. */
static void test_mmio_status_is_a_whole_word(void **state)
{
	static const uint32_t words[] = {0x100, 0x10000, 0x80000000, 0xffffff00, 0x180, 0x10f};

	(void)state;
	tdrv_start(&d);
	bare.resets = 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		tdrv_write(&d, VIRTIO_MMIO_STATUS, words[i]);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_STATUS), 15);
	}
	assert_int_equal(bare.resets, 0);
	assert_true(virtio_device_is_running(&bare.base));
	tdrv_kick(&d, 0);
	assert_true(bare.kicks[0] > 0);
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(bare.resets, 1);
	/* The way up is made of exact words too. */
	tdrv_write(&d, VIRTIO_MMIO_STATUS, 0x101);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_STATUS), 0);
}

static void test_mmio_shared_memory_regions(void **state)
{
	(void)state;
	for (uint32_t id = 0; id < 300; id++) {
		bool is_there = id == 3;

		tdrv_write(&d, VIRTIO_MMIO_SHM_SEL, id);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_SHM_LEN_LOW), is_there ? 0 : 0xffffffff);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_SHM_LEN_HIGH), is_there ? 2 : 0xffffffff);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_SHM_BASE_LOW), is_there ? 0 : 0xffffffff);
		assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_SHM_BASE_HIGH), is_there ? 0x12345 : 0xffffffff);
	}
}

static void test_mmio_any_notify_serves_the_device(void **state)
{
	(void)state;
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0); /* nothing runs */
	assert_int_equal(bare.kicks[0] + bare.kicks[1], 0);
	tdrv_start(&d);
	tdrv_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 77);
	assert_int_equal(bare.kicks[0], 1);
	assert_int_equal(bare.kicks[1], 1);
}

/* Several vCPUs at once while the loop serves: each status write is answered when its write returns. */
static void *vcpu(void *arg)
{
	unsigned *wrong = arg;

	for (uint32_t i = 0; i < 300; i++) {
		uint32_t value = i % 2 ? VIRTIO_STATUS_ACKNOWLEDGE : 0;

		tdrv_write(&d, VIRTIO_MMIO_STATUS, value);
		tdrv_write(&d, VIRTIO_MMIO_QUEUE_SEL, i % 3);
		tdrv_read(&d, VIRTIO_MMIO_QUEUE_READY);
		virtio_mmio_write(&d.mmio, VIRTIO_MMIO_CONFIG, &i, 4);
		*wrong += tdrv_read(&d, VIRTIO_MMIO_STATUS) > VIRTIO_STATUS_ACKNOWLEDGE;
	}
	loop_stop(&d.loop);
	return NULL;
}

static void test_mmio_vcpus_wait_for_the_loop(void **state)
{
	unsigned wrong[4] = {0};
	pthread_t thread[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_create(&thread[i], NULL, vcpu, &wrong[i]), 0);
	}
	while (bare.config_writes < 4 * 300) {
		loop_run(&d.loop);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(wrong[i], 0);
	}
	assert_int_equal(bare.resets, 4 * 150);
}

/* A driver that resets the device while the host still works for it. */
static void *resetting_vcpu(void *arg)
{
	const uint32_t zero = 0;

	(void)arg;
	virtio_mmio_write(&d.mmio, VIRTIO_MMIO_STATUS, &zero, sizeof(zero));
	return NULL;
}

static unsigned waits_reported;

static void count_waits(enum log_level level, const char *line)
{
	(void)level;
	waits_reported += strstr(line, "its reset waits") != NULL;
}

static void begin_held_up_reset(pthread_t *vcpu)
{
	tdrv_start(&d);
	bare.busy = true;
	bare.resets = 0;
	waits_reported = 0;
	log_set_hook(count_waits);
	assert_int_equal(pthread_create(vcpu, NULL, resetting_vcpu, NULL), 0);
	while (bare.resets == 0) {
		loop_run_once(&d.loop, 10);
	}
	assert_true(bare.base.resetting);
	/* It waits: the loop has answered. */
	usleep(20000);
	assert_int_equal(pthread_tryjoin_np(*vcpu, NULL), EBUSY);
}

static void end_held_up_reset(pthread_t vcpu)
{
	pthread_join(vcpu, NULL);
	/* Not because it has waited long enough. */
	assert_int_equal(waits_reported, 0);
}

static void test_mmio_reset_waits_for_the_host(void **state)
{
	pthread_t vcpu;

	(void)state;
	begin_held_up_reset(&vcpu);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_STATUS), 15);
	bare.busy = false;
	virtio_device_reset_done(&bare.base);
	end_held_up_reset(vcpu);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_STATUS), 0);
}

static void test_mmio_stop_ends_the_wait_for_a_reset(void **state)
{
	pthread_t vcpu;

	(void)state;
	begin_held_up_reset(&vcpu);
	virtio_mmio_stop(&d.mmio);
	end_held_up_reset(vcpu);
	assert_true(bare.base.resetting);
	bare.busy = false;
	virtio_device_reset_done(&bare.base);
}

/*
 * A device that comes later: the fixture's is not there yet.
 */

static int set_up_empty(void **state)
{
	(void)state;
	log_set_hook(swallow);
	tdrv_init(&d);
	baredev_init(&bare, &d.loop, &d.mem);
	virtio_device_set_config(&bare.base, 0, "0123456789abcdef", 16);
	memset(&d.regs, 0xee, sizeof(d.regs));
	virtio_mmio_init(&d.mmio, &d.regs);
	return 0;
}

static void test_mmio_empty_window_says_that_nothing_is_there(void **state)
{
	(void)state;
	for (uint32_t off = 0; off < VIRTIO_MMIO_WINDOW; off += 4) {
		uint32_t value = tdrv_read(&d, off);

		if (off == VIRTIO_MMIO_MAGIC) {
			assert_int_equal(value, 0x74726976);
		} else if (off == VIRTIO_MMIO_VERSION) {
			assert_int_equal(value, 2);
		} else if (off != VIRTIO_MMIO_VENDOR_ID) {
			assert_int_equal(value, 0);
		}
	}
	tdrv_plug(&d, &bare.base);
}

static void test_mmio_empty_window_swallows_writes(void **state)
{
	struct virtio_regs before = d.regs;
	uint64_t ones = UINT64_MAX;

	(void)state;
	for (uint32_t off = 0; off < VIRTIO_MMIO_WINDOW; off++) {
		for (uint32_t len = 1; len <= 8; len++) {
			virtio_mmio_write(&d.mmio, off, &ones, len);
		}
	}
	assert_memory_equal(&d.regs, &before, sizeof(before));
	/* None of it is remembered. */
	tdrv_plug(&d, &bare.base);
	assert_int_equal(bare.config_writes + bare.resets, 0);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_DEVICE_FEATURES), BAREDEV_FEATURES | 1u << 28 | 1u << 29);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_QUEUE_SIZE_MAX), BAREDEV_QUEUE_SIZE);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_STATUS), 0);
}

static void test_mmio_device_that_comes_is_like_any_other(void **state)
{
	char config[BAREDEV_CONFIG_LEN];

	(void)state;
	tdrv_plug(&d, &bare.base);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_DEVICE_ID), 42);
	assert_int_equal(tdrv_read(&d, VIRTIO_MMIO_SHM_LEN_LOW), 0xffffffff);
	for (uint32_t off = 0; off < BAREDEV_CONFIG_LEN; off += 8) {
		virtio_mmio_read(&d.mmio, VIRTIO_MMIO_CONFIG + off, config + off, 8);
	}
	assert_memory_equal(config, "0123456789abcdef", BAREDEV_CONFIG_LEN);

	tdrv_start(&d);
	assert_int_equal(bare.activations, 1);
	tdrv_kick(&d, 0);
	assert_int_equal(bare.kicks[0], 1);
	virtio_device_config_changed(&bare.base);
	assert_int_equal(d.config_irqs, 1);
}

/* What a vCPU reads once the device id is there is all there; one that writes without looking is no harm. */
static void *early_vcpu(void *arg)
{
	unsigned *wrong = arg;
	uint32_t id;

	do {
		tdrv_write(&d, VIRTIO_MMIO_QUEUE_SEL, 0);
		tdrv_write(&d, VIRTIO_MMIO_STATUS, 0);
		tdrv_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		id = tdrv_read(&d, VIRTIO_MMIO_DEVICE_ID);
	} while (id == 0);
	*wrong += id != 42;
	*wrong += tdrv_read(&d, VIRTIO_MMIO_DEVICE_FEATURES) != (BAREDEV_FEATURES | 1u << 28 | 1u << 29);
	*wrong += tdrv_read(&d, VIRTIO_MMIO_QUEUE_SIZE_MAX) != BAREDEV_QUEUE_SIZE;
	*wrong += tdrv_read(&d, VIRTIO_MMIO_SHM_LEN_LOW) != 0xffffffff;
	*wrong += tdrv_read(&d, VIRTIO_MMIO_CONFIG + 12) != 0x66656463;
	loop_stop(&d.loop);
	return NULL;
}

static void test_mmio_device_comes_while_vcpus_look(void **state)
{
	unsigned wrong[4] = {0};
	pthread_t thread[4];

	(void)state;
	d.dev = &bare.base; /* the driver asks it whether a reset is done */
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_create(&thread[i], NULL, early_vcpu, &wrong[i]), 0);
	}
	for (unsigned i = 0; i < 1000; i++) {
		sched_yield();
	}
	tdrv_plug(&d, &bare.base);
	for (unsigned i = 0; i < 4; i++) {
		/* They wait for this loop. */
		while (pthread_tryjoin_np(thread[i], NULL) != 0) {
			loop_run_once(&d.loop, 1);
		}
		assert_int_equal(wrong[i], 0);
	}
}

int main(void)
{
#define EMPTY(name) cmocka_unit_test_setup_teardown(name, set_up_empty, tear_down)
#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH(test_mmio_says_what_it_is),
		WITH(test_mmio_features_through_the_selector),
		WITH(test_mmio_features_are_settled_once),
		WITH(test_mmio_reads_are_plain_copies_at_any_width),
		WITH(test_mmio_writes_of_other_widths_do_nothing),
		WITH(test_mmio_read_only_registers_stay),
		WITH(test_mmio_queue_is_ready_only_when_it_can_work),
		WITH(test_mmio_vring_bit_is_sticky),
		WITH(test_mmio_acknowledge_of_used_buffers_changes_nothing),
		WITH(test_mmio_acknowledge_clears_the_configuration_bit_alone),
		WITH(test_mmio_interrupts_come_without_acknowledges),
		WITH(test_mmio_reset_forgets_what_is_pending),
		WITH(test_mmio_new_configuration_is_there_before_its_interrupt),
		WITH(test_mmio_generation_moves_before_and_after_the_bytes),
		WITH(test_mmio_fields_change_at_once),
		WITH(test_mmio_configuration_writes_inside_only),
		WITH(test_mmio_status_is_a_whole_word),
		WITH(test_mmio_shared_memory_regions),
		WITH(test_mmio_any_notify_serves_the_device),
		WITH(test_mmio_vcpus_wait_for_the_loop),
		WITH(test_mmio_reset_waits_for_the_host),
		WITH(test_mmio_stop_ends_the_wait_for_a_reset),
		EMPTY(test_mmio_empty_window_says_that_nothing_is_there),
		EMPTY(test_mmio_empty_window_swallows_writes),
		EMPTY(test_mmio_device_that_comes_is_like_any_other),
		EMPTY(test_mmio_device_comes_while_vcpus_look),
	};

	return cmocka_run_group_tests_name("mmio", tests, NULL, NULL);
}
