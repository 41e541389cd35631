import Coordination
import Credit
import Equality
import Foundation
import Gradients
import Kernels
import Objectives
import Observability
import Optimization
import Thinking
import Training
import Trajectories
import Transformer
import Wire

/// One learner step on collected trajectories: advantages, mini-batches, gradients, AdamW.
final class BatchUpdate {
  private(set) var method: Method
  private let reference: PreparedModel?
  private var loss: Loss { method.loss }
  private let options: UpdateOptions
  private let tokenBudget: Int
  private let team: ThreadTeam
  let gradient: StepGradient
  /// Whether each micro-batch is a leaf of the sum, or all are one.
  private let sumsLeaves: Bool
  let audit: LogProbAudit
  private let importanceCap: Float?
  /// Under decoupled clipping.
  private var behaviourCap: Float? {
    if case .decoupled(let cap) = method.offPolicy { cap } else { nil }
  }
  /// The same where the pass forms the weights.
  private var slotBehaviourCap: Float? { method.correction?.isDecoupled == true ? nil : behaviourCap }

  /// - Parameters:
  ///   - audit: decides whose log-probs are relied on.
  ///   - importanceCap: cap of the truncated importance weights where the learner's own log-probs are the old ones; nil: no
  ///     correction.
  ///   - sumsLeaves: sums the micro-batches' gradients along the fixed tree (docs/gradient-leases.md), so that the update's
  ///     bits do not depend on who computed which; false: one after the other in one buffer, which needs no further memory.
  ///   - gradientType: what the gradients of the sum are rounded to.
  ///   - help: workers that compute leaves; nil: the learner is alone.
  init(
    method: Method, options: UpdateOptions, tokenBudget: Int, reference: PreparedModel?,
    audit: LogProbAudit, importanceCap: Float?, activationMemoryBudget: Int = automaticActivationMemoryBudget,
    sumsLeaves: Bool = true, gradientType: GradientType = .float32, help: StepGradient.Help? = nil, team: ThreadTeam
  ) {
    self.method = method
    self.reference = reference
    self.options = options
    self.tokenBudget = tokenBudget
    self.audit = audit
    self.importanceCap = importanceCap
    self.sumsLeaves = sumsLeaves
    self.team = team
    let passes = PolicyGradient(team: team)
    passes.activationMemoryBudget = activationMemoryBudget
    gradient = StepGradient(
      passes: passes, loss: method.loss, reference: reference, type: gradientType, help: help,
      team: team)
  }

