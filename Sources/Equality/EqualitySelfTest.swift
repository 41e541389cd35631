import Foundation
import Kernels
import Machine
import ModelFiles
import Rollouts
import Thinking
import Training
import Trajectories
import Transformer

/// Whether worker and learner compute the same bits with a model on this machine, tried out on the model itself: its
/// matrix products in batches of many sizes, then short trajectories of the sampling engine against the learner's pass.
public enum EqualitySelfTest {
  public struct Report: Sendable, Equatable {
    public enum Verdict: Sendable, Equatable {
      case passed
      /// The arithmetic promises nothing; nothing was tried.
      case noClaim(reason: String)
      /// Where the first difference is.
      case failed(Difference)
    }

    public var verdict: Verdict
    /// Products compared with a larger batch, log-probs compared with the learner's pass.
    public var products = 0
    public var logProbs = 0
    public var seconds = 0.0

    public var passed: Bool { verdict == .passed }

    /// One line for a log.
    public var summary: String {
      switch verdict {
      case .passed:
        "passed: \(products) products and \(logProbs) log-probs have the same bits in every batch (\(milliseconds) ms)"
      case .noClaim(let reason): "no claim: \(reason)"
      case .failed(let difference): "FAILED: \(difference)"
      }
    }

    private var milliseconds: Int { Int((seconds * 1000).rounded()) }
  }

  /// The first difference found.
  public enum Difference: Sendable, Equatable, CustomStringConvertible {
    case product(ProductDifference)
    /// A sample that came out differently with other slots and threads.
    case sampling(policy: String, sample: Int, slots: Int, threads: Int)
    /// A log-prob that the learner's pass computes differently: the policy of its trajectory, the place in it, both values.
    case logProb(policy: String, sample: Int, step: Int, worker: Float, learner: Float, pass: String)
    /// Sampling or scoring broke off.
    case error(String)

    public var description: String {
      switch self {
      case .product(let difference): "matrix product \(difference)"
      case .sampling(let policy, let sample, let slots, let threads):
        "sampling: \(policy) sample \(sample) is another with \(slots) slots on \(threads) threads"
      case .logProb(let policy, let sample, let step, let worker, let learner, let pass):
        "log-prob: \(policy) sample \(sample) step \(step): \(worker) (\(hexadecimal(worker))) when sampled, \(learner) "
          + "(\(hexadecimal(learner))) in \(pass)"
      case .error(let reason): "it could not be completed: \(reason)"
      }
    }
  }

  /// Runs the test; bounded by about 100 decoded steps and 2,000 rows of each product.
  ///
  /// - Parameters:
  ///   - policies: thinking policies that are mixed in the batches; every trainable one in each of its variants unless given.
  ///   - positions: longest sequence that the model was prepared for.
  ///   - team: the learner's threads; one thread is tried too.
  public static func run(
    _ model: PreparedModel, policies: [ThinkingPolicy] = ThinkingPolicies.trainable, positions: Int? = nil,
    team: ThreadTeam
  ) -> Report {
    guard model.backend.isBatchInvariant else {
      return Report(
        verdict: .noClaim(
          reason: "\(model.computeType.rawValue) products (\(model.backend.summary)) may depend on the batch"))
    }
    let start = MonotonicClock.seconds()
    var report = Report(verdict: .passed)
    let products = ProductInvariance.check(model, team: team)
    report.products = products.compared
    if let difference = products.difference {
      report.verdict = .failed(.product(difference))
    } else {
      do {
        let room = min(positions ?? model.rotary.positions, model.rotary.positions)
        if let difference = try compareTrajectories(
          model, requests: requests(model, policies: policies, positions: room), team: team, report: &report)
        {
          report.verdict = .failed(difference)
        }
      } catch { report.verdict = .failed(.error("\(error)")) }
    }
    report.seconds = MonotonicClock.seconds() - start
    return report
  }

