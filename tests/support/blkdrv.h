/* SPDX-License-Identifier: MIT */
/*
 * A block driver for tests, on testdrv: a virtio-blk device over a temporary file, and requests the
 * way Linux builds them (header, data, status in an indirect table), or any other way.
 *
 *   struct blkdrv v;
 *   blkdrv_init(&v, &(struct disk_options){.discard = true}, 1 << 20);
 *   data = blkdrv_data(&v, 512);
 *   assert_int_equal(blkdrv_do(&v, BLK_T_IN, 0, data, 512), BLK_S_OK);
 *   blkdrv_finish(&v);
 *
 * Failures of the driver itself are asserts. Thread: the test's, which owns the loop.
 */
#ifndef TESTS_SUPPORT_BLKDRV_H
#define TESTS_SUPPORT_BLKDRV_H

#include <stddef.h>
#include <stdint.h>

#include "devices/blk.h"
#include "tests/support/testdrv.h"

#define BLKDRV_PENDING 0xee /* the status byte of a request without an answer */

struct blkdrv {
	struct tdrv d;
	struct blk b;
	char path[64];     /* of the backing file, until blkdrv_finish */
	uint32_t used_len; /* of the last blkdrv_do */
};

/* A request in the ring. */
struct blkdrv_request {
	uint16_t head;
	uint8_t *status;
};

/* Makes a file of @size bytes (byte i is i / 512 + i) and a started device. @o: path and loop are
 * set here. */
void blkdrv_init(struct blkdrv *v, const struct disk_options *o, size_t size);
/* Makes only the device: the caller has called tdrv_init and chosen the file. */
void blkdrv_attach(struct blkdrv *v, const struct disk_options *o);
void blkdrv_finish(struct blkdrv *v);

/* Guest memory for data. All of it is free again after tdrv_start. */
uint64_t blkdrv_data(struct blkdrv *v, size_t len);
void *blkdrv_ptr(struct blkdrv *v, uint64_t gpa, size_t len);

/* Builds a request and offers it; no kick. Data is readable for BLK_T_OUT, DISCARD, WRITE_ZEROES.
 */
struct blkdrv_request blkdrv_add(
	struct blkdrv *v, uint32_t type, uint64_t sector, uint64_t data, uint32_t len);
/* Offers an indirect table of @n descriptors at @table. Return: its head. */
uint16_t blkdrv_offer(struct blkdrv *v, uint64_t table, unsigned n);
/* Kicks and serves until @n more requests have been answered. Return: the last one's head. */
uint16_t blkdrv_wait(struct blkdrv *v, unsigned n);

/* One request from end to end. Return: its status byte. */
uint8_t blkdrv_do(struct blkdrv *v, uint32_t type, uint64_t sector, uint64_t data, uint32_t len);
/* The same for discard and write zeroes with @n ranges {sector, sectors, flags}. */
struct blkdrv_range {
	uint64_t sector;
	uint32_t num_sectors, flags;
};
uint8_t blkdrv_do_ranges(
	struct blkdrv *v, uint32_t type, const struct blkdrv_range *ranges, unsigned n);

#endif
