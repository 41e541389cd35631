import Credit
import Foundation
import Kernels
import Logging
import ModelFiles
import Objectives
import Optimization
import Parameters
import Rollouts
import Synchronization
import Testing
import TestSupport
import Thinking
import Training
import Trajectories
import Transformer
import WeightSync

@testable import Equality
@testable import Updates

/// Whose log-probs an update relies on, what it notices, and what it does then.
@Suite(.enabled(if: preferredComputeType == .bfloat16, "the processor has no bf16 products"))
struct BatchUpdateTests {
  private let team = ThreadTeam(threadCount: 1)
  private let weights = TinyModel.weights(
    ModelConfiguration(
      architecture: .llama, hiddenSize: 64, layerCount: 2, headCount: 4, keyValueHeadCount: 2, headDimension: 16,
      intermediateSize: 96, vocabularySize: 90, contextLength: 128), seed: 4)
  private static let groupSize = 6

  private func model(_ type: ComputeType = .bfloat16) throws -> PreparedModel {
    PreparedModel(
      weights, backend: try matrixBackend(for: type), trainable: true, positions: 64, team: team)
  }

  /// Two groups, soft and discrete, sampled by the engine; the samples of a group alternate between two workers.
  private func samples(_ type: ComputeType = .bfloat16) throws -> [CollectedTrajectory] {
    let model = try model(type)
    let engine = try SamplingEngine(model: model, slots: 5, maximumPositions: 64, team: team)
    for group in 0..<2 {
      try engine.submit(
        SamplingRequest(
          id: UInt64(group), promptID: "prompt-\(group)", groupOrdinal: UInt64(group),
          prompt: (0..<9).map { Int32(($0 * 7 + group) % 90) }, sampleIndices: Array(0..<Self.groupSize),
          policy: group == 0 ? ThinkingPolicy(density: .concrete) : ThinkingPolicy(kind: .discrete),
          plan: CompletionPlan([
            .think(budget: 6, ends: [], forcedEnd: [7]), .force([3]), .answer(DiscreteSampling(), budget: 5, stops: []),
          ]),
          noise: NoiseKey(seed: 3), policyVersion: 7))
    }
    var trajectories: [Trajectory] = []
    while !engine.isIdle { trajectories += try engine.step().map(\.trajectory) }
    return trajectories.sorted { ($0.groupID, $0.sampleIndex) < ($1.groupID, $1.sampleIndex) }.map {
      var trajectory = $0
      trajectory.reward = Float(trajectory.sampleIndex % 3)
      return CollectedTrajectory(
        trajectory: trajectory, workerName: trajectory.sampleIndex % 2 == 0 ? "even" : "odd",
        fingerprint: "learner's own", elapsedMicroseconds: 1)
    }
  }

  private struct Result {
    var outcome: UpdateOutcome
    /// Hash of the new weights: a failed comparison of them all would take minutes to print.
    var weights: Digest
    var audit: LogProbAudit
    var log: [String]
  }

  private func update(
    _ samples: [CollectedTrajectory], holds: Bool = true, fraction: Double = 0, cap: Float? = nil, version: Int = 7,
    miniBatch: Int = groupSize, learningRate: Double = 0.05, rounds: Int = 1,
    offPolicy: OffPolicyCorrection = .behaviour, change: (inout UpdateMethod) -> Void = { _ in },
    reference: ModelWeights? = nil
  ) throws -> Result {
    let lines = LogLines()
    let audit = LogProbAudit(
      fingerprint: "learner's own", equalityHolds: holds, fraction: fraction,
      logger: Logger(label: "test") { _ in CapturingLogHandler(lines: lines) })
    var method = try UpdateMethod(
      loss: Loss(), advantage: advantageEstimators.make(advantageEstimators.describe("grpo")), offPolicy: offPolicy)
    change(&method)
    let update = BatchUpdate(
      method: method,
      options: UpdateOptions(optimizer: AdamW(learningRate: learningRate)), tokenBudget: 60,
      reference: try reference.map {
        PreparedModel($0, backend: try matrixBackend(for: .bfloat16), trainable: false, positions: 64, team: team)
      },
      audit: audit,
      importanceCap: cap, team: team)
    let state = LearnerState(
      layout: weights.layout, values: (0..<weights.count).map { Float(weights.elements[$0]) })
    var model = try model()
    var outcome = UpdateOutcome()
    for _ in 0..<rounds {
      outcome = try update.run(samples, state: state, model: &model, version: version, miniBatch: miniBatch)
    }
    return Result(
      outcome: outcome, weights: VersionHash.leaf(UnsafeRawBufferPointer(model.weights.elements)), audit: audit,
      log: lines.all)
  }

