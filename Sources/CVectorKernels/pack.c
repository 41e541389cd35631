#include "CVectorKernels.h"

void softgrpo_pack_f32(const uint16_t *source, int64_t k, int64_t n, int64_t k_stride, int64_t n_stride, int64_t block,
                       uint16_t *packed) {
  const int64_t first = block * 64;
  const int64_t columns = n - first < 64 ? n - first : 64;
  const int64_t padded = (columns + 15) / 16 * 16;
  uint16_t *to = packed + first * k;
  const uint16_t *from = source + first * n_stride;
  // Sixteen values of k at a time: both the columns read and the rows written stay in the nearest cache.
  for (int64_t start = 0; start < k; start += 16) {
    const int64_t end = start + 16 < k ? start + 16 : k;
    for (int64_t j = 0; j < padded; j++)
      for (int64_t i = start; i < end; i++) to[i * padded + j] = j < columns ? from[j * n_stride + i * k_stride] : 0;
  }
}
