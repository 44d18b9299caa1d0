/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk: a disk (disk.h) as a guest sees it, with one queue.
 *
 * Each request is checked before anything is done: header, type, range, length, room for the status
 * byte. What is wrong with one request is answered in its status (IOERR, UNSUPP) and hurts no
 * other; only a broken ring stops the device. Host errors are IOERR too, and logged.
 *
 * At most BLK_SLOTS requests are in flight, in memory taken when a driver first comes, with which
 * the disk's engine is started too; the rest stays in the ring. One turn on the loop takes BLK_TURN_REQUESTS at most. While requests are in flight the host
 * works on guest memory, so a reset is held up until they are done (virtio/device.h, is_busy).
 *
 * Thread: the device's loop. Spec: virtio v1.3, 5.2 "Block Device".
 */
#ifndef DEVICES_BLK_H
#define DEVICES_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/disk.h"
#include "virtio/device.h"
#include "vmm/loop.h"

#define BLK_QUEUE_SIZE    256
#define BLK_SLOTS         128
#define BLK_TURN_REQUESTS 64
#define BLK_ID_LEN        20 /* bytes of the serial number */

/* A request without an indirect table fits into the ring: all but header and status. */
#define BLK_SEG_MAX           (BLK_QUEUE_SIZE - 2)
/* Of one discard or write zeroes request: ranges, and sectors in each. */
#define BLK_RANGES_MAX        16
#define BLK_RANGE_SECTORS_MAX (1u << 21)

#define BLK_F_SEG_MAX      (1ull << 2)
#define BLK_F_RO           (1ull << 5)
#define BLK_F_BLK_SIZE     (1ull << 6)
#define BLK_F_FLUSH        (1ull << 9)
#define BLK_F_TOPOLOGY     (1ull << 10)
#define BLK_F_DISCARD      (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

/* virtio v1.3, 5.2.6 "Device Operation" */
enum blk_type {
	BLK_T_IN = 0,
	BLK_T_OUT = 1,
	BLK_T_FLUSH = 4,
	BLK_T_GET_ID = 8,
	BLK_T_DISCARD = 11,
	BLK_T_WRITE_ZEROES = 13,
};

enum blk_status {
	BLK_S_OK = 0,
	BLK_S_IOERR = 1,
	BLK_S_UNSUPP = 2,
};

struct blk_slot;

struct blk {
	struct virtio_device base;
	struct virtio_device_ops ops; /* the table with this disk's features */
	struct disk *disk;
	char id[BLK_ID_LEN + 1];
	struct loop_timer again; /* the rest of a turn that used up its budget */
	struct blk_slot *slots, *free;
	unsigned nused; /* slots from the first on that have ever been used */
	unsigned in_flight;
	struct log_limit host_log_limit;
};

/**
 * blk_init - make a block device of a disk
 * @name: log prefix, and the serial number a guest reads (its first BLK_ID_LEN bytes)
 * @disk: opened without a loop, or with the same @loop; taken over, blk_finish closes it
 */
void blk_init(struct blk *b, const char *name, struct disk *disk, struct loop *loop,
	const struct gmem *mem);
/* Accepts zeroed memory; the device has been reset. Waits for requests in flight as disk_close
 * does. */
void blk_finish(struct blk *b);

#endif
