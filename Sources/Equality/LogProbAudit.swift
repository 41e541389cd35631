import Foundation
import Kernels
import Logging
import Thinking
import Training
import Trajectories
import Transformer
import Wire

/// Log-probs of one trajectory that are the same numbers.
package func hasSameBits(_ left: [Float], _ right: [Float]) -> Bool {
  left.map(\.bitPattern) == right.map(\.bitPattern)
}

/// Whose log-probs stand for the policy that sampled a trajectory.
package enum OldLogProbSource: Sendable, Equatable {
  /// The worker's, taken at its word: they are those that the learner would compute, bit for bit.
  case worker
  /// The learner's own under the weights that sampled; the worker's arithmetic was another, which is corrected for.
  case learner
  /// The worker's as the behaviour policy: its weights are no longer the learner's.
  case behaviour
}

/// What a step's comparisons of recorded and computed log-probs came to.
package struct AuditSummary: Sendable, Equatable {
  /// Trajectories taken at their word that were compared, and those that differed.
  package var audited = 0
  package var failures = 0
  /// Share of trajectories whose old log-probs are the learner's own.
  package var recomputed = 0.0
  /// |p_learner - p_worker| over the compared steps at equal versions, whoever sampled them.
  var steps = 0
  var differenceSum = 0.0
  var differenceMaximum = 0.0
  /// The same by the fingerprint of the workers.
  var classes: [String: Difference] = [:]

  struct Difference: Sendable, Equatable {
    var steps = 0
    var sum = 0.0
    var maximum = 0.0

    mutating func add(_ difference: Double) {
      steps += 1
      sum += difference
      maximum = max(maximum, difference)
    }
  }

  package init() {}

  /// nil when nothing was compared.
  package var maximum: Double? { steps > 0 ? differenceMaximum : nil }
  package var mean: Double? { steps > 0 ? differenceSum / Double(steps) : nil }
}