  /// Runs the step's optimiser updates; `model` becomes the new policy.
  ///
  /// Trajectories without an advantage have no gradient and are skipped, unless a KL term acts on them; the weights of
  /// the loss count them all the same.
  ///
  /// The first mini-batch's pass computes the log-probs of the policy that sampled, so its trajectories at `version` have
  /// those as old log-probs, whoever their worker is, and all of them are compared with what the worker recorded. Later
  /// mini-batches see other weights: there a worker that `audit` relies on spares a pass, and the others' trajectories are
  /// scored before the weights move. Where old and recorded log-probs differ, truncated importance weights correct the
  /// loss; where they are equal the weights are 1. Older trajectories keep the worker's log-probs as denominators, or under
  /// decoupled clipping have those of the step's beginning and behaviour weights; they are never compared.
  ///
  /// - Parameters:
  ///   - samples: with rewards and the workers' log-probs, whole groups adjacent.
  ///   - version: policy version of `model`.
  ///   - miniBatch: trajectories of an optimiser step.
  /// - Throws: `TrainingError`, `ObjectiveError` or `CreditError`; the state is then unchanged by the mini-batch that failed.
  func run(
    _ samples: [CollectedTrajectory], state: any TrainableState, model: inout PreparedModel, version: Int,
    miniBatch: Int
  ) throws -> Outcome {
    var outcome = Outcome()
    let recorded = try recordedLogProbs(samples)
    // Under the weights that sampled, while the learner still has them.
    var computed = try startLogProbs(samples, model: model, version: version)
    let batches = try plan(
      samples, recorded: recorded, start: computed, step: version, miniBatch: miniBatch, outcome: &outcome)
    let relied = samples.map { audit.source(of: $0, version: version) == .worker }
    let free = Set((batches.first ?? []).map(\.index).filter { samples[$0].trajectory.policyVersion == version })
    let later = batches.dropFirst().flatMap { $0.map(\.index) }
    func compare(_ index: Int, _ scores: [Float]) {
      // Other weights, not another arithmetic.
      if samples[index].trajectory.policyVersion != version { return }
      audit.compare(
        samples[index], recorded: recorded[index], computed: scores, relied: relied[index], version: version,
        summary: &outcome.audit)
    }
    func scoreBeforeUpdate(_ more: [Int], _ model: PreparedModel) throws {
      let needed =
        more
        + later.filter {
          let source = audit.source(of: samples[$0], version: version)
          return source == .learner || source == .behaviour && behaviourCap != nil
        }
      var indices: [Int] = []
      for index in needed where computed[index] == nil && !indices.contains(index) { indices.append(index) }
      if indices.isEmpty { return }
      let scores = try scoreTrajectories(
        indices.map { samples[$0].trajectory }, model: model, tokenBudget: tokenBudget, team: team)
      for (index, values) in zip(indices, scores) {
        computed[index] = values.flatMap { $0 }
        compare(index, computed[index]!)
      }
    }
    try scoreBeforeUpdate(audit.choose(samples, covered: free, version: version), model)
    // A worker caught just now has more to be computed.
    try scoreBeforeUpdate([], model)

    gradient.helped = GradientTotals()
    var norms = 0.0
    for (number, batch) in batches.enumerated() {
      let weighted = batch.map { item in
        let source = audit.source(of: samples[item.index], version: version)
        let old: [Float]? =
          switch source {
          case .behaviour:
            behaviourCap == nil ? recorded[item.index] : number == 0 ? nil : computed[item.index]
          case .worker: number == 0 ? nil : recorded[item.index]
          case .learner: number == 0 ? nil : computed[item.index]
          }
        return WeightedTrajectory(
          trajectory: samples[item.index].trajectory.keeping(loss.objective.needs), advantages: item.credit.advantages,
          weight: item.weight,
          stepWeights: item.stepWeights, oldLogProbs: old,
          importanceCap: source == .behaviour
            ? slotBehaviourCap : old == nil || source == .learner ? importanceCap : nil,
          isOlder: source == .behaviour)
      }
      let leaves = leaves(of: microBatches(weighted.map(\.trajectory), tokenBudget: tokenBudget), weighted)
      let weights = StepGradient.Weights(
        state: state, model: model, version: version, isIntermediate: number > 0, excluded: audit.caught,
        samplers: leaves.map { leaf in
          Set(leaf.joined().compactMap { samples[batch[$0].index].party }.map { Party(described: $0) })
            .filter(\.hasKey)
        })
      let results: [LeafResult]
      if loss.scope == .batch {
        // In the first mini-batch the log-probs of a worker that is relied on are those of this very model.
        let known = batch.map { number == 0 && relied[$0.index] ? recorded[$0.index] : nil }
        let run = try differentiate(weighted, leaves, known: known, weights)
        results = run.results
        outcome.sums.merge(run.sums)
      } else {
        results = try gradient.run(
          leaves.map { leaf in GradientLeaf(leaf.map { pass in pass.map { weighted[$0] } }) }, weights)
      }
      outcome.gradientWait += gradient.waitSeconds
      outcome.leafRows.append(gradient.leafRows)
      let isFirst = number == 0
      var doubtful: [(index: Int, scores: [Float], computer: GradientOrigin)] = []
      for (position, (leaf, result)) in zip(leaves, results).enumerated() {
        outcome.sums.merge(result.sums)
        guard isFirst else { continue }
        for (offset, scores) in zip(leaf.joined(), result.logProbs) where free.contains(batch[offset].index) {
          let index = batch[offset].index
          if let computer = gradient.computers[position], relied[index], !hasSameBits(recorded[index], scores) {
            doubtful.append((index, scores, computer))
          } else {
            compare(index, scores)
          }
        }
      }
      if isFirst {
        // The worker that sampled, or the one that computed the gradient: only the learner's own log-probs tell.
        try scoreBeforeUpdate(doubtful.map(\.index), model)
        for (index, scores, computer) in doubtful where !hasSameBits(computed[index] ?? [], scores) {
          audit.catchComputer(computer, of: samples[index], version: version)
        }
        try scoreBeforeUpdate([], model)
      }
      outcome.learningRate = options.optimizer(at: state.step).learningRate
      let (newWeights, norm) = try state.apply(options, team: team)
      norms += norm.total
      model = PreparedModel(
        newWeights, backend: model.backend, trainable: true, positions: model.rotary.positions, team: team,
        sharing: model, keepsHead: state.keepsHead)
    }
    outcome.gradients = gradient.helped
    outcome.gradientNorm = batches.isEmpty ? 0 : norms / Double(batches.count)
    let recomputed = samples.count { audit.source(of: $0, version: version) == .learner }
    audit.report(outcome.audit, step: version + 1)
    outcome.audit.recomputed = Double(recomputed) / Double(max(1, samples.count))
    return outcome
  }

