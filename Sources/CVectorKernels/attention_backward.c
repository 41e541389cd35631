#include "CVectorKernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#pragma clang attribute push(                                                                                          \
    __attribute__((target("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))),                   \
    apply_to = function)
#include "transpose.h"
#include "vector.h"

#define TILE_ROWS 6
#define UNROLL _Pragma("clang loop unroll(full)")
#define DEFINE_TILE(R, J)                                                                                              \
  static void tile_##R##_##J(const pair *a, int64_t a_row, int64_t a_pair, const pair *b, int64_t b_pair,              \
                             int64_t pairs, float *c, int64_t c_row, int accumulate) {                                 \
    __m512 sums[R][J];                                                                                                 \
    UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < J; j++) sums[i][j] = _mm512_setzero_ps();            \
    for (int64_t p = 0; p < pairs; p++, a += a_pair, b += b_pair) {                                                    \
      __m512bh right[J];                                                                                               \
      UNROLL for (int j = 0; j < J; j++) right[j] = (__m512bh)_mm512_loadu_si512(b + 16 * j);                          \
      UNROLL for (int i = 0; i < R; i++) {                                                                             \
        __m512bh left = (__m512bh)_mm512_set1_epi32((int)a[i * a_row]);                                                \
        UNROLL for (int j = 0; j < J; j++) sums[i][j] = _mm512_dpbf16_ps(sums[i][j], left, right[j]);                  \
      }                                                                                                                \
    }                                                                                                                  \
    UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < J; j++) {                                            \
      float *out = c + i * c_row + 16 * j;                                                                             \
      if (accumulate) sums[i][j] = _mm512_add_ps(_mm512_loadu_ps(out), sums[i][j]);                                    \
      _mm512_storeu_ps(out, sums[i][j]);                                                                               \
    }                                                                                                                  \
  }
#define DEFINE_ROWS(R) DEFINE_TILE(R, 1) DEFINE_TILE(R, 2) DEFINE_TILE(R, 3) DEFINE_TILE(R, 4)
DEFINE_ROWS(1)
DEFINE_ROWS(2)
DEFINE_ROWS(3)
DEFINE_ROWS(4)
DEFINE_ROWS(5)
DEFINE_ROWS(6)

typedef void (*tile_function)(const pair *, int64_t, int64_t, const pair *, int64_t, int64_t, float *, int64_t, int);
#define ROW_OF(R) {tile_##R##_1, tile_##R##_2, tile_##R##_3, tile_##R##_4}
static const tile_function tiles[TILE_ROWS][4] = {ROW_OF(1), ROW_OF(2), ROW_OF(3), ROW_OF(4), ROW_OF(5), ROW_OF(6)};

// c (rows x columns, a multiple of 16) (+)= a b. The pair (i, p) of a is at i a_row + p a_pair, so that it may lie either
// way; row p of b holds the pairs of all columns.
static void product(const pair *a, int64_t a_row, int64_t a_pair, int64_t rows, const pair *b, int64_t b_pair,
                    int64_t columns, int64_t pairs, float *c, int64_t c_row, int accumulate) {
  const int64_t count = (rows + TILE_ROWS - 1) / TILE_ROWS;
  for (int64_t column = 0; column < columns; column += 64) {
    const int64_t left = (columns - column) / 16;
    const int vectors = left < 4 ? (int)left : 4;
    int64_t done = 0;
    for (int64_t index = 0; index < count; index++) {
      const int64_t height = (rows - done + (count - index) - 1) / (count - index);
      tiles[height - 1][vectors - 1](a + done * a_row, a_row, a_pair, b + column, b_pair, pairs,
                                     c + done * c_row + column, c_row, accumulate);
      done += height;
    }
  }
}

// Where everything lies in the scratch memory. Key columns: the root's, padded to 16, then the sequence's own. The
// stride of rows of columns keeps neighbouring rows out of each other's cache sets.
typedef struct {
  int64_t width, half, padded_width;
  int64_t prefix, padded_prefix, stride;
  // Positions of a tile of queries; rows of a tile, all heads of the group together.
  int64_t positions, rows;
  // Pairs along the width, keys side by side; pairs along the keys, components side by side.
  pair *keys, *values, *key_pairs;
  float *d_keys, *d_values;
  // Queries and output gradients of a tile: rows of pairs along the width, and pairs of rows.
  pair *queries, *query_pairs, *d_outs, *d_out_pairs;
  float *weights, *slopes;
  pair *weight_pairs, *slope_pairs, *slope_rows;
  float *d_queries;
} workspace;

