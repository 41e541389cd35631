import Objectives
import Parameters
import Testing
import TestSupport
import Thinking
import Trajectories

@testable import Wire

/// Whatever arrives, decoding throws or returns; it never traps.
@Suite struct HostileInputTests {
  @Test(arguments: 0..<RandomMessages.kindCount)
  func flippedBytes(kind: Int) throws {
    var messages = RandomMessages(seed: 100 + UInt64(kind))
    var accepted = 0
    for _ in 0..<400 {
      var frames = try Envelope(session: 9, messages.message(kind: kind)).encoded()
      for _ in 0..<Int.random(in: 1...3, using: &messages.random) {
        let frame = frames.indices.randomElement(using: &messages.random)!
        guard let position = frames[frame].indices.randomElement(using: &messages.random) else { continue }
        frames[frame][position] ^= 1 << UInt8.random(in: 0..<8, using: &messages.random)
      }
      if let envelope = try? Envelope(decoding: frames) {
        // What was accepted obeys the rules, so it can be sent on; a lease that is not understood cannot.
        if case .grant(let leases) = envelope.message, leases.contains(where: { $0.unknown != nil }) {
          #expect(throws: WireError.self) { try envelope.encoded() }
        } else {
          _ = try envelope.encoded()
        }
        accepted += 1
      }
    }
    #expect(accepted < 400)
  }

