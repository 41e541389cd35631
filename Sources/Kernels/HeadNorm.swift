/// RMS normalisation of each head of a row, in place (qwen3's q_norm and k_norm).
public enum HeadNorm {
  /// x[row, head] *= rsqrt(mean(x²) + epsilon) * weight, for `heads` heads of `width` per row, rows `stride` apart.
  public static func forward(
    _ x: UnsafeMutablePointer<Float>, stride: Int, weight: UnsafePointer<Float>, epsilon: Float, rows: Int, heads: Int,
    width: Int, team: ThreadTeam
  ) {
    team.forEachRange(rows, grain: RMSNorm.grain(rows, heads * width, team)) { range, _ in
      for row in range {
        for head in 0..<heads {
          let values = x + row * stride + head * width
          let r = RMSNorm.inverseRoot(values, width, epsilon)
          for index in 0..<width { values[index] = values[index] * r * weight[index] }
        }
      }
    }
  }

  /// Rows whose share of the weight's gradient is summed on its own.
  private static let gradientBlock = 64

  /// dy becomes dx in place, and dWeight += sum over rows and heads of dy x r; `x` is the input of `forward`. The sum goes
  /// by blocks of rows, the blocks in order, whatever the threads.
  public static func backward(
    _ dy: UnsafeMutablePointer<Float>, stride: Int, x: UnsafePointer<Float>, xStride: Int, weight: UnsafePointer<Float>,
    epsilon: Float, rows: Int, heads: Int, width: Int, dWeight: UnsafeMutablePointer<Float>, team: ThreadTeam
  ) {
    let blocks = (rows + gradientBlock - 1) / gradientBlock
    withUnsafeTemporaryAllocation(of: Float.self, capacity: max(blocks * width, 1)) { scratch in
      nonisolated(unsafe) let shares = scratch.baseAddress!
      team.run(blocks) { block, _ in
        let share = shares + block * width
        share.update(repeating: 0, count: width)
        for row in block * gradientBlock..<min(rows, (block + 1) * gradientBlock) {
          for head in 0..<heads {
            let (xr, dyr) = (x + row * xStride + head * width, dy + row * stride + head * width)
            let r = RMSNorm.inverseRoot(xr, width, epsilon)
            let c = -r * r * r * RMSNorm.tripleDot(dyr, weight, xr, width) / Float(width)
            for index in 0..<width {
              share[index] += dyr[index] * xr[index] * r
              dyr[index] = dyr[index] * weight[index] * r + xr[index] * c
            }
          }
        }
      }
      for block in 0..<blocks { addRow(shares + block * width, to: dWeight, count: width) }
    }
  }
}
