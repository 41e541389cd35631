import Foundation
import Testing
import TestSupport

@testable import Thinking
@testable import Trajectories

struct SampleSoftStepTests {
  static let densities = ThinkingPolicy.Density.allCases
  let ids: [Int32] = [40, 7, 19, 3, 26]
  let logits: [Float] = [1.5, 0.2, 1.1, -0.6, 0.9]

  @Test(arguments: densities)
  func scoreAndWeightsOfTheRecordHaveTheSamplersBits(density: ThinkingPolicy.Density) throws {
    let policy = ThinkingPolicy(temperature: 0.8, gumbelTemperature: 0.3, density: density)
    var step = SoftStep()
    for i in 0..<500 {
      try sample(ids, logits, policy, noise(i), into: &step)
      #expect(score(step.logits, step.values, policy).bitPattern == step.logProbs[0].bitPattern)
      #expect(weights(step.values, policy).map(\.bitPattern) == step.weights.map(\.bitPattern))
      #expect(abs(step.weights.reduce(0, +) - 1) < 1e-6)
      #expect(step.logits == step.tokenIDs.map { id in logits[ids.firstIndex(of: id)!] })
      #expect(zip(step.values, step.values.dropFirst()).allSatisfy { $0 >= $1 })
      #expect(recordProblem(step.tokenIDs, step.values, policy.softSteps!) == nil)
      #expect(abs(audit(step.tokenIDs, step.values, policy, noise(i))) < 2e-6)
    }
  }

  @Test(arguments: densities)
  func orderOfCandidatesDoesNotMatter(density: ThinkingPolicy.Density) throws {
    let policy = ThinkingPolicy(topP: 0.8, density: density)
    let a = try sample(ids, logits, policy, noise(1))
    let b = try sample(ids.reversed(), logits.reversed(), policy, noise(1))
    #expect(a.tokenIDs == b.tokenIDs && a.values == b.values && a.logProbs == b.logProbs)
  }

  /// Gumbel-max: the emitted token is a draw from Categorical(q); so is it under `concrete`, where q has no epsilon.
  @Test(arguments: [ThinkingPolicy.Density.exact, .concrete])
  func emittedTokenIsCategorical(density: ThinkingPolicy.Density) throws {
    let policy = ThinkingPolicy(topP: 1, temperature: 0.7, density: density)
    var counts = [Int32: Int]()
    var step = SoftStep()
    for i in 0..<40_000 {
      try sample(ids, logits, policy, noise(i), into: &step)
      counts[step.emittedToken, default: 0] += 1
    }
    let q = naiveSoftmax(logits, temperature: 0.7)
    #expect(abs(chiSquareDeviate(observed: ids.map { counts[$0] ?? 0 }, probabilities: q)) < 4)
    #expect(abs(chiSquareDeviate(observed: ids.map { counts[$0] ?? 0 }, probabilities: q.reversed())) > 10)
  }

  @Test func truncationFollowsTheCumulativeBefore() throws {
    let flat = [Float](repeating: 0, count: 4)
    // Cumulative before: 0, .25, .5, .75: at top_p = 0.5 exactly, the third is still kept.
    let kept = try sample([9, 4, 6, 2], flat, ThinkingPolicy(topP: 0.5, density: .exact), noise(0))
    #expect(kept.tokenIDs.sorted() == [2, 4, 6])
    let fewer = try sample([9, 4, 6, 2], flat, ThinkingPolicy(topP: 0.49, density: .exact), noise(0))
    #expect(fewer.tokenIDs.sorted() == [2, 4])
    let minP = try sample(ids, logits, ThinkingPolicy(topP: 1, minP: 0.5, density: .exact), noise(0))
    #expect(minP.tokenIDs.sorted() == [19, 26, 40])
    let reference = try sample([9, 4, 6, 2], flat, ThinkingPolicy(topP: 0.49, density: .reference), noise(0))
    #expect(reference.tokenIDs.count == 4)
    for id in [Int32(6), 9] {
      let eps = min(max(noise(0).gumbel(id), -1.5), 3)
      let value = reference.values[reference.tokenIDs.firstIndex(of: id)!]
      #expect(abs(value - (Float(log(1e-6)) + eps)) < 2e-6)
    }
  }

  @Test func concreteCutsBelowTheMargin() throws {
    let policy = ThinkingPolicy(topP: 1, gumbelTemperature: 0.3, density: .concrete, mixtureFloor: 0.05)
    let margin = -0.3 * log(0.05)
    var cut = 0
    for i in 0..<300 {
      let step = try sample(ids, logits, policy, noise(i))
      #expect(step.tokenIDs.count == 5)
      let q = naiveSoftmax(logits)
      let values = step.tokenIDs.map { id in log(q[ids.firstIndex(of: id)!]) + Double(noise(i).gumbel(id)) }
      let fed = values.filter { $0 >= values[0] - margin }.count
      #expect(step.values.count == fed)
      #expect(zip(step.values, values).allSatisfy { abs(Double($0) - $1) < 1e-5 })
      cut += 5 - fed
    }
    #expect(cut > 100)
  }

  @Test func noneIsSoftThinking() throws {
    let policy = ThinkingPolicy(kind: .none, topP: 0.9)
    let step = try sample(ids, logits, policy, noise(0))
    #expect(step.tokenIDs == [40, 19, 26, 7])
    #expect(step.logProbs == [0])
    let q = naiveSoftmax([1.5, 1.1, 0.9, 0.2])
    #expect(zip(step.weights, q).allSatisfy { abs(Double($0) - $1) < 1e-6 })
    #expect(weights(step.values, policy) == step.weights)
    #expect(try sample(ids, logits, policy, noise(1)).values == step.values)
    #expect(abs(audit(step.tokenIDs, step.values, policy, noise(0))) < 1e-6)
  }

  @Test func auditFindsForeignNoise() throws {
    for density in Self.densities {
      let policy = ThinkingPolicy(topP: 1, gumbelTemperature: 1, density: density)
      var found = 0
      for i in 0..<50 {
        let step = try sample(ids, logits, policy, noise(i))
        if abs(audit(step.tokenIDs, step.values, policy, noise(i + 1))) > 1e-3 { found += 1 }
        var altered = step.values
        altered[0] += 0.01
        if density != .concrete { #expect(audit(step.tokenIDs, altered, policy, noise(i)) > 1e-4) }
      }
      #expect(found >= 40, "\(density)")
    }
    #expect(audit([], [], ThinkingPolicy(), noise(0)).isNaN)
  }

  @Test func badInputIsAnError() {
    let policy = ThinkingPolicy()
    for bad in [[.nan, 1], [.infinity, 1], [-.infinity, -.infinity], [], [1]] as [[Float]] {
      #expect(throws: ThinkingError.self) { try sample([1, 2], bad, policy, noise(0)) }
    }
    #expect(ThinkingPolicy(kind: .discrete).softSteps == nil)
    #expect(throws: Never.self) { try sample([1, 2], [-.infinity, 1], policy, noise(0)) }
  }
}