  @Test(arguments: 0..<RandomMessages.kindCount)
  func truncations(kind: Int) throws {
    var messages = RandomMessages(seed: 200 + UInt64(kind))
    let envelope = Envelope(session: 9, messages.message(kind: kind))
    let frames = try envelope.encoded()
    for index in frames.indices {
      for count in frames[index].indices {
        var cut = frames
        cut[index] = Array(frames[index][..<count])
        if let decoded = try? Envelope(decoding: cut) { #expect(decoded != envelope) }
      }
    }
    #expect(throws: WireError.self) { try Envelope(decoding: frames + [[1, 2, 3]]) }
    if frames.count > 1 { #expect(throws: WireError.self) { try Envelope(decoding: Array(frames.dropLast())) } }
  }

  @Test func randomBytes() {
    var random = SplitMix64(seed: 1)
    for _ in 0..<5000 {
      let frame = (0..<Int.random(in: 0..<64, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      #expect(throws: WireError.self) { try Envelope(decoding: [frame]) }
    }
    #expect(throws: WireError.self) { try Envelope(decoding: []) }
  }

  @Test func sizesAreBounded() throws {
    #expect(throws: WireError.self) { try Envelope(decoding: [[UInt8](repeating: 0, count: 1 << 20 + 1)]) }
    let chunk = try Envelope(.weightsChunk(WeightsChunk(version: 1, index: 0, bytes: [0]))).encoded()
    #expect(throws: WireError.self) { try Envelope(decoding: [chunk[0], [UInt8](repeating: 0, count: 262_145)]) }
    let result = TrajectoryResult(
      leaseID: 1, groupOrdinal: 0, sampleIndex: 0, policyVersion: 0,
      segments: [.forced([Int32](repeating: 1, count: 100))], finishReason: .stop)
    let frames = try Envelope(.trajectoryResult(result)).encoded()
    #expect(throws: WireError.self) { try Envelope(decoding: frames, limits: WireLimits(trajectoryByteCount: 399)) }
    #expect(throws: Never.self) { try Envelope(decoding: frames, limits: WireLimits(trajectoryByteCount: 400)) }
  }

  /// A grant of half a million empty leases is 1 MiB on the wire and would be 100 MiB in memory.
  @Test func smallFramesDoNotBecomeLargeHeaps() {
    let leases = [UInt8](repeating: 0, count: 900_000).enumerated().map { $0.offset % 2 == 0 ? UInt8(0x0A) : 0 }
    var frame: [UInt8] = [0x08, 0x01, 0x72]  // protocol = 1, grant = …
    var length = leases.count
    while length >= 0x80 {
      frame.append(UInt8(length & 0x7F) | 0x80)
      length >>= 7
    }
    frame.append(UInt8(length))
    #expect(throws: WireError.self) { try Envelope(decoding: [frame + leases]) }
  }

  @Test func otherGenerationsAreRefusedByName() throws {
    var frames = try Envelope(.requestWork(credits: 1)).encoded()
    #expect(frames[0].starts(with: [0x08, UInt8(Envelope.protocolGeneration)]))
    frames[0][1] = 1
    let error = #expect(throws: WireError.self) { try Envelope(decoding: frames) }
    #expect(error?.message.contains("protocol generation 1") == true)
  }

  @Test func unknownFieldsAreRefused() throws {
    let frames = try Envelope(.requestWork(credits: 1)).encoded()
    #expect(throws: WireError.self) { try Envelope(decoding: [frames[0] + [0xF8, 0x07, 0x01]]) }
  }

  @Test func infiniteFloatsAreRefused() throws {
    let result = TrajectoryResult(
      leaseID: 1, groupOrdinal: 0, sampleIndex: 0, policyVersion: 0,
      segments: [.discrete(DiscreteSegment(tokenIDs: [1], logProbs: [-1]))], finishReason: .stop)
    var frames = try Envelope(.trajectoryResult(result)).encoded()
    frames[3] = [0, 0, 0x80, 0x7F]
    #expect(throws: WireError.self) { try Envelope(decoding: frames) }
  }

  /// What tells an older trajectory from the others, and what comes back of it, cannot contradict itself.
  @Test func offPolicyRulesAreChecked() throws {
    let segments: [Segment] = [
      .discrete(DiscreteSegment(tokenIDs: [1, 2], logProbs: [-1, -2])), .forced([3]),
    ]
    let trajectory = GradientTrajectory(
      leaseID: 1, index: 0, prompt: [1], policy: ThinkingPolicies.tokens.description, segments: segments,
      advantages: [1],
      weight: 0.5, oldLogProbs: [-1, -2], importanceCap: 2, isOlder: true)
    func decoded(_ change: (inout GradientTrajectory) -> Void) throws -> GradientTrajectory? {
      var changed = trajectory
      change(&changed)
      let envelope = try Envelope(decoding: Envelope(.gradientTrajectory(changed)).encoded())
      if case .gradientTrajectory(let result) = envelope.message { return result }
      return nil
    }
    #expect(try decoded { _ in } == trajectory)
    #expect(try decoded { $0.importanceCap = nil }?.isOlder == true)
    #expect(try decoded { $0.oldLogProbs = nil }?.importanceCap == 2)
    #expect(try decoded { $0.isOlder = false }?.isOlder == false)
    for broken: (inout GradientTrajectory) -> Void in [
      { $0.oldLogProbs = [-1] }, { $0.oldLogProbs = [] }, { $0.oldLogProbs = [-1, -2, -3] },
      { $0.oldLogProbs![1] = .infinity }, { $0.importanceCap = 0.5 }, { $0.importanceCap = .nan },
      { ($0.oldLogProbs, $0.importanceCap) = (nil, nil) },
      { $0.segments = [.discrete(DiscreteSegment(tokenIDs: [1, 2]))] },
    ] { #expect(throws: WireError.self) { try decoded(broken) } }
    // A receiver relies on no sender: the same of frames that no sender here would make.
    let frames = try Envelope(.gradientTrajectory(trajectory)).encoded()
    var short = frames
    short[5] = Array(short[5].dropLast(4))
    #expect(throws: WireError.self) { try Envelope(decoding: short) }
    var unrecorded = frames
    unrecorded[3] = []
    #expect(throws: WireError.self) { try Envelope(decoding: unrecorded) }

    var part = NamedSums()
    part.add(total: LossSum.policyLoss, -0.5)
    part.add(mean: LossSum.behaviourMean, sum: 4.5, count: 3)
    part.add(maximum: LossSum.ratioMaximum, 1.5)
    func ready(_ change: (inout [String: NamedSums.Entry]) -> Void) throws -> [[UInt8]] {
      var entries = part.entries
      change(&entries)
      return try Envelope(
        .gradientReady(
          GradientReady(
            leaseID: 1, sums: [NamedSums(entries: entries)], logProbs: [], root: [UInt8](repeating: 0, count: 32),
            elapsedMicroseconds: 0))
      ).encoded()
    }
    guard case .gradientReady(let back) = try Envelope(decoding: ready { _ in }).message else {
      Issue.record("another message")
      return
    }
    #expect(back.sums == [part])
    for broken: (inout [String: NamedSums.Entry]) -> Void in [
      { $0[LossSum.policyLoss]?.sum = .nan }, { $0[LossSum.behaviourMean]?.count = -1 },
      { $0[""] = NamedSums.Entry(reduction: .total, sum: 1, count: 1) },
      { for index in 0..<65 { $0["\(index)"] = NamedSums.Entry(reduction: .total, sum: 1, count: 1) } },
    ] { #expect(throws: WireError.self) { try ready(broken) } }
  }

  @Test func gradientRulesAreChecked() throws {
    var messages = RandomMessages(seed: 7)
    func refused(_ message: Message) { #expect(throws: WireError.self) { try Envelope(message).encoded() } }
    let digest = [UInt8](repeating: 1, count: 32)
    let objective = PartDescription(name: "sapo", values: ParameterValues(["tau": .number(1)]))
    let grant = GradientGrant(
      id: 1, policyVersion: 0, level: 1, index: 1, leafCount: 4, passSizes: [[2], [1, 3]],
      loss: GradientLoss(objective: objective, objectiveDigest: digest), gradientType: "float32",
      elementCount: 100, longestSequence: 9, deadlineMilliseconds: 1)
    #expect(throws: Never.self) { try Envelope(.gradientGrant(grant)).encoded() }
    func broken(_ change: (inout GradientGrant) -> Void) {
      var bad = grant
      change(&bad)
      refused(.gradientGrant(bad))
    }
    broken { $0.id = 0 }
    broken { $0.index = 2 }
    broken { $0.leafCount = 0 }
    broken { $0.leafCount = 3 }
    broken { $0.passSizes = [[2]] }
    broken { $0.passSizes = [[2], []] }
    broken { $0.passSizes = [[2], [0]] }
    broken { $0.passSizes = [[2], [65_536]] }
    broken { $0.loss.objectiveDigest = [1] }
    broken { $0.loss.objective = nil }
    broken { $0.loss.objective?.name = "" }
    broken { $0.loss.objective?.values["tau"] = .number(.nan) }
    broken { for index in 0..<65 { $0.loss.objective?.values["p\(index)"] = .null } }
    func divergence(_ coefficient: Double, _ estimator: String, _ root: [UInt8]) -> GradientLoss.Divergence {
      GradientLoss.Divergence(coefficient: coefficient, estimator: estimator, referenceRoot: root)
    }
    var penalised = grant
    penalised.loss.divergence = divergence(0.001, "exact", digest)
    #expect(throws: Never.self) { try Envelope(decoding: Envelope(.gradientGrant(penalised)).encoded()) }
    broken { $0.loss.divergence = divergence(0, "k3", digest) }
    broken { $0.loss.divergence = divergence(-0.001, "k3", digest) }
    broken { $0.loss.divergence = divergence(.nan, "k3", digest) }
    broken { $0.loss.divergence = divergence(0.001, "k9", digest) }
    broken { $0.loss.divergence = divergence(0.001, "k3", [1]) }
    refused(.heartbeat(Heartbeat(heldReference: [1])))
    for version in [-2, -1, 1] { refused(.heartbeat(Heartbeat(heldGradientVersion: version))) }
    for version in [-2, -1] { broken { $0.policyVersion = version } }
    refused(.heartbeat(Heartbeat(narrowLinkBytesPerSecond: 1 << 49)))
    var announcement = messages.announcement()
    refused(.gradientVersion(announcement))
    announcement.version = -3
    refused(.versionAnnouncement(announcement))
    #expect(throws: Never.self) { try Envelope(decoding: Envelope(.gradientVersion(announcement)).encoded()) }
    announcement.version = 3
    announcement.reference = VersionAnnouncement.Reference(root: [], byteCount: 5)
    refused(.versionAnnouncement(announcement))
    announcement.reference = VersionAnnouncement.Reference(root: digest, byteCount: 0)
    refused(.versionAnnouncement(announcement))
    broken { $0.gradientType = "float16" }
    broken { $0.elementCount = -1 }
    broken { $0.fingerprint = "" }
    broken { $0.fingerprint = String(repeating: "f", count: 5000) }
    broken { $0.excludedWorkers = ["b", "a"] }
    broken { $0.excludedWorkers = ["a", "a"] }
    broken { $0.excludedWorkers = (0..<1025).map { String(10_000 + $0) } }
    broken { $0.rowsPerSecond = .infinity }
    broken { $0.rowsPerSecond = -1 }
    var ready = messages.gradientReady()
    ready.sums[0].add(total: LossSum.policyLoss, .nan)
    refused(.gradientReady(ready))
    ready = messages.gradientReady()
    ready.root = [1]
    refused(.gradientReady(ready))
    for leafCounts in [[0], [2], [1, 1], [65_537], [-1, 2]] {
      ready = messages.gradientReady()
      ready.sums = [NamedSums()]
      ready.origins = leafCounts.map { GradientOrigin(workerName: "a", fingerprint: "f", leafCount: $0) }
      refused(.gradientReady(ready))
    }
    ready = messages.gradientReady()
    ready.origins[0].root = [UInt8](repeating: 1, count: 31)
    refused(.gradientReady(ready))
    func refused(classes: [GradientClass]) { refused(.heartbeat(Heartbeat(gradientClasses: classes))) }
    refused(classes: [GradientClass(fingerprint: "f", workerCount: 0, threads: 1)])
    refused(classes: [GradientClass(fingerprint: "f", workerCount: 1, threads: -1)])
    refused(classes: (0..<2).map { GradientClass(fingerprint: "f", workerCount: 1 + $0, threads: 1) })
    refused(classes: (0..<65).map { GradientClass(fingerprint: "f\($0)", workerCount: 1, threads: 1) })
    var trajectory = messages.gradientTrajectory()
    trajectory.advantages = [.infinity]
    refused(.gradientTrajectory(trajectory))
    refused(.pullGradient(GradientPull(leaseID: 1, first: 0, count: 65)))
    refused(.gradientChunk(GradientChunk(leaseID: 1, index: 0, bytes: [])))
    refused(.gradientChunk(GradientChunk(leaseID: 1, index: 0, bytes: [UInt8](repeating: 0, count: 262_145))))
  }
}
