#include "CInt8Kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

// The sums of a group are scaled, then added: each a rounding of its own, in every tile size alike.
#pragma STDC FP_CONTRACT OFF

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define INLINE static inline __attribute__((always_inline)) VNNI
#define VECTORS 3
#define TILE_ROWS 8

INLINE __m512 load_bf16(const uint16_t *x, __mmask16 mask) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x)), 16));
}

INLINE __mmask16 columns_mask(long count) { return count >= 16 ? 0xFFFF : (__mmask16)((1u << count) - 1); }

// Largest magnitude of a row, as the bits of a float: bf16 magnitudes order as integers, NaN above infinity.
INLINE uint32_t largest_magnitude(const uint16_t *x, long k) {
  const __m512i magnitude = _mm512_set1_epi16(0x7FFF);
  __m512i largest = _mm512_setzero_si512();
  long i = 0;
  for (; i + 32 <= k; i += 32) {
    largest = _mm512_max_epu16(largest, _mm512_and_si512(_mm512_loadu_si512(x + i), magnitude));
  }
  if (i < k) {
    const __mmask32 mask = (1u << (k - i)) - 1;
    largest = _mm512_max_epu16(largest, _mm512_and_si512(_mm512_maskz_loadu_epi16(mask, x + i), magnitude));
  }
  const __m512i even = _mm512_and_si512(largest, _mm512_set1_epi32(0xFFFF));
  return _mm512_reduce_max_epu32(_mm512_max_epu32(even, _mm512_srli_epi32(largest, 16))) << 16;
}

// `count` values that share a scale; returns the sum of the quantized values. Bytes up to the next multiple of sixteen
// behind them become 0.
INLINE int32_t quantize_run(const uint16_t *x, long count, int8_t *q, float *scale) {
  const uint32_t bits = largest_magnitude(x, count);
  float largest;
  __builtin_memcpy(&largest, &bits, 4);
  // Below 2^-118 the factor 127 / largest would overflow.
  const int is_zero = largest < 0x1p-118f;
  const int is_finite = bits < 0x7F800000u;
  *scale = !is_finite ? NAN : is_zero ? 0 : largest / 127;
  const __m512 factor = _mm512_set1_ps(is_finite && !is_zero ? 127 / largest : 0);
  __m512i sum = _mm512_setzero_si512();
  for (long i = 0; i < count; i += 16) {
    const __m512 value = load_bf16(x + i, columns_mask(count - i));
    __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(value, factor));
    // An infinity times 0 converts to the smallest integer.
    rounded = _mm512_max_epi32(rounded, _mm512_set1_epi32(-127));
    sum = _mm512_add_epi32(sum, rounded);
    _mm_storeu_si128((__m128i *)(q + i), _mm512_cvtsepi32_epi8(rounded));
  }
  return _mm512_reduce_add_epi32(sum);
}

VNNI void int8_quantize_rows(
    const uint16_t *x, long rows, long k, long stride, int8_t *q, float *scales, int32_t *offsets) {
  const long groups = (k + INT8_GROUP - 1) / INT8_GROUP;
  for (long row = 0; row < rows; ++row) {
    for (long group = 0; group < groups; ++group) {
      const long start = group * INT8_GROUP;
      const long count = k - start < INT8_GROUP ? k - start : INT8_GROUP;
      const long at = row * groups + group;
      offsets[at] = 128 * quantize_run(x + row * k + start, count, q + row * stride + start, scales + at);
    }
  }
}

VNNI void int8_pack_block(
    const uint16_t *weights, long columns, long k, uint8_t *packed, float *scales, int8_t *scratch) {
  const long quads = (k + 3) / 4;
  uint32_t *words = (uint32_t *)packed;
  for (long column = 0; column < INT8_BLOCK_COLUMNS; ++column) {
    if (column >= columns) {
      scales[column] = 0;
      for (long quad = 0; quad < quads; ++quad) words[quad * INT8_BLOCK_COLUMNS + column] = 0x80808080u;
      continue;
    }
    quantize_run(weights + column * k, k, scratch, scales + column);
    for (long quad = 0; quad < quads; ++quad) {
      uint32_t word;
      __builtin_memcpy(&word, scratch + quad * 4, 4);
      // Adding 128 to a byte flips its highest bit.
      words[quad * INT8_BLOCK_COLUMNS + column] = word ^ 0x80808080u;
    }
  }
}

