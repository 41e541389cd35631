import Testing
import TestSupport
import Thinking
import Trajectories

@testable import Wire

@Suite struct PlanCodingTests {
  private func lease(_ stages: [Stage]) -> Lease {
    var messages = RandomMessages(seed: 11)
    var lease = messages.lease()
    lease.plan = CompletionPlan(stages)
    return lease
  }

  private func decoded(_ frames: [[UInt8]]) throws -> Lease {
    guard case .grant(let leases) = try Envelope(decoding: frames).message else {
      throw WireError("not a grant")
    }
    return try #require(leases.first)
  }

  /// What a newer learner may ask for: it arrives, says what it is, and is not passed on without it.
  @Test func aStageThatIsNotKnownIsNotDropped() throws {
    let known = lease([.force([1, 2]), .answer(DiscreteSampling(), budget: 3, stops: [])])
    var frames = try Envelope(.grant([known])).encoded()
    #expect(try decoded(frames).unknown == nil)
    let name = Array("force".utf8)
    let place = try #require(
      frames[0].indices.first { $0 + name.count <= frames[0].count && Array(frames[0][$0..<$0 + name.count]) == name })
    frames[0].replaceSubrange(place..<place + name.count, with: Array("forge".utf8))
    let lease = try decoded(frames)
    #expect(lease.unknown == "the stage 'forge'")
    #expect(lease.plan.stages.count == 1 && lease.id == known.id)
    #expect(throws: WireError.self) { try Envelope(.grant([lease])).encoded() }
  }

  @Test func brokenPlansNeverTravel() throws {
    var soft = SoftSegment()
    soft.tokenIDs.append([1, 2])
    for stage in [
      Stage.force([-1]), .think(budget: -1, ends: [], forcedEnd: []),
      .answer(DiscreteSampling(temperature: .nan), budget: 1, stops: []),
      .answer(DiscreteSampling(topP: 0), budget: 1, stops: []), .replay(.soft(soft)),
    ] {
      #expect(throws: WireError.self) { try Envelope(.grant([lease([stage])])).encoded() }
    }
    #expect(throws: WireError.self) {
      try Envelope(.grant([lease([Stage](repeating: .force([1]), count: 257))])).encoded()
    }
  }
}
