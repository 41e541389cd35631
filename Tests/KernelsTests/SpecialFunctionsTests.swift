import Foundation
import Kernels
import Testing

/// Against the platform's libm, and identities.
struct SpecialFunctionsTests {
  private static let points = [1e-6, 1e-3, 0.05, 0.3, 0.999, 1, 1.5, 2, 3.7, 9.99, 10, 10.01, 77, 1e4]

  /// Phi of the quantile is the probability.
  @Test func normalQuantile() {
    for probability in [1e-12, 1e-6, 1e-3, 0.02, 0.0749, 0.0751, 0.2, 0.4999, 0.5, 0.81, 0.925, 0.99, 1 - 1e-9] {
      let x = PortableMath.normalQuantile(probability)
      let back = 0.5 * erfc(-x / 2.0.squareRoot())
      #expect(abs(back - probability) < 1e-14 + 1e-13 * probability, "\(probability)")
    }
    #expect(PortableMath.normalQuantile(0) == -.infinity && PortableMath.normalQuantile(1) == .infinity)
  }

  @Test(arguments: points) func logGamma(_ x: Double) {
    #expect(abs(PortableMath.logGamma(x) - lgamma(x)) < 1e-12 * max(1, abs(lgamma(x))))
  }

  /// By central differences, and psi(x + 1) = psi(x) + 1 / x.
  @Test(arguments: points) func digammaAndTrigamma(_ x: Double) {
    let h = 1e-4 * x
    let slope = (PortableMath.logGamma(x + h) - PortableMath.logGamma(x - h)) / (2 * h)
    #expect(abs(PortableMath.digamma(x) - slope) < 1e-6 * max(1, abs(slope)))
    let curve = (PortableMath.digamma(x + h) - PortableMath.digamma(x - h)) / (2 * h)
    #expect(abs(PortableMath.trigamma(x) - curve) < 1e-6 * max(1, abs(curve)))
    #expect(abs(PortableMath.digamma(x + 1) - PortableMath.digamma(x) - 1 / x) < 1e-11 / min(1, x))
  }

  @Test func poles() {
    #expect(PortableMath.logGamma(0.0) == .infinity && PortableMath.logGamma(-1.5) == .infinity)
    #expect(PortableMath.digamma(0).isNaN && PortableMath.trigamma(-1).isNaN)
    #expect(abs(PortableMath.digamma(1) + 0.577_215_664_901_532_9) < 1e-13)
    #expect(abs(PortableMath.trigamma(1) - Double.pi * Double.pi / 6) < 1e-12)
  }
}
