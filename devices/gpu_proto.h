/* SPDX-License-Identifier: MIT */
/*
 * What a virtio-gpu driver and its device say to each other: commands, answers, formats.
 *
 * Every command begins with a header and is answered by one; both are little-endian. Only what is served is here.
 * Spec: virtio v1.3, 5.7 "GPU Device".
 */
#ifndef DEVICES_GPU_PROTO_H
#define DEVICES_GPU_PROTO_H

#include <assert.h>
#include <stdint.h>

#include "virtio/le.h"

#define GPU_CONTROLQ 0
#define GPU_CURSORQ 1

/* 5.7.3 "Feature bits" */
#define GPU_F_VIRGL (1ull << 0)
#define GPU_F_EDID (1ull << 1)
#define GPU_F_RESOURCE_UUID (1ull << 2) /* not offered: a resource's name for other devices of the guest, and no other here takes one */
#define GPU_F_RESOURCE_BLOB (1ull << 3)
#define GPU_F_CONTEXT_INIT (1ull << 4)

/* 5.7.4 "Device configuration layout" */
struct gpu_wire_config {
	struct le32 events_read; /* GPU_EVENT_* that happened */
	struct le32 events_clear; /* written: the ones that are taken notice of */
	struct le32 num_scanouts;
	struct le32 num_capsets;
};
static_assert(sizeof(struct gpu_wire_config) == 16, "configuration layout");

#define GPU_EVENT_DISPLAY 1u

/* 5.7.6.7 "Device Operation: Request header", 5.7.6.8 "controlq", 5.7.6.10 "cursorq" */
enum gpu_wire_type {
	GPU_CMD_GET_DISPLAY_INFO = 0x0100,
	GPU_CMD_RESOURCE_CREATE_2D,
	GPU_CMD_RESOURCE_UNREF,
	GPU_CMD_SET_SCANOUT,
	GPU_CMD_RESOURCE_FLUSH,
	GPU_CMD_TRANSFER_TO_HOST_2D,
	GPU_CMD_RESOURCE_ATTACH_BACKING,
	GPU_CMD_RESOURCE_DETACH_BACKING,
	GPU_CMD_GET_CAPSET_INFO,
	GPU_CMD_GET_CAPSET,
	GPU_CMD_GET_EDID,
	GPU_CMD_RESOURCE_ASSIGN_UUID,
	GPU_CMD_RESOURCE_CREATE_BLOB,
	GPU_CMD_SET_SCANOUT_BLOB,

	GPU_CMD_CTX_CREATE = 0x0200,
	GPU_CMD_CTX_DESTROY,
	GPU_CMD_CTX_ATTACH_RESOURCE,
	GPU_CMD_CTX_DETACH_RESOURCE,
	GPU_CMD_RESOURCE_CREATE_3D,
	GPU_CMD_TRANSFER_TO_HOST_3D,
	GPU_CMD_TRANSFER_FROM_HOST_3D,
	GPU_CMD_SUBMIT_3D,

	GPU_CMD_UPDATE_CURSOR = 0x0300,
	GPU_CMD_MOVE_CURSOR,

	GPU_RESP_OK_NODATA = 0x1100,
	GPU_RESP_OK_DISPLAY_INFO,
	GPU_RESP_OK_CAPSET_INFO,
	GPU_RESP_OK_CAPSET,
	GPU_RESP_OK_EDID,

	GPU_RESP_ERR_UNSPEC = 0x1200,
	GPU_RESP_ERR_OUT_OF_MEMORY,
	GPU_RESP_ERR_INVALID_SCANOUT_ID,
	GPU_RESP_ERR_INVALID_RESOURCE_ID,
	GPU_RESP_ERR_INVALID_CONTEXT_ID,
	GPU_RESP_ERR_INVALID_PARAMETER,
};

#define GPU_FLAG_FENCE 1u
#define GPU_FLAG_INFO_RING_IDX 2u

struct gpu_wire_hdr {
	struct le32 type;
	struct le32 flags; /* GPU_FLAG_* */
	struct le64 fence_id;
	struct le32 ctx_id;
	uint8_t ring_idx;
	uint8_t padding[3];
};
static_assert(sizeof(struct gpu_wire_hdr) == 24, "header layout");

