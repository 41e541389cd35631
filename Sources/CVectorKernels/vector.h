// Sixteen lanes and the operations on them that both instruction sets share. Included inside a target region.
#pragma STDC FP_CONTRACT OFF
// Every helper is inlined: no vector crosses a call, so its calling convention does not matter.
#pragma clang diagnostic ignored "-Wpsabi"

typedef float v16 __attribute__((vector_size(64), aligned(4)));
typedef uint32_t u16x32 __attribute__((vector_size(64), aligned(4)));
typedef int32_t i16x32 __attribute__((vector_size(64), aligned(4)));
typedef uint16_t u16x16 __attribute__((vector_size(32), aligned(2)));

#define ALWAYS static inline __attribute__((always_inline))
#define FMA(a, b, c) __builtin_elementwise_fma((a), (b), (c))

ALWAYS v16 splat(float x) { return (v16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
ALWAYS v16 load_f32(const float *p) { return *(const v16 *)p; }
ALWAYS void store_f32(v16 value, float *p) { *(v16 *)p = value; }

ALWAYS v16 load_bf16(const uint16_t *p) {
  u16x32 bits = __builtin_convertvector(*(const u16x16 *)p, u16x32) << 16;
  return (v16)bits;
}

// Nearest even; a NaN stays one.
ALWAYS void store_bf16(v16 value, uint16_t *p) {
  u16x32 bits = (u16x32)value;
  u16x32 rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  i16x32 is_nan = (bits & 0x7FFFFFFF) > 0x7F800000;
  rounded = ((u16x32)is_nan & ((bits >> 16) | 0x40)) | (~(u16x32)is_nan & rounded);
  *(u16x16 *)p = __builtin_convertvector(rounded, u16x16);
}

ALWAYS uint16_t round_bf16(float value) {
  uint32_t bits = __builtin_bit_cast(uint32_t, value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)((bits >> 16) | 0x40);
  return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

ALWAYS v16 select16(i16x32 mask, v16 a, v16 b) { return (v16)(((i16x32)a & mask) | ((i16x32)b & ~mask)); }
ALWAYS v16 max16(v16 a, v16 b) { return select16(a > b, a, b); }

// Fixed trees: (i, i + 8), (i, i + 4), (i, i + 2), (0, 1).
typedef float v8 __attribute__((vector_size(32)));
typedef float v4 __attribute__((vector_size(16)));
#define LOW8(v) __builtin_shufflevector((v), (v), 0, 1, 2, 3, 4, 5, 6, 7)
#define HIGH8(v) __builtin_shufflevector((v), (v), 8, 9, 10, 11, 12, 13, 14, 15)
#define LOW4(v) __builtin_shufflevector((v), (v), 0, 1, 2, 3)
#define HIGH4(v) __builtin_shufflevector((v), (v), 4, 5, 6, 7)
ALWAYS float lane_sum(v16 v) {
  v8 eight = LOW8(v) + HIGH8(v);
  v4 four = LOW4(eight) + HIGH4(eight);
  return (four[0] + four[2]) + (four[1] + four[3]);
}
ALWAYS float lane_max(v16 v) {
  v8 eight = __builtin_elementwise_max(LOW8(v), HIGH8(v));
  v4 four = __builtin_elementwise_max(LOW4(eight), HIGH4(eight));
  float even = four[0] > four[2] ? four[0] : four[2], odd = four[1] > four[3] ? four[1] : four[3];
  return even > odd ? even : odd;
}

// e^x: the operations of PortableMath.exp16, in its order.
ALWAYS v16 exp16(v16 x) {
  v16 clamped = select16(x > 89.0f, splat(89), x);
  clamped = select16(clamped < -104.0f, splat(-104), clamped);
  v16 shifted = clamped * 1.4426950409f + 12582912.0f;
  v16 n = shifted - 12582912.0f;
  i16x32 exponent = (i16x32)shifted - 0x4B400000;
  v16 r = FMA(n, splat(-0.693359375f), clamped);
  r = FMA(n, splat(2.1219444e-4f), r);
  v16 p = splat(1.9875691500e-4f);
  p = FMA(p, r, splat(1.3981999507e-3f));
  p = FMA(p, r, splat(8.3334519073e-3f));
  p = FMA(p, r, splat(4.1665795894e-2f));
  p = FMA(p, r, splat(1.6666665459e-1f));
  p = FMA(p, r, splat(5.0000001201e-1f));
  v16 y = FMA(p, r * r, r) + 1.0f;
  i16x32 half = exponent >> 1;
  i16x32 rest = exponent - half;
  v16 scale0 = (v16)((half + 127) << 23);
  v16 scale1 = (v16)((rest + 127) << 23);
  return (y * scale0) * scale1;
}