  /// Two samples a policy; prompts of several lengths, across the key/value pages of 64 positions where there is room; a
  /// forced prefix before the answer.
  private static func requests(
    _ model: PreparedModel, policies: [ThinkingPolicy], positions: Int
  ) -> [SamplingRequest] {
    let vocabulary = model.configuration.vocabularySize
    func token(_ index: Int) -> Int32 { Int32((index &* 7919 &+ 13) % vocabulary) }
    var result: [SamplingRequest] = []
    for (index, policy) in policies.enumerated() {
      func makePlan(thinking: Int) -> CompletionPlan {
        CompletionPlan([
          .think(budget: thinking, ends: [], forcedEnd: [token(1)]), .force([token(2)]),
          .answer(DiscreteSampling(), budget: 3, stops: []),
        ])
      }
      var plan = makePlan(thinking: 3 + 2 * (index % 3))
      if positions <= plan.longestCompletion { plan = makePlan(thinking: 1) }
      guard positions > plan.longestCompletion else { continue }
      // Completions that cross the end of a page, and a prompt that does.
      let length = min([60, 5, 66, 33][index % 4], positions - plan.longestCompletion)
      result.append(
        SamplingRequest(
          id: UInt64(index), promptID: "self-test", groupOrdinal: UInt64(index),
          prompt: (0..<length).map { token(1000 * (index + 1) + $0) }, sampleIndices: [0, 1], policy: policy,
          plan: plan, noise: NoiseKey(seed: 1), policyVersion: 0))
    }
    return result
  }

  private static func compareTrajectories(
    _ model: PreparedModel, requests: [SamplingRequest], team: ThreadTeam, report: inout Report
  ) throws -> Difference? {
    let alone = ThreadTeam(threadCount: 1)
    let positions = min(
      model.rotary.positions, max(2, requests.map { $0.prompt.count + $0.plan.longestCompletion }.max() ?? 2))
    func sample(slots: Int, _ team: ThreadTeam) throws -> [Trajectory] {
      let engine = try SamplingEngine(model: model, slots: slots, maximumPositions: positions, team: team)
      for request in requests { try engine.submit(request) }
      var result: [Trajectory] = []
      while !engine.isIdle { result += try engine.step().map(\.trajectory) }
      return result.sorted { ($0.groupID, $0.sampleIndex) < ($1.groupID, $1.sampleIndex) }
    }
    // Few slots for the samples: they are refilled while others are in the middle of theirs.
    let trajectories = try sample(slots: 3, alone)
    let others = try sample(slots: max(1, trajectories.count), team)
    for (one, other) in zip(trajectories, others) where !sameBits(one, other) {
      return .sampling(
        policy: one.policy.label, sample: one.sampleIndex, slots: trajectories.count, threads: team.threadCount)
    }
    // The learner's pass over all of them at once, and over a few at a time.
    let whole = trajectories.reduce(0) { $0 + $1.prompt.count + $1.completionCount }
    for (budget, team, pass) in [
      (max(1, whole), team, "one pass over all trajectories"), (80, alone, "a small pass on one thread"),
    ] {
      let scores = try scoreTrajectories(trajectories, model: model, tokenBudget: budget, team: team)
      for (trajectory, scores) in zip(trajectories, scores) {
        let recorded = trajectory.recordedLogProbs ?? []
        for (step, (worker, learner)) in zip(recorded, scores.flatMap { $0 }).enumerated() {
          report.logProbs += 1
          if worker.bitPattern != learner.bitPattern {
            return .logProb(
              policy: trajectory.policy.label, sample: trajectory.sampleIndex, step: step, worker: worker,
              learner: learner, pass: pass)
          }
        }
      }
    }
    return nil
  }

  private static func sameBits(_ a: Trajectory, _ b: Trajectory) -> Bool {
    func bits(_ trajectory: Trajectory) -> [UInt32] { (trajectory.recordedLogProbs ?? []).map(\.bitPattern) }
    return a == b && bits(a) == bits(b)
  }
}
