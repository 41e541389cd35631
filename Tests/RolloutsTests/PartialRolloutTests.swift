import Kernels
import Testing
import Thinking
import Trajectories
import Transformer

@testable import Rollouts

/// Samples that go on under new weights.
@Suite struct PartialRolloutTests {
  private func sorted(_ trajectories: [Trajectory]) -> [Trajectory] {
    trajectories.sorted { ($0.groupID, $0.sampleIndex) < ($1.groupID, $1.sampleIndex) }
  }

  /// Samples some requests, with the weights replaced after some steps.
  private func sample(
    _ requests: [SamplingRequest], _ model: PreparedModel, then changes: [(step: Int, PreparedModel, version: Int)],
    slots: Int, team: ThreadTeam
  ) throws -> [Trajectory] {
    let engine = try SamplingEngine(model: model, slots: slots, maximumPositions: 200, team: team)
    for request in requests { try engine.submit(request) }
    var result: [Trajectory] = []
    var steps = 0
    while !engine.isIdle {
      for change in changes where change.step == steps {
        try engine.replaceModel(change.1, continuingAs: change.version)
      }
      result += try engine.step().map(\.trajectory)
      steps += 1
    }
    return sorted(result)
  }

  /// What was drawn, position by position: the first id of each step, and its log-prob where it has one.
  private func draws(_ trajectory: Trajectory) -> [(id: Int32, logProb: Float?)] {
    trajectory.segments.flatMap { segment -> [(id: Int32, logProb: Float?)] in
      switch segment {
      case .soft(let soft): (0..<soft.count).map { (soft.tokenIDs[$0].first!, soft.logProbs[$0]) }
      case .discrete(let discrete): zip(discrete.tokenIDs, discrete.logProbs).map { ($0, $1) }
      case .forced(let ids), .replayed(.tokens(let ids)): ids.map { ($0, nil) }
      case .replayed(.soft(let soft)): soft.tokenIDs.elements.prefix(soft.count).map { ($0, nil) }
      }
    }
  }

  /// The same weights under a new name change nothing but the names.
  @Test(arguments: Tiny.policies)
  func theKeysAndValuesAreKept(_ policy: ThinkingPolicy) throws {
    let team = ThreadTeam(threadCount: 1)
    let model = try Tiny.model(preferredComputeType, team: team)
    let requests = (0..<3).map { Tiny.request($0, policy: policy) }
    let expected = try Tiny.sample(requests, model, slots: 5, team: team)
    let renamed = try sample(
      requests, model, then: [(4, model, version: 4), (4, model, version: 5), (9, model, version: 6)], slots: 5,
      team: team)
    #expect(renamed.map(\.segments) == expected.map(\.segments))
    #expect(renamed.contains { $0.versionSpans.count == 3 } && renamed.contains { $0.versionSpans.isEmpty })
    for trajectory in renamed {
      try trajectory.validate(vocabularySize: 80, contextLength: 256, hiddenSize: 64)
      // Version 4 was replaced before it drew anything, unless a sample begins with version 5.
      #expect(!trajectory.versionSpans.contains { $0.version == 4 })
      #expect(trajectory.policyVersion == trajectory.versionSpans.first?.version ?? trajectory.policyVersion)
    }
  }

  /// Up to the change every step is the old version's, bit for bit; a sample that begins after it is the new version's alone.
  @Test func everyStepIsItsVersionsOwn() throws {
    guard preferredComputeType == .bfloat16 else { return }
    let team = ThreadTeam(threadCount: 1)
    let old = try Tiny.model(.bfloat16, team: team)
    let new = try Tiny.model(.bfloat16, team: team, scale: 7)
    let requests = [Tiny.request(1, samples: 4), Tiny.request(2, samples: 3)]
    let before = try Tiny.sample(requests, old, slots: 4, team: team)
    let after = try Tiny.sample(requests, new, slots: 4, team: team)
    let mixed = try sample(requests, old, then: [(5, new, version: 9)], slots: 4, team: team)
    var (changed, fresh) = (0, 0)
    for ((trajectory, before), after) in zip(zip(mixed, before), after) {
      guard trajectory.versionSpans.count == 2 else {
        // Finished before the change, or begun after it.
        let expected = trajectory.policyVersion == 9 ? after : before
        #expect(trajectory.versionSpans.isEmpty && trajectory.segments == expected.segments)
        if trajectory.policyVersion == 9 { fresh += 1 }
        continue
      }
      let start = trajectory.versionSpans[1].start
      #expect(trajectory.policyVersion == 3 && trajectory.versionSpans[0] == VersionSpan(start: 0, version: 3))
      #expect(trajectory.versionSpans[1].version == 9 && start >= 5)
      let (got, expected) = (draws(trajectory), draws(before))
      for position in 0..<min(5, start) {
        #expect(got[position].id == expected[position].id && got[position].logProb == expected[position].logProb)
      }
      if got.map(\.logProb) != expected.map(\.logProb) { changed += 1 }
    }
    #expect(changed >= 1 && fresh >= 1)
  }

  @Test func aWaitingPromptIsComputedAnew() throws {
    let team = ThreadTeam(threadCount: 1)
    let model = try Tiny.model(preferredComputeType, team: team)
    let engine = try SamplingEngine(model: model, slots: 2, maximumPositions: 200, team: team)
    try engine.submit(Tiny.request(1, promptLength: 70, samples: 5))
    _ = try engine.step()
    try engine.replaceModel(model, continuingAs: 4)
    var finished = 0
    while !engine.isIdle { finished += try engine.step().count }
    #expect(finished == 5 && engine.statistics.prefilledTokens == 140)
  }

  @Test func someSamplesOfARequestMayBeCancelled() throws {
    let team = ThreadTeam(threadCount: 1)
    let model = try Tiny.model(preferredComputeType, team: team)
    let requests = [Tiny.request(1, samples: 6), Tiny.request(2, samples: 2)]
    let whole = try Tiny.sample(requests, model, slots: 3, team: team)
    let engine = try SamplingEngine(model: model, slots: 3, maximumPositions: 200, team: team)
    for request in requests { try engine.submit(request) }
    _ = try engine.step()
    // One in flight, one waiting; then all of a request that waits.
    engine.cancel(1, samples: [0, 4])
    engine.cancel(2, samples: [0, 1])
    var result: [Trajectory] = []
    while !engine.isIdle { result += try engine.step().map(\.trajectory) }
    #expect(
      sorted(result).map(\.segments)
        == whole.filter { $0.groupID == 1 && ![0, 4].contains($0.sampleIndex) }.map(\.segments))
  }
}
