import Foundation
import Gradients
import Kernels
import Logging
import Machine
import Synchronization
import Training
import Transport
import WeightSync
import Wire
import WorkerLink

/// Passes gradient leases through a relay: what is lent from above is lent on in smaller nodes, and what comes back is added
/// along the tree, so that one gradient goes up a lease, with the bits that one worker would have sent.
///
/// It has a thread of its own for the sums and hashes, which ends with `end()`. A lease that nobody below can finish goes
/// back up: the learner has somebody who can. So does one that there is no memory for; until there is, `hasMemory` is false and
/// the relay says that nobody below it computes gradients.
final class GradientRelay: Sendable {
  private enum Command: Sendable {
    case take(GradientTask)
    case cancel([UInt64])
    case end
  }

  private let fleet: SharedGradientExchange
  private let commands = Mailbox<Command>()
  private let thread: IOThread
  private let account: Account
  private let availableMemory: @Sendable () -> Int?

  /// - Parameters:
  ///   - fleet: of the front end that the workers are attached to; it must outlive this object.
  ///   - link: where leases come from and gradients go.
  ///   - threads: that sums are formed with.
  ///   - availableMemory: bytes that sums may take; nil: nobody knows.
  init(
    fleet: SharedGradientExchange, link: WorkerLink, threads: Int, availableMemory: @escaping @Sendable () -> Int?,
    logger: Logger
  ) throws {
    self.fleet = fleet
    self.availableMemory = availableMemory
    let (commands, account) = (commands, Account())
    self.account = account
    thread = try IOThread(name: "relay-gradients") {
      let adder = GradientAdder(
        fleet: fleet, link: link, threads: threads, availableMemory: availableMemory, logger: logger)
      while true {
        let batch = commands.takeAll()
        for command in batch {
          switch command {
          case .take(let task):
            if let shortage = adder.take(task) { account.state.withLock { $0.shortage = shortage } }
          case .cancel(let ids): adder.cancel(ids)
          case .end: return adder.giveBackAll("the relay closes")
          }
        }
        adder.turn()
        account.state.withLock {
          $0.done += batch.count
          $0.held = adder.count
        }
        // Arrivals, losses and commands end the wait; time passes for what does not come, too.
        if commands.count == 0 { fleet.wait(within: adder.count == 0 ? .seconds(1) : .milliseconds(50)) }
      }
    }
  }

  /// Commands given and carried out, leases that are not finished, and the bytes that one was declined for want of.
  private final class Account: Sendable {
    let state = Mutex((given: 0, done: 0, held: 0, shortage: Int?.none))
  }

  /// Whether nothing from above is here.
  var isIdle: Bool { account.state.withLock { $0.given == $0.done && $0.held == 0 } }

  /// False from a lease that was declined for want of memory until there is enough for it.
  var hasMemory: Bool {
    let (shortage, held) = account.state.withLock { ($0.shortage, $0.held) }
    guard let shortage else { return true }
    // What is held may not have taken its own yet.
    guard held == 0, availableMemory().map({ $0 >= shortage }) ?? true else { return false }
    account.state.withLock { $0.shortage = nil }
    return true
  }

  func take(_ task: GradientTask) { put(.take(task)) }
  func cancel(_ ids: [UInt64]) { put(.cancel(ids)) }

  /// Gives back what is not finished, and waits for the thread.
  func end() {
    put(.end)
    thread.join()
  }

  private func put(_ command: Command) {
    account.state.withLock { $0.given += 1 }
    commands.put(command)
    fleet.signal.put(())
  }
}

/// The sums of a relay's gradient leases. Confined to one thread.
private final class GradientAdder {
  private struct Work {
    var grant: GradientGrant
    var offer: GradientOffer
    var results: [LeafResult?]
    /// Who computed what: the nodes that came, by their first leaf.
    var origins: [Int: GradientOrigin] = [:]
    var threadSeconds = 0.0
    /// Once there is something to add.
    var sum: (target: GradientBuffer, sum: GradientSum)?

    /// Bytes that its sum may take: as many nodes as one machine would hold, and those that are arriving.
    var byteCount: Int {
      let node = grant.elementCount * 4
      return (offer.tree.nodesHeldInOrder + GradientExchange.transfersAtOnce(byteCount: node)) * node
    }
  }

  private let fleet: SharedGradientExchange
  private let link: WorkerLink
  private let logger: Logger
  private let threads: Int
  private let availableMemory: @Sendable () -> Int?
  /// It was said that there is too little memory.
  private var saysShort = false
  private lazy var team = ThreadTeam(threadCount: threads)
  private let pool = GradientPool()
  private var works: [UInt64: Work] = [:]

  init(
    fleet: SharedGradientExchange, link: WorkerLink, threads: Int, availableMemory: @escaping @Sendable () -> Int?,
    logger: Logger
  ) {
    self.fleet = fleet
    self.availableMemory = availableMemory
    self.link = link
    self.threads = threads
    self.logger = logger
  }

  var count: Int { works.count }

