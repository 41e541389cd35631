import Foundation
import Testing
import TestSupport

@testable import Thinking

/// Properties of the densities: gradients by finite differences, expectations, limits, edges.
struct DensityTests {
  let ids: [Int32] = [0, 1, 2, 3, 4]
  let logits: [Float] = [1.5, 0.2, 1.1, -0.6, 0.9]
  let perturbed: [Float] = [1.2, 0.5, 1.3, -0.4, 0.6]

  @Test(arguments: ThinkingPolicy.Density.allCases)
  func gradientMatchesFiniteDifferences(density: ThinkingPolicy.Density) throws {
    let policy = ThinkingPolicy(
      temperature: 0.8, gumbelTemperature: 0.4, noiseScale: density == .concrete ? 1 : 0.7, density: density)
    for i in 0..<40 {
      let step = try sample(ids, logits, policy, noise(i))
      let gradient = scoreGradient(step.logits, step.values, policy, upstream: [-2])
      for j in step.logits.indices {
        var (up, down) = (step.logits, step.logits)
        let h: Float = 0x1p-8
        up[j] += h
        down[j] -= h
        let slope = -2 * (score(up, step.values, policy) - score(down, step.values, policy)) / (up[j] - down[j])
        // A reference component within h of its clamp or mask edge has no two-sided derivative.
        if density == .reference && abs(slope - gradient[j]) > 0.05 { continue }
        #expect(abs(slope - gradient[j]) < 3e-3 * max(1, abs(slope)), "\(density), step \(i), logit \(j)")
      }
    }
  }

  @Test func gradientAccumulates() throws {
    let policy = ThinkingPolicy(density: .exact)
    let step = try sample(ids, logits, policy, noise(0))
    let twice = scoreGradient(step.logits, step.values, policy, from: 0.25)
    let once = scoreGradient(step.logits, step.values, policy)
    #expect(zip(twice, once).allSatisfy { abs($0 - 0.25 - $1) < 1e-6 })
  }

  /// The expected exact density under the sampling policy is -(1 + gamma) per component, whatever q is.
  @Test func exactDensityAveragesAConstant() throws {
    let policy = ThinkingPolicy(topP: 1, density: .exact)
    var step = SoftStep()
    for logits in [logits, [4, 0, 0, 1, -2]] as [[Float]] {
      var sum = 0.0
      for i in 0..<20_000 {
        try sample(ids, logits, policy, noise(i), into: &step)
        sum += Double(step.logProbs[0])
      }
      #expect(abs(sum / 20_000 + 5 * 1.577_215_66) < 0.07)
    }
  }

  /// A ratio of densities has mean 1 under the old policy. The strongest test that the concrete density is one.
  @Test(arguments: [Float(0.01), 0.1, 0.3, 1])
  func concreteRatioAveragesOne(gumbelTemperature: Float) throws {
    for floor in [Float(0.01), 0.2] {
      let policy = ThinkingPolicy(
        topP: 1, gumbelTemperature: gumbelTemperature, density: .concrete, mixtureFloor: floor)
      var step = SoftStep()
      var (sum, square) = (0.0, 0.0)
      let count = 20_000
      for i in 0..<count {
        try sample(ids, logits, policy, noise(i), into: &step)
        let theta = step.tokenIDs.map { perturbed[Int($0)] }
        let ratio = exp(Double(score(theta, step.values, policy) - step.logProbs[0]))
        sum += ratio
        square += ratio * ratio
      }
      let mean = sum / Double(count)
      let error = ((square / Double(count) - mean * mean) / Double(count)).squareRoot()
      #expect(abs(mean - 1) < 4 * error && error < 0.01)
    }
  }

  @Test func exactRatioAveragesOne() throws {
    let policy = ThinkingPolicy(topP: 1, density: .exact)
    var step = SoftStep()
    var sum = 0.0
    for i in 0..<40_000 {
      try sample(ids, logits, policy, noise(i), into: &step)
      sum += exp(Double(score(step.tokenIDs.map { perturbed[Int($0)] }, step.values, policy) - step.logProbs[0]))
    }
    #expect(abs(sum / 40_000 - 1) < 0.02)
  }

  /// As tau_g -> 0 the mixture is one token and its concrete density the token's log-probability.
  @Test func concreteLimitIsTheCategorical() throws {
    let policy = ThinkingPolicy(topP: 1, gumbelTemperature: 1e-6, density: .concrete)
    for i in 0..<50 {
      let step = try sample(ids, logits, policy, noise(i))
      #expect(step.values.count == 1)
      let q = naiveSoftmax(logits)[Int(step.emittedToken)]
      #expect(abs(Double(step.logProbs[0]) - log(q)) < 1e-4)
      let gradient = scoreGradient(step.logits, step.values, policy)
      for (j, id) in step.tokenIDs.enumerated() {
        #expect(abs(Double(gradient[j]) - ((j == 0 ? 1 : 0) - naiveSoftmax(logits)[Int(id)])) < 1e-4)
      }
    }
  }

