#ifndef CINT8KERNELS_H
#define CINT8KERNELS_H

#include <stdint.h>

// int8 matrix products on AVX512-VNNI. Only for processors with avx512f, bw, vl and vnni: the caller asks first.
//
// Values are symmetric: q = round(x * 127 / max|x|) in -127...127, x = q * scale with scale = max|x| / 127, the maximum
// over a row of the weight matrix (an output channel), or over a group of a row of activations. `vpdpbusd` multiplies
// unsigned by signed bytes, so weights are stored as q + 128 and a product subtracts 128 times the sum of its activations.

// Output channels in one packed block: three vectors of sixteen sums.
#define INT8_BLOCK_COLUMNS 48

// Neighbouring activations that share a scale. The few channels that are far larger than the rest cost their group
// its precision, not the whole row.
#define INT8_GROUP 96

// Quantizes `rows` rows of `k` bf16 values to `q`, rows `stride` bytes apart, in ceil(k / INT8_GROUP) groups. A group of
// zeros (or of values below 2^-118) gets scale 0; one with an infinity or a NaN gets a NaN scale, so that every result of
// its row is NaN.
//   stride:  at least k rounded up to 16; the bytes behind k become 0 up to there.
//   scales:  rows x groups, max|x| / 127 of each group.
//   offsets: rows x groups, 128 times the sum of each quantized group.
void int8_quantize_rows(
    const uint16_t *x, long rows, long k, long stride, int8_t *q, float *scales, int32_t *offsets);

// Packs up to INT8_BLOCK_COLUMNS output channels (rows of `k` bf16 weights) as one block.
//   packed:  quads * INT8_BLOCK_COLUMNS * 4 bytes with quads = ceil(k / 4): for each four inputs, 48 channels.
//   scales:  INT8_BLOCK_COLUMNS channel scales; 0 where the block has fewer channels.
//   scratch: k rounded up to 16 bytes.
void int8_pack_block(
    const uint16_t *weights, long columns, long k, uint8_t *packed, float *scales, int8_t *scratch);

// y (rows x columns, rows `y_stride` apart) = the sum over groups, in their order, of (q w^T) * group scale * channel
// scale, for one packed block; added to y when `accumulate` is not 0. The sums of a group are integers and exact, so no
// tile shows in the result. `next` (or null) are the weights that this thread probably reads then: they are asked for
// meanwhile, never read.
void int8_multiply_block(
    const int8_t *q, const float *row_scales, const int32_t *row_offsets, long rows, long stride, long quads,
    const uint8_t *packed, const float *scales, long columns, float *y, long y_stride, int accumulate,
    const void *next);

#endif
