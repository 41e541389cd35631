/// Inner loops that need an instruction set chosen at run time.
///
/// A Swift module is compiled for one instruction set; these loops are compiled twice, for the floor (x86-64-v3, or the
/// architecture's baseline) and for AVX-512, from the same text. Every function is made of element-wise operations on
/// sixteen lanes and fused multiply-adds in a written order, so both versions give the same bits; the tests compare them
/// with each other and with Swift twins. The bf16 product exists for AVX512-BF16 alone.
#ifndef SOFTGRPO_VECTOR_KERNELS_H
#define SOFTGRPO_VECTOR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "DeltaKernels.h"
#include "GradientKernels.h"

#pragma clang assume_nonnull begin

/// Tells the processor that a loop waits for another thread: it leaves the core's resources to its twin.
static inline void softgrpo_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/// Where the keys and values of one key/value head lie in a layer's pages (KeyValuePages.swift).
typedef struct {
  /// Page indices of the sequence, from position 0.
  const int32_t *pages;
  /// Elements from one page to the next.
  size_t page_elements;
  /// Elements of one head's keys: 64 x padded_width, transposed; its values follow.
  size_t block_elements;
  /// Positions attended to: the row's own is the last.
  int32_t length;
  /// Query heads that share the keys.
  int32_t group;
  int32_t width;
  /// `width` rounded up to a multiple of 16.
  int32_t padded_width;
} softgrpo_attention_shape;

/// Rows of a packed product and where they go.
typedef struct {
  /// Inner dimension; even for bf16.
  int64_t k;
  /// Columns of the whole result.
  int64_t n;
  /// Elements from one row of the result to the next.
  int64_t output_stride;
  int32_t rows;
  /// Whether the product is added to the result.
  int32_t accumulate;
  /// Packed weights that this thread probably reads next: they are asked for during the last block, never read.
  const void *_Nullable next;
} softgrpo_product_shape;

/// Where a step's noise is counted (NoiseKey.swift).
typedef struct {
  uint32_t key0, key1;
  uint32_t step, sample, group;
  /// No noise exceeds this.
  float maximum;
} softgrpo_noise_counter;

/// Floats of scratch that a weight gradient takes per output.
#define SOFTGRPO_GRADIENT_SCRATCH 272

#define SOFTGRPO_DECLARE(isa)                                                                                          \
  void softgrpo_attend_f32_##isa(const float *query, const float *base, const softgrpo_attention_shape *shape,         \
                                 float *out, float *_Nullable log_sum_exp, float *scratch);                            \
  void softgrpo_attend_bf16_##isa(const float *query, const uint16_t *base, const softgrpo_attention_shape *shape,     \
                                  uint16_t *out, float *_Nullable log_sum_exp, float *scratch);                        \
  void softgrpo_store_position_f32_##isa(const float *key, const float *value, int32_t width, float *key_column,       \
                                         float *value_row, const float *next_column);                                  \
  void softgrpo_store_position_bf16_##isa(const float *key, const float *value, int32_t width, uint16_t *key_column,   \
                                          uint16_t *value_row, const uint16_t *next_column);                           \
  void softgrpo_rms_norm_f32_##isa(const float *x, int64_t x_stride, const float *weight, float epsilon, int64_t rows, \
                                   int64_t width, float *y);                                                           \
  void softgrpo_rms_norm_bf16_##isa(const float *x, int64_t x_stride, const float *weight, float epsilon,              \
                                    int64_t rows, int64_t width, uint16_t *y);                                         \
  void softgrpo_gated_unit_f32_##isa(const float *gate_up, int64_t rows, int64_t width, float *y);                     \
  void softgrpo_gated_unit_bf16_##isa(const float *gate_up, int64_t rows, int64_t width, uint16_t *y); \
  /* Sum of e^((z - maximum) * inverse_temperature) over a row of logits, in one fixed order. */                       \
  double softgrpo_sum_of_exponentials_##isa(const float *row, int64_t count, float maximum,                            \
                                            float inverse_temperature);                                                \
  /* The same, and the sum of x e^x, x = (z - maximum) * inverse_temperature. */                                       \
  double softgrpo_exponential_moments_##isa(const float *row, int64_t count, float maximum,                            \
                                            float inverse_temperature, double *weighted);                              \
  /* First i >= from, a multiple of 16, of sixteen tokens one of which may score above `winning` with its noise; their \
     scaled logits and uniform complements are written. `count` when there is none. */                                 \
  int64_t softgrpo_next_candidate_##isa(const float *row, int64_t count, int64_t from, float maximum,                  \
                                        float inverse_temperature, float winning, const softgrpo_noise_counter *at,    \
                                        float *scaled, float *complement); \
  /* y (rows x n) (+)= x (rows x k) W for the columns [first_block * 64, end_block * 64) of W, packed in bf16 by          \
     `softgrpo_pack_f32`: chains of fp32 multiply-adds over 1,024 values of k each, added in order. */                   \
  void softgrpo_product_f32_##isa(const float *x, const uint16_t *packed, const softgrpo_product_shape *shape,           \
                                  int64_t first_block, int64_t end_block, float *y); \
  /* dw (outputs x inputs) += dy^T x for the outputs [first, end); dy is rows x outputs, x rows x inputs. `scratch` holds  \
     (end - first) x SOFTGRPO_GRADIENT_SCRATCH floats. */                                                                        \
  void softgrpo_weight_gradient_f32_##isa(const float *dy, const float *x, int64_t rows, int64_t outputs,                \
                                          int64_t inputs, int64_t first, int64_t end, float *dw, float *scratch);

SOFTGRPO_DECLARE(baseline)
#if defined(__x86_64__)
SOFTGRPO_DECLARE(avx512)

/// y (rows x n) (+)= x (rows x k) W for the columns [first_block * 64, end_block * 64) of W, packed by
/// `softgrpo_pack_bf16`. A result is the sum of chains of bf16 pair products over 1,024 values of k each, added in order:
/// its bits depend on its row and column alone. Needs AVX512-BF16.
void softgrpo_product_bf16(const uint16_t *x, const uint16_t *packed, const softgrpo_product_shape *shape,
                           int64_t first_block, int64_t end_block, float *y);

/// Packs columns [block * 64, block * 64 + 64) of a k x n matrix whose element (i, j) is at i * k_stride + j * n_stride
/// into `packed` + block * 64 * k: pairs along k, 64 columns (fewer, rounded up to 16, in the last block) side by side.
/// One of the strides is 1, the other and k are even.
void softgrpo_pack_bf16(const uint16_t *source, int64_t k, int64_t n, int64_t k_stride, int64_t n_stride, int64_t block,
                        uint16_t *packed);
#endif

/// Packs columns [block * 64, block * 64 + 64) of a k x n matrix whose element (i, j) is at i * k_stride + j * n_stride
/// into `packed` + block * 64 * k: rows of 64 columns (fewer, rounded up to 16, in the last block).
void softgrpo_pack_f32(const uint16_t *source, int64_t k, int64_t n, int64_t k_stride, int64_t n_stride, int64_t block,
                       uint16_t *packed);

#undef SOFTGRPO_DECLARE
#pragma clang assume_nonnull end

#endif
