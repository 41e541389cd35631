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
  public static func backward(
    _ dy: UnsafePointer<Float>, gateUp: UnsafePointer<Float>, rows: Int, width: Int, into dGateUp: Operand,
    team: ThreadTeam
  ) {
    team.forEachRange(rows, grain: RMSNorm.grain(rows, 4 * width, team)) { range, _ in
      switch dGateUp {
      case .float32(let d): differentiate(dy, gateUp, range, width, d)
      case .bfloat16(let d): differentiate(dy, gateUp, range, width, d)
      }
    }
  }

  @inline(__always)
  private static func sigmoid16(_ x: SIMD16<Float>) -> SIMD16<Float> { 1 / (1 + PortableMath.exp16(-x)) }

  @inline(__always)
  private static func differentiate<Element: ActivationElement>(
    _ dy: UnsafePointer<Float>, _ gateUp: UnsafePointer<Float>, _ range: Range<Int>, _ width: Int,
    _ d: UnsafeMutablePointer<Element>
  ) {
    for row in range {
      let gate = gateUp + row * 2 * width
      let (up, dyr) = (gate + width, dy + row * width)
      let dGate = d + row * 2 * width
      let dUp = dGate + width
      var index = 0
      while index + 16 <= width {
        let (g, u, dv) = (Float.load16(gate + index), Float.load16(up + index), Float.load16(dyr + index))
        let s = sigmoid16(g)
        Element.store16(dv * g * s, dUp + index)
        Element.store16(dv * u * s * (1 + g * (1 - s)), dGate + index)
        index += 16
      }
      while index < width {
        let (g, u, dv) = (gate[index], up[index], dyr[index])
        let s = sigmoid16(SIMD16(repeating: g))[0]
        dUp[index] = Element(rounding: dv * g * s)
        dGate[index] = Element(rounding: dv * u * s * (1 + g * (1 - s)))
        index += 1
      }
    }
  }
}
