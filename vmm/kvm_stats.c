/* SPDX-License-Identifier: MIT */
#include "vmm/kvm_stats.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Linux 6.18 has 13 KiB for a vCPU. */
#define STATS_MAX 65536

static bool is_inside(uint64_t offset, uint64_t n, uint64_t len)
{
	return offset <= len && n <= len - offset;
}

/* One descriptor at @desc, @name_size bytes of name after it. */
static int parse_one(const char *buf, size_t len, const struct kvm_stats_header *header, const char *desc, const struct kvm_stats_desc *d,
	kvm_stats_fn *fn, void *ctx)
{
	static const enum kvm_stats_kind kinds[] = {
		[KVM_STATS_TYPE_CUMULATIVE] = KVM_STATS_COUNTER, [KVM_STATS_TYPE_INSTANT] = KVM_STATS_LEVEL, [KVM_STATS_TYPE_PEAK] = KVM_STATS_PEAK};
	const char *name = desc + sizeof(*d);
	uint32_t type = d->flags & KVM_STATS_TYPE_MASK;
	uint64_t value;

	if (!memchr(name, '\0', header->name_size) ||
		!is_inside((uint64_t)header->data_offset + d->offset, d->size * (uint64_t)sizeof(value), len)) {
		return -EPROTO;
	}
	if (d->size == 1 && type < sizeof(kinds) / sizeof(kinds[0])) {
		memcpy(&value, buf + header->data_offset + d->offset, sizeof(value));
		fn(ctx, name, kinds[type], value);
	}
	return 0;
}

int kvm_stats_parse(const void *buf, size_t len, kvm_stats_fn *fn, void *ctx)
{
	struct kvm_stats_header header;
	uint64_t step;
	int r = 0;

	if (len < sizeof(header)) {
		return -EPROTO;
	}
	memcpy(&header, buf, sizeof(header));
	step = sizeof(struct kvm_stats_desc) + (uint64_t)header.name_size;
	if (!is_inside(header.desc_offset, step * header.num_desc, len)) {
		return -EPROTO;
	}
	for (uint32_t i = 0; r == 0 && i < header.num_desc; i++) {
		const char *desc = (const char *)buf + header.desc_offset + i * step;
		struct kvm_stats_desc d;

		memcpy(&d, desc, sizeof(d));
		r = parse_one(buf, len, &header, desc, &d, fn, ctx);
	}
	return r;
}

int kvm_stats_open(int vm_or_vcpu_fd)
{
	int fd = ioctl(vm_or_vcpu_fd, KVM_GET_STATS_FD, NULL);

	return fd < 0 ? -errno : fd;
}

int kvm_stats_read(int stats_fd, kvm_stats_fn *fn, void *ctx)
{
	char *buf = malloc(STATS_MAX);
	size_t len = 0;
	ssize_t n;
	int r;

	if (!buf) {
		return -ENOMEM;
	}
	while ((n = pread(stats_fd, buf + len, STATS_MAX - len, (off_t)len)) > 0) {
		len += (size_t)n;
	}
	r = n < 0 ? -errno : kvm_stats_parse(buf, len, fn, ctx);
	free(buf);
	return r;
}
