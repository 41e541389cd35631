import Equality
import Gradients
import Objectives
import Training

/// The gradient of an objective that sees the whole optimiser step: all log-probs first, then the coefficients, then leaves that need to
/// know nothing of the method.
struct BatchObjectiveGradient {
  let gradient: StepGradient
  let loss: Loss
  let tokenBudget: Int
  /// Of the run: random choices of the objective follow from it and the optimiser step.
  let seed: UInt64
  /// Whether scores and gradients promise equal bits, whoever computes them.
  let equalityHolds: Bool

  /// Largest difference of a log-prob from the one that its coefficient was formed from, where equal bits are not promised.
  private static let scoreTolerance: Float = 1e-3

  /// A leaf whose log-probs are not those that its coefficients were formed from is void: the coefficients are formed again from the
  /// learner's own log-probs, and all of it is computed once more.
  ///
  /// - Parameter known: log-probs under these weights, bit for bit; nil: they are computed.
  func run(
    _ items: [WeightedTrajectory], _ leaves: [[[Int]]], known: [[Float]?], _ weights: StepGradient.Weights
  ) throws -> (results: [LeafResult], sums: NamedSums) {
    var logProbs = known
    var wait = 0.0
    func score(_ indices: [Int], alone: Bool) throws {
      let passes = microBatches(indices.map { items[$0].trajectory }, tokenBudget: tokenBudget).map { pass in
        pass.map { indices[$0] }
      }
      if passes.isEmpty { return }
      let scores: [[Float]]
      if alone {
        scores = try gradient.passes.score(passes.map { $0.map { items[$0].trajectory } }, model: weights.model)
      } else {
        scores = try gradient.score(
          passes.map { pass in GradientLeaf([pass.map { items[$0] }]) }, weights
        ).logProbs
        wait += gradient.waitSeconds
      }
      for (index, values) in zip(passes.joined(), scores) { logProbs[index] = values }
    }
    try score(items.indices.filter { logProbs[$0] == nil }, alone: false)
    let context = ObjectiveContext(
      seed: seed &+ UInt64(weights.state.step) &* 0x9E37_79B9_7F4A_7C15)
    for attempt in 0..<2 {
      let formed = try formCoefficients(
        items, logProbs: logProbs.map { $0 ?? [] }, slotCounts: items.map { $0.trajectory.slotCounts }, loss: loss,
        context: context)
      // What the coefficients were formed from need not travel with them.
      let blind = formed.items.map { item in
        WeightedTrajectory(
          trajectory: item.trajectory.keeping([]), advantages: item.advantages, weight: item.weight,
          oldLogProbs: loss.klEstimator == .k3ImportanceWeighted ? item.oldLogProbs : nil,
          coefficients: item.coefficients)
      }
      let results = try gradient.run(
        leaves.map { leaf in GradientLeaf(leaf.map { pass in pass.map { blind[$0] } }) }, weights)
      gradient.waitSeconds += wait
      var wrong: [Int] = []
      for (leaf, result) in zip(leaves, results) {
        for (index, scores) in zip(leaf.joined(), result.logProbs) where !agrees(logProbs[index] ?? [], scores) {
          wrong.append(index)
        }
      }
      if wrong.isEmpty { return (results, formed.sums) }
      guard attempt == 0 else { break }
      try score(wrong, alone: true)
    }
    throw TrainingError(
      "objective \(loss.description.name): the log-probs of the gradient's pass are not those that were scored before it, twice; "
        + "a worker computes other bits (learner.gradient_leases: off does without workers), or this machine is at fault"
    )
  }

  private func agrees(_ scored: [Float], _ differentiated: [Float]) -> Bool {
    if equalityHolds { return hasSameBits(scored, differentiated) }
    return scored.count == differentiated.count
      && zip(scored, differentiated).allSatisfy { abs($0 - $1) <= Self.scoreTolerance * max(1, abs($0)) }
  }
}