  /// What the advantage estimator remembers over the steps; nil: nothing.
  func advantageState() throws -> Data? { try method.advantage.encodedState().map { Data($0) } }

  /// Continues from a checkpoint's.
  func restore(advantageState: Data?) throws {
    guard let advantageState else { return }
    try method.advantage.restore(state: Array(advantageState))
  }

  /// One trajectory's share of an optimiser step.
  private struct Item {
    var index: Int
    var credit: Credit
    var weight: Double
    /// The credit's, and the correction's factors, one a step or one a slot.
    var stepWeights: [Float]?
  }

  /// The learner's log-probs at the start of the step of those trajectories that a correction compares: all whose worker's are not
  /// taken for the learner's.
  private func startLogProbs(
    _ samples: [CollectedTrajectory], model: PreparedModel, version: Int
  ) throws -> [Int: [Float]] {
    guard method.correction != nil else { return [:] }
    let indices = samples.indices.filter { audit.source(of: samples[$0], version: version) != .worker }
    if indices.isEmpty { return [:] }
    let scores = try scoreTrajectories(
      indices.map { samples[$0].trajectory }, model: model, tokenBudget: tokenBudget, team: team)
    return Dictionary(uniqueKeysWithValues: zip(indices, scores.map { $0.flatMap { $0 } }))
  }

