/* SPDX-License-Identifier: MIT */
/*
 * A guest's program that looks for lost completions: a thread for each disk but those with a file system, one request at a time, so that a queue whose interrupt is lost stands still
 * for ever and nothing else wakes it. What is written is read back and compared. Meanwhile drivers are taken off disks and put back, and numbered lines go to the
 * console, whose size somebody changes. Statically linked, without any library.
 *
 * On the kernel's command line: hammer.requests=N in all, hammer.rebinds=N times, hammer.depth=N requests at a time by N threads a disk (then without rebinds).
 * Lines are `hammer: KEY=VALUE`. When it has done its part it says settle=1, and waits until the console is 150 columns by 50 rows.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define DISKS_MAX 8
#define DEPTH_MAX 64
#define SECTOR 512
/* Of each thread; what it has written there. */
#define SECTORS 256
/* A request that takes longer is lost: the host VM may stand still for seconds. */
#define LOST_S 40
#define SETTLE_S 20

struct disk;

struct thread {
	pthread_t id;
	struct disk *disk;
	unsigned number; /* on its disk */
	uint64_t written[SECTORS];
	uint64_t done; /* atomic */
	uint64_t slowest_ns;
};

struct disk {
	char device[32]; /* virtioN */
	uint64_t rebinds, reopened;
	struct thread thread[DEPTH_MAX];
};

static struct disk disks[DISKS_MAX];
static unsigned ndisks, depth = 1, rebinds;
static uint64_t requests = 1000, wanted; /* in all, of each thread */
static bool over; /* atomic */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Return: never. */
static void give_up(const char *fmt, ...)
{
	va_list ap;

	printf("hammer: wrong=");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	_exit(1);
}

/* The number behind @name= on the command line. */
static uint64_t option(const char *name, uint64_t otherwise)
{
	static char line[4096];
	FILE *f = fopen("/proc/cmdline", "r");
	const char *at;

	if (!f || !fgets(line, sizeof(line), f)) {
		give_up("no command line");
	}
	fclose(f);
	at = strstr(line, name);
	return at ? strtoull(at + strlen(name) + 1, NULL, 0) : otherwise;
}

/* Calls @fn for each name in @folder until it returns true. */
static bool each_name(const char *folder, bool (*fn)(const char *name, void *ctx), void *ctx)
{
	DIR *dir = opendir(folder);
	const struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir))) {
		found = e->d_name[0] != '.' && fn(e->d_name, ctx);
	}
	if (dir) {
		closedir(dir);
	}
	return found;
}

static bool add_disk(const char *name, void *ctx)
{
	char path[300], target[300];
	ssize_t n;

	(void)ctx;
	snprintf(path, sizeof(path), "/sys/block/%s/device", name);
	n = readlink(path, target, sizeof(target) - 1);
	if (strncmp(name, "vd", 2) != 0 || n <= 0 || ndisks == DISKS_MAX) {
		return false;
	}
	target[n] = '\0';
	snprintf(disks[ndisks++].device, sizeof(disks[0].device), "%.31s", strrchr(target, '/') + 1);
	return false;
}

static bool copy_name(const char *name, void *ctx)
{
	snprintf(ctx, 32, "%.31s", name);
	return true;
}

/* The disk's node: another one after its driver has come back. Return: the descriptor or -1. */
static int open_disk(const struct disk *d)
{
	char folder[300], name[32], path[64];

	snprintf(folder, sizeof(folder), "/sys/bus/virtio/devices/%s/block", d->device);
	if (!each_name(folder, copy_name, name)) {
		return -1;
	}
	snprintf(path, sizeof(path), "/dev/%s", name);
	return open(path, O_RDWR | O_DIRECT);
}

static void request(struct thread *t, int fd, uint64_t *sector, uint64_t n)
{
	unsigned where = (unsigned)((n * 2654435761u >> 7) % SECTORS);
	off_t at = (off_t)(t->number * SECTORS + where) * SECTOR;
	uint64_t start = now_ns(), took;
	bool writes = n % 8 == 7;
	ssize_t r;

	if (writes) {
		for (unsigned i = 0; i < SECTOR / sizeof(*sector); i++) {
			sector[i] = n;
		}
	}
	r = writes ? pwrite(fd, sector, SECTOR, at) : pread(fd, sector, SECTOR, at);
	if (r != SECTOR) {
		/* A write that failed may have been done. */
		t->written[where] = writes ? UINT64_MAX : t->written[where];
		return;
	}
	if (writes) {
		t->written[where] = n;
	} else if (t->written[where] == UINT64_MAX) {
		t->written[where] = sector[0];
	} else if (sector[0] != t->written[where] || sector[SECTOR / sizeof(*sector) - 1] != t->written[where]) {
		give_up("%s sector %u is %llu and not %llu", t->disk->device, where, (unsigned long long)sector[0],
			(unsigned long long)t->written[where]);
	}
	took = now_ns() - start;
	t->slowest_ns = took > t->slowest_ns ? took : t->slowest_ns;
	__atomic_store_n(&t->done, t->done + 1, __ATOMIC_RELEASE);
}