  /// - Returns: bytes that have to be free for a lease like this one, when they are not and it was declined.
  func take(_ task: GradientTask) -> Int? {
    let grant = task.grant
    guard let type = GradientType(rawValue: grant.gradientType) else {
      decline(grant.id, "gradients of type \(grant.gradientType) are not known here")
      return nil
    }
    let leaves: [GradientLeaf]
    do { leaves = try task.leaves() } catch {
      decline(grant.id, "\(error)")
      return nil
    }
    let work = Work(
      grant: grant,
      offer: GradientOffer(
        version: grant.policyVersion, leaves: leaves, loss: grant.loss, type: type,
        elementCount: grant.elementCount, fingerprint: grant.fingerprint,
        excludedWorkers: Set(grant.excludedWorkers), learnerRowsPerSecond: grant.rowsPerSecond),
      results: Array(repeating: nil, count: grant.passSizes.count))
    // What was taken before and has no memory yet will want it.
    let needed = works.values.reduce(work.byteCount) { $1.sum == nil ? $0 + $1.byteCount : $0 }
    if let available = availableMemory(), available < needed + needed / 4 {
      let reason = "adding it up takes \(needed >> 20) MiB, and \(available >> 20) MiB are free"
      if !saysShort {
        logger.warning("a gradient lease goes back up: \(reason); the next one is taken when there is memory for it")
      }
      saysShort = true
      decline(grant.id, reason)
      return work.byteCount + work.byteCount / 4
    }
    saysShort = false
    works[grant.id] = work
    logger.debug("gradient lease \(grant.id) of \(work.results.count) leaves is lent on")
    fleet.lend(work.offer, as: grant.id)
    return nil
  }

  func cancel(_ ids: [UInt64]) {
    for id in ids where works[id] != nil {
      logger.debug("gradient lease \(id) was taken back")
      forget(id)
    }
  }

  func giveBackAll(_ reason: String) {
    for id in works.keys.sorted() { decline(id, reason) }
  }

  /// Adds what has arrived, and gives back what is hopeless.
  func turn() {
    guard !works.isEmpty else { return }
    while let arrived = fleet.takeArrived() { add(arrived) }
    for (id, failure) in fleet.failures() where works[id] != nil {
      logger.warning("gradient lease \(id) goes back up: \(failure.reason)")
      decline(id, failure.reason, isNotFinite: failure.isNotFinite)
    }
  }

  private func add(_ arrived: ArrivedGradient) {
    let id = arrived.round
    guard var work = works[id] else { return }
    let verdict = work.offer.asksForScores ? arrived.withoutBytes : arrived.verified(team: team)
    guard case .good(let gradient) = verdict else {
      logger.warning("the gradient of leaves \(arrived.leaves) from \(arrived.source) \(verdict.complaint)")
      var isNotFinite = false
      if case .notFinite = verdict { isNotFinite = true }
      return fleet.reject(arrived, isNotFinite: isNotFinite)
    }
    for (leaf, result) in zip(arrived.leaves, arrived.results) { work.results[leaf] = result }
    var first = arrived.leaves.lowerBound
    for origin in arrived.origins {
      work.origins[first] = origin
      first += origin.leafCount
    }
    work.threadSeconds += arrived.threadSeconds
    if work.offer.asksForScores {
      works[id] = work
      guard work.results.allSatisfy({ $0 != nil }) else { return }
      return finish(work, arrived.payload, root: Digest.zero.bytes, seconds: 0)
    }
    // One worker computed all of it: its bytes are those that go up.
    if arrived.node == work.offer.tree.root { return finish(work, arrived.payload, root: arrived.root, seconds: 0) }
    do {
      let sum = work.sum ?? makeSum(work)
      work.sum = sum
      works[id] = work
      let start = MonotonicClock.seconds()
      try sum.sum.insert(gradient, at: arrived.node)
      guard sum.sum.isComplete else { return }
      sum.sum.finish()
      guard sum.target.isFinite(team: team) else {
        return decline(id, "the sum of the workers' gradients is not finite", isNotFinite: true)
      }
      let payload = GradientPayload(sum.target, type: work.offer.type, team: team)
      let leaves = VersionHash.leaves(of: UnsafeRawBufferPointer(payload.bytes), team: team)
      finish(
        work, payload, root: VersionHash.root(ofLeaves: leaves).bytes, seconds: MonotonicClock.seconds() - start)
    } catch {
      decline(id, "\(error)")
    }
  }

  private func makeSum(_ work: Work) -> (target: GradientBuffer, sum: GradientSum) {
    let target = GradientBuffer(count: work.grant.elementCount)
    return (
      target,
      GradientSum(
        tree: work.offer.tree, into: UnsafeMutableBufferPointer(start: target.values, count: target.count),
        type: work.offer.type, pool: pool, team: team)
    )
  }

  /// - Parameter seconds: that the last sum and its hash took.
  private func finish(_ work: Work, _ payload: GradientPayload, root: [UInt8], seconds: Double) {
    let id = work.grant.id
    let results = work.results.compactMap { $0 }
    // As if all threads below had worked on it: leases that overlap must not look faster or slower than they are.
    let threads = max(1, fleet.state.withLock { $0.threads(for: work.offer) })
    let elapsed = work.threadSeconds / Double(threads) + seconds
    let ready = GradientReady(
      leaseID: id, sums: results.map(\.sums),
      logProbs: results.flatMap { $0.logProbs.flatMap { $0 } }, root: root,
      elapsedMicroseconds: max(1, Int(min(elapsed, 1e9) * 1e6)),
      origins: work.origins.sorted { $0.key < $1.key }.map(\.value))
    do {
      try link.send(.computed(ComputedGradient(ready: ready, payload: payload)))
      forget(id)
    } catch {
      decline(id, "\(error)")
    }
  }

  private func decline(_ id: UInt64, _ reason: String, isNotFinite: Bool = false) {
    forget(id)
    do {
      try link.send(
        .declined(
          leaseID: id, reason: reason.bounded(toBytes: String.reasonByteCount), isNotFinite: isNotFinite))
    } catch {
      // Above it expires, and somebody else computes it.
      logger.warning("gradient lease \(id) cannot be declined (\(reason)): \(error)")
    }
  }

  private func forget(_ id: UInt64) {
    fleet.end(id)
    works.removeValue(forKey: id)?.sum?.sum.abandon()
  }
}
