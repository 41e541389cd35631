import Coordination
import Testing
import Thinking
import Trajectories

@testable import FrontEnd

/// Groups from their submission until the trainer has them, without a lease table.
@Suite struct SubmittedGroupsTests {
  func group(_ ordinal: Int) -> PromptGroup {
    PromptGroup(
      ordinal: ordinal, promptID: "p\(ordinal)", prompt: [1, 2], sampleCount: 2, policy: ThinkingPolicy(),
      plan: CompletionPlan([]), noiseSeed: 1)
  }

  func sample(_ ordinal: Int, _ index: Int, version: Int = 0) -> CollectedTrajectory {
    CollectedTrajectory(
      trajectory: Trajectory(
        promptID: "p\(ordinal)", groupID: ordinal, sampleIndex: index, policy: ThinkingPolicy(), policyVersion: version,
        prompt: [1, 2], segments: [], finishReason: .stop),
      workerName: "w", fingerprint: "f", elapsedMicroseconds: 1)
  }

  @Test func theOldestCompleteGroupComesFirstAndOnce() {
    var groups = SubmittedGroups()
    for ordinal in [3, 5] { groups.add(group(ordinal)) }
    for ordinal in [5, 3] {
      groups.noteGrant(of: ordinal, now: .seconds(1))
      groups.noteGrant(of: ordinal, now: .seconds(2))
      for index in [1, 0] { groups.accept(sample(ordinal, index), of: ordinal) }
      groups.complete(ordinal, now: .seconds(10 + ordinal))
      groups.complete(ordinal, now: .seconds(99))
    }
    #expect(groups.completedCount == 2)
    #expect(groups.takeCompleted(below: 3) == nil)
    let first = groups.takeCompleted()
    #expect(first?.ordinal == 3 && first?.samples.map(\.trajectory.sampleIndex) == [0, 1])
    #expect(first?.firstGranted == .seconds(1) && first?.completed == .seconds(13))
    #expect(groups[3] == nil && groups[5] != nil)
    #expect(groups.takeCompleted()?.ordinal == 5 && groups.takeCompleted() == nil)
  }

  @Test func groupsThatWerePutBackAreTheNextOnes() {
    var groups = SubmittedGroups()
    for ordinal in [1, 2] {
      groups.add(group(ordinal))
      groups.complete(ordinal, now: .zero)
    }
    let second = (groups.takeCompleted(), groups.takeCompleted()).1!
    groups.add(group(0))
    groups.complete(0, now: .zero)
    groups.putBack([second])
    #expect(groups.takeCompleted(below: 2)?.ordinal == 0)
    #expect(groups.takeCompleted()?.ordinal == 2)
  }

  @Test func samplesThatAreOfNoUseAreNamedAndTheirGroupWaits() {
    var groups = SubmittedGroups()
    groups.add(group(4), keeping: [sample(4, 0, version: 1)])
    groups.accept(sample(4, 1, version: 3), of: 4)
    groups.complete(4, now: .zero)
    let removed = groups.removeSamples { sample, group in group.ordinal == 4 && sample.trajectory.policyVersion < 2 }
    #expect(removed == [SampleKey(groupOrdinal: 4, sampleIndex: 0)])
    groups.reopenGroups { _ in false }
    #expect(groups.takeCompleted() == nil && groups[4] != nil)
    groups.accept(sample(4, 0, version: 3), of: 4)
    groups.complete(4, now: .zero)
    #expect(groups.takeCompleted()?.samples.count == 2)
  }

  /// What nobody looks at is not kept; what belongs to no group is not taken.
  @Test func arrivalsAreKeptFromTheFirstLookOn() {
    var groups = SubmittedGroups()
    groups.add(group(0))
    groups.accept(sample(0, 0), of: 0)
    #expect(groups.takeArrivals().isEmpty)
    groups.accept(sample(0, 1), of: 0)
    groups.accept(sample(9, 0), of: 9)
    #expect(groups.takeArrivals().map(\.trajectory.sampleIndex) == [1])
    #expect(groups.takeArrivals().isEmpty)
    groups.forget(0)
    groups.complete(0, now: .zero)
    #expect(groups.takeCompleted() == nil)
  }

  @Test func aPartyIsCaughtOnce() {
    var caught = CaughtParties()
    let party = Party.key("a")
    #expect(caught.add(party, reason: "first") && !caught.add(party, reason: "second"))
    #expect(caught[party] == "first" && caught[.key("b")] == nil)
    #expect(caught.takeUnended().map(\.reason) == ["first"] && caught.takeUnended().isEmpty)
    caught.pardon(party)
    #expect(caught[party] == nil && caught.add(party, reason: "again"))
  }

  @Test func theCaughtBehindARelayAreNamed() {
    var caught = CaughtParties()
    let relay = Party.key("r")
    for party in [relay.behind(name: "b"), relay.behind(name: "a"), .key("other").behind(name: "c"), .key("r2")] {
      _ = caught.add(party, reason: "x")
    }
    #expect(caught.names(behind: relay) == ["a", "b"] && caught.names(behind: .key("none")).isEmpty)
    #expect(caught.all.count == 4)
  }

  @Test func theFirstReasonOfAnEndingStands() {
    var ending = FrontEndEnding()
    #expect(ending.announce("complete") && !ending.announce("other") && ending.announced == "complete")
    #expect(!ending.isFinished)
    ending.finish(failure: "broken")
    ending.finish()
    #expect(ending.isFinished && ending.failure == "broken")
  }
}
