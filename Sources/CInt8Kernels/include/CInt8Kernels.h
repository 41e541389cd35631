#ifndef CINT8KERNELS_H
#define CINT8KERNELS_H

#include <stdint.h>

// int8 matrix products on AVX512-VNNI. Only for processors with avx512f, bw, vl and vnni: the caller asks first.
//
// Values are symmetric: q = round(x * 127 / max|x|) in -127...127, x = q * scale with scale = max|x| / 127, for a row of
// activations as for a row of the weight matrix (an output channel). `vpdpbusd` multiplies unsigned by signed bytes, so
// weights are stored as q + 128 and a product subtracts 128 times the sum of its activations.

// Output channels in one packed block: three vectors of sixteen sums.
#define INT8_BLOCK_COLUMNS 48

// Quantizes `rows` rows of `k` bf16 values to `q`, rows `stride` bytes apart. A row of zeros (or of values below 2^-118)
// gets scale 0; one with an infinity or a NaN gets a NaN scale, so that every result of it is NaN.
//   stride:  a multiple of 64, at least k; the bytes behind k become 0.
//   scales:  max|x| / 127 of each row.
//   offsets: 128 times the sum of each quantized row; null where it is not needed.
void int8_quantize_rows(
    const uint16_t *x, long rows, long k, long stride, int8_t *q, float *scales, int32_t *offsets);

// Packs up to INT8_BLOCK_COLUMNS output channels (rows of `k` bf16 weights) as one block.
//   packed:  quads * INT8_BLOCK_COLUMNS * 4 bytes with quads = ceil(k / 4): for each four inputs, 48 channels.
//   scales:  INT8_BLOCK_COLUMNS channel scales; 0 where the block has fewer channels.
//   scratch: k rounded up to 64 bytes.
void int8_pack_block(
    const uint16_t *weights, long columns, long k, uint8_t *packed, float *scales, int8_t *scratch);

// y (rows x columns, rows `y_stride` apart) = (q w^T) * row scale * channel scale for one packed block, added to y when
// `accumulate` is not 0. The integer sums are exact while quads * 4 <= 131072, so no order of them shows in the result.
void int8_multiply_block(
    const int8_t *q, const float *row_scales, const int32_t *row_offsets, long rows, long stride, long quads,
    const uint8_t *packed, const float *scales, long columns, float *y, long y_stride, int accumulate);

#endif