  /// Shifts one log-prob of a sample.
  private func tampered(_ samples: [CollectedTrajectory], _ index: Int, by shift: Float) -> [CollectedTrajectory] {
    var samples = samples
    samples[index].trajectory.segments = samples[index].trajectory.segments.map { segment in
      switch segment {
      case .soft(var soft):
        soft.logProbs[1] += shift
        return .soft(soft)
      case .discrete(var discrete)
      where discrete.tokenIDs.count > 1 && samples[index].trajectory.policy.kind == .discrete:
        discrete.logProbs[1] += shift
        return .discrete(discrete)
      default: return segment
      }
    }
    return samples
  }

  @Test func honestWorkersAreReliedOnAndEverythingFreeIsCompared() throws {
    let result = try update(samples(), fraction: 0.05, cap: 2)
    let audit = result.outcome.audit
    // Of each group's six, the two with the mean reward have no advantage and no pass.
    #expect(audit.audited == 4 && audit.failures == 0 && audit.recomputed == 0)
    #expect(audit.maximum == 0 && audit.mean == 0 && audit.steps > 30)
    #expect(result.outcome.sums.importanceMean == 1 && result.outcome.sums.importanceClipFraction == 0)
    #expect(result.log.isEmpty && result.audit.caught.isEmpty)
    // The second mini-batch sees moved weights: its ratios are not 1.
    #expect(result.outcome.sums.ratioMaximum > 1.001)
  }

  /// What is recomputed is what an honest worker sent: the new weights have the same bits either way.
  @Test func recomputingGivesTheSameBits() throws {
    let samples = try samples()
    let expected = try update(samples).weights
    var foreign = samples
    for index in foreign.indices { foreign[index].fingerprint = "another processor" }
    let recomputed = try update(foreign, fraction: 1, cap: 2)
    #expect(recomputed.weights == expected)
    #expect(recomputed.outcome.audit.recomputed == 1 && recomputed.outcome.audit.audited == 0)
    #expect(recomputed.outcome.audit.maximum == 0 && recomputed.outcome.sums.importanceMean == 1)
    let failedSelfTest = try update(samples, holds: false, cap: 2)
    #expect(failedSelfTest.weights == expected && failedSelfTest.outcome.audit.recomputed == 1)
    #expect(failedSelfTest.outcome.sums.importanceCount > recomputed.outcome.audit.steps / 2)
    #expect(try update(samples, fraction: 1).weights == expected)
  }

  /// In the first mini-batch a tampered log-prob is noticed at no cost and has no effect; its worker is not relied on in
  /// the mini-batches after it.
  @Test func aTamperedLogProbIsNoticedInTheFirstMiniBatch() throws {
    let honest = try samples()
    let expected = try update(honest).weights
    let bad = tampered(tampered(honest, 2, by: 0.5), Self.groupSize + 2, by: -0.75)
    let result = try update(bad)
    #expect(result.outcome.audit.failures == 2 && result.audit.caught == ["even"])
    #expect(result.outcome.audit.recomputed == 0.5)
    #expect(result.outcome.audit.maximum! > 0.001 && result.outcome.audit.mean! > 0)
    #expect(result.weights == expected, "recomputed in both mini-batches, without a correction")
    try #require(result.log.count == 1)
    let recorded = try #require(bad[2].trajectory.recordedLogProbs)[1]
    let computed = try #require(honest[2].trajectory.recordedLogProbs)[1]
    for part in [
      "warning", "worker even", "prompt prompt-0", "sample 2", "scored step 1", "\(recorded)", "\(computed)",
      hexadecimal(recorded), hexadecimal(computed),
    ] {
      #expect(result.log[0].contains(part), "\(part): \(result.log[0])")
    }
    // With the correction on, the tampered step weighs exp(-0.5): the weights are others, and bounded.
    let corrected = try update(bad, cap: 2)
    #expect(corrected.weights != expected)
    #expect(corrected.outcome.sums.importanceMean! != 1)
  }

