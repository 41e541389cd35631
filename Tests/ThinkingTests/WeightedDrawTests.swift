import Foundation
import Parameters
import Testing
import TestSupport

@testable import Thinking
@testable import Trajectories

/// `dirichlet` and `probability_gaussian`: noise on the weights of a mixture, against twins in double precision.
struct WeightedDrawTests {
  static let cases: [(name: String, given: [String: ParameterValue])] = [
    ("dirichlet", ["concentration": .number(3)]), ("dirichlet", ["concentration": .number(0.7)]),
    ("dirichlet", ["dirichlet_density": .text("released"), "concentration": .number(2)]),
    ("probability_gaussian", [:]), ("probability_gaussian", ["probability_sigma": .number(0.03)]),
  ]
  let ids: [Int32] = [40, 7, 19, 3, 26]
  let logits: [Float] = [1.5, 0.2, 1.1, -0.6, 0.9]
  let perturbed: [Int32: Float] = [40: 1.4, 7: 0.3, 19: 1.15, 3: -0.5, 26: 0.85]

  private func policy(_ index: Int, _ more: [String: ParameterValue] = [:]) throws -> ThinkingPolicy {
    try ThinkingPolicy(Self.cases[index].name, Self.cases[index].given.merging(more) { $1 })
  }

  /// The log-density from its definition.
  private func twin(_ policy: ThinkingPolicy, _ values: [Float], _ logits: [Double]) -> Double {
    let temperature = policy.description.values.number("temperature")
    let largest = logits.max()!
    let terms = logits.map { exp(($0 - largest) / temperature) }
    let q = terms.map { $0 / terms.reduce(0, +) }
    if policy.name == "probability_gaussian" {
      let sigma = Double(Float(policy.description.values.number("probability_sigma")))
      let counted = q.indices.filter { q[$0] > 0.05 }
      let sum = counted.reduce(0.0) { sum, i in
        let u = min(max((Double(values[i]) - q[i]) / sigma, -3), 3)
        return sum - u * u / 2 - log(sigma * (2 * Double.pi).squareRoot())
      }
      return sum / Double(counted.count)
    }
    let alpha = Double(Float(policy.description.values.number("concentration")))
    if policy.description.values.text("dirichlet_density") == "simplex" {
      return lgamma(alpha)
        + q.indices.reduce(0.0) { $0 + (alpha * q[$1] - 1) * Double(values[$1]) - lgamma(alpha * q[$1]) }
    }
    let counted = q.indices.filter { q[$0] > 0.05 }
    return counted.reduce(0.0) { sum, i in
      let density = (alpha * q[i] - 1) * Double(values[i]) - exp(Double(values[i])) - lgamma(alpha * q[i])
      return sum + min(max(density, -5), 3)
    } / Double(counted.count)
  }

