/* SPDX-License-Identifier: MIT */
#include "devices/gpu_words.h"

#include "devices/gpu_3d.h"
#include "devices/gpu_texture.h"

#define FORMATS 313u /* numbers of formats, in each version of the library */
#define MEMORY_INFO 24u /* bytes: struct virgl_memory_info */

/* Words of transfers, of the three kinds. */
enum {
	RESOURCE = 1,
	LEVEL,
	STRIDE = 4,
	LAYER_STRIDE,
	X,
	Y,
	Z,
	W,
	H,
	D,
	INLINE_DATA, /* to the end */
	OFFSET = 12, /* of one between a resource and its backing */
	DIRECTION,
	SOURCE = 12, /* of one with another one's backing */
	SOURCE_OFFSET,
	FLAGS,
};

#define TRANSFER_WORDS 13u
#define COPY_WORDS 14u
#define FROM_HOST 2u /* a direction */
#define FLAG_FROM_HOST (1u << 1) /* of a copy; version 1.0 of the library and later */

static const struct gpu_resource *find(struct gpu *g, struct gpu_table *attached, uint32_t id)
{
	return gpu_table_find(attached, id) ? gpu_resource_find(g, id) : NULL;
}

/* @end: of what the pixels come from or go to, bytes; @offset: where they begin there. */
static bool check_box(const struct gpu_resource *res, const uint32_t *w, uint32_t offset, uint64_t end)
{
	const struct gpu_transfer t = {.x = w[X], .y = w[Y], .z = w[Z], .w = w[W], .h = w[H], .d = w[D], .level = w[LEVEL], .offset = offset, .stride = w[STRIDE], .layer_stride = w[LAYER_STRIDE]};

	/* In the texture of a 2D one, which has none, nothing is inside. */
	return res && offset < end && gpu_texture_can_move(&res->texture, &t);
}

static bool check_transfer(struct gpu *g, struct gpu_table *attached, uint32_t *w, uint32_t len)
{
	const struct gpu_resource *res;

	if (len < TRANSFER_WORDS) {
		return false;
	}
	res = find(g, attached, w[RESOURCE]);
	if (!check_box(res, w, w[OFFSET], res ? res->backing_len : 0)) {
		return false;
	}
	if (w[DIRECTION] == FROM_HOST) {
		w[D] = 1;
	}
	return true;
}

static bool check_copy(struct gpu *g, struct gpu_table *attached, uint32_t *w, uint32_t len)
{
	const struct gpu_resource *source;

	if (len < COPY_WORDS) {
		return false;
	}
	source = find(g, attached, w[SOURCE]);
	if (!check_box(find(g, attached, w[RESOURCE]), w, w[SOURCE_OFFSET], source ? source->backing_len : 0)) {
		return false;
	}
	if (w[FLAGS] & FLAG_FROM_HOST) {
		w[D] = 1;
	}
	return true;
}

/* Of these numbers the library looks up what there is to know without seeing that it is nothing. */
static bool is_format(uint32_t format)
{
	return format < FORMATS && format != 73 && (format < 78 || format > 81) && format != 86 && format != 307 && format != 309 && format != 310;
}

static bool check_object(const uint32_t *w, uint32_t len)
{
	/* What is above 24 bits is a kind of texture. */
	return (*w >> 8 & 0xff) != GPU_SAMPLER_VIEW || len < 3 || is_format(w[3] & 0xffffff);
}

static bool check_images(const uint32_t *w, uint32_t len)
{
	for (uint32_t i = 3; i + 4 <= len; i += 5) {
		if (!is_format(w[i])) {
			return false;
		}
	}
	return true;
}

/* Return: whether what the command at @w, with @len words behind it, takes is there. */
static bool check_command(struct gpu *g, struct gpu_table *attached, uint32_t *w, uint32_t len)
{
	const struct gpu_resource *res;

	switch (*w & 0xff) {
	case GPU_PIPE_RESOURCE_CREATE:
	case GPU_PIPE_RESOURCE_SET_TYPE:
		/* For blobs in the renderer's memory, which there are none of. */
		return false;
	case GPU_CREATE_OBJECT:
		return check_object(w, len);
	case GPU_SEND_STRING_MARKER:
		return len > 0 && w[1] <= (len - 1) * 4;
	case GPU_CREATE_SUB_CTX:
		return len == 1;
	case GPU_RESOURCE_INLINE_WRITE:
		return len >= INLINE_DATA && check_box(find(g, attached, w[RESOURCE]), w, 0, (len - INLINE_DATA + 1) * 4ull);
	case GPU_TRANSFER3D:
		return check_transfer(g, attached, w, len);
	case GPU_COPY_TRANSFER3D:
		return check_copy(g, attached, w, len);
	case GPU_SET_SHADER_IMAGES:
		return check_images(w, len);
	case GPU_GET_MEMORY_INFO:
		/* It is written where the first piece of the backing is, as long as that may be. */
		res = len == 1 ? find(g, attached, w[1]) : NULL;
		return res && res->first_piece >= MEMORY_INFO;
	default:
		return true;
	}
}

bool gpu_words_check(struct gpu *g, struct gpu_table *attached, uint32_t *words, uint32_t n)
{
	uint32_t len;

	for (uint32_t i = 0; i < n; i += len + 1) {
		len = words[i] >> 16;
		if (len > n - i - 1 || !check_command(g, attached, &words[i], len)) {
			return false;
		}
	}
	return true;
}
