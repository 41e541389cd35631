import Foundation
import Kernels
import Testing

/// Errors are measured in units in the last place against the platform's double-precision libm.
struct PortableMathTests {
  /// A spread of finite bit patterns: a fixed odd stride through all of them.
  private func sweep(_ body: (Float) -> Void) {
    var bits: UInt32 = 0
    for _ in 0..<400_000 {
      let x = Float(bitPattern: bits)
      if x.isFinite { body(x) }
      bits = bits &+ 10_741
    }
  }

  private func ulps(_ value: Float, _ exact: Double) -> Double {
    abs(Double(value) - exact) / Double(Float(exact).ulp)
  }

  @Test func floatExpIsAccurate() {
    var worst = 0.0
    for i in 0..<400_000 {
      let x = -103 + Float(i) * (191.7 / 400_000)
      worst = max(worst, ulps(PortableMath.exp(x), Foundation.exp(Double(x))))
    }
    #expect(worst < 1.5)
  }

  @Test func floatLogIsAccurate() {
    var worst = 0.0
    sweep { x in if x > 0 { worst = max(worst, ulps(PortableMath.log(x), Foundation.log(Double(x)))) } }
    for i in 0..<200_000 {
      let x = 0.5 + Float(i) / 100_000
      if x != 1 { worst = max(worst, ulps(PortableMath.log(x), Foundation.log(Double(x)))) }
    }
    #expect(worst < 1.5)
    #expect(PortableMath.log(Float(1)) == 0)
  }

  @Test func logOneMinusIsAccurate() {
    var worst = 0.0
    for i in 0..<200_000 {
      let candidates: [Float] = [Float(i) / 200_000, Foundation.exp(-Float(i) / 5_000), 0x1.fffffep-1]
      for v in candidates where v < 1 && v > 0 {
        worst = max(worst, ulps(PortableMath.logOneMinus(v), Foundation.log1p(-Double(v))))
      }
    }
    #expect(worst < 2.5)
  }

  @Test func specialValues() {
    #expect(PortableMath.exp(-Float.infinity) == 0)
    #expect(PortableMath.exp(Float.infinity) == .infinity)
    #expect(PortableMath.exp(Float(88.73)) == .infinity)
    #expect(PortableMath.exp(Float(88.72)).isFinite)
    #expect(PortableMath.exp(Float(0)) == 1)
    #expect(PortableMath.exp(Float(-103)) > 0)
    #expect(PortableMath.exp(-Float.greatestFiniteMagnitude) == 0)
    #expect(PortableMath.exp(Float.nan).isNaN)
    #expect(PortableMath.log(Float(0)) == -.infinity)
    #expect(PortableMath.log(Float(-0.0)) == -.infinity)
    #expect(PortableMath.log(Float(-1)).isNaN)
    #expect(PortableMath.log(-Float.infinity).isNaN)
    #expect(PortableMath.log(Float.nan).isNaN)
    #expect(PortableMath.log(Float.infinity) == .infinity)
    #expect(PortableMath.exp(-Double.infinity) == 0)
    #expect(PortableMath.exp(Double.infinity) == .infinity)
    #expect(PortableMath.exp(Double.nan).isNaN)
    #expect(PortableMath.log(0.0) == -.infinity)
    #expect(PortableMath.log(-1.0).isNaN)
    #expect(PortableMath.log(Double.nan).isNaN)
    #expect(PortableMath.log(Double.infinity) == .infinity)
  }

  @Test func sixteenLanesHaveTheScalarBits() {
    func same(_ a: Float, _ b: Float) -> Bool { a.bitPattern == b.bitPattern || (a.isNaN && b.isNaN) }
    let special: [Float] = [
      0, -0.0, .infinity, -.infinity, .nan, -.nan, 89, 88.722_84, -87.5, -103.97, -104, .leastNonzeroMagnitude,
      -.leastNonzeroMagnitude, .leastNormalMagnitude, .greatestFiniteMagnitude, 1,
    ]
    var lanes = SIMD16<Float>()
    var filled = 0
    var different = 0
    func flush() {
      let (e, l, m) = (PortableMath.exp16(lanes), PortableMath.log16(lanes), PortableMath.logOneMinus16(lanes))
      for lane in 0..<16 {
        if !same(e[lane], PortableMath.exp(lanes[lane])) { different += 1 }
        if !same(l[lane], PortableMath.log(lanes[lane])) { different += 1 }
        let inDomain = lanes[lane] >= 0 && lanes[lane] < 1
        if inDomain && !same(m[lane], PortableMath.logOneMinus(lanes[lane])) { different += 1 }
      }
      filled = 0
    }
    func add(_ x: Float) {
      lanes[filled] = x
      filled += 1
      if filled == 16 { flush() }
    }
    special.forEach(add)
    sweep(add)
    for i in 0..<160_000 { add(Float(i) / 160_000) }
    #expect(different == 0)
  }

  @Test func doubleIsAccurate() {
    var worst = 0.0
    for i in 0..<100_000 {
      let x = -700 + Double(i) * 0.014
      let exact = Foundation.exp(x)
      worst = max(worst, abs(PortableMath.exp(x) - exact) / exact.ulp)
      let argument = Foundation.exp(-30 + Double(i) * 6e-4)
      let logarithm = Foundation.log(argument)
      worst = max(worst, abs(PortableMath.log(argument) - logarithm) / max(logarithm.ulp, 1e-17))
    }
    #expect(worst <= 2)
    #expect(PortableMath.log(Double.leastNonzeroMagnitude) == Foundation.log(Double.leastNonzeroMagnitude))
  }

  @Test func logGammaOfIntegers() {
    #expect(PortableMath.logGamma(0) == .infinity)
    #expect(PortableMath.logGamma(1) == 0)
    #expect(PortableMath.logGamma(2) == 0)
    for n in 1...1024 { #expect(abs(PortableMath.logGamma(n) - lgamma(Double(n))) <= 1e-14 * Double(n) * 10 + 1e-12) }
  }
}