// One group of a tile of `rows` rows; `rows` and `lines` are constants at every call, so that the sums live in registers. Each step
// over four inputs also fetches `lines` cache lines from `next`, the weights that are multiplied after these: they
// come from memory, and would be waited for otherwise.
INLINE void multiply_group(
    const int rows, const int lines, const uint8_t *next, const int8_t *q, const float *row_scales,
    const int32_t *row_offsets, long groups, long stride, long quads, const uint8_t *packed, const float *scales,
    long columns, float *y, long y_stride, int accumulate) {
  __m512i sums[TILE_ROWS][VECTORS];
#pragma clang loop unroll(full)
  for (int row = 0; row < rows; ++row) {
#pragma clang loop unroll(full)
    for (int v = 0; v < VECTORS; ++v) sums[row][v] = _mm512_setzero_si512();
  }
  for (long quad = 0; quad < quads; ++quad) {
    const uint8_t *block = packed + quad * (INT8_BLOCK_COLUMNS * 4);
    const __m512i w0 = _mm512_loadu_si512(block);
    const __m512i w1 = _mm512_loadu_si512(block + 64);
    const __m512i w2 = _mm512_loadu_si512(block + 128);
#pragma clang loop unroll(full)
    for (int line = 0; line < lines; ++line) _mm_prefetch(next + (quad * lines + line) * 64, _MM_HINT_T1);
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; ++row) {
      int32_t word;
      __builtin_memcpy(&word, q + row * stride + quad * 4, 4);
      const __m512i x = _mm512_set1_epi32(word);
      sums[row][0] = _mm512_dpbusd_epi32(sums[row][0], w0, x);
      sums[row][1] = _mm512_dpbusd_epi32(sums[row][1], w1, x);
      sums[row][2] = _mm512_dpbusd_epi32(sums[row][2], w2, x);
    }
  }
#pragma clang loop unroll(full)
  for (int row = 0; row < rows; ++row) {
    const __m512i offset = _mm512_set1_epi32(row_offsets[row * groups]);
    const __m512 row_scale = _mm512_set1_ps(row_scales[row * groups]);
#pragma clang loop unroll(full)
    for (int v = 0; v < VECTORS; ++v) {
      if (columns <= v * 16) break;
      const __mmask16 mask = columns_mask(columns - v * 16);
      float *out = y + row * y_stride + v * 16;
      __m512 value = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[row][v], offset));
      value = _mm512_mul_ps(_mm512_mul_ps(value, row_scale), _mm512_loadu_ps(scales + v * 16));
      if (accumulate) value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, out), value);
      _mm512_mask_storeu_ps(out, mask, value);
    }
  }
}

// All groups of a tile, whose results stay in the first cache meanwhile.
INLINE void multiply_tile(
    const int rows, const int lines, const uint8_t *next, const int8_t *q, const float *row_scales,
    const int32_t *row_offsets, long stride, long quads, const uint8_t *packed, const float *scales, long columns,
    float *y, long y_stride, int accumulate) {
  const long most = INT8_GROUP / 4;
  const long groups = (quads + most - 1) / most;
  for (long group = 0; group < groups; ++group) {
    const long start = group * most;
    multiply_group(
        rows, lines, next + start * lines * 64, q + start * 4, row_scales + group, row_offsets + group, groups, stride,
        quads - start < most ? quads - start : most, packed + start * (INT8_BLOCK_COLUMNS * 4), scales, columns, y,
        y_stride, accumulate || group > 0);
  }
}

VNNI void int8_multiply_block(
    const int8_t *q, const float *row_scales, const int32_t *row_offsets, long rows, long stride, long quads,
    const uint8_t *packed, const float *scales, long columns, float *y, long y_stride, int accumulate,
    const void *next_block) {
  const long groups = (quads * 4 + INT8_GROUP - 1) / INT8_GROUP;
  // Tiles of equal size: 9 rows are 5 and 4, not 8 and a slow single one.
  const long tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  const long lines = tiles < VECTORS ? VECTORS : 1;
  for (long tile = 0; tile < tiles; ++tile) {
    const long start = rows * tile / tiles;
    const int count = (int)(rows * (tile + 1) / tiles - start);
    // The next block, in as many parts as there are lines in a step; afterwards nothing is fetched.
    const int fetches = next_block && tile * lines < VECTORS;
    const uint8_t *next = (const uint8_t *)next_block + tile * quads * 64;
#define TILE(n, l) \
  multiply_tile( \
      n, l, next, q + start * stride, row_scales + start * groups, row_offsets + start * groups, stride, quads, packed, \
      scales, columns, y + start * y_stride, y_stride, accumulate)
#define TILES(n) \
  case n: \
    if (!fetches) TILE(n, 0); \
    else if (lines == 1) TILE(n, 1); \
    else TILE(n, VECTORS); \
    break;
    switch (count) {
      TILES(1)
      TILES(2)
      TILES(3)
      TILES(4)
      TILES(5)
      TILES(6)
      TILES(7)
      TILES(8)
    }
#undef TILES
#undef TILE
  }
}
#endif
