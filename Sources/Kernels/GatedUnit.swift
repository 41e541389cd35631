import CVectorKernels

/// SwiGLU: y = silu(gate) * up, silu(g) = g / (1 + exp(-g)).
public enum GatedUnit {
  /// - Parameters:
  ///   - gateUp: rows x 2 width: the gate's columns, then the up projection's.
  ///   - y: rows x width.
  public static func forward(
    _ gateUp: UnsafePointer<Float>, rows: Int, width: Int, into y: Operand, team: ThreadTeam
  ) {
    let isWide = InstructionSet.current == .avx512
    team.forEachRange(rows, grain: RMSNorm.grain(rows, 4 * width, team)) { range, _ in
      let from = gateUp + range.lowerBound * 2 * width
      let (count, columns) = (Int64(range.count), Int64(width))
      switch y.advanced(by: range.lowerBound * width) {
      case .float32(let y):
        #if arch(x86_64)
          if isWide { return softgrpo_gated_unit_f32_avx512(from, count, columns, y) }
        #endif
        softgrpo_gated_unit_f32_baseline(from, count, columns, y)
      case .bfloat16(let y):
        #if arch(x86_64)
          if isWide { return softgrpo_gated_unit_bf16_avx512(from, count, columns, y.bits) }
        #endif
        softgrpo_gated_unit_bf16_baseline(from, count, columns, y.bits)
      }
    }
  }

  /// dGateUp = d(loss)/d(gateUp) for dy (rows x width); written, not accumulated: the input of the next product.
  ///
  /// With s = sigmoid(g): dup = dy g s, dgate = dy up s (1 + g (1 - s)).
  ///
  /// - Parameters:
  ///   - gateUp: rows x 2 width, in the compute type of `dGateUp`.
  ///   - activated: receives `forward` of `gateUp` (rows x width), when given.
  public static func backward(
    _ dy: UnsafePointer<Float>, gateUp: Operand, rows: Int, width: Int, into dGateUp: Operand,
    activated: Operand? = nil, team: ThreadTeam
  ) {
    let isWide = InstructionSet.current == .avx512
    team.forEachRange(rows, grain: RMSNorm.grain(rows, 4 * width, team)) { range, _ in
      let (count, columns) = (Int64(range.count), Int64(width))
      let (row, wideRow) = (range.lowerBound * width, range.lowerBound * 2 * width)
      switch (dGateUp, gateUp) {
      case (.float32(let d), .float32(let gateUp)):
        let y = activated.floats(at: row)
        #if arch(x86_64)
          if isWide {
            return softgrpo_gated_unit_backward_f32_avx512(
              dy + row, gateUp + wideRow, count, columns, d + wideRow, y)
          }
        #endif
        softgrpo_gated_unit_backward_f32_baseline(dy + row, gateUp + wideRow, count, columns, d + wideRow, y)
      case (.bfloat16(let d), .bfloat16(let gateUp)):
        let y = activated.bfloat16Bits(at: row)
        #if arch(x86_64)
          if isWide {
            return softgrpo_gated_unit_backward_bf16_avx512(
              dy + row, (gateUp + wideRow).bits, count, columns, (d + wideRow).bits, y)
          }
        #endif
        softgrpo_gated_unit_backward_bf16_baseline(
          dy + row, (gateUp + wideRow).bits, count, columns, (d + wideRow).bits, y)
      default: preconditionFailure("the operands have one compute type")
      }
    }
  }
}
