import Credit
import Equality
import Kernels
import Loading
import Objectives
import Observability
import Thinking
import Training
import Trajectories
import Transformer

/// Turns a step's trajectories into its optimiser steps: advantages, selection, correction and the weights of the loss.
struct StepPlan {
  let method: UpdateMethod
  let reference: PreparedModel?
  let tokenBudget: Int
  let team: ThreadTeam

  /// One trajectory's share of an optimiser step.
  struct Item {
    var index: Int
    var credit: Credit
    var weight: Double
    /// The credit's, and the correction's factors, one a step or one a slot.
    var stepWeights: [Float]?
  }

  /// Takes the divergence from the reference off the rewards.
  private func penalise(
    _ trajectories: inout [CreditTrajectory], _ samples: [CollectedTrajectory], recorded: [[Float]],
    outcome: inout UpdateOutcome
  ) throws {
    guard let penalty = method.rewardPenalty else { return }
    guard let reference else {
      throw TrainingError("a KL penalty in the reward needs the reference model, which this update was not given")
    }
    let scores = try scoreTrajectories(
      samples.map(\.trajectory), model: reference, tokenBudget: tokenBudget, team: team)
    for index in samples.indices {
      let rewards = try KLInReward.tokenRewards(
        reward: Double(trajectories[index].reward), oldLogProbs: recorded[index],
        referenceLogProbs: scores[index].flatMap { $0 }, coefficient: penalty.coefficient, estimator: penalty.estimator)
      let penalised = Float(rewards.reduce(0, +))
      outcome.sums.add(
        mean: MetricName.rewardPenalty, sum: Double(trajectories[index].reward - penalised), count: 1)
      trajectories[index].reward = penalised
    }
  }

  /// The optimiser steps that have a gradient.
  ///
  /// - Parameters:
  ///   - estimator: the method's; what it remembers goes from step to step.
  ///   - recorded: the workers' log-probs.
  ///   - start: the learner's of the step's beginning, by index, where a correction compares them.
  ///   - step: steps that are done.
  ///   - miniBatch: trajectories of an optimiser step.
  func optimizerSteps(
    _ samples: [CollectedTrajectory], estimator: inout any AdvantageEstimator, recorded: [[Float]],
    start: [Int: [Float]], step: Int, miniBatch: Int, outcome: inout UpdateOutcome
  ) throws -> [[Item]] {
    let trajectories = samples.map(\.trajectory)
    var seen = samples.map { CreditTrajectory($0) }
    try penalise(&seen, samples, recorded: recorded, outcome: &outcome)
    let credited = CreditStep(
      number: step, trajectories: seen,
      rewardWeights: samples.allSatisfy { $0.rewards.isEmpty } ? [] : method.rewardWeights)
    let excludesOverlong = method.excludesOverlong
    var credits = try estimator.advantages(credited) { !(excludesOverlong && seen[$0].isTruncated) }
    guard credits.count == trajectories.count else {
      throw CreditError(
        "the advantage estimator gave \(credits.count) advantages for \(trajectories.count) trajectories")
    }
    credits = try method.selection.select(
      credits, of: credited, progress: Double(step) / Double(max(1, method.totalSteps)))
    outcome.credits = credits
    let groups = trajectories.map(\.groupID)
    outcome.groupsWithoutSignal = Set(groups).count - Set(zip(groups, credits).filter { !$0.1.isZero }.map(\.0)).count
    return try ranges(groups, miniBatch: miniBatch).map { range in
      let factors = try correct(
        range, samples, credits, recorded: recorded, start: start, version: step, outcome: &outcome)
      let counts = zip(range, factors).map { index, own in
        !credits[index].isKept ? 0 : own.kept?.count { $0 } ?? trajectories[index].scoredCount
      }
      guard counts.contains(where: { $0 > 0 }) else { return [] }
      let weights = try method.aggregation.weights(tokenCounts: counts, maximumLength: method.maximumLength)
      return zip(range, zip(zip(weights, counts), factors)).compactMap { index, share -> Item? in
        let ((weight, count), own) = share
        if count == 0 || (credits[index].isZero && method.loss.ignoresZeroAdvantages) { return nil }
        return Item(
          index: index, credit: credits[index], weight: weight,
          stepWeights: own.applied(to: credits[index].stepWeights, slotCounts: trajectories[index].slotCounts))
      }
    }.filter { !$0.isEmpty }
  }

