/* SPDX-License-Identifier: MIT */
#include "virtio/virtq.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "virtio/device.h"
#include "virtio/le.h"

/* virtio v1.3, 2.7.5 "The Virtqueue Descriptor Table" */
struct vring_desc {
	struct le64 addr;
	struct le32 len;
	struct le16 flags;
	struct le16 next;
};

#define DESC_SIZE 16u
#define DESC_F_NEXT 1u
#define DESC_F_WRITE 2u
#define DESC_F_INDIRECT 4u
#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY 1u

/* Both rings: flags, idx, entries, event index. */
#define RING_IDX 2u
#define RING_ENTRIES 4u
#define USED_ENTRY_SIZE 8u

static_assert(sizeof(struct vring_desc) == DESC_SIZE, "descriptor layout");

/* The 16-bit ring fields, little-endian in guest memory; both sides access them without a lock. */
static uint16_t load16(const uint8_t *p, int order)
{
	struct le16 v;

	v.raw = __atomic_load_n((const uint16_t *)(const void *)p, order);
	return le16_get(v);
}

static void store16(uint8_t *p, uint16_t value, int order)
{
	__atomic_store_n((uint16_t *)(void *)p, le16_of(value).raw, order);
}

static uint64_t avail_bytes(uint16_t size)
{
	return RING_ENTRIES + 2u * (uint64_t)size + 2u;
}

static uint64_t used_bytes(uint16_t size)
{
	return RING_ENTRIES + USED_ENTRY_SIZE * (uint64_t)size + 2u;
}

static const uint8_t *used_event(const struct virtq *vq)
{
	return vq->avail + RING_ENTRIES + 2u * (size_t)vq->size;
}

static uint8_t *avail_event(const struct virtq *vq)
{
	return vq->used + RING_ENTRIES + USED_ENTRY_SIZE * (size_t)vq->size;
}

bool virtq_config_is_valid(const struct virtq_config *cfg, uint16_t max, const struct gmem *mem)
{
	return cfg->size > 0 && cfg->size <= max && (cfg->size & (cfg->size - 1)) == 0 && cfg->desc % 16 == 0 &&
		cfg->driver % 2 == 0 && cfg->device % 4 == 0 && gmem_ptr(mem, cfg->desc, DESC_SIZE * (uint64_t)cfg->size) &&
		gmem_ptr(mem, cfg->driver, avail_bytes(cfg->size)) && gmem_ptr(mem, cfg->device, used_bytes(cfg->size));
}

int virtq_start(struct virtq *vq, struct virtio_device *dev, unsigned index, const struct virtq_config *cfg)
{
	if (!virtq_config_is_valid(cfg, dev->ops->queue_size[index], dev->mem)) {
		return -EINVAL;
	}
	*vq = (struct virtq){
		.dev = dev,
		.mem = dev->mem,
		.index = index,
		.running = true,
		.event_idx = virtio_device_has(dev, VIRTIO_F_EVENT_IDX),
		.indirect = virtio_device_has(dev, VIRTIO_F_INDIRECT_DESC),
		.size = cfg->size,
		.desc = gmem_ptr(dev->mem, cfg->desc, DESC_SIZE * (uint64_t)cfg->size),
		.avail = gmem_ptr(dev->mem, cfg->driver, avail_bytes(cfg->size)),
		.used = gmem_ptr(dev->mem, cfg->device, used_bytes(cfg->size)),
	};
	return 0;
}

void virtq_stop(struct virtq *vq)
{
	vq->running = false;
	vq->in_flight = 0;
}

/* What is being walked: a table of descriptors and how many there may be. */
struct walk {
	const uint8_t *table;
	uint32_t entries;
	uint32_t limit; /* descriptors one chain may have */
	uint32_t seen;
	bool is_indirect;
};

/* Adds one buffer. Return: NULL, or what is wrong with it. */
static const char *add_segment(struct virtq *vq, struct virtq_chain *c, uint64_t addr, uint32_t len, bool writable)
{
	uint32_t *total = writable ? &c->writable_len : &c->readable_len;
	uint8_t *hva;

	if (!writable && c->nwritable > 0) {
		return "readable descriptor after a writable one";
	}
	if (len == 0) {
		/* Legal to send and nothing to transfer; drivers wait for the answer all the same. */
		return NULL;
	}
	if (len > UINT32_MAX - *total) {
		return "chain longer than 4 GiB";
	}
	hva = gmem_ptr(vq->mem, addr, len);
	if (!hva) {
		return "descriptor outside guest memory";
	}
	*total += len;
	c->seg[c->nreadable + c->nwritable] = (struct iovec){.iov_base = hva, .iov_len = len};
	if (writable) {
		c->nwritable++;
	} else {
		c->nreadable++;
	}
	return NULL;
}

