import Foundation
import Testing

@testable import Observability

/// Each rule with records that show it and records that nearly do.
@Suite struct WarningTests {
  private let facts = RunFacts(thinkingBudget: 48, answerBudget: 16, canEndThinking: false, directory: "runs/own")

  private func record(_ step: Int, _ metrics: [String: Double]) -> MetricsRecord {
    MetricsRecord(step: step, time: Double(step), metrics: metrics)
  }

  /// What is said over records that are all alike but for their step.
  private func said(_ steps: Int, _ metrics: [String: Double], facts: RunFacts? = nil) -> [RunWarning] {
    var watch = WarningWatch(facts ?? self.facts)
    return (1...steps).flatMap { watch.receive(record($0, metrics)) }
  }

  private let zeros: [String: Double] = [
    MetricName.rewardMaximum: 0, MetricName.rewardMinimum: 0, MetricName.rewardMean: 0, MetricName.rolloutTrained: 32,
    MetricName.thinkingEndRatio: 0, MetricName.unreadableAnswers: 0.66, MetricName.gradientNorm: 0,
    MetricName.groupsWithoutSignal: 4, MetricName.groups: 4,
  ]

  @Test func zerosAreExplainedWithinThreeSteps() throws {
    #expect(said(2, zeros).isEmpty)
    let warnings = said(3, zeros)
    // One warning with its causes, not three about the same.
    #expect(warnings.map(\.name) == ["no_reward"])
    let warning = try #require(warnings.first)
    #expect(warning.step == 3 && warning.what.contains("96 samples"))
    #expect(warning.causes.count == 2)
    #expect(warning.causes[0].why.contains("</think>"))
    #expect(warning.causes[0].remedy.contains("rollout.end_of_thinking_token"))
    #expect(warning.causes[1].why.contains("66 %") && warning.causes[1].remedy.contains("softgrpo reward --explain"))
    #expect(warning.lines.count == 3 && warning.lines.allSatisfy { $0.contains("[no_reward]") })
  }

  @Test func causesFollowTheRecords() {
    var able = facts
    able.canEndThinking = true
    #expect(said(3, zeros, facts: able)[0].causes[0].remedy.contains("max_thinking_tokens"))
    var read = zeros
    read[MetricName.unreadableAnswers] = 0
    read[MetricName.thinkingEndRatio] = 0.5
    let causes = said(3, read)[0].causes
    #expect(causes.count == 1 && causes[0].why.contains("none is right"))
    read[MetricName.completionLengthClipRatio] = 0.6
    #expect(said(3, read)[0].causes[0].why.contains("cut at their budget of 16"))
  }

  @Test func aStepWithARewardIsEnough() {
    var watch = WarningWatch(facts)
    var warnings = watch.receive(record(1, zeros)) + watch.receive(record(2, zeros))
    var better = zeros
    (better[MetricName.rewardMaximum], better[MetricName.thinkingEndRatio]) = (1, 0.5)
    better[MetricName.groupsWithoutSignal] = 3
    warnings += watch.receive(record(3, better)) + watch.receive(record(4, zeros)) + watch.receive(record(5, zeros))
    #expect(warnings.isEmpty)
  }

  @Test func itIsSaidAgainLessAndLessOften() {
    #expect(said(60, zeros).map(\.step) == [3, 13, 33])
    // Once it was over, its return is said at once.
    var watch = WarningWatch(facts)
    var steps: [Int] = []
    for step in 1...9 {
      var metrics = zeros
      if step == 5 {
        metrics[MetricName.rewardMaximum] = 1; metrics[MetricName.groupsWithoutSignal] = 0;
        metrics[MetricName.thinkingEndRatio] = 1
      }
      steps += watch.receive(record(step, metrics)).map(\.step)
    }
    #expect(steps == [3, 8])
  }

