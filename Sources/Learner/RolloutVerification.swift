import Coordination
import FrontEnd
import Kernels
import Machine
import Rollouts
import RunConfiguration
import Thinking
import Trajectories
import Transformer

/// Samples trajectories again and says which are not what their work, noise and weights give (docs/security.md).
///
/// Where a worker's bits should be the learner's, a difference is a proof. Where they are not (another fingerprint, products that
/// depend on the batch) only what needs no equal bits is looked at: whether a recorded step fits its noise, and whether its log-probs
/// are numbers of this world. Three such trajectories are needed there.
///
/// Which ones are looked at is drawn when they have come, from the system's random numbers: nobody can know it before.
final class RolloutVerification {
  typealias Extent = CheckSettings.Verification

  /// A trajectory that is not what it should be.
  struct Finding {
    var sample: CollectedTrajectory
    var reason: String
  }

  /// What was done in a step.
  struct Summary {
    /// Trajectories sampled again, their scored steps, and the seconds that took.
    var replayed = 0
    var steps = 0
    var seconds = 0.0
    /// Chosen, of weights that are not here any longer.
    var unknownVersions = 0
    /// Of other arithmetic: checked by what needs no equal bits.
    var foreign = 0
    var caught = 0
  }

  /// Of the trajectories beyond the one of each key and step.
  static let sampledRate = 0.01
  /// Foreign trajectories with evidence against them before their key is caught.
  static let softLimit = 3
  /// Beyond this a recorded step was not drawn with its noise; honest ones are below 1e-5.
  static let residualLimit = 1e-3
  /// No policy's log-prob comes near.
  static let logProbLimit: Float = 1e4

  private let extent: Extent
  private let fingerprint: String
  private let equalityHolds: Bool
  private let maxStaleness: Int
  private let team: ThreadTeam
  private var models: [Int: PreparedModel] = [:]
  private var replay: TrajectoryReplay?
  private var evidence: [String: Int] = [:]
  /// Of parties with other arithmetic: all that was drawn again of them.
  private var distances: [String: DrawDistance] = [:]
  /// In this step: parties of which a whole trajectory was replayed, and samples that were.
  private var seen: Set<String> = []
  private var done: Set<SampleKey> = []
  /// Foreign ones with evidence, which counts once each.
  private var weighed: Set<SampleKey> = []
  private(set) var summary = Summary()

  init(
    extent: Extent, fingerprint: String, equalityHolds: Bool, maxStaleness: Int, team: ThreadTeam
  ) {
    self.extent = extent
    self.fingerprint = fingerprint
    self.equalityHolds = equalityHolds
    self.maxStaleness = maxStaleness
    self.team = team
  }

  /// A step's collection begins under these weights; those of the last `max_staleness` versions are kept.
  func begin(_ model: PreparedModel, version: Int) {
    guard extent != .off else { return }
    (seen, done, weighed, summary) = ([], [], [], Summary())
    models = models.filter { $0.key >= version - maxStaleness && $0.key < version }
    models[version] = model
  }

  /// The step's batch is complete: weights that no later sample may be of are not kept through its update.
  func end() { if maxStaleness == 0 { models = [:] } }

  /// Looks at samples as they come: all, or a share.
  func arrived(_ samples: [CollectedTrajectory], of work: PromptGroup) throws -> [Finding] {
    guard extent != .off else { return [] }
    return try samples.compactMap { sample in
      let isChosen = extent == .all || Double.random(in: 0..<1) < Self.sampledRate
      if !isComparable(sample), let finding = residual(of: sample, work) { return finding }
      return isChosen ? try drawAgain(sample, work) : nil
    }
  }

  /// The step's samples are all there: one at least of each party is drawn again, any with the same probability.
  func conclude(_ samples: [(sample: CollectedTrajectory, work: PromptGroup)]) throws -> [Finding] {
    guard extent != .off else { return [] }
    var byParty: [String: [(sample: CollectedTrajectory, work: PromptGroup)]] = [:]
    for item in samples {
      if let party = item.sample.party, !seen.contains(party) { byParty[party, default: []].append(item) }
    }
    return try byParty.sorted { $0.key < $1.key }.compactMap { _, items in
      guard let item = items.randomElement() else { return nil }
      return try drawAgain(item.sample, item.work)
    }
  }

