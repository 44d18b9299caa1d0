/* SPDX-License-Identifier: MIT */
/*
 * Unpacking what somebody else has packed, in a process of its own that may do nothing but compute, write to one file and end: the bytes may be hostile, and
 * a decoder that they take over has reached nothing.
 *
 * The libraries (zlib, liblzma, libzstd) are loaded there only, so that whoever needs none of them has none of them mapped.
 *
 * Thread: one of a process that has no other (it forks).
 */
#ifndef BOOT_UNPACK_H
#define BOOT_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#define UNPACK_MAX (512u << 20) /* bytes of what is unpacked */

enum unpack_format { UNPACK_UNKNOWN, UNPACK_GZIP, UNPACK_XZ, UNPACK_ZSTD };

/* By its first bytes. */
enum unpack_format unpack_format(const uint8_t *packed, size_t len);

/**
 * unpack - unpack one stream
 * @packed: what comes after the stream is ignored
 * @out_len: bytes it has when it is unpacked, at most UNPACK_MAX; any other number is an error
 * @out_fd: gets them, from its position on; a failure may leave some there
 * @deadline_ns: when the process is ended if it has not ended (clock_now_ns() time); 0: only for the processor's time that it takes
 *
 * Return: 0; -EINVAL: the stream is broken, or its process was ended; -ETIMEDOUT: it was @deadline_ns before; -ENOSYS: the library is missing; or another -errno. With @why in words.
 */
int unpack(enum unpack_format format, const uint8_t *packed, size_t len, size_t out_len, int out_fd, uint64_t deadline_ns, char *why, size_t why_len);

#endif
