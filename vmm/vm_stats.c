/* SPDX-License-Identifier: MIT */
#include "vmm/vm_stats.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/kvm_stats.h"

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

/*
 * KVM's.
 */

static void add_counter(void *ctx, const char *name, enum kvm_stats_kind kind, uint64_t value)
{
	json_t *object = ctx;

	if (kind == KVM_STATS_COUNTER && value) {
		json_object_set_new(object, name, number(value + (uint64_t)json_integer_value(json_object_get(object, name))));
	}
}

/* Of the one VM, how many pages it has now is of interest too. */
static void add_vm_counter(void *ctx, const char *name, enum kvm_stats_kind kind, uint64_t value)
{
	json_t *object = ctx;

	(void)kind;
	if (value) {
		json_object_set_new(object, name, number(value));
	}
}

/* KVM's of one vCPU, opened here only when its thread is gone. */
static int read_vcpu(const struct vcpu *vcpu, json_t *object)
{
	int open_fd = vcpu_stats_fd(vcpu), fd = open_fd == 0 && !vcpu->started ? kvm_stats_open(vcpu->fd) : open_fd, r;

	if (fd <= 0) {
		return fd < 0 ? fd : -EAGAIN;
	}
	r = kvm_stats_read(fd, add_counter, object);
	if (fd != open_fd) {
		close(fd);
	}
	return r;
}

static void add_kvm(json_t *stats, const struct kvm *kvm, const struct vcpu *vcpu, unsigned nvcpus)
{
	json_t *vm = json_object(), *vcpus = json_object();
	int fd = kvm_stats_open(kvm->vm_fd), r = fd;

	if (fd >= 0) {
		r = kvm_stats_read(fd, add_vm_counter, vm);
		close(fd);
	}
	for (unsigned i = 0; r == 0 && i < nvcpus; i++) {
		r = read_vcpu(&vcpu[i], vcpus);
	}
	if (r == 0) {
		json_object_set(stats, "vm", vm);
		json_object_set(stats, "vcpus", vcpus);
	}
	json_decref(vm);
	json_decref(vcpus);
}

/*
 * Threads.
 */

struct usage {
	char name[16];
	uint64_t cpu_us, waits, reads, writes;
};

/* A thread that has just ended leaves @u as it is. */
static void read_thread(const char *tid, struct usage *u)
{
	char path[64], line[128];
	unsigned long long ns, n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/schedstat", tid);
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%llu", &ns) == 1) {
			u->cpu_us = ns / 1000;
		}
		fclose(f);
	}
	snprintf(path, sizeof(path), "/proc/self/task/%.16s/status", tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Name: %15[^\n]", u->name) == 1) {
			continue;
		}
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1) {
			u->waits = n;
		}
	}
	if (f) {
		fclose(f);
	}
	snprintf(path, sizeof(path), "/proc/self/task/%.16s/io", tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "syscr: %llu", &n) == 1) {
			u->reads = n;
		} else if (sscanf(line, "syscw: %llu", &n) == 1) {
			u->writes = n;
		}
	}
	if (f) {
		fclose(f);
	}
}

static void add_vcpu(json_t *array, const struct vcpu *vcpu)
{
	struct vcpu_counts c = vcpu_get_counts(vcpu);
	struct usage u = {.cpu_us = c.cpu_us, .waits = c.waits};
	char tid[16];

	if (c.cpu_us == 0 && vcpu->started) {
		snprintf(tid, sizeof(tid), "%d", vcpu_tid(vcpu));
		read_thread(tid, &u);
	}
	json_array_append_new(array, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "runs", (json_int_t)c.runs, "port_in", (json_int_t)c.port_in,
		"port_out", (json_int_t)c.port_out, "mmio_read", (json_int_t)c.mmio_read, "mmio_write", (json_int_t)c.mmio_write, "cpu_us",
		(json_int_t)u.cpu_us, "waits", (json_int_t)u.waits));
}

static bool is_vcpu(const char *tid, const struct vcpu *vcpu, unsigned nvcpus)
{
	for (unsigned i = 0; i < nvcpus; i++) {
		if (vcpu_tid(&vcpu[i]) == atoi(tid)) {
			return true;
		}
	}
	return false;
}

static json_t *list_threads(const struct vcpu *vcpu, unsigned nvcpus)
{
	json_t *array = json_array();
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;

	while (dir && json_array_size(array) < VM_STATS_THREADS_MAX && (entry = readdir(dir))) {
		struct usage u = {.name = ""};

		if (entry->d_name[0] == '.' || is_vcpu(entry->d_name, vcpu, nvcpus)) {
			continue;
		}
		read_thread(entry->d_name, &u);
		if (u.name[0]) {
			json_array_append_new(array, json_pack("{s:o, s:I, s:I, s:I, s:I}", "name", json_string_nocheck(u.name), "cpu_us",
				(json_int_t)u.cpu_us, "waits", (json_int_t)u.waits, "reads", (json_int_t)u.reads, "writes", (json_int_t)u.writes));
		}
	}
	if (dir) {
		closedir(dir);
	}
	return array;
}

static json_t *whole_process(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "user_us", (json_int_t)u.ru_utime.tv_sec * 1000000 + (json_int_t)u.ru_utime.tv_usec, "system_us",
		(json_int_t)u.ru_stime.tv_sec * 1000000 + (json_int_t)u.ru_stime.tv_usec, "minor_faults", (json_int_t)u.ru_minflt, "major_faults",
		(json_int_t)u.ru_majflt, "max_rss_kib", (json_int_t)u.ru_maxrss);
}

json_t *vm_stats_json(const struct kvm *kvm, const struct vcpu *vcpu, unsigned nvcpus)
{
	json_t *stats = json_object(), *array = json_array();

	if (!stats || !array) {
		json_decref(stats);
		json_decref(array);
		return NULL;
	}
	add_kvm(stats, kvm, vcpu, nvcpus);
	for (unsigned i = 0; i < nvcpus; i++) {
		add_vcpu(array, &vcpu[i]);
	}
	json_object_set_new(stats, "vcpu", array);
	json_object_set_new(stats, "threads", list_threads(vcpu, nvcpus));
	json_object_set_new(stats, "process", whole_process());
	return stats;
}

/*
 * Text.
 */

/* @at: its place in an array, or -1. */
static void print_group(const char *group, long at, const json_t *object, FILE *out)
{
	const char *name = json_string_value(json_object_get(object, "name"));
	void *iter;

	fprintf(out, "tinyvmm: stats %s", group);
	if (name) {
		fprintf(out, " %s", name);
	} else if (at >= 0) {
		fprintf(out, " %ld", at);
	}
	fputc(':', out);
	/* Jansson's iterators want an object that is not const, and leave it as it is. */
	for (iter = json_object_iter((json_t *)(uintptr_t)object); iter; iter = json_object_iter_next((json_t *)(uintptr_t)object, iter)) {
		const json_t *value = json_object_iter_value(iter);

		if (json_is_integer(value)) {
			fprintf(out, " %s=%" JSON_INTEGER_FORMAT, json_object_iter_key(iter), json_integer_value(value));
		}
	}
	fputc('\n', out);
}

void vm_stats_print(const json_t *stats, FILE *out)
{
	static const char *const groups[] = {"vm", "vcpus", "vcpu", "threads", "virtio", "gpu", "process"};

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		const json_t *group = json_object_get(stats, groups[i]);

		if (json_is_object(group)) {
			print_group(groups[i], -1, group, out);
		}
		for (size_t j = 0; j < json_array_size(group); j++) {
			print_group(groups[i], (long)j, json_array_get(group, j), out);
		}
	}
}
