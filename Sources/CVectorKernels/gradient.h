// The backward pass of norm and gated unit, and rounding. ELEMENT, LOAD, STORE and ROUND name the number format of what
// matrix products read.

void SYMBOL(softgrpo_round)(const float *x, int64_t count, ELEMENT *y) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) STORE(load_f32(x + i), y + i);
  for (; i < count; i++) y[i] = ROUND(x[i]);
}

// One element at i of sixteen, by way of a vector: the same operations as the others.
ALWAYS v16 NAME(load_some)(const ELEMENT *p, int64_t count) {
  ELEMENT padded[16] = {0};
  for (int64_t i = 0; i < count; i++) padded[i] = p[i];
  return LOAD(padded);
}
ALWAYS void NAME(store_some)(v16 value, ELEMENT *p, int64_t count) {
  ELEMENT padded[16];
  STORE(value, padded);
  for (int64_t i = 0; i < count; i++) p[i] = padded[i];
}

// With s = sigmoid(g): y = g s up, dup = dy g s, dgate = dy up s (1 + g (1 - s)).
void SYMBOL(softgrpo_gated_unit_backward)(const float *dy, const ELEMENT *gate_up, int64_t rows, int64_t width,
                                          ELEMENT *d_gate_up, ELEMENT *activated) {
  for (int64_t row = 0; row < rows; row++) {
    const ELEMENT *gate = gate_up + row * 2 * width, *up = gate + width;
    const float *from = dy + row * width;
    ELEMENT *d_gate = d_gate_up + row * 2 * width, *d_up = d_gate + width;
    ELEMENT *to = activated ? activated + row * width : 0;
    for (int64_t i = 0; i < width; i += 16) {
      const int64_t left = width - i;
      v16 g, u, d;
      if (left >= 16) {
        g = LOAD(gate + i);
        u = LOAD(up + i);
        d = load_f32(from + i);
      } else {
        float padded[16] = {0};
        for (int64_t j = 0; j < left; j++) padded[j] = from[i + j];
        g = NAME(load_some)(gate + i, left);
        u = NAME(load_some)(up + i, left);
        d = load_f32(padded);
      }
      v16 s = 1 / (1 + exp16(-g));
      v16 y = g * s * u, du = d * g * s, dg = d * u * s * (1 + g * (1 - s));
      if (left >= 16) {
        if (to) STORE(y, to + i);
        STORE(du, d_up + i);
        STORE(dg, d_gate + i);
      } else {
        if (to) NAME(store_some)(y, to + i, left);
        NAME(store_some)(du, d_up + i, left);
        NAME(store_some)(dg, d_gate + i, left);
      }
    }
  }
}

// With r = rsqrt(mean(x^2) + epsilon): dx += r (dy w - x r^2 mean(dy w x)), dw += sum over rows of dy x r.
void SYMBOL(softgrpo_rms_norm_backward)(const float *dy, const float *x, const float *weight, float epsilon,
                                        int64_t rows, int64_t width, float *dx, float *d_weight, ELEMENT *normed,
                                        ELEMENT *rounded) {
  for (int64_t row = 0; row < rows; row++) {
    const float *xr = x + row * width, *dyr = dy + row * width;
    float *dxr = dx + row * width;
    v16 squares = splat(0), products = splat(0);
    int64_t i = 0;
    for (; i + 16 <= width; i += 16) {
      v16 value = load_f32(xr + i);
      squares = FMA(value, value, squares);
      products = FMA(load_f32(dyr + i) * load_f32(weight + i), value, products);
    }
    float square = lane_sum(squares), product = lane_sum(products);
    for (; i < width; i++) {
      square += xr[i] * xr[i];
      product += dyr[i] * weight[i] * xr[i];
    }
    const float r = 1 / __builtin_sqrtf(square / (float)width + epsilon);
    const float c = -r * r * r * product / (float)width;
    for (i = 0; i + 16 <= width; i += 16) {
      v16 value = load_f32(xr + i), g = load_f32(dyr + i), w = load_f32(weight + i);
      v16 sum = load_f32(dxr + i) + FMA(value, splat(c), g * w * r);
      store_f32(sum, dxr + i);
      store_f32(load_f32(d_weight + i) + g * value * r, d_weight + i);
      if (rounded) STORE(sum, rounded + row * width + i);
      if (normed) STORE(value * r * w, normed + row * width + i);
    }
    for (; i < width; i++) {
      const float sum = dxr[i] + (dyr[i] * weight[i] * r + xr[i] * c);
      dxr[i] = sum;
      d_weight[i] += dyr[i] * xr[i] * r;
      if (rounded) rounded[row * width + i] = ROUND(sum);
      if (normed) normed[row * width + i] = ROUND(xr[i] * r * weight[i]);
    }
  }
}

// scale e^((z - maximum) inverse_temperature - log_sum): the softmax of a row, scaled.
void SYMBOL(softgrpo_scaled_softmax)(const float *row, int64_t count, float maximum, float inverse_temperature,
                                     float log_sum, float scale, ELEMENT *y) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16)
    STORE(exp16((load_f32(row + i) - maximum) * inverse_temperature - log_sum) * scale, y + i);
  for (; i < count; i++) y[i] = ROUND(exp16(splat((row[i] - maximum) * inverse_temperature - log_sum))[0] * scale);
}
