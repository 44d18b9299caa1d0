/* SPDX-License-Identifier: MIT */
/*
 * Nothing is lost on the way between drivers and devices, with real threads on real processors, where the host VM has but one: four drivers on threads of their own, one request at a time each, so
 * that a lost kick or interrupt leaves one standing still, which a watchdog sees. They take interrupts as Linux' driver does, while a configuration field changes a hundred times a second and
 * devices are reset with a request on its way. KVM is played: a doorbell and an interrupt are its event descriptors, a load from the register pages is a load.
 *
 * TINYVMM_TEST_REQUESTS=N: how many in all; a third of that without the fast way.
 */
#include "vmm/virtio_bus.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/clock.h"

#define DRIVERS 4
#define REQUESTS 20000 /* takes a fraction of a second */
#define RESETS 8 /* of each device */
#define PATIENCE_MS 10000
#define CHANGE_US 10000
#define AREA 0x10000u /* guest memory of each driver: table, both rings, a question, an answer */
#define RAM_GPA 0x100000u
#define SIZE 8 /* of the queue */

/* A device that answers a number with the next one: at once, or a turn of its loop later, as a disk does. */
struct answerer {
	struct virtio_device base;
	struct virtq_chain chain;
	bool has_chain;
	unsigned n;
	struct loop_source later;
};

struct driver {
	struct virtio_slot *slot;
	struct virtio_bus *bus;
	pthread_t thread;
	uint8_t *ram;
	uint64_t gpa; /* of @ram */
	uint16_t avail, used;
	uint32_t status; /* of the device, as set */
	uint32_t config; /* as last seen */
	uint64_t deadline_ns; /* of its request */
	uint64_t requests; /* done (atomic) */
	uint64_t wanted, resets, interrupts, acks, changes, spurious;
	const char *wrong; /* NULL: nothing (atomic) */
};

static struct loop loop;
static struct gmem mem;
static struct answerer answerers[DRIVERS];
static struct driver drivers[DRIVERS];
static uint32_t last_config; /* atomic; the last one there will be, 0: not there yet */

static unsigned acknowledges; /* registers that take them without an exit */

/* What KVM would do with them is the drivers' business. */
int kvm_add_readonly_memory(struct kvm *kvm, uint64_t gpa, void *hva, size_t len)
{
	(void)kvm;
	return gpa == X86_VIRTIO_MMIO_GPA && hva && len == X86_VIRTIO_MMIO_LEN ? 0 : -EINVAL;
}

int kvm_add_irqfd(struct kvm *kvm, int fd, uint32_t gsi)
{
	(void)kvm;
	(void)gsi;
	return fd >= 0 ? 0 : -EBADF;
}

int kvm_add_ioeventfd(struct kvm *kvm, int fd, uint64_t gpa)
{
	(void)kvm;
	return fd >= 0 && gpa % VIRTIO_MMIO_WINDOW == VIRTIO_MMIO_QUEUE_NOTIFY ? 0 : -EINVAL;
}

int kvm_add_ioeventfd_value(struct kvm *kvm, int fd, uint64_t gpa, uint32_t value)
{
	(void)kvm;
	acknowledges++;
	return fd >= 0 && gpa % VIRTIO_MMIO_WINDOW == VIRTIO_MMIO_INTERRUPT_ACK && value == VIRTIO_MMIO_INT_VRING ? 0 : -EINVAL;
}

/*
 * The devices.
 */
static void answer(struct answerer *a)
{
	uint64_t number = 0;

	virtq_get(&a->chain, &number, sizeof(number));
	number++;
	virtq_put(&a->chain, &number, sizeof(number));
	virtq_push(&a->base.vq[0], &a->chain);
	a->has_chain = false;
	virtq_notify(&a->base.vq[0]);
}

static void answerer_kick(struct virtio_device *d, unsigned q)
{
	struct answerer *a = (struct answerer *)d;

	while (!a->has_chain && virtq_pop(&d->vq[q], &a->chain) == 1) {
		a->has_chain = true;
		if (++a->n % 2 == 0) {
			answer(a);
		} else {
			eventfd_write(a->later.fd, 1);
		}
	}
}

static void on_later(struct loop_source *src, uint32_t events)
{
	struct answerer *a = (struct answerer *)((char *)src - offsetof(struct answerer, later));

	(void)events;
	if (a->has_chain) {
		answer(a);
		answerer_kick(&a->base, 0);
	}
}

