import Testing
import TestSupport

@testable import Coordination

@Suite struct StateMachineTests {
  @Test func staleness() {
    let onPolicy = StalenessPolicy(maximum: 0)
    #expect(onPolicy.oldest(current: 3) == 3 && onPolicy.leaseVersions(current: 3) == 3...3)
    let lax = StalenessPolicy(maximum: 2)
    #expect(lax.oldest(current: 3) == 1 && lax.oldest(current: 1) == 0)
    #expect(lax.leaseVersions(current: 3) == 1...Int.max)
    // A group submitted ahead of its turn is judged when that comes.
    #expect(lax.leaseVersions(current: 3, due: 4) == 2...Int.max)
  }

  @Test func anyFrameIsASignOfLife() {
    var clock = ManualClock()
    var registry = WorkerRegistry(heartbeatInterval: .seconds(1), livenessTimeout: .seconds(3))
    registry.join(WorkerID(1), name: "a", incarnation: 7, fingerprint: "", now: clock.now)
    registry.join(WorkerID(2), name: "b", incarnation: 8, fingerprint: "", now: clock.now)
    clock.advance(by: .seconds(2))
    registry.heard(from: WorkerID(1), now: clock.now)
    #expect(registry.dueForHeartbeat(now: clock.now) == [WorkerID(1), WorkerID(2)])
    registry.sent(to: WorkerID(2), now: clock.now)
    #expect(registry.dueForHeartbeat(now: clock.now) == [WorkerID(1)])
    #expect(registry.lost(now: clock.now).isEmpty)
    clock.advance(by: .seconds(1))
    #expect(registry.lost(now: clock.now) == [WorkerID(2)])
    #expect(registry.session(ofIncarnation: 7) == WorkerID(1))
    registry.leave(WorkerID(2))
    #expect(registry.count == 1 && registry.session(ofIncarnation: 8) == nil)
  }

  @Test func creditsAreBoundedAndDrainingWorkersAreNotReady() {
    var registry = WorkerRegistry(heartbeatInterval: .seconds(1), livenessTimeout: .seconds(3))
    for id in 1...3 {
      registry.join(WorkerID(UInt64(id)), name: "", incarnation: UInt64(id), fingerprint: "", now: .zero)
    }
    #expect(registry.readyCount == 0)
    registry.addCredits(2, to: WorkerID(1))
    registry.addCredits(5, to: WorkerID(2))
    registry.addCredits(9, to: WorkerID(3))
    registry.drain(WorkerID(3))
    #expect(registry.readyCount == 2)
    registry.useCredits(5, of: WorkerID(2))
    #expect(registry.readyCount == 1)
    registry.addCredits(.max, to: WorkerID(1))
    registry.addCredits(.max, to: WorkerID(1))
    #expect(registry[WorkerID(1)]?.credits == WorkerRegistry.maximumCredits)
  }

  @Test func speedsAreThoseOfABusyWorker() {
    var registry = WorkerRegistry(heartbeatInterval: .seconds(1), livenessTimeout: .seconds(3))
    let id = WorkerID(1)
    registry.join(id, name: "", incarnation: 1, fingerprint: "", now: .zero)
    func speed() -> Double? { registry[id]?.speed }
    registry.report(id, heldVersion: 0, tokensPerSecond: 0, activeSlots: 0)
    #expect(speed() == nil)
    registry.report(id, heldVersion: 0, tokensPerSecond: 100, activeSlots: 8)
    // The tail of a step: few slots, few tokens.
    registry.report(id, heldVersion: 0, tokensPerSecond: 10, activeSlots: 1)
    #expect(speed() == 100)
    registry.report(id, heldVersion: 0, tokensPerSecond: 50, activeSlots: 7)
    #expect(speed() == 75)
    registry.report(id, heldVersion: 0, tokensPerSecond: 200, activeSlots: 1)
    #expect(speed() == 200)
  }

  @Test func aWorkerWithoutResultsIsStuck() {
    var registry = WorkerRegistry(heartbeatInterval: .seconds(1), livenessTimeout: .seconds(30))
    for id in 1...2 {
      registry.join(WorkerID(UInt64(id)), name: "", incarnation: UInt64(id), fingerprint: "", now: .zero)
    }
    #expect(!registry.isStuck(WorkerID(1), now: .seconds(1000)))
    registry.finished(WorkerID(1), after: .seconds(2), now: .seconds(10))
    registry.started(WorkerID(2), now: .seconds(10))
    #expect(!registry.isStuck(WorkerID(2), now: .seconds(16)))
    #expect(registry.isStuck(WorkerID(2), now: .seconds(17)))
    registry.finished(WorkerID(2), after: .seconds(7), now: .seconds(17))
    #expect(!registry.isStuck(WorkerID(2), now: .seconds(30)))
  }

  @Test func backoffGrowsToItsCeiling() {
    var backoff = Backoff(first: .seconds(1), ceiling: .seconds(4))
    let pauses = (0..<4).map { _ in backoff.pause(spread: 0.5) }
    #expect(pauses == [.seconds(1), .seconds(2), .seconds(4), .seconds(4)])
    backoff.reset()
    let first = backoff.pause(spread: 0)
    #expect(first == .milliseconds(750))
  }

  @Test func ordinalSetStaysSmallAndRight() {
    var random = SplitMix64(seed: 1)
    var set = OrdinalSet()
    var twin: Set<Int> = []
    for ordinal in (1000..<1200).shuffled(using: &random) {
      set.insert(ordinal)
      set.insert(ordinal)
      twin.insert(ordinal)
      #expect((995...1205).filter(set.contains) == twin.sorted())
    }
    #expect(set.ranges == [1000..<1200])
    #expect(!set.contains(-1) && !set.contains(.max))
  }
}
