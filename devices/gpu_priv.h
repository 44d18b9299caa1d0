/* SPDX-License-Identifier: MIT */
/* Between the files of the graphics device. Not for anyone else. Thread: the device's loop. */
#ifndef DEVICES_GPU_PRIV_H
#define DEVICES_GPU_PRIV_H

#include "devices/gpu.h"

/* A command being carried out. */
struct gpu_command {
	struct virtq_chain *chain; /* what follows the command proper is still to be got from it */
	union {
		struct gpu_wire_hdr hdr;
		struct gpu_wire_get_edid get_edid;
		struct gpu_wire_create_2d create_2d;
		struct gpu_wire_resource resource;
		struct gpu_wire_set_scanout set_scanout;
		struct gpu_wire_flush flush;
		struct gpu_wire_transfer_2d transfer_2d;
		struct gpu_wire_attach_backing attach_backing;
		struct gpu_wire_create_blob create_blob;
		struct gpu_wire_set_scanout_blob set_scanout_blob;
		struct gpu_wire_cursor cursor;
		struct gpu_wire_get_capset_info get_capset_info;
		struct gpu_wire_get_capset get_capset;
		struct gpu_wire_ctx_create ctx_create;
		struct gpu_wire_create_3d create_3d;
		struct gpu_wire_transfer_3d transfer_3d;
		struct gpu_wire_submit_3d submit_3d;
	} in;
	union {
		struct gpu_wire_hdr hdr;
		struct gpu_wire_display_info display_info;
		struct gpu_wire_edid edid;
		struct gpu_wire_capset_info capset_info;
	} out; /* zeroed; the header is filled in by whoever answers */
	bool is_early; /* nothing of it has been done: it is to be carried out again later */
	uint32_t flushed; /* a bit for each scanout the command has flushed: its answer may wait */
	size_t out_len; /* bytes of the answer when it is no error; the header alone unless it is said */
	void *tail; /* what follows that; freed by whoever answers */
	size_t tail_len;
};

struct gpu_command_info {
	enum gpu_wire_type type;
	unsigned queue;
	size_t len; /* bytes of the command proper, header included */
	uint64_t feature; /* that must have been negotiated; 0: none */
	enum gpu_wire_type (*fn)(struct gpu *g, struct gpu_command *c); /* Return: an answer's type */
};

/* Return: NULL when there is no such command on that queue. */
const struct gpu_command_info *gpu_find_command(uint32_t type, unsigned queue);

/* Reports what is wrong with a command. Return: @answer. */
enum gpu_wire_type gpu_refuse(struct gpu *g, enum gpu_wire_type answer, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Return: GPU_RESP_OK_NODATA when a resource may be called that. */
enum gpu_wire_type gpu_check_new_id(struct gpu *g, uint32_t id);

/* Scanout @i shows nothing. */
void gpu_show_nothing(struct gpu *g, unsigned i);

/* Somebody is about to look at scanout @i. @ctx: the device. */
void gpu_refresh(void *ctx, unsigned i);

static inline void gpu_count_by(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline void gpu_count(uint64_t *counter)
{
	gpu_count_by(counter, 1);
}

#endif