  /// Takes the divergence from the reference off the rewards.
  private func penalise(
    _ trajectories: inout [CreditTrajectory], _ samples: [CollectedTrajectory], recorded: [[Float]],
    outcome: inout Outcome
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
  private func plan(
    _ samples: [CollectedTrajectory], recorded: [[Float]], start: [Int: [Float]], step: Int, miniBatch: Int,
    outcome: inout Outcome
  ) throws -> [[Item]] {
    let trajectories = samples.map(\.trajectory)
    var seen = samples.map { CreditTrajectory($0) }
    try penalise(&seen, samples, recorded: recorded, outcome: &outcome)
    let credited = CreditStep(
      number: step, trajectories: seen,
      rewardWeights: samples.allSatisfy { $0.rewards.isEmpty } ? [] : method.rewardWeights)
    let excludesOverlong = method.excludesOverlong
    var credits = try method.advantage.advantages(credited) { !(excludesOverlong && seen[$0].isTruncated) }
    guard credits.count == trajectories.count else {
      throw CreditError(
        "the advantage estimator gave \(credits.count) advantages for \(trajectories.count) trajectories")
    }
    credits = try method.selection.select(
      credits, of: credited, progress: Double(step) / Double(max(1, method.totalSteps)))
    outcome.credits = credits
    let groups = trajectories.map(\.groupID)
    outcome.groupsWithoutSignal = Set(groups).count - Set(zip(groups, credits).filter { !$0.1.isZero }.map(\.0)).count
    return try optimizerSteps(groups, miniBatch: miniBatch).map { range in
      let factors = try correct(
        range, samples, credits, recorded: recorded, start: start, version: step, outcome: &outcome)
      let counts = zip(range, factors).map { index, own in
        !credits[index].isKept ? 0 : own.kept?.count { $0 } ?? trajectories[index].scoredCount
      }
      guard counts.contains(where: { $0 > 0 }) else { return [] }
      let weights = try method.aggregation.weights(tokenCounts: counts, maximumLength: method.maximumLength)
      return zip(range, zip(zip(weights, counts), factors)).compactMap { index, share -> Item? in
        let ((weight, count), own) = share
        if count == 0 || (credits[index].isZero && loss.ignoresZeroAdvantages) { return nil }
        return Item(
          index: index, credit: credits[index], weight: weight,
          stepWeights: own.applied(to: credits[index].stepWeights, slotCounts: trajectories[index].slotCounts))
      }
    }.filter { !$0.isEmpty }
  }

  /// What the run's correction says of an optimiser step's trajectories, which steps are kept instead of which slots.
  private func correct(
    _ range: Range<Int>, _ samples: [CollectedTrajectory], _ credits: [Credit], recorded: [[Float]],
    start: [Int: [Float]], version: Int, outcome: inout Outcome
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
  private func optimizerSteps(_ groups: [Int], miniBatch: Int) -> [Range<Int>] {
    var steps: [Range<Int>] = []
    var start = 0
    while start < groups.count {
      var end = min(groups.count, start + miniBatch)
      if loss.scope >= .group {
        while end < groups.count && groups[end] == groups[end - 1] { end += 1 }
      }
      steps.append(start..<end)
      start = end
    }
    return steps
  }

  /// The passes of each leaf of the sum. A group that lies in several passes stays in one leaf where the objective sees groups.
  private func leaves(of passes: [[Int]], _ items: [WeightedTrajectory]) -> [[[Int]]] {
    guard sumsLeaves else { return [passes] }
    guard loss.scope == .group else { return passes.map { [$0] } }
    var leaves: [[[Int]]] = []
    for pass in passes {
      let first = pass.first.map { items[$0].trajectory.groupID }
      let last = leaves.last?.last?.last.map { items[$0].trajectory.groupID }
      if last != nil && first == last { leaves[leaves.count - 1].append(pass) } else { leaves.append([pass]) }
    }
    return leaves
  }

  /// Largest difference of a log-prob from the one that its coefficient was formed from, where equal bits are not promised.
  static let scoreTolerance: Float = 1e-3

  /// The gradient of an objective that sees the whole optimiser step: all log-probs first, then the coefficients, then leaves that
  /// need to know nothing of the method.
  ///
  /// A leaf whose log-probs are not those that its coefficients were formed from is void: the coefficients are formed again from the
  /// learner's own log-probs, and all of it is computed once more.
  ///
  /// - Parameter known: log-probs under these weights, bit for bit; nil: they are computed.
  private func differentiate(
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
      seed: method.seed &+ UInt64(weights.state.step) &* 0x9E37_79B9_7F4A_7C15)
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
    if audit.equalityHolds { return hasSameBits(scored, differentiated) }
    return scored.count == differentiated.count
      && zip(scored, differentiated).allSatisfy { abs($0 - $1) <= Self.scoreTolerance * max(1, abs($0)) }
  }

  private func recordedLogProbs(_ samples: [CollectedTrajectory]) throws -> [[Float]] {
    try samples.map { sample in
      guard let logProbs = sample.trajectory.recordedLogProbs else {
        throw TrainingError(
          "trajectory \(sample.trajectory.promptID) came without the log-probs of worker \(sample.workerName)")
      }
      return logProbs
    }
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
