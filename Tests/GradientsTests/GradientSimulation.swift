import Coordination
import Objectives
import Testing
import Training
import Wire

@testable import Gradients

/// A learner and workers that compute `rowsPerSecond`, each behind a link of `bytesPerSecond`, in simulated time.
struct GradientSimulation {
  var exchange = GradientExchange(
    options: .init(leaseDuration: .seconds(3600), patience: .seconds(3600)), firstLeaseID: 9)
  var now = 0.0
  private var events: [(at: Double, action: Action)] = []
  private var ready: [WorkerID: GradientReady] = [:]
  private var learnerIsIdle = true
  /// When each worker's link is free again.
  private var links: [WorkerID: Double] = [:]
  var leavesOf: [WorkerID: Int] = [:]
  /// Which leaves each worker was ever lent.
  var leavesRun: [WorkerID: Set<Int>] = [:]

  enum Action {
    case local(Int, seconds: Double)
    case computed(WorkerID, GradientReady)
    case chunk(WorkerID, GradientChunk)
    case followed(WorkerID, Int)
  }
  /// Seconds that workers need to come to the weights of a later mini-batch; those that are missing never do.
  var following: [WorkerID: Double] = [:]
  /// How many of them were told.
  var told = 0

  private var time: Duration { .seconds(now) }

  /// - Returns: seconds until the sum is complete.
  mutating func step(
    _ offer: GradientOffer, learner: Double, workers: [WorkerID: Double], bytesPerSecond: Double,
    dead: Set<WorkerID> = [], sampling: Double = 0
  ) throws -> Double {
    let start = now
    // Of all workers, spent on gradients.
    var lent = 0.0
    var missing = Set(offer.leaves.indices)
    exchange.begin(offer)
    learnerIsIdle = true
    events = []
    while !missing.isEmpty {
      while let arrived = exchange.takeArrived() { missing.subtract(arrived.leaves) }
      if learnerIsIdle {
        if let leaf = exchange.takeLocal(now: time) {
          let seconds = Double(offer.leaves[leaf].rowCount) / learner
          events.append((now + seconds, .local(leaf, seconds: seconds)))
          learnerIsIdle = false
        } else {
          exchange.takeOver(now: time)
          if let leaf = exchange.takeLocal(now: time) {
            let seconds = Double(offer.leaves[leaf].rowCount) / learner
            events.append((now + seconds, .local(leaf, seconds: seconds)))
            learnerIsIdle = false
          }
        }
      }
      exchange.keepTime(now: time)
      exchange.forecast.samplingSeconds = max(0, sampling - (now - start - lent / Double(workers.count)))
      exchange.grant(now: time) { worker, version in workers[worker] != nil && version == 3 }
      let outgoing = exchange.outgoing
      exchange.outgoing = []
      for (worker, message) in outgoing where !dead.contains(worker) {
        switch message {
        case .gradientGrant(let grant):
          let run = grant.index << grant.level..<min(grant.leafCount, (grant.index + 1) << grant.level)
          let rows = offer.leaves[run].reduce(0) { $0 + $1.rowCount }
          let seconds = Double(rows) / workers[worker]!
          leavesOf[worker, default: 0] += run.count
          leavesRun[worker, default: []].formUnion(run)
          lent += seconds
          let part = NamedSums()
          events.append(
            (
              now + seconds,
              .computed(
                worker,
                GradientReady(
                  leaseID: grant.id, sums: run.map { _ in part },
                  logProbs: [Float](repeating: -1, count: 100 * run.count), root: [UInt8](repeating: 0, count: 32),
                  elapsedMicroseconds: Int(seconds * 1e6)))
            ))
        case .gradientVersion(let announcement):
          told += 1
          if let seconds = following[worker] { events.append((now + seconds, .followed(worker, announcement.version))) }
        case .pullGradient(let pull):
          for index in pull.first..<pull.first + pull.count {
            let bytes = min(GradientChunk.byteCount, offer.byteCount - index * GradientChunk.byteCount)
            let begin = max(now, links[worker] ?? 0)
            links[worker] = begin + Double(bytes) / bytesPerSecond
            events.append(
              (
                links[worker]!,
                .chunk(
                  worker,
                  GradientChunk(leaseID: pull.leaseID, index: index, bytes: [UInt8](repeating: 0, count: bytes)))
              ))
          }
        default: break
        }
      }
      if missing.isEmpty { break }
      // A learner without work looks again soon, as the real one does.
      if let next = events.indices.min(by: { events[$0].at < events[$1].at }),
        !learnerIsIdle || events[next].at < now + 0.02
      {
        let event = events.remove(at: next)
        now = max(now, event.at)
        switch event.action {
        case .local(let leaf, let seconds):
          exchange.finishLocal(leaf, seconds: seconds)
          missing.remove(leaf)
          learnerIsIdle = true
        case .computed(let worker, let ready): try exchange.ready(ready, from: worker, now: time)
        case .chunk(let worker, let chunk): _ = try exchange.receive(chunk, from: worker, now: time)
        case .followed(let worker, let version):
          exchange.report(gradientVersion: version, by: worker, now: time)
        }
      } else {
        now += 0.02
      }
      try #require(now - start < 10_000)
    }
    exchange.noteLaggards(now: time)
    exchange.end()
    exchange.outgoing = []
    return now - start
  }

  /// A step of several mini-batches, the later ones under weights that cost `publishing` seconds to publish, where that is worth
  /// it.
  mutating func step(
    _ miniBatches: [GradientOffer], publishing: Double, learner: Double, workers: [WorkerID: Double],
    bytesPerSecond: Double
  ) throws -> Double {
    let start = now
    for (number, part) in miniBatches.enumerated() {
      var part = part
      if number > 0 {
        steps += 1
        part.version = -2 - steps
        part.intermediate = GradientOffer.Intermediate(policyVersion: 3, weightByteCount: 20_000_000)
        let isWorthIt = exchange.isWorthPublishing(part, seconds: publishing, now: time) {
          workers[$0] != nil && $1 == 3
        }
        guard isWorthIt else {
          now += Double(part.leaves.reduce(0) { $0 + $1.rowCount }) / learner
          continue
        }
        now += publishing
        part.intermediate?.announcement = VersionAnnouncement(
          version: part.version, parentIdentity: [], root: [], identity: [], byteCount: 1, chunkByteCount: 1)
      }
      _ = try step(part, learner: learner, workers: workers, bytesPerSecond: bytesPerSecond)
    }
    return now - start
  }
  private var steps = 0
}