static size_t lay_out(workspace *w, const softgrpo_attention_backward_shape *shape, int64_t longest, char *base) {
  w->width = shape->width;
  w->half = w->width / 2;
  w->padded_width = (w->width + 15) / 16 * 16;
  w->prefix = shape->prefix_count;
  w->padded_prefix = (w->prefix + 15) / 16 * 16;
  w->stride = w->padded_prefix + (longest + 15) / 16 * 16;
  if (w->stride % 32 == 0) w->stride += 16;
  int64_t positions = 96 / shape->group;
  positions = positions > 64 ? 64 : positions < 2 ? 2 : positions / 2 * 2;
  w->positions = positions;
  w->rows = positions * shape->group;
  size_t at = 0;
#define TAKE(member, count)                                                                                            \
  w->member = (void *)(base + at);                                                                                     \
  at += ((size_t)(count) * 4 + 63) / 64 * 64
  TAKE(keys, w->half * w->stride);
  TAKE(values, w->half * w->stride);
  TAKE(key_pairs, w->stride / 2 * w->padded_width);
  TAKE(d_keys, w->width * w->stride);
  TAKE(d_values, w->width * w->stride);
  TAKE(queries, w->rows * w->half);
  TAKE(query_pairs, w->rows / 2 * w->padded_width);
  TAKE(d_outs, w->rows * w->half);
  TAKE(d_out_pairs, w->rows / 2 * w->padded_width);
  TAKE(weights, w->rows * w->stride);
  TAKE(slopes, w->rows * w->stride);
  TAKE(weight_pairs, w->rows / 2 * w->stride);
  TAKE(slope_pairs, w->rows / 2 * w->stride);
  TAKE(slope_rows, w->rows * (w->stride / 2));
  TAKE(d_queries, w->rows * w->padded_width);
#undef TAKE
  return at;
}

size_t softgrpo_attention_backward_scratch(const softgrpo_attention_backward_shape *shape, int64_t longest) {
  workspace w;
  return lay_out(&w, shape, longest, 0);
}

// Pairs of two rows of bf16: the first row's value in the low half.
ALWAYS void zip_rows(const uint16_t *even, const uint16_t *_Nullable odd, int64_t width, pair *to) {
  for (int64_t i = 0; i < width; i++) to[i] = (pair)even[i] | (odd ? (pair)odd[i] << 16 : 0);
}

// Lays `count` keys and values from row `first` on at column `column`; the columns up to a multiple of 16 are zero.
static void lay_keys(const workspace *w, const softgrpo_attention_backward_shape *shape, int64_t first, int64_t count,
                     int64_t column) {
  const uint16_t *k = shape->k + first * shape->stride, *v = shape->v + first * shape->stride;
  const int64_t padded = (count + 15) / 16 * 16;
  transpose((const pair *)k, shape->stride / 2, count, w->half, w->keys + column, w->stride);
  transpose((const pair *)v, shape->stride / 2, count, w->half, w->values + column, w->stride);
  for (int64_t i = 0; i < w->half; i++)
    for (int64_t j = count; j < padded; j++) w->keys[i * w->stride + column + j] = w->values[i * w->stride + column + j] = 0;
  pair *pairs = w->key_pairs + column / 2 * w->padded_width;
  for (int64_t i = 0; i < padded; i += 2, pairs += w->padded_width) {
    if (i < count)
      zip_rows(k + i * shape->stride, i + 1 < count ? k + (i + 1) * shape->stride : 0, w->width, pairs);
    else
      memset(pairs, 0, (size_t)w->width * 4);
    memset(pairs + w->width, 0, (size_t)(w->padded_width - w->width) * 4);
  }
}

ALWAYS v16 lanes_of(__mmask16 mask, v16 value) { return (v16)_mm512_maskz_mov_ps(mask, (__m512)value); }

// Lanes of sixteen columns from `column` on that a query sees: the root's keys, and its own up to `own`.
ALWAYS __mmask16 visible(const workspace *w, int64_t column, int64_t own) {
  const int64_t end = column < w->padded_prefix ? w->prefix : w->padded_prefix + own;
  const int64_t left = end - column;
  return left >= 16 ? 0xFFFF : left <= 0 ? 0 : (__mmask16)((1u << left) - 1);
}

