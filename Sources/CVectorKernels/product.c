#include "CVectorKernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "transpose.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define BLOCK 64
#define TILE_ROWS 6
#define DEPTH 1024

// What a tile of rows does with one block of columns.
typedef struct {
  const uint16_t *x;
  int64_t x_stride;
  const uint16_t *w;
  /// Pairs along k, and elements from one to the next.
  int64_t pairs;
  float *y;
  int64_t y_stride;
  /// Next block's bytes, fetched while this one is multiplied.
  const char *next;
} tile;

// R rows x 16 J columns; the last vector of columns is stored under `mask`. `fetch` cache lines of the next block are
// requested per pair.
// Every loop over rows and vectors is unrolled, so that the sums live in registers.
#define UNROLL _Pragma("clang loop unroll(full)")
#define DEFINE_TILE(R, J)                                                                                              \
  TARGET static void tile_##R##_##J(const tile *t, int accumulate, __mmask16 mask, int fetch) {                        \
    __m512 c[R][J];                                                                                                    \
    UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < J; j++) c[i][j] = _mm512_setzero_ps();               \
    const uint16_t *w = t->w;                                                                                          \
    const uint16_t *x = t->x;                                                                                          \
    const char *next = t->next;                                                                                        \
    const int64_t stride = t->x_stride;                                                                                \
    for (int64_t pair = 0; pair < t->pairs; pair++, w += 32 * J, x += 2) {                                             \
      __m512bh b[J];                                                                                                   \
      UNROLL for (int j = 0; j < J; j++) b[j] = (__m512bh)_mm512_loadu_si512(w + 32 * j);                              \
      if (R == 1) UNROLL for (int j = 0; j < J; j++) _mm_prefetch((const char *)(w + 2048 + 32 * j), _MM_HINT_T0);     \
      for (int line = 0; line < fetch; line++, next += 64) _mm_prefetch(next, _MM_HINT_T1);                            \
      UNROLL for (int i = 0; i < R; i++) {                                                                             \
        __m512bh a = (__m512bh)_mm512_set1_epi32(*(const int *)(x + i * stride));                                      \
        UNROLL for (int j = 0; j < J; j++) c[i][j] = _mm512_dpbf16_ps(c[i][j], a, b[j]);                               \
      }                                                                                                                \
    }                                                                                                                  \
    UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < J; j++) {                                            \
      __mmask16 lanes = j == J - 1 ? mask : 0xFFFF;                                                                    \
      float *out = t->y + i * t->y_stride + 16 * j;                                                                    \
      if (accumulate) c[i][j] = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, out), c[i][j]);                             \
      _mm512_mask_storeu_ps(out, lanes, c[i][j]);                                                                      \
    }                                                                                                                  \
  }
#define DEFINE_ROWS(R) DEFINE_TILE(R, 1) DEFINE_TILE(R, 2) DEFINE_TILE(R, 3) DEFINE_TILE(R, 4)
DEFINE_ROWS(1)
DEFINE_ROWS(2)
DEFINE_ROWS(3)
DEFINE_ROWS(4)
DEFINE_ROWS(5)
DEFINE_ROWS(6)

typedef void (*tile_function)(const tile *, int, __mmask16, int);
#define ROW_OF(R) {tile_##R##_1, tile_##R##_2, tile_##R##_3, tile_##R##_4}
static const tile_function tiles[TILE_ROWS][4] = {ROW_OF(1), ROW_OF(2), ROW_OF(3), ROW_OF(4), ROW_OF(5), ROW_OF(6)};

// One block of columns over a range of k, all rows, in tiles of nearly equal height.
static void multiply_block(tile t, int32_t rows, int64_t columns, int accumulate) {
  const int vectors = (int)((columns + 15) / 16);
  const int tail = (int)(columns - 16 * (vectors - 1));
  const __mmask16 mask = (__mmask16)((1u << tail) - 1);
  const int32_t count = (rows + TILE_ROWS - 1) / TILE_ROWS;
  // The next block's four lines per pair are spread over the first tiles; a single tile is bound by memory anyway.
  const int lines = count == 1 || !t.next ? 0 : count < 4 ? 2 : 1;
  // A single row fetches ahead within the block; what follows elsewhere it must be told.
  if (rows == 1 && t.next != (const char *)(t.w + t.pairs * 32 * vectors))
    for (int line = 0; line < 64 && t.next; line++) _mm_prefetch(t.next + 64 * line, _MM_HINT_T0);
  int32_t done = 0;
  for (int32_t index = 0; index < count; index++) {
    const int32_t height = (rows - done + (count - index) - 1) / (count - index);
    tiles[height - 1][vectors - 1](&t, accumulate, mask, index * lines < 4 ? lines : 0);
    t.x += height * t.x_stride;
    t.y += height * t.y_stride;
    t.next += t.pairs * 64 * lines;
    done += height;
  }
}

void softgrpo_product_bf16(const uint16_t *x, const uint16_t *packed, const softgrpo_product_shape *shape,
                           int64_t first_block, int64_t end_block, float *y) {
  const int64_t k = shape->k;
  for (int64_t block = first_block; block < end_block; block++) {
    const int64_t columns = shape->n - block * BLOCK < BLOCK ? shape->n - block * BLOCK : BLOCK;
    const int64_t padded = (columns + 15) / 16 * 16;
    const uint16_t *w = packed + block * BLOCK * k;
    // A long k goes in slices that fit the cache: shorter chains also round less.
    for (int64_t from = 0; from < k; from += DEPTH) {
      const int64_t depth = k - from < DEPTH ? k - from : DEPTH;
      const int is_last = from + depth == k && block + 1 == end_block;
      tile t = {.x = x + from, .x_stride = k, .w = w + from * padded, .pairs = depth / 2,
                .y = y + block * BLOCK, .y_stride = shape->output_stride,
                .next = is_last ? shape->next : (const char *)(w + (from + depth) * padded)};
      multiply_block(t, shape->rows, columns, shape->accumulate || from > 0);
    }
  }
}

TARGET void softgrpo_pack_bf16(const uint16_t *source, int64_t k, int64_t n, int64_t k_stride, int64_t n_stride, int64_t block,
                        uint16_t *packed) {
  const int64_t first = block * BLOCK;
  const int64_t columns = n - first < BLOCK ? n - first : BLOCK;
  const int64_t padded = (columns + 15) / 16 * 16;
  uint16_t *to = packed + first * k;
  const uint16_t *from = source + first * n_stride;
  if (n_stride == 1) {
    for (int64_t i = 0; i < k; i += 2, to += 2 * padded) {
      const uint16_t *even = from + i * k_stride, *odd = even + k_stride;
      for (int64_t j = 0; j < columns; j++) {
        to[2 * j] = even[j];
        to[2 * j + 1] = odd[j];
      }
      for (int64_t j = columns; j < padded; j++) to[2 * j] = to[2 * j + 1] = 0;
    }
    return;
  }
  // Rows of the source run along k, and so do the pairs in them: a transposed copy.
  pair *pairs = (pair *)to;
  for (int64_t start = 0; start < k; start += 32) {
    const int64_t depth = k - start < 32 ? k - start : 32;
    transpose((const pair *)(from + start), n_stride / 2, columns, depth / 2, pairs + start / 2 * padded, padded);
  }
  for (int64_t i = 0; i < k / 2 && padded > columns; i++)
    for (int64_t j = columns; j < padded; j++) pairs[i * padded + j] = 0;
}
#endif
