// fp32 products in the instruction set's own tiles. A result is the sum of chains of fused multiply-adds over DEPTH values
// of the inner dimension each, added in order: the same bits in both sets, whatever the batch.

#define DEPTH 1024
// A gradient's slices are shorter: both sides are activations, which do not fit the cache as packed weights do. The odd
// stride keeps the transposed rows out of each other's cache sets.
#define GRADIENT_DEPTH 256
#define SCRATCH_STRIDE SOFTGRPO_GRADIENT_SCRATCH
#define UNROLL _Pragma("clang loop unroll(full)")

#define RIGHT uint16_t
#define LOAD_RIGHT load_bf16
#define RIGHT_NAME(name) JOIN2(name##_right_bf16, ISA)
#include "tile.h"
#undef RIGHT
#undef LOAD_RIGHT
#undef RIGHT_NAME

#define RIGHT float
#define LOAD_RIGHT load_f32
#define RIGHT_NAME(name) JOIN2(name##_right_f32, ISA)
#include "tile.h"
#undef RIGHT
#undef LOAD_RIGHT
#undef RIGHT_NAME

void ISA_SYMBOL(softgrpo_product_f32)(const float *x, const uint16_t *packed, const softgrpo_product_shape *shape,
                                      int64_t first_block, int64_t end_block, float *y) {
  const int64_t k = shape->k;
  for (int64_t block = first_block; block < end_block; block++) {
    const int64_t columns = shape->n - block * 64 < 64 ? shape->n - block * 64 : 64;
    const int64_t padded = (columns + 15) / 16 * 16;
    for (int64_t from = 0; from < k; from += DEPTH) {
      const int64_t depth = k - from < DEPTH ? k - from : DEPTH;
      const uint16_t *w = packed + block * 64 * k + from * padded;
      const int accumulate = shape->accumulate || from > 0;
      for (int64_t column = 0; column < padded;) {
        float *out = y + block * 64 + column;
        if (VECTORS_AT_ONCE == 4 && padded - column == 64) {
          JOIN2(strip_right_bf16, ISA)(4, x + from, k, shape->rows, w + column, padded, depth, out, shape->output_stride,
                                columns - column, accumulate);
          column += 64;
        } else if (VECTORS_AT_ONCE == 4 && padded - column >= 32) {
          JOIN2(strip_right_bf16, ISA)(2, x + from, k, shape->rows, w + column, padded, depth, out, shape->output_stride,
                                columns - column, accumulate);
          column += 32;
        } else {
          JOIN2(strip_right_bf16, ISA)(1, x + from, k, shape->rows, w + column, padded, depth, out, shape->output_stride,
                                columns - column, accumulate);
          column += 16;
        }
      }
    }
  }
}
void ISA_SYMBOL(softgrpo_weight_gradient_f32)(const float *dy, const float *x, int64_t rows, int64_t outputs,
                                              int64_t inputs, int64_t first, int64_t end, float *dw, float *scratch) {
  for (int64_t from = 0; from < rows; from += GRADIENT_DEPTH) {
    const int64_t depth = rows - from < GRADIENT_DEPTH ? rows - from : GRADIENT_DEPTH;
    // The transposed slice of dy: one output's values over the rows side by side.
    for (int64_t row = 0; row < depth; row++)
      for (int64_t output = first; output < end; output++)
        scratch[(output - first) * SCRATCH_STRIDE + row] = dy[(from + row) * outputs + output];
    const float *right = x + from * inputs;
    const int32_t count = (int32_t)(end - first);
    for (int64_t column = 0; column < inputs;) {
      float *out = dw + first * inputs + column;
      // A narrower strip would read past the last row's end.
      if (VECTORS_AT_ONCE == 4 && inputs - column >= 64) {
        JOIN2(strip_right_f32, ISA)(4, scratch, SCRATCH_STRIDE, count, right + column, inputs, depth, out, inputs, 64, 1);
        column += 64;
      } else if (VECTORS_AT_ONCE == 4 && inputs - column >= 32) {
        JOIN2(strip_right_f32, ISA)(2, scratch, SCRATCH_STRIDE, count, right + column, inputs, depth, out, inputs, 32, 1);
        column += 32;
      } else if (inputs - column >= 16) {
        JOIN2(strip_right_f32, ISA)(1, scratch, SCRATCH_STRIDE, count, right + column, inputs, depth, out, inputs, 16, 1);
        column += 16;
      } else {
        for (int64_t i = 0; i < end - first; i++)
          for (int64_t j = column; j < inputs; j++) {
            float sum = 0;
            for (int64_t row = 0; row < depth; row++)
              sum = __builtin_fmaf(scratch[i * SCRATCH_STRIDE + row], right[row * inputs + j], sum);
            dw[(first + i) * inputs + j] += sum;
          }
        column = inputs;
      }
    }
  }
}
#undef DEPTH
#undef UNROLL