static void *work(void *arg)
{
	struct thread *t = arg;
	uint64_t *sector = aligned_alloc(4096, 4096), n = 0;

	while (t->done < wanted) {
		int fd = open_disk(t->disk);

		while (fd >= 0 && t->done < wanted) {
			uint64_t before = t->done;

			request(t, fd, sector, n++);
			if (t->done == before) {
				break; /* the driver has gone */
			}
		}
		if (fd >= 0) {
			close(fd);
		}
		if (t->done < wanted) {
			__atomic_add_fetch(&t->disk->reopened, 1, __ATOMIC_RELAXED);
			usleep(2000);
		}
	}
	free(sector);
	return NULL;
}

/* @what: bind or unbind */
static void driver(const struct disk *d, const char *what)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/virtio/drivers/virtio_blk/%s", what);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, d->device, strlen(d->device)) < 0) {
		give_up("%s %s: %s", what, d->device, strerror(errno));
	}
	close(fd);
}

/* Spread over the run: each time when a disk has done another share of its requests. */
static void *rebind(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < rebinds; i++) {
		struct disk *d = &disks[i % ndisks];

		while (__atomic_load_n(&d->thread[0].done, __ATOMIC_ACQUIRE) < wanted / (rebinds + 1) * (i + 1)) {
			usleep(1000);
		}
		driver(d, "unbind");
		usleep(10000);
		driver(d, "bind");
		d->rebinds++;
	}
	return NULL;
}

/* A second without a request of some thread is nothing; LOST_S are the end. */
static void *watch(void *arg)
{
	static uint64_t seen[DISKS_MAX][DEPTH_MAX], since[DISKS_MAX][DEPTH_MAX];

	(void)arg;
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		for (unsigned i = 0; i < ndisks * depth; i++) {
			struct thread *t = &disks[i / depth].thread[i % depth];
			uint64_t done = __atomic_load_n(&t->done, __ATOMIC_ACQUIRE), *at = &since[i / depth][i % depth];

			if (done != seen[i / depth][i % depth] || *at == 0 || done == wanted) {
				seen[i / depth][i % depth] = done;
				*at = now_ns();
			} else if (now_ns() - *at > LOST_S * 1000000000ull) {
				give_up("%s stands still after %llu requests", t->disk->device, (unsigned long long)done);
			}
		}
		usleep(200000);
	}
	return NULL;
}

/* Keeps the console's queue busy while its size changes. Return: how many changes were seen. */
static void *talk(void *arg)
{
	unsigned *changes = arg, line = 0;
	struct winsize size, last = {0};

	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		if (ioctl(1, TIOCGWINSZ, &size) == 0 && memcmp(&size, &last, sizeof(size)) != 0) {
			++*changes;
			last = size;
		}
		if (++line % 8 == 0) {
			printf("hammer: line=%u\n", line / 8);
		}
		usleep(5000);
	}
	return NULL;
}

static void settle(void)
{
	struct winsize size = {0};

	printf("hammer: settle=1\n");
	for (unsigned i = 0; i < SETTLE_S * 100 && (size.ws_col != 150 || size.ws_row != 50); i++) {
		usleep(10000);
		ioctl(1, TIOCGWINSZ, &size);
	}
	printf("hammer: size=%ux%u\n", size.ws_col, size.ws_row);
}

static void run(void)
{
	pthread_t helper[3];
	unsigned changes = 0;
	uint64_t done = 0, slowest = 0, reopened = 0, bound = 0;

	pthread_create(&helper[0], NULL, watch, NULL);
	pthread_create(&helper[1], NULL, talk, &changes);
	for (unsigned i = 0; i < ndisks * depth; i++) {
		struct thread *t = &disks[i / depth].thread[i % depth];

		*t = (struct thread){.disk = &disks[i / depth], .number = i % depth};
		memset(t->written, 0xff, sizeof(t->written));
		pthread_create(&t->id, NULL, work, t);
	}
	pthread_create(&helper[2], NULL, rebind, NULL);
	for (unsigned i = 0; i < ndisks * depth; i++) {
		struct thread *t = &disks[i / depth].thread[i % depth];

		pthread_join(t->id, NULL);
		done += t->done;
		slowest = t->slowest_ns > slowest ? t->slowest_ns : slowest;
	}
	pthread_join(helper[2], NULL);
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	pthread_join(helper[1], NULL);
	pthread_join(helper[0], NULL);
	for (unsigned i = 0; i < ndisks; i++) {
		reopened += disks[i].reopened;
		bound += disks[i].rebinds;
	}
	settle();
	printf("hammer: requests=%llu\nhammer: rebinds=%llu\nhammer: reopened=%llu\nhammer: slowest_ms=%llu\nhammer: changes=%u\n", (unsigned long long)done,
		(unsigned long long)bound, (unsigned long long)reopened, (unsigned long long)slowest / 1000000, changes);
}

int main(void)
{
	setlinebuf(stdout);
	requests = option("hammer.requests", requests);
	depth = (unsigned)option("hammer.depth", depth);
	rebinds = (unsigned)option("hammer.rebinds", 0);
	each_name("/sys/block", add_disk, NULL);
	if (ndisks == 0 || depth == 0 || depth > DEPTH_MAX) {
		give_up("%u disks, depth %u", ndisks, depth);
	}
	wanted = requests / ndisks / depth;
	printf("hammer: disks=%u\n", ndisks);
	run();
	return 0;
}
