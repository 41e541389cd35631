import Coordination
import Machine
import Objectives
import Parameters
import Thinking
import Training
import Trajectories
import WeightSync
import Wire

/// The leaves of one optimiser step, as they are offered to workers.
package struct GradientOffer: Sendable {
  /// Weights between two optimiser steps, that workers come to from a policy version.
  package struct Intermediate: Sendable {
    /// The one that they branch off.
    var policyVersion: Int
    /// Of the weights as they are computed with.
    var weightByteCount: Int
    /// What workers are told, to pull them; nil: they are not published yet.
    package var announcement: VersionAnnouncement?

    package init(policyVersion: Int, weightByteCount: Int, announcement: VersionAnnouncement? = nil) {
      self.policyVersion = policyVersion
      self.weightByteCount = weightByteCount
      self.announcement = announcement
    }
  }

  /// The version whose weights are differentiated.
  package var version: Int
  /// nil: it is a policy version, published before.
  package var intermediate: Intermediate?
  var leaves: [GradientLeaf]
  var loss: GradientLoss
  package var type: GradientType
  /// Numbers of a gradient; 0: the log-probs alone are asked for.
  var elementCount: Int
  /// The only fingerprint that may compute: equal fingerprints promise equal bits; nil: any, and no promise.
  var fingerprint: String?
  /// Workers whose bits were found to be others.
  var excludedWorkers: Set<String> = []
  /// Of relays, the workers behind them that were caught: a name is the relay's word, and says nothing of others who have it.
  package var caughtBelow: [Party: Set<String>] = [:]

  /// Of each leaf the parties that may not compute it, since they sampled of it; empty: everybody may compute everything.
  var samplers: [Set<Party>] = []

  /// What one thread of the learner computes; 0: not known. For relays.
  var learnerRowsPerSecond = 0.0

  package init(
    version: Int, intermediate: Intermediate? = nil, leaves: [GradientLeaf], loss: GradientLoss, type: GradientType,
    elementCount: Int, fingerprint: String? = nil, excludedWorkers: Set<String> = [], samplers: [Set<Party>] = [],
    learnerRowsPerSecond: Double = 0
  ) {
    self.version = version
    self.intermediate = intermediate
    self.leaves = leaves
    self.loss = loss
    self.type = type
    self.elementCount = elementCount
    self.fingerprint = fingerprint
    self.excludedWorkers = excludedWorkers
    self.samplers = samplers
    self.learnerRowsPerSecond = learnerRowsPerSecond
  }

  /// What a worker must hold before it can be asked.
  var policyVersion: Int { intermediate?.policyVersion ?? version }
  /// Nothing is differentiated: a scoring lease.
  package var asksForScores: Bool { elementCount == 0 }
  /// What a forward pass costs of a forward and a backward one.
  private static let scoringShare = 3
  /// The leaves' work, in rows that are differentiated.
  var leafCosts: [Int] {
    leaves.map { asksForScores ? max(1, $0.rowCount / Self.scoringShare) : $0.rowCount }
  }
  package var tree: GradientTree { GradientTree(leafCount: leaves.count) }
  var byteCount: Int { elementCount * type.byteCount }

  /// Whether a party may compute a leaf: nobody vouches for his own samples.
  func mayHave(_ leaf: Int, _ party: Party?) -> Bool {
    guard let party, samplers.indices.contains(leaf) else { return true }
    return !samplers[leaf].contains(party)
  }

  /// Names of workers that compute nothing behind a relay.
  func excluded(below relay: Party?) -> Set<String> {
    excludedWorkers.union(relay.flatMap { caughtBelow[$0] } ?? [])
  }

  /// - Parameter party: whom it goes to.
  func grant(id: UInt64, leaves run: Range<Int>, deadline: Duration, to party: Party?) -> GradientGrant {
    let node = tree.node(of: run)!
    return GradientGrant(
      id: id, policyVersion: version, level: node.level, index: node.index, leafCount: leaves.count,
      passSizes: leaves[run].map { $0.microBatches.map(\.count) }, loss: loss, gradientType: type.rawValue,
      elementCount: elementCount,
      longestSequence: trajectories(run).reduce(1) {
        max($0, $1.trajectory.prompt.count + $1.trajectory.completionCount)
      }, deadlineMilliseconds: deadline.milliseconds, fingerprint: fingerprint,
      excludedWorkers: excluded(below: party).sorted(), rowsPerSecond: learnerRowsPerSecond)
  }

  /// The trajectories of a run of leaves, in order.
  func trajectories(_ run: Range<Int>) -> [WeightedTrajectory] {
    leaves[run].flatMap { $0.microBatches.flatMap { $0 } }
  }
}

