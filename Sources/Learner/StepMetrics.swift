import Foundation
import FrontEnd
import Observability
import Tasks
import Thinking
import Trajectories
import Updates

/// The metrics of one learner step, under the field's names (docs/metrics.md).
struct StepMetrics {
  var step: Int
  /// Those that were trained on.
  var trajectories: [Trajectory]
  /// Of the rewards that were added.
  var rewardNames: [String]
  /// What they said of each collected sample.
  var judged: [JudgedCompletion]
  /// Share of them in which no answer was found; nil: no reward looks for one.
  var withoutAnswer: Double?
  var outcome: UpdateOutcome
  var version: Int
  var subject: TrainingSubject
  var cluster: FleetStatistics
  /// Weight bytes sent up to the record before.
  var wireBytes: Int
  /// Share of the weights that the update changed.
  var weightsDensity: Double?
  /// The cluster at the record before: what is counted since then belongs to this step.
  var before = FleetStatistics()
  /// Seconds from the step's first grant to its last result.
  var sampling: Double?
  /// Whether trajectories may have several versions.
  var isPartial = false
  /// Seconds from the last sample until all rewards were there.
  var judging: Double
  /// Start, collected, updated, published.
  var times: (Double, Double, Double, Double)

  var record: MetricsRecord {
    let rewards = trajectories.map { Double($0.reward ?? 0) }
    let count = Double(max(1, rewards.count))
    let mean = rewards.reduce(0, +) / count
    let deviation = (rewards.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / max(1, count - 1)).squareRoot()
    let lengths = trajectories.map { Double($0.completionCount) }
    let thinking = trajectories.map { Double(subject.completion($0).thinkingLength) }
    let lags = trajectories.map { Double(version - $0.policyVersion) }
    var softness = Softness()
    for trajectory in trajectories { softness.add(trajectory, ends: subject.text.endOfThinkingTokens) }
    let entropies = trajectories.compactMap { $0.stream(.entropy) }.joined()
    let (start, collected, updated, published) = times
    var metrics: [String: Double] = [
      MetricName.rewardMean: mean, MetricName.rewardStandardDeviation: deviation,
      MetricName.rewardMaximum: rewards.max() ?? 0, MetricName.rewardMinimum: rewards.min() ?? 0,
      MetricName.groupsWithoutSignal: Double(outcome.groupsWithoutSignal),
      MetricName.completionLengthMean: lengths.reduce(0, +) / count,
      MetricName.completionLengthMaximum: lengths.max() ?? 0,
      MetricName.completionLengthClipRatio: Double(trajectories.count { $0.finishReason == .length }) / count,
      MetricName.thinkingLengthMean: thinking.reduce(0, +) / count,
      MetricName.gradientNorm: outcome.gradientNorm, MetricName.learningRate: outcome.learningRate,
      MetricName.offPolicyMean: lags.reduce(0, +) / count, MetricName.offPolicyMaximum: lags.max() ?? 0,
      MetricName.offPolicyDropped: Double(cluster.staleResults - before.staleResults),
      MetricName.hedged: Double(cluster.leases.hedged - before.leases.hedged),
      MetricName.hedgesWon: Double(cluster.leases.hedgesWon - before.leases.hedgesWon),
      MetricName.tokensPerSecond: lengths.reduce(0, +) / max(1e-9, published - start),
      MetricName.weightsWireBytes: Double(cluster.counters.weightBytesSent - wireBytes),
      MetricName.workers: Double(cluster.workers.count),
      MetricName.timeGenerate: sampling ?? collected - start, MetricName.timeWait: collected - start,
      MetricName.timeJudge: judging, MetricName.timeUpdate: updated - collected - judging,
      MetricName.timeBroadcast: published - updated, MetricName.timeStep: published - start,
    ]
    metrics[MetricName.rolloutAccepted] = Double(cluster.leases.accepted - before.leases.accepted)
    metrics[MetricName.rolloutTrained] = Double(trajectories.count)
    metrics[MetricName.rolloutDuplicates] = Double(cluster.leases.duplicate - before.leases.duplicate)
    metrics[MetricName.rolloutRequeued] = Double(cluster.leases.requeued - before.leases.requeued)
    metrics[MetricName.rolloutSetAside] = Double(cluster.leases.setAside - before.leases.setAside)
    metrics[MetricName.lostSessions] = Double(cluster.counters.lostSessions - before.counters.lostSessions)
    for (index, name) in rewardNames.enumerated() {
      let values = judged.compactMap { $0.values[index].map(Double.init) }
      if !values.isEmpty { metrics[MetricName.rewardMean(of: name)] = values.reduce(0, +) / Double(values.count) }
    }
    metrics[MetricName.groups] = Double(Set(trajectories.map(\.groupID)).count)
    metrics[MetricName.unreadableAnswers] = withoutAnswer
    if subject.thinkingBudget > 0 {
      metrics[MetricName.thinkingEndRatio] = Double(trajectories.count(where: subject.text.endsThinking)) / count
    }
    metrics[MetricName.notJudged] = Double(judged.count { $0.total == nil })
    metrics[MetricName.updateSkipped] = trajectories.isEmpty ? 1 : 0
    if trajectories.isEmpty { for name in Self.ofTrained { metrics[name] = nil } }
    let gradients = outcome.gradients
    metrics[MetricName.gradientLeases] = Double(gradients.accepted)
    metrics[MetricName.gradientLeasedShare] =
      Double(gradients.acceptedLeaves) / Double(max(1, gradients.acceptedLeaves + gradients.localLeaves))
    metrics[MetricName.gradientWireBytes] = Double(gradients.wireBytes)
    metrics[MetricName.timeGradientWait] = outcome.gradientWait
    let audit = outcome.audit
    metrics[MetricName.audited] = Double(audit.audited)
    metrics[MetricName.auditFailures] = Double(audit.failures)
    metrics[MetricName.recomputed] = audit.recomputed
    metrics[MetricName.rolloutProbabilityDifferenceMaximum] = audit.maximum
    metrics[MetricName.rolloutProbabilityDifferenceMean] = audit.mean
    metrics[MetricName.entropy] =
      entropies.isEmpty ? nil : entropies.reduce(0.0) { $0 + Double($1) } / Double(entropies.count)
    for (name, value) in Self.metrics(softness) { metrics[name] = value }
    // Those that were judged, which are those that were trained on.
    let outcomes = zip(thinking, judged.filter { $0.total != nil }.map(\.isCorrect))
    for (name, isCorrect) in [(MetricName.thinkingLengthCorrect, true), (MetricName.thinkingLengthWrong, false)] {
      let own = outcomes.filter { $0.1 == isCorrect }.map(\.0)
      if !own.isEmpty { metrics[name] = own.reduce(0, +) / Double(own.count) }
    }
    // What the loss measured of itself, under the names that it gave.
    for name in outcome.sums.entries.keys { metrics[name] = outcome.sums[name] }
    if isPartial {
      metrics[MetricName.offPolicyPartial] = Double(trajectories.count { !$0.versionSpans.isEmpty }) / count
    }
    metrics[MetricName.weightsDensity] = weightsDensity
    return MetricsRecord(step: step, time: Date().timeIntervalSince1970, metrics: metrics)
  }

  /// How soft the thinking was; a number of no step is absent.
  private static func metrics(_ softness: Softness) -> [(String, Double?)] {
    [
      (MetricName.softnessLargestWeight, softness.all.largestWeight),
      (MetricName.softnessComponents, softness.all.effectiveComponents),
      (MetricName.softnessMixed, softness.all.mixedShare), (MetricName.softnessEntropy, softness.meanEntropy),
      (MetricName.forks, softness.forkShare), (MetricName.forkLargestWeight, softness.forks.largestWeight),
      (MetricName.forkComponents, softness.forks.effectiveComponents),
      (MetricName.forkMixed, softness.forks.mixedShare),
    ]
  }

  /// What only trained samples have; a 0 would be a lie where there are none.
  private static let ofTrained = [
    MetricName.rewardMean, MetricName.rewardStandardDeviation, MetricName.rewardMaximum, MetricName.rewardMinimum,
    MetricName.completionLengthMean, MetricName.completionLengthMaximum, MetricName.completionLengthClipRatio,
    MetricName.thinkingLengthMean, MetricName.gradientNorm, MetricName.learningRate, MetricName.offPolicyMean,
    MetricName.offPolicyMaximum, MetricName.offPolicyPartial, MetricName.tokensPerSecond,
  ]
}
