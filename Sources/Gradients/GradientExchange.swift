import Coordination
import Machine
import Training
import WeightSync
import Wire

/// The learner's or relay's side of gradient leases: who computes what, whose gradient is pulled, what has arrived. Pure: no
/// sockets, no clock. The trainer's thread (or the relay's adder) and the I/O thread share it.
package struct GradientExchange: Sendable {
  package struct Options: Sendable {
    var leaseDuration: Duration = .seconds(60)
    /// Gradients in memory that are arriving or wait for the trainer: so many, and more where they are small.
    var heldGradients = 3
    var heldBytes = 256 << 20
    /// Silence after which a transfer is asked for again.
    var patience: Duration = .seconds(10)
    /// What the learner computes with.
    var learnerThreads = 1
    /// false: a relay's, where only those below compute.
    var isLearner = true

    package init(
      leaseDuration: Duration = .seconds(60), patience: Duration = .seconds(10), learnerThreads: Int = 1,
      isLearner: Bool = true
    ) {
      self.leaseDuration = leaseDuration
      self.patience = patience
      self.learnerThreads = learnerThreads
      self.isLearner = isLearner
    }
  }

  /// Gradients that arrive at the same time: more would only share the learner's link, unless they are so small that they
  /// wait for messages rather than for bytes.
  package static func transfersAtOnce(byteCount: Int) -> Int { max(2, min(32, (8 << 20) / max(1, byteCount))) }

  /// Gradients in memory that are arriving or wait for the trainer, who looks between two leaves of its own.
  func heldGradients(byteCount: Int) -> Int { max(options.heldGradients, options.heldBytes / max(1, byteCount)) }
  /// Leases that a relay may have out and not computed; a worker may have one.
  static let leasesOfARelay = 4
  /// Damaged gradients after which a relay gives up.
  static let rejectionLimit = 3

  let options: Options
  /// Who may be asked.
  var peers = GradientPeers()
  var rounds: GradientRounds
  var forecast: GradientForecast
  /// Messages for the I/O thread to send.
  var outgoing: [(worker: WorkerID, message: Message)] = []
  /// Of a relay: the version of the step that it was last lent leaves of.
  private var lastVersion = -1
  /// Of a relay: weights between two optimiser steps that it serves below.
  package var passedOn: GradientOffer.Intermediate?

  package init(options: Options, firstLeaseID: UInt64) {
    self.options = options
    rounds = GradientRounds(firstLeaseID: firstLeaseID)
    forecast = GradientForecast(learnerThreads: options.learnerThreads)
  }

  package var totals: GradientTotals { rounds.totals }

  /// Whether `takeMessages` may have something to do.
  package var hasWork: Bool { !rounds.isEmpty || !outgoing.isEmpty }
  var isActive: Bool { !rounds.isEmpty }

  /// Workers that are computing leaves now.
  package var computing: Set<WorkerID> {
    Set(rounds.outstanding.filter { !$0.isComputed }.map(\.worker))
  }

  /// Threads that could compute an offer's leaves.
  package func threads(for offer: GradientOffer) -> Int { peers.candidates(for: offer).reduce(0) { $0 + $1.threads } }

  /// Grants what is worthwhile, pulls what is computed.
  ///
  /// - Parameters:
  ///   - samplingSeconds: what the workers have to do for the next step.
  ///   - isReady: whether a worker holds a policy version.
  /// - Returns: all messages that are due, in order.
  package mutating func takeMessages(
    now: Duration, samplingSeconds: Double, isReady: (WorkerID, Int) -> Bool
  ) -> [(worker: WorkerID, message: Message)] {
    startTransfers(now: now)
    forecast.samplingSeconds = samplingSeconds
    grant(now: now, isReady: isReady)
    if !options.isLearner { reassign(now: now, isReady: isReady) }
    defer { outgoing.removeAll() }
    return outgoing
  }

  // MARK: The trainer

  mutating func begin(_ offer: GradientOffer) {
    end()
    if offer.intermediate == nil { forecast.rates.beginStep() }
    rounds.open(offer, as: 0, leaseDuration: options.leaseDuration)
  }

  mutating func takeLocal(now: Duration? = nil) -> Int? {
    rounds.isEmpty ? nil : rounds[0].leases.takeLocal(now: now)
  }

  mutating func finishLocal(_ leaf: Int, seconds: Double) {
    guard let rows = rounds.first?.leases.leafRows[leaf] else { return }
    forecast.rates.learnerComputed(rows: rows, seconds: seconds)
    rounds[0].leases.finishLocal(leaf)
  }

  mutating func takeArrived() -> ArrivedGradient? { rounds.takeArrived() }

  /// What arrived was not what was announced, or not finite: the learner computes it itself.
  mutating func reject(_ arrived: ArrivedGradient) {
    if let index = rounds.index(of: arrived.leaseID) { rounds[index].leases.reject(arrived.leaves) }
    countUnusable(of: arrived.worker)
  }

  /// A gradient of a session's party was not usable, or was called not finite while the run went on.
  package mutating func countUnusable(of worker: WorkerID) { peers.countUnusable(of: worker) }

  /// A party is asked for no gradients any longer, in whatever session.
  package mutating func exclude(_ party: Party) { peers.exclude(party) }

  /// There is nothing left for the learner to take: takes over what it would be sooner done with.
  mutating func takeOver(now: Duration) {
    guard let rate = forecast.rates.learnerRowsPerSecond, !rounds.isEmpty,
      let record = rounds[0].leases.takeOver(learnerRowsPerSecond: rate, now: now)
    else { return }
    disappointed(record, now)
    forget(record, "the learner computes it itself")
  }

  /// Ends all rounds; whatever is still out is void.
  mutating func end() {
    for round in rounds { end(round.id) }
  }

  mutating func end(_ id: UInt64) {
    for record in rounds.end(id) { outgoing.append((record.worker, forgetMessage(record.id))) }
  }

  // MARK: Sessions

  package mutating func join(_ worker: WorkerID, hello: Hello, older: WorkerID?, party: Party? = nil) {
    if let older { for index in rounds.indices { rounds[index].move(from: older, to: worker) } }
    peers.join(worker, hello: hello, older: older, party: party)
  }

  /// A session has ended: what it held is computed by others.
  package mutating func leave(_ worker: WorkerID) -> Int {
    var leaves = 0
    for index in rounds.indices {
      for record in rounds[index].leases.remove(worker: worker) {
        rounds.drop(record.id)
        leaves += record.leaves.count
      }
    }
    peers.leave(worker)
    return leaves
  }

  /// - Returns: the leases named that are not the worker's any longer.
  package mutating func renew(_ ids: [UInt64], by worker: WorkerID, now: Duration) -> [UInt64] {
    ids.filter { id in
      guard let index = rounds.index(of: id) else { return true }
      return !rounds[index].leases.renew([id], by: worker, now: now).isEmpty
    }
  }

  package mutating func keepTime(now: Duration) {
    for index in rounds.indices {
      for record in rounds[index].leases.expire(now: now) {
        disappointed(record, now)
        forget(record, "expired")
      }
      for id in rounds[index].transfers.keys.sorted()
      where rounds[index].transfers[id]!.isStalled(now, options.patience) {
        rounds[index].transfers[id]!.forgetRequests(now)
        request(id)
      }
    }
    startTransfers(now: now)
  }

  /// A lease is given up: its worker or its link is slower than was thought.
  mutating func disappointed(_ record: GradientLeaseRecord, _ now: Duration) {
    guard let peer = peers[record.worker], let index = rounds.index(of: record.id) else { return }
    if let transfer = rounds[index].transfers[record.id] {
      // Half of the chunk that is on its way.
      forecast.rates.disappointed(
        peer.incarnation, bytes: transfer.bytesSoFar + GradientChunk.byteCount / 2,
        seconds: (now - transfer.started).inSeconds)
    } else if !record.isComputed {
      forecast.rates.disappointed(
        peer.incarnation, rows: record.rows, seconds: (now - record.granted).inSeconds,
        threads: peer.power(for: rounds[index].offer).threads)
    }
  }

  func forgetMessage(_ id: UInt64) -> Message { .gradientDone(leaseID: id, accepted: false) }

  mutating func forget(_ record: GradientLeaseRecord, _ reason: String) {
    rounds.drop(record.id)
    outgoing.append((record.worker, forgetMessage(record.id)))
  }

  mutating func measured(_ transfer: GradientTransfer, now: Duration) {
    rounds.countReceived(byteCount: transfer.payload.byteCount)
    guard let peer = peers[transfer.worker] else { return }
    forecast.rates.transferred(
      peer.incarnation, bytes: transfer.payload.byteCount, seconds: (now - transfer.started).inSeconds)
  }

  // MARK: A relay's

  /// Takes a lease from above in; of a later mini-batch under the weights that were passed on.
  mutating func lend(_ offer: GradientOffer, as id: UInt64) {
    // Without the learner's word any number will do until somebody is measured.
    if offer.learnerRowsPerSecond > 0 || forecast.rates.learnerRowsPerSecond == nil {
      forecast.rates.learnerIs(rowsPerSecond: max(offer.learnerRowsPerSecond, 1))
    }
    peers.knownExclusions = offer.excludedWorkers
    var offer = offer
    let isLater = VersionDescription.isIntermediate(offer.version)
    if isLater {
      offer.intermediate = passedOn
    } else if offer.version != lastVersion {
      forecast.rates.beginStep()
      lastVersion = offer.version
    }
    let isGone = isLater && offer.version != passedOn?.announcement?.version
    rounds.open(
      offer, as: id, leaseDuration: options.leaseDuration,
      failure: isGone ? RoundFailure(reason: "gradient version \(offer.version) is not here any longer") : nil)
  }

  /// What came is not what was announced, or not finite: other workers try; nobody does when it is not finite.
  mutating func reject(_ arrived: ArrivedGradient, isNotFinite: Bool) {
    guard let index = rounds.firstIndex(where: { $0.id == arrived.round }) else { return }
    rounds[index].leases.reject(arrived.leaves, toLearner: isNotFinite)
    rounds[index].rejections += 1
    if isNotFinite {
      rounds[index].failure = RoundFailure(
        reason: "a gradient from worker \(arrived.workerName) is not finite", isNotFinite: true)
    } else {
      peers.decline(arrived.worker)
      if rounds[index].rejections >= Self.rejectionLimit {
        rounds[index].failure = RoundFailure(reason: "\(rounds[index].rejections) gradients came damaged")
      }
    }
  }

  /// Tells those below of weights that came from above: all at once, as there is nothing lent yet that would say who has a share.
  package mutating func passOn(
    _ intermediate: GradientOffer.Intermediate, isReady: (_ worker: WorkerID, _ version: Int) -> Bool
  ) {
    passedOn = intermediate
    guard let announcement = intermediate.announcement else { return }
    for worker in peers.all.keys.sorted() where isReady(worker, intermediate.policyVersion) {
      outgoing.append((worker, .gradientVersion(announcement)))
    }
  }

  /// The intermediate version that half of those below are ready to compute with: from then on the relay takes leases of it.
  package func versionBelow(isPresent: (WorkerID) -> Bool) -> Int? {
    guard let version = passedOn?.announcement?.version, peers.isHalfReady(for: version, isPresent: isPresent) else {
      return nil
    }
    return version
  }

  /// A relay tells who is below it.
  ///
  /// - Throws: `WireError` when it is none.
  package mutating func report(_ classes: [GradientClass], by worker: WorkerID) throws {
    try peers.report(classes, by: worker)
  }

  /// Who below computes gradients now: what a relay tells above.
  ///
  /// - Parameter isPresent: whether a worker has weights and is not about to leave.
  package func branch(isPresent: (WorkerID) -> Bool) -> [GradientClass] {
    peers.classes(readyFor: versionBelow(isPresent: isPresent), isPresent: isPresent)
  }
}
