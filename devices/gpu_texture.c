/* SPDX-License-Identifier: MIT */
#include "devices/gpu_texture.h"

#include <stddef.h>

#define LEVELS_MAX 32u /* at the last of these every size is one pixel */
#define BLOCK_SIZE 4u /* pixels, each way, of a block that pixels are compressed to */
#define BYTES_MAX 16u /* a pixel */

/*
 * Bytes of a pixel by the number that the renderer's protocol has for its format; 0: it is not known here, and as large as pixels are.
 *
 * GPUs have no pixels of three channels, but four of the same size. And few of them read ETC and ASTC: their drivers unpack those to 8 bits a channel, or 11 to 16.
 */
static const uint8_t pixel_bytes[] = {
	[1 ... 4] = 4, /* B8G8R8A8 and what differs in order */
	[5 ... 7] = 2,
	[8] = 4, /* R10G10B10A2 */
	[9 ... 11] = 1,
	[12 ... 15] = 2,
	[16] = 2, /* Z16 */
	[17 ... 22] = 4, /* Z32, and Z24 with or without a stencil */
	[23] = 1, /* S8 */
	[24] = 8,
	[28] = 4, /* R32, with 1 to 4 channels */
	[29] = 8,
	[32] = 4,
	[33] = 8,
	[36] = 4,
	[37] = 8,
	[40] = 4,
	[41] = 8,
	[44] = 4,
	[45] = 8,
	[48] = 2, /* R16 */
	[49] = 4,
	[50 ... 51] = 8,
	[52] = 2,
	[53] = 4,
	[54 ... 55] = 8,
	[56] = 2,
	[57] = 4,
	[58 ... 59] = 8,
	[60] = 2,
	[61] = 4,
	[62 ... 63] = 8,
	[64] = 1, /* R8 */
	[65] = 2,
	[66 ... 68] = 4,
	[69] = 1,
	[70] = 2,
	[71 ... 72] = 4,
	[74] = 1,
	[75] = 2,
	[76 ... 77] = 4,
	[82] = 1,
	[83] = 2,
	[84 ... 85] = 4,
	[87] = 4,
	[88] = 8,
	[91] = 2, /* R16 of floating point */
	[92] = 4,
	[93 ... 94] = 8,
	[95] = 1,
	[96] = 2,
	[97 ... 104] = 4, /* sRGB */
	[119] = 4,
	[120] = 2,
	[121] = 4,
	[122] = 2,
	[123 ... 125] = 4,
	[126] = 8, /* Z32 of floating point with a stencil */
	[128 ... 129] = 4,
	[130] = 1,
	[131 ... 134] = 4,
	[135] = 2,
	[136 ... 137] = 4,
	[138] = 8,
	[139] = 1,
	[140] = 4,
	[141 ... 142] = 2,
	[147 ... 148] = 1,
	[149] = 2,
	[150] = 1,
	[151 ... 152] = 2,
	[153] = 4,
	[154 ... 156] = 2,
	[157] = 4,
	[158] = 2,
	[159 ... 160] = 4,
	[161] = 8,
	[162] = 4,
	[168 ... 169] = 1,
	[170 ... 171] = 2,
	[172 ... 176] = 4,
	[177] = 1, /* integers of 8 bits */
	[178] = 2,
	[179 ... 180] = 4,
	[181] = 1,
	[182] = 2,
	[183 ... 184] = 4,
	[185] = 2, /* of 16 */
	[186] = 4,
	[187 ... 188] = 8,
	[189] = 2,
	[190] = 4,
	[191 ... 192] = 8,
	[193] = 4, /* of 32 */
	[194] = 8,
	[197] = 4,
	[198] = 8,
	[201 ... 203] = 1,
	[204] = 2,
	[205 ... 207] = 1,
	[208 ... 211] = 2,
	[212] = 4,
	[213 ... 215] = 2,
	[216 ... 219] = 4,
	[220] = 8,
	[221 ... 223] = 4,
	[224] = 8,
	[225] = 4,
	[226] = 4, /* ETC1 */
	[229 ... 233] = 4,
	[234 ... 238] = 8,
	[242] = 2,
	[243 ... 245] = 4,
	[246] = 8,
	[247 ... 248] = 2,
	[249 ... 250] = 4,
	[251 ... 252] = 8,
	[253] = 4,
	[254] = 2,
	[263 ... 264] = 2,
	[265 ... 268] = 4,
	[269 ... 274] = 4, /* ETC2 */
	[275 ... 276] = 2, /* of one channel of 11 bits */
	[277 ... 278] = 4,
	[279 ... 306] = 4, /* ASTC */
	[308] = 4,
	[311] = 2,
	[312] = 1,
	[313] = 2,
	[317] = 4,
	[318] = 1,
	[319 ... 321] = 2,
	[328] = 4,
	[330 ... 333] = 2,
	[334 ... 337] = 4,
	[338 ... 340] = 2,
	[341 ... 347] = 4,
};

