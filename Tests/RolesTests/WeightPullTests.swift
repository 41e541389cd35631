import Kernels
import Logging
import Testing
import TestSupport
import WeightSync
import Wire

@testable import Gradients
@testable import WeightExchange
@testable import WorkerLink

private let team = ThreadTeam(threadCount: 1)

/// A chain of versions whose steps change some weights.
struct Chain {
  private(set) var snapshots: [WeightSnapshot] = []
  private(set) var deltas: [WeightDelta?] = []
  private var bytes: [UInt8]
  private var random = SeededRandom(4)

  init(
    versions: Int, byteCount: Int = 2_600_000, first: Int = 0, parent: Digest = .zero, salt: UInt8 = 0,
    changes: Int = 1000
  ) throws {
    bytes = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) &+ salt }
    for number in first..<first + versions {
      for _ in 0..<changes { bytes[Int(random.next() % UInt64(byteCount))] ^= 1 }
      let now = bytes
      let snapshot = try WeightSnapshot(
        version: number, parent: snapshots.last?.description.identity ?? parent, byteCount: byteCount
      ) { $0.copyBytes(from: now) }
      deltas.append(
        snapshots.last.flatMap {
          WeightDelta.encode(from: $0, to: snapshot, limit: WeightDelta.byteLimit(for: snapshot), team: team)?.delta
        })
      snapshots.append(snapshot)
    }
  }
}

/// A learner of messages alone, that a test may let fail.
struct MessageLearner {
  var store = VersionStore()
  /// Messages sent, by name; deltas have a star.
  var sent: [String] = []
  /// Changes or swallows (nil) what is sent.
  var fault: (Message) -> Message? = { $0 }

  mutating func publish(_ chain: Chain, _ index: Int, withDelta: Bool = true) throws {
    try store.publish(
      chain.snapshots[index], deltas: withDelta ? [chain.deltas[index]].compactMap { $0 } : [], now: .zero)
  }