struct gpu_wire_rect {
	struct le32 x, y, width, height; /* pixels */
};
static_assert(sizeof(struct gpu_wire_rect) == 16, "rectangle layout");

/* Names are the order of the bytes in memory. */
enum gpu_format {
	GPU_FORMAT_B8G8R8A8 = 1,
	GPU_FORMAT_B8G8R8X8 = 2,
	GPU_FORMAT_A8R8G8B8 = 3,
	GPU_FORMAT_X8R8G8B8 = 4,
	GPU_FORMAT_R8G8B8A8 = 67,
	GPU_FORMAT_X8B8G8R8 = 68,
	GPU_FORMAT_A8B8G8R8 = 121,
	GPU_FORMAT_R8G8B8X8 = 134,
};

#define GPU_BYTES_PER_PIXEL 4u /* of every format there is */
#define GPU_WIRE_SCANOUTS 16
#define GPU_CURSOR_SIZE 64 /* pixels, both ways */

struct gpu_wire_display_info {
	struct gpu_wire_hdr hdr;
	struct gpu_wire_display_one {
		struct gpu_wire_rect r;
		struct le32 enabled;
		struct le32 flags;
	} pmodes[GPU_WIRE_SCANOUTS];
};
static_assert(sizeof(struct gpu_wire_display_info) == 408, "answer layout");

struct gpu_wire_get_edid {
	struct gpu_wire_hdr hdr;
	struct le32 scanout;
	struct le32 padding;
};
static_assert(sizeof(struct gpu_wire_get_edid) == 32, "command layout");

struct gpu_wire_edid {
	struct gpu_wire_hdr hdr;
	struct le32 size; /* bytes of edid that are used */
	struct le32 padding;
	uint8_t edid[1024];
};
static_assert(sizeof(struct gpu_wire_edid) == 1056, "answer layout");

struct gpu_wire_create_2d {
	struct gpu_wire_hdr hdr;
	struct le32 resource_id;
	struct le32 format; /* enum gpu_format */
	struct le32 width, height;
};
static_assert(sizeof(struct gpu_wire_create_2d) == 40, "command layout");

/* RESOURCE_UNREF, RESOURCE_DETACH_BACKING, CTX_ATTACH_RESOURCE, CTX_DETACH_RESOURCE */
struct gpu_wire_resource {
	struct gpu_wire_hdr hdr;
	struct le32 resource_id;
	struct le32 padding;
};
static_assert(sizeof(struct gpu_wire_resource) == 32, "command layout");

struct gpu_wire_set_scanout {
	struct gpu_wire_hdr hdr;
	struct gpu_wire_rect r;
	struct le32 scanout_id;
	struct le32 resource_id; /* 0: show nothing */
};
static_assert(sizeof(struct gpu_wire_set_scanout) == 48, "command layout");

struct gpu_wire_flush {
	struct gpu_wire_hdr hdr;
	struct gpu_wire_rect r;
	struct le32 resource_id;
	struct le32 padding;
};
static_assert(sizeof(struct gpu_wire_flush) == 48, "command layout");

struct gpu_wire_transfer_2d {
	struct gpu_wire_hdr hdr;
	struct gpu_wire_rect r;
	struct le64 offset; /* in the backing, of the rectangle's first pixel */
	struct le32 resource_id;
	struct le32 padding;
};
static_assert(sizeof(struct gpu_wire_transfer_2d) == 56, "command layout");

/* A piece of backing. */
struct gpu_wire_entry {
	struct le64 addr;
	struct le32 length;
	struct le32 padding;
};
static_assert(sizeof(struct gpu_wire_entry) == 16, "entry layout");

/* Followed by nr_entries of them. */
struct gpu_wire_attach_backing {
	struct gpu_wire_hdr hdr;
	struct le32 resource_id;
	struct le32 nr_entries;
};
static_assert(sizeof(struct gpu_wire_attach_backing) == 32, "command layout");

#define GPU_BLOB_MEM_GUEST 1u
#define GPU_BLOB_FLAGS 7u /* mappable, shareable, cross-device: all the same to us */

