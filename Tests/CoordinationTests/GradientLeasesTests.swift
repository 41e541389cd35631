import Testing
import TestSupport

@testable import Coordination

private let alice = WorkerID(1)
private let bob = WorkerID(2)

/// A state machine behind a reference, because expectations cannot call mutating methods.
private final class GradientDesk {
  var leases: GradientLeases
  var now: Duration = .zero

  init(_ rows: [Int], leaseDuration: Duration = .seconds(10)) {
    leases = GradientLeases(leafRows: rows, options: .init(leaseDuration: leaseDuration), firstLeaseID: 100)
  }

  func local() -> Int? { leases.takeLocal() }
  func finish(_ leaf: Int) { leases.finishLocal(leaf) }
  func grant(_ worker: WorkerID, rows: Double, seconds: Double = 1, isWorthwhile: Bool = true) -> GradientLeaseRecord? {
    leases.grant(
      to: worker, atMost: rows, now: now, isWorthwhile: { _ in isWorthwhile }, expectedSeconds: { _ in seconds })
  }
  func computed(_ id: UInt64, _ worker: WorkerID = alice) -> GradientVerdict {
    leases.computed(id, by: worker, now: now)
  }
  func complete(_ id: UInt64) -> Range<Int>? { leases.complete(id) }
  func revoke(_ id: UInt64, toLearner: Bool = false) { leases.revoke(id, toLearner: toLearner) }
  func remove(_ worker: WorkerID) -> [GradientLeaseRecord] { leases.remove(worker: worker) }
  func expire() -> [GradientLeaseRecord] { leases.expire(now: now) }
  func renew(_ ids: [UInt64], _ worker: WorkerID) -> [UInt64] { leases.renew(ids, by: worker, now: now) }
  func takeOver(rate: Double) -> GradientLeaseRecord? { leases.takeOver(learnerRowsPerSecond: rate, now: now) }
}

@Suite struct GradientLeasesTests {
  /// What the learner still has to do of the leaf that it is at.
  @Test func theLearnersLeafIsPartOfWhatIsLeft() {
    var leases = GradientLeases(leafRows: [100, 60], options: .init(leaseDuration: .seconds(10)), firstLeaseID: 1)
    #expect(leases.localRowsLeft(learnerRowsPerSecond: 10, now: .zero) == 0)
    #expect(leases.takeLocal(now: .seconds(5)) == 0)
    #expect(leases.localRowsLeft(learnerRowsPerSecond: 10, now: .seconds(7)) == 80)
    #expect(leases.localRowsLeft(learnerRowsPerSecond: 10, now: .seconds(70)) == 0)
    leases.finishLocal(0)
    #expect(leases.localRowsLeft(learnerRowsPerSecond: 10, now: .seconds(7)) == 0)
    // When it began is not known.
    #expect(leases.takeLocal() == 1)
    #expect(leases.localRowsLeft(learnerRowsPerSecond: 10, now: .seconds(7)) == 0)
  }

