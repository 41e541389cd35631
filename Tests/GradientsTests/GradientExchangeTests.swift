import Coordination
import Kernels
import Objectives
import Testing
import TestSupport
import Thinking
import Training
import Trajectories
import Wire

@testable import Gradients

/// The exchange by itself, with simulated time, workers and links.
@Suite struct GradientExchangeTests {
  private static let elementCount = 100_000

  func leaves(_ count: Int) -> [GradientLeaf] {
    (0..<count).map { index in
      let tokens = [Int32](repeating: 1, count: 100)
      return GradientLeaf([
        [
          WeightedTrajectory(
            trajectory: Trajectory(
              promptID: "\(index)", groupID: index, sampleIndex: 0, policy: ThinkingPolicy(kind: .discrete),
              policyVersion: 0, prompt: [1], segments: [.discrete(DiscreteSegment(tokenIDs: tokens))],
              finishReason: .stop), advantage: 1, weight: 1, oldLogProbs: nil)
        ]
      ])
    }
  }

  func offer(_ leafCount: Int, type: GradientType = .float32) -> GradientOffer {
    GradientOffer(
      version: 3, leaves: leaves(leafCount), loss: GradientLoss(objective: nil),
      type: type, elementCount: Self.elementCount, fingerprint: "same")
  }

  func hello(_ index: Int, fingerprint: String = "same") -> Hello {
    Hello(
      workerName: "worker-\(index)", incarnation: UInt64(index + 1), hostname: "h", processID: 1, threads: 1,
      fingerprint: fingerprint, computesGradients: true)
  }

  /// Nobody is measured in the first step; from the second on everybody is done at nearly the same time.
  @Test(arguments: [1, 2, 4, 8, 16])
  func workersShortenTheStep(_ count: Int) throws {
    var simulation = GradientSimulation()
    var workers: [WorkerID: Double] = [:]
    for index in 0..<count {
      simulation.exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil)
      workers[WorkerID(UInt64(index))] = 100
    }
    let step = offer(128)
    let alone = Double(step.leaves.reduce(0) { $0 + $1.rowCount }) / 100
    for number in 0..<3 {
      let seconds = try simulation.step(step, learner: 100, workers: workers, bytesPerSecond: 1e8)
      if number > 0 { #expect(seconds < 1.15 * alone / Double(count + 1), "\(seconds) s, alone \(alone) s") }
    }
    #expect(simulation.leavesOf.count == count)
  }