  private func isComparable(_ sample: CollectedTrajectory) -> Bool {
    equalityHolds && sample.fingerprint == fingerprint
  }

  /// Draws a trajectory again: every bit must be the same, or where other arithmetic made it, nearly every draw.
  private func drawAgain(_ sample: CollectedTrajectory, _ work: PromptGroup) throws -> Finding? {
    let trajectory = sample.trajectory
    let key = SampleKey(groupOrdinal: trajectory.groupID, sampleIndex: trajectory.sampleIndex)
    guard done.insert(key).inserted else { return nil }
    if let party = sample.party { seen.insert(party) }
    let start = MonotonicClock.seconds()
    defer { summary.seconds += MonotonicClock.seconds() - start }
    let noise = NoiseKey(seed: work.noiseSeed)
    let versions = Set([trajectory.policyVersion] + trajectory.versionSpans.map(\.version))
    // Of a vector's end, which is not scored, a record of several versions does not say which one drew it.
    let isDated = versions.count == 1 || trajectory.policy.vectorSteps == nil
    guard let any = models[trajectory.policyVersion], isDated, versions.allSatisfy({ models[$0] != nil }) else {
      summary.unknownVersions += 1
      return nil
    }
    let replay = self.replay ?? TrajectoryReplay(any, team: team)
    self.replay = replay
    summary.replayed += 1
    summary.steps += trajectory.scoredCount
    guard isComparable(sample) else {
      let distance = try replay.distance(of: trajectory, plan: work.plan, noise: noise) { models[$0] }
      guard let distance, let party = sample.party else { return nil }
      distances[party, default: DrawDistance()].add(distance)
      if let problem = distances[party]?.jointProblem {
        summary.caught += 1
        return Finding(sample: sample, reason: problem)
      }
      return distance.problem.flatMap { weigh(sample, $0) }
    }
    let difference = try replay.compare(trajectory, plan: work.plan, noise: noise) { models[$0] }
    guard let difference else { return nil }
    summary.caught += 1
    return Finding(
      sample: sample,
      reason:
        "sampled again under version \(trajectory.policyVersion) with its noise it is another trajectory: \(difference)"
    )
  }

  /// Looks at a foreign trajectory without drawing it again.
  private func residual(of sample: CollectedTrajectory, _ work: PromptGroup) -> Finding? {
    summary.foreign += 1
    let problem = Self.problem(with: sample.trajectory, noise: NoiseKey(seed: work.noiseSeed))
    return problem.flatMap { weigh(sample, $0) }
  }

  /// Evidence against a party: the third trajectory catches.
  private func weigh(_ sample: CollectedTrajectory, _ problem: String) -> Finding? {
    guard let party = sample.party else { return nil }
    let key = SampleKey(groupOrdinal: sample.trajectory.groupID, sampleIndex: sample.trajectory.sampleIndex)
    guard weighed.insert(key).inserted else { return nil }
    evidence[party, default: 0] += 1
    guard evidence[party]! >= Self.softLimit else { return nil }
    summary.caught += 1
    return Finding(
      sample: sample, reason: "\(problem); it is the trajectory number \(evidence[party]!) with such evidence")
  }

  /// Evidence that needs no equal bits; nil: there is none.
  static func problem(with trajectory: Trajectory, noise: NoiseKey) -> String? {
    if let logProb = trajectory.recordedLogProbs?.first(where: { !(abs($0) <= logProbLimit) }) {
      return "a log-prob of \(logProb) is none that a policy gives"
    }
    guard let steps = trajectory.policy.softSteps else { return nil }
    var position = 0
    for segment in trajectory.segments {
      if case .soft(let soft) = segment {
        for step in 0..<soft.count {
          let residual = soft.withRecord(step) { record in
            steps.auditResidual(
              record,
              noise: noise.step(
                group: UInt64(trajectory.groupID), sample: UInt32(trajectory.sampleIndex),
                step: UInt32(position + step)))
          }
          if !(residual <= residualLimit) {
            return "the soft step at position \(position + step) does not fit its noise (residual \(residual))"
          }
        }
      }
      position += segment.count
    }
    return nil
  }
}