// What turns a row's exponentials into weights, and the mean of the output gradients under them.
typedef struct {
  float inverse_total, mean;
} row_sums;

// Scores become exponentials, in place. Total and mean are summed from what is in use here: with those of the unrounded
// forward pass instead, the score gradients would not sum to zero, and the error drowns small gradients of q and k.
ALWAYS row_sums weigh(const workspace *w, float *scores, const float *slopes, int64_t columns, int64_t own,
                      float scale, float log_sum_exp) {
  v16 sum = splat(0), total = splat(0);
  for (int64_t column = 0; column < columns; column += 16) {
    const __mmask16 mask = visible(w, column, own);
    v16 weight = lanes_of(mask, exp16(load_f32(scores + column) * scale - log_sum_exp));
    store_f32(weight, scores + column);
    total += weight;
    sum = FMA(weight, load_f32(slopes + column), sum);
  }
  const float inverse = 1 / lane_sum(total);
  return (row_sums){inverse, lane_sum(sum) * inverse};
}

ALWAYS __m512i zip(__m256bh even, __m256bh odd) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32((__m256i)even),
                         _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)odd), 16));
}

// Two rows of weights w and output gradients d: pairs of w, and of w (d - mean) scale, which also go to rows of their own.
ALWAYS void pair_rows(const workspace *w, int64_t row, int64_t columns, row_sums even, row_sums odd, float scale) {
  const float *w0 = w->weights + row * w->stride, *w1 = w0 + w->stride;
  const float *d0 = w->slopes + row * w->stride, *d1 = d0 + w->stride;
  pair *weights = w->weight_pairs + row / 2 * w->stride, *slopes = w->slope_pairs + row / 2 * w->stride;
  pair *rows = w->slope_rows + row * (w->stride / 2);
  for (int64_t i = 0; i < columns; i += 16) {
    const v16 p0 = load_f32(w0 + i) * even.inverse_total, p1 = load_f32(w1 + i) * odd.inverse_total;
    const v16 s0 = p0 * (load_f32(d0 + i) - even.mean) * scale, s1 = p1 * (load_f32(d1 + i) - odd.mean) * scale;
    const __m256bh low = _mm512_cvtneps_pbh((__m512)s0), high = _mm512_cvtneps_pbh((__m512)s1);
    _mm512_storeu_si512(weights + i, zip(_mm512_cvtneps_pbh((__m512)p0), _mm512_cvtneps_pbh((__m512)p1)));
    _mm512_storeu_si512(slopes + i, zip(low, high));
    _mm256_storeu_si256((__m256i *)(rows + i / 2), (__m256i)low);
    _mm256_storeu_si256((__m256i *)(rows + w->stride / 2 + i / 2), (__m256i)high);
  }
}

// The queries and output gradients of one tile; a missing last row of a pair is zero.
static void lay_queries(const workspace *w, const softgrpo_attention_backward_shape *shape, int64_t first,
                        int64_t count, int64_t rows, int64_t padded_rows) {
  uint16_t *queries = (uint16_t *)w->queries, *d_outs = (uint16_t *)w->d_outs;
  for (int64_t row = 0; row < rows; row++) {
    const int64_t member = row / count, position = first + row % count;
    memcpy(queries + row * w->width, shape->q + position * shape->stride + member * w->width, (size_t)w->width * 2);
    const float *from = shape->d_out + position * shape->d_out_stride + member * w->width;
    uint16_t *to = d_outs + row * w->width;
    int64_t i = 0;
    for (; i + 16 <= w->width; i += 16) store_bf16(load_f32(from + i), to + i);
    for (; i < w->width; i++) to[i] = round_bf16(from[i]);
  }
  if (padded_rows > rows) {
    memset(queries + rows * w->width, 0, (size_t)w->width * 2);
    memset(d_outs + rows * w->width, 0, (size_t)w->width * 2);
  }
  for (int64_t row = 0; row < padded_rows; row += 2) {
    zip_rows(queries + row * w->width, queries + (row + 1) * w->width, w->width,
             w->query_pairs + row / 2 * w->padded_width);
    zip_rows(d_outs + row * w->width, d_outs + (row + 1) * w->width, w->width,
             w->d_out_pairs + row / 2 * w->padded_width);
  }
}