static void answerer_reset(struct virtio_device *d)
{
	((struct answerer *)d)->has_chain = false;
}

static int answerer_activate(struct virtio_device *d)
{
	(void)d;
	return 0;
}

static const struct virtio_device_ops answerer_ops = {
	.name = "answerer",
	.device_id = 42,
	.config_len = 4,
	.nqueues = 1,
	.queue_size = {SIZE},
	.activate = answerer_activate,
	.reset = answerer_reset,
	.kick = answerer_kick,
};

/*
 * The drivers.
 */
static uint32_t load(struct driver *d, uint32_t reg)
{
	uint64_t offset = d->slot->gpa - X86_VIRTIO_MMIO_GPA + reg;
	uint32_t value;

	if (d->bus->is_fast) {
		return __atomic_load_n((uint32_t *)(void *)(d->bus->register_pages + offset), __ATOMIC_ACQUIRE);
	}
	virtio_bus_read(d->bus, d->slot->gpa + reg, &value, sizeof(value));
	return value;
}

static void store(struct driver *d, uint32_t reg, uint32_t value)
{
	if (reg == VIRTIO_MMIO_QUEUE_NOTIFY) {
		eventfd_write(d->slot->kick.fd, 1);
	} else if (reg != VIRTIO_MMIO_INTERRUPT_ACK || value != VIRTIO_MMIO_INT_VRING || !d->bus->is_fast) {
		d->acks += reg == VIRTIO_MMIO_INTERRUPT_ACK && value == VIRTIO_MMIO_INT_VRING;
		virtio_bus_write(d->bus, d->slot->gpa + reg, &value, sizeof(value));
	}
}

static void give_up(struct driver *d, const char *what)
{
	__atomic_store_n(&d->wrong, what, __ATOMIC_RELAXED);
}

static void *at(struct driver *d, uint32_t offset)
{
	return d->ram + offset;
}

enum { TABLE = 0, AVAIL = 0x1000, USED = 0x2000, QUESTION = 0x3000, ANSWER = 0x4000 };

struct ring {
	uint16_t flags, idx, ring[SIZE], used_event;
};
struct used_ring {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[SIZE];
	uint16_t avail_event;
};
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static void store_address(struct driver *d, uint32_t reg, uint64_t gpa)
{
	store(d, reg, (uint32_t)gpa);
	store(d, reg + 4, (uint32_t)(gpa >> 32));
}

static void set_status(struct driver *d, uint32_t bit)
{
	d->status |= bit;
	store(d, VIRTIO_MMIO_STATUS, d->status);
	if (load(d, VIRTIO_MMIO_STATUS) != d->status) {
		give_up(d, "the device does not take a status");
	}
}

static void set_up(struct driver *d)
{
	struct desc *desc = at(d, TABLE);

	/* Until then the memory is the device's. */
	d->status = 0;
	store(d, VIRTIO_MMIO_STATUS, 0);
	memset(d->ram, 0, AREA);
	d->avail = d->used = 0;
	desc[0] = (struct desc){.addr = d->gpa + QUESTION, .len = 8, .flags = 1, .next = 1};
	desc[1] = (struct desc){.addr = d->gpa + ANSWER, .len = 8, .flags = 2};
	set_status(d, VIRTIO_STATUS_ACKNOWLEDGE);
	set_status(d, VIRTIO_STATUS_DRIVER);
	for (uint32_t sel = 0; sel < 2; sel++) {
		store(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
		store(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)((VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX) >> (32 * sel)));
	}
	set_status(d, VIRTIO_STATUS_FEATURES_OK);
	store(d, VIRTIO_MMIO_QUEUE_SEL, 0);
	store(d, VIRTIO_MMIO_QUEUE_SIZE, SIZE);
	store_address(d, VIRTIO_MMIO_QUEUE_DESC_LOW, d->gpa + TABLE);
	store_address(d, VIRTIO_MMIO_QUEUE_DRIVER_LOW, d->gpa + AVAIL);
	store_address(d, VIRTIO_MMIO_QUEUE_DEVICE_LOW, d->gpa + USED);
	store(d, VIRTIO_MMIO_QUEUE_READY, 1);
	set_status(d, VIRTIO_STATUS_DRIVER_OK);
}