  /// Who sampled a leaf's trajectories does not vouch for them: others compute it, or the learner does.
  @Test func nobodyComputesTheLeavesOfItsOwnSamples() throws {
    let (alice, bob) = (Party.key("alice"), Party.key("bob"))
    for parties in [[alice], [alice, bob]] {
      var simulation = GradientSimulation()
      var workers: [WorkerID: Double] = [:]
      for (index, party) in parties.enumerated() {
        simulation.exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil, party: party)
        workers[WorkerID(UInt64(index))] = 100
      }
      var step = offer(32)
      step.samplers = (0..<32).map { parties.count == 1 || $0 < 16 ? [alice] : [bob] }
      for _ in 0..<3 { _ = try simulation.step(step, learner: 100, workers: workers, bytesPerSecond: 1e8) }
      let totals = simulation.exchange.totals
      #expect((totals.acceptedLeaves > 0) == (parties.count == 2))
      for (worker, leaves) in simulation.leavesRun {
        let party = parties[Int(worker.value)]
        #expect(leaves.allSatisfy { !step.samplers[$0].contains(party) })
      }
    }
  }

  /// A lease is answered by the party that it was granted to.
  @Test func aLeaseOfAnotherIsNotAnswered() throws {
    var exchange = GradientExchange(options: .init(), firstLeaseID: 9)
    for (index, party) in [Party.key("alice"), .key("bob")].enumerated() {
      exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil, party: party)
    }
    exchange.begin(offer(8))
    let taken = exchange.takeLocal(now: .zero)
    let leaf = try #require(taken)
    exchange.finishLocal(leaf, seconds: 1)
    exchange.grant(now: .zero) { worker, _ in worker == WorkerID(0) }
    let grant = try #require(
      exchange.outgoing.compactMap { item -> GradientGrant? in
        if case .gradientGrant(let grant) = item.message { grant } else { nil }
      }.first)
    exchange.outgoing = []
    let ready = GradientReady(
      leaseID: grant.id, sums: grant.passSizes.map { _ in NamedSums() }, logProbs: [],
      root: [UInt8](repeating: 0, count: 32),
      elapsedMicroseconds: 1, origins: [])
    try exchange.ready(ready, from: WorkerID(1), now: .zero)
    #expect(exchange.outgoing.map(\.worker) == [WorkerID(1)])
    #expect(exchange.outgoing.first?.message == .gradientDone(leaseID: grant.id, accepted: false))
    #expect(exchange.rounds.lease(grant.id)?.record.worker == WorkerID(0))
  }

  /// Different speeds: shares follow them.
  @Test func sharesFollowTheSpeeds() throws {
    var simulation = GradientSimulation()
    let workers: [WorkerID: Double] = [WorkerID(0): 400, WorkerID(1): 100, WorkerID(2): 25]
    for index in 0..<3 { simulation.exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil) }
    let step = offer(128)
    let alone = Double(step.leaves.reduce(0) { $0 + $1.rowCount }) / 100
    for number in 0..<3 {
      simulation.leavesOf = [:]
      let seconds = try simulation.step(step, learner: 100, workers: workers, bytesPerSecond: 1e8)
      if number > 0 { #expect(seconds < 1.15 * alone / 6.25, "\(seconds) s") }
    }
    let shares = simulation.leavesOf
    #expect(
      shares[WorkerID(0)]! > 2 * shares[WorkerID(1)]! && shares[WorkerID(1)]! > 2 * (shares[WorkerID(2)] ?? 0),
      "\(shares)")
  }

  /// A gradient that takes longer on its way than the step takes alone is not asked for again once that is known.
  @Test func aSlowLinkIsLeftAlone() throws {
    var simulation = GradientSimulation()
    simulation.exchange.join(WorkerID(0), hello: hello(0), older: nil)
    let step = offer(8)
    let alone = Double(step.leaves.reduce(0) { $0 + $1.rowCount }) / 100
    let first = try simulation.step(step, learner: 100, workers: [WorkerID(0): 100], bytesPerSecond: 1000)
    // 400 s of transfer against 8 s: taken over, at the price of the grace.
    #expect(first < 2.2 * alone, "\(first) s, alone \(alone) s")
    // What little came says how slow the link is.
    simulation.leavesOf = [:]
    let second = try simulation.step(step, learner: 100, workers: [WorkerID(0): 100], bytesPerSecond: 1000)
    #expect(abs(second - alone) < 0.1 && simulation.leavesOf.isEmpty, "\(second) s, \(simulation.leavesOf)")
  }

  /// A worker that takes leases and says nothing more costs no more than patience.
  @Test func aSilentWorkerIsNotWaitedForLong() throws {
    var simulation = GradientSimulation()
    for index in 0..<2 { simulation.exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil) }
    let step = offer(32)
    let alone = Double(step.leaves.reduce(0) { $0 + $1.rowCount }) / 100
    let workers: [WorkerID: Double] = [WorkerID(0): 100, WorkerID(1): 100]
    for _ in 0..<3 {
      let seconds = try simulation.step(
        step, learner: 100, workers: workers, bytesPerSecond: 1e8, dead: [WorkerID(0)])
      #expect(seconds < alone, "\(seconds) s, alone \(alone) s")
    }
  }

  @Test func nothingIsLentBeforeTheLearnerIsMeasured() {
    var exchange = GradientExchange(options: .init(), firstLeaseID: 1)
    exchange.join(WorkerID(0), hello: hello(0), older: nil)
    exchange.begin(offer(8))
    exchange.grant(now: .zero) { _, _ in true }
    #expect(exchange.outgoing.isEmpty)
    let leaf = exchange.takeLocal()!
    exchange.finishLocal(leaf, seconds: 1)
    exchange.grant(now: .zero) { _, _ in true }
    #expect(exchange.outgoing.count == 1)
    // At most one lease that is not computed, and none for those that are not ready.
    exchange.grant(now: .zero) { _, _ in true }
    #expect(exchange.outgoing.count == 1)
    exchange.join(WorkerID(1), hello: hello(1), older: nil)
    exchange.grant(now: .zero) { worker, _ in worker == WorkerID(0) }
    #expect(exchange.outgoing.count == 1)
  }

  /// Whether the last leaf is lent depends on how far the learner is with the one before it: lending takes 0.004 s of transfer.
  @Test(arguments: [(0.1, true), (0.95, true), (0.999, false)])
  func theLastLeafGoesToWhoIsDoneFirst(_ done: Double, _ isLent: Bool) throws {
    var exchange = GradientExchange(options: .init(), firstLeaseID: 1)
    let worker = WorkerID(0)
    exchange.join(worker, hello: hello(0), older: nil)
    exchange.begin(offer(3))
    let seconds = Double(offer(3).leaves[0].rowCount) / 100
    exchange.finishLocal(exchange.takeLocal(now: .zero)!, seconds: seconds)
    #expect(exchange.takeLocal(now: .zero) == 1)
    exchange.grant(now: .seconds(done * seconds)) { _, _ in true }
    #expect(exchange.outgoing.isEmpty != isLent)
  }

  /// With steps ahead a worker's sampling is work like a gradient: 16 leaves of 1 s and 8 s of sampling for each of three
  /// workers are (16 + 24) / 4 = 10 s for everybody, so that the learner computes about ten leaves and they two each.
  @Test(arguments: [(0.0, 4), (8, 10), (20, 16)])
  func whatIsToBeSampledIsWorkToo(_ sampling: Double, _ ofLearner: Int) throws {
    var simulation = GradientSimulation()
    var workers: [WorkerID: Double] = [:]
    for index in 0..<3 {
      simulation.exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil)
      workers[WorkerID(UInt64(index))] = 100
    }
    _ = try simulation.step(offer(16), learner: 100, workers: workers, bytesPerSecond: 1e8)
    simulation.leavesOf = [:]
    let seconds = try simulation.step(
      offer(16), learner: 100, workers: workers, bytesPerSecond: 1e8,
      sampling: sampling / GradientForecast.samplingFirst)
    let lent = simulation.leavesOf.values.reduce(0, +)
    #expect(abs(16 - lent - ofLearner) <= 1, "\(lent) lent")
    #expect(seconds < Double(ofLearner) + 1.5, "\(seconds) s")
  }

  /// Gradients of adapters come many at a time, those of a large model two.
  @Test func smallGradientsDoNotQueue() {
    #expect(GradientExchange.transfersAtOnce(byteCount: 540 << 20) == 2)
    #expect(GradientExchange.transfersAtOnce(byteCount: 1 << 20) == 8)
    #expect(GradientExchange.transfersAtOnce(byteCount: 1) == 32)
    let exchange = GradientExchange(options: .init(), firstLeaseID: 1)
    #expect(exchange.heldGradients(byteCount: 540 << 20) == 3)
    #expect(exchange.heldGradients(byteCount: 4 << 20) == 64)
  }

  @Test func whatDoesNotBelongIsAnError() throws {
    var exchange = GradientExchange(options: .init(), firstLeaseID: 1)
    let worker = WorkerID(0)
    exchange.join(worker, hello: hello(0), older: nil)
    exchange.begin(offer(4))
    exchange.finishLocal(exchange.takeLocal()!, seconds: 1)
    exchange.grant(now: .zero) { _, _ in true }
    guard case .gradientGrant(let grant) = exchange.outgoing.last?.message else { throw TestFailure() }
    exchange.outgoing = []
    #expect(throws: WireError.self) {
      try exchange.serve(GradientPull(leaseID: grant.id, first: 0, count: grant.trajectoryCount + 1), to: worker)
    }
    try exchange.serve(GradientPull(leaseID: grant.id, first: 0, count: grant.trajectoryCount), to: worker)
    #expect(exchange.outgoing.count == grant.trajectoryCount)
    exchange.outgoing = []
    var ready = GradientReady(
      leaseID: grant.id, sums: grant.passSizes.map { _ in NamedSums() }, logProbs: [-1],
      root: [UInt8](repeating: 0, count: 32), elapsedMicroseconds: 5)
    #expect(throws: WireError.self) { try exchange.ready(ready, from: worker, now: .zero) }
    ready.logProbs = [Float](repeating: -1, count: 100 * grant.passSizes.count)
    try exchange.ready(ready, from: worker, now: .zero)
    guard case .pullGradient(let pull) = exchange.outgoing.last?.message else { throw TestFailure() }
    #expect(pull.first == 0 && pull.count == 2)
    func chunk(_ index: Int, _ count: Int) throws -> Bool {
      try exchange.receive(
        GradientChunk(leaseID: grant.id, index: index, bytes: [UInt8](repeating: 0, count: count)), from: worker,
        now: .seconds(1))
    }
    #expect(throws: WireError.self) { try chunk(1, 400_000 - 262_144) }
    #expect(throws: WireError.self) { try chunk(0, 1000) }
    #expect(try !chunk(0, 262_144))
    #expect(try !chunk(0, 262_144), "asked for twice: ignored")
    #expect(throws: WireError.self) { try chunk(1, 262_144) }
    #expect(try chunk(1, 400_000 - 262_144))
    #expect(exchange.takeArrived()?.leaves.count == grant.passSizes.count)
    // Said again, it is not wanted.
    exchange.outgoing = []
    try exchange.ready(ready, from: worker, now: .zero)
    #expect(exchange.outgoing.map(\.message) == [.gradientDone(leaseID: grant.id, accepted: false)])
    // A chunk of nothing that is known is ignored: it was given up while it was on its way.
    #expect(try !chunk(0, 262_144))
  }

  private func relayHello(_ index: Int) -> Hello {
    Hello(
      workerName: "relay-\(index)", incarnation: UInt64(index + 1), hostname: "h", processID: 1, threads: 1,
      fingerprint: "relay", computesGradients: true, isRelay: true)
  }

  private func grants(_ exchange: inout GradientExchange) -> [GradientGrant] {
    defer { exchange.outgoing = [] }
    return exchange.outgoing.compactMap { if case .gradientGrant(let grant) = $0.message { grant } else { nil } }
  }

  /// A relay is as large as the workers of the right class below it, and its share need not be one node.
  @Test func aRelaysShareFollowsItsWorkers() throws {
    var exchange = GradientExchange(options: .init(), firstLeaseID: 1)
    let relay = WorkerID(0)
    exchange.join(relay, hello: relayHello(0), older: nil)
    exchange.begin(offer(64))
    exchange.finishLocal(exchange.takeLocal()!, seconds: 1)
    exchange.grant(now: .zero) { _, _ in true }
    #expect(grants(&exchange).isEmpty, "nobody is below")
    try exchange.report([GradientClass(fingerprint: "other", workerCount: 4, threads: 4)], by: relay)
    exchange.grant(now: .zero) { _, _ in true }
    #expect(grants(&exchange).isEmpty, "nobody of the right class is below")
    try exchange.report([GradientClass(fingerprint: "same", workerCount: 6, threads: 6)], by: relay)
    exchange.grant(now: .zero) { _, _ in true }
    // Not measured: one leaf for each worker.
    let first = grants(&exchange)
    #expect(first.map(\.passSizes.count) == [4, 2])
    #expect(first.allSatisfy { $0.fingerprint == "same" && $0.rowsPerSecond > 0 })
    exchange.grant(now: .zero) { _, _ in true }
    let more = grants(&exchange)
    #expect(first.count + more.count <= GradientExchange.leasesOfARelay)
    for grant in first + more {
      let leaves = grant.passSizes.count
      try exchange.ready(
        GradientReady(
          leaseID: grant.id, sums: grant.passSizes.map { _ in NamedSums() },
          logProbs: [Float](repeating: -1, count: 100 * leaves), root: [UInt8](repeating: 0, count: 32),
          elapsedMicroseconds: leaves * 1_000_000 / 6,
          origins: [GradientOrigin(workerName: "w", fingerprint: "same", leafCount: leaves)]), from: relay,
        now: .seconds(1))
    }
    exchange.grant(now: .seconds(1)) { _, _ in true }
    let later = grants(&exchange)
    // Six of seven parts of what is left, in nodes.
    let rows = later.reduce(0) { $0 + $1.passSizes.count }
    let sizes = later.map(\.passSizes.count)
    #expect(sizes.count > 1 && sizes.contains(16) && (30...52).contains(rows), "\(sizes)")
    // Half of the workers are gone, and with them half of the speed.
    let before = exchange.peers.candidates(for: offer(64)).map { exchange.forecast.rowsPerSecond(of: $0) }
    try exchange.report([GradientClass(fingerprint: "same", workerCount: 3, threads: 3)], by: relay)
    let after = exchange.peers.candidates(for: offer(64)).map { exchange.forecast.rowsPerSecond(of: $0) }
    #expect(before.count == 1 && after == before.map { $0 / 2 })
  }

  @Test func onlyRelaysNameOthers() throws {
    var exchange = GradientExchange(options: .init(), firstLeaseID: 1)
    let (worker, relay) = (WorkerID(0), WorkerID(1))
    exchange.join(worker, hello: hello(0), older: nil)
    exchange.join(relay, hello: relayHello(1), older: nil)
    let classes = [GradientClass(fingerprint: "same", workerCount: 1, threads: 1)]
    #expect(throws: WireError.self) { try exchange.report(classes, by: worker) }
    #expect(throws: Never.self) { try exchange.report([], by: worker) }
    try exchange.report(classes, by: relay)
    var step = offer(32)
    step.excludedWorkers = ["caught"]
    exchange.begin(step)
    exchange.finishLocal(exchange.takeLocal()!, seconds: 1)
    exchange.grant(now: .zero) { _, _ in true }
    let leases = exchange.rounds[0].leases.outstanding
    #expect(Set(leases.map(\.worker)) == [worker, relay])
    #expect(grants(&exchange).allSatisfy { $0.excludedWorkers == ["caught"] })
    func ready(_ worker: WorkerID, _ origins: [GradientOrigin]) throws {
      let lease = leases.first { $0.worker == worker }!
      try exchange.ready(
        GradientReady(
          leaseID: lease.id, sums: lease.leaves.map { _ in NamedSums() },
          logProbs: [Float](repeating: -1, count: 100 * lease.leaves.count), root: [UInt8](repeating: 0, count: 32),
          elapsedMicroseconds: 5, origins: origins), from: worker, now: .zero)
    }
    let count = leases.first { $0.worker == relay }!.leaves.count
    func origin(_ name: String, _ fingerprint: String) -> GradientOrigin {
      GradientOrigin(workerName: name, fingerprint: fingerprint, leafCount: count)
    }
    #expect(throws: WireError.self) { try ready(worker, [origin("other", "same")]) }
    #expect(throws: WireError.self) { try ready(relay, []) }
    #expect(throws: WireError.self) { try ready(relay, [origin("caught", "same")]) }
    #expect(throws: WireError.self) { try ready(relay, [origin("other", "different")]) }
    #expect(throws: Never.self) { try ready(relay, [origin("other", "same")]) }
    #expect(throws: Never.self) { try ready(worker, []) }
  }

  /// A relay's own exchange: several leases from above at once, nothing computed by itself, and an end to every wait.
  @Test func belowARelayWorkersDoEverything() throws {
    var exchange = GradientExchange(options: .init(isLearner: false), firstLeaseID: 1)
    for index in 0..<3 { exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil) }
    #expect(
      exchange.branch { $0 != WorkerID(2) } == [GradientClass(fingerprint: "same", workerCount: 2, threads: 2)])
    var above = offer(4)
    above.learnerRowsPerSecond = 100
    above.excludedWorkers = ["worker-1"]
    exchange.lend(above, as: 70)
    exchange.lend(above, as: 71)
    #expect(exchange.branch { _ in true }.map(\.workerCount) == [2], "the excluded one does not count")
    exchange.grant(now: .zero) { _, _ in true }
    let first = grants(&exchange)
    #expect(first.count == 2 && first.allSatisfy { $0.leafCount == 4 && $0.rowsPerSecond == 100 })
    #expect(exchange.failures(now: .zero).isEmpty)
    // One is lost, the other cannot: nobody is left.
    #expect(exchange.leave(WorkerID(0)) == 1)
    let other = try #require(exchange.rounds.flatMap(\.leases.outstanding).first)
    #expect(other.worker == WorkerID(2))
    exchange.declined(other.id, reason: "no memory", isNotFinite: false, by: WorkerID(2))
    #expect(exchange.failures(now: .zero).map(\.id) == [70, 71])
    #expect(exchange.failures(now: .zero).allSatisfy { !$0.failure.isNotFinite })
    exchange.end(70)
    exchange.end(71)
    #expect(!exchange.isActive)
    // A number that is not finite is for the learner to see.
    exchange.join(WorkerID(5), hello: hello(5), older: nil)
    exchange.lend(above, as: 72)
    exchange.grant(now: .zero) { _, _ in true }
    exchange.declined(
      try #require(grants(&exchange).first).id, reason: "infinite", isNotFinite: true, by: WorkerID(5))
    #expect(exchange.failures(now: .zero).map(\.failure.isNotFinite) == [true])
    exchange.end(72)
    // One that never gets ready.
    exchange.lend(above, as: 73)
    exchange.grant(now: .zero) { _, _ in false }
    #expect(exchange.failures(now: .zero).isEmpty && exchange.failures(now: .seconds(9)).isEmpty)
    #expect(exchange.failures(now: .seconds(10)).map(\.id) == [73])
  }

  /// What a slow worker below a relay has is lent to one with nothing to do.
  @Test func aLateLeaseBelowARelayIsReassigned() throws {
    var exchange = GradientExchange(options: .init(isLearner: false), firstLeaseID: 1)
    for index in 0..<2 { exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil) }
    var above = offer(2)
    above.learnerRowsPerSecond = 100
    exchange.lend(above, as: 9)
    exchange.grant(now: .zero) { _, _ in true }
    #expect(grants(&exchange).count == 2)
    let leases = exchange.rounds[0].leases.outstanding
    // Worker 1 is done; worker 0 is not heard of.
    let done = leases.first { $0.worker == WorkerID(1) }!
    try exchange.ready(
      GradientReady(
        leaseID: done.id, sums: [NamedSums()], logProbs: [Float](repeating: -1, count: 100),
        root: [UInt8](repeating: 0, count: 32), elapsedMicroseconds: 1_000_000), from: WorkerID(1), now: .seconds(1))
    exchange.outgoing = []
    exchange.reassign(now: .seconds(1)) { _, _ in true }
    #expect(exchange.outgoing.isEmpty, "it is not late yet")
    exchange.reassign(now: .seconds(60)) { _, _ in true }
    let late = leases.first { $0.worker == WorkerID(0) }!
    #expect(exchange.outgoing.first?.message == .gradientDone(leaseID: late.id, accepted: false))
    #expect(exchange.outgoing.first?.worker == WorkerID(0) && exchange.outgoing.last?.worker == WorkerID(1))
    #expect(grants(&exchange).map(\.index) == [late.leaves.lowerBound])
  }

  private struct TestFailure: Error {}
}