/* Continues the walk in the table that @addr and @len name. */
static const char *enter_indirect(const struct virtq *vq, struct walk *w, uint64_t addr, uint32_t len, uint16_t flags)
{
	if (!vq->indirect || w->is_indirect) {
		return "indirect descriptor not allowed here";
	}
	if (flags & DESC_F_NEXT) {
		return "indirect descriptor with a next one";
	}
	if (len == 0 || len % DESC_SIZE != 0) {
		return "indirect table of a broken length";
	}
	w->table = gmem_ptr(vq->mem, addr, len);
	if (!w->table) {
		return "indirect table outside guest memory";
	}
	w->entries = len / DESC_SIZE;
	/* Drivers may put more into an indirect table than the queue is long; what bounds it is the room in a chain. */
	w->limit = VIRTQ_SIZE_MAX;
	w->seen = (uint32_t)0;
	w->is_indirect = true;
	return NULL;
}

static const char *walk_chain(struct virtq *vq, struct virtq_chain *c)
{
	struct walk w = {.table = vq->desc, .entries = vq->size, .limit = vq->size};
	uint32_t index = c->head;

	for (;;) {
		const char *wrong;
		struct vring_desc d;
		uint16_t flags;

		if (index >= w.entries) {
			return "descriptor number outside the table";
		}
		if (w.seen++ >= w.limit || c->nreadable + c->nwritable >= VIRTQ_SIZE_MAX) {
			return "descriptor loop, or chain too long";
		}
		/* The only look at guest memory: everything below is about this copy. */
		memcpy(&d, w.table + index * DESC_SIZE, sizeof(d));
		flags = le16_get(d.flags);
		if (flags & ~(DESC_F_NEXT | DESC_F_WRITE | DESC_F_INDIRECT)) {
			return "unknown descriptor flag";
		}
		if (flags & DESC_F_INDIRECT) {
			wrong = enter_indirect(vq, &w, le64_get(d.addr), le32_get(d.len), flags);
			index = 0;
			if (wrong) {
				return wrong;
			}
			continue;
		}
		wrong = add_segment(vq, c, le64_get(d.addr), le32_get(d.len), flags & DESC_F_WRITE);
		if (wrong || !(flags & DESC_F_NEXT)) {
			return wrong;
		}
		index = le16_get(d.next);
	}
}

/* Entries available, larger than the size when the index is broken. Pairs with the driver's release of idx after it has filled
 * the ring and the descriptors. */
static uint16_t available(const struct virtq *vq)
{
	return (uint16_t)(load16(vq->avail + RING_IDX, __ATOMIC_ACQUIRE) - vq->avail_next);
}

static int fail(struct virtq *vq, const char *why)
{
	virtio_device_fail(vq->dev, why);
	return -EPROTO;
}

