#include "DeltaKernels.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
// The floor has AVX2, and two versions come from memory at most as fast as it compares them.
__attribute__((target("avx2,bmi")))
#endif
int64_t softgrpo_changed_positions(const uint16_t *before, const uint16_t *after, int64_t count, uint32_t *positions) {
  int64_t found = 0, index = 0;
#if defined(__x86_64__)
  for (; index + 32 <= count; index += 32) {
    const __m256i *x = (const __m256i *)(before + index), *y = (const __m256i *)(after + index);
    __m256i low = _mm256_xor_si256(_mm256_loadu_si256(x), _mm256_loadu_si256(y));
    __m256i high = _mm256_xor_si256(_mm256_loadu_si256(x + 1), _mm256_loadu_si256(y + 1));
    __m256i any = _mm256_or_si256(low, high);
    if (_mm256_testz_si256(any, any)) continue;
    __m256i zero = _mm256_setzero_si256();
    // Two bits a weight.
    uint64_t equal = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi16(low, zero)) |
                     (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi16(high, zero)) << 32;
    for (uint64_t mask = ~equal & 0x5555555555555555; mask; mask &= mask - 1)
      positions[found++] = (uint32_t)index + (uint32_t)(__builtin_ctzll(mask) >> 1);
  }
#else
  for (; index + 4 <= count; index += 4) {
    uint64_t x, y;
    memcpy(&x, before + index, 8);
    memcpy(&y, after + index, 8);
    if (x == y) continue;
    for (int64_t i = index; i < index + 4; i++)
      if (before[i] != after[i]) positions[found++] = (uint32_t)i;
  }
#endif
  for (; index < count; index++)
    if (before[index] != after[index]) positions[found++] = (uint32_t)index;
  return found;
}

#if defined(__x86_64__)
__attribute__((target("avx2,bmi")))
#endif
int64_t softgrpo_small_positions(const uint16_t *weights, int64_t count, uint16_t limit, uint32_t *positions) {
  int64_t found = 0, index = 0;
#if defined(__x86_64__)
  // Without the sign the bits are non-negative as signed numbers too.
  const __m256i magnitude = _mm256_set1_epi16(0x7FFF), bound = _mm256_set1_epi16((short)limit);
  for (; index + 32 <= count; index += 32) {
    const __m256i *x = (const __m256i *)(weights + index);
    __m256i low = _mm256_cmpgt_epi16(bound, _mm256_and_si256(_mm256_loadu_si256(x), magnitude));
    __m256i high = _mm256_cmpgt_epi16(bound, _mm256_and_si256(_mm256_loadu_si256(x + 1), magnitude));
    uint64_t below = (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
    for (uint64_t mask = below & 0x5555555555555555; mask; mask &= mask - 1)
      positions[found++] = (uint32_t)index + (uint32_t)(__builtin_ctzll(mask) >> 1);
  }
#endif
  for (; index < count; index++)
    if ((weights[index] & 0x7FFF) < limit) positions[found++] = (uint32_t)index;
  return found;
}
