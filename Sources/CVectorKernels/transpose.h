// Transposed copies of 32-bit values. Included after immintrin.h, on x86-64 alone.

// Two neighbouring bf16 values along the dimension that a product sums over.
typedef uint32_t pair __attribute__((may_alias));

#define TRANSPOSE_INLINE static inline __attribute__((always_inline, target("avx512f")))
#define TRANSPOSE_UNROLL _Pragma("clang loop unroll(full)")

// 16 x 16 values of 32 bits, columns for rows.
TRANSPOSE_INLINE void transpose_block(const char *from, int64_t from_stride, char *to, int64_t to_stride) {
  __m512i a[16], b[16];
  TRANSPOSE_UNROLL for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_si512(from + i * from_stride);
  TRANSPOSE_UNROLL for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
  TRANSPOSE_UNROLL for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
  // a[4 i + j] now holds columns j, j + 4, j + 8, j + 12 of rows 4 i ... 4 i + 3.
  TRANSPOSE_UNROLL for (int j = 0; j < 4; j++) {
    b[j] = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x88);
    b[4 + j] = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xdd);
    b[8 + j] = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x88);
    b[12 + j] = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xdd);
  }
  TRANSPOSE_UNROLL for (int j = 0; j < 4; j++) {
    _mm512_storeu_si512(to + j * to_stride, _mm512_shuffle_i32x4(b[j], b[8 + j], 0x88));
    _mm512_storeu_si512(to + (8 + j) * to_stride, _mm512_shuffle_i32x4(b[j], b[8 + j], 0xdd));
    _mm512_storeu_si512(to + (4 + j) * to_stride, _mm512_shuffle_i32x4(b[4 + j], b[12 + j], 0x88));
    _mm512_storeu_si512(to + (12 + j) * to_stride, _mm512_shuffle_i32x4(b[4 + j], b[12 + j], 0xdd));
  }
}

// to (columns x rows) = from (rows x columns) transposed, 32-bit values; strides count values.
TRANSPOSE_INLINE void transpose(const pair *from, int64_t from_stride, int64_t rows, int64_t columns, pair *to,
                                int64_t to_stride) {
  for (int64_t i = 0; i < rows; i += 16)
    for (int64_t j = 0; j < columns; j += 16) {
      if (i + 16 <= rows && j + 16 <= columns) {
        transpose_block((const char *)(from + i * from_stride + j), from_stride * 4, (char *)(to + j * to_stride + i),
                        to_stride * 4);
        continue;
      }
      for (int64_t row = i; row < rows && row < i + 16; row++)
        for (int64_t column = j; column < columns && column < j + 16; column++)
          to[column * to_stride + row] = from[row * from_stride + column];
    }
}
#undef TRANSPOSE_INLINE
#undef TRANSPOSE_UNROLL
