/* SPDX-License-Identifier: MIT */
/*
 * A folder of unpacked kernels, each a file named after the hash of what it was unpacked from. Any number of processes use it at once: a file comes by a rename, whole, and
 * one that is removed stays with those who have opened it. What is in a file is its owner's to check: a crash of the host may leave anything.
 *
 * Thread: any.
 */
#ifndef BOOT_KERNEL_CACHE_H
#define BOOT_KERNEL_CACHE_H

#include <stddef.h>
#include <stdint.h>

/* All of them together; the one that was used longest ago goes first. */
#define KERNEL_CACHE_BYTES (1ull << 30)
#define KERNEL_CACHE_FILES 16

#define KERNEL_CACHE_KEY_LEN 65 /* SHA-256 in hexadecimal, and a NUL */

/* Where it is: $XDG_CACHE_HOME/tinyvmm/kernels or ~/.cache/tinyvmm/kernels. Return: 0, or -ENOENT: nowhere; -ENAMETOOLONG. */
int kernel_cache_path(char *path, size_t len);

/* Opens the folder, and makes it first if need be. It must be its user's own, and nobody else may write there. Return: a descriptor or -errno. */
int kernel_cache_open(const char *path);

void kernel_cache_key(const void *bytes, size_t len, char key[KERNEL_CACHE_KEY_LEN]);

/* Return: a descriptor, to read, of a file that only its user can have written, and its @len; or -errno. It counts as used. */
int kernel_cache_get(int dir_fd, const char *key, uint64_t *len);
/* The same in the folder @path, which need not be the user's own: whoever can rename there can have given one of the user's files another one's key, so the file has to say which it is. */
int kernel_cache_look(const char *path, const char *key, uint64_t *len);

/* Waits until nobody else is making one, but not for ever: then two make the same. Until kernel_cache_done, or until @dir_fd is closed. Return: 0, or -ETIMEDOUT when it is @deadline_ns
 * (clock_now_ns() time; 0: none) before that. */
int kernel_cache_wait(int dir_fd, uint64_t deadline_ns);
void kernel_cache_done(int dir_fd);

/* A new file, which nobody sees yet. Return: its descriptor, to read and write, and its @name; or -errno. */
#define KERNEL_CACHE_NAME_LEN 48
int kernel_cache_new(int dir_fd, char name[KERNEL_CACHE_NAME_LEN]);
/* It has become the one of @key. Then there may be too many: the oldest go, and what processes that were killed have left. Return: 0 or -errno; -EFBIG: it is more than all may be. */
int kernel_cache_put(int dir_fd, const char *name, const char *key);

/* Also of a name from kernel_cache_new. */
void kernel_cache_remove(int dir_fd, const char *key);

/* kernel_cache_put with other limits. */
void kernel_cache_trim(int dir_fd, uint64_t bytes, unsigned files, const char *keep);

#endif