/* virtio v1.3, 2.7.10 "Available Buffer Notification Suppression". Return: entries available after that. */
static uint16_t ask_for_kick(struct virtq *vq)
{
	if (vq->event_idx) {
		store16(avail_event(vq), vq->avail_next, __ATOMIC_RELAXED);
	} else if (vq->is_quiet) {
		store16(vq->used, 0, __ATOMIC_RELAXED);
		vq->is_quiet = false;
	} else {
		return 0;
	}
	/* Either the driver sees this when it decides about a kick, or the next load sees its new idx. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return available(vq);
}

/* There is work, so nobody needs to say so. An event index stays behind by itself. */
static void ask_for_quiet(struct virtq *vq)
{
	if (!vq->event_idx && !vq->is_quiet) {
		store16(vq->used, USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
		vq->is_quiet = true;
	}
}

int virtq_pop(struct virtq *vq, struct virtq_chain *c)
{
	const char *wrong;
	uint16_t n;

	if (!vq->running) {
		return 0;
	}
	n = available(vq);
	if (n == 0) {
		n = ask_for_kick(vq);
	}
	if (n == 0) {
		return 0;
	}
	if (n > vq->size) {
		return fail(vq, "available index ahead by more than the queue size");
	}
	if (vq->in_flight >= vq->size) {
		return fail(vq, "more chains in flight than the queue has entries");
	}
	c->vq = vq;
	c->head = load16(vq->avail + RING_ENTRIES + 2u * (vq->avail_next & (vq->size - 1u)), __ATOMIC_RELAXED);
	c->nreadable = c->nwritable = 0;
	c->readable_len = c->writable_len = c->written = 0;
	c->get_seg = c->put_seg = 0;
	c->get_off = c->put_off = 0;
	wrong = walk_chain(vq, c);
	if (wrong) {
		c->vq = NULL;
		return fail(vq, wrong);
	}
	ask_for_quiet(vq);
	vq->avail_next++;
	vq->in_flight++;
	return 1;
}

bool virtq_expect(struct virtq *vq, uint16_t n)
{
	if (!vq->running || !vq->event_idx) {
		return false;
	}
	store16(avail_event(vq), (uint16_t)(vq->avail_next + n), __ATOMIC_RELAXED);
	/* As in ask_for_kick: what is added after this is said, what was added before is seen. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return available(vq) > n;
}

size_t virtq_get(struct virtq_chain *c, void *dst, size_t n)
{
	size_t done = 0;

	while (done < n && c->get_seg < c->nreadable) {
		const struct iovec *seg = &c->seg[c->get_seg];
		size_t part = seg->iov_len - c->get_off < n - done ? seg->iov_len - c->get_off : n - done;

		memcpy((uint8_t *)dst + done, (const uint8_t *)seg->iov_base + c->get_off, part);
		done += part;
		c->get_off += part;
		if (c->get_off == seg->iov_len) {
			c->get_seg++;
			c->get_off = 0;
		}
	}
	return done;
}

/* Moves the put cursor over at most @n bytes, copying from @src unless it is NULL. */
static size_t advance_put(struct virtq_chain *c, const void *src, size_t n)
{
	size_t done = 0;

	while (done < n && c->put_seg < c->nwritable) {
		const struct iovec *seg = &c->seg[c->nreadable + c->put_seg];
		size_t part = seg->iov_len - c->put_off < n - done ? seg->iov_len - c->put_off : n - done;

		if (src) {
			memcpy((uint8_t *)seg->iov_base + c->put_off, (const uint8_t *)src + done, part);
		}
		done += part;
		c->put_off += part;
		if (c->put_off == seg->iov_len) {
			c->put_seg++;
			c->put_off = 0;
		}
	}
	c->written += (uint32_t)done;
	return done;
}

size_t virtq_put(struct virtq_chain *c, const void *src, size_t n)
{
	return advance_put(c, src, n);
}

void virtq_put_done(struct virtq_chain *c, size_t n)
{
	size_t done = advance_put(c, NULL, n);

	assert(done == n);
	(void)done;
}

size_t virtq_get_left(const struct virtq_chain *c)
{
	size_t left = 0;

	for (unsigned i = c->get_seg; i < c->nreadable; i++) {
		left += c->seg[i].iov_len;
	}
	return left - c->get_off;
}

size_t virtq_put_left(const struct virtq_chain *c)
{
	return c->writable_len - c->written;
}

static unsigned rest_of(const struct iovec *seg, unsigned n, size_t off, struct iovec *iov, unsigned max)
{
	n = n < max ? n : max;
	memcpy(iov, seg, n * sizeof(*iov));
	if (n > 0) {
		iov[0].iov_base = (uint8_t *)iov[0].iov_base + off;
		iov[0].iov_len -= off;
	}
	return n;
}

unsigned virtq_readable_iov(const struct virtq_chain *c, struct iovec *iov, unsigned max)
{
	return rest_of(&c->seg[c->get_seg], (unsigned)(c->nreadable - c->get_seg), c->get_off, iov, max);
}

unsigned virtq_writable_iov(const struct virtq_chain *c, struct iovec *iov, unsigned max)
{
	return rest_of(&c->seg[c->nreadable + c->put_seg], (unsigned)(c->nwritable - c->put_seg), c->put_off, iov, max);
}

unsigned virtq_pending(const struct virtq *vq)
{
	uint16_t n;

	if (!vq->running) {
		return 0;
	}
	n = available(vq);
	return n <= vq->size ? n : 0;
}

void virtq_push(struct virtq *vq, struct virtq_chain *c)
{
	uint8_t *entry = vq->used + RING_ENTRIES + USED_ENTRY_SIZE * (vq->used_next & (vq->size - 1u));
	const struct le32 id = le32_of(c->head), len = le32_of(c->written);

	assert(c->vq == vq);
	c->vq = NULL;
	if (!vq->running) {
		return;
	}
	assert(vq->in_flight > 0);
	vq->in_flight--;
	memcpy(entry, &id, sizeof(id));
	memcpy(entry + sizeof(id), &len, sizeof(len));
	vq->used_next++;
	/* Pairs with the driver's acquire of idx before it looks at the entry and the buffer. */
	store16(vq->used + RING_IDX, vq->used_next, __ATOMIC_RELEASE);
}

void virtq_unpop(struct virtq *vq, struct virtq_chain *c)
{
	assert(c->vq == vq);
	c->vq = NULL;
	if (!vq->running) {
		return;
	}
	assert(vq->in_flight > 0);
	vq->in_flight--;
	vq->avail_next--;
}

bool virtq_notify(struct virtq *vq)
{
	uint16_t before = vq->used_notified;
	bool wanted;

	if (!vq->running || vq->used_next == before) {
		return false;
	}
	/* Either the driver sees the used entries when it looks once more after enabling interrupts, or this sees that it did. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	vq->used_notified = vq->used_next;
	if (vq->event_idx) {
		uint16_t event = load16(used_event(vq), __ATOMIC_RELAXED);

		/* virtio v1.3, 2.7.10 "Available Buffer Notification Suppression": was @event passed since the last time? */
		wanted = (uint16_t)(vq->used_next - event - 1) < (uint16_t)(vq->used_next - before);
	} else {
		wanted = !(load16(vq->avail, __ATOMIC_RELAXED) & AVAIL_F_NO_INTERRUPT);
	}
	if (wanted) {
		vq->dev->irq.used(vq->dev->irq.ctx, vq->index);
	}
	return wanted;
}
