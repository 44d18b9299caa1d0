/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the transport and its queues, driven by register accesses of any width and by writes into ring memory, before,
 * during and after a proper start. The device behind is virtio-rng. What must hold: the loop always comes to rest, and after a reset the
 * device can be started again and serves a request.
 *
 * The input is a list of four-byte steps: what, where (two bytes), value.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "devices/rng.h"
#include "tests/support/testdrv.h"
#include "vmm/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

/* Values that mean something, and small ones. */
static uint64_t value_of(uint8_t v)
{
	static const uint64_t special[] = {TDRV_RAM_GPA, TDRV_RAM_GPA + TDRV_RAM_LEN - 16, ~0ull, 0x80000000, 0xffff, 256, 257, 0xf};

	return v < 0xf0 ? v : special[v % 8];
}

static void step(struct tdrv *d, uint8_t what, uint16_t where, uint8_t v)
{
	uint64_t value = value_of(v);
	uint8_t *bytes;

	switch (what % 8) {
	case 0:
		virtio_mmio_write(&d->mmio, where % VIRTIO_MMIO_WINDOW, &value, 1u << what / 8 % 4);
		break;
	case 1:
		virtio_mmio_read(&d->mmio, where % VIRTIO_MMIO_WINDOW, &value, 1u << what / 8 % 4);
		break;
	case 2:
		tdrv_write(d, (uint32_t)where % VIRTIO_MMIO_WINDOW & ~3u, (uint32_t)value);
		break;
	case 3:
		tdrv_start_without(d, v & 1 ? 0 : 3ull << 28);
		break;
	case 4:
		/* Rings lie at the start of the memory. */
		bytes = tdrv_ptr(d, TDRV_RAM_GPA + where % 8192, 8);
		memcpy(bytes, &value, what & 8 ? 8 : 2);
		break;
	case 5:
		tdrv_add(d, 0, 0, 0, tdrv_alloc(d, 16, 1), v);
		break;
	case 6:
		tdrv_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, v & 3);
		break;
	default:
		tdrv_serve(d);
		break;
	}
}

static void must_serve(struct tdrv *d)
{
	uint32_t head, len;

	tdrv_start(d);
	tdrv_add(d, 0, 0, 0, tdrv_alloc(d, 8, 1), 8);
	tdrv_kick(d, 0);
	if (!tdrv_used(d, 0, &head, &len) || len != 8) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct tdrv d;
	struct rng rng;

	log_set_hook(on_log);
	tdrv_init(&d);
	rng_init(&rng, &d.loop, &d.mem);
	tdrv_attach(&d, &rng.base);
	tdrv_start(&d);
	for (size_t i = 0; i + 4 <= len && i < 4 * 256; i += 4) {
		step(&d, data[i], (uint16_t)(data[i + 1] | data[i + 2] << 8), data[i + 3]);
	}
	tdrv_serve(&d);
	must_serve(&d);
	tdrv_finish(&d);
	rng_finish(&rng);
	return 0;
}