  /// A rule's name, figures at which it speaks, and figures at which it just does not.
  private static let thresholds: [(String, [String: Double], [String: Double])] = [
    (
      "no_signal", [MetricName.groups: 4, MetricName.groupsWithoutSignal: 4, MetricName.rewardMaximum: 1],
      [MetricName.groups: 4, MetricName.groupsWithoutSignal: 3, MetricName.rewardMaximum: 1]
    ),
    (
      "truncated", [MetricName.completionLengthClipRatio: 0.95], [MetricName.completionLengthClipRatio: 0.94]
    ),
    ("thinking_never_ends", [MetricName.thinkingEndRatio: 0], [MetricName.thinkingEndRatio: 0.01]),
    ("large_step", [MetricName.policyKL: -0.21], [MetricName.policyKL: 0.19]),
    ("one_hot", [MetricName.softnessLargestWeight: 0.995], [MetricName.softnessLargestWeight: 0.98]),
    (
      "mismatch", [MetricName.rolloutProbabilityDifferenceMean: 0.06],
      [MetricName.rolloutProbabilityDifferenceMean: 0.04]
    ),
  ]

  @Test(arguments: thresholds.indices) func eachRuleHasItsThreshold(_ index: Int) {
    let (name, bad, good) = Self.thresholds[index]
    let warnings = said(3, bad)
    #expect(warnings.map(\.name) == [name])
    #expect(warnings.allSatisfy { !$0.causes.isEmpty })
    #expect(said(12, good).isEmpty)
  }

  @Test func entropyIsComparedWithTheFirstSteps() {
    var watch = WarningWatch(facts)
    var names: [String] = []
    for step in 1...20 {
      names += watch.receive(record(step, [MetricName.entropy: step <= 10 ? 1 : 0.05])).map { "\($0.name) \($0.step)" }
    }
    #expect(names == ["entropy_collapsed 15"])
  }

  @Test func theDivergenceMustBeLargeAndRise() {
    func names(_ values: [Double]) -> [String] {
      var watch = WarningWatch(facts)
      return values.enumerated().flatMap {
        watch.receive(record($0.offset + 1, [MetricName.referenceKLLoss: $0.element])).map(\.name)
      }
    }
    #expect(names([0.6, 0.7, 0.8, 0.9, 1]) == ["kl_rising"])
    #expect(names([0.6, 0.7, 0.8, 0.7, 1]).isEmpty)
    #expect(names([0.1, 0.2, 0.3, 0.4, 0.5]).isEmpty)
  }

  @Test func aRunThatLearnedNothingSaysSo() throws {
    var watch = WarningWatch(facts)
    #expect(watch.ended() == nil)
    for step in 1...2 { _ = watch.receive(record(step, zeros)) }
    let warning = try #require(watch.ended())
    #expect(warning.what.contains("learned nothing") && warning.causes[0].why.contains("</think>"))
    var learned = zeros
    learned[MetricName.gradientNorm] = 0.1
    _ = watch.receive(record(3, learned))
    #expect(watch.ended() == nil)
  }

  @Test func aStallNamesWhoHoldsWhat() throws {
    var watch = StallWatch()
    func receive(_ accepted: Int, at now: Double) -> RunWarning? {
      watch.receive(
        step: 12, accepted: accepted, queued: 0,
        holders: [.init(name: "box-1", samples: 1), .init(name: "box-2", samples: 2), .init(name: "idle", samples: 0)],
        leaseSeconds: 60, now: now)
    }
    #expect(receive(10, at: 0) == nil && receive(10, at: 29) == nil)
    let warning = try #require(receive(10, at: 40))
    #expect(warning.what.contains("for 40 s: 3 are out (box-2 holds 2, box-1 holds 1)"))
    // Again when the wait has doubled.
    #expect(receive(10, at: 79) == nil && receive(10, at: 80) != nil)
    // A result ends it; samples of 50 s are then this run's pace.
    #expect(receive(11, at: 90) == nil && receive(12, at: 140) == nil)
    #expect(receive(12, at: 239) == nil && receive(12, at: 241) != nil)
  }

  @Test func namesAreDistinct() {
    #expect(Set(WarningRule.names).count == WarningRule.names.count)
    for rule in WarningRule.all { #expect(rule.yields.allSatisfy(WarningRule.names.contains)) }
  }

  @Test func thePageHasEveryRule() throws {
    let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("docs/reading-metrics.md")
    let text = try String(contentsOf: page, encoding: .utf8)
    for rule in WarningRule.all { #expect(text.contains("\n| `\(rule.name)` | \(rule.summary) |\n"), "\(rule.name)") }
    #expect(text.contains("\n| `\(WarningRule.stall)` | "))
  }
}
