import Testing
import TestSupport
import Thinking
import Trajectories
import Wire

@testable import FrontEnd
@testable import Sessions

/// Results that are well-formed messages, and would break the learner if it took them: they cost their sender its session.
@Suite(.serialized) struct HostileResultTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var density = ThinkingPolicy.Density.reference
    var change: @Sendable (inout TrajectoryResult) -> Void
    var testDescription: String { name }

    init(
      _ name: String, _ density: ThinkingPolicy.Density = .reference,
      _ change: @escaping @Sendable (inout TrajectoryResult) -> Void
    ) {
      (self.name, self.density, self.change) = (name, density, change)
    }
  }

  static func soft(_ ids: [[Int32]], _ values: [[Float]], logProbs: [Float]? = nil) -> Segment {
    var segment = SoftSegment()
    for row in ids { segment.tokenIDs.append(row) }
    for row in values { segment.values.append(row) }
    segment.logProbs = logProbs ?? ids.map { _ in -1 }
    for _ in ids { segment.streams.append(StepMeasures(entropy: 0.5, largestProbability: 0.75)) }
    return .soft(segment)
  }

  static func answer(
    _ tokenIDs: [Int32] = [1], logProbs: [Float]? = nil, temperature: Float? = nil,
    measures: StepMeasures? = StepMeasures(entropy: 0.5, largestProbability: 0.75)
  ) -> Segment {
    var segment = DiscreteSegment(
      tokenIDs: tokenIDs, logProbs: logProbs ?? tokenIDs.map { _ in -1 }, temperature: temperature)
    if let measures { for _ in tokenIDs { segment.streams.append(measures) } }
    return .discrete(segment)
  }

  static func row(_ values: Float...) -> Segment { soft([(0..<Int32(values.count)).map { $0 }], [values]) }

  static let cases: [Case] = [
    // Traps in the scoring of a step.
    Case("no values") { $0.segments[0] = soft([[1, 2]], [[]]) },
    Case("fewer values than ids") { $0.segments[0] = soft([[1, 2]], [[1]]) },
    Case("fewer values than ids, exact", .exact) { $0.segments[0] = soft([[1, 2]], [[1]]) },
    Case("an id twice") { $0.segments[0] = soft([[1, 1]], [[1, 0]]) },
    Case("unsorted") { $0.segments[0] = soft([[1, 2]], [[0, 1]]) },
    // Beyond what buffers and rotary tables are made for, though within the model's context.
    Case("longer than the lease") {
      $0.segments.append(answer(Array(repeating: 1, count: 10)))
    },
    // Would end the run: the update needs every log-prob, and finite scores.
    Case("no log-probs of a soft segment") { $0.segments[0] = soft([[1, 2]], [[1, 0]], logProbs: []) },
    Case("no log-probs of a discrete segment") { $0.segments[1] = answer(logProbs: []) },
    Case("nothing sampled") { $0.segments = [.forced([1])] },
    Case("nothing at all") { $0.segments = [] },
    Case("a temperature of its own") {
      $0.segments[1] = answer(temperature: 1e-30)
    },
    Case("greedy") { $0.segments[1] = answer(temperature: 0) },
    // What objectives, advantages and metrics read.
    Case("no side streams") { $0.segments[1] = answer(measures: nil) },
    Case("an entropy below 0") {
      $0.segments[1] = answer(measures: StepMeasures(entropy: -0.1, largestProbability: 0.75))
    },
    Case("an entropy that the vocabulary does not have") {
      $0.segments[1] = answer(measures: StepMeasures(entropy: 5, largestProbability: 0.75))
    },
    Case("a probability above 1") {
      $0.segments[1] = answer(measures: StepMeasures(entropy: 0.5, largestProbability: 1.5))
    },
    Case("a value too low", .exact) { $0.segments[0] = row(0, -1000) },
    Case("a value too high", .exact) { $0.segments[0] = row(3e38, 0) },
    Case("below the margin", .concrete) { $0.segments[0] = row(0, -1e37) },
    Case("beyond what can be compared", .concrete) { $0.segments[0] = row(3e38, -3e38) },
  ]

  @Test(arguments: cases) func costsTheSession(_ hostile: Case) throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let snapshot = try weights(0)
    try frontEnd.publish(snapshot)
    var group = promptGroups(0..<1, sampleCount: 2)[0]
    group.policy = ThinkingPolicy(density: hostile.density)
    try frontEnd.submit([group])
    let peer = try RawPeer(frontEnd.controlEndpoint)
    let session = try peer.join("cheat")
    try peer.send(.requestWork(credits: 2), session: session)
    guard case .grant(let leases)? = try peer.receive()?.message else {
      Issue.record("no grant")
      return
    }
    // What it is made from is welcome.
    try peer.send(.trajectoryResult(FakeWorker.result(leases[0], 0, snapshot)), session: session)
    guard case .resultAcknowledgement(let word)? = try peer.receive()?.message, word.verdict == .accepted else {
      Issue.record("the honest result is not accepted")
      return
    }
    var result = FakeWorker.result(leases[0], 1, snapshot)
    hostile.change(&result)
    try peer.send(.trajectoryResult(result), session: session)
    guard case .protocolError(let reason)? = try peer.receive()?.message else {
      Issue.record("no protocol error")
      return
    }
    #expect(reason.contains("TrajectoryResult"))
    let statistics = frontEnd.statistics()
    #expect(statistics.leases.accepted == 1 && statistics.queuedSamples == 1 && statistics.counters.lostSessions == 1)
  }

  /// What no machine can do must not break the arithmetic of shares.
  @Test func absurdSpeedsAreSurvived() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    for endpoint in [frontEnd.controlEndpoint, try relay.endpoint()] {
      for (index, speed) in [1.7e308, 1.7e308, .leastNonzeroMagnitude].enumerated() {
        let peer = try RawPeer(endpoint)
        let session = try peer.join("boaster-\(index)")
        for _ in 0..<3 {
          try peer.send(
            .heartbeat(Heartbeat(tokensPerSecond: speed, activeSlots: Int(Int32.max), heldVersion: 0)), session: session
          )
        }
        try peer.send(.requestWork(credits: 4), session: session)
        try peer.send(.goodbye(reason: "boasted"), session: session)
      }
    }
    // Of those that stay nothing is expected but to be there while others work.
    let peers = try (0..<2).map { _ in try RawPeer(frontEnd.controlEndpoint) }
    for (index, peer) in peers.enumerated() {
      let session = try peer.join("idle-\(index)")
      try peer.send(.heartbeat(Heartbeat(tokensPerSecond: 1.7e308, activeSlots: 1, heldVersion: 0)), session: session)
    }
    let workers = try [frontEnd.controlEndpoint, try relay.endpoint()].map { try FakeWorker(workerOptions($0)) }
    try frontEnd.submit(promptGroups(0..<10))
    #expect(try frontEnd.collect(groupCount: 10, within: .seconds(30)).count == 10)
    #expect(relay.error == nil && relay.service.frontEnd != nil)
    _ = (workers, peers)
  }

  /// A message that cannot be sent, found out while it waits in a queue, is its receiver's affair alone.
  @Test func whatCannotBeSentCostsNobodyElse() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let peer = try RawPeer(frontEnd.controlEndpoint, receiveHighWaterMark: 1)
    let session = try peer.join("deaf")
    // Every foreign lease that is named is cancelled: echoes that the peer does not read fill its connection and its queue.
    for _ in 0..<64 {
      try peer.send(.heartbeat(Heartbeat(leaseIDs: Array(1...100_000))), session: session)
    }
    // The longest heartbeat there may be; with the reason in it, its echo is longer than an envelope may be.
    let longest = try #require(
      (131_000...131_072).last { count in
        (try? Envelope(session: session, .heartbeat(Heartbeat(leaseIDs: Array(1...UInt64(count)), heldVersion: 0)))
          .encoded()) != nil
      })
    let heartbeat = Message.heartbeat(Heartbeat(leaseIDs: Array(1...UInt64(longest)), heldVersion: 0))
    #expect(throws: WireError.self) {
      try Envelope(session: session, .cancel(leaseIDs: Array(1...UInt64(longest)), reason: "taken back")).encoded()
    }
    try peer.send(heartbeat, session: session)
    #expect(eventually { frontEnd.statistics().workers.first?.name == nil })
    let worker = try FakeWorker(workerOptions(frontEnd.controlEndpoint))
    try frontEnd.submit(promptGroups(0..<3))
    #expect(try frontEnd.collect(groupCount: 3, within: .seconds(30)).count == 3)
    _ = worker
  }

  /// Memory for a peer that does not read is bounded in bytes, too.
  @Test func echoesAreBounded() {
    var outbox = Outbox()
    let echo = Message.cancel(leaseIDs: Array(1...100_000), reason: "taken back")
    for _ in 0..<83 { outbox.put(echo) }
    #expect(!outbox.isOverfull)
    outbox.put(echo)
    #expect(outbox.isOverfull)
  }
}
