/* SPDX-License-Identifier: MIT */
/*
 * A disk of the host: a raw file or a block device behind an asynchronous interface. No device and
 * no virtio: blk.c is what a guest sees of it.
 *
 * Requests go to the host by io_uring (created restricted: READV, WRITEV, FSYNC and FALLOCATE on
 * registered files, nothing else), or, where that is refused, by four threads. Both answer on the
 * loop. Short reads and writes are continued; what the file does not have (a file truncated under
 * us) is EIO, never old or invented data; nothing is mapped, so nothing raises SIGBUS.
 *
 * The file is locked against other programs, on the bytes QEMU locks: one writer, or any number of
 * readers. The lock lives on a descriptor of its own that no request uses, so it goes with the
 * process however that ends.
 *
 * Thread: the loop, for everything after disk_open. Nothing waits, except where it says so.
 */
#ifndef DEVICES_DISK_H
#define DEVICES_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/loop.h"

#define DISK_SECTOR 512u /* offsets and lengths are multiples of it */

enum disk_cache {
	DISK_CACHE_WRITEBACK, /* the host's page cache, flushes reach the medium */
	DISK_CACHE_DIRECT,    /* O_DIRECT; what is not aligned for it goes through the page cache */
	DISK_CACHE_UNSAFE,    /* flushes do nothing: a crash of the host may lose the file system */
};

/* For tests. Everyone else asks for DISK_ENGINE_AUTO: io_uring, or threads where it is refused. */
enum disk_engine {
	DISK_ENGINE_AUTO,
	DISK_ENGINE_URING,
	DISK_ENGINE_POOL,
};

struct disk_options {
	const char *path;
	bool readonly;
	/* Writes go to an unlinked sparse file (in @overlay_dir, or in memory when that is NULL)
	 * and are gone at disk_close; @path is opened read-only. Ignored when @readonly. */
	bool ephemeral;
	const char *overlay_dir;
	enum disk_cache cache;
	bool discard; /* discarded and zeroed sectors may be given back to the host */
	enum disk_engine engine;
	bool quiet; /* no warnings: whoever opened it for a check has told them */
	struct loop *loop; /* NULL: open, check and lock only, until disk_run */
};

struct disk_info {
	uint64_t size;                /* bytes, a multiple of DISK_SECTOR, > 0 */
	uint32_t block_size;          /* logical, 512 for a file */
	uint32_t physical_block_size; /* power of two, >= block_size */
	bool readonly;
	bool discard;
	const char *engine; /* "io_uring", "threads", or "none" */
};

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,        /* what was answered before is on the medium; no range */
	DISK_DISCARD,      /* the content of the range does not matter any more; only a hint */
	DISK_WRITE_ZEROES, /* the range reads as zeros */
};

/*
 * One request, embedded in its owner. The disk has it, the iovec array (whose entries it changes)
 * and the memory behind it from disk_submit until @done is called.
 */
struct disk_request {
	enum disk_op op;
	bool stable; /* a write is on the medium before it is answered: for who never flushes */
	bool unmap;  /* write zeroes may give the range back to the host */
	uint64_t offset, len; /* bytes, inside the disk (asserted) */
	struct iovec *iov;    /* read, write: @len bytes in all */
	unsigned niov;        /* at most 1024 */
	/* On the loop, from disk_start or the loop's turn, never from disk_submit. @err: 0, or
	 * -errno (-ECANCELED after disk_cancel; a read or write may have been done in part). */
	void (*done)(struct disk_request *r, int err);

	/* The disk's own from here on. */
	struct disk_request *next;
	uint64_t pos; /* bytes done */
	unsigned epoch, retries;
	bool buffered, by_hand, syncing;
	struct iovec *cut; /* shortened for the current step; its own length: */
	size_t cut_len;
	struct iovec tail;
	struct disk_step {
		enum disk_call {
			DISK_CALL_READV,
			DISK_CALL_WRITEV,
			DISK_CALL_FSYNC,
			DISK_CALL_FALLOCATE
		} call;
		unsigned file; /* index of the open file */
		uint64_t offset, len;
		const struct iovec *iov;
		unsigned niov;
		int mode; /* fallocate */
		int result;
	} step;
};

struct disk;

/**
 * disk_open - open, lock and measure a disk; start its engine
 * @err: one line for the user that names the path, set on failure
 *
 * Warns (log) about a qcow2 image used as a raw one, an odd size, an unsafe cache and a file system
 * without locks. Return: 0 or -errno (-EBUSY: another program holds it); *out is set on 0.
 */
int disk_open(struct disk **out, const struct disk_options *o, char *err, size_t errlen);

/**
 * disk_run - start the engine of a disk that was opened without a loop; does nothing when it runs
 *
 * Return: 0 or -errno: no request may be submitted, and it can be tried again.
 */
int disk_run(struct disk *d, struct loop *loop);

/**
 * disk_close - cancel, wait, close. Accepts NULL
 *
 * Waits for the host to let go of guest memory, at most DISK_CLOSE_MS. Return: 0, or -ETIMEDOUT
 * (logged): then the host still works on requests, and their memory must stay where it is until the
 * process ends; the disk itself is never freed.
 */
int disk_close(struct disk *d);
#define DISK_CLOSE_MS 10000

const struct disk_info *disk_info(const struct disk *d);

/* What it has done. Thread: loop. */
struct disk_counts {
	uint64_t requests; /* submitted */
	uint64_t enters;   /* system calls that handed steps to io_uring */
};
struct disk_counts disk_get_counts(const struct disk *d);

/* @fn(@ctx) runs after each batch of done callbacks: the place to notify, and to submit more. */
void disk_set_batch(struct disk *d, void (*fn)(void *ctx), void *ctx);

/* Takes a request. It goes to the host with the next disk_start. */
void disk_submit(struct disk *d, struct disk_request *r);
/* Hands over what was submitted, in one system call, and answers what is already done. */
void disk_start(struct disk *d);

/* Requests the host has not begun end with -ECANCELED, the others when the host is done with what
 * it is at; all of them on a later turn of the loop. */
void disk_cancel(struct disk *d);
/* Submitted and not answered. 0: the host touches no memory. */
unsigned disk_in_flight(const struct disk *d);
/* Waits until nothing is in flight and answers meanwhile; blocks. Return: 0 or -ETIMEDOUT. */
int disk_drain(struct disk *d, unsigned timeout_ms);

/* For tests: @fn sees the result of each host call (bytes or -errno) and returns the one to
 * believe. */
void disk_set_fault(struct disk *d, int (*fn)(struct disk_request *r, int result));

#endif
