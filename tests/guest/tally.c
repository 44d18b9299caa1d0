/* SPDX-License-Identifier: MIT */
/*
 * A guest's first and only program, for tests/bench/instructions. It begins by writing 4 bytes to port 0x80, which no kernel does: that is how the host sees that it runs. Then it reads the disk,
 * one request at a time, and says on hvc0 how much the clock of the processor went on: in a host VM whose clock counts instructions, those of guest, kernel and monitor. On the
 * kernel's command line: tally.requests=N of each round.
 *
 * Lines are `tally: KEY=VALUE`; the last one is `tally: over=1`. Statically linked.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/stat.h>
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

static unsigned requests(void)
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
	at = strstr(line, "tally.requests=");
	return at ? (unsigned)strtoul(at + strlen("tally.requests="), NULL, 0) : 1000;
}

/* Blocks all over, the same ones each time. */
static void read_blocks(int fd, void *block, unsigned n)
{
	static uint64_t number;

	for (unsigned i = 0; i < n; i++) {
		number = number * 6364136223846793005u + 1442695040888963407u;
		if (pread(fd, block, BLOCK, (off_t)(number >> 33) % BLOCKS * BLOCK) != BLOCK) {
			give_up("a read failed");
		}
	}
}

int main(void)
{
	unsigned n;
	void *block;
	int fd;

	if (ioperm(PORT, 4, 1) == 0) {
		outl(MARK, PORT);
	}
	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	if (!freopen(CONSOLE, "w", stdout)) {
		rest();
	}
	setlinebuf(stdout);
	n = requests();
	fd = open(DISK, O_RDONLY | O_DIRECT);
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
	printf("tally: over=1\n");
	rest();
	return 0;
}