  @Test func learnerFromTheFrontWorkersFromTheBack() throws {
    let desk = GradientDesk([10, 10, 10, 10, 10, 10, 10])
    #expect(desk.local() == 0)
    // The last leaf alone: its pair would be leaf 7, which there is not; then aligned pairs.
    let first = try #require(desk.grant(alice, rows: 15))
    #expect(first.leaves == 6..<7 && first.rows == 10 && first.id == 100)
    let second = try #require(desk.grant(bob, rows: 25))
    #expect(second.leaves == 4..<6 && second.rows == 20)
    #expect(desk.local() == 1 && desk.leases.pendingRows == 20)
    let third = try #require(desk.grant(alice, rows: 1000))
    #expect(third.leaves == 2..<4, "leaves that are taken are not lent")
    #expect(desk.local() == nil && desk.grant(bob, rows: 1000) == nil)
    desk.finish(0)
    desk.finish(1)
    for lease in [second, third, first] {
      #expect(desk.computed(lease.id, lease.worker) == .wanted)
      #expect(desk.complete(lease.id) == lease.leaves)
    }
    #expect(desk.leases.isComplete && desk.leases.outstanding.isEmpty)
    let counters = desk.leases.counters
    #expect(
      counters.granted == 3 && counters.accepted == 3 && counters.acceptedLeaves == 5 && counters.localLeaves == 2)
  }

  /// Lent runs are nodes of the tree, whatever was taken before.
  @Test(arguments: 0..<40) func runsAreAligned(seed: Int) {
    var random = SeededRandom(UInt64(seed + 1))
    let count = 1 + Int(random.next() % 40)
    let desk = GradientDesk((0..<count).map { _ in 1 + Int(random.next() % 9) })
    var done = 0
    while !desk.leases.isComplete {
      if random.next() % 3 == 0, let leaf = desk.local() {
        desk.finish(leaf)
        done += 1
      } else if let lease = desk.grant(alice, rows: Double(random.next() % 60)) {
        let size = lease.leaves.count
        let whole = stride(from: 1, through: 64, by: 1).first { $0 & ($0 - 1) == 0 && $0 >= size }!
        #expect(lease.leaves.lowerBound % whole == 0 && (size == whole || lease.leaves.upperBound == count))
        #expect(lease.rows == desk.leases.leafRows[lease.leaves].reduce(0, +))
        if random.next() % 4 == 0 { desk.revoke(lease.id) } else { done += desk.complete(lease.id)!.count }
      }
    }
    #expect(done == count)
  }

  @Test func nothingIsLentThatIsNotWorthwhile() {
    let desk = GradientDesk([5, 5])
    #expect(desk.grant(alice, rows: 100, isWorthwhile: false) == nil && desk.leases.pendingRows == 10)
    // A share below one leaf still gets one, if that is worthwhile.
    #expect(desk.grant(alice, rows: 1)?.leaves == 1..<2)
  }

  @Test func lostWorkersLeavesAreLentAgain() throws {
    let desk = GradientDesk([1, 1, 1, 1])
    let lease = try #require(desk.grant(alice, rows: 2))
    #expect(desk.remove(bob).isEmpty)
    #expect(desk.remove(alice) == [lease] && desk.leases.pendingRows == 4)
    let again = try #require(desk.grant(bob, rows: 2))
    #expect(again.leaves == lease.leaves && again.id != lease.id)
    // What the lost one computed after all comes too late: somebody else is at it.
    #expect(desk.computed(lease.id) == .duplicate)
    #expect(desk.complete(lease.id) == nil)
    #expect(desk.computed(999) == .unknown)
    #expect(desk.complete(again.id) == again.leaves)
    #expect(desk.computed(again.id, bob) == .duplicate, "said twice")
    #expect(desk.leases.counters.duplicates == 2 && desk.leases.counters.revoked == 1)
  }

  @Test func aLostLeaseIsTakenUpAgainWhileNobodyElseHasIt() throws {
    let desk = GradientDesk([1, 1, 1, 1])
    let lease = try #require(desk.grant(alice, rows: 2))
    _ = desk.remove(alice)
    // Back under another session.
    #expect(desk.computed(lease.id, bob) == .wanted)
    #expect(desk.leases.lease(lease.id)?.worker == bob && desk.leases.lease(lease.id)?.isComputed == true)
    #expect(desk.complete(lease.id) == lease.leaves)
    #expect(desk.local() == 0)
  }

  @Test func leasesExpireUnlessRenewed() throws {
    let desk = GradientDesk([1, 1, 1, 1])
    let first = try #require(desk.grant(alice, rows: 1))
    let second = try #require(desk.grant(bob, rows: 1))
    desk.now = .seconds(9)
    #expect(desk.renew([first.id, second.id, 5], alice) == [second.id, 5], "bob's is not alice's")
    #expect(desk.expire().isEmpty)
    desk.now = .seconds(10)
    #expect(desk.expire() == [second])
    desk.now = .seconds(19)
    #expect(desk.expire().map(\.id) == [first.id] && desk.leases.pendingRows == 4)
  }

  @Test func stragglersAreTakenOver() throws {
    let desk = GradientDesk([10, 10, 10, 10], leaseDuration: .seconds(1000))
    let slow = try #require(desk.grant(alice, rows: 20, seconds: 4))
    #expect(desk.local() == 0 && desk.local() == 1)
    // The learner needs 20 s for it: the worker's 4 s are better.
    desk.now = .seconds(1)
    #expect(desk.takeOver(rate: 1) == nil)
    // A learner that needs 1 s is done sooner than in the 3 s that are left.
    #expect(desk.takeOver(rate: 20)?.id == slow.id)
    #expect(desk.local() == 2)
    #expect(desk.computed(slow.id) == .duplicate)
  }

  @Test func lateLeasesAreTakenOver() throws {
    let desk = GradientDesk([10, 10], leaseDuration: .seconds(1000))
    let late = try #require(desk.grant(alice, rows: 10, seconds: 4))
    #expect(desk.local() == 0)
    // Expected after 4 s; late after 4 x 1.5 + 0.5.
    desk.now = .milliseconds(6400)
    #expect(desk.takeOver(rate: 0.001) == nil)
    desk.now = .milliseconds(6500)
    #expect(desk.takeOver(rate: 0.001)?.id == late.id)
    #expect(desk.local() == 1)
  }

  /// Bytes that arrive move the expectation, so that a transfer under way is not given up …
  @Test func arrivingGradientsAreNotLate() throws {
    let desk = GradientDesk([10, 10], leaseDuration: .seconds(1000))
    let lease = try #require(desk.grant(alice, rows: 10, seconds: 4))
    desk.now = .seconds(5)
    desk.leases.arriving(lease.id, expectedSeconds: 3, now: desk.now)
    desk.now = .seconds(7)
    #expect(desk.takeOver(rate: 0.001) == nil)
    // … unless the learner is faster than what is left of it.
    #expect(desk.takeOver(rate: 100)?.id == lease.id)
  }

  @Test func whatIsNotUsableIsTheLearners() throws {
    let desk = GradientDesk([1, 1, 1, 1])
    let lease = try #require(desk.grant(alice, rows: 2))
    desk.revoke(lease.id, toLearner: true)
    let other = try #require(desk.grant(bob, rows: 10))
    #expect(other.leaves == 0..<2, "no worker gets these leaves again")
    #expect(desk.complete(other.id) == 0..<2)
    desk.leases.reject(0..<2)
    #expect(desk.grant(bob, rows: 10) == nil)
    for leaf in 0..<4 {
      #expect(desk.local() == leaf)
      desk.finish(leaf)
    }
    #expect(desk.leases.isComplete)
  }

  @Test func aSecondSessionTakesItsLeasesAlong() throws {
    let desk = GradientDesk([1, 1])
    let lease = try #require(desk.grant(alice, rows: 1))
    desk.leases.transfer(from: alice, to: bob)
    #expect(desk.remove(alice).isEmpty && desk.leases.lease(lease.id)?.worker == bob)
  }

  @Test func sharesEndAtTheSameTime() {
    // Two workers as fast as the learner, one of them 2 s away: 3 T = 10 + 2.
    let shares = GradientShares(
      rowsLeft: 100, learnerRowsPerSecond: 10,
      workers: [.init(rowsPerSecond: 10, delaySeconds: 0), .init(rowsPerSecond: 10, delaySeconds: 2)])
    #expect(abs(shares.seconds - 4) < 1e-9)
    #expect(abs(shares.rows[0] - 40) < 1e-9 && abs(shares.rows[1] - 20) < 1e-9)
    // One that is further away than the others need gets nothing, however fast it is.
    let far = GradientShares(
      rowsLeft: 100, learnerRowsPerSecond: 10,
      workers: [.init(rowsPerSecond: 1000, delaySeconds: 10), .init(rowsPerSecond: 10, delaySeconds: 0)])
    #expect(abs(far.seconds - 5) < 1e-9 && far.rows[0] == 0 && abs(far.rows[1] - 50) < 1e-9)
    #expect(GradientShares(rowsLeft: 100, learnerRowsPerSecond: 10, workers: []).seconds == 10)
  }

  @Test func ratesAreMeasured() {
    var rates = GradientRates()
    #expect(rates.rowsPerSecond(of: 7, threads: 4, learnerThreads: 2) == nil, "nothing to compare with yet")
    rates.learnerComputed(rows: 100, seconds: 2)
    #expect(rates.learnerRowsPerSecond == 50)
    #expect(rates.rowsPerSecond(of: 7, threads: 4, learnerThreads: 2) == 100)
    rates.workerComputed(7, rows: 100, seconds: 10, threads: 4)
    rates.workerComputed(7, rows: 100, seconds: 5, threads: 4)
    #expect(rates.rowsPerSecond(of: 7, threads: 4, learnerThreads: 2) == 15)
    #expect(rates.rowsPerSecond(of: 7, threads: 8, learnerThreads: 2) == 30, "a relay with twice the workers")
    rates.disappointed(7, rows: 100, seconds: 5, threads: 4)
    #expect(rates.rowsPerSecond(of: 7, threads: 4, learnerThreads: 2) == 15, "it may well be as fast as that")
    rates.disappointed(7, rows: 100, seconds: 20, threads: 4)
    #expect(rates.rowsPerSecond(of: 7, threads: 4, learnerThreads: 2) == 5)
    #expect(rates.isMeasured(7) && !rates.isMeasured(8))
    #expect(rates.bytesPerSecond(of: 7) == 1e8)
    rates.transferred(7, bytes: 1000, seconds: 2)
    #expect(rates.bytesPerSecond(of: 7) == 500 && rates.bytesPerSecond(of: 8) == 1e8)
  }
}
