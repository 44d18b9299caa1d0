/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: virtio-blk over real rings and a real (memory) file, against a driver that
 * mixes good requests with any descriptors, any memory and resets at any time, on a host that fails
 * now and then. What must hold: a good request is answered once, with a status that exists; an
 * answered write is what is read back, and what the file has; a read-only or ephemeral disk leaves
 * its file as it was; no file ever changes its size; a device that stopped works again after a
 * reset.
 *
 * The first byte chooses the disk; then steps of four bytes: what to do, and three arguments.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/blkdrv.h"
#include "vmm/log.h"

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define SIZE     65536u
#define SECTORS  (SIZE / 512)
#define DATA     (TDRV_RAM_GPA + 0xc0000) /* beyond what is allocated */
#define DATA_LEN 0x20000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct target {
	struct blkdrv v;
	struct disk_options o;
	int fd;
} targets[] = {
	{.o = {.discard = true, .engine = DISK_ENGINE_URING}},
	{.o = {.engine = DISK_ENGINE_POOL}},
	{.o = {.readonly = true}},
	{.o = {.ephemeral = true, .discard = true}},
};

static uint8_t before[SIZE], now[SIZE];
static int fault;

static int on_result(struct disk_request *r, int result)
{
	(void)r;
	switch (fault) {
	case 1:
		return result > 1 ? result / 2 : result;
	case 2:
		fault = 0;
		return -EIO;
	case 3:
		fault = 0;
		return -EINTR;
	case 4:
		return result == 0 ? -EOPNOTSUPP : result;
	default:
		return result;
	}
}

static void create(struct target *t)
{
	ssize_t n;

	t->fd = memfd_create("blk_fuzz", MFD_CLOEXEC);
	CHECK(t->fd >= 0);
	for (unsigned i = 0; i < SIZE; i++) {
		before[i] = (uint8_t)(i / 512 + i);
	}
	n = pwrite(t->fd, before, SIZE, 0);
	CHECK(n == SIZE);
	snprintf(t->v.path, sizeof(t->v.path), "/proc/self/fd/%d", t->fd);
	tdrv_init(&t->v.d);
	blkdrv_attach(&t->v, &t->o);
	disk_set_fault(t->v.b.disk, on_result);
}

static void start(struct target *t, uint8_t arg)
{
	static const uint64_t without[] = {
		0, VIRTIO_F_EVENT_IDX, BLK_F_FLUSH, BLK_F_DISCARD | BLK_F_WRITE_ZEROES};

	tdrv_start_without(&t->v.d, without[arg % 4]);
	memset(blkdrv_ptr(&t->v, DATA, DATA_LEN), arg, DATA_LEN);
}

/* Until nothing is in flight. The queue may be broken: then nothing more is answered. */
static void settle(struct target *t)
{
	tdrv_serve(&t->v.d);
	for (unsigned i = 0; t->v.b.in_flight > 0; i++) {
		CHECK(i < 500);
		loop_run_once(&t->v.d.loop, 20);
	}
	tdrv_serve(&t->v.d);
}

static uint64_t sector_of(uint8_t a)
{
	static const uint64_t odd[] = {SECTORS, SECTORS - 1, UINT64_MAX, 1ull << 55,
		(1ull << 55) - 1, UINT64_MAX / 512, 1ull << 63, UINT32_MAX};

	return a < 0xf0 ? a % SECTORS : odd[a % 8];
}

static uint32_t len_of(uint8_t b)
{
	return b < 0xf0 ? b % 32 * 512u : b % 8 * 171u;
}

static uint32_t type_of(uint8_t c)
{
	static const uint32_t types[] = {BLK_T_IN, BLK_T_OUT, BLK_T_FLUSH, BLK_T_GET_ID,
		BLK_T_DISCARD, BLK_T_WRITE_ZEROES, 2, UINT32_MAX};

	return types[c % 8];
}

static struct blkdrv_request add(struct target *t, const uint8_t *arg)
{
	uint32_t type = type_of(arg[2]), len = len_of(arg[1]);

