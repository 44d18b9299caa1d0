/* SPDX-License-Identifier: MIT */
/*
 * A stream's output in a file: console.log and serial.log. The path may also be a FIFO with a
 * reader or a terminal; then a reader that stops reading holds the guest's output up, as for
 * stdout. A write error (disk full) is logged once and ends the file, not the VM.
 *
 * Thread: the loop's.
 */
#ifndef VMM_STREAM_FILE_H
#define VMM_STREAM_FILE_H

#include <stdbool.h>

#include "devices/stream.h"
#include "vmm/loop.h"
#include "vmm/outfd.h"

struct stream_file {
	struct stream_sink sink;
	struct outfd out;
	uint64_t left; /* bytes it may still write */
};

/**
 * stream_file_open - open the file and attach it
 * @path: borrowed until stream_file_close; created with mode 0600 if missing
 * @keep: append to what is there (restart of a VM) instead of emptying it
 * @limit: bytes this run may write, UINT64_MAX for a file somebody asked for; the rest is dropped, and a last line says so
 *
 * Return: 0 or -errno (logged with the path).
 */
int stream_file_open(
	struct stream_file *f, struct loop *loop, struct stream *s, const char *path, bool keep,
	uint64_t limit);
/* The same with @fd, which is non-blocking and taken over. */
void stream_file_begin(struct stream_file *f, struct loop *loop, struct stream *s, int fd, const char *path, uint64_t limit);

/**
 * stream_file_check - whether stream_file_open will find a place for it, as far as can be known without touching anything
 *
 * Whether a FIFO has a reader is not looked at: looking would be its first writer.
 * Return: 0, or -errno with @err.
 */
int stream_file_check(const char *path, char *err, size_t err_len);
/* Waits at most @timeout_ms for a reader. Accepts zeroed memory. */
void stream_file_close(struct stream_file *f, unsigned timeout_ms);

#endif
