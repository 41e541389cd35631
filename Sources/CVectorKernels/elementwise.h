// Norm and gated unit of rows: the input of the next product. ELEMENT, STORE and ROUND name its number format.

// y = x * rsqrt(mean(x^2) + epsilon) * weight.
void SYMBOL(softgrpo_rms_norm)(const float *x, int64_t x_stride, const float *weight, float epsilon, int64_t rows,
                               int64_t width, ELEMENT *y) {
  for (int64_t row = 0; row < rows; row++) {
    const float *from = x + row * x_stride;
    ELEMENT *to = y + row * width;
    v16 sum = splat(0);
    int64_t i = 0;
    for (; i + 16 <= width; i += 16) {
      v16 value = load_f32(from + i);
      sum = FMA(value, value, sum);
    }
    float total = lane_sum(sum);
    for (; i < width; i++) total += from[i] * from[i];
    const float r = 1 / __builtin_sqrtf(total / (float)width + epsilon);
    for (i = 0; i + 16 <= width; i += 16) STORE(load_f32(from + i) * r * load_f32(weight + i), to + i);
    for (; i < width; i++) to[i] = ROUND(from[i] * r * weight[i]);
  }
}

// y = silu(gate) * up, silu(g) = g / (1 + e^-g), as g * (1 / (1 + e^-g)) * up.
void SYMBOL(softgrpo_gated_unit)(const float *gate_up, int64_t rows, int64_t width, ELEMENT *y) {
  for (int64_t row = 0; row < rows; row++) {
    const float *gate = gate_up + row * 2 * width;
    const float *up = gate + width;
    ELEMENT *to = y + row * width;
    int64_t i = 0;
    for (; i + 16 <= width; i += 16) {
      v16 g = load_f32(gate + i);
      STORE(g * (1 / (1 + exp16(-g))) * load_f32(up + i), to + i);
    }
    for (; i < width; i++) {
      float g = gate[i];
      to[i] = ROUND(g * (1 / (1 + exp16(splat(-g)))[0]) * up[i]);
    }
  }
}
