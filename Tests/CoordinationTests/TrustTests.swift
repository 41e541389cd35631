import Testing

@testable import Coordination

/// Who may answer what, under which name, and how much of a claim counts.
@Suite struct TrustTests {
  @Test func whoeverWasGrantedASampleMayAnswerIt() {
    var ledger = GrantLedger()
    let (holder, second, stranger) = (Party.key("a"), Party.key("b"), Party.key("c"))
    ledger.granted([0, 1], ofGroup: 7, to: holder)
    ledger.granted([1], ofGroup: 7, to: second)
    func may(_ sample: Int, _ party: Party) -> Bool {
      ledger.wasGranted(SampleKey(groupOrdinal: 7, sampleIndex: sample), to: party)
    }
    #expect(may(0, holder) && may(1, holder) && may(1, second))
    #expect(!may(0, second) && !may(0, stranger) && !may(1, stranger) && !may(2, holder))
    ledger.revoke(holder)
    #expect(!may(0, holder) && may(1, second))
    ledger.forget(groupOrdinal: 7)
    #expect(!may(1, second) && ledger.count == 0)
  }

  @Test func partiesDifferByKindAndRelay() {
    #expect(Party.key("1") != Party.process(incarnation: 1))
    #expect(Party.key("1").behind(name: "x") != Party.key("2").behind(name: "x"))
  }

  @Test func aNameBelongsToWhoUsedItFirst() {
    var names = NameBindings()
    let (one, two) = (Party.key("1"), Party.key("2"))
    let first = [one, one, two].map { names.name(for: $0, asking: "box", own: "key \($0 == one ? "one" : "two")") }
    #expect(first == ["box", "box", "box (of key two)"])
    // A name that rotates does not make another worker of it, nor fill the memory.
    let shown = Set((0..<1000).map { names.name(for: two, asking: "name \($0)", own: "key two") })
    #expect(shown.count == NameBindings.limit + 1 && shown.contains("key two (under many names)"))
  }

  @Test func aClaimIsCappedByTheFleetAndThenByWhatWasShown() {
    var claims = ClaimedSpeed()
    #expect(claims.believed(1e12, median: 100) == 10_000)
    #expect(claims.believed(100, median: 100) == 100)
    #expect(claims.believed(1e12, median: nil) == 1e12)
    // Four samples held, 50 tokens each that took a second: 200 tokens a second.
    for _ in 0..<ClaimedSpeed.samples { claims.finished(tokens: 50, held: 4, seconds: 1) }
    #expect(claims.measured == 200)
    #expect(claims.believed(1e12, median: 100) == 800 && claims.believed(300, median: 100) == 300)
    // What it shows while it is lent little takes nothing back.
    for _ in 0..<100 { claims.finished(tokens: 50, held: 1, seconds: 10) }
    #expect(claims.believed(1e12, median: 100) == 800)
  }

  @Test func aClaimedSpeedTakesNoMoreThanItsShare() throws {
    var registry = WorkerRegistry(heartbeatInterval: .seconds(1), livenessTimeout: .seconds(10))
    var table = LeaseTable(staleness: StalenessPolicy(maximum: 0), leaseDuration: .seconds(30))
    table.advance(to: 0)
    try table.enqueue(groupOrdinal: 0, sampleCount: 101, dueVersion: 0)
    for (index, speed) in [100.0, 1e12].enumerated() {
      let id = WorkerID(UInt64(index))
      registry.join(id, name: "", incarnation: UInt64(index), fingerprint: "", now: .zero)
      registry.report(id, heldVersion: 0, tokensPerSecond: speed, activeSlots: 4)
      registry.addCredits(1000, to: id)
    }
    _ = LeasePlanner.plan(&table, &registry, now: .zero)
    #expect(table.leasedCount(of: WorkerID(0)) == 1 && table.leasedCount(of: WorkerID(1)) == 100)
  }

