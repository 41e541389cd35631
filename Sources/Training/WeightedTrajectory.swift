import Objectives
import Parameters
import Trajectories

/// A trajectory with what its share of the loss depends on.
public struct WeightedTrajectory: Sendable {
  public var trajectory: Trajectory
  /// One for the whole trajectory, or one a scored step.
  public var advantages: [Float]
  /// Weight of each scored step in the loss: 1 / (global token count) under token mean.
  public var weight: Double
  /// Constants that multiply the losses of its scored steps (masks, token weights, corrections), one a step or one a slot; nil: 1.
  public var stepWeights: [Float]?
  /// Log-probs under the policy of the ratio's denominator, one per scored slot in order; nil: those that this very pass
  /// computes, for the first update after the policy sampled.
  public var oldLogProbs: [Float]?
  /// Cap of the truncated importance weights, exp(old log-prob - recorded one), that multiply the slots' losses; nil: none.
  public var importanceCap: Float?
  /// The weights correct for the age of the policy that sampled (decoupled clipping), not for another arithmetic.
  public var isOlder: Bool
  /// d(policy loss)/d(log-prob) of each slot, where it was formed from more than this trajectory: whoever computes the gradient needs
  /// no objective then; nil: it follows from the objective.
  public var coefficients: [Float]?

  public init(
    trajectory: Trajectory, advantages: [Float], weight: Double, stepWeights: [Float]? = nil, oldLogProbs: [Float]?,
    importanceCap: Float? = nil, isOlder: Bool = false, coefficients: [Float]? = nil
  ) {
    self.trajectory = trajectory
    self.advantages = advantages
    self.weight = weight
    self.stepWeights = stepWeights
    self.oldLogProbs = oldLogProbs
    self.importanceCap = importanceCap
    self.isOlder = isOlder
    self.coefficients = coefficients
  }

  public init(
    trajectory: Trajectory, advantage: Float, weight: Double, oldLogProbs: [Float]?, importanceCap: Float? = nil,
    isOlder: Bool = false
  ) {
    self.init(
      trajectory: trajectory, advantages: [advantage], weight: weight, oldLogProbs: oldLogProbs,
      importanceCap: importanceCap, isOlder: isOlder)
  }

  var name: String { "trajectory \(trajectory.promptID) sample \(trajectory.sampleIndex)" }

  /// The truncated importance weights of its slots; nil without a correction.
  ///
  /// - Throws: `TrainingError` when the trajectory lacks the log-probs recorded at sampling.
  func importanceWeights(old: [Float]) throws -> [Float]? {
    guard let importanceCap else { return nil }
    guard let recorded = trajectory.recordedLogProbs, recorded.count == old.count else {
      throw TrainingError("\(name): has no log_probs, which the importance correction needs")
    }
    return zip(old, recorded).map {
      truncatedImportanceWeight(learnerOldLogProb: $0, workerLogProb: $1, cap: importanceCap)
    }
  }

  /// What the objective reads of its side streams, one number a step.
  ///
  /// - Throws: `TrainingError` when a stream was not recorded.
  func streams(of objective: any Objective) throws -> [SideStream: [Float]] {
    var streams: [SideStream: [Float]] = [:]
    for stream in objective.needs {
      guard let values = trajectory.stream(stream) else {
        throw TrainingError(
          "\(name): has no \(stream.rawValue) of every step, which objective \(type(of: objective).name) reads; sample it with this "
            + "version, or add the column to its segments")
      }
      streams[stream] = values
    }
    return streams
  }

  /// What an objective sees of it, given its log-probs under the parameters that are trained.
  ///
  /// - Throws: `TrainingError` when it lacks something.
  func seen(logProbs: [Float], slotCounts: [Int]?, by objective: any Objective) throws -> ObjectiveTrajectory {
    let old = oldLogProbs ?? logProbs
    var seen = ObjectiveTrajectory(
      logProbs: logProbs, oldLogProbs: old, advantages: advantages, weight: weight,
      factors: try importanceWeights(old: old), slotCounts: slotCounts, group: trajectory.groupID,
      streams: try streams(of: objective))
    if let stepWeights {
      guard stepWeights.count == seen.stepCount || stepWeights.count == seen.slotCount else {
        throw TrainingError("\(name): \(stepWeights.count) step weights for \(seen.stepCount) scored steps")
      }
      let factors = seen.factors ?? [Float](repeating: 1, count: seen.slotCount)
      let isBySlot = stepWeights.count == seen.slotCount
      seen.factors = seen.steps.enumerated().map { slot, step in factors[slot] * stepWeights[isBySlot ? slot : step] }
    }
    return seen
  }
}

/// Forms the coefficients of an objective that must see more than the step, from log-probs under the parameters that are trained.
///
/// - Parameters:
///   - items: whole scopes: of `group` scope all members, of `batch` scope the optimiser step.
///   - logProbs: of each item, one a slot.
///   - slotCounts: of each item, slots of its steps; nil: one each.
/// - Returns: the items with their coefficients, and what the objective measured, the policy loss included.
/// - Throws: `TrainingError` or `ObjectiveError`.
public func formCoefficients(
  _ items: [WeightedTrajectory], logProbs: [[Float]], slotCounts: [[Int]?], loss: Loss,
  context: ObjectiveContext = ObjectiveContext()
) throws -> (items: [WeightedTrajectory], sums: NamedSums) {
  let seen = try items.indices.map {
    try items[$0].seen(logProbs: logProbs[$0], slotCounts: slotCounts[$0], by: loss.objective)
  }
  var scopes: [[Int]] = []
  switch loss.scope {
  case .step, .trajectory: scopes = items.indices.map { [$0] }
  case .group:
    var places: [Int: Int] = [:]
    for (index, item) in seen.enumerated() {
      if let place = places[item.group] {
        scopes[place].append(index)
      } else {
        places[item.group] = scopes.count
        scopes.append([index])
      }
    }
  case .batch: scopes = [Array(items.indices)]
  }
  var (items, sums) = (items, NamedSums())
  for scope in scopes where !scope.isEmpty {
    let result = try loss.objective.evaluate(scope.map { seen[$0] }, context: context)
    guard result.coefficients.count == scope.count,
      zip(scope, result.coefficients).allSatisfy({ seen[$0].slotCount == $1.count })
    else {
      throw TrainingError("objective \(loss.description.name) gave coefficients of another shape than its log-probs")
    }
    for (index, coefficients) in zip(scope, result.coefficients) { items[index].coefficients = coefficients }
    sums.merge(result.sums)
    sums.add(total: LossSum.policyLoss, result.loss)
  }
  for (index, item) in items.enumerated() {
    sums.addRatios(logProbs: seen[index].logProbs, oldLogProbs: seen[index].oldLogProbs)
    if let weights = try item.importanceWeights(old: seen[index].oldLogProbs), let cap = item.importanceCap {
      sums.add(importanceWeights: weights, cap: cap, isOlder: item.isOlder)
    }
  }
  return (items, sums)
}
