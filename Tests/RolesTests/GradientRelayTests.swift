import Coordination
import Kernels
import Logging
import Objectives
import Synchronization
import TestSupport
import Testing
import Training
import Wire

@testable import Equality
@testable import FrontEnd
@testable import Gradients
@testable import Sessions

/// Gradients through relays have the bits that they have without: over real front ends and links.
@Suite(.serialized, .enabled(if: preferredComputeType == .bfloat16, "the processor has no bf16 products"))
struct GradientRelayTests {
  private typealias Settings = GradientLeaseTests.Settings
  private let bench = GradientLeaseTests()

  /// What a relay may take.
  private final class Memory: Sendable {
    let byteCount = Mutex(1 << 10)
  }

  /// A learner and what is attached to it.
  private final class Fleet {
    let frontEnd: LearnerFrontEnd
    var relays: [RunningRelay] = []
    var helpers: [GradientHelper] = []

    /// What a relay's front end knows of gradients.
    func below(_ relay: Int) throws -> SharedGradientExchange {
      try #require(relays[relay].service.frontEnd).shared.gradients
    }

    init(_ frontEnd: LearnerFrontEnd) { self.frontEnd = frontEnd }

    func relay(below endpoint: String? = nil, memory: (@Sendable () -> Int?)? = nil) throws -> String {
      let relay = try RunningRelay(
        [endpoint ?? frontEnd.controlEndpoint], name: "relay-\(relays.count)", memory: memory)
      relays.append(relay)
      return try relay.endpoint()
    }

    func workers(
      _ kinds: [GradientHelper.Behaviour], at endpoint: String, fingerprint: String = GradientLeaseTests.fingerprint
    ) throws {
      for behaviour in kinds {
        var options = workerOptions(endpoint, name: "helper-\(helpers.count)")
        options.alternatives = [Attachment(endpoint: frontEnd.controlEndpoint)]
        options.computesGradients = true
        options.fingerprint = fingerprint
        helpers.append(
          try GradientHelper(options, behaviour, configuration: GradientLeaseTests.configuration))
      }
    }

    /// Workers that compute gradients, as the learner knows them.
    var known: Int {
      let versions = frontEnd.statistics().workers.filter { $0.heldVersion == 7 }.map(\.name)
      return frontEnd.shared.gradients.state.withLock { exchange in
        exchange.peers.all.values.filter { versions.contains($0.name) }.reduce(0) {
          $0 + ($1.classes?.reduce(0) { $0 + $1.workerCount } ?? 1)
        }
      }
    }
  }

  /// An update with helpers behind relays, all of which are there before it begins.
  private func helped(
    _ settings: Settings, logger: Logger = quiet, build: (Fleet) throws -> Void,
    midway: @escaping (Fleet) -> Void = { _ in }, after: (Fleet) throws -> Void = { _ in },
    inspect: (LogProbAudit) -> Void = { _ in }, caught: @escaping (Party, String) -> Void = { _, _ in }
  ) throws -> (result: GradientLeaseTests.Result, totals: GradientTotals, fleet: Fleet) {
    let frontEnd = try LearnerFrontEnd(bench.frontOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let state = bench.state(settings)
    try bench.publish(state, version: 7, on: frontEnd)
    let frozen = bench.reference(settings)?.referenceSnapshot(team: ThreadTeam(threadCount: 1))
    if let frozen { try frontEnd.publish(reference: frozen) }
    let fleet = Fleet(frontEnd)
    try build(fleet)
    try #require(
      eventually {
        fleet.known == fleet.helpers.count
          && frontEnd.shared.state.withLock { state in
            frozen == nil || state.registry.all.allSatisfy { $0.heldReference == frozen?.description.root.bytes }
          }
      })
    let result = try bench.update(
      settings, state: state, frontEnd: frontEnd, logger: logger, midway: { midway(fleet) }, inspect: inspect,
      caught: caught)
    // While everybody is still there.
    try after(fleet)
    return (result, frontEnd.gradients.totals, fleet)
  }