static void tile_of_queries(const workspace *w, const softgrpo_attention_backward_shape *shape, int64_t first,
                            int64_t start, int64_t count) {
  const float scale = 1 / __builtin_sqrtf((float)w->width);
  const int64_t rows = count * shape->group, padded_rows = (rows + 1) / 2 * 2;
  const int64_t columns = w->padded_prefix + (start + count + 15) / 16 * 16;
  lay_queries(w, shape, first + start, count, rows, padded_rows);
  product(w->queries, w->half, 1, padded_rows, w->keys, w->stride, columns, w->half, w->weights, w->stride, 0);
  product(w->d_outs, w->half, 1, padded_rows, w->values, w->stride, columns, w->half, w->slopes, w->stride, 0);
  for (int64_t row = 0; row < padded_rows; row += 2) {
    row_sums sums[2] = {{0, 0}, {0, 0}};
    for (int64_t i = 0; i < 2; i++) {
      const int64_t member = (row + i) / count, position = (row + i) % count;
      if (row + i >= rows) {
        memset(w->weights + (row + i) * w->stride, 0, (size_t)columns * 4);
        continue;
      }
      sums[i] = weigh(w, w->weights + (row + i) * w->stride, w->slopes + (row + i) * w->stride, columns,
                      start + position + 1, scale,
                      shape->log_sum_exp[(first + start + position) * shape->log_sum_exp_stride + member]);
    }
    pair_rows(w, row, columns, sums[0], sums[1], scale);
  }
  product(w->slope_rows, w->stride / 2, 1, rows, w->key_pairs, w->padded_width, w->padded_width, columns / 2,
          w->d_queries, w->padded_width, 0);
  for (int64_t row = 0; row < rows; row++)
    memcpy(shape->dq + (first + start + row % count) * shape->stride + row / count * w->width,
           w->d_queries + row * w->padded_width, (size_t)w->width * 4);
  product(w->query_pairs, 1, w->padded_width, w->width, w->slope_pairs, w->stride, columns, padded_rows / 2, w->d_keys,
          w->stride, 1);
  product(w->d_out_pairs, 1, w->padded_width, w->width, w->weight_pairs, w->stride, columns, padded_rows / 2,
          w->d_values, w->stride, 1);
}

void softgrpo_attention_backward_bf16(const softgrpo_attention_backward_shape *shape, int64_t count,
                                      const int64_t *firsts, const int64_t *lengths, int64_t longest, void *scratch) {
  workspace w;
  lay_out(&w, shape, longest, scratch);
  lay_keys(&w, shape, shape->prefix_first, shape->prefix_count, 0);
  memset(w.d_keys, 0, (size_t)(w.width * w.stride) * 4);
  memset(w.d_values, 0, (size_t)(w.width * w.stride) * 4);
  for (int64_t index = 0; index < count; index++) {
    const int64_t first = firsts[index], length = lengths[index];
    lay_keys(&w, shape, first, length, w.padded_prefix);
    for (int64_t i = 0; i < w.width && index > 0; i++) {
      memset(w.d_keys + i * w.stride + w.padded_prefix, 0, (size_t)(w.stride - w.padded_prefix) * 4);
      memset(w.d_values + i * w.stride + w.padded_prefix, 0, (size_t)(w.stride - w.padded_prefix) * 4);
    }
    for (int64_t start = 0; start < length; start += w.positions)
      tile_of_queries(&w, shape, first, start, length - start < w.positions ? length - start : w.positions);
    transpose((const pair *)w.d_keys + w.padded_prefix, w.stride, w.width, length,
              (pair *)(shape->dk + first * shape->stride), shape->stride);
    transpose((const pair *)w.d_values + w.padded_prefix, w.stride, w.width, length,
              (pair *)(shape->dv + first * shape->stride), shape->stride);
  }
  if (!shape->prefix_gradient) return;
  transpose((const pair *)w.d_keys, w.stride, w.width, w.prefix, (pair *)shape->prefix_gradient, w.width);
  transpose((const pair *)w.d_values, w.stride, w.width, w.prefix,
            (pair *)(shape->prefix_gradient + w.prefix * w.width), w.width);
}
#pragma clang attribute pop
#endif
