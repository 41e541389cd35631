import Coordination
import Kernels
import ModelFiles
import Rollouts
import Testing
import TestSupport
import Thinking
import Trajectories
import Transformer

@testable import FrontEnd
@testable import Learner

/// Which trajectories are looked at, and what is made of them.
@Suite struct RolloutVerificationTests {
  private let team = ThreadTeam(threadCount: 2)
  private static let plan = CompletionPlan(
    thinking: 8, endOfThinkingTokens: [7], answerPrefix: [3], maxAnswerTokens: 5, stopTokens: [9])

  private func model(_ seed: UInt64 = 4, rollouts type: RolloutDataType = .bfloat16) throws -> PreparedModel {
    PreparedModel(
      TinyModel.weights(GradientLeaseTests.configuration, seed: seed), backend: try rolloutBackend(for: type),
      trainable: false, positions: 64, team: team)
  }

  private func work(_ ordinal: Int, _ samples: Int, seed: UInt64 = 42) -> PromptGroup {
    PromptGroup(
      ordinal: ordinal, promptID: "p\(ordinal)", prompt: [1, 2, Int32(ordinal % 80)], sampleCount: samples,
      policy: ThinkingPolicy(), plan: Self.plan, noiseSeed: seed)
  }

  /// Samples of a group under some weights, by one worker.
  private func samples(
    _ work: PromptGroup, _ model: PreparedModel, party: Party, fingerprint: String = "ours", version: Int = 3
  ) throws -> [CollectedTrajectory] {
    let engine = try SamplingEngine(model: model, slots: 16, maximumPositions: 64, team: team)
    try engine.submit(
      SamplingRequest(
        id: 1, promptID: work.promptID, groupOrdinal: UInt64(work.ordinal), prompt: work.prompt,
        sampleIndices: Array(0..<work.sampleCount), policy: work.policy, plan: work.plan,
        noise: NoiseKey(seed: work.noiseSeed), policyVersion: version))
    var result: [Trajectory] = []
    while !engine.isIdle { result += try engine.step().map(\.trajectory) }
    return result.map {
      CollectedTrajectory(
        trajectory: $0, workerName: "w", fingerprint: fingerprint, elapsedMicroseconds: 0, party: party.description,
        sender: party.description)
    }
  }

  private func verification(
    _ extent: RolloutVerification.Extent, maxStaleness: Int = 0, equalityHolds: Bool = true
  ) -> RolloutVerification {
    RolloutVerification(
      extent: extent, fingerprint: "ours", equalityHolds: equalityHolds, maxStaleness: maxStaleness, team: team)
  }

  /// With `all`, everything that another seed gave is found; nothing honest is. With `off` nothing is looked at.
  @Test func allLooksAtEveryOne() throws {
    guard preferredComputeType == .bfloat16 else { return }
    let model = try model()
    let (good, evil) = (Party.key("good"), Party.key("evil"))
    let (verification, off) = (verification(.all), verification(.off))
    verification.begin(model, version: 3)
    off.begin(model, version: 3)
    let honest = try samples(work(1, 16), model, party: good)
    let forged = try samples(work(2, 16, seed: 43), model, party: evil)
    #expect(try verification.arrived(honest, of: work(1, 16)).isEmpty)
    let found = try verification.arrived(forged, of: work(2, 16))
    #expect(found.count == 16 && found.allSatisfy { $0.sample.party == evil.description })
    #expect(verification.summary.replayed == 32 && verification.summary.caught == 16)
    #expect(try off.arrived(forged, of: work(2, 16)).isEmpty)
    #expect(try off.conclude(forged.map { ($0, work(2, 16)) }).isEmpty && off.summary.replayed == 0)
  }

  /// With `sampled`, one at least of each key: whoever cheats in every trajectory is found in its first step.
  @Test func sampledLooksAtOneOfEveryKey() throws {
    guard preferredComputeType == .bfloat16 else { return }
    let model = try model()
    let verification = verification(.sampled)
    for step in 0..<20 {
      verification.begin(model, version: 3)
      let parties = (0..<4).map { Party.key("good \($0)") }
      var items: [(sample: CollectedTrajectory, work: PromptGroup)] = []
      for (index, party) in parties.enumerated() {
        let work = work(10 * step + index, 8)
        items += try samples(work, model, party: party).map { ($0, work) }
      }
      let forged = try samples(work(10 * step + 4, 8, seed: 43), model, party: .key("evil"))
      items += forged.map { ($0, work(10 * step + 4, 8)) }
      let found = try verification.conclude(items)
      #expect(found.count == 1 && found[0].sample.party == Party.key("evil").description)
      #expect(verification.summary.replayed == 5)
      // Asked again in the same step, nobody is looked at twice.
      #expect(try verification.conclude(items).isEmpty)
    }
  }

  /// Older versions are replayed while they are kept, and counted when they are not.
  @Test func olderVersionsAreKept() throws {
    guard preferredComputeType == .bfloat16 else { return }
    let models = try (0..<4).map { try model(UInt64($0 + 4)) }
    let verification = verification(.all, maxStaleness: 2)
    for version in 0..<4 {
      verification.begin(models[version], version: version)
      verification.end()
    }
    for version in 0..<4 {
      let work = work(version, 4)
      let honest = try samples(work, models[version], party: .key("good"), version: version)
      #expect(try verification.arrived(honest, of: work).isEmpty)
      var lied = try samples(work, models[version], party: .key("evil"), version: version)
      for index in lied.indices { lied[index].trajectory.sampleIndex += 4 }
      #expect(try verification.arrived(lied, of: work).count == (version == 0 ? 0 : 4))
    }
    #expect(verification.summary.unknownVersions == 8)
  }

  /// Without equal bits: honest foreign samples pass, other noise and absurd log-probs are caught with the third.
  @Test func foreignArithmeticIsHeldAgainstItsNoise() throws {
    let model = try model()
    let verification = verification(.sampled)
    verification.begin(model, version: 3)
    let honest = try samples(
      work(1, 32), try self.model(rollouts: .float32), party: .key("good"), fingerprint: "theirs")
    #expect(try verification.arrived(honest, of: work(1, 32)).isEmpty)
    #expect(verification.summary.foreign == 32)
    let forged = try samples(work(2, 8, seed: 43), model, party: .key("evil"), fingerprint: "theirs")
    #expect(try verification.arrived(Array(forged.prefix(2)), of: work(2, 8)).isEmpty)
    #expect(try verification.arrived([forged[2]], of: work(2, 8)).count == 1)
    var absurd = try samples(work(3, 3), model, party: .key("absurd"), fingerprint: "theirs")
    for index in absurd.indices {
      guard case .discrete(var answer)? = absurd[index].trajectory.segments.last else { continue }
      answer.logProbs[0] = 1e30
      absurd[index].trajectory.segments[absurd[index].trajectory.segments.count - 1] = .discrete(answer)
    }
    #expect(try verification.arrived(absurd, of: work(3, 3)).count == 1)
  }
}