  /// Issue 9: a build that does not know a method is not asked for it again, and its share is the others'.
  @Test func whatWasDeclinedIsNotOfferedAgain() throws {
    var registry = WorkerRegistry(heartbeatInterval: .seconds(1), livenessTimeout: .seconds(10))
    var table = LeaseTable(staleness: StalenessPolicy(maximum: 0), leaseDuration: .seconds(30))
    table.advance(to: 0)
    for ordinal in 0..<4 {
      try table.enqueue(groupOrdinal: ordinal, sampleCount: 4, dueVersion: 0, kind: ordinal == 3 ? 1 : 0)
    }
    let (old, new) = (WorkerID(1), WorkerID(2))
    registry.join(old, name: "", incarnation: 1, fingerprint: "", now: .zero)
    registry.addCredits(100, to: old)
    let first = try #require(LeasePlanner.plan(&table, &registry, now: .zero).first)
    table.decline(groupOrdinal: first.groupOrdinal, by: old)
    for lease in table.outstanding where lease.groupOrdinal != 3 {
      table.giveBack(lease.id, samples: lease.sampleIndices, by: old, isLoss: false)
    }
    registry.addCredits(100, to: old)
    #expect(LeasePlanner.plan(&table, &registry, now: .zero).isEmpty && table.queuedSampleCount == 12)
    #expect(table.leasedCount(of: old) == 4)
    #expect(table.refusedGroups(by: [old]) == [0, 1, 2] && table.refusedGroups(by: [old, new]).isEmpty)
    registry.join(new, name: "", incarnation: 2, fingerprint: "", now: .zero)
    registry.addCredits(100, to: new)
    _ = LeasePlanner.plan(&table, &registry, now: .zero)
    #expect(table.leasedCount(of: new) == 12)
    // The same process under a new session has not learnt anything; another one may have.
    let again = WorkerID(3)
    table.transfer(from: old, to: again)
    #expect(table.refusedGroups(by: [again]).isEmpty && table.declined[again] == [0])
  }

  @Test func aFloodIsRationed() {
    var budget = PeerBudget()
    var lines = 0
    // A thousand lines a second for a minute.
    for index in 0..<60_000 where budget.logLine(now: .milliseconds(index)) != nil { lines += 1 }
    #expect((55...61).contains(lines))
    let unlogged = budget.logLine(now: .seconds(70))
    #expect(unlogged ?? 0 > 1000)
    let hellos = (0..<100).count { _ in budget.hello(now: .zero) }
    #expect(hellos == 20)
    // A version of a hundred chunks may come four times; after that 64 chunks a second.
    func pull(_ version: Int, _ count: Int, _ now: Duration) -> Bool {
      budget.pull(version: version, isDelta: false, count: count, of: 100, now: now)
    }
    let pulls = (0..<100).count { _ in pull(1, 10, .zero) }
    let (later, another) = (pull(1, 64, .seconds(1)), pull(2, 64, .seconds(1)))
    #expect(pulls == 46 && later && another)
  }

  @Test func turnsBetweenVersionsAreRationedToo() {
    var budget = PeerBudget()
    let pulls = (0..<1000).count { budget.pull(version: $0 % 2, isDelta: $0 % 3 == 0, count: 10, of: 10, now: .zero) }
    // Four names, four times each, and 64 chunks.
    #expect(pulls == 4 * PeerBudget.pullFactor + 6)
    var many = PeerBudget()
    let shared = (0..<100).count { _ in
      many.pull(version: 1, isDelta: false, count: 64, of: 64, sessions: 10, now: .zero)
    }
    #expect(shared == PeerBudget.pullFactor + 9 + 1)
  }

  @Test func messagesThatLeadNowhereAreCounted() {
    var worker = PeerBudget.messages(isRelay: false)
    let heard = (0..<100_000).count { _ in worker.take(now: .zero) }
    #expect(heard == 2048)
    // Accepted samples pay for themselves for ever.
    for _ in 0..<10 { worker.put(3) }
    let more = (0..<100).count { _ in worker.take(now: .zero) }
    #expect(more == 30)
  }
}