/* Offers question @number, and kicks if the device asks for it. */
static void ask(struct driver *d, uint64_t number)
{
	struct ring *avail = at(d, AVAIL);
	struct used_ring *used = at(d, USED);
	uint16_t old = d->avail;

	d->deadline_ns = clock_now_ns() + PATIENCE_MS * CLOCK_NS_PER_MS;
	memcpy(at(d, QUESTION), &number, sizeof(number));
	avail->ring[old % SIZE] = 0;
	__atomic_store_n(&avail->idx, ++d->avail, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* vring_need_event of virtio v1.3, 2.7.10 "Available Buffer Notification Suppression" */
	if ((uint16_t)(d->avail - __atomic_load_n(&used->avail_event, __ATOMIC_RELAXED) - 1) < (uint16_t)(d->avail - old)) {
		store(d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	}
}

static bool has_used(struct driver *d)
{
	struct used_ring *used = at(d, USED);

	return __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) != d->used;
}

/* Takes what was used, asks for the next interrupt, and looks again. Return: whether there was something. */
static bool take_used(struct driver *d)
{
	struct ring *avail = at(d, AVAIL);
	bool found = false;

	while (has_used(d)) {
		found = true;
		d->used++;
		__atomic_store_n(&avail->used_event, d->used, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	return found;
}

/* Waits for an interrupt and handles it as Linux' vm_interrupt does: status, acknowledge, configuration, rings. Return: whether something was used. */
static bool interrupt(struct driver *d)
{
	struct pollfd p = {.fd = d->slot->irq_fd, .events = POLLIN};
	uint32_t status, config;
	eventfd_t n;

	/* Changes of the configuration go on, whatever stands still. */
	if (poll(&p, 1, PATIENCE_MS) != 1 || eventfd_read(p.fd, &n) < 0 || clock_now_ns() > d->deadline_ns) {
		give_up(d, "an interrupt or a kick was lost: it stands still");
		return false;
	}
	d->interrupts++;
	status = load(d, VIRTIO_MMIO_INTERRUPT_STATUS);
	store(d, VIRTIO_MMIO_INTERRUPT_ACK, status);
	if (status & VIRTIO_MMIO_INT_CONFIG) {
		config = load(d, VIRTIO_MMIO_CONFIG);
		if (config < d->config) {
			give_up(d, "the configuration went back");
		}
		d->config = config;
		d->changes++;
	}
	if (!(status & VIRTIO_MMIO_INT_VRING) || !take_used(d)) {
		d->spurious++;
		return false;
	}
	return true;
}

/* Every other request is looked for before its interrupt, for a while that varies, so that the next one meets the device while it is about to rest. Return: whether it was there. */
static bool poll_used(struct driver *d, uint64_t number)
{
	for (uint64_t i = 0; number % 2 == 0 && i < number % 61 * 50; i++) {
		if (has_used(d)) {
			return take_used(d);
		}
		__builtin_ia32_pause();
	}
	return false;
}

static void one_request(struct driver *d)
{
	uint64_t number = d->requests, got;

	ask(d, number);
	/* The driver goes while its request is on its way, and comes back. */
	if (d->requests == d->wanted / (RESETS + 1) * (d->resets + 1) && d->resets < RESETS) {
		d->resets++;
		set_up(d);
		ask(d, number);
	}
	while (!d->wrong && !poll_used(d, number) && !interrupt(d)) {
	}
	memcpy(&got, at(d, ANSWER), sizeof(got));
	if (!d->wrong && got != number + 1) {
		give_up(d, "an answer is another one's");
	}
	__atomic_store_n(&d->requests, number + 1, __ATOMIC_RELAXED);
}

static void *drive(void *arg)
{
	struct driver *d = arg;

	set_up(d);
	while (!d->wrong && d->requests < d->wanted) {
		one_request(d);
	}
	/* What changed last arrives, whatever else has been going on. */
	while (!d->wrong && (!__atomic_load_n(&last_config, __ATOMIC_ACQUIRE) || d->config != last_config)) {
		d->deadline_ns = UINT64_MAX;
		interrupt(d);
	}
	return NULL;
}

/*
 * The monitor.
 */
static void change(void *arg)
{
	for (unsigned i = 0; i < DRIVERS; i++) {
		virtio_device_set_config(&answerers[i].base, 0, arg, sizeof(uint32_t));
		virtio_device_config_changed(&answerers[i].base);
	}
}

static void *serve(void *arg)
{
	(void)arg;
	loop_run(&loop);
	return NULL;
}

static bool all_done(void)
{
	for (unsigned i = 0; i < DRIVERS; i++) {
		if (!__atomic_load_n(&drivers[i].wrong, __ATOMIC_RELAXED) && __atomic_load_n(&drivers[i].requests, __ATOMIC_RELAXED) < drivers[i].wanted) {
			return false;
		}
	}
	return true;
}

static void reset_all(void *arg)
{
	virtio_bus_reset(arg, &loop);
}

static void hammer(bool fast)
{
	static uint8_t ram[DRIVERS * AREA];
	const char *told = getenv("TINYVMM_TEST_REQUESTS");
	uint64_t requests = (told ? strtoull(told, NULL, 0) : REQUESTS) / (fast ? 1 : 3), start = clock_now_ns(), interrupts = 0, spurious = 0, changes = 0;
	struct ged ged = {0};
	static struct virtio_bus bus;
	uint32_t config = 0;
	pthread_t server;

	last_config = acknowledges = 0;
	mem = (struct gmem){0};
	gmem_add(&mem, RAM_GPA, ram, sizeof(ram));
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(virtio_bus_init(&bus, NULL, &ged, fast), 0);
	memset(bus.register_pages, 0, X86_VIRTIO_MMIO_LEN);
	for (unsigned i = 0; i < DRIVERS; i++) {
		struct answerer *a = &answerers[i];

		*a = (struct answerer){.later = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = EPOLLIN | EPOLLET, .fn = on_later}};
		virtio_device_init(&a->base, &answerer_ops, &loop, &mem);
		assert_int_equal(virtio_bus_add(&bus, &a->base), 0);
		assert_int_equal(loop_add(&loop, &a->later), 0);
		drivers[i] = (struct driver){.bus = &bus, .slot = &bus.slot[i], .ram = ram + i * AREA, .gpa = RAM_GPA + i * AREA, .wanted = requests / DRIVERS};
	}
	assert_int_equal(pthread_create(&server, NULL, serve, NULL), 0);
	for (unsigned i = 0; i < DRIVERS; i++) {
		assert_int_equal(pthread_create(&drivers[i].thread, NULL, drive, &drivers[i]), 0);
	}
	while (!all_done()) {
		usleep(CHANGE_US);
		config++;
		loop_call(&loop, change, &config);
	}
	config++;
	__atomic_store_n(&last_config, config, __ATOMIC_RELEASE);
	loop_call(&loop, change, &config);
	for (unsigned i = 0; i < DRIVERS; i++) {
		pthread_join(drivers[i].thread, NULL);
		interrupts += drivers[i].interrupts;
		spurious += drivers[i].spurious;
		changes += drivers[i].changes;
	}
	/* One for each device, however often its driver comes. */
	assert_int_equal(acknowledges, fast ? DRIVERS : 0);
	virtio_bus_stop(&bus);
	loop_call(&loop, reset_all, &bus);
	loop_stop(&loop);
	pthread_join(server, NULL);
	printf("# %s: %llu requests in %llu ms, %llu interrupts, %llu with nothing used, %u configurations, %llu seen\n", fast ? "fast" : "strict", (unsigned long long)requests,
		(unsigned long long)(clock_now_ns() - start) / CLOCK_NS_PER_MS, (unsigned long long)interrupts, (unsigned long long)spurious, config, (unsigned long long)changes);
	for (unsigned i = 0; i < DRIVERS; i++) {
		if (drivers[i].wrong) {
			printf("# driver %u after %llu requests: %s\n", i, (unsigned long long)drivers[i].requests, drivers[i].wrong);
		}
		assert_null(drivers[i].wrong);
		assert_int_equal(drivers[i].requests, drivers[i].wanted);
		assert_int_equal(drivers[i].resets, RESETS);
		assert_int_equal(drivers[i].config, config);
		/* Only what reached it, and none of those for a configuration. */
		assert_int_equal(bus.slot[i].acks, drivers[i].acks);
		assert_true(fast ? drivers[i].acks == 0 : drivers[i].acks > 0);
		loop_remove(&answerers[i].later);
		close(answerers[i].later.fd);
	}
	virtio_bus_finish(&bus);
	loop_finish(&loop);
}

static void test_virtio_bus_loses_nothing_fast(void **state)
{
	(void)state;
	hammer(true);
}

static void test_virtio_bus_loses_nothing_strict(void **state)
{
	(void)state;
	hammer(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_virtio_bus_loses_nothing_fast),
		cmocka_unit_test(test_virtio_bus_loses_nothing_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