/* Bytes of a block, of the formats that GPUs read as they are. */
static const uint8_t block_bytes[] = {
	[105 ... 106] = 8, /* DXT1 */
	[107 ... 108] = 16,
	[109 ... 110] = 8,
	[111 ... 112] = 16,
	[113 ... 114] = 8, /* RGTC of one channel, and of two */
	[115 ... 116] = 16,
	[143 ... 144] = 8, /* LATC */
	[145 ... 146] = 16,
	[255 ... 258] = 16, /* BPTC */
};

uint32_t gpu_texture_at_level(uint32_t size, uint32_t level)
{
	return level < LEVELS_MAX && size >> level ? size >> level : 1;
}

/* Return: @a times @b, or UINT64_MAX. */
static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* Of so many pixels both ways. */
static uint64_t plane_bytes(uint32_t format, uint32_t width, uint32_t height)
{
	if (format < sizeof(block_bytes) && block_bytes[format]) {
		return times(times(((uint64_t)width + BLOCK_SIZE - 1) / BLOCK_SIZE, ((uint64_t)height + BLOCK_SIZE - 1) / BLOCK_SIZE), block_bytes[format]);
	}
	return times((uint64_t)width * height, format < sizeof(pixel_bytes) && pixel_bytes[format] ? pixel_bytes[format] : BYTES_MAX);
}

/* GPUs have powers of two of them. */
static uint64_t samples(uint32_t n)
{
	uint64_t have = 1;

	while (have < n) {
		have *= 2;
	}
	return have;
}

uint64_t gpu_texture_bytes(const struct gpu_texture *t)
{
	uint64_t layers = times(t->array_size, samples(t->nr_samples)), sum = 0;

	if (t->target == GPU_TEXTURE_BUFFER) {
		return t->width;
	}
	for (uint32_t level = 0; level <= t->last_level && level < LEVELS_MAX; level++) {
		uint32_t depth = t->target == GPU_TEXTURE_3D ? gpu_texture_at_level(t->depth, level) : t->depth;
		uint64_t plane = plane_bytes(t->format, gpu_texture_at_level(t->width, level), gpu_texture_at_level(t->height, level));

		if (__builtin_add_overflow(sum, times(times(plane, depth), layers), &sum)) {
			return UINT64_MAX;
		}
	}
	return sum;
}

/* Any numbers. */
static bool is_inside(const struct gpu_transfer *r, const struct gpu_texture *t, uint64_t layers)
{
	return r->w != 0 && r->h != 0 && r->d != 0 && (uint64_t)r->x + r->w <= gpu_texture_at_level(t->width, r->level) &&
		(uint64_t)r->y + r->h <= gpu_texture_at_level(t->height, r->level) && (uint64_t)r->z + r->d <= layers;
}

bool gpu_texture_can_move(const struct gpu_texture *t, const struct gpu_transfer *r)
{
	uint32_t width = gpu_texture_at_level(t->width, r->level), height = gpu_texture_at_level(t->height, r->level);
	uint64_t layers = t->target == GPU_TEXTURE_3D ? gpu_texture_at_level(t->depth, r->level) : t->array_size, stride, layer_stride;

	if (r->level > t->last_level || t->nr_samples > 1 || !is_inside(r, t, layers) || r->offset > INT32_MAX || r->stride > INT32_MAX || r->layer_stride > INT32_MAX) {
		return false;
	}
	if (t->target == GPU_TEXTURE_BUFFER) {
		return true;
	}
	/* No factor is above 2^31 times a number of layers. */
	stride = r->stride ? r->stride : plane_bytes(t->format, width, 1);
	layer_stride = r->layer_stride ? r->layer_stride : stride * height;
	return times(plane_bytes(t->format, width, height), layers) <= INT32_MAX &&
		r->offset + (r->d - 1) * layer_stride + (r->h - 1) * stride + plane_bytes(t->format, r->w, 1) <= INT32_MAX;
}
