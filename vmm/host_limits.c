/* SPDX-License-Identifier: MIT */
#include "vmm/host_limits.h"

#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"
#define CPUS_MAX 8192

static FILE *open_file(const char *root, const char *dir, const char *name)
{
	char path[2 * PATH_MAX];

	if (snprintf(path, sizeof(path), "%s%s%s", root, dir, name) >= (int)sizeof(path)) {
		return NULL;
	}
	return fopen(path, "re");
}

/* The folder of this process's group below CGROUPS, "" for the topmost. Inside a container that may be all it sees. */
static void own_group(const char *root, char *group, size_t size)
{
	char line[PATH_MAX];
	FILE *f = open_file(root, "", "/proc/self/cgroup");

	group[0] = '\0';
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		/* A path that leads out belongs to a group this process cannot see. */
		if (strncmp(line, "0::/", 4) == 0 && line[4] && !strstr(line, "/..")) {
			snprintf(group, size, "%s", line + 3);
		}
	}
	if (f) {
		fclose(f);
	}
}

/* Return: whether there is one above. */
static bool parent_group(char *group)
{
	char *slash = strrchr(group, '/');

	if (slash) {
		*slash = '\0';
	}
	return slash;
}

static FILE *open_limit(const char *root, const char *group, const char *name)
{
	char dir[PATH_MAX + 32];

	snprintf(dir, sizeof(dir), CGROUPS "%s", group);
	return open_file(root, dir, name);
}

/* Return: whole processors that the group may use in a second, 0: no limit. */
static uint64_t group_processors(const char *root, const char *group)
{
	FILE *f = open_limit(root, group, "/cpu.max");
	uint64_t quota, period, n = 0;

	if (f) {
		/* "max" is no number. */
		if (fscanf(f, "%" SCNu64 " %" SCNu64, &quota, &period) == 2 && period) {
			n = quota / period + (quota % period != 0);
		}
		fclose(f);
	}
	return n;
}

unsigned host_limits_processors(const char *root)
{
	union {
		cpu_set_t set;
		char bytes[CPUS_MAX / CHAR_BIT];
	} mask;
	char group[PATH_MAX];
	uint64_t n;

	memset(&mask, 0, sizeof(mask));
	n = sched_getaffinity(0, sizeof(mask), &mask.set) == 0 ? (unsigned)CPU_COUNT_S(sizeof(mask), &mask.set) : (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	own_group(root, group, sizeof(group));
	do {
		uint64_t most = group_processors(root, group);

		n = most && most < n ? most : n;
	} while (parent_group(group));
	return n < 1 || n > CPUS_MAX ? 1 : (unsigned)n;
}

/* The number behind @key in lines of a key and a number. Return: false when it is not there. */
static bool read_key(FILE *f, const char *key, uint64_t *value)
{
	char line[256], name[64];

	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %" SCNu64, name, value) == 2 && strcmp(name, key) == 0) {
			return true;
		}
	}
	return false;
}

static bool read_number(const char *root, const char *group, const char *name, uint64_t *value)
{
	FILE *f = open_limit(root, group, name);
	bool there = f && fscanf(f, "%" SCNu64, value) == 1;

	if (f) {
		fclose(f);
	}
	return there;
}

/* Return: bytes the group may still take, UINT64_MAX: no limit. */
static uint64_t group_memory(const char *root, const char *group)
{
	uint64_t most, used, cached = 0;
	FILE *f;

	if (!read_number(root, group, "/memory.max", &most) || !read_number(root, group, "/memory.current", &used)) {
		return UINT64_MAX;
	}
	/* Files nobody has used for long go as soon as there is need. */
	f = open_limit(root, group, "/memory.stat");
	if (f) {
		if (!read_key(f, "inactive_file", &cached)) {
			cached = 0;
		}
		fclose(f);
	}
	used -= cached < used ? cached : used;
	return used < most ? most - used : 0;
}

uint64_t host_limits_memory(const char *root)
{
	FILE *f = open_file(root, "", "/proc/meminfo");
	uint64_t kib, least = UINT64_MAX;
	char group[PATH_MAX];

	if (f) {
		if (read_key(f, "MemAvailable:", &kib)) {
			least = kib * 1024;
		}
		fclose(f);
	}
	own_group(root, group, sizeof(group));
	do {
		uint64_t left = group_memory(root, group);

		least = left < least ? left : least;
	} while (parent_group(group));
	return least;
}
