import Logging
import Machine
import Synchronization
import TestSupport
import Thinking
import Trajectories
import Transport
import WeightSync
import Wire

@testable import FrontEnd
@testable import WorkerLink

/// A worker whose engine produces trivial trajectories from a lease and the weights in hand, without a model.
final class FakeWorker: Sendable {
  struct Log: Sendable {
    var joined = 0
    var versions: [Int] = []
    /// Bases and versions in the order in which they came.
    var weightEvents: [String] = []
    var leases: [Lease] = []
    var cancelled: [UInt64] = []
    var cancelledSamples: [UInt64: [Int]] = [:]
    var disconnected = 0
    var shutdownReason: String?
    var isOver = false
  }

  let link: WorkerLink
  let log = Mutex(Log())
  private let thread = Mutex<IOThread?>(nil)

  /// - Parameter holding: the engine takes leases and never finishes them.
  init(_ options: WorkerLinkOptions, logger: Logger = quiet, holding: Bool = false) throws {
    let link = try WorkerLink(options, logger: logger)
    self.link = link
    let worker = self
    let thread = try IOThread(name: "fake-engine") { worker.run(holding: holding) }
    self.thread.withLock { $0 = thread }
  }

  private func run(holding: Bool) {
    var snapshot: WeightSnapshot?
    while let event = try? link.nextEvent(within: .seconds(60)) {
      switch event {
      case .joined: log.withLock { $0.joined += 1 }
      case .base(let base): log.withLock { $0.weightEvents.append("base \(base.description.root)") }
      case .reference(let model): log.withLock { $0.weightEvents.append("reference \(model.description.root)") }
      case .gradientWeights(let version):
        log.withLock { $0.weightEvents.append("gradients \(version.snapshot.version)") }
      case .weights(let newest):
        snapshot = newest
        log.withLock {
          $0.versions.append(newest.version)
          $0.weightEvents.append("version \(newest.version)")
        }
      case .lease(let lease):
        log.withLock { $0.leases.append(lease) }
        guard let snapshot, !holding else { continue }
        for sample in lease.sampleIndices { try? link.send(Self.result(lease, sample, snapshot)) }
      case .cancelled(let leaseIDs): log.withLock { $0.cancelled += leaseIDs }
      case .cancelledSamples(let id, let samples): log.withLock { $0.cancelledSamples[id, default: []] += samples }
      case .disconnected: log.withLock { $0.disconnected += 1 }
      case .drain, .gradient, .deltas, .caught: break
      case .shutdown(let reason):
        log.withLock { $0.shutdownReason = reason }
      }
    }
    log.withLock { $0.isOver = true }
  }

  /// A thought that depends on the lease, the sample and the weights' first byte.
  static func result(_ lease: Lease, _ sample: Int, _ snapshot: WeightSnapshot) -> TrajectoryResult {
    var soft = SoftSegment()
    let id = Int32((lease.groupOrdinal + sample) % 90)
    soft.tokenIDs.append([id, id + 1])
    let number = Float(snapshot.withBytes { $0[0] } % 16)
    soft.values.append([number + 0.1, number])
    soft.logProbs = [-1]
    soft.streams.append(StepMeasures(entropy: 0.5, largestProbability: 0.75))
    var answer = DiscreteSegment(tokenIDs: [id], logProbs: [-2])
    answer.streams.append(StepMeasures(entropy: 1, largestProbability: 0.5))
    return TrajectoryResult(
      leaseID: lease.id, groupOrdinal: lease.groupOrdinal, sampleIndex: sample, policyVersion: snapshot.version,
      segments: [.soft(soft), .discrete(answer)], finishReason: .stop)
  }

  /// As a killed process: no goodbye.
  func kill() { link.abort() }
}

/// Waits until `condition` holds; false when it does not within the generous time.
func eventually(within limit: Duration = .seconds(20), _ condition: () throws -> Bool) rethrows -> Bool {
  let never = Mailbox<Void>()
  let deadline = MonotonicClock.now() + limit
  while MonotonicClock.now() < deadline {
    if try condition() { return true }
    _ = never.take(within: .milliseconds(5))
  }
  return false
}

let testModel = ModelDescription(
  architecture: "llama", vocabularySize: 100, hiddenSize: 8, intermediateSize: 16, layerCount: 1, headCount: 2,
  keyValueHeadCount: 1, headDimension: 4, contextLength: 64, rmsNormEpsilon: 1e-5, ropeTheta: 10000,
  tiedEmbeddings: true)

func frontEndOptions(maxStaleness: Int = 0) -> LearnerFrontEndOptions {
  var options = LearnerFrontEndOptions(runID: "test", model: testModel)
  options.controlEndpoint = "tcp://127.0.0.1:0"
  options.announcementEndpoint = "tcp://127.0.0.1:0"
  options.maxStaleness = maxStaleness
  options.heartbeatInterval = .milliseconds(50)
  options.livenessTimeout = .seconds(2)
  options.leaseDuration = .seconds(5)
  return options
}

func workerOptions(_ endpoint: String, name: String = "worker", capacity: Int = 4) -> WorkerLinkOptions {
  var options = WorkerLinkOptions(
    endpoint: endpoint, workerName: name, threads: 1, fingerprint: "test fingerprint", capacity: capacity)
  options.firstRetry = .milliseconds(20)
  options.longestRetry = .milliseconds(100)
  options.waitingNotice = .milliseconds(100)
  return options
}

func promptGroups(_ ordinals: Range<Int>, sampleCount: Int = 4) -> [PromptGroup] {
  ordinals.map {
    PromptGroup(
      ordinal: $0, promptID: "prompt-\($0)", prompt: [1, 2, Int32($0 % 100)], sampleCount: sampleCount,
      policy: ThinkingPolicy(), plan: CompletionPlan(thinking: 4, maxAnswerTokens: 4), noiseSeed: 42)
  }
}

/// Weights whose first byte is the version.
func weights(
  _ version: Int, after parent: WeightSnapshot? = nil, byteCount: Int = 3_000_000, number: Int? = nil
) throws -> WeightSnapshot {
  try WeightSnapshot(
    version: number ?? version, parent: parent?.description.identity ?? .zero, byteCount: byteCount
  ) { bytes in
    for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index &* 31 &+ version) }
    bytes[0] = UInt8(truncatingIfNeeded: version)
  }
}

/// Stops whoever comes until it is opened.
final class Gate: Sendable {
  private let isOpen = Mutex(false)
  private let never = Mailbox<Void>()

  func wait() {
    let deadline = MonotonicClock.now() + .seconds(60)
    while !isOpen.withLock({ $0 }), MonotonicClock.now() < deadline { _ = never.take(within: .milliseconds(5)) }
  }

  func open() { isOpen.withLock { $0 = true } }
}