	if (type == BLK_T_DISCARD || type == BLK_T_WRITE_ZEROES) {
		struct blkdrv_range r = {
			sector_of(arg[0]), arg[1] < 0xf0 ? arg[1] % 64 : UINT32_MAX, arg[2] >> 6};

		memcpy(blkdrv_ptr(&t->v, DATA, sizeof(r)), &r, sizeof(r));
		len = arg[2] & 0x20 ? 48 : 16;
	}
	return blkdrv_add(&t->v, type, sector_of(arg[0]), DATA, len);
}

static void check_written(struct target *t, const uint8_t *arg)
{
	uint32_t len = len_of(arg[1]);
	uint64_t sector = sector_of(arg[0]);
	const uint8_t *wrote = blkdrv_ptr(&t->v, DATA, len);
	struct blkdrv_request r;
	ssize_t n;

	fault = 0;
	CHECK(!t->o.readonly);
	if (!t->o.ephemeral) {
		n = pread(t->fd, now, len, (off_t)(sector * 512));
		CHECK(n == (ssize_t)len && memcmp(now, wrote, len) == 0);
	}
	r = blkdrv_add(&t->v, BLK_T_IN, sector, DATA + 0x10000, len);
	tdrv_kick(&t->v.d, 0);
	settle(t);
	CHECK(*r.status == BLK_S_OK);
	CHECK(memcmp(blkdrv_ptr(&t->v, DATA + 0x10000, len), wrote, len) == 0);
}

/* A good driver's request, alone; what raw steps left in the ring goes first. */
static void good_request(struct target *t, const uint8_t *arg)
{
	struct blkdrv_request r;

	start(t, arg[2] >> 5);
	memset(blkdrv_ptr(&t->v, DATA, 16384), arg[0] ^ arg[1], 16384);
	r = add(t, arg);
	tdrv_kick(&t->v.d, 0);
	settle(t);
	CHECK(virtio_device_is_running(t->v.d.dev));
	CHECK(*r.status <= BLK_S_UNSUPP);
	if (type_of(arg[2]) == BLK_T_OUT && *r.status == BLK_S_OK) {
		check_written(t, arg);
	}
}

static void raw_descriptor(struct target *t, const uint8_t *arg)
{
	uint64_t addr = arg[1] < 0xf0 ? DATA + arg[1] * 256u : UINT64_MAX - arg[1];

	tdrv_desc(&t->v.d, t->v.d.q[0].desc, arg[0] % 16, addr, arg[2] & 0x80 ? 1u : len_of(arg[0]),
		arg[2] & 7, (arg[2] >> 3) % 16);
}

static void step(struct target *t, uint8_t what, const uint8_t *arg)
{
	struct tdrv *d = &t->v.d;

	if (d->brk > TDRV_RAM_GPA + 0x80000) {
		settle(t);
		start(t, arg[0]);
	}
	switch (what % 8) {
	case 0:
		good_request(t, arg);
		break;
	case 1:
		add(t, arg);
		break;
	case 2:
		raw_descriptor(t, arg);
		break;
	case 3:
		tdrv_offer(d, 0, arg[0] % 20 ? arg[0] % 16 : arg[1]);
		break;
	case 4:
		virtio_device_kick(t->v.d.dev);
		break;
	case 5:
		loop_run_once(&d->loop, 0);
		break;
	case 6:
		fault = arg[0] % 5;
		break;
	default:
		if (arg[2] & 1) {
			start(t, arg[0]);
		} else {
			memset(blkdrv_ptr(&t->v, DATA + arg[0] * 64, 64), arg[1], 64);
		}
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct target *t;
	struct stat st;
	ssize_t n;

	if (len == 0) {
		return 0;
	}
	log_set_level(LOG_ERR);
	t = &targets[data[0] % 4];
	if (!t->v.d.dev) {
		create(t);
	}
	fault = 0;
	start(t, 0);
	for (size_t i = 1; i + 3 < len; i += 4) {
		step(t, data[i], data + i + 1);
	}
	fault = 0;
	settle(t);
	CHECK(fstat(t->fd, &st) == 0 && st.st_size == SIZE);
	if (t->o.readonly || t->o.ephemeral) {
		n = pread(t->fd, now, SIZE, 0);
		CHECK(n == SIZE && memcmp(now, before, SIZE) == 0);
	}
	good_request(t, (const uint8_t[]){1, 2, 0});
	return 0;
}