  /// What the run's correction says of an optimiser step's trajectories, which steps are kept instead of which slots.
  private func correct(
    _ range: Range<Int>, _ samples: [CollectedTrajectory], _ credits: [Credit], recorded: [[Float]],
    start: [Int: [Float]], version: Int, outcome: inout UpdateOutcome
  ) throws -> [CorrectionFactors] {
    guard let correction = method.correction else { return range.map { _ in CorrectionFactors() } }
    var factors = try correction.factors(
      range.map { index in
        let advantages = credits[index].advantages
        return CorrectedTrajectory(
          logProbs: start[index] ?? recorded[index], workerLogProbs: recorded[index],
          advantage: Double(advantages.reduce(0, +)) / Double(max(1, advantages.count)),
          isOlder: samples[index].trajectory.policyVersion != version)
      }, caps: method.correctionCaps)
    for (place, index) in range.enumerated() {
      let slots = recorded[index].count
      let weights = factors[place].weights ?? [Float](repeating: 1, count: slots)
      let dropped = weights.indices.count { weights[$0] == 0 || factors[place].kept?[$0] == false }
      outcome.sums.add(
        mean: MetricName.correctionMean, sum: weights.reduce(0.0) { $0 + Double($1) }, count: slots)
      outcome.sums.add(mean: MetricName.correctionDropped, sum: Double(dropped), count: slots)
      factors[place].kept = factors[place].kept.map { $0.bySteps(samples[index].trajectory.slotCounts) }
    }
    return factors
  }

  /// The trajectories of each optimiser step; an objective that sees groups gets whole ones.
  private func ranges(_ groups: [Int], miniBatch: Int) -> [Range<Int>] {
    var steps: [Range<Int>] = []
    var start = 0
    while start < groups.count {
      var end = min(groups.count, start + miniBatch)
      if method.loss.scope >= .group {
        while end < groups.count && groups[end] == groups[end - 1] { end += 1 }
      }
      steps.append(start..<end)
      start = end
    }
    return steps
  }
}

extension [Bool] {
  /// Of flags of slots one a step: a step has one where all of its slots have.
  fileprivate func bySteps(_ slotCounts: [Int]?) -> [Bool] {
    guard let slotCounts else { return self }
    var rest = self[...]
    return slotCounts.map { count in
      defer { rest = rest.dropFirst(count) }
      return rest.prefix(count).allSatisfy { $0 }
    }
  }
}

extension CorrectionFactors {
  /// The credit's weights of the steps times these factors, `kept` being one a step; nil: 1.
  fileprivate func applied(to stepWeights: [Float]?, slotCounts: [Int]?) -> [Float]? {
    var own = stepWeights
    if let kept {
      own = zip(own ?? [Float](repeating: 1, count: kept.count), kept).map { $1 ? $0 : 0 }
    }
    guard let weights else { return own }
    guard let own else { return weights }
    let counts = slotCounts ?? [Int](repeating: 1, count: weights.count)
    let spread = zip(own, counts).flatMap { [Float](repeating: $0, count: $1) }
    return zip(spread, weights).map { $0 * $1 }
  }
}

extension CreditTrajectory {
  /// What an estimator sees of a rewarded trajectory.
  init(_ sample: CollectedTrajectory) {
    let trajectory = sample.trajectory
    var answer: [Float] = []
    if case .discrete(let last)? = trajectory.segments.last { answer = last.logProbs }
    self.init(
      groupID: trajectory.groupID, promptID: trajectory.promptID, reward: trajectory.reward ?? 0,
      rewards: sample.rewards, length: trajectory.scoredCount, isTruncated: trajectory.finishReason == .length,
      tokenIDs: trajectory.scoredTokens, entropy: trajectory.stream(.entropy) ?? [], answer: sample.answer,
      answerLogProbs: answer)
  }
}
