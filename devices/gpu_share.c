/* SPDX-License-Identifier: MIT */
#include "devices/gpu_share.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int create(int dev, const struct udmabuf_create_list *list)
{
	int fd = ioctl(dev, UDMABUF_CREATE_LIST, list);

	return fd < 0 ? -errno : fd;
}

int gpu_share_open(struct gpu_share *share)
{
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);

	if (dev < 0) {
		return -errno;
	}
	*share = (struct gpu_share){.dev = dev, .create = create};
	return 0;
}

void gpu_share_close(struct gpu_share *share)
{
	if (share->create) {
		close(share->dev);
	}
	*share = (struct gpu_share){.create = NULL};
}

int gpu_share_create(const struct gpu_share *share, const struct gmem *mem, const struct iovec *iov, unsigned n, uint64_t *len)
{
	struct udmabuf_create_list *list;
	int r = 0;

	if (!share->create) {
		return -ENODEV;
	}
	list = calloc(1, sizeof(*list) + n * sizeof(list->list[0]));
	if (!list) {
		return -ENOMEM;
	}
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = n;
	*len = 0;
	for (unsigned i = 0; i < n && r == 0; i++) {
		uint64_t offset = 0;
		int fd = gmem_file(mem, iov[i].iov_base, iov[i].iov_len, &offset);

		if (fd < 0 || offset % GPU_SHARE_PAGE || iov[i].iov_len % GPU_SHARE_PAGE) {
			r = -EINVAL;
		} else {
			list->list[i].memfd = (uint32_t)fd;
			list->list[i].offset = offset;
			list->list[i].size = iov[i].iov_len;
			*len += iov[i].iov_len;
		}
	}
	if (r == 0) {
		r = share->create(share->dev, list);
	}
	free(list);
	return r;
}
