/* SPDX-License-Identifier: MIT */
/*
 * A guest's first and only program, for tests/bench/instructions and requests. It begins by writing 4 bytes to port 0x80, which no kernel does: that is how the host sees that it runs. Then it reads the disk,
 * one request at a time, and says on hvc0 how much the clock of the processor went on: in a host VM whose clock counts instructions, those of guest, kernel and monitor. On the
 * kernel's command line: tally.requests=N of each round. Then, with tally.deep=N, so many requests one at a time, and with DEPTH of them on their way (io_submit): each one handed over as soon as another one is done,
 * and all of them together when all are done. Before and after each it rests for PAUSE seconds, so that somebody can count from outside.
 *
 * Lines are `tally: KEY=VALUE`; the last one is `tally: over=1`. Statically linked.
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#define PORT 0x80
#define MARK 0x796c6174u
#define DISK "/dev/vda"
#define CONSOLE "/dev/hvc0"
#define BLOCK 4096
#define BLOCKS 4096 /* read from */
#define ROUNDS 3
#define WARM_UP 500
#define DEPTH 32
#define PAUSE 4
#define TRIES 1000 /* of 10 ms, until a device is there */

/* Return: never. A first program that ends is a panic. */
static void rest(void)
{
	for (;;) {
		pause();
	}
}

static void give_up(const char *what)
{
	printf("tally: wrong=%s\n", what);
	rest();
}

/* A console of several ports, as QEMU's, is announced while the first program runs already. Return: a descriptor, or -1. */
static int open_soon(const char *path, int flags)
{
	int fd = open(path, flags);

	for (unsigned i = 0; fd < 0 && i < TRIES; i++) {
		usleep(10000);
		fd = open(path, flags);
	}
	return fd;
}

/* The number behind @key. */
static unsigned option(const char *key, unsigned otherwise)
{
	static char line[4096];
	FILE *f;
	const char *at;

	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	f = fopen("/proc/cmdline", "r");
	if (!f || !fgets(line, sizeof(line), f)) {
		give_up("no command line");
	}
	fclose(f);
	at = strstr(line, key);
	return at ? (unsigned)strtoul(at + strlen(key), NULL, 0) : otherwise;
}

/* Blocks all over, the same ones each time. */
static off_t next_block(void)
{
	static uint64_t number;

	number = number * 6364136223846793005u + 1442695040888963407u;
	return (off_t)(number >> 33) % BLOCKS * BLOCK;
}

static void read_blocks(int fd, void *block, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (pread(fd, block, BLOCK, next_block()) != BLOCK) {
			give_up("a read failed");
		}
	}
}

/* @n requests, DEPTH of them at a time. */
static void read_deep(int fd, unsigned n, bool together)
{
	static _Alignas(BLOCK) uint8_t blocks[DEPTH][BLOCK];
	struct iocb cb[DEPTH], *given[DEPTH];
	struct io_event done[DEPTH];
	aio_context_t context = 0;
	long got = DEPTH;

	if (syscall(SYS_io_setup, DEPTH, &context) < 0) {
		give_up("no asynchronous input");
	}
	for (unsigned i = 0; i < DEPTH; i++) {
		done[i].data = i;
	}
	for (unsigned left = n, out = 0; left > 0 || out > 0; out -= (unsigned)got) {
		unsigned ngiven = 0;

		for (long i = 0; i < got && left > 0; i++, left--) {
			unsigned slot = (unsigned)done[i].data;

			cb[slot] = (struct iocb){.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = (uint32_t)fd, .aio_buf = (uint64_t)(uintptr_t)blocks[slot], .aio_nbytes = BLOCK,
				.aio_offset = next_block(), .aio_data = slot};
			given[ngiven++] = &cb[slot];
		}
		for (unsigned i = 0; i < ngiven; i += together ? ngiven : 1) {
			if (syscall(SYS_io_submit, context, together ? ngiven : 1, given + i) < 1) {
				give_up("a request was not taken");
			}
		}
		out += ngiven;
		got = syscall(SYS_io_getevents, context, together ? out : 1, DEPTH, done, NULL);
		for (long i = 0; i < got; i++) {
			if (done[i].res != BLOCK) {
				give_up("a deep read failed");
			}
		}
		if (got < 1) {
			give_up("nothing comes back");
		}
	}
	syscall(SYS_io_destroy, context);
}

static void be_deep(int fd, void *block, unsigned n)
{
	static const char *const ways[] = {"one", "each", "together"};

	for (unsigned i = 0; i < 3; i++) {
		printf("tally: ready=%s\n", ways[i]);
		sleep(PAUSE);
		if (i == 0) {
			read_blocks(fd, block, n);
		} else {
			read_deep(fd, n, i == 2);
		}
		printf("tally: done=%s\n", ways[i]);
		sleep(PAUSE);
	}
}

int main(void)
{
	unsigned n, deep;
	void *block;
	int fd;

	if (ioperm(PORT, 4, 1) == 0) {
		outl(MARK, PORT);
	}
	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	fd = open_soon(CONSOLE, O_WRONLY | O_NOCTTY);
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0) {
		rest();
	}
	setlinebuf(stdout);
	n = option("tally.requests=", 1000);
	deep = option("tally.deep=", 0);
	fd = open_soon(DISK, O_RDONLY | O_DIRECT);
	block = aligned_alloc(BLOCK, BLOCK);
	if (fd < 0 || !block) {
		give_up("no disk");
	}
	read_blocks(fd, block, WARM_UP);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t start = __rdtsc();

		read_blocks(fd, block, n);
		printf("tally: ticks=%llu\n", (unsigned long long)(__rdtsc() - start));
	}
	if (deep > 0) {
		be_deep(fd, block, deep);
	}
	printf("tally: over=1\n");
	rest();
	return 0;
}
