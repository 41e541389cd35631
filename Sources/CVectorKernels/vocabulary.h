// Passes over a row of logits as long as the vocabulary.

// Lanes of one block added up, in double precision through a fixed tree.
ALWAYS double flush16(v16 lanes) {
  v8 eight = LOW8(lanes) + HIGH8(lanes);
  v4 four = LOW4(eight) + HIGH4(eight);
  return ((double)four[0] + (double)four[1]) + ((double)four[2] + (double)four[3]);
}

// Sum of e^((z - maximum) * inverse_temperature): sixteen lanes by index modulo 16, flushed every 1,024 entries to double
// precision through a fixed tree; a short tail counts its missing lanes as 0.
double ISA_SYMBOL(softgrpo_sum_of_exponentials)(const float *row, int64_t count, float maximum,
                                                float inverse_temperature) {
  double total = 0;
  for (int64_t start = 0; start < count; start += 1024) {
    const int64_t end = start + 1024 < count ? start + 1024 : count;
    v16 lanes = splat(0);
    int64_t i = start;
    for (; i + 16 <= end; i += 16) lanes += exp16((load_f32(row + i) - maximum) * inverse_temperature);
    if (i < end) {
      v16 tail = splat(-__builtin_inff());
      for (int64_t lane = 0; lane < end - i; lane++) tail[lane] = (row[i + lane] - maximum) * inverse_temperature;
      lanes += exp16(tail);
    }
    total += flush16(lanes);
  }
  return total;
}

// As `softgrpo_sum_of_exponentials`, the same bits, and beside it the sum of x e^x, x = (z - maximum) * inverse_temperature;
// x is held at -200, where e^x is 0, so that -infinity adds nothing.
double ISA_SYMBOL(softgrpo_exponential_moments)(const float *row, int64_t count, float maximum,
                                                float inverse_temperature, double *weighted) {
  double total = 0, sum = 0;
  const v16 lowest = splat(-200);
  for (int64_t start = 0; start < count; start += 1024) {
    const int64_t end = start + 1024 < count ? start + 1024 : count;
    v16 lanes = splat(0), products = splat(0);
    int64_t i = start;
    for (; i + 16 <= end; i += 16) {
      const v16 x = (load_f32(row + i) - maximum) * inverse_temperature, e = exp16(x);
      lanes += e;
      products += max16(x, lowest) * e;
    }
    if (i < end) {
      v16 x = splat(-__builtin_inff());
      for (int64_t lane = 0; lane < end - i; lane++) x[lane] = (row[i + lane] - maximum) * inverse_temperature;
      const v16 e = exp16(x);
      lanes += e;
      products += max16(x, lowest) * e;
    }
    total += flush16(lanes);
    sum += flush16(products);
  }
  *weighted = sum;
  return total;
}

typedef uint64_t u64x8 __attribute__((vector_size(64)));

// Output word 0 of Philox4x32-10 for eight counters that differ in their first word; 32-bit words in 64-bit lanes, so
// that a round's products are plain widening multiplications.
ALWAYS u64x8 philox8(u64x8 c0, const softgrpo_noise_counter *at) {
  const u64x8 zero = {0};
  u64x8 c1 = zero + at->step, c2 = zero + at->sample, c3 = zero + at->group;
  uint32_t k0 = at->key0, k1 = at->key1;
  for (int round = 0; round < 10; round++) {
    const u64x8 low = zero + 0xFFFFFFFFu;
    u64x8 product0 = (c0 & low) * 0xD2511F53u, product1 = (c2 & low) * 0xCD9E8D57u;
    c0 = (product1 >> 32) ^ c1 ^ (zero + k0);
    c2 = (product0 >> 32) ^ c3 ^ (zero + k1);
    c1 = product1 & low;
    c3 = product0 & low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c0;
}

// v = 1 - u of the sixteen token ids from `first` on (NoiseKey).
ALWAYS v16 complement16(int32_t first, const softgrpo_noise_counter *at) {
  const u64x8 lane = {0, 1, 2, 3, 4, 5, 6, 7};
  const u64x8 low = philox8(lane + (uint32_t)first, at), high = philox8(lane + (uint32_t)(first + 8), at);
  v16 words;
  for (int i = 0; i < 8; i++) {
    words[i] = (float)(int32_t)((uint32_t)low[i] >> 1);
    words[i + 8] = (float)(int32_t)((uint32_t)high[i] >> 1);
  }
  const v16 v = (words + 0.5f) * 0x1p-31f;
  return select16(v > 0x1.fffffep-1f, splat(0x1.fffffep-1f), v);
}

// See the header. A noise above t needs v <= -log(1 - v) < e^-t: one exponential rejects most lanes before any logarithm,
// and the factor covers rounding.
int64_t ISA_SYMBOL(softgrpo_next_candidate)(const float *row, int64_t count, int64_t from, float maximum,
                                            float inverse_temperature, float winning,
                                            const softgrpo_noise_counter *at, float *scaled_out, float *complement) {
  for (int64_t i = from; i < count; i += 16) {
    v16 scaled = splat(-__builtin_inff());
    if (i + 16 <= count)
      scaled = (load_f32(row + i) - maximum) * inverse_temperature;
    else
      for (int64_t lane = 0; lane < count - i; lane++) scaled[lane] = (row[i + lane] - maximum) * inverse_temperature;
    if (!__builtin_reduce_or(scaled > winning - at->maximum)) continue;
    const v16 v = complement16((int32_t)i, at);
    const v16 bound = exp16(scaled - winning) * 1.0001f;
    if (__builtin_reduce_or(v <= bound)) {
      store_f32(scaled, scaled_out);
      store_f32(v, complement);
      return i;
    }
  }
  return count;
}