  @Test(arguments: [(GradientType.float32, 0), (.bfloat16, 0), (.float32, 4)])
  func sameBitsThroughRelays(_ type: GradientType, _ rank: Int) throws {
    let settings = Settings(type: type, rank: rank)
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let shapes: [(String, (Fleet) throws -> Void)] = [
      ("two below a relay", { try $0.workers([.helpful, .helpful], at: $0.relay()) }),
      ("three below a relay", { try $0.workers([.helpful, .helpful, .helpful], at: $0.relay()) }),
      (
        "a relay below a relay, and a worker beside each",
        { fleet in
          let upper = try fleet.relay()
          try fleet.workers([.helpful, .helpful], at: fleet.relay(below: upper))
          try fleet.workers([.helpful], at: upper)
          try fleet.workers([.helpful], at: fleet.frontEnd.controlEndpoint)
        }
      ),
    ]
    for (name, build) in shapes {
      let (result, totals, fleet) = try helped(settings, build: build)
      #expect(result == alone, "\(name)")
      #expect(totals.acceptedLeaves > 0, "\(name): \(totals)")
      // What several workers computed came as one.
      let computed = fleet.helpers.reduce(0) { $0 + $1.computed }
      #expect(computed > totals.accepted, "\(name): \(computed) gradients below, \(totals)")
      #expect(fleet.helpers.allSatisfy { $0.received > 0 }, "\(name)")
    }
  }