/// Decides which log-probs are relied on, and remembers the workers that were caught.
///
/// A worker is taken at its word when it has the learner's fingerprint and equality holds on this machine; what it says is
/// compared wherever the learner computes the same thing anyway, and on a share of the rest. A single differing bit ends
/// the reliance on that worker for the rest of the run.
package final class LogProbAudit {
  package let fingerprint: String
  /// Whether equal fingerprints are taken to mean equal bits: a backend that claims it, and no failed self-test.
  package let equalityHolds: Bool
  /// Least share of a step's trajectories to compare.
  let fraction: Double
  package private(set) var caught: Set<String> = []
  /// Told of a worker (its party) whose log-probs are not what its fingerprint promises.
  package var whenCaught: (String, String) -> Void = { _, _ in }
  private var reported: Set<String> = []
  /// Of parties with another arithmetic, trajectories whose log-probs are too far from the learner's.
  private var unexplained: [String: Int] = [:]
  /// Mean |difference| of a trajectory's log-probs beyond which no other number format or processor explains it, and what is added
  /// for each nat of their mean size. Between fp32 and bf16 it is about 0.01 for SmolLM2's tokens; log-densities of vectors, which
  /// have hundreds of nats, differ by many under int8.
  static let explainableDifference = 4.0
  static let explainableShare = 0.25
  static let unexplainedLimit = 3
  private let logger: Logger

  init(fingerprint: String, equalityHolds: Bool, fraction: Double, logger: Logger) {
    self.fingerprint = fingerprint
    self.equalityHolds = equalityHolds
    self.fraction = fraction
    self.logger = logger
  }

  /// Finds out whether equal fingerprints may be taken to mean equal bits, by the self-test when it is asked for, and says
  /// what follows from it.
  ///
  /// - Parameter policy: the run's thinking policy, tried beside discrete tokens.
  package static func start(
    _ model: PreparedModel, selfTest: Bool, policy: ThinkingPolicy, positions: Int, fraction: Double, team: ThreadTeam,
    logger: Logger
  ) -> LogProbAudit {
    var holds = model.backend.isBatchInvariant
    let consequence = "the learner relies on no worker's log-probs and recomputes them"
    if selfTest {
      let policies = policy.hasSoftSteps ? [policy, ThinkingPolicies.tokens] : [policy]
      let report = EqualitySelfTest.run(model, policies: policies, positions: positions, team: team)
      holds = report.passed
      switch report.verdict {
      case .passed: logger.info("bitwise self-test \(report.summary)")
      case .noClaim: logger.notice("bitwise self-test: \(report.summary); \(consequence)")
      case .failed: logger.warning("bitwise self-test \(report.summary); \(consequence)")
      }
    } else if !holds {
      logger.notice("\(model.backend.summary) promises no equal bits; \(consequence)")
    }
    return LogProbAudit(
      fingerprint: hardwareFingerprint(model.backend), equalityHolds: holds, fraction: fraction, logger: logger)
  }

  package func source(of sample: CollectedTrajectory, version: Int) -> OldLogProbSource {
    if sample.trajectory.policyVersion != version { return .behaviour }
    return equalityHolds && sample.fingerprint == fingerprint && !caught.contains(sample.workerName)
      ? .worker : .learner
  }

  /// Trajectories to score for the audit's sake, besides those in `covered`, which are compared at no cost.
  ///
  /// The choice depends on the batch alone and differs from step to step. Those taken at their word come first, and among
  /// them workers of which nothing is covered.
  package func choose(_ samples: [CollectedTrajectory], covered: Set<Int>, version: Int) -> [Int] {
    let comparable = samples.indices.filter { source(of: samples[$0], version: version) != .behaviour }
    let wanted = fraction == 0 ? 0 : max(1, Int((fraction * Double(comparable.count)).rounded(.up)))
    let missing = wanted - comparable.count { covered.contains($0) }
    guard missing > 0 else { return [] }
    let seen = Set(covered.map { samples[$0].workerName })
    func rank(_ index: Int) -> (Int, UInt64) {
      let sample = samples[index]
      let isTaken = source(of: sample, version: version) == .worker
      return (isTaken ? (seen.contains(sample.workerName) ? 1 : 0) : 2, shuffle(sample.trajectory, version))
    }
    return comparable.filter { !covered.contains($0) }.map { ($0, rank($0)) }
      .sorted { ($0.1.0, $0.1.1, $0.0) < ($1.1.0, $1.1.1, $1.0) }.prefix(missing).map(\.0)
  }

  private func shuffle(_ trajectory: Trajectory, _ version: Int) -> UInt64 {
    var z = UInt64(bitPattern: Int64(version)) &* 0x9E37_79B9_7F4A_7C15
    for part in [trajectory.groupID, trajectory.sampleIndex] {
      z = (z ^ UInt64(bitPattern: Int64(part))) &* 0xBF58_476D_1CE4_E5B9
      z ^= z >> 29
    }
    return z
  }

  /// Says how workers with another processor or number format compare with this learner: when such a worker is first heard
  /// of, then at debug level.
  package func report(_ summary: AuditSummary, step: Int) {
    for (fingerprint, difference) in summary.classes.sorted(by: { $0.key < $1.key })
    where fingerprint != self.fingerprint && difference.steps > 0 {
      let isNew = reported.insert(fingerprint).inserted
      logger.log(
        level: isNew ? .notice : .debug,
        "step \(step): workers unlike this learner (\(fingerprint)): their probabilities of \(difference.steps) steps differ by \(difference.sum / Double(difference.steps)) on average, \(difference.maximum) at most"
      )
    }
  }

  /// A worker's gradient lease came with log-probs that the learner does not compute: where it should have the learner's bits it
  /// is caught, too.
  package func catchComputer(_ computer: GradientOrigin, of sample: CollectedTrajectory, version: Int) {
    guard computer.fingerprint == fingerprint, caught.insert(computer.workerName).inserted else { return }
    logger.warning(
      """
      worker \(computer.workerName) has this learner's fingerprint (\(fingerprint)) but not its bits: its gradient lease came with \
      other log-probs of prompt \(sample.trajectory.promptID), group \(sample.trajectory.groupID) sample \
      \(sample.trajectory.sampleIndex) than the learner's under version \(version); it is asked for no more gradients, and its \
      log-probs are recomputed from now on. The step that used the gradient is not promised to have the learner's bits
      """)
  }

  /// Holds log-probs of another arithmetic against what arithmetic can explain: the third trajectory beyond it catches.
  private func compareForeign(_ sample: CollectedTrajectory, recorded: [Float], computed: [Float], version: Int) {
    let trajectory = sample.trajectory
    guard trajectory.policyVersion == version, trajectory.versionSpans.isEmpty, !recorded.isEmpty,
      let party = sample.party
    else { return }
    // Equal infinities are no difference.
    let sum = zip(recorded, computed).reduce(0.0) { $1.0 == $1.1 ? $0 : $0 + abs(Double($1.0) - Double($1.1)) }
    let mean = sum / Double(recorded.count)
    let size = computed.reduce(0.0) { $1.isFinite ? $0 + abs(Double($1)) : $0 } / Double(recorded.count)
    guard !(mean <= Self.explainableDifference + Self.explainableShare * size) else { return }
    unexplained[party, default: 0] += 1
    guard unexplained[party] == Self.unexplainedLimit else { return }
    let reason =
      "log-probs that differ from the learner's by \(mean) on average, which no other arithmetic explains: group "
      + "\(trajectory.groupID) sample \(trajectory.sampleIndex), the trajectory number \(Self.unexplainedLimit) like it"
    logger.warning("worker \(sample.workerName), \(party), is caught: \(reason)")
    whenCaught(party, reason)
  }

  /// Compares what a worker recorded with what the learner computed under the same weights. A worker that was taken at its
  /// word and differs in a bit is caught, and the log says so once.
  ///
  /// - Parameter relied: whether the step took the trajectory's log-probs at the worker's word.
  package func compare(
    _ sample: CollectedTrajectory, recorded: [Float], computed: [Float], relied: Bool, version: Int,
    summary: inout AuditSummary
  ) {
    for (worker, learner) in zip(recorded, computed) {
      var difference = abs(exp(Double(learner)) - exp(Double(worker)))
      // The difference of two infinite densities must not pass for none.
      if difference.isNaN { difference = .infinity }
      summary.steps += 1
      summary.differenceSum += difference
      summary.differenceMaximum = max(summary.differenceMaximum, difference)
      summary.classes[sample.fingerprint, default: AuditSummary.Difference()].add(difference)
    }
    guard relied else { return compareForeign(sample, recorded: recorded, computed: computed, version: version) }
    summary.audited += 1
    guard let step = zip(recorded, computed).enumerated().first(where: { $1.0.bitPattern != $1.1.bitPattern })
    else { return }
    summary.failures += 1
    guard caught.insert(sample.workerName).inserted else { return }
    let (trajectory, (worker, learner)) = (sample.trajectory, step.element)
    if let party = sample.party {
      whenCaught(
        party,
        "group \(trajectory.groupID) sample \(trajectory.sampleIndex): log-prob \(worker) of slot \(step.offset), the learner computes \(learner)"
      )
    }
    logger.warning(
      """
      worker \(sample.workerName) has this learner's fingerprint (\(fingerprint)) but not its bits: prompt \(trajectory.promptID), group \
      \(trajectory.groupID) sample \(trajectory.sampleIndex), scored step \(step.offset): its log-prob is \(worker) \
      (\(hexadecimal(worker))), the learner computes \(learner) (\(hexadecimal(learner))) under version \(version); its \
      log-probs are recomputed from now on
      """)
  }
}
