import Kernels
import Testing
import TestSupport

/// Rounding against a reference that does not share its arithmetic: neighbours are compared in Double.
struct BFloat16Tests {
  /// Nearest bf16 value, ties to the even mantissa, found from the two neighbours of a finite float.
  private func reference(_ value: Float) -> UInt16 {
    let below = UInt16(value.bitPattern >> 16)
    if value.bitPattern & 0xFFFF == 0 { return below }
    let above = below &+ 1  // larger in magnitude; the step beyond the largest finite value is infinity
    let low = Double(Float(bitPattern: UInt32(below) << 16))
    // Overflow rounds as if the exponent went on: the successor of the largest value counts as 2^128.
    let isLast = above & 0x7FFF == 0x7F80
    let high = isLast ? (low < 0 ? -0x1p128 : 0x1p128) : Double(Float(bitPattern: UInt32(above) << 16))
    let (down, up) = (abs(Double(value) - low), abs(high - Double(value)))
    if down != up { return down < up ? below : above }
    return below & 1 == 0 ? below : above
  }

  private func sixteen(_ values: [Float]) -> [UInt16] {
    var lanes = SIMD16<Float>()
    for index in 0..<16 { lanes[index] = values[index] }
    var out = [BFloat16](repeating: BFloat16(bitPattern: 0), count: 16)
    out.withUnsafeMutableBufferPointer { BFloat16.store16(lanes, $0.baseAddress!) }
    return out.map(\.bitPattern)
  }

  @Test func everyExponentRoundsToNearestEven() {
    // Lower halves around zero, the tie and the top; upper mantissa bits even, odd and full (carry into the exponent).
    let lower: [UInt32] = [0, 1, 0x7FFE, 0x7FFF, 0x8000, 0x8001, 0xC000, 0xFFFF]
    var (wrong, wrongLanes) = (0, 0)
    for sign in [0, 0x8000_0000] as [UInt32] {
      for exponent in 0..<255 as Range<UInt32> {
        for upper in [0, 1, 2, 0x3F, 0x7E, 0x7F] as [UInt32] {
          let values = lower.map { Float(bitPattern: sign | exponent << 23 | upper << 16 | $0) }
          for value in values where BFloat16(value).bitPattern != reference(value) { wrong += 1 }
          if sixteen(values + values) != (values + values).map({ BFloat16($0).bitPattern }) { wrongLanes += 1 }
        }
      }
    }
    #expect(wrong == 0)
    #expect(wrongLanes == 0)
  }

  @Test func specialValues() {
    #expect(BFloat16(Float.infinity).bitPattern == 0x7F80)
    #expect(BFloat16(-Float.infinity).bitPattern == 0xFF80)
    #expect(BFloat16(Float.greatestFiniteMagnitude).bitPattern == 0x7F80)
    #expect(BFloat16(-0.0).bitPattern == 0x8000)
    #expect(BFloat16(Float.leastNonzeroMagnitude).bitPattern == 0)
    for bits in [0x7F80_0001, 0x7FFF_FFFF, 0x7FC0_0000, 0xFF80_0001, 0xFFFF_FFFF, 0x7FBF_FFFF] as [UInt32] {
      let rounded = BFloat16(Float(bitPattern: bits))
      #expect(Float(rounded).isNaN)
      #expect(rounded.bitPattern & 0x40 != 0, "quiet")
      #expect(rounded.bitPattern >> 15 == UInt16(bits >> 31), "sign")
      #expect(
        sixteen([Float](repeating: Float(bitPattern: bits), count: 16))
          == Array(repeating: rounded.bitPattern, count: 16))
    }
  }

  @Test func widenAndRoundInvertEachOtherForEveryPattern() {
    let all = (0...UInt16.max).map { BFloat16(bitPattern: $0) }
    var wide = [Float](repeating: 0, count: all.count)
    widen(all, into: &wide, count: all.count)
    let operand = FilledOperand(wide, .bfloat16)
    guard case .bfloat16(let back) = operand.operand else { return }
    var wrong = 0
    for index in all.indices {
      if wide[index].bitPattern != UInt32(index) << 16 { wrong += 1 }
      let expected = wide[index].isNaN ? all[index].bitPattern | 0x40 : all[index].bitPattern
      if back[index].bitPattern != expected { wrong += 1 }
    }
    #expect(wrong == 0)
  }

  @Test(arguments: [0, 1, 3, 15, 16, 17, 31, 33, 64, 100])
  func roundingARowOfAnyLengthTouchesNothingElse(_ count: Int) {
    let values = randomValues(count, seed: 5)
    let buffer = FilledOperand([Float](repeating: 7, count: count + 16), .bfloat16)
    round(values, into: buffer.operand, count: count)
    #expect(buffer.values == values.map(\.roundedToBFloat16) + [Float](repeating: 7, count: 16))
  }
}