  /// The concrete density of two fed components integrates to the probability that both are fed (n = 2, k = 2).
  @Test func concreteDensityIntegratesToOne() {
    let policy = ThinkingPolicy(topK: 2, topP: 1, gumbelTemperature: 0.5, density: .concrete, mixtureFloor: 0.05)
    let margin = 0.5 * log(1 / 0.05)
    var total = exp(Double(score([0.7, -0.2], [0], policy))) + exp(Double(score([-0.2, 0.7], [0], policy)))
    let cells = 20_000
    for i in 0..<cells {
      let d = Float(-(Double(i) + 0.5) / Double(cells) * margin)
      let width = margin / Double(cells)
      total += width * exp(Double(score([0.7, -0.2], [0, d], policy)))
      total += width * exp(Double(score([-0.2, 0.7], [0, d], policy)))
    }
    #expect(abs(total - 1) < 1e-4)
  }

  @Test func referenceEdges() {
    let policy = ThinkingPolicy(topK: 2, density: .reference)
    let logQ = Float(log(0.5 + 1e-6))
    let floor = Float(1.5 - exp(1.5))
    let roof = Float(-3 - exp(-3.0))
    // Far outside, at, and just inside either edge: clamped in value, without gradient.
    for u in [Float(-9), -1.5, -1.4995] {
      #expect(abs(score([0, 0], [logQ + u, logQ + u], policy) - floor) < 2e-3)
      #expect(abs(scoreGradient([0, 0], [logQ + u, logQ], policy)[0]) < 1e-7)
    }
    for u in [Float(90), 3, 2.9995] { #expect(abs(score([0, 0], [logQ + u, logQ + u], policy) - roof) < 1e-3) }
    #expect(scoreGradient([0, 0], [logQ - 1.49, logQ + 9], policy)[0] < -0.5)
    // A component below log q = -3 counts neither in the sum nor in the mean; clamped ones count in the mean.
    let masked = score([0, -8], [1, 2], policy)
    let u = 1 - Float(log(1 / (1 + exp(-8.0)) + 1e-6))
    #expect(abs(masked - (-u - Float(exp(Double(-u))))) < 1e-5)
    // Twenty-one equal components: all masked.
    let flat = [Float](repeating: 0, count: 21)
    let wide = ThinkingPolicy(topK: 21, density: .reference)
    #expect(score(flat, flat, wide) == 0)
    #expect(scoreGradient(flat, flat, wide) == flat)
  }

  @Test(arguments: ThinkingPolicy.Density.allCases)
  func notANumberStaysVisible(density: ThinkingPolicy.Density) {
    let policy = ThinkingPolicy(density: density)
    #expect(score([.nan, 1], [0, -0.1], policy).isNaN)
    #expect(score([1, .nan], [0, -0.1], policy).isNaN)
  }

  @Test(arguments: ThinkingPolicy.Density.allCases)
  func divergenceIsZeroAtEqualityAndItsGradientRight(density: ThinkingPolicy.Density) {
    let policy = ThinkingPolicy(temperature: 0.8, noiseScale: density == .concrete ? 1 : 0.7, density: density)
    let same = divergence(logits, logits, policy)
    #expect(abs(same.value) < 1e-7 && same.gradient.allSatisfy { abs($0) < 1e-7 })
    let result = divergence(logits, perturbed, policy)
    #expect(result.value > 0)
    for j in logits.indices {
      var (up, down) = (logits, logits)
      up[j] += 0x1p-8
      down[j] -= 0x1p-8
      let slope = (divergence(up, perturbed, policy).value - divergence(down, perturbed, policy).value) * 128
      #expect(abs(slope - result.gradient[j]) < 1e-3)
    }
  }

  /// The exact component form is the mean log-ratio, and the concrete form lies below the mixture's true divergence.
  @Test func divergenceAgainstSampling() throws {
    var step = SoftStep()
    func meanLogRatio(_ policy: ThinkingPolicy) throws -> Double {
      var sum = 0.0
      for i in 0..<40_000 {
        try sample(ids, logits, policy, noise(i), into: &step)
        sum += Double(step.logProbs[0] - score(step.tokenIDs.map { perturbed[Int($0)] }, step.values, policy))
      }
      return sum / 40_000
    }
    let exact = ThinkingPolicy(topP: 1, density: .exact)
    let upper = Double(divergence(logits, perturbed, exact).value)
    #expect(abs(try meanLogRatio(exact) - upper) < 0.02)
    for tau in [Float(1e-4), 0.3, 1] {
      let concrete = ThinkingPolicy(topP: 1, gumbelTemperature: tau, density: .concrete)
      let lower = Double(divergence(logits, perturbed, concrete).value)
      let sampled = try meanLogRatio(concrete)
      #expect(sampled > lower - 0.008 && sampled < upper + 0.008)
      if tau < 1e-3 { #expect(abs(sampled - lower) < 0.008) }
    }
  }
}