  /// Of a relay's sum that is wrong, the worker behind it whose leaf is wrong is found: it alone is asked no longer.
  @Test(arguments: [(GradientHelper.Behaviour.scaling, GradientType.float32), (.flipping, .bfloat16)])
  func aForgedGradientIsTracedBehindARelay(_ behaviour: GradientHelper.Behaviour, _ type: GradientType) throws {
    let settings = Settings(type: type, delay: 120, verification: 1)
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let lines = LogLines()
    var parties: [Party] = []
    let (result, totals, fleet) = try helped(
      settings, logger: Logger(label: "test") { _ in CapturingLogHandler(lines: lines) },
      build: { try $0.workers([behaviour, .helpful, .helpful], at: $0.relay()) },
      after: { fleet in
        // The relay goes on: what the others compute still counts.
        #expect(
          fleet.frontEnd.gradients.state.withLock { exchange in exchange.peers.all.values.allSatisfy { !$0.hasDeclined }
          })
      }, caught: { party, _ in parties.append(party) })
    #expect(result == alone && totals.accepted > 0)
    #expect(fleet.helpers[0].computed > 0, "it was asked, or there is nothing to find")
    #expect(parties.count == 1 && parties[0].description.hasSuffix(" / helper-0"), "\(parties)")
    #expect(lines.all.contains { $0.contains("computed anew without helper-0") })
  }

  /// What corrects for age and for another arithmetic passes through as it is.
  @Test(arguments: [OffPolicyCorrection.behaviour, .decoupled(weightCap: 2)])
  func olderTrajectoriesPassThrough(_ correction: OffPolicyCorrection) throws {
    let settings = Settings(ages: true, offPolicy: correction)
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let (result, totals, _) = try helped(settings, build: { try $0.workers([.helpful, .helpful], at: $0.relay()) })
    #expect(result == alone && totals.accepted > 0)
  }

  /// Objectives of every scope, scoring leases among them.
  @Test(arguments: ["sapo", "gspo", "reg_grpo", "kl_cov"])
  func objectivesPassThrough(_ objective: String) throws {
    let settings = Settings(objective: objective)
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let (result, totals, _) = try helped(settings, build: { try $0.workers([.helpful, .helpful], at: $0.relay()) })
    #expect(result == alone && totals.accepted > 0)
  }

  /// The KL term's reference model goes down once a relay.
  @Test(arguments: [0, 4])
  func aKLTermPassesThrough(_ rank: Int) throws {
    let settings = Settings(rank: rank, beta: 0.1, estimator: .exact)
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let (result, totals, fleet) = try helped(
      settings,
      build: { fleet in
        let upper = try fleet.relay()
        try fleet.workers([.helpful, .helpful], at: fleet.relay(below: upper))
        try fleet.workers([.helpful], at: fleet.frontEnd.controlEndpoint)
      })
    #expect(result == alone && alone.sums.klLoss > 0 && totals.accepted > 0)
    #expect(fleet.helpers.allSatisfy { $0.computed > 0 })
  }

  /// Weights between two optimiser steps go down once a relay, and gradients under them come up as one.
  @Test(arguments: [0, 4])
  func laterMiniBatchesPassThrough(_ rank: Int) throws {
    // Time for two relays to pass them on.
    let settings = Settings(rank: rank, delay: 100, miniBatch: 12, learningRate: 1e-4)
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let (result, totals, fleet) = try helped(
      settings,
      build: { fleet in
        let upper = try fleet.relay()
        try fleet.workers([.helpful, .helpful], at: fleet.relay(below: upper))
        try fleet.workers([.helpful], at: upper)
      })
    #expect(result == alone && totals.accepted > 0)
    #expect(fleet.helpers.allSatisfy { !$0.followed.isEmpty })
    #expect(fleet.helpers.contains { $0.computedLater > 0 }, "\(totals)")
  }

  @Test func aWorkerBelowIsKilledInTheMiddle() throws {
    let settings = Settings()
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let (result, totals, fleet) = try helped(
      settings, build: { try $0.workers([.holding, .helpful, .helpful], at: $0.relay()) },
      midway: { fleet in
        #expect(eventually { fleet.helpers[0].received > 0 })
        fleet.helpers[0].kill()
        // The learner does not take over what the relay has not yet missed.
        #expect(eventually { fleet.relays[0].service.frontEnd?.statistics().counters.lostSessions == 1 })
      },
      after: { fleet in
        // The relay did not need the learner for it. Rounds are counted when they end.
        #expect(try eventually { try !fleet.below(0).state.withLock { $0.isActive } })
        let below = try fleet.below(0).totals
        #expect(below.revoked > 0, "\(below)")
      })
    #expect(result == alone && totals.accepted > 0 && fleet.helpers[0].computed == 0, "\(totals)")
  }

  @Test func aSlowWorkerBelowIsNotWaitedFor() throws {
    let settings = Settings()
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let (result, _, fleet) = try helped(
      settings, build: { try $0.workers([.holding, .helpful], at: $0.relay()) })
    #expect(result == alone)
    #expect(fleet.helpers[0].received > 0 && eventually { fleet.helpers[0].cancelled > 0 })
  }

  @Test func theRelayIsKilledInTheMiddle() throws {
    let settings = Settings()
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    // Neither finishes: what the relay was lent is still out when it dies.
    let (result, totals, fleet) = try helped(
      settings, build: { try $0.workers([.holding, .holding], at: $0.relay()) },
      midway: { fleet in
        #expect(eventually { fleet.helpers[0].received > 0 })
        fleet.relays[0].service.abort()
      })
    #expect(result == alone && totals.revoked > 0, "\(totals)")
    fleet.relays[0].join()
  }

  @Test func workersOfAnotherClassAreAskedForNothing() throws {
    var settings = Settings()
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let build: (Fleet) throws -> Void = { fleet in
      let endpoint = try fleet.relay()
      try fleet.workers([.helpful], at: endpoint, fingerprint: "another")
      try fleet.workers([.helpful, .helpful], at: endpoint)
    }
    let (result, totals, fleet) = try helped(settings, build: build)
    #expect(result == alone && totals.accepted > 0)
    #expect(fleet.helpers[0].received == 0 && fleet.helpers[1].received > 0)
    // Nobody of the learner's own class: the relay is not asked either.
    settings.promise = "the learner's alone"
    settings.delay = 5
    #expect(try helped(settings, build: build).totals.granted == 0)
    // `any` takes them all.
    settings.promise = nil
    settings.delay = 30
    let open = try helped(settings, build: build)
    #expect(open.fleet.helpers[0].received > 0 && open.result == alone)
  }

  @Test func whatNobodyBelowCanDoGoesBackUp() throws {
    let settings = Settings()
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let (result, totals, fleet) = try helped(
      settings, build: { try $0.workers([.declining, .declining], at: $0.relay()) },
      after: { fleet in
        // Those who cannot are not counted any longer; somebody who can is welcome.
        #expect(eventually { fleet.known == 0 })
        try fleet.workers([.helpful], at: fleet.relays[0].endpoint())
        #expect(eventually { fleet.known == 1 })
        let peers = fleet.frontEnd.shared.gradients.state.withLock { $0.peers }
        #expect(peers.all.values.allSatisfy { !$0.hasDeclined })
      })
    #expect(result == alone && totals.accepted == 0 && totals.revoked > 0, "\(totals)")
    #expect(fleet.helpers.allSatisfy { $0.received <= 1 })
  }

  /// What there is no memory for goes back up, and the relay is asked again when there is some.
  @Test(arguments: [true, false])
  func aRelayWithoutMemoryDeclines(_ comesBack: Bool) throws {
    let settings = Settings()
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let memory = Memory()
    let (result, totals, fleet) = try helped(
      settings,
      build: { fleet in
        try fleet.workers([.helpful, .helpful], at: fleet.relay(memory: { memory.byteCount.withLock { $0 } }))
      },
      midway: { fleet in
        // It says so, and that nobody below computes gradients.
        #expect(eventually { fleet.known == 0 })
        #expect(fleet.helpers.allSatisfy { $0.received == 0 })
        guard comesBack else { return }
        memory.byteCount.withLock { $0 = 1 << 40 }
        #expect(eventually { fleet.known == 2 })
      },
      after: { fleet in
        if !comesBack { #expect(fleet.known == 0) }
      })
    #expect(result == alone)
    #expect((totals.accepted > 0) == comesBack, "\(totals)")
    #expect(fleet.helpers.contains { $0.received > 0 } == comesBack)
  }

  @Test(arguments: [GradientHelper.Behaviour.corrupting, .notFinite])
  func whatIsNotUsableIsComputedAgain(_ behaviour: GradientHelper.Behaviour) throws {
    let settings = Settings()
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let (result, totals, fleet) = try helped(
      settings, build: { try $0.workers([behaviour, .helpful], at: $0.relay()) },
      after: { fleet in
        guard behaviour == .corrupting else { return }
        // It is not asked again.
        let peers = try fleet.below(0).state.withLock { $0.peers.all.values.map { ($0.name, $0.hasDeclined) } }
        #expect(peers.count == 2 && peers.allSatisfy { $0.1 == ($0.0 == "helper-0") }, "\(peers)")
      })
    #expect(result == alone && fleet.helpers[0].received > 0)
    switch behaviour {
    // Another worker below did it.
    case .corrupting: #expect(totals.accepted > 0, "\(totals)")
    default: #expect(totals.revoked > 0, "\(totals)")
    }
  }

  /// The learner knows who computed which leaf, and catches the worker, not the relay.
  @Test func theRightWorkerIsCaught() throws {
    let settings = Settings(isTruthful: true)
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let (result, totals, _) = try helped(
      settings, build: { try $0.workers([.misremembering, .helpful], at: $0.relay()) },
      inspect: { #expect($0.caught == ["helper-0"]) })
    #expect(result == alone && totals.accepted > 0)
  }

  /// The learner's link carries one gradient a lease, however many workers computed it.
  @Test func wireBytesFollowTheLeasesNotTheWorkers() throws {
    let settings = Settings()
    let bytes = bench.state(settings).gradientValues.count * 4
    var below = GradientTotals()
    let (_, totals, _) = try helped(
      settings, build: { try $0.workers([.helpful, .helpful, .helpful, .helpful], at: $0.relay()) },
      after: { fleet in
        // A lease's round at the relay ends before its gradient goes up, except one that is taken over at the end.
        #expect(try eventually { try !fleet.below(0).state.withLock { $0.isActive } })
        below = try fleet.below(0).totals
      })
    #expect(totals.wireBytes == totals.accepted * bytes && totals.accepted > 0)
    #expect(below.wireBytes > totals.wireBytes && below.accepted > totals.accepted, "\(totals), below \(below)")
  }
}