  /// One differing bit is enough.
  @Test func aSingleBitIsEnough() throws {
    var bad = try samples()
    bad[2].trajectory.segments = bad[2].trajectory.segments.map { segment in
      guard case .soft(var soft) = segment else { return segment }
      soft.logProbs[0] = soft.logProbs[0].nextUp
      return .soft(soft)
    }
    let result = try update(bad)
    #expect(result.audit.caught == ["even"] && result.outcome.audit.failures == 1 && result.log.count == 1)
  }

  /// Later mini-batches are compared only as far as the audit reaches.
  @Test func theAuditReachesLaterMiniBatches() throws {
    let honest = try samples()
    let expected = try update(honest).weights
    let bad = tampered(honest, Self.groupSize + 3, by: 0.5)
    let unseen = try update(bad, fraction: 0)
    #expect(unseen.outcome.audit.failures == 0 && unseen.log.isEmpty && unseen.weights != expected)
    let seen = try update(bad, fraction: 1)
    #expect(seen.outcome.audit.audited == 2 * Self.groupSize && seen.outcome.audit.failures == 1)
    #expect(seen.audit.caught == ["odd"] && seen.weights == expected)
  }

  /// A worker that computes in fp32 but names the learner's fingerprint.
  @Test func aLyingFingerprintIsFoundOut() throws {
    var mixed = try samples()
    let other = try samples(.float32)
    for index in mixed.indices where mixed[index].workerName == "odd" { mixed[index] = other[index] }
    let result = try update(mixed, cap: 2)
    #expect(result.audit.caught == ["odd"], "\(result.log)")
    #expect(result.log.count == 1 && result.log[0].contains("worker odd") && result.log[0].contains("learner's own"))
    #expect(result.outcome.audit.failures >= 1 && result.outcome.audit.recomputed == 0.5)
    #expect(result.outcome.audit.maximum! > 0)
    let weight = try #require(result.outcome.sums.importanceMean)
    #expect(weight != 1 && abs(weight - 1) < 0.1)
    // Once caught it stays so; the other worker goes on being relied on. (At learning rate 0 the weights stay.)
    let twice = try update(mixed, cap: 2, learningRate: 0, rounds: 2)
    #expect(twice.log.count == 1 && twice.audit.caught == ["odd"])
    #expect(twice.outcome.audit.failures == 0 && twice.outcome.audit.recomputed == 0.5)
    #expect(twice.outcome.audit.audited == 2 && twice.outcome.audit.maximum! > 0)
  }