  mutating func answer(_ message: Message) throws -> [Message] {
    var answers: [Message] = []
    switch message {
    case .pullPlan(let held):
      if let plan = store.plan(holding: try Digest(held)) { answers = [.weightPlan(WeightPlanDescription(plan))] }
    case .pullManifest(let version, let isDelta):
      guard let weights = store.served(version: version, isDelta: isDelta, now: .zero) else {
        answers = [.weightsUnavailable(version: version, isDelta: isDelta)]
        break
      }
      answers = [.manifest(WeightManifest(version: version, leaves: weights.manifest, isDelta: isDelta))]
    case .pullWeights(let pull):
      guard let weights = store.served(version: pull.version, isDelta: pull.isDelta, now: .zero) else {
        answers = [.weightsUnavailable(version: pull.version, isDelta: pull.isDelta)]
        break
      }
      answers = try (pull.firstChunk..<pull.firstChunk + pull.count).map {
        .weightsChunk(
          WeightsChunk(version: pull.version, index: $0, bytes: try #require(weights.chunk($0)), isDelta: pull.isDelta))
      }
    default: Issue.record("\(message.name) is not expected")
    }
    return answers.compactMap { answer in
      sent.append(Self.name(answer))
      return fault(answer)
    }
  }

  private static func name(_ message: Message) -> String {
    switch message {
    case .weightsChunk(let chunk): chunk.isDelta ? "chunk*" : "chunk"
    case .manifest(let manifest): manifest.isDelta ? "manifest*" : "manifest"
    case .weightsUnavailable(_, let isDelta): isDelta ? "unavailable*" : "unavailable"
    default: message.name
    }
  }
}

/// Delivers every message both ways until nothing is said any longer.
func exchange(_ pull: inout WeightPull, _ learner: inout MessageLearner, _ requests: [Message]) throws {
  var waiting = requests
  while true {
    if let job = pull.takeJob() {
      let result = Result { () throws(WeightSyncError) in
        do { return try job.parent.applying(job.deltas, to: job.target, team: team) } catch {
          throw error as! WeightSyncError
        }
      }
      waiting += try pull.applied(job.number, result, now: .zero, logger: quiet)
      continue
    }
    guard !waiting.isEmpty else { return }
    for answer in try learner.answer(waiting.removeFirst()) {
      switch answer {
      case .weightPlan(let plan): waiting += try pull.receive(plan, now: .zero)
      case .manifest(let manifest): waiting += try pull.receive(manifest, now: .zero, logger: quiet)
      case .weightsChunk(let chunk): waiting += try pull.receive(chunk, now: .zero, logger: quiet)
      case .weightsUnavailable(let version, let isDelta):
        waiting += try pull.unavailable(version: version, isDelta: isDelta, now: .zero, logger: quiet)
      default: break
      }
    }
  }
}

func announce(_ pull: inout WeightPull, _ learner: MessageLearner, isAuthoritative: Bool = true) throws -> [Message] {
  try pull.announced(
    #require(learner.store.announcement), isAuthoritative: isAuthoritative, limit: 1 << 40, now: .zero)
}

@Suite struct WeightPullTests {
  @Test func followsTheChainByDeltas() throws {
    let chain = try Chain(versions: 5)
    var (pull, learner) = (WeightPull(), MessageLearner())
    for index in 0..<5 {
      try learner.publish(chain, index)
      try exchange(&pull, &learner, announce(&pull, learner))
      #expect(pull.inHand?.description == chain.snapshots[index].description)
      #expect(pull.inHand?.leaves == chain.snapshots[index].leaves)
      #expect(pull.deltasInHand.count == min(index, 1))
    }
    #expect(learner.sent.count { $0 == "chunk" } == 10 && learner.sent.count { $0 == "chunk*" } == 4)
    // A delta of one leaf needs neither plan nor manifest.
    #expect(learner.sent.count { $0 == "WeightPlan" } == 1 && learner.sent.count { $0.hasPrefix("manifest") } == 1)
    #expect(try announce(&pull, learner).isEmpty)
  }

  @Test func catchesUpOverSeveralVersions() throws {
    let chain = try Chain(versions: 6)
    var (pull, learner) = (WeightPull(), MessageLearner())
    try learner.publish(chain, 0)
    try exchange(&pull, &learner, announce(&pull, learner))
    for index in 1..<6 { try learner.publish(chain, index) }
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.inHand?.leaves == chain.snapshots[5].leaves)
    #expect(pull.deltasInHand.map(\.description.version) == [1, 2, 3, 4, 5])
    #expect(learner.sent.count { $0 == "chunk*" } == 5 && learner.sent.count { $0 == "chunk" } == 10)
  }

  /// What has begun is finished while the chain leads on from it, and the rest follows as deltas.
  @Test func versionsThatOvertakeAPullDoNotStartItAnew() throws {
    let chain = try Chain(versions: 4)
    var (pull, learner) = (WeightPull(), MessageLearner())
    try learner.publish(chain, 0)
    var requests = try announce(&pull, learner)
    // Version 0 is half there when the others come.
    for _ in 0..<2 {
      requests = try requests.flatMap { request in
        try learner.answer(request).prefix(5).flatMap { answer -> [Message] in
          switch answer {
          case .weightPlan(let plan): try pull.receive(plan, now: .zero)
          case .manifest(let manifest): try pull.receive(manifest, now: .zero, logger: quiet)
          default: []
          }
        }
      }
    }
    for index in 1..<4 {
      try learner.publish(chain, index)
      #expect(try announce(&pull, learner, isAuthoritative: index < 3).isEmpty)
    }
    try exchange(&pull, &learner, requests)
    #expect(pull.inHand?.leaves == chain.snapshots[3].leaves)
    #expect(learner.sent.count { $0 == "chunk" } == 10 && learner.sent.count { $0 == "chunk*" } == 3)
  }

  @Test func whatIsNotOfferedAsADeltaIsPulledWhole() throws {
    let chain = try Chain(versions: 2)
    var (pull, learner) = (WeightPull(), MessageLearner())
    try learner.publish(chain, 0)
    try exchange(&pull, &learner, announce(&pull, learner))
    try learner.publish(chain, 1, withDelta: false)
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.inHand?.leaves == chain.snapshots[1].leaves && pull.deltasInHand.isEmpty)
    #expect(learner.sent.count { $0 == "chunk" } == 20)
  }

  @Test func corruptedChunksAreAskedForAgain() throws {
    let chain = try Chain(versions: 2)
    var (pull, learner) = (WeightPull(), MessageLearner())
    try learner.publish(chain, 0)
    try exchange(&pull, &learner, announce(&pull, learner))
    try learner.publish(chain, 1)
    var corrupted = 0
    learner.fault = { message in
      guard case .weightsChunk(var chunk) = message, corrupted < 3 else { return message }
      corrupted += 1
      chunk.bytes[chunk.bytes.count / 2] ^= 16
      return .weightsChunk(chunk)
    }
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(corrupted == 3 && pull.inHand?.leaves == chain.snapshots[1].leaves && pull.deltasInHand.count == 1)
  }

  @Test func aDeltaThatNeverVerifiesIsReplacedByTheWhole() throws {
    let chain = try Chain(versions: 3)
    var (pull, learner) = (WeightPull(), MessageLearner())
    try learner.publish(chain, 0)
    try exchange(&pull, &learner, announce(&pull, learner))
    try learner.publish(chain, 1)
    learner.fault = { message in
      guard case .weightsChunk(var chunk) = message, chunk.isDelta else { return message }
      chunk.bytes[chunk.bytes.count - 1] ^= 1
      return .weightsChunk(chunk)
    }
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.inHand?.leaves == chain.snapshots[1].leaves && pull.deltasInHand.isEmpty)
    // The next one is given another chance.
    learner.fault = { $0 }
    try learner.publish(chain, 2)
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.inHand?.leaves == chain.snapshots[2].leaves && pull.deltasInHand.count == 1)
  }

  /// Its bytes are those announced, but they lead elsewhere.
  @Test func aPoisonedDeltaIsReplacedByTheWhole() throws {
    let chain = try Chain(versions: 3)
    let other = try Chain(versions: 2, salt: 9)
    var (pull, learner) = (WeightPull(), MessageLearner())
    try learner.publish(chain, 0)
    try exchange(&pull, &learner, announce(&pull, learner))
    let (honest, wrong) = (try #require(chain.deltas[1]), try #require(other.deltas[1]))
    let poisoned = try WeightDelta(
      received: DeltaDescription(
        parent: honest.description.parent, version: 1, identity: honest.description.identity,
        root: wrong.description.root, byteCount: wrong.bytes.count), leaves: wrong.leaves, bytes: wrong.bytes)
    try learner.store.publish(chain.snapshots[1], deltas: [poisoned], now: .zero)
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.inHand?.leaves == chain.snapshots[1].leaves && pull.deltasInHand.isEmpty)
    #expect(learner.sent.count { $0 == "chunk*" } == 1 && learner.sent.count { $0 == "chunk" } == 20)
  }

  @Test func aMissingDeltaIsReplacedByTheWhole() throws {
    let chain = try Chain(versions: 2)
    var (pull, learner) = (WeightPull(), MessageLearner())
    try learner.publish(chain, 0)
    try exchange(&pull, &learner, announce(&pull, learner))
    try learner.publish(chain, 1)
    var announcement = try #require(learner.store.announcement)
    learner.store = VersionStore()
    try learner.publish(chain, 1, withDelta: false)
    announcement.delta = chain.deltas[1].map {
      VersionAnnouncement.Delta(root: $0.description.root.bytes, byteCount: $0.bytes.count)
    }
    try exchange(
      &pull, &learner, pull.announced(announcement, isAuthoritative: true, limit: 1 << 40, now: .zero))
    #expect(pull.inHand?.leaves == chain.snapshots[1].leaves)
    #expect(learner.sent.contains("unavailable*"))
  }

  @Test func anotherLearnersChainReplacesWhatWasBegun() throws {
    let chain = try Chain(versions: 3)
    let other = try Chain(versions: 1, first: 1, salt: 3)
    var (pull, learner) = (WeightPull(), MessageLearner())
    for index in 0..<3 { try learner.publish(chain, index) }
    _ = try exchangeOnce(&pull, &learner)
    var resumed = MessageLearner()
    try resumed.publish(other, 0)
    pull.learnerChanged(current: resumed.store.announcement)
    #expect(pull.resume(now: .zero).isEmpty)
    try exchange(&pull, &resumed, announce(&pull, resumed))
    #expect(pull.inHand?.description == other.snapshots[0].description)
  }

  /// The learner resumed: the same bytes under another parent.
  @Test func whatIsHeldIsNotPulledAgainUnderAnotherName() throws {
    let chain = try Chain(versions: 2)
    var (pull, learner) = (WeightPull(), MessageLearner())
    try learner.publish(chain, 0)
    try learner.publish(chain, 1)
    try exchange(&pull, &learner, announce(&pull, learner))
    let again = try WeightSnapshot(version: 1, byteCount: chain.snapshots[1].byteCount) { target in
      chain.snapshots[1].withBytes { target.copyMemory(from: $0) }
    }
    var resumed = MessageLearner()
    try resumed.store.publish(again, now: .zero)
    pull.learnerChanged(current: resumed.store.announcement)
    #expect(try announce(&pull, resumed).isEmpty)
    #expect(pull.inHand?.description == again.description)
  }

  /// What arrived before a connection broke is not asked for again.
  @Test func aReconnectionResumes() throws {
    let chain = try Chain(versions: 1)
    var (pull, learner) = (WeightPull(), MessageLearner())
    try learner.publish(chain, 0)
    var arrived = 0
    learner.fault = { message in
      if case .weightsChunk = message { arrived += 1 }
      return arrived > 6 ? nil : message
    }
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.inHand == nil && pull.isStalled(now: .seconds(10), patience: .seconds(5)))
    let before = learner.sent.count { $0 == "chunk" }
    learner.fault = { $0 }
    pull.learnerChanged(current: learner.store.announcement)
    try exchange(&pull, &learner, pull.resume(now: .seconds(10)))
    #expect(pull.inHand?.leaves == chain.snapshots[0].leaves)
    #expect(learner.sent.count { $0 == "chunk" } - before == 4)
  }

  @Test func aSlowLinkIsAskedForLessAtATime() {
    var window = ChunkWindow(ceiling: 16)
    var now: Duration = .zero
    for chunk in 0..<40 {
      window.asked(chunk..<chunk + 1, now: now)
      window.arrived(chunk, now: now + .milliseconds(100))
    }
    #expect(window.size == 16)
    // 1 Mbit/s: two seconds a chunk, and each waits for those before it.
    for chunk in stride(from: 100, to: 400, by: 20) {
      window.asked(chunk..<chunk + window.size, now: now)
      for offset in 0..<window.size {
        now += .milliseconds(2100)
        window.arrived(chunk + offset, now: now)
      }
    }
    #expect(window.size == 1)
  }

  @Test func plansThatDoNotFitAreRefused() throws {
    let chain = try Chain(versions: 4)
    var (pull, learner) = (WeightPull(), MessageLearner())
    for index in 1..<4 { try learner.publish(chain, index) }
    _ = try announce(&pull, learner)
    let plan = try #require(learner.store.plan(holding: chain.snapshots[1].description.identity))
    let result = Result { try pull.receive(WeightPlanDescription(plan), now: .zero) }
    #expect(throws: WeightSyncError.self) { try result.get() }
  }

  /// The first round trips only, so that a pull is under way.
  private func exchangeOnce(_ pull: inout WeightPull, _ learner: inout MessageLearner) throws -> [Message] {
    var requests = try announce(&pull, learner)
    for answer in try requests.flatMap({ try learner.answer($0) }) {
      if case .weightPlan(let plan) = answer { requests = try pull.receive(plan, now: .zero) }
    }
    return requests
  }
}