  @Test(arguments: cases.indices)
  func recordsAreWhole(index: Int) throws {
    let policy = try policy(index, ["top_p": .number(0.9)])
    let steps = try #require(policy.softSteps)
    var step = SoftStep(for: steps)
    var noticed = 0
    for i in 0..<200 {
      try sample(ids, logits, policy, noise(i), into: &step)
      #expect(recordProblem(step.tokenIDs, step.values, steps) == nil)
      #expect(Set(step.tokenIDs) == [40, 19, 26, 7], "3 is cut by top_p")
      #expect(abs(step.weights.reduce(0, +) - 1) < 1e-5 && step.weights.max() == step.weights[0])
      #expect(weights(step.values, policy, ids: step.tokenIDs).map(\.bitPattern) == step.weights.map(\.bitPattern))
      #expect(
        slots(step.logits, step.values, policy, ids: step.tokenIDs).map(\.bitPattern) == step.logProbs.map(\.bitPattern)
      )
      #expect(abs(audit(step.tokenIDs, step.values, policy, noise(i))) < 1e-5)
      if abs(audit(step.tokenIDs, step.values, policy, noise(i + 1))) > 1e-4 { noticed += 1 }
      let unusable = withRecord(step.tokenIDs, step.values, policy) { $1.unusableValue(in: $0) }
      #expect(unusable == nil)
    }
    #expect(noticed > 195, "another step's noise")
  }

  @Test(arguments: cases.indices)
  func scoreAndGradientAgreeWithTheDefinition(index: Int) throws {
    let policy = try policy(index, ["temperature": .number(0.8), "top_p": .number(1)])
    for i in 0..<40 {
      let step = try sample(ids, logits, policy, noise(i))
      let own = step.logits.map(Double.init)
      #expect(
        abs(Double(step.logProbs[0]) - twin(policy, step.values, own)) < 1e-5 * max(1, abs(step.logProbs[0])).double)
      let gradient = scoreGradient(step.logits, step.values, policy, ids: step.tokenIDs, upstream: [-2])
      let largest = gradient.map { abs(Double($0)) }.max()!
      for j in own.indices {
        var (up, down) = (own, own)
        up[j] += 1e-5
        down[j] -= 1e-5
        let slope = -2 * (twin(policy, step.values, up) - twin(policy, step.values, down)) / 2e-5
        // Where a clamp's or the mask's edge lies between the two points there is no derivative.
        if abs(slope) > 1000 { continue }
        #expect(abs(slope - Double(gradient[j])) < 1e-5 * max(largest, 1), "step \(i), logit \(j)")
      }
    }
  }

  /// Where the density is that of what is drawn, a ratio has mean 1.
  @Test(arguments: [0.7, 3, 40])
  func dirichletRatioAveragesOne(concentration: Double) throws {
    let policy = try ThinkingPolicy("dirichlet", ["concentration": .number(concentration), "top_p": .number(1)])
    var step = SoftStep()
    var (sum, square) = (0.0, 0.0)
    let count = 30_000
    for i in 0..<count {
      try sample(ids, logits, policy, noise(i), into: &step)
      let other = slots(step.tokenIDs.map { perturbed[$0]! }, step.values, policy, ids: step.tokenIDs)[0]
      let ratio = exp(Double(other - step.logProbs[0]))
      sum += ratio
      square += ratio * ratio
    }
    let mean = sum / Double(count)
    let error = ((square / Double(count) - mean * mean) / Double(count)).squareRoot()
    #expect(abs(mean - 1) < 4 * error && error > 1e-4 && error < 0.02, "\(mean) +- \(error)")
  }

  /// Mean and variance of the weights: q and q (1 - q) / (alpha + 1).
  @Test(arguments: [0.7, 5])
  func dirichletDraws(concentration: Double) throws {
    let policy = try ThinkingPolicy("dirichlet", ["concentration": .number(concentration), "top_p": .number(1)])
    let q = naiveSoftmax(logits)
    var (sums, squares) = ([Double](repeating: 0, count: 5), [Double](repeating: 0, count: 5))
    var step = SoftStep()
    let count = 20_000
    for i in 0..<count {
      try sample(ids, logits, policy, noise(i), into: &step)
      for (id, weight) in zip(step.tokenIDs, step.weights) {
        let index = ids.firstIndex(of: id)!
        sums[index] += Double(weight)
        squares[index] += Double(weight) * Double(weight)
      }
    }
    for index in q.indices {
      let mean = sums[index] / Double(count)
      let variance = squares[index] / Double(count) - mean * mean
      let expected = q[index] * (1 - q[index]) / (concentration + 1)
      #expect(abs(mean - q[index]) < 4 * (expected / Double(count)).squareRoot())
      #expect(abs(variance / expected - 1) < 0.1)
    }
  }

  /// A Gamma draw has mean and variance `shape`, small shapes included.
  @Test(arguments: [0.05, 0.4, 1, 2.5, 30])
  func gammaDraws(shape: Double) {
    var (sum, square) = (0.0, 0.0)
    let count = 40_000
    for i in 0..<count {
      let value = exp(logGammaDraw(shape: shape, 3, noise(i)))
      sum += value
      square += value * value
    }
    let mean = sum / Double(count)
    #expect(abs(mean - shape) < 4 * (shape / Double(count)).squareRoot())
    let fourth = 3 * shape * shape + 6 * shape
    #expect(abs(square / Double(count) - mean * mean - shape) < 5 * (fourth / Double(count)).squareRoot())
  }

  @Test func probabilityDraws() throws {
    let policy = try ThinkingPolicy("probability_gaussian", ["top_p": .number(1)])
    let q = naiveSoftmax(logits)
    var (sum, square) = (0.0, 0.0)
    var step = SoftStep()
    for i in 0..<10_000 {
      try sample(ids, logits, policy, noise(i), into: &step)
      for (id, value) in zip(step.tokenIDs, step.values) {
        let deviation = (Double(value) - q[ids.firstIndex(of: id)!]) / 0.05
        sum += deviation
        square += deviation * deviation
      }
      // What was sampled is fed.
      let total = step.values.reduce(0.0) { $0 + Double($1) }
      #expect(zip(step.values, step.weights).allSatisfy { abs(Double($0) / total - Double($1)) < 1e-6 })
    }
    #expect(abs(sum / 50_000) < 4 / 50_000.0.squareRoot())
    #expect(abs(square / 50_000 - 1) < 4 * (2 / 50_000.0).squareRoot())
  }

  /// The closed forms against a Monte Carlo mean of the log-ratio where the score is a density, and their own gradient.
  @Test(arguments: cases.indices)
  func divergences(index: Int) throws {
    let policy = try policy(index, ["top_p": .number(1)])
    func reference(_ step: SoftStep) -> [Float] { step.tokenIDs.map { perturbed[$0]! } }
    let step = try sample(ids, logits, policy, noise(0))
    let result = divergence(step.logits, reference(step), policy, ids: step.tokenIDs)
    #expect(result.value > 0)
    #expect(divergence(step.logits, step.logits, policy, ids: step.tokenIDs).value == 0)
    for j in step.logits.indices {
      var (up, down) = (step.logits, step.logits)
      up[j] += 1 / 64
      down[j] -= 1 / 64
      let slope =
        32
        * (divergence(up, reference(step), policy, ids: step.tokenIDs).value
          - divergence(down, reference(step), policy, ids: step.tokenIDs).value)
      #expect(abs(slope - result.gradient[j]) < 2e-3 * max(1, abs(slope)), "logit \(j): \(slope) \(result.gradient[j])")
    }
    guard policy.description.values["dirichlet_density"] == .text("simplex") else { return }
    var (sum, square) = (0.0, 0.0)
    let count = 40_000
    for i in 0..<count {
      let step = try sample(ids, logits, policy, noise(i))
      let ratio = Double(step.logProbs[0] - slots(reference(step), step.values, policy, ids: step.tokenIDs)[0])
      sum += ratio
      square += ratio * ratio
    }
    let mean = sum / Double(count)
    let error = ((square / Double(count) - mean * mean) / Double(count)).squareRoot()
    #expect(abs(mean - Double(result.value)) < 4 * error, "\(mean) +- \(error), \(result.value)")
  }

  @Test func settingsAndRecordsThatCannotBe() throws {
    let error = #expect(throws: ParameterError.self) {
      try ThinkingPolicy("probability_gaussian", ["top_k": .integer(50)])
    }
    #expect(error?.message.contains("probability_sigma") == true && error?.message.contains("top_k") == true)
    let (gaussian, dirichlet) = try (policy(3), policy(0))
    func problem(_ ids: [Int32], _ values: [Float], _ policy: ThinkingPolicy) -> String? {
      policy.softSteps.flatMap { recordProblem(ids, values, $0) }
    }
    #expect(problem([1, 2], [0.6, 0.4], gaussian) == nil)
    #expect(problem([1, 2], [0.6, -0.6], gaussian)?.contains("sum to") == true)
    #expect(problem([1, 2], [0.4, 0.6], gaussian)?.contains("sorted") == true)
    #expect(problem([1, 2], [-0.5, -1, -0.7, -0.7], dirichlet) == nil)
    #expect(problem([1, 2], [-0.5, -1], dirichlet)?.contains("two each") == true)
    #expect(problem([1, 1], [-0.5, -1, -0.7, -0.7], dirichlet)?.contains("twice") == true)
  }
}

extension Float {
  fileprivate var double: Double { Double(self) }
}