  @Test func trajectoriesOfOlderVersionsKeepTheirWorkersLogProbs() throws {
    let bad = tampered(try samples(), 2, by: 0.5)
    let result = try update(bad, fraction: 1, cap: 2, version: 8)
    let audit = result.outcome.audit
    #expect(
      audit.steps == 0 && audit.audited == 0 && audit.recomputed == 0 && audit.maximum == nil && audit.mean == nil)
    #expect(result.outcome.sums.importanceMean == nil && result.log.isEmpty)
    #expect(result.outcome.sums.ratioMaximum > 1, "the shifted log-prob is the denominator")
  }

  /// Decoupled clipping of samples whose weights have not changed since is no change: the proximal policy's log-probs are
  /// the recorded ones, the weights 1.
  @Test func decoupledClippingOfAnUnchangedPolicyIsTheOnPolicyUpdate() throws {
    let samples = try samples()
    let expected = try update(samples)
    let result = try update(samples, fraction: 1, cap: 2, version: 8, offPolicy: .decoupled(weightCap: 5))
    #expect(result.weights == expected.weights)
    let statistics = result.outcome.sums
    #expect(statistics.behaviourMean == 1 && statistics.behaviourClipFraction == 0)
    #expect(statistics.behaviourCount == statistics.slotCount && statistics.importanceMean == nil)
    #expect(result.outcome.audit.steps == 0 && result.outcome.audit.maximum == nil)
  }

  /// Every log-prob of every sample shifted.
  private func shifted(_ samples: [CollectedTrajectory], by shift: Float) -> [CollectedTrajectory] {
    var samples = samples
    for index in samples.indices {
      samples[index].trajectory.segments = samples[index].trajectory.segments.map { segment in
        switch segment {
        case .soft(var soft):
          soft.logProbs = soft.logProbs.map { $0 + shift }
          return .soft(soft)
        case .discrete(var discrete):
          discrete.logProbs = discrete.logProbs.map { $0 + shift }
          return .discrete(discrete)
        case .forced, .replayed: return segment
        }
      }
    }
    return samples
  }

  /// The worker's log-probs are low by 1/2 in every slot: the learner is e^(1/2) = 1.65 times as sure of each, and e^5.5 of all 11.
  @Test(
    arguments: [
      ("none", [:], 1, 0), ("truncated_importance", ["correction_level": .text("sequence")], 2, 0),
      ("truncated_importance", ["correction_level": .text("geometric_mean")], 1.6487, 0),
      ("truncated_importance", ["correction_level": .text("sequence"), "correction_normalise": .flag(true)], 1, 0),
      ("masked_importance", [:], 0, 1), ("masked_importance", ["mask_mode": .text("token_truncate")], 1.6487, 0),
      ("masked_importance", ["mask_mode": .text("token_truncate"), "mask_maximum": .number(1.5)], 1.5, 0),
      ("rejection", [:], 1, 0), ("rejection", ["rejection_upper": .number(1.5)], 1, 1),
      ("rejection", ["rejection_reach": .text("seq_sum")], 1, 1),
      // Minus 1/2 of every slot: the policy has come nearer, not gone.
      ("off_policy_sequence_mask", ["off_policy_threshold": .number(0)], 1, 0),
      ("decoupled", ["decoupled_action": .text("mask")], 1.6487, 0),
      ("decoupled", ["decoupled_lower": .number(2)], 2, 0),
    ] as [(String, [String: ParameterValue], Double, Double)])
  func correctionsByName(_ name: String, _ given: [String: ParameterValue], _ mean: Double, _ dropped: Double) throws {
    let samples = shifted(try samples(), by: -0.5)
    let correction = try corrections.make(corrections.describe(name, given))
    // 0.05 would move the weights too far for anything to be compared.
    let result = try update(samples, holds: false, learningRate: 1e-4, change: { $0.correction = correction })
    let sums = result.outcome.sums
    let factor = try #require(sums["training/correction_mean"])
    #expect(abs(factor - mean) < 1e-3)
    #expect(sums["training/correction_dropped"] == dropped)
    // AdamW does not see a factor of the loss; the gradient's norm does.
    let plain = try update(samples, holds: false, learningRate: 1e-4).outcome.gradientNorm
    let expected = dropped == 1 ? 0 : mean * plain
    #expect(plain > 0 && abs(result.outcome.gradientNorm - expected) <= 0.02 * plain, "\(name)")
  }

  /// Of advantages below 0, those that the policy has left: the worker was surer than the learner is.
  @Test func theSequenceMaskDropsWhatThePolicyHasLeft() throws {
    let correction = try corrections.make(
      corrections.describe("off_policy_sequence_mask", ["off_policy_threshold": .number(0.4)]))
    let result = try update(
      shifted(samples(), by: 0.5), holds: false, learningRate: 1e-4, change: { $0.correction = correction })
    // Rewards 0, 1, 2 in turns: a third has a negative advantage.
    #expect(abs((result.outcome.sums["training/correction_dropped"] ?? 0) - 1 / 3.0) < 1e-6)
    #expect(result.outcome.gradientNorm > 0)
  }

  /// What the passes form by themselves and what is formed before the update are one formula.
  @Test func aSlotsCapIsTheCorrectionsFactor() throws {
    let samples = shifted(try samples(), by: -0.5)
    let correction = try corrections.make(corrections.describe("truncated_importance"))
    let caps = CorrectionCaps(importance: 1.5)
    #expect(correction.slotCap(caps) == SlotCap(importance: 1.5))
    let before = try update(
      samples, holds: false, learningRate: 1e-4,
      change: {
        $0.correction = correction
        $0.correctionCaps = caps
      })
    let inPass = try update(samples, holds: false, cap: 1.5, learningRate: 1e-4)
    #expect(before.weights == inPass.weights)
  }

  @Test func overlongSamplesLeaveTheStatisticsAndTheLoss() throws {
    var samples = try samples()
    for index in samples.indices { samples[index].trajectory.finishReason = index % 2 == 0 ? .length : .stop }
    let excluded = try update(samples, change: { $0.excludesOverlong = true })
    let kept = samples.filter { $0.trajectory.finishReason == .stop }
    let alone = try update(kept, miniBatch: Self.groupSize / 2)
    #expect(excluded.weights == alone.weights)
    let all = try update(samples)
    #expect(excluded.weights != all.weights)
    for index in samples.indices { samples[index].trajectory.finishReason = .length }
    #expect(try update(samples, change: { $0.excludesOverlong = true }).outcome.gradientNorm == 0)
  }

  /// The reference being the policy itself, nothing is taken off; another one takes what k3 says of it.
  @Test func thePenaltyInTheReward() throws {
    let samples = try samples()
    let penalty = UpdateMethod.RewardPenalty(coefficient: 0.5, estimator: .k2)
    let same = try update(samples, change: { $0.rewardPenalty = penalty }, reference: weights)
    let plain = try update(samples)
    #expect(same.outcome.sums["reward/kl_penalty"] == 0 && same.weights == plain.weights)
    let other = TinyModel.weights(weights.layout.configuration, seed: 5)
    let away = try update(samples, change: { $0.rewardPenalty = penalty }, reference: other)
    #expect((away.outcome.sums["reward/kl_penalty"] ?? 0) > 0 && away.weights != same.weights)
    #expect(throws: TrainingError.self) { try update(samples, change: { $0.rewardPenalty = penalty }) }
  }

  /// Half of the trajectories at first, and of their steps a fifth.
  @Test func theVarianceSelection() throws {
    let samples = try samples()
    let selection = try selections.make(selections.describe("d3s"))
    let early = try update(
      samples,
      change: {
        $0.selection = selection
        $0.totalSteps = 1000
      })
    let late = try update(
      samples,
      change: {
        $0.selection = selection
        $0.totalSteps = 7
      })
    let all = try update(samples)
    #expect(late.weights == all.weights && early.weights != all.weights && early.outcome.gradientNorm > 0)
  }

  /// Both forms see a shifted behaviour log-prob, each in its own way.
  @Test func decoupledClippingWeighsWhatTheOtherFormClips() throws {
    let shifted = tampered(tampered(try samples(), 2, by: -3), Self.groupSize + 2, by: -3)
    let behaviour = try update(shifted, version: 8, miniBatch: 2 * Self.groupSize)
    let decoupled = try update(
      shifted, version: 8, miniBatch: 2 * Self.groupSize, offPolicy: .decoupled(weightCap: 5))
    // exp(3) = 20: outside the clip range of the one, above the cap of the other's weights.
    #expect(behaviour.outcome.sums.ratioMaximum > 10 && behaviour.outcome.sums.behaviourMean == nil)
    #expect(decoupled.outcome.sums.ratioMaximum == 1 && decoupled.outcome.sums.clippedCount == 0)
    let statistics = decoupled.outcome.sums
    #expect(statistics.behaviourClippedCount == 3 && statistics.behaviourMean! > 1)
    #expect(behaviour.weights != decoupled.weights)
  }

  /// Staleness and mismatch are reported apart: the log-probs of older or several versions are never compared.
  @Test(arguments: [OffPolicyCorrection.behaviour, .decoupled(weightCap: 5)])
  func olderSamplesLeaveTheMismatchAlone(_ offPolicy: OffPolicyCorrection) throws {
    var mixed = try samples()
    for index in [2, 3, Self.groupSize + 2] {
      mixed = tampered(mixed, index, by: 0.5)
      mixed[index].trajectory.policyVersion = 6
    }
    mixed[3].trajectory.versionSpans = [VersionSpan(start: 0, version: 6), VersionSpan(start: 2, version: 7)]
    for cap in [nil, 2] as [Float?] {
      let result = try update(mixed, fraction: 1, cap: cap, offPolicy: offPolicy)
      let audit = result.outcome.audit
      #expect(audit.audited == 9 && audit.failures == 0 && audit.maximum == 0)
      #expect(audit.classes.count == 1 && audit.classes["learner's own"]?.maximum == 0)
      #expect(result.outcome.sums.importanceMean == (cap == nil ? nil : 1))
      #expect((result.outcome.sums.behaviourMean == nil) == (offPolicy == .behaviour))
      #expect(!result.log.contains { $0.hasPrefix("warning") })
    }
  }

  @Test func theMismatchIsReportedByKindOfWorker() throws {
    var mixed = try samples()
    let other = try samples(.float32)
    for index in mixed.indices where mixed[index].workerName == "odd" {
      mixed[index] = other[index]
      mixed[index].fingerprint = "another processor"
    }
    let result = try update(mixed, fraction: 1, cap: 2, rounds: 2)
    let classes = result.outcome.audit.classes
    #expect(classes.keys.sorted() == ["another processor", "learner's own"])
    #expect(classes["another processor"]!.maximum > 0)
    let notices = result.log.filter { $0.hasPrefix("notice") }
    #expect(
      notices.count == 1 && notices[0].contains("another processor") && notices[0].contains("unlike this learner"))
  }

  /// A step without gradient still audits at least one trajectory.
  @Test func stepsWithoutSignalAreAuditedToo() throws {
    var same = try samples()
    for index in same.indices { same[index].trajectory.reward = 1 }
    let result = try update(same, fraction: 0.05)
    #expect(result.outcome.audit.audited == 1 && result.outcome.audit.maximum == 0)
    #expect(result.outcome.gradientNorm == 0 && result.outcome.sums.slotCount == 0)
    #expect(try update(same, fraction: 0).outcome.audit.audited == 0)
    #expect(try update(same, fraction: 0.5).outcome.audit.audited == Self.groupSize)
  }

  @Test func theAuditsChoicePrefersWorkersNotYetCovered() throws {
    var all = try samples()
    for index in 8..<12 { all[index].workerName = "new" }
    for index in 6..<8 { all[index].fingerprint = "other" }
    let audit = LogProbAudit(fingerprint: "learner's own", equalityHolds: true, fraction: 0.5, logger: quiet)
    let chosen = audit.choose(all, covered: [0, 1], version: 7)
    #expect(chosen.count == 4 && Set(chosen) == [8, 9, 10, 11])
    #expect(audit.choose(all, covered: [0, 1], version: 7) == chosen)
    #expect(audit.choose(all, covered: Set(0..<6), version: 7).isEmpty)
    #expect(audit.choose(all, covered: [], version: 8).isEmpty, "other versions cannot be compared")
    // Other versions choose others.
    let choices = Set(
      (0..<20).map { version -> [Int] in
        var moved = all
        for index in moved.indices { moved[index].trajectory.policyVersion = version }
        return audit.choose(moved, covered: [], version: version).sorted()
      })
    #expect(choices.count > 5)
  }
}
