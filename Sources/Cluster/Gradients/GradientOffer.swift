import PolicyOptimization
import SoftThinking
import Training
import WeightSync
import Wire

/// The leaves of one optimiser step, as they are offered to workers.
struct GradientOffer: Sendable {
  /// Weights between two optimiser steps, that workers come to from a policy version.
  struct Intermediate: Sendable {
    /// The one that they branch off.
    var policyVersion: Int
    /// Of the weights as they are computed with.
    var weightByteCount: Int
    /// What workers are told, to pull them; nil: they are not published yet.
    var announcement: VersionAnnouncement?
  }

  /// The version whose weights are differentiated.
  var version: Int
  /// nil: it is a policy version, published before.
  var intermediate: Intermediate?
  var leaves: [GradientLeaf]
  var objective: GradientObjective
  var type: GradientType
  /// Numbers of a gradient.
  var elementCount: Int
  /// The only fingerprint that may compute: equal fingerprints promise equal bits; nil: any, and no promise.
  var fingerprint: String?
  /// Workers whose bits were found to be others.
  var excludedWorkers: Set<String> = []

  /// What one thread of the learner computes; 0: not known. For relays.
  var learnerRowsPerSecond = 0.0

  /// What a worker must hold before it can be asked.
  var policyVersion: Int { intermediate?.policyVersion ?? version }
  var tree: GradientTree { GradientTree(leafCount: leaves.count) }
  var byteCount: Int { elementCount * type.byteCount }

  /// The node of an aligned run of leaves.
  func node(of run: Range<Int>) -> GradientTree.Node {
    var node = tree.leaf(run.lowerBound)
    while tree.leaves(below: node) != run, let parent = tree.parent(of: node) { node = parent }
    return node
  }

  func grant(id: UInt64, leaves run: Range<Int>, deadline: Duration) -> GradientGrant {
    let node = node(of: run)
    return GradientGrant(
      id: id, policyVersion: version, level: node.level, index: node.index, leafCount: leaves.count,
      passSizes: leaves[run].map { $0.microBatches.map(\.count) }, objective: objective, gradientType: type.rawValue,
      elementCount: elementCount,
      longestSequence: trajectories(run).reduce(1) {
        max($0, $1.trajectory.prompt.count + $1.trajectory.completionCount)
      }, deadlineMilliseconds: deadline.milliseconds, fingerprint: fingerprint,
      excludedWorkers: excludedWorkers.sorted(), rowsPerSecond: learnerRowsPerSecond)
  }

  /// The trajectories of a run of leaves, in order.
  func trajectories(_ run: Range<Int>) -> [WeightedTrajectory] {
    leaves[run].flatMap { $0.microBatches.flatMap { $0 } }
  }
}

extension GradientObjective {
  /// Nil when there is a KL term and nobody but the learner has its reference model.
  ///
  /// - Parameter reference: root of that model, which is served.
  init?(_ options: ObjectiveOptions, reference: Digest?) {
    self.init(clipLow: options.clip.clipLow, clipHigh: options.clip.clipHigh, dualClip: options.clip.dualClip)
    guard options.klCoefficient != 0 else { return }
    guard let reference else { return nil }
    divergence = Divergence(
      coefficient: options.klCoefficient, estimator: options.klEstimator.rawValue, referenceRoot: reference.bytes)
  }

  /// - Precondition: it was validated.
  var options: ObjectiveOptions {
    ObjectiveOptions(
      clip: ClippedObjective(clipLow: clipLow, clipHigh: clipHigh, dualClip: dualClip),
      klCoefficient: divergence?.coefficient ?? 0,
      klEstimator: divergence.flatMap { KLEstimator(rawValue: $0.estimator) } ?? .k3)
  }
}

extension GradientTrajectory {
  init(_ item: WeightedTrajectory, leaseID: UInt64, index: Int) {
    self.init(
      leaseID: leaseID, index: index, prompt: item.trajectory.prompt, policy: item.trajectory.policy.description,
      segments: item.trajectory.segments, advantage: item.advantage, weight: item.weight,
      oldLogProbs: item.oldLogProbs, importanceCap: item.importanceCap, isOlder: item.isOlder)
  }

  /// What a gradient needs of it; its names are of no account here.
  ///
  /// - Throws: `ParameterError` for a thinking policy that this build does not have.
  func weighted() throws -> WeightedTrajectory {
    WeightedTrajectory(
      trajectory: Trajectory(
        promptID: "lease \(leaseID)", groupID: 0, sampleIndex: index, policy: try ThinkingPolicy(policy),
        policyVersion: 0, prompt: prompt,
        segments: segments, finishReason: .stop),
      advantage: advantage, weight: weight, oldLogProbs: oldLogProbs, importanceCap: importanceCap, isOlder: isOlder)
  }
}

extension GradientStatistics {
  init(_ statistics: ObjectiveStatistics) {
    self.init()
    tokenCount = statistics.tokenCount
    clippedCount = statistics.clippedCount
    dualClippedCount = statistics.dualClippedCount
    logRatioSum = statistics.logRatioSum
    ratioSum = statistics.ratioSum
    ratioMaximum = statistics.ratioMaximum
    policyLoss = statistics.policyLoss
    klLoss = statistics.klLoss
    importanceCount = statistics.importanceCount
    importanceSum = statistics.importanceSum
    behaviourCount = statistics.behaviourCount
    behaviourSum = statistics.behaviourSum
    behaviourClippedCount = statistics.behaviourClippedCount
    importanceClippedCount = statistics.importanceClippedCount
  }

  var statistics: ObjectiveStatistics {
    var statistics = ObjectiveStatistics()
    statistics.tokenCount = tokenCount
    statistics.clippedCount = clippedCount
    statistics.dualClippedCount = dualClippedCount
    statistics.logRatioSum = logRatioSum
    statistics.ratioSum = ratioSum
    statistics.ratioMaximum = ratioMaximum
    statistics.policyLoss = policyLoss
    statistics.klLoss = klLoss
    statistics.importanceCount = importanceCount
    statistics.importanceSum = importanceSum
    statistics.behaviourCount = behaviourCount
    statistics.behaviourSum = behaviourSum
    statistics.behaviourClippedCount = behaviourClippedCount
    statistics.importanceClippedCount = importanceClippedCount
    return statistics
  }
}