/* Followed by nr_entries of them. */
struct gpu_wire_create_blob {
	struct gpu_wire_hdr hdr;
	struct le32 resource_id;
	struct le32 blob_mem;
	struct le32 blob_flags;
	struct le32 nr_entries;
	struct le64 blob_id;
	struct le64 size; /* bytes */
};
static_assert(sizeof(struct gpu_wire_create_blob) == 56, "command layout");

struct gpu_wire_set_scanout_blob {
	struct gpu_wire_hdr hdr;
	struct gpu_wire_rect r; /* of the picture, what is shown */
	struct le32 scanout_id;
	struct le32 resource_id; /* 0: show nothing */
	struct le32 width, height; /* of the picture in the blob */
	struct le32 format;
	struct le32 padding;
	struct le32 strides[4], offsets[4]; /* bytes; all formats have one plane */
};
static_assert(sizeof(struct gpu_wire_set_scanout_blob) == 96, "command layout");

/*
 * 5.7.6.9 "Device Operation: controlq (3d)"
 */

#define GPU_CAPSET_VIRGL 1u
#define GPU_CAPSET_VIRGL2 2u

struct gpu_wire_get_capset_info {
	struct gpu_wire_hdr hdr;
	struct le32 capset_index;
	struct le32 padding;
};
static_assert(sizeof(struct gpu_wire_get_capset_info) == 32, "command layout");

struct gpu_wire_capset_info {
	struct gpu_wire_hdr hdr;
	struct le32 capset_id; /* GPU_CAPSET_* */
	struct le32 capset_max_version;
	struct le32 capset_max_size; /* bytes */
	struct le32 padding;
};
static_assert(sizeof(struct gpu_wire_capset_info) == 40, "answer layout");

/* Answered by a header and the set. */
struct gpu_wire_get_capset {
	struct gpu_wire_hdr hdr;
	struct le32 capset_id;
	struct le32 capset_version;
};
static_assert(sizeof(struct gpu_wire_get_capset) == 32, "command layout");

/* The context is the header's. */
struct gpu_wire_ctx_create {
	struct gpu_wire_hdr hdr;
	struct le32 nlen; /* bytes of the name */
	struct le32 context_init; /* GPU_F_CONTEXT_INIT: the capability set it is for, or 0 */
	char debug_name[64];
};
static_assert(sizeof(struct gpu_wire_ctx_create) == 96, "command layout");

struct gpu_wire_create_3d {
	struct gpu_wire_hdr hdr;
	struct le32 resource_id;
	struct le32 target, format, bind; /* Gallium's */
	struct le32 width, height, depth;
	struct le32 array_size, last_level, nr_samples;
	struct le32 flags;
	struct le32 padding;
};
static_assert(sizeof(struct gpu_wire_create_3d) == 72, "command layout");

struct gpu_wire_box {
	struct le32 x, y, z, w, h, d;
};

/* TRANSFER_TO_HOST_3D, TRANSFER_FROM_HOST_3D; the context is the header's. */
struct gpu_wire_transfer_3d {
	struct gpu_wire_hdr hdr;
	struct gpu_wire_box box;
	struct le64 offset; /* in the backing, of the box' first pixel */
	struct le32 resource_id;
	struct le32 level;
	struct le32 stride, layer_stride; /* bytes; 0: without gaps */
};
static_assert(sizeof(struct gpu_wire_transfer_3d) == 72, "command layout");

/* Followed by size bytes of commands for the header's context. */
struct gpu_wire_submit_3d {
	struct gpu_wire_hdr hdr;
	struct le32 size;
	struct le32 padding;
};
static_assert(sizeof(struct gpu_wire_submit_3d) == 32, "command layout");

/* UPDATE_CURSOR, MOVE_CURSOR */
struct gpu_wire_cursor {
	struct gpu_wire_hdr hdr;
	struct {
		struct le32 scanout_id;
		struct le32 x, y; /* signed: where the image's first pixel is */
		struct le32 padding;
	} pos;
	struct le32 resource_id; /* 0: no cursor */
	struct le32 hot_x, hot_y;
	struct le32 padding;
};
static_assert(sizeof(struct gpu_wire_cursor) == 56, "command layout");

#endif
