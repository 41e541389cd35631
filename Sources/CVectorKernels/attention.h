// One row, one key/value head, `G` query heads at a time. ELEMENT, LOAD, STORE and ROUND name the cache's number format.
//
// Per block of 64 keys: scores, maximum, weights and the weighted sum of values, each in one order; a running maximum
// joins the blocks (online softmax). Heads are independent, so their grouping leaves no trace in the bits.
//
// A block of a sequence lies anywhere in memory, so the processor cannot foresee it: while one is computed, the lines of
// the next are asked for.

// Elements of a line of memory.
#define LINE ((int)(64 / sizeof(ELEMENT)))

ALWAYS void NAME(scores)(const int G, const int J, const float *query, int width, const ELEMENT *keys, float scale,
                         int count, v16 s[4][4], const ELEMENT *next, int next_count) {
  for (int g = 0; g < G; g++)
    for (int j = 0; j < 4; j++) s[g][j] = splat(0);
  for (int d = 0; d < width; d++) {
    for (int i = 0; i < next_count; i += LINE) __builtin_prefetch(next + d * 64 + i);
    v16 k[4];
    for (int j = 0; j < J; j++) k[j] = LOAD(keys + d * 64 + j * 16);
    for (int g = 0; g < G; g++) {
      v16 q = splat(query[g * width + d]);
      for (int j = 0; j < J; j++) s[g][j] = FMA(q, k[j], s[g][j]);
    }
  }
  const i16x32 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int g = 0; g < G; g++)
    for (int j = 0; j < 4; j++)
      s[g][j] = select16(lane < count - 16 * j, s[g][j] * scale, splat(-__builtin_inff()));
}

// sums (G x padded, columns [column, column + 16 J)) = sums * correction + weights (G x 64) values (count x padded).
ALWAYS void NAME(weigh)(const int G, const int J, float *sums, int padded, const ELEMENT *values, const float *weights,
                        const float *correction, int count, const ELEMENT *next, int next_count) {
  v16 t[4][4];
  for (int g = 0; g < G; g++)
    for (int j = 0; j < J; j++) t[g][j] = load_f32(sums + g * padded + 16 * j) * correction[g];
  for (int i = 0; i < count; i++) {
    if (i < next_count)
      for (int j = 0; j < 16 * J; j += LINE) __builtin_prefetch(next + (long)i * padded + j);
    v16 v[4];
    for (int j = 0; j < J; j++) v[j] = LOAD(values + (long)i * padded + 16 * j);
    for (int g = 0; g < G; g++) {
      v16 w = splat(weights[g * 64 + i]);
      for (int j = 0; j < J; j++) t[g][j] = FMA(w, v[j], t[g][j]);
    }
  }
  for (int g = 0; g < G; g++)
    for (int j = 0; j < J; j++) store_f32(t[g][j], sums + g * padded + 16 * j);
}

ALWAYS void NAME(attend_heads)(const int G, const float *query, const ELEMENT *base,
                               const softgrpo_attention_shape *shape, ELEMENT *out, float *log_sum_exp,
                               float *scratch) {
  const int width = shape->width, padded = shape->padded_width, length = shape->length;
  const float scale = 1 / __builtin_sqrtf((float)width);
  float *weights = scratch;
  float *sums = scratch + 4 * 64;
  float maxima[4], totals[4], correction[4];
  for (int i = 0; i < G * padded; i++) sums[i] = 0;
  for (int g = 0; g < G; g++) {
    maxima[g] = -__builtin_inff();
    totals[g] = 0;
  }
  for (int block = 0; block * 64 < length; block++) {
    const int count = length - block * 64 < 64 ? length - block * 64 : 64;
    const ELEMENT *keys = base + shape->pages[block] * shape->page_elements;
    const ELEMENT *values = keys + shape->block_elements;
    const int left = length - (block + 1) * 64;
    const int next_count = left < 0 ? 0 : left < 64 ? left : 64;
    const ELEMENT *next = left > 0 ? base + shape->pages[block + 1] * shape->page_elements : keys;
    const ELEMENT *next_values = next + shape->block_elements;
    v16 s[4][4];
    if (count > 32)
      NAME(scores)(G, 4, query, width, keys, scale, count, s, next, next_count);
    else
      NAME(scores)(G, 2, query, width, keys, scale, count, s, next, next_count);
    for (int g = 0; g < G; g++) {
      const float top = lane_max(max16(max16(s[g][0], s[g][1]), max16(s[g][2], s[g][3])));
      const float maximum = top > maxima[g] ? top : maxima[g];
      correction[g] = exp16(splat(maxima[g] - maximum))[0];
      for (int j = 0; j < 4; j++) {
        s[g][j] = exp16(s[g][j] - maximum);
        store_f32(s[g][j], weights + g * 64 + 16 * j);
      }
      totals[g] = totals[g] * correction[g] + lane_sum((s[g][0] + s[g][1]) + (s[g][2] + s[g][3]));
      maxima[g] = maximum;
    }
    int column = 0;
    for (; column + 64 <= padded; column += 64)
      NAME(weigh)(G, 4, sums + column, padded, values + column, weights, correction, count, next_values + column,
                  next_count);
    for (; column < padded; column += 16)
      NAME(weigh)(G, 1, sums + column, padded, values + column, weights, correction, count, next_values + column,
                  next_count);
  }
  for (int g = 0; g < G; g++) {
    const float inverse = 1 / totals[g];
    int i = 0;
    for (; i + 16 <= width; i += 16) STORE(load_f32(sums + g * padded + i) * inverse, out + g * width + i);
    for (; i < width; i++) out[g * width + i] = ROUND(sums[g * padded + i] * inverse);
    if (log_sum_exp) log_sum_exp[g] = maxima[g] + logf(totals[g]);
  }
}

// Keys (width) become a column of a transposed block, values (width) a row: one position of one head. The lines of the
// position that the next call stores are asked for.
void SYMBOL(softgrpo_store_position)(const float *key, const float *value, int32_t width, ELEMENT *key_column,
                                     ELEMENT *value_row, const ELEMENT *next_column) {
  for (int d = 0; d < width; d++) {
    __builtin_prefetch(next_column + d * 64, 1);
    key_column[d * 64] = ROUND(key[d]);
  }
  int i = 0;
  for (; i + 16 <= width; i += 16) STORE(load_f32(value + i), value_row + i);
  for (; i < width; i++) value_row[i] = ROUND(value[i]);
}

void SYMBOL(softgrpo_attend)(const float *query, const ELEMENT *base, const softgrpo_attention_shape *shape,
                             ELEMENT *out, float *log_sum_exp, float *scratch) {
  const int width = shape->width;
  for (int head = 0; head < shape->group;) {
    const int left = shape->group - head;
    const float *q = query + head * width;
    ELEMENT *o = out + head * width;
    float *l = log_sum_exp ? log_sum_exp + head : log_sum_exp;
    if (left >= 4 && HEADS_AT_ONCE >= 4) {
      NAME(attend_heads)(4, q, base, shape, o, l, scratch);
      head += 4;
    } else if (left >= 3 && HEADS_AT_ONCE >= 3) {
      NAME(attend_heads)(3, q, base, shape, o, l, scratch);
      head += 3;
    } else if (left >= 2 && HEADS_AT_ONCE >= 2) {
      NAME(attend_heads)(2, q, base, shape, o, l, scratch);
      head += 2;
    } else {
      NAME(attend_heads)(1, q, base, shape, o, l, scratch);
      head += 1;
    }
  }
}
#undef LINE
