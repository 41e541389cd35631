/// Inner loops of the backward pass, compiled as those of CVectorKernels.h are: both instruction sets give the same bits.
#ifndef SOFTGRPO_GRADIENT_KERNELS_H
#define SOFTGRPO_GRADIENT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

#define SOFTGRPO_DECLARE_GRADIENT(format, element, isa)                                                                \
  /* y = x at its rounding point. */                                                                                   \
  void softgrpo_round_##format##_##isa(const float *x, int64_t count, element *y);                                     \
  /* d_gate_up (rows x 2 width) and, recomputed, the gated unit's output (rows x width) for dy (rows x width). */      \
  void softgrpo_gated_unit_backward_##format##_##isa(const float *dy, const element *gate_up, int64_t rows,            \
                                                     int64_t width, element *d_gate_up, element *_Nullable activated); \
  /* dx += and d_weight += for dy (rows x width); `normed` receives the norm's output, `rounded` the new dx. */        \
  void softgrpo_rms_norm_backward_##format##_##isa(const float *dy, const float *x, const float *weight,               \
                                                   float epsilon, int64_t rows, int64_t width, float *dx,              \
                                                   float *d_weight, element *_Nullable normed,                         \
                                                   element *_Nullable rounded);                                        \
  /* y = scale e^((z - maximum) inverse_temperature - log_sum) of a row of logits z. */                                \
  void softgrpo_scaled_softmax_##format##_##isa(const float *row, int64_t count, float maximum,                        \
                                                float inverse_temperature, float log_sum, float scale, element *y);
SOFTGRPO_DECLARE_GRADIENT(f32, float, baseline)
SOFTGRPO_DECLARE_GRADIENT(bf16, uint16_t, baseline)

#if defined(__x86_64__)
SOFTGRPO_DECLARE_GRADIENT(f32, float, avx512)
SOFTGRPO_DECLARE_GRADIENT(bf16, uint16_t, avx512)

/// Sequences that share a root and one key/value head with its query heads. Strides are in elements.
typedef struct {
  /// Queries of the group's first head at row 0 of the batch, rotated, bf16; heads are `width` apart.
  const uint16_t *q;
  const uint16_t *k;
  const uint16_t *v;
  /// Between rows of q, k, v and between rows of dq, dk, dv.
  int64_t stride;
  const float *d_out;
  int64_t d_out_stride;
  const float *log_sum_exp;
  int64_t log_sum_exp_stride;
  float *dq;
  float *dk;
  float *dv;
  /// Query heads that share the keys, and their width, even.
  int32_t group;
  int32_t width;
  /// The root's rows, none for the root itself.
  int64_t prefix_first;
  int64_t prefix_count;
  /// Receives the root's share: prefix x width of dk, then of dv.
  float *_Nullable prefix_gradient;
} softgrpo_attention_backward_shape;

/// Bytes of scratch for sequences of at most `longest` own rows; 64-byte aligned.
size_t softgrpo_attention_backward_scratch(const softgrpo_attention_backward_shape *shape, int64_t longest);

/// Gradients of the queries, keys and values of `count` sequences, `firsts[i]` their first rows, `lengths[i]` their rows;
/// overwritten. Products are bf16 with fp32 sums, softmax and its gradient fp32. Needs AVX512-BF16.
void softgrpo_attention_backward_bf16(const softgrpo_attention_backward_shape *shape, int64_t count,
                                      const int64_t *firsts, const int64_t *lengths, int64_t longest, void *scratch);
#endif

#undef SOFTGRPO_DECLARE_GRADIENT
#pragma clang assume_nonnull end

#endif