extension PartDescription {
  /// What a lease is hashed over: the part as this build understands it.
  var digest: Digest { Digest(hashing: "softgrpo part 1\n" + canonicalText) }
}

extension GradientLoss {
  /// Nil when there is a KL term and nobody but the learner has its reference model.
  ///
  /// - Parameters:
  ///   - isBlind: the trajectories bring their coefficients, and no objective is needed.
  ///   - reference: root of that model, which is served.
  package init?(_ loss: Loss, isBlind: Bool, reference: Digest?) {
    self.init(
      objective: isBlind ? nil : loss.description, objectiveDigest: isBlind ? [] : loss.description.digest.bytes)
    guard loss.klCoefficient != 0 else { return }
    guard let reference else { return nil }
    divergence = Divergence(
      coefficient: loss.klCoefficient, estimator: loss.klEstimator.rawValue, referenceRoot: reference.bytes)
  }

  /// The loss as this build has it.
  ///
  /// - Throws: `ParameterError` when this build does not have that objective with these parameters: another loss must not be
  ///   differentiated in its place.
  package func loss() throws -> Loss {
    let named = divergence?.estimator ?? KLEstimator.k3.rawValue
    guard let estimator = KLEstimator(rawValue: named) else {
      throw ParameterError(
        "KL estimator \(named) of the lease is not one of this build: run the same softgrpo version everywhere")
    }
    guard let objective else {
      return try Loss(klCoefficient: divergence?.coefficient ?? 0, klEstimator: estimator)
    }
    let loss = try Loss(objective, klCoefficient: divergence?.coefficient ?? 0, klEstimator: estimator)
    guard loss.description.digest.bytes == objectiveDigest else {
      throw ParameterError(
        "objective \(objective.name) of the lease is not the one of this build: run the same softgrpo version everywhere"
      )
    }
    return loss
  }
}

extension GradientOffer {
  /// What a worker says of leaves, leaf by leaf.
  func results(of ready: GradientReady, leaves range: Range<Int>) -> [LeafResult] {
    var at = 0
    return zip(range, ready.sums).map { leaf, sums in
      var result = LeafResult()
      result.sums = sums
      for item in leaves[leaf].microBatches.joined() {
        let count = item.trajectory.slotCount
        result.logProbs.append(Array(ready.logProbs[at..<at + count]))
        at += count
      }
      return result
    }
  }
}

extension GradientTrajectory {
  init(_ item: WeightedTrajectory, leaseID: UInt64, index: Int) {
    self.init(
      leaseID: leaseID, index: index, prompt: item.trajectory.prompt, policy: item.trajectory.policy.description,
      segments: item.trajectory.segments, advantages: item.advantages, weight: item.weight,
      oldLogProbs: item.oldLogProbs, importanceCap: item.importanceCap, isOlder: item.isOlder,
      stepWeights: item.stepWeights, coefficients: item.coefficients, group: item.trajectory.groupID)
  }

  /// What a gradient needs of it; its names are of no account here.
  ///
  /// - Throws: `ParameterError` for a thinking policy that this build does not have.
  func weighted() throws -> WeightedTrajectory {
    WeightedTrajectory(
      trajectory: Trajectory(
        promptID: "lease \(leaseID)", groupID: group, sampleIndex: index, policy: try ThinkingPolicy(policy),
        policyVersion: 0, prompt: prompt,
        segments: segments, finishReason: .stop),
      advantages: advantages, weight: weight, stepWeights: stepWeights, oldLogProbs: oldLogProbs,
      importanceCap: importanceCap, isOlder: isOlder, coefficients: coefficients)
  }
}
