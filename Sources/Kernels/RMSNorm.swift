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

  /// dx += d(loss)/dx and dWeight += d(loss)/d(weight) for dy (rows x width).
  ///
  /// With r = rsqrt(mean(x²) + epsilon): dx = r (dy w - x r² mean(dy w x)), dw = sum over rows of dy x r.
  public static func backward(
    _ dy: UnsafePointer<Float>, x: UnsafePointer<Float>, weight: UnsafePointer<Float>, epsilon: Float, rows: Int,
    width: Int, into dx: UnsafeMutablePointer<Float>, dWeight: UnsafeMutablePointer<Float>, team: ThreadTeam
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: max(rows, 1)) { scratch in
      let inverse = scratch.baseAddress!
      nonisolated(unsafe) let shared = inverse
      team.forEachRange(rows, grain: grain(rows, width, team)) { range, _ in
        for row in range {
          let (xr, dyr, dxr) = (x + row * width, dy + row * width, dx + row * width)
          let r = inverseRoot(xr, width, epsilon)
          shared[row] = r
          let dot = tripleDot(dyr, weight, xr, width)
          let c = -r * r * r * dot / Float(width)
          var index = 0
          while index + 16 <= width {
            let g = Float.load16(dyr + index) * Float.load16(weight + index) * r
            let value = Float.load16(dxr + index) + multiplyAdd(Float.load16(xr + index), SIMD16(repeating: c), g)
            Float.store16(value, dxr + index)
            index += 16
          }
          while index < width {
            dxr[index] += dyr[index] * weight[index] * r + xr[index] * c
            index += 1
          }
        }
      }
      // Columns are split over the team, so the sum over rows runs in one order.
      team.forEachRange(width, grain: max(16, (width / max(1, team.threadCount) + 15) / 16 * 16)) { range, _ in
        for row in 0..<rows {
          let (xr, dyr, r) = (x + row * width, dy + row * width, shared[row])
          for column in range { dWeight[column] += dyr[column] * xr[column] * r }
        }
      }
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