/// The KL term's frozen model beside the chain.
@Suite struct ReferencePullTests {
  private let chain: Chain
  private let other: WeightSnapshot

  init() throws {
    chain = try Chain(versions: 3)
    other = try Self.reference(Chain(versions: 1, salt: 3).snapshots[0])
  }

  private static func reference(_ snapshot: WeightSnapshot) throws -> WeightSnapshot {
    try WeightSnapshot(version: VersionDescription.referenceVersion, byteCount: snapshot.byteCount) { target in
      snapshot.withBytes { target.copyMemory(from: $0) }
    }
  }

  /// A pull that holds version 0.
  private func holding(takesReference: Bool = true) throws -> (WeightPull, MessageLearner) {
    var (pull, learner) = (WeightPull(takesReference: takesReference), MessageLearner())
    try learner.publish(chain, 0)
    try exchange(&pull, &learner, announce(&pull, learner))
    learner.sent = []
    return (pull, learner)
  }

  @Test func isPulledOnceBehindTheVersion() throws {
    var (pull, learner) = (WeightPull(takesReference: true), MessageLearner())
    try learner.publish(chain, 0)
    try learner.store.publish(reference: other)
    var had: [Bool] = []
    learner.fault = { message in
      if case .weightsChunk(let chunk) = message { had.append(chunk.version == -2) }
      return message
    }
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.reference?.leaves == other.leaves && pull.inHand?.version == 0)
    #expect(had == [Bool](repeating: false, count: 10) + [Bool](repeating: true, count: 10))
    learner.sent = []
    #expect(try announce(&pull, learner).isEmpty)
    try learner.publish(chain, 1)
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(learner.sent == ["chunk*"] && pull.reference?.leaves == other.leaves)
  }

  /// Who samples alone has no use for it; nor has a peer on PUB, whose words may be old, a say in it.
  @Test func isPulledByThoseThatTakeItWhenTheSessionNamesIt() throws {
    var (sampler, learner) = try holding(takesReference: false)
    try learner.store.publish(reference: other)
    #expect(try announce(&sampler, learner).isEmpty)
    var (pull, _) = try holding()
    #expect(try announce(&pull, learner, isAuthoritative: false).isEmpty)
    #expect(try !announce(&pull, learner).isEmpty)
  }

  @Test func theSameBytesAreNotPulledAgain() throws {
    var (pull, learner) = try holding()
    try learner.store.publish(reference: Self.reference(chain.snapshots[0]))
    #expect(try announce(&pull, learner).isEmpty && learner.sent.isEmpty)
    #expect(pull.reference?.description.isReference == true && pull.reference?.leaves == chain.snapshots[0].leaves)
    // It outlives the version whose bytes it shares.
    for index in 1..<3 {
      try learner.publish(chain, index)
      try exchange(&pull, &learner, announce(&pull, learner))
    }
    #expect(pull.inHand?.version == 2)
    let (kept, wanted) = (try #require(pull.reference), chain.snapshots[0])
    #expect(kept.withBytes { one in wanted.withBytes { Array(one) == Array($0) } })
  }

  /// A version goes before it; what of it had come is kept.
  @Test func makesWayForAVersion() throws {
    var (pull, learner) = try holding()
    try learner.store.publish(reference: other)
    var arrived = 0
    learner.fault = { message in
      if case .weightsChunk = message { arrived += 1 }
      return arrived > 5 ? nil : message
    }
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.reference == nil && pull.hasBegunReference && arrived >= 5)
    (learner.sent, arrived) = ([], -100)
    try learner.publish(chain, 1)
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.inHand?.leaves == chain.snapshots[1].leaves && pull.reference?.leaves == other.leaves)
    #expect(learner.sent.first == "chunk*")
    #expect(learner.sent.count { $0 == "chunk" } == 5 && !learner.sent.contains("manifest"))
  }

  @Test func anotherOneReplacesIt() throws {
    var (pull, learner) = try holding()
    try learner.store.publish(reference: other)
    try exchange(&pull, &learner, announce(&pull, learner))
    let third = try Self.reference(Chain(versions: 1, salt: 9).snapshots[0])
    // A learner that begins anew names none at first.
    let store = learner.store
    learner.store = VersionStore()
    try learner.publish(chain, 0)
    #expect(try announce(&pull, learner).isEmpty && pull.reference?.leaves == other.leaves)
    learner.store = store
    try learner.store.publish(reference: third)
    let requests = try announce(&pull, learner)
    #expect(pull.reference == nil)
    try exchange(&pull, &learner, requests)
    #expect(pull.reference?.leaves == third.leaves)
  }

  @Test func brokenChunksAreAskedForAgainAndAnUnservedOneIsNamedAgain() throws {
    var (pull, learner) = try holding()
    try learner.store.publish(reference: other)
    var broken = 3
    learner.fault = { message in
      guard case .weightsChunk(var chunk) = message, broken > 0 else { return message }
      broken -= 1
      chunk.bytes[7] ^= 1
      return .weightsChunk(chunk)
    }
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.reference?.leaves == other.leaves && broken == 0)
    var fresh = try holding().0
    learner.fault = { message in
      if case .manifest(let manifest) = message {
        return .weightsUnavailable(version: manifest.version, isDelta: false)
      }
      return message
    }
    try exchange(&fresh, &learner, announce(&fresh, learner))
    #expect(fresh.reference == nil && fresh.inHand?.version == 0 && !fresh.isStalled(now: .seconds(9), patience: .zero))
    learner.fault = { $0 }
    try exchange(&fresh, &learner, announce(&fresh, learner))
    #expect(fresh.reference?.leaves == other.leaves)
  }

  /// Without the memory nothing is asked for, and versions go on.
  @Test func isNotBegunWithoutTheMemory() throws {
    var (pull, learner) = try holding()
    try learner.store.publish(reference: other)
    pull.wish.limit = other.byteCount - 1
    #expect(try announce(&pull, learner).isEmpty && pull.wish.named == other.description)
    #expect(!pull.hasBegunReference)
    try learner.publish(chain, 1)
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.inHand?.version == 1 && pull.reference == nil)
    pull.wish.limit = other.byteCount
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(pull.reference?.leaves == other.leaves)
  }
}
