// Included once per number format of the right-hand side: RIGHT, LOAD_RIGHT, RIGHT_NAME. R rows x J vectors of sums live
// in registers; each is one chain of fused multiply-adds along k.

ALWAYS void RIGHT_NAME(tile)(const int R, const int J, const float *x, int64_t x_stride, const RIGHT *w,
                                 int64_t w_stride, int64_t depth, float *y, int64_t y_stride, int64_t columns,
                                 int accumulate) {
  v16 c[6][4];
  UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < J; j++) c[i][j] = splat(0);
  for (int64_t k = 0; k < depth; k++, x++, w += w_stride) {
    v16 b[4];
    UNROLL for (int j = 0; j < J; j++) b[j] = LOAD_RIGHT(w + 16 * j);
    UNROLL for (int i = 0; i < R; i++) {
      const v16 a = splat(x[i * x_stride]);
      UNROLL for (int j = 0; j < J; j++) c[i][j] = FMA(a, b[j], c[i][j]);
    }
  }
  UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < J; j++) {
    float *out = y + i * y_stride + 16 * j;
    const int64_t left = columns - 16 * j;
    if (left >= 16) {
      store_f32(accumulate ? load_f32(out) + c[i][j] : c[i][j], out);
    } else {
      float rest[16];
      store_f32(c[i][j], rest);
      for (int64_t lane = 0; lane < left; lane++) out[lane] = accumulate ? out[lane] + rest[lane] : rest[lane];
    }
  }
}

// Rows of one strip of J vectors, in tiles of nearly equal height.
ALWAYS void RIGHT_NAME(strip)(const int J, const float *x, int64_t x_stride, int32_t rows, const RIGHT *w,
                                  int64_t w_stride, int64_t depth, float *y, int64_t y_stride, int64_t columns,
                                  int accumulate) {
  const int32_t count = (rows + 5) / 6;
  int32_t done = 0;
  for (int32_t index = 0; index < count; index++) {
    const int32_t height = (rows - done + (count - index) - 1) / (count - index);
    const float *a = x + done * x_stride;
    float *out = y + done * y_stride;
    switch (height) {
      case 1: RIGHT_NAME(tile)(1, J, a, x_stride, w, w_stride, depth, out, y_stride, columns, accumulate); break;
      case 2: RIGHT_NAME(tile)(2, J, a, x_stride, w, w_stride, depth, out, y_stride, columns, accumulate); break;
      case 3: RIGHT_NAME(tile)(3, J, a, x_stride, w, w_stride, depth, out, y_stride, columns, accumulate); break;
      case 4: RIGHT_NAME(tile)(4, J, a, x_stride, w, w_stride, depth, out, y_stride, columns, accumulate); break;
      case 5: RIGHT_NAME(tile)(5, J, a, x_stride, w, w_stride, depth, out, y_stride, columns, accumulate); break;
      default: RIGHT_NAME(tile)(6, J, a, x_stride, w, w_stride, depth, out, y_stride, columns, accumulate);
    }
    done += height;
  }
}
