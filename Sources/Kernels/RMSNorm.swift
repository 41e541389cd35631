import CVectorKernels

/// Root-mean-square normalisation of rows: y = x * rsqrt(mean(x²) + epsilon) * weight.
public enum RMSNorm {
  /// - Parameters:
  ///   - x: rows x width, rows `xStride` apart.
  ///   - weight: width.
  ///   - y: rows x width, dense: the input of a matrix product.
  public static func forward(
    _ x: UnsafePointer<Float>, xStride: Int, weight: UnsafePointer<Float>, epsilon: Float, rows: Int, width: Int,
    into y: Operand, team: ThreadTeam
  ) {
    let isWide = InstructionSet.current == .avx512
    team.forEachRange(rows, grain: grain(rows, width, team)) { range, _ in
      let count = Int64(range.count)
      let (from, stride, width) = (x + range.lowerBound * xStride, Int64(xStride), Int64(width))
      switch y.advanced(by: range.lowerBound * Int(width)) {
      case .float32(let y):
        #if arch(x86_64)
          if isWide { return softgrpo_rms_norm_f32_avx512(from, stride, weight, epsilon, count, width, y) }
        #endif
        softgrpo_rms_norm_f32_baseline(from, stride, weight, epsilon, count, width, y)
      case .bfloat16(let y):
        #if arch(x86_64)
          if isWide { return softgrpo_rms_norm_bf16_avx512(from, stride, weight, epsilon, count, width, y.bits) }
        #endif
        softgrpo_rms_norm_bf16_baseline(from, stride, weight, epsilon, count, width, y.bits)
      }
    }
  }

  /// Rows whose share of the weight's gradient is summed on its own.
  private static let gradientBlock = 64

  /// dx += d(loss)/dx and dWeight += d(loss)/d(weight) for dy (rows x width).
  ///
  /// With r = rsqrt(mean(x²) + epsilon): dx = r (dy w - x r² mean(dy w x)), dw = sum over rows of dy x r: by blocks of
  /// rows, the blocks in order, whatever the threads.
  ///
  /// - Parameters:
  ///   - normed: receives `forward` of x (rows x width), when given.
  ///   - rounded: receives the new dx at the rounding point of the next product, when given.
  public static func backward(
    _ dy: UnsafePointer<Float>, x: UnsafePointer<Float>, weight: UnsafePointer<Float>, epsilon: Float, rows: Int,
    width: Int, into dx: UnsafeMutablePointer<Float>, dWeight: UnsafeMutablePointer<Float>, normed: Operand? = nil,
    rounded: Operand? = nil, team: ThreadTeam
  ) {
    let blocks = (rows + gradientBlock - 1) / gradientBlock
    let isWide = InstructionSet.current == .avx512
    withUnsafeTemporaryAllocation(of: Float.self, capacity: max(blocks * width, 1)) { scratch in
      nonisolated(unsafe) let shares = scratch.baseAddress!
      team.run(blocks) { block, _ in
        let first = block * gradientBlock
        let count = Int64(min(gradientBlock, rows - first))
        let (at, columns) = (first * width, Int64(width))
        let share = shares + block * width
        share.update(repeating: 0, count: width)
        if normed?.computeType == .bfloat16 || rounded?.computeType == .bfloat16 {
          let y = normed.bfloat16Bits(at: at)
          let r = rounded.bfloat16Bits(at: at)
          #if arch(x86_64)
            if isWide {
              return softgrpo_rms_norm_backward_bf16_avx512(
                dy + at, x + at, weight, epsilon, count, columns, dx + at, share, y, r)
            }
          #endif
          softgrpo_rms_norm_backward_bf16_baseline(
            dy + at, x + at, weight, epsilon, count, columns, dx + at, share, y, r)
        } else {
          let y = normed.floats(at: at)
          let r = rounded.floats(at: at)
          #if arch(x86_64)
            if isWide {
              return softgrpo_rms_norm_backward_f32_avx512(
                dy + at, x + at, weight, epsilon, count, columns, dx + at, share, y, r)
            }
          #endif
          softgrpo_rms_norm_backward_f32_baseline(
            dy + at, x + at, weight, epsilon, count, columns, dx + at, share, y, r)
        }
      }
      for block in 0..<blocks { addRow(shares + block * width, to: dWeight, count: width) }
    }
  }

  /// Rows a thread takes at once: one piece when the whole is too small to share.
  @inline(__always)
  static func grain(_ rows: Int, _ width: Int, _ team: ThreadTeam) -> Int {
    rows * width < 65536 ? max(rows, 1) : max(1, min(64, rows / team.threadCount))
  }

  @inline(__always)
  static func inverseRoot(_ x: UnsafePointer<Float>, _ width: Int, _ epsilon: Float) -> Float {
    var sum = SIMD16<Float>()
    var index = 0
    while index + 16 <= width {
      let value = Float.load16(x + index)
      sum = multiplyAdd(value, value, sum)
      index += 16
    }
    var total = laneSum(sum)
    while index < width {
      total += x[index] * x[index]
      index += 1
    }
    return 1 / (total / Float(width) + epsilon).squareRoot()
  }

  @inline(__always)
  static func tripleDot(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafePointer<Float>, _ count: Int
  ) -> Float {
    var sum = SIMD16<Float>()
    var index = 0
    while index + 16 <= count {
      sum = multiplyAdd(Float.load16(a + index) * Float.load16(b + index), Float.load16(c + index), sum)
      index += 16
    }
    var total = laneSum(sum)
    while index < count {
      total += a[index] * b[index] * c[index]
      index += 1
    }
    return total
  }
}
