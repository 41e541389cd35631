import Foundation
import Parameters
import Testing
import TestSupport

@testable import Thinking
@testable import Trajectories

/// Latent-GRPO's options of `gumbel`, and noise that is lessened.
struct LatentTests {
  static let options: [[String: ParameterValue]] = [
    [:], ["noise": .text("one_sided")], ["select": .text("perturbed"), "selection_pool": .integer(8)],
    ["noise": .text("one_sided"), "select": .text("perturbed"), "noise_scale": .number(0.5)],
  ]
  let ids: [Int32] = [40, 7, 19, 3, 26, 11, 8, 60]
  let logits: [Float] = [1.5, 0.2, 1.1, -0.6, 0.9, 0.4, -0.2, 0.1]

  private func policy(_ index: Int) throws -> ThinkingPolicy {
    try ThinkingPolicy(
      "gumbel",
      Self.options[index].merging([
        "density": .text("latent"), "top_k": .integer(4), "top_p": .number(1), "gumbel_temperature": .number(1),
        "temperature": .number(0.9),
      ]) { $1 })
  }

  /// The candidates that the sampler gives a policy.
  private func draw(_ policy: ThinkingPolicy, _ noise: StepNoise) throws -> SoftStep {
    let count = try min(8, #require(policy.softSteps).candidateCount)
    let order = logits.indices.sorted { logits[$0] > logits[$1] }.prefix(count)
    return try sample(order.map { ids[$0] }, order.map { logits[$0] }, policy, noise)
  }

  private func naiveU(_ policy: ThinkingPolicy, _ values: [Float], _ logits: [Double]) -> [Double] {
    let terms = logits.map { exp($0 / 0.9) }
    let total = terms.reduce(0, +)
    let scale = policy.description.values.number("noise_scale")
    return values.indices.map { (Double(values[$0]) - log(terms[$0] / total)) / scale }
  }

  @Test(arguments: options.indices)
  func fedComponentsHaveTheLargestValues(index: Int) throws {
    let policy = try policy(index)
    let steps = try #require(policy.softSteps as? Gumbel)
    let isOneSided = Self.options[index]["noise"] != nil
    var sets = Set<Set<Int32>>()
    for i in 0..<300 {
      let step = try draw(policy, noise(i))
      #expect(recordProblem(step.tokenIDs, step.values, steps) == nil)
      #expect(step.values.count == 4 && step.weights.count == 4 && abs(step.weights.reduce(0, +) - 1) < 1e-6)
      #expect(step.tokenIDs.count == steps.candidateCount.clamped(to: 8))
      let u = naiveU(policy, step.values, step.logits.map(Double.init))
      #expect(!isOneSided || u.allSatisfy { (-1e-4...4.5001).contains($0) })
      // Those that are not fed have smaller values by their own noise.
      let q = naiveSoftmax(step.logits, temperature: 0.9)
      for j in 4..<max(4, step.tokenIDs.count) {
        let value = log(q[j]) + Double(steps.noiseScale) * steps.clampedNoise(step.tokenIDs[j], noise(i))
        #expect(value <= Double(step.values[3]) + 1e-5)
      }
      sets.insert(Set(step.tokenIDs.prefix(4)))
      #expect(abs(audit(step.tokenIDs, step.values, policy, noise(i))) < 1e-4)
      #expect(score(step.logits, step.values, policy).bitPattern == step.logProbs[0].bitPattern)
    }
    #expect((sets.count > 1) == (Self.options[index]["select"] != nil))
  }

  /// The value is the mean of -u - e^(-u); the gradient is its own where the loss raises it, and that of u - e^u at negative u where
  /// the loss lowers it.
  @Test(arguments: options.indices, [Float(-1.5), 1.5])
  func gradientIsTheReleasedOne(index: Int, upstream: Float) throws {
    let policy = try policy(index)
    var flipped = 0
    for i in 0..<60 {
      let step = try draw(policy, noise(i))
      // As after an update, so that u is below 0 here and there under one-sided noise too.
      let theta = step.logits.enumerated().map { Float($1) + ($0 % 2 == 0 ? 0.6 : -0.4) }
      let u = naiveU(policy, step.values, theta.map(Double.init))
      let value = u.reduce(0.0) { $0 - $1 - exp(-$1) } / 4
      #expect(abs(Double(score(theta, step.values, policy)) - value) < 1e-5 * max(1, abs(value)))
      let isFlipped = u.map { upstream > 0 && $0 < 0 }
      flipped += isFlipped.count { $0 }
      func proxy(_ logits: [Double]) -> Double {
        zip(naiveU(policy, step.values, logits), isFlipped).reduce(0.0) { sum, term in
          sum + (term.1 ? term.0 - exp(term.0) : -term.0 - exp(-term.0)) / 4
        }
      }
      let gradient = scoreGradient(theta, step.values, policy, upstream: [upstream])
      let largest = gradient.map { abs(Double($0)) }.max()!
      for j in theta.indices {
        var (up, down) = (theta.map(Double.init), theta.map(Double.init))
        up[j] += 1e-5
        down[j] -= 1e-5
        let slope = Double(upstream) * (proxy(up) - proxy(down)) / 2e-5
        #expect(abs(slope - Double(gradient[j])) < 1e-5 * max(largest, 0.1), "step \(i), logit \(j)")
      }
    }
    #expect((flipped > 0) == (upstream > 0))
  }

  @Test func divergenceAgreesWithItsGradient() throws {
    let policy = try policy(3)
    let step = try draw(policy, noise(1))
    let reference = step.logits.enumerated().map { $1 + Float($0) / 20 }
    func value(_ theta: [Float]) -> (value: Float, gradient: [Float]) {
      var gradient = [Float](repeating: 0, count: theta.count)
      let value = withRecord(step.tokenIDs, step.values, policy) { record, steps in
        theta.withUnsafeBufferPointer { theta in
          reference.withUnsafeBufferPointer { reference in
            gradient.withUnsafeMutableBufferPointer {
              steps.divergence(record, logits: theta, referenceLogits: reference, upstream: 1, addingGradientTo: $0)
            }
          }
        }
      }
      return (value, gradient)
    }
    let result = value(step.logits)
    #expect(result.value > 0)
    for j in step.logits.indices {
      var (up, down) = (step.logits, step.logits)
      up[j] += 1 / 64
      down[j] -= 1 / 64
      #expect(abs(32 * (value(up).value - value(down).value) - result.gradient[j]) < 2e-3)
    }
  }

  @Test func whatCannotBeIsNamed() throws {
    func message(_ given: [String: ParameterValue]) -> String? {
      do {
        _ = try ThinkingPolicy("gumbel", given)
        return nil
      } catch { return "\(error)" }
    }
    #expect(message(["noise": .text("one_sided")]) == "noise: must be gumbel when density is reference, got one_sided")
    #expect(
      message(["select": .text("perturbed"), "density": .text("exact")])
        == "select: must be likeliest when density is exact, got perturbed")
    #expect(
      message([
        "select": .text("perturbed"), "density": .text("latent"), "top_k": .integer(9), "selection_pool": .integer(8),
      ]) == "selection_pool: must be at least top_k = 9, got 8")
    #expect(recordProblem([1, 2, 3, 4, 5], [3, 2, 1], try #require(policy(2).softSteps))?.contains("first 4") == true)
  }

  @Test func noiseIsLessened() throws {
    #expect(try ThinkingPolicy("gumbel").withNoise(share: 0.25).description.values.number("noise_scale") == 0.25)
    #expect(try ThinkingPolicy("fuzzy").withNoise(share: 0.5).description.values.number("noise_sigma") == 0.165)
    #expect(try ThinkingPolicy("multiplex").withNoise(share: 1) == ThinkingPolicy("multiplex"))
    for (name, part) in [("multiplex", "no noise"), ("concrete", "noise_scale: must be 1")] {
      let policy = try name == "concrete" ? ThinkingPolicy("gumbel", ["density": .text(name)]) : ThinkingPolicy(name)
      let error = #expect(throws: ParameterError.self) { try policy.withNoise(share: 0.5) }
      #expect(error?.message.contains(part) == true)
    }
  }
}

extension Int {
  fileprivate func clamped(to limit: Int) -> Int { Swift.min(self, limit) }
}
